package configs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lvagent/meter"
)

// complete sets what the file need not say.
func (o *Output) complete(s *Source, at string) {
	if o.Encode == "" {
		o.Encode = "percent"
	}
	if o.Kind == "mqtt" {
		if _, given := s.lines[at+"lease"]; !given {
			o.Lease = 15 * time.Minute
		}
		if _, given := s.lines[at+"latency"]; !given {
			o.Latency = 5 * time.Minute
		}
	}
	for key, address := range map[string]*int{
		"holding": &o.Holding, "coil": &o.Coil, "lease_holding": &o.LeaseHolding, "lease_fallback": &o.LeaseFallback,
	} {
		if _, given := s.lines[at+key]; !given {
			*address = Absent
		}
	}
}

// validate checks an output; taken holds what other groups drive.
func (o *Output) validate(s *Source, at, group string, taken map[string]string) {
	s.oneOf(at+".kind", o.Kind, "modbus", "gpio", "mqtt")
	key := ""
	switch o.Kind {
	case "mqtt":
		s.spanOf(at+".lease", o.Lease, 90*time.Second, time.Hour)
		s.spanOf(at+".latency", o.Latency, 10*time.Second, time.Hour)
		return
	case "gpio":
		key = o.Line
		if !isLine(o.Line) {
			s.add(at+".line", "group %s: must be chip:line like gpiochip0:17, not %q", group, o.Line)
		}
		if o.Lease != 0 || o.LeaseHolding != Absent || o.LeaseFallback != Absent {
			s.add(at+".lease", "group %s: a line falls back with its process; only a controller on modbus has a lease", group)
		}
	case "modbus":
		s.unitOn(at+".unit", o.URL, o.Unit)
		switch holding, coil := o.Holding != Absent, o.Coil != Absent; {
		case holding == coil:
			s.add(at, "group %s: must have one of holding and coil", group)
		case holding:
			s.between(at+".holding", o.Holding, 0, 65535)
			s.oneOf(at+".encode", o.Encode, "percent", "amps", "deciamps")
		default:
			s.between(at+".coil", o.Coil, 0, 65535)
			s.between(at+".curtail", o.Curtail, 0, 1)
		}
		o.validateLease(s, at, group)
		key = fmt.Sprintf("%s %d %d %d", o.URL, o.Unit, o.Holding, o.Coil)
	default:
		return
	}
	if other, twice := taken[key]; twice {
		s.add(at, "group %s: group %s already drives this output", group, other)
	}
	taken[key] = group
}

// validateLease checks what a controller does by itself when it is not told
// anything any more.
func (o *Output) validateLease(s *Source, at, group string) {
	if o.Lease == 0 {
		if o.LeaseHolding != Absent || o.LeaseFallback != Absent {
			s.add(at+".lease", "group %s: is needed for the registers of the lease", group)
		}
		return
	}
	// Three writes, the last of which may be late.
	s.spanOf(at+".lease", o.Lease, 90*time.Second, time.Hour)
	if o.Lease%time.Second != 0 {
		s.add(at+".lease", "group %s: must be whole seconds, not %s", group, o.Lease)
	}
	if o.LeaseHolding == Absent {
		s.add(at+".lease_holding", "group %s: must say which register takes the lease; a controller that needs not be told has none here", group)
		return
	}
	s.between(at+".lease_holding", o.LeaseHolding, 0, 65535)
	taken := []int{o.Holding, o.LeaseHolding}
	if o.LeaseFallback != Absent {
		s.between(at+".lease_fallback", o.LeaseFallback, 0, 65535)
		if o.Holding == Absent {
			s.add(at+".lease_fallback", "group %s: belongs to a holding output; a coil falls back to its rest", group)
		}
		taken = append(taken, o.LeaseFallback)
	}
	for i, a := range taken {
		for _, b := range taken[:i] {
			if a == b {
				s.add(at+".lease_holding", "group %s: register %d is used twice", group, a)
			}
		}
	}
}

