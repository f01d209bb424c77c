package alarm

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lvagent/meter"
)

// A reading that was put away comes back as it was, but for a voltage or current
// that is beyond what 32 bits hold: that one was not measured.
func TestPastKeepsReadings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sample := func(small bool) (int64, meter.Quality, meter.Reason) {
			v := rapid.Int64Range(-2*largest, 2*largest).Draw(t, "value")
			if small && rapid.IntRange(0, 9).Draw(t, "absurd") > 0 {
				v %= math.MaxInt32
			}
			return v, meter.Quality(rapid.IntRange(0, 2).Draw(t, "quality")), meter.Reason(rapid.Uint16Range(0, 1<<qualityShift-1).Draw(t, "reason"))
		}
		r := meter.Reading{Way: "W3", At: time.Duration(rapid.Int64().Draw(t, "at"))}
		want := r
		for i := range r.Phase {
			a, b := &r.Phase[i], &want.Phase[i]
			v, q, why := sample(true)
			a.V = meter.Sample[meter.Millivolts]{Value: meter.Millivolts(v), Quality: q, Reason: why}
			if b.V = a.V; v > math.MaxInt32 || v < math.MinInt32 {
				b.V = meter.Sample[meter.Millivolts]{Reason: meter.OutOfRange}
			}
			v, q, why = sample(true)
			a.I = meter.Sample[meter.Milliamps]{Value: meter.Milliamps(v), Quality: q, Reason: why}
			if b.I = a.I; v > math.MaxInt32 || v < math.MinInt32 {
				b.I = meter.Sample[meter.Milliamps]{Reason: meter.OutOfRange}
			}
			v, q, why = sample(false)
			a.P = meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(v), Quality: q, Reason: why}
			v, q, why = sample(false)
			a.Q = meter.Sample[meter.Millivars]{Value: meter.Millivars(v), Quality: q, Reason: why}
			b.P, b.Q = a.P, a.Q
		}
		wall := time.Unix(0, rapid.Int64Range(0, 1<<62).Draw(t, "wall")).UTC()
		var p past
		p.keep(&r, wall)
		if got := p.reading("W3"); got != want || !p.taken().Equal(wall) {
			t.Fatalf("put away %+v at %v, came back %+v at %v", want, wall, got, p.taken())
		}
	})
}

// Every reason has its bit beside the quality.
func TestReasonsFit(t *testing.T) {
	if meter.Restarted >= 1<<qualityShift {
		t.Errorf("reason %b does not fit below bit %d", meter.Restarted, qualityShift)
	}
}
