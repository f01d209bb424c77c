package window

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func wide(hi, lo uint64) *big.Int {
	n := new(big.Int).Lsh(new(big.Int).SetUint64(hi), 64)
	return n.Or(n, new(big.Int).SetUint64(lo))
}

// roundedRoot is the root of sum / weight, rounded half up: twice the root,
// cut off, says which half it is in.
func roundedRoot(sum *big.Int, weight int64) int64 {
	n := new(big.Int).Mul(sum, big.NewInt(4))
	n.Quo(n, big.NewInt(weight)).Sqrt(n)
	return n.Add(n, big.NewInt(1)).Rsh(n, 1).Int64()
}

// rounded is a / b, half away from zero.
func rounded(a, b *big.Int) int64 {
	n := new(big.Int).Mul(new(big.Int).Abs(a), big.NewInt(2))
	n.Add(n, b).Quo(n, new(big.Int).Mul(b, big.NewInt(2)))
	if a.Sign() < 0 {
		n.Neg(n)
	}
	return n.Int64()
}

func TestDivRound(t *testing.T) {
	tests := []struct {
		name    string
		a, b, q int64
	}{
		{"half up", 5, 2, 3},
		{"half down", -5, 2, -3},
		{"below half", 7, 5, 1},
		{"above half", -8, 5, -2},
		{"half of an odd divisor does not exist", 4, 3, 1},
		{"largest", math.MaxInt64, 1, math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := divRound(tt.a, tt.b); got != tt.q {
				t.Errorf("divRound(%d, %d) = %d, want %d", tt.a, tt.b, got, tt.q)
			}
		})
	}
}

func TestWholeNumbersAgreeWithBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Int64Range(-Largest, Largest).Draw(t, "v")
		weight := rapid.Int64Range(1, hour).Draw(t, "weight")
		extra := rapid.Uint64().Draw(t, "extra")

		m := Moments{}
		m.add(v, weight)
		want := new(big.Int).Mul(big.NewInt(v), big.NewInt(v))
		want.Mul(want, big.NewInt(weight))
		if got := wide(m.SquareHi, m.SquareLo); got.Cmp(want) != 0 {
			t.Fatalf("%d squared times %d = %v, want %v", v, weight, got, want)
		}
		m.merge(&Moments{SquareLo: extra}, 0)
		want.Add(want, new(big.Int).SetUint64(extra))
		if got := wide(m.SquareHi, m.SquareLo); got.Cmp(want) != 0 {
			t.Fatalf("sum = %v, want %v", got, want)
		}
		if got, want := m.squares().RootOfMean(weight), roundedRoot(want, weight); got != want {
			t.Fatalf("root of mean = %d, want %d", got, want)
		}
		a := rapid.Int64().Draw(t, "a")
		if got, want := divRound(a, weight), rounded(big.NewInt(a), big.NewInt(weight)); got != want {
			t.Fatalf("divRound(%d, %d) = %d, want %d", a, weight, got, want)
		}
	})
}

// Tens of kiloamperes and megawatts, and the largest value there is, over the
// longest period.
func TestExtremesDoNotOverflow(t *testing.T) {
	for _, size := range []int64{10_000_000, 10_000_000_000, Largest} {
		m, f, total := Moments{}, Flow{}, TotalSums{}
		for range hour / 100 {
			m.add(size, 100)
			f.add(-size, 100)
			total.add(3*size, -3*size, 100)
		}
		if got := m.squares().RootOfMean(hour); got != size {
			t.Errorf("rms of %d = %d", size, got)
		}
		if got := f.stats(hour); got.Mean != -size || got.Export != size || got.Import != 0 {
			t.Errorf("flow of %d = %+v", -size, got)
		}
		total.Weight = hour
		if got := total.record(); got.P != 3*size || got.Q != -3*size || got.ImportMWh != 3*size || got.PF != 707 {
			t.Errorf("total of %d = %+v", 3*size, got)
		}
	}
}
