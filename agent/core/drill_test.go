package core

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/audit"
	"lvagent/failsafe"
)

// hears brings the loop to FREE, and beats for so long.
func (r *rig) hears(seconds int) {
	for i := range seconds {
		if i%30 == 0 {
			r.beat()
		}
		r.pass(time.Second)
	}
}

func drillRecords(t *testing.T, r *rig) (all []audit.Record) {
	for _, a := range audited(t, r.records) {
		if a.Kind == failsafe.DecidedDrill {
			all = append(all, a)
		}
	}
	return all
}

// A drill tells when everything would be at its failsafe limit, and neither the
// actuator nor the real engine learns of it.
func TestDrill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.beat()
		r.limit("c1", `"none"`)
		r.hears(60)
		told, state := len(r.told), r.loop.State.Ways[0].State
		d, err := r.loop.StartDrill(t.Context(), "A. Engineer", "acceptance")
		if err != nil || d.State != drillRunning || state != failsafe.Free {
			t.Fatalf("%+v, %v, way in %v", d, err, state)
		}
		if _, err := r.loop.StartDrill(t.Context(), "B", "too"); err == nil || !strings.Contains(err.Error(), "A. Engineer") {
			t.Errorf("a second drill: %v", err)
		}
		r.hears(200)
		if d, err = r.loop.LastDrill(t.Context()); err != nil || d.State != drillPassed {
			t.Fatalf("%+v, %v", d, err)
		}
		want := []string{"W1 FAILSAFE", "G1 failsafe profile", "W1 PROBATION"}
		for i, x := range d.Reactions {
			if i >= len(want) || x.Way+x.Group+" "+x.What != want[i] {
				t.Errorf("reaction %d is %+v, want %q", i, x, want)
			}
		}
		if len(d.Reactions) != len(want) || d.Reactions[0].After < 120_000 || d.Reactions[0].After > 121_000 || d.Reactions[1].Limit != 24_000 {
			t.Errorf("reactions %+v", d.Reactions)
		}
		if refreshes := r.told[told:]; r.loop.State.Ways[0].State != failsafe.Free || strings.Contains(fmt.Sprint(refreshes), "24000") {
			t.Errorf("way in %v, told %v", r.loop.State.Ways[0].State, refreshes)
		}
		all := drillRecords(t, r)
		if len(all) != 2 || all[0].To != drillRunning || all[0].By != "A. Engineer" || all[1].To != drillPassed || len(all[1].Reactions) != 3 {
			t.Errorf("records %+v", all)
		}
		r.end()
		if rep := verify(t, r.loop.State.Audit, r.records); len(rep.Faults) > 0 {
			t.Errorf("report %+v", rep)
		}
	})
}

func TestDrillIsRefusedOrAborted(t *testing.T) {
	tests := []struct {
		name   string
		play   func(r *rig) error
		err    string
		state  string
		reason string
	}{
		{"before the centre is heard", func(r *rig) error { _, err := r.loop.StartDrill(r.t.Context(), "A", "b"); return err }, "INIT", "", ""},
		{"after it is lost", func(r *rig) error {
			r.beat()
			r.limit("c1", `"none"`)
			r.hears(30)
			r.pass(3 * time.Minute)
			_, err := r.loop.StartDrill(r.t.Context(), "A", "b")
			return err
		}, "HEARTBEAT_LOST", "", ""},
		{"without a reason", func(r *rig) error {
			r.beat()
			r.limit("c1", `"none"`)
			r.hears(30)
			_, err := r.loop.StartDrill(r.t.Context(), "A", "")
			return err
		}, "why", "", ""},
		{"none to stop", func(r *rig) error { _, err := r.loop.StopDrill(r.t.Context()); return err }, "none runs", "", ""},
		{"stopped", func(r *rig) error {
			r.beat()
			r.limit("c1", `"none"`)
			r.hears(30)
			if _, err := r.loop.StartDrill(r.t.Context(), "A", "b"); err != nil {
				return err
			}
			r.hears(30)
			_, err := r.loop.StopDrill(r.t.Context())
			return err
		}, "", drillAborted, "stopped by hand"},
		{"the centre really lost meanwhile", func(r *rig) error {
			r.beat()
			r.limit("c1", `"none"`)
			r.hears(30)
			if _, err := r.loop.StartDrill(r.t.Context(), "A", "b"); err != nil {
				return err
			}
			r.hears(60)
			r.pass(150 * time.Second)
			return nil
		}, "", drillAborted, "really lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				defer r.end()
				err := tt.play(r)
				if tt.err != "" {
					if err == nil || !strings.Contains(err.Error(), tt.err) || r.loop.drill != nil {
						t.Errorf("error %v, want %q", err, tt.err)
					}
					return
				}
				d, lastErr := r.loop.LastDrill(t.Context())
				if err != nil || lastErr != nil || d.State != tt.state || !strings.Contains(d.Reason, tt.reason) {
					t.Errorf("%+v, %v, %v; want %s, %s", d, err, lastErr, tt.state, tt.reason)
				}
			})
		})
	}
}

// A drill that ran when the agent ended is told to be aborted.
func TestADrillDoesNotOutliveTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.beat()
		r.limit("c1", `"none"`)
		r.hears(30)
		if _, err := r.loop.StartDrill(t.Context(), "A", "b"); err != nil {
			t.Fatal(err)
		}
		crashed := map[string][]byte{drillKey: r.kept[drillKey]}
		r.end()
		if all := drillRecords(t, r); len(all) != 2 || all[1].To != drillAborted {
			t.Errorf("records of an ordered end %+v", all)
		}
		r2 := newRigOf(t, siteText, crashed)
		d, err := r2.loop.LastDrill(t.Context())
		if err != nil || d.State != drillAborted {
			body, _ := json.Marshal(d)
			t.Errorf("%s, %v", body, err)
		}
		r2.end()
	})
}
