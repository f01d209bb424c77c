package alarm

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// What TX is on L1 and L2 when the transformer has a meter of its own: T measures
// it, W1 and W2 are ways. A sum is marked with +.
func TestTransformerMeasured(t *testing.T) {
	w := func(way string, at time.Duration, p int64) meter.Reading { return of(way, at, 230_000, p, 0) }
	part := func(at time.Duration, p int64, why meter.Reason) meter.Reading { // no L2
		r := of("T", at, 230_000, p, 0)
		r.Phase[1].I, r.Phase[1].P = meter.Sample[meter.Milliamps]{Reason: why}, meter.Sample[meter.Milliwatts]{Reason: why}
		return r
	}
	both := func(at time.Duration, a, b int64) []meter.Reading {
		return []meter.Reading{w("W1", at, a), w("W2", at, b)}
	}
	tick := func(at time.Duration) meter.Reading { return meter.Reading{At: at} }
	tests := []struct {
		name string
		in   [][]meter.Reading
		want []string
	}{
		{"the incomer speaks, the sum is silent", [][]meter.Reading{{w("T", 0, 15)}, both(0, 5, 7), {w("T", s, 16)}, both(s, 5, 7)}, []string{"0s 15 15", "1s 16 16"}},
		{"a start waits for the incomer", [][]meter.Reading{{tick(0)}, both(s, 5, 7), both(2*s, 5, 7), {w("T", 2200*ms, 15)}}, []string{"2.2s 15 15"}},
		{"not for ever", [][]meter.Reading{{tick(0)}, both(s, 5, 7), both(2501*ms, 5, 8)}, []string{"2.501s 13 13 +"}},
		{"no answer is none", [][]meter.Reading{{w("T", 0, 15)}, both(0, 5, 7), {silent("T", s, meter.NoAnswer)}, both(s, 5, 7)}, []string{"0s 15 15", "1s none none"}},
		{"its hold is not over", [][]meter.Reading{{w("T", 0, 15)}, both(2500*ms, 5, 7)}, []string{"0s 15 15"}},
		{"its hold is over", [][]meter.Reading{{w("T", 0, 15)}, both(s, 5, 7), both(2501*ms, 5, 7)}, []string{"0s 15 15", "2.501s 12 12 +"}},
		{"though it is asked each second", [][]meter.Reading{{w("T", 0, 15)}, both(s, 5, 7), {silent("T", 3*s, meter.NoAnswer)}, both(3*s, 5, 8)}, []string{"0s 15 15", "3s 13 13 +"}},
		{"what it refuses is the sum at once", [][]meter.Reading{{w("T", 0, 15)}, both(0, 5, 7), {silent("T", s, meter.Mismatch)}, both(s, 5, 8)}, []string{"0s 15 15", "1s 13 13 +"}},
		{"one phase that it refuses", [][]meter.Reading{both(0, 5, 7), {part(100*ms, 15, meter.Sentinel)}}, []string{"100ms 15 12 +"}},
		{"and the sum is too old", [][]meter.Reading{both(0, 5, 7), {part(2501*ms, 15, meter.Sentinel)}}, []string{"2.501s 15 none"}},
		{"one phase without an answer holds", [][]meter.Reading{{w("T", 0, 15)}, both(0, 5, 7), {part(s, 16, meter.NoAnswer)}}, []string{"0s 15 15", "1s 16 none"}},
		{"until it does not", [][]meter.Reading{{w("T", 0, 15)}, both(2*s, 5, 7), {part(2600*ms, 16, meter.NoAnswer)}}, []string{"0s 15 15", "2.6s 16 12 +"}},
		{"it comes back", [][]meter.Reading{{tick(0)}, both(2*s, 5, 7), both(3*s, 5, 7), {w("T", 3100*ms, 15)}, both(4*s, 5, 7)}, []string{"3s 12 12 +", "3.1s 15 15"}},
		{"never back in time", [][]meter.Reading{{tick(0)}, both(2*s, 5, 7), both(3*s, 5, 7), {w("T", 2900*ms, 15)}}, []string{"3s 12 12 +"}},
		{"nor the sum", [][]meter.Reading{{w("T", s, 15)}, {silent("T", 1100*ms, meter.Sentinel)}, both(950*ms, 5, 7)}, []string{"1s 15 15"}},
		{"nor twice the same", [][]meter.Reading{{w("T", 0, 15)}, {w("T", 0, 16)}}, []string{"0s 15 15"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tx := two()
			tx.MeasuredBy(Feeder{Way: "T"})
			var got []string
			for _, batch := range tt.in {
				for _, r := range batch {
					var out *meter.Reading
					if r.Way == "" {
						out = tx.Tick(r.At)
					} else {
						out = tx.Add(&r)
					}
					if out == nil {
						continue
					}
					if out.Way != TX {
						t.Errorf("way %q, want TX", out.Way)
					}
					line := fmt.Sprint(out.At)
					for p := range 2 {
						if ph := &out.Phase[p]; ph.P.Quality == meter.Missing {
							line += " none"
						} else {
							line += fmt.Sprint(" ", int64(ph.P.Value))
						}
					}
					if tx.Summed() {
						line += " +"
					}
					got = append(got, line)
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("readings\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// Whoever is silent for however long: what TX is said to carry is what the
// incomer said within its hold, or the sum, marked so; its time only goes forward.
func TestTransformerMeasuredIsNeverMadeUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tx := two()
		tx.MeasuredBy(Feeder{Way: "T"})
		last, any := time.Duration(0), false
		gave := map[int64]time.Duration{} // what the incomer gave, when
		for n := range rapid.IntRange(1, 60).Draw(t, "seconds") {
			at := time.Duration(n) * s
			for k, way := range []string{"W1", "T", "W2"} {
				r := of(way, at+time.Duration(k)*10*ms, 230_000, 1_000_000, 0)
				if way == "T" {
					p := int64(10_000_000 + n)
					for i := range r.Phase {
						r.Phase[i].P.Value = meter.Milliwatts(p)
					}
					gave[p] = r.At
				}
				switch rapid.SampledFrom([]string{"answer", "answer", "answer", "no answer", "refused", "nothing"}).Draw(t, way) {
				case "no answer":
					r.Fail(meter.NoAnswer)
				case "refused":
					r.Fail(meter.Sentinel)
				case "nothing":
					continue
				}
				out := tx.Add(&r)
				if out == nil {
					continue
				}
				if any && out.At <= last {
					t.Fatalf("at %v after %v", out.At, last)
				}
				last, any = out.At, true
				p := &out.Phase[0]
				if p.P.Quality == meter.Missing {
					continue
				}
				derived := p.P.Reason&meter.Derived != 0
				when, measured := gave[int64(p.P.Value)]
				switch {
				case derived != tx.Summed():
					t.Fatalf("%+v: summed %v", p, tx.Summed())
				case derived && p.P.Value != 2_000_000:
					t.Fatalf("sum %d", p.P.Value)
				case !derived && (!measured || when != out.At):
					t.Fatalf("%d at %v is nobody's", p.P.Value, out.At)
				}
			}
		}
	})
}

func TestTransformerMeasuredAllocatesNothing(t *testing.T) {
	tx := two()
	tx.MeasuredBy(Feeder{Way: "T"})
	a, b, c := of("W1", 0, 230_000, 5, 7), of("W2", 0, 230_000, 5, 7), of("T", 0, 230_000, 5, 7)
	if allocs := testing.AllocsPerRun(500, func() {
		a.At, b.At, c.At = a.At+s, b.At+s, c.At+s
		tx.Add(&a)
		tx.Add(&b)
		tx.Add(&c)
	}); allocs != 0 {
		t.Errorf("%v allocations a second, want 0", allocs)
	}
}
