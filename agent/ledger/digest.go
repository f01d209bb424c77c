package ledger

import (
	"crypto/sha256"
	"hash"
	"slices"
	"strings"
	"time"

	"lvagent/agent/message"
)

// Sum makes one digest: of the records of a way, in order of number, that were
// given to it.
type Sum struct {
	digest  message.Digest
	hash    hash.Hash
	reasons map[Reason]uint64
	sealed  []byte
}

// NewSum begins the digest of a way's stream from start to end.
func NewSum(way, stream string, start, end time.Time) *Sum {
	return &Sum{
		digest: message.Digest{Way: way, Stream: stream, Start: start, End: end},
		hash:   sha256.New(), reasons: map[Reason]uint64{},
	}
}

// Add takes the next record: its number, the store's generation and its body.
func (s *Sum) Add(n uint64, g uint32, body []byte) {
	d := &s.digest
	if d.Count == 0 {
		d.From = n
	}
	d.To = n
	d.Count++
	s.sealed = append(message.Seal(s.sealed[:0], body, d.Stream, n, g), '\n')
	s.hash.Write(s.sealed)
	h, err := Read(body)
	if err != nil {
		s.reasons[Unreadable]++
		return
	}
	switch why := h.Reason(); {
	case why != "":
		s.reasons[why]++
	default:
		d.Values++
		if h.Partial() {
			d.Partial++
		}
	}
}

// Count is how many records were added.
func (s *Sum) Count() uint64 { return s.digest.Count }

// Digest returns the digest of what was added.
func (s *Sum) Digest() message.Digest {
	d := s.digest
	s.hash.Sum(d.Hash[:0])
	for why, n := range s.reasons {
		d.Reasons = append(d.Reasons, message.ReasonCount{Reason: string(why), Count: n})
	}
	slices.SortFunc(d.Reasons, func(a, b message.ReasonCount) int { return strings.Compare(a.Reason, b.Reason) })
	return d
}
