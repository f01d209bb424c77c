// Package replay computes every decision of the failsafe engine again, from the
// journal of what it was told, and holds the result against the records of the
// audit chain and against the states in the journal.
//
// It uses the real engine. It changes nothing and decides nothing, and knows
// nothing of files or agents.
//
// Requirements: R11, R15 (decisions that anybody can judge).
package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvagent/agent/audit"
	"lvagent/failsafe"
	"lvagent/failsafe/journal"
)

// Report is what a replay found.
type Report struct {
	Runs        int          `json:"runs"`
	Steps       uint64       `json:"steps"`
	From        time.Time    `json:"from"`
	To          time.Time    `json:"to"`
	Decisions   int          `json:"decisions"` // records that were computed again
	States      int          `json:"states"`    // states in the journal that were
	Records     int          `json:"records"`   // of the audit chain in the file
	Absent      int          `json:"absent"`    // records that a step led to and that are not in the file
	Gaps        []Gap        `json:"gaps"`
	Configs     []Config     `json:"configurations"`
	Differences []Difference `json:"differences"`
	More        int          `json:"more_differences"` // beyond those that are listed
	Damaged     int          `json:"damaged_octets"`
	Chain       audit.Report `json:"chain"`
}

// Right reports whether everything is as it was said.
func (r *Report) Right() bool {
	return len(r.Differences) == 0 && r.Damaged == 0 && len(r.Chain.Faults) == 0
}

// Gap is where steps are missing in the journal: nothing that was decided there
// can be computed.
type Gap struct {
	Boot string    `json:"boot"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"` // zero: until the end of the file
	Why  string    `json:"why"`
}

// Config is a configuration with which the engine decided.
type Config struct {
	Hash    string    `json:"hash"`
	Version string    `json:"version"`
	Boot    string    `json:"boot"`
	From    time.Time `json:"from"`
}

// Difference is where what is written is not what it is computed to be.
type Difference struct {
	Chain string    `json:"chain,omitempty"`
	N     uint64    `json:"n,omitempty"` // of the record; 0: it is about a state
	Boot  string    `json:"boot"`
	Step  uint64    `json:"step"`
	Wall  time.Time `json:"wall"`
	Field string    `json:"field"`
	Was   string    `json:"was"`
	Would string    `json:"would_be"`
}

// String says it in a line.
func (d *Difference) String() string {
	what := "state"
	if strings.HasPrefix(d.Field, "record") {
		what = "decisions"
	}
	if d.N > 0 {
		what = "record " + strconv.FormatUint(d.N, 10)
	}
	return fmt.Sprintf("%s, step %d of run %s at %s: %s was %s, would be %s",
		what, d.Step, d.Boot, d.Wall.Format("2006-01-02T15:04:05.000Z"), d.Field, d.Was, d.Would)
}

const (
	mostDifferences = 100
	mostGaps        = 1000
	// mostKept is how many states of the past are kept, to know the one that the
	// next run went on from: it is stored every 15 minutes at least.
	mostKept = 4096
)

// player is a replay under way.
type player struct {
	report  *Report
	records map[id]*record
	engine  *failsafe.Engine
	groups  []string
	key     *journal.Key // of the run; nil: nothing can be computed yet
	state   failsafe.State
	next    uint64 // number of the step that must follow
	at      time.Time
	chain   string
	ramps   audit.Ramps
	past    []failsafe.State // newest last; a crash may go back over several runs
	ended   *time.Time       // where a gap begins
	why     string
}

// id names a record of the audit chain.
type id struct {
	chain string
	n     uint64
}

// record is one that is in the file.
type record struct {
	text    []byte
	head    audit.Record
	claimed bool
}

// Run replays a journal with the records of the audit chain that it holds.
func Run(data []byte) *Report {
	p := &player{report: &Report{Gaps: []Gap{}, Configs: []Config{}, Differences: []Difference{}}, records: map[id]*record{}}
	v := &audit.Verifier{}
	p.report.Damaged = journal.Scan(data, func(b journal.Block) bool {
		if b.Kind != journal.RecordBlock {
			return true
		}
		body, err := b.Body()
		if err == nil {
			v.Add(body, "octet "+strconv.Itoa(b.At))
			err = p.keep(body)
		}
		if err != nil {
			p.damaged(&b)
		}
		return true
	})
	p.report.Chain = v.Report()
	p.report.Records = len(p.records)
	journal.Scan(data, func(b journal.Block) bool {
		if b.Kind == journal.RecordBlock {
			return true
		}
		if err := p.block(&b); err != nil {
			p.damaged(&b)
			p.lose("the journal is damaged: " + err.Error())
		}
		return true
	})
	if p.ended != nil {
		p.gap(time.Time{}, p.why)
	}
	p.unclaimed()
	return p.report
}

