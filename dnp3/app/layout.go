package app

import (
	"encoding/binary"
	"math"
)

// Flags are the quality octet of a point. Bits 5 and 6 mean another thing for
// each kind of point.
type Flags uint8

// Flags.
const (
	Online       Flags = 0x01
	Restart      Flags = 0x02
	CommLost     Flags = 0x04
	RemoteForced Flags = 0x08
	LocalForced  Flags = 0x10

	ChatterFilter Flags = 0x20 // binary and double-bit inputs
	Rollover      Flags = 0x20 // counters; no longer to be set
	Discontinuity Flags = 0x40 // counters
	OverRange     Flags = 0x20 // analogs
	ReferenceErr  Flags = 0x40 // analogs

	stateBit = 0x80
)

// Measurement is the value of any kind of point. Number is 0 or 1 for a binary,
// 0 to 3 for a double-bit, and whole for a counter.
type Measurement struct {
	Number float64
	Octets string // of an octet string; the number is not used then
	Flags  Flags
	Time   int64 // milliseconds since 1970, UTC
	Status Status
}

type form uint8

const (
	bit    form = iota + 1 // packed
	twoBit                 // packed
	state                  // in bit 7 of the flags
	twoBitState
	unsigned16
	unsigned32
	signed16
	signed32
	float32bit
	float64bit
)

type timing uint8

const (
	untimed  timing = iota
	absolute        // 6 octets
	relative        // 2 octets after a common time
)

// Layout says how a variation of a point is written.
type Layout struct {
	form   form
	flags  bool
	status bool // a control status in the place of the flags
	timing timing
}

// HasFlags says whether the quality is sent.
func (l Layout) HasFlags() bool { return l.flags }

// HasStatus says whether a control status is sent.
func (l Layout) HasStatus() bool { return l.status }

// HasTime says whether a time is sent, Relative whether it counts from the
// common time before it.
func (l Layout) HasTime() bool { return l.timing != untimed }

// Relative says whether the time counts from a common time.
func (l Layout) Relative() bool { return l.timing == relative }

// PackedBits is how many bits a packed object takes, 0 when it is not packed.
func (l Layout) PackedBits() int {
	switch l.form {
	case bit:
		return 1
	case twoBit:
		return 2
	}
	return 0
}

// Size is the number of octets of an object, 0 when it is packed.
func (l Layout) Size() int {
	n := 0
	switch l.form {
	case bit, twoBit:
		return 0
	case state, twoBitState:
		n = 1
	case unsigned16, signed16:
		n = 2
	case unsigned32, signed32, float32bit:
		n = 4
	case float64bit:
		n = 8
	}
	if (l.flags || l.status) && l.form != state && l.form != twoBitState {
		n++
	}
	switch l.timing {
	case absolute:
		n += 6
	case relative:
		n += 2
	}
	return n
}

// analogEvents is shared by groups 32 and 42, and by 43 with a status.
var analogEvents = [...]Layout{
	1: {signed32, true, false, untimed}, 2: {signed16, true, false, untimed},
	3: {signed32, true, false, absolute}, 4: {signed16, true, false, absolute},
	5: {float32bit, true, false, untimed}, 6: {float64bit, true, false, untimed},
	7: {float32bit, true, false, absolute}, 8: {float64bit, true, false, absolute},
}

