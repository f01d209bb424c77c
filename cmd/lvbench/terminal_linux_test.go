package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvagent/hwtest"
)

// terminal is a pseudo-terminal of a size, and what came out of it.
type terminal struct {
	t     *testing.T
	inner *os.File // what the program writes to
	outer *os.File
	text  chan string
}

func newTerminal(t *testing.T, width, height uint16) *terminal {
	t.Helper()
	outer, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(outer.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(outer.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, inner: inner, outer: outer, text: make(chan string, 1)}
	term.resize(width, height)
	go func() {
		text, _ := io.ReadAll(outer) // ends with an error once the inner end is closed
		term.text <- string(text)
	}()
	return term
}

func (term *terminal) resize(width, height uint16) {
	err := unix.IoctlSetWinsize(int(term.inner.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
	if err != nil {
		term.t.Fatal(err)
	}
}

// read closes the terminal and returns all that was written to it.
func (term *terminal) read() string {
	term.inner.Close()
	text := <-term.text
	term.outer.Close()
	return text
}

const (
	onPage  = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	offPage = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// However a run ends, the terminal is given back before anything else is said.
func TestTerminalIsGivenBack(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	silent := filepath.Join(t.TempDir(), "silent")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		ctx  context.Context
		args []string
		want string
	}{
		{"the agent dies", t.Context(), []string{"demo", "--agent", "/bin/false"}, "agent ended by itself"},
		{"there is no agent", t.Context(), []string{"demo", "--agent", "/nonexistent"}, "/nonexistent"},
		{"interrupted", stopped, []string{"demo", "--agent", silent}, "stopped before the end"},
		{"interrupted, with its story", stopped, []string{"demo", "--agent", silent}, "5 ways of 300 A"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			term := newTerminal(t, 80, 24)
			if code := run(tt.ctx, func() {}, tt.args, term.inner, term.inner); code != exitRig {
				t.Errorf("exit %d, want %d", code, exitRig)
			}
			page, after, left := strings.Cut(term.read(), offPage)
			if !strings.HasPrefix(page, onPage) || !left {
				t.Errorf("the page was entered %t, left %t", strings.HasPrefix(page, onPage), left)
			}
			if !strings.Contains(after, tt.want) || strings.Contains(after, "\x1b") {
				t.Errorf("after it %q, want %q and no escape codes", after, tt.want)
			}
		})
	}
}

func TestTerminalIsGivenBackInAPanic(t *testing.T) {
	t.Setenv("TERM", "xterm")
	term := newTerminal(t, 80, 24)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		run(panicking{t.Context()}, func() {}, []string{"demo", "--agent", "/bin/false"}, term.inner, term.inner)
	}()
	if text := term.read(); !strings.HasSuffix(text, offPage) {
		t.Errorf("the terminal shows %q", text)
	}
}

// panicking is a context that panics in the midst of a run.
type panicking struct{ context.Context }

func (panicking) Done() <-chan struct{} { panic("in the run") }

// The page follows the size of the terminal, and colours the wish of its user.
func TestTerminal(t *testing.T) {
	colours := regexp.MustCompile("\x1b\\[[0-9;]*[1-9][0-9;]*m")
	tests := []struct {
		name             string
		term, noColour   string
		plain            bool
		page, isColoured bool
	}{
		{"usual", "xterm", "", false, true, true},
		{"NO_COLOR", "xterm", "1", false, true, false},
		{"plain", "xterm", "", true, false, false},
		{"dumb", "dumb", "", false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", tt.term)
			t.Setenv("NO_COLOR", tt.noColour)
			term := newTerminal(t, 80, 24)
			l := tell(term.inner, tt.plain, func() {})
			p := &hwtest.Picture{For: time.Minute, LinkUp: true, Beating: true, Rows: []hwtest.Row{{ID: "W1", Name: "High Street", Rating: 300}}}
			l.Show(p)
			term.resize(100, 30)
			if width, height := l.size(); tt.page && (width != 100 || height != 30) {
				t.Errorf("size %d x %d, want 100 x 30", width, height)
			}
			l.close()
			l.evening()
			text := term.read()
			if page := strings.Contains(text, onPage); page != tt.page {
				t.Errorf("a page of its own: %t, want %t", page, tt.page)
			}
			if coloured := colours.MatchString(text); coloured != tt.isColoured {
				t.Errorf("colours %t, want %t", coloured, tt.isColoured)
			}
			if !tt.page && strings.Contains(text, "\x1b") {
				t.Errorf("escape codes in %q", text)
			}
		})
	}
}
