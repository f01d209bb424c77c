package failsafe

import (
	"cmp"
	"slices"
	"time"
)

// Reason is why current was withheld from a group, for people who ask whether
// it was fair.
type Reason uint8

// Reasons. Their numbers are in the stored state: a new one comes at the end.
const (
	ByCommand Reason = iota
	ByFailsafe
	ByProtection
	ByOverride
	NotSeen   // a phase is not measured, or a fuse suspected
	ByRestart // on the way back up, after a limit or a loss of supply
	ByOther
	ByTurn     // a contact that waits for others to close
	ByLocal    // the Local/Remote switch
	ByInhibit  // an input
	BySchedule // the standing capacity profile
	ByLockout
	reasons
)

var reasonNames = [reasons]string{"command", "failsafe", "protection", "override", "not_measured", "restart", "other",
	"turn", "local", "inhibit", "schedule", "lockout"}

// String returns the reason's name in reports.
func (r Reason) String() string {
	if r >= reasons {
		r = ByOther
	}
	return reasonNames[r]
}

// Reasons are all of them, in the order in which they are reported.
func Reasons() (all []Reason) {
	for r := range reasons {
		if r != ByOther {
			all = append(all, r)
		}
	}
	return append(all, ByOther)
}

// reason is what a rule comes to for the customer.
func (r Rule) reason() Reason {
	switch r {
	case RuleCommand:
		return ByCommand
	case RuleFailsafe, RuleEntry, RuleHeadroom, RuleAutonomous:
		return ByFailsafe
	case RuleProtection, RuleNoRoom:
		return ByProtection
	case RuleOverride:
		return ByOverride
	case RuleUnmeasured, RuleBlind, RuleFrozen:
		return NotSeen
	case RuleRestore, RuleUnfed, RuleIdle, RuleHeld:
		return ByRestart
	case RuleTurn:
		return ByTurn
	case RuleLocal:
		return ByLocal
	case RuleInhibit:
		return ByInhibit
	case RuleSchedule:
		return BySchedule
	case RuleLockout:
		return ByLockout
	}
	return ByOther
}

// Account is what a group might have drawn and what was withheld of it, since
// the account was opened. It only grows, and is exact: mA x ms per phase.
type Account struct {
	Time     int64                // ms that are accounted for
	Entitled int64                // at its rating
	Withheld int64                // below its rating, while it was not known to be idle
	Limited  int64                // ms in which that was more than nothing
	By       [reasons]WithheldFor // of these, by reason
	// Caution is what the failsafe limit withheld while each of the group's phases
	// was known to be below 80 % of its rating.
	Caution int64
}

// WithheldFor is what was withheld for one reason.
type WithheldFor struct {
	Withheld int64 `json:",omitempty"`
	Limited  int64 `json:",omitempty"` // ms
}

// book adds ms at the limit that was in force.
func (r *run) book(g int, ms int64) {
	gs, rating := &r.s.Groups[g], r.cfg.Groups[g].Rating
	a := &gs.Total
	a.Time += ms
	a.Entitled += int64(rating) * ms
	if gs.Limit >= rating || gs.Drawn && r.idle(g) {
		return
	}
	withheld := int64(rating-gs.Limit) * ms
	by := &a.By[gs.Rule.reason()]
	a.Withheld, a.Limited = a.Withheld+withheld, a.Limited+ms
	by.Withheld, by.Limited = by.Withheld+withheld, by.Limited+ms
	if gs.Rule.reason() == ByFailsafe && r.highest(g) < slowAbove {
		a.Caution += withheld
	}
}

// Since returns what came on the account since it was opened as before. An
// account that was lost meanwhile counts from its beginning.
func (a Account) Since(before Account) Account {
	if before.Time > a.Time || before.Withheld > a.Withheld || before.Entitled > a.Entitled {
		return a
	}
	a.Time -= before.Time
	a.Entitled -= before.Entitled
	a.Withheld -= before.Withheld
	a.Limited -= before.Limited
	a.Caution -= before.Caution
	for i := range a.By {
		a.By[i].Withheld -= before.By[i].Withheld
		a.By[i].Limited -= before.By[i].Limited
	}
	return a
}

// PPM is the share of what the group might have drawn that was withheld, in
// millionths.
func (a *Account) PPM() int64 {
	if a.Entitled < 1_000_000 {
		return 0
	}
	return a.Withheld / (a.Entitled / 1_000_000)
}

// Share is a group's part of what was withheld on a site.
type Share struct {
	Group, Way string
	Priority   bool
	Phases     int
	Account
	Rank int // 1: from it most was withheld, of what it might have drawn; equal ones share a rank
}

// WattHours returns a current that was withheld over time as energy, at 230 V on
// the group's phases.
func (s *Share) WattHours(current int64) int64 {
	const hour = int64(time.Hour / time.Millisecond)
	mah, rest := current/hour, current%hour
	volts := int64(nominal) / 1000 * int64(s.Phases)
	return (mah*volts + rest*volts/hour) / 1000
}

// Shares returns what came on each group's account since before, in order of the
// groups. Groups that were not there before count from their beginning.
func (e *Engine) Shares(s State, before map[string]Account) []Share {
	shares := make([]Share, 0, len(s.Groups))
	for g := range s.Groups {
		cfg := &e.cfg.Groups[g]
		n := 0
		for _, used := range cfg.Phases {
			if used {
				n++
			}
		}
		shares = append(shares, Share{Group: cfg.ID, Way: cfg.Way, Priority: cfg.Priority, Phases: n,
			Account: s.Groups[g].Total.Since(before[cfg.ID])})
	}
	order := slices.Clone(shares)
	slices.SortStableFunc(order, func(a, b Share) int { return cmp.Compare(b.PPM(), a.PPM()) })
	for i := range shares {
		shares[i].Rank = 1 + slices.IndexFunc(order, func(o Share) bool { return o.PPM() == shares[i].PPM() })
	}
	return shares
}
