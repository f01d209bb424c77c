package outbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"lvagent/agent/ledger"
	"lvagent/agent/message"
	"lvagent/buffer"
)

var errNoStore = errors.New("there is no store at the moment")

// Ledger returns what became of each period of a way from from to to, and the
// digests that were made of the days in it.
func (o *Outbox) Ledger(way string, from, to time.Time) (slots []ledger.Slot, digests []json.RawMessage, err error) {
	s := o.store.Load()
	if s == nil {
		return nil, nil, errNoStore
	}
	stream := message.HalfHourStream(way)
	span := ledger.Span{Way: way, From: from, To: to, Period: o.period, Now: o.wall(), First: 1, Successor: s.Generation() > 1}
	var records []ledger.Record
	for _, st := range s.Streams(nil) {
		if st.Name != stream || st.Count == 0 {
			continue
		}
		span.First = st.First
		if records, span.OldestTime, err = ledgerOf(s, &st, from, to); err != nil {
			return nil, nil, fmt.Errorf("ledger of way %s: %w", way, err)
		}
	}
	gaps, err := o.gapsOf(s, stream)
	if err != nil {
		return nil, nil, fmt.Errorf("ledger of way %s: %w", way, err)
	}
	err = eachRecord(s, message.DigestStream, 1, func(r *buffer.Record) bool {
		var d struct {
			Way        string
			Start, End time.Time
		}
		if json.Unmarshal(r.Body, &d) == nil && d.Way == way && d.Start.Before(to) && d.End.After(from) {
			digests = append(digests, message.Seal(nil, r.Body, r.Stream, r.N, r.G))
		}
		return true
	})
	return ledger.Slots(span, records, gaps), digests, err
}

// ledgerOf reads the heads of the records of periods from from to to, wherever
// they stand in the stream, and of the nearest before and after, whose numbers
// say what was lost between; and when the oldest of all was due.
func ledgerOf(s *buffer.Store, st *buffer.StreamState, from, to time.Time) (records []ledger.Record, oldest time.Time, err error) {
	var near [2]*buffer.Record
	take := func(r *buffer.Record) {
		if h, err := ledger.Read(r.Body); err == nil {
			records = append(records, ledger.Record{Head: h, N: r.N, G: r.G, Acked: r.N <= st.Acked})
		}
	}
	oldest = st.Oldest
	err = eachRecord(s, st.Name, st.First, func(r *buffer.Record) bool {
		if r.At.Before(oldest) {
			oldest = r.At
		}
		side := -1
		switch { // a half-hour is due at its end
		case !r.At.After(from) && (near[0] == nil || !r.At.Before(near[0].At)):
			side = 0
		case r.At.After(to) && (near[1] == nil || r.At.Before(near[1].At)):
			side = 1
		case r.At.After(from) && !r.At.After(to):
			take(r)
		}
		if side >= 0 {
			kept := *r
			near[side] = &kept
		}
		return true
	})
	for _, r := range near {
		if r != nil {
			take(r)
		}
	}
	slices.SortFunc(records, func(a, b ledger.Record) int { return cmp.Compare(a.N, b.N) })
	return records, oldest, err
}

// mostBehind is how many records behind the span are looked at.
const mostBehind = 64

// HalfHours calls each with the stored records of a way that start from from to
// before to, as they were or will be published, until each returns false. Of a
// period measured again there are several, the last revision last. It is for a
// picture, and quick: where a clock went back by hours, or an older store was
// carried over, it may leave some out.
func (o *Outbox) HalfHours(way string, from, to time.Time, each func(body []byte) bool) error {
	s := o.store.Load()
	if s == nil {
		return errNoStore
	}
	stream := message.HalfHourStream(way)
	for _, st := range s.Streams(nil) {
		if st.Name != stream || st.Count == 0 {
			continue
		}
		n, _, err := between(s, &st, from, to)
		if err != nil {
			return fmt.Errorf("read half-hours of way %s: %w", way, err)
		}
		behind := 0
		if err := eachRecord(s, stream, n, func(r *buffer.Record) bool {
			h, err := ledger.Read(r.Body)
			switch {
			case err != nil || h.Start.Before(from):
			case !h.Start.Before(to):
				behind++
			default:
				return each(message.Seal(nil, r.Body, r.Stream, r.N, r.G))
			}
			return behind < mostBehind
		}); err != nil {
			return fmt.Errorf("read half-hours of way %s: %w", way, err)
		}
	}
	return nil
}

// between finds the numbers of the stored records that were due from since to
// until, if they are in the order in which they were due.
func between(s *buffer.Store, st *buffer.StreamState, since, until time.Time) (from, to uint64, err error) {
	first := func(after func(time.Time) bool) uint64 {
		i := sort.Search(st.Count, func(i int) bool {
			if err != nil {
				return true
			}
			records, e := s.Read(st.Name, st.First+uint64(i), nil, 1)
			if e != nil || len(records) == 0 {
				if !errors.Is(e, buffer.ErrTorn) {
					err = e
				}
				return false
			}
			return after(records[0].At)
		})
		return st.First + uint64(i)
	}
	from = first(func(at time.Time) bool { return !at.Before(since) })
	to = first(func(at time.Time) bool { return at.After(until) }) - 1
	return from, to, err
}
