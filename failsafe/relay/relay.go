// Package relay carries a group's limit to what can limit it, and reads back
// what it made of it.
//
// A [Register] is told the limit. A [Coil] and a [Line] are contacts: closed or
// open, and open is the safe one.
//
// It writes and reads; when to do so, when to try again, and what a wrong
// answer means, is the failsafe engine's to say. An output is used by one
// goroutine only, the one that owns its bus or its lines.
//
// Requirements: R7, R14 (blocks of current).
package relay

import (
	"fmt"

	"lvagent/meter"
)

// Registers is the Modbus connection that an output is on.
type Registers interface {
	WriteHolding(unit uint8, addr, value uint16) error
	ReadHolding(unit uint8, addr, n uint16) ([]uint16, error)
}

// closed reports whether a contact may be closed under limit. A contact can't
// hold a limit between nothing and all, so anything below the group's rating
// opens it. A group without a rating stays open.
func closed(limit, rating meter.Milliamps) bool {
	return rating > 0 && limit >= rating
}

// through returns what a contact permits.
func through(closed bool, rating meter.Milliamps) meter.Milliamps {
	if closed {
		return rating
	}
	return 0
}

// Encoding is how a limit stands in a register.
type Encoding uint8

// Encodings. Each rounds down: the lower limit is the safe one.
const (
	Percent  Encoding = iota // of the group's rating
	Amps                     // whole amperes per phase
	Deciamps                 // tenths of an ampere per phase
)

// ParseEncoding returns the encoding that the site file calls name.
func ParseEncoding(name string) (Encoding, bool) {
	switch name {
	case "percent":
		return Percent, true
	case "amps":
		return Amps, true
	case "deciamps":
		return Deciamps, true
	}
	return 0, false
}

// Register is a holding register that holds a group's limit.
type Register struct {
	Unit   uint8
	Addr   uint16
	Encode Encoding
	Rating meter.Milliamps // of the group, per phase
}

// Value returns what the register holds for limit.
func (r Register) Value(limit meter.Milliamps) uint16 {
	limit = max(0, min(limit, r.Rating))
	var v int64
	switch r.Encode {
	case Percent:
		if r.Rating > 0 {
			v = int64(limit) * 100 / int64(r.Rating)
		}
	case Amps:
		v = int64(limit) / 1000
	case Deciamps:
		v = int64(limit) / 100
	}
	return uint16(min(v, 0xFFFF))
}

// Limit returns what a register that holds value permits.
func (r Register) Limit(value uint16) meter.Milliamps {
	switch r.Encode {
	case Amps:
		return meter.Milliamps(value) * 1000
	case Deciamps:
		return meter.Milliamps(value) * 100
	default:
		return r.Rating * meter.Milliamps(value) / 100
	}
}

// Apply writes limit and returns what the register then permits. A limit that
// the register can't express exactly is rounded down before it is written; when
// the register took that value, limit itself is returned.
func (r Register) Apply(bus Registers, limit meter.Milliamps) (meter.Milliamps, error) {
	want := r.Value(limit)
	if err := bus.WriteHolding(r.Unit, r.Addr, want); err != nil {
		return 0, fmt.Errorf("write limit to unit %d holding %d: %w", r.Unit, r.Addr, err)
	}
	words, err := bus.ReadHolding(r.Unit, r.Addr, 1)
	if err != nil {
		return 0, fmt.Errorf("read back limit of unit %d holding %d: %w", r.Unit, r.Addr, err)
	}
	if len(words) != 1 {
		return 0, fmt.Errorf("read back limit of unit %d holding %d: got %d words, want 1", r.Unit, r.Addr, len(words))
	}
	if words[0] == want {
		return max(0, limit), nil
	}
	return r.Limit(words[0]), nil
}
