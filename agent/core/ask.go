package core

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"lvagent/agent/message"
	"lvagent/failsafe"
	"lvagent/meter"
)

// Ask runs f on the loop's goroutine, where it may look at the loop, and waits
// for it.
func (l *Loop) Ask(ctx context.Context, f func(*Loop)) error {
	done := make(chan struct{})
	select {
	case l.asked <- func() { f(l); close(done) }:
	case <-ctx.Done():
		return fmt.Errorf("ask core loop: %w", ctx.Err())
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ask core loop: %w", ctx.Err())
	}
}

// Override carries out an override of somebody on site and returns the last rung
// of its ladder.
func (l *Loop) Override(ctx context.Context, c failsafe.OverrideCommand) (last failsafe.Ack, err error) {
	c.Local, c.ID = true, "local-"+rand.Text()[:12]
	err = l.Ask(ctx, func(l *Loop) {
		if _, isWay := l.ways[c.Target.Way]; !isWay {
			c.Target = failsafe.Target{Groups: []string{c.Target.Way}}
		}
		l.step(failsafe.Inputs{Overrides: []failsafe.OverrideCommand{c}})
		for _, a := range l.answers {
			if a.ID == c.ID {
				last = a
			}
		}
	})
	return last, err
}

// View is the state of the loop for people on site.
type View struct {
	Agent    string          `json:"agent"`
	Time     time.Time       `json:"t"`
	Clock    string          `json:"clock"`
	Failsafe json.RawMessage `json:"failsafe"`
	Groups   json.RawMessage `json:"groups"`
	Health   json.RawMessage `json:"health"`
	Alarms   []string        `json:"alarms"`
	Shelved  []ShelfView     `json:"shelved,omitempty"`
	Topology []Topology      `json:"topology,omitempty"` // not as usual
	Ways     []WayView       `json:"ways"`
	Reports  []ReportView    `json:"reports"` // of third parties
	Requests []RequestView   `json:"requests"`
}

// ShelfView is an alarm that somebody does not want to hear of for a while.
type ShelfView struct {
	Alarm        string    `json:"alarm"`
	OutOfService bool      `json:"out_of_service"`
	Standing     bool      `json:"standing"`
	By           string    `json:"by"`
	Why          string    `json:"why"`
	Expires      time.Time `json:"expires"`
}

// WayView is what a way carries, in A, and its voltages in V; null is not known.
type WayView struct {
	Way     string                 `json:"way"`
	Amps    [meter.Phases]*float64 `json:"amps"`
	Volts   [meter.Phases]*float64 `json:"volts"`
	Neutral *float64               `json:"neutral_a"`
	Age     float64                `json:"age_s"`
}

// View returns the state of the loop.
func (l *Loop) View(ctx context.Context) (v View, err error) {
	err = l.Ask(ctx, func(l *Loop) {
		v = View{Agent: l.agent, Time: l.Wall(), Clock: l.clockWas.String(), Alarms: []string{}}
		v.Failsafe, v.Groups = l.retained()
		v.Reports, v.Requests = l.reportViews(), l.requestViews()
		v.Topology = append(v.Topology, l.topology.ways...)
		v.Health = message.AppendHealth(nil, l.agent, v.Time, l.health.points)
		for _, way := range append(l.feedIDs(), siteWay) {
			active, shelved := l.alarms.list(l, way)
			for _, a := range active {
				v.Alarms = append(v.Alarms, a.ID)
			}
			for _, s := range shelved {
				v.Shelved = append(v.Shelved, ShelfView{s.ID, s.OutOfService, s.Standing, s.By, s.Why, s.Until})
			}
		}
		for i := range l.loads {
			load := &l.loads[i]
			w := WayView{Way: load.Way, Age: (l.Now() - load.At).Seconds()}
			for p, q := range load.Quality {
				if q != meter.Missing {
					amps := float64(load.I[p]) / 1000
					w.Amps[p] = &amps
				}
			}
			last := &l.feeds[i].last
			for p := range last.Phase {
				w.Volts[p] = units(last.Phase[p].V)
			}
			w.Neutral = units(last.Neutral)
			v.Ways = append(v.Ways, w)
		}
	})
	return v, err
}

func (l *Loop) feedIDs() (ids []string) {
	for i := range l.feeds {
		ids = append(ids, l.feeds[i].id)
	}
	return ids
}

// units is a sample in units, nil where it is not known.
func units[T meter.Quantity](s meter.Sample[T]) *float64 {
	if s.Quality == meter.Missing {
		return nil
	}
	v := float64(s.Value) / 1000
	return &v
}
