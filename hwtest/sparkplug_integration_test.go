//go:build integration

package hwtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"lvagent/hwtest/bench"
)

// spoken is one message as the broker passed it on.
type spoken struct {
	Topic    string `json:"topic"`
	Payload  []byte `json:"payload"`
	retained bool
}

func (s *spoken) kind() string { return strings.Split(s.Topic, "/")[2] }

// metric is one metric as the other implementation understands it.
type metric struct {
	Name       string
	Type       string
	Value      any
	Timestamp  *int64
	Historical bool
	Null       bool
	Bare       bool // without a datatype of its own
	Quality    *int
}

type decoded struct {
	Topic   string
	Payload struct {
		Timestamp *int64
		Seq       *int64
		Metrics   []metric
	}
}

func (d *decoded) kind() string { return strings.Split(d.Topic, "/")[2] }

// device returns the device of a message; empty is the node.
func (d *decoded) device() string { return strings.Join(strings.Split(d.Topic, "/")[4:], "") }

func (d *decoded) find(name string) *metric {
	for i := range d.Payload.Metrics {
		if d.Payload.Metrics[i].Name == name {
			return &d.Payload.Metrics[i]
		}
	}
	return nil
}

// spark is a Sparkplug host application: it listens to everything, and reads and
// writes with an implementation that is not ours.
type spark struct {
	t      *testing.T
	folder string
	client mqtt.Client
	mu     sync.Mutex
	all    []spoken
}

func newSpark(t *testing.T, broker string) *spark {
	t.Helper()
	s := &spark{t: t, folder: t.TempDir()}
	for _, name := range []string{"package.json", "package-lock.json", "judge.js"} {
		text, err := os.ReadFile(filepath.Join("testdata", "sparkplug", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = s.folder
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v; .ci/install npm brings it\n%s", err, out)
	}
	s.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker).SetClientID("host").
		SetProtocolVersion(4).SetAutoReconnect(false).SetOrderMatters(true))
	s.wait(s.client.Connect())
	s.wait(s.client.Subscribe("spBv1.0/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		s.mu.Lock()
		s.all = append(s.all, spoken{m.Topic(), bytes.Clone(m.Payload()), m.Retained()})
		s.mu.Unlock()
	}))
	t.Cleanup(func() { s.client.Disconnect(100) })
	return s
}

func (s *spark) wait(token mqtt.Token) {
	s.t.Helper()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		s.t.Fatalf("broker: %v", token.Error())
	}
}

// judge runs the other implementation over lines.
func (s *spark) judge(what string, lines []byte) [][]byte {
	s.t.Helper()
	c := exec.Command("node", "judge.js", what)
	c.Dir, c.Stdin = s.folder, bytes.NewReader(lines)
	var errors bytes.Buffer
	c.Stderr = &errors
	out, err := c.Output()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", what, err, errors.String())
	}
	return bytes.Split(bytes.TrimSpace(out), []byte("\n"))
}

// heard returns what the agent said from the message numbered from on.
func (s *spark) heard(from int) []decoded {
	s.t.Helper()
	s.mu.Lock()
	all := append([]spoken(nil), s.all...)
	s.mu.Unlock()
	var lines bytes.Buffer
	for i := range all {
		m := &all[i]
		if strings.HasPrefix(m.Topic, "spBv1.0/STATE/") || strings.HasSuffix(m.kind(), "CMD") {
			continue
		}
		if m.retained {
			s.t.Errorf("%s is retained", m.Topic)
		}
		if err := json.NewEncoder(&lines).Encode(m); err != nil {
			s.t.Fatal(err)
		}
	}
	if lines.Len() == 0 {
		return nil
	}
	var list []decoded
	for _, line := range s.judge("decode", lines.Bytes()) {
		var d decoded
		if err := json.Unmarshal(line, &d); err != nil {
			s.t.Fatalf("%v: %s", err, line)
		}
		list = append(list, d)
	}
	return list[min(from, len(list)):]
}

// count returns how many messages of a kind came.
func (s *spark) count(kind string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.all {
		if s.all[i].kind() == kind {
			n++
		}
	}
	return n
}

