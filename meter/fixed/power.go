package fixed

import "math/bits"

// One is 1 in the numbers of this file, which have 32 binary places.
const One = 1 << 32

// roots are 2^(1/2), 2^(1/4), 2^(1/8) and so on, with 62 binary places.
var roots = [32]uint64{
	0x5a827999fcef3242, 0x4c1bf828c6dc54b8, 0x45cae0f1f545eb73, 0x42d561b3e6243d8a,
	0x4166c34c5615d0ec, 0x40b268f9de0183ba, 0x4058f6a7ecccd5b6, 0x402c6be96af2fb58,
	0x4016321b687027a8, 0x400b18178ba33b14, 0x40058bce410147e8, 0x4002c5d7bff71daf,
	0x400162e807ee7e5b, 0x4000b1730df6a524, 0x400058b9497b8152, 0x40002c5c955dd701,
	0x4000162e46d6f26c, 0x40000b1722757b1b, 0x4000058b90fd3e0c, 0x400002c5c86f3f26,
	0x40000162e433c79b, 0x400000b17218edd0, 0x40000058b90c3968, 0x4000002c5c860d54,
	0x400000162e4302d2, 0x4000000b17218073, 0x400000058b90bffc, 0x40000002c5c85fef,
	0x4000000162e42ff3, 0x40000000b17217f9, 0x4000000058b90bfc, 0x400000002c5c85fe,
}

// Log2 returns the logarithm to the base 2 of x / One, in units of 1 / One and
// cut off; x is above 0. Each squaring of a number between 1 and 2 gives one
// more binary place of its logarithm.
func Log2(x uint64) int64 {
	whole := bits.Len64(x) - 1
	m := x << (63 - whole) // 1 to 2, with 63 binary places
	log := int64(whole-32) * One
	for place := int64(One / 2); place > 0; place >>= 1 {
		hi, lo := bits.Mul64(m, m) // 1 to 4, with 62 binary places in hi
		if hi&(1<<63) != 0 {
			log += place
			m = hi
		} else {
			m = hi<<1 | lo>>63
		}
	}
	return log
}

// Exp2 returns 2^(x / One) in units of 1 / One, cut off; 1<<63 - 1 where it would
// not fit.
func Exp2(x int64) int64 {
	whole, part := FloorDiv(x, One), x&(One-1)
	switch {
	case whole >= 31:
		return 1<<63 - 1
	case whole < -33:
		return 0
	}
	m := uint64(1) << 62
	for i, r := range roots {
		if part&(One/2>>i) != 0 {
			hi, lo := bits.Mul64(m, r)
			m = hi<<2 | lo>>62
		}
	}
	return int64(m >> (30 - whole))
}

// Power returns (base / 1e6)^(num / den) in millionths, for base >= 0: the
// exponents of thermal models are tenths.
func Power(base, num, den int64) int64 {
	if base <= 0 {
		return 0
	}
	x := Product(uint64(base), One).Over(1_000_000)
	if x == 0 {
		return 0
	}
	log := Log2(x)
	p := uint64(Exp2(FloorDiv(log*num, den)))
	q := Product(p, 1_000_000)
	return int64(min(q.Hi<<32|q.Lo>>32, 1<<62))
}
