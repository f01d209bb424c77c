//go:build integration

package hwtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvagent/hwtest/bench"
	"lvagent/meter/metertest"
)

// startAgentOn starts the agent with its store on a file system of its own of
// the given size, which only the agent's process sees.
func (s *substation) startAgentOn(size string) {
	s.t.Helper()
	program, err := filepath.Abs("../bin/lvagent")
	if err != nil {
		s.t.Fatal(err)
	}
	store := filepath.Join(filepath.Dir(s.file), "store")
	if err := os.MkdirAll(store, 0o700); err != nil {
		s.t.Fatal(err)
	}
	script := fmt.Sprintf("mount -t tmpfs -o size=%s tmpfs %q && exec %q run --config %q", size, store, program, s.file)
	if s.agent, err = bench.StartAgent(&s.log, "unshare", "--mount", "--map-root-user", "sh", "-c", script); err != nil {
		s.t.Fatal(err)
	}
}

// retained returns the latest alarms that the agent retains for a way.
func (s *substation) alarmState(way string) (body []byte) {
	s.do(func() { body = s.states["up/alarmstate/"+way] })
	return body
}

// permitted is the value of the first group's register of a way.
func (s *substation) permitted(way string) uint16 {
	for i, g := range s.world.Groups {
		if s.world.Ways[g.Way].ID == way {
			return s.meters.Percent()[i]
		}
	}
	s.t.Fatalf("way %s has no group", way)
	return 0
}

// R2, R7: with a full disk the agent measures and curtails on, says so, raises
// no limit that it could not store, and loses nothing once there is room again.
func TestFullDisk(t *testing.T) {
	s := newSubstation(t)
	s.do(func() { s.beats = true })
	s.startAgentOn("1m")
	began := time.Now()
	eventually(t, "a first record of each way", 40*time.Second, func() bool { return s.every(began) })
	limit := func(amps *float64) {
		s.do(func() {
			if _, err := s.centre.Limit(time.Now(), bench.Limit{Way: "W1", Amps: amps, Duration: 10 * time.Minute}); err != nil {
				t.Error(err)
			}
		})
	}
	limit(nil)
	eventually(t, "the limits of W1 at the rating", 20*time.Second, func() bool { return s.permitted("W1") == 100 })

	filler := fmt.Sprintf("/proc/%d/root%s/filler", s.agent.PID(), filepath.Join(filepath.Dir(s.file), "store"))
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 512))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	none := 0.0
	limit(&none)
	eventually(t, "a limit of 0 A on W1 with the disk full", 5*time.Second, func() bool { return s.permitted("W1") == 0 })
	limit(nil)
	eventually(t, "the alarm STORE_FAILING", 20*time.Second, func() bool {
		return bytes.Contains(s.alarmState("_site"), []byte("_site.STORE_FAILING"))
	})
	if got := s.permitted("W1"); got != 0 {
		t.Errorf("W1 is permitted %d %% although the state that allows it could not be stored", got)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	eventually(t, "the limits of W1 at the rating again", 30*time.Second, func() bool { return s.permitted("W1") == 100 })
	eventually(t, "records of each way", time.Minute, func() bool { return s.every(back) })
	eventually(t, "the end of STORE_FAILING", 10*time.Second, func() bool {
		return !bytes.Contains(s.alarmState("_site"), []byte("_site.STORE_FAILING"))
	})
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.complete()
}

// A GPIO chip that is not there, and two agents on one store: the first is an
// alarm and nothing else, the second agent does not start.
func TestWhatIsMissingOrTaken(t *testing.T) {
	s := newSubstation(t)
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	const group = "groups:\n    - {id: GX, way: W1, phases: [L1], rating_a: 32, output: {kind: gpio, line: \"gpiochip99:1\"}}\n"
	edited := strings.Replace(string(text), "groups:\n", group, 1)
	if err := os.WriteFile(s.file, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	s.do(func() { s.beats = true })
	s.startAgent()
	began := time.Now()
	eventually(t, "the alarm of the missing chip", 20*time.Second, func() bool {
		return bytes.Contains(s.alarmState("W1"), []byte("W1.GX.ACTUATOR_UNREACHED"))
	})
	first := s.agent
	s.startAgent()
	<-s.agent.Done()
	if last := strings.Join(s.agent.Tail(), "\n"); !strings.Contains(last, "is another agent running?") {
		t.Errorf("the second agent says:\n%s", last)
	}
	s.agent = first
	eventually(t, "records of each way all the same", 40*time.Second, func() bool { return s.every(began) })
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.complete()
}

// An alarm neither ends nor begins anew because its meter falls silent, and the
// other ways do not notice.
func TestAMeterGoesMuteInMidAlarm(t *testing.T) {
	const id = "W5.L3.i.hi"
	s := newSubstation(t)
	s.do(func() { s.beats, s.share = true, 0.6 }) // W5 is above its threshold then
	s.startAgent()
	active := func() bool { return bytes.Contains(s.alarmState("W5"), []byte(id)) }
	eventually(t, "the alarm of W5", 30*time.Second, active)
	if err := s.meters.Break("W5", metertest.Fault{Kind: metertest.Mute}); err != nil {
		t.Fatal(err)
	}
	mute := time.Now()
	eventually(t, "records of each way with the meter mute", time.Minute, func() bool { return s.every(mute.Add(10 * time.Second)) })
	if !active() {
		t.Error("the alarm ended with its meter")
	}
	s.do(func() { s.share = 0.1 })
	if err := s.meters.Break("W5", metertest.Fault{}); err != nil {
		t.Fatal(err)
	}
	// A meter that was silent three times is asked again after half a minute.
	eventually(t, "the end of the alarm", time.Minute, func() bool { return !active() })
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.complete()
	s.do(func() {
		if got := fmt.Sprint(s.edges[id]); got != "[raise clear]" {
			t.Errorf("edges of %s = %s, want one of each", id, got)
		}
	})
}

// A register that confirms what it does not take is load that nobody controls:
// an alarm, until it obeys.
func TestARegisterThatDoesNotTakeTheValue(t *testing.T) {
	s := newSubstation(t)
	s.do(func() { s.beats = true })
	if err := s.meters.Break("W1", metertest.Fault{Kind: metertest.Stuck}); err != nil {
		t.Fatal(err)
	}
	s.startAgent()
	disobeys := func() bool { return bytes.Contains(s.alarmState("W1"), []byte("ACTUATOR_PERMISSIVE")) }
	eventually(t, "the alarm of W1", 20*time.Second, disobeys)
	if got := s.permitted("W1"); got != 100 {
		t.Errorf("the stuck register holds %d", got)
	}
	if err := s.meters.Break("W1", metertest.Fault{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the failsafe limit on W1", 40*time.Second, func() bool { return s.permitted("W1") < 100 })
	eventually(t, "the end of the alarm", 20*time.Second, func() bool { return !disobeys() })
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.complete()
}
