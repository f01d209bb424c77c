package alarm

import (
	"fmt"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// told is a sample as the oracle sees it, or a restart.
type told struct {
	sample
	restart bool
	wall    time.Time
}

func (x told) there() bool {
	return x.quality != meter.Missing && x.value <= largest && x.value >= -largest
}

// naive works out an alarm the long way: before each sample it looks back over
// all that was ever told.
type naive struct {
	rule   Rule
	hold   time.Duration
	all    []told
	raised bool
	start  int // of the run that led to the raise
	since  int // of the raise
}

// run returns how long the samples up to the last have all been on a side, with
// the time during which a value stood, and where they began.
func (n *naive) run(side func(v int64) bool) (time.Duration, int) {
	first := len(n.all)
	for k := len(n.all) - 1; k >= 0; k-- {
		x := n.all[k]
		if x.restart || x.there() && !side(x.value) {
			break
		}
		if x.there() {
			first = k
		}
	}
	var sum time.Duration
	for k := first; k < len(n.all); k++ {
		if !n.all[k].there() || k == len(n.all)-1 {
			continue
		}
		// The value of k stands until the next sample, a refusal or its hold.
		stands := n.hold
		for _, later := range n.all[k+1:] {
			if later.there() || later.reason != meter.NoAnswer {
				stands = min(stands, later.at-n.all[k].at)
				break
			}
		}
		// What stands after the last sample that is there is not counted yet; the
		// last sample is one, or there is no decision.
		sum += stands
	}
	return sum, first
}

// add takes a sample and returns the edge that must come of it, or none.
func (n *naive) add(x told) (want meter.Alarm, is bool) {
	n.all = append(n.all, x)
	if x.restart || !x.there() {
		return want, false
	}
	sign := int64(1)
	if n.rule.Kind == Lo || n.rule.Kind == LoLo {
		sign = -1
	}
	beyond := func(v int64) bool { return sign*v > sign*n.rule.Threshold }
	back := func(v int64) bool { return sign*v <= sign*n.rule.Threshold-n.rule.Hysteresis }
	want = meter.Alarm{ID: n.rule.ID(), Way: n.rule.Way, Quantity: n.rule.Quantity.String(), Phase: n.rule.Phase.String(),
		Kind: n.rule.Kind.String(), At: x.wall, Value: x.value, Threshold: n.rule.Threshold, Severity: n.rule.Severity, Raises: 1}
	if !n.raised {
		long, first := n.run(beyond)
		if !beyond(x.value) || long < n.rule.OnDelay {
			return want, false
		}
		n.raised, n.start, n.since = true, first, len(n.all)-1
		want.Edge = meter.Raise
	} else {
		long, _ := n.run(back)
		if !back(x.value) || long < n.rule.OffDelay {
			return want, false
		}
		n.raised = false
		want.Edge, want.Duration = meter.Clear, x.wall.Sub(n.all[n.since].wall)
		for _, y := range n.all[n.since:] {
			want.Restored = want.Restored || y.restart
		}
	}
	none := true
	for _, y := range n.all[n.start:] {
		want.Questionable = want.Questionable || y.there() && !y.restart && y.quality == meter.Suspect
		if y.there() && !y.restart && (none || sign*y.value > sign*want.Peak) {
			want.Peak, want.PeakAt, none = y.value, y.wall, false
		}
	}
	return want, true
}

// Whatever is measured and however often the agent restarts: an alarm is raised
// once and cleared once, in turn; it is raised after its on delay of samples
// beyond and cleared after its off delay of samples back; it tells the truth
// about peak and duration; and nobody needs the history to know.
func TestAlarmAgainstTheLongWay(t *testing.T) {
	edges := 0
	rapid.Check(t, func(t *rapid.T) {
		hold := rapid.SampledFrom([]time.Duration{2500 * ms, 500 * ms, 12500 * ms}).Draw(t, "hold")
		delay := rapid.SampledFrom([]time.Duration{0, ms, s, 3 * s, 10 * s})
		rule := Rule{Way: "W3", Quantity: rapid.SampledFrom([]Quantity{V, I, P, Q}).Draw(t, "quantity"), Phase: meter.Phase(rapid.IntRange(0, 2).Draw(t, "phase")),
			Kind: Kind(rapid.IntRange(int(Hi), int(LoLo)).Draw(t, "kind")), Threshold: rapid.Int64Range(-20, 20).Draw(t, "threshold"),
			Hysteresis: rapid.Int64Range(0, 5).Draw(t, "hysteresis"), OnDelay: delay.Draw(t, "on"), OffDelay: delay.Draw(t, "off"), Severity: meter.Major}
		cfg := onlyRules
		cfg.Hold, cfg.Chatter.Raises = hold, -1
		m := must(t, cfg, rule)
		oracle := &naive{rule: rule, hold: hold}
		gap := rapid.SampledFrom([]time.Duration{0, ms, 400 * ms, 999 * ms, s, s, s, 2500 * ms, 2501 * ms, 40 * s})
		near := rapid.Int64Range(rule.Threshold-rule.Hysteresis-2, rule.Threshold+rule.Hysteresis+2)
		value := rapid.OneOf(near, rapid.Just(rule.Threshold+9), rapid.Just(rule.Threshold-9), rapid.SampledFrom([]int64{largest, -largest, largest + 1, -1 << 63, 1<<63 - 1}))
		var mono, wall time.Duration
		var stays int64
		last := meter.Clear
		for range rapid.IntRange(20, 200).Draw(t, "samples") {
			step := gap.Draw(t, "gap")
			mono, wall = mono+step, wall+step
			x := told{sample: sample{at: mono}, wall: begin.Add(wall)}
			switch rapid.IntRange(0, 23).Draw(t, "what") {
			case 0:
				x.reason = meter.NoAnswer
			case 1:
				x.reason = meter.Sentinel
			case 2:
				x.restart = true
				oracle.add(x)
				next := must(t, cfg, rule)
				mono = rapid.SampledFrom([]time.Duration{0, 7 * s}).Draw(t, "mono")
				if early := restart(t, m, next, mono, x.wall); len(early) != 0 {
					t.Fatalf("edges of a restart with the same rules: %+v", early)
				}
				m = next
				// The oracle's run ends here, so the stamps may begin anew.
				continue
			default:
				if rapid.IntRange(0, 3).Draw(t, "moves") == 0 {
					stays = value.Draw(t, "value")
				}
				x.value = stays
				x.quality = rapid.SampledFrom([]meter.Quality{meter.Good, meter.Good, meter.Suspect}).Draw(t, "quality")
			}
			r := x.reading(rule)
			got := m.Add(&r, x.wall)
			want, is := oracle.add(x)
			switch {
			case !is && len(got) != 0:
				t.Fatalf("at %v: edges %+v, want none", mono, got)
			case is && len(got) != 1:
				t.Fatalf("at %v: %d edges, want %+v", mono, len(got), want)
			case is && same(got[0]) != same(want):
				t.Fatalf("at %v: edge\n got %s\nwant %s", mono, same(got[0]), same(want))
			case is && got[0].Edge == last:
				t.Fatalf("at %v: two edges %v in turn", mono, last)
			}
			if is {
				last = got[0].Edge
				edges++
			}
			if standing := m.Active(nil); (len(standing) == 1) != oracle.raised || len(standing) > 1 {
				t.Fatalf("at %v: active %+v, want active %v", mono, standing, oracle.raised)
			}
		}
	})
	if edges < 20 {
		t.Errorf("%d edges in all: the samples do not reach the rules", edges)
	}
}

// same makes two alarms comparable: a time that went through the store is the
// same instant in other words.
func same(a meter.Alarm) string {
	a.At, a.PeakAt = a.At.UTC(), a.PeakAt.UTC()
	return fmt.Sprintf("%+v", a)
}

// An alarm of a machine with many conditions is that of a machine with one, and
// all of them take turns, also over restarts.
func TestAlarmsTakeTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Way: "W3", Rating: [3]meter.Milliamps{30_000, 30_000, 30_000}, Fuse: Fuse{Watch: Watch{OffDelay: 3 * s}}, Export: Export{Watch: Watch{OnDelay: 2 * s, OffDelay: 2 * s}}}
		rules := []Rule{with(hi, func(r *Rule) { r.Threshold = 25_000 }), lo, {Way: "W3", Quantity: N, Kind: Hi, Threshold: 9}}
		m := must(t, cfg, rules...)
		amps := rapid.SampledFrom([]int64{0, 500, 15_000, 24_000, 31_000, 90_000})
		volts := rapid.SampledFrom([]int64{0, 100_000, 214_000, 230_000, 230_000, 230_000})
		standing := map[string]bool{}
		take := func(edges []meter.Alarm) {
			for _, e := range edges {
				if standing[e.ID] == (e.Edge == meter.Raise) {
					t.Fatalf("%v of %s twice", e.Edge, e.ID)
				}
				standing[e.ID] = e.Edge == meter.Raise
				if e.Edge == meter.Clear && e.Duration < 0 {
					t.Fatalf("%s lasted %v", e.ID, e.Duration)
				}
			}
			n := 0
			for _, is := range standing {
				if is {
					n++
				}
			}
			if got := m.Active(nil); len(got) != n {
				t.Fatalf("%d active, want %d: %+v", len(got), n, got)
			}
		}
		for k := range rapid.IntRange(10, 100).Draw(t, "readings") {
			now := time.Duration(k) * s
			if rapid.IntRange(0, 15).Draw(t, "restart") == 0 {
				keep := rules[rapid.IntRange(0, len(rules)).Draw(t, "rules dropped"):]
				next := must(t, cfg, keep...)
				gone := restart(t, m, next, now, begin.Add(now))
				m = next
				take(gone)
			}
			r := reading(now)
			if rapid.IntRange(0, 9).Draw(t, "silent") == 0 {
				r.Fail(meter.NoAnswer)
			} else {
				for p := range r.Phase {
					i, sign := amps.Draw(t, "i"), rapid.SampledFrom([]int64{1, -1}).Draw(t, "sign")
					r.Phase[p].I.Value, r.Phase[p].P.Value = meter.Milliamps(i), meter.Milliwatts(sign*i*230)
					r.Phase[p].V.Value = meter.Millivolts(volts.Draw(t, "v"))
				}
				r.Neutral.Value = meter.Milliamps(amps.Draw(t, "n"))
			}
			take(m.Add(&r, begin.Add(now)))
		}
	})
}
