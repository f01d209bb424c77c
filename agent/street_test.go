package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"lvagent/agent/poll"
	"lvagent/meter"
	"lvagent/meter/fixed"
)

// street is a substation of five ways that is not there: what its meters would
// show, with cars that draw what their group may. It counts in whole numbers, so
// that it is the same on every CPU.
type street struct {
	seed uint64

	mu     sync.Mutex
	told   map[uint16]uint16      // holding registers: a tenth of an ampere
	on     map[uint16]bool        // coils
	mute   map[string]bool        // meters that do not answer, by way
	noise  map[string]bool        // meters that say what cannot be
	extra  [5][meter.Phases]int64 // load that nobody expects, by way, in mA
	broken bool                   // nothing on the bus can be reached
	dark   bool                   // no supply

	// raised is told of each limit that goes up at an output; nil: nobody asks.
	raised func(group string, from, to meter.Milliamps)
}

// streetWay is one way: what households draw at their peak, in A per phase.
type streetWay struct {
	id    string
	homes [meter.Phases]int64
}

// streetGroup is one group. Outputs are registers, or a coil.
type streetGroup struct {
	id               string
	way              int
	phases           [meter.Phases]bool
	rating, failsafe int64 // A
	register         uint16
	coil             bool
}

var (
	streetWays = []streetWay{
		{"W1", [3]int64{60, 50, 40}},
		{"W2", [3]int64{50, 60, 40}},
		{"W3", [3]int64{130, 80, 50}},
		{"W4", [3]int64{40, 40, 60}},
		{"W5", [3]int64{70, 60, 240}},
	}
	streetGroups = []streetGroup{
		{"G1", 0, [3]bool{true}, 96, 24, 31, false},
		{"G2", 1, [3]bool{true, true, true}, 63, 24, 32, false},
		{"G3", 2, [3]bool{true}, 128, 24, 33, false},
		{"G4", 2, [3]bool{true, true, true}, 63, 24, 34, false},
		{"G5", 3, [3]bool{false, false, true}, 64, 16, 35, true},
		{"G6", 4, [3]bool{true, true}, 64, 16, 36, false},
	}
)

// streetRating is the rating of every way, in mA.
const streetRating = 300_000

const streetSite = `site: {id: EPN-1, name: Virtual, transformer_kva: 500}
clock: {source: assume}
meters:
  - {id: m1, url: "tcp://10.0.0.1:502", unit: 1, profile: eastron-sdm630, poll: 1s}
  - {id: m2, url: "tcp://10.0.0.1:502", unit: 2, profile: eastron-sdm630, poll: 1s}
  - {id: m3, url: "tcp://10.0.0.1:502", unit: 3, profile: eastron-sdm630, poll: 1s}
  - {id: m4, url: "tcp://10.0.0.1:502", unit: 4, profile: eastron-sdm630, poll: 1s}
  - {id: m5, url: "tcp://10.0.0.1:502", unit: 5, profile: eastron-sdm630, poll: 1s}
ways:
  - {id: W1, meter: m1, rating_a: 300, customers: 60}
  - {id: W2, meter: m2, rating_a: 300, customers: 60}
  - {id: W3, meter: m3, rating_a: 300, customers: 90}
  - {id: W4, meter: m4, rating_a: 300, customers: 60}
  - {id: W5, meter: m5, rating_a: 300, customers: 120}
groups:
  - {id: G1, way: W1, phases: [L1], rating_a: 96, failsafe_a: 24, connectors: 3, output: {kind: modbus, url: "tcp://10.0.0.1:502", unit: 9, holding: 31, encode: deciamps}}
  - {id: G2, way: W2, phases: [L1, L2, L3], rating_a: 63, failsafe_a: 24, connectors: 2, output: {kind: modbus, url: "tcp://10.0.0.1:502", unit: 9, holding: 32, encode: deciamps}}
  - {id: G3, way: W3, phases: [L1], rating_a: 128, failsafe_a: 24, connectors: 4, output: {kind: modbus, url: "tcp://10.0.0.1:502", unit: 9, holding: 33, encode: deciamps}}
  - {id: G4, way: W3, phases: [L1, L2, L3], rating_a: 63, failsafe_a: 24, connectors: 2, output: {kind: modbus, url: "tcp://10.0.0.1:502", unit: 9, holding: 34, encode: deciamps}}
  - {id: G5, way: W4, phases: [L3], rating_a: 64, failsafe_a: 16, connectors: 2, output: {kind: modbus, url: "tcp://10.0.0.1:502", unit: 9, coil: 35}}
  - {id: G6, way: W5, phases: [L1, L2], rating_a: 64, failsafe_a: 16, connectors: 2, output: {kind: modbus, url: "tcp://10.0.0.1:502", unit: 9, holding: 36, encode: deciamps}}
uplink: {broker: "tcp://broker:1883", allow_plain: true}
failsafe: {issuers: [scada-1]}
`

// What households draw and what cars would like to, by the hour of the day, in
// thousandths of their peak.
var (
	homesByHour = [24]int64{380, 340, 320, 310, 310, 350, 480, 620, 640, 560, 520, 520, 560, 540, 520, 560, 680, 860, 980, 1000, 920, 800, 640, 480}
	carsByHour  = [24]int64{600, 500, 400, 300, 200, 120, 80, 100, 150, 150, 150, 150, 180, 180, 200, 250, 400, 700, 950, 1000, 950, 900, 850, 750}
)

// at interpolates between the hours.
func at(byHour *[24]int64, t time.Time) int64 {
	h, s := t.Hour(), int64(t.Minute()*60+t.Second())
	return byHour[h] + (byHour[(h+1)%24]-byHour[h])*s/3600
}

