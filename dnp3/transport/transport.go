// Package transport cuts application fragments into segments that fit link
// frames, and puts them together again.
//
// An [Assembler] holds one fragment at most. A gap, a repeated number, a
// fragment that grows too long or a first segment in the middle of another
// fragment costs that fragment; nothing is ever mended by guessing.
//
// Requirement: SmartCAR R4, R16.
package transport

// Bits of a segment's header; the rest is its number.
const (
	Fin     = 0x80
	Fir     = 0x40
	seqMask = 0x3f
)

// MostData is the number of octets of a fragment that one segment carries.
const MostData = 249

// Assembler puts segments together. The zero value holds fragments of no
// octets; use [NewAssembler].
type Assembler struct {
	Discarded uint64 // fragments and segments that could not be used

	held   []byte
	active bool
	next   uint8
}

// NewAssembler returns an assembler for fragments of at most most octets.
func NewAssembler(most int) *Assembler { return &Assembler{held: make([]byte, 0, most)} }

// Add takes a segment. When it completes a fragment, that is returned; it is
// valid until the next call.
func (a *Assembler) Add(segment []byte) (fragment []byte, whole bool) {
	if len(segment) == 0 {
		return nil, false
	}
	header, data := segment[0], segment[1:]
	if header&Fir != 0 {
		if a.active {
			a.Discarded++
		}
		a.held, a.active = a.held[:0], true
	} else if !a.active || header&seqMask != a.next {
		a.Discarded++
		a.Reset()
		return nil, false
	}
	if len(data) == 0 || len(a.held)+len(data) > cap(a.held) {
		a.Discarded++
		a.Reset()
		return nil, false
	}
	a.held = append(a.held, data...)
	a.next = (header + 1) & seqMask
	if header&Fin == 0 {
		return nil, false
	}
	a.active = false
	return a.held, true
}

// Reset forgets what was collected.
func (a *Assembler) Reset() { a.held, a.active = a.held[:0], false }

// Segmenter numbers segments. The zero value is ready.
type Segmenter struct{ seq uint8 }

// Cut calls emit with each segment of fragment in turn; the segment is valid
// during the call. The scratch space has room for MostData+1 octets.
func (s *Segmenter) Cut(fragment []byte, scratch *[MostData + 1]byte, emit func(segment []byte)) {
	header := uint8(Fir)
	for len(fragment) > 0 {
		n := min(MostData, len(fragment))
		if n == len(fragment) {
			header |= Fin
		}
		scratch[0] = header | s.seq
		copy(scratch[1:], fragment[:n])
		emit(scratch[:n+1])
		s.seq = (s.seq + 1) & seqMask
		header, fragment = 0, fragment[n:]
	}
}
