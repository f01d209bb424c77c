package failsafe

import (
	"encoding/binary"
	"hash/maphash"
	"testing"
	"time"

	"lvagent/meter"
)

// The whole of a small world: one way, two phases, a group with a setpoint and
// one with a contact, two issuers, timers of one to four ticks. Every state that
// any history of heartbeats, silence, commands, loads, lost meters, restarts and
// crashes can reach is visited, and the promises are checked at each and on each
// way out of it.
//
// Left out, so that the world is finite: what was withheld and whose turn it is
// (one group a phase), the thermal state, and what takes more than four ticks
// (a phase that is only a little above its target, the pause between two steps
// up of a cap).
func TestEveryReachableState(t *testing.T) {
	t.Run("profile", func(t *testing.T) { everyReachableState(t, smallWorld(), 0) })
	t.Run("headroom", func(t *testing.T) {
		cfg := smallWorld()
		cfg.Ways[0].Headroom = true
		everyReachableState(t, cfg, 30_000) // of more, those with the shortest histories
	})
	t.Run("loss of supply", func(t *testing.T) {
		cfg := smallWorld()
		cfg.Timers.RestartDead, cfg.Timers.RestartSpread = tick, 2*tick
		everyReachableState(t, cfg, 30_000)
	})
}

func everyReachableState(t *testing.T, cfg Config, most int) {
	e := NewEngine(cfg)
	start := e.New(tick, epoch.Add(tick), false)
	w := &world{t: t, e: e, seen: map[uint64]bool{}, seed: maphash.MakeSeed()}
	w.visit(w.settle(start))
	for n := 0; n < len(w.queue); n++ {
		w.expand(w.queue[n])
		w.queue[n] = State{} // no longer needed
		if t.Failed() {
			return
		}
		if most > 0 && n == most {
			w.queue = w.queue[:n]
		}
		if testing.Short() && n == 2000 {
			t.Logf("%d states looked at, of more; without -short all", n)
			return
		}
		if len(w.queue) > 2_000_000 {
			t.Fatalf("more than %d states: the world is not small any more", len(w.queue))
		}
	}
	t.Logf("%d states, %d steps, every one of them checked", len(w.queue), w.steps)
	for state, hits := range w.states {
		if hits == 0 && (Authority(state) != Autonomous || cfg.Autonomous > 0) {
			t.Errorf("no history leads to %v", Authority(state))
		}
	}
}

const tick = time.Second

// dark is the load of a phase whose supply is lost.
const dark = -2

func smallWorld() Config {
	return Config{
		Site: "S1",
		Ways: []Way{{ID: "W1", Rating: [3]meter.Milliamps{20_000_000, 20_000_000, 0}}},
		Groups: []Group{
			{ID: "G1", Way: "W1", Phases: [3]bool{true, false, false}, Rating: 12_000, Failsafe: 6_000, OptIn: consent},
			{ID: "G2", Way: "W1", Phases: [3]bool{false, true, false}, Rating: 32_000, Failsafe: 0, Contact: true},
		},
		Issuers: []string{"a", "b"},
		Timers: Timers{
			HeartbeatPeriod: tick, HeartbeatTimeout: 3 * tick, Stable: 2 * tick, Beats: 2, OfBeats: 3, Init: 2 * tick,
			RestorePeriod: 2 * tick, RestoreSlow: 2_000_000, MaxDuration: 2 * tick, MaxAhead: 4 * tick,
			Bumpless: 2 * tick, Remember: time.Hour, Sample: tick, Blind: 2 * tick, MinOff: 2 * tick,
		},
	}
}

type world struct {
	t      *testing.T
	e      *Engine
	seen   map[uint64]bool
	seed   maphash.Seed
	queue  []State
	steps  int
	states [7]int
}

