package core

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
	"lvagent/meter/window"
)

// newWindow returns the window of a way, or of the transformer.
func (l *Loop) newWindow(id string, poll time.Duration, phases [meter.Phases]bool) *window.Window {
	w := &l.Config.Window
	return window.New(window.Config{
		Way: id, Period: w.Period, Poll: poll, Expect: phases, Bench: l.Config.Bench(), Settings: l.settings(id),
		Partial: configs.Share(w.Partial), Invalid: configs.Share(w.Invalid),
	})
}

// settings stands for what the site file says of a way and its meter, names
// aside. Of the transformer it is that of all its ways.
func (l *Loop) settings(id string) string {
	sum := sha256.New()
	for _, w := range l.Config.Ways {
		if w.ID != id && id != failsafe.TX {
			continue
		}
		w.Name = ""
		said := []any{w}
		for _, m := range l.Config.Meters {
			if m.ID == w.Meter {
				said = append(said, m)
			}
		}
		if err := json.NewEncoder(sum).Encode(said); err != nil {
			panic(fmt.Sprintf("settings of way %s: %v", w.ID, err)) // plain structs always encode
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// windowsKey is where the open periods are kept in the store.
const windowsKey = "windows"

// closePeriods hands the records of ended periods to the store, together with
// the periods that are open then: a restart must neither repeat a record nor
// lose what came after it.
func (l *Loop) closePeriods(now time.Duration, wall time.Time, clock meter.Clock) {
	var records []outbox.Record
	for i := range l.feeds {
		for {
			hh, ok := l.feeds[i].window.Advance(now, wall, clock)
			if !ok {
				break
			}
			l.halfHours.Add(1)
			l.loading[i].Close(&hh)
			if !l.Config.Bench() {
				hh.Settlement = meter.SettlementPeriod(hh.Start, l.place)
			}
			records = append(records, outbox.Record{Stream: message.HalfHourStream(hh.Way), At: hh.End,
				Body: message.AppendHalfHour(nil, l.agent, &hh)})
			if l.Points != nil {
				l.Points.HalfHour(&hh)
			}
		}
	}
	if len(records) > 0 || now-l.keptAt >= min(checkpointWindows, l.Config.Window.Period/4) {
		l.keepWindows(records, now)
	}
}

func (l *Loop) keepWindows(with []outbox.Record, now time.Duration) {
	l.keptAt = now
	states := make([]window.State, len(l.feeds))
	for i := range l.feeds {
		states[i] = l.feeds[i].window.Checkpoint()
	}
	body, err := window.Encode(states)
	if err != nil {
		l.Log.Error("open periods not kept", "err", err)
		l.Outbox.Store(false, with)
		return
	}
	l.Outbox.Store(false, with, append(l.keptTopology(), outbox.Kept{Key: windowsKey, Value: body}, l.alarms.kept(l))...)
}

// resumeWindows goes on with the periods that were open. What can't be used is
// said, and the windows that it was of start anew.
func (l *Loop) resumeWindows(now time.Duration, wall time.Time) {
	body := l.Outbox.Get(windowsKey)
	if body == nil {
		return
	}
	states, err := window.Decode(body)
	if err != nil {
		l.Log.Error("open periods not resumed", "err", err)
	}
	for i := range states {
		if f, ok := l.ways[states[i].Way]; ok {
			l.feeds[f].window.Resume(states[i], now, wall)
		}
	}
}
