package hwtest

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"lvagent/hwtest/bench"
	"lvagent/meter"
)

var update = flag.Bool("update", false, "write the golden files")

// evening is the picture of an evening that has come to a share, with every
// kind of thing in it. No agent takes part: the registers are set by the clock.
func evening(share float64) *Picture {
	const lasts = time.Minute
	w := bench.NewWorld(1)
	p := newPicture(w, lasts)
	at := func(share float64) time.Duration { return time.Duration(share * float64(lasts)) }
	tell := func(share float64, way, format string, args ...any) {
		p.Events = append(p.Events, Event{at(share), bench.Hour(share), way, fmt.Sprintf(format, args...)})
	}
	for s := range slots {
		now := float64(s) / slots
		if now > share {
			break
		}
		percent := make([]uint16, len(w.Groups))
		holds := make([]Hold, len(w.Ways))
		for k, g := range w.Groups {
			failsafe := uint16(100 * g.Failsafe / g.Rating)
			percent[k], holds[g.Way] = bench.Released, Unheld
			switch {
			case now < 0.07:
				percent[k], holds[g.Way] = failsafe, HeldStart
			case now < 0.15, now > 0.79 && now < 0.9:
				percent[k], holds[g.Way] = 60, Rising
			case now > 0.2 && now < 0.33 && g.Way == limitedWay:
				percent[k], holds[g.Way] = 16, HeldSignal
			case now > 0.46 && now <= 0.79:
				percent[k], holds[g.Way] = failsafe, HeldSilent
			}
		}
		up := now < 0.4 || now > 0.65
		p.Link = append(p.Link, up)
		load, without := w.Load(now, percent), w.Load(now, nil)
		for i := range p.Rows {
			r := &p.Rows[i]
			slot := Slot{}
			var amps, free float64
			if i < len(w.Ways) {
				r.Phase, amps = load.Ways[i].Worst()
				_, free = without.Ways[i].Worst()
				r.Percent, slot.Hold = lowest(w, i, percent), holds[i]
				r.State = [...]string{"FREE", "RESTORING", "INIT", "LIMITED", "FAILSAFE"}[holds[i]]
			} else {
				r.Phase, amps = worst(load.Transformer)
				_, free = worst(without.Transformer)
			}
			r.Amps = amps
			slot.Load, slot.Free = amps/r.Rating, free/r.Rating
			r.Past = append(r.Past, slot)
			r.NoLimits = max(r.NoLimits, slot.Free)
			if amps > r.Peak.Amps {
				r.Peak = Peak{r.Phase, amps}
			}
			if slot.Hold == HeldSilent {
				r.Failsafe += lasts / slots
			}
		}
	}
	p.Now, p.Hour = at(share), bench.Hour(share)
	p.LinkUp, p.Beating = share < 0.4 || share > 0.65, share < 0.4 || share > 0.65
	p.Heard = p.LinkUp
	p.LinkSince, p.LastBeat = at(0.4), at(0.39)
	p.Scene = "Silence: every way is held at its failsafe limit until the centre speaks."
	p.Backlog, p.HalfHours, p.Published, p.Acked = 5, 25, 80, 79
	p.Signals, p.Statements = []int{slot(0.2)}, []int{slot(0.07)}
	p.Rows[4].Alarms = []string{"L3.i.hi", "NO_STATEMENT", "METER_SILENT"}
	tell(0, "", "5 ways of 300 A behind 500 kVA, 11 charging groups; 5 meters at tcp://127.0.0.1:35291")
	tell(0.07, "", "centre states: no limit on any way")
	tell(0.2, "W2", "load-management signal: 16 A per group and phase for 8s")
	tell(0.4, "", "the link to the broker is cut, the centre is silent")
	for _, way := range w.Ways {
		tell(0.46, way.ID, "registers at failsafe 4.0 s after the last heartbeat")
	}
	tell(0.56, "W5", "alarm L3.i.hi raise: 291.0, threshold 288.0")
	if share >= 1 {
		p.Statements = append(p.Statements, slot(0.77))
	}
	return p
}

