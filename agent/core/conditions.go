package core

import (
	"slices"
	"strings"
	"time"

	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
)

// Conditions of the store (R2): it does not take records or the failsafe state,
// without which no limit is raised, or a broken one was
// set aside at start. The second stands until somebody has looked and restarted.
const (
	storeFailing  = "STORE_FAILING"
	storeReplaced = "STORE_REPLACED"
)

// Conditions of the engine about an actuator.
const (
	actuatorUnreached  = "ACTUATOR_UNREACHED"
	actuatorPermissive = "ACTUATOR_PERMISSIVE"
)

// alarmFlood is raised while more alarms come than anybody can read.
const alarmFlood = "ALARM_FLOOD"

// watchStore raises and clears the conditions of the store.
func (l *Loop) watchStore(wall time.Time) {
	h := l.Outbox.Health()
	edge := meter.Clear
	if h.Failing != "" || l.Saver.Failing() != "" {
		edge = meter.Raise
	}
	l.alarms.condition(l, failsafe.Condition{Kind: storeFailing, Edge: edge}, wall)
	edge = meter.Clear
	if h.Replaced != "" {
		edge = meter.Raise
	}
	l.alarms.condition(l, failsafe.Condition{Kind: storeReplaced, Edge: edge}, wall)
}

// condition raises or clears the alarm of a condition without a threshold. One
// that holds already is only confirmed.
func (a *alarms) condition(l *Loop, c failsafe.Condition, wall time.Time) {
	way := c.Way
	if way == "" {
		way = siteWay
	}
	id := way + "." + c.Kind
	if c.Group != "" {
		id = way + "." + c.Group + "." + c.Kind
	}
	if len(a.doubtful) > 0 {
		a.doubtful = slices.DeleteFunc(a.doubtful, func(x string) bool { return x == id })
	}
	if c.Edge == meter.Clear {
		a.over(l, id, wall)
		return
	}
	if a.holds(id) {
		return
	}
	severity := meter.Major
	switch c.Kind {
	case string(failsafe.NoStatement), failsafe.LimitEnding, failsafe.BelowGuarantee, profileOld, alarmFlood, certificateExpiring,
		failsafe.ActuatorDrift, failsafe.LocalControl, failsafe.CustomerOverride, inputConditions[configs.InputDoor]:
		severity = meter.Warning
	}
	raised := meter.Alarm{ID: id, Way: way, Kind: c.Kind, Edge: meter.Raise, At: wall, Severity: severity, Raises: 1,
		Latch: c.Kind == failsafe.ActuatorFailed}
	if phase, kind, is := strings.Cut(c.Kind, "."); is { // one of a phase
		raised.Phase, raised.Kind = phase, kind
	}
	if a.shelved(id) {
		a.silent = append(a.silent, raised)
		return
	}
	a.active = append(a.active, raised)
	a.tell(l, []meter.Alarm{raised})
}

// holds reports whether a condition holds, announced or not.
func (a *alarms) holds(id string) bool {
	return indexOf(a.active, id) >= 0 || indexOf(a.silent, id) >= 0
}

// over ends a condition, with its clear where it was announced.
func (a *alarms) over(l *Loop, id string, wall time.Time) {
	if i := indexOf(a.silent, id); i >= 0 {
		a.silent = slices.Delete(a.silent, i, i+1)
	}
	i := indexOf(a.active, id)
	if i < 0 {
		return
	}
	was := a.active[i]
	a.active = slices.Delete(a.active, i, i+1)
	was.Edge, was.Duration, was.At = meter.Clear, max(0, wall.Sub(was.At)), wall
	if was.Kind == alarmFlood {
		was.Raises, _ = a.flood.On(l.Now())
	}
	a.tell(l, []meter.Alarm{was})
}

// dispelAll ends what stood before the restart and is plainly over: the engine,
// which has forgotten it, would not say so.
func (a *alarms) dispelAll(l *Loop, moved []failsafe.Transition, answers []failsafe.Feedback, wall time.Time) {
	if len(a.doubtful) == 0 {
		return
	}
	dispel := func(id string) {
		if i := slices.Index(a.doubtful, id); i >= 0 {
			a.doubtful = slices.Delete(a.doubtful, i, i+1)
			a.over(l, id, wall)
		}
	}
	for _, t := range moved {
		if t.To == failsafe.Free || t.To == failsafe.Limited || t.To == failsafe.Restoring {
			dispel(t.Way + "." + string(failsafe.NoStatement))
		}
	}
	for _, f := range answers {
		for i := range l.Config.Groups {
			if g := &l.Config.Groups[i]; g.ID == f.Group && f.OK && f.Limit <= f.Told {
				dispel(g.Way + "." + g.ID + "." + actuatorUnreached)
				dispel(g.Way + "." + g.ID + "." + actuatorPermissive)
			}
		}
	}
}
