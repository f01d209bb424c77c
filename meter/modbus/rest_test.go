package modbus

import (
	"testing"
	"time"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

// A register that the meter has not is asked for three times, and then once a
// minute; when it is there, it is read at each poll again.
func TestRefusedBlockRests(t *testing.T) {
	s := serve(t)
	m := newMeter(t, s)
	now := time.Duration(0)
	m.clock = func() time.Duration { return now }
	u := s.Unit(3)
	holes(u, 0xe0, 0xe1)
	asked := func() int {
		before := u.Requests()
		var r meter.Reading
		if err := m.Read(&r); err != nil {
			t.Fatal(err)
		}
		if r.Neutral.Reason != meter.Exception || r.Phase[meter.L1].V.Quality != meter.Good {
			t.Errorf("at %v: neutral %+v, V %+v", now, r.Neutral, r.Phase[meter.L1].V)
		}
		return u.Requests() - before
	}
	for i, want := range []int{2, 2, 2, 1, 1} {
		if got := asked(); got != want {
			t.Errorf("poll %d: %d requests, want %d", i, got, want)
		}
		now += time.Second
	}
	now += time.Minute
	for i, want := range []int{2, 1} {
		if got := asked(); got != want {
			t.Errorf("poll %d after a minute: %d requests, want %d", i, got, want)
		}
	}
	s.SetSDM630(3, evening)
	now += time.Minute
	var r meter.Reading
	for range 2 {
		if err := m.Read(&r); err != nil || r != eveningReading() {
			t.Errorf("when it is there: %v\n%+v", err, r)
		}
	}
}

func TestBusyMeterSaysWhenToComeBack(t *testing.T) {
	for _, tt := range []struct {
		code  uint8
		after time.Duration
		busy  bool
	}{{4, 0, true}, {5, 250 * time.Millisecond, true}, {6, 250 * time.Millisecond, true}, {2, 0, false}, {11, 0, false}} {
		s := serve(t)
		m := newMeter(t, s)
		s.Unit(3).Break(metertest.Fault{Kind: metertest.Exceptional, Code: tt.code, Times: 1})
		var r meter.Reading
		if err := m.Read(&r); err != nil {
			t.Fatal(err)
		}
		if after, busy := m.RetryAfter(); after != tt.after || busy != tt.busy {
			t.Errorf("exception %d: %v, %v; want %v, %v", tt.code, after, busy, tt.after, tt.busy)
		}
		if err := m.Read(&r); err != nil || r != eveningReading() {
			t.Errorf("after exception %d: %v\n%+v", tt.code, err, r)
		}
		if _, busy := m.RetryAfter(); busy {
			t.Errorf("after exception %d it is still busy", tt.code)
		}
	}
}

// The supply is read one request at a time, and polls between the requests
// change nothing about it.
func TestSupplyInSteps(t *testing.T) {
	s := serve(t)
	m := newMeter(t, s)
	u := s.Unit(3)
	u.SetFloat(0x46, 49.98)
	for i := range uint16(3) {
		u.SetFloat(0xea+2*i, 2.5)
		u.SetFloat(0xf0+2*i, 5)
	}
	u.SetFloat(0x48, 1234.5)
	u.SetFloat(0x4a, 0)
	var fast meter.Reading
	var supply meter.SupplyReading
	steps := 0
	for done := false; !done; steps++ {
		before := u.Requests()
		var err error
		if done, err = m.StepSupply(&supply); err != nil {
			t.Fatal(err)
		}
		if n := u.Requests() - before; n != 1 {
			t.Errorf("step %d made %d requests", steps, n)
		}
		if err := m.Read(&fast); err != nil || fast != eveningReading() {
			t.Errorf("poll between the steps: %v\n%+v", err, fast)
		}
	}
	if want := len(m.profile.SlowBlocksOf(1)); steps != want || want < 2 {
		t.Errorf("%d steps, want %d, at least 2", steps, want)
	}
	if supply.Frequency.Value != 49_980 || supply.THDI[meter.L3].Value != 50_000 || supply.ImportWh.Value != 1_234_500 {
		t.Errorf("supply %+v", supply)
	}
	// One that fails half-way begins anew.
	u.Break(metertest.Fault{Kind: metertest.Drop, Skip: 1, Times: 1})
	if done, err := m.StepSupply(&supply); done || err != nil {
		t.Fatal(done, err)
	}
	if _, err := m.StepSupply(&supply); err == nil || supply.Frequency.Quality == meter.Missing && supply.THDI[0].Quality != meter.Missing {
		t.Errorf("dropped half-way: %v, %+v", err, supply)
	}
	if err := m.client.Open(); err != nil {
		t.Fatal(err)
	}
	if err := m.ReadSupply(&supply); err != nil || supply.Frequency.Value != 49_980 || supply.THDI[2].Quality != meter.Good {
		t.Errorf("after that: %v, %+v", err, supply)
	}
}
