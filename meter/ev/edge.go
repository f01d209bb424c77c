package ev

import "time"

// How an edge in the current of a phase is found: the current leaves its level,
// and a while later stands still at another. A car takes some seconds to its
// full current, and what an edge amounts to is looked at twice: by the readings
// next to it, which nothing else disturbs, and by more of them, which average
// out what thermostats do.
const (
	leave    = 3_000 // mA off the level: it moves
	stand    = 1_500 // mA between readings that stand still
	standFor = 3     // readings
	restless = 15    // readings of moving after which it counts as standing
	settle   = 5     // readings that the level follows
	around   = 20    // readings before and after, for the second look
	history  = 64    // readings kept: around, moving, around

	mostEdges   = 24 // open on a phase
	minutes     = 24 // whose lowest current is kept: before a candidate and after
	mostPending = 8  // waiting for their second look
)

// edge is one change of a phase's current, up or down.
type edge struct {
	up    bool
	at    time.Duration // of the first reading off the old level
	amps  int64         // mA, always positive; 0: none
	over  int64         // mA, by the second look
	steep int64         // mA, the most between two readings of it

	before int64 // mean of the readings before it
	wait   int   // readings until the second look; 0: none
}

// phase follows the current of one phase that is in step with its voltage.
type phase struct {
	ring   [history]int64
	n      int // readings without a gap, up to history
	head   int // where the next goes
	level  int64
	moving int // readings since it left its level
	left   edge

	pending [mostPending]edge
	open    [mostEdges]edge // falls that nothing explains, and rises

	low    int64 // of the minute that runs
	high   int64
	count  int
	lows   [minutes]int64 // the lowest of each minute before, the newest first
	highs  [minutes]int64
	filled int // of lows
	busy   int // edges of late, thousandths
}

// forget lets go of what a gap makes useless: levels, and edges half seen.
func (p *phase) forget() {
	p.n, p.head, p.moving, p.count, p.filled = 0, 0, 0, 0, 0
	p.pending = [mostPending]edge{}
}

// back is the reading i before the newest.
func (p *phase) back(i int) int64 { return p.ring[(p.head-1-i+2*history)%history] }

// add takes a current and returns an edge that had its second look.
func (p *phase) add(at time.Duration, amps int64) (e edge, ok bool) {
	p.ring[p.head] = amps
	p.head = (p.head + 1) % history
	p.n = min(p.n+1, history)
	p.busy -= p.busy / 300
	p.minute()
	if p.n < settle {
		p.level = amps
		return edge{}, false
	}
	e, ok = p.look()
	step := abs(amps - p.back(1))
	switch {
	case p.moving == 0 && abs(amps-p.level) <= leave:
		p.level = p.middle(settle)
	case p.moving == 0:
		p.moving = 1
		p.left = edge{at: at, before: p.mean(1, min(around, p.n-1)), steep: step}
	default:
		p.moving++
		p.left.steep = max(p.left.steep, step)
		low, high, sum := amps, amps, int64(0)
		for i := range standFor {
			x := p.back(i)
			low, high, sum = min(low, x), max(high, x), sum+x
		}
		if high-low > stand && p.moving < restless {
			break
		}
		now := sum / standFor
		p.rest(now - p.level)
		p.level, p.moving = now, 0
	}
	return e, ok
}

// rest notes an edge of so much, which has come to rest.
func (p *phase) rest(by int64) {
	if abs(by) < leave {
		return
	}
	p.busy += 1000
	e := p.left
	e.amps, e.up, e.wait = abs(by), by > 0, around-standFor
	oldest := 0
	for i := range p.pending {
		if p.pending[i].wait == 0 {
			p.pending[i] = e
			return
		}
		if p.pending[i].wait < p.pending[oldest].wait {
			oldest = i
		}
	}
	p.pending[oldest] = e
}

// look takes the second look that is due, if any.
func (p *phase) look() (e edge, ok bool) {
	for i := range p.pending {
		w := &p.pending[i]
		if w.wait == 0 || ok && w.wait == 1 {
			continue // one at a time
		}
		if w.wait--; w.wait == 0 {
			if w.over = p.mean(0, around) - w.before; !w.up {
				w.over = -w.over
			}
			e, ok = *w, true
		}
	}
	return e, ok
}

// middle is the median of the newest readings.
func (p *phase) middle(n int) int64 {
	sorted := p.sorted(0, n)
	return sorted[n/2]
}

// mean is the mean of n readings without the quarter at either end of them,
// beginning skip before the newest.
func (p *phase) mean(skip, n int) int64 {
	sorted := p.sorted(skip, n)
	sum, cut := int64(0), n/4
	for _, x := range sorted[cut : n-cut] {
		sum += x
	}
	return sum / int64(n-2*cut)
}

func (p *phase) sorted(skip, n int) (sorted [around]int64) {
	for i := range n {
		x, j := p.back(skip+i), i
		for ; j > 0 && sorted[j-1] > x; j-- {
			sorted[j] = sorted[j-1]
		}
		sorted[j] = x
	}
	return sorted
}

// minute follows the lowest and the highest current of each minute.
func (p *phase) minute() {
	if p.n < standFor {
		return
	}
	x := (p.back(0) + p.back(1) + p.back(2)) / standFor
	if p.count == 0 {
		p.low, p.high = x, x
	}
	p.low, p.high = min(p.low, x), max(p.high, x)
	if p.count++; p.count >= 60 {
		copy(p.lows[1:], p.lows[:])
		copy(p.highs[1:], p.highs[:])
		p.lows[0], p.highs[0] = p.low, p.high
		p.count, p.filled = 0, min(p.filled+1, minutes)
	}
}

// lowest is the lowest current of n minutes that ended skip minutes ago.
func (p *phase) lowest(skip, n int) (x int64, ok bool) {
	if p.filled < skip+n {
		return 0, false
	}
	x = p.lows[skip]
	for _, y := range p.lows[skip : skip+n] {
		x = min(x, y)
	}
	return x, true
}

func abs(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

// keep puts an edge among those that nothing explains yet; the oldest gives way.
func (p *phase) keep(e edge) {
	at := 0
	for i := range p.open {
		o := &p.open[i]
		if o.amps == 0 {
			at = i
			break
		}
		if o.at < p.open[at].at {
			at = i
		}
	}
	p.open[at] = e
}

// nearest is the rise about a time whose size is nearest to a current; nil for
// none.
func (p *phase) nearest(at time.Duration, amps int64) (best *edge) {
	for i := range p.open {
		o := &p.open[i]
		if o.amps > 0 && o.up && (o.at-at).Abs() <= within && (best == nil || abs(o.amps-amps) < abs(best.amps-amps)) {
			best = o
		}
	}
	return best
}

// riseOf is the rise that a fall is most like, of those no further off than most;
// -1 for none.
func (p *phase) riseOf(e edge, most int64) int {
	best := -1
	for i := range p.open {
		if o := &p.open[i]; o.amps > 0 && o.up && o.at < e.at && abs(o.amps-e.amps) <= most {
			best, most = i, abs(o.amps-e.amps)
		}
	}
	return best
}

// fellInTwo reports whether two falls that nothing explains are together as large
// as a candidate that began before.
func (p *phase) fellInTwo(x *candidate) bool {
	amps := int64(x.I)
	for i := range p.open {
		a := &p.open[i]
		if a.amps == 0 || a.up || a.at <= x.Since {
			continue
		}
		for j := range i {
			if b := &p.open[j]; b.amps > 0 && !b.up && b.at > x.Since && abs(a.amps+b.amps-amps) <= tolerance(amps) {
				return true
			}
		}
	}
	return false
}
