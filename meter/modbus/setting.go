package modbus

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// setting is one thing that may be set in the meter: nothing else is ever
// written by a profile.
type setting struct {
	name, unit string
	fc         uint8 // 6 or 16
	addr       uint16
	layout
	values    []float64 // those that it takes; empty: low to high
	low, high float64
	unlock    []unlock
	onlyIf    []match // besides what identifies the meter
}

// unlock is a fixed value that is written before a setting can be.
type unlock struct {
	fc   uint8
	addr uint16
	layout
	number uint64
}

// Setting is one thing that may be set in a meter, for people.
type Setting struct {
	Name, Unit string
	Allowed    string // values, like "0, 5, 8" or "1 to 60"
}

// Settings returns what the profile allows to be set.
func (p *Profile) Settings() (all []Setting) {
	for i := range p.settings {
		s := &p.settings[i]
		all = append(all, Setting{Name: s.name, Unit: s.unit, Allowed: s.allowed()})
	}
	return all
}

// setting returns the one of that name.
func (p *Profile) setting(name string) *setting {
	i := slices.IndexFunc(p.settings, func(s setting) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return &p.settings[i]
}

func (s *setting) allowed() string {
	if len(s.values) == 0 {
		return text64(s.low) + " to " + text64(s.high)
	}
	all := make([]string, len(s.values))
	for i, x := range s.values {
		all[i] = text64(x)
	}
	return strings.Join(all, ", ")
}

// parse returns the raw number of a value, as a person wrote it.
func (s *setting) parse(value string) (uint64, error) {
	x, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is no number", s.name, value)
	}
	permitted := s.low <= x && x <= s.high
	if len(s.values) > 0 {
		permitted = slices.Contains(s.values, x)
	}
	raw, fits := s.encode(x)
	if !permitted || !fits {
		return 0, fmt.Errorf("%s: %s is not among what it takes: %s", s.name, value, s.allowed())
	}
	return raw, nil
}

// say writes a raw number as people do; one that is none as its words.
func (s *setting) say(raw uint64) string {
	x, why := s.number(raw)
	if why != 0 {
		return fmt.Sprintf("0x%0*x", 4*int(s.size), raw)
	}
	return text64(x)
}

