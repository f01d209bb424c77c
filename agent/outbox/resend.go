package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lvagent/agent/ledger"
	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/buffer"
)

// Resend is a request of the centre for records once more: by number, or by the
// time at which they were due.
type Resend struct {
	ID           string
	Stream       string
	G            uint32 // 0: the present store
	From, To     uint64
	Since, Until time.Time // where From and To are 0
}

// Codes of a refused request.
const (
	NoStream     message.Code = "NO_STREAM" // the store has no such stream
	OutOfRange   message.Code = "RANGE"     // none of the range was ever numbered, or not all of it yet
	TooMany      message.Code = "TOO_MANY"
	DuplicateAsk message.Code = "DUPLICATE" // the request is queued already
	Replaced     message.Code = storeReplaced
)

// Reasons for which a record that was asked for is not there.
const (
	notKept       = "NOT_KEPT" // it was sent and acknowledged, and is kept no longer
	torn          = "TORN"
	storeReplaced = "STORE_REPLACED"
)

// mostResends bounds the requests that wait; a centre that asks for more is told
// to wait for the first.
const mostResends = 16

// mostMissing bounds the ranges that an answer lists.
const mostMissing = 100

// resendKey is where the store keeps the requests, so that a restart forgets
// none.
const resendKey = "resend"

const repeatPrefix = "resend/"

// repeat is a request that was taken. The first of them is carried out.
//
// A record is repeated only after its own turn: what waits is sent, and
// acknowledged, before it is sent once more. So a consumer sees the first copy
// of each record in order, whatever it asks for.
type repeat struct {
	ID       string
	Stream   string
	G        uint32
	From, To uint64
	Next     uint64 // the first that was not acknowledged this time
	Missing  []message.Range

	name string // of the stream that the uplink sees
}

// resends are the requests; they are guarded by Outbox.mu.
type resends struct {
	asked []Resend
	queue []*repeat
	named int
	dirty bool // differs from what is stored

	seeking int // Outbox.seeks
}

// Resend takes a request. The answer goes out as an acknowledgement of the
// command. It does not wait.
func (o *Outbox) Resend(r Resend) {
	o.mu.Lock()
	full := len(o.resends.asked)+o.resends.seeking+len(o.resends.queue) >= mostResends
	if !full {
		o.resends.asked = append(o.resends.asked, r)
	}
	o.mu.Unlock()
	if full {
		o.answer(r.ID, message.Rejected, TooMany, nil)
		return
	}
	o.nudge(true)
}

func (o *Outbox) answer(id string, stage message.Stage, code message.Code, detail []byte) {
	at := o.wall()
	a := message.Ack{ID: id, Command: message.ResendCommand, Stage: stage, Code: string(code), T: at, Detail: detail}
	if stage == message.Rejected {
		o.log.Warn("command refused", "command", id, "name", message.ResendCommand, "code", string(code))
	} else {
		o.log.Info("command", "command", id, "name", message.ResendCommand, "stage", string(stage))
	}
	o.Store(true, []Record{{Stream: message.AckStream, At: at, Body: message.AppendAck(nil, o.agent, &a)}})
}

