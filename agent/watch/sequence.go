package watch

import "fmt"

// Verdict is what a number says about the ones before it.
type Verdict uint8

// Verdicts.
const (
	First  Verdict = iota // of this stream that was seen, or the first since it was forgotten
	Next                  // nothing is missing before it
	Skips                 // others are missing before it, or on their way
	Fills                 // one that was missing
	Again                 // it was here before
	Old                   // too far back to tell
	Reborn                // the store is another one
)

var verdictNames = [...]string{"first", "next", "skips", "fills", "again", "old", "reborn"}

// String returns the name in JSON.
func (v Verdict) String() string { return verdictNames[min(int(v), len(verdictNames)-1)] }

// Number is a record's number and what it says.
type Number struct {
	G, N     uint64
	Verdict  Verdict
	From, To uint64 // what is missing, where Skips
}

func (n *Number) remark() string {
	switch n.Verdict {
	case Skips:
		if n.From == n.To {
			return fmt.Sprintf(", #%d is missing before it", n.From)
		}
		return fmt.Sprintf(", #%d to #%d are missing before it", n.From, n.To)
	case Fills:
		return ", which was missing"
	case Again:
		return ", which was here before"
	case Reborn:
		return fmt.Sprintf(", of store generation %d", n.G)
	default:
		return ""
	}
}

const (
	// mostStreams bounds the memory: some ten thousand agents with a dozen streams
	// each. The one that came first is forgotten first.
	mostStreams = 1 << 17
	longestKey  = 200
	window      = 64
)

type key struct{ agent, stream string }

// stream remembers the highest number and which of the 64 below it were here.
type stream struct {
	g, top uint64
	here   uint64 // bit i: top-i was here
}

type streams struct {
	most int
	all  map[key]*stream
	ring []key // in order of coming; the next to go is at
	at   int
}

func newStreams(most int) *streams { return &streams{most: most, all: map[key]*stream{}} }

func (s *streams) take(agent, name string, g, n uint64) Number {
	out := Number{G: g, N: n}
	if len(agent)+len(name) > longestKey {
		return out // no agent has such a name; it is not worth the memory
	}
	k := key{agent, name}
	st, known := s.all[k]
	if !known {
		s.add(k, &stream{g: g, top: n, here: 1})
		return out
	}
	switch {
	case g > st.g:
		*st = stream{g: g, top: n, here: 1}
		out.Verdict = Reborn
	case g < st.g:
		out.Verdict = Old
	case n > st.top:
		out.Verdict = Next
		if n > st.top+1 {
			out.Verdict, out.From, out.To = Skips, st.top+1, n-1
		}
		st.here <<= min(n-st.top, window)
		st.here |= 1
		st.top = n
	case st.top-n >= window:
		out.Verdict = Old
	case st.here&(1<<(st.top-n)) != 0:
		out.Verdict = Again
	default:
		st.here |= 1 << (st.top - n)
		out.Verdict = Fills
	}
	return out
}

func (s *streams) add(k key, st *stream) {
	if len(s.ring) < s.most {
		s.ring = append(s.ring, k)
	} else {
		delete(s.all, s.ring[s.at])
		s.ring[s.at] = k
		s.at = (s.at + 1) % s.most
	}
	s.all[k] = st
}
