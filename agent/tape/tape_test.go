package tape

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"
)

var epoch = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

// rig is a tape with an engine that does nothing but count.
type rig struct {
	t      *testing.T
	tape   *Tape
	folder string
	wall   time.Time
	n      uint64
	health meter.HealthPoint
	stop   func()
}

func newRig(t *testing.T, folder string, most int64) *rig {
	r := &rig{t: t, folder: folder, wall: epoch}
	r.tape = New(Config{Folder: folder, MaxBytes: most, Keep: 24 * time.Hour, Every: time.Hour, Wall: func() time.Time { return r.wall },
		Log: slog.New(slog.DiscardHandler), Health: func(p meter.HealthPoint) { r.health = p }}, []string{"G1"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.tape.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return r
}

func (r *rig) key() {
	r.t.Helper()
	cfg := failsafe.Config{Site: "S1", Ways: []failsafe.Way{{ID: "W1"}}, Groups: []failsafe.Group{{ID: "G1", Way: "W1"}}, Timers: failsafe.DefaultTimers()}
	state := failsafe.NewEngine(cfg).New(time.Duration(r.n)*time.Second, epoch.Add(time.Duration(r.n)*time.Second), false)
	if err := r.tape.Key(&journal.Key{Boot: "b1", Next: r.n, Engine: cfg, Place: "UTC", State: state}); err != nil {
		r.t.Fatal(err)
	}
}

// steps adds steps of a second, and keys where they are asked for.
func (r *rig) steps(n int) {
	for range n {
		at := time.Duration(r.n) * time.Second
		s := journal.Step{N: r.n, Now: at, Wall: epoch.Add(at)}
		s.In.Loads = []failsafe.Load{{Way: "W1", At: at, I: [3]meter.Milliamps{meter.Milliamps(r.n * 7919 % 300_000)}}}
		want := r.tape.Step(&s)
		r.n++
		if want {
			r.key()
		}
	}
}

func (r *rig) flush() {
	r.t.Helper()
	if err := r.tape.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// numbers returns the runs of step numbers that can be computed: each from a key
// on, without a hole.
func (r *rig) numbers(from, to time.Time) (runs [][2]uint64, skipped int) {
	r.t.Helper()
	skipped, err := Read(r.folder, from, to, func(b journal.Block) error {
		body, err := b.Body()
		if err != nil {
			return err
		}
		if b.Kind == journal.KeyBlock {
			k, err := journal.ReadKey(body)
			if err != nil {
				return err
			}
			if n := len(runs); n == 0 || runs[n-1][1] != k.Next {
				runs = append(runs, [2]uint64{k.Next, k.Next})
			}
			return nil
		}
		return journal.ReadSteps(body, []string{"G1"}, func(s *journal.Step) bool {
			if n := len(runs); n > 0 && runs[n-1][1] == s.N {
				runs[n-1][1]++
			}
			return true
		})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return runs, skipped
}

var ever = [2]time.Time{epoch.Add(-time.Hour), epoch.Add(1000 * time.Hour)}

// What was flushed is there, also what a later run adds; a torn end is passed over.
func TestTapeKeepsSteps(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "journal")
	r := newRig(t, folder, 1<<20)
	r.key()
	r.steps(100)
	r.flush()
	r.steps(4000) // an hour and more: a key by itself
	r.stop()
	if runs, skipped := r.numbers(ever[0], ever[1]); len(runs) != 1 || runs[0] != [2]uint64{0, 4100} || skipped != 0 {
		t.Errorf("runs %v, skipped %d", runs, skipped)
	}
	// A part of it begins at a key.
	if runs, _ := r.numbers(epoch.Add(3900*time.Second), ever[1]); len(runs) != 1 || runs[0][0] < 3600 || runs[0][1] != 4100 {
		t.Errorf("runs %v of the last minutes", runs)
	}
	if runs, _ := r.numbers(epoch.Add(24*time.Hour), ever[1]); len(runs) != 0 {
		t.Errorf("runs %v of a time in which there was nothing", runs)
	}
	all, err := r.tape.ring.Files()
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	f, err := os.OpenFile(all[0].Path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("LVJ1torn"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r2 := newRig(t, folder, 1<<20)
	r2.n = 5000
	r2.key()
	r2.steps(10)
	r2.stop()
	if runs, skipped := r.numbers(ever[0], ever[1]); len(runs) != 2 || runs[1] != [2]uint64{5000, 5010} || skipped != 8 {
		t.Errorf("runs %v, skipped %d", runs, skipped)
	}
}

// The ring is bounded, and what is left of it begins at a key.
func TestTapeIsBounded(t *testing.T) {
	r := newRig(t, filepath.Join(t.TempDir(), "journal"), 24<<10)
	r.key()
	for range 120 {
		r.steps(600)
		r.flush()
	}
	r.stop()
	all, err := r.tape.ring.Files()
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, f := range all {
		total += f.Size
	}
	runs, _ := r.numbers(ever[0], ever[1])
	if total > 32<<10 || len(runs) != 1 || runs[0][0] == 0 || runs[0][1] != r.n || runs[0][1]-runs[0][0] < 3600 {
		t.Errorf("%d octets in %d files, runs %v of %d", total, len(all), runs, r.n)
	}
}

// A disk that does not work costs steps, which is said, and no more: once it
// works, a key begins anew.
func TestTapeOutlivesItsDisk(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "journal")
	r := newRig(t, folder, 1<<20)
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // no folder can be made
		t.Fatal(err)
	}
	r.key()
	r.steps(10)
	r.flush()
	if r.health.State == meter.HealthOK || r.health.Code != "JOURNAL_FAILING" {
		t.Errorf("health %+v", r.health)
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	r.steps(10)
	r.flush()
	r.steps(1)
	r.stop()
	if r.health.State != meter.HealthOK {
		t.Errorf("health %+v", r.health)
	}
	if runs, _ := r.numbers(ever[0], ever[1]); len(runs) != 1 || runs[0] != [2]uint64{11, 21} {
		t.Errorf("runs %v", runs)
	}
}
