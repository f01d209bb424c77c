package configs

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOutputFaults(t *testing.T) {
	const second = "holding: 31"
	tests := []struct{ name, with, want string }{
		{"a lease too short for its refresh", second + ", lease: 60s, lease_holding: 40", "output.lease: must be 1m30s to"},
		{"a lease of half seconds", second + ", lease: 90500ms, lease_holding: 40", "output.lease: group G2: must be whole seconds"},
		{"a lease without a register", second + ", lease: 90s", "output.lease_holding: group G2: must say which register"},
		{"registers without a lease", second + ", lease_fallback: 41", "output.lease: group G2: is needed for"},
		{"the limit's own register", second + ", lease: 90s, lease_holding: 31", "output.lease_holding: group G2: register 31 is used twice"},
		{"one register for both", second + ", lease: 90s, lease_holding: 40, lease_fallback: 40", "register 40 is used twice"},
		{"a fallback of a coil", "coil: 1, lease: 90s, lease_holding: 40, lease_fallback: 41", "output.lease_fallback: group G2: belongs to a holding"},
		{"a backup of no kind", second + "}, backup: {line: \"gpiochip0:1\"", "backup.kind: group G2: must be gpio"},
		{"a backup that is a register", second + "}, backup: {kind: modbus, url: \"tcp://127.0.0.1:1600\", unit: 1, holding: 3", "backup: group G2: must be a contact"},
		{"a backup in the same controller", second + "}, backup: {kind: modbus, url: \"tcp://127.0.0.1:1502\", unit: 3, coil: 3", "backup.unit: group G2: is the controller of the output itself"},
		{"a backup that another group drives", second + "}, backup: {kind: gpio, line: \"gpiochip0:1\"}}\n  - {id: G7, way: W3, phases: [L1], rating_a: 10, output: {kind: gpio, line: \"gpiochip0:1\"", "group G2 already drives this output"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, second, tt.with, 1)
			_, _, faults := Parse("site.yaml", []byte(text))
			all := ""
			for _, f := range faults {
				all += f.String() + "\n"
			}
			if !strings.Contains(all, tt.want) {
				t.Errorf("faults:\n%swant %q", all, tt.want)
			}
		})
	}
	modbus := `output: {kind: modbus, url: "tcp://127.0.0.1:1502", unit: 3, holding: 31`
	for _, tt := range []struct{ name, output, uplink, want string }{
		{"a lease that is over before it is sent again", "output: {kind: mqtt, lease: 1m", "", "output.lease: must be 1m30s to"},
		{"an operator who takes a day", "output: {kind: mqtt, latency: 24h", "", "output.latency: must be 10s to 1h"},
		{"nobody hears it", "output: {kind: mqtt", "payload: sparkplug, ", "output.kind: group G2: setpoints for an operator are JSON"},
		{"a contact that is elsewhere", "output: {kind: mqtt}, backup: {kind: gpio, line: \"gpiochip0:1\"", "", "backup: group G2: its charge points are elsewhere"},
	} {
		text := strings.Replace(strings.Replace(good, modbus, tt.output, 1), "uplink: {", "uplink: {"+tt.uplink, 1)
		_, _, faults := Parse("site.yaml", []byte(text))
		if !slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.String(), tt.want) }) {
			t.Errorf("%s: faults %v", tt.name, faults)
		}
	}
	c, _, faults := Parse("site.yaml", []byte(strings.Replace(good, modbus, "output: {kind: mqtt", 1)))
	if o := c.Groups[1].Output; len(faults) > 0 || o.Lease != 15*time.Minute || o.Latency != 5*time.Minute || o.IsContact() || !c.Engine([32]byte{}).Groups[1].Slow {
		t.Errorf("an operator's output by default: %+v, %v", o, faults)
	}
	for _, tt := range []struct{ name, line, want string }{
		{"a line that is none", "5", "failsafe.watchdog_line: must be chip:line"},
		{"the line of a group", "gpiochip0:9", "failsafe.watchdog_line: group G2 already drives this line"},
	} {
		text := strings.Replace(good, `kind: modbus, url: "tcp://127.0.0.1:1502", unit: 3, holding: 31`, `kind: gpio, line: "gpiochip0:9"`, 1)
		text = strings.Replace(text, "failsafe: {", `failsafe: {watchdog_line: "`+tt.line+`", `, 1)
		if _, _, faults := Parse("site.yaml", []byte(text)); len(faults) != 1 || !strings.Contains(faults[0].String(), tt.want) {
			t.Errorf("%s: faults %v", tt.name, faults)
		}
	}
}

func TestOutputsWithLeaseAndBackup(t *testing.T) {
	text := strings.Replace(good, "holding: 31", `holding: 31, lease: 90s, lease_holding: 40, lease_fallback: 41}, backup: {kind: gpio, line: "gpiochip0:1"`, 1)
	c, _, faults := Parse("site.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	e := c.Engine([32]byte{})
	if e.Groups[0].Backup || !e.Groups[1].Backup || e.Groups[1].Contact {
		t.Errorf("backups %v, %v; want the second group's only", e.Groups[0].Backup, e.Groups[1].Backup)
	}
	if o := c.Groups[0].Output; o.LeaseHolding != Absent || o.LeaseFallback != Absent {
		t.Errorf("registers that are not given: %d, %d", o.LeaseHolding, o.LeaseFallback)
	}
}

func TestGroupMeterFaults(t *testing.T) {
	const at = "output: {kind: modbus, url: \"tcp://127.0.0.1:1502\", unit: 3, holding: 31"
	fifth := "  - {id: m5, url: \"tcp://127.0.0.1:1502\", unit: 5, profile: eastron-sdm630}\n  - {id: m4,"
	for _, tt := range []struct{ name, with, want string }{
		{"no such meter", "meter: m9, ", `groups[1].meter: group G2: there is no meter "m9"`},
		{"the meter of its way", "meter: m3, ", "groups[1].meter: group G2: meter m3 measures way W3"},
		{"a channel that is none", "meter: m5, channel: 0, ", "groups[1].channel: must be 1 to 64"},
		{"its own", "meter: m5, ", ""},
	} {
		text := strings.Replace(strings.Replace(good, at, tt.with+at, 1), "  - {id: m4,", fifth, 1)
		c, _, faults := Parse("site.yaml", []byte(text))
		all := ""
		for _, f := range faults {
			all += f.String() + "\n"
		}
		if tt.want == "" && (len(faults) > 0 || len(c.GroupMeters()) != 1 || c.GroupMeters()[0].ID != "group/G2") {
			t.Errorf("%s: %s%+v", tt.name, all, c.GroupMeters())
		}
		if !strings.Contains(all, tt.want) {
			t.Errorf("%s: faults:\n%swant %q", tt.name, all, tt.want)
		}
	}
}
