package failsafe

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"lvagent/meter"
)

// Schema is the version of the stored state.
const Schema = 1

// State is everything the engine must remember. It is plain values, so that it
// can be stored, compared and replayed. Times of type time.Duration are on the
// monotonic scale of the running process; [Engine.Resume] carries them over a
// restart.
type State struct {
	Site string
	Mono time.Duration // of the last step
	Wall time.Time     // of the last step
	// Floor is the latest wall time that was trusted, to a minute; the engine
	// only keeps it. No earlier time is believed after a restart.
	Floor time.Time
	// Audit is the head of the audit chain; the engine only keeps it.
	Audit AuditHead
	// Stopped is set by Stop: the process ended in order and outputs were left
	// at their rest state.
	Stopped bool

	Ever  bool          // a heartbeat was accepted since the start
	Heard time.Duration // when the last one arrived
	Beats []time.Duration
	// Tokens and Sequences hold the highest number per issuer, so that nothing
	// old is taken for new.
	Tokens    []Token
	Sequences []Sequence

	Ways     []WayState
	Groups   []GroupState
	Commands []Command     // scheduled and active
	Known    []Known       // ids seen, oldest first
	Lost     bool          // the state of before was lost; until a statement
	Conflict time.Duration // when an id last came with two bodies, until that is over; 0: never

	Outage string // the loss of the substation's supply, while it lasts
	Host   string // the run of the machine that stored this; the engine only keeps it
	Holds  []Hold

	Switch  Switch  // of the substation, as last read
	Silence Silence `json:",omitzero"`

	Overrides   []Override
	Constraints []Constraint
	Rotated     time.Duration // when groups last took turns
	Accounted   time.Duration // up to when the accounts have faded
}

// Token is the highest heartbeat of one issuer.
type Token struct {
	Issuer     string
	Epoch, Seq uint64
}

// Sequence is the anti-replay window of one issuer's commands.
type Sequence struct {
	Issuer string
	Epoch  uint64
	High   uint64
	Window uint64 // bit k: High-k was seen
}

// WayState is the authority machine of one way.
type WayState struct {
	ID        string
	State     Authority
	Since     time.Duration
	SinceWall time.Time
	Cause     Cause
	Statement bool // the centre stated a limit or "none" since it is heard again
	Source    string
	Waiting   bool          // the condition NO_STATEMENT is raised
	RampEnd   time.Duration // of the entry ramp; 0: none
	RampStart time.Duration

	Kept     bool // the limits at the loss (From) are a ceiling until the centre is back
	Headroom bool // and all that applies
	// Flaps counts losses of the centre, each soon after the one before; LostAt
	// is the last, 0 for none.
	Flaps  int
	LostAt time.Duration
	Ending bool // LIMIT_ENDING is raised
}

// GroupState is the limit of one group and what its actuator made of it.
type GroupState struct {
	ID        string
	Limit     meter.Milliamps // in force, per phase
	Rule      Rule
	Source    string          // the command's id, where a command decides
	From      meter.Milliamps // Limit when the centre was lost
	Raised    time.Duration   // when the limit was last raised, or could have been
	Actuation Actuation
	Fault     Actuation     // Unreached or Permissive, which was told, until an answer was right; Unknown: none
	FaultAt   time.Duration // since when there is one
	// Failed is an actuator that had a fault for too long: nobody counts on it
	// until it obeys and somebody has seen to it. What is Told was announced.
	Failed, FailedSeen, FailedTold bool

	Drifts    int // of the last hour, each soon after the one before
	DriftAt   time.Duration
	DriftTold bool

	Backup Backup
	// CustomerReport is what is said of its customer's override from afar.
	CustomerReport CustomerState
	Feedback       meter.Milliamps
	Answered       time.Duration // when the actuator last answered
	Capped         bool          // by protection, at Cap
	Cap            meter.Milliamps
	Switched       time.Duration // when protection last opened or closed its contact; 0: never
	Lifted         time.Duration // when Cap was last raised
	Paused         bool          // so that others can charge
	PausedAt       time.Duration
	Below          bool // BELOW_GUARANTEE is raised

	Draw     [meter.Phases]meter.Milliamps // as measured; with Drawn
	DrawnAt  time.Duration
	Drawn    bool  // Draw is good and fresh
	Seen     bool  // Draw is good, though perhaps not fresh
	Withheld int64 // mA x s below the rating, of Owed; older ones fade away in a week
	Owed     int64

	Restart Restart `json:",omitzero"` // after a loss of supply
	Lockout Lockout `json:",omitzero"` // and what may lead to one

	Customer      bool      `json:",omitempty"` // charges by its customer's own override
	CustomerSince time.Time `json:",omitzero"`
	Total         Account   // since the group is known
}

