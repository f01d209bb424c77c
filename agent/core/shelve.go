package core

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"lvagent/agent/message"
	"lvagent/failsafe"
	"lvagent/meter"
)

// The longest that an alarm may be shelved, and out of service. Both end by
// themselves: what is forgotten comes back.
const (
	mostShelved      = 7 * 24 * time.Hour
	mostOutOfService = 90 * 24 * time.Hour
)

// ShelveOrder is what somebody on site wants of an alarm.
type ShelveOrder struct {
	ID           string // of the alarm
	End          bool   // no longer shelved
	OutOfService bool
	For          time.Duration
	By, Why      string
}

// Shelve carries out an order of somebody on site.
func (l *Loop) Shelve(ctx context.Context, o ShelveOrder) (err error) {
	most := mostShelved
	if o.OutOfService {
		most = mostOutOfService
	}
	switch {
	case o.By == "" || o.Why == "":
		return fmt.Errorf("shelve %s: say who you are and why", o.ID)
	case !o.End && (o.For <= 0 || o.For > most):
		return fmt.Errorf("shelve %s: say for how long, up to %s, not %s", o.ID, most, o.For)
	}
	asked := l.Ask(ctx, func(l *Loop) { err = l.alarms.order(l, o) })
	if asked != nil {
		return asked
	}
	return err
}

// Ack acknowledges a latched alarm in the name of somebody on site.
func (l *Loop) Ack(ctx context.Context, id, by string) (err error) {
	if by == "" {
		return fmt.Errorf("acknowledge %s: say who you are", id)
	}
	asked := l.Ask(ctx, func(l *Loop) {
		if group, is := l.lockedGroup(id); is {
			err = l.endLockout(group, by)
			return
		}
		err = l.alarms.ack(l, id, by)
	})
	if asked != nil {
		return asked
	}
	return err
}

// conditionKinds are the conditions that are not a machine's.
var conditionKinds = []string{
	string(failsafe.NoStatement), string(failsafe.StateLost), actuatorUnreached, actuatorPermissive,
	failsafe.ActuatorFailed, failsafe.ActuatorDrift, failsafe.BackupFailed,
	failsafe.LocalControl, failsafe.CustomerOverride, inputUnreadable, "MAINS_FAIL", "BATTERY_LOW", "DOOR_OPEN", "INHIBIT",
	failsafe.LockoutName, storeFailing, storeReplaced, alarmFlood, thermalLimit, firmCapacity, failsafe.Uncontrollable, certificateExpiring, certificateDue,
}

func (a *alarms) order(l *Loop, o ShelveOrder) error {
	wall, now, way := l.Wall(), l.Now(), wayOf(o.ID)
	shelf := meter.Shelf{ID: o.ID, OutOfService: o.OutOfService, By: o.By, Why: o.Why, Since: wall, Until: wall.Add(o.For)}
	var edges []meter.Alarm
	done := false
	i, isWay := l.ways[way]
	if isWay {
		m := l.feeds[i].machine
		if o.End {
			edges, done = m.Unshelve(o.ID, wall)
		} else {
			edges, done = m.Shelve(shelf, now, wall)
		}
	}
	if !done && (isWay || way == siteWay) {
		edges, done = a.shelve(o, shelf, wall)
	}
	if !done {
		return fmt.Errorf("shelve %s: there is no such alarm, or no such shelf", o.ID)
	}
	l.Log.Warn("alarm shelved", "alarm", o.ID, "end", o.End, "out_of_service", o.OutOfService, "for", o.For.String(), "by", o.By, "why", o.Why)
	if a.tell(l, edges); len(edges) == 0 {
		l.Outbox.Store(true, nil, a.kept(l))
	}
	a.publish(l, way, wall)
	return nil
}

