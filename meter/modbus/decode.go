package modbus

import (
	"math"
	"slices"

	"lvagent/meter"
)

// decode turns the field's words into thousandths. What is not a usable number
// has reason; its value is then 0 and means nothing.
func (f *field) decode(words []uint16) (value int64, why meter.Reason) {
	raw := f.raw(words)
	if slices.Contains(f.invalid, raw) {
		return 0, meter.Sentinel
	}
	x := f.number(raw)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, meter.NotANumber
	}
	// The product is rounded before the sum on every CPU: a fused multiply-add
	// would make records differ between arm64 and amd64.
	x = math.Round(float64(x*f.factor) + f.offset)
	// The range is checked on the float: an int64 that overflowed would look
	// like a value.
	if !(x >= f.low && x <= f.high) {
		return 0, meter.OutOfRange
	}
	return int64(x), 0
}

// raw puts the words together, most significant octet first.
func (f *field) raw(words []uint16) uint64 {
	var raw uint64
	n := int(f.kind.words())
	for i := range n {
		w := words[i]
		if f.order.words {
			w = words[n-1-i]
		}
		if f.order.octets {
			w = w<<8 | w>>8
		}
		raw = raw<<16 | uint64(w)
	}
	return raw
}

// number reads raw as the field's kind. Above 2^53 a 64-bit integer loses its
// last digits; no such number is in range.
func (f *field) number(raw uint64) float64 {
	switch f.kind {
	case s16:
		return float64(int16(raw))
	case s32:
		return float64(int32(raw))
	case s64:
		return float64(int64(raw))
	case f32:
		return float64(math.Float32frombits(uint32(raw)))
	case f64:
		return math.Float64frombits(raw)
	default:
		return float64(raw)
	}
}

// store puts a value, or why there is none, in the field's place in r.
func (f *field) store(r *meter.Reading, value int64, why meter.Reason) {
	ph := &r.Phase[f.phase]
	switch f.quantity {
	case voltage:
		ph.V = sample[meter.Millivolts](value, why)
	case current:
		ph.I = sample[meter.Milliamps](value, why)
	case active:
		ph.P = sample[meter.Milliwatts](value, why)
	case reactive:
		ph.Q = sample[meter.Millivars](value, why)
	case neutral:
		r.Neutral = sample[meter.Milliamps](value, why)
	}
}

func sample[T meter.Quantity](value int64, why meter.Reason) meter.Sample[T] {
	if why != 0 {
		return meter.Sample[T]{Reason: why}
	}
	return meter.Sample[T]{Value: T(value), Quality: meter.Good}
}

// decode fills r from the words that answered the block.
func (b *block) decode(words []uint16, r *meter.Reading) {
	for i := range b.fields {
		f := &b.fields[i]
		at := f.addr - b.addr
		value, why := f.decode(words[at : at+f.kind.words()])
		f.store(r, value, why)
	}
}

// fail notes why none of the block's values is known.
func (b *block) fail(r *meter.Reading, why meter.Reason) {
	for i := range b.fields {
		b.fields[i].store(r, 0, why)
	}
}

// begin makes r a reading without values: NoAnswer for what is going to be
// asked, NotSupported for what the meter does not have.
func (p *Profile) begin(r *meter.Reading) {
	r.Fail(meter.NoAnswer)
	for q, without := range p.without {
		if !without {
			continue
		}
		for ph := range quantity(q).values() {
			f := field{quantity: quantity(q), phase: meter.Phase(ph)}
			f.store(r, 0, meter.NotSupported)
		}
	}
}
