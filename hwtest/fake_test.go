package hwtest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.yaml.in/yaml/v3"
)

// TestMain lets this test binary also be the agent under test: under a name
// lvagent-<fault> it behaves well but for that fault.
func TestMain(m *testing.M) {
	if fault, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "lvagent-"); ok {
		os.Exit(pretend(fault, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// agentWith returns a program that pretends to be an agent with a fault.
func agentWith(t *testing.T, fault string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "lvagent-"+fault)
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	return program
}

// pretender is a small agent: it records, stores, sends and limits, with no
// measurement at all. Its fault is what the bench must find.
type pretender struct {
	fault string
	site  struct {
		Site   struct{ ID string }
		Window struct{ Period time.Duration }
		Ways   []struct{ ID string }
		Groups []struct {
			Way      string
			Rating   float64 `yaml:"rating_a"`
			Failsafe float64 `yaml:"failsafe_a"`
			Output   struct {
				URL     string
				Unit    uint8
				Holding uint16
			}
		}
		Uplink   struct{ Broker string }
		Failsafe struct {
			Timeout time.Duration `yaml:"heartbeat_timeout"`
			Stable  time.Duration
		}
	}

	mu       sync.Mutex
	client   mqtt.Client
	outbox   []outgoing
	n        map[string]int
	lastBeat time.Time
	beats    time.Time // since when they are steady
	free     map[string]bool
	limit    map[string]float64
	until    map[string]time.Time
	written  []uint16
	modbus   net.Conn
}

type outgoing struct{ topic, body string }

func pretend(fault string, args []string) int {
	if len(args) != 3 || args[0] != "run" || args[1] != "--config" {
		fmt.Fprintln(os.Stderr, "usage: run --config FILE, got", args)
		return 2
	}
	if fault == "early" {
		fmt.Fprintln(os.Stderr, "site.yaml:7: uplink.broker: first word\nsecond word")
		return 1
	}
	p := &pretender{fault: fault, n: map[string]int{}, free: map[string]bool{}, limit: map[string]float64{}, until: map[string]time.Time{}}
	text, err := os.ReadFile(args[2])
	if err == nil {
		err = yaml.Unmarshal(text, &p.site)
	}
	if err == nil {
		err = os.WriteFile(os.Args[0]+".pid", fmt.Append(nil, os.Getpid()), 0o600)
	}
	if err == nil {
		p.modbus, err = net.Dial("tcp", strings.TrimPrefix(p.site.Groups[0].Output.URL, "tcp://"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p.written = make([]uint16, len(p.site.Groups))
	for i := range p.written {
		p.written[i] = 999
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	begin := time.Now()
	period := begin.Truncate(p.site.Window.Period)
	for {
		select {
		case <-stop:
			p.free, p.limit = map[string]bool{}, map[string]float64{}
			if fault != "stops" {
				p.control(time.Now())
			}
			return 0
		case now := <-time.After(20 * time.Millisecond):
			if fault == "crash" && now.Sub(begin) > 2*time.Second {
				panic("out of cheese")
			}
			p.connect()
			p.control(now)
			for ; now.Sub(period) >= p.site.Window.Period; period = period.Add(p.site.Window.Period) {
				p.record(period)
			}
			p.send()
		}
	}
}

func (p *pretender) prefix() string { return "lv/v1/" + p.site.Site.ID + "/" }

func (p *pretender) connect() {
	if p.client != nil && p.client.IsConnectionOpen() {
		return
	}
	p.client = nil
	opts := mqtt.NewClientOptions().AddBroker(p.site.Uplink.Broker).SetClientID(p.site.Site.ID).
		SetAutoReconnect(false).SetConnectTimeout(time.Second).SetProtocolVersion(4).
		SetWill(p.prefix()+"up/status", `{"state":"offline"}`, 1, true)
	c := mqtt.NewClient(opts)
	if t := c.Connect(); !t.WaitTimeout(time.Second) || t.Error() != nil {
		return
	}
	if t := c.Subscribe(p.prefix()+"cmd/#", 1, p.command); !t.WaitTimeout(time.Second) || t.Error() != nil {
		return
	}
	c.Publish(p.prefix()+"up/status", 1, true, `{"state":"online","version":"pretended"}`)
	p.client = c
}

func (p *pretender) command(_ mqtt.Client, m mqtt.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if strings.HasSuffix(m.Topic(), "cmd/heartbeat") {
		if now.Sub(p.lastBeat) > p.site.Failsafe.Timeout {
			p.beats = now
		}
		p.lastBeat = now
		return
	}
	var c struct {
		ID       string
		Target   struct{ Way string }
		Limit    any
		Duration string
	}
	if json.Unmarshal(m.Payload(), &c) != nil {
		return
	}
	way := c.Target.Way
	if amps, ok := c.Limit.(map[string]any); ok {
		d, _ := time.ParseDuration(c.Duration)
		if p.fault != "deaf" {
			p.limit[way], p.until[way] = amps["amps"].(float64), now.Add(d)
		}
	} else {
		p.free[way] = true
	}
	p.queue("ack", fmt.Sprintf(`{"id":%q,"command":"limit","stage":"received"`, c.ID))
}

// control writes the limits that hold now.
func (p *pretender) control(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	silent := now.Sub(p.lastBeat) > p.site.Failsafe.Timeout
	steady := now.Sub(p.beats) > p.site.Failsafe.Stable
	if silent && p.fault != "stays" && p.fault != "releases" {
		p.free = map[string]bool{}
	}
	for i, g := range p.site.Groups {
		amps := g.Failsafe
		if p.free[g.Way] && (steady && !silent || p.fault == "stays") {
			amps = g.Rating
		}
		if l, ok := p.limit[g.Way]; ok && now.Before(p.until[g.Way]) {
			amps = min(amps, l)
		}
		percent := uint16(100 * amps / g.Rating)
		if percent == p.written[i] {
			continue
		}
		frame := []byte{0, 1, 0, 0, 0, 6, g.Output.Unit, 6}
		frame = binary.BigEndian.AppendUint16(frame, g.Output.Holding)
		frame = binary.BigEndian.AppendUint16(frame, percent)
		if _, err := p.modbus.Write(frame); err != nil {
			continue
		}
		if _, err := io.ReadFull(p.modbus, make([]byte, 12)); err == nil {
			p.written[i] = percent
		}
	}
}

func (p *pretender) record(start time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.site.Ways {
		p.queue("hh/"+w.ID, fmt.Sprintf(`{"way":%q,"start":%q,"end":%q`, w.ID,
			start.UTC().Format(time.RFC3339Nano), start.Add(p.site.Window.Period).UTC().Format(time.RFC3339Nano)))
	}
}

// queue numbers a body and keeps it until it is acknowledged.
func (p *pretender) queue(stream, body string) {
	p.n[stream]++
	body += fmt.Sprintf(`,"agent":%q,"g":1,"s":%q,"n":%d}`, p.site.Site.ID, stream, p.n[stream])
	if p.fault == "loses" && p.client == nil && strings.HasSuffix(stream, "W4") {
		return
	}
	p.outbox = append(p.outbox, outgoing{p.prefix() + "up/" + stream, body})
}

func (p *pretender) send() {
	for p.client != nil {
		p.mu.Lock()
		if len(p.outbox) == 0 {
			p.mu.Unlock()
			return
		}
		o := p.outbox[0]
		p.mu.Unlock()
		if t := p.client.Publish(o.topic, 1, false, o.body); !t.WaitTimeout(time.Second) || t.Error() != nil {
			p.client.Disconnect(0)
			p.client = nil
			return
		}
		p.mu.Lock()
		p.outbox = p.outbox[1:]
		p.mu.Unlock()
	}
}
