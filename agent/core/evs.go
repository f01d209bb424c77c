package core

import (
	"time"

	"lvagent/agent/message"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
	"lvagent/meter/ev"
)

// reportedFor is how long what a third party said of a group's current counts:
// it comes every quarter of an hour.
const reportedFor = 30 * time.Minute

// buildEVs makes a detector for each way of which something may be told (R6). For
// the others there is none: what was never computed cannot be asked for (R16).
func (l *Loop) buildEVs(now time.Duration) {
	l.evAt = now - tellCapacity + time.Minute
	l.evs = make([]*ev.Detector, len(l.Config.Ways))
	for i := range l.Config.Ways {
		w := &l.Config.Ways[i]
		if l.Config.EV.Enabled && !w.IsIncomer() && l.Config.ChargingOf(w) == meter.Followed {
			l.evs[i] = &ev.Detector{}
		}
	}
}

// followEVs feeds a reading to the way's detector, if it has one. While the way
// is not supplied as usual it says nothing of the cars on it.
func (l *Loop) followEVs(i int, r *meter.Reading) {
	if i >= len(l.evs) || l.evs[i] == nil {
		return
	}
	if _, abnormal := l.topologyOf(r.Way); abnormal {
		l.evs[i].Forget()
		return
	}
	l.evs[i].Add(r)
}

// tickEVs publishes what is known now and then.
func (l *Loop) tickEVs(now time.Duration) {
	if !l.Config.EV.Enabled || now-l.evAt < tellCapacity {
		return
	}
	l.evAt = now
	l.Uplink.Retain(l.Topics.Charging(), l.charging())
}

// charging is what is known of electric vehicles on each way, as JSON.
func (l *Loop) charging() []byte {
	var ways []meter.Charging
	for i := range l.Config.Ways {
		w := &l.Config.Ways[i]
		if !l.Config.EV.Enabled || w.IsIncomer() {
			continue
		}
		c := meter.Charging{Way: w.ID, State: l.Config.ChargingOf(w)}
		if !c.State.Withheld() {
			l.chargingOn(i, &c)
		}
		ways = append(ways, c)
	}
	return message.AppendCharging(nil, l.agent, l.Wall(), ways)
}

// chargingOn fills in what is known of a way of which something may be told.
func (l *Loop) chargingOn(i int, c *meter.Charging) {
	now := l.Now()
	way := ev.Way{Phases: configs.PhaseSet(l.Config.Ways[i].Phases)}
	load := &l.loads[i]
	for p, has := range way.Phases {
		way.Import[p] = load.I[p]
		way.Measured[p] = has && load.Quality[p] == meter.Good && now-load.At <= l.Config.PollOf(&l.Config.Ways[i])*5/2
	}
	var transformer *meter.Capacity
	if l.transformer != nil {
		t := l.loading[len(l.loading)-1].Capacity(nil)
		transformer = &t
	}
	capacity := l.loading[i].Capacity(nil)
	for p, has := range capacity.Phase {
		if has == nil || !has.Known {
			continue
		}
		free := has.Free
		if transformer != nil {
			t := transformer.Phase[p]
			if t == nil || !t.Known {
				continue // what the transformer carries is not known
			}
			free = min(free, t.Free)
		}
		way.Headroom[p] = &free
	}
	var groups []ev.Group
	for k := range l.Config.Groups {
		g, s := &l.Config.Groups[k], &l.State.Groups[k]
		if g.Way != c.Way {
			continue
		}
		one := ev.Group{Limit: s.Limit, Obeys: s.Actuation == failsafe.Confirmed || s.Actuation == failsafe.Restricted}
		one.ID, one.Phases, one.Rating, one.Connectors = g.ID, configs.PhaseSet(g.Phases), meter.Milliamps(configs.Milli(g.Rating)), g.Connectors
		if said, age, known := l.Reported(g.ID); known && age <= reportedFor {
			one.Stated = true
			for p, on := range one.Phases {
				i := said.Phase[p].I
				one.Stated = one.Stated && (!on || i.Quality != meter.Missing)
				one.Drawn[p] = i.Value
			}
		}
		groups, c.Groups = append(groups, one), append(c.Groups, one.ChargingGroup)
	}
	c.Phase = ev.Loads(&way, groups)
	if d := l.evs[i]; d != nil {
		if since, begun := d.Since(); begun {
			c.Since = l.Wall().Add(since - now)
		}
		d.Estimate(&c.Phase)
	}
}
