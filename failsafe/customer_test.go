package failsafe

import (
	"testing"

	"lvagent/meter"
)

// A customer's override is load that nobody counts on and nobody curtails a second
// time; what limits the group already stays, whoever set it.
func TestReportedCustomerOverride(t *testing.T) {
	over := func(x *site, active bool) {
		x.step(Inputs{CustomerReports: []CustomerReport{{Group: "G2", Active: active}}})
	}
	t.Run("it lifts nothing", func(t *testing.T) {
		x := newSite(t, testConfig())
		x.free()
		x.command(LimitCommand{Target: Target{Groups: []string{"G2"}}, Amount: Amount{Unit: Amps, Value: 10_000}, Relative: true, Duration: h})
		x.load = 350_000
		x.run(10*s, true)
		before := x.group("G2")
		over(x, true)
		x.run(m, true)
		if g := x.group("G2"); g.Limit > before.Limit || before.Capped && !g.Capped {
			t.Errorf("limit %d capped %v, after the override %d capped %v", before.Limit, before.Capped, g.Limit, g.Capped)
		}
	})
	t.Run("it is not curtailed again, the others are", func(t *testing.T) {
		x := newSite(t, testConfig())
		x.free()
		over(x, true)
		x.load = 350_000
		x.run(30*s, true)
		if got := x.group("G2").Limit; got != 63_000 {
			t.Errorf("the overridden group went to %d", got)
		}
		if got := x.group("G1").Limit; got >= 30_000 {
			t.Errorf("the other group is at %d", got)
		}
	})
	t.Run("a command goes on to bind it", func(t *testing.T) {
		x := newSite(t, testConfig())
		x.free()
		over(x, true)
		x.command(LimitCommand{Target: Target{Groups: []string{"G2"}}, Amount: Amount{Unit: Amps, Value: 10_000}, Relative: true, Duration: h})
		if got := x.group("G2").Limit; got != 10_000 {
			t.Errorf("limit %d, want the command's", got)
		}
	})
	t.Run("nothing is withheld meanwhile", func(t *testing.T) {
		x := newSite(t, testConfig())
		x.run(m, true)
		over(x, true)
		before := x.group("G2").Withheld
		x.run(m, true)
		if got := x.group("G2").Withheld; got != before {
			t.Errorf("withheld %d, before %d", got, before)
		}
	})
	t.Run("it ends when nothing is heard of it", func(t *testing.T) {
		x := newSite(t, testConfig())
		over(x, true)
		x.run(30*m, true)
		if !x.group("G2").Customer {
			t.Error("over after half an hour")
		}
		x.run(2*s, true)
		if x.group("G2").Customer {
			t.Error("not over after that")
		}
	})
	t.Run("over a restart", func(t *testing.T) {
		x := newSite(t, testConfig())
		over(x, true)
		x.stored = x.s
		x.crash()
		x.step(Inputs{})
		if c := x.group("G2").CustomerReport; !c.Active || c.Count != 1 || !x.group("G2").Customer {
			t.Errorf("after the restart %+v", c)
		}
	})
}

// A group of which somebody else carries the limit out, in minutes, is not counted
// on by protection, and its limit is left alone; its failsafe limit and commands
// hold all the same.
func TestASlowGroupIsNoProtection(t *testing.T) {
	cfg := testConfig()
	cfg.Groups[1].Slow = true // G2
	x := newSite(t, cfg)
	x.free()
	x.load = 350_000
	x.run(30*s, true)
	if got := x.group("G2").Limit; got != 63_000 {
		t.Errorf("the slow group went to %d", got)
	}
	if got := x.group("G1").Limit; got >= 30_000 {
		t.Errorf("the other group is at %d, though nothing else helps", got)
	}
	x.load = 50_000
	x.run(10*m, false)
	if got := x.group("G2").Limit; got != 12_000 {
		t.Errorf("the slow group is at %d without the centre, want its failsafe limit", got)
	}
}

// What a slow group may yet draw is its rating, or its limit where the operator
// said that it holds it.
func TestRoomForASlowGroup(t *testing.T) {
	cfg := testConfig()
	cfg.Groups[0].Slow = true
	tests := []struct {
		name string
		f    Feedback
		want meter.Milliamps
	}{
		{"confirmed", Feedback{Group: "G1", Told: 24_000, Limit: 24_000, OK: true}, 24_000},
		{"confirmed lower", Feedback{Group: "G1", Told: 24_000, Limit: 0, OK: true}, 96_000},
		{"disobeys", Feedback{Group: "G1", Told: 24_000, Limit: 60_000, OK: true}, 96_000},
		{"silent", Feedback{Group: "G1"}, 96_000},
	}
	for _, tt := range tests {
		x := newSite(t, cfg)
		x.step(Inputs{Feedback: []Feedback{tt.f}})
		r := run{Engine: x.e, s: &x.s}
		if got := r.mayYetDraw(0, meter.L1); got != tt.want {
			t.Errorf("%s: may yet draw %d, want %d", tt.name, got, tt.want)
		}
	}
	x := newSite(t, cfg)
	x.answer(20*m, silent)
	if x.group("G1").Failed {
		t.Error("an operator that is late wants no person")
	}
}