// encode makes payloads, each with a timestamp and one metric.
func (s *spark) encode(metrics ...map[string]any) (payloads [][]byte) {
	s.t.Helper()
	var lines bytes.Buffer
	for _, m := range metrics {
		now := time.Now().UnixMilli()
		m["timestamp"] = now
		if err := json.NewEncoder(&lines).Encode(map[string]any{"timestamp": now, "seq": 0, "metrics": []any{m}}); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, line := range s.judge("encode", lines.Bytes()) {
		b, err := base64.StdEncoding.DecodeString(string(line))
		if err != nil {
			s.t.Fatal(err)
		}
		payloads = append(payloads, b)
	}
	return payloads
}

func (s *spark) order(topic, name, kind string, value any) {
	s.t.Helper()
	s.wait(s.client.Publish("spBv1.0/EPN/"+topic, 1, false, s.encode(map[string]any{"name": name, "type": kind, "value": value})[0]))
}

func (s *spark) state(online bool) {
	s.t.Helper()
	s.wait(s.client.Publish("spBv1.0/STATE/scada", 1, true, fmt.Appendf(nil, `{"online":%v,"timestamp":%d}`, online, time.Now().UnixMilli())))
}

// beat sends the host's heartbeat counter once a second until the test ends.
func (s *spark) beat(n int) {
	s.t.Helper()
	beats := make([]map[string]any, n)
	for i := range beats {
		beats[i] = map[string]any{"name": "Heartbeat", "type": "UInt64", "value": i + 1}
	}
	payloads := s.encode(beats...)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for _, p := range payloads {
			s.client.Publish("spBv1.0/EPN/NCMD/bench-1", 1, false, p)
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	s.t.Cleanup(func() { close(quit); <-done })
}

// verify holds the duties of an edge node over all that was heard, and returns
// the numbers of the half-hours by way.
func (s *spark) verify(all []decoded, devices int) map[string]map[int64]bool {
	s.t.Helper()
	seq, bdSeq, born, alive := int64(0), int64(-1), 0, false
	declared := map[string]string{}
	halfHours := map[string]map[int64]bool{}
	for i := range all {
		m := &all[i]
		kind := m.kind()
		switch kind {
		case "NDEATH":
			bd := m.find("bdSeq")
			if len(m.Payload.Metrics) != 1 || bd == nil || m.Payload.Seq != nil || bd.Value != float64(bdSeq) || !alive {
				s.t.Errorf("NDEATH %+v, want bdSeq %d alone, once for each birth", m.Payload, bdSeq)
			}
			alive, born = false, 0
			continue
		case "NBIRTH":
			bd := m.find("bdSeq")
			if bd == nil || bd.Type != "Int64" {
				s.t.Fatalf("NBIRTH without bdSeq: %+v", m.Payload)
			}
			now := int64(bd.Value.(float64))
			if alive && now != bdSeq || !alive && bdSeq >= 0 && now != (bdSeq+1)%256 {
				s.t.Errorf("NBIRTH with bdSeq %d after %d, alive %v", now, bdSeq, alive)
			}
			if r := m.find("Node Control/Rebirth"); r == nil || r.Value != false {
				s.t.Errorf("Node Control/Rebirth is %+v", r)
			}
			bdSeq, alive, born, seq = now, true, 0, -1
			declared = map[string]string{}
		case "DBIRTH":
			born++
		case "NDATA", "DDATA":
			if born != devices {
				s.t.Errorf("%s after %d device births, want %d", kind, born, devices)
			}
		default:
			s.t.Errorf("unexpected %s", m.Topic)
			continue
		}
		if !alive || m.Payload.Seq == nil || *m.Payload.Seq != (seq+1)%256 || m.Payload.Timestamp == nil {
			s.t.Fatalf("%s: alive %v, seq %v after %d, timestamp %v", m.Topic, alive, m.Payload.Seq, seq, m.Payload.Timestamp)
		}
		seq = *m.Payload.Seq
		for _, x := range m.Payload.Metrics {
			key := m.device() + ":" + x.Name
			birth := strings.HasSuffix(kind, "BIRTH")
			if birth {
				declared[key] = x.Type
			}
			if declared[key] == "" || x.Bare == birth || x.Timestamp == nil {
				s.t.Errorf("%s %s: declared %q, datatype absent %v, timestamp %v", kind, key, declared[key], x.Bare, x.Timestamp)
			}
			if own := x.Name == "bdSeq" || x.Name == "Node Control/Rebirth"; !own && (x.Quality == nil || *x.Quality != 0 && *x.Quality != 192 && *x.Quality != 500) {
				s.t.Errorf("%s %s has quality %v", kind, key, x.Quality)
			}
		}
		if n := m.find("HalfHour/Number"); n != nil && !n.Null && kind == "DDATA" {
			if halfHours[m.device()] == nil {
				halfHours[m.device()] = map[int64]bool{}
			}
			halfHours[m.device()][int64(n.Value.(float64))] = true
			end := time.UnixMilli(*n.Timestamp)
			if late := time.UnixMilli(*m.Payload.Timestamp).Sub(end) > 2*time.Minute; late != n.Historical {
				s.t.Errorf("half-hour of %s sent at %d: historical %v, want %v", end, *m.Payload.Timestamp, n.Historical, late)
			}
		}
	}
	return halfHours
}

// sparkSite is a simulated substation whose agent speaks Sparkplug.
type sparkSite struct {
	t     *testing.T
	world *bench.World
	file  string
	log   bytes.Buffer
}

func newSparkSite(t *testing.T, broker, settings string) *sparkSite {
	t.Helper()
	s := &sparkSite{t: t, world: bench.NewWorld(1)}
	meters, err := bench.StartMeters(s.world)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { meters.Close() })
	folder := t.TempDir()
	site := bench.Site{
		Agent: "bench-1", Store: filepath.Join(folder, "store"), Meters: meters.URL(), Broker: broker,
		Issuer: "scada-1", Window: 10 * time.Second,
		Timers: bench.Timers{HeartbeatPeriod: time.Second, HeartbeatTimeout: 4 * time.Second, Stable: 3 * time.Second,
			Init: 6 * time.Second, RestorePeriod: 4 * time.Second, BackoffMax: time.Second},
	}
	text, err := site.File(s.world)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("payload: json"), []byte(settings), 1)
	s.file = filepath.Join(folder, "site.yaml")
	if err := os.WriteFile(s.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		step := time.NewTicker(100 * time.Millisecond)
		defer step.Stop()
		for {
			select {
			case <-quit:
				return
			case <-step.C:
				meters.Step(time.Since(began), 0.4)
			}
		}
	}()
	t.Cleanup(func() {
		close(quit)
		<-done
		if t.Failed() {
			t.Logf("the agent's log:\n%s", s.log.String())
		}
	})
	return s
}

