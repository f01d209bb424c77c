package uplink

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"lvagent/agent/message"
)

// outbox is a store in memory that remembers what was acknowledged.
type outbox struct {
	mu      sync.Mutex
	order   []string
	records map[string][]Record // still there
	first   map[string]uint64
	next    map[string]uint64
	acks    map[string]uint64
	fail    error // of the next reads
	reads   int
	wake    chan struct{}
}

func newOutbox() *outbox {
	return &outbox{
		records: make(map[string][]Record), first: make(map[string]uint64), next: make(map[string]uint64),
		acks: make(map[string]uint64), wake: make(chan struct{}, 1),
	}
}

// put commits records of a stream, each due at the time at.
func (o *outbox) put(stream string, at time.Time, bodies ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next[stream] == 0 {
		o.order = append(o.order, stream)
		o.first[stream], o.next[stream] = 1, 1
	}
	for _, body := range bodies {
		o.records[stream] = append(o.records[stream], Record{Stream: stream, N: o.next[stream], G: 1, At: at, Body: []byte(body)})
		o.next[stream]++
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// fill commits n records that differ.
func (o *outbox) fill(stream string, at time.Time, n int) {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"x":"%s-%d"}`, stream, i+1)
	}
	o.put(stream, at, bodies...)
}

// repeat offers records of a stream once more, as a stream called name.
func (o *outbox) repeat(name, stream string, from, to uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.order = append(o.order, name)
	o.first[name], o.next[name] = from, to+1
	for n := from; n <= to; n++ {
		o.records[name] = append(o.records[name], Record{Stream: stream, N: n, G: 1, At: now, Body: []byte(`{"x":"again"}`)})
	}
	o.wake <- struct{}{}
}

// end removes a stream.
func (o *outbox) end(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.order = slices.DeleteFunc(o.order, func(s string) bool { return s == name })
}

// lose drops the records of a stream without saying so.
func (o *outbox) lose(stream string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records[stream] = nil
}

// replace starts a stream again from 1, as a new store does.
func (o *outbox) replace(stream string) {
	o.mu.Lock()
	o.records[stream], o.first[stream], o.next[stream] = nil, 1, 1
	o.mu.Unlock()
}

func (o *outbox) failReads(err error) {
	o.mu.Lock()
	o.fail = err
	o.mu.Unlock()
}

func (o *outbox) Streams(dst []Stream) []Stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range o.order {
		dst = append(dst, Stream{Name: name, Class: message.ClassOf(name), First: o.first[name], Next: o.next[name]})
	}
	return dst
}

func (o *outbox) Read(stream string, from uint64, dst []Record, limit int) ([]Record, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	if o.fail != nil {
		return dst, o.fail
	}
	for _, r := range o.records[stream] {
		if r.N >= from && limit > 0 {
			dst = append(dst, r)
			limit--
		}
	}
	return dst, nil
}

func (o *outbox) Ack(stream string, n uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acks[stream] = max(o.acks[stream], n)
	for len(o.records[stream]) > 0 && o.records[stream][0].N <= n {
		o.records[stream] = o.records[stream][1:]
	}
	o.first[stream] = max(o.first[stream], n+1)
}

func (o *outbox) Wake() <-chan struct{} { return o.wake }

func (o *outbox) acked(stream string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.acks[stream]
}

func (o *outbox) nextOf(stream string) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next[stream]
}

func (o *outbox) readCount() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads
}

// eventually waits until done is true, and fails the test where it does not
// become so.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-poll.C:
		}
	}
}
