package dnp3test

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Response is a fragment of an outstation taken apart.
type Response struct {
	Control  uint8
	Function uint8 // 129, or 130 when unsolicited
	IIN      uint16
	Objects  []Object
	Raw      []byte
}

// Seq is the sequence number.
func (r Response) Seq() uint8 { return r.Control & 0x0f }

// Bits of the control octet.
func (r Response) First() bool       { return r.Control&0x80 != 0 }
func (r Response) Final() bool       { return r.Control&0x40 != 0 }
func (r Response) Con() bool         { return r.Control&0x20 != 0 }
func (r Response) Unsolicited() bool { return r.Control&0x10 != 0 }

// Events are the objects that report events.
func (r Response) Events() (events []Object) {
	for _, o := range r.Objects {
		if o.IsEvent() {
			events = append(events, o)
		}
	}
	return events
}

// Object is one object of a response or, after an echo, of a request.
type Object struct {
	Group, Variation uint8
	Index            uint16
	Value            float64
	HasFlags         bool
	Flags            uint8
	Status           uint8 // of a command
	Time             int64 // milliseconds since 1970; 0 when there is none
	Synchronised     bool  // the common time before a relative one was
	Text             string
	Raw              []byte
}

// IsEvent says whether the object is an event.
func (o Object) IsEvent() bool {
	switch o.Group {
	case 2, 4, 11, 13, 22, 23, 32, 42, 43, 111:
		return true
	}
	return false
}

func (o Object) String() string {
	s := fmt.Sprintf("g%dv%d[%d] %v", o.Group, o.Variation, o.Index, o.Value)
	if o.Text != "" {
		s += fmt.Sprintf(" %q", o.Text)
	}
	if o.HasFlags {
		s += fmt.Sprintf(" flags %02x", o.Flags)
	}
	if o.Time != 0 {
		s += fmt.Sprintf(" at %d", o.Time)
	}
	if o.Group == 12 || o.Group == 41 || o.Group == 13 || o.Group == 43 {
		s += fmt.Sprintf(" status %d", o.Status)
	}
	return s
}

// shapes describe objects by letters: f flags, s state in the flags, d
// double-bit state in them, c command status, C status with a state, then the
// value: h 16 bits unsigned, i 32 bits unsigned, H and I the same with a sign, e
// float, g double; t a time, r a time that counts from the common one, x a
// relay output block.
var shapes = map[[2]uint8]string{
	{1, 2}: "s", {2, 1}: "s", {2, 2}: "st", {2, 3}: "sr", {3, 2}: "d", {4, 1}: "d", {4, 2}: "dt", {4, 3}: "dr",
	{10, 2}: "s", {11, 1}: "s", {11, 2}: "st", {12, 1}: "x", {13, 1}: "C", {13, 2}: "Ct",
	{20, 1}: "fi", {20, 2}: "fh", {20, 5}: "i", {20, 6}: "h", {21, 1}: "fi", {21, 2}: "fh", {21, 5}: "fit", {21, 6}: "fht", {21, 9}: "i", {21, 10}: "h",
	{22, 1}: "fi", {22, 2}: "fh", {22, 5}: "fit", {22, 6}: "fht", {23, 1}: "fi", {23, 2}: "fh", {23, 5}: "fit", {23, 6}: "fht",
	{30, 1}: "fI", {30, 2}: "fH", {30, 3}: "I", {30, 4}: "H", {30, 5}: "fe", {30, 6}: "fg",
	{32, 1}: "fI", {32, 2}: "fH", {32, 3}: "fIt", {32, 4}: "fHt", {32, 5}: "fe", {32, 6}: "fg", {32, 7}: "fet", {32, 8}: "fgt",
	{34, 1}: "h", {34, 2}: "i", {34, 3}: "e", {40, 1}: "fI", {40, 2}: "fH", {40, 3}: "fe", {40, 4}: "fg",
	{41, 1}: "Ic", {41, 2}: "Hc", {41, 3}: "ec", {41, 4}: "gc",
	{42, 1}: "fI", {42, 2}: "fH", {42, 3}: "fIt", {42, 4}: "fHt", {42, 5}: "fe", {42, 6}: "fg", {42, 7}: "fet", {42, 8}: "fgt",
	{43, 1}: "cI", {43, 2}: "cH", {43, 3}: "cIt", {43, 4}: "cHt", {43, 5}: "ce", {43, 6}: "cg", {43, 7}: "cet", {43, 8}: "cgt",
	{50, 1}: "t", {51, 1}: "t", {51, 2}: "t", {52, 1}: "h", {52, 2}: "h",
}

var widths = map[byte]int{'f': 1, 's': 1, 'd': 1, 'c': 1, 'C': 1, 'h': 2, 'H': 2, 'i': 4, 'I': 4, 'e': 4, 'g': 8, 't': 6, 'r': 2, 'x': 11}

func width(shape string) (n int) {
	for i := range len(shape) {
		n += widths[shape[i]]
	}
	return n
}

