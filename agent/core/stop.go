package core

import (
	"lvagent/agent/message"
	"lvagent/failsafe"
)

// Stopping is the state of every way while the agent stops in order.
const Stopping = "STOPPING"

// RuleRest is what decides then: the stricter of the limit in force and the lowest
// failsafe limit, since nobody is left to follow a profile.
const RuleRest failsafe.Rule = "rest state at the stop"

// publishStop says, before the outputs are brought to rest, what they are brought
// to. The stored state keeps the limits that were in force, so that a short stop
// goes on where it was.
func (l *Loop) publishStop(rest []failsafe.Setpoint) {
	l.stopping = true
	wall := l.Wall()
	states := l.groupStates()
	for i, s := range rest {
		limit := s.Limit
		for p := range states[i].Limit {
			if states[i].Limit[p] != nil {
				states[i].Limit[p].Import = &limit
			}
		}
		states[i].Deciding, states[i].Command, states[i].Ends = string(RuleRest), "", "the agent's start"
	}
	l.Status.State = message.Stopping
	l.Uplink.Retain(l.Topics.Status(), message.AppendStatus(nil, l.agent, &l.Status))
	l.Uplink.Retain(l.Topics.Failsafe(), message.AppendFailsafe(nil, l.agent, l.failsafeState(wall)))
	l.Uplink.Retain(l.Topics.Groups(), message.AppendGroups(nil, l.agent, wall, states))
}
