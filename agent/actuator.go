package agent

import (
	"log/slog"
	"sync/atomic"

	"lvagent/agent/core"
	"lvagent/agent/poll"
	"lvagent/failsafe"
)

// actuator carries the limits of one group to its bus. Only the newest limit
// counts: one that waits for a link to return is replaced, never carried out
// late.
type actuator struct {
	group  string
	bus    interface{ Do(poll.Job) bool }
	apply  func(limit milliamps) (milliamps, error)
	answer func(failsafe.Feedback)
	log    *slog.Logger

	limit  atomic.Int64
	queued atomic.Bool
	failed bool // owned by the bus goroutine
}

// output starts carrying limit out.
func (a *actuator) output(_ string, limit milliamps) bool {
	a.limit.Store(int64(limit))
	if a.queued.Swap(true) {
		return true // the one that waits takes the new limit
	}
	if !a.bus.Do(poll.Job{Do: a.do, Down: a.down}) {
		a.queued.Store(false)
		return false
	}
	return true
}

// do writes the newest limit and reads it back, on the bus goroutine.
func (a *actuator) do() error {
	a.queued.Store(false)
	limit := milliamps(a.limit.Load())
	got, err := a.apply(limit)
	switch {
	case err != nil && !a.failed:
		a.log.Warn("limit not carried out", "group", a.group, "err", err)
	case err == nil && a.failed:
		a.log.Info("limits are carried out again", "group", a.group)
	}
	a.failed = err != nil
	a.answer(failsafe.Feedback{Group: a.group, Told: limit, Limit: got, OK: err == nil})
	return gone(err)
}

// down says at once that the actuator can't be reached: from now on the group
// is load that nobody controls.
func (a *actuator) down(cause error) {
	if !a.failed {
		a.log.Warn("limit not carried out", "group", a.group, "err", cause)
	}
	a.failed = true
	a.answer(failsafe.Feedback{Group: a.group, Told: milliamps(a.limit.Load())})
}

// outputs makes one actuator for each group, on the bus of its address.
func (a *Agent) outputs(buses map[string]*poll.Bus) map[string]core.Output {
	all := map[string]core.Output{}
	for _, out := range a.site.outputs {
		client := a.site.clients[out.url]
		act := &actuator{
			group: out.group, bus: buses[out.url], log: a.log, answer: func(f failsafe.Feedback) { a.loop.Feedback(f) },
			apply: func(limit milliamps) (milliamps, error) { return out.register.Apply(client, limit) },
		}
		all[out.group] = act.output
	}
	return all
}
