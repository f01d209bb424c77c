package failsafe

import (
	"os"
	"slices"
	"testing"
	"time"

	"lvagent/meter"
)

// every is each day of the week.
var every = [7]bool{true, true, true, true, true, true, true}

// controlled is a free site whose ramps take no time, so that a test sees what is
// permitted and not how fast it is reached.
func controlled(t *testing.T, change func(cfg *Config)) *site {
	t.Helper()
	cfg := testConfig()
	cfg.Timers.RestorePeriod = 0
	if change != nil {
		change(&cfg)
	}
	x := newSite(t, cfg)
	x.run(30*s, true)
	x.none("W1")
	x.none("W2")
	x.run(3*m, true)
	return x
}

// until lets the site run, with heartbeats, to an offset from five in the
// afternoon.
func (x *site) until(at time.Duration) {
	x.t.Helper()
	if at <= x.now {
		x.t.Fatalf("%v is past, it is %v", at, x.now)
	}
	x.run(at-x.now, true)
}

// Weekly time blocks (the Westnetz model): a group charges in its blocks and not
// between them, with or without the centre, each group a quarter of an hour after
// the one before; the network's commands go below.
func TestTimeBlocksHoldWithAndWithoutTheCentre(t *testing.T) {
	blocks := []Period{{Days: every, From: 18 * 60, To: 19 * 60}} // nothing in it
	x := controlled(t, func(cfg *Config) {
		cfg.Groups[0].Schedule = blocks
		cfg.Groups[1].Schedule, cfg.Groups[1].Shift = blocks, 15*m
	})
	check := func(when string, g1, g2 meter.Milliamps) {
		t.Helper()
		if a, b := x.group("G1").Limit, x.group("G2").Limit; a != g1 || b != g2 {
			t.Errorf("%s: G1 %d, G2 %d; want %d, %d", when, a, b, g1, g2)
		}
	}
	x.until(h - s)
	check("a second before six", 96_000, 63_000)
	x.until(h)
	check("at six", 0, 63_000)
	if g := x.group("G1"); g.Rule != RuleSchedule || x.way("W1").State != Limited || x.way("W1").Cause != OnSchedule {
		t.Errorf("decided by %q, way %v because of %s", g.Rule, x.way("W1").State, x.way("W1").Cause)
	}
	x.until(h + 15*m)
	check("a quarter past", 0, 0)
	x.until(2 * h)
	check("at seven", 96_000, 0)
	x.until(2*h + 15*m)
	check("a quarter past seven", 96_000, 63_000)
	x.command(LimitCommand{Class: Emergency, Target: Target{Way: "W1"}, Amount: Amount{Amps, 6_000}, Relative: true, Duration: 10 * m})
	check("in an emergency", 6_000, 6_000)
	x.run(5*m, false) // the centre is lost
	x.now, x.skew = 25*h, 0
	x.step(Inputs{})
	check("the next day at six, in the dark", 0, 12_000)
}

// A static capacity profile (the FlexPower model): less from four to eight in the
// evening, more at other times, no command needed; edges come at each group's own
// time and never late where they lower.
func TestCapacityProfileLeavesMoreOffPeak(t *testing.T) {
	x := controlled(t, func(cfg *Config) {
		cfg.Groups[0].Schedule = []Period{{Days: every, From: 16 * 60, To: 20 * 60, Limit: 32_000}}
		cfg.Groups[0].Stagger, cfg.Seed[0] = 15*m, 3
	})
	stagger := time.Duration(x.e.plans[0].stagger) * s
	if stagger < m {
		t.Fatalf("the seed of this test draws %v; choose another", stagger)
	}
	if got := x.group("G1").Limit; got != 32_000 {
		t.Errorf("in the peak %d, want 32000", got)
	}
	x.until(3*h + stagger - s)
	if got := x.group("G1").Limit; got != 32_000 {
		t.Errorf("before its own edge %d, want 32000", got)
	}
	x.until(3*h + stagger + s)
	if got := x.group("G1").Limit; got != 96_000 {
		t.Errorf("after its own edge %d, want 96000", got)
	}
	x.clock = meter.Unsynced
	x.run(s, true)
	if got := x.group("G1").Limit; got != 32_000 {
		t.Errorf("with a clock that nobody trusts %d, want the strictest, 32000", got)
	}
	x.clock = meter.Synced
	x.step(Inputs{Overrides: []OverrideCommand{{ID: "o", Local: true, Target: Target{Groups: []string{"G1"}}, Kind: HoldOff, By: "T. Ester"}}})
	if got := x.group("G1").Limit; got != 0 {
		t.Errorf("held off by a person at %d", got)
	}
}

