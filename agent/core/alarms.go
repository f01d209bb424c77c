package core

import (
	"encoding/json"
	"slices"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/failsafe"
	"lvagent/meter"
	"lvagent/meter/alarm"
)

// siteWay stands for the substation itself in topics and records.
const siteWay = "_site"

// alarmsKey is where the active alarms are kept in the store.
const alarmsKey = "alarms"

// alarms are the conditions that are active and have no threshold; those with
// one are in the feeds' machines. Each has exactly one raise and one clear, also
// across a restart.
type alarms struct {
	active []meter.Alarm
}

// keptAlarms is what must not be forgotten: which raises still want their clear.
type keptAlarms struct {
	Conditions []meter.Alarm
	Machines   []alarm.State
}

// resume takes up the alarms that were active. A condition is cleared: it is
// raised anew if it still holds.
func (a *alarms) resume(l *Loop, now time.Duration, wall time.Time) {
	var kept keptAlarms
	if body := l.Outbox.Get(alarmsKey); body != nil {
		if err := json.Unmarshal(body, &kept); err != nil {
			l.Log.Error("active alarms not resumed", "err", err)
			kept = keptAlarms{}
		}
	}
	for i := range l.feeds {
		f := &l.feeds[i]
		for _, s := range kept.Machines {
			a.edges(l, f.machine.Resume(s, now, wall))
		}
	}
	a.active = kept.Conditions
	for _, was := range kept.Conditions {
		was.Restored = true
		a.clear(l, was, wall)
	}
	a.publishAll(l, wall)
	if l.State.Lost {
		a.condition(l, failsafe.Condition{Kind: string(failsafe.StateLost), Edge: meter.Raise}, wall)
	}
}

// Conditions of the store (R2): it does not take records, or a broken one was
// set aside at start. The second stands until somebody has looked and restarted.
const (
	storeFailing  = "STORE_FAILING"
	storeReplaced = "STORE_REPLACED"
)

// watchStore raises and clears the conditions of the store.
func (l *Loop) watchStore(wall time.Time) {
	h := l.Outbox.Health()
	edge := meter.Clear
	if h.Failing != "" {
		edge = meter.Raise
	}
	l.alarms.condition(l, failsafe.Condition{Kind: storeFailing, Edge: edge}, wall)
	if h.Replaced != "" {
		l.alarms.condition(l, failsafe.Condition{Kind: storeReplaced, Edge: meter.Raise}, wall)
	}
}

// edges tells of alarms that a reading raised or cleared.
func (a *alarms) edges(l *Loop, edges []meter.Alarm) {
	for i := range edges {
		a.tell(l, &edges[i])
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
	i := slices.IndexFunc(a.active, func(x meter.Alarm) bool { return x.ID == id })
	switch {
	case c.Edge == meter.Raise && i < 0:
		raised := meter.Alarm{ID: id, Way: way, Kind: c.Kind, Edge: c.Edge, At: wall, Severity: severity}
		a.active = append(a.active, raised)
		a.tell(l, &raised)
	case c.Edge == meter.Clear && i >= 0:
		a.clear(l, a.active[i], wall)
	}
}

func (a *alarms) clear(l *Loop, was meter.Alarm, wall time.Time) {
	a.active = slices.DeleteFunc(slices.Clone(a.active), func(x meter.Alarm) bool { return x.ID == was.ID })
	was.Edge, was.Duration, was.At = meter.Clear, wall.Sub(was.At), wall
	a.tell(l, &was)
}

// tell stores an edge with what is active after it, in one commit.
func (a *alarms) tell(l *Loop, edge *meter.Alarm) {
	if edge.Edge == meter.Raise {
		l.Log.Warn("alarm raised", "alarm", edge.ID)
	} else {
		l.Log.Info("alarm cleared", "alarm", edge.ID)
	}
	l.Outbox.Store(true, []outbox.Record{{Stream: message.AlarmStream(edge.Way), At: edge.At,
		Body: message.AppendAlarm(nil, l.agent, edge)}}, a.kept(l))
	a.publish(l, edge.Way, edge.At)
}

func (a *alarms) kept(l *Loop) outbox.Kept {
	kept := keptAlarms{Conditions: a.active}
	for i := range l.feeds {
		if s := l.feeds[i].machine.State(); len(s.Active) > 0 {
			kept.Machines = append(kept.Machines, s)
		}
	}
	body, err := json.Marshal(kept)
	if err != nil {
		l.Log.Error("active alarms not kept", "err", err)
	}
	return outbox.Kept{Key: alarmsKey, Value: body}
}

// list returns the alarms of a way that are active now.
func (a *alarms) list(l *Loop, way string) (here []meter.Alarm) {
	for _, x := range a.active {
		if x.Way == way {
			here = append(here, x)
		}
	}
	if i, ok := l.ways[way]; ok {
		here = l.feeds[i].machine.Active(here)
	}
	return here
}

// publish retains what is active on a way now.
func (a *alarms) publish(l *Loop, way string, wall time.Time) {
	l.Uplink.Retain(l.Topics.AlarmState(way), message.AppendAlarmState(nil, l.agent, way, wall, a.list(l, way)))
}

func (a *alarms) publishAll(l *Loop, wall time.Time) {
	for i := range l.feeds {
		a.publish(l, l.feeds[i].id, wall)
	}
	a.publish(l, siteWay, wall)
}
