package alarm

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/meter"
)

const (
	s  = time.Second
	ms = time.Millisecond
)

var begin = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

// reading returns a reading with every value good and no load.
func reading(at time.Duration) meter.Reading {
	r := meter.Reading{Way: "W3", At: at, Neutral: good[meter.Milliamps](0)}
	for p := range r.Phase {
		r.Phase[p] = meter.PhaseReading{V: good[meter.Millivolts](230_000), I: good[meter.Milliamps](0),
			P: good[meter.Milliwatts](0), Q: good[meter.Millivars](0)}
	}
	return r
}

func good[T meter.Quantity](v T) meter.Sample[T] {
	return meter.Sample[T]{Value: v, Quality: meter.Good}
}

// tester is what a test and a property have in common.
type tester interface {
	Helper()
	Fatal(...any)
}

func must(t tester, cfg Config, rules ...Rule) *Machine {
	t.Helper()
	m, err := New(cfg, rules)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// off is a condition that nobody watches.
var off = Watch{Disabled: true}

// onlyRules is a way without conditions of its own.
var onlyRules = only()

// only returns a way that watches nothing but the named conditions.
func only(names ...string) Config {
	c := Config{Way: "W3"}
	for _, n := range Conditions() {
		c.Watch(n).Disabled = !slices.Contains(names, n)
	}
	return c
}

var (
	hi = Rule{Way: "W3", Quantity: I, Phase: meter.L1, Kind: Hi, Threshold: 300_000, Hysteresis: 9_000, OnDelay: 3 * s, OffDelay: 5 * s, Severity: meter.Warning}
	lo = Rule{Way: "W3", Quantity: V, Phase: meter.L1, Kind: Lo, Threshold: 216_200, Hysteresis: 1_000, OnDelay: 3 * s, OffDelay: 5 * s}
)

// with returns a change of r that keeps its name.
func with(r Rule, change func(*Rule)) Rule {
	change(&r)
	return r
}

// sample is a value of the rule's quantity at a time.
type sample struct {
	at      time.Duration
	value   int64
	quality meter.Quality
	reason  meter.Reason
}

func at(at time.Duration, value int64) sample { return sample{at, value, meter.Good, 0} }
func none(at time.Duration, why meter.Reason) sample {
	return sample{at, 0, meter.Missing, why}
}

// steady is a value once a second, from up to and with to.
func steady(from, to time.Duration, value int64) (out []sample) {
	for t := from; t <= to; t += s {
		out = append(out, at(t, value))
	}
	return out
}

func history(parts ...any) (out []sample) {
	for _, p := range parts {
		switch p := p.(type) {
		case sample:
			out = append(out, p)
		case []sample:
			out = append(out, p...)
		}
	}
	return out
}

func (x sample) reading(r Rule) meter.Reading {
	out := reading(x.at)
	ph := &out.Phase[r.Phase]
	switch r.Quantity {
	case V:
		ph.V = meter.Sample[meter.Millivolts]{Value: meter.Millivolts(x.value), Quality: x.quality, Reason: x.reason}
	case I:
		ph.I = meter.Sample[meter.Milliamps]{Value: meter.Milliamps(x.value), Quality: x.quality, Reason: x.reason}
	case P:
		ph.P = meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(x.value), Quality: x.quality, Reason: x.reason}
	case Q:
		ph.Q = meter.Sample[meter.Millivars]{Value: meter.Millivars(x.value), Quality: x.quality, Reason: x.reason}
	case N:
		out.Neutral = meter.Sample[meter.Milliamps]{Value: meter.Milliamps(x.value), Quality: x.quality, Reason: x.reason}
	}
	return out
}

// brief tells edges in short: "raise W3.L1.i.hi 3s=301000".
func brief(at time.Duration, edges []meter.Alarm) (out []string) {
	for _, e := range edges {
		out = append(out, fmt.Sprintf("%v %s %v=%d", e.Edge, e.ID, at, e.Value))
	}
	return out
}

