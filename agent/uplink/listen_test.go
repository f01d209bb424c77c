package uplink

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// One who looks on hears what is retained and what comes, publishes nothing, and
// learns of the end.
func TestEar(t *testing.T) {
	b := startBroker(t, freeAddress(t))
	publish := func(topic string, payload []byte, retain bool) {
		t.Helper()
		if err := b.server.Publish(topic, payload, retain, 1); err != nil {
			t.Fatal(err)
		}
	}
	publish("lv/v1/a/up/status", []byte("1"), true)
	var mu sync.Mutex
	var got []Inbound
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(got) }
	subscribed := make(chan struct{})
	ended := make(chan error, 1)
	e := Ear{Broker: "tcp://" + b.addr, ClientID: "ear", Filters: []string{"lv/v1/+/up/#", "lv/v1/_all/cmd/heartbeat"}}
	go func() {
		ended <- e.Listen(t.Context(), func([]string) { close(subscribed) }, func(in Inbound) {
			mu.Lock()
			got = append(got, in)
			mu.Unlock()
		})
	}()
	<-subscribed
	eventually(t, "what is retained", func() bool { return count() == 1 })
	publish("lv/v1/b/up/hh/W1", []byte("2"), false)
	publish("lv/v1/b/up/hist/rec/W1", bytes.Repeat([]byte("x"), 1<<20), false)
	publish("lv/v1/_all/cmd/heartbeat", []byte("3"), false)
	eventually(t, "four messages", func() bool { return count() == 4 })
	mu.Lock()
	if r := got[0]; r.Topic != "lv/v1/a/up/status" || !r.Retained || string(r.Payload) != "1" || r.Arrived.IsZero() {
		t.Errorf("first is %+v, want the retained status", r)
	}
	if n := len(got[2].Payload); n > mostPacket {
		t.Errorf("a giant came with %d octets, want at most %d", n, mostPacket)
	}
	mu.Unlock()
	if b.count() != 0 {
		t.Errorf("one who looks on published: %v", b.all())
	}
	if !b.cut("ear") {
		t.Fatal("no connection to cut")
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "connection to tcp://") {
		t.Errorf("ended with %v, want the loss", err)
	}
}

func TestEarEnds(t *testing.T) {
	b := startBroker(t, freeAddress(t))
	denied := startScript(t, &script{subscribed: 0x80})
	deaf := freeAddress(t)
	listen := func(ctx context.Context, broker string) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		e := Ear{Broker: broker, ClientID: "ear", Filters: []string{"#"}}
		return e.Listen(ctx, func([]string) {}, func(Inbound) {})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := listen(ctx, "tcp://"+b.addr); err != nil {
		t.Errorf("an orderly end is %v", err)
	}
	if err := listen(t.Context(), "tcp://"+denied.addr); !errors.Is(err, errNotGranted) {
		t.Errorf("refused subscription: %v, want %v", err, errNotGranted)
	}
	if err := listen(t.Context(), "tcp://"+deaf); err == nil || !strings.Contains(err.Error(), "connect to tcp://"+deaf) {
		t.Errorf("nobody there: %v", err)
	}
	for _, broker := range []string{"", "http://x", "tcp://", "tcp://u:secret@h:x"} {
		if err := listen(t.Context(), broker); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("broker %q: %v", broker, err)
		}
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := listen(ctx, "tcp://"+b.addr); err != nil {
		t.Errorf("end by time: %v", err)
	}
}

// Who may hear a part hears it, and learns what not.
func TestEarHearsWhatItMay(t *testing.T) {
	broker := startScript(t, &script{denied: "spBv1.0/#"})
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	e := Ear{Broker: "tcp://" + broker.addr, ClientID: "ear", Filters: []string{"lv/v1/+/up/#", "spBv1.0/#"}}
	if err := e.Listen(ctx, func(refused []string) { got = refused; cancel() }, func(Inbound) {}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != "spBv1.0/#" {
		t.Errorf("refused %q, want that of Sparkplug alone", got)
	}
}
