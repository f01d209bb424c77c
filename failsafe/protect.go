package failsafe

import (
	"slices"
	"time"

	"lvagent/meter"
)

// TX names the transformer among the loads: a constraint like a way, on every
// group of the site.
const TX = "TX"

// Loads in thousandths of the rating, and how long they may last. A feeder is
// brought back to its soft target within seconds where it is far above it, and
// only after half a minute where it is not: motors and kettles come and go.
const (
	softTarget  = 950
	hardTarget  = 1150
	resumeBelow = 880
	slowAbove   = 800

	softFor   = 30 * time.Second
	shedEvery = 2 * time.Second // so that the last step can be seen in the measurement

	// leastCharge is the current below which a car does not charge at all.
	leastCharge meter.Milliamps = 6000
)

// Constraint is what protection knows of one phase of a way, or of the
// transformer.
type Constraint struct {
	Way   string
	Phase meter.Phase
	Good  time.Duration // when it was last measured well
	Over  time.Duration // since when it is above the soft target; with Above
	Above bool
	Shed  time.Duration // when groups on it were last lowered
	Load  int64         // thousandths of the rating; import only
	Known bool          // Load is good and fresh
}

// constraints takes the loads: which phases are above their target, and which
// are not measured.
func (r *run) constraints() {
	for i := range r.s.Constraints {
		c := &r.s.Constraints[i]
		rating := r.rating(c.Way, c.Phase)
		l := slices.IndexFunc(r.loads, func(l Load) bool { return l.Way == c.Way })
		c.Known = l >= 0 && rating > 0 && r.loads[l].Quality[c.Phase] == meter.Good &&
			r.now-r.loads[l].At <= r.cfg.Timers.Sample && r.loads[l].At <= r.now
		if !c.Known {
			continue
		}
		c.Good = r.loads[l].At
		// Export is no load: shedding charging would make it worse (P below 0).
		const most = 1 << 40
		c.Load = max(0, min(int64(r.loads[l].I[c.Phase]), most)) * 1000 / int64(rating)
		switch above := c.Load > softTarget; {
		case above && !c.Above:
			c.Above, c.Over = true, r.now
		case !above:
			c.Above = false
		}
	}
}

func (r *run) rating(way string, p meter.Phase) meter.Milliamps {
	if way == TX {
		return r.cfg.Transformer
	}
	if w := r.way(way); w >= 0 {
		return r.cfg.Ways[w].Rating[p]
	}
	return 0
}

// covers reports whether constraint c is on a phase of group g.
func (r *run) covers(c *Constraint, g int) bool {
	cfg := &r.cfg.Groups[g]
	return cfg.Phases[c.Phase] && (c.Way == TX || c.Way == cfg.Way)
}

// protect lowers the groups on a phase that is above its target, each by the
// same share, and holds them until the phase is clearly below. What a group
// draws is not measured, only what it may draw at most; so it is lowered step by
// step until the measurement follows.
func (r *run) protect() {
	for i := range r.s.Constraints {
		c := &r.s.Constraints[i]
		if !c.Known || !c.Above || r.now-c.Shed < shedEvery && c.Shed > 0 {
			continue
		}
		if c.Load <= hardTarget && r.now-c.Over < softFor {
			continue
		}
		c.Shed = r.now
		share := min(900, softTarget*1000/c.Load)
		for g := range r.s.Groups {
			gs := &r.s.Groups[g]
			if !r.covers(c, g) {
				continue
			}
			most := gs.Limit
			if gs.Capped {
				most = min(most, gs.Cap)
			}
			lowered := meter.Milliamps(int64(most)*share/1000) / 100 * 100
			if lowered < leastCharge {
				lowered = 0
			}
			gs.Capped, gs.Cap = true, lowered
			r.ev.Store = true
		}
	}
	for g := range r.s.Groups {
		gs := &r.s.Groups[g]
		if gs.Capped && r.clear(g) {
			gs.Capped, gs.Cap = false, 0
		}
	}
}

// clear reports whether all phases that bear on group g are measured and
// clearly below their target.
func (r *run) clear(g int) bool {
	for i := range r.s.Constraints {
		c := &r.s.Constraints[i]
		if !r.covers(c, g) {
			continue
		}
		if c.Known && c.Load >= resumeBelow || !c.Known && c.Way != TX {
			return false
		}
	}
	return true
}

// blind reports whether a phase of group g has not been measured for so long
// that nobody knows what its way carries. The transformer alone blinds nobody.
func (r *run) blind(g int) bool {
	for i := range r.s.Constraints {
		c := &r.s.Constraints[i]
		if c.Way != TX && r.covers(c, g) && r.now-c.Good > r.cfg.Timers.Blind {
			return true
		}
	}
	return false
}

// frozen reports whether a fuse is suspected on a phase of group g.
func (r *run) frozen(g int) bool {
	cfg := &r.cfg.Groups[g]
	i := slices.IndexFunc(r.loads, func(l Load) bool { return l.Way == cfg.Way })
	if i < 0 {
		return false
	}
	for p, used := range cfg.Phases {
		if used && r.loads[i].Frozen[p] {
			return true
		}
	}
	return false
}

// unmeasured is the load of a group of which a phase is not measured: above
// every other.
const unmeasured = 1 << 62

// highest is the highest load on the group's phases, of its way and of the
// transformer, in thousandths of the rating. A transformer that is not measured
// makes raises slow, no more.
func (r *run) highest(g int) int64 {
	var high int64
	for i := range r.s.Constraints {
		c := &r.s.Constraints[i]
		switch {
		case !r.covers(c, g):
		case c.Known:
			high = max(high, c.Load)
		case c.Way == TX:
			high = max(high, slowAbove)
		default:
			return unmeasured
		}
	}
	return high
}
