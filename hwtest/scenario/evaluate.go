package scenario

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Kind says what an observation is of.
type Kind string

// Kinds of observation. Those of what happens are messages, writes and command
// lines; the others are what something is, from then on until the next.
const (
	Permits  Kind = "permitted" // Key group, Number A
	Writes   Kind = "written"   // Key group, Number A
	Carries  Kind = "carried"   // Key way.phase, Number A
	Messages Kind = "message"   // Key topic, Body
	BinaryIn Kind = "binary"    // Key index, Number 0 or 1
	AnalogIn Kind = "analog"    // Key index, Number
	Process  Kind = "agent"     // Text running or ended
	Counts   Kind = "records"   // Number half-hours, Text what is wrong
	Prints   Kind = "output"    // Number exit code, Text
	Sends    Kind = "command"   // Key name, Text id
	Acts     Kind = "act"       // Text: what the bench did
)

// Observation is one thing that was seen.
type Observation struct {
	At     time.Duration `json:"at"`
	Kind   Kind          `json:"kind"`
	Key    string        `json:"key,omitempty"`
	Number float64       `json:"number,omitempty"`
	Slack  float64       `json:"slack,omitempty"` // what rounding may do to Number
	Text   string        `json:"text,omitempty"`
	Body   any           `json:"body,omitempty"`
}

// Timeline is what was seen of a scenario so far.
type Timeline struct {
	Observations []Observation // in order of time
	Started      []time.Duration
	Now          time.Duration
	Over         bool // nothing more will be seen
}

// Status is how an expectation stands.
type Status string

// Statuses. Only Held is a pass.
const (
	Waiting   Status = "waiting"
	Held      Status = "held"
	Broken    Status = "broken"
	Unreached Status = "not reached"
)

// Verdict is how one expectation stands, and why.
type Verdict struct {
	Step     int           `json:"step"`
	Index    int           `json:"index"`
	Line     int           `json:"line"`
	Status   Status        `json:"status"`
	Expected string        `json:"expected"`
	Seen     string        `json:"seen"`
	From     time.Duration `json:"from"`
	To       time.Duration `json:"to"`       // of its time; for one that goes to the end the present
	At       time.Duration `json:"at"`       // when it was decided
	Evidence int           `json:"evidence"` // number of the observation, from 0; -1: none
	ToEnd    bool          `json:"to_end"`
}

// Evaluate judges every expectation of a scenario. More observations and a later
// Now change nothing of what is decided.
func Evaluate(s *Scenario, t *Timeline) []Verdict {
	ids := map[string][]string{}
	for i := range t.Observations {
		if o := &t.Observations[i]; o.Kind == Sends {
			ids[o.Key] = append(ids[o.Key], o.Text)
		}
	}
	var out []Verdict
	for i := range s.Steps {
		for j := range s.Steps[i].Then {
			e := &s.Steps[i].Then[j]
			v := Verdict{Step: i, Index: j, Line: e.Line, Status: Unreached, Evidence: -1}
			jd := e.judge(ids)
			v.Expected = jd.expected + " " + e.when()
			if i < len(t.Started) {
				v.From = t.Started[i] + e.After
				e.decide(&v, t, &jd)
			}
			out = append(out, v)
		}
	}
	return out
}

// Patience is how long eventually waits.
const Patience = time.Minute

// Settled reports whether everything that the steps so far wait for is decided:
// what lasts to the end is not waited for.
func Settled(verdicts []Verdict) bool {
	for i := range verdicts {
		if v := &verdicts[i]; v.Status == Waiting && !v.ToEnd {
			return false
		}
	}
	return true
}

// judge is what an expectation looks at.
type judge struct {
	event    bool
	relevant func(*Observation) bool
	holds    func(*Observation) bool
	seen     func(*Observation) string
	expected string
}

// decide looks for the verdict in the time of the expectation.
func (e *Expectation) decide(v *Verdict, t *Timeline, j *judge) {
	end := func(s *Span) (to time.Duration, closed bool) {
		if s.End {
			v.ToEnd = t.Now >= v.From // until it has begun it is waited for
			return max(t.Now, v.From), t.Over
		}
		to = v.From + s.For
		return to, t.Now >= to || t.Over
	}
	v.Status = Waiting
	var closed bool
	switch {
	case e.Always != nil:
		v.To, closed = end(e.Always)
		e.always(v, t, j, closed)
	case e.Never != nil:
		v.To, closed = end(e.Never)
		e.never(v, t, j, closed)
	case e.Finally:
		v.To, v.ToEnd = t.Now, true
		e.finally(v, t, j)
	default:
		within := e.Within
		if e.Eventually {
			within = Patience
		}
		v.To, closed = end(&Span{For: within})
		if j.event {
			e.happens(v, t, j, closed)
		} else {
			e.comes(v, t, j, closed)
		}
	}
}

