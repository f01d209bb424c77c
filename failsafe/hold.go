package failsafe

import (
	"slices"
	"time"
)

// HoldCommand holds back the restart of groups after a loss of supply, or lets it
// go (R12, R20): whoever restores a network part by part decides when charging
// comes back. It lowers nothing that runs.
type HoldCommand struct {
	ID, Issuer string
	Epoch, Seq uint64
	Hash       string
	Retained   bool
	Expires    time.Time
	Target     Target // zero: the whole substation
	Release    bool   // ends the holds of the target
	For        time.Duration
	By, Why    string
}

// Hold is one in force. It can't be left on by accident: it ends by itself.
type Hold struct {
	ID       string
	Groups   []string
	By, Why  string
	Since    time.Time
	End      time.Duration
	EndWall  time.Time
	Restored bool
}

const (
	holdName    = "restoration"
	holdDefault = 4 * time.Hour
	holdMost    = 24 * time.Hour
	mostHolds   = 16
)

// holdCommand takes a restoration hold, or its end.
func (r *run) holdCommand(c HoldCommand) {
	if !r.admit(c.ID, holdName, c.Issuer, c.Hash, c.Epoch, c.Seq, c.Retained, c.Expires, false) {
		return
	}
	length := c.For
	if length == 0 {
		length = holdDefault
	}
	var groups, refused []string
	if c.Target.Way == "" && len(c.Target.Groups) == 0 && len(c.Target.Absent) == 0 {
		for i := range r.cfg.Groups {
			groups = append(groups, r.cfg.Groups[i].ID)
		}
	} else {
		groups, _, refused = r.resolve(c.Target)
	}
	code := OK
	switch {
	case c.By == "", length < 0 || length > holdMost, c.Release && c.For != 0,
		c.Target.Way != "" && len(c.Target.Groups) > 0:
		code = InvalidCommand
	case len(groups) == 0:
		code = NoTarget
	case !c.Release && len(r.s.Holds) >= mostHolds:
		code = TooMany
	}
	if code != OK {
		r.ack(Ack{ID: c.ID, Command: holdName, Stage: Rejected, Code: code, Refused: refused})
		return
	}
	remark, stage, ends := OK, Active, Superseded
	if len(refused) > 0 {
		remark = Partial
	}
	if c.Release {
		stage, ends = Completed, Cancelled
	}
	r.accept(c.ID, c.Hash, c.Issuer, c.Epoch, c.Seq, stage)
	r.ack(Ack{ID: c.ID, Command: holdName, Stage: Received, Code: remark, Groups: groups, Refused: refused})
	for i := len(r.s.Holds) - 1; i >= 0; i-- {
		o := &r.s.Holds[i]
		o.Groups = slices.DeleteFunc(slices.Clone(o.Groups), func(id string) bool { return slices.Contains(groups, id) })
		if len(o.Groups) == 0 {
			r.endHold(i, ends)
		}
	}
	if !c.Release {
		r.s.Holds = append(r.s.Holds, Hold{ID: c.ID, Groups: groups, By: c.By, Why: c.Why,
			Since: r.wall, End: r.now + length, EndWall: r.wall.Add(length)})
	}
	r.ack(Ack{ID: c.ID, Command: holdName, Stage: stage, Groups: groups})
}

func (r *run) endHold(i int, stage Stage) {
	o := r.s.Holds[i]
	r.know(o.ID, "-", stage)
	r.ack(Ack{ID: o.ID, Command: holdName, Stage: stage, Groups: o.Groups})
	r.s.Holds = slices.Delete(r.s.Holds, i, i+1)
	r.ev.Store = true
}

// expireHolds ends the holds whose time is over: by the monotonic clock; of one
// that was carried over a restart by both clocks, and at the latest when its time
// is over twice.
func (r *run) expireHolds() {
	for i := len(r.s.Holds) - 1; i >= 0; i-- {
		o := &r.s.Holds[i]
		over := r.now >= o.End
		if o.Restored && over && r.now < o.End+holdMost {
			over = r.clock.Trusted() && !r.suspect && !r.wall.Before(o.EndWall)
		}
		if over {
			r.endHold(i, Completed)
		}
	}
}

// hold is the restoration hold on group g, if there is one.
func (r *run) hold(g int) *Hold {
	for i := range r.s.Holds {
		if slices.Contains(r.s.Holds[i].Groups, r.cfg.Groups[g].ID) {
			return &r.s.Holds[i]
		}
	}
	return nil
}
