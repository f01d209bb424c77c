package alarm

import (
	"slices"

	"lvagent/meter"
)

// Names of the conditions, as an alarm's Kind.
const (
	FuseSuspected    = "FUSE_SUSPECTED"
	PhaseLost        = "PHASE_LOST"
	SupplyLost       = "SUPPLY_LOST"
	ExportOverload   = "EXPORT_OVERLOAD"
	ReversePower     = "REVERSE_POWER"
	NeutralRatioHigh = "NEUTRAL_RATIO"
	UnbalanceHigh    = "UNBALANCE"
	StaleReadings    = "STALE"
	FrozenReadings   = "FROZEN"
	MeasurementFault = "MEASUREMENT_FAULT"
)

// condition is one that needs no rule, by its place in conditions.
type condition uint8

const (
	condFuse condition = iota
	condPhase
	condSupply
	condExport
	condReverse
	condNeutral
	condUnbalance
	condStale
	condFrozen
	condMeasurement
	noCondition // a threshold
)

// conditions in the order in which a reading is shown to them. What inhibits
// another comes before it.
var conditions = [...]string{FuseSuspected, PhaseLost, SupplyLost, ExportOverload, ReversePower, NeutralRatioHigh, UnbalanceHigh,
	StaleReadings, FrozenReadings, MeasurementFault}

// Conditions returns the names of all conditions.
func Conditions() []string { return conditions[:] }

func conditionOf(name string) (condition, bool) {
	i := slices.Index(conditions[:], name)
	return condition(i), i >= 0
}

// ofWay reports whether the condition is of the way as a whole.
func (k condition) ofWay() bool {
	return k == condNeutral || k == condUnbalance || k == condStale || k == condFrozen
}

// watchOf returns what every condition has.
func (c *Config) watchOf(k condition) *Watch {
	return [...]*Watch{&c.Fuse.Watch, &c.Phase.Watch, &c.Supply.Watch, &c.Export.Watch, &c.Reverse.Watch, &c.Neutral.Watch,
		&c.Unbalance.Watch, &c.Stale, &c.Frozen, &c.Measurement}[k]
}

// Watch returns what can be set of the condition called name, or nil.
func (c *Config) Watch(name string) *Watch {
	if k, ok := conditionOf(name); ok {
		return c.watchOf(k)
	}
	return nil
}

// Quantities of conditions that are shares, in thousandths of a per cent.
const (
	quantityRatio = "n_ratio"
	quantityVUF   = "vuf"
)

// watchCondition adds a condition of a phase, or of the way.
func (m *Machine) watchCondition(k condition, p meter.Phase) {
	c := &m.cfg
	w := c.watchOf(k)
	if w.Disabled {
		return
	}
	r := Rule{Way: c.Way, Phase: p, Kind: Hi, OnDelay: w.OnDelay, OffDelay: w.OffDelay, Severity: w.Severity, Latch: w.Latch}
	quantity := ""
	switch k {
	case condFuse:
		r.Quantity, r.Threshold = I, int64(c.fuseFrom(p))
	case condPhase:
		r.Quantity, r.Kind, r.Threshold = V, Lo, int64(c.Supply.Below)
		r.Inhibit = []string{SupplyLost}
	case condSupply:
		r.Quantity, r.Kind, r.Threshold = V, Lo, int64(c.Supply.Below)
		r.Inhibit = []string{PhaseLost}
	case condExport:
		if c.Rating[p] == 0 {
			return
		}
		r.Quantity, r.Threshold = I, int64(c.Rating[p])
		r.Hysteresis = int64(or(c.Export.Hysteresis, c.Rating[p]*3/100))
	case condReverse:
		r.Quantity, r.Kind, r.Threshold, r.Hysteresis = P, Lo, int64(c.Reverse.Below), int64(c.Reverse.Hysteresis)
	case condNeutral: // in thousandths of a per cent from here on: ppm / 10
		r.Threshold, r.Hysteresis = int64(c.Neutral.Ratio/10), int64(c.Neutral.Hysteresis/10)
		quantity = quantityRatio
	case condUnbalance:
		r.Threshold, r.Hysteresis, r.Mean = int64(c.Unbalance.Above/10), int64(c.Unbalance.Hysteresis/10), c.Unbalance.Mean
		quantity = quantityVUF
	}
	if r.Quantity != 0 {
		quantity = r.Quantity.String()
	}
	id, name := r.Way+"."+conditions[k], identity{quantity: quantity, kind: conditions[k]}
	if !k.ofWay() {
		id, name.phase = r.Way+"."+p.String()+"."+conditions[k], p.String()
	}
	m.addTrack(r, k, id, name)
	if k == condUnbalance {
		m.tracks[len(m.tracks)-1].hold = c.Unbalance.Mean * 5 / 2
	}
}

// note keeps which conditions stand, announced or not, by phase.
func (m *Machine) note(t *track) {
	if t.cond == noCondition {
		return
	}
	bit := uint16(1) << t.cond
	for p := range m.standing {
		if !t.cond.ofWay() && meter.Phase(p) != t.rule.Phase {
			continue
		}
		if t.stands() {
			m.standing[p] |= bit
		} else {
			m.standing[p] &^= bit
		}
	}
}

// inhibited reports whether a condition stands that keeps t from being raised.
func (m *Machine) inhibited(t *track) bool {
	if t.rule.Quantity == N {
		return t.inhibit&(m.standing[0]|m.standing[1]|m.standing[2]) != 0
	}
	return t.inhibit&m.standing[t.rule.Phase] != 0
}

// Stands reports whether a condition of a phase holds, announced or not: who
// must act on it is not put off by an alarm that was shelved.
func (m *Machine) Stands(name string, p meter.Phase) bool {
	k, ok := conditionOf(name)
	return ok && m.standing[p]&(1<<k) != 0
}
