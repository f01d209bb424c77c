package failsafe

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lvagent/meter"
)

const s, m, h = time.Second, time.Minute, time.Hour

// testConfig is a site of two ways: W1 with a single-phase and a three-phase
// group, W2 with one group.
func testConfig() Config {
	t := DefaultTimers()
	t.EntrySpread, t.RestoreSpread = 0, 0
	t.RestorePeriod = 10 * m
	return Config{
		Site: "S1",
		Ways: []Way{{ID: "W1", Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}},
			{ID: "W2", Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}}},
		Groups: []Group{
			{ID: "G1", Way: "W1", Phases: [3]bool{true, false, false}, Rating: 96_000, Failsafe: 24_000, OptIn: consent},
			{ID: "G2", Way: "W1", Phases: [3]bool{true, true, true}, Rating: 63_000, Failsafe: 12_000, OptIn: consent},
			{ID: "G3", Way: "W2", Phases: [3]bool{false, true, false}, Rating: 32_000, Failsafe: 6_000, OptIn: consent},
		},
		Issuers: []string{"scada-1"},
		Timers:  t,
	}
}

// consent is long ago, wherever a test steps the clock to.
var consent = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var epoch = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

// site drives one engine the way the agent does: it steps, stores, and crashes.
type site struct {
	t      testing.TB
	e      *Engine
	s      State
	stored State
	now    time.Duration
	skew   time.Duration // of the wall clock, by steps
	seq    uint64
	clock  meter.Clock
	// suspect: the wall clock was stepped a moment ago
	suspect bool

	load                meter.Milliamps
	tx                  [3]meter.Milliamps
	frozen              [3]bool // on W1
	blind               bool
	volts               map[string][3]meter.Millivolts // of ways that have another than 230 V
	dumb                bool                           // no voltage is measured
	unfed               [3]bool                        // on W1
	mains               bool                           // lost, says an input
	at                  Switch
	inhibits, customers []string
	ev                  Events
	set                 []Setpoint
	all                 Events
}

func newSite(t testing.TB, cfg Config) *site {
	x := &site{t: t, e: NewEngine(cfg), clock: meter.Synced, load: 50_000}
	x.s = x.e.New(0, epoch, false)
	x.stored = x.s
	return x
}

func (x *site) wall() time.Time { return epoch.Add(x.now + x.skew) }

// seen adds to in what the meters and the site say now.
func (x *site) seen(in Inputs) Inputs {
	in.Clock, in.Suspect, in.MainsLost = x.clock, x.suspect, x.mains
	in.Switch, in.Inhibits, in.Customers = x.at, x.inhibits, x.customers
	for _, w := range x.e.cfg.Ways {
		l := Load{Way: w.ID, At: x.now}
		for p := range l.I {
			l.I[p] = x.load
			l.V[p] = 230_000
			if !x.blind {
				l.Quality[p] = meter.Good
			}
			if !x.dumb {
				l.VQuality[p] = meter.Good
			}
		}
		if v, other := x.volts[w.ID]; other {
			l.V = v
		}
		if w.ID == "W1" {
			l.Frozen, l.Unfed = x.frozen, x.unfed
		}
		in.Loads = append(in.Loads, l)
	}
	if x.e.cfg.Transformer > 0 {
		in.Loads = append(in.Loads, Load{Way: TX, At: x.now, I: x.tx, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}})
	}
	return in
}

func (x *site) step(in Inputs) {
	x.t.Helper()
	in = x.seen(in)
	before := digest(&x.s)
	next, set, ev, deadline := x.e.Step(x.s, in, x.now, x.wall())
	if digest(&x.s) != before {
		x.t.Fatal("Step changed the state it was given")
	}
	checkDecisions(x.t, x.e, x.s, next, in, set, ev)
	if deadline <= x.now {
		x.t.Fatalf("deadline %v is not after now %v", deadline, x.now)
	}
	x.s, x.set, x.ev = next, set, ev
	x.all.Acks = append(x.all.Acks, ev.Acks...)
	x.all.Transitions = append(x.all.Transitions, ev.Transitions...)
	x.all.Conditions = append(x.all.Conditions, ev.Conditions...)
	if ev.Store {
		x.stored = next
	}
}

// run lets time pass in steps of a second, with heartbeats every period when
// beating.
func (x *site) run(d time.Duration, beating bool) {
	for end := x.now + d; x.now < end; {
		x.now += s
		if beating && x.now%(30*s) == 0 {
			x.beat()
			continue
		}
		x.step(Inputs{})
	}
}

