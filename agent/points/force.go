package points

import (
	"fmt"
	"math"
	"time"

	"lvagent/dnp3"
)

// Bounds of a force.
const (
	LongestForce = 2 * time.Hour
	mostForces   = 64
)

// Force makes masters see a value that is not measured, for commissioning point
// by point: with LOCAL_FORCED, and only until its time is over. It feeds nothing
// but the point: no limit and no alarm comes of it.
func (d *Database) Force(t dnp3.Type, index uint16, v float64, lasts, now time.Duration, wall time.Time) error {
	i, err := d.find(t, index)
	switch {
	case err != nil:
		return err
	case t == dnp3.BinaryOutput || t == dnp3.AnalogOutput:
		return fmt.Errorf("force %v %d: an output shows what is in force, and nothing else", t, index)
	case lasts <= 0 || lasts > LongestForce:
		return fmt.Errorf("force %v %d: for %v, must be more than 0 and at most %v", t, index, lasts, LongestForce)
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Errorf("force %v %d: %v is no number", t, index, v)
	case t == dnp3.BinaryInput && v != 0 && v != 1:
		return fmt.Errorf("force %v %d: a binary is 0 or 1, not %v", t, index, v)
	case t == dnp3.Counter && (v < 0 || v != math.Trunc(v)):
		return fmt.Errorf("force %v %d: a counter is a whole number, not %v", t, index, v)
	case len(d.force) >= mostForces:
		return fmt.Errorf("force %v %d: %d points are forced already; end one first", t, index, mostForces)
	}
	d.force[i] = now + lasts
	d.out = append(d.out, dnp3.Change{Type: t, Index: index, Number: v, Flags: dnp3.Online | dnp3.LocalForced, Time: wall.UnixMilli()})
	d.flush()
	return nil
}

// Unforce ends a force before its time.
func (d *Database) Unforce(t dnp3.Type, index uint16) error {
	i, err := d.find(t, index)
	if err != nil {
		return err
	}
	if _, is := d.force[i]; !is {
		return fmt.Errorf("%v %d is not forced", t, index)
	}
	d.unforce(i)
	d.flush()
	return nil
}

func (d *Database) unforce(i int) {
	delete(d.force, i)
	c := d.real[i]
	if !d.known[i] {
		c = dnp3.Change{Type: d.rows[i].Type, Index: d.rows[i].Index, Flags: dnp3.Restart}
	}
	d.out = append(d.out, c)
}

// Forced is a point that is forced.
type Forced struct {
	Point string        `json:"point"`
	Type  string        `json:"type"`
	Index uint16        `json:"index"`
	Left  time.Duration `json:"left"`
}

// Forced returns what is forced now. A substation is not left with any.
func (d *Database) Forced(now time.Duration) (all []Forced) {
	for i := range d.rows {
		if until, is := d.force[i]; is {
			all = append(all, Forced{d.rows[i].Name(), d.rows[i].Type.String(), d.rows[i].Index, until - now})
		}
	}
	return all
}

func (d *Database) find(t dnp3.Type, index uint16) (int, error) {
	for i := range d.rows {
		if d.rows[i].Type == t && d.rows[i].Index == index {
			return i, nil
		}
	}
	return 0, fmt.Errorf("there is no %v %d in the list; lvagent points has it", t, index)
}
