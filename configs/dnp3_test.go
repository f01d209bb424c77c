package configs

import (
	"fmt"
	"strings"
	"testing"
)

func TestDNP3Faults(t *testing.T) {
	const listen = "listen: \"127.0.0.1:20000\", masters: [{address: 1}]"
	for _, tt := range []struct{ name, dnp3, want string }{
		{"good", listen + ", alarm_owner: dnp3, select_timeout: 3s, confirm_timeout: 1s, unsolicited_timeout: 1s, keep_alive: 10s", ""},
		{"an owner that is none", listen + ", alarm_owner: both", "dnp3.alarm_owner"},
		{"alarms count where nobody listens", "alarm_owner: dnp3", "dnp3.alarm_owner"},
		{"no time to select", listen + ", select_timeout: 0s", "dnp3.select_timeout"},
		{"a confirm that is waited for all day", listen + ", confirm_timeout: 24h", "dnp3.confirm_timeout"},
		{"no time for a report's", listen + ", unsolicited_timeout: -1s", "dnp3.unsolicited_timeout"},
		{"asked all the time", listen + ", keep_alive: 1ms", "dnp3.keep_alive"},
		{"no master", "listen: \"127.0.0.1:20000\"", "dnp3.masters"},
		{"open to all", "listen: \"0.0.0.0:20000\", masters: [{address: 1}]", "dnp3.listen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, faults := Parse("site.yaml", []byte("site: {id: S1}\nbuffer: {path: /tmp/x}\ndnp3: {"+tt.dnp3+"}\n"))
			found := false
			for _, f := range faults {
				if about := strings.Contains(fmt.Sprint(f), "dnp3."); about && (tt.want == "" || !strings.Contains(fmt.Sprint(f), tt.want)) {
					t.Errorf("fault %v", f)
				} else if about {
					found = true
				}
			}
			if tt.want != "" && !found {
				t.Errorf("no fault of %s in %v", tt.want, faults)
			}
		})
	}
}
