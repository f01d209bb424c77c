// Package clock says how far the wall clock can be trusted, by asking the
// kernel or by being told to assume it.
package clock

import "lvagent/meter"

// Source asks for the state of the wall clock. It is used by one goroutine.
type Source struct {
	assume bool
	ever   bool
	kernel func() (synced bool)
}

// New returns the source that is called name in the site file: kernel or
// assume.
func New(name string) *Source {
	return &Source{assume: name == "assume", kernel: kernelSynced}
}

// State returns how far the wall clock can be trusted now. A clock that was
// synchronised and is not any more is in holdover.
func (s *Source) State() meter.Clock {
	switch {
	case s.assume:
		return meter.Assumed
	case s.kernel():
		s.ever = true
		return meter.Synced
	case s.ever:
		return meter.Holdover
	default:
		return meter.Unsynced
	}
}
