package recorder

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/ring"
	"lvagent/meter"
)

var begin = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

func config(folder string, wall func() time.Time) Config {
	return Config{Folder: filepath.Join(folder, Folder), MaxBytes: 1 << 20, Keep: 28 * 24 * time.Hour, KeepFew: 24 * time.Hour,
		Few: map[string]bool{"W9": true}, Wall: wall, Log: slog.New(slog.DiscardHandler)}
}

// reading is one whose current tells which.
func reading(way string, k int) *meter.Reading {
	r := &meter.Reading{Way: way}
	for p := range r.Phase {
		r.Phase[p] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: 240_000, Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(k) * 1000, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(k) * 240_000, Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Quality: meter.Good},
		}
	}
	return r
}

func read(t *testing.T, r *Recorder, way string, from, to time.Time) (got []int) {
	t.Helper()
	if _, err := Read(r.cfg.Folder, way, from, to, func(x *meter.Reading, _ time.Time) bool {
		got = append(got, int(x.Phase[0].I.Value/1000))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

var always = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)

// Readings are on disk after a minute, and after a stop; a restart goes on in a
// segment of its own.
func TestBatches(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for run := range 2 {
			r := New(config(folder, time.Now))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); r.Run(ctx) }()
			for k := range 90 {
				r.Record(reading("W3", run*90+k), begin.Add(time.Duration(run*90+k)*time.Second))
				time.Sleep(time.Second)
			}
			synctest.Wait()
			// The batch of the 60th second may or may not have that second's reading.
			if n := len(read(t, r, "W3", begin, always)) - run*90; n < 59 || n > 61 {
				t.Errorf("run %d: %d readings on disk after 90 s, want those of the first minute", run, n)
			}
			cancel()
			<-done
		}
		r := New(config(folder, time.Now))
		got := read(t, r, "W3", begin, always)
		for k, i := range got {
			if i != k {
				t.Fatalf("reading %d is %d", k, i)
			}
		}
		if len(got) != 180 {
			t.Errorf("%d readings in all, want 180", len(got))
		}
		if n := read(t, r, "W4", begin, always); len(n) != 0 {
			t.Errorf("%d readings of another way", len(n))
		}
		if got := read(t, r, "W3", begin.Add(10*time.Second), begin.Add(12*time.Second)); len(got) != 2 || got[0] != 10 || got[1] != 11 {
			t.Errorf("of a time range: %v, want [10 11]", got)
		}
		if all, err := (&ring.Ring{Folder: r.cfg.Folder, Name: long, Suffix: suffix}).Files(); err != nil || len(all) != 2 {
			t.Errorf("%d segments, %v; want one a run", len(all), err)
		}
	})
}

// A tail that was torn at any octet, as by a power cut, costs the last batch at
// most, and neither what was before nor what comes after.
func TestPowerCut(t *testing.T) {
	folder := t.TempDir()
	r := New(config(folder, func() time.Time { return begin }))
	for batch := range 2 {
		for k := range 3 {
			r.Record(reading("W3", 3*batch+k), begin.Add(time.Duration(3*batch+k)*time.Second))
		}
		r.flush()
	}
	path := filepath.Join(r.cfg.Folder, "long-00000000.lvr")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := len(whole) / 2; size < len(whole); size++ {
		other := t.TempDir()
		if err := os.MkdirAll(filepath.Join(other, Folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, Folder, "long-00000000.lvr"), whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		again := New(config(other, func() time.Time { return begin }))
		again.Record(reading("W3", 6), begin.Add(6*time.Second))
		again.flush()
		if got := fmt.Sprint(read(t, again, "W3", begin, always)); got != "[0 1 2 6]" {
			t.Fatalf("cut at %d of %d: %s, want [0 1 2 6]", size, len(whole), got)
		}
	}
}

// The ring never takes more than it may, and the newest stays.
func TestSizeIsBounded(t *testing.T) {
	folder := t.TempDir()
	now := begin
	r := New(config(folder, func() time.Time { return now }))
	k := 0
	for range 400 {
		for range 6 {
			for w := range 20 {
				x := reading(fmt.Sprint("W", w), k*7919%100_000)
				r.Record(x, begin.Add(time.Duration(k)*time.Second))
			}
			k++
		}
		r.flush()
		now = now.Add(time.Minute)
		var total int64
		for _, c := range []string{long, short} {
			all, err := (&ring.Ring{Folder: r.cfg.Folder, Name: c, Suffix: suffix}).Files()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				total += (s.Size + 4095) / 4096 * 4096
			}
		}
		if most := r.cfg.MaxBytes * 9 / 8; total > most {
			t.Fatalf("%d octets on disk, at most %d", total, most)
		}
	}
	got := read(t, r, "W3", begin, always)
	if n := len(got); n < 100 || n == k || got[n-1] != (k-1)*7919%100_000 {
		t.Errorf("%d of %d readings left, want the newest of them", n, k)
	}
	if c := r.Counts(); c.Lost != 0 || c.Syncs < 400 {
		t.Errorf("counts %+v", c)
	}
}

