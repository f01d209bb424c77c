package failsafe

import (
	"time"

	"lvagent/meter"
)

// Ramp is the law by which a limit goes on without a new decision: where to, how
// fast, and in which steps. It is said with the first step.
type Ramp struct {
	Target    meter.Milliamps `json:"target_ma"`
	PerMinute meter.Milliamps `json:"ma_per_minute"` // as the phases are loaded now; below 0: down
	Step      meter.Milliamps `json:"step_ma"`
	End       int64           `json:"end_mono_ms,omitempty"` // of a ramp that has a time
}

// Ramps reports whether a rule moves a limit step by step towards a target.
func (r Rule) Ramps() bool { return r == RuleRestore || r == RuleEntry }

// law is the ramp on which group g is; nil: on none.
func (r *run) law(g int) *Ramp {
	gs, cfg, w := &r.s.Groups[g], &r.cfg.Groups[g], &r.s.Ways[r.wayOf[g]]
	if !gs.Rule.Ramps() {
		return nil
	}
	if r.entitled == nil {
		r.entitle()
	}
	law := &Ramp{Step: granule, Target: r.entitled[g].most}
	if gs.Rule == RuleEntry {
		law.Target, law.End = r.profile(g, &r.today), w.RampEnd.Milliseconds()
		if whole := (w.RampEnd - w.RampStart).Milliseconds(); whole > 0 {
			law.PerMinute = meter.Milliamps(int64(law.Target-gs.From) * time.Minute.Milliseconds() / whole)
		}
		return law
	}
	if gs.Capped {
		law.Target = min(law.Target, gs.Cap)
	}
	law.PerMinute = r.cfg.Timers.RestoreSlow / meter.Milliamps(r.rising(g))
	if period := r.cfg.Timers.RestorePeriod.Milliseconds(); r.highest(g) < slowAbove && period > 0 {
		law.PerMinute = meter.Milliamps(int64(cfg.Rating) * time.Minute.Milliseconds() / period)
	}
	return law
}
