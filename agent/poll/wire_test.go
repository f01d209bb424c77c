package poll_test

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"lvagent/agent/poll"
	"lvagent/meter"
	"lvagent/meter/metertest"
	"lvagent/meter/modbus"
)

// One way and one output over real Modbus TCP, through a restart of the server.
func TestBusOverModbusTCP(t *testing.T) {
	source, err := os.ReadFile("../../configs/meters/eastron-sdm630.yaml")
	if err != nil {
		t.Fatal(err)
	}
	profile, faults := modbus.ParseProfile(source)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addr()
	equip := func(s *metertest.Server) {
		s.SetSDM630(3, metertest.SDM630{V: [3]float64{230, 231, 232}})
		s.Unit(3).SetCoil(2, true)
	}
	equip(s)
	client, err := modbus.NewClient(s.URL(), time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	readings := make(chan meter.Reading, 1000)
	b := poll.NewBus(poll.Config{
		Name: "gw1", Link: client,
		Ways:    []poll.Way{{Way: "W3", Every: 20 * time.Millisecond, Source: modbus.NewMeter(client, "W3", 3, profile)}},
		Deliver: func(r meter.Reading) { readings <- r },
		Now:     func() time.Duration { return time.Since(start) },
		Rand:    rand.Float64,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	until := func(want meter.Quality) {
		for r := range readings {
			if q := r.Phase[meter.L2].V.Quality; q == want {
				if q == meter.Good && r.Phase[meter.L2].V.Value != 231_000 {
					t.Errorf("V of L2 = %d, want 231000", r.Phase[meter.L2].V.Value)
				}
				return
			}
		}
	}
	until(meter.Good)

	written := make(chan error, 1)
	write := poll.Job{Do: func() error {
		err := client.WriteCoil(3, 2, false)
		written <- err
		return err
	}}
	if !b.Do(write) {
		t.Fatal("job refused")
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if on, _ := s.Unit(3).Coil(2); on {
		t.Error("coil is on, want off")
	}

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	until(meter.Missing)
	told := make(chan error, 1)
	write.Down = func(err error) { told <- err }
	b.Do(write)
	if err := <-told; err == nil {
		t.Error("told of no cause")
	}
	if s, err = metertest.Listen(addr); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	equip(s)
	if err := <-written; err != nil {
		t.Error(err)
	}
	until(meter.Good)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
