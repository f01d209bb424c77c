package dnp3

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"lvagent/dnp3/app"
)

// ErrSaved is the error of what [Outstation.Save] did not write, or not whole.
var ErrSaved = errors.New("saved outstation is damaged")

const savedMark = "dnp3\x02"

// Save returns what should outlive a restart of the program: events that no
// master has confirmed, and what masters have set (deadbands, classes, cleared
// counters, frozen values). Current values are not in it; they come anew.
//
// What happens later is not in it: who restores it tells masters that events may be
// missing. [Outstation.SaveLast] is for the program's end, after the last update.
func (o *Outstation) Save(out []byte) []byte { return o.save(out, false) }

// SaveLast is Save at the program's end: nothing is missing in what it returns.
func (o *Outstation) SaveLast(out []byte) []byte { return o.save(out, true) }

func (o *Outstation) save(out []byte, last bool) []byte {
	begin := len(out)
	w := writer(append(out, savedMark...))
	w.bool(last)
	n := 0
	for _, e := range o.db.points[AnalogInput] {
		if e.written {
			n++
		}
	}
	w.uint(uint64(n))
	for _, e := range o.db.points[AnalogInput] {
		if e.written {
			w.uint(uint64(e.Index))
			w.float(e.Deadband)
		}
	}
	w.uint(uint64(len(o.db.points[Counter])))
	for _, e := range o.db.points[Counter] {
		w.uint(uint64(e.Index))
		w.uint(uint64(e.cleared))
		w.measurement(e.frozen)
	}
	w.uint(uint64(len(o.sessions)))
	for _, s := range o.sessions {
		s.save(&w)
	}
	return binary.LittleEndian.AppendUint32(w, crc32.ChecksumIEEE(w[begin:]))
}

func (s *session) save(w *writer) {
	w.uint(uint64(s.master.Address))
	w.bool(s.lost)
	assigned := s.assigned(nil)
	w.uint(uint64(len(assigned)))
	for _, a := range assigned {
		w.uint(uint64(a.list))
		w.uint(uint64(a.index))
		w.uint(uint64(a.class))
	}
	w.uint(uint64(s.events.n()))
	for at := s.events.first; at != none; at = s.events.slab[at].next {
		e := &s.events.slab[at]
		w.uint(uint64(e.kind))
		w.uint(uint64(e.index))
		w.uint(uint64(e.class))
		w.uint(uint64(e.variation))
		w.bool(e.synced)
		w.measurement(e.Measurement)
	}
}

// assignment is a class that differs from the configured one. List is the type,
// or types for frozen counters.
type assignment struct {
	list  Type
	index uint16
	class Class
}

func (s *session) assigned(out []assignment) []assignment {
	for t := range types {
		for i, e := range s.o.db.points[t] {
			if s.classes[t][i] != e.Class {
				out = append(out, assignment{t, e.Index, s.classes[t][i]})
			}
		}
	}
	for i, e := range s.o.db.points[Counter] {
		if s.frozenClasses[i] != e.FrozenClass {
			out = append(out, assignment{types, e.Index, s.frozenClasses[i]})
		}
	}
	return out
}

// Restore takes in what [Outstation.Save] or SaveLast returned, before the first update. It
// takes all or, when the octets are damaged, nothing. What belongs to masters or
// points that are no longer there is left out.
func (o *Outstation) Restore(saved []byte) error {
	if len(saved) < len(savedMark)+4 || string(saved[:len(savedMark)]) != savedMark {
		return fmt.Errorf("%w: not its beginning", ErrSaved)
	}
	body, sum := saved[:len(saved)-4], binary.LittleEndian.Uint32(saved[len(saved)-4:])
	if got := crc32.ChecksumIEEE(body); got != sum {
		return fmt.Errorf("%w: checksum %#x, want %#x", ErrSaved, got, sum)
	}
	// Read once to see that it is whole, once to take it in.
	for _, apply := range []bool{false, true} {
		r := reader{octets: body[len(savedMark):]}
		o.restore(&r, apply)
		if r.bad || len(r.octets) != 0 {
			return fmt.Errorf("%w: octet %d", ErrSaved, len(body)-len(r.octets))
		}
	}
	o.revision++
	return nil
}

