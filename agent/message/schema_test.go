package message

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFolder = "../../docs/schema"

// compiled are the schemas as a validator reads them that is not ours.
func compiled(t testing.TB, strict bool) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	all := map[string]*jsonschema.Schema{}
	for _, s := range Schemas() {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(s.Append(nil, strict)))
		if err != nil {
			t.Fatalf("schema %s is not JSON: %v", s.Name, err)
		}
		url := "urn:lvagent:v1:" + strings.ReplaceAll(s.Name, "/", ":")
		if err := c.AddResource(url, doc); err != nil {
			t.Fatal(err)
		}
		if all[s.Name], err = c.Compile(url); err != nil {
			t.Fatalf("schema %s: %v", s.Name, err)
		}
	}
	return all
}

func validate(s *jsonschema.Schema, payload []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// The schemas in the documentation are those that the program prints.
func TestSchemaFiles(t *testing.T) {
	want := map[string][]byte{}
	for _, s := range Schemas() {
		var b bytes.Buffer
		if err := json.Indent(&b, s.Append(nil, false), "", " "); err != nil {
			t.Fatal(err)
		}
		want[filepath.Join(schemaFolder, s.Name+".json")] = append(b.Bytes(), '\n')
	}
	if *update {
		if err := os.RemoveAll(schemaFolder); err != nil {
			t.Fatal(err)
		}
		for file, text := range want {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := filepath.WalkDir(schemaFolder, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		got, err := os.ReadFile(file)
		if err == nil && !bytes.Equal(got, want[file]) {
			t.Errorf("%s is not what the program prints; go test ./agent/message -update", file)
		}
		delete(want, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for file := range want {
		t.Errorf("%s is missing; go test ./agent/message -update", file)
	}
}

// goldens returns the golden messages by file, each with the schema it is of.
func goldens(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden files: %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		payload, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".json")] = payload
	}
	return all
}

// schemaOfGolden returns the schema's name: that before the first hyphen, but for
// those that were called otherwise.
func schemaOfGolden(name string) string {
	first, _, _ := strings.Cut(name, "-")
	otherwise := map[string]string{"halfhour": "hh", "supplyweek": "pq", "recorded": "rec", "will": "status"}
	return cmp.Or(otherwise[first], first)
}

func TestGoldensKeepToTheirSchemas(t *testing.T) {
	strict, open := compiled(t, true), compiled(t, false)
	for name, payload := range goldens(t) {
		s := schemaOfGolden(name)
		if strict[s] == nil {
			t.Errorf("%s: no schema %s", name, s)
			continue
		}
		if name == "supplyweek" || name == "supplyweek-nothing" {
			payload = Seal(nil, bytes.TrimSpace(payload), SupplyStream("W3"), 1, 1)
		}
		if err := validate(strict[s], payload); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := validate(open[s], payload); err != nil {
			t.Errorf("%s, open: %v", name, err)
		}

		// The schema bites: no field may go, none may come unseen by the strict one.
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(payload, &fields); err != nil {
			t.Fatal(err)
		}
		change := func(key string, value json.RawMessage) []byte {
			less := maps.Clone(fields)
			if delete(less, key); value != nil {
				less[key] = value
			}
			b, err := json.Marshal(less)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		for key := range fields {
			mayGo := slices.Contains([]string{"sp", "since", "until"}, key) && (s == "hh" || s == "gap") || key == "point" && s == "alarm"
			if err := validate(open[s], change(key, nil)); (err == nil) != mayGo {
				t.Errorf("%s without %s: %v", name, key, err)
			}
			if err := validate(open[s], change(key, json.RawMessage(`[[]]`))); err == nil && key != "record" {
				t.Errorf("%s takes a list for %s", name, key)
			}
		}
		if err := validate(open[s], change("later", json.RawMessage(`1`))); err != nil {
			t.Errorf("%s: a later version may not add a field: %v", name, err)
		}
		if err := validate(strict[s], change("later", json.RawMessage(`1`))); err == nil {
			t.Errorf("%s: a field that is not described is not seen", name)
		}
	}
}

// What is left of a damaged record, and one that was carried over, have their place.
func TestDamagedAndSalvagedRecords(t *testing.T) {
	strict := compiled(t, true)
	damaged := Seal(nil, []byte(`{"v":`), "hh/W3", 5, 2)
	if err := validate(strict["hh"], damaged); err != nil {
		t.Error(err)
	}
	if err := validate(strict["hh"], []byte(`{"g":2,"s":"hh/W3","n":5}`)); err == nil {
		t.Error("a record with nothing in it, and not marked, is taken")
	}
	saved := Seal(nil, Salvaged(AppendHalfHour(nil, agent, halfHour()), 7, 1), "hh/W3", 5, 2)
	if err := validate(strict["hh"], saved); err != nil {
		t.Error(err)
	}
}

// Everything that may be published has a schema, and nothing else has.
func TestEachTopicHasASchema(t *testing.T) {
	topics := NewTopics(DefaultPrefix, agent)
	all := map[string]string{
		topics.Status(): "status", topics.Meta(): "meta", topics.Selftest(): "selftest", topics.Failsafe(): "failsafe",
		topics.Groups(): "groups", topics.Health(): "health", topics.Capacity(): "capacity", topics.Charging(): "ev", topics.AlarmState("W3"): "alarmstate",
		topics.History(RecordStream("W3")): "rec", topics.Setpoint("G1"): "setpoint", topics.Broadcast(): "cmd/heartbeat",
		"up/hh/W3": "hh", "cmd/limit": "cmd/limit", "site7/up/hh/W3": "hh",
	}
	for stream, name := range map[string]string{
		HalfHourStream("W3"): "hh", AlarmStream("_site"): "alarm", LiveStream("W3"): "live", SupplyStream("W3"): "pq",
		AckStream: "ack", AuditStream: "audit", GapStream: "gap", DigestStream: "digest", FairnessStream: "fairness",
	} {
		all[topics.Route(stream, start, start)], all[topics.History(stream)] = name, name
	}
	for _, name := range []string{HeartbeatCommand, LimitCommand, CancelCommand, OverrideCommand, ResendCommand, BirthCommand, AckCommand, TelemetryCommand, TopologyCommand, ConfigCommand, RestorationCommand, SilenceCommand} {
		all["lv/v1/a/cmd/"+name] = "cmd/" + name
	}
	used := map[string]bool{}
	for topic, want := range all {
		s, ok := SchemaOf(topic)
		if !ok || s.Name != want {
			t.Errorf("schema of %s = %v %v, want %s", topic, s, ok, want)
		}
		used[want] = true
	}
	for _, s := range Schemas() {
		if !used[s.Name] {
			t.Errorf("schema %s is of no topic", s.Name)
		}
	}
	for _, topic := range []string{"", "up", "up/", "up/hh", "up/hh/", "up/hh/W3/L1", "lv/v1/a/up/other", "lv/v1/a/down/hh/W3", "cmd/limit/now"} {
		if s, ok := SchemaOf(topic); ok {
			t.Errorf("%q has schema %s", topic, s.Name)
		}
	}
}

// beyondSchema are faults of a command that no schema can say: those across
// fields, and in numbers that JSON Schema does not tell apart.
var beyondSchema = []string{
	"a site file for ever", "a site file for two days",
	"a group twice", "telemetry of one group twice", "phases of a group", "duration zero", "duration negative", "duration of a year",
	"a supply point with a wrong check digit", "a supply point twice", "a supply point as a group", "a supply point as a way", "year 9999", "a curve with a duration", "a block of no length", "blocks of two units", "compensation too long", "override by nobody", "release with a limit", "limit override without one",
	"resend by number and time", "resend by half a time", "resend backwards in time", "resend backwards", "back-fed for ever", "normal with an end", "generation too large", "no site file", "restoration let go for a time",
}

// conforms checks a command that the agent read, or refused, against its schema.
func conforms(t *testing.T, open map[string]*jsonschema.Schema, name, command string, payload []byte, r *Rejection) {
	t.Helper()
	if r != nil && r.Code != Invalid {
		return
	}
	err := validate(open["cmd/"+command], payload)
	switch {
	case r == nil && err != nil:
		t.Errorf("the agent takes what the schema does not: %v", err)
	case r != nil && err == nil && !slices.Contains(beyondSchema, name):
		t.Errorf("the schema takes what the agent does not: %v", r)
	}
}
