package alarm

import (
	"slices"
	"time"

	"lvagent/meter"
)

// Shelve stops announcing an alarm until s.Until (wall time), or stops watching
// it. One that stands and is shelved stays as it was told, and its clear is told;
// one that stands and is taken out of service is cleared. It reports false for
// an alarm that the machine does not have.
//
// Shelving hides an alarm from people, never from the engine: [Machine.Stands]
// goes on telling the truth. What is out of service is not known any longer.
func (m *Machine) Shelve(s meter.Shelf, now time.Duration, wall time.Time) ([]meter.Alarm, bool) {
	m.edges = m.edges[:0]
	t := m.find(s.ID)
	if t == nil {
		return m.edges, false
	}
	m.shelves = slices.DeleteFunc(m.shelves, func(x meter.Shelf) bool { return x.ID == s.ID })
	m.shelves = append(m.shelves, s)
	t.shelf, t.off = true, s.OutOfService
	if t.off {
		if t.stands() {
			t.alarm.OutOfService = true
			m.clear(t, t.alarm.Value, now, wall)
		}
		t.step = normal
	}
	return m.edges, true
}

// Unshelve ends the shelf of an alarm. One that began meanwhile and still stands
// is announced now. It reports false where there is no such shelf.
func (m *Machine) Unshelve(id string, wall time.Time) ([]meter.Alarm, bool) {
	m.edges = m.edges[:0]
	return m.edges, m.unshelve(id, wall)
}

func (m *Machine) unshelve(id string, wall time.Time) bool {
	n := len(m.shelves)
	m.shelves = slices.DeleteFunc(m.shelves, func(x meter.Shelf) bool { return x.ID == id })
	if t := m.find(id); t != nil {
		t.shelf, t.off = false, false
		if t.stands() && t.silent {
			t.silent = false
			t.alarm.At = wall // when it was told; its duration counts from when it began
			m.edges = append(m.edges, *t.alarm)
		}
	}
	return len(m.shelves) < n
}

// Expire ends the shelves that are over at wall.
func (m *Machine) Expire(wall time.Time) []meter.Alarm {
	m.edges = m.edges[:0]
	for i := 0; i < len(m.shelves); {
		if m.shelves[i].Until.After(wall) {
			i++
			continue
		}
		m.unshelve(m.shelves[i].ID, wall)
	}
	return m.edges
}

// Shelves appends what is shelved now.
func (m *Machine) Shelves(dst []meter.Shelf) []meter.Shelf {
	for _, s := range m.shelves {
		t := m.find(s.ID)
		s.Standing = t != nil && t.stands()
		dst = append(dst, s)
	}
	return dst
}
