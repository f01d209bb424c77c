package uplink

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"lvagent/agent/message"
)

// pageRecords is how many records of a stream are read at once.
const pageRecords = 8

var errStoreReplaced = errors.New("numbers went back: the store was replaced")

// lane is one stream on its way out over one connection.
type lane struct {
	name   string
	class  message.Class
	next   uint64 // of the snapshot
	cursor uint64 // number of the next record to read
	page   []Record
	read   int  // records of page that are sent
	dry    bool // nothing to read until the next snapshot
	listed bool // in the snapshot
}

// lanes chooses what is sent next.
type lanes struct {
	box     Outbox
	after   time.Duration // a half-hour waits this long for its turn
	all     []*lane
	byName  map[string]*lane
	streams []Stream
}

// refresh takes a snapshot of the outbox. A new stream starts at its oldest
// record; one that is gone is forgotten.
func (ls *lanes) refresh() error {
	ls.streams = ls.box.Streams(ls.streams[:0])
	for _, l := range ls.all {
		l.listed = false
	}
	for _, st := range ls.streams {
		l := ls.byName[st.Name]
		if l == nil {
			l = &lane{name: st.Name, cursor: st.First}
			ls.byName[st.Name] = l
			ls.all = append(ls.all, l)
		}
		if st.Next < l.cursor {
			return fmt.Errorf("stream %s, next %d after %d: %w", st.Name, st.Next, l.cursor, errStoreReplaced)
		}
		l.class, l.next, l.dry, l.listed = st.Class, st.Next, false, true
	}
	ls.all = slices.DeleteFunc(ls.all, func(l *lane) bool {
		if !l.listed {
			delete(ls.byName, l.name)
		}
		return !l.listed
	})
	return nil
}

// head returns the next record of a lane, or nil.
func (ls *lanes) head(l *lane) (*Record, error) {
	if l.read < len(l.page) {
		return &l.page[l.read], nil
	}
	if l.dry || l.cursor >= l.next {
		return nil, nil
	}
	page, err := ls.box.Read(l.name, l.cursor, l.page[:0], pageRecords)
	if err != nil {
		l.page, l.read, l.dry = l.page[:0], 0, true
		return nil, fmt.Errorf("read stream %s from %d: %w", l.name, l.cursor, err)
	}
	l.page, l.read = page, 0
	if len(page) == 0 {
		// The store had to drop what the snapshot counted.
		l.dry = true
		return nil, nil
	}
	l.cursor = page[len(page)-1].N + 1
	return &l.page[0], nil
}

// rank orders what could be sent, the lowest first. Late records follow the
// ones on time of their class, except that late readings and half-hours have no
// hurry at all. A late alarm stays ahead of them, or a new alarm of the same way
// would wait behind the whole backlog of the others.
func rank(class message.Class, late bool) int {
	switch {
	case class == message.Control:
		return 0
	case class == message.Alarms && !late:
		return 1
	case class == message.Alarms:
		return 2
	case class == message.Live && !late:
		return 3
	case class == message.HalfHour && !late:
		return 4
	default:
		return hasTime
	}
}

// hasTime is the rank of what nobody waits for.
const hasTime = 5

// repeats says that a record of the lane was sent before, as another stream's.
func (l *lane) repeats(r *Record) bool { return l.name != r.Stream }

// choice is the record to send next.
type choice struct {
	lane    *lane
	record  *Record
	rank    int
	backlog bool // must not fill the window
}

// choose returns the most urgent record, the oldest of equals, or false. It
// returns an error beside it where a stream could not be read; the others go on.
func (ls *lanes) choose(now time.Time) (best choice, found bool, err error) {
	for _, l := range ls.all {
		r, e := ls.head(l)
		if e != nil {
			err = e
		}
		if r == nil || message.Waits(r.Stream, r.At, now, ls.after) {
			continue
		}
		late := message.Late(r.Stream, r.At, now)
		c := choice{lane: l, record: r, rank: rank(l.class, late)}
		if l.repeats(r) {
			c.rank = hasTime + 1 // what was never sent goes first
		}
		c.backlog = c.rank > 1
		if !found || c.rank < best.rank || c.rank == best.rank && c.record.At.Before(best.record.At) {
			best, found = c, true
		}
	}
	return best, found, err
}
