package hwtest

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// style is how a cell is drawn where there are colours. Nothing is told by it
// alone: what is over its rating has a mark of its own, what is held has a
// texture of its own, a state has its name.
type style uint8

const (
	normal  style = iota
	faint         // scales and what is yet to come
	strong        // headings
	free          // charging as it likes
	limited       // held by a command, or rising
	safe          // held at the failsafe limit
	wrong         // over the rating, cut, an alarm
	styles
)

// sgr has the attributes of each style (ECMA-48, 8.3.117), in the eight colours
// that every terminal has.
var sgr = [styles]string{
	normal: "", faint: "2", strong: "1", free: "32", limited: "33", safe: "36", wrong: "1;31",
}

type cell struct {
	r rune
	s style
}

// canvas is a page of cells. What does not fit is not drawn, so that no line is
// ever wider than the page.
type canvas struct {
	width int
	rows  [][]cell
}

func newCanvas(width, height int) *canvas {
	c := &canvas{width: max(width, 0), rows: make([][]cell, max(height, 0))}
	for y := range c.rows {
		c.rows[y] = make([]cell, c.width)
	}
	return c
}

// set draws one cell.
func (c *canvas) set(x, y int, s style, r rune) {
	if x >= 0 && x < c.width && y >= 0 && y < len(c.rows) {
		c.rows[y][x] = cell{oneCell(r), s}
	}
}

// text draws a text and returns the column after it.
func (c *canvas) text(x, y int, s style, text string) int {
	for _, r := range text {
		c.set(x, y, s, r)
		x++
	}
	return x
}

// clip is text for a field: what is cut off at its end leaves a mark.
func (c *canvas) clip(x, y, width int, s style, text string) {
	text = strings.ReplaceAll(text, "\n", " ")
	if utf8.RuneCountInString(text) > width && width > 0 {
		text = string([]rune(text)[:width-1]) + "…"
	}
	if width > 0 {
		c.text(x, y, s, text)
	}
}

// lines returns the page, without spaces at the ends of lines.
func (c *canvas) lines(colour bool) []string {
	lines := make([]string, len(c.rows))
	for y, row := range c.rows {
		end := len(row)
		for end > 0 && (row[end-1].r == 0 || row[end-1].r == ' ') {
			end--
		}
		var b strings.Builder
		last := normal
		for _, cell := range row[:end] {
			if cell.r == 0 {
				cell.r = ' '
			}
			if colour && cell.s != last && cell.r != ' ' {
				b.WriteString("\x1b[0")
				if a := sgr[cell.s]; a != "" {
					b.WriteString(";" + a)
				}
				b.WriteByte('m')
				last = cell.s
			}
			b.WriteRune(cell.r)
		}
		if last != normal {
			b.WriteString("\x1b[0m")
		}
		lines[y] = b.String()
	}
	return lines
}

// oneCell returns r, or a question mark for what a terminal may draw over no
// cell or two, or take for a command: an agent's last words can hold anything.
func oneCell(r rune) rune {
	switch {
	case !unicode.IsPrint(r):
		return '?'
	case r < 0x300,
		r >= 0x2010 && r <= 0x2027, // dashes, quotes, ellipsis
		r >= 0x2500 && r <= 0x259f, // lines, blocks
		r >= 0x2800 && r <= 0x28ff: // braille
		return r
	default:
		return '?'
	}
}
