package agent

import (
	"context"
	"encoding/json"

	"lvagent/agent/core"
)

// Drill answers lvagent drill.
func (a *Agent) Drill(ctx context.Context, by, why string) ([]byte, error) {
	return drilled(a.loop.StartDrill(ctx, by, why))
}

// DrillStop answers lvagent drill --stop.
func (a *Agent) DrillStop(ctx context.Context) ([]byte, error) { return drilled(a.loop.StopDrill(ctx)) }

// LastDrill answers lvagent drill --last.
func (a *Agent) LastDrill(ctx context.Context) ([]byte, error) { return drilled(a.loop.LastDrill(ctx)) }

func drilled(d core.Drill, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(&d)
}
