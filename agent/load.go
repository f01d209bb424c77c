package agent

import (
	"fmt"
	"slices"
	"time"

	"lvagent/agent/poll"
	"lvagent/configs"
)

// mostBusy is the highest load of a bus: the rest is for repeated requests,
// meters that answer late and the silence after a fault.
const mostBusy = 0.7

// writeEvery is how often an output is written at worst for long: a limit that
// rises by 10 % of its rating a minute goes up ampere by ampere.
const writeEvery = 5 * time.Second

// refreshEvery is how often an output is looked at and written although nothing
// changed.
const refreshEvery = 30 * time.Second

// BusLoad is how busy a bus is at worst.
type BusLoad struct {
	URL      string        `json:"url"`
	Meters   int           `json:"meters"`
	Outputs  int           `json:"outputs"`
	Requests float64       `json:"requests_per_second"`
	Share    float64       `json:"share"` // of the time; 1 is all of it
	Silent   time.Duration `json:"-"`     // what one meter without answer costs per poll

	line     string // speed of a serial line, for people
	slowest  string // the meter that takes most of it
	slowTime float64
}

// String says it in a line.
func (b BusLoad) String() string {
	return fmt.Sprintf("bus %s%s: %d meters, %d outputs, %.1f requests a second, %.0f %% busy; a meter without answer takes %s of a poll until it is only probed",
		b.URL, b.line, b.Meters, b.Outputs, b.Requests, b.Share*100, b.Silent.Round(time.Millisecond))
}

// refusal says why the bus is too busy, and what to do.
func (b BusLoad) refusal() string {
	do := "poll less often, or spread its meters over more buses"
	if b.line != "" {
		do = "poll less often, set a higher baud, or spread its meters over more buses"
	}
	return fmt.Sprintf("bus %s%s would be %.0f %% busy, at most %.0f %%, with %d meters and %d outputs; meter %s takes most, %.0f %%: %s",
		b.URL, b.line, b.Share*100, mostBusy*100, b.Meters, b.Outputs, b.slowest, b.slowTime*100, do)
}

// Loads returns the load of each bus, with every meter answering and every
// output written as often as it may be for long.
func (s *Site) Loads() (loads []BusLoad) {
	at := func(url string) *BusLoad {
		if i := slices.IndexFunc(loads, func(b BusLoad) bool { return b.URL == url }); i >= 0 {
			return &loads[i]
		}
		b := BusLoad{URL: url}
		if c := s.Config.BusOf(url); configs.IsSerial(url) {
			b.line = fmt.Sprintf(" at %d baud", c.Baud)
		}
		loads = append(loads, b)
		return &loads[len(loads)-1]
	}
	for _, m := range s.Config.Meters {
		p := s.profiles[m.Profile]
		if p == nil {
			continue
		}
		load, bus := at(m.URL), s.busAt(m.URL)
		share := 0.0
		for _, w := range slices.Concat(s.Config.Ways, s.Config.GroupMeters()) {
			if w.Meter != m.ID {
				continue
			}
			for _, read := range p.BlocksOf(w.Channel) {
				took, err := bus.Reading(read.N, m.Turnaround)
				if err != nil {
					return nil // said already: the bus itself is faulty
				}
				share += took.Seconds() / m.Poll.Seconds()
				load.Requests += 1 / m.Poll.Seconds()
			}
			for _, read := range p.SlowBlocksOf(w.Channel) {
				took, err := bus.Reading(read.N, m.Turnaround)
				if err != nil {
					return nil // as above
				}
				share += took.Seconds() / poll.SupplyEvery.Seconds()
				load.Requests += 1 / poll.SupplyEvery.Seconds()
			}
		}
		load.Meters++
		load.Share += share
		if share > load.slowTime {
			load.slowest, load.slowTime = m.ID, share
		}
		load.Silent = max(load.Silent, bus.Unanswered())
	}
	for _, o := range s.outputs {
		if o.output.Kind != "modbus" {
			continue
		}
		load := at(o.output.URL)
		took, err := s.busAt(o.output.URL).Writing(configs.Turnaround(o.output.URL))
		if err != nil {
			return nil // as above
		}
		load.Outputs++
		load.Requests += 2 / writeEvery.Seconds()
		load.Share += took.Seconds() / writeEvery.Seconds()
		// A look before each refresh, and at the registers of the lease.
		looks := 0.5
		for _, addr := range []int{o.output.LeaseHolding, o.output.LeaseFallback} {
			if addr != configs.Absent {
				looks += 0.5
			}
		}
		load.Requests += looks * 2 / refreshEvery.Seconds()
		load.Share += looks * took.Seconds() / refreshEvery.Seconds()
	}
	return slices.DeleteFunc(loads, func(b BusLoad) bool { return b.Meters == 0 && b.Outputs == 0 })
}
