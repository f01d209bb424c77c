package failsafe

import (
	"slices"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// promise is a limit that the engine accepted, and how long it still owes it.
// Only time in which a process ran counts, so a crash can't shorten it.
type promise struct {
	id    string
	group string
	limit meter.Milliamps
	from  time.Duration // of process time still to go before it starts
	left  time.Duration
	end   time.Time // by the wall clock
	again bool      // carried over a restart
}

// Whatever happens (heartbeats, silence, commands, crashes, planned restarts,
// stepped clocks, lost meters), the promises of the package hold.
func TestPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		cfg.Timers.RestorePeriod = rapid.SampledFrom([]time.Duration{0, m, 10 * m}).Draw(rt, "restore period")
		x := newSite(t, cfg)
		var promised []promise
		silent := time.Duration(0) // process time since the last heartbeat that counts
		ever := false
		released := map[string]time.Duration{} // time left of a release, by real time
		releasedFor := map[string]time.Duration{}
		steppedBack := false
		stated := map[string]bool{} // a statement since the way was last in failsafe, while heard
		track := func(d time.Duration) {
			silent += d
			for g := range released {
				released[g] -= d
			}
			kept := promised[:0]
			for _, p := range promised {
				gone := d
				if p.from > 0 {
					used := min(p.from, gone)
					p.from, gone = p.from-used, gone-used
				}
				if p.left -= gone; p.left > 0 {
					kept = append(kept, p)
				}
			}
			promised = kept
		}
		accepted := func(id string) bool {
			for _, a := range x.ev.Acks {
				if a.ID == id && a.Stage == Received {
					return true
				}
			}
			return false
		}
		before := map[string]Authority{}
		step := func(in Inputs) {
			for _, w := range x.s.Ways {
				before[w.ID] = w.State
			}
			x.step(in)
			for _, c := range in.Limits {
				if accepted(c.ID) && c.Class != Commercial && ever && silent < cfg.Timers.HeartbeatTimeout {
					stated[c.Target.Way] = true
				}
			}
			for i := range promised {
				p := &promised[i]
				for _, a := range x.ev.Acks {
					if a.ID == p.id && a.Stage == Active {
						p.from = 0 // perhaps earlier than promised, by the wall clock
						if due := p.end.Sub(x.wall()); p.again && x.clock.Trusted() {
							p.left = min(p.left, due) // it was due while the agent was down
						}
					}
				}
			}
			for _, tr := range x.ev.Transitions {
				up := before[tr.Way].restricted() && !tr.To.restricted()
				if up && (!stated[tr.Way] || !ever || silent >= cfg.Timers.HeartbeatTimeout) {
					rt.Fatalf("way %s left %v for %v: stated %v, silent for %v", tr.Way, tr.From, tr.To, stated[tr.Way], silent)
				}
				if tr.To == Failsafe {
					stated[tr.Way] = false
				}
				before[tr.Way] = tr.To
			}
		}
		resume := func(from State, down time.Duration, planned bool) {
			for g := range released {
				released[g] -= down
				if steppedBack { // then only the time left when it was stored bounds it
					released[g] = releasedFor[g]
				}
			}
			limits := map[string]meter.Milliamps{}
			for _, g := range x.s.Groups {
				limits[g.ID] = g.Limit
			}
			x.restart(from, down)
			for i := range promised {
				promised[i].again = true
			}
			for _, g := range x.s.Groups {
				if g.Limit > limits[g.ID] {
					rt.Fatalf("restart raised %s from %d to %d", g.ID, limits[g.ID], g.Limit)
				}
			}
			if !planned {
				ever = false
			} else {
				silent += down
			}
			clear(stated)
			for _, w := range x.s.Ways {
				stated[w.ID] = w.Statement && planned
			}
			if planned {
				ever = x.s.Ever
			}
			step(Inputs{}) // before anything is told to an actuator
		}
		beat := func(rt *rapid.T) {
			ever, silent = true, 0
			x.seq++
			step(Inputs{Heartbeats: []Heartbeat{{"scada-1", 1, x.seq, false}}})
		}
		draw := func(rt *rapid.T) LimitCommand {
			x.seq++
			c := LimitCommand{ID: time.Duration(x.seq).String(), Issuer: "scada-1", Epoch: 1, Seq: x.seq,
				Expires: x.wall().Add(m), Class: Class(rapid.IntRange(1, 3).Draw(rt, "class")),
				Target: Target{Way: rapid.SampledFrom([]string{"W1", "W2"}).Draw(rt, "way")}}
			c.Hash = c.ID
			return c
		}
		var last *LimitCommand
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				for i, g := range x.s.Groups {
					c := cfg.Groups[i]
					w := x.way(c.Way)
					if g.Limit < 0 || g.Limit > c.Rating {
						rt.Fatalf("%s at %d, rating %d", g.ID, g.Limit, c.Rating)
					}
					if (!ever || silent >= cfg.Timers.HeartbeatTimeout) && !w.State.restricted() {
						rt.Fatalf("way %s is %v after %v of silence", w.ID, w.State, silent)
					}
					if w.State.restricted() && g.Limit > c.Failsafe && released[g.ID] <= 0 {
						rt.Fatalf("%s at %d in %v, failsafe limit %d", g.ID, g.Limit, w.State, c.Failsafe)
					}
					for _, p := range promised {
						if released[g.ID] > 0 {
							continue // a person suspended it
						}
						if p.group == g.ID && p.from <= 0 && p.left > 0 && g.Limit > p.limit {
							rt.Fatalf("%s at %d, promised %d for another %v", g.ID, g.Limit, p.limit, p.left)
						}
					}
				}
			},
			"time passes": func(rt *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 200).Draw(rt, "seconds")) * s
				x.now += d
				track(d)
				step(Inputs{})
				x.stored = x.s // the checkpoint of a running limit
			},
			"heartbeat": func(rt *rapid.T) { beat(rt) },
			"a minute of heartbeats": func(rt *rapid.T) {
				for range 3 {
					x.now += 30 * s
					track(30 * s)
					beat(rt)
					x.stored = x.s
				}
			},
			"false heartbeat": func(rt *rapid.T) {
				wrong := []Heartbeat{{"scada-1", 1, x.seq + 9, true}, {"mallory", 1, x.seq + 9, false}}
				for _, k := range x.s.Tokens { // what came before a crash may not be stored
					wrong = append(wrong, Heartbeat{"scada-1", k.Epoch, k.Seq, false}, Heartbeat{"scada-1", k.Epoch - 1, k.Seq + 9, false})
				}
				step(Inputs{Heartbeats: []Heartbeat{rapid.SampledFrom(wrong).Draw(rt, "beat")}})
			},
			"limit": func(rt *rapid.T) {
				c := draw(rt)
				c.Amount = Amount{Amps, int64(rapid.IntRange(0, 100).Draw(rt, "amps")) * 1000}
				c.Duration = time.Duration(rapid.IntRange(1, 1800).Draw(rt, "duration")) * s
				c.Relative = rapid.Bool().Draw(rt, "relative")
				var ahead time.Duration
				if rapid.Bool().Draw(rt, "ahead") {
					ahead = time.Duration(rapid.IntRange(1, 600).Draw(rt, "start in")) * s
				}
				if c.Relative {
					c.StartIn = ahead
				} else if ahead > 0 {
					c.Start = x.wall().Add(ahead)
				}
				old := x.s
				step(Inputs{Limits: []LimitCommand{c}})
				if !accepted(c.ID) {
					return
				}
				last = &c
				for i, g := range cfg.Groups {
					if g.Way != c.Target.Way {
						continue
					}
					promised = append(promised, promise{id: c.ID, group: g.ID, limit: c.Amount.For(&g), from: ahead,
						left: c.Duration, end: x.wall().Add(ahead + c.Duration)})
					if now := x.s.Groups[i].Limit; ahead == 0 && now > c.Amount.For(&g) && released[g.ID] <= 0 {
						rt.Fatalf("%s at %d, not at once at %d", g.ID, now, c.Amount.For(&g))
					} else if now > old.Groups[i].Limit && old.Groups[i].Rule == RuleCommand {
						rt.Fatalf("a limit raised %s from %d to %d", g.ID, old.Groups[i].Limit, now)
					}
				}
			},
			"the last limit again": func(rt *rapid.T) {
				if last == nil {
					return
				}
				n := len(x.s.Commands)
				step(Inputs{Limits: []LimitCommand{*last}})
				if accepted(last.ID) || len(x.s.Commands) > n {
					rt.Fatalf("command %s took effect twice", last.ID)
				}
			},
			"none": func(rt *rapid.T) {
				c := draw(rt)
				c.Amount = Amount{Unit: None}
				if rapid.Bool().Draw(rt, "relative") {
					c.Relative = true
				}
				step(Inputs{Limits: []LimitCommand{c}})
				if !accepted(c.ID) {
					return
				}
				// What it may end it ends; the model keeps what it may not.
				kept := promised[:0]
				for _, p := range promised {
					alive := false
					for _, o := range x.s.Commands {
						alive = alive || o.ID == p.id && slices.Contains(o.Groups, p.group)
					}
					if alive {
						kept = append(kept, p)
					}
				}
				promised = kept
			},
			"crash": func(rt *rapid.T) {
				resume(x.stored, time.Duration(rapid.IntRange(0, 7200).Draw(rt, "down"))*s, false)
			},
			"planned restart": func(rt *rapid.T) {
				down := time.Duration(rapid.IntRange(0, 90).Draw(rt, "down")) * s
				st, _ := x.e.Stop(x.s, x.now, x.wall())
				resume(st, down, true)
				ever = x.s.Ever
			},
			"override": func(rt *rapid.T) {
				x.seq++
				id := time.Duration(x.seq).String()
				c := OverrideCommand{ID: id, Hash: id, Issuer: "scada-1", Epoch: 1, Seq: x.seq, Expires: x.wall().Add(m),
					Local: rapid.Bool().Draw(rt, "local"), Target: Target{Groups: []string{rapid.SampledFrom([]string{"G1", "G2", "G3"}).Draw(rt, "group")}},
					Kind: OverrideKind(rapid.IntRange(1, 4).Draw(rt, "kind")), Amount: Amount{Amps, 9_000}, By: "T. Ester",
					For: time.Duration(rapid.IntRange(1, 3600).Draw(rt, "for")) * s}
				step(Inputs{Overrides: []OverrideCommand{c}})
				if !accepted(id) {
					return
				}
				g := c.Target.Groups[0]
				switch delete(released, g); c.Kind {
				case Release:
					released[g], releasedFor[g] = c.For, c.For
				case HoldOff, LimitTo:
					if got := x.group(g).Limit; got > 9_000 || c.Kind == HoldOff && got > 0 {
						rt.Fatalf("%s at %d under override %v", g, got, c.Kind)
					}
				}
			},
			"clock steps": func(rt *rapid.T) {
				by := time.Duration(rapid.IntRange(-90000, 90000).Draw(rt, "by")) * s
				x.skew += by
				steppedBack = steppedBack || by < 0
				step(Inputs{})
			},
			"clock suspected or not": func(rt *rapid.T) { x.suspect = rapid.Bool().Draw(rt, "suspect") },
			"clock lost or found": func(rt *rapid.T) {
				x.clock = rapid.SampledFrom([]meter.Clock{meter.Unsynced, meter.Synced, meter.Holdover}).Draw(rt, "clock")
			},
			"load": func(rt *rapid.T) {
				x.load = meter.Milliamps(rapid.IntRange(-400, 400).Draw(rt, "amps")) * 1000
				x.blind = rapid.Bool().Draw(rt, "blind")
			},
		})
	})
}

