package bench

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"lvagent/meter"
)

// Street is one way for one day, appliance by appliance and second by second, as
// the meter of the way shows it, together with what really happened: which cars
// charged when, on which phases, at which current. It exists to measure what can
// be told of charging from the way's readings alone, so it is made of what is
// mistaken for it: kettles, showers, immersion heaters, dryers, heat pumps,
// ovens, hobs, and the clouds over the roofs.
//
// The same seed gives the same day. What people do is drawn from stylised habits
// of a British street in the heating season, not from records of a real one.
type Street struct {
	dice    *rand.Rand
	uses    []use
	next    int   // first use that has not begun
	active  []int // uses that are on
	now     int   // s since midnight
	charges []Charge
	panels  []panel
	cloud   sky
	clouds  [cloudMemory]float64
	wander  [meter.Phases]float64
	hum     [meter.Phases]float64
	tap     float64
	homes   int
	amps    [meter.Phases]float64
}

// StreetPlan says what the street is like.
type StreetPlan struct {
	Seed  uint64
	Homes int     // each on one phase in turn
	Cars  float64 // share of homes with a car that charges that day
	Solar float64 // share of homes with panels
}

// Charge is what really happened at one connector: from when to when a car drew
// current, and how much on each of its phases before it was nearly full.
type Charge struct {
	Phases   [meter.Phases]bool
	Amps     float64 // on each of its phases, when it went at full rate
	Nominal  int     // 16, 32, or 10 for a lead with a plug
	From, To time.Duration
	Tapers   bool // it faded out instead of being switched off
}

// use is one appliance that is on for a while.
type use struct {
	kind     kind
	phases   [meter.Phases]bool
	from, to int // s
	amount   float64
	ramp     int     // s until it takes all
	period   float64 // s of a thermostat's cycle
	duty     float64
	offset   float64
	fade     int // s before to from which it fades
}

type kind uint8

const (
	heater kind = iota // power goes with the square of the voltage
	supply             // constant power
	car                // constant current
	motor              // constant power at a bad power factor, and an inrush
	pump               // the same, slowly, by an inverter
)

type panel struct {
	phase int
	watts float64
	delay int // s until the cloud is over it
}

const cloudMemory = 64

// sky is how much of the sun comes through: it moves between clear and cloud in
// tens of seconds.
type sky struct {
	now, to, step float64
	left          int
}

const day = 24 * 3600

// NewStreet draws a day.
func NewStreet(p StreetPlan) *Street {
	s := &Street{dice: rand.New(rand.NewPCG(p.Seed, 0x57e7)), homes: p.Homes, tap: 1, cloud: sky{now: 1, to: 1}}
	for h := range p.Homes {
		s.home(h%meter.Phases, p)
	}
	slices.SortStableFunc(s.uses, func(a, b use) int { return cmp.Compare(a.from, b.from) })
	return s
}

func (s *Street) chance(p float64) bool { return s.dice.Float64() < p }

func (s *Street) between(a, b float64) float64 { return a + (b-a)*s.dice.Float64() }

// at draws a time of day about an hour.
func (s *Street) at(hour, spread float64) int {
	return int(math.Mod(hour+spread*s.dice.NormFloat64()+48, 24) * 3600)
}

func one(phase int) (p [meter.Phases]bool) {
	p[phase] = true
	return p
}

func (s *Street) add(u use) {
	if u.to > u.from {
		s.uses = append(s.uses, u)
	}
}

// heat adds a resistive use of so many watts and seconds.
func (s *Street) heat(phase, from int, watts, seconds float64) {
	s.add(use{kind: heater, phases: one(phase), from: from, to: from + int(seconds), amount: watts})
}

// cycle adds one that a thermostat switches.
func (s *Street) cycle(k kind, phase, from int, watts, seconds, period, duty float64) {
	s.add(use{kind: k, phases: one(phase), from: from, to: from + int(seconds), amount: watts,
		period: period * s.between(0.8, 1.2), duty: duty * s.between(0.8, 1.2), offset: period * s.dice.Float64()})
}

