package survey

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/configs"
	"lvagent/meter/metertest"
	"lvagent/meter/modbus"
)

var evening = metertest.SDM630{
	V: [3]float64{241.3, 239.8, 240.6}, I: [3]float64{212.5, 187.25, 96.125},
	P: [3]float64{51_000, -44_800, 23_000}, Q: [3]float64{5_100.2, -3_100, 1_500}, N: 61.2,
}

func quiet(string) {}

// buses are a unit 3 that is an SDM630, on each kind of bus.
func buses(t *testing.T) map[string]struct {
	url  string
	unit func(uint8) *metertest.Unit
} {
	t.Helper()
	type bus = struct {
		url  string
		unit func(uint8) *metertest.Unit
	}
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := metertest.ListenRTU("")
	if err != nil {
		t.Fatal(err)
	}
	port, err := metertest.OpenPTY()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); gateway.Close(); port.Close() })
	return map[string]bus{"network": {s.URL(), s.Unit}, "gateway": {gateway.URL(), gateway.Unit}, "port": {port.URL(), port.Unit}}
}

func printed(r *ProbeResult) string {
	var b bytes.Buffer
	r.Print(&b, false)
	return b.String()
}

func TestProbeWithTheRightProfile(t *testing.T) {
	for name, bus := range buses(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus.unit(3).SetSDM630(evening)
			r, err := Probe(t.Context(), modbus.Bus{URL: bus.url}, 3, 1, "eastron-sdm630", quiet)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, l := range r.Values {
				if l.Known {
					got[l.Quantity+l.Phase] = l.Value
				}
			}
			for what, want := range map[string]float64{"vL1": 241.3, "vL3": 240.6, "iL2": 187.25, "pL2": -44800, "qL1": 5100.2, "n": 61.2} {
				if math.Abs(got[what]-want) > math.Abs(want)/1e4 {
					t.Errorf("%s = %v, want %v", what, got[what], want)
				}
			}
			out := printed(r)
			for _, want := range []string{"241.3     V ", "f32 ABCD", "4371 4ccd", "241.3 V *", "All 3 voltages are near 230 V"} {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			if !r.Fits() {
				t.Error("it does not fit")
			}
		})
	}
}

// float lays a number in two words in an order, at an address.
func float(im *metertest.Image, addr uint16, swap bool, x float64) {
	bits := math.Float32bits(float32(x))
	high, low := uint16(bits>>16), uint16(bits)
	if swap {
		high, low = low, high
	}
	im.Input[addr], im.Input[addr+1] = high, low
}

// A map that is off by one, or a meter with its words the other way round, is
// told for what it is.
func TestProbeSaysWhatIsWrongWithAProfile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shift uint16
		swap  bool
		want  string
		volts float64
	}{
		{"words the other way round", 0, true, "0 of 3 voltages are near 230 V as the profile reads them (ABCD). Read as CDAB, or as ABCD with addresses +1, 3 are", 231.3},
		{"one register further on", 1, false, "Read as CDAB, or as ABCD with addresses +1, 3 are", 231.3},
		{"both", 1, true, "Read as CDAB with addresses +1, 3 are", 231.3},
		{"both, and two look right by chance", 1, true, "2 of 3 voltages are near 230 V as the profile reads them (ABCD). Read as CDAB with addresses +1, 3 are", 231},
		{"dead", 0, false, "No voltage is near 230 V, however it is read", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := metertest.Listen("")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Unit(3).Update(func(im *metertest.Image) {
				for addr := range uint16(0x60) {
					im.Input[addr] = 0
				}
				for i := range uint16(3) {
					float(im, 2*i+tt.shift, tt.swap, tt.volts)
				}
			})
			r, err := Probe(t.Context(), modbus.Bus{URL: s.URL()}, 3, 1, "eastron-sdm630", quiet)
			if err != nil {
				t.Fatal(err)
			}
			if out := printed(r); !strings.Contains(out, tt.want) || r.Fits() {
				t.Errorf("fits: %v; no %q in:\n%s", r.Fits(), tt.want, out)
			}
		})
	}
}

func TestProbeWithoutProfileRanksThem(t *testing.T) {
	for name, bus := range buses(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus.unit(3).SetSDM630(evening)
			r, err := Probe(t.Context(), modbus.Bus{URL: bus.url, Timeout: 50 * time.Millisecond}, 3, 1, "", quiet)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.best(); !slices.Equal(got, []string{"eastron-sdm630"}) {
				t.Errorf("best %q of %+v", got, r.Matches)
			}
			if out := printed(r); !strings.Contains(out, "It looks like eastron-sdm630") {
				t.Errorf("printed:\n%s", out)
			}
		})
	}
}

