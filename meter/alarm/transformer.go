package alarm

import (
	"slices"
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// TX is the name of the pseudo-way that stands for the transformer.
const TX = "TX"

// Feeder is one way that the transformer feeds. An incomer is none: what it
// carries would count twice.
type Feeder struct {
	Way    string
	Phases [meter.Phases]bool // phases that the way has; none means all three
	Hold   time.Duration      // how long its values stand: 2.5 polls; 0 is 2.5 s
}

// Transformer makes the readings of TX (R19): those of the meter that measures the
// transformer itself, where there is one, and else the sum of the ways. It has one
// owner and is not safe for concurrent use.
//
// In the sum P and Q are summed with their signs, and the current is worked out from the
// sums, |S| / V: currents of ways at different power factors, or of which one
// exports, do not add up as magnitudes. The voltage is the median of the ways',
// so that one blown measuring fuse does not bend it. The neutral current has no
// angle and cannot be summed; it is not supported.
//
// P, Q and I of a phase are there only while each way that has the phase gives
// its P and Q: a sum without one way looks like less load than there is.
type Transformer struct {
	every   time.Duration
	feeders []feeder
	volts   []int64 // for the median
	out     meter.Reading

	incomer    *incomer      // nil: nothing measures the transformer itself
	longest    time.Duration // hold of a feeder
	summedOnce bool          // out is a sum
	summed     bool          // what was told last is one, in part
	told       bool
	toldAt     time.Duration

	started bool
	began   time.Duration
	turn    int64 // the first stretch of time without a reading of TX
}

type feeder struct {
	Feeder
	heard bool
	at    time.Duration // stamp of its newest reading
	power [meter.Phases]heldPower
	volts [meter.Phases]heldVolts
}

// heldPower is the last power of a phase that may still stand.
type heldPower struct {
	p, q    int64
	quality meter.Quality
	why     meter.Reason
	at      time.Duration
}

type heldVolts struct {
	v       int64
	quality meter.Quality
	why     meter.Reason
	at      time.Duration
}

// NewTransformer returns the sum of feeders. There is at most one reading of TX
// in each stretch of every; 0 is a second.
func NewTransformer(feeders []Feeder, every time.Duration) *Transformer {
	t := &Transformer{every: max(or(every, time.Second), 1), volts: make([]int64, 0, len(feeders))}
	for _, f := range feeders {
		f.complete()
		t.longest = max(t.longest, f.Hold)
		t.feeders = append(t.feeders, feeder{Feeder: f})
	}
	return t
}

func (f *Feeder) complete() {
	if f.Phases == [meter.Phases]bool{} {
		f.Phases = [meter.Phases]bool{true, true, true}
	}
	f.Hold = or(f.Hold, 2500*time.Millisecond)
}

// Add takes a reading of a way. It returns the reading of TX that this completes
// or nil; a reading is valid until the next call.
func (t *Transformer) Add(r *meter.Reading) *meter.Reading {
	if t.incomer != nil && t.incomer.Way == r.Way {
		return t.addIncomer(r)
	}
	i := 0
	for i < len(t.feeders) && t.feeders[i].Way != r.Way {
		i++
	}
	if i == len(t.feeders) {
		return nil
	}
	f := &t.feeders[i]
	if f.heard && r.At < f.at {
		return nil
	}
	f.heard, f.at = true, r.At
	for p := range r.Phase {
		f.power[p].take(&r.Phase[p], r.At)
		f.volts[p].take(r.Phase[p].V, r.At)
	}
	return t.Tick(r.At)
}

// take notes the phase's power. A poll without an answer leaves it standing; an
// explicit statement that it is not known ends it.
func (h *heldPower) take(ph *meter.PhaseReading, at time.Duration) {
	p, q := see(ph.P), see(ph.Q)
	switch {
	case p.quality != meter.Missing && q.quality != meter.Missing:
		*h = heldPower{p.value, q.value, min(p.quality, q.quality), ph.P.Reason | ph.Q.Reason, at}
	case p.ends || q.ends:
		*h = heldPower{why: missing(ph.P.Reason | ph.Q.Reason)}
	}
}

func (h *heldVolts) take(s meter.Sample[meter.Millivolts], at time.Duration) {
	switch v := see(s); {
	case v.quality != meter.Missing:
		*h = heldVolts{v.value, v.quality, s.Reason, at}
	case v.ends:
		*h = heldVolts{why: missing(s.Reason)}
	}
}

// missing returns the reasons of a value that was refused. One that gave none
// was refused here, for its size.
func missing(why meter.Reason) meter.Reason {
	if why == 0 {
		return meter.OutOfRange
	}
	return why
}

// Tick returns the reading of TX that became due because the ways that it waited
// for have been silent for longer than their values stand, or nil. It is to be
// called about once a second.
func (t *Transformer) Tick(now time.Duration) *meter.Reading {
	if !t.started {
		t.started, t.began = true, now
	}
	newest, heard := time.Duration(0), false
	for i := range t.feeders {
		if f := &t.feeders[i]; f.heard && (!heard || f.at > newest) {
			newest, heard = f.at, true
		}
	}
	if !heard || t.stretch(newest) < t.turn {
		return nil
	}
	for i := range t.feeders {
		f := &t.feeders[i]
		since := t.began
		if f.heard {
			if t.stretch(f.at) >= t.turn {
				continue
			}
			since = f.at
		}
		if now-since <= f.Hold {
			return nil
		}
	}
	t.turn = t.stretch(newest) + 1
	t.out = meter.Reading{Way: TX, At: newest, Neutral: meter.Sample[meter.Milliamps]{Reason: meter.NotSupported}}
	for p := range t.out.Phase {
		t.sum(&t.out.Phase[p], p, newest)
	}
	return t.tellSum(now)
}

func (t *Transformer) stretch(at time.Duration) int64 { return int64(at / t.every) }

// sum works out one phase of TX at at.
func (t *Transformer) sum(out *meter.PhaseReading, phase int, at time.Duration) {
	var p, q int64
	power, volts := meter.Good, meter.Good
	var whyPower, whyLost, whyVolts, whyNoVolts meter.Reason
	ways := 0
	t.volts = t.volts[:0]
	for i := range t.feeders {
		f := &t.feeders[i]
		if !f.Phases[phase] {
			continue
		}
		ways++
		h, v := &f.power[phase], &f.volts[phase]
		if h.quality != meter.Missing && at-h.at <= f.Hold {
			p, q = p+h.p, q+h.q
			power, whyPower = min(power, h.quality), whyPower|h.why
		} else {
			power, whyLost = meter.Missing, whyLost|lost(h.quality, h.why)
		}
		if v.quality != meter.Missing && at-v.at <= f.Hold {
			t.volts = append(t.volts, v.v)
			volts, whyVolts = min(volts, v.quality), whyVolts|v.why
		} else {
			whyNoVolts |= lost(v.quality, v.why)
		}
	}
	if ways == 0 {
		whyLost, whyNoVolts, power = meter.NotSupported, meter.NotSupported, meter.Missing
	}
	if len(t.volts) == 0 {
		out.V = meter.Sample[meter.Millivolts]{Reason: whyNoVolts}
	} else {
		out.V = meter.Sample[meter.Millivolts]{Value: meter.Millivolts(median(t.volts)), Quality: volts, Reason: whyVolts}
	}
	if power == meter.Missing {
		out.P = meter.Sample[meter.Milliwatts]{Reason: whyLost}
		out.Q = meter.Sample[meter.Millivars]{Reason: whyLost}
		out.I = meter.Sample[meter.Milliamps]{Reason: whyLost}
		return
	}
	whyPower |= meter.Derived
	out.P = meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(p), Quality: power, Reason: whyPower}
	out.Q = meter.Sample[meter.Millivars]{Value: meter.Millivars(q), Quality: power, Reason: whyPower}
	out.I = amps(fixed.Hypot(p, q), out.V)
	if out.I.Quality != meter.Missing {
		out.I.Quality, out.I.Reason = min(out.I.Quality, power), out.I.Reason|whyPower
	}
}

