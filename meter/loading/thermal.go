package loading

import (
	"slices"
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// one is 1 in millionths.
const one = int64(meter.Whole)

// warmer moves a heat towards its target by one step of a time constant of tau
// steps, rounded up: a model that rounds must round to the hot side.
func warmer(heat, target, tau int64) int64 {
	return heat - fixed.FloorDiv(heat-target, tau)
}

// Cable is the model of a cable: heat follows the square of the current over its
// rating with one time constant.
type Cable struct {
	Tau int64 // minutes
}

// step moves a heat by a minute with the given square of current over rating.
func (c *Cable) step(heat, square int64) int64 { return warmer(heat, square, c.Tau) }

// Fuse is the model of a fuse and its carrier: the carrier warms like a cable,
// with the rating as it is derated in its enclosure; beyond that, the link uses
// up its melting time.
type Fuse struct {
	Rating meter.Milliamps // of the link
	Carry  meter.Milliamps // what it carries for ever in its enclosure
	Tau    int64           // minutes
	Curve  []Melting       // rising currents, falling times
}

// Melting is one point of a time-current curve.
type Melting struct {
	Multiple meter.PPM // of the rating
	Time     time.Duration
}

// rate returns how much of its melting time a link uses up at a current, in
// millionths of a millionth a millisecond. Between two points of the curve the
// rate is a straight line over the square of the current: curves fall faster
// than that, so the line lies on the fast side. Beyond the last point it is the
// last point's.
func (f *Fuse) rate(square int64) int64 {
	i, found := slices.BinarySearchFunc(f.Curve, square, func(m Melting, sq int64) int {
		switch s := squareOf(m.Multiple); {
		case s < sq:
			return -1
		case s > sq:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return f.Curve[i].rate()
	case i == 0:
		return 0
	case i == len(f.Curve):
		return f.Curve[i-1].rate()
	}
	a, b := f.Curve[i-1], f.Curve[i]
	from, to := squareOf(a.Multiple), squareOf(b.Multiple)
	return a.rate() + fixed.MulDiv(b.rate()-a.rate(), square-from, to-from)
}

// rate is one over the melting time.
func (m Melting) rate() int64 { return one * one / max(1, m.Time.Milliseconds()) }

func squareOf(m meter.PPM) int64 { return fixed.MulDiv(int64(m), int64(m), one) }

// step moves a heat by a minute. Square is over Carry, burnt is what the link used
// up of its melting time in that minute.
func (f *Fuse) step(heat, square, burnt int64) int64 {
	if burnt == 0 {
		return warmer(heat, square, f.Tau)
	}
	return max(warmer(heat, square, f.Tau), heat+burnt)
}

// Transformer is the model of IEC 60076-7 by its difference equations with steps
// of one minute: the oil over the surroundings, and the hot spot of each winding
// over the oil.
type Transformer struct {
	Rated    meter.Milliamps // of a phase
	OilRise  int64           // K at rated load, thousandths
	Gradient int64           // hot spot over oil at rated load, thousandths of a K
	LossRate int64           // load losses over losses without load, thousandths
	OilTau   int64           // minutes
	CoilTau  int64           // minutes
	X, Y     int64           // exponents, tenths
	K11      int64           // tenths
	K21      int64           // tenths
	K22      int64           // tenths

	HotSpotLimit, OilLimit int64 // °C, thousandths: Theta is 1 there
	Enclosure              int64 // K, thousandths: how much warmer than outside
}

// Distribution returns the set of IEC 60076-7 for distribution transformers with
// natural cooling (ONAN). Its limits are those of that guide for normal cyclic
// loading.
func Distribution(rated meter.Milliamps) Transformer {
	return Transformer{
		Rated: rated, OilRise: 55_000, Gradient: 23_000, LossRate: 5_000, OilTau: 180, CoilTau: 4,
		X: 8, Y: 16, K11: 10, K21: 10, K22: 20, HotSpotLimit: 120_000, OilLimit: 105_000, Enclosure: 10_000,
	}
}

// Heat is the state of a transformer's model, in millionths of a K.
type Heat struct {
	Oil        int64               // top oil over its surroundings
	Fast, Slow [meter.Phases]int64 // hot spot over oil is Fast - Slow
}

// mostLoad is the highest multiple of the rated current that the models take.
const mostLoad = 20 * one

// load returns a current over the rated one.
func (t *Transformer) load(square uint64) int64 {
	amps := int64(fixed.Sum{Lo: square}.Root())
	return min(fixed.MulDiv(amps, one, int64(t.Rated)), mostLoad)
}

// step moves h by a minute with the loads k of the phases.
func (t *Transformer) step(h Heat, k [meter.Phases]int64) Heat {
	return t.approach(h, t.steady(k))
}

// approach moves h by a minute towards the state that it would end in.
func (t *Transformer) approach(h, end Heat) Heat {
	h.Oil = slower(h.Oil, end.Oil, t.K11*t.OilTau, 10)
	for p := range h.Fast {
		h.Fast[p] = slower(h.Fast[p], end.Fast[p], t.K22*t.CoilTau, 10)
		h.Slow[p] = slower(h.Slow[p], end.Slow[p], t.OilTau*10, t.K22)
	}
	return h
}

// steady returns the state that loads held for ever end in.
func (t *Transformer) steady(k [meter.Phases]int64) (h Heat) {
	var squares int64
	for p, x := range k {
		squares += fixed.MulDiv(x, x, one)
		rise := fixed.MulDiv(fixed.Power(x, t.Y, 10), t.Gradient, 1000)
		h.Fast[p], h.Slow[p] = rise*t.K21/10, rise*(t.K21-10)/10
	}
	// ((1 + R K^2) / (1 + R))^x, with the losses of the three phases together.
	losses := (1000*one + t.LossRate*(squares/meter.Phases)) / (1000 + t.LossRate)
	h.Oil = fixed.MulDiv(fixed.Power(losses, t.X, 10), t.OilRise, 1000)
	return h
}

// slower moves a heat towards its target by one step of a time constant of
// num / den steps.
func slower(heat, target, num, den int64) int64 {
	return heat - fixed.FloorDiv((heat-target)*den, num)
}

// hotSpot returns the temperature of a winding's hot spot, in thousandths of °C.
func (t *Transformer) hotSpot(h *Heat, p int, ambient int64) int64 {
	return ambient + (h.Oil+h.Fast[p]-h.Slow[p])/1000
}

// theta returns how near a winding and the oil are to their limits, counted from
// the surroundings.
func (t *Transformer) theta(h *Heat, p int, ambient int64) int64 {
	share := func(rise, limit int64) int64 {
		room := (limit - ambient) * 1000 // millionths of a K
		if room <= 0 {
			return 10 * one
		}
		return min(fixed.MulDiv(max(rise, 0), one, room), 10*one)
	}
	return max(share(h.Oil+h.Fast[p]-h.Slow[p], t.HotSpotLimit), share(h.Oil, t.OilLimit))
}

// ageing returns the relative ageing of insulation without thermal upgrade,
// 2^((hot spot - 98) / 6), at most a thousand.
func ageing(hotSpot int64) meter.PPM {
	x := fixed.FloorDiv((hotSpot-98_000)*fixed.One, 6_000)
	if x >= 10*fixed.One {
		return 1000 * meter.Whole
	}
	return min(meter.PPM(fixed.MulDiv(fixed.Exp2(x), one, fixed.One)), 1000*meter.Whole)
}
