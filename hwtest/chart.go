package hwtest

import (
	"fmt"
	"math"
	"time"

	"lvagent/hwtest/bench"
)

// Levels of a cell. What charges as it likes is solid, what is held is dotted.
var (
	solid  = []rune(" ▁▂▃▄▅▆▇█")
	dotted = []rune(" ⣀⣤⣶⣿")
)

// Marks in the top line of a chart, whose middle is the rating.
const (
	ratingMark = '┄'
	overMark   = '!'
	elseMark   = '×' // here it would have been over, had there been no limits
)

// chart draws load against rating over the evening. The rating is the middle of
// the top line; there is a mark where it is passed.
func (c *canvas) chart(x, y, width, height int, past []Slot) {
	for col := range width {
		s, known := column(past, col, width)
		if !known {
			c.set(x+col, y, faint, ratingMark)
			continue
		}
		glyphs := solid
		if s.Hold.held() {
			glyphs = dotted
		}
		full := len(glyphs) - 1
		n := level(s.Load, full, height)
		for line := range height {
			fill := min(max(n-(height-1-line)*full, 0), full)
			switch {
			case line == 0 && s.Load > 1:
				c.set(x+col, y, wrong, overMark)
			case fill > 0:
				c.set(x+col, y+line, s.Hold.style(), glyphs[fill])
			case line == 0 && s.Free > 1:
				c.set(x+col, y, wrong, elseMark)
			case line == 0:
				c.set(x+col, y, faint, ratingMark)
			}
		}
	}
}

// level is how many of the parts of height cells a load fills. All but half a
// cell is the rating.
func level(load float64, full, height int) int {
	rating := float64(full*height) - float64(full)/2
	if !(load > 0) { // NaN too
		return 0
	}
	return int(min(max(math.Round(load*rating), 1), float64(full*height)))
}

// column returns the worst of the slots that a column of a chart stands for.
func column(past []Slot, col, width int) (Slot, bool) {
	from, to := span(col, width)
	if from >= len(past) {
		return Slot{}, false
	}
	s := past[from]
	for _, o := range past[from+1 : min(max(to, from+1), len(past))] {
		s = s.merge(o)
	}
	return s, true
}

// span returns the slots of a column: at least one.
func span(col, width int) (from, to int) {
	from = col * slots / width
	return from, max((col+1)*slots/width, from+1)
}

// scale draws the link and the hours under the charts.
func (p *Picture) scale(c *canvas, y, width int) {
	c.text(0, y, normal, "link")
	for col := range width {
		from, to := span(col, width)
		if from >= len(p.Link) {
			c.set(labelWidth+col, y, faint, '·')
			continue
		}
		s, r := faint, '─'
		for _, up := range p.Link[from:min(to, len(p.Link))] {
			if !up {
				s, r = wrong, '╳'
			}
		}
		c.set(labelWidth+col, y, s, r)
	}
	for _, at := range p.Signals {
		c.set(labelWidth+at*width/slots, y, strong, 'L')
	}
	for _, at := range p.Statements {
		c.set(labelWidth+at*width/slots, y, strong, 'S')
	}
	begin, end := bench.Hour(0), bench.Hour(1)
	free := 0
	for at := begin; at < end; at += 30 * time.Minute {
		x := int(int64(width) * int64(at-begin) / int64(end-begin))
		if x >= free && x+5 <= width {
			free = c.text(labelWidth+x, y+1, faint, clock(at)) - labelWidth + 1
		}
	}
}

// Lines of one row in the chart of the evening.
const (
	pastChart  = 3
	mostCharts = 120 // cells, however wide the page

	legendLines = 2
)

// pastLines is how many lines a row has there: one more where it can be held.
func (r *Row) pastLines() int {
	if r.Percent < 0 {
		return pastChart
	}
	return pastChart + 1
}

// Evening draws the chart of the whole evening, in lines of at most width cells.
func (p *Picture) Evening(width int, colour bool) []string {
	width = min(width, mostCharts)
	chart := chartWidth(width)
	height := 1 + scaleLines + legendLines
	for i := range p.Rows {
		height += p.Rows[i].pastLines()
	}
	c := newCanvas(width, height)
	c.clip(1, 0, width-1, strong, "The evening: load of the worst phase against the rating")
	y := 1
	for i := range p.Rows {
		r := &p.Rows[i]
		c.text(1, y, strong, r.ID)
		c.chart(labelWidth, y, chart, pastChart, r.Past)
		for col := range chart {
			if s, known := column(r.Past, col, chart); known && r.Percent >= 0 {
				c.set(labelWidth+col, y+pastChart, s.Hold.style(), s.Hold.letter())
			}
		}
		x := labelWidth
		if chart > 0 {
			x = width - panelWidth
		}
		c.clip(x, y, panelWidth, normal, fmt.Sprintf("%s, %.0f A", r.Name, r.Rating))
		c.clip(x, y+1, panelWidth, normal, fmt.Sprintf("peak %s %.0f A, %.0f%%", r.Peak.Phase, r.Peak.Amps, 100*r.peak()))
		without := normal
		if r.NoLimits > 1 {
			without = wrong
		}
		c.clip(x, y+2, panelWidth, without, fmt.Sprintf("without limits %.0f%%", 100*r.NoLimits))
		if r.Failsafe > 0 && chart > 0 {
			c.clip(x, y+3, panelWidth, safe, "F held in failsafe "+brief(r.Failsafe))
		}
		y += r.pastLines()
	}
	if chart > 0 {
		p.scale(c, y, chart)
		c.text(width-panelWidth, y, faint, "╳ cut  L signal  S statement")
		y += scaleLines
	}
	c.clip(1, y, width-1, faint, "┄ rating  ! over it  × it would have been over without limits")
	c.clip(1, y+1, width-1, faint, "█ free  ⣿ held: i since the start  L by a signal  F failsafe  (r rising)")
	return c.lines(colour)
}

// peak is the highest load of the evening in ratings.
func (r *Row) peak() float64 {
	if r.Rating <= 0 {
		return 0
	}
	return r.Peak.Amps / r.Rating
}
