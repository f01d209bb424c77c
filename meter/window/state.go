package window

import (
	"slices"
	"time"

	"lvagent/meter"
)

// State is what a window must not lose when the agent stops. It is plain
// numbers; [Encode] makes it octets.
//
// Store it every minute, at the stop, and in the same transaction as the records
// that Advance handed out: a State older than such a record makes Resume hand
// out that record again.
type State struct {
	Way     string
	Period  int64     // ns
	Open    []Period  // the period under way: none before it has a label
	Closed  []Period  // re-openable, the newest first, with their next revision
	Waiting []Waiting // closed, not handed out
	Issued  []Span    // the time that has records
	TopRev  int
	OverRev int

	Settings string // as the configuration had them
	Mismatch bool
	Counters [3]Counter // dips, swells, interruptions
}

// Waiting is a closed period that was not handed out yet. With Until beyond the
// period's end it stands for a run of empty ones.
type Waiting struct {
	Period Period
	Until  int64
}

// Checkpoint returns a copy of what the window holds. The value that stands since
// the last reading is not in it: the time from that reading on is lost with a
// restart, which is at most one poll. Nor are readings that have no label yet.
func (w *Window) Checkpoint() State {
	s := State{
		Way: w.cfg.Way, Period: w.period,
		Open:    slices.Clone(w.resumed),
		Closed:  slices.Clone(w.closed),
		Waiting: slices.Clone(w.waiting),
		Issued:  slices.Clone(w.issued.spans[:w.issued.n]),
		TopRev:  w.topRev, OverRev: w.overRev,
		Settings: w.cfg.Settings, Mismatch: w.mismatch, Counters: w.counters,
	}
	if w.labelled {
		s.Open = []Period{w.open}
	}
	return s
}

// Resume goes on from s after a restart at mono. It is called once, right after
// New. What it means for the periods is decided by the first Advance with a
// trusted clock, never by the wall time at hand now, which may not be set yet:
// the same period goes on, flagged RESTART; of an earlier one the checkpoint is
// recorded as it stands, and the periods in between as empty, all flagged RESTART.
// When the settings are others than before, the present period is flagged
// CONFIG_CHANGED.
//
// Under another period than before, what was open or waiting is recorded as it
// stands, with its own start and end, and the new periods begin beside it; one
// that starts in time already recorded gets a higher revision and OVERLAP. The
// State of another way, and the zero State, are ignored.
func (w *Window) Resume(s State, mono time.Duration, _ time.Time) {
	if s.Way != w.cfg.Way || s.Period <= 0 {
		return
	}
	w.start(int64(mono))
	w.first = meter.Restart
	if s.Settings != w.cfg.Settings {
		w.first |= meter.ConfigChanged
	}
	w.mismatch, w.counters = s.Mismatch, s.Counters
	if len(s.Open) > 0 {
		w.resumed = []Period{s.Open[0]}
	}
	w.closed = append(w.closed[:0], s.Closed[:min(len(s.Closed), reopenable)]...)
	w.waiting = append(w.waiting[:0], s.Waiting...)
	for _, sp := range s.Issued {
		w.issued.add(sp.From, sp.To)
	}
	w.topRev, w.overRev = s.TopRev, s.OverRev
}
