package configs

import (
	"strings"
	"testing"

	"lvagent/meter"
)

func TestFailsafeProfile(t *testing.T) {
	text := strings.Replace(good, "failsafe_a: 0,", `failsafe_a: 0, failsafe_profile: [{days: [fri-mon, wed], from: 22:00, to: 06:30, percent: 50}, {from: 16:00, to: 24:00, amps: 12}],`, 1)
	c, _, faults := Parse("site.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	e := c.Engine([32]byte{})
	p := e.Groups[1].Profile
	if len(p) != 2 || p[0].Days != [7]bool{true, true, false, true, false, true, true} || p[0].From != 22*60 || p[0].To != 6*60+30 || p[0].Limit != 31_500 {
		t.Fatalf("first period: %+v", p)
	}
	if p[1].Days != [7]bool{true, true, true, true, true, true, true} || p[1].To != 24*60 || p[1].Limit != 12*meter.Milliamps(1000) {
		t.Errorf("second period: %+v", p[1])
	}
	if e.Place.String() != "Europe/London" {
		t.Errorf("place %v", e.Place)
	}
}

func TestFaultsOfAFailsafeProfile(t *testing.T) {
	for _, tt := range []struct{ name, period, want string }{
		{"no limit", "{from: 16:00, to: 22:00}", ": must have one of amps and percent"},
		{"two limits", "{from: 16:00, to: 22:00, amps: 6, percent: 10}", ": must have one of amps and percent"},
		{"above the rating", "{from: 16:00, to: 22:00, amps: 64}", ".amps: group G2: must be 0 to its rating of 63 A, not 64"},
		{"below nothing", "{from: 16:00, to: 22:00, amps: -1}", ".amps: group G2: must be 0 to"},
		{"more than all", "{from: 16:00, to: 22:00, percent: 101}", ".percent: group G2: must be 0 to 100"},
		{"no day", "{days: [mo], from: 16:00, to: 22:00, amps: 6}", ".days[0]: must be a day"},
		{"no time", "{from: 4pm, to: 22:00, amps: 6}", ".from: must be a time of day"},
		{"past midnight", "{from: 16:00, to: 24:30, amps: 6}", ".to: must be a time of day"},
		{"signed", "{from: 16:00, to: +9:30, amps: 6}", ".to: must be a time of day"},
		{"from the end", "{from: 24:00, to: 06:00, amps: 6}", ".from: 24:00 can only be an end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, "failsafe_a: 0,", "failsafe_a: 0, failsafe_profile: ["+tt.period+"],", 1)
			_, _, faults := Parse("site.yaml", []byte(text))
			if want := "site.yaml:10: groups[1].failsafe_profile[0]" + tt.want; len(faults) != 1 || !strings.HasPrefix(strings.ReplaceAll(faults[0].String(), ": group G2: must have", ": must have"), want) {
				t.Errorf("faults = %q, want %q", faults, want)
			}
		})
	}
}

func TestFailsafeMode(t *testing.T) {
	c, _, faults := Parse("site.yaml", []byte(strings.Replace(good, "rating_a: 300}", "rating_a: 300, failsafe_mode: headroom}", 1)))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if e := c.Engine([32]byte{}); !e.Ways[0].Headroom || e.Ways[1].Headroom {
		t.Errorf("ways %+v", e.Ways)
	}
	_, _, faults = Parse("site.yaml", []byte(strings.Replace(good, "rating_a: 300}", "rating_a: 300, failsafe_mode: free}", 1)))
	if len(faults) != 1 || !strings.Contains(faults[0].String(), `ways[0].failsafe_mode: must be profile or headroom, not "free"`) {
		t.Errorf("faults = %q", faults)
	}
}
