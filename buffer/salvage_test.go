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
func salvage(t *testing.T, path string, want map[string][]byte) int {
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
	found := 0
	for _, s := range report {
		found += s.Found
		if s.Lost() < 0 {
			t.Errorf("%+v: lost less than none", s)
		}
	}
	if found != n {
		t.Errorf("%d records given, %d reported", n, found)
	}
	return n
}

func TestSalvageFindsAllOfASoundStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	want, _ := fullStore(t, path)
	if n := salvage(t, path, want); n != len(want) {
		t.Errorf("salvaged %d of %d records", n, len(want))
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
	if n := salvage(t, path, want); n != len(want) {
		t.Errorf("salvaged %d of %d records", n, len(want))
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
	best := 0
	for range 60 {
		bad := bytes.Clone(whole[:1+dice.IntN(len(whole))])
		for range dice.IntN(40) {
			at := dice.IntN(len(bad))
			bad[at] ^= byte(1 + dice.IntN(255))
		}
		if err := os.WriteFile(broken, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		best = max(best, salvage(t, broken, all))
	}
	if best == 0 {
		t.Error("nothing was salvaged of any")
	}
}
