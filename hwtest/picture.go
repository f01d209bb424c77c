package hwtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lvagent/meter"
)

// Picture is what a person is shown of a run at one instant, and how it came
// there. How it is drawn depends on nothing else. It belongs to the run until
// the run is over.
type Picture struct {
	Now, For time.Duration
	Hour     time.Duration // of the day in the street
	Scene    string        // what to look at now, in one sentence
	Rows     []Row         // the ways, then the transformer

	LinkUp     bool
	LinkSince  time.Duration // when it last changed
	Beating    bool
	LastBeat   time.Duration
	Heard      bool // the agent is on the line, so that its word is not stale
	Backlog    int  // periods whose record has not arrived yet
	HalfHours  int
	Lost       int
	Published  int // QoS 1 packets on the link
	Acked      int
	Link       []bool // by slot: the link is up
	Statements []int  // slots at which the centre stated no limit
	Signals    []int  // slots at which it sent a load-management signal
	Events     []Event
}

// Row is one way, or the transformer.
type Row struct {
	ID, Name string
	Rating   float64 // A per phase
	Phase    meter.Phase
	Amps     float64  // of the worst phase
	State    string   // as the agent told last; empty: none, as the transformer's
	Percent  int      // the lowest of the way's charging registers; -1: it has none
	Alarms   []string // active, without the way's name
	Past     []Slot
	Peak     Peak
	NoLimits float64       // highest load without any limit, in ratings
	Failsafe time.Duration // held at its failsafe limit in the silence
}

// Peak is the highest load of the evening.
type Peak struct {
	Phase meter.Phase
	Amps  float64
}

// slots is how many parts the evening is kept in.
const slots = 720

// Slot is what a row was like in one part of the evening.
type Slot struct {
	Load float64 // of the worst phase, in ratings
	Free float64 // the same, had there been no limit
	Hold Hold
}

// merge returns the higher load of both, with what was permitted then.
func (s Slot) merge(o Slot) Slot {
	without := max(s.Free, o.Free)
	if o.Load > s.Load {
		s = o
	}
	s.Free = without
	return s
}

// Hold is what the registers of a way permit its charging.
type Hold uint8

// Holds, the loosest first.
const (
	Unheld     Hold = iota // the rating
	Rising                 // more than the failsafe limit, less than the rating
	HeldStart              // no more than that since the start
	HeldSignal             // by a command
	HeldSilent             // because of the silence
)

// letter is the mark of a hold in the chart of the evening.
func (h Hold) letter() rune { return [...]rune{' ', 'r', 'i', 'L', 'F'}[min(h, HeldSilent)] }

// held reports whether charging is at its failsafe limit or lower.
func (h Hold) held() bool { return h >= HeldStart }

func (h Hold) style() style {
	switch {
	case h == HeldSilent || h == HeldStart:
		return safe
	case h == Unheld:
		return free
	default:
		return limited
	}
}

// Event is one line of the story.
type Event struct {
	At   time.Duration
	Hour time.Duration
	Way  string // empty: it is about no way in particular
	Text string
}

// String is the line for a log.
func (e Event) String() string {
	text := e.Text
	if e.Way != "" {
		text = e.Way + ": " + text
	}
	return fmt.Sprintf("%5.1fs %s  %s", e.At.Seconds(), clock(e.Hour), text)
}

// clock is a time of day.
func clock(t time.Duration) string {
	return fmt.Sprintf("%02d:%02d", int(t.Hours())%24, int(t.Minutes())%60)
}

// Line is the picture as one line of a log: worst current and rating, state as
// the agent last told, lowest register in per cent.
func (p *Picture) Line() string {
	var parts []string
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Percent < 0 {
			parts = append(parts, fmt.Sprintf("%s %3.0f%%", r.ID, 100*r.load()))
			continue
		}
		state := strings.ToLower(r.State)
		if state == "" || !p.Heard {
			state = "unheard"
		}
		parts = append(parts, fmt.Sprintf("%s %3.0f/%.0f A %s %d%%", r.ID, r.Amps, r.Rating, state, r.Percent))
	}
	parts = append(parts, fmt.Sprintf("held %d", p.Backlog))
	return Event{At: p.Now, Hour: p.Hour, Text: strings.Join(parts, " | ")}.String()
}

// load is the present load in ratings.
func (r *Row) load() float64 {
	if r.Rating <= 0 {
		return 0
	}
	return r.Amps / r.Rating
}

// hold is the present hold.
func (r *Row) hold() Hold {
	if len(r.Past) == 0 {
		return Unheld
	}
	return r.Past[len(r.Past)-1].Hold
}

// Widths of the parts of a row: its name, the chart, what is said beside it.
const (
	labelWidth = 5
	panelWidth = 30
	leastChart = 10
)

// chartWidth is what is left for the chart. On a narrow page there is none.
func chartWidth(width int) int {
	if w := width - labelWidth - 1 - panelWidth; w >= leastChart {
		return w
	}
	return 0
}

// Lines of the live page beside the rows.
const (
	headLines   = 3
	scaleLines  = 2
	leastEvents = 5
	ruleLines   = 1
	mostLines   = 4 // of one row
)