// devices is how many the agent declares: the ways, and the transformer.
func (s *sparkSite) devices() int { return len(s.world.Ways) + 1 }

func (s *sparkSite) start() *bench.Agent {
	s.t.Helper()
	program, err := filepath.Abs("../bin/lvagent")
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := bench.StartAgent(&s.log, program, "run", "--config", s.file)
	if err != nil {
		s.t.Fatalf("%v; make build makes it", err)
	}
	s.t.Cleanup(func() { a.Stop(10 * time.Second) }) // it may have ended
	return a
}

func kill(t *testing.T, a *bench.Agent) {
	t.Helper()
	if err := syscall.Kill(a.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-a.Done()
}

// TestSparkplugByAnotherImplementation runs the agent against a real broker, with
// a primary host, through commands, a rebirth, a kill, a host that goes away for
// longer than records are on time, and an orderly stop. All that it says is read
// by an implementation that is not ours.
func TestSparkplugByAnotherImplementation(t *testing.T) {
	broker := newMosquitto(t)
	s := newSpark(t, broker.addr)
	site := newSparkSite(t, broker.addr, "payload: sparkplug\n    sparkplug: {group_id: EPN, host: scada, issuer: scada-1, heartbeat: 30s}")
	world, devices := site.world, site.devices()

	// Nothing is born before the host is online.
	s.state(false)
	agent := site.start()
	eventually(t, "agent connects", 15*time.Second, func() bool { return strings.Contains(strings.Join(agent.Tail(), "\n"), "broker connected") })
	if n := s.count("NBIRTH"); n != 0 {
		t.Fatalf("%d births before the host is online", n)
	}
	s.state(true)
	s.beat(400)
	eventually(t, "births", 15*time.Second, func() bool { return s.count("DBIRTH") == devices })

	// A setpoint, its echo, and its release.
	group := world.Groups[0]
	way := world.Ways[group.Way].ID
	s.order("DCMD/bench-1/"+way, "Group/"+group.ID+"/Limit", "Float", 13)
	limit := func(is func(float64) bool) func() bool {
		return func() bool {
			all := s.heard(0)
			for i := len(all) - 1; i >= 0; i-- {
				if m := all[i].find("Group/" + group.ID + "/Limit"); all[i].device() == way && m != nil {
					amps, ok := m.Value.(float64)
					return ok && is(amps)
				}
			}
			return false
		}
	}
	eventually(t, "the setpoint is echoed", 60*time.Second, limit(func(a float64) bool { return a == 13 }))
	s.order("DCMD/bench-1/"+way, "Group/"+group.ID+"/Release", "Boolean", true)
	eventually(t, "the setpoint is released", 60*time.Second, limit(func(a float64) bool { return a > 13 }))

	// A rebirth.
	s.order("NCMD/bench-1", "Node Control/Rebirth", "Boolean", true)
	eventually(t, "rebirth", 15*time.Second, func() bool { return s.count("DBIRTH") == 2*devices })

	// A kill: the will says it, and the next birth has the next number.
	kill(t, agent)
	eventually(t, "will", 15*time.Second, func() bool { return s.count("NDEATH") == 1 })
	agent = site.start()
	eventually(t, "births after the kill", 30*time.Second, func() bool { return s.count("DBIRTH") == 3*devices })

	// The host goes away for longer than a half-hour is on time.
	s.state(false)
	eventually(t, "death with the host", 15*time.Second, func() bool { return s.count("NDEATH") == 2 })
	away := len(s.heard(0))
	back := time.Now().Add(130 * time.Second)
	eventually(t, "records grow late", 3*time.Minute, func() bool { return time.Now().After(back) })
	if n := len(s.heard(away)); n != 0 {
		t.Errorf("%d messages while the host is away", n)
	}
	s.state(true)
	eventually(t, "births with the host", 15*time.Second, func() bool { return s.count("DBIRTH") == 4*devices })
	eventually(t, "late half-hours", 60*time.Second, func() bool {
		for _, m := range s.heard(away) {
			if n := m.find("HalfHour/Number"); n != nil && n.Historical && m.kind() == "DDATA" {
				return true
			}
		}
		return false
	})
	now := time.Now()
	eventually(t, "the present half-hours", 60*time.Second, func() bool {
		for _, m := range s.heard(away) {
			if n := m.find("HalfHour/Number"); n != nil && !n.Historical && !n.Null && *n.Timestamp > now.UnixMilli() {
				return true
			}
		}
		return false
	})

	// An orderly stop: the death is the last word, and no will follows.
	if _, err := agent.Stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "death on stop", 15*time.Second, func() bool { return s.count("NDEATH") == 3 })
	all := s.heard(0)
	if last := all[len(all)-1]; last.kind() != "NDEATH" {
		t.Errorf("the last message is %s", last.Topic)
	}
	for device, numbers := range s.verify(all, devices) {
		for n := range int64(len(numbers)) {
			if !numbers[n+1] {
				t.Errorf("%s: half-hour %d of %d never came", device, n+1, len(numbers))
			}
		}
		t.Logf("%s: %d half-hours", device, len(numbers))
	}
	t.Logf("%d messages read by sparkplug-payload", len(all))
}