// validateBackup checks the contact that stands in for a group's output.
func (g *Group) validateBackup(s *Source, at string, taken map[string]string) {
	if !g.Backup.IsThere() {
		if _, given := s.lines[at]; given {
			s.add(at+".kind", "group %s: must be gpio, or modbus with a coil", g.ID)
		}
		return
	}
	g.Backup.validate(s, at, g.ID, taken)
	switch {
	case g.Output.Kind == "mqtt":
		s.add(at, "group %s: its charge points are elsewhere; a contact beside the substation does not reach them", g.ID)
	case !g.Backup.IsContact():
		s.add(at, "group %s: must be a contact, gpio or a coil: it opens where the output does not obey", g.ID)
	case g.Backup.Kind == "modbus" && g.Backup.URL == g.Output.URL && g.Backup.Unit == g.Output.Unit:
		s.add(at+".unit", "group %s: is the controller of the output itself; what stands in for it must not fail with it", g.ID)
	}
}

// validateWatchdog checks the line of the watchdog contact.
func (c *Config) validateWatchdog(s *Source) {
	const at = "failsafe.watchdog_line"
	line := c.Failsafe.WatchdogLine
	if line == "" {
		return
	}
	if !isLine(line) {
		s.add(at, "must be chip:line like gpiochip0:5, not %q", line)
	}
	for _, g := range c.Groups {
		for _, o := range []Output{g.Output, g.Backup} {
			if o.Kind == "gpio" && o.Line == line {
				s.add(at, "group %s already drives this line", g.ID)
			}
		}
	}
}

// groupFeed begins the name under which a group is measured: no way's id has a
// slash.
const groupFeed = "group/"

// GroupFeed returns the group that a reading is of, where it is one's.
func GroupFeed(way string) (group string, is bool) { return strings.CutPrefix(way, groupFeed) }

// GroupMeters are the groups that have a meter, as something to be polled.
func (c *Config) GroupMeters() (all []Way) {
	for _, g := range c.Groups {
		if g.Meter == "" {
			continue
		}
		all = append(all, Way{
			ID: groupFeed + g.ID, Name: g.ID, Meter: g.Meter, Channel: g.Channel, Phases: g.Phases,
			Rating: PhaseAmps{g.Rating, g.Rating, g.Rating}, Neutral: "none",
		})
	}
	return all
}

// validateGroupMeter checks the meter of group i.
func (c *Config) validateGroupMeter(s *Source, at string, i int) {
	g := &c.Groups[i]
	s.between(at+".channel", g.Channel, 1, 64)
	if g.Meter == "" {
		return
	}
	m := slices.IndexFunc(c.Meters, func(m Meter) bool { return m.ID == g.Meter })
	switch {
	case m < 0:
		s.add(at+".meter", "group %s: there is no meter %q", g.ID, g.Meter)
	case IsSPI(c.Meters[m].URL):
		s.add(at+".meter", "group %s: a front end measures ways", g.ID)
	}
	for _, w := range c.Ways {
		if w.Meter == g.Meter && w.Channel == g.Channel {
			s.add(at+".meter", "group %s: meter %s measures way %s; what the group draws is less than that", g.ID, g.Meter, w.ID)
		}
	}
	for _, other := range c.Groups[:i] {
		if other.Meter == g.Meter && other.Channel == g.Channel {
			s.add(at+".meter", "group %s: meter %s already measures group %s", g.ID, g.Meter, other.ID)
		}
	}
}

// LowestFailsafe is the lowest limit of a group while the centre is silent, at any
// time of the week: what something that knows no times falls back to.
func (g *Group) LowestFailsafe() meter.Milliamps {
	low := meter.Milliamps(Milli(g.Failsafe))
	for _, p := range append(g.periods(g.Profile), g.periods(g.Schedule)...) {
		low = min(low, p.Limit)
	}
	return low
}

func isLine(text string) bool {
	chip, line, ok := strings.Cut(text, ":")
	return ok && chip != "" && line != ""
}