func (x *site) beat() {
	x.seq++
	x.step(Inputs{Heartbeats: []Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: x.seq}}})
}

func (x *site) command(c LimitCommand) Ack {
	x.t.Helper()
	if c.Issuer == "" {
		c.Issuer = "scada-1"
	}
	if c.Seq == 0 {
		x.seq++
		c.Seq = x.seq
	}
	if c.Epoch == 0 {
		c.Epoch = 1
	}
	if c.ID == "" {
		c.ID = fmt.Sprint("c", c.Seq)
	}
	if c.Hash == "" {
		c.Hash = c.ID
	}
	if c.Expires.IsZero() {
		c.Expires = x.wall().Add(m)
	}
	if c.Class == 0 {
		c.Class = Network
	}
	x.step(Inputs{Limits: []LimitCommand{c}})
	for _, a := range slices.Backward(x.ev.Acks) {
		if a.ID == c.ID {
			return a
		}
	}
	x.t.Fatalf("command %s was not answered", c.ID)
	return Ack{}
}

func (x *site) none(way string) Ack {
	return x.command(LimitCommand{Target: Target{Way: way}, Amount: Amount{Unit: None}})
}

func (x *site) crash() { x.restart(x.stored, 0) }

func (x *site) restart(from State, down time.Duration) {
	x.t.Helper()
	stored, err := Encode(from)
	if err != nil {
		x.t.Fatal(err)
	}
	old, err := Decode(stored, "S1")
	if err != nil {
		x.t.Fatal(err)
	}
	// A new process: the monotonic clock starts again, the wall clock goes on.
	x.skew += x.now + down
	x.now = 0
	x.s = x.e.Resume(old, x.now, x.wall(), x.clock)
	x.stored = x.s
}

func (x *site) way(id string) WayState {
	return x.s.Ways[x.e.way(id)]
}

func (x *site) group(id string) GroupState {
	return x.s.Groups[x.e.group(id)]
}

// free brings the site to where the centre is heard and every group is at its
// rating.
func (x *site) free() {
	x.t.Helper()
	x.run(30*s, true)
	x.none("W1")
	x.none("W2")
	x.run(20*m, true)
	for i, g := range x.s.Groups {
		if g.Limit != x.e.cfg.Groups[i].Rating {
			x.t.Fatalf("group %s is at %d, not at its rating (%s)", g.ID, g.Limit, g.Rule)
		}
	}
	if x.way("W1").State != Free {
		x.t.Fatalf("W1 is %v", x.way("W1").State)
	}
}

// R13: silence for the timeout means failsafe, on each way, at that second.
func TestSilenceMeansFailsafe(t *testing.T) {
	tests := []struct {
		name    string
		silence time.Duration
		want    Authority
	}{
		{"one second before the timeout", 120*s - s, Free},
		{"exactly at the timeout", 120 * s, Failsafe},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.free()
			x.beat()
			x.run(tt.silence, false)
			for _, w := range x.s.Ways {
				if w.State != tt.want {
					t.Errorf("way %s after %v of silence = %v, want %v", w.ID, tt.silence, w.State, tt.want)
				}
			}
			if tt.want == Failsafe && x.group("G1").Limit != 24_000 {
				t.Errorf("limit in failsafe = %d, want 24000", x.group("G1").Limit)
			}
		})
	}
}

func TestNeverHeardIsNotLost(t *testing.T) {
	x := newSite(t, testConfig())
	x.run(120*s-s, false)
	if got := x.way("W1").State; got != Init {
		t.Fatalf("state before the init time is over = %v, want INIT", got)
	}
	x.run(s, false)
	if w := x.way("W1"); w.State != Failsafe || w.Cause != NeverHeard {
		t.Errorf("after the init time: %v, %s; want FAILSAFE, NEVER_HEARD", w.State, w.Cause)
	}
}

