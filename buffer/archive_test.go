package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ringOptions keep acknowledged records, and move the older ones at once.
func ringOptions() Options {
	o := testOptions()
	for c := range o.Classes {
		o.Classes[c].Keep = 24 * time.Hour
	}
	o.Chunk = 800
	return o
}

func tidyAll(t testing.TB, s *Store, at time.Time) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = s.Tidy(at); err != nil {
			t.Fatal(err)
		}
	}
}

func body(stream string, n int) string {
	return fmt.Sprint(stream, " ", n, " ", strings.Repeat("x", n%150))
}

// life is what a store goes through in the tests of faults: batches, and tidying
// in between. Every batch appends one record to each of two streams.
type life struct {
	s    *Store
	n    int // records of each stream that Commit has returned for
	took int // acknowledged of each
	lag  int // how far the acknowledgements of hh/W1 are behind those of live/W1
	tell func()
}

func (l *life) live(t *testing.T, batches int) {
	for range batches {
		l.n++
		b := Batch{At: noon, Put: []Put{{"n", fmt.Append(nil, l.n)}}, Append: []Entry{
			entry("hh/W1", hours, l.n, body("hh/W1", l.n)), entry("live/W1", live, l.n, body("live/W1", l.n))}}
		if l.n%3 == 0 {
			l.took = l.n - 2
			b.Ack = []Ack{{"hh/W1", uint64(max(0, l.took-l.lag))}, {"live/W1", uint64(l.took)}}
		}
		for i := 0; ; i++ {
			err := l.s.Commit(b)
			if err == nil {
				break
			}
			if !errors.Is(err, errBefore) || i > 2 {
				t.Fatalf("commit %d: %v", l.n, err)
			}
		}
		if l.tell != nil {
			l.tell()
		}
		for more := true; more; {
			var err error
			if more, err = l.s.Tidy(noon.Add(time.Hour)); err != nil && !errors.Is(err, errBefore) {
				t.Fatalf("tidy after commit %d: %v", l.n, err)
			}
		}
	}
}

// holds checks that a store has every record from 1 to n, of which at least those
// up to took are acknowledged.
func holds(t *testing.T, what string, s *Store, n, took int) {
	t.Helper()
	got, err := s.Get("n")
	if err != nil || string(got) < fmt.Sprint(n) && len(got) <= len(fmt.Sprint(n)) {
		t.Errorf("%s: n is %q, %v, want at least %d", what, got, err, n)
	}
	checkStore(t, s)
	for _, name := range []string{"hh/W1", "live/W1"} {
		st := state(s, name)
		if st.First != 1 || int(st.Next) <= n || int(st.Acked) < took {
			t.Errorf("%s: %+v, want 1 to %d, acknowledged to %d", what, st, n, took)
		}
		records, err := s.Read(name, 1, nil, 10_000)
		if err != nil || len(records) < n {
			t.Fatalf("%s: %d records of %s, %v, want %d", what, len(records), name, err, n)
		}
		for _, r := range records {
			if string(r.Body) != body(name, int(r.N)) || r.G != 1 {
				t.Errorf("%s: %s %d of generation %d is %q", what, name, r.N, r.G, r.Body)
			}
		}
	}
}

// segmentsInUse checks that there are as many files as the store knows.
func segmentsInUse(t *testing.T, what string, s *Store) {
	t.Helper()
	ids, err := segmentIDs(segmentsOf(s.path))
	if err != nil || len(ids) != s.Stats().Segments {
		t.Errorf("%s: %d segment files, %v, want %d", what, len(ids), err, s.Stats().Segments)
	}
}

// Whichever operation on a file fails, nothing is lost, and the next attempt
// succeeds.
func TestEveryStepFailsOnce(t *testing.T) {
	const batches = 60
	steps := 0
	for n := 0; ; n++ {
		path := storePath(t)
		s, err := Open(path, ringOptions())
		if err != nil {
			t.Fatal(err)
		}
		fired, at := false, n
		fail := func(name string) error {
			if at--; at != -1 {
				return nil
			}
			fired = true
			return fmt.Errorf("%s: %w", name, errBefore)
		}
		s.fault = fail
		s.commitTx = func(tx *bolt.Tx) error {
			if err := fail("commit"); err != nil {
				return errors.Join(err, tx.Rollback())
			}
			err := tx.Commit()
			return errors.Join(err, fail("after commit"))
		}
		l := life{s: s}
		l.live(t, batches)
		s.fault, s.commitTx = nil, (*bolt.Tx).Commit
		what := fmt.Sprint("step ", n)
		holds(t, what, s, batches, l.took)
		closeAndCheck(t, s)
		s = mustOpen(t, path, ringOptions())
		holds(t, what+", opened again", s, batches, l.took)
		segmentsInUse(t, what, s)
		if s.Stats().Segments < 3 {
			t.Fatalf("%s: %d segments: too little was moved to say anything", what, s.Stats().Segments)
		}
		if !fired {
			break
		}
		steps = n + 1
	}
	t.Logf("%d steps", steps)
	if steps < 150 {
		t.Errorf("only %d steps", steps)
	}
}

