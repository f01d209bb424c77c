package spi

import (
	"fmt"
	"math"
	"slices"

	"go.yaml.in/yaml/v3"

	"lvagent/meter"
)

// Calibration is what one board makes of volts and amperes. It is not changed
// once parsed.
type Calibration struct {
	board      string
	version    uint32 // of the chip; 0: any
	hertz      int
	integrator bool
	nominal    float64 // V
	dip, swell float64 // shares of nominal
	channel    [channels]channelCalibration
	neutral    float64 // primary A at full scale; 0: none
}

// channelCalibration is one voltage and current input.
type channelCalibration struct {
	used     bool
	phase    meter.Phase
	volts    float64 // at full scale, gain included
	amps     float64 // primary, at full scale, gain included
	phaseCal int32   // as the chip's register takes it
	invert   bool
	line     int
}

// MeasuresNeutral reports whether the board has a channel for the neutral.
func (c *Calibration) MeasuresNeutral() bool { return c.neutral != 0 }

// mostFile is the largest calibration file: a real one has a kilobyte.
const mostFile = 64 << 10

// Limits of what a board can be. What is beyond is a slip.
const (
	mostVolts, mostAmps    = 5_000, 100_000
	mostRatio              = 50_000
	mostOfNominal          = 10 // VLEVEL has room for 14
	leastGain, mostGain    = 0.5, 2
	mostPhaseCal           = 1<<28 - 1
	vlevelUnit             = 1_144_084 // VLEVEL for a nominal voltage at full scale (UG-1098)
	levelShift             = 5         // DIP_LVL and SWELL_LVL leave out so many bits of an rms
	integratorCoefficients = 0xFFFFE000
)

// ParseCalibration reads a calibration file and returns every fault in it. With
// a fault there is no calibration.
func ParseCalibration(text []byte) (*Calibration, []Fault) {
	f := &form{}
	if len(text) > mostFile {
		f.add(0, "", "the file is larger than %d octets", mostFile)
		return nil, f.faults
	}
	c := &Calibration{hertz: 50, nominal: 230, dip: 0.9, swell: 1.1}
	if root := f.document(text); root != nil {
		f.calibration(c, root)
	}
	if len(f.faults) > 0 {
		return nil, f.faults
	}
	return c, nil
}

func (f *form) calibration(c *Calibration, root *yaml.Node) {
	m := f.mapping(root, "", "schema", "board", "chip", "version", "frequency", "nominal_v", "dip", "swell", "integrator", "channels", "neutral")
	if m == nil {
		return
	}
	f.needs(root, "", m, "schema", "board", "chip", "channels")
	if v, ok := f.number(m["schema"], "schema", 1, 1); ok && v != 1 {
		f.fault(m["schema"], "schema", "must be 1, not %v", v)
	}
	c.board = f.text(m["board"], "board")
	if n := m["chip"]; n != nil && f.text(n, "chip") != Profile {
		f.fault(n, "chip", "must be %s, not %q", Profile, n.Value)
	}
	if v, ok := f.whole(m["version"], "version", 1, 0xffff); ok {
		if v&^versionMask != 0 {
			f.fault(m["version"], "version", "the lowest six bits are not part of the version: 0x%04x", v)
		}
		c.version = uint32(v)
	}
	if v, ok := f.whole(m["frequency"], "frequency", 50, 60); ok {
		if v != 50 && v != 60 {
			f.fault(m["frequency"], "frequency", "must be 50 or 60, not %d", v)
		}
		c.hertz = int(v)
	}
	f.set(&c.nominal, m["nominal_v"], "nominal_v", 10, mostVolts)
	f.set(&c.dip, m["dip"], "dip", 0.1, 0.99)
	f.set(&c.swell, m["swell"], "swell", 1.01, 2)
	c.integrator = f.truth(m["integrator"], "integrator")
	f.channels(c, m["channels"])
	f.neutral(c, m["neutral"])
	for i := range c.channel {
		switch ch := &c.channel[i]; {
		case !ch.used || ch.volts == 0:
		case ch.volts < c.nominal*c.swell: // it would never be counted
			f.add(ch.line, "channels", "channel %c is at full scale at %.1f V, below the swell of %.1f V", 'A'+i, ch.volts, c.nominal*c.swell)
		case ch.volts > c.nominal*mostOfNominal:
			f.add(ch.line, "channels", "channel %c is at full scale at %.1f V, more than %d times nominal_v", 'A'+i, ch.volts, mostOfNominal)
		}
	}
}

