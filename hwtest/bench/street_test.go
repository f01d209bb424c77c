package bench

import (
	"testing"
	"time"

	"lvagent/meter"
)

// The same seed gives the same day, and another one another.
func TestStreetIsRepeatable(t *testing.T) {
	sum := func(seed uint64) (sum int64) {
		s := NewStreet(StreetPlan{Seed: seed, Homes: 20, Cars: 0.5, Solar: 0.5})
		var r meter.Reading
		for n := 0; s.Next(&r); n++ {
			if r.At != time.Duration(n)*time.Second {
				t.Fatalf("reading %d at %v", n, r.At)
			}
			sum = sum*31 + int64(r.Phase[n%3].P.Value)
		}
		return sum
	}
	if a, b, c := sum(1), sum(1), sum(2); a != b || a == c {
		t.Errorf("%d, %d, and with another seed %d", a, b, c)
	}
}

// What the street says of its cars is what its meter shows: in a street of one
// home each phase goes up by the car's current when it comes.
func TestStreetChargesAreInTheReadings(t *testing.T) {
	cars := 0
	for seed := range uint64(40) {
		s := NewStreet(StreetPlan{Seed: seed, Homes: 1, Cars: 1})
		mean := func(c *Charge, from time.Duration, all [][meter.Phases]float64) (i [meter.Phases]float64) {
			for n := int(from / time.Second); n < int(from/time.Second)+20; n++ {
				for p := range i {
					i[p] += all[n][p] / 20
				}
			}
			return i
		}
		var all [][meter.Phases]float64
		var r meter.Reading
		for s.Next(&r) {
			var i [meter.Phases]float64
			for p := range i {
				i[p] = float64(r.Phase[p].P.Value) / float64(r.Phase[p].V.Value)
			}
			all = append(all, i)
		}
		for _, c := range s.Charges() {
			if c.From < time.Minute || c.From > 23*time.Hour || c.To-c.From < time.Hour {
				continue
			}
			before, after := mean(&c, c.From-30*time.Second, all), mean(&c, c.From+20*time.Second, all)
			if c.Phases[1] { // the home itself is on L1
				cars++
				for p := 1; p < meter.Phases; p++ {
					if up := after[p] - before[p]; up < c.Amps-1 || up > c.Amps+1 {
						t.Errorf("seed %d: L%d went up by %.1f A when a car of %.1f A came", seed, p+1, up, c.Amps)
					}
				}
			}
			if c.Amps < 0.9*float64(c.Nominal) || c.Amps > float64(c.Nominal) {
				t.Errorf("seed %d: a car of %d A draws %.1f A", seed, c.Nominal, c.Amps)
			}
		}
	}
	if cars < 2 {
		t.Errorf("only %d cars on three phases", cars)
	}
}
