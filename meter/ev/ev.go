// Package ev says what is to be seen of electric vehicles on a way: which charge
// points sit on which phase and how much of their load may be shed ([Loads]),
// and which cars seem to charge, from nothing but the way's own readings
// ([Detector]).
//
// A detector states how sure it is. What it says is an estimate for people who
// plan and operate a network: no limit follows from it, and nobody is billed by
// it. It reads no clock. It must not be made for a way with few customers: when
// a car comes home is personal data.
//
// Requirements: R6 (visibility of EVs), R16 (privacy).
package ev

import (
	"time"

	"lvagent/meter"
)

// Class of charging: the current of a connector, on one phase or on three.
type Class uint8

// Classes.
const (
	One16 Class = iota
	One32
	Three16
	Three32
	Classes
)

// String returns the class's name in messages.
func (c Class) String() string { return [...]string{"1x16", "1x32", "3x16", "3x32"}[min(c, Three32)] }

func (c Class) nominal() int64 {
	if c == One16 || c == Three16 {
		return 16_000
	}
	return 32_000
}

func (c Class) isThree() bool { return c >= Three16 }

// Times of the detector.
const (
	gapAfter  = 3500 * time.Millisecond
	lostAfter = 5 * time.Minute // nobody knows any more who charges
	sureAfter = 15 * time.Minute
	endAfter  = 10 * time.Minute // a fall is the end when the load stays down for so long
	within    = 4 * time.Second  // between the edges of three phases
	longest   = 14 * time.Hour
	explained = 20 * time.Minute // after which an edge that nothing explains is forgotten

	// SlowestPoll is the slowest at which an edge can be told from a ramp.
	SlowestPoll = 2 * time.Second

	// Minutes that the lowest current is taken over: what switches on and off
	// is off in some minute, what charges is not.
	lowBefore = 8
	lowAfter  = 13
	highFor   = 5

	mostSessions   = 48
	mostCandidates = 64
)

// sure is the confidence from which a candidate counts as a session.
const sure meter.PPM = 500_000

// Session is a car that seems to charge. Its begin is told a quarter of an hour
// late: before, it could be a shower.
type Session struct {
	Class      Class
	Phases     [meter.Phases]bool
	Since      time.Duration
	I          meter.Milliamps // on each of its phases, at the begin
	Confidence meter.PPM       // that it is what it seems
}

// session is one that goes on.
type session struct {
	Session
	fell   time.Duration // a fall as large as it; 0: none
	before int64         // the lowest current before that
	on     int           // the phase of it
}

// candidate is an edge, or three, that may have begun a session.
type candidate struct {
	Session
	differs int64 // mA between two looks at its size, or between its phases
	steep   int64
	low     int64 // the lowest before it, all its phases together
	known   bool  // low is
	busy    int
	falls   int // as large as it, since
	seen    [features]int64
}

// Detector follows one way. It has one owner and is not safe for concurrent use.
// It holds a fixed amount of memory and allocates nothing per reading.
type Detector struct {
	phases     [meter.Phases]phase
	last       [meter.Phases]time.Duration
	started    bool
	since      time.Duration
	candidates [mostCandidates]candidate
	waiting    int
	sessions   [mostSessions]session
	n          int

	judged func(*candidate, meter.PPM) // for tests
}

// Since is when the detector began, or began anew: it knows of no session that
// began before.
func (d *Detector) Since() (time.Duration, bool) { return d.since, d.started }

// Sessions appends the sessions that go on to dst.
func (d *Detector) Sessions(dst []Session) []Session {
	for k := range d.n {
		dst = append(dst, d.sessions[k].Session)
	}
	return dst
}

// Forget begins anew: what hangs on the way may be another than before.
func (d *Detector) Forget() { *d = Detector{judged: d.judged} }

// Add takes a reading of the way.
func (d *Detector) Add(r *meter.Reading) {
	for i := range d.phases {
		p, s := &d.phases[i], &r.Phase[i]
		if s.P.Quality != meter.Good || s.V.Quality != meter.Good || s.V.Value <= 0 || abs(int64(s.P.Value)) > mostPower {
			continue
		}
		switch gap := r.At - d.last[i]; {
		case !d.started:
			d.started, d.since = true, r.At
		case gap <= 0:
			continue
		case gap > lostAfter && p.n > 0:
			d.Forget()
			d.started, d.since = true, r.At
		case gap > gapAfter:
			p.forget()
		}
		d.last[i] = r.At
		if e, ok := p.add(r.At, int64(s.P.Value)*1000/int64(s.V.Value)); ok {
			if e.up {
				d.rise(i, e)
			} else {
				d.fall(i, e)
			}
		}
		if p.count == 0 {
			d.contradict(i)
		}
	}
	d.tick(r.At)
}

// mostPower bounds what is reckoned with, in mW.
const mostPower = 1 << 40

// tolerance is how far two edges of one thing may be apart.
func tolerance(amps int64) int64 { return 1_000 + amps*4/100 }

// fits reports whether a current may be that of a class: cars draw a little less
// than their connector allows.
func fits(amps, nominal int64) bool {
	return amps >= nominal*85/100 && amps <= nominal*108/100
}