// R7: what lifts failsafe is steady heartbeats and a statement after they came
// back; neither is enough alone, and time alone never is.
func TestLeavingFailsafe(t *testing.T) {
	tests := []struct {
		name string
		do   func(x *site)
		want Authority
	}{
		{"nothing but time", func(x *site) { x.run(48*h/600, false) }, Failsafe},
		{"heartbeats alone", func(x *site) { x.run(2*h/10, true) }, Probation},
		{"a statement before the heartbeats", func(x *site) { x.none("W1"); x.run(10*m, true) }, Probation},
		{"heartbeats and a statement, not stable yet", func(x *site) { x.beat(); x.none("W1"); x.run(59*s, true) }, Probation},
		{"heartbeats twice as often as expected are no quicker way out", func(x *site) {
			for range 4 {
				x.beat()
				x.none("W1")
				x.run(14*s, false)
				x.now += s
			}
			x.now -= s
			x.step(Inputs{})
		}, Probation},
		{"heartbeats and a statement, stable", func(x *site) { x.run(90*s, true); x.none("W1"); x.run(30*s, true) }, Restoring},
		{"three heartbeats in a burst", func(x *site) { x.beat(); x.beat(); x.beat(); x.none("W1"); x.run(61*s, false) }, Probation},
		{"a limit is a statement", func(x *site) {
			x.run(90*s, true)
			x.command(LimitCommand{Target: Target{Way: "W1"}, Amount: Amount{Amps, 30_000}, Duration: 10 * m})
			x.run(30*s, true)
		}, Restoring},
		{"a commercial limit is no statement", func(x *site) {
			x.run(90*s, true)
			x.command(LimitCommand{Class: Commercial, Target: Target{Way: "W1"}, Amount: Amount{Amps, 30_000}})
			x.run(60*s, true)
		}, Probation},
		{"a statement for another way", func(x *site) { x.run(90*s, true); x.none("W2"); x.run(60*s, true) }, Probation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.free()
			x.run(3*m, false)
			if x.way("W1").State != Failsafe {
				t.Fatalf("not in failsafe but %v", x.way("W1").State)
			}
			tt.do(x)
			if got := x.way("W1").State; got != tt.want {
				t.Errorf("state = %v, want %v", got, tt.want)
			}
			if tt.want != Restoring && x.group("G1").Limit > 24_000 {
				t.Errorf("limit = %d above the failsafe limit without leave", x.group("G1").Limit)
			}
		})
	}
}

// R7: failsafe has no end of its own, however long the centre is silent: no limit
// goes up, and no way changes its state.
func TestFailsafeDoesNotRunOut(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.run(3*m, false)
	x.all = Events{}
	for range 31 * 24 {
		x.now += h
		x.step(Inputs{})
		for i, g := range x.s.Groups {
			if most := x.e.cfg.Groups[i].Failsafe; g.Limit > most {
				t.Fatalf("after %v %s is at %d, its failsafe limit is %d", x.now, g.ID, g.Limit, most)
			}
		}
	}
	if len(x.all.Transitions) > 0 {
		t.Errorf("in a month of silence: %+v", x.all.Transitions)
	}
}

// R7: failsafe ends as soon as the centre is steady and has spoken, not after a
// time of its own, and what it ordered meanwhile is in force.
func TestWhatIsOrderedInFailsafeIsKept(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.run(3*m, false)
	x.beat()
	x.command(LimitCommand{ID: "k", Target: Target{Way: "W1"}, Amount: Amount{Amps, 9_000}, Duration: 2 * h})
	x.run(90*s, true)
	if w := x.way("W1"); w.State.restricted() {
		t.Fatalf("90 s after the centre is back W1 is still %v", w.State)
	}
	x.run(h, true)
	if g := x.group("G1"); g.Limit != 9_000 || g.Source != "k" {
		t.Errorf("G1 at %d by %q, ordered were 9 A for two hours", g.Limit, g.Source)
	}
}

func TestNoStatementIsSaidOnce(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.run(3*m, false)
	x.all = Events{}
	x.run(10*m, true)
	n := 0
	for _, c := range x.all.Conditions {
		if c.Way == "W1" && c.Kind == "NO_STATEMENT" && c.Edge == meter.Raise {
			n++
		}
	}
	if n != 1 {
		t.Errorf("NO_STATEMENT raised %d times, want once", n)
	}
}

