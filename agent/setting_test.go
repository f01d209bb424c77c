package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lvagent/agent/socket"
	"lvagent/meter/metertest"
)

const settingSite = `
site: {id: S1}
clock: {source: assume}
meters:
  - {id: m1, url: "%[1]s", unit: 1, profile: eastron-sdm630, timeout: 300ms, writes: [demand_period]}
  - {id: m2, url: "%[1]s", unit: 2, profile: eastron-sdm630, timeout: 300ms}
ways: [{id: W1, meter: m1, rating_a: 300}, {id: W2, meter: m2, rating_a: 300}]
uplink: {broker: "tcp://127.0.0.1:1"}
buffer: {path: "%[2]s"}
`

// A setting goes from the command's socket to the meter and back, and only what
// the site permits does.
func TestSetting(t *testing.T) {
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for unit := range uint8(2) {
		s.SetSDM630(unit+1, metertest.SDM630{V: [3]float64{230, 230, 230}, I: [3]float64{10, 10, 10}})
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "site.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, settingSite, s.URL(), folder), 0o600); err != nil {
		t.Fatal(err)
	}
	site, faults := Prepare(file)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	a, err := New(site, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer run.Wait()
	defer stop()
	call := func(what string, request any, into any) error {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			raw, err := socket.Call(t.Context(), filepath.Join(folder, socket.Name), what, request)
			if err != nil && strings.Contains(err.Error(), "does it run") && time.Now().Before(end) {
				continue // it starts
			}
			if err != nil {
				return err
			}
			return json.Unmarshal(raw, into)
		}
	}
	var all []socket.Setting
	if err := call("settings/", nil, &all); err != nil {
		t.Fatal(err)
	}
	want := []socket.Setting{
		{Meter: "m1", Setting: "demand_period", Unit: "min", Takes: "0, 5, 8, 10, 15, 20, 30, 60", Permitted: true, Value: "60"},
		{Meter: "m2", Setting: "demand_period", Unit: "min", Takes: "0, 5, 8, 10, 15, 20, 30, 60"},
	}
	if !slices.Equal(all, want) {
		t.Errorf("settings %+v, want %+v", all, want)
	}
	u := s.Unit(1)
	written := 0
	u.OnWrite(func(metertest.Write) { written++ })
	for _, tt := range []struct {
		name    string
		set     socket.Set
		fault   metertest.Fault
		outcome string // empty: refused with
		why     string
		writes  int
		point   string // in the health point
	}{
		{"not permitted", socket.Set{Meter: "m2", Setting: "demand_period", Value: "15", Yes: true, By: "anna"}, metertest.Fault{}, "", "not among its writes", 0, ""},
		{"no such meter", socket.Set{Meter: "m9", Setting: "demand_period", Value: "15", Yes: true, By: "anna"}, metertest.Fault{}, "", "no meter", 0, ""},
		{"no such setting", socket.Set{Meter: "m1", Setting: "ct_ratio", Value: "15", Yes: true, By: "anna"}, metertest.Fault{}, "", "no setting", 0, ""},
		{"a value that it does not take", socket.Set{Meter: "m1", Setting: "demand_period", Value: "16", Yes: true, By: "anna"}, metertest.Fault{}, "", "0, 5, 8", 0, ""},
		{"by nobody", socket.Set{Meter: "m1", Setting: "demand_period", Value: "15", Yes: true}, metertest.Fault{}, "", "who you are", 0, ""},
		{"a rehearsal", socket.Set{Meter: "m1", Setting: "demand_period", Value: "15", By: "anna"}, metertest.Fault{}, "shown", "", 0, ""},
		{"set", socket.Set{Meter: "m1", Setting: "demand_period", Value: "15.0", Yes: true, By: "anna"}, metertest.Fault{}, "changed", "", 2, "from 60 to 15 by anna"},
		{"set again", socket.Set{Meter: "m1", Setting: "demand_period", Value: "15", Yes: true, By: "bert"}, metertest.Fault{}, "unchanged", "", 0, "by bert"},
		{"confirmed and not taken", socket.Set{Meter: "m1", Setting: "demand_period", Value: "30", Yes: true, By: "anna"}, metertest.Fault{Kind: metertest.Stuck}, "not_taken", "another value", 0, "it is 15"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			written = 0
			u.Break(tt.fault)
			defer u.Heal()
			var got socket.SetAnswer
			err := call("set", tt.set, &got)
			if tt.outcome == "" && (err == nil || !strings.Contains(err.Error(), tt.why)) || tt.outcome != "" && err != nil {
				t.Errorf("= %+v, %v", got, err)
			}
			if got.Outcome != tt.outcome || !strings.Contains(got.Why, tt.why) && tt.outcome != "" || written != tt.writes {
				t.Errorf("= %+v after %d registers written, want %s, %q", got, written, tt.outcome, tt.why)
			}
			var status struct {
				Health struct {
					Points map[string]struct{ Detail string }
				}
			}
			if err := call("status", nil, &status); err != nil || !strings.Contains(status.Health.Points["set/m1"].Detail, tt.point) {
				t.Errorf("health point %+v, %v; want %q", status.Health.Points["set/m1"], err, tt.point)
			}
		})
	}
}

func TestWritesThatAreNone(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"no such setting", "writes: [demand_period]", "writes: [ct_ratio]", `meters[0].writes[0]: meter m1: profile eastron-sdm630 has no setting "ct_ratio", only demand_period`},
		{"twice", "writes: [demand_period]", "writes: [demand_period, demand_period]", "meters[0].writes[1]: meter m1: demand_period is there twice"},
		{"a profile that allows none", "unit: 2, profile: eastron-sdm630", "unit: 2, writes: [x], profile: abb-b23", "meters[1].writes[0]: meter m2: profile abb-b23 allows nothing to be set"},
		{"a meter without a way", "ways: [{id: W1, meter: m1, rating_a: 300}, ", "ways: [", "meters[0].writes: meter m1 measures no way"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "site.yaml")
			text := strings.Replace(fmt.Sprintf(settingSite, "tcp://127.0.0.1:1502", "/tmp"), tt.old, tt.new, 1)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, faults := Prepare(file)
			if len(faults) != 1 || !strings.Contains(faults[0].String(), tt.want) || faults[0].Line == 0 {
				t.Errorf("faults = %v, want one with %q and its line", faults, tt.want)
			}
		})
	}
}