// rise makes a candidate of an edge up that may be a car, together with those on
// the other phases if there are such.
func (d *Detector) rise(i int, e edge) {
	for _, c := range [...]Class{Three32, Three16} {
		if d.riseOfThree(i, &e, c) {
			return
		}
	}
	p := &d.phases[i]
	for _, c := range [...]Class{One32, One16} {
		if fits(e.amps, c.nominal()) {
			x := candidate{Session: Session{Class: c, Since: e.at, I: meter.Milliamps(e.amps)}, differs: abs(e.over - e.amps), steep: e.steep, busy: p.busy}
			x.Phases[i] = true
			x.low, x.known = p.lowest(1, lowBefore)
			d.consider(&x)
			break
		}
	}
	p.keep(e)
}

// riseOfThree makes a candidate of three edges at one time.
func (d *Detector) riseOfThree(i int, e *edge, c Class) bool {
	x := candidate{Session: Session{Class: c, Phases: [meter.Phases]bool{true, true, true}, Since: e.at}, known: true}
	var edges [meter.Phases]*edge
	sum, least, most := int64(0), int64(1<<62), int64(0)
	for k := range d.phases {
		p := &d.phases[k]
		if edges[k] = p.nearest(e.at, c.nominal()); k == i {
			edges[k] = e
		}
		v := edges[k]
		if v == nil || v.amps < c.nominal()*65/100 || v.amps > c.nominal()*135/100 {
			return false
		}
		sum, least, most = sum+v.amps, min(least, v.amps), max(most, v.amps)
		low, ok := p.lowest(1, lowBefore)
		x.low, x.known, x.busy = x.low+low, x.known && ok, x.busy+p.busy/meter.Phases
		x.steep += v.steep / meter.Phases
	}
	if !fits(sum/meter.Phases, c.nominal()) {
		return false
	}
	for k, v := range edges {
		if k != i {
			v.amps = 0 // it is explained
		}
	}
	x.I, x.differs = meter.Milliamps(sum/meter.Phases), (most-least)/2
	kept := 0
	for k := range d.waiting { // they are no candidates one by one
		if o := &d.candidates[k]; o.Class.isThree() || (o.Since-e.at).Abs() > within {
			d.candidates[kept] = *o
			kept++
		}
	}
	d.waiting = kept
	d.consider(&x)
	return true
}

func (d *Detector) consider(x *candidate) {
	if d.waiting == mostCandidates {
		copy(d.candidates[:], d.candidates[1:])
		d.waiting--
	}
	d.candidates[d.waiting] = *x
	d.waiting++
}

// fall explains an edge down by what it may have ended: a session, a candidate,
// or anything else that rose as much.
func (d *Detector) fall(i int, e edge) {
	p := &d.phases[i]
	for k := range d.n {
		s := &d.sessions[k]
		if s.Phases[i] && abs(int64(s.I)-e.amps) <= tolerance(e.amps) && s.fell == 0 {
			if low, ok := p.lowest(1, lowBefore); ok {
				s.fell, s.before, s.on = e.at, low, i
			}
			break
		}
	}
	cost, x := tolerance(e.amps), -1
	for k := range d.waiting {
		if c := &d.candidates[k]; c.Phases[i] && c.Since < e.at && abs(int64(c.I)-e.amps) <= cost {
			x, cost = k, abs(int64(c.I)-e.amps)
		}
	}
	u := p.riseOf(e, cost)
	switch {
	case u >= 0 && (x < 0 || p.open[u].at != d.candidates[x].Since):
		p.open[u].amps = 0
	case x >= 0:
		d.candidates[x].falls++
		if u >= 0 {
			p.open[u].amps = 0
		}
	default:
		p.keep(e)
	}
}

// tick begins and ends what is due.
func (d *Detector) tick(now time.Duration) {
	for i := range d.phases {
		for j := range d.phases[i].open {
			if o := &d.phases[i].open[j]; now-o.at > explained {
				o.amps = 0
			}
		}
	}
	kept := 0
	for k := range d.waiting {
		if x := &d.candidates[k]; now-x.Since < sureAfter {
			d.candidates[kept] = *x
			kept++
		} else {
			d.judge(x)
		}
	}
	d.waiting = kept
	for k := d.n - 1; k >= 0; k-- {
		s := &d.sessions[k]
		switch {
		case now-s.Since > longest:
			d.end(k)
		case s.fell > 0 && now-s.fell >= endAfter:
			if low, ok := d.phases[s.on].lowest(0, lowBefore); ok && s.before-low >= int64(s.I)/2 {
				d.end(k)
			} else {
				s.fell = 0 // something else
			}
		}
	}
}

func (d *Detector) end(k int) {
	d.n--
	d.sessions[k] = d.sessions[d.n]
}

// contradict ends what cannot be: for some minutes the phase carried less than
// its sessions together. The oldest goes first.
func (d *Detector) contradict(i int) {
	p := &d.phases[i]
	if p.filled < highFor {
		return
	}
	most := p.highs[0]
	for _, x := range p.highs[:highFor] {
		most = max(most, x)
	}
	for {
		sum, oldest := int64(0), -1
		for k := range d.n {
			if s := &d.sessions[k]; s.Phases[i] {
				sum += int64(s.I)
				if oldest < 0 || s.Since < d.sessions[oldest].Since {
					oldest = k
				}
			}
		}
		if oldest < 0 || sum <= most {
			return
		}
		d.end(oldest)
	}
}

// judge decides on a candidate that has lasted long enough.
func (d *Detector) judge(x *candidate) {
	d.look(x)
	x.Confidence = confidence(x.Class, &x.seen)
	if d.judged != nil {
		d.judged(x, x.Confidence)
	}
	if x.Confidence >= sure && d.n < mostSessions {
		d.sessions[d.n] = session{Session: x.Session}
		d.n++
	}
}
