package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// What people on site see of a record is what the record says.
func TestShowSupplyWeek(t *testing.T) {
	tests := []struct{ file, want string }{
		{"supplyweek", `W3, week of 2026-11-23, 1008 of 1008 intervals passed, 2 flagged; indicative
PHASE  VALUES  MIN V  5 %    MEDIAN  95 %   MAX V  OUT 10 %  OUT ALWAYS  BELOW 216.2  ABOVE 253.0  EN 50160
L1     1004    228.4  236.2  244.1   249.9  252.3  1         1           0            1            fail
L2     0       -      -      -       -      -      0         0           0            0            incomplete
compared after taking off 6.0 V between busbar and customers
THD of L1: 95 % of values within 2.41 %, highest 3.10 %, limit 8 %: pass
unbalance (VUF): 95 % of values within 0.82 %, highest 2.31 %, limit 2 %: pass
frequency: 49.812 to 50.191 Hz
dips 3, swells not counted by the meter, interruptions 0`},
		{"supplyweek-nothing", "unbalance (VUF): not measured\ndips not counted"},
	}
	for _, tt := range tests {
		raw, err := os.ReadFile("../message/testdata/" + tt.file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := showSupplyWeek(&out, raw); err != nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.file, err, out.String(), tt.want)
		}
	}
}

func TestShowCapacity(t *testing.T) {
	raw, err := os.ReadFile("../message/testdata/capacity.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Ways []json.RawMessage }
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, way := range c.Ways {
		if err := showCapacity(&out, way); err != nil {
			t.Fatal(err)
		}
	}
	want := `W3, mid ratings, LOAD_ASSUMED
PHASE  A      LIMIT A  BY    %    FREE A  THETA  MODEL  REACHES 1 IN
L1     212.5  283.5    fuse  75   71.0    0.61   cable  -
L2     301.0  283.5    fuse  106  0.0     0.97   fuse   9m0s
L3     not known
today: load factor 0.48, loss load factor 0.30, peak 140.2 kVA at 17:00

TX, mid ratings, WARM_START, AMBIENT_ASSUMED
PHASE  A      LIMIT A  BY    %   FREE A  THETA  MODEL        REACHES 1 IN
L1     500.0  695.6    firm  72  195.6   0.52   transformer  -
L2     not known
L3     not known
transformer: 20 °C around it, top oil 61 °C, hot spot 75 °C, ageing 0.07 times
firm capacity 500 kVA: peak 551.0 kVA (110 %) on 2026-11-24 00:00; periods above 80 %: 12, above 110 %: 1, above 120 %: 0

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestShowWiring(t *testing.T) {
	var out strings.Builder
	verdict, err := showWiring(&out, json.RawMessage(`{"way":"W3","verdict":"red","findings":[{"verdict":"red","code":"CT_REVERSED","text":"swap the two leads of the CT on L2 of W3"}]}`))
	if want := "W3: red\n  red: swap the two leads of the CT on L2 of W3\n"; err != nil || verdict != "red" || out.String() != want {
		t.Errorf("%q %v: %s", verdict, err, out.String())
	}
}

func TestShowCharging(t *testing.T) {
	raw, err := os.ReadFile("../message/testdata/ev.json")
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Ways []json.RawMessage }
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, way := range c.Ways {
		if err := showCharging(&out, way); err != nil {
			t.Fatal(err)
		}
	}
	want := `W3, cars that came since 2026-11-24 17:12
PHASE  GROUPS  CONNECTORS  RATING A  LIMIT A  UNCONTROLLED A  CONTROLLABLE A  HEADROOM A  CARS
L1     2       5           159.0     96.0     63.0            80.5            71.0        0.9 of 3x16 A, 1.6 of 1x32 A
L2     1       2           63.0      63.0     0.0             not known       not known   none
G1: 96 A on L1, connectors 3
G2: 63 A on L1 L2, connectors 2

W4: too few customers; nothing is computed

W5, polled too slowly to estimate cars
PHASE  GROUPS  CONNECTORS  RATING A  LIMIT A  UNCONTROLLED A  CONTROLLABLE A  HEADROOM A  CARS
L3     0       0           0.0       0.0      0.0             not known       not known   -

`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
