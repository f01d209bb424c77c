package alarm

import (
	"math"
	"time"

	"lvagent/meter"
)

// Deadband is how far each quantity must move from what was last published to
// be published again. Zero fields stand for the defaults.
type Deadband struct {
	V meter.Millivolts // default 1 V
	I meter.Milliamps  // default 1 % of the rating, at least 1 A
	P meter.Milliwatts // default I's at 230 V
	Q meter.Millivars  // default I's at 230 V
	N meter.Milliamps  // default I's
}

// LiveConfig says what is published of a way in real time. Zero fields stand for
// the defaults.
type LiveConfig struct {
	Poll      time.Duration   // how often the way is read; default 1 s
	Rating    meter.Milliamps // of the way's strongest phase
	Deadband  Deadband
	Heartbeat time.Duration // longest silence; default 10 s
	Before    time.Duration // how far the readings before an alarm reach back; default 60 s
	Tail      time.Duration // how long it goes on after the last clear; default 60 s
	Gap       time.Duration // shortest mean distance of readings; default 1 s
	Budget    *Budget       // shared by the ways of a site; nil: none

	KeepAfter time.Duration // how long readings are kept after the last clear; default 5 min
	KeepEvery time.Duration // shortest distance of those that are kept; default 1 s
}

// Budget bounds what all ways of a site publish in real time together, so that a
// fault on the busbar does not fill a narrow link. Each way that publishes has an
// equal share. It has the owner of its ways' [Live].
type Budget struct {
	PerSecond int // readings of all ways together; default 10
	Burst     int // readings from before alarms that may go out at once; default 600

	live   int   // ways that publish now
	before int64 // what is left for readings from before alarms, in parts of oneBefore
	at     time.Duration
	begun  bool
}

// oneBefore is one reading from before an alarm: what comes back in ten seconds
// at one a second.
const oneBefore = 10_000

// gap returns the shortest mean distance of a way's readings now.
func (b *Budget) gap() time.Duration {
	if b == nil {
		return 0
	}
	return time.Duration(b.live) * time.Second / time.Duration(orInt(b.PerSecond, 10))
}

// take reports whether a reading from before an alarm may go out at at. What was
// used comes back at a tenth of PerSecond.
func (b *Budget) take(at time.Duration) bool {
	if b == nil {
		return true
	}
	full := int64(orInt(b.Burst, 600)) * oneBefore
	if !b.begun {
		b.begun, b.before, b.at = true, full, at
	}
	if passed := min(at-b.at, time.Hour); passed > 0 {
		b.before = min(full, b.before+int64(passed/time.Millisecond)*int64(orInt(b.PerSecond, 10)))
		b.at = at
	}
	if b.before < oneBefore {
		return false
	}
	b.before -= oneBefore
	return true
}

func (b *Budget) join(by int) {
	if b != nil {
		b.live += by
	}
}

