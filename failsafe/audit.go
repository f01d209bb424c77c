package failsafe

import (
	"cmp"
	"slices"
	"time"

	"lvagent/meter"
)

// AuditHead is the newest record of a chain of audit records: what the next one
// goes on from.
type AuditHead struct {
	Chain string `json:"chain"` // the boot that began it
	N     uint64 `json:"n"`
	Hash  string `json:"hash"` // SHA-256, in hexadecimal
}

// DecisionKind says what a decision is about.
type DecisionKind string

// Kinds of decision. A step makes the first five; the others sum up, are what
// people say of the site, or the agent's own life.
const (
	DecidedSetpoint   DecisionKind = "setpoint"
	DecidedTransition DecisionKind = "transition"
	DecidedCommand    DecisionKind = "command"
	DecidedOverride   DecisionKind = "override"
	DecidedRefusal    DecisionKind = "refusal"
	DecidedTopology   DecisionKind = "topology" // how a way is supplied
	DecidedSetting    DecisionKind = "setting"  // of a meter
	DecidedConfig     DecisionKind = "config"   // a site file on trial, and how that ended
	DecidedRamp       DecisionKind = "ramp"     // steps of a ramp behind its first, together
	DecidedStart      DecisionKind = "start"
	DecidedStop       DecisionKind = "stop"
	DecidedCustomer   DecisionKind = "customer" // took a group out of the scheme, or brought it back
	DecidedBackup     DecisionKind = "backup"   // of the contact that stands in for an actuator
	DecidedBreak      DecisionKind = "break"    // records before this one are lost
)

// Decision is one thing that was decided, with what it was decided from (R11,
// R15): whoever reads it can judge it without the agent. All its numbers are
// whole.
type Decision struct {
	Kind    DecisionKind `json:"kind"`
	Way     string       `json:"way,omitempty"`
	Group   string       `json:"group,omitempty"`
	Meter   string       `json:"meter,omitempty"`
	Command string       `json:"command,omitempty"` // of a stage: limit, cancel, override; or what is set in a meter
	Rule    string       `json:"rule,omitempty"`    // what decided: a rule, a cause or a code
	Source  string       `json:"source,omitempty"`  // the id of what asked for it
	By      string       `json:"by,omitempty"`      // of what a person does
	Why     string       `json:"why,omitempty"`
	From    string       `json:"from,omitempty"` // states of a way
	To      string       `json:"to,omitempty"`   // or the stage of a command
	Now     string       `json:"now,omitempty"`  // what a meter holds in the end

	FromLimit *meter.Milliamps `json:"from_ma,omitempty"` // per phase
	ToLimit   *meter.Milliamps `json:"to_ma,omitempty"`

	Groups     []string    `json:"groups,omitempty"` // those that a command concerns
	Candidates []Candidate `json:"candidates,omitempty"`
	Loads      []Snapshot  `json:"loads,omitempty"`
	Ranks      []Rank      `json:"ranks,omitempty"`     // who gives first, where a feeder is shared out
	Ramp       *Ramp       `json:"ramp,omitempty"`      // how the limit goes on from here
	Reactions  []Reaction  `json:"reactions,omitempty"` // of a drill
	Count      int         `json:"count,omitempty"`     // of equal refusals, or of a ramp's steps
	Omitted    int         `json:"omitted,omitempty"`

	Span  int64  `json:"span_ms,omitempty"`      // of a ramp's steps
	Steps string `json:"steps_sha256,omitempty"` // over the decisions that they were

	LostFrom uint64 `json:"lost_from,omitempty"` // of a break: numbers that were given and are not stored
	LostTo   uint64 `json:"lost_to,omitempty"`
}

// Candidate is a limit that applied to a group. The lowest is in force, or a
// ramp on its way up to it.
type Candidate struct {
	Rule   Rule            `json:"rule"`
	Group  string          `json:"group,omitempty"` // where limits of several are listed
	Source string          `json:"source,omitempty"`
	Limit  meter.Milliamps `json:"ma"`
}

// Snapshot is the load of a phase at the time of the decision.
type Snapshot struct {
	Way     string          `json:"way"`
	Phase   string          `json:"phase"`
	I       meter.Milliamps `json:"ma"`
	Quality string          `json:"quality"`
	Age     int64           `json:"age_ms"`
	Load    int64           `json:"load_permille"`            // of the rating, as protection took it
	Budget  *int64          `json:"budget_ma,omitempty"`      // where protection shares it out
	Theta   int64           `json:"theta_permille"`           // of the heat that the rating would make
	Frozen  bool            `json:"fuse_suspected,omitempty"` // no increase
}

// Rank is a group's place when a feeder is shared out: the first gives first.
type Rank struct {
	Group     string          `json:"group"`
	Curtailed int64           `json:"curtailed_ppm"` // share withheld of late
	Priority  bool            `json:"priority,omitempty"`
	Limit     meter.Milliamps `json:"ma"`
}

