package meter

import "time"

// HealthState says how one part of the agent does. The zero value is
// HealthFault: a part that forgot to say is not taken for well.
type HealthState uint8

// States of health, worst first, so that the worse of two is the smaller.
const (
	HealthFault    HealthState = iota // it does not do its work
	HealthDegraded                    // it does its work in part, or with doubt
	HealthOK
)

// String returns the state's name in messages.
func (s HealthState) String() string {
	switch s {
	case HealthOK:
		return "ok"
	case HealthDegraded:
		return "degraded"
	default:
		return "fault"
	}
}

// HealthPoint is how one part of the agent does (R5). There is one point for
// each part, from the start on; only what it says changes.
type HealthPoint struct {
	// ID names the part: "meter/m3", "bus/tcp://10.0.0.7:502", "wiring/W3".
	ID     string
	State  HealthState
	Code   string // what is wrong, like METER_OFFLINE; empty while OK
	Detail string // the same for people, with numbers; it may change alone

	// Since is when State and Code came to be what they are. The table of
	// points sets it.
	Since time.Time
}
