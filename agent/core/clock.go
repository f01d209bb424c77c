package core

import (
	"fmt"

	"lvagent/meter"
)

// watchClock says what changed of the clock, and returns what it is worth for
// labels.
func (l *Loop) watchClock() meter.Clock {
	c := l.Clock()
	if c.Steps != l.steps {
		l.steps = c.Steps
		l.Log.Warn("clock stepped", "by", c.Step.String(), "suspect", c.Suspect)
	}
	if c.Clock != l.clockWas {
		l.Log.Info("clock changed", "from", l.clockWas.String(), "to", c.Clock.String())
		l.clockWas = c.Clock
	}
	p := meter.HealthPoint{ID: "clock", State: meter.HealthOK}
	switch {
	case c.Below:
		p.State, p.Code = meter.HealthFault, "CLOCK_BELOW_FLOOR"
		p.Detail = fmt.Sprintf("the clock is before %s, which it had passed; it is not believed until it is set", c.Floor.UTC().Format("2006-01-02T15:04Z"))
	case c.Clock == meter.Unsynced:
		p.State, p.Code = meter.HealthFault, "CLOCK_UNSYNCED"
		p.Detail = "no source keeps the clock; half-hours wait for a date, or go on by the monotonic clock"
	case c.Suspect:
		p.State, p.Code = meter.HealthDegraded, "CLOCK_STEP"
		p.Detail = fmt.Sprintf("stepped by %s; commands with a date are refused until it has been right for a minute", c.Step)
	case c.Clock == meter.Holdover:
		p.State, p.Code = meter.HealthDegraded, "CLOCK_HOLDOVER"
		p.Detail = "the source is silent"
	}
	l.SetHealth(p)
	return c.Clock
}
