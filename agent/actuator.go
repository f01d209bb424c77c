package agent

import (
	"log/slog"
	"sync/atomic"

	"lvagent/agent/core"
	"lvagent/agent/poll"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/failsafe/relay"
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
	keep   bool // a failure does not end the link
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
	if a.keep {
		return nil
	}
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

// buildOutputs makes one actuator for each group, on the bus of its address. GPIO
// chips get a bus each: a line on an expander may sleep.
func (a *Agent) buildOutputs(buses map[string]*poll.Bus) map[string]core.Output {
	all := map[string]core.Output{}
	lines := map[string]relay.Lines{}
	for _, out := range a.site.outputs {
		act := &actuator{group: out.group, log: a.log, answer: func(f failsafe.Feedback) { a.loop.Feedback(f) }}
		o := out.output
		switch client := a.site.clients[o.URL]; {
		case o.Kind == "gpio":
			at, err := relay.ParseAddress(o.Line)
			if err != nil {
				panic(err) // the site file was checked
			}
			line := relay.NewLine(relay.System{}, at, out.rating)
			lines[at.Chip] = append(lines[at.Chip], line)
			// A line that fails is no reason to let go of the chip's others.
			act.apply, act.keep = line.Apply, true
			act.bus = chipOf{buses, at.Chip}
		case o.Coil != configs.Absent:
			coil := relay.Coil{Unit: uint8(o.Unit), Addr: uint16(o.Coil), Curtail: o.Curtail == 1, Rating: out.rating}
			act.apply = func(limit milliamps) (milliamps, error) { return coil.Apply(client, limit) }
			act.bus = buses[o.URL]
		default:
			encode, _ := relay.ParseEncoding(o.Encode)
			reg := relay.Register{Unit: uint8(o.Unit), Addr: uint16(o.Holding), Encode: encode, Rating: out.rating}
			act.apply = func(limit milliamps) (milliamps, error) { return reg.Apply(client, limit) }
			act.bus = buses[o.URL]
		}
		all[out.group] = act.output
	}
	for chip, on := range lines {
		buses[chip] = a.addBus(chip, on, nil)
	}
	return all
}

// chipOf is the bus of a GPIO chip, which is made when all its lines are known.
type chipOf struct {
	buses map[string]*poll.Bus
	chip  string
}

// Do queues a job on the chip's bus.
func (c chipOf) Do(j poll.Job) bool { return c.buses[c.chip].Do(j) }