// resumeResends takes up the requests that were not carried out.
func (o *Outbox) resumeResends(s *buffer.Store) error {
	v, err := s.Get(resendKey)
	if v == nil || err != nil {
		return err
	}
	var queue []*repeat
	if err := json.Unmarshal(v, &queue); err != nil {
		return fmt.Errorf("resume requests of the centre: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.resends.queue) > 0 {
		return nil // the store was opened again under a running agent
	}
	for _, r := range queue {
		o.enqueue(r)
	}
	return nil
}

// enqueue is for those who hold mu.
func (o *Outbox) enqueue(r *repeat) {
	o.resends.named++
	r.name = fmt.Sprint(repeatPrefix, o.resends.named)
	o.resends.queue = append(o.resends.queue, r)
}

// workResends takes up what was asked for and ends what is done. It is called by
// the owner of the store before each commit.
func (o *Outbox) workResends(s *buffer.Store) {
	o.mu.Lock()
	asked := o.resends.asked
	o.resends.asked = nil
	o.mu.Unlock()
	for _, ask := range asked {
		if code := o.take(s, ask); code != "" {
			o.answer(ask.ID, message.Rejected, code, nil)
		}
	}
	for {
		o.mu.Lock()
		var done *repeat
		if len(o.resends.queue) > 0 {
			first := o.resends.queue[0]
			if first.G != s.Generation() && first.Next <= first.To {
				first.miss(first.Next, first.To, storeReplaced)
			}
			if first.complete() {
				done = first
				o.resends.queue = slices.Delete(o.resends.queue, 0, 1)
				o.resends.dirty = true
			}
		}
		o.mu.Unlock()
		if done == nil {
			return
		}
		o.finish(s, done)
	}
}

// take turns a request into a repeat, or says why not.
func (o *Outbox) take(s *buffer.Store, ask Resend) message.Code {
	r := &repeat{ID: ask.ID, Stream: ask.Stream, G: ask.G, From: ask.From, To: ask.To}
	if r.G == 0 {
		r.G = s.Generation()
	}
	unknown := func(code message.Code) message.Code {
		if ask.G == 0 && s.Generation() > 1 { // an older store may have had it
			return Replaced
		}
		return code
	}
	i, states := -1, s.Streams(nil)
	for k := range states {
		if states[k].Name == ask.Stream {
			i = k
		}
	}
	switch {
	case r.G > s.Generation():
		return OutOfRange
	case r.G < s.Generation() && r.From > 0: // what an older store numbered is not known here
	case i < 0:
		return unknown(NoStream)
	case r.From == 0:
		o.seeks = append(o.seeks, newSeek(ask, r.G, &states[i]))
		o.mu.Lock()
		o.resends.seeking++
		o.mu.Unlock()
		return ""
	case r.To >= states[i].Next:
		return unknown(OutOfRange)
	}
	return o.begin(r)
}

// begin queues a repeat, unless there is one of the same request.
func (o *Outbox) begin(r *repeat) message.Code {
	r.Next = r.From
	o.mu.Lock()
	duplicate := slices.ContainsFunc(o.resends.queue, func(q *repeat) bool { return q.ID == r.ID })
	if !duplicate {
		o.enqueue(r)
		o.resends.dirty = true
	}
	o.mu.Unlock()
	if duplicate {
		return DuplicateAsk
	}
	o.answer(r.ID, message.Received, "", nil)
	o.tellUplink()
	return ""
}

// complete says whether every record was acknowledged or is missing.
func (r *repeat) complete() bool {
	n := r.Next
	for _, m := range r.Missing {
		if m.From <= n && n <= m.To {
			n = m.To + 1
		}
	}
	return n > r.To
}

// miss notes that records are not there. Ranges are in order and do not overlap:
// what was noted before stays as it was.
func (r *repeat) miss(from, to uint64, why string) {
	to = min(to, r.To)
	for i := 0; i < len(r.Missing) && from <= to; i++ {
		switch m := &r.Missing[i]; {
		case m.To < from:
			if m.From > 0 && m.To+1 == from && m.Reason == why && (i+1 == len(r.Missing) || r.Missing[i+1].From > to) {
				m.To = to
				return
			}
		case m.From > from:
			r.Missing = slices.Insert(r.Missing, i, message.Range{From: from, To: min(to, m.From-1), Reason: why})
			from = r.Missing[i].To + 1
		default:
			from = m.To + 1
		}
	}
	if from <= to {
		r.Missing = append(r.Missing, message.Range{From: from, To: to, Reason: why})
	}
}

// finish tells the centre how a request ended.
func (o *Outbox) finish(s *buffer.Store, r *repeat) {
	detail := message.Resent{Stream: r.Stream, Generation: r.G, From: r.From, To: r.To, Sent: r.To - r.From + 1}
	for _, m := range r.Missing {
		if m.From > 0 {
			detail.Sent -= m.To - m.From + 1
		}
	}
	detail.Missing = slices.DeleteFunc(o.explain(s, r), func(m message.Range) bool { return m.Reason == notAsked })
	if len(detail.Missing) > mostMissing {
		detail.Missing = detail.Missing[:mostMissing]
	}
	o.answer(r.ID, message.Completed, "", message.AppendResent(nil, &detail))
	o.tellUplink() // of the next one
}

// explain gives the reason of the gap records for what was never sent.
func (o *Outbox) explain(s *buffer.Store, r *repeat) []message.Range {
	missing := slices.Clone(r.Missing)
	if !slices.ContainsFunc(missing, func(m message.Range) bool { return m.Reason == notKept }) {
		return missing
	}
	gaps, err := o.gapsOf(s, r.Stream)
	if err != nil {
		o.log.Error("gap records not read", "err", err)
	}
	for _, g := range gaps {
		if g.From == 0 {
			continue
		}
		var split []message.Range
		for _, m := range missing {
			from, to := max(m.From, g.From), min(m.To, g.To)
			if m.Reason != notKept || from > to {
				split = append(split, m)
				continue
			}
			if m.From < from {
				split = append(split, message.Range{From: m.From, To: from - 1, Reason: notKept})
			}
			split = append(split, message.Range{From: from, To: to, Reason: g.Why})
			if to < m.To {
				split = append(split, message.Range{From: to + 1, To: m.To, Reason: notKept})
			}
		}
		missing = split
	}
	return missing
}

// gapsOf reads what the gap records say of a stream.
func (o *Outbox) gapsOf(s *buffer.Store, stream string) (gaps []ledger.Gap, err error) {
	var page []buffer.Record
	for n := uint64(1); ; {
		if page, err = s.Read(message.GapStream, n, page[:0], 64); err != nil {
			var t *buffer.TornError
			if errors.As(err, &t) {
				n = t.To + 1
				continue
			}
			return gaps, err
		}
		if len(page) == 0 {
			return gaps, nil
		}
		for i := range page {
			if of, g, err := ledger.ReadGap(page[i].Body); err == nil && (of == stream || of == "*") {
				gaps = append(gaps, g)
			}
		}
		n = page[len(page)-1].N + 1
	}
}

// putResends returns the requests as they are stored, if that has changed.
func (o *Outbox) putResends() *buffer.Put {
	if !o.resends.dirty {
		return nil
	}
	o.resends.dirty = false
	if len(o.resends.queue) == 0 {
		return &buffer.Put{Key: resendKey}
	}
	v, err := json.Marshal(o.resends.queue)
	if err != nil {
		panic(err) // strings and numbers
	}
	return &buffer.Put{Key: resendKey, Value: v}
}

// repeatStream appends the stream that the first request is carried out as.
func (o *Outbox) repeatStream(dst []uplink.Stream, states []buffer.StreamState) []uplink.Stream {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.resends.queue) == 0 {
		return dst
	}
	r := o.resends.queue[0]
	for i := range states {
		if states[i].Name == r.Stream && !r.complete() {
			// It has time: it shares the backlog's window, and waits for what is on time.
			dst = append(dst, uplink.Stream{Name: r.name, Class: message.History,
				First: r.Next, Next: max(r.Next, min(r.To, states[i].Acked)+1)})
		}
	}
	return dst
}

