package core

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/meter"
)

// A request is refused on site: the group's limit goes, the centre is told why, and
// people see who is out.
func TestOptOutOnSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := strings.Replace(siteText, "failsafe_a: 24,", "failsafe_a: 24, min_a: 6, opt_in: {by: C-17, since: 1999-04-01},", 1)
		r := newRigOf(t, site, map[string][]byte{})
		defer r.end()
		r.pass(time.Second)
		r.beat()
		r.limit("n", `"none"`)
		r.pass(5 * time.Second)
		r.seq++
		r.send("limit", fmt.Sprintf(`{"id":"flex","issuer":"scada-1","epoch":1,"seq":%d,%s,"class":"commercial","target":{"way":"W1"},"start_in":"0s",
			"curve":[{"for":"10m","amps":2},{"for":"10m","amps":20}],"compensation":"token"}`, r.seq, inTime()))
		r.pass(time.Second)
		if got := r.last(); got != 6_000 {
			t.Errorf("in the event at %d, want the guarantee of 6000", got)
		}
		v, err := r.loop.View(t.Context())
		if err != nil || len(v.Requests) != 1 || v.Requests[0].Limit != "2 A, of a curve of 2 blocks" || v.Requests[0].Class != "commercial" {
			t.Errorf("requests %+v, %v", v.Requests, err)
		}
		if a, err := r.loop.OptOut(t.Context(), "G1", "n", "driver"); err != nil || a.Code != "NO_EVENT" {
			t.Errorf("opt-out of what is no request: %+v, %v", a, err)
		}
		if a, err := r.loop.OptOut(t.Context(), "G1", "flex", "driver"); err != nil || a.Stage != "completed" {
			t.Errorf("opt-out: %+v, %v", a, err)
		}
		r.pass(2 * time.Second)
		if got := r.last(); got != 96_000 {
			t.Errorf("after the opt-out at %d, want the rating", got)
		}
		if got := strings.Join(r.stages("flex"), ", "); got != "received, active, actuated, cancelled OPTED_OUT" {
			t.Errorf("the centre is told %s", got)
		}
		if got := string(r.retained["lv/v1/S1/up/groups"]); !strings.Contains(got, `"min_a":6,"opt_in":"1999-03-31T23:00:00.000Z"`) {
			t.Errorf("groups are published as %s", got)
		}
	})
}

// The regime is part of a way's state.
func TestRegimeIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(time.Second)
		r.limit("red", `{"regime":"red"}`)
		r.pass(time.Second)
		if got := string(r.retained["lv/v1/S1/up/failsafe"]); !strings.Contains(got, `"regime":"red"`) {
			t.Errorf("published as %s", got)
		}
	})
}

// A failsafe profile that nobody has looked at for 400 days is an alarm; its age
// outlives a restart, and a new profile or a new date ends it.
func TestOldProfileIsAnAlarm(t *testing.T) {
	const profile = `failsafe_a: 24, failsafe_profile: [{from: 16:00, to: 20:00, amps: 6}],`
	site := strings.Replace(siteText, "failsafe_a: 24,", profile, 1)
	for _, tt := range []struct {
		name, site string
		age        time.Duration // of the profile
		want       bool
	}{
		{"new", site, 0, false},
		{"399 days old", site, 399 * 24 * time.Hour, false},
		{"401 days old", site, 401 * 24 * time.Hour, true},
		{"401 days old, and then changed", strings.Replace(site, "amps: 6", "amps: 7", 1), 401 * 24 * time.Hour, false},
		{"401 days old, and looked at since", strings.Replace(site, "failsafe: {", "failsafe: {profile_date: 2001-01-01, ", 1), 401 * 24 * time.Hour, false},
		{"of a date long ago", strings.Replace(site, "failsafe: {", "failsafe: {profile_date: 1998-01-01, ", 1), 0, true},
		{"no profile", siteText, 401 * 24 * time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kept := map[string][]byte{}
			synctest.Test(t, func(t *testing.T) {
				passed := 2 * time.Second
				first := stillRig(t, site, kept, &passed)
				first.loop.watchProfile(first.loop.Wall(), meter.Assumed)
				passed += tt.age
				later := stillRig(t, tt.site, kept, &passed)
				later.loop.watchProfile(later.loop.Wall(), meter.Unsynced)
				if later.loop.alarms.holds("_site.PROFILE_OLD") {
					t.Error("judged by a clock that nobody trusts")
				}
				later.loop.watchProfile(later.loop.Wall(), meter.Assumed)
				if got := later.loop.alarms.holds("_site.PROFILE_OLD"); got != tt.want {
					t.Errorf("alarm %v, want %v", got, tt.want)
				}
			})
		})
	}
}
