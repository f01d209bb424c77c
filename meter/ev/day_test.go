package ev

import (
	"flag"
	"fmt"
	"math"
	"testing"
	"time"

	"lvagent/hwtest/bench"
	"lvagent/meter"
)

// The streets are drawn, and what happens in them is written down, by a package
// that knows nothing of the detector (hwtest/bench; arch_test.go holds it).

// seen is a candidate and whether it was a car of that class on those phases, or
// a car that never was a candidate.
type seen struct {
	class      Class
	isCar      bool
	candidate  bool
	confidence meter.PPM
	seen       [features]int64
}

// dayOf is what the detector made of a street's day.
type dayOf struct {
	seen []seen
	// Each quarter of an hour: cars that charged and could be known to, and those
	// that the detector said.
	cars, said [][meter.Phases]int
}

// sizes are those of the streets, in turn.
var sizes = [...]int{30, 60, 100}

func classOf(c *bench.Charge) (Class, bool) {
	three := c.Phases[0] && c.Phases[1]
	switch {
	case c.Nominal == 16 && three:
		return Three16, true
	case c.Nominal == 16:
		return One16, true
	case c.Nominal == 32 && three:
		return Three32, true
	case c.Nominal == 32:
		return One32, true
	}
	return 0, false // too little to be of a class
}

func playDay(seed uint64, homes int) (out dayOf) {
	street := bench.NewStreet(bench.StreetPlan{Seed: seed, Homes: homes, Cars: 0.3, Solar: 0.2})
	charges := street.Charges()
	found := make([]bool, len(charges))
	var d Detector
	d.judged = func(x *candidate, c meter.PPM) {
		s := seen{class: x.Class, candidate: true, confidence: c, seen: x.seen}
		for i := range charges {
			k := &charges[i]
			if of, ok := classOf(k); ok && !found[i] && of == x.Class && k.Phases == x.Phases && (k.From-x.Since).Abs() <= 30*time.Second {
				found[i], s.isCar = true, true
				break
			}
		}
		out.seen = append(out.seen, s)
	}
	var r meter.Reading
	var sessions []Session
	for street.Next(&r) {
		d.Add(&r)
		if r.At%(15*time.Minute) != 0 {
			continue
		}
		var cars, said [meter.Phases]int
		for i := range charges {
			k := &charges[i]
			if _, ok := classOf(k); ok && k.From < r.At-sureAfter && k.To > r.At {
				for p, on := range k.Phases {
					if on {
						cars[p]++
					}
				}
			}
		}
		for _, s := range d.Sessions(sessions[:0]) {
			for p, on := range s.Phases {
				if on {
					said[p]++
				}
			}
		}
		out.cars, out.said = append(out.cars, cars), append(out.said, said)
	}
	for i := range charges {
		k := &charges[i]
		if of, ok := classOf(k); ok && !found[i] && k.To-k.From > sureAfter && k.From+sureAfter < 24*time.Hour {
			out.seen = append(out.seen, seen{class: of, isCar: true})
		}
	}
	return out
}

// score counts what was said at a confidence of more than a half.
type score struct{ right, wrong, missed int }

func (s *score) add(x *seen) {
	switch said := x.candidate && x.confidence >= sure; {
	case said && x.isCar:
		s.right++
	case said:
		s.wrong++
	case x.isCar:
		s.missed++
	}
}

func (s *score) precision() float64 { return float64(s.right) / float64(max(1, s.right+s.wrong)) }
func (s *score) recall() float64    { return float64(s.right) / float64(max(1, s.right+s.missed)) }

