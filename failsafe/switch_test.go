package failsafe

import (
	"testing"
	"time"

	"lvagent/meter"
)

// P22: at Local every control from afar is refused, heartbeats count on, and
// nothing is raised but by somebody on site. A switch that can't be read refuses
// what would raise and nothing else.
func TestLocalRemoteSwitch(t *testing.T) {
	for _, tt := range []struct {
		at     Switch
		limit  Code // of a limit of 20 A
		holds  Code // of hold_off
		others Code // of what would raise
	}{
		{Remote, OK, OK, OK}, {Local, InLocal, InLocal, InLocal}, {Undefined, OK, OK, InLocal},
	} {
		t.Run(tt.at.String(), func(t *testing.T) {
			x := newSite(t, testConfig())
			x.free()
			x.command(LimitCommand{ID: "before", Target: Target{Way: "W1"}, Amount: Amount{Amps, 10_000}, Relative: true, Duration: m})
			x.at = tt.at
			got := map[string]Code{}
			say := func(in Inputs) {
				x.step(in)
				for _, a := range x.ev.Acks {
					if a.Stage == Rejected {
						got[a.ID] = a.Code
					}
				}
			}
			next := func() uint64 { x.seq++; return x.seq }
			soon := x.wall().Add(h)
			say(Inputs{Limits: []LimitCommand{{ID: "l", Hash: "l", Issuer: "scada-1", Epoch: 1, Seq: next(), Expires: soon, Class: Network,
				Target: Target{Way: "W2"}, Amount: Amount{Amps, 20_000}, Relative: true, Duration: h}}})
			say(Inputs{Overrides: []OverrideCommand{{ID: "h", Hash: "h", Issuer: "scada-1", Epoch: 1, Seq: next(), Expires: soon,
				Target: Target{Groups: []string{"G2"}}, Kind: HoldOff, By: "centre"}}})
			say(Inputs{Limits: []LimitCommand{{ID: "n", Hash: "n", Issuer: "scada-1", Epoch: 1, Seq: next(), Expires: soon, Class: Network,
				Target: Target{Way: "W2"}, Amount: Amount{Unit: None}, Relative: true}}})
			say(Inputs{Cancels: []CancelCommand{{ID: "k", Hash: "k", Issuer: "scada-1", Epoch: 1, Seq: next(), Expires: soon, Cancels: "l"}}})
			say(Inputs{Overrides: []OverrideCommand{{ID: "r", Hash: "r", Issuer: "scada-1", Epoch: 1, Seq: next(), Expires: soon,
				Target: Target{Groups: []string{"G3"}}, Kind: Release, By: "centre"}}})
			say(Inputs{Holds: []HoldCommand{{ID: "e", Hash: "e", Issuer: "scada-1", Epoch: 1, Seq: next(), Expires: soon, Release: true, By: "centre"}}})
			want := map[string]Code{"l": tt.limit, "h": tt.holds, "n": tt.others, "k": tt.others, "r": tt.others, "e": tt.others}
			for id, code := range want {
				if got[id] != code {
					t.Errorf("%s: %q, want %q", id, got[id], code)
				}
			}
			x.run(20*m, true) // "before" has ended
			if g := x.group("G1"); (g.Limit > 10_000) != (tt.at == Remote) || tt.at != Remote && g.Rule != RuleLocal {
				t.Errorf("G1 at %d by %q", g.Limit, g.Rule)
			}
			if w := x.way("W1"); w.State.restricted() {
				t.Errorf("heartbeats do not count: %v", w.State)
			}
			say(Inputs{Overrides: []OverrideCommand{{ID: "on site", Local: true, Target: Target{Groups: []string{"G1"}}, Kind: Release, By: "T. Ester"}}})
			x.run(20*m, true)
			if g := x.group("G1"); got["on site"] != OK || g.Limit != 96_000 {
				t.Errorf("released on site: %q, G1 at %d by %q", got["on site"], g.Limit, g.Rule)
			}
		})
	}
}

// The position is told as an alarm, survives a crash, and a command that was
// refused for it may come again.
func TestSwitchIsToldAndKept(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.at = Local
	x.step(Inputs{})
	if n := len(x.ev.Conditions); n != 1 || x.ev.Conditions[0].Kind != LocalControl || x.ev.Conditions[0].Edge != meter.Raise || !x.ev.Store {
		t.Errorf("conditions %+v", x.ev.Conditions)
	}
	c := LimitCommand{ID: "l", Seq: 900, Target: Target{Way: "W1"}, Amount: Amount{Amps, 20_000}, Relative: true, Duration: h}
	if a := x.command(c); a.Code != InLocal {
		t.Errorf("in Local: %+v", a)
	}
	x.crash()
	if x.s.Switch != Local {
		t.Error("a crash forgot the switch")
	}
	x.at = Remote
	x.step(Inputs{})
	if a := x.command(c); a.Stage != Active {
		t.Errorf("the same command in Remote: %+v", a)
	}
}

