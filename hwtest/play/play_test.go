package play

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lvagent/hwtest/scenario"
)

var update = flag.Bool("update", false, "write the generated files")

// The rig's schema in the docs is that of the struct.
func TestRigSchemaIsCurrent(t *testing.T) {
	const file = "../../docs/rig.schema.json"
	if *update {
		if err := os.WriteFile(file, RigSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(RigSchema()) {
		t.Errorf("%s is not current: go test ./hwtest/play -update", file)
	}
}

func TestMergeTree(t *testing.T) {
	tree := func(a ...any) []any { return a }
	m := func(kv ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i].(string)] = kv[i+1]
		}
		return out
	}
	tests := []struct {
		name                string
		base, changes, want map[string]any
	}{
		{"a key", m("a", 1.0), m("b", 2.0), m("a", 1.0, "b", 2.0)},
		{"a key below", m("a", m("x", 1.0, "y", 2.0)), m("a", m("y", 3.0)), m("a", m("x", 1.0, "y", 3.0))},
		{"a section that is not there", m(), m("a", m("y", 3.0)), m("a", m("y", 3.0))},
		{"null takes away", m("a", 1.0, "b", 2.0), m("a", nil), m("b", 2.0)},
		{"an entry by id", m("l", tree(m("id", "A", "v", 1.0), m("id", "B"))), m("l", tree(m("id", "A", "w", 2.0))),
			m("l", tree(m("id", "A", "v", 1.0, "w", 2.0), m("id", "B")))},
		{"a new entry", m("l", tree(m("id", "A"))), m("l", tree(m("id", "C"))), m("l", tree(m("id", "A"), m("id", "C")))},
		{"a list without ids", m("l", tree("x")), m("l", tree("y")), m("l", tree("y"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := mergeTree(tt.base, tt.changes); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("merged = %v, want %v", got, tt.want)
			}
		})
	}
}

// What the bench fills in stays out of the scenario: its site is used again.
func TestASiteLeavesTheScenarioAlone(t *testing.T) {
	entry := map[string]any{"id": "G9", "way": "W1", "rating_a": 32.0}
	s := &scenario.Scenario{Given: scenario.Given{Site: scenario.Tree{"groups": []any{entry}}}}
	if _, err := placeOf(s); err != nil {
		t.Fatal(err)
	}
	if len(entry) != 3 {
		t.Errorf("the scenario's group is now %v", entry)
	}
}

func TestStreet(t *testing.T) {
	tree, err := merged(nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := readSite(tree)
	if err != nil {
		t.Fatal(err)
	}
	near := func(got, want float64) bool { return got > want-0.2 && got < want+0.2 }
	s := newStreet(st)
	s.wants["G1"], s.wants["G2"] = 90, 30
	r := s.flows("W1", map[string]float64{"G1": 50, "G2": 64})
	if !near(r.I[0], 40+50+30) || !near(r.I[1], 70) {
		t.Errorf("currents %v", r.I)
	}
	if r = s.flows("W1", map[string]float64{"G1": 5, "G2": 64}); !near(r.I[0], 70) {
		t.Errorf("a car charges with less than %d A: %v", leastAmps, r.I)
	}
	s.defy["G1"] = true
	if r = s.flows("W1", map[string]float64{"G1": 0, "G2": 64}); !near(r.I[0], 160) {
		t.Errorf("cars that do not obey: %v", r.I)
	}
	out := scenario.Amps(-30)
	s.set("W2", scenario.Load{L1: &out})
	if r = s.flows("W2", nil); !near(r.I[0], 30) || r.P[0] > -6000 {
		t.Errorf("export: %v A, %v W", r.I[0], r.P[0])
	}
	dead := 0.0
	s.set("W2", scenario.Load{V: &dead})
	if r = s.flows("W2", nil); r.I[1] != 0 || r.V[1] != 0 {
		t.Errorf("without supply: %v A, %v V", r.I, r.V)
	}
}

func TestPermits(t *testing.T) {
	tests := []struct {
		name  string
		g     siteGroup
		value float64
		want  float64
	}{
		{"percent", siteGroup{rating: 96, encode: "percent"}, 25, 24},
		{"above all", siteGroup{rating: 96, encode: "percent"}, 65535, 96},
		{"amps", siteGroup{rating: 64, encode: "amps"}, 13, 13},
		{"coil that curtails", siteGroup{rating: 32, encode: "coil", curtail: 0}, 0, 0},
		{"coil that permits", siteGroup{rating: 32, encode: "coil", curtail: 0}, 1, 32},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := tt.g.permits(tt.value); got != tt.want {
				t.Errorf("permits %v A, want %v", got, tt.want)
			}
		})
	}
}

func TestWords(t *testing.T) {
	got := words(`override W1 --why "jointing on W1"  --for 8s`)
	if want := []string{"override", "W1", "--why", "jointing on W1", "--for", "8s"}; !slices.Equal(got, want) {
		t.Errorf("words = %q", got)
	}
}

// A rig with faults says all of them; a relative agent counts from the file.
func TestReadRig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rig.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("agent: ../lvagent\nparallel: 3\n")
	r, faults, err := ReadRig(file)
	if err != nil || len(faults) > 0 || r.Agent != filepath.Join(filepath.Dir(filepath.Dir(file)), "lvagent") || r.Parallel != 3 || r.Broker != "mosquitto" {
		t.Errorf("rig %+v, faults %v, %v", r, faults, err)
	}
	write("agnt: x\nbroker: hivemq\nparallel: 0\n")
	_, faults, err = ReadRig(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`:1: agnt: unknown key (did you mean "agent"?)`, `:2: broker: there is no "hivemq"`, "parallel: must be 1 to 64"} {
		if !slices.ContainsFunc(faults, func(f scenario.Fault) bool { return strings.Contains(f.Error(), want) }) {
			t.Errorf("no %q in %v", want, faults)
		}
	}
}

// A rig without an agent is found before anything starts.
func TestARigWithoutAgentIsFoundFirst(t *testing.T) {
	r := Loopback()
	r.Agent = filepath.Join(t.TempDir(), "lvagent")
	if _, err := r.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "does not run on this rig") {
		t.Errorf("error %v", err)
	}
}
