package core

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/replay"
	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"
)

// steps is a journal in memory, which asks for a key now and then.
type steps struct {
	t    *testing.T
	w    *journal.Writer
	file []byte
	n    int
}

func (j *steps) Key(k *journal.Key) (err error) {
	if j.file, err = j.w.AppendTo(j.file); err == nil {
		j.file, err = journal.AppendKey(j.file, k)
	}
	return err
}

func (j *steps) Step(s *journal.Step) bool {
	if err := j.w.Add(s); err != nil {
		j.t.Error(err)
	}
	j.n++
	return j.n%500 == 0
}

// Whatever the loop decides, over a restart, a lost clock and refusals that are
// counted, can be computed again from what it wrote down.
func TestTheLoopsDecisionsAreReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &steps{t: t, w: journal.NewWriter([]string{"G1"})}
		var chain []byte
		records := 0
		live := func(old *failsafe.State, kept map[string][]byte, boot string) *rig {
			r := stillRig(t, siteText, kept, nil)
			o := &r.loop.Options
			o.Journal, o.Status.Boot = j, boot
			start := &journal.Start{Old: old, Now: 0, Wall: time.Now().UTC(), Clock: meter.Assumed}
			o.Started = journal.Key{Engine: o.Config.Engine([32]byte{}), Place: "Europe/London", Start: start}
			o.State = start.State(o.Engine)
			ctx, cancel := context.WithCancel(t.Context())
			r.stop = cancel
			go func() { defer close(r.done); r.loop.Run(ctx) }()
			synctest.Wait()
			return r
		}
		keep := func(r *rig) {
			for _, rec := range r.records {
				if rec.Stream != "audit" {
					continue
				}
				records++
				var err error
				if chain, err = journal.AppendRecord(chain, rec.Body); err != nil {
					t.Fatal(err)
				}
			}
		}
		r := live(nil, map[string][]byte{}, "b1")
		for range 30 {
			r.send("heartbeat", `{"issuer":"nobody","epoch":1,"seq":1}`)
			r.send("cancel", `{"id":"x"}`)
			r.beat()
			r.pass(30 * time.Second)
		}
		r.limit("c1", `{"amps":10}`)
		r.pass(2 * time.Second)
		r.clock.Clock = meter.Unsynced
		r.pass(200 * time.Second)
		r.beat()
		r.amps = 320_000
		r.pass(100 * time.Second)
		r.end()
		keep(r)
		old := r.loop.State
		r2 := live(&old, r.kept, "b2")
		r2.beat()
		r2.pass(time.Minute)
		r2.end()
		keep(r2)
		file, err := j.w.AppendTo(j.file)
		if err != nil {
			t.Fatal(err)
		}
		got := replay.Run(append(file, chain...))
		if !got.Right() || got.Absent > 0 || len(got.Gaps) > 0 || got.Runs != 2 || got.States < 4 || got.Decisions < 15 {
			t.Errorf("%d records: %+v", records, got)
		}
	})
}
