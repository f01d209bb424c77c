package failsafe

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"lvagent/meter"
)

// How limits are shared out and take turns.
const (
	rotateEvery = 15 * time.Minute
	leastOn     = 5 * time.Minute // of a contact, void as soon as a phase is above its rating
	oneAtATime  = time.Minute     // between two contacts that close on one phase
	leastPause  = 5 * time.Minute // of a setpoint group that is paused for others

	// leastRise and liftEvery keep a cap from going up at every step.
	leastRise meter.Milliamps = 6000
	liftEvery                 = time.Minute

	// idleBelow is the current per phase below which a group is idle: it needs
	// no more than what lets its cars begin.
	idleBelow meter.Milliamps = 1000

	// uneven is how far the curtailed shares of two groups must be apart, in
	// millionths, for them to change places.
	uneven = 5_000

	accountEvery = time.Hour
	accountHours = 7 * 24 // what was withheld that many hours ago is forgotten by and by
)

// entitlement is what a group might draw if its feeder had room for everything.
type entitlement struct {
	most   meter.Milliamps
	rule   Rule
	source string
}

// protect shares the budgets out: each group's cap is its max-min fair part of
// the scarcest of its phases, counted by connectors. Contacts, which know only
// all or nothing, are opened only when every group with a finer setpoint is at
// nothing.
func (r *run) protect() {
	r.entitle()
	r.account()
	r.budgets()
	turn := r.now-r.s.Rotated >= rotateEvery
	if turn {
		r.s.Rotated = r.now
	}
	r.openContacts()
	r.closeContacts()
	if turn {
		r.swapContacts()
	}
	r.takeTurns()
	r.fill(turn)
}

// entitle works out each group's limit as it would be without protection.
func (r *run) entitle() {
	r.entitled = make([]entitlement, len(r.s.Groups))
	for g := range r.s.Groups {
		e := &r.entitled[g]
		e.most, e.rule, e.source = r.target(g, &r.s.Ways[r.wayOf[g]])
		e.most, e.rule, e.source = r.restarting(g, e.most, e.rule, e.source)
		e.most, e.rule, e.source = r.lockedOut(g, e.most, e.rule, e.source)
		e.most, e.rule, e.source = r.inhibited(g, e.most, e.rule, e.source)
	}
}

// account notes what was withheld from each group since the last step, of what
// it might have drawn: the ground on which the next decision is fair. A group
// that is known to draw less than it may has nothing withheld.
func (r *run) account() {
	d := int64((r.now - r.s.Mono) / time.Millisecond)
	if d <= 0 {
		return
	}
	for g := range r.s.Groups {
		gs, cfg := &r.s.Groups[g], &r.cfg.Groups[g]
		gs.Owed += int64(cfg.Rating) * d / 1000
		if (!gs.Drawn || !r.idle(g)) && !gs.Customer {
			gs.Withheld += int64(cfg.Rating-gs.Limit) * d / 1000
		}
		r.book(g, d)
	}
	for r.now-r.s.Accounted >= accountEvery {
		r.s.Accounted += accountEvery
		for g := range r.s.Groups {
			gs := &r.s.Groups[g]
			gs.Withheld -= gs.Withheld / accountHours
			gs.Owed -= gs.Owed / accountHours
		}
	}
}

// idle reports whether group g is known to draw next to nothing although it may:
// of one that is held at nothing nobody knows what it would.
func (r *run) idle(g int) bool {
	gs, cfg := &r.s.Groups[g], &r.cfg.Groups[g]
	held := gs.Limit < leastCharge || cfg.Contact && gs.Limit < cfg.Rating
	return gs.Drawn && !held && max(gs.Draw[0], gs.Draw[1], gs.Draw[2]) < idleBelow
}

// curtailed is the share of what group g might have drawn that was withheld from
// it, in millionths.
func (r *run) curtailed(g int) int64 {
	gs := &r.s.Groups[g]
	if gs.Owed < 1000 {
		return 0
	}
	return gs.Withheld / (gs.Owed / 1000) * 1000
}

