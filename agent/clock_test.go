package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lvagent/meter"
)

// A battery that died in the night does not make the agent believe in last year,
// not even one that is told to assume its clock: the time of before the restart
// is in the failsafe state.
func TestTheFloorSurvivesARestart(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "site.yaml")
	text := fmt.Sprintf(`
site: {id: S1}
clock: {source: assume}
meters: [{id: m1, url: "tcp://127.0.0.1:1", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
uplink: {broker: "tcp://127.0.0.1:1"}
buffer: {path: %s}
`, filepath.Join(folder, "store"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(shift time.Duration) meter.Clock {
		site, faults := Prepare(file)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		a, err := New(site, Options{Log: slog.New(slog.DiscardHandler), Wall: func() time.Time { return time.Now().Add(shift).UTC() }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // starts, stores its state, and stops in order
		if err := a.Run(ctx); err != nil {
			t.Fatal(err)
		}
		return a.status.Clock
	}
	for _, tt := range []struct {
		name  string
		shift time.Duration
		want  meter.Clock
	}{
		{"first start", 0, meter.Assumed},
		{"last year", -365 * 24 * time.Hour, meter.Unsynced},
		{"still last year", -365 * 24 * time.Hour, meter.Unsynced},
		{"set right", time.Second, meter.Assumed},
	} {
		if got := start(tt.shift); got != tt.want {
			t.Errorf("%s: clock %v, want %v", tt.name, got, tt.want)
		}
	}
}
