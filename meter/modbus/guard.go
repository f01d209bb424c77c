package modbus

import (
	"fmt"
	"slices"
	"time"
)

// A frame on a serial line does not say which request it answers: only unit,
// function and length can be compared, of an exception not even the length. After
// one reply that comes late, each request would be answered with the reply to the
// one before, for ever. So when something was wrong on a line, it is closed, left
// alone until late octets have passed, and opened again; and then each unit must
// answer its guard, a request of a length that none of its others has, before it
// is asked anything else. A unit answers in order, so what it owed from before
// has then come, or never will. A gateway keeps that order, or gives an answer
// only to the connection that asked; one that did neither could not be used.
//
// A guard that was not answered is owed itself: the next one has another length,
// or its answer would prove nothing.

const (
	// leastQuiet is how long a line is left alone at least.
	leastQuiet = 250 * time.Millisecond
	// latest is how late an answer may come.
	latest = 10 * time.Second
)

// Guard is a request whose answer has a length that no other answer of its unit
// has.
type Guard struct {
	Function uint8 // 3 or 4
	Addr, N  uint16
}

// answerKind is what can be told of an answer: all guards of a function and a
// length are alike.
func (g Guard) answerKind() Guard { return Guard{Function: g.Function, N: g.N} }

// standing is what is known of the answers of one unit on a serial line.
type standing struct {
	sure bool // its next answer is to what it is asked next
	// known: it was proven once, so that all that it owes is in owed.
	known  bool
	owed   map[Guard]time.Time // answers that may still come, and when they were asked for
	guards []Guard             // the best first
	last   Guard
	taken  bool // last was refused: begin elsewhere
}

// standing returns what is known of a unit.
func (c *Client) standing(unit uint8) *standing {
	s := c.units[unit]
	if s == nil {
		s = &standing{owed: map[Guard]time.Time{}}
		c.units[unit] = s
	}
	return s
}

// SetGuards sets the guards of a unit, the best first. It is of use on serial
// lines only; a unit without one can be written to there, and be read once a
// write was answered: the answer to a write repeats what was written.
func (c *Client) SetGuards(unit uint8, guards ...Guard) {
	if c.bus.serial() {
		c.standing(unit).guards = guards
	}
}

// doubt makes every unit prove itself anew: the line was closed.
func (c *Client) doubt() {
	for _, s := range c.units {
		s.sure = false
	}
}

// owes notes that an answer to q did not come.
func (c *Client) owes(q *request) {
	if c.bus.serial() && (q.op == readHolding || q.op == readInput) {
		c.standing(q.unit).owed[Guard{Function: q.function(), N: q.n}] = time.Now()
	}
}

// settled notes that a unit has answered q. The answer to a write may be that to
// the same write before; what the unit owes besides then stays owed.
func (c *Client) settled(q *request) {
	if !c.bus.serial() {
		return
	}
	s := c.standing(q.unit)
	s.sure = true
	if len(s.owed) > 0 && q.op <= readInput {
		clear(s.owed)
	}
}

// prove makes sure that the next answer of q's unit is to what it is asked
// next. The answer to a write of one register or coil proves that by itself, for
// it repeats what was written; that to a write of several does not.
func (c *Client) prove(q *request) error {
	if !c.bus.serial() || q.op == writeHolding || q.op == writeCoil {
		return nil
	}
	s := c.standing(q.unit)
	if s.sure {
		return nil
	}
	for kind, at := range s.owed {
		if time.Since(at) > c.latest {
			delete(s.owed, kind)
		}
	}
	g, ok := c.choose(q.unit, s)
	if !ok {
		return ErrUnproven
	}
	ask := request{op: readInput, unit: q.unit, addr: g.Addr, n: g.N}
	if g.Function == 3 {
		ask.op = readHolding
	}
	_, err := c.exchange(ask)
	s.last, s.taken = g, err != nil && keepsConnection(err)
	switch {
	case err == nil, s.taken && s.known && len(s.owed) == 0:
		// A refusal can only be of this guard when nothing else is owed.
		s.known = true
		c.settled(&ask)
		return nil
	case s.taken:
		// It may be the answer to an earlier request; that to the guard is then
		// still to come.
		err = fmt.Errorf("%w: %v", ErrGuard, err)
	}
	c.owes(&ask)
	return fmt.Errorf("guard, %w", ask.wrap(c.drop(err)))
}

// choose returns the best guard whose answer could not be that to anything else.
// After a refusal it is one at another place, if there is.
func (c *Client) choose(unit uint8, s *standing) (Guard, bool) {
	for _, elsewhere := range []bool{true, false} {
		for _, g := range s.guards {
			_, owed := s.owed[g.answerKind()]
			if owed || c.claimed[unit][g.answerKind()] || elsewhere && s.taken && g.Addr == s.last.Addr {
				continue
			}
			return g, true
		}
	}
	return Guard{}, false
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
