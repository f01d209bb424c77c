package message

import (
	"time"

	"lvagent/meter"
)

// Setpoint is what a charge-point operator is to hold a group to. It is a lease:
// after it the operator falls back by itself, so that a broker or a line that is
// dead ends in the fallback and not in the last limit.
type Setpoint struct {
	Group, Way      string
	T, Since        time.Time     // when it was sent; when the limit came to be
	Lease           time.Duration // from T
	Phases          [meter.Phases]bool
	Limit, Fallback meter.Milliamps // per phase
	Deciding        string
	Command         string
}

// AppendSetpoint appends the retained setpoint.
func AppendSetpoint(dst []byte, agent string, s *Setpoint) []byte {
	w := head(dst, agent)
	w.text("group", s.Group)
	w.text("way", s.Way)
	w.instant("t", s.T)
	w.instant("since", s.Since)
	var limit, fallback [meter.Phases]*Flow
	zero := meter.Milliamps(0)
	for p, used := range s.Phases {
		if used {
			limit[p] = &Flow{Import: &s.Limit, Export: &zero}
			fallback[p] = &Flow{Import: &s.Fallback, Export: &zero}
		}
	}
	w.flows("limit", &limit)
	w.instant("valid_until", s.T.Add(s.Lease))
	w.decimal("valid_s", s.Lease.Milliseconds(), tenths)
	w.flows("fallback", &fallback)
	w.known("deciding", s.Deciding)
	w.known("command", s.Command)
	w.shut()
	return w.b
}
