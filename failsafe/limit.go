package failsafe

import (
	"slices"
	"time"

	"lvagent/meter"
)

// granule is the step in which limits go up or down a ramp: a block of current
// (R14), so that an actuator and the store are not written at every tick.
const granule meter.Milliamps = 1000

// limits gives every group its limit: the minimum of all that applies, at once
// when it is lower than before, by the ramp when it is higher.
func (r *run) limits() {
	for g := range r.s.Groups {
		gs, e := &r.s.Groups[g], &r.entitled[g]
		most, rule, source := e.most, e.rule, e.source
		// Protection last: nobody's override lifts it.
		if gs.Capped && gs.Cap < most {
			most, rule, source = gs.Cap, RuleProtection, ""
		}
		switch {
		case most <= gs.Limit:
			gs.Raised = r.now
			gs.Restart.Jump = gs.Restart.Jump && gs.Restart.Event != ""
		case rule == RuleProtection && gs.Rule == RuleProtection && r.overloaded(g):
			// What one gives another gets as soon as the phase is relieved.
			most, gs.Raised = gs.Limit, r.now
		case rule == RuleProtection && gs.Rule == RuleProtection && !r.heldHere(g) && !gs.Restart.Lost && r.measured(g) && !r.frozen(g):
			// The budget it comes from has gone up by a ramp already.
			gs.Raised = r.now
		case r.admitted != nil && r.admitted[g] && !r.heldHere(g) && !gs.Restart.Lost:
			gs.Raised = r.now
		default:
			var why Rule
			if most, why = r.ramp(g, most, rule == RuleProtection); why != "" {
				rule, source = why, ""
			}
		}
		changed := most != gs.Limit
		if changed {
			r.set = append(r.set, Setpoint{Group: gs.ID, Limit: most, Raise: most > gs.Limit})
			r.ev.Store = true
			if gs.Actuation != Unreached {
				gs.Actuation = Pending
			}
		}
		gs.Limit, gs.Rule, gs.Source = most, rule, source
	}
}

// target is the minimum of all constraints on group g but protection's, and
// which of them it is.
func (r *run) target(g int, w *WayState) (most meter.Milliamps, rule Rule, source string) {
	cfg := &r.cfg.Groups[g]
	most, rule = cfg.Rating, RuleRating
	for i := range r.s.Commands {
		c := &r.s.Commands[i]
		if c.Stage != Active || !slices.Contains(c.Groups, cfg.ID) {
			continue
		}
		if a := c.Amount.For(cfg); a < most {
			most, rule, source = a, RuleCommand, c.ID
		}
	}
	if plan := &r.plans[g]; len(plan.stretches) > 0 {
		if limit := plan.at(&r.today, cfg.Rating); limit < most {
			most, rule, source = limit, RuleSchedule, ""
		}
	}
	if low := r.weeks[g].lowest; low < most && r.blind(g) {
		most, rule, source = low, RuleUnmeasured, ""
	}
	if w.State.restricted() {
		limit, why := r.profile(g, &r.today), RuleFailsafe
		switch ceiling := max(r.s.Groups[g].From, min(cfg.Guarantee, cfg.Rating)); {
		case w.Headroom:
			limit, why = ceiling, RuleHeadroom
		case w.Kept && ceiling < limit:
			limit, why = ceiling, RuleHeadroom
		case w.State == Autonomous && !r.peak():
			limit, why = cfg.Rating, RuleAutonomous
			if w.Kept {
				limit = min(limit, ceiling)
			}
		case w.State == Failsafe && w.RampEnd > r.now:
			limit, why = r.entry(g, w, limit)
		}
		if limit < most {
			most, rule, source = limit, why, ""
		}
	}
	return r.overridden(g, most, rule, source)
}

// measured reports whether every phase of group g is known.
func (r *run) measured(g int) bool { return r.highest(g) != unmeasured }

// overloaded reports whether a phase of group g is above its rating: nothing goes
// up on it then, whoever else goes down.
func (r *run) overloaded(g int) bool {
	return slices.ContainsFunc(r.on[g], func(i int) bool {
		c := &r.s.Constraints[i]
		return c.Known && c.Load > atRating
	})
}

// entry is the limit on the way down into failsafe. The ramp is a courtesy to
// the grid, for a fleet that loses its centre at one instant must not drop its
// load at one instant; it is void as soon as a phase of the way is loaded above
// 80 % or is not measured.
func (r *run) entry(g int, w *WayState, to meter.Milliamps) (meter.Milliamps, Rule) {
	from := r.s.Groups[g].From
	if from <= to || r.highest(g) >= slowAbove {
		return to, RuleFailsafe
	}
	left, whole := int64((w.RampEnd-r.now)/time.Millisecond), int64((w.RampEnd-w.RampStart)/time.Millisecond)
	if whole <= 0 {
		return to, RuleFailsafe
	}
	extra := meter.Milliamps(int64(from-to) * left / whole)
	return to + extra/granule*granule, RuleEntry
}

// ramp is how far group g may go up towards most at this step: a share of its
// rating per time while its phases have headroom, a few amperes a minute when
// they are near their rating, and not at all while they are not measured. What
// protection shares out is held to what the phases have room for already.
func (r *run) ramp(g int, most meter.Milliamps, shared bool) (meter.Milliamps, Rule) {
	gs, cfg, t := &r.s.Groups[g], &r.cfg.Groups[g], &r.cfg.Timers
	load := r.highest(g)
	if r.frozen(g) {
		gs.Raised = max(gs.Raised, r.now)
		return gs.Limit, RuleFrozen
	}
	if r.heldHere(g) {
		gs.Raised = r.now
		return gs.Limit, RuleLocal
	}
	if gs.Restart.Lost {
		gs.Raised = r.now
		return gs.Limit, RuleUnfed
	}
	o := r.governing(cfg.ID)
	if load == unmeasured && (o == nil || !o.Local || o.Kind != Release) {
		gs.Raised = max(gs.Raised, r.now)
		return gs.Limit, RuleBlind
	}
	if cfg.Contact && most >= cfg.Rating && gs.Limit < cfg.Rating {
		gs.Raised = max(gs.Raised, r.now)
		return gs.Limit, RuleTurn
	}
	if load >= resumeBelow && load != unmeasured && !shared || r.overloaded(g) {
		gs.Raised = max(gs.Raised, r.now)
		return gs.Limit, RuleNoRoom
	}
	if r.now < gs.Raised {
		return gs.Limit, RuleRestore // the device's own share of the spread
	}
	if r.jump(g, most) {
		return most, ""
	}
	elapsed := int64((r.now - gs.Raised) / time.Millisecond)
	slow := int64(t.RestoreSlow) * elapsed / time.Minute.Milliseconds() / r.rising(g)
	up := slow
	if period := t.RestorePeriod.Milliseconds(); load < slowAbove || shared && load < resumeBelow && r.s.Groups[g].Drawn {
		up = int64(most - gs.Limit)
		if period > 0 {
			up = int64(cfg.Rating) * min(elapsed, period) / period
		}
	}
	step := meter.Milliamps(up) / granule * granule
	if gs.Limit+meter.Milliamps(up) >= most {
		return most, ""
	}
	if step > 0 {
		gs.Raised = r.now
	}
	return gs.Limit + step, RuleRestore
}
