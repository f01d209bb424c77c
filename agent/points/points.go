// Package points is the point list: which DNP3 index says what of which way,
// phase and group, and how the agent's values become points and a master's
// commands become orders.
//
// The list is one template for a whole fleet, with a version: a substation's
// points are where its neighbour's are, and stay there. Twelve ways and the
// transformer have their places, and sixteen charging groups; a place whose way
// or group is not there is never ONLINE. What is where follows from the slot
// that the site file gives a way (ways[].dnp3_slot), never from its order.
//
// It is pure: it opens nothing, reads no clock and decides no limit.
//
// Requirements: R4 (DNP3 to the RTU), R1, R5, R9, R12b.
package points

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lvagent/dnp3"
)

// Version is the template's. A release may add points in places that were
// reserved; it never moves one and never takes one away. Point 903 tells it.
const Version = 1

// Places of the template.
const (
	WaySlots   = 13 // 0 is the transformer, 1 to 12 the ways
	GroupSlots = 17 // 0 is not used, 1 to 16 the groups

	analogStride, analogPhase = 50, 12
	analogGroups, groupStride = 700, 10
	analogSite                = 900
	counterStride             = 10
	counterSite               = 200
	binaryStride              = 20
	binaryGroups, binaryGroup = 300, 8
	binarySite                = 500
	outputStride              = 4
	setpointStride            = 2
	setpointSite              = 40
)

// Quantity is what a point says. Its names are those of the list.
type Quantity uint8

// Quantities of a phase, of a way, of a group and of the substation.
const (
	Voltage Quantity = iota
	Current
	Power
	Reactive
	Load
	PeriodCurrent
	PeriodPeak
	PeriodVoltage
	PeriodPower
	Neutral
	TotalPower
	TotalReactive
	PeriodNeutral
	PeriodTotal
	Coverage
	Age
	WayState
	GroupLimit
	GroupFeedback
	GroupDraw
	GroupState
	Backlog
	Alarms
	SiteState
	TemplateVersion
	Import
	Export
	Executed
	Records
	HighCurrent
	PhaseLost
	FuseSuspected
	SupplyLost
	CommsLost
	InFailsafe
	Overridden
	Commanded
	ReversePower
	ExportOverload
	ThermalLimit
	AnyAlarm
	Curtailed
	OutputUnreached
	OutputPermissive
	CentreConnected
	ClockSynced
	StoreFailing
	LocalControl
	SiteFailsafe
	Autonomous
	Uncontrollable
	LockedOut
	OutputDrift
	OutputFailed
	CustomerOverride
	StandIn
	SiteAutonomous
	PlannedSilence
	StateLost
	StoreReplaced
	MainsFail
	BatteryLow
	DoorOpen
	Inhibited
	CertificateEnding
	AlarmFlood
	FirmCapacity
	SiteAlarm
	AlarmsCopied
	PointForced
	ControlOwner
	OwnerAddress
	HoldOff
	Release
	Limit
	Heartbeat
)

type kind struct {
	name, unit string
	deadband   float64
}

