package agent

import (
	"log/slog"
	"os"
	"strings"

	"lvagent/failsafe"
)

// hostRun names the run of this machine: the kernel draws another at each boot.
// Empty where there is none; then nobody can tell.
func hostRun() string {
	body, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(body))
}

// onHost notes on which run of the machine the state goes on. When the machine was
// started anew and the agent had not been stopped in order, its supply was lost,
// as far as anybody knows, and with it the groups': they wait for their restart.
func onHost(engine *failsafe.Engine, state, old failsafe.State, host string, log *slog.Logger) failsafe.State {
	if old.Host != "" && host != "" && old.Host != host && !old.Stopped {
		log.Warn("machine was started anew without a stop in order; groups wait as after a loss of supply", "stored", old.Wall)
		state = engine.Repowered(state, "boot "+host)
	}
	state.Host = host
	return state
}
