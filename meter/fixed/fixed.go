// Package fixed is arithmetic on whole numbers: sums of squares that do not
// overflow, roots, and powers with a broken exponent.
//
// Records and decisions must be the same on every CPU, so that they can be
// replayed bit for bit; a fused multiply-add makes floats differ. It knows
// nothing of what is measured.
//
// Requirements: R5 (power quality), R19 (thermal models).
package fixed

import "math/bits"

// Sum is a whole number of 128 bits, for sums of squares. The zero value is 0.
type Sum struct{ Hi, Lo uint64 }

// Square returns v squared.
func Square(v int64) Sum {
	m := Magnitude(v)
	hi, lo := bits.Mul64(m, m)
	return Sum{hi, lo}
}

// Product returns a times b.
func Product(a, b uint64) Sum {
	hi, lo := bits.Mul64(a, b)
	return Sum{hi, lo}
}

// Plus returns s + o.
func (s Sum) Plus(o Sum) Sum {
	lo, carry := bits.Add64(s.Lo, o.Lo, 0)
	hi, _ := bits.Add64(s.Hi, o.Hi, carry)
	return Sum{hi, lo}
}

// Minus returns s - o, and false where that is below 0.
func (s Sum) Minus(o Sum) (Sum, bool) {
	lo, borrow := bits.Sub64(s.Lo, o.Lo, 0)
	hi, borrow := bits.Sub64(s.Hi, o.Hi, borrow)
	return Sum{hi, lo}, borrow == 0
}

// Times returns s times m, which must fit.
func (s Sum) Times(m uint64) Sum {
	hi, lo := bits.Mul64(s.Lo, m)
	return Sum{hi + s.Hi*m, lo}
}

// NotAbove reports whether s <= o.
func (s Sum) NotAbove(o Sum) bool { return s.Hi < o.Hi || s.Hi == o.Hi && s.Lo <= o.Lo }

// Over returns the whole part of s / d. It is the largest number of 64 bits
// where the true one is larger. D is above 0.
func (s Sum) Over(d uint64) uint64 {
	if s.Hi >= d {
		return 1<<64 - 1
	}
	q, _ := bits.Div64(s.Hi, s.Lo, d)
	return q
}

// Root returns the largest r with r*r <= s.
func (s Sum) Root() uint64 {
	var r uint64
	for bit := uint64(1) << 63; bit != 0; bit >>= 1 {
		if hi, lo := bits.Mul64(r|bit, r|bit); (Sum{hi, lo}).NotAbove(s) {
			r |= bit
		}
	}
	return r
}

// RootOfMean returns the square root of s / n, rounded to nearest; n is above 0.
// Whether it is to be rounded up is decided without a fraction: when
// (r + 1/2)^2 <= s / n.
func (s Sum) RootOfMean(n int64) int64 {
	d := uint64(n)
	qhi := s.Hi / d
	qlo, _ := bits.Div64(s.Hi%d, s.Lo, d)
	r := Sum{qhi, qlo}.Root()
	if Product(2*r+1, 2*r+1).Times(d).NotAbove(s.Times(4)) {
		r++
	}
	return int64(r)
}

// MulDiv returns a * b / d, cut off, for a, b >= 0 and d > 0; the largest int64
// where it would not fit.
func MulDiv(a, b, d int64) int64 {
	q := Product(uint64(a), uint64(b)).Over(uint64(d))
	return int64(min(q, 1<<63-1))
}

// FloorDiv divides towards minus infinity; b is positive.
func FloorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Magnitude returns |v|.
func Magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// Hypot returns the root of a*a + b*b, rounded down.
func Hypot(a, b int64) int64 { return int64(Square(a).Plus(Square(b)).Root()) }

// Skew returns how far a triangle with sides of these lengths is from one with
// equal sides, in millionths: of the two equilateral triangles that it is the sum
// of, the one that turns the other way over the one that turns its way. With S the
// sum of the squares of the sides and R = sqrt(3 S^2 - 6 sum of their fourth
// powers) it is sqrt((S - R) / (S + R)). It returns false for sides that make no
// triangle; one that is flat has a skew of 1. Sides are below 2^31.
func Skew(a, b, c int64) (millionths int64, ok bool) {
	var s uint64
	var fourth Sum
	for _, x := range [3]int64{a, b, c} {
		square := uint64(x * x)
		s += square
		fourth = fourth.Plus(Product(square, square))
	}
	r2, ok := Product(s, s).Times(3).Minus(fourth.Times(6))
	if !ok || s == 0 {
		return 0, false
	}
	r := min(r2.Root(), s)
	return int64(Sum{Lo: Product(s-r, 1_000_000_000_000).Over(s + r)}.Root()), true
}
