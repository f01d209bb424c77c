package message

import (
	"time"

	"lvagent/meter"
)

// AppendCapacity appends how loaded each way is and what it could still carry, at
// t (R19). Shares are in percent, theta is 1 at what is permitted for ever.
func AppendCapacity(dst []byte, agent string, t time.Time, ways []meter.Capacity) []byte {
	w := head(dst, agent)
	w.instant("t", t)
	w.openArray("ways")
	for i := range ways {
		w.capacity(&ways[i])
	}
	w.shutArray()
	w.shut()
	return w.b
}

func (w *writer) capacity(c *meter.Capacity) {
	w.open("")
	w.text("way", c.Way)
	w.text("season", c.Season)
	for i, p := range c.Phase {
		name := meter.Phase(i).String()
		if p == nil || !p.Known {
			w.null(name)
			continue
		}
		w.open(name)
		w.decimal("i", int64(p.I), tenths)
		w.decimal("limit_a", int64(p.Limit), tenths)
		w.text("basis", p.Basis)
		w.decimal("percent", int64(p.Share)/10, tenths)
		w.decimal("free_a", int64(p.Free), tenths)
		w.decimal("theta", int64(p.Theta)/1000, full)
		w.text("by", p.By)
		if p.Reaches {
			w.integer("to_limit_s", int64(p.ToLimit/time.Second))
		} else {
			w.null("to_limit_s")
		}
		w.shut()
	}
	w.openArray("flags")
	for _, f := range []struct {
		is   bool
		name string
	}{{c.Assumed, "LOAD_ASSUMED"}, {c.Warm, "WARM_START"}, {c.AmbientAssumed, "AMBIENT_ASSUMED"}} {
		if f.is {
			w.text("", f.name)
		}
	}
	w.shutArray()
	if t := c.Transformer; t != nil {
		w.open("transformer")
		w.decimal("ambient_c", t.Ambient, tenths)
		w.decimal("top_oil_c", t.TopOil, tenths)
		w.decimal("hot_spot_c", t.HotSpot, tenths)
		w.decimal("ageing", int64(t.Ageing)/1000, full)
		w.decimal("aged_h", t.AgedHours, tenths)
		w.shut()
	}
	w.demand(&c.Demand)
	w.shut()
}

func (w *writer) demand(d *meter.Demand) {
	w.open("day")
	w.second("start", d.Day)
	w.factor("load_factor", d.LoadFactor)
	w.factor("loss_load_factor", d.LossFactor)
	w.factor("loss_load_factor_7d", d.LossFactor7)
	w.flag("cyclic_earned", d.CyclicEarned)
	w.apparent("peak", d.Peak, d.PeakAt)
	for p, amps := range d.PhasePeak {
		if d.PhasePeakAt[p].IsZero() {
			continue
		}
		w.open(meter.Phase(p).String())
		w.decimal("i", int64(amps), tenths)
		w.second("start", d.PhasePeakAt[p])
		w.shut()
	}
	w.shut()
	if d.Firm == 0 {
		return
	}
	w.open("firm")
	w.decimal("kva", d.Firm/1000, tenths)
	w.apparent("last", d.Last, d.LastAt)
	w.apparent("peak", d.EverPeak, d.EverPeakAt)
	if d.LastAt.IsZero() {
		w.null("last_percent")
		w.null("peak_percent")
	} else {
		w.decimal("last_percent", d.Last*100_000/d.Firm, tenths)
		w.decimal("peak_percent", d.EverPeak*100_000/d.Firm, tenths)
	}
	w.integer("over_80", int64(d.Over80))
	w.integer("over_110", int64(d.Over110))
	w.integer("over_120", int64(d.Over120))
	w.shut()
}

func (w *writer) factor(name string, f meter.PPM) {
	if f == 0 {
		w.null(name)
		return
	}
	w.decimal(name, int64(f)/1000, full)
}

// apparent writes a power in mVA as kVA, with the start of its period.
func (w *writer) apparent(name string, mva int64, at time.Time) {
	if at.IsZero() {
		w.null(name)
		return
	}
	w.open(name)
	w.decimal("kva", mva/1000, tenths)
	w.second("start", at)
	w.shut()
}
