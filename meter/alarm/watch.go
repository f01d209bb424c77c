package alarm

import (
	"time"

	"lvagent/meter"
)

// watch is how a condition looks at a reading.
type watch uint8

const (
	watchThreshold watch = iota
	watchFuse
	watchSupply
	watchExport
)

// sight is what a condition sees in one reading.
type sight struct {
	value   int64
	quality meter.Quality
	ends    bool // missing, and the last value does not stand any longer
	beyond  bool
	back    bool // never together with beyond
	peaks   bool // the sample may be the peak of an alarm under way
	peak    int64
	peakAt  time.Time
}

// seen is a sample without its type.
type seen struct {
	value   int64
	quality meter.Quality
	ends    bool
}

func see[T meter.Quantity](s meter.Sample[T]) seen {
	if s.Quality == meter.Missing {
		return seen{ends: s.Reason != meter.NoAnswer}
	}
	if s.Value > largest || s.Value < -largest {
		return seen{ends: true}
	}
	return seen{value: int64(s.Value), quality: s.Quality}
}

// watchRule adds a threshold.
func (m *Machine) watchRule(r Rule) {
	a := meter.Alarm{ID: r.ID(), Way: r.Way, Quantity: r.Quantity.String(), Kind: r.Kind.String(), Threshold: r.Threshold, Severity: r.Severity}
	if r.Quantity != N {
		a.Phase = r.Phase.String()
	}
	m.tracks = append(m.tracks, track{rule: r, watch: watchThreshold, alarm: a})
}

// watchPhase adds the conditions of a phase that need no rule.
func (m *Machine) watchPhase(p meter.Phase) {
	c := &m.cfg
	if !c.Fuse.Disabled {
		m.watchCondition(FuseSuspected, watchFuse, Rule{
			Quantity: I, Phase: p, Kind: Hi, Threshold: int64(c.fuseFrom(p)), OffDelay: c.Fuse.OffDelay, Severity: meter.Critical,
		})
	}
	if !c.Supply.Disabled {
		m.watchCondition(SupplyLost, watchSupply, Rule{
			Quantity: V, Phase: p, Kind: Lo, Threshold: int64(c.Supply.Below),
			OnDelay: c.Supply.OnDelay, OffDelay: c.Supply.OffDelay, Severity: meter.Critical,
		})
	}
	if !c.Export.Disabled && c.Rating[p] > 0 {
		m.watchCondition(ExportOverload, watchExport, Rule{
			Quantity: I, Phase: p, Kind: Hi, Threshold: int64(c.Rating[p]), Hysteresis: int64(or(c.Export.Hysteresis, c.Rating[p]*3/100)),
			OnDelay: c.Export.OnDelay, OffDelay: c.Export.OffDelay, Severity: meter.Major,
		})
	}
}

func (m *Machine) watchCondition(kind string, w watch, r Rule) {
	r.Way = m.cfg.Way
	m.tracks = append(m.tracks, track{rule: r, watch: w, alarm: meter.Alarm{
		ID: r.Way + "." + r.Phase.String() + "." + kind, Way: r.Way, Quantity: r.Quantity.String(), Phase: r.Phase.String(),
		Kind: kind, Threshold: r.Threshold, Severity: r.Severity,
	}})
}

// look says what the condition of t sees in r.
func (m *Machine) look(t *track, r *meter.Reading, wall time.Time) sight {
	switch t.watch {
	case watchFuse:
		return m.lookFuse(t, r)
	case watchSupply:
		return m.lookSupply(t, r, wall)
	case watchExport:
		return m.lookExport(t, r, wall)
	default:
		return t.lookThreshold(r, wall)
	}
}

// lookThreshold compares with the threshold. Back is exactly what is not beyond
// when there is no hysteresis.
func (t *track) lookThreshold(r *meter.Reading, wall time.Time) sight {
	var x seen
	switch t.rule.Quantity {
	case V:
		x = see(r.Phase[t.rule.Phase].V)
	case I:
		x = see(r.Phase[t.rule.Phase].I)
	case P:
		x = see(r.Phase[t.rule.Phase].P)
	case Q:
		x = see(r.Phase[t.rule.Phase].Q)
	case N:
		if x = see(r.Neutral); r.Neutral.Reason&meter.Derived != 0 {
			x = seen{ends: true}
		}
	}
	s := sight{value: x.value, quality: x.quality, ends: x.ends, peaks: true, peak: x.value, peakAt: wall}
	if limit := t.rule.Threshold; t.rule.Kind.low() {
		s.beyond, s.back = x.value < limit, x.value >= limit+t.rule.Hysteresis
	} else {
		s.beyond, s.back = x.value > limit, x.value <= limit-t.rule.Hysteresis
	}
	return s
}

