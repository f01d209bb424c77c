package failsafe

import (
	"cmp"
	"time"
)

// Report is a command that carries something to be known and orders nothing
// (R17b). It is admitted like any other, so that nothing counts twice, not over a
// restart either; what it says is the caller's.
type Report struct {
	ID, Issuer string
	Command    string // empty: telemetry; another is admitted only, and what comes of it is the caller's
	Dated      bool   // nothing of it is done while the clock is not to be trusted
	Epoch, Seq uint64
	Hash       string
	Retained   bool
	Expires    time.Time
	Groups     []string // of which the caller takes the report
	Refused    []string // of which it does not
}

// reportName is the command in acknowledgements.
const reportName = "telemetry"

// report takes a report: one that concerns nothing here is refused.
func (r *run) report(c Report) {
	name := cmp.Or(c.Command, reportName)
	if !r.admit(c.ID, name, c.Issuer, c.Hash, c.Epoch, c.Seq, c.Retained, c.Expires, c.Dated) {
		return
	}
	if c.Command != "" {
		r.accept(c.ID, c.Hash, c.Issuer, c.Epoch, c.Seq, Received)
		r.ack(Ack{ID: c.ID, Command: name, Stage: Received})
		return
	}
	if len(c.Groups) == 0 {
		r.ack(Ack{ID: c.ID, Command: reportName, Stage: Rejected, Code: NoTarget, Refused: c.Refused})
		return
	}
	remark := OK
	if len(c.Refused) > 0 {
		remark = Partial
	}
	r.accept(c.ID, c.Hash, c.Issuer, c.Epoch, c.Seq, Completed)
	r.ack(Ack{ID: c.ID, Command: reportName, Stage: Received, Code: remark, Groups: c.Groups, Refused: c.Refused})
	r.ack(Ack{ID: c.ID, Command: reportName, Stage: Completed, Groups: c.Groups})
}
