package app

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, octets string
		want         error
	}{
		{"read", "\xc0\x01\x3c\x01\x06", nil},
		{"nothing", "", ErrShort},
		{"control alone", "\xc0", ErrShort},
		{"not the last", "\x80\x01", ErrNotWhole},
		{"not the first", "\x40\x01", ErrNotWhole},
		{"a response", "\xc0\x81\x00\x00", ErrNotMaster},
		{"an unsolicited response", "\xf0\x82\x00\x00", ErrNotMaster},
		{"an unknown function", "\xc0\x70", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.octets)); !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	type object struct {
		index  uint32
		octets string
	}
	tests := []struct {
		name     string
		function Function
		octets   string
		count    uint32 // of the first header
		objects  []object
		err      error
		iin      IIN
	}{
		{"all objects", Read, "\x3c\x02\x06", 0, nil, nil, 0},
		{"range of 8 bits", Read, "\x1e\x05\x00\x03\x09", 7, nil, nil, 0},
		{"range of one", Read, "\x1e\x05\x00\x03\x03", 1, nil, nil, 0},
		{"range of 16 bits, all of them", Read, "\x1e\x05\x01\x00\x00\xff\xff", 65536, nil, nil, 0},
		{"range of 32 bits, all of them", Read, "\x1e\x05\x02\x00\x00\x00\x00\xff\xff\xff\xff", math.MaxUint32, nil, nil, 0},
		{"start above stop", Read, "\x1e\x05\x00\x04\x03", 0, nil, ErrRange, ParameterError},
		{"start above stop, 32 bits", Read, "\x1e\x05\x02\xff\xff\xff\xff\x00\x00\x00\x00", 0, nil, ErrRange, ParameterError},
		{"count", Read, "\x3c\x02\x07\x05", 5, nil, nil, 0},
		{"count of 16 bits", Read, "\x3c\x02\x08\xff\xff", 65535, nil, nil, 0},
		{"indices to read", Read, "\x1e\x05\x17\x02\x07\x09", 2, []object{{7, ""}, {9, ""}}, nil, 0},
		{"indices of 16 bits to read", Read, "\x1e\x05\x28\x01\x00\x2c\x01", 1, []object{{300, ""}}, nil, 0},
		{"half a header", Read, "\x1e\x05", 0, nil, ErrTruncated, ParameterError},
		{"half a range", Read, "\x1e\x05\x01\x00\x00\x01", 0, nil, ErrTruncated, ParameterError},
		{"an unknown qualifier", Read, "\x1e\x05\x5b\x01", 0, nil, ErrQualifier, ParameterError},
		{"analog outputs by index", Operate, "\x29\x02\x28\x01\x00\x2c\x01\x07\x00\x00", 1, []object{{300, "\x07\x00\x00"}}, nil, 0},
		{"analog outputs by range", Operate, "\x29\x02\x00\x05\x06\x07\x00\x00\x08\x00\x00", 2, []object{{5, "\x07\x00\x00"}, {6, "\x08\x00\x00"}}, nil, 0},
		{"one octet short", Operate, "\x29\x02\x28\x01\x00\x2c\x01\x07\x00", 0, nil, ErrTruncated, ParameterError},
		{"a count and no objects", Operate, "\x29\x02\x28\xff\xff", 0, nil, ErrTruncated, ParameterError},
		{"a range of 32 bits and no objects", Write, "\x22\x03\x02\x00\x00\x00\x00\xff\xff\xff\xff", 0, nil, ErrTruncated, ParameterError},
		{"objects of no octets", Write, "\x6e\x00\x08\xff\xff", 0, nil, ErrVariation, ObjectUnknown},
		{"objects of unknown size", Write, "\xfa\x01\x07\x01\x00", 0, nil, ErrVariation, ObjectUnknown},
		{"packed by index", Write, "\x50\x01\x17\x01\x07\x00", 0, nil, ErrQualifier, ParameterError},
		{"no objects at all", Operate, "\x29\x02\x28\x00\x00", 0, nil, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hs := Fragment{Function: tt.function, Objects: []byte(tt.octets)}.Headers()
			h, ok := hs.Next()
			if !errors.Is(hs.Err(), tt.err) || ok != (tt.err == nil) || hs.IIN() != tt.iin {
				t.Fatalf("header %v, error %v, indication %#x, want %v, %#x", ok, hs.Err(), hs.IIN(), tt.err, tt.iin)
			}
			if h.Count != tt.count {
				t.Errorf("count = %d, want %d", h.Count, tt.count)
			}
			for i, want := range tt.objects {
				if index, o := h.Object(i); index != want.index || string(o) != want.octets {
					t.Errorf("object %d = %d %q, want %d %q", i, index, o, want.index, want.octets)
				}
			}
		})
	}
}

// every calls f with each variation of a point that there is.
func every(f func(group, variation uint8, l Layout)) {
	for g := range 256 {
		for v := range 256 {
			if l, ok := LayoutOf(uint8(g), uint8(v)); ok {
				f(uint8(g), uint8(v), l)
			}
		}
	}
}

