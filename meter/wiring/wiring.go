// Package wiring judges how a meter is connected to its way: a current
// transformer the wrong way round, the current of one phase measured with the
// voltage of another, a scale that cannot be, a phase without voltage or
// current, a neutral that does not fit the phases.
//
// It judges by the angle between the voltage and the current of each phase. A
// current transformer the wrong way round turns it by 180 degrees, the voltage of
// another phase by 120; what people draw lies near 0. Generation turns it too:
// where it could be the cause, the verdict is that one cannot tell.
//
// It corrects nothing, reads no clock and owns no store.
//
// Requirements: R5 (health checks).
package wiring

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// Generation says what the site file knows of generation on a way.
type Generation uint8

// Generation that is not known may be there.
const (
	Unknown Generation = iota
	None
	Some
)

// ParseGeneration returns the generation called name.
func ParseGeneration(name string) (Generation, bool) {
	for g, n := range [...]string{"unknown", "none", "some"} {
		if n == name {
			return Generation(g), true
		}
	}
	return Unknown, false
}

// Verdict on the connection of a way.
type Verdict uint8

// Verdicts. Open: not enough was seen.
const (
	Open Verdict = iota
	Green
	Amber
	Red
)

// String returns the verdict's name.
func (v Verdict) String() string { return [...]string{"open", "green", "amber", "red"}[min(v, Red)] }

// Config says what is judged. Zero fields stand for the defaults.
type Config struct {
	Way        string
	Phases     [meter.Phases]bool // none means all three
	Nominal    meter.Millivolts   // default 230 V
	Least      meter.Milliamps    // less current is no evidence; default 5 A
	Generation Generation
	Neutral    bool // the neutral has a current transformer of its own
}

// Check gathers the evidence of one way. It has one owner and is not safe for
// concurrent use.
type Check struct {
	cfg     Config
	open    sums
	recent  ring // the last half-hour, minute by minute
	spread  ring // a minute of each quarter of an hour, over a day
	quarter int64

	line [meter.Phases]meter.Sample[meter.Millivolts] // as last heard
}

// Sizes of the evidence.
const (
	recentMinutes = 30
	daySamples    = 96
	enough        = 10 // minutes, for a verdict at once
	enoughDark    = 8  // samples of quarters of an hour without daylight
	enoughDay     = 80 // samples of a day
)

// minute is the mean of a minute: mV, mA, W, var.
type minute struct {
	at         int64 // seconds since 1970; 0: the clock was not trusted
	v, i, p, q [meter.Phases]int32
	n          int32 // neutral, mA; below 0: not measured
	known      [meter.Phases]bool
}

// ring holds the last minutes.
type ring struct {
	minutes []minute
	next    int
}

func (r *ring) add(m *minute, most int) {
	if len(r.minutes) < most {
		if r.minutes == nil {
			r.minutes = make([]minute, 0, most)
		}
		r.minutes = append(r.minutes, *m)
		return
	}
	r.minutes[r.next] = *m
	r.next = (r.next + 1) % most
}

// sums are those of the minute that runs.
type sums struct {
	index      int64 // minutes since the agent's start
	began      bool
	n          [meter.Phases]int64
	v, i, p, q [meter.Phases]int64
	neutral    int64
	nn         int64
}

// New returns a check that has seen nothing.
func New(cfg Config) *Check {
	if cfg.Phases == [meter.Phases]bool{} {
		cfg.Phases = [meter.Phases]bool{true, true, true}
	}
	if cfg.Nominal <= 0 {
		cfg.Nominal = 230_000
	}
	if cfg.Least <= 0 {
		cfg.Least = 5_000
	}
	return &Check{cfg: cfg, quarter: -1}
}

// most is the largest value, in thousandths, that is taken as measured; means of
// minutes then fit 32 bits.
const most = 2_000_000_000