// dice draws 0 to most-1, the same for the same question.
func (s *street) dice(most int64, of ...uint64) int64 {
	x := s.seed
	for _, o := range of { // splitmix64
		x += o + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return int64(x % uint64(most))
}

// limit is what group g permits, in mA.
func (s *street) limit(g *streetGroup) int64 {
	if g.coil {
		if s.on[g.register] {
			return g.rating * 1000
		}
		return 0
	}
	return min(int64(s.told[g.register])*100, g.rating*1000)
}

// currents is what the phases of way i carry at t, in mA: households, and
// everything.
func (s *street) currents(i int, t time.Time) (homes, all [meter.Phases]int64) {
	w := &streetWays[i]
	share, second := at(&homesByHour, t), uint64(t.Unix())
	for p := range homes {
		// A slow part that is drawn for each minute, and a fast one.
		peak := w.homes[p] * 1000
		slow := s.dice(peak/10+1, uint64(i), uint64(p), second/60, 1)
		fast := s.dice(2000, uint64(i), uint64(p), second, 2)
		homes[p] = max(0, peak*share/1000+slow-peak/20+fast) + s.extra[i][p]
	}
	all = homes
	want := at(&carsByHour, t)
	for g := range streetGroups {
		group := &streetGroups[g]
		if group.way != i {
			continue
		}
		draws := min(group.rating*want, s.limit(group))
		if draws < 6000 {
			continue // no car charges with less
		}
		for p, on := range group.phases {
			if on {
				all[p] += draws
			}
		}
	}
	return homes, all
}

// showWay fills in what the meter of way i shows at t.
func (s *street) showWay(i int, t time.Time, r *meter.Reading) {
	_, amps := s.currents(i, t)
	for p := range amps {
		a := amps[p]
		v := 248_000 - a/50 + s.dice(600, uint64(i), uint64(p), uint64(t.Unix()), 3)
		if s.dark {
			a, v = 0, 0
			amps[p] = 0
		}
		r.Phase[p] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: meter.Millivolts(v), Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(a), Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(v * a / 1000 * 97 / 100), Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Value: meter.Millivars(v * a / 1000 * 24 / 100), Quality: meter.Good},
		}
	}
	// Three currents 120 degrees apart leave this in the neutral.
	a, b, c := amps[0], amps[1], amps[2]
	square := a*a + b*b + c*c - a*b - b*c - c*a
	n := int64(fixed.Sum{Lo: uint64(square)}.Root())
	r.Neutral = meter.Sample[meter.Milliamps]{Value: meter.Milliamps(n), Quality: meter.Good}
}

var (
	errMute   = errors.New("no answer")
	errBroken = errors.New("connection refused")
)

// streetBus is the street's only bus, as one run of the agent has it.
type streetBus struct {
	*street
	gone bool // the run is over, though it does not know
}

func (b *streetBus) fault() error {
	if b.broken || b.gone || b.dark {
		return errBroken
	}
	return nil
}

func (b *streetBus) Open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault()
}

func (b *streetBus) Close() error { return nil }

func (b *streetBus) WriteHolding(_ uint8, addr, value uint16) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fault(); err != nil {
		return err
	}
	return b.tell(addr, func() { b.told[addr] = value })
}

// tell changes an output.
func (b *streetBus) tell(addr uint16, change func()) error {
	for i := range streetGroups {
		g := &streetGroups[i]
		if g.register != addr {
			continue
		}
		before := b.limit(g)
		change()
		if after := b.limit(g); after > before && b.raised != nil {
			b.raised(g.id, meter.Milliamps(before), meter.Milliamps(after))
		}
		return nil
	}
	return fmt.Errorf("nothing at %d", addr)
}

func (b *streetBus) ReadHolding(_ uint8, addr, _ uint16) ([]uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return []uint16{b.told[addr]}, b.fault()
}

func (b *streetBus) WriteCoil(_ uint8, addr uint16, on bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fault(); err != nil {
		return err
	}
	return b.tell(addr, func() { b.on[addr] = on })
}

func (b *streetBus) ReadCoil(_ uint8, addr uint16) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.on[addr], b.fault()
}

// Source reads a way.
func (b *streetBus) Source(way string) poll.Source {
	for i := range streetWays {
		if streetWays[i].id == way {
			return &streetMeter{b, i}
		}
	}
	panic("there is no way " + way)
}

type streetMeter struct {
	bus *streetBus
	way int
}

// Read shows what the meter would. The street does not know that somebody
// stepped the agent's clock.
func (m *streetMeter) Read(r *meter.Reading) error {
	time.Sleep(2 * time.Millisecond) // no meter answers before it was asked
	m.bus.mu.Lock()
	err, id := m.bus.fault(), streetWays[m.way].id
	mute, noise := m.bus.mute[id], m.bus.noise[id]
	if err == nil && !mute && !noise {
		m.bus.showWay(m.way, time.Now().UTC(), r)
	}
	m.bus.mu.Unlock()
	switch {
	case err != nil:
		r.Fail(meter.NoAnswer)
	case mute:
		time.Sleep(150 * time.Millisecond)
		r.Fail(meter.NoAnswer)
		err = errMute
	case noise:
		r.Fail([]meter.Reason{meter.BadFrame, meter.NotANumber, meter.OutOfRange, meter.Sentinel}[m.bus.dice(4, uint64(time.Now().Unix()), 9)])
	}
	return err
}

// seedOf makes one seed of another and a name.
func seedOf(seed uint64, name string) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, seed))
	h.Write([]byte(strings.TrimSpace(name)))
	return h.Sum64()
}
