package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Agent is the agent under test, running as a child process.
type Agent struct {
	cmd     *exec.Cmd
	tail    *tail
	started time.Time
	done    chan struct{}

	once     sync.Once
	stopping chan struct{}
	err      error // valid once done is closed
}

// AgentExit is a child process that ended without being asked to.
type AgentExit struct {
	After time.Duration
	Cause string   // exit status or signal
	Last  []string // the last lines it wrote
}

// Error gives the cause and the child's last words.
func (e *AgentExit) Error() string {
	text := fmt.Sprintf("agent ended by itself after %v: %s", e.After.Round(100*time.Millisecond), e.Cause)
	if len(e.Last) == 0 {
		return text + "; it wrote nothing"
	}
	return text + "; its last lines:\n  " + strings.Join(e.Last, "\n  ")
}

// ErrNoAgent is the absence of an agent to test.
var ErrNoAgent = errors.New("no lvagent beside lvbench or in $PATH")

// FindAgent returns the agent's program: the one beside this executable or else
// the first in $PATH.
func FindAgent() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "lvagent")
		if info, err := os.Stat(beside); err == nil && !info.IsDir() {
			return beside, nil
		}
	}
	path, err := exec.LookPath("lvagent")
	if err != nil {
		return "", ErrNoAgent
	}
	return path, nil
}

// StartAgent starts program with args. All it writes goes to log; the last
// lines are kept for an error report. The child is in a process group of its
// own, so that Ctrl-C at a terminal reaches only the bench, which stops the
// child in order. On Linux the kernel kills the child when the bench dies.
func StartAgent(log io.Writer, program string, args ...string) (*Agent, error) {
	a := &Agent{
		cmd: exec.Command(program, args...), tail: &tail{to: log}, started: time.Now(),
		done: make(chan struct{}), stopping: make(chan struct{}),
	}
	a.cmd.Stdout, a.cmd.Stderr = a.tail, a.tail
	a.cmd.SysProcAttr = childAttr()
	// A child that was killed may leave its own children with the pipe open.
	a.cmd.WaitDelay = time.Second
	started := make(chan error)
	go a.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start agent %s: %w", program, err)
	}
	return a, nil
}

// run starts the child and waits for it on one thread: the kernel's signal at
// the death of the parent is tied to the thread that started the child.
func (a *Agent) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := a.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	err = a.cmd.Wait()
	cause := "exit status 0"
	if err != nil {
		cause = err.Error()
	}
	select {
	case <-a.stopping:
		if err != nil {
			a.err = fmt.Errorf("agent stopped with %s", cause)
		}
	default:
		a.err = &AgentExit{After: time.Since(a.started), Cause: cause, Last: a.tail.lines()}
	}
	close(a.done)
}

// Done is closed when the child has ended; Err says why.
func (a *Agent) Done() <-chan struct{} { return a.done }

// Err returns why the child ended: nil for an orderly stop that was asked for,
// an [*AgentExit] when it ended by itself. It is valid after Done.
func (a *Agent) Err() error { return a.err }

// Tail returns the last lines the child wrote so far.
func (a *Agent) Tail() []string { return a.tail.lines() }

// PID returns the child's process id.
func (a *Agent) PID() int { return a.cmd.Process.Pid }

// Stop asks the child to stop, kills it when it takes longer than within, and
// returns how long it took. It may be called again.
func (a *Agent) Stop(within time.Duration) (time.Duration, error) {
	begin := time.Now()
	a.once.Do(func() { close(a.stopping) })
	_ = a.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-a.done:
		return time.Since(begin), a.err
	case <-time.After(within):
	}
	_ = a.cmd.Process.Kill()
	<-a.done
	return time.Since(begin), fmt.Errorf("agent did not stop within %v of SIGTERM and was killed", within)
}

// tail passes on what is written and keeps the last lines. One goroutine writes.
type tail struct {
	to io.Writer

	mu   sync.Mutex
	kept []byte
}

const tailOctets = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - tailOctets; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	t.mu.Unlock()
	return t.to.Write(p)
}

const tailLines = 12

// lines returns the last lines; from the cause on where a Go program crashed,
// for what follows it are stacks.
func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(bytes.TrimSpace(t.kept))
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
			return lines[i:min(len(lines), i+tailLines)]
		}
	}
	return lines[max(0, len(lines)-tailLines):]
}
