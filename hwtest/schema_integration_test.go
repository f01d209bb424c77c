//go:build integration

package hwtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"lvagent/agent/message"
	"lvagent/agent/message/schematest"
)

// critic hears both sides of a run and holds each message to its schema.
type critic struct {
	client mqtt.Client

	mu     sync.Mutex
	agent  string
	seen   map[string]int // messages by schema and root of the topic
	faults []string
	sizes  []int // octets of half-hours with their topics
}

func joinCritic(t *testing.T, broker string) *critic {
	t.Helper()
	c := &critic{seen: map[string]int{}}
	c.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker).SetClientID("critic").SetAutoReconnect(false))
	token := c.client.Connect()
	if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatalf("connect: %v", token.Error())
	}
	t.Cleanup(func() { c.client.Disconnect(100) })
	token = c.client.Subscribe("lv/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		if len(m.Payload()) > 0 { // the bench takes back what was retained
			c.hear(m.Topic(), m.Payload())
		}
	})
	if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatalf("subscribe: %v", token.Error())
	}
	return c
}

func (c *critic) hear(topic string, payload []byte) {
	err := schematest.Check(topic, payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	levels := strings.SplitN(topic, "/", 4)
	c.agent = levels[2]
	if err != nil {
		c.faults = append(c.faults, err.Error())
		return
	}
	s, _ := message.SchemaOf(topic)
	name := s.Name
	if strings.HasPrefix(levels[3], "up/hist/") {
		name = "hist/" + name
	}
	c.seen[name]++
	if s.Name == "hh" {
		c.sizes = append(c.sizes, len(topic)+len(payload))
	}
}

func (c *critic) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[name]
}

// seenLine is what lvagent watch prints of a message.
type seenLine struct{ Topic, Agent, Kind, Text, Sequence string }

// watchBeside runs lvagent watch and returns a function that ends it and returns
// what it printed.
func watchBeside(t *testing.T, broker string) func() []seenLine {
	t.Helper()
	cmd := exec.Command("../bin/lvagent", "watch", "--broker", "tcp://"+broker, "--commands", "--json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() (lines []seenLine) {
		t.Helper()
		cmd.Process.Signal(os.Interrupt) // it may have ended already; Wait says
		if err := cmd.Wait(); err != nil {
			t.Errorf("lvagent watch: %v: %s", err, errs.String())
		}
		t.Logf("lvagent watch: %s", errs.String())
		for text := range bytes.Lines(out.Bytes()) {
			var l seenLine
			if err := json.Unmarshal(text, &l); err != nil {
				t.Errorf("lvagent watch prints %s: %v", text, err)
			}
			if !strings.HasSuffix(l.Text, "taken back from the broker") {
				lines = append(lines, l)
			}
		}
		return lines
	}
}

// command sends a command, in which %[1]s stands for the time and %[2]s for that
// in a minute, and %[3]s for that two minutes ago.
func (c *critic) command(name, body string) error {
	now := time.Now().UTC()
	payload := fmt.Sprintf(body, now.Format(time.RFC3339), now.Add(time.Minute).Format(time.RFC3339), now.Add(-2*time.Minute).Format(time.RFC3339))
	c.mu.Lock()
	topic := "lv/v1/" + c.agent + "/cmd/" + name
	c.mu.Unlock()
	token := c.client.Publish(topic, 1, false, payload)
	if !token.WaitTimeout(5 * time.Second) {
		return fmt.Errorf("send %s: no answer of the broker", name)
	}
	return token.Error()
}

