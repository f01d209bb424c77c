// Package pq sums up the supply of one way over a week: 10-minute voltages
// against EN 50160 and the statutory limits, unbalance, distortion, frequency,
// and the dips, swells and interruptions that the meter counts.
//
// It keeps each 10-minute value of the running week, 1008 of them, so that a
// week is judged on its values and its memory is bounded. It reads no clock and
// stores nothing: the caller gives it the wall time of each reading, and keeps
// one [State] a day. All arithmetic is on whole numbers.
//
// What it says is indicative: a poll a second is a sample of the 10-cycle values
// that IEC 61000-4-30 aggregates, so no class of that standard is claimed.
//
// Requirements: R5 (power quality).
package pq

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// Interval is the length of the values that are judged; they begin at multiples
// of it in UTC.
const Interval = 10 * time.Minute

const (
	perDay  = int(24 * time.Hour / Interval)
	perWeek = 7 * perDay

	// grace is how long an interval waits for late readings.
	grace = 2 * time.Second

	// most is the largest voltage that is taken as measured.
	most = 655_000

	// farBack is a step of the clock back that shows that it was wrong before: what
	// was noted of the week to come is dropped. A smaller one is waited out.
	farBack = int64(perDay)
)

// Config says what is watched. Zero fields stand for the defaults.
type Config struct {
	Way     string
	Phases  [meter.Phases]bool // none means all three
	Poll    time.Duration      // default 1 s
	Nominal meter.Millivolts   // default 230 V
	Offset  meter.Millivolts   // how far the busbar stands above the terminals that the limits are about
}

// Flags of an interval.
const (
	dip uint8 = 1 << iota
	swell
	interruption
	suspect
)

const event = dip | swell | interruption

// Monitor watches one way. It has one owner and is not safe for concurrent use.
type Monitor struct {
	cfg      Config
	expected int64 // readings of a complete interval

	begun bool
	fresh bool  // an interval was closed since the last Advance
	week  int64 // index of the week that is kept
	open  interval

	volts [meter.Phases][]uint16 // each value, plus one, in 10 mV; 0 is none
	thdv  [meter.Phases][]uint16 // plus one, in 100 ppm; nil until measured
	vuf   []uint16
	flags []uint8
	days  [7]day

	counters [3]counter // dips, swells, interruptions
}

// interval is the 10 minutes that run.
type interval struct {
	index int64 // since 1970; also the present time, in intervals
	volts [meter.Phases]mean
	line  [meter.Phases]mean
	thdv  [meter.Phases]mean
	flags uint8
}

// mean is a root of a mean of squares on its way.
type mean struct {
	sum fixed.Sum
	n   int64
}

func (m *mean) add(v int64) { m.sum, m.n = m.sum.Plus(fixed.Square(v)), m.n+1 }

func (m *mean) rms() int64 { return m.sum.RootOfMean(m.n) }

// day is what is not kept by interval.
type day struct {
	Frequency meter.FrequencyWeek
	Events    [3]int64
	Counted   [3]bool // the meter has the counter
	Doubtful  int
	Down      [meter.Phases]int // readings below 5 % of nominal
}

// New returns a monitor that has seen nothing.
func New(cfg Config) *Monitor {
	if cfg.Phases == [meter.Phases]bool{} {
		cfg.Phases = [meter.Phases]bool{true, true, true}
	}
	if cfg.Poll <= 0 {
		cfg.Poll = time.Second
	}
	if cfg.Nominal <= 0 {
		cfg.Nominal = 230_000
	}
	m := &Monitor{cfg: cfg, expected: max(1, int64(Interval/cfg.Poll)), flags: make([]uint8, perWeek)}
	for p, has := range cfg.Phases {
		if has {
			m.volts[p] = make([]uint16, perWeek)
		}
	}
	return m
}

// indexOf returns the interval that a time is in.
func indexOf(wall time.Time) int64 { return fixed.FloorDiv(wall.Unix(), int64(Interval/time.Second)) }

