package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/clock"
	"lvagent/agent/message"
	"lvagent/meter"
)

// What the clock is worth is a point of health, and goes to whom it concerns: a
// suspect clock still labels records, but no command with a date is taken on it.
func TestClockOfTheLoop(t *testing.T) {
	floor := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		clock clock.State
		state string
		code  string
		dated string // what becomes of a command with a date
	}{
		{"synced", clock.State{Clock: meter.Synced}, "ok", "", "received"},
		{"assumed", clock.State{Clock: meter.Assumed}, "ok", "", "received"},
		{"holdover", clock.State{Clock: meter.Holdover}, "degraded", "CLOCK_HOLDOVER", "received"},
		{"suspect", clock.State{Clock: meter.Synced, Suspect: true, Step: 6 * time.Second, Steps: 1}, "degraded", "CLOCK_STEP", "rejected CLOCK_UNTRUSTED"},
		{"unsynced", clock.State{}, "fault", "CLOCK_UNSYNCED", "rejected CLOCK_UNTRUSTED"},
		{"before its floor", clock.State{Below: true, Floor: floor}, "fault", "CLOCK_BELOW_FLOOR", "rejected CLOCK_UNTRUSTED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				defer r.end()
				r.clock = tt.clock
				r.pass(2 * time.Second)
				if p := r.published().Points["clock"]; p.State != tt.state || p.Code != tt.code {
					t.Errorf("health %+v, want %s %s", p, tt.state, tt.code)
				}
				r.seq++
				now := time.Now().UTC()
				r.send("limit", fmt.Sprintf(`{"id":"c1","issuer":"scada-1","epoch":1,"seq":%d,"issued":%q,"expires":%q,"class":"network",
					"target":{"way":"W1"},"start":%q,"duration":"10m","limit":{"amps":10}}`,
					r.seq, now.Format(time.RFC3339), now.Add(time.Minute).Format(time.RFC3339), now.Add(time.Second).Format(time.RFC3339)))
				r.pass(time.Minute)
				if got := r.stages("c1"); len(got) == 0 || got[0] != tt.dated {
					t.Errorf("a command with a date: %q, want %s", got, tt.dated)
				}
				var status struct{ Clock string }
				if err := json.Unmarshal(r.retained["lv/v1/S1/up/status"], &status); err != nil || status.Clock != tt.clock.Clock.String() {
					t.Errorf("status says %q (%v)", status.Clock, err)
				}
				if got := r.loop.State.Floor; !got.Equal(tt.clock.Floor) {
					t.Errorf("floor to be stored %v, want %v", got, tt.clock.Floor)
				}
			})
		})
	}
}

// Half-hours are labelled with their settlement period, and a record of before the
// clock was set carries its flag.
func TestHalfHourOfTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.clock = clock.State{}
		r.pass(5 * time.Minute)
		r.clock.Clock = meter.Assumed
		r.loop.Supply(meter.SupplyReading{Way: "W1", Dips: meter.Sample[meter.Count]{Value: 1, Quality: meter.Good}})
		r.loop.Supply(meter.SupplyReading{Way: "W1", Dips: meter.Sample[meter.Count]{Value: 2, Quality: meter.Good}})
		r.pass(56 * time.Minute)
		var hh [][]byte
		for _, rec := range r.records {
			if rec.Stream == message.HalfHourStream("W1") {
				hh = append(hh, rec.Body)
			}
		}
		if len(hh) != 2 {
			t.Fatalf("%d half-hours, want 2", len(hh))
		}
		for k, want := range []string{`"start":"2000-01-01T00:00:00Z"`, `"start":"2000-01-01T00:30:00Z"`} {
			if !bytes.Contains(hh[k], []byte(want)) || !bytes.Contains(hh[k], fmt.Appendf(nil, `"sp":%d,`, k+1)) || !bytes.Contains(hh[k], []byte(`"expected":1800`)) {
				t.Errorf("record %d: %s", k, hh[k])
			}
			if k == 0 != bytes.Contains(hh[k], []byte("PQ_EVENT")) {
				t.Errorf("record %d: %s", k, hh[k])
			}
		}
	})
}