// A modulated setpoint (the Electric Nation model): blocks of current, not on and
// off (R14).
func TestSetpointIsModulatedInAmperes(t *testing.T) {
	x := controlled(t, nil)
	for _, amps := range []meter.Milliamps{40_000, 13_000, 27_000, 6_000, 96_000} {
		x.none("W1")
		x.command(LimitCommand{Target: Target{Groups: []string{"G1"}}, Amount: Amount{Amps, int64(amps)}, Relative: true, Duration: h})
		x.run(s, true)
		if got := x.group("G1").Limit; got != amps {
			t.Errorf("told %d, at %d", amps, got)
		}
	}
}

// A commanded capacity curve (the INVADE and City-ZEN model): block after block
// at its time, falls at once, and the rest of the curve although the centre falls
// silent.
func TestCurveIsFollowedBlockByBlock(t *testing.T) {
	x := controlled(t, nil)
	x.command(LimitCommand{ID: "k", Target: Target{Groups: []string{"G1"}}, Relative: true, StartIn: 10 * m, Curve: []Block{
		{30 * m, Amount{Percent, 50_000}}, {30 * m, Amount{Percent, 12_500}}, {h, Amount{Percent, 75_000}}}})
	start := x.now + 10*m
	for _, at := range []struct {
		name  string
		after time.Duration
		want  meter.Milliamps
	}{
		{"before it", -s, 96_000},
		{"first block", 0, 48_000},
		{"end of the first block", 30*m - s, 48_000},
		{"second block", 30 * m, 12_000},
		{"end of the second block", 60*m - s, 12_000},
		{"third block", 60*m + s, 72_000},
		{"after it", 2*h + s, 96_000},
	} {
		x.until(start + at.after)
		if got := x.group("G1").Limit; got != at.want {
			t.Errorf("%s: %d, want %d", at.name, got, at.want)
		}
	}
	if last := x.all.Acks[len(x.all.Acks)-1]; last.ID != "k" || last.Stage != Completed {
		t.Errorf("last word %+v", last)
	}
}

// A curve that was carried over a restart goes on where the clock says, never
// ahead of it; where nobody knows the time the strictest of the rest holds.
func TestCurveAfterARestart(t *testing.T) {
	for _, tt := range []struct {
		name  string
		down  time.Duration
		clock meter.Clock
		after time.Duration
		want  meter.Milliamps
	}{
		{"in the first block", s, meter.Synced, s, 20_000},
		{"down into the second block", 30 * m, meter.Synced, s, 9_000},
		{"down into the third block, which is no release of the second", 60 * m, meter.Synced, s, 9_000},
		{"down for long, and run until both clocks are in the third block", 60 * m, meter.Synced, 51 * m, 22_000},
		{"nobody knows the time", s, meter.Unsynced, s, 9_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := controlled(t, nil)
			x.command(LimitCommand{ID: "k", Target: Target{Groups: []string{"G1"}}, Relative: true, Curve: []Block{
				{30 * m, Amount{Amps, 20_000}}, {20 * m, Amount{Amps, 9_000}}, {3 * h, Amount{Amps, 22_000}}}})
			x.clock = tt.clock
			x.restart(x.s, tt.down)
			x.step(Inputs{})
			x.run(tt.after, false)
			if got := x.s.Commands[0].Amount.Value; got != int64(tt.want) {
				t.Errorf("block of %d mA, want %d", got, tt.want)
			}
			if got := x.group("G1").Limit; got > tt.want {
				t.Errorf("limit %d above %d", got, tt.want)
			}
		})
	}
}

