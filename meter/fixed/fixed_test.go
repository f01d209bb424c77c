package fixed

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func wide(s Sum) *big.Int {
	n := new(big.Int).Lsh(new(big.Int).SetUint64(s.Hi), 64)
	return n.Or(n, new(big.Int).SetUint64(s.Lo))
}

// The sums are those of numbers without an end.
func TestSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "a")
		b := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "b")
		n := rapid.Int64Range(1, 1<<40).Draw(t, "n")
		m := rapid.Uint64Range(1, 1<<30).Draw(t, "m")
		sq := func(v int64) *big.Int { return new(big.Int).Mul(big.NewInt(v), big.NewInt(v)) }
		sum := Square(a).Plus(Square(b))
		want := new(big.Int).Add(sq(a), sq(b))
		if wide(sum).Cmp(want) != 0 {
			t.Fatalf("%d^2 + %d^2 = %v, want %v", a, b, wide(sum), want)
		}
		if less, ok := Square(a).Minus(Square(b)); ok != (want.Sub(sq(a), sq(b)).Sign() >= 0) || ok && wide(less).Cmp(want) != 0 {
			t.Fatalf("%d^2 - %d^2 = %v %v, want %v", a, b, wide(less), ok, want)
		}
		if got, want := wide(sum.Times(m)), new(big.Int).Mul(wide(sum), new(big.Int).SetUint64(m)); got.Cmp(want) != 0 {
			t.Fatalf("times %d: %v, want %v", m, got, want)
		}
		if got, want := sum.Root(), new(big.Int).Sqrt(wide(sum)); want.Cmp(new(big.Int).SetUint64(got)) != 0 {
			t.Fatalf("root %d, want %v", got, want)
		}
		// Twice the root of four times the mean says which half it is in.
		r := new(big.Int).Mul(wide(sum), big.NewInt(4))
		r.Quo(r, big.NewInt(n)).Sqrt(r)
		r.Add(r, big.NewInt(1)).Rsh(r, 1)
		if got := sum.RootOfMean(n); got != r.Int64() {
			t.Fatalf("root of %v / %d = %d, want %v", wide(sum), n, got, r)
		}
	})
}

func TestMulDivDoesNotOverflow(t *testing.T) {
	if got := MulDiv(1<<62, 1<<62, 1); got != math.MaxInt64 {
		t.Errorf("got %d, want the largest", got)
	}
	if got := MulDiv(1<<62, 3, 6); got != 1<<61 {
		t.Errorf("got %d, want %d", got, int64(1)<<61)
	}
}

// Logarithm, exponential and power are those of math, to the last places of
// what math itself gives.
func TestPowers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64Range(1, 1<<62).Draw(t, "x")
		if got, want := float64(Log2(x))/One, math.Log2(float64(x)/One); math.Abs(got-want) > 1e-8 {
			t.Fatalf("log2 of %d = %v, want %v", x, got, want)
		}
		e := rapid.Int64Range(-30*One, 30*One).Draw(t, "e")
		if got, want := float64(Exp2(e))/One, math.Exp2(float64(e)/One); math.Abs(got-want) > 1e-9*want+1.0/One {
			t.Fatalf("2^%v = %v, want %v", float64(e)/One, got, want)
		}
		base := rapid.Int64Range(0, 20_000_000).Draw(t, "base")
		num := rapid.Int64Range(5, 20).Draw(t, "num")
		got, want := float64(Power(base, num, 10)), math.Pow(float64(base)/1e6, float64(num)/10)*1e6
		if math.Abs(got-want) > 2+1e-7*want {
			t.Fatalf("(%d/1e6)^%d/10 = %v, want %v", base, num, got, want)
		}
	})
}

// A larger base has no smaller power, and 1 stays 1.
func TestPowerIsMonotone(t *testing.T) {
	if got := Power(1_000_000, 16, 10); got != 1_000_000 {
		t.Errorf("1^1.6 = %d millionths", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(0, 20_000_000).Draw(t, "a")
		b := a + rapid.Int64Range(0, 1000).Draw(t, "more")
		num := rapid.Int64Range(5, 20).Draw(t, "num")
		if Power(a, num, 10) > Power(b, num, 10) {
			t.Fatalf("%d and %d to %d/10: %d > %d", a, b, num, Power(a, num, 10), Power(b, num, 10))
		}
	})
}

func TestFloorDiv(t *testing.T) {
	for _, tt := range []struct{ a, b, want int64 }{{7, 5, 1}, {-7, 5, -2}, {-10, 5, -2}, {-1, 5, -1}, {0, 5, 0}} {
		if got := FloorDiv(tt.a, tt.b); got != tt.want {
			t.Errorf("%d over %d = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// The root under a skew is Heron's product, to the last place: 3 S^2 - 6 sum of
// fourth powers = 3 (a+b+c)(b+c-a)(c+a-b)(a+b-c).
func TestSkewIsHerons(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(1, 100_000_000).Draw(t, "a")
		b := rapid.Int64Range(1, 100_000_000).Draw(t, "b")
		c := rapid.Int64Range(max(a-b, b-a)+1, a+b-1).Draw(t, "c")
		heron := Product(uint64(3*(a+b+c)*(b+c-a)), uint64((c+a-b)*(a+b-c)))
		s, root := uint64(a*a+b*b+c*c), heron.Root()
		want := int64(Sum{Lo: Product(s-min(s, root), 1_000_000_000_000).Over(s + root)}.Root())
		if got, ok := Skew(a, b, c); !ok || got != want {
			t.Fatalf("%d %d %d: %d, %v, want %d", a, b, c, got, ok, want)
		}
	})
	for _, tt := range []struct {
		a, b, c, want int64
		ok            bool
	}{{5, 5, 5, 0, true}, {1, 1, 2, 1_000_000, true}, {1, 1, 3, 0, false}, {0, 0, 0, 0, false}, {100_000_000, 100_000_000, 100_000_000, 0, true}} {
		if got, ok := Skew(tt.a, tt.b, tt.c); got != tt.want || ok != tt.ok {
			t.Errorf("%d %d %d: %d, %v", tt.a, tt.b, tt.c, got, ok)
		}
	}
}
