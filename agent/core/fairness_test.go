package core

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/message"
	"lvagent/failsafe"
	"lvagent/meter"
)

type fairDay struct {
	Date   string
	End    time.Time
	Groups []struct {
		Group    string
		Rank     int
		Known    float64 `json:"accounted_min"`
		Limited  float64 `json:"curtailed_min"`
		Withheld float64 `json:"withheld_kwh"`
		Reasons  map[string]struct {
			Limited  float64 `json:"curtailed_min"`
			Withheld float64 `json:"withheld_kwh"`
		}
	}
}

// fairRig is a loop that starts at ten minutes to midnight and goes on from what
// was kept.
func fairRig(t *testing.T, kept map[string][]byte, from *failsafe.State, ahead time.Duration) *rig {
	r := stillRig(t, siteText, kept, nil)
	o := &r.loop.Options
	o.Wall = func() time.Time { r.meet(); return time.Now().Add(ahead) }
	if from != nil {
		o.State = o.Engine.Resume(*from, 0, o.Wall(), meter.Assumed)
	}
	outputs := o.Outputs
	r.loop = New(*o)
	r.loop.Outputs = outputs
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { defer close(r.done); r.loop.Run(ctx) }()
	synctest.Wait()
	return r
}

func (r *rig) fairDays() (days []fairDay) {
	r.t.Helper()
	for _, rec := range r.records {
		var d fairDay
		if rec.Stream == message.FairnessStream {
			if err := json.Unmarshal(rec.Body, &d); err != nil {
				r.t.Fatal(err)
			}
			days = append(days, d)
		}
	}
	return days
}

// order is a limit by the loop's own clock.
func (r *rig) order(id, limit string) {
	r.seq++
	now := r.loop.Wall().UTC()
	r.send("limit", fmt.Sprintf(`{"id":%q,"issuer":"scada-1","epoch":1,"seq":%d,"issued":%q,"expires":%q,"class":"network",
		"target":{"way":"W1"},"start_in":"0s","duration":"10m","limit":%s}`,
		id, r.seq, now.Format(time.RFC3339), now.Add(time.Minute).Format(time.RFC3339), limit))
}

// A day's report is made once, at its end; its sums are those of the audit
// records, also over a restart within the day.
func TestFairnessOfADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ahead = 23*time.Hour + 50*time.Minute
		r := fairRig(t, map[string][]byte{}, nil, ahead)
		var audits []float64 // Wh that the records come to
		sum := func(r *rig, end time.Time) (wh float64) {
			limit, since := 24.0, time.Time{}
			for _, a := range audited(t, r.records) {
				at, err := time.Parse(time.RFC3339, a.Wall)
				if err != nil {
					t.Fatal(err)
				}
				if a.Kind == failsafe.DecidedStart {
					limit, since = float64(a.Candidates[0].Limit)/1000, at
				}
				if a.Kind == failsafe.DecidedSetpoint && at.Before(end) {
					wh += (96 - limit) * 230 * at.Sub(since).Hours()
					limit, since = float64(*a.ToLimit)/1000, at
				}
			}
			return wh + (96-limit)*230*end.Sub(since).Hours()
		}
		r.beat()
		r.order("c1", `"none"`)
		r.pass(30 * time.Second)
		r.beat()
		r.order("c2", `{"amps":10}`)
		r.pass(60 * time.Second)
		stop := r.loop.Wall()
		r.end()
		audits = append(audits, sum(r, stop))
		state := r.loop.State
		r2 := fairRig(t, r.kept, &state, ahead)
		for range 30 {
			r2.beat()
			r2.pass(30 * time.Second)
		}
		midnight := time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC)
		audits = append(audits, sum(r2, midnight))
		running, err := r2.loop.Report(t.Context(), "fairness")
		if err != nil {
			t.Fatal(err)
		}
		r2.end()
		days := r2.fairDays()
		if len(days) != 1 || days[0].Date != "2000-01-01" || !days[0].End.Equal(midnight) {
			t.Fatalf("days %+v", days)
		}
		g := days[0].Groups[0]
		if want := (audits[0] + audits[1]) / 1000; g.Withheld < want-0.002 || g.Withheld > want+0.002 || want < 0.1 {
			t.Errorf("withheld %.3f kWh, the records come to %.3f", g.Withheld, want)
		}
		byReason := 0.0
		for _, x := range g.Reasons {
			byReason += x.Withheld
		}
		if g.Rank != 1 || g.Reasons["command"].Limited < 1 || g.Known < 9.9 || g.Known > 10 || byReason < g.Withheld-0.003 || byReason > g.Withheld+0.003 {
			t.Errorf("group %+v", g)
		}
		var now fairDay
		if err := json.Unmarshal(running, &now); err != nil || now.Date != "2000-01-02" || now.Groups[0].Known > 7 {
			t.Errorf("the running day: %+v, %v", now, err)
		}
	})
}

// A clock that nobody trusts ends no day.
func TestNoDayEndsByAFalseClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := fairRig(t, map[string][]byte{}, nil, 23*time.Hour+59*time.Minute)
		r.clock.Clock = meter.Unsynced
		r.pass(3 * time.Minute)
		if days := r.fairDays(); len(days) > 0 {
			t.Errorf("days %+v", days)
		}
		r.clock.Clock = meter.Assumed
		r.pass(2 * time.Second)
		if days := r.fairDays(); len(days) != 1 {
			t.Errorf("days %+v, want the one that is over", days)
		}
		r.end()
	})
}
