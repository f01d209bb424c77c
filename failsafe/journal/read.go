package journal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// mostRows bounds how many loads or draws a step has; see mostGroups.
const mostRows = mostGroups

// cursor reads octets; once they make no sense it returns zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	v, k := binary.Uvarint(c.b)
	if k <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[k:]
	return v
}

func (c *cursor) varint() int64 {
	v, k := binary.Varint(c.b)
	if k <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[k:]
	return v
}

func (c *cursor) octet() byte {
	if len(c.b) == 0 {
		c.bad = true
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) octets(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) span() time.Duration {
	u := c.uvarint()
	z := u >> 1
	d := time.Duration(int64(z>>1)^-int64(z&1)) * time.Millisecond
	if u&1 == 1 {
		d += time.Duration(c.varint())
	}
	return d
}

// rows reads the rows of a step against those of the step before.
func (c *cursor) rows(last []row) []row {
	if n := c.uvarint(); n > mostRows || n > uint64(len(c.b)) {
		c.bad = true
		return nil
	} else if n > 0 {
		last = nil
		for range n {
			last = append(last, row{name: string(c.octets(c.uvarint()))})
		}
	}
	for i := range last {
		r := &last[i]
		what := c.octet()
		if what == rowSame {
			continue
		}
		if what > 15 {
			c.bad = true
		}
		if c.bad {
			return nil
		}
		r.at += c.span()
		if what&1 != 0 {
			r.bits = uint16(c.uvarint())
		}
		for p := range r.i {
			if what&(2<<p) != 0 {
				r.i[p] += meter.Milliamps(c.varint())
			}
		}
	}
	return last
}

// ReadSteps gives each step of a block's contents to yield, until it returns
// false. The engine has these groups. The step is the caller's to keep.
func ReadSteps(body []byte, groups []string, yield func(*Step) bool) error {
	return readSteps(body, func(s *Step, g uint64, f failsafe.Feedback) bool {
		if g >= uint64(len(groups)) {
			return false
		}
		f.Group = groups[g]
		s.In.Feedback = append(s.In.Feedback, f)
		return true
	}, yield)
}

// ReadLoads does the same for whoever wants to know what was measured alone, and
// does not know the groups: there are no answers of actuators in the steps.
func ReadLoads(body []byte, yield func(*Step) bool) error {
	return readSteps(body, func(*Step, uint64, failsafe.Feedback) bool { return true }, yield)
}

func readSteps(body []byte, answer func(*Step, uint64, failsafe.Feedback) bool, yield func(*Step) bool) error {
	c := &cursor{b: body}
	var last before
	n := c.uvarint()
	for ; len(c.b) > 0 && !c.bad; n++ {
		what := c.octet()
		s := &Step{N: n, Stop: what&isStop != 0}
		gone := c.span()
		s.Now = last.now + gone
		if what&hasWall != 0 {
			sec, nsec := c.varint(), c.uvarint()
			if nsec >= uint64(time.Second) || sec < -1<<40 || sec > 1<<40 {
				c.bad = true
				break
			}
			s.Wall = time.Unix(sec, int64(nsec)).UTC()
		} else {
			s.Wall = last.wall.Add(gone)
		}
		if what&hasClock != 0 {
			last.clock = c.octet()
		}
		if what&hasRecords != 0 {
			s.First, s.Records = c.uvarint(), c.uvarint()
		}
		in := &s.In
		if what&hasLoads != 0 {
			last.loads = c.rows(last.loads)
			for i := range last.loads {
				in.Loads = append(in.Loads, last.loads[i].load())
			}
		}
		if what&hasDraws != 0 {
			last.draws = c.rows(last.draws)
			for i := range last.draws {
				in.Draws = append(in.Draws, last.draws[i].draw())
			}
		}
		if what&hasFeedback != 0 {
			for range c.uvarint() {
				g := c.uvarint()
				told := c.varint()
				limit := told + c.varint()
				if c.bad || !answer(s, g>>1, failsafe.Feedback{Told: meter.Milliamps(told), Limit: meter.Milliamps(limit), OK: g&1 == 1}) {
					c.bad = true
					break
				}
			}
		}
		if what&hasRest != 0 {
			if err := rest(c.octets(c.uvarint()), in); err != nil {
				return fmt.Errorf("step %d: %w: %w", n, ErrDamaged, err)
			}
		}
		in.Clock, in.Suspect = meter.Clock(last.clock>>1), last.clock&1 == 1
		last.now, last.wall = s.Now, s.Wall
		if c.bad {
			break
		}
		if !yield(s) {
			return nil
		}
	}
	if c.bad {
		return fmt.Errorf("step %d: %w", n, ErrDamaged)
	}
	return nil
}

// rest reads the rare inputs beside those that were read.
func rest(text []byte, in *failsafe.Inputs) error {
	loads, draws, feedback := in.Loads, in.Draws, in.Feedback
	*in = failsafe.Inputs{}
	if err := json.Unmarshal(text, in); err != nil {
		return err
	}
	if loads != nil {
		in.Loads = loads
	}
	if draws != nil {
		in.Draws = draws
	}
	if feedback != nil {
		in.Feedback = feedback
	}
	return nil
}

// FirstWall returns the wall time of the first step of a block's contents, for
// which nothing else need be known.
func FirstWall(body []byte) (at time.Time, known bool) {
	c := &cursor{b: body}
	c.uvarint()
	what := c.octet()
	gone := c.span()
	at = time.Time{}.Add(gone)
	if what&hasWall != 0 {
		sec, nsec := c.varint(), c.uvarint()
		at = time.Unix(sec, int64(nsec)).UTC()
	}
	return at, !c.bad
}
