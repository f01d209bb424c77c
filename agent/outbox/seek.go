package outbox

import (
	"errors"
	"slices"
	"time"

	"lvagent/agent/message"
	"lvagent/buffer"
)

// Records of a stream are stored in the order of their numbers, which is that of
// time only as long as no clock was set back and no older store was carried over
// beside new records. So what was due in a time is looked for from the first
// record to the last, a few at a time: years of records must not keep the owner
// of the store from what is urgent.
const (
	seekRecords = 256 // in one step
	mostSpans   = 64  // that a request is carried out as
)

// notAsked marks the numbers within a request that were due at another time.
const notAsked = "NOT_ASKED"

// span is some consecutive numbers.
type span struct{ from, to uint64 }

// seek looks for the records that were due from ask.Since to ask.Until.
type seek struct {
	ask    Resend
	g      uint32
	state  buffer.StreamState // of the stream when the seek began
	next   uint64
	spans  []span
	going  bool      // the last record that was looked at is in the last span
	oldest time.Time // due time of the oldest record there is
}

func newSeek(ask Resend, g uint32, st *buffer.StreamState) *seek {
	return &seek{ask: ask, g: g, state: *st, next: st.First, oldest: st.Oldest}
}

// step looks at the next records, and says whether all have been. What is torn
// within a span belongs to it: whoever asks is told.
func (k *seek) step(s *buffer.Store) (done bool, err error) {
	page, err := s.Read(k.state.Name, k.next, nil, min(seekRecords, int(k.state.Next-k.next)))
	if torn, is := errors.AsType[*buffer.TornError](err); is {
		k.next = torn.To + 1
		return k.next >= k.state.Next, nil
	}
	if err != nil || len(page) == 0 {
		return true, err
	}
	for i := range page {
		k.look(page[i].N, page[i].At)
	}
	k.next = page[len(page)-1].N + 1
	return k.next >= k.state.Next, nil
}

func (k *seek) look(n uint64, at time.Time) {
	if at.Before(k.oldest) {
		k.oldest = at
	}
	in := !at.Before(k.ask.Since) && !at.After(k.ask.Until)
	switch {
	case in && k.going:
		k.spans[len(k.spans)-1].to = n
	case in:
		k.spans = append(k.spans, span{n, n})
		k.merge()
	}
	k.going = in
}

// merge keeps the spans few. Of more than that the closest are joined: to send
// what is between them is better than not to send what was asked for.
func (k *seek) merge() {
	if len(k.spans) <= mostSpans {
		return
	}
	at := 1
	for i := 2; i < len(k.spans); i++ {
		if k.spans[i].from-k.spans[i-1].to < k.spans[at].from-k.spans[at-1].to {
			at = i
		}
	}
	k.spans[at-1].to = k.spans[at].to
	k.spans = slices.Delete(k.spans, at, at+1)
}

// always is ready.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// seeking is ready while there is something to look for.
func (o *Outbox) seeking() <-chan struct{} {
	if len(o.seeks) == 0 || o.store.Load() == nil {
		return nil
	}
	return always
}

// seekOn does one step of the first seek.
func (o *Outbox) seekOn() {
	k, s := o.seeks[0], o.store.Load()
	code := Replaced
	if k.g == s.Generation() {
		done, err := k.step(s)
		if err == nil && !done {
			return
		}
		if code = OutOfRange; err != nil {
			o.log.Error("records asked for not found", "command", k.ask.ID, "err", err)
		} else {
			code = o.found(s, k)
		}
	}
	o.seeks = slices.Delete(o.seeks, 0, 1)
	o.mu.Lock()
	o.resends.seeking--
	o.mu.Unlock()
	if code != "" {
		o.answer(k.ask.ID, message.Rejected, code, nil)
	}
	o.nudge(true)
}

// found turns what was found into a repeat, or says why not.
func (o *Outbox) found(s *buffer.Store, k *seek) message.Code {
	before := k.state.First == 1 && s.Generation() > 1 && k.ask.Since.Before(k.oldest)
	switch {
	case len(k.spans) == 0 && before:
		return Replaced
	case len(k.spans) == 0:
		return OutOfRange
	}
	r := &repeat{ID: k.ask.ID, Stream: k.ask.Stream, G: k.g, From: k.spans[0].from, To: k.spans[len(k.spans)-1].to}
	if before { // numbers of the older store are not known here
		r.Missing = append(r.Missing, message.Range{Reason: storeReplaced})
	}
	for i := 1; i < len(k.spans); i++ {
		if from, to := k.spans[i-1].to+1, k.spans[i].from-1; from <= to {
			r.Missing = append(r.Missing, message.Range{From: from, To: to, Reason: notAsked})
		}
	}
	return o.begin(r)
}

// asked says up to where the numbers from n on were asked for; where n itself was
// not, from is the next that was.
func (r *repeat) asked(n uint64) (from, to uint64) {
	from, to = n, r.To
	for _, m := range r.Missing {
		switch {
		case m.Reason != notAsked || m.To < from:
		case m.From <= from:
			from = m.To + 1
		default:
			return from, m.From - 1
		}
	}
	return from, to
}
