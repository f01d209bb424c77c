package failsafe

import (
	"testing"
	"time"

	"lvagent/meter"
)

func (x *site) person(c OverrideCommand) Ack {
	x.t.Helper()
	x.seq++
	if c.ID == "" {
		c.ID = time.Duration(x.seq).String()
	}
	c.Hash, c.Issuer, c.Epoch, c.Seq, c.Expires = c.ID, "scada-1", 1, x.seq, x.wall().Add(m)
	if c.By == "" {
		c.By = "T. Ester"
	}
	if c.Target.Way == "" && c.Target.Groups == nil {
		c.Target.Groups = []string{"G1"}
	}
	x.step(Inputs{Overrides: []OverrideCommand{c}})
	if len(x.ev.Acks) == 0 {
		x.t.Fatal("the override was not answered")
	}
	return x.ev.Acks[0]
}

// R12b: an override has a source, an end, and a place in the order of
// authority.
func TestOverrides(t *testing.T) {
	tests := []struct {
		name string
		do   func(x *site)
		want meter.Milliamps // of G1, rating 96 A, failsafe limit 24 A
	}{
		{"held off at once", func(x *site) { x.free(); x.person(OverrideCommand{Kind: HoldOff}) }, 0},
		{"limited", func(x *site) { x.free(); x.person(OverrideCommand{Kind: LimitTo, Amount: Amount{Amps, 10_000}}) }, 10_000},
		{"a limit above the failsafe limit does not raise it", func(x *site) {
			x.run(3*m, false)
			x.person(OverrideCommand{Kind: LimitTo, Amount: Amount{Amps, 50_000}})
			x.run(20*m, false)
		}, 24_000},
		{"ends by itself", func(x *site) {
			x.free()
			x.person(OverrideCommand{Kind: HoldOff, For: 5 * m})
			x.run(20*m, true)
		}, 96_000},
		{"lasts an hour when nothing is said", func(x *site) { x.free(); x.person(OverrideCommand{Kind: HoldOff}); x.run(59*m, true) }, 0},
		{"cleared", func(x *site) {
			x.free()
			x.person(OverrideCommand{Kind: HoldOff})
			x.person(OverrideCommand{Kind: ClearOverride})
			x.run(15*m, true)
		}, 96_000},
		{"release lifts the failsafe limit, by the ramp", func(x *site) {
			x.run(3*m, false)
			x.person(OverrideCommand{Kind: Release})
			x.run(20*m, false)
		}, 96_000},
		{"and the failsafe limit is back at its end", func(x *site) {
			x.run(3*m, false)
			x.person(OverrideCommand{Kind: Release, For: 20 * m})
			x.run(21*m, false)
		}, 24_000},
		{"release lifts a command", func(x *site) {
			x.free()
			x.command(LimitCommand{Target: Target{Way: "W1"}, Amount: Amount{Amps, 10_000}})
			x.person(OverrideCommand{Kind: Release})
			x.run(20*m, true)
		}, 96_000},
		{"a remote release does not act without measurement", func(x *site) {
			x.run(3*m, false)
			x.blind = true
			x.run(s, false)
			x.person(OverrideCommand{Kind: Release})
			x.run(20*m, false)
		}, 24_000},
		{"a local one does", func(x *site) {
			x.run(3*m, false)
			x.blind = true
			x.run(s, false)
			x.person(OverrideCommand{Kind: Release, Local: true})
			x.run(40*m, false)
		}, 96_000},
		{"no release lifts protection", func(x *site) {
			x.free()
			x.person(OverrideCommand{Kind: Release, Local: true})
			x.load = 400_000
			x.run(m, true)
		}, 0},
		{"local beats remote", func(x *site) {
			x.free()
			x.person(OverrideCommand{Kind: HoldOff, Local: true})
			x.person(OverrideCommand{Kind: Release})
			x.person(OverrideCommand{Kind: ClearOverride})
			x.run(15*m, true)
		}, 0},
		{"local ends remote", func(x *site) {
			x.free()
			x.person(OverrideCommand{Kind: HoldOff})
			x.person(OverrideCommand{Kind: ClearOverride, Local: true})
			x.run(15*m, true)
		}, 96_000},
		{"hold off survives a crash", func(x *site) {
			x.free()
			x.person(OverrideCommand{Kind: HoldOff, For: 30 * m})
			x.crash()
			x.run(29*m, false)
		}, 0},
		{"hold off survives a clock that jumps a day while down", func(x *site) {
			x.free()
			x.person(OverrideCommand{Kind: HoldOff, For: 30 * m})
			x.restart(x.stored, 24*h)
			x.run(29*m, false)
		}, 0},
		{"a release does not outlast its wall-clock end over a restart", func(x *site) {
			x.run(3*m, false)
			x.person(OverrideCommand{Kind: Release, For: 30 * m})
			x.run(10*m, false)
			x.restart(x.stored, 31*m)
			x.run(2*m, false)
		}, 24_000},
		{"a release ends at a restart with a clock nobody trusts", func(x *site) {
			x.run(3*m, false)
			x.person(OverrideCommand{Kind: Release, For: 30 * m})
			x.run(10*m, false)
			x.clock = meter.Unsynced
			x.crash()
			x.run(s, false)
		}, 24_000},
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

func TestOverridesThatAreRefused(t *testing.T) {
	tests := []struct {
		name string
		c    OverrideCommand
		want Code
	}{
		{"held off", OverrideCommand{Kind: HoldOff}, OK},
		{"of no kind", OverrideCommand{}, InvalidCommand},
		{"longer than four hours from afar", OverrideCommand{Kind: HoldOff, For: 4*h + s}, InvalidCommand},
		{"eight hours on site", OverrideCommand{Kind: HoldOff, Local: true, For: 8 * h}, OK},
		{"longer than eight hours on site", OverrideCommand{Kind: HoldOff, Local: true, For: 8*h + s}, InvalidCommand},
		{"a limit without an amount", OverrideCommand{Kind: LimitTo}, InvalidCommand},
		{"a negative limit", OverrideCommand{Kind: LimitTo, Amount: Amount{Amps, -1}}, InvalidCommand},
		{"no such group", OverrideCommand{Kind: HoldOff, Target: Target{Groups: []string{"G9"}}}, NoTarget},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.run(s, true)
			if got := x.person(tt.c); got.Code != tt.want {
				t.Errorf("= %s %s, want %q", got.Stage, got.Code, tt.want)
			}
		})
	}
}
