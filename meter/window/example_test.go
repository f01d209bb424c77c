package window_test

import (
	"fmt"
	"time"

	"lvagent/meter"
	"lvagent/meter/window"
)

// A bench shortens the half-hour to ten seconds. The meter answers once a second
// and is silent for four of them: its last value stands for 2.5 s, then nothing does.
func Example() {
	w := window.New(window.Config{
		Way: "W3", Period: 10 * time.Second, Hold: 2500 * time.Millisecond,
		Expect: [meter.Phases]bool{meter.L1: true}, Bench: true,
	})
	start := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	r := meter.Reading{Way: "W3"}
	for at := time.Duration(0); at <= 11*time.Second; at += time.Second {
		for {
			h, ok := w.Advance(at, start.Add(at), meter.Assumed)
			if !ok {
				break
			}
			l1 := h.Phase[meter.L1]
			fmt.Printf("%s %s rev %d, coverage %.2f, %v\n", h.Way, h.Start.Format(time.TimeOnly), h.Rev, float64(h.Coverage)/1e6, h.Flags.Names())
			fmt.Printf("current: rms %d mA, mean %d mA, max %d mA at %s\n", l1.I.RMS, l1.I.Mean, l1.I.Max, l1.I.MaxAt.Format(time.TimeOnly))
			fmt.Printf("energy: %d mWh\n", h.Total.ImportMWh)
		}
		r.At = at
		if at >= 5*time.Second && at < 9*time.Second {
			r.Fail(meter.NoAnswer)
		} else {
			amps := int64(at/time.Second) * 10
			r.Phase[meter.L1] = meter.PhaseReading{
				V: meter.Sample[meter.Millivolts]{Value: 230_000, Quality: meter.Good},
				I: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(amps * 1000), Quality: meter.Good},
				P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(amps * 230_000), Quality: meter.Good},
				Q: meter.Sample[meter.Millivars]{Value: 0, Quality: meter.Good},
			}
		}
		w.Add(&r)
	}
	// Output:
	// W3 17:00:00 rev 0, coverage 0.75, [INVALID PARTIAL BOOT COMM_LOSS BENCH]
	// current: rms 42426 mA, mean 33333 mA, max 90000 mA at 17:00:09
	// energy: 15972 mWh
}