func TestHeartbeatsThatDoNotCount(t *testing.T) {
	tests := []struct {
		name string
		beat Heartbeat
		want Code // of the refusal
	}{
		{"the next one", Heartbeat{"scada-1", 3, 101, false}, OK},
		{"a later epoch starts again", Heartbeat{"scada-1", 4, 1, false}, OK},
		{"repeated", Heartbeat{"scada-1", 3, 100, false}, Replay},
		{"older", Heartbeat{"scada-1", 3, 99, false}, Replay},
		{"an older epoch", Heartbeat{"scada-1", 2, 5000, false}, Replay},
		{"retained", Heartbeat{"scada-1", 3, 101, true}, RetainedRefuse},
		{"an unknown issuer", Heartbeat{"mallory", 3, 101, false}, UnknownIssuer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.step(Inputs{Heartbeats: []Heartbeat{{"scada-1", 3, 100, false}}})
			x.now += 10 * s
			x.step(Inputs{Heartbeats: []Heartbeat{tt.beat}})
			got := OK
			for _, r := range x.ev.Refused {
				got = r.Code
			}
			if counted := x.s.Heard == x.now; got != tt.want || counted != (tt.want == OK) {
				t.Errorf("counted = %v, refused with %q; want %q", counted, got, tt.want)
			}
		})
	}
}

func TestCommandAnswers(t *testing.T) {
	way := Target{Way: "W1"}
	amps := Amount{Amps, 16_000}
	tests := []struct {
		name  string
		do    func(x *site) Ack
		stage Stage
		code  Code
	}{
		{"now", func(x *site) Ack { return x.command(LimitCommand{Target: way, Amount: amps, Duration: m}) }, Active, OK},
		{"twenty minutes ahead", func(x *site) Ack {
			return x.command(LimitCommand{Target: way, Amount: amps, Start: x.wall().Add(20 * m), Duration: m})
		}, Scheduled, OK},
		{"relative start", func(x *site) Ack {
			return x.command(LimitCommand{Target: way, Amount: amps, Relative: true, StartIn: 20 * m, Duration: m})
		}, Scheduled, OK},
		{"begun before it came", func(x *site) Ack {
			return x.command(LimitCommand{Target: way, Amount: amps, Start: x.wall().Add(-m), Duration: 2 * m})
		}, Active, OK},
		{"over before it came", func(x *site) Ack {
			return x.command(LimitCommand{Target: way, Amount: amps, Start: x.wall().Add(-2 * m), Duration: 2 * m})
		}, Rejected, Expired},
		{"delivered too late", func(x *site) Ack {
			return x.command(LimitCommand{Target: way, Amount: amps, Expires: x.wall().Add(-s)})
		}, Rejected, Stale},
		{"at its last moment", func(x *site) Ack {
			return x.command(LimitCommand{Target: way, Amount: amps, Expires: x.wall()})
		}, Active, OK},
		{"three days ahead", func(x *site) Ack {
			return x.command(LimitCommand{Target: way, Amount: amps, Start: x.wall().Add(72 * h)})
		}, Rejected, TooFar},
		{"negative", func(x *site) Ack { return x.command(LimitCommand{Target: way, Amount: Amount{Amps, -1}}) }, Rejected, InvalidCommand},
		{"huge", func(x *site) Ack { return x.command(LimitCommand{Target: way, Amount: Amount{Amps, 1 << 62}}) }, Rejected, InvalidCommand},
		{"101 percent", func(x *site) Ack { return x.command(LimitCommand{Target: way, Amount: Amount{Percent, 101_000}}) }, Rejected, InvalidCommand},
		{"longer than a day", func(x *site) Ack { return x.command(LimitCommand{Target: way, Amount: amps, Duration: 25 * h}) }, Rejected, InvalidCommand},
		{"no such way", func(x *site) Ack { return x.command(LimitCommand{Target: Target{Way: "W9"}, Amount: amps}) }, Rejected, NoTarget},
		{"one group of two exists", func(x *site) Ack {
			x.command(LimitCommand{ID: "p", Target: Target{Groups: []string{"G1", "G9"}}, Amount: amps})
			return x.ev.Acks[0]
		}, Received, Partial},
		{"retained", func(x *site) Ack { return x.command(LimitCommand{Retained: true, Target: way, Amount: amps}) }, Rejected, RetainedRefuse},
		{"unknown issuer", func(x *site) Ack { return x.command(LimitCommand{Issuer: "mallory", Target: way, Amount: amps}) }, Rejected, UnknownIssuer},
		{"the same again", func(x *site) Ack {
			c := LimitCommand{ID: "a", Seq: 900, Target: way, Amount: amps, Expires: x.wall().Add(h)}
			x.command(c)
			return x.command(c)
		}, Active, Duplicate},
		{"the same again after a crash", func(x *site) Ack {
			c := LimitCommand{ID: "a", Seq: 900, Target: way, Amount: amps, Expires: x.wall().Add(h)}
			x.command(c)
			x.crash()
			return x.command(c)
		}, Active, Duplicate},
		{"same id, other body", func(x *site) Ack {
			x.command(LimitCommand{ID: "a", Hash: "1", Target: way, Amount: amps})
			return x.command(LimitCommand{ID: "a", Hash: "2", Target: way, Amount: Amount{Amps, 90_000}})
		}, Rejected, IDConflict},
		{"an old number", func(x *site) Ack {
			x.command(LimitCommand{Seq: 900, Target: way, Amount: amps})
			return x.command(LimitCommand{ID: "b", Seq: 800, Target: way, Amount: amps})
		}, Rejected, Replay},
		{"a number used before", func(x *site) Ack {
			x.command(LimitCommand{Seq: 900, Target: way, Amount: amps})
			x.command(LimitCommand{ID: "a", Seq: 890, Target: way, Amount: amps})
			return x.command(LimitCommand{ID: "b", Seq: 890, Target: way, Amount: amps})
		}, Rejected, Replay},
		{"out of order inside the window", func(x *site) Ack {
			x.command(LimitCommand{Seq: 900, Target: way, Amount: amps})
			return x.command(LimitCommand{ID: "b", Seq: 890, Target: way, Amount: amps})
		}, Active, OK},
		{"absolute time with a bad clock", func(x *site) Ack {
			x.clock = meter.Unsynced
			return x.command(LimitCommand{Target: way, Amount: amps, Start: x.wall()})
		}, Rejected, ClockUntrusted},
		{"relative time with a bad clock", func(x *site) Ack {
			x.clock = meter.Unsynced
			return x.command(LimitCommand{Target: way, Amount: amps, Relative: true})
		}, Active, OK},
		{"cancelled before it came", func(x *site) Ack {
			x.step(Inputs{Cancels: []CancelCommand{{ID: "k", Issuer: "scada-1", Epoch: 1, Seq: 900, Hash: "k",
				Expires: x.wall().Add(m), Cancels: "a"}}})
			return x.command(LimitCommand{ID: "a", Seq: 901, Target: way, Amount: amps})
		}, Rejected, WasCancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.free()
			before := slices.Clone(x.s.Groups)
			got := tt.do(x)
			if got.Stage != tt.stage || got.Code != tt.code {
				t.Errorf("answer = %s %s, want %s %s", got.Stage, got.Code, tt.stage, tt.code)
			}
			if got.Stage == Rejected && got.Code != Replay && got.Code != IDConflict {
				for i, g := range x.s.Groups {
					if g.Limit != before[i].Limit {
						t.Errorf("a refused command moved %s from %d to %d", g.ID, before[i].Limit, g.Limit)
					}
				}
			}
		})
	}
}