// home draws what one home does.
func (s *Street) home(phase int, p StreetPlan) {
	s.add(use{kind: supply, phases: one(phase), from: 0, to: day, amount: s.between(60, 250)})
	s.cycle(motor, phase, 0, s.between(80, 150), day, 2400, 0.35) // a refrigerator
	waking, evening := s.at(7, 0.8), s.at(18, 1)
	s.add(use{kind: supply, phases: one(phase), from: evening - 3600, to: min(day, evening+4*3600), amount: s.between(100, 500)})
	for range 4 + s.dice.IntN(6) { // kettles
		from := s.at(13, 5)
		if s.chance(0.5) {
			from = waking + s.dice.IntN(3600)
		}
		s.heat(phase, from, s.between(2000, 3000), s.between(60, 240))
	}
	for range s.dice.IntN(5) { // microwave and toaster
		s.heat(phase, s.at(13, 5), s.between(800, 1700), s.between(60, 360))
	}
	if s.chance(0.45) { // electric showers
		watts := []float64{7500, 8500, 9500, 10500}[s.dice.IntN(4)]
		for range 1 + s.dice.IntN(3) {
			from := waking + s.dice.IntN(3600)
			if s.chance(0.3) {
				from = s.at(20, 1.5)
			}
			s.heat(phase, from, watts, s.between(150, 720))
		}
	}
	if s.chance(0.7) { // an oven
		s.heat(phase, evening, s.between(2000, 2800), s.between(240, 600))
		s.cycle(heater, phase, evening+600, s.between(2000, 2800), s.between(1200, 3600), 150, 0.35)
	}
	if s.chance(0.4) { // an electric hob, two rings
		for range 2 {
			s.cycle(heater, phase, evening+s.dice.IntN(1200), s.between(1000, 2000), s.between(600, 1800), 25, 0.5)
		}
	}
	if s.chance(0.6) { // a washing machine
		from := s.at(11, 4)
		s.heat(phase, from+300, s.between(1900, 2200), s.between(480, 1200))
		s.cycle(motor, phase, from, 300, s.between(3000, 6000), 20, 0.5)
	}
	if s.chance(0.35) { // a tumble dryer
		s.cycle(heater, phase, s.at(14, 4), s.between(2200, 2700), s.between(2400, 5400), 300, 0.75)
	}
	if s.chance(0.4) { // a dishwasher
		from := s.at(20, 1.5)
		s.heat(phase, from+400, 2000, s.between(600, 1200))
		s.heat(phase, from+3600, 2000, s.between(500, 900))
	}
	if s.chance(0.2) { // an immersion heater on a cheap rate
		s.heat(phase, s.at(1.5, 1), 3000, s.between(2400, 9000))
	}
	if s.chance(0.08) { // storage heaters, all at once
		s.heat(phase, s.at(0.5, 0.05), s.between(2500, 3400)*float64(1+s.dice.IntN(3)), s.between(3*3600, 6*3600))
	}
	if s.chance(0.15) { // a heat pump: with an inverter, or one that knows on and off
		for range 8 + s.dice.IntN(10) {
			u := use{kind: pump, phases: one(phase), from: s.dice.IntN(day), amount: s.between(1000, 4500), ramp: 60 + s.dice.IntN(120)}
			if s.chance(0.3) {
				u.kind, u.ramp, u.amount = motor, 0, s.between(2000, 4000)
			}
			u.to = u.from + 600 + s.dice.IntN(4000)
			s.add(u)
		}
	}
	if s.chance(p.Solar) {
		s.panels = append(s.panels, panel{phase: phase, watts: s.between(2000, 4500), delay: s.dice.IntN(30)})
	}
	if s.chance(p.Cars) {
		s.car(phase)
	}
}

// car draws the charging of one home's car.
func (s *Street) car(phase int) {
	from := s.at(18.2, 1.6)
	switch n := s.dice.IntN(10); {
	case n < 3: // on a cheap rate, with the random wait that a charge point must have
		from = 1800 + s.dice.IntN(600)
	case n < 5:
		from = s.at(12, 3)
	}
	c := Charge{Phases: one(phase), Nominal: 32}
	switch n := s.dice.IntN(20); {
	case n < 6:
		c.Nominal = 16
	case n < 9:
		c.Phases, c.Nominal = [meter.Phases]bool{true, true, true}, 16
	case n < 10:
		c.Phases = [meter.Phases]bool{true, true, true}
	case n < 12:
		c.Nominal = 10
	}
	c.Amps = float64(c.Nominal) * s.between(0.94, 1)
	energy := s.between(5000, 45000) // Wh
	n := 0.0
	for _, on := range c.Phases {
		if on {
			n++
		}
	}
	seconds := min(energy/(c.Amps*235*n)*3600, 10*3600)
	parts := 1
	if s.chance(0.15) {
		parts = 2 // interrupted: a pause of some while
	}
	for range parts {
		u := use{kind: car, phases: c.Phases, from: from, to: from + int(seconds)/parts, amount: c.Amps, ramp: s.dice.IntN(9)}
		if s.chance(0.3) {
			c.Tapers = true
			u.fade = min(600+s.dice.IntN(1800), (u.to-u.from)/2)
		}
		if u.from >= day || u.to <= u.from {
			return
		}
		c.From, c.To = time.Duration(u.from)*time.Second, time.Duration(u.to)*time.Second
		s.charges = append(s.charges, c)
		s.add(u)
		from = u.to + 1200 + s.dice.IntN(3600)
	}
}

