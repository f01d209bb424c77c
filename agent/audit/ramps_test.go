package audit

import (
	"fmt"
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"

	"pgregory.net/rapid"
)

// Whatever is decided, each change of a limit is in exactly one record, the first
// of a ramp at once and in full, and what is recorded of a group goes on where
// the record before it stopped.
func TestRampsCoverEachStepOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var r Ramps
		limit := map[string]meter.Milliamps{}
		said := map[string]meter.Milliamps{}
		steps, covered := 0, 0
		now := time.Duration(0)
		waits := map[string]time.Duration{}
		look := func(all []failsafe.Decision) {
			for _, d := range all {
				if *d.FromLimit != said[d.Group] {
					rt.Fatalf("%s of %s goes from %d, the record before it to %d", d.Kind, d.Group, *d.FromLimit, said[d.Group])
				}
				said[d.Group] = *d.ToLimit
				delete(waits, d.Group)
				covered += max(1, d.Count)
			}
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			now += time.Duration(rapid.IntRange(0, 300).Draw(rt, "seconds")) * time.Second
			var all []failsafe.Decision
			for range rapid.IntRange(0, 3).Draw(rt, "decisions") {
				g := fmt.Sprint("G", rapid.IntRange(1, 3).Draw(rt, "group"))
				from := limit[g]
				to := from + meter.Milliamps(rapid.SampledFrom([]int{-1000, 1000, 5000}).Draw(rt, "by"))
				limit[g] = to
				rule := rapid.SampledFrom([]failsafe.Rule{failsafe.RuleRestore, failsafe.RuleEntry, failsafe.RuleCommand}).Draw(rt, "rule")
				all = append(all, failsafe.Decision{Kind: failsafe.DecidedSetpoint, Group: g, Rule: string(rule), FromLimit: &from, ToLimit: &to})
				steps++
			}
			out, err := r.Add(all, now)
			if err != nil {
				rt.Fatal(err)
			}
			look(out)
			for g, to := range limit {
				if to != said[g] && waits[g] == 0 {
					waits[g] = now
				} else if to != said[g] && now-waits[g] > rampSpan+300*time.Second {
					rt.Fatalf("%s waits since %v at %v", g, waits[g], now)
				}
			}
		}
		look(r.Rest())
		if steps != covered || fmt.Sprint(limit) != fmt.Sprint(said) && steps > 0 {
			rt.Fatalf("%d steps, %d covered; %v and %v", steps, covered, limit, said)
		}
	})
}

// A step that was another one makes another hash; idle costs nothing.
func TestRampsHash(t *testing.T) {
	of := func(last meter.Milliamps) string {
		var r Ramps
		var out []failsafe.Decision
		for i, to := range []meter.Milliamps{1000, 2000, last} {
			from := meter.Milliamps(i) * 1000
			all, err := r.Add([]failsafe.Decision{{Kind: failsafe.DecidedSetpoint, Group: "G1", Rule: string(failsafe.RuleRestore), FromLimit: &from, ToLimit: &to}}, time.Duration(i)*time.Second)
			if err != nil || (len(all) == 1) != (i == 0) {
				t.Fatal(all, err)
			}
		}
		out = r.Rest()
		if len(out) != 1 || out[0].Count != 2 || out[0].Span != 1000 || *out[0].FromLimit != 1000 || *out[0].ToLimit != last {
			t.Fatalf("%+v", out)
		}
		return out[0].Steps
	}
	once, again := of(3000), of(3000)
	if once != again || once == of(3001) {
		t.Error("the hash does not say what the steps were")
	}
	var r Ramps
	if n := testing.AllocsPerRun(100, func() { r.Add(nil, time.Hour) }); n != 0 {
		t.Errorf("%v allocations where nothing is decided", n)
	}
}
