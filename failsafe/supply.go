package failsafe

import (
	"slices"
	"time"

	"lvagent/meter"
)

// Loss of supply (R12, R20). A phase below lowSupply for longer than lowFor has
// none; it has it again from backSupply on. In between nothing changes.
const (
	lowSupply  = nominal * 80 / 100
	backSupply = nominal * 85 / 100
	lowFor     = time.Second
)

// Rules of a group whose supply was lost.
const (
	RuleUnfed Rule = "no increase without supply"
	RuleIdle  Rule = "idle after a loss of supply"
	RuleHeld  Rule = "restoration hold"
)

// SupplyReturned is the cause of a way whose groups wait for their restart.
const SupplyReturned Cause = "SUPPLY_RETURNED"

// Restart is what a group waits for after a loss of its supply: the dead time,
// and a delay that is its own for this event. The delay is drawn once, from the
// device's seed and the event, and kept: a crash draws no other.
type Restart struct {
	Event string        `json:",omitempty"` // empty: nothing is waited for
	Lost  bool          `json:",omitempty"` // the supply is not back yet
	Held  bool          `json:",omitempty"` // somebody holds the restoration back
	Delay time.Duration `json:",omitempty"`
	Until time.Duration `json:",omitempty"` // with the supply back and not held
	// Jump: the wait has spread the load already, so that the limit goes up in one
	// step where there is room for it.
	Jump bool `json:",omitempty"`
}

// waits reports whether the group is idle since its supply is back.
func (x *Restart) waits() bool { return x.Event != "" && !x.Lost }

// supply notes which phases have lost their supply or have it again, and lets
// the groups on them wait. While the supply is away limits stay as they are;
// from the moment at which it is back a group draws nothing until its own time
// has come.
func (r *run) supply() {
	switch {
	case r.mainsLost && r.s.Outage == "":
		r.s.Outage = "mains " + r.wall.UTC().Format(time.RFC3339)
		r.ev.Store = true
	case !r.mainsLost && r.s.Outage != "":
		r.s.Outage = ""
		r.ev.Store = true
	}
	for i := range r.s.Constraints {
		c := &r.s.Constraints[i]
		l := slices.IndexFunc(r.loads, func(l Load) bool { return l.Way == c.Way })
		if r.bounds[i].tx || l < 0 {
			continue
		}
		r.voltage(c, &r.loads[l])
	}
	for g := range r.s.Groups {
		x := &r.s.Groups[g].Restart
		lost := r.s.Outage
		for _, i := range r.on[g] {
			if c := &r.s.Constraints[i]; c.Outage != "" {
				lost = c.Outage
				break
			}
		}
		switch {
		case lost != "" && !x.Lost:
			*x = Restart{Event: lost, Lost: true}
			r.ev.Store = true
		case lost == "" && x.Lost:
			x.Lost, x.Jump = false, true
			x.Delay = r.draw("restart|"+x.Event+"|"+r.s.Groups[g].ID, r.cfg.Timers.RestartSpread).Truncate(time.Second)
			x.Until = r.now + r.cfg.Timers.RestartDead + x.Delay
			r.ev.Store = true
		}
		if !x.waits() {
			continue
		}
		switch held := r.hold(g) != nil; {
		case held != x.Held:
			if x.Held = held; !held {
				// From the end of the hold on, spread as it would have been.
				x.Until = max(x.Until, r.now+x.Delay)
			}
			r.ev.Store = true
		case !held && r.now >= x.Until:
			*x = Restart{Jump: true}
			r.ev.Store = true
		}
	}
}

// voltage takes the voltage of one phase. Only a good one says anything: a meter
// that is silent is no outage, and one that was seen low is no outage for longer
// than it is seen.
func (r *run) voltage(c *Constraint, l *Load) {
	p := c.Phase
	fresh := l.VQuality[p] == meter.Good && l.At <= r.now && r.now-l.At <= r.cfg.Timers.Sample
	low := fresh && l.V[p] < lowSupply
	back := fresh && l.V[p] >= backSupply
	switch {
	case low && !c.Low:
		c.Low, c.LowSince = true, l.At
	case back:
		c.Low = false
	}
	if fresh && c.Low && l.V[p] < backSupply {
		c.LowSeen = l.At
	}
	dead := l.Unfed[p] || c.Low && c.LowSeen-c.LowSince > lowFor
	switch {
	case dead && c.Outage == "":
		c.Outage = c.Way + "." + p.String() + " " + r.wall.UTC().Format(time.RFC3339)
		r.ev.Store = true
	case c.Outage != "" && back && !l.Unfed[p]:
		c.Outage = ""
		r.ev.Store = true
	}
}

// dark reports whether constraint i is known to have no supply: not measured, but
// not unknown either.
func (r *run) dark(i int) bool {
	c := &r.s.Constraints[i]
	return c.Outage != "" && c.Low && r.now-c.LowSeen <= r.cfg.Timers.Blind
}

// restarting applies the wait for a restart to the limit that would hold without
// it. Somebody on site may release a group from it; nobody from afar.
func (r *run) restarting(g int, most meter.Milliamps, rule Rule, source string) (meter.Milliamps, Rule, string) {
	x := &r.s.Groups[g].Restart
	if !x.waits() || most == 0 {
		return most, rule, source
	}
	if o := r.governing(r.cfg.Groups[g].ID); o != nil && o.Local && o.Kind == Release {
		return most, rule, source
	}
	if h := r.hold(g); h != nil {
		return 0, RuleHeld, h.ID
	}
	return 0, RuleIdle, x.Event
}

// jump reports whether the limit of group g, which has waited for its restart,
// may go up to most in one step: each of its phases has room for all of it.
func (r *run) jump(g int, most meter.Milliamps) bool {
	gs := &r.s.Groups[g]
	if !gs.Restart.Jump || gs.Restart.Event != "" {
		return false
	}
	for _, i := range r.on[g] {
		c := &r.s.Constraints[i]
		if !c.Known || r.bounds[i].rating == 0 || c.Import+most-gs.Limit > r.bounds[i].rating*slowAbove/1000 {
			return false
		}
	}
	return true
}

// Repowered says that the supply of the device itself was lost since s was stored:
// event names the loss. Nobody was there to see whether the groups had theirs, so
// every group waits for its restart.
func (e *Engine) Repowered(s State, event string) State {
	s = s.clone()
	for g := range s.Groups {
		if x := &s.Groups[g].Restart; !x.Lost {
			*x = Restart{Event: event, Lost: true}
		}
	}
	return s
}
