package core

import (
	"encoding/json"
	"slices"
	"strings"
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

// A bus that stays down is one alarm, raised once and cleared once; a short
// absence is none.
func TestBusThatStaysDownIsAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		const url = "tcp://127.0.0.1:1502"
		say := func(state meter.HealthState, code string) {
			r.loop.SetHealth(meter.HealthPoint{ID: BusPoint(url), State: state, Code: code})
		}
		edges := func() (of []string) {
			for _, e := range r.edges("_site") {
				if strings.Contains(e, "BUS_") {
					of = append(of, e)
				}
			}
			return of
		}
		say(meter.HealthFault, "BUS_DOWN")
		r.pass(29 * time.Second)
		say(meter.HealthOK, "")
		r.pass(60 * time.Second)
		if got := edges(); len(got) != 0 {
			t.Errorf("after 29 s away: %q, want none", got)
		}
		say(meter.HealthFault, "BUS_DOWN")
		r.pass(40 * time.Second)
		for range 5 { // well for a moment
			say(meter.HealthOK, "")
			r.pass(5 * time.Second)
			say(meter.HealthFault, "BUS_DOWN")
			r.pass(5 * time.Second)
		}
		want := []string{"raise _site." + url + ".BUS_DOWN"}
		if got := edges(); !slices.Equal(got, want) {
			t.Errorf("while it is away: %q, want %q", got, want)
		}
		say(meter.HealthFault, "BUS_SILENT") // one fault follows the other
		r.pass(35 * time.Second)
		say(meter.HealthOK, "")
		r.pass(12 * time.Second)
		want = append(want, "clear _site."+url+".BUS_DOWN", "raise _site."+url+".BUS_SILENT", "clear _site."+url+".BUS_SILENT")
		if got := edges(); !slices.Equal(got, want) {
			t.Errorf("after its return: %q, want %q", got, want)
		}
	})
}

// A meter that is another one is an alarm of the way that it measures; what else
// is wrong with a meter, the way's own alarms tell.
func TestWrongMeterIsAnAlarmOfItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		for _, code := range []string{"METER_OFFLINE", "METER_MISMATCH", ""} {
			p := meter.HealthPoint{ID: MeterPoint("m1"), State: meter.HealthFault, Code: code}
			if code == "" {
				p.State = meter.HealthOK
			}
			r.loop.SetHealth(p)
			r.pass(40 * time.Second)
		}
		var got []string
		for _, e := range r.edges("W1") {
			if strings.Contains(e, "METER_") {
				got = append(got, e)
			}
		}
		if want := []string{"raise W1.METER_MISMATCH", "clear W1.METER_MISMATCH"}; !slices.Equal(got, want) {
			t.Errorf("alarms %q, want %q", got, want)
		}
	})
}
