package window

import (
	"math/bits"
	"time"
)

// floorDiv divides towards minus infinity; b is positive.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// floorMilli returns the whole milliseconds of a time in nanoseconds. Weights
// are differences of such numbers, so that they add up without a loss.
func floorMilli(ns int64) int64 { return floorDiv(ns, int64(time.Millisecond)) }

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

func add128(ahi, alo, bhi, blo uint64) (hi, lo uint64) {
	lo, carry := bits.Add64(alo, blo, 0)
	hi, _ = bits.Add64(ahi, bhi, carry)
	return hi, lo
}

// times128 multiplies a 128-bit number that is small enough by m.
func times128(hi, lo, m uint64) (uint64, uint64) {
	h, l := bits.Mul64(lo, m)
	return h + hi*m, l
}

func square128(v uint64) (hi, lo uint64) { return bits.Mul64(v, v) }

// magnitude returns |v|.
func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// squareTimes returns v squared times weight.
func squareTimes(v, weight int64) (hi, lo uint64) {
	hi, lo = square128(magnitude(v))
	return times128(hi, lo, uint64(weight))
}

// notAbove reports whether a <= b.
func notAbove(ahi, alo, bhi, blo uint64) bool {
	return ahi < bhi || ahi == bhi && alo <= blo
}

// root returns the largest r with r*r <= n.
func root(hi, lo uint64) uint64 {
	var r uint64
	for bit := uint64(1) << 63; bit != 0; bit >>= 1 {
		if h, l := square128(r | bit); notAbove(h, l, hi, lo) {
			r |= bit
		}
	}
	return r
}

// rootOfMean returns the square root of sum / weight, rounded to nearest. The
// root of the whole part is the whole part of the root; whether it is to be
// rounded up is decided without a fraction: (r + 1/2)^2 <= sum / weight.
func rootOfMean(hi, lo uint64, weight int64) int64 {
	w := uint64(weight)
	qhi := hi / w
	qlo, _ := bits.Div64(hi%w, lo, w)
	r := root(qhi, qlo)
	nhi, nlo := square128(2*r + 1)
	nhi, nlo = times128(nhi, nlo, w)
	if shi, slo := times128(hi, lo, 4); notAbove(nhi, nlo, shi, slo) {
		r++
	}
	return int64(r)
}

// hypot returns the root of a*a + b*b, rounded to nearest.
func hypot(a, b int64) int64 {
	ahi, alo := square128(magnitude(a))
	bhi, blo := square128(magnitude(b))
	hi, lo := add128(ahi, alo, bhi, blo)
	return rootOfMean(hi, lo, 1)
}
