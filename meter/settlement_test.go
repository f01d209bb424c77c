package meter

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func TestSettlementPeriod(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, start string
		want        int
	}{
		{"first of a winter's day", "2026-11-24T00:00:00Z", 1},
		{"an evening in winter", "2026-11-24T17:00:00Z", 35},
		{"last of a winter's day", "2026-11-24T23:30:00Z", 48},
		{"first of a summer's day", "2026-07-01T23:00:00Z", 1},
		{"last of a summer's day", "2026-07-01T22:30:00Z", 48},
		{"spring: before the change", "2026-03-29T00:30:00Z", 2},
		{"spring: after it, 02:00 local", "2026-03-29T01:00:00Z", 3},
		{"spring: last of 46", "2026-03-29T22:30:00Z", 46},
		{"spring: the day after", "2026-03-29T23:00:00Z", 1},
		{"autumn: first, still summer time", "2026-10-24T23:00:00Z", 1},
		{"autumn: 01:00 local for the first time", "2026-10-25T00:00:00Z", 3},
		{"autumn: 01:00 local for the second time", "2026-10-25T01:00:00Z", 5},
		{"autumn: last of 50", "2026-10-25T23:30:00Z", 50},
		{"autumn: the day after", "2026-10-26T00:00:00Z", 1},
		{"leap day", "2028-02-29T23:30:00Z", 48},
		{"the day after a leap day", "2028-03-01T00:00:00Z", 1},
		{"the year's end", "2026-12-31T23:30:00Z", 48},
		{"the year's beginning", "2027-01-01T00:00:00Z", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start, err := time.Parse(time.RFC3339, tt.start)
			if err != nil {
				t.Fatal(err)
			}
			if got := SettlementPeriod(start, london); got != tt.want {
				t.Errorf("period of %s = %d, want %d", tt.start, got, tt.want)
			}
		})
	}
}

// Over thirty years every local day has 48, 46 or 50 numbers, one after another,
// and midnight follows from a start and its number.
func TestSettlementPeriodsOfEveryDay(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	count := map[int]int{}
	last := 48
	for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2056; at = at.Add(30 * time.Minute) {
		n := SettlementPeriod(at, london)
		switch {
		case n == last+1:
		case n == 1:
			count[last]++
		default:
			t.Fatalf("%v has number %d after %d", at, n, last)
		}
		last = n
		if midnight := at.Add(-time.Duration(n-1) * 30 * time.Minute).In(london); midnight.Hour() != 0 || midnight.Day() != at.In(london).Day() {
			t.Fatalf("%v, number %d, says midnight was at %v", at, n, midnight)
		}
	}
	if len(count) != 3 || count[46] != 30 || count[50] != 30 {
		t.Errorf("days by their number of periods: %v", count)
	}
}
