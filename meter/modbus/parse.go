package modbus

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"lvagent/meter"
)

// Bounds of a profile file.
const (
	schemaVersion  = 1
	maxSource      = 256 << 10
	maxRegisters   = 125 // of one request, by the Modbus specification
	defaultTimeout = time.Second
)

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// ParseProfile reads a profile file and plans its requests. It returns every
// fault of the file at once, in order of lines, the test vectors included; with
// a fault there is no profile.
func ParseProfile(source []byte) (*Profile, []Fault) {
	if len(source) > maxSource {
		return nil, []Fault{{Message: "the file is longer than 256 KiB"}}
	}
	f := &form{}
	p := &Profile{}
	if root := f.document(source); root != nil {
		f.profile(p, root)
	}
	if len(f.faults) == 0 {
		p.blocks = plan(p.fields, p.limits)
		f.faults = p.CheckVectors()
	}
	if len(f.faults) > 0 {
		slices.SortStableFunc(f.faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
		return nil, f.faults
	}
	return p, nil
}

func (f *form) profile(p *Profile, root *yaml.Node) {
	m := f.mapping(root, "", "schema", "id", "vendor", "models", "evidence", "base", "timeout",
		"max_read_regs", "max_gap", "no_read", "defaults", "registers", "not_supported", "vectors")
	if m == nil {
		return
	}
	for _, key := range []string{"schema", "id", "vendor", "models", "evidence", "base", "registers", "vectors"} {
		if m[key] == nil {
			f.fault(root, key, "is missing")
		}
	}
	if n := m["schema"]; n != nil {
		f.whole(n, "schema", schemaVersion, schemaVersion)
	}
	if n := m["id"]; n != nil {
		if p.id = f.text(n, "id"); p.id != "" && !idPattern.MatchString(p.id) {
			f.fault(n, "id", "%q: want small letters, digits and hyphens, 64 at most", p.id)
		}
	}
	if n := m["vendor"]; n != nil {
		p.vendor = f.text(n, "vendor")
	}
	if n := m["models"]; n != nil {
		models := f.list(n, "models")
		for i, model := range models {
			p.models = append(p.models, f.text(model, index("models", i)))
		}
		if n.Kind == yaml.SequenceNode && len(models) == 0 {
			f.fault(n, "models", "names no model")
		}
	}
	if n := m["evidence"]; n != nil {
		f.evidence(p, n)
	}
	if n := m["base"]; n != nil {
		base, _ := f.whole(n, "base", 0, 1)
		p.base = uint32(base)
	}
	p.timeout = defaultTimeout
	if n := m["timeout"]; n != nil {
		p.timeout, _ = f.duration(n, "timeout")
	}
	f.limits(p, m)

	start := field{fc: 3, factor: 1}
	if n := m["defaults"]; n != nil {
		if d := f.mapping(n, "defaults", "fc", "type", "order"); d != nil {
			f.encoding(&start, d, "defaults")
		}
	}
	if n := m["registers"]; n != nil {
		for i, e := range f.list(n, "registers") {
			f.register(p, e, index("registers", i), start)
		}
		f.without(p, m["not_supported"])
		f.complete(p, n)
		f.overlaps(p)
	}
	if n := m["vectors"]; n != nil {
		vectors := f.list(n, "vectors")
		for i, e := range vectors {
			f.vector(p, e, index("vectors", i))
		}
		if n.Kind == yaml.SequenceNode && len(vectors) == 0 {
			f.fault(n, "vectors", "a profile has at least one test vector")
		}
	}
}

func (f *form) evidence(p *Profile, n *yaml.Node) {
	m := f.mapping(n, "evidence", "level", "source")
	if m == nil {
		return
	}
	if l := m["level"]; l != nil {
		p.level, _ = f.choice(l, "evidence.level", "bench", "vendor", "third-party")
	} else {
		f.fault(n, "evidence.level", "is missing")
	}
	if s := m["source"]; s != nil {
		p.source = f.text(s, "evidence.source")
	} else {
		f.fault(n, "evidence.source", "is missing")
	}
}

func (f *form) limits(p *Profile, m map[string]*yaml.Node) {
	p.limits = limits{maxRegs: maxRegisters}
	if n := m["max_read_regs"]; n != nil {
		v, _ := f.whole(n, "max_read_regs", 1, maxRegisters)
		p.limits.maxRegs = uint16(v)
	}
	if n := m["max_gap"]; n != nil {
		v, _ := f.whole(n, "max_gap", 0, maxRegisters)
		p.limits.maxGap = uint16(v)
	}
	n := m["no_read"]
	if n == nil {
		return
	}
	for i, e := range f.list(n, "no_read") {
		path := index("no_read", i)
		ends := f.list(e, path)
		if e.Kind != yaml.SequenceNode {
			continue
		}
		if len(ends) != 2 {
			f.fault(e, path, "want [first, last], got %d numbers", len(ends))
			continue
		}
		from, ok1 := f.address(p, ends[0], index(path, 0))
		to, ok2 := f.address(p, ends[1], index(path, 1))
		if !ok1 || !ok2 {
			continue
		}
		if to < from {
			f.fault(e, path, "the last address is before the first")
			continue
		}
		p.limits.noRead = append(p.limits.noRead, span{from, to})
	}
}

// address returns a documented address as it goes on the wire.
func (f *form) address(p *Profile, n *yaml.Node, path string) (uint16, bool) {
	v, ok := f.whole(n, path, uint64(p.base), 0xffff+uint64(p.base))
	return uint16(uint32(v) - p.base), ok
}

// encoding sets how a register is read and laid out.
func (f *form) encoding(d *field, m map[string]*yaml.Node, path string) {
	if n := m["fc"]; n != nil {
		v, _ := f.whole(n, join(path, "fc"), 3, 4)
		d.fc = uint8(v)
	}
	if n := m["type"]; n != nil {
		if name, ok := f.choice(n, join(path, "type"), "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64"); ok {
			d.kind = kindNames[name]
		}
	}
	if n := m["order"]; n != nil {
		if name, ok := f.choice(n, join(path, "order"), "ABCD", "CDAB", "BADC", "DCBA"); ok {
			d.order = orderNames[name]
		}
	}
}

// register adds the fields of one entry: a quantity of all its phases.
func (f *form) register(p *Profile, e *yaml.Node, path string, start field) {
	m := f.mapping(e, path, "quantity", "addr", "fc", "type", "order", "unit", "scale", "offset", "invalid", "range")
	if m == nil {
		return
	}
	faults := len(f.faults)
	for _, key := range []string{"quantity", "addr", "unit"} {
		if m[key] == nil {
			f.fault(e, join(path, key), "is missing")
		}
	}
	d := start
	d.line = e.Line
	f.encoding(&d, m, path)
	if d.kind == 0 && m["type"] == nil {
		f.fault(e, join(path, "type"), "is missing")
	}
	if n := m["quantity"]; n != nil {
		if name, ok := f.choice(n, join(path, "quantity"), quantityNames[:]...); ok {
			d.quantity = quantity(slices.Index(quantityNames[:], name))
		}
	}
	if len(f.faults) > faults {
		return // the rest depends on kind and quantity
	}
	f.conversion(&d, m, path)
	addrs := f.list(m["addr"], join(path, "addr"))
	if m["addr"].Kind != yaml.SequenceNode {
		return
	}
	if want := d.quantity.values(); len(addrs) != want {
		f.fault(m["addr"], join(path, "addr"), "%d addresses, want %d", len(addrs), want)
		return
	}
	for i, n := range addrs {
		f.place(p, d, n, index(join(path, "addr"), i), meter.Phase(i))
	}
}

// place adds one field at the address in n.
func (f *form) place(p *Profile, d field, n *yaml.Node, path string, phase meter.Phase) {
	addr, ok := f.address(p, n, path)
	if !ok {
		return
	}
	d.addr, d.phase, d.line, d.path = addr, phase, n.Line, path
	switch {
	case d.end() > 1<<16:
		f.fault(n, path, "ends after the last register")
		return
	case d.kind.words() > p.limits.maxRegs:
		f.fault(n, path, "takes %d registers, max_read_regs is %d", d.kind.words(), p.limits.maxRegs)
		return
	}
	for _, s := range p.limits.noRead {
		if d.end() > uint32(s.from) && d.addr <= s.to {
			f.fault(n, path, "lies in a no_read range")
			return
		}
	}
	p.fields = append(p.fields, d)
}

// conversion sets how raw words become thousandths.
func (f *form) conversion(d *field, m map[string]*yaml.Node, path string) {
	names := make([]string, 0, len(units[d.quantity]))
	for name := range units[d.quantity] {
		names = append(names, name)
	}
	slices.Sort(names)
	scale, unit := 1.0, 1.0
	if name, ok := f.choice(m["unit"], join(path, "unit"), names...); ok {
		unit = units[d.quantity][name]
	}
	if n := m["scale"]; n != nil {
		v, ok := f.number(n, join(path, "scale"))
		if ok && (v == 0 || math.Abs(v) > 1e9) {
			f.fault(n, join(path, "scale"), "%s is 0 or too large", n.Value)
		} else if ok {
			scale = v
		}
	}
	d.factor = scale * unit
	if n := m["offset"]; n != nil {
		v, ok := f.number(n, join(path, "offset"))
		if ok && math.Abs(v) > 1e9 {
			f.fault(n, join(path, "offset"), "%s is too large", n.Value)
		} else if ok {
			d.offset = v * unit
		}
	}
	if n := m["invalid"]; n != nil {
		most := uint64(math.MaxUint64) >> (64 - 16*uint(d.kind.words()))
		for i, e := range f.list(n, join(path, "invalid")) {
			if v, ok := f.whole(e, index(join(path, "invalid"), i), 0, most); ok {
				d.invalid = append(d.invalid, v)
			}
		}
	}
	d.low, d.high = ranges[d.quantity][0], ranges[d.quantity][1]
	if n := m["range"]; n != nil {
		f.plausible(d, n, join(path, "range"))
	}
}

// plausible sets the range, which is in V, A, W or var whatever the unit is.
func (f *form) plausible(d *field, n *yaml.Node, path string) {
	ends := f.list(n, path)
	if n.Kind != yaml.SequenceNode {
		return
	}
	if len(ends) != 2 {
		f.fault(n, path, "want [lowest, highest], got %d numbers", len(ends))
		return
	}
	low, ok1 := f.number(ends[0], index(path, 0))
	high, ok2 := f.number(ends[1], index(path, 1))
	if !ok1 || !ok2 {
		return
	}
	most := ranges[d.quantity][1] / 1e3
	if low >= high || math.Abs(low) > most || math.Abs(high) > most {
		f.fault(n, path, "want lowest below highest, both within %g of 0", most)
		return
	}
	d.low, d.high = low*1e3, high*1e3
}

// without notes the quantities that the meter does not have.
func (f *form) without(p *Profile, n *yaml.Node) {
	if n == nil {
		return
	}
	for i, e := range f.list(n, "not_supported") {
		if name, ok := f.choice(e, index("not_supported", i), quantityNames[:]...); ok {
			p.without[slices.Index(quantityNames[:], name)] = true
		}
	}
}

// complete faults a quantity that is nowhere, or that is there twice.
func (f *form) complete(p *Profile, n *yaml.Node) {
	var have [quantities]int
	for i := range p.fields {
		have[p.fields[i].quantity]++
	}
	for _, e := range n.Content { // an entry with another fault is not missing too
		m := e.Content
		for i := 0; e.Kind == yaml.MappingNode && i+1 < len(m); i += 2 {
			if q := slices.Index(quantityNames[:], m[i+1].Value); m[i].Value == "quantity" && q >= 0 && have[q] == 0 {
				have[q] = quantity(q).values()
			}
		}
	}
	for i, got := range have {
		q := quantity(i)
		switch {
		case got == 0 && !p.without[i]:
			f.fault(n, "registers", "quantity %s is missing; if the meter has none, list it in not_supported", q)
		case got > 0 && p.without[i]:
			f.fault(n, "registers", "quantity %s has registers and is listed in not_supported", q)
		case got > q.values():
			f.fault(n, "registers", "quantity %s is there twice", q)
		}
	}
}

// overlaps faults registers that share a word.
func (f *form) overlaps(p *Profile) {
	fs := slices.Clone(p.fields)
	slices.SortStableFunc(fs, func(a, b field) int {
		return cmp.Or(cmp.Compare(a.fc, b.fc), cmp.Compare(a.addr, b.addr))
	})
	for i := 1; i < len(fs); i++ {
		a, b := &fs[i-1], &fs[i]
		if a.fc == b.fc && uint32(b.addr) < a.end() {
			f.faults = append(f.faults, Fault{Line: b.line, Path: b.path, Message: "overlaps " + a.path})
		}
	}
}