func TestAmounts(t *testing.T) {
	single := &Group{Phases: [3]bool{true, false, false}, Rating: 96_000}
	three := &Group{Phases: [3]bool{true, true, true}, Rating: 63_000}
	tests := []struct {
		name   string
		amount Amount
		group  *Group
		want   meter.Milliamps
	}{
		{"amps are per phase", Amount{Amps, 16_000}, three, 16_000},
		{"never above the rating", Amount{Amps, 100_000}, single, 96_000},
		{"percent of the rating", Amount{Percent, 40_000}, single, 38_400},
		{"watts over one phase at 230 V", Amount{Watts, 3_680_000}, single, 16_000},
		{"watts over three phases", Amount{Watts, 3_680_000}, three, 5_333},
		{"nothing", Amount{Amps, 0}, three, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.amount.For(tt.group); got != tt.want {
				t.Errorf("= %d mA, want %d", got, tt.want)
			}
		})
	}
}

// R9: a signal that was accepted runs although the centre falls silent before
// its start, and its end is no reason to go above the failsafe limit.
func TestScheduledRunsInSilence(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.command(LimitCommand{ID: "a", Target: Target{Groups: []string{"G1"}}, Amount: Amount{Amps, 6_000},
		Start: x.wall().Add(20 * m), Duration: 10 * m})
	x.run(20*m+s, false)
	if g := x.group("G1"); g.Limit != 6_000 || g.Source != "a" {
		t.Errorf("limit at the start = %d by %s %q, want 6000 by the command", g.Limit, g.Rule, g.Source)
	}
	x.run(30*m, false)
	if g := x.group("G1"); g.Limit != 24_000 {
		t.Errorf("limit after the end = %d, want the failsafe limit 24000", g.Limit)
	}
}

