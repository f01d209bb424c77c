package message

import (
	"crypto/sha256"
	"fmt"
	"time"

	"lvagent/meter"
)

// Names of commands, the last level of their topics.
const (
	HeartbeatCommand = "heartbeat"
	LimitCommand     = "limit"
	CancelCommand    = "cancel"
	OverrideCommand  = "override"
	ResendCommand    = "resend"
	BirthCommand     = "birth"
	AckCommand       = "ack"
	TelemetryCommand = "telemetry"
	TopologyCommand  = "topology"
	ConfigCommand    = "config"
)

// MaxPayload is the most octets that a command may have.
const MaxPayload = 64 << 10

// Command is one well-formed command. Whether it may be carried out is not
// decided here: nothing in it has been compared with a clock, an issuer's
// earlier commands or the groups of this substation.
//
// MQTT 3.1.1 does not say who published it. Authority is the broker's access
// list and, where configured, the signature over Canonical.
type Command struct {
	Name      string
	ID        string // empty for a heartbeat
	Issuer    string
	Epoch     uint64
	Seq       uint64
	Issued    time.Time
	Expires   time.Time // the last moment of acceptance; zero where it may be absent
	Body      Body
	Canonical []byte            // the payload without sig, keys sorted, no spaces
	Hash      [sha256.Size]byte // of Canonical: the same id with another hash is a conflict
	Signature string            // sig, as sent
}

// Body is what one kind of command asks for: [Heartbeat], [Limit], [Cancel],
// [Override], [Resend], [Birth], [Acknowledge], [Telemetry], [Topology] or
// [Configure].
type Body interface{ body() }

// Heartbeat says that the control centre is alive. It is never acknowledged.
type Heartbeat struct{}

// Urgency is the class of a limit.
type Urgency uint8

// Urgencies, as the contract names them. The zero value is none of them.
const (
	Emergency Urgency = iota + 1
	Network
	Commercial
)

var urgencyNames = [...]string{Emergency: "emergency", Network: "network", Commercial: "commercial"}

// String returns the urgency's name in messages.
func (u Urgency) String() string {
	if int(u) < len(urgencyNames) {
		return urgencyNames[u]
	}
	return ""
}

// Limit asks for less charging on a target, or with [Unlimited] says that there
// is no limit.
type Limit struct {
	Class        Urgency
	Target       Target
	Start        time.Time     // zero where Relative
	StartIn      time.Duration // after receipt, where Relative
	Relative     bool
	Duration     time.Duration // 0: until cancelled
	Value        Value
	Curve        []Block // instead of Value and Duration
	Compensation []byte  // JSON, echoed and not read
	Randomise    time.Duration
	Supersedes   string
}

// Cancel ends a command.
type Cancel struct{ Cancels string }

// OverrideKind is what an override does.
type OverrideKind uint8

// Kinds of override. The zero value is none of them.
const (
	HoldOff OverrideKind = iota + 1
	LimitTo
	Release
	ClearOverride
)

var overrideNames = [...]string{HoldOff: "hold_off", LimitTo: "limit", Release: "release", ClearOverride: "clear"}

// String returns the kind's name in messages.
func (k OverrideKind) String() string {
	if int(k) < len(overrideNames) {
		return overrideNames[k]
	}
	return ""
}

// Override is a person's decision over the agent's own.
type Override struct {
	Target  Target
	Kind    OverrideKind
	Value   Value         // of LimitTo
	For     time.Duration // 0: not said
	By, Why string
}

// Resend asks for records of a stream once more: by number, or by the time at
// which they were due.
type Resend struct {
	Stream       string
	Generation   uint32 // 0: the one in use
	From, To     uint64
	Since, Until time.Time // where From and To are 0
}

// Birth asks for every retained message once more.
type Birth struct{}

// Acknowledge ends a lockout of a target, or unlatches one alarm.
type Acknowledge struct {
	Target Target // zero where Alarm is set
	Alarm  string
	By     string
}

// ChargingState is what a third party says of a charging group.
type ChargingState string

