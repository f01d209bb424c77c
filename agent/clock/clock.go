// Package clock says how far the wall clock can be trusted, by asking the
// kernel or by being told to assume it.
//
// Three things are held against it, whatever the source says: a step makes it
// suspect, a source that is silent for too long makes it unsynced, and a time
// before one that was already trusted is no time: a dead battery that boots
// into last year is not believed. It never sets a clock.
//
// Requirement: R16 (common time reference).
package clock

import (
	"time"

	"lvagent/meter"
)

// Limits of trust.
const (
	// StepOver is the change against the monotonic clock that is a step and not
	// slew.
	StepOver = time.Second
	// SuspectOver is the step that makes a clock suspect which was trusted, for
	// at least Suspicion: it may have been the right one, or not.
	SuspectOver = 5 * time.Second
	Suspicion   = time.Minute
	// mostError is the largest possible error at which the kernel's word counts.
	// It grows by 0.5 ms a second without a source, so that after two hours of
	// silence the clock is in holdover, before the kernel itself says so.
	mostError = 2 * time.Second
	// FloorEvery is how far the floor lies behind at most; it is stored no more
	// often.
	FloorEvery = time.Minute
)

// State is what the wall clock is worth now.
type State struct {
	Clock   meter.Clock
	Suspect bool          // stepped a moment ago: no ground for commands and profiles
	Below   bool          // before a time that was trusted: unsynced for that reason
	Error   time.Duration // as the source estimates it; 0 where it does not say
	Step    time.Duration // the last step, 0 if there was none
	Steps   int           // how many there were
	Floor   time.Time     // to be stored, and given to SetFloor after a restart
}

// Kernel is what the kernel says of its clock.
type Kernel struct {
	Synced           bool
	Error, MostError time.Duration // estimated, and largest possible
}

// Config is what a source is made of.
type Config struct {
	Source   string        // as in the site file: kernel or assume
	Holdover time.Duration // how long a clock is trusted after its source fell silent
	Now      func() time.Duration
	Wall     func() time.Time
	Kernel   func() Kernel // nil: the kernel of this machine
}

// Source watches the wall clock. It is used by one goroutine.
type Source struct {
	cfg Config
	s   State

	looked  bool
	offset  time.Duration // wall less monotonic, at the last look
	ever    bool          // synchronised since the start
	synced  time.Duration // when last
	suspect time.Duration // until then at least

	above bool // seen at or above the floor in this process
	below bool
	since time.Duration // below since
}

// New returns a source that nothing is known of yet.
func New(cfg Config) *Source {
	if cfg.Kernel == nil {
		cfg.Kernel = askKernel
	}
	return &Source{cfg: cfg}
}

// SetFloor says that t was trusted once: no earlier time is believed.
func (s *Source) SetFloor(t time.Time) {
	if t.After(s.s.Floor) {
		s.s.Floor = t
	}
}

// State looks at the clock.
func (s *Source) State() State {
	now, wall := s.cfg.Now(), s.cfg.Wall()
	before := s.s.Clock
	s.step(wall.Sub(time.Unix(0, 0))-now, now, before.Trusted() && s.looked)
	c := s.source(now)
	s.s.Clock = s.hold(c, now, wall)
	if s.s.Suspect && now >= s.suspect && (s.s.Clock == meter.Synced || s.s.Clock == meter.Assumed) {
		s.s.Suspect = false
	}
	s.looked = true
	return s.s
}

// step notices a jump of the wall clock. One that sets a clock which was not
// trusted is what everybody waited for.
func (s *Source) step(offset, now time.Duration, trusted bool) {
	change := offset - s.offset
	s.offset = offset
	if !s.looked || max(change, -change) <= StepOver {
		return
	}
	s.s.Step = change
	s.s.Steps++
	if trusted && max(change, -change) > SuspectOver {
		s.s.Suspect, s.suspect = true, now+Suspicion
	}
}

// source returns what the source says.
func (s *Source) source(now time.Duration) meter.Clock {
	if s.cfg.Source == "assume" {
		return meter.Assumed
	}
	k := s.cfg.Kernel()
	s.s.Error = k.Error
	switch {
	case k.Synced && k.MostError <= mostError:
		s.ever, s.synced = true, now
		return meter.Synced
	case s.ever && now-s.synced < s.cfg.Holdover:
		return meter.Holdover
	default:
		return meter.Unsynced
	}
}

// hold holds the clock against the floor, and raises the floor. A source that
// sets back a clock which this process has seen right is believed when it stays
// with it: the floor itself may have come from a wrong source. After a start
// there is nobody to say so, and the floor stands until the clock passes it.
func (s *Source) hold(c meter.Clock, now time.Duration, wall time.Time) meter.Clock {
	if !wall.Before(s.s.Floor) {
		s.s.Below, s.below = false, false
		if c.Trusted() {
			s.above = true
			if !s.s.Suspect && wall.Sub(s.s.Floor) >= FloorEvery {
				s.s.Floor = wall
			}
		}
		return c
	}
	confirmed := c == meter.Synced || c == meter.Assumed
	switch {
	case !confirmed || !s.above:
		s.below = false
	case !s.below:
		s.below, s.since = true, now
	case now-s.since >= Suspicion:
		s.s.Floor, s.s.Below, s.below = wall, false, false
		return c
	}
	s.s.Below = true
	return meter.Unsynced
}
