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

// The temperature around the transformer comes from the meter that has a sensor
// there, and from no other; without it the table stands, and that is told.
func TestTemperatureAroundTheTransformer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := strings.NewReplacer("transformer_kva: 500", "transformer_kva: 500, transformer: {ambient_meter: m2}",
			"meters: [", `meters: [{id: m2, url: "tcp://127.0.0.1:1502", unit: 9, profile: eastron-sdm630}, `,
			"ways: [", "ways: [{id: W2, meter: m2, rating_a: 300}, ").Replace(siteText)
		r := newRigOf(t, text, map[string][]byte{})
		defer r.end()
		say := func(way string, celsius meter.Millicelsius, quality meter.Quality) {
			var s meter.SupplyReading
			s.Fail(meter.NotSupported)
			s.Way, s.At = way, time.Since(r.start)
			s.Temperature = meter.Sample[meter.Millicelsius]{Value: celsius, Quality: quality}
			r.loop.Supply(s)
			r.pass(6 * time.Minute) // it is published every five
		}
		tx := func() (ambient float64, assumed bool) {
			var c struct {
				Ways []struct {
					Way         string
					Flags       []string
					Transformer *struct {
						Ambient float64 `json:"ambient_c"`
					}
				}
			}
			if err := json.Unmarshal(r.retained["lv/v1/S1/up/capacity"], &c); err != nil {
				t.Fatal(err)
			}
			for _, w := range c.Ways {
				if w.Way == "TX" && w.Transformer != nil {
					return w.Transformer.Ambient, slices.Contains(w.Flags, "AMBIENT_ASSUMED")
				}
			}
			t.Fatalf("no transformer in %s", r.retained["lv/v1/S1/up/capacity"])
			return 0, false
		}
		for _, tt := range []struct {
			name    string
			say     func()
			ambient float64
			assumed bool
		}{
			{"another meter's sensor", func() { say("W1", 50_000, meter.Good) }, 17, true},
			{"a doubtful value", func() { say("W2", 50_000, meter.Suspect) }, 17, true},
			{"the sensor", func() { say("W2", 31_400, meter.Good) }, 31.4, false},
			{"the sensor is silent", func() { r.pass(20 * time.Minute) }, 17, true},
		} {
			tt.say()
			ambient, assumed := tx()
			if ambient != tt.ambient || assumed != tt.assumed {
				t.Errorf("%s: %v °C, assumed %v", tt.name, ambient, assumed)
			}
			if p := r.published().Points["ambient"]; (p.Code == "AMBIENT_ASSUMED") != tt.assumed || (p.State == "ok") == tt.assumed {
				t.Errorf("%s: health %+v", tt.name, p)
			}
		}
	})
}
