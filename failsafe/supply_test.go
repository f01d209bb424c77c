package failsafe

import (
	"slices"
	"testing"
	"time"

	"lvagent/meter"
)

// supplyConfig is the site of the tests with a seed, so that groups draw delays
// that differ.
func supplyConfig() Config {
	cfg := testConfig()
	cfg.Seed = [32]byte{1, 2, 3}
	return cfg
}

// supply takes the supply of ways to the given voltage, or gives it back.
func (x *site) supply(v meter.Millivolts, ways ...string) {
	if x.volts == nil {
		x.volts = map[string][3]meter.Millivolts{}
	}
	for _, w := range ways {
		x.volts[w] = [3]meter.Millivolts{v, v, v}
	}
	x.load = 50_000
	if v < lowSupply {
		x.load = 0
	}
}

// R12: while the supply is away limits stay as they are; from its return on
// groups are idle for the dead time and a delay of their own, then they are back
// at once.
func TestRestorationAfterALossOfSupply(t *testing.T) {
	x := newSite(t, supplyConfig())
	x.free()
	x.supply(0, "W1", "W2")
	x.run(5*m, true)
	for _, id := range []string{"G1", "G2", "G3"} {
		g := x.group(id)
		if g.Limit != x.e.cfg.Groups[x.e.group(id)].Rating || !g.Restart.Lost {
			t.Fatalf("%s is at %d (%s) during the outage, restart %+v", id, g.Limit, g.Rule, g.Restart)
		}
	}
	x.supply(230_000, "W1", "W2")
	x.run(s, true)
	back := x.now
	delays := map[time.Duration]bool{}
	for _, id := range []string{"G1", "G2", "G3"} {
		g := x.group(id)
		if g.Limit != 0 || g.Rule != RuleIdle || g.Source == "" {
			t.Fatalf("%s is at %d by %q of %q when the supply is back", id, g.Limit, g.Rule, g.Source)
		}
		delays[g.Restart.Delay] = true
	}
	if len(delays) != 3 {
		t.Errorf("delays of three groups: %v", delays)
	}
	if w := x.way("W1"); w.State != Restoring || w.Cause != SupplyReturned {
		t.Errorf("W1 is %v for %s", w.State, w.Cause)
	}
	for range 800 {
		want := map[string]time.Duration{}
		for _, g := range x.s.Groups {
			want[g.ID] = g.Restart.Until
		}
		x.run(s, true)
		for _, g := range x.s.Groups {
			idle, until := g.Restart.Event != "", want[g.ID]
			switch {
			case until > 0 && idle != (x.now < until):
				t.Fatalf("%s idle %v at %v, its time is %v", g.ID, idle, x.now, until)
			case idle && (g.Limit != 0 || x.now-back > 720*s):
				t.Fatalf("%s is idle at %d, %v after the return", g.ID, g.Limit, x.now-back)
			case !idle && x.now-back < 120*s:
				t.Fatalf("%s is back %v after the return", g.ID, x.now-back)
			case !idle && g.Limit != x.e.cfg.Groups[x.e.group(g.ID)].Rating:
				t.Fatalf("%s is at %d (%s) although its wait is over", g.ID, g.Limit, g.Rule)
			}
		}
	}
	for _, g := range x.s.Groups {
		if g.Restart != (Restart{}) {
			t.Errorf("%s still has %+v", g.ID, g.Restart)
		}
	}
}

// What is an outage, to the edge and its neighbour.
func TestWhatCountsAsALossOfSupply(t *testing.T) {
	const v80, v85 = 184_000, 195_500
	tests := []struct {
		name  string
		do    func(*site)
		idle  bool // W1's groups have to wait once the voltage is back
		blind bool // and meanwhile counted as not measured
	}{
		{"a second below 80 %", func(x *site) { x.supply(v80-1, "W1"); x.run(2*s, true) }, false, false},
		{"longer than a second below 80 %", func(x *site) { x.supply(v80-1, "W1"); x.run(3*s, true) }, true, false},
		{"80 % for ever", func(x *site) { x.supply(v80, "W1"); x.run(h, true) }, false, false},
		{"no voltage measured", func(x *site) { x.dumb = true; x.load = 0; x.run(5*m, true); x.dumb = false }, false, false},
		{"a meter that went silent", func(x *site) {
			x.dumb, x.blind = true, true
			x.run(5*m, true)
			if x.group("G1").Rule != RuleUnmeasured {
				x.t.Errorf("silent meter: %s", x.group("G1").Rule)
			}
			x.dumb, x.blind = false, false
		}, false, true},
		{"an outage without currents is not blind", func(x *site) {
			x.supply(0, "W1")
			x.blind = true
			x.run(h, true)
			if g := x.group("G1"); g.Limit != 96_000 {
				x.t.Errorf("G1 is at %d by %s", g.Limit, g.Rule)
			}
			x.blind = false
		}, true, false},
		{"an outage that is no longer seen is blind", func(x *site) {
			x.supply(0, "W1")
			x.run(m, true)
			x.blind, x.dumb = true, true
			x.run(2*m, true)
			if g := x.group("G1"); g.Limit != 24_000 || g.Rule != RuleUnmeasured {
				x.t.Errorf("G1 is at %d by %s", g.Limit, g.Rule)
			}
			x.blind, x.dumb = false, false
		}, true, true},
		{"a blown fuse", func(x *site) { x.unfed = [3]bool{true, true, true}; x.run(s, true); x.unfed = [3]bool{} }, true, false},
		{"the mains input", func(x *site) { x.mains = true; x.run(s, true); x.mains = false }, true, false},
		{"back at 85 % only", func(x *site) {
			x.supply(0, "W1")
			x.run(m, true)
			x.supply(v85-1, "W1")
			x.run(m, true)
			if !x.group("G1").Restart.Lost {
				x.t.Error("84.9 % counts as back")
			}
		}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, supplyConfig())
			x.free()
			tt.do(x)
			x.supply(v85, "W1")
			x.run(s, true)
			g := x.group("G1")
			if idle := g.Rule == RuleIdle && g.Limit == 0; idle != tt.idle {
				t.Errorf("G1 at %d by %q, idle %v wanted", g.Limit, g.Rule, tt.idle)
			}
			if other := x.group("G3"); tt.name != "the mains input" && tt.idle && other.Restart.Event != "" {
				t.Errorf("the other way's group waits too: %+v", other.Restart)
			}
		})
	}
}