func (v *Verdict) settle(status Status, at time.Duration, evidence int, seen string) {
	v.Status, v.At, v.Evidence, v.Seen = status, at, evidence, seen
}

// each goes through the relevant observations of the time of a verdict; the
// first may be from before it, which is how things stand when it begins.
func each(v *Verdict, t *Timeline, j *judge, f func(i int, o *Observation, at time.Duration) bool) {
	before := -1
	for i := range t.Observations {
		o := &t.Observations[i]
		if o.At > v.To {
			break
		}
		if !j.relevant(o) {
			continue
		}
		if o.At < v.From {
			before = i
			continue
		}
		if before >= 0 && !j.event && o.At > v.From {
			if !f(before, &t.Observations[before], v.From) {
				return
			}
		}
		before = -1
		if !f(i, o, o.At) {
			return
		}
	}
	if before >= 0 && !j.event && t.Now >= v.From {
		f(before, &t.Observations[before], v.From)
	}
}

const nothing = "nothing of the kind"

// told is what was seen last, for a verdict that nothing decided.
func told(v *Verdict, t *Timeline, j *judge) (evidence int, seen string) {
	evidence, seen = -1, nothing
	each(v, t, j, func(i int, o *Observation, at time.Duration) bool {
		evidence, seen = i, j.seen(o)+" at "+brief(o.At)
		return true
	})
	return evidence, seen
}

func (e *Expectation) always(v *Verdict, t *Timeline, j *judge, closed bool) {
	last := -1
	each(v, t, j, func(i int, o *Observation, at time.Duration) bool {
		last = i
		if !j.holds(o) {
			v.settle(Broken, at, i, j.seen(o))
		}
		return v.Status == Waiting
	})
	if v.Status != Waiting || !closed {
		return
	}
	if last < 0 {
		v.settle(Broken, v.To, -1, nothing)
		return
	}
	v.settle(Held, v.To, last, j.seen(&t.Observations[last]))
}

func (e *Expectation) never(v *Verdict, t *Timeline, j *judge, closed bool) {
	each(v, t, j, func(i int, o *Observation, at time.Duration) bool {
		if j.holds(o) {
			v.settle(Broken, at, i, j.seen(o))
		}
		return v.Status == Waiting
	})
	if v.Status == Waiting && closed {
		evidence, seen := told(v, t, j)
		v.settle(Held, v.To, evidence, seen)
	}
}

func (e *Expectation) finally(v *Verdict, t *Timeline, j *judge) {
	if !t.Over {
		return
	}
	last := -1
	each(v, t, j, func(i int, _ *Observation, _ time.Duration) bool { last = i; return true })
	switch {
	case last < 0:
		v.settle(Broken, t.Now, -1, nothing)
	case j.holds(&t.Observations[last]):
		v.settle(Held, t.Now, last, j.seen(&t.Observations[last]))
	default:
		v.settle(Broken, t.Now, last, j.seen(&t.Observations[last]))
	}
}

// happens counts what happens.
func (e *Expectation) happens(v *Verdict, t *Timeline, j *judge, closed bool) {
	n, least := 0, max(1, e.Least)
	each(v, t, j, func(i int, o *Observation, at time.Duration) bool {
		if !j.holds(o) {
			return true
		}
		n++
		switch {
		case e.Times == 0 && n == least:
			v.settle(Held, at, i, j.seen(o))
		case e.Times > 0 && n > e.Times:
			v.settle(Broken, at, i, fmt.Sprintf("once more, the %d. time: %s", n, j.seen(o)))
		}
		return v.Status == Waiting
	})
	if v.Status != Waiting || !closed {
		return
	}
	evidence, seen := told(v, t, j)
	switch {
	case e.Times > 0 && n == e.Times:
		v.settle(Held, v.To, evidence, seen)
	case n > 0:
		v.settle(Broken, v.To, evidence, fmt.Sprintf("%d times only; last %s", n, seen))
	default:
		v.settle(Broken, v.To, evidence, seen)
	}
}

