package points

import (
	"strings"
	"time"

	"lvagent/dnp3"
	"lvagent/meter"
)

// siteWay is the way of an alarm of the substation itself.
const siteWay = "_site"

// phaseConditions are the alarms with a point for each phase, wayConditions those
// with one for the way, siteConditions those of the substation.
var (
	phaseConditions = map[string]Quantity{"PHASE_LOST": PhaseLost, "FUSE_SUSPECTED": FuseSuspected}
	wayConditions   = map[string]Quantity{"SUPPLY_LOST": SupplyLost, "REVERSE_POWER": ReversePower, "EXPORT_OVERLOAD": ExportOverload,
		"THERMAL_LIMIT": ThermalLimit, "UNCONTROLLABLE": Uncontrollable}
	groupConditions = map[Quantity]string{OutputUnreached: "ACTUATOR_UNREACHED", OutputPermissive: "ACTUATOR_PERMISSIVE", LockedOut: "LOCKOUT",
		OutputDrift: "ACTUATOR_DRIFT", OutputFailed: "ACTUATOR_FAILED", CustomerOverride: "CUSTOMER_OVERRIDE"}
	siteConditions = map[string]Quantity{"STORE_FAILING": StoreFailing, "STORE_REPLACED": StoreReplaced, "STATE_LOST": StateLost, "LOCAL_CONTROL": LocalControl,
		"MAINS_FAIL": MainsFail, "BATTERY_LOW": BatteryLow, "DOOR_OPEN": DoorOpen, "INHIBIT": Inhibited,
		"CERTIFICATE_EXPIRING": CertificateEnding, "CERTIFICATE_DUE": CertificateEnding, "ALARM_FLOOD": AlarmFlood, "FIRM_CAPACITY": FirmCapacity}
)

// place says which point an alarm is, beside [AnyAlarm]; false: it has none.
func (d *Database) placeOf(a *meter.Alarm) (at place, ok bool) {
	at = place{slot: -1, phase: -1}
	if at.q, ok = siteConditions[a.Kind]; ok && (a.Way == siteWay || at.q == FirmCapacity) {
		return at, true
	}
	if at.slot, ok = d.ways[a.Way]; !ok {
		return at, false
	}
	switch a.Phase {
	case "L1", "L2", "L3":
		at.phase = int(a.Phase[1] - '1')
	}
	if at.q, ok = phaseConditions[a.Kind]; ok {
		return at, at.phase >= 0
	}
	if a.Quantity == "i" && (a.Kind == "hi" || a.Kind == "hihi") {
		at.q = HighCurrent
		return at, at.phase >= 0
	}
	at.phase = -1
	if at.q, ok = wayConditions[a.Kind]; ok {
		return at, true
	}
	group, is := strings.CutSuffix(strings.TrimPrefix(a.ID, a.Way+"."), "."+a.Kind)
	for q, kind := range groupConditions {
		if is && kind == a.Kind {
			at.q, at.group = q, true
			at.slot, ok = d.group[group]
			return at, ok
		}
	}
	return at, false
}

// IndexOf says which binary input tells of an alarm; false: none does.
func (d *Database) IndexOf(a *meter.Alarm) (index uint16, ok bool) {
	at, ok := d.placeOf(a)
	if !ok {
		return 0, false
	}
	i, ok := d.place[at]
	if !ok {
		return 0, false
	}
	return d.rows[i].Index, true
}

// Alarm takes an edge of an alarm. The point's event has the time of the edge, to
// the millisecond the same as on MQTT.
func (d *Database) Alarm(a *meter.Alarm) {
	here := d.raise[a.Way]
	if here == nil {
		here = map[string]bool{}
		d.raise[a.Way] = here
	}
	if a.Edge == meter.Raise {
		here[a.ID] = true
	} else {
		delete(here, a.ID)
	}
	if at, ok := d.placeOf(a); ok {
		d.bit(at.q, at.slot, at.phase, at.group, a.Edge == meter.Raise || d.another(here, a, at), a.At)
	}
	if slot, ok := d.ways[a.Way]; ok {
		d.bit(AnyAlarm, slot, -1, false, len(here) > 0, a.At)
	}
	if a.Way == siteWay {
		d.bit(SiteAlarm, -1, -1, false, len(here) > 0, a.At)
	}
	n := 0
	for _, way := range d.raise {
		n += len(way)
	}
	d.put(Alarms, -1, -1, false, float64(n), dnp3.Online, a.At, dnp3.Detect)
	d.flush()
}

// another reports whether, after an alarm's end, one with the same point stands: hi
// and hihi of a phase, a condition of several phases, inputs or names.
func (d *Database) another(here map[string]bool, a *meter.Alarm, at place) bool {
	for id := range here {
		kind := id[strings.LastIndexByte(id, '.')+1:]
		switch {
		case at.group || at.phase >= 0 && at.q != HighCurrent:
		case at.q == HighCurrent:
			if id == a.Way+"."+a.Phase+".i.hi" || id == a.Way+"."+a.Phase+".i.hihi" {
				return true
			}
		case at.slot < 0:
			if q, is := siteConditions[kind]; is && q == at.q {
				return true
			}
		case kind == a.Kind:
			return true
		}
	}
	return false
}

// noAlarms shows that alarms which nobody has heard of do not stand: their points
// would not be ONLINE before the first raise.
func (d *Database) noAlarms(wall time.Time) {
	alarms := map[Quantity]bool{HighCurrent: true, AnyAlarm: true, SiteAlarm: true}
	for _, of := range []map[string]Quantity{phaseConditions, wayConditions, siteConditions} {
		for _, q := range of {
			alarms[q] = true
		}
	}
	for i := range d.rows {
		r := &d.rows[i]
		missing := !r.Group && r.Phase >= 0 && r.Slot > 0 && d.ratings[r.Slot][r.Phase] == 0
		if alarms[r.Quantity] && !d.known[i] && (r.Slot < 0 || r.Owner != "" && !missing) {
			d.bit(r.Quantity, r.Slot, r.Phase, r.Group, false, wall)
		}
	}
	if !d.known[d.place[place{q: Alarms, slot: -1, phase: -1}]] {
		d.put(Alarms, -1, -1, false, 0, dnp3.Online, wall, dnp3.Detect)
	}
}
