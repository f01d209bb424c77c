package alarm

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// mean adds up a value over one stretch of wall-clock time.
type mean struct {
	open       bool
	end        time.Duration // of the stretch
	sum        int64         // value x ms, of a signed quantity
	squares    fixed.Sum     // value x value x ms, of a magnitude
	weight     int64         // ms
	quality    meter.Quality // the worst that took part
	void       bool          // the supply was lost: no verdict on this stretch
	value      int64         // that stands since at
	at         time.Duration
	holds      bool
	valueWorth meter.Quality
}

// largestRMS is the largest magnitude of which squares are summed: 1 MV or 1 MA.
// A stretch of an hour of them fits 128 bits, and its mean fits 64.
const largestRMS = 1_000_000_000

// add takes a sample. When it is the first one after the end of a stretch it
// returns that stretch's mean, unless too little of it was measured.
func (a *mean) add(x seen, at time.Duration, wall time.Time, over time.Duration, signed bool, hold time.Duration, void bool) (out seen, closed bool) {
	if x.there() && !signed && (x.value > largestRMS || x.value < -largestRMS) {
		x = seen{ends: true}
	}
	if a.open && at >= a.end {
		a.until(a.end, hold)
		out, closed = a.close(over, signed)
		value, stamp, holds, worth := a.value, a.at, a.holds, a.valueWorth
		*a = mean{value: value, at: stamp, holds: holds, valueWorth: worth}
	}
	if !a.open {
		// The end is set when the stretch begins: a clock that is stepped in its
		// middle makes the next one too short for a verdict, and this one whole.
		a.open, a.quality = true, meter.Good
		a.end = at + over - time.Duration(wall.UnixNano()%int64(over))
	}
	switch {
	case x.quality != meter.Missing:
		a.until(at, hold)
		a.value, a.at, a.holds, a.valueWorth = x.value, at, true, x.quality
	case x.ends:
		a.until(at, hold)
		a.holds = false
	}
	a.void = a.void || void
	return out, closed
}

// until counts the value that stands up to at.
func (a *mean) until(at, hold time.Duration) {
	if !a.holds {
		return
	}
	ms := int64(max(0, min(at-a.at, hold)) / time.Millisecond)
	if at-a.at >= hold {
		a.holds = false
	}
	a.at = max(a.at, at)
	if ms == 0 {
		return
	}
	a.weight += ms
	a.sum += a.value * ms
	magnitude := uint64(max(a.value, -a.value))
	if magnitude <= largestRMS {
		a.squares = a.squares.Plus(fixed.Product(magnitude*magnitude, uint64(ms)))
	}
	a.quality = min(a.quality, a.valueWorth)
}

// close returns the mean of the stretch, or that there is no verdict.
func (a *mean) close(over time.Duration, signed bool) (seen, bool) {
	if a.void || a.weight < int64(over/time.Millisecond)*9/10 {
		return seen{}, false
	}
	if signed {
		return seen{value: a.sum / a.weight, quality: a.quality}, true
	}
	square := a.squares.Over(uint64(a.weight))
	return seen{value: int64(fixed.Sum{Lo: square}.Root()), quality: a.quality}, true
}

// signed reports whether the rule's quantity has a direction.
func (r Rule) signed() bool { return r.Quantity == P || r.Quantity == Q }

// trail remembers the values of a while, for a rate.
type trail struct {
	over time.Duration
	ring []stamped
	next int
	n    int
}

type stamped struct {
	at      time.Duration
	value   int64
	quality meter.Quality
}

// mostPast bounds the values that a rate looks back over.
const mostPast = 600

// newTrail makes room for the readings of a while; hold is 2.5 polls.
func newTrail(over, hold time.Duration) *trail {
	poll := max(hold*2/5, time.Millisecond)
	return &trail{over: over, ring: make([]stamped, min(int(over/poll), mostPast)+2)}
}

// moved returns how far the value went from the one that is the farthest away
// within the time that it looks back over. A refusal forgets what was before it.
func (p *trail) moved(x seen, at time.Duration) seen {
	if x.quality == meter.Missing {
		if x.ends {
			p.n = 0
		}
		return x
	}
	p.ring[p.next] = stamped{at, x.value, x.quality}
	p.next = (p.next + 1) % len(p.ring)
	p.n = min(p.n+1, len(p.ring))
	most := int64(0)
	for i := 1; i <= p.n; i++ {
		old := &p.ring[(p.next-i+len(p.ring))%len(p.ring)]
		if at-old.at > p.over {
			break
		}
		if d := max(x.value-old.value, old.value-x.value); d > most {
			most, x.quality = d, min(x.quality, old.quality)
		}
	}
	x.value = most
	return x
}