// inTurn orders groups by who must give first: customers with priority last,
// then those from whom least was withheld; equal ones by a keyed hash of the
// day, not by their names.
func (r *run) inTurn(groups []int) []int {
	if r.place == nil {
		all := make([]int, len(r.s.Groups))
		for g := range all {
			all[g] = g
		}
		day := uint64(r.now / (24 * time.Hour))
		slices.SortFunc(all, func(a, b int) int {
			pa, pb := r.cfg.Groups[a].Priority, r.cfg.Groups[b].Priority
			switch {
			case pa != pb && pa:
				return 1
			case pa != pb:
				return -1
			}
			return cmp.Or(cmp.Compare(r.curtailed(a), r.curtailed(b)), cmp.Compare(mix(r.lots[a], day), mix(r.lots[b], day)))
		})
		r.place = make([]int, len(all))
		for n, g := range all {
			r.place[g] = n
		}
	}
	return slices.SortedFunc(slices.Values(groups), func(a, b int) int { return cmp.Compare(r.place[a], r.place[b]) })
}

// lot is what decides group id's place among equals on this device.
func (e *Engine) lot(id string) uint64 {
	mac := hmac.New(sha256.New, e.cfg.Seed[:])
	mac.Write([]byte("turn"))
	mac.Write([]byte(id))
	return binary.BigEndian.Uint64(mac.Sum(nil))
}