// Layouts of groups by variation; a zero form is a variation that is not there.
var (
	binaryInputs   = [...]Layout{1: {form: bit}, 2: {form: state, flags: true}}
	binaryEvents   = [...]Layout{1: {form: state, flags: true}, 2: {form: state, flags: true, timing: absolute}, 3: {form: state, flags: true, timing: relative}}
	doubleInputs   = [...]Layout{1: {form: twoBit}, 2: {form: twoBitState, flags: true}}
	doubleEvents   = [...]Layout{1: {form: twoBitState, flags: true}, 2: {form: twoBitState, flags: true, timing: absolute}, 3: {form: twoBitState, flags: true, timing: relative}}
	outputEvents   = [...]Layout{1: {form: state, flags: true}, 2: {form: state, flags: true, timing: absolute}}
	commandEvents  = [...]Layout{1: {form: state, status: true}, 2: {form: state, status: true, timing: absolute}}
	counters       = [...]Layout{1: {form: unsigned32, flags: true}, 2: {form: unsigned16, flags: true}, 5: {form: unsigned32}, 6: {form: unsigned16}}
	frozenCounters = [...]Layout{1: {form: unsigned32, flags: true}, 2: {form: unsigned16, flags: true},
		5: {form: unsigned32, flags: true, timing: absolute}, 6: {form: unsigned16, flags: true, timing: absolute}, 9: {form: unsigned32}, 10: {form: unsigned16}}
	counterEvents = [...]Layout{1: {form: unsigned32, flags: true}, 2: {form: unsigned16, flags: true},
		5: {form: unsigned32, flags: true, timing: absolute}, 6: {form: unsigned16, flags: true, timing: absolute}}
	analogInputs = [...]Layout{1: {form: signed32, flags: true}, 2: {form: signed16, flags: true}, 3: {form: signed32}, 4: {form: signed16},
		5: {form: float32bit, flags: true}, 6: {form: float64bit, flags: true}}
	deadbands     = [...]Layout{1: {form: unsigned16}, 2: {form: unsigned32}, 3: {form: float32bit}}
	analogOutputs = [...]Layout{1: {form: signed32, flags: true}, 2: {form: signed16, flags: true}, 3: {form: float32bit, flags: true}, 4: {form: float64bit, flags: true}}
)

// LayoutOf returns the layout of a point's variation.
func LayoutOf(group, variation uint8) (Layout, bool) {
	var in []Layout
	asStatus := false
	switch group {
	case 1:
		in = binaryInputs[:]
	case 2:
		in = binaryEvents[:]
	case 3:
		in = doubleInputs[:]
	case 4:
		in = doubleEvents[:]
	case 10:
		in = binaryInputs[:] // the same two
	case 11:
		in = outputEvents[:]
	case 13:
		in = commandEvents[:]
	case 20:
		in = counters[:]
	case 21:
		in = frozenCounters[:]
	case 22, 23:
		in = counterEvents[:]
	case 30:
		in = analogInputs[:]
	case 32, 42:
		in = analogEvents[:]
	case 34:
		in = deadbands[:]
	case 40:
		in = analogOutputs[:]
	case 43:
		in, asStatus = analogEvents[:], true
	}
	if int(variation) >= len(in) || in[variation].form == 0 {
		return Layout{}, false
	}
	l := in[variation]
	if asStatus {
		l.flags, l.status = false, true
	}
	return l, true
}

// MostTime is the last time that 48 bits hold.
const MostTime = 1<<48 - 1

// AppendTime appends an absolute time. What 48 bits cannot hold becomes the
// nearest they can.
func AppendTime(out []byte, t int64) []byte {
	t = min(max(t, 0), MostTime)
	out = binary.LittleEndian.AppendUint32(out, uint32(t))
	return binary.LittleEndian.AppendUint16(out, uint16(t>>32))
}

// Time reads an absolute time from six octets.
func Time(octets []byte) int64 {
	return int64(binary.LittleEndian.Uint32(octets)) | int64(binary.LittleEndian.Uint16(octets[4:]))<<32
}

