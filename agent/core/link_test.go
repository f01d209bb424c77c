package core

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/uplink"
)

// R16: what is wrong with the way to the broker is an alarm and a health point,
// raised once and cleared once, and the days that a certificate has are in the
// status.
func TestConditionsOfTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		state, expires := uplink.State{Connected: true}, time.Now().Add(31*24*time.Hour)
		if err := r.loop.Ask(t.Context(), func(l *Loop) {
			l.Link = func() uplink.State { return state }
			l.Expires = func() time.Time { return expires }
		}); err != nil {
			t.Fatal(err)
		}
		active := func() (kinds []string) {
			r.pass(2 * time.Second)
			v, err := r.loop.View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range v.Alarms {
				if kind, is := strings.CutPrefix(a, "_site."); is {
					kinds = append(kinds, kind)
				}
			}
			slices.Sort(kinds)
			return kinds
		}
		check := func(what string, point, code, days string, want ...string) {
			t.Helper()
			if got := active(); !slices.Equal(got, want) {
				t.Errorf("%s: alarms %q, want %q", what, got, want)
			}
			if got := r.published().Points[point].Code; got != code {
				t.Errorf("%s: %s says %q, want %q", what, point, got, code)
			}
			if s := string(r.retained["lv/v1/S1/up/status"]); !strings.Contains(s, `"certificate_days":`+days) {
				t.Errorf("%s: status %s, want %s days", what, s, days)
			}
		}
		check("all is well", "uplink/session", "", "30")
		state = uplink.State{Selftest: "nothing came back", Duplicate: true, LastError: "EOF"}
		check("not connected", "uplink/session", "NOT_CONNECTED", "30", duplicateClient, uplinkSelftest)
		check("self-test", "uplink/selftest", uplinkSelftest, "30", duplicateClient, uplinkSelftest)
		state = uplink.State{Connected: true}
		beside := uplink.State{Duplicate: true, LastError: "EOF"}
		if err := r.loop.Ask(t.Context(), func(l *Loop) { l.Beside = func() uplink.State { return beside } }); err != nil {
			t.Fatal(err)
		}
		check("the session beside is thrown out", "uplink/sparkplug", "NOT_CONNECTED", "30", duplicateClient)
		beside = uplink.State{Connected: true}
		check("and is back", "uplink/sparkplug", "", "30")
		expires = time.Now().Add(30*24*time.Hour - time.Minute)
		check("less than 30 days", "uplink/certificate", certificateExpiring, "29", certificateExpiring)
		expires = time.Now().Add(7*24*time.Hour - time.Minute)
		check("less than 7 days", "uplink/certificate", certificateDue, "6", certificateDue, certificateExpiring)
		expires = time.Now().Add(-time.Minute)
		check("over", "uplink/certificate", certificateDue, "-1", certificateDue, certificateExpiring)
		expires = time.Now().Add(400 * 24 * time.Hour)
		check("renewed", "uplink/certificate", "", "399")
		edges := 0
		for _, rec := range r.records {
			if strings.Contains(string(rec.Body), "_site.CERTIFICATE") || strings.Contains(string(rec.Body), "_site.UPLINK") {
				edges++
			}
		}
		if edges != 6 {
			t.Errorf("%d edges of three alarms, want 6", edges)
		}
	})
}