// Step is total: no input, however wild, makes it panic, and the same input
// gives the same answer.
func TestStepIsTotal(t *testing.T) {
	e := NewEngine(testConfig())
	rapid.Check(t, func(rt *rapid.T) {
		st := e.New(0, epoch, rapid.Bool().Draw(rt, "lost"))
		for range rapid.IntRange(1, 5).Draw(rt, "steps") {
			in := Inputs{
				Heartbeats: []Heartbeat{{rapid.SampledFrom([]string{"", "scada-1", "x"}).Draw(rt, "issuer"), rapid.Uint64().Draw(rt, "epoch"), rapid.Uint64().Draw(rt, "seq"), rapid.Bool().Draw(rt, "retained")}},
				Feedback:   []Feedback{{Group: rapid.SampledFrom([]string{"", "G1", "G9"}).Draw(rt, "group"), Told: meter.Milliamps(rapid.Int64().Draw(rt, "told")), Limit: meter.Milliamps(rapid.Int64().Draw(rt, "read")), OK: rapid.Bool().Draw(rt, "ok")}},
				Loads:      []Load{{Way: "W1", I: [3]meter.Milliamps{meter.Milliamps(rapid.Int64().Draw(rt, "amps"))}, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}, At: time.Duration(rapid.Int64().Draw(rt, "at"))}},
				Clock:      meter.Clock(rapid.IntRange(0, 3).Draw(rt, "clock")),
				Cancels:    []CancelCommand{{ID: "k", Issuer: "scada-1", Hash: "k", Cancels: rapid.SampledFrom([]string{"", "a", "k"}).Draw(rt, "cancels"), Expires: epoch.Add(h)}},
				Limits: []LimitCommand{{ID: "a", Issuer: "scada-1", Hash: "a", Epoch: rapid.Uint64().Draw(rt, "e"), Seq: rapid.Uint64().Draw(rt, "q"),
					Expires: epoch.Add(time.Duration(rapid.Int64().Draw(rt, "expires"))), Class: Class(rapid.IntRange(0, 255).Draw(rt, "class")),
					Target:   Target{Way: rapid.SampledFrom([]string{"", "W1", "W9"}).Draw(rt, "way"), Groups: []string{"G1", "G1", "zz"}[:rapid.IntRange(0, 3).Draw(rt, "n")]},
					Start:    epoch.Add(time.Duration(rapid.Int64().Draw(rt, "start"))),
					StartIn:  time.Duration(rapid.Int64().Draw(rt, "start in")),
					Relative: rapid.Bool().Draw(rt, "relative"),
					Duration: time.Duration(rapid.Int64().Draw(rt, "duration")),
					Amount:   Amount{Unit(rapid.IntRange(0, 255).Draw(rt, "unit")), rapid.Int64().Draw(rt, "value")}}},
			}
			now := time.Duration(rapid.Int64Range(0, int64(1000*h)).Draw(rt, "now"))
			wall := epoch.Add(time.Duration(rapid.Int64().Draw(rt, "wall")))
			a, setA, _, nextA := e.Step(st, in, now, wall)
			b, setB, _, nextB := e.Step(st, in, now, wall)
			ea, err := Encode(a)
			if err != nil {
				rt.Fatal(err)
			}
			eb, _ := Encode(b)
			if string(ea) != string(eb) || len(setA) != len(setB) || nextA != nextB {
				rt.Fatal("two answers to the same input")
			}
			for i, g := range a.Groups {
				if g.Limit < 0 || g.Limit > e.cfg.Groups[i].Rating {
					rt.Fatalf("%s at %d", g.ID, g.Limit)
				}
			}
			st = a
		}
	})
}
