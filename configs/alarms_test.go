package configs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/meter"
	"lvagent/meter/alarm"
)

func parsed(t *testing.T, more ...string) *Config {
	t.Helper()
	text := strings.NewReplacer(more...).Replace(good)
	c, _, faults := Parse("site.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatalf("faults: %v", faults)
	}
	return c
}

var allPhases = [meter.Phases]bool{true, true, true}

func ids(rules []alarm.Rule) (all []string) {
	for _, r := range rules {
		all = append(all, r.ID())
	}
	slices.Sort(all)
	return all
}

// A site without a word about alarms has those that every site should have: the
// busbar's voltage once, at the transformer.
func TestDefaultThresholds(t *testing.T) {
	const file = "\nalarms: []\n#"
	c := parsed(t, "\nalarms:", file, "  - {ways: [W3], quantity", "#")
	wayRules := []string{"W4.L1.i.hi", "W4.L1.i.hihi", "W4.L2.i.hi", "W4.L2.i.hihi", "W4.L3.i.hi", "W4.L3.i.hihi", "W4.n.hi"}
	if got := ids(c.Rules("W4", allPhases)); !slices.Equal(got, wayRules) {
		t.Errorf("rules of a way: %q", got)
	}
	for _, r := range c.Rules("W4", allPhases) {
		switch r.ID() {
		case "W4.L1.i.hi":
			if r.Threshold != 210_000 || r.Hysteresis != 6_000 || r.OnDelay != 10*time.Minute || r.Severity != meter.Warning {
				t.Errorf("%+v", r)
			}
		case "W4.L2.i.hihi":
			if r.Threshold != 375_000 || r.OnDelay != 10*time.Second || r.Severity != meter.Major {
				t.Errorf("%+v", r)
			}
		case "W4.n.hi":
			if r.Threshold != 100_000 {
				t.Errorf("%+v: want half of the smallest rating", r)
			}
		}
	}
	tx := c.Rules("TX", allPhases)
	if got := ids(tx); len(got) != 18 || slices.Contains(got, "TX.n.hi") {
		t.Errorf("rules of the transformer: %q", got)
	}
	for _, r := range tx {
		if slow := r.Kind == alarm.Hi || r.Kind == alarm.Lo; r.Quantity == alarm.V && slow != (r.Mean == 10*time.Minute) {
			t.Errorf("%s over a mean of %v", r.ID(), r.Mean)
		}
		if r.Quantity == alarm.V && (r.Kind == alarm.Lo || r.Kind == alarm.LoLo) && len(r.Inhibit) != 2 {
			t.Errorf("%s is inhibited by %q", r.ID(), r.Inhibit)
		}
	}
	if got := ids(parsed(t, "\nalarms:", file, "  - {ways: [W3], quantity", "#", ", transformer_kva: 500", "").Rules("W4", allPhases)); len(got) != 19 {
		t.Errorf("rules of a way without a transformer: %q", got)
	}
	off := parsed(t, ", transformer_kva: 500", ", transformer_kva: 500, busbar_offset_v: 4").Rules("TX", allPhases)
	if i := slices.IndexFunc(off, func(r alarm.Rule) bool { return r.ID() == "TX.L1.v.hi" }); off[i].Threshold != 257_000 {
		t.Errorf("with an offset of 4 V: %+v", off[i])
	}
	for _, r := range c.Rules("W3", allPhases) {
		if _, err := alarm.New(c.Conditions("W3", allPhases, time.Second), []alarm.Rule{r}); err != nil {
			t.Error(err)
		}
	}
}

// What the file says of an alarm replaces the default of the same name only.
func TestEntriesReplaceDefaults(t *testing.T) {
	tests := []struct {
		name, entry string
		is, isNot   []string
	}{
		{"another threshold", "{ways: [W3], quantity: i, kind: hi, threshold: 400}", []string{"W3.L1.i.hi", "W3.L1.i.hihi"}, nil},
		{"switched off", "{ways: [W3], quantity: i, kind: hi, threshold: 400, enabled: false}", []string{"W3.L1.i.hihi"}, []string{"W3.L1.i.hi", "W3.L2.i.hi"}},
		{"switched off on a phase", "{ways: [W3], quantity: i, phases: [L1], kind: hi, threshold: 400, enabled: false}", []string{"W3.L2.i.hi"}, []string{"W3.L1.i.hi"}},
		{"another way", "{ways: [W4], quantity: i, kind: hi, threshold: 400, enabled: false}", []string{"W3.L1.i.hi"}, nil},
		{"no defaults", "{ways: [W3], quantity: v, kind: lo, threshold: 207}\ndefault_thresholds: false", []string{"W3.L1.v.lo"}, []string{"W3.L1.i.hi", "W3.n.hi"}},
		{"two on one way", "{ways: [W3], quantity: v, kind: lo, threshold: 207}\n  - {ways: [W3], quantity: v, kind: lolo, threshold: 190}", []string{"W3.L1.v.lo", "W3.L1.v.lolo"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parsed(t, "{ways: [W3], quantity: i, phases: [L1], kind: hi, threshold: 300, hysteresis: 9, on_delay: 10s, off_delay: 60s}", tt.entry)
			got := ids(c.Rules("W3", allPhases))
			for _, id := range tt.is {
				if !slices.Contains(got, id) {
					t.Errorf("no %s in %q", id, got)
				}
			}
			for _, id := range tt.isNot {
				if slices.Contains(got, id) {
					t.Errorf("%s in %q", id, got)
				}
			}
		})
	}
}