// The figures of docs/ev.md: seeds 0 to 29, which nothing was fitted to.
func BenchmarkDetection(b *testing.B) {
	for _, homes := range sizes {
		b.Run(fmt.Sprint(homes, "-customers"), func(b *testing.B) {
			var scores [Classes]score
			var bins [5]struct {
				said float64
				n, y int
			}
			apart, moments, cars := 0.0, 0.0, 0.0
			for b.Loop() {
				for seed := range uint64(30) {
					day := playDay(seed, homes)
					for i := range day.seen {
						x := &day.seen[i]
						scores[x.class].add(x)
						if x.candidate && x.confidence >= sure {
							k := &bins[min(4, (x.confidence-sure)/100_000)]
							k.said, k.n = k.said+float64(x.confidence)/1e6, k.n+1
							if x.isCar {
								k.y++
							}
						}
					}
					for i := range day.cars {
						for p := range day.cars[i] {
							apart += math.Abs(float64(day.cars[i][p] - day.said[i][p]))
							cars += float64(day.cars[i][p])
							moments++
						}
					}
				}
			}
			for c := range Classes {
				b.ReportMetric(scores[c].precision(), "precision-"+c.String())
				b.ReportMetric(scores[c].recall(), "recall-"+c.String())
				b.ReportMetric(float64(scores[c].right+scores[c].missed), "cars-"+c.String())
			}
			for i, k := range bins {
				if k.n > 0 {
					b.Logf("confidence %d to %d %%: %d said, mean %.2f, true %.2f", 50+10*i, 60+10*i, k.n, k.said/float64(k.n), float64(k.y)/float64(k.n))
				}
			}
			b.ReportMetric(apart/moments, "cars-apart/phase")
			b.ReportMetric(cars/moments, "cars-charging/phase")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A few days hold what docs/ev.md says, with some room for so few.
func TestDetection(t *testing.T) {
	var scores [Classes]score
	said, right := 0.0, 0
	for seed := range uint64(6) {
		day := playDay(100+seed, 60)
		for i := range day.seen {
			x := &day.seen[i]
			scores[x.class].add(x)
			if x.candidate && x.confidence >= sure {
				said += float64(x.confidence) / 1e6
				if x.isCar {
					right++
				}
			}
		}
	}
	t.Logf("%+v", scores)
	if s := scores[One32]; s.recall() < 0.4 || s.precision() < 0.6 {
		t.Errorf("1x32: %+v", s)
	}
	if a, b := scores[Three16], scores[Three32]; a.recall() < 0.3 || a.wrong+b.wrong > 2 {
		t.Errorf("3x16: %+v, 3x32: %+v", a, b)
	}
	if said > float64(right)*1.4 {
		t.Errorf("%d cars; by the confidences there are %.1f", right, said)
	}
}

var fit = flag.Bool("fit", false, "fit the weights of the confidence anew and print them")

// The weights are those that the streets of seeds 1000 to 1059 lead to.
func TestWeights(t *testing.T) {
	if !*fit {
		t.Logf("with -fit it takes minutes")
		for c, w := range weights {
			if w[rises] <= 0 || w[fallen] > 0 || w[offClass] > 0 {
				t.Errorf("%v: weights %v cannot be", Class(c), w)
			}
		}
		return
	}
	var all [Classes][]seen
	for seed := range uint64(60) {
		day := playDay(1000+seed, sizes[seed%uint64(len(sizes))])
		for _, x := range day.seen {
			if x.candidate {
				all[x.class] = append(all[x.class], x)
			}
		}
	}
	for c := range all {
		w := regress(all[c])
		line := "	{"
		for i, x := range w {
			if i > 0 {
				line += ", "
			}
			line += fmt.Sprint(math.Round(x * 1000))
		}
		fmt.Println(line + "}, // " + Class(c).String())
	}
}

// regress finds the weights of a logistic model by Newton's steps, with a little
// of a penalty on large ones.
func regress(of []seen) (w [features]float64) {
	const penalty = 0.5
	for range 25 {
		var h [features][features + 1]float64
		for i := range h {
			h[i][i] = penalty
			h[i][features] = -penalty * w[i]
		}
		for _, x := range of {
			z := 0.0
			for i, v := range x.seen {
				z += w[i] * float64(v) / 1000
			}
			p := 1 / (1 + math.Exp(-z))
			y := 0.0
			if x.isCar {
				y = 1
			}
			for i, v := range x.seen {
				h[i][features] += (y - p) * float64(v) / 1000
				for j, u := range x.seen {
					h[i][j] += p * (1 - p) * float64(v) * float64(u) / 1e6
				}
			}
		}
		for i := range h {
			for j := range h {
				if f := h[j][i] / h[i][i]; i != j {
					for k := i; k <= features; k++ {
						h[j][k] -= f * h[i][k]
					}
				}
			}
		}
		for i := range w {
			w[i] += h[i][features] / h[i][i]
		}
	}
	return w
}
