package bench

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// Broker is an MQTT broker inside this process, on a free port of loopback. It
// lets everybody in: a bench's broker is nobody else's.
type Broker struct {
	server *mqtt.Server
	addr   string
}

// StartBroker starts a broker.
func StartBroker() (*Broker, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	b := &Broker{server: server, addr: listener.Addr().String()}
	err = server.AddHook(new(auth.AllowHook), nil)
	if err == nil {
		err = server.AddListener(listeners.NewNet("bench", listener))
	}
	if err == nil {
		err = server.Serve()
	}
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("start broker on %s: %w", b.addr, err)
	}
	return b, nil
}

// Addr returns host:port.
func (b *Broker) Addr() string { return b.addr }

// Received returns how many messages clients have published.
func (b *Broker) Received() int64 { return atomic.LoadInt64(&b.server.Info.MessagesReceived) }

// Close stops the broker and drops its clients.
func (b *Broker) Close() error {
	if err := b.server.Close(); err != nil {
		return fmt.Errorf("stop broker on %s: %w", b.addr, err)
	}
	return nil
}

// Retained returns the topics under a prefix on which a message is retained.
func (b *Broker) Retained(prefix string) []string {
	var topics []string
	for topic := range b.server.Topics.Retained.GetAll() {
		if strings.HasPrefix(topic, prefix) {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics
}
