// Package poll decides which meter is read when. One goroutine, that of
// [Bus.Run], owns one bus: it connects, polls the ways on the bus at fixed
// ticks, and runs output jobs between the polls, outputs first.
//
// Every tick of every way yields a reading. When the meter or the link does not
// answer, the reading is Missing with the reason; nothing is ever repeated from
// before. A meter that stays silent is asked less often, so that it does not
// take the others' time. One that repeats itself bit for bit under load is not
// believed any more.
//
// What waits is served in this order, one request of it at a time: outputs,
// readings that are asked for again, the ways whose tick has come, what meters
// say of the supply at their slow period, and errands.
//
// It does not know registers (meter/modbus), it does not average
// (meter/window), and it does not decide on outputs (failsafe).
//
// Requirements: R1 (every phase of every way), R2 (gapless half-hours), R5
// (supply quality, health of meters and links), R10 and R13 (outputs before
// measurement).
package poll

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"lvagent/meter"
)

const (
	// firstRetry is the pause after the first failed connection. It doubles up
	// to lastRetry, and each is drawn within spread of it, so that the links of
	// a gateway that restarts do not come back together.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
	spread     = 0.2

	// patience is how many times in a row a meter may leave a request without
	// answer before it is probed only, once in probeEvery.
	patience   = 3
	probeEvery = 30 * time.Second

	// maxJobs is how many output jobs wait at most.
	maxJobs = 64
)

// ErrStopped is what jobs get that were still waiting when the bus stopped.
var ErrStopped = errors.New("bus has stopped")

// errNotYet is why a job waits before the first connection.
var errNotYet = errors.New("link is not connected yet")

// Link is the connection that a bus shares. Open and Close may be called in any
// state, and return within the link's own timeout.
type Link interface {
	Open() error
	Close() error
}

// Source reads one way over the link. Read sets every sample of the reading to
// a value just measured, or leaves or makes it Missing. It returns an error
// only when the connection is gone.
type Source interface {
	Read(*meter.Reading) error
}

// Retrier is a source that knows when its last Read is worth repeating: the
// meter was there, and busy.
type Retrier interface {
	RetryAfter() (time.Duration, bool)
}

// Way is one way to be polled.
type Way struct {
	Way    string
	Every  time.Duration
	Source Source

	Supply      SupplySource  // nil: the meter says nothing of the supply
	SupplyEvery time.Duration // 0: a minute

	// Point is the id of the health point of the way's meter; ways of one meter
	// share it. Empty: none.
	Point string
	// Range is the current at full load, for the detector of frozen meters; 0
	// turns it off.
	Range meter.Milliamps
}

// Job is one output write or read-back on the bus.
type Job struct {
	// Do runs once, on the bus goroutine, with the link open and before the
	// next meter is read. Like Source.Read it returns an error only when the
	// connection is gone; how the write went it tells its owner itself.
	Do func() error
	// Down is called at once, on the bus goroutine, when the link is not open
	// and Do has to wait, and again when the bus stops before Do could run. It
	// may be nil.
	Down func(cause error)
}

// Config is what a bus is made of.
type Config struct {
	Name string // in logs and statistics
	Link Link
	Ways []Way
	// Deliver takes each reading on the bus goroutine. It must not block.
	Deliver func(meter.Reading)
	// Supply takes what meters say of the supply, likewise. It may be nil where
	// no way has a source of it.
	Supply func(meter.SupplyReading)
	// Point is the id of the health point of the bus, and Health takes each
	// change of it and of the ways' points, likewise. Empty and nil: none.
	Point  string
	Health func(meter.HealthPoint)
	// Now is the time since the agent's start. It never jumps.
	Now func() time.Duration
	// Align is the Now of some full minute of the wall clock. Ticks lie on
	// whole periods from there, and later steps of the clock do not move them.
	Align time.Duration
	// Rand draws from [0, 1).
	Rand func() float64
	Log  *slog.Logger
}

