package relay

import (
	"errors"
	"testing"

	"lvagent/meter"
)

// unit is a controller of several registers and coils.
type unit struct {
	holding map[uint16]uint16
	coils   map[uint16]bool
	broken  int // requests until one fails; 0: none does
	stuck   map[uint16]bool
	writes  []uint16 // addresses, in order
}

func newUnit() *unit {
	return &unit{holding: map[uint16]uint16{}, coils: map[uint16]bool{}, stuck: map[uint16]bool{}}
}

func (u *unit) request() error {
	if u.broken > 0 {
		if u.broken--; u.broken == 0 {
			return errWire
		}
	}
	return nil
}

func (u *unit) WriteHolding(_ uint8, addr, v uint16) error {
	if err := u.request(); err != nil {
		return err
	}
	u.writes = append(u.writes, addr)
	if !u.stuck[addr] {
		u.holding[addr] = v
	}
	return nil
}

func (u *unit) ReadHolding(_ uint8, addr, n uint16) ([]uint16, error) {
	return []uint16{u.holding[addr]}, u.request()
}

func (u *unit) WriteCoil(_ uint8, addr uint16, on bool) error {
	if err := u.request(); err != nil {
		return err
	}
	u.coils[addr] = on
	return nil
}

func (u *unit) ReadCoil(_ uint8, addr uint16) (bool, error) { return u.coils[addr], u.request() }

func keptRegister() *Kept {
	return &Kept{Unit: 3, Register: &Register{Unit: 3, Addr: 30, Encode: Amps, Rating: 63_000},
		Lease: &Lease{Timeout: 90, Addr: 31, Fallback: 6000, FallbackAddr: 32}}
}

// What somebody else wrote, or a controller that lost its supply forgot, is
// noticed with the next refresh and written over.
func TestDriftIsNoticedAndWrittenOver(t *testing.T) {
	tests := []struct {
		name    string
		kept    *Kept
		told    []meter.Milliamps // before
		between func(*unit)
		tell    meter.Milliamps
		drifted bool
		found   meter.Milliamps
	}{
		{"told for the first time", keptRegister(), nil, func(u *unit) { u.holding[30] = 63 }, 16_000, false, 0},
		{"refreshed, as it was", keptRegister(), []meter.Milliamps{16_000}, func(*unit) {}, 16_000, false, 0},
		{"somebody wrote more", keptRegister(), []meter.Milliamps{16_000}, func(u *unit) { u.holding[30] = 40 }, 16_000, true, 40_000},
		{"somebody wrote less", keptRegister(), []meter.Milliamps{16_000}, func(u *unit) { u.holding[30] = 2 }, 16_000, true, 2000},
		{"woke up unlimited", keptRegister(), []meter.Milliamps{16_000}, func(u *unit) { u.holding = map[uint16]uint16{30: 63} }, 16_000, true, 63_000},
		{"changed, and told another limit", keptRegister(), []meter.Milliamps{16_000}, func(u *unit) { u.holding[30] = 40 }, 10_000, false, 0},
		{"coil as it was", &Kept{Unit: 3, Coil: &Coil{Unit: 3, Addr: 2, Rating: 63_000}}, []meter.Milliamps{0}, func(*unit) {}, 0, false, 0},
		{"coil closed by another", &Kept{Unit: 3, Coil: &Coil{Unit: 3, Addr: 2, Rating: 63_000}}, []meter.Milliamps{0}, func(u *unit) { u.coils[2] = true }, 0, true, 63_000},
		{"inverted coil opened by another", &Kept{Unit: 3, Coil: &Coil{Unit: 3, Addr: 2, Curtail: true, Rating: 63_000}}, []meter.Milliamps{63_000}, func(u *unit) { u.coils[2] = true }, 63_000, true, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUnit()
			for _, limit := range tt.told {
				if _, err := tt.kept.Tell(u, limit); err != nil {
					t.Fatal(err)
				}
			}
			tt.between(u)
			got, err := tt.kept.Tell(u, tt.tell)
			if err != nil || got.Drifted != tt.drifted || got.Found != tt.found || got.Limit != tt.tell {
				t.Errorf("tell %d = %+v, %v; want drifted %v, found %d", tt.tell, got, err, tt.drifted, tt.found)
			}
			if again, err := tt.kept.Tell(u, tt.tell); err != nil || again.Drifted {
				t.Errorf("once more = %+v, %v; want no drift", again, err)
			}
		})
	}
}

// A new limit is written before anything is looked at: a decrease must not wait
// for what is only worth knowing.
func TestANewLimitIsWrittenFirst(t *testing.T) {
	u, k := newUnit(), keptRegister()
	if _, err := k.Tell(u, 16_000); err != nil {
		t.Fatal(err)
	}
	u.broken, u.writes = 2, nil // the second request fails
	if _, err := k.Tell(u, 6000); !errors.Is(err, errWire) {
		t.Fatalf("error %v", err)
	}
	if u.holding[30] != 6 || len(u.writes) != 1 {
		t.Errorf("register %d after %d writes, want the new limit at once", u.holding[30], len(u.writes))
	}
}

func TestLeaseIsKept(t *testing.T) {
	u, k := newUnit(), keptRegister()
	tell := func(limit meter.Milliamps) {
		t.Helper()
		if _, err := k.Tell(u, limit); err != nil {
			t.Fatal(err)
		}
		if u.holding[31] != 90 || u.holding[32] != 6 {
			t.Errorf("lease %d s, fallback %d A; want 90, 6", u.holding[31], u.holding[32])
		}
	}
	tell(16_000)
	u.writes = nil
	tell(16_000)
	if len(u.writes) != 1 || u.writes[0] != 30 {
		t.Errorf("refresh wrote %v, want the limit only: the others wear out", u.writes)
	}
	u.holding = map[uint16]uint16{30: 16} // it lost its supply, and kept the limit
	tell(16_000)
	u.stuck[31] = true
	u.holding[31] = 0
	if out, err := k.Tell(u, 16_000); err == nil || out.Limit != 16_000 {
		t.Errorf("a lease that is not taken = %+v, %v; want an error", out, err)
	}
}

// Whichever request fails, it is an error of that telling; the next one puts
// everything right.
func TestKeptFailureAtEachRequest(t *testing.T) {
	for n := 1; ; n++ {
		u, k := newUnit(), keptRegister()
		u.broken = n
		_, first := k.Tell(u, 16_000)
		_, second := k.Tell(u, 16_000)
		if u.broken > 0 {
			if n < 8 {
				t.Errorf("only %d requests were made", n-1)
			}
			break
		}
		if first == nil && second == nil {
			t.Fatalf("request %d failed and nobody was told", n)
		}
		if out, err := k.Tell(u, 16_000); err != nil || out.Limit != 16_000 || u.holding[30] != 16 || u.holding[31] != 90 || u.holding[32] != 6 {
			t.Fatalf("after request %d failed: %+v, %v, %v", n, out, err, u.holding)
		}
	}
}
