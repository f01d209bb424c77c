package metertest

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"time"
)

// Exception codes (Modbus Application Protocol V1.1b3, section 7).
const (
	IllegalFunction uint8 = 1
	IllegalAddress  uint8 = 2
	IllegalValue    uint8 = 3
	DeviceFailure   uint8 = 4
	DeviceBusy      uint8 = 6
	GatewayNoReply  uint8 = 11
)

// Kind names what is wrong with a unit.
type Kind string

// Kinds of fault. The names are those that a scenario file uses.
const (
	Mute             Kind = "mute"              // hears, does not answer
	Exceptional      Kind = "exception"         // answers with exception Code
	ShortFrame       Kind = "short_frame"       // a proper frame with one octet too few in it
	Garbage          Kind = "garbage"           // octets that are no frame
	WrongTransaction Kind = "wrong_transaction" // the answer to another request
	WrongUnit        Kind = "wrong_unit"        // the answer of another unit
	Drop             Kind = "drop"              // closes the connection
	Late             Kind = "late"              // answers after Delay
	NaN              Kind = "nan"               // every 32-bit float read is not a number
	Sentinel         Kind = "sentinel"          // every register read is Word
	Stuck            Kind = "stuck"             // confirms a write and does not take it
	Truncated        Kind = "truncated"         // the first half of a frame, and no more
	BadLength        Kind = "bad_length"        // the frame's length is not that of what it carries
)

// Fault is what is wrong with a unit, until Heal.
type Fault struct {
	Kind  Kind
	Code  uint8         // of an Exceptional
	Delay time.Duration // of a Late
	Word  uint16        // of a Sentinel
	Skip  int           // requests that are still answered well
	Times int           // requests that it lasts; 0: until Heal
}

// Write is a coil or a holding register that was written.
type Write struct {
	Coil  bool // else a holding register
	Addr  uint16
	Value uint16 // of a coil 0 or 1
}

// Unit is one meter: registers, coils and what is wrong with it. Registers that
// were never set do not exist: to touch one is exception 2, as in a real meter.
type Unit struct {
	id uint8

	mu       sync.Mutex
	image    Image
	fault    Fault
	onWrite  func(Write)
	requests int
}

// Image is the registers and coils of a unit by address on the wire.
type Image struct {
	Input, Holding map[uint16]uint16
	Coil           map[uint16]bool
}

func newUnit(id uint8) *Unit {
	return &Unit{id: id, image: Image{
		Input: map[uint16]uint16{}, Holding: map[uint16]uint16{}, Coil: map[uint16]bool{},
	}}
}

// Update changes the image. All of the change, or none of it, is in a reply.
func (u *Unit) Update(change func(*Image)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(&u.image)
}

// SetInput sets input registers from addr on.
func (u *Unit) SetInput(addr uint16, words ...uint16) {
	u.Update(func(im *Image) { set(im.Input, addr, words) })
}

// SetHolding sets holding registers from addr on.
func (u *Unit) SetHolding(addr uint16, words ...uint16) {
	u.Update(func(im *Image) { set(im.Holding, addr, words) })
}

// SetFloat sets two input registers to a 32-bit float, high word first.
func (u *Unit) SetFloat(addr uint16, value float64) {
	u.Update(func(im *Image) { setFloat(im.Input, addr, value) })
}

// SetCoil sets a coil.
func (u *Unit) SetCoil(addr uint16, on bool) {
	u.Update(func(im *Image) { im.Coil[addr] = on })
}

// Holding returns a holding register, and whether it exists.
func (u *Unit) Holding(addr uint16) (uint16, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	w, ok := u.image.Holding[addr]
	return w, ok
}

// Coil returns a coil, and whether it exists.
func (u *Unit) Coil(addr uint16) (on, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	on, ok = u.image.Coil[addr]
	return on, ok
}

// Break makes the unit fail from the next request on, or after f.Skip more.
func (u *Unit) Break(f Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fault = f
}

// Heal ends a fault.
func (u *Unit) Heal() { u.Break(Fault{}) }

// OnWrite has f called for each coil or register that a client writes, after
// the image has changed and before the reply goes out. f must not call u.
func (u *Unit) OnWrite(f func(Write)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.onWrite = f
}

// Requests returns how many requests the unit has heard.
func (u *Unit) Requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.requests
}

var errDropped = errors.New("connection dropped")

// reply is what a unit makes of a request, before it is framed.
type reply struct {
	fault Fault
	unit  uint8
	pdu   []byte // nil: silence
}

// reply carries out a request. What is wrong with the frame itself is left to
// the one who makes it.
func (u *Unit) reply(request []byte) reply {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests++
	f := u.fault
	switch {
	case f.Kind == "":
	case f.Skip > 0:
		u.fault.Skip--
		f = Fault{}
	case f.Times == 1:
		u.fault = Fault{}
	case f.Times > 1:
		u.fault.Times--
	}
	r := reply{fault: f, unit: u.id}
	switch f.Kind {
	case Mute, Drop:
		// The request is lost: it must have no effect.
	case Exceptional:
		r.pdu = exception(request[0], f.Code)
	default:
		r.pdu = u.do(request, f)
	}
	if f.Kind == WrongUnit {
		r.unit++
	}
	if f.Kind == ShortFrame {
		r.pdu = r.pdu[:len(r.pdu)-1]
	}
	return r
}

