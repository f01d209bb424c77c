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
	atRating    = 1000

	softFor = 30 * time.Second
	hardFor = 10 * time.Second // above the rating itself
	// settleFor is how long after a limit was lowered a sample must have been
	// taken to show what came of it.
	settleFor = 2 * time.Second
	// helplessFor is how long a phase may be above its rating with nothing left
	// to shed before somebody is told.
	helplessFor = time.Minute

	// leastCharge is the current below which a car does not charge at all.
	leastCharge meter.Milliamps = 6000

	// mostLoad bounds what is reckoned with, so that no square leaves its 64
	// bits: a thousand times the rating.
	mostLoad = 1_000_000
)

// Uncontrollable is the condition of a phase above its rating on which nothing
// is left to shed.
const Uncontrollable = "UNCONTROLLABLE"

// Constraint is what protection knows of one phase of a way, or of the
// transformer, and what it lets the groups on it draw together.
type Constraint struct {
	Way    string
	Phase  meter.Phase
	Good   time.Duration // when it was last measured well
	Over   time.Duration // since when it is above the soft target; with Above
	Above  bool
	Load   int64 // thousandths of the rating; import only
	Known  bool  // Load is good and fresh
	Import meter.Milliamps

	Shed   time.Duration // when groups on it were last lowered
	Raised time.Duration // when a contact on it was last closed again
	Bound  bool          // Budget is in force
	Budget meter.Milliamps
	Grown  time.Duration // up to when Budget was raised, or might have been
	// Margin is kept free besides, for what nobody controls: by how much it went
	// beyond the target of late. Before is what it was when it last did.
	Margin, Before meter.Milliamps

	Theta int64         // thermal state, billionths of that at the rating for ever
	Warm  time.Duration // up to when Theta was reckoned

	Helpless bool // UNCONTROLLABLE is raised

	Outage   string        `json:",omitempty"` // the loss of supply, while it lasts
	Low      bool          `json:",omitempty"` // the voltage is too low to count as supply
	LowSince time.Duration `json:",omitempty"`
	LowSeen  time.Duration `json:",omitempty"` // when it was last measured so
}

// constraint is what the engine knows of a constraint beforehand.
type constraint struct {
	rating meter.Milliamps
	tx     bool
	groups []int // on it, in order of configuration
}

// plan finds the groups on each constraint, in the order in which New makes
// them.
func (e *Engine) plan() {
	add := func(way string, rating meter.Milliamps, p meter.Phase) {
		c := constraint{rating: rating, tx: way == TX}
		for g := range e.cfg.Groups {
			if e.cfg.Groups[g].Phases[p] && (c.tx || e.cfg.Groups[g].Way == way) {
				c.groups = append(c.groups, g)
			}
		}
		e.bounds = append(e.bounds, c)
	}
	for _, w := range e.cfg.Ways {
		for p := range meter.Phase(meter.Phases) {
			add(w.ID, w.Rating[p], p)
		}
	}
	if e.cfg.Transformer > 0 {
		for p := range meter.Phase(meter.Phases) {
			add(TX, e.cfg.Transformer, p)
		}
	}
	for g := range e.cfg.Groups {
		e.lots = append(e.lots, e.lot(e.cfg.Groups[g].ID))
	}
	e.on = make([][]int, len(e.cfg.Groups))
	for i := range e.bounds {
		for _, g := range e.bounds[i].groups {
			e.on[g] = append(e.on[g], i)
		}
	}
}

// constraints takes the loads: which phases are above their target, which are
// not measured, and how warm they are.
func (r *run) constraints() {
	for i := range r.s.Constraints {
		c, rating := &r.s.Constraints[i], r.bounds[i].rating
		l := slices.IndexFunc(r.loads, func(l Load) bool { return l.Way == c.Way })
		if l >= 0 && r.loads[l].Frozen[c.Phase] {
			// It is not what the customers take: nothing may be raised by it, nor as
			// soon as it can be seen again.
			c.Raised = r.now
		}
		c.Known = l >= 0 && rating > 0 && r.loads[l].Quality[c.Phase] == meter.Good &&
			r.now-r.loads[l].At <= r.cfg.Timers.Sample && r.loads[l].At <= r.now
		if c.Known {
			c.Good = r.loads[l].At
			// Export is no load: shedding charging would make it worse (P below 0).
			const most = 1 << 40
			c.Import = max(0, min(r.loads[l].I[c.Phase], most))
			c.Load = min(int64(c.Import)*1000/int64(rating), mostLoad)
			switch above := c.Load > softTarget; {
			case above && !c.Above:
				c.Above, c.Over = true, r.now
			case !above:
				c.Above = false
			}
		}
		c.warm(r.now, r.cfg.Timers.Thermal)
	}
	r.takeDraws()
}

