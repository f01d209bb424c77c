package alarm

import (
	"math"
	"math/big"
	"reflect"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// meanLo is a threshold on the mean of a minute.
var meanLo = with(lo, func(r *Rule) { r.Mean, r.OnDelay, r.OffDelay = time.Minute, 0, 0 })

func TestMean(t *testing.T) {
	level := func(v int64) func(time.Duration, *meter.Reading) {
		return func(_ time.Duration, r *meter.Reading) { volts(r, v) }
	}
	tests := []struct {
		name   string
		change func(at time.Duration, r *meter.Reading)
		want   []string
	}{
		{"a low mean", level(210_000), []string{"raise W3.L1.v.lo 1m0s=210000"}},
		{"at the limit", level(216_200), nil},
		{"a deep moment is no low mean", func(at time.Duration, r *meter.Reading) {
			if at%time.Minute == 30*s {
				volts(r, 100_000)
			}
		}, nil},
		{"an hour of moments, root of squares", func(at time.Duration, r *meter.Reading) {
			if volts(r, 240_000); at/s%2 == 0 {
				volts(r, 180_000)
			}
		}, []string{"raise W3.L1.v.lo 1m0s=212132"}},
		{"back in the next minute", func(at time.Duration, r *meter.Reading) {
			if at < time.Minute {
				volts(r, 210_000)
			}
		}, []string{"raise W3.L1.v.lo 1m0s=210000", "clear W3.L1.v.lo 2m0s=230000"}},
		{"a minute with a lost supply gives no verdict", func(at time.Duration, r *meter.Reading) {
			if at == 10*s {
				volts(r, 0)
			}
			if at < time.Minute && at != 10*s {
				volts(r, 210_000)
			}
		}, nil},
		{"measured for less than nine tenths", func(at time.Duration, r *meter.Reading) {
			if volts(r, 210_000); at%time.Minute < 7*s {
				r.Fail(meter.Sentinel)
			}
		}, nil},
		{"measured for nine tenths", func(at time.Duration, r *meter.Reading) {
			if volts(r, 210_000); at%time.Minute < 6*s {
				r.Fail(meter.Sentinel)
			}
		}, []string{"raise W3.L1.v.lo 1m0s=210000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := play(t, must(t, onlyRules, meanLo), 0, 200*s, tt.change); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// The first stretch ends at a whole minute of the wall clock, and is no verdict
// when it was cut short; a stepped clock makes one stretch too short, none wrong.
func TestMeanKeepsToTheWallClock(t *testing.T) {
	m := must(t, onlyRules, meanLo)
	wall := begin.Add(20 * s)
	var got []string
	for at := time.Duration(0); at <= 300*s; at, wall = at+s, wall.Add(s) {
		if at == 120*s {
			wall = wall.Add(-35 * s)
		}
		r := reading(at)
		volts(&r, 210_000+int64(at/s))
		got = append(got, brief(at, m.Add(&r, wall))...)
	}
	// Stretches end at 40 s (short), 100 s, 160 s (begun before the step), 195 s
	// (short) and 255 s; only the one that ends at 100 s is the first low one.
	if want := []string{"raise W3.L1.v.lo 1m40s=210069"}; !reflect.DeepEqual(got, want) {
		t.Errorf("edges %q, want %q", got, want)
	}
}

// Over any samples the mean is that of exact arithmetic.
func TestMeanAgainstExactArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		signed := rapid.Bool().Draw(t, "signed")
		most := int64(largestRMS)
		if signed {
			most = largest
		}
		var a mean
		sum, weight := new(big.Int), int64(0)
		var last int64
		for at := time.Duration(0); ; at += time.Duration(rapid.Int64Range(100, 1900).Draw(t, "gap")) * ms {
			v := rapid.Int64Range(-most, most).Draw(t, "v")
			if !signed {
				v = max(v, -v)
			}
			out, closed := a.add(seen{value: v, quality: meter.Good}, at, begin.Add(at), time.Minute, signed, 2500*ms, false)
			if at >= time.Minute {
				part := int64(time.Minute/ms) - weight
				add(sum, last, part, signed)
				sum.Div(sum, big.NewInt(int64(time.Minute/ms)))
				want := sum.Int64()
				if !signed {
					want = new(big.Int).Sqrt(sum).Int64()
				}
				// Euclid's division rounds down, Go's towards zero.
				if !closed || math.Abs(float64(out.value)-float64(want)) > 1 {
					t.Fatalf("mean %d, closed %v, want %d", out.value, closed, want)
				}
				return
			}
			if at > 0 {
				add(sum, last, int64(at/ms)-weight, signed)
				weight = int64(at / ms)
			}
			last = v
		}
	})
}

func add(sum *big.Int, v, ms int64, signed bool) {
	x := big.NewInt(v)
	if !signed {
		x.Mul(x, x)
	}
	sum.Add(sum, x.Mul(x, big.NewInt(ms)))
}

func TestRate(t *testing.T) {
	rule := Rule{Way: "W3", Quantity: I, Phase: meter.L1, Kind: Rate, Threshold: 50_000, Over: 5 * s}
	tests := []struct {
		name string
		in   []sample
		want []string
	}{
		{"a step by the threshold", trailOf(100_000, 150_000), nil},
		{"a step beyond", trailOf(100_000, 150_001), []string{"raise W3.L1.i.rate 1s=50001"}},
		{"downwards", trailOf(150_001, 100_000), []string{"raise W3.L1.i.rate 1s=50001"}},
		{"a ramp within its time", trailOf(0, 11_000, 22_000, 33_000, 44_000, 55_000), []string{"raise W3.L1.i.rate 5s=55000"}},
		{"a ramp that is slower", trailOf(0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000), nil},
		{"over when the step is out of sight", trailOf(0, 60_000, 60_000, 60_000, 60_000, 60_000, 60_000, 60_000), []string{"raise W3.L1.i.rate 1s=60000", "clear W3.L1.i.rate 6s=0"}},
		{"across a silence that is longer", []sample{at(0, 0), at(6*s, 90_000)}, nil},
		{"across a refusal", []sample{at(0, 0), none(s, meter.Restarted), at(2*s, 90_000)}, nil},
		{"across a lost poll", []sample{at(0, 0), none(s, meter.NoAnswer), at(2*s, 90_000)}, []string{"raise W3.L1.i.rate 2s=90000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, onlyRules, rule)
			var got []string
			for _, x := range tt.in {
				r := x.reading(rule)
				got = append(got, brief(x.at, m.Add(&r, begin.Add(x.at)))...)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

func trailOf(values ...int64) (out []sample) {
	for i, v := range values {
		out = append(out, at(time.Duration(i)*s, v))
	}
	return out
}
