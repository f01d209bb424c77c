package failsafe

import (
	"slices"
	"time"

	"lvagent/meter"
)

// LockoutName is the condition of a group that is locked out.
const LockoutName = "LOCKOUT"

// RuleLockout holds a group that was proven not to do what it is told.
const RuleLockout Rule = "lockout"

// Causes of a lockout: what proved the disobedience.
const (
	LockedOut Cause = "LOCKOUT" // of a way with a group that is locked out

	Overdrawn Cause = "OVERDRAWN"  // measured above its limit, though the actuator confirmed it
	ReadsHigh Cause = "READS_HIGH" // read back above what it was told
)

// When excursions lock a group out: twice within pairWithin, or more than three
// times within dayWithin. One that goes on counts again every recountAfter.
const (
	pairWithin   = 10 * time.Minute
	dayWithin    = 24 * time.Hour
	recountAfter = 5 * time.Minute

	// leastExcess is what a group may draw above its limit at least; it may be a
	// twentieth of its rating too.
	leastExcess meter.Milliamps = 1000
)

// Lockout is what is known of a group's disobedience. Only what is proven counts:
// an actuator that can't be reached, or a current that is not measured, proves
// nothing, and an overload with nothing left to shed is nobody's disobedience.
type Lockout struct {
	Locked bool          `json:",omitempty"`
	Cause  Cause         `json:",omitempty"`
	Since  time.Time     `json:",omitzero"`
	Until  time.Duration `json:",omitempty"`

	Over  bool             `json:",omitempty"` // it disobeys now
	Next  time.Duration    `json:",omitempty"` // when it counts, the next time
	Times int              `json:",omitempty"` // in At, at most all of it
	At    [4]time.Duration `json:",omitzero"`  // of the last excursions, the newest first
}

// shifted carries the lockout into a process whose clock is ahead by d. Whether
// the group disobeys is seen anew.
func (x Lockout) shifted(d time.Duration) Lockout {
	x.Over = false
	x.Until += d
	for i := range x.Times {
		x.At[i] += d
	}
	if !x.Locked && x.Times == 0 {
		return Lockout{}
	}
	return x
}

// LockoutAck ends the lockout of groups in the name of somebody who has looked.
type LockoutAck struct {
	ID, Issuer string
	Epoch, Seq uint64
	Hash       string
	Retained   bool
	Expires    time.Time
	Local      bool // from the device itself: needs no issuer, number or expiry
	Target     Target
	By         string
}

// AckName is the command in acknowledgements.
const AckName = "ack"

// lockoutAck takes an acknowledgement. It ends the lockout whatever the group
// does: somebody answers for it, and disobedience locks it out again. Excursions
// of before count no more.
func (r *run) lockoutAck(c LockoutAck) {
	if !c.Local && !r.admit(c.ID, AckName, c.Issuer, c.Hash, c.Epoch, c.Seq, c.Retained, c.Expires, true) {
		return
	}
	groups, _, refused := r.resolve(c.Target)
	locked := slices.DeleteFunc(slices.Clone(groups), func(id string) bool { return !r.s.Groups[r.group(id)].Lockout.Locked })
	code := OK
	switch {
	case c.By == "" || c.ID == "":
		code = InvalidCommand
	case len(locked) == 0:
		code = NoTarget
	}
	if code != OK {
		r.ack(Ack{ID: c.ID, Command: AckName, Stage: Rejected, Code: code, Refused: refused})
		return
	}
	if c.Local {
		r.know(c.ID, "local", Completed)
		r.ev.Store = true
	} else {
		r.accept(c.ID, c.Hash, c.Issuer, c.Epoch, c.Seq, Completed)
	}
	for _, id := range locked {
		r.unlock(r.group(id))
	}
	r.ack(Ack{ID: c.ID, Command: AckName, Stage: Completed, Groups: locked, Refused: refused})
}

// obedience looks which groups do not do what they are told, and locks out those
// of which it is proven often enough.
func (r *run) obedience() {
	for g := range r.s.Groups {
		x := &r.s.Groups[g].Lockout
		cause := r.disobeys(g)
		switch over := cause != ""; {
		case over && !x.Over:
			x.Over, x.Next = true, r.now+r.cfg.Timers.Excursion
		case !over:
			x.Over = false
		}
		if x.Over && r.now > x.Next {
			x.Next = r.now + recountAfter
			copy(x.At[1:], x.At[:])
			x.At[0], x.Times = r.now, min(x.Times+1, len(x.At))
			r.ev.Store = true
			if !x.Locked && (x.Times >= 2 && x.At[0]-x.At[1] <= pairWithin || x.Times == len(x.At) && x.At[0]-x.At[len(x.At)-1] <= dayWithin) {
				x.Locked, x.Cause, x.Since, x.Until = true, cause, r.wall, r.now+r.cfg.Timers.Lockout
				r.lockoutCondition(g, meter.Raise)
			}
		}
		if x.Locked && r.now >= x.Until && !x.Over {
			r.unlock(g)
		}
	}
}

// disobeys says what proves that group g does not do what it is told; empty where
// nothing does.
func (r *run) disobeys(g int) Cause {
	gs, cfg := &r.s.Groups[g], &r.cfg.Groups[g]
	if gs.Fault == Permissive {
		return ReadsHigh
	}
	if !gs.Drawn || gs.Customer || gs.Actuation != Confirmed && gs.Actuation != Restricted {
		return ""
	}
	most := gs.Limit
	if cfg.Contact && most < cfg.Rating {
		most = 0
	}
	if max(gs.Draw[0], gs.Draw[1], gs.Draw[2]) > most+max(leastExcess, cfg.Rating/20) {
		return Overdrawn
	}
	return ""
}

func (r *run) unlock(g int) {
	x := &r.s.Groups[g].Lockout
	*x = Lockout{Over: x.Over, Next: r.now + r.cfg.Timers.Excursion}
	r.lockoutCondition(g, meter.Clear)
}

func (r *run) lockoutCondition(g int, edge meter.Edge) {
	r.ev.Conditions = append(r.ev.Conditions, Condition{Way: r.cfg.Groups[g].Way, Group: r.cfg.Groups[g].ID, Kind: LockoutName, Edge: edge})
	r.ev.Store = true
}

// lockedOut applies a lockout to the limit that would hold without it. No
// override lifts it.
func (r *run) lockedOut(g int, most meter.Milliamps, rule Rule, source string) (meter.Milliamps, Rule, string) {
	x := &r.s.Groups[g].Lockout
	if floor := min(r.cfg.Groups[g].Lockout, r.weeks[g].lowest); x.Locked && floor < most {
		return floor, RuleLockout, string(x.Cause)
	}
	return most, rule, source
}
