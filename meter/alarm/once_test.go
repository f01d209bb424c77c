package alarm

import (
	"encoding/json"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// disk is what a store makes of edges and states: a commit holds both or none,
// and a kill forgets the commits that had not reached it.
type disk struct {
	edges  []meter.Alarm // committed
	state  []byte
	queued []commit
}

type commit struct {
	edges []meter.Alarm
	state []byte
}

func (d *disk) store(t tester, m *Machine, edges []meter.Alarm) {
	t.Helper()
	if len(edges) == 0 {
		return
	}
	d.keep(t, m, edges)
}

// keep stores the state also where there is no edge, as now and then for peaks.
func (d *disk) keep(t tester, m *Machine, edges []meter.Alarm) {
	t.Helper()
	body, err := json.Marshal(m.State())
	if err != nil {
		t.Fatal(err)
	}
	d.queued = append(d.queued, commit{append([]meter.Alarm(nil), edges...), body})
}

func (d *disk) commit(n int) {
	for _, c := range d.queued[:n] {
		d.edges, d.state = append(d.edges, c.edges...), c.state
	}
	d.queued = d.queued[n:]
}

// Whatever is measured, acknowledged, shelved, and however often the agent is
// killed between any two steps: what the centre is told of an alarm is a raise
// and a clear in turn, one of each, and what is said to be active is what was
// raised and not cleared.
func TestOneRaiseAndOneClear(t *testing.T) {
	runs, edges, kills := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		cfg := Config{Way: "W3", Rating: [3]meter.Milliamps{30_000, 30_000, 30_000}}
		cfg.Fuse.OffDelay, cfg.Fuse.Latch = 3*s, true
		cfg.Export.OnDelay, cfg.Export.OffDelay = 2*s, 2*s
		cfg.Reverse.OnDelay, cfg.Stale.OnDelay, cfg.Measurement.OnDelay = 3*s, 4*s, 4*s
		cfg.Neutral.OnDelay = s
		cfg.Unbalance.Mean = 10 * s
		cfg.Unbalance.Hold = 5 * s
		cfg.Chatter.Stable = 20 * s
		rules := []Rule{
			with(hi, func(r *Rule) { r.Threshold, r.OnDelay, r.OffDelay = 25_000, 0, 0 }),
			with(lo, func(r *Rule) { r.Latch, r.OnDelay, r.Inhibit = true, s, []string{SupplyLost, PhaseLost} }),
			with(lo, func(r *Rule) { r.Phase, r.Mean, r.OnDelay, r.OffDelay = meter.L2, 10*s, 0, 0 }),
			{Way: "W3", Quantity: I, Phase: meter.L3, Kind: Rate, Threshold: 10_000, Over: 3 * s},
			{Way: "W3", Quantity: N, Kind: Hi, Threshold: 9, OnDelay: s, OffDelay: s},
		}
		ids := []string{"W3.L1.i.hi", "W3.L1.v.lo", "W3.L2.v.lo", "W3.L3.i.rate", "W3.n.hi", "W3.L1.FUSE_SUSPECTED", "W3.L2.SUPPLY_LOST", "W3.STALE", "W3.nothing"}
		m := must(t, cfg, rules...)
		d := &disk{}
		amps := rapid.SampledFrom([]int64{0, 500, 15_000, 24_000, 31_000, 90_000, largest + 1})
		volts := rapid.SampledFrom([]int64{0, 100_000, 214_000, 230_000, 230_000, 230_000, 230_000})
		var mono, wall time.Duration
		for range rapid.IntRange(20, 150).Draw(t, "steps") {
			step := rapid.SampledFrom([]time.Duration{0, s, s, s, s, 5 * s}).Draw(t, "step")
			mono, wall = mono+step, wall+step
			now := begin.Add(wall)
			what := rapid.IntRange(0, 39).Draw(t, "what")
			id := rapid.SampledFrom(ids).Draw(t, "id")
			switch what {
			case 0: // killed: some commits reach the disk, the others do not
				kills++
				d.commit(rapid.IntRange(0, len(d.queued)).Draw(t, "reach"))
				d.queued = nil
				var state State
				if d.state != nil {
					if err := json.Unmarshal(d.state, &state); err != nil {
						t.Fatal(err)
					}
				}
				keep := rules[rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "rules dropped"):]
				m = must(t, cfg, keep...)
				mono = rapid.SampledFrom([]time.Duration{0, 7 * s}).Draw(t, "mono")
				d.store(t, m, m.Resume(state, mono, now))
				for _, a := range m.Active(nil) {
					if !a.Restored {
						t.Fatalf("after a restart %+v is not marked restored", a)
					}
				}
			case 1: // the wall clock is stepped
				wall += rapid.SampledFrom([]time.Duration{time.Hour, -time.Hour, 400 * ms}).Draw(t, "clock")
			case 2:
				e, _ := m.Ack(id, "anna", mono, now)
				d.store(t, m, e)
			case 3:
				e, ok := m.Shelve(meter.Shelf{ID: id, Since: now, Until: now.Add(9 * s), OutOfService: rapid.Bool().Draw(t, "out")}, mono, now)
				if ok {
					d.keep(t, m, e)
				}
			case 4:
				e, _ := m.Unshelve(id, now)
				d.store(t, m, e)
			case 5:
				d.store(t, m, m.Tick(mono, now))
			case 7:
				d.keep(t, m, nil)
			case 6:
				r := meter.SupplyReading{Way: "W3", At: mono}
				for p := range r.Line {
					r.Line[p] = good(rapid.SampledFrom([]meter.Millivolts{400_000, 400_000, 420_000, 0}).Draw(t, "line"))
				}
				d.store(t, m, m.AddSupply(&r, now))
			default:
				r := reading(mono)
				switch rapid.IntRange(0, 12).Draw(t, "bad") {
				case 0:
					r.Fail(meter.NoAnswer)
				case 1:
					r.Fail(meter.Sentinel)
				default:
					for p := range r.Phase {
						i, sign := amps.Draw(t, "i"), rapid.SampledFrom([]int64{1, 1, -1}).Draw(t, "sign")
						r.Phase[p].I.Value, r.Phase[p].P.Value = meter.Milliamps(i), meter.Milliwatts(sign*i*230)
						r.Phase[p].V.Value = meter.Millivolts(volts.Draw(t, "v"))
					}
					r.Neutral.Value = meter.Milliamps(amps.Draw(t, "n"))
				}
				d.store(t, m, m.Add(&r, now))
			}
			d.store(t, m, m.Expire(now))
		}
		d.commit(len(d.queued))
		edges += len(d.edges)
		standing := map[string]bool{}
		for _, e := range d.edges {
			if standing[e.ID] == (e.Edge == meter.Raise) {
				t.Fatalf("%v of %s twice in %+v", e.Edge, e.ID, d.edges)
			}
			standing[e.ID] = e.Edge == meter.Raise
			if e.Edge == meter.Clear && e.Duration < 0 {
				t.Fatalf("%s lasted %v", e.ID, e.Duration)
			}
		}
		for _, a := range m.Active(nil) {
			if !standing[a.ID] {
				t.Fatalf("%s is active and was not raised", a.ID)
			}
			delete(standing, a.ID)
		}
		for id, is := range standing {
			if is {
				t.Fatalf("%s was raised, is not active and was not cleared", id)
			}
		}
	})
	// With -short there are fewer runs.
	if edges < 5*runs || 5*kills < runs {
		t.Errorf("%d edges, %d kills in %d runs: the steps do not reach the rules", edges, kills, runs)
	}
}
