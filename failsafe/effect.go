package failsafe

import (
	"slices"
	"time"

	"lvagent/meter"
)

// Effect is what a command came to on one phase of a way: an estimate from the
// currents before and after, which other loads move too. For settlement an
// agreed baseline and certified meters are wanted (R11).
type Effect struct {
	Way    string
	Phase  meter.Phase
	Before meter.Milliamps // when the command began
	Known  bool            // Before was measured
	Fall   meter.Milliamps // by how much the limits of its groups fell then
}

// Outcome is what was seen of a command: on the way to its effect, and at its
// end.
type Outcome struct {
	Phases   []PhaseOutcome
	Took     time.Duration // from the start to the effect; 0: none was seen
	Withheld int64         // Wh that its groups might have drawn more, at 230 V: at most that
}

// PhaseOutcome is Effect with the current now.
type PhaseOutcome struct {
	Effect
	Now    meter.Milliamps
	NowToo bool // Now was measured
}

// effectMargin is how much more than its limit a group may be seen to draw.
const effectMargin meter.Milliamps = 500

// observe notes what each command that has just begun finds, and says of each,
// once, that its effect was seen: every group whose own current is measured
// draws no more than its limit, and for the others each of their phases carries
// less than before by at least half of what their limits fell. Where nothing was
// drawn nothing falls, and a command may end without that word.
func (r *run) observe() {
	for i := range r.s.Commands {
		c := &r.s.Commands[i]
		if c.Stage != Active {
			continue
		}
		if !c.Noted {
			r.note(c)
		}
		if !c.Actuated || c.Effective > 0 || !r.seen(c) {
			continue
		}
		c.Effective = max(r.now-c.Start, 1)
		r.know(c.ID, "-", Effective)
		r.ack(Ack{ID: c.ID, Command: "limit", Stage: Effective, Groups: c.Groups, Compensation: c.Compensation, Outcome: r.outcome(c)})
		r.ev.Store = true
	}
}

// note keeps what the command finds when it begins.
func (r *run) note(c *Command) {
	c.Noted, c.Withheld = true, 0
	r.ev.Store = true
	for _, id := range c.Groups {
		g := r.group(id)
		c.Withheld += r.s.Groups[g].Withheld
		for _, i := range r.on[g] {
			k := &r.s.Constraints[i]
			if r.bounds[i].tx {
				continue
			}
			n := slices.IndexFunc(c.Effects, func(e Effect) bool { return e.Way == k.Way && e.Phase == k.Phase })
			if n < 0 {
				n = len(c.Effects)
				c.Effects = append(c.Effects, Effect{Way: k.Way, Phase: k.Phase, Before: k.Import, Known: k.Known})
			}
			c.Effects[n].Fall += max(0, r.was[g]-c.Amount.For(&r.cfg.Groups[g]))
		}
	}
}

// seen reports whether the command's effect can be seen in the currents.
func (r *run) seen(c *Command) bool {
	for _, id := range c.Groups {
		g := r.group(id)
		gs, most := &r.s.Groups[g], c.Amount.For(&r.cfg.Groups[g])
		if gs.Drawn {
			if max(gs.Draw[0], gs.Draw[1], gs.Draw[2]) > most+effectMargin {
				return false
			}
			continue
		}
		for _, i := range r.on[g] {
			k := &r.s.Constraints[i]
			n := slices.IndexFunc(c.Effects, func(e Effect) bool { return e.Way == k.Way && e.Phase == k.Phase })
			if n < 0 {
				continue
			}
			e := &c.Effects[n]
			if !k.Known || !e.Known || e.Fall == 0 || k.Good <= c.Start || e.Before-k.Import < e.Fall/2 {
				return false
			}
		}
	}
	return len(c.Groups) > 0
}

// outcome says what was seen of a command so far.
func (r *run) outcome(c *Command) *Outcome {
	if !c.Noted {
		return nil
	}
	out := &Outcome{Took: c.Effective}
	for _, e := range c.Effects {
		p := PhaseOutcome{Effect: e}
		if i := slices.IndexFunc(r.s.Constraints, func(k Constraint) bool { return k.Way == e.Way && k.Phase == e.Phase }); i >= 0 {
			p.Now, p.NowToo = r.s.Constraints[i].Import, r.s.Constraints[i].Known
		}
		out.Phases = append(out.Phases, p)
	}
	withheld := -c.Withheld
	phases := int64(1)
	for _, id := range c.Groups {
		g := r.group(id)
		if g < 0 {
			continue
		}
		withheld += r.s.Groups[g].Withheld
		n := int64(0)
		for _, used := range r.cfg.Groups[g].Phases {
			if used {
				n++
			}
		}
		phases = max(phases, n)
	}
	// mA x s per phase at 230 V.
	out.Withheld = max(0, withheld) * phases * int64(nominal) / 1_000_000 / 3600
	return out
}