// Rule names what decides a group's limit.
type Rule string

// The deciding rules.
const (
	RuleRating   Rule = "rating"
	RuleCommand  Rule = "command"
	RuleFailsafe Rule = "failsafe profile"
	RuleEntry    Rule = "failsafe entry ramp"
	RuleRestore  Rule = "restore ramp"
	RuleBlind    Rule = "no increase without a good measurement"

	RuleNoRoom     Rule = "no increase above 88 % of the rating"
	RuleTurn       Rule = "contacts close one at a time, where there is room"
	RuleFrozen     Rule = "no increase while a fuse is suspected"
	RuleUnmeasured Rule = "not measured for a minute: failsafe limit"
	RuleProtection Rule = "overload protection"
	RuleOverride   Rule = "override"
	RuleSchedule   Rule = "capacity profile"
	RuleHeadroom   Rule = "what was in force when the centre was lost"
)

// Command is a limit that was accepted.
type Command struct {
	ID           string
	Issuer       string
	Class        Class
	Groups       []string
	Way          string   // where it was for one
	OptedOut     []string // groups that were taken out of it
	Amount       Amount   // of a curve: of the block that it is in
	Curve        []Block
	Randomise    time.Duration
	Open         bool // without an end of its own
	Compensation string
	Stage        Stage // Scheduled or Active
	Start, End   time.Duration
	StartWall    time.Time
	EndWall      time.Time
	Duration     time.Duration
	Actuated     bool
	Restored     bool          // carried over a restart: both clocks must agree on its end
	Latest       time.Duration // of a restored one: it ends by then whatever the wall clock says

	Noted     bool          // what it found when it began is in what follows
	Effective time.Duration // from its start until its effect was seen; 0: not yet
	Effects   []Effect
	Withheld  int64 // from its groups before it began, mA x s
}

// Known is a command's id, kept so that nothing takes effect twice.
type Known struct {
	ID    string
	Hash  string
	Stage Stage
	At    time.Duration // monotonic; negative after restarts
}

// Engine is a configuration ready to step.
type Engine struct {
	cfg    Config
	wayOf  []int   // group -> way
	groups [][]int // way -> groups
	bounds []constraint
	on     [][]int // group -> constraints
	lots   []uint64
	weeks  []weekly // of each group, while the centre is silent
	plans  []weekly // of each group, always
	// profiled: a group has a profile; place is where its clock hangs.
	profiled bool
	hours    weekly // 0 in peak hours
	place    *time.Location
}

// NewEngine returns an engine for cfg, which must be valid: each group's way
// exists.
func NewEngine(cfg Config) *Engine {
	e := &Engine{cfg: cfg, wayOf: make([]int, len(cfg.Groups)), groups: make([][]int, len(cfg.Ways))}
	for g := range cfg.Groups {
		w := slices.IndexFunc(cfg.Ways, func(w Way) bool { return w.ID == cfg.Groups[g].Way })
		e.wayOf[g] = w
		e.groups[w] = append(e.groups[w], g)
	}
	e.plan()
	if e.place = cfg.Place; e.place == nil {
		e.place = time.UTC
	}
	for g := range cfg.Groups {
		e.weeks = append(e.weeks, e.week(&cfg.Groups[g]))
		e.plans = append(e.plans, e.schedule(&cfg.Groups[g]))
		e.profiled = e.profiled || len(cfg.Groups[g].Profile)+len(cfg.Groups[g].Schedule) > 0
	}
	if cfg.Autonomous > 0 {
		e.hours, e.profiled = e.peakWeek(), true
	}
	return e
}

// New returns the state of a device that has no past: every way in Init, every
// group at the lowest of its failsafe limits. Lost says that a past was expected.
func (e *Engine) New(now time.Duration, wall time.Time, lost bool) State {
	s := State{Site: e.cfg.Site, Mono: now, Wall: wall, Lost: lost, Rotated: now, Accounted: now}
	for _, w := range e.cfg.Ways {
		s.Ways = append(s.Ways, e.newWay(w.ID, now, wall, lost))
	}
	for g := range e.cfg.Groups {
		s.Groups = append(s.Groups, GroupState{ID: e.cfg.Groups[g].ID, Limit: e.lowest(g), Rule: RuleFailsafe, Raised: now})
	}
	for _, w := range e.cfg.Ways {
		s.Constraints = append(s.Constraints, newConstraints(w.ID, now)...)
	}
	if e.cfg.Transformer > 0 {
		s.Constraints = append(s.Constraints, newConstraints(TX, now)...)
	}
	return s
}

