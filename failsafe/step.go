package failsafe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"lvagent/meter"
)

// Step moves the state to now and returns it with the setpoints that changed,
// what there is to tell, and when to step again at the latest. It never fails:
// whatever comes in, the answer is a rejection or a stricter limit. The state
// that was passed in stays as it was.
func (e *Engine) Step(s State, in Inputs, now time.Duration, wall time.Time) (State, []Setpoint, Events, time.Duration) {
	s = s.clone()
	s.Stopped = false
	r := run{Engine: e, s: &s, now: max(now, s.Mono), wall: wall, clock: in.Clock, suspect: in.Suspect, loads: in.Loads, draws: in.Draws, mainsLost: in.MainsLost, inhibits: in.Inhibits}
	r.today = e.look(wall, in.Clock.Trusted() && !in.Suspect)
	for i := range s.Groups {
		r.was = append(r.was, s.Groups[i].Limit)
	}
	r.switched(in.Switch)
	r.customerReports(in.CustomerReports)
	r.byCustomer(in.Customers)
	for _, h := range in.Heartbeats {
		r.heartbeat(h)
	}
	r.authority()
	r.forget()
	for _, c := range in.Cancels {
		if !r.barred(c.ID, "cancel", true) {
			r.cancel(c)
		}
	}
	for _, c := range in.Limits {
		if !r.barred(c.ID, "limit", c.Amount.Unit == None || c.Supersedes != "") {
			r.limit(c)
		}
	}
	for _, c := range in.Overrides {
		if c.Local || !r.barred(c.ID, "override", c.Kind != HoldOff) {
			r.override(c)
		}
	}
	for _, c := range in.Reports {
		r.report(c)
	}
	for _, c := range in.Holds {
		if !r.barred(c.ID, holdName, c.Release) {
			r.holdCommand(c)
		}
	}
	for _, c := range in.Acks {
		if c.Local || !r.barred(c.ID, AckName, true) {
			r.lockoutAck(c)
		}
	}
	for _, c := range in.Silences {
		if !r.barred(c.ID, SilenceName, true) {
			r.silence(c)
		}
	}
	for _, o := range in.OptOuts {
		r.optOut(o)
	}
	r.lifecycle()
	r.expire()
	r.authority()
	r.constraints()
	r.expireHolds()
	r.supply()
	r.obedience()
	r.headroom()
	r.protect()
	r.limits()
	r.settle()
	r.warnings()
	for _, f := range in.Feedback {
		r.feedback(f)
	}
	r.actuators(in.Acknowledged)
	r.actuated()
	r.observe()
	s.Mono, s.Wall = r.now, wall
	return s, r.set, r.ev, r.deadline()
}

// run is one step in progress.
type run struct {
	*Engine
	s     *State
	now   time.Duration
	wall  time.Time
	clock meter.Clock
	// suspect: the wall clock may be wrong. It starts a limit all the same, but
	// it ends none, and no time that a command names is believed.
	suspect bool
	today   calendar
	loads   []Load
	draws   []Draw

	mainsLost bool
	inhibits  []string

	entitled []entitlement     // of each group
	was      []meter.Milliamps // the groups' limits before this step
	admitted []bool            // contacts that may close, of those that wait; nil: none
	reserves []int64           // on each constraint, of groups that are not controlled, in mA; nil: not yet known
	place    []int             // of each group when groups take turns; nil: not yet known

	set []Setpoint
	ev  Events
}

// heartbeat takes a token of life: from an issuer on the list, not retained,
// and strictly newer than its last. Everything else leaves authority untouched.
func (r *run) heartbeat(h Heartbeat) {
	refuse := func(code Code) {
		r.ev.Refused = append(r.ev.Refused, RefusedHeartbeat{h.Issuer, code})
	}
	switch {
	case h.Retained:
		refuse(RetainedRefuse)
		return
	case !slices.Contains(r.cfg.Issuers, h.Issuer):
		refuse(UnknownIssuer)
		return
	}
	i := slices.IndexFunc(r.s.Tokens, func(t Token) bool { return t.Issuer == h.Issuer })
	if i < 0 {
		r.s.Tokens = append(r.s.Tokens, Token{Issuer: h.Issuer})
		i = len(r.s.Tokens) - 1
	} else if t := r.s.Tokens[i]; h.Epoch < t.Epoch || h.Epoch == t.Epoch && h.Seq <= t.Seq {
		refuse(Replay)
		return
	}
	r.s.Tokens[i].Epoch, r.s.Tokens[i].Seq = h.Epoch, h.Seq
	r.s.Ever, r.s.Heard = true, r.now
	// Two heartbeats within half a period count once, so that a burst is no
	// proof of a steady link.
	if n := len(r.s.Beats); n == 0 || r.now-r.s.Beats[n-1] >= r.cfg.Timers.HeartbeatPeriod/2 {
		r.s.Beats = append(r.s.Beats, r.now)
		if n >= 16 {
			r.s.Beats = slices.Delete(r.s.Beats, 0, 1)
		}
	}
}

