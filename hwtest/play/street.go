package play

import (
	"math"

	"lvagent/hwtest/scenario"
	"lvagent/meter/metertest"
)

// street is what flows: the load of each way besides charging, and what the cars
// of each group draw of what they want.
type street struct {
	site  *site
	ways  map[string]*wayLoad
	wants map[string]float64
	defy  map[string]bool // cars that do not obey
	tick  float64
}

type wayLoad struct {
	amps  [3]float64
	volts [3]float64
}

const (
	usualAmps  = 40
	usualVolts = 235
	leastAmps  = 6 // what a car needs to charge at all (IEC 61851-1)
)

func newStreet(s *site) *street {
	t := &street{site: s, ways: map[string]*wayLoad{}, wants: map[string]float64{}, defy: map[string]bool{}}
	for _, w := range s.ways {
		t.ways[w.id] = &wayLoad{[3]float64{usualAmps, usualAmps, usualAmps}, [3]float64{usualVolts, usualVolts, usualVolts}}
	}
	return t
}

// set changes the load of a way; what is not given stays.
func (t *street) set(way string, l scenario.Load) {
	w := t.ways[way]
	if w == nil {
		return
	}
	for p, a := range []*scenario.Amps{l.L1, l.L2, l.L3} {
		if a != nil {
			w.amps[p] = float64(*a)
		}
	}
	for p, v := range []*float64{l.V1, l.V2, l.V3} {
		if l.V != nil {
			w.volts[p] = *l.V
		}
		if v != nil {
			w.volts[p] = *v
		}
	}
}

// flows is what the meter of a way shows, with what each group is permitted.
func (t *street) flows(way string, permitted map[string]float64) metertest.SDM630 {
	w := t.ways[way]
	amps := w.amps
	for _, g := range t.site.groups {
		if g.way != way {
			continue
		}
		draws := min(t.wants[g.id], g.rating)
		if !t.defy[g.id] {
			draws = min(draws, permitted[g.id])
		}
		if draws < leastAmps {
			continue
		}
		for _, p := range g.phases {
			if i := phaseIndex(p); i >= 0 {
				amps[i] += draws
			}
		}
	}
	var r metertest.SDM630
	var re, im float64
	for p := range amps {
		// A meter never shows the same twice: a tenth of an ampere of ripple,
		// where something flows.
		a := amps[p]
		if math.Abs(a) > 1 {
			a += 0.1 * math.Sin(t.tick*0.7+float64(p))
		}
		r.V[p] = w.volts[p]
		if w.volts[p] > 1 {
			r.V[p] += 0.05 * math.Sin(t.tick*0.3+float64(p))
		}
		if w.volts[p] < leastVolts {
			a = 0 // nothing flows without a supply
		}
		r.I[p] = math.Abs(a)
		r.P[p], r.Q[p] = r.V[p]*a*powerFactor, r.V[p]*math.Abs(a)*math.Sqrt(1-powerFactor*powerFactor)
		sin, cos := math.Sincos(-2 * math.Pi / 3 * float64(p))
		re, im = re+a*cos, im+a*sin
	}
	r.N = math.Hypot(re, im)
	return r
}

const (
	powerFactor = 0.98
	leastVolts  = 46
)
