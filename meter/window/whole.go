package window

import (
	"time"

	"lvagent/meter/fixed"
)

// floorMilli returns the whole milliseconds of a time in nanoseconds. Weights
// are differences of such numbers, so that they add up without a loss.
func floorMilli(ns int64) int64 { return fixed.FloorDiv(ns, int64(time.Millisecond)) }

// divRound divides by a positive b and rounds to nearest, half away from zero.
func divRound(a, b int64) int64 {
	q, r := a/b, a%b
	switch {
	case r > 0 && r >= b-r:
		q++
	case r < 0 && -r >= b+r:
		q--
	}
	return q
}
