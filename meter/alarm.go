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

// Severities, least first. The zero value is none, which counts as an event. An
// event is worth a record and nobody's attention: it starts no real-time
// readings.
const (
	Event Severity = iota + 1
	Warning
	Major
	Critical
)

var severityNames = [...]string{"event", "event", "warning", "major", "critical"}

// String returns the severity's name in messages.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return "event"
}

// ParseSeverity returns the severity called name.
func ParseSeverity(name string) (Severity, bool) {
	for s := Event; s <= Critical; s++ {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

// Standing is where an alarm stands that was raised and is not cleared.
type Standing uint8

// Where an alarm stands. The zero value is none of them.
const (
	Active   Standing = iota + 1
	Clearing          // back, and its off delay runs
	Latched           // over, and not acknowledged
)

var standingNames = [...]string{"", "active", "clearing", "latched"}

// String returns the name in messages.
func (s Standing) String() string {
	if int(s) < len(standingNames) {
		return standingNames[s]
	}
	return ""
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

	// Questionable is set when suspect values took part in the alarm, or when it
	// stood while nothing could be measured.
	Questionable bool

	Stands  Standing
	Raises  int    // occurrences that this one raise stands for; above 1 after chattering
	Chatter bool   // it came and went so often that it stays until it is stable
	Flood   bool   // it was raised among many
	Latch   bool   // it ends only when somebody has acknowledged it
	Acked   string // who acknowledged it; empty for nobody
	// OutOfService is set on the clear of an alarm that a person took out of
	// service while it stood.
	OutOfService bool

	// Point is the DNP3 binary input that tells of the same alarm, with HasPoint.
	// Duplicate is set where DNP3 is where the alarm counts, and this is the copy.
	Point               uint16
	HasPoint, Duplicate bool
}

// Shelf is a person's decision that an alarm is not to be announced for a while.
type Shelf struct {
	ID           string // of the alarm
	OutOfService bool   // it is not watched at all; an alarm that stands is cleared
	By, Why      string
	Since, Until time.Time
	Standing     bool // its condition holds now
}
