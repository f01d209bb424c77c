package powercut

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvagent/buffer"
)

var began = time.Date(2026, 1, 12, 0, 0, 0, 0, time.UTC)

func options() buffer.Options {
	return buffer.Options{Chunk: 16 << 10, Classes: []buffer.Limit{{Name: "hh", MaxRecords: 100_000}, {Name: "live", MaxRecords: 100_000}},
		Tell: func(buffer.Gap) buffer.Entry { panic("nothing is dropped") }}
}

// body is record n, of a length of its own.
func body(stream string, n uint64) []byte {
	return []byte(fmt.Sprintf("%s %d %s", stream, n, strings.Repeat("x", int(n*37)%700)))
}

// The store on a disk that loses its power at any place: what was said to be
// committed is there, whole and in order, and nothing is there that was not handed
// over.
func TestStoreOutlivesPowerCuts(t *testing.T) {
	mount, end := mounted(t)
	dice := rand.New(rand.NewPCG(1, 1))
	store, err := buffer.Open(filepath.Join(mount, "records.db"), options())
	if err != nil {
		t.Fatal(err)
	}
	const commits = 60
	given := map[string]uint64{}
	for i := range commits {
		b := buffer.Batch{At: began.Add(time.Duration(i) * time.Second)}
		for range 1 + dice.IntN(12) {
			s, class := "hh/W1", buffer.Class(0)
			if dice.IntN(2) == 0 {
				s, class = "live/W1", 1
			}
			given[s]++
			b.Append = append(b.Append, buffer.Entry{Stream: s, Class: class, At: b.At, Body: body(s, given[s])})
		}
		b.Put = []buffer.Put{{Key: "state", Value: []byte(fmt.Sprint(given["hh/W1"], " ", given["live/W1"]))}}
		if err := store.Commit(b); err != nil {
			t.Fatal(err)
		}
		// A mark in the log: from here on this commit may not be lost.
		if err := os.WriteFile(filepath.Join(mount, fmt.Sprintf("mark-%d-%d", given["hh/W1"], given["live/W1"])), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for more := true; more; {
			if more, err = store.Tidy(b.At); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	log := end()
	cuts := 0
	promised := map[string]uint64{}
	for at := range log {
		if o := &log[at]; o.Kind == opCreate && strings.Contains(o.Name, "mark-") {
			var hh, live uint64
			if _, err := fmt.Sscanf(filepath.Base(o.Name), "mark-%d-%d", &hh, &live); err != nil {
				t.Fatal(err)
			}
			promised["hh/W1"], promised["live/W1"] = hh, live
		}
		if promised["hh/W1"] == 0 || dice.IntN(len(log)) >= 200 {
			continue
		}
		cuts++
		folder := t.TempDir()
		if err := log.Cut(at+1, dice, folder); err != nil {
			t.Fatal(err)
		}
		if fault := judge(folder, promised, given); fault != "" {
			t.Errorf("power cut after entry %d of %d (%s %s): %s", at, len(log), log[at].Kind, log[at].Name, fault)
		}
		if t.Failed() && cuts > 30 {
			break
		}
		os.RemoveAll(folder)
	}
	t.Logf("%d cuts in a log of %d entries", cuts, len(log))
}

// judge opens what is left and says what is wrong with it.
func judge(folder string, promised, given map[string]uint64) string {
	s, err := buffer.Open(filepath.Join(folder, "records.db"), options())
	if err != nil {
		return fmt.Sprint("the store does not open: ", err)
	}
	defer s.Close()
	next := map[string]uint64{}
	for _, st := range s.Streams(nil) {
		next[st.Name] = st.Next
		if st.First != 1 {
			return fmt.Sprintf("%s begins with %d", st.Name, st.First)
		}
		all, err := s.Read(st.Name, 1, nil, 100_000)
		if err != nil {
			return err.Error()
		}
		for i, r := range all {
			if r.N != uint64(i+1) || string(r.Body) != string(body(st.Name, r.N)) {
				return fmt.Sprintf("%s %d is %q", st.Name, r.N, r.Body)
			}
		}
		if uint64(len(all)) != st.Next-1 || st.Next-1 > given[st.Name] {
			return fmt.Sprintf("%s has %d records and goes to %d", st.Name, len(all), st.Next)
		}
	}
	for name, n := range promised {
		if next[name] <= n {
			return fmt.Sprintf("%s ends before %d, though %d was committed", name, next[name], n)
		}
	}
	kept, err := s.Get("state")
	if want := fmt.Sprint(next["hh/W1"]-1, " ", next["live/W1"]-1); err != nil || string(kept) != want {
		return fmt.Sprintf("the state says %q, the streams %q: %v", kept, want, err)
	}
	return ""
}
