package cost

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"time"
)

// tap is a TCP relay that lets octets be looked at on their way.
type tap struct {
	listener net.Listener
	far      string
	near     func() io.Writer // looks at what the dialling end sends; nil: nobody does
	back     func() io.Writer // looks at what it is answered

	mu    sync.Mutex
	conns map[net.Conn]bool
	shut  bool
	wg    sync.WaitGroup
}

// openTap opens a relay to far. Each connection gets lookers of its own; one
// sees the octets before they are passed on.
func openTap(far string, near, back func() io.Writer) (*tap, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open tap to %s: %w", far, err)
	}
	t := &tap{listener: listener, far: far, near: near, back: back, conns: map[net.Conn]bool{}}
	t.wg.Go(t.accept)
	return t, nil
}

func (t *tap) addr() string { return t.listener.Addr().String() }

func (t *tap) close() {
	t.mu.Lock()
	t.shut = true
	for c := range t.conns {
		c.Close() // the pumps end by it
	}
	t.mu.Unlock()
	t.listener.Close()
	t.wg.Wait()
}

func (t *tap) accept() {
	for {
		near, err := t.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.DialTimeout("tcp", t.far, 5*time.Second)
		if err != nil {
			near.Close()
			continue
		}
		t.mu.Lock()
		if t.shut {
			near.Close()
			far.Close()
		} else {
			t.conns[near], t.conns[far] = true, true
			t.wg.Go(func() { t.pump(far, near, t.near) })
			t.wg.Go(func() { t.pump(near, far, t.back) })
		}
		t.mu.Unlock()
	}
}

// pump copies one direction until either end closes, then closes both.
func (t *tap) pump(to, from net.Conn, look func() io.Writer) {
	var source io.Reader = from
	if look != nil {
		source = io.TeeReader(from, look())
	}
	_, _ = io.Copy(to, source) // an error here is a connection that ended
	to.Close()
	from.Close()
	t.mu.Lock()
	delete(t.conns, to)
	delete(t.conns, from)
	t.mu.Unlock()
}

// alarmWire follows alarms over the agent's two connections: when the answer of
// a meter carried the value, and when the broker acknowledged the alarm.
type alarmWire struct {
	mu      sync.Mutex
	waiting map[uint8]bool      // unit: the next answer above (true) or below counts
	carried map[uint8]time.Time // unit: when it came
	flying  map[uint16]edge     // packet id: sent, not acknowledged
	edges   chan edge
}

// edge is the raise or clear of the alarm that the bench provokes.
type edge struct {
	way   string
	raise bool
	acked time.Time
}

func newAlarmWire() *alarmWire {
	return &alarmWire{
		waiting: map[uint8]bool{}, carried: map[uint8]time.Time{}, flying: map[uint16]edge{},
		edges: make(chan edge, 1024),
	}
}

// arm has the next answer of unit noted that is above the threshold, or below.
func (a *alarmWire) arm(unit uint8, above bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[unit] = above
	delete(a.carried, unit)
}

// seen returns when the armed answer of unit passed.
func (a *alarmWire) seen(unit uint8) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.carried[unit]
	return at, ok
}

func (a *alarmWire) modbusReply() io.Writer { return &frames{head: mbapHead, whole: a.reply} }
func (a *alarmWire) fromAgent() io.Writer   { return &frames{head: mqttHead, whole: a.publish} }
func (a *alarmWire) fromBroker() io.Writer  { return &frames{head: mqttHead, whole: a.ack} }

// reply looks at an answer of a meter. The block of 30 registers has the
// current of L1 at its seventh word.
func (a *alarmWire) reply(frame []byte) {
	const unitAt, fcAt, lengthAt, values = 6, 7, 8, 9
	if len(frame) != values+2*int(registers[0].n) || frame[fcAt] != 4 || int(frame[lengthAt]) != 2*int(registers[0].n) {
		return
	}
	amps := math.Float32frombits(binary.BigEndian.Uint32(frame[values+12:]))
	now, unit := time.Now(), frame[unitAt]
	a.mu.Lock()
	defer a.mu.Unlock()
	above, armed := a.waiting[unit]
	if armed && above == (amps > threshold) {
		a.carried[unit] = now
		delete(a.waiting, unit)
	}
}

// Packet types, MQTT 3.1.1 table 2.1.
const (
	mqttPublish = 3
	mqttPuback  = 4
)

// publish looks at a packet of the agent: an alarm is noted by its packet id.
func (a *alarmWire) publish(packet []byte) {
	body := mqttBody(packet)
	if packet[0]>>4 != mqttPublish || packet[0]&0x06 != 0x02 || len(body) < 2 {
		return
	}
	n := int(binary.BigEndian.Uint16(body))
	if len(body) < 2+n+2 {
		return
	}
	_, way, ok := strings.Cut(string(body[2:2+n]), "/up/alarm/")
	if !ok {
		return
	}
	var alarm struct{ Quantity, Phase, Kind, Edge string }
	if json.Unmarshal(body[2+n+2:], &alarm) != nil || alarm.Quantity != "i" || alarm.Phase != "L1" || alarm.Kind != "hi" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flying[binary.BigEndian.Uint16(body[2+n:])] = edge{way: way, raise: alarm.Edge == "raise"}
}

// ack looks at a packet of the broker.
func (a *alarmWire) ack(packet []byte) {
	body := mqttBody(packet)
	if packet[0]>>4 != mqttPuback || len(body) < 2 {
		return
	}
	id, now := binary.BigEndian.Uint16(body), time.Now()
	a.mu.Lock()
	e, ok := a.flying[id]
	delete(a.flying, id)
	a.mu.Unlock()
	if !ok {
		return
	}
	e.acked = now
	select {
	case a.edges <- e:
	default: // nobody listens any more
	}
}

// frames puts frames together from a stream, however it is split.
type frames struct {
	// head returns the length of the whole frame, or 0 when it wants more octets.
	head  func([]byte) int
	whole func([]byte)
	kept  []byte
}

// Write takes the next octets.
func (f *frames) Write(p []byte) (int, error) {
	f.kept = append(f.kept, p...)
	for {
		n := f.head(f.kept)
		if n == 0 || len(f.kept) < n {
			return len(p), nil
		}
		f.whole(f.kept[:n])
		f.kept = append(f.kept[:0], f.kept[n:]...)
	}
}

// mbapHead reads a frame's length (Modbus Messaging on TCP/IP V1.0b, 3.1.3).
func mbapHead(p []byte) int {
	if len(p) < 6 {
		return 0
	}
	return 6 + int(binary.BigEndian.Uint16(p[4:]))
}

// mqttHead reads a packet's length (MQTT 3.1.1, 2.2.3).
func mqttHead(p []byte) int {
	rest := 0
	for i := 1; i < len(p) && i <= 4; i++ {
		rest |= int(p[i]&0x7f) << (7 * (i - 1))
		if p[i]&0x80 == 0 {
			return 1 + i + rest
		}
	}
	return 0
}

// mqttBody returns what follows the fixed header of a whole packet.
func mqttBody(packet []byte) []byte {
	i := 1
	for i < len(packet) && packet[i]&0x80 != 0 {
		i++
	}
	return packet[min(i+1, len(packet)):]
}
