package message

import (
	"testing"
	"time"

	"lvagent/meter"
)

func TestSupplyWeek(t *testing.T) {
	dips, none := int64(3), int64(0)
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	week := meter.SupplyWeek{
		Way: "W3", Start: monday, End: monday.AddDate(0, 0, 7), Whole: true, Expected: 1008, Flagged: 2, Offset: 6_000,
		Phase: [meter.Phases]*meter.SupplyPhase{
			{Intervals: 1004, Min: 228_410, MinAt: monday.Add(18 * time.Hour), P5: 236_200, Median: 244_070, P95: 249_900, Max: 252_330,
				MaxAt: monday.Add(3 * time.Hour), OutOf10: 1, OutOfRange: 1, Above: 1, Verdict: meter.Fail,
				THDV: &meter.Spread{Intervals: 990, P95: 24_100, Max: 31_000, Limit: 80_000, Verdict: meter.Pass}},
			{Verdict: meter.Incomplete},
		},
		VUF:       &meter.Spread{Intervals: 990, P95: 8_200, Max: 23_100, Over: 4, Limit: 20_000, Verdict: meter.Pass},
		PVUR:      &meter.Spread{Intervals: 990, P95: 9_000, Max: 25_000},
		Frequency: &meter.FrequencyWeek{Readings: 10_080, OutOf1: 0, Min: 49_812, Max: 50_191},
		Dips:      &dips, Interruptions: &none, Doubtful: 1,
	}
	golden(t, "supplyweek", AppendSupplyWeek(nil, agent, &week))
	golden(t, "supplyweek-nothing", AppendSupplyWeek(nil, agent, &meter.SupplyWeek{Way: "W3", Start: monday, End: monday.AddDate(0, 0, 7), Expected: 5}))
}
