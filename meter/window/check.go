package window

import (
	"fmt"
	"math/big"
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// What no true checkpoint holds. Each bound keeps the arithmetic behind it inside
// its bits, or is what a sum of values, each of at most Largest, can't exceed.
const (
	mostRevs    = 1 << 30
	mostPolls   = 1 << 40
	mostWeight  = 8 * hour // ms: a period that was measured over and over, after steps back
	mostWaiting = 1 << 16
	earliest    = 0                                                       // 1970
	latest      = 231 * 36525 / 100 * 24 * hour * int64(time.Millisecond) // 2201
)

// check returns what makes a state worthless.
func (s *State) check() error {
	if s.Period <= 0 || s.Period > int64(time.Hour) || int64(time.Hour)%s.Period != 0 || s.Period%int64(time.Millisecond) != 0 {
		return fmt.Errorf("period of %d ns", s.Period)
	}
	if s.TopRev < 0 || s.TopRev > mostRevs || s.OverRev < 0 || s.OverRev > mostRevs {
		return fmt.Errorf("revisions %d and %d", s.TopRev, s.OverRev)
	}
	if len(s.Open) > 1 || len(s.Closed) > reopenable || len(s.Waiting) > mostWaiting || len(s.Issued) > mostSpans {
		return fmt.Errorf("%d open, %d closed, %d waiting, %d spans", len(s.Open), len(s.Closed), len(s.Waiting), len(s.Issued))
	}
	for i := range s.Open {
		if err := s.Open[i].check(); err != nil {
			return fmt.Errorf("open period: %w", err)
		}
	}
	for i := range s.Closed {
		if err := s.Closed[i].check(); err != nil {
			return fmt.Errorf("closed period %d: %w", i, err)
		}
	}
	for i := range s.Waiting {
		w := &s.Waiting[i]
		if err := w.Period.check(); err != nil {
			return fmt.Errorf("waiting period %d: %w", i, err)
		}
		run := w.Until - w.Period.End
		if w.Until != 0 && (w.Until < 0 || run > int64(MostSkipped) || run > 0 && !w.Period.empty()) {
			return fmt.Errorf("waiting period %d: runs until %d", i, w.Until)
		}
	}
	for i, sp := range s.Issued {
		if sp.From < earliest || sp.To > latest || sp.From >= sp.To || i > 0 && sp.From <= s.Issued[i-1].To {
			return fmt.Errorf("issued span %d from %d to %d", i, sp.From, sp.To)
		}
	}
	return nil
}

func (p *Period) check() error {
	length := p.End - p.Start
	switch {
	case p.Start < earliest || p.End > latest || length <= 0 || length > int64(time.Hour) || length%int64(time.Millisecond) != 0:
		return fmt.Errorf("from %d to %d", p.Start, p.End)
	case p.Rev < 0 || p.Rev > mostRevs:
		return fmt.Errorf("revision %d", p.Rev)
	case p.Samples < 0 || p.Bad < 0 || int64(p.Samples) > mostPolls || int64(p.Bad) > mostPolls:
		return fmt.Errorf("%d samples, %d bad", p.Samples, p.Bad)
	case p.Clock > meter.Synced || p.Flags&^meter.AllFlags != 0:
		return fmt.Errorf("clock %d, flags %#x", p.Clock, uint32(p.Flags))
	}
	for i := range p.Phase {
		s := &p.Phase[i]
		if s.Weight < 0 || s.Weight > mostWeight || s.Held < 0 || s.Held > s.Weight {
			return fmt.Errorf("%v: weight %d, held %d", meter.Phase(i), s.Weight, s.Held)
		}
		for _, m := range []*Moments{&s.V, &s.I} {
			if err := m.check(s.Weight, length); err != nil {
				return fmt.Errorf("%v: %w", meter.Phase(i), err)
			}
		}
		for _, f := range []*Flow{&s.P, &s.Q} {
			if err := f.check(s.Weight); err != nil {
				return fmt.Errorf("%v: %w", meter.Phase(i), err)
			}
		}
		if s.V.Stamped != s.I.Stamped || s.V.Stamped != s.P.Stamped || s.V.Stamped != s.Q.Stamped {
			return fmt.Errorf("%v: readings %d, %d, %d and %d", meter.Phase(i), s.V.Stamped, s.I.Stamped, s.P.Stamped, s.Q.Stamped)
		}
	}
	if p.NeutralWeight < 0 || p.NeutralWeight > mostWeight {
		return fmt.Errorf("neutral: weight %d", p.NeutralWeight)
	}
	if err := p.Neutral.check(p.NeutralWeight, length); err != nil {
		return fmt.Errorf("neutral: %w", err)
	}
	return p.Total.check()
}

func (s *TotalSums) check() error {
	most := int64(meter.Phases) * Largest
	switch {
	case s.Weight < 0 || s.Weight > mostWeight:
		return fmt.Errorf("total: weight %d", s.Weight)
	case !within(s.P, s.Weight, most) || !within(s.Q, s.Weight, most) || !within(s.Import, s.Weight, most) || !within(s.Export, s.Weight, most):
		return fmt.Errorf("total: sums %d and %d over %d ms", s.P, s.Q, s.Weight)
	case s.Import < 0 || s.Export < 0 || s.Import-s.Export != s.P:
		return fmt.Errorf("total: import %d less export %d is not %d", s.Import, s.Export, s.P)
	}
	return nil
}

// check also holds the mean of squares against the square of the mean, which it
// can't be below.
func (m *Moments) check(weight, length int64) error {
	if err := checkStamps(m.Stamped, m.Min, m.Max); err != nil {
		return err
	}
	if m.MaxAt < 0 || m.MaxAt >= length {
		return fmt.Errorf("maximum at %d ns of %d", m.MaxAt, length)
	}
	if !within(m.Sum, weight, Largest) {
		return fmt.Errorf("sum %d over %d ms", m.Sum, weight)
	}
	squares := new(big.Int).SetUint64(m.SquareHi)
	squares.Lsh(squares, 64).Or(squares, new(big.Int).SetUint64(m.SquareLo))
	large, w, sum := big.NewInt(Largest), big.NewInt(weight), big.NewInt(m.Sum)
	most := new(big.Int).Mul(large, large)
	if squares.Cmp(most.Mul(most, w)) > 0 || new(big.Int).Mul(squares, w).Cmp(new(big.Int).Mul(sum, sum)) < 0 {
		return fmt.Errorf("squares %v, sum %d over %d ms", squares, m.Sum, weight)
	}
	return nil
}

func (f *Flow) check(weight int64) error {
	if err := checkStamps(f.Stamped, f.Min, f.Max); err != nil {
		return err
	}
	if !within(f.Sum, weight, Largest) || !within(f.Import, weight, Largest) || !within(f.Export, weight, Largest) ||
		f.Import < 0 || f.Export < 0 || f.Import-f.Export != f.Sum {
		return fmt.Errorf("sum %d, import %d, export %d over %d ms", f.Sum, f.Import, f.Export, weight)
	}
	return nil
}

func checkStamps(n int, low, high int64) error {
	if n < 0 || int64(n) > mostPolls || low > high || low < -Largest || high > Largest || n == 0 && (low != 0 || high != 0) {
		return fmt.Errorf("%d readings from %d to %d", n, low, high)
	}
	return nil
}

// within reports whether a sum over weight is one of values of at most most.
func within(sum, weight, most int64) bool { return fixed.Magnitude(sum) <= uint64(weight)*uint64(most) }
