package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"lvagent/hwtest"
)

// lines tells the story: as a picture on a terminal, else one line per event.
// When nobody reads it any more, it ends the run.
type lines struct {
	to     io.Writer
	stop   func()
	size   func() (width, height int)
	colour bool

	mu      sync.Mutex
	screen  *hwtest.Screen // nil: lines
	live    bool           // it was shown on a screen
	picture *hwtest.Picture
	shown   time.Duration
}

// Between two lines on how things stand.
const standing = 5 * time.Second

// A page whose size is not known, and the width of lines.
const usualWidth, usualHeight = 80, 24

// tell returns where the story goes: to a screen when to is a terminal.
func tell(to io.Writer, plain bool, stop func()) *lines {
	l := &lines{to: to, stop: stop, size: func() (int, int) { return usualWidth, usualHeight }}
	f, ok := to.(*os.File)
	if plain || !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return l
	}
	l.size = func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return usualWidth, usualHeight
		}
		return width, height
	}
	l.colour = os.Getenv("NO_COLOR") == ""
	// A run that is suspended misses its heartbeats and proves nothing.
	signal.Ignore(syscall.SIGTSTP)
	l.screen, l.live = hwtest.OpenScreen(f, l.size, l.colour, stop), true
	return l
}

// close gives the terminal back. It may be called again.
func (l *lines) close() {
	l.mu.Lock()
	screen := l.screen
	l.screen = nil
	l.mu.Unlock()
	if screen != nil {
		screen.Close()
	}
}

// Show shows how things stand.
func (l *lines) Show(p *hwtest.Picture) {
	l.mu.Lock()
	screen := l.screen
	l.picture = p
	l.mu.Unlock()
	switch {
	case screen != nil:
		screen.Show(p)
	case p.Now-l.shown >= standing:
		l.shown = p.Now
		l.Logf("%s", p.Line())
	}
}

// Logf writes one line, unless a screen shows it.
func (l *lines) Logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.screen != nil {
		return
	}
	if _, err := fmt.Fprintf(l.to, format+"\n", args...); err != nil {
		l.stop()
	}
}

// Errorf leaves a broken promise to the summary, which has them all.
func (l *lines) Errorf(string, ...any) {}

// story writes the events that only a screen has shown.
func (l *lines) story() {
	if l.live && l.picture != nil {
		for _, e := range l.picture.Events {
			l.Logf("%s", e)
		}
	}
}

// evening writes the chart of the whole evening.
func (l *lines) evening() {
	if l.picture == nil {
		return
	}
	width, _ := l.size()
	l.Logf("")
	for _, line := range l.picture.Evening(width, l.colour) {
		l.Logf("%s", line)
	}
}

// summary writes what a run came to.
func (l *lines) summary(s *hwtest.Summary, keep string) {
	l.Logf("")
	l.Logf("records    %d half-hours of %d ways, %d records in all", s.HalfHours, s.Ways, s.Records)
	l.Logf("           %d lost, %d holes, %d came again, %d out of order", s.Lost, s.Holes, s.Duplicates, s.Disorder)
	l.Logf("failsafe   %d of %d ways in time%s", s.FailsafeEntered, s.Ways, after(s.FailsafeEnteredS, "after the last heartbeat"))
	l.Logf("           %d released%s, %d too early",
		s.FailsafeLeft, after(s.FailsafeLeftS, "after the centre's statement"), s.LeftWithoutStatement)
	l.Logf("load       a way above its rating for %.1f s; without limits for %.1f s", s.AboveRating, s.AboveRatingFree)
	l.Logf("signal     load-management limit followed%s", after(s.LimitFollowed, "after it was sent"))
	l.Logf("alarms     %d raised, %d cleared; over a threshold %d and %d, %d were due",
		s.AlarmsRaised, s.AlarmsCleared, s.ThresholdRaised, s.ThresholdCleared, s.AlarmsExpected)
	l.Logf("           %d live readings, %d of them from before the raise", s.LiveReadings, s.LiveBefore)
	for _, b := range s.Broken {
		l.Logf("BROKEN     %s", b)
	}
	switch {
	case s.Passed:
		l.Logf("PASSED     every promise held")
	case keep == "":
		l.Logf("FAILED     promises broken: %d; run again with --keep DIR to look at the agent's log", len(s.Broken))
	default:
		l.Logf("FAILED     promises broken: %d; see %s/agent.log", len(s.Broken), keep)
	}
}

// after says how long something took, or that it did not come.
func after(s *float64, what string) string {
	if s == nil {
		return " (not seen)"
	}
	return fmt.Sprintf(" (%.1f s %s)", *s, what)
}
