package agent

import (
	"testing"

	"lvagent/agent/points"
	"lvagent/configs"
	"lvagent/meter"
)

// P27: each alarm that is on both counts in one place, and the other has the copy.
func TestAlarmsCountInOnePlace(t *testing.T) {
	site := &points.Site{}
	site.Ways[3] = "W3"
	var ratings [points.WaySlots][meter.Phases]meter.Milliamps
	for _, owner := range []string{configs.OnMQTT, configs.OnDNP3} {
		cfg := &configs.Config{DNP3: configs.DNP3{AlarmOwner: owner}}
		o := &outstation{Agent: &Agent{site: &Site{Config: cfg}}, Database: points.NewDatabase(site, ratings, nil)}
		here := meter.Alarm{ID: "W3.L2.FUSE_SUSPECTED", Way: "W3", Phase: "L2", Kind: "FUSE_SUSPECTED"}
		o.Mark(&here)
		if !here.HasPoint || here.Point != 67 || here.Duplicate != (owner == configs.OnDNP3) {
			t.Errorf("owner %s: %+v", owner, here)
		}
		only := meter.Alarm{ID: "W3.STALE", Way: "W3", Kind: "STALE"}
		if o.Mark(&only); only.HasPoint || only.Duplicate {
			t.Errorf("owner %s: an alarm without a point: %+v", owner, only)
		}
	}
}
