package core

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/meter"
)

func backFed() Topology { return Topology{Way: "W1", State: "back-fed", By: "anna", Why: "joint"} }

// A way that is back-fed is held, remarked and told of, until its time is over.
func TestTopology(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(2 * time.Second)
		r.beat()
		r.limit("c1", `{"amps":10}`)
		if err := r.loop.SetTopology(t.Context(), backFed(), 40*time.Minute); err != nil {
			t.Fatal(err)
		}
		r.limit("c2", `"none"`)
		r.pass(30 * time.Second)
		if got := r.last(); got != 10_000 {
			t.Errorf("limit %d, raised on a way that is back-fed", got)
		}
		if p := r.published().Points["topology/W1"]; p.Code != "MAP_INVALID" {
			t.Errorf("%+v", p)
		}
		r.pass(75 * time.Minute)
		if p := r.published().Points["topology/W1"]; p.State != "ok" {
			t.Errorf("after its end %+v", p)
		}
		var flagged []bool
		for _, rec := range r.records {
			if rec.Stream == "hh/W1" {
				flagged = append(flagged, bytes.Contains(rec.Body, []byte("MAP_INVALID")))
			}
		}
		if len(flagged) != 2 || !flagged[0] || !flagged[1] {
			t.Errorf("MAP_INVALID in %v", flagged)
		}
		r.beat()
		r.pass(5 * time.Second)
		if v, err := r.loop.View(t.Context()); err != nil || len(v.Topology) != 0 {
			t.Errorf("%+v, %v", v.Topology, err)
		}
	})
}

// It ends when both clocks say so, whatever happened to either.
func TestTopologyEndsLateRatherThanEarly(t *testing.T) {
	tests := []struct {
		name      string
		passed    time.Duration // of the monotonic clock
		stepped   time.Duration // of the wall clock besides
		clock     meter.Clock
		restarted bool // with everything from the last keeping, an hour in
		ends      bool
	}{
		{"a second before", 8*time.Hour - time.Second, 0, meter.Synced, false, false},
		{"at its end", 8 * time.Hour, 0, meter.Synced, false, true},
		{"set forward", time.Hour, 24 * time.Hour, meter.Synced, false, false},
		{"set back", 9 * time.Hour, -2 * time.Hour, meter.Synced, false, false},
		{"set back, and nobody believes it", 9 * time.Hour, -2 * time.Hour, meter.Unsynced, false, true},
		{"a day without the agent counts by one clock only", time.Hour, 24 * time.Hour, meter.Synced, true, false},
		{"and by the other when it has run on", 7 * time.Hour, 24 * time.Hour, meter.Synced, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := stillRig(t, siteText, map[string][]byte{}, nil).loop
				wall := l.Wall()
				set := backFed()
				set.Since, set.Expires, set.Left = wall, wall.Add(8*time.Hour), 8*time.Hour
				l.topology.ways = []Topology{set}
				l.applyTopology(0)
				kept := map[string][]byte{}
				now, begun := time.Duration(0), time.Duration(0)
				if tt.restarted {
					l.tickTopology(time.Hour, wall.Add(time.Hour), meter.Synced)
					for _, k := range l.keptTopology() {
						kept[k.Key] = k.Value
					}
					l = stillRig(t, siteText, kept, nil).loop
					begun = time.Hour
				}
				now += tt.passed
				if !l.loads[0].Frozen[0] {
					t.Fatal("raises are not held back")
				}
				l.tickTopology(now, wall.Add(begun+now+tt.stepped), tt.clock)
				if _, stands := l.topologyOf("W1"); stands == tt.ends || l.loads[0].Frozen[0] == tt.ends {
					t.Errorf("stands %v, frozen %v", stands, l.loads[0].Frozen[0])
				}
			})
		})
	}
}

func TestTopologyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, incomerText, map[string][]byte{})
		defer r.end()
		for name, set := range map[string]func(*Topology, *time.Duration){
			"unknown state": func(o *Topology, _ *time.Duration) { o.State = "odd" },
			"no end":        func(_ *Topology, d *time.Duration) { *d = 0 },
			"too long":      func(_ *Topology, d *time.Duration) { *d = mostTopology + 1 },
			"nobody":        func(o *Topology, _ *time.Duration) { o.By = "" },
			"no reason":     func(o *Topology, _ *time.Duration) { o.Why = "" },
			"no way":        func(o *Topology, _ *time.Duration) { o.Way = "W9" },
			"the incomer":   func(o *Topology, _ *time.Duration) { o.Way = "IN" },
			"transformer":   func(o *Topology, _ *time.Duration) { o.Way = "TX" },
		} {
			o, d := backFed(), time.Hour
			set(&o, &d)
			if err := r.loop.SetTopology(t.Context(), o, d); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		if err := r.loop.SetTopology(t.Context(), backFed(), time.Hour); err != nil {
			t.Error(err)
		}
		o := backFed()
		o.State = normalTopology
		if err := r.loop.SetTopology(t.Context(), o, 0); err != nil || len(r.loop.topology.ways) != 0 {
			t.Errorf("not ended by hand: %v", err)
		}
	})
}