// settle takes out of a state what the small world leaves out.
func (w *world) settle(s State) State {
	s = s.clone()
	s.Known, s.Sequences, s.Tokens = nil, nil, nil
	s.Rotated, s.Accounted = s.Mono, s.Mono
	for i := range s.Groups {
		g := &s.Groups[i]
		g.Withheld, g.Owed, g.Lifted, g.PausedAt = 0, 0, s.Mono-time.Hour, s.Mono-time.Hour
		if g.Actuation == Pending { // the actuator obeys before the next tick is over
			g.Actuation, g.Feedback = Confirmed, g.Limit
		}
	}
	for i := range s.Commands {
		s.Commands[i].Actuated = true
	}
	for i := range s.Constraints {
		c := &s.Constraints[i]
		c.Over = s.Mono
		c.Theta, c.Warm, c.Raised = 0, s.Mono, 0
		if c.Phase == meter.L3 {
			*c = Constraint{Way: c.Way, Phase: c.Phase, Good: s.Mono, Warm: s.Mono, Grown: s.Mono}
		}
	}
	return s
}

// key is the state as the engine sees it: ages instead of times, and old is old.
func (w *world) key(s *State) uint64 {
	var h maphash.Hash
	h.SetSeed(w.seed)
	var b []byte
	number := func(x int64) { b = binary.AppendVarint(b, x) }
	flag := func(x bool) {
		if x {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	age := func(at time.Duration) { number(int64(min(max(s.Mono-at, -5*tick), 4*tick) / tick)) }
	ageOr0 := func(at time.Duration) { // 0 is never
		if at == 0 {
			at = s.Mono - time.Hour
		}
		age(at)
	}
	flag(s.Stopped)
	flag(s.Ever)
	flag(s.Lost)
	age(s.Heard)
	for _, at := range s.Beats {
		if s.Mono-at <= 3*tick {
			age(at)
		}
	}
	number(-100)
	for _, x := range s.Ways {
		number(int64(x.State))
		age(x.Since)
		flag(x.Statement)
		flag(x.Waiting)
		flag(x.Kept)
		flag(x.Headroom)
	}
	for _, g := range s.Groups {
		number(int64(g.Limit))
		if s.Ways[0].Kept {
			number(int64(g.From))
		}
		b = append(b, g.Rule...)
		age(g.Raised)
		number(int64(g.Actuation))
		flag(g.Capped)
		number(int64(g.Cap))
		ageOr0(g.Switched)
		flag(g.Paused)
		flag(g.Restart.Lost)
		flag(g.Restart.Jump)
		if g.Restart.waits() {
			age(g.Restart.Until)
		}
	}
	for _, c := range s.Commands {
		b = append(b, c.ID...)
		b = append(b, c.Stage...)
		age(c.Start)
		age(c.End)
		flag(c.Restored)
		age(c.Latest)
	}
	for _, c := range s.Constraints {
		age(c.Good)
		flag(c.Above)
		number(c.Load)
		flag(c.Known)
		ageOr0(c.Shed)
		flag(c.Bound)
		number(int64(c.Budget))
		age(c.Grown)
		flag(c.Outage != "")
		flag(c.Low)
		if c.Low {
			age(c.LowSince)
			age(c.LowSeen)
		}
	}
	h.Write(b)
	return h.Sum64()
}

func (w *world) visit(s State) {
	k := w.key(&s)
	if w.seen[k] {
		return
	}
	w.seen[k] = true
	w.states[s.Ways[0].State]++
	w.queue = append(w.queue, s)
}

// expand takes every way out of a state.
func (w *world) expand(s State) {
	cold := [2]int64{20, 20}
	loads := [][2]int64{cold, {120, 20}, {20, 120}, {-1, 20}}
	if w.e.cfg.Timers.RestartDead > 0 {
		loads = append(loads, [2]int64{20, dark}, [2]int64{dark, dark})
	}
	for _, load := range loads {
		w.step(s, "", load, nil)
		w.step(s, "a", load, nil)
	}
	w.step(s, "b", cold, nil)
	for _, c := range []LimitCommand{
		{ID: "low", Class: Network, Amount: Amount{Amps, 6_000}, Relative: true, Duration: 2 * tick, Target: Target{Way: "W1"}},
		{ID: "soon", Class: Commercial, Amount: Amount{Amps, 0}, Relative: true, StartIn: tick, Duration: tick, Target: Target{Groups: []string{"G1"}}},
		{ID: "none", Class: Network, Amount: Amount{Unit: None}, Relative: true, Target: Target{Way: "W1"}},
	} {
		there := false
		for _, o := range s.Commands {
			there = there || o.ID == c.ID
		}
		if !there {
			w.step(s, "", cold, &c)
			w.step(s, "a", cold, &c)
		}
	}
	w.restart(s, s, "crash")
	stopped, rest := w.e.Stop(s, s.Mono, s.Wall)
	for i, sp := range rest {
		if sp.Limit > s.Groups[i].Limit || sp.Limit > w.e.cfg.Groups[i].Failsafe {
			w.t.Errorf("stop leaves %s at %d, from %d", sp.Group, sp.Limit, s.Groups[i].Limit)
		}
	}
	w.restart(s, stopped, "planned restart")
}

// step lets a tick pass with what comes at its end, and checks the promises.
func (w *world) step(s State, beat string, load [2]int64, c *LimitCommand) {
	now := s.Mono + tick
	in := Inputs{Clock: meter.Synced}
	l := Load{Way: "W1", At: now}
	for p, percent := range load {
		l.V[p], l.VQuality[p] = 230_000, meter.Good
		switch {
		case percent == dark:
			l.V[p], l.Quality[p] = 0, meter.Good
			continue
		case percent < 0:
			l.VQuality[p] = meter.Missing
			continue
		}
		l.I[p], l.Quality[p] = meter.Milliamps(percent)*200_000, meter.Good
	}
	in.Loads = []Load{l}
	if beat != "" {
		in.Heartbeats = []Heartbeat{{Issuer: beat, Epoch: 1, Seq: 1}}
	}
	if c != nil {
		command := *c
		command.Issuer, command.Epoch, command.Seq, command.Hash, command.Expires = "a", 1, 1, command.ID, epoch.Add(time.Hour*1e5)
		in.Limits = []LimitCommand{command}
	}
	for _, g := range s.Groups { // actuators that obey
		read := g.Limit
		if g.ID == "G2" && read < w.e.cfg.Groups[1].Rating {
			read = 0
		}
		in.Feedback = append(in.Feedback, Feedback{Group: g.ID, Told: g.Limit, Limit: read, OK: true})
	}
	after, set, ev, _ := w.e.Step(s, in, now, epoch.Add(now))
	w.steps++
	w.check(s, after, set, ev, in)
	// A measured current that is higher never gives anybody more.
	if load[0] == 20 && load[1] == 20 {
		more := in
		l.I[0], l.I[1] = 19_800_000, 19_800_000
		more.Loads = []Load{l}
		tighter, _, _, _ := w.e.Step(s, more, now, epoch.Add(now))
		for i := range tighter.Groups {
			if tighter.Groups[i].Limit > after.Groups[i].Limit {
				w.t.Errorf("%s gets %d at 99 %% of the rating and %d at 20 %%", tighter.Groups[i].ID, tighter.Groups[i].Limit, after.Groups[i].Limit)
			}
		}
	}
	w.visit(w.settle(after))
	if !ev.Store {
		w.restart(after, s, "crash") // to what was stored before
	}
}

func (w *world) check(before, after State, set []Setpoint, ev Events, in Inputs) {
	t, cfg := w.t, &w.e.cfg
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf(format, args...)
	}
	way, was := after.Ways[0], before.Ways[0]
	alive := after.Ever && after.Mono-after.Heard < cfg.Timers.HeartbeatTimeout
	if !alive && !way.State.restricted() {
		fail("%v after silence since %v, at %v", way.State, after.Heard, after.Mono)
	}
	if was.State.restricted() && !way.State.restricted() && (!alive || !way.Statement) {
		fail("%v left for %v: alive %v, statement %v", was.State, way.State, alive, way.Statement)
	}
	if was.State == Failsafe && !way.State.restricted() {
		fail("FAILSAFE was left for %v without probation", way.State)
	}
	changed := map[string]Setpoint{}
	for _, sp := range set {
		changed[sp.Group] = sp
	}
	for i, g := range after.Groups {
		c, old := cfg.Groups[i], before.Groups[i]
		sp, told := changed[g.ID]
		switch {
		case g.Limit < 0 || g.Limit > c.Rating:
			fail("%s at %d of %d", g.ID, g.Limit, c.Rating)
		case told != (g.Limit != old.Limit) || told && (sp.Limit != g.Limit || sp.Raise != (g.Limit > old.Limit)):
			fail("%s went from %d to %d, told %+v", g.ID, old.Limit, g.Limit, sp)
		case g.Limit > old.Limit && !ev.Store:
			fail("%s was raised to %d and the state is not to be stored", g.ID, g.Limit)
		case way.State.restricted() && g.Limit > c.Failsafe && !way.Headroom:
			fail("%s at %d in %v, failsafe limit %d", g.ID, g.Limit, way.State, c.Failsafe)
		case way.Kept && g.Limit > g.From:
			fail("%s at %d, above the %d that was in force at the loss", g.ID, g.Limit, g.From)
		case way.Headroom && (after.Mono-after.Constraints[i].Good > cfg.Timers.Blind || after.Constraints[i].Load >= 800):
			fail("headroom is kept with a phase at %d, measured at %v", after.Constraints[i].Load, after.Constraints[i].Good)
		case was.Kept && way.State == was.State && way.Headroom && !was.Headroom, way.Headroom && !way.Kept, way.Kept && !way.State.restricted():
			fail("headroom came back in %v: %+v, %+v", way.State, was, way)
		case g.Limit > old.Limit && after.Constraints[i].Outage != "":
			fail("%s was raised to %d without supply", g.ID, g.Limit)
		case old.Restart.Lost && !g.Restart.Lost && g.Restart.Until < after.Mono+cfg.Timers.RestartDead:
			fail("%s waits %v only", g.ID, g.Restart.Until-after.Mono)
		case g.Restart.waits() && g.Limit > 0:
			fail("%s at %d while it waits for its restart", g.ID, g.Limit)
		case old.Restart.waits() && g.Restart.Event == "" && after.Mono < old.Restart.Until:
			fail("%s restarts %v early", g.ID, old.Restart.Until-after.Mono)
		case g.Limit > old.Limit && in.Loads[0].Quality[i] != meter.Good:
			fail("%s was raised to %d on a phase that is not measured", g.ID, g.Limit)
		case g.Limit > old.Limit && in.Loads[0].I[i] > cfg.Ways[0].Rating[i]:
			fail("%s was raised to %d on an overloaded phase", g.ID, g.Limit)
		}
		for _, k := range after.Commands {
			if k.Stage != Active {
				continue
			}
			for _, id := range k.Groups {
				if id == g.ID && g.Limit > k.Amount.For(&c) {
					fail("%s at %d, command %s says %d", g.ID, g.Limit, k.ID, k.Amount.For(&c))
				}
			}
		}
	}
	for _, k := range before.Commands { // what ends does so once and by a rule
		if k.Stage == Active && after.Mono < k.End && in.Limits == nil {
			left := false
			for _, o := range after.Commands {
				left = left || o.ID == k.ID
			}
			if !left {
				fail("command %s ended %v early", k.ID, k.End-after.Mono)
			}
		}
	}
}

// restart goes on from a stored state in a new process, whose clock starts anew.
func (w *world) restart(s, from State, what string) {
	now, wall := tick, s.Wall.Add(tick)
	after := w.e.Resume(from, now, wall, meter.Synced)
	for i, g := range after.Groups {
		if g.Limit > s.Groups[i].Limit && g.Limit > from.Groups[i].Limit {
			w.t.Errorf("%s raised %s from %d to %d", what, g.ID, s.Groups[i].Limit, g.Limit)
		}
	}
	if state := after.Ways[0].State; what == "crash" && !state.restricted() {
		w.t.Errorf("a crash leads to %v", state)
	}
	w.visit(w.settle(after))
}
