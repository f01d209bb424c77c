package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const ill = `{"agent":"S1","t":"2026-11-24T18:00:00Z","backlog":4000,"alarms":["_site.METER_OFFLINE","W3.L1.i.hi","W3.L2.FUSE_SUSPECTED"],
"uplink":{"Connected":false,"Broker":"ssl://b:8883","LastError":"dial tcp: connection refused"},
"failsafe":{"override":[{"target":"G1","kind":"hold_off","by":"anna","why":"jointing","expires":"2026-11-24T19:00:00Z"}]},
"groups":{"groups":{"G1":{"state":"CONFIRMED"},"G2":{"state":"MISMATCH_HIGH"}}},
"shelved":[{"alarm":"W1.STALE","by":"bert","why":"meter on the bench","expires":"2026-11-24T20:00:00Z"}],
"health":{"points":{"clock":{"state":"ok"},"meter/m3":{"state":"failed","code":"METER_OFFLINE","since":"2026-11-24T15:00:00Z","detail":"no answer for 3 h"},
"bus/rtu":{"state":"failed","code":"BUS_SILENT","since":"2026-11-24T15:00:00Z"},"new/part":{"state":"degraded","code":"OF_A_LATER_VERSION","since":"2026-11-24T17:59:30Z"}}}}`

func diagnosed(t *testing.T, text string) []finding {
	t.Helper()
	var s status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return diagnose(&s)
}

// Each fault is named once, with something to do about it; a feeder's threshold
// is no fault of the RTU's.
func TestDiagnose(t *testing.T) {
	found := diagnosed(t, ill)
	var out bytes.Buffer
	printFindings(&out, found)
	for _, want := range []string{
		"bus/rtu is failed: BUS_SILENT, for 3 h", "meter/m3 is failed: METER_OFFLINE, for 3 h\n   says:   no answer for 3 h\n   likely: the meter has no supply",
		"new/part is degraded: OF_A_LATER_VERSION, for 30s", "alarm W3.L2.FUSE_SUSPECTED", "no connection to broker ssl://b:8883\n   says:   dial tcp: connection refused",
		"group G2: output is MISMATCH_HIGH", "override hold_off on G1 by anna", "alarm W1.STALE is shelved by bert",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if strings.Count(out.String(), "METER_OFFLINE") != 1 || strings.Contains(out.String(), "i.hi") || strings.Contains(out.String(), "G1: output") {
		t.Errorf("told twice, or what is no fault:\n%s", out.String())
	}
	for _, f := range found {
		if f.What == "" || f.Cause == "" || f.Next == "" {
			t.Errorf("%+v lacks a cause or a step", f)
		}
	}
}

func TestDiagnoseOfAHealthyAgent(t *testing.T) {
	found := diagnosed(t, `{"uplink":{"Connected":true},"health":{"points":{"clock":{"state":"ok"}}},"groups":{"groups":{"G1":{"state":"CONFIRMED"}}},"alarms":["W3.L1.i.hi"]}`)
	var out bytes.Buffer
	printFindings(&out, found)
	if len(found) > 0 || !strings.HasPrefix(out.String(), "No fault found") {
		t.Error(out.String())
	}
}

func TestNobodyToAsk(t *testing.T) {
	if f := noAgent("/nowhere/agent.sock", errors.New("dial unix: no such file")); !strings.Contains(f.Next, "systemctl status") {
		t.Errorf("%+v", f)
	}
	if f := noAgent(t.TempDir(), errors.New("dial unix: connect: permission denied")); !strings.Contains(f.Next, "group lvagent") {
		t.Errorf("%+v", f)
	}
}

// Whoever is told a code by a health point is told what to do.
func TestAdviceIsComplete(t *testing.T) {
	for code, a := range advices {
		if a.cause == "" || a.next == "" || strings.HasSuffix(a.next, ".") {
			t.Errorf("%s: %+v", code, a)
		}
	}
}
