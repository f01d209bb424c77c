package modbus

import (
	"slices"

	"lvagent/meter"
)

// quantity is the measured quantity that a register holds.
type quantity uint8

const (
	voltage quantity = iota
	current
	active
	reactive
	neutral
	slowest // from here on: what is read at the slow period
)

const (
	frequency quantity = slowest + iota
	lineVoltage
	thdVoltage
	thdCurrent
	dips
	swells
	interruptions
	energyImport
	energyExport
	temperature
	quantities
)

// unit is a unit that a profile may name, with what it is of the stored one.
type unit struct {
	name   string
	factor float64
}

// described is what holds of a quantity whatever the meter.
type described struct {
	name   string
	values int
	units  []unit
	// stored is what one of the unit in which ranges are given is when stored.
	stored float64
	// low and high bound plausible values, as stored, where the profile does
	// not say. A raised value that is wrong would curtail a street; a value out
	// of range is Missing.
	low, high float64
	// ct and vt say which instrument transformers the value went through.
	ct, vt bool
}

var (
	volts    = []unit{{"V", 1e3}, {"mV", 1}, {"kV", 1e6}}
	amperes  = []unit{{"A", 1e3}, {"mA", 1}, {"kA", 1e6}}
	percents = []unit{{"%", 1e4}, {"1", 1e6}}
	counts   = []unit{{"1", 1}}
	degrees  = []unit{{"°C", 1e3}, {"C", 1e3}}
	energies = []unit{{"Wh", 1}, {"kWh", 1e3}, {"MWh", 1e6}}
)

var table = [quantities]described{
	voltage:  {"v", 3, volts, 1e3, 0, 1e6, false, true},
	current:  {"i", 3, amperes, 1e3, 0, 1e7, true, false},
	active:   {"p", 3, []unit{{"W", 1e3}, {"mW", 1}, {"kW", 1e6}}, 1e3, -1e10, 1e10, true, true},
	reactive: {"q", 3, []unit{{"var", 1e3}, {"mvar", 1}, {"kvar", 1e6}}, 1e3, -1e10, 1e10, true, true},
	neutral:  {"n", 1, amperes, 1e3, 0, 1e7, true, false},

	frequency:     {"f", 1, []unit{{"Hz", 1e3}, {"mHz", 1}}, 1e3, 1, 1e5, false, false},
	lineVoltage:   {"v_line", 3, volts, 1e3, 0, 2e6, false, true},
	thdVoltage:    {"thd_v", 3, percents, 1e4, 0, 1e7, false, false},
	thdCurrent:    {"thd_i", 3, percents, 1e4, 0, 1e7, false, false},
	dips:          {"dips", 1, counts, 1, 0, 1e12, false, false},
	swells:        {"swells", 1, counts, 1, 0, 1e12, false, false},
	interruptions: {"interruptions", 1, counts, 1, 0, 1e12, false, false},
	energyImport:  {"wh_import", 1, energies, 1, 0, 1e15, true, true},
	energyExport:  {"wh_export", 1, energies, 1, 0, 1e15, true, true},
	temperature:   {"temperature", 1, degrees, 1e3, -50e3, 200e3, false, false},
}

// quantityNames are those of all quantities, fastNames those of a [meter.Reading].
var quantityNames, fastNames = func() (all, fast []string) {
	for _, d := range table {
		all = append(all, d.name)
	}
	return all, all[:slowest:slowest]
}()

func (q quantity) String() string { return table[q].name }

// values is how many values of the quantity a way has.
func (q quantity) values() int { return table[q].values }

// factor returns what one of the named unit is when stored.
func (q quantity) factor(name string) (float64, bool) {
	i := slices.IndexFunc(table[q].units, func(u unit) bool { return u.name == name })
	if i < 0 {
		return 0, false
	}
	return table[q].units[i].factor, true
}

func (q quantity) unitNames() (names []string) {
	for _, u := range table[q].units {
		names = append(names, u.name)
	}
	return names
}

// cell is one decoded value, as stored.
type cell struct {
	value   int64
	quality meter.Quality
	why     meter.Reason
}

// none is a value that is not known.
func none(why meter.Reason) cell { return cell{why: why} }

// doubt makes the value at best quality, for the reason why.
func (c *cell) doubt(quality meter.Quality, why meter.Reason) {
	switch {
	case c.quality == meter.Missing:
		c.why |= why
	case quality == meter.Missing:
		*c = none(why)
	default:
		c.quality = min(c.quality, quality)
		c.why |= why
	}
}

func sample[T meter.Quantity](c cell) meter.Sample[T] {
	return meter.Sample[T]{Value: T(c.value), Quality: c.quality, Reason: c.why}
}

// cells are the values of one way.
type cells [quantities][meter.Phases]cell

// fast puts what is measured at each poll into r.
func (c *cells) fast(r *meter.Reading) {
	for ph := range r.Phase {
		r.Phase[ph] = meter.PhaseReading{
			V: sample[meter.Millivolts](c[voltage][ph]),
			I: sample[meter.Milliamps](c[current][ph]),
			P: sample[meter.Milliwatts](c[active][ph]),
			Q: sample[meter.Millivars](c[reactive][ph]),
		}
	}
	r.Neutral = sample[meter.Milliamps](c[neutral][0])
}

// slow puts what is measured at the slow period into r.
func (c *cells) slow(r *meter.SupplyReading) {
	r.Frequency = sample[meter.Millihertz](c[frequency][0])
	for ph := range meter.Phases {
		r.Line[ph] = sample[meter.Millivolts](c[lineVoltage][ph])
		r.THDV[ph] = sample[meter.PPM](c[thdVoltage][ph])
		r.THDI[ph] = sample[meter.PPM](c[thdCurrent][ph])
	}
	r.Dips = sample[meter.Count](c[dips][0])
	r.Swells = sample[meter.Count](c[swells][0])
	r.Interruptions = sample[meter.Count](c[interruptions][0])
	r.ImportWh = sample[meter.WattHours](c[energyImport][0])
	r.ExportWh = sample[meter.WattHours](c[energyExport][0])
	r.Temperature = sample[meter.Millicelsius](c[temperature][0])
}
