package scenario

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

var requirement = regexp.MustCompile(`^R[0-9]{1,3}[a-z]?$`)

// within finds what is wrong with a scenario on its own.
func (s *Scenario) within(r *reader) {
	for i, id := range s.Requirements {
		if !requirement.MatchString(id) {
			r.fault(0, at("requirements", i), "%q is no requirement; one is like R7", id)
		}
	}
	sent := map[string]bool{}
	var last time.Duration
	judged := false
	for i := range s.Steps {
		step, path := &s.Steps[i], at("steps", i)
		if step.At != nil {
			switch {
			case step.At.End:
				r.fault(step.Line, path+".at", "a step has no place at the end")
			case step.At.For < last:
				r.fault(step.Line, path+".at", "%v is before an earlier step", step.At.For)
			default:
				last = step.At.For
			}
			if step.After != 0 {
				r.fault(step.Line, path, "has both at and after; one of them says when it comes")
			}
		}
		if step.After < 0 {
			r.fault(step.Line, path+".after", "must not be below 0")
		}
		if reflect.ValueOf(step.When).IsZero() && len(step.Then) == 0 {
			r.fault(step.Line, path, "does nothing and looks at nothing")
		}
		s.acts(r, step, path, sent)
		for j := range step.Then {
			judged = true
			step.Then[j].within(r, at(path+".then", j), sent)
		}
	}
	if !judged && len(s.Steps) > 0 {
		r.fault(0, "steps", "nothing is looked at, so it proves nothing")
	}
}

func at(path string, i int) string { return path + "[" + itoa(i) + "]" }

// acts finds what is wrong with what a step does, and notes the commands.
func (s *Scenario) acts(r *reader, step *Step, path string, sent map[string]bool) {
	if c := step.When.Command; c != nil {
		where := path + ".when.command"
		if n := count(c.Body != nil, c.Again != "", c.Raw != "", c.Fill > 0); n != 1 {
			r.fault(step.Line, where, "has %d of body, again, raw and fill; it needs one", n)
		}
		if c.Again != "" && !sent[c.Again] {
			r.fault(step.Line, where+".again", "no command %q was sent before%s", c.Again, meant(c.Again, keys(sent)))
		}
		if c.Fill < 0 || c.Fill > 1<<20 {
			r.fault(step.Line, where+".fill", "must be 1 to %d octets", 1<<20)
		}
		if c.Times < 0 || c.Times > 1000 {
			r.fault(step.Line, where+".times", "must be 0 to 1000")
		}
		refers(c.Body, func(name string) {
			if !sent[name] {
				r.fault(step.Line, where+".body", "no command %q was sent before%s", name, meant(name, keys(sent)))
			}
		})
		sent[c.called()] = true
	}
	if d := step.When.DNP3; d != nil && (d.Analog != nil) == (d.Binary != nil) {
		r.fault(step.Line, path+".when.dnp3", "operates an analog or a binary output: one of them")
	}
	if g := step.When.Register; g != nil && (g.Percent < 0 || g.Percent > 100) {
		r.fault(step.Line, path+".when.register.percent", "must be 0 to 100")
	}
	if m := step.When.Meter; m != nil && (m.Code < 0 || m.Code > 255 || m.Times < 0) {
		r.fault(step.Line, path+".when.meter", "code must be 0 to 255, times not below 0")
	}
	if f := step.When.Files; f != nil && strings.ContainsAny(f.Match, "/\\") {
		r.fault(step.Line, path+".when.files.match", "is a pattern of names, without a folder")
	}
}

// called is what a command is called in later steps.
func (c *Command) called() string {
	if c.As != "" {
		return c.As
	}
	return c.Name
}

// Called is what later steps call a command.
func (c *Command) Called() string { return c.called() }

