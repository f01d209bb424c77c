package modbus

import (
	"fmt"

	"lvagent/meter"
)

// Setup is how a meter is connected: what a site knows and a profile cannot.
type Setup struct {
	Way     string
	Unit    uint8
	Channel int // way of the device, from 1; 0 is 1

	// Invert names the phases of the way whose transformers are mounted the
	// other way round.
	Invert [meter.Phases]bool
	// Map is the phase that each input of the meter is connected to. Its zero
	// value is in order.
	Map [meter.Phases]meter.Phase

	// Ratios of the instrument transformers, 0 where the site does not say.
	CT, VT, NeutralCT float64

	Neutral Neutral
}

var inOrder = [meter.Phases]meter.Phase{meter.L1, meter.L2, meter.L3}

// Neutral says what is known of a way's neutral conductor.
type Neutral uint8

// Neutrals. The zero value leaves it to the profile: measured where the meter
// can, else derived.
const (
	NeutralAsProfile Neutral = iota
	NeutralMeasured
	NeutralNone   // no transformer sits round it: derived from the phases
	NeutralShared // with other ways: neither measured nor derived
)

// channel returns the way of the device, from 1.
func (s *Setup) channel() int { return max(s.Channel, 1) }

// SetupFault is one thing in which a site does not fit a profile. Key is that of
// the way in the site file.
type SetupFault struct{ Key, Message string }

// CheckSetup returns in what a setup does not fit the profile.
func (p *Profile) CheckSetup(s Setup) (faults []SetupFault) {
	fault := func(key, format string, args ...any) {
		faults = append(faults, SetupFault{key, fmt.Sprintf(format, args...)})
	}
	if n := p.Ways(); n > 0 && s.channel() > n {
		fault("channel", "the meter measures %d ways, there is no %d", n, s.Channel)
	}
	if s.Neutral == NeutralMeasured && !p.MeasuresNeutral() {
		fault("neutral", "profile %s has no register for the neutral current", p.id)
	}
	given := [ratioClasses]float64{s.CT, s.VT, s.NeutralCT}
	for class, name := range ratioNames {
		r := p.ratios.class[class]
		switch {
		case given[class] > 0 && !p.ratios.byAgent && r == nil:
			fault(name+"_ratio", "the meter applies it, and profile %s has no register to check it against", p.id)
		case given[class] == 0 && p.ratios.byAgent && r == nil && ratioClass(class) == ct:
			fault(name+"_ratio", "profile %s has no register for it: the site must say", p.id)
		}
	}
	if p.ways.kind == unitID && int(s.Unit)+s.channel()-1 > 255 {
		fault("channel", "its unit would be %d, at most 255", int(s.Unit)+s.channel()-1)
	}
	return faults
}

// ratioClass is one of the instrument transformers that a value went through.
type ratioClass uint8

const (
	ct ratioClass = iota
	vt
	neutralCT
	ratioClasses
)

var ratioNames = [ratioClasses]string{"ct", "vt", "neutral_ct"}

// ratio is where a transformer's ratio is known from.
type ratio struct {
	fixed     float64 // 0: from registers
	primary   *static
	secondary *static // nil: by
	by        float64
}

// ratios says who multiplies by the transformers' ratios.
type ratios struct {
	byAgent bool
	class   [ratioClasses]*ratio
}

// of returns the ratios to multiply by: the site's, else what was read, else the
// profile's. The neutral's transformer is by default like the others.
func (r *ratios) of(s Setup, read [ratioClasses]float64) (out [ratioClasses]float64) {
	given := [ratioClasses]float64{s.CT, s.VT, s.NeutralCT}
	for i := range out {
		c := r.class[i]
		switch {
		case given[i] > 0:
			out[i] = given[i]
		case read[i] > 0:
			out[i] = read[i]
		case c != nil && c.fixed > 0:
			out[i] = c.fixed
		case ratioClass(i) == neutralCT:
			out[i] = out[ct]
		default:
			out[i] = 1
		}
	}
	return out
}
