package core

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func anOrder() SettingChange {
	return SettingChange{Meter: "m1", Setting: "demand_period", New: "15", By: "anna", Why: "billing"}
}

// audited returns the audit records of a kind, as they were stored.
func (r *rig) audited(kind string) (all []map[string]any) {
	for _, rec := range r.records {
		var m struct{ Record map[string]any }
		if err := json.Unmarshal(rec.Body, &m); rec.Stream == "audit" && err == nil && m.Record["kind"] == kind {
			all = append(all, m.Record)
		}
	}
	return all
}

// A change is recorded before it begins and when it is done, and shown.
func TestSettingIsToldOf(t *testing.T) {
	for _, tt := range []struct{ outcome, now, state, code string }{
		{"changed", "15", "ok", ""},
		{"unchanged", "15", "ok", ""},
		{"not_taken", "60", "degraded", "SETTING_NOT_TAKEN"},
		{"unsure", "", "degraded", "SETTING_UNSURE"},
		{"refused", "", "degraded", "SETTING_REFUSED"},
		{"not_asked", "", "degraded", "SETTING_REFUSED"},
	} {
		t.Run(tt.outcome, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				defer r.end()
				if err := r.loop.BeginSetting(t.Context(), anOrder()); err != nil {
					t.Fatal(err)
				}
				r.pass(time.Second)
				if p := r.published().Points["set/m1"]; p.Code != "SETTING_UNDER_WAY" || !strings.Contains(p.Detail, "demand_period to 15 by anna") {
					t.Errorf("under way: %+v", p)
				}
				if err := r.loop.BeginSetting(t.Context(), anOrder()); err == nil || !strings.Contains(err.Error(), "anna has begun") {
					t.Errorf("a second one at a time: %v", err)
				}
				c := anOrder()
				c.Outcome, c.Old, c.Now = tt.outcome, "60", tt.now
				if err := r.loop.EndSetting(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				r.pass(time.Second)
				if p := r.published().Points["set/m1"]; p.State != tt.state || p.Code != tt.code || !strings.Contains(p.Detail, "demand_period from 60 to 15 by anna at 20") {
					t.Errorf("in the end: %+v", p)
				}
				all := r.audited("setting")
				if len(all) != 2 || all[0]["rule"] != underWay || all[1]["rule"] != tt.outcome || all[1]["from"] != "60" || all[1]["to"] != "15" || all[1]["by"] != "anna" || all[1]["meter"] != "m1" {
					t.Errorf("audited: %v", all)
				}
			})
		})
	}
}

func TestSettingOfNobodyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		for _, change := range []func(*SettingChange){
			func(c *SettingChange) { c.By = "" },
			func(c *SettingChange) { c.By = strings.Repeat("x", mostBy+1) },
			func(c *SettingChange) { c.Why = strings.Repeat("x", mostWhy+1) },
		} {
			c := anOrder()
			change(&c)
			if err := r.loop.BeginSetting(t.Context(), c); err == nil {
				t.Errorf("taken: %+v", c)
			}
		}
		r.pass(time.Second)
		if all := r.audited("setting"); len(all) != 0 {
			t.Errorf("audited: %v", all)
		}
	})
}

// Of a change that was under way when the agent ended nobody knows what became,
// and it says so; one that was done is still shown.
func TestSettingOutlivesARestart(t *testing.T) {
	for _, tt := range []struct {
		name string
		done bool
		code string
	}{{"under way", false, "SETTING_UNSURE"}, {"done", true, ""}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				if err := r.loop.BeginSetting(t.Context(), anOrder()); err != nil {
					t.Fatal(err)
				}
				if c := anOrder(); tt.done {
					c.Outcome, c.Old, c.Now = "changed", "60", "15"
					if err := r.loop.EndSetting(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				r.end()
				after := newRigOf(t, siteText, r.kept)
				defer after.end()
				after.pass(time.Second)
				if p := after.published().Points["set/m1"]; p.Code != tt.code || !strings.Contains(p.Detail, "to 15 by anna") {
					t.Errorf("%+v", p)
				}
				if err := after.loop.BeginSetting(t.Context(), anOrder()); err != nil {
					t.Errorf("the next one: %v", err)
				}
			})
		})
	}
}
