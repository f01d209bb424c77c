package uplink

import (
	"testing"
	"time"
)

// Half-hours wait for their site's turn; nothing else does, and nothing waits
// when the clock is not where it was.
func TestHalfHoursWaitForTheirTurn(t *testing.T) {
	const after = 42 * time.Second
	due := time.Date(2026, 11, 24, 17, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, stream string
		now          time.Duration // since due
		want         bool
	}{
		{"just ended", "hh/W3", 2 * time.Second, false},
		{"a moment before its turn", "hh/W3", after - 1, false},
		{"its turn", "hh/W3", after, true},
		{"late already", "hh/W3", time.Hour, true},
		{"the clock went back", "hh/W3", -time.Second, true},
		{"an alarm", "alarm/W3", 0, true},
		{"a live reading", "live/W3", 0, true},
		{"an acknowledgement", "ack", 0, true},
		{"a gap", "gap", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			box := newOutbox()
			box.fill(tt.stream, due, 1)
			ls := lanes{box: box, after: after, byName: map[string]*lane{}}
			if err := ls.refresh(); err != nil {
				t.Fatal(err)
			}
			if _, found, err := ls.choose(due.Add(tt.now)); found != tt.want || err != nil {
				t.Errorf("sent: %v (%v), want %v", found, err, tt.want)
			}
		})
	}
	t.Run("what waits holds up nothing else", func(t *testing.T) {
		box := newOutbox()
		box.fill("hh/W1", due, 1)
		box.fill("hh/W2", due.Add(-time.Hour), 1)
		ls := lanes{box: box, after: after, byName: map[string]*lane{}}
		if err := ls.refresh(); err != nil {
			t.Fatal(err)
		}
		if c, found, _ := ls.choose(due); !found || c.record.Stream != "hh/W2" {
			t.Errorf("chosen %+v", c)
		}
	})
}
