package hwtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvagent/hwtest/bench"
)

// A *testing.T is a Reporter, so that a run can be a test of its own.
var _ Reporter = (*testing.T)(nil)

// quickly is an evening of a few seconds.
func quickly(program string) DemoConfig {
	return DemoConfig{
		For: 6 * time.Second, Agent: program, Seed: 1,
		Pace: Pace{
			Window: 500 * time.Millisecond, Act: 1500 * time.Millisecond, Recover: 3 * time.Second, Drain: 2 * time.Second,
			Timers: bench.Timers{
				HeartbeatPeriod: 100 * time.Millisecond, HeartbeatTimeout: 400 * time.Millisecond,
				Stable: 300 * time.Millisecond, Init: time.Second, RestorePeriod: time.Second, BackoffMax: time.Second,
			},
		},
	}
}

// listener keeps the broken promises of a run.
type listener struct {
	t      *testing.T
	broken int
}

func (l *listener) Logf(format string, args ...any) { l.t.Logf(format, args...) }

func (l *listener) Errorf(string, ...any) { l.broken++ }

// The bench must pass a good agent and convict a bad one, for what it did.
func TestDemoConvicts(t *testing.T) {
	tests := []struct {
		fault string
		want  string // in one of the broken promises; empty: none is broken
	}{
		{"none", ""},
		{"loses", "records are lost"},
		{"stays", "never fell to its failsafe limit"},
		{"releases", "before any statement"},
		{"deaf", "was never followed"},
		{"stops", "after the stop"},
		{"crash", "out of cheese"},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			r := &listener{t: t}
			s, err := Demo(t.Context(), quickly(agentWith(t, tt.fault)), r)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", s)
			all := strings.Join(s.Broken, "\n")
			switch {
			case tt.want == "" && !s.Passed:
				t.Errorf("a good agent was convicted: %s", all)
			case tt.want != "" && s.Passed:
				t.Errorf("the fault was not found, want %q", tt.want)
			case !strings.Contains(all, tt.want):
				t.Errorf("broken promises %q, want one with %q", s.Broken, tt.want)
			}
			if r.broken != len(s.Broken) {
				t.Errorf("reported %d broken promises, summary has %d", r.broken, len(s.Broken))
			}
			if tt.want == "" {
				checkGood(t, &s)
			}
		})
	}
}

// checkGood looks at the counts of a run in which nothing went wrong.
func checkGood(t *testing.T, s *Summary) {
	t.Helper()
	if s.FailsafeEntered != 5 || s.FailsafeLeft != 5 || s.LeftWithoutStatement != 0 {
		t.Errorf("ways in failsafe %d, left %d, without statement %d; want 5, 5, 0",
			s.FailsafeEntered, s.FailsafeLeft, s.LeftWithoutStatement)
	}
	if s.HalfHours < 50 || s.Published < s.HalfHours || s.Acked < s.HalfHours {
		t.Errorf("half-hours %d, published %d, acked %d: too few for 6 s of 500 ms on five ways",
			s.HalfHours, s.Published, s.Acked)
	}
	if s.AboveRatingFree == 0 {
		t.Error("without limits nothing would have been above its rating: the evening proves nothing")
	}
	if s.FirstRecord == nil || s.LimitFollowed == nil || s.FailsafeEnteredS == nil || s.FailsafeLeftS == nil || s.Stopped == nil {
		t.Errorf("a time is missing: %+v", s)
	}
}

func TestDemoReportsAChildThatDiesEarly(t *testing.T) {
	_, err := Demo(t.Context(), quickly(agentWith(t, "early")), &listener{t: t})
	var exit *bench.AgentExit
	if !errors.As(err, &exit) {
		t.Fatalf("error %v, want an AgentExit", err)
	}
	for _, want := range []string{"exit status 1", "uplink.broker: first word", "second word"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q has no %q", err, want)
		}
	}
}

// Whatever ends a run, no process, port or folder is left.
func TestDemoLeavesNothingBehind(t *testing.T) {
	tests := []struct {
		name string
		end  func(cancel func()) func()
	}{
		{"interrupted", func(cancel func()) func() { return cancel }},
		{"panic", func(func()) func() { return func() { panic("in the reporter") } }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			program := agentWith(t, "none")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			lines := 0
			end := tt.end(cancel)
			counting := reporterFunc(func(format string, args ...any) {
				t.Logf(format, args...)
				if lines++; lines == 6 { // the agent runs by then
					end()
				}
			})
			func() {
				defer func() {
					if p := recover(); p != nil && tt.name != "panic" {
						panic(p)
					}
				}()
				_, err := Demo(ctx, quickly(program), counting)
				if !errors.Is(err, ErrInterrupted) {
					t.Errorf("error %v, want %v", err, ErrInterrupted)
				}
			}()
			if left, _ := filepath.Glob(filepath.Join(temp, "lvbench-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			text, err := os.ReadFile(program + ".pid")
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("agent %d is still there: %v", pid, err)
			}
		})
	}
}

type reporterFunc func(format string, args ...any)

func (f reporterFunc) Logf(format string, args ...any)   { f(format, args...) }
func (f reporterFunc) Errorf(format string, args ...any) { f(format, args...) }

func TestKeepKeepsAndRefusesAFullFolder(t *testing.T) {
	cfg := quickly(agentWith(t, "early"))
	cfg.Keep = filepath.Join(t.TempDir(), "kept")
	if _, err := Demo(t.Context(), cfg, &listener{t: t}); err == nil {
		t.Fatal("no error from an agent that dies early")
	}
	for _, name := range []string{"site.yaml", "agent.log"} {
		if _, err := os.Stat(filepath.Join(cfg.Keep, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := Demo(t.Context(), cfg, &listener{t: t}); !errors.Is(err, ErrFolder) {
		t.Errorf("second run in the same folder: %v, want %v", err, ErrFolder)
	}
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name   string
		length time.Duration
		broker string
		want   error
	}{
		{"shortest", ShortestDemo, "", nil},
		{"one second less", ShortestDemo - time.Second, "", ErrTooShort},
		{"broker with port", time.Minute, "tcp://127.0.0.1:1883", nil},
		{"broker without port", time.Minute, "mqtt://localhost", nil},
		{"broker with TLS", time.Minute, "ssl://localhost:8883", ErrBroker},
		{"broker with password", time.Minute, "tcp://a:b@localhost", ErrBroker},
		{"no URL", time.Minute, "localhost:1883", ErrBroker},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DemoConfig{For: tt.length, Broker: tt.broker, Pace: DemoPace()}
			if err := cfg.Check(); !errors.Is(err, tt.want) {
				t.Errorf("Check() = %v, want %v", err, tt.want)
			}
		})
	}
}

// Two runs on one named broker must not disturb it: nothing stays retained.
func TestNamedBrokerKeepsNothing(t *testing.T) {
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	cfg := quickly(agentWith(t, "none"))
	cfg.Broker = "tcp://" + broker.Addr()
	s, err := Demo(t.Context(), cfg, &listener{t: t})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Passed {
		t.Errorf("a good agent was convicted: %v", s.Broken)
	}
	if left := broker.Retained("lv/"); len(left) > 0 {
		t.Errorf("left on the broker: %v", left)
	}
}
