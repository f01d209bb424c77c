package dnp3

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"lvagent/dnp3/app"
)

// entry is a point with its value.
type entry struct {
	Point
	value app.Measurement
	// reported is the value of the last event, or of the last change when that
	// made none; the deadband is around it.
	reported      float64
	reportedFlags Flags
	// cleared is what a counter had when it was last cleared: it is taken off
	// from what the source counts.
	cleared uint32
	written bool // a master set the deadband
	frozen  app.Measurement
}

// database holds the values, sorted by index for each type: indices may have
// gaps, and never move.
type database struct {
	points [types][]entry
}

func newDatabase(points []Point) (*database, error) {
	var faults []error
	d := &database{}
	for _, p := range points {
		if err := p.check(); err != nil {
			faults = append(faults, err)
			continue
		}
		fresh := app.Measurement{Flags: Restart}
		if p.Type == OctetString {
			fresh.Octets = "\x00"
		}
		d.points[p.Type] = append(d.points[p.Type], entry{Point: p, value: fresh, frozen: fresh})
	}
	for _, of := range d.points {
		slices.SortFunc(of, func(a, b entry) int { return cmp.Compare(a.Index, b.Index) })
		for i := range of {
			if i > 0 && of[i].Index == of[i-1].Index {
				faults = append(faults, fmt.Errorf("%s %d: twice", of[i].Type, of[i].Index))
			}
		}
	}
	return d, errors.Join(faults...)
}

// at returns the position of the first point at or above an index.
func (d *database) at(t Type, index uint32) int {
	low, high := 0, len(d.points[t])
	for low < high {
		mid := (low + high) / 2
		if uint32(d.points[t][mid].Index) < index {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// find returns the position of a point, -1 when it is not there.
func (d *database) find(t Type, index uint32) int {
	if t >= types {
		return -1
	}
	if i := d.at(t, index); i < len(d.points[t]) && uint32(d.points[t][i].Index) == index {
		return i
	}
	return -1
}

// within returns the positions of the points from start to stop. Whole is false
// when the range reaches beyond the points that are there.
func (d *database) within(t Type, start, stop uint32) (first, end int, whole bool) {
	first, end = d.at(t, start), d.at(t, stop)
	of := d.points[t]
	if end < len(of) && uint32(of[end].Index) == stop {
		end++
	}
	whole = first < end && uint32(of[0].Index) <= start && uint32(of[len(of)-1].Index) >= stop
	return first, end, whole
}

// change takes a new value in. It returns the measurement of an event, and
// whether there is one.
func (d *database) change(position int, c Change) (m app.Measurement, event bool) {
	e := &d.points[c.Type][position]
	m = app.Measurement{Number: c.Number, Octets: c.Octets, Flags: c.Flags, Time: c.Time}
	switch c.Type {
	case BinaryInput, BinaryOutput:
		if c.Number != 0 { // even what is not a number is one of two states
			m.Number = 1
		}
	case DoubleBitInput:
		m.Number = float64(uint8(c.Number) & 3)
	case Counter:
		m.Number = float64(uint32(wholeCount(c.Number)) - e.cleared)
	case OctetString:
		m.Octets = c.Octets[:min(len(c.Octets), 255)]
		if m.Octets == "" {
			m.Octets = "\x00"
		}
	}
	if math.IsNaN(m.Number) || math.IsInf(m.Number, 0) {
		m.Number, m.Flags = e.value.Number, c.Flags&^Online|ReferenceErr
	}
	if c.Event == EventOnly {
		return m, true
	}
	switch {
	case c.Event == Always:
		event = true
	case c.Event == Suppress:
	case c.Type == OctetString:
		event = m.Octets != e.value.Octets
	default:
		event = m.Flags != e.reportedFlags || math.Abs(m.Number-e.reported) > e.Deadband
	}
	e.value = m
	if event || c.Event == Suppress {
		e.reported, e.reportedFlags = m.Number, m.Flags
	}
	return m, event
}

// wholeCount is a source's count modulo 32 bits; what is not a count is 0.
func wholeCount(n float64) uint64 {
	if !(n > 0) || math.IsInf(n, 0) {
		return 0
	}
	return uint64(math.Mod(math.Floor(n), 1<<32))
}

// freeze copies a counter's value, and clears it on demand.
func (d *database) freeze(position int, clear bool, wall int64) app.Measurement {
	e := &d.points[Counter][position]
	e.frozen = e.value
	e.frozen.Time = wall
	if clear {
		e.cleared += uint32(e.value.Number)
		e.value.Number, e.reported = 0, 0
	}
	return e.frozen
}
