package core

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/failsafe"
)

// inputSite is the test site with inputs.
func inputSite() string {
	return strings.Replace(siteText, "site: {id: S1, transformer_kva: 500}", `
site:
  id: S1
  transformer_kva: 500
  inputs:
    - {id: lr, role: local, line: "gpiochip0:1"}
    - {id: mains, role: mains_fail, line: "gpiochip0:2"}
    - {id: door, role: door, line: "gpiochip0:3"}
    - {id: stop, role: inhibit, line: "gpiochip0:4"}
    - {id: car, role: customer_override, line: "gpiochip0:5", groups: [G1]}`, 1)
}

// P22: what inputs say is told at once, as alarms and points of health, and acts;
// one that can't be read means what only restricts.
func TestDigitalInputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, inputSite(), map[string][]byte{})
		defer r.end()
		kinds := func() (all []string) {
			for _, f := range r.said().InForce {
				all = append(all, f.Kind)
			}
			return all
		}
		alarms := func() []string {
			v, err := r.loop.View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return v.Alarms
		}
		say := func(id string, active, readable bool) {
			r.loop.Input(id, active, readable)
			synctest.Wait()
			r.pass(2 * time.Second)
		}
		r.beat()
		r.steady(2)
		r.limit("n1", `"none"`)
		if got := r.stages("n1"); !slices.Equal(got, []string{"rejected LOCAL"}) {
			t.Errorf("a raise before the switch was read: %v", got)
		}
		for _, id := range []string{"lr", "mains", "door", "stop", "car"} {
			say(id, false, true)
		}
		r.limit("n2", `"none"`)
		r.steady(4)
		if got := r.last(); got != 96_000 || len(kinds()) != 0 {
			t.Fatalf("limit %d, in force %v", got, kinds())
		}
		say("lr", true, true)
		r.limit("l1", `{"amps":10}`)
		if got := r.stages("l1"); !slices.Equal(got, []string{"rejected LOCAL"}) || !slices.Equal(kinds(), []string{"local"}) {
			t.Errorf("in Local: %v, in force %v", got, kinds())
		}
		if !slices.Contains(alarms(), "_site.LOCAL_CONTROL") {
			t.Errorf("alarms %v", alarms())
		}
		say("lr", false, false)
		r.limit("l2", `{"amps":50}`)
		if got := r.stages("l2"); len(got) == 0 || got[0] != "received" || !slices.Equal(kinds(), []string{"switch_undefined"}) {
			t.Errorf("with a switch that can't be read: %v, in force %v", got, kinds())
		}
		if !slices.Contains(alarms(), "_site.lr.INPUT_UNREADABLE") {
			t.Errorf("alarms %v", alarms())
		}
		say("lr", false, true)
		say("door", true, true)
		if !slices.Contains(alarms(), "_site.door.DOOR_OPEN") || r.last() != 50_000 {
			t.Errorf("alarms %v, limit %d", alarms(), r.last())
		}
		say("car", true, true)
		if !slices.Contains(alarms(), "W1.G1.CUSTOMER_OVERRIDE") || !slices.Equal(kinds(), []string{"customer_override"}) {
			t.Errorf("alarms %v, in force %v", alarms(), kinds())
		}
		say("car", false, true)
		say("stop", false, false)
		if s := r.said(); r.last() != 0 || s.Deciding != string(failsafe.RuleInhibit) {
			t.Errorf("an inhibit that can't be read: limit %d by %q", r.last(), s.Deciding)
		}
		say("stop", false, true)
		r.steady(1)
		say("mains", true, true)
		say("mains", false, true)
		if s := r.said(); r.last() != 0 || s.Deciding != string(failsafe.RuleIdle) {
			t.Errorf("after a mains failure: limit %d by %q", r.last(), s.Deciding)
		}
		var h struct {
			Points map[string]struct{ State, Code string }
		}
		if err := json.Unmarshal(r.retained["lv/v1/S1/up/health"], &h); err != nil || h.Points["input/door"].Code != "DOOR_OPEN" || h.Points["input/lr"].State != "ok" {
			t.Errorf("health %+v, %v", h.Points, err)
		}
	})
}

// P14: a planned silence counts from an issuer that signs, and is published.
func TestPlannedSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t)
		defer r.end()
		r.beat()
		r.steady(1)
		send := func(id string, signed bool) string {
			r.seq++
			topic := "lv/v1/S1/cmd/silence"
			body := fmt.Sprintf(`{"id":%q,"issuer":"scada-1","epoch":1,"seq":%d,%s,"for":"1h","by":"control room","why":"new servers"}`, id, r.seq, inTime())
			if signed {
				c, refused := message.Decode(topic, []byte(body), false)
				if refused != nil {
					t.Fatal(refused)
				}
				sig := base64.StdEncoding.EncodeToString(ed25519.Sign(private, message.SignedText(topic, c.Canonical)))
				body = strings.TrimSuffix(body, "}") + `,"sig":"` + sig + `"}`
			}
			r.loop.Inbound(uplink.Inbound{Topic: topic, Payload: []byte(body)})
			synctest.Wait()
			return strings.Join(r.stages(id), ", ")
		}
		if got := send("s1", false); got != "rejected UNSIGNED" {
			t.Errorf("of an issuer without a key: %s", got)
		}
		if err := r.loop.Ask(t.Context(), func(l *Loop) { l.Keys = message.Keys{"scada-1": public} }); err != nil {
			t.Fatal(err)
		}
		if got := send("s2", true); got != "received, completed" {
			t.Errorf("signed: %s", got)
		}
		r.pass(10 * time.Minute)
		s := r.said()
		if s.State == "FAILSAFE" || len(s.InForce) != 1 || s.InForce[0].Kind != "planned_silence" || s.InForce[0].Why != "new servers" {
			t.Errorf("said %+v", s)
		}
	})
}

// An ordered stop says so before the outputs go to rest, and keeps the limits that
// were in force for the start.
func TestStopIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.beat()
		r.steady(2)
		r.limit("n1", `"none"`)
		r.steady(4)
		r.end()
		s := r.said()
		if s.State != Stopping || s.Deciding != string(RuleRest) || s.Limit != 24 || s.GroupEnds == "" {
			t.Errorf("said %+v", s)
		}
		if !strings.Contains(string(r.retained["lv/v1/S1/up/status"]), `"state":"stopping"`) {
			t.Errorf("status %s", r.retained["lv/v1/S1/up/status"])
		}
		if r.last() != 24_000 || r.loop.State.Groups[0].Limit != 96_000 || !r.loop.State.Stopped || r.loop.State.Ways[0].State != failsafe.Free {
			t.Errorf("told %d, kept %+v", r.last(), r.loop.State.Groups[0])
		}
	})
}
