package buffer

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// A disk on which every write fails, as when it is full: the store's own file
// descriptor is made to point to /dev/full for a while.
func TestDiskFull(t *testing.T) {
	path := storePath(t)
	o := testOptions()
	o.NoSync = false
	s := mustOpen(t, path, o)
	mustCommit(t, s, Batch{Append: []Entry{entry("hh", hours, 0, "a")}, Put: []Put{{"k", []byte("1")}}})
	before := fmt.Sprint(s.Streams(nil))

	fd := int(s.file.Fd())
	kept, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	b := Batch{
		Append: []Entry{entry("hh", hours, 1, strings.Repeat("x", 100_000)), entry("new", live, 1, "b")},
		Ack:    []Ack{{"hh", 1}},
		Put:    []Put{{"k", []byte("2")}},
	}
	small := Batch{Append: []Entry{entry("hh", hours, 1, "b")}}
	if err := syscall.Dup3(int(full.Fd()), fd, 0); err != nil {
		t.Fatal(err)
	}
	for i, b := range []Batch{b, small, b, small} {
		if err := s.Commit(b); err == nil {
			t.Errorf("commit %d to a full disk: no error", i)
		} else if errors.Is(err, ErrDamaged) || errors.Is(err, ErrInDoubt) {
			t.Errorf("commit %d to a full disk: %v, want an error after which it can be tried again", i, err)
		}
		if after := fmt.Sprint(s.Streams(nil)); after != before {
			t.Errorf("streams went from %s to %s", before, after)
		}
		if got, err := s.Get("k"); string(got) != "1" {
			t.Errorf("k = %q, %v, want 1", got, err)
		}
		checkStore(t, s)
	}
	if err := syscall.Dup3(kept, fd, 0); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Close(kept); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, b)
	if st := state(s, "hh"); st.First != 2 || st.Next != 3 {
		t.Errorf("hh = %+v, want record 2 only", st)
	}
	if got, err := s.Get("k"); string(got) != "2" {
		t.Errorf("k = %q, %v, want 2", got, err)
	}
}

// When even the second attempt to make a commit sure fails, nobody can know.
func TestCommitInDoubt(t *testing.T) {
	path := storePath(t)
	s := mustOpen(t, path, testOptions())
	s.commitTx = func(tx *bolt.Tx) error { return errors.Join(tx.Commit(), errAfter) }
	err := s.Commit(Batch{Append: []Entry{entry("hh", hours, 0, "a")}})
	if !errors.Is(err, ErrInDoubt) || !errors.Is(err, errAfter) {
		t.Fatalf("commit: %v, want ErrInDoubt and its cause", err)
	}
	s.commitTx = (*bolt.Tx).Commit // the disk is well again, but what it holds is not known
	if err := s.Commit(Batch{Append: []Entry{entry("hh", hours, 0, "a")}}); !errors.Is(err, ErrInDoubt) {
		t.Errorf("next commit: %v, want ErrInDoubt still", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path, testOptions())
	if st := state(s, "hh"); st.Next != 2 {
		t.Errorf("after opening again: %+v, want the record that was in doubt", st)
	}
}
