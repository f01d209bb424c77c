package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/clock"
	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/failsafe"
	"lvagent/meter"

	"pgregory.net/rapid"
)

// Supply points that are nobody's: made up, with a right check digit.
const (
	pointHere    = "2012345678906"
	pointToo     = "1012345678903"
	pointUnknown = "1099999900080"
)

// signalSite has two groups that consented and takes supply points.
var signalSite = strings.Replace(strings.Replace(siteText, "failsafe_a: 24,", "failsafe_a: 24, opt_in: {by: C-17, since: 1999-04-01},", 1),
	"alarms:", `  - {id: G2, way: W1, phases: [L2], rating_a: 32, output: {kind: modbus, url: "tcp://127.0.0.1:1502", unit: 1, holding: 2}}
supply_points: {targets: true}
alarms:`, 1)

// signal is a load management signal with what the case changes.
type signal struct {
	id, more, target, start, what string
	seq                           int
	expires                       time.Time
	class                         string
}

func (s signal) body(r *rig) string {
	now := time.Now().UTC()
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	if s.seq == 0 {
		r.seq++
		s.seq = int(r.seq)
	}
	if s.expires.IsZero() {
		s.expires = now.Add(time.Minute)
	}
	return fmt.Sprintf(`{"id":%q,"issuer":"scada-1","epoch":1,"seq":%d,"issued":%q,"expires":%q,"class":%q,"target":%s,%s,%s%s}`,
		s.id, s.seq, now.Format(time.RFC3339), s.expires.UTC().Format(time.RFC3339), or(s.class, "network"), or(s.target, `{"way":"W1"}`),
		or(s.start, `"start_in":"0s"`), or(s.what, `"duration":"30m","limit":{"amps":16}`), s.more)
}

// ladder returns the rungs of a command with what they say beyond the stage.
func (r *rig) ladder(id string) string {
	var all []string
	for _, rec := range r.records {
		var a struct {
			ID, Stage, Code string
			Detail          struct{ Refused []string }
		}
		if rec.Stream == message.AckStream && json.Unmarshal(rec.Body, &a) == nil && a.ID == id && (a.Stage != "actuated" || a.Code != "") {
			all = append(all, strings.TrimSpace(a.Stage+" "+a.Code+" "+strings.Join(a.Detail.Refused, " ")))
		}
	}
	return strings.Join(all, ", ")
}

