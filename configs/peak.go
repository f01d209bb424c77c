package configs

import (
	"fmt"

	"lvagent/failsafe"
)

// PeakPeriod is a stretch of peak hours.
type PeakPeriod struct {
	Days []string `mapstructure:"days" doc:"mon, tue, wed, thu, fri, sat, sun, or a range as mon-fri: the days on which it begins. Default every day."`
	From string   `mapstructure:"from" doc:"Local time (site.timezone) at which it begins, as 16:00."`
	To   string   `mapstructure:"to" doc:"Local time at which it ends. At or before from it is on the next day."`
}

func (c *Config) validatePeak(s *Source) {
	const at = "failsafe.autonomous_peak"
	if len(c.Failsafe.Peak) > mostPeriods {
		s.add(at, "must be at most %d periods, not %d", mostPeriods, len(c.Failsafe.Peak))
	}
	for i, p := range c.Failsafe.Peak {
		validateWhen(s, fmt.Sprintf("%s[%d]", at, i), p.Days, p.From, p.To)
	}
}

// peak returns the peak hours as the engine takes them.
func (f *Failsafe) peak() (all []failsafe.Period) {
	for _, p := range f.Peak {
		all = append(all, periodOf(p.Days, p.From, p.To))
	}
	if len(all) == 0 {
		all = append(all, periodOf(nil, "16:00", "22:00"))
	}
	return all
}