// Rolling fair shedding (the Esprit model, without its faults): contacts on one
// phase take turns by quarters of an hour, none is held open beyond its turn
// without need, and other phases keep their supply.
func TestContactsRollFairlyAndOnlyOnTheirPhase(t *testing.T) {
	cfg := testConfig()
	cfg.Ways, cfg.Groups = cfg.Ways[:1], nil
	for _, id := range []string{"A", "B", "C", "D"} {
		cfg.Groups = append(cfg.Groups, Group{ID: id, Way: "W1", Phases: [3]bool{true}, Rating: 32_000, Failsafe: 32_000, Contact: true})
	}
	cfg.Groups = append(cfg.Groups, Group{ID: "other", Way: "W1", Phases: [3]bool{false, true}, Rating: 32_000, Failsafe: 32_000, Contact: true})
	x := newSite(t, cfg)
	off := map[string]time.Duration{}
	seq := uint64(0)
	for x.now < 12*h {
		x.now += s
		draw := meter.Milliamps(0)
		for _, g := range x.s.Groups[:4] {
			if g.Limit >= 32_000 {
				draw += 32_000
			}
		}
		in := Inputs{Clock: meter.Synced, Loads: []Load{{Way: "W1", At: x.now, I: [3]meter.Milliamps{200_000 + draw, 40_000, 0},
			Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}}}}
		if x.now%(30*s) == 0 {
			seq++
			in.Heartbeats = []Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: seq}}
		}
		if x.now == m {
			in.Limits = []LimitCommand{{ID: "n", Hash: "n", Issuer: "scada-1", Epoch: 1, Seq: 1, Class: Network, Expires: epoch.Add(h), Relative: true, Target: Target{Way: "W1"}, Amount: Amount{Unit: None}}}
		}
		x.s, x.set, x.ev, _ = x.e.Step(x.s, in, x.now, x.wall())
		for _, g := range x.s.Groups {
			if g.Limit < 32_000 {
				off[g.ID] += s
			}
		}
	}
	if off["other"] > 2*m {
		t.Errorf("a group on a phase with room was off for %v", off["other"])
	}
	times := []time.Duration{off["A"], off["B"], off["C"], off["D"]}
	if spread := slices.Max(times) - slices.Min(times); spread > 30*m || slices.Min(times) < h {
		t.Errorf("off for %v: %v apart, want at most two turns", times, spread)
	}
}

// The regime's traffic light (the USEF model, R18): a group is curtailed by what
// its contract says for the regime of its way, in red only where it says red, and
// a group without a contract not at all.
func TestContractIsCalledOnlyInItsRegime(t *testing.T) {
	contract := func(cfg *Config) {
		cfg.Groups[0].Contract[Amber] = Contract{true, 48_000}
		cfg.Groups[0].Contract[Red] = Contract{true, 6_000}
		cfg.Groups[1].Contract[Red] = Contract{true, 10_000} // only in red
	}
	regime := func(r Regime) Amount { return Amount{ByRegime, int64(r)} }
	x := controlled(t, contract)
	check := func(when string, want Regime, g1, g2, g3 meter.Milliamps) {
		t.Helper()
		if got := x.s.Regime("W1"); got != want {
			t.Errorf("%s: regime %v, want %v", when, got, want)
		}
		if a, b, c := x.group("G1").Limit, x.group("G2").Limit, x.group("G3").Limit; a != g1 || b != g2 || c != g3 {
			t.Errorf("%s: %d, %d, %d; want %d, %d, %d", when, a, b, c, g1, g2, g3)
		}
	}
	check("green", Green, 96_000, 63_000, 32_000)
	x.command(LimitCommand{ID: "amber", Target: Target{Way: "W1"}, Amount: regime(Amber), Relative: true, Duration: h})
	check("amber", Amber, 48_000, 63_000, 32_000)
	x.command(LimitCommand{ID: "red", Target: Target{Way: "W1"}, Amount: regime(Red), Relative: true, Duration: 10 * m})
	check("red", Red, 6_000, 10_000, 32_000)
	x.run(10*m+s, true)
	check("red is over", Amber, 48_000, 63_000, 32_000)
	x.command(LimitCommand{ID: "own", Target: Target{Groups: []string{"G2"}}, Amount: Amount{Amps, 20_000}, Relative: true, Duration: h})
	x.command(LimitCommand{ID: "green", Target: Target{Way: "W1"}, Amount: regime(Green), Relative: true})
	x.run(s, true)
	check("green again, which ends regimes and no other limit", Green, 96_000, 20_000, 32_000)
	for name, c := range map[string]LimitCommand{
		"of a group":      {Target: Target{Groups: []string{"G1"}}, Amount: regime(Red)},
		"of some phases":  {Target: Target{Way: "W1", Phases: [3]bool{true}}, Amount: regime(Red)},
		"of the market":   {Class: Commercial, Target: Target{Way: "W1"}, Amount: regime(Red)},
		"of no name":      {Target: Target{Way: "W1"}, Amount: regime(3)},
		"green for later": {Target: Target{Way: "W1"}, Amount: regime(Green), Relative: true, StartIn: m},
		"red for nothing": {Target: Target{Way: "W9"}, Amount: regime(Red)},
		"negative":        {Target: Target{Way: "W1"}, Amount: Amount{ByRegime, -1}},
		"a curve of them": {Target: Target{Way: "W1"}, Curve: []Block{{h, regime(Red)}}},
		"beside a curve":  {Target: Target{Way: "W1"}, Amount: regime(Red), Curve: []Block{{h, Amount{Amps, 1}}}},
	} {
		if a := x.command(c); a.Stage != Rejected || a.Code != InvalidCommand && a.Code != NoTarget {
			t.Errorf("a regime %s: %s %s", name, a.Stage, a.Code)
		}
	}
}

