package dnp3

import (
	"bytes"
	"time"

	"lvagent/dnp3/app"
	"lvagent/dnp3/link"
)

// session is what the outstation knows of one master. It outlives connections:
// events, classes, what is enabled. What a request left unfinished ends with
// its connection.
type session struct {
	o      *Outstation
	master Master
	conn   *Conn
	events *buffer
	counts Counts

	classes       [types][]Class
	frozenClasses []Class // of counters

	restart   bool   // IIN1.7, until this master clears it
	lost      bool   // IIN2.3, until this master has heard it: events went where nobody knows of
	broadcast uint16 // the broadcast heard and not told yet, 0 for none

	// The request answered last, for one that is repeated.
	last            []byte
	lastDestination uint16
	response        fragment // the answer to it

	// A response that waits for its confirm.
	awaiting      bool
	awaitingSeq   uint8
	awaitingUntil time.Duration
	tellsAll      bool // the response told of a broadcast that asks for a confirm
	tellsLost     bool // it told of lost events
	plan          plan

	deferred []byte // a read that waits for the end of an unsolicited response

	selected      []byte // the objects of a select, with a length of 0 for none
	selectedSeq   uint8
	selectedUntil time.Duration
	recorded      time.Duration // of RECORD_CURRENT_TIME
	hasRecorded   bool

	uns reporting
}

func newSession(o *Outstation, m Master) *session {
	s := &session{o: o, master: m, events: newBuffer(m), restart: true}
	for t, of := range o.db.points {
		s.classes[t] = make([]Class, len(of))
		for i := range of {
			s.classes[t][i] = of[i].Class
		}
	}
	s.frozenClasses = make([]Class, len(o.db.points[Counter]))
	for i := range s.frozenClasses {
		s.frozenClasses[i] = o.db.points[Counter][i].FrozenClass
	}
	s.uns.null = m.Unsolicited
	return s
}

// classOf is the class that events of a kind have at a point.
func (s *session) classOf(k kind, position int) Class {
	switch k {
	case frozenCounter:
		return s.frozenClasses[position]
	case binaryCommand:
		return s.o.db.points[BinaryOutput][position].CommandClass
	case analogCommand:
		return s.o.db.points[AnalogOutput][position].CommandClass
	}
	return s.classes[k][position]
}

func (s *session) connect(c *Conn, now time.Duration) {
	s.conn = c
	s.uns.start(now)
}

// disconnect ends what was begun: events that were sent and not confirmed wait
// again, a select is void, and a request with the number of the last one is new.
func (s *session) disconnect(time.Duration) {
	s.conn = nil
	s.stopResponse()
	s.events.release(unsolicited)
	s.uns.stop()
	s.deferred = s.deferred[:0]
	s.last = s.last[:0]
	s.selected = s.selected[:0]
	s.hasRecorded = false
}

// stopResponse gives up a response that waits for its confirm.
func (s *session) stopResponse() {
	s.events.release(solicited)
	s.awaiting, s.tellsAll, s.tellsLost = false, false, false
	s.plan.clear()
}

// receive takes a fragment of the master in.
func (s *session) receive(octets []byte, destination uint16, now time.Duration, wall int64) {
	f, err := app.Parse(octets)
	if err != nil {
		return // what is not a request cannot be answered
	}
	if f.Function == app.Confirm {
		if !link.IsBroadcast(destination) {
			s.confirm(f, now, wall)
		}
		return
	}
	if f.Control&app.Uns != 0 {
		return
	}
	s.counts.Requests++
	repeated := len(s.last) > 0 && destination == s.lastDestination && bytes.Equal(octets, s.last)
	if repeated && f.Function == app.RecordCurrentTime {
		// The master takes the time of the repetition too: there is no telling
		// when the lost one was sent.
		repeated = false
	}
	if repeated && f.Function != app.Read {
		// Answered as before, and not done again. What it left unfinished, a
		// select among it, goes on as it was.
		s.counts.Repeated++
		if !f.Function.Unanswered() && !link.IsBroadcast(destination) {
			s.conn.send(s.response.octets)
		}
		return
	}
	if repeated && s.awaiting && s.plan.first {
		// The same octets again: a confirm on its way belongs to them.
		s.counts.Repeated++
		s.awaitingUntil = now + s.master.ConfirmTimeout
		s.conn.send(s.response.octets)
		return
	}
	s.last = append(s.last[:0], octets...)
	s.lastDestination = destination
	s.stopResponse()
	s.deferred = s.deferred[:0]
	if f.Function != app.Operate {
		s.selected = s.selected[:0]
	}
	if link.IsBroadcast(destination) {
		s.broadcast = destination
		s.silently(f, now, wall)
		return
	}
	if f.Function == app.Read && s.uns.awaiting {
		s.deferred = append(s.deferred, octets...)
		return
	}
	s.serve(f, now, wall)
}

