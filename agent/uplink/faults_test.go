package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"pgregory.net/rapid"

	"lvagent/agent/message"
)

// R2, R16: wherever a connection breaks, octet by octet through a whole session,
// no record is lost, none comes out of order the first time, and one that comes
// twice says the same.
func TestBreakAtEveryOctet(t *testing.T) {
	total := 0
	session := func(t *testing.T, at int) {
		f, first := new(far), true
		var conn *breaking
		inBubble(t, f, func(c *Config) {
			c.Selftest = 10 * time.Second
			c.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
				near, err := f.dial(ctx, n, a)
				if err == nil && first {
					first, conn = false, &breaking{Conn: near, left: at}
					return conn, nil
				}
				return near, err
			}
		}, func(t *testing.T, u *Uplink, box *outbox) {
			u.Retain(topics.Status(), []byte(`{"state":"online"}`))
			u.Retain(topics.Meta(), []byte(`{}`))
			for _, s := range []string{"ack", "alarm/W1", "hh/W1"} {
				box.fill(s, time.Now(), 4)
			}
			time.Sleep(10 * time.Minute)
			for _, s := range []string{"ack", "alarm/W1", "hh/W1"} {
				complete(t, f.all(), s, 4)
				if n := box.acked(s); n != 4 {
					t.Errorf("%s acknowledged up to %d of 4", s, n)
				}
			}
			if u.State().InFlight != 0 {
				t.Error("something is in flight for ever")
			}
			conn.mu.Lock()
			total = max(total, at-conn.left)
			conn.mu.Unlock()
		})
	}
	session(t, 1<<20)
	if total < 1000 || total > 10_000 {
		t.Fatalf("a session takes %d octets", total)
	}
	step := 1
	if testing.Short() {
		step = 17
	}
	for at := 0; at < total && !t.Failed(); at += step {
		session(t, at)
	}
	t.Logf("broken at each of %d octets", total)
}

