package agent

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

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
	backup bool // it stands in for the group's actuator
	apply  func(limit milliamps) (relay.Outcome, error)
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
	if got.Drifted {
		a.log.Warn("output was changed by another, or forgot its limit", "group", a.group,
			"told_ma", int64(limit), "found_ma", int64(got.Found))
	}
	a.failed = err != nil
	a.answer(failsafe.Feedback{
		Group: a.group, Backup: a.backup, Told: limit, Limit: got.Limit, OK: err == nil, Drifted: got.Drifted})
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
	a.answer(failsafe.Feedback{Group: a.group, Backup: a.backup, Told: milliamps(a.limit.Load())})
}

// addOutputs takes the outputs of all groups, and the contacts that stand in for
// them.
func (s *Site) addOutputs(src *configs.Source) (faults []configs.Fault) {
	line := func(path, group, text string) {
		if _, err := relay.ParseAddress(text); err != nil {
			faults = append(faults, src.Fault(path, "%s%v", group, err))
		}
	}
	for i, g := range s.Config.Groups {
		for _, o := range []struct {
			key    string
			backup bool
			output configs.Output
		}{{"output", false, g.Output}, {"backup", true, g.Backup}} {
			if o.backup && !o.output.IsThere() || o.output.Kind == "mqtt" {
				continue // there is none, or it is no wire
			}
			if o.output.Kind == "gpio" {
				line(fmt.Sprintf("groups[%d].%s.line", i, o.key), "group "+g.ID+": ", o.output.Line)
			}
			s.outputs = append(s.outputs, outputOf{group: g.ID, backup: o.backup, output: o.output,
				rating: milliamps(configs.Milli(g.Rating)), fallback: g.LowestFailsafe()})
		}
	}
	if text := s.Config.Failsafe.WatchdogLine; text != "" {
		line("failsafe.watchdog_line", "", text)
	}
	return faults
}

// kept is the Modbus output that out names.
func (out *outputOf) kept() *relay.Kept {
	o := &out.output
	k := &relay.Kept{Unit: uint8(o.Unit)}
	if o.Coil != configs.Absent {
		k.Coil = &relay.Coil{Unit: uint8(o.Unit), Addr: uint16(o.Coil), Curtail: o.Curtail == 1, Rating: out.rating}
	} else {
		encode, _ := relay.ParseEncoding(o.Encode)
		k.Register = &relay.Register{Unit: uint8(o.Unit), Addr: uint16(o.Holding), Encode: encode, Rating: out.rating}
	}
	if o.Lease > 0 {
		k.Lease = &relay.Lease{Timeout: uint16(o.Lease / time.Second), Addr: uint16(o.LeaseHolding),
			Fallback: out.fallback, FallbackAddr: o.LeaseFallback}
	}
	return k
}

// buildOutputs makes the actuators of each group, on the bus of their address.
// GPIO chips get a bus each: a line on an expander may sleep.
func (a *Agent) buildOutputs(buses map[string]*poll.Bus) (all, backups map[string]core.Output) {
	all, backups = map[string]core.Output{}, map[string]core.Output{}
	var kernel relay.Kernel = relay.System{}
	if a.site.openGPIO != nil {
		kernel = a.site.openGPIO
	}
	lines := map[string]relay.Lines{}
	address := func(text string) relay.Address {
		at, err := relay.ParseAddress(text)
		if err != nil {
			panic(err) // the site file was checked
		}
		return at
	}
	for _, out := range a.site.outputs {
		act := &actuator{group: out.group, backup: out.backup, log: a.log, answer: func(f failsafe.Feedback) { a.loop.Feedback(f) }}
		if out.output.Kind == "gpio" {
			at := address(out.output.Line)
			line := relay.NewLine(kernel, at, out.rating)
			lines[at.Chip] = append(lines[at.Chip], line)
			act.apply = func(limit milliamps) (relay.Outcome, error) {
				got, err := line.Apply(limit)
				return relay.Outcome{Limit: got}, err
			}
			// A line that fails is no reason to let go of the chip's others.
			act.keep, act.bus = true, chipOf{buses, at.Chip}
		} else {
			kept, line := out.kept(), a.site.lines[out.output.URL]
			act.apply = func(limit milliamps) (relay.Outcome, error) { return kept.Tell(line, limit) }
			act.bus = buses[out.output.URL]
		}
		if out.backup {
			backups[out.group] = act.output
		} else {
			all[out.group] = act.output
		}
	}
	if text := a.site.Config.Failsafe.WatchdogLine; text != "" {
		at := address(text)
		pulse := relay.NewPulse(kernel, at)
		lines[at.Chip] = append(lines[at.Chip], pulse)
		a.beat = (&watchdog{pulse: pulse, bus: chipOf{buses, at.Chip}, log: a.log}).alive
	}
	for chip, on := range lines {
		buses[chip] = a.addBus(chip, on, nil)
	}
	return all, backups
}

// watchdog has a line pulsed at each proof of life. It is fed from the end of a
// complete cycle of decisions, and pulses on the goroutine of its chip: where
// either hangs, the contact drops.
type watchdog struct {
	pulse  *relay.Pulse
	bus    interface{ Do(poll.Job) bool }
	log    *slog.Logger
	queued atomic.Bool
	failed bool // owned by the chip's goroutine
}

func (w *watchdog) alive() {
	if !w.queued.Swap(true) && !w.bus.Do(poll.Job{Do: w.do}) {
		w.queued.Store(false)
	}
}

func (w *watchdog) do() error {
	w.queued.Store(false)
	err := w.pulse.Beat()
	switch {
	case err != nil && !w.failed:
		w.log.Error("watchdog contact not held", "err", err)
	case err == nil && w.failed:
		w.log.Info("watchdog contact held again")
	}
	w.failed = err != nil
	return nil
}

// chipOf is the bus of a GPIO chip, which is made when all its lines are known.
type chipOf struct {
	buses map[string]*poll.Bus
	chip  string
}

// Do queues a job on the chip's bus.
func (c chipOf) Do(j poll.Job) bool { return c.buses[c.chip].Do(j) }
