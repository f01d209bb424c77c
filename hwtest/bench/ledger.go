package bench

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// Ledger counts what arrived at the broker: a record is known by its agent,
// store generation, stream and number, and each number must come once, in
// order, with none missing (R2).
type Ledger struct {
	streams map[streamKey]*stream
	gaps    []gap
	ways    map[string]*halfHours

	Records    int // distinct records
	Duplicates int // the same record again
	Conflicts  int // the same number again with another content
	Disorder   int // a new record after one with a higher number
	HalfHours  int // distinct half-hour records
	Raised     int // alarms raised
	Cleared    int // alarms cleared
	Garbled    int // messages on a record topic that could not be read
}

type streamKey struct {
	agent  string
	g      uint64
	stream string
}

type stream struct {
	highest uint64
	seen    map[uint64]uint64 // number to hash of the content
}

type gap struct {
	key      streamKey
	from, to uint64
}

// halfHours are the period starts of one way, to find a period without record.
type halfHours struct {
	starts map[time.Time]bool
	last   time.Time // end of the latest period
	period time.Duration
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{streams: map[streamKey]*stream{}, ways: map[string]*halfHours{}}
}

// Entry is what the ledger found in one record.
type Entry struct {
	Stream string `json:"s"`
	Number uint64 `json:"n"`
	New    bool   `json:"-"` // not a duplicate

	// Neutral keeps the neutral current, "N", out of Number: encoding/json
	// takes a key for a field that differs in case alone, unless another
	// field matches exactly.
	Neutral json.RawMessage `json:"N"`

	Agent string    `json:"agent"`
	G     uint64    `json:"g"`
	Way   string    `json:"way"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Rev   int       `json:"rev"`

	ID        string  `json:"id"`
	Edge      string  `json:"edge"`
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`

	Alarm  string `json:"alarm"` // of a live reading
	Before bool   `json:"pre"`   // taken before the alarm was raised

	Of   string `json:"stream"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	Why  string `json:"why"`
}

// Add enters one message of a record topic: one record, or an array of them as
// history topics may carry. It returns an entry for each record.
func (l *Ledger) Add(payload []byte) ([]Entry, error) {
	bodies := []json.RawMessage{payload}
	if trimmed := strings.TrimSpace(string(payload)); strings.HasPrefix(trimmed, "[") {
		if err := json.Unmarshal(payload, &bodies); err != nil {
			l.Garbled++
			return nil, fmt.Errorf("read array of records: %w", err)
		}
	}
	var entries []Entry
	for _, body := range bodies {
		e := Entry{}
		if err := json.Unmarshal(body, &e); err != nil {
			l.Garbled++
			return entries, fmt.Errorf("read record: %w", err)
		}
		if e.Stream == "" || e.Number == 0 {
			l.Garbled++
			return entries, fmt.Errorf("read record: no stream or number (s %q, n %d)", e.Stream, e.Number)
		}
		e.New = l.enter(&e, body)
		entries = append(entries, e)
	}
	return entries, nil
}

// enter counts one record and reports whether it is new.
func (l *Ledger) enter(e *Entry, body []byte) bool {
	key := streamKey{e.Agent, e.G, e.Stream}
	s := l.streams[key]
	if s == nil {
		s = &stream{seen: map[uint64]uint64{}}
		l.streams[key] = s
	}
	h := fnv.New64a()
	h.Write(body)
	hash := h.Sum64()
	if old, again := s.seen[e.Number]; again {
		l.Duplicates++
		if old != hash {
			l.Conflicts++
		}
		return false
	}
	s.seen[e.Number] = hash
	if e.Number < s.highest {
		l.Disorder++
	}
	s.highest = max(s.highest, e.Number)
	l.Records++

	kind, _, _ := strings.Cut(e.Stream, "/")
	switch kind {
	case "hh":
		l.HalfHours++
		l.period(e)
	case "alarm":
		switch e.Edge {
		case "raise":
			l.Raised++
		case "clear":
			l.Cleared++
		}
	case "gap":
		if e.To >= e.From && e.From > 0 {
			l.gaps = append(l.gaps, gap{streamKey{e.Agent, e.G, e.Of}, e.From, e.To})
		}
	}
	return true
}

// period notes that a way has a record for a period.
func (l *Ledger) period(e *Entry) {
	way := l.ways[e.Way]
	if way == nil {
		way = &halfHours{starts: map[time.Time]bool{}}
		l.ways[e.Way] = way
	}
	start, end := e.Start.UTC(), e.End.UTC()
	way.starts[start] = true
	way.period = end.Sub(start)
	if end.After(way.last) {
		way.last = end
	}
}

// Lost returns how many numbers between 1 and the highest of each stream are
// missing, and how many more are missing but explained by an up/gap record.
func (l *Ledger) Lost() (lost, explained int) {
	for key, s := range l.streams {
		for n := uint64(1); n < s.highest; n++ {
			if _, ok := s.seen[n]; ok {
				continue
			}
			if slices.ContainsFunc(l.gaps, func(g gap) bool { return g.key == key && g.from <= n && n <= g.to }) {
				explained++
			} else {
				lost++
			}
		}
	}
	return lost, explained
}

// Holes returns how many periods between the first and the last record of each
// way have no record. It finds what sequence numbers cannot show: a period that
// was never recorded.
func (l *Ledger) Holes() int {
	holes := 0
	for _, way := range l.ways {
		if way.period <= 0 {
			continue
		}
		first := way.last
		for start := range way.starts {
			if start.Before(first) {
				first = start
			}
		}
		for at := first; at.Before(way.last); at = at.Add(way.period) {
			if !way.starts[at] {
				holes++
			}
		}
	}
	return holes
}

// LastEnd returns the end of a way's latest period; zero when it has none.
func (l *Ledger) LastEnd(way string) time.Time {
	if w := l.ways[way]; w != nil {
		return w.last
	}
	return time.Time{}
}
