package core

import (
	"context"
	"slices"
	"time"

	"lvagent/agent/audit"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"
)

// output is what the loop knows of one group's actuator, or of the contact that
// stands in for it.
type output struct {
	group  string
	backup bool
	apply  Output
	// operator is set where a charge-point operator carries the limit out; there is
	// no apply then.
	operator *operator
	want     meter.Milliamps // may be carried out
	raise    meter.Milliamps // waits for its state to be stored, where after > 0
	after    uint64
	told     meter.Milliamps // the last one that was started
	ever     bool
	fails    int
	again    time.Duration // not before this, after a failure
	due      bool          // to be written again although nothing changed
	wrote    time.Duration
}

// setpoint takes a new limit: at once when it is lower than what may be carried
// out, after the state is stored when it is higher.
func (l *Loop) setpoint(s failsafe.Setpoint) {
	for i := range l.outputs {
		o := &l.outputs[i]
		if o.group != s.Group || o.backup != s.Backup {
			continue
		}
		if s.Limit <= o.want {
			o.want, o.after = s.Limit, 0
		} else {
			o.raise, o.after = s.Limit, l.version
		}
	}
}

// buildOutputs makes the outputs: first one for each group, in their order, then
// the contacts that stand in.
func (l *Loop) buildOutputs() {
	for i, g := range l.Config.Groups {
		o := output{group: g.ID, operator: newOperator(i, &g), want: l.State.Groups[i].Limit}
		if o.operator == nil {
			o.apply = l.Outputs[g.ID]
		}
		l.outputs = append(l.outputs, o)
	}
	for i, g := range l.Config.Groups {
		apply := l.Backups[g.ID]
		if apply == nil {
			continue
		}
		o := output{group: g.ID, backup: true, apply: apply}
		if l.State.Groups[i].Backup.Closed {
			o.want = meter.Milliamps(configs.Milli(g.Rating))
		}
		l.outputs = append(l.outputs, o)
	}
}

// commit lets a raise pass whose state is stored.
func (o *output) commit(saved uint64) {
	if o.after > 0 && saved >= o.after {
		o.want, o.after = o.raise, 0
	}
}

// actuate tells the actuators what changed. What is not written yet when it
// changes again is never written.
func (l *Loop) actuate() {
	now := l.Now()
	for i := range l.outputs {
		o := &l.outputs[i]
		changed := !o.ever || o.want != o.told
		if o.apply == nil || !changed && !o.due {
			continue
		}
		if now < o.again && !(o.ever && o.want < o.told) {
			continue
		}
		o.told, o.ever, o.due, o.wrote = o.want, true, false, now
		if !o.apply(o.group, o.want) {
			l.takeFeedback(failsafe.Feedback{Group: o.group, Backup: o.backup, Told: o.want})
		}
	}
}

// takeFeedback passes an actuator's answer to the engine.
func (l *Loop) takeFeedback(f failsafe.Feedback) {
	for i := range l.outputs {
		o := &l.outputs[i]
		if o.group != f.Group || o.backup != f.Backup {
			continue
		}
		if f.OK && f.Limit <= f.Told {
			o.fails, o.again = 0, 0
		} else {
			pause := min(retryOutput<<min(o.fails, 8), retryOutputMost)
			o.fails++
			o.again, o.due = l.Now()+pause, true
		}
	}
	l.step(failsafe.Inputs{Feedback: []failsafe.Feedback{f}})
}

// refresh writes and reads back every output now and then, so that a controller
// that was power-cycled does not stay at what it woke up with.
func (l *Loop) refresh(now time.Duration) {
	for i := range l.outputs {
		if o := &l.outputs[i]; o.ever && now-o.wrote >= refreshOutputs {
			o.due = true
		}
	}
}

// stop brings each output to the stricter of its limit and its failsafe limit,
// waits for the answers a short time, and stores the state.
func (l *Loop) stop() {
	l.keepWindows(nil, l.Now())
	l.keepLoading(l.Wall(), l.Clock().Clock)
	now, wall := l.moment()
	if l.drill != nil {
		l.endDrill(drillAborted, "the agent stops", now, wall)
	}
	l.tickAudit(now, wall, true)
	state, rest := l.Engine.Stop(l.State, now, wall)
	l.State = state
	clock := l.Clock().Clock
	first, records := l.recordAt(append(l.audit.ramps.Rest(), failsafe.InForce(failsafe.DecidedStop, l.State, rest)),
		audit.Moment{Wall: wall, Mono: now, Clock: clock.String()})
	l.writeStep(&journal.Step{Stop: true, Now: now, Wall: wall, In: failsafe.Inputs{Clock: clock}, First: first, Records: records})
	for i, s := range rest {
		o := &l.outputs[i]
		o.want, o.after, o.again = min(s.Limit, o.want), 0, 0
	}
	l.publishStop(rest)
	l.tellOperators()
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	resting := make([]bool, len(l.outputs))
	for i := range l.outputs {
		if o := &l.outputs[i]; o.apply == nil || !o.apply(o.group, o.want) {
			resting[i] = true // nothing to wait for
		}
	}
	for slices.Contains(resting, false) {
		select {
		case <-ctx.Done():
			l.Log.Error("outputs not all at rest", "within", stopWithin.String())
			l.save()
			return
		case f := <-l.feedback:
			for i := range l.outputs {
				if o := &l.outputs[i]; o.group == f.Group && o.backup == f.Backup && (f.Told == o.want || !f.OK) {
					resting[i] = true
				}
			}
		}
	}
	l.save()
}
