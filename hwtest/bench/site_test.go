package bench

import (
	"slices"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// The site file uses the agent's key names and nothing else, durations have a
// unit, and what it says is the world.
func TestSiteFile(t *testing.T) {
	w := NewWorld(1)
	s := Site{
		Agent: "BENCH-1", Store: "/tmp/x/store", Meters: "tcp://127.0.0.1:1502", Broker: "127.0.0.1:1883",
		Issuer: "scada-1", Window: 10 * time.Second,
		Timers: Timers{time.Second, 4 * time.Second, 3 * time.Second, 6 * time.Second, 10 * time.Second, 2 * time.Second},
	}
	text, err := s.File(w)
	if err != nil {
		t.Fatal(err)
	}
	var f map[string]any
	if err := yaml.Unmarshal(text, &f); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	first := func(key string) any { return f[key].([]any)[0] }
	keys := []struct {
		name string
		at   any
		want []string
	}{
		{"the file", f, []string{"alarms", "buffer", "clock", "failsafe", "groups", "meters", "page", "site", "uplink", "ways", "window"}},
		{"site", f["site"], []string{"id", "name", "transformer_kva"}},
		{"meters", first("meters"), []string{"id", "poll", "profile", "turnaround", "unit", "url"}},
		{"ways", first("ways"), []string{"dnp3_slot", "id", "meter", "name", "rating_a"}},
		{"groups", first("groups"), []string{"connectors", "dnp3_slot", "failsafe_a", "id", "output", "phases", "rating_a", "way"}},
		{"output", first("groups").(map[string]any)["output"], []string{"encode", "holding", "kind", "unit", "url"}},
		{"alarms", first("alarms"), []string{"hysteresis", "kind", "off_delay", "on_delay", "phases", "quantity", "threshold", "ways"}},
		{"uplink", f["uplink"], []string{"backoff_max", "broker", "payload"}},
		{"failsafe", f["failsafe"], []string{"entry_spread", "heartbeat_period", "heartbeat_timeout", "init", "issuers", "restore_period", "restore_slow_a", "restore_spread", "stable"}},
	}
	for _, k := range keys {
		var got []string
		for key := range k.at.(map[string]any) {
			got = append(got, key)
		}
		slices.Sort(got)
		if !slices.Equal(got, k.want) {
			t.Errorf("keys of %s: %v, want %v", k.name, got, k.want)
		}
	}
	values := []struct {
		name      string
		got, want any
	}{
		{"window.period", f["window"].(map[string]any)["period"], "10s"},
		{"clock.source", f["clock"].(map[string]any)["source"], "assume"},
		{"page.listen", f["page"].(map[string]any)["listen"], ""},
		{"buffer.path", f["buffer"].(map[string]any)["path"], "/tmp/x/store"},
		{"uplink.broker", f["uplink"].(map[string]any)["broker"], "tcp://127.0.0.1:1883"},
		{"failsafe.heartbeat_timeout", f["failsafe"].(map[string]any)["heartbeat_timeout"], "4s"},
		{"failsafe.entry_spread", f["failsafe"].(map[string]any)["entry_spread"], "0s"},
		{"ways", len(f["ways"].([]any)), len(w.Ways)},
		{"groups", len(f["groups"].([]any)), len(w.Groups)},
		{"groups[0].output.holding", first("groups").(map[string]any)["output"].(map[string]any)["holding"], 30},
	}
	for _, v := range values {
		if v.got != v.want {
			t.Errorf("%s = %v, want %v", v.name, v.got, v.want)
		}
	}
}

// No two groups share a register, or one would limit the other.
func TestGroupsHaveRegistersOfTheirOwn(t *testing.T) {
	seen := map[[2]int]string{}
	for _, g := range NewWorld(1).Groups {
		at := [2]int{int(g.Unit), int(g.Holding)}
		if other, taken := seen[at]; taken {
			t.Errorf("%s and %s share unit %d register %d", g.ID, other, at[0], at[1])
		}
		seen[at] = g.ID
	}
}
