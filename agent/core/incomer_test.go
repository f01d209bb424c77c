package core

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// incomerText is a site whose transformer has a meter of its own.
var incomerText = strings.NewReplacer(
	"meters: [", `meters: [{id: m0, url: "tcp://127.0.0.1:1502", unit: 9, profile: eastron-sdm630}, `,
	"ways: [", "ways: [{id: IN, role: incomer, meter: m0}, ",
).Replace(siteText)

// give delivers a good reading of a way with so much on each phase.
func (r *rig) give(way string, amps meter.Milliamps) {
	rd := meter.Reading{Way: way, At: time.Since(r.start)}
	for p := range rd.Phase {
		rd.Phase[p] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: 240_000, Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: amps, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(amps) * 240, Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Quality: meter.Good},
		}
	}
	rd.Neutral = meter.Sample[meter.Milliamps]{Value: 3_000, Quality: meter.Good}
	r.loop.Reading(rd)
}

// With an incomer the transformer is what it measures, for the records, the load
// that the engine goes by and the alarms; silent, it is the sum, and its record says
// so. It is no way of the sum.
func TestTheIncomerIsTheTransformer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, incomerText, map[string][]byte{})
		defer r.end()
		play := func(d time.Duration, incomer bool) {
			for range d / time.Second {
				r.meet()
				time.Sleep(time.Second)
				r.give("W1", 50_000)
				if incomer {
					r.give("IN", 120_000)
				}
				synctest.Wait()
			}
		}
		tx := func() (amps meter.Milliamps) {
			if err := r.loop.Ask(t.Context(), func(l *Loop) {
				i := slices.IndexFunc(l.loads, func(w failsafe.Load) bool { return w.Way == "TX" })
				amps = l.loads[i].I[0]
			}); err != nil {
				t.Fatal(err)
			}
			return amps
		}
		play(40*time.Minute, true)
		if got := tx(); got != 120_000 {
			t.Errorf("with the incomer TX carries %d mA, want its 120000", got)
		}
		play(70*time.Minute, false)
		if got := tx(); got != 50_000 {
			t.Errorf("without it %d mA, want the sum of 50000", got)
		}
		type record struct {
			Flags []string
			L1    *struct{ I struct{ RMS float64 } }
		}
		var got []record
		for _, rec := range r.records {
			if rec.Stream != "hh/TX" {
				continue
			}
			var h record
			if err := json.Unmarshal(rec.Body, &h); err != nil {
				t.Fatal(err)
			}
			got = append(got, h)
		}
		if len(got) < 3 {
			t.Fatalf("%d records of TX", len(got))
		}
		if h := got[0]; slices.Contains(h.Flags, "SUMMED") || h.L1.I.RMS != 120 {
			t.Errorf("first %+v", h)
		}
		if h := got[1]; !slices.Contains(h.Flags, "SUMMED") || h.L1 == nil || h.L1.I.RMS <= 50 || h.L1.I.RMS >= 120 {
			t.Errorf("the one in which it fell silent %+v", h)
		}
		if h := got[2]; !slices.Contains(h.Flags, "SUMMED") || h.L1 == nil || h.L1.I.RMS != 50 {
			t.Errorf("the one after %+v", h)
		}
		var meta struct{ Ways []struct{ Way, Role string } }
		if err := json.Unmarshal(r.retained["lv/v1/S1/up/meta"], &meta); err != nil || meta.Ways[0].Role != "incomer" || meta.Ways[1].Role != "feeder" {
			t.Errorf("meta %+v, %v", meta, err)
		}
		if body := r.retained["lv/v1/S1/up/capacity"]; bytes.Contains(body, []byte(`"way":"IN"`)) || !bytes.Contains(body, []byte("TX")) {
			t.Errorf("capacity: %s", body)
		}
	})
}

// A ratio that is wrong on all phases of a way shows only against the incomer: a
// point of health of its own, and a sentence on site.
func TestTheWaysAgainstTheIncomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, strings.NewReplacer("{id: m0,", `{id: m2, url: "tcp://127.0.0.1:1502", unit: 2, profile: eastron-sdm630}, {id: m0,`,
			"ways: [", "ways: [{id: W2, meter: m2, rating_a: 300}, ").Replace(incomerText), map[string][]byte{})
		defer r.end()
		for s := range 30 * 60 {
			r.meet()
			time.Sleep(time.Second)
			w1, w2 := meter.Milliamps(100_000+1_000*(s/60*37%41)), meter.Milliamps(90_000+1_000*(s/60*29%31))
			r.give("W1", w1)
			r.give("W2", w2/2)
			r.give("IN", w1+w2)
			synctest.Wait()
		}
		if p := r.published().Points["wiring/TX"]; p.State != "fault" || p.Code != "RATIO_WRONG" || !strings.Contains(p.Detail, "W2 shows 0.50 times") {
			t.Errorf("%+v", p)
		}
		if body, err := r.loop.Report(t.Context(), "wiring"); err != nil || !strings.Contains(string(body), `"way":"TX","verdict":"red"`) {
			t.Errorf("%s, %v", body, err)
		}
	})
}

// What the transformer carries above its firm capacity limits charging, also where
// the ways alone do not show it.
func TestTheIncomerLimitsCharging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, incomerText, map[string][]byte{})
		defer r.end()
		load := meter.Milliamps(300_000)
		play := func(d time.Duration) {
			for range d / time.Second {
				r.meet()
				time.Sleep(time.Second)
				r.give("W1", 50_000)
				r.give("IN", load)
				synctest.Wait()
			}
		}
		play(time.Second)
		r.beat()
		r.limit("c1", `"none"`)
		play(5 * time.Second)
		if got := r.last(); got != 96_000 {
			t.Fatalf("limit %d, want the rating", got)
		}
		load = 900_000
		play(40 * time.Second)
		if got := r.last(); got >= 96_000 {
			t.Errorf("limit %d with 900 A on a transformer of 695 A", got)
		}
	})
}
