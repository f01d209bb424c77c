package configs

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const good = `site: {id: EPN-E1234, name: High Street 3, transformer_kva: 500}
meters:
  - {id: m3, url: "tcp://127.0.0.1:1502", unit: 3, profile: eastron-sdm630, poll: 1s}
  - {id: m4, url: "tcp://127.0.0.1:1502", unit: 4, profile: eastron-sdm630}
ways:
  - {id: W3, name: High Street north, meter: m3, rating_a: 300}
  - {id: W4, meter: m4, rating_a: {L1: 200, L2: 250, L3: 300}}
groups:
  - {id: G1, way: W3, phases: [L1], rating_a: 96, output: {kind: modbus, url: "tcp://127.0.0.1:1502", unit: 3, holding: 30, encode: percent}}
  - {id: G2, way: W3, phases: [L1, L2, L3], rating_a: 63, failsafe_a: 0, connectors: 2, output: {kind: modbus, url: "tcp://127.0.0.1:1502", unit: 3, holding: 31}}
alarms:
  - {ways: [W3], quantity: i, phases: [L1], kind: hi, threshold: 300, hysteresis: 9, on_delay: 10s, off_delay: 60s}
uplink: {broker: "tcp://127.0.0.1:1883"}
failsafe: {issuers: [scada-1]}
`