func TestTroubleNamesTheNextStep(t *testing.T) {
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Unit(4).Break(metertest.Fault{Kind: metertest.Mute})
	s.Unit(5).Break(metertest.Fault{Kind: metertest.Garbage})
	line, err := metertest.OpenPTY()
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "tcp://" + ln.Addr().String()
	ln.Close()
	for _, tt := range []struct {
		name, url string
		unit      uint8
		profile   string
		want      string
	}{
		{"nothing listens", nobody, 1, "", "Modbus TCP is switched on"},
		{"gateway without the unit", s.URL(), 9, "", "The gateway is there and does not reach the meter"},
		{"silent unit", s.URL(), 4, "", "the unit is silent"},
		{"no Modbus", s.URL(), 5, "", "rtuovertcp://"},
		{"silent line", line.URL(), 7, "", "A and B are swapped"},
		{"no such port", "rtu:///dev/ttyNONE", 1, "", "no such serial port"},
		{"no such profile", s.URL(), 9, "acme", `there is no shipped profile "acme"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Probe(t.Context(), modbus.Bus{URL: tt.url, Timeout: 200 * time.Millisecond}, tt.unit, 1, tt.profile, quiet)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// What a scan prints is a site file, but for the rest of it.
func TestScanWritesASiteFile(t *testing.T) {
	for name, bus := range buses(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, u := range []uint8{3, 5} {
				bus.unit(u).SetSDM630(evening)
			}
			units, err := ParseRange("1-6")
			if err != nil {
				t.Fatal(err)
			}
			r, err := Scan(t.Context(), Search{Bus: modbus.Bus{URL: bus.url, Timeout: 50 * time.Millisecond}, Units: units}, quiet)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			r.Print(&b)
			cfg, _, faults := configs.Parse("site.yaml", []byte(b.String()+
				"site: {id: S1}\nuplink: {broker: \"tcp://127.0.0.1:1883\"}\nfailsafe: {issuers: [a]}\n"))
			if len(faults) > 0 {
				t.Fatalf("%v\n%s", faults, b.String())
			}
			var got []string
			for _, m := range cfg.Meters {
				got = append(got, fmt.Sprint(m.Unit, " ", m.Profile))
			}
			if want := []string{"3 eastron-sdm630", "5 eastron-sdm630"}; !slices.Equal(got, want) || r.Asked != 6 {
				t.Errorf("found %q, asked %d\n%s", got, r.Asked, b.String())
			}
			if _, err := json.Marshal(r); err != nil {
				t.Error(err)
			}
		})
	}
}

// A meter with a network port that answers to every unit id is one meter.
func TestMeterThatAnswersToAnyUnit(t *testing.T) {
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for u := range uint8(30) {
		s.Unit(u).SetSDM630(evening)
	}
	units, err := ParseRange("1-29")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Scan(t.Context(), Search{Bus: modbus.Bus{URL: s.URL()}, Units: units}, quiet)
	if err != nil || !r.AnyUnit || len(r.Meters) != 1 || r.Asked != inARow {
		t.Errorf("%v, any %v, %d meters, asked %d", err, r.AnyUnit, len(r.Meters), r.Asked)
	}
}

// The speeds of a line are tried until a meter is found, and Ctrl-C ends a scan
// with what was found.
func TestScanStops(t *testing.T) {
	line, err := metertest.OpenPTY()
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	line.Unit(2).SetSDM630(evening)
	ctx, cancel := context.WithCancel(t.Context())
	var notes []string
	r, err := Scan(ctx, Search{Bus: modbus.Bus{URL: line.URL(), Timeout: 20 * time.Millisecond}, Units: Range{1, 2, 3, 4},
		Bauds: []int{9600, 19200}, Parities: []string{"none", "even"}}, func(what string) {
		notes = append(notes, what)
		if strings.HasPrefix(what, "unit 3") {
			cancel()
		}
	})
	if err != nil || !r.Stopped || len(r.Meters) != 1 || r.Meters[0].Unit != 2 || r.Asked != 3 {
		t.Errorf("%v, %+v", err, r)
	}
	if !strings.HasPrefix(notes[0], "unit 1 at 9600 none, 1 of 4, 0 found") {
		t.Errorf("progress %q", notes[0])
	}
	notes = nil
	r, err = Scan(t.Context(), Search{Bus: modbus.Bus{URL: line.URL(), Timeout: 20 * time.Millisecond}, Units: Range{9},
		Bauds: []int{9600, 19200}, Parities: []string{"none", "even"}}, func(what string) { notes = append(notes, what) })
	if err != nil || len(r.Meters) != 0 || len(notes) != 4 {
		t.Errorf("nobody there: %v, %+v, %q", err, r, notes)
	}
}

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Range // nil: refused
	}{
		{"1", Range{1}}, {"1-3,5", Range{1, 2, 3, 5}}, {"247", Range{247}}, {"2-3, 3-4", Range{2, 3, 4}},
		{"0", nil}, {"248", nil}, {"", nil}, {"3-1", nil}, {"1-", nil}, {"a", nil}, {"1-2x", nil}, {"+1", nil}, {"1 2", nil},
	} {
		got, err := ParseRange(tt.text)
		if (err == nil) != (tt.want != nil) || err == nil && !slices.Equal(got, tt.want) {
			t.Errorf("ParseRange(%q) = %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
}
