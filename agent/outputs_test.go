package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/poll"
	"lvagent/failsafe/relay"
	"lvagent/failsafe/relay/relaytest"
	"lvagent/meter/metertest"
)

// An output on a controller that speaks real Modbus: its lease is set, what it
// forgot over a loss of its supply is noticed and written over, and so is what
// somebody else wrote.
func TestOutputsOnAController(t *testing.T) {
	server, err := metertest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	u := server.Unit(3)
	u.SetHolding(30, 63, 0, 0)
	u.SetCoil(2, true)
	site, faults := prepared(t, `
site: {id: S1}
clock: {source: assume}
meters: [{id: m1, url: "`+server.URL()+`", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
groups:
  - {id: G1, way: W1, phases: [L1], rating_a: 63, failsafe_a: 6,
     output: {kind: modbus, url: "`+server.URL()+`", unit: 3, holding: 30, encode: amps, lease: 90s, lease_holding: 31, lease_fallback: 32}}
  - {id: G2, way: W1, phases: [L1], rating_a: 63,
     output: {kind: modbus, url: "`+server.URL()+`", unit: 3, coil: 2}}
failsafe: {issuers: [scada-1]}
uplink: {broker: "tcp://127.0.0.1:1883"}
`)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	client := site.buses(slog.New(slog.DiscardHandler))[0].client
	if err := client.Open(); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	register, coil := site.outputs[0].kept(), site.outputs[1].kept()
	tell := func(k *relay.Kept, limit, found milliamps, drifted bool) {
		t.Helper()
		got, err := k.Tell(client, limit)
		if want := (relay.Outcome{Limit: limit, Drifted: drifted, Found: found}); err != nil || got != want {
			t.Errorf("tell %d = %+v, %v; want %+v", limit, got, err, want)
		}
	}
	holds := func(addr, want uint16) {
		t.Helper()
		if got, _ := u.Holding(addr); got != want {
			t.Errorf("holding %d = %d, want %d", addr, got, want)
		}
	}
	tell(register, 16_000, 0, false)
	holds(30, 16)
	holds(31, 90)
	holds(32, 6)
	tell(register, 16_000, 0, false)
	u.SetHolding(30, 63, 0, 0) // it lost its supply and woke up unlimited
	tell(register, 16_000, 63_000, true)
	holds(30, 16)
	holds(31, 90)
	holds(32, 6)
	u.Break(metertest.Fault{Kind: metertest.Stuck})
	if got, err := register.Tell(client, 6000); err != nil || got.Limit != 16_000 {
		t.Errorf("a register that confirms and does not take = %+v, %v", got, err)
	}
	u.Heal()
	tell(register, 6000, 0, false)
	tell(coil, 0, 0, false)
	u.SetCoil(2, true) // somebody closed it
	tell(coil, 0, 63_000, true)
	if on, _ := u.Coil(2); on {
		t.Error("the coil stays as somebody else set it")
	}
}

func prepared(t *testing.T, text string) (*Site, []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	site, faults := Prepare(file)
	var all []string
	for _, f := range faults {
		all = append(all, f.String())
	}
	return site, all
}

// The lines that a file names are looked at by check, each where it stands.
func TestLinesOfOutputsAreChecked(t *testing.T) {
	_, faults := prepared(t, `
site: {id: S1}
clock: {source: assume}
meters: [{id: m1, url: "tcp://127.0.0.1:1502", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
groups:
  - {id: G1, way: W1, phases: [L1], rating_a: 63, output: {kind: gpio, line: "a/b:1"}, backup: {kind: gpio, line: "a/b:2"}}
failsafe: {issuers: [scada-1], watchdog_line: "a/b:3"}
uplink: {broker: "tcp://127.0.0.1:1883"}
`)
	all := strings.Join(faults, "\n")
	for _, want := range []string{"groups[0].output.line: group G1: line \"a/b:1\"", "groups[0].backup.line: group G1: line \"a/b:2\"", "failsafe.watchdog_line: line \"a/b:3\""} {
		if !strings.Contains(all, want) {
			t.Errorf("faults:\n%s\nwant %q", all, want)
		}
	}
}

// The watchdog contact is held by the end of each cycle of decisions and by
// nothing else: where they end it drops, though the bus of its chip goes on.
func TestWatchdogContactFollowsTheDecisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		now := func() time.Duration { return time.Since(began) }
		k := relaytest.NewKernel()
		contact := k.Add("gpiochip0", "soc", "ALIVE").Watchdog(0, 3*time.Second, now)
		pulse := relay.NewPulse(k, relay.Address{Chip: "gpiochip0", Line: "ALIVE"})
		bus := poll.NewBus(poll.Config{Name: "gpiochip0", Link: relay.Lines{pulse}, Now: now, Rand: func() float64 { return 0.5 },
			Deliver: func(reading) {}})
		part := start("bus", bus.Run)
		dog := &watchdog{pulse: pulse, bus: bus, log: slog.New(slog.DiscardHandler)}
		for range 5 {
			dog.alive()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if !contact.Closed() {
			t.Error("the contact is open while decisions are made")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if contact.Closed() {
			t.Error("the contact is closed three seconds after the last decision")
		}
		if err := part.stop(); err != nil {
			t.Error(err)
		}
	})
}

// A group's own meter is read like any other, on the bus of its address, under a
// name that is no way's.
func TestAGroupsMeterIsPolled(t *testing.T) {
	server, err := metertest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for unit, amps := range map[uint8]float64{1: 120, 2: 17.5} {
		server.SetSDM630(unit, metertest.SDM630{V: [3]float64{240, 240, 240}, I: [3]float64{amps, amps, amps}, P: [3]float64{240 * amps, 240 * amps, 240 * amps}})
	}
	site, faults := prepared(t, `
site: {id: S1}
clock: {source: assume}
meters:
  - {id: m1, url: "`+server.URL()+`", unit: 1, profile: eastron-sdm630}
  - {id: m2, url: "`+server.URL()+`", unit: 2, profile: eastron-sdm630}
ways: [{id: W1, meter: m1, rating_a: 300}]
groups:
  - {id: G1, way: W1, phases: [L1], rating_a: 63, meter: m2, output: {kind: mqtt}}
failsafe: {issuers: [scada-1]}
uplink: {broker: "tcp://127.0.0.1:1883"}
`)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if loads := site.Loads(); len(loads) != 1 || loads[0].Meters != 2 || loads[0].Outputs != 0 {
		t.Errorf("loads %+v", loads)
	}
	all := site.buses(slog.New(slog.DiscardHandler))
	if len(all) != 1 || len(all[0].ways) != 2 {
		t.Fatalf("buses %+v", all)
	}
	if err := all[0].link.Open(); err != nil {
		t.Fatal(err)
	}
	defer all[0].link.Close()
	w := all[0].ways[1]
	r := reading{Way: w.Way}
	for range 3 { // the first reads look who it is
		if err := w.Source.Read(&r); err != nil {
			t.Fatal(err)
		}
	}
	if w.Way != "group/G1" || r.Phase[0].I.Value != 17_500 {
		t.Errorf("%s reads %+v", w.Way, r.Phase[0].I)
	}
}
