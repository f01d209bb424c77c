package failsafe_test

import (
	"encoding/json"
	"testing"
	"time"

	"lvagent/agent/audit"
	"lvagent/failsafe"
)

// dayRecords are the audit records of a day: as they are, and if each step of a
// ramp had its own.
type dayRecords struct{ records, octets, commits, ramps, single, singleOctets, singleCommits, singleRamps int }

// auditDay plays a day and returns what it comes to.
func auditDay(tb testing.TB, contacts bool, from, to time.Duration) (r dayRecords) {
	var ramps audit.Ramps
	frame := audit.Frame{Agent: "EPN-E1234", Boot: "5f1c09a2d4e87b36", Config: "sha256:9d2c4e6f01a3b5c7", Version: "1.0.0"}
	var head failsafe.AuditHead
	size := func(d failsafe.Decision, w failsafe.Watched) int {
		text, next, err := audit.Append(head, frame, audit.Moment{Wall: w.Wall, Mono: w.Now, Clock: "synced"}, d)
		if err != nil {
			tb.Fatal(err)
		}
		head = next
		return len(text)
	}
	steps, covered := 0, 0
	failsafe.Day(tb, 1, contacts, false, from, to, func(w failsafe.Watched) {
		all := w.Engine.Decisions(w.Before, w.After, w.In, w.Set, w.Events)
		for _, d := range all {
			r.single++
			r.singleOctets += size(d, w)
			if d.Ramp != nil {
				r.singleRamps++
			}
			if d.Kind == failsafe.DecidedSetpoint {
				steps++
			}
		}
		r.singleCommits += min(1, len(all))
		all, err := ramps.Add(all, w.Now)
		if err != nil {
			tb.Fatal(err)
		}
		r.commits += min(1, len(all))
		for _, d := range all {
			r.records++
			r.octets += size(d, w)
			if d.Ramp != nil || d.Kind == failsafe.DecidedRamp {
				r.ramps++
			}
			if d.Kind == failsafe.DecidedSetpoint || d.Kind == failsafe.DecidedRamp {
				covered += max(1, d.Count)
			}
			if d.Kind == failsafe.DecidedSetpoint && failsafe.Rule(d.Rule).Ramps() && (d.Ramp == nil || d.Ramp.PerMinute == 0 || d.Ramp.Step == 0) {
				body, _ := json.Marshal(d)
				tb.Fatalf("a ramp begins without its law: %s", body)
			}
		}
	})
	for _, d := range ramps.Rest() {
		covered += d.Count
	}
	if steps != covered {
		tb.Fatalf("%d changes of a limit, %d in records", steps, covered)
	}
	return r
}

// The figures of decision 13: what a day costs in audit records.
func BenchmarkAuditDay(b *testing.B) {
	for _, p := range []struct {
		name     string
		contacts bool
		from, to time.Duration
	}{
		{"setpoints", false, 0, 0},
		{"setpoints/centre-lost-18-to-19h", false, 3 * time.Hour, 4 * time.Hour},
		{"setpoints/centre-lost-1-to-2h", false, 10 * time.Hour, 11 * time.Hour},
		{"contacts", true, 0, 0},
	} {
		b.Run(p.name, func(b *testing.B) {
			var r dayRecords
			for b.Loop() {
				r = auditDay(b, p.contacts, p.from, p.to)
			}
			b.ReportMetric(float64(r.records), "records/day")
			b.ReportMetric(float64(r.octets)/1000, "kB/day")
			b.ReportMetric(float64(r.commits), "commits/day")
			b.ReportMetric(float64(r.ramps), "of-ramps/day")
			b.ReportMetric(float64(r.single), "records/day-stepwise")
			b.ReportMetric(float64(r.singleOctets)/1000, "kB/day-stepwise")
			b.ReportMetric(float64(r.singleCommits), "commits/day-stepwise")
			b.ReportMetric(float64(r.singleRamps), "of-ramps/day-stepwise")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// Each change of a limit of a day with a loss of the centre is in one record, and
// a ramp is a few of them, not one for each ampere.
func TestRampsAreFewRecords(t *testing.T) {
	if r := auditDay(t, false, 10*time.Hour, 11*time.Hour); r.singleRamps < 100 || r.ramps*4 > r.singleRamps {
		t.Errorf("%d records of ramps, %d step by step", r.ramps, r.singleRamps)
	}
}
