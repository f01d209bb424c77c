package ledger

import (
	"encoding/json"
	"slices"
	"time"
)

// State is where the record of a period is.
type State string

// States of a period.
const (
	Acknowledged State = "acknowledged" // the broker has it
	Waiting      State = "waiting"      // stored, to be sent
	Retired      State = "retired"      // the broker had it; it is kept here no longer
	DroppedState State = "dropped"
	Never        State = "never"    // there is no record
	Replaced     State = "replaced" // it was made for a store that broke, if ever, and was acknowledged: what waited was carried over or told
	Pending      State = "pending"
)

// Record is one stored record of a way.
type Record struct {
	Head
	N     uint64
	G     uint32
	Acked bool
}

// Gap is what a gap record says of a way's stream.
type Gap struct {
	From, To     uint64
	Why          string
	T            time.Time // when it was told
	Since, Until time.Time // when the records were due; zero: not known
}

// ReadGap reads the body of a gap record, and which stream it is about.
func ReadGap(body []byte) (stream string, g Gap, err error) {
	var b struct {
		Stream   string
		From, To uint64
		Why      string
		T        time.Time
		Since    time.Time
		Until    time.Time
	}
	err = json.Unmarshal(body, &b)
	return b.Stream, Gap{b.From, b.To, b.Why, b.T, b.Since, b.Until}, err
}

// Slot is what became of one period of one way.
type Slot struct {
	Way      string    `json:"way"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	State    State     `json:"state"`
	Reason   Reason    `json:"reason,omitempty"` // empty: there is a value
	Why      string    `json:"why,omitempty"`    // of a drop
	Partial  bool      `json:"partial,omitempty"`
	Coverage float64   `json:"coverage"`
	G        uint32    `json:"g,omitempty"`
	N        uint64    `json:"n,omitempty"`
	Rev      int       `json:"rev,omitempty"`
}

// Span is the range that is asked for.
type Span struct {
	Way        string
	From, To   time.Time // bounds of periods
	Period     time.Duration
	Now        time.Time
	First      uint64 // the oldest number that the store still has; 1: nothing was ever taken out
	OldestTime time.Time
	Successor  bool // the store took the place of one that broke
}

// settle is how long after its end a period's record may take to be stored.
const settle = time.Minute

// Slots answers for each period of the span, from the records and gaps of its
// way. Records are in order of number; of several revisions the highest counts.
func Slots(s Span, records []Record, gaps []Gap) []Slot {
	best := map[time.Time]*Record{}
	for i := range records {
		r := &records[i]
		if old := best[r.Start]; old == nil || r.Rev >= old.Rev {
			best[r.Start] = r
		}
	}
	var slots []Slot
	for at := s.From; at.Before(s.To); at = at.Add(s.Period) {
		slot := Slot{Way: s.Way, Start: at, End: at.Add(s.Period)}
		if r := best[at]; r != nil {
			slot.record(r)
		} else {
			slot.missing(&s, records, gaps)
		}
		slots = append(slots, slot)
	}
	return slots
}

func (slot *Slot) record(r *Record) {
	slot.State = Waiting
	if r.Acked {
		slot.State = Acknowledged
	}
	slot.Reason, slot.Partial, slot.Coverage = r.Reason(), r.Partial(), r.Coverage
	slot.G, slot.N, slot.Rev = r.G, r.N, r.Rev
}

// missing says what became of a period that has no record in the store.
func (slot *Slot) missing(s *Span, records []Record, gaps []Gap) {
	if slot.End.Add(settle).After(s.Now) {
		slot.State = Pending
		return
	}
	if i := slices.IndexFunc(gaps, func(g Gap) bool { return g.covers(slot, records) }); i >= 0 {
		slot.State, slot.Reason, slot.Why = DroppedState, Dropped, gaps[i].Why
		return
	}
	older := s.OldestTime.IsZero() || !slot.End.After(s.OldestTime)
	switch {
	case older && s.First > 1:
		slot.State = Retired // those that had to go before they were sent are in gaps
	case older && s.Successor:
		slot.State, slot.Reason = Replaced, StoreReplaced
	case older:
		slot.State, slot.Reason = Never, BeforeStart
	case !slices.ContainsFunc(records, func(r Record) bool { return r.Start.After(slot.Start) }):
		slot.State, slot.Reason = Never, AgentDown
	default:
		slot.State, slot.Reason = Never, NotMade
	}
}

// covers says whether a period's record is among those that a gap tells of: by
// when they were due, else by the numbers of the records around it, else, where
// they never got numbers, by the time at which the gap was told.
func (g *Gap) covers(slot *Slot, records []Record) bool {
	if !g.Since.IsZero() {
		return !slot.End.Before(g.Since) && !slot.End.After(g.Until)
	}
	var before, after *Record
	for i := range records {
		r := &records[i]
		if r.Start.Before(slot.Start) {
			before = r
		} else if after == nil && r.Start.After(slot.Start) {
			after = r
		}
	}
	if g.From == 0 { // never numbered
		return !slot.End.After(g.T) && (before == nil || before.End.Before(slot.End)) && (after == nil || !after.Start.Before(slot.End)) &&
			before != nil
	}
	return (before == nil || before.N < g.From) && (after == nil || after.N > g.To) && (before != nil || after != nil)
}
