package core

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"lvagent/agent/outbox"
	"lvagent/failsafe"
)

// drillKey is where the last drill is kept.
const drillKey = "drill"

// Drill is the rehearsal of a loss of the centre: a second engine goes on from the
// state of the real one and is told everything that it is told, but for what the
// centre says. Its limits go nowhere, so the currents that it sees are those under
// the real limits. The real engine and the outputs know nothing of it.
type Drill struct {
	Began     time.Time           `json:"began"`
	By        string              `json:"by"`
	Why       string              `json:"why"`
	State     string              `json:"state"`            // running, passed, failed, aborted
	Reason    string              `json:"reason,omitempty"` // of the last two
	Age       int64               `json:"heartbeat_age_ms"` // of the last heartbeat before it
	Timeout   int64               `json:"heartbeat_timeout_ms"`
	Reactions []failsafe.Reaction `json:"reactions"`
}

// drill is one that runs.
type drill struct {
	Drill
	state    failsafe.State
	began    time.Duration
	heard    time.Duration // the last heartbeat before it
	feedback []failsafe.Feedback
	back     bool          // heartbeats are let through again
	until    time.Duration // the latest end of this part
	silent   time.Duration // when the last group was at its failsafe limit
}

const (
	drillRunning = "running"
	drillPassed  = "passed"
	drillFailed  = "failed"
	drillAborted = "aborted"

	// drillSlack is how much later than its timers say something may happen: a
	// tick and a little.
	drillSlack = 2 * time.Second
)

// StartDrill begins a drill. It is refused where the centre is lost already or not
// heard yet, and while another one runs.
func (l *Loop) StartDrill(ctx context.Context, by, why string) (d Drill, err error) {
	asked := l.Ask(ctx, func(l *Loop) { d, err = l.startDrill(by, why) })
	if asked != nil {
		return d, asked
	}
	return d, err
}

func (l *Loop) startDrill(by, why string) (Drill, error) {
	switch {
	case by == "" || why == "":
		return Drill{}, fmt.Errorf("drill: say who you are and why")
	case l.drill != nil:
		return Drill{}, fmt.Errorf("drill: one runs since %s, begun by %s", l.drill.Began.Format("15:04:05Z"), l.drill.By)
	case len(l.State.Groups) == 0:
		return Drill{}, fmt.Errorf("drill: there are no charging groups")
	}
	for _, w := range l.State.Ways {
		switch w.State {
		case failsafe.Free, failsafe.Limited, failsafe.Restoring:
		default:
			return Drill{}, fmt.Errorf("drill: way %s is in %s (%s): the centre is not heard, this is no rehearsal", w.ID, w.State, w.Cause)
		}
	}
	now, wall := l.moment()
	f := &l.Config.Failsafe
	d := &drill{state: l.State, began: now, heard: l.State.Heard, until: now + f.HeartbeatTimeout + f.EntrySpread + time.Minute}
	d.Drill = Drill{Began: wall, By: by, Why: why, State: drillRunning, Age: (now - l.State.Heard).Milliseconds(),
		Timeout: f.HeartbeatTimeout.Milliseconds(), Reactions: []failsafe.Reaction{}}
	l.drill = d
	l.Log.Warn("drill begins: a loss of the centre with masked outputs", "by", by, "why", why)
	l.recordDrill(&d.Drill, wall, now)
	return d.Drill, nil
}

// StopDrill ends a drill before its time.
func (l *Loop) StopDrill(ctx context.Context) (d Drill, err error) {
	asked := l.Ask(ctx, func(l *Loop) {
		if l.drill == nil {
			err = fmt.Errorf("drill: none runs")
			return
		}
		now, wall := l.moment()
		l.endDrill(drillAborted, "stopped by hand", now, wall)
		d = l.drilled
	})
	if asked != nil {
		return d, asked
	}
	return d, err
}

// LastDrill returns the drill that runs, or the last one.
func (l *Loop) LastDrill(ctx context.Context) (d Drill, err error) {
	asked := l.Ask(ctx, func(l *Loop) {
		switch {
		case l.drill != nil:
			d = l.drill.Drill
			d.Reactions = slices.Clone(d.Reactions)
		case l.drilled.State != "":
			d = l.drilled
		default:
			err = fmt.Errorf("drill: there was none")
		}
	})
	if asked != nil {
		return d, asked
	}
	return d, err
}

// resumeDrill takes up the last result; one that ran when the agent ended did not
// come to an end.
func (l *Loop) resumeDrill() {
	body := l.Outbox.Get(drillKey)
	if body == nil {
		return
	}
	if err := json.Unmarshal(body, &l.drilled); err != nil {
		l.Log.Error("last drill not read", "err", err)
		return
	}
	if l.drilled.State == drillRunning {
		l.drilled.State, l.drilled.Reason = drillAborted, "the agent ended"
	}
}

