package failsafe

import (
	"testing"
	"time"
)

// R17b: a report is admitted once, also over a restart, moves nothing, and whoever
// may only report can neither command nor keep the site alive.
func TestReports(t *testing.T) {
	cfg := testConfig()
	cfg.Reporters = []string{"cpo-1"}
	x := newSite(t, cfg)
	limits := func() (l []int64) {
		for _, g := range x.s.Groups {
			l = append(l, int64(g.Limit))
		}
		return l
	}
	report := func(id, issuer string, seq uint64, groups ...string) Ack {
		t.Helper()
		before := limits()
		x.step(Inputs{Reports: []Report{{ID: id, Issuer: issuer, Epoch: 1, Seq: seq, Hash: "h" + id, Expires: x.wall().Add(time.Minute), Groups: groups}}})
		for i, l := range limits() {
			if l != before[i] {
				t.Errorf("report %s moved limit %d", id, i)
			}
		}
		return x.ev.Acks[len(x.ev.Acks)-1]
	}
	for _, tt := range []struct {
		name, id, issuer string
		seq              uint64
		groups           []string
		stage            Stage
		code             Code
	}{
		{"of a reporter", "t1", "cpo-1", 1, []string{"G1"}, Completed, OK},
		{"again", "t1", "cpo-1", 1, []string{"G1"}, Completed, Duplicate},
		{"a number again", "t2", "cpo-1", 1, []string{"G1"}, Rejected, Replay},
		{"of a stranger", "t3", "cpo-2", 2, []string{"G1"}, Rejected, UnknownIssuer},
		{"of nothing here", "t4", "cpo-1", 3, nil, Rejected, NoTarget},
		{"of an issuer", "t5", "scada-1", 500, []string{"G1"}, Completed, OK},
	} {
		if a := report(tt.id, tt.issuer, tt.seq, tt.groups...); a.Stage != tt.stage || a.Code != tt.code || a.Command != "telemetry" {
			t.Errorf("%s: %+v, want %s %s", tt.name, a, tt.stage, tt.code)
		}
	}
	x.crash()
	if a := report("t1", "cpo-1", 1, "G1"); a.Code != Duplicate {
		t.Errorf("again after a restart: %+v", a)
	}
	x.step(Inputs{Heartbeats: []Heartbeat{{Issuer: "cpo-1", Epoch: 1, Seq: 9}}})
	if len(x.ev.Refused) != 1 || x.ev.Refused[0].Code != UnknownIssuer {
		t.Errorf("a reporter's heartbeat: %+v", x.ev.Refused)
	}
	x.step(Inputs{Cancels: []CancelCommand{{ID: "c1", Issuer: "cpo-1", Epoch: 1, Seq: 10, Hash: "h", Expires: x.wall().Add(time.Minute), Cancels: "l1"}}})
	if a := x.ev.Acks[0]; a.Code != UnknownIssuer {
		t.Errorf("a reporter's command: %+v", a)
	}
}
