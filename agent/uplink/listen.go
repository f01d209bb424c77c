package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Ear hears what others publish, for people who look on. It has no will and
// publishes nothing.
type Ear struct {
	Broker   string // tcp://host:1883 or tls://host:8883, with user and password where the broker wants them
	ClientID string
	TLS      func() (*tls.Config, error) // nil: the system's roots, no certificate
	Filters  []string
}

// Listen connects, subscribes, says so and which filters the broker refused, if
// not all, and hands over each message until ctx ends (nil) or the connection
// does. Hear may wait: then the broker does. It is
// called by one goroutine at a time, and no more once Listen has returned.
func (e *Ear) Listen(ctx context.Context, subscribed func(refused []string), hear func(Inbound)) error {
	cfg := Config{Brokers: []string{e.Broker}, TLS: e.TLS}
	cfg.defaults()
	broker, err := parseBroker(e.Broker)
	if err != nil {
		return err
	}
	lost := make(chan error, 1)
	var mu sync.Mutex // the library may still deliver while it is shut down
	over := false
	defer func() {
		mu.Lock()
		over = true
		mu.Unlock()
	}()
	o := mqtt.NewClientOptions()
	o.AddBroker(broker.String())
	o.SetClientID(e.ClientID)
	o.SetCleanSession(true)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetProtocolVersion(4)
	o.SetOrderMatters(true)
	o.SetConnectTimeout(cfg.ConnectTimeout)
	o.SetKeepAlive(cfg.KeepAlive)
	o.SetPingTimeout(cfg.PingTimeout)
	o.SetWriteTimeout(cfg.WriteTimeout)
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err })
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		hear(Inbound{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Arrived: time.Now()})
	})
	o.SetCustomOpenConnectionFn(func(broker *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
		conn, err := cfg.open(ctx, broker)
		if err != nil {
			return nil, err
		}
		return newLink(conn, cfg.WriteTimeout), nil
	})
	client := mqtt.NewClient(o)
	token := client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		<-token.Done() // bounded by the connect timeout; the dial ends at once
		client.Disconnect(0)
		return nil
	}
	switch err := token.Error(); {
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("connect to %s: %w", broker.Redacted(), err)
	}
	defer client.Disconnect(100)
	refused, err := e.subscribe(ctx, client, cfg.ConnectTimeout)
	if err != nil {
		return err
	}
	subscribed(refused)
	select {
	case <-ctx.Done():
		return nil
	case err := <-lost:
		return fmt.Errorf("connection to %s: %w", broker.Redacted(), err)
	}
}

func (e *Ear) subscribe(ctx context.Context, client mqtt.Client, most time.Duration) (refused []string, err error) {
	filters := map[string]byte{}
	for _, f := range e.Filters {
		filters[f] = 1
	}
	token := client.SubscribeMultiple(filters, nil)
	patience := time.NewTimer(most)
	defer patience.Stop()
	select {
	case <-token.Done():
	case <-ctx.Done():
		return nil, nil
	case <-patience.C:
		return nil, fmt.Errorf("subscribe to %q: %w in %s", e.Filters, errNoSuback, most)
	}
	if err := token.Error(); err != nil {
		return nil, fmt.Errorf("subscribe to %q: %w", e.Filters, err)
	}
	codes := token.(*mqtt.SubscribeToken).Result()
	for _, f := range e.Filters {
		if code, ok := codes[f]; !ok || code > granted {
			refused = append(refused, f)
		}
	}
	if len(refused) == len(e.Filters) {
		return nil, fmt.Errorf("subscribe to %q: %w", e.Filters, errNotGranted)
	}
	return refused, nil
}

func parseBroker(raw string) (*url.URL, error) {
	broker, err := url.Parse(raw)
	if err != nil {
		// The error repeats the address, and with it a password.
		return nil, errors.New("broker address is not a URL")
	}
	switch broker.Scheme {
	case "tcp", "mqtt", "tls", "ssl", "mqtts":
	default:
		return nil, fmt.Errorf("broker %s: scheme is none of tcp, tls", broker.Redacted())
	}
	if broker.Hostname() == "" {
		return nil, fmt.Errorf("broker %s: no host", broker.Redacted())
	}
	return broker, nil
}