// lost returns why a held value no longer stands: it was ended for a reason, or
// grew too old, or never was.
func lost(was meter.Quality, why meter.Reason) meter.Reason {
	if was != meter.Missing || why == 0 {
		return meter.NoAnswer
	}
	return why
}

// amps returns the current that carries an apparent power at a voltage. Without
// voltage there is no current, and a power then is a fault of measurement.
func amps(s int64, v meter.Sample[meter.Millivolts]) meter.Sample[meter.Milliamps] {
	switch {
	case v.Quality == meter.Missing:
		return meter.Sample[meter.Milliamps]{Reason: v.Reason}
	case s == 0:
		return meter.Sample[meter.Milliamps]{Quality: v.Quality, Reason: v.Reason}
	case v.Value <= 0:
		return meter.Sample[meter.Milliamps]{Reason: meter.OutOfRange}
	}
	// mW / mV is A. The power of some dozen ways, each at most 2^37 mW, leaves
	// room for the factor of 1000 and the rounding.
	i := (s*1000 + int64(v.Value)/2) / int64(v.Value)
	if i > largest {
		return meter.Sample[meter.Milliamps]{Reason: meter.OutOfRange}
	}
	return meter.Sample[meter.Milliamps]{Value: meter.Milliamps(i), Quality: v.Quality, Reason: v.Reason}
}

// median sorts v and returns its middle, or the mean of the middle two.
func median(v []int64) int64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
