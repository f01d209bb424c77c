package alarm

import (
	"slices"
	"time"

	"lvagent/meter"
)

// State is what a machine must not lose when the agent stops, to be encoded as
// the caller likes. Store it in the same transaction as the edges that Add
// returned, so that each is told exactly once, and now and then for the peaks.
// Delays that have not run out are not in it, nor means that are not complete:
// they start anew.
type State struct {
	Way     string
	At      time.Time // wall time of the newest reading
	Active  []Standing
	Shelves []meter.Shelf `json:",omitempty"`
}

// Standing is an alarm that was raised and not cleared.
type Standing struct {
	Alarm   meter.Alarm
	Age     time.Duration // since its raise, at State.At
	Silent  bool          `json:",omitempty"` // it was not announced: it is shelved
	Latched bool          `json:",omitempty"` // it is over, and not acknowledged
}

// Empty reports whether there is nothing in it to remember.
func (s *State) Empty() bool { return len(s.Active)+len(s.Shelves) == 0 }

// State returns a copy of what the machine holds.
func (m *Machine) State() State {
	s := State{Way: m.cfg.Way, At: m.wall, Shelves: slices.Clone(m.shelves)}
	for i := range m.tracks {
		if t := &m.tracks[i]; t.stands() {
			s.Active = append(s.Active, Standing{Alarm: *t.alarm, Age: m.last - t.begun, Silent: t.silent, Latched: t.step == latched})
		}
	}
	return s
}

// Resume goes on from s after a restart at mono and wall. It is called once,
// right after New. What was active stays active, marked restored, and is not
// raised again. What nothing watches any longer is cleared, and a shelf that ran
// out meanwhile ends: those edges are returned. The state of another way is
// ignored.
func (m *Machine) Resume(s State, mono time.Duration, wall time.Time) []meter.Alarm {
	m.edges = m.edges[:0]
	if s.Way != m.cfg.Way {
		return m.edges
	}
	m.last, m.wall = mono, wall
	for _, shelf := range s.Shelves {
		if t := m.find(shelf.ID); t != nil {
			m.shelves = append(m.shelves, shelf)
			t.shelf, t.off = true, shelf.OutOfService
		}
	}
	// The wall clock is all there is to tell how long the agent was away. One
	// that was set back meanwhile must not shorten what was measured before.
	away := max(0, wall.Sub(s.At))
	for _, old := range s.Active {
		a := old.Alarm
		a.Edge, a.Restored = meter.Raise, true
		t := m.find(a.ID)
		if t == nil {
			if old.Silent {
				continue // nobody was told that it began
			}
			a.Edge, a.At, a.Duration = meter.Clear, wall, old.Age+away
			m.edges = append(m.edges, a)
			continue
		}
		a.Latch = t.rule.Latch
		t.step, t.alarm, t.silent = active, &a, old.Silent
		t.begun, t.turned = mono-old.Age-away, mono
		if old.Latched && a.Latch {
			t.step, t.apart = latched, true
		}
		m.note(t)
	}
	return m.edges
}
