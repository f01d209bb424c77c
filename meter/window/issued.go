package window

import "math"

// Span is a stretch of time [From, To), in nanoseconds of UTC since 1970.
type Span struct{ From, To int64 }

// mostSpans bounds what is remembered of a clock that jumps about.
const mostSpans = 8

// issued is the time that has records, in order and without touching spans. It
// is one span unless the clock jumped to before the first record, or by more
// than MostSkipped. When it is full it forgets the earliest.
type issued struct {
	spans [mostSpans]Span
	n     int
}

// at reports whether time t has a record, and until when that holds.
func (s *issued) at(t int64) (until int64, was bool) {
	for _, sp := range s.spans[:s.n] {
		switch {
		case t < sp.From:
			return sp.From, false
		case t < sp.To:
			return sp.To, true
		}
	}
	return math.MaxInt64, false
}

// add notes that [from, to) has records.
func (s *issued) add(from, to int64) {
	var out [mostSpans + 1]Span
	n, placed := 0, false
	for _, sp := range s.spans[:s.n] {
		if sp.From <= to && from <= sp.To {
			from, to = min(from, sp.From), max(to, sp.To)
			continue
		}
		if !placed && to < sp.From {
			out[n], placed = Span{from, to}, true
			n++
		}
		out[n] = sp
		n++
	}
	if !placed {
		out[n] = Span{from, to}
		n++
	}
	kept := out[max(n-mostSpans, 0):n]
	s.n = copy(s.spans[:], kept)
}
