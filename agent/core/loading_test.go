package core

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type capacityOf struct {
	Ways []struct {
		Way   string
		L1    *struct{ I, Theta, Percent float64 }
		Flags []string
	}
}

func (r *rig) loaded() (c capacityOf) {
	r.t.Helper()
	body := r.retained["lv/v1/S1/up/capacity"]
	if err := json.Unmarshal(body, &c); err != nil {
		r.t.Fatalf("%s: %v", body, err)
	}
	return c
}

// The heat is published within a minute or two, raises its alarm, survives a
// restart and is then no cooler.
func TestHeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.amps = 450_000 // half above the rating
		r.pass(2 * time.Minute)
		c := r.loaded()
		if len(c.Ways) != 2 || c.Ways[1].Way != "TX" || c.Ways[0].L1 == nil || c.Ways[0].L1.Percent != 150 || !slices.Contains(c.Ways[0].Flags, "WARM_START") {
			t.Fatalf("first capacity: %+v", c)
		}
		if r.kept[loadingKey] == nil {
			t.Error("not kept while running: a crash would lose it")
		}
		const id = "W1.THERMAL_LIMIT"
		if view, _ := r.loop.View(t.Context()); slices.Contains(view.Alarms, id) {
			t.Error("alarm at 0.8")
		}
		r.pass(18 * time.Minute)
		view, err := r.loop.View(t.Context())
		if err != nil || !slices.Contains(view.Alarms, id) {
			t.Errorf("after 20 minutes at 150 %%: alarms %v, %v", view.Alarms, err)
		}
		body, err := r.loop.Report(t.Context(), "loading")
		if err != nil {
			t.Fatal(err)
		}
		var before capacityOf
		if err := json.Unmarshal(body, &before); err != nil {
			t.Fatal(err)
		}
		r.end()

		o := r.loop.Options
		o.State = o.Engine.New(r.loop.Now(), time.Now(), false)
		r.loop = New(o)
		var after capacityOf
		if err := json.Unmarshal(r.loop.capacity(), &after); err != nil {
			t.Fatal(err)
		}
		if b, a := before.Ways[0].L1, after.Ways[0].L1; a == nil || b == nil || a.Theta < b.Theta || b.Theta < 0.95 {
			t.Errorf("before the restart %+v, after %+v", b, a)
		}
	})
}

// Silence is not coolness: the alarm stays until the heat is known to be less.
func TestHeatThatIsNotKnownKeepsItsAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		hot := func() bool {
			v, err := r.loop.View(t.Context())
			return err == nil && slices.Contains(v.Alarms, "W1.THERMAL_LIMIT")
		}
		r.amps = 450_000
		r.pass(20 * time.Minute)
		if !hot() {
			t.Fatal("no alarm")
		}
		time.Sleep(100 * time.Minute)
		if !hot() || r.loaded().Ways[0].L1 != nil {
			t.Errorf("after 100 silent minutes: alarm %v, %+v", hot(), r.loaded().Ways[0].L1)
		}
		r.amps = 0
		r.pass(2 * time.Hour) // the load was supposed to go on meanwhile
		if hot() {
			t.Error("the alarm stays though the way is known to be cool")
		}
	})
}
