package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lvagent/agent/core"
	"lvagent/configs"
	"lvagent/failsafe"
)

// What is in the journal of a site with a few homes on a way goes after a day, as
// the flight recorder's does, also what was written before the file said so.
func TestJournalOfAFewHomesIsShort(t *testing.T) {
	for _, tt := range []struct {
		name      string
		customers int
		kept      bool
	}{{"many", 40, true}, {"few", 3, false}} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configs.Default()
			cfg.Buffer.Path = t.TempDir()
			cfg.Ways = []configs.Way{{ID: "W1", Customers: tt.customers}}
			now := time.Now()
			old := filepath.Join(JournalFolder(cfg.Buffer.Path), "steps-00000001.lvj")
			if err := os.MkdirAll(filepath.Dir(old), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(old, []byte("currents"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(old, now, now.Add(-25*time.Hour)); err != nil {
				t.Fatal(err)
			}
			a := &Agent{site: &Site{Config: &cfg}, log: slog.New(slog.DiscardHandler), wall: func() time.Time { return now }, loop: &core.Loop{}}
			a.journaled(&core.Options{}, failsafe.Config{Place: time.UTC}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := a.tape.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(old); (err == nil) != tt.kept {
				t.Errorf("after 25 h: %v", err)
			}
		})
	}
}
