package failsafe

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// drawnLimit is a command that is right, or wrong in one way.
func drawnLimit(rt *rapid.T, x *site) LimitCommand {
	x.seq++
	seconds := func(name string, low, high int) time.Duration {
		return time.Duration(rapid.IntRange(low, high).Draw(rt, name)) * s
	}
	c := LimitCommand{
		ID: fmt.Sprint("c", x.seq), Issuer: "scada-1", Epoch: 1, Seq: x.seq, Expires: x.wall().Add(m),
		Class:    rapid.SampledFrom([]Class{Network, Commercial, Emergency}).Draw(rt, "class"),
		Target:   rapid.SampledFrom([]Target{{Way: "W1"}, {Way: "W2"}, {Groups: []string{"G1", "G3"}}, {Groups: []string{"G2", "G9"}}, {Way: "W1", Phases: [3]bool{true}}}).Draw(rt, "target"),
		Relative: true, StartIn: seconds("start in", 0, 900), Duration: seconds("duration", 1, 1800), Randomise: seconds("randomise", 0, 600),
		Amount: rapid.SampledFrom([]Amount{{Amps, 6_000}, {Amps, 40_000}, {Amps, 0}, {Percent, 50_000}, {Watts, 4_000_000}}).Draw(rt, "amount"),
	}
	c.Hash = c.ID
	if x.clock.Trusted() && rapid.Bool().Draw(rt, "absolute") {
		c.Relative, c.Start = false, x.wall().Add(c.StartIn-300*s)
	}
	switch rapid.IntRange(0, 6).Draw(rt, "what") {
	case 1:
		c.Amount, c.StartIn, c.Relative, c.Duration = Amount{Unit: None}, 0, true, 0
	case 2:
		c.Amount, c.Duration = Amount{}, 0
		for range rapid.IntRange(1, 4).Draw(rt, "blocks") {
			c.Curve = append(c.Curve, Block{seconds("block", 1, 600), Amount{Amps, int64(rapid.IntRange(0, 90).Draw(rt, "amps")) * 1000}})
		}
	case 3:
		c.Target, c.Class = Target{Way: "W1"}, Network
		c.Amount = Amount{ByRegime, rapid.Int64Range(0, 2).Draw(rt, "regime")}
		if c.Amount.Value == 0 {
			c.Relative, c.StartIn = true, 0
		}
	case 4:
		c.Relative, c.StartIn = true, 0
	}
	if len(x.s.Commands) > 0 && rapid.Bool().Draw(rt, "supersedes") {
		c.Supersedes = rapid.SampledFrom(x.s.Commands).Draw(rt, "which").ID
	}
	switch rapid.IntRange(0, 24).Draw(rt, "flaw") {
	case 1:
		c.Issuer = "mallory"
	case 2:
		c.Expires = x.wall().Add(-s)
	case 3:
		c.Class = Class(rapid.SampledFrom([]int{0, 4, 255}).Draw(rt, "no class"))
	case 4:
		c.Target = rapid.SampledFrom([]Target{{}, {Groups: []string{"G9"}}, {Way: "W1", Groups: []string{"G1"}}}).Draw(rt, "no target")
	case 5:
		c.Amount = rapid.SampledFrom([]Amount{{Amps, -1}, {Percent, 200_000}, {}, {ByRegime, 9}, {77, 1}, {Amps, 1 << 62}}).Draw(rt, "no amount")
	case 6:
		c.Duration = -s
	case 7:
		c.Retained = true
	case 8:
		c.Curve = append(c.Curve, Block{0, Amount{Amps, -1}})
	}
	return c
}

// ending is a stage after which a command is over.
func ending(a Ack) bool {
	return a.Stage == Completed || a.Stage == Cancelled || a.Stage == Superseded
}