// Bus polls the ways of one link.
type Bus struct {
	cfg  Config
	ways []*wayState

	// The link, owned by Run.
	up       bool
	cause    error // why it is not up
	retryAt  time.Duration
	fails    int           // connections that failed in a row
	openTook time.Duration // the last connection

	points []*point // of the ways' meters
	point  meter.HealthPoint

	mu      sync.Mutex
	jobs    []*waitingJob
	errands []*waitingErrand
	stopped bool
	wake    chan struct{}

	count busCount
}

type waitingJob struct {
	Job
	told bool
}

// wayState is a way's schedule and health, owned by Run.
type wayState struct {
	Way
	due     time.Duration
	reading meter.Reading

	asked   atomic.Bool   // to be read out of turn
	againAt time.Duration // a busy meter is asked again then; 0: no
	held    bool          // its reading waits for that, and is not delivered yet

	supply      meter.SupplyReading
	supplyDue   time.Duration
	supplyAlign time.Duration
	supplyBegan time.Duration
	partly      bool // a supply reading is under way

	last   meter.Reading // with every value, for the detector of frozen meters
	same   int           // how often it came again
	frozen bool

	point *point
	state meter.HealthState
	code  string
	why   string // for people

	unanswered int           // requests in a row on an open link
	probeAt    time.Duration // asked again then; 0 outside probe mode
	silent     int           // ticks in a row without an answer, asked or not
	heard      bool          // it has answered once
	goodAt     time.Duration // when it last gave any value; -1: never
	quiet      bool          // it was logged as silent
	incomplete bool          // the last answer lacked a value
	count      wayCount
}

