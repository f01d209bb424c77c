package modbus

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write docs/profile.schema.json")

func TestSchemaIsInStep(t *testing.T) {
	const file = "../../docs/profile.schema.json"
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is not what the parser takes; go test ./meter/modbus -update writes it", file)
	}
}

// conform returns where v is not as the schema says: as much of JSON Schema as
// the schema of profiles uses.
func conform(s map[string]any, v any, at string) (wrong []string) {
	fault := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	is := ""
	switch v.(type) {
	case map[string]any:
		is = "object"
	case []any:
		is = "array"
	case string:
		is = "string"
	case bool:
		is = "boolean"
	case int, int64, uint64: // int64: beyond int on a 32-bit processor
		is = "integer"
	case float64:
		is = "number"
	}
	types, many := s["type"].([]any)
	if !many {
		types = []any{s["type"]}
	}
	if !slices.Contains(types, any(is)) && !(is == "integer" && slices.Contains(types, any("number"))) {
		fault("is %s, want %v", is, s["type"])
		return wrong
	}
	bounds := func(v float64) {
		if least, ok := s["minimum"].(float64); ok && v < least || s["maximum"] != nil && v > s["maximum"].(float64) {
			fault("%.0f is out of bounds", v)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		properties := s["properties"].(map[string]any)
		for name, inner := range v {
			if p, known := properties[name].(map[string]any); known {
				wrong = append(wrong, conform(p, inner, at+"."+name)...)
			} else {
				fault("unknown %s", name)
			}
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, there := v[name.(string)]; !there {
				fault("lacks %s", name)
			}
		}
	case []any:
		for i, inner := range v {
			wrong = append(wrong, conform(s["items"].(map[string]any), inner, fmt.Sprintf("%s[%d]", at, i))...)
		}
		if least, ok := s["minItems"].(float64); ok && float64(len(v)) < least || s["maxItems"] != nil && float64(len(v)) > s["maxItems"].(float64) {
			fault("%d elements", len(v))
		}
	case string:
		if names, ok := s["enum"].([]any); ok && !slices.Contains(names, any(v)) {
			fault("%q is none of %v", v, names)
		}
		if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v) {
			fault("%q does not match %s", v, pattern)
		}
	case int:
		bounds(float64(v))
	case int64:
		bounds(float64(v))
	case uint64:
		bounds(float64(v))
	}
	return wrong
}

func schemaFaults(t *testing.T, source []byte) []string {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal(source, &v); err != nil {
		t.Fatal(err)
	}
	return conform(s, v, "")
}

func TestShippedProfilesConformToTheSchema(t *testing.T) {
	files, err := filepath.Glob("../../configs/meters/*.yaml")
	if err != nil || len(files) < 14 {
		t.Fatalf("%d profiles found: %v", len(files), err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range schemaFaults(t, source) {
			t.Errorf("%s%s", file, wrong)
		}
	}
	for name, source := range map[string]string{"small": small, "known": known, "talks": talks} {
		for _, wrong := range schemaFaults(t, []byte(source)) {
			t.Errorf("%s%s", name, wrong)
		}
	}
}

// What the schema refuses, the parser refuses too, and at the same place.
func TestSchemaAndParserAgree(t *testing.T) {
	for _, tt := range []struct{ name, old, new, at string }{
		{"unknown key", "vendor: Nobody", "vendor: Nobody\nvender: N", "unknown vender"},
		{"unknown key deep inside", "raw: [7, 8]", "raw: [7, 8], rav: 1", ".identify.match[1]: unknown rav"},
		{"key missing", "vendor: Nobody\n", "", "lacks vendor"},
		{"choice", "applied_by: meter", "applied_by: me", ".ratios.applied_by"},
		{"no list", "models: [T1]", "models: T1", ".models"},
		{"no group", "serial_number: {addr: 1010, words: 3}", "serial_number: 3", ".serial_number"},
		{"number out of bounds", "max_gap: 8", "max_gap: 126", ".max_gap"},
		{"not a whole number", "max_gap: 8", "max_gap: 8.5", ".max_gap"},
		{"address out of bounds", "addr: [24]", "addr: [70000]", ".registers[4].addr[0]"},
		{"flag", "base: 0", "base: 0\nvalue_aligned: 1", ".value_aligned"},
		{"duration", "base: 0", "base: 0\ntimeout: 1", ".timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Count(known, tt.old) != 1 {
				t.Fatalf("%q is in the profile %d times", tt.old, strings.Count(known, tt.old))
			}
			source := []byte(strings.Replace(known, tt.old, tt.new, 1))
			wrong := schemaFaults(t, source)
			if len(wrong) != 1 || !strings.Contains(wrong[0], tt.at) {
				t.Errorf("schema: %q, want one at %s", wrong, tt.at)
			}
			if _, faults := ParseProfile(source); len(faults) == 0 {
				t.Error("the parser takes it")
			}
		})
	}
}

// Each key has a word of explanation.
func TestEachKeyIsExplained(t *testing.T) {
	var walk func(s *shape, path string)
	walk = func(s *shape, path string) {
		for _, k := range s.keys {
			if k.doc == "" || k.shape == nil {
				t.Errorf("%s has no doc or no shape", join(path, k.name))
				continue
			}
			inner := k.shape
			if inner.is == aList {
				inner = inner.of
			}
			walk(inner, join(path, k.name))
		}
	}
	walk(profileShape, "")
}
