package core

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"

	"pgregory.net/rapid"
)

// edge is an alarm as it was stored.
type told struct {
	ID, Edge string
	Flags    []string
	Count    int
}

func (r *rig) edges(way string) (all []string) {
	r.t.Helper()
	for _, rec := range r.records {
		if rec.Stream != "alarm/"+way {
			continue
		}
		var e told
		if err := json.Unmarshal(rec.Body, &e); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(e.Edge+" "+e.ID+" "+strings.Join(e.Flags, ",")))
	}
	return all
}

type stateOf struct {
	Alarms []struct {
		ID       string
		Restored bool
		State    string
		Acked    string `json:"acked_by"`
	}
	Shelved []struct {
		Alarm, By, Why string
		Standing       bool
		OutOfService   bool `json:"out_of_service"`
	}
}

func (r *rig) state(way string) (s stateOf) {
	r.t.Helper()
	synctest.Wait()
	if err := json.Unmarshal(r.retained["lv/v1/S1/up/alarmstate/"+way], &s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// What was active before a restart is said to be on the retained topic, and is
// not raised again. A condition of the engine is cleared when it is plainly over,
// or when nobody confirms it.
func TestAlarmsSurviveARestart(t *testing.T) {
	before := func(t *testing.T) map[string][]byte {
		r := newRigOf(t, latching, map[string][]byte{})
		for range 60 {
			r.pass(5 * time.Second)
			r.beat()
		}
		r.amps = 310_000
		r.pass(5 * time.Second)
		r.end()
		if got := r.edges("W1"); !slices.Equal(got, []string{"raise W1.NO_STATEMENT", "raise W1.L1.i.hi"}) {
			t.Fatalf("edges before the restart: %q", got)
		}
		return r.kept
	}
	tests := []struct {
		name  string
		after func(r *rig)
		want  []string
	}{
		{"at once", func(*rig) {}, nil},
		{"it goes on", func(r *rig) {
			for range 200 {
				r.pass(5 * time.Second)
				r.beat()
			}
		}, nil},
		{"nobody confirms it", func(r *rig) { r.pass(confirmWithin + 2*time.Second) }, []string{"clear W1.NO_STATEMENT"}},
		{"a statement comes", func(r *rig) {
			r.beat()
			r.limit("c1", `"none"`)
			r.pass(5 * time.Second)
		}, []string{"clear W1.NO_STATEMENT"}},
		{"the load is back", func(r *rig) {
			r.amps = 1_000
			r.pass(10 * time.Second)
		}, []string{"clear W1.L1.i.hi"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigOf(t, latching, before(t))
				defer r.end()
				s := r.state("W1")
				if len(s.Alarms) != 2 || !s.Alarms[0].Restored || !s.Alarms[1].Restored {
					t.Errorf("alarmstate after the restart: %+v, want two, restored", s)
				}
				r.amps = 310_000
				tt.after(r)
				if got := r.edges("W1"); !slices.Equal(got, tt.want) {
					t.Errorf("edges %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// latching is a site without default thresholds, of which the alarm comes before
// the rating.
var latching = strings.Replace(siteText, "rating_a: 300", "rating_a: 315", 1) + "\ndefault_thresholds: false\n"

// One that latches stands until it was acknowledged, by whom is said.
func TestAcknowledgement(t *testing.T) {
	site := strings.Replace(latching, "off_delay: 5s", "off_delay: 5s, latch: true", 1)
	ack := func(r *rig, id, alarm, issuer string, expires time.Duration) string {
		r.seq++
		now := time.Now().UTC()
		r.send("ack", fmt.Sprintf(`{"id":%q,"issuer":%q,"epoch":1,"seq":%d,"issued":%q,"expires":%q,"alarm":%q,"by":"anna"}`,
			id, issuer, r.seq, now.Add(-2*time.Minute).Format(time.RFC3339), now.Add(expires).Format(time.RFC3339), alarm))
		return strings.Join(r.stages(id), " ")
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // times before the year 2000 are none
		r := newRigOf(t, site, map[string][]byte{})
		defer r.end()
		r.amps = 310_000
		r.pass(5 * time.Second)
		r.amps = 1_000
		r.pass(20 * time.Second)
		if s := r.state("W1"); len(s.Alarms) != 1 || s.Alarms[0].State != "latched" {
			t.Fatalf("alarmstate %+v, want one that is latched", s)
		}
		for i, tt := range []struct{ alarm, issuer, want string }{
			{"W1.L1.i.hi", "mallory", "rejected UNKNOWN_ISSUER"},
			{"W1.L2.i.hi", "scada-1", "received rejected NO_TARGET"},
			{"W9.L1.i.hi", "scada-1", "received rejected NO_TARGET"},
		} {
			if got := ack(r, fmt.Sprint("c", i), tt.alarm, tt.issuer, time.Minute); got != tt.want {
				t.Errorf("ack of %s by %s: %q, want %q", tt.alarm, tt.issuer, got, tt.want)
			}
		}
		if got := ack(r, "late", "W1.L1.i.hi", "scada-1", -time.Minute); got != "rejected STALE" {
			t.Errorf("ack that came late: %q", got)
		}
		if got := ack(r, "ok", "W1.L1.i.hi", "scada-1", time.Minute); got != "received completed" {
			t.Errorf("ack: %q", got)
		}
		r.seq--
		if got := ack(r, "again", "W1.L1.i.hi", "scada-1", time.Minute); got != "rejected REPLAY" {
			t.Errorf("the same epoch and seq again: %q", got)
		}
		if got := r.edges("W1"); !slices.Equal(got, []string{"raise W1.L1.i.hi", "clear W1.L1.i.hi"}) {
			t.Errorf("edges %q", got)
		}
		if err := r.loop.Ack(t.Context(), "W1.L1.i.hi", "bob"); err == nil {
			t.Error("acknowledged what does not stand")
		}
		r.amps = 310_000
		r.pass(5 * time.Second)
		if err := r.loop.Ack(t.Context(), "W1.L1.i.hi", "bob"); err != nil {
			t.Error(err)
		}
		if s := r.state("W1"); len(s.Alarms) != 1 || s.Alarms[0].Acked != "bob" {
			t.Errorf("alarmstate %+v, want one acknowledged by bob", s)
		}
	})
}

// A shelf is seen by the centre, hides an alarm from it, and ends by itself, also
// across a restart.
func TestShelving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, latching, map[string][]byte{})
		order := func(o ShelveOrder) error {
			o.By, o.Why = "anna", "test"
			return r.loop.Shelve(t.Context(), o)
		}
		for _, o := range []ShelveOrder{{ID: "W1.L1.i.lo", For: time.Hour}, {ID: "W9.L1.i.hi", For: time.Hour}, {ID: "W1.L1.i.hi", End: true},
			{ID: "W1.L1.i.hi"}, {ID: "W1.L1.i.hi", For: 8 * 24 * time.Hour}, {ID: "_site.RAIN", For: time.Hour}} {
			if err := order(o); err == nil {
				t.Errorf("carried out: %+v", o)
			}
		}
		for _, id := range []string{"W1.L1.i.hi", "W1.NO_STATEMENT", "_site.STORE_FAILING"} {
			if err := order(ShelveOrder{ID: id, For: 20 * time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
		r.amps = 310_000
		r.unsaved = "disk full"
		for range 60 {
			r.pass(5 * time.Second)
			r.beat()
		}
		if got := append(r.edges("W1"), r.edges(siteWay)...); len(got) != 0 {
			t.Errorf("edges while shelved: %q", got)
		}
		s := r.state("W1")
		if len(s.Alarms) != 0 || len(s.Shelved) != 2 || s.Shelved[0].By != "anna" || s.Shelved[0].Why != "test" {
			t.Errorf("alarmstate %+v, want two shelved", s)
		}
		live := 0
		for _, rec := range r.records {
			if rec.Stream == "live/W1" {
				live++
			}
		}
		if live != 0 {
			t.Errorf("%d real-time readings of a shelved alarm", live)
		}
		r.end()
		r = newRigOf(t, latching, r.kept)
		defer r.end()
		r.amps, r.health.Failing = 310_000, "disk full"
		for range 180 {
			r.pass(5 * time.Second)
			r.beat()
		}
		if got := r.edges("W1"); !slices.Equal(got, []string{"raise W1.L1.i.hi", "raise W1.NO_STATEMENT"}) {
			t.Errorf("edges after the shelf's end: %q", got)
		}
		if got := r.edges(siteWay); !slices.Equal(got, []string{"raise _site.STORE_FAILING"}) {
			t.Errorf("edges of the site after the shelf's end: %q", got)
		}
		if s := r.state("W1"); len(s.Shelved) != 0 {
			t.Errorf("alarmstate %+v, want nothing shelved", s)
		}
		if err := order(ShelveOrder{ID: "_site.STORE_FAILING", For: time.Hour, OutOfService: true}); err != nil {
			t.Fatal(err)
		}
		if got := r.edges(siteWay); !slices.Equal(got, []string{"raise _site.STORE_FAILING", "clear _site.STORE_FAILING OUT_OF_SERVICE"}) {
			t.Errorf("edges of the site out of service: %q", got)
		}
		if err := order(ShelveOrder{ID: "_site.STORE_FAILING", End: true}); err != nil {
			t.Fatal(err)
		}
		if got := r.edges(siteWay); len(got) != 3 || got[2] != "raise _site.STORE_FAILING" {
			t.Errorf("edges of the site back in service: %q", got)
		}
	})
}

// board is what DNP3 has of alarms: a point for every one that is not of the store.
type board struct{ seen []meter.Alarm }

func (*board) Reading(*meter.Reading, time.Time) {}
func (*board) HalfHour(*meter.HalfHour)          {}
func (*board) State(*failsafe.State, time.Time)  {}
func (*board) Tick(time.Duration, time.Time)     {}
func (b *board) Alarm(a *meter.Alarm)            { b.seen = append(b.seen, *a) }
func (*board) Mark(a *meter.Alarm) {
	a.HasPoint, a.Point = a.Way != siteWay, 60
	a.Duplicate = a.HasPoint
}

// P27: an alarm that counts on DNP3 is marked as the copy wherever MQTT has it, with
// the point and the time that its event has there.
func TestCopiesOfAlarmsAreMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passed := time.Duration(0)
		r := stillRig(t, siteText, map[string][]byte{}, &passed)
		b := &board{}
		r.loop.Points = b
		at := r.loop.Wall()
		r.loop.alarms.condition(r.loop, failsafe.Condition{Way: "W1", Kind: string(failsafe.NoStatement), Edge: meter.Raise}, at)
		r.loop.alarms.condition(r.loop, failsafe.Condition{Kind: storeFailing, Edge: meter.Raise}, at)
		type copied struct {
			T     time.Time
			Point *int
			Flags []string
		}
		var edges []copied
		for _, rec := range r.records {
			var e copied
			if err := json.Unmarshal(rec.Body, &e); err != nil {
				t.Fatal(err)
			}
			edges = append(edges, e)
		}
		if len(edges) != 2 || edges[0].Point == nil || *edges[0].Point != 60 || !slices.Equal(edges[0].Flags, []string{"DUPLICATE"}) {
			t.Fatalf("edges %+v, want the first as a copy of point 60", edges)
		}
		if edges[1].Point != nil || len(edges[1].Flags) != 0 {
			t.Errorf("an alarm that DNP3 has not: %+v", edges[1])
		}
		if len(b.seen) != 2 || b.seen[0].At.UnixMilli() != edges[0].T.UnixMilli() {
			t.Errorf("DNP3 saw %+v, MQTT %+v", b.seen, edges)
		}
		var state struct{ Alarms []copied }
		if err := json.Unmarshal(r.retained["lv/v1/S1/up/alarmstate/W1"], &state); err != nil {
			t.Fatal(err)
		}
		if len(state.Alarms) != 1 || state.Alarms[0].Point == nil || !slices.Equal(state.Alarms[0].Flags, []string{"DUPLICATE"}) {
			t.Errorf("alarmstate %+v", state)
		}
	})
}

// More alarms than anybody can read are marked, and that is told once.
func TestAlarmFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, strings.Replace(latching, "alarms: [", "nuisance: {flood_raises: 3, flood_within: 5m}\nalarms: [{quantity: i, kind: hihi, threshold: 305},", 1), map[string][]byte{})
		defer r.end()
		r.amps = 310_000
		r.pass(5 * time.Second)
		want := []string{"raise W1.L1.i.hihi", "raise W1.L2.i.hihi", "raise W1.L3.i.hihi", "raise W1.L1.i.hi FLOOD"}
		if got := r.edges("W1"); !slices.Equal(got, want) {
			t.Errorf("edges %q, want %q", got, want)
		}
		r.pass(6 * time.Minute)
		if got := r.edges(siteWay); !slices.Equal(got, []string{"raise _site.ALARM_FLOOD", "clear _site.ALARM_FLOOD"}) {
			t.Errorf("edges of the site %q", got)
		}
	})
}

