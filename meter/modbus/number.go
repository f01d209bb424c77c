package modbus

import (
	"math"
	"strings"

	"lvagent/meter"
)

// kind is how a register's words make a number, or a text.
type kind uint8

const (
	u16 kind = iota + 1
	s16
	u32
	s32
	u64
	s64
	f32
	f64
	bitfield      // bits that each mean something
	bcd           // a decimal digit in each four bits
	mod10k        // 0 to 9999 in each word
	signMagnitude // the highest bit is the sign
	text          // two characters in each word
	textWide      // one character in each word
)

// kindNames are the types in a profile, in the order of the schema.
var kindNames = []string{
	u16: "u16", s16: "s16", u32: "u32", s32: "s32", u64: "u64", s64: "s64", f32: "f32", f64: "f64",
	bitfield: "bitfield", bcd: "bcd", mod10k: "mod10k", signMagnitude: "sign-magnitude",
	text: "string", textWide: "string-wide",
}

// numberKinds are the types of measured values.
var numberKinds = kindNames[u16:text]

// words is how many registers the kind takes, 0 where a profile may say.
func (k kind) words() uint16 {
	switch k {
	case u16, s16:
		return 1
	case u32, s32, f32:
		return 2
	case u64, s64, f64:
		return 4
	default:
		return 0
	}
}

// usual is how many words a kind takes when a profile could say and does not.
func (k kind) usual() uint16 {
	switch k {
	case bcd, mod10k:
		return 2
	case bitfield, signMagnitude:
		return 1
	default:
		return k.words()
	}
}

func (k kind) isText() bool { return k == text || k == textWide }

// order says how the octets of a number lie on the wire. ABCD is most
// significant first; CDAB has the words swapped, BADC the octets within each
// word, DCBA both.
type order struct{ words, octets bool }

// orders have a short and, for eight octets, a long name for the same swaps.
var orders = []struct {
	name  string
	order order
}{
	{"ABCD", order{}}, {"CDAB", order{words: true}},
	{"BADC", order{octets: true}}, {"DCBA", order{words: true, octets: true}},
	{"ABCDEFGH", order{}}, {"GHEFCDAB", order{words: true}},
	{"BADCFEHG", order{octets: true}}, {"HGFEDCBA", order{words: true, octets: true}},
}

func orderNames() (names []string) {
	for _, o := range orders {
		names = append(names, o.name)
	}
	return names
}

func orderOf(name string) order {
	for _, o := range orders {
		if o.name == name {
			return o.order
		}
	}
	return order{}
}

// layout is how a number lies in its words.
type layout struct {
	kind  kind
	size  uint16 // words
	order order
}

// raw puts the words of a number together, most significant octet first.
func (l layout) raw(words []uint16) uint64 {
	var raw uint64
	n := int(l.size)
	for i := range n {
		w := words[i]
		if l.order.words {
			w = words[n-1-i]
		}
		if l.order.octets {
			w = w<<8 | w>>8
		}
		raw = raw<<16 | uint64(w)
	}
	return raw
}

// number reads raw; what is no number has a reason. Above 2^53 a 64-bit integer
// loses its last digits; no such number is in range.
func (l layout) number(raw uint64) (x float64, why meter.Reason) {
	switch l.kind {
	case s16:
		x = float64(int16(raw))
	case s32:
		x = float64(int32(raw))
	case s64:
		x = float64(int64(raw))
	case f32:
		x = float64(math.Float32frombits(uint32(raw)))
	case f64:
		x = math.Float64frombits(raw)
	case bcd:
		return digits(raw, 4, 9, 10, 4*int(l.size))
	case mod10k:
		return digits(raw, 16, 9999, 10_000, int(l.size))
	case signMagnitude:
		sign := uint64(1) << (16*uint(l.size) - 1)
		x = float64(raw &^ sign)
		if raw&sign != 0 {
			x = -x
		}
	default:
		x = float64(raw)
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, meter.NotANumber
	}
	return x, 0
}

// digits reads n digits of the given bits, each at most most.
func digits(raw uint64, bits uint, most, base uint64, n int) (float64, meter.Reason) {
	var sum uint64
	for i := n - 1; i >= 0; i-- {
		d := raw >> (uint(i) * bits) & (1<<bits - 1)
		if d > most {
			return 0, meter.NotANumber
		}
		sum = sum*base + d // at most 10^16
	}
	return float64(sum), 0
}

// text reads the words as characters, up to the first that is none, without
// blanks at the ends.
func (l layout) text(words []uint16) string {
	var b strings.Builder
	for _, w := range words {
		if l.order.octets {
			w = w<<8 | w>>8
		}
		chars := [2]byte{byte(w >> 8), byte(w)}
		for i, c := range chars {
			if l.kind == textWide && i == 0 {
				if c != 0 {
					return strings.TrimSpace(b.String())
				}
				continue
			}
			if c < 0x20 || c > 0x7e {
				return strings.TrimSpace(b.String())
			}
			b.WriteByte(c)
		}
	}
	return strings.TrimSpace(b.String())
}
