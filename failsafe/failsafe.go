// Package failsafe decides how much EV charging each charging group may draw:
// what the control centre commanded while it can be heard, and the failsafe
// limit when it cannot.
//
// [Engine.Step] is a pure function of the state, what happened, and the time:
// no goroutines, no clock, no I/O, no chance. The caller tells it what happened
// and when, stores the state it returns, carries out the setpoints, and wakes it
// again at the deadline. Every decision can therefore be replayed and every
// timing tested without waiting.
//
// The rule above all others: a failure only ever adds a restriction. Limits are
// the minimum of everything that applies; decreases act at once; an increase
// waits until the state that allows it is on disk ([Setpoint.Raise]).
//
// It does not measure, does not talk to an actuator (failsafe/relay) and does
// not know MQTT or DNP3.
//
// Requirements: R7 (failsafe trigger), R9, R10 (load management signal), R12
// (restart), R12b (override), R13 (loss of communications), R14 (blocks of
// current), R19 (transformer).
package failsafe

import (
	"time"

	"lvagent/meter"
)

// Config is what the engine knows of the site. It does not change while the
// engine runs; a new configuration is a new Engine on the same State.
type Config struct {
	Site    string
	Ways    []Way
	Groups  []Group
	Issuers []string // who may send heartbeats and commands
	// Reporters may report and nothing else. What comes from them is no command:
	// protection takes it for what may be shed, the measured way decides.
	Reporters []string
	Timers    Timers
	// Transformer is the firm current of the transformer per phase, 0 where it
	// is no constraint.
	Transformer meter.Milliamps
	// Autonomous is after how long without the centre a way goes its own way, with
	// the failsafe limit in Peak hours only; 0: never. Limits of Peak do not count.
	Autonomous time.Duration
	Peak       []Period
	Seed       [32]byte       // of this device; spreads what a fleet would do at once
	Place      *time.Location // of the groups' profiles; nil: UTC
}

// Way is one LV way with its rating.
type Way struct {
	ID     string
	Rating [meter.Phases]meter.Milliamps
	// Headroom: when the centre is lost, what was in force goes on as a ceiling
	// while the way is measured and lightly loaded. Else: the profile at once.
	Headroom bool
}

// Group is a set of charge points that one output limits.
type Group struct {
	ID       string
	Way      string
	Phases   [meter.Phases]bool
	Rating   meter.Milliamps // per phase
	Failsafe meter.Milliamps // per phase, while the centre is silent
	Profile  []Period        // when in the week Failsafe is another
	// Slow: somebody else carries the limit out, in minutes. Protection counts on
	// nothing of it, and leaves its limit alone.
	Slow    bool
	Backup  bool // a contact stands in for the output where that does not obey
	Contact bool // the output permits all of the rating or nothing
	// Connectors are the group's weight where a feeder is shared; 0 counts as 1.
	Connectors int
	Lockout    meter.Milliamps // per phase, while it is locked out; never above the lowest failsafe limit
	Priority   bool            // shed last

	// Schedule is the group's standing capacity profile (weekly time blocks): what
	// it may draw with or without the centre. Where no period is, Rating.
	Schedule []Period
	Shift    time.Duration // of the schedule's edges
	Stagger  time.Duration // at most, of the schedule's edges

	Contract  [regimes]Contract // what it may draw in each regime of its way
	Guarantee meter.Milliamps   // commands and the failsafe limit never go below
	OptIn     time.Time         // since when commercial requests apply; zero: never
}

// Contract is what a group's customers agreed to for a regime.
type Contract struct {
	Agreed bool // else: no limit
	Limit  meter.Milliamps
}

