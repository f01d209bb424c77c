package failsafe

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lvagent/meter"
)

// mostRecord is the size that a decision's JSON never exceeds.
const mostRecord = 24 << 10

// checkDecisions holds after every step of every test here: each change of a
// limit or a state, each rung of a ladder and each heartbeat that did not count
// has exactly one decision, in which the limit that was chosen is among the
// candidates and is not above the lowest of them, unless somebody released it.
func checkDecisions(t testing.TB, e *Engine, before, after State, in Inputs, set []Setpoint, ev Events) {
	t.Helper()
	all := e.Decisions(before, after, in, set, ev)
	counts := map[string]int{}
	for _, d := range all {
		counts[string(d.Kind)+" "+d.Way+d.Group]++
		if body, err := json.Marshal(d); err != nil || len(body) > mostRecord {
			t.Fatalf("decision of %d octets, want at most %d: %v", len(body), mostRecord, err)
		}
		if d.Kind != DecidedSetpoint {
			continue
		}
		least, found, released := d.Candidates[0].Limit, false, false
		for _, c := range d.Candidates {
			found = found || c.Limit == *d.ToLimit
			released = released || c.Rule == RuleOverride
		}
		if !found || !released && *d.ToLimit > least {
			t.Fatalf("group %s goes to %d by %q: candidates %+v", d.Group, *d.ToLimit, d.Rule, d.Candidates)
		}
		if g := e.group(d.Group); *d.FromLimit != before.Groups[g].Limit || *d.ToLimit != after.Groups[g].Limit || d.Rule != string(after.Groups[g].Rule) {
			t.Fatalf("decision %+v of a group that went from %+v to %+v", d, before.Groups[g], after.Groups[g])
		}
		if d.Rule == string(RuleProtection) && len(d.Ranks) == 0 {
			t.Fatalf("group %s shares a feeder, and nobody's rank is said", d.Group)
		}
	}
	customers := 0
	for _, c := range ev.Conditions {
		if c.Kind == CustomerOverride {
			customers++
		}
	}
	if want := len(set) + len(ev.Transitions) + len(ev.Acks) + len(ev.Refused) + customers; len(all) != want {
		t.Fatalf("%d decisions of %d setpoints, %d transitions, %d acks and %d refusals", len(all), len(set), len(ev.Transitions), len(ev.Acks), len(ev.Refused))
	}
	for _, s := range set {
		g, kind := e.group(s.Group), "setpoint "
		if s.Backup {
			kind = "backup "
		}
		if n := counts[kind+e.cfg.Groups[g].Way+s.Group]; n != 1 {
			t.Fatalf("setpoint of %s has %d decisions, want 1", s.Group, n)
		}
	}
	for i := range after.Groups {
		if after.Groups[i].Limit != before.Groups[i].Limit && counts["setpoint "+e.cfg.Groups[i].Way+after.Groups[i].ID] != 1 {
			t.Fatalf("limit of %s changed without a decision", after.Groups[i].ID)
		}
	}
}

func decisionsOf(x *site, before State, in Inputs) []Decision {
	return x.e.Decisions(before, x.s, in, x.set, x.ev)
}

// A decision says what it was decided from.
func TestDecisionsSayWhatTheyWereMadeOf(t *testing.T) {
	tests := []struct {
		name string
		in   func(x *site) Inputs
		want []string
	}{
		{"a limit", func(x *site) Inputs {
			return Inputs{Limits: []LimitCommand{{ID: "c1", Issuer: "scada-1", Epoch: 1, Seq: 900, Hash: "h", Expires: x.wall().Add(m),
				Class: Network, Target: Target{Way: "W1"}, Relative: true, Duration: h, Amount: Amount{Unit: Amps, Value: 10_000}}}}
		}, []string{`"kind":"command"`, `"to":"received"`, `"to":"active"`, `"rule":"command"`, `"source":"c1","ma":10000`, `"to_ma":10000`, `"way":"W1","phase":"L1"`, `"quality":"good"`}},
		{"an override", func(x *site) Inputs {
			return Inputs{Overrides: []OverrideCommand{{ID: "o1", Local: true, Target: Target{Way: "W1"}, Kind: HoldOff, By: "A. Person", Why: "work on the feeder"}}}
		}, []string{`"kind":"override"`, `"by":"A. Person"`, `"why":"work on the feeder"`, `"from":"hold_off"`, `"rule":"override"`, `"to_ma":0`}},
		{"a refusal", func(x *site) Inputs {
			return Inputs{Cancels: []CancelCommand{{ID: "x", Issuer: "nobody", Hash: "h"}}}
		}, []string{`"kind":"refusal","command":"cancel","rule":"UNKNOWN_ISSUER","source":"x"`}},
		{"a heartbeat that does not count", func(x *site) Inputs {
			return Inputs{Heartbeats: []Heartbeat{{"nobody", 1, 1, false}}}
		}, []string{`"kind":"refusal","command":"heartbeat","rule":"UNKNOWN_ISSUER","source":"nobody"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.step(Inputs{})
			x.now += s
			in, before := tt.in(x), x.s
			x.step(in)
			in.Loads = []Load{{Way: "W1", I: [3]meter.Milliamps{50_000, 50_000, 50_000}, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}, At: x.now}}
			body, err := json.Marshal(decisionsOf(x, before, in))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(body), want) {
					t.Errorf("decisions lack %s:\n%s", want, body)
				}
			}
		})
	}
}

// A step that decides nothing makes no garbage for the audit.
func TestNoDecisionNoGarbage(t *testing.T) {
	x := newSite(t, testConfig())
	x.step(Inputs{})
	if n := testing.AllocsPerRun(100, func() {
		if d := x.e.Decisions(x.s, x.s, Inputs{}, nil, Events{}); d != nil {
			t.Fatal(d)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// The text and the lists of one decision are bounded, whatever comes.
func TestDecisionsAreBounded(t *testing.T) {
	long := strings.Repeat("ä", 100_000)
	x := newSite(t, testConfig())
	groups := make([]string, 1000)
	for i := range groups {
		groups[i] = "G1"
	}
	in := Inputs{Overrides: []OverrideCommand{{ID: long, By: long, Why: long}}}
	all := x.e.Decisions(x.s, x.s, in, nil, Events{
		Acks:    []Ack{{ID: long, Command: "override", Stage: Active, Groups: groups}},
		Refused: []RefusedHeartbeat{{long, Replay}},
	})
	body, err := json.Marshal(all)
	if err != nil || len(body) > 4096 || all[1].Omitted != 1000-mostNamed {
		t.Errorf("%d octets, %d omitted, %v", len(body), all[1].Omitted, err)
	}
}

func TestResumeKeepsTheChain(t *testing.T) {
	x := newSite(t, testConfig())
	x.s.Audit = AuditHead{Chain: "b1", N: 7, Hash: "ff"}
	x.now += time.Second
	x.step(Inputs{})
	if got := x.e.Resume(x.s, 0, x.wall(), meter.Synced).Audit; got != (AuditHead{"b1", 7, "ff"}) {
		t.Errorf("head after a step and a restart: %+v", got)
	}
}
