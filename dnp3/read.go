package dnp3

import (
	"time"

	"lvagent/dnp3/app"
	"lvagent/dnp3/link"
)

// mostItems is how many items one request may name, so that a short request
// cannot ask for the database a thousand times. A class poll has four; a list of
// indices one for each run of them.
const mostItems = 64

// source is where the objects of an item come from.
type source uint8

const (
	fromEvents source = iota
	fromStatic        // values of a type
	fromFrozen        // frozen counters
	fromDeadbands
	fromIdentity
	fromClock
)

// item is a part of a read that is still to be sent.
type item struct {
	source      source
	variation   uint8 // 0: the outstation chooses
	of          Type
	next, end   int       // positions of static values
	events      selection // which events
	left        int       // how many of them at most
	all, listed bool      // of group 0: every attribute, or their list
}

// plan is a read that is being answered.
type plan struct {
	items []item
	at    int
	until uint64 // the last event there was when the read came
	iin   app.IIN
	first bool // the fragment sent is the first
	more  bool // fragments follow
}

func (p *plan) clear() { *p = plan{items: p.items[:0]} }

func (p *plan) add(i item) {
	if len(p.items) == mostItems {
		p.iin |= app.ParameterError
		return
	}
	p.items = append(p.items, i)
}

// read answers a read. Events come first, so that no static value is older than
// an event that follows it.
func (s *session) read(f app.Fragment, now time.Duration, wall int64) {
	p := &s.plan
	p.clear()
	headers := f.Headers()
	for {
		h, ok := headers.Next()
		if !ok {
			break
		}
		s.planHeader(h)
	}
	p.iin |= headers.IIN()
	sortEventsFirst(p.items)
	p.until = s.events.seq
	p.first = true
	s.sendRead(app.Fir|f.Seq(), now, wall)
}

// sortEventsFirst moves items of events to the front and keeps the order
// otherwise.
func sortEventsFirst(items []item) {
	n := 0
	for i := range items {
		if items[i].source != fromEvents {
			continue
		}
		e := items[i]
		copy(items[n+1:i+1], items[n:i])
		items[n] = e
		n++
	}
}

func (s *session) continueRead(seq uint8, now time.Duration, wall int64) {
	s.plan.first = false
	s.sendRead(seq, now, wall)
}

// sendRead sends the next fragment of the plan.
func (s *session) sendRead(control uint8, now time.Duration, wall int64) {
	p := &s.plan
	s.response.begin(s.response.octets, s.master.MostFragment)
	carriesEvents := false
	for p.at < len(p.items) {
		i := &p.items[p.at]
		done := false
		if i.source == fromEvents {
			var n int
			n, done = s.pickEvents(&s.response, i, p.until, solicited)
			carriesEvents = carriesEvents || n > 0
		} else {
			done = s.addItem(&s.response, i, wall)
		}
		if !done {
			break
		}
		p.at++
	}
	p.more = p.at < len(p.items)
	if !p.more {
		control |= app.Fin
	}
	if p.more || carriesEvents || s.lost || s.broadcast == link.BroadcastConfirm {
		control |= app.Con
	}
	s.send(control, p.iin, now)
}

// pickEvents writes events of a selection until they are all or the fragment is
// full, which is said by done being false.
func (s *session) pickEvents(f *fragment, i *item, until uint64, p pool) (n int, done bool) {
	b := s.events
	ready := b.waitingOf(i.events)
	for at := b.first; at != none && i.left > 0 && ready > 0; {
		e := &b.slab[at]
		if e.seq > until {
			break
		}
		next := e.next
		if e.pool == waiting && i.events.has(e) {
			if !f.addEvent(e, i.variation) {
				return n, false
			}
			b.pick(at, p)
			i.left--
			n++
			ready--
		}
		at = next
	}
	return n, true
}

// addItem writes static values; false when the fragment is full.
func (s *session) addItem(f *fragment, i *item, wall int64) bool {
	switch i.source {
	case fromClock:
		f.close()
		if !f.room(10) {
			return false
		}
		f.octets = app.AppendTime(append(f.octets, 50, 1, byte(app.Count8), 1), wall)
		return true
	case fromIdentity:
		return s.o.config.addIdentity(f, i)
	}
	static, _ := i.of.Groups()
	for ; i.next < i.end; i.next++ {
		e := &s.o.db.points[i.of][i.next]
		group, variation, m := static, i.variation, e.value
		switch i.source {
		case fromStatic:
			variation = firstOf(variation, e.Static, groups[i.of].defaultStatic)
		case fromFrozen:
			group, m = 21, e.frozen
			variation = firstOf(variation, e.Frozen, 1)
		case fromDeadbands:
			group, m = 34, app.Measurement{Number: e.Deadband}
			variation = firstOf(variation, 3, 3)
		}
		if !f.addStatic(group, variation, e.Index, m) {
			return false
		}
	}
	return true
}

