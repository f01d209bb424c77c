package failsafe

import (
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// disobey lets a group draw what it likes for a time, although its actuator
// confirms each limit.
func (x *site) disobey(group string, amps meter.Milliamps, d time.Duration) {
	step, end := s, x.now+d
	if d > 2*m {
		step = 5 * s
	}
	for beat := x.now; x.now < end; {
		x.now = min(x.now+step, end)
		g := x.group(group)
		in := Inputs{
			Feedback: []Feedback{{Group: group, Told: g.Limit, Limit: g.Limit, OK: true}},
			Draws:    []Draw{{Group: group, I: [3]meter.Milliamps{amps}, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}, At: x.now}},
		}
		if x.now-beat >= 30*s {
			beat = x.now
			x.seq++
			in.Heartbeats = []Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: x.seq}}
		}
		x.step(in)
	}
}

func lockoutConfig() Config {
	cfg := testConfig()
	cfg.Groups[0].Lockout = 6_000
	return cfg
}

// limited is a site where G1 is told 16 A for a day.
func limited(t testing.TB) *site {
	x := newSite(t, lockoutConfig())
	x.free()
	x.command(LimitCommand{Target: Target{Groups: []string{"G1"}}, Amount: Amount{Amps, 16_000}, Relative: true, Duration: 24 * h})
	return x
}

// P10, rule 18: what locks a group out, to the edge and its neighbour. 20.8 A is
// what a group told 16 A of 96 A may draw.
func TestWhatLocksAGroupOut(t *testing.T) {
	const most = 16_000 + 4_800
	over := func(x *site, n int, apart time.Duration) {
		for range n {
			x.disobey("G1", most+1, 63*s) // a second until the actuator has confirmed
			x.disobey("G1", 16_000, apart-63*s)
		}
	}
	tests := []struct {
		name string
		do   func(*site)
		want Cause // empty: not locked out
	}{
		{"obedient for a day", func(x *site) { x.disobey("G1", most, h) }, ""},
		{"a minute above its limit, again and again", func(x *site) {
			for range 20 {
				x.disobey("G1", 90_000, 61*s) // the first of them begins it
				x.disobey("G1", 16_000, m)
			}
		}, ""},
		{"one excursion", func(x *site) { over(x, 1, h) }, ""},
		{"two within ten minutes", func(x *site) { over(x, 2, 9*m) }, Overdrawn},
		{"two more than ten minutes apart", func(x *site) { over(x, 2, 11*m) }, ""},
		{"three within a day", func(x *site) { over(x, 3, h) }, ""},
		{"four within a day", func(x *site) { over(x, 4, h) }, Overdrawn},
		{"one of five minutes", func(x *site) { x.disobey("G1", 90_000, 5*m) }, ""},
		{"one that goes on", func(x *site) { x.disobey("G1", 90_000, 7*m) }, Overdrawn},
		{"the actuator is not reached", func(x *site) {
			for range 20 * 60 {
				x.now += s
				x.step(Inputs{Feedback: []Feedback{{Group: "G1", Told: 16_000}},
					Draws: []Draw{{Group: "G1", I: [3]meter.Milliamps{90_000}, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}, At: x.now}}})
			}
		}, ""},
		{"reads back too high", func(x *site) {
			for range 7 * 60 {
				x.now += s
				x.step(Inputs{Feedback: []Feedback{{Group: "G1", Told: x.group("G1").Limit, Limit: 96_000, OK: true}}})
			}
		}, ReadsHigh},
		{"an overload that it did not make", func(x *site) {
			x.load = 400_000
			x.disobey("G1", 0, 30*m)
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := limited(t)
			tt.do(x)
			g := x.group("G1")
			if g.Lockout.Locked != (tt.want != "") || g.Lockout.Cause != tt.want {
				t.Fatalf("lockout %+v, want %q", g.Lockout, tt.want)
			}
			if tt.want != "" && (g.Limit != 6_000 || g.Rule != RuleLockout || g.Source != string(tt.want)) {
				t.Errorf("locked out at %d by %q of %q", g.Limit, g.Rule, g.Source)
			}
			if other := x.group("G2"); other.Lockout.Locked {
				t.Error("an obedient group is locked out too")
			}
		})
	}
}

