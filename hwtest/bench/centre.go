package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Centre plays the control centre: it hears everything the agent publishes and
// sends heartbeats and commands. It has its own connection to the broker, which
// a cut of the agent's [Link] leaves alone. One goroutine owns it.
type Centre struct {
	client mqtt.Client
	prefix string // lv/v1/<agent>
	issuer string
	epoch  int64
	seq    uint64
	ids    int

	heard    chan Message
	lost     chan error
	done     chan struct{}
	retained map[string]bool
}

// Message is one publication of the agent, as the broker passed it on.
type Message struct {
	Topic    string // without the agent's prefix: "up/hh/W3"
	Payload  []byte
	Retained bool // kept by the broker from before we subscribed
}

const (
	centreTimeout = 5 * time.Second // for connecting, subscribing and sending
	heardBacklog  = 4096
)

// JoinCentre connects a centre called issuer to the broker at host:port and
// listens to one agent.
func JoinCentre(broker, agent, issuer string) (*Centre, error) {
	c := &Centre{
		prefix: "lv/v1/" + agent + "/", issuer: issuer, epoch: time.Now().Unix(),
		heard: make(chan Message, heardBacklog), lost: make(chan error, 1),
		done: make(chan struct{}), retained: map[string]bool{},
	}
	opts := mqtt.NewClientOptions().AddBroker("tcp://" + broker).
		SetClientID("lvbench-" + issuer + "-" + agent).
		SetProtocolVersion(4).SetCleanSession(true).
		SetAutoReconnect(false).SetConnectRetry(false).
		SetConnectTimeout(centreTimeout).SetWriteTimeout(centreTimeout).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.lost <- err })
	c.client = mqtt.NewClient(opts)
	if err := await(c.client.Connect()); err != nil {
		return nil, fmt.Errorf("connect centre to broker %s: %w", broker, err)
	}
	err := await(c.client.Subscribe(c.prefix+"up/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		select {
		case c.heard <- Message{strings.TrimPrefix(m.Topic(), c.prefix), m.Payload(), m.Retained()}:
		case <-c.done:
		}
	}))
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("subscribe to %sup/# at broker %s: %w", c.prefix, broker, err)
	}
	return c, nil
}

// Heard delivers what the agent publishes, in the order of the broker.
func (c *Centre) Heard() <-chan Message { return c.heard }

// Lost delivers the reason when the centre's own connection ends.
func (c *Centre) Lost() <-chan error { return c.lost }

// Heartbeat tells the agent that the centre is there.
func (c *Centre) Heartbeat(now time.Time) error {
	c.seq++
	return c.send("heartbeat", map[string]any{
		"issuer": c.issuer, "epoch": c.epoch, "seq": c.seq, "issued": stamp(now),
	})
}

// Limit is a load-management signal (R9). Amps nil means "none": the centre's
// statement that it wants no limit.
type Limit struct {
	Way      string
	Amps     *float64 // per group and phase
	Duration time.Duration
}

// Limit sends a limit of class network and returns its id.
func (c *Centre) Limit(now time.Time, l Limit) (id string, err error) {
	c.seq++
	c.ids++
	id = fmt.Sprintf("bench-%d-%d", c.epoch, c.ids)
	body := map[string]any{
		"id": id, "issuer": c.issuer, "epoch": c.epoch, "seq": c.seq,
		"issued": stamp(now), "expires": stamp(now.Add(time.Minute)), "class": "network",
		"target": map[string]any{"way": l.Way}, "start_in": "0s", "limit": "none",
	}
	if l.Amps != nil {
		body["limit"] = map[string]any{"amps": *l.Amps}
		body["duration"] = l.Duration.String()
		body["randomise"] = "0s"
	}
	return id, c.send("limit", body)
}

// Birth asks for every retained message once more; the agent acknowledges it.
func (c *Centre) Birth(now time.Time) error {
	c.ids++
	return c.send("birth", map[string]any{"id": fmt.Sprintf("bench-%d-%d", c.epoch, c.ids), "issued": stamp(now)})
}

// Resend asks for records of a stream once more and returns the request's id.
func (c *Centre) Resend(now time.Time, stream string, g, from, to uint64) (id string, err error) {
	c.ids++
	id = fmt.Sprintf("bench-%d-%d", c.epoch, c.ids)
	return id, c.send("resend", map[string]any{"id": id, "issued": stamp(now), "stream": stream, "g": g, "from": from, "to": to})
}

// Close leaves the broker. It takes back what the agent left retained there,
// so that a broker which stays up keeps nothing of this run.
func (c *Centre) Close() {
	for topic := range c.retained {
		_ = await(c.client.Publish(c.prefix+topic, 1, true, []byte{})) // the broker may be gone already
	}
	close(c.done)
	c.client.Disconnect(100)
}

// Forget has Close take back what is retained on a topic.
func (c *Centre) Forget(topic string) { c.retained[topic] = true }

func (c *Centre) send(command string, body map[string]any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write command %s: %w", command, err)
	}
	if err := await(c.client.Publish(c.prefix+"cmd/"+command, 1, false, payload)); err != nil {
		return fmt.Errorf("send command %s: %w", command, err)
	}
	return nil
}

// await waits for the broker's answer.
func await(t mqtt.Token) error {
	if !t.WaitTimeout(centreTimeout) {
		return fmt.Errorf("no answer from the broker in %v", centreTimeout)
	}
	return t.Error()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
