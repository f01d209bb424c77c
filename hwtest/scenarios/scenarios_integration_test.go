//go:build integration

package scenarios_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"lvagent/hwtest/play"
	"lvagent/hwtest/report"
	"lvagent/hwtest/scenarios"
)

type listener struct{ t *testing.T }

func (l listener) Said(name, what string) {}

func (l listener) Ended(r *play.Result) {
	l.t.Logf("%s %s in %.1f s", r.Scenario.Name, report.Word(r), r.Took.Seconds())
}

// tail returns the end of a file.
func tail(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	return string(text[max(0, len(text)-4000):])
}

// Every scenario holds against the agent that make build made of this tree.
func TestScenarios(t *testing.T) {
	all, faults := scenarios.All()
	for _, f := range faults {
		t.Fatal(f)
	}
	rig := play.Loopback()
	rig.Agent, rig.Parallel = filepath.Join("..", "..", "bin", "lvagent"), 8
	version, err := rig.Check(t.Context())
	if err != nil {
		t.Fatalf("%v; make build makes it", err)
	}
	if faults, err = play.CheckSites(t.Context(), &rig, all); err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	began := time.Now()
	folder := t.TempDir()
	results, err := play.Run(t.Context(), &rig, all, folder, listener{t})
	if err != nil {
		t.Fatal(err)
	}
	s := report.Summarise(results, version, folder, time.Since(began))
	if s.Failed > 0 || s.Broken > 0 {
		t.Error(s.Text())
	}
	for _, r := range results {
		if !r.Passed() && r.Broken == nil {
			t.Logf("%s: the agent's log:\n%s", r.Scenario.Name, tail(t, filepath.Join(r.Folder, "agent.log")))
		}
	}
	t.Logf("%d scenarios in %.0f s", len(results), s.Seconds)
}
