package core

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"lvagent/agent/message"
	"lvagent/failsafe"
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
	faults []fault             // of meters and buses
}

// fault is what may become an alarm: something is wrong with a part that only a
// person can put right.
type fault struct {
	point string
	code  string // empty: well
	since time.Duration
	told  bool // since then
}

// Points of health are named after what they are of.
const (
	meterPoint = "meter/"
	busPoint   = "bus/"
)

// MeterPoint is the id of a meter's health point.
func MeterPoint(id string) string { return meterPoint + id }

// BusPoint is the id of a bus's health point.
func BusPoint(name string) string { return busPoint + name }

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

// Codes of health points that are alarms by themselves. What a silent meter or a
// frozen one means for its way is an alarm of the way.
var alarmCodes = []string{"BUS_DOWN", "BUS_SILENT", "METER_MISMATCH"}

// watchHealth raises an alarm for a part that stays faulty, and clears it when
// the part stays well.
func (l *Loop) watchHealth(now time.Duration, wall time.Time) {
	h := &l.health
	for i := range h.points {
		p := &h.points[i]
		if !strings.HasPrefix(p.ID, meterPoint) && !strings.HasPrefix(p.ID, busPoint) {
			continue
		}
		at := slices.IndexFunc(h.faults, func(f fault) bool { return f.point == p.ID })
		if at < 0 {
			at = len(h.faults)
			h.faults = append(h.faults, fault{point: p.ID, since: now})
		}
		f, code := &h.faults[at], ""
		if p.State == meter.HealthFault && slices.Contains(alarmCodes, p.Code) {
			code = p.Code
		}
		if code != f.code {
			f.code, f.since, f.told = code, now, false
		}
		delay := l.Config.Health.OnDelay
		if code == "" {
			delay = l.Config.Health.OffDelay
		}
		if f.told || now-f.since < delay {
			continue
		}
		f.told = true
		for _, kind := range alarmCodes { // one fault may follow another
			if kind != code {
				l.alarms.condition(l, l.conditionOf(p.ID, kind, meter.Clear), wall)
			}
		}
		if code != "" {
			l.alarms.condition(l, l.conditionOf(p.ID, code, meter.Raise), wall)
		}
	}
}

// conditionOf is the condition of a faulty part: of the way that a meter
// measures, or of the substation, with the part's name in its id.
func (l *Loop) conditionOf(point, kind string, edge meter.Edge) failsafe.Condition {
	c := failsafe.Condition{Kind: kind, Edge: edge}
	id, isMeter := strings.CutPrefix(point, meterPoint)
	if !isMeter {
		c.Group = strings.TrimPrefix(point, busPoint)
		return c
	}
	for _, w := range l.Config.Ways {
		if w.Meter != id {
			continue
		}
		if c.Way != "" { // it measures several
			c.Way, c.Group = "", id
			return c
		}
		c.Way = w.ID
	}
	return c
}
