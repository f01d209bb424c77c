package bench

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"pgregory.net/rapid"
)

// client connects an MQTT client to addr and tells when it is thrown out.
func client(t *testing.T, addr, id string) (mqtt.Client, <-chan struct{}) {
	t.Helper()
	lost := make(chan struct{})
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).
		SetAutoReconnect(false).SetProtocolVersion(4).
		SetConnectionLostHandler(func(mqtt.Client, error) { close(lost) }))
	if err := await(c.Connect()); err != nil {
		t.Fatal(err)
	}
	return c, lost
}

func within[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing within 10 s", what)
		panic("not reached")
	}
}

// The agent's end is cut and comes back on the same port; the centre's end
// notices nothing and misses nothing.
func TestLinkIsCutAndReturns(t *testing.T) {
	broker, err := StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	link, err := NewLink(broker.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	centre, err := JoinCentre(broker.Addr(), "A", "scada-1")
	if err != nil {
		t.Fatal(err)
	}
	defer centre.Close()
	addr := link.Addr()

	agent, lost := client(t, addr, "A")
	if err := await(agent.Publish("lv/v1/A/up/hh/W1", 1, false, "one")); err != nil {
		t.Fatal(err)
	}
	if m := within(t, "before the cut", centre.Heard()); m.Topic != "up/hh/W1" || string(m.Payload) != "one" {
		t.Errorf("heard %+v", m)
	}
	if link.Published() != 1 || link.Acked() != 1 {
		t.Errorf("published %d, acked %d, want 1 and 1", link.Published(), link.Acked())
	}

	link.Cut()
	within(t, "connection lost", lost)
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the link accepts connections although it is cut")
	}
	if err := centre.Heartbeat(time.Now()); err != nil {
		t.Errorf("the centre was cut too: %v", err)
	}

	if err := link.Restore(); err != nil {
		t.Fatal(err)
	}
	if link.Addr() != addr {
		t.Errorf("address %s after the cut, was %s", link.Addr(), addr)
	}
	agent, _ = client(t, addr, "A")
	if err := await(agent.Publish("lv/v1/A/up/hh/W1", 1, false, "two")); err != nil {
		t.Fatal(err)
	}
	if m := within(t, "after the cut", centre.Heard()); string(m.Payload) != "two" {
		t.Errorf("heard %q, want two", m.Payload)
	}
	agent.Disconnect(0)

	link.Close()
	if err := link.Restore(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the link accepts connections although it was closed")
	}
}

// publish is a PUBLISH packet with a body of n octets.
func publish(qos byte, n int) []byte {
	p := []byte{mqttPublish<<4 | qos<<1}
	for rest := n; ; {
		b := byte(rest % 128)
		if rest /= 128; rest > 0 {
			p = append(p, b|0x80)
			continue
		}
		return append(append(p, b), bytes.Repeat([]byte{mqttPublish<<4 | 2}, n)...)
	}
}

// However the octets are split, each packet counts once, when it is complete.
func TestPacketsAreCountedHoweverSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var octets []byte
		var want int64
		for range rapid.IntRange(1, 8).Draw(t, "packets") {
			qos := byte(rapid.IntRange(0, 1).Draw(t, "qos"))
			octets = append(octets, publish(qos, rapid.SampledFrom([]int{0, 1, 127, 128, 300, 16384}).Draw(t, "length"))...)
			want += int64(qos)
		}
		var got atomic.Int64
		c := packetCounter{kind: mqttPublish, qos: true, count: &got}
		for len(octets) > 0 {
			n := rapid.IntRange(1, min(len(octets), 5000)).Draw(t, "split")
			if _, err := c.Write(octets[:n]); err != nil {
				t.Fatal(err)
			}
			octets = octets[n:]
		}
		if got.Load() != want {
			t.Fatalf("counted %d, want %d", got.Load(), want)
		}
	})
}
