package dnp3

import (
	"math"
	"time"

	"lvagent/dnp3/app"
)

// write carries out WRITE.
func (s *session) write(f app.Fragment, now time.Duration) (iin app.IIN) {
	headers := f.Headers()
	for {
		h, ok := headers.Next()
		if !ok {
			return iin | headers.IIN()
		}
		switch {
		case h.Group == 50 && (h.Variation == 1 || h.Variation == 3):
			iin |= s.writeTime(h, now)
		case h.Group == 80 && h.Variation == 1:
			// IIN1.7 can be cleared, and no other written.
			if !h.IsRange() || h.Start != 7 || h.Stop != 7 || h.Packed()[0]&1 != 0 {
				iin |= app.ParameterError
				continue
			}
			s.restart = false
		case h.Group == 34:
			iin |= s.writeDeadbands(h)
		default:
			iin |= app.ObjectUnknown
		}
	}
}

// writeTime takes the time in: at once, or as it was when RECORD_CURRENT_TIME
// came, so that the way of the frames does not count.
func (s *session) writeTime(h app.Header, now time.Duration) app.IIN {
	if (h.Qualifier != app.Count8 && h.Qualifier != app.Count16) || h.Count != 1 {
		return app.ParameterError
	}
	_, object := h.Object(0)
	t := app.Time(object)
	if h.Variation == 3 {
		if !s.hasRecorded {
			return app.ParameterError
		}
		t += (now - s.recorded).Milliseconds()
		s.hasRecorded = false
	}
	if t > app.MostTime || s.o.config.SetTime == nil || !s.o.config.SetTime(s.master.Address, t) {
		return app.ParameterError
	}
	s.o.set, s.o.setAt = true, now
	return 0
}

// writeDeadbands takes deadbands of analog inputs in: all of a header, or none.
func (s *session) writeDeadbands(h app.Header) app.IIN {
	l, _ := app.LayoutOf(h.Group, h.Variation)
	if s.readOnly() {
		return app.ParameterError
	}
	if !h.IsRange() && !h.IsPrefixed() {
		return app.ParameterError
	}
	each := func(do func(e *entry, deadband float64)) bool {
		for i := range int(h.Count) {
			index, object := h.Object(i)
			position := s.o.db.find(AnalogInput, index)
			deadband := l.Decode(object, 0).Number
			if position < 0 || math.IsNaN(deadband) || math.IsInf(deadband, 0) || deadband < 0 {
				return false
			}
			do(&s.o.db.points[AnalogInput][position], deadband)
		}
		return true
	}
	if !each(func(*entry, float64) {}) {
		return app.ParameterError
	}
	each(func(e *entry, deadband float64) { e.Deadband, e.written = deadband, true })
	s.o.settingsChanged()
	return 0
}

func (o *Outstation) settingsChanged() {
	o.revision++
	if o.config.Settings != nil {
		o.config.Settings()
	}
}

// pointsOf calls do with the points that a header without objects names; the
// indication says what was wrong.
func (s *session) pointsOf(h app.Header, of Type, do func(position int)) app.IIN {
	var iin app.IIN
	switch {
	case h.Qualifier == app.All:
		for i := range s.o.db.points[of] {
			do(i)
		}
	case h.IsRange():
		first, end, whole := s.o.db.within(of, h.Start, h.Stop)
		if !whole {
			iin = app.ParameterError
		}
		for i := first; i < end; i++ {
			do(i)
		}
	case h.IsPrefixed():
		for n := range int(h.Count) {
			index, _ := h.Object(n)
			if i := s.o.db.find(of, index); i >= 0 {
				do(i)
			} else {
				iin = app.ParameterError
			}
		}
	default:
		iin = app.ParameterError
	}
	return iin
}

// freeze carries out the FREEZE family.
func (s *session) freeze(f app.Fragment, now time.Duration, wall int64) (iin app.IIN) {
	if s.readOnly() {
		return app.NoFunction
	}
	clear := f.Function == app.FreezeClear || f.Function == app.FreezeClearNR
	changed := false
	headers := f.Headers()
	for n := 0; ; n++ {
		h, ok := headers.Next()
		if !ok {
			break
		}
		if n == mostItems {
			iin |= app.ParameterError
			break
		}
		if h.Group != 20 || h.Variation != 0 {
			iin |= app.ObjectUnknown
			continue
		}
		iin |= s.pointsOf(h, Counter, func(position int) {
			changed = true
			m := s.o.db.freeze(position, clear, wall)
			s.o.event(frozenCounter, position, s.o.db.points[Counter][position].Index, 0, m, now)
		})
	}
	if changed {
		s.o.settingsChanged()
	}
	return iin | headers.IIN()
}

// assign carries out ASSIGN_CLASS: a class, then the points that get it.
func (s *session) assign(f app.Fragment) (iin app.IIN) {
	if s.readOnly() {
		return app.NoFunction
	}
	class, has, changed := NoEvents, false, false
	headers := f.Headers()
	for n := 0; ; n++ {
		h, ok := headers.Next()
		if !ok {
			break
		}
		if n == mostItems {
			iin |= app.ParameterError
			break
		}
		if h.Group == 60 {
			if has = h.Variation >= 1 && h.Variation <= 4 && h.Qualifier == app.All; !has {
				iin |= app.ParameterError
			}
			class = Class(h.Variation - 1)
			continue
		}
		src, of, ok := staticOf(h.Group, h.Variation)
		if !ok || src == fromDeadbands {
			iin |= app.ObjectUnknown
			continue
		}
		if !has {
			iin |= app.ParameterError
			continue
		}
		classes := s.classes[of]
		if src == fromFrozen {
			classes = s.frozenClasses
		}
		iin |= s.pointsOf(h, of, func(position int) {
			changed = changed || classes[position] != class
			classes[position] = class
		})
	}
	if changed {
		s.o.settingsChanged()
	}
	return iin | headers.IIN()
}

// restartDevice answers with how long a restart takes.
func (s *session) restartDevice(f app.Fragment) app.IIN {
	if s.readOnly() || s.o.config.Restart == nil {
		return app.NoFunction
	}
	wait, ok := s.o.config.Restart(s.master.Address, f.Function == app.ColdRestart)
	if !ok {
		return app.NoFunction
	}
	variation, n := uint8(2), wait.Milliseconds()
	if n > math.MaxUint16 {
		variation, n = 1, min(int64(math.Ceil(wait.Seconds())), math.MaxUint16)
	}
	n = max(n, 0)
	s.response.octets = append(s.response.octets, 52, variation, byte(app.Count8), 1, byte(n), byte(n>>8))
	return 0
}