// A fuse that is suspected to have blown holds back raises, whether or not
// somebody shelved its alarm.
func TestAShelvedFuseHoldsBackRaises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		o := ShelveOrder{ID: "W1.L1.FUSE_SUSPECTED", For: time.Hour, By: "anna", Why: "test"}
		if err := r.loop.Shelve(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		r.pass(5 * time.Second)
		r.amps = 0
		r.pass(2 * time.Second)
		if err := r.loop.Ask(t.Context(), func(l *Loop) {
			if !l.loads[0].Frozen[meter.L1] {
				t.Error("raises are not held back")
			}
		}); err != nil {
			t.Error(err)
		}
	})
}

// Whatever the engine says of its conditions, and however often the agent is
// killed between a commit and the next: the centre is told of each a raise and a
// clear in turn.
func TestConditionsOnceAcrossKills(t *testing.T) {
	edges := 0
	rapid.Check(t, func(rt *rapid.T) {
		passed := time.Duration(0)
		r := stillRig(t, latching, map[string][]byte{}, &passed)
		disk, stored := map[string][]byte{}, []string{}
		commit := func(n int) { // a store takes batches in their order, each whole
			for _, b := range r.batches[:n] {
				for _, k := range b.kept {
					disk[k.Key] = k.Value
				}
				for _, rec := range b.records {
					var e told
					if err := json.Unmarshal(rec.Body, &e); err == nil && strings.HasPrefix(rec.Stream, "alarm/") {
						stored = append(stored, e.Edge+" "+e.ID)
					}
				}
			}
			r.batches = r.batches[n:]
		}
		ids := []string{"W1.NO_STATEMENT", "W1.G1.ACTUATOR_UNREACHED", "_site.STATE_LOST"}
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			wall := r.loop.Wall()
			i := rapid.IntRange(0, len(ids)-1).Draw(rt, "condition")
			c := [...]failsafe.Condition{{Way: "W1", Kind: "NO_STATEMENT"}, {Way: "W1", Group: "G1", Kind: "ACTUATOR_UNREACHED"}, {Kind: "STATE_LOST"}}[i]
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1, 2:
				c.Edge = meter.Raise
				r.loop.alarms.condition(r.loop, c, wall)
			case 3, 4, 5:
				c.Edge = meter.Clear
				r.loop.alarms.condition(r.loop, c, wall)
			case 6: // an order may find nothing to do
				r.loop.alarms.order(r.loop, ShelveOrder{ID: ids[i], For: 5 * time.Second, OutOfService: rapid.Bool().Draw(rt, "out"), End: rapid.Bool().Draw(rt, "end")})
			case 7:
				passed += rapid.SampledFrom([]time.Duration{time.Second, confirmWithin}).Draw(rt, "passes")
				r.loop.alarms.tick(r.loop, r.loop.Now(), r.loop.Wall())
			default: // killed: what was not committed is gone
				commit(rapid.IntRange(0, len(r.batches)).Draw(rt, "reach"))
				r = stillRig(t, latching, maps.Clone(disk), &passed)
			}
		}
		commit(len(r.batches))
		edges += len(stored)
		standing := map[string]bool{}
		for _, e := range stored {
			what, id, _ := strings.Cut(e, " ")
			if standing[id] == (what == "raise") {
				rt.Fatalf("%s twice in %q", e, stored)
			}
			standing[id] = what == "raise"
		}
		if !bytes.Contains(disk[alarmsKey], []byte("Conditions")) {
			return
		}
		var kept keptAlarms
		if err := json.Unmarshal(disk[alarmsKey], &kept); err != nil {
			rt.Fatal(err)
		}
		for id, is := range standing {
			if is != (indexOf(kept.Conditions, id) >= 0) {
				rt.Fatalf("%s: raised and not cleared %v, kept as active %v", id, is, !is)
			}
		}
	})
	if edges < 50 {
		t.Errorf("%d edges in all: the steps do not reach the rules", edges)
	}
}

