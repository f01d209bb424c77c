package dnp3

import (
	"errors"
	"fmt"
	"time"

	"lvagent/dnp3/app"
	"lvagent/dnp3/link"
)

// Config describes an outstation. [New] fills in what is zero.
type Config struct {
	// Address is the outstation's link address.
	Address uint16
	Masters []Master
	Points  []Point
	// Controls handles commands; without it every command is NOT_SUPPORTED.
	Controls Controls
	// MostControls is how many commands one request may carry (default 16); more
	// are answered TOO_MANY_OPS.
	MostControls int
	// Clock says who sets the time.
	Clock ClockSource
	// TimeValid is how long a time set by a master is good (default 24 h); then
	// NEED_TIME asks for another.
	TimeValid time.Duration
	// SetTime is called when a master writes the time: milliseconds since 1970,
	// UTC, as of now. False refuses it, and the master is told PARAMETER_ERROR.
	// Without it every time is refused.
	SetTime func(master uint16, t int64) bool
	// Restart is called when a master asks for a restart. It returns how long
	// the master should wait and begins to restart a moment later, so that the
	// answer can leave; false refuses. Without it restarts are not supported.
	Restart func(master uint16, cold bool) (wait time.Duration, ok bool)
	// Settings is called after a master changed what must outlive a restart of
	// the program: deadbands, classes, cleared counters. See [Outstation.Save].
	Settings func()
	// Identity answers reads of group 0.
	Identity Identity
	// SelfAddress answers frames to 0xfffc too. Off by default: on a shared
	// network every outstation would answer.
	SelfAddress bool
	// KeepAlive is how long a connection may be silent before the link is
	// asked for its status, and how long the answer may take (defaults 60 s and
	// 10 s). A connection without an answer is closed.
	KeepAlive, KeepAliveTimeout time.Duration
	// Greeting is how long a new connection may take to its first whole frame
	// of a known master (default 30 s).
	Greeting time.Duration
}

// Master describes a master that may connect, and its session.
type Master struct {
	Address uint16
	// ReadOnly refuses commands, restarts, freezing, deadbands and classes.
	ReadOnly bool
	// Unsolicited reports events by itself, once the master enables it.
	Unsolicited bool
	// ConfirmTimeout (default 5 s) ends the wait for a confirm of a response,
	// UnsolicitedTimeout (default 5 s) that of an unsolicited one.
	ConfirmTimeout, UnsolicitedTimeout time.Duration
	// UnsolicitedRetries (default 3) is how often an unsolicited response is
	// sent again as it was; then the outstation waits, first for
	// UnsolicitedBackoff (default 10 s), twice as long each time, up to
	// UnsolicitedBackoffMost (default 5 min), and begins anew. Minus one: none.
	UnsolicitedRetries                         int
	UnsolicitedBackoff, UnsolicitedBackoffMost time.Duration
	// Hold is how long events of a class may be gathered before they are
	// reported, and HoldCount how many at most; 0 reports at once.
	Hold      [3]time.Duration
	HoldCount [3]int
	// SelectTimeout (default 10 s) is how long a select is good.
	SelectTimeout time.Duration
	// MostFragment is how long a response may be, 300 to 2048 (default 2048).
	MostFragment int
	// Events is how many events of each type are kept in each class (default
	// 1000). Minus one: none.
	Events [types]int
	// CommandEvents is that for reports of commands, FrozenEvents for those of
	// frozen counters (default 100).
	CommandEvents, FrozenEvents int
	// Certificate is the name that the master's certificate must carry (common
	// name or a DNS name) where connections are secured.
	Certificate string
}

// ClockSource says who owns the outstation's clock.
type ClockSource uint8

// Clock sources.
const (
	// ClockOfMaster: NEED_TIME is shown until a master wrote the time, and again
	// when that is older than TimeValid.
	ClockOfMaster ClockSource = iota
	// ClockOfHost: the host keeps the time. NEED_TIME is never shown; events
	// have the quality told by [Outstation.SetSynchronised]. SetTime still
	// decides about a time that is written.
	ClockOfHost
)

// Controls handles commands. Both methods answer at once: an outstation that
// waits answers no other master meanwhile. Master is the address of who asks.
//
// Select says whether Operate would be possible now, and changes nothing.
// Operate acts; it is called for an operate that matched its select and for
// direct operates, and never twice for a request that was repeated. The session
// has already refused commands whose count is not 1, obsolete bits, unknown
// operations, values that are no finite number, and points that are not there.
type Controls interface {
	Select(master uint16, c Command) Status
	Operate(master uint16, c Command) Status
}

