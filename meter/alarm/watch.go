package alarm

import (
	"time"

	"lvagent/meter"
)

// sight is what a condition sees in one reading.
type sight struct {
	value   int64
	peak    int64
	quality meter.Quality
	ends    bool // missing, and the last value does not stand any longer
	beyond  bool
	back    bool // never together with beyond
	peaks   bool // the sample may be the peak of an alarm under way
}

// seen is a sample without its type.
type seen struct {
	value   int64
	quality meter.Quality
	ends    bool
}

func (x seen) there() bool { return x.quality != meter.Missing }

func see[T meter.Quantity](s meter.Sample[T]) seen {
	if s.Quality == meter.Missing {
		return seen{ends: s.Reason != meter.NoAnswer}
	}
	if s.Value > largest || s.Value < -largest {
		return seen{ends: true}
	}
	return seen{value: int64(s.Value), quality: s.Quality}
}

// glance is a reading as all conditions see it, worked out once.
type glance struct {
	x       [4*meter.Phases + 1]seen
	reasons [meter.Phases]meter.Reason
	broken  [meter.Phases]bool // the meter has the value and did not give it
}

// place returns where a quantity of a phase is in a glance.
func place(q Quantity, p meter.Phase) uint8 {
	if q == N || q == 0 {
		return 4 * meter.Phases
	}
	return uint8(q-V)*meter.Phases + uint8(p)
}

func (g *glance) see(r *meter.Reading) {
	for i := range r.Phase {
		ph := &r.Phase[i]
		g.x[place(V, 0)+uint8(i)] = see(ph.V)
		g.x[place(I, 0)+uint8(i)] = see(ph.I)
		g.x[place(P, 0)+uint8(i)] = see(ph.P)
		g.x[place(Q, 0)+uint8(i)] = see(ph.Q)
		g.reasons[i] = ph.Reason()
		g.broken[i] = lacks(ph.V) || lacks(ph.I) || lacks(ph.P) || lacks(ph.Q)
	}
	// A neutral that was computed from the phases raises nothing.
	if g.x[place(N, 0)] = see(r.Neutral); r.Neutral.Reason&meter.Derived != 0 {
		g.x[place(N, 0)] = seen{ends: true}
	}
}

// lacks reports whether a value should be there and is not.
func lacks[T meter.Quantity](s meter.Sample[T]) bool {
	return (s.Quality == meter.Missing || s.Value > largest || s.Value < -largest) && s.Reason&meter.NotSupported == 0
}

func (g *glance) of(q Quantity, p meter.Phase) seen { return g.x[place(q, p)] }

// quiet reports whether a condition that does not hold surely goes on not to
// hold. It is what nearly every condition sees in nearly every reading.
func (m *Machine) quiet(t *track) bool {
	g, p := &m.now, t.rule.Phase
	switch t.cond {
	case noCondition:
		if t.mean != nil || t.past != nil {
			return false
		}
		x := g.x[t.value]
		return !x.there() || !t.beyond(x.value)
	case condFuse:
		return g.of(I, p).value >= int64(m.cfg.Fuse.Zero)
	case condPhase, condSupply, condReverse:
		x := g.x[t.value]
		return !x.there() || x.value >= t.rule.Threshold
	case condExport:
		return g.of(P, p).value >= 0
	case condNeutral:
		return g.x[t.value].value <= int64(m.cfg.Neutral.Floor)
	case condUnbalance:
		return true // it is not in a reading
	case condStale, condFrozen:
		return g.reasons[0]|g.reasons[1]|g.reasons[2] == 0
	default:
		return !g.broken[p]
	}
}

// look says in s what the condition of t sees in the reading, or returns false
// for nothing at all.
func (m *Machine) look(t *track, s *sight, at time.Duration, wall time.Time) bool {
	switch t.cond {
	case condUnbalance:
		return false
	case condFuse:
		m.lookFuse(t, s, at)
	case condPhase, condSupply:
		m.lookSupply(t, s)
	case condExport:
		m.lookExport(t, s)
	case condNeutral:
		t.compare(s, m.seeNeutral())
	case condStale, condFrozen, condMeasurement:
		m.lookQuality(t, s)
	default:
		x := m.now.x[t.value]
		if t.mean != nil {
			void := t.rule.Quantity == V && x.there() && x.value < int64(m.cfg.Supply.Below)
			var closed bool
			if x, closed = t.mean.add(x, at, wall, t.rule.Mean, t.rule.signed(), m.cfg.Hold, void); !closed {
				return false
			}
		}
		if t.past != nil {
			x = t.past.moved(x, at)
		}
		t.compare(s, x)
	}
	return true
}

// beyond compares a value with the threshold.
func (t *track) beyond(v int64) bool {
	if t.rule.Kind.low() {
		return v < t.rule.Threshold
	}
	return v > t.rule.Threshold
}

// compare sees a value against the threshold. Back is exactly what is not beyond
// when there is no hysteresis.
func (t *track) compare(s *sight, x seen) {
	*s = sight{value: x.value, quality: x.quality, ends: x.ends, beyond: t.beyond(x.value), peaks: true, peak: x.value}
	if t.rule.Kind.low() {
		s.back = x.value >= t.rule.Threshold+t.rule.Hysteresis
	} else {
		s.back = x.value <= t.rule.Threshold-t.rule.Hysteresis
	}
}

