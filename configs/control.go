package configs

import (
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// Supply is whether commands may name supply points, and for how long it is known
// which group each is in. Their numbers are in no file: lvagent mpan add takes
// them on site, and only keyed hashes are kept.
type Supply struct {
	Targets bool          `mapstructure:"targets" doc:"Whether target.mpans is taken in commands. Default false: the centre names groups."`
	Keep    time.Duration `mapstructure:"keep" doc:"After this long an entry of lvagent mpan add is erased, unless it was added again."`
}

const (
	mostKeep    = 10 * 366 * 24 * time.Hour
	mostStagger = 15 * time.Minute
	mostShift   = 12 * time.Hour
)

// completeControl fills in what the file does not say of a group's control. An
// amber limit holds in red too.
func (g *Group) completeControl(s *Source, at string) {
	if _, given := s.lines[at+".schedule_stagger"]; !given {
		g.Stagger = mostStagger
	}
	_, amber := s.lines[at+".amber_a"]
	_, red := s.lines[at+".red_a"]
	if !amber {
		g.Amber = Absent
	}
	if !red {
		g.Red = g.Amber
	}
}

func (g *Group) validateControl(s *Source, at string) {
	g.validatePeriods(s, at+".schedule", g.Schedule)
	s.spanOf(at+".schedule_shift", g.Shift, 0, mostShift)
	s.spanOf(at+".schedule_stagger", g.Stagger, 0, mostStagger)
	if g.Guarantee < 0 || g.Guarantee > g.Rating {
		s.add(at+".min_a", "group %s: must be 0 to its rating of %v A, not %v", g.ID, g.Rating, g.Guarantee)
	}
	if g.Guarantee > 0 && g.Output.IsContact() {
		s.add(at+".min_a", "group %s: its output is a contact, which is off for every limit below the rating and can guarantee nothing", g.ID)
	}
	if g.Failsafe < g.Guarantee && g.Guarantee <= g.Rating {
		s.add(at+".failsafe_a", "group %s: %v A is below the %v A that min_a guarantees", g.ID, g.Failsafe, g.Guarantee)
	}
	for _, x := range []struct {
		key  string
		amps float64
	}{{"amber_a", g.Amber}, {"red_a", g.Red}} {
		if _, given := s.lines[at+"."+x.key]; given && (x.amps < g.Guarantee || x.amps > g.Rating) {
			s.add(at+"."+x.key, "group %s: must be min_a (%v A) to its rating of %v A, not %v", g.ID, g.Guarantee, g.Rating, x.amps)
		}
	}
	if g.Amber != Absent && g.Red > g.Amber {
		s.add(at+".red_a", "group %s: %v A is above amber_a, %v A; red is the stricter regime", g.ID, g.Red, g.Amber)
	}
	switch _, err := time.Parse(time.DateOnly, g.OptIn.Since); {
	case g.OptIn == OptIn{}:
	case g.OptIn.By == "" || len(g.OptIn.By) > 64:
		s.add(at+".opt_in.by", "group %s: must say in 1 to 64 characters who consented", g.ID)
	case err != nil:
		s.add(at+".opt_in.since", "group %s: must be a day as 2026-04-01, not %q", g.ID, g.OptIn.Since)
	}
}

// contract is what the group may draw in each regime, as the engine takes it.
func (g *Group) contract() (all [failsafe.Red + 1]failsafe.Contract) {
	for regime, amps := range map[failsafe.Regime]float64{failsafe.Amber: g.Amber, failsafe.Red: g.Red} {
		if amps != Absent {
			all[regime] = failsafe.Contract{Agreed: true, Limit: meter.Milliamps(Milli(amps))}
		}
	}
	return all
}

// from is the moment from which on the consent holds; zero: there is none.
func (o *OptIn) from(place *time.Location) time.Time {
	day, err := time.ParseInLocation(time.DateOnly, o.Since, place)
	if o.By == "" || err != nil {
		return time.Time{}
	}
	return day
}