// The centre says how a way is supplied as somebody on site does, and only the
// centre: a known issuer, in time, in order, over a restart too.
func TestTopologyOfTheCentre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.pass(3 * time.Minute)
		r.beat()
		n := 0
		send := func(r *rig, issuer string, seq int, body string) string {
			n++
			id := fmt.Sprint("t", n)
			r.send("topology", fmt.Sprintf(`{"id":%q,"issuer":%q,"epoch":1,"seq":%d,%s,%s}`, id, issuer, seq, inTime(), body))
			return strings.Join(r.stages(id), ", ")
		}
		const backFed, normal = `"way":"W1","state":"back-fed","for":"8h","by":"duty engineer","why":"joint"`, `"way":"W1","state":"normal"`
		shown := func(r *rig) string {
			r.pass(2 * time.Second)
			var f struct{ Topology []map[string]string }
			if err := json.Unmarshal(r.retained["lv/v1/S1/up/failsafe"], &f); err != nil {
				t.Fatal(err)
			}
			if len(f.Topology) == 0 {
				return ""
			}
			return f.Topology[0]["state"] + " by " + f.Topology[0]["by"] + ", " + f.Topology[0]["source"]
		}
		for _, tt := range []struct {
			name, issuer string
			seq          int
			body         string
			want, shown  string
		}{
			{"of a stranger", "scada-9", 10, backFed, "rejected UNKNOWN_ISSUER", ""},
			{"of no way", "scada-1", 11, strings.Replace(backFed, "W1", "W9", 1), "received, rejected NO_TARGET", ""},
			{"for a year", "scada-1", 12, strings.Replace(backFed, "8h", "1000h", 1), "rejected INVALID", ""},
			{"back-fed", "scada-1", 13, backFed, "received, completed", "back-fed by duty engineer, remote"},
			{"sent again", "scada-1", 13, normal, "rejected REPLAY", "back-fed by duty engineer, remote"},
			{"older, and never heard", "scada-1", 9, normal, "received, rejected REPLAY", "back-fed by duty engineer, remote"},
		} {
			if got := send(r, tt.issuer, tt.seq, tt.body); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
			if got := shown(r); got != tt.shown {
				t.Errorf("%s: shown %q, want %q", tt.name, got, tt.shown)
			}
		}
		twice := fmt.Sprintf(`{"id":"again","issuer":"scada-1","epoch":1,"seq":15,%s,%s}`, inTime(), backFed)
		r.send("topology", twice)
		r.send("topology", twice)
		if got := strings.Join(r.stages("again"), ", "); got != "received, completed, received DUPLICATE" {
			t.Errorf("the same twice: %s", got)
		}
		r.clock.Suspect = true
		if got := send(r, "scada-1", 20, normal); got != "rejected CLOCK_UNTRUSTED" {
			t.Errorf("with a clock that was stepped: %s", got)
		}
		r.clock.Suspect = false
		r.send("topology", `{"id":"old","issuer":"scada-1","epoch":1,"seq":21,"issued":"2000-01-01T00:00:00Z","expires":"2000-01-01T00:00:01Z",`+normal+`}`)
		if got := strings.Join(r.stages("old"), ", "); got != "rejected STALE" {
			t.Errorf("after it expired: %s", got)
		}
		if got := r.audited("topology"); len(got) != 2 || got[0]["from"] != "normal" || got[0]["to"] != "back-fed" || got[0]["source"] != "t4" || got[0]["rule"] != "remote" || got[0]["by"] != "duty engineer" {
			t.Errorf("audited %v", got)
		}
		r.end()

		after := stillRig(t, siteText, r.kept, nil)
		after.loop.State = after.loop.Engine.Resume(r.loop.State, 0, after.loop.Wall(), meter.Assumed)
		ctx, cancel := context.WithCancel(t.Context())
		after.stop = cancel
		go func() { defer close(after.done); after.loop.Run(ctx) }()
		defer after.end()
		after.seq = 1000
		after.pass(3 * time.Minute)
		if got := shown(after); got != "back-fed by duty engineer, remote" {
			t.Errorf("after a restart: %q", got)
		}
		if got := send(after, "scada-1", 13, normal); got != "rejected REPLAY" {
			t.Errorf("what was heard before the restart: %s", got)
		}
		if got := send(after, "scada-1", 16, normal); got != "received, completed" || shown(after) != "" {
			t.Errorf("as usual again: %s, shown %q", got, shown(after))
		}
		if got := after.audited("topology"); len(got) != 1 || got[0]["from"] != "back-fed" || got[0]["to"] != "normal" || got[0]["by"] != "scada-1" {
			t.Errorf("audited %v", got)
		}
	})
}
