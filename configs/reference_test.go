package configs

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated docs")

// The docs and the schema are generated, and in step with the struct.
func TestGeneratedDocsAreInStep(t *testing.T) {
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"../docs/configuration.md": Reference(),
		"../docs/site.schema.json": string(schema) + "\n",
	} {
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the struct says; go test ./configs -update writes it", file)
		}
	}
}

// Each key has a word of explanation, and the schema knows each key.
func TestEachKeyIsExplained(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	n := 0
	walk(reflect.TypeFor[Config](), reflect.ValueOf(Default()), "", func(f field) {
		n++
		if f.doc == "" || strings.HasSuffix(f.path, ".") {
			t.Errorf("%q has no doc or no name", f.path)
		}
		at := s
		for _, key := range strings.Split(f.path, ".") {
			key, list := strings.CutSuffix(key, "[]")
			next, ok := at["properties"].(map[string]any)[key].(map[string]any)
			if !ok {
				t.Fatalf("the schema lacks %s", f.path)
			}
			if at = next; list {
				at = at["items"].(map[string]any)
			}
		}
	})
	if n < 60 {
		t.Errorf("only %d keys found", n)
	}
}
