package app

import (
	"encoding/binary"
	"math"
)

// Status says what became of a control.
type Status uint8

// Statuses. A handler answers with any of them; the session itself uses the
// first five, TooManyOps and NotAuthorized.
const (
	Success            Status = 0
	Timeout            Status = 1 // operate came too late after its select
	NoSelect           Status = 2 // operate without its select
	FormatError        Status = 3
	NotSupported       Status = 4
	AlreadyActive      Status = 5
	HardwareError      Status = 6
	Local              Status = 7 // the point is under local control
	TooManyOps         Status = 8
	NotAuthorized      Status = 9
	AutomationInhibit  Status = 10
	ProcessingLimited  Status = 11
	OutOfRange         Status = 12
	DownstreamLocal    Status = 13
	AlreadyComplete    Status = 14
	Blocked            Status = 15
	Cancelled          Status = 16
	BlockedOtherMaster Status = 17
	DownstreamFail     Status = 18
	Undefined          Status = 127
)

// Op is what a binary control does, without its modifiers.
type Op uint8

// Ops.
const (
	Nul      Op = 0
	PulseOn  Op = 1
	PulseOff Op = 2
	LatchOn  Op = 3
	LatchOff Op = 4
)

// TripClose selects one of the pair of relays of an output.
type TripClose uint8

// Relays of a pair.
const (
	Unpaired TripClose = 0
	Close    TripClose = 1
	Trip     TripClose = 2
)

// Command is one control: a control relay output block (group 12 variation 1)
// or an analog output (group 41).
type Command struct {
	Analog bool
	Index  uint16

	// Of a binary control.
	Op      Op
	Relay   TripClose
	Queue   bool // obsolete
	Clear   bool
	Count   uint8
	On, Off uint32 // milliseconds

	// Of an analog output.
	Value float64
}

const commandSize = 11

// commandStatusAt is where the status is in an object of the size.
func commandStatusAt(size int) int { return size - 1 }

// DecodeCommand reads a control from an object; false when the group and
// variation are no control, or the value is not a number.
func DecodeCommand(group, variation uint8, index uint16, object []byte) (Command, bool) {
	c := Command{Index: index}
	switch {
	case group == 12 && variation == 1:
		c.Op = Op(object[0] & 0x0f)
		c.Queue = object[0]&0x10 != 0
		c.Clear = object[0]&0x20 != 0
		c.Relay = TripClose(object[0] >> 6)
		c.Count = object[1]
		c.On = binary.LittleEndian.Uint32(object[2:])
		c.Off = binary.LittleEndian.Uint32(object[6:])
		return c, true
	case group == 41:
		c.Analog = true
		switch variation {
		case 1:
			c.Value = float64(int32(binary.LittleEndian.Uint32(object)))
		case 2:
			c.Value = float64(int16(binary.LittleEndian.Uint16(object)))
		case 3:
			c.Value = float64(math.Float32frombits(binary.LittleEndian.Uint32(object)))
		case 4:
			c.Value = math.Float64frombits(binary.LittleEndian.Uint64(object))
		default:
			return Command{}, false
		}
		return c, true
	}
	return Command{}, false
}

// IsCommand says whether a group and variation are a control.
func IsCommand(group, variation uint8) bool {
	return group == 12 && variation == 1 || group == 41 && variation >= 1 && variation <= 4
}

// SetStatus writes the status into a control's object.
func SetStatus(object []byte, s Status) { object[commandStatusAt(len(object))] = uint8(s) }

// sizeOf returns the size of an object that may come in a request or a
// response: its octets, or the bits of a packed one.
func sizeOf(group, variation uint8) (octets, bits uint64, known bool) {
	if l, ok := LayoutOf(group, variation); ok {
		return uint64(l.Size()), uint64(l.PackedBits()), true
	}
	switch group {
	case 12:
		if variation == 1 {
			return commandSize, 0, true
		}
	case 41:
		if variation >= 1 && variation <= 4 {
			return [...]uint64{5, 3, 5, 9}[variation-1], 0, true
		}
	case 50:
		switch variation {
		case 1, 3:
			return 6, 0, true
		}
	case 51:
		if variation == 1 || variation == 2 {
			return 6, 0, true
		}
	case 52:
		if variation == 1 || variation == 2 {
			return 2, 0, true
		}
	case 80:
		if variation == 1 {
			return 0, 1, true
		}
	case 110, 111:
		if variation > 0 {
			return uint64(variation), 0, true
		}
	}
	return 0, 0, false
}
