package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/failsafe"
)

// P10: an actuator that reads back too high locks its group out; that is told,
// published, and ended by somebody who has looked.
func TestLockout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.beat()
		r.steady(2)
		r.limit("n1", `"none"`)
		r.steady(1)
		r.mute = true
		disobey := func() {
			for range 8 * 60 {
				r.loop.Feedback(failsafe.Feedback{Group: "G1", Told: r.last(), Limit: r.last() + 1, OK: true})
				r.pass(time.Second)
			}
		}
		disobey()
		s := r.said()
		if s.Deciding != "lockout" || s.Limit != 6 || len(s.InForce) != 1 || s.InForce[0].Kind != "lockout" ||
			s.InForce[0].Target != "G1" || s.InForce[0].Why != "READS_HIGH" || !strings.Contains(s.GroupEnds, "lvagent ack G1") {
			t.Fatalf("said %+v", s)
		}
		v, err := r.loop.View(t.Context())
		if err != nil || !slices.Contains(v.Alarms, "W1.G1.LOCKOUT") {
			t.Errorf("alarms %v, %v", v.Alarms, err)
		}
		ack := func(id, what string) string {
			r.seq++
			r.send("ack", fmt.Sprintf(`{"id":%q,"issuer":"scada-1","epoch":1,"seq":%d,%s,%s,"by":"control room"}`, id, r.seq, inTime(), what))
			return strings.Join(r.stages(id), ", ")
		}
		if got := ack("a1", `"target":{"groups":["G9"]}`); got != "rejected NO_TARGET" {
			t.Errorf("ack of another group: %s", got)
		}
		if got := ack("a2", `"target":{"way":"W1"}`); got != "completed" {
			t.Errorf("ack: %s", got)
		}
		r.pass(2 * time.Second)
		if s := r.said(); len(s.InForce) != 0 {
			t.Errorf("still in force: %+v", s)
		}
		if v, err := r.loop.View(t.Context()); err != nil || slices.Contains(v.Alarms, "W1.G1.LOCKOUT") {
			t.Errorf("alarms %v, %v", v.Alarms, err)
		}
		disobey()
		if got := ack("a3", `"alarm":"W1.G1.LOCKOUT"`); got != "completed" {
			t.Errorf("ack of the alarm: %s", got)
		}
		disobey()
		if err := r.loop.Ack(t.Context(), "G1", "T. Ester"); err != nil {
			t.Error(err)
		}
		if err := r.loop.Ack(t.Context(), "G1", "T. Ester"); err == nil || !strings.Contains(err.Error(), "not locked out") {
			t.Errorf("a second ack: %v", err)
		}
	})
}
