package core

import (
	"time"

	"lvagent/agent/message"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
)

// How setpoints go to charge-point operators, who take minutes to carry one out.
const (
	// raiseSetpoints is the shortest time between two raises: a ramp goes up by
	// whole amperes, and nobody carries each of them out.
	raiseSetpoints = time.Minute
	// confirmedFor is how long a confirmation counts: two of the quarters of an
	// hour in which operators report, and a little.
	confirmedFor = 35 * time.Minute
)

// operator is what a charge-point operator was told of one group.
type operator struct {
	group    int // of the site file
	lease    time.Duration
	latency  time.Duration
	fallback meter.Milliamps

	sent      bool
	limit     meter.Milliamps
	at        time.Duration // last sent
	since     time.Duration // when the limit came to be
	sinceWall time.Time
	confirmed time.Duration // when the operator last said that it holds it; 0: not since
	overdue   bool          // that was said to the engine
}

func newOperator(i int, g *configs.Group) *operator {
	if g.Output.Kind != "mqtt" {
		return nil
	}
	return &operator{group: i, lease: g.Output.Lease, latency: g.Output.Latency, fallback: g.LowestFailsafe()}
}

// tellOperators sends what changed, at once where it is lower; and all of it
// again in time before it expires.
func (l *Loop) tellOperators() {
	now := l.Now()
	for i := range l.outputs {
		o := &l.outputs[i]
		p := o.operator
		if p == nil {
			continue
		}
		lower, higher := !p.sent || o.want < p.limit, o.want > p.limit && now-p.at >= raiseSetpoints
		if lower || higher || now-p.at >= p.lease/3 {
			l.sendSetpoint(p, o.want, now)
		}
		due := p.since + p.latency
		if p.confirmed > 0 {
			due = p.confirmed + confirmedFor
		}
		if now >= due && !p.overdue {
			p.overdue = true
			l.step(failsafe.Inputs{Feedback: []failsafe.Feedback{{Group: o.group, Told: o.want}}})
		}
	}
}

// sendSetpoint retains a setpoint on its topic. What is not sent before it is
// replaced is never sent; one that waits for a broker is as old as it says.
func (l *Loop) sendSetpoint(p *operator, limit meter.Milliamps, now time.Duration) {
	wall := l.Wall()
	if !p.sent || limit != p.limit {
		p.since, p.sinceWall, p.confirmed, p.overdue = now, wall, 0, false
	}
	p.sent, p.limit, p.at = true, limit, now
	g, s := &l.Config.Groups[p.group], &l.State.Groups[p.group]
	l.Uplink.Retain(l.Topics.Setpoint(g.ID), message.AppendSetpoint(nil, l.agent, &message.Setpoint{
		Group: g.ID, Way: g.Way, T: wall, Since: p.sinceWall, Lease: p.lease, Phases: configs.PhaseSet(g.Phases),
		Limit: limit, Fallback: min(limit, p.fallback), Deciding: string(s.Rule), Command: s.Source,
	}))
}

// confirm takes what an operator says that it holds a group to. Lower or equal
// confirms; higher is disobedience only when it had its time.
func (l *Loop) confirm(r *message.GroupTelemetry) {
	if !r.Held {
		return
	}
	now := l.Now()
	for i := range l.outputs {
		o := &l.outputs[i]
		p := o.operator
		if p == nil || o.group != r.Group || !p.sent || r.T.Before(p.sinceWall) {
			continue
		}
		if r.Limit > p.limit && now-p.since < p.latency {
			continue
		}
		if r.Limit <= p.limit {
			p.confirmed, p.overdue = now, false
		}
		l.step(failsafe.Inputs{Feedback: []failsafe.Feedback{{Group: o.group, Told: p.limit, Limit: r.Limit, OK: true}}})
	}
}