// Wherever a crash comes, what Commit had returned for is there afterwards.
func TestEveryStepCrashes(t *testing.T) {
	const batches = 60
	path, dir := storePath(t), t.TempDir()
	s, err := Open(path, ringOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := life{s: s}
	sure, took := 0, 0
	l.tell = func() { sure, took = l.n, l.took }
	step := 0
	crash := func(name string) error {
		step++
		to := filepath.Join(dir, fmt.Sprint(step))
		for _, suffix := range []string{"", generationSuffix} {
			file, err := os.ReadFile(path + suffix)
			if err == nil {
				err = os.WriteFile(to+suffix, file, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		copySegments(t, path, to)
		what := fmt.Sprintf("crash %d at %q", step, name)
		after, replaced, err := OpenOrReplace(to, ringOptions(), noon)
		if err != nil || replaced != nil {
			t.Fatalf("%s: %+v, %v", what, replaced, err)
		}
		if sure > 0 {
			holds(t, what, after, sure, took)
		}
		segmentsInUse(t, what, after)
		tidyAll(t, after, noon)
		closeAndCheck(t, after)
		os.Remove(to)
		os.RemoveAll(segmentsOf(to))
		return nil
	}
	s.fault = crash
	s.commitTx = func(tx *bolt.Tx) error {
		crash("commit")
		err := tx.Commit()
		crash("after commit")
		return err
	}
	l.live(t, batches)
	if step < 150 {
		t.Errorf("only %d crashes", step)
	}
	// The same while segments are emptied and deleted.
	sure = 0
	if err := s.Commit(Batch{Ack: []Ack{{"hh/W1", batches}, {"live/W1", batches}}, At: noon}); err != nil {
		t.Fatal(err)
	}
	before := step
	tidyAll(t, s, noon.Add(48*time.Hour))
	if st := s.Stats(); st.Records != 0 || st.Segments != 0 || step-before < 5 {
		t.Errorf("after all is too old: %+v, %d steps", st, step-before)
	}
}

// The last segment is torn off, at every length of its last frame and at some of
// the rest: what is whole can be read, what is not is said to be torn, and it can
// be passed.
func TestTornSegmentOfEveryLength(t *testing.T) {
	path := storePath(t)
	o := ringOptions()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	l := life{s: s}
	l.live(t, 60)
	var last uint32
	for id := range s.segments {
		last = max(last, id)
	}
	name := s.segmentName(last)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	folder, kept := segmentsOf(path), segmentsOf(path+".kept")
	copySegments(t, path, path+".kept")
	for cut := 0; cut <= len(whole); cut++ {
		if err := errors.Join(os.RemoveAll(folder), os.CopyFS(folder, os.DirFS(kept))); err != nil {
			t.Fatal(err)
		}
		hurt := whole[:cut]
		if cut == len(whole) {
			hurt = slices.Clone(whole)
			hurt[len(hurt)/2] ^= 4
		}
		if err := errors.Join(os.WriteFile(path, file, 0o600), os.WriteFile(name, hurt, 0o600)); err != nil {
			t.Fatal(err)
		}
		s, r, err := OpenOrReplace(path, o, noon)
		if err != nil || r != nil {
			t.Fatalf("%d of %d octets left: %+v, %v", cut, len(whole), r, err)
		}
		torn := 0
		for _, st := range s.Streams(nil) {
			n := st.First
			for n < st.Next {
				records, err := s.Read(st.Name, n, nil, 1000)
				var te *TornError
				switch {
				case errors.As(err, &te):
					torn += int(te.To - te.N + 1)
					n = te.To + 1
				case err != nil:
					t.Fatalf("%d octets left: %v", cut, err)
				default:
					for _, rec := range records {
						if rec.N != n || string(rec.Body) != body(st.Name, int(n)) {
							t.Fatalf("%d octets left: %s %d is %q", cut, st.Name, rec.N, rec.Body)
						}
						n++
					}
				}
			}
		}
		if torn == 0 || torn > 60 {
			t.Errorf("%d octets left: %d records torn", cut, torn)
		}
		var all Batch
		for _, st := range s.Streams(nil) {
			all.Ack = append(all.Ack, Ack{st.Name, st.Next - 1})
		}
		mustCommit(t, s, all)
		tidyAll(t, s, noon.Add(48*time.Hour))
		if st := s.Stats(); st.Records != 0 || st.Bytes != 0 || st.Segments != 0 {
			t.Errorf("%d octets left: after all was taken %+v", cut, st)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// On a full disk acknowledged records go first, the least important class and
// the oldest before others, and those that wait stay.
func TestFullDiskTakesWhatWasAcknowledged(t *testing.T) {
	s := mustOpen(t, storePath(t), ringOptions())
	l := life{s: s, lag: 28}
	l.live(t, 60) // live/W1 is acknowledged to 58, hh/W1 to 30
	before := s.Stats()
	full := 2
	s.commitTx = func(tx *bolt.Tx) error {
		if full--; full >= 0 {
			return errors.Join(syscall.ENOSPC, tx.Rollback())
		}
		return tx.Commit()
	}
	mustCommit(t, s, Batch{Append: []Entry{entry("hh/W1", hours, 61, body("hh/W1", 61))}, At: noon})
	s.commitTx = (*bolt.Tx).Commit
	if st := state(s, "live/W1"); st.First == 1 || st.Acked != 58 {
		t.Errorf("live/W1 = %+v, want the oldest acknowledged ones gone", st)
	}
	if st := state(s, "hh/W1"); st.First != 1 || st.Acked != 30 || st.Next != 62 {
		t.Errorf("hh/W1 = %+v, want all of them", st)
	}
	if st := s.Stats(); st.Segments != before.Segments-2 || st.Dropped != 0 {
		t.Errorf("stats went from %+v to %+v, want two segments less and nothing dropped", before, st)
	}
	// With all of that gone, a full disk is an error, and what waits stays.
	s.commitTx = func(tx *bolt.Tx) error { return errors.Join(syscall.ENOSPC, tx.Rollback()) }
	if err := s.Commit(Batch{Append: []Entry{entry("hh/W1", hours, 62, "x")}, At: noon}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("commit: %v, want that the disk is full", err)
	}
	s.commitTx = (*bolt.Tx).Commit
	mustCommit(t, s, Batch{Put: []Put{{"k", []byte("v")}}})
	if st := state(s, "hh/W1"); int(st.Acked) != 30 || st.Next != 62 || st.First > 31 {
		t.Errorf("hh/W1 = %+v, want 31 to 61 waiting", st)
	}
	for _, r := range mustRead(t, s, "hh/W1", 31, 100) {
		if string(r.Body) != body("hh/W1", int(r.N)) {
			t.Errorf("hh/W1 %d is %q", r.N, r.Body)
		}
	}
}

// A store of which bbolt's file is torn gives back what was not acknowledged,
// from its segments too, and nothing that was.
func TestSalvageKnowsWhatWasAcknowledged(t *testing.T) {
	for _, tt := range []struct {
		name     string
		hurt     func(path string) error
		complete bool
		first    int // of what may come back
	}{
		{"both meta pages gone", func(path string) error { return overwrite(path, make([]byte, 2*os.Getpagesize())) }, false, 59},
		{"the file is missing", os.Remove, false, 1},
		{"a foreign file in its place", func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) }, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := storePath(t)
			s, err := Open(path, ringOptions())
			if err != nil {
				t.Fatal(err)
			}
			l := life{s: s, lag: 28}
			l.live(t, 60) // live/W1 is acknowledged to 58, hh/W1 to 30
			moved := int(s.streams[0].moved)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := tt.hurt(path); err != nil {
				t.Fatal(err)
			}
			s, r, err := OpenOrReplace(path, ringOptions(), noon)
			if err != nil || r == nil || r.SetAside == "" {
				t.Fatalf("replaced = %+v, %v", r, err)
			}
			closeAndCheck(t, s)
			got := map[string][]int{}
			report, err := Salvage(r.SetAside, func(r Record) error {
				if string(r.Body) != body(r.Stream, int(r.N)) {
					t.Errorf("%s %d is %q", r.Stream, r.N, r.Body)
				}
				got[r.Stream] = append(got[r.Stream], int(r.N))
				return nil
			})
			if err != nil || report.Complete != tt.complete {
				t.Errorf("report = %+v, %v", report, err)
			}
			hh, live := got["hh/W1"], got["live/W1"]
			if tt.complete || tt.first == 59 {
				if len(hh) != 30 || hh[0] != 31 || !slices.Equal(live, []int{59, 60}) {
					t.Errorf("came back %v and %v, want 31 to 60, and 59 and 60", hh, live)
				}
				return
			}
			// Without the file only segments are left, and what they knew: of hh/W1
			// a few acknowledged ones come again.
			if len(hh) == 0 || hh[0] < 5 || hh[0] > 31 || hh[len(hh)-1] != moved-1 || len(live) > 10 {
				t.Errorf("came back %v and %v, want up to %d, and nothing that was long acknowledged", hh, live, moved-1)
			}
		})
	}
}

func overwrite(path string, with []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(with, 0)
	return errors.Join(err, f.Close())
}

// A long queue that has drained leaves a small file behind.
func TestFilesStaySmall(t *testing.T) {
	o := ringOptions()
	o.Chunk = 64 << 10
	o.Classes[hours].Keep = 0
	s := mustOpen(t, storePath(t), o)
	filler := strings.Repeat("x", 700)
	for i := range 200 {
		var b Batch
		for range 50 {
			b.Append = append(b.Append, entry("hh/W1", hours, i, filler))
		}
		mustCommit(t, s, b)
		tidyAll(t, s, noon)
	}
	full := s.Stats()
	for n := uint64(500); n <= 10_000; n += 500 {
		mustCommit(t, s, Batch{Ack: []Ack{{"hh/W1", n}}})
		tidyAll(t, s, noon)
	}
	st := s.Stats()
	if st.FileSize > 20*o.Chunk || st.SegmentBytes != 0 || full.SegmentBytes < 6_000_000 {
		t.Errorf("with 10,000 records %+v, drained %+v", full, st)
	}
}
