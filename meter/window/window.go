// Package window turns the readings of one LV way into half-hour records: which
// reading belongs to which period, how long a value holds, what a period adds
// up to, and what the record of a period must be flagged with.
//
// It does not poll, store or publish, it raises no alarm and it owns no clock:
// the caller gives it the monotonic time, the wall time and how far the wall
// clock can be trusted. Durations come from the monotonic clock and labels from
// the wall clock, so that a stepped clock moves a label but never an average.
//
// Every period has a record, also one without any reading, and no record is
// handed out twice under the same start and revision. All arithmetic is on whole
// numbers, so the same readings give the same record on every CPU.
//
// Requirements: R1 (V, I, P, Q per phase, neutral current), R2 (half-hourly
// data of every way, nothing lost), R16 (common time reference).
package window

import (
	"fmt"
	"math"
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// Limits of the window.
const (
	// StepOver is the change of the wall clock against the monotonic clock
	// beyond which it was stepped. A smaller one is slew, which is ignored.
	StepOver = time.Second
	// MostSkipped is the longest gap that is filled with empty records. Over a
	// longer one, which only a wrong date makes, the window starts anew at the
	// present period.
	MostSkipped = 400 * 24 * time.Hour
	// Largest is the largest value, in thousandths, that is taken as measured:
	// 100 MW or 100 MA. Anything beyond counts as missing, out of range; it keeps
	// every sum of an hour inside its 64 or 128 bits.
	Largest = 100_000_000_000

	// reopenable is how many closed periods can take more readings: the last two,
	// and the one that a step of the clock cut off.
	reopenable = 3
)

// Config says how the readings of one way are summed up.
type Config struct {
	Way    string
	Period time.Duration      // a divisor of an hour in whole milliseconds; 0 is 30 minutes
	Poll   time.Duration      // how often the way is measured; 0 is Hold / 2.5, or 1 s
	Hold   time.Duration      // how long a value stands without a newer one; 0 is 2.5 x Poll
	Grace  time.Duration      // how long a period waits for late readings; 0 is min(2 s, Period/10)
	Expect [meter.Phases]bool // phases that count for coverage and totals; none means all three
	// Coverage below these shares is flagged; 0 is 98 % and 90 %.
	Partial, Invalid meter.PPM
	// Settings stands for all that decides what the way's values mean. A restart
	// with another one flags the period CONFIG_CHANGED.
	Settings string
	Bench    bool // flags every record as one of a bench
}

// Window sums up one way. It has one owner and is not safe for concurrent use.
type Window struct {
	cfg    Config
	period int64 // ns
	grace  int64 // ns
	fresh  int64 // ns: up to this age a value is not held

	// The wall clock, seen from the monotonic one.
	labelled bool        // a trusted wall clock was seen since the start
	offset   int64       // wall minus monotonic, ns, at the last trusted Advance
	clock    meter.Clock // as the last Advance had it

	// The readings.
	started bool
	began   int64 // ns: the first reading or Advance
	heard   bool
	last    time.Duration // stamp of the newest reading
	cursor  int64         // ms: everything before is in the sums
	held    [meter.Phases]heldPhase
	neutral heldNeutral

	// What the meter last said of itself.
	mismatch bool
	counters [3]Counter

	// The periods. Before a label is known, open is the slot under way.
	slots   slots
	open    Period
	from    int64       // ns monotonic: readings stamped earlier came too late for open
	first   meter.Flags // Boot, or Restart and ConfigChanged, for the first period with a label
	resumed []Period    // the checkpoint's open period until a label is known: 0 or 1
	closed  []Period    // still re-openable, the newest first
	waiting []Waiting   // to be handed out, in order
	issued  issued
	topRev  int // highest revision ever given
	overRev int // revision for a period that was issued but is no longer re-openable
}

// heldPhase is the last usable reading of a phase. It stands up to until, and
// counts as held from stale on.
type heldPhase struct {
	v, i, p, q int64
	stale      int64 // ms
	until      int64 // ms; none when nothing is held
}

// heldNeutral is the last usable neutral current.
type heldNeutral struct {
	i     int64
	until int64
}

// none is the end of a hold that does not run.
const none = math.MinInt64

// New returns a window whose first record will be flagged BOOT; after a restart
// call Resume next. It panics on a period that does not divide an hour, which
// the configuration's own check refuses.
func New(cfg Config) *Window {
	if cfg.Period == 0 {
		cfg.Period = 30 * time.Minute
	}
	if cfg.Period < 0 || time.Hour%cfg.Period != 0 || cfg.Period%time.Millisecond != 0 {
		panic(fmt.Sprintf("window %s: period %v does not divide an hour in whole milliseconds", cfg.Way, cfg.Period))
	}
	if cfg.Poll <= 0 {
		cfg.Poll = time.Second
		if cfg.Hold > 0 {
			cfg.Poll = cfg.Hold * 2 / 5
		}
	}
	if cfg.Hold <= 0 {
		cfg.Hold = cfg.Poll * 5 / 2
	}
	if cfg.Partial == 0 {
		cfg.Partial = 980_000
	}
	if cfg.Invalid == 0 {
		cfg.Invalid = 900_000
	}
	if cfg.Grace <= 0 {
		cfg.Grace = min(2*time.Second, cfg.Period/10)
	}
	if cfg.Expect == [meter.Phases]bool{} {
		cfg.Expect = [meter.Phases]bool{true, true, true}
	}
	w := &Window{
		cfg: cfg, period: int64(cfg.Period), grace: int64(cfg.Grace), fresh: int64(cfg.Poll) * 5 / 4,
		slots:   newSlots(int64(cfg.Period)),
		first:   meter.Boot,
		from:    none,
		open:    Period{Clock: meter.Synced},
		closed:  make([]Period, 0, reopenable),
		waiting: make([]Waiting, 0, 1), // more only after the clock went wrong
	}
	for i := range w.held {
		w.held[i].until = none
	}
	w.neutral.until = none
	return w
}

// Add takes one poll of the way, with or without an answer. Readings come in the
// order of their stamps. One that does not, and one stamped in a period that is
// closed already, counts as bad; the latter's value is held all the same.
func (w *Window) Add(r *meter.Reading) {
	at := int64(r.At)
	w.start(at)
	if w.heard && r.At <= w.last {
		w.open.Bad++
		return
	}
	w.heard, w.last = true, r.At
	if w.labelled {
		w.closeUpTo(at)
	} else {
		w.roll(at)
	}
	w.integrate(floorMilli(at))

	inside := at >= w.from
	since := w.since(at)
	stale, until := floorMilli(at+w.fresh), floorMilli(at+int64(w.cfg.Hold))
	complete := inside
	mismatch, answered := false, false
	for i := range r.Phase {
		p, h := &r.Phase[i], &w.held[i]
		why, usable := phaseFault(p)
		switch {
		case usable:
			*h = heldPhase{int64(p.V.Value), int64(p.I.Value), int64(p.P.Value), int64(p.Q.Value), stale, until}
			if inside {
				w.open.Phase[i].stamp(h, since)
			}
		case why != meter.NoAnswer:
			h.until = none
		}
		if !w.cfg.Expect[i] {
			continue
		}
		complete = complete && usable
		all := p.Reason()
		mismatch = mismatch || all&meter.Mismatch != 0
		answered = answered || all&meter.NoAnswer == 0
		if inside {
			w.open.remark(why, usable && p.Quality() == meter.Suspect)
		}
	}
	if answered && mismatch != w.mismatch {
		w.mismatch = mismatch
		w.open.Flags |= meter.ConfigChanged
	}
	w.addNeutral(&r.Neutral, inside, since, until)
	if complete {
		w.open.Samples++
	} else {
		w.open.Bad++
	}
}

// addNeutral takes the neutral current of a reading. It has its own hold and
// never decides whether the reading is complete: many meters have no neutral.
func (w *Window) addNeutral(s *meter.Sample[meter.Milliamps], inside bool, since, until int64) {
	why, usable := fault(s)
	switch {
	case usable:
		w.neutral = heldNeutral{int64(s.Value), until}
		if inside {
			w.open.Neutral.stamp(w.neutral.i, since)
			if s.Reason&meter.Derived != 0 {
				w.open.Flags |= meter.DerivedN
			}
		}
	case why != meter.NoAnswer:
		w.neutral.until = none
	}
	if inside {
		w.open.remark(why, usable && s.Quality == meter.Suspect)
	}
}

// Advance tells the window the time and returns the next record that is due.
// Call it about once a second, and each time until it returns false. Wall is
// followed only while the clock is trusted: until it is for the first time
// nothing is labelled, and when trust is lost later the labels run on from the
// monotonic clock. Call it before the first Add too, so that with a good clock
// no reading has to wait for its label.
func (w *Window) Advance(mono time.Duration, wall time.Time, clock meter.Clock) (meter.HalfHour, bool) {
	now := int64(mono)
	w.start(now)
	if y := wall.UTC().Year(); y < 1970 || y > 2200 {
		clock = meter.Unsynced // whatever the source says, and a date int64 can't hold
	}
	if !w.labelled {
		w.roll(now)
	}
	w.clock = clock
	w.open.note(clock)
	if clock.Trusted() {
		w.follow(now, wall.UnixNano()-now)
	}
	if w.labelled {
		w.closeUpTo(now - w.grace)
	}
	return w.handOut()
}

// start notes when the first thing happened on the monotonic scale.
func (w *Window) start(at int64) {
	switch {
	case !w.started:
		w.started, w.began = true, at
		w.open.Start, w.open.End = at, w.slots.endOf(at)
	case !w.labelled && at < w.began:
		w.began = at
	}
}

// follow refreshes the offset of a trusted wall clock.
func (w *Window) follow(now, offset int64) {
	switch change := offset - w.offset; {
	case !w.labelled:
		w.label(now, offset)
	case change > int64(StepOver) || change < -int64(StepOver):
		w.step(now, offset)
	default:
		w.offset = offset
	}
}

// pickUp opens the period that starts at start, after what a checkpoint left
// open: the same period goes on, an earlier one is closed as it stands and the
// ones between are recorded as empty.
func (w *Window) pickUp(start int64, flags meter.Flags) {
	if len(w.resumed) == 0 {
		w.begin(start, w.began)
		return
	}
	w.open = w.resumed[0]
	w.resumed = nil
	w.open.Flags |= meter.Restart
	w.open.note(w.clock)
	w.from = w.began
	sameGrid := w.open.End-w.open.Start == w.period
	if sameGrid && w.open.Start == start {
		return
	}
	left := w.open
	back := sameGrid && start < left.Start
	w.shut()
	if back || !sameGrid {
		w.overRev = w.topRev + 1
	}
	// Under another period the old end need not be a boundary of ours.
	w.gap(w.startOf(left.End-1-w.offset)+w.period, start, flags|meter.Restart)
	w.begin(start, w.began)
	if back {
		w.open.Flags |= meter.ClockStep
	}
}

// step takes a jump of the wall clock. The open period is closed as it is unless
// the jump stays inside it. Forward, the periods in between are recorded as
// empty; backward, the period that was closed before is opened again.
func (w *Window) step(now, offset int64) {
	w.closeUpTo(now) // by the labels in force until now
	w.integrate(floorMilli(now))
	w.offset = offset
	w.open.Flags |= meter.ClockStep
	left, start := w.open.Start, w.startOf(now)
	if start == left {
		return
	}
	w.shut()
	if start < left {
		w.overRev = w.topRev + 1
	}
	w.gap(w.open.End, start, meter.ClockStep)
	w.begin(start, now)
	w.open.Flags |= meter.ClockStep
}

// closeUpTo closes every period that has ended at now.
func (w *Window) closeUpTo(now int64) {
	end := w.open.End - w.offset
	if now < end {
		return
	}
	w.integrate(floorMilli(end))
	w.shut()
	// No reading is stamped in the periods between, so they are empty even if a
	// value was still held into them.
	start := w.startOf(now)
	w.gap(w.open.End, start, 0)
	w.begin(start, start-w.offset)
	w.cursor = max(w.cursor, floorMilli(start-w.offset))
}

// shut puts the open period in the queue and keeps it to be opened again. One
// that has a record already and had no poll since adds nothing to it: an empty
// record of a higher revision would only hide the one with the values.
func (w *Window) shut() {
	if w.open.Rev > 0 && w.open.Samples+w.open.Bad == 0 {
		return
	}
	w.waiting = append(w.waiting, Waiting{Period: w.open})
	w.topRev = max(w.topRev, w.open.Rev)
	w.issued.add(w.open.Start, w.open.End)
	if len(w.closed) == reopenable {
		w.closed = w.closed[:reopenable-1]
	}
	w.closed = append(w.closed, Period{})
	copy(w.closed[1:], w.closed)
	w.closed[0] = w.open
	w.closed[0].Rev++
}

// gap queues empty records for the periods of [from, to) that have none yet.
func (w *Window) gap(from, to int64, flags meter.Flags) {
	if to-from > int64(MostSkipped) {
		return
	}
	for from < to {
		next, was := w.issued.at(from)
		next = min(next, to)
		if !was {
			empty := Period{Start: from, End: from + w.period, Flags: flags, Clock: meter.Synced}
			empty.note(w.clock)
			if flags&meter.ClockBad != 0 {
				empty.Clock = meter.Unsynced
			}
			w.waiting = append(w.waiting, Waiting{Period: empty, Until: next})
			w.issued.add(from, next)
		}
		from = next
	}
}

// begin opens the period that starts at start for readings stamped at from or
// later: again, if it is still re-openable, otherwise afresh.
func (w *Window) begin(start, from int64) {
	w.from = from
	for i := range w.closed {
		if w.closed[i].Start == start && w.closed[i].End == start+w.period {
			w.open = w.closed[i]
			w.open.Flags |= meter.Overlap
			w.open.note(w.clock)
			w.closed = append(w.closed[:i], w.closed[i+1:]...)
			return
		}
	}
	w.open = Period{Start: start, End: start + w.period, Clock: meter.Synced}
	if _, was := w.issued.at(start); was {
		// Its last revision is no longer known: one above all that were ever given.
		w.open.Rev = w.overRev
		w.open.Flags |= meter.Overlap
	}
	w.open.note(w.clock)
}

// handOut returns the next record of the queue.
func (w *Window) handOut() (meter.HalfHour, bool) {
	if len(w.waiting) == 0 {
		return meter.HalfHour{}, false
	}
	next := &w.waiting[0]
	record := next.Period.record(&w.cfg)
	if next.Until > next.Period.End {
		length := next.Period.End - next.Period.Start
		next.Period.Start, next.Period.End = next.Period.End, next.Period.End+length
		return record, true
	}
	w.waiting = append(w.waiting[:0], w.waiting[1:]...)
	return record, true
}

// integrate adds what is held between the cursor and to, both in milliseconds.
func (w *Window) integrate(to int64) {
	if to <= w.cursor {
		return
	}
	both := to // how far all expected phases are held together
	var p, q int64
	for i := range w.held {
		h := &w.held[i]
		end := min(to, h.until)
		if w.cfg.Expect[i] {
			both = min(both, end)
			p += h.p
			q += h.q
		}
		if end > w.cursor {
			w.open.Phase[i].add(h, end-w.cursor, max(0, end-max(w.cursor, h.stale)))
		}
	}
	if both > w.cursor {
		w.open.Total.add(p, q, both-w.cursor)
	}
	if end := min(to, w.neutral.until); end > w.cursor && w.open.NeutralWeight < fullWeight {
		w.open.Neutral.add(w.neutral.i, end-w.cursor)
		w.open.NeutralWeight += end - w.cursor
	}
	w.cursor = to
}

// startOf returns the start of the period in which the monotonic time at lies,
// always from the UTC boundary: the epoch is a UTC midnight.
func (w *Window) startOf(at int64) int64 {
	return fixed.FloorDiv(at+w.offset, w.period) * w.period
}

// since returns the label of at, relative to the open period's start. Before a
// label is known it is the monotonic time itself; label shifts it later.
func (w *Window) since(at int64) int64 {
	if !w.labelled {
		return at
	}
	return min(max(at+w.offset-w.open.Start, 0), w.period-1)
}

// fault returns whether a sample is usable, and if not, why.
func fault[T meter.Quantity](s *meter.Sample[T]) (meter.Reason, bool) {
	if s.Quality == meter.Missing {
		return s.Reason, false
	}
	if s.Value > Largest || s.Value < -Largest {
		return meter.OutOfRange, false
	}
	return 0, true
}

// phaseFault returns whether all four quantities are usable, and the reasons of
// those that are not.
func phaseFault(p *meter.PhaseReading) (meter.Reason, bool) {
	v, vok := fault(&p.V)
	i, iok := fault(&p.I)
	pw, pok := fault(&p.P)
	q, qok := fault(&p.Q)
	return v | i | pw | q, vok && iok && pok && qok
}
