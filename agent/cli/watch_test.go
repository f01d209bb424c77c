package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"lvagent/agent/sparkplug"
	"lvagent/hwtest/bench"
	"lvagent/meter"
)

// screen keeps what a command prints, for tests that look while it runs.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.b.Write(p) }

func (s *screen) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// await waits until the screen shows something.
func (s *screen) await(t *testing.T, what string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !strings.Contains(s.String(), what) {
		select {
		case <-deadline:
			t.Fatalf("%q is never shown:\n%s", what, s.String())
		case <-poll.C:
		}
	}
}

// publisher returns a function that publishes at a broker.
func publisher(t *testing.T, addr string) func(topic, payload string, retain bool) {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("publisher"))
	wait := func(token mqtt.Token) {
		t.Helper()
		if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
			t.Fatalf("publisher: %v", token.Error())
		}
	}
	wait(c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	return func(topic, payload string, retain bool) {
		t.Helper()
		wait(c.Publish(topic, 1, retain, payload))
	}
}

// watching runs lvagent watch until the returned function ends it.
func watching(t *testing.T, args ...string) (out, errs *screen, end func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	out, errs = new(screen), new(screen)
	code := make(chan int, 1)
	go func() { code <- Main(ctx, append([]string{"watch"}, args...), out, errs) }()
	return out, errs, func() int { cancel(); return <-code }
}

func TestWatch(t *testing.T) {
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	publish := publisher(t, broker.Addr())
	publish("lv/v1/E1/up/status", `{"v":1,"agent":"E1","state":"online","version":"1.0","clock":"synced"}`, true)
	publish("lv/v1/E1/up/failsafe", `{"v":1,"agent":"E1","t":"2020-01-01T00:00:00Z","state":"FAILSAFE","ways":{},"override":[]}`, true)
	publish("lv/v1/E2/up/status", `{"v":1,"agent":"E2","state":"online"}`, true)

	out, errs, end := watching(t, "--broker", "tcp://"+broker.Addr(), "--agent", "E1", "--since", "24h")
	out.await(t, "E1 status online, lvagent 1.0, clock synced")
	record := func(n string) string { return `{"g":1,"s":"hh/W1","n":` + n + `,"way":"W1"}` }
	publish("lv/v1/E1/up/hh/W1", record("7"), false)
	publish("lv/v1/E1/up/hh/W1", record("10"), false)
	publish("lv/v1/E1/up/hist/hh/W1", record("8"), false)
	publish("lv/v1/E1/up/hh/W1", record("10"), false)
	publish("lv/v1/E1/up/hh/W1", "\x1b[2J", false)
	publish("lv/v1/E1/up/gap", `{"g":1,"s":"gap","n":1,"stream":"live/W1","from":81,"to":90,"count":10,"why":"QUOTA"}`, false)
	out.await(t, "10 records of live/W1 were dropped")
	if code := end(); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	text := out.String()
	for _, want := range []string{"hh/W1 #7\n", "hh/W1 #10, #8 to #9 are missing before it\n", "hh/W1 #8, which was missing\n", "hh/W1 #10, which was here before\n", "half-hour: no JSON object"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "E2") || strings.Contains(text, "FAILSAFE") || strings.Contains(text, "\x1b") {
		t.Errorf("another agent, what is too old, or a control character:\n%s", text)
	}
	if want := "1 here before, 2 numbers missing of which 1 came later, 1 unreadable"; !strings.Contains(errs.String(), want) {
		t.Errorf("no %q in %s", want, errs)
	}
}