// warm moves the thermal state to now: a body with one time constant, heated by
// the square of the current (IEC 60255-149). What is not measured is taken to be
// at its rating, never cooler than it was.
func (c *Constraint) warm(now, tau time.Duration) {
	const step = time.Second
	if tau < step || now <= c.Warm {
		c.Warm = now
		return
	}
	load := min(c.Load, 10*atRating)
	if !c.Known {
		load = max(load, atRating)
	}
	heat := load * load * 1000 // billionths
	if now-c.Warm > 10*tau {
		c.Theta, c.Warm = heat, now
		return
	}
	for now-c.Warm >= step {
		d := min(now-c.Warm, tau/60).Truncate(step)
		if d <= 0 {
			d = step
		}
		c.Theta += (heat - c.Theta) / int64(tau/time.Millisecond) * int64(d/time.Millisecond)
		c.Warm += d
	}
}

// hot reports whether the phase is too warm for anything to be raised on it.
func (c *Constraint) hot() bool { return c.Theta > 900_000_000 }

// must reports whether groups on the phase have to be lowered now, and the last
// lowering can be seen in the sample.
func (r *run) must(c *Constraint) bool {
	if !c.Known || !c.Above || !r.settled(c) {
		return false
	}
	over := r.now - c.Over
	return c.Load > hardTarget || over >= softFor || c.Load > atRating && over >= hardFor
}

func (r *run) settled(c *Constraint) bool { return c.Shed == 0 || c.Good >= c.Shed+settleFor }

// controlled reports whether group g does what it is told, as far as anybody
// knows. One that does not is load like any other (a failed or permissive
// actuator): it is told something all the same, but nobody counts on it until it was read back
// right: a new setpoint alone does not make it obey.
func (r *run) controlled(g int) bool {
	gs := &r.s.Groups[g]
	return gs.Fault == Unknown && !gs.Failed && !gs.Customer && !r.cfg.Groups[g].Slow && !(gs.Lockout.Locked && gs.Lockout.Over)
}

// draw is what group g is reckoned to draw on phase p: as measured, or else as
// much as it may.
func (r *run) drawn(g int, p meter.Phase) meter.Milliamps {
	gs := &r.s.Groups[g]
	if gs.Drawn {
		return gs.Draw[p]
	}
	if r.cfg.Groups[g].Contact {
		if gs.Limit < r.cfg.Groups[g].Rating {
			return 0
		}
		return gs.Limit
	}
	if gs.Seen {
		// Shed from what it was last seen to draw: from a limit that it does not
		// use nothing would come. A car may have begun since.
		return min(gs.Limit, max(gs.Draw[p], leastCharge))
	}
	return gs.Limit
}

