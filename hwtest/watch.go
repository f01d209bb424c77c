package hwtest

import (
	"fmt"
	"math"
	"time"

	"lvagent/hwtest/bench"
	"lvagent/meter"
)

// newPicture returns the picture of w before the evening begins.
func newPicture(w *bench.World, lasts time.Duration) *Picture {
	p := &Picture{For: lasts, Hour: bench.Hour(0), LinkUp: true, Beating: true}
	for _, way := range w.Ways {
		p.Rows = append(p.Rows, Row{ID: way.ID, Name: way.Name, Rating: way.Rating, Percent: bench.Released})
	}
	firm := w.Firm * 1000 / (math.Sqrt(3) * 433) // A per phase at 433 V
	p.Rows = append(p.Rows, Row{ID: "TX", Name: "transformer", Rating: firm, Percent: -1})
	return p
}

// watch brings the picture up to date. All in it is what the bench sees at its
// own end of the wires, but for the state and the alarms that the agent tells.
func (d *demo) watch(now time.Duration) {
	p, share := d.picture, d.share(now)
	p.Now, p.Hour, p.Scene = now, bench.Hour(share), d.scene
	p.Beating, p.LastBeat = d.beating, d.lastBeat
	if up := d.story.lastBeat == 0 || d.story.returned > 0; up != p.LinkUp {
		p.LinkUp, p.LinkSince = up, now
	}
	p.Heard = d.heardLately()
	p.Backlog, p.HalfHours = d.held(), d.ledger.HalfHours
	p.Lost, _ = d.ledger.Lost()
	p.Published, p.Acked = d.link.Published(), d.link.Acked()

	load, free, percent := d.meters.Load(), d.meters.Unlimited(), d.meters.Percent()
	for i := range p.Rows {
		r, hold := &p.Rows[i], Unheld
		var without float64
		if i < len(d.world.Ways) {
			r.Phase, r.Amps = load.Ways[i].Worst()
			_, without = free.Ways[i].Worst()
			r.Percent = lowest(d.world, i, percent)
			r.State = d.states[r.ID]
			r.Alarms = d.alarms.active(r.ID)
			hold = d.hold(i, now, percent)
		} else {
			r.Phase, r.Amps = worst(load.Transformer)
			_, without = worst(free.Transformer)
		}
		if share >= 1 {
			continue // the charts are of the evening
		}
		if hold == HeldSilent {
			r.Failsafe += now - d.watched
		}
		if r.Amps > r.Peak.Amps {
			r.Peak = Peak{r.Phase, r.Amps}
		}
		r.NoLimits = max(r.NoLimits, without/r.Rating)
		r.Past = extend(r.Past, slot(share), Slot{r.load(), without / r.Rating, hold}, Slot.merge)
	}
	if share < 1 {
		p.Link = extend(p.Link, slot(share), p.LinkUp, func(a, b bool) bool { return a && b })
	}
	d.watched = now
}

// slot is the slot of a share of the evening.
func slot(share float64) int { return min(int(share*slots), slots-1) }

// extend enters v at a slot. Slots that were passed by are like v.
func extend[T any](past []T, at int, v T, merge func(a, b T) T) []T {
	if last := len(past) - 1; at <= last {
		past[last] = merge(past[last], v)
		return past
	}
	for len(past) <= at {
		past = append(past, v)
	}
	return past
}

// hold is what the registers of a way permit, and why, by the script.
func (d *demo) hold(way int, now time.Duration, percent []uint16) Hold {
	all, held := true, true
	for k := range d.world.Groups {
		if g := &d.world.Groups[k]; g.Way == way {
			all = all && percent[k] >= bench.Released
			held = held && g.AtMost(percent[k], g.Failsafe)
		}
	}
	switch st := &d.story; {
	case all:
		return Unheld
	case !held:
		return Rising
	case st.lastBeat > 0:
		return HeldSilent
	case way == limitedWay && st.limited > 0 && now >= st.limited:
		return HeldSignal
	default:
		return HeldStart
	}
}

// lowest is the lowest register of a way.
func lowest(w *bench.World, way int, percent []uint16) int {
	least := bench.Released
	for k, g := range w.Groups {
		if g.Way == way {
			least = min(least, int(percent[k]))
		}
	}
	return least
}

// worst returns the phase with the highest current.
func worst(amps [meter.Phases]float64) (meter.Phase, float64) {
	most := meter.L1
	for p := meter.L2; p < meter.Phases; p++ {
		if amps[p] > amps[most] {
			most = p
		}
	}
	return most, amps[most]
}

// event tells what happened: to a way, or to none in particular.
func (d *demo) event(now time.Duration, way, format string, args ...any) {
	e := Event{At: now, Hour: bench.Hour(d.share(now)), Way: way, Text: fmt.Sprintf(format, args...)}
	d.picture.Events = append(d.picture.Events, e)
	d.report.Logf("%s", e)
}

// show shows the picture where somebody looks at it.
func (d *demo) show(now time.Duration) {
	d.watch(now)
	if v, ok := d.report.(Viewer); ok && (now-d.shown >= frame || d.shown == 0) {
		d.shown = now
		v.Show(d.picture)
	}
}

// frame is the time between two pictures: often enough to look alive.
const frame = 200 * time.Millisecond
