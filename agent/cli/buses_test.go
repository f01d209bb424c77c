package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lvagent/agent/poll"
)

// What the agent says of its buses is what status shows.
func TestStatusShowsTheBuses(t *testing.T) {
	said, err := json.Marshal(map[string]any{"Buses": []poll.Stats{{Bus: "rtu:///dev/ttyS1", Ways: []poll.WayStats{
		{Way: "W3", Polls: 45, Good: 45, Late: poll.Spread{Half: time.Millisecond, Most99: 457_601_578, Max: 457_601_578}},
		{Way: "W4"},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	var s status
	if err := json.Unmarshal(said, &s); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s.printBuses(&out)
	for _, want := range []string{"rtu:///dev/ttyS1\tW3\t45\t100.0 %\t1ms\t457.6ms\t457.6ms\t0s", "\tW4\t0\t-\t0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}
