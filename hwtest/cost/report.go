package cost

import (
	"fmt"
	"strings"
	"time"
)

// Result is what a run measured.
type Result struct {
	Date        time.Time `json:"date"`
	Machine     Machine   `json:"machine"`
	Agent       Program   `json:"agent"`
	Sizes       []Size    `json:"sizes"`
	Allocations Allocated `json:"allocations_per_reading"`
	Alarm       Alarm     `json:"alarm"`
	Backlog     Backlog   `json:"backlog"`
	Broken      []string  `json:"broken"` // limits, and by how much; see [Result.Judge]
}

// Size is the cost at one number of ways.
type Size struct {
	Ways             int     `json:"ways"`
	Seconds          float64 `json:"seconds"`
	Agent            Usage   `json:"agent"`
	Bare             Usage   `json:"bare"`
	CPURatio         float64 `json:"cpu_ratio"` // 0: the bare loop took no time that could be measured
	CommitsPerMinute float64 `json:"commits_per_min"`
	Disk             *Disk   `json:"disk"` // null: the run was too short
	HalfHourEnded    bool    `json:"half_hour_ended"`
	Late99           float64 `json:"late_p99_ms"` // from a poll's second to its start, of the way that did worst
	LateMost         float64 `json:"late_most_ms"`
}

// Disk is what is written without an active alarm: by the agent's own count of
// pages, and by two counters of /proc/PID/io that err in opposite ways; see the
// notes of the page.
type Disk struct {
	Pages   Volume `json:"pages"`
	Dirtied Volume `json:"write_bytes"` // 0: the store is on a file system in memory
	Handed  Volume `json:"wchar"`
}

// Volume is in octets.
type Volume struct {
	Minute float64 `json:"minute"` // between the ends of half-hours
	Period float64 `json:"period"` // while a period of 10 s goes by and ends: at least what the end of a half-hour costs
	Day    float64 `json:"day"`    // at most: 1440 minutes and 48 half-hours
}

func (v *Volume) add(period float64) {
	v.Period = period
	v.Day = v.Minute*minutesPerDay + period*halfHoursPerDay
}

// Limits that a run is judged by. Milliseconds are not judged: they say more
// about the machine than about the agent.
const (
	mostAllocations = 0.05
	dayBudget       = 60e6 // octets written, at the common size
)

// Judge notes which limits were broken, and by how much. Strict also wants to
// have seen every alarm, and judges what comes after an outage.
func (r *Result) Judge(strict bool) {
	r.Broken = []string{}
	broken := func(format string, args ...any) { r.Broken = append(r.Broken, fmt.Sprintf(format, args...)) }
	for i := range r.Sizes {
		s := &r.Sizes[i]
		most := scaleOf(s.Ways)
		switch {
		case most.ratio == 0:
		case s.CPURatio == 0:
			broken("%d ways: the bare loop took no processor time that could be measured; run longer", s.Ways)
		case s.CPURatio > most.ratio:
			broken("%d ways: processor time is %.2f times that of the bare loop, %.2f above the limit of %.2f",
				s.Ways, s.CPURatio, s.CPURatio-most.ratio, most.ratio)
		}
		if most.share > 0 && s.share() > most.share {
			broken("%d ways: processor time is %.2f %% of one core, %.2f above the limit of %.2f",
				s.Ways, 100*s.share(), 100*(s.share()-most.share), 100*most.share)
		}
		if most.anon > 0 && s.Agent.Anon > most.anon {
			broken("%d ways: anonymous memory is %s, %s above the limit of %s", s.Ways,
				mb(s.Agent.Anon), mb(s.Agent.Anon-most.anon), mb(most.anon))
		}
		if s.Ways == sizes[0].ways && s.Disk != nil && s.Disk.Pages.Day > dayBudget {
			broken("%d ways: %s written a day without alarms, %s above the budget of %s", s.Ways,
				mb(s.Disk.Pages.Day), mb(s.Disk.Pages.Day-dayBudget), mb(dayBudget))
		}
		if want := 0.98 * s.Bare.Requests; s.Agent.Requests < want {
			broken("%d ways: the agent made %.0f requests a minute, the bare loop %.0f: they did not do the same work",
				s.Ways, s.Agent.Requests, s.Bare.Requests)
		}
	}
	if a := r.Allocations.Own; a > mostAllocations {
		broken("a reading allocates %.2f objects in our own code; the limit is 0", a)
	}
	switch {
	case !strict:
	case r.Alarm.Seen == 0:
		broken("no alarm seen in %d steps", r.Alarm.Steps)
	case r.Alarm.Seen < r.Alarm.Steps:
		broken("%d of %d alarms not seen", r.Alarm.Steps-r.Alarm.Seen, r.Alarm.Steps)
	}
	if strict {
		r.Backlog.judge(broken)
	}
}

