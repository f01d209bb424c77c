package core

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

const operatorSite = `
site: {id: S1, transformer_kva: 500}
clock: {source: assume}
meters: [{id: m1, url: "tcp://127.0.0.1:1502", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
groups:
  - {id: G1, way: W1, phases: [L1], rating_a: 96, failsafe_a: 24, failsafe_profile: [{from: 17:00, to: 18:00, amps: 10}],
     output: {kind: mqtt, lease: 6m, latency: 2m}}
failsafe: {issuers: [scada-1], entry_spread: 0s, restore_period: 0s, restore_spread: 0s}
uplink: {broker: "tcp://127.0.0.1:1883", issuers: [{id: cpo-1}]}
`

// setpoint is what the operator of G1 hears.
type setpoint struct {
	T, Since time.Time
	Until    time.Time `json:"valid_until"`
	Valid    float64   `json:"valid_s"`
	Limit    map[string]struct{ Import float64 }
	Fallback map[string]struct{ Import float64 }
}

func (r *rig) setpoint() (s setpoint) {
	r.t.Helper()
	body := r.retained["lv/v1/S1/up/setpoint/G1"]
	if err := json.Unmarshal(body, &s); err != nil {
		r.t.Fatalf("setpoint %q: %v", body, err)
	}
	return s
}

// report is telemetry of G1 by its operator.
func (r *rig) report(more string) string {
	r.seq++
	id := fmt.Sprint("t", r.seq)
	r.send("telemetry", fmt.Sprintf(`{"id":%q,"issuer":"cpo-1","epoch":1,"seq":%d,%s,"groups":[{"group":"G1","t":%q,"state":"charging"%s}]}`,
		id, r.seq, inTime(), time.Now().UTC().Format(time.RFC3339Nano), more))
	return strings.Join(r.stages(id), ", ")
}

func (r *rig) actuation() (a failsafe.Actuation) {
	if err := r.loop.Ask(r.t.Context(), func(l *Loop) { a = l.State.Groups[0].Actuation }); err != nil {
		r.t.Fatal(err)
	}
	return a
}

// A setpoint for an operator is a lease: sent again after a third of it, lower at
// once, higher at most once a minute, and it falls back to the lowest failsafe
// limit of the week.
func TestSetpointsForAnOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, operatorSite, map[string][]byte{})
		defer r.end()
		first := r.setpoint()
		if first.Fallback["L1"].Import != 10 || first.Limit["L1"].Import > 24 || first.Valid != 360 || !first.Until.Equal(first.T.Add(6*time.Minute)) {
			t.Errorf("first setpoint %+v", first)
		}
		r.pass(time.Minute) // up to the failsafe limit of the hour
		first = r.setpoint()
		if first.Limit["L1"].Import != 24 {
			t.Errorf("setpoint after a minute %+v", first)
		}
		var sent []time.Duration
		last := first
		for range 6 * 60 {
			r.pass(time.Second)
			if s := r.setpoint(); !s.T.Equal(last.T) {
				sent = append(sent, s.T.Sub(first.T).Round(time.Second))
				last = s
			}
		}
		if fmt.Sprint(sent) != "[2m0s 4m0s 6m0s]" {
			t.Errorf("sent again after %v, want a third of the lease each", sent)
		}
		r.beat()
		r.limit("c0", `"none"`)
		for range 4 {
			r.pass(20 * time.Second)
			r.beat()
			r.pass(10 * time.Second)
		}
		raised := r.setpoint()
		if raised.Limit["L1"].Import != 96 || raised.Fallback["L1"].Import != 10 {
			t.Fatalf("setpoint with the centre back: %+v", raised)
		}
		r.limit("c1", `{"amps":16}`)
		if s := r.setpoint(); s.Limit["L1"].Import != 16 || !s.Since.Equal(s.T) {
			t.Errorf("a decrease did not go out at once: %+v", s)
		}
		r.limit("c2", `"none"`)
		r.pass(30 * time.Second)
		if s := r.setpoint(); s.Limit["L1"].Import != 16 {
			t.Errorf("a raise went out %v after the last setpoint", s.T.Sub(s.Since))
		}
		r.pass(31 * time.Second)
		if s := r.setpoint(); s.Limit["L1"].Import != 96 {
			t.Errorf("a raise did not go out after a minute: %+v", s)
		}
	})
}

