package hwtest

import (
	"strings"
	"testing"
	"time"

	"lvagent/hwtest/bench"
)

// wire reads a short notation of what came on the wire for alarm W5.L3.i.hi:
// R raise, C clear, p live reading from before, l live reading, x a gap in the
// live readings. Each stream counts by itself.
func wire(a *alarmBook, came string) {
	n := map[string]uint64{}
	enter := func(e bench.Entry) {
		n[e.Stream]++
		e.G, e.Number, e.Way = 1, n[e.Stream], "W5"
		a.enter(&e)
	}
	for _, r := range came {
		switch r {
		case 'R':
			enter(bench.Entry{Stream: "alarm/W5", ID: "W5.L3.i.hi", Edge: "raise", Threshold: 288})
		case 'C':
			enter(bench.Entry{Stream: "alarm/W5", ID: "W5.L3.i.hi", Edge: "clear", Threshold: 288})
		case 'p', 'l':
			enter(bench.Entry{Stream: "live/W5", Alarm: "W5.L3.i.hi", Before: r == 'p'})
		case 'x':
			enter(bench.Entry{Stream: "gap", Of: "live/W5"})
		}
	}
}

func TestAlarmsAreJudged(t *testing.T) {
	once := crossing{must: 1, cleared: 1}
	tests := []struct {
		name   string
		street crossing
		came   string
		want   string // in the broken promise; empty: none
	}{
		{"one of each", once, "pppRlllC", ""},
		{"live before the raise record", once, "ppplRllC", ""},
		{"twice", crossing{must: 2, cleared: 2}, "ppRllCppRllC", ""},
		{"a short time that may be noticed is", crossing{must: 1, may: 1, cleared: 1}, "ppRllCpRlC", ""},
		{"a short time that may be noticed isn't", crossing{must: 1, may: 1, cleared: 1}, "ppRllC", ""},
		{"still active at the end", crossing{must: 1}, "ppRll", ""},
		{"nothing", once, "", "raised 0 times"},
		{"nothing on a way that had none", crossing{}, "", ""},
		{"raised twice", once, "pRlRlC", "raised twice"},
		{"cleared first", once, "CpRl", "without a raise"},
		{"cleared twice", once, "pRlCC", "without a raise"},
		{"never cleared", once, "pRl", "cleared 0 times"},
		{"raised for nothing", crossing{}, "pRlC", "no more than 0 times"},
		{"one time too many", once, "pRlCpRlC", "no more than 1 times"},
		{"no live readings", once, "RC", "live readings came for 0 of them"},
		{"only those from before", once, "ppRC", "live readings came for 0 of them"},
		{"those from before missing", once, "RllC", "are missing"},
		{"those from before too late", once, "pRlplC", "in the midst"},
		{"those from before dropped, as the store says", once, "xRllC", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAlarmBook()
			street := tt.street
			a.street["W5.L3.i.hi"] = &street
			wire(a, tt.came)
			var s Summary
			a.judge(&s)
			all := strings.Join(s.Broken, "\n")
			if tt.want == "" && all != "" || !strings.Contains(all, tt.want) {
				t.Errorf("broken promises %q, want %q", all, tt.want)
			}
			if got, want := s.ThresholdRaised+s.ThresholdCleared, strings.Count(tt.came, "R")+strings.Count(tt.came, "C"); got != want {
				t.Errorf("%d edges counted, want %d", got, want)
			}
			if got, want := s.LiveReadings, strings.Count(tt.came, "p")+strings.Count(tt.came, "l"); got != want {
				t.Errorf("%d live readings counted, want %d", got, want)
			}
		})
	}
}

// An alarm without a threshold has a raise and a clear too, but no live readings.
func TestAlarmsWithoutThreshold(t *testing.T) {
	for came, want := range map[string]string{"RCRC": "", "R": "", "RR": "raised twice", "C": "without a raise"} {
		a := newAlarmBook()
		for i, r := range came {
			e := bench.Entry{Stream: "alarm/W1", G: 1, Number: uint64(i + 1), Way: "W1", ID: "W1.NO_STATEMENT", Edge: "clear"}
			if r == 'R' {
				e.Edge = "raise"
			}
			a.enter(&e)
		}
		var s Summary
		a.judge(&s)
		if all := strings.Join(s.Broken, "\n"); want == "" && all != "" || !strings.Contains(all, want) {
			t.Errorf("%s: broken promises %q, want %q", came, all, want)
		}
		if on := len(a.active("W1")) == 1; on != strings.HasSuffix(came, "R") {
			t.Errorf("%s: active %v", came, a.active("W1"))
		}
	}
}

func TestCrossing(t *testing.T) {
	const s = time.Second
	must, back := bench.AlarmOnDelay+alarmMargin, bench.AlarmOffDelay+alarmMargin
	type part struct {
		lasts time.Duration
		amps  float64
	}
	tests := []struct {
		name               string
		parts              []part
		must, may, cleared int
	}{
		{"below", []part{{9 * s, 300}}, 0, 0, 0},
		{"exactly at the threshold", []part{{9 * s, 300}}, 0, 0, 0},
		{"above for half the delay", []part{{bench.AlarmOnDelay / 2, 301}, {9 * s, 200}}, 0, 0, 0},
		{"above for less than must be noticed", []part{{must - s/10, 301}, {9 * s, 200}}, 0, 1, 0},
		{"above for as long as must be noticed", []part{{must + s/10, 301}, {9 * s, 200}}, 1, 0, 1},
		{"below the threshold within the hysteresis", []part{{must + s, 301}, {9 * s, 295}, {9 * s, 301}}, 1, 0, 0},
		{"back for a moment", []part{{must + s, 301}, {back - s, 200}, {9 * s, 301}}, 1, 0, 0},
		{"twice", []part{{must + s, 301}, {back + s, 200}, {must + s, 301}, {back + s, 200}}, 2, 0, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c crossing
			now := time.Duration(0)
			for _, p := range tt.parts {
				for end := now + p.lasts; now < end; now += s / 10 {
					c.step(now, p.amps, 300)
				}
			}
			if c.must != tt.must || c.may != tt.may || c.cleared != tt.cleared {
				t.Errorf("must %d, may %d, cleared %d; want %d, %d, %d", c.must, c.may, c.cleared, tt.must, tt.may, tt.cleared)
			}
		})
	}
}
