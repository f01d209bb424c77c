package spi

import (
	"math"

	"lvagent/meter"
)

// channels are A, B and C, each a voltage and a current of one phase.
const channels = 3

// none is the phase of a channel that is not used.
const none = -1

// scale turns codes into thousandths. It is where floats stop.
type scale struct {
	phase   [channels]int // of each channel, or none
	v, i, p [channels]float64
	n       float64 // 0: there is no neutral channel
}

// wired is the scale of a board that is connected as the site file says.
func (k scale) wired(to [meter.Phases]meter.Phase, invert [meter.Phases]bool) scale {
	for c, p := range k.phase {
		if p == none {
			continue
		}
		if to != [meter.Phases]meter.Phase{} {
			k.phase[c] = int(to[p])
		}
		if invert[k.phase[c]] {
			k.p[c] = -k.p[c]
		}
	}
	return k
}

// The largest codes. An input beyond full scale is clipped: its rms is then no
// measurement any more, and can reach that of a square wave. What is beyond that
// is no code of this chip.
const (
	mostRMS  = fullRMS * 145 / 100
	mostWatt = fullWatt * 21 / 10
)

// channel gathers the codes of one channel over a second.
type channel struct {
	v2, i2   uint64
	p, q     int64
	clipped  bool
	nonsense bool
}

// sums gathers the 200 ms values of a second, in codes.
type sums struct {
	n       int
	channel [channels]channel
	neutral channel // i2 only
}

// add takes one set of values.
func (s *sums) add(v, i, p, q *[channels]uint32, neutral uint32) {
	s.n++
	for c := range s.channel {
		s.channel[c].add(v[c], i[c], int32(p[c]), int32(q[c]))
	}
	s.neutral.add(0, neutral, 0, 0)
}

func (c *channel) add(v, i uint32, p, q int32) {
	c.clipped = c.clipped || v > fullRMS || i > fullRMS
	if v > mostRMS || i > mostRMS || math.Abs(float64(p)) > mostWatt || math.Abs(float64(q)) > mostWatt {
		c.nonsense = true
		return
	}
	c.v2 += uint64(v) * uint64(v)
	c.i2 += uint64(i) * uint64(i)
	c.p += int64(p)
	c.q += int64(q)
}

// quality is what the values of a channel are worth.
func (s *sums) quality(c *channel, why meter.Reason) (meter.Quality, meter.Reason) {
	switch {
	case c.nonsense:
		return meter.Missing, meter.OutOfRange
	case c.clipped:
		return meter.Suspect, why | meter.OutOfRange
	case s.n < enough:
		return meter.Suspect, why
	default:
		return meter.Good, 0
	}
}

// fill makes the second's reading: the rms of V and I, the mean of P and Q. Why
// says what kept the values that are not there.
func (s *sums) fill(r *meter.Reading, k *scale, why meter.Reason) {
	r.Fail(meter.NotSupported)
	for c := range s.channel {
		if k.phase[c] == none {
			continue
		}
		ch, ph := &s.channel[c], &r.Phase[k.phase[c]]
		quality, reason := s.quality(ch, why)
		ph.V = sample[meter.Millivolts](s.rms(ch.v2), k.v[c], quality, reason)
		ph.I = sample[meter.Milliamps](s.rms(ch.i2), k.i[c], quality, reason)
		ph.P = sample[meter.Milliwatts](s.mean(ch.p), k.p[c], quality, reason)
		ph.Q = sample[meter.Millivars](s.mean(ch.q), k.p[c], quality, reason)
	}
	if k.n != 0 {
		quality, reason := s.quality(&s.neutral, why)
		r.Neutral = sample[meter.Milliamps](s.rms(s.neutral.i2), k.n, quality, reason)
	}
}

func (s *sums) rms(squares uint64) float64 { return math.Sqrt(float64(squares) / float64(s.n)) }

func (s *sums) mean(sum int64) float64 { return float64(sum) / float64(s.n) }

// sample is code times factor in thousandths.
func sample[T meter.Quantity](code, factor float64, q meter.Quality, why meter.Reason) meter.Sample[T] {
	if q == meter.Missing {
		return meter.Sample[T]{Reason: why}
	}
	return meter.Sample[T]{Value: T(math.Round(code * factor)), Quality: q, Reason: why}
}

// periodUnit is the rate at which the period of the line is counted, in 65,536
// parts, in mHz. By the Linux driver it is 4,000 a second, by the rate of the
// signal path it would be 8,000. Both can't be near the line's frequency, so the
// period itself tells which holds.
const periodUnit = 4000 << 16 * 1000

// frequency is the line's frequency from a period's code.
func frequency(code uint32, hertz int) meter.Sample[meter.Millihertz] {
	low, high := float64(hertz)*850, float64(hertz)*1150
	for _, unit := range [...]float64{periodUnit, 2 * periodUnit} {
		if f := unit / (float64(code) + 1); f >= low && f <= high {
			return meter.Sample[meter.Millihertz]{Value: meter.Millihertz(math.Round(f)), Quality: meter.Good}
		}
	}
	return meter.Sample[meter.Millihertz]{Reason: meter.OutOfRange}
}

// distortion is a THD from its code, a signed number with 27 bits behind the
// point of which 4 is the largest.
func distortion(code uint32) meter.Sample[meter.PPM] {
	if int32(code) < 0 || code > 4*oneTHD {
		return meter.Sample[meter.PPM]{Reason: meter.OutOfRange}
	}
	return meter.Sample[meter.PPM]{Value: meter.PPM(math.Round(float64(code) * 1e6 / oneTHD)), Quality: meter.Good}
}