// noise is octets that are no frame.
var noise = []byte{0xde, 0xad, 0xbe, 0xef, 0xff, 0xff, 0xff, 0xff, 0xff}

// answer returns the octets that answer q on TCP, none for silence, or an error
// to close the connection.
func (u *Unit) answer(q wireRequest, quit <-chan struct{}) ([]byte, error) {
	r := u.reply(q.pdu)
	switch r.fault.Kind {
	case Mute:
		return nil, nil
	case Drop:
		return nil, errDropped
	case Garbage:
		return noise, nil
	case WrongTransaction:
		q.transaction += 0x1000
	case Late:
		if !wait(r.fault.Delay, quit) {
			return nil, errDropped
		}
	}
	f := q.frame(r.unit, r.pdu)
	switch r.fault.Kind {
	case Truncated:
		f = f[:len(f)/2]
	case BadLength:
		f[5] += 4
	}
	return f, nil
}

// do carries out a request on the image and returns the reply's PDU.
func (u *Unit) do(pdu []byte, f Fault) []byte {
	fc := pdu[0]
	if len(pdu) < 5 {
		return exception(fc, IllegalValue)
	}
	addr, n := binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	switch fc {
	case 1:
		return u.readCoils(addr, n)
	case 3:
		return readRegisters(fc, u.image.Holding, addr, n, f)
	case 4:
		return readRegisters(fc, u.image.Input, addr, n, f)
	case 5:
		if n != 0 && n != 0xff00 {
			return exception(fc, IllegalValue)
		}
		if _, ok := u.image.Coil[addr]; !ok {
			return exception(fc, IllegalAddress)
		}
		if f.Kind != Stuck {
			u.image.Coil[addr] = n != 0
			u.wrote(Write{Coil: true, Addr: addr, Value: n >> 15})
		}
		return pdu[:5]
	case 6:
		return u.writeHolding(fc, addr, pdu[3:5], pdu[:5], f)
	case 16:
		if n == 0 || n > 123 || len(pdu) != 6+2*int(n) || int(pdu[5]) != 2*int(n) {
			return exception(fc, IllegalValue)
		}
		return u.writeHolding(fc, addr, pdu[6:], pdu[:5], f)
	default:
		return exception(fc, IllegalFunction)
	}
}

func (u *Unit) readCoils(addr, n uint16) []byte {
	if n == 0 || n > 2000 {
		return exception(1, IllegalValue)
	}
	out := make([]byte, 2+(int(n)+7)/8)
	out[0], out[1] = 1, byte(len(out)-2)
	for i := range int(n) {
		on, ok := u.image.Coil[addr+uint16(i)]
		if !ok {
			return exception(1, IllegalAddress)
		}
		if on {
			out[2+i/8] |= 1 << (i % 8)
		}
	}
	return out
}

func readRegisters(fc uint8, table map[uint16]uint16, addr, n uint16, f Fault) []byte {
	if n == 0 || n > 125 {
		return exception(fc, IllegalValue)
	}
	out := []byte{fc, byte(2 * n)}
	for i := range n {
		w, ok := table[addr+i]
		if !ok {
			return exception(fc, IllegalAddress)
		}
		switch {
		case f.Kind == Sentinel:
			w = f.Word
		case f.Kind == NaN && n == 1: // not a 32-bit float
		case f.Kind == NaN && i%2 == 0:
			w = 0x7fc0
		case f.Kind == NaN:
			w = 0
		}
		out = binary.BigEndian.AppendUint16(out, w)
	}
	return out
}

// writeHolding writes all values or, when a register does not exist, none.
func (u *Unit) writeHolding(fc uint8, addr uint16, values, echo []byte, f Fault) []byte {
	for i := range len(values) / 2 {
		if _, ok := u.image.Holding[addr+uint16(i)]; !ok {
			return exception(fc, IllegalAddress)
		}
	}
	if f.Kind == Stuck {
		return echo
	}
	for i := range len(values) / 2 {
		a, w := addr+uint16(i), binary.BigEndian.Uint16(values[2*i:])
		u.image.Holding[a] = w
		u.wrote(Write{Addr: a, Value: w})
	}
	return echo
}

func (u *Unit) wrote(w Write) {
	if u.onWrite != nil {
		u.onWrite(w)
	}
}

func set(table map[uint16]uint16, addr uint16, words []uint16) {
	for i, w := range words {
		table[addr+uint16(i)] = w
	}
}

func setFloat(table map[uint16]uint16, addr uint16, value float64) {
	bits := math.Float32bits(float32(value))
	table[addr], table[addr+1] = uint16(bits>>16), uint16(bits)
}
