//go:build integration

package hwtest

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"lvagent/dnp3/dnp3test"
	"lvagent/hwtest/bench"
	"lvagent/meter/metertest"
)

// dnp3Rig is a substation with the real agent, a broker, and a port for masters.
type dnp3Rig struct {
	t       *testing.T
	address string
	meters  *bench.Meters
	world   *bench.World
	agent   *bench.Agent
	file    string
	log     bytes.Buffer

	mu    sync.Mutex
	heard map[string][]json.RawMessage
}

func newDNP3Rig(t *testing.T) *dnp3Rig {
	t.Helper()
	r := &dnp3Rig{t: t, world: bench.NewWorld(1), heard: map[string][]json.RawMessage{}}
	var err error
	if r.meters, err = bench.StartMeters(r.world); err != nil {
		t.Fatal(err)
	}
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	centre, err := bench.JoinCentre(broker.Addr(), "bench-1", "scada-1")
	if err != nil {
		t.Fatal(err)
	}
	if r.address, err = freePort(); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	site := bench.Site{
		Agent: "bench-1", Store: filepath.Join(folder, "store"), Meters: r.meters.URL(), Broker: broker.Addr(), Issuer: "scada-1",
		Window: 10 * time.Second, DNP3: r.address,
		Timers: bench.Timers{HeartbeatPeriod: time.Second, HeartbeatTimeout: 4 * time.Second, Stable: 2 * time.Second,
			Init: 6 * time.Second, RestorePeriod: 4 * time.Second, BackoffMax: time.Second},
	}
	text, err := site.File(r.world)
	if err != nil {
		t.Fatal(err)
	}
	r.file = filepath.Join(folder, "site.yaml")
	if err := os.WriteFile(r.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case m := <-centre.Heard():
				r.mu.Lock()
				r.heard[m.Topic] = append(r.heard[m.Topic], m.Payload)
				r.mu.Unlock()
			case <-tick.C:
				r.meters.Step(r.meters.Now(), 0.4)
			}
		}
	}()
	r.start()
	t.Cleanup(func() {
		if _, err := r.agent.Stop(20 * time.Second); err != nil {
			t.Errorf("%v\n%s", err, r.log.String())
		}
		close(quit)
		<-done
		centre.Close()
		broker.Close()
		r.meters.Close()
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

func (r *dnp3Rig) start() {
	r.t.Helper()
	program, err := built()
	if err != nil {
		r.t.Fatal(err)
	}
	if r.agent, err = bench.StartAgent(&r.log, program, "run", "--config", r.file); err != nil {
		r.t.Fatal(err)
	}
}

// join connects the master; the agent may need a moment to listen.
func (r *dnp3Rig) join() (m *dnp3test.Master) {
	r.t.Helper()
	eventually(r.t, "the outstation takes a master", 20*time.Second, func() (ok bool) {
		var err error
		m, err = dnp3test.Dial(r.address, dnp3test.Config{Address: 1, Outstation: 1024})
		return err == nil
	})
	r.t.Cleanup(func() { m.Close() })
	return m
}

// read is the state of every point: by group and index.
func (r *dnp3Rig) read(m *dnp3test.Master) map[[2]int]dnp3test.Object {
	r.t.Helper()
	resp, err := m.IntegrityPoll()
	if err != nil {
		r.t.Fatal(err)
	}
	points := map[[2]int]dnp3test.Object{}
	for _, o := range resp.Objects {
		if !o.IsEvent() {
			points[[2]int{int(o.Group), int(o.Index)}] = o
		}
	}
	return points
}

const (
	online = 0x01
	lost   = 0x04
)

// A master reads the same figures that MQTT has, with flags that say what they
// are worth, holds a group with a setpoint that reaches the register of the
// charger once, and is the centre whose silence means failsafe.
func TestOneSubstationOnDNP3(t *testing.T) {
	r := newDNP3Rig(t)
	m := r.join()
	eventually(t, "W3's voltage is online", 20*time.Second, func() bool {
		v := r.read(m)[[2]int{30, 150}]
		return v.Flags&online != 0 && math.Abs(v.Value-240) < 30
	})
	points := r.read(m)
	if n := len(points); n < 1000 {
		t.Errorf("an integrity poll has %d points", n)
	}
	if v := points[[2]int{30, 600}]; v.Flags&online != 0 {
		t.Errorf("way 12, which is not there, is online: %v", v)
	}
	if v := points[[2]int{30, 903}]; v.Value != 1 {
		t.Errorf("version of the list: %v", v)
	}

	// The bench's own master reads it, on a connection that takes over.
	var polled bytes.Buffer
	if err := Poll(t.Context(), PollConfig{Connect: r.address, Master: 1, Outstation: 1024}, &polled); err != nil || !bytes.Contains(polled.Bytes(), []byte("group 30: 573 points")) {
		t.Errorf("polled: %v\n%s", err, polled.String())
	}
	m = r.join()

	// The same half-hour on both.
	var events []dnp3test.Object
	eventually(t, "a half-hour of W3 on MQTT and as an event with the period's end", 40*time.Second, func() bool {
		resp, err := m.EventPoll()
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, resp.Events()...)
		for _, e := range events {
			if e.Group == 32 && e.Index == 155 && r.hasPeriod("up/hh/W3", time.UnixMilli(e.Time), e.Value) {
				return true
			}
		}
		return false
	})

	// Nobody has spoken: failsafe. Heartbeats and a limit of the master end it.
	if p := r.read(m)[[2]int{1, 71}]; p.Value != 1 {
		t.Errorf("W3 in failsafe: %v", p)
	}
	before := r.writes()
	beat := float32(0)
	eventually(t, "the limit of 10 A is in force and read back", 40*time.Second, func() bool {
		beat++
		if s, err := m.DirectOperate(dnp3test.Setpoint(40, beat)); err != nil || s[0] != 0 {
			t.Fatal(s, err)
		}
		if beat == 3 {
			if s, err := m.SelectOperate(dnp3test.Setpoint(12, 10)); err != nil || s[0] != 0 {
				t.Fatal(s, err)
			}
			for slot := uint16(1); slot <= 11; slot++ {
				if slot != 6 {
					if s, err := m.DirectOperate(dnp3test.Setpoint(slot*2, 9999)); err != nil || s[0] != 0 {
						t.Fatal(slot, s, err)
					}
				}
			}
		}
		time.Sleep(500 * time.Millisecond)
		p := r.read(m)
		return p[[2]int{30, 760}].Value == 10 && math.Abs(p[[2]int{30, 761}].Value-10) < 1 && (p[[2]int{30, 193}].Value == 2 || p[[2]int{30, 193}].Value == 3)
	})
	if after := r.writes(); after == before {
		t.Error("nothing was written to a charger")
	}
	if p := r.read(m)[[2]int{20, 200}]; p.Value != 11 {
		t.Errorf("commands that acted: %v, want 11", p)
	}
	for _, tt := range []struct {
		what    string
		command []byte
		want    uint8
	}{
		{"a group that is not there", dnp3test.Setpoint(32, 10), 4}, {"a limit below 0", dnp3test.Setpoint(2, -1), 12},
		{"a pulse", dnp3test.Relay(4, dnp3test.PulseOn), 4}, {"a point that is not there", dnp3test.Setpoint(999, 1), 4},
	} {
		if s, err := m.DirectOperate(tt.command); err != nil || s[0] != tt.want {
			t.Errorf("%s: status %v, %v, want %d", tt.what, s, err, tt.want)
		}
	}

	// Held off, and given back.
	if s, err := m.SelectOperate(dnp3test.Relay(24, dnp3test.LatchOn)); err != nil || s[0] != 0 {
		t.Fatal(s, err)
	}
	eventually(t, "group 6 is held off", 10*time.Second, func() bool {
		beat++
		m.DirectOperate(dnp3test.Setpoint(40, beat))
		p := r.read(m)
		return p[[2]int{30, 760}].Value == 0 && p[[2]int{10, 24}].Value == 1
	})
	if s, err := m.SelectOperate(dnp3test.Relay(24, dnp3test.LatchOff)); err != nil || s[0] != 0 {
		t.Fatal(s, err)
	}

	// The master polls on and says no more that it lives: that is silence.
	eventually(t, "W3 is in failsafe although the master polls", 20*time.Second, func() bool {
		return r.read(m)[[2]int{1, 71}].Value == 1
	})

	// Events outlive a kill of the agent, and the master is told that the last may be
	// missing.
	m.Close()
	if err := r.meters.Break("W3", metertest.Fault{Kind: metertest.Mute}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(6 * time.Second) // the meter is given up, and KeepSoon
	if err := syscall.Kill(r.agent.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-r.agent.Done()
	r.start()
	m = r.join()
	resp, err := m.WaitUnsolicited(10 * time.Second) // the first, without events
	if err != nil || resp.IIN&dnp3test.IINRestart == 0 || resp.IIN&dnp3test.IINOverflow == 0 {
		t.Errorf("after a kill: IIN %#x, %v; want the restart, and that events may be missing", resp.IIN, err)
	}
	if resp, err = m.EventPoll(); err != nil {
		t.Fatal(err)
	}
	lostEvent := false
	for _, e := range resp.Events() {
		lostEvent = lostEvent || e.Group == 2 && e.Index == 70 && e.Value == 1
	}
	if !lostEvent {
		t.Errorf("after a kill: events %v", resp.Events())
	}
	// W3's charge points share its line: their alarm is on both, with one time.
	alarms := resp.Events()
	eventually(t, "an alarm on MQTT has its event's index and time", 20*time.Second, func() bool {
		resp, err := m.EventPoll()
		if err != nil {
			t.Fatal(err)
		}
		alarms = append(alarms, resp.Events()...)
		return r.onBoth("up/alarm/W3", alarms)
	})
	eventually(t, "W3's voltage is lost, not 0", 20*time.Second, func() bool {
		v := r.read(m)[[2]int{30, 150}]
		return v.Flags&online == 0 && v.Flags&lost != 0
	})
}

// hasPeriod says whether MQTT has a record of a way that ends at end with an rms
// current.
func (r *dnp3Rig) hasPeriod(topic string, end time.Time, rms float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.heard[topic] {
		var h struct {
			End time.Time
			L1  *struct{ I struct{ RMS float64 } }
		}
		if json.Unmarshal(body, &h) == nil && h.L1 != nil && h.End.Equal(end) && math.Abs(h.L1.I.RMS-rms) < 0.06 {
			return true
		}
	}
	return false
}

// onBoth says whether an alarm of a topic is among events: its point, and its time to
// the millisecond.
func (r *dnp3Rig) onBoth(topic string, events []dnp3test.Object) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.heard[topic] {
		var a struct {
			T     time.Time
			Edge  string
			Point *uint16
		}
		if json.Unmarshal(body, &a) != nil || a.Point == nil || a.Edge != "raise" {
			continue
		}
		for _, e := range events {
			if e.Group == 2 && uint16(e.Index) == *a.Point && e.Value == 1 && e.Time == a.T.UnixMilli() {
				return true
			}
		}
	}
	return false
}

func (r *dnp3Rig) writes() int { return len(r.meters.Trace()) }