// budgets decides what the groups on each constraint may draw together.
//
// Where the current of every group is measured, the budget is what the rest of
// the phase leaves of its target, before anything is too much. Where it is not,
// the phase is watched: above its target the budget falls by what is too much,
// and by a tenth at least (three above the rating), until the measurement follows; nobody knows how much
// of its limit a group draws. Down at once, up a few amperes a minute near the
// target and a tenth of the rating far from it.
func (r *run) budgets() {
	for i := range r.s.Constraints {
		c, b := &r.s.Constraints[i], &r.bounds[i]
		if b.rating == 0 || len(b.groups) == 0 || !c.Known {
			c.Grown = r.now
			continue
		}
		// What there was to share when a phase froze is all there is until it can
		// be seen again.
		frozen := c.Raised == r.now
		target := b.rating * softTarget / 1000
		var limits, drawn, reserve, unseen, entitled meter.Milliamps
		measured := true
		for _, g := range b.groups {
			entitled += r.entitled[g].most
			if !r.controlled(g) {
				// It may go up whenever it likes. What nobody sees counts in full
				// before anything is raised, and sheds nothing by itself.
				if more := r.mayYetDraw(g, c.Phase); r.s.Groups[g].Drawn {
					reserve += more
				} else {
					unseen += more
				}
				continue
			}
			limits += r.s.Groups[g].Limit
			drawn += r.drawn(g, c.Phase)
			measured = measured && r.s.Groups[g].Drawn
		}
		if measured {
			r.learn(c, c.Import-target, b.rating)
		}
		room := target - c.Import - reserve - c.Margin
		spare := room - unseen
		must := r.must(c)
		switch {
		case measured:
			if !c.Bound {
				c.Bound, c.Budget, c.Grown = true, max(limits, drawn), r.now
			}
			if want := max(0, drawn+room); want < c.Budget && r.settled(c) {
				r.lower(c, want)
			}
		case must:
			if !c.Bound {
				c.Bound, c.Budget = true, limits
			}
			most := drawn * 9 / 10
			if c.Load > atRating {
				most = drawn * 7 / 10 // a minute is all there is
			}
			r.lower(c, max(0, min(c.Budget, drawn-(c.Import-target), most)))
		}
		if c.Bound && !must && !frozen && !c.hot() && r.settled(c) && (c.Load < resumeBelow || measured && room > 0) && spare > 0 {
			rate := r.cfg.Timers.RestoreSlow
			if c.Load < slowAbove || measured && c.Load < resumeBelow {
				rate = b.rating / 10 // where all is measured, what is left is known
			}
			up := rate * meter.Milliamps((r.now-c.Grown)/time.Millisecond) / meter.Milliamps(time.Minute/time.Millisecond)
			most := c.Budget + spare
			if measured {
				most = max(c.Budget, drawn+spare)
			}
			c.Budget = min(c.Budget+up, most)
		}
		c.Grown = r.now
		if c.Bound && !measured && !frozen && c.Budget >= entitled {
			c.Bound = false
		}
		r.helpless(i)
	}
}

// learn keeps free what the rest of the phase went beyond the target by: two
// kettles, or a cloud over the roofs, are there before anything can be lowered,
// and what came once comes again. It is forgotten by an ampere in two minutes.
func (r *run) learn(c *Constraint, beyond, rating meter.Milliamps) {
	c.Margin = max(0, c.Margin-meter.Milliamps((r.now-r.s.Mono)/(120*time.Millisecond)))
	if !c.Above {
		return
	}
	if c.Over == r.now {
		c.Before = c.Margin
	}
	c.Margin = min(rating/4, max(c.Margin, c.Before+beyond))
}

func (r *run) lower(c *Constraint, to meter.Milliamps) {
	if to < c.Budget {
		c.Shed = r.now
	}
	c.Budget = to
	r.ev.Store = true
}

// helpless tells, once, of a phase that stays above its rating although nothing
// is left to shed on it.
func (r *run) helpless(i int) {
	c, b := &r.s.Constraints[i], &r.bounds[i]
	left := slices.ContainsFunc(b.groups, func(g int) bool {
		return r.controlled(g) && r.drawn(g, c.Phase) > 0 && r.s.Groups[g].Limit > 0
	})
	is := c.Known && c.Load > atRating && !left && (c.Helpless || r.now-c.Over >= helplessFor)
	if is == c.Helpless {
		return
	}
	c.Helpless = is
	edge := meter.Clear
	if is {
		edge = meter.Raise
	}
	r.condition(c.Way, c.Phase.String()+"."+Uncontrollable, edge)
}

// blind reports whether a phase of group g has not been measured for so long
// that nobody knows what its way carries. The transformer alone blinds nobody, and
// a phase that is seen to have no supply carries nothing.
func (r *run) blind(g int) bool {
	return slices.ContainsFunc(r.on[g], func(i int) bool {
		return !r.bounds[i].tx && !r.dark(i) && r.now-r.s.Constraints[i].Good > r.cfg.Timers.Blind
	})
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
	for _, i := range r.on[g] {
		c := &r.s.Constraints[i]
		switch {
		case c.Known:
			high = max(high, c.Load+r.reserved(i))
		case r.bounds[i].tx:
			high = max(high, slowAbove)
		default:
			return unmeasured
		}
	}
	return high
}

// rising returns how many groups share the slow rise on the busiest of group
// g's phases: a phase goes up by so much a minute, whoever draws it.
func (r *run) rising(g int) int64 {
	most := int64(1)
	for _, i := range r.on[g] {
		n := int64(0)
		for _, o := range r.bounds[i].groups {
			if r.entitled[o].most > r.s.Groups[o].Limit {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