func orInt(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

// LiveReading is a reading to publish. Its fields are those of the message.
type LiveReading struct {
	T       time.Time
	Before  bool   // taken before the alarm was raised
	Alarm   string // the alarm that it belongs to
	Reading meter.Reading
}

// mostBefore bounds the readings of a way that are kept in memory.
const mostBefore = 600

// Live chooses the readings of one way that go out in real time while an alarm
// stands (R3): first those shortly before it, then each one that moved by a
// deadband, a heartbeat when none did, and the same for a while after the last
// clear. No reading is chosen twice. It also chooses those to keep for somebody
// who asks later what happened: every one from shortly before to a while after.
// It has one owner and is not safe for concurrent use.
type Live struct {
	cfg  LiveConfig
	ring []past // the newest readings
	next int    // where the next one goes: the oldest
	out  []LiveReading
	kept []LiveReading

	keeping   bool
	keepUntil time.Duration
	keptAt    time.Duration // stamp of the newest one that was kept
	keptAny   bool

	way    string
	heard  bool
	last   time.Duration // stamp of the newest reading
	on     bool          // an alarm stood at the last call
	tail   bool          // none stands, and readings go out until until
	until  time.Duration
	alarm  string
	owed   bool          // an alarm began or ended and the cap held that back
	joined bool          // it is counted in the budget
	sent   meter.Reading // as last published
	ripeAt time.Duration // when the rate cap is used up
}

// past is a reading that may still have to be published, in as little room as
// may be: each way keeps a minute of them.
type past struct {
	at      time.Duration
	wall    int64                     // ns since 1970
	power   [2 * meter.Phases]int64   // P and Q of each phase
	small   [2*meter.Phases + 1]int32 // V and I of each phase, neutral
	quality [4*meter.Phases + 1]uint16
	open    bool // there is one, and it was not published
	loose   bool // and it was not kept
}

// The quality of a sample is in the two highest bits of its reasons.
const qualityShift = 14

// put packs a sample's quality and returns its value.
func put[T meter.Quantity](q *uint16, s meter.Sample[T]) T {
	*q = uint16(s.Quality)<<qualityShift | uint16(s.Reason)&(1<<qualityShift-1)
	return s.Value
}

// putSmall is put for what has 32 bits: beyond two megavolts or megaamperes
// nothing was measured.
func putSmall[T meter.Quantity](q *uint16, s meter.Sample[T]) int32 {
	if s.Value > math.MaxInt32 || s.Value < math.MinInt32 {
		s = meter.Sample[T]{Reason: meter.OutOfRange}
	}
	return int32(put(q, s))
}

func get[T meter.Quantity](q uint16, value T) meter.Sample[T] {
	return meter.Sample[T]{Value: value, Quality: meter.Quality(q >> qualityShift), Reason: meter.Reason(q & (1<<qualityShift - 1))}
}

// keep puts a reading away.
func (p *past) keep(r *meter.Reading, wall time.Time) {
	*p = past{at: r.At, wall: wall.UnixNano(), open: true, loose: true}
	for i := range r.Phase {
		ph, q := &r.Phase[i], p.quality[4*i:]
		p.small[2*i], p.small[2*i+1] = putSmall(&q[0], ph.V), putSmall(&q[1], ph.I)
		p.power[2*i], p.power[2*i+1] = int64(put(&q[2], ph.P)), int64(put(&q[3], ph.Q))
	}
	p.small[2*meter.Phases] = putSmall(&p.quality[4*meter.Phases], r.Neutral)
}

// reading brings it back.
func (p *past) reading(way string) meter.Reading {
	r := meter.Reading{Way: way, At: p.at}
	for i := range r.Phase {
		ph, q := &r.Phase[i], p.quality[4*i:]
		ph.V, ph.I = get(q[0], meter.Millivolts(p.small[2*i])), get(q[1], meter.Milliamps(p.small[2*i+1]))
		ph.P, ph.Q = get(q[2], meter.Milliwatts(p.power[2*i])), get(q[3], meter.Millivars(p.power[2*i+1]))
	}
	r.Neutral = get(p.quality[4*meter.Phases], meter.Milliamps(p.small[2*meter.Phases]))
	return r
}

// taken is the wall time of the reading.
func (p *past) taken() time.Time { return time.Unix(0, p.wall).UTC() }

// NewLive returns a chooser with nothing to publish.
func NewLive(cfg LiveConfig) *Live {
	cfg.Poll = or(cfg.Poll, time.Second)
	cfg.Heartbeat = or(cfg.Heartbeat, 10*time.Second)
	cfg.Before = or(cfg.Before, time.Minute)
	cfg.Tail = or(cfg.Tail, time.Minute)
	cfg.Gap = or(cfg.Gap, time.Second)
	cfg.KeepAfter = or(cfg.KeepAfter, 5*time.Minute)
	cfg.KeepEvery = or(cfg.KeepEvery, time.Second)
	d := &cfg.Deadband
	d.V = or(d.V, 1_000)
	d.I = or(d.I, max(cfg.Rating/100, 1_000))
	d.P = or(d.P, meter.Milliwatts(d.I)*230)
	d.Q = or(d.Q, meter.Millivars(d.I)*230)
	d.N = or(d.N, d.I)
	// Two more than fit, for polls are not exact and the reading that raises the
	// alarm is in the ring as well.
	n := int(min(max(cfg.Before/max(cfg.Poll, 1), 0), mostBefore)) + 2
	return &Live{cfg: cfg, ring: make([]past, n)}
}

// Add takes a reading of the way, taken at wall, and returns what to publish
// now, in the order of time; it is valid until the next call. Active says that
// an alarm of the way stands after this reading, and alarm which one.
func (l *Live) Add(r *meter.Reading, wall time.Time, active bool, alarm string) []LiveReading {
	l.out, l.kept = l.out[:0], l.kept[:0]
	if l.heard && r.At < l.last {
		return l.out
	}
	l.heard, l.last = true, r.At
	running := l.on || l.tail && r.At <= l.until
	if active {
		l.alarm = alarm
	}
	if active && !running {
		l.before(r.At)
	}
	now := &l.ring[l.next]
	now.keep(r, wall)
	l.way = r.Way
	l.next = (l.next + 1) % len(l.ring)
	l.keep(r.At, active)

	switch {
	case active && !running:
		l.publish(now, false)
		l.owed = false
	case active || running:
		l.owed = l.owed || active != l.on
		if (l.owed || l.moved(r) || r.At-l.sent.At >= l.cfg.Heartbeat) && l.allowed(r.At) {
			l.publish(now, false)
			l.owed = false
		}
	}
	if l.on && !active {
		l.until = r.At + l.cfg.Tail
	}
	l.tail = !active && (l.on || l.tail && r.At <= l.until)
	l.on = active
	if runs := l.on || l.tail; runs != l.joined {
		l.joined = runs
		if runs {
			l.cfg.Budget.join(1)
		} else {
			l.cfg.Budget.join(-1)
		}
	}
	return l.out
}

// Kept returns the readings that the last Add chose to keep, in the order of
// time. They are valid until the next one.
func (l *Live) Kept() []LiveReading { return l.kept }

// keep chooses what to keep after the reading of at is in the ring.
func (l *Live) keep(at time.Duration, active bool) {
	if active {
		l.keepUntil = at + l.cfg.KeepAfter
	}
	if !active && !(l.keeping && at <= l.keepUntil) {
		l.keeping = false
		return
	}
	first := !l.keeping
	l.keeping = true
	for i := range l.ring {
		p := &l.ring[(l.next+i)%len(l.ring)]
		if !first {
			p = &l.ring[(l.next+len(l.ring)-1)%len(l.ring)] // the newest: the others were looked at
		}
		// Polls are not exact: what comes an eighth early is in time.
		if p.loose && at-p.at <= l.cfg.Before && !(l.keptAny && p.at-l.keptAt < l.cfg.KeepEvery-l.cfg.KeepEvery/8) {
			p.loose, l.keptAny, l.keptAt = false, true, p.at
			l.kept = append(l.kept, LiveReading{T: p.taken(), Alarm: l.alarm, Reading: p.reading(l.way)})
		}
		if !first {
			return
		}
	}
}

// before publishes the readings shortly before at that were not published yet.
func (l *Live) before(at time.Duration) {
	for i := range l.ring {
		p := &l.ring[(l.next+i)%len(l.ring)]
		if p.open && at-p.at <= l.cfg.Before && l.allowed(p.at) && l.cfg.Budget.take(at) {
			l.publish(p, true)
		}
	}
}

// allowed reports whether the rate cap admits a reading at at. A reading may
// come half a gap early, for polls are not exact, but not all of them.
func (l *Live) allowed(at time.Duration) bool { return at >= l.ripeAt-l.cfg.Gap/2 }

func (l *Live) publish(p *past, before bool) {
	p.open = false
	l.ripeAt = max(l.ripeAt, p.at) + max(l.cfg.Gap, l.cfg.Budget.gap())
	l.sent = p.reading(l.way)
	l.out = append(l.out, LiveReading{T: p.taken(), Before: before, Alarm: l.alarm, Reading: l.sent})
}

// moved reports whether r is a deadband away from what was last published, in
// any quantity, or has a value where that had none, or the reverse.
func (l *Live) moved(r *meter.Reading) bool {
	d := &l.cfg.Deadband
	for i := range r.Phase {
		a, b := &r.Phase[i], &l.sent.Phase[i]
		if apart(a.V, b.V, d.V) || apart(a.I, b.I, d.I) || apart(a.P, b.P, d.P) || apart(a.Q, b.Q, d.Q) {
			return true
		}
	}
	return apart(r.Neutral, l.sent.Neutral, d.N)
}

func apart[T meter.Quantity](a, b meter.Sample[T], by T) bool {
	if a.Quality == meter.Missing || b.Quality == meter.Missing {
		return a.Quality != b.Quality && (a.Quality == meter.Missing || b.Quality == meter.Missing)
	}
	// Held to what is taken as measured, or the difference might not fit.
	x := min(max(a.Value, -largest), largest)
	y := min(max(b.Value, -largest), largest)
	return x-y >= by || y-x >= by
}