func TestWatchJSON(t *testing.T) {
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	out, _, end := watching(t, "--broker", "tcp://"+broker.Addr(), "--json", "--commands")
	publish := publisher(t, broker.Addr())
	publish("lv/v1/E1/up/status", `{"state":"online"}`, true)
	out.await(t, "status") // retained or not: the subscription is there
	publish("lv/v1/E1/cmd/birth", `{"id":"b1"}`, false)
	publish("lv/v1/E1/up/gap", `{"g":1,"s":"gap","n":3}`, false)
	publish("lv/v1/E1/up/gap", `{"g":1,"s":"gap","n":6}`, false)
	publish("lv/v1/E1/up/gap", `no JSON`, false)
	publish("lv/v1/E1/up/selftest", `{}`, false)
	out.await(t, "selftest")
	if code := end(); code != 0 {
		t.Errorf("exit %d", code)
	}
	var kinds, sequence []string
	for line := range strings.Lines(out.String()) {
		var l struct {
			Agent, Kind, Sequence string
			From                  uint64 `json:"missing_from"`
			Payload               json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Agent != "E1" || l.Payload == nil {
			t.Errorf("%v: %s", err, line)
		}
		if kinds = append(kinds, l.Kind); l.Sequence != "" {
			sequence = append(sequence, l.Sequence)
		}
		if l.Sequence == "skips" && l.From != 4 {
			t.Errorf("missing from %d, want 4", l.From)
		}
	}
	if got := strings.Join(kinds, " "); got != "status cmd/birth gap gap gap selftest" {
		t.Errorf("kinds %s", got)
	}
	if got := strings.Join(sequence, " "); got != "first skips" {
		t.Errorf("sequence %s", got)
	}
}

// Sparkplug is decoded beside JSON, or alone, and its commands when asked for.
func TestWatchSparkplug(t *testing.T) {
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	out, errs, end := watching(t, "--broker", "tcp://"+broker.Addr(), "--agent", "S1", "--payload", "sparkplug", "--commands")
	publish := publisher(t, broker.Addr())
	publish("spBv1.0/STATE/scada", `{"online":true,"timestamp":1795541404250}`, true)
	out.await(t, "sparkplug host scada online") // retained or not: the subscription is there
	node := sparkplug.New(sparkplug.Config{Group: "EPN", Node: "S1", Version: "1.0", Heartbeat: time.Hour,
		Ways: []sparkplug.Way{{ID: "W1", Phases: [3]bool{true, true, true}}}}, sparkplug.State{}, time.Now())
	node.Connect()
	publish("lv/v1/S1/up/status", `{"state":"online"}`, true)
	publish("spBv1.0/EPN/NDATA/S2", "\x18\x00", false)
	for _, m := range node.Births(time.Now(), 0) {
		publish(m.Topic, string(m.Payload), false)
	}
	reading := meter.Reading{Way: "W1"}
	reading.Phase[1].V = meter.Sample[meter.Millivolts]{Value: 239_500, Quality: meter.Good}
	node.Reading(&reading, time.Now(), 0)
	for _, m := range node.Changes(time.Now(), 0) {
		publish(m.Topic, string(m.Payload), false)
	}
	publish("spBv1.0/EPN/DCMD/S1/W1", "\x12\x10\x0a\x0eGroup/G1/Limit", false)
	publish("spBv1.0/EPN/NDEATH/S1", string(node.Death().Payload), false)
	out.await(t, "node gone, bdSeq 0")
	if code := end(); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"S1 sparkplug node born, bdSeq 0", "S1 sparkplug device born W1", "device W1: L2/V 239.5 V", "seq #2\n",
		"command to device W1: Group/G1/Limit"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out.String(), "S2") || strings.Contains(out.String(), "status") {
		t.Errorf("another node, or JSON, is shown:\n%s", out)
	}
}

func TestWatchIsRefused(t *testing.T) {
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no broker", nil, 2, `required flag(s) "broker" not set`},
		{"nobody there", []string{"--broker", "tcp://127.0.0.1:1"}, 1, "connect to tcp://127.0.0.1:1"},
		{"no URL", []string{"--broker", "127.0.0.1"}, 1, "scheme is none of tcp, tls"},
		{"an agent that cannot be", []string{"--broker", "tcp://127.0.0.1:1", "--agent", "+"}, 1, `--agent "+"`},
		{"a contract that is none", []string{"--broker", "tcp://127.0.0.1:1", "--payload", "xml"}, 1, `--payload "xml"`},
		{"since when", []string{"--broker", "tcp://127.0.0.1:1", "--since", "yesterday"}, 1, `--since "yesterday"`},
		{"password of nobody", []string{"--broker", "tcp://127.0.0.1:1", "--password-file", empty}, 1, "names no user"},
		{"authority without a certificate", []string{"--broker", "tls://127.0.0.1:1", "--tls-ca", filepath.Join(folder, "none.pem")}, 1, "read ca: open"},
		{"an authority in an empty file", []string{"--broker", "tls://127.0.0.1:1", "--tls-ca", empty}, 1, "holds no certificate"},
		{"a certificate without its key", []string{"--broker", "tls://127.0.0.1:1", "--tls-cert", empty}, 1, "read certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, errs := invoke(append([]string{"watch"}, tt.args...)...)
			if code != tt.code || !strings.Contains(errs, tt.want) {
				t.Errorf("exit %d, want %d, and %q in: %s", code, tt.code, tt.want, errs)
			}
		})
	}
}
