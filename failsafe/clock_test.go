package failsafe

import (
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// A clock that was stepped a moment ago starts a limit, but it ends none.
func TestSuspectClock(t *testing.T) {
	g1 := Target{Groups: []string{"G1"}}
	tests := []struct {
		name string
		do   func(x *site)
		want meter.Milliamps
	}{
		{"the end of a limit that a restart left to both clocks waits", func(x *site) {
			x.free()
			x.command(LimitCommand{ID: "a", Target: g1, Amount: Amount{Amps, 10_000}, Duration: 10 * m})
			x.run(2*m, true)
			x.restart(x.s, 0)
			x.skew -= 5 * m // the wall clock is behind, and says that it is not over
			x.run(8*m-s, true)
			x.suspect = true
			x.run(5*s, true)
			if len(x.s.Commands) != 1 {
				x.t.Error("the limit is over")
			}
		}, 10_000},
		{"so does one that a leap of the clock has cut short", func(x *site) {
			x.free()
			x.command(LimitCommand{ID: "a", Target: g1, Amount: Amount{Amps, 10_000}, Duration: 10 * m, StartIn: m, Relative: true})
			x.restart(x.s, 0)
			x.suspect = true
			x.skew += 10*m + 30*s
			x.run(9*m, true)
		}, 10_000},
		{"a scheduled limit starts by the wall clock all the same", func(x *site) {
			x.free()
			x.command(LimitCommand{ID: "a", Target: g1, Amount: Amount{Amps, 10_000}, Duration: h, Start: x.wall().Add(20 * m)})
			x.suspect = true
			x.skew += 20 * m
			x.run(s, true)
		}, 10_000},
		{"a release that a restart left to both clocks ends", func(x *site) {
			x.run(3*m, false)
			x.person(OverrideCommand{Kind: Release, For: 30 * m})
			x.run(10*m, false)
			x.restart(x.s, 0)
			x.suspect = true
			x.run(5*m, false)
		}, 24_000},
		{"a hold off that a restart left to both clocks stays", func(x *site) {
			x.free()
			x.person(OverrideCommand{Kind: HoldOff, For: 30 * m})
			x.restart(x.s, 0)
			x.run(30*m-s, true)
			x.suspect = true
			x.run(m, true)
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			tt.do(x)
			if g := x.group("G1"); g.Limit != tt.want {
				t.Errorf("limit = %d (%s), want %d", g.Limit, g.Rule, tt.want)
			}
		})
	}
}

func TestSuspectClockTakesNoDates(t *testing.T) {
	x := newSite(t, testConfig())
	x.suspect = true
	way, amps := Target{Way: "W1"}, Amount{Amps, 10_000}
	if got := x.command(LimitCommand{Target: way, Amount: amps, Start: x.wall()}); got.Stage != Rejected || got.Code != ClockUntrusted {
		t.Errorf("a date was %s %s", got.Stage, got.Code)
	}
	if got := x.command(LimitCommand{Target: way, Amount: amps, Relative: true}); got.Stage != Active {
		t.Errorf("a delay was %s %s", got.Stage, got.Code)
	}
}

// Of two sites with one history, the one whose clock is suspect now and then is
// never the freer one.
func TestASuspectClockOnlyAddsRestriction(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		plain, wary := newSite(outer, testConfig()), newSite(outer, testConfig())
		both := func(f func(x *site)) { f(plain); f(wary) }
		both(func(x *site) { x.run(30*s, true); x.none("W1"); x.none("W2") })
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				for i := range plain.s.Groups {
					if a, b := plain.s.Groups[i], wary.s.Groups[i]; b.Limit > a.Limit {
						t.Fatalf("%s at %d (%s), at %d (%s) with a clock that is not suspect", b.ID, b.Limit, b.Rule, a.Limit, a.Rule)
					}
				}
			},
			"time": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 30).Draw(t, "s")) * s
				both(func(x *site) { x.run(d, true) })
			},
			"step": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(-4000, 4000).Draw(t, "by")) * s
				both(func(x *site) { x.skew += d })
			},
			"suspect": func(t *rapid.T) { wary.suspect = rapid.Bool().Draw(t, "suspect") },
			"limit": func(t *rapid.T) {
				amps := int64(rapid.IntRange(0, 90).Draw(t, "amps")) * 1000
				in := time.Duration(rapid.IntRange(0, 200).Draw(t, "in")) * s
				long := time.Duration(rapid.IntRange(1, 300).Draw(t, "for")) * s
				both(func(x *site) {
					x.command(LimitCommand{Target: Target{Way: "W1"}, Amount: Amount{Amps, amps}, StartIn: in, Relative: true, Duration: long})
				})
			},
			"hold off": func(t *rapid.T) {
				long := time.Duration(rapid.IntRange(1, 60).Draw(t, "minutes")) * m
				both(func(x *site) { x.person(OverrideCommand{Kind: HoldOff, For: long}) })
			},
			"restart": func(t *rapid.T) {
				down := time.Duration(rapid.IntRange(0, 900).Draw(t, "down")) * s
				both(func(x *site) { x.restart(x.s, down) })
			},
		})
	})
}
