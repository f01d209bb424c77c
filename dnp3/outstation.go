package dnp3

import (
	"errors"
	"fmt"
	"time"

	"lvagent/dnp3/app"
)

// Outstation is a database and the sessions of its masters. It is owned by one
// goroutine.
//
// Arguments called now are time since some start, on a clock that never steps;
// those called wall are milliseconds since 1970, UTC.
type Outstation struct {
	config   Config
	db       *database
	sessions []*session
	conns    []*Conn

	opened         uint64 // connections
	local, trouble bool
	set            bool          // a master set the time
	setAt          time.Duration // when
	synchronised   bool          // the host says so
	revision       uint64
	urgent         uint64 // events of class 1 so far
}

// New returns an outstation. Err lists all that is wrong with the config.
func New(config Config) (*Outstation, error) {
	config, err := config.withDefaults()
	db, errPoints := newDatabase(config.Points)
	if err := errors.Join(err, errPoints); err != nil {
		return nil, err
	}
	config.Points = nil
	o := &Outstation{config: config, db: db}
	for _, m := range config.Masters {
		o.sessions = append(o.sessions, newSession(o, m))
	}
	return o, nil
}

// Update takes a new value in, and makes the events of it.
func (o *Outstation) Update(c Change, now time.Duration) error {
	position := o.db.find(c.Type, uint32(c.Index))
	if position < 0 {
		return fmt.Errorf("update %s %d: no such point", c.Type, c.Index)
	}
	m, event := o.db.change(position, c)
	if !event {
		return nil
	}
	o.event(kind(c.Type), position, c.Index, o.db.points[c.Type][position].Event, m, now)
	return nil
}

// event puts an event into every session whose class asks for it.
func (o *Outstation) event(k kind, position int, index uint16, variation uint8, m app.Measurement, now time.Duration) {
	synced := o.timeGood(now)
	for _, s := range o.sessions {
		if class := s.classOf(k, position); class != NoEvents {
			s.events.add(event{Measurement: m, index: index, kind: k, class: class, variation: variation, synced: synced})
			s.arrived(class, now)
			o.revision++
			if class == Class1 {
				o.urgent++
			}
		}
	}
}

// Value returns what a master would read of a point now.
func (o *Outstation) Value(t Type, index uint16) (number float64, octets string, flags Flags, ok bool) {
	position := o.db.find(t, uint32(index))
	if position < 0 {
		return 0, "", 0, false
	}
	m := o.db.points[t][position].value
	return m.Number, m.Octets, m.Flags, true
}

// Lost tells every master, by IIN2.3, that events may be missing: what was saved could
// not be read, or values were dropped before they became events. A master polls for
// the static values then. It is shown to each until a response with it was confirmed.
func (o *Outstation) Lost() {
	for _, s := range o.sessions {
		s.lost = true
	}
	o.revision++
}

// SetLocal shows IIN1.5: at least one point is under local control. Which
// commands are refused is the handler's to say.
func (o *Outstation) SetLocal(local bool) { o.local = local }

// SetTrouble shows IIN1.6: the device does not work as it should.
func (o *Outstation) SetTrouble(trouble bool) { o.trouble = trouble }

// SetSynchronised says whether the host's clock can be trusted, for times of
// events and where the clock is the host's.
func (o *Outstation) SetSynchronised(synchronised bool) { o.synchronised = synchronised }

// timeGood says whether events have a synchronised time.
func (o *Outstation) timeGood(now time.Duration) bool {
	if o.config.Clock == ClockOfHost {
		return o.synchronised
	}
	return !o.needTime(now)
}

func (o *Outstation) needTime(now time.Duration) bool {
	return o.config.Clock == ClockOfMaster && (!o.set || now-o.setAt >= o.config.TimeValid)
}

// Revision changes whenever what [Outstation.Save] returns changes.
func (o *Outstation) Revision() uint64 { return o.revision }

// Urgent changes with each event of class 1, which should be saved soon.
func (o *Outstation) Urgent() uint64 { return o.urgent }

// Counts are what a session did since the start.
type Counts struct {
	Master                              uint16
	Connected                           bool
	Requests, Repeated, Confirms        uint64
	Commands                            uint64 // handed to Controls.Operate
	Waiting                             int    // events kept
	Dropped                             uint64 // events lost to full buffers
	Confirmed                           uint64 // events deleted because they were confirmed
	ConfirmTimeouts, UnsolicitedRetries uint64
}

// Counts returns the counts of each session.
func (o *Outstation) Counts() []Counts {
	out := make([]Counts, len(o.sessions))
	for i, s := range o.sessions {
		out[i] = s.counts
		out[i].Master = s.master.Address
		out[i].Connected = s.conn != nil
		out[i].Waiting = s.events.n()
		out[i].Dropped = s.events.dropped
	}
	return out
}

// Deadline says when [Outstation.Tick] is wanted; false when nothing is timed.
func (o *Outstation) Deadline() (at time.Duration, ok bool) {
	earliest := func(d time.Duration, has bool) {
		if has && (!ok || d < at) {
			at, ok = d, true
		}
	}
	for _, s := range o.sessions {
		earliest(s.deadline())
	}
	for _, c := range o.conns {
		earliest(c.deadline())
	}
	return at, ok
}

// Tick does what is due at now: repeats, gives up, reports. Afterwards any
// connection may have output or be over.
func (o *Outstation) Tick(now time.Duration, wall int64) {
	for _, s := range o.sessions {
		s.tick(now, wall)
	}
	for i := len(o.conns) - 1; i >= 0; i-- { // one that ends takes itself out
		o.conns[i].tick(now)
	}
}

func (o *Outstation) session(address uint16) *session {
	for _, s := range o.sessions {
		if s.master.Address == address {
			return s
		}
	}
	return nil
}
