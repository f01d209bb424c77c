package alarm

import (
	"fmt"
	"math/big"
	"reflect"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// of returns a reading of a way with the same on each phase.
func of(way string, at time.Duration, v, p, q int64) meter.Reading {
	r := reading(at)
	r.Way = way
	for i := range r.Phase {
		r.Phase[i].V, r.Phase[i].P, r.Phase[i].Q = good(meter.Millivolts(v)), good(meter.Milliwatts(p)), good(meter.Millivars(q))
	}
	return r
}

func silent(way string, at time.Duration, why meter.Reason) meter.Reading {
	r := meter.Reading{Way: way, At: at}
	r.Fail(why)
	return r
}

func two() *Transformer { return NewTransformer([]Feeder{{Way: "W1"}, {Way: "W2"}}, 0) }

// When a reading of TX comes, and with which of L1's power.
func TestTransformerWaits(t *testing.T) {
	w := func(n int, at time.Duration, p int64) meter.Reading {
		return of(fmt.Sprint("W", n), at, 230_000, p, 0)
	}
	tick := func(at time.Duration) meter.Reading { return meter.Reading{At: at} }
	tests := []struct {
		name string
		in   []meter.Reading // without a way: a tick
		want []string
	}{
		{"one way is not all", []meter.Reading{w(1, 0, 5)}, nil},
		{"all of this second", []meter.Reading{w(1, 0, 5), w(2, 900*ms, 7)}, []string{"900ms 12"}},
		{"one a second", []meter.Reading{w(1, 0, 5), w(2, 100*ms, 7), w(1, 200*ms, 6), w(2, 300*ms, 7)}, []string{"100ms 12"}},
		{"the next second", []meter.Reading{w(1, 0, 5), w(2, 100*ms, 7), w(1, s, 6), w(2, 1100*ms, 7)}, []string{"100ms 12", "1.1s 13"}},
		{"the newest of each", []meter.Reading{w(1, 0, 5), w(1, 100*ms, 6), w(2, 100*ms, 7)}, []string{"100ms 13"}},
		{"a reading before the turn of the second is of the former", []meter.Reading{w(1, 0, 5), w(2, 0, 7), w(1, 900*ms, 8), w(2, s, 7), w(1, s, 9)}, []string{"0s 12", "1s 16"}},
		{"a way that answers no poll holds", []meter.Reading{w(1, 0, 5), w(2, 0, 7), w(1, s, 6), silent("W2", s, meter.NoAnswer)}, []string{"0s 12", "1s 13"}},
		{"until its hold is over", []meter.Reading{w(1, 0, 5), w(2, 0, 7), w(1, 2500*ms, 6), silent("W2", 2500*ms, meter.NoAnswer)}, []string{"0s 12", "2.5s 13"}},
		{"a millisecond after", []meter.Reading{w(1, 0, 5), w(2, 0, 7), w(1, 2501*ms, 6), silent("W2", 2501*ms, meter.NoAnswer)}, []string{"0s 12", "2.501s none 1"}},
		{"an explicit refusal ends the hold", []meter.Reading{w(1, 0, 5), w(2, 0, 7), w(1, s, 6), silent("W2", s, meter.Sentinel)}, []string{"0s 12", fmt.Sprint("1s none ", meter.Sentinel)}},
		{"and it stays ended", []meter.Reading{w(1, 0, 5), w(2, 0, 7), silent("W2", s, meter.Sentinel), silent("W2", 1100*ms, meter.NoAnswer), w(1, 1200*ms, 6)}, []string{"0s 12", fmt.Sprint("1.2s none ", meter.Sentinel)}},
		{"a way not heard of is waited for", []meter.Reading{w(1, 0, 5), w(2, 0, 7), w(1, s, 6), tick(2500 * ms)}, []string{"0s 12"}},
		{"as long as its hold", []meter.Reading{w(1, 0, 5), w(2, 0, 7), w(1, s, 6), tick(2501 * ms)}, []string{"0s 12", "1s 13"}},
		{"then its values are gone", []meter.Reading{w(1, 0, 5), w(2, 0, 7), w(1, s, 6), w(1, 2*s, 6), w(1, 3*s, 6), w(1, 4*s, 6)}, []string{"0s 12", "3s none 1", "4s none 1"}},
		{"a way that was never heard of", []meter.Reading{w(1, 0, 5), tick(2500 * ms), tick(2501 * ms)}, []string{"0s none 1"}},
		{"nobody says anything", []meter.Reading{tick(0), tick(60 * s)}, nil},
		{"the same is not told twice", []meter.Reading{w(1, 0, 5), w(2, 0, 7), tick(s), tick(60 * s)}, []string{"0s 12"}},
		{"a stranger", []meter.Reading{w(1, 0, 5), w(3, 0, 7)}, nil},
		{"an older reading is ignored", []meter.Reading{w(1, 600*ms, 5), w(1, 500*ms, 9), w(2, 700*ms, 7)}, []string{"700ms 12"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tx := two()
			var got []string
			for _, r := range tt.in {
				var out *meter.Reading
				if r.Way == "" {
					out = tx.Tick(r.At)
				} else {
					out = tx.Add(&r)
				}
				switch {
				case out == nil:
				case out.Way != TX:
					t.Errorf("way %q, want TX", out.Way)
				case out.Phase[0].P.Quality == meter.Missing:
					got = append(got, fmt.Sprintf("%v none %d", out.At, out.Phase[0].P.Reason))
				default:
					got = append(got, fmt.Sprintf("%v %d", out.At, out.Phase[0].P.Value))
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("readings\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// A slow meter sets the pace; its hold is its own.
func TestTransformerSlowWay(t *testing.T) {
	tx := NewTransformer([]Feeder{{Way: "W1"}, {Way: "W2", Hold: 12500 * ms}}, 0)
	var got []time.Duration
	for now := time.Duration(0); now <= 12*s; now += s {
		r := of("W1", now, 230_000, 1, 0)
		if out := tx.Add(&r); out != nil {
			got = append(got, out.At)
		}
		if now%(5*s) == 0 {
			r := of("W2", now, 230_000, 1, 0)
			if out := tx.Add(&r); out != nil {
				got = append(got, out.At)
			}
		}
	}
	if want := []time.Duration{0, 5 * s, 10 * s}; !reflect.DeepEqual(got, want) {
		t.Errorf("readings at %v, want %v", got, want)
	}
}

func TestTransformerSums(t *testing.T) {
	type pair = [2]meter.Reading
	mute := func(r meter.Reading, change func(p *meter.PhaseReading)) meter.Reading {
		change(&r.Phase[0])
		return r
	}
	goodI := func(v int64) meter.Sample[meter.Milliamps] {
		return meter.Sample[meter.Milliamps]{Value: meter.Milliamps(v), Quality: meter.Good, Reason: meter.Derived}
	}
	tests := []struct {
		name  string
		in    pair
		v     meter.Sample[meter.Millivolts]
		i     meter.Sample[meter.Milliamps]
		power meter.Quality
	}{
		// 3-4-5: 30 kW and 40 kvar at 250 V are 50 kVA and 200 A.
		{"P and Q as vectors", pair{of("W1", 0, 250_000, 30_000_000, 0), of("W2", 0, 250_000, 0, 40_000_000)}, good[meter.Millivolts](250_000), goodI(200_000), meter.Good},
		{"export and import cancel", pair{of("W1", 0, 250_000, 30_000_000, 0), of("W2", 0, 250_000, -30_000_000, 0)}, good[meter.Millivolts](250_000), goodI(0), meter.Good},
		{"export as a whole", pair{of("W1", 0, 250_000, -30_000_000, -40_000_000), of("W2", 0, 250_000, 0, 0)}, good[meter.Millivolts](250_000), goodI(200_000), meter.Good},
		{"voltage of two: between", pair{of("W1", 0, 240_000, 0, 0), of("W2", 0, 242_000, 0, 0)}, good[meter.Millivolts](241_000), goodI(0), meter.Good},
		{"rounded to nearest", pair{of("W1", 0, 230_000, 1_000, 0), of("W2", 0, 230_000, 0, 0)}, good[meter.Millivolts](230_000), goodI(4), meter.Good},
		{"rounded up", pair{of("W1", 0, 230_000, 1_035, 0), of("W2", 0, 230_000, 0, 0)}, good[meter.Millivolts](230_000), goodI(5), meter.Good},
		{"no supply, no load", pair{of("W1", 0, 0, 0, 0), of("W2", 0, 0, 0, 0)}, good[meter.Millivolts](0), goodI(0), meter.Good},
		{"no supply, yet power", pair{of("W1", 0, 0, 1, 0), of("W2", 0, 0, 0, 0)}, good[meter.Millivolts](0), meter.Sample[meter.Milliamps]{Reason: meter.OutOfRange}, meter.Good},
		{"a current that cannot be", pair{of("W1", 0, 1, largest, 0), of("W2", 0, 1, 0, 0)}, good[meter.Millivolts](1), meter.Sample[meter.Milliamps]{Reason: meter.OutOfRange}, meter.Good},
		{"one voltage is enough", pair{of("W1", 0, 250_000, 50_000_000, 0), mute(of("W2", 0, 0, 0, 0), func(p *meter.PhaseReading) { p.V = meter.Sample[meter.Millivolts]{Reason: meter.Sentinel} })},
			good[meter.Millivolts](250_000), goodI(200_000), meter.Good},
		{"no voltage", pair{silent("W1", 0, meter.Sentinel), silent("W2", 0, meter.Sentinel)}, meter.Sample[meter.Millivolts]{Reason: meter.Sentinel}, meter.Sample[meter.Milliamps]{Reason: meter.Sentinel}, meter.Missing},
		{"one way without Q", pair{of("W1", 0, 250_000, 50_000_000, 0), mute(of("W2", 0, 250_000, 5, 0), func(p *meter.PhaseReading) { p.Q = meter.Sample[meter.Millivars]{Reason: meter.NotSupported} })},
			good[meter.Millivolts](250_000), meter.Sample[meter.Milliamps]{Reason: meter.NotSupported}, meter.Missing},
		{"one way suspect", pair{of("W1", 0, 250_000, 50_000_000, 0), mute(of("W2", 0, 250_000, 0, 0), func(p *meter.PhaseReading) { p.P.Quality, p.P.Reason = meter.Suspect, meter.Frozen })},
			good[meter.Millivolts](250_000), meter.Sample[meter.Milliamps]{Value: 200_000, Quality: meter.Suspect, Reason: meter.Derived | meter.Frozen}, meter.Suspect},
		{"beyond what can be measured", pair{of("W1", 0, 250_000, largest+1, 0), of("W2", 0, 250_000, 0, 0)}, good[meter.Millivolts](250_000), meter.Sample[meter.Milliamps]{Reason: meter.OutOfRange}, meter.Missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tx := two()
			tx.Add(&tt.in[0])
			out := tx.Add(&tt.in[1])
			if out == nil {
				t.Fatal("no reading")
			}
			ph := out.Phase[0]
			if ph.V != tt.v || ph.I != tt.i || ph.P.Quality != tt.power || ph.Q.Quality != tt.power {
				t.Errorf("L1 %+v, want V %+v, I %+v, power %v", ph, tt.v, tt.i, tt.power)
			}
			if out.Neutral != (meter.Sample[meter.Milliamps]{Reason: meter.NotSupported}) {
				t.Errorf("neutral %+v, want none", out.Neutral)
			}
		})
	}
}

// One way's blown measuring fuse does not bend the voltage of the busbar.
func TestTransformerVoltage(t *testing.T) {
	tx := NewTransformer([]Feeder{{Way: "W1"}, {Way: "W2"}, {Way: "W3"}}, 0)
	for way, v := range map[string]int64{"W1": 241_000, "W2": 3_000} {
		r := of(way, 0, v, 0, 0)
		tx.Add(&r)
	}
	r := of("W3", 0, 239_000, 0, 0)
	if out := tx.Add(&r); out.Phase[1].V.Value != 239_000 {
		t.Errorf("voltage %+v, want the middle one", out.Phase[1].V)
	}
}

// A way does not spoil a phase that it does not have.
func TestTransformerPhases(t *testing.T) {
	tx := NewTransformer([]Feeder{{Way: "W1", Phases: [3]bool{true, true, false}}, {Way: "W2", Phases: [3]bool{true, false, false}}}, 0)
	a, b := of("W1", 0, 230_000, 5, 0), of("W2", 0, 230_000, 7, 0)
	b.Phase[1], b.Phase[2] = meter.PhaseReading{}, meter.PhaseReading{}
	tx.Add(&a)
	out := tx.Add(&b)
	if p := out.Phase[0].P.Value; p != 12 {
		t.Errorf("L1 %d, want 12", p)
	}
	if p := out.Phase[1].P; p.Value != 5 || p.Quality != meter.Good {
		t.Errorf("L2 %+v, want 5", p)
	}
	if p := out.Phase[2]; p.V.Reason != meter.NotSupported || p.Quality() != meter.Missing || p.I.Reason != meter.NotSupported {
		t.Errorf("L3 %+v, want not supported", p)
	}
}

// The current is |S| / V for any powers that a dozen ways can have.
func TestTransformerCurrent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "ways")
		var feeders []Feeder
		for k := range n {
			feeders = append(feeders, Feeder{Way: fmt.Sprint("W", k)})
		}
		tx := NewTransformer(feeders, 0)
		power := rapid.OneOf(rapid.Int64Range(-100_000_000, 100_000_000), rapid.SampledFrom([]int64{largest, -largest, 0}))
		v := rapid.Int64Range(1, 300_000).Draw(t, "v")
		p, q := new(big.Int), new(big.Int)
		var out *meter.Reading
		for k := range n {
			a, b := power.Draw(t, "p"), power.Draw(t, "q")
			p.Add(p, big.NewInt(a))
			q.Add(q, big.NewInt(b))
			r := of(fmt.Sprint("W", k), 0, v, a, b)
			if out = tx.Add(&r); (out != nil) != (k == n-1) {
				t.Fatalf("reading %+v after way %d of %d", out, k+1, n)
			}
		}
		ph := out.Phase[2]
		if int64(ph.P.Value) != p.Int64() || int64(ph.Q.Value) != q.Int64() || int64(ph.V.Value) != v {
			t.Fatalf("sums %+v, want P %v, Q %v, V %d", ph, p, q, v)
		}
		s := new(big.Int).Sqrt(new(big.Int).Add(p.Mul(p, p), q.Mul(q, q)))
		want := s.Mul(s, big.NewInt(1000)).Add(s, big.NewInt(v/2)).Div(s, big.NewInt(v)).Int64()
		switch {
		case want > largest && ph.I.Quality != meter.Missing:
			t.Fatalf("current %+v, want none: %d mA cannot be", ph.I, want)
		case want <= largest && (int64(ph.I.Value) != want || ph.I.Quality != meter.Good):
			t.Fatalf("current %+v, want %d", ph.I, want)
		}
	})
}

func TestTransformerAllocatesNothing(t *testing.T) {
	tx := two()
	a, b, n := of("W1", 0, 230_000, 5, 7), of("W2", 0, 230_000, 5, 7), 0
	if allocs := testing.AllocsPerRun(500, func() {
		a.At, b.At = a.At+s, b.At+s
		tx.Add(&a)
		if tx.Add(&b) != nil {
			n++
		}
	}); allocs != 0 {
		t.Errorf("%v allocations a second, want 0", allocs)
	}
	if n < 500 {
		t.Errorf("%d readings, want one a second", n)
	}
}
