package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"lvagent/agent/core"
	"lvagent/agent/poll"
	"lvagent/agent/socket"
	"lvagent/configs"
	"lvagent/meter/modbus"
)

const (
	// settingTime is how long the change of a setting may take: less than whoever
	// asked for it waits.
	settingTime = 8 * time.Second
	// recordTime is how long its record may wait for the core loop.
	recordTime = time.Second
)

// checkWrites finds settings that the profile of meter i does not have.
func (s *Site) checkWrites(src *configs.Source, i int) (faults []configs.Fault) {
	m := &s.Config.Meters[i]
	p := s.profiles[m.Profile]
	if p == nil || len(m.Writes) == 0 {
		return nil
	}
	var known []string
	for _, x := range p.Settings() {
		known = append(known, x.Name)
	}
	for j, name := range m.Writes {
		at := fmt.Sprintf("meters[%d].writes[%d]", i, j)
		switch {
		case len(known) == 0:
			faults = append(faults, src.Fault(at, "meter %s: profile %s allows nothing to be set", m.ID, p.ID()))
		case !slices.Contains(known, name):
			faults = append(faults, src.Fault(at, "meter %s: profile %s has no setting %q, only %s", m.ID, p.ID(), name, strings.Join(known, ", ")))
		case slices.Contains(m.Writes[:j], name):
			faults = append(faults, src.Fault(at, "meter %s: %s is there twice", m.ID, name))
		}
	}
	if !slices.ContainsFunc(s.Config.Ways, func(w configs.Way) bool { return w.Meter == m.ID }) {
		faults = append(faults, src.Fault(fmt.Sprintf("meters[%d].writes", i), "meter %s measures no way, so nobody speaks to it", m.ID))
	}
	return faults
}

// settable returns a meter of the site, how it is read, and its bus.
func (a *Agent) settable(id string) (*configs.Meter, *modbus.Meter, *poll.Bus, error) {
	for i := range a.site.Config.Meters {
		m := &a.site.Config.Meters[i]
		if m.ID != id {
			continue
		}
		for _, w := range a.site.Config.Ways {
			if source := a.site.sources[w.ID]; w.Meter == id && source != nil {
				return m, source, a.busOf[m.URL], nil
			}
		}
		return m, nil, nil, fmt.Errorf("meter %s: nothing can be set in it", id)
	}
	return nil, nil, nil, fmt.Errorf("there is no meter %q", id)
}

// Settings answers lvagent meter list.
func (a *Agent) Settings(_ context.Context, id string) (all []socket.Setting, err error) {
	all = []socket.Setting{}
	if _, _, _, err := a.settable(id); id != "" && err != nil {
		return nil, err
	}
	var looks sync.WaitGroup
	for _, m := range a.site.Config.Meters {
		p := a.site.profiles[m.Profile]
		if id != "" && m.ID != id || p == nil {
			continue
		}
		for _, x := range p.Settings() {
			all = append(all, socket.Setting{Meter: m.ID, Setting: x.Name, Unit: x.Unit, Takes: x.Allowed, Permitted: slices.Contains(m.Writes, x.Name)})
		}
	}
	for i := range all {
		s := &all[i]
		if !s.Permitted {
			continue
		}
		looks.Go(func() {
			r, err := a.carry(s.Meter, s.Setting, "", true)
			if s.Value = r.Old; err != nil {
				s.Problem = err.Error()
			} else if r.Outcome != modbus.Shown {
				s.Problem = r.Why
			}
		})
	}
	looks.Wait()
	return all, nil
}

// Set answers lvagent meter set. What came of a change is recorded although
// nobody may be waiting for the answer any more.
func (a *Agent) Set(ctx context.Context, o socket.Set) (socket.SetAnswer, error) {
	m, source, _, err := a.settable(o.Meter)
	if err != nil {
		return socket.SetAnswer{}, err
	}
	wanted, err := source.NewChange(o.Setting, o.Value, false)
	if err != nil {
		return socket.SetAnswer{}, fmt.Errorf("meter %s: %w", o.Meter, err)
	}
	if !slices.Contains(m.Writes, o.Setting) {
		return socket.SetAnswer{}, fmt.Errorf("meter %s: %s is not among its writes in the site file", o.Meter, o.Setting)
	}
	c := core.SettingChange{Meter: o.Meter, Setting: o.Setting, New: wanted.Wanted(), By: o.By, Why: o.Why}
	if o.Yes {
		if err := a.loop.BeginSetting(ctx, c); err != nil {
			return socket.SetAnswer{}, err
		}
	}
	r, err := a.carry(o.Meter, o.Setting, o.Value, !o.Yes)
	if err != nil {
		r = modbus.Result{Outcome: modbus.NotAsked, Why: err.Error()}
	}
	if o.Yes {
		c.Outcome, c.Old, c.Now, c.Detail = string(r.Outcome), r.Old, r.Now, r.Why
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
		defer cancel()
		if err := a.loop.EndSetting(ctx, c); err != nil {
			a.log.Error("change of a meter's setting not recorded", "meter", o.Meter, "setting", o.Setting, "outcome", string(r.Outcome), "err", err)
		}
	}
	return socket.SetAnswer{Outcome: string(r.Outcome), Old: r.Old, Now: r.Now, Why: r.Why}, nil
}

// carry carries out a change on the meter's bus, and waits for what comes of it.
func (a *Agent) carry(id, setting, value string, look bool) (modbus.Result, error) {
	_, source, bus, err := a.settable(id)
	if err != nil {
		return modbus.Result{}, err
	}
	c, err := source.NewChange(setting, value, look)
	if err != nil {
		return modbus.Result{}, err
	}
	done := make(chan modbus.Result, 1)
	taken := bus.RunErrand(poll.Errand{Step: c.Step, For: settingTime, Over: func(cause error) {
		if cause != nil {
			c.GiveUp(cause)
		}
		done <- c.Result()
	}})
	if !taken {
		return modbus.Result{}, fmt.Errorf("meter %s: its bus has stopped, or too much waits on it", id)
	}
	return <-done, nil
}
