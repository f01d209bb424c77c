package play

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lvagent/hwtest/scenario"
	"lvagent/meter/metertest"
)

// perform does what a step says, in the order of the language's table. An error
// is the rig's.
func (p *player) perform(ctx context.Context, w *scenario.When) error {
	if w.Heartbeats != nil {
		p.sending.Lock()
		p.beats = *w.Heartbeats
		p.sending.Unlock()
		p.act("heartbeats %s", map[bool]string{true: "on", false: "off"}[*w.Heartbeats])
	}
	p.flowChanges(w)
	if w.Meter != nil {
		p.breakMeter(w.Meter)
	}
	if w.Actuator != nil {
		p.breakActuator(w.Actuator)
	}
	if w.Register != nil {
		p.writeRegister(w.Register)
	}
	for _, way := range w.Release {
		if err := p.none(way); err != nil {
			return err
		}
		p.act("the centre says none for %s", way)
	}
	if w.Command != nil {
		if err := p.command(w.Command); err != nil {
			return err
		}
	}
	if w.Broker != "" {
		if err := p.breakBroker(w.Broker); err != nil {
			return err
		}
	}
	if w.Files != nil {
		if err := p.damage(w.Files); err != nil {
			return err
		}
	}
	if w.Site != nil {
		p.site.tree = mergeTree(p.site.tree, copied(map[string]any(w.Site)).(map[string]any))
		if err := p.writeSite(); err != nil {
			return err
		}
		p.act("the site file is changed")
	}
	for _, what := range w.Agent {
		if err := p.treatAgent(what); err != nil {
			return err
		}
	}
	if w.Run != "" {
		if err := p.runLine(ctx, w.Run); err != nil {
			return err
		}
	}
	if w.DNP3 != nil {
		return p.dnp3.operate(w.DNP3)
	}
	return nil
}

// flowChanges changes what flows in the street.
func (p *player) flowChanges(w *scenario.When) {
	p.mu.Lock()
	for way, l := range w.Load {
		p.street.set(way, l)
	}
	for g, a := range w.Cars {
		p.street.wants[g] = float64(a)
	}
	p.mu.Unlock()
	for way := range w.Load {
		p.act("the load of %s changes", way)
	}
	for g, a := range w.Cars {
		p.act("the cars of %s want %v A", g, float64(a))
	}
}

func (p *player) breakMeter(f *scenario.MeterFault) {
	for _, w := range p.site.ways {
		if w.id != f.Way {
			continue
		}
		fault := metertest.Fault{Kind: metertest.Kind(f.Fault), Code: uint8(f.Code), Delay: f.Delay, Times: f.Times}
		switch f.Fault {
		case "none", "frozen", "swapped":
			fault = metertest.Fault{}
		case "sentinel":
			fault.Word = 0xffff
		case "exception":
			if f.Code == 0 {
				fault.Code = metertest.DeviceFailure
			}
		}
		p.mu.Lock()
		p.frozen[w.id], p.swapped[w.id] = f.Fault == "frozen", f.Fault == "swapped"
		p.mu.Unlock()
		p.meters[w.meter].Unit(uint8(w.unit)).Break(fault)
	}
	if f.Fault == "none" {
		p.act("the meter of %s is well", f.Way)
	} else {
		p.act("the meter of %s: %s", f.Way, f.Fault)
	}
}

func (p *player) group(id string) *siteGroup {
	for i := range p.site.groups {
		if p.site.groups[i].id == id {
			return &p.site.groups[i]
		}
	}
	return nil
}

func (p *player) breakActuator(f *scenario.ActuatorFault) {
	g := p.group(f.Group)
	fault := metertest.Fault{Kind: metertest.Kind(f.Fault), Code: metertest.DeviceFailure, Delay: f.Delay}
	switch f.Fault {
	case "none", "ignored", "lost":
		fault = metertest.Fault{}
	}
	p.mu.Lock()
	p.street.defy[g.id] = f.Fault == "ignored"
	p.mu.Unlock()
	p.actuators.Unit(uint8(g.unit)).Break(fault)
	if f.Fault == "lost" {
		p.powerUp(g)
	}
	p.act("the controller of %s: %s", f.Group, f.Fault)
}

// writeRegister is somebody else who writes.
func (p *player) writeRegister(r *scenario.Register) {
	g := p.group(r.Group)
	value := uint16(r.Percent)
	switch g.encode {
	case "coil":
		on := (r.Percent > 0) == (g.curtail == 0)
		p.actuators.Unit(uint8(g.unit)).SetCoil(uint16(g.coil), on)
		value = map[bool]uint16{true: 1}[on]
	case "amps":
		value = uint16(g.rating * float64(r.Percent) / 100)
		fallthrough
	default:
		p.actuators.Unit(uint8(g.unit)).SetHolding(uint16(g.holding), value)
	}
	amps, slack := g.permits(float64(value))
	p.permit(g.id, amps, slack)
	p.act("somebody else writes %d %% to %s", r.Percent, r.Group)
}