// TestSparkplugBesideJSON runs both contracts at once: two sessions that do not
// disturb each other, the same half-hours on both, and two wills.
func TestSparkplugBesideJSON(t *testing.T) {
	broker := newMosquitto(t)
	s := newSpark(t, broker.addr)
	var mu sync.Mutex
	proved := map[string]map[int64]bool{}
	last := ""
	s.wait(s.client.Subscribe("lv/v1/bench-1/up/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		// A map, because N is the neutral and n the number.
		var r map[string]any
		if json.Unmarshal(m.Payload(), &r) != nil {
			t.Errorf("%s: not JSON", m.Topic())
		}
		way, _ := r["way"].(string)
		n, _ := r["n"].(float64)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasPrefix(m.Topic(), "lv/v1/bench-1/up/hh/"):
			if proved[way] == nil {
				proved[way] = map[int64]bool{}
			}
			proved[way][int64(n)] = true
		case m.Topic() == "lv/v1/bench-1/up/status":
			last, _ = r["state"].(string)
		}
	}))
	site := newSparkSite(t, broker.addr, "payload: both\n    sparkplug: {group_id: EPN}")
	agent := site.start()
	eventually(t, "three half-hours of each way in JSON", 90*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, w := range site.world.Ways {
			if len(proved[w.ID]) < 3 {
				return false
			}
		}
		return true
	})
	mu.Lock()
	want := map[string][]int64{} // those until now: more come while this decodes
	for way, numbers := range proved {
		want[way] = slices.Sorted(maps.Keys(numbers))
	}
	mu.Unlock()
	eventually(t, "the same in Sparkplug", 30*time.Second, func() bool {
		halfHours := s.verify(s.heard(0), site.devices())
		for way, numbers := range want {
			for _, n := range numbers {
				if !halfHours[way][n] {
					return false
				}
			}
		}
		return true
	})
	if n := s.count("NBIRTH"); n != 1 {
		t.Errorf("%d births, want one: the sessions disturb each other", n)
	}
	kill(t, agent)
	eventually(t, "both wills", 15*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return s.count("NDEATH") == 1 && last == "offline"
	})
	s.verify(s.heard(0), site.devices())
}
