package failsafe

import "time"

// RuleAutonomous limits a way that has been on its own for long: nothing but its
// rating and overload protection, outside the peak hours.
const RuleAutonomous Rule = "autonomous outside peak hours"

// LongAlone is the cause of a way that goes its own way because the centre has
// been lost for long.
const LongAlone Cause = "LOST_FOR_LONG"

// alone reports whether way i may go its own way: it is enabled, the clock says
// which hours these are, and every phase with groups on it is measured. Without
// one of them the failsafe limit holds.
func (r *run) alone(i int) bool {
	if r.cfg.Autonomous <= 0 || !r.clock.Trusted() || r.suspect {
		return false
	}
	for _, g := range r.groups[i] {
		if r.blind(g) {
			return false
		}
	}
	return true
}

// peak reports whether these are peak hours.
func (r *run) peak() bool { return r.hours.at(&r.today, 1) == 0 }

// peakWeek works the peak hours out: 0 in them, 1 outside.
func (e *Engine) peakWeek() weekly {
	g := Group{ID: "peak", Failsafe: 1}
	for _, p := range e.cfg.Peak {
		p.Limit = 0
		g.Profile = append(g.Profile, p)
	}
	return e.week(&g)
}

// AutonomousAt is when way w goes its own way if nothing changes; 0: never.
func (e *Engine) AutonomousAt(w *WayState) time.Duration {
	if e.cfg.Autonomous <= 0 || w.State != Failsafe {
		return 0
	}
	return w.Since + e.cfg.Autonomous
}
