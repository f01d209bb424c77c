package pq

import (
	"slices"

	"lvagent/meter"
)

// Limits, in ppm of nominal or of the quantity.
const (
	tenth       = 100_000 // EN 50160: +-10 % for 95 % of the week
	fifteenth   = 150_000 // EN 50160: -15 % always
	sixHundreth = 60_000  // ESQCR 2002 regulation 27: -6 %

	// VUFLimit and THDLimit are those of EN 50160, each for 95 % of the week.
	VUFLimit meter.PPM = 20_000
	THDLimit meter.PPM = 80_000
)

// Report returns what is known of the running week.
func (m *Monitor) Report() (meter.SupplyWeek, bool) {
	if !m.begun {
		return meter.SupplyWeek{}, false
	}
	_, slot := weekOf(m.open.index)
	return m.report(slot, false), true
}

// report judges the first passed intervals of the week.
func (m *Monitor) report(passed int, whole bool) meter.SupplyWeek {
	r := meter.SupplyWeek{
		Way: m.cfg.Way, Start: startOf(m.week, 0), End: startOf(m.week, perWeek), Whole: whole,
		Expected: passed, Offset: m.cfg.Offset,
	}
	for _, f := range m.flags {
		if f&event != 0 {
			r.Flagged++
		}
		if f&suspect != 0 {
			r.Suspect++
		}
	}
	scratch := make([]uint16, 0, perWeek)
	for p, has := range m.cfg.Phases {
		if has {
			r.Phase[p] = m.phase(p, whole, scratch)
		}
	}
	r.VUF = spread(m.vuf, VUFLimit, whole, scratch)
	r.PVUR = m.pvur(scratch)
	var f meter.FrequencyWeek
	var events [3]int64
	var counted [3]bool
	for _, d := range m.days {
		if d.Frequency.Readings > 0 {
			if f.Readings == 0 {
				f = d.Frequency
			} else {
				f.Readings += d.Frequency.Readings
				f.OutOf1 += d.Frequency.OutOf1
				f.Min, f.Max = min(f.Min, d.Frequency.Min), max(f.Max, d.Frequency.Max)
			}
		}
		for i := range events {
			events[i] += d.Events[i]
			counted[i] = counted[i] || d.Counted[i]
		}
		r.Doubtful += d.Doubtful
	}
	if f.Readings > 0 {
		r.Frequency = &f
	}
	for i, to := range [...]**int64{&r.Dips, &r.Swells, &r.Interruptions} {
		if counted[i] {
			*to = &events[i]
		}
	}
	return r
}

func millivolts(v uint16) meter.Millivolts { return meter.Millivolts(v-1) * 10 }

func (m *Monitor) phase(p int, whole bool, scratch []uint16) *meter.SupplyPhase {
	r := &meter.SupplyPhase{THDV: spread(m.thdv[p], THDLimit, whole, scratch)}
	for _, d := range m.days {
		r.Dead += d.Down[p]
	}
	nominal := m.cfg.Nominal
	part := func(ppm meter.Millivolts) meter.Millivolts { return nominal * ppm / 1_000_000 }
	values := scratch[:0]
	for slot, v := range m.volts[p] {
		if v == 0 {
			continue
		}
		mv := millivolts(v)
		if len(values) == 0 || mv < r.Min {
			r.Min, r.MinAt = mv, startOf(m.week, slot)
		}
		if len(values) == 0 || mv > r.Max {
			r.Max, r.MaxAt = mv, startOf(m.week, slot)
		}
		values = append(values, v)
		at := mv - m.cfg.Offset
		if at < nominal-part(tenth) || at > nominal+part(tenth) {
			r.OutOf10++
		}
		if at < nominal-part(fifteenth) || at > nominal+part(tenth) {
			r.OutOfRange++
			if m.flags[slot]&event == 0 {
				r.OutUnflagged++
			}
		}
		if at < nominal-part(sixHundreth) {
			r.Below++
		}
		if at > nominal+part(tenth) {
			r.Above++
		}
	}
	r.Intervals = len(values)
	if len(values) > 0 {
		slices.Sort(values)
		r.P5, r.Median, r.P95 = millivolts(rank(values, 5)), millivolts(rank(values, 50)), millivolts(rank(values, 95))
	}
	r.Verdict = verdict(len(values), r.OutOf10, r.OutOfRange, whole)
	return r
}

// rank returns the smallest of the sorted values that at least percent of them
// do not exceed.
func rank(sorted []uint16, percent int) uint16 {
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}

// verdict compares a week with a limit that 95 % must keep, and another that all
// must. More than 5 % of a whole week out is a failure before the week is over;
// only a week with 90 % of its values can pass.
func verdict(n, out, never int, whole bool) meter.Verdict {
	enough := whole && n*10 >= perWeek*9
	switch {
	case never > 0, out*20 > perWeek, enough && out*20 > n:
		return meter.Fail
	case enough:
		return meter.Pass
	default:
		return meter.Incomplete
	}
}

// spread sums up shares that were noted in 100 ppm, plus one.
func spread(noted []uint16, limit meter.PPM, whole bool, scratch []uint16) *meter.Spread {
	values := scratch[:0]
	s := &meter.Spread{Limit: limit}
	for _, v := range noted {
		if v == 0 {
			continue
		}
		values = append(values, v)
		if limit > 0 && meter.PPM(v-1)*100 > limit {
			s.Over++
		}
	}
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	s.Intervals = len(values)
	s.P95, s.Max = meter.PPM(rank(values, 95)-1)*100, meter.PPM(values[len(values)-1]-1)*100
	if limit > 0 {
		s.Verdict = verdict(len(values), s.Over, 0, whole)
	}
	return s
}

// pvur is the largest deviation of a phase from the mean of the three. Without
// the angles it says little of the negative sequence, so it has no verdict.
func (m *Monitor) pvur(scratch []uint16) *meter.Spread {
	if m.cfg.Phases != [meter.Phases]bool{true, true, true} {
		return nil
	}
	noted := make([]uint16, 0, perWeek)
	for slot := range m.volts[0] {
		a, b, c := int64(m.volts[0][slot]), int64(m.volts[1][slot]), int64(m.volts[2][slot])
		if a == 0 || b == 0 || c == 0 || a+b+c == 3 {
			continue
		}
		a, b, c = a-1, b-1, c-1
		sum := a + b + c
		off := max(3*max(a, b, c)-sum, sum-3*min(a, b, c)) // three times the deviation
		noted = append(noted, uint16(min(off*10_000/sum, 65_534))+1)
	}
	return spread(noted, 0, false, scratch)
}

// Way returns the way that is watched.
func (m *Monitor) Way() string { return m.cfg.Way }