// alive reports whether the centre's last heartbeat is within its timeout, or its
// silence is planned.
func (r *run) alive() bool {
	return r.s.Ever && r.now-r.s.lastSign() < r.cfg.Timers.HeartbeatTimeout
}

// steady reports whether Beats of the last OfBeats expected heartbeats came
// since the given time.
func (r *run) steady(since time.Duration) bool {
	t := r.cfg.Timers
	from := max(since, r.now-time.Duration(t.OfBeats)*t.HeartbeatPeriod-t.HeartbeatPeriod/2)
	n := 0
	for _, b := range r.s.Beats {
		if b >= from {
			n++
		}
	}
	return n >= t.Beats
}

// authority moves every way's machine.
func (r *run) authority() {
	alive := r.alive()
	for i := range r.s.Ways {
		w := &r.s.Ways[i]
		switch w.State {
		case Init:
			switch {
			case alive && w.Statement:
				r.release(i, StatementHeard)
			case r.now-w.Since < r.cfg.Timers.Init:
			case alive:
				r.enter(i, Probation, NoStatement)
			case r.s.Ever:
				r.enter(i, Failsafe, HeartbeatLost)
			default:
				r.enter(i, Failsafe, NeverHeard)
			}
		case Free, Limited, Restoring:
			if !alive {
				r.enter(i, Failsafe, HeartbeatLost)
			}
		case Failsafe:
			switch {
			case alive:
				r.enter(i, Probation, HeartbeatBack)
			case r.alone(i) && r.now-w.Since >= r.cfg.Autonomous:
				r.move(i, Autonomous, LongAlone)
			}
		case Autonomous:
			switch {
			case alive:
				r.enter(i, Probation, HeartbeatBack)
			case !r.alone(i):
				r.move(i, Failsafe, NotMeasured)
			}
		case Probation:
			switch {
			case !alive:
				r.enter(i, Failsafe, HeartbeatLost)
			case r.now-w.Since < r.Stable(w, r.now) || !r.steady(w.Since):
			case w.Statement:
				r.release(i, StatementHeard)
			case !w.Waiting:
				w.Waiting = true
				r.condition(w.ID, string(NoStatement), meter.Raise)
			}
		}
	}
}

// Stable is how long the centre must be back at way w before a limit may rise:
// twice as long with each loss that came soon after another. Entering failsafe
// is never delayed by it.
func (e *Engine) Stable(w *WayState, now time.Duration) time.Duration {
	t := &e.cfg.Timers
	d := t.Stable
	if now-w.LostAt >= t.FlapForget {
		return d
	}
	for n := 0; n < w.Flaps && d < t.StableMost; n++ {
		d = min(2*d, t.StableMost)
	}
	return d
}

// enter puts way i into a restricted state. What the centre said before is no
// statement any more.
func (r *run) enter(i int, to Authority, why Cause) {
	w := &r.s.Ways[i]
	from := w.State
	if to == Failsafe {
		w.Statement, w.Source = false, ""
		w.RampStart, w.RampEnd = 0, 0
		if from != Init {
			if w.Flaps++; w.LostAt == 0 || r.now-w.LostAt >= r.cfg.Timers.FlapForget {
				w.Flaps = 0
			}
			w.LostAt = r.now
		}
		if !from.restricted() {
			for _, g := range r.groups[i] {
				r.s.Groups[g].From = r.s.Groups[g].Limit
			}
			w.Kept = r.cfg.Ways[i].Headroom
			w.Headroom = w.Kept
			if spread := r.draw("entry", r.cfg.Timers.EntrySpread); spread > 0 {
				w.RampStart, w.RampEnd = r.now, r.now+spread
			}
		}
	}
	r.move(i, to, why)
}

// release lifts the failsafe limit of way i: the groups go up by the ramp.
func (r *run) release(i int, why Cause) {
	w := &r.s.Ways[i]
	if r.s.Lost {
		r.s.Lost = false
		r.condition("", string(StateLost), meter.Clear)
	}
	start := r.now + r.draw("restore", r.cfg.Timers.RestoreSpread)
	for _, g := range r.groups[i] {
		r.s.Groups[g].Raised = start
	}
	w.RampStart, w.RampEnd = 0, 0
	w.Kept, w.Headroom = false, false
	r.move(i, Restoring, why)
}

