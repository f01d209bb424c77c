package poll

import (
	"fmt"
	"time"

	"lvagent/meter"
)

// Codes of health points.
const (
	MeterOffline   = "METER_OFFLINE"   // it does not answer, or the bus is down
	MeterException = "METER_EXCEPTION" // it refuses to answer
	MeterBadFrame  = "METER_BAD_FRAME" // what it answers is garbled, or another's
	MeterInvalid   = "METER_INVALID"   // it answers without some of its values
	MeterMismatch  = "METER_MISMATCH"  // it is not the meter that the site file names
	MeterFrozen    = "METER_FROZEN"    // it repeats itself bit for bit under load
	BusDown        = "BUS_DOWN"        // there is no connection
	BusSilent      = "BUS_SILENT"      // there is one, and nobody answers on it
)

const (
	// frozenAfter is how many readings in a row may be the same, bit for bit,
	// while more than frozenShare of the range flows.
	frozenAfter = 60
	frozenShare = 50 // a 50th: 2 %

	// staleAfter is how many periods old the last answer of a meter may be
	// before the meter counts as faulty; staleMost is how old in any case.
	staleAfter = 2.5
	staleMost  = 30 * time.Second
)

// point is the health point of a meter, which may measure several ways: the
// worst of them counts.
type point struct {
	id   string
	ways []*wayState
	said meter.HealthPoint
}

func (b *Bus) addPoint(w *wayState) {
	if w.Point == "" {
		return
	}
	for _, p := range b.points {
		if p.id == w.Point {
			p.ways, w.point = append(p.ways, w), p
			return
		}
	}
	w.point = &point{id: w.Point, ways: []*wayState{w}}
	b.points = append(b.points, w.point)
}

// announce says of every point that it is there. A meter that was not asked yet
// is not known to be well.
func (b *Bus) announce() {
	if b.cfg.Health == nil {
		return
	}
	for _, p := range b.points {
		p.said = meter.HealthPoint{ID: p.id, State: meter.HealthDegraded, Code: MeterOffline, Detail: "not asked yet"}
		b.cfg.Health(p.said)
	}
	b.judgeBus()
}

// diagnose says what is wrong with the meter of a way, at once: a fault shows
// within one period.
func (b *Bus) diagnose(w *wayState, asked bool, why meter.Reason, good bool, err error) {
	if w.point == nil || b.cfg.Health == nil {
		return
	}
	was := w.code
	w.state, w.code = meter.HealthOK, ""
	set := func(s meter.HealthState, code string) { w.state, w.code = s, code }
	old := w.goodAt < 0 || b.cfg.Now()-w.goodAt > min(time.Duration(staleAfter*float64(w.Every)), staleMost)
	switch {
	case !asked && b.up && was != "":
		set(meter.HealthDegraded, was) // nothing new is known
	case !asked:
		set(meter.HealthDegraded, MeterOffline)
	case why&meter.Mismatch != 0:
		set(meter.HealthFault, MeterMismatch)
	case why&meter.Exception != 0:
		set(meter.HealthDegraded, MeterException)
	case why&meter.BadFrame != 0:
		set(meter.HealthDegraded, MeterBadFrame)
	case why&(meter.Sentinel|meter.NotANumber|meter.OutOfRange) != 0:
		set(meter.HealthDegraded, MeterInvalid)
	case why&meter.NoAnswer != 0:
		set(meter.HealthDegraded, MeterOffline)
	case w.frozen:
		set(meter.HealthDegraded, MeterFrozen)
	}
	if w.state == meter.HealthDegraded && !good && old {
		w.state = meter.HealthFault
	}
	if w.code != was || w.state == meter.HealthOK {
		w.why = b.detail(w, asked, why, err)
	}
	b.tellPoint(w.point)
}

// detail says for people what is wrong with the meter of a way.
func (b *Bus) detail(w *wayState, asked bool, why meter.Reason, err error) string {
	switch {
	case w.code == "":
		return ""
	case w.code == MeterFrozen:
		return fmt.Sprintf("way %s: %d readings in a row are the same bit for bit", w.Way.Way, w.same)
	case !asked && !b.up:
		return fmt.Sprintf("way %s: bus is down: %v", w.Way.Way, b.cause)
	case !asked:
		return fmt.Sprintf("way %s: no answer, asked every %s only", w.Way.Way, probeEvery)
	case err != nil:
		return err.Error()
	default:
		return fmt.Sprintf("way %s: %s", w.Way.Way, reasonNames(why&^remarks))
	}
}

// tellPoint says how a meter does, when that is news.
func (b *Bus) tellPoint(p *point) {
	now := meter.HealthPoint{ID: p.id, State: meter.HealthOK}
	for _, w := range p.ways {
		if w.state < now.State {
			now.State, now.Code, now.Detail = w.state, w.code, w.why
		}
	}
	if now.State == p.said.State && now.Code == p.said.Code {
		return // the detail alone is no news
	}
	p.said = now
	b.cfg.Health(now)
}

// judgeBus says how the bus does, when that is news.
func (b *Bus) judgeBus() {
	if b.cfg.Health == nil || b.cfg.Point == "" {
		return
	}
	now := meter.HealthPoint{ID: b.cfg.Point, State: meter.HealthOK}
	silent := 0
	for _, w := range b.ways {
		if w.unanswered >= patience {
			silent++
		}
	}
	switch {
	case !b.up && b.fails == 0 && b.point.ID == "":
		now.State, now.Code, now.Detail = meter.HealthDegraded, BusDown, "not connected yet"
	case !b.up && b.fails > 0:
		now.State, now.Code, now.Detail = meter.HealthFault, BusDown, fmt.Sprint(b.cause)
	case len(b.ways) > 1 && silent == len(b.ways):
		now.State, now.Code, now.Detail = meter.HealthFault, BusSilent, fmt.Sprintf("none of %d meters answers", silent)
	}
	if now.State == b.point.State && now.Code == b.point.Code && b.point.ID != "" {
		return
	}
	b.point = now
	b.cfg.Health(now)
}

// detectFrozen marks what a meter says as suspect when it has not moved at all
// for long although current flows: a live circuit is never that still.
func (b *Bus) detectFrozen(w *wayState) {
	r := &w.reading
	flows, whole := false, false
	for p := range r.Phase {
		i := r.Phase[p].I
		flows = flows || i.Quality == meter.Good && i.Value > w.Range/frozenShare
		whole = whole || r.Phase[p].V.Quality == meter.Good
	}
	if w.Range <= 0 || !whole {
		return // no answer says nothing about the ones around it
	}
	now := *r
	now.At = 0
	if now != w.last {
		w.last, w.same, w.frozen = now, 1, false
		return
	}
	w.same = min(w.same+1, 1<<30)
	if w.frozen = flows && w.same >= frozenAfter; !w.frozen {
		return
	}
	spoil := func(q *meter.Quality, why *meter.Reason) {
		if *q == meter.Good {
			*q, *why = meter.Suspect, *why|meter.Frozen
		}
	}
	for i := range r.Phase {
		p := &r.Phase[i]
		spoil(&p.V.Quality, &p.V.Reason)
		spoil(&p.I.Quality, &p.I.Reason)
		spoil(&p.P.Quality, &p.P.Reason)
		spoil(&p.Q.Quality, &p.Q.Reason)
	}
	spoil(&r.Neutral.Quality, &r.Neutral.Reason)
}
