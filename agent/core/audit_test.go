package core

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/audit"
	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/failsafe"
	"lvagent/meter"
)

// auditRig is a loop that goes on from a state's head and from what was kept.
func auditRig(t *testing.T, kept map[string][]byte, head failsafe.AuditHead) *rig {
	t.Helper()
	r := stillRig(t, siteText, kept, nil)
	r.loop.State.Audit = head
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { defer close(r.done); r.loop.Run(ctx) }()
	synctest.Wait()
	return r
}

func audited(t *testing.T, records []outbox.Record) (all []audit.Record) {
	t.Helper()
	for _, r := range records {
		if r.Stream != message.AuditStream {
			continue
		}
		var m struct{ Record audit.Record }
		if err := json.Unmarshal(r.Body, &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m.Record)
	}
	return all
}

func verify(t *testing.T, head failsafe.AuditHead, runs ...[]outbox.Record) audit.Report {
	t.Helper()
	v := &audit.Verifier{}
	for _, records := range runs {
		for i, r := range records {
			if r.Stream == message.AuditStream {
				v.Add(r.Body, fmt.Sprint("record ", i))
			}
		}
	}
	return v.Report(head)
}

// Every limit that the actuator is told has a record of its own, the chain is
// whole, and its head is committed with the records.
func TestEverySetpointIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.pass(2 * time.Second)
		r.beat()
		r.limit("c1", `{"amps":10}`)
		r.pass(2 * time.Second)
		r.limit("c2", `"none"`)
		r.pass(3 * time.Second)
		told := fmt.Sprint(r.told[1:]) // the first is told at the start
		r.end()
		var set []meter.Milliamps
		kinds := map[failsafe.DecisionKind]int{}
		for _, d := range audited(t, r.records) {
			kinds[d.Kind]++
			if d.Kind == failsafe.DecidedSetpoint {
				set = append(set, *d.ToLimit)
			}
		}
		if fmt.Sprint(set) != told {
			t.Errorf("recorded %v, told %s", set, told)
		}
		if kinds[failsafe.DecidedStart] != 1 || kinds[failsafe.DecidedStop] != 1 || kinds[failsafe.DecidedTransition] == 0 || kinds[failsafe.DecidedCommand] == 0 {
			t.Errorf("kinds %v", kinds)
		}
		if rep := verify(t, r.loop.State.Audit, r.records); len(rep.Faults) > 0 || len(rep.Chains) != 1 {
			t.Errorf("report %+v", rep)
		}
		for _, b := range r.batches {
			has, head := false, failsafe.AuditHead{}
			for _, rec := range b.records {
				has = has || rec.Stream == message.AuditStream
			}
			for _, k := range b.kept {
				if k.Key == AuditKey && json.Unmarshal(k.Value, &head) != nil {
					t.Errorf("head %s", k.Value)
				}
			}
			if all := audited(t, b.records); has && head.N != all[len(all)-1].N {
				t.Errorf("records up to %d are committed with head %d", all[len(all)-1].N, head.N)
			}
		}
	})
}

// A decrease waits for no disk, nor does its record wait for the state.
func TestRecordsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(2 * time.Second)
		r.hold = true
		r.beat()
		r.limit("c1", `{"amps":10}`)
		if r.last() != 10_000 {
			t.Errorf("told %d with a silent disk, want 10000 at once", r.last())
		}
		all := audited(t, r.records)
		if last := all[len(all)-1]; last.Kind != failsafe.DecidedCommand && last.Kind != failsafe.DecidedSetpoint || last.Source != "c1" {
			t.Errorf("last record %+v, want the decision on c1", last)
		}
	})
}

func TestTheChainSurvivesRestarts(t *testing.T) {
	tests := []struct {
		name  string
		store func(kept map[string][]byte) map[string][]byte // what the store has after the restart
		state func(failsafe.AuditHead) failsafe.AuditHead
		lost  int // ranges that are declared
	}{
		{"in order", nil, nil, 0},
		{"a store that was replaced", func(map[string][]byte) map[string][]byte { return map[string][]byte{} }, nil, 1},
		{"a state that was lost", nil, func(failsafe.AuditHead) failsafe.AuditHead { return failsafe.AuditHead{} }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.pass(3 * time.Second)
				r.end()
				first, kept, head := r.records, r.kept, r.loop.State.Audit
				if tt.store != nil {
					kept, first = tt.store(kept), nil
				}
				if tt.state != nil {
					head = tt.state(head)
				}
				r2 := auditRig(t, kept, head)
				r2.pass(3 * time.Second)
				r2.end()
				rep := verify(t, r2.loop.State.Audit, first, r2.records)
				if len(rep.Faults) > 0 || len(rep.Chains) != 1 || len(rep.Chains[0].Lost) != tt.lost {
					t.Errorf("report %+v", rep)
				}
			})
		})
	}
}

// However many refusals anybody causes, they are few records, with the true
// count in them.
func TestEqualRefusalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		const flood = 2000
		for range flood {
			r.send("cancel", `{"id":"x"}`)
			r.send("heartbeat", `{"issuer":"nobody","epoch":1,"seq":1}`)
		}
		for i := range 200 {
			r.send(fmt.Sprint("jump", i), `{"id":"x"}`)
		}
		r.pass(16 * time.Minute)
		r.end()
		records, counts := 0, map[string]int{}
		for _, d := range audited(t, r.records) {
			if d.Kind == failsafe.DecidedRefusal {
				records++
				counts[d.Command] += max(1, d.Count)
			}
		}
		total := 0
		for _, n := range counts {
			total += n
		}
		if records > 2*mostRefusals+4 || counts["cancel"] != flood || counts["heartbeat"] != flood || total != 2*flood+200 {
			t.Errorf("%d records, %d refusals in all, %d of cancels, %d of heartbeats", records, total, counts["cancel"], counts["heartbeat"])
		}
		if rep := verify(t, r.loop.State.Audit, r.records); len(rep.Faults) > 0 {
			t.Errorf("report %+v", rep)
		}
	})
}