// Timers are the engine's times. All run on the monotonic clock.
type Timers struct {
	HeartbeatPeriod  time.Duration // how often the centre sends
	HeartbeatTimeout time.Duration // silence that means the centre is lost
	Stable           time.Duration // how long heartbeats must be back before a raise
	Beats, OfBeats   int           // of the last OfBeats expected heartbeats, Beats must have come
	StableMost       time.Duration // Stable doubles with each loss soon after another, up to this
	FlapForget       time.Duration // losses that far apart are not soon
	Init             time.Duration // after a start without centre and statement: failsafe
	EntrySpread      time.Duration // longest ramp down to the failsafe limit; 0: at once
	RestorePeriod    time.Duration // ramp from nothing to the rating where there is headroom
	RestoreSlow      meter.Milliamps
	RestoreSpread    time.Duration // longest wait before that ramp starts, drawn per device
	MaxDuration      time.Duration // of a limit without an end
	MaxAhead         time.Duration // of a start in the future
	Bumpless         time.Duration // longest planned stop after which limits resume
	Remember         time.Duration // how long a command's id is known
	Sample           time.Duration // age above which a current is no longer good for a raise
	LastSeen         time.Duration // how long a group's own current says what may be shed
	Blind            time.Duration // without a good current: the failsafe limit on that phase
	Mismatch         time.Duration // how long an actuator may not obey before its contact stands in
	ActuatorFailed   time.Duration // how long before it counts as failed until a person has seen to it
	MinOff           time.Duration // shortest time that protection holds a contact open
	Thermal          time.Duration // time constant of a way's thermal state

	RestartDead   time.Duration // after a loss of supply every group is idle for that long
	RestartSpread time.Duration // and each for up to so much longer, drawn for the event

	Excursion time.Duration // how long a group must disobey until it counts
	Lockout   time.Duration // how long a group is locked out at most

	SilenceMost time.Duration // longest planned silence; 0: none
}

// DefaultTimers returns the timers of a real site.
func DefaultTimers() Timers {
	return Timers{
		HeartbeatPeriod:  30 * time.Second,
		HeartbeatTimeout: 120 * time.Second,
		Stable:           60 * time.Second,
		StableMost:       15 * time.Minute,
		FlapForget:       time.Hour,
		Beats:            3,
		OfBeats:          4,
		Init:             120 * time.Second,
		EntrySpread:      300 * time.Second,
		RestorePeriod:    10 * time.Minute,
		RestoreSlow:      3000,
		RestoreSpread:    60 * time.Second,
		MaxDuration:      24 * time.Hour,
		MaxAhead:         48 * time.Hour,
		Bumpless:         60 * time.Second,
		Remember:         7 * 24 * time.Hour,
		Sample:           10 * time.Second,
		LastSeen:         30 * time.Minute,
		Blind:            60 * time.Second,
		Mismatch:         10 * time.Second,
		ActuatorFailed:   5 * time.Minute,
		MinOff:           15 * time.Minute,
		Thermal:          30 * time.Minute,
		RestartDead:      120 * time.Second,
		RestartSpread:    600 * time.Second,
		Excursion:        time.Minute,
		Lockout:          4 * time.Hour,
		SilenceMost:      4 * time.Hour,
	}
}

// Authority is the state of a way's relation to the centre. The zero value is
// Init, in which the failsafe limit applies.
type Authority uint8

// The states of a way.
const (
	Init       Authority = iota // started; the centre has not spoken yet
	Free                        // the centre is heard, no limit in force
	Limited                     // the centre is heard, at least one limit in force
	Restoring                   // going up by a ramp
	Failsafe                    // the centre is silent
	Probation                   // heard again, not yet trusted or without a statement
	Autonomous                  // the centre has been silent for long; only where enabled
)

var authorityNames = [...]string{"INIT", "FREE", "LIMITED", "RESTORING", "FAILSAFE", "PROBATION", "AUTONOMOUS"}

// String returns the state's name in messages.
func (a Authority) String() string {
	if int(a) < len(authorityNames) {
		return authorityNames[a]
	}
	return "INIT"
}

// restricted reports whether the failsafe limit applies in state a.
func (a Authority) restricted() bool {
	return a == Init || a == Failsafe || a == Probation || a == Autonomous
}