// Whatever comes, in whatever order, with crashes and stepped clocks between:
//
//   - a command that is not accepted moves no setpoint;
//   - each accepted command reaches one final stage, and no more after it;
//   - one that was accepted runs at its time, whether the centre is heard or not;
//   - what comes twice changes nothing;
//   - a command of a lower class takes no group out of one of a higher.
func TestEveryCommandComesToOneEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		cfg.Groups[0].Contract[Red] = Contract{true, 9_000}
		x := newSite(t, cfg)
		accepted, ended, begun := map[string]LimitCommand{}, map[string]Stage{}, map[string]bool{}
		step := func(in Inputs) {
			x.step(in)
			for _, a := range x.ev.Acks {
				if a.Command != "limit" || a.Code == Duplicate || a.Stage == Rejected {
					continue
				}
				if a.Stage == Received {
					for _, c := range in.Limits {
						accepted[a.ID] = c
					}
				}
				if a.Stage == Active {
					begun[a.ID] = true
				}
				if was := ended[a.ID]; was != "" {
					rt.Fatalf("%s is %s after it was %s", a.ID, a.Stage, was)
				}
				if ending(a) {
					ended[a.ID] = a.Stage
				}
			}
			x.stored = x.s // the disk keeps up
		}
		send := func(c LimitCommand) (took bool) {
			without, _, _, _ := x.e.Step(x.s, x.seen(Inputs{}), x.now, x.wall())
			step(Inputs{Limits: []LimitCommand{c}})
			took = slices.ContainsFunc(x.ev.Acks, func(a Ack) bool { return a.ID == c.ID && a.Stage == Received })
			if took {
				return true
			}
			for i, g := range x.s.Groups {
				if but := without.Groups[i]; g.Limit != but.Limit {
					rt.Fatalf("with a command that was refused %s has %d, else %d (%+v)", g.ID, g.Limit, but.Limit, x.ev.Acks)
				}
			}
			return false
		}
		pass := func(d time.Duration, beating bool) {
			x.now += d
			if beating {
				x.seq++
				step(Inputs{Heartbeats: []Heartbeat{{"scada-1", 1, x.seq, false}}})
				return
			}
			step(Inputs{})
		}
		check := func() {
			for id, c := range accepted {
				i := slices.IndexFunc(x.s.Commands, func(o Command) bool { return o.ID == id })
				if (i < 0) != (ended[id] != "") {
					rt.Fatalf("%s: in the state %v, ended %q", id, i >= 0, ended[id])
				}
				if i < 0 {
					continue
				}
				o := x.s.Commands[i]
				if o.Stage == Scheduled && x.now >= o.Start {
					rt.Fatalf("%s of %+v is late: %v, now %v", id, c, o.Start, x.now)
				}
			}
			if len(x.s.Commands) > mostCommands {
				rt.Fatalf("%d commands", len(x.s.Commands))
			}
		}
		last := LimitCommand{}
		limit := func(rt *rapid.T) {
			c := drawnLimit(rt, x)
			held := map[string][]string{} // groups of commands of a higher class, by id
			for _, o := range x.s.Commands {
				if o.Class < c.Class {
					held[o.ID] = slices.Clone(o.Groups)
				}
			}
			if !send(c) {
				return
			}
			last = c
			for id, groups := range held {
				i := slices.IndexFunc(x.s.Commands, func(o Command) bool { return o.ID == id })
				if i < 0 && ended[id] != Completed || i >= 0 && !slices.Equal(x.s.Commands[i].Groups, groups) {
					rt.Fatalf("%s of class %v took from %s of a higher class", c.ID, c.Class, id)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"":      func(*rapid.T) { check() },
			"limit": limit, "another limit": limit, "a third": limit,
			"the same again": func(rt *rapid.T) {
				if last.ID == "" {
					return
				}
				c := last
				switch rapid.IntRange(0, 2).Draw(rt, "as") {
				case 1:
					c.Hash = "other"
				case 2:
					c.ID, c.Hash = "another", "another" // the number was used
				}
				without, _, _, _ := x.e.Step(x.s, x.seen(Inputs{}), x.now, x.wall())
				took := send(c)
				without.Conflict = x.s.Conflict
				a, _ := Encode(without)
				if b, _ := Encode(x.s); took || string(a) != string(b) {
					rt.Fatalf("it took %v, and made of\n%s\nthis\n%s", took, a, b)
				}
			},
			"cancel": func(rt *rapid.T) {
				x.seq++
				id := "c" + fmt.Sprint(rapid.Uint64Range(1, x.seq+3).Draw(rt, "cancels"))
				step(Inputs{Cancels: []CancelCommand{{ID: fmt.Sprint("k", x.seq), Issuer: "scada-1", Epoch: 1, Seq: x.seq, Hash: "k", Expires: x.wall(), Cancels: id}}})
			},
			"opt-out": func(rt *rapid.T) {
				if len(x.s.Commands) == 0 {
					return
				}
				c := rapid.SampledFrom(x.s.Commands).Draw(rt, "event")
				x.seq++
				step(Inputs{OptOuts: []OptOut{{ID: fmt.Sprint("o", x.seq), Event: c.ID, Group: rapid.SampledFrom([]string{"G1", "G2", "G3"}).Draw(rt, "group"), By: "driver"}}})
				if c.Class != Commercial {
					if i := slices.IndexFunc(x.s.Commands, func(o Command) bool { return o.ID == c.ID }); i >= 0 && !slices.Equal(x.s.Commands[i].Groups, c.Groups) {
						rt.Fatalf("an order of the network was refused")
					}
				}
			},
			"time passes": func(rt *rapid.T) { pass(time.Duration(rapid.IntRange(1, 200).Draw(rt, "seconds"))*s, false) },
			"a heartbeat": func(rt *rapid.T) { pass(s, true) },
			"a crash":     func(rt *rapid.T) { x.crash(); step(Inputs{}) },
			"clock stepped": func(rt *rapid.T) {
				x.skew += time.Duration(rapid.IntRange(-600, 600).Draw(rt, "by")) * s
				step(Inputs{})
			},
			"clock lost or found": func(rt *rapid.T) {
				x.clock = rapid.SampledFrom([]meter.Clock{meter.Unsynced, meter.Synced}).Draw(rt, "clock")
			},
		})
		x.clock = meter.Synced
		for range 30 { // in silence
			pass(h, false)
		}
		check()
		if len(x.s.Commands) > 0 || len(ended) < len(accepted) {
			rt.Fatalf("%d accepted, %d came to an end, left %+v", len(accepted), len(ended), x.s.Commands)
		}
		for id, stage := range ended {
			if stage == Completed && !begun[id] && accepted[id].Amount.Unit != None && accepted[id].Amount != (Amount{ByRegime, 0}) {
				rt.Fatalf("%s is completed and never began", id)
			}
		}
	})
}

