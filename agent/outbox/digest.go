package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"lvagent/agent/ledger"
	"lvagent/agent/message"
	"lvagent/buffer"
)

// digestsKey is where the store keeps how far each way has been digested.
const digestsKey = "digests"

// digested is how far a way has been digested.
type digested struct {
	To  uint64    // the last record that is in a digest
	End time.Time // of the last digest
}

// digests make one digest per way and day. They are owned by Run.
type digests struct {
	every   time.Duration
	done    map[string]digested
	looked  map[string]uint64 // the next number when a stream was last looked at
	failing bool
}

// resumeDigests reads how far the store's records have been digested.
func (o *Outbox) resumeDigests(s *buffer.Store) error {
	o.digests.done, o.digests.looked = map[string]digested{}, map[string]uint64{}
	v, err := kept(s, digestsKey)
	if v == nil || err != nil {
		return err
	}
	if err := json.Unmarshal(v, &o.digests.done); err != nil {
		o.digests.done = map[string]digested{}
		return fmt.Errorf("resume digests: %w", err)
	}
	return nil
}

// digest makes at most one digest, of a way that has a record up to the end of
// its day, and says whether there may be more to do.
func (o *Outbox) digest(s *buffer.Store) bool {
	for _, st := range s.Streams(nil) {
		way, isHalfHour := strings.CutPrefix(st.Name, message.HalfHourStream(""))
		if !isHalfHour || st.Count == 0 || o.digests.looked[way] == st.Next {
			continue
		}
		made, err := o.digestWay(s, way, &st)
		switch {
		case err != nil && !o.digests.failing:
			o.log.Error("digest not made", "way", way, "err", err)
			o.digests.failing = true
		case err == nil:
			o.digests.failing = false
		}
		if !made {
			o.digests.looked[way] = st.Next
		}
		if made {
			return true
		}
	}
	return false
}

func (o *Outbox) digestWay(s *buffer.Store, way string, st *buffer.StreamState) (made bool, err error) {
	done := o.digests.done[way]
	if st.Next-1 <= done.To {
		return false, nil
	}
	newest, err := s.Read(st.Name, st.Next-1, nil, 1)
	if err != nil && !errors.Is(err, buffer.ErrTorn) {
		return false, err
	}
	var sum *ledger.Sum
	var end time.Time
	last := done.To
	err = eachRecord(s, st.Name, done.To+1, func(r *buffer.Record) bool {
		start := r.At.Add(-time.Millisecond)
		if h, err := ledger.Read(r.Body); err == nil {
			start = h.Start
		}
		if sum == nil {
			from := start.Truncate(o.digests.every)
			if from.Before(done.End) {
				from = done.End // a later revision of a period that is in a digest already
			}
			end = from.Add(o.digests.every)
			if len(newest) == 0 || newest[0].At.Before(end) {
				return false
			}
			sum = ledger.NewSum(way, st.Name, from, end)
		}
		if !start.Before(end) {
			return false
		}
		sum.Add(r.N, r.G, r.Body)
		last = r.N
		return true
	})
	if err != nil || sum == nil {
		return false, err
	}
	d := sum.Digest()
	o.digests.done[way] = digested{To: last, End: end}
	state, err := json.Marshal(o.digests.done)
	if err != nil {
		return false, err
	}
	o.Store(false, []Record{{Stream: message.DigestStream, At: o.wall(), Body: message.AppendDigest(nil, o.agent, &d)}},
		Kept{Key: digestsKey, Value: state})
	return true, nil
}

// eachRecord calls f with each record of a stream from number n on that can be
// read, until f returns false.
func eachRecord(s *buffer.Store, stream string, n uint64, f func(*buffer.Record) bool) error {
	var page []buffer.Record
	for {
		var err error
		page, err = s.Read(stream, n, page[:0], 16)
		var t *buffer.TornError
		switch {
		case errors.As(err, &t):
			n = t.To + 1
			continue
		case err != nil:
			return err
		case len(page) == 0:
			return nil
		}
		for i := range page {
			if !f(&page[i]) {
				return nil
			}
		}
		n = page[len(page)-1].N + 1
	}
}
