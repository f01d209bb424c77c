package modbus

import (
	"math"
	"slices"

	"lvagent/meter"
)

// decoder turns the words of one poll of one way into values. It keeps its room,
// so that a poll allocates nothing.
type decoder struct {
	p     *Profile
	setup Setup
	ratio [quantities]float64

	raw []uint64       // by slot
	why []meter.Reason // by slot: why raw means nothing; 0 when it does
	out cells

	off      meter.Reason // why the device does not measure this way; 0 when it does
	restarts uint64
	counted  bool // restarts is known
}

func newDecoder(p *Profile, s Setup) *decoder {
	d := &decoder{p: p, setup: s, raw: make([]uint64, len(p.regs)), why: make([]meter.Reason, len(p.regs))}
	if p.enabled != nil {
		d.off = meter.NoAnswer
	}
	if d.setup.Map == ([meter.Phases]meter.Phase{}) {
		d.setup.Map = inOrder
	}
	d.scale(p.ratios.of(s, [ratioClasses]float64{}))
	return d
}

// scale sets the ratios that the agent applies.
func (d *decoder) scale(r [ratioClasses]float64) {
	for q := range d.ratio {
		d.ratio[q] = 1
		if !d.p.ratios.byAgent {
			continue
		}
		if table[q].ct && quantity(q) == neutral {
			d.ratio[q] *= r[neutralCT]
		} else if table[q].ct {
			d.ratio[q] *= r[ct]
		}
		if table[q].vt {
			d.ratio[q] *= r[vt]
		}
	}
}

// forget makes every register unknown for the reason why.
func (d *decoder) forget(why meter.Reason) {
	for i := range d.why {
		d.raw[i], d.why[i] = 0, why
	}
}

// take keeps the words that answered a block.
func (d *decoder) take(b *block, words []uint16) {
	for i := range b.parts {
		p := &b.parts[i]
		at := p.addr - b.addr
		d.raw[p.slot], d.why[p.slot] = p.raw(words[at:at+p.size]), 0
	}
}

// fail notes why none of a block's registers is known.
func (d *decoder) fail(b *block, why meter.Reason) {
	for i := range b.parts {
		d.raw[b.parts[i].slot], d.why[b.parts[i].slot] = 0, why
	}
}

// refuse makes every value unknown for the reason why.
func (d *decoder) refuse(why meter.Reason) {
	for q := range d.out {
		for ph := range d.out[q] {
			d.out[q][ph] = none(why)
		}
	}
}

// absent makes every value one that the meter does not have.
func (d *decoder) absent() { d.refuse(meter.NotSupported) }

// decode makes the values of the poll. Fast are those of every poll, else those
// of the slow period.
func (d *decoder) decode(fast bool) {
	d.absent()
	for i := range d.p.values {
		v := &d.p.values[i]
		if (v.quantity < slowest) != fast {
			continue
		}
		x, why := v.compute(d.p.regs, d.raw, d.why, d.ratio[v.quantity])
		c := cell{value: x, quality: meter.Good}
		if why != 0 {
			c = none(why)
		}
		d.out[v.quantity][v.phase] = c
	}
	d.arrange()
	d.direct()
	d.judge(fast)
	if fast {
		d.neutral()
	}
}

// compute makes the value of its registers. What is not a usable number has a
// reason; its value is then 0 and means nothing.
func (v *value) compute(regs []reg, raw []uint64, whys []meter.Reason, ratio float64) (int64, meter.Reason) {
	x, why := v.operand(v.a, regs, raw, whys)
	if v.b != nowhere {
		y, whyB := v.operand(v.b, regs, raw, whys)
		if v.minus {
			y = -y
		}
		x, why = x+y, why|whyB
	}
	if v.sf != nowhere {
		n, whySF := regs[v.sf].number(raw[v.sf])
		why |= whys[v.sf] | whySF
		if n < -mostScale || n > mostScale { // 0x8000 is "not implemented"
			why |= meter.Sentinel
			n = 0
		}
		x = shift(x, int(n))
	}
	if v.sign != nowhere {
		why |= whys[v.sign]
		if raw[v.sign]&v.mask != 0 {
			x = -x
		}
	}
	if why != 0 {
		return 0, why
	}
	// The products are rounded before the sum on every CPU: a fused multiply-add
	// would make records differ between arm64 and amd64.
	x = math.Round(float64(x*float64(v.factor*ratio)) + float64(v.offset*ratio))
	// The range is checked on the float: an int64 that overflowed would look
	// like a value.
	if !(x >= v.low && x <= v.high) {
		return 0, meter.OutOfRange
	}
	return int64(x), 0
}

// mostScale is the largest power of ten of a scale factor register.
const mostScale = 10

// shift multiplies by a power of ten; dividing is exact where multiplying by a
// tenth is not.
func shift(x float64, n int) float64 {
	for ; n > 0; n-- {
		x *= 10
	}
	by := 1.0
	for ; n < 0; n++ {
		by *= 10
	}
	return x / by
}

// operand is one of the registers that a value is made of.
func (v *value) operand(slot int, regs []reg, raw []uint64, whys []meter.Reason) (float64, meter.Reason) {
	if whys[slot] != 0 {
		return 0, whys[slot]
	}
	if slices.Contains(v.invalid, raw[slot]) {
		return 0, meter.Sentinel
	}
	return regs[slot].number(raw[slot])
}