// What one record may list, so that its size is bounded: the lists are in order
// of weight, and Omitted counts the rest.
const (
	mostCandidates = 16
	mostRanks      = 32
	mostNamed      = 32
	mostText       = 200 // characters of a person's words
)

// Decisions returns what a step decided that led from before to after. It
// allocates nothing where nothing was decided.
func (e *Engine) Decisions(before, after State, in Inputs, set []Setpoint, ev Events) []Decision {
	if len(set)+len(ev.Transitions)+len(ev.Acks)+len(ev.Refused)+len(ev.Conditions) == 0 {
		return nil
	}
	r := run{Engine: e, s: &after, now: after.Mono, wall: after.Wall, clock: in.Clock, suspect: in.Suspect, loads: in.Loads, draws: in.Draws, inhibits: in.Inhibits}
	r.today = e.look(after.Wall, in.Clock.Trusted() && !in.Suspect)
	var all []Decision
	for _, x := range ev.Refused {
		all = append(all, Decision{Kind: DecidedRefusal, Command: "heartbeat", Rule: string(x.Code), Source: clip(x.Issuer)})
	}
	for _, a := range ev.Acks {
		all = append(all, r.stage(in, a))
	}
	for _, c := range ev.Conditions {
		if c.Kind == CustomerOverride {
			all = append(all, Decision{Kind: DecidedCustomer, Way: c.Way, Group: c.Group, To: c.Edge.String()})
		}
	}
	for _, t := range ev.Transitions {
		d := Decision{Kind: DecidedTransition, Way: t.Way, Rule: string(t.Cause), From: t.From.String(), To: t.To.String()}
		if w := e.way(t.Way); w >= 0 {
			d.Source = clip(after.Ways[w].Source)
		}
		r.snapshot(&d, [meter.Phases]bool{true, true, true})
		all = append(all, d)
	}
	for _, s := range set {
		g := e.group(s.Group)
		if g < 0 || g >= len(before.Groups) {
			continue
		}
		gs := &after.Groups[g]
		if s.Backup {
			from := e.cfg.Groups[g].Rating - s.Limit
			all = append(all, Decision{Kind: DecidedBackup, Way: e.cfg.Groups[g].Way, Group: s.Group, Rule: standIn(gs), FromLimit: &from, ToLimit: &s.Limit})
			continue
		}
		d := Decision{
			Kind: DecidedSetpoint, Way: e.cfg.Groups[g].Way, Group: s.Group, Rule: string(gs.Rule), Source: clip(gs.Source),
			FromLimit: &before.Groups[g].Limit, ToLimit: &s.Limit,
		}
		d.Ramp = r.law(g)
		r.candidates(&d, g)
		r.snapshot(&d, e.cfg.Groups[g].Phases)
		if gs.Rule == RuleProtection || before.Groups[g].Rule == RuleProtection {
			r.ranks(&d, g)
		}
		all = append(all, d)
	}
	return all
}

// standIn says why the contact that stands in for an actuator was moved.
func standIn(gs *GroupState) string {
	switch {
	case gs.Backup.Closed:
		return "actuator obeys, or no limit"
	case gs.Failed:
		return ActuatorFailed
	}
	return "actuator does not obey: " + gs.Fault.String()
}

// InForce is the decision of the given kind that lists every group's limit: what
// a start begins with, or what an ordered end leaves behind.
func InForce(kind DecisionKind, s State, rest []Setpoint) Decision {
	d := Decision{Kind: kind}
	for i, g := range s.Groups {
		limit := g.Limit
		if i < len(rest) {
			limit = rest[i].Limit
		}
		d.Candidates = append(d.Candidates, Candidate{Rule: g.Rule, Group: g.ID, Source: clip(g.Source), Limit: limit})
	}
	d.Candidates, d.Omitted = first(d.Candidates, mostRanks)
	return d
}

// stage is the decision behind one rung of a command's ladder.
func (r *run) stage(in Inputs, a Ack) Decision {
	d := Decision{Kind: DecidedCommand, Command: a.Command, Rule: string(a.Code), Source: clip(a.ID), To: string(a.Stage)}
	var omitted int
	d.Groups, omitted = first(a.Groups, mostNamed)
	d.Omitted += omitted
	switch {
	case a.Stage == Rejected, a.Code == Duplicate:
		d.Kind = DecidedRefusal
	case a.Command == "override":
		d.Kind = DecidedOverride
		for _, o := range in.Overrides {
			if o.ID == a.ID {
				d.By, d.Why, d.From = clip(o.By), clip(o.Why), o.Kind.String()
			}
		}
	case a.Command == optOutName:
		for _, o := range in.OptOuts {
			if o.ID == a.ID {
				d.By, d.Why = clip(o.By), clip(o.Event)
			}
		}
	}
	return d
}