func newConstraints(way string, now time.Duration) (all []Constraint) {
	for p := range meter.Phase(meter.Phases) {
		all = append(all, Constraint{Way: way, Phase: p, Good: now, Grown: now, Warm: now})
	}
	return all
}

func (e *Engine) newWay(id string, now time.Duration, wall time.Time, lost bool) WayState {
	w := WayState{ID: id, State: Init, Since: now, SinceWall: wall, Cause: Started}
	if lost {
		w.Cause = StateLost
	}
	return w
}

// Resume carries a stored state into a new process. Nothing is released by it:
// a way that was in Failsafe or Probation starts in Failsafe, one that was free
// or limited starts in Init, and each group keeps the stricter of its last limit
// and the failsafe limit. Only a planned stop that was short, with the centre
// fresh at its end, goes on where it stopped; the heartbeat's age runs on.
//
// Timed limits go on with the time that was left when the state was stored: the
// time in between is not counted in their favour.
func (e *Engine) Resume(old State, now time.Duration, wall time.Time, clock meter.Clock) State {
	s := e.New(now, wall, false)
	shift := now - old.Mono
	down := wall.Sub(old.Wall)
	bumpless := old.Stopped && clock.Trusted() && down >= 0 && down < e.cfg.Timers.Bumpless &&
		old.Ever && old.Mono-old.lastSign()+down < e.cfg.Timers.HeartbeatTimeout
	s.Tokens, s.Sequences = slices.Clone(old.Tokens), slices.Clone(old.Sequences)
	s.Lost, s.Floor, s.Audit, s.Outage, s.Host, s.Switch = old.Lost, old.Floor, old.Audit, old.Outage, old.Host, old.Switch
	if old.Conflict != 0 {
		s.Conflict = old.Conflict + shift
	}
	if bumpless {
		s.Ever, s.Heard = true, now-(old.Mono-old.Heard+down)
		if s.Silence = old.Silence; s.Silence.Until != 0 {
			s.Silence.Until += shift - down
		}
	}
	for _, k := range old.Known {
		k.At += shift
		s.Known = append(s.Known, k)
	}
	for i := range s.Ways {
		w := &s.Ways[i]
		o := slices.IndexFunc(old.Ways, func(x WayState) bool { return x.ID == w.ID })
		if o < 0 {
			continue
		}
		was := old.Ways[o]
		w.Flaps, w.Ending = was.Flaps, was.Ending
		if was.LostAt != 0 {
			w.LostAt = was.LostAt + shift
		}
		switch was.State {
		case Failsafe, Probation, Autonomous:
			w.State, w.Cause, w.SinceWall = Failsafe, was.Cause, was.SinceWall
			if was.State != Failsafe {
				w.Cause = HeartbeatLost
			}
			w.Kept = was.Kept // what goes beyond the profile is not carried over
		case Free, Limited, Restoring:
			if bumpless {
				w.State, w.Cause, w.SinceWall, w.Statement = was.State, Resumed, was.SinceWall, was.Statement
			}
		}
	}
	today := e.look(wall, clock.Trusted())
	for i := range s.Groups {
		g := &s.Groups[i]
		o := slices.IndexFunc(old.Groups, func(x GroupState) bool { return x.ID == g.ID })
		if o < 0 {
			continue
		}
		was := old.Groups[o]
		if !s.Ways[e.wayOf[i]].State.restricted() {
			g.Limit, g.Rule, g.Source = min(was.Limit, e.cfg.Groups[i].Rating), was.Rule, was.Source
		} else {
			g.Limit = min(was.Limit, e.profile(i, &today))
		}
		g.From, g.Below = was.From, was.Below
		g.Capped, g.Cap, g.Paused, g.PausedAt = was.Capped, was.Cap, was.Paused, was.PausedAt+shift
		g.Withheld, g.Owed, g.Total = was.Withheld, was.Owed, was.Total
		g.Failed, g.FailedSeen = was.Failed, was.FailedSeen // told once more
		g.CustomerReport = was.CustomerReport
		g.CustomerReport.At += shift
		g.Backup.Closed = was.Backup.Closed
		if was.Backup.OpenedAt != 0 {
			g.Backup.OpenedAt = cmp.Or(was.Backup.OpenedAt+shift, -1)
		}
		if was.Switched != 0 {
			g.Switched = was.Switched + shift
		}
		g.Lockout = was.Lockout.shifted(shift)
		g.Restart = was.Restart
		if g.Restart.waits() {
			g.Restart.Until += shift
		}
	}
	for i := range s.Constraints {
		c := &s.Constraints[i]
		o := slices.IndexFunc(old.Constraints, func(x Constraint) bool { return x.Way == c.Way && x.Phase == c.Phase })
		if o < 0 {
			continue
		}
		// What was too much before is not let go by a restart; the time in
		// between cools nothing.
		was := old.Constraints[o]
		c.Bound, c.Budget, c.Theta, c.Helpless = was.Bound, was.Budget, was.Theta, was.Helpless
		c.Load, c.Outage = was.Load, was.Outage
	}
	for _, o := range old.Holds {
		o.Groups = slices.DeleteFunc(slices.Clone(o.Groups), func(id string) bool { return e.group(id) < 0 })
		o.End += shift
		o.Restored = true
		s.Holds = append(s.Holds, o)
	}
	for _, o := range old.Overrides {
		o.Groups = slices.DeleteFunc(slices.Clone(o.Groups), func(id string) bool { return e.group(id) < 0 })
		o.End += shift
		o.Restored = true
		s.Overrides = append(s.Overrides, o)
	}
	for _, c := range old.Commands {
		c.Groups = slices.DeleteFunc(slices.Clone(c.Groups), func(id string) bool { return e.group(id) < 0 })
		c.Start += shift
		c.End += shift
		c.Restored, c.Latest = true, now+c.Duration
		s.Commands = append(s.Commands, c)
	}
	return s
}