// weekOf returns the week that an interval is in, and its place there. Weeks
// begin on Monday; 1 January 1970 was a Thursday.
func weekOf(index int64) (week int64, slot int) {
	const thursday = 3 * int64(perDay)
	week = fixed.FloorDiv(index+thursday, int64(perWeek))
	return week, int(index + thursday - week*int64(perWeek))
}

func startOf(week int64, slot int) time.Time {
	index := week*int64(perWeek) + int64(slot) - 3*int64(perDay)
	return time.Unix(index*int64(Interval/time.Second), 0).UTC()
}

// Add takes a reading that was taken at wall. While the clock is not trusted it
// is left out: nobody could say which interval it belongs to.
func (m *Monitor) Add(r *meter.Reading, wall time.Time, clock meter.Clock) {
	if !m.enter(wall, clock) {
		return
	}
	_, slot := weekOf(m.open.index)
	d := &m.days[slot/perDay]
	for p := range r.Phase {
		s := &r.Phase[p].V
		if !m.cfg.Phases[p] || s.Quality == meter.Missing || s.Value < 0 || s.Value > most {
			continue
		}
		if s.Quality == meter.Suspect {
			m.open.flags |= suspect
		}
		if s.Value < m.cfg.Nominal/20 {
			m.open.flags |= interruption
			d.Down[p]++
		}
		m.open.volts[p].add(int64(s.Value))
	}
}

// AddSupply takes what the meter says of the supply.
func (m *Monitor) AddSupply(r *meter.SupplyReading, wall time.Time, clock meter.Clock) {
	if !m.enter(wall, clock) {
		return
	}
	_, slot := weekOf(m.open.index)
	d := &m.days[slot/perDay]
	for p := range r.Line {
		if s := &r.Line[p]; s.Quality != meter.Missing && s.Value > 0 && s.Value <= 2*most {
			m.open.line[p].add(int64(s.Value))
		}
		if s := &r.THDV[p]; m.cfg.Phases[p] && s.Quality != meter.Missing && s.Value >= 0 && s.Value < 6*meter.Whole {
			m.open.thdv[p].add(int64(s.Value))
		}
	}
	if s := &r.Frequency; s.Quality != meter.Missing && s.Value > 0 {
		d.Frequency = withFrequency(d.Frequency, s.Value)
	}
	for i, s := range [...]*meter.Sample[meter.Count]{&r.Dips, &r.Swells, &r.Interruptions} {
		if s.Quality == meter.Missing {
			continue
		}
		d.Counted[i] = true
		n, sure := m.counters[i].step(int64(s.Value), s.Reason&meter.Restarted != 0)
		if !sure {
			d.Doubtful++
		}
		if n > 0 {
			d.Events[i] += n
			m.open.flags |= dip << i
		}
	}
}

const nominalFrequency = 50_000 // mHz

func withFrequency(f meter.FrequencyWeek, hz meter.Millihertz) meter.FrequencyWeek {
	if f.Readings == 0 {
		f.Min, f.Max = hz, hz
	}
	f.Readings++
	f.Min, f.Max = min(f.Min, hz), max(f.Max, hz)
	if hz < nominalFrequency*99/100 || hz > nominalFrequency*101/100 {
		f.OutOf1++
	}
	return f
}

// enter makes the interval of wall the open one and reports whether readings
// belong there. A week is only ever ended by Advance: until then readings of
// another one are left out.
func (m *Monitor) enter(wall time.Time, clock meter.Clock) bool {
	if !clock.Trusted() {
		return false
	}
	index := indexOf(wall)
	week, _ := weekOf(index)
	if !m.begun {
		m.begun, m.week, m.open = true, week, interval{index: index}
	}
	switch {
	case week != m.week || index < m.open.index:
		return false
	case index > m.open.index:
		m.shut(index)
	}
	return true
}