func (r *run) move(i int, to Authority, why Cause) {
	w := &r.s.Ways[i]
	if w.Waiting {
		w.Waiting = false
		r.condition(w.ID, string(NoStatement), meter.Clear)
	}
	r.ev.Transitions = append(r.ev.Transitions, Transition{Way: w.ID, From: w.State, To: to, Cause: why})
	w.State, w.Cause, w.Since, w.SinceWall = to, why, r.now, r.wall
	r.ev.Store = true
}

func (r *run) condition(way, kind string, edge meter.Edge) {
	r.ev.Conditions = append(r.ev.Conditions, Condition{Way: way, Kind: kind, Edge: edge})
	r.ev.Store = true
}

// draw returns a delay in [0, most] that is this device's own and the same each
// time, so that a fleet that lost the centre together does not act together.
func (e *Engine) draw(event string, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	mac := hmac.New(sha256.New, e.cfg.Seed[:])
	mac.Write([]byte(event))
	sum := mac.Sum(nil)
	return time.Duration(binary.BigEndian.Uint64(sum) % uint64(most+1))
}

var limitedBy = map[Rule]Cause{
	RuleCommand: CommandActive, RuleProtection: Overload, RuleUnmeasured: NotMeasured, RuleOverride: Overridden,
	RuleSchedule: OnSchedule,
}

// settle gives the ways that are heard the name of what they do: going up, held
// by a command, or free.
func (r *run) settle() {
	for i := range r.s.Ways {
		w := &r.s.Ways[i]
		if w.State.restricted() {
			continue
		}
		to, why := Free, CommandEnded
		if w.State == Restoring {
			why = Restored
		}
		for _, g := range r.groups[i] {
			switch rule := r.s.Groups[g].Rule; rule {
			case RuleCommand, RuleProtection, RuleUnmeasured, RuleOverride, RuleSchedule:
				if to == Free {
					to, why = Limited, limitedBy[rule]
				}
			case RuleInhibit:
				if to == Free {
					to, why = Limited, Inhibited
				}
			case RuleRestore, RuleBlind, RuleFrozen, RuleNoRoom, RuleUnfed, RuleTurn, RuleLocal:
				to = Restoring
			case RuleLockout:
				if to == Free {
					to, why = Limited, LockedOut
				}
			case RuleIdle, RuleHeld:
				to, why = Restoring, SupplyReturned
			}
		}
		if to != w.State {
			r.move(i, to, why)
		}
	}
}

// deadline is the earliest time at which something ends by itself.
func (r *run) deadline() time.Duration {
	t := r.cfg.Timers
	next := r.now + time.Minute
	at := func(d time.Duration) {
		if d > r.now && d < next {
			next = d
		}
	}
	if r.s.Ever {
		at(r.s.lastSign() + t.HeartbeatTimeout)
	}
	for i := range r.s.Ways {
		w := &r.s.Ways[i]
		switch w.State {
		case Init:
			at(w.Since + t.Init)
		case Probation:
			at(w.Since + r.Stable(w, r.now))
		case Restoring:
			at(r.now + time.Second)
		}
		if w.RampEnd > r.now {
			at(r.now + time.Second)
		}
	}
	for g := range r.s.Groups {
		if gs := &r.s.Groups[g]; gs.Fault != Unknown {
			at(gs.FaultAt + t.Mismatch)
			at(gs.FaultAt + t.ActuatorFailed)
		}
	}
	for i := range r.s.Overrides {
		at(r.s.Overrides[i].End)
	}
	for i := range r.s.Holds {
		at(r.s.Holds[i].End)
	}
	for g := range r.s.Groups {
		if x := &r.s.Groups[g].Restart; x.waits() && !x.Held {
			at(x.Until)
		}
		if x := &r.s.Groups[g].Lockout; x.Over {
			at(x.Next + 1)
		} else if x.Locked {
			at(x.Until)
		}
	}
	for i := range r.s.Commands {
		c := &r.s.Commands[i]
		at(c.Start)
		if c.Stage == Active {
			at(c.turn(r.now))
			if c.Restored {
				at(r.now + time.Second)
			}
		}
		if c.Stage == Scheduled && r.clock.Trusted() && !c.StartWall.IsZero() {
			at(r.now + c.StartWall.Sub(r.wall))
		}
	}
	return next
}
