package cli

import (
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
