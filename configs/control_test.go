package configs

import (
	"strings"
	"testing"
	"time"

	"lvagent/failsafe"
)

// withControl is the good file with more of group G2.
func withControl(more string) string {
	return strings.Replace(good, "failsafe_a: 0,", "failsafe_a: 12, "+more+",", 1)
}

func TestControl(t *testing.T) {
	c, _, faults := Parse("site.yaml", []byte(withControl(
		"min_a: 12, amber_a: 40, schedule: [{from: 16:00, to: 20:00, percent: 40}], schedule_shift: 15m, schedule_stagger: 0s, opt_in: {by: C-17, since: 2026-07-01}")))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	g := c.Engine([32]byte{}).Groups[1]
	if len(g.Schedule) != 1 || g.Schedule[0].Limit != 25_200 || g.Shift != 15*time.Minute || g.Stagger != 0 || g.Guarantee != 12_000 {
		t.Errorf("group %+v", g)
	}
	if want := [3]failsafe.Contract{{}, {Agreed: true, Limit: 40_000}, {Agreed: true, Limit: 40_000}}; g.Contract != want {
		t.Errorf("contract %+v, want what holds in amber in red too", g.Contract)
	}
	if want := time.Date(2026, 6, 30, 23, 0, 0, 0, time.UTC); !g.OptIn.Equal(want) {
		t.Errorf("consent from %v, want the begin of the local day, %v", g.OptIn, want)
	}
	if g := c.Engine([32]byte{}).Groups[0]; !g.OptIn.IsZero() || g.Contract != [3]failsafe.Contract{} || g.Guarantee != 0 || g.Stagger != 15*time.Minute {
		t.Errorf("defaults %+v", g)
	}
}

func TestFaultsOfControl(t *testing.T) {
	for _, tt := range []struct{ name, more, want string }{
		{"a guarantee above the rating", "min_a: 64", "min_a: group G2: must be 0 to its rating"},
		{"a guarantee above the failsafe limit", "min_a: 13", "failsafe_a: group G2: 12 A is below the 13 A that min_a guarantees"},
		{"a guarantee above a period of the schedule", "min_a: 12, schedule: [{from: 16:00, to: 20:00, amps: 6}]", "schedule[0]: group G2: 6 A is below the 12 A"},
		{"a guarantee above a period of the profile", "min_a: 12, failsafe_profile: [{from: 16:00, to: 20:00, percent: 10}]", "failsafe_profile[0]: group G2: 6.3 A is below the 12 A"},
		{"a guarantee of a contact", "min_a: 12", "min_a: group G2: its output is a contact"},
		{"red above amber", "amber_a: 20, red_a: 21", "red_a: group G2: 21 A is above amber_a"},
		{"a contract above the rating", "red_a: 64", "red_a: group G2: must be min_a (0 A) to its rating of 63 A, not 64"},
		{"a negative contract", "amber_a: -1", "amber_a: group G2: must be min_a"},
		{"shifted by days", "schedule_shift: 25h", "schedule_shift: must be 0s to 12h0m0s"},
		{"staggered by hours", "schedule_stagger: 1h", "schedule_stagger: must be 0s to 15m0s"},
		{"a consent of nobody", "opt_in: {since: 2026-07-01}", "opt_in.by: group G2: must say"},
		{"a consent from never", "opt_in: {by: C-17}", "opt_in.since: group G2: must be a day as 2026-04-01, not \"\""},
		{"a consent from no day", "opt_in: {by: C-17, since: 2026-02-30}", "opt_in.since: group G2: must be a day"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := withControl(tt.more)
			if tt.name == "a guarantee of a contact" {
				text = strings.Replace(text, "holding: 31", "coil: 31", 1)
			}
			_, _, faults := Parse("site.yaml", []byte(text))
			if want := "site.yaml:10: groups[1]." + tt.want; len(faults) != 1 || !strings.HasPrefix(faults[0].String(), want) {
				t.Errorf("faults = %q, want %q", faults, want)
			}
		})
	}
	_, _, faults := Parse("site.yaml", []byte(strings.Replace(good, "issuers: [scada-1]", "issuers: [scada-1], profile_date: today", 1)))
	if len(faults) != 1 || !strings.HasPrefix(faults[0].String(), `site.yaml:14: failsafe.profile_date: must be a day`) {
		t.Errorf("faults = %q", faults)
	}
}
