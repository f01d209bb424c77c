package modbus

import (
	"fmt"
	"strconv"
	"strings"

	"lvagent/meter"
)

// vector is a test that a profile carries: register contents and what the
// meter's display would say to them.
type vector struct {
	setup Setup
	words []image
	want  []expectation
}

// image is a run of register contents.
type image struct {
	fc    uint8
	addr  uint16
	words []uint16
}

// expectation is what one value of a vector decodes to.
type expectation struct {
	line     int
	path     string
	quantity quantity
	phase    meter.Phase
	value    int64 // as stored
	why      meter.Reason
}

// reasonNames are the words that stand for a missing value in a vector.
var reasonNames = []struct {
	name string
	why  meter.Reason
}{
	{"sentinel", meter.Sentinel}, {"not_a_number", meter.NotANumber}, {"out_of_range", meter.OutOfRange},
	{"mismatch", meter.Mismatch}, {"not_supported", meter.NotSupported},
}

func (b *builder) vector(o object) {
	v := vector{setup: Setup{
		Channel: int(o.whole("channel", 1)), CT: o.number("ct", 0), VT: o.number("vt", 0), NeutralCT: o.number("neutral_ct", 0),
	}}
	if n := b.p.ways.count; v.setup.Channel > n {
		o.fault("channel", "there are %d ways", n)
		return
	}
	for _, name := range ratioNames {
		x := o.number(name, 1)
		switch {
		case o.has(name) && !b.p.ratios.byAgent:
			o.fault(name, "the meter applies its ratios")
		case !(x > 0 && x <= mostRatio):
			o.fault(name, "%v is not above 0 and at most %g", x, mostRatio)
		}
	}
	for _, run := range o.objects("words", imageShape) {
		im := image{fc: uint8(run.whole("fc", 0))}
		if run.has("addr") {
			im.addr, _ = b.address(run.values["addr"], run.at("addr"))
		}
		for _, n := range run.list("raw") {
			w, _ := strconv.ParseUint(n.Value, 0, 16) // was checked
			im.words = append(im.words, uint16(w))
		}
		v.words = append(v.words, im)
	}
	if w, ok := o.object("want", wantShape); ok {
		b.want(&v, w)
	}
	b.p.vectors = append(b.p.vectors, v)
}

func (b *builder) want(v *vector, o object) {
	if len(o.values)+len(o.bad) == 0 {
		o.f.fault(o.node, o.path, "wants nothing")
	}
	for i, name := range quantityNames {
		if !o.has(name) {
			continue
		}
		q, list := quantity(i), o.list(name)
		if len(list) != q.values() {
			o.fault(name, "%d values, want %d", len(list), q.values())
			continue
		}
		for ph, n := range list {
			x := expectation{line: n.Line, path: index(o.at(name), ph), quantity: q, phase: meter.Phase(ph)}
			known := false
			for _, r := range reasonNames {
				if r.name == n.Value {
					x.why, known = r.why, true
				}
			}
			value, err := strconv.ParseInt(n.Value, 10, 64)
			if !known && err != nil {
				b.fault(n, x.path, "want a whole number, as thousandths, or %s, got %s", reasonList(), kindOf(n))
				continue
			}
			if !known {
				x.value = value
			}
			v.want = append(v.want, x)
		}
	}
}

func reasonList() string {
	var names []string
	for _, r := range reasonNames {
		names = append(names, r.name)
	}
	return strings.Join(names, ", ")
}

// CheckVectors decodes the profile's own test vectors and returns those that do
// not hold.
func (p *Profile) CheckVectors() (faults []Fault) {
	for i := range p.vectors {
		v := &p.vectors[i]
		d := newDecoder(p, v.setup)
		v.fill(d)
		for _, fast := range []bool{true, false} {
			d.decode(fast)
			for _, x := range v.want {
				if (x.quantity < slowest) != fast {
					continue
				}
				if msg := v.check(d, x); msg != "" {
					faults = append(faults, Fault{Line: x.line, Path: x.path, Message: msg})
				}
			}
		}
	}
	return faults
}

// uncovered marks a register that a vector says nothing about.
const uncovered meter.Reason = 1 << 15

// fill puts the vector's words where a poll would.
func (v *vector) fill(d *decoder) {
	d.forget(uncovered)
	ch := d.p.channel(v.setup.Channel)
	for slot := range d.p.regs {
		r := &d.p.regs[slot]
		if words, ok := v.at(r.fc, ch.addrs[slot], r.size); ok {
			d.raw[slot], d.why[slot] = r.raw(words), 0
		}
	}
}

func (v *vector) check(d *decoder, x expectation) string {
	got := d.out[x.quantity][x.phase]
	if got.why&uncovered != 0 {
		for i := range d.p.values {
			if y := &d.p.values[i]; y.quantity == x.quantity && y.phase == x.phase {
				for _, slot := range []int{y.a, y.b, y.sf, y.sign} {
					if slot != nowhere && d.why[slot] == uncovered {
						r := &d.p.regs[slot]
						return fmt.Sprintf("the vector has no words for function %d, address 0x%04x on the wire",
							r.fc, d.p.channel(v.setup.Channel).addrs[slot])
					}
				}
			}
		}
		return "the vector lacks words from which it follows"
	}
	if missing := x.why != 0; missing != (got.quality == meter.Missing) || missing && got.why != x.why || !missing && got.value != x.value {
		return fmt.Sprintf("%sgot %s, want %s", v.wordsOf(d, x), outcome(got.value, got.quality, got.why), outcome(x.value, meter.Good, x.why))
	}
	return ""
}

// wordsOf says from which words a value follows.
func (v *vector) wordsOf(d *decoder, x expectation) (s string) {
	ch := d.p.channel(v.setup.Channel)
	for i := range d.p.values {
		if y := &d.p.values[i]; y.quantity == x.quantity && y.phase == x.phase {
			for _, slot := range []int{y.a, y.b, y.sf, y.sign} {
				if slot == nowhere {
					continue
				}
				r := &d.p.regs[slot]
				if words, ok := v.at(r.fc, ch.addrs[slot], r.size); ok {
					s += fmt.Sprintf("words %04x: ", words)
				}
			}
		}
	}
	return s
}

// at returns the words of the vector at an address.
func (v *vector) at(fc uint8, addr, n uint16) ([]uint16, bool) {
	for _, im := range v.words {
		from := int(addr) - int(im.addr)
		if im.fc == fc && from >= 0 && from+int(n) <= len(im.words) {
			return im.words[from : from+int(n)], true
		}
	}
	return nil, false
}

func outcome(value int64, quality meter.Quality, why meter.Reason) string {
	if quality != meter.Missing && value != 0 || why == 0 {
		return strconv.FormatInt(value, 10)
	}
	var names []string
	for _, r := range reasonNames {
		if why&r.why != 0 {
			names = append(names, r.name)
		}
	}
	return strings.Join(names, "+")
}