// Severity orders the states from the best to the worst, for one word about a
// whole site.
func (a Authority) Severity() int {
	return [...]int{Init: 3, Free: 0, Limited: 1, Restoring: 2, Failsafe: 6, Probation: 4, Autonomous: 5}[a]
}

// Cause says why a way is in its state.
type Cause string

// Causes of a state.
const (
	Started        Cause = "STARTED"
	NeverHeard     Cause = "NEVER_HEARD"    // no heartbeat since the start; not the same as lost
	HeartbeatLost  Cause = "HEARTBEAT_LOST" // heartbeats stopped
	NoStatement    Cause = "NO_STATEMENT"   // heartbeats, but no limit and no "none" since
	HeartbeatBack  Cause = "HEARTBEAT_BACK"
	StatementHeard Cause = "STATEMENT_HEARD"
	CommandActive  Cause = "COMMAND_ACTIVE"
	CommandEnded   Cause = "COMMAND_ENDED"
	Restored       Cause = "RESTORED"
	Resumed        Cause = "RESUMED" // a planned restart went on where it stopped
	StateLost      Cause = "STATE_LOST"
	Overridden     Cause = "OVERRIDE"
	Overload       Cause = "OVERLOAD"
	NotMeasured    Cause = "NOT_MEASURED"
	OnSchedule     Cause = "SCHEDULE"
)

// Inputs are what happened since the last step. Everything in it arrived at the
// time of the step: the caller steps on arrival.
type Inputs struct {
	Heartbeats []Heartbeat
	Limits     []LimitCommand
	Cancels    []CancelCommand
	Overrides  []OverrideCommand
	Reports    []Report
	OptOuts    []OptOut
	Feedback   []Feedback
	Loads      []Load
	Draws      []Draw
	Holds      []HoldCommand
	Acks       []LockoutAck
	Silences   []SilenceCommand
	Switch     Switch
	Inhibits   []string // groups that an input inhibits
	Customers  []string // groups whose customers charge by an override of their own
	// MainsLost: an input says that the substation has no supply.
	MainsLost       bool
	CustomerReports []CustomerReport
	// Acknowledged are groups whose failed actuator somebody has seen to.
	Acknowledged []string
	Clock        meter.Clock
	// Suspect is set while the wall clock, though trusted, was stepped a moment
	// ago. It only ever holds a limit longer.
	Suspect bool
}

// Load is what a way carries, as last measured.
type Load struct {
	Way     string
	I       [meter.Phases]meter.Milliamps // signed like P: negative is export
	Quality [meter.Phases]meter.Quality
	At      time.Duration // of the reading
	// Frozen phases get no increase: a fuse is suspected to have blown, and what
	// is measured there says nothing about what would come back.
	Frozen [meter.Phases]bool

	V        [meter.Phases]meter.Millivolts
	VQuality [meter.Phases]meter.Quality
	// Unfed phases lead nowhere although the busbar has its voltage: their fuse
	// is suspected to have blown.
	Unfed [meter.Phases]bool
}

// Draw is what a group itself draws, where that is measured.
type Draw struct {
	Group   string
	I       [meter.Phases]meter.Milliamps
	Quality [meter.Phases]meter.Quality
	At      time.Duration
}

// Heartbeat is the centre's token of life. Only its arrival counts, never the
// time it claims: a clock that is wrong at either end must not matter.
type Heartbeat struct {
	Issuer     string
	Epoch, Seq uint64
	Retained   bool
}

// Feedback is what an actuator answered.
type Feedback struct {
	Group string
	Told  meter.Milliamps // the limit it was given, per phase
	Limit meter.Milliamps // as read back, per phase
	OK    bool            // false: it could not be written or read
	// Drifted says that it did not hold what it was told before: somebody else
	// wrote it, or it forgot.
	Drifted bool
	Backup  bool // it is the answer of the contact that stands in for the actuator
}

// Actuation is the state of a group's actuator.
type Actuation uint8