func TestGoodFile(t *testing.T) {
	c, _, faults := Parse("site.yaml", []byte(good))
	if len(faults) > 0 {
		t.Fatalf("faults: %v", faults)
	}
	if got := c.Meters[1].Poll; got != time.Second {
		t.Errorf("default poll = %v", got)
	}
	if got := c.Ways[1].Rating; got != (PhaseAmps{200, 250, 300}) {
		t.Errorf("rating per phase = %v", got)
	}
	if got := c.Ways[0].Rating; got != (PhaseAmps{300, 300, 300}) {
		t.Errorf("one rating for all = %v", got)
	}
	if got := c.Groups[0].Failsafe; got != 6 {
		t.Errorf("default failsafe limit = %v, want 6 A for one connector", got)
	}
	if got := c.Groups[1].Failsafe; got != 0 {
		t.Errorf("failsafe limit of 0 = %v; 0 is a value, not an absence", got)
	}
	if got := c.Failsafe.HeartbeatTimeout; got != 120*time.Second {
		t.Errorf("default heartbeat timeout = %v", got)
	}
	if c.Bench() {
		t.Error("half-hours are no bench")
	}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           string // file:line: path: start of the message
	}{
		{"unknown key", "name: High Street 3", "nme: High Street 3", "1: site.nme: unknown key"},
		{"unknown top-level key", "uplink:", "uplinks: {}\nuplink:", "13: uplinks: unknown key"},
		{"bare duration", "poll: 1s", "poll: 1", "3: meters[0].poll: a duration needs a unit"},
		{"bare duration with a fraction", "poll: 1s", "poll: 0.5", "3: meters[0].poll: a duration needs a unit"},
		{"negative duration", "poll: 1s", "poll: -1s", "3: meters[0].poll: must not be negative"},
		{"no duration", "poll: 1s", "poll: soon", "3: meters[0].poll: must be a duration"},
		{"duplicate id", "id: m4", "id: m3", `4: meters[1].id: "m3" is already the id of meters[0]`},
		{"duplicate key", "unit: 3, profile", "unit: 3, unit: 3, profile", "3: meters[0].unit: is there twice"},
		{"keys that differ in case", "site:", "Site: {}\nsite:", "2: site: is there twice"},
		{"way without a meter", "meter: m3, ", "", "6: ways[0].meter: way W3 has no meter"},
		{"way with a meter that is not there", "meter: m3", "meter: m9", `6: ways[0].meter: way W3: there is no meter "m9"`},
		{"two ways on one meter", "meter: m4", "meter: m3", "7: ways[1].meter: way W4: meter m3 already measures way W3"},
		{"rating of nothing", "rating_a: 300}", "rating_a: 0}", "6: ways[0].rating_a: way W3: L1 must be above 0"},
		{"rating that is no number", "rating_a: 300}", "rating_a: .nan}", "6: ways[0].rating_a: must be a number"},
		{"huge rating", "rating_a: 300}", "rating_a: 1e300}", "6: ways[0].rating_a: way W3: L1 must be above 0 and at most"},
		{"phase that is none", "phases: [L1], rating", "phases: [L4], rating", "9: groups[0].phases[0]: must be L1, L2 or L3"},
		{"group on no way", "way: W3, phases: [L1]", "way: W7, phases: [L1]", `9: groups[0].way: group G1: there is no way "W7"`},
		{"two groups on one register", "holding: 31", "holding: 30", "10: groups[1].output: group G2: group G1 already drives this output"},
		{"no address of an output", "holding: 31", "encode: percent", "10: groups[1].output: group G2: must have one of holding and coil"},
		{"two addresses of an output", "holding: 31", "holding: 31, coil: 0", "10: groups[1].output: group G2: must have one of holding and coil"},
		{"a coil that curtails at 2", "holding: 31", "coil: 0, curtail: 2", "10: groups[1].output.curtail: must be 0 to 1"},
		{"a line that is none", "kind: modbus, url: \"tcp://127.0.0.1:1502\", unit: 3, holding: 31", "kind: gpio, line: 17", "10: groups[1].output.line: group G2: must be chip:line"},
		{"lockout limit above the rating", "failsafe_a: 0", "failsafe_a: 0, lockout_a: 64", "10: groups[1].lockout_a"},
		{"restart too far apart", "issuers:", "restart_spread: 31m, issuers:", "14: failsafe.restart_spread"},
		{"excursion too short", "issuers:", "excursion: 9s, issuers:", "14: failsafe.excursion"},
		{"failsafe limit above the rating", "failsafe_a: 0", "failsafe_a: 64", "10: groups[1].failsafe_a"},
		{"a word for a number", "unit: 3, profile", "unit: three, profile", "3: meters[0].unit: must be a whole number"},
		{"a list for a value", "name: High Street 3", "name: [a]", "1: site.name: must be one value, not a list"},
		{"plain tcp to another machine", `broker: "tcp://127.0.0.1:1883"`, `broker: "tcp://192.0.2.1:1883"`, "13: uplink.broker: plain tcp"},
		{"a password in the address", `broker: "tcp://127.0.0.1:1883"`, `broker: "tcp://a:b@127.0.0.1:1883"`, "13: uplink.broker: must hold no password"},
		{"no certificates", `broker: "tcp://127.0.0.1:1883"`, `broker: "ssl://192.0.2.1:8883"`, "13: uplink.tls.ca: must name a file"},
		{"nobody may command", "issuers: [scada-1]", "issuers: []", "14: failsafe.issuers: is empty"},
		{"impatient timeout", "issuers:", "heartbeat_timeout: 60s, issuers:", "14: failsafe.heartbeat_timeout: must be at least 3.5"},
		{"an alarm that control itself would raise", "threshold: 300", "threshold: 280", "12: alarms[0].threshold: 280 A on way W3 L1 is below"},
		{"an alias", "name: High Street 3", "name: &n High Street 3, firm_kva: *n", "1: site.firm_kva: aliases (*n) are not taken"},
		{"bus of no kind", "\"tcp://127.0.0.1:1502\", unit: 4", "\"udp://127.0.0.1:1502\", unit: 4", "4: meters[1].url: must be tcp://host:port"},
		{"serial port on a host", "\"tcp://127.0.0.1:1502\", unit: 4", "\"rtu://dev/ttyS1\", unit: 4", "4: meters[1].url: must be tcp://host:port"},
		{"everybody on a serial line", "\"tcp://127.0.0.1:1502\", unit: 4", "\"rtu:///dev/ttyS1\", unit: 0", "4: meters[1].unit: must be 1 to 247"},
		{"baud of a network", "unit: 4,", "unit: 4, bus: {baud: 9600},", "4: meters[1].bus: tcp://127.0.0.1:1502 is no serial line"},
		{"a baud that is none", "\"tcp://127.0.0.1:1502\", unit: 4", "\"rtu:///dev/ttyS1\", bus: {baud: 9601}, unit: 4", "4: meters[1].bus.baud: must be one of 1200"},
		{"a parity that is none", "\"tcp://127.0.0.1:1502\", unit: 4", "\"rtu:///dev/ttyS1\", bus: {parity: mark}, unit: 4", "4: meters[1].bus.parity: must be none or even or odd"},
		{"three stop bits", "\"tcp://127.0.0.1:1502\", unit: 4", "\"rtu:///dev/ttyS1\", bus: {stop: 3}, unit: 4", "4: meters[1].bus.stop: must be 1 to 2"},
		{"a long gap", "unit: 4,", "unit: 4, bus: {gap: 2s},", "4: meters[1].bus.gap: must be 0s to 1s"},
		{"two gaps on one bus", "unit: 4,", "unit: 4, bus: {gap: 2ms},\n     name: x}\n  - {id: m5, url: \"tcp://127.0.0.1:1502\", bus: {gap: 3ms}, unit: 5,", "6: meters[2].bus: meters[1] has other settings"},
		{"tls without files", "\"tcp://127.0.0.1:1502\", unit: 4", "\"tcp+tls://127.0.0.1:802\", unit: 4", "4: meters[1].bus.tls: tcp+tls:// is mutual"},
		{"files without tls", "unit: 4,", "unit: 4, bus: {tls: {ca: x}},", "4: meters[1].bus.tls: only a tcp+tls:// url"},
		{"not YAML", "ways:", "ways: [", "5: "},
		{"two ways to name brokers", "uplink: {", "uplink: {brokers: [\"tcp://127.0.0.1:1\"], ", "13: uplink.brokers: broker and brokers exclude"},
		{"a broker twice", `uplink: {broker: "tcp://127.0.0.1:1883"}`, "uplink: {brokers: [\"tcp://127.0.0.1:1\", \"tcp://127.0.0.1:1\"]}", "13: uplink.brokers[1]: tcp://127.0.0.1:1 is there twice"},
		{"a second broker in the clear", `uplink: {broker: "tcp://127.0.0.1:1883"}`, "uplink: {brokers: [\"tcp://127.0.0.1:1\", \"tcp://b.example:1\"]}", "13: uplink.brokers[1]: plain tcp to another machine"},
		{"TLS to the second broker only, no files", `uplink: {broker: "tcp://127.0.0.1:1883"}`, "uplink: {brokers: [\"tcp://127.0.0.1:1\", \"ssl://b.example:1\"]}", "13: uplink.tls.ca: must name a file"},
		{"a key that is none", "uplink: {", "uplink: {issuers: [{id: scada-1, key: abc}], ", "13: uplink.issuers[0].key: issuer scada-1: must be 32 octets"},
		{"an issuer twice", "uplink: {", "uplink: {issuers: [{id: c}, {id: c}], ", `13: uplink.issuers[1].id: "c" is already`},
		{"an issuer for nothing", "uplink: {", "uplink: {issuers: [{id: scada-1}], ", "13: uplink.issuers[0].key: issuer scada-1 has no key"},
		{"a connection for ever", "uplink: {", "uplink: {max_age: 8760h, ", "13: uplink.max_age: must be"},
		{"a negative rate", "uplink: {", "uplink: {backlog_rate: -1, ", "13: uplink.backlog_rate: must be 0 to 10000"},
		{"an unknown payload", "uplink: {", "uplink: {payload: homie, ", "13: uplink.payload: "},
		{"a Sparkplug group of two levels", "uplink: {", "uplink: {payload: sparkplug, sparkplug: {group_id: a/b}, ", "13: uplink.sparkplug.group_id: must be 1 to 64"},
		{"a primary host for all", "uplink: {", "uplink: {payload: both, sparkplug: {host: '#'}, ", "13: uplink.sparkplug.host: must be at most 64"},
		{"two sessions of one id", "uplink: {", "uplink: {payload: both, sparkplug: {client_id: EPN-E1234}, ", "13: uplink.sparkplug.client_id: must not be site.id"},
		{"a Sparkplug issuer without rights", "uplink: {", "uplink: {payload: sparkplug, sparkplug: {issuer: nobody}, ", "13: uplink.sparkplug.issuer: nobody is not in"},
		{"a deadband of nothing", "uplink: {", "uplink: {payload: sparkplug, sparkplug: {deadband_v: 0}, ", "13: uplink.sparkplug.deadband_v: must be"},
		{"a page for everybody", "uplink:", "page: {listen: \"192.0.2.1:80\"}\nuplink:", "13: page.listen: 192.0.2.1 is not loopback: the page needs cert"},
		{"metrics for everybody", "uplink:", "metrics: {listen: \"192.0.2.1:9464\"}\nuplink:", "13: metrics.listen: must be on loopback"},
		{"metrics without a port", "uplink:", "metrics: {listen: localhost}\nuplink:", "13: metrics.listen: must be address:port"},
		{"a page on every port", "uplink:", "page: {listen: \":80\"}\nuplink:", "13: page.listen: must name an address"},
		{"a page without a port", "uplink:", "page: {listen: localhost}\nuplink:", "13: page.listen: must be address:port"},
		{"a password in the file", "uplink:", "page: {accounts: [{name: anna, role: viewer, secret: hunter22}]}\nuplink:", "13: page.accounts[0].secret: must be what"},
		{"a role that there is not", "uplink:", "page: {accounts: [{name: anna, role: boss, secret: x}]}\nuplink:", "13: page.accounts[0].role: must be viewer or operator"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good {
				t.Fatal("the test changes nothing")
			}
			_, _, faults := Parse("site.yaml", []byte(text))
			for _, f := range faults {
				if strings.HasPrefix(f.String(), "site.yaml:"+tt.want) {
					return
				}
			}
			t.Errorf("faults = %q, want one that starts with %q", faults, tt.want)
		})
	}
}