func (p *player) damaged(b *journal.Block) { p.report.Damaged += len(b.Raw) }

// keep takes a record, as it was published.
func (p *player) keep(body []byte) error {
	var m struct{ Record json.RawMessage }
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	r := &record{}
	if err := json.Unmarshal(m.Record, &r.head); err != nil {
		return err
	}
	text, err := audit.Canonical(m.Record)
	if err != nil {
		return err
	}
	r.text = text
	p.records[id{r.head.Chain, r.head.N}] = r
	return nil
}

// block takes the next block. A file may come from anywhere: what makes the
// engine fail is damage too.
func (p *player) block(b *journal.Block) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the engine can't go on from it: %v", fault)
		}
	}()
	body, err := b.Body()
	if err != nil {
		return err
	}
	switch b.Kind {
	case journal.KeyBlock:
		k, err := journal.ReadKey(body)
		if err != nil {
			return err
		}
		return p.take(k)
	case journal.StepsBlock:
		var broken error
		err := journal.ReadSteps(body, p.groups, func(s *journal.Step) bool {
			broken = p.step(s)
			return broken == nil
		})
		if p.key == nil {
			return nil // its groups are not known
		}
		return errors.Join(broken, err)
	}
	return fmt.Errorf("block %q", b.Kind)
}

// lose stops computing until the next key.
func (p *player) lose(why string) {
	if p.key != nil && p.ended == nil {
		at := p.at
		p.ended, p.why = &at, why
	}
	p.key = nil
}

func (p *player) gap(to time.Time, why string) {
	g := Gap{From: *p.ended, To: to, Why: why}
	if n := len(p.report.Configs); n > 0 {
		g.Boot = p.report.Configs[n-1].Boot
	}
	if len(p.report.Gaps) < mostGaps {
		p.report.Gaps = append(p.report.Gaps, g)
	}
	p.ended = nil
}

// take goes on from a key: the same run, whose state must be the one that was
// computed, or another one, whose beginning is computed.
func (p *player) take(k *journal.Key) error {
	follows := p.key != nil && p.key.Boot == k.Boot && p.next == k.Next
	switch {
	case follows:
		p.compareStates(&p.state, &k.State, k.Next)
	case k.Start != nil:
		// What was in memory at a crash is not in the journal, and is no gap: the
		// state that the run went on from says up to where there was something.
		if p.ended != nil {
			p.gap(k.State.Wall, p.why)
		}
		p.begin(k)
	default:
		if p.key != nil {
			p.lose("steps are missing")
		}
		if p.ended != nil {
			p.gap(k.State.Wall, p.why)
		}
	}
	if !follows {
		p.past = append(p.past, k.State)
	}
	if n := len(p.report.Configs); n == 0 || p.report.Configs[n-1].Boot != k.Boot || p.report.Configs[n-1].Hash != k.Config {
		p.report.Runs++
		p.report.Configs = append(p.report.Configs, Config{k.Config, k.Version, k.Boot, k.State.Wall})
	}
	if !follows || p.engine == nil {
		p.engine = failsafe.NewEngine(k.Engine)
		p.groups = p.groups[:0]
		for _, g := range k.Engine.Groups {
			p.groups = append(p.groups, g.ID)
		}
		p.ramps = audit.Ramps{}
		if len(k.Ramps) > 0 {
			if err := json.Unmarshal(k.Ramps, &p.ramps); err != nil {
				return err
			}
		}
	}
	p.key, p.state, p.next, p.at, p.chain = k, k.State, k.Next, k.State.Wall, k.State.Audit.Chain
	if p.report.From.IsZero() {
		p.report.From = p.at
	}
	return nil
}