// shelve orders a condition that is not a machine's.
func (a *alarms) shelve(o ShelveOrder, shelf meter.Shelf, wall time.Time) (edges []meter.Alarm, done bool) {
	kind := o.ID[strings.LastIndexByte(o.ID, '.')+1:]
	was := a.shelved(o.ID)
	if known := slices.Contains(conditionKinds, kind) || a.holds(o.ID); !known || o.End && !was {
		return nil, false
	}
	a.shelves = slices.DeleteFunc(a.shelves, func(s meter.Shelf) bool { return s.ID == o.ID })
	if o.End {
		return a.announce(o.ID, wall), true
	}
	a.shelves = append(a.shelves, shelf)
	if i := indexOf(a.active, o.ID); i >= 0 && o.OutOfService {
		gone := a.active[i]
		a.active = slices.Delete(a.active, i, i+1)
		a.silent = append(a.silent, gone)
		gone.Edge, gone.Duration, gone.At, gone.OutOfService = meter.Clear, max(0, wall.Sub(gone.At)), wall, true
		edges = append(edges, gone)
	}
	return edges, true
}

func (a *alarms) shelved(id string) bool {
	return slices.ContainsFunc(a.shelves, func(s meter.Shelf) bool { return s.ID == id })
}

// announce returns the raise of a condition that began while it was shelved.
func (a *alarms) announce(id string, wall time.Time) []meter.Alarm {
	i := indexOf(a.silent, id)
	if i < 0 {
		return nil
	}
	raised := a.silent[i]
	a.silent = slices.Delete(a.silent, i, i+1)
	raised.At, raised.Restored = wall, false
	a.active = append(a.active, raised)
	return []meter.Alarm{raised}
}

// expire ends the shelves of conditions that are over.
func (a *alarms) expire(l *Loop, wall time.Time) {
	for i := 0; i < len(a.shelves); {
		s := a.shelves[i]
		if s.Until.After(wall) {
			i++
			continue
		}
		a.shelves = slices.Delete(a.shelves, i, i+1)
		if edges := a.announce(s.ID, wall); len(edges) > 0 {
			a.tell(l, edges)
		} else {
			l.Outbox.Store(true, nil, a.kept(l))
			a.publish(l, wayOf(s.ID), wall)
		}
	}
}

func (a *alarms) ack(l *Loop, id, by string) error {
	way := wayOf(id)
	if n := indexOf(a.active, id); n >= 0 && a.active[n].Kind == failsafe.ActuatorFailed {
		a.ackActuator(l, n, by)
		return nil
	}
	i, ok := l.ways[way]
	if !ok {
		return fmt.Errorf("acknowledge %s: there is no way %q", id, way)
	}
	edges, ok := l.feeds[i].machine.Ack(id, by, l.Now(), l.Wall())
	if !ok {
		return fmt.Errorf("acknowledge %s: it does not stand, or is none that latches", id)
	}
	l.Log.Info("alarm acknowledged", "alarm", id, "by", by)
	if a.tell(l, edges); len(edges) == 0 {
		l.Outbox.Store(true, nil, a.kept(l))
	}
	a.publish(l, way, l.Wall())
	return nil
}

// ackActuator tells the engine that somebody has seen to a failed actuator. It
// counts on it again, and the alarm ends, as soon as it obeys.
func (a *alarms) ackActuator(l *Loop, n int, by string) {
	x := &a.active[n]
	x.Acked = by
	id, wall := x.ID, l.Wall()
	l.Log.Info("alarm acknowledged", "alarm", id, "by", by)
	group := strings.TrimSuffix(strings.TrimPrefix(id, x.Way+"."), "."+x.Kind)
	l.step(failsafe.Inputs{Acknowledged: []string{group}})
	if a.holds(id) { // else its clear has said it
		l.Outbox.Store(true, nil, a.kept(l))
		a.publish(l, wayOf(id), wall)
	}
}

// acknowledge carries out cmd/ack for an alarm that latches. It lifts no restriction, so who
// may send commands may send this; a repeated one changes nothing.
func (l *Loop) acknowledge(c *message.Command, body *message.Acknowledge) {
	if !l.admitted(c) {
		return
	}
	if err := l.alarms.ack(l, body.Alarm, cmp.Or(body.By, c.Issuer)); err != nil {
		l.conclude(c, message.Rejected, "NO_TARGET", err.Error())
		return
	}
	l.conclude(c, message.Completed, "", "")
}
