package failsafe

import (
	"time"

	"lvagent/meter"
)

// How often somebody else may change an output within driftWithin before that is
// an alarm.
const (
	mostDrifts  = 3
	driftWithin = time.Hour
)

// Conditions of a group's actuator.
const (
	ActuatorFailed = "ACTUATOR_FAILED" // it has not obeyed for long; until it obeys and somebody has acknowledged it
	ActuatorDrift  = "ACTUATOR_DRIFT"  // somebody else keeps changing what it was told, or it keeps forgetting it
	BackupFailed   = "BACKUP_FAILED"   // the contact that stands in for it does not obey
)

// Backup is the contact that stands in for a group's actuator. It is open, which
// curtails, from the start until the actuator has obeyed once: the zero value is
// the safe one.
type Backup struct {
	Closed    bool
	OpenedAt  time.Duration // when it was opened because of the actuator; 0: not
	Actuation Actuation
	Told      bool // the condition BackupFailed is raised
}

// feedback takes an actuator's answer.
func (r *run) feedback(f Feedback) {
	g := r.group(f.Group)
	if g < 0 {
		return
	}
	if f.Backup {
		r.backupAnswer(g, f)
		return
	}
	gs := &r.s.Groups[g]
	if f.Drifted {
		r.drifted(gs)
	}
	if f.OK && f.Told != gs.Limit {
		return // the answer to an older setpoint; the newer one's is to come
	}
	switch {
	case !f.OK:
		gs.Actuation = Unreached
	case f.Limit > gs.Limit:
		gs.Actuation = Permissive
	case f.Limit == 0 && r.cfg.Groups[g].Contact && gs.Limit < r.cfg.Groups[g].Rating:
		gs.Actuation = Confirmed // a contact curtails for any limit below the rating
	case f.Limit < gs.Limit && gs.Limit-f.Limit > r.cfg.Groups[g].Rating/100:
		gs.Actuation = Restricted
	default:
		gs.Actuation = Confirmed
	}
	if f.OK {
		gs.Feedback, gs.Answered = f.Limit, r.now
	}
	// What was told is remembered: a new setpoint in between makes the actuation
	// Pending, and the end must be told all the same.
	now := gs.Actuation
	if now != Unreached && now != Permissive {
		now = Unknown
	}
	if now == gs.Fault {
		return
	}
	for _, c := range []struct {
		state Actuation
		kind  string
	}{{Unreached, "ACTUATOR_UNREACHED"}, {Permissive, "ACTUATOR_PERMISSIVE"}} {
		switch c.state {
		case gs.Fault:
			r.groupCondition(g, c.kind, meter.Clear)
		case now:
			r.groupCondition(g, c.kind, meter.Raise)
		}
	}
	if gs.Fault == Unknown {
		gs.FaultAt = r.now
	}
	gs.Fault = now
}

func (r *run) groupCondition(g int, kind string, edge meter.Edge) {
	cfg := &r.cfg.Groups[g]
	r.ev.Conditions = append(r.ev.Conditions, Condition{Way: cfg.Way, Group: cfg.ID, Kind: kind, Edge: edge})
}

// drifted counts a change that was not ours. It was written over already; only
// one that keeps coming back is worth a person's time.
func (r *run) drifted(gs *GroupState) {
	if gs.Drifts == 0 || r.now-gs.DriftAt >= driftWithin {
		gs.Drifts = 0
	}
	gs.Drifts, gs.DriftAt = min(gs.Drifts+1, mostDrifts), r.now
}

// actuators sees to what only time brings about at the outputs: an actuator that
// does not obey for so long that it counts as failed, the contact that stands in
// for it, and the end of a drift.
func (r *run) actuators(acknowledged []string) {
	for g := range r.s.Groups {
		gs := &r.s.Groups[g]
		if gs.Fault != Unknown && !gs.Failed && !r.cfg.Groups[g].Slow && r.now-gs.FaultAt >= r.cfg.Timers.ActuatorFailed {
			gs.Failed, gs.FailedSeen = true, false
			r.ev.Store = true
		}
		for _, id := range acknowledged {
			if id == gs.ID && gs.Failed {
				gs.FailedSeen, r.ev.Store = true, true
			}
		}
		if gs.Failed && gs.FailedSeen && gs.Fault == Unknown && gs.Actuation != Unknown {
			gs.Failed, gs.FailedSeen = false, false
			r.ev.Store = true
		}
		if gs.Failed != gs.FailedTold {
			gs.FailedTold = gs.Failed
			r.groupCondition(g, ActuatorFailed, edgeOf(gs.Failed))
		}
		if gs.Drifts > 0 && r.now-gs.DriftAt >= driftWithin {
			gs.Drifts = 0
		}
		if drifting := gs.Drifts >= mostDrifts || gs.DriftTold && gs.Drifts > 0; drifting != gs.DriftTold {
			gs.DriftTold = drifting
			r.groupCondition(g, ActuatorDrift, edgeOf(drifting))
		}
		if r.cfg.Groups[g].Backup {
			r.backup(g)
		}
	}
}

func edgeOf(raised bool) meter.Edge {
	if raised {
		return meter.Raise
	}
	return meter.Clear
}

// backup opens the contact that stands in for group g's actuator when that has
// not obeyed for long enough to be no single lost answer, and a limit is in
// force. It closes when the actuator obeys again and the shortest time for a
// contact is over.
func (r *run) backup(g int) {
	gs, b := &r.s.Groups[g], &r.s.Groups[g].Backup
	disobeys := gs.Failed
	if b.Closed {
		disobeys = disobeys || gs.Fault != Unknown && r.now-gs.FaultAt >= r.cfg.Timers.Mismatch
	} else {
		disobeys = disobeys || gs.Fault != Unknown || gs.Actuation == Unknown || gs.Actuation == Pending
	}
	closed := !disobeys || gs.Limit >= r.cfg.Groups[g].Rating
	if closed && !b.Closed && b.OpenedAt != 0 && r.now-b.OpenedAt < r.cfg.Timers.MinOff {
		closed = false
	}
	if closed == b.Closed {
		return
	}
	b.Closed, b.Actuation = closed, Pending
	b.OpenedAt = 0
	set := Setpoint{Group: gs.ID, Backup: true, Limit: r.cfg.Groups[g].Rating, Raise: true}
	if !closed {
		b.OpenedAt = max(r.now, 1)
		set.Limit, set.Raise = 0, false
	}
	r.set = append(r.set, set)
	r.ev.Store = true
}

// backupAnswer takes what the contact that stands in says.
func (r *run) backupAnswer(g int, f Feedback) {
	gs := &r.s.Groups[g]
	want := meter.Milliamps(0)
	if gs.Backup.Closed {
		want = r.cfg.Groups[g].Rating
	}
	if f.OK && f.Told != want {
		return
	}
	switch {
	case !f.OK:
		gs.Backup.Actuation = Unreached
	case f.Limit > want:
		gs.Backup.Actuation = Permissive
	case f.Limit < want:
		gs.Backup.Actuation = Restricted
	default:
		gs.Backup.Actuation = Confirmed
	}
	if bad := gs.Backup.Actuation == Unreached || gs.Backup.Actuation == Permissive; bad != gs.Backup.Told {
		gs.Backup.Told = bad
		r.groupCondition(g, BackupFailed, edgeOf(bad))
	}
}

// shut reports whether the contact that stands in for group g is known to be
// open: then nothing flows, whatever the actuator does.
func (r *run) shut(g int) bool {
	b := &r.s.Groups[g].Backup
	return r.cfg.Groups[g].Backup && !b.Closed && b.Actuation == Confirmed
}
