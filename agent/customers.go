package agent

import (
	"context"
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
