package alarm_test

import (
	"fmt"
	"time"

	"lvagent/meter"
	"lvagent/meter/alarm"
)

// A way that may carry 300 A carries 312 A for half a minute. The alarm comes
// ten seconds later, with the readings before it, and ends when the current has
// been down by the hysteresis for a while.
func Example() {
	machine, err := alarm.New(alarm.Config{Way: "W3", Phases: [meter.Phases]bool{meter.L1: true}}, []alarm.Rule{{
		Way: "W3", Quantity: alarm.I, Phase: meter.L1, Kind: alarm.Hi, Threshold: 300_000, Hysteresis: 9_000,
		OnDelay: 10 * time.Second, OffDelay: 20 * time.Second, Severity: meter.Warning,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	live := alarm.NewLive(alarm.LiveConfig{Rating: 300_000, Before: 15 * time.Second, Tail: 5 * time.Second})
	start := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	r := meter.Reading{Way: "W3"}
	published := 0
	for at := time.Duration(0); at < 80*time.Second; at += time.Second {
		amps := meter.Milliamps(250_000)
		if at >= 20*time.Second && at < 50*time.Second {
			amps = 312_000
		}
		r.At = at
		r.Phase[meter.L1] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: 240_000, Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: amps, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(amps) * 240, Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Quality: meter.Good},
		}
		for _, a := range machine.Add(&r, start.Add(at)) {
			fmt.Printf("%s %v %s: %d mA, peak %d mA, after %v\n", a.At.Format(time.TimeOnly), a.Edge, a.ID, a.Value, a.Peak, a.Duration)
		}
		id, stands := machine.Live()
		published += len(live.Add(&r, start.Add(at), stands, id))
	}
	fmt.Println(published, "readings published")
	// Output:
	// 17:00:30 raise W3.L1.i.hi: 312000 mA, peak 312000 mA, after 0s
	// 17:01:10 clear W3.L1.i.hi: 250000 mA, peak 312000 mA, after 40s
	// 20 readings published
}
