package window

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// Period is what one period has added up to so far. It is part of a State;
// weights are in milliseconds, times in nanoseconds of UTC since 1970.
type Period struct {
	Start, End    int64
	Rev           int
	Flags         meter.Flags
	Clock         meter.Clock // the worst so far
	Samples, Bad  int
	Phase         [meter.Phases]PhaseSums
	Total         TotalSums
	Neutral       Moments
	NeutralWeight int64
}

// PhaseSums are the sums of one phase while all its four quantities were usable.
type PhaseSums struct {
	Weight int64
	Held   int64 // the part of Weight that came from values past their poll
	V, I   Moments
	P, Q   Flow
}

// TotalSums are the sums of the expected phases together while all were usable.
type TotalSums struct {
	Weight int64
	P, Q   int64
	Import int64 // of the positive part of P
	Export int64 // of the negative part, as a positive number
}

// Moments are the sums of a root-mean-square quantity. The sum of squares has
// 128 bits. Min, Max and MaxAt are of readings stamped inside the period.
type Moments struct {
	Sum      int64
	SquareHi uint64
	SquareLo uint64
	Stamped  int // readings inside the period
	Min, Max int64
	MaxAt    int64 // since the period's start
}

// Flow are the sums of a signed quantity.
type Flow struct {
	Sum, Import, Export int64
	Stamped             int
	Min, Max            int64
}

// note takes what the clock is worth now.
func (p *Period) note(clock meter.Clock) {
	p.Clock = min(p.Clock, clock)
	if !clock.Trusted() {
		p.Flags |= meter.ClockBad
	}
}

// remark flags what a reading gives reason to say.
func (p *Period) remark(why meter.Reason, suspect bool) {
	if why&meter.NoAnswer != 0 {
		p.Flags |= meter.CommLoss
	}
	if why&meter.NotSupported != 0 {
		p.Flags |= meter.Unavailable
	}
	if suspect {
		p.Flags |= meter.Questioned
	}
}

// merge adds the sums of o, whose times are shifted by shift.
func (p *Period) merge(o *Period, shift int64) {
	p.Flags |= o.Flags
	p.Clock = min(p.Clock, o.Clock)
	p.Samples += o.Samples
	p.Bad += o.Bad
	for i := range p.Phase {
		a, b := &p.Phase[i], &o.Phase[i]
		a.Weight += b.Weight
		a.Held += b.Held
		a.V.merge(&b.V, shift)
		a.I.merge(&b.I, shift)
		a.P.merge(&b.P)
		a.Q.merge(&b.Q)
	}
	p.Total.Weight += o.Total.Weight
	p.Total.P += o.Total.P
	p.Total.Q += o.Total.Q
	p.Total.Import += o.Total.Import
	p.Total.Export += o.Total.Export
	p.Neutral.merge(&o.Neutral, shift)
	p.NeutralWeight += o.NeutralWeight
}

// fullWeight is how much a period takes, in ms. A longer period there is not, but
// one that steps of the clock repeat for ever must not overflow its sums.
const fullWeight = 7 * hour

func (s *PhaseSums) add(h *heldPhase, weight, held int64) {
	if s.Weight >= fullWeight {
		return
	}
	s.Weight += weight
	s.Held += held
	s.V.add(h.v, weight)
	s.I.add(h.i, weight)
	s.P.add(h.p, weight)
	s.Q.add(h.q, weight)
}

func (s *PhaseSums) stamp(h *heldPhase, since int64) {
	s.V.stamp(h.v, since)
	s.I.stamp(h.i, since)
	s.P.stamp(h.p)
	s.Q.stamp(h.q)
}

func (s *TotalSums) add(p, q, weight int64) {
	if s.Weight >= fullWeight {
		return
	}
	s.Weight += weight
	s.P += p * weight
	s.Q += q * weight
	s.Import += max(p, 0) * weight
	s.Export += max(-p, 0) * weight
}

func (m *Moments) add(v, weight int64) {
	m.Sum += v * weight
	m.addSquares(fixed.Square(v).Times(uint64(weight)))
}

func (m *Moments) squares() fixed.Sum { return fixed.Sum{Hi: m.SquareHi, Lo: m.SquareLo} }

func (m *Moments) addSquares(s fixed.Sum) {
	sum := m.squares().Plus(s)
	m.SquareHi, m.SquareLo = sum.Hi, sum.Lo
}

func (m *Moments) stamp(v, since int64) {
	if m.Stamped == 0 || v < m.Min {
		m.Min = v
	}
	if m.Stamped == 0 || v > m.Max {
		m.Max, m.MaxAt = v, since
	}
	m.Stamped++
}

