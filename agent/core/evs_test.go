package core

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/configs"
)

// What may be told of electric vehicles, by what the site file says of the way's
// customers (R16). Where nothing may, there is no detector: it is not computed.
func TestWhoseCarsAreFollowed(t *testing.T) {
	tests := []struct {
		name, ev, way string
		state         string // empty: nothing is published at all
	}{
		{"off by default", "", "customers: 60", ""},
		{"off", "ev: {enabled: false, min_customers: 20}", "customers: 60", ""},
		{"enough", "ev: {enabled: true}", "customers: 10", "FOLLOWED"},
		{"one too few", "ev: {enabled: true}", "customers: 9", "FEW_CUSTOMERS"},
		{"enough for another site", "ev: {enabled: true, min_customers: 60}", "customers: 59", "FEW_CUSTOMERS"},
		{"nobody knows how many", "ev: {enabled: true}", "name: High Street", "CUSTOMERS_UNKNOWN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				site := strings.Replace(siteText, "meter: m1, rating_a: 300", "meter: m1, rating_a: 300, "+tt.way, 1) + tt.ev + "\n"
				r := newRigOf(t, site, map[string][]byte{})
				r.pass(2 * time.Minute)
				body := r.retained["lv/v1/S1/up/ev"]
				report, err := r.loop.Report(t.Context(), "evs")
				if err != nil {
					t.Fatal(err)
				}
				r.end()
				if tt.state == "" {
					if body != nil || strings.Contains(string(report), "W1") {
						t.Errorf("published %s, reported %s", body, report)
					}
				} else {
					checkCharging(t, body, tt.state)
					checkCharging(t, report, tt.state)
				}
				if is := r.loop.evs[0] != nil; is != (tt.state == "FOLLOWED") {
					t.Errorf("followed: %v", is)
				}
			})
		})
	}
}

func checkCharging(t *testing.T, body []byte, state string) {
	t.Helper()
	var c struct {
		Ways []map[string]any
	}
	if err := json.Unmarshal(body, &c); err != nil || len(c.Ways) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	w := c.Ways[0]
	if w["state"] != state {
		t.Errorf("%s, want %s", body, state)
	}
	if state != "FOLLOWED" {
		if len(w) != 2 {
			t.Errorf("told besides: %s", body)
		}
		return
	}
	l1, _ := w["L1"].(map[string]any)
	if fmt.Sprint(l1["connectors"], l1["rating_a"], l1["limit_a"], l1["controllable_a"], l1["cars"]) != "1 96 24 24 map[]" {
		t.Errorf("L1: %v", l1)
	}
}

// The shipped default is off, and no threshold below the recorder's can be set.
func TestEVDefaults(t *testing.T) {
	if d := configs.Default().EV; d.Enabled || d.MinCustomers < 5 {
		t.Errorf("%+v", d)
	}
	_, _, faults := configs.Parse("site.yaml", []byte(siteText+"ev: {enabled: true, min_customers: 4}\n"))
	if len(faults) != 1 || !strings.Contains(faults[0].String(), "ev.min_customers") {
		t.Errorf("faults %v", faults)
	}
}