func TestThreshold(t *testing.T) {
	const far, near, back = 301_000, 295_000, 291_000 // beyond, between, back by the hysteresis
	raised := steady(0, 3*s, far)
	tests := []struct {
		name string
		rule Rule
		in   []sample
		want []string
	}{
		{"at the threshold", hi, steady(0, 60*s, 300_000), nil},
		{"one milliamp beyond", hi, steady(0, 60*s, 300_001), []string{"raise W3.L1.i.hi 3s=300001"}},
		{"on delay over", hi, raised, []string{"raise W3.L1.i.hi 3s=301000"}},
		{"one millisecond before", hi, history(steady(0, 2*s, far), at(3*s-ms, far)), nil},
		{"no delay", with(hi, func(r *Rule) { r.OnDelay = 0 }), history(at(0, back), at(s, far)), []string{"raise W3.L1.i.hi 1s=301000"}},
		{"one value at the threshold starts the delay anew", hi, history(steady(0, 2*s, far), at(3*s, 300_000), steady(4*s, 6*s, far)), nil},
		{"the new delay over", hi, history(steady(0, 2*s, far), at(3*s, 300_000), steady(4*s, 7*s, far)), []string{"raise W3.L1.i.hi 7s=301000"}},
		{"nothing but time", hi, history(at(0, far), none(3*s, meter.NoAnswer), none(60*s, meter.NoAnswer)), nil},
		{"a lost poll counts as held", hi, history(at(0, far), none(s, meter.NoAnswer), at(2*s, far), at(3*s, far)), []string{"raise W3.L1.i.hi 3s=301000"}},
		{"a sample that is not there does not raise", hi, history(steady(0, 2*s, far), none(3*s, meter.NoAnswer)), nil},
		{"the next one that is there does", hi, history(steady(0, 2*s, far), none(3*s, meter.NoAnswer), at(4*s, far)), []string{"raise W3.L1.i.hi 4s=301000"}},
		{"silence counts up to the hold", hi, history(at(0, far), at(60*s, far), at(60*s+499*ms, far)), nil},
		{"and then goes on", hi, history(at(0, far), at(60*s, far), at(60*s+500*ms, far)), []string{"raise W3.L1.i.hi 1m0.5s=301000"}},
		{"an explicit refusal ends the hold", hi, history(at(0, far), none(s, meter.Sentinel), at(2*s, far), at(3*s, far)), nil},
		{"but does not start the delay anew", hi, history(at(0, far), none(s, meter.Sentinel), at(2*s, far), at(3*s, far), at(4*s, far)), []string{"raise W3.L1.i.hi 4s=301000"}},
		{"a reading that never was is no value", hi, history(steady(0, 2*s, far), sample{at: 3 * s}, sample{at: 9 * s}), nil},
		{"beyond what can be measured is no value", hi, steady(0, 9*s, largest+1), nil},
		{"a suspect sample counts", hi, []sample{{0, far, meter.Suspect, 0}, {2 * s, far, meter.Suspect, 0}, {3 * s, far, meter.Suspect, 0}}, []string{"raise W3.L1.i.hi 3s=301000"}},
		{"an older reading is ignored", hi, history(steady(0, 2*s, far), at(s, back), at(3*s, far)), []string{"raise W3.L1.i.hi 3s=301000"}},

		{"between does not clear", hi, history(raised, steady(4*s, 60*s, near)), []string{"raise W3.L1.i.hi 3s=301000"}},
		{"one milliamp short of back", hi, history(raised, steady(4*s, 60*s, back+1)), []string{"raise W3.L1.i.hi 3s=301000"}},
		{"off delay over", hi, history(raised, steady(4*s, 9*s, back)), []string{"raise W3.L1.i.hi 3s=301000", "clear W3.L1.i.hi 9s=291000"}},
		{"one millisecond before the clear", hi, history(raised, steady(4*s, 8*s, back), at(9*s-ms, back)), []string{"raise W3.L1.i.hi 3s=301000"}},
		{"no off delay", with(hi, func(r *Rule) { r.OffDelay = 0 }), history(raised, at(4*s, back)), []string{"raise W3.L1.i.hi 3s=301000", "clear W3.L1.i.hi 4s=291000"}},
		{"between starts the off delay anew", hi, history(raised, steady(4*s, 8*s, back), at(9*s, near), steady(10*s, 14*s, back)), []string{"raise W3.L1.i.hi 3s=301000"}},
		{"a sample that is not there does not clear", hi, history(raised, steady(4*s, 8*s, back), none(9*s, meter.NoAnswer), none(99*s, meter.Sentinel)), []string{"raise W3.L1.i.hi 3s=301000"}},
		{"one that is there does", hi, history(raised, steady(4*s, 8*s, back), none(9*s, meter.NoAnswer), at(10*s, back)), []string{"raise W3.L1.i.hi 3s=301000", "clear W3.L1.i.hi 10s=291000"}},
		{"no hysteresis: the threshold is back", with(hi, func(r *Rule) { r.Hysteresis = 0 }), history(raised, steady(4*s, 9*s, 300_000)), []string{"raise W3.L1.i.hi 3s=301000", "clear W3.L1.i.hi 9s=300000"}},
		{"raised again", with(hi, func(r *Rule) { r.OnDelay, r.OffDelay = 0, 0 }), history(at(0, far), at(s, back), at(2*s, far)),
			[]string{"raise W3.L1.i.hi 0s=301000", "clear W3.L1.i.hi 1s=291000", "raise W3.L1.i.hi 2s=301000"}},

		{"lo: at the threshold", lo, steady(0, 60*s, 216_200), nil},
		{"lo: one millivolt below", lo, steady(0, 3*s, 216_199), []string{"raise W3.L1.v.lo 3s=216199"}},
		{"lo: one millivolt short of back", lo, history(steady(0, 3*s, 216_000), steady(4*s, 60*s, 217_199)), []string{"raise W3.L1.v.lo 3s=216000"}},
		{"lo: back", lo, history(steady(0, 3*s, 216_000), steady(4*s, 9*s, 217_200)), []string{"raise W3.L1.v.lo 3s=216000", "clear W3.L1.v.lo 9s=217200"}},
		{"p is signed: export under lo", Rule{Way: "W3", Quantity: P, Phase: meter.L2, Kind: Lo, Threshold: -1_000_000}, []sample{at(0, -1_000_000), at(s, -1_000_001), at(2*s, 5)},
			[]string{"raise W3.L2.p.lo 1s=-1000001", "clear W3.L2.p.lo 2s=5"}},
		{"p is signed: export is not hi", Rule{Way: "W3", Quantity: P, Phase: meter.L2, Kind: Hi, Threshold: 1_000_000}, steady(0, 9*s, -5_000_000), nil},
		{"q is signed", Rule{Way: "W3", Quantity: Q, Phase: meter.L3, Kind: LoLo, Threshold: -1_000}, []sample{at(0, -1_001)}, []string{"raise W3.L3.q.lolo 0s=-1001"}},
		{"neutral", Rule{Way: "W3", Quantity: N, Kind: HiHi, Threshold: 90_000}, []sample{at(0, 90_001)}, []string{"raise W3.n.hihi 0s=90001"}},
		{"computed neutral", Rule{Way: "W3", Quantity: N, Kind: HiHi, Threshold: 90_000}, []sample{{0, 90_001, meter.Good, meter.Derived}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, onlyRules, tt.rule)
			var got []string
			for _, x := range tt.in {
				r := x.reading(tt.rule)
				got = append(got, brief(x.at, m.Add(&r, begin.Add(x.at)))...)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// The clear tells the whole story: peak and its time, duration, value at the end.
func TestClearTellsThePeak(t *testing.T) {
	tests := []struct {
		name           string
		rule           Rule
		pending, worst int64
		later, back    int64
	}{
		{"hi", hi, 302_000, 316_000, 310_000, 280_000},
		{"hi with its peak while pending", hi, 400_000, 316_000, 310_000, 280_000},
		{"lo", lo, 215_000, 190_000, 200_000, 230_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, onlyRules, tt.rule)
			in := history(at(0, tt.pending), at(s, tt.pending), at(2*s, tt.later), at(3*s, tt.later),
				at(4*s, tt.worst), at(5*s, tt.worst), at(6*s, tt.later), steady(7*s, 12*s, tt.back))
			var edges []meter.Alarm
			for _, x := range in {
				r := x.reading(tt.rule)
				edges = append(edges, m.Add(&r, begin.Add(x.at))...)
			}
			peak, peakAt := tt.worst, begin.Add(4*s)
			if tt.pending > peak && tt.rule.Kind == Hi {
				peak, peakAt = tt.pending, begin
			}
			want := meter.Alarm{ID: tt.rule.ID(), Way: "W3", Quantity: tt.rule.Quantity.String(), Phase: "L1", Kind: tt.rule.Kind.String(),
				Edge: meter.Clear, At: begin.Add(12 * s), Value: tt.back, Threshold: tt.rule.Threshold, Severity: tt.rule.Severity,
				Peak: peak, PeakAt: peakAt, Duration: 9 * s, Raises: 1}
			if len(edges) != 2 || edges[1] != want {
				t.Errorf("edges\n got %+v\nwant a raise and %+v", edges, want)
			}
		})
	}
}

func TestHiHiDoesNotClearHi(t *testing.T) {
	hihi := with(hi, func(r *Rule) { r.Kind, r.Threshold, r.OnDelay = HiHi, 330_000, s })
	m := must(t, onlyRules, hi, hihi)
	var got []string
	for _, x := range history(steady(0, 5*s, 340_000), steady(6*s, 11*s, 310_000), steady(12*s, 17*s, 200_000)) {
		r := x.reading(hi)
		got = append(got, brief(x.at, m.Add(&r, begin.Add(x.at)))...)
	}
	want := []string{"raise W3.L1.i.hihi 1s=340000", "raise W3.L1.i.hi 3s=340000", "clear W3.L1.i.hihi 11s=310000", "clear W3.L1.i.hi 17s=200000"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("edges\n got %q\nwant %q", got, want)
	}
}

func TestQuestionable(t *testing.T) {
	tests := []struct {
		name string
		in   []sample
		want bool
	}{
		{"all good", steady(0, 3*s, 301_000), false},
		{"one suspect while pending", history(at(0, 301_000), sample{s, 301_000, meter.Suspect, 0}, steady(2*s, 3*s, 301_000)), true},
		{"one suspect while active", history(steady(0, 3*s, 301_000), sample{4 * s, 301_000, meter.Suspect, 0}), true},
		{"suspect before it began", history(sample{0, 1, meter.Suspect, 0}, steady(s, 4*s, 301_000)), false},
		{"of an earlier delay that ran out", history(sample{0, 301_000, meter.Suspect, 0}, at(s, 1), steady(2*s, 5*s, 301_000)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, onlyRules, hi)
			for _, x := range tt.in {
				r := x.reading(hi)
				m.Add(&r, begin.Add(x.at))
			}
			if got := questionable(m, hi.ID()); got != tt.want {
				t.Errorf("questionable = %v, want %v", got, tt.want)
			}
		})
	}
}

// restart encodes the state as a store would and takes it up in m.
func restart(t tester, from, to *Machine, mono time.Duration, wall time.Time) []meter.Alarm {
	t.Helper()
	body, err := json.Marshal(from.State())
	if err != nil {
		t.Fatal(err)
	}
	var state State
	if err := json.Unmarshal(body, &state); err != nil {
		t.Fatal(err)
	}
	return to.Resume(state, mono, wall)
}

func TestResume(t *testing.T) {
	raised := steady(0, 3*s, 301_000)
	changed := with(hi, func(r *Rule) { r.Threshold = 310_000 })
	tests := []struct {
		name   string
		before []sample
		rules  []Rule        // after the restart
		mono   time.Duration // at the restart
		wall   time.Duration
		after  []sample // stamps since the restart
		want   []string
		long   time.Duration // of the last clear
	}{
		{"an active alarm is not raised again", raised, []Rule{hi}, 100 * s, 20 * s, steady(100*s, 110*s, 301_000), nil, 0},
		{"and is cleared once", raised, []Rule{hi}, 100 * s, 20 * s, history(steady(100*s, 105*s, 1)), []string{"clear W3.L1.i.hi 1m45s=1"}, 22 * s},
		{"the off delay starts anew", history(raised, steady(4*s, 8*s, 1)), []Rule{hi}, 100 * s, 20 * s, steady(100*s, 104*s, 1), nil, 0},
		{"the on delay starts anew", steady(0, 2*s, 301_000), []Rule{hi}, 100 * s, 20 * s, steady(100*s, 102*s, 301_000), nil, 0},
		{"a rule that is gone is cleared once", raised, nil, 100 * s, 20 * s, steady(100*s, 110*s, 1), []string{"clear W3.L1.i.hi 1m40s=301000"}, 17 * s},
		{"a new threshold decides on the clear", raised, []Rule{changed}, 100 * s, 20 * s, steady(100*s, 105*s, 301_000), []string{"clear W3.L1.i.hi 1m45s=301000"}, 22 * s},
		{"a wall clock set back does not shorten it", history(raised, at(10*s, 301_000)), []Rule{hi}, 0, -3600 * s, steady(0, 5*s, 1), []string{"clear W3.L1.i.hi 5s=1"}, 12 * s},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := must(t, onlyRules, hi)
			for _, x := range tt.before {
				r := x.reading(hi)
				before.Add(&r, begin.Add(x.at))
			}
			after := must(t, onlyRules, tt.rules...)
			edges := append([]meter.Alarm(nil), restart(t, before, after, tt.mono, begin.Add(tt.wall))...)
			got := brief(tt.mono, edges)
			for _, x := range tt.after {
				r := x.reading(hi)
				new := after.Add(&r, begin.Add(tt.wall+x.at-tt.mono))
				got = append(got, brief(x.at, new)...)
				edges = append(edges, new...)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
			for _, e := range edges {
				if !e.Restored || e.Duration != tt.long || e.Peak != 301_000 {
					t.Errorf("clear %+v, want one of %v, restored, with its peak", e, tt.long)
				}
			}
			for _, a := range after.Active(nil) {
				if !a.Restored || a.Edge != meter.Raise || !a.At.Equal(begin.Add(3*s)) {
					t.Errorf("active %+v, want it as it was raised, restored", a)
				}
			}
		})
	}
	t.Run("a second restart keeps the age", func(t *testing.T) {
		a, b, c := must(t, onlyRules, hi), must(t, onlyRules, hi), must(t, onlyRules, hi)
		for _, x := range raised {
			r := x.reading(hi)
			a.Add(&r, begin.Add(x.at))
		}
		restart(t, a, b, 0, begin.Add(13*s))
		restart(t, b, c, 0, begin.Add(23*s))
		var edges []meter.Alarm
		for _, x := range steady(0, 5*s, 1) {
			r := x.reading(hi)
			edges = append(edges, c.Add(&r, begin.Add(23*s+x.at))...)
		}
		if len(edges) != 1 || edges[0].Duration != 25*s {
			t.Errorf("edges %+v, want a clear after 25s", edges)
		}
	})
	t.Run("the next occurrence is not restored", func(t *testing.T) {
		a, b := must(t, onlyRules, hi), must(t, onlyRules, hi)
		for _, x := range raised {
			r := x.reading(hi)
			a.Add(&r, begin.Add(x.at))
		}
		restart(t, a, b, 0, begin.Add(13*s))
		var edges []meter.Alarm
		for _, x := range history(steady(0, 5*s, 1), steady(6*s, 9*s, 301_000)) {
			r := x.reading(hi)
			edges = append(edges, b.Add(&r, begin.Add(13*s+x.at))...)
		}
		if len(edges) != 2 || !edges[0].Restored || edges[1].Restored {
			t.Errorf("edges %+v, want a restored clear and a plain raise", edges)
		}
	})
	t.Run("the state of another way is ignored", func(t *testing.T) {
		a, b := must(t, onlyRules, hi), must(t, Config{Way: "W4"})
		for _, x := range raised {
			r := x.reading(hi)
			a.Add(&r, begin.Add(x.at))
		}
		if edges := restart(t, a, b, 0, begin); len(edges) != 0 || len(b.Active(nil)) != 0 {
			t.Errorf("edges %+v, active %+v, want none", edges, b.Active(nil))
		}
	})
}

