package meter

import "time"

// Charging is what is known of electric vehicles on one way (R6): the register of
// charge points, what of their load may be shed, and an estimate of the cars that
// charge.
type Charging struct {
	Way   string
	State ChargingState
	// Since is when the way's readings began to be followed: a car that charged
	// before is not among those estimated. Zero: not yet.
	Since  time.Time
	Groups []ChargingGroup
	Phase  [Phases]*PhaseCharging // nil: the way has no such phase
}

// ChargingState says why there is nothing to say of a way. The zero value says
// nothing.
type ChargingState uint8

// States.
const (
	CustomersUnknown ChargingState = iota // nobody knows whether it would be personal data
	FewCustomers                          // it would be
	SlowPoll                              // no edge can be seen; the register is there
	Followed
)

// String returns the state's name in messages.
func (s ChargingState) String() string {
	return [...]string{"CUSTOMERS_UNKNOWN", "FEW_CUSTOMERS", "SLOW_POLL", "FOLLOWED"}[min(s, Followed)]
}

// Withheld reports whether nothing of a way may be told.
func (s ChargingState) Withheld() bool { return s < SlowPoll }

// ChargingGroup is a set of charge points that one output limits.
type ChargingGroup struct {
	ID         string
	Phases     [Phases]bool
	Rating     Milliamps // per phase
	Connectors int
}

// PhaseCharging is what hangs on one phase of a way.
type PhaseCharging struct {
	Groups, Connectors int
	Rating             Milliamps // of all groups
	Limit              Milliamps // in force, of the groups that obey
	Uncontrolled       Milliamps // rating of the groups that do not
	// Controllable is the most that shedding all groups would take off now; nil:
	// not known.
	Controllable *Milliamps
	Headroom     *Milliamps // what the phase could still carry; nil: not known
	Estimate     []ChargingEstimate
}

// ChargingEstimate is how many cars of a class seem to charge on a phase: the sum
// of the confidences.
type ChargingEstimate struct {
	Class string // 1x16, 1x32, 3x16, 3x32: phases and current
	Cars  PPM
	I     Milliamps // together, weighed alike
}
