package agent

import (
	"fmt"
	"slices"

	"lvagent/configs"
	"lvagent/meter"
	"lvagent/meter/modbus"
)

// neutrals are the words of a site file.
var neutrals = map[string]modbus.Neutral{
	"": modbus.NeutralAsProfile, "measured": modbus.NeutralMeasured,
	"none": modbus.NeutralNone, "shared": modbus.NeutralShared,
}

// setupOf returns how the meter of a way is connected.
func setupOf(w *configs.Way, m *configs.Meter) modbus.Setup {
	s := modbus.Setup{
		Way: w.ID, Unit: uint8(m.Unit), Channel: w.Channel, Invert: configs.PhaseSet(w.Invert),
		CT: w.CT, VT: w.VT, NeutralCT: w.NeutralCT, Neutral: neutrals[w.Neutral],
	}
	for i, name := range w.PhaseMap {
		if i < meter.Phases {
			s.Map[i], _ = meter.ParsePhase(name)
		}
	}
	return s
}

// checkWays finds where ways do not fit the profiles of their meters.
func (s *Site) checkWays(src *configs.Source) (faults []configs.Fault) {
	for i, m := range s.Config.Meters {
		if p := s.profiles[m.Profile]; p != nil && m.Poll < p.Refresh() {
			faults = append(faults, src.Fault(fmt.Sprintf("meters[%d].poll", i),
				"meter %s takes new values every %v only, a poll of %v would read repeats", m.ID, p.Refresh(), m.Poll))
		}
		faults = append(faults, s.checkWrites(src, i)...)
	}
	faults = append(faults, s.checkSensor(src)...)
	for i := range s.Config.Ways {
		w := &s.Config.Ways[i]
		m, p := s.meterOf(w)
		if m != nil && configs.IsSPI(m.URL) {
			faults = append(faults, frontEndWiring(src, i, w)...)
		}
		if p == nil {
			continue
		}
		for _, f := range p.CheckSetup(setupOf(w, m)) {
			faults = append(faults, src.Fault(fmt.Sprintf("ways[%d].%s", i, f.Key), "way %s: %s", w.ID, f.Message))
		}
	}
	for _, w := range s.Config.GroupMeters() {
		m, p := s.meterOf(&w)
		if p == nil {
			continue
		}
		group, _ := configs.GroupFeed(w.ID)
		i := slices.IndexFunc(s.Config.Groups, func(g configs.Group) bool { return g.ID == group })
		for _, f := range p.CheckSetup(setupOf(&w, m)) {
			faults = append(faults, src.Fault(fmt.Sprintf("groups[%d].%s", i, f.Key), "group %s: %s", group, f.Message))
		}
	}
	for i, a := range s.Config.Alarms {
		for _, id := range a.Ways {
			n := slices.IndexFunc(s.Config.Ways, func(w configs.Way) bool { return w.ID == id })
			if a.Quantity != "n" || n < 0 {
				continue
			}
			w := &s.Config.Ways[n]
			m, p := s.meterOf(w)
			if m != nil && s.calibrations[m.ID] != nil && !s.calibrations[m.ID].MeasuresNeutral() {
				faults = append(faults, src.Fault(fmt.Sprintf("alarms[%d].quantity", i),
					"the neutral current of way %s is not measured: the calibration of its board has no neutral", id))
			}
			if p == nil {
				continue
			}
			derived := w.Neutral == "" && !p.MeasuresNeutral() || w.Neutral == "none" || w.Neutral == "shared"
			if derived {
				faults = append(faults, src.Fault(fmt.Sprintf("alarms[%d].quantity", i),
					"the neutral current of way %s is not measured, and a derived one misses the third harmonics: it can have no alarm", id))
			}
		}
	}
	return faults
}

// checkSensor finds what is wrong with the meter that the temperature around the
// transformer is taken from.
func (s *Site) checkSensor(src *configs.Source) []configs.Fault {
	id := s.Config.Site.Thermal.Sensor
	if id == "" {
		return nil
	}
	fault := func(format string, args ...any) []configs.Fault {
		return []configs.Fault{src.Fault("site.transformer.ambient_meter", format, args...)}
	}
	i := slices.IndexFunc(s.Config.Meters, func(m configs.Meter) bool { return m.ID == id })
	if i < 0 {
		return fault("there is no meter %q", id)
	}
	p := s.profiles[s.Config.Meters[i].Profile]
	switch {
	case p == nil && !configs.IsSPI(s.Config.Meters[i].URL):
		return nil // said already
	case p == nil || !slices.Contains(p.Quantities(), "temperature"):
		return fault("profile %s has no register for the temperature", s.Config.Meters[i].Profile)
	case !slices.ContainsFunc(s.Config.Ways, func(w configs.Way) bool { return w.Meter == id }):
		return fault("meter %s measures no way, so nobody reads it", id)
	}
	return nil
}

// frontEndWiring finds keys that say nothing of a front end: it measures one way,
// and its ratios are those of its calibration.
func frontEndWiring(src *configs.Source, i int, w *configs.Way) (faults []configs.Fault) {
	for _, k := range []struct {
		key   string
		given bool
	}{
		{"channel", w.Channel != 1},
		{"ct_ratio", w.CT > 0}, {"vt_ratio", w.VT > 0}, {"neutral_ct_ratio", w.NeutralCT > 0}, {"neutral", w.Neutral != ""},
	} {
		if k.given {
			faults = append(faults, src.Fault(fmt.Sprintf("ways[%d].%s", i, k.key),
				"way %s: says nothing of a front end on an SPI bus; its calibration file does", w.ID))
		}
	}
	return faults
}

// meterOf returns the meter of a way and its profile, which is nil when one of
// them is faulty.
func (s *Site) meterOf(w *configs.Way) (*configs.Meter, *modbus.Profile) {
	i := slices.IndexFunc(s.Config.Meters, func(m configs.Meter) bool { return m.ID == w.Meter })
	if i < 0 {
		return nil, nil
	}
	m := &s.Config.Meters[i]
	return m, s.profiles[m.Profile]
}
