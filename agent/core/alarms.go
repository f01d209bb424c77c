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
// raised anew if it still holds. So is what belongs to a way or a threshold that
// the site file does not have any more.
func (a *alarms) resume(l *Loop, now time.Duration, wall time.Time) {
	var kept keptAlarms
	if body := l.Outbox.Get(alarmsKey); body != nil {
		if err := json.Unmarshal(body, &kept); err != nil {
			l.Log.Error("active alarms not resumed", "err", err)
			kept = keptAlarms{}
		}
	}
	var clears []meter.Alarm
	for _, s := range kept.Machines {
		if i, ok := l.ways[s.Way]; ok {
			clears = append(clears, l.feeds[i].machine.Resume(s, now, wall)...)
			continue
		}
		gone := alarm.Config{Way: s.Way}
		gone.Fuse.Disabled, gone.Supply.Disabled, gone.Export.Disabled = true, true, true
		m, err := alarm.New(gone, nil)
		if err != nil {
			l.Log.Error("alarms of a way that is gone not cleared", "way", s.Way, "err", err)
			continue
		}
		clears = append(clears, m.Resume(s, now, wall)...)
	}
	for _, was := range kept.Conditions {
		was.Restored = true
		clears = append(clears, cleared(was, wall))
	}
	a.tell(l, clears)
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
	if c.Kind == string(failsafe.NoStatement) || c.Kind == certificateExpiring {
		severity = meter.Warning
	}
	i := slices.IndexFunc(a.active, func(x meter.Alarm) bool { return x.ID == id })
	switch {
	case c.Edge == meter.Raise && i < 0:
		raised := meter.Alarm{ID: id, Way: way, Kind: c.Kind, Edge: c.Edge, At: wall, Severity: severity}
		a.active = append(a.active, raised)
		a.tell(l, []meter.Alarm{raised})
	case c.Edge == meter.Clear && i >= 0:
		was := a.active[i]
		a.active = slices.Delete(slices.Clone(a.active), i, i+1)
		a.tell(l, []meter.Alarm{cleared(was, wall)})
	}
}

func cleared(was meter.Alarm, wall time.Time) meter.Alarm {
	was.Edge, was.Duration, was.At = meter.Clear, wall.Sub(was.At), wall
	return was
}

// tell stores edges with what is active after them, in one commit: a crash must
// neither repeat one nor forget one.
func (a *alarms) tell(l *Loop, edges []meter.Alarm) {
	if len(edges) == 0 {
		return
	}
	records := make([]outbox.Record, 0, len(edges))
	for i := range edges {
		e := &edges[i]
		if e.Edge == meter.Raise {
			l.Log.Warn("alarm raised", "alarm", e.ID)
		} else {
			l.Log.Info("alarm cleared", "alarm", e.ID)
		}
		records = append(records, outbox.Record{Stream: message.AlarmStream(e.Way), At: e.At,
			Body: message.AppendAlarm(nil, l.agent, e)})
	}
	l.Outbox.Store(true, records, a.kept(l))
	for i := range edges {
		a.publish(l, edges[i].Way, edges[i].At)
	}
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