// comes waits for a state that is true, and stays so for a while where asked.
func (e *Expectation) comes(v *Verdict, t *Timeline, j *judge, closed bool) {
	begin, since, evidence := v.To, time.Duration(-1), -1
	limit := v.To
	v.To = min(limit+e.For, math.MaxInt64)
	each(v, t, j, func(i int, o *Observation, at time.Duration) bool {
		if since >= 0 && at-since >= e.For {
			return false // it had stayed long enough before this
		}
		switch is := j.holds(o); {
		case is && since < 0 && at <= limit:
			begin, since, evidence = at, at, i
		case !is:
			since = -1
		}
		return true
	})
	until := t.Now
	switch {
	case since >= 0 && until >= since+e.For:
		v.settle(Held, begin, evidence, j.seen(&t.Observations[evidence]))
	case since >= 0 && !t.Over:
		// It holds and must stay so.
	case closed:
		i, seen := told(v, t, j)
		v.settle(Broken, limit, i, seen)
	}
}

// judge returns what an expectation looks at.
func (e *Expectation) judge(ids map[string][]string) judge {
	number := func(kind Kind, key, unit, what string, b Bounds, event bool) judge {
		return judge{
			event:    event,
			relevant: func(o *Observation) bool { return o.Kind == kind && o.Key == key },
			holds:    func(o *Observation) bool { return b.holds(o.Number, o.Slack) },
			seen:     func(o *Observation) string { return show(math.Round(o.Number*100)/100) + unit },
			expected: what + " " + b.String() + unit,
		}
	}
	message := func(topic string, where Where, event bool, what string) judge {
		return judge{
			event:    event,
			relevant: func(o *Observation) bool { return o.Kind == Messages && topicIs(o.Key, topic) },
			holds:    func(o *Observation) bool { return where.holds(o.Body, ids) },
			seen:     func(o *Observation) string { return o.Key + " with " + where.found(o.Body) },
			expected: what,
		}
	}
	with := func(what string, w Where) string {
		if len(w) == 0 {
			return what
		}
		return what + " with " + w.String()
	}
	switch {
	case e.Permitted != nil:
		p := e.Permitted
		return number(Permits, p.Group, " A", p.Group+" is permitted", p.Bounds, false)
	case e.Written != nil:
		p := e.Written
		return number(Writes, p.Group, " A", "a write to "+p.Group+" of", p.Bounds, true)
	case e.Carried != nil:
		c := e.Carried
		return number(Carries, c.Way+"."+c.Phase, " A", c.Way+" "+c.Phase+" carries", c.Bounds, false)
	case e.Message != nil:
		m := e.Message
		return message(m.Topic, m.Where, true, with("a message on "+m.Topic, m.Where))
	case e.State != nil:
		m := e.State
		return message(m.Topic, m.Where, false, with("the state on "+m.Topic, m.Where))
	case e.Alarm != nil:
		return e.Alarm.judge(message)
	case e.Active != nil:
		way, _, _ := strings.Cut(e.Active.ID, ".")
		w := Where{{"alarms[*].id", Match{Equal: true, Value: e.Active.ID}}}
		return message("up/alarmstate/"+way, w, false, "the alarm "+e.Active.ID+" stands")
	case e.Ack != nil:
		return e.Ack.judge(message, ids)
	case e.Audit != nil:
		return message("up/audit", e.Audit.Where, true, with("an audit record", e.Audit.Where))
	case e.Records != nil:
		least := e.Records.AtLeast
		return judge{
			relevant: func(o *Observation) bool { return o.Kind == Counts },
			holds:    func(o *Observation) bool { return o.Text == "" && o.Number >= float64(least) },
			seen: func(o *Observation) string {
				text := show(o.Number) + " half-hours"
				if o.Text != "" {
					text += "; " + o.Text
				}
				return text
			},
			expected: fmt.Sprintf("all streams are complete, %d half-hours or more", least),
		}
	case e.DNP3 != nil:
		return e.DNP3.judge(number)
	case e.Output != nil:
		return e.Output.judge()
	default:
		return judge{
			relevant: func(o *Observation) bool { return o.Kind == Process },
			holds:    func(o *Observation) bool { return o.Text == e.Agent },
			seen:     func(o *Observation) string { return "the agent's process has " + o.Text },
			expected: "the agent's process is " + e.Agent,
		}
	}
}

type onMessage func(topic string, where Where, event bool, what string) judge

func equals(path, value string) Term { return Term{path, Match{Equal: true, Value: value}} }

func (a *Alarm) judge(message onMessage) judge {
	edge := a.Edge
	if edge == "" {
		edge = "raise"
	}
	way, _, _ := strings.Cut(a.ID, ".")
	w := append(Where{equals("id", a.ID), equals("edge", edge)}, a.Where...)
	what := "a " + edge + " of " + a.ID
	if len(a.Where) > 0 {
		what += " with " + a.Where.String()
	}
	return message("up/alarm/"+way, w, true, what)
}