// Each case of the load management signal (R9, R10) and its exact answer.
func TestEachCaseOfTheSignal(t *testing.T) {
	at := func(d time.Duration) string {
		return fmt.Sprintf(`"start":%q`, time.Now().UTC().Add(d).Format(time.RFC3339))
	}
	tests := []struct {
		name string
		do   func(r *rig)
		want string // ladder of command c
	}{
		{"at once", func(r *rig) { r.send("limit", signal{id: "c"}.body(r)) }, "received, active"},
		{"twenty minutes ahead, by the clock", func(r *rig) { r.send("limit", signal{id: "c", start: at(20 * time.Minute)}.body(r)) }, "received, scheduled"},
		{"the same id again", func(r *rig) {
			body := signal{id: "c"}.body(r)
			r.send("limit", body)
			r.send("limit", body)
		}, "received, active, active DUPLICATE"},
		{"the same id with another body", func(r *rig) {
			r.send("limit", signal{id: "c"}.body(r))
			r.send("limit", signal{id: "c", what: `"limit":{"amps":90}`}.body(r))
		}, "received, active, rejected ID_CONFLICT"},
		{"a number that was used", func(r *rig) {
			r.send("limit", signal{id: "b", seq: 900}.body(r))
			r.send("limit", signal{id: "c", seq: 900}.body(r))
		}, "rejected REPLAY"},
		{"a number 64 behind", func(r *rig) {
			r.send("limit", signal{id: "b", seq: 900}.body(r))
			r.send("limit", signal{id: "c", seq: 836}.body(r))
		}, "rejected REPLAY"},
		{"a number 63 behind: reordered, not replayed", func(r *rig) {
			r.send("limit", signal{id: "b", seq: 900}.body(r))
			r.send("limit", signal{id: "c", seq: 837}.body(r))
		}, "received, active"},
		{"over before it came", func(r *rig) {
			r.pass(2 * time.Hour) // the bubble's time begins with the century
			r.send("limit", signal{id: "c", start: at(-time.Hour)}.body(r))
		}, "rejected EXPIRED"},
		{"begun before it came", func(r *rig) {
			r.pass(11 * time.Minute)
			r.send("limit", signal{id: "c", start: at(-10 * time.Minute)}.body(r))
		}, "received LATE, active"},
		{"delivered too late", func(r *rig) { r.send("limit", signal{id: "c", expires: time.Now().Add(-time.Second)}.body(r)) }, "rejected STALE"},
		{"three days ahead", func(r *rig) { r.send("limit", signal{id: "c", start: at(72 * time.Hour)}.body(r)) }, "rejected TOO_FAR"},
		{"three days ahead, relative", func(r *rig) { r.send("limit", signal{id: "c", start: `"start_in":"72h"`}.body(r)) }, "rejected TOO_FAR"},
		{"duration 0", func(r *rig) { r.send("limit", signal{id: "c", what: `"duration":"0s","limit":{"amps":16}`}.body(r)) }, "rejected INVALID"},
		{"duration negative", func(r *rig) { r.send("limit", signal{id: "c", what: `"duration":"-1m","limit":{"amps":16}`}.body(r)) }, "rejected INVALID"},
		{"longer than a day", func(r *rig) { r.send("limit", signal{id: "c", what: `"duration":"25h","limit":{"amps":16}`}.body(r)) }, "rejected INVALID"},
		{"NaN", func(r *rig) { r.send("limit", signal{id: "c", what: `"limit":{"amps":NaN}`}.body(r)) }, ""},
		{"negative", func(r *rig) { r.send("limit", signal{id: "c", what: `"limit":{"amps":-1}`}.body(r)) }, "rejected INVALID"},
		{"huge", func(r *rig) { r.send("limit", signal{id: "c", what: `"limit":{"watts":1e300}`}.body(r)) }, "rejected INVALID"},
		{"no limit in it", func(r *rig) { r.send("limit", signal{id: "c", what: `"duration":"30m"`}.body(r)) }, "rejected INVALID"},
		{"two starts", func(r *rig) { r.send("limit", signal{id: "c", start: at(0), more: `,"start_in":"1m"`}.body(r)) }, "rejected INVALID"},
		{"a start in 1970", func(r *rig) { r.send("limit", signal{id: "c", start: `"start":"1970-01-01T00:00:01Z"`}.body(r)) }, "rejected INVALID"},
		{"an absolute start while our clock is not set", func(r *rig) {
			start := at(20 * time.Minute)
			r.clock = clock.State{Clock: meter.Unsynced}
			r.send("limit", signal{id: "c", start: start}.body(r))
		}, "rejected CLOCK_UNTRUSTED"},
		{"a relative start while our clock is not set", func(r *rig) {
			r.clock = clock.State{Clock: meter.Unsynced}
			r.send("limit", signal{id: "c", start: `"start_in":"20m"`}.body(r))
		}, "received, scheduled"},
		{"an absolute start just after our clock was stepped", func(r *rig) {
			start := at(20 * time.Minute)
			r.clock = clock.State{Clock: meter.Synced, Suspect: true}
			r.send("limit", signal{id: "c", start: start}.body(r))
		}, "rejected CLOCK_UNTRUSTED"},
		{"retained", func(r *rig) {
			r.loop.Inbound(uplink.Inbound{Topic: "lv/v1/S1/cmd/limit", Payload: []byte(signal{id: "c"}.body(r)), Retained: true})
			synctest.Wait()
		}, "rejected RETAINED"},
		{"of an unknown issuer", func(r *rig) {
			r.send("limit", strings.Replace(signal{id: "c"}.body(r), "scada-1", "mallory", 1))
		}, "rejected UNKNOWN_ISSUER"},
		{"for a way that is not here", func(r *rig) { r.send("limit", signal{id: "c", target: `{"way":"W9"}`}.body(r)) }, "rejected NO_TARGET W9"},
		{"for two groups of which one is here", func(r *rig) { r.send("limit", signal{id: "c", target: `{"groups":["G1","G9"]}`}.body(r)) }, "received PARTIAL G9, active"},
		{"for a phase on which there is no group", func(r *rig) { r.send("limit", signal{id: "c", target: `{"way":"W1","phases":["L3"]}`}.body(r)) }, "rejected NO_TARGET"},
		{"for a supply point", func(r *rig) { r.send("limit", signal{id: "c", target: `{"mpans":["` + pointHere + `"]}`}.body(r)) }, "received, active"},
		{"for supply points of which one is here", func(r *rig) {
			r.send("limit", signal{id: "c", target: `{"mpans":["` + pointUnknown + `","` + pointHere + `"]}`}.body(r))
		}, "received PARTIAL mpans[0], active"},
		{"for a supply point that is not here", func(r *rig) { r.send("limit", signal{id: "c", target: `{"mpans":["` + pointUnknown + `"]}`}.body(r)) }, "rejected NO_TARGET mpans[0]"},
		{"for a supply point with a wrong check digit", func(r *rig) { r.send("limit", signal{id: "c", target: `{"mpans":["2012345678907"]}`}.body(r)) }, "rejected INVALID"},
		{"the same for a supply point again", func(r *rig) {
			body := signal{id: "c", target: `{"mpans":["` + pointHere + `"]}`}.body(r)
			r.send("limit", body)
			r.send("limit", body)
		}, "received, active, actuated DUPLICATE"},
		{"a request for a group that did not consent", func(r *rig) {
			r.send("limit", signal{id: "c", class: "commercial", target: `{"groups":["G2"]}`}.body(r))
		}, "rejected NOT_OPTED_IN G2"},
		{"a request for a way of which one group consented", func(r *rig) { r.send("limit", signal{id: "c", class: "commercial"}.body(r)) }, "received PARTIAL G2, active"},
		{"its cancel came first", func(r *rig) {
			r.seq++
			r.send("cancel", fmt.Sprintf(`{"id":"k","issuer":"scada-1","epoch":1,"seq":%d,%s,"cancels":"c"}`, r.seq, inTime()))
			r.send("limit", signal{id: "c"}.body(r))
		}, "rejected CANCELLED"},
		{"cancelled", func(r *rig) {
			r.send("limit", signal{id: "c"}.body(r))
			r.seq++
			r.send("cancel", fmt.Sprintf(`{"id":"k","issuer":"scada-1","epoch":1,"seq":%d,%s,"cancels":"c"}`, r.seq, inTime()))
		}, "received, active, cancelled"},
		{"released by a lower class", func(r *rig) {
			r.send("limit", signal{id: "c"}.body(r))
			r.send("limit", signal{id: "d", class: "commercial", what: `"limit":"none"`}.body(r))
		}, "received, active"},
		{"released by its own class", func(r *rig) {
			r.send("limit", signal{id: "c"}.body(r))
			r.send("limit", signal{id: "d", what: `"limit":"none"`}.body(r))
		}, "received, active, superseded"},
		{"replaced", func(r *rig) {
			r.send("limit", signal{id: "c"}.body(r))
			r.send("limit", signal{id: "d", more: `,"supersedes":"c"`}.body(r))
		}, "received, active, superseded"},
		{"replaced by a lower class", func(r *rig) {
			r.send("limit", signal{id: "c"}.body(r))
			r.send("limit", signal{id: "d", class: "commercial", more: `,"supersedes":"c"`}.body(r))
		}, "received, active"},
		{"one more than there may be", func(r *rig) {
			for i := range 64 {
				r.send("limit", signal{id: fmt.Sprint("b", i), what: `"limit":{"amps":16}`}.body(r))
			}
			r.send("limit", signal{id: "c"}.body(r))
		}, "rejected TOO_MANY"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRigOf(t, signalSite, map[string][]byte{})
				defer r.end()
				r.pass(time.Second)
				if err := r.loop.AddSupplyPoints(t.Context(), "G1", []string{pointHere, pointToo}); err != nil {
					t.Fatal(err)
				}
				r.seq = 1000
				if strings.Contains(tt.name, "behind") || strings.Contains(tt.name, "used") {
					r.seq = 0
				}
				tt.do(r)
				r.pass(time.Second)
				if got := r.ladder("c"); got != tt.want {
					t.Errorf("ladder %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// The register of supply points: off by default, moved by adding again, erased on
// site, by its age and with its group; kept without a number.
func TestSupplyPoints(t *testing.T) {
	kept := map[string][]byte{}
	list := func(t *testing.T, r *rig) (groups []string) {
		t.Helper()
		views, err := r.loop.SupplyPoints(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range views {
			groups = append(groups, v.Group)
			if len(v.Name) != 12 || v.Expires.Sub(v.Since) != 400*24*time.Hour {
				t.Errorf("entry %+v", v)
			}
		}
		return groups
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, signalSite, kept)
		defer r.end()
		add := func(group string, numbers ...string) error {
			return r.loop.AddSupplyPoints(t.Context(), group, numbers)
		}
		if err := add("G1", pointHere, pointToo); err != nil {
			t.Error(err)
		}
		for _, wrong := range []error{add("G9", pointHere), add("G1", "2012345678907"), add("G1", "")} {
			if wrong == nil || strings.Contains(wrong.Error(), "12345678") {
				t.Errorf("refused with %v", wrong)
			}
		}
		if err := add("G2", pointToo); err != nil {
			t.Error(err)
		}
		if got := list(t, r); !slices.Equal(got, []string{"G1", "G2"}) {
			t.Errorf("groups %q", got)
		}
		r.clock = clock.State{Clock: meter.Unsynced}
		if err := add("G1", pointUnknown); err == nil {
			t.Error("added by a clock that is not set")
		}
		r.clock = clock.State{Clock: meter.Assumed}
	})
	if text := string(kept[supplyPointsKey]); !strings.Contains(text, "G2") || strings.Contains(text, "12345678") {
		t.Errorf("kept %s", text)
	}
	synctest.Test(t, func(t *testing.T) { // restarted, another key
		r := newRigOf(t, signalSite, kept)
		defer r.end()
		if err := r.loop.Ask(t.Context(), func(l *Loop) { l.Secret[0]++ }); err != nil {
			t.Fatal(err)
		}
		r.send("limit", signal{id: "c", target: `{"mpans":["` + pointHere + `"]}`}.body(r))
		if got := r.ladder("c"); got != "rejected NO_TARGET mpans[0]" {
			t.Errorf("by another device's key: %s", got)
		}
		if n, err := r.loop.EraseSupplyPoints(t.Context(), "", []string{pointHere}, false); n != 0 || err != nil {
			t.Errorf("%d erased by another device's key, %v", n, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, signalSite, kept)
		defer r.end()
		if n, err := r.loop.EraseSupplyPoints(t.Context(), "", []string{pointHere}, false); n != 1 || err != nil {
			t.Errorf("%d erased, %v", n, err)
		}
		if got := list(t, r); !slices.Equal(got, []string{"G2"}) {
			t.Errorf("groups %q", got)
		}
		if n, err := r.loop.EraseSupplyPoints(t.Context(), "G2", nil, false); n != 1 || err != nil {
			t.Errorf("%d erased, %v", n, err)
		}
		if err := r.loop.AddSupplyPoints(t.Context(), "G2", []string{pointToo}); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // its group is gone
		r := newRigOf(t, siteText, kept)
		defer r.end()
		r.pass(2 * time.Second)
		if got := list(t, r); len(got) != 0 {
			t.Errorf("groups %q", got)
		}
		r.send("limit", signal{id: "c", target: `{"mpans":["` + pointHere + `"]}`}.body(r))
		if got := r.ladder("c"); got != "rejected NOT_ENABLED" {
			t.Errorf("where it is off: %s", got)
		}
	})
	synctest.Test(t, func(t *testing.T) { // its time is over
		passed := 2 * time.Second
		r := stillRig(t, strings.Replace(signalSite, "targets: true", "targets: true, keep: 24h", 1), kept, &passed)
		r.loop.supplied = []supplyPoint{{"x", "G1", r.start}, {"y", "G1", r.start.Add(time.Hour)}}
		passed = 24*time.Hour + time.Second
		r.loop.forgetSupplyPoints(r.loop.Wall(), meter.Unsynced)
		if len(r.loop.supplied) != 2 {
			t.Error("erased by a clock that nobody trusts")
		}
		r.loop.forgetSupplyPoints(r.loop.Wall(), meter.Assumed)
		if len(r.loop.supplied) != 1 || r.loop.supplied[0].Hash != "y" {
			t.Errorf("kept %+v", r.loop.supplied)
		}
	})
}

// mutants are pieces of a command that are wrong in one way or another.
var mutants = []string{
	`null`, `0`, `-1`, `1e308`, `1e400`, `NaN`, `""`, `"x"`, `[]`, `{}`, `true`, `"1970-01-01T00:00:00Z"`, `"9999-12-31T23:59:59Z"`,
	`"-1h"`, `"8760h"`, `"none"`, `{"amps":-1}`, `{"amps":"6"}`, `{"amps":6,"watts":6}`, `{"way":"W1","groups":["G1"]}`, `{"way":"W9"}`,
	`{"mpans":["2012345678907"]}`, `"mallory"`, `"emergency"`, `"commercial"`, `"\u0000"`, `[{"for":"30m","amps":6}]`, `9007199254740993`, "\"\xff\"",
}

// R16: whatever a command is turned into, by whoever: unless it is one of an
// issuer, in its form and its time, it is refused with a code and recorded, and no
// setpoint moves.
func TestMutatedCommandsMoveNothing(t *testing.T) {
	keys := []string{"id", "issuer", "epoch", "seq", "issued", "expires", "class", "target", "start_in", "start", "duration", "limit", "curve", "randomise", "supersedes", "cancels", "kind", "for", "by", "sig"}
	rapid.Check(t, func(rt *rapid.T) {
		passed := time.Hour
		r := stillRig(t, signalSite, map[string][]byte{}, &passed)
		l := r.loop
		l.resumeAudit(l.Now(), l.Wall())
		l.step(failsafe.Inputs{})
		told := func() []meter.Milliamps {
			var all []meter.Milliamps
			for _, g := range l.State.Groups {
				all = append(all, g.Limit)
			}
			return all
		}
		for n := range rapid.IntRange(1, 4).Draw(rt, "commands") {
			passed += time.Second
			l.step(failsafe.Inputs{})
			now := l.Wall().UTC()
			name := rapid.SampledFrom([]string{"limit", "limit", "limit", "cancel", "override", "restoration", "heartbeat", "ack", "telemetry"}).Draw(rt, "name")
			object := map[string]json.RawMessage{}
			good := fmt.Sprintf(`{"id":"c%d","issuer":"scada-1","epoch":1,"seq":%d,"issued":%q,"expires":%q,"class":"network","target":{"way":"W1"},"start_in":"0s","duration":"30m",
				"limit":{"amps":6},"cancels":"c0","kind":"limit","by":"T. Ester","alarm":"x"}`, n, n+1, now.Format(time.RFC3339), now.Add(time.Minute).Format(time.RFC3339))
			if err := json.Unmarshal([]byte(good), &object); err != nil {
				rt.Fatal(err)
			}
			for range rapid.IntRange(0, 3).Draw(rt, "mutations") {
				key := rapid.SampledFrom(keys).Draw(rt, "key")
				if rapid.Bool().Draw(rt, "missing") {
					delete(object, key)
				} else {
					object[key] = json.RawMessage(rapid.SampledFrom(mutants).Draw(rt, "mutant"))
				}
			}
			parts := []string{}
			for _, key := range slices.Sorted(maps.Keys(object)) {
				parts = append(parts, fmt.Sprintf("%q:%s", key, object[key]))
			}
			body := []byte("{" + strings.Join(parts, ",") + "}")
			if rapid.IntRange(0, 9).Draw(rt, "cut") == 0 {
				body = body[:rapid.IntRange(0, len(body)).Draw(rt, "at")]
			}
			before, audited, acks := told(), l.State.Audit.N+uint64(l.audit.counted()), len(r.records)
			l.take(uplink.Inbound{Topic: "lv/v1/S1/cmd/" + name, Payload: body, Retained: rapid.IntRange(0, 9).Draw(rt, "retained") == 0})
			accepted, refused := false, false
			said := r.records[acks:]
			for _, h := range l.held {
				said = append(slices.Clone(said), h.record)
			}
			for _, rec := range said {
				var a struct{ Command, Stage, Code string }
				if rec.Stream != message.AckStream || json.Unmarshal(rec.Body, &a) != nil {
					continue
				}
				accepted = accepted || a.Stage == "received" || a.Code == "DUPLICATE"
				if a.Stage == "rejected" {
					if refused = true; a.Code == "" {
						rt.Fatalf("refused without a code: %s", rec.Body)
					}
				}
			}
			if after := told(); !accepted && !slices.Equal(before, after) {
				rt.Fatalf("%s %s moved %v to %v", name, body, before, after)
			}
			if !accepted && name != "heartbeat" && (!refused || l.State.Audit.N+uint64(l.audit.counted()) == audited) {
				rt.Fatalf("%s %s: refused %v, and no record of it", name, body, refused)
			}
		}
	})
}

// counted is how many refusals were told apart by count only.
func (a *auditor) counted() (n int) {
	for _, c := range a.refusals {
		n += c.count
	}
	return n
}
