package recorder

import (
	"math/rand/v2"
	"testing"
	"time"

	"lvagent/meter"
)

// An hour of alarm on one way, a reading a second as noisy as a real one, in
// batches of a minute: what is handed to the file system, and how often.
func TestWearOfAnHourOfAlarm(t *testing.T) {
	r := New(config(t.TempDir(), func() time.Time { return begin }))
	dice := rand.New(rand.NewPCG(1, 2))
	for k := range 3600 {
		x := &meter.Reading{Way: "W3", Neutral: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(40_000 + dice.Int64N(3000)), Quality: meter.Good}}
		for p := range x.Phase {
			v, i := 238_000+dice.Int64N(800), 250_000+dice.Int64N(4000)
			x.Phase[p] = meter.PhaseReading{
				V: meter.Sample[meter.Millivolts]{Value: meter.Millivolts(v), Quality: meter.Good},
				I: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(i), Quality: meter.Good},
				P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(v * i / 1000), Quality: meter.Good},
				Q: meter.Sample[meter.Millivars]{Value: meter.Millivars(5_000_000 + dice.Int64N(300_000)), Quality: meter.Good},
			}
		}
		r.Record(x, begin.Add(time.Duration(k)*time.Second))
		if k%60 == 59 {
			r.flush()
		}
	}
	c := r.Counts()
	t.Logf("%d octets in %d batches", c.Written, c.Syncs)
	if c.Syncs != 60 || c.Written > 100_000 {
		t.Errorf("%d octets in %d batches, want at most 100000 in 60", c.Written, c.Syncs)
	}
}