// The sizes are those of the standard's object library.
func TestSizes(t *testing.T) {
	want := map[[2]uint8]int{
		{2, 1}: 1, {2, 2}: 7, {2, 3}: 3, {4, 1}: 1, {4, 2}: 7, {4, 3}: 3, {1, 2}: 1, {3, 2}: 1, {10, 2}: 1, {11, 1}: 1, {11, 2}: 7, {13, 1}: 1, {13, 2}: 7,
		{20, 1}: 5, {20, 2}: 3, {20, 5}: 4, {20, 6}: 2, {21, 1}: 5, {21, 2}: 3, {21, 5}: 11, {21, 6}: 9, {21, 9}: 4, {21, 10}: 2,
		{22, 1}: 5, {22, 2}: 3, {22, 5}: 11, {22, 6}: 9, {23, 1}: 5, {23, 2}: 3, {23, 5}: 11, {23, 6}: 9,
		{30, 1}: 5, {30, 2}: 3, {30, 3}: 4, {30, 4}: 2, {30, 5}: 5, {30, 6}: 9,
		{32, 1}: 5, {32, 2}: 3, {32, 3}: 11, {32, 4}: 9, {32, 5}: 5, {32, 6}: 9, {32, 7}: 11, {32, 8}: 15,
		{34, 1}: 2, {34, 2}: 4, {34, 3}: 4, {40, 1}: 5, {40, 2}: 3, {40, 3}: 5, {40, 4}: 9,
		{42, 1}: 5, {42, 2}: 3, {42, 3}: 11, {42, 4}: 9, {42, 5}: 5, {42, 6}: 9, {42, 7}: 11, {42, 8}: 15,
		{43, 1}: 5, {43, 2}: 3, {43, 3}: 11, {43, 4}: 9, {43, 5}: 5, {43, 6}: 9, {43, 7}: 11, {43, 8}: 15,
	}
	seen := 0
	every(func(g, v uint8, l Layout) {
		if l.PackedBits() > 0 {
			return
		}
		seen++
		if l.Size() != want[[2]uint8{g, v}] {
			t.Errorf("group %d variation %d has %d octets, want %d", g, v, l.Size(), want[[2]uint8{g, v}])
		}
		if got := len(l.Append(nil, Measurement{}, 0)); got != l.Size() {
			t.Errorf("group %d variation %d is written in %d octets, has %d", g, v, got, l.Size())
		}
	})
	if seen != len(want) {
		t.Errorf("%d variations, want %d", seen, len(want))
	}
}

// What a variation can hold comes back as it was, in every variation.
func TestValuesComeBack(t *testing.T) {
	every(func(g, v uint8, l Layout) {
		if l.PackedBits() > 0 {
			return
		}
		rapid.Check(t, func(t *rapid.T) {
			m := Measurement{Time: rapid.Int64Range(0, MostTime).Draw(t, "time")}
			base := int64(0)
			switch l.form {
			case state:
				m.Number = float64(rapid.IntRange(0, 1).Draw(t, "state"))
				m.Flags = Flags(rapid.ByteRange(0, 0x7f).Draw(t, "flags"))
				m.Status = Status(rapid.ByteRange(0, 0x7f).Draw(t, "status"))
			case twoBitState:
				m.Number = float64(rapid.IntRange(0, 3).Draw(t, "state"))
				m.Flags = Flags(rapid.ByteRange(0, 0x3f).Draw(t, "flags"))
			default:
				m.Flags = Flags(rapid.Byte().Draw(t, "flags"))
				m.Status = Status(rapid.Byte().Draw(t, "status"))
				switch l.form {
				case unsigned16:
					m.Number = float64(rapid.Uint16().Draw(t, "n"))
				case unsigned32:
					m.Number = float64(rapid.Uint32().Draw(t, "n"))
				case signed16:
					m.Number = float64(rapid.Int16().Draw(t, "n"))
				case signed32:
					m.Number = float64(rapid.Int32().Draw(t, "n"))
				case float32bit:
					m.Number = float64(rapid.Float32Range(-math.MaxFloat32, math.MaxFloat32).Draw(t, "n"))
				case float64bit:
					m.Number = rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "n")
				}
			}
			if l.Relative() {
				base = m.Time
				m.Time += rapid.Int64Range(0, 65535).Draw(t, "after")
			}
			if !l.HasFlags() {
				m.Flags = 0
			}
			if !l.HasStatus() {
				m.Status = 0
			}
			if !l.HasTime() {
				m.Time = 0
			}
			if got := l.Decode(l.Append(nil, m, base), base); got != m {
				t.Fatalf("group %d variation %d: %+v, want %+v", g, v, got, m)
			}
		})
	})
}

