package core

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// said is what the retained messages say of W1 and G1.
type said struct {
	State, Cause, Rule, Ends string
	Deciding, GroupEnds      string
	Limit                    float64
	InForce                  []struct{ Kind, Target, By, Why, Ends string }
}

func (r *rig) said() (s said) {
	r.t.Helper()
	var f struct {
		Ways    map[string]struct{ State, Cause, Rule, Ends string }
		InForce []struct{ Kind, Target, By, Why, Ends string } `json:"in_force"`
	}
	var g struct {
		Groups map[string]struct {
			Deciding, Ends string
			Limit          map[string]struct{ Import float64 }
		}
	}
	if err := json.Unmarshal(r.retained["lv/v1/S1/up/failsafe"], &f); err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(r.retained["lv/v1/S1/up/groups"], &g); err != nil {
		r.t.Fatal(err)
	}
	w := f.Ways["W1"]
	return said{w.State, w.Cause, w.Rule, w.Ends, g.Groups["G1"].Deciding, g.Groups["G1"].Ends, g.Groups["G1"].Limit["L1"].Import, f.InForce}
}

// steady is a minute of readings at the given voltage, with heartbeats.
func (r *rig) steady(minutes int) {
	for range 2 * minutes {
		r.pass(30 * time.Second)
		r.beat()
	}
}

// R12, R20: from the meter's voltage to the actuator, and what is said of it.
func TestLossOfSupply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.beat()
		r.steady(2)
		r.limit("n1", `"none"`)
		r.steady(5)
		if got := r.last(); got != 96_000 {
			t.Fatalf("limit %d before the outage", got)
		}
		r.volts = 12_000
		r.steady(3)
		if got := r.last(); got != 96_000 {
			t.Errorf("limit %d during the outage: %+v", got, r.said())
		}
		r.send("restoration", fmt.Sprintf(`{"id":"h1","issuer":"scada-1","epoch":1,"seq":%d,%s,"kind":"hold","for":"30m","by":"control room","why":"part by part"}`, r.seq+1, inTime()))
		r.seq++
		r.volts = 240_000
		r.pass(3 * time.Second)
		if got := r.last(); got != 0 {
			t.Errorf("limit %d when the supply is back", got)
		}
		s := r.said()
		if s.State != "RESTORING" || s.Cause != "SUPPLY_RETURNED" || s.Deciding != "restoration hold" || len(s.InForce) != 1 ||
			s.InForce[0].Kind != "restoration_hold" || s.InForce[0].By != "control room" || s.InForce[0].Why != "part by part" {
			t.Errorf("said %+v", s)
		}
		r.send("restoration", fmt.Sprintf(`{"id":"h2","issuer":"scada-1","epoch":1,"seq":%d,%s,"kind":"release","by":"control room"}`, r.seq+1, inTime()))
		r.seq++
		if got := strings.Join(append(r.stages("h1"), r.stages("h2")...), ", "); got != "received, active, cancelled, received, completed" {
			t.Errorf("stages %s", got)
		}
		r.pass(3 * time.Second)
		s = r.said()
		if s.Deciding != "idle after a loss of supply" || !strings.Contains(s.GroupEnds, "its restart at ") || !strings.Contains(s.Ends, "restart of its groups") {
			t.Errorf("said %+v", s)
		}
		r.steady(13)
		if got := r.last(); got != 96_000 {
			t.Errorf("limit %d after the wait: %+v", got, r.said())
		}
	})
}
