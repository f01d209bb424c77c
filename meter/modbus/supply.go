package modbus

import "lvagent/meter"

// What is read at the slow period may take many requests. They are made one by
// one, so that the polls that come due meanwhile wait for one request at most.

// supplyRound is a reading of the slow period that is under way.
type supplyRound struct {
	round
	under      bool
	acquainted int // the meter's acquaintance at the begin
	opened     int // the client's connection at the begin
	ratio      int // of the ratio registers, the next one
	primary    float64
	unchecked  meter.Reason // why the ratio is not known to be what it was
}

// ratioRegister is one register of a ratio that is looked at again at each slow
// period.
type ratioRegister struct {
	*static
	class  ratioClass
	second bool // the secondary value
	last   bool // of its ratio
}

// ratioRegisters are the requests by which a changed ratio is noticed.
func (p *Profile) ratioRegisters() (all []ratioRegister) {
	for class, r := range p.ratios.class {
		if r == nil || r.primary == nil {
			continue
		}
		all = append(all, ratioRegister{r.primary, ratioClass(class), false, r.secondary == nil})
		if r.secondary != nil {
			all = append(all, ratioRegister{r.secondary, ratioClass(class), true, true})
		}
	}
	return all
}

// ReadsSlowly reports whether there is anything to ask of a way of the device at
// the slow period: values, or ratios that may have changed.
func (p *Profile) ReadsSlowly(way int) bool {
	return len(p.channel(way).slow)+len(p.ratioRegisters()) > 0
}

// ReadSupply is Read for what is read at the slow period. A meter without such
// registers is not asked.
func (m *Meter) ReadSupply(r *meter.SupplyReading) error {
	m.supply.under = false
	if len(m.slow.blocks)+len(m.ratios) > 0 {
		if why, err := m.ready(); why != 0 {
			m.noSupply(r, why)
			return m.lost(err)
		}
	}
	for {
		if done, err := m.StepSupply(r); done || err != nil {
			return err
		}
	}
}

// StepSupply makes the next request of ReadSupply. Only the last one, and one
// that fails, sets r. A round that was interrupted by an outage, and one in which
// another meter may have taken the place of the first, begins anew: its values
// are of one meter. It never asks a meter that is not known; that a poll does.
func (m *Meter) StepSupply(r *meter.SupplyReading) (done bool, err error) {
	s, k := &m.supply, &m.known
	switch {
	case len(m.slow.blocks)+len(m.ratios) == 0:
		m.noSupply(r, meter.NotSupported)
		return true, nil
	case m.profile.asksFirst() && !k.known:
		why := meter.NoAnswer
		if k.refused != "" {
			why = meter.Mismatch
		}
		m.noSupply(r, why)
		return true, nil
	case !s.under || s.acquainted != k.times || s.opened != m.client.opened:
		*s = supplyRound{round: m.slow.begin(), under: true, acquainted: k.times, opened: m.client.opened}
	}
	if s.next < len(m.slow.blocks) {
		done, err = m.step(&m.slow, &s.round)
		if err == nil && (!done || len(m.ratios) > 0) {
			return false, nil
		}
	} else {
		if done, err = m.stepRatio(); !done && err == nil {
			return false, nil
		}
	}
	m.endSupply(r)
	return true, m.lost(err)
}

// endSupply decodes what came.
func (m *Meter) endSupply(r *meter.SupplyReading) {
	m.supply.under = false
	d := m.slow.dec
	d.off = m.fast.dec.off
	switch {
	case m.known.refused != "":
		d.forget(meter.Mismatch)
	case m.supply.unchecked != 0:
		d.forget(m.supply.unchecked)
	}
	d.decode(false)
	if m.known.other {
		d.spoil(meter.Suspect, meter.Mismatch)
	}
	if len(m.slow.blocks) > 0 && !m.supply.answered {
		m.forget()
	}
	r.Way = m.setup.Way
	d.out.slow(r)
}

// noSupply makes every value that there could be unknown.
func (m *Meter) noSupply(r *meter.SupplyReading, why meter.Reason) {
	m.supply.under = false
	d := m.slow.dec
	d.off = m.fast.dec.off
	d.forget(why)
	d.decode(false)
	r.Way = m.setup.Way
	d.out.slow(r)
}

// stepRatio reads the next register of a ratio. A ratio that is not what it was
// takes every value away from now on. One that cannot be read any more is asked
// for with all the rest before the next poll counts.
func (m *Meter) stepRatio() (done bool, err error) {
	s := &m.supply
	at := &m.ratios[s.ratio]
	x, err := m.fetchNumber(at.static)
	if err != nil {
		m.forget()
		s.unchecked = reason(err)
		if keepsConnection(err) {
			err = nil
		}
		return true, err
	}
	c := m.profile.ratios.class[at.class]
	switch {
	case at.second:
		x = s.primary / x
	case at.last:
		x /= c.by
	default:
		s.primary = x
	}
	if at.last {
		if wrong := m.checkRatio(at.class, x); wrong != "" {
			m.known.times++
			m.judge(wrong)
			return true, nil
		}
	}
	s.ratio++
	return s.ratio == len(m.ratios), nil
}
