package relay

import (
	"fmt"

	"lvagent/meter"
)

// Bus is the Modbus connection of an output that is watched.
type Bus interface {
	Registers
	Coils
}

// Outcome is what came of telling an output its limit.
type Outcome struct {
	Limit   meter.Milliamps // what it permits now, read back
	Drifted bool            // it did not hold what it was last told
	Found   meter.Milliamps // what it permitted instead; with Drifted
}

// Lease is how a controller falls back by itself when it is not told anything
// any more: a timeout of its own, and what it then permits. Both are looked at
// each time, since a controller that lost its supply may have forgotten them.
type Lease struct {
	Timeout  uint16 // what the register at Addr holds
	Addr     uint16
	Fallback meter.Milliamps
	// FallbackAddr is the register of what it falls back to, in the encoding of
	// the limit; negative: it has none, or it can't be set.
	FallbackAddr int
}

// Kept is an output on Modbus that remembers what it told, so that what somebody
// else wrote in between, or a controller forgot, is noticed when the same limit is
// told again. A new limit is written first and looked at after.
type Kept struct {
	Unit     uint8
	Register *Register // one of the two
	Coil     *Coil
	Lease    *Lease // nil: none

	told  meter.Milliamps
	known bool
}

// Tell writes limit, reads it back, and keeps the lease.
func (k *Kept) Tell(bus Bus, limit meter.Milliamps) (Outcome, error) {
	var out Outcome
	if k.known && k.told == limit {
		found, same, err := k.look(bus, limit)
		if err != nil {
			return out, err
		}
		if !same {
			out.Drifted, out.Found = true, found
		}
	}
	var err error
	if k.Register != nil {
		out.Limit, err = k.Register.Apply(bus, limit)
	} else {
		out.Limit, err = k.Coil.Apply(bus, limit)
	}
	if err != nil {
		return out, err
	}
	// Only what was taken can be lost again.
	k.told, k.known = limit, out.Limit <= limit
	if k.Lease != nil {
		err = k.lease(bus)
	}
	return out, err
}

// look reports what the output permits, and whether that is what limit came to.
func (k *Kept) look(bus Bus, limit meter.Milliamps) (meter.Milliamps, bool, error) {
	if k.Register != nil {
		r := k.Register
		words, err := read(bus, r.Unit, r.Addr)
		if err != nil {
			return 0, false, err
		}
		return r.Limit(words), words == r.Value(limit), nil
	}
	c := k.Coil
	got, err := bus.ReadCoil(c.Unit, c.Addr)
	if err != nil {
		return 0, false, fmt.Errorf("look at unit %d coil %d: %w", c.Unit, c.Addr, err)
	}
	return through(got != c.Curtail, c.Rating), got == (closed(limit, c.Rating) != c.Curtail), nil
}

func read(bus Registers, unit uint8, addr uint16) (uint16, error) {
	words, err := bus.ReadHolding(unit, addr, 1)
	if err != nil {
		return 0, fmt.Errorf("look at unit %d holding %d: %w", unit, addr, err)
	}
	if len(words) != 1 {
		return 0, fmt.Errorf("look at unit %d holding %d: got %d words, want 1", unit, addr, len(words))
	}
	return words[0], nil
}

// lease writes what the controller has forgotten of its lease, and no more: such
// registers often lie in a memory that wears out.
func (k *Kept) lease(bus Registers) error {
	if err := k.set(bus, k.Lease.Addr, k.Lease.Timeout); err != nil {
		return fmt.Errorf("keep lease: %w", err)
	}
	if k.Lease.FallbackAddr < 0 || k.Register == nil {
		return nil
	}
	if err := k.set(bus, uint16(k.Lease.FallbackAddr), k.Register.Value(k.Lease.Fallback)); err != nil {
		return fmt.Errorf("keep fallback of lease: %w", err)
	}
	return nil
}

func (k *Kept) set(bus Registers, addr, want uint16) error {
	got, err := read(bus, k.Unit, addr)
	if err != nil || got == want {
		return err
	}
	if err := bus.WriteHolding(k.Unit, addr, want); err != nil {
		return fmt.Errorf("write %d to unit %d holding %d: %w", want, k.Unit, addr, err)
	}
	if got, err = read(bus, k.Unit, addr); err == nil && got != want {
		err = fmt.Errorf("unit %d holding %d: wrote %d, reads %d", k.Unit, addr, want, got)
	}
	return err
}
