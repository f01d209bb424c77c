package configs

import (
	"fmt"
	"slices"
	"strings"

	"lvagent/failsafe"
	"lvagent/meter"
)

// FailsafePeriod is a stretch of some days in which a limit of a group is another
// one.
type FailsafePeriod struct {
	Days    []string `mapstructure:"days" doc:"mon, tue, wed, thu, fri, sat, sun, or a range as mon-fri: the days on which the period begins. Default every day."`
	From    string   `mapstructure:"from" doc:"Local time (site.timezone) at which it begins, as 16:00."`
	To      string   `mapstructure:"to" doc:"Local time at which it ends, as 22:00. At or before from it is on the next day."`
	Amps    float64  `mapstructure:"amps" doc:"Limit per phase in A."`
	Percent float64  `mapstructure:"percent" doc:"Limit in % of the group's rating, instead of amps."`
}

// mostPeriods is more than one for each half-hour of a day.
const mostPeriods = 64

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday

// parseDays returns the days that a word of the file means.
func parseDays(word string) (days [7]bool, ok bool) {
	first, last, between := strings.Cut(word, "-")
	a := slices.Index(dayNames, first)
	b := a
	if between {
		b = slices.Index(dayNames, last)
	}
	if a < 0 || b < 0 {
		return days, false
	}
	for d := a; ; d = (d + 1) % 7 {
		if days[d] = true; d == b {
			return days, true
		}
	}
}

// parseTime returns the minute of the day that hh:mm means.
func parseTime(text string) (minute int, ok bool) {
	var hh, mm int
	if len(text) != len("hh:mm") || strings.ContainsAny(text, "+- ") {
		return 0, false
	}
	if n, err := fmt.Sscanf(text, "%02d:%02d", &hh, &mm); err != nil || n != 2 {
		return 0, false
	}
	return hh*60 + mm, mm < 60 && (hh < 24 || hh == 24 && mm == 0)
}

func (g *Group) validatePeriods(s *Source, at string, periods []FailsafePeriod) {
	if len(periods) > mostPeriods {
		s.add(at, "group %s: must be at most %d periods, not %d", g.ID, mostPeriods, len(periods))
	}
	for i, p := range periods {
		at := fmt.Sprintf("%s[%d]", at, i)
		validateWhen(s, at, p.Days, p.From, p.To)
		_, amps := s.lines[at+".amps"]
		_, percent := s.lines[at+".percent"]
		switch {
		case amps == percent:
			s.add(at, "group %s: must have one of amps and percent", g.ID)
		case amps && (p.Amps < 0 || p.Amps > g.Rating):
			s.add(at+".amps", "group %s: must be 0 to its rating of %v A, not %v", g.ID, g.Rating, p.Amps)
		case percent && (p.Percent < 0 || p.Percent > 100):
			s.add(at+".percent", "group %s: must be 0 to 100, not %v", g.ID, p.Percent)
		case g.limitOf(&p) < g.Guarantee:
			s.add(at, "group %s: %v A is below the %v A that min_a guarantees", g.ID, g.limitOf(&p), g.Guarantee)
		}
	}
}

// limitOf is the limit of a period in A; one of its two numbers is 0.
func (g *Group) limitOf(p *FailsafePeriod) float64 { return p.Amps + g.Rating*p.Percent/100 }

// periods returns periods as the engine takes them.
func (g *Group) periods(list []FailsafePeriod) (all []failsafe.Period) {
	for _, p := range list {
		out := periodOf(p.Days, p.From, p.To)
		out.Limit = meter.Milliamps(Milli(g.limitOf(&p)))
		all = append(all, out)
	}
	return all
}

// validateWhen finds the faults in when a period is.
func validateWhen(s *Source, at string, days []string, from, to string) {
	for k, word := range days {
		if _, ok := parseDays(word); !ok {
			s.add(fmt.Sprintf("%s.days[%d]", at, k), "must be a day as mon or a range as mon-fri, not %q", word)
		}
	}
	for _, x := range []struct{ key, text string }{{"from", from}, {"to", to}} {
		if _, ok := parseTime(x.text); !ok {
			s.add(at+"."+x.key, "must be a time of day as 07:30, 00:00 to 24:00, not %q", x.text)
		}
	}
	if minute, ok := parseTime(from); ok && minute == 24*60 {
		s.add(at+".from", "24:00 can only be an end; write 00:00 and the next day")
	}
}

// periodOf is a period without a limit.
func periodOf(days []string, from, to string) (out failsafe.Period) {
	out.From, _ = parseTime(from)
	out.To, _ = parseTime(to)
	for _, word := range days {
		set, _ := parseDays(word)
		for d, on := range set {
			out.Days[d] = out.Days[d] || on
		}
	}
	if len(days) == 0 {
		out.Days = [7]bool{true, true, true, true, true, true, true}
	}
	return out
}
