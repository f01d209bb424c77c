package alarm

import (
	"time"

	"lvagent/meter"
)

// incomer is the meter that measures the transformer itself.
type incomer struct {
	Feeder
	heard bool
	at    time.Duration // stamp of its newest reading
	phase [meter.Phases]struct {
		stands bool
		at     time.Duration // when current and power were last known
	}
	newest meter.Reading
}

// MeasuredBy makes the readings of a way those of TX. A phase that it has not
// given for longer than its hold, or that it says it does not know, is the sum of
// the ways instead: [Transformer.Summed] then says so. It is to be called before
// the first reading; the way may not be one of the feeders.
func (t *Transformer) MeasuredBy(way Feeder) {
	way.complete()
	t.incomer = &incomer{Feeder: way}
}

// Summed reports whether a phase of the reading that was last returned is the sum
// of the ways although the site has an incomer.
func (t *Transformer) Summed() bool { return t.summed }

// stands reports whether a phase is still as the incomer gave it. One that has
// not spoken yet is waited for as long as its values would stand.
func (in *incomer) stands(phase int, now, began time.Duration) bool {
	if !in.Phases[phase] {
		return false
	}
	p := &in.phase[phase]
	if !in.heard {
		return now-began <= in.Hold
	}
	return p.stands && now-p.at <= in.Hold
}

// addIncomer takes a reading of the incomer and returns what it says of TX.
func (t *Transformer) addIncomer(r *meter.Reading) *meter.Reading {
	in := t.incomer
	if !t.started {
		t.started, t.began = true, r.At
	}
	if in.heard && r.At <= in.at {
		return nil
	}
	in.heard, in.at = true, r.At
	for p := range r.Phase {
		i, power := see(r.Phase[p].I), see(r.Phase[p].P)
		switch ph := &in.phase[p]; {
		case i.there() && power.there():
			ph.stands, ph.at = true, r.At
		case i.ends || power.ends:
			ph.stands = false
		}
	}
	if t.told && r.At <= t.toldAt {
		return nil
	}
	in.newest = *r
	in.newest.Way = TX
	any, summed := false, false
	for p := range r.Phase {
		if in.stands(p, r.At, t.began) {
			any = true
		} else if t.summedOnce && r.At-t.out.At <= t.longest {
			in.newest.Phase[p], summed = t.out.Phase[p], true
		}
	}
	if !any && len(t.feeders) > 0 {
		return nil // the sums speak
	}
	return t.tell(&in.newest, summed)
}

// tell notes what is said of TX.
func (t *Transformer) tell(r *meter.Reading, summed bool) *meter.Reading {
	t.told, t.toldAt, t.summed = true, r.At, summed
	return r
}

// tellSum returns the sum that was just worked out unless the incomer speaks for
// TX, or has spoken of a later time.
func (t *Transformer) tellSum(now time.Duration) *meter.Reading {
	t.summedOnce = true
	if t.incomer == nil {
		return &t.out
	}
	for p := range t.out.Phase {
		if t.incomer.stands(p, now, t.began) {
			return nil
		}
	}
	if t.told && t.out.At <= t.toldAt {
		return nil
	}
	return t.tell(&t.out, true)
}
