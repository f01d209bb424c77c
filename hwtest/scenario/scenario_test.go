package scenario

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the generated files")

// The schema in the docs is that of the structs.
func TestSchemaIsCurrent(t *testing.T) {
	const file = "../../docs/scenario.schema.json"
	if *update {
		if err := os.WriteFile(file, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(Schema()) {
		t.Errorf("%s is not current: go test ./hwtest/scenario -update", file)
	}
}

const good = `promise: silence holds every group at its failsafe limit
requirements: [R7, R13]
given:
  released: true
  load: {W1: 80, W2: {L1: 5, volts: 231}}
steps:
  - at: +5s
    when: {heartbeats: false}
    then:
      - within: 6s
        permitted: {group: G1, at_most: 24}
      - never: end
        written: {group: G1, at_least: 30}
  - when:
      command: {name: limit, as: a, body: {target: {way: W1}, limit: none}}
    then:
      - {within: 2s, ack: {command: a, stage: completed}}
      - {within: 5s, state: {topic: up/failsafe, where: {ways.W1.state: {one_of: [FREE, LIMITED]}}}}
`

func TestParse(t *testing.T) {
	s, faults := Parse("a.yaml", []byte(good))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if faults := s.Check(Place{Ways: []string{"W1", "W2"}, Groups: map[string]float64{"G1": 96}}); len(faults) > 0 {
		t.Fatal(faults)
	}
	if got := s.Steps[0].Then[0]; got.Within != 6*time.Second || *got.Permitted.AtMost != 24 || got.Line != 10 {
		t.Errorf("first expectation = %+v", got)
	}
	if !s.Steps[0].Then[1].Never.End || *s.Given.Load["W1"].L3 != 80 || *s.Given.Load["W2"].V != 231 {
		t.Errorf("scenario = %+v", s)
	}
}

func TestFaults(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	tests := []struct{ name, text, want string }{
		{"misspelt step", change("heartbeats: false", "hartbeats: false"), `a.yaml:8: steps[0].when.hartbeats: unknown key (did you mean "heartbeats"?)`},
		{"misspelt judge", change("permitted:", "permited:"), `a.yaml:11: steps[0].then[0].permited: unknown key (did you mean "permitted"?)`},
		{"misspelt stage", change("stage: completed", "stage: complete"), `there is no "complete" (did you mean "completed"?)`},
		{"no unit", change("within: 6s", "within: 6"), `a.yaml:10: steps[0].then[0].within: must be a time with its unit, like 30s, not "6"`},
		{"two times", change("within: 6s", "within: 6s\n        always: 3s"), "has 2 of within, always"},
		{"no time", change("within: 6s\n        p", "p"), "has 0 of within, always"},
		{"no thing", change("        permitted: {group: G1, at_most: 24}\n", ""), "looks at 0 things"},
		{"never true", change("at_most: 24", "at_most: 24, at_least: 25"), "can never be true: at least 25 and at most 24"},
		{"above the rating", change("at_most: 24", "at_least: 97"), "a.yaml:10: steps[0].then[0]: can never be true: 97 A is above the rating of G1, 96 A"},
		{"no such group", change("{group: G1, at_most", "{group: G3, at_most"), `there is no group "G3" (did you mean "G1"?)`},
		{"no such way", change("W1: 80", "W9: 80"), `given.load.W9: there is no way "W9" (did you mean "W1"?)`},
		{"unknown command", change("command: a, stage", "command: b, stage"), `no command "b" was sent before (did you mean "a"?)`},
		{"no promise", change("promise: silence holds every group at its failsafe limit\n", ""), "a.yaml:1: promise: is missing"},
		{"no requirement", change("R13", "Q13"), `requirements[1]: "Q13" is no requirement`},
		{"twice", change("  released: true", "  released: true\n  released: false"), "given.released: is there twice; the first is in line 4"},
		{"bad path", change("ways.W1.state", "ways..state"), "is no part of a path"},
		{"unknown match", change("one_of", "on_of"), `unknown word (did you mean "one_of"?)`},
		{"alias", "promise: &x a\nrequirements: *x\n", "aliases (*x) are not taken"},
		{"backwards", change("  - when:\n      command", "  - at: 2s\n    when:\n      command"), "steps[1].at: 2s is before an earlier step"},
		{"empty", "", "the file is empty"},
		{"no YAML", "a: [\n", "a.yaml:"},
		{"times of a state", change("within: 6s", "within: 6s\n        times: 2"), "times and at_least_times go with within, and with what happens"},
		{"records too early", change("permitted: {group: G1, at_most: 24}", "records: {at_least: 2}"), "records are judged finally"},
		{"too long", change("within: 6s", "within: 600h"), "is longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, faults := Parse("a.yaml", []byte(tt.text))
			if s != nil {
				faults = append(faults, s.Check(Place{Ways: []string{"W1", "W2"}, Groups: map[string]float64{"G1": 96}})...)
			}
			if !slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.Error(), tt.want) }) {
				t.Errorf("faults = %v, want one with %q", faults, tt.want)
			}
		})
	}
}

