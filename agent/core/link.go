package core

import (
	"fmt"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// Conditions of the way to the broker (R16).
const (
	uplinkSelftest      = "UPLINK_SELFTEST"      // what is sent may be swallowed
	duplicateClient     = "DUPLICATE_CLIENT"     // another client seems to use our id
	certificateExpiring = "CERTIFICATE_EXPIRING" // within 30 days: a warning
	certificateDue      = "CERTIFICATE_DUE"      // within 7 days, or over
)

// When a certificate has to be renewed: a month for the round through an office,
// a week for somebody to drive there.
const (
	expiringDays = 30
	dueDays      = 7
)

// watchLink raises and clears the conditions of the way to the broker, and says
// how it does. A connection that is not there is no alarm: nobody would hear it,
// and the centre learns it from the will.
func (l *Loop) watchLink(wall time.Time) {
	if l.Link != nil {
		s := l.Link()
		l.hold(uplinkSelftest, s.Selftest != "", wall)
		duplicate := s.Duplicate
		if l.Beside != nil {
			b := l.Beside()
			duplicate = duplicate || b.Duplicate
			l.well("uplink/sparkplug", b.Connected || b.LastError == "", meter.HealthDegraded, "NOT_CONNECTED", b.LastError)
		}
		l.hold(duplicateClient, duplicate, wall)
		l.well("uplink/session", s.Connected || s.LastError == "", meter.HealthFault, "NOT_CONNECTED", s.LastError)
		l.well("uplink/selftest", s.Selftest == "", meter.HealthDegraded, uplinkSelftest, s.Selftest)
	}
	days, there := l.daysLeft(wall)
	l.hold(certificateExpiring, there && days < expiringDays, wall)
	l.hold(certificateDue, there && days < dueDays, wall)
	if there {
		state, code := meter.HealthDegraded, certificateExpiring
		if days < dueDays {
			state, code = meter.HealthFault, certificateDue
		}
		l.well("uplink/certificate", days >= expiringDays, state, code, fmt.Sprintf("%d days left", days))
	}
}

// daysLeft returns the whole days that the certificate still has; below 0 it is
// over.
func (l *Loop) daysLeft(wall time.Time) (days int, there bool) {
	if l.Expires == nil {
		return 0, false
	}
	at := l.Expires()
	if at.IsZero() {
		return 0, false
	}
	left := at.Sub(wall)
	if left < 0 {
		return -1, true
	}
	return int(left / (24 * time.Hour)), true
}

// hold raises or clears a condition of the substation.
func (l *Loop) hold(kind string, is bool, wall time.Time) {
	edge := meter.Clear
	if is {
		edge = meter.Raise
	}
	l.alarms.condition(l, failsafe.Condition{Kind: kind, Edge: edge}, wall)
}

// well says how a part of the agent does.
func (l *Loop) well(id string, ok bool, state meter.HealthState, code, detail string) {
	p := meter.HealthPoint{ID: id, State: meter.HealthOK}
	if !ok {
		p.State, p.Code, p.Detail = state, code, detail
	}
	l.SetHealth(p)
}
