package dnp3

import (
	"time"

	"lvagent/dnp3/app"
	"lvagent/dnp3/link"
)

// reporting is the state of unsolicited responses towards one master.
type reporting struct {
	null    bool  // the first, empty one is still to be confirmed
	enabled uint8 // classes, class 1 lowest

	// The response that waits for its confirm, or for its next try.
	awaiting bool
	isNull   bool
	tells    bool // it told of lost events
	response fragment
	seq      uint8
	until    time.Duration // the confirm is due
	tries    int

	notBefore time.Duration // end of a pause after tries without a confirm
	pause     time.Duration
	draining  bool             // not all fitted into the last: the rest follows at once
	since     [3]time.Duration // of the first event gathered
	gathering [3]bool
}

// start begins anew on a fresh connection: no pause is left from the old one.
func (u *reporting) start(now time.Duration) {
	u.notBefore, u.pause, u.draining = now, 0, false
}

// stop gives up what waits for a confirm.
func (u *reporting) stop() { u.awaiting, u.tries = false, 0 }

// arrived notes that an event of a class is there.
func (s *session) arrived(class Class, now time.Duration) {
	u := &s.uns
	if !u.gathering[class-1] || s.events.ready[class-1] == 1 {
		u.gathering[class-1], u.since[class-1] = true, now
	}
}

// reportDeadline says when something unsolicited is due.
func (s *session) reportDeadline() (at time.Duration, ok bool) {
	u := &s.uns
	switch {
	case !s.master.Unsolicited:
		return 0, false
	case u.awaiting:
		return u.until, true
	case u.null:
		return u.notBefore, true
	}
	for c := range 3 {
		if u.enabled>>c&1 == 0 || s.events.ready[c] == 0 {
			continue
		}
		due := u.since[c] + s.master.Hold[c]
		if u.draining || !u.gathering[c] || s.master.HoldCount[c] > 0 && s.events.ready[c] >= s.master.HoldCount[c] {
			due = u.notBefore
		}
		if due = max(due, u.notBefore); !ok || due < at {
			at, ok = due, true
		}
	}
	return at, ok
}

func (s *session) tickUnsolicited(now time.Duration, wall int64) {
	u := &s.uns
	if u.awaiting && now >= u.until {
		s.unconfirmed(now, wall)
	}
	s.report(now)
}

// report sends an unsolicited response when one is due and nothing else waits
// for a confirm.
func (s *session) report(now time.Duration) {
	if s.conn == nil || s.awaiting || s.uns.awaiting {
		return
	}
	if at, ok := s.reportDeadline(); !ok || now < at {
		return
	}
	u := &s.uns
	u.response.begin(u.response.octets, s.master.MostFragment)
	u.isNull = u.null
	if !u.null {
		all := item{events: selection{kinds: allKinds, classes: u.enabled}, left: 1 << 30}
		if n, _ := s.pickEvents(&u.response, &all, s.events.seq, unsolicited); n == 0 {
			return
		}
		u.draining = false
		for c := range 3 {
			if u.enabled>>c&1 == 0 {
				continue
			}
			// Those that come back because no confirm does are due at once.
			u.gathering[c] = false
			u.draining = u.draining || s.events.ready[c] > 0
		}
	}
	u.tries = 0
	s.sendUnsolicited(now)
}

func (s *session) sendUnsolicited(now time.Duration) {
	u := &s.uns
	if u.tries == 0 {
		u.response.finish(app.Fir|app.Fin|app.Con|app.Uns|u.seq, app.UnsolicitedResponse, s.indications(now))
		u.tells = s.lost
		if s.broadcast != link.BroadcastConfirm {
			s.broadcast = 0
		}
	}
	u.awaiting, u.until = true, now+s.master.UnsolicitedTimeout
	s.conn.send(u.response.octets)
}

// confirmUnsolicited takes the confirm of the response that waits.
func (s *session) confirmUnsolicited(now time.Duration, wall int64) {
	u := &s.uns
	s.counts.Confirms++
	s.deleteConfirmed(unsolicited)
	if u.isNull {
		u.null = false
	}
	if u.tells {
		s.lost = false
	}
	s.endReport(now)
	u.pause = 0
	s.serveDeferred(now, wall)
	s.report(now)
}

// endReport ends the wait for a confirm, whatever came of it.
func (s *session) endReport(now time.Duration) {
	u := &s.uns
	u.awaiting = false
	u.seq = (u.seq + 1) & app.SeqMask
	u.notBefore = now
}

// unconfirmed is the end of a wait in vain: try again as it was, or let the
// events wait and pause. A read that was put off is served now, and gets them.
func (s *session) unconfirmed(now time.Duration, wall int64) {
	u := &s.uns
	if len(s.deferred) == 0 && u.tries < s.master.UnsolicitedRetries {
		u.tries++
		s.counts.UnsolicitedRetries++
		s.sendUnsolicited(now)
		return
	}
	s.events.release(unsolicited)
	s.endReport(now)
	if len(s.deferred) > 0 {
		s.serveDeferred(now, wall)
		return
	}
	u.pause = min(max(2*u.pause, s.master.UnsolicitedBackoff), s.master.UnsolicitedBackoffMost)
	u.notBefore = now + u.pause
}

// serveDeferred answers the read that was put off.
func (s *session) serveDeferred(now time.Duration, wall int64) {
	if len(s.deferred) == 0 {
		return
	}
	f, err := app.Parse(s.deferred)
	if err == nil {
		s.serve(f, now, wall)
	}
	s.deferred = s.deferred[:0]
}

// enable carries out ENABLE_ and DISABLE_UNSOLICITED.
func (s *session) enable(f app.Fragment, now time.Duration) app.IIN {
	if !s.master.Unsolicited {
		return app.NoFunction
	}
	u := &s.uns
	var classes uint8
	var iin app.IIN
	headers := f.Headers()
	for {
		h, ok := headers.Next()
		if !ok {
			break
		}
		switch {
		case h.Group != 60 || h.Variation < 2 || h.Variation > 4:
			iin |= app.ObjectUnknown
		case h.Qualifier != app.All:
			iin |= app.ParameterError
		default:
			classes |= 1 << (h.Variation - 2)
		}
	}
	iin |= headers.IIN()
	if f.Function == app.EnableUnsolicited {
		u.enabled |= classes
		return iin
	}
	u.enabled &^= classes
	if u.awaiting && !u.isNull && classes != 0 {
		// A late confirm is no longer one: its number has passed.
		s.events.release(unsolicited)
		s.endReport(now)
	}
	return iin
}
