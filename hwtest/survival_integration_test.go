//go:build integration

package hwtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvagent/hwtest/bench"
)

// mosquitto is a real broker on a port that stays the same over restarts.
type mosquitto struct {
	t    *testing.T
	conf string
	addr string
	cmd  *exec.Cmd
}

func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	m := &mosquitto{t: t, addr: fmt.Sprintf("127.0.0.1:%d", port), conf: filepath.Join(t.TempDir(), "mosquitto.conf")}
	// Without a bound on what is under way, all that the broker acknowledged is
	// in the consumer's socket, even when the broker is killed.
	conf := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nmax_inflight_messages 0\nmax_queued_messages 0\nlog_type error\n", port)
	if err := os.WriteFile(m.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto"
	}
	m.cmd = exec.Command(program, "-c", m.conf)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatalf("start mosquitto: %v", err)
	}
	eventually(m.t, "mosquitto listens", 10*time.Second, func() bool {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (m *mosquitto) kill() {
	if m.cmd != nil {
		m.cmd.Process.Kill()
		m.cmd.Wait() // killed: its status says nothing
		m.cmd = nil
	}
}

// eventually waits for a condition, and fails the test when it does not come.
func eventually(t *testing.T, what string, within time.Duration, is func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !is(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// substation is a simulated substation with the real agent, a consumer at the
// far side of a real broker, and the means to break each of them.
type substation struct {
	t      *testing.T
	broker *mosquitto
	link   *bench.Link
	centre *bench.Centre
	world  *bench.World
	meters *bench.Meters
	agent  *bench.Agent
	ledger *bench.Ledger
	file   string
	log    bytes.Buffer
	beats  bool
	quit   chan struct{}
	done   chan struct{}
	joined chan *bench.Centre
	counts chan func()
	states map[string][]byte   // retained, by topic
	edges  map[string][]string // of each alarm, in order
	share  float64             // of the evening
	seen   evidence
}

func newSubstation(t *testing.T) *substation {
	t.Helper()
	s := &substation{t: t, broker: newMosquitto(t), world: bench.NewWorld(1), ledger: bench.NewLedger(),
		quit: make(chan struct{}), done: make(chan struct{}), joined: make(chan *bench.Centre), counts: make(chan func()), states: map[string][]byte{}, edges: map[string][]string{}, share: 0.4}
	var err error
	if s.meters, err = bench.StartMeters(s.world); err != nil {
		t.Fatal(err)
	}
	if s.link, err = bench.NewLink(s.broker.addr); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	site := bench.Site{
		Agent: "bench-1", Store: filepath.Join(folder, "store"), Meters: s.meters.URL(), Broker: s.link.Addr(),
		Issuer: "scada-1", Window: 10 * time.Second, Digest: digestOf,
		Timers: bench.Timers{HeartbeatPeriod: time.Second, HeartbeatTimeout: 4 * time.Second, Stable: 3 * time.Second,
			Init: 6 * time.Second, RestorePeriod: 4 * time.Second, BackoffMax: time.Second},
	}
	text, err := site.File(s.world)
	if err != nil {
		t.Fatal(err)
	}
	s.file = filepath.Join(folder, "site.yaml")
	if err := os.WriteFile(s.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.join()
	go s.live()
	t.Cleanup(func() {
		close(s.quit)
		<-s.done
		s.link.Close()
		s.meters.Close()
		if t.Failed() {
			t.Logf("the agent's log:\n%s", s.log.String())
		}
	})
	return s
}

// live keeps the substation and the centre going, and enters what arrives.
func (s *substation) live() {
	defer close(s.done)
	began := time.Now()
	step := time.NewTicker(100 * time.Millisecond)
	beat := time.NewTicker(time.Second)
	defer step.Stop()
	defer beat.Stop()
	centre := <-s.joined
	for {
		var heard <-chan bench.Message
		if centre != nil {
			heard = centre.Heard()
		}
		select {
		case <-s.quit:
			if centre != nil {
				centre.Close()
			}
			return
		case c := <-s.joined:
			centre = c
		case f := <-s.counts:
			f()
		case <-step.C:
			s.meters.Step(time.Since(began), s.share)
		case now := <-beat.C:
			if centre != nil && s.beats {
				centre.Heartbeat(now) // a broken link is what the test is about
			}
		case m := <-heard:
			if strings.HasPrefix(m.Topic, "up/alarmstate/") {
				s.states[m.Topic] = m.Payload
			}
			if strings.HasPrefix(m.Topic, "up/hh/") || strings.HasPrefix(m.Topic, "up/hist/") || strings.HasPrefix(m.Topic, "up/alarm/") ||
				m.Topic == "up/ack" || m.Topic == "up/gap" || m.Topic == "up/audit" || m.Topic == "up/digest" || strings.HasPrefix(m.Topic, "up/live/") {
				s.seen.note(m.Topic, m.Payload)
				entries, err := s.ledger.Add(m.Payload)
				if err != nil {
					s.t.Errorf("%s: %v: %s", m.Topic, err, m.Payload)
				}
				for _, e := range entries {
					if e.New && e.Edge != "" {
						s.edges[e.ID] = append(s.edges[e.ID], e.Edge)
					}
				}
			}
		}
	}
}

// do runs f on the goroutine that owns ledger and centre.
func (s *substation) do(f func()) {
	ran := make(chan struct{})
	s.counts <- func() { f(); close(ran) }
	<-ran
}

func (s *substation) join() {
	s.t.Helper()
	c, err := bench.JoinCentre(s.broker.addr, "bench-1", "scada-1")
	if err != nil {
		s.t.Fatal(err)
	}
	s.centre = c
	go func() { s.joined <- c }()
}

// built returns the agent's program that make build made of this tree.
func built() (string, error) { return filepath.Abs("../bin/lvagent") }

func (s *substation) startAgent() {
	s.t.Helper()
	program, err := built()
	if err != nil {
		s.t.Fatal(err)
	}
	if s.agent, err = bench.StartAgent(&s.log, program, "run", "--config", s.file); err != nil {
		s.t.Fatalf("%v; make build makes it", err)
	}
}

func (s *substation) killAgent() {
	s.t.Helper()
	if err := syscall.Kill(s.agent.PID(), syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	<-s.agent.Done()
}

// every reports whether each way's records reach to the time end.
func (s *substation) every(end time.Time) (all bool) {
	s.do(func() {
		all = true
		for _, w := range s.world.Ways {
			all = all && !s.ledger.LastEnd(w.ID).Before(end)
		}
	})
	return all
}

func (s *substation) complete() {
	s.t.Helper()
	s.do(func() {
		lost, explained := s.ledger.Lost()
		if lost != 0 || explained != 0 || s.ledger.Disorder != 0 || s.ledger.Conflicts != 0 || s.ledger.Holes() != 0 || s.ledger.Garbled != 0 {
			s.t.Errorf("lost %d (explained %d), out of order %d, same number with other content %d, periods missing %d, unreadable %d; want none",
				lost, explained, s.ledger.Disorder, s.ledger.Conflicts, s.ledger.Holes(), s.ledger.Garbled)
		}
		s.t.Logf("%d records of which %d half-hours, %d again", s.ledger.Records, s.ledger.HalfHours, s.ledger.Duplicates)
	})
}

// R2: no record is lost, none overtakes another of its stream, and none is
// changed, while the broker is killed and away, and the agent is killed while it
// is away.
func TestNothingIsLostInAnOutage(t *testing.T) {
	s := newSubstation(t)
	s.do(func() { s.beats = true })
	s.startAgent()
	began := time.Now()
	eventually(t, "a first record of each way", 40*time.Second, func() bool { return s.every(began) })
	s.do(func() {
		if _, err := s.centre.Limit(time.Now(), bench.Limit{Way: "W1"}); err != nil {
			t.Fatal(err)
		}
	})

	s.broker.kill()
	s.link.Cut() // the agent comes back after the consumer, so that all can be counted
	away := time.Now()
	eventually(t, "an outage of a period and more", time.Minute, func() bool { return time.Since(away) > 13*time.Second })
	s.killAgent()
	s.startAgent()
	eventually(t, "another period of outage", time.Minute, func() bool { return time.Since(away) > 26*time.Second })
	back := time.Now()
	s.broker.start()
	s.join()
	if err := s.link.Restore(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "records of each way after the outage", time.Minute, func() bool { return s.every(back) })
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.complete()
}

// R2: killed at any moment, the agent loses no record, gives no number twice and
// keeps the order of each stream.
func TestNothingIsLostIn200Kills(t *testing.T) {
	const rounds = 200
	s := newSubstation(t)
	dice := rand.New(rand.NewPCG(1, 2))
	sent := 0
	ask := func() {
		s.do(func() {
			if err := s.centre.Birth(time.Now()); err != nil {
				t.Error(err)
			}
		})
		sent++
	}
	for range rounds {
		s.startAgent()
		for end := time.Now().Add(time.Duration(50+dice.IntN(450)) * time.Millisecond); time.Now().Before(end); {
			ask() // each is answered with a record
			time.Sleep(time.Duration(dice.IntN(20)) * time.Millisecond)
		}
		s.killAgent()
	}
	s.startAgent()
	now := time.Now()
	eventually(t, "records of each way after the last start", 40*time.Second, func() bool { return s.every(now) })
	s.repeats("hh/W1")
	s.repeats("ack")
	s.digests()
	if _, err := s.agent.Stop(10 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
	s.complete()
	t.Logf("%d rounds, %d requests", rounds, sent)
	s.do(func() {
		if s.ledger.Records < rounds {
			t.Errorf("only %d records in %d rounds: no load", s.ledger.Records, rounds)
		}
	})
}
