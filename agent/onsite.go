package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"lvagent/agent/core"
	"lvagent/agent/outbox"
	"lvagent/agent/poll"
	"lvagent/agent/socket"
	"lvagent/agent/uplink"
	"lvagent/configs"
	"lvagent/failsafe"
)

// Status is the state of the agent for people on site.
type Status struct {
	core.View
	Version string        `json:"version"`
	Boot    string        `json:"boot"`
	Since   time.Time     `json:"since"`
	Uplink  uplink.State  `json:"uplink"`
	Expires *time.Time    `json:"certificate_expires"` // null: no certificate is in use
	Backlog int           `json:"backlog"`
	Store   outbox.Health `json:"store"`
	Buses   []poll.Stats  `json:"buses"`
	Meters  []MeterView   `json:"meters"`
	Counts  core.Counts   `json:"counts"`
	Wear    Wear          `json:"wear"`
}

// store is the health of what is stored, records and failsafe state.
func (a *Agent) store() outbox.Health {
	h := a.box.Health()
	if h.Failing == "" {
		h.Failing = a.saver.Failing()
	}
	return h
}

// Status answers lvagent status.
func (a *Agent) Status(ctx context.Context) ([]byte, error) {
	view, err := a.loop.View(ctx)
	if err != nil {
		return nil, err
	}
	s := Status{
		View: view, Version: Version, Boot: a.status.Boot, Since: a.status.Since, Uplink: a.link.State(),
		Backlog: a.box.Backlog(), Store: a.store(), Counts: a.loop.Counts(), Wear: a.wear(), Meters: a.site.meters(),
	}
	if at := a.expires(); !at.IsZero() {
		s.Expires = &at
	}
	for _, b := range a.buses {
		s.Buses = append(s.Buses, b.Stats())
	}
	return json.Marshal(s)
}

// Report answers lvagent pq and the like.
func (a *Agent) Report(ctx context.Context, name string) ([]byte, error) {
	return a.loop.Report(ctx, name)
}

// Override answers lvagent override.
func (a *Agent) Override(ctx context.Context, o socket.Override) (socket.Answer, error) {
	kind, ok := failsafe.ParseOverrideKind(o.Kind)
	if !ok {
		return socket.Answer{}, fmt.Errorf("override: kind %q is none of hold_off, limit, release, clear", o.Kind)
	}
	if o.By == "" || o.Why == "" {
		return socket.Answer{}, fmt.Errorf("override: say who you are and why")
	}
	c := failsafe.OverrideCommand{Target: failsafe.Target{Way: o.Target}, Kind: kind, By: o.By, Why: o.Why}
	if kind == failsafe.LimitTo {
		c.Amount = failsafe.Amount{Unit: failsafe.Amps, Value: configs.Milli(o.Amps)}
	}
	if o.For != "" {
		d, err := time.ParseDuration(o.For)
		if err != nil {
			return socket.Answer{}, fmt.Errorf("override: %w", err)
		}
		c.For = d
	}
	ack, err := a.loop.Override(ctx, c)
	if err != nil {
		return socket.Answer{}, err
	}
	a.log.Warn("override on site", "target", o.Target, "kind", o.Kind, "by", o.By, "why", o.Why, "stage", string(ack.Stage), "code", string(ack.Code))
	return socket.Answer{ID: ack.ID, Stage: string(ack.Stage), Code: string(ack.Code), Groups: ack.Groups}, nil
}
