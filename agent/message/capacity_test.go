package message

import (
	"testing"
	"time"

	"lvagent/meter"
)

func TestCapacity(t *testing.T) {
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	way := meter.Capacity{
		Way: "W3", Season: "mid", Assumed: true,
		Phase: [meter.Phases]*meter.PhaseCapacity{
			{Known: true, I: 212_510, Limit: 283_500, Basis: "fuse", Share: 749_594, Free: 70_990, Theta: 611_900, By: "cable"},
			{Known: true, I: 301_000, Limit: 283_500, Basis: "fuse", Share: 1_061_728, Theta: 968_000, By: "fuse", ToLimit: 9 * time.Minute, Reaches: true},
			{},
		},
		Demand: meter.Demand{Day: day, LoadFactor: 482_100, LossFactor: 301_000, Peak: 140_210_000, PeakAt: instant.Truncate(30 * time.Minute),
			PhasePeak: [meter.Phases]meter.Milliamps{212_500}, PhasePeakAt: [meter.Phases]time.Time{instant.Truncate(30 * time.Minute)}},
	}
	tx := meter.Capacity{
		Way: "TX", Season: "mid", Warm: true, AmbientAssumed: true,
		Phase:       [meter.Phases]*meter.PhaseCapacity{{Known: true, I: 500_000, Limit: 695_632, Basis: "firm", Share: 718_770, Free: 195_632, Theta: 520_000, By: "transformer"}},
		Transformer: &meter.TransformerHeat{Ambient: 20_000, TopOil: 61_230, HotSpot: 74_870, Ageing: 69_112, AgedHours: 12_300},
		Demand: meter.Demand{Day: day, LoadFactor: 600_000, LossFactor: 400_000, LossFactor7: 390_000, Firm: 500_000_000,
			Last: 340_000_000, LastAt: instant.Truncate(30 * time.Minute), EverPeak: 551_000_000, EverPeakAt: day, Over80: 12, Over110: 1},
	}
	golden(t, "capacity", AppendCapacity(nil, agent, instant, []meter.Capacity{way, tx}))
}
