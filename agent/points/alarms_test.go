package points

import (
	"testing"
	"time"

	"lvagent/dnp3"
	"lvagent/failsafe"
	"lvagent/meter"
)

// engine is a site with one way and one group, which has a contact that stands in.
var engine = failsafe.Config{
	Ways:   []failsafe.Way{{ID: "W3"}},
	Groups: []failsafe.Group{{ID: "G1", Way: "W3", Rating: 32_000, Phases: [meter.Phases]bool{true}, Backup: true}},
}

func siteState() *failsafe.State {
	return &failsafe.State{Mono: time.Minute, Ways: []failsafe.WayState{{ID: "W3", State: failsafe.Free}},
		Groups: []failsafe.GroupState{{ID: "G1", Limit: 32_000, Backup: failsafe.Backup{Closed: true}}}}
}

// An alarm that was never raised does not stand: its point says so, and is not left
// as it is after a restart. Ways and phases that are not there say nothing.
func TestAlarmsThatNeverWere(t *testing.T) {
	b := newBoard(t, false)
	b.db.Alarm(&meter.Alarm{ID: "W3.L1.i.hi", Way: "W3", Quantity: "i", Phase: "L1", Kind: "hi", Edge: meter.Raise, At: noon})
	b.db.State(siteState(), &engine, noon)
	b.is(dnp3.BinaryInput, 60, 1, dnp3.Online) // stood before
	for _, index := range []uint16{0, 61, 63, 67, 69, 74, 76, 79, 308, 502, 507, 509, 516} {
		b.is(dnp3.BinaryInput, index, 0, dnp3.Online)
	}
	for _, index := range []int{62, 65, 20, 99, 316} { // L3 of W3, way 1 and 4, group 2
		if c, there := b.seen[[2]int{int(dnp3.BinaryInput), index}]; there {
			t.Errorf("binary input %d, which nobody has, is %v", index, c)
		}
	}
}

// Every alarm with a point of its own shows on it, with its own time, and ends on it
// when the last one that shares it does.
func TestAlarmsOfGroupsAndOfTheSubstation(t *testing.T) {
	for _, tt := range []struct {
		id, way, phase, kind string
		index                uint16
		other                string // id of another one with the same point
	}{
		{"W3.G1.LOCKOUT", "W3", "", "LOCKOUT", 312, ""},
		{"W3.G1.ACTUATOR_DRIFT", "W3", "", "ACTUATOR_DRIFT", 313, ""},
		{"W3.G1.ACTUATOR_FAILED", "W3", "", "ACTUATOR_FAILED", 314, ""},
		{"W3.G1.CUSTOMER_OVERRIDE", "W3", "", "CUSTOMER_OVERRIDE", 315, ""},
		{"W3.G1.ACTUATOR_UNREACHED", "W3", "", "ACTUATOR_UNREACHED", 310, ""},
		{"W3.G1.ACTUATOR_PERMISSIVE", "W3", "", "ACTUATOR_PERMISSIVE", 311, ""},
		{"W3.L1.UNCONTROLLABLE", "W3", "L1", "UNCONTROLLABLE", 79, "W3.L2.UNCONTROLLABLE"},
		{"TX.FIRM_CAPACITY", "TX", "", "FIRM_CAPACITY", 515, ""},
		{"_site.STORE_FAILING", "_site", "", "STORE_FAILING", 502, ""},
		{"_site.STORE_REPLACED", "_site", "", "STORE_REPLACED", 508, ""},
		{"_site.STATE_LOST", "_site", "", "STATE_LOST", 507, ""},
		{"_site.door.DOOR_OPEN", "_site", "", "DOOR_OPEN", 511, "_site.yard.DOOR_OPEN"},
		{"_site.mains.MAINS_FAIL", "_site", "", "MAINS_FAIL", 509, ""},
		{"_site.battery.BATTERY_LOW", "_site", "", "BATTERY_LOW", 510, ""},
		{"_site.CERTIFICATE_DUE", "_site", "", "CERTIFICATE_DUE", 513, "_site.CERTIFICATE_EXPIRING"},
		{"_site.ALARM_FLOOD", "_site", "", "ALARM_FLOOD", 514, ""},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			b := newBoard(t, false)
			edge := func(id string, e meter.Edge, after time.Duration) *meter.Alarm {
				a := &meter.Alarm{ID: id, Way: tt.way, Phase: tt.phase, Kind: id[len(id)-len(tt.kind):], Edge: e, At: noon.Add(after)}
				if tt.other == "_site.CERTIFICATE_EXPIRING" && id == tt.other {
					a.Kind = "CERTIFICATE_EXPIRING"
				}
				b.db.Alarm(a)
				return a
			}
			a := edge(tt.id, meter.Raise, 1234*time.Millisecond)
			b.is(dnp3.BinaryInput, tt.index, 1, dnp3.Online)
			if c := b.seen[[2]int{int(dnp3.BinaryInput), int(tt.index)}]; c.Time != a.At.UnixMilli() {
				t.Errorf("the event has time %d, not the alarm's", c.Time)
			}
			if index, ok := b.db.IndexOf(a); !ok || index != tt.index {
				t.Errorf("the alarm is said to have binary input %d, %v; it is %d", index, ok, tt.index)
			}
			if tt.other != "" {
				edge(tt.other, meter.Raise, 2*time.Second)
				edge(tt.id, meter.Clear, 3*time.Second)
				b.is(dnp3.BinaryInput, tt.index, 1, dnp3.Online)
				edge(tt.other, meter.Clear, 4*time.Second)
			} else {
				edge(tt.id, meter.Clear, 3*time.Second)
			}
			b.is(dnp3.BinaryInput, tt.index, 0, dnp3.Online)
		})
	}
	b := newBoard(t, false)
	for _, a := range []meter.Alarm{{ID: "W3.STALE", Way: "W3", Kind: "STALE"}, {ID: "W9.L1.PHASE_LOST", Way: "W9", Phase: "L1", Kind: "PHASE_LOST"},
		{ID: "W3.G7.LOCKOUT", Way: "W3", Kind: "LOCKOUT"}, {ID: "_site.ID_CONFLICT", Way: "_site", Kind: "ID_CONFLICT"}} {
		if index, ok := b.db.IndexOf(&a); ok {
			t.Errorf("%s has binary input %d", a.ID, index)
		}
	}
}

