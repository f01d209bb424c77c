//go:build integration

package hwtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// digestOf is what a digest covers in these tests: two periods.
const digestOf = 20 * time.Second

// evidence is what a consumer keeps to check an agent's word: each payload as it
// came, by stream and number, and how often it came on a topic for history.
type evidence struct {
	payloads map[string]map[uint64][]byte
	again    map[string]map[uint64]int
	altered  []string
	done     map[string]resent
}

type resent struct {
	Sent    uint64
	Missing []json.RawMessage
}

func (e *evidence) note(topic string, payload []byte) {
	if e.payloads == nil {
		e.payloads, e.again, e.done = map[string]map[uint64][]byte{}, map[string]map[uint64]int{}, map[string]resent{}
	}
	var r struct {
		Stream string          `json:"s"`
		N      uint64          `json:"n"`
		Other  json.RawMessage `json:"N"` // differs from n in case alone
		ID     string          `json:"id"`
		Stage  string          `json:"stage"`
		Detail resent          `json:"detail"`
	}
	if json.Unmarshal(payload, &r) != nil {
		return // the ledger says so
	}
	if e.payloads[r.Stream] == nil {
		e.payloads[r.Stream], e.again[r.Stream] = map[uint64][]byte{}, map[uint64]int{}
	}
	if old, known := e.payloads[r.Stream][r.N]; known && !bytes.Equal(old, payload) {
		e.altered = append(e.altered, string(payload))
	}
	e.payloads[r.Stream][r.N] = payload
	if strings.HasPrefix(topic, "up/hist/") {
		e.again[r.Stream][r.N]++
	}
	if topic == "up/ack" && r.Stage == "completed" {
		e.done[r.ID] = r.Detail
	}
}

// mostRepeated is how many records are asked for: they come at 20 a second.
const mostRepeated = 400

// repeats asks for the newest records of a stream once more, and wants each of
// them again, octet for octet, on its topic for history.
func (s *substation) repeats(stream string) {
	s.t.Helper()
	var id string
	var first, last uint64
	before := map[uint64]int{}
	s.do(func() {
		for n, times := range s.seen.again[stream] {
			before[n] = times
		}
		for n := range s.seen.payloads[stream] {
			last = max(last, n)
		}
		first = max(1, last-min(last, mostRepeated)+1)
		var err error
		if id, err = s.centre.Resend(time.Now(), stream, 1, first, last); err != nil {
			s.t.Fatal(err)
		}
	})
	eventually(s.t, stream+" once more", time.Minute, func() (is bool) {
		s.do(func() { _, is = s.seen.done[id] })
		return is
	})
	s.do(func() {
		done := s.seen.done[id]
		if done.Sent != last-first+1 || len(done.Missing) != 0 {
			s.t.Errorf("%s %d to %d: %d sent, missing %s", stream, first, last, done.Sent, done.Missing)
		}
		for n := first; n <= last; n++ {
			if s.seen.again[stream][n] <= before[n] {
				s.t.Errorf("%s %d of %d did not come again", stream, n, last)
			}
		}
		if len(s.seen.altered) > 0 {
			s.t.Errorf("altered: %q", s.seen.altered)
		}
	})
}

// digests computes each digest from what arrived.
func (s *substation) digests() {
	s.t.Helper()
	s.do(func() {
		checked := 0
		next := map[string]uint64{}
		for n := uint64(1); s.seen.payloads["digest"][n] != nil; n++ {
			var d struct {
				Way, Stream, Hash string
				From, To, Count   uint64
			}
			if err := json.Unmarshal(s.seen.payloads["digest"][n], &d); err != nil {
				s.t.Fatal(err)
			}
			sum := sha256.New()
			for i := d.From; i <= d.To; i++ {
				sum.Write(append(bytes.Clone(s.seen.payloads[d.Stream][i]), '\n'))
			}
			if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != d.Hash || d.Count != d.To-d.From+1 || d.From != next[d.Way]+1 {
				s.t.Errorf("digest %s: what arrived gives %s; from should be %d", s.seen.payloads["digest"][n], got, next[d.Way]+1)
			}
			next[d.Way] = d.To
			checked++
		}
		if checked < 2*len(s.world.Ways) {
			s.t.Errorf("%d digests only", checked)
		}
		s.t.Logf("%d digests agree with what arrived", checked)
	})
}

// R2: what the centre asks for comes again, also when the link is cut meanwhile.
func TestRecordsComeAgainOverACut(t *testing.T) {
	s := newSubstation(t)
	s.startAgent()
	for i := range 400 {
		s.do(func() {
			if err := s.centre.Birth(time.Now()); err != nil {
				t.Error(err)
			}
		})
		if i%20 == 0 {
			time.Sleep(50 * time.Millisecond) // as fast as it may, and more would be refused
		}
	}
	eventually(t, "answers to most requests", time.Minute, func() (is bool) {
		s.do(func() { is = len(s.seen.payloads["ack"]) > 200 })
		return is
	})
	// The link is cut when the first few have come again: a request that was never
	// heard could not be answered.
	restored := make(chan error, 1)
	go func() {
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			again := 0
			s.do(func() { again = len(s.seen.again["ack"]) })
			if again > 5 {
				break
			}
		}
		s.link.Cut()
		time.Sleep(2 * time.Second)
		restored <- s.link.Restore()
	}()
	s.repeats("ack")
	if err := <-restored; err != nil {
		t.Fatal(err)
	}
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.complete()
}
