package outbox

import (
	"encoding/json"
	"errors"

	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/buffer"
)

// Follower reads the records beside the uplink that proves them. What it
// acknowledges is its own place in each stream and deletes nothing; records that
// the broker acknowledged stay readable for as long as the site file keeps them.
// It starts at what is not acknowledged. Its place is stored with the next batch,
// so that a restart neither repeats what was read nor leaves out what the other
// uplink was ahead by; a crash may repeat the last moment. It has no repetitions:
// those are for whoever asked.
type Follower struct {
	box  *Outbox
	next map[string]uint64
}

// followKey is where the store keeps the follower's place.
const followKey = "follow"

// Follow returns the follower; one goroutine uses it, and there is one.
func (o *Outbox) Follow() *Follower {
	f := &Follower{box: o, next: map[string]uint64{}}
	if body := o.Get(followKey); body != nil {
		if err := json.Unmarshal(body, &f.next); err != nil {
			o.log.Error("place of the second session not resumed", "err", err)
			f.next = map[string]uint64{}
		}
	}
	return f
}

// Unfollow forgets the place: a follower that comes later begins anew.
func (o *Outbox) Unfollow() {
	if o.Get(followKey) != nil {
		o.Store(false, nil, Kept{Key: followKey})
	}
}

// Streams appends the streams with what the follower has not read.
func (f *Follower) Streams(dst []uplink.Stream) []uplink.Stream {
	s := f.box.store.Load()
	if s == nil {
		return dst
	}
	for _, st := range s.Streams(nil) {
		from, known := f.next[st.Name]
		if !known || from > st.Next {
			from = st.Acked + 1
			f.next[st.Name] = from
		}
		from = max(from, st.First) // what is kept no longer
		dst = append(dst, uplink.Stream{Name: st.Name, Class: message.ClassOf(st.Name), First: from, Next: st.Next})
	}
	return dst
}

// Read appends records of stream from number from on. A damaged one is passed
// over: the uplink tells of it.
func (f *Follower) Read(stream string, from uint64, dst []uplink.Record, most int) ([]uplink.Record, error) {
	s := f.box.store.Load()
	if s == nil {
		return dst, nil
	}
	for {
		records, err := s.Read(stream, from, nil, most)
		var torn *buffer.TornError
		if errors.As(err, &torn) && len(records) == 0 {
			from = torn.To + 1
			continue
		}
		for _, r := range records {
			dst = append(dst, uplink.Record{Stream: r.Stream, N: r.N, G: r.G, At: r.At, Body: r.Body})
		}
		if torn != nil {
			err = nil
		}
		return dst, err
	}
}

// Ack notes the follower's place.
func (f *Follower) Ack(stream string, n uint64) {
	f.next[stream] = max(f.next[stream], n+1)
	body, err := json.Marshal(f.next)
	if err != nil {
		panic(err) // names and numbers
	}
	// Nobody is nudged: it is not worth a commit of its own.
	f.box.mu.Lock()
	f.box.puts[followKey] = body
	f.box.mu.Unlock()
}

// Wake is never sent to: the uplink that proves takes the wake-ups, and the
// follower looks by itself.
func (f *Follower) Wake() <-chan struct{} { return nil }
