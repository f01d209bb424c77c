package message

import (
	"testing"

	"lvagent/meter"
)

func TestCharging(t *testing.T) {
	controllable, headroom := meter.Milliamps(80_520), meter.Milliamps(71_000)
	way := meter.Charging{
		Way: "W3", State: meter.Followed, Since: instant,
		Groups: []meter.ChargingGroup{{ID: "G1", Phases: [meter.Phases]bool{true}, Rating: 96_000, Connectors: 3}, {ID: "G2", Phases: [meter.Phases]bool{true, true}, Rating: 63_000, Connectors: 2}},
		Phase: [meter.Phases]*meter.PhaseCharging{
			{Groups: 2, Connectors: 5, Rating: 159_000, Limit: 96_000, Uncontrolled: 63_000, Controllable: &controllable, Headroom: &headroom,
				Estimate: []meter.ChargingEstimate{{Class: "1x32", Cars: 1_650_000, I: 51_300}, {Class: "3x16", Cars: 900_000, I: 14_040}}},
			{Groups: 1, Connectors: 2, Rating: 63_000, Limit: 63_000},
		},
	}
	slow := meter.Charging{Way: "W5", State: meter.SlowPoll, Phase: [meter.Phases]*meter.PhaseCharging{nil, nil, {}}}
	// Whatever is there: of a way with few customers nothing is told (R16).
	few := way
	few.Way, few.State = "W4", meter.FewCustomers
	golden(t, "ev", AppendCharging(nil, agent, instant, []meter.Charging{way, few, slow}))
}