func firstOf(a, b, c uint8) uint8 {
	switch {
	case a != 0:
		return a
	case b != 0:
		return b
	}
	return c
}

// planHeader puts what a header asks for into the plan.
func (s *session) planHeader(h app.Header) {
	p := &s.plan
	whole := h.Qualifier == app.All
	counted := h.Qualifier >= app.Count8 && h.Qualifier <= app.Count32
	if sel, ok := selectionOf(h.Group, h.Variation); ok {
		if !whole && !counted {
			p.iin |= app.ParameterError
			return
		}
		left := 1 << 30
		if counted {
			left = int(min(h.Count, 1<<30))
		}
		variation := h.Variation
		if h.Group == 60 || h.Group == 111 {
			variation = 0
		}
		p.add(item{source: fromEvents, events: sel, variation: variation, left: left})
		return
	}
	switch {
	case h.Group == 60 && h.Variation == 1:
		if !whole {
			p.iin |= app.ParameterError
			return
		}
		for t := range types {
			if n := len(s.o.db.points[t]); n > 0 {
				p.add(item{source: fromStatic, of: t, end: n})
			}
		}
		if n := len(s.o.db.points[Counter]); n > 0 {
			p.add(item{source: fromFrozen, of: Counter, end: n})
		}
	case h.Group == 50 && h.Variation == 1:
		if !whole && (!counted || h.Count != 1) {
			p.iin |= app.ParameterError
			return
		}
		p.add(item{source: fromClock})
	case h.Group == 0:
		s.planIdentity(h)
	default:
		src, of, ok := staticOf(h.Group, h.Variation)
		if !ok {
			p.iin |= app.ObjectUnknown
			return
		}
		variation := h.Variation
		if of == OctetString {
			variation = 0
		}
		s.planStatic(h, item{source: src, of: of, variation: variation})
	}
}

// planStatic adds the points that a header names.
func (s *session) planStatic(h app.Header, i item) {
	p := &s.plan
	switch {
	case h.Qualifier == app.All:
		i.end = len(s.o.db.points[i.of])
		p.add(i)
	case h.IsRange():
		first, end, whole := s.o.db.within(i.of, h.Start, h.Stop)
		if !whole {
			p.iin |= app.ParameterError
		}
		if first < end {
			i.next, i.end = first, end
			p.add(i)
		}
	case h.IsPrefixed():
		for n := range int(h.Count) {
			index, _ := h.Object(n)
			at := s.o.db.find(i.of, index)
			if at < 0 {
				p.iin |= app.ParameterError
				continue
			}
			if last := len(p.items) - 1; n > 0 && last >= 0 && p.items[last].end == at && p.items[last].of == i.of && p.items[last].source == i.source {
				p.items[last].end++
				continue
			}
			i.next, i.end = at, at+1
			p.add(i)
		}
	default:
		p.iin |= app.ParameterError
	}
}

// selectionOf returns which events a group and variation mean.
func selectionOf(group, variation uint8) (selection, bool) {
	if group == 60 && variation >= 2 && variation <= 4 {
		return selection{kinds: allKinds, classes: 1 << (variation - 2)}, true
	}
	for k := range eventGroups {
		if eventGroups[k].group != group {
			continue
		}
		if _, ok := app.LayoutOf(group, variation); ok || variation == 0 || group == 111 {
			return selection{kinds: 1 << k, classes: 7}, true
		}
	}
	return selection{}, false
}

// staticOf returns where the static objects of a group come from.
func staticOf(group, variation uint8) (source, Type, bool) {
	_, known := app.LayoutOf(group, variation)
	known = known || variation == 0
	switch group {
	case 21:
		return fromFrozen, Counter, known
	case 34:
		return fromDeadbands, AnalogInput, known
	case 110:
		return fromStatic, OctetString, true
	}
	for t := range types {
		if groups[t].static == group {
			return fromStatic, t, known
		}
	}
	return 0, 0, false
}
