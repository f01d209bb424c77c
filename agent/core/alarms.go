package core

import (
	"encoding/json"
	"slices"
	"strings"
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

// alarms are the conditions that are active and are not a machine's; those with
// a threshold, or of the readings, are in the feeds' machines. Each has exactly
// one raise and one clear, also across a restart.
type alarms struct {
	active  []meter.Alarm
	silent  []meter.Alarm // hold, and were not announced: they are shelved
	shelves []meter.Shelf // of conditions

	doubtful []string // active since before the restart, and not confirmed since
	doubtEnd time.Duration

	flood alarm.Flood
}

// keptAlarms is what must not be forgotten: which raises still want their clear,
// and what a person shelved.
type keptAlarms struct {
	Conditions []meter.Alarm
	Machines   []alarm.State
	Silent     []meter.Alarm `json:",omitempty"`
	Shelves    []meter.Shelf `json:",omitempty"`
}

// confirmWithin is how long a condition that stood before a restart may stand
// without being raised again by whoever sees it. That is longer than the engine
// needs to find each of them anew.
const confirmWithin = 10 * time.Minute

// resume takes up the alarms that were active. They are announced on the
// retained topic only. What belongs to a way or a threshold that the site file
// does not have any more is cleared.
func (a *alarms) resume(l *Loop, now time.Duration, wall time.Time) {
	a.flood.Most, a.flood.Within = l.Config.Nuisance.FloodRaises, l.Config.Nuisance.FloodWithin
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
		for _, name := range alarm.Conditions() {
			gone.Watch(name).Disabled = true
		}
		m, err := alarm.New(gone, nil)
		if err != nil {
			l.Log.Error("alarms of a way that is gone not cleared", "way", s.Way, "err", err)
			continue
		}
		clears = append(clears, m.Resume(s, now, wall)...)
	}
	for _, was := range kept.Conditions {
		was.Restored = true
		a.active = append(a.active, was)
		a.doubtful = append(a.doubtful, was.ID)
	}
	a.silent, a.shelves = kept.Silent, kept.Shelves
	for _, was := range kept.Silent {
		a.doubtful = append(a.doubtful, was.ID)
	}
	a.doubtEnd = now + confirmWithin
	a.tell(l, clears)
	a.publishAll(l, wall)
	if l.State.Lost {
		a.condition(l, failsafe.Condition{Kind: string(failsafe.StateLost), Edge: meter.Raise}, wall)
	}
}

// tick does what only time brings about.
func (a *alarms) tick(l *Loop, now time.Duration, wall time.Time) {
	for i := range l.feeds {
		m := l.feeds[i].machine
		a.tell(l, m.Tick(now, wall))
		a.tell(l, m.Expire(wall))
		if m.Changed() {
			a.publish(l, l.feeds[i].id, wall)
		}
	}
	a.expire(l, wall)
	if len(a.doubtful) > 0 && now >= a.doubtEnd {
		for _, id := range a.doubtful {
			a.over(l, id, wall)
		}
		a.doubtful = nil
	}
	edge := meter.Clear
	if _, on := a.flood.On(now); on {
		edge = meter.Raise
	}
	a.condition(l, failsafe.Condition{Kind: alarmFlood, Edge: edge}, wall)
}

// tell stores edges with what is active after them, in one commit: a crash must
// neither repeat one nor forget one.
func (a *alarms) tell(l *Loop, edges []meter.Alarm) {
	if len(edges) == 0 {
		return
	}
	records := make([]outbox.Record, 0, len(edges))
	looked := "" // the way that is read again: once is enough for all that one reading raised
	for i := range edges {
		e := &edges[i]
		if e.Edge == meter.Raise {
			e.Flood = e.Severity > meter.Event && e.Kind != alarmFlood && a.flood.Raise(l.Now())
			l.Log.Warn("alarm raised", "alarm", e.ID)
			if e.Way != looked && l.lookAgain(e) {
				looked = e.Way
			}
		} else {
			l.Log.Info("alarm cleared", "alarm", e.ID)
		}
		if l.Points != nil {
			l.Points.Mark(e)
		}
		records = append(records, outbox.Record{Stream: message.AlarmStream(e.Way), At: e.At,
			Body: message.AppendAlarm(nil, l.agent, e)})
	}
	l.Outbox.Store(true, records, a.kept(l))
	for i := range edges {
		if l.Points != nil {
			l.Points.Alarm(&edges[i])
		}
		a.publish(l, edges[i].Way, edges[i].At)
	}
}

// lookAgain has the way of a raise read at once, besides its ticks: whoever is told
// of it soon has a second reading. Where the raise says that readings are missing or
// not believed, another one tells no more. It reports whether it asked.
func (l *Loop) lookAgain(e *meter.Alarm) bool {
	ofReadings := e.Quantity != "" || slices.Contains(alarm.Conditions(), e.Kind)
	if l.Reread == nil || e.Severity <= meter.Event || !ofReadings {
		return false
	}
	switch e.Kind {
	case alarm.StaleReadings, alarm.FrozenReadings, alarm.MeasurementFault:
		return false
	}
	l.Reread(e.Way)
	return true
}

func (a *alarms) kept(l *Loop) outbox.Kept {
	kept := keptAlarms{Conditions: a.active, Silent: a.silent, Shelves: a.shelves}
	for i := range l.feeds {
		if s := l.feeds[i].machine.State(); !s.Empty() {
			kept.Machines = append(kept.Machines, s)
		}
	}
	body, err := json.Marshal(kept)
	if err != nil {
		l.Log.Error("active alarms not kept", "err", err)
	}
	return outbox.Kept{Key: alarmsKey, Value: body}
}

// list returns the alarms of a way that are active now, and what is shelved.
func (a *alarms) list(l *Loop, way string) (here []meter.Alarm, shelved []meter.Shelf) {
	for _, x := range a.active {
		if x.Way == way {
			here = append(here, x)
		}
	}
	for _, s := range a.shelves {
		if s.Standing = a.holds(s.ID); wayOf(s.ID) == way {
			shelved = append(shelved, s)
		}
	}
	if i, ok := l.ways[way]; ok {
		here = l.feeds[i].machine.Active(here)
		shelved = l.feeds[i].machine.Shelves(shelved)
	}
	return here, shelved
}

// wayOf returns the way of an alarm by its id.
func wayOf(id string) string {
	way, _, _ := strings.Cut(id, ".")
	return way
}

// publish retains what is active on a way now.
func (a *alarms) publish(l *Loop, way string, wall time.Time) {
	active, shelved := a.list(l, way)
	if l.Points != nil {
		for i := range active {
			l.Points.Mark(&active[i])
		}
	}
	l.Uplink.Retain(l.Topics.AlarmState(way), message.AppendAlarmState(nil, l.agent, way, wall, active, shelved))
}

func (a *alarms) publishAll(l *Loop, wall time.Time) {
	for i := range l.feeds {
		a.publish(l, l.feeds[i].id, wall)
	}
	a.publish(l, siteWay, wall)
}

func indexOf(all []meter.Alarm, id string) int {
	return slices.IndexFunc(all, func(x meter.Alarm) bool { return x.ID == id })
}

// showAlarms shows masters on DNP3 what stood when the agent was started.
func (l *Loop) showAlarms() {
	if l.Points == nil {
		return
	}
	for _, way := range append(l.feedIDs(), siteWay) {
		active, _ := l.alarms.list(l, way)
		for i := range active {
			a := active[i]
			a.Edge = meter.Raise
			l.Points.Alarm(&a)
		}
	}
}
