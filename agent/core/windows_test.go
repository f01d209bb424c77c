package core

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/configs"
	"lvagent/failsafe"
)

// A way's settings are those of the way and of its meter, nobody else's, and what
// people call it is none.
func TestSettingsOfAWay(t *testing.T) {
	const text = `
site: {id: S1, transformer_kva: 500}
meters:
  - {id: m1, url: "tcp://127.0.0.1:1502", unit: 1, profile: eastron-sdm630}
  - {id: m2, url: "tcp://127.0.0.1:1502", unit: 2, profile: eastron-sdm630}
ways: [{id: W1, name: north, meter: m1, rating_a: 300}, {id: W2, meter: m2, rating_a: 300}]
uplink: {broker: "tcp://127.0.0.1:1883"}
`
	settings := func(text string) (all [3]string) {
		cfg, _, faults := configs.Parse("site.yaml", []byte(text))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		l := Loop{Options: Options{Config: cfg}}
		for i, id := range []string{"W1", "W2", failsafe.TX} {
			all[i] = l.settings(id)
		}
		return all
	}
	was := settings(text)
	for _, tt := range []struct {
		name, from, to string
		changed        [3]bool // W1, W2, TX
	}{
		{"nothing", "north", "north", [3]bool{}},
		{"its name", "north", "south", [3]bool{}},
		{"its ratio", "name: north", "ct_ratio: 60", [3]bool{true, false, true}},
		{"its meter's unit", "unit: 1", "unit: 7", [3]bool{true, false, true}},
		{"the other's rating", "meter: m2, rating_a: 300", "meter: m2, rating_a: 200", [3]bool{false, true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := settings(strings.Replace(text, tt.from, tt.to, 1))
			for i, want := range tt.changed {
				if got := now[i] != was[i]; got != want {
					t.Errorf("settings %d changed: %v, want %v", i, got, want)
				}
			}
		})
	}
}

// A checkpoint that the disk damaged is no ground for a record: the window starts
// anew, and the loop goes on.
func TestDamagedCheckpointOfTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.pass(10 * time.Minute)
		r.end()
		for _, tt := range []struct {
			name string
			kept []byte
			flag string
		}{
			{"whole", r.kept[windowsKey], "RESTART"},
			{"a digit changed", bytes.Replace(r.kept[windowsKey], []byte(`"Samples":`), []byte(`"Samples":1`), 1), "BOOT"},
			{"cut short", r.kept[windowsKey][:99], "BOOT"},
		} {
			again := newRig(t)
			again.end()
			again.kept, again.records = map[string][]byte{windowsKey: tt.kept}, nil
			loop := New(again.loop.Options)
			wall := time.Now().Add(40 * time.Minute)
			loop.closePeriods(loop.Now(), time.Now(), again.clock.Clock)
			loop.closePeriods(loop.Now()+40*time.Minute, wall, again.clock.Clock)
			var first *outbox.Record
			for i := range again.records {
				if again.records[i].Stream == message.HalfHourStream("W1") && first == nil {
					first = &again.records[i]
				}
			}
			if first == nil {
				t.Fatalf("%s: no record", tt.name)
			}
			if !bytes.Contains(first.Body, fmt.Appendf(nil, "%q", tt.flag)) {
				t.Errorf("%s: first record %s, want %s", tt.name, first.Body, tt.flag)
			}
			if tt.flag == "BOOT" && !bytes.Contains(first.Body, []byte(`"samples":0`)) {
				t.Errorf("%s: %s", tt.name, first.Body)
			}
		}
	})
}