func TestDrawings(t *testing.T) {
	tests := []struct {
		name string
		draw func() []string
	}{
		{"live-80x24", func() []string { return evening(0.58).Live(80, 24, false) }},
		{"live-80x24-colour", func() []string { return evening(0.58).Live(80, 24, true) }},
		{"live-140x40", func() []string { return evening(0.72).Live(140, 40, false) }},
		{"live-60x20-start", func() []string { return newPicture(bench.NewWorld(1), time.Minute).Live(60, 20, false) }},
		{"live-36x12-no-room", func() []string { return evening(0.58).Live(36, 12, false) }},
		{"evening-80", func() []string { return evening(1).Evening(80, false) }},
		{"evening-200", func() []string { return evening(1).Evening(200, false) }},
		{"line", func() []string { return []string{evening(0.3).Line(), evening(0.58).Line()} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(tt.draw(), "\n") + "\n"
			file := filepath.Join("testdata", tt.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("drawing differs from %s; got\n%s\nwant\n%s", file, got, want)
			}
		})
	}
}

// Without colours the pages still say everything: what a colour says, a mark or
// a word says too.
func TestColourIsNeverTheOnlyWord(t *testing.T) {
	p := evening(0.58)
	coloured, bare := p.Live(100, 30, true), p.Live(100, 30, false)
	for i := range coloured {
		if got := strip(coloured[i]); got != bare[i] {
			t.Errorf("line %d reads %q with colours, %q without", i, got, bare[i])
		}
	}
	all := strings.Join(bare, "\n")
	for _, want := range []string{"CUT for", "SILENT for", "(failsafe)", "ALARM L3.i.hi", "⣿", "█", "!", "×", "┄", "limit 25%"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

// strip takes the colours out of a line.
func strip(line string) string {
	for {
		from := strings.Index(line, "\x1b[")
		if from < 0 {
			return line
		}
		line = line[:from] + line[from+strings.IndexByte(line[from:], 'm')+1:]
	}
}

func TestChartMarksTheRating(t *testing.T) {
	tests := []struct {
		name string
		slot Slot
		want string // top and lower line
	}{
		{"nothing", Slot{}, "┄ "},
		{"a little is seen", Slot{Load: 0.001}, "┄▁"},
		{"exactly at the rating", Slot{Load: 1}, "▄█"},
		{"just above it", Slot{Load: 1.001}, "!█"},
		{"far above it", Slot{Load: 9}, "!█"},
		{"held", Slot{Load: 0.5, Hold: HeldSilent}, "┄⣶"},
		{"held at the rating", Slot{Load: 1, Hold: HeldSignal}, "⣤⣿"},
		{"held, it would have been above", Slot{Load: 0.5, Free: 1.001, Hold: HeldSilent}, "×⣶"},
		{"held, it would have been at the rating", Slot{Load: 0.5, Free: 1, Hold: HeldSilent}, "┄⣶"},
		{"not a number", Slot{Load: math.NaN(), Free: math.NaN()}, "┄ "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			past := make([]Slot, slots)
			for i := range past {
				past[i] = tt.slot
			}
			c := newCanvas(1, 2)
			c.chart(0, 0, 1, 2, past)
			got := ""
			for _, line := range c.lines(false) {
				got += (line + " ")[:max(1, len(line))]
			}
			if got != tt.want {
				t.Errorf("chart %q, want %q", got, tt.want)
			}
		})
	}
}

// However narrow a chart, a moment above the rating is seen.
func TestAMomentAboveTheRatingIsSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		past := make([]Slot, slots)
		for i := range past {
			past[i].Load = 0.4
		}
		past[rapid.IntRange(0, slots-1).Draw(t, "slot")].Load = 1.2
		width := rapid.IntRange(1, slots).Draw(t, "width")
		c := newCanvas(width, 2)
		c.chart(0, 0, width, 2, past)
		if n := strings.Count(c.lines(false)[0], string(overMark)); n != 1 {
			t.Fatalf("%d marks, want 1", n)
		}
	})
}