// begin computes the beginning of a run.
func (p *player) begin(k *journal.Key) {
	e := failsafe.NewEngine(k.Engine)
	began := k.Start.State(e)
	p.compareStates(&began, &k.State, 0)
	if old := k.Start.Old; old != nil && len(p.past) > 0 {
		p.resumed(old, k)
	}
	if k.State.Audit.N > 0 {
		p.key, p.at, p.next, p.chain = k, k.State.Wall, 0, k.State.Audit.Chain
		p.compare([]failsafe.Decision{failsafe.InForce(failsafe.DecidedStart, k.State, nil)}, &journal.Step{
			Now: k.Start.Now, Wall: k.Start.Wall, First: k.State.Audit.N, Records: 1}, nil)
	}
}

// resumed looks for the state that a run went on from among those that the run
// before went through. One that is later than all of them shows how much was not
// written when that run ended.
func (p *player) resumed(old *failsafe.State, k *journal.Key) {
	var near *failsafe.State // several steps may be of one moment
	for i := len(p.past) - 1; i >= 0; i-- {
		was := &p.past[i]
		if was.Mono != old.Mono || !was.Wall.Equal(old.Wall) {
			continue
		}
		if bytes.Equal(engineState(*was), engineState(*old)) {
			p.report.States++
			return
		}
		if near == nil {
			near = was
		}
	}
	if near != nil {
		p.key = k
		p.compareStates(near, old, 0)
		return
	}
	if last := &p.past[len(p.past)-1]; old.Mono > last.Mono {
		at := last.Wall
		p.ended = &at
		p.gap(old.Wall, "the run ended before these steps were written")
		return
	}
	p.key = k
	p.differ(Difference{Field: "state that the run went on from", Was: "that of " + old.Wall.UTC().Format(time.RFC3339Nano),
		Would: "one that the run before went through"}, &journal.Step{Wall: k.State.Wall})
}

// step computes a step and compares what was decided.
func (p *player) step(s *journal.Step) error {
	if p.key == nil {
		return nil
	}
	if s.N != p.next {
		p.lose(fmt.Sprintf("steps %d to %d are missing", p.next, int64(s.N)-1))
		return nil
	}
	p.next++
	before := p.state
	var all []failsafe.Decision
	if s.Stop {
		state, rest := p.engine.Stop(before, s.Now, s.Wall)
		p.state = state
		all = append(p.ramps.Rest(), failsafe.InForce(failsafe.DecidedStop, state, rest))
	} else {
		state, set, ev, _ := p.engine.Step(before, s.In, s.Now, s.Wall)
		p.state = state
		var err error
		decided := p.recorded(p.engine.Decisions(before, state, s.In, set, ev), s)
		if all, err = p.ramps.Add(decided, s.Now); err != nil {
			return err
		}
	}
	if len(p.past) >= mostKept {
		p.past = append(p.past[:0], p.past[mostKept/2:]...)
	}
	p.past = append(p.past, p.state)
	p.report.Steps++
	p.at = s.Wall
	p.report.To = s.Wall
	if len(all) > 0 || s.Records > 0 {
		p.compare(all, s, &audit.Moment{Wall: s.Wall, Mono: s.Now, Clock: s.In.Clock.String()})
	}
	return nil
}

// recorded leaves out the refusals that were counted instead of recorded one by
// one: those for which there is no record among those of the step.
func (p *player) recorded(all []failsafe.Decision, s *journal.Step) []failsafe.Decision {
	return slices.DeleteFunc(all, func(d failsafe.Decision) bool {
		if d.Kind != failsafe.DecidedRefusal {
			return false
		}
		for n := s.First; n < s.First+min(s.Records, mostAStep); n++ {
			if r := p.records[id{p.chain, n}]; r != nil && r.head.Kind == failsafe.DecidedRefusal && r.head.Source == d.Source {
				return false
			}
		}
		return true
	})
}

// mostAStep is more records than any step leads to.
const mostAStep = 1 << 16

