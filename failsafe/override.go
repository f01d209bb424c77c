package failsafe

import (
	"slices"
	"time"

	"lvagent/meter"
)

// OverrideKind is what a person's override does to a group.
type OverrideKind uint8

// Kinds of override. The zero value is none of them.
const (
	HoldOff       OverrideKind = iota + 1 // no charging
	LimitTo                               // at most an amount
	Release                               // suspends commands and the failsafe limit, never protection
	ClearOverride                         // ends an override before its time
)

var overrideNames = [...]string{"", "hold_off", "limit", "release", "clear"}

// String returns the kind's name in messages.
func (k OverrideKind) String() string {
	if int(k) < len(overrideNames) {
		return overrideNames[k]
	}
	return ""
}

// ParseOverrideKind returns the kind called name.
func ParseOverrideKind(name string) (OverrideKind, bool) {
	i := slices.Index(overrideNames[1:], name)
	return OverrideKind(i + 1), i >= 0
}

// How long an override lasts when nothing is said, and at most (R12b). It can't
// be left on by accident.
const (
	overrideDefault    = time.Hour
	overrideMostLocal  = 8 * time.Hour
	overrideMostRemote = 4 * time.Hour
	mostOverrides      = 64
)

// OverrideCommand is a person's decision over the engine's own (R12b). A local
// one comes from the device itself and needs no issuer, number or expiry.
type OverrideCommand struct {
	ID, Issuer string
	Epoch, Seq uint64
	Hash       string
	Retained   bool
	Expires    time.Time
	Local      bool
	Target     Target
	Kind       OverrideKind
	Amount     Amount        // of LimitTo
	For        time.Duration // 0: an hour
	By, Why    string
}

// Override is one in force.
type Override struct {
	ID       string
	Local    bool
	Kind     OverrideKind
	Groups   []string
	Target   string // as it was named
	Amount   Amount
	By, Why  string
	Since    time.Time
	End      time.Duration
	EndWall  time.Time
	Restored bool
}

func (t Target) name() string {
	if t.Way != "" {
		return t.Way
	}
	name := ""
	for i, g := range t.Groups {
		if i > 0 {
			name += ","
		}
		name += g
	}
	return name
}

// override takes a person's override, or its end.
func (r *run) override(c OverrideCommand) {
	const name = "override"
	if c.Local {
		if c.ID == "" || slices.ContainsFunc(r.s.Known, func(k Known) bool { return k.ID == c.ID }) {
			r.reject(c.ID, name, Duplicate)
			return
		}
	} else if !r.admit(c.ID, name, c.Issuer, c.Hash, c.Epoch, c.Seq, c.Retained, c.Expires, false) {
		return
	}
	most := overrideMostRemote
	if c.Local {
		most = overrideMostLocal
	}
	length := c.For
	if length == 0 {
		length = overrideDefault
	}
	groups, _, refused := r.resolve(c.Target)
	code := OK
	switch {
	case c.Kind < HoldOff || c.Kind > ClearOverride, c.By == "", length < 0 || length > most,
		c.Kind == LimitTo && (!c.Amount.valid() || c.Amount.Unit == None || c.Amount.Unit == ByRegime),
		c.Target.Way != "" && len(c.Target.Groups) > 0:
		code = InvalidCommand
	case len(groups) == 0:
		code = NoTarget
	case len(r.s.Overrides) >= mostOverrides:
		code = TooMany
	case !c.Local && r.heldLocally(groups):
		code = LocalHolds
	}
	if code != OK {
		r.ack(Ack{ID: c.ID, Command: name, Stage: Rejected, Code: code, Refused: refused})
		return
	}
	stage, ends := Active, Superseded
	if c.Kind == ClearOverride {
		stage, ends = Completed, Cancelled
	}
	hash := c.Hash
	if c.Local {
		r.know(c.ID, "local", stage)
		r.ev.Store = true
	} else {
		r.accept(c.ID, hash, c.Issuer, c.Epoch, c.Seq, stage)
	}
	remark := OK
	if len(refused) > 0 {
		remark = Partial
	}
	r.ack(Ack{ID: c.ID, Command: name, Stage: Received, Code: remark, Groups: groups, Refused: refused})
	// A new override takes the place of the old; a remote one that met a local
	// one was refused.
	for i := len(r.s.Overrides) - 1; i >= 0; i-- {
		o := &r.s.Overrides[i]
		o.Groups = slices.DeleteFunc(slices.Clone(o.Groups), func(id string) bool { return slices.Contains(groups, id) })
		if len(o.Groups) == 0 {
			r.endOverride(i, ends)
		}
	}
	if c.Kind != ClearOverride {
		r.s.Overrides = append(r.s.Overrides, Override{
			ID: c.ID, Local: c.Local, Kind: c.Kind, Groups: groups, Target: c.Target.name(), Amount: c.Amount,
			By: c.By, Why: c.Why, Since: r.wall, End: r.now + length, EndWall: r.wall.Add(length),
		})
	}
	r.ack(Ack{ID: c.ID, Command: name, Stage: stage, Groups: groups})
}

// heldLocally reports whether a local override governs one of the groups: a
// remote one may not touch it.
func (r *run) heldLocally(groups []string) bool {
	return slices.ContainsFunc(r.s.Overrides, func(o Override) bool {
		return o.Local && slices.ContainsFunc(o.Groups, func(id string) bool { return slices.Contains(groups, id) })
	})
}

func (r *run) endOverride(i int, stage Stage) {
	o := r.s.Overrides[i]
	r.know(o.ID, "-", stage)
	r.ack(Ack{ID: o.ID, Command: "override", Stage: stage, Groups: o.Groups})
	r.s.Overrides = slices.Delete(r.s.Overrides, i, i+1)
	r.ev.Store = true
}

// expire ends the overrides whose time is over. One that was carried over a
// restart ends by whichever clock is stricter: a release by the first that says
// so, or at once with a clock that can't be trusted; a restriction by both.
func (r *run) expire() {
	for i := len(r.s.Overrides) - 1; i >= 0; i-- {
		o := &r.s.Overrides[i]
		over := r.now >= o.End
		if o.Restored {
			wall := !r.wall.Before(o.EndWall)
			switch {
			case o.Kind == Release:
				over = over || r.suspect || !r.clock.Trusted() || wall
			case r.suspect:
				over = over && r.now >= o.End+overrideMostLocal
			case r.clock.Trusted():
				over = over && (wall || r.now >= o.End+overrideMostLocal)
			}
		}
		if over {
			r.endOverride(i, Completed)
		}
	}
}

// governing is the override that counts for group id: the local one, if any.
func (r *run) governing(id string) *Override {
	var found *Override
	for i := range r.s.Overrides {
		if o := &r.s.Overrides[i]; slices.Contains(o.Groups, id) && (found == nil || o.Local) {
			found = o
		}
	}
	return found
}

// overridden applies the governing override of group g to the limit that would
// hold without it.
func (r *run) overridden(g int, most meter.Milliamps, rule Rule, source string) (meter.Milliamps, Rule, string) {
	cfg := &r.cfg.Groups[g]
	o := r.governing(cfg.ID)
	if o == nil {
		return most, rule, source
	}
	limit := meter.Milliamps(0)
	switch o.Kind {
	case Release:
		return cfg.Rating, RuleOverride, o.ID
	case LimitTo:
		limit = o.Amount.per(cfg)
	}
	if limit < most {
		return limit, RuleOverride, o.ID
	}
	return most, rule, source
}
