package uplink

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// far is a broker at the other end of pipes, for a bubble of virtual time. It
// does what a broker does but for the faults that a test gives it.
type far struct {
	log
	mu     sync.Mutex
	down   bool // dials are refused
	deaf   bool // reads nothing
	mute   bool // reads and answers nothing
	refuse byte // code of CONNACK
	denied byte // code of SUBACK for the self-test, when not 0
	forges bool // passes on another message in its place
	loses  bool // acknowledges and throws away, as an access list has it
	closes time.Duration

	dials      int
	open, most int // connections
	made       []time.Time
	seen       []seen
}

// seen is one publication and when it came.
type seen struct {
	topic string
	at    time.Time
}

func (f *far) set(change func(*far)) {
	f.mu.Lock()
	change(f)
	f.mu.Unlock()
}

func (f *far) get(what func(*far) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return what(f)
}

func (f *far) connections() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.made)
}

// arrivals returns when publications of a topic came.
func (f *far) arrivals(topic string) (at []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if s.topic == topic {
			at = append(at, s.at)
		}
	}
	return at
}

func (f *far) dial(context.Context, string, string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	if f.down {
		return nil, fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	}
	near, distant := net.Pipe()
	f.open++
	f.most = max(f.most, f.open)
	f.made = append(f.made, time.Now())
	go f.serve(distant)
	return &serial{Conn: near, turn: make(chan struct{}, 1)}, nil
}

// serial has writers take turns by a channel: a pipe does it by a mutex, and
// virtual time stands still while somebody waits for one of those.
type serial struct {
	net.Conn
	turn chan struct{}
}

func (s *serial) Write(p []byte) (int, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.Conn.Write(p)
}

func (f *far) serve(conn net.Conn) {
	defer f.set(func(f *far) { f.open-- })
	defer conn.Close()
	if !f.get(func(f *far) bool { return f.closes == 0 }) {
		end := time.AfterFunc(f.closes, func() { conn.Close() })
		defer end.Stop()
	}
	// A pipe holds nothing; a socket does.
	answers := make(chan packets.ControlPacket, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range answers {
			if p.Write(conn) != nil {
				conn.Close()
			}
		}
	})
	defer writer.Wait()
	defer close(answers)
	listens := false
	for {
		for f.get(func(f *far) bool { return f.deaf }) {
			time.Sleep(time.Second)
		}
		packet, err := packets.ReadPacket(conn)
		if err != nil {
			return
		}
		if f.get(func(f *far) bool { return f.mute || f.deaf }) {
			continue
		}
		for _, a := range f.answer(packet, &listens) {
			answers <- a
		}
	}
}

func (f *far) answer(packet packets.ControlPacket, listens *bool) []packets.ControlPacket {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch p := packet.(type) {
	case *packets.ConnectPacket:
		a := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		a.ReturnCode = f.refuse
		return []packets.ControlPacket{a}
	case *packets.SubscribePacket:
		a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		a.MessageID = p.MessageID
		for _, topic := range p.Topics {
			code := byte(1)
			if topic == topics.Selftest() {
				*listens = f.denied == 0
				code = max(code, f.denied)
			}
			a.ReturnCodes = append(a.ReturnCodes, code)
		}
		return []packets.ControlPacket{a}
	case *packets.PingreqPacket:
		return []packets.ControlPacket{packets.NewControlPacket(packets.Pingresp)}
	case *packets.PublishPacket:
		a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		a.MessageID = p.MessageID
		if f.loses {
			return []packets.ControlPacket{a}
		}
		f.seen = append(f.seen, seen{p.TopicName, time.Now()})
		f.add(newHeard(p.TopicName, p.Payload, p.Retain))
		if p.TopicName == topics.Selftest() && *listens {
			echo := p.Copy()
			echo.Qos = 0
			if f.forges {
				echo.Payload = []byte(`{"nonce":"another"}`)
			}
			return []packets.ControlPacket{a, echo}
		}
		return []packets.ControlPacket{a}
	case *packets.DisconnectPacket:
		f.add(heard{topic: "DISCONNECT"})
	}
	return nil
}

// inBubble runs an uplink to f in virtual time. Everything has ended when test
// returns.
func inBubble(t *testing.T, f *far, change func(*Config), test func(t *testing.T, u *Uplink, box *outbox)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		box := newOutbox()
		cfg := Config{
			Brokers: []string{"tcp://first:1883"}, ClientID: agentID, Topics: topics,
			Will:     []byte(`{"state":"offline","why":"will"}`),
			Farewell: func() []byte { return []byte(`{"state":"offline","why":"farewell"}`) },
			Dial:     f.dial, Log: slog.New(slog.DiscardHandler),
		}
		if change != nil {
			change(&cfg)
		}
		u := New(cfg, box, func(Inbound) {})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() {
			if err := u.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer func() {
			// The library's goroutines end by a broken connection or a few seconds of
			// their own.
			f.set(func(f *far) { f.deaf, f.mute = false, false })
			cancel()
			run.Wait()
			time.Sleep(time.Minute)
			synctest.Wait()
		}()
		test(t, u, box)
	})
}

// duplicates counts records that came more than once.
func duplicates(list []heard) (n int) {
	type key struct {
		stream string
		n      uint64
	}
	seen := map[key]bool{}
	for _, h := range list {
		if h.n == 0 {
			continue
		}
		if k := (key{h.stream, h.n}); seen[k] {
			n++
		} else {
			seen[k] = true
		}
	}
	return n
}

// breaking is a connection that ends after a number of octets, in either
// direction: in the middle of a packet, as a radio link does.
type breaking struct {
	net.Conn
	mu   sync.Mutex
	left int
}

var errBroken = fmt.Errorf("broken: %w", io.ErrUnexpectedEOF)

// spend takes up to n octets of what is left.
func (b *breaking) spend(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.left)
	b.left -= n
	return n
}

func (b *breaking) Write(p []byte) (int, error) {
	k := b.spend(len(p))
	n, err := b.Conn.Write(p[:k])
	if err == nil && k < len(p) {
		b.Conn.Close()
		err = errBroken
	}
	return n, err
}

func (b *breaking) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if k := b.spend(n); k < n {
		b.Conn.Close()
		return k, errBroken
	}
	return n, err
}

// packetOf returns a packet as octets.
func packetOf(t *testing.T, p packets.ControlPacket) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
