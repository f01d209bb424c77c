// Package bench holds the pieces a test rig is built from: a simulated street
// behind one substation, meters that speak real Modbus TCP, an MQTT broker, a
// link to it that can be cut, a control centre, and the agent as a child
// process. It measures what passes on the wires.
//
// It decides nothing about a test: what happens when, and what must hold, is
// hwtest's. It knows the agent from outside only (its command line, its site
// file, Modbus and MQTT), so that a piece can be replaced by a rack.
//
// Requirements: R1 and R2 (something to measure), R7 and R13 (a link that
// fails), R14 (chargers that obey a limit in steps of current).
package bench

import (
	"math"
	"math/rand/v2"
	"time"

	"lvagent/meter"
)

// Way is one outgoing LV way of the simulated substation.
type Way struct {
	ID, Name string
	Unit     uint8                 // of its meter
	Rating   float64               // A per phase
	AlarmAt  float64               // A, the threshold of its high-current alarm
	Homes    [meter.Phases]float64 // A at the evening peak, charging aside
}

// Group is a set of charge points that one holding register limits, in per
// cent of the group's rating.
type Group struct {
	ID         string
	Way        int // index in World.Ways
	Unit       uint8
	Holding    uint16
	Phases     []meter.Phase
	Rating     float64 // A per phase, all charge points together
	Failsafe   float64 // A per phase, the limit while the centre is not heard
	Connectors int
}

// Limit returns the limit in A that a register value stands for.
func (g *Group) Limit(percent uint16) float64 {
	return g.Rating * float64(min(percent, 100)) / 100
}

// AtMost reports whether a register value permits no more than amps. Half a
// per cent of the rating is allowed for rounding.
func (g *Group) AtMost(percent uint16, amps float64) bool {
	return g.Limit(percent) <= amps+g.Rating/200
}

// World is the electrical model. It is a pure function of the evening's hour
// and of the charging registers: it holds no clock and remembers nothing, so
// that the same seed and the same limits give the same load.
type World struct {
	Ways      []Way
	Groups    []Group
	Firm      float64 // kVA of the transformer
	ripple    [][meter.Phases][3]float64
	transform impedance
}

// impedance of the transformer in ohms, seen from the LV side.
type impedance struct{ r, x float64 }

// The evening runs from half past five until half past eight. Charging is at
// its highest shortly after seven, together with the households.
const (
	eveningFrom = 17*time.Hour + 30*time.Minute
	eveningFor  = 3 * time.Hour
)

// Power factors of the two kinds of load, lagging.
const (
	homesPF    = 0.97
	chargingPF = 0.995
)

// leastAmps is what one car needs to charge at all (IEC 61851-1).
const leastAmps = 6

// offLoad is the busbar voltage of an 11 kV/433 V transformer without load.
const offLoad = 250

// NewWorld returns five ways of 300 A behind 500 kVA. On two of them charging
// without a limit would pass the rating this evening or come near it: W3 with
// its cars, and W5 with households alone (their L3 passes its alarm threshold
// but not its rating, and nothing there can be shed).
func NewWorld(seed uint64) *World {
	w := &World{
		Firm: 500,
		// 500 kVA, 433 V: base 0.375 ohm; 1.1 % resistance, 4.6 % reactance.
		transform: impedance{r: 0.0041, x: 0.0173},
		Ways: []Way{
			{ID: "W1", Name: "High Street south", Homes: [3]float64{60, 50, 40}},
			{ID: "W2", Name: "Station Road", Homes: [3]float64{50, 60, 40}},
			{ID: "W3", Name: "High Street north", Homes: [3]float64{130, 80, 50}},
			{ID: "W4", Name: "Mill Lane", Homes: [3]float64{40, 40, 60}},
			{ID: "W5", Name: "Church Close", Homes: [3]float64{70, 60, 292}},
		},
	}
	dice := rand.New(rand.NewPCG(seed, 0x1f))
	for i := range w.Ways {
		way := &w.Ways[i]
		way.Unit, way.Rating, way.AlarmAt = uint8(i+1), 300, 315
		var r [meter.Phases][3]float64
		for p := range r {
			for k := range r[p] {
				r[p][k] = 2 * math.Pi * dice.Float64()
			}
		}
		w.ripple = append(w.ripple, r)
	}
	w.Ways[4].AlarmAt = 288

	l1, l2, l3 := meter.L1, meter.L2, meter.L3
	three := []meter.Phase{l1, l2, l3}
	add := func(way int, id string, rating, failsafe float64, connectors int, phases ...meter.Phase) {
		holding := uint16(30)
		for _, g := range w.Groups {
			if g.Way == way {
				holding++
			}
		}
		w.Groups = append(w.Groups, Group{
			ID: id, Way: way, Unit: w.Ways[way].Unit, Holding: holding, Phases: phases,
			Rating: rating, Failsafe: failsafe, Connectors: connectors,
		})
	}
	add(0, "W1-cars-1", 96, 24, 3, l1)
	add(0, "W1-cars-2", 64, 16, 2, l2)
	add(1, "W2-cars-1", 96, 24, 3, l2)
	add(1, "W2-hub", 63, 24, 2, three...)
	add(2, "W3-cars-1", 128, 24, 4, l1)
	add(2, "W3-hub", 63, 24, 2, three...)
	add(2, "W3-cars-2", 64, 16, 2, l2)
	add(3, "W4-cars-1", 64, 16, 2, l3)
	add(3, "W4-cars-2", 64, 16, 2, l1)
	add(4, "W5-cars-1", 64, 16, 2, l1)
	add(4, "W5-cars-2", 64, 16, 2, l2)
	return w
}

