package core

import (
	"encoding/json"
	"slices"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/failsafe"
	"lvagent/meter"
)

// siteWay stands for the substation itself in topics and records.
const siteWay = "_site"

// alarmsKey is where the active alarms are kept in the store.
const alarmsKey = "alarms"

// alarms are those that are active. Each has exactly one raise and one clear,
// also across a restart.
type alarms struct {
	active []meter.Alarm
}

// resume takes up the alarms that were active. A condition of the failsafe
// engine is cleared: it is raised anew if it still holds.
func (a *alarms) resume(l *Loop, wall time.Time) {
	if body := l.Outbox.Get(alarmsKey); body != nil {
		if err := json.Unmarshal(body, &a.active); err != nil {
			l.Log.Error("active alarms not resumed", "err", err)
			a.active = nil
		}
	}
	for _, was := range slices.Clone(a.active) {
		if was.Quantity == "" {
			was.Restored = true
			a.clear(l, was, wall)
		}
	}
	for _, w := range l.Config.Ways {
		a.publish(l, w.ID, wall)
	}
	a.publish(l, siteWay, wall)
	if l.State.Lost {
		a.condition(l, failsafe.Condition{Kind: string(failsafe.StateLost), Edge: meter.Raise}, wall)
	}
}

// condition raises or clears the alarm of a condition without a threshold.
func (a *alarms) condition(l *Loop, c failsafe.Condition, wall time.Time) {
	way := c.Way
	if way == "" {
		way = siteWay
	}
	id := way + "." + c.Kind
	if c.Group != "" {
		id = way + "." + c.Group + "." + c.Kind
	}
	severity := meter.Major
	if c.Kind == string(failsafe.NoStatement) {
		severity = meter.Warning
	}
	alarm := meter.Alarm{ID: id, Way: way, Kind: c.Kind, Edge: c.Edge, At: wall, Severity: severity}
	i := slices.IndexFunc(a.active, func(x meter.Alarm) bool { return x.ID == id })
	switch {
	case c.Edge == meter.Raise && i < 0:
		a.active = append(a.active, alarm)
		a.tell(l, alarm)
		l.Log.Warn("alarm raised", "alarm", id)
	case c.Edge == meter.Clear && i >= 0:
		a.clear(l, a.active[i], wall)
	}
}

func (a *alarms) clear(l *Loop, alarm meter.Alarm, wall time.Time) {
	a.active = slices.DeleteFunc(a.active, func(x meter.Alarm) bool { return x.ID == alarm.ID })
	alarm.Edge, alarm.Duration, alarm.At = meter.Clear, wall.Sub(alarm.At), wall
	a.tell(l, alarm)
	l.Log.Info("alarm cleared", "alarm", alarm.ID)
}

// tell stores the edge and the list of active alarms in one commit, so that a
// restart knows which raises still want their clear.
func (a *alarms) tell(l *Loop, alarm meter.Alarm) {
	active, err := json.Marshal(a.active)
	if err != nil {
		l.Log.Error("active alarms not kept", "err", err)
	}
	l.Outbox.Store(true, []outbox.Record{{Stream: message.AlarmStream(alarm.Way), At: alarm.At,
		Body: message.AppendAlarm(nil, l.agent, &alarm)}}, outbox.Kept{Key: alarmsKey, Value: active})
	a.publish(l, alarm.Way, alarm.At)
}

// publish retains what is active on a way now.
func (a *alarms) publish(l *Loop, way string, wall time.Time) {
	var here []meter.Alarm
	for _, x := range a.active {
		if x.Way == way {
			here = append(here, x)
		}
	}
	l.Uplink.Retain(l.Topics.AlarmState(way), message.AppendAlarmState(nil, l.agent, way, wall, here))
}
