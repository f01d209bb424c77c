package bench

import "time"

// Trace is the story of the charging registers, read back after the fact: what
// each group was permitted at any time.
type Trace struct {
	World  *World
	Writes []Write // in order of time
}

// Held reports whether, at a time, no group of a way was permitted more than
// amps of it.
func (t Trace) Held(way int, at time.Duration, amps func(*Group) float64) bool {
	for i := range t.World.Groups {
		g := &t.World.Groups[i]
		if g.Way == way && !g.AtMost(t.percent(i, at), amps(g)) {
			return false
		}
	}
	return true
}

// Fell returns when, not before from, the groups of a way were first held to
// amps, all of them at once.
func (t Trace) Fell(way int, from time.Duration, amps func(*Group) float64) (time.Duration, bool) {
	if t.Held(way, from, amps) {
		return from, true
	}
	for _, w := range t.Writes {
		if w.At > from && t.World.Groups[w.Group].Way == way && t.Held(way, w.At, amps) {
			return w.At, true
		}
	}
	return 0, false
}

// Rose returns when, after from and not after to, a group of a way was first
// permitted more than amps of it.
func (t Trace) Rose(way int, from, to time.Duration, amps func(*Group) float64) (time.Duration, bool) {
	for _, w := range t.Writes {
		g := &t.World.Groups[w.Group]
		if w.At > from && w.At <= to && g.Way == way && !g.AtMost(w.Percent, amps(g)) {
			return w.At, true
		}
	}
	return 0, false
}

// percent returns a group's register at a time.
func (t Trace) percent(group int, at time.Duration) uint16 {
	value := uint16(Released)
	for _, w := range t.Writes {
		if w.At > at {
			break
		}
		if w.Group == group {
			value = w.Percent
		}
	}
	return value
}

// ToFailsafe is the limit of a group while the centre is not heard.
func ToFailsafe(g *Group) float64 { return g.Failsafe }

// To returns a limit that is the same for each group.
func To(amps float64) func(*Group) float64 {
	return func(*Group) float64 { return amps }
}
