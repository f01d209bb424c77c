package failsafe

import (
	"cmp"
	"slices"
	"time"

	"lvagent/meter"
)

// Period is a stretch of some days of the week in which a group's failsafe limit
// is another one. Where two meet, the stricter counts.
type Period struct {
	Days     [7]bool // by time.Weekday, of the day in which it begins
	From, To int     // minutes of the local day; To at or before From is on the next day
	Limit    meter.Milliamps
}

const (
	dayMinutes = 24 * 60
	weekLength = 7 * dayMinutes * 60 // seconds

	// mostStagger is how far apart sites pass an edge of their profile, so that
	// a fleet that is on its own does not move at one instant.
	mostStagger = 900 * time.Second
)

// stretch is a part of the week with one failsafe limit, up to the next one.
type stretch struct {
	from  int // second of the local week, which begins on Sunday
	limit meter.Milliamps
}

// weekly is a group's failsafe limit over the week.
type weekly struct {
	stretches []stretch // the first from 0; empty: the same limit always
	lowest    meter.Milliamps
	// stagger is how long before its time a lower limit begins, and after its
	// time a higher one: what the profile says is never exceeded.
	stagger int // seconds
}

// week works a group's profile out. Where no period is, its failsafe limit holds.
func (e *Engine) week(g *Group) weekly {
	return e.weekOf(g, g.Failsafe, g.Profile, 0, "profile|"+g.ID, mostStagger)
}

// schedule works out what a group may draw with or without the centre.
func (e *Engine) schedule(g *Group) weekly {
	return e.weekOf(g, g.Rating, g.Schedule, g.Shift, "schedule|"+g.ID, min(g.Stagger, mostStagger))
}

// lowest is the lowest limit that time alone can bring group g while the centre
// is silent.
func (e *Engine) lowest(g int) meter.Milliamps { return min(e.weeks[g].lowest, e.plans[g].lowest) }

// weekOf works a week of periods out; where none is, otherwise holds.
func (e *Engine) weekOf(g *Group, otherwise meter.Milliamps, periods []Period, shift time.Duration, draw string, stagger time.Duration) weekly {
	least := min(g.Guarantee, g.Rating)
	otherwise = max(otherwise, least)
	w := weekly{lowest: otherwise}
	if len(periods) == 0 {
		return w
	}
	edges := []int{0}
	type span struct {
		from, to int
		limit    meter.Milliamps
	}
	var spans []span
	later := int(shift/time.Second%weekLength+weekLength) % weekLength
	for _, p := range periods {
		for d, on := range p.Days {
			if !on {
				continue
			}
			long := p.To - p.From
			if long <= 0 {
				long += dayMinutes
			}
			from := ((d*dayMinutes+p.From)*60 + later) % weekLength
			to := from + long*60
			spans = append(spans, span{from, min(to, weekLength), max(p.Limit, least)})
			if to > weekLength { // Saturday night
				spans = append(spans, span{0, to - weekLength, max(p.Limit, least)})
			}
		}
	}
	for _, s := range spans {
		edges = append(edges, s.from, s.to)
	}
	slices.Sort(edges)
	for _, from := range slices.Compact(edges) {
		if from == weekLength {
			break
		}
		limit, any := otherwise, false
		for _, s := range spans {
			if s.from <= from && from < s.to {
				if !any || s.limit < limit {
					limit = s.limit
				}
				any = true
			}
		}
		if n := len(w.stretches); n == 0 || w.stretches[n-1].limit != limit {
			w.stretches = append(w.stretches, stretch{from, limit})
		}
	}
	w.lowest = slices.MinFunc(w.stretches, func(a, b stretch) int { return cmp.Compare(a.limit, b.limit) }).limit
	w.stagger = int(e.draw(draw, stagger) / time.Second)
	return w
}

// between is the lowest limit from one second of the local week to another,
// both included and at most a day apart; beyond the week it begins again.
func (w *weekly) between(from, to int) meter.Milliamps {
	turn := 0
	for ; from < 0; from, to = from+weekLength, to+weekLength {
	}
	for ; from >= weekLength; from, to = from-weekLength, to-weekLength {
	}
	i, found := slices.BinarySearchFunc(w.stretches, from, func(s stretch, at int) int { return cmp.Compare(s.from, at) })
	if !found {
		i--
	}
	low := w.stretches[i].limit
	for {
		if i++; i == len(w.stretches) {
			i, turn = 0, turn+weekLength
		}
		if turn+w.stretches[i].from > to {
			return low
		}
		low = min(low, w.stretches[i].limit)
	}
}

// calendar is the local time of an instant, with the changes of the clocks
// before and after it.
type calendar struct {
	now    int64    // unix seconds
	change [2]int64 // when the offset was and will be changed; 0: never
	offset [3]int64 // before, now, and after
	trust  bool
}

// look returns the calendar at wall. A clock that can't be trusted has none.
func (e *Engine) look(wall time.Time, trusted bool) calendar {
	if !trusted || !e.profiled {
		return calendar{}
	}
	local := wall.In(e.place)
	c := calendar{now: wall.Unix(), trust: true}
	_, off := local.Zone()
	c.offset = [3]int64{int64(off), int64(off), int64(off)}
	start, end := local.ZoneBounds()
	if !start.IsZero() {
		_, off = start.Add(-time.Second).Zone()
		c.change[0], c.offset[0] = start.Unix(), int64(off)
	}
	if !end.IsZero() {
		_, off = end.Zone()
		c.change[1], c.offset[2] = end.Unix(), int64(off)
	}
	return c
}

// profile is the limit of group g while the centre is silent.
func (e *Engine) profile(g int, c *calendar) meter.Milliamps {
	return e.weeks[g].at(c, e.cfg.Groups[g].Rating)
}

// at is the limit at an instant. Of an hour that comes twice, when clocks go
// back, the stricter counts both times; one that is left out is left out. Without
// a clock that can be trusted the strictest of the whole week holds: which day it
// is isn't known either.
func (w *weekly) at(c *calendar, low meter.Milliamps) meter.Milliamps {
	if len(w.stretches) == 0 || !c.trust {
		return w.lowest
	}
	from, to := c.now-int64(w.stagger), c.now+int64(w.stagger)
	for i, at := range c.change {
		if twice := c.offset[i] - c.offset[i+1]; at != 0 && twice > 0 && from < at+twice && to >= at-twice {
			from, to = min(from, at-twice), max(to, at+twice-1)
		}
	}
	for i, offset := range c.offset {
		a, b := from, to
		if i > 0 && c.change[i-1] != 0 {
			a = max(a, c.change[i-1])
		}
		if i < 2 && c.change[i] != 0 {
			b = min(b, c.change[i]-1)
		}
		if i == 0 && c.change[0] == 0 || i == 2 && c.change[1] == 0 || a > b {
			continue
		}
		// The first of January 1970 was a Thursday.
		second := int((a + offset + 4*86400) % weekLength)
		low = min(low, w.between(second, second+int(b-a)))
	}
	return low
}