// mix gives a lot another place each day (the finalizer of SplitMix64).
func mix(lot, day uint64) uint64 {
	z := lot + day*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// weight is a group's part when a budget is shared out.
func (r *run) weight(g int) meter.Milliamps {
	return meter.Milliamps(max(1, min(r.cfg.Groups[g].Connectors, 1000)))
}

// isOpen reports whether protection holds the contact of group g open.
func (r *run) isOpen(g int) bool { return r.s.Groups[g].Capped && r.cfg.Groups[g].Contact }

// contacts is what the closed contacts on constraint i are reckoned to draw.
func (r *run) contacts(i int) (sum meter.Milliamps) {
	for _, g := range r.bounds[i].groups {
		if r.cfg.Groups[g].Contact && !r.isOpen(g) && r.controlled(g) && r.entitled[g].most >= r.cfg.Groups[g].Rating {
			sum += r.drawn(g, r.s.Constraints[i].Phase)
		}
	}
	return sum
}

// openContacts opens, in turn, as many contacts as the budgets ask for. One that
// has just closed stays closed while no phase of it is above its rating.
func (r *run) openContacts() {
	for i := range r.s.Constraints {
		c := &r.s.Constraints[i]
		// Only when lowering is called for: a budget that is tight but kept
		// opens nothing.
		if !c.Bound || !c.Known || !c.Above || c.Shed != r.now && !r.must(c) {
			continue
		}
		over := r.contacts(i) - c.Budget
		if over <= 0 {
			continue
		}
		for _, g := range r.inTurn(r.bounds[i].groups) {
			gs, cfg := &r.s.Groups[g], &r.cfg.Groups[g]
			if !cfg.Contact || r.isOpen(g) || !r.controlled(g) || r.drawn(g, c.Phase) == 0 ||
				c.Load <= atRating && r.now-gs.Switched < leastOn && gs.Switched > 0 {
				continue
			}
			over -= r.drawn(g, c.Phase)
			r.openContact(g)
			if over <= 0 {
				break
			}
		}
	}
}

func (r *run) openContact(g int) {
	gs := &r.s.Groups[g]
	for _, i := range r.on[g] {
		c := &r.s.Constraints[i]
		c.Shed = r.now
	}
	gs.Capped, gs.Cap, gs.Switched = true, 0, r.now
	r.ev.Store = true
}

// closeContacts closes the contact from whose group most was withheld, where
// every one of its phases has room for all it may draw. One at a time.
func (r *run) closeContacts() {
	for g := range slices.Values(r.byNeed()) {
		gs, cfg := &r.s.Groups[g], &r.cfg.Groups[g]
		room := r.now-gs.Switched >= r.cfg.Timers.MinOff
		for _, i := range r.on[g] {
			c, b := &r.s.Constraints[i], &r.bounds[i]
			room = room && c.Known && r.hasRoom(c, b, cfg.Rating)
		}
		if !room {
			continue
		}
		gs.Capped, gs.Cap, gs.Switched = false, 0, r.now
		r.ev.Store = true
		r.took(g)
	}
}

// hasRoom reports whether a contact may add so much to a phase that is measured.
func (r *run) hasRoom(c *Constraint, b *constraint, rating meter.Milliamps) bool {
	return c.Load < resumeBelow && !c.hot() && r.settled(c) &&
		c.Import+rating <= b.rating*softTarget/1000 && (c.Raised == 0 || r.now-c.Raised >= oneAtATime)
}

// took notes that the contact of group g closes: the next on its phases waits.
func (r *run) took(g int) {
	if r.admitted == nil {
		r.admitted = make([]bool, len(r.s.Groups))
	}
	r.admitted[g] = true
	for _, i := range r.on[g] {
		c := &r.s.Constraints[i]
		c.Raised = r.now
		if c.Bound {
			c.Budget += r.cfg.Groups[g].Rating
		}
	}
}

// takeTurns decides which contacts that something else than protection held open may
// close now. They came back together, from failsafe or a command that ended, so
// they take turns as those that protection opened do; a ramp is nothing to what
// knows all or nothing.
func (r *run) takeTurns() {
	var waiting []int
	for g := range r.s.Groups {
		if gs, cfg := &r.s.Groups[g], &r.cfg.Groups[g]; cfg.Contact && !gs.Capped && !gs.Restart.Lost &&
			gs.Limit < cfg.Rating && r.entitled[g].most >= cfg.Rating {
			waiting = append(waiting, g)
		}
	}
	if len(waiting) == 0 {
		return
	}
	waiting = r.inTurn(waiting)
	slices.Reverse(waiting) // the most curtailed first
	for _, g := range waiting {
		o := r.governing(r.cfg.Groups[g].ID)
		person := o != nil && o.Local && o.Kind == Release
		room := r.now >= r.s.Groups[g].Raised
		for _, i := range r.on[g] {
			switch c, b := &r.s.Constraints[i], &r.bounds[i]; {
			case c.Known:
				room = room && r.hasRoom(c, b, r.cfg.Groups[g].Rating)
			default: // the transformer alone blinds nobody, and a person on site may know better
				room = room && (b.tx || person) && (c.Raised == 0 || r.now-c.Raised >= oneAtATime)
			}
		}
		if room {
			r.took(g)
		}
	}
}

// byNeed returns the groups whose contact is held open, the most curtailed
// first.
func (r *run) byNeed() (open []int) {
	for g := range r.s.Groups {
		if r.isOpen(g) {
			open = append(open, g)
		}
	}
	if len(open) < 2 {
		return open
	}
	open = r.inTurn(open)
	slices.Reverse(open)
	return open
}

// swapContacts lets groups take turns: where one has been off for long enough
// and another on the same phase was curtailed less, that one opens now. The
// first closes as soon as the measurement shows the room.
func (r *run) swapContacts() {
	for g := range slices.Values(r.byNeed()) {
		if r.now-r.s.Groups[g].Switched < r.cfg.Timers.MinOff {
			continue
		}
		for _, i := range r.on[g] {
			closed := slices.DeleteFunc(slices.Clone(r.bounds[i].groups), func(o int) bool {
				return !r.cfg.Groups[o].Contact || r.isOpen(o) || !r.controlled(o) || r.drawn(o, r.s.Constraints[i].Phase) == 0 ||
					r.cfg.Groups[o].Priority && !r.cfg.Groups[g].Priority
			})
			if len(closed) == 0 || r.bounds[i].tx {
				continue
			}
			if o := r.inTurn(closed)[0]; r.curtailed(o)+uneven < r.curtailed(g) {
				if c := &r.s.Constraints[i]; c.Bound {
					c.Budget = max(0, c.Budget-r.drawn(o, c.Phase))
				}
				r.openContact(o)
			}
			return // one pair at a time
		}
	}
}

// fill gives every group with a setpoint its part of what the contacts leave.
// Where there is not enough for one car in each group, groups are paused in
// turn, so that the others can charge.
func (r *run) fill(turn bool) {
	left := make([]meter.Milliamps, len(r.s.Constraints))
	bound := false
	for i := range left {
		if c := &r.s.Constraints[i]; c.Bound {
			bound = true
			left[i] = max(0, c.Budget-r.contacts(i))
		}
	}
	// A group on no phase that is short takes no part: that another way has too
	// little is nothing to it.
	for g := range r.s.Groups {
		if gs := &r.s.Groups[g]; !r.cfg.Groups[g].Contact && !r.short(g) {
			gs.Capped, gs.Cap, gs.Paused = false, 0, false
		}
	}
	if !bound {
		return
	}
	f := filling{run: r, left: left, caps: make([]meter.Milliamps, len(r.s.Groups)), sharing: make([]bool, len(r.s.Groups))}
	f.pause(turn)
	for _, first := range []bool{true, false} {
		f.rise(first)
	}
	for g := range r.s.Groups {
		gs := &r.s.Groups[g]
		switch {
		case r.cfg.Groups[g].Contact, !r.short(g):
			continue
		case gs.Customer:
			continue // neither lifted nor curtailed again
		case r.cfg.Groups[g].Slow:
			gs.Capped, gs.Cap, gs.Paused = false, 0, false
			continue
		}
		most := f.caps[g]
		if !r.controlled(g) {
			most = leastCharge // it is told so, and not counted on
		}
		if most < r.entitled[g].most {
			most = most / granule * granule
		}
		if most < leastCharge && most < r.entitled[g].most {
			most = 0
		}
		// An actuator is no dial: a cap goes up in steps that are worth a write.
		if gs.Capped && most > gs.Cap && (most < gs.Cap+leastRise && most < r.entitled[g].most || r.now-gs.Lifted < liftEvery) {
			continue
		}
		if most > gs.Cap {
			gs.Lifted = r.now
		}
		gs.Capped, gs.Cap = most < r.entitled[g].most, 0
		if gs.Capped {
			gs.Cap = most
		}
	}
}

// short reports whether a budget is in force on a phase of group g.
func (r *run) short(g int) bool {
	return slices.ContainsFunc(r.on[g], func(i int) bool { return r.s.Constraints[i].Bound })
}

// filling is one sharing out in progress.
type filling struct {
	*run
	left    []meter.Milliamps // of each constraint, for groups with setpoints
	caps    []meter.Milliamps // of each group
	sharing []bool            // has a setpoint, obeys, can use something and is not paused
}

// demand is what group g can make use of.
func (r *run) demand(g int) meter.Milliamps {
	most := r.entitled[g].most
	if r.idle(g) {
		return min(most, leastCharge*r.weight(g))
	}
	return most
}

// floor is the least that group g has from sharing at all: enough for one car.
func (r *run) floor(g int) meter.Milliamps { return min(leastCharge, r.demand(g)) }

// pause decides who shares. What each has at least must fit on every phase.
func (f *filling) pause(turn bool) {
	used := make([]meter.Milliamps, len(f.left))
	var paused, again []int // again: they may have to go on pausing when it is everybody's turn
	add := func(g int, by meter.Milliamps) {
		for _, i := range f.on[g] {
			used[i] += by
		}
	}
	for g := range f.s.Groups {
		gs := &f.s.Groups[g]
		if f.cfg.Groups[g].Contact || !f.short(g) || !f.controlled(g) || f.demand(g) == 0 {
			continue
		}
		if gs.Paused && turn {
			gs.Paused = false
			again = append(again, g)
		}
		if gs.Paused {
			paused = append(paused, g)
			continue
		}
		f.sharing[g] = true
		add(g, f.floor(g))
	}
	if len(paused) > 0 {
		paused = f.inTurn(paused)
		slices.Reverse(paused) // the most curtailed first
	}
	for _, g := range paused {
		gs := &f.s.Groups[g]
		fits := f.now-gs.PausedAt >= leastPause
		for _, i := range f.on[g] {
			fits = fits && (!f.s.Constraints[i].Bound || used[i]+f.floor(g) <= f.left[i])
		}
		if fits {
			gs.Paused, f.sharing[g] = false, true
			add(g, f.floor(g))
		}
	}
	for i := range f.left {
		if !f.s.Constraints[i].Bound || used[i] <= f.left[i] {
			continue
		}
		for _, g := range f.inTurn(f.bounds[i].groups) {
			if used[i] <= f.left[i] {
				break
			}
			if !f.sharing[g] {
				continue
			}
			gs := &f.s.Groups[g]
			if !slices.Contains(again, g) {
				gs.PausedAt = f.now
			}
			gs.Paused, f.sharing[g] = true, false
			add(g, -f.floor(g))
		}
	}
	for g, shares := range f.sharing {
		if shares {
			f.caps[g] = f.floor(g)
		}
	}
}

// rise shares what is left out max-min fair among the groups with or without
// priority: all rise to one level per connector, until a group has what it can
// use or one of its phases has no more; those on other phases rise on.
func (f *filling) rise(priority bool) {
	var rising []int
	for g, shares := range f.sharing {
		if shares && f.cfg.Groups[g].Priority == priority {
			rising = append(rising, g)
		}
	}
	if len(rising) == 0 {
		return
	}
	open := make([]bool, len(f.caps)) // still rising
	for _, g := range rising {
		open[g] = true
	}
	// A phase is full at a level that can only go up while others are settled
	// below it: an old one is a lower bound.
	full := make([]int64, len(f.left))
	exact := make([]bool, len(f.left))
	for i := range full {
		full[i] = highest
		if f.s.Constraints[i].Bound {
			full[i] = f.fullAt(i, open)
			exact[i] = true
		}
	}
	for {
		i := 0
		for j := range full {
			if full[j] < full[i] {
				i = j
			}
		}
		if full[i] == highest {
			break
		}
		if !exact[i] {
			full[i], exact[i] = f.fullAt(i, open), true
			continue
		}
		for _, g := range f.bounds[i].groups {
			if !open[g] {
				continue
			}
			open[g] = false
			f.caps[g] = f.at(g, full[i])
			for _, j := range f.on[g] {
				exact[j] = false
			}
		}
		full[i], exact[i] = highest, true
	}
	for _, g := range rising {
		if open[g] {
			f.caps[g] = f.demand(g)
		}
	}
}

// highest is a level that no phase reaches.
const highest = 1 << 40

// at is what group g has at a level per connector.
func (f *filling) at(g int, level int64) meter.Milliamps {
	return max(f.floor(g), min(f.demand(g), meter.Milliamps(level)*f.weight(g)))
}

// fullAt is the highest level at which the groups on constraint i together are
// within what is left of it; highest when all may have what they can use.
func (f *filling) fullAt(i int, open []bool) int64 {
	sum := func(level int64) (sum meter.Milliamps, some bool) {
		for _, g := range f.bounds[i].groups {
			if open[g] {
				sum += f.at(g, level)
				some = true
			} else {
				sum += f.caps[g]
			}
		}
		return sum, some
	}
	const top = 1 << 24 // milliamperes per connector, above any rating
	if all, some := sum(top); !some || all <= f.left[i] {
		return highest
	}
	low, high := int64(0), int64(top)
	for high-low > 1 {
		if mid := (low + high) / 2; func() bool { all, _ := sum(mid); return all <= f.left[i] }() {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}
