package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lvagent/meter/metertest"
)

const faulty = `site: {id: "S 1", nme: x}
meters:
  - {id: m1, url: "tcp://127.0.0.1:1502", unit: 1, profile: mine.yaml, poll: 1}
  - {id: m1, url: "tcp://127.0.0.1:1502", unit: 2, profile: eastron-sdm630}
ways:
  - {id: W1, rating_a: 300}
uplink: {broker: "tcp://127.0.0.1:1883"}
failsafe: {issuers: [scada-1]}
`

const overlapping = `schema: 1
id: mine
`

func invoke(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// All faults of a file come at once, each on its own line, and a start is
// refused with the same lines.
func TestCheckAndRunSayTheSame(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "site.yaml")
	for name, text := range map[string]string{"site.yaml": faulty, "mine.yaml": overlapping} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, _ := invoke("check", file)
	if code != 1 {
		t.Errorf("check exits with %d, want 1", code)
	}
	for _, want := range []string{
		file + ":1: site.nme: unknown key",
		file + ":1: site.id: must be",
		file + ":3: meters[0].poll: a duration needs a unit",
		file + ":4: meters[1].id: \"m1\" is already",
		file + ":6: ways[0].meter: way W1 has no meter",
		filepath.Join(folder, "mine.yaml") + ":",
	} {
		if !strings.Contains("\n"+out, "\n"+want) {
			t.Errorf("no line starts with %q in:\n%s", want, out)
		}
	}
	code, _, refused := invoke("run", "--config", file)
	if code != 1 || refused != out {
		t.Errorf("run exits with %d and says:\n%s\ncheck said:\n%s", code, refused, out)
	}
	code, out, _ = invoke("check", "--json", file)
	var faults []struct{ File, Path, Message string }
	if err := json.Unmarshal([]byte(out), &faults); err != nil || code != 1 || len(faults) < 6 {
		t.Errorf("check --json: exit %d, %d faults, %v", code, len(faults), err)
	}
}

func TestABusThatIsTooBusy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.yaml")
	for _, tt := range []struct {
		turnaround, want string
		code             int
	}{
		{"30ms", "1 meters, 0 outputs, 2.0 requests a second, 6 % busy", 0},
		{"360ms", "meters: bus tcp://127.0.0.1:1502 would be 73 % busy", 1},
	} {
		text := strings.NewReplacer(`"S 1", nme: x`, "S1", "mine.yaml, poll: 1", "eastron-sdm630, turnaround: "+tt.turnaround,
			"{id: W1,", "{id: W1, meter: m1,", "  - {id: m1, url: \"tcp://127.0.0.1:1502\", unit: 2, profile: eastron-sdm630}\n", "").Replace(faulty)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, _ := invoke("check", file); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("turnaround %s: exit %d, want %d and %q:\n%s", tt.turnaround, code, tt.code, tt.want, out)
		}
	}
}

// By hand: 90 characters and 14 of silence, at 9600 baud 108 ms, and 30 ms for
// each of two answers: 168 ms for a meter and second.
func TestASerialLineThatIsTooBusy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.yaml")
	const head = "site: {id: S1}\nclock: {source: assume}\nuplink: {broker: \"tcp://127.0.0.1:1883\"}\nfailsafe: {issuers: [a]}\n"
	for _, tt := range []struct {
		name string
		n    int
		baud int
		want string
		code int
	}{
		{"four at 9600", 4, 9600, "bus rtu:///dev/ttyS1 at 9600 baud: 4 meters", 0},
		{"five at 9600", 5, 9600, "bus rtu:///dev/ttyS1 at 9600 baud would be", 1},
		{"five at 38400", 5, 38400, "5 meters, 0 outputs, 10.2 requests a second", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := head + "meters:\n"
			ways := "ways:\n"
			for i := range tt.n {
				text += fmt.Sprintf("  - {id: m%d, url: \"rtu:///dev/ttyS1\", unit: %d, profile: eastron-sdm630, bus: {baud: %d}}\n", i, i+1, tt.baud)
				ways += fmt.Sprintf("  - {id: W%d, meter: m%d, rating_a: 300}\n", i, i)
			}
			if err := os.WriteFile(file, []byte(text+ways), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, _ := invoke("check", file)
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit %d, want %d and %q:\n%s", code, tt.code, tt.want, out)
			}
			t.Log(out)
		})
	}
}

func TestUnreadableCertificates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "site.yaml")
	text := strings.NewReplacer("tcp://127.0.0.1:1883\"", "ssl://127.0.0.1:8883\", tls: {ca: /no/ca, cert: /no/cert, key: /no/key}").Replace(faulty)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, _ := invoke("check", file)
	for _, want := range []string{":7: uplink.tls.ca: open /no/ca", ":7: uplink.tls.cert: open /no/cert"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"--help"}, 0},
		{"help of a command", []string{"run", "--help"}, 0},
		{"version", []string{"--version"}, 0},
		{"no such command", []string{"fly"}, 2},
		{"no such flag", []string{"run", "--fly"}, 2},
		{"check of nothing", []string{"check"}, 2},
		{"a file that is not there", []string{"check", "/no/such/file"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, out, errs := invoke(tt.args...); got != tt.want {
				t.Errorf("exit %d, want %d\n%s%s", got, tt.want, out, errs)
			}
		})
	}
}

// A meter that is looked at over the command line: what it prints, and its exit
// codes. What it finds is tested in agent/survey.
func TestProbeAndScan(t *testing.T) {
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetSDM630(3, metertest.SDM630{V: [3]float64{231, 232, 233}})
	for _, tt := range []struct {
		name, args, want string
		code             int
	}{
		{"probe", "probe --unit 3 --profile eastron-sdm630 --url " + s.URL(), "the profile fits", 0},
		{"probe as JSON", "probe --unit 3 --profile eastron-sdm630 --json --url " + s.URL(), `"offset": -1`, 0},
		{"probe with the wrong profile", "probe --unit 3 --profile janitza-umg96rm --url " + s.URL(), "the meter refuses", 1},
		{"probe of nobody", "probe --unit 9 --url " + s.URL(), "does not reach the meter", 1},
		{"probe of a front end", "probe --url spi:///dev/spidev0.0", "docs/spi.md", 1},
		{"probe without address", "probe --unit 3", "say --url", 1},
		{"scan", "scan --units 2-4 --url " + s.URL(), "{id: m3, url: \"" + s.URL() + "\", unit: 3, profile: eastron-sdm630}", 0},
		{"scan of nobody", "scan --units 8 --url " + s.URL(), "no unit answers", 1},
		{"scan of impossible units", "scan --units 0-9 --url " + s.URL(), "want numbers from 1 to 247", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := invoke(strings.Fields(tt.args)...)
			if code != tt.code || !strings.Contains(out+errs, tt.want) {
				t.Errorf("exit %d, want %d and %q:\n%s%s", code, tt.code, tt.want, out, errs)
			}
		})
	}
}
