package core

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/meter"
)

type healthOf struct {
	State  string
	Points map[string]struct {
		State, Code, Detail string
		Since               time.Time
	}
}

func (r *rig) published() (h healthOf) {
	r.t.Helper()
	synctest.Wait()
	defer r.meet()
	if err := json.Unmarshal(r.retained["lv/v1/S1/up/health"], &h); err != nil {
		r.t.Fatal(err)
	}
	return h
}

// What a part says is published at once, as it says it last; a point's since
// moves with its state and code, not with its detail.
func TestHealthPoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		if h := r.published(); h.State != "ok" || len(h.Points) != 1 || h.Points["clock"].State != "ok" {
			t.Errorf("at the start %+v, want the clock alone, and ok", h)
		}
		began := time.Now()
		r.loop.SetHealth(meter.HealthPoint{ID: "meter/m1", State: meter.HealthOK})
		if h := r.published(); h.Points["meter/m1"].State != "ok" || !h.Points["meter/m1"].Since.Equal(began) {
			t.Errorf("a first point that is ok: %+v", h)
		}
		time.Sleep(300 * time.Millisecond)
		fault := time.Now()
		r.loop.SetHealth(meter.HealthPoint{ID: "bus/b", State: meter.HealthDegraded, Code: "BUS_BUSY"})
		for _, detail := range []string{"1 s", "2 s", "3 s"} {
			r.loop.SetHealth(meter.HealthPoint{ID: "meter/m1", State: meter.HealthFault, Code: "METER_OFFLINE", Detail: detail})
		}
		h := r.published()
		if p := h.Points["meter/m1"]; h.State != "fault" || p.Code != "METER_OFFLINE" || p.Detail != "3 s" || !p.Since.Equal(fault) {
			t.Errorf("after a fault %+v", h)
		}
		time.Sleep(300 * time.Millisecond)
		r.loop.SetHealth(meter.HealthPoint{ID: "meter/m1", State: meter.HealthFault, Code: "METER_OFFLINE", Detail: "4 s"})
		if p := r.published().Points["meter/m1"]; p.Detail != "4 s" || !p.Since.Equal(fault) {
			t.Errorf("after another detail %+v, want since %v", p, fault)
		}
		r.loop.SetHealth(meter.HealthPoint{ID: "meter/m1", State: meter.HealthOK})
		if h := r.published(); h.State != "degraded" || !h.Points["meter/m1"].Since.Equal(time.Now()) {
			t.Errorf("healed %+v, want the worst of what is left", h)
		}
		if v, err := r.loop.View(t.Context()); err != nil || !json.Valid(v.Health) {
			t.Errorf("view of health: %s, %v", v.Health, err)
		}
	})
}

// A part that says the same again publishes nothing.
func TestHealthThatStaysIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		for i := range 3 {
			r.loop.SetHealth(meter.HealthPoint{ID: "meter/m1", State: meter.HealthFault, Code: "METER_OFFLINE"})
			if h := r.published(); i == 0 && h.State != "fault" {
				t.Errorf("the first word was not published: %+v", h)
			}
			if i == 0 {
				r.retained["lv/v1/S1/up/health"] = []byte(`{"state":"kept"}`)
			}
			r.pass(3 * time.Second)
		}
		if h := r.published(); h.State != "kept" {
			t.Errorf("published again: %+v", h)
		}
	})
}
