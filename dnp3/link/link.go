// Package link turns DNP3 link frames into octets and back.
//
// A [Reader] finds frames in any stream of octets: every block has its check,
// and after a fault the search goes on at the next octet, so noise costs a
// frame and never the connection. A [Secondary] answers the services of the
// link: reset, test, status, confirmed user data. Neither opens a connection
// nor knows what a frame carries.
//
// Requirement: SmartCAR R4 (an IED on the Ethernet bus of the RTU), R16.
package link

import "encoding/binary"

// Function is the function code of a frame. The same code means another thing
// to the primary station (which asks) and to the secondary (which answers).
type Function uint8

// Functions of the primary station.
const (
	ResetLinkStates     Function = 0
	TestLinkStates      Function = 2
	ConfirmedUserData   Function = 3
	UnconfirmedUserData Function = 4
	RequestLinkStatus   Function = 9
)

// Functions of the secondary station.
const (
	Ack          Function = 0
	Nack         Function = 1
	LinkStatus   Function = 11
	NotSupported Function = 15
)

// Bits of the control octet. FCB and FCV are the primary's; the secondary has
// its data flow control bit where the primary has FCV.
const (
	Dir      = 0x80 // from the master
	Primary  = 0x40
	FCB      = 0x20
	FCV      = 0x10
	funcMask = 0x0f
)

// Addresses with a meaning of their own.
const (
	Self               uint16 = 0xfffc // whoever hears it
	BroadcastNoConfirm uint16 = 0xfffd // to all; answers need not be confirmed
	BroadcastConfirm   uint16 = 0xfffe // to all; the next answer asks for a confirm
	BroadcastOptional  uint16 = 0xffff // to all; the outstation may choose
	MostAddress        uint16 = 0xffef // the highest address of a station
)

// IsBroadcast says whether every station is meant.
func IsBroadcast(address uint16) bool { return address >= BroadcastNoConfirm }

// Sizes in octets.
const (
	MostData  = 250 // user data of one frame
	MostFrame = 292 // a full frame with its checks

	headerSize = 10
	blockSize  = 16
	start1     = 0x05
	start2     = 0x64
	fixed      = 5 // of LEN: control, destination, source
)

// Header says who sends what to whom.
type Header struct {
	Control             uint8
	Destination, Source uint16
}

// Function is the function code.
func (h Header) Function() Function { return Function(h.Control & funcMask) }

// FromMaster says which way the frame goes.
func (h Header) FromMaster() bool { return h.Control&Dir != 0 }

// FromPrimary says whether the frame asks, rather than answers.
func (h Header) FromPrimary() bool { return h.Control&Primary != 0 }

// Frame is a frame whose checks were good. Data is valid until the reader is
// used again.
type Frame struct {
	Header
	Data []byte
}

// Append appends a frame to out. Data beyond [MostData] does not fit a frame
// and is a mistake of the caller's.
func Append(out []byte, h Header, data []byte) []byte {
	if len(data) > MostData {
		panic("link: more data than a frame holds")
	}
	at := len(out)
	out = append(out, start1, start2, byte(fixed+len(data)), h.Control)
	out = binary.LittleEndian.AppendUint16(out, h.Destination)
	out = binary.LittleEndian.AppendUint16(out, h.Source)
	out = binary.LittleEndian.AppendUint16(out, crc(out[at:]))
	for len(data) > 0 {
		n := min(blockSize, len(data))
		out = append(out, data[:n]...)
		out = binary.LittleEndian.AppendUint16(out, crc(data[:n]))
		data = data[n:]
	}
	return out
}

// crcTable is the table of the polynomial 0x3d65, lowest bit first.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		c := uint16(i)
		for range 8 {
			if c&1 != 0 {
				c = c>>1 ^ 0xa6bc
			} else {
				c >>= 1
			}
		}
		table[i] = c
	}
	return table
}()

func crc(octets []byte) uint16 {
	var c uint16
	for _, b := range octets {
		c = c>>8 ^ crcTable[byte(c)^b]
	}
	return ^c
}
