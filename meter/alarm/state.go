package alarm

import (
	"slices"
	"time"

	"lvagent/meter"
)

// State is what a machine must not lose when the agent stops, to be encoded as
// the caller likes. Store it in the same transaction as the edges that Add
// returned, so that each is told exactly once, and now and then for the peaks.
// Delays that have not run out are not in it: they start anew.
type State struct {
	Way    string
	At     time.Time // wall time of the newest reading
	Active []Standing
}

// Standing is an alarm that was raised and not cleared.
type Standing struct {
	Alarm meter.Alarm
	Age   time.Duration // since its raise, at State.At
}

// State returns a copy of what the machine holds.
func (m *Machine) State() State {
	s := State{Way: m.cfg.Way, At: m.wall}
	for i := range m.tracks {
		if t := &m.tracks[i]; t.stands() {
			s.Active = append(s.Active, Standing{Alarm: t.alarm, Age: m.last - t.begun})
		}
	}
	return s
}

// Resume goes on from s after a restart at mono and wall. It is called once,
// right after New. What was active stays active, marked restored, and is not
// raised again. What nothing watches any longer is cleared: those edges are
// returned. The state of another way is ignored.
func (m *Machine) Resume(s State, mono time.Duration, wall time.Time) []meter.Alarm {
	m.edges = m.edges[:0]
	if s.Way != m.cfg.Way {
		return m.edges
	}
	m.last, m.wall = mono, wall
	// The wall clock is all there is to tell how long the agent was away. One
	// that was set back meanwhile must not shorten what was measured before.
	away := max(0, wall.Sub(s.At))
	for _, old := range s.Active {
		a := old.Alarm
		a.Edge, a.Restored = meter.Raise, true
		i := slices.IndexFunc(m.tracks, func(t track) bool { return t.alarm.ID == a.ID })
		if i < 0 {
			a.Edge, a.At, a.Duration = meter.Clear, wall, old.Age+away
			m.edges = append(m.edges, a)
			continue
		}
		t := &m.tracks[i]
		t.step, t.alarm = active, a
		t.begun = mono - old.Age - away
	}
	return m.edges
}