// PhaseLoad is what one phase of a way carries.
type PhaseLoad struct{ V, I, P, Q float64 } // V, A, W, var

// WayLoad is what one way carries.
type WayLoad struct {
	Phase   [meter.Phases]PhaseLoad
	Neutral float64 // A
}

// Worst returns the phase with the highest current.
func (l *WayLoad) Worst() (meter.Phase, float64) {
	worst := meter.L1
	for p := meter.L2; p < meter.Phases; p++ {
		if l.Phase[p].I > l.Phase[worst].I {
			worst = p
		}
	}
	return worst, l.Phase[worst].I
}

// Load is the state of the whole substation at one instant.
type Load struct {
	Ways        []WayLoad
	Charging    []float64             // A per phase of each group
	Transformer [meter.Phases]float64 // A
}

// Hour returns the time of day at the share of the evening that has passed.
func Hour(share float64) time.Duration {
	return eveningFrom + time.Duration(share*float64(eveningFor))
}

// Load returns the load at a share of the evening, 0 to 1, with percent the
// value of each group's register. Missing values stand for 100.
func (w *World) Load(share float64, percent []uint16) Load {
	hour := Hour(share).Hours()
	homes := 0.55 + 0.45*bell(hour, 19.25, 1)
	want := 0.45 + 0.55*bell(hour, 19.2, 0.55)

	load := Load{Ways: make([]WayLoad, len(w.Ways)), Charging: make([]float64, len(w.Groups))}
	active := make([][meter.Phases][2]float64, len(w.Ways)) // A in phase, A lagging
	for i := range w.Ways {
		for p, peak := range w.Ways[i].Homes {
			addCurrent(&active[i][p], peak*homes*w.wobble(i, p, hour), homesPF)
		}
	}
	for i := range w.Groups {
		g := &w.Groups[i]
		limit := g.Rating
		if i < len(percent) {
			limit = g.Limit(percent[i])
		}
		amps := min(g.Rating*want, limit)
		if amps < leastAmps {
			amps = 0
		}
		load.Charging[i] = amps
		for _, p := range g.Phases {
			addCurrent(&active[g.Way][p], amps, chargingPF)
		}
	}

	var busbar [meter.Phases]float64
	for p := range busbar {
		var in, lag float64
		for i := range active {
			in += active[i][p][0]
			lag += active[i][p][1]
		}
		load.Transformer[p] = math.Hypot(in, lag)
		busbar[p] = offLoad - w.transform.r*in - w.transform.x*lag
	}
	for i := range active {
		load.Ways[i] = wayLoad(&active[i], &busbar)
	}
	return load
}

// wobble is a slow change of one or two per cent that differs between phases
// and seeds.
func (w *World) wobble(way, phase int, hour float64) float64 {
	r := w.ripple[way][phase]
	return 1 + 0.004*math.Sin(9*hour+r[0]) + 0.003*math.Sin(23*hour+r[1]) + 0.002*math.Sin(61*hour+r[2])
}

// addCurrent adds a lagging current of a power factor to its two parts.
func addCurrent(sum *[2]float64, amps, pf float64) {
	sum[0] += amps * pf
	sum[1] += amps * math.Sqrt(1-pf*pf)
}

// wayLoad turns the current parts of each phase into what a meter shows. The
// phase voltages stand 120 degrees apart; the neutral carries the vector sum.
func wayLoad(active *[meter.Phases][2]float64, busbar *[meter.Phases]float64) WayLoad {
	var l WayLoad
	var re, im float64
	for p := range active {
		in, lag := active[p][0], active[p][1]
		v := busbar[p]
		l.Phase[p] = PhaseLoad{V: v, I: math.Hypot(in, lag), P: v * in, Q: v * lag}
		sin, cos := math.Sincos(-2 * math.Pi / 3 * float64(p))
		re += in*cos + lag*sin
		im += in*sin - lag*cos
	}
	l.Neutral = math.Hypot(re, im)
	return l
}

// bell is 1 at the middle and falls off over about the width on both sides.
func bell(x, middle, width float64) float64 {
	d := (x - middle) / width
	return math.Exp(-d * d)
}