// The states of an actuator. The zero value is Unknown.
const (
	Unknown    Actuation = iota // not written since the start
	Pending                     // written, not read back
	Confirmed                   // read back and equal
	Restricted                  // read back and lower than told
	Permissive                  // read back and higher than told
	Unreached                   // write or read failed: counts as uncontrolled load
)

var actuationNames = [...]string{"UNKNOWN", "PENDING", "CONFIRMED", "MISMATCH_LOW", "MISMATCH_HIGH", "UNREACHED"}

// String returns the state's name in messages.
func (a Actuation) String() string {
	if int(a) < len(actuationNames) {
		return actuationNames[a]
	}
	return "UNKNOWN"
}

// Setpoint is the limit that a group is told from now on.
type Setpoint struct {
	Group string
	Limit meter.Milliamps // per phase
	// Raise says that the limit is higher than the last one. Such a setpoint
	// may be carried out only when the state it came with is stored.
	Raise bool
	// Backup says that it is for the contact that stands in for the actuator.
	Backup bool
}

// Transition is a change of a way's state.
type Transition struct {
	Way      string
	From, To Authority
	Cause    Cause
}

// Condition is the beginning or end of something a person should know of.
type Condition struct {
	Way   string // empty: the whole site
	Group string
	Kind  string
	Edge  meter.Edge
}

// RefusedHeartbeat is a heartbeat that did not count, and why. It is told to
// nobody but the log: heartbeats are never acknowledged.
type RefusedHeartbeat struct {
	Issuer string
	Code   Code
}

// Ack is one rung of a command's ladder.
type Ack struct {
	ID      string
	Command string // limit, cancel, override, optout
	Stage   Stage
	Code    Code
	Groups  []string // those concerned
	Refused []string // targets that are not on this substation

	Compensation string   // the centre's token, given back
	Outcome      *Outcome // at the effect and at the end of a limit
}

// Stage is a rung of the ladder that a command climbs.
type Stage string

// Stages, in the order in which a command passes them. Each accepted command
// reaches exactly one of Completed, Cancelled and Superseded.
const (
	Received   Stage = "received"
	Rejected   Stage = "rejected"
	Scheduled  Stage = "scheduled"
	Active     Stage = "active"
	Actuated   Stage = "actuated"
	Effective  Stage = "effective" // seen in the currents; see [Outcome]
	Completed  Stage = "completed"
	Cancelled  Stage = "cancelled"
	Superseded Stage = "superseded"
)

// Code is the exact reason of a rejection, or a remark on an acceptance.
type Code string

// Codes of a rejection; Late and Partial remark on an acceptance.
const (
	OK             Code = ""
	Late           Code = "LATE"
	Partial        Code = "PARTIAL"
	Duplicate      Code = "DUPLICATE"
	IDConflict     Code = "ID_CONFLICT"
	Replay         Code = "REPLAY"
	Expired        Code = "EXPIRED"
	Stale          Code = "STALE"
	TooFar         Code = "TOO_FAR"
	InvalidCommand Code = "INVALID"
	NoTarget       Code = "NO_TARGET"
	UnknownIssuer  Code = "UNKNOWN_ISSUER"
	ClockUntrusted Code = "CLOCK_UNTRUSTED"
	WasCancelled   Code = "CANCELLED"
	RetainedRefuse Code = "RETAINED"
	TooMany        Code = "TOO_MANY"
	LocalHolds     Code = "LOCAL_OVERRIDE" // a local override governs the target
	NotOptedIn     Code = "NOT_OPTED_IN"   // a request, and none of its groups consented
	OptedOut       Code = "OPTED_OUT"      // a remark: some of its customers refused the request
	NoEvent        Code = "NO_EVENT"       // of an opt-out: there is no such request
	NotOptional    Code = "NOT_OPTIONAL"   // of an opt-out: it is no request
)

// Events are what a step has to tell.
type Events struct {
	Acks        []Ack
	Transitions []Transition
	Conditions  []Condition
	Refused     []RefusedHeartbeat
	// Store is set when the state must be on disk before a raise acts; a state
	// without it may be stored when convenient (Checkpoint).
	Store bool
}