// ParseResponse takes a fragment of an outstation apart. It is strict.
func ParseResponse(fragment []byte) (Response, error) {
	if len(fragment) < 4 {
		return Response{}, fmt.Errorf("%w: response of %d octets", ErrWire, len(fragment))
	}
	r := Response{Control: fragment[0], Function: fragment[1], IIN: binary.LittleEndian.Uint16(fragment[2:]), Raw: fragment}
	if r.Function != 129 && r.Function != 130 || r.Unsolicited() != (r.Function == 130) {
		return r, fmt.Errorf("%w: function %d with control %02x", ErrWire, r.Function, r.Control)
	}
	rest, common, synced := fragment[4:], int64(0), false
	for len(rest) > 0 {
		var err error
		if rest, err = r.header(rest, &common, &synced); err != nil {
			return r, fmt.Errorf("%w: at octet %d of % x", err, len(fragment)-len(rest), fragment)
		}
	}
	return r, nil
}

// header reads a header with its objects.
func (r *Response) header(octets []byte, common *int64, synced *bool) ([]byte, error) {
	if len(octets) < 4 {
		return octets, fmt.Errorf("%w: short object header", ErrWire)
	}
	group, variation, qualifier := octets[0], octets[1], octets[2]
	start, count, prefix, used := 0, 0, 0, 0
	le := func(at, n int) int {
		v := 0
		for i := range n {
			if at+i < len(octets) {
				v |= int(octets[at+i]) << (8 * i)
			}
		}
		return v
	}
	switch qualifier {
	case 0x00, 0x01:
		n := 1 + int(qualifier)
		start, used = le(3, n), 3+2*n
		count = le(3+n, n) - start + 1
	case 0x07, 0x08:
		n := int(qualifier) - 6
		count, used = le(3, n), 3+n
	case 0x17:
		count, prefix, used = le(3, 1), 1, 4
	case 0x28:
		count, prefix, used = le(3, 2), 2, 5
	default:
		return octets, fmt.Errorf("%w: qualifier %02x", ErrWire, qualifier)
	}
	if count <= 0 || used > len(octets) {
		return octets, fmt.Errorf("%w: %d objects", ErrWire, count)
	}
	octets = octets[used:]
	bits := 0
	switch {
	case variation == 1 && (group == 1 || group == 10 || group == 80):
		bits = 1
	case variation == 1 && group == 3:
		bits = 2
	}
	if bits > 0 {
		n := (count*bits + 7) / 8
		if n > len(octets) || prefix > 0 {
			return octets, fmt.Errorf("%w: %d packed objects in %d octets", ErrWire, count, len(octets))
		}
		for i := range count {
			v := octets[i*bits/8] >> (i * bits % 8) & (1<<bits - 1)
			r.Objects = append(r.Objects, Object{Group: group, Variation: variation, Index: uint16(start + i), Value: float64(v)})
		}
		return octets[n:], nil
	}
	for i := range count {
		o := Object{Group: group, Variation: variation, Index: uint16(start + i), Synchronised: *synced}
		if prefix > len(octets) {
			return octets, fmt.Errorf("%w: no index", ErrWire)
		}
		if prefix == 1 {
			o.Index = uint16(octets[0])
		} else if prefix == 2 {
			o.Index = binary.LittleEndian.Uint16(octets)
		}
		octets = octets[prefix:]
		shape, known := shapes[[2]uint8{group, variation}]
		size := width(shape)
		switch {
		case group == 110 || group == 111:
			size = int(variation)
		case group == 0 && len(octets) >= 2:
			size = 2 + int(octets[1])
		case !known:
			return octets, fmt.Errorf("%w: g%dv%d", ErrWire, group, variation)
		}
		if size > len(octets) {
			return octets, fmt.Errorf("%w: object of %d octets, %d left", ErrWire, size, len(octets))
		}
		o.Raw = octets[:size]
		if !known {
			o.Text = string(o.Raw)
			if group == 0 {
				o.Text = o.Text[2:]
			}
		}
		o.fill(shape, *common)
		if group == 51 {
			*common, *synced = o.Time, variation == 1
		} else {
			r.Objects = append(r.Objects, o)
		}
		octets = octets[size:]
	}
	return octets, nil
}

// fill reads the object by its shape.
func (o *Object) fill(shape string, common int64) {
	b := o.Raw
	for i := range len(shape) {
		switch shape[i] {
		case 'f':
			o.Flags, o.HasFlags = b[0], true
		case 's':
			o.Flags, o.HasFlags, o.Value = b[0]&0x7f, true, float64(b[0]>>7)
		case 'd':
			o.Flags, o.HasFlags, o.Value = b[0]&0x3f, true, float64(b[0]>>6)
		case 'c':
			o.Status = b[0]
		case 'C':
			o.Status, o.Value = b[0]&0x7f, float64(b[0]>>7)
		case 'h':
			o.Value = float64(binary.LittleEndian.Uint16(b))
		case 'H':
			o.Value = float64(int16(binary.LittleEndian.Uint16(b)))
		case 'i':
			o.Value = float64(binary.LittleEndian.Uint32(b))
		case 'I':
			o.Value = float64(int32(binary.LittleEndian.Uint32(b)))
		case 'e':
			o.Value = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		case 'g':
			o.Value = math.Float64frombits(binary.LittleEndian.Uint64(b))
		case 't':
			o.Time = int64(binary.LittleEndian.Uint64([]byte{b[0], b[1], b[2], b[3], b[4], b[5], 0, 0}))
		case 'r':
			o.Time = common + int64(binary.LittleEndian.Uint16(b))
		case 'x':
			o.Value, o.Status = float64(b[0]), b[10]
		}
		b = b[widths[shape[i]]:]
	}
}