// All faults come at once.
func TestAllFaultsAtOnce(t *testing.T) {
	_, faults := Parse("a.yaml", []byte("promise: 1\nrequirements: [R7]\nsteps:\n  - {wen: {}}\n  - {then: [{within: x}]}\n  - {at: soon}\n"))
	var lines []int
	for _, f := range faults {
		if !slices.Contains(lines, f.Line) {
			lines = append(lines, f.Line)
		}
	}
	for _, want := range []int{4, 5, 6} {
		if !slices.Contains(lines, want) {
			t.Errorf("no fault of line %d in %v", want, faults)
		}
	}
}

func ptr[T any](v T) *T { return &v }

const sec = time.Second

func TestEvaluate(t *testing.T) {
	amps := func(at time.Duration, v float64) Observation {
		return Observation{At: at, Kind: Permits, Key: "G1", Number: v}
	}
	msg := func(at time.Duration, topic string, body any) Observation {
		return Observation{At: at, Kind: Messages, Key: topic, Body: body}
	}
	low := &Permitted{"G1", Bounds{AtMost: ptr(24.0)}}
	free := map[string]any{"ways": map[string]any{"W1": map[string]any{"state": "FREE"}}}
	state := &Topic{"up/failsafe", Where{equals("ways.W1.state", "FREE")}}
	raise := map[string]any{"id": "W1.STALE", "edge": "raise"}
	tests := []struct {
		name string
		e    Expectation
		seen []Observation
		now  time.Duration
		over bool
		want Status
		at   time.Duration
	}{
		{"true from the start", Expectation{Within: sec, Permitted: low}, []Observation{amps(0, 20)}, 2 * sec, false, Held, 2 * sec},
		{"at the last moment", Expectation{Within: sec, Permitted: low}, []Observation{amps(0, 96), amps(3*sec, 20)}, 3 * sec, false, Held, 3 * sec},
		{"a moment too late", Expectation{Within: sec, Permitted: low}, []Observation{amps(0, 96), amps(3*sec+1, 20)}, 4 * sec, false, Broken, 3 * sec},
		{"still open", Expectation{Within: sec, Permitted: low}, []Observation{amps(0, 96)}, 3*sec - 1, false, Waiting, 0},
		{"before the step does not count", Expectation{Within: sec, Permitted: low}, []Observation{amps(0, 20), amps(sec, 96)}, 4 * sec, false, Broken, 3 * sec},
		{"stays", Expectation{Within: 2 * sec, For: 2 * sec, Permitted: low}, []Observation{amps(0, 20), amps(4*sec, 96)}, 4 * sec, false, Held, 2 * sec},
		{"does not stay", Expectation{Within: sec, For: 2 * sec, Permitted: low}, []Observation{amps(0, 20), amps(4*sec-1, 96)}, 6 * sec, false, Broken, 3 * sec},
		{"always", Expectation{Always: &Span{For: 3 * sec}, Permitted: low}, []Observation{amps(0, 20), amps(5*sec+1, 96)}, 6 * sec, false, Held, 5 * sec},
		{"not always", Expectation{Always: &Span{For: 3 * sec}, Permitted: low}, []Observation{amps(0, 20), amps(5*sec, 96)}, 5 * sec, false, Broken, 5 * sec},
		{"always, and never seen", Expectation{Always: &Span{End: true}, State: state}, nil, 9 * sec, true, Broken, 9 * sec},
		{"never", Expectation{Never: &Span{End: true}, State: state}, nil, 9 * sec, true, Held, 9 * sec},
		{"never, open", Expectation{Never: &Span{End: true}, State: state}, nil, 9 * sec, false, Waiting, 0},
		{"never, and it stood already", Expectation{Never: &Span{For: sec}, State: state}, []Observation{msg(sec, "up/failsafe", free)}, 3 * sec, false, Broken, 2 * sec},
		{"a message of before is no event", Expectation{Within: sec, Message: state}, []Observation{msg(sec, "up/failsafe", free)}, 3 * sec, false, Broken, 3 * sec},
		{"eventually", Expectation{Eventually: true, Message: state}, []Observation{msg(50*sec, "up/failsafe", free)}, 50 * sec, false, Held, 50 * sec},
		{"once exactly", Expectation{Within: 3 * sec, Times: 1, Alarm: &Alarm{ID: "W1.STALE"}}, []Observation{msg(3*sec, "up/alarm/W1", raise)}, 5 * sec, false, Held, 5 * sec},
		{"once exactly, and twice", Expectation{Within: 3 * sec, Times: 1, Alarm: &Alarm{ID: "W1.STALE"}}, []Observation{msg(3*sec, "up/alarm/W1", raise), msg(4*sec, "up/alarm/W1", raise)}, 4 * sec, false, Broken, 4 * sec},
		{"another alarm", Expectation{Within: 3 * sec, Alarm: &Alarm{ID: "W2.STALE"}}, []Observation{msg(3*sec, "up/alarm/W1", raise)}, 6 * sec, false, Broken, 5 * sec},
		{"finally", Expectation{Finally: true, Permitted: low}, []Observation{amps(3*sec, 96), amps(4*sec, 20)}, 6 * sec, true, Held, 6 * sec},
		{"finally, from before the step", Expectation{Finally: true, Permitted: low}, []Observation{amps(sec, 96)}, 6 * sec, true, Broken, 6 * sec},
		{"incomplete", Expectation{Finally: true, Records: &Records{1}}, []Observation{{At: 3 * sec, Kind: Counts, Number: 4, Text: "1 missing"}}, 6 * sec, true, Broken, 6 * sec},
		{"too few", Expectation{Finally: true, Records: &Records{5}}, []Observation{{At: 3 * sec, Kind: Counts, Number: 4}}, 6 * sec, true, Broken, 6 * sec},
		{"array of records", Expectation{Within: 3 * sec, Message: &Topic{"up/hist/#", Where{equals("way", "W2")}}}, []Observation{msg(3*sec, "up/hist/hh/W1", []any{map[string]any{"way": "W1"}, map[string]any{"way": "W2"}})}, 3 * sec, false, Held, 3 * sec},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &Scenario{Steps: []Step{{Then: []Expectation{tt.e}}}}
			got := Evaluate(s, &Timeline{Observations: tt.seen, Started: []time.Duration{2 * sec}, Now: tt.now, Over: tt.over})[0]
			if got.Status != tt.want || tt.want != Waiting && got.At != tt.at {
				t.Errorf("%s at %v (%s), want %s at %v", got.Status, got.At, got.Seen, tt.want, tt.at)
			}
			if got.Status == Broken && (got.Seen == "" || got.Expected == "") {
				t.Errorf("a broken promise says nothing: %+v", got)
			}
		})
	}
}