// Append appends one object that is not packed. Base is the common time that a
// relative time counts from; the caller keeps them within 65,535 ms.
//
// A number that a whole-number variation cannot hold becomes the nearest that
// it can, with OVER_RANGE where the variation has flags. A counter is sent
// modulo the width. What is not a number is never sent: it becomes 0 without
// ONLINE and with REFERENCE_ERR.
func (l Layout) Append(out []byte, m Measurement, base int64) []byte {
	number, flags := m.Number, m.Flags
	if math.IsNaN(number) {
		number, flags = 0, flags&^Online|ReferenceErr
	}
	switch l.form {
	case signed16:
		number, flags = clamp(number, math.MinInt16, math.MaxInt16, flags)
	case signed32:
		number, flags = clamp(number, math.MinInt32, math.MaxInt32, flags)
	case float32bit:
		number, flags = clampFloat(number, flags)
	case state:
		flags &^= stateBit
		if number != 0 {
			flags |= stateBit
		}
	case twoBitState:
		flags = flags&0x3f | Flags(uint8(number)&3<<6)
	}
	switch {
	case l.status && l.form == state:
		s := uint8(m.Status) &^ stateBit
		if number != 0 {
			s |= stateBit
		}
		out = append(out, s)
	case l.status:
		out = append(out, uint8(m.Status))
	case l.flags:
		out = append(out, uint8(flags))
	}
	switch l.form {
	case signed16:
		out = binary.LittleEndian.AppendUint16(out, uint16(int16(number)))
	case signed32:
		out = binary.LittleEndian.AppendUint32(out, uint32(int32(number)))
	case unsigned16:
		out = binary.LittleEndian.AppendUint16(out, uint16(whole(number)))
	case unsigned32:
		out = binary.LittleEndian.AppendUint32(out, uint32(whole(number)))
	case float32bit:
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(number)))
	case float64bit:
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(number))
	}
	switch l.timing {
	case absolute:
		out = AppendTime(out, m.Time)
	case relative:
		out = binary.LittleEndian.AppendUint16(out, uint16(min(max(m.Time-base, 0), math.MaxUint16)))
	}
	return out
}

// clamp brings a number into a range; half away from zero is rounded.
func clamp(n, least, most float64, flags Flags) (float64, Flags) {
	switch n = math.Round(n); {
	case n < least:
		return least, flags | OverRange
	case n > most:
		return most, flags | OverRange
	}
	return n, flags
}

func clampFloat(n float64, flags Flags) (float64, Flags) {
	if math.Abs(n) <= math.MaxFloat32 {
		return n, flags
	}
	return math.Copysign(math.MaxFloat32, n), flags | OverRange
}

// whole is a counter's number: negative ones are a fault of the source's.
func whole(n float64) uint64 {
	if !(n > 0) {
		return 0
	}
	return uint64(min(math.Floor(n), 1<<53))
}

// Decode reads one object that is not packed. Octets must have Size octets.
func (l Layout) Decode(octets []byte, base int64) Measurement {
	var m Measurement
	switch {
	case l.status:
		m.Status = Status(octets[0])
	case l.flags:
		m.Flags = Flags(octets[0])
	}
	switch l.form {
	case state:
		m.Number = float64(octets[0] >> 7)
		m.Flags &^= stateBit
		m.Status &^= stateBit
	case twoBitState:
		m.Number = float64(octets[0] >> 6)
		m.Flags &= 0x3f
	}
	if l.flags || l.status {
		octets = octets[1:]
	}
	switch l.form {
	case signed16:
		m.Number = float64(int16(binary.LittleEndian.Uint16(octets)))
		octets = octets[2:]
	case signed32:
		m.Number = float64(int32(binary.LittleEndian.Uint32(octets)))
		octets = octets[4:]
	case unsigned16:
		m.Number = float64(binary.LittleEndian.Uint16(octets))
		octets = octets[2:]
	case unsigned32:
		m.Number = float64(binary.LittleEndian.Uint32(octets))
		octets = octets[4:]
	case float32bit:
		m.Number = float64(math.Float32frombits(binary.LittleEndian.Uint32(octets)))
		octets = octets[4:]
	case float64bit:
		m.Number = math.Float64frombits(binary.LittleEndian.Uint64(octets))
		octets = octets[8:]
	}
	switch l.timing {
	case absolute:
		m.Time = Time(octets)
	case relative:
		m.Time = base + int64(binary.LittleEndian.Uint16(octets))
	}
	return m
}
