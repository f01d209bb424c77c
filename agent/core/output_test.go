package core

import (
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"

	"pgregory.net/rapid"
)

// However limits, commits of states and answers of an actuator follow upon each
// other: a decrease is written before anything is stored, an increase only when a
// state that allows it is on disk. A crash at any moment therefore finds the
// actuator at no more than what was stored, or what it was told before.
func TestWhatIsWrittenIsNeverAheadOfTheDisk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Hour
		var told []meter.Milliamps
		l := &Loop{Options: Options{Now: func() time.Duration { return now }}}
		l.outputs = []output{{group: "G1", want: 6000, apply: func(_ string, limit meter.Milliamps) bool {
			told = append(told, limit)
			return true
		}}}
		limits := []meter.Milliamps{6000} // of each version
		saved := 0
		check := func(rt *rapid.T, was int) {
			l.actuate()
			current := limits[len(limits)-1]
			for i := max(was, 1); i < len(told); i++ {
				if v := told[i]; v > told[i-1] && v > limits[saved] {
					rt.Fatalf("wrote %d over %d, stored is %d", v, told[i-1], limits[saved])
				}
			}
			if last := told[len(told)-1]; last > current {
				rt.Fatalf("the actuator is at %d, the limit is %d", last, current)
			}
		}
		check(rt, 0)
		rt.Repeat(map[string]func(*rapid.T){
			"a limit": func(rt *rapid.T) {
				was := len(told)
				next := meter.Milliamps(rapid.IntRange(0, 5).Draw(rt, "limit")) * 1000
				l.version++
				limits = append(limits, next)
				if old := limits[len(limits)-2]; next != old {
					l.setpoint(failsafe.Setpoint{Group: "G1", Limit: next, Raise: next > old})
				}
				check(rt, was)
			},
			"a state is stored": func(rt *rapid.T) {
				was := len(told)
				saved = rapid.IntRange(saved, len(limits)-1).Draw(rt, "version")
				l.saved = uint64(saved)
				l.outputs[0].commit(l.saved)
				check(rt, was)
			},
			"the disk catches up": func(rt *rapid.T) {
				was := len(told)
				saved = len(limits) - 1
				l.saved = uint64(saved)
				l.outputs[0].commit(l.saved)
				check(rt, was)
				if last := told[len(told)-1]; last != limits[saved] {
					rt.Fatalf("everything is stored and the actuator is at %d, not at %d", last, limits[saved])
				}
			},
			"half a minute": func(rt *rapid.T) {
				was := len(told)
				now += refreshOutputs
				l.refresh(now)
				check(rt, was)
				if len(told) != was+1 {
					rt.Fatalf("%d writes in a refresh, want 1", len(told)-was)
				}
			},
			"nothing happens": func(rt *rapid.T) {
				was := len(told)
				check(rt, was)
				if len(told) != was {
					rt.Fatal("written although nothing changed")
				}
			},
		})
	})
}
