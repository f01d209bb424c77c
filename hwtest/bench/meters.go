package bench

import (
	"fmt"
	"sync"
	"time"

	"lvagent/meter/metertest"
)

// Released is a charging register's value at power-up: a controller that wakes
// up permits everything, the worst case for the agent.
const Released = 100

// Meters are the simulated meters and charging controllers of a [World] on one
// Modbus TCP server. They keep time of their own through Step.
type Meters struct {
	world *World
	wire  *metertest.Server
	start time.Time

	mu      sync.Mutex
	percent []uint16 // by group
	trace   []Write

	load      Load
	unlimited Load
	over      time.Duration
	wouldOver time.Duration
	last      time.Duration
}

// Write is one change of a charging register, as it came over the wire. A write
// that repeats the value is not in the trace.
type Write struct {
	At      time.Duration // since the meters' start
	Group   int           // index in World.Groups
	Percent uint16
}

// StartMeters starts the meters of w at the beginning of the evening.
func StartMeters(w *World) (*Meters, error) {
	m := &Meters{world: w, start: time.Now(), percent: make([]uint16, len(w.Groups))}
	wire, err := metertest.Listen("")
	if err != nil {
		return nil, fmt.Errorf("start meters: %w", err)
	}
	m.wire = wire
	for i, g := range w.Groups {
		m.percent[i] = Released
		wire.Unit(g.Unit).SetHolding(g.Holding, Released)
	}
	for _, way := range w.Ways {
		wire.Unit(way.Unit).OnWrite(func(x metertest.Write) {
			if !x.Coil {
				m.written(way.Unit, x.Addr, x.Value)
			}
		})
	}
	m.Step(0, 0)
	return m, nil
}

// Break makes the meter of a way and the registers beside it fail, until the
// zero fault.
func (m *Meters) Break(way string, f metertest.Fault) error {
	for _, w := range m.world.Ways {
		if w.ID == way {
			m.wire.Unit(w.Unit).Break(f)
			return nil
		}
	}
	return fmt.Errorf("break the meter of way %q: there is no such way", way)
}

// URL returns the server's address as a site file wants it.
func (m *Meters) URL() string { return m.wire.URL() }

// Close stops the server and drops its connections.
func (m *Meters) Close() { m.wire.Close() }

// Now returns the time since the meters' start, the time scale of the trace.
func (m *Meters) Now() time.Duration { return time.Since(m.start) }

// Step moves the meters to now, at a share of the evening. It is to be called
// several times a second by one goroutine.
func (m *Meters) Step(now time.Duration, share float64) {
	percent := m.Percent()
	load := m.world.Load(share, percent)
	for i, way := range m.world.Ways {
		m.wire.SetSDM630(way.Unit, shown(&load.Ways[i]))
	}
	passed := now - m.last
	if aboveRating(m.world, &load) {
		m.over += passed
	}
	free := m.world.Load(share, nil)
	if aboveRating(m.world, &free) {
		m.wouldOver += passed
	}
	m.load, m.unlimited, m.last = load, free, now
}

// Load returns the load at the last step.
func (m *Meters) Load() Load { return m.load }

// Unlimited returns what the load would have been at the last step, had nothing
// been limited.
func (m *Meters) Unlimited() Load { return m.unlimited }

// Percent returns the present value of each group's register.
func (m *Meters) Percent() []uint16 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]uint16(nil), m.percent...)
}

// Trace returns the changes of the charging registers so far.
func (m *Meters) Trace() []Write {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Write(nil), m.trace...)
}

// AboveRating returns how long a phase of any way has carried more than its
// rating, and how long it would have without any limit on charging.
func (m *Meters) AboveRating() (was, without time.Duration) { return m.over, m.wouldOver }

// written is called by the server for each written register.
func (m *Meters) written(unit uint8, holding, value uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, g := range m.world.Groups {
		if g.Unit == unit && g.Holding == holding && m.percent[i] != value {
			m.percent[i] = value
			m.trace = append(m.trace, Write{At: m.Now(), Group: i, Percent: value})
		}
	}
}

// aboveRating reports whether any phase of any way passes its rating.
func aboveRating(w *World, l *Load) bool {
	for i := range l.Ways {
		if _, amps := l.Ways[i].Worst(); amps > w.Ways[i].Rating {
			return true
		}
	}
	return false
}

// shown is what a meter shows for a load.
func shown(l *WayLoad) metertest.SDM630 {
	r := metertest.SDM630{N: l.Neutral}
	for p, ph := range l.Phase {
		r.V[p], r.I[p], r.P[p], r.Q[p] = ph.V, ph.I, ph.P, ph.Q
	}
	return r
}

// String says where the meters are, for a log.
func (m *Meters) String() string {
	return fmt.Sprintf("%d meters at %s", len(m.world.Ways), m.URL())
}
