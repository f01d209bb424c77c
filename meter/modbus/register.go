package modbus

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"lvagent/meter"
)

// register adds the values of one entry: a quantity of all its phases.
func (b *builder) register(o object) {
	q := quantity(slices.Index(quantityNames, o.text("quantity")))
	r := b.start
	ok := b.encode(&r, o, true)
	if !o.has("quantity") {
		return // the rest depends on it
	}
	if b.asked[q] {
		o.f.fault(o.node, "registers", "quantity %s is there twice", q)
	}
	b.asked[q] = true
	v := value{quantity: q, b: nowhere, sf: nowhere, sign: nowhere, path: o.path}
	b.conversion(&v, o, r.size)
	if !ok || !o.has("addr") {
		return
	}
	if o.there("plus") && o.there("minus") {
		o.fault("minus", "plus and minus together")
	}
	v.minus = o.has("minus")
	second := "plus"
	if v.minus {
		second = "minus"
	}
	main := b.slots(o, "addr", r, q, false)
	var other, factors, signs []int
	if o.has(second) {
		other = b.slots(o, second, r, q, false)
	}
	if o.has("sf") {
		sf := r
		sf.layout = layout{kind: s16, size: 1, order: r.order}
		factors = b.slots(o, "sf", sf, q, true)
	}
	var mask []uint64
	if s, ok := o.object("sign", signShape); ok {
		bit := r
		bit.layout = layout{kind: u16, size: 1, order: r.order}
		signs = b.slots(s, "addr", bit, q, true)
		mask = b.masks(s, q)
	}
	for i := range main {
		v := v
		v.phase, v.a = meter.Phase(i), main[i]
		if other != nil {
			v.b = other[i]
		}
		if factors != nil {
			v.sf = factors[i]
		}
		if signs != nil && mask != nil {
			v.sign, v.mask = signs[i], mask[i]
		}
		b.p.values = append(b.p.values, v)
		slots := &b.fast
		if q >= slowest {
			slots = &b.slow
		}
		for _, s := range []int{v.a, v.b, v.sf, v.sign} {
			if s == nowhere {
				continue
			}
			*slots = append(*slots, s)
			if q < neutral {
				b.cores = append(b.cores, s)
			}
		}
	}
}

// slots returns the slots of the addresses at a key, one for each phase. Where
// they may be shared one address stands for all.
func (b *builder) slots(o object, name string, r reg, q quantity, shared bool) []int {
	addrs := o.list(name)
	if want := q.values(); len(addrs) != want && !(shared && len(addrs) == 1) {
		o.fault(name, "%d addresses, want %d", len(addrs), want)
		return nil
	}
	var slots []int
	for i, n := range addrs {
		slot, ok := b.intern(r, n, index(o.at(name), i), shared)
		if !ok {
			return nil
		}
		slots = append(slots, slot)
	}
	for shared && len(slots) < q.values() {
		slots = append(slots, slots[0])
	}
	return slots
}

// intern returns the slot of a register. One that is shared may be there
// already; another one twice is a fault, found later as an overlap.
func (b *builder) intern(r reg, n *yaml.Node, path string, shared bool) (int, bool) {
	addr, ok := b.address(n, path)
	if b.p.ways.kind == bases && !r.device {
		// An offset: its base was counted from the document's first register.
		v, fits := b.whole(n, path, 0, 0xffff)
		addr, ok = uint16(v), fits
	}
	if !ok {
		return 0, false
	}
	r.addr, r.line, r.path = addr, n.Line, path
	if b.p.ways.kind == single && !b.placed(n, path, uint32(addr), r.size) {
		return 0, false
	}
	same := func(x reg) bool {
		return x.fc == r.fc && x.addr == r.addr && x.layout == r.layout && x.device == r.device
	}
	if i := slices.IndexFunc(b.p.regs, same); i >= 0 && (shared || b.isShared[i]) {
		return i, true
	}
	b.p.regs = append(b.p.regs, r)
	b.isShared = append(b.isShared, shared)
	return len(b.p.regs) - 1, true
}

// masks returns the bit that means negative, for each phase.
func (b *builder) masks(o object, q quantity) (masks []uint64) {
	list := o.list("bit")
	if len(list) != 1 && len(list) != q.values() {
		o.fault("bit", "%d bits, want 1 or %d", len(list), q.values())
		return nil
	}
	for _, n := range list {
		v, _ := strconv.ParseUint(n.Value, 0, 8) // was checked
		masks = append(masks, 1<<v)
	}
	for len(masks) < q.values() {
		masks = append(masks, masks[0])
	}
	return masks
}

// conversion sets how raw numbers become values.
func (b *builder) conversion(v *value, o object, size uint16) {
	d := &table[v.quantity]
	unit := 1.0
	if o.has("unit") {
		u, ok := v.quantity.factor(o.text("unit"))
		if !ok {
			o.fault("unit", "unknown %q, want one of %s", o.text("unit"), strings.Join(v.quantity.unitNames(), ", "))
		}
		unit = u
	}
	scale := o.number("scale", 1)
	if scale == 0 || math.Abs(scale) > 1e9 {
		o.fault("scale", "%v is 0 or too large", scale)
	}
	offset := o.number("offset", 0)
	if math.Abs(offset) > 1e9 {
		o.fault("offset", "%v is too large", offset)
	}
	v.factor, v.offset = scale*unit, offset*unit
	if b.p.turned[v.quantity] {
		v.factor, v.offset = -v.factor, -v.offset
	}
	if size > 0 {
		most := uint64(math.MaxUint64) >> (64 - 16*min(uint(size), 4))
		for i, n := range o.list("invalid") {
			if raw, ok := b.whole(n, index(o.at("invalid"), i), 0, most); ok {
				v.invalid = append(v.invalid, raw)
			}
		}
	}
	v.low, v.high = d.low, d.high
	if ends := o.list("range"); ends != nil {
		low, _ := strconv.ParseFloat(ends[0].Value, 64) // were checked
		high, _ := strconv.ParseFloat(ends[1].Value, 64)
		most := d.high / d.stored
		if low >= high || math.Abs(low) > most || math.Abs(high) > most {
			o.fault("range", "want lowest below highest, both within %g of 0", most)
			return
		}
		v.low, v.high = low*d.stored, high*d.stored
	}
}