// An ack is that of its own command.
func TestAckOfACommand(t *testing.T) {
	ack := func(id string) Observation {
		return Observation{At: 2 * sec, Kind: Messages, Key: "up/ack", Body: map[string]any{"id": id, "stage": "completed"}}
	}
	s := &Scenario{Steps: []Step{{Then: []Expectation{{Within: sec, Ack: &Ack{Command: "mine", Stage: "completed"}}}}}}
	line := &Timeline{Started: []time.Duration{sec}, Now: 5 * sec, Observations: []Observation{{At: sec, Kind: Sends, Key: "mine", Text: "7"}, ack("8")}}
	if got := Evaluate(s, line)[0]; got.Status != Broken {
		t.Errorf("another's ack: %+v", got)
	}
	line.Observations = append(line.Observations, ack("7"))
	if got := Evaluate(s, line)[0]; got.Status != Held {
		t.Errorf("its own ack: %+v", got)
	}
}

// drawn is a scenario of one expectation about a register, and what was seen.
func drawn(t *rapid.T) (*Expectation, []Observation, time.Duration) {
	e := &Expectation{Permitted: &Permitted{"G1", Bounds{AtMost: ptr(24.0)}}}
	span := func() time.Duration { return time.Duration(rapid.IntRange(1, 8).Draw(t, "span")) * sec }
	switch rapid.SampledFrom([]string{"within", "always", "never", "for"}).Draw(t, "when") {
	case "within":
		e.Within = span()
	case "for":
		e.Within, e.For = span(), span()
	case "always":
		e.Always = &Span{For: span()}
	default:
		e.Never = &Span{For: span()}
	}
	e.After = time.Duration(rapid.IntRange(0, 2).Draw(t, "after")) * sec
	var seen []Observation
	for at := range 24 {
		if rapid.IntRange(0, 2).Draw(t, "change") == 0 {
			seen = append(seen, Observation{At: time.Duration(at) * sec, Kind: Permits, Key: "G1", Number: float64(rapid.SampledFrom([]int{0, 24, 25, 96}).Draw(t, "amps"))})
		}
	}
	return e, seen, time.Duration(rapid.IntRange(0, 6).Draw(t, "start")) * sec
}

