package loading

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// daySums are the closed periods of one day in UTC. They add up: two parts of a
// day make the day, in any order.
type daySums struct {
	Day     int64 // since 1970; 0: none
	N       int   // periods that count
	Import  int64 // W, sum of the imports of the periods
	MostIn  int64 // W
	Peak    int64 // mVA
	PeakAt  int64 // seconds since 1970
	Squares [meter.Phases]fixed.Sum
	Most    [meter.Phases]int64 // mA
	MostAt  [meter.Phases]int64
}

// merge adds o to d. Of two equal peaks the earlier stays.
func (d *daySums) merge(o *daySums) {
	if o.N == 0 {
		return
	}
	if d.N == 0 {
		*d = *o
		return
	}
	d.N += o.N
	d.Import += o.Import
	d.MostIn = max(d.MostIn, o.MostIn)
	if o.Peak > d.Peak || o.Peak == d.Peak && o.PeakAt < d.PeakAt {
		d.Peak, d.PeakAt = o.Peak, o.PeakAt
	}
	for p := range d.Squares {
		d.Squares[p] = d.Squares[p].Plus(o.Squares[p])
		if o.Most[p] > d.Most[p] || o.Most[p] == d.Most[p] && o.MostAt[p] < d.MostAt[p] {
			d.Most[p], d.MostAt[p] = o.Most[p], o.MostAt[p]
		}
	}
}

// loadFactor is the mean over the largest import.
func (d *daySums) loadFactor() meter.PPM {
	if d.N == 0 || d.MostIn <= 0 {
		return 0
	}
	return meter.PPM(fixed.Product(uint64(d.Import), uint64(one)).Over(uint64(d.MostIn) * uint64(d.N)))
}

// lossFactor is the mean of the squares of the current over the square of its
// peak, of the phase where it is highest.
func (d *daySums) lossFactor() (worst meter.PPM) {
	for p, most := range d.Most {
		if d.N == 0 || most == 0 {
			continue
		}
		mean := d.Squares[p].Over(uint64(d.N))
		worst = max(worst, meter.PPM(fixed.Product(mean, uint64(one)).Over(uint64(most)*uint64(most))))
	}
	return worst
}

const (
	days     = 7 // that a rolling loss load factor is of
	daysLeft = 5 // of them that must be complete for a cyclic rating
)

// demand follows the closed periods.
type demand struct {
	Today  daySums
	Before [days]daySums // the newest first
	Ever   int64
	EverAt int64
	Over   [3]int // periods above 80, 110 and 120 % of firm capacity
	Last   int64  // mVA, of the newest period
	LastAt int64
	Beyond bool  // the newest period was above 110 %
	Length int64 // seconds of the newest period
}

var triggers = [3]int64{80, 110, 120} // percent of firm capacity

// Close takes a closed period. Only its first issue counts, in the order of
// time: a period that was measured again after a step of the clock is the same
// load twice. One that was measured for less than 90 % is left out.
func (w *Way) Close(h *meter.HalfHour) {
	d := &w.demand
	at := h.Start.Unix()
	if h.Rev > 0 || at <= d.LastAt || h.Flags&(meter.Invalid|meter.NoData) != 0 || h.Total == nil {
		return
	}
	day := fixed.FloorDiv(at, 86_400)
	if day != d.Today.Day && d.Today.N > 0 {
		copy(d.Before[1:], d.Before[:])
		d.Before[0] = d.Today
		d.Today = daySums{}
	}
	if d.Length = int64(h.End.Sub(h.Start) / time.Second); d.Length <= 0 {
		return
	}
	one := daySums{Day: day, N: 1, Peak: h.Total.S, PeakAt: at}
	for p, ph := range h.Phase {
		if ph == nil {
			continue
		}
		one.Import += ph.P.Import / 1000
		one.Squares[p], one.Most[p], one.MostAt[p] = fixed.Square(ph.I.RMS), ph.I.RMS, at
	}
	one.MostIn = one.Import
	d.Today.merge(&one)
	d.Today.Day = day
	d.Last, d.LastAt = h.Total.S, at
	if d.Last > d.Ever {
		d.Ever, d.EverAt = d.Last, at
	}
	d.Beyond = false
	if firm := w.cfg.Firm; firm > 0 {
		for i, percent := range triggers {
			if d.Last*100 > firm*percent {
				d.Over[i]++
				d.Beyond = d.Beyond || percent == 110
			}
		}
	}
}

// cyclicEarned reports whether the last seven days were as uneven as a cyclic
// rating supposes, and returns their loss load factor.
func (w *Way) cyclicEarned() (meter.PPM, bool) {
	d := &w.demand
	var all daySums
	complete := 0
	for i := range d.Before {
		b := &d.Before[i]
		if b.N == 0 || b.Day < d.Today.Day-days {
			continue
		}
		all.merge(b)
		if d.Length > 0 && int64(b.N)*10 >= 86_400/d.Length*9 {
			complete++
		}
	}
	if complete < daysLeft {
		return 0, false
	}
	llf := all.lossFactor()
	return llf, w.cfg.Cyclic > 0 && llf > 0 && llf <= w.cfg.CyclicLoss
}

// Beyond reports whether the last closed period was above 110 % of the firm
// capacity: the trigger for reinforcement.
func (w *Way) Beyond() bool { return w.demand.Beyond }

func instant(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func (w *Way) demandNow() meter.Demand {
	d := &w.demand
	out := meter.Demand{
		LoadFactor: d.Today.loadFactor(), LossFactor: d.Today.lossFactor(),
		Peak: d.Today.Peak, PeakAt: instant(d.Today.PeakAt), Firm: w.cfg.Firm,
		EverPeak: d.Ever, EverPeakAt: instant(d.EverAt), Over80: d.Over[0], Over110: d.Over[1], Over120: d.Over[2],
		Last: d.Last, LastAt: instant(d.LastAt),
	}
	if d.Today.N > 0 {
		out.Day = time.Unix(d.Today.Day*86_400, 0).UTC()
	}
	out.LossFactor7, out.CyclicEarned = w.cyclicEarned()
	for p := range out.PhasePeak {
		out.PhasePeak[p], out.PhasePeakAt[p] = meter.Milliamps(d.Today.Most[p]), instant(d.Today.MostAt[p])
	}
	return out
}
