package agent

import (
	"testing"
	"time"

	"lvagent/agent/points"
	"lvagent/configs"
	"lvagent/dnp3"
	"lvagent/failsafe"
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

// While somebody on site overrides a group no master may override it: the engine would
// refuse it, and SUCCESS would be a lie. A limit is taken, and holds when it is over.
func TestLocalWhileOverriddenOnSite(t *testing.T) {
	site := &points.Site{}
	site.Groups[1], site.Groups[2] = "G1", "G2"
	groups := []failsafe.Group{{ID: "G1", Rating: 32_000}, {ID: "G2", Rating: 32_000}}
	engine := failsafe.Config{Groups: groups}
	var ratings [points.WaySlots][meter.Phases]meter.Milliamps
	o := &outstation{Agent: &Agent{}, Database: points.NewDatabase(site, ratings, func([]dnp3.Change) {}), engine: engine,
		orders: points.NewOrders(site, groups), issuers: map[uint16]string{1: "dnp3:1"}}
	hold := func(slot uint16, op dnp3.Op) dnp3.Command {
		return dnp3.Command{Index: slot * 4, Op: op, Relay: dnp3.Unpaired, Count: 1}
	}
	limit := dnp3.Command{Analog: true, Index: 2, Value: 10, Count: 1}
	state := &failsafe.State{Groups: []failsafe.GroupState{{ID: "G1"}, {ID: "G2"}}}
	for _, tt := range []struct {
		name      string
		overrides []failsafe.Override
		at        failsafe.Switch
		hold      dnp3.Status // of G1; that of G2 is by the switch only
		other     dnp3.Status
	}{
		{"nobody", nil, failsafe.Remote, dnp3.Success, dnp3.Success},
		{"the centre", []failsafe.Override{{Groups: []string{"G1"}}}, failsafe.Remote, dnp3.Success, dnp3.Success},
		{"on site", []failsafe.Override{{Groups: []string{"G1"}, Local: true}}, failsafe.Remote, dnp3.Local, dnp3.Success},
		{"the switch", nil, failsafe.Local, dnp3.Local, dnp3.Local},
	} {
		state.Overrides, state.Switch = tt.overrides, tt.at
		o.State(state, time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
		for _, c := range []struct {
			what string
			c    dnp3.Command
			want dnp3.Status
		}{{"hold off", hold(1, dnp3.LatchOn), tt.hold}, {"its end", hold(1, dnp3.LatchOff), tt.hold}, {"another group", hold(2, dnp3.LatchOn), tt.other}, {"a limit", limit, tt.other}} {
			if got := o.Select(1, c.c); got != c.want {
				t.Errorf("overridden by %s, %s: %v, want %v", tt.name, c.what, got, c.want)
			}
		}
		if shown := o.local.Load() || o.held.Load() != nil; shown != (tt.hold == dnp3.Local) {
			t.Errorf("overridden by %s: IIN1.5 %v", tt.name, shown)
		}
	}
}