// kinds: deadbands are 1 V and 1 % of a 300 A way; a master may set others.
var kinds = [...]kind{
	Voltage: {"V", "V", 1}, Current: {"I", "A", 3}, Power: {"P", "kW", 0.7}, Reactive: {"Q", "kvar", 0.7}, Load: {"load", "% of rating", 1},
	PeriodCurrent: {"I rms of the period", "A", 0}, PeriodPeak: {"I highest of the period", "A", 0}, PeriodVoltage: {"V mean of the period", "V", 0}, PeriodPower: {"P mean of the period", "kW", 0},
	Neutral: {"neutral current", "A", 3}, TotalPower: {"P of all phases", "kW", 2}, TotalReactive: {"Q of all phases", "kvar", 2},
	PeriodNeutral: {"neutral rms of the period", "A", 0}, PeriodTotal: {"P mean of the period, all phases", "kW", 0}, Coverage: {"coverage of the period", "%", 0},
	Age: {"age of the reading", "s", 10}, WayState: {"failsafe state", "0 INIT, 1 FREE, 2 LIMITED, 3 RESTORING, 4 FAILSAFE, 5 PROBATION, 6 and above: docs/failsafe.md", 0.5},
	GroupLimit: {"limit in force", "A per phase", 0.5}, GroupFeedback: {"limit read back", "A per phase", 0.5}, GroupDraw: {"own current", "A", 3},
	GroupState: {"output", "0 UNKNOWN, 1 PENDING, 2 CONFIRMED, 3 MISMATCH_LOW, 4 MISMATCH_HIGH, 5 UNREACHED", 0.5},
	Backlog:    {"records waiting for the broker", "records", 100}, Alarms: {"alarms that stand", "alarms", 0.5}, SiteState: {"worst failsafe state of the ways", "as of a way", 0.5},
	TemplateVersion: {"version of this list", "", 0.5},
	Import:          {"energy imported since the agent's start", "Wh", 0}, Export: {"energy exported since the agent's start", "Wh", 0},
	Executed: {"commands of masters that acted since the agent's start", "commands", 0}, Records: {"records made since the agent's start", "records", 0},
	HighCurrent: {"current alarm", "", 0}, PhaseLost: {"phase lost", "", 0}, FuseSuspected: {"fuse suspected", "", 0}, SupplyLost: {"supply lost", "", 0},
	CommsLost: {"meter does not answer", "", 0}, InFailsafe: {"failsafe limits apply", "", 0}, Overridden: {"overridden", "", 0}, Commanded: {"limited by a command", "", 0},
	ReversePower: {"reverse power", "", 0}, ExportOverload: {"export overload", "", 0}, ThermalLimit: {"thermal limit", "", 0}, AnyAlarm: {"any alarm", "", 0},
	Curtailed: {"limited below its rating", "", 0}, OutputUnreached: {"output unreached", "", 0}, OutputPermissive: {"output permits more than told", "", 0},
	CentreConnected: {"broker connected", "", 0}, ClockSynced: {"clock synchronised", "", 0}, StoreFailing: {"store failing", "", 0}, LocalControl: {"under local control", "", 0},
	SiteFailsafe: {"any way in failsafe", "", 0},
	Autonomous:   {"goes its own way", "", 0}, Uncontrollable: {"overloaded with nothing left to shed", "", 0},
	LockedOut: {"locked out", "", 0}, OutputDrift: {"output changed by somebody else", "", 0}, OutputFailed: {"output failed", "", 0}, CustomerOverride: {"customer's own override", "", 0},
	StandIn:        {"contact that stands in for the output", "0 there is none, 1 closed, 2 open, 3 does not obey", 0.5},
	SiteAutonomous: {"any way goes its own way", "", 0}, PlannedSilence: {"planned silence of the centre", "", 0}, StateLost: {"failsafe state lost", "", 0}, StoreReplaced: {"store replaced", "", 0},
	MainsFail: {"mains fail", "", 0}, BatteryLow: {"battery low", "", 0}, DoorOpen: {"door open", "", 0}, Inhibited: {"inhibit", "", 0},
	CertificateEnding: {"certificate ending", "", 0}, AlarmFlood: {"alarm flood", "", 0}, FirmCapacity: {"peak demand above firm capacity", "", 0},
	SiteAlarm: {"any alarm of the substation itself", "", 0}, AlarmsCopied: {"alarms here are copies, MQTT's count", "", 0}, PointForced: {"a point is forced", "", 0},
	ControlOwner: {"who has control", "0 nobody, 1 on site, 2 the centre over MQTT, 3 a master over DNP3", 0.5},
	OwnerAddress: {"address of the master that has control", "0: none has", 0.5},
	HoldOff:      {"hold off", "LATCH_ON: nothing may be drawn for an hour; LATCH_OFF: ends it", 0},
	Release:      {"release", "LATCH_ON: as an override of the centre for an hour; LATCH_OFF: ends it", 0},
	Limit:        {"limit", "A per phase until another is written, at most 24 h; the rating or more: none", 0},
	Heartbeat:    {"heartbeat", "any other value than the last", 0},
}

// Row is one point of the list.
type Row struct {
	Type     dnp3.Type
	Index    uint16
	Quantity Quantity
	Slot     int    // of the way or group; -1: of the substation
	Group    bool   // Slot is a group's
	Phase    int    // 0 to 2; -1: of no phase
	Owner    string // name of the way or group; empty: nobody is there, or the substation
	Class    dnp3.Class
	Deadband float64
	MQTT     string // where the same is said on MQTT; empty: nowhere
}

// Name is what the point is called.
func (r *Row) Name() string {
	var parts []string
	switch {
	case r.Owner != "":
		parts = append(parts, r.Owner)
	case r.Group:
		parts = append(parts, fmt.Sprintf("group %d", r.Slot))
	case r.Slot == 0:
		parts = append(parts, "transformer")
	case r.Slot > 0:
		parts = append(parts, fmt.Sprintf("way %d", r.Slot))
	}
	if r.Phase >= 0 {
		parts = append(parts, fmt.Sprintf("L%d", r.Phase+1))
	}
	return strings.Join(append(parts, kinds[r.Quantity].name), " ")
}

// Unit is the unit of the point's number, or what its numbers mean.
func (r *Row) Unit() string { return kinds[r.Quantity].unit }

