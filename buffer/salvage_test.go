package buffer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fullStore makes a store with records of two streams, of which the first ten
// are acknowledged, and returns what must be there, and all that ever was.
func fullStore(t *testing.T, path string) (want, all map[string][]byte) {
	t.Helper()
	s, err := Open(path, Options{Classes: []Limit{{}, {}}, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	want, all = map[string][]byte{}, map[string][]byte{}
	at := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	for i := range 60 {
		var b Batch
		for j, stream := range []string{"hh/W1", "alarm/W1"} {
			body := bytes.Repeat(fmt.Appendf(nil, "%s %d ", stream, i+1), 1+i*j*12)
			b.Append = append(b.Append, Entry{Stream: stream, Class: Class(j), At: at, Body: body})
			all[fmt.Sprint(stream, i+1)] = body
			if i >= 10 {
				want[fmt.Sprint(stream, i+1)] = body
			}
		}
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
	}
	// The pages of what is acknowledged last are free, and not yet used again.
	if err := s.Commit(Batch{Ack: []Ack{{"hh/W1", 10}, {"alarm/W1", 10}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return want, all
}

// salvage reads a store and checks that all it gives is what was stored, once
// and in order.
func salvage(t *testing.T, path string, want map[string][]byte) (given int, complete bool) {
	t.Helper()
	last := map[string]uint64{}
	n := 0
	report, err := Salvage(path, func(r Record) error {
		if body, ok := want[fmt.Sprint(r.Stream, r.N)]; !ok || !bytes.Equal(body, r.Body) {
			t.Errorf("salvaged %s %d, %d octets, which nobody stored", r.Stream, r.N, len(r.Body))
		}
		if r.N <= last[r.Stream] {
			t.Errorf("salvaged %s %d after %d", r.Stream, r.N, last[r.Stream])
		}
		last[r.Stream] = r.N
		n++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found, lost := 0, 0
	for _, s := range report.Streams {
		found += s.Found
		lost += s.Lost()
		if s.Lost() < 0 {
			t.Errorf("%+v: lost less than none", s)
		}
	}
	if found != n {
		t.Errorf("%d records given, %d reported", n, found)
	}
	// fullStore has 100 that are not acknowledged.
	if report.Complete && n+lost != 100 {
		t.Errorf("%d records given and %d told lost, of 100, and that is called complete", n, lost)
	}
	return n, report.Complete
}

func TestSalvageFindsAllOfASoundStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	want, _ := fullStore(t, path)
	if n, complete := salvage(t, path, want); n != len(want) || !complete {
		t.Errorf("salvaged %d of %d records, complete: %v", n, len(want), complete)
	}
}

// Without both meta pages nothing leads to the records any more.
func TestSalvageNeedsNoTree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	want, _ := fullStore(t, path)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 2*os.Getpagesize()), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, complete := salvage(t, path, want); n != len(want) || complete {
		t.Errorf("salvaged %d of %d records, complete: %v", n, len(want), complete)
	}
}

// Whatever the damage, nothing that was not stored comes out. What was
// acknowledged may come again, where the page that says so is lost.
func TestSalvageOfDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	_, all := fullStore(t, path)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(1, 2))
	broken := filepath.Join(t.TempDir(), "broken.db")
	best, sure := 0, 0
	for i := range 120 {
		bad := bytes.Clone(whole)
		if i%2 == 0 {
			bad = bad[:1+dice.IntN(len(whole))]
		}
		for range dice.IntN(40) {
			at := dice.IntN(len(bad))
			bad[at] ^= byte(1 + dice.IntN(255))
		}
		if err := os.WriteFile(broken, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		n, complete := salvage(t, broken, all)
		best = max(best, n)
		if complete {
			sure++
		}
	}
	if best == 0 || sure == 0 || sure == 120 {
		t.Errorf("at most %d salvaged; %d of 120 called complete", best, sure)
	}
}