func keys(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

func count(all ...bool) (n int) {
	for _, is := range all {
		if is {
			n++
		}
	}
	return n
}

// refers calls f for each $x of a body.
func refers(v any, f func(string)) {
	switch x := v.(type) {
	case Tree:
		refers(map[string]any(x), f)
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(x)) {
			refers(x[k], f)
		}
	case []any:
		for _, e := range x {
			refers(e, f)
		}
	case string:
		if name, ok := strings.CutPrefix(x, "$"); ok {
			name, _, _ = strings.Cut(name, ".")
			f(name)
		}
	}
}

// within finds what is wrong with an expectation on its own.
func (e *Expectation) within(r *reader, path string, sent map[string]bool) {
	bad := func(format string, args ...any) { r.fault(e.Line, path, format, args...) }
	if n := count(e.Within != 0, e.Always != nil, e.Never != nil, e.Eventually, e.Finally); n != 1 {
		bad("has %d of within, always, never, eventually and finally; it needs one", n)
	}
	what := count(e.Permitted != nil, e.Written != nil, e.Carried != nil, e.Message != nil, e.State != nil, e.Alarm != nil,
		e.Active != nil, e.Ack != nil, e.Audit != nil, e.Records != nil, e.DNP3 != nil, e.Output != nil, e.Agent != "")
	if what != 1 {
		bad("looks at %d things; it needs one of permitted, written, carried, message, state, alarm, active, ack, audit, records, dnp3, output, agent", what)
		return
	}
	for _, s := range []*Span{e.Always, e.Never} {
		if s != nil && !s.End && s.For <= 0 {
			bad("can never be true or false: its time must be above 0")
		}
	}
	if e.Within < 0 || e.After < 0 || e.For < 0 || e.Times < 0 || e.Least < 0 {
		bad("times must not be below 0")
	}
	event := e.judge(nil).event
	if e.For > 0 && (e.Within == 0 || event) {
		bad("for goes with within, and with what something is, not with what happens")
	}
	if (e.Times > 0 || e.Least > 0) && (e.Within == 0 && !e.Eventually || !event) {
		bad("times and at_least_times go with within, and with what happens")
	}
	if e.Finally && event {
		bad("finally goes with what something is, not with what happens")
	}
	if e.Records != nil && !e.Finally {
		bad("records are judged finally: before the end some are still on their way")
	}
	if e.Ack != nil {
		if e.Ack.Command != "" && !sent[e.Ack.Command] {
			bad("no command %q was sent before%s", e.Ack.Command, meant(e.Ack.Command, keys(sent)))
		}
		if e.Ack.Stage == "" && e.Ack.Code == "" && len(e.Ack.Where) == 0 {
			bad("every step of every command is meant; name a stage or a code")
		}
	}
	for _, t := range e.wheres() {
		if name, ok := strings.CutPrefix(show(t.Match.Value), "$"); ok && t.Match.Equal && !sent[name] {
			bad("%s: no command %q was sent before%s", t.Path, name, meant(name, keys(sent)))
		}
	}
	if t := e.topic(); t != "" && !strings.HasPrefix(t, "up/") {
		bad("topic %q: what an agent publishes is below up/", t)
	}
	if b := e.bounds(); b != nil {
		switch {
		case b.Is == nil && b.AtLeast == nil && b.AtMost == nil:
			bad("needs is, at_least or at_most")
		case b.AtLeast != nil && b.AtMost != nil && *b.AtLeast > *b.AtMost:
			bad("can never be true: at least %v and at most %v", *b.AtLeast, *b.AtMost)
		}
	}
	if p := e.DNP3; p != nil && (p.Binary != nil) == (p.Analog != nil) {
		bad("is about a binary or an analog input: one of them")
	}
	if o := e.Output; o != nil && o.Contains == "" && o.Exit == nil {
		bad("needs contains or exit")
	}
}

