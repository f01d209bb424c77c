package agent

import (
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"
)

// R12: a machine that lost its supply finds its groups waiting; one that was
// stopped in order, or whose agent alone died, does not.
func TestAMachineThatWasStartedAnew(t *testing.T) {
	engine := failsafe.NewEngine(failsafe.Config{
		Site: "S1", Ways: []failsafe.Way{{ID: "W1", Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}}},
		Groups: []failsafe.Group{{ID: "G1", Way: "W1", Phases: [3]bool{true}, Rating: 32_000, Failsafe: 6_000}},
		Timers: failsafe.DefaultTimers(),
	})
	now := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, before, host string
		stopped            bool
		waits              bool
	}{
		{"agent alone died", "a", "a", false, false},
		{"machine died", "a", "b", false, true},
		{"machine stopped in order", "a", "b", true, false},
		{"state of a version that did not know", "", "b", false, false},
		{"no name for the run", "a", "", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := engine.New(0, now, false)
			old.Host, old.Stopped = tt.before, tt.stopped
			state := (&journal.Start{Old: &old, Wall: now, Clock: meter.Synced, Host: tt.host}).State(engine)
			if waits := state.Groups[0].Restart.Event != ""; waits != tt.waits || state.Host != tt.host {
				t.Errorf("waits %v on %q, want %v on %q", waits, state.Host, tt.waits, tt.host)
			}
		})
	}
}
