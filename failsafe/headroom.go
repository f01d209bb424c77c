package failsafe

// headroom gives up what ways of that mode were left at the loss of the centre:
// when a phase with groups on it is loaded to 80 % or was not measured for a
// minute, or the way's regime is not green. It is not given back before the centre is; the profile holds from then
// on, and still nothing above what was in force at the loss.
func (r *run) headroom() {
	for i := range r.s.Ways {
		w := &r.s.Ways[i]
		if !w.Headroom {
			continue
		}
		w.Headroom = r.s.Regime(w.ID) == Green
		for _, g := range r.groups[i] {
			for _, k := range r.on[g] {
				c := &r.s.Constraints[k]
				if c.Load >= slowAbove || r.now-c.Good > r.cfg.Timers.Blind {
					w.Headroom = false
				}
			}
		}
		if !w.Headroom {
			r.ev.Store = true
		}
	}
}
