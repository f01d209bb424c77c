// Package uplinktest has an MQTT broker without a network: connections to it are
// pipes, so that an uplink can be run in virtual time (testing/synctest).
//
// It speaks as much of MQTT 3.1.1 as the agent needs of a broker, keeps retained
// messages and wills, and has the faults that brokers have. It is no broker for
// a site: nothing is on disk, and sessions do not outlive their connection.
package uplinktest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Message is what a client published.
type Message struct {
	At       time.Time
	Topic    string
	Payload  []byte
	Retained bool
	Will     bool // the broker said it, since the client vanished
}

// Broker is the far end. Its zero value has nobody who hears.
type Broker struct {
	// Heard takes each publication, one at a time. It must not call the broker.
	Heard func(Message)

	mu       sync.Mutex
	down     bool // dials are refused
	frozen   bool // nothing is read
	swallows bool // publications are taken and not acknowledged
	sessions map[*session]bool
	retained map[string][]byte
	thawed   chan struct{} // closed when frozen ends
}

// session is one connection.
type session struct {
	conn    net.Conn
	out     chan packets.ControlPacket
	done    chan struct{}
	filters []string
	will    *Message
	next    uint16
}

// outbound is how many packets wait for a client that does not read.
const outbound = 1024

// Dial connects to the broker. It fits a dialler of the net package.
func (b *Broker) Dial(context.Context, string, string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	}
	near, far := net.Pipe()
	s := &session{conn: far, out: make(chan packets.ControlPacket, outbound), done: make(chan struct{})}
	if b.sessions == nil {
		b.sessions, b.retained = map[*session]bool{}, map[string][]byte{}
	}
	b.sessions[s] = true
	go b.serve(s)
	return &turns{Conn: near, turn: make(chan struct{}, 1)}, nil
}

// turns has writers wait for each other by a channel: a pipe does it by a mutex,
// and virtual time stands still while somebody waits for one of those.
type turns struct {
	net.Conn
	turn chan struct{}
}

func (t *turns) Write(p []byte) (int, error) {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	return t.Conn.Write(p)
}

// Cut drops every connection and refuses new ones until Restore. Wills are
// published, as for clients that vanish.
func (b *Broker) Cut() {
	b.mu.Lock()
	b.down = true
	all := slices.Collect(maps.Keys(b.sessions))
	b.mu.Unlock()
	for _, s := range all {
		s.conn.Close()
	}
}

// Restore takes connections again, and ends every other fault.
func (b *Broker) Restore() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down, b.swallows = false, false
	b.thaw()
}

// Freeze stops the broker from reading and answering; connections stay. A dial
// succeeds and leads to nothing.
func (b *Broker) Freeze() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.frozen {
		b.frozen, b.thawed = true, make(chan struct{})
	}
}

func (b *Broker) thaw() {
	if b.frozen {
		b.frozen = false
		close(b.thawed)
	}
}

// Swallow has the broker take publications and acknowledge none.
func (b *Broker) Swallow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.swallows = true
}

// Publish sends a message to whoever listens, as another client would. It reports
// how many there were.
func (b *Broker) Publish(topic string, payload []byte, retain bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if retain {
		b.keep(topic, payload)
	}
	return b.spread(topic, payload)
}

// Listening reports whether a client hears a topic.
func (b *Broker) Listening(topic string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.sessions {
		if s.hears(topic) {
			return true
		}
	}
	return false
}

func (b *Broker) keep(topic string, payload []byte) {
	if b.retained == nil {
		b.retained = map[string][]byte{}
	}
	if len(payload) == 0 {
		delete(b.retained, topic)
		return
	}
	b.retained[topic] = slices.Clone(payload)
}

func (b *Broker) spread(topic string, payload []byte) (n int) {
	for s := range b.sessions {
		if s.hears(topic) {
			n++
			s.send(topic, payload, false)
		}
	}
	return n
}

// hears reports whether one of the session's filters takes topic (MQTT 3.1.1, 4.7).
func (s *session) hears(topic string) bool {
	return slices.ContainsFunc(s.filters, func(f string) bool { return matches(f, topic) })
}

func matches(filter, topic string) bool {
	levels := strings.Split(topic, "/")
	for i, f := range strings.Split(filter, "/") {
		switch {
		case f == "#":
			return true
		case i >= len(levels), f != "+" && f != levels[i]:
			return false
		}
	}
	return strings.Count(filter, "/") == strings.Count(topic, "/")
}

// send queues a message of QoS 1; a client that reads nothing loses it. The
// broker's lock is held.
func (s *session) send(topic string, payload []byte, retained bool) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	s.next = max(1, s.next+1)
	p.TopicName, p.Payload, p.Qos, p.MessageID, p.Retain = topic, slices.Clone(payload), 1, s.next, retained
	s.answer(p)
}

func (s *session) answer(p packets.ControlPacket) {
	select {
	case s.out <- p:
	default:
	}
}

// serve reads what one client says until its connection ends.
func (b *Broker) serve(s *session) {
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case p := <-s.out:
				b.whileFrozen()
				if p.Write(s.conn) != nil {
					s.conn.Close()
				}
			case <-s.done:
				return
			}
		}
	})
	for {
		p, err := packets.ReadPacket(s.conn)
		if err != nil {
			break
		}
		b.whileFrozen()
		b.take(s, p)
	}
	s.conn.Close()
	close(s.done)
	writer.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sessions, s)
	if w := s.will; w != nil {
		w.At = time.Now()
		b.note(*w)
		b.spread(w.Topic, w.Payload)
	}
}

// whileFrozen waits while the broker does nothing.
func (b *Broker) whileFrozen() {
	b.mu.Lock()
	frozen, thawed := b.frozen, b.thawed
	b.mu.Unlock()
	if frozen {
		<-thawed
	}
}

// note keeps a message if it is to be kept, and tells who hears.
func (b *Broker) note(m Message) {
	if m.Retained {
		b.keep(m.Topic, m.Payload)
	}
	if b.Heard != nil {
		b.Heard(m)
	}
}

// take does what a packet asks for.
func (b *Broker) take(s *session, packet packets.ControlPacket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch p := packet.(type) {
	case *packets.ConnectPacket:
		if p.WillFlag {
			s.will = &Message{Topic: p.WillTopic, Payload: p.WillMessage, Retained: p.WillRetain, Will: true}
		}
		s.answer(packets.NewControlPacket(packets.Connack))
	case *packets.SubscribePacket:
		a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		a.MessageID = p.MessageID
		for range p.Topics {
			a.ReturnCodes = append(a.ReturnCodes, 1)
		}
		s.filters = append(s.filters, p.Topics...)
		s.answer(a)
		for _, topic := range slices.Sorted(maps.Keys(b.retained)) {
			if slices.ContainsFunc(p.Topics, func(f string) bool { return matches(f, topic) }) {
				s.send(topic, b.retained[topic], true)
			}
		}
	case *packets.PingreqPacket:
		s.answer(packets.NewControlPacket(packets.Pingresp))
	case *packets.PublishPacket:
		if b.swallows {
			return
		}
		if p.Qos > 0 {
			a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			a.MessageID = p.MessageID
			s.answer(a)
		}
		b.note(Message{At: time.Now(), Topic: p.TopicName, Payload: p.Payload, Retained: p.Retain})
		b.spread(p.TopicName, p.Payload)
	case *packets.DisconnectPacket:
		s.will = nil
	}
}