// Nothing is raised without supply: what ends meanwhile ends for the return.
func TestNoIncreaseWithoutSupply(t *testing.T) {
	x := newSite(t, supplyConfig())
	x.free()
	x.command(LimitCommand{Target: Target{Way: "W1"}, Amount: Amount{Amps, 10_000}, Relative: true, Duration: 5 * m})
	x.supply(0, "W1")
	x.run(30*m, true)
	if g := x.group("G1"); g.Limit != 10_000 || g.Rule != RuleUnfed {
		t.Errorf("G1 at %d by %q during the outage", g.Limit, g.Rule)
	}
}

// A crash draws no other delay and shortens none; the same event gives the same.
func TestRestartIsNotDrawnAgain(t *testing.T) {
	x := newSite(t, supplyConfig())
	x.free()
	x.supply(0, "W1", "W2")
	x.run(m, true)
	event := x.group("G1").Restart.Event
	x.crash()
	x.run(10*s, true) // still dark
	if g := x.group("G1"); !g.Restart.Lost || g.Restart.Event != event {
		t.Fatalf("a crash forgot the outage %s: %+v", event, g.Restart)
	}
	x.supply(230_000, "W1", "W2")
	x.run(s, false)
	drawn := x.group("G1").Restart
	if drawn.Event != event || drawn.Until-x.now != 120*s+drawn.Delay {
		t.Fatalf("drawn %+v at %v for %s", drawn, x.now, event)
	}
	x.run(30*s, false)
	left := drawn.Until - x.now
	x.stored = x.s
	x.crash()
	again := x.group("G1").Restart
	if again.Event != event || again.Delay != drawn.Delay || again.Until-x.now != left {
		t.Errorf("after the crash %+v at %v, before %+v with %v left", again, x.now, drawn, left)
	}
	if g := x.group("G1"); g.Limit != 0 {
		t.Errorf("G1 starts at %d", g.Limit)
	}
	// The second event draws anew.
	x.run(20*m, true)
	x.supply(0, "W1")
	x.run(m, true)
	x.supply(230_000, "W1")
	x.run(s, true)
	if second := x.group("G1").Restart; second.Event == event || second.Delay == drawn.Delay {
		t.Errorf("the second event is %+v, the first was %+v", second, drawn)
	}
}

// The device's own supply was lost: nobody saw the groups', so they wait.
func TestADeviceThatLostItsSupply(t *testing.T) {
	x := newSite(t, supplyConfig())
	x.free()
	x.stored = x.s
	x.crash()
	x.s = x.e.Repowered(x.s, "power")
	x.run(s, false)
	for _, g := range x.s.Groups {
		if g.Limit != 0 || g.Rule != RuleIdle || g.Restart.Event != "power" {
			t.Errorf("%s at %d by %q: %+v", g.ID, g.Limit, g.Rule, g.Restart)
		}
	}
}

// A state file of a version that knew no loss of supply still loads, and means
// that nothing is waited for.
func TestStateWithoutSupplyLoads(t *testing.T) {
	x := newSite(t, supplyConfig())
	x.free()
	stored, err := Encode(x.s)
	if err != nil {
		t.Fatal(err)
	}
	if old, err := Decode(stored, "S1"); err != nil || old.Groups[0].Restart.Event != "" {
		t.Fatalf("%v, %v", old, err)
	}
}