// What an operator says that it holds a group to confirms the setpoint. Silence,
// or more than the setpoint, counts after the operator's time.
func TestAnOperatorConfirms(t *testing.T) {
	tests := []struct {
		name string
		do   func(r *rig)
		want failsafe.Actuation
	}{
		{"nothing said yet", func(r *rig) { r.pass(time.Minute) }, failsafe.Pending},
		{"nothing said in its time", func(r *rig) { r.pass(2*time.Minute + time.Second) }, failsafe.Unreached},
		{"it holds it", func(r *rig) { r.pass(time.Minute); r.report(`,"limit_a":10`) }, failsafe.Confirmed},
		{"it holds less", func(r *rig) { r.pass(time.Minute); r.report(`,"limit_a":0`) }, failsafe.Restricted},
		{"it reports and says nothing of it", func(r *rig) { r.pass(time.Minute); r.report(""); r.pass(time.Minute) }, failsafe.Unreached},
		{"not there yet", func(r *rig) { r.pass(time.Minute); r.report(`,"limit_a":96`) }, failsafe.Pending},
		{"still not there after its time", func(r *rig) { r.pass(2 * time.Minute); r.report(`,"limit_a":96`) }, failsafe.Permissive},
		{"confirmed, and then silent for half an hour", func(r *rig) { r.pass(time.Minute); r.report(`,"limit_a":10`); r.pass(34 * time.Minute) }, failsafe.Confirmed},
		{"and for longer", func(r *rig) { r.pass(time.Minute); r.report(`,"limit_a":10`); r.pass(36 * time.Minute) }, failsafe.Unreached},
		{"it comes back", func(r *rig) { r.pass(5 * time.Minute); r.report(`,"limit_a":10`) }, failsafe.Confirmed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigOf(t, operatorSite, map[string][]byte{})
				defer r.end()
				r.pass(90 * time.Second)
				r.report(`,"limit_a":24`)
				r.pass(90 * time.Second)
				r.limit("c1", `{"amps":10}`)
				if err := r.loop.Ask(t.Context(), func(l *Loop) { l.State.Commands[0].End += 10 * time.Hour }); err != nil {
					t.Fatal(err)
				}
				tt.do(r)
				if got := r.actuation(); got != tt.want {
					t.Errorf("actuation %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// An ordered stop leaves a setpoint behind that is no higher than what nobody has
// to follow a profile for, and that ends.
func TestAStopLeavesALowSetpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, operatorSite, map[string][]byte{})
		r.pass(time.Minute)
		r.end()
		if s := r.setpoint(); s.Limit["L1"].Import != 10 || !s.Until.After(time.Now()) {
			t.Errorf("setpoint after the stop %+v, want the lowest failsafe limit", s)
		}
	})
}

// R12: a customer's own override is seen upstream, counted and in the audit, and
// ends when nothing is heard of it any more.
func TestCustomerOverrideIsVisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, operatorSite, map[string][]byte{})
		defer r.end()
		r.pass(time.Minute)
		customer := func() (active bool, kwh float64, count int) {
			var g struct {
				Groups map[string]struct {
					Customer *struct {
						Active bool
						KWh    float64
						Count  int
					}
				}
			}
			if err := json.Unmarshal(r.retained["lv/v1/S1/up/groups"], &g); err != nil {
				t.Fatal(err)
			}
			if c := g.Groups["G1"].Customer; c != nil {
				return c.Active, c.KWh, c.Count
			}
			return false, -1, -1
		}
		if _, kwh, _ := customer(); kwh != -1 {
			t.Error("an override before anything was said")
		}
		want := func(step string, active bool, kwh float64, count int) {
			t.Helper()
			r.pass(2 * time.Second)
			if a, k, n := customer(); a != active || k != kwh || n != count {
				t.Errorf("%s: %v, %v kWh, %d; want %v, %v, %d", step, a, k, n, active, kwh, count)
			}
		}
		r.report(`,"override":{"active":true,"since":"2000-01-01T00:00:30Z","kwh":1.5}`)
		want("active", true, 1.5, 1)
		r.report(`,"override":{"active":true,"kwh":2}`)
		want("goes on", true, 2, 1)
		r.report(`,"override":{"active":false,"kwh":2.25}`)
		want("over", false, 2.25, 1)
		r.report(`,"override":{"active":true,"kwh":0}`)
		want("again, by a counter that began anew", true, 2.25, 2)
		r.pass(31 * time.Minute)
		want("nothing heard for half an hour", false, 2.25, 2)
		edges := ""
		for _, rec := range r.records {
			var a struct{ ID, Edge string }
			if rec.Stream == "alarm/W1" && json.Unmarshal(rec.Body, &a) == nil && a.ID == "W1.G1.CUSTOMER_OVERRIDE" {
				edges += a.Edge + " "
			}
		}
		if edges != "raise clear raise clear " {
			t.Errorf("edges %q", edges)
		}
		audited := 0
		for _, rec := range r.records {
			if strings.Contains(string(rec.Body), `"kind":"customer"`) {
				audited++
			}
		}
		if audited != 4 {
			t.Errorf("%d audit records, want 4", audited)
		}
	})
}

// What a group's own meter says reaches the engine within a second, and is no
// reading of a way.
func TestAGroupsMeterIsItsDraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, operatorSite, map[string][]byte{})
		defer r.end()
		r.pass(2 * time.Second)
		own := meter.Reading{Way: "group/G1", At: time.Since(r.start)}
		own.Phase[0].I = meter.Sample[meter.Milliamps]{Value: 17_500, Quality: meter.Good}
		r.loop.Reading(own)
		other := own
		other.Way = "group/G9"
		r.loop.Reading(other)
		r.pass(time.Second)
		if err := r.loop.Ask(t.Context(), func(l *Loop) {
			if g := l.State.Groups[0]; !g.Drawn || g.Draw[0] != 17_500 {
				t.Errorf("drawn %v, %v", g.Drawn, g.Draw)
			}
			if len(l.draws) != 0 {
				t.Errorf("%d draws wait", len(l.draws))
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}