// One meter says how its line is spoken to, for all that hangs on it.
func TestBusOfALine(t *testing.T) {
	text := strings.ReplaceAll(good, "tcp://127.0.0.1:1502", "rtu:///dev/ttyS1")
	text = strings.Replace(text, "unit: 4,", "unit: 4, bus: {baud: 19200, gap: 5ms},", 1)
	c, _, faults := Parse("site.yaml", []byte(text))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if got, want := c.BusOf("rtu:///dev/ttyS1"), (Bus{Baud: 19200, Parity: "none", Stop: 1, Gap: 5 * time.Millisecond}); got != want {
		t.Errorf("bus %+v, want %+v", got, want)
	}
	if m := c.Meters[0]; m.Timeout != 300*time.Millisecond || m.Turnaround != 30*time.Millisecond {
		t.Errorf("defaults on a line: timeout %v, turnaround %v", m.Timeout, m.Turnaround)
	}
	if got, want := c.BusOf("tcp://192.0.2.1:502"), (Bus{}); got != want {
		t.Errorf("bus that is not there: %+v", got)
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	text := strings.NewReplacer("poll: 1s", "poll: 1", "id: m4", "id: m3", "meter: m4", "meter: m9", "kind: hi", "kind: high").Replace(good)
	if _, _, faults := Parse("site.yaml", []byte(text)); len(faults) != 4 {
		t.Errorf("%d faults, want 4: %v", len(faults), faults)
	}
}

// A small file must not grow: aliases multiply.
func TestAliasesDoNotMultiply(t *testing.T) {
	var b strings.Builder
	b.WriteString("meters:\n - &m {")
	for i := range 3000 {
		fmt.Fprintf(&b, "k%d: 1, ", i)
	}
	b.WriteString("}\n" + strings.Repeat(" - *m\n", 3000))
	if _, _, faults := Parse("site.yaml", []byte(b.String())); len(faults) > 30_000 {
		t.Errorf("%d faults of a file of %d octets", len(faults), b.Len())
	}
}

func TestEmptyFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "[]", "7", "---\n"} {
		if _, _, faults := Parse("site.yaml", []byte(text)); len(faults) == 0 {
			t.Errorf("%q is taken for a site file", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("site: &s {id: *s}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, _, faults := Parse("site.yaml", text)
		if c == nil && len(faults) == 0 {
			t.Error("neither a configuration nor a fault")
		}
	})
}

func TestSPIMeters(t *testing.T) {
	const line = `  - {id: m4, url: "spi:///dev/spidev0.0", profile: ade9000, calibration: board.yaml}`
	base := strings.Replace(good, `  - {id: m4, url: "tcp://127.0.0.1:1502", unit: 4, profile: eastron-sdm630}`, line, 1)
	c, _, faults := Parse("site.yaml", []byte(base))
	if len(faults) > 0 {
		t.Fatalf("faults: %v", faults)
	}
	if m := c.Meters[1]; m.Clock != 1000 || m.Poll != time.Second || Device(m.URL) != "/dev/spidev0.0" {
		t.Errorf("meter = %+v", m)
	}
	tests := []struct{ name, old, new, want string }{
		{"no calibration", ", calibration: board.yaml", "", "4: meters[1].calibration: must name the calibration file"},
		{"another profile", "profile: ade9000", "profile: eastron-sdm630", `4: meters[1].profile: a meter on an SPI bus must be ade9000, not "eastron-sdm630"`},
		{"no device", "spi:///dev/spidev0.0", "spi:///dev/spi0.0", "4: meters[1].url: must be spi:///dev/spidevB.C"},
		{"a host", "spi:///dev/spidev0.0", "spi://host/dev/spidev0.0", "4: meters[1].url: must be spi:///dev/spidevB.C"},
		{"no chip select", "spi:///dev/spidev0.0", "spi:///dev/spidev0", "4: meters[1].url: must be spi:///dev/spidevB.C"},
		{"a path out of /dev", "spi:///dev/spidev0.0", "spi:///dev/spidev0.0/../null", "4: meters[1].url: must be spi:///dev/spidevB.C"},
		{"two on one chip select", "ways:", line + "\nways:", "5: meters[2].url: meter m4 is already on this chip select"},
		{"another pace", "profile: ade9000", "poll: 2s, profile: ade9000", "4: meters[1].poll: a meter on an SPI bus is read once a second, not every 2s"},
		{"a clock too fast", "profile: ade9000", "clock_khz: 20001, profile: ade9000", "4: meters[1].clock_khz: must be 100 to 20000"},
		{"a clock of nothing", "profile: ade9000", "clock_khz: -1, profile: ade9000", "4: meters[1].clock_khz: must be 100 to 20000"},
		{"a unit", "profile: ade9000", "unit: 1, profile: ade9000", "4: meters[1].unit: is for meters on Modbus"},
		{"a bus", "profile: ade9000", "bus: {baud: 9600}, profile: ade9000", "4: meters[1].bus: is for meters on Modbus"},
		{"a timeout", "profile: ade9000", "timeout: 1s, profile: ade9000", "4: meters[1].timeout: is for meters on Modbus"},
		{"a calibration on Modbus", "unit: 3, profile", "calibration: x, unit: 3, profile", "3: meters[0].calibration: is for meters on an SPI bus"},
		{"a ratio beside that of the calibration", "meter: m4,", "meter: m4, ct_ratio: 400,", "7: ways[1].ct_ratio: way W4: its meter is on an SPI bus"},
		{"a second channel", "meter: m4,", "meter: m4, channel: 2,", "7: ways[1].channel: way W4: its meter is on an SPI bus"},
		{"a neutral beside that of the calibration", "meter: m4,", "meter: m4, neutral: none,", "7: ways[1].neutral: way W4: its meter is on an SPI bus"},
		{"an output on SPI", `url: "tcp://127.0.0.1:1502", unit: 3, holding: 31`, `url: "spi:///dev/spidev0.1", unit: 3, holding: 31`, "10: groups[1].output.url: must be tcp://host:port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(base, tt.old, tt.new, 1)
			if text == base {
				t.Fatal("nothing was changed")
			}
			_, _, faults := Parse("site.yaml", []byte(text))
			for _, f := range faults {
				if strings.HasPrefix(f.String(), "site.yaml:"+tt.want) {
					return
				}
			}
			t.Errorf("faults = %v, want one that starts with %q", faults, tt.want)
		})
	}
}