// lookSupply sees a dead phase: a lost supply when no other phase of the way is
// known to live, a lost phase when one does.
func (m *Machine) lookSupply(t *track, s *sight) {
	x := m.now.x[t.value]
	*s = sight{
		value: x.value, quality: x.quality, ends: x.ends,
		beyond: x.value < int64(m.cfg.Supply.Below), back: x.value > int64(m.cfg.Supply.Above),
		peaks: true, peak: x.value,
	}
	if s.beyond && !t.stands() {
		s.beyond = m.lives(t.rule.Phase) == (t.cond == condPhase)
	}
}

// lives reports whether a phase of the way other than not is known to live.
func (m *Machine) lives(not meter.Phase) bool {
	for p := range meter.Phase(meter.Phases) {
		if v := m.now.of(V, p); p != not && m.cfg.Phases[p] && v.there() && v.value > int64(m.cfg.Supply.Above) {
			return true
		}
	}
	return false
}

// seeNeutral returns the neutral current as a share of the highest phase current,
// in thousandths of a per cent. Below the floor it is nothing.
func (m *Machine) seeNeutral() seen {
	n := m.now.of(N, 0)
	x, highest := n, int64(0)
	for p := range meter.Phase(meter.Phases) {
		if !m.cfg.Phases[p] {
			continue
		}
		i := m.now.of(I, p)
		x.quality, x.ends = min(x.quality, i.quality), x.ends || i.ends
		highest = max(highest, i.value)
	}
	switch {
	case !x.there():
	case n.value <= int64(m.cfg.Neutral.Floor):
		x.value = 0
	default:
		x.value = min(n.value*100_000/max(highest, 1), largest)
	}
	return x
}

// lookQuality sees how well the way is measured. What the meter does not have is
// not missed, and what it did not answer is STALE for the whole way rather than a
// fault of each phase.
func (m *Machine) lookQuality(t *track, s *sight) {
	g := &m.now
	silent, frozen := true, false
	for p, has := range m.cfg.Phases {
		if has {
			silent = silent && g.reasons[p]&meter.NoAnswer != 0
			frozen = frozen || g.reasons[p]&meter.Frozen != 0
		}
	}
	bad := silent
	*s = sight{}
	switch t.cond {
	case condFrozen:
		if bad = frozen; silent {
			return // it is not known whether anything moves
		}
	case condMeasurement:
		if bad = g.broken[t.rule.Phase]; g.reasons[t.rule.Phase]&meter.NoAnswer != 0 {
			return
		}
	}
	*s = sight{quality: meter.Good, beyond: bad, back: !bad}
}

// lookExport needs current and direction. The overload is over when the current
// is back, and also when the phase no longer exports, whatever its current: that
// is for i.hi then, and no peak of an export.
func (m *Machine) lookExport(t *track, s *sight) {
	i, p := m.now.of(I, t.rule.Phase), m.now.of(P, t.rule.Phase)
	exports := p.value < 0
	*s = sight{
		value: i.value, quality: min(i.quality, p.quality), ends: i.ends || p.ends,
		beyond: exports && i.value > t.rule.Threshold,
		back:   !exports || i.value <= t.rule.Threshold-t.rule.Hysteresis,
		peaks:  exports, peak: i.value,
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
func (f *fall) note(g *glance, at time.Duration, c *Config, p meter.Phase, wall time.Time) {
	v, i := g.of(V, p), g.of(I, p)
	if v.quality != meter.Missing && v.value < int64(c.Fuse.Dead) {
		f.above = false
	}
	if i.quality == meter.Missing || i.value < int64(c.Fuse.Zero) {
		return
	}
	now := peak{int64(at/c.Fuse.Before) + 1, i.value, wall}
	switch {
	case f.peaks[0].stretch != now.stretch:
		f.peaks[1], f.peaks[0] = f.peaks[0], now
	case now.value > f.peaks[0].value:
		f.peaks[0] = now
	}
	if i.value > int64(c.fuseFrom(p)) && !(v.quality != meter.Missing && v.value < int64(c.Fuse.Dead)) {
		f.above, f.aboveAt = true, at
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
func (m *Machine) lookFuse(t *track, s *sight, at time.Duration) {
	c, f := &m.cfg, &m.falls[t.rule.Phase]
	v, i := m.now.of(V, t.rule.Phase), m.now.of(I, t.rule.Phase)
	*s = sight{value: i.value, quality: i.quality, ends: i.ends, back: i.value > t.rule.Threshold/2}
	if !i.there() || i.value >= int64(c.Fuse.Zero) || !v.there() || v.value <= int64(c.Fuse.Healthy) ||
		!f.above || at-f.aboveAt > c.Fuse.Within {
		return
	}
	s.quality = min(i.quality, v.quality)
	s.beyond, s.peak = true, f.highest(int64(at/c.Fuse.Before)+1).value
}

// peakAt returns when the peak of a sight was: now, but that of a fuse before its
// fall.
func (m *Machine) peakAt(t *track, at time.Duration, wall time.Time) time.Time {
	if t.cond == condFuse {
		return m.falls[t.rule.Phase].highest(int64(at/m.cfg.Fuse.Before) + 1).at
	}
	return wall
}
