package failsafe

import "lvagent/meter"

// takeDraws takes what groups themselves draw. A current that is not complete
// over the group's phases, or not newer than the last, says nothing; the last
// stays known for a while, but is trusted for a raise only while it is fresh.
func (r *run) takeDraws() {
	for _, d := range r.draws {
		g := r.group(d.Group)
		if g < 0 || d.At > r.now {
			continue
		}
		gs, complete := &r.s.Groups[g], true
		for p, used := range r.cfg.Groups[g].Phases {
			complete = complete && (d.Quality[p] == meter.Good || !used)
		}
		if gs.Seen && d.At < gs.DrawnAt {
			continue
		}
		if gs.Drawn = complete; !complete {
			continue
		}
		gs.Seen, gs.DrawnAt = true, d.At
		for p, used := range r.cfg.Groups[g].Phases {
			gs.Draw[p] = 0
			if used {
				gs.Draw[p] = max(0, min(d.I[p], 2*r.cfg.Groups[g].Rating))
			}
		}
	}
	for g := range r.s.Groups {
		gs := &r.s.Groups[g]
		age := r.now - gs.DrawnAt
		gs.Drawn = gs.Drawn && age <= r.cfg.Timers.Sample
		gs.Seen = gs.Seen && age <= r.cfg.Timers.LastSeen
	}
}

// mayYetDraw is how much more than it is seen to draw a group may take on phase
// p that does not do what it is told, as far as anybody knows: up to its rating.
func (r *run) mayYetDraw(g int, p meter.Phase) meter.Milliamps {
	gs, most := &r.s.Groups[g], r.cfg.Groups[g].Rating
	if r.shut(g) {
		return 0
	}
	if r.cfg.Groups[g].Slow && gs.Actuation == Confirmed && !gs.Customer {
		most = min(most, max(gs.Limit, gs.Feedback))
	}
	if gs.Drawn {
		return max(0, most-gs.Draw[p])
	}
	return most
}

// reserved is what the groups on constraint i that are not controlled may yet
// draw, in thousandths of its rating: nothing is raised into it.
func (r *run) reserved(i int) int64 {
	if r.reserves == nil {
		r.reserves = make([]int64, len(r.bounds))
		for g := range r.s.Groups {
			if r.controlled(g) {
				continue
			}
			for _, on := range r.on[g] {
				r.reserves[on] += int64(r.mayYetDraw(g, r.s.Constraints[on].Phase))
			}
		}
	}
	rating := int64(r.bounds[i].rating)
	if r.reserves[i] == 0 || rating == 0 {
		return 0
	}
	return min(r.reserves[i]*1000/rating, mostLoad)
}