func TestLimitsGoUpByARampOnly(t *testing.T) {
	tests := []struct {
		name  string
		load  meter.Milliamps
		blind bool
		after time.Duration
		low   meter.Milliamps
		high  meter.Milliamps
	}{
		{"with headroom a tenth of the rating a minute", 50_000, false, 2 * m, 40_000, 44_000},
		{"near the rating three amperes a minute, for both groups together", 262_000, false, 2 * m, 26_000, 27_000},
		{"not at all above 88 %", 270_000, false, 2 * m, 24_000, 24_000},
		{"not at all without a measurement", 50_000, true, 2 * m, 24_000, 24_000},
		{"export is no load", -400_000, false, 2 * m, 40_000, 44_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.load, x.blind = tt.load, tt.blind
			x.run(30*s, true)
			x.none("W1")
			x.run(tt.after, true)
			if got := x.group("G1").Limit; got < tt.low || got > tt.high {
				t.Errorf("limit after %v = %d, want %d..%d", tt.after, got, tt.low, tt.high)
			}
		})
	}
}

func TestEntryRamp(t *testing.T) {
	cfg := testConfig()
	cfg.Timers.EntrySpread = 300 * s
	cfg.Seed[0] = 1
	spread := (&run{Engine: NewEngine(cfg)}).draw("entry", 300*s)
	if spread < 20*s {
		t.Fatalf("the seed of this test draws %v; choose another", spread)
	}
	tests := []struct {
		name string
		load meter.Milliamps
		ramp bool
	}{
		{"lightly loaded", 50_000, true},
		{"a phase at 80 %", 240_000, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, cfg)
			x.free()
			x.beat()
			x.load = tt.load
			x.run(125*s, false)
			if got := x.group("G1").Limit > 24_000; got != tt.ramp {
				t.Errorf("limit 5 s after the loss = %d, on a ramp %v, want %v", x.group("G1").Limit, got, tt.ramp)
			}
			x.run(spread, false)
			if got := x.group("G1").Limit; got != 24_000 {
				t.Errorf("limit after the ramp = %d, want 24000", got)
			}
		})
	}
}

// R12: a restart never releases early.
func TestRestart(t *testing.T) {
	limited := func(x *site) {
		x.free()
		x.command(LimitCommand{ID: "a", Target: Target{Groups: []string{"G1"}}, Amount: Amount{Amps, 10_000}, Duration: 10 * m})
	}
	tests := []struct {
		name  string
		do    func(x *site)
		state Authority
		most  meter.Milliamps
		least meter.Milliamps
	}{
		{"free, crash", func(x *site) { x.free(); x.crash(); x.run(s, false) }, Init, 24_000, 24_000},
		{"in failsafe, crash", func(x *site) { x.free(); x.run(3*m, false); x.crash(); x.run(s, false) }, Failsafe, 24_000, 24_000},
		{"on probation, crash", func(x *site) { x.free(); x.run(3*m, false); x.run(31*s, true); x.crash(); x.run(s, false) }, Failsafe, 24_000, 24_000},
		{"limited, crash", func(x *site) { limited(x); x.crash(); x.run(s, false) }, Init, 10_000, 10_000},
		{"limited, nine minutes after the crash", func(x *site) { limited(x); x.crash(); x.run(9*m, false) }, Failsafe, 10_000, 10_000},
		{"limited, down for an hour", func(x *site) { limited(x); x.restart(x.stored, h); x.run(9*m, false) }, Failsafe, 10_000, 10_000},
		{"limited, clock an hour ahead after the crash", func(x *site) { limited(x); x.crash(); x.skew += h; x.run(9*m, false) }, Failsafe, 10_000, 10_000},
		{"limited, clock a year back after the crash ends too", func(x *site) { limited(x); x.crash(); x.skew -= 8760 * h; x.run(20*m, false) }, Failsafe, 24_000, 24_000},
		{"limited, clock unsynced after the crash", func(x *site) { limited(x); x.clock = meter.Unsynced; x.crash(); x.run(9*m, false) }, Failsafe, 10_000, 10_000},
		{"free, planned and short", func(x *site) {
			x.free()
			x.beat()
			st, _ := x.e.Stop(x.s, x.now, x.wall())
			x.restart(st, 20*s)
			x.run(s, false)
		}, Free, 96_000, 96_000},
		{"free, planned and short, but the centre is silent", func(x *site) {
			x.free()
			x.beat()
			st, _ := x.e.Stop(x.s, x.now, x.wall())
			x.restart(st, 20*s)
			x.run(100*s, false)
		}, Failsafe, 24_000, 24_000},
		{"free, planned and long", func(x *site) {
			x.free()
			x.beat()
			st, _ := x.e.Stop(x.s, x.now, x.wall())
			x.restart(st, 61*s)
			x.run(s, false)
		}, Init, 24_000, 24_000},
		{"free, planned, clock unsynced", func(x *site) {
			x.free()
			x.beat()
			st, _ := x.e.Stop(x.s, x.now, x.wall())
			x.clock = meter.Unsynced
			x.restart(st, 20*s)
			x.run(s, false)
		}, Init, 24_000, 24_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			tt.do(x)
			if got := x.way("W1").State; got != tt.state {
				t.Errorf("state = %v, want %v", got, tt.state)
			}
			if got := x.group("G1").Limit; got < tt.least || got > tt.most {
				t.Errorf("limit = %d, want %d..%d", got, tt.least, tt.most)
			}
		})
	}
}

