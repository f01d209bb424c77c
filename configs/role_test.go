package configs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/meter/alarm"
)

const withIncomer = `  - {id: W4, meter: m4, rating_a: {L1: 200, L2: 250, L3: 300}}
  - {id: IN, role: incomer, meter: m5}
`

var fifthMeter = []string{"  - {id: m4, ", `  - {id: m5, url: "tcp://127.0.0.1:1502", unit: 5, profile: eastron-sdm630}
  - {id: m4, `}

func TestIncomer(t *testing.T) {
	c := parsed(t, append(fifthMeter, "  - {id: W4, meter: m4, rating_a: {L1: 200, L2: 250, L3: 300}}\n", withIncomer)...)
	if got := c.Incomer(); got != "IN" {
		t.Errorf("incomer %q", got)
	}
	if got := c.Ways[2].Rating; fmt.Sprintf("%.1f", got) != "[695.6 695.6 695.6]" {
		t.Errorf("rating %v, want what 500 kVA allow", got)
	}
	if e := c.Engine([32]byte{}); len(e.Ways) != 2 || e.Ways[0].ID != "W3" {
		t.Errorf("ways of the engine: %+v", e.Ways)
	}
	// What the transformer carries is told of TX once; of the incomer what TX does
	// not have, the neutral.
	if got := ids(c.Rules("IN", allPhases)); !slices.Equal(got, []string{"IN.n.hi"}) {
		t.Errorf("thresholds of the incomer: %q", got)
	}
	if got := ids(c.Rules("TX", allPhases)); !slices.Contains(got, "TX.L1.i.hi") || !slices.Contains(got, "TX.L1.v.hi") {
		t.Errorf("thresholds of the transformer: %q", got)
	}
	w := c.Conditions("IN", allPhases, time.Second)
	for name, want := range map[string]bool{alarm.ExportOverload: true, alarm.ReversePower: true, alarm.StaleReadings: false, alarm.FrozenReadings: false} {
		if w.Watch(name).Disabled != want {
			t.Errorf("%s of the incomer: disabled %v", name, !want)
		}
	}
	if w := c.Conditions("W3", allPhases, time.Second); w.Export.Disabled {
		t.Error("a feeder has no EXPORT_OVERLOAD")
	}
}

// A threshold for all ways is one for all feeders, a condition one for the incomer
// too.
func TestAlarmsForAllLeaveTheIncomerOut(t *testing.T) {
	c := parsed(t, append(fifthMeter, "  - {id: W4, meter: m4, rating_a: {L1: 200, L2: 250, L3: 300}}\n", withIncomer,
		"{ways: [W3], quantity: i,", "{kind: STALE, enabled: false}\n  - {quantity: p, kind: hi, threshold: 5000}\n  - {ways: [W3], quantity: i,")...)
	if got := c.Alarms[0].Ways; !slices.Equal(got, []string{"W3", "W4", "IN"}) {
		t.Errorf("STALE of %q", got)
	}
	if got := c.Alarms[1].Ways; !slices.Equal(got, []string{"W3", "W4"}) {
		t.Errorf("a threshold of %q", got)
	}
}

func TestRoleFaults(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"no such role", "role: incomer", "role: feeding", "ways[2].role: must be feeder or incomer"},
		{"of two phases", "role: incomer", "role: incomer, phases: [L1, L2]", "ways[2].role: way IN: an incomer has all three phases"},
		{"two of them", "W4, meter", "W4, role: incomer, meter", "ways[2].role: way IN: way W4 is the incomer already"},
		{"without a transformer", ", transformer_kva: 500", "", "ways[2].role: way IN: an incomer measures the transformer"},
		{"a group on it", "id: G1, way: W3", "id: G1, way: IN", "groups[0].way: group G1: way IN is the incomer"},
	}
	text := strings.NewReplacer(fifthMeter[0], fifthMeter[1], "  - {id: W4, meter: m4, rating_a: {L1: 200, L2: 250, L3: 300}}\n", withIncomer).Replace(good)
	find := func(faults []Fault, want string) bool {
		return slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.String(), ": "+want) })
	}
	all := text
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, faults := Parse("site.yaml", []byte(strings.Replace(text, tt.old, tt.new, 1)))
			if !find(faults, tt.want) {
				t.Errorf("faults = %q, want one with %q", faults, tt.want)
			}
		})
	}
	for _, tt := range tests[1:] {
		all = strings.Replace(all, tt.old, tt.new, 1)
	}
	_, _, faults := Parse("site.yaml", []byte(all))
	for _, tt := range tests[1:] {
		if !find(faults, tt.want) {
			t.Errorf("all at once: faults = %q, none with %q", faults, tt.want)
		}
	}
}
