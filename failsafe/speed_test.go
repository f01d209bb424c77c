package failsafe

import (
	"fmt"
	"testing"
	"time"

	"lvagent/meter"
)

// full is the largest substation there is: 12 ways with 16 groups each, half of
// them behind contacts, all phases tight.
func full() (*Engine, State, Inputs) {
	cfg := testConfig()
	cfg.Ways, cfg.Groups = nil, nil
	cfg.Transformer = 700_000
	for w := range 12 {
		id := fmt.Sprint("W", w+1)
		cfg.Ways = append(cfg.Ways, Way{ID: id, Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}})
		for g := range 16 {
			group := Group{ID: fmt.Sprint(id, ".G", g+1), Way: id, Rating: 32_000, Failsafe: 6_000, Connectors: 1 + g%3, Contact: g%2 == 1}
			group.Phases[g%3] = true
			if g%4 == 0 {
				group.Phases = [3]bool{true, true, true}
			}
			cfg.Groups = append(cfg.Groups, group)
		}
	}
	e := NewEngine(cfg)
	s := e.New(0, epoch, false)
	in := Inputs{Clock: meter.Synced}
	for _, w := range append([]Way{{ID: TX}}, cfg.Ways...) {
		l := Load{Way: w.ID, I: [3]meter.Milliamps{310_000, 280_000, 200_000}, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}}
		in.Loads = append(in.Loads, l)
	}
	for i := range mostKnown {
		s.Known = append(s.Known, Known{ID: fmt.Sprint("command-", i), Hash: "0123456789abcdef", Stage: Completed})
	}
	for i := range s.Groups {
		s.Groups[i].Limit, s.Groups[i].Actuation = cfg.Groups[i].Rating, Confirmed
	}
	for i := range s.Ways {
		s.Ways[i].State = Free
	}
	s.Ever = true
	return e, s, in
}

// A step of the largest substation takes at most 200 µs: see `make bench`.
func BenchmarkStep(b *testing.B) {
	e, s, in := full()
	b.ReportAllocs()
	now := time.Duration(0)
	seq := uint64(0)
	for b.Loop() {
		now += time.Second
		in.Heartbeats = nil
		if now%(30*time.Second) == 0 {
			seq++
			in.Heartbeats = []Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: seq}}
		}
		for i := range in.Loads {
			in.Loads[i].At = now
			in.Loads[i].I[0] = 280_000 + meter.Milliamps(now/time.Second%40)*1000
		}
		s, _, _, _ = e.Step(s, in, now, epoch.Add(now))
	}
}