// An input that inhibits is below every override, also one on site.
func TestInhibitIsNotLifted(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.inhibits = []string{"G1"}
	x.step(Inputs{Overrides: []OverrideCommand{{ID: "o", Local: true, Target: Target{Groups: []string{"G1"}}, Kind: Release, By: "T. Ester"}}})
	x.run(m, true)
	if g := x.group("G1"); g.Limit != 0 || g.Rule != RuleInhibit {
		t.Errorf("G1 at %d by %q", g.Limit, g.Rule)
	}
	if w := x.way("W1"); w.State != Limited || w.Cause != Inhibited {
		t.Errorf("W1 is %v for %s", w.State, w.Cause)
	}
	if g := x.group("G2"); g.Limit != 63_000 {
		t.Errorf("G2, which is not inhibited, at %d", g.Limit)
	}
}

// P20: a customer's own override is load like any other, told, and locks nobody
// out.
func TestCustomerOverride(t *testing.T) {
	x := limited(t)
	x.customers = []string{"G1"}
	x.step(Inputs{})
	if n := len(x.ev.Conditions); n != 1 || x.ev.Conditions[0].Kind != CustomerOverride || x.ev.Conditions[0].Group != "G1" {
		t.Errorf("conditions %+v", x.ev.Conditions)
	}
	x.disobey("G1", 90_000, 30*m)
	if g := x.group("G1"); g.Lockout.Locked || g.Lockout.Times > 0 {
		t.Errorf("a customer's own override counts as disobedience: %+v", g.Lockout)
	}
}

// P14: a planned silence suspends the timeout, whoever sent it signed it, and
// failsafe follows the timeout after its end.
func TestPlannedSilence(t *testing.T) {
	say := func(x *site, c SilenceCommand) Code {
		x.seq++
		c.ID, c.Issuer, c.Epoch, c.Seq = time.Duration(x.seq).String(), "scada-1", 1, x.seq
		c.Hash, c.Expires = c.ID, x.wall().Add(m)
		x.step(Inputs{Silences: []SilenceCommand{c}})
		return x.ev.Acks[len(x.ev.Acks)-1].Code
	}
	x := newSite(t, testConfig())
	if code := say(x, SilenceCommand{Signed: true, For: h, By: "centre"}); code != NotHeard {
		t.Errorf("before the first heartbeat: %q", code)
	}
	x.free()
	for _, bad := range []struct {
		name string
		c    SilenceCommand
		want Code
	}{
		{"not signed", SilenceCommand{For: h, By: "centre"}, NotSigned},
		{"too long", SilenceCommand{Signed: true, For: 4*h + s, By: "centre"}, InvalidCommand},
		{"no length", SilenceCommand{Signed: true, By: "centre"}, InvalidCommand},
		{"nobody", SilenceCommand{Signed: true, For: h}, InvalidCommand},
	} {
		if code := say(x, bad.c); code != bad.want {
			t.Errorf("%s: %q, want %q", bad.name, code, bad.want)
		}
	}
	if code := say(x, SilenceCommand{Signed: true, For: 2 * h, By: "centre"}); code != OK {
		t.Fatal(code)
	}
	until := x.now + 2*h
	x.run(2*h+119*s, false)
	if w := x.way("W1"); w.State != Free {
		t.Errorf("W1 is %v before the timeout after the silence", w.State)
	}
	x.run(s, false)
	if w := x.way("W1"); w.State != Failsafe || x.now != until+120*s {
		t.Errorf("W1 is %v %v after the silence", w.State, x.now-until)
	}
	// A silence takes nothing out of failsafe: heartbeats are asked for as ever.
	x.beat()
	if code := say(x, SilenceCommand{Signed: true, For: h, By: "centre"}); code != OK {
		t.Fatal(code)
	}
	x.none("W1")
	x.run(30*m, false)
	if w := x.way("W1"); w.State != Probation {
		t.Errorf("W1 is %v by a silence", w.State)
	}
	x.stored = x.s
	x.crash()
	if x.s.Silence != (Silence{}) {
		t.Error("a crash keeps a planned silence that it can't know of")
	}
}

