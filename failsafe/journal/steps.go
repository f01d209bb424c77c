package journal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// Step is one step of the engine.
type Step struct {
	N    uint64 // 0, 1, 2 of the run
	Stop bool   // an ordered end instead of a step
	Now  time.Duration
	Wall time.Time
	In   failsafe.Inputs
	// The records of the audit chain that it led to: Records of them from First.
	First   uint64
	Records uint64
}

// What a step's first octet says of it.
const (
	hasLoads = 1 << iota
	hasDraws
	hasFeedback
	hasRest    // inputs that are rare, as JSON
	hasClock   // the clock's worth is another than before
	hasWall    // the wall clock went another way than the monotonic one
	hasRecords // it led to records
	isStop
)

// row is a measured load or draw.
type row struct {
	name string
	i    [meter.Phases]meter.Milliamps
	at   time.Duration
	bits uint16 // two for the quality of each phase, one for frozen
}

// Writer writes steps into a block. It allocates next to nothing while the same
// ways are measured and nothing rare comes. It has one owner.
type Writer struct {
	groups []string
	body   []byte
	steps  int
	last   before
	rest   failsafe.Inputs
	loads  []row
	draws  []row
}

// before is what a step is told against.
type before struct {
	now   time.Duration
	wall  time.Time
	clock byte
	loads []row
	draws []row
}

// NewWriter returns a writer for an engine with these groups.
func NewWriter(groups []string) *Writer { return &Writer{groups: groups} }

// Len returns how many octets wait, not compressed.
func (w *Writer) Len() int { return len(w.body) }

// Add appends step s. One that can't be written leaves the block as it was.
func (w *Writer) Add(s *Step) error {
	if w.steps == 0 {
		w.body = binary.AppendUvarint(w.body[:0], s.N)
		w.last = before{loads: w.last.loads[:0], draws: w.last.draws[:0]}
	}
	w.rest = s.In
	w.rest.Clock, w.rest.Suspect = 0, false
	loads, draws, answers := w.sort(s), len(s.In.Draws) > 0 && len(w.draws) == len(s.In.Draws), w.plain(s.In.Feedback)
	if answers {
		w.rest.Feedback = nil
	}
	var rest []byte
	if !reflect.ValueOf(&w.rest).Elem().IsZero() {
		var err error
		if rest, err = json.Marshal(&w.rest); err != nil {
			return fmt.Errorf("write step %d of the journal: %w", s.N, err)
		}
	}
	what, at := byte(0), len(w.body)
	w.body = append(w.body, 0)
	if s.Stop {
		what |= isStop
	}
	w.body = appendSpan(w.body, s.Now-w.last.now)
	if !s.Wall.Equal(w.last.wall.Add(s.Now - w.last.now)) {
		what |= hasWall
		w.body = binary.AppendVarint(w.body, s.Wall.Unix())
		w.body = binary.AppendUvarint(w.body, uint64(s.Wall.Nanosecond()))
	}
	if c := clockByte(&s.In); c != w.last.clock {
		what |= hasClock
		w.body, w.last.clock = append(w.body, c), c
	}
	if s.Records > 0 {
		what |= hasRecords
		w.body = binary.AppendUvarint(binary.AppendUvarint(w.body, s.First), s.Records)
	}
	if loads {
		what |= hasLoads
		w.body, w.last.loads = appendRows(w.body, w.loads, w.last.loads)
	}
	if draws {
		what |= hasDraws
		w.body, w.last.draws = appendRows(w.body, w.draws, w.last.draws)
	}
	if answers {
		what |= hasFeedback
		w.body = binary.AppendUvarint(w.body, uint64(len(s.In.Feedback)))
		for i := range s.In.Feedback {
			f := &s.In.Feedback[i]
			g := w.group(f.Group) << 1
			if f.OK {
				g |= 1
			}
			w.body = binary.AppendUvarint(w.body, uint64(g))
			w.body = binary.AppendVarint(w.body, int64(f.Told))
			w.body = binary.AppendVarint(w.body, int64(f.Limit-f.Told))
		}
	}
	if rest != nil {
		what |= hasRest
		w.body = append(binary.AppendUvarint(w.body, uint64(len(rest))), rest...)
	}
	w.body[at] = what
	w.last.now, w.last.wall = s.Now, s.Wall
	w.steps++
	return nil
}

