package relay

import (
	"fmt"

	"lvagent/meter"
)

// Coils is the Modbus connection that a contact is on.
type Coils interface {
	WriteCoil(unit uint8, addr uint16, on bool) error
	ReadCoil(unit uint8, addr uint16) (bool, error)
}

// Coil is a Modbus coil that switches a group on and off.
type Coil struct {
	Unit    uint8
	Addr    uint16
	Curtail bool            // the value of the coil that curtails
	Rating  meter.Milliamps // of the group, per phase
}

// Apply writes what limit means for a contact and returns what the coil, read
// back, then permits: the group's rating or nothing.
func (c Coil) Apply(bus Coils, limit meter.Milliamps) (meter.Milliamps, error) {
	want := closed(limit, c.Rating) != c.Curtail
	if err := bus.WriteCoil(c.Unit, c.Addr, want); err != nil {
		return 0, fmt.Errorf("write %t to unit %d coil %d: %w", want, c.Unit, c.Addr, err)
	}
	got, err := bus.ReadCoil(c.Unit, c.Addr)
	if err != nil {
		return 0, fmt.Errorf("read back unit %d coil %d: %w", c.Unit, c.Addr, err)
	}
	return through(got != c.Curtail, c.Rating), nil
}