// A clock that is stepped, by however much and however often, moves the end of a
// limit that runs by nothing.
func TestSteppedClocksDoNotMoveAnEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := newSite(t, testConfig())
		long := time.Duration(rapid.IntRange(60, 3600).Draw(rt, "duration")) * s
		x.command(LimitCommand{ID: "k", Target: Target{Way: "W1"}, Amount: Amount{Amps, 6_000}, Relative: rapid.Bool().Draw(rt, "relative"), Duration: long})
		began := x.now
		for len(x.s.Commands) > 0 {
			if rapid.IntRange(0, 9).Draw(rt, "step") == 0 {
				x.skew += time.Duration(rapid.Int64Range(int64(-9000*h), int64(9000*h)).Draw(rt, "by"))
				x.suspect = rapid.Bool().Draw(rt, "suspect")
				x.clock = rapid.SampledFrom([]meter.Clock{meter.Unsynced, meter.Synced, meter.Holdover}).Draw(rt, "clock")
			}
			x.now += time.Duration(rapid.IntRange(1, 60).Draw(rt, "wait")) * s
			if next := x.now; next-began > long && x.now-next < m { // wake at the end itself, as the deadline says
				x.now = max(began+long, x.s.Mono)
			}
			x.step(Inputs{})
			if x.now-began > long+s {
				rt.Fatalf("%v after its end it still runs", x.now-began-long)
			}
		}
		if x.now-began < long {
			rt.Fatalf("it ended %v early", long-(x.now-began))
		}
	})
}

// Who gives first does not hang on names or on the order of the site file: over
// many devices each of four equal groups is first about as often.
func TestOrderOfTheSiteFileDecidesNothing(t *testing.T) {
	const devices = 400
	first := map[string]int{}
	for seed := range devices {
		for _, order := range [][]string{{"A", "B", "C", "D"}, {"D", "C", "B", "A"}} {
			cfg := testConfig()
			cfg.Seed[0], cfg.Seed[1] = byte(seed), byte(seed>>8)
			cfg.Ways, cfg.Groups = cfg.Ways[:1], nil
			for _, id := range order {
				cfg.Groups = append(cfg.Groups, Group{ID: id, Way: "W1", Phases: [3]bool{true}, Rating: 32_000, Contact: true})
			}
			e := NewEngine(cfg)
			st := e.New(0, epoch, false)
			r := &run{Engine: e, s: &st}
			first[cfg.Groups[r.inTurn([]int{0, 1, 2, 3})[0]].ID+order[0]]++
		}
	}
	for _, id := range []string{"A", "B", "C", "D"} {
		forth, back := first[id+"A"], first[id+"D"]
		if forth != back {
			t.Errorf("%s is first on %d devices, and on %d with the file the other way round", id, forth, back)
		}
		if forth < devices/4-50 || forth > devices/4+50 { // six standard deviations
			t.Errorf("%s is first on %d of %d devices", id, forth, devices)
		}
	}
}