func (m *Machine) lookSupply(t *track, r *meter.Reading, wall time.Time) sight {
	x := see(r.Phase[t.rule.Phase].V)
	return sight{
		value: x.value, quality: x.quality, ends: x.ends,
		beyond: x.value < int64(m.cfg.Supply.Below), back: x.value > int64(m.cfg.Supply.Above),
		peaks: true, peak: x.value, peakAt: wall,
	}
}

// lookExport needs current and direction. The overload is over when the current
// is back, and also when the phase no longer exports, whatever its current: that
// is for i.hi then, and no peak of an export.
func (m *Machine) lookExport(t *track, r *meter.Reading, wall time.Time) sight {
	ph := &r.Phase[t.rule.Phase]
	i, p := see(ph.I), see(ph.P)
	exports := p.value < 0
	return sight{
		value: i.value, quality: min(i.quality, p.quality), ends: i.ends || p.ends,
		beyond: exports && i.value > t.rule.Threshold,
		back:   !exports || i.value <= t.rule.Threshold-t.rule.Hysteresis,
		peaks:  exports, peak: i.value, peakAt: wall,
	}
}

// fall remembers what a phase carried before its current falls to nothing.
type fall struct {
	above   bool          // the current was above From and the supply was there since
	aboveAt time.Duration // when it last was
	peaks   [2]peak       // of the present stretch of Before, and of the one before it
}

type peak struct {
	stretch int64 // number of the stretch of time, from 1; 0 is none
	value   int64
	at      time.Time
}

// note remembers the reading's current, unless it is nothing.
func (f *fall) note(r *meter.Reading, c *Config, p meter.Phase, wall time.Time) {
	v, i := see(r.Phase[p].V), see(r.Phase[p].I)
	if v.quality != meter.Missing && v.value < int64(c.Fuse.Dead) {
		f.above = false
	}
	if i.quality == meter.Missing || i.value < int64(c.Fuse.Zero) {
		return
	}
	now := peak{int64(r.At/c.Fuse.Before) + 1, i.value, wall}
	switch {
	case f.peaks[0].stretch != now.stretch:
		f.peaks[1], f.peaks[0] = f.peaks[0], now
	case now.value > f.peaks[0].value:
		f.peaks[0] = now
	}
	if i.value > int64(c.fuseFrom(p)) && !(v.quality != meter.Missing && v.value < int64(c.Fuse.Dead)) {
		f.above, f.aboveAt = true, r.At
	}
}

// highest returns the peak of the last one to two stretches.
func (f *fall) highest(stretch int64) peak {
	best := f.peaks[0]
	if old := f.peaks[1]; old.stretch+1 >= stretch && old.value >= best.value {
		best = old
	}
	return best
}

// lookFuse sees a fall from load to nothing under voltage. What it measures at
// the fall is nothing; the peak is what the phase carried before.
func (m *Machine) lookFuse(t *track, r *meter.Reading) sight {
	c, f := &m.cfg, &m.falls[t.rule.Phase]
	v, i := see(r.Phase[t.rule.Phase].V), see(r.Phase[t.rule.Phase].I)
	s := sight{value: i.value, quality: i.quality, ends: i.ends, back: i.value > t.rule.Threshold/2}
	if i.quality == meter.Missing || i.value >= int64(c.Fuse.Zero) ||
		v.quality == meter.Missing || v.value <= int64(c.Fuse.Healthy) ||
		!f.above || r.At-f.aboveAt > c.Fuse.Within {
		return s
	}
	s.quality = min(i.quality, v.quality)
	best := f.highest(int64(r.At/c.Fuse.Before) + 1)
	s.beyond, s.peak, s.peakAt = true, best.value, best.at
	return s
}
