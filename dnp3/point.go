package dnp3

import (
	"fmt"
	"math"

	"lvagent/dnp3/app"
)

// Type is a kind of point.
type Type uint8

// Types. Each has indices of its own, from 0 to 65535.
const (
	BinaryInput    Type = iota // groups 1 and 2
	DoubleBitInput             // groups 3 and 4
	BinaryOutput               // status in groups 10 and 11, commands in group 12
	Counter                    // groups 20 and 22; its frozen value in groups 21 and 23
	AnalogInput                // groups 30, 32 and 34
	AnalogOutput               // status in groups 40 and 42, commands in group 41
	OctetString                // groups 110 and 111
	types
)

// String is the field's name of the type.
func (t Type) String() string {
	if t >= types {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return [...]string{"binary input", "double-bit input", "binary output", "counter", "analog input", "analog output", "octet string"}[t]
}

// Class is the event class of a point. The zero value makes no events: such a
// point is read with the static class 0 only, as every point is.
type Class uint8

// Classes.
const (
	NoEvents Class = iota
	Class1
	Class2
	Class3
)

// Flags are the quality of a point.
type Flags = app.Flags

// Flags of all points, then those whose bit means another thing for each type.
const (
	Online        = app.Online
	Restart       = app.Restart
	CommLost      = app.CommLost
	RemoteForced  = app.RemoteForced
	LocalForced   = app.LocalForced
	ChatterFilter = app.ChatterFilter // binary and double-bit inputs
	Discontinuity = app.Discontinuity // counters
	OverRange     = app.OverRange     // analogs
	ReferenceErr  = app.ReferenceErr  // analogs
)

// States of a double-bit input, as Number.
const (
	Intermediate  = 0
	Off           = 1
	On            = 2
	Indeterminate = 3
)

// Point describes one point of the database.
type Point struct {
	Type  Type
	Index uint16
	// Class is the event class until a master assigns another.
	Class Class
	// Static and Event are the variations sent when the master leaves the
	// choice to the outstation; 0 takes the type's own, see [Type.Variations].
	Static, Event uint8
	// Frozen and FrozenClass are the variation and the class of events of a
	// counter's frozen value; 0 takes group 21 variation 1 and makes no events.
	Frozen      uint8
	FrozenClass Class
	// CommandClass is the class of the events that report commands to an
	// output (groups 13 and 43).
	CommandClass Class
	// Deadband: an analog or counter makes an event when its value is further
	// than this from the last one reported. 0 reports every change.
	Deadband float64
}

// Change is a new value of a point.
type Change struct {
	Type  Type
	Index uint16
	// Number is 0 or 1 for binaries, [Off] to [Indeterminate] for double-bits,
	// a whole number for counters. What is not finite is kept from the master:
	// the last value stays, without ONLINE and with REFERENCE_ERR.
	Number float64
	Octets string // of an octet string, 1 to 255 octets
	Flags  Flags
	Time   int64 // milliseconds since 1970, UTC, for the event
	Event  EventMode
}

// EventMode says whether a change makes an event.
type EventMode uint8

// Event modes.
const (
	Detect    EventMode = iota // when the value left its deadband or the flags changed
	Always                     // even without a change
	Suppress                   // never, and the value counts as reported
	EventOnly                  // always, and the static value stays: for records of the past
)

// variations are the groups of a type and what is sent unless configured.
type variations struct {
	static, event               uint8 // groups
	defaultStatic, defaultEvent uint8
}

var groups = [types]variations{
	BinaryInput:    {1, 2, 2, 2},
	DoubleBitInput: {3, 4, 2, 2},
	BinaryOutput:   {10, 11, 2, 2},
	Counter:        {20, 22, 1, 5},
	AnalogInput:    {30, 32, 5, 7},
	AnalogOutput:   {40, 42, 3, 7},
	OctetString:    {110, 111, 0, 0},
}

// Groups returns the object groups of a type's static values and of its events.
func (t Type) Groups() (static, event uint8) { return groups[t].static, groups[t].event }

// Variations returns the variations of a type's static values and of its events
// that are sent when neither the point nor the master chooses. Octet strings
// have their length as variation, and 0 here.
func (t Type) Variations() (static, event uint8) {
	return groups[t].defaultStatic, groups[t].defaultEvent
}

// check returns what is wrong with a point.
func (p Point) check() error {
	if p.Type >= types {
		return fmt.Errorf("point %d: %s is not known", p.Index, p.Type)
	}
	fault := func(what string, v any) error {
		return fmt.Errorf("%s %d: %s: %v is not supported", p.Type, p.Index, what, v)
	}
	g := groups[p.Type]
	known := func(group, variation uint8) bool {
		_, ok := app.LayoutOf(group, variation)
		return ok
	}
	switch {
	case p.Class > Class3 || p.FrozenClass > Class3 || p.CommandClass > Class3:
		return fault("class", max(p.Class, p.FrozenClass, p.CommandClass))
	case p.Type == OctetString && (p.Static != 0 || p.Event != 0):
		return fault("variation", max(p.Static, p.Event))
	case p.Static != 0 && !known(g.static, p.Static):
		return fault("static variation", p.Static)
	case p.Event != 0 && !known(g.event, p.Event):
		return fault("event variation", p.Event)
	case p.Frozen != 0 && (p.Type != Counter || !known(21, p.Frozen)):
		return fault("frozen variation", p.Frozen)
	case p.FrozenClass != 0 && p.Type != Counter:
		return fault("class of frozen values", p.FrozenClass)
	case p.CommandClass != 0 && p.Type != BinaryOutput && p.Type != AnalogOutput:
		return fault("class of commands", p.CommandClass)
	case math.IsNaN(p.Deadband) || p.Deadband < 0 || math.IsInf(p.Deadband, 0):
		return fault("deadband", p.Deadband)
	case p.Deadband != 0 && p.Type != AnalogInput && p.Type != AnalogOutput && p.Type != Counter:
		return fault("deadband", p.Deadband)
	}
	return nil
}