// A hold keeps groups idle after the return; from its end on each waits its own
// delay.
func TestRestorationHold(t *testing.T) {
	order := func(x *site, release bool, d time.Duration, to Target) Code {
		x.seq++
		id := time.Duration(x.seq).String()
		x.step(Inputs{Holds: []HoldCommand{{ID: id, Hash: id, Issuer: "scada-1", Epoch: 1, Seq: x.seq, Expires: x.wall().Add(m),
			Target: to, Release: release, For: d, By: "control room"}}})
		for _, a := range x.ev.Acks {
			if a.ID == id && a.Stage == Rejected {
				return a.Code
			}
		}
		return OK
	}
	x := newSite(t, supplyConfig())
	x.free()
	if code := order(x, false, h, Target{Way: "W1"}); code != OK {
		t.Fatal(code)
	}
	if g := x.group("G1"); g.Limit != 96_000 {
		t.Fatalf("a hold lowered a running group to %d", g.Limit)
	}
	x.supply(0, "W1", "W2")
	x.run(m, true)
	x.supply(230_000, "W1", "W2")
	x.run(30*m, true)
	if g := x.group("G1"); g.Limit != 0 || g.Rule != RuleHeld {
		t.Fatalf("G1 at %d by %q under a hold", g.Limit, g.Rule)
	}
	if g := x.group("G3"); g.Limit != 32_000 {
		t.Fatalf("G3, which is not held, at %d by %q", g.Limit, g.Rule)
	}
	x.stored = x.s
	x.crash()
	x.run(s, true)
	if g := x.group("G1"); g.Limit != 0 || g.Rule != RuleHeld {
		t.Fatalf("G1 at %d by %q: the crash forgot the hold", g.Limit, g.Rule)
	}
	for _, bad := range []struct {
		name string
		d    time.Duration
		to   Target
		want Code
	}{
		{"longer than a day", 24*h + s, Target{}, InvalidCommand},
		{"no such way", h, Target{Way: "W9"}, NoTarget},
	} {
		if code := order(x, false, bad.d, bad.to); code != bad.want {
			t.Errorf("%s: %s", bad.name, code)
		}
	}
	if code := order(x, true, 0, Target{}); code != OK {
		t.Fatal(code)
	}
	delay := x.group("G1").Restart.Delay
	if got := x.group("G1").Restart.Until - x.now; got != delay {
		t.Errorf("after the hold G1 waits %v, its delay is %v", got, delay)
	}
	x.run(delay+s, true)
	if x.group("G1").Rule == RuleHeld || x.group("G1").Rule == RuleIdle {
		t.Errorf("G1 still waits: %q", x.group("G1").Rule)
	}
}

// Somebody on site may end the wait; nobody from afar.
func TestReleaseFromTheWait(t *testing.T) {
	for _, local := range []bool{true, false} {
		x := newSite(t, supplyConfig())
		x.free()
		x.supply(0, "W1")
		x.run(m, true)
		x.supply(230_000, "W1")
		x.run(s, true)
		x.seq++
		x.step(Inputs{Overrides: []OverrideCommand{{ID: "o", Hash: "o", Issuer: "scada-1", Epoch: 1, Seq: x.seq, Expires: x.wall().Add(m),
			Local: local, Target: Target{Groups: []string{"G1"}}, Kind: Release, By: "T. Ester"}}})
		x.run(m, true)
		if up := x.group("G1").Limit > 0; up != local {
			t.Errorf("local %v: G1 is at %d by %q", local, x.group("G1").Limit, x.group("G1").Rule)
		}
	}
}

// Invariant: of many groups few are released in any minute, each delay is within
// the window, and the same seed and event give the same delays. How many is a
// matter of chance: two seeds in a hundred may be worse.
func TestRestartsAreSpread(t *testing.T) {
	const n = 36
	for _, window := range []time.Duration{300 * s, 600 * s, 1800 * s} {
		worse := 0
		for seed := range 100 {
			cfg := supplyConfig()
			cfg.Timers.RestartSpread = window
			cfg.Seed[0], cfg.Groups = byte(seed), nil
			for i := range n {
				cfg.Groups = append(cfg.Groups, Group{ID: time.Duration(i).String(), Way: "W1", Phases: [3]bool{true}, Rating: 7_000, Failsafe: 6_000})
			}
			drawn := func() (all []time.Duration) {
				x := newSite(t, cfg)
				x.supply(0, "W1")
				x.run(4*s, false)
				x.supply(230_000, "W1")
				x.run(s, false)
				for _, g := range x.s.Groups {
					all = append(all, g.Restart.Delay)
				}
				return all
			}
			first := drawn()
			if again := drawn(); !slices.Equal(first, again) {
				t.Fatalf("seed %d draws %v, then %v", seed, first, again)
			}
			most := 0
			for _, from := range first {
				count := 0
				for _, d := range first {
					if d >= from && d < from+m {
						count++
					}
				}
				most = max(most, count)
			}
			if low, high := slices.Min(first), slices.Max(first); low < 0 || high > window {
				t.Fatalf("seed %d: delays from %v to %v in a window of %v", seed, low, high, window)
			}
			if most > 1+int((m*n+window-1)/window)*3 {
				worse++
			}
		}
		if worse > 2 {
			t.Errorf("window %v: %d of 100 seeds release too many in a minute", window, worse)
		}
	}
}