// What is wrong with a configuration is said all at once.
func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		rules []Rule
		want  string // empty: nothing is wrong
	}{
		{"nothing", Config{Way: "W3"}, []Rule{hi, lo}, ""},
		{"no quantity", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.Quantity = 0 })}, "quantity 0"},
		{"no kind", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.Kind = 0 })}, "kind 0"},
		{"a fourth phase", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.Phase = 3 })}, "phase 3"},
		{"the neutral has no phase", Config{Way: "W3"}, []Rule{{Way: "W3", Quantity: N, Kind: Hi, Phase: 3}}, ""},
		{"negative hysteresis", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.Hysteresis = -1 })}, "hysteresis -1"},
		{"negative on delay", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.OnDelay = -s })}, "on delay -1s"},
		{"negative off delay", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.OffDelay = -s })}, "off delay -1s"},
		{"threshold beyond measure", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.Threshold = largest + 1 })}, "beyond"},
		{"given twice", Config{Way: "W3"}, []Rule{hi, with(hi, func(r *Rule) { r.Threshold = 1 })}, "W3.L1.i.hi: given twice"},
		{"of another way", Config{Way: "W4"}, []Rule{hi}, "not a rule of way W4"},
		{"negative rating", Config{Way: "W3", Rating: [3]meter.Milliamps{0, -1, 0}}, nil, "rating of L2 is -1 mA"},
		{"fuse range upside down", Config{Way: "W3", Fuse: Fuse{From: 1_900}}, nil, "twice its zero"},
		{"fuse range just right", Config{Way: "W3", Fuse: Fuse{From: 2_000}}, nil, ""},
		{"supply range upside down", Config{Way: "W3", Supply: Supply{Above: 45_000}}, nil, "back above 45000 mV"},
		{"negative hold", Config{Way: "W3", Hold: -s}, nil, "hold -1s"},
		{"negative export hysteresis", Config{Way: "W3", Export: Export{Hysteresis: -1}}, nil, "export hysteresis"},
		{"negative condition delay", Config{Way: "W3", Stale: Watch{OnDelay: -s}}, nil, "STALE has a negative delay"},
		{"one raise is no chatter", Config{Way: "W3", Chatter: Chatter{Raises: 1}}, nil, "chatter after 1 raises"},
		{"more raises than are remembered", Config{Way: "W3", Chatter: Chatter{Raises: 9}}, nil, "chatter after 9 raises"},
		{"a mean of a day", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.Mean = 24 * time.Hour })}, "mean over 24h"},
		{"a rate of means", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.Kind, r.Mean = Rate, s })}, "of readings, not of means"},
		{"inhibited by nothing known", Config{Way: "W3"}, []Rule{with(hi, func(r *Rule) { r.Inhibit = []string{"RAIN"} })}, `no condition "RAIN"`},
		{"two faults", Config{Way: "W3", Hold: -s}, []Rule{with(hi, func(r *Rule) { r.Kind = 9 })}, "kind 9"},
		{"two faults, the other", Config{Way: "W3", Hold: -s}, []Rule{with(hi, func(r *Rule) { r.Kind = 9 })}, "hold -1s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := New(tt.cfg, tt.rules)
			switch {
			case tt.want == "" && (err != nil || m == nil):
				t.Errorf("New: %v, want a machine", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("New: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for q := V; q <= N; q++ {
		if got, ok := ParseQuantity(q.String()); !ok || got != q {
			t.Errorf("ParseQuantity(%q) = %v, %v", q, got, ok)
		}
	}
	for k := Hi; k <= Rate; k++ {
		if got, ok := ParseKind(k.String()); !ok || got != k {
			t.Errorf("ParseKind(%q) = %v, %v", k, got, ok)
		}
	}
	for _, name := range []string{"", "V", "high"} {
		if q, ok := ParseQuantity(name); ok {
			t.Errorf("ParseQuantity(%q) = %v, want none", name, q)
		}
		if k, ok := ParseKind(name); ok {
			t.Errorf("ParseKind(%q) = %v, want none", name, k)
		}
	}
}

// questionable reports whether suspect samples took part in the alarm called id.
func questionable(m *Machine, id string) bool {
	for i := range m.tracks {
		if m.tracks[i].id == id {
			return m.tracks[i].alarm.Questionable
		}
	}
	return false
}
