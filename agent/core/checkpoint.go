package core

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"lvagent/failsafe"
)

// How often states are kept that nobody waits for. Each time wears the flash, and
// each is worth what a crash would otherwise forget:
//
//   - the open periods: with two minutes and a quick restart a crash leaves a
//     half-hour a coverage above 90 %, which is not INVALID;
//   - a limit that runs, or a wait for a restart: how much is left of it, so that it ends within a minute
//     of its time after a restart with a wrong clock;
//   - heartbeats alone: their numbers, so that none of them can be used again.
const (
	checkpointWindows = 2 * time.Minute
	checkpointLimits  = 30 * time.Second
	checkpointState   = time.Minute
	checkpointBeats   = 15 * time.Minute
)

// checkpoint keeps the failsafe state if it is time to.
func (l *Loop) checkpoint(now time.Duration) {
	limited := slices.ContainsFunc(l.State.Commands, func(c failsafe.Command) bool { return c.End > 0 })
	limited = limited || len(l.State.Holds) > 0 ||
		slices.ContainsFunc(l.State.Groups, func(g failsafe.GroupState) bool { return g.Restart.Event != "" })
	switch since := now - l.savedAt; {
	case since >= checkpointBeats, limited && since >= checkpointLimits:
		l.save()
	case now-l.comparedAt >= checkpointState:
		l.comparedAt = now
		if !bytes.Equal(substance(l.State), l.substance) {
			l.save()
		}
	}
}

// heatStep is how much a conductor's heat must have changed to be worth keeping:
// a twentieth of what it may have.
const heatStep = 50_000_000

// substance is what of the state a crash must not forget for longer than a
// minute: not what changes by itself while nothing happens.
func substance(s failsafe.State) []byte {
	s.Mono, s.Wall, s.Floor, s.Heard, s.Beats, s.Tokens = 0, time.Time{}, time.Time{}, 0, nil, nil
	s.Rotated, s.Accounted = 0, 0
	s.Audit = failsafe.AuditHead{} // kept with each record
	groups := s.Groups
	s.Groups = make([]failsafe.GroupState, len(groups))
	for i, g := range groups {
		s.Groups[i] = failsafe.GroupState{ID: g.ID, Limit: g.Limit, Rule: g.Rule, Source: g.Source, Actuation: g.Actuation, Capped: g.Capped, Cap: g.Cap, Paused: g.Paused}
	}
	constraints := s.Constraints
	s.Constraints = make([]failsafe.Constraint, len(constraints))
	for i, c := range constraints {
		s.Constraints[i] = failsafe.Constraint{Way: c.Way, Phase: c.Phase, Above: c.Above, Bound: c.Bound, Helpless: c.Helpless, Theta: c.Theta / heatStep}
	}
	body, err := json.Marshal(s)
	if err != nil {
		return nil // it is saved then, and that says what is wrong
	}
	return body
}