// A broker may do anything. The agent neither stops nor takes anything for
// delivered, and delivers all once the broker behaves.
func TestBrokersThatMisbehave(t *testing.T) {
	connack := packets.NewControlPacket(packets.Connack)
	ack := func(id uint16) packets.ControlPacket {
		a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		a.MessageID = id
		return a
	}
	// play reads packets and has the script answer each; false ends the connection.
	play := func(script func(conn net.Conn, p packets.ControlPacket) bool) func(net.Conn) {
		return func(conn net.Conn) {
			defer conn.Close()
			for {
				p, err := packets.ReadPacket(conn)
				if err != nil || !script(conn, p) {
					return
				}
			}
		}
	}
	suback := func(p *packets.SubscribePacket, codes ...byte) packets.ControlPacket {
		a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		a.MessageID, a.ReturnCodes = p.MessageID, codes
		return a
	}
	// polite answers what comes before the records.
	polite := func(then func(conn net.Conn, p *packets.PublishPacket) bool) func(net.Conn) {
		return play(func(conn net.Conn, p packets.ControlPacket) bool {
			switch p := p.(type) {
			case *packets.ConnectPacket:
				return connack.Write(conn) == nil
			case *packets.SubscribePacket:
				return suback(p, make([]byte, len(p.Topics))...).Write(conn) == nil
			case *packets.PublishPacket:
				return then(conn, p)
			}
			return true
		})
	}
	for _, tt := range []struct {
		name  string
		serve func(conn net.Conn)
	}{
		{"mute from the start", func(conn net.Conn) { io.Copy(io.Discard, conn) }},
		{"closes after CONNECT", play(func(net.Conn, packets.ControlPacket) bool { return false })},
		{"refuses the credentials", play(func(conn net.Conn, p packets.ControlPacket) bool {
			a := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
			a.ReturnCode = packets.ErrRefusedBadUsernameOrPassword
			a.Write(conn)
			return true
		})},
		{"answers in another language", func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			conn.Close()
		}},
		{"garbage after CONNACK", play(func(conn net.Conn, p packets.ControlPacket) bool {
			connack.Write(conn)
			conn.Write(bytes.Repeat([]byte{0xff}, 64))
			return true
		})},
		{"no SUBACK", play(func(conn net.Conn, p packets.ControlPacket) bool {
			if _, ok := p.(*packets.ConnectPacket); ok {
				connack.Write(conn)
			}
			return true
		})},
		{"SUBACK with too few codes", play(func(conn net.Conn, p packets.ControlPacket) bool {
			switch p := p.(type) {
			case *packets.ConnectPacket:
				connack.Write(conn)
			case *packets.SubscribePacket:
				suback(p).Write(conn)
			}
			return true
		})},
		{"acknowledges nothing", polite(func(net.Conn, *packets.PublishPacket) bool { return true })},
		{"acknowledges what was not sent", polite(func(conn net.Conn, p *packets.PublishPacket) bool {
			return ack(p.MessageID+1000).Write(conn) == nil
		})},
		{"a PUBACK that is cut off", polite(func(conn net.Conn, p *packets.PublishPacket) bool {
			conn.Write(packetOf(t, ack(p.MessageID))[:3])
			return false
		})},
		{"a packet of 200 MB", polite(func(conn net.Conn, p *packets.PublishPacket) bool {
			conn.Write([]byte{0x90, 0x80, 0x80, 0x80, 0x64})
			return true
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good, bad := new(far), true
			inBubble(t, good, func(c *Config) {
				c.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
					good.mu.Lock()
					misbehaves := bad
					good.mu.Unlock()
					if !misbehaves {
						return good.dial(ctx, n, a)
					}
					near, distant := net.Pipe()
					go tt.serve(distant)
					return near, nil
				}
			}, func(t *testing.T, u *Uplink, box *outbox) {
				box.fill("hh/W1", time.Now(), 20)
				time.Sleep(10 * time.Minute)
				if n := box.acked("hh/W1"); n != 0 {
					t.Errorf("record %d was taken for delivered", n)
				}
				if e := u.State().LastError; e == "" {
					t.Error("nothing is said of it")
				}
				good.set(func(*far) { bad = false })
				time.Sleep(5 * time.Minute)
				complete(t, good.all(), "hh/W1", 20)
				if n := box.acked("hh/W1"); n != 20 {
					t.Errorf("acknowledged up to %d of 20", n)
				}
			})
		})
	}
}

// Each PUBACK comes twice, the second after the packet's id may be in use again.
func TestBrokerThatAcknowledgesTwice(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 500)
	var last *packets.PublishPacket
	s := &script{}
	var conn net.Conn
	s.puback = func(p *packets.PublishPacket) bool {
		if last != nil && conn != nil {
			a := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			a.MessageID = last.MessageID
			a.Write(conn)
		}
		last = p
		return true
	}
	s.accepted = func(c net.Conn) { conn = c }
	startScript(t, s)
	start(t, s.addr, box, nil)
	eventually(t, "all acknowledged", func() bool { return box.acked("hh/W3") == 500 })
	complete(t, s.all(), "hh/W3", 500)
}

// Two agents with one id throw each other out of a real broker.
func TestTwoAgentsWithOneID(t *testing.T) {
	b := startBroker(t, freeAddress(t))
	a := start(t, b.addr, newOutbox(), nil)
	start(t, b.addr, newOutbox(), nil)
	const told = "another client may use this id"
	eventually(t, "the agent that is thrown out says why", func() bool { return a.State().Duplicate && a.log.count(told) > 0 })
	if n := a.log.count(told); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
}

