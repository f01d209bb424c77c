package bench

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func shell(t *testing.T, log io.Writer, script string) *Agent {
	t.Helper()
	a, err := StartAgent(log, "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAgentThatDiesIsReportedWithItsLastLines(t *testing.T) {
	var log bytes.Buffer
	a := shell(t, &log, `for i in $(seq 30); do echo "line $i" >&2; done; exit 3`)
	within(t, "end of the child", a.Done())
	var exit *AgentExit
	if !errors.As(a.Err(), &exit) {
		t.Fatalf("error %v, want an AgentExit", a.Err())
	}
	if exit.Cause != "exit status 3" || len(exit.Last) != tailLines || exit.Last[tailLines-1] != "line 30" {
		t.Errorf("exit %+v, want status 3 and the last %d lines", exit, tailLines)
	}
	if !strings.Contains(log.String(), "line 1\n") {
		t.Error("the log has not all the child wrote")
	}
}

func TestAgentThatPanicsIsReportedWithTheCause(t *testing.T) {
	a := shell(t, io.Discard, `echo started; echo "panic: out of cheese"; for i in $(seq 50); do echo "stack $i"; done; exit 2`)
	within(t, "end of the child", a.Done())
	if !strings.Contains(a.Err().Error(), "panic: out of cheese") {
		t.Errorf("error %q does not name the panic", a.Err())
	}
}

func TestAgentStops(t *testing.T) {
	tests := []struct {
		name, script, want string
	}{
		{"in order", `trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done`, ""},
		{"with a fault", `trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done`, "exit status 4"},
		{"not at all", `trap '' TERM; echo ready; while :; do sleep 0.05; done`, "was killed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ready := make(chan string, 100)
			a := shell(t, writer(func(p []byte) { ready <- string(p) }), tt.script)
			within(t, "first line of the child", ready)
			_, err := a.Stop(500 * time.Millisecond)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("stop: %v, want %q", err, tt.want)
			}
			within(t, "end of the child", a.Done())
			if _, again := a.Stop(time.Second); tt.want == "" && again != nil {
				t.Errorf("second stop: %v", again)
			}
		})
	}
}

func TestAgentThatCannotStart(t *testing.T) {
	if _, err := StartAgent(io.Discard, "/nonexistent/lvagent"); err == nil || !strings.Contains(err.Error(), "/nonexistent/lvagent") {
		t.Errorf("error %v, want one that names the program", err)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
