package buffer

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// account holds what a store says of a stream against what was committed to it:
// each number is there, was acknowledged, or is told of once.
func account(t *testing.T, s *Store, stream string, committed uint64) (there, told int) {
	t.Helper()
	st := state(s, stream)
	if st.Next != committed+1 {
		t.Errorf("%s goes up to %d, want %d", stream, st.Next-1, committed)
	}
	gone := map[uint64]bool{}
	for _, r := range mustRead(t, s, "gap", 1, 1<<20) {
		var g Gap
		if err := json.Unmarshal(r.Body, &g); err != nil {
			t.Fatal(err)
		}
		if g.Stream != stream {
			continue
		}
		if g.Why != WhyFull || g.Count != int(g.To-g.From+1) || g.Since.IsZero() || g.Until.Before(g.Since) {
			t.Errorf("%+v, want one for a full disk, with its time", g)
		}
		for n := g.From; n <= g.To; n++ {
			if gone[n] {
				t.Errorf("%s %d is told of twice", stream, n)
			}
			gone[n] = true
		}
	}
	for n := range gone {
		if n >= st.First {
			t.Errorf("%s %d is told of and there", stream, n)
		}
	}
	return st.Count, len(gone)
}

// fullUntil makes commits fail as on a full disk so many times.
func fullUntil(s *Store, times int) {
	s.commitTx = func(tx *bolt.Tx) error {
		if times--; times >= 0 {
			return errors.Join(syscall.ENOSPC, tx.Rollback())
		}
		return tx.Commit()
	}
}

// On a full disk what waits and matters less than all of a batch goes for it, and
// is told of; what matters as much stays.
func TestFullDiskTakesWhatMattersLess(t *testing.T) {
	for _, tt := range []struct {
		name         string
		of           Class
		times        int // that the disk is full
		fails        bool
		live, halves bool // some of them go
	}{
		{"an alarm", alarms, 1, false, true, false},
		{"an alarm, and live readings do not do", alarms, 9, false, true, true},
		{"a half-hour", hours, 1, false, true, false},
		{"a half-hour, and live readings do not do", hours, 1000, true, true, false},
		{"a live reading", live, 1, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustOpen(t, storePath(t), ringOptions())
			const n = 60
			for i := range n {
				mustCommit(t, s, Batch{At: noon, Append: []Entry{entry("hh", hours, i, body("hh", i)), entry("live", live, i, body("live", i))}})
				tidyAll(t, s, noon)
			}
			if s.Stats().Segments < 8 {
				t.Fatalf("only %d segments", s.Stats().Segments)
			}
			fullUntil(s, tt.times)
			err := s.Commit(Batch{At: noon, Append: []Entry{entry("new", tt.of, n, "x")}})
			s.commitTx = (*bolt.Tx).Commit
			if tt.fails != errors.Is(err, syscall.ENOSPC) || !tt.fails && err != nil {
				t.Fatalf("commit: %v", err)
			}
			mustCommit(t, s, Batch{At: noon, Append: []Entry{entry("later", alarms, n, "x")}}) // tells what a failed one could not
			there, told := account(t, s, "live", n)
			if there+told != n || tt.live != (told > 0) {
				t.Errorf("%d live readings there, %d told of, of %d", there, told, n)
			}
			there, told = account(t, s, "hh", n)
			if there+told != n || tt.halves != (told > 0) {
				t.Errorf("%d half-hours there, %d told of, of %d", there, told, n)
			}
			checkStore(t, s)
		})
	}
}

// What waits in bbolt's own file makes room too.
func TestFullDiskTakesFromTheFile(t *testing.T) {
	o := ringOptions()
	o.Chunk = 1 << 20
	s := mustOpen(t, storePath(t), o)
	for i := range 40 {
		mustCommit(t, s, Batch{At: noon, Append: []Entry{entry("hh", hours, i, "h"), entry("live", live, i, strings.Repeat("x", 10_000))}})
	}
	mustCommit(t, s, Batch{Ack: []Ack{{"live", 5}}})
	full := true
	s.commitTx = func(tx *bolt.Tx) error {
		if full {
			full = false
			return errors.Join(syscall.ENOSPC, tx.Rollback())
		}
		return tx.Commit()
	}
	mustCommit(t, s, Batch{At: noon, Append: []Entry{entry("a", alarms, 41, "x")}})
	if st := state(s, "live"); st.First != 6 { // the acknowledged ones do
		t.Errorf("live = %+v, want those from 6 on", st)
	}
	full = true
	mustCommit(t, s, Batch{At: noon, Append: []Entry{entry("a", alarms, 41, "x")}, Ack: []Ack{{"live", 8}, {"gap", 9}}})
	if st := state(s, "live"); st.First != 9 { // acknowledged by this batch, and so not worth a word
		t.Errorf("live = %+v, want those from 9 on", st)
	}
	full = true
	mustCommit(t, s, Batch{At: noon, Append: []Entry{entry("a", alarms, 41, "x")}, Ack: []Ack{{"gap", 9}}})
	there, told := account(t, s, "live", 40)
	if there+told != 32 || told != 14 { // 128 KiB
		t.Errorf("%d live readings there, %d told of", there, told)
	}
	if st := state(s, "gap"); st.Acked != 0 || st.Count != 1 {
		t.Errorf("gap = %+v, want one that nobody has taken", st)
	}
	if st := state(s, "hh"); st.Count != 40 {
		t.Errorf("hh = %+v", st)
	}
}

// A crash between the end of a segment and the commit that tells of it leaves
// records that read as torn: they are missed by whoever reads them.
func TestCrashWhileMakingRoom(t *testing.T) {
	path := storePath(t)
	s, err := Open(path, ringOptions())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		mustCommit(t, s, Batch{At: noon, Append: []Entry{entry("live", live, i, body("live", i))}})
		tidyAll(t, s, noon)
	}
	fullUntil(s, 1000)
	if err := s.Commit(Batch{At: noon, Append: []Entry{entry("a", alarms, 41, "x")}}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("commit: %v", err)
	}
	s.commitTx = (*bolt.Tx).Commit
	if err := s.Close(); err != nil { // as the file is after a crash: nothing was committed
		t.Fatal(err)
	}
	if s, err = Open(path, ringOptions()); err != nil {
		t.Fatal(err)
	}
	st := state(s, "live")
	if st.First != 1 || st.Next != 41 {
		t.Fatalf("live = %+v, want all of them", st)
	}
	var torn, there []uint64
	for n := st.First; n < st.Next; {
		records, err := s.Read("live", n, nil, 1)
		var te *TornError
		switch {
		case errors.As(err, &te):
			for ; n <= te.To; n++ {
				torn = append(torn, n)
			}
		case err != nil:
			t.Fatal(err)
		default:
			there = append(there, records[0].N)
			n++
		}
	}
	if len(torn) == 0 || len(torn)+len(there) != 40 || len(there) > 0 && there[0] < slices.Max(torn) {
		t.Errorf("torn %v, there %v", torn, there)
	}
	mustCommit(t, s, Batch{At: noon, Ack: []Ack{{"live", 40}}})
	tidyAll(t, s, noon.Add(48*time.Hour)) // what is torn, too
	closeAndCheck(t, s)
}