// compare holds decisions against the records that the step is said to have led
// to. Without a moment the record's own counts.
func (p *player) compare(all []failsafe.Decision, s *journal.Step, at *audit.Moment) {
	if uint64(len(all)) != s.Records {
		p.differ(Difference{Field: "records of the step", Was: strconv.FormatUint(s.Records, 10), Would: strconv.Itoa(len(all))}, s)
	}
	n := s.First
	for i := range all {
		d := &all[i]
		if uint64(i) >= s.Records {
			p.differ(Difference{Field: "record", Was: "none", Would: short(d)}, s)
			continue
		}
		r := p.records[id{p.chain, n}]
		n++
		if r == nil {
			p.report.Absent++
			continue
		}
		r.claimed = true
		p.report.Decisions++
		if at == nil {
			wall, _ := time.Parse(time.RFC3339, r.head.Wall) // a false one differs below
			at = &audit.Moment{Wall: wall, Mono: time.Duration(r.head.Mono) * time.Millisecond, Clock: r.head.Clock}
		}
		head := failsafe.AuditHead{Chain: r.head.Chain, N: r.head.N - 1, Hash: r.head.Prev}
		text, _, err := audit.Append(head, p.frame(), *at, *d)
		if err != nil {
			p.differ(Difference{Chain: r.head.Chain, N: r.head.N, Field: "record", Was: short(&r.head.Decision), Would: err.Error()}, s)
			continue
		}
		if bytes.Equal(text, r.text) {
			continue
		}
		for _, f := range fields(r.text, text) {
			p.differ(Difference{Chain: r.head.Chain, N: r.head.N, Field: f.path, Was: f.was, Would: f.would}, s)
		}
	}
	for ; n < s.First+min(s.Records, mostAStep); n++ {
		if r := p.records[id{p.chain, n}]; r != nil {
			r.claimed = true
			p.differ(Difference{Chain: p.chain, N: n, Field: "record", Was: short(&r.head.Decision), Would: "none"}, s)
		}
	}
}

func (p *player) frame() audit.Frame {
	return audit.Frame{Agent: p.key.Agent, Boot: p.key.Boot, Config: p.key.Config, Version: p.key.Version}
}

func short(d *failsafe.Decision) string {
	text, err := json.Marshal(d)
	if err != nil {
		return err.Error()
	}
	return string(text[:min(len(text), 200)])
}

func (p *player) differ(d Difference, s *journal.Step) {
	if len(p.report.Differences) >= mostDifferences {
		p.report.More++
		return
	}
	d.Boot, d.Step, d.Wall = p.key.Boot, s.N, s.Wall
	p.report.Differences = append(p.report.Differences, d)
}

// engineState is a state as text, without what the engine only keeps for others.
func engineState(s failsafe.State) []byte {
	s.Floor, s.Audit = time.Time{}, failsafe.AuditHead{}
	body, err := json.Marshal(s)
	if err != nil {
		return []byte(err.Error())
	}
	return body
}

// compareStates holds a state in the journal against the computed one.
func (p *player) compareStates(would, was *failsafe.State, step uint64) {
	p.report.States++
	a, b := engineState(*was), engineState(*would)
	if bytes.Equal(a, b) {
		return
	}
	if p.key == nil {
		p.key = &journal.Key{}
	}
	for _, f := range fields(a, b) {
		p.differ(Difference{Field: f.path, Was: f.was, Would: f.would}, &journal.Step{N: step, Wall: was.Wall})
	}
}

// unclaimed finds the records of the engine's decisions that no step led to,
// although the steps around them were computed.
func (p *player) unclaimed() {
	var all []*record
	for _, r := range p.records {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *record) int {
		if a.head.Chain != b.head.Chain {
			return bytes.Compare([]byte(a.head.Chain), []byte(b.head.Chain))
		}
		return int(int64(a.head.N) - int64(b.head.N))
	})
	for i, r := range all {
		switch r.head.Kind {
		case failsafe.DecidedSetpoint, failsafe.DecidedTransition, failsafe.DecidedCommand, failsafe.DecidedOverride, failsafe.DecidedRamp:
		default:
			continue // made by the agent around the engine
		}
		if r.claimed {
			continue
		}
		// Between two records of the same run that were claimed, without a gap.
		between := false
		for j := i - 1; j >= 0 && all[j].head.Boot == r.head.Boot; j-- {
			between = between || all[j].claimed
		}
		after := false
		for j := i + 1; j < len(all) && all[j].head.Boot == r.head.Boot; j++ {
			after = after || all[j].claimed
		}
		wall, err := time.Parse(time.RFC3339, r.head.Wall)
		if !between || !after || err == nil && slices.ContainsFunc(p.report.Gaps, func(g Gap) bool { return !wall.Before(g.From) && (g.To.IsZero() || !wall.After(g.To)) }) {
			p.report.Absent++
			continue
		}
		p.key = &journal.Key{Boot: r.head.Boot}
		p.differ(Difference{Chain: r.head.Chain, N: r.head.N, Field: "record", Was: short(&r.head.Decision), Would: "none: no step led to it"}, &journal.Step{Wall: wall})
	}
}