func TestNumbersThatDoNotFit(t *testing.T) {
	tests := []struct {
		name             string
		group, variation uint8
		number           float64
		want             float64
		flags            Flags
	}{
		{"the highest of 16 bits", 30, 2, 32767, 32767, Online},
		{"one above", 30, 2, 32768, 32767, Online | OverRange},
		{"the lowest", 30, 2, -32768, -32768, Online},
		{"one below", 30, 2, -32769, -32768, Online | OverRange},
		{"rounded, not cut", 30, 1, 2.6, 3, Online},
		{"rounded into the range", 30, 2, 32767.4, 32767, Online},
		{"above 32 bits", 30, 1, 3e9, math.MaxInt32, Online | OverRange},
		{"above a float of 32 bits", 30, 5, 1e300, math.MaxFloat32, Online | OverRange},
		{"below a float of 32 bits", 30, 5, -1e300, -math.MaxFloat32, Online | OverRange},
		{"infinite", 30, 5, math.Inf(1), math.MaxFloat32, Online | OverRange},
		{"not a number", 30, 5, math.NaN(), 0, ReferenceErr},
		{"not a number, of 64 bits", 30, 6, math.NaN(), 0, ReferenceErr},
		{"not a number, whole", 30, 2, math.NaN(), 0, ReferenceErr},
		{"a counter wraps", 20, 2, 65537, 1, Online},
		{"a counter of 32 bits wraps", 20, 1, 1 << 32, 0, Online},
		{"a negative counter", 20, 1, -1, 0, Online},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := LayoutOf(tt.group, tt.variation)
			got := l.Decode(l.Append(nil, Measurement{Number: tt.number, Flags: Online}, 0), 0)
			if got.Number != tt.want || got.Flags != tt.flags {
				t.Errorf("%v with flags %#x, want %v with %#x", got.Number, got.Flags, tt.want, tt.flags)
			}
		})
	}
}

func TestDecodeCommand(t *testing.T) {
	tests := []struct {
		name             string
		group, variation uint8
		octets           string
		want             Command
	}{
		{"latch on", 12, 1, "\x03\x01\x64\x00\x00\x00\xc8\x00\x00\x00\x00", Command{Op: LatchOn, Count: 1, On: 100, Off: 200, Index: 7}},
		{"trip by pulse", 12, 1, "\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", Command{Op: PulseOn, Relay: Trip, Count: 1, Index: 7}},
		{"close by pulse", 12, 1, "\x41\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", Command{Op: PulseOn, Relay: Close, Count: 1, Index: 7}},
		{"obsolete bits", 12, 1, "\x34\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00", Command{Op: LatchOff, Queue: true, Clear: true, Count: 2, Index: 7}},
		{"32 bits", 41, 1, "\xff\xff\xff\xff\x00", Command{Analog: true, Value: -1, Index: 7}},
		{"16 bits", 41, 2, "\x00\x80\x00", Command{Analog: true, Value: -32768, Index: 7}},
		{"float", 41, 3, "\x00\x00\xc0\x3f\x00", Command{Analog: true, Value: 1.5, Index: 7}},
		{"double", 41, 4, "\x00\x00\x00\x00\x00\x00\xf8\x3f\x00", Command{Analog: true, Value: 1.5, Index: 7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := DecodeCommand(tt.group, tt.variation, 7, []byte(tt.octets)); !ok || got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// Whatever comes, the walk ends, no object reaches beyond the fragment, and a
// header is never longer than what it was read from.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{
		"\xc0\x01\x3c\x02\x06\x3c\x03\x06\x3c\x04\x06\x3c\x01\x06",
		"\xc1\x03\x0c\x01\x28\x01\x00\x05\x00\x03\x01\x64\x00\x00\x00\x64\x00\x00\x00\x00",
		"\xc2\x02\x50\x01\x00\x07\x07\x00",
		"\xc2\x02\x32\x01\x07\x01\x00\x00\x00\x00\x00\x00",
		"\xc3\x01\x1e\x05\x02\x00\x00\x00\x00\xff\xff\xff\xff",
		"\xc3\x02\x01\x01\x02\x00\x00\x00\x00\xff\xff\xff\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		fragment, err := Parse(slices.Clip(octets))
		if err != nil {
			return
		}
		hs := fragment.Headers()
		used := 0
		for {
			h, ok := hs.Next()
			if !ok {
				break
			}
			used += 3 + len(h.Packed())
			if used > len(fragment.Objects) {
				t.Fatalf("headers of %d octets in a fragment of %d", used, len(fragment.Objects))
			}
			if len(h.body) == 0 {
				continue
			}
			if l, ok := LayoutOf(h.Group, h.Variation); ok && l.PackedBits() > 0 && fragment.Function.carriesObjects() {
				continue
			}
			for i := range int(h.Count) {
				_, o := h.Object(i)
				if l, ok := LayoutOf(h.Group, h.Variation); ok && len(o) == l.Size() && len(o) > 0 {
					l.Decode(o, 0)
				}
				if IsCommand(h.Group, h.Variation) && len(o) > 0 {
					DecodeCommand(h.Group, h.Variation, 0, o)
					SetStatus(o, NoSelect)
				}
			}
		}
	})
}
