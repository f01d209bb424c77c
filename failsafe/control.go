package failsafe

import (
	"slices"
	"time"

	"lvagent/meter"
)

// Regime is a way's place in the traffic light of the network (R18): what a
// group may draw in it is laid down beforehand in its contract. A higher one is
// stricter.
type Regime uint8

// The regimes. The zero value is the market's.
const (
	Green Regime = iota
	Amber
	Red
	regimes = iota
)

var regimeNames = [regimes]string{"green", "amber", "red"}

// String returns the regime's name in messages.
func (g Regime) String() string {
	if int(g) < len(regimeNames) {
		return regimeNames[g]
	}
	return ""
}

// ParseRegime returns the regime called name.
func ParseRegime(name string) (Regime, bool) {
	i := slices.Index(regimeNames[:], name)
	return Regime(max(i, 0)), i >= 0
}

// Regime is the strictest regime in force on a way.
func (s *State) Regime(way string) (worst Regime) {
	for i := range s.Commands {
		if c := &s.Commands[i]; c.Stage == Active && c.Amount.Unit == ByRegime && c.Way == way {
			worst = max(worst, Regime(c.Amount.Value))
		}
	}
	return worst
}

// Block is a stretch of a capacity curve.
type Block struct {
	For    time.Duration
	Amount Amount
}

// A capacity curve has a block for each quarter of an hour of a day at most.
const (
	mostBlocks = 96
	leastBlock = time.Second
)

// whole is how long a curve is; 0 where it is none that can be carried out. Its
// blocks count in one unit, so that one of them is the strictest whatever the
// group.
func whole(curve []Block) (sum time.Duration) {
	if len(curve) > mostBlocks {
		return 0
	}
	for _, b := range curve {
		switch b.Amount.Unit {
		case Amps, Watts, Percent:
		default:
			return 0
		}
		if b.For < leastBlock || b.For > 24*time.Hour || !b.Amount.valid() || b.Amount.Unit != curve[0].Amount.Unit {
			return 0
		}
		sum += b.For
	}
	return sum
}

// follow gives a running command the amount of the block of its curve that it is
// in. After a restart the two clocks may differ on where that is: the strictest
// block from the one to the other counts, and without a clock that can be trusted
// the strictest of all that is to come.
func (r *run) follow(c *Command) {
	if len(c.Curve) == 0 {
		return
	}
	total := whole(c.Curve)
	from := total - (c.End - r.now)
	to := from
	if c.Restored {
		to = total
		if r.clock.Trusted() && !r.suspect {
			to = total - c.EndWall.Sub(r.wall)
		}
	}
	from, to = min(max(0, min(from, to)), total-1), min(max(0, from, to), total-1)
	var at time.Duration
	found := false
	for _, b := range c.Curve {
		if at <= to && at+b.For > from && (!found || b.Amount.Value < c.Amount.Value) {
			c.Amount, found = b.Amount, true
		}
		at += b.For
	}
}

// turn is when the next block of a running command's curve begins.
func (c *Command) turn(now time.Duration) time.Duration {
	at := c.End
	for _, b := range slices.Backward(c.Curve) {
		if at-b.For <= now {
			break
		}
		at -= b.For
	}
	return at
}

// Agreed reports whether the group's customers consented to commercial requests
// that begin at the given time (R15).
func (g *Group) Agreed(at time.Time) bool { return !g.OptIn.IsZero() && !at.Before(g.OptIn) }

// OptIn is since when requests apply to the group of that number; zero: never.
func (e *Engine) OptIn(group int) time.Time { return e.cfg.Groups[group].OptIn }

// agreed parts the groups that a commercial request may limit from the others.
func (r *run) agreed(groups []string, at time.Time) (may, not []string) {
	for _, id := range groups {
		if r.cfg.Groups[r.group(id)].Agreed(at) {
			may = append(may, id)
		} else {
			not = append(not, id)
		}
	}
	return may, not
}

// OptOut takes a group out of one commercial request, in the name of its
// customers, before it begins or while it runs (R15).
type OptOut struct {
	ID    string // of this order
	Event string // the command's id
	Group string
	By    string
}

// optOutName is the command in acknowledgements.
const optOutName = "optout"