// A failed actuator is an alarm that latches: it ends when the actuator obeys and
// somebody has acknowledged it, and the engine hears of that.
func TestAFailedActuatorIsAcknowledged(t *testing.T) {
	const id = "W1.G1.ACTUATOR_FAILED"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(3 * time.Minute) // the bubble's time begins with the century
		fail := func(d time.Duration) {
			for range d / time.Second {
				r.loop.Feedback(failsafe.Feedback{Group: "G1"})
				r.pass(time.Second)
			}
		}
		standing := func() (acked string, stands bool) {
			if err := r.loop.Ask(t.Context(), func(l *Loop) {
				if i := indexOf(l.alarms.active, id); i >= 0 {
					acked, stands = l.alarms.active[i].Acked, l.alarms.active[i].Latch
				}
			}); err != nil {
				t.Fatal(err)
			}
			return acked, stands
		}
		r.mute = true
		fail(5*time.Minute + 2*time.Second)
		if _, stands := standing(); !stands {
			t.Fatal("no alarm that latches after five minutes")
		}
		r.mute = false
		r.pass(2 * time.Minute)
		if _, stands := standing(); !stands {
			t.Fatal("the alarm ended before anybody saw to it")
		}
		r.seq++
		r.send("ack", fmt.Sprintf(`{"id":"k1","issuer":"scada-1","epoch":1,"seq":%d,%s,"alarm":%q,"by":"duty engineer"}`, r.seq, inTime(), id))
		if got := strings.Join(r.stages("k1"), ", "); got != "received, completed" {
			t.Errorf("ack: %s", got)
		}
		r.pass(2 * time.Second)
		if _, stands := standing(); stands {
			t.Error("the alarm stands after the acknowledgement")
		}
		clears := 0
		for _, rec := range r.records {
			if rec.Stream == "alarm/W1" && strings.Contains(string(rec.Body), id) && strings.Contains(string(rec.Body), `"edge":"clear"`) {
				clears++
				if !strings.Contains(string(rec.Body), `"acked_by":"duty engineer"`) {
					t.Errorf("clear: %s", rec.Body)
				}
			}
		}
		if clears != 1 {
			t.Errorf("%d clears, want 1", clears)
		}
	})
}

