package failsafe

import "time"

// CustomerReport is what is said from afar of a customer's own override at the
// charge point (R12). It is an input: nobody here gives or takes it. While it is
// active the group is load like any other, nobody counts on it, and it is not
// curtailed a second time; what limits it already stays, protection above all.
type CustomerReport struct {
	Group  string
	Active bool
	Since  time.Time // zero: not said
	Wh     int64     // charged outside the scheme, in all
}

// CustomerState is what is known of it.
type CustomerState struct {
	Known  bool // something was ever said
	Active bool
	Since  time.Time
	At     time.Duration // when it was last said
	Wh     int64         // as last said; it only grows
	Count  int
}

// customerReports takes what is said of customers' overrides. One of which nothing
// is heard for as long as a current is taken for seen is over: a dead source must
// not keep a group out of reach.
func (r *run) customerReports(said []CustomerReport) {
	for _, c := range said {
		g := r.group(c.Group)
		if g < 0 {
			continue
		}
		s := &r.s.Groups[g].CustomerReport
		s.Known, s.At, s.Wh = true, r.now, max(s.Wh, min(c.Wh, 1<<50))
		if c.Active && !s.Active {
			s.Count++
			if s.Since = c.Since; s.Since.IsZero() {
				s.Since = r.wall
			}
		}
		s.Active = c.Active
	}
	for g := range r.s.Groups {
		s := &r.s.Groups[g].CustomerReport
		s.Active = s.Active && r.now-s.At <= r.cfg.Timers.LastSeen
	}
}