func (f *form) channels(c *Calibration, n *yaml.Node) {
	list := f.list(n, "channels")
	if n != nil && n.Kind == yaml.SequenceNode && len(list) == 0 {
		f.fault(n, "channels", "there is none; nothing would be measured")
	}
	var phases []string
	for i, e := range list {
		at := fmt.Sprintf("channels[%d]", i)
		m := f.mapping(e, at, "channel", "phase", "full_scale_v", "full_scale_a", "ct_ratio", "gain_v", "gain_i", "phase_cal", "invert")
		if m == nil {
			continue
		}
		f.needs(e, at, m, "channel", "phase", "full_scale_v", "full_scale_a")
		ch := channelCalibration{used: true, line: e.Line}
		gainV, gainI, ratio := 1.0, 1.0, 1.0
		f.set(&ch.volts, m["full_scale_v"], at+".full_scale_v", 1, mostVolts)
		f.set(&ch.amps, m["full_scale_a"], at+".full_scale_a", 1e-6, mostAmps)
		f.set(&ratio, m["ct_ratio"], at+".ct_ratio", 1e-3, mostRatio)
		f.set(&gainV, m["gain_v"], at+".gain_v", leastGain, mostGain)
		f.set(&gainI, m["gain_i"], at+".gain_i", leastGain, mostGain)
		ch.volts *= gainV
		ch.amps *= gainI * ratio
		f.primary(e, at, ch.amps)
		if v, ok := f.number(m["phase_cal"], at+".phase_cal", -mostPhaseCal, mostPhaseCal); ok {
			if v != math.Trunc(v) {
				f.fault(m["phase_cal"], at+".phase_cal", "must be a whole number, not %v", v)
			}
			ch.phaseCal = int32(v)
		}
		ch.invert = f.truth(m["invert"], at+".invert")
		if name := f.text(m["phase"], at+".phase"); name != "" {
			p, ok := meter.ParsePhase(name)
			switch {
			case !ok:
				f.fault(m["phase"], at+".phase", "must be L1, L2 or L3, not %q", name)
			case slices.Contains(phases, name):
				f.fault(m["phase"], at+".phase", "%s is there twice", name)
			}
			ch.phase = p
			phases = append(phases, name)
		}
		name := f.text(m["channel"], at+".channel")
		k := slices.Index([]string{"A", "B", "C"}, name)
		switch {
		case name == "":
		case k < 0:
			f.fault(m["channel"], at+".channel", "must be A, B or C, not %q", name)
		case c.channel[k].used:
			f.fault(m["channel"], at+".channel", "%s is there twice", name)
		default:
			c.channel[k] = ch
		}
	}
}

func (f *form) neutral(c *Calibration, n *yaml.Node) {
	if n == nil {
		return
	}
	m := f.mapping(n, "neutral", "full_scale_a", "ct_ratio", "gain_i")
	if m == nil {
		return
	}
	f.needs(n, "neutral", m, "full_scale_a")
	gain, ratio := 1.0, 1.0
	f.set(&c.neutral, m["full_scale_a"], "neutral.full_scale_a", 1e-6, mostAmps)
	f.set(&ratio, m["ct_ratio"], "neutral.ct_ratio", 1e-3, mostRatio)
	f.set(&gain, m["gain_i"], "neutral.gain_i", leastGain, mostGain)
	c.neutral *= gain * ratio
	f.primary(n, "neutral", c.neutral)
}

// primary faults a range that no way can have: a ratio that was applied twice,
// or not at all.
func (f *form) primary(n *yaml.Node, path string, amps float64) {
	if amps != 0 && (amps < 1 || amps > mostAmps) {
		f.fault(n, path, "full scale is %.4g A on the primary side, must be 1 to %d", amps, mostAmps)
	}
}

// scale returns how codes become thousandths.
func (c *Calibration) scale() (k scale) {
	for i := range c.channel {
		ch := &c.channel[i]
		if k.phase[i] = none; !ch.used {
			continue
		}
		k.phase[i] = int(ch.phase)
		k.v[i] = ch.volts * 1000 / fullRMS
		k.i[i] = ch.amps * 1000 / fullRMS
		if k.p[i] = ch.volts * ch.amps * 1000 / fullWatt; ch.invert {
			k.p[i] = -k.p[i]
		}
	}
	k.n = c.neutral * 1000 / fullRMS
	return k
}

// settings returns what the chip's configuration has to be. Gains stay at one:
// they are part of the scale, where no bit of the wire reaches them.
func (c *Calibration) settings() []setting {
	config0, dicoeff, accmode := uint32(0), uint32(0), uint32(0)
	if c.integrator {
		config0, dicoeff = 1<<5|1<<11, integratorCoefficients
	}
	if c.hertz == 60 {
		accmode = 1 << 8
	}
	// One level for all three, so of the largest full scale: codes are lowest there.
	full := 0.0
	for i := range c.channel {
		full = max(full, c.channel[i].volts)
	}
	nominal := c.nominal / full
	level := func(share float64) uint32 { return uint32(nominal*share*fullRMS) >> levelShift }
	s := []setting{
		{regGain, 0}, // all channels at gain 1
		{regConfig0, config0},
		{regDICoeff, dicoeff},
		{regConfig1, 0},      // no burst; a dip is told of again while it lasts
		{regConfig2, 0x0A00}, // corner of the high-pass filter at 1.25 Hz
		{regConfig3, 0},
		{regAccMode, accmode},
		{regZeroX, 0x001E}, // zero crossing and period of the three voltages together
		{regMask0, 0},      // nothing hangs on the interrupt lines
		{regMask1, 0},
		{regVLevel, uint32(vlevelUnit / nominal)},
		{regDipLevel, level(c.dip)},
		{regDipCyc, 1},
		{regSwell, level(c.swell)},
		{regSwellCyc, 1},
		{regEPConfig, 0}, // no energy: its registers start at nothing with each reset
	}
	for i := range c.channel {
		s = append(s, setting{regPhaseCal + register(i)*stride, uint32(c.channel[i].phaseCal)})
	}
	return s
}