// Command is one command to an output.
type Command = app.Command

// Op is what a binary command does; TripClose picks one relay of a pair.
type (
	Op        = app.Op
	TripClose = app.TripClose
)

// Operations and relays of a binary command.
const (
	PulseOn  = app.PulseOn
	PulseOff = app.PulseOff
	LatchOn  = app.LatchOn
	LatchOff = app.LatchOff

	Unpaired = app.Unpaired
	Close    = app.Close
	Trip     = app.Trip
)

// Status says what became of a command.
type Status = app.Status

// Statuses that a handler may answer with.
const (
	Success            = app.Success
	FormatError        = app.FormatError
	NotSupported       = app.NotSupported
	AlreadyActive      = app.AlreadyActive
	HardwareError      = app.HardwareError
	Local              = app.Local // under local control
	NotAuthorized      = app.NotAuthorized
	AutomationInhibit  = app.AutomationInhibit
	ProcessingLimited  = app.ProcessingLimited
	OutOfRange         = app.OutOfRange
	AlreadyComplete    = app.AlreadyComplete
	Blocked            = app.Blocked
	BlockedOtherMaster = app.BlockedOtherMaster
)

// Identity is what group 0 says of the device. Empty fields are not there.
type Identity struct {
	Vendor, Product, Serial, Hardware, Software, Location, Name string
}

// withDefaults fills in what is zero and returns all that is wrong.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	orDefault(&c.MostControls, 16)
	orDefault(&c.TimeValid, 24*time.Hour)
	orDefault(&c.KeepAlive, time.Minute)
	orDefault(&c.KeepAliveTimeout, 10*time.Second)
	orDefault(&c.Greeting, 30*time.Second)
	if c.Address > link.MostAddress {
		fault("outstation address %d: at most %d", c.Address, link.MostAddress)
	}
	if len(c.Masters) == 0 {
		fault("no master")
	}
	masters := make([]Master, len(c.Masters))
	seen := map[uint16]bool{}
	for i, m := range c.Masters {
		switch {
		case m.Address > link.MostAddress:
			fault("master %d: at most %d", m.Address, link.MostAddress)
		case m.Address == c.Address:
			fault("master %d has the outstation's own address", m.Address)
		case seen[m.Address]:
			fault("master %d twice", m.Address)
		}
		seen[m.Address] = true
		for _, other := range c.Masters[:i] {
			if m.Certificate != "" && m.Certificate == other.Certificate {
				fault("masters %d and %d have the same certificate name %q", other.Address, m.Address, m.Certificate)
			}
		}
		orDefault(&m.ConfirmTimeout, 5*time.Second)
		orDefault(&m.UnsolicitedTimeout, 5*time.Second)
		orDefault(&m.UnsolicitedRetries, 3)
		orDefault(&m.UnsolicitedBackoff, 10*time.Second)
		orDefault(&m.UnsolicitedBackoffMost, max(5*time.Minute, m.UnsolicitedBackoff))
		orDefault(&m.SelectTimeout, 10*time.Second)
		orDefault(&m.MostFragment, MostFragment)
		orDefault(&m.CommandEvents, 100)
		orDefault(&m.FrozenEvents, 100)
		for t := range m.Events {
			orDefault(&m.Events[t], 1000)
		}
		if m.MostFragment < LeastFragment || m.MostFragment > MostFragment {
			fault("master %d: fragments of %d octets: %d to %d", m.Address, m.MostFragment, LeastFragment, MostFragment)
		}
		for _, d := range []time.Duration{m.ConfirmTimeout, m.UnsolicitedTimeout, m.UnsolicitedBackoff, m.UnsolicitedBackoffMost, m.SelectTimeout, m.Hold[0], m.Hold[1], m.Hold[2]} {
			if d < 0 {
				fault("master %d: %v is negative", m.Address, d)
			}
		}
		masters[i] = m
	}
	c.Masters = masters
	return c, errors.Join(faults...)
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Sizes of fragments in octets. A request may always have MostFragment.
const (
	LeastFragment = 300 // the longest octet string fits
	MostFragment  = 2048
)
