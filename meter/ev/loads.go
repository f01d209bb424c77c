package ev

import (
	"slices"

	"lvagent/meter"
)

// Group is a set of charge points with what is known of it now.
type Group struct {
	meter.ChargingGroup
	Limit  meter.Milliamps // in force, per phase
	Obeys  bool            // its actuator was read back right
	Drawn  [meter.Phases]meter.Milliamps
	Stated bool // Drawn is known, and not older than it may be
}

// Way is what is known of the way that the groups hang on.
type Way struct {
	Phases   [meter.Phases]bool
	Import   [meter.Phases]meter.Milliamps // signed like P
	Measured [meter.Phases]bool            // Import is good and fresh
	Headroom [meter.Phases]*meter.Milliamps
}

// Loads returns what hangs on each phase of a way. What one group is not known to
// draw is taken to be as much as it may, and all groups together no more than the
// phase imports: it is the most that could be shed.
func Loads(w *Way, groups []Group) (loads [meter.Phases]*meter.PhaseCharging) {
	for p, has := range w.Phases {
		if !has {
			continue
		}
		out := &meter.PhaseCharging{Headroom: w.Headroom[p]}
		loads[p] = out
		var drawn meter.Milliamps
		for i := range groups {
			g := &groups[i]
			if !g.Phases[p] {
				continue
			}
			out.Groups++
			out.Connectors += g.Connectors
			out.Rating += g.Rating
			switch {
			case !g.Obeys:
				out.Uncontrolled += g.Rating
			case g.Stated:
				out.Limit += g.Limit
				drawn += max(0, min(g.Limit, g.Drawn[p]))
			default:
				out.Limit += g.Limit
				drawn += g.Limit
			}
		}
		if w.Measured[p] {
			most := max(0, min(drawn, w.Import[p]))
			out.Controllable = &most
		}
	}
	return loads
}

// Estimate adds how many cars of each class seem to charge to the phases of a way.
func (d *Detector) Estimate(loads *[meter.Phases]*meter.PhaseCharging) {
	for k := range d.n {
		s := &d.sessions[k]
		for p, on := range s.Phases {
			if !on || loads[p] == nil {
				continue
			}
			of := &loads[p].Estimate
			i := slices.IndexFunc(*of, func(e meter.ChargingEstimate) bool { return e.Class == s.Class.String() })
			if i < 0 {
				i = len(*of)
				*of = append(*of, meter.ChargingEstimate{Class: s.Class.String()})
			}
			(*of)[i].Cars += s.Confidence
			(*of)[i].I += s.I * meter.Milliamps(s.Confidence) / 1_000_000
		}
	}
	for _, l := range loads {
		if l != nil {
			slices.SortFunc(l.Estimate, func(a, b meter.ChargingEstimate) int {
				if a.Class < b.Class {
					return -1
				}
				return 1
			})
		}
	}
}