// Readings of ways with few customers are deleted soon, those of others are not.
func TestFewCustomers(t *testing.T) {
	folder := t.TempDir()
	now := time.Now()
	r := New(config(folder, func() time.Time { return now }))
	for k := range 3 {
		r.Record(reading("W3", k), now)
		r.Record(reading("W9", k), now)
		r.flush()
		now = now.Add(4 * time.Hour)
	}
	if a, b := len(read(t, r, "W3", time.Time{}, always)), len(read(t, r, "W9", time.Time{}, always)); a != 3 || b != 3 {
		t.Errorf("%d and %d readings on the first day, want 3 and 3", a, b)
	}
	now = now.Add(24 * time.Hour)
	r.flush()
	if a, b := len(read(t, r, "W3", time.Time{}, always)), len(read(t, r, "W9", time.Time{}, always)); a != 3 || b != 0 {
		t.Errorf("%d and %d readings on the second day, want 3 and none", a, b)
	}
	now = now.Add(29 * 24 * time.Hour)
	r.flush()
	if a := len(read(t, r, "W3", time.Time{}, always)); a != 0 {
		t.Errorf("%d readings after a month, want none", a)
	}
}

// A disk that does not take anything costs readings, not memory, and is told once.
func TestADiskThatDoesNotWork(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, Folder), []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(folder, func() time.Time { return begin })
	var said []string
	cfg.Health = func(p meter.HealthPoint) { said = append(said, p.State.String()+" "+p.Code) }
	r := New(cfg)
	for k := range 100_000 {
		r.Record(reading("W3", k*7919%100_000), begin)
	}
	if c := r.Counts(); c.Lost == 0 || r.pending > mostPending+1000 {
		t.Errorf("%d octets wait, %d readings lost", r.pending, c.Lost)
	}
	r.flush()
	r.Record(reading("W3", 1), begin)
	if err := os.Remove(filepath.Join(folder, Folder)); err != nil {
		t.Fatal(err)
	}
	r.flush()
	if got := fmt.Sprint(read(t, r, "W3", begin, always)); got != "[1]" {
		t.Errorf("readings once the disk works: %s, want [1]", got)
	}
	if got := strings.Join(said, ", "); !strings.HasPrefix(got, "degraded RECORDER_FAILING") || !strings.HasSuffix(got, "ok ") {
		t.Errorf("said %q", got)
	}
}

// What was asked for comes in messages, with a pause between them, and its end is
// told.
func TestFetch(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := New(config(folder, time.Now))
		for k := range 150 {
			r.Record(reading("W3", k), begin.Add(time.Duration(k)*time.Second))
		}
		r.flush()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		var got []string
		start := time.Now()
		go func() {
			defer close(ended)
			r.Serve(ctx, time.Second, func(way string, readings []message.Recorded) {
				got = append(got, fmt.Sprintf("%s %d at %v", way, len(readings), time.Since(start)))
			}, func(f Fetch, n int, err error) { got = append(got, fmt.Sprintf("%s done %d %v", f.ID, n, err)) })
		}()
		for i := range mostFetches + 3 {
			ok := r.Fetch(Fetch{ID: fmt.Sprint("r", i), Way: "W3", From: begin, To: begin.Add(130 * time.Second)})
			if i < mostFetches && !ok || i == mostFetches+2 && ok {
				t.Errorf("wish %d taken: %v", i, ok)
			}
		}
		time.Sleep(2*time.Second + 500*time.Millisecond)
		synctest.Wait()
		if want := "[W3 60 at 0s W3 60 at 1s W3 10 at 2s]"; fmt.Sprint(got) != want {
			t.Errorf("came %v, want %s", got, want)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(got) < 4 || got[3] != "r0 done 130 <nil>" {
			t.Errorf("came %v, want the end of the first", got)
		}
		cancel()
		<-ended
	})
}

// Killed in the midst of its batches, at any moment, the recorder loses no batch
// that was on disk.
func TestKilled(t *testing.T) {
	if folder := os.Getenv("RECORDER_FOLDER"); folder != "" {
		r := New(config(folder, time.Now))
		for k := 0; ; k++ {
			r.Record(reading("W3", k), begin.Add(time.Duration(k)*time.Second))
			r.flush()
			fmt.Println(k)
		}
	}
	for range 5 {
		folder := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "RECORDER_FOLDER="+folder)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		last := -1
		for last < 20 {
			if _, err := fmt.Fscanln(out, &last); err != nil {
				t.Fatal(err)
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait() // killed
		got := read(t, New(config(folder, time.Now)), "W3", begin, always)
		if len(got) <= last {
			t.Errorf("%d readings, %d were said to be on disk", len(got), last+1)
		}
		for k, i := range got {
			if i != k {
				t.Fatalf("reading %d is %d", k, i)
			}
		}
	}
}
