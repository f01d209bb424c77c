package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"lvagent/hwtest"
)

// Into a pipe goes one line per event, one every five seconds on how things
// stand, and the chart; no escape codes.
func TestStoryIntoAPipe(t *testing.T) {
	t.Setenv("TERM", "xterm")
	var b bytes.Buffer
	l := tell(&b, false, func() { t.Error("the run was stopped") })
	p := &hwtest.Picture{For: time.Minute, Rows: []hwtest.Row{{ID: "W1", Name: "High Street", Rating: 300, Amps: 60}}}
	l.Show(p)
	for _, now := range []time.Duration{standing - 1, standing, 2*standing - 1, 2 * standing} {
		p.Now = now
		l.Show(p)
	}
	l.Logf("something happened")
	l.close()
	l.story()
	l.evening()
	text := b.String()
	if n := strings.Count(text, "W1  60/300 A"); n != 2 {
		t.Errorf("%d lines on how things stand, want 2:\n%s", n, text)
	}
	for _, want := range []string{"something happened\n", "The evening: load", "High Street, 300 A"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("escape codes in %q", text)
	}
}