func TestStopLeavesTheStricterLimit(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	x.command(LimitCommand{Target: Target{Groups: []string{"G1"}}, Amount: Amount{Amps, 10_000}})
	_, rest := x.e.Stop(x.s, x.now, x.wall())
	want := []Setpoint{{Group: "G1", Limit: 10_000}, {Group: "G2", Limit: 12_000}, {Group: "G3", Limit: 6_000}}
	if !slices.Equal(rest, want) {
		t.Errorf("rest = %v, want %v", rest, want)
	}
}

func TestActuatorAnswers(t *testing.T) {
	tests := []struct {
		name string
		f    Feedback
		want Actuation
	}{
		{"as told", Feedback{Group: "G1", Told: 24_000, Limit: 24_000, OK: true}, Confirmed},
		{"lower", Feedback{Group: "G1", Told: 24_000, Limit: 6_000, OK: true}, Restricted},
		{"higher", Feedback{Group: "G1", Told: 24_000, Limit: 96_000, OK: true}, Permissive},
		{"rounded down by the register", Feedback{Group: "G1", Told: 24_000, Limit: 23_100, OK: true}, Confirmed},
		{"no answer", Feedback{Group: "G1", Told: 24_000}, Unreached},
		{"of an older setpoint", Feedback{Group: "G1", Told: 96_000, Limit: 96_000, OK: true}, Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.step(Inputs{Feedback: []Feedback{tt.f}})
			if got := x.group("G1").Actuation; got != tt.want {
				t.Errorf("= %v, want %v", got, tt.want)
			}
		})
	}
}

// A contact curtails for any limit below the rating: that is no disobedience.
func TestContactsPermitAllOrNothing(t *testing.T) {
	cfg := testConfig()
	cfg.Groups[0].Contact = true
	x := newSite(t, cfg)
	x.step(Inputs{Feedback: []Feedback{{Group: "G1", Told: 24_000, Limit: 0, OK: true}}})
	if got := x.group("G1").Actuation; got != Confirmed {
		t.Errorf("open contact at 24 A of 96 A = %v, want CONFIRMED", got)
	}
	x.free()
	x.step(Inputs{Feedback: []Feedback{{Group: "G1", Told: 96_000, Limit: 0, OK: true}}})
	if got := x.group("G1").Actuation; got != Restricted {
		t.Errorf("open contact at the rating = %v, want MISMATCH_LOW", got)
	}
}

func TestStoredStateIsRefused(t *testing.T) {
	x := newSite(t, testConfig())
	good, err := Encode(x.s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(good, "S1"); err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(good, "S2"); err == nil {
		t.Error("a state of another site was taken")
	}
	for n := range good {
		if _, err := Decode(good[:n], "S1"); err == nil {
			t.Fatalf("a state cut at octet %d was taken", n)
		}
		if good[n] == ' ' {
			continue
		}
		bad := slices.Clone(good)
		bad[n] ^= 1
		if st, err := Decode(bad, "S1"); err == nil {
			if same, _ := Encode(st); string(same) != string(good) {
				t.Fatalf("a state with octet %d changed was taken", n)
			}
		}
	}
}
