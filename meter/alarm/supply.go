package alarm

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// AddSupply takes what the meter says of the supply, for UNBALANCE. It returns
// the edges like [Machine.Add].
func (m *Machine) AddSupply(r *meter.SupplyReading, wall time.Time) []meter.Alarm {
	m.edges = m.edges[:0]
	if m.heardSupply && r.At < m.lastSupply {
		return m.edges
	}
	m.heardSupply, m.lastSupply = true, r.At
	for i := range m.tracks {
		t := &m.tracks[i]
		if t.cond != condUnbalance || t.off {
			continue
		}
		x := seeVUF(r)
		if out, closed := t.mean.add(x, r.At, wall, t.rule.Mean, false, m.cfg.Unbalance.Hold, false); closed {
			var s sight
			t.compare(&s, out)
			m.take(t, &s, r.At, wall)
		}
	}
	return m.edges
}

func seeVUF(r *meter.SupplyReading) seen {
	var v [meter.Phases]int64
	quality := meter.Good
	for i := range r.Line {
		x := see(r.Line[i])
		if x.quality == meter.Missing {
			return seen{ends: x.ends}
		}
		v[i], quality = x.value, min(quality, x.quality)
	}
	share, ok := unbalance(v[0], v[1], v[2])
	if !ok {
		return seen{ends: true}
	}
	return seen{value: int64(share / 10), quality: quality}
}

// highestLine is the highest voltage between phases that is taken as one, in mV.
const highestLine = 100_000_000

// unbalance returns the negative-sequence share of three voltages between
// phases, and false where they are none: they must close to a triangle.
func unbalance(a, b, c int64) (meter.PPM, bool) {
	if min(a, b, c) <= 0 || max(a, b, c) > highestLine || a >= b+c || b >= c+a || c >= a+b {
		return 0, false
	}
	share, ok := fixed.Skew(a, b, c)
	return meter.PPM(share), ok
}
