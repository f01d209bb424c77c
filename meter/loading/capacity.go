package loading

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// limit returns what a phase may carry now, and what says so. A cyclic rating
// counts only while the load is as uneven as it supposes.
func (w *Way) limit(p int, cyclic bool) (meter.Milliamps, string) {
	if w.cfg.Transformer != nil {
		return w.sustained(p), "firm"
	}
	limit, basis := w.sustained(p), "sustained"
	if cyclic && w.cfg.Cyclic > limit {
		limit, basis = w.cfg.Cyclic, "cyclic"
	}
	if f := w.cfg.Fuse; f != nil && f.Carry < limit {
		limit, basis = f.Carry, "fuse"
	}
	return limit, basis
}

// Free returns what each phase could carry besides what it carries now; nil
// where that is not known.
func (w *Way) Free() (free [meter.Phases]*meter.Milliamps) {
	_, cyclic := w.cyclicEarned()
	for p := range free {
		if w.cfg.Phases[p] && w.known(p) {
			limit, _ := w.limit(p, cyclic)
			left := max(0, limit-w.amps(p))
			free[p] = &left
		}
	}
	return free
}

// amps returns the rms current of the last minute, rounded up.
func (w *Way) amps(p int) meter.Milliamps {
	square := w.phase[p].last
	root := fixed.Sum{Lo: square}.Root()
	if root*root < square {
		root++
	}
	return meter.Milliamps(root)
}

// Capacity returns how loaded the way is. Transformer is the sum of the ways,
// whose free capacity bounds that of each; nil without one, and for itself.
func (w *Way) Capacity(transformer *Way) meter.Capacity {
	c := meter.Capacity{Way: w.cfg.Way, Season: w.season.String(), Warm: w.warm > 0, Demand: w.demandNow()}
	var bound [meter.Phases]*meter.Milliamps
	if transformer != nil {
		bound = transformer.Free()
	}
	after, reaches := w.toLimit()
	for p, has := range w.cfg.Phases {
		if !has {
			continue
		}
		out := &meter.PhaseCapacity{Known: w.known(p)}
		c.Phase[p] = out
		out.Limit, out.Basis = w.limit(p, c.Demand.CyclicEarned)
		c.Assumed = c.Assumed || w.phase[p].silent > 0
		if !out.Known {
			continue
		}
		heat, by := w.theta(p)
		out.Theta, out.By = meter.PPM(heat), by
		out.ToLimit, out.Reaches = after[p], reaches[p]
		out.I = w.amps(p)
		if out.Limit > 0 {
			out.Share = meter.PPM(fixed.MulDiv(int64(out.I), one, int64(out.Limit)))
		}
		out.Free = max(0, out.Limit-out.I)
		switch {
		case transformer == nil:
		case bound[p] == nil:
			out.Free = 0 // what the transformer carries is not known
		default:
			out.Free = min(out.Free, *bound[p])
		}
	}
	if t := w.cfg.Transformer; t != nil {
		c.AmbientAssumed = !w.Sensed()
		ambient := w.ambient()
		c.Transformer = &meter.TransformerHeat{
			Ambient: ambient, TopOil: ambient + w.heat.Oil/1000, HotSpot: w.hottest(),
			Ageing: ageing(w.hottest()), AgedHours: w.aged / 60_000,
		}
	}
	return c
}

// State is what a way keeps over a restart.
type State struct {
	Version int
	Way     string
	Wall    int64 // seconds since 1970; 0: the clock was not trusted
	Cable   [meter.Phases]int64
	Fuse    [meter.Phases]int64
	Last    [meter.Phases]uint64
	Heard   [meter.Phases]bool
	Heat    Heat
	Aged    int64
	Warm    int64
	Demand  demand
}

const stateVersion = 1

// State returns what is to be kept.
func (w *Way) State(wall time.Time, clock meter.Clock) State {
	s := State{Version: stateVersion, Way: w.cfg.Way, Heat: w.heat, Aged: w.aged, Warm: w.warm, Demand: w.demand}
	if clock.Trusted() {
		s.Wall = wall.Unix()
	}
	for p := range w.phase {
		ph := &w.phase[p]
		s.Cable[p], s.Fuse[p], s.Last[p], s.Heard[p] = ph.cable, ph.fuse, ph.last, ph.heard
	}
	return s
}

const (
	hottestHeat = 1_000_000_000_000 // millionths of a K, and of the limit: beyond what the models reach
	mostAged    = 1 << 60
)

// sound reports whether a kept state can be one of ours.
func (s *State) sound() bool {
	ok := s.Version == stateVersion && s.Aged >= 0 && s.Aged < mostAged && s.Warm >= 0 && s.Warm < 1_000_000 &&
		s.Heat.Oil >= 0 && s.Heat.Oil < hottestHeat && s.Wall >= 0
	for p := range s.Cable {
		for _, v := range [...]int64{s.Cable[p], s.Fuse[p], s.Heat.Fast[p], s.Heat.Slow[p]} {
			ok = ok && v >= 0 && v < hottestHeat
		}
		ok = ok && s.Last[p] <= largest*largest
	}
	return ok && s.Demand.sound()
}

func (d *demand) sound() bool {
	ok := d.Length >= 0 && d.Length <= 3600 && d.Last >= 0 && d.Last < 1<<53 && d.Ever >= 0 && d.Ever < 1<<53
	for _, b := range append([]daySums{d.Today}, d.Before[:]...) {
		ok = ok && b.N >= 0 && b.N <= 86_400 && b.Import >= 0 && b.Import < 1<<56 && b.MostIn >= 0 && b.MostIn < 1<<40 && b.Peak >= 0 && b.Day >= 0
		for p := range b.Most {
			ok = ok && b.Most[p] >= 0 && b.Most[p] <= largest && b.Squares[p].Hi < 1<<32
		}
	}
	return ok
}

// Resume takes up a kept state and reports whether it could be one; otherwise
// the way stays at its warm start. What happened in between is not known: the
// load is supposed to have gone on, and nothing to have cooled.
func (w *Way) Resume(s State, wall time.Time, clock meter.Clock) bool {
	if !s.sound() {
		return false
	}
	w.heat, w.aged, w.warm, w.demand = s.Heat, s.Aged, s.Warm, s.Demand
	for p := range w.phase {
		ph := &w.phase[p]
		ph.cable, ph.fuse, ph.last, ph.heard = s.Cable[p], s.Fuse[p], s.Last[p], s.Heard[p]
		ph.silent = 1
	}
	if s.Wall == 0 || !clock.Trusted() {
		return true
	}
	w.month = wall.Month()
	w.season = seasonOf(w.month)
	gone := min(max(0, (wall.Unix()-s.Wall)/60), mostSteps)
	for range gone {
		w.warmUp()
	}
	w.heat.Oil = max(w.heat.Oil, s.Heat.Oil)
	for p := range w.phase {
		ph := &w.phase[p]
		ph.cable, ph.fuse = max(ph.cable, s.Cable[p]), max(ph.fuse, s.Fuse[p])
		if s.Heat.Fast[p]-s.Heat.Slow[p] > w.heat.Fast[p]-w.heat.Slow[p] {
			w.heat.Fast[p], w.heat.Slow[p] = s.Heat.Fast[p], s.Heat.Slow[p]
		}
		ph.silent = int(min(gone, unknownAfter)) + 1
	}
	return true
}