// Headroom is no right in amber: the way falls to the failsafe limits.
func TestAmberEndsHeadroom(t *testing.T) {
	for _, want := range []Regime{Green, Amber} {
		x := controlled(t, func(cfg *Config) { cfg.Ways[0].Headroom = true })
		x.command(LimitCommand{Target: Target{Way: "W1"}, Amount: Amount{ByRegime, int64(want)}, Relative: true, Duration: time.Duration(want) * h})
		x.run(5*m, false)
		limit := meter.Milliamps(96_000)
		if want == Amber {
			limit = 24_000
		}
		if got := x.group("G1").Limit; got != limit {
			t.Errorf("in the dark in %v: %d, want %d", want, got, limit)
		}
	}
}

// A request with opt-out (the ChargeForward model, R15): what is commercial
// applies to those who consented, and each may refuse each event, before it or
// during it; the centre is told who is out. What the network needs is no request.
func TestRequestIsForThoseWhoConsentAndMayBeRefused(t *testing.T) {
	x := controlled(t, func(cfg *Config) {
		cfg.Groups[1].OptIn = time.Time{}
		cfg.Groups[2].OptIn = epoch.Add(h)
	})
	both := Target{Groups: []string{"G1", "G2", "G3"}}
	x.command(LimitCommand{ID: "soon", Class: Commercial, Target: both, Amount: Amount{Amps, 6_000}, Relative: true, StartIn: 2 * h, Duration: h, Compensation: `"t"`})
	if a := x.ev.Acks[0]; a.Stage != Received || a.Code != Partial || !slices.Equal(a.Groups, []string{"G1", "G3"}) || !slices.Equal(a.Refused, []string{"G2"}) {
		t.Errorf("of three groups of which one never consented: %+v", a)
	}
	if a := x.command(LimitCommand{Class: Commercial, Target: Target{Groups: []string{"G2", "G3"}}, Amount: Amount{Amps, 6_000}, Relative: true}); a.Code != NotOptedIn {
		t.Errorf("one who never consented, one who does only from tomorrow: %+v", a)
	}
	if a := x.command(LimitCommand{ID: "net", Target: Target{Groups: []string{"G2"}}, Amount: Amount{Amps, 20_000}, Relative: true, Duration: 5 * h}); a.Stage != Active {
		t.Errorf("a network limit without consent: %+v", a)
	}
	optOut := func(id, event, group string) (a Ack) {
		x.step(Inputs{OptOuts: []OptOut{{ID: id, Event: event, Group: group, By: "driver"}}})
		for _, got := range x.ev.Acks {
			if got.ID == id {
				a = got
			}
		}
		return a
	}
	for _, tt := range []struct {
		name, event, group string
		want               Code
	}{
		{"a network limit", "net", "G2", NotOptional},
		{"no such event", "x", "G1", NoEvent},
		{"a group that it is not for", "soon", "G2", NoTarget},
		{"no such group", "soon", "G9", NoTarget},
	} {
		if a := optOut("o-"+tt.name, tt.event, tt.group); a.Stage != Rejected || a.Code != tt.want {
			t.Errorf("opt-out of %s: %+v, want %s", tt.name, a, tt.want)
		}
	}
	if a := optOut("o1", "soon", "G1"); a.Stage != Completed {
		t.Errorf("opt-out before the event: %+v", a)
	}
	if a := x.ev.Acks[len(x.ev.Acks)-1]; a.ID != "soon" || a.Stage != Scheduled || a.Code != OptedOut || !slices.Equal(a.Refused, []string{"G1"}) || !slices.Equal(a.Groups, []string{"G3"}) || a.Compensation != `"t"` {
		t.Errorf("the centre is told %+v", a)
	}
	x.crash() // and it outlives a crash
	x.run(30*s, true)
	for _, way := range []string{"W1", "W2"} { // a statement that ends nothing
		x.command(LimitCommand{Target: Target{Way: way}, Amount: Amount{Percent, 100_000}, Relative: true, Duration: m})
	}
	x.run(2*h, true)
	if a, b := x.group("G1").Limit, x.group("G3").Limit; a != 96_000 || b != 6_000 {
		t.Errorf("in the event G1 at %d, G3 at %d", a, b)
	}
	x.all.Acks = nil
	optOut("o2", "soon", "G3") // during it, the last one
	x.run(s, true)
	if len(x.all.Acks) != 2 {
		t.Fatalf("opt-out during the event: %+v", x.all.Acks)
	}
	if a := x.all.Acks[1]; a.ID != "soon" || a.Stage != Cancelled || a.Code != OptedOut || !slices.Equal(a.Refused, []string{"G1", "G3"}) {
		t.Errorf("a request that everybody refused: %+v", x.all.Acks)
	}
	if got := x.group("G3").Limit; got != 32_000 {
		t.Errorf("G3 at %d after its opt-out", got)
	}
}

