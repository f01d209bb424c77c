package bench

import (
	"io"
	"log"
	"math"
	"testing"
	"time"

	"github.com/simonvetter/modbus"
)

// reader is an independent Modbus client at the meters.
func reader(t *testing.T, m *Meters) *modbus.ModbusClient {
	t.Helper()
	c, err := modbus.NewClient(&modbus.ClientConfiguration{URL: m.URL(), Timeout: 5 * time.Second, Logger: log.New(io.Discard, "", 0)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The meters show the load at the SDM630's addresses, and a register that is
// written takes load off: seen with a Modbus client that is not ours.
func TestMetersShowTheLoadAndObey(t *testing.T) {
	w := NewWorld(1)
	m, err := StartMeters(w)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const share = 0.57
	m.Step(time.Second, share)
	c := reader(t, m)

	show := func(way int) [13]float64 {
		c.SetUnitId(w.Ways[way].Unit)
		values, err := c.ReadFloat32s(0, 15, modbus.INPUT_REGISTER) // 0x00 to 0x1D
		if err != nil {
			t.Fatal(err)
		}
		neutral, err := c.ReadFloat32(0xE0, modbus.INPUT_REGISTER)
		if err != nil {
			t.Fatal(err)
		}
		var got [13]float64
		for p := range 3 {
			got[p], got[3+p], got[6+p], got[9+p] = float64(values[p]), float64(values[3+p]), float64(values[6+p]), float64(values[12+p])
		}
		got[12] = float64(neutral)
		return got
	}
	for i := range w.Ways {
		l := w.Load(share, nil).Ways[i]
		got := show(i)
		for p, ph := range l.Phase {
			for k, want := range []float64{ph.V, ph.I, ph.P, ph.Q} {
				if math.Abs(got[3*k+p]-want) > 0.01+1e-6*math.Abs(want) {
					t.Errorf("%s phase %d quantity %d: read %.3f, want %.3f", w.Ways[i].ID, p, k, got[3*k+p], want)
				}
			}
		}
		if math.Abs(got[12]-l.Neutral) > 0.01 {
			t.Errorf("%s neutral: read %.3f, want %.3f", w.Ways[i].ID, got[12], l.Neutral)
		}
	}

	before := show(2)[3]
	g := w.Groups[4] // W3-cars-1, on L1
	c.SetUnitId(g.Unit)
	if err := c.WriteRegister(g.Holding, 25); err != nil {
		t.Fatal(err)
	}
	if v, err := c.ReadRegister(g.Holding, modbus.HOLDING_REGISTER); err != nil || v != 25 {
		t.Errorf("register reads back as %d, %v, want 25", v, err)
	}
	m.Step(2*time.Second, share)
	if after := show(2)[3]; before-after < 90 {
		t.Errorf("W3 L1 fell from %.1f A to %.1f A, want at least 90 A less", before, after)
	}
	c.SetUnitId(g.Unit)
	if err := c.WriteRegisters(g.Holding, []uint16{25, 30}); err != nil {
		t.Fatal(err)
	}
	trace := m.Trace()
	if len(trace) != 2 || trace[0].Percent != 25 || trace[1].Percent != 30 || trace[1].Group != 5 {
		t.Errorf("trace %+v, want 25 on group 4 and 30 on group 5, no repeats", trace)
	}
	if was, without := m.AboveRating(); was != time.Second || without != 2*time.Second {
		t.Errorf("above rating %v, without limits %v, want 1s and 2s", was, without)
	}
}

// Only what was accepted is in the trace.
func TestARefusedWriteIsNotInTheTrace(t *testing.T) {
	m, err := StartMeters(NewWorld(1))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := reader(t, m)
	c.SetUnitId(1)
	if err := c.WriteRegister(99, 1); err != modbus.ErrIllegalDataAddress {
		t.Errorf("write of a register that is not there: %v, want %v", err, modbus.ErrIllegalDataAddress)
	}
	if len(m.Trace()) != 0 {
		t.Errorf("trace %+v, want none", m.Trace())
	}
}

func TestTrace(t *testing.T) {
	w := NewWorld(1)
	s := time.Second
	// W2 has groups 2 (96 A, failsafe 24 A: 25 %) and 3 (63 A, failsafe 24 A: 38 %).
	trace := Trace{w, []Write{
		{1 * s, 2, 25}, {2 * s, 3, 100}, {3 * s, 3, 38}, {5 * s, 2, 10}, {6 * s, 2, 25}, {8 * s, 2, 26}, {9 * s, 0, 50},
	}}
	if at, ok := trace.Fell(1, 0, ToFailsafe); !ok || at != 3*s {
		t.Errorf("fell at %v, %v, want 3s: only then both groups", at, ok)
	}
	if at, ok := trace.Fell(1, 4*s, ToFailsafe); !ok || at != 4*s {
		t.Errorf("fell at %v, %v, want 4s: it was held already", at, ok)
	}
	if _, ok := trace.Fell(1, 0, To(6)); ok {
		t.Error("fell to 6 A, which it never did")
	}
	if _, ok := trace.Rose(1, 3*s, 7*s, ToFailsafe); ok {
		t.Error("rose at 6s: back to the failsafe limit is no release")
	}
	if at, ok := trace.Rose(1, 3*s, 8*s, ToFailsafe); !ok || at != 8*s {
		t.Errorf("rose at %v, %v, want 8s", at, ok)
	}
	if _, ok := trace.Rose(1, 3*s, 8*s-1, ToFailsafe); ok {
		t.Error("rose before 8s")
	}
	if trace.Held(1, 3*s-1, ToFailsafe) || !trace.Held(1, 3*s, ToFailsafe) {
		t.Error("held from 3s on, and not before")
	}
}
