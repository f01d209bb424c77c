package bench

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Link is the wide-area link between agent and broker: a TCP relay on loopback
// that can be cut and restored, as a broker that goes away and comes back, and
// that can be as bad as such links are (see [Conditions] and [Link.HalfOpen]). It
// counts the MQTT packets that pass, so that "published" and "acknowledged"
// come from the wire and not from either end.
type Link struct {
	addr, broker string

	mu       sync.Mutex
	listener net.Listener
	pairs    map[*pair]bool
	closed   bool
	pumps    sync.WaitGroup

	line     Conditions
	changed  chan struct{} // closed when line changes
	up, down direction

	published, acked atomic.Int64
}

// NewLink opens a link on a free port of loopback to the broker at host:port.
func NewLink(broker string) (*Link, error) {
	l := &Link{addr: "127.0.0.1:0", broker: broker, pairs: map[*pair]bool{}, changed: make(chan struct{})}
	if err := l.Restore(); err != nil {
		return nil, err
	}
	return l, nil
}

// Addr returns host:port of the agent's end. It stays the same over cuts.
func (l *Link) Addr() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

// Published returns how many QoS 1 messages the agent has sent over the link,
// repeated ones included.
func (l *Link) Published() int { return int(l.published.Load()) }

// Acked returns how many of them were acknowledged over the link.
func (l *Link) Acked() int { return int(l.acked.Load()) }

// Cut drops every connection and refuses new ones until Restore.
func (l *Link) Cut() {
	l.mu.Lock()
	if l.listener != nil {
		l.listener.Close()
		l.listener = nil
	}
	for p := range l.pairs {
		p.end()
	}
	clear(l.pairs)
	l.mu.Unlock()
	l.pumps.Wait()
}

// Restore accepts connections again on the same port.
func (l *Link) Restore() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", l.addr)
	if err != nil {
		return fmt.Errorf("open link on %s: %w", l.addr, err)
	}
	l.listener, l.addr = listener, listener.Addr().String()
	l.pumps.Add(1)
	go l.accept(listener)
	return nil
}

// Close cuts the link for good.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Cut()
}

func (l *Link) accept(listener net.Listener) {
	defer l.pumps.Done()
	for {
		agent, err := listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.DialTimeout("tcp", l.broker, 5*time.Second)
		if err != nil {
			agent.Close()
			continue
		}
		if !l.join(listener, agent, broker) {
			agent.Close()
			broker.Close()
			return
		}
	}
}

// join starts the two directions of a connection, unless the link was cut
// while the broker was dialled.
func (l *Link) join(listener net.Listener, agent, broker net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != listener {
		return false
	}
	p := &pair{agent: agent, broker: broker, over: make(chan struct{})}
	l.pairs[p] = true
	l.pumps.Add(2)
	go l.pump(p, broker, agent, &l.up, packetCounter{kind: mqttPublish, qos: true, count: &l.published})
	go l.pump(p, agent, broker, &l.down, packetCounter{kind: mqttPuback, count: &l.acked})
	return true
}

// Packet types, MQTT 3.1.1 table 2.1.
const (
	mqttPublish = 3
	mqttPuback  = 4
)

// packetCounter counts the packets of one type in a stream of MQTT octets,
// however they are split. Only fixed headers are looked at (MQTT 3.1.1, 2.2).
type packetCounter struct {
	kind  byte
	qos   bool // count only packets with QoS 1 or 2
	count *atomic.Int64

	inLength bool
	shift    uint
	rest     int  // octets of the current packet still to come
	counts   bool // the current packet is of the counted type
}

var errNotMQTT = errors.New("more than four octets of remaining length")

// Write takes the next octets. A packet counts when its last octet has passed.
func (c *packetCounter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		switch {
		case c.inLength:
			c.rest |= int(p[0]&0x7f) << c.shift
			more := p[0]&0x80 != 0
			c.shift += 7
			p = p[1:]
			if more && c.shift > 21 {
				return 0, errNotMQTT
			}
			c.inLength = more
		case c.rest > 0:
			k := min(c.rest, len(p))
			c.rest -= k
			p = p[k:]
		default:
			c.counts = p[0]>>4 == c.kind && (!c.qos || p[0]&0x06 != 0)
			c.inLength, c.shift, c.rest = true, 0, 0
			p = p[1:]
		}
		if c.rest == 0 && !c.inLength && c.counts {
			c.count.Add(1)
			c.counts = false
		}
	}
	return n, nil
}