func (l *Loop) recordDrill(d *Drill, wall time.Time, now time.Duration) {
	body, err := json.Marshal(d)
	if err != nil {
		l.Log.Error("drill not kept", "err", err)
	}
	l.Outbox.Store(false, nil, outbox.Kept{Key: drillKey, Value: body})
	l.record([]failsafe.Decision{failsafe.DrillDecision(d.By, d.Why, d.State, d.Reason, d.Reactions)}, now, wall)
	l.save()
}

func (l *Loop) endDrill(state, reason string, now time.Duration, wall time.Time) {
	d := &l.drill.Drill
	d.State, d.Reason = state, reason
	l.drilled = *d
	l.drill = nil
	l.Log.Warn("drill ended", "state", state, "reason", reason)
	l.recordDrill(&l.drilled, wall, now)
}

// stepDrill moves the second engine as the real one was moved by in.
func (l *Loop) stepDrill(in failsafe.Inputs, now time.Duration, wall time.Time) {
	d := l.drill
	if d == nil {
		return
	}
	for i := range l.State.Ways {
		if w := &l.State.Ways[i]; w.State == failsafe.Failsafe || w.State == failsafe.Probation || w.State == failsafe.Init {
			l.endDrill(drillAborted, "the centre was really lost", now, wall)
			return
		}
	}
	in.Limits, in.Cancels, in.Reports = nil, nil, nil
	in.Overrides = slices.DeleteFunc(slices.Clone(in.Overrides), func(o failsafe.OverrideCommand) bool { return !o.Local })
	if !d.back {
		in.Heartbeats = nil
	}
	in.Feedback = d.feedback
	state, set, ev, _ := l.Engine.Step(d.state, in, now, wall)
	d.state, d.feedback = state, nil
	for _, s := range set {
		d.feedback = append(d.feedback, failsafe.Feedback{Group: s.Group, Told: s.Limit, Limit: s.Limit, OK: true})
	}
	after := (now - d.heard).Milliseconds()
	for _, t := range ev.Transitions {
		if t.To == failsafe.Failsafe || t.To == failsafe.Probation {
			d.Reactions = append(d.Reactions, failsafe.Reaction{Way: t.Way, What: t.To.String(), After: after})
		}
	}
	if !d.back {
		l.drillSilence(d, after, now, wall)
		return
	}
	heard := true
	for i := range state.Ways {
		heard = heard && state.Ways[i].State == failsafe.Probation
	}
	switch {
	case heard:
		l.endDrill(drillPassed, "", now, wall)
	case now >= d.until:
		l.endDrill(drillFailed, "not every way took the heartbeats that came back", now, wall)
	}
}

// drillSilence waits until every group is where the failsafe limit takes it.
func (l *Loop) drillSilence(d *drill, after int64, now time.Duration, wall time.Time) {
	there := 0
	for g := range d.state.Groups {
		gs, w := &d.state.Groups[g], 0
		for i := range d.state.Ways {
			if d.state.Ways[i].ID == l.Config.Groups[g].Way {
				w = i
			}
		}
		way := &d.state.Ways[w]
		if way.State != failsafe.Failsafe || gs.Rule == failsafe.RuleEntry {
			continue
		}
		there++
		if !slices.ContainsFunc(d.Reactions, func(r failsafe.Reaction) bool { return r.Group == gs.ID }) {
			d.Reactions = append(d.Reactions, failsafe.Reaction{Group: gs.ID, What: string(gs.Rule), Limit: gs.Limit, After: after})
		}
	}
	f := &l.Config.Failsafe
	switch {
	case there == len(d.state.Groups):
		late := time.Duration(after)*time.Millisecond - f.HeartbeatTimeout - f.EntrySpread
		for _, r := range d.Reactions {
			if r.Way != "" && time.Duration(r.After)*time.Millisecond > f.HeartbeatTimeout+drillSlack {
				l.endDrill(drillFailed, fmt.Sprintf("way %s was in FAILSAFE %s after the last heartbeat, the timeout is %s", r.Way, time.Duration(r.After)*time.Millisecond, f.HeartbeatTimeout), now, wall)
				return
			}
		}
		if late > drillSlack {
			l.endDrill(drillFailed, fmt.Sprintf("the last group was at its limit %s later than timeout and ramp", late), now, wall)
			return
		}
		d.back, d.silent, d.until = true, now, now+2*f.HeartbeatTimeout
	case now >= d.until:
		l.endDrill(drillFailed, fmt.Sprintf("only %d of %d groups were at their failsafe limit in time", there, len(d.state.Groups)), now, wall)
	}
}