func mb[T uint64 | int64 | float64](octets T) string {
	return fmt.Sprintf("%.1f MB", float64(octets)/1e6)
}

// Text returns the result as lines for a person.
func (r *Result) Text() string {
	var b strings.Builder
	line := func(key, format string, args ...any) { fmt.Fprintf(&b, "%-11s%s\n", key, fmt.Sprintf(format, args...)) }
	m := &r.Machine
	line("machine", "%s, %d cores, %s, Linux %s, %s, load %s", m.CPU, m.Cores, m.Arch, m.Kernel, m.FileSystem, m.Load)
	line("agent", "%s, %s, binary %s", r.Agent.Version, r.Agent.Go, mb(r.Agent.Octets))
	for i := range r.Sizes {
		s := &r.Sizes[i]
		line(fmt.Sprintf("%d ways", s.Ways), "processor  %.2f s a minute, %.2f %% of one core; bare loop %.2f s; %s%s",
			s.Agent.CPU, 100*s.share(), s.Bare.CPU, ratio(s.CPURatio), s.limitCPU())
		line("", "memory     %s anonymous (at most %s), %s of files; bare loop %s and %s",
			mb(s.Agent.Anon), mb(scaleOf(s.Ways).anon), mb(s.Agent.File), mb(s.Bare.Anon), mb(s.Bare.File))
		if s.Agent.Growing {
			line("", "           the peak still rose in the second half; run longer to see where it ends")
		}
		line("", "polls      begin %.1f ms (p99 of the worst way) behind their second, %.1f ms once", s.Late99, s.LateMost)
		line("", "disk       %s", s.Disk.text())
		line("", "store      %.1f commits a minute; Modbus %.0f requests a minute, bare loop %.0f",
			s.CommitsPerMinute, s.Agent.Requests, s.Bare.Requests)
		if s.HalfHourEnded {
			line("", "           a half-hour ended during this run, so its disk figure is too high")
		}
	}
	line("reading", "allocates %.2f objects in our own code (limit 0), %.1f in the Modbus library",
		r.Allocations.Own, r.Allocations.Requests)
	line("", "%s", r.Allocations.path())
	line("alarm", "%s", r.Alarm.text())
	line("backlog", "%s", r.Backlog.text())
	line("fsync", "%s, 4 KiB each, on the same disk", r.Alarm.Fsync.text())
	for _, broken := range r.Broken {
		line("BROKEN", "%s", broken)
	}
	if len(r.Broken) == 0 {
		line("PASSED", "every limit held")
	}
	return b.String()
}

// share is the agent's processor time as a part of one core.
func (s *Size) share() float64 { return s.Agent.CPU / time.Minute.Seconds() }

func (s *Size) limitCPU() string {
	most := scaleOf(s.Ways)
	var limits []string
	if most.ratio > 0 {
		limits = append(limits, fmt.Sprintf("%.1f times", most.ratio))
	}
	if most.share > 0 {
		limits = append(limits, fmt.Sprintf("%.0f %% of one core", 100*most.share))
	}
	if len(limits) == 0 {
		return ""
	}
	return " (at most " + strings.Join(limits, ", ") + ")"
}

func ratio(x float64) string {
	if x == 0 {
		return "no ratio"
	}
	return fmt.Sprintf("%.2f times", x)
}

