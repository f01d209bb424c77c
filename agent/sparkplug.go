package agent

import (
	"lvagent/agent/outbox"
	"lvagent/agent/sparkplug"
	"lvagent/agent/uplink"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
)

// sparkplugKey is where the Sparkplug node's state is kept in the store.
const sparkplugKey = "sparkplug"

// retainers pass a retained message on to each session.
type retainers []*uplink.Uplink

// Retain hands it over; no session waits.
func (r retainers) Retain(topic string, payload []byte) {
	for _, u := range r {
		u.Retain(topic, payload)
	}
}

// Repeat has each session send all of them once more.
func (r retainers) Repeat() {
	for _, u := range r {
		u.Repeat()
	}
}

// buildEdge adds the Sparkplug session to what was configured for JSON, or takes
// its place.
func (a *Agent) buildEdge(cfg uplink.Config, deliver func(uplink.Inbound)) {
	c := a.site.Config
	cfg.ClientID, cfg.Selftest = c.SparkplugClient(), 0
	var box uplink.Outbox = a.box
	if c.Uplink.Payload == configs.PayloadBoth {
		box = a.box.Follow() // the JSON session proves
	} else {
		a.box.Unfollow()
	}
	a.edge = uplink.NewEdge(cfg, uplink.Edge{
		Node:    edgeNode(c),
		Kept:    func() []byte { return a.box.Get(sparkplugKey) },
		Keep:    func(b []byte) { a.box.Store(true, nil, outbox.Kept{Key: sparkplugKey, Value: b}) },
		Backlog: a.box.Backlog,
		Since:   a.now,
	}, box, deliver)
}

// edgeNode is what the site file makes of the Sparkplug node.
func edgeNode(c *configs.Config) sparkplug.Config {
	k := &c.Uplink.Sparkplug
	n := sparkplug.Config{
		Group: k.Group, Node: c.Site.ID, Version: Version, Host: k.Host, Issuer: k.Issuer,
		Volts: meter.Millivolts(configs.Milli(k.Volts)), Share: k.SparkplugShare(), Heartbeat: k.Heartbeat,
	}
	slowest := c.PollOf(&configs.Way{})
	add := func(w sparkplug.Way) {
		for _, r := range c.Rules(w.ID, w.Phases) {
			w.Alarms = append(w.Alarms, r.ID())
		}
		n.Ways = append(n.Ways, w)
	}
	for i := range c.Ways {
		w := &c.Ways[i]
		poll := c.PollOf(w)
		slowest = max(slowest, poll)
		way := sparkplug.Way{ID: w.ID, Phases: configs.PhaseSet(w.Phases), Hold: poll * 5 / 2}
		for p, amps := range w.Rating {
			way.Rating[p] = milliamps(configs.Milli(amps))
		}
		for _, g := range c.Groups {
			if g.Way == w.ID {
				way.Groups = append(way.Groups, g.ID)
			}
		}
		add(way)
	}
	if firm := c.Site.FirmCurrent(); firm > 0 {
		add(sparkplug.Way{ID: failsafe.TX, Phases: [meter.Phases]bool{true, true, true},
			Rating: [meter.Phases]milliamps{firm, firm, firm}, Hold: slowest * 5 / 2})
	}
	return n
}
