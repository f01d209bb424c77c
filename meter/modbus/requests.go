package modbus

import (
	"slices"
	"strings"
)

// Request is one request to a meter, and what it is for.
type Request struct {
	Block
	For []string // quantities, or what else the registers say
}

// Plan is every request to the meter of one way.
type Plan struct {
	Poll  []Request // each poll
	Slow  []Request // at the slow period
	Start []Request // at the start, hourly, and after an outage
}

// PlanOf returns the requests for a way of the device.
func (p *Profile) PlanOf(way int) Plan {
	ch := p.channel(way)
	plan := Plan{Poll: p.explain(ch.fast), Slow: p.explain(ch.slow)}
	ask := func(s *static, what string) {
		if s != nil {
			plan.Start = append(plan.Start, Request{Block{s.fc, s.addr, s.size}, []string{what}})
		}
	}
	for i := range p.identity.matches {
		ask(&p.identity.matches[i].static, "identity")
	}
	ask(p.identity.serial, "serial number")
	for _, r := range p.ratioRegisters() {
		ask(r.static, ratioNames[r.class]+" ratio")
		plan.Slow = append(plan.Slow, plan.Start[len(plan.Start)-1])
	}
	return plan
}

func (p *Profile) explain(blocks []block) (out []Request) {
	for i := range blocks {
		b := &blocks[i]
		r := Request{Block: Block{b.fc, b.addr, b.n}}
		for q := range quantities {
			uses := func(v value) bool {
				return v.quantity == q && slices.ContainsFunc(b.parts, func(x part) bool {
					return x.slot == v.a || x.slot == v.b || x.slot == v.sf || x.slot == v.sign
				})
			}
			if slices.ContainsFunc(p.values, uses) {
				r.For = append(r.For, q.String())
			}
		}
		if len(r.For) == 0 {
			r.For = []string{"status"}
		}
		out = append(out, r)
	}
	return out
}

// Quantities returns the quantities that the meter measures, by name.
func (p *Profile) Quantities() (names []string) {
	for q := range quantities {
		if p.has(q) {
			names = append(names, q.String())
		}
	}
	return names
}

// Vectors returns how many test vectors the profile carries.
func (p *Profile) Vectors() int { return len(p.vectors) }

// NeutralSource says how the neutral current is known: measured, derived or not at
// all.
func (p *Profile) NeutralSource() string {
	switch {
	case p.MeasuresNeutral():
		return "measured"
	case p.DerivesNeutral():
		return "derived"
	default:
		return "unknown"
	}
}

// Remarks returns what is special about the profile, for people.
func (p *Profile) Remarks() string {
	var all []string
	if p.sunspec != nil {
		all = append(all, "found in its SunSpec map")
	}
	if len(p.identity.matches) > 0 {
		all = append(all, "identified")
	}
	for i := range p.settings {
		all = append(all, "may set "+p.settings[i].name)
	}
	if p.limits.aligned {
		all = append(all, "reads aligned to values")
	}
	for q := range slowest {
		if p.without[q] && q != neutral {
			all = append(all, "no "+q.String())
		}
	}
	return strings.Join(all, ", ")
}