func (m *Moments) merge(o *Moments, shift int64) {
	m.Sum += o.Sum
	m.addSquares(o.squares())
	if o.Stamped == 0 {
		return
	}
	if m.Stamped == 0 || o.Min < m.Min {
		m.Min = o.Min
	}
	if m.Stamped == 0 || o.Max > m.Max {
		m.Max, m.MaxAt = o.Max, o.MaxAt+shift
	}
	m.Stamped += o.Stamped
}

func (f *Flow) add(v, weight int64) {
	f.Sum += v * weight
	f.Import += max(v, 0) * weight
	f.Export += max(-v, 0) * weight
}

func (f *Flow) stamp(v int64) {
	if f.Stamped == 0 || v < f.Min {
		f.Min = v
	}
	if f.Stamped == 0 || v > f.Max {
		f.Max = v
	}
	f.Stamped++
}

func (f *Flow) merge(o *Flow) {
	f.Sum += o.Sum
	f.Import += o.Import
	f.Export += o.Export
	if o.Stamped == 0 {
		return
	}
	if f.Stamped == 0 || o.Min < f.Min {
		f.Min = o.Min
	}
	if f.Stamped == 0 || o.Max > f.Max {
		f.Max = o.Max
	}
	f.Stamped += o.Stamped
}

// record returns the period as it is published.
func (p *Period) record(cfg *Config) meter.HalfHour {
	h := meter.HalfHour{
		Way: cfg.Way, Start: time.Unix(0, p.Start).UTC(), End: time.Unix(0, p.End).UTC(),
		Rev: p.Rev, Coverage: meter.Whole, Samples: p.Samples, Bad: p.Bad,
		Expected: int((p.End - p.Start) / int64(cfg.Poll)),
		Flags:    p.Flags, Clock: p.Clock,
	}
	anyPhase, allPhases := false, true
	for i := range p.Phase {
		h.Phase[i] = p.phase(&p.Phase[i])
		if !cfg.Expect[i] {
			continue
		}
		if h.Phase[i] == nil {
			allPhases = false
			h.Coverage = 0
			continue
		}
		anyPhase = true
		h.Coverage = min(h.Coverage, h.Phase[i].Coverage)
		h.Held = max(h.Held, time.Duration(p.Phase[i].Held)*time.Millisecond)
	}
	if allPhases && p.Total.Weight > 0 {
		h.Total = p.Total.record()
	}
	if p.Neutral.Stamped > 0 && p.NeutralWeight > 0 {
		n := p.stats(&p.Neutral, p.NeutralWeight)
		h.Neutral = &n
		h.Derived = p.Flags&meter.DerivedN != 0
	}
	if !anyPhase {
		h.Flags |= meter.NoData
	}
	// INVALID implies PARTIAL, so that one flag is enough to ask for.
	if h.Coverage < cfg.Invalid {
		h.Flags |= meter.Invalid | meter.Partial
	}
	if h.Coverage < cfg.Partial {
		h.Flags |= meter.Partial
	}
	if cfg.Bench {
		h.Flags |= meter.Bench
	}
	return h
}

// phase returns nil for a phase without a reading of its own in the period: a
// value held from before has no minimum or maximum here.
func (p *Period) phase(s *PhaseSums) *meter.PhasePeriod {
	if s.V.Stamped == 0 || s.Weight == 0 {
		return nil
	}
	length := fixed.FloorDiv(p.End-p.Start, int64(time.Millisecond))
	return &meter.PhasePeriod{
		V: p.stats(&s.V, s.Weight), I: p.stats(&s.I, s.Weight),
		P: s.P.stats(s.Weight), Q: s.Q.stats(s.Weight),
		Coverage: min(meter.Whole, meter.PPM(s.Weight*int64(meter.Whole)/length)),
	}
}

func (p *Period) stats(m *Moments, weight int64) meter.Stats {
	return meter.Stats{
		RMS:  m.squares().RootOfMean(weight),
		Mean: divRound(m.Sum, weight),
		Min:  m.Min, Max: m.Max, MaxAt: time.Unix(0, p.Start+m.MaxAt).UTC(),
	}
}

func (f *Flow) stats(weight int64) meter.PowerStats {
	return meter.PowerStats{
		Mean: divRound(f.Sum, weight), Min: f.Min, Max: f.Max,
		Import: divRound(f.Import, weight), Export: divRound(f.Export, weight),
	}
}

// hour is the number of weights, milliseconds, in an hour: mW ms to mWh.
const hour = int64(time.Hour / time.Millisecond)

func (s *TotalSums) record() *meter.TotalPeriod {
	t := &meter.TotalPeriod{
		P: divRound(s.P, s.Weight), Q: divRound(s.Q, s.Weight),
		ImportMWh: divRound(s.Import, hour), ExportMWh: divRound(s.Export, hour),
	}
	t.S = fixed.Square(t.P).Plus(fixed.Square(t.Q)).RootOfMean(1)
	if t.S != 0 {
		t.PF = divRound(max(t.P, -t.P)*1000, t.S)
	}
	return t
}