// shut writes down the open interval and opens another.
func (m *Monitor) shut(next int64) {
	o := &m.open
	_, slot := weekOf(o.index)
	for p, has := range m.cfg.Phases {
		if !has {
			continue
		}
		// Less than 90 % is no 10-minute value. More than fit were taken across a
		// step of the clock.
		v := &o.volts[p]
		if v.n*10 < m.expected*9 || v.n*20 > m.expected*21+20 {
			continue
		}
		write(&m.volts[p], slot, v.rms()/10+(v.rms()%10+5)/10)
	}
	for p := range o.thdv {
		if t := &o.thdv[p]; t.n > 0 {
			write(&m.thdv[p], slot, t.rms()/100)
		}
	}
	if u, ok := unbalance(o.line); ok {
		write(&m.vuf, slot, int64(u)/100)
	}
	m.flags[slot] |= o.flags
	m.fresh = true
	m.open = interval{index: next}
}

// write notes a value, once: an interval that comes again after a step of the
// clock back leaves the first one.
func write(values *[]uint16, slot int, v int64) {
	if *values == nil {
		*values = make([]uint16, perWeek)
	}
	if (*values)[slot] == 0 {
		(*values)[slot] = uint16(min(v, 65_534) + 1)
	}
}

// Advance closes the interval that ended and reports whether there is something
// new to keep. When the week is over it returns its report, and the next begins.
func (m *Monitor) Advance(wall time.Time, clock meter.Clock) (kept bool, over *meter.SupplyWeek) {
	if !clock.Trusted() {
		return false, nil
	}
	if !m.begun {
		m.enter(wall, clock)
		return false, nil
	}
	index := indexOf(wall.Add(-grace))
	week, _ := weekOf(index)
	switch {
	case index > m.open.index && week == m.week:
		m.shut(index)
	case week > m.week:
		m.shut(m.open.index)
		r := m.report(perWeek, true)
		m.startWeek(week, indexOf(wall))
		m.fresh = false
		return true, &r
	case index < m.open.index-farBack && week == m.week:
		m.open = interval{index: index}
	case index < m.open.index-farBack:
		m.startWeek(week, index)
		m.fresh = true
	}
	kept, m.fresh = m.fresh, false
	return kept, nil
}

func (m *Monitor) startWeek(week, index int64) {
	for p := range m.volts {
		clear(m.volts[p])
		clear(m.thdv[p])
	}
	clear(m.vuf)
	clear(m.flags)
	m.days = [7]day{}
	m.week, m.open = week, interval{index: index}
}

// unbalance returns the voltage unbalance factor of the three voltages between
// phases, the share of the negative in the positive sequence. Three voltages that
// make no triangle have none.
func unbalance(line [meter.Phases]mean) (meter.PPM, bool) {
	var u [meter.Phases]int64
	for p := range line {
		if line[p].n == 0 {
			return 0, false
		}
		u[p] = line[p].rms()
	}
	share, ok := fixed.Skew(u[0], u[1], u[2])
	return meter.PPM(share), ok
}

// counter follows a counter of the meter.
type counter struct {
	Known bool
	Last  int64
}

// mostEvents is the largest difference between two readings that can be true.
const mostEvents = 10_000

// step returns how much the counter went up. One that is lower than before was
// started anew with the meter, and counts from 0, or went over its end at 16 or
// 32 bits; a difference that cannot be true is left out.
func (c *counter) step(v int64, restarted bool) (n int64, sure bool) {
	last, known := c.Last, c.Known
	*c = counter{true, v}
	switch {
	case !known:
		return 0, true
	case v < 0:
		c.Known = false
		return 0, false
	case v >= last && !restarted:
		n = v - last
	case v >= last: // it kept its counters, or counted on from 0
		n = min(v-last, v)
	case restarted:
		n = v
	default:
		n = v
		for _, end := range [...]int64{1 << 16, 1 << 32} {
			if last < end && end-last+v <= mostEvents/10 {
				n = end - last + v
			}
		}
	}
	if n > mostEvents {
		return 0, false
	}
	return n, true
}
