package metertest

import (
	"errors"
	"sync"
	"time"

	"lvagent/meter"
)

// Steady is a source that always reads the same, until it is set otherwise. It
// may be set while it is read.
type Steady struct {
	mu      sync.Mutex
	reading meter.Reading
	err     error
	takes   time.Duration
	reads   int
}

// NewSteady returns a source that reads r.
func NewSteady(r meter.Reading) *Steady { return &Steady{reading: r} }

// Set changes what is read.
func (s *Steady) Set(r meter.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = r
}

// Break makes reads fail with err, without a value; nil heals.
func (s *Steady) Break(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Takes makes each read take d.
func (s *Steady) Takes(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = d
}

// Reads returns how often it was read.
func (s *Steady) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// Read copies the steady samples into r.
func (s *Steady) Read(r *meter.Reading) error {
	s.mu.Lock()
	s.reads++
	err, takes, reading := s.err, s.takes, s.reading
	s.mu.Unlock()
	if takes > 0 {
		time.Sleep(takes)
	}
	if err != nil {
		r.Fail(meter.NoAnswer)
		return err
	}
	copySamples(r, &reading)
	return nil
}

// Step is one poll of a Playback. With an error it has no value.
type Step struct {
	Reading meter.Reading
	Err     error
}

// ErrPlayedOut is what a Playback returns after its last step.
var ErrPlayedOut = errors.New("playback is over")

// Playback is a source that reads a recorded sequence, one step a read.
type Playback struct {
	Steps []Step
	next  int
}

// Read plays the next step.
func (p *Playback) Read(r *meter.Reading) error {
	if p.next >= len(p.Steps) {
		r.Fail(meter.NoAnswer)
		return ErrPlayedOut
	}
	s := &p.Steps[p.next]
	p.next++
	if s.Err != nil {
		r.Fail(meter.NoAnswer)
		return s.Err
	}
	copySamples(r, &s.Reading)
	return nil
}

func copySamples(r, from *meter.Reading) {
	way, at := r.Way, r.At
	*r = *from
	r.Way, r.At = way, at
}

// Good returns a reading that has every value, the same on each phase.
func Good(v meter.Millivolts, i meter.Milliamps, p meter.Milliwatts, q meter.Millivars, n meter.Milliamps) meter.Reading {
	var r meter.Reading
	for ph := range r.Phase {
		r.Phase[ph] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: v, Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: i, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: p, Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Value: q, Quality: meter.Good},
		}
	}
	r.Neutral = meter.Sample[meter.Milliamps]{Value: n, Quality: meter.Good}
	return r
}

// Link is a connection that opens when it is told to.
type Link struct {
	mu     sync.Mutex
	err    error
	takes  time.Duration
	opens  int
	isOpen bool
}

// Break makes Open fail with err; nil heals.
func (l *Link) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Takes makes each Open take d.
func (l *Link) Takes(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takes = d
}

// Opens returns how often Open was called.
func (l *Link) Opens() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opens
}

// IsOpen reports whether the link is open.
func (l *Link) IsOpen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isOpen
}

// Open opens the link.
func (l *Link) Open() error {
	l.mu.Lock()
	l.opens++
	err, takes := l.err, l.takes
	l.isOpen = err == nil
	l.mu.Unlock()
	if takes > 0 {
		time.Sleep(takes)
	}
	return err
}

// Close closes the link.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isOpen = false
	return nil
}