// What comes in on a command's topic is bounded, whatever its size, and is handed
// on so that it is refused.
func TestGiantCommands(t *testing.T) {
	b := startBroker(t, freeAddress(t))
	r := start(t, b.addr, newOutbox(), nil)
	eventually(t, "connected", func() bool { return r.State().Connected })
	sizes := []int{0, message.MaxPayload, message.MaxPayload + 1, mostPacket, 1 << 20, 8 << 20}
	for i, size := range sizes {
		if err := b.server.Publish("lv/v1/"+agentID+"/cmd/limit", bytes.Repeat([]byte{'x'}, size), false, 1); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprint(size, " octets"), func() bool { return len(r.inbound()) == i+1 })
		if got, want := len(r.inbound()[i].Payload), min(size, message.MaxPayload+1); got != want {
			t.Errorf("%d octets came as %d, want %d", size, got, want)
		}
	}
	if n := r.State().Reconnects; n != 0 {
		t.Errorf("%d reconnects", n)
	}
}

// pieces hands out a few octets at a time.
type pieces struct {
	from io.Reader
	most int
}

func (p *pieces) Read(b []byte) (int, error) { return p.from.Read(b[:min(len(b), p.most)]) }

// However the octets come in pieces, packets up to the limit pass unchanged and
// what follows a giant is read as if it had been small.
func TestNarrowed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var in, want bytes.Buffer
		for range rapid.IntRange(1, 5).Draw(rt, "packets") {
			p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			p.TopicName, p.Qos, p.MessageID = "lv/v1/a/cmd/limit", 1, 7
			size := rapid.SampledFrom([]int{0, 1, 127, 128, 16_000, mostPacket - 21, mostPacket - 20, 400_000}).Draw(rt, "size")
			p.Payload = bytes.Repeat([]byte{'x'}, size)
			in.Write(packetOf(t, p))
			p.Payload = p.Payload[:min(size, mostPacket-21)]
			want.Write(packetOf(t, p))
			in.Write(packetOf(t, packets.NewControlPacket(packets.Pingresp)))
			want.Write(packetOf(t, packets.NewControlPacket(packets.Pingresp)))
		}
		source := &pieces{from: &in, most: rapid.SampledFrom([]int{1, 3, 4096, 1 << 20}).Draw(rt, "at a time")}
		if source.most < 100 && in.Len() > 200_000 {
			source.most = 100
		}
		got, err := io.ReadAll(&narrowed{from: source})
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			rt.Fatalf("%d octets, %v; want %d", len(got), err, want.Len())
		}
	})
	for name, head := range map[string][]byte{
		"a length without end": {0x30, 0xff, 0xff, 0xff, 0xff, 0x01}, "a giant that is no publication": {0x90, 0xff, 0xff, 0xff, 0x7f},
	} {
		if _, err := io.ReadAll(&narrowed{from: bytes.NewReader(head)}); !errors.Is(err, errPacket) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzNarrowed reads what a broker might send; the library must never be told to
// make room for more than mostPacket octets.
func FuzzNarrowed(f *testing.F) {
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'a'})
	f.Add([]byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		n := &narrowed{from: bytes.NewReader(in)}
		for {
			p, err := packets.ReadPacket(n)
			if err != nil {
				return
			}
			if n.pass > mostPacket || p.String() == "" {
				t.Fatalf("room for %d octets", n.pass)
			}
		}
	})
}

// The wait of the throttle is never longer than one message takes, and over any
// time the rate is kept.
func TestThrottle(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.IntRange(1, 1000).Draw(rt, "rate")
		th := throttle{rate: rate}
		began := time.Unix(0, 0)
		now, sent := began, 0
		for range 200 {
			if th.wait(now) == 0 {
				th.take()
				sent++
			} else {
				now = now.Add(time.Duration(rapid.Int64Range(1, int64(100*time.Millisecond)).Draw(rt, "passes")))
			}
		}
		if most := int(now.Sub(began).Seconds()*float64(rate)) + rate + 1; sent > most {
			rt.Fatalf("%d in %v at %d a second, at most %d", sent, now.Sub(began), rate, most)
		}
		if w := th.wait(now); w > th.each() {
			rt.Fatalf("a wait of %v at %d a second", w, rate)
		}
	})
	var free throttle
	if free.take(); free.wait(now) != 0 {
		t.Error("a rate of 0 holds something back")
	}
}
