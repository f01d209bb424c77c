package modbus

import (
	"errors"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	"lvagent/meter"
)

// static is a register that is read at the start and now and then, with a
// request of its own.
type static struct {
	fc   uint8
	addr uint16
	layout
	scale float64

	line int
	path string
}

// match is what a register of the right meter holds. One of the lists is set.
type match struct {
	static
	raw   []uint64
	words []uint16
	texts []string
	regex *regexp.Regexp
}

func (m *match) holds(words []uint16) bool {
	switch {
	case len(m.raw) > 0:
		return slices.Contains(m.raw, m.layout.raw(words))
	case len(m.words) > 0:
		return slices.Equal(m.words, words)
	case m.regex != nil:
		return m.regex.MatchString(m.text(words))
	default:
		return slices.Contains(m.texts, m.text(words))
	}
}

// identification is by what a meter is known.
type identification struct {
	matches []match
	warn    bool // go on with another meter, with every value Suspect
	serial  *static
}

// recheck is how often a meter that answers is asked again who it is. After an
// outage it is asked at once. What its ratios are it is asked at each slow period
// as well.
const recheck = time.Hour

// again is how often a meter that is not the right one is looked at again.
const again = 10 * time.Second

// sameRatio is how far two ratios may be apart and still be the same.
const sameRatio = 0.001

// acquaintance is what is known of the meter at the far end.
type acquaintance struct {
	known   bool          // asked, and not out of sight since
	at      time.Duration // since the meter was made
	other   bool          // another meter, which is tolerated
	serial  string
	ratio   [ratioClasses]float64 // as first read, or as the site says
	refused string                // why it has no values; empty when it has
	times   int                   // how often it was asked, or lost sight of
}

// asksFirst reports whether there is anything to ask before values count.
func (p *Profile) asksFirst() bool {
	return p.sunspec != nil || len(p.identity.matches) > 0 || p.identity.serial != nil ||
		slices.ContainsFunc(p.ratios.class[:], func(r *ratio) bool { return r != nil && r.primary != nil })
}

// ready finds out, when it is time to, whether the far end is the meter that the
// profile is for, set as the site says. Why is the reason for which no value
// counts; err means that the connection is gone.
func (m *Meter) ready() (why meter.Reason, err error) {
	k := &m.known
	now := m.clock()
	switch {
	case !m.profile.asksFirst() || k.known && now-k.at < recheck:
		return 0, nil
	case k.refused != "" && now-k.at < again:
		return meter.Mismatch, nil
	}
	m.forget()
	wrong, err := m.getToKnow()
	if err != nil {
		if keepsConnection(err) {
			return reason(err), nil
		}
		return reason(err), err
	}
	m.judge(wrong)
	if wrong != "" {
		return meter.Mismatch, nil
	}
	return 0, nil
}

// forget makes the meter one that has to be asked who it is before its values
// count.
func (m *Meter) forget() {
	m.known.known = false
	m.known.times++
}

// judge takes note of what is wrong with the meter, or that nothing is.
func (m *Meter) judge(wrong string) {
	m.say(wrong)
	m.known.known, m.known.at = wrong == "", m.clock()
}

// say logs when a meter becomes, or is no longer, one without values.
func (m *Meter) say(wrong string) {
	if wrong == m.known.refused {
		return
	}
	if m.known.refused = wrong; wrong != "" {
		m.client.log.Error("meter has no values", "way", m.setup.Way, "unit", m.unit, "profile", m.profile.id, "why", wrong)
		return
	}
	m.client.log.Info("meter is as configured again", "way", m.setup.Way, "unit", m.unit)
}

// getToKnow asks the meter who it is and how it is set. It returns what is wrong
// about it, or the error for which that is not known.
func (m *Meter) getToKnow() (wrong string, err error) {
	if s := m.profile.sunspec; s != nil {
		if wrong, err = m.discover(s); wrong != "" || err != nil {
			return wrong, err
		}
	}
	m.known.other = false
	for i := range m.profile.identity.matches {
		id := &m.profile.identity.matches[i]
		words, err := m.fetch(&id.static)
		switch {
		case err == nil && id.holds(words):
			continue
		case err != nil && !isRefusal(err):
			return "", err
		case !m.profile.identity.warn:
			return "it is another meter: " + id.path + " of the profile does not match", nil
		}
		m.known.other = true
	}
	if s := m.profile.identity.serial; s != nil {
		words, err := m.fetch(s)
		serial := ""
		if err == nil {
			serial = s.name(words)
		}
		switch {
		case err != nil && !isRefusal(err):
			return "", err
		case err == nil && serial != m.known.serial:
			m.client.log.Info("meter's serial number", "way", m.setup.Way, "unit", m.unit, "serial", serial, "before", m.known.serial)
			m.known.serial = serial
			m.serial.Store(&serial)
		}
	}
	return m.checkRatios()
}

// isRefusal reports whether the meter said that it has no such register, as
// another meter would.
func isRefusal(err error) bool {
	var ex *ExceptionError
	return errors.As(err, &ex) && ex.Code >= 1 && ex.Code <= 3
}

// checkRatios reads the ratios. One that the site gives must be the meter's; of
// the others the first that was read holds, for a change of it is a change of
// what every value means.
func (m *Meter) checkRatios() (wrong string, err error) {
	r := &m.profile.ratios
	for i, c := range r.class {
		if c == nil || c.primary == nil {
			continue
		}
		x, err := m.readRatio(c)
		if err != nil {
			return "", err
		}
		if wrong := m.checkRatio(ratioClass(i), x); wrong != "" {
			return wrong, nil
		}
	}
	for _, l := range []*lane{&m.fast, &m.slow} {
		l.dec.scale(r.of(m.setup, m.known.ratio))
	}
	return "", nil
}

// checkRatio says what is wrong with a ratio that the meter has.
func (m *Meter) checkRatio(class ratioClass, x float64) (wrong string) {
	want := [ratioClasses]float64{m.setup.CT, m.setup.VT, m.setup.NeutralCT}[class]
	if want == 0 {
		want = m.known.ratio[class]
	}
	switch {
	case !(x > 0) || math.IsInf(x, 0):
		return ratioNames[class] + " ratio of the meter is no number above 0"
	case want == 0:
		m.known.ratio[class] = x
	case math.Abs(x-want) > want*sameRatio:
		return ratioNames[class] + " ratio of the meter is " + format(x) + ", not " + format(want)
	}
	return ""
}

func (m *Meter) readRatio(c *ratio) (float64, error) {
	x, err := m.fetchNumber(c.primary)
	if err != nil || c.secondary == nil {
		return x / c.by, err
	}
	y, err := m.fetchNumber(c.secondary)
	return x / y, err
}

// fetchNumber reads a register that holds a number; what is none is 0.
func (m *Meter) fetchNumber(s *static) (float64, error) {
	words, err := m.fetch(s)
	if err != nil {
		return 0, err
	}
	x, why := s.number(s.raw(words))
	if why != 0 {
		return 0, nil
	}
	return x * s.scale, nil
}

// name is what the register holds, as people write it.
func (s *static) name(words []uint16) string {
	if s.kind.isText() {
		return s.text(words)
	}
	x, _ := s.number(s.raw(words))
	return strconv.FormatFloat(x, 'f', -1, 64)
}

// fetch reads a static register.
func (m *Meter) fetch(s *static) ([]uint16, error) {
	return m.ask(s.fc, s.addr, s.size)
}
