package modbus

import (
	"fmt"
	"slices"
	"time"
)

// A frame on a serial line does not say which request it answers: only unit,
// function and length can be compared. After one reply that comes late, each
// request would be answered with the reply to the one before, for ever. So when
// something was wrong on a line, it is closed, left alone until late octets have
// passed, and opened again; and then each unit must answer a request that none
// of its others can be confused with, before it is asked anything else. A unit
// answers in order, so what it owed from before has then come, or never will.

// leastQuiet is how long a line is left alone at least.
const leastQuiet = 250 * time.Millisecond

// Guard is a request whose answer has a length that no other answer of its unit
// has.
type Guard struct {
	Function uint8 // 3 or 4
	Addr, N  uint16
}

// SetGuard sets the guard of a unit. It is of use on serial lines only; a unit
// without one can be written to there, and be read once a write was answered:
// the answer to a write repeats what was written.
func (c *Client) SetGuard(unit uint8, g Guard) {
	if c.bus.serial() {
		c.guards[unit] = g
	}
}

// prove makes sure that the next answer of q's unit is to what it is asked
// next.
func (c *Client) prove(q *request) error {
	if !c.bus.serial() || c.sure[q.unit] || q.op == writeHolding || q.op == writeCoil {
		return nil
	}
	g, ok := c.guards[q.unit]
	if !ok {
		return ErrUnproven
	}
	ask := request{op: readInput, unit: q.unit, addr: g.Addr, n: g.N}
	if g.Function == 3 {
		ask.op = readHolding
	}
	_, err := c.exchange(ask)
	if err != nil && keepsConnection(err) {
		// An exception proves nothing: it may be the answer to an earlier
		// request, and the answer to this one is then still to come.
		err = fmt.Errorf("%w: %v", ErrGuard, err)
	}
	if err != nil {
		return fmt.Errorf("guard, %w", ask.wrap(c.drop(err)))
	}
	c.sure[q.unit] = true
	return nil
}

// settle waits until a serial line may be opened: the port is let go of, and
// what came late has passed.
func (c *Client) settle() error {
	if !c.bus.serial() {
		return nil
	}
	if rest := time.Until(c.quietUntil); rest > 0 {
		time.Sleep(rest)
	}
	if c.last == nil {
		return nil
	}
	c.timer.Reset(c.limit)
	defer c.timer.Stop()
	select {
	case <-c.last.gone:
		c.last = nil
		return nil
	case <-c.timer.C:
		return fmt.Errorf("the port is still in use by the connection before: %w", ErrTimeout)
	}
}

// claim notes that an answer of a unit may be so long; no guard of it then is.
func (c *Client) claim(unit, fc uint8, n uint16) {
	if !c.bus.serial() {
		return
	}
	if c.claimed[unit] == nil {
		c.claimed[unit] = map[Guard]bool{}
	}
	c.claimed[unit][Guard{Function: fc, N: n}] = true
}

// guardsOf returns the guards that a unit may have, the best first: beginnings
// of its blocks that are as long as no other answer. Many meters refuse to be
// read up to the middle of a value, so these come last.
func (c *Client) guardsOf(unit uint8, blocks []block) (guards []Guard) {
	var whole, part []Guard
	for i := range blocks {
		b := &blocks[i]
		if b.whole {
			continue // it is read as a whole or not at all
		}
		free := func(n uint16) bool { return n < b.n && !c.claimed[unit][Guard{Function: b.fc, N: n}] }
		for _, p := range b.parts {
			if n := uint16(p.end() - uint32(b.addr)); free(n) {
				whole = append(whole, Guard{b.fc, b.addr, n})
			}
		}
		for n := uint16(1); n <= 2; n++ {
			if free(n) {
				part = append(part, Guard{b.fc, b.addr, n})
			}
		}
	}
	return slices.Concat(whole, part)
}
