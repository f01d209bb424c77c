package core

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"lvagent/agent/message"
	"lvagent/meter"
)

// health is the one table of how each part of the agent does. What the parts
// say waits in told until the loop takes it: the last word of each part counts,
// however often it speaks, so that nothing has to be dropped.
type health struct {
	mu   sync.Mutex
	told []meter.HealthPoint // one for each part that spoke since the last look
	wake chan struct{}

	points []meter.HealthPoint // by id; owned by the loop
	said   bool                // published once
}

// SetHealth says how a part of the agent does. Any goroutine may call it; it
// never blocks. The ids come from the configuration, so there are few. Since is
// set by the loop.
func (l *Loop) SetHealth(p meter.HealthPoint) {
	h := &l.health
	h.mu.Lock()
	i := slices.IndexFunc(h.told, func(x meter.HealthPoint) bool { return x.ID == p.ID })
	if i < 0 {
		h.told = append(h.told, p)
	} else {
		h.told[i] = p
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default: // it is awake already
	}
}

// takeHealth takes what the parts said into the table and publishes the table
// when it changed.
func (l *Loop) takeHealth(wall time.Time) {
	h := &l.health
	h.mu.Lock()
	changed := !h.said
	for i := range h.told {
		changed = h.take(&h.told[i], wall, l) || changed
	}
	h.told = h.told[:0]
	h.mu.Unlock()
	if changed {
		h.said = true
		l.Uplink.Retain(l.Topics.Health(), message.AppendHealth(nil, l.agent, wall, h.points))
	}
}

// take sets one point and reports whether it says something new.
func (h *health) take(p *meter.HealthPoint, wall time.Time, l *Loop) bool {
	at, known := slices.BinarySearchFunc(h.points, p.ID, func(x meter.HealthPoint, id string) int { return cmp.Compare(x.ID, id) })
	if !known {
		h.points = slices.Insert(h.points, at, meter.HealthPoint{ID: p.ID, State: meter.HealthOK, Since: wall})
	}
	was := h.points[at]
	now := *p
	now.Since = was.Since
	if now.State != was.State || now.Code != was.Code {
		now.Since = wall
		if now.State == meter.HealthOK {
			l.Log.Info("health restored", "point", now.ID)
		} else {
			l.Log.Warn("health changed", "point", now.ID, "state", now.State.String(), "code", now.Code, "detail", now.Detail)
		}
	}
	h.points[at] = now
	return !known || now != was
}
