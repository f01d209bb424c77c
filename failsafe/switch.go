package failsafe

import (
	"slices"

	"lvagent/meter"
)

// Switch is the position of the substation's Local/Remote switch.
type Switch uint8

// Positions of the switch. The zero value is Remote: a site without a switch.
const (
	Remote    Switch = iota
	Local            // somebody works on site: no control from afar
	Undefined        // it can't be read: nothing from afar may raise
)

var switchNames = [...]string{"remote", "local", "undefined"}

// String returns the position's name in messages.
func (s Switch) String() string {
	if int(s) < len(switchNames) {
		return switchNames[s]
	}
	return switchNames[Undefined]
}

// LocalControl is the condition of a substation whose switch is at Local. It is
// also why a control from afar is refused then.
const LocalControl = "LOCAL_CONTROL"

// InLocal refuses a control from afar while the switch is at Local, and one that
// would raise while nobody can read it.
const InLocal Code = "LOCAL"

// Inhibited is the cause of a way with a group that an input inhibits.
const Inhibited Cause = "INHIBITED"

// Rules of what is switched on site.
const (
	RuleLocal   Rule = "no increase in Local"
	RuleInhibit Rule = "inhibited by an input"
)

// switched notes the position of the switch.
func (r *run) switched(to Switch) {
	was := r.s.Switch
	if to == was {
		return
	}
	r.s.Switch = to
	r.ev.Store = true
	switch {
	case to == Local:
		r.condition("", LocalControl, meter.Raise)
	case was == Local:
		r.condition("", LocalControl, meter.Clear)
	}
}

// barred refuses a control from afar that the switch does not let through. What
// only restricts passes a switch that can't be read: a broken wire must not keep
// the centre from lowering a limit. An id that is known is answered as ever.
func (r *run) barred(id, command string, raises bool) bool {
	if r.s.Switch == Remote || r.s.Switch == Undefined && !raises ||
		slices.ContainsFunc(r.s.Known, func(k Known) bool { return k.ID == id }) {
		return false
	}
	r.reject(id, command, InLocal)
	return true
}

// heldHere reports whether group g may not be raised because of the switch:
// unless somebody on site has released it.
func (r *run) heldHere(g int) bool {
	if r.s.Switch == Remote {
		return false
	}
	o := r.governing(r.cfg.Groups[g].ID)
	return o == nil || !o.Local || o.Kind != Release
}

// inhibited applies the inputs that inhibit a group, which nobody lifts.
func (r *run) inhibited(g int, most meter.Milliamps, rule Rule, source string) (meter.Milliamps, Rule, string) {
	if most > 0 && slices.Contains(r.inhibits, r.cfg.Groups[g].ID) {
		return 0, RuleInhibit, ""
	}
	return most, rule, source
}

// byCustomer notes which groups charge by their customer's own override: load
// that nobody controls, until it ends (R12).
func (r *run) byCustomer(groups []string) {
	for g := range r.s.Groups {
		gs := &r.s.Groups[g]
		is := slices.Contains(groups, gs.ID) || gs.CustomerReport.Active
		if is == gs.Customer {
			continue
		}
		gs.Customer, gs.CustomerSince = is, r.wall
		if is && gs.CustomerReport.Active {
			gs.CustomerSince = gs.CustomerReport.Since
		}
		edge := meter.Clear
		if is {
			edge = meter.Raise
		}
		r.ev.Conditions = append(r.ev.Conditions, Condition{Way: r.cfg.Groups[g].Way, Group: gs.ID, Kind: CustomerOverride, Edge: edge})
		r.ev.Store = true
	}
}

// CustomerOverride is the condition of a group whose customer charges outside the
// scheme.
const CustomerOverride = "CUSTOMER_OVERRIDE"
