package modbus

import (
	"errors"
	"fmt"
	"slices"

	"lvagent/meter"
)

// Meter reads one way. Like its client it belongs to one goroutine.
type Meter struct {
	client  *Client
	way     string
	unit    uint8
	profile *Profile

	// blocks starts as the profile's plan; a block that the meter refuses as a
	// whole is replaced by its parts.
	blocks  []block
	refused bool // splitting did not help: do not try again until it answers
	guard   int  // of those that it may have, the one in use
}

// NewMeter returns the meter of a way: unit on c's bus, read by profile p.
func NewMeter(c *Client, way string, unit uint8, p *Profile) *Meter {
	m := &Meter{client: c, way: way, unit: unit, profile: p, blocks: p.blocks}
	m.chooseGuard(false)
	return m
}

// chooseGuard sets the guard of the meter's unit, another one when the meter
// has refused the last.
func (m *Meter) chooseGuard(another bool) {
	if another {
		m.guard++
	}
	if all := guardsOf(m.blocks); len(all) > 0 {
		m.client.SetGuard(m.unit, all[m.guard%len(all)])
	}
}

// Way returns the way that the meter measures.
func (m *Meter) Way() string { return m.way }

// Read polls the meter. It sets every sample of r: to a value of this very
// poll, or to Missing with the reason. It returns an error only when the
// connection is gone; what was read before stays. It does not set r.At.
func (m *Meter) Read(r *meter.Reading) error {
	r.Way = m.way
	m.profile.begin(r)
	before, answered, split := m.blocks, false, false
	for i := 0; i < len(m.blocks); i++ {
		b := &m.blocks[i]
		words, err := m.ask(b)
		switch {
		case err == nil:
			b.decode(words, r)
			answered = true
		case isIllegalAddress(err) && !m.refused && len(b.fields) > 1:
			m.blocks = slices.Concat(m.blocks[:i], b.split(), m.blocks[i+1:])
			split = true
			m.chooseGuard(false)
			i-- // go on with the first part
		case keepsConnection(err):
			b.fail(r, reason(err))
		default:
			b.fail(r, reason(err))
			m.blocks = before
			m.chooseGuard(errors.Is(err, ErrGuard))
			return fmt.Errorf("read way %s: %w", m.way, err)
		}
	}
	switch {
	case split && answered:
		m.client.log.Warn("meter refuses a block, its parts are read apart",
			"way", m.way, "unit", m.unit, "profile", m.profile.id, "requests", len(m.blocks))
	case split:
		// It refuses the parts as well: ask the fewest questions.
		m.blocks, m.refused = before, true
		m.chooseGuard(false)
	case answered:
		m.refused = false
	}
	return nil
}

// ask reads the block's registers.
func (m *Meter) ask(b *block) ([]uint16, error) {
	if b.fc == 3 {
		return m.client.ReadHolding(m.unit, b.addr, b.n)
	}
	return m.client.ReadInput(m.unit, b.addr, b.n)
}