// A neutral that is not the way's own raises nothing.
func TestNeutralThatIsNotMeasured(t *testing.T) {
	for _, neutral := range []string{"none", "shared"} {
		c := parsed(t, "meter: m3,", "meter: m3, neutral: "+neutral+",")
		if got := ids(c.Rules("W3", allPhases)); slices.Contains(got, "W3.n.hi") || !c.Conditions("W3", allPhases, time.Second).Neutral.Disabled {
			t.Errorf("neutral %s: %q", neutral, got)
		}
	}
	if c := parsed(t); c.Conditions("W3", allPhases, time.Second).Neutral.Disabled {
		t.Error("a measured neutral is not judged")
	}
}

func TestConditionsOfTheFile(t *testing.T) {
	c := parsed(t, "{ways: [W3], quantity: i,", `{ways: [W3], kind: REVERSE_POWER, threshold: -5000, hysteresis: 1000, on_delay: 5m, severity: warning}
  - {kind: FUSE_SUSPECTED, threshold: 50, latch: true}
  - {ways: [W3], kind: UNBALANCE, threshold: 1.3, mean: 5m}
  - {ways: [W3], kind: STALE, enabled: false}
  - {ways: [W3], quantity: i,`)
	w := c.Conditions("W3", allPhases, 2*time.Second)
	if w.Reverse.Below != -5_000_000 || w.Reverse.Hysteresis != 1_000_000 || w.Reverse.OnDelay != 5*time.Minute || w.Reverse.Severity != meter.Warning ||
		w.Fuse.From != 50_000 || !w.Fuse.Latch || w.Unbalance.Above != 13_000 || w.Unbalance.Mean != 5*time.Minute || !w.Stale.Disabled || w.Hold != 5*time.Second {
		t.Errorf("conditions %+v", w)
	}
	if other := c.Conditions("W4", allPhases, time.Second); other.Reverse.Below != 0 || other.Fuse.From != 50_000 || other.Stale.Disabled {
		t.Errorf("conditions of another way %+v", other)
	}
	for _, name := range []string{alarm.FuseSuspected, alarm.SupplyLost, alarm.StaleReadings} {
		if tx := c.Conditions("TX", allPhases, time.Second); !tx.Watch(name).Disabled {
			t.Errorf("the sum of the ways has %s", name)
		}
	}
}

func TestAlarmFaults(t *testing.T) {
	tests := []struct{ name, entry, want string }{
		{"no kind", "{ways: [W3], quantity: i, kind: high, threshold: 400}", "alarms[0].kind: must be hi"},
		{"a condition of a phase", "{kind: STALE, phases: [L1]}", "alarms[0].kind: STALE is a condition of the way"},
		{"a condition without a threshold", "{kind: STALE, threshold: 4}", "alarms[0].threshold: STALE has none"},
		{"export above zero", "{kind: REVERSE_POWER, threshold: 1000}", "alarms[0].threshold: of REVERSE_POWER must have the other sign"},
		{"inhibited by nothing known", "{ways: [W3], quantity: i, kind: hi, threshold: 400, inhibit: [RAIN]}", "alarms[0].inhibit[0]: must be FUSE_SUSPECTED or"},
		{"a mean of a rate", "{ways: [W3], quantity: i, kind: rate, threshold: 40, mean: 1m}", "alarms[0].mean: a rate is of readings"},
		{"twice", "{ways: [W3], quantity: i, kind: hi, threshold: 400}\n  - {quantity: i, phases: [L2], kind: hi, threshold: 401}", "alarms[1]: W3.L2.i.hi is also set by alarms[0]"},
		{"a condition twice", "{kind: STALE}\n  - {ways: [W3], kind: STALE}", "alarms[1]: W3.STALE is also set by alarms[0]"},
		{"chatter at the first raise", "{kind: STALE}\nnuisance: {chatter_raises: 1}", "nuisance.chatter_raises: must be 2 to 8"},
		{"no budget", "{kind: STALE}\nlive: {per_second: 0}", "live.per_second: must be 1 to"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, "{ways: [W3], quantity: i, phases: [L1], kind: hi, threshold: 300, hysteresis: 9, on_delay: 10s, off_delay: 60s}", tt.entry, 1)
			_, _, faults := Parse("site.yaml", []byte(text))
			for _, f := range faults {
				if strings.Contains(f.String(), ": "+tt.want) {
					return
				}
			}
			t.Errorf("faults = %q, want one with %q", faults, tt.want)
		})
	}
}

// A way with few customers shortens the journal of the whole site; one of which
// the file says nothing, and a journal that is short already, do not.
func TestJournalKeep(t *testing.T) {
	const week, day = 7 * 24 * time.Hour, 24 * time.Hour
	for _, tt := range []struct {
		name      string
		customers []int
		keep      time.Duration
		want      time.Duration
	}{
		{"many", []int{60, 5}, week, week},
		{"not known", []int{0, 0}, week, week},
		{"few on one way", []int{60, 4}, week, day},
		{"few, and a short journal", []int{4, 4}, time.Hour, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			c.Journal.Keep = tt.keep
			for i, n := range tt.customers {
				c.Ways = append(c.Ways, Way{ID: fmt.Sprint("W", i), Customers: n})
			}
			if got := c.JournalKeep(); got != tt.want {
				t.Errorf("kept for %v, want %v", got, tt.want)
			}
		})
	}
}