// NewBus returns a bus that is not yet running. It panics on a configuration
// that no checked site file leads to: no link, a way without source or period.
func NewBus(cfg Config) *Bus {
	if cfg.Link == nil || cfg.Deliver == nil || cfg.Now == nil || cfg.Rand == nil {
		panic("poll: bus " + cfg.Name + " lacks link, deliver, now or rand")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("bus", cfg.Name)
	b := &Bus{cfg: cfg, cause: errNotYet, wake: make(chan struct{}, 1)}
	for _, w := range cfg.Ways {
		if w.Source == nil || w.Every <= 0 {
			panic("poll: way " + w.Way + " lacks a source or a period")
		}
		if w.Supply != nil && cfg.Supply == nil {
			panic("poll: bus " + cfg.Name + " does not say who takes what way " + w.Way + " says of the supply")
		}
		if w.SupplyEvery <= 0 {
			w.SupplyEvery = SupplyEvery
		}
		state := &wayState{Way: w, state: meter.HealthOK, goodAt: -1}
		b.addPoint(state)
		b.ways = append(b.ways, state)
	}
	return b
}

// Reread has a way read once before any other way, besides its ticks: an alarm
// wants to know more. Any goroutine may call it; it reports false for a way that
// is not on this bus.
func (b *Bus) Reread(way string) bool {
	for _, w := range b.ways {
		if w.Way.Way == way {
			w.asked.Store(true)
			b.rouse()
			return true
		}
	}
	return false
}

func (b *Bus) rouse() {
	select {
	case b.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Do queues a job to run before the next meter read. It never blocks. It
// returns false when the job was not taken, since too many wait already or the
// bus has stopped; neither Do nor Down of the job is then called.
func (b *Bus) Do(j Job) bool {
	b.mu.Lock()
	taken := !b.stopped && len(b.jobs) < maxJobs
	if taken {
		b.jobs = append(b.jobs, &waitingJob{Job: j})
	}
	b.mu.Unlock()
	if !taken {
		b.count.jobsRefused.Add(1)
		return false
	}
	b.rouse()
	return true
}

// Run polls until ctx is done, then closes the link. It returns nil unless
// the link cannot be closed.
func (b *Bus) Run(ctx context.Context) error {
	now := b.cfg.Now()
	for i, w := range b.ways {
		stagger := w.Every * time.Duration(i) / time.Duration(len(b.ways))
		w.due = firstTick(now, b.cfg.Align+stagger, w.Every)
		// What a meter says of the supply is known soon after the start, and
		// then at instants of its own.
		w.supplyDue = w.due
		w.supplyAlign = b.cfg.Align + w.SupplyEvery*time.Duration(i)/time.Duration(len(b.ways))
	}
	b.retryAt = now
	b.announce()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if !b.up && b.cfg.Now() >= b.retryAt {
			b.connect()
		}
		b.runJobs(ctx)
		if ctx.Err() != nil {
			break
		}
		if !b.up && b.cfg.Now() >= b.retryAt {
			continue // a job lost the link: connect first
		}
		b.expireErrands()
		if !b.work() {
			b.sleep(ctx, timer)
		}
	}
	return b.stop()
}

// work does the most urgent thing that is due, or reports that nothing is.
func (b *Bus) work() bool {
	now := b.cfg.Now()
	for _, w := range b.ways {
		if w.asked.Load() || w.againAt > 0 && w.againAt <= now {
			b.readAgain(w)
			return true
		}
	}
	if w := b.next(); w != nil && w.due <= now {
		b.tick(w)
		return true
	}
	if w := b.nextSupply(); w != nil && w.supplyDue <= now {
		b.askSupply(w)
		return true
	}
	return b.runErrand()
}

// firstTick is the first tick at or after now; ticks lie whole periods from
// align, before and after it.
func firstTick(now, align, every time.Duration) time.Duration {
	since := (now - align) % every
	if since < 0 {
		since += every
	}
	if since == 0 {
		return now
	}
	return now - since + every
}

// next is the way that is due first; of equals, the first one configured.
func (b *Bus) next() *wayState {
	var first *wayState
	for _, w := range b.ways {
		if first == nil || w.due < first.due {
			first = w
		}
	}
	return first
}

// sleep returns when the next thing is due, on a new job or when ctx is done.
func (b *Bus) sleep(ctx context.Context, timer *time.Timer) {
	at := time.Duration(math.MaxInt64)
	if !b.up {
		at = b.retryAt
	}
	for _, w := range b.ways {
		at = min(at, w.due)
		if w.againAt > 0 {
			at = min(at, w.againAt)
		}
		if w.Supply != nil {
			at = min(at, w.supplyDue)
		}
	}
	at = min(at, b.errandAt())
	var timed <-chan time.Time
	if at != math.MaxInt64 {
		timer.Reset(at - b.cfg.Now())
		timed = timer.C
	}
	select {
	case <-timed:
	case <-b.wake:
	case <-ctx.Done():
	}
}

// connect opens the link, or sets when to try again.
func (b *Bus) connect() {
	start := b.cfg.Now()
	err := b.cfg.Link.Open()
	b.openTook = b.cfg.Now() - start
	b.count.opens.Add(1)
	if err == nil {
		if b.fails > 0 || errors.Is(b.cause, errNotYet) {
			b.cfg.Log.Info("link up", "tries", b.fails+1)
			// After a real outage each meter gets a new chance at once.
			for _, w := range b.ways {
				w.unanswered, w.probeAt = 0, 0
			}
		}
		b.up, b.cause, b.fails = true, nil, 0
		b.count.up.Store(true)
		b.judgeBus()
		return
	}
	b.count.openErrors.Add(1)
	b.cause = err
	if b.fails == 0 {
		b.cfg.Log.Warn("link down", "err", err)
	}
	b.retryAt = b.cfg.Now() + b.pause()
	b.fails++
	b.judgeBus()
}

// pause is how long to wait after another failed connection.
func (b *Bus) pause() time.Duration {
	d := firstRetry
	for range b.fails {
		if d *= 2; d >= lastRetry {
			d = lastRetry
			break
		}
	}
	return time.Duration(float64(d) * (1 - spread + 2*spread*b.cfg.Rand()))
}

// lost takes note that the connection has ended. It is opened again at once:
// when one meter on a gateway does not answer, the others must not wait.
func (b *Bus) lost(err error) {
	if closeErr := b.cfg.Link.Close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	b.up, b.cause, b.retryAt = false, err, b.cfg.Now()
	b.count.up.Store(false)
	b.count.lost.Add(1)
}

// runJobs runs the jobs that wait now. A job that comes in the meantime waits
// for one read, so that a flood of outputs does not stop measurement. With the
// link down it tells them why they wait.
func (b *Bus) runJobs(ctx context.Context) {
	if !b.up {
		b.tellJobs()
		return
	}
	b.mu.Lock()
	n := len(b.jobs)
	b.mu.Unlock()
	for ; n > 0 && b.up && ctx.Err() == nil; n-- {
		b.mu.Lock()
		j := b.jobs[0]
		copy(b.jobs, b.jobs[1:])
		b.jobs[len(b.jobs)-1] = nil
		b.jobs = b.jobs[:len(b.jobs)-1]
		b.mu.Unlock()
		b.count.jobs.Add(1)
		if err := j.Do(); err != nil {
			b.count.jobsFailed.Add(1)
			b.lost(fmt.Errorf("output job: %w", err))
		}
	}
}

// tellJobs tells each waiting job, once, that the link is down. A job may queue
// another from there, so the lock isn't held.
func (b *Bus) tellJobs() {
	b.mu.Lock()
	var tell []*waitingJob
	for _, j := range b.jobs {
		if !j.told {
			j.told = true
			tell = append(tell, j)
		}
	}
	b.mu.Unlock()
	for _, j := range tell {
		if j.Down != nil {
			j.Down(b.cause)
		}
	}
}

// stop refuses further jobs, tells those that wait and closes the link.
func (b *Bus) stop() error {
	b.mu.Lock()
	jobs, errands := b.jobs, b.errands
	b.jobs, b.errands, b.stopped = nil, nil, true
	b.mu.Unlock()
	for _, j := range jobs {
		if j.Down != nil {
			j.Down(ErrStopped)
		}
	}
	for _, e := range errands {
		e.Over(ErrStopped)
	}
	b.up = false
	b.count.up.Store(false)
	if err := b.cfg.Link.Close(); err != nil {
		return fmt.Errorf("close bus %s: %w", b.cfg.Name, err)
	}
	return nil
}

// tick polls a way that is due, delivers the reading and sets the next tick.
func (b *Bus) tick(w *wayState) {
	if w.held {
		b.deliver(w) // the repetition did not come in time
	}
	start := b.cfg.Now()
	w.count.late.add(start - w.due)
	asked := b.up && start >= w.probeAt
	b.read(w, asked, true)
	end := b.cfg.Now()
	// Ticks that passed meanwhile are skipped: a burst of polls afterwards
	// would say nothing about the time that was missed.
	missed := max(0, end-w.due-1) / w.Every
	w.count.skipped.Add(uint64(missed))
	w.due += (missed + 1) * w.Every
}

// readAgain reads a way out of turn: because somebody asked, or because the
// meter was busy.
func (b *Bus) readAgain(w *wayState) {
	held := w.againAt > 0
	w.asked.Store(false)
	w.againAt = 0
	if b.up && b.cfg.Now() >= w.probeAt {
		w.count.retries.Add(1)
		w.held = false
		b.read(w, true, false)
	} else if held {
		b.deliver(w)
	}
}

// read takes a reading of a way, judges and delivers it. A first failure that
// leaves time is repeated within the tick.
func (b *Bus) read(w *wayState, asked, mayRepeat bool) {
	took, err := b.ask(w, asked)
	if asked && mayRepeat && w.unanswered == 0 {
		_, good := survey(&w.reading)
		switch after, busy := w.retryAfter(); {
		case err != nil && !good && b.roomFor(took+b.openTook):
			b.lost(err)
			if b.connect(); b.up {
				w.count.retries.Add(1)
				_, err = b.ask(w, true)
			} else {
				err = nil // said already
			}
		case err == nil && busy && b.roomFor(after+took):
			w.againAt, w.held = max(1, b.cfg.Now()+after), true
			return
		}
	}
	b.detectFrozen(w)
	b.judge(w, asked, err)
	b.deliver(w)
	if err != nil {
		b.lost(err)
	}
}

// ask makes w's reading that of this moment.
func (b *Bus) ask(w *wayState, asked bool) (took time.Duration, err error) {
	start := b.cfg.Now()
	r := &w.reading
	*r = meter.Reading{Way: w.Way.Way}
	r.Fail(meter.NoAnswer)
	if asked {
		err = w.Source.Read(r)
	}
	took = b.cfg.Now() - start
	r.Way, r.At = w.Way.Way, start+took/2
	if asked {
		w.count.trip.add(took)
	}
	return took, err
}

func (b *Bus) deliver(w *wayState) {
	w.held = false
	b.cfg.Deliver(w.reading)
}

// roomFor reports whether d passes before the next tick of any way.
func (b *Bus) roomFor(d time.Duration) bool {
	now := b.cfg.Now()
	for _, w := range b.ways {
		due := w.due
		if due <= now {
			due += w.Every // the tick that is under way
		}
		if now+d > due {
			return false
		}
	}
	return true
}

func (w *wayState) retryAfter() (time.Duration, bool) {
	if r, ok := w.Source.(Retrier); ok {
		return r.RetryAfter()
	}
	return 0, false
}

// judge keeps the way's health and logs when it changes.
func (b *Bus) judge(w *wayState, asked bool, err error) {
	why, good := survey(&w.reading)
	// An exception or an invalid value is an answer too: the meter is there.
	answered := good || (err == nil && why&^(meter.NoAnswer|meter.BadFrame|meter.NotSupported) != 0)
	switch {
	case !asked:
		w.silent++
	case answered:
		w.count.note(why, w.reading.At)
		w.unanswered, w.silent, w.probeAt, w.heard = 0, 0, 0, true
		b.logAnswer(w, why, err)
	default:
		w.count.note(why, w.reading.At)
		w.silent++
		w.unanswered++
		if w.unanswered >= patience {
			w.probeAt = b.cfg.Now() + probeEvery
			if !w.quiet {
				w.quiet = true
				b.cfg.Log.Warn("meter silent", "way", w.Way.Way, "err", err)
			}
		}
	}
	state := OK
	switch {
	case !w.heard || w.silent >= patience:
		state = Offline
	case w.silent > 0 || w.incomplete:
		state = Degraded
	}
	w.count.state.Store(uint32(state))
	if good {
		w.goodAt = w.reading.At
	}
	b.diagnose(w, asked, why, good, err)
	b.judgeBus()
}

// logAnswer logs an answer that is unlike the one before.
func (b *Bus) logAnswer(w *wayState, why meter.Reason, err error) {
	if w.quiet {
		w.quiet = false
		b.cfg.Log.Info("meter answers again", "way", w.Way.Way)
	}
	incomplete := why&^remarks != 0
	switch {
	case incomplete && !w.incomplete:
		b.cfg.Log.Warn("meter lacks values", "way", w.Way.Way, "reason", reasonNames(why), "err", err)
	case !incomplete && w.incomplete:
		b.cfg.Log.Info("meter complete again", "way", w.Way.Way)
	}
	w.incomplete = incomplete
}

// survey returns the reasons of a reading's samples together and whether any of
// them is a value.
func survey(r *meter.Reading) (why meter.Reason, good bool) {
	why, good = r.Neutral.Reason, r.Neutral.Quality != meter.Missing
	for i := range r.Phase {
		p := &r.Phase[i]
		why |= p.Reason()
		good = good || max(p.V.Quality, p.I.Quality, p.P.Quality, p.Q.Quality) != meter.Missing
	}
	return why, good
}