// readRepeat reads records that are to be sent once more. What is not there is
// noted.
func (o *Outbox) readRepeat(s *buffer.Store, name string, from uint64, dst []uplink.Record, most int) ([]uplink.Record, error) {
	o.mu.Lock()
	var r *repeat
	if len(o.resends.queue) > 0 && o.resends.queue[0].name == name {
		r = o.resends.queue[0]
	}
	o.mu.Unlock()
	if r == nil {
		return dst, nil
	}
	last := uint64(0)
	for _, st := range s.Streams(nil) {
		if st.Name == r.Stream {
			last = min(r.To, st.Acked)
		}
	}
	miss := func(from, to uint64, why string) {
		o.mu.Lock()
		r.miss(from, to, why)
		o.resends.dirty = true
		o.mu.Unlock()
		o.nudge(false)
	}
	for end := last; from <= end; last = end {
		o.mu.Lock()
		from, last = r.asked(from)
		o.mu.Unlock()
		if last = min(last, end); from > last {
			return dst, nil
		}
		records, err := s.Read(r.Stream, from, nil, most)
		var t *buffer.TornError
		if errors.As(err, &t) {
			if t.N > from {
				miss(from, min(t.N-1, last), notKept)
			}
			miss(t.N, min(t.To, last), torn)
			from = t.To + 1
			continue
		}
		if err != nil {
			return dst, err
		}
		records = slices.DeleteFunc(records, func(rec buffer.Record) bool { return rec.N > last })
		if len(records) == 0 {
			miss(from, last, notKept)
			from = last + 1
			continue
		}
		if records[0].N > from {
			miss(from, records[0].N-1, notKept)
		}
		for _, rec := range records {
			dst = append(dst, uplink.Record{Stream: rec.Stream, N: rec.N, G: rec.G, At: rec.At, Body: rec.Body})
		}
		return dst, nil
	}
	return dst, nil
}

// ackRepeat notes that a repeated record was acknowledged.
func (o *Outbox) ackRepeat(name string, n uint64) {
	o.mu.Lock()
	if q := o.resends.queue; len(q) > 0 && q[0].name == name && n >= q[0].Next {
		q[0].Next = n + 1
		o.resends.dirty = true
	}
	o.mu.Unlock()
	o.nudge(false)
}

func isRepeat(stream string) bool { return strings.HasPrefix(stream, repeatPrefix) }