// Charges returns what really happened, in no order.
func (s *Street) Charges() []Charge { return s.charges }

// Next fills r with the reading of the next second; false at midnight. It
// allocates nothing that lasts.
func (s *Street) Next(r *meter.Reading) bool {
	if s.now >= day {
		return false
	}
	for s.next < len(s.uses) && s.uses[s.next].from <= s.now {
		s.active = append(s.active, s.next)
		s.next++
	}
	if s.dice.IntN(5400) == 0 { // the tap changer upstream
		s.tap = min(1.03, max(0.97, s.tap+0.0125*float64(1-2*s.dice.IntN(2))))
	}
	s.moveClouds()
	var volts, watts, vars [meter.Phases]float64
	for p := range volts {
		s.wander[p] += -s.wander[p]/600 + 0.04*s.dice.NormFloat64()
		s.hum[p] += -s.hum[p]/8 + float64(s.homes)*1.5*s.dice.NormFloat64()
		volts[p] = 245*s.tap + s.wander[p] - 0.03*s.amps[p]
		watts[p] = s.hum[p]
	}
	still := s.active[:0]
	for _, i := range s.active {
		u := &s.uses[i]
		if u.to <= s.now {
			continue
		}
		still = append(still, i)
		for p, on := range u.phases {
			if on {
				w, q := u.draws(s.now, volts[p])
				watts[p], vars[p] = watts[p]+w, vars[p]+q
			}
		}
	}
	s.active = still
	sun := math.Max(0, math.Sin(math.Pi*(float64(s.now)/3600-7.5)/9))
	if h := float64(s.now) / 3600; h < 7.5 || h > 16.5 {
		sun = 0
	}
	for _, k := range s.panels {
		watts[k.phase] -= k.watts * sun * s.clouds[(s.now-k.delay+cloudMemory)%cloudMemory]
	}
	*r = meter.Reading{Way: "W1", At: time.Duration(s.now) * time.Second, Neutral: meter.Sample[meter.Milliamps]{Reason: meter.NotSupported}}
	for p := range volts {
		noisy := 1 + 0.0005*s.dice.NormFloat64()
		w, q := watts[p]*noisy+4*s.dice.NormFloat64(), vars[p]*noisy+4*s.dice.NormFloat64()
		i := math.Hypot(w, q) / volts[p]
		s.amps[p] = i
		r.Phase[p] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: meter.Millivolts(math.Round(volts[p]*10) * 100), Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(i * 1000), Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(math.Round(w) * 1000), Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Value: meter.Millivars(math.Round(q) * 1000), Quality: meter.Good},
		}
	}
	s.now++
	return true
}

// draws is what the use takes at a second: W and var.
func (u *use) draws(now int, volts float64) (w, q float64) {
	share := 1.0
	if u.ramp > 0 {
		share = min(1, float64(now-u.from+1)/float64(u.ramp))
	}
	if u.period > 0 && math.Mod(float64(now)+u.offset, u.period) > u.period*u.duty {
		return 0, 0
	}
	if left := u.to - now; u.fade > 0 && left < u.fade {
		share *= math.Exp(-2 * (1 - float64(left)/float64(u.fade)))
	}
	switch u.kind {
	case heater:
		w = u.amount * share * volts / 230 * volts / 230
	case car:
		w = u.amount * share * volts
		q = -0.05 * w
	case motor:
		w = u.amount * share
		q = 0.6 * w
		if now == u.from {
			w, q = 2*w, 4*w
		}
	case pump:
		w = u.amount * share
		q = 0.2 * w
	default:
		w = u.amount
		q = -0.1 * w
	}
	return w, q
}

func (s *Street) moveClouds() {
	c := &s.cloud
	if c.left--; c.left <= 0 {
		if c.now != c.to {
			c.now, c.step = c.to, 0
			c.left = 20 + s.dice.IntN(900)
		} else {
			c.to = 1
			if c.now > 0.6 {
				c.to = s.between(0.2, 0.6)
			}
			c.left = 8 + s.dice.IntN(40)
			c.step = (c.to - c.now) / float64(c.left)
		}
	}
	c.now += c.step
	s.clouds[s.now%cloudMemory] = c.now
}
