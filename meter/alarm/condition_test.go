package alarm

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// play shows change to a way once a second, from 0 up to and with to, and tells
// the edges. Change sees the second and a reading that is good and without load.
func play(t tester, m *Machine, from, to time.Duration, change func(at time.Duration, r *meter.Reading)) (got []string) {
	t.Helper()
	for at := from; at <= to; at += s {
		r := reading(at)
		change(at, &r)
		got = append(got, brief(at, m.Add(&r, begin.Add(at)))...)
	}
	return got
}

// volts sets the voltages of the phases.
func volts(r *meter.Reading, v ...int64) {
	for p := range v {
		r.Phase[p].V = good(meter.Millivolts(v[p]))
	}
}

// One phase that is dead while others live is a lost phase; all of them is a lost
// supply. Whichever came first keeps the event.
func TestPhaseOrSupplyLost(t *testing.T) {
	const dead, live, dim = 0, 240_000, 100_000
	both := only(PhaseLost, SupplyLost)
	two := both
	two.Phases = [3]bool{true, true, false}
	tests := []struct {
		name string
		cfg  Config
		v    func(at time.Duration) []int64
		want []string
	}{
		{"one dead, two live", both, func(time.Duration) []int64 { return []int64{dead, live, live} }, []string{"raise W3.L1.PHASE_LOST 2s=0"}},
		{"two dead, one live", both, func(time.Duration) []int64 { return []int64{dead, dead, live} }, []string{"raise W3.L1.PHASE_LOST 2s=0", "raise W3.L2.PHASE_LOST 2s=0"}},
		{"all dead", both, func(time.Duration) []int64 { return []int64{dead, dead, dead} }, []string{"raise W3.L1.SUPPLY_LOST 2s=0", "raise W3.L2.SUPPLY_LOST 2s=0", "raise W3.L3.SUPPLY_LOST 2s=0"}},
		{"one dead, the others neither", both, func(time.Duration) []int64 { return []int64{dead, dim, dim} }, []string{"raise W3.L1.SUPPLY_LOST 2s=0"}},
		{"the living phase is not the way's", two, func(time.Duration) []int64 { return []int64{dead, dead, live} }, []string{"raise W3.L1.SUPPLY_LOST 2s=0", "raise W3.L2.SUPPLY_LOST 2s=0"}},
		{"the rest follows: each phase has one alarm", both, func(at time.Duration) []int64 {
			if at < 5*s {
				return []int64{dead, live, live}
			}
			return []int64{dead, dead, dead}
		}, []string{"raise W3.L1.PHASE_LOST 2s=0", "raise W3.L2.SUPPLY_LOST 7s=0", "raise W3.L3.SUPPLY_LOST 7s=0"}},
		{"comes back on two of three", both, func(at time.Duration) []int64 {
			if at < 5*s {
				return []int64{dead, dead, dead}
			}
			return []int64{dead, live, live}
		}, []string{"raise W3.L1.SUPPLY_LOST 2s=0", "raise W3.L2.SUPPLY_LOST 2s=0", "raise W3.L3.SUPPLY_LOST 2s=0",
			"clear W3.L2.SUPPLY_LOST 7s=240000", "clear W3.L3.SUPPLY_LOST 7s=240000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := play(t, must(t, tt.cfg), 0, 20*s, func(at time.Duration, r *meter.Reading) { volts(r, tt.v(at)...) })
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestReverse(t *testing.T) {
	tests := []struct {
		name string
		p    func(at time.Duration) int64
		want []string
	}{
		{"at the limit", func(time.Duration) int64 { return -1_000_000 }, nil},
		{"beyond for a minute", func(time.Duration) int64 { return -1_000_001 }, []string{"raise W3.L1.REVERSE_POWER 1m0s=-1000001"}},
		{"a moment of import starts the delay anew", func(at time.Duration) int64 {
			if at == 59*s {
				return 1
			}
			return -1_000_001
		}, []string{"raise W3.L1.REVERSE_POWER 2m0s=-1000001"}},
		{"back by half a kilowatt", func(at time.Duration) int64 {
			if at > 60*s {
				return -500_000
			}
			return -2_000_000
		}, []string{"raise W3.L1.REVERSE_POWER 1m0s=-2000000", "clear W3.L1.REVERSE_POWER 2m1s=-500000"}},
		{"not quite back", func(at time.Duration) int64 {
			if at > 60*s {
				return -500_001
			}
			return -2_000_000
		}, []string{"raise W3.L1.REVERSE_POWER 1m0s=-2000000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, only(ReversePower))
			got := play(t, m, 0, 150*s, func(at time.Duration, r *meter.Reading) { r.Phase[0].P = good(meter.Milliwatts(tt.p(at))) })
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
			if id, any := m.Live(); any {
				t.Errorf("%s is an event and starts real-time readings", id)
			}
		})
	}
}

// Only a measured neutral is judged, against the highest phase, above a floor.
func TestNeutralRatio(t *testing.T) {
	cfg := only(NeutralRatioHigh)
	cfg.Neutral.OnDelay = 2 * s
	tests := []struct {
		name    string
		n, high int64
		reason  meter.Reason
		cfg     Config
		want    []string
	}{
		{"one phase loaded alone", 100_000, 100_000, 0, cfg, nil},
		{"at the ratio", 110_000, 100_000, 0, cfg, nil},
		{"above it", 110_010, 100_000, 0, cfg, []string{"raise W3.NEUTRAL_RATIO 2s=110010"}},
		{"at the floor", 15_000, 1_000, 0, cfg, nil},
		{"above the floor", 15_001, 1_000, 0, cfg, []string{"raise W3.NEUTRAL_RATIO 2s=1500100"}},
		{"without any load", 20_000, 0, 0, cfg, []string{"raise W3.NEUTRAL_RATIO 2s=2000000000"}},
		{"computed", 200_000, 1_000, meter.Derived, cfg, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := play(t, must(t, tt.cfg), 0, 9*s, func(_ time.Duration, r *meter.Reading) {
				r.Phase[1].I = good(meter.Milliamps(tt.high))
				r.Neutral = meter.Sample[meter.Milliamps]{Value: meter.Milliamps(tt.n), Quality: meter.Good, Reason: tt.reason}
			})
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// What cannot be measured is one alarm of the way when the meter is silent, one
// of a phase when it answers without a value, and nothing for what it never had.
func TestQualityConditions(t *testing.T) {
	watched := only(StaleReadings, FrozenReadings, MeasurementFault)
	phase := func(why meter.Reason) func(time.Duration, *meter.Reading) {
		return func(_ time.Duration, r *meter.Reading) { r.Phase[1].P = meter.Sample[meter.Milliwatts]{Reason: why} }
	}
	tests := []struct {
		name   string
		change func(at time.Duration, r *meter.Reading)
		want   []string
	}{
		{"all good", func(time.Duration, *meter.Reading) {}, nil},
		{"silence", func(_ time.Duration, r *meter.Reading) { r.Fail(meter.NoAnswer) }, []string{"raise W3.STALE 30s=0"}},
		{"silence for less", func(at time.Duration, r *meter.Reading) {
			if at < 30*s {
				r.Fail(meter.NoAnswer)
			}
		}, nil},
		{"an answer in between", func(at time.Duration, r *meter.Reading) {
			if at != 20*s {
				r.Fail(meter.NoAnswer)
			}
		}, []string{"raise W3.STALE 51s=0"}},
		{"back", func(at time.Duration, r *meter.Reading) {
			if at <= 30*s {
				r.Fail(meter.NoAnswer)
			}
		}, []string{"raise W3.STALE 30s=0", "clear W3.STALE 41s=0"}},
		{"an exception is an answer", func(_ time.Duration, r *meter.Reading) { r.Fail(meter.Exception) },
			[]string{"raise W3.L1.MEASUREMENT_FAULT 30s=0", "raise W3.L2.MEASUREMENT_FAULT 30s=0", "raise W3.L3.MEASUREMENT_FAULT 30s=0"}},
		{"one phase is not known", phase(meter.Sentinel), []string{"raise W3.L2.MEASUREMENT_FAULT 30s=0"}},
		{"a quantity that the meter does not have", phase(meter.NotSupported), nil},
		{"a value that cannot be", func(_ time.Duration, r *meter.Reading) { r.Phase[1].P = good(meter.Milliwatts(largest + 1)) }, []string{"raise W3.L2.MEASUREMENT_FAULT 30s=0"}},
		{"frozen at once: its detector has waited", func(_ time.Duration, r *meter.Reading) { r.Phase[2].V.Reason = meter.Frozen }, []string{"raise W3.FROZEN 0s=0"}},
		{"silence does not end what is frozen", func(at time.Duration, r *meter.Reading) {
			if r.Phase[2].V.Reason = meter.Frozen; at > 0 {
				r.Fail(meter.NoAnswer)
			}
		}, []string{"raise W3.FROZEN 0s=0", "raise W3.STALE 31s=0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := play(t, must(t, watched), 0, 60*s, tt.change); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
		})
	}
	t.Run("no readings at all", func(t *testing.T) {
		m := must(t, watched)
		var got []string
		for at := time.Duration(0); at <= 60*s; at += s {
			got = append(got, brief(at, m.Tick(at, begin.Add(at)))...)
		}
		if want := []string{"raise W3.STALE 33s=0"}; !reflect.DeepEqual(got, want) {
			t.Errorf("edges %q, want %q", got, want)
		}
		for at := 61 * s; at <= 80*s; at += s {
			got = append(got, brief(at, m.Tick(at, begin.Add(at)))...)
			r := reading(at - 10*ms)
			got = append(got, brief(at, m.Add(&r, begin.Add(at)))...)
		}
		if want := []string{"raise W3.STALE 33s=0", "clear W3.STALE 1m11s=0"}; !reflect.DeepEqual(got, want) {
			t.Errorf("edges %q, want %q", got, want)
		}
	})
}

// What stands while nothing is measured stays, and is questionable from then on.
func TestWhatStandsUnmeasuredIsQuestionable(t *testing.T) {
	other := with(hi, func(r *Rule) { r.Phase = meter.L2 })
	tests := []struct {
		name   string
		fail   func(r *meter.Reading)
		lasts  time.Duration
		l1, l2 bool
	}{
		{"silent for less than 30 s", func(r *meter.Reading) { r.Fail(meter.NoAnswer) }, 29 * s, false, false},
		{"silent for 30 s", func(r *meter.Reading) { r.Fail(meter.NoAnswer) }, 31 * s, true, true},
		{"one phase for 30 s", func(r *meter.Reading) { r.Phase[0].V = meter.Sample[meter.Millivolts]{Reason: meter.Sentinel} }, 31 * s, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, only(StaleReadings, MeasurementFault), hi, other)
			over := func(_ time.Duration, r *meter.Reading) { r.Phase[0].I.Value, r.Phase[1].I.Value = 400_000, 400_000 }
			play(t, m, 0, 5*s, over)
			play(t, m, 6*s, 5*s+tt.lasts, func(at time.Duration, r *meter.Reading) { over(at, r); tt.fail(r) })
			if a, b := questionable(m, hi.ID()), questionable(m, other.ID()); a != tt.l1 || b != tt.l2 {
				t.Errorf("questionable %v and %v, want %v and %v", a, b, tt.l1, tt.l2)
			}
			for _, id := range []string{hi.ID(), other.ID()} {
				if tr := m.find(id); !tr.stands() {
					t.Errorf("%s does not stand any more", id)
				}
			}
		})
	}
}

// An inhibited alarm is not raised; one that stands is cleared as ever.
func TestInhibit(t *testing.T) {
	low := with(lo, func(r *Rule) { r.Inhibit = []string{SupplyLost, PhaseLost} })
	m := must(t, only(SupplyLost, PhaseLost), low)
	got := play(t, m, 0, 20*s, func(at time.Duration, r *meter.Reading) { volts(r, 0, 0, 0) })
	got = append(got, play(t, m, 21*s, 30*s, func(at time.Duration, r *meter.Reading) { volts(r, 210_000, 240_000, 240_000) })...)
	want := []string{"raise W3.L1.SUPPLY_LOST 2s=0", "raise W3.L2.SUPPLY_LOST 2s=0", "raise W3.L3.SUPPLY_LOST 2s=0",
		"clear W3.L1.SUPPLY_LOST 23s=210000", "clear W3.L2.SUPPLY_LOST 23s=240000", "clear W3.L3.SUPPLY_LOST 23s=240000",
		"raise W3.L1.v.lo 26s=210000"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("edges\n got %q\nwant %q", got, want)
	}
	got = play(t, m, 31*s, 33*s, func(_ time.Duration, r *meter.Reading) { volts(r, 0, 240_000, 240_000) })
	got = append(got, play(t, m, 34*s, 50*s, func(_ time.Duration, r *meter.Reading) {})...)
	want = []string{"raise W3.L1.PHASE_LOST 33s=0", "clear W3.L1.PHASE_LOST 36s=230000", "clear W3.L1.v.lo 39s=230000"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("edges of one that stands\n got %q\nwant %q", got, want)
	}
}

// Over any three voltages, the integer unbalance is that of the symmetrical
// components, worked out another way: from the angles of the triangle.
func TestUnbalanceAgainstComponents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Int64Range(1_000, 440_000).Draw(t, "base")
		var v [3]int64
		for i := range v {
			v[i] = base + rapid.Int64Range(-base/4, base/4).Draw(t, "v")
		}
		got, ok := unbalance(v[0], v[1], v[2])
		if !ok {
			t.Fatalf("%v is a triangle", v)
		}
		a, b, c := float64(v[0]), float64(v[1]), float64(v[2])
		// Put the triangle into the plane and turn its sides by 120 degrees.
		angle := math.Acos((a*a + b*b - c*c) / (2 * a * b))
		sides := [3]complex128{complex(a, 0), complex(-b*math.Cos(angle), -b*math.Sin(angle)), 0}
		sides[2] = -sides[0] - sides[1]
		turn := complex(-0.5, math.Sqrt(3)/2)
		one, two := sides[0]+turn*sides[1]+turn*turn*sides[2], sides[0]+turn*turn*sides[1]+turn*sides[2]
		size := func(z complex128) float64 { return math.Hypot(real(z), imag(z)) }
		want := size(one) / size(two)
		if want > 1 {
			want = 1 / want
		}
		// Below a tenth of a per cent the difference of two near numbers is lost.
		if diff := math.Abs(float64(got)/1e6 - want); diff > 0.0015 && diff > want/100 {
			t.Fatalf("unbalance of %v is %d ppm, want %v", v, got, want)
		}
	})
}

func TestUnbalanceOfNoTriangle(t *testing.T) {
	for _, v := range [][3]int64{{0, 1, 1}, {1, 1, 2}, {-1, 1, 1}, {400_000, 100_000, 100_000}, {highestLine + 1, highestLine, highestLine}} {
		if got, ok := unbalance(v[0], v[1], v[2]); ok {
			t.Errorf("%v has an unbalance of %d ppm", v, got)
		}
	}
	if got, ok := unbalance(highestLine, highestLine, highestLine); !ok || got != 0 {
		t.Errorf("equal voltages have %d ppm, %v", got, ok)
	}
}

func TestUnbalanceAlarm(t *testing.T) {
	supply := func(at time.Duration, v ...meter.Millivolts) *meter.SupplyReading {
		r := &meter.SupplyReading{Way: "W3", At: at}
		r.Fail(meter.NotSupported)
		for i := range v {
			r.Line[i] = good(v[i])
		}
		return r
	}
	tests := []struct {
		name string
		v    []meter.Millivolts
		want []string
	}{
		{"2.9 % for ten minutes", []meter.Millivolts{400_000, 400_000, 417_500}, []string{"raise W3.UNBALANCE 10m0s=2896"}},
		{"below", []meter.Millivolts{400_000, 400_000, 410_000}, nil},
		{"a meter without voltages between phases", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, only(UnbalanceHigh))
			var got []string
			for at := time.Minute; at <= 25*time.Minute; at += time.Minute {
				got = append(got, brief(at, m.AddSupply(supply(at, tt.v...), begin.Add(at)))...)
				// Voltages to neutral say nothing of it.
				r := reading(at)
				volts(&r, 200_000, 230_000, 260_000)
				got = append(got, brief(at, m.Add(&r, begin.Add(at)))...)
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("edges %q, want %q", got, tt.want)
			}
		})
	}
}