// Everything that a real agent publishes in an evening with a lost link, and
// everything that the centre tells it, is what the schemas say: no topic without
// one, no field too few, none that is not described.
func TestAnEveningKeepsToTheSchemas(t *testing.T) {
	broker := newMosquitto(t)
	c := joinCritic(t, broker.addr)
	seen := watchBeside(t, broker.addr)
	cfg := DemoConfig{For: 80 * time.Second, Broker: "tcp://" + broker.addr, Agent: "../bin/lvagent", Seed: 1, Pace: DemoPace()}
	done := make(chan error, 1)
	go func() {
		s, err := Demo(t.Context(), cfg, t)
		if err == nil && !s.Passed {
			err = fmt.Errorf("broken: %q", s.Broken)
		}
		done <- err
	}()
	eventually(t, "records, alarms and a minute of loading", 2*time.Minute, func() bool { return c.count("hh") > 30 && c.count("alarm") > 0 })
	const order = `"issuer":"critic","epoch":1,"seq":%d,"issued":"%%[1]s","expires":"%%[2]s"`
	for i, order := range []struct{ name, body string }{
		{"birth", `{"id":"k1","issued":"%[1]s"%.0[2]s%.0[3]s}`},
		{"resend", `{"id":"k2","issued":"%[1]s","expires":"%[2]s","stream":"hh/W1","from":1,"to":3%.0[3]s}`},
		{"resend", `{"id":"k3","issued":"%[1]s","expires":"%[2]s","stream":"rec/W1","since":"%[3]s","until":"%[1]s"}`},
		{"resend", `{"id":"k4","issued":"%[1]s","expires":"%[2]s","stream":"ack","from":1,"to":2%.0[3]s}`},
		{"ack", `{"id":"k5",` + fmt.Sprintf(order, 1) + `,"alarm":"W1.L1.FUSE_SUSPECTED"%.0[3]s}`},
		{"config", `{"id":"k6",` + fmt.Sprintf(order, 2) + `,"site":"site: {}"%.0[3]s}`},
		{"telemetry", `{"id":"k7",` + fmt.Sprintf(order, 3) + `,"groups":[{"group":"nowhere","t":"%[1]s","state":"idle"}]%.0[3]s}`},
		{"override", `{"id":"k8",` + fmt.Sprintf(order, 4) + `,"target":{"way":"W5"},"kind":"clear","by":"critic"%.0[3]s}`},
		{"cancel", `{"id":"k9",` + fmt.Sprintf(order, 5) + `,"cancels":"k0"%.0[3]s}`},
	} {
		if err := c.command(order.name, order.body); err != nil {
			t.Errorf("command %d: %v", i, err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		t.Error(f)
	}
	for _, name := range []string{"hh", "hist/hh", "alarm", "alarmstate", "live", "ack", "hist/ack", "status", "meta", "capacity",
		"failsafe", "groups", "health", "selftest", "cmd/heartbeat", "cmd/limit", "cmd/resend", "cmd/birth"} {
		if c.seen[name] == 0 {
			t.Errorf("no message %s in the run: it proves nothing of it", name)
		}
	}
	// lvagent watch saw the same, knew each kind, and found nothing missing but what
	// was asked for again.
	lines := seen()
	sequences := map[string]int{}
	for _, l := range lines {
		if l.Kind == "" || l.Agent == "" {
			t.Errorf("lvagent watch does not know %s", l.Topic)
		}
		if sequences[l.Sequence]++; l.Sequence == "skips" || l.Sequence == "fills" {
			t.Errorf("lvagent watch says that %s %s", l.Text, l.Sequence)
		}
	}
	total := 0
	for _, n := range c.seen {
		total += n
	}
	if sequences["again"] != c.seen["hist/hh"]+c.seen["hist/ack"] || len(lines) < total {
		t.Errorf("lvagent watch shows %d messages, of which here before %d; there were %d, and %d were sent again",
			len(lines), sequences["again"], total, c.seen["hist/hh"]+c.seen["hist/ack"])
	}
	text, _ := json.Marshal(c.seen) // a map of numbers always marshals
	t.Logf("messages: %s", text)
	slices.Sort(c.sizes)
	if most := c.sizes[len(c.sizes)-1]; most > 1320 {
		t.Errorf("a half-hour has %d octets on the wire, want at most 1320 (decision 7)", most)
	}
	t.Logf("half-hours with topic: %d, %d to %d octets, median %d", len(c.sizes), c.sizes[0], c.sizes[len(c.sizes)-1], c.sizes[len(c.sizes)/2])
}
