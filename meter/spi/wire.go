package spi

import (
	"encoding/binary"
	"errors"
	"fmt"

	"periph.io/x/conn/v3/spi"
)

// ErrCheck says that what came over the wire cannot be trusted. The device is
// there and open.
var ErrCheck = errors.New("check failed")

// CheckError says which check failed, with figures to compare with a capture.
type CheckError struct {
	Register  uint16
	Check     string // command, repeated data, checksum, read-back
	Got, Want uint32
}

// Error says it in a line.
func (e *CheckError) Error() string {
	return fmt.Sprintf("register 0x%03x: %s: got 0x%x, want 0x%x", e.Register, e.Check, e.Got, e.Want)
}

// Is makes every CheckError an [ErrCheck].
func (e *CheckError) Is(target error) bool { return target == ErrCheck }

const readBit = 1 << 3

// wire is the chip as its registers. Command and data go in one transfer, so
// that the kernel's driver holds the chip select over both.
type wire struct {
	conn spi.Conn
	out  [6]byte
	in   [6]byte
}

// read returns a register. It asks five times: for the data, twice for the
// command that the chip heard, for the data that it sent, and for their
// checksum. The manual says that asking for the last command and the last data
// changes neither, and whether it changes the checksum makes no difference: the
// data that was sent last is the same. The command is asked for twice because
// nothing else covers it: a bit that flips in it on the way out, and back on the
// way in, would be another register's value with a good checksum.
func (l *wire) read(r register) (uint32, error) {
	v, err := l.get(r)
	if err != nil {
		return 0, err
	}
	heard := uint32(r)<<4 | readBit
	for range 2 {
		if err := l.expect(r, regLastCmd, "command", heard); err != nil {
			return 0, err
		}
	}
	last := regLast32
	if r.size() == 2 {
		last = regLast16
	}
	if err := l.expect(r, last, "repeated data", v); err != nil {
		return 0, err
	}
	if err := l.expect(r, regCRC, "checksum", uint32(checksum(v, r.size()))); err != nil {
		return 0, err
	}
	return v, nil
}

// write writes a register and asks what the chip heard. Whether it took it is
// seen by reading it back.
func (l *wire) write(r register, v uint32) error {
	if err := l.put(r, v); err != nil {
		return err
	}
	last := regLast32
	if r.size() == 2 {
		last = regLast16
	}
	if err := l.expect(r, regLastCmd, "command", uint32(r)<<4); err != nil {
		return err
	}
	return l.expect(r, last, "repeated data", v)
}

// expect reads a register about r that must hold want.
func (l *wire) expect(r, about register, check string, want uint32) error {
	got, err := l.get(about)
	if err == nil && got != want {
		err = &CheckError{Register: uint16(r), Check: check, Got: got, Want: want}
	}
	return err
}

// get is one transfer that reads, unchecked.
func (l *wire) get(r register) (uint32, error) {
	n := r.size()
	binary.BigEndian.PutUint16(l.out[:], uint16(r)<<4|readBit)
	clear(l.out[2:])
	if err := l.transfer(2 + n); err != nil {
		return 0, err
	}
	if n == 2 {
		return uint32(binary.BigEndian.Uint16(l.in[2:])), nil
	}
	return binary.BigEndian.Uint32(l.in[2:]), nil
}

// put is one transfer that writes, unchecked.
func (l *wire) put(r register, v uint32) error {
	binary.BigEndian.PutUint16(l.out[:], uint16(r)<<4)
	if r.size() == 2 {
		binary.BigEndian.PutUint16(l.out[2:], uint16(v))
		return l.transfer(4)
	}
	binary.BigEndian.PutUint32(l.out[2:], v)
	return l.transfer(6)
}

func (l *wire) transfer(n int) error {
	if l.conn == nil {
		return errClosed
	}
	clear(l.in[:])
	return l.conn.Tx(l.out[:n], l.in[:n])
}

var errClosed = errors.New("device is not open")

// checksum is the CRC-16-CCITT of a register's octets, first the most
// significant: polynomial 0x1021, all ones at the start.
func checksum(v uint32, octets int) uint16 {
	crc := uint16(0xffff)
	for i := octets - 1; i >= 0; i-- {
		crc ^= uint16(byte(v>>(8*i))) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
