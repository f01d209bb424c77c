package core

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/meter"
	"lvagent/meter/wiring"
)

// A current transformer the wrong way round is a point of health, and said in
// words on site; turned, the point heals.
func TestWiring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		if err := r.loop.Ask(t.Context(), func(l *Loop) {
			l.Config.Ways[0].Generation = "none"
			l.wiring = nil
			l.buildWiring(0)
		}); err != nil {
			t.Fatal(err)
		}
		play := func(sign int64, d time.Duration) {
			for range d / time.Second {
				r.meet()
				time.Sleep(time.Second)
				rd := meter.Reading{Way: "W1", At: time.Since(r.start)}
				for p := range rd.Phase {
					rd.Phase[p] = meter.PhaseReading{
						V: meter.Sample[meter.Millivolts]{Value: 240_000, Quality: meter.Good},
						I: meter.Sample[meter.Milliamps]{Value: 50_000, Quality: meter.Good},
						P: meter.Sample[meter.Milliwatts]{Value: 11_800_000, Quality: meter.Good},
						Q: meter.Sample[meter.Millivars]{Value: 2_000_000, Quality: meter.Good},
					}
				}
				rd.Phase[1].P.Value *= meter.Milliwatts(sign)
				rd.Phase[1].Q.Value *= meter.Millivars(sign)
				r.loop.Reading(rd)
				synctest.Wait()
			}
		}
		play(-1, 16*time.Minute)
		if p := r.published().Points["wiring/W1"]; p.State != "fault" || p.Code != "CT_REVERSED" || p.Detail != "swap the two leads of the CT on L2 of W1" {
			t.Errorf("%+v", p)
		}
		body, err := r.loop.Report(t.Context(), "wiring")
		var report struct {
			Ways []struct{ Way, Verdict string }
		}
		if err != nil || json.Unmarshal(body, &report) != nil || len(report.Ways) != 1 || report.Ways[0].Verdict != "red" || !strings.Contains(string(body), "swap the two leads") {
			t.Errorf("%s, %v", body, err)
		}
		play(1, 40*time.Minute)
		if p := r.published().Points["wiring/W1"]; p.State != "ok" {
			t.Errorf("after it was turned: %+v", p)
		}
	})
}

func TestWiringHealth(t *testing.T) {
	red, amber, open := wiring.Finding{Verdict: wiring.Red, Code: "R", Text: "r"}, wiring.Finding{Verdict: wiring.Amber, Code: "A", Text: "a"}, wiring.Finding{Verdict: wiring.Open, Code: "O"}
	tests := []struct {
		name     string
		findings []wiring.Finding
		want     meter.HealthPoint
	}{
		{"green", nil, meter.HealthPoint{State: meter.HealthOK}},
		{"not judged yet", []wiring.Finding{open}, meter.HealthPoint{State: meter.HealthOK}},
		{"amber", []wiring.Finding{open, amber}, meter.HealthPoint{State: meter.HealthDegraded, Code: "A", Detail: "a"}},
		{"the worst is told", []wiring.Finding{amber, red}, meter.HealthPoint{State: meter.HealthFault, Code: "R", Detail: "r"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.ID = "wiring/W1"
			if got := wiringHealth(&wiring.Report{Way: "W1", Findings: tt.findings}); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}
