// Package poll decides which meter is read when. One goroutine, that of
// [Bus.Run], owns one bus: it connects, polls the ways on the bus at fixed
// ticks, and runs output jobs between the polls, outputs first.
//
// Every tick of every way yields a reading. When the meter or the link does not
// answer, the reading is Missing with the reason; nothing is ever repeated from
// before. A meter that stays silent is asked less often, so that it does not
// take the others' time.
//
// It does not know registers (meter/modbus), it does not average
// (meter/window), and it does not decide on outputs (failsafe).
//
// Requirements: R1 (every phase of every way), R2 (gapless half-hours), R10 and
// R13 (outputs before measurement).
package poll

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// Way is one way to be polled.
type Way struct {
	Way    string
	Every  time.Duration
	Source Source
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
	up      bool
	cause   error // why it is not up
	retryAt time.Duration
	fails   int // connections that failed in a row

	mu      sync.Mutex
	jobs    []*waitingJob
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

	unanswered int           // requests in a row on an open link
	probeAt    time.Duration // asked again then; 0 outside probe mode
	silent     int           // ticks in a row without an answer, asked or not
	heard      bool          // it has answered once
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
		b.ways = append(b.ways, &wayState{Way: w})
	}
	return b
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
	select {
	case b.wake <- struct{}{}:
	default: // it is awake already
	}
	return true
}

// Run polls until ctx is done, then closes the link. It returns nil unless
// the link cannot be closed.
func (b *Bus) Run(ctx context.Context) error {
	now := b.cfg.Now()
	for i, w := range b.ways {
		stagger := w.Every * time.Duration(i) / time.Duration(len(b.ways))
		w.due = firstTick(now, b.cfg.Align+stagger, w.Every)
	}
	b.retryAt = now
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
		w := b.next()
		if w != nil && w.due <= b.cfg.Now() {
			b.tick(w)
			continue
		}
		b.sleep(ctx, timer, w)
	}
	return b.stop()
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

// sleep returns at the next tick or retry, on a new job or when ctx is done.
func (b *Bus) sleep(ctx context.Context, timer *time.Timer, w *wayState) {
	var at time.Duration
	var timed <-chan time.Time
	switch {
	case !b.up && w != nil:
		at = min(b.retryAt, w.due)
	case !b.up:
		at = b.retryAt
	case w != nil:
		at = w.due
	}
	if !b.up || w != nil {
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
	err := b.cfg.Link.Open()
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
		return
	}
	b.count.openErrors.Add(1)
	b.cause = err
	if b.fails == 0 {
		b.cfg.Log.Warn("link down", "err", err)
	}
	b.retryAt = b.cfg.Now() + b.pause()
	b.fails++
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
	jobs := b.jobs
	b.jobs, b.stopped = nil, true
	b.mu.Unlock()
	for _, j := range jobs {
		if j.Down != nil {
			j.Down(ErrStopped)
		}
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
	start := b.cfg.Now()
	r := &w.reading
	*r = meter.Reading{Way: w.Way.Way}
	r.Fail(meter.NoAnswer)
	asked := b.up && start >= w.probeAt
	var err error
	if asked {
		err = w.Source.Read(r)
	}
	end := b.cfg.Now()
	r.Way, r.At = w.Way.Way, start+(end-start)/2
	b.judge(w, asked, err)
	b.cfg.Deliver(*r)
	if err != nil {
		b.lost(err)
	}
	// Ticks that passed meanwhile are skipped: a burst of polls afterwards
	// would say nothing about the time that was missed.
	missed := max(0, end-w.due-1) / w.Every
	w.count.skipped.Add(uint64(missed))
	w.due += (missed + 1) * w.Every
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
