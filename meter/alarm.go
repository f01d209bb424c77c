package meter

import "time"

// Edge is the beginning or the end of an alarm.
type Edge uint8

// Edges of an alarm. Each alarm has exactly one of each.
const (
	Raise Edge = iota + 1
	Clear
)

// String returns the edge's name in messages.
func (e Edge) String() string {
	switch e {
	case Raise:
		return "raise"
	case Clear:
		return "clear"
	default:
		return "none"
	}
}

// Severity orders alarms by how soon a person must act.
type Severity uint8

// Severities, least first.
const (
	Event Severity = iota
	Warning
	Major
	Critical
)

var severityNames = [...]string{"event", "warning", "major", "critical"}

// String returns the severity's name in messages.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return "event"
}

// Alarm is one edge of one alarm (R3). ID names the condition, not the
// occurrence: "W3.L1.i.hi", or "W3.NO_STATEMENT" where there is no threshold.
type Alarm struct {
	ID        string
	Way       string // "_site" for the substation itself
	Quantity  string // v, i, p, q, n; empty where there is none
	Phase     string // L1, L2, L3 or empty
	Kind      string // hi, hihi, lo, lolo, or the name of the condition
	Edge      Edge
	At        time.Time
	Value     int64 // thousandths of the quantity's unit, at the edge
	Threshold int64
	Severity  Severity
	Peak      int64
	PeakAt    time.Time
	Duration  time.Duration // of a Clear
	Restored  bool

	// Questionable is set when suspect values took part in the alarm.
	Questionable bool
}