func (e *Expectation) wheres() Where {
	switch {
	case e.Message != nil:
		return e.Message.Where
	case e.State != nil:
		return e.State.Where
	case e.Alarm != nil:
		return e.Alarm.Where
	case e.Ack != nil:
		return e.Ack.Where
	case e.Audit != nil:
		return e.Audit.Where
	}
	return nil
}

func (e *Expectation) topic() string {
	switch {
	case e.Message != nil:
		return e.Message.Topic
	case e.State != nil:
		return e.State.Topic
	}
	return ""
}

func (e *Expectation) bounds() *Bounds {
	switch {
	case e.Permitted != nil:
		return &e.Permitted.Bounds
	case e.Written != nil:
		return &e.Written.Bounds
	case e.Carried != nil:
		return &e.Carried.Bounds
	case e.DNP3 != nil && e.DNP3.Analog != nil:
		return &e.DNP3.Bounds
	}
	return nil
}

// Place is what there is on the site that a scenario runs on.
type Place struct {
	Ways   []string
	Groups map[string]float64 // rating in A
}

// Check finds what a scenario says of ways and groups that are not on a site,
// and what can never be true there.
func (s *Scenario) Check(p Place) []Fault {
	r := &reader{file: s.File}
	groups := slices.Sorted(maps.Keys(p.Groups))
	way := func(line int, path, id string) {
		if !slices.Contains(p.Ways, id) {
			r.fault(line, path, "there is no way %q%s; there are %s", id, meant(id, p.Ways), strings.Join(p.Ways, ", "))
		}
	}
	group := func(line int, path, id string) {
		if _, ok := p.Groups[id]; !ok {
			r.fault(line, path, "there is no group %q%s; there are %s", id, meant(id, groups), strings.Join(groups, ", "))
		}
	}
	loads := func(line int, path string, m map[string]Load) {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			way(line, join(path, id), id)
		}
	}
	cars := func(line int, path string, m map[string]Amps) {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			group(line, join(path, id), id)
		}
	}
	loads(0, "given.load", s.Given.Load)
	cars(0, "given.cars", s.Given.Cars)
	for i := range s.Steps {
		step, path := &s.Steps[i], at("steps", i)
		loads(step.Line, path+".when.load", step.When.Load)
		cars(step.Line, path+".when.cars", step.When.Cars)
		for j, id := range step.When.Release {
			way(step.Line, at(path+".when.release", j), id)
		}
		if m := step.When.Meter; m != nil {
			way(step.Line, path+".when.meter.way", m.Way)
		}
		if a := step.When.Actuator; a != nil {
			group(step.Line, path+".when.actuator.group", a.Group)
		}
		if g := step.When.Register; g != nil {
			group(step.Line, path+".when.register.group", g.Group)
		}
		for j := range step.Then {
			e, path := &step.Then[j], at(path+".then", j)
			for _, g := range []*Permitted{e.Permitted, e.Written} {
				if g == nil {
					continue
				}
				group(e.Line, path, g.Group)
				rating, known := p.Groups[g.Group]
				for _, b := range []*float64{g.Is, g.AtLeast} {
					if known && b != nil && *b > rating {
						r.fault(e.Line, path, "can never be true: %v A is above the rating of %s, %v A", *b, g.Group, rating)
					}
				}
			}
			if c := e.Carried; c != nil {
				way(e.Line, path, c.Way)
			}
			id := ""
			if e.Alarm != nil {
				id = e.Alarm.ID
			}
			if e.Active != nil {
				id = e.Active.ID
			}
			if of, rest, ok := strings.Cut(id, "."); id != "" {
				if !ok || rest == "" {
					r.fault(e.Line, path, "%q is no alarm; one is like W1.STALE or W1.L1.i.hi", id)
				} else if of != "TX" && of != "_site" {
					way(e.Line, path, of)
				}
			}
			if of, ok := strings.CutPrefix(e.topic(), "up/hh/"); ok && of != "TX" && of != "#" {
				way(e.Line, path, of)
			}
		}
	}
	return r.sorted()
}