// command sends a command. What the broker does not take, because it is cut off
// or frozen, is no fault of the rig: the scenario says so.
func (p *player) command(c *scenario.Command) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	send := func(octets []byte) error {
		p.sent[c.Called()] = octets
		return p.centre.Raw(c.Name, octets, c.Retained)
	}
	switch {
	case c.Again != "":
		p.act("the centre sends %s once more", c.Again)
		return send(p.sent[c.Again])
	case c.Raw != "":
		p.act("somebody sends %q as %s", c.Raw, c.Name)
		return send([]byte(c.Raw))
	case c.Fill > 0:
		p.act("somebody sends %d octets as %s", c.Fill, c.Name)
		return send(bytes.Repeat([]byte{'x'}, c.Fill))
	}
	expires := c.Expires
	if expires == 0 {
		expires = time.Minute
	}
	for range max(1, c.Times) {
		body, _ := p.filled(map[string]any(c.Body)).(map[string]any)
		id, octets, err := p.centre.Command(time.Now(), c.Name, body, expires, c.Retained)
		if err != nil {
			return err
		}
		p.sent[c.Called()] = octets
		p.add(scenario.Observation{Kind: scenario.Sends, Key: c.Called(), Text: id})
	}
	p.act("the centre sends %s", c.Called())
	return nil
}

// filled replaces $x by the id of the last command called x, and +5s by that time
// from now.
func (p *player) filled(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range x {
			out[k] = p.filled(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = p.filled(e)
		}
		return out
	case string:
		if name, ok := strings.CutPrefix(x, "$"); ok {
			if name, key, ok := strings.Cut(name, "."); ok {
				var body map[string]any
				_ = json.Unmarshal(p.sent[name], &body) // what was no object has no such value
				return body[key]
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			for i := len(p.timeline.Observations) - 1; i >= 0; i-- {
				if o := &p.timeline.Observations[i]; o.Kind == scenario.Sends && o.Key == name {
					return o.Text
				}
			}
		}
		if strings.HasPrefix(x, "+") || strings.HasPrefix(x, "-") {
			if d, err := time.ParseDuration(x); err == nil {
				return time.Now().Add(d).UTC().Format("2006-01-02T15:04:05.000Z07:00")
			}
		}
	}
	return v
}

func (p *player) breakBroker(what string) (err error) {
	p.act("broker: %s", what)
	switch what {
	case "cut":
		p.link.Cut()
	case "restore":
		err = p.link.Restore()
	case "freeze":
		err = p.broker.Signal(syscall.SIGSTOP)
	case "thaw":
		err = p.broker.Signal(syscall.SIGCONT)
	case "kill":
		// The link stays away until the centre is back: what the broker passed on
		// to nobody could not be counted.
		p.link.Cut()
		p.broker.Kill()
	case "start":
		if err = p.broker.Start(); err == nil {
			err = p.join()
		}
		if err == nil {
			err = p.link.Restore()
		}
	}
	return err
}

// damage does something to files of the agent's store.
func (p *player) damage(f *scenario.Files) error {
	var hit int
	err := filepath.WalkDir(filepath.Join(p.folder, "store"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		match, err := filepath.Match(f.Match, d.Name())
		if err != nil || !match {
			return err
		}
		hit++
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch f.How {
		case "remove":
			return os.Remove(path)
		case "truncate":
			return os.Truncate(path, info.Size()/2)
		}
		return os.WriteFile(path, make([]byte, info.Size()), info.Mode())
	})
	if err != nil {
		return fmt.Errorf("damage %s: %w", f.Match, err)
	}
	if hit == 0 {
		return fmt.Errorf("damage %s: no file of the store has such a name", f.Match)
	}
	p.act("%d files %s: %s", hit, f.Match, f.How)
	return nil
}

func (p *player) writeSite() error {
	text, err := p.site.file()
	if err != nil {
		return err
	}
	p.file = filepath.Join(p.folder, "site.yaml")
	return os.WriteFile(p.file, text, 0o600)
}

func (p *player) treatAgent(what string) error {
	p.mu.Lock()
	agent := p.agent
	p.mu.Unlock()
	signal := func(s syscall.Signal) error { return syscall.Kill(agent.PID(), s) }
	p.act("agent: %s", what)
	switch what {
	case "kill":
		p.expect(true)
		if err := signal(syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill the agent: %w", err)
		}
		<-p.ended
	case "stop":
		p.expect(true)
		if _, err := agent.Stop(stopWithin); err != nil {
			return failed(err.Error())
		}
		<-p.ended
	case "start":
		return p.startAgent()
	case "freeze":
		return signal(syscall.SIGSTOP)
	case "thaw":
		return signal(syscall.SIGCONT)
	case "reload":
		return signal(syscall.SIGHUP)
	}
	return nil
}

const lineWithin = 30 * time.Second

// runLine runs a command line of lvagent beside the running agent.
func (p *player) runLine(ctx context.Context, line string) error {
	ctx, cancel := context.WithTimeout(ctx, lineWithin)
	defer cancel()
	args := words(line)
	for i, w := range args {
		args[i] = fmt.Sprint(p.filled(w))
	}
	cmd := p.rig.command(ctx, append(args, "--config", p.file)...)
	out, err := cmd.CombinedOutput()
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		return fmt.Errorf("run lvagent %s: %w", line, err)
	}
	p.add(scenario.Observation{Kind: scenario.Prints, Number: float64(code), Text: string(out)})
	p.act("lvagent %s: exit %d", line, code)
	return nil
}

// words splits a command line; what stands in double quotes is one word.
func words(line string) (out []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}
