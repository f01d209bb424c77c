package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvagent/meter"
	"lvagent/meter/modbus"
)

const wired = `site: {id: S1}
meters:
  - {id: m1, url: "tcp://127.0.0.1:1502", unit: 1, profile: socomec-digiware}
  - {id: m2, url: "tcp://127.0.0.1:1502", unit: 2, profile: sunspec-int}
ways:
  - {id: W1, meter: m1, rating_a: 300}
  - {id: W2, meter: m1, channel: 2, rating_a: 300, invert: [L2], phase_map: [L2, L3, L1], neutral: measured}
  - {id: W3, meter: m2, rating_a: 300}
alarms:
  - {ways: [W1, W2], quantity: n, kind: hi, threshold: 150}
uplink: {broker: "tcp://127.0.0.1:1883"}
failsafe: {issuers: [scada-1]}
`

func prepare(t *testing.T, text string) (*Site, []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	site, faults := Prepare(file)
	var lines []string
	for _, f := range faults {
		lines = append(lines, fmt.Sprintf("%d: %s: %s", f.Line, f.Path, f.Message))
	}
	return site, lines
}

func TestWiringOfASite(t *testing.T) {
	site, faults := prepare(t, wired)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	got := setupOf(&site.Config.Ways[1], &site.Config.Meters[0])
	want := modbus.Setup{
		Way: "W2", Unit: 1, Channel: 2, Invert: [3]bool{false, true, false},
		Map: [3]meter.Phase{meter.L2, meter.L3, meter.L1}, Neutral: modbus.NeutralMeasured,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// Each way of a device is asked on its own, three requests a second; what is
	// read once a minute is less than one in ten seconds.
	if l := site.Loads(); len(l) != 1 || l[0].Meters != 2 || l[0].Requests < 3 || l[0].Requests > 3.1 {
		t.Errorf("loads %+v", l)
	}
}

func TestWiringThatDoesNotFit(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"same input twice", "channel: 2", "channel: 1", "7: ways[1].meter: way W2: meter m1 already measures way W1"},
		{"no such way of the device", "channel: 2", "channel: 7", "7: ways[1].channel: way W2: the meter measures 6 ways"},
		{"channel 0", "channel: 2", "channel: 0", "7: ways[1].channel: must be 1 to 64, not 0"},
		{"no such phase", "invert: [L2]", "invert: [L4]", "7: ways[1].invert[0]: must be L1, L2 or L3"},
		{"phase map of two", "[L2, L3, L1]", "[L2, L3]", "7: ways[1].phase_map: way W2: must name the phase of each"},
		{"phase map with one twice", "[L2, L3, L1]", "[L2, L3, L3]", "7: ways[1].phase_map[2]: L3 is there twice"},
		{"ratio of nothing", "neutral: measured", "ct_ratio: 0", "7: ways[1].ct_ratio: way W2: must be above 0"},
		{"ratio that nothing checks", "neutral: measured", "ct_ratio: 60", "7: ways[1].ct_ratio: way W2: the meter applies it"},
		{"neutral of another kind", "neutral: measured", "neutral: maybe", "7: ways[1].neutral: must be measured or none or shared"},
		{"neutral that the meter cannot", "meter: m2, rating_a: 300", "meter: m2, rating_a: 300, neutral: measured", "8: ways[2].neutral: way W3: profile sunspec-int has no register"},
		{"alarm on a derived neutral", "ways: [W1, W2]", "ways: [W1, W3]", "10: alarms[0].quantity: the neutral current of way W3 is not measured"},
		{"alarm on every neutral", "ways: [W1, W2], ", "", "10: alarms[0].quantity: the neutral current of way W3 is not measured"},
		{"alarm on a shared neutral", "neutral: measured", "neutral: shared", "10: alarms[0].quantity: the neutral current of way W2 is not measured"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Count(wired, tt.old) != 1 {
				t.Fatalf("%q is in the file %d times", tt.old, strings.Count(wired, tt.old))
			}
			_, faults := prepare(t, strings.Replace(wired, tt.old, tt.new, 1))
			if len(faults) != 1 || !strings.HasPrefix(faults[0], tt.want) {
				t.Errorf("got %q, want %q", faults, tt.want)
			}
		})
	}
}

// The temperature around the transformer comes from a meter that has a sensor.
func TestSensorThatIsNone(t *testing.T) {
	for _, tt := range []struct{ name, site, want string }{
		{"no such meter", "transformer_kva: 500, transformer: {ambient_meter: m9}", `1: site.transformer.ambient_meter: there is no meter "m9"`},
		{"a profile without", "transformer_kva: 500, transformer: {ambient_meter: m1}", "1: site.transformer.ambient_meter: profile socomec-digiware has no register"},
		{"no transformer", "transformer: {ambient_meter: m1}", "1: site.transformer.ambient_meter: there is no transformer"},
	} {
		_, faults := prepare(t, strings.Replace(wired, "site: {", "site: {"+tt.site+", ", 1))
		if len(faults) == 0 || !strings.HasPrefix(faults[0], tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, faults, tt.want)
		}
	}
}

// The ratios of a front end are in its calibration file.
func TestWiringOfAFrontEnd(t *testing.T) {
	_, faults := prepare(t, strings.NewReplacer(
		`url: "tcp://127.0.0.1:1502", unit: 1, profile: socomec-digiware`, `url: "spi:///dev/spidev0.0", calibration: none.yaml`,
		"channel: 2, rating_a: 300, invert: [L2], phase_map: [L2, L3, L1], neutral: measured", "channel: 2, rating_a: 300, invert: [L2], ct_ratio: 60",
	).Replace(wired))
	got := strings.Join(faults, "\n")
	for _, want := range []string{"7: ways[1].channel: way W2: says nothing of a front end", "7: ways[1].ct_ratio: way W2: says nothing of a front end"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}

// A profile beside the site file says how often its meter takes new values.
func TestPollFasterThanTheMeter(t *testing.T) {
	text, err := os.ReadFile("../configs/meters/abb-b23.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "slow.yaml")
	slow := strings.Replace(string(text), "timeout: 1s", "timeout: 1s\nrefresh: 2s", 1)
	if err := os.WriteFile(file, []byte(slow), 0o600); err != nil {
		t.Fatal(err)
	}
	_, faults := prepare(t, strings.Replace(wired, "profile: sunspec-int", "profile: "+file, 1))
	if len(faults) != 1 || !strings.Contains(faults[0], "meters[1].poll: meter m2 takes new values every 2s only") {
		t.Errorf("%q", faults)
	}
}