// What the engine says of ways, groups and the substation beyond its limits.
func TestStatesBecomePoints(t *testing.T) {
	b := newBoard(t, false)
	s := siteState()
	b.db.State(s, &engine, noon)
	for _, index := range []uint16{71, 78, 312, 313, 314, 315, 504, 505, 506} {
		b.is(dnp3.BinaryInput, index, 0, dnp3.Online)
	}
	b.is(dnp3.AnalogInput, 716, 1, dnp3.Online)

	s.Ways = append(s.Ways, failsafe.WayState{ID: "W4", State: failsafe.Probation}) // without a slot
	s.Ways[0].State = failsafe.Autonomous
	s.Silence.Until = 2 * time.Minute
	g := &s.Groups[0]
	g.Lockout.Locked, g.DriftTold, g.Failed, g.Customer, g.Backup = true, true, true, true, failsafe.Backup{}
	b.db.State(s, &engine, noon)
	for _, index := range []uint16{78, 312, 313, 314, 315, 504, 505, 506} {
		b.is(dnp3.BinaryInput, index, 1, dnp3.Online)
	}
	b.is(dnp3.BinaryInput, 71, 0, dnp3.Online) // it goes its own way, which has a point
	b.is(dnp3.AnalogInput, 193, float64(failsafe.Autonomous), dnp3.Online)
	b.is(dnp3.AnalogInput, 716, 2, dnp3.Online)
	g.Backup.Told = true
	b.db.State(s, &engine, noon)
	b.is(dnp3.AnalogInput, 716, 3, dnp3.Online)

	b.db.Tick(&Substation{Copied: true, Owner: MasterHasControl, Master: 7}, time.Second, noon)
	b.is(dnp3.BinaryInput, 517, 1, dnp3.Online)
	b.is(dnp3.BinaryInput, 518, 0, dnp3.Online)
	b.is(dnp3.AnalogInput, 904, 3, dnp3.Online)
	b.is(dnp3.AnalogInput, 905, 7, dnp3.Online)
}