// The contact that stands in opens at once; it closes when the state that allows
// it is on disk.
func TestABackupIsToldLikeAnyOutput(t *testing.T) {
	const full = meter.Milliamps(96_000)
	site := strings.Replace(siteText, "holding: 1}}", `holding: 1}, backup: {kind: gpio, line: "gpiochip0:1"}}`, 1)
	synctest.Test(t, func(t *testing.T) {
		r := stillRig(t, site, map[string][]byte{}, nil)
		var told []meter.Milliamps
		r.loop.Backups = map[string]Output{"G1": nil}
		r.loop.outputs = nil
		r.loop.Backups["G1"] = func(g string, limit meter.Milliamps) bool {
			told = append(told, limit)
			r.loop.Feedback(failsafe.Feedback{Group: g, Backup: true, Told: limit, Limit: limit, OK: true})
			return true
		}
		r.loop.buildOutputs()
		ctx, cancel := context.WithCancel(t.Context())
		r.stop = cancel
		r.hold = true
		go func() { defer close(r.done); r.loop.Run(ctx) }()
		defer r.end()
		synctest.Wait()
		r.pass(2 * time.Second)
		if len(told) == 0 || told[len(told)-1] != 0 {
			t.Fatalf("told %v with a silent disk, want open", told)
		}
		r.hold = false
		r.loop.Saved(r.states[len(r.states)-1])
		r.pass(2 * time.Second)
		if told[len(told)-1] != full {
			t.Fatalf("told %v after the actuator obeyed, want closed", told)
		}
		r.mute, r.hold = true, true
		for range 15 {
			r.loop.Feedback(failsafe.Feedback{Group: "G1"})
			r.pass(time.Second)
		}
		if told[len(told)-1] != 0 {
			t.Errorf("told %v after ten seconds without an answer, want open though the disk is silent", told)
		}
	})
}
