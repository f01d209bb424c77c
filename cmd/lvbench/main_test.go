package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvagent/hwtest"
)

func TestExitCodes(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	faulty := filepath.Join(t.TempDir(), "faulty.yaml")
	text := "promise: x\nrequirements: [R7]\nsteps:\n  - when: {hartbeats: false}\n    then: [{within: 2s, agent: running}]\n"
	if err := os.WriteFile(faulty, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		want string // on stdout or stderr
	}{
		{"help", []string{"demo", "--help"}, exitHeld, "lvbench demo --for 2m"},
		{"an unknown flag", []string{"demo", "--fro", "1m"}, exitRig, "unknown flag: --fro"},
		{"an unknown command", []string{"dmeo"}, exitRig, "unknown command"},
		{"an argument too many", []string{"demo", "now"}, exitRig, "unknown command \"now\""},
		{"too short", []string{"demo", "--for", "10s"}, exitRig, "need at least 40s"},
		{"a bare number", []string{"demo", "--for", "60"}, exitRig, "missing unit"},
		{"no agent anywhere", []string{"demo"}, exitRig, "run `make build`"},
		{"an agent that is not there", []string{"demo", "--agent", "/nonexistent"}, exitRig, "/nonexistent"},
		{"a broker with TLS", []string{"demo", "--broker", "ssl://x:8883"}, exitRig, "without TLS"},
		{"a scenario that is not there", []string{"run", "failsave"}, exitRig, "no scenario or theme"},
		{"a scenario with faults", []string{"run", faulty, "--agent", "/bin/true"}, exitRig, faulty + ":4: steps[0].when.hartbeats: unknown key (did you mean \"heartbeats\"?)"},
		{"a scenario without an agent", []string{"run", "failsafe", "--agent", "/nonexistent"}, exitRig, "does not run on this rig"},
		{"a rig that is not there", []string{"run", "--rig", "/nonexistent"}, exitRig, "read rig"},
		{"the list", []string{"list"}, exitHeld, "failsafe/silence-holds-every-group"},
		{"a program that is no agent", []string{"demo", "--agent", "/bin/false"}, exitRig, "agent ended by itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), func() {}, tt.args, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String()+stderr.String(), tt.want) {
				t.Errorf("exit %d, want %d with %q\nstdout %s\nstderr %s", code, tt.code, tt.want, &stdout, &stderr)
			}
		})
	}
}

// A pipe that nobody reads any more ends the run, so that it cleans up.
func TestLinesStopTheRunWhenNobodyReads(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := &lines{to: closedPipe{}, stop: cancel}
	l.Logf("hello")
	if ctx.Err() == nil {
		t.Error("the run goes on")
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestSummaryReadsWell(t *testing.T) {
	var b bytes.Buffer
	s := 4.6
	l := &lines{to: &b, stop: func() {}}
	l.summary(&hwtest.Summary{Ways: 5, HalfHours: 30, FailsafeEntered: 5, FailsafeEnteredS: &s, Broken: []string{"x"}}, "/tmp/kept")
	for _, want := range []string{"30 half-hours of 5 ways", "5 of 5 ways in time (4.6 s after the last heartbeat)", "followed (not seen)", "FAILED     promises broken: 1; see /tmp/kept/agent.log"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "\x1b") {
		t.Error("escape codes in the text")
	}
}
