package core

import (
	"encoding/json"
	"time"

	"lvagent/failsafe/journal"
)

// grain is the time in which the engine is told things: a finer one would be
// written down for nothing.
const grain = time.Millisecond

// moment is now, as the engine is told it. The wall time has no monotonic part:
// a clock that was stepped must show.
func (l *Loop) moment() (now time.Duration, wall time.Time) {
	return l.Now().Truncate(grain), l.Wall().UTC().Truncate(grain)
}

// beginJournal writes down what the run goes on from.
func (l *Loop) beginJournal() {
	if l.Journal == nil {
		return
	}
	l.writeKey()
	l.Started.Start = nil
}

// writeKey writes down the state that the next step begins with.
func (l *Loop) writeKey() {
	k := l.Started
	k.Agent, k.Boot, k.Config, k.Version = l.agent, l.Status.Boot, l.Status.Config, l.Status.Version
	k.Next, k.State = l.stepped, l.State
	ramps, err := json.Marshal(&l.audit.ramps)
	if err == nil {
		k.Ramps = ramps
		err = l.Journal.Key(&k)
	}
	if err != nil {
		l.Log.Error("state not written to the journal", "err", err)
	}
}

// writeStep writes down a step, and the state behind it where the journal asks
// for it.
func (l *Loop) writeStep(s *journal.Step) {
	s.N = l.stepped
	l.stepped++
	if l.Journal != nil && l.Journal.Step(s) {
		l.writeKey()
	}
}
