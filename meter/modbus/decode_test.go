package modbus

import (
	"math"
	"strings"
	"testing"

	"lvagent/meter"
)

// one is a value of a single register, as a test needs it.
type one struct {
	layout
	factor, offset, low, high float64
	invalid                   []uint64
}

func lay(k kind, order string) layout { return layout{kind: k, size: k.usual(), order: orderOf(order)} }

// decode makes the value of the register's words.
func (o one) decode(words []uint16) (int64, meter.Reason) {
	v := value{b: nowhere, sf: nowhere, sign: nowhere, factor: o.factor, offset: o.offset, low: o.low, high: o.high, invalid: o.invalid}
	return v.compute([]reg{{layout: o.layout}}, []uint64{o.raw(words)}, []meter.Reason{0}, 1)
}

func TestDecode(t *testing.T) {
	as := func(k kind, order string) one {
		return one{layout: lay(k, order), factor: 1000, low: -1e12, high: 1e12}
	}
	plain := func(k kind) one { return as(k, "ABCD") }
	with := func(o one, change func(*one)) one { change(&o); return o }
	wide := func(k kind, words uint16) one {
		o := plain(k)
		o.size = words
		return o
	}
	f32bits := func(x float32) []uint16 {
		b := math.Float32bits(x)
		return []uint16{uint16(b >> 16), uint16(b)}
	}
	tests := []struct {
		name  string
		field one
		words []uint16
		want  int64
		why   meter.Reason
	}{
		{"u16 highest", plain(u16), []uint16{0xffff}, 65_535_000, 0},
		{"s16 lowest", plain(s16), []uint16{0x8000}, -32_768_000, 0},
		{"u32 highest is not negative", with(plain(u32), func(o *one) { o.factor = 1 }), []uint16{0xffff, 0xffff}, 4_294_967_295, 0},
		{"s32 minus one", plain(s32), []uint16{0xffff, 0xffff}, -1000, 0},
		{"u64", plain(u64), []uint16{0, 0, 1, 2}, 65_538_000, 0},
		{"s64 minus two", plain(s64), []uint16{0xffff, 0xffff, 0xffff, 0xfffe}, -2000, 0},
		{"f64", plain(f64), []uint16{0xc000, 0, 0, 0}, -2000, 0},
		{"ABCD", plain(u32), []uint16{0x0001, 0x0203}, 0x00010203 * 1000, 0},
		{"CDAB", as(u32, "CDAB"), []uint16{0x0203, 0x0001}, 0x00010203 * 1000, 0},
		{"BADC", as(u32, "BADC"), []uint16{0x0100, 0x0302}, 0x00010203 * 1000, 0},
		{"DCBA", as(u32, "DCBA"), []uint16{0x0302, 0x0100}, 0x00010203 * 1000, 0},
		{"CDAB of 64 bits", as(u64, "CDAB"), []uint16{2, 1, 0, 0}, 65_538_000, 0},
		{"half rounds away from zero", plain(f32), f32bits(0.0625), 63, 0},
		{"minus half rounds away from zero", plain(f32), f32bits(-0.0625), -63, 0},
		{"just below half", plain(f32), f32bits(0.0624), 62, 0},
		{"nearest float of 230.1", plain(f32), f32bits(230.1), 230_100, 0},
		{"DCBA of 64 bits", as(u64, "HGFEDCBA"), []uint16{0x0200, 0x0100, 0, 0}, 65_538_000, 0},
		{"BADC of 64 bits", as(s64, "BADCFEHG"), []uint16{0xffff, 0xffff, 0xffff, 0xfeff}, -2000, 0},
		{"BADC of 16 bits", as(s16, "BADC"), []uint16{0xfeff}, -2000, 0},
		{"bcd", plain(bcd), []uint16{0x0012, 0x3456}, 123_456_000, 0},
		{"bcd of one word, highest", wide(bcd, 1), []uint16{0x9999}, 9_999_000, 0},
		{"bcd with a digit that is none", plain(bcd), []uint16{0x0012, 0x345a}, 0, meter.NotANumber},
		{"bcd of 16 digits", with(wide(bcd, 4), func(o *one) { o.factor, o.high = 1, 1e17 }), []uint16{0x1234, 0x5678, 0x9012, 0x3456}, 1_234_567_890_123_456, 0},
		{"mod10k", plain(mod10k), []uint16{12, 3456}, 123_456_000, 0},
		{"mod10k, low word first", as(mod10k, "CDAB"), []uint16{3456, 12}, 123_456_000, 0},
		{"mod10k of three words", wide(mod10k, 3), []uint16{1, 0, 7}, 100_000_007_000, 0},
		{"mod10k with a word that is none", plain(mod10k), []uint16{12, 10_000}, 0, meter.NotANumber},
		{"sign and magnitude", plain(signMagnitude), []uint16{0x8020}, -32_000, 0},
		{"sign and magnitude, positive", plain(signMagnitude), []uint16{0x0020}, 32_000, 0},
		{"sign and magnitude of two words", wide(signMagnitude, 2), []uint16{0x8001, 0}, -65_536_000, 0},
		{"sign and magnitude, minus nothing", plain(signMagnitude), []uint16{0x8000}, 0, 0},
		{"bits are a number", wide(bitfield, 2), []uint16{1, 2}, 65_538_000, 0},
		{"minus zero", plain(f32), []uint16{0x8000, 0}, 0, 0},
		{"scale and offset", one{layout: lay(u16, "ABCD"), factor: 10, offset: -40_000, low: -1e6, high: 1e6}, []uint16{500}, -35_000, 0},
		{"sentinel before scale", with(plain(s16), func(o *one) { o.invalid = []uint64{0x7fff, 0x8000} }), []uint16{0x8000}, 0, meter.Sentinel},
		{"neighbour of the sentinel", with(plain(s16), func(o *one) { o.invalid = []uint64{0x8000} }), []uint16{0x8001}, -32_767_000, 0},
		{"sentinel in another word order", with(as(u32, "CDAB"), func(o *one) { o.invalid = []uint64{0xffff0000} }),
			[]uint16{0, 0xffff}, 0, meter.Sentinel},
		{"quiet NaN", plain(f32), []uint16{0x7fc0, 0}, 0, meter.NotANumber},
		{"signalling NaN", plain(f32), []uint16{0x7f80, 1}, 0, meter.NotANumber},
		{"all ones", plain(f32), []uint16{0xffff, 0xffff}, 0, meter.NotANumber},
		{"infinity", plain(f32), []uint16{0x7f80, 0}, 0, meter.NotANumber},
		{"minus infinity", plain(f64), []uint16{0xfff0, 0, 0, 0}, 0, meter.NotANumber},
		{"would overflow int64", plain(f32), []uint16{0x7f7f, 0xffff}, 0, meter.OutOfRange},
		{"overflows float64 when scaled", plain(f64), []uint16{0x7fef, 0xffff, 0xffff, 0xffff}, 0, meter.OutOfRange},
		{"exactly the highest", one{layout: lay(u16, "ABCD"), factor: 1000, high: 300_000}, []uint16{300}, 300_000, 0},
		{"one above the highest", one{layout: lay(u16, "ABCD"), factor: 1000, high: 300_000}, []uint16{301}, 0, meter.OutOfRange},
		{"below the lowest", one{layout: lay(s16, "ABCD"), factor: 1000, high: 300_000}, []uint16{0xffff}, 0, meter.OutOfRange},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, why := tt.field.decode(tt.words)
			if got != tt.want || why != tt.why {
				t.Errorf("decode(%04x) = %d, reason %d; want %d, reason %d", tt.words, got, why, tt.want, tt.why)
			}
		})
	}
}

