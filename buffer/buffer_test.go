package buffer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// classes of the tests: alarms, live readings, half-hours, and gaps.
const (
	alarms Class = iota
	live
	hours
	gaps
)

func testOptions() Options {
	return Options{
		Classes: []Limit{
			alarms: {Name: "alarm", DropRank: 3},
			live:   {Name: "live", DropRank: 0},
			hours:  {Name: "hh", DropRank: 1},
			gaps:   {Name: "gap", DropRank: 4},
		},
		Tell:   tellJSON,
		NoSync: true,
	}
}

func tellJSON(g Gap) Entry {
	body, _ := json.Marshal(g)
	return Entry{Stream: "gap", Class: gaps, At: g.At, Body: body}
}

func storePath(t testing.TB) string { return filepath.Join(t.TempDir(), "queue.db") }

// open opens a store that is closed and looked over at the end of the test.
func mustOpen(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAndCheck(t, s) })
	return s
}

func mustCommit(t testing.TB, s *Store, b Batch) {
	t.Helper()
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t testing.TB, s *Store, stream string, from uint64, max int) []Record {
	t.Helper()
	r, err := s.Read(stream, from, nil, max)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func state(s *Store, name string) StreamState {
	for _, st := range s.Streams(nil) {
		if st.Name == name {
			return st
		}
	}
	return StreamState{}
}

// checkStore compares what the store says of its streams with what it holds.
func checkStore(t fataler, s *Store) {
	t.Helper()
	for _, st := range s.Streams(nil) {
		all, err := s.Read(st.Name, 0, nil, 1<<30)
		if err != nil {
			t.Fatalf("read all of %s: %v", st.Name, err)
		}
		var bytes int64
		for i, r := range all {
			if r.N != st.First+uint64(i) {
				t.Fatalf("%s: record %d has n %d, want %d", st.Name, i, r.N, st.First+uint64(i))
			}
			bytes += int64(len(r.Body))
		}
		if len(all) != st.Count || st.Next != st.First+uint64(st.Count) || bytes != st.Bytes {
			t.Fatalf("%s: state %+v, but %d records of %d octets are there", st.Name, st, len(all), bytes)
		}
		if st.Count > 0 && !st.Oldest.Equal(all[0].At) {
			t.Fatalf("%s: oldest %v, want %v", st.Name, st.Oldest, all[0].At)
		}
	}
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// closeAndCheck closes a store and walks all pages of its file.
func closeAndCheck(t fataler, s *Store) {
	t.Helper()
	if s.ready() == nil {
		checkStore(t, s)
	}
	err := s.ready()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err != nil {
		return // it was closed or broken by the test
	}
	if err := checkPages(s.path); err != nil {
		t.Fatalf("pages after close: %v", err)
	}
}

func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := readMeta(f, info.Size())
	if err != nil {
		return err
	}
	if m.freelist == noFreelist {
		return errors.New("closed without its list of free pages")
	}
	c := &pageCheck{f: f, meta: m, seen: make([]uint64, m.pages/64+1)}
	return errors.Join(c.freelist(), c.tree(m.root, 0, nil, nil))
}

func entry(stream string, c Class, minute int, body string) Entry {
	return Entry{Stream: stream, Class: c, At: noon.Add(time.Duration(minute) * time.Minute), Body: []byte(body)}
}

func TestCommitAndReadBack(t *testing.T) {
	path := storePath(t)
	s := mustOpen(t, path, testOptions())
	if g := s.Generation(); g != 1 {
		t.Errorf("generation of the first store = %d, want 1", g)
	}
	odd := noon.Add(123456789 * time.Nanosecond).In(time.FixedZone("", 3600))
	mustCommit(t, s, Batch{Append: []Entry{
		entry("hh/W1", hours, 0, "a"), entry("hh/W2", hours, 0, ""), {Stream: "hh/W1", Class: hours, At: odd, Body: []byte("b")},
	}})
	for range 2 {
		got := mustRead(t, s, "hh/W1", 0, 10)
		if len(got) != 2 || got[0].N != 1 || got[1].N != 2 || string(got[0].Body) != "a" || string(got[1].Body) != "b" {
			t.Fatalf("hh/W1 = %+v, want a and b as 1 and 2", got)
		}
		if want := noon.Add(123 * time.Millisecond); got[1].At != want || got[1].G != 1 || got[1].Class != hours || got[1].Stream != "hh/W1" {
			t.Errorf("record 2 = %+v, want At %v, G 1, its class and stream", got[1], want)
		}
		if got := mustRead(t, s, "hh/W1", 2, 10); len(got) != 1 || got[0].N != 2 {
			t.Errorf("from 2: %+v, want record 2", got)
		}
		if got := mustRead(t, s, "hh/W1", 3, 10); len(got) != 0 {
			t.Errorf("from 3: %+v, want none", got)
		}
		if got := mustRead(t, s, "hh/W1", 1, 1); len(got) != 1 || got[0].N != 1 {
			t.Errorf("at most 1: %+v, want record 1", got)
		}
		if got := mustRead(t, s, "hh/W2", 1, 10); len(got) != 1 || len(got[0].Body) != 0 {
			t.Errorf("hh/W2 = %+v, want one empty record", got)
		}
		if got := mustRead(t, s, "hh/W9", 1, 10); len(got) != 0 {
			t.Errorf("unknown stream: %+v, want none", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, path, testOptions())
	}
}

func TestNumbersAreNeverUsedAgain(t *testing.T) {
	path := storePath(t)
	s := mustOpen(t, path, testOptions())
	mustCommit(t, s, Batch{Append: []Entry{entry("ack", alarms, 0, "a"), entry("ack", alarms, 1, "b")}})
	mustCommit(t, s, Batch{Ack: []Ack{{"ack", 2}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path, testOptions())
	if st := state(s, "ack"); st.First != 3 || st.Next != 3 || st.Count != 0 || !st.Oldest.IsZero() {
		t.Errorf("emptied stream = %+v, want First and Next 3", st)
	}
	mustCommit(t, s, Batch{Append: []Entry{entry("ack", alarms, 2, "c")}})
	if got := mustRead(t, s, "ack", 1, 10); len(got) != 1 || got[0].N != 3 {
		t.Errorf("after all were taken: %+v, want record 3", got)
	}
}

func TestAck(t *testing.T) {
	tests := []struct {
		name  string
		acks  []Ack
		first uint64
	}{
		{"none", []Ack{{"hh", 0}}, 1},
		{"the first", []Ack{{"hh", 1}}, 2},
		{"all but the last", []Ack{{"hh", 3}}, 4},
		{"all", []Ack{{"hh", 4}}, 5},
		{"more than there are", []Ack{{"hh", 99}}, 5},
		{"the highest number there is", []Ack{{"hh", 1<<64 - 1}}, 5},
		{"backwards", []Ack{{"hh", 3}, {"hh", 1}}, 4},
		{"unknown stream", []Ack{{"nn", 3}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustOpen(t, storePath(t), testOptions())
			for i := range 4 {
				mustCommit(t, s, Batch{Append: []Entry{entry("hh", hours, i, "x")}})
			}
			mustCommit(t, s, Batch{Ack: tt.acks})
			if st := state(s, "hh"); st.First != tt.first || st.Next != 5 {
				t.Errorf("stream = %+v, want First %d, Next 5", st, tt.first)
			}
		})
	}
}

func TestAckSparesRecordsOfItsOwnBatch(t *testing.T) {
	s := mustOpen(t, storePath(t), testOptions())
	mustCommit(t, s, Batch{Append: []Entry{entry("hh", hours, 0, "a")}})
	mustCommit(t, s, Batch{Append: []Entry{entry("hh", hours, 1, "b")}, Ack: []Ack{{"hh", 2}}})
	if st := state(s, "hh"); st.First != 2 || st.Count != 1 {
		t.Errorf("stream = %+v, want record 2 left", st)
	}
}

func TestPutAndGet(t *testing.T) {
	path := storePath(t)
	s := mustOpen(t, path, testOptions())
	mustCommit(t, s, Batch{Put: []Put{{"window", []byte("one")}, {"empty", []byte{}}, {"window", []byte("two")}, {"gone", []byte("x")}}})
	mustCommit(t, s, Batch{Put: []Put{{"gone", nil}, {"never", nil}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path, testOptions())
	for key, want := range map[string][]byte{"window": []byte("two"), "empty": {}, "gone": nil, "never": nil} {
		got, err := s.Get(key)
		if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("Get(%q) = %q, %v, want %q", key, got, err, want)
		}
	}
}

func TestCommitRefuses(t *testing.T) {
	long := string(make([]byte, maxName+1))
	tests := []struct {
		name string
		b    Batch
	}{
		{"a stream without name", Batch{Append: []Entry{{Body: []byte("x")}}}},
		{"a stream name too long", Batch{Append: []Entry{{Stream: long}}}},
		{"a class that is not there", Batch{Append: []Entry{{Stream: "hh", Class: 4}}}},
		{"an empty key", Batch{Put: []Put{{"", []byte("x")}}}},
		{"a key too long", Batch{Put: []Put{{long, nil}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustOpen(t, storePath(t), testOptions())
			tt.b.Append = append([]Entry{entry("good", hours, 0, "x")}, tt.b.Append...)
			if err := s.Commit(tt.b); err == nil {
				t.Error("commit took it")
			}
			if got := s.Streams(nil); len(got) != 0 {
				t.Errorf("streams = %+v, want none: a batch is taken whole or not at all", got)
			}
		})
	}
}

func TestNothingToDoWritesNothing(t *testing.T) {
	s := mustOpen(t, storePath(t), testOptions())
	mustCommit(t, s, Batch{Append: []Entry{entry("hh", hours, 0, "x")}, Ack: []Ack{{"hh", 1}}})
	before := s.Stats()
	mustCommit(t, s, Batch{})
	mustCommit(t, s, Batch{Ack: []Ack{{"hh", 0}, {"nn", 7}}})
	if after := s.Stats(); after != before {
		t.Errorf("stats went from %+v to %+v", before, after)
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	s := mustOpen(t, storePath(t), testOptions())
	mustCommit(t, s, Batch{Append: []Entry{entry("hh", hours, 0, "x")}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(Batch{Append: []Entry{entry("hh", hours, 0, "x")}}); !errors.Is(err, ErrClosed) {
		t.Errorf("commit: %v, want ErrClosed", err)
	}
	if _, err := s.Read("hh", 1, nil, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v, want ErrClosed", err)
	}
	if _, err := s.Get("k"); !errors.Is(err, ErrClosed) {
		t.Errorf("get: %v, want ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v, want none", err)
	}
	s.Stats()
}

func TestStreamTakesTheClassOfItsNewestRecord(t *testing.T) {
	path := storePath(t)
	s := mustOpen(t, path, testOptions())
	mustCommit(t, s, Batch{Append: []Entry{entry("x", live, 0, "x")}})
	mustCommit(t, s, Batch{Append: []Entry{entry("x", gaps, 1, "y")}})
	if st := state(s, "x"); st.Class != gaps {
		t.Errorf("class = %d, want %d", st.Class, gaps)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o := testOptions()
	o.Classes = o.Classes[:2]
	s = mustOpen(t, path, o)
	if st := state(s, "x"); st.Class != live {
		t.Errorf("class after it was taken away = %d, want the last, %d", st.Class, live)
	}
}

func TestSpaceIsUsedAgain(t *testing.T) {
	s := mustOpen(t, storePath(t), testOptions())
	body := string(make([]byte, 700))
	var n uint64
	var size int64
	for round := range 8 {
		for range 20 {
			var b Batch
			for range 50 {
				n++
				b.Append = append(b.Append, entry(fmt.Sprint("hh/W", n%5), hours, int(n), body))
			}
			mustCommit(t, s, b)
		}
		if round == 1 {
			size = s.Stats().FileSize
		}
		var b Batch
		for _, st := range s.Streams(nil) {
			b.Ack = append(b.Ack, Ack{st.Name, st.Next - 1})
		}
		mustCommit(t, s, b)
	}
	st := s.Stats()
	if st.Records != 0 || st.Bytes != 0 {
		t.Errorf("after all was taken: %+v", st)
	}
	if st.FileSize > size+growth {
		t.Errorf("file grew from %d to %d octets over six more rounds", size, st.FileSize)
	}
	if st.BytesWritten < 8*1000*700 {
		t.Errorf("octets written = %d, less than the bodies", st.BytesWritten)
	}
}

func TestReadersWhileWriting(t *testing.T) {
	s := mustOpen(t, storePath(t), testOptions())
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := s.Read("hh", 0, nil, 16)
				if err != nil {
					t.Error(err)
					return
				}
				for i, r := range got {
					if r.N != got[0].N+uint64(i) || string(r.Body) != fmt.Sprint("body ", r.N) {
						t.Errorf("record %d of a read from %d is %d %q", i, got[0].N, r.N, r.Body)
						return
					}
				}
				s.Streams(nil)
				s.Stats()
			}
		})
	}
	for n := 1; n <= 300; n++ {
		mustCommit(t, s, Batch{
			Append: []Entry{entry("hh", hours, n, fmt.Sprint("body ", n))},
			Ack:    []Ack{{"hh", uint64(max(0, n-20))}},
		})
	}
	close(done)
	wg.Wait()
}

func BenchmarkCommit(b *testing.B) {
	o := testOptions()
	o.NoSync = false
	s := mustOpen(b, storePath(b), o)
	body := string(make([]byte, 700))
	for n := 0; n < 20_000; {
		var batch Batch
		for range 200 {
			batch.Append = append(batch.Append, entry(fmt.Sprint("hh/W", n%10), hours, n, body))
			n++
		}
		mustCommit(b, s, batch)
	}
	before := s.Stats()
	n := 0
	for b.Loop() {
		mustCommit(b, s, Batch{Append: []Entry{entry(fmt.Sprint("hh/W", n%10), hours, n, body)}})
		n++
	}
	after := s.Stats()
	b.ReportMetric(float64(after.BytesWritten-before.BytesWritten)/float64(after.Commits-before.Commits), "written-B/op")
	b.ReportMetric(float64(after.FileSize)/float64(after.Bytes), "file/bodies")
}
