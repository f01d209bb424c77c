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

// stepper notes each step of a meter and how many requests it made.
type stepper struct {
	*modbus.Meter
	unit   *metertest.Unit
	events *[]string
	worst  *int
}

func (s stepper) StepSupply(r *meter.SupplyReading) (bool, error) {
	before := s.unit.Requests()
	done, err := s.Meter.StepSupply(r)
	*s.events = append(*s.events, "step")
	*s.worst = max(*s.worst, s.unit.Requests()-before)
	return done, err
}

// A slow group of several requests to a meter that takes longer than a period to
// answer each, over real Modbus TCP: the other meter is read between any two of
// them.
func TestSlowGroupDelaysByOneRequest(t *testing.T) {
	source, err := os.ReadFile("../../configs/meters/eastron-sdm630.yaml")
	if err != nil {
		t.Fatal(err)
	}
	profile, faults := modbus.ParseProfile(source)
	if len(faults) > 0 || len(profile.SlowBlocksOf(1)) < 2 {
		t.Fatal("the test needs a slow group of several requests", faults)
	}
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const period = 20 * time.Millisecond
	for unit := uint8(1); unit <= 2; unit++ {
		s.SetSDM630(unit, metertest.SDM630{V: [3]float64{230, 231, 232}})
	}
	s.Unit(2).Break(metertest.Fault{Kind: metertest.Late, Delay: 2 * period})
	client, err := modbus.NewClient(s.URL(), 10*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	var events []string // of the bus's goroutine, until it has ended
	worst := 0
	start := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	slow := stepper{modbus.NewMeter(client, "W2", 2, profile), s.Unit(2), &events, &worst}
	rounds := 0
	b := poll.NewBus(poll.Config{
		Name: "gw1", Link: client,
		Ways: []poll.Way{
			{Way: "W1", Every: period, Source: modbus.NewMeter(client, "W1", 1, profile)},
			{Way: "W2", Every: 10 * period, Source: slow, Supply: slow, SupplyEvery: 10 * period},
		},
		Deliver: func(r meter.Reading) { events = append(events, r.Way) },
		Supply: func(r meter.SupplyReading) {
			if r.Frequency.Value != 50_000 || r.THDI[meter.L3].Quality != meter.Good {
				t.Errorf("supply %+v", r)
			}
			if rounds++; rounds == 3 {
				cancel()
			}
		},
		Now: func() time.Duration { return time.Since(start) }, Align: 0, Rand: rand.Float64,
	})
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if worst != 1 {
		t.Errorf("%d requests in one step", worst)
	}
	steps := 0
	for i, e := range events {
		if e != "step" {
			continue
		}
		if steps++; i > 0 && events[i-1] == "step" {
			t.Fatalf("two steps without a poll between them, although one was due: %q", events)
		}
	}
	if steps != 3*len(profile.SlowBlocksOf(1)) {
		t.Errorf("%d steps", steps)
	}
}