// Whatever the state and the size of the page, it is drawn without panic, within
// the page, and without escape codes where there are no colours.
func TestDrawingsStayWithinThePage(t *testing.T) {
	number := rapid.OneOf(rapid.Float64Range(-2, 3), rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}))
	word := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "W3", "FAILSAFE", "\x1b[2J", "two\nlines", "宽e\u0301", strings.Repeat("long ", 60)}))
	slot := rapid.Custom(func(t *rapid.T) Slot {
		return Slot{number.Draw(t, "load"), number.Draw(t, "free"), Hold(rapid.Uint8().Draw(t, "hold"))}
	})
	duration := rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) })
	row := rapid.Custom(func(t *rapid.T) Row {
		return Row{
			ID: word.Draw(t, "id"), Name: word.Draw(t, "name"), Rating: number.Draw(t, "rating"),
			Phase: meter.Phase(rapid.Uint8().Draw(t, "phase")), Amps: number.Draw(t, "amps"),
			State: word.Draw(t, "state"), Percent: rapid.Int().Draw(t, "percent"), Alarms: rapid.SliceOfN(word, 0, 4).Draw(t, "alarms"),
			Past: rapid.SliceOfN(slot, 0, 30).Draw(t, "past"), NoLimits: number.Draw(t, "without"), Failsafe: duration.Draw(t, "failsafe"),
		}
	})
	event := rapid.Custom(func(t *rapid.T) Event {
		return Event{duration.Draw(t, "at"), duration.Draw(t, "hour"), word.Draw(t, "way"), word.Draw(t, "text")}
	})
	mark := rapid.SliceOfN(rapid.IntRange(-10, slots+10), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		p := &Picture{
			Now: duration.Draw(t, "now"), For: duration.Draw(t, "for"), Hour: duration.Draw(t, "hour"),
			Scene: word.Draw(t, "scene"), Rows: rapid.SliceOfN(row, 0, 8).Draw(t, "rows"),
			LinkUp: rapid.Bool().Draw(t, "up"), Beating: rapid.Bool().Draw(t, "beating"), Heard: rapid.Bool().Draw(t, "heard"),
			Backlog: rapid.Int().Draw(t, "backlog"), Lost: rapid.Int().Draw(t, "lost"),
			Link: rapid.SliceOfN(rapid.Bool(), 0, 30).Draw(t, "link"), Signals: mark.Draw(t, "signals"), Statements: mark.Draw(t, "statements"),
			Events: rapid.SliceOfN(event, 0, 20).Draw(t, "events"),
		}
		width, height := rapid.IntRange(-1, 200).Draw(t, "width"), rapid.IntRange(-1, 60).Draw(t, "height")
		live := p.Live(width, height, false)
		if len(live) != max(height, 0) {
			t.Fatalf("%d lines, want %d", len(live), height)
		}
		for _, line := range append(live, p.Evening(width, false)...) {
			if n := utf8.RuneCountInString(line); n > max(width, 0) {
				t.Fatalf("%d cells, more than %d: %q", n, width, line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == '宽' || r == '\u0301' }) {
				t.Fatalf("control or wide characters in %q", line)
			}
		}
		_ = p.Line()
		for i, line := range p.Live(width, height, true) {
			if strip(line) != live[i] {
				t.Fatalf("with colours line %d reads %q, without %q", i, strip(line), live[i])
			}
		}
	})
}