func (o *Outstation) restore(r *reader, apply bool) {
	whole := r.bool()
	for n := r.uint(1 << 16); n > 0 && !r.bad; n-- {
		index, deadband := r.uint(math.MaxUint16), r.float()
		if at := o.db.find(AnalogInput, uint32(index)); apply && at >= 0 && deadband >= 0 && !math.IsInf(deadband, 0) {
			e := &o.db.points[AnalogInput][at]
			e.Deadband, e.written = deadband, true
		}
	}
	for n := r.uint(1 << 16); n > 0 && !r.bad; n-- {
		index, cleared, frozen := r.uint(math.MaxUint16), r.uint(math.MaxUint32), r.measurement()
		if at := o.db.find(Counter, uint32(index)); apply && at >= 0 {
			e := &o.db.points[Counter][at]
			e.cleared, e.frozen = uint32(cleared), frozen
		}
	}
	for n := r.uint(1 << 16); n > 0 && !r.bad; n-- {
		s := o.session(uint16(r.uint(math.MaxUint16)))
		if lost := r.bool(); apply && s != nil {
			s.lost = lost || !whole
		}
		for n := r.uint(1 << 20); n > 0 && !r.bad; n-- {
			a := assignment{Type(r.uint(uint64(types))), uint16(r.uint(math.MaxUint16)), Class(r.uint(3))}
			if apply && s != nil {
				s.reassign(a)
			}
		}
		for n := r.uint(1 << 32); n > 0 && !r.bad; n-- {
			e := event{kind: kind(r.uint(uint64(kinds) - 1)), index: uint16(r.uint(math.MaxUint16)), class: Class(r.uint(3)),
				variation: uint8(r.uint(math.MaxUint8)), synced: r.bool(), Measurement: r.measurement()}
			if e.class == NoEvents || e.kind == kind(OctetString) && e.Octets == "" {
				r.bad = true
			}
			if apply && s != nil && o.db.find(e.kind.of(), uint32(e.index)) >= 0 {
				s.events.add(e)
			}
		}
	}
}

// of is the type of the points that events of a kind belong to.
func (k kind) of() Type {
	switch k {
	case frozenCounter:
		return Counter
	case binaryCommand:
		return BinaryOutput
	case analogCommand:
		return AnalogOutput
	}
	return Type(k)
}

func (s *session) reassign(a assignment) {
	list, classes := a.list, s.frozenClasses
	if list == types {
		list = Counter
	} else {
		classes = s.classes[list]
	}
	if at := s.o.db.find(list, uint32(a.index)); at >= 0 {
		classes[at] = a.class
	}
}

type writer []byte

func (w *writer) uint(v uint64)   { *w = binary.AppendUvarint(*w, v) }
func (w *writer) float(v float64) { *w = binary.LittleEndian.AppendUint64(*w, math.Float64bits(v)) }
func (w *writer) bool(v bool) {
	if v {
		*w = append(*w, 1)
	} else {
		*w = append(*w, 0)
	}
}

func (w *writer) measurement(m app.Measurement) {
	w.float(m.Number)
	w.uint(uint64(len(m.Octets)))
	*w = append(*w, m.Octets...)
	w.uint(uint64(m.Flags))
	w.uint(uint64(m.Status))
	*w = binary.AppendVarint(*w, m.Time)
}

// reader reads what writer wrote; bad once anything did not fit.
type reader struct {
	octets []byte
	bad    bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.octets) {
		r.bad = true
		return make([]byte, 8)
	}
	out := r.octets[:n]
	r.octets = r.octets[n:]
	return out
}

func (r *reader) uint(most uint64) uint64 {
	v, n := binary.Uvarint(r.octets)
	if r.take(n); n == 0 || r.bad || v > most {
		r.bad = true
		return 0
	}
	return v
}

func (r *reader) float() float64 {
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.take(8)))
	if math.IsNaN(v) {
		r.bad = true
		return 0
	}
	return v
}

func (r *reader) bool() bool { return r.take(1)[0] == 1 }

func (r *reader) measurement() (m app.Measurement) {
	m.Number = r.float()
	if n := int(r.uint(255)); n > 0 && !r.bad {
		m.Octets = string(r.take(n))
	}
	m.Flags, m.Status = Flags(r.uint(255)), Status(r.uint(255))
	v, n := binary.Varint(r.octets)
	if r.take(n); n == 0 {
		r.bad = true
	}
	m.Time = v
	return m
}