// The verdict is what a second, slower way of looking comes to: second by
// second, with the value that stood in each.
func TestVerdictsAreThoseOfASecondLook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, seen, start := drawn(t)
		holds := func(at time.Duration) (is, known bool) {
			for _, o := range seen {
				if o.At <= at {
					is, known = o.Number <= 24, true
				}
			}
			return is, known
		}
		from := start + e.After
		all := func(from, to time.Duration, want bool) bool {
			for at := from; at <= to; at += sec {
				if is, known := holds(at); known && is != want {
					return false
				}
			}
			return true
		}
		want := false
		switch {
		case e.Always != nil:
			_, known := holds(from + e.Always.For)
			want = known && all(from, from+e.Always.For, true)
		case e.Never != nil:
			want = all(from, from+e.Never.For, false)
		default:
			for at := from; at <= from+e.Within; at += sec {
				is, _ := holds(at)
				want = want || is && all(at, at+max(0, e.For-sec), true)
			}
		}
		s := &Scenario{Steps: []Step{{Then: []Expectation{*e}}}}
		got := Evaluate(s, &Timeline{Observations: seen, Started: []time.Duration{start}, Now: 40 * sec})[0]
		if (got.Status == Held) != want || got.Status == Waiting {
			t.Fatalf("%s (%s), want held: %v", got.Status, got.Seen, want)
		}
	})
}

// What is decided stays decided, and at the end nothing is open: the bench may
// look as often as it likes.
func TestVerdictsStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, seen, start := drawn(t)
		s := &Scenario{Steps: []Step{{Then: []Expectation{*e}}}}
		var decided *Verdict
		for now := start; now < 40*sec; now += sec {
			var so []Observation
			for _, o := range seen {
				if o.At <= now {
					so = append(so, o)
				}
			}
			got := Evaluate(s, &Timeline{Observations: so, Started: []time.Duration{start}, Now: now})[0]
			if decided != nil && (got.Status != decided.Status || got.At != decided.At) {
				t.Fatalf("%s at %v became %s at %v", decided.Status, decided.At, got.Status, got.At)
			}
			if got.Status != Waiting && decided == nil {
				decided = &got
			}
		}
		last := Evaluate(s, &Timeline{Observations: seen, Started: []time.Duration{start}, Now: 40 * sec, Over: true})[0]
		if last.Status != Held && last.Status != Broken {
			t.Fatalf("at the end: %s", last.Status)
		}
	})
}

// Whatever a file says, reading it ends, and what passes can be judged.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("steps: [{then: [{finally: true, records: {at_least: 1}}]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, faults := Parse("f.yaml", text)
		if s == nil {
			t.Fatal("no scenario")
		}
		s.Check(Place{Ways: []string{"W1"}, Groups: map[string]float64{"G1": 96}})
		if len(faults) > 0 {
			return
		}
		for _, v := range Evaluate(s, &Timeline{Started: make([]time.Duration, len(s.Steps)), Now: time.Hour * 3, Over: true}) {
			if v.Status == Waiting || v.Status == Unreached {
				t.Errorf("at the end: %+v", v)
			}
		}
	})
}