func TestToldMergesWhatHappensToSeveralWays(t *testing.T) {
	s := time.Second
	events := []Event{
		{s, 0, "W1", "rises"}, {s, 0, "W2", "rises"}, {s + s/2, 0, "W3", "rises"}, // all three
		{3 * s, 0, "W1", "falls"}, {3 * s, 0, "W2", "falls"}, {3 * s, 0, "W1", "falls"}, // W1 again
		{9 * s, 0, "W1", "late"}, {11 * s, 0, "W2", "late"}, // too far apart
		{12 * s, 0, "", "cut"}, {12 * s, 0, "", "cut"}, // of no way
	}
	want := "all ways rises, W1 W2 falls, W1 falls, W1 late, W2 late,  cut,  cut"
	var got []string
	for _, e := range told(events, 3) {
		got = append(got, e.Way+" "+e.Text)
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("told %q, want %q", strings.Join(got, ", "), want)
	}
	if events[0].Way != "W1" {
		t.Error("the story itself was changed")
	}
}

func TestExtendFillsWhatWasPassedBy(t *testing.T) {
	var past []Slot
	past = extend(past, 0, Slot{Load: 1}, Slot.merge)
	past = extend(past, 3, Slot{Load: 2}, Slot.merge)
	past = extend(past, 3, Slot{Load: 1, Free: 5, Hold: HeldSignal}, Slot.merge)
	want := []Slot{{Load: 1}, {Load: 2}, {Load: 2}, {Load: 2, Free: 5}}
	if fmt.Sprint(past) != fmt.Sprint(want) {
		t.Errorf("past %v, want %v", past, want)
	}
}

// terminal is where a screen writes. It may be stuck.
type terminal struct {
	stuck chan struct{}
	bytes.Buffer
	pages int
}

func (w *terminal) Write(p []byte) (int, error) {
	if w.stuck != nil {
		<-w.stuck
	}
	w.pages++
	return w.Buffer.Write(p)
}

func size() (int, int) { return 80, 24 }

func TestScreenGivesTheTerminalBack(t *testing.T) {
	var to terminal
	s := OpenScreen(&to, size, true, func() { t.Error("the terminal is said to be gone") })
	s.Show(evening(0.5))
	s.Close()
	s.Close()
	text := to.String()
	if !strings.HasPrefix(text, enterPage) || !strings.HasSuffix(text, leavePage) || strings.Count(text, leavePage) != 1 {
		t.Errorf("a screen writes %.40q … %.40q", text, text[max(0, len(text)-40):])
	}
	for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?25l": "\x1b[?25h", "\x1b[?7l": "\x1b[?7h"} {
		if !strings.Contains(enterPage, on) || !strings.Contains(leavePage, off) {
			t.Errorf("%q is not undone by %q", on, off)
		}
	}
}

// A terminal that takes nothing must not hold up the heartbeats of the bench.
func TestScreenLeavesPicturesOutWhenTheTerminalIsStuck(t *testing.T) {
	to := terminal{stuck: make(chan struct{})}
	s := OpenScreen(&to, size, false, func() {})
	p := evening(0.5)
	for range 100 {
		s.Show(p) // hangs here if it waits for the terminal
	}
	close(to.stuck)
	s.Close()
	if to.pages > 5 {
		t.Errorf("%d writes, want the pictures left out that nobody could see", to.pages)
	}
}

func TestScreenClearsThePageWhenItsSizeChanges(t *testing.T) {
	width := 80
	to := terminal{}
	s := OpenScreen(&to, func() (int, int) { return width, 24 }, false, func() {})
	p := evening(0.5)
	for !s.drawn(p) {
	}
	width = 90
	for !s.drawn(p) {
	}
	s.Close()
	if n := strings.Count(to.String(), clearPage); n != 3 { // on entering, and for each size
		t.Errorf("page cleared %d times, want 3", n)
	}
}

// drawn shows p until the screen has taken it.
func (s *Screen) drawn(p *Picture) bool {
	s.Show(p)
	width, height := s.size()
	return s.width == width && s.height == height
}

type goneTerminal struct{}

func (goneTerminal) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestScreenSaysThatTheTerminalIsGone(t *testing.T) {
	gone := make(chan struct{}, 10)
	s := OpenScreen(goneTerminal{}, size, false, func() { gone <- struct{}{} })
	s.Close()
	if len(gone) == 0 {
		t.Error("nobody was told")
	}
}
