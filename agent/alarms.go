package agent

import (
	"context"
	"fmt"
	"time"

	"lvagent/agent/core"
	"lvagent/agent/socket"
)

// Shelve answers lvagent shelve.
func (a *Agent) Shelve(ctx context.Context, o socket.Shelve) error {
	order := core.ShelveOrder{ID: o.Alarm, End: o.End, OutOfService: o.OutOfService, By: o.By, Why: o.Why}
	if o.For != "" {
		d, err := time.ParseDuration(o.For)
		if err != nil {
			return fmt.Errorf("shelve %s: %w", o.Alarm, err)
		}
		order.For = d
	}
	return a.loop.Shelve(ctx, order)
}

// Ack answers lvagent ack.
func (a *Agent) Ack(ctx context.Context, o socket.Ack) error {
	return a.loop.Ack(ctx, o.Alarm, o.By)
}

// Topology answers lvagent topology.
func (a *Agent) Topology(ctx context.Context, o socket.Topology) error {
	var d time.Duration
	if o.For != "" {
		var err error
		if d, err = time.ParseDuration(o.For); err != nil {
			return fmt.Errorf("topology of %s: %w", o.Way, err)
		}
	}
	return a.loop.SetTopology(ctx, core.Topology{Way: o.Way, State: o.State, By: o.By, Why: o.Why}, d)
}
