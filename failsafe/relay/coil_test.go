package relay

import (
	"errors"
	"testing"

	"lvagent/meter"
)

// faults are what goes wrong between an output and its contact.
type faults struct {
	refuse bool // a write is not carried out, and fails
	lose   bool // a write is carried out, and fails
	deaf   bool // a read fails
	stuck  bool // what is written changes nothing, and does not fail
}

var errWire = errors.New("wire cut")

// controller is a Modbus device with one coil and one register.
type controller struct {
	faults
	coil  bool
	value uint16
}

func (c *controller) write(carryOut func()) error {
	if c.refuse {
		return errWire
	}
	if !c.stuck {
		carryOut()
	}
	if c.lose {
		return errWire
	}
	return nil
}

func (c *controller) read() error {
	if c.deaf {
		return errWire
	}
	return nil
}

func (c *controller) WriteCoil(_ uint8, _ uint16, on bool) error {
	return c.write(func() { c.coil = on })
}

func (c *controller) ReadCoil(uint8, uint16) (bool, error) { return c.coil, c.read() }

func (c *controller) WriteHolding(_ uint8, _, v uint16) error {
	return c.write(func() { c.value = v })
}

func (c *controller) ReadHolding(uint8, uint16, uint16) ([]uint16, error) {
	return []uint16{c.value}, c.read()
}

func TestCoil(t *testing.T) {
	const on0, on1 = false, true // the value of the coil that curtails
	tests := []struct {
		name    string
		curtail bool
		rating  meter.Milliamps
		bus     controller
		limit   meter.Milliamps
		want    meter.Milliamps
		coil    bool
		err     error
	}{
		{"at the rating", on0, 32_000, controller{}, 32_000, 32_000, true, nil},
		{"above the rating", on0, 32_000, controller{}, 63_000, 32_000, true, nil},
		{"a milliampere below the rating", on0, 32_000, controller{coil: true}, 31_999, 0, false, nil},
		{"nothing", on0, 32_000, controller{coil: true}, 0, 0, false, nil},
		{"less than nothing", on0, 32_000, controller{coil: true}, -1, 0, false, nil},
		{"no rating", on0, 0, controller{coil: true}, 0, 0, false, nil},
		{"a set coil curtails: at the rating", on1, 32_000, controller{coil: true}, 32_000, 32_000, false, nil},
		{"a set coil curtails: below the rating", on1, 32_000, controller{}, 16_000, 0, true, nil},
		{"does not open", on0, 32_000, controller{coil: true, faults: faults{stuck: true}}, 16_000, 32_000, true, nil},
		{"does not close", on0, 32_000, controller{faults: faults{stuck: true}}, 32_000, 0, false, nil},
		{"a set coil curtails, and stays clear", on1, 32_000, controller{faults: faults{stuck: true}}, 0, 32_000, false, nil},
		{"write fails", on0, 32_000, controller{coil: true, faults: faults{refuse: true}}, 0, 0, true, errWire},
		{"answer is lost", on0, 32_000, controller{coil: true, faults: faults{lose: true}}, 0, 0, false, errWire},
		{"read back fails", on0, 32_000, controller{coil: true, faults: faults{deaf: true}}, 0, 0, false, errWire},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Coil{Unit: 3, Addr: 2, Curtail: tt.curtail, Rating: tt.rating}
			got, err := c.Apply(&tt.bus, tt.limit)
			if got != tt.want || !errors.Is(err, tt.err) || tt.bus.coil != tt.coil {
				t.Errorf("= %d, %v, coil %t; want %d, %v, coil %t", got, err, tt.bus.coil, tt.want, tt.err, tt.coil)
			}
		})
	}
}

func TestCoilErrorNamesTheCoil(t *testing.T) {
	_, err := Coil{Unit: 3, Addr: 2, Rating: 32_000}.Apply(&controller{faults: faults{refuse: true}}, 32_000)
	if want := "write true to unit 3 coil 2: wire cut"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %q", err, want)
	}
}
