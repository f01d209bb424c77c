package window

import "lvagent/meter"

// Remark flags the period under way. Who has a reason to does so again and again,
// so that each period that it lasts into has the flag.
func (w *Window) Remark(f meter.Flags) { w.open.Flags |= f }

// Counter is the number of events of a kind, as the meter last said.
type Counter struct {
	Known bool
	Count int64
}

// Supply takes what the meter counts of dips, swells and interruptions. When one
// has risen since it was last asked, also since before a restart, the period
// under way is flagged PQ_EVENT. A counter that started anew and is above 0
// already has counted since.
func (w *Window) Supply(r *meter.SupplyReading) {
	for i, s := range [...]meter.Sample[meter.Count]{r.Dips, r.Swells, r.Interruptions} {
		if s.Quality != meter.Good {
			continue
		}
		c, n := &w.counters[i], int64(s.Value)
		if c.Known && n != c.Count && n > 0 {
			w.open.Flags |= meter.PQEvent
		}
		*c = Counter{true, n}
	}
}