// serve carries a request out and answers it.
func (s *session) serve(f app.Fragment, now time.Duration, wall int64) {
	switch f.Function {
	case app.Read:
		s.read(f, now, wall)
		return
	case app.DirectOperateNR, app.FreezeNR, app.FreezeClearNR, app.AuthenticateNR:
		s.silently(f, now, wall)
		return
	}
	s.response.begin(s.response.octets, s.master.MostFragment)
	if iin := wholeness(f); iin != 0 {
		s.answer(f.Seq(), iin, now)
		return
	}
	var iin app.IIN
	switch f.Function {
	case app.Write:
		iin = s.write(f, now)
	case app.Select, app.Operate, app.DirectOperate:
		iin = s.control(f, now, wall)
	case app.Freeze, app.FreezeClear:
		iin = s.freeze(f, now, wall)
	case app.ColdRestart, app.WarmRestart:
		iin = s.restartDevice(f)
	case app.EnableUnsolicited, app.DisableUnsolicited:
		iin = s.enable(f, now)
	case app.AssignClass:
		iin = s.assign(f)
	case app.DelayMeasure:
		// The answer is made at once: no delay to tell.
		s.response.octets = append(s.response.octets, 52, 2, byte(app.Count8), 1, 0, 0)
	case app.RecordCurrentTime:
		s.recorded, s.hasRecorded = now, true
	default:
		iin = app.NoFunction
	}
	s.answer(f.Seq(), iin, now)
}

// wholeness is what is wrong with a request's headers. Of a request that does
// not hold together nothing is carried out.
func wholeness(f app.Fragment) app.IIN {
	headers := f.Headers()
	for {
		if _, ok := headers.Next(); !ok {
			return headers.IIN()
		}
	}
}

// silently carries out what is not to be answered.
func (s *session) silently(f app.Fragment, now time.Duration, wall int64) {
	if wholeness(f) != 0 {
		return
	}
	switch f.Function {
	case app.Write:
		s.write(f, now)
	case app.DirectOperate, app.DirectOperateNR:
		s.response.begin(s.response.octets, s.master.MostFragment)
		s.control(f, now, wall)
	case app.Freeze, app.FreezeNR, app.FreezeClear, app.FreezeClearNR:
		s.freeze(f, now, wall)
	case app.EnableUnsolicited, app.DisableUnsolicited:
		s.enable(f, now)
	case app.AssignClass:
		s.assign(f)
	case app.RecordCurrentTime:
		s.recorded, s.hasRecorded = now, true
	}
}

// answer sends a response of one fragment without events.
func (s *session) answer(seq uint8, iin app.IIN, now time.Duration) {
	control := app.Fir | app.Fin | seq
	if s.broadcast == link.BroadcastConfirm {
		control |= app.Con
	}
	s.send(control, iin, now)
}

// send finishes the response and sends it; it waits for a confirm when the
// control octet asks for one.
func (s *session) send(control uint8, iin app.IIN, now time.Duration) {
	s.response.finish(control, app.Response, iin|s.indications(now))
	if control&app.Con != 0 {
		s.awaiting, s.awaitingSeq, s.awaitingUntil = true, control&app.SeqMask, now+s.master.ConfirmTimeout
		s.tellsAll = s.broadcast == link.BroadcastConfirm
		s.tellsLost = s.lost
	}
	if s.broadcast != link.BroadcastConfirm {
		s.broadcast = 0
	}
	s.conn.send(s.response.octets)
}

// indications are what every response says of the device.
func (s *session) indications(now time.Duration) app.IIN {
	iin := s.events.indications()
	if s.lost {
		iin |= app.EventOverflow
	}
	if s.broadcast != 0 {
		iin |= app.Broadcast
	}
	if s.o.needTime(now) {
		iin |= app.NeedTime
	}
	if s.o.local {
		iin |= app.LocalControl
	}
	if s.o.trouble {
		iin |= app.DeviceTrouble
	}
	if s.restart {
		iin |= app.DeviceRestart
	}
	return iin
}

// confirm takes the confirm of a response in.
func (s *session) confirm(f app.Fragment, now time.Duration, wall int64) {
	if f.Control&app.Uns != 0 {
		if s.uns.awaiting && f.Seq() == s.uns.seq {
			s.confirmUnsolicited(now, wall)
		}
		return
	}
	if !s.awaiting || f.Seq() != s.awaitingSeq {
		return
	}
	s.counts.Confirms++
	s.deleteConfirmed(solicited)
	s.awaiting = false
	if s.tellsAll {
		s.broadcast, s.tellsAll = 0, false
	}
	if s.tellsLost {
		s.lost, s.tellsLost = false, false
	}
	if s.plan.more {
		s.continueRead((s.awaitingSeq+1)&app.SeqMask, now, wall)
		return
	}
	s.report(now)
}

func (s *session) deleteConfirmed(p pool) {
	if n := s.events.confirm(p); n > 0 {
		s.counts.Confirmed += uint64(n)
		s.o.revision++
	}
}

func (s *session) deadline() (at time.Duration, ok bool) {
	switch {
	case s.conn == nil:
		return 0, false
	case s.awaiting && s.uns.awaiting:
		return min(s.awaitingUntil, s.uns.until), true
	case s.awaiting:
		return s.awaitingUntil, true
	}
	return s.reportDeadline()
}

func (s *session) tick(now time.Duration, wall int64) {
	if s.conn == nil {
		return
	}
	if s.awaiting && now >= s.awaitingUntil {
		s.counts.ConfirmTimeouts++
		s.stopResponse()
	}
	s.tickUnsolicited(now, wall)
}
