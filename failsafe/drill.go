package failsafe

import "lvagent/meter"

// DecidedDrill is the begin or the end of a rehearsal of a loss of the centre.
const DecidedDrill DecisionKind = "drill"

// Reaction is what happened in a drill, and how long after the last heartbeat that
// was let through.
type Reaction struct {
	Way   string          `json:"way,omitempty"`
	Group string          `json:"group,omitempty"`
	What  string          `json:"what"` // the way's state, or the rule of the group's limit
	Limit meter.Milliamps `json:"ma"`
	After int64           `json:"after_ms"`
}

// DrillDecision is the record of a drill.
func DrillDecision(by, why, state, reason string, reactions []Reaction) Decision {
	d := Decision{Kind: DecidedDrill, By: clip(by), Why: clip(why), To: state, Rule: clip(reason)}
	d.Reactions, d.Omitted = first(reactions, mostRanks)
	return d
}
