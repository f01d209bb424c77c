// Package dnp3test is a small DNP3 master for tests and benches.
//
// It shares no code with the outstation: its check, its frames and its reading
// of objects are its own, so that a misreading of one is not confirmed by the
// other. What a well-behaved master never sends can be built from [Frame],
// [Segments] and [Master.Send].
package dnp3test

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Check is the check of a block, bit by bit.
func Check(block []byte) uint16 {
	var c uint16
	for _, octet := range block {
		for bit := range 8 {
			odd := (c ^ uint16(octet>>bit)) & 1
			c >>= 1
			if odd == 1 {
				c ^= 0xa6bc
			}
		}
	}
	return c ^ 0xffff
}

// Frame builds a link frame.
func Frame(control uint8, destination, source uint16, data []byte) []byte {
	f := []byte{0x05, 0x64, uint8(5 + len(data)), control, uint8(destination), uint8(destination >> 8), uint8(source), uint8(source >> 8)}
	f = binary.LittleEndian.AppendUint16(f, Check(f))
	for i := 0; i < len(data); i += 16 {
		block := data[i:min(len(data), i+16)]
		f = append(f, block...)
		f = binary.LittleEndian.AppendUint16(f, Check(block))
	}
	return f
}

// Segments builds the frames of a fragment from a master, the first with
// transport number seq.
func Segments(seq uint8, destination, source uint16, fragment []byte) (frames []byte, next uint8) {
	first := uint8(0x40)
	for {
		n := min(249, len(fragment))
		header := first | seq&0x3f
		if n == len(fragment) {
			header |= 0x80
		}
		frames = append(frames, Frame(0xc4, destination, source, append([]byte{header}, fragment[:n]...))...)
		seq, first, fragment = seq+1, 0, fragment[n:]
		if len(fragment) == 0 {
			return frames, seq & 0x3f
		}
	}
}

// LinkFrame is a frame taken apart.
type LinkFrame struct {
	Control             uint8
	Destination, Source uint16
	Data                []byte
}

// ErrWire is the error of octets that are not what an outstation may send.
var ErrWire = errors.New("not DNP3")

// Cut takes the first frame from octets. It is strict: anything wrong is an
// error. Need says how many octets are wanted at least when there are too few.
func Cut(octets []byte) (f LinkFrame, rest []byte, need int, err error) {
	if len(octets) < 10 {
		return f, octets, 10, nil
	}
	if octets[0] != 0x05 || octets[1] != 0x64 || octets[2] < 5 {
		return f, nil, 0, fmt.Errorf("%w: header % x", ErrWire, octets[:10])
	}
	if Check(octets[:8]) != binary.LittleEndian.Uint16(octets[8:]) {
		return f, nil, 0, fmt.Errorf("%w: check of header % x", ErrWire, octets[:10])
	}
	data := int(octets[2]) - 5
	size := 10 + data + (data+15)/16*2
	if len(octets) < size {
		return f, octets, size, nil
	}
	f = LinkFrame{Control: octets[3], Destination: binary.LittleEndian.Uint16(octets[4:]), Source: binary.LittleEndian.Uint16(octets[6:])}
	for at := 10; at < size; at += 18 {
		block := octets[at:min(at+18, size)]
		n := len(block) - 2
		if Check(block[:n]) != binary.LittleEndian.Uint16(block[n:]) {
			return f, nil, 0, fmt.Errorf("%w: check of block at %d", ErrWire, at)
		}
		f.Data = append(f.Data, block[:n]...)
	}
	return f, octets[size:], 0, nil
}

// Join collects the segments of fragments. The zero value is ready.
type Join struct {
	held []byte
	next uint8
	open bool
}

// Add takes a segment; whole says that fragment is complete.
func (j *Join) Add(segment []byte) (fragment []byte, whole bool, err error) {
	if len(segment) < 2 {
		return nil, false, fmt.Errorf("%w: segment of %d octets", ErrWire, len(segment))
	}
	h := segment[0]
	switch {
	case h&0x40 != 0:
		j.held = nil
	case !j.open || h&0x3f != j.next:
		return nil, false, fmt.Errorf("%w: segment %d, want %d", ErrWire, h&0x3f, j.next)
	}
	j.held = append(j.held, segment[1:]...)
	j.next, j.open = (h+1)&0x3f, h&0x80 == 0
	return j.held, !j.open, nil
}
