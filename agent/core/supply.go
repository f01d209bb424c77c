package core

import (
	"encoding/json"
	"fmt"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/configs"
	"lvagent/meter"
	"lvagent/meter/pq"
)

// mostSupply is how many readings of the supply may wait; they come once a
// minute or so from each way.
const mostSupply = 128

// Supply hands over what a meter says of its supply. When the loop is behind,
// the oldest is dropped and counted.
func (l *Loop) Supply(r meter.SupplyReading) {
	for {
		select {
		case l.supplies <- r:
			return
		default:
		}
		select {
		case <-l.supplies:
			l.overrun.Add(1)
		default:
		}
	}
}

// buildSupply makes the watch over the supply of each way, and takes up the
// week that was kept (R5).
func (l *Loop) buildSupply() {
	for _, w := range l.Config.Ways {
		m := pq.New(pq.Config{
			Way: w.ID, Phases: configs.PhaseSet(w.Phases), Poll: l.Config.PollOf(&w),
			Offset: meter.Millivolts(configs.Milli(l.Config.Site.BusbarOffset)),
		})
		var days []pq.State
		for d := range 7 {
			body := l.Outbox.Get(supplyKey(w.ID, d))
			if body == nil {
				continue
			}
			var s pq.State
			if err := json.Unmarshal(body, &s); err != nil {
				l.Log.Error("week of the supply not resumed", "way", w.ID, "day", d, "err", err)
				continue
			}
			days = append(days, s)
		}
		for _, err := range m.Resume(days) {
			l.Log.Error("week of the supply not resumed", "way", w.ID, "err", err)
		}
		l.supply = append(l.supply, m)
	}
}

func supplyKey(way string, day int) string { return fmt.Sprintf("pq/%s/%d", way, day) }

// takeSupply feeds what a meter says of the supply to all that is made of it.
func (l *Loop) takeSupply(r *meter.SupplyReading) {
	i, ok := l.ways[r.Way]
	if !ok || i >= len(l.supply) {
		return
	}
	wall := l.Wall().Add(r.At - l.Now()) // when it was taken
	l.supply[i].AddSupply(r, wall, l.clockWas)
	l.wiring[i].AddSupply(r)
	l.feeds[i].window.Supply(r)
	l.sense(l.Config.Ways[i].Meter, r)
	l.alarms.tell(l, l.feeds[i].machine.AddSupply(r, wall))
}

// tickSupply closes the 10-minute values that ended, keeps them, and publishes
// the weeks that are over together with what is kept of the next.
func (l *Loop) tickSupply(wall time.Time, clock meter.Clock) {
	for _, m := range l.supply {
		changed, over := m.Advance(wall, clock)
		if !changed {
			continue
		}
		var records []outbox.Record
		if over != nil {
			records = []outbox.Record{{Stream: message.SupplyStream(over.Way), At: over.End,
				Body: message.AppendSupplyWeek(nil, l.agent, over)}}
		}
		var kept []outbox.Kept
		for _, s := range m.Today() {
			body, err := json.Marshal(s)
			if err != nil {
				l.Log.Error("week of the supply not kept", "way", m.Way(), "err", err)
				continue
			}
			kept = append(kept, outbox.Kept{Key: supplyKey(m.Way(), s.Day), Value: body})
		}
		l.Outbox.Store(false, records, kept...)
	}
}

// supplyWeeks are the running weeks as JSON.
func (l *Loop) supplyWeeks() []byte {
	weeks := make([]meter.SupplyWeek, 0, len(l.supply))
	for _, m := range l.supply {
		if r, begun := m.Report(); begun {
			weeks = append(weeks, r)
		}
	}
	return message.SupplyWeeks(l.agent, l.Wall(), weeks)
}