// Site is what the list needs to know of a substation: who is in which slot.
type Site struct {
	Ways   [WaySlots]string
	Groups [GroupSlots]string
	// GroupWays are the ways that the groups are on.
	GroupWays [GroupSlots]string
	// Periods are the half-hours, as events of class 3 with the period's end as
	// their time.
	Periods bool
}

// List returns the points of a site in order of type and index. Without names it
// is the template.
func List(s *Site) []Row {
	l := lister{site: s}
	for slot := range WaySlots {
		l.way(slot)
	}
	for slot := 1; slot < GroupSlots; slot++ {
		l.group(slot)
	}
	l.substation()
	slices.SortFunc(l.rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Index, b.Index))
	})
	return l.rows
}

type lister struct {
	site *Site
	rows []Row
}

func (l *lister) add(t dnp3.Type, index, slot, phase int, q Quantity, class dnp3.Class, group bool, mqtt string) {
	r := Row{Type: t, Index: uint16(index), Quantity: q, Slot: slot, Group: group, Phase: phase, Class: class, Deadband: kinds[q].deadband, MQTT: mqtt}
	switch {
	case slot < 0:
	case group:
		r.Owner = l.site.Groups[slot]
	default:
		r.Owner = l.site.Ways[slot]
	}
	l.rows = append(l.rows, r)
}

// periods is the class of a period's points.
func (l *lister) periods() dnp3.Class {
	if l.site.Periods {
		return dnp3.Class3
	}
	return dnp3.NoEvents
}

func (l *lister) way(slot int) {
	id := l.site.Ways[slot]
	switch {
	case slot == 0:
		id = "TX"
	case id == "":
		id = "<way>"
	}
	hh, live, limits := "up/hh/"+id, "up/live/"+id, "up/failsafe"
	alarm := "up/alarm/" + id
	base, count, flag := slot*analogStride, slot*counterStride, slot*binaryStride
	for p := range 3 {
		at, ph := base+p*analogPhase, fmt.Sprintf("L%d", p+1)
		for i, q := range []Quantity{Voltage, Current, Power, Reactive, Load} {
			path := ""
			if q != Load {
				path = live + " " + ph + "." + strings.ToLower(kinds[q].name)
			}
			l.add(dnp3.AnalogInput, at+i, slot, p, q, dnp3.Class2, false, path)
		}
		l.add(dnp3.AnalogInput, at+5, slot, p, PeriodCurrent, l.periods(), false, hh+" "+ph+".i.rms")
		l.add(dnp3.AnalogInput, at+6, slot, p, PeriodPeak, l.periods(), false, hh+" "+ph+".i.max")
		l.add(dnp3.AnalogInput, at+7, slot, p, PeriodVoltage, l.periods(), false, hh+" "+ph+".v.mean")
		l.add(dnp3.AnalogInput, at+8, slot, p, PeriodPower, l.periods(), false, hh+" "+ph+".p.mean")
		l.add(dnp3.BinaryInput, flag+p, slot, p, HighCurrent, dnp3.Class1, false, alarm)
		l.add(dnp3.BinaryInput, flag+3+p, slot, p, PhaseLost, dnp3.Class1, false, alarm)
		l.add(dnp3.BinaryInput, flag+6+p, slot, p, FuseSuspected, dnp3.Class1, false, alarm)
		l.add(dnp3.Counter, count+p, slot, p, Import, l.periods(), false, hh+" "+ph+".p.import")
		l.add(dnp3.Counter, count+3+p, slot, p, Export, l.periods(), false, hh+" "+ph+".p.export")
	}
	l.add(dnp3.AnalogInput, base+36, slot, -1, Neutral, dnp3.Class2, false, live+" N.i")
	l.add(dnp3.AnalogInput, base+37, slot, -1, TotalPower, dnp3.Class2, false, "")
	l.add(dnp3.AnalogInput, base+38, slot, -1, TotalReactive, dnp3.Class2, false, "")
	l.add(dnp3.AnalogInput, base+39, slot, -1, PeriodNeutral, l.periods(), false, hh+" N.i.rms")
	l.add(dnp3.AnalogInput, base+40, slot, -1, PeriodTotal, l.periods(), false, hh+" T.p")
	l.add(dnp3.AnalogInput, base+41, slot, -1, Coverage, l.periods(), false, hh+" coverage")
	l.add(dnp3.AnalogInput, base+42, slot, -1, Age, dnp3.NoEvents, false, "")
	l.add(dnp3.AnalogInput, base+43, slot, -1, WayState, dnp3.Class1, false, limits)
	for i, q := range []Quantity{SupplyLost, CommsLost, InFailsafe, Overridden, Commanded, ReversePower, ExportOverload, ThermalLimit, AnyAlarm} {
		path := alarm
		switch q {
		case CommsLost:
			path = "up/health"
		case InFailsafe, Overridden, Commanded:
			path = limits
		case AnyAlarm:
			path = "up/alarmstate/" + id
		}
		l.add(dnp3.BinaryInput, flag+9+i, slot, -1, q, dnp3.Class1, false, path)
	}
	l.add(dnp3.BinaryInput, flag+18, slot, -1, Autonomous, dnp3.Class1, false, limits)
	l.add(dnp3.BinaryInput, flag+19, slot, -1, Uncontrollable, dnp3.Class1, false, alarm)
	l.add(dnp3.Counter, count+6, slot, -1, Import, l.periods(), false, hh+" T.kwh_import")
	l.add(dnp3.Counter, count+7, slot, -1, Export, l.periods(), false, hh+" T.kwh_export")
}

