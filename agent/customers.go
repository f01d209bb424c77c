package agent

import (
	"context"
	"encoding/json"
	"errors"

	"lvagent/agent/socket"
)

// OptOut answers lvagent optout.
func (a *Agent) OptOut(ctx context.Context, o socket.OptOut) (socket.Answer, error) {
	if o.By == "" {
		return socket.Answer{}, errors.New("optout: say who you are")
	}
	ack, err := a.loop.OptOut(ctx, o.Group, o.Event, o.By)
	if err != nil {
		return socket.Answer{}, err
	}
	a.log.Info("opt-out on site", "group", o.Group, "command", o.Event, "stage", string(ack.Stage), "code", string(ack.Code))
	return socket.Answer{ID: ack.ID, Stage: string(ack.Stage), Code: string(ack.Code), Groups: ack.Groups}, nil
}

// AddSupplyPoints answers lvagent mpan add.
func (a *Agent) AddSupplyPoints(ctx context.Context, o socket.SupplyPoints) error {
	return a.loop.AddSupplyPoints(ctx, o.Group, o.Numbers)
}

// SupplyPoints answers lvagent mpan list.
func (a *Agent) SupplyPoints(ctx context.Context) ([]byte, error) {
	views, err := a.loop.SupplyPoints(ctx)
	if err != nil {
		return nil, err
	}
	return json.Marshal(views)
}

// EraseSupplyPoints answers lvagent mpan erase.
func (a *Agent) EraseSupplyPoints(ctx context.Context, o socket.SupplyPoints) (int, error) {
	return a.loop.EraseSupplyPoints(ctx, o.Group, o.Numbers, o.All)
}