// A lockout ends by an acknowledgement at once, by time after four hours; both
// over a crash; no override lifts it.
func TestWhatEndsALockout(t *testing.T) {
	locked := func(t *testing.T) *site {
		x := limited(t)
		x.disobey("G1", 90_000, 7*m)
		x.disobey("G1", 0, m)
		if !x.group("G1").Lockout.Locked {
			t.Fatal("not locked out")
		}
		return x
	}
	ack := func(x *site, a LockoutAck) (code Code) {
		x.seq++
		a.Target, a.ID, a.Hash, a.Epoch, a.Seq = Target{Groups: []string{"G1"}}, "ack", "ack", 1, x.seq
		if a.Expires.IsZero() {
			a.Expires = x.wall().Add(m)
		}
		x.step(Inputs{Acks: []LockoutAck{a}})
		for _, k := range x.ev.Acks {
			if k.ID == "ack" {
				code = k.Code
			}
		}
		return code
	}
	t.Run("somebody on site", func(t *testing.T) {
		x := locked(t)
		if code := ack(x, LockoutAck{Local: true, By: "T. Ester"}); code != OK || x.group("G1").Lockout.Locked {
			t.Errorf("%s: %+v", code, x.group("G1").Lockout)
		}
		if n := len(x.ev.Conditions); n != 1 || x.ev.Conditions[0].Kind != LockoutName || x.ev.Conditions[0].Edge != meter.Clear {
			t.Errorf("conditions %+v", x.ev.Conditions)
		}
	})
	t.Run("the centre", func(t *testing.T) {
		x := locked(t)
		for _, bad := range []struct {
			name string
			a    LockoutAck
			want Code
		}{
			{"nobody", LockoutAck{Issuer: "scada-1"}, InvalidCommand},
			{"a stranger", LockoutAck{Issuer: "mallory", By: "m"}, UnknownIssuer},
			{"too late", LockoutAck{Issuer: "scada-1", By: "c", Expires: x.wall().Add(-s)}, Stale},
		} {
			if code := ack(x, bad.a); code != bad.want || !x.group("G1").Lockout.Locked {
				t.Errorf("%s: %s, locked %v", bad.name, code, x.group("G1").Lockout.Locked)
			}
		}
		x.clock = meter.Unsynced
		if code := ack(x, LockoutAck{Issuer: "scada-1", By: "c"}); code != ClockUntrusted {
			t.Errorf("with a clock that is not set: %s", code)
		}
		x.clock = meter.Synced
		if code := ack(x, LockoutAck{Issuer: "scada-1", By: "c"}); code != OK || x.group("G1").Lockout.Locked {
			t.Errorf("%s: %+v", code, x.group("G1").Lockout)
		}
	})
	t.Run("nothing but time, over a crash", func(t *testing.T) {
		x := locked(t)
		left := x.group("G1").Lockout.Until - x.now
		x.stored = x.s
		x.restart(x.stored, 3*h) // the time away does not count
		if got := x.group("G1").Lockout.Until - x.now; got != left || !x.group("G1").Lockout.Locked {
			t.Fatalf("after the crash %v left of %v", got, left)
		}
		x.disobey("G1", 0, left-s)
		if g := x.group("G1"); !g.Lockout.Locked || g.Limit > 6_000 {
			t.Fatalf("a second early: %+v at %d", g.Lockout, g.Limit)
		}
		x.disobey("G1", 0, s)
		if x.group("G1").Lockout.Locked {
			t.Error("four hours did not end it")
		}
	})
	t.Run("not by time while it disobeys", func(t *testing.T) {
		x := locked(t)
		since := x.group("G1").Lockout.Since
		x.disobey("G1", 90_000, 5*h)
		if g := x.group("G1"); !g.Lockout.Locked || g.Lockout.Since != since {
			t.Error("four hours ended it although the group disobeys")
		}
	})
	t.Run("no release", func(t *testing.T) {
		for _, local := range []bool{true, false} {
			x := locked(t)
			x.seq++
			x.step(Inputs{Overrides: []OverrideCommand{{ID: "o", Hash: "o", Issuer: "scada-1", Epoch: 1, Seq: x.seq, Expires: x.wall().Add(m),
				Local: local, Target: Target{Groups: []string{"G1"}}, Kind: Release, By: "T. Ester"}}})
			x.disobey("G1", 0, 10*m)
			if g := x.group("G1"); g.Limit > 6_000 || g.Rule != RuleLockout {
				t.Errorf("local %v: G1 at %d by %q", local, g.Limit, g.Rule)
			}
		}
	})
}

// Whatever else happens, a lockout ends by an acknowledgement or after four hours
// of running, and a group that is locked out is never above its floor.
func TestLockoutIsLatched(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := limited(t)
		x.disobey("G1", 90_000, 7*m)
		ran := time.Duration(0) // since it was locked out
		if !x.group("G1").Lockout.Locked {
			rt.Fatal("not locked out")
		}
		acked := false
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				switch g := x.group("G1"); {
				case g.Lockout.Locked && g.Limit > 6_000:
					rt.Fatalf("locked out at %d", g.Limit)
				case !g.Lockout.Locked && !acked && ran < 4*h-m:
					rt.Fatalf("let go after %v", ran)
				}
			},
			"time passes": func(rt *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 7200).Draw(rt, "seconds")) * s
				x.now += d
				ran += d
				amps := meter.Milliamps(rapid.IntRange(0, 90).Draw(rt, "amps")) * 1000
				x.step(Inputs{Draws: []Draw{{Group: "G1", I: [3]meter.Milliamps{amps}, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}, At: x.now}}})
				x.stored = x.s
			},
			"crash": func(rt *rapid.T) {
				x.restart(x.stored, time.Duration(rapid.IntRange(0, 100_000).Draw(rt, "down"))*s)
				x.step(Inputs{})
			},
			"clock steps": func(rt *rapid.T) {
				x.skew += time.Duration(rapid.IntRange(-90000, 90000).Draw(rt, "by")) * s
				x.step(Inputs{})
			},
			"none": func(rt *rapid.T) { x.none("W1") },
			"release": func(rt *rapid.T) {
				x.seq++
				x.step(Inputs{Overrides: []OverrideCommand{{ID: time.Duration(x.seq).String(), Local: true, Target: Target{Groups: []string{"G1"}}, Kind: Release, By: "T. Ester"}}})
			},
			"ack": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "luck") > 0 {
					return
				}
				x.seq++
				x.step(Inputs{Acks: []LockoutAck{{ID: time.Duration(x.seq).String(), Local: true, Target: Target{Groups: []string{"G1"}}, By: "T. Ester"}}})
				acked = true
			},
		})
	})
}
