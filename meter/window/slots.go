package window

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// Readings that come before there is a trusted wall clock have no date yet. They
// are summed up in slots, short stretches of the monotonic clock, and each slot
// gets its period when the clock is set: the one with the larger part of it. So
// nothing is lost and nothing counts twice; what can be wrong is the share of a
// slot that a boundary runs through, and the record says CLOCK_UNSYNCED.
const (
	slotShare    = 200 // the first slots of a period: 9 s of a half-hour
	longestShare = 10  // no slot is longer than a tenth of a period
	// mostSlots bounds what waits for a date. When they are used up their length
	// is doubled, up to 144 s of a half-hour; after five hours the oldest goes.
	mostSlots = 128
)

type slots struct {
	length  int64    // ns
	longest int64    // ns
	done    []Period // Start, End and MaxAt on the monotonic clock, in order

	flags meter.Flags // of the clock, of all slots that are over
	clock meter.Clock
}

func newSlots(period int64) slots {
	ms := int64(time.Millisecond)
	return slots{length: max(period/slotShare/ms, 1) * ms, longest: period / longestShare, clock: meter.Synced}
}

// endOf returns where a slot that begins at start ends.
func (s *slots) endOf(start int64) int64 { return (fixed.FloorDiv(start, s.length) + 1) * s.length }

// keep takes a slot that is over.
func (s *slots) keep(p *Period) {
	s.flags |= p.Flags & meter.ClockBad
	s.clock = min(s.clock, p.Clock)
	if p.empty() {
		return
	}
	if len(s.done) == mostSlots {
		s.thin()
	}
	s.done = append(s.done, *p)
}

// thin makes room: by slots of twice the length, or by letting go of the oldest.
func (s *slots) thin() {
	if 2*s.length > s.longest {
		s.done = append(s.done[:0], s.done[1:]...)
		return
	}
	s.length *= 2
	kept := s.done[:0]
	for i := range s.done {
		p := &s.done[i]
		if n := len(kept); n > 0 && fixed.FloorDiv(kept[n-1].Start, s.length) == fixed.FloorDiv(p.Start, s.length) {
			kept[n-1].merge(p, 0)
			kept[n-1].End = p.End
			continue
		}
		kept = append(kept, *p)
	}
	s.done = kept
}

// empty reports whether nothing was asked and nothing was held in p.
func (p *Period) empty() bool {
	for i := range p.Phase {
		if p.Phase[i].Weight > 0 {
			return false
		}
	}
	return p.Samples+p.Bad == 0 && p.NeutralWeight == 0
}

// roll ends the slot under way, and those after it, that lie before at.
func (w *Window) roll(at int64) {
	for at >= w.open.End {
		end := w.open.End
		w.integrate(floorMilli(end))
		w.slots.keep(&w.open)
		start := end
		if !w.holdsAt(floorMilli(end)) {
			start = max(start, fixed.FloorDiv(at, w.slots.length)*w.slots.length)
		}
		w.open = Period{Start: start, End: w.slots.endOf(start), Clock: w.clock}
		w.open.note(w.clock)
	}
}

// holdsAt reports whether any value stands at, in milliseconds.
func (w *Window) holdsAt(at int64) bool {
	for i := range w.held {
		if w.held[i].until > at {
			return true
		}
	}
	return w.neutral.until > at
}

// label gives what was measured since the start its date, now that one is known.
func (w *Window) label(now, offset int64) {
	w.integrate(floorMilli(now))
	last := w.open
	last.End = max(now, last.Start)
	// The clock was not set in the periods in between either, polled or not.
	flags, clock := w.slots.flags|last.Flags&meter.ClockBad, min(w.slots.clock, last.Clock)
	done := w.slots.done
	w.slots = newSlots(w.period)
	w.labelled, w.offset = true, offset
	w.pickUp(w.startOf(w.began), flags)
	w.open.Flags |= flags | w.first
	w.open.Clock = min(w.open.Clock, clock)
	for i := range done {
		w.place(&done[i], flags)
	}
	w.place(&last, flags)
	w.goOn(w.startOf(now), flags)
	w.open.Clock = min(w.open.Clock, clock)
}

// place adds a slot to the period that has the larger part of it.
func (w *Window) place(slot *Period, flags meter.Flags) {
	w.goOn(w.startOf(slot.Start+(slot.End-slot.Start)/2), flags)
	for i := range w.open.Phase {
		if w.open.Phase[i].Weight >= fullWeight {
			return
		}
	}
	w.open.merge(slot, w.offset-w.open.Start)
	w.open.confine()
}

// goOn makes the period that starts at start the open one, unless a later one is.
func (w *Window) goOn(start int64, flags meter.Flags) {
	if start <= w.open.Start {
		return
	}
	w.shut()
	w.gap(w.open.End, start, flags)
	w.begin(start, start-w.offset)
	w.open.Flags |= flags
	if flags&meter.ClockBad != 0 {
		w.open.Clock = meter.Unsynced
	}
}

// confine brings the times of maxima into the period: those of a slot that a
// boundary runs through may lie beyond it.
func (p *Period) confine() {
	last := p.End - p.Start - 1
	for i := range p.Phase {
		s := &p.Phase[i]
		s.V.MaxAt = min(max(s.V.MaxAt, 0), last)
		s.I.MaxAt = min(max(s.I.MaxAt, 0), last)
	}
	p.Neutral.MaxAt = min(max(p.Neutral.MaxAt, 0), last)
}