func (d *Disk) text() string {
	if d == nil {
		return fmt.Sprintf("not measured: the store is written every other minute, so --for must be at least %v", shortestDisk)
	}
	return fmt.Sprintf("a day without alarms: %s in pages, %.0f kB a minute and at most %.0f kB a half-hour; handed to write(2) with sockets %s; write_bytes %s",
		mb(d.Pages.Day), d.Pages.Minute/1e3, d.Pages.Period/1e3, mb(d.Handed.Day), mb(d.Dirtied.Day))
}

func (a *Alarm) text() string {
	if a.Latency == nil {
		return fmt.Sprintf("no alarm seen in %d steps", a.Steps)
	}
	return fmt.Sprintf("%s from the meter's answer to the PUBACK, stored with fsync; %d of %d seen",
		a.Latency.text(), a.Seen, a.Steps)
}

func (s *Spread) text() string { return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", s.P50, s.P99) }

// Markdown returns the result as a page of the documentation.
func (r *Result) Markdown() string {
	var b strings.Builder
	m := &r.Machine
	fmt.Fprintf(&b, `# What the agent costs

Written by `+"`lvbench bench --write`"+` on %s. %s, %d cores (%s), Linux %s, stores on %s;
load averages before the run %s. Agent %s, %s, binary %s.

The agent is `+"`lvagent run`"+` as a child process, with a meter per way read once a second, a charging group per way, a
threshold alarm, a broker and a centre that sends heartbeats. The bare loop is another process, running at the same time
on the same machine, which reads the same registers at the same rate with the same Modbus library and does nothing else.
Judge the agent by the ratio and by its memory; seconds and milliseconds are those of this machine.

`, r.Date.Format("2006-01-02 15:04 UTC"), m.CPU, m.Cores, m.Arch, m.Kernel, m.FileSystem, m.Load, r.Agent.Version, r.Agent.Go, mb(r.Agent.Octets))
	row := func(name, limit string, value func(*Size) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for i := range r.Sizes {
			fmt.Fprintf(&b, " %s |", value(&r.Sizes[i]))
		}
		fmt.Fprintf(&b, " %s |\n", limit)
	}
	row("", "limit", func(s *Size) string { return fmt.Sprintf("%d ways, %.0f s", s.Ways, s.Seconds) })
	b.WriteString(strings.Repeat("|---", len(r.Sizes)+2) + "|\n")
	row("processor time, agent to bare loop", r.limits(func(m scale) string {
		if m.ratio == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f at %d", m.ratio, m.ways)
	}), func(s *Size) string { return ratio(s.CPURatio) })
	row("processor time, agent", "", func(s *Size) string { return fmt.Sprintf("%.2f s a minute", s.Agent.CPU) })
	row("the same, of one core", r.limits(func(m scale) string {
		if m.share == 0 {
			return ""
		}
		return fmt.Sprintf("%.0f %% at %d", 100*m.share, m.ways)
	}), func(s *Size) string { return fmt.Sprintf("%.2f %%", 100*s.share()) })
	row("processor time, bare loop", "", func(s *Size) string { return fmt.Sprintf("%.2f s a minute", s.Bare.CPU) })
	row("anonymous memory, peak", r.limits(func(m scale) string { return mb(m.anon) }), func(s *Size) string {
		if s.Agent.Growing {
			return mb(s.Agent.Anon) + ", rising"
		}
		return mb(s.Agent.Anon)
	})
	row("poll's start behind its second, p99 of the worst way", "5 ms on a quiet machine", func(s *Size) string { return fmt.Sprintf("%.1f ms", s.Late99) })
	row("anonymous memory, bare loop", "", func(s *Size) string { return mb(s.Bare.Anon) })
	row("file-backed memory, peak", "", func(s *Size) string { return mb(s.Agent.File) })
	day := func(v func(*Disk) Volume) func(*Size) string {
		return func(s *Size) string {
			if s.Disk == nil {
				return "not measured"
			}
			return mb(v(s.Disk).Day)
		}
	}
	row("written a day without alarms, in pages", fmt.Sprintf("%s at %d ways", mb(dayBudget), sizes[0].ways), day(func(d *Disk) Volume { return d.Pages }))
	row("the same, `wchar`", "", day(func(d *Disk) Volume { return d.Handed }))
	row("the same, `write_bytes`", "", day(func(d *Disk) Volume { return d.Dirtied }))
	row("commits of the store", "", func(s *Size) string { return fmt.Sprintf("%.1f a minute", s.CommitsPerMinute) })
	row("Modbus requests, agent and bare loop", "", func(s *Size) string {
		return fmt.Sprintf("%.0f and %.0f a minute", s.Agent.Requests, s.Bare.Requests)
	})
	fmt.Fprintf(&b, `
- A reading allocates %.2f objects in our own code, from the driver to the window (limit 0), and %.1f in the Modbus library;
  counted over %d readings.
- A reading %s.
- Alarm: %s.
- Backlog: %s.
- Disk: 4 KiB and fsync take %s, on the same disk in the same run (%d times).

`, r.Allocations.Own, r.Allocations.Requests, r.Allocations.Readings, r.Allocations.path(), r.Alarm.text(), r.Backlog.text(), r.Alarm.Fsync.text(), r.Alarm.Fsync.N)
	if len(r.Broken) == 0 {
		b.WriteString("Every limit held.\n")
	} else {
		b.WriteString("Limits that this run broke:\n\n")
		for _, broken := range r.Broken {
			fmt.Fprintf(&b, "- %s.\n", broken)
		}
	}
	b.WriteString(notes)
	return b.String()
}

// limits joins what say tells of the limits at each size measured.
func (r *Result) limits(say func(scale) string) string {
	var said []string
	for i := range r.Sizes {
		if text := say(scaleOf(r.Sizes[i].Ways)); text != "" {
			said = append(said, text)
		}
	}
	return strings.Join(said, ", ")
}

// notes say how to read the figures.
const notes = `
How to read this:

- Anonymous memory is RssAnon, the highest of two samples a second from the start on. It rises until the first garbage
  collection; "rising" means that the peak of the second half is more than 5 % above that of the first. File-backed memory
  (the program and the store's mapping) can be dropped by the kernel and is shown apart.
- The agent makes a few more requests than the bare loop: it writes and reads back the limits of its charging groups.
- Writes are counted by the agent itself, in whole pages: those that bbolt writes, segments, and the failsafe state. The file
  system's own (inodes, folders, journal) is not in it. States that are kept more seldom than the run lasts are missing or
  counted as if they were kept that often: the failsafe state is kept every quarter of an hour, power quality every ten minutes.
- The kernel counts too, in /proc/PID/io, and neither figure is what reaches the disk. ` + "`write_bytes`" + ` counts page
  cache made dirty, and a large folio as a whole: where the file system uses them (ext4 on a recent kernel), 4 KiB of the
  store can count as 64 KiB. ` + "`wchar`" + ` counts what was handed to write(2): it has the sockets too, and does not round up to
  pages. The file system's own journal is in neither. On tmpfs ` + "`write_bytes`" + ` is 0.
- A day is 1440 minutes as measured, and 48 times what a period of 10 s costs on a second run, which also has checkpoints
  that a half-hour has not. ` + "`--folder`" + ` puts the stores on the disk you mean.
- The alarm's time runs from the Modbus answer that carried the value, as it passed on the way to the agent, to the
  broker's PUBACK, as it passed on the way back. In between lie the alarm's decision, its commit with fsync and the broker,
  which runs inside lvbench. Routine work commits at most once a second, alarms at once.
- The backlog is made by writing half-hours into the store before the agent starts. How fast it leaves is counted at the
  broker, to which nobody is subscribed, at ` + "`backlog_rate: 0`" + `; the alarms are those of the line above, raised while the
  backlog leaves at the default rate of 20 a second.
- At 1,000 ways there is no transformer and no charging group: it is a stress figure of measurement alone.
- Requests, processor time and writes are counted after a warm-up of 10 s, with every way free of limits.
`
