package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
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
		span.First, span.OldestTime = st.First, st.Oldest
		n, _, err := between(s, &st, from, to)
		if err != nil {
			return nil, nil, fmt.Errorf("ledger of way %s: %w", way, err)
		}
		// A period that was measured again, after a clock went back, is further on.
		behind := 0
		if n > st.First {
			n-- // the one before tells where numbers go on
		}
		if err := eachRecord(s, stream, n, func(r *buffer.Record) bool {
			h, err := ledger.Read(r.Body)
			if err != nil {
				return true
			}
			if !h.Start.Before(to) {
				behind++
			}
			records = append(records, ledger.Record{Head: h, N: r.N, G: r.G, Acked: r.N <= st.Acked})
			return behind < mostBehind
		}); err != nil {
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

// mostBehind is how many records behind the span are looked at.
const mostBehind = 64

// HalfHours calls each with every stored record of a way that starts from from to
// before to, as it was or will be published, until each returns false. Of a
// period measured again there are several, the last revision last.
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