// A planned stop in a planned silence goes on where it was; its end stays.
func TestPlannedSilenceOverAPlannedStop(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.seq++
	x.step(Inputs{Silences: []SilenceCommand{{ID: "s", Hash: "s", Issuer: "scada-1", Epoch: 1, Seq: x.seq, Expires: x.wall().Add(m), Signed: true, For: h, By: "centre"}}})
	x.run(10*m, false)
	st, _ := x.e.Stop(x.s, x.now, x.wall())
	left := st.Silence.Until - x.now
	x.restart(st, 30*s)
	if got := x.s.Silence.Until - x.now; got != left-30*s || x.way("W1").State != Free {
		t.Errorf("%v left of %v, W1 is %v", got, left, x.way("W1").State)
	}
}

// Rule 13 to 15: AUTONOMOUS only where enabled, after its time, with every phase
// measured and a clock that is trusted; never in peak hours beyond the profile.
func TestAutonomous(t *testing.T) {
	start := func(t *testing.T, after time.Duration) *site {
		cfg := testConfig()
		cfg.Autonomous = after
		// The tests begin on a Tuesday at 17:00.
		cfg.Peak = []Period{{Days: [7]bool{true, true, true, true, true, true, true}, From: 20 * 60, To: 22 * 60}}
		x := newSite(t, cfg)
		x.free()
		x.run(121*s, false)
		if w := x.way("W1"); w.State != Failsafe {
			t.Fatalf("W1 is %v", w.State)
		}
		return x
	}
	t.Run("off unless enabled", func(t *testing.T) {
		x := start(t, 0)
		x.now += 100 * h
		x.run(m, false)
		if w := x.way("W1"); w.State != Failsafe || x.group("G1").Limit != 24_000 {
			t.Errorf("W1 is %v, G1 at %d", w.State, x.group("G1").Limit)
		}
	})
	t.Run("peak hours and ends", func(t *testing.T) {
		x := start(t, 2*h)
		x.run(2*h-2*s, false)
		if w := x.way("W1"); w.State != Failsafe {
			t.Fatalf("W1 is %v too early", w.State)
		}
		x.run(2*s, false)
		if w := x.way("W1"); w.State != Autonomous || w.Cause != LongAlone {
			t.Fatalf("W1 is %v for %s", w.State, w.Cause)
		}
		for clock := x.wall(); clock.Before(epoch.Add(6 * h)); clock = x.wall() {
			x.run(s, false)
			since := x.wall().Sub(epoch.Add(3 * h)) // 20:00
			if g := x.group("G1"); since >= 0 && since < 2*h && g.Limit > 24_000 {
				t.Fatalf("G1 at %d at %v", g.Limit, x.wall())
			}
		}
		x.run(h, false)
		if g := x.group("G1"); g.Limit != 96_000 {
			t.Fatalf("G1 at %d by %q after the peak", g.Limit, g.Rule)
		}
		x.load = 310_000 // protection goes on
		x.run(m, false)
		if g := x.group("G1"); g.Limit > 90_000 {
			t.Errorf("G1 at %d on an overloaded way", g.Limit)
		}
		x.load = 50_000
		x.beat()
		if w := x.way("W1"); w.State != Probation || x.group("G1").Limit > 24_000 {
			t.Errorf("W1 is %v when the centre is heard, G1 at %d", w.State, x.group("G1").Limit)
		}
	})
	for name, spoil := range map[string]func(*site){
		"a way not measured":   func(x *site) { x.blind = true },
		"a clock not trusted":  func(x *site) { x.clock = meter.Unsynced },
		"a clock just stepped": func(x *site) { x.suspect = true },
	} {
		t.Run(name, func(t *testing.T) {
			x := start(t, 2*h)
			x.run(2*h+m, false)
			if w := x.way("W1"); w.State != Autonomous {
				t.Fatalf("W1 is %v", w.State)
			}
			spoil(x)
			x.run(62*s, false)
			if w := x.way("W1"); w.State != Failsafe || x.group("G1").Limit > 24_000 {
				t.Errorf("W1 is %v, G1 at %d", w.State, x.group("G1").Limit)
			}
		})
	}
	t.Run("a crash", func(t *testing.T) {
		x := start(t, 2*h)
		x.run(2*h+m, false)
		x.crash()
		x.run(h, false)
		if w := x.way("W1"); w.State != Failsafe || x.group("G1").Limit > 24_000 {
			t.Errorf("W1 is %v, G1 at %d", w.State, x.group("G1").Limit)
		}
	})
}