// States of charging.
const (
	Idle      ChargingState = "idle"      // nothing is plugged in
	Plugged   ChargingState = "connected" // plugged in, not charging
	Charging  ChargingState = "charging"
	Faulted   ChargingState = "fault"
	NotStated ChargingState = "unknown"
)

// Telemetry is what a third party measures at charging groups (R17b).
type Telemetry struct{ Groups []GroupTelemetry }

// GroupTelemetry is one group's. A quantity that is not said is Missing.
type GroupTelemetry struct {
	Group string
	T     time.Time // when it was measured
	State ChargingState
	Phase [meter.Phases]meter.PhaseReading
	// Limit is what the operator holds the group to, per phase; Held says that it
	// was said.
	Limit meter.Milliamps
	Held  bool
	// Override is the customer's own, at the charge point; nil: nothing was said.
	Override *CustomerOverride
}

// CustomerOverride says whether the customer has taken the charge points out of
// the scheme, since when, and what was charged outside of it in all.
type CustomerOverride struct {
	Active bool
	Since  time.Time // zero: not said
	Wh     int64
}

// Supply is how a way is supplied.
type Supply string

// Supplies of a way.
const (
	Normal     Supply = "normal" // from its own busbar alone
	BackFed    Supply = "back-fed"
	Paralleled Supply = "paralleled"
	Dead       Supply = "dead"
)

// Topology says how a way is supplied.
type Topology struct {
	Way     string
	State   Supply
	For     time.Duration // 0 where Normal
	By, Why string
}

// Configure puts a site file on trial, or ends the trial of the command it names:
// exactly one of Site, Confirm and RollBack is set.
type Configure struct {
	Site     string
	Within   time.Duration // in which Site must be confirmed
	Confirm  string
	RollBack string
}

func (Telemetry) body()   {}
func (Topology) body()    {}
func (Configure) body()   {}
func (Heartbeat) body()   {}
func (Limit) body()       {}
func (Cancel) body()      {}
func (Override) body()    {}
func (Resend) body()      {}
func (Birth) body()       {}
func (Acknowledge) body() {}

// Target says which charging is meant; exactly one of MPANs, Way and Groups is
// set.
type Target struct {
	MPANs  []string
	Way    string
	Phases []meter.Phase // of Way; empty: all
	Groups []string
}

// Unit is what a limit's number counts.
type Unit uint8

// Units of a limit. The zero value is none of them.
const (
	Amps      Unit = iota + 1 // per group and phase
	Watts                     // of the group as a whole, at 230 V
	Percent                   // of the group's rating
	Unlimited                 // the statement that there is no limit
	ByRegime                  // what was agreed to for a regime: thousandths hold its [Regime]
)

// Value is a limit: thousandths of an ampere, a watt or a per cent.
type Value struct {
	Unit        Unit
	Thousandths int64
}

// Code says why a command was refused before anyone looked at what it asks.
type Code string

// Codes of refusal.
const (
	Malformed      Code = "MALFORMED"       // not one JSON object
	Retained       Code = "RETAINED"        // an old order kept by the broker
	TooLarge       Code = "TOO_LARGE"       // more than MaxPayload octets
	UnknownCommand Code = "UNKNOWN_COMMAND" // no command of that name
	Invalid        Code = "INVALID"         // a field is missing or wrong
	Unsigned       Code = "UNSIGNED"        // its issuer has a key, and it has no signature
	BadSignature   Code = "BAD_SIGNATURE"   // the signature is not its issuer's, or of something else
)

// Rejection says why a command was refused. ID is empty where it could not be
// read.
type Rejection struct {
	ID      string
	Command string
	Code    Code
	Detail  string
}

// Error makes a rejection an error.
func (r *Rejection) Error() string {
	return fmt.Sprintf("command %s: %s: %s", r.Command, r.Code, r.Detail)
}

// Answered reports whether the refusal is acknowledged: heartbeats never are.
func (r *Rejection) Answered() bool { return r.Command != HeartbeatCommand }
