package uplink

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	mochipackets "github.com/mochi-mqtt/server/v2/packets"
)

// heard is one message that reached the broker.
type heard struct {
	topic    string
	payload  string
	retained bool
	stream   string // of the record, or empty
	n        uint64
}

func newHeard(topic string, payload []byte, retained bool) heard {
	var number struct {
		S string `json:"s"`
		N uint64 `json:"n"`
	}
	_ = json.Unmarshal(payload, &number)
	return heard{topic, string(payload), retained, number.S, number.N}
}

// log keeps what was heard, in order.
type log struct {
	mu   sync.Mutex
	list []heard
}

func (l *log) add(h heard) {
	l.mu.Lock()
	l.list = append(l.list, h)
	l.mu.Unlock()
}

func (l *log) all() []heard {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]heard(nil), l.list...)
}

func (l *log) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

// topics returns the last part of each topic heard, after up/.
func (l *log) topics() []string {
	var names []string
	for _, h := range l.all() {
		_, name, _ := strings.Cut(h.topic, "/up/")
		names = append(names, name)
	}
	return names
}

// broker is a real one, in this process.
type broker struct {
	log
	server *mochi.Server
	addr   string
}

// ear hears what clients publish before the broker acknowledges it. A subscriber
// would not do: this broker acknowledges first and delivers then, and deliveries
// of two connections can overtake each other.
type ear struct {
	mochi.HookBase
	log *log
}

func (e *ear) Provides(event byte) bool { return event == mochi.OnPublish || event == mochi.OnWillSent }

func (e *ear) OnPublish(c *mochi.Client, pk mochipackets.Packet) (mochipackets.Packet, error) {
	if !c.Net.Inline {
		e.log.add(newHeard(pk.TopicName, pk.Payload, pk.FixedHeader.Retain))
	}
	return pk, nil
}

func (e *ear) OnWillSent(_ *mochi.Client, pk mochipackets.Packet) {
	e.log.add(newHeard(pk.TopicName, pk.Payload, pk.FixedHeader.Retain))
}

// freeAddress returns an address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func startBroker(t *testing.T, addr string) *broker {
	t.Helper()
	b := &broker{addr: addr, server: mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})}
	if err := b.server.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	if err := b.server.AddListener(listeners.NewTCP(listeners.Config{ID: "t", Address: addr})); err != nil {
		t.Fatal(err)
	}
	if err := b.server.AddHook(&ear{log: &b.log}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.server.Close() })
	return b
}

// cut breaks the agent's connection without a word and reports whether there
// was one.
func (b *broker) cut(id string) bool {
	c, ok := b.server.Clients.Get(id)
	if !ok || c.Closed() || c.Net.Conn == nil {
		return false
	}
	c.Net.Conn.Close()
	return true
}

// script is a broker that does exactly what a test wants of it, on one
// connection after another.
type script struct {
	log
	addr       string
	denied     string                            // a filter that is refused
	subscribed byte                              // code of each SUBACK
	puback     func(*packets.PublishPacket) bool // nil: always
	hangUp     bool                              // after the SUBACK
	accepted   func(net.Conn)

	mu       sync.Mutex
	conns    int
	held     []func() // acknowledgements kept back
	releases bool
	wills    [][]byte // of each CONNECT packet
	last     net.Conn
}

// push sends a message to the client that connected last.
func (s *script) push(topic, payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload = topic, []byte(payload)
	_ = p.Write(s.last) // a connection that is gone shows elsewhere
}

// willOf returns the will of a connection, counted from 0, or nil.
func (s *script) willOf(i int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.wills) {
		return nil
	}
	return s.wills[i]
}

func startScript(t *testing.T, s *script) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			s.held = nil
			if s.accepted != nil {
				s.accepted(conn)
			}
			s.mu.Unlock()
			t.Cleanup(func() { conn.Close() })
			served.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close() })
	return s
}

func (s *script) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// release sends the acknowledgements that were kept back, and no longer keeps
// any.
func (s *script) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releases = true
	for _, ack := range s.held {
		ack()
	}
	s.held = nil
}

func (s *script) serve(conn net.Conn) {
	defer conn.Close()
	for {
		packet, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		if s.answer(conn, packet) != nil {
			return
		}
	}
}

func (s *script) answer(conn net.Conn, packet packets.ControlPacket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p := packet.(type) {
	case *packets.ConnectPacket:
		s.wills, s.last = append(s.wills, p.WillMessage), conn
		return packets.NewControlPacket(packets.Connack).Write(conn)
	case *packets.SubscribePacket:
		a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		a.MessageID = p.MessageID
		for _, topic := range p.Topics {
			code := s.subscribed
			if topic == s.denied {
				code = 0x80
			}
			a.ReturnCodes = append(a.ReturnCodes, code)
		}
		if err := a.Write(conn); err != nil || s.hangUp {
			return io.EOF
		}
	case *packets.PingreqPacket:
		return packets.NewControlPacket(packets.Pingresp).Write(conn)
	case *packets.PublishPacket:
		s.add(newHeard(p.TopicName, p.Payload, p.Retain))
		if p.Qos == 0 {
			return nil
		}
		a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		a.MessageID = p.MessageID
		if s.puback == nil || s.releases || s.puback(p) {
			return a.Write(conn)
		}
		s.held = append(s.held, func() { _ = a.Write(conn) })
	case *packets.DisconnectPacket:
		s.add(heard{topic: "DISCONNECT"})
		return io.EOF
	}
	return nil
}
