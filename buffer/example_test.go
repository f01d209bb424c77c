package buffer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lvagent/buffer"
)

func Example() {
	dir, err := os.MkdirTemp("", "buffer")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	s, replaced, err := buffer.OpenOrReplace(filepath.Join(dir, "queue.db"), buffer.Options{
		Classes: []buffer.Limit{
			{Name: "half-hours", MaxRecords: 2},
			{Name: "gaps", MaxRecords: 100, DropRank: 1},
		},
		Tell: func(g buffer.Gap) buffer.Entry {
			return buffer.Entry{Stream: "gap", Class: 1, At: g.At, Body: fmt.Appendf(nil, "%s %d to %d", g.Stream, g.From, g.To)}
		},
	}, noon)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	if replaced != nil {
		fmt.Println("a new store was started:", replaced.Cause)
	}

	// Three half-hours, but room for two.
	b := buffer.Batch{At: noon}
	for i, load := range []string{"201 A", "212 A", "198 A"} {
		b.Append = append(b.Append, buffer.Entry{
			Stream: "hh/W3", At: noon.Add(time.Duration(i) * 30 * time.Minute), Body: []byte(load),
		})
	}
	if err := s.Commit(b); err != nil {
		fmt.Println(err)
		return
	}
	for _, st := range s.Streams(nil) {
		records, err := s.Read(st.Name, st.First, nil, 64)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, r := range records {
			fmt.Printf("%d %s %d: %s\n", r.G, r.Stream, r.N, r.Body)
		}
	}

	// The centre has taken them.
	if err := s.Commit(buffer.Batch{Ack: []buffer.Ack{{Stream: "hh/W3", N: 3}}}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("left:", s.Stats().Records)
	// Output:
	// 1 hh/W3 2: 212 A
	// 1 hh/W3 3: 198 A
	// 1 gap 1: hh/W3 1 to 1
	// left: 1
}
