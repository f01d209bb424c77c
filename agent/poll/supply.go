package poll

import (
	"time"

	"lvagent/meter"
)

// SupplyEvery is how often a meter is asked of the supply, where nobody says
// otherwise.
const SupplyEvery = time.Minute

// SupplySource reads what a meter says of the supply, like a [Source].
type SupplySource interface {
	ReadSupply(*meter.SupplyReading) error
}

// StepSource is a SupplySource that needs several requests, and can be asked for
// them one by one, so that the ways whose tick comes meanwhile wait for one
// request at most. The first step after a reading that was done, or failed,
// begins a new one.
type StepSource interface {
	StepSupply(*meter.SupplyReading) (done bool, err error)
}

// nextSupply is the way whose meter is to be asked of the supply next.
func (b *Bus) nextSupply() *wayState {
	var first *wayState
	for _, w := range b.ways {
		if w.Supply != nil && (first == nil || w.supplyDue < first.supplyDue) {
			first = w
		}
	}
	return first
}

// askSupply makes one request, and delivers the reading when it is complete.
func (b *Bus) askSupply(w *wayState) {
	now := b.cfg.Now()
	r := &w.supply
	if !w.partly {
		*r = meter.SupplyReading{Way: w.Way.Way}
		r.Fail(meter.NoAnswer)
		w.supplyBegan = now
	}
	var err error
	done := true
	if b.up && now >= w.probeAt {
		if steps, ok := w.Supply.(StepSource); ok {
			done, err = steps.StepSupply(r)
		} else {
			err = w.Supply.ReadSupply(r)
		}
	}
	if w.partly = !done && err == nil; w.partly {
		return
	}
	end := b.cfg.Now()
	r.Way, r.At = w.Way.Way, w.supplyBegan+(end-w.supplyBegan)/2
	b.cfg.Supply(*r)
	w.supplyDue = firstTick(end+1, w.supplyAlign, w.SupplyEvery)
	if err != nil {
		b.lost(err)
	}
}
