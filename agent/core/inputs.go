package core

import (
	"slices"
	"time"

	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
)

// Conditions of the digital inputs, by role; the others are the engine's.
var inputConditions = map[string]string{
	configs.InputMains: "MAINS_FAIL", configs.InputBattery: "BATTERY_LOW", configs.InputDoor: "DOOR_OPEN", configs.InputInhibit: "INHIBIT",
}

// inputUnreadable is the condition of an input that can't be read. It is then
// taken to mean what only restricts.
const inputUnreadable = "INPUT_UNREADABLE"

// digital is what a digital input last said.
type digital struct {
	configs.Input
	read, readable, active bool
}

// means reports whether the input has to be taken as active: it is, or nobody can
// tell. One that was not read yet since the start means nothing: what it would
// restrict is not raised meanwhile.
func (d *digital) means() bool { return d.read && (d.active || !d.readable) }

// inputEvent is a change of an input.
type inputEvent struct {
	id               string
	active, readable bool
}

// inputs are the digital inputs, and what they mean to the engine.
type inputs struct {
	all       []digital
	events    chan inputEvent
	position  failsafe.Switch
	mainsLost bool
	inhibits  []string
	customers []string
}

func (l *Loop) buildInputs() {
	l.inputs.events = make(chan inputEvent, 4*len(l.Config.Site.Inputs)+4)
	for _, c := range l.Config.Site.Inputs {
		l.inputs.all = append(l.inputs.all, digital{Input: c})
	}
	l.inputs.judge()
}

// Input hands over what an input says since now: whether it is active, and
// whether it can be read at all.
func (l *Loop) Input(id string, active, readable bool) {
	l.inputs.events <- inputEvent{id, active, readable}
}

// takeInput takes a change of an input at once: Local must count before the next
// command does.
func (l *Loop) takeInput(e inputEvent, wall time.Time) {
	i := slices.IndexFunc(l.inputs.all, func(d digital) bool { return d.ID == e.id })
	if i < 0 {
		return
	}
	d := &l.inputs.all[i]
	d.read, d.readable, d.active = true, e.readable, e.active
	l.inputs.judge()
	edge := func(is bool) meter.Edge {
		if is {
			return meter.Raise
		}
		return meter.Clear
	}
	l.alarms.condition(l, failsafe.Condition{Group: d.ID, Kind: inputUnreadable, Edge: edge(!d.readable)}, wall)
	if kind, is := inputConditions[d.Role]; is && d.readable {
		l.alarms.condition(l, failsafe.Condition{Group: d.ID, Kind: kind, Edge: edge(d.active)}, wall)
	}
	p := meter.HealthPoint{ID: "input/" + d.ID, State: meter.HealthOK, Detail: d.Role + " inactive"}
	switch {
	case !d.readable:
		p.State, p.Code, p.Detail = meter.HealthFault, inputUnreadable, d.Role+" taken as active"
	case d.active:
		p.Detail = d.Role + " active"
		if kind, is := inputConditions[d.Role]; is {
			p.State, p.Code = meter.HealthDegraded, kind
		}
	}
	l.SetHealth(p)
	l.dirty = true
	l.Log.Info("digital input", "input", d.ID, "role", d.Role, "active", d.active, "readable", d.readable)
	l.step(failsafe.Inputs{})
}

// judge works out what the inputs mean to the engine.
func (x *inputs) judge() {
	x.position, x.mainsLost, x.inhibits, x.customers = failsafe.Remote, false, nil, nil
	for i := range x.all {
		d := &x.all[i]
		switch {
		case !d.read || d.Role == configs.InputLocal && !d.readable:
			x.position = max(x.position, failsafe.Undefined)
		case d.Role == configs.InputLocal && d.active && x.position == failsafe.Remote:
			x.position = failsafe.Local
		}
		switch {
		case !d.means():
		case d.Role == configs.InputMains:
			x.mainsLost = true
		case d.Role == configs.InputInhibit:
			x.inhibits = append(x.inhibits, d.Groups...)
		case d.Role == configs.InputCustomer:
			x.customers = append(x.customers, d.Groups...)
		}
	}
}
