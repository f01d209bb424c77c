package hwtest

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"lvagent/agent/message"
)

// blocks returns the blocks of a language in the page for control centres.
func blocks(t *testing.T, language string) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/scada.md")
	if err != nil {
		t.Fatal(err)
	}
	rest := string(text)
	for {
		_, after, found := strings.Cut(rest, "\n```"+language+"\n")
		if !found {
			break
		}
		block, more, closed := strings.Cut(after, "\n```\n")
		if !closed {
			t.Fatalf("a block of %s has no end", language)
		}
		all, rest = append(all, block), "\n"+more
	}
	if len(all) == 0 {
		t.Fatalf("no block of %s", language)
	}
	return all
}

// The flow is JSON, its wires end at its nodes, its topics are ours.
func TestNodeREDFlow(t *testing.T) {
	type node struct {
		ID, Type, Topic, Broker, Z string
		Wires                      [][]string
	}
	var nodes []node
	if err := json.Unmarshal([]byte(blocks(t, "json")[0]), &nodes); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{"": true}
	for _, n := range nodes {
		ids[n.ID] = true
	}
	listens := 0
	for _, n := range nodes {
		for _, to := range slices.Concat(append(n.Wires, []string{n.Z})...) {
			if !ids[to] {
				t.Errorf("%s leads to %s, which is not there", n.ID, to)
			}
		}
		if n.Type != "mqtt in" {
			continue
		}
		if listens++; n.Broker != "lv-broker" || !known(n.Topic) {
			t.Errorf("%s listens to %s at %s", n.ID, n.Topic, n.Broker)
		}
	}
	if listens != 2 {
		t.Errorf("%d nodes listen, want 2", listens)
	}
}

// known reports whether a filter is of a topic that has a schema.
func known(filter string) bool {
	_, ok := message.SchemaOf(strings.ReplaceAll(filter, "+", "x"))
	return ok
}

// The configuration is TOML, and each path is a field of the half-hour's schema.
func TestTelegrafConfiguration(t *testing.T) {
	var c struct {
		Inputs struct {
			Consumer []struct {
				Topics []string
				JSON   []struct {
					Time  string `toml:"timestamp_path"`
					Tag   []struct{ Path string }
					Field []struct{ Path string }
				} `toml:"json_v2"`
			} `toml:"mqtt_consumer"`
		}
		Outputs map[string]any
	}
	if err := toml.Unmarshal([]byte(blocks(t, "toml")[0]), &c); err != nil {
		t.Fatal(err)
	}
	in := c.Inputs.Consumer[0]
	for _, topic := range in.Topics {
		if !known(topic) {
			t.Errorf("topic %s has no schema", topic)
		}
	}
	paths := []string{in.JSON[0].Time}
	for _, f := range append(in.JSON[0].Tag, in.JSON[0].Field...) {
		paths = append(paths, f.Path)
	}
	if len(paths) < 10 || len(c.Outputs) == 0 {
		t.Fatalf("%d paths, %d outputs", len(paths), len(c.Outputs))
	}
	s, _ := message.SchemaOf("up/hh/x")
	for _, path := range paths {
		var at map[string]any
		if err := json.Unmarshal(s.Append(nil, true), &at); err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Split(path, ".") {
			fields, _ := at["properties"].(map[string]any)
			at, _ = fields[name].(map[string]any)
		}
		if at == nil || at["type"] == "object" {
			t.Errorf("path %s is no field of a half-hour", path)
		}
	}
}

// Each flag of a half-hour has its line about settlement.
func TestEachFlagIsExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/scada.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| flag | take the half-hour? |")
	table, _, _ = strings.Cut(table, "\n\n")
	s, _ := message.SchemaOf("up/hh/x")
	var doc struct {
		Properties struct {
			Flags struct{ Items struct{ Enum []string } }
		}
	}
	if err := json.Unmarshal(s.Append(nil, true), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Properties.Flags.Items.Enum) < 10 {
		t.Fatalf("flags %v", doc.Properties.Flags.Items.Enum)
	}
	for _, flag := range doc.Properties.Flags.Items.Enum {
		if !strings.Contains(table, flag) {
			t.Errorf("what %s means for settlement is not said", flag)
		}
	}
}