// optOut refuses a request for a group: the limit falls away there, and the
// centre is told. What the network needs is no request and can't be refused.
func (r *run) optOut(o OptOut) {
	i := slices.IndexFunc(r.s.Commands, func(c Command) bool { return c.ID == o.Event })
	code := OK
	switch {
	case o.ID == "" || o.By == "":
		code = InvalidCommand
	case i < 0:
		code = NoEvent
	case r.s.Commands[i].Class != Commercial:
		code = NotOptional
	case !slices.Contains(r.s.Commands[i].Groups, o.Group):
		code = NoTarget
	}
	if code != OK {
		r.reject(o.ID, optOutName, code)
		return
	}
	c := &r.s.Commands[i]
	c.OptedOut = append(c.OptedOut, o.Group)
	r.drop(c, []string{o.Group})
	r.ack(Ack{ID: o.ID, Command: optOutName, Stage: Completed, Groups: []string{o.Group}})
	if len(c.Groups) == 0 {
		r.end(i, Cancelled, OptedOut)
		return
	}
	r.ack(Ack{ID: c.ID, Command: "limit", Stage: c.Stage, Code: OptedOut, Groups: c.Groups, Refused: []string{o.Group}, Compensation: c.Compensation})
}

// drop takes groups out of a command.
func (r *run) drop(c *Command, groups []string) {
	for _, id := range groups {
		if slices.Contains(c.Groups, id) {
			r.let(c, id)
		}
	}
	c.Groups = slices.DeleteFunc(c.Groups, func(id string) bool { return slices.Contains(groups, id) })
	r.ev.Store = true
}

// let spreads what a group gets back when a command lets it go. Only increases
// are spread: what is taken is taken at its time.
func (r *run) let(c *Command, id string) {
	if g := r.group(id); g >= 0 && c.Stage == Active && c.Randomise > 0 {
		r.s.Groups[g].Raised = r.now + r.draw("end|"+c.ID+"|"+id, c.Randomise)
	}
}

// What a person should know of beforehand, or soon.
const (
	// LimitEnding is the condition of a way on which a limit without an end comes
	// to the longest that such a limit may last.
	LimitEnding = "LIMIT_ENDING"
	// CommandConflict is the condition that one id came with two bodies: two
	// centres, or somebody who is none.
	CommandConflict = "ID_CONFLICT"
	// BelowGuarantee is the condition of a group that protection or a person
	// holds below what its customers were guaranteed.
	BelowGuarantee = "BELOW_GUARANTEE"

	endingWithin = 30 * time.Minute
	conflictFor  = 15 * time.Minute
)

// conflict notes that an id was used for two commands.
func (r *run) conflict() {
	if r.s.Conflict == 0 {
		r.condition("", CommandConflict, meter.Raise)
	}
	r.s.Conflict = max(r.now, 1)
}

// warnings raises and clears the conditions of commands and guarantees.
func (r *run) warnings() {
	if at := r.s.Conflict; at != 0 && r.now-at >= conflictFor {
		r.s.Conflict = 0
		r.condition("", CommandConflict, meter.Clear)
	}
	for i := range r.s.Ways {
		w := &r.s.Ways[i]
		ending := slices.ContainsFunc(r.s.Commands, func(c Command) bool {
			return c.Open && c.Stage == Active && c.End-r.now <= endingWithin &&
				slices.ContainsFunc(c.Groups, func(id string) bool { return r.cfg.Groups[r.group(id)].Way == w.ID })
		})
		if ending != w.Ending {
			w.Ending = ending
			r.condition(w.ID, LimitEnding, edge(ending))
		}
	}
	for g := range r.s.Groups {
		gs, cfg := &r.s.Groups[g], &r.cfg.Groups[g]
		if below := gs.Limit < cfg.Guarantee; below != gs.Below {
			gs.Below = below
			r.ev.Conditions = append(r.ev.Conditions, Condition{Way: cfg.Way, Group: gs.ID, Kind: BelowGuarantee, Edge: edge(below)})
			r.ev.Store = true
		}
	}
}

func edge(is bool) meter.Edge {
	if is {
		return meter.Raise
	}
	return meter.Clear
}
