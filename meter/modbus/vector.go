package modbus

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"lvagent/meter"
)

// vector is a test that a profile carries: register contents and what the
// meter's display would say to them.
type vector struct {
	line  int
	path  string
	words []image
	want  []expectation
}

// image is a run of register contents.
type image struct {
	fc    uint8
	addr  uint16
	words []uint16
}

// expectation is what one register of a vector decodes to.
type expectation struct {
	line     int
	path     string
	quantity quantity
	phase    meter.Phase
	value    int64 // thousandths
	why      meter.Reason
}

// reasonNames are the words that stand for a missing value in a vector.
var reasonNames = map[string]meter.Reason{
	"sentinel": meter.Sentinel, "not_a_number": meter.NotANumber, "out_of_range": meter.OutOfRange,
}

func (f *form) vector(p *Profile, e *yaml.Node, path string) {
	m := f.mapping(e, path, "name", "words", "want")
	if m == nil {
		return
	}
	v := vector{line: e.Line, path: path}
	for _, key := range []string{"name", "words", "want"} {
		if m[key] == nil {
			f.fault(e, join(path, key), "is missing")
		}
	}
	if n := m["name"]; n != nil {
		f.text(n, join(path, "name"))
	}
	if n := m["words"]; n != nil {
		for i, run := range f.list(n, join(path, "words")) {
			f.image(p, &v, run, index(join(path, "words"), i))
		}
	}
	if n := m["want"]; n != nil {
		f.want(&v, n, join(path, "want"))
	}
	p.vectors = append(p.vectors, v)
}

func (f *form) image(p *Profile, v *vector, e *yaml.Node, path string) {
	m := f.mapping(e, path, "fc", "addr", "raw")
	if m == nil {
		return
	}
	for _, key := range []string{"fc", "addr", "raw"} {
		if m[key] == nil {
			f.fault(e, join(path, key), "is missing")
			return
		}
	}
	im := image{}
	fc, _ := f.whole(m["fc"], join(path, "fc"), 3, 4)
	im.fc = uint8(fc)
	im.addr, _ = f.address(p, m["addr"], join(path, "addr"))
	for i, n := range f.list(m["raw"], join(path, "raw")) {
		w, _ := f.whole(n, index(join(path, "raw"), i), 0, math.MaxUint16)
		im.words = append(im.words, uint16(w))
	}
	v.words = append(v.words, im)
}

func (f *form) want(v *vector, n *yaml.Node, path string) {
	m := f.mapping(n, path, quantityNames[:]...)
	if m != nil && len(m) == 0 {
		f.fault(n, path, "wants nothing")
	}
	for i, name := range quantityNames {
		e := m[name]
		if e == nil {
			continue
		}
		q, p := quantity(i), join(path, name)
		values := f.list(e, p)
		if e.Kind != yaml.SequenceNode {
			continue
		}
		if len(values) != q.values() {
			f.fault(e, p, "%d values, want %d", len(values), q.values())
			continue
		}
		for ph, s := range values {
			x := expectation{line: s.Line, path: index(p, ph), quantity: q, phase: meter.Phase(ph)}
			if why, ok := reasonNames[s.Value]; ok {
				x.why = why
			} else if value, err := strconv.ParseInt(s.Value, 10, 64); err == nil {
				x.value = value
			} else {
				f.fault(s, x.path, "want whole thousandths, or sentinel, not_a_number or out_of_range, got %s", kindOf(s))
				continue
			}
			v.want = append(v.want, x)
		}
	}
}

// CheckVectors decodes the profile's own test vectors and returns those that do
// not hold.
func (p *Profile) CheckVectors() []Fault {
	var faults []Fault
	for i := range p.vectors {
		v := &p.vectors[i]
		for _, x := range v.want {
			if msg := p.checkOne(v, x); msg != "" {
				faults = append(faults, Fault{Line: x.line, Path: x.path, Message: msg})
			}
		}
	}
	return faults
}

func (p *Profile) checkOne(v *vector, x expectation) string {
	n := slices.IndexFunc(p.fields, func(f field) bool { return f.quantity == x.quantity && f.phase == x.phase })
	if n < 0 {
		return "the profile has no register for it"
	}
	f := &p.fields[n]
	words, ok := v.at(f)
	if !ok {
		return fmt.Sprintf("the vector has no words for function %d, address 0x%04x on the wire", f.fc, f.addr)
	}
	value, why := f.decode(words)
	if value != x.value || why != x.why {
		return fmt.Sprintf("words %04x: got %s, want %s", words, outcome(value, why), outcome(x.value, x.why))
	}
	return ""
}

// at returns the words of the vector that belong to f.
func (v *vector) at(f *field) ([]uint16, bool) {
	for _, im := range v.words {
		from, to := int(f.addr)-int(im.addr), int(f.end())-int(im.addr)
		if im.fc == f.fc && from >= 0 && to <= len(im.words) {
			return im.words[from:to], true
		}
	}
	return nil, false
}

func outcome(value int64, why meter.Reason) string {
	for name, r := range reasonNames {
		if r == why {
			return name
		}
	}
	return strconv.FormatInt(value, 10)
}
