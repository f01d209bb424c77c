package configs

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Sites that are named one after another spread evenly, and each keeps its time.
func TestPublishAfter(t *testing.T) {
	const sites, seconds = 6000, 60
	c := Default()
	var perSecond [seconds]int
	for i := range sites {
		c.Site.ID = fmt.Sprintf("EPN-E%04d", i)
		after := c.PublishAfter()
		if after < 0 || after >= seconds*time.Second || after != c.PublishAfter() {
			t.Fatalf("site %s sends after %v", c.Site.ID, after)
		}
		perSecond[after/time.Second]++
	}
	for s, n := range perSecond {
		if n < 60 || n > 150 {
			t.Errorf("%d of %d sites send in second %d", n, sites, s)
		}
	}
	for _, tt := range []struct {
		name                 string
		period, spread, most time.Duration
	}{
		{"none", halfHour, 0, 0},
		{"in proportion for a bench", 10 * time.Second, time.Minute, time.Second / 3},
		{"no more for an hour", time.Hour, time.Minute, time.Minute},
		{"in proportion of a period that divides the half-hour unevenly", 20 * time.Minute, time.Minute, 40 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.Window.Period, c.Uplink.Spread = tt.period, tt.spread
			longest := time.Duration(0)
			for i := range sites {
				c.Site.ID = fmt.Sprint("S", i)
				longest = max(longest, c.PublishAfter())
			}
			if longest > tt.most || longest < tt.most*99/100 {
				t.Errorf("longest wait %v, want nearly %v", longest, tt.most)
			}
		})
	}
}

func TestTimeFaults(t *testing.T) {
	const rest = `
meters: [{id: m1, url: "tcp://127.0.0.1:1502", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
`
	for _, tt := range []struct {
		name, keys, want string
	}{
		{"nothing", "", ""},
		{"all at their ends", "uplink.spread: 60s, site.timezone: UTC, window.invalid_below: 98, clock.holdover: 1m", ""},
		{"a record could be late", "uplink.spread: 61s", "uplink.spread"},
		{"no such place", "site.timezone: Europe/Londinium", "site.timezone"},
		{"the machine's own zone, which nobody sets", "site.timezone: Local", "site.timezone"},
		{"invalid above partial", "window.invalid_below: 99", "window.invalid_below"},
		{"nothing is ever partial", "window.partial_below: 0", "window.partial_below"},
		{"no holdover", "clock.holdover: 1s", "clock.holdover"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sections := map[string]string{"site": "id: S1", "uplink": `broker: "tcp://127.0.0.1:1883"`, "window": "period: 30m", "clock": "source: kernel"}
			for key := range strings.SplitSeq(tt.keys, ", ") {
				if section, rest, ok := strings.Cut(key, "."); ok {
					sections[section] += ", " + rest
				}
			}
			text := rest
			for name, keys := range sections {
				text += name + ": {" + keys + "}\n"
			}
			_, _, faults := Parse("site.yaml", []byte(text))
			found := tt.want == "" && len(faults) == 0
			for _, f := range faults {
				found = found || f.Path == tt.want
			}
			if !found {
				t.Errorf("faults %v, want one of %q", faults, tt.want)
			}
		})
	}
}
