package agent

import (
	"context"
	"log/slog"
	"time"

	"lvagent/configs"
	"lvagent/failsafe/relay"
)

// How often inputs are read, and how long one may fail until it counts as
// unreadable: a chip behind a cable may be busy for a moment.
const (
	readInputs    = 100 * time.Millisecond
	unreadableFor = 5 * time.Second
)

// input is one digital input, debounced. What it says is that of the last stretch
// of equal readings that was long enough.
type input struct {
	id       string
	inverted bool
	debounce time.Duration
	line     interface {
		Read() (bool, error)
		Close() error
	}
	tell func(id string, active, readable bool)
	log  *slog.Logger

	told, active, readable bool // as last told
	raw                    bool
	since                  time.Duration // raw
	good                   time.Duration // the last reading that did not fail
	begun                  bool
}

// read reads the input at now.
func (i *input) read(now time.Duration) {
	if !i.begun {
		i.begun, i.good, i.since = true, now, now+1 // the first reading begins a stretch
	}
	high, err := i.line.Read()
	if err != nil {
		i.since = now + 1
		if now-i.good >= unreadableFor && (!i.told || i.readable) {
			i.log.Warn("input not read", "input", i.id, "err", err)
			i.told, i.readable = true, false
			i.tell(i.id, false, false)
		}
		return
	}
	i.good = now
	active := high != i.inverted
	if i.since > now || active != i.raw {
		i.raw, i.since = active, now
	}
	if now-i.since < i.debounce || i.told && i.readable && i.active == active {
		return
	}
	if i.told && !i.readable {
		i.log.Info("input is read again", "input", i.id)
	}
	i.told, i.active, i.readable = true, active, true
	i.tell(i.id, active, true)
}

// inputsOf are the inputs of each chip: reading one that sleeps must not keep the
// others waiting.
func (a *Agent) inputsOf(kernel relay.Kernel) map[string][]*input {
	all := map[string][]*input{}
	for _, c := range a.site.Config.Site.Inputs {
		at, err := relay.ParseAddress(c.Line)
		if err != nil {
			panic(err) // the site file was checked
		}
		all[at.Chip] = append(all[at.Chip], newInput(&c, relay.NewInput(kernel, at, relay.Pull(c.Pull)), a.loop.Input, a.log))
	}
	return all
}

func newInput(c *configs.Input, line *relay.Input, tell func(string, bool, bool), log *slog.Logger) *input {
	return &input{id: c.ID, inverted: c.Inverted, debounce: c.Debounce, line: line, tell: tell, log: log}
}

// watchInputs reads the inputs of a chip until ctx ends.
func (a *Agent) watchInputs(ctx context.Context, on []*input) error {
	tick := time.NewTicker(readInputs)
	defer tick.Stop()
	for {
		for _, i := range on {
			i.read(a.now())
		}
		select {
		case <-ctx.Done():
			for _, i := range on {
				if err := i.line.Close(); err != nil {
					a.log.Warn("input not given back", "input", i.id, "err", err)
				}
			}
			return nil
		case <-tick.C:
		}
	}
}
