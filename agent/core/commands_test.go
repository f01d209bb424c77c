package core

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/clock"
	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/meter"
)

// inTime is issue and expiry of a command of now.
func inTime() string {
	now := time.Now().UTC()
	return fmt.Sprintf(`"issued":%q,"expires":%q`, now.Format(time.RFC3339), now.Add(time.Minute).Format(time.RFC3339))
}

// R17b: what a third party reports is kept for groups of this substation, the
// latest only, and nothing it says moves a limit.
func TestTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(3 * time.Minute) // the bubble's time begins with the century
		told := len(r.told)
		send := func(id string, seq int, group string, at time.Time, amps string) string {
			r.send("telemetry", fmt.Sprintf(`{"id":%q,"issuer":"scada-1","epoch":1,"seq":%d,%s,"groups":[{"group":%q,"t":%q,"state":"charging","L1":{"i":%s}}]}`,
				id, seq, inTime(), group, at.UTC().Format(time.RFC3339), amps))
			return strings.Join(r.stages(id), ", ")
		}
		now := time.Now()
		for _, tt := range []struct {
			name, id, group string
			at              time.Time
			amps, want      string
		}{
			{"first", "t1", "G1", now.Add(-time.Minute), "12.5", "received, completed"},
			{"of a group that is not here", "t2", "G9", now, "1", "rejected NO_TARGET"},
			{"older than what is known", "t3", "G1", now.Add(-2 * time.Minute), "1", "rejected NO_TARGET"},
			{"of the future", "t4", "G1", now.Add(2 * time.Minute), "1", "rejected NO_TARGET"},
			{"newer", "t5", "G1", now, "13.5", "received, completed"},
		} {
			if got := send(tt.id, len(r.records)+10, tt.group, tt.at, tt.amps); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
		if got := send("t5", 1000, "G1", now, "99"); got != "received, completed, rejected ID_CONFLICT" {
			t.Errorf("the same id with another body: %s", got)
		}
		if err := r.loop.Ask(t.Context(), func(l *Loop) {
			if g := l.State.Groups[0]; !g.Drawn || g.Draw[meter.L1] != 13_500 {
				t.Errorf("the engine takes it for %v %v", g.Drawn, g.Draw)
			}
		}); err != nil {
			t.Fatal(err)
		}
		r.pass(10 * time.Second)
		v, err := r.loop.View(t.Context())
		if err != nil || len(v.Reports) != 1 || v.Reports[0].State != "charging" || *v.Reports[0].Amps[0] != 13.5 || v.Reports[0].Amps[1] != nil || v.Reports[0].Age != 10 {
			t.Errorf("view %+v, %v", v.Reports, err)
		}
		if err := r.loop.Ask(t.Context(), func(l *Loop) {
			if g, _, known := l.Reported("G1"); !known || g.Phase[meter.L1].I.Value != 13_500 {
				t.Errorf("reported %+v", g)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(r.told) != told {
			t.Error("a report moved a limit")
		}
	})
}

// R17b: what was measured minutes ago, or by a clock that can't be compared with
// ours, is known to the engine and is no ground for a raise.
func TestOldTelemetry(t *testing.T) {
	for _, tt := range []struct {
		name         string
		clock        clock.State
		age          time.Duration
		drawn, known bool
	}{
		{"fresh", clock.State{Clock: meter.Synced}, 2 * time.Second, true, true},
		{"fifteen minutes old", clock.State{Clock: meter.Synced}, 15 * time.Minute, false, true},
		{"of an hour ago", clock.State{Clock: meter.Synced}, time.Hour, false, false},
		{"after the clock was stepped", clock.State{Clock: meter.Synced, Suspect: true}, 0, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				defer r.end()
				r.clock = tt.clock
				r.meet()
				time.Sleep(2 * time.Hour)
				r.send("telemetry", fmt.Sprintf(`{"id":"t1","issuer":"scada-1","epoch":1,"seq":1,%s,"groups":[{"group":"G1","t":%q,"state":"charging","L1":{"i":20}}]}`,
					inTime(), time.Now().Add(-tt.age).UTC().Format(time.RFC3339)))
				if err := r.loop.Ask(t.Context(), func(l *Loop) {
					if g := l.State.Groups[0]; g.Drawn != tt.drawn || g.Seen != tt.known {
						t.Errorf("drawn %v, seen %v, want %v, %v", g.Drawn, g.Seen, tt.drawn, tt.known)
					}
				}); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// R16: with a key, only what its issuer signed counts, heartbeats too; and cmd/config
// is refused in words.
func TestSignedCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.loop.Ask(t.Context(), func(l *Loop) { l.Keys = message.Keys{"scada-1": public} }); err != nil {
			t.Fatal(err)
		}
		signed := func(name, body string) string {
			topic := "lv/v1/S1/cmd/" + name
			c, refused := message.Decode(topic, []byte(body), false)
			if refused != nil {
				t.Fatal(refused)
			}
			sig := base64.StdEncoding.EncodeToString(ed25519.Sign(private, message.SignedText(topic, c.Canonical)))
			return body[:len(body)-1] + `,"sig":"` + sig + `"}`
		}
		r.beat()
		if n := r.loop.Counts().FalseHeartbeats; n != 1 {
			t.Errorf("%d heartbeats without a signature did not count, want 1", n)
		}
		r.send("heartbeat", signed("heartbeat", `{"issuer":"scada-1","epoch":1,"seq":50}`))
		if n := r.loop.Counts().FalseHeartbeats; n != 1 {
			t.Error("a signed heartbeat does not count")
		}
		body := fmt.Sprintf(`{"id":"c1","issuer":"scada-1","epoch":1,"seq":51,%s,"class":"network","target":{"way":"W1"},"start_in":"0s","limit":"none"}`, inTime())
		r.send("limit", body)
		r.send("limit", signed("limit", body))
		if got := strings.Join(r.stages("c1"), ", "); got != "rejected UNSIGNED, received, completed" {
			t.Errorf("ladder %s", got)
		}
		r.send("cancel", strings.Replace(signed("cancel", fmt.Sprintf(`{"id":"c2","issuer":"scada-1","epoch":1,"seq":52,%s,"cancels":"c1"}`, inTime())), `"c1"`, `"c0"`, 1))
		if got := strings.Join(r.stages("c2"), ", "); got != "rejected BAD_SIGNATURE" {
			t.Errorf("a command that was changed: %s", got)
		}
		r.send("config", signed("config", fmt.Sprintf(`{"id":"k1","issuer":"scada-1","epoch":1,"seq":53,%s,"site":"site: {id: S1}","confirm_within":"10m"}`, inTime())))
		if got := strings.Join(r.stages("k1"), ", "); got != "rejected NOT_ENABLED" {
			t.Errorf("config: %s", got)
		}
	})
}

// R16: whatever comes on whichever command's topic, of any size: no crash, every
// one counted, and no more answers than the disk and the real commands can bear.
func TestNonsenseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		sent := 0
		for _, name := range []string{"heartbeat", "limit", "cancel", "override", "telemetry", "ack", "topology", "resend", "birth", "config", "", "x/y", "limit/"} {
			for _, payload := range [][]byte{
				nil, []byte("{}"), []byte("null"), []byte(`{"id":"x"}`), []byte("\xff\xfe"),
				bytes.Repeat([]byte("["), 1<<20), bytes.Repeat([]byte(`{"a":`), 12_000), bytes.Repeat([]byte("9"), message.MaxPayload),
				[]byte(`{"groups":[` + strings.Repeat(`{"group":"G1"},`, 4000) + `{}]}`), bytes.Repeat([]byte{0}, 1<<20),
			} {
				payload = payload[:min(len(payload), message.MaxPayload+1)] // as the uplink hands it over
				for _, retained := range []bool{false, true} {
					r.loop.Inbound(uplink.Inbound{Topic: "lv/v1/S1/cmd/" + name, Payload: payload, Retained: retained})
					synctest.Wait()
					sent++
				}
			}
		}
		acks := 0
		for _, rec := range r.records {
			if rec.Stream == message.AckStream {
				acks++
			}
		}
		if n := r.loop.Counts().Rejected; n != uint64(sent) {
			t.Errorf("%d of %d refusals counted", n, sent)
		}
		if acks != refusalsAtOnce {
			t.Errorf("%d answers to a flood, want %d", acks, refusalsAtOnce)
		}
		r.pass(5 * time.Second)
		r.limit("c1", `{"amps":16}`)
		if got := r.stages("c1"); len(got) == 0 || got[0] != "received" {
			t.Errorf("a real command after the flood: %q", got)
		}
	})
}

// A centre that begins with nothing asks for all that is retained, and is told
// what has not changed, too.
func TestBirth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(2 * time.Second)
		r.send("birth", `{"id":"b1","issued":"2026-11-24T17:00:00Z"}`)
		r.pass(time.Second)
		if got := strings.Join(r.stages("b1"), ", "); got != "completed" || r.repeats != 1 {
			t.Errorf("%s, everything repeated %d times; want completed, once", got, r.repeats)
		}
	})
}