// R12, P19: what a command gives back is spread, each group at its own time, by
// the seed; what it takes is taken at its start.
func TestOnlyIncreasesAreRandomised(t *testing.T) {
	ends := map[string]map[byte]time.Duration{"G1": {}, "G2": {}}
	for _, seed := range []byte{1, 2} {
		x := controlled(t, func(cfg *Config) { cfg.Seed[0] = seed })
		x.command(LimitCommand{ID: "k", Target: Target{Way: "W1"}, Amount: Amount{Amps, 6_000}, Relative: true, StartIn: m, Duration: 10 * m, Randomise: 20 * m})
		x.run(m, true)
		for g := range ends {
			if got := x.group(g).Limit; got != 6_000 {
				t.Errorf("%s at %d at the start", g, got)
			}
		}
		x.run(10*m, true)
		if a := x.all.Acks[len(x.all.Acks)-1]; a.Stage != Completed {
			t.Errorf("the command is not over at its end: %+v", a)
		}
		for end := x.now; x.now < end+20*m+s; x.run(s, true) {
			for g, at := range ends {
				if at[seed] == 0 && x.group(g).Limit > 6_000 {
					at[seed] = x.now - end + 1
				}
			}
		}
	}
	all := []time.Duration{ends["G1"][1], ends["G1"][2], ends["G2"][1], ends["G2"][2]}
	slices.Sort(all)
	if all[0] == 0 || len(slices.Compact(all)) < 4 {
		t.Errorf("groups were let go after %v, want four times within 20 minutes", ends)
	}
	x := controlled(t, nil)
	for _, d := range []time.Duration{-s, mostRandomise + s} {
		if a := x.command(LimitCommand{Target: Target{Way: "W1"}, Amount: Amount{Amps, 6_000}, Randomise: d}); a.Code != InvalidCommand {
			t.Errorf("randomise %v: %+v", d, a)
		}
	}
}

// The guarantee: nothing that the centre asks for, and no silence, goes below it;
// protection and a person may, and that is said.
func TestGuarantee(t *testing.T) {
	x := controlled(t, func(cfg *Config) {
		cfg.Groups[0].Guarantee, cfg.Groups[0].Failsafe = 12_000, 3_000
		cfg.Groups[0].Schedule = []Period{{Days: every, From: 18 * 60, To: 19 * 60}}
	})
	limit := func(c LimitCommand) {
		t.Helper()
		c.Target, c.Relative, c.Duration = Target{Groups: []string{"G1"}}, true, m
		x.command(c)
		if got := x.group("G1").Limit; got != 12_000 {
			t.Errorf("class %v: at %d, want the guarantee of 12000", c.Class, got)
		}
		x.run(2*m, true)
	}
	limit(LimitCommand{Class: Commercial, Amount: Amount{Amps, 0}})
	limit(LimitCommand{Class: Network, Amount: Amount{Percent, 1_000}})
	limit(LimitCommand{Class: Emergency, Amount: Amount{Watts, 1_000_000}})
	x.until(h)
	if got := x.group("G1").Limit; got != 12_000 {
		t.Errorf("in its block of nothing at %d", got)
	}
	x.until(2*h + m)
	x.run(5*m, false)
	if got := x.group("G1").Limit; got != 12_000 {
		t.Errorf("in failsafe at %d", got)
	}
	said := func() (edges []meter.Edge) {
		for _, c := range x.all.Conditions {
			if c.Kind == BelowGuarantee && c.Group == "G1" {
				edges = append(edges, c.Edge)
			}
		}
		return edges
	}
	if got := said(); len(got) != 0 {
		t.Errorf("BELOW_GUARANTEE was said: %v", got)
	}
	x.step(Inputs{Overrides: []OverrideCommand{{ID: "o", Local: true, Target: Target{Groups: []string{"G1"}}, Kind: LimitTo, Amount: Amount{Amps, 5_000}, For: m, By: "T. Ester"}}})
	if got := x.group("G1").Limit; got != 5_000 || !slices.Equal(said(), []meter.Edge{meter.Raise}) {
		t.Errorf("under a person's override at %d, said %v", got, said())
	}
	x.run(2*m, true)
	if !slices.Equal(said(), []meter.Edge{meter.Raise, meter.Clear}) {
		t.Errorf("said %v", said())
	}
}

