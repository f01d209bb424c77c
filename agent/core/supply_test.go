package core

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/message"
	"lvagent/meter"
)

type weekOf struct {
	Start, End time.Time
	Whole      bool
	L1         struct {
		Intervals int
		THDV      *struct{ Max float64 } `json:"thd_v"`
	}
	Dips      *int
	VUF       *struct{ Max float64 }
	Frequency *struct {
		Out int `json:"out_1pc"`
	}
}

// The values of a week survive a restart, and the week is published once, when
// it is over.
func TestWeekOfTheSupply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t) // Saturday, 1 January 2000
		var s meter.SupplyReading
		s.Fail(meter.NotSupported)
		s.Way, s.Dips = "W1", meter.Sample[meter.Count]{Value: 4, Quality: meter.Good}
		s.Frequency = meter.Sample[meter.Millihertz]{Value: 49_400, Quality: meter.Good}
		for p, v := range []meter.Millivolts{400_000, 412_000, 420_000} {
			s.Line[p] = meter.Sample[meter.Millivolts]{Value: v, Quality: meter.Good}
			s.THDV[p] = meter.Sample[meter.PPM]{Value: 35_000, Quality: meter.Good}
		}
		r.loop.Supply(s)
		r.pass(20*time.Minute + 3*time.Second)
		body, err := r.loop.Report(t.Context(), "pq")
		var report struct{ Ways []weekOf }
		if err := json.Unmarshal(body, &report); err != nil {
			t.Fatal(err)
		}
		if err != nil || len(report.Ways) != 1 || report.Ways[0].L1.Intervals != 2 || report.Ways[0].Dips == nil {
			t.Errorf("running week: %s, %v", body, err)
		}
		// By hand: 400, 412 and 420 V are 2.82 % of negative sequence.
		if w := report.Ways[0]; w.VUF == nil || w.VUF.Max != 2.82 || w.L1.THDV == nil || w.L1.THDV.Max != 3.5 || w.Frequency == nil || w.Frequency.Out != 1 {
			t.Errorf("want unbalance, distortion and frequency: %s", body)
		}
		if _, err := r.loop.Report(t.Context(), "weather"); err == nil {
			t.Error("a report that there is none of")
		}
		r.end()

		// Another run, on what the first one kept; then nothing until Monday.
		o := r.loop.Options
		o.State = o.Engine.New(r.loop.Now(), time.Now(), false)
		r.loop = New(o)
		r.loop.Log = slog.New(slog.DiscardHandler)
		if w, ok := r.loop.supply[0].Report(); !ok || w.Phase[0].Intervals != 2 {
			t.Fatalf("after the restart: %+v", w)
		}
		monday := time.Date(2000, 1, 3, 0, 0, 3, 0, time.UTC)
		for _, wall := range []time.Time{monday, monday.Add(time.Second), monday.Add(10 * time.Minute)} {
			r.loop.tickSupply(wall, meter.Synced)
		}
		var weeks []weekOf
		for _, rec := range r.records {
			if rec.Stream == message.SupplyStream("W1") {
				var w weekOf
				if err := json.Unmarshal(rec.Body, &w); err != nil {
					t.Fatal(err)
				}
				weeks = append(weeks, w)
			}
		}
		if len(weeks) != 1 || !weeks[0].Whole || weeks[0].L1.Intervals != 2 || !weeks[0].End.Equal(monday.Truncate(time.Hour)) {
			t.Errorf("weeks published: %+v", weeks)
		}
	})
}

// The whole substation without supply, the RTU and its meters on the battery:
// each phase says so once, and once when it is back (R20).
func TestSiteLosesItsSupply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(10 * time.Second)
		dead := func(d time.Duration) {
			for range d / time.Second {
				time.Sleep(time.Second)
				rd := meter.Reading{Way: "W1", At: time.Since(r.start)}
				for p := range rd.Phase {
					rd.Phase[p] = meter.PhaseReading{
						V: meter.Sample[meter.Millivolts]{Quality: meter.Good}, I: meter.Sample[meter.Milliamps]{Quality: meter.Good},
						P: meter.Sample[meter.Milliwatts]{Quality: meter.Good}, Q: meter.Sample[meter.Millivars]{Quality: meter.Good},
					}
				}
				r.loop.Reading(rd)
				synctest.Wait()
			}
		}
		edges := func() (raised, cleared []string) {
			for _, rec := range r.records {
				var a struct{ Kind, Edge, Phase string }
				if json.Unmarshal(rec.Body, &a) == nil && a.Kind == "SUPPLY_LOST" {
					if a.Edge == "raise" {
						raised = append(raised, a.Phase)
					} else {
						cleared = append(cleared, a.Phase)
					}
				}
			}
			return raised, cleared
		}
		dead(10 * time.Second)
		if raised, cleared := edges(); fmt.Sprint(raised) != "[L1 L2 L3]" || len(cleared) != 0 {
			t.Errorf("lost: raised %v, cleared %v", raised, cleared)
		}
		r.pass(10 * time.Second)
		if raised, cleared := edges(); fmt.Sprint(raised) != "[L1 L2 L3]" || fmt.Sprint(cleared) != "[L1 L2 L3]" {
			t.Errorf("back: raised %v, cleared %v", raised, cleared)
		}
	})
}