func text64(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// encode returns the raw number for x, and whether the layout can hold it. A
// 32-bit float holds the nearest.
func (l layout) encode(x float64) (raw uint64, ok bool) {
	low, high := 0.0, 0.0
	switch l.kind {
	case u16:
		high = math.MaxUint16
	case s16:
		low, high = math.MinInt16, math.MaxInt16
	case u32:
		high = math.MaxUint32
	case s32:
		low, high = math.MinInt32, math.MaxInt32
	case f32:
		y := float32(x)
		return uint64(math.Float32bits(y)), !math.IsInf(float64(y), 0) && x == x
	}
	if x != math.Trunc(x) || x < low || x > high {
		return 0, false
	}
	return uint64(int64(x)) & (1<<(16*l.size) - 1), true
}

var settingPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// maxSettings is how many things of a meter can be set at most.
const maxSettings = 16

// settings reads what may be written. It comes last: it has to know all that is
// read.
func (b *builder) settings(o object) {
	all := o.objects("writes", writeShape)
	if len(all) == 0 {
		return
	}
	if len(all) > maxSettings {
		o.fault("writes", "%d entries, at most %d", len(all), maxSettings)
		return
	}
	if b.p.sunspec != nil || b.p.ways.kind == unitID {
		o.fault("writes", "does not go with sunspec and ways of kind unit: what would be written to is not known here")
	}
	known := make([][]match, len(all))
	for i, w := range all {
		for _, m := range w.objects("only_if", matchShape) {
			if st, ok := b.static(m, 0); ok {
				known[i] = append(known[i], b.matching(m, st))
			}
		}
	}
	var written []place
	for i, w := range all {
		s := setting{name: w.text("name"), unit: w.text("unit"), onlyIf: known[i]}
		if s.name != "" && !settingPattern.MatchString(s.name) {
			w.fault("name", "%q: want small letters, digits and _, 32 at most", s.name)
		}
		if b.p.setting(s.name) != nil && s.name != "" {
			w.fault("name", "%q is there twice", s.name)
		}
		at, r, ok := b.writeTo(w)
		if ok {
			s.fc, s.addr, s.layout = r.fc, r.addr, r.layout
			b.takes(&s, w)
			written = b.untouched(at, written)
			b.placed(w.values["addr"], w.at("addr"), uint32(r.addr), r.size) // it is read back
		}
		for _, u := range w.objects("unlock", unlockShape) {
			at, r, ok := b.writeTo(u)
			if !ok {
				continue
			}
			written = b.untouched(at, written)
			x := u.number("value", 0)
			raw, fits := r.encode(x)
			if !fits {
				u.fault("value", "%s does not fit type %s", text64(x), kindNames[r.kind])
			}
			s.unlock = append(s.unlock, unlock{fc: r.fc, addr: r.addr, layout: r.layout, number: raw})
		}
		if !o.there("identify") && len(w.list("only_if")) == 0 {
			w.fault("", "nothing tells which meter would be written to: want only_if, or identify of the profile")
		}
		b.p.settings = append(b.p.settings, s)
	}
}

// place is registers that are written, and by what.
type place struct {
	object
	from, to uint32
}

// writeTo reads where and how a number is written.
func (b *builder) writeTo(o object) (at place, r reg, ok bool) {
	r = reg{fc: 3, layout: layout{order: b.start.order}}
	if !b.encode(&r, o, true) || !o.has("addr") || !o.has("fc") {
		return place{}, r, false
	}
	r.addr, ok = b.address(o.values["addr"], o.at("addr"))
	if r.fc != 6 && r.fc != 16 {
		o.fault("fc", "%d writes no register: want 6, one register, or 16", r.fc)
		ok = false
	}
	if r.fc == 6 && r.size > 1 {
		o.fault("fc", "function 6 writes one register, type %s takes %d", kindNames[r.kind], r.size)
		ok = false
	}
	return place{o, uint32(r.addr), uint32(r.addr) + uint32(r.size)}, r, ok
}

// takes reads which values a setting takes.
func (b *builder) takes(s *setting, o object) {
	if o.there("values") == o.there("range") {
		o.fault("", "wants one of values and range")
		return
	}
	fits := func(name string, i int) (float64, bool) {
		n := o.list(name)[i]
		x, _ := strconv.ParseFloat(n.Value, 64) // was checked
		if _, ok := s.encode(x); !ok {
			b.fault(n, index(o.at(name), i), "%s does not fit type %s", n.Value, kindNames[s.kind])
			return 0, false
		}
		return x, true
	}
	for i := range o.list("values") {
		if x, ok := fits("values", i); ok {
			s.values = append(s.values, x)
		}
	}
	if o.has("values") && len(o.list("values")) == 0 {
		o.fault("values", "permits nothing")
	}
	if o.has("range") {
		low, ok1 := fits("range", 0)
		high, ok2 := fits("range", 1)
		if s.low, s.high = low, high; ok1 && ok2 && low >= high {
			o.fault("range", "want lowest below highest")
		}
	}
}

// untouched checks that what is written is nothing that is read, and not written
// by another entry, and returns all that is written.
func (b *builder) untouched(at place, written []place) []place {
	fault := func(format string, args ...any) { at.fault("addr", format, args...) }
	meets := func(from uint32, size uint16) bool { return from < at.to && at.from < from+uint32(size) }
	for _, other := range written {
		if other.from < at.to && at.from < other.to {
			fault("overlaps %s", other.path)
		}
	}
	scales := map[int]bool{}
	for _, v := range b.p.values {
		scales[v.sf] = true
	}
	for i := range b.p.regs {
		r := &b.p.regs[i]
		for n := range b.p.ways.count {
			if r.fc != 3 || !meets(b.p.ways.at(r, n), r.size) {
				continue
			}
			if scales[i] {
				fault("touches %s, the scale of what is measured", r.path)
			} else {
				fault("touches %s, which is measured", r.path)
			}
			break
		}
	}
	for i := range b.statics {
		st := &b.statics[i]
		if st.fc != 3 || !meets(uint32(st.addr), st.size) {
			continue
		}
		if strings.HasPrefix(st.path, "ratios.") {
			fault("touches %s, the scale of what is measured", st.path)
		} else {
			fault("touches %s, by which the meter is known", st.path)
		}
	}
	return append(written, at)
}