// Add takes a reading that was taken at wall. Only good values are evidence.
func (c *Check) Add(r *meter.Reading, wall time.Time, clock meter.Clock) {
	index := int64(r.At / time.Minute)
	if !c.open.began {
		c.open = sums{index: index, began: true}
	}
	if index != c.open.index {
		c.shut(wall, clock)
		c.open = sums{index: index, began: true}
	}
	o := &c.open
	for p := range r.Phase {
		ph := &r.Phase[p]
		v, i := int64(ph.V.Value), int64(ph.I.Value)
		if ph.Quality() != meter.Good || outside(v, most) || outside(i, most) || outside(int64(ph.P.Value), most*1000) || outside(int64(ph.Q.Value), most*1000) {
			continue
		}
		o.n[p]++
		o.v[p] += v
		o.i[p] += max(i, -i)
		o.p[p] += int64(ph.P.Value) / 1000
		o.q[p] += int64(ph.Q.Value) / 1000
	}
	if n := &r.Neutral; c.cfg.Neutral && n.Quality == meter.Good && n.Reason&meter.Derived == 0 && n.Value >= 0 && n.Value <= most {
		o.neutral += int64(n.Value)
		o.nn++
	}
}

func outside(v, limit int64) bool { return v > limit || v < -limit }

// AddSupply takes the voltages between phases.
func (c *Check) AddSupply(r *meter.SupplyReading) { c.line = r.Line }

// shut makes the sums of a minute evidence.
func (c *Check) shut(wall time.Time, clock meter.Clock) {
	o := &c.open
	m := minute{n: -1}
	if clock.Trusted() {
		m.at = wall.Unix()
	}
	any := false
	for p, n := range o.n {
		// A slower poll has fewer readings; three are a mean.
		if n < 3 {
			continue
		}
		any, m.known[p] = true, true
		m.v[p], m.i[p], m.p[p], m.q[p] = int32(o.v[p]/n), int32(o.i[p]/n), int32(o.p[p]/n), int32(o.q[p]/n)
	}
	if o.nn >= 3 {
		m.n = int32(o.neutral / o.nn)
	}
	if !any {
		return
	}
	c.recent.add(&m, recentMinutes)
	if q := o.index / 15; q != c.quarter {
		c.quarter = q
		c.spread.add(&m, daySamples)
	}
}

// dark reports whether no sun shines on Great Britain on any day of the year:
// from ten at night to two in the morning, UTC.
func (m *minute) dark() bool {
	if m.at == 0 {
		return false
	}
	hour := fixed.FloorDiv(m.at, 3600) % 24
	return hour >= 22 || hour < 2
}

// loaded reports whether a phase carried enough to be judged.
func (c *Check) loaded(m *minute, p int) bool {
	return m.known[p] && int64(m.v[p]) > int64(c.cfg.Nominal)/2 && int64(m.i[p]) >= int64(c.cfg.Least)
}

// turn is the angle of a phase's power in sixths of a turn, so that the load that
// it would have after turning it back lies between 25 degrees leading and 35
// lagging: power factors above 0.82 and 0.91, which a way with many customers has.
type turn uint8

const turns = 6

// turnOf returns the turn of a minute's power. Turning back by 60 degrees keeps
// to whole numbers with the sine in millionths.
func turnOf(p, q int64) turn {
	x, y := p*1_000_000, q*1_000_000
	for k := range turn(turns) {
		// tan 35 = 0.700208, tan 25 = 0.466308
		if x > 0 && y <= x/1_000_000*700_208 && y > -(x/1_000_000*466_308) {
			return k
		}
		px, py := x/1_000_000, y/1_000_000
		x, y = px*500_000+py*866_025, py*500_000-px*866_025
	}
	return 0 // no power at all
}

// natural reports whether an angle is one that loads can have: 45 degrees
// leading to 60 lagging, power factors above 0.71 and 0.5.
func natural(p, q int64) bool {
	return p > 0 && q*1_000_000 <= p*1_732_051 && q >= -p
}

// away returns which phase's current, counted on from the phase whose voltage it
// is measured with, makes a turn, and whether it is the wrong way round.
func (k turn) away() (phases int, reversed bool) {
	switch k {
	case 1:
		return 2, true // 240 + 180
	case 2:
		return 1, false
	case 3:
		return 0, true
	case 4:
		return 2, false
	case 5:
		return 1, true // 120 + 180
	default:
		return 0, false
	}
}