func (l *lister) group(slot int) {
	const path = "up/groups"
	alarm := "up/alarm/<way>"
	if l.site.GroupWays[slot] != "" {
		alarm = "up/alarm/" + l.site.GroupWays[slot]
	}
	base, flag := analogGroups+slot*groupStride, binaryGroups+slot*binaryGroup
	l.add(dnp3.AnalogInput, base, slot, -1, GroupLimit, dnp3.Class1, true, path)
	l.add(dnp3.AnalogInput, base+1, slot, -1, GroupFeedback, dnp3.Class1, true, path)
	for p := range 3 {
		l.add(dnp3.AnalogInput, base+2+p, slot, p, GroupDraw, dnp3.Class2, true, "")
	}
	l.add(dnp3.AnalogInput, base+5, slot, -1, GroupState, dnp3.Class1, true, path)
	l.add(dnp3.AnalogInput, base+6, slot, -1, StandIn, dnp3.Class1, true, "")
	for i, q := range []Quantity{Curtailed, Overridden, OutputUnreached, OutputPermissive, LockedOut, OutputDrift, OutputFailed, CustomerOverride} {
		at := path
		if _, raised := groupConditions[q]; raised {
			at = alarm
		}
		l.add(dnp3.BinaryInput, flag+i, slot, -1, q, dnp3.Class1, true, at)
	}
	l.add(dnp3.BinaryOutput, slot*outputStride, slot, -1, HoldOff, dnp3.Class1, true, "cmd/override")
	l.add(dnp3.BinaryOutput, slot*outputStride+1, slot, -1, Release, dnp3.Class1, true, "cmd/override")
	l.add(dnp3.AnalogOutput, slot*setpointStride, slot, -1, Limit, dnp3.Class1, true, "cmd/limit")
}

func (l *lister) substation() {
	for i, q := range []Quantity{Backlog, Alarms, SiteState, TemplateVersion, ControlOwner, OwnerAddress} {
		class := dnp3.Class1
		if q == Backlog || q == TemplateVersion {
			class = dnp3.NoEvents
		}
		l.add(dnp3.AnalogInput, analogSite+i, -1, -1, q, class, false, "")
	}
	l.add(dnp3.Counter, counterSite, -1, -1, Executed, dnp3.NoEvents, false, "")
	l.add(dnp3.Counter, counterSite+1, -1, -1, Records, dnp3.NoEvents, false, "")
	for i, q := range []Quantity{CentreConnected, ClockSynced, StoreFailing, LocalControl, SiteFailsafe} {
		path := ""
		if q == StoreFailing || q == LocalControl {
			path = "up/alarm/_site"
		}
		l.add(dnp3.BinaryInput, binarySite+i, -1, -1, q, dnp3.Class1, false, path)
	}
	for i, q := range []Quantity{SiteAutonomous, PlannedSilence, StateLost, StoreReplaced, MainsFail, BatteryLow, DoorOpen, Inhibited,
		CertificateEnding, AlarmFlood, FirmCapacity, SiteAlarm, AlarmsCopied, PointForced} {
		path := "up/alarm/_site"
		switch q {
		case SiteAutonomous, PlannedSilence:
			path = "up/failsafe"
		case FirmCapacity:
			path = "up/alarm/TX"
		case SiteAlarm:
			path = "up/alarmstate/_site"
		case AlarmsCopied, PointForced:
			path = ""
		}
		l.add(dnp3.BinaryInput, binarySite+5+i, -1, -1, q, dnp3.Class1, false, path)
	}
	l.add(dnp3.AnalogOutput, setpointSite, -1, -1, Heartbeat, dnp3.NoEvents, false, "cmd/heartbeat")
}

// Points returns the list as the outstation's database wants it.
func Points(rows []Row) []dnp3.Point {
	points := make([]dnp3.Point, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		p := dnp3.Point{Type: r.Type, Index: r.Index, Class: r.Class, Deadband: r.Deadband}
		if r.Type == dnp3.AnalogInput {
			p.Static, p.Event = 5, 7 // single precision, the events with time
		}
		points = append(points, p)
	}
	return points
}