// arrange moves the values of the meter's inputs to the phases that they are
// connected to.
func (d *decoder) arrange() {
	m := d.setup.Map
	if m == inOrder {
		return
	}
	for q := range d.out {
		if table[q].values != meter.Phases {
			continue
		}
		before := d.out[q]
		for input, ph := range m {
			if quantity(q) == lineVoltage {
				// Between inputs k and k+1; the third phase names the pair.
				next := m[(input+1)%meter.Phases]
				ph = pair(ph, next)
			}
			d.out[q][ph] = before[input]
		}
	}
}

// pair is the place of the voltage between two phases: L1-L2, L2-L3, L3-L1.
func pair(a, b meter.Phase) meter.Phase {
	if (a+1)%meter.Phases == b {
		return a
	}
	return b
}

// direct sets the signs of power: as the load is described, and as transformers
// that are mounted the other way round need it.
func (d *decoder) direct() {
	for ph := range meter.Phases {
		p, q := &d.out[active][ph], &d.out[reactive][ph]
		if d.p.byLoad && q.quality != meter.Missing {
			switch {
			case p.quality == meter.Missing:
				*q = none(p.why)
			case p.value < 0:
				q.value = -q.value
			}
		}
		if d.setup.Invert[ph] {
			p.value, q.value = -p.value, -q.value
		}
	}
	in, out := &d.out[energyImport][0], &d.out[energyExport][0]
	switch n := countOf(d.setup.Invert); {
	case n == meter.Phases:
		*in, *out = *out, *in
	case n > 0:
		// The meter has added up what flows in with what flows out.
		in.doubt(meter.Missing, meter.Mismatch)
		out.doubt(meter.Missing, meter.Mismatch)
	}
}

func countOf(set [meter.Phases]bool) (n int) {
	for _, is := range set {
		if is {
			n++
		}
	}
	return n
}

// judge applies what the meter says of itself.
func (d *decoder) judge(fast bool) {
	if e := d.p.enabled; e != nil && fast {
		d.off = d.why[e.slot]
		if d.off == 0 && !e.hold(d.raw) {
			d.off = meter.Mismatch
		}
	}
	if d.off != 0 {
		d.spoil(meter.Missing, d.off)
	}
	if !fast {
		return
	}
	for i := range d.p.status {
		s := &d.p.status[i]
		if d.why[s.slot] == 0 && s.hold(d.raw) {
			for q := range s.of {
				for ph, of := range s.of[q] {
					if of {
						d.out[q][ph].doubt(s.quality, s.why)
					}
				}
			}
		}
	}
	if n := d.p.restarts; n != nowhere && d.why[n] == 0 {
		if d.counted && d.raw[n] != d.restarts {
			d.spoil(meter.Suspect, meter.Restarted)
		}
		d.restarts, d.counted = d.raw[n], true
	}
}

func (b *bits) hold(raw []uint64) bool { return raw[b.slot]&b.mask == b.want }

// spoil doubts every value that there could be.
func (d *decoder) spoil(quality meter.Quality, why meter.Reason) {
	for q := range d.out {
		for ph := range table[q].values {
			if c := &d.out[q][ph]; c.why&meter.NotSupported == 0 {
				c.doubt(quality, why)
			}
		}
	}
}

// neutral sets the neutral current of a way that has no measured one.
func (d *decoder) neutral() {
	n := &d.out[neutral][0]
	switch {
	case d.setup.Neutral == NeutralShared:
		*n = none(meter.NotSupported)
	case d.setup.Neutral == NeutralNone || !d.p.has(neutral):
		*n = phasorSum(&d.out)
	}
}

// Below 23 V a phase has no supply worth the name, and a power divided by its
// voltage is no current.
const leastVoltage = 23_000

// phasorSum derives the neutral current from power and voltage of the phases, as
// if the voltages stood at 120 degrees. It sees the fundamental only: the third
// harmonics of rectifiers, which add up in a neutral, it misses.
func phasorSum(out *cells) cell {
	// cos and sin of the angle of each phase's voltage: 0, -120 and +120 degrees.
	var cosine, sine = [meter.Phases]float64{1, -0.5, -0.5}, [meter.Phases]float64{0, -half3, half3}
	quality, why := meter.Good, meter.Derived
	var re, im float64
	for ph := range meter.Phases {
		v, p, q := &out[voltage][ph], &out[active][ph], &out[reactive][ph]
		worst := min(v.quality, p.quality, q.quality)
		quality, why = min(quality, worst), why|v.why|p.why|q.why
		if worst == meter.Missing || p.value == 0 && q.value == 0 {
			continue
		}
		if v.value < leastVoltage {
			quality, why = meter.Missing, why|meter.OutOfRange
			continue
		}
		// mW and mvar over V are mA.
		volts := float64(v.value) / 1e3
		a, r := float64(p.value)/volts, float64(q.value)/volts
		re += float64(a*cosine[ph]) + float64(r*sine[ph])
		im += float64(a*sine[ph]) - float64(r*cosine[ph])
	}
	if quality == meter.Missing {
		return none(why &^ meter.Derived)
	}
	n := math.Round(math.Sqrt(float64(re*re) + float64(im*im)))
	if n > table[neutral].high {
		return none(meter.OutOfRange)
	}
	return cell{value: int64(n), quality: quality, why: why}
}

const half3 = 0.8660254037844386 // half the root of three