// A limit without an end is announced half an hour before it falls away by itself.
func TestLimitWithoutAnEndIsAnnounced(t *testing.T) {
	x := controlled(t, func(cfg *Config) { cfg.Timers.MaxDuration = h })
	x.command(LimitCommand{Target: Target{Way: "W1"}, Amount: Amount{Amps, 6_000}, Relative: true})
	x.command(LimitCommand{Target: Target{Way: "W2"}, Amount: Amount{Amps, 6_000}, Relative: true, Duration: h})
	var said []Condition
	for range 3 {
		x.all.Conditions = nil
		x.run(29*m, true)
		for _, c := range x.all.Conditions {
			if c.Kind == LimitEnding {
				said = append(said, c)
			}
		}
	}
	if want := []Condition{{Way: "W1", Kind: LimitEnding, Edge: meter.Raise}, {Way: "W1", Kind: LimitEnding, Edge: meter.Clear}}; !slices.Equal(said, want) {
		t.Errorf("said %+v, want %+v", said, want)
	}
}

// One id with two bodies is an alarm for a quarter of an hour, once.
func TestConflictOfIDsIsAnAlarm(t *testing.T) {
	x := controlled(t, nil)
	x.all.Conditions = nil
	for _, hash := range []string{"1", "2", "3"} {
		x.command(LimitCommand{ID: "a", Hash: hash, Target: Target{Way: "W1"}, Amount: Amount{Amps, 6_000}, Relative: true})
		x.run(m, true)
	}
	x.restart(x.s, s)
	x.run(20*m, true)
	want := []Condition{{Kind: CommandConflict, Edge: meter.Raise}, {Kind: CommandConflict, Edge: meter.Clear}}
	got := slices.DeleteFunc(x.all.Conditions, func(c Condition) bool { return c.Kind != CommandConflict })
	if !slices.Equal(got, want) {
		t.Errorf("said %+v, want %+v", got, want)
	}
}

// A limit that protection holds when a command ends is reached by the ramp like
// every other.
func TestEndUnderProtectionIsNoJump(t *testing.T) {
	cfg := testConfig()
	x := newSite(t, cfg)
	x.free()
	x.command(LimitCommand{ID: "k", Target: Target{Groups: []string{"G1"}}, Amount: Amount{Amps, 6_000}, Relative: true, Duration: 10 * m})
	c := &x.s.Constraints[0]
	c.Bound, c.Budget = true, 100_000
	x.run(10*m-s, true)
	before := x.group("G1").Limit
	for range 30 {
		x.run(s, true)
		if after := x.group("G1").Limit; after > before+2_000 {
			t.Fatalf("from %d to %d in a second (%s)", before, after, x.group("G1").Rule)
		} else {
			before = after
		}
	}
}

// A state of an earlier version is taken up with its limits and overrides.
func TestStateOfAnEarlierVersion(t *testing.T) {
	stored, err := os.ReadFile("testdata/state-schema-1.json")
	if err != nil {
		t.Fatal(err)
	}
	old, err := Decode(stored, "S1")
	if err != nil {
		t.Fatal(err)
	}
	x := newSite(t, testConfig())
	x.restart(old, 0)
	x.skew = old.Wall.Sub(epoch)
	x.run(20*m+s, false)
	if g1, g2, g3 := x.group("G1").Limit, x.group("G2").Limit, x.group("G3").Limit; g1 != 16_000 || g2 != 0 || g3 != 6_000 || len(x.s.Commands) != 2 {
		t.Errorf("G1 %d, G2 %d, G3 %d, %d commands", g1, g2, g3, len(x.s.Commands))
	}
}