// judge of an ack looks at the steps of its command only.
func (a *Ack) judge(message onMessage, ids map[string][]string) judge {
	var w Where
	what := "of a command"
	if a.Command != "" {
		what = "of " + a.Command
	}
	if a.Stage != "" {
		w = append(w, equals("stage", a.Stage))
		what = a.Stage + " " + what
	}
	if a.Code != "" {
		w = append(w, equals("code", a.Code))
		what += " with " + a.Code
	}
	w = append(w, a.Where...)
	if len(a.Where) > 0 {
		what += " with " + a.Where.String()
	}
	j := message("up/ack", w, true, "the step "+what)
	if a.Command != "" {
		mine := Where{equals("id", "$"+a.Command)}
		j.relevant = func(o *Observation) bool {
			return o.Kind == Messages && o.Key == "up/ack" && mine.holds(o.Body, ids)
		}
	}
	return j
}

func (p *Point) judge(number func(Kind, string, string, string, Bounds, bool) judge) judge {
	if p.Analog != nil {
		key := strconv.Itoa(*p.Analog)
		return number(AnalogIn, key, "", "DNP3 analog input "+key+" is", p.Bounds, false)
	}
	key, want := "", 1.0
	if p.Binary != nil {
		key = strconv.Itoa(*p.Binary)
	}
	if p.On != nil && !*p.On {
		want = 0
	}
	return number(BinaryIn, key, "", "DNP3 binary input "+key+" is", Bounds{Is: &want}, false)
}

func (p *Output) judge() judge {
	what := "the command line prints " + strconv.Quote(p.Contains)
	if p.Exit != nil {
		what += fmt.Sprintf(" and exits with %d", *p.Exit)
	}
	return judge{
		relevant: func(o *Observation) bool { return o.Kind == Prints },
		holds: func(o *Observation) bool {
			return strings.Contains(o.Text, p.Contains) && (p.Exit == nil || o.Number == float64(*p.Exit))
		},
		seen:     func(o *Observation) string { return fmt.Sprintf("exit %v: %s", o.Number, clip(o.Text)) },
		expected: what,
	}
}

func clip(s string) string {
	const most = 300
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// holds allows twice the slack below: what is rounded is rounded down.
func (b *Bounds) holds(v, slack float64) bool {
	slack += 1e-9
	return (b.Is == nil || v <= *b.Is+slack && v >= *b.Is-2*slack) && (b.AtLeast == nil || v >= *b.AtLeast-2*slack) &&
		(b.AtMost == nil || v <= *b.AtMost+slack)
}

func (b Bounds) String() string {
	var parts []string
	if b.Is != nil {
		parts = append(parts, show(*b.Is))
	}
	if b.AtLeast != nil {
		parts = append(parts, show(*b.AtLeast)+" or more")
	}
	if b.AtMost != nil {
		parts = append(parts, show(*b.AtMost)+" or less")
	}
	return strings.Join(parts, " and ")
}

// topicIs compares a topic with one that may end in #.
func topicIs(topic, want string) bool {
	if head, all := strings.CutSuffix(want, "#"); all {
		return strings.HasPrefix(topic, head)
	}
	return topic == want
}

// found is what a message has where something is asked for.
func (w Where) found(body any) string {
	if len(w) == 0 {
		return "anything"
	}
	var parts []string
	for _, t := range w {
		var values []string
		for _, v := range Lookup(body, t.Path) {
			values = append(values, show(v))
		}
		parts = append(parts, t.Path+" "+strings.Join(values, " | "))
	}
	return clip(strings.Join(parts, ", "))
}

// when is the time of an expectation in words.
func (e *Expectation) when() string {
	var text string
	span := func(word string, s *Span) string {
		if s.End {
			return word + " to the end"
		}
		return word + " for " + s.For.String()
	}
	switch {
	case e.Always != nil:
		text = span("always,", e.Always)
	case e.Never != nil:
		text = span("never,", e.Never)
	case e.Finally:
		text = "at the end"
	case e.Eventually:
		text = "eventually"
	default:
		text = "within " + e.Within.String()
	}
	if e.For > 0 {
		text += ", and stays so for " + e.For.String()
	}
	switch {
	case e.Times > 0:
		text += fmt.Sprintf(", %d times exactly", e.Times)
	case e.Least > 1:
		text += fmt.Sprintf(", %d times or more", e.Least)
	}
	if e.After > 0 {
		text += ", from " + e.After.String() + " on"
	}
	return text
}

func brief(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
