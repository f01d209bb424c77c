package sparkplug

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvagent/meter"
)

// Retained takes one of the agent's retained messages by the end of its topic:
// they say the present state, and the births and the live metrics follow it.
// What has no metric is not looked at.
func (n *Node) Retained(name string, body []byte, wall time.Time) error {
	way, isAlarms := strings.CutPrefix(name, "alarmstate/")
	var err error
	switch {
	case isAlarms:
		err = n.alarmState(way, body)
	case name == "status":
		var s struct{ Clock string }
		if err = json.Unmarshal(body, &s); err == nil {
			n.node().set(clockName, text(wall, s.Clock))
		}
	case name == "failsafe":
		err = n.failsafe(body)
	case name == "groups":
		err = n.groups(body)
	}
	if err != nil {
		return fmt.Errorf("read retained %s: %w", name, err)
	}
	return nil
}

func (n *Node) failsafe(body []byte) error {
	var f struct {
		T     time.Time
		State string
		Ways  map[string]struct {
			State string
			Since time.Time
		}
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return err
	}
	n.node().set(stateName, text(f.T, f.State))
	for _, d := range n.devices[1:] {
		if w, ok := f.Ways[d.id]; ok {
			at := w.Since
			if at.IsZero() {
				at = f.T
			}
			d.set(stateName, text(at, w.State))
		}
	}
	return nil
}

// groups takes the limit in force of each group. It is the same on each of its
// phases.
func (n *Node) groups(body []byte) error {
	type flow map[string]struct{ Import *json.Number }
	var g struct {
		T      time.Time
		Groups map[string]struct {
			Way, State      string
			Limit, Feedback flow
		}
	}
	if err := json.Unmarshal(body, &g); err != nil {
		return err
	}
	amps := func(f flow) value {
		for p := range meter.Phase(meter.Phases) {
			if x, ok := f[p.String()]; ok && x.Import != nil {
				if milli, ok := thousandths(*x.Import); ok {
					return number(g.T, milli)
				}
			}
		}
		return value{at: g.T}
	}
	for id, s := range g.Groups {
		d := n.device(s.Way)
		if d == nil {
			continue
		}
		prefix := groupPrefix + id + "/"
		d.set(prefix+"Limit", amps(s.Limit))
		d.set(prefix+"Feedback", amps(s.Feedback))
		d.set(prefix+"State", text(g.T, s.State))
	}
	return nil
}

// alarmState takes the alarms of a way that are active now: each threshold is
// true since it was raised, or false.
func (n *Node) alarmState(way string, body []byte) error {
	var s struct {
		T      time.Time
		Alarms []struct {
			ID string
			T  time.Time
		}
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return err
	}
	d := n.wayOrNode(way)
	if d == nil {
		return nil
	}
	ids := make([]string, 0, len(s.Alarms))
	raised := map[string]time.Time{}
	for _, a := range s.Alarms {
		ids = append(ids, a.ID)
		raised[alarmName(way, a.ID)] = a.T
	}
	slices.Sort(ids)
	d.set(activeName, text(s.T, strings.Join(ids, ",")))
	for i := range d.metrics {
		m := &d.metrics[i]
		if !strings.HasPrefix(m.name, "Alarm/") {
			continue
		}
		at, is := raised[m.name]
		if !is {
			at = s.T
		}
		d.set(m.name, truth(at, is))
	}
	return nil
}

// siteWay stands for the substation itself in streams.
const siteWay = "_site"

func (n *Node) wayOrNode(way string) *device {
	if way == siteWay {
		return n.node()
	}
	return n.device(way)
}

// Backlog takes how many records wait.
func (n *Node) Backlog(records int, wall time.Time) {
	n.node().set(backlogName, number(wall, int64(records)))
}

// thousandths reads a decimal of our own JSON.
func thousandths(x json.Number) (int64, bool) {
	f, err := strconv.ParseFloat(string(x), 64)
	if err != nil || !(math.Abs(f) < 1e15) {
		return 0, false
	}
	return int64(math.Round(f * 1000)), true
}
