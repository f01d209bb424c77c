package failsafe

import (
	"testing"
	"time"

	"lvagent/meter"
)

func TestOverloadIsShed(t *testing.T) {
	tests := []struct {
		name  string
		load  meter.Milliamps // of 300 A
		after time.Duration
		shed  bool
	}{
		{"at 95 %", 285_000, 10 * m, false},
		{"just above 95 %, 29 s", 286_000, 29 * s, false},
		{"just above 95 %, 31 s", 286_000, 32 * s, true},
		{"above 115 %, at once", 346_000, s, true},
		{"the same in export", -346_000, 10 * m, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.free()
			x.load = tt.load
			x.run(tt.after, true)
			// The load is on all three phases, of which G2 has two to itself.
			if got := x.group("G2").Limit < 63_000; got != tt.shed {
				t.Errorf("limit after %v = %d, shed %v, want %v", tt.after, x.group("G2").Limit, got, tt.shed)
			}
		})
	}
}

// What was shed stays shed until the phase is clearly below its target, and
// then comes back a few amperes a minute.
func TestShedLoadComesBackSlowly(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.load = 350_000
	x.run(20*s, true)
	both := func() meter.Milliamps { return x.group("G1").Limit + x.group("G2").Limit }
	low := both()
	if low > 60_000 {
		t.Fatalf("limits after 20 s at 117 %% = %d", low)
	}
	x.load = 275_000 // between where it sheds and where it lets go
	x.run(10*m, true)
	if got := both(); got != low {
		t.Errorf("limit at 92 %% went from %d to %d", low, got)
	}
	x.load = 260_000
	x.run(3*m+s, true)
	if got := both(); got <= low || got > low+9000 {
		t.Errorf("limits three minutes after the load fell = %d, from %d; want a few amperes more", got, low)
	}
}

// P2: the transformer is a constraint on every group of the site, though each
// way is within its own rating.
func TestTransformerIsAConstraint(t *testing.T) {
	cfg := testConfig()
	cfg.Transformer = 400_000
	x := newSite(t, cfg)
	x.free()
	x.tx = [3]meter.Milliamps{480_000, 0, 0}
	x.run(5*s, true)
	if got := x.group("G1").Limit; got >= 96_000 {
		t.Errorf("G1 on the overloaded phase = %d, not shed", got)
	}
	if got := x.group("G3").Limit; got != 32_000 {
		t.Errorf("G3 on another phase = %d, want its rating", got)
	}
}

func TestAWayThatIsNotMeasured(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.blind = true
	x.run(59*s, true)
	if got := x.group("G1").Limit; got != 96_000 {
		t.Errorf("limit after 59 s without measurement = %d, want no change", got)
	}
	x.run(3*s, true)
	if g := x.group("G1"); g.Limit != 24_000 || g.Rule != RuleUnmeasured {
		t.Errorf("limit after a minute = %d by %q, want the failsafe limit", g.Limit, g.Rule)
	}
	x.blind = false
	x.run(15*m, true)
	if got := x.group("G1").Limit; got != 96_000 {
		t.Errorf("limit after the meter came back = %d, want the rating", got)
	}
}

// P4: where a fuse is suspected nothing is raised, and nothing is lowered.
func TestNoIncreaseWhileAFuseIsSuspected(t *testing.T) {
	x := newSite(t, testConfig())
	x.run(30*s, true)
	x.frozen[meter.L1] = true
	x.none("W1")
	x.run(20*m, true)
	if g := x.group("G1"); g.Limit != 24_000 || g.Rule != RuleFrozen {
		t.Errorf("limit = %d by %q, want no increase", g.Limit, g.Rule)
	}
	x.frozen[meter.L1] = false
	x.run(20*m, true)
	if got := x.group("G1").Limit; got != 96_000 {
		t.Errorf("limit after the fuse was replaced = %d", got)
	}
}

// A fleet that hears its centre again at one instant does not go up at one.
func TestRestoreSpread(t *testing.T) {
	cfg := testConfig()
	cfg.Timers.RestoreSpread, cfg.Timers.RestorePeriod = m, 0
	wait := (&run{Engine: NewEngine(cfg)}).draw("restore", m)
	if wait < 5*s {
		t.Fatalf("the seed of this test draws %v; choose another", wait)
	}
	x := newSite(t, cfg)
	x.run(30*s, true)
	x.none("W1")
	x.run(wait.Truncate(s), true)
	if got := x.group("G1").Limit; got != 24_000 {
		t.Errorf("limit before the device's share of the spread is over = %d", got)
	}
	x.run(2*s, true)
	if got := x.group("G1").Limit; got != 96_000 {
		t.Errorf("limit after it = %d, want the rating", got)
	}
}

// An actuator that disobeys on a phase that is short is told one thing until it
// obeys: each new setpoint would put off the answer that says so.
func TestAnActuatorThatDisobeysIsToldOneThing(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.load = 350_000
	x.run(4*s, true)
	told := x.group("G1").Limit
	answer := func(limit meter.Milliamps) {
		x.now += s
		x.step(Inputs{Feedback: []Feedback{{Group: "G1", Told: x.group("G1").Limit, Limit: limit, OK: true}}})
	}
	answer(96_000)
	answer(96_000)
	if g := x.group("G1"); g.Fault != Permissive {
		t.Fatalf("read back 96 A of %d: %v", told, g.Actuation)
	}
	x.all = Events{}
	changes := 0
	was := x.group("G1").Limit
	for range 60 {
		answer(96_000)
		if now := x.group("G1").Limit; now != was {
			changes, was = changes+1, now
		}
	}
	if changes > 1 {
		t.Errorf("told %d times anew in a minute", changes)
	}
	x.load = 200_000
	for range 3 {
		answer(x.group("G1").Limit)
	}
	if g := x.group("G1"); g.Fault != Unknown {
		t.Errorf("it obeys now: %v, %v", g.Actuation, g.Fault)
	}
	cleared := 0
	for _, c := range x.all.Conditions {
		if c.Kind == "ACTUATOR_PERMISSIVE" && c.Edge == meter.Clear {
			cleared++
		}
	}
	if cleared != 1 {
		t.Errorf("the end was told %d times", cleared)
	}
}