// Stop returns the state to store at an ordered end, and the setpoints to leave
// behind: for each group the stricter of its limit and the lowest of its
// failsafe limits, since nobody is left to follow a profile.
func (e *Engine) Stop(s State, now time.Duration, wall time.Time) (State, []Setpoint) {
	s = s.clone()
	s.Mono, s.Wall, s.Stopped = now, wall, true
	var rest []Setpoint
	for i, g := range s.Groups {
		rest = append(rest, Setpoint{Group: g.ID, Limit: min(g.Limit, e.lowest(i))})
	}
	return s, rest
}

func (e *Engine) group(id string) int {
	return slices.IndexFunc(e.cfg.Groups, func(g Group) bool { return g.ID == id })
}

func (e *Engine) way(id string) int {
	return slices.IndexFunc(e.cfg.Ways, func(w Way) bool { return w.ID == id })
}

func (s State) clone() State {
	s.Beats = slices.Clone(s.Beats)
	s.Tokens = slices.Clone(s.Tokens)
	s.Sequences = slices.Clone(s.Sequences)
	s.Ways = slices.Clone(s.Ways)
	s.Groups = slices.Clone(s.Groups)
	s.Known = slices.Clone(s.Known)
	s.Commands = slices.Clone(s.Commands)
	s.Overrides = slices.Clone(s.Overrides)
	s.Holds = slices.Clone(s.Holds)
	s.Constraints = slices.Clone(s.Constraints)
	for i := range s.Commands {
		s.Commands[i].Groups = slices.Clone(s.Commands[i].Groups)
		s.Commands[i].Effects = slices.Clone(s.Commands[i].Effects)
		s.Commands[i].OptedOut = slices.Clone(s.Commands[i].OptedOut)
	}
	return s
}

// Errors of a stored state. Only these make it worthless; a configuration that
// changed in between does not.
var (
	ErrCorrupt = errors.New("state is corrupt")
	ErrSchema  = errors.New("state is of an unknown schema")
	ErrSite    = errors.New("state is of another site")
)

type envelope struct {
	Schema int             `json:"schema"`
	CRC    uint32          `json:"crc"`
	State  json.RawMessage `json:"state"`
}

// Encode returns s as it is stored, with schema and checksum.
func Encode(s State) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode failsafe state: %w", err)
	}
	return json.Marshal(envelope{Schema: Schema, CRC: crc32.ChecksumIEEE(body), State: body})
}

// Decode reads a stored state of the given site.
func Decode(stored []byte, site string) (State, error) {
	var env envelope
	if err := json.Unmarshal(stored, &env); err != nil {
		return State{}, fmt.Errorf("decode failsafe state of %d octets: %w: %w", len(stored), ErrCorrupt, err)
	}
	if env.Schema != Schema {
		return State{}, fmt.Errorf("decode failsafe state: %w: got %d, want %d", ErrSchema, env.Schema, Schema)
	}
	if got := crc32.ChecksumIEEE(env.State); got != env.CRC {
		return State{}, fmt.Errorf("decode failsafe state: %w: crc 0x%08x, want 0x%08x", ErrCorrupt, got, env.CRC)
	}
	var s State
	if err := json.Unmarshal(env.State, &s); err != nil {
		return State{}, fmt.Errorf("decode failsafe state: %w: %w", ErrCorrupt, err)
	}
	if s.Site != site {
		return State{}, fmt.Errorf("decode failsafe state: %w: got %q, want %q", ErrSite, s.Site, site)
	}
	return s, nil
}
