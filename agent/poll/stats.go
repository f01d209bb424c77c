package poll

import (
	"strings"
	"sync/atomic"
	"time"

	"lvagent/meter"
)

// State says how a meter does. The zero value is Offline.
type State uint8

// States of a meter, worst first.
const (
	Offline  State = iota // never heard, or silent for three ticks or more
	Degraded              // silent for a tick or two, or answers without some value
	OK
)

// String returns the state's name in status pages and points.
func (s State) String() string {
	switch s {
	case OK:
		return "ok"
	case Degraded:
		return "degraded"
	default:
		return "offline"
	}
}

// Stats is how a bus does. Counts are since the start.
type Stats struct {
	Bus         string
	Up          bool
	Opens       uint64 // connections tried
	OpenErrors  uint64 // connections that failed
	Lost        uint64 // connections that ended while in use
	Jobs        uint64 // output jobs run
	JobsFailed  uint64 // of them, those that lost the connection
	JobsRefused uint64 // jobs that found the queue full or the bus stopped
	Ways        []WayStats
}

// WayStats is how the meter of one way does.
type WayStats struct {
	Way      string
	State    State
	Polls    uint64        // requests made; ticks on a dead link are not
	Good     uint64        // of them, answers with every value
	LastGood time.Duration // At of the last of these; -1: none yet
	Skipped  uint64        // ticks that passed while the bus was busy
	Retries  uint64        // reads repeated within their tick, or asked for out of turn
	Late     Spread        // from the tick to the start of its poll
	Trip     Spread        // of the polls themselves

	// Polls with an error, by kind. A poll may be of several.
	NoAnswer  uint64
	Exception uint64
	BadFrame  uint64
	Invalid   uint64 // not available, not a number or out of range
}

type busCount struct {
	up                            atomic.Bool
	opens, openErrors, lost       atomic.Uint64
	jobs, jobsFailed, jobsRefused atomic.Uint64
}

type wayCount struct {
	state                                  atomic.Uint32
	polls, good, skipped, retries          atomic.Uint64
	late, trip                             histogram
	lastGood                               atomic.Int64
	noAnswer, exception, badFrame, invalid atomic.Uint64
}

// remarks are reasons that are no fault of a poll.
const remarks = meter.NotSupported | meter.Derived

// bounds of the histogram's buckets, in microseconds: steps of about a half, so
// that a quantile is right within that.
var bounds = [...]int64{500, 1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 50_000, 70_000,
	100_000, 150_000, 200_000, 300_000, 500_000, 700_000, 1_000_000, 2_000_000, 5_000_000, 30_000_000}

// histogram counts durations. It never grows and never allocates.
type histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	most   atomic.Int64
}

// Spread is how durations were spread since the start. Half and Most99 are
// upper bounds of the buckets in which the median and the 99th percentile lie.
type Spread struct {
	Count             uint64
	Half, Most99, Max time.Duration
}

func (h *histogram) add(d time.Duration) {
	us := d.Microseconds()
	i := 0
	for i < len(bounds) && us > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	if int64(d) > h.most.Load() { // one goroutine adds
		h.most.Store(int64(d))
	}
}

func (h *histogram) spread() (s Spread) {
	var counts [len(bounds) + 1]uint64
	for i := range counts {
		counts[i] = h.counts[i].Load()
		s.Count += counts[i]
	}
	s.Max = time.Duration(h.most.Load())
	at := func(share uint64) time.Duration { // in percent
		below := uint64(0)
		for i, n := range counts {
			if below += n; below*100 >= s.Count*share && below > 0 {
				if i == len(bounds) {
					return s.Max
				}
				return min(s.Max, time.Duration(bounds[i])*time.Microsecond)
			}
		}
		return 0
	}
	s.Half, s.Most99 = at(50), at(99)
	return s
}

// note counts one poll.
func (c *wayCount) note(why meter.Reason, at time.Duration) {
	c.polls.Add(1)
	if why&^remarks == 0 {
		c.lastGood.Store(int64(at)) // before good, by which readers know that it is set
		c.good.Add(1)
	}
	if why&meter.NoAnswer != 0 {
		c.noAnswer.Add(1)
	}
	if why&meter.Exception != 0 {
		c.exception.Add(1)
	}
	if why&meter.BadFrame != 0 {
		c.badFrame.Add(1)
	}
	if why&(meter.Sentinel|meter.NotANumber|meter.OutOfRange) != 0 {
		c.invalid.Add(1)
	}
}

// Stats returns how the bus does. Any goroutine may call it; each number is
// exact, together they may be of two neighbouring polls.
func (b *Bus) Stats() Stats {
	c := &b.count
	s := Stats{
		Bus: b.cfg.Name, Up: c.up.Load(),
		Opens: c.opens.Load(), OpenErrors: c.openErrors.Load(), Lost: c.lost.Load(),
		Jobs: c.jobs.Load(), JobsFailed: c.jobsFailed.Load(), JobsRefused: c.jobsRefused.Load(),
	}
	for _, w := range b.ways {
		c := &w.count
		ws := WayStats{
			Way: w.Way.Way, State: State(c.state.Load()),
			Polls: c.polls.Load(), Good: c.good.Load(), Skipped: c.skipped.Load(), LastGood: -1,
			Retries: c.retries.Load(), Late: c.late.spread(), Trip: c.trip.spread(),
			NoAnswer: c.noAnswer.Load(), Exception: c.exception.Load(),
			BadFrame: c.badFrame.Load(), Invalid: c.invalid.Load(),
		}
		if ws.Good > 0 {
			ws.LastGood = time.Duration(c.lastGood.Load())
		}
		s.Ways = append(s.Ways, ws)
	}
	return s
}

// reasonNames lists the causes in why for a log line.
func reasonNames(why meter.Reason) string {
	var names []string
	for _, r := range []struct {
		reason meter.Reason
		name   string
	}{
		{meter.NoAnswer, "no answer"},
		{meter.Exception, "exception"},
		{meter.Sentinel, "not available"},
		{meter.NotANumber, "not a number"},
		{meter.OutOfRange, "out of range"},
		{meter.BadFrame, "bad frame"},
		{meter.Frozen, "frozen"},
		{meter.Mismatch, "not the meter or the ratio that the site file names"},
		{meter.Restarted, "just restarted"},
	} {
		if why&r.reason != 0 {
			names = append(names, r.name)
		}
	}
	return strings.Join(names, ", ")
}