// sort brings loads and draws into their short form, and takes those that have
// one out of the rest. It reports whether the loads have.
func (w *Writer) sort(s *Step) (loads bool) {
	w.loads, w.draws = w.loads[:0], w.draws[:0]
	for i := range s.In.Loads {
		l := &s.In.Loads[i]
		if r := (row{l.Way, l.I, l.At, pack(l.Quality, l.Frozen)}); r.load() == *l {
			w.loads = append(w.loads, r)
		}
	}
	for i := range s.In.Draws {
		d := &s.In.Draws[i]
		if r := (row{d.Group, d.I, d.At, pack(d.Quality, [meter.Phases]bool{})}); r.draw() == *d {
			w.draws = append(w.draws, r)
		}
	}
	if len(w.draws) == len(s.In.Draws) && len(w.draws) <= mostRows {
		w.rest.Draws = nil
	} else {
		w.draws = w.draws[:0]
	}
	if len(w.loads) == len(s.In.Loads) && len(w.loads) <= mostRows {
		w.rest.Loads = nil
		return len(w.loads) > 0
	}
	return false
}

// plain reports whether there are answers, all of groups that are known and with
// nothing in them that the short form lacks.
func (w *Writer) plain(all []failsafe.Feedback) bool {
	for i := range all {
		f := &all[i]
		if (failsafe.Feedback{Group: f.Group, Told: f.Told, Limit: f.Limit, OK: f.OK}) != *f || w.group(f.Group) < 0 {
			return false
		}
	}
	return len(all) > 0
}

func (w *Writer) group(id string) int {
	for g := range w.groups {
		if w.groups[g] == id {
			return g
		}
	}
	return -1
}

// AppendTo appends the block to dst and begins the next one.
func (w *Writer) AppendTo(dst []byte) ([]byte, error) {
	if w.steps == 0 {
		return dst, nil
	}
	w.steps = 0
	return Seal(dst, StepsBlock, w.body)
}

func clockByte(in *failsafe.Inputs) byte {
	c := byte(in.Clock) << 1
	if in.Suspect {
		c |= 1
	}
	return c
}

func pack(q [meter.Phases]meter.Quality, frozen [meter.Phases]bool) (bits uint16) {
	for p := range q {
		bits |= uint16(q[p]&3) << (2 * p)
		if frozen[p] {
			bits |= 64 << p
		}
	}
	return bits
}

func (r *row) load() failsafe.Load {
	l := failsafe.Load{Way: r.name, I: r.i, At: r.at}
	for p := range l.Quality {
		l.Quality[p] = meter.Quality(r.bits >> (2 * p) & 3)
		l.Frozen[p] = r.bits>>(6+p)&1 == 1
	}
	return l
}

func (r *row) draw() failsafe.Draw {
	l := r.load()
	return failsafe.Draw{Group: r.name, I: l.I, Quality: l.Quality, At: l.At}
}

// appendSpan writes a span that is, as a rule, of whole milliseconds.
func appendSpan(dst []byte, d time.Duration) []byte {
	ms, rest := int64(d/time.Millisecond), int64(d%time.Millisecond)
	u := uint64(ms<<1^ms>>63) << 1
	if rest == 0 {
		return binary.AppendUvarint(dst, u)
	}
	return binary.AppendVarint(binary.AppendUvarint(dst, u|1), rest)
}

// What a row's first octet says has changed: bit 0 its bits, bits 1 to 3 the
// currents; its time follows in any case. An octet of 128 says: nothing.
const rowSame = 128

// appendRows writes rows against those of the step before, and returns these for
// the next.
func appendRows(dst []byte, rows, last []row) ([]byte, []row) {
	same := len(rows) == len(last)
	for i := 0; same && i < len(rows); i++ {
		same = rows[i].name == last[i].name
	}
	if same {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(rows)))
		last = last[:0]
		for i := range rows {
			dst = append(binary.AppendUvarint(dst, uint64(len(rows[i].name))), rows[i].name...)
			last = append(last, row{name: rows[i].name})
		}
	}
	for i := range rows {
		r, l := &rows[i], &last[i]
		if *r == *l {
			dst = append(dst, rowSame)
			continue
		}
		at := len(dst)
		dst = appendSpan(append(dst, 0), r.at-l.at)
		if r.bits != l.bits {
			dst[at] |= 1
			dst = binary.AppendUvarint(dst, uint64(r.bits))
		}
		for p := range r.i {
			if r.i[p] != l.i[p] {
				dst[at] |= 2 << p
				dst = binary.AppendVarint(dst, int64(r.i[p]-l.i[p]))
			}
		}
		*l = *r
	}
	return dst, last
}
