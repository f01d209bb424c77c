//go:build integration

package hwtest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/hwtest/bench"
)

// witness joins as a second consumer, who was never there before, and hears
// until it has enough or the broker has nothing more to say for a moment.
func (s *substation) witness(moment time.Duration, enough func(bench.Message) bool) bool {
	s.t.Helper()
	c, err := bench.JoinCentre(s.broker.addr, "bench-1", "witness")
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	for {
		select {
		case m := <-c.Heard():
			if enough(m) {
				return true
			}
		case <-time.After(moment):
			return false
		}
	}
}

// retained are the topics that the broker keeps.
func (s *substation) retained() []string {
	topics := map[string]bool{}
	s.witness(300*time.Millisecond, func(m bench.Message) bool {
		if m.Retained {
			topics[m.Topic] = true
		}
		return false
	})
	return slices.Sorted(maps.Keys(topics))
}

// missing are the numbers of each stream that the first consumer has not seen,
// below the highest that it has.
func (s *substation) missing() map[string][2]uint64 {
	all := map[string][2]uint64{}
	s.do(func() {
		for stream, seen := range s.seen.payloads {
			for n := range slices.Max(slices.Collect(maps.Keys(seen))) {
				if _, there := seen[n+1]; there {
					continue
				}
				span, found := all[stream]
				if !found {
					span[0] = n + 1
				}
				all[stream] = [2]uint64{span[0], n + 1}
			}
		}
	})
	return all
}

// R2, R16: a broker that restarts without persistence has lost every session,
// every retained message and all that it had acknowledged for a consumer that was
// away. The agent says again what is retained, is heard and obeys, and what the
// consumer missed comes on request.
func TestABrokerThatLosesItsSessions(t *testing.T) {
	s := newSubstation(t)
	s.do(func() { s.beats = true })
	s.startAgent()
	began := time.Now()
	eventually(t, "a first record of each way", 40*time.Second, func() bool { return s.every(began) })

	// The consumer is away; the broker acknowledges all the same.
	s.do(func() { s.centre.Close() })
	s.joined <- nil
	kept := s.retained()
	for _, topic := range []string{"up/status", "up/meta", "up/failsafe", "up/groups", "up/health", "up/alarmstate/W1"} {
		if !slices.Contains(kept, topic) {
			t.Errorf("%s is not retained; %q are", topic, kept)
		}
	}
	away, ends := time.Now(), map[string]time.Time{}
	if !s.witness(time.Minute, func(m bench.Message) bool {
		if strings.HasPrefix(m.Topic, "up/hh/") {
			var r struct {
				Way string
				End time.Time
			}
			if err := json.Unmarshal(m.Payload, &r); err != nil {
				t.Fatal(err)
			}
			ends[r.Way] = r.End
		}
		return !slices.ContainsFunc(s.world.Ways, func(way bench.Way) bool { return !ends[way.ID].After(away) })
	}) {
		t.Fatal("no record of each way while the consumer was away")
	}

	s.broker.kill()
	s.broker.start()
	eventually(t, "all that was retained, from a broker that knew nothing", 20*time.Second, func() bool { return slices.Equal(s.retained(), kept) })
	s.join()
	back := time.Now()
	zero := 0.0
	s.do(func() {
		if _, err := s.centre.Limit(time.Now(), bench.Limit{Way: "W1", Amps: &zero, Duration: time.Minute}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "a limit of 0 A on W1", 20*time.Second, func() bool { return s.permitted("W1") == 0 })
	eventually(t, "records of each way after the loss", time.Minute, func() bool { return s.every(back) })

	lost := s.missing()
	if _, is := lost["hh/W1"]; !is {
		t.Errorf("the consumer missed no record of W1: %v", lost)
	}
	for stream, span := range lost {
		s.do(func() {
			if _, err := s.centre.Resend(time.Now(), stream, 1, span[0], span[1]); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "what was missed", 20*time.Second, func() bool { return len(s.missing()) == 0 })
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.do(func() {
		if lost, _ := s.ledger.Lost(); lost != 0 || s.ledger.Conflicts != 0 || s.ledger.Holes() != 0 || s.ledger.Garbled != 0 {
			t.Errorf("lost %d, same number with other content %d, periods missing %d, unreadable %d; want none",
				lost, s.ledger.Conflicts, s.ledger.Holes(), s.ledger.Garbled)
		}
		t.Logf("missed %v", lost)
	})
}