// A value may follow from several registers.
func TestValueOfSeveralRegisters(t *testing.T) {
	regs := []reg{{layout: lay(u32, "ABCD")}, {layout: lay(u32, "ABCD")}, {layout: lay(s16, "ABCD")}, {layout: lay(u16, "ABCD")}}
	base := value{a: 0, b: nowhere, sf: nowhere, sign: nowhere, factor: 1000, low: -1e9, high: 1e9, invalid: []uint64{0xffffffff}}
	with := func(change func(*value)) value { v := base; change(&v); return v }
	minus := with(func(v *value) { v.b, v.minus = 1, true })
	scaled := with(func(v *value) { v.sf = 2 })
	signed := with(func(v *value) { v.sign, v.mask = 3, 0x4 })
	for _, tt := range []struct {
		name  string
		v     value
		raw   [4]uint64
		lost  int // a register without answer; 0 is none, else slot + 1
		ratio float64
		want  int64
		why   meter.Reason
	}{
		{"a - b", minus, [4]uint64{100, 30}, 0, 1, 70_000, 0},
		{"a - b below nothing", minus, [4]uint64{0, 30}, 0, 1, -30_000, 0},
		{"a + b", with(func(v *value) { v.b = 1 }), [4]uint64{100, 30}, 0, 1, 130_000, 0},
		{"b is not available", minus, [4]uint64{100, 0xffffffff}, 0, 1, 0, meter.Sentinel},
		{"b did not come", minus, [4]uint64{100, 30}, 2, 1, 0, meter.NoAnswer},
		{"scale factor 1", scaled, [4]uint64{100, 0, 1}, 0, 1, 1_000_000, 0},
		{"scale factor -1 is exact", scaled, [4]uint64{2301, 0, 0xffff}, 0, 1, 230_100, 0},
		{"scale factor not implemented", scaled, [4]uint64{100, 0, 0x8000}, 0, 1, 0, meter.Sentinel},
		{"scale factor at its edge", scaled, [4]uint64{100, 0, 0xfff6}, 0, 1, 0, 0},
		{"scale factor beyond its edge", scaled, [4]uint64{100, 0, 0xfff5}, 0, 1, 0, meter.Sentinel},
		{"scale factor that makes it too large", scaled, [4]uint64{100, 0, 10}, 0, 1, 0, meter.OutOfRange},
		{"scale factor did not come", scaled, [4]uint64{100}, 3, 1, 0, meter.NoAnswer},
		{"negative by its bit", signed, [4]uint64{100, 0, 0, 0x4}, 0, 1, -100_000, 0},
		{"positive by its bit", signed, [4]uint64{100, 0, 0, 0xfffb}, 0, 1, 100_000, 0},
		{"sign did not come", signed, [4]uint64{100}, 4, 1, 0, meter.NoAnswer},
		{"ratio of transformers", base, [4]uint64{100}, 0, 60, 6_000_000, 0},
		{"range is that of the primary", base, [4]uint64{100_000}, 0, 60, 0, meter.OutOfRange},
	} {
		t.Run(tt.name, func(t *testing.T) {
			why := make([]meter.Reason, 4)
			if tt.lost > 0 {
				why[tt.lost-1] = meter.NoAnswer
			}
			got, reason := tt.v.compute(regs, tt.raw[:], why, tt.ratio)
			if got != tt.want || reason != tt.why {
				t.Errorf("got %d, reason %d; want %d, reason %d", got, reason, tt.want, tt.why)
			}
		})
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		name  string
		as    layout
		words []uint16
		want  string
	}{
		{"two characters a word", lay(text, "ABCD"), []uint16{0x534f, 0x434f}, "SOCO"},
		{"one character a word", lay(textWide, "ABCD"), []uint16{'S', 'O', 'C', 'O'}, "SOCO"},
		{"octets swapped", lay(text, "BADC"), []uint16{0x4f53, 0x4f43}, "SOCO"},
		{"ends at the first zero", lay(text, "ABCD"), []uint16{0x4100, 0x4242}, "A"},
		{"blanks at the ends", lay(text, "ABCD"), []uint16{0x2041, 0x2020}, "A"},
		{"not a character", lay(text, "ABCD"), []uint16{0x41ff, 0x4242}, "A"},
		{"two characters where one should be", lay(textWide, "ABCD"), []uint16{'A', 0x4242}, "A"},
		{"nothing", lay(text, "ABCD"), []uint16{0, 0}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.as.text(tt.words); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever the words: a value lies in range, and without one there is a reason.
func FuzzDecode(f *testing.F) {
	f.Add(uint8(f32), uint8(0), uint16(0x7fc0), uint16(0), uint16(0), uint16(0), uint64(0), 1000.0, 0.0)
	f.Add(uint8(s32), uint8(1), uint16(0xffff), uint16(0x8000), uint16(0), uint16(0), uint64(0x8000ffff), 10.0, 5.0)
	f.Add(uint8(u64), uint8(3), uint16(0xffff), uint16(0xffff), uint16(0xffff), uint16(0xffff), uint64(1), 1e15, -1e12)
	f.Fuzz(func(t *testing.T, k, o uint8, a, b, c, d uint16, invalid uint64, factor, offset float64) {
		if math.IsNaN(factor) || math.Abs(factor) > 1e15 || math.IsNaN(offset) || math.Abs(offset) > 1e15 {
			return // the parser refuses these
		}
		which := u16 + kind(k)%(text-u16)
		fd := one{
			layout: lay(which, "ABCD"),
			factor: factor, offset: offset, low: -1e10, high: 1e10, invalid: []uint64{invalid},
		}
		fd.order = order{words: o&1 != 0, octets: o&2 != 0}
		words := []uint16{a, b, c, d}[:fd.size]
		got, why := fd.decode(words)
		if why == 0 && (got < -1e10 || got > 1e10) {
			t.Errorf("%d is out of range", got)
		}
		if why != 0 && got != 0 {
			t.Errorf("%d has reason %d", got, why)
		}
		if fd.raw(words) == invalid && why != meter.Sentinel {
			t.Errorf("sentinel not seen: %d, reason %d", got, why)
		}
		fd.kind = text + kind(k)%2
		if s := fd.text(words); len(s) > 8 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("text %q", s)
		}
	})
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	p := shipped(t)
	words := [][]uint16{p.vectors[0].words[0].words, p.vectors[0].words[1].words}
	var r meter.Reading
	d := newDecoder(p, Setup{})
	n := testing.AllocsPerRun(100, func() {
		d.forget(meter.NoAnswer)
		for i := range p.channels[0].fast {
			d.take(&p.channels[0].fast[i], words[i])
		}
		d.decode(true)
		d.out.fast(&r)
	})
	if n != 0 {
		t.Errorf("%v allocations a poll, want 0", n)
	}
	if r.Neutral.Value != 61_200 {
		t.Errorf("neutral %d", r.Neutral.Value)
	}
}