// candidates lists every limit that applies to group g, the lowest first.
func (r *run) candidates(d *Decision, g int) {
	cfg, gs, w := &r.cfg.Groups[g], &r.s.Groups[g], &r.s.Ways[r.wayOf[g]]
	add := func(rule Rule, source string, limit meter.Milliamps) {
		d.Candidates = append(d.Candidates, Candidate{Rule: rule, Source: clip(source), Limit: limit})
	}
	add(RuleRating, "", cfg.Rating)
	for i := range r.s.Commands {
		if c := &r.s.Commands[i]; c.Stage == Active && slices.Contains(c.Groups, cfg.ID) {
			add(RuleCommand, c.ID, c.Amount.For(cfg))
		}
	}
	if r.blind(g) {
		add(RuleUnmeasured, "", r.weeks[g].lowest)
	}
	if plan := &r.plans[g]; len(plan.stretches) > 0 {
		add(RuleSchedule, "", plan.at(&r.today, cfg.Rating))
	}
	if w.State.restricted() {
		limit, why := r.profile(g, &r.today), RuleFailsafe
		if w.State == Failsafe && w.RampEnd > r.now {
			limit, why = r.entry(g, w, limit)
		}
		if w.State == Autonomous && !r.peak() {
			limit, why = cfg.Rating, RuleAutonomous
		}
		add(why, "", limit)
	}
	if o := r.governing(cfg.ID); o != nil {
		limit := meter.Milliamps(0)
		switch o.Kind {
		case Release:
			limit = cfg.Rating
		case LimitTo:
			limit = o.Amount.per(cfg)
		}
		add(RuleOverride, o.ID, limit)
	}
	for _, on := range []func(int, meter.Milliamps, Rule, string) (meter.Milliamps, Rule, string){r.restarting, r.lockedOut, r.inhibited} {
		if limit, rule, source := on(g, cfg.Rating, RuleRating, ""); rule != RuleRating {
			add(rule, source, limit)
		}
	}
	if gs.Capped {
		add(RuleProtection, "", gs.Cap)
	}
	if !slices.ContainsFunc(d.Candidates, func(c Candidate) bool { return c.Rule == gs.Rule }) {
		add(gs.Rule, gs.Source, gs.Limit) // the ramp
	}
	slices.SortStableFunc(d.Candidates, func(a, b Candidate) int { return cmp.Compare(a.Limit, b.Limit) })
	omitted := 0
	d.Candidates, omitted = first(d.Candidates, mostCandidates)
	d.Omitted += omitted
}

// snapshot adds the load of the way's phases, and of the transformer's.
func (r *run) snapshot(d *Decision, phases [meter.Phases]bool) {
	for i := range r.s.Constraints {
		c := &r.s.Constraints[i]
		if c.Way != d.Way && c.Way != TX || !phases[c.Phase] || r.bounds[i].rating == 0 {
			continue
		}
		s := Snapshot{Way: c.Way, Phase: c.Phase.String(), Quality: meter.Missing.String(), Load: c.Load, Theta: c.Theta / 1_000_000}
		if c.Bound {
			budget := int64(c.Budget)
			s.Budget = &budget
		}
		if l := slices.IndexFunc(r.loads, func(l Load) bool { return l.Way == c.Way }); l >= 0 {
			load := &r.loads[l]
			s.I, s.Quality, s.Frozen = max(-mostSaid, min(load.I[c.Phase], mostSaid)), load.Quality[c.Phase].String(), load.Frozen[c.Phase]
			s.Age = int64((r.now - load.At) / time.Millisecond)
		}
		d.Loads = append(d.Loads, s)
	}
}

// mostSaid keeps a number that came from outside exact in every reader's JSON.
const mostSaid meter.Milliamps = 1 << 50

// ranks lists the groups that share a constraint with group g, in the order in
// which they must give.
func (r *run) ranks(d *Decision, g int) {
	var sharing []int
	for _, i := range r.on[g] {
		for _, other := range r.bounds[i].groups {
			if !slices.Contains(sharing, other) {
				sharing = append(sharing, other)
			}
		}
	}
	for _, other := range r.inTurn(sharing) {
		gs := &r.s.Groups[other]
		d.Ranks = append(d.Ranks, Rank{Group: gs.ID, Curtailed: r.curtailed(other), Priority: r.cfg.Groups[other].Priority, Limit: gs.Limit})
	}
	omitted := 0
	d.Ranks, omitted = first(d.Ranks, mostRanks)
	d.Omitted += omitted
}

func first[T any](all []T, most int) (kept []T, omitted int) {
	if len(all) <= most {
		return all, 0
	}
	return all[:most], len(all) - most
}

// clip bounds a text that came from outside.
func clip(s string) string {
	n := 0
	for i := range s {
		if n == mostText {
			return s[:i]
		}
		n++
	}
	return s
}