// Live draws the page that is shown while the evening runs. It has height lines
// of at most width cells.
func (p *Picture) Live(width, height int, colour bool) []string {
	c := newCanvas(width, height)
	y := p.head(c)
	perRow := 1
	if len(p.Rows) > 0 {
		perRow = min(max((height-headLines-scaleLines-ruleLines-leastEvents)/len(p.Rows), 1), mostLines)
	}
	chart := chartWidth(width)
	for i := range p.Rows {
		r := &p.Rows[i]
		c.text(1, y, strong, r.ID)
		c.chart(labelWidth, y, chart, perRow, r.Past)
		p.panel(c, max(labelWidth, width-panelWidth), y, perRow, r)
		y += perRow
	}
	if chart > 0 {
		p.scale(c, y, chart)
		c.text(width-panelWidth, y, faint, "█ free  ⣿ held  ┄ rating")
		c.text(width-panelWidth, y+1, faint, "! over  × without limits")
		y += scaleLines
	}
	c.text(0, y, faint, strings.Repeat("─", c.width))
	y += ruleLines
	told := told(p.Events, len(p.Rows)-1)
	for _, e := range told[max(0, len(told)-max(0, height-y)):] {
		line := fmt.Sprintf("%6.1fs  ", e.At.Seconds())
		if e.Way != "" {
			line += e.Way + ": "
		}
		c.clip(0, y, width, normal, line+e.Text)
		y++
	}
	return c.lines(colour)
}

// head draws the state of the bench and returns the line after it.
func (p *Picture) head(c *canvas) int {
	x := c.text(1, 0, strong, clock(p.Hour))
	x = c.text(x, 0, normal, fmt.Sprintf("  %.0f of %.0f s", p.Now.Seconds(), p.For.Seconds()))
	x = c.text(x, 0, normal, fmt.Sprintf("   %d half-hours arrived, ", p.HalfHours))
	lost := normal
	if p.Lost > 0 {
		lost = wrong
	}
	x = c.text(x, 0, lost, fmt.Sprintf("%d lost", p.Lost))
	c.text(x, 0, normal, fmt.Sprintf("   sent %d, acked %d", p.Published, p.Acked))

	x = c.text(1, 1, normal, "link ")
	if p.LinkUp {
		x = c.text(x, 1, free, "up")
	} else {
		x = c.text(x, 1, wrong, "CUT for "+brief(p.Now-p.LinkSince))
	}
	x = c.text(x, 1, normal, "   heartbeats ")
	if p.Beating {
		x = c.text(x, 1, free, "steady")
	} else {
		x = c.text(x, 1, wrong, "SILENT for "+brief(p.Now-p.LastBeat))
	}
	x = c.text(x, 1, normal, "   backlog ")
	backlog := normal
	if p.Backlog > 0 {
		backlog = limited
	}
	c.text(x, 1, backlog, fmt.Sprintf("%d half-hours", p.Backlog))

	c.clip(1, 2, c.width-1, strong, p.Scene)
	return headLines
}

// panel says in words and numbers what a row is like now.
func (p *Picture) panel(c *canvas, x, y, lines int, r *Row) {
	over := normal
	if r.load() > 1 {
		over = wrong
	}
	next := c.text(x, y, over, fmt.Sprintf("%s %3.0f/%.0f A %3.0f%% ", r.Phase, r.Amps, r.Rating, 100*r.load()))
	c.text(next, y, r.hold().style(), p.state(r))
	if lines < 2 {
		return
	}
	switch {
	case r.Percent < 0:
		c.clip(x, y+1, panelWidth, faint, r.Name)
		return
	case r.Percent >= 100:
		next = c.text(x, y+1, normal, "no limit ")
	default:
		next = c.text(x, y+1, normal, fmt.Sprintf("limit %d%% ", r.Percent))
	}
	alarms := strings.Join(r.Alarms, " ")
	if alarms != "" {
		alarms = "ALARM " + alarms
	}
	if lines < 3 {
		c.clip(next, y+1, panelWidth-(next-x), wrong, alarms)
		return
	}
	c.clip(x, y+2, panelWidth, wrong, alarms)
	if lines > 3 || alarms == "" {
		c.clip(x, y+lines-1, panelWidth, faint, r.Name)
	}
}

// state is the state of a way: as the agent tells it, or in brackets what the
// registers say while it can't be heard.
func (p *Picture) state(r *Row) string {
	switch {
	case r.Percent < 0:
		return ""
	case p.Heard && r.State != "":
		return strings.ToUpper(r.State)
	}
	switch r.hold() {
	case Unheld:
		return "(free)"
	case HeldSilent, HeldStart:
		return "(failsafe)"
	default:
		return "(limited)"
	}
}

// told merges what happened to several ways at about the same time. Ways is how
// many there are.
func told(events []Event, ways int) []Event {
	var merged []Event
	count := 0
	for _, e := range events {
		last := len(merged) - 1
		if last < 0 || e.Way == "" || merged[last].Way == "" || merged[last].Text != e.Text ||
			e.At-merged[last].At > time.Second || slices.Contains(strings.Fields(merged[last].Way), e.Way) {
			merged, count = append(merged, e), 1
			continue
		}
		count++
		merged[last].Way += " " + e.Way
		if count == ways {
			merged[last].Way = "all ways"
		}
	}
	return merged
}
