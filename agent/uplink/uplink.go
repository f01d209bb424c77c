// Package uplink holds the agent's session with the MQTT broker: it sends what
// the store has committed, in order of urgency, and hears commands.
//
// The store is the only outbox. A record leaves it when the broker has
// acknowledged it on the connection it was sent on, and never otherwise; after
// a lost connection everything not acknowledged is sent again. So the broker may
// read a record twice, with equal content, but misses none, and reads a stream's
// records in order the first time. (A broker that acknowledges before it delivers
// can still mix up two connections; the number in each record tells.) An
// acknowledgement does not say that the record is on the broker's disk.
//
// The package does not say what a message means (agent/message), does not keep
// anything across a restart (buffer), and draws no conclusion from a connection:
// that the broker answers does not mean that the centre is alive.
//
// The MQTT library is given as little to do as possible, because left to itself
// it reports messages as delivered that were not: each connection has a client
// of its own, nothing is published while there is none, and no session outlives
// its connection.
//
// Requirements: R2 (nothing is lost on the way to the historian), R3 (alarms are
// not held up by a backlog), R16 (secure and reliable communication).
package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"syscall"
	"time"

	"lvagent/agent/message"
)

// Outbox is what the owner of the store offers. Its methods are called by one
// goroutine.
type Outbox interface {
	// Streams appends a snapshot of the streams to dst. It counts committed
	// records only.
	Streams(dst []Stream) []Stream

	// Read appends at most limit records of stream to dst, in order, the first
	// of them the first that is there with a number of at least from. It may
	// reuse the bodies of records beyond the length of dst.
	Read(stream string, from uint64, dst []Record, limit int) ([]Record, error)

	// Ack says that the broker has every record of stream up to n. It does not
	// wait for a disk.
	Ack(stream string, n uint64)

	// Wake is sent to, without waiting, when something was committed. It has
	// room for one.
	Wake() <-chan struct{}
}

// Stream is one stream of the outbox; its records are those with numbers from
// First to Next-1. Numbers of a stream never go back. A stream that repeats
// records of another one, as the centre may ask for, has a name of its own each
// time, and is there until its last record is acknowledged.
type Stream struct {
	Name        string
	Class       message.Class
	First, Next uint64
}

// Record is one stored record.
type Record struct {
	Stream string // that it is published as: not the one it was read from, where that repeats another
	N      uint64
	G      uint32
	At     time.Time // when it was due
	Body   []byte    // a JSON object without its number
}

// Inbound is a message that came from the broker.
type Inbound struct {
	Topic    string
	Payload  []byte    // the receiver's own; cut off after message.MaxPayload+1 octets
	Retained bool      // the broker had kept it from before
	Arrived  time.Time // by the runtime's clock: good for differences, not for dates
}

// Config says how to hold the session. Every zero duration and number stands
// for its default.
type Config struct {
	// Brokers are tried in order: tcp://host:1883 or tls://host:8883, with user and
	// password where the broker wants them. There is one session at a time.
	Brokers  []string
	ClientID string // the agent's id
	// TLS makes the settings of one handshake, so that certificates are read anew
	// each time. The broker's name is put in by the uplink, and is verified.
	TLS func() (*tls.Config, error)
	// Identity changes when there is a new certificate to connect with; nil: never.
	Identity func() string
	Topics   message.Topics
	Will     []byte // the status that the broker publishes if the agent vanishes

	// Farewell makes the last status of an orderly stop; nil: the will is it.
	Farewell func() []byte

	ConnectTimeout time.Duration // 20 s: dial, TLS and CONNACK together
	KeepAlive      time.Duration // 15 s, at least 1 s; whole seconds, as the protocol has it
	PingTimeout    time.Duration // 5 s
	WriteTimeout   time.Duration // 10 s: without it a full send buffer on a dead link is never noticed
	Watchdog       time.Duration // 30 s: oldest message without an acknowledgement
	Sweep          time.Duration // 1 s: how often the watchdog looks, and a wake-up that was missed is made good
	StopWait       time.Duration // 5 s: for what is in flight at an orderly stop
	BackoffMin     time.Duration // 1 s
	BackoffMax     time.Duration // 60 s
	Settled        time.Duration // 10 s: a connection lost before counts as failed
	Selftest       time.Duration // how long its echo may take; 0: no self-test
	MaxAge         time.Duration // 24 h, give or take a tenth: then a new connection
	RenewSpread    time.Duration // 10 min: longest wait before a new certificate is used
	FailoverAfter  int           // 3 failures in a row, then the next broker
	Failback       time.Duration // 30 min, up to half as much again: then the first broker is looked for

	// HalfHourAfter is how long after it was due a half-hour waits for its site's
	// turn, so that not all sites send theirs at once. Nothing else waits.
	HalfHourAfter time.Duration

	// At most Window messages wait for their acknowledgement. Everything behind
	// one socket is first in, first out, so the octets of a backlog in flight are
	// an alarm's delay: of the window, at most BacklogWindow messages and
	// BacklogBytes are of a class that can wait.
	Window        int // 16
	BacklogWindow int // 8
	BacklogBytes  int // 32 KiB
	BacklogRate   int // late half-hours and history, messages a second; 0: as fast as they go

	// Dial opens a connection; nil: the system's, on which the kernel gives up what
	// is not acknowledged for as long as Watchdog.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Now  func() time.Time                       // the wall clock, for what is late; nil: the system's
	Draw func(most time.Duration) time.Duration // a random wait from 0 to most; nil: the runtime's dice
	Log  *slog.Logger                           // nil: silent
}

func (c *Config) defaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.ConnectTimeout, 20 * time.Second},
		{&c.KeepAlive, 15 * time.Second},
		{&c.PingTimeout, 5 * time.Second},
		{&c.WriteTimeout, 10 * time.Second},
		{&c.Watchdog, 30 * time.Second},
		{&c.Sweep, time.Second},
		{&c.StopWait, 5 * time.Second},
		{&c.BackoffMin, time.Second},
		{&c.BackoffMax, 60 * time.Second},
		{&c.Settled, 10 * time.Second},
		{&c.MaxAge, 24 * time.Hour},
		{&c.RenewSpread, 10 * time.Minute},
		{&c.Failback, 30 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, n := range []struct {
		field *int
		value int
	}{{&c.Window, 16}, {&c.BacklogWindow, 8}, {&c.BacklogBytes, 32 << 10}, {&c.FailoverAfter, 3}} {
		if *n.field == 0 {
			*n.field = n.value
		}
	}
	// The library counts in whole seconds and takes less than one for never.
	c.KeepAlive = max(c.KeepAlive, time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Draw == nil {
		c.Draw = func(most time.Duration) time.Duration { return rand.N(most + 1) }
	}
	if c.Dial == nil {
		c.Dial = dialer(c.Watchdog).DialContext
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

var (
	errBacklogWindow = errors.New("the backlog's window must be smaller than the whole, or an alarm finds no place")
	errNoBroker      = errors.New("no broker")
	errNoWill        = errors.New("no will: nobody would learn that the agent vanished")
)

func (c *Config) validate() ([]*url.URL, error) {
	var all []*url.URL
	for _, raw := range c.Brokers {
		broker, err := parseBroker(raw)
		if err != nil {
			return nil, err
		}
		all = append(all, broker)
	}
	switch {
	case len(all) == 0:
		return nil, errNoBroker
	case !message.ValidAgent(c.ClientID):
		return nil, fmt.Errorf("client id %q: not an agent's id", c.ClientID)
	case len(c.Will) == 0:
		return nil, errNoWill
	case c.BacklogWindow >= c.Window:
		return nil, fmt.Errorf("window %d, backlog %d: %w", c.Window, c.BacklogWindow, errBacklogWindow)
	}
	return all, nil
}

// State is what can be seen of the session from outside.
type State struct {
	Connected   bool      // and subscribed to commands
	Since       time.Time // of Connected, by the wall clock
	Published   uint64    // messages handed to a connection, repetitions included
	Acked       uint64    // messages that a broker acknowledged
	InFlight    int
	Reconnects  uint64 // connections after the first
	QuickLosses int    // connections in a row that were lost before they settled
	LastError   string // of the last attempt or connection that failed
	Broker      string // the one that is tried or connected, without a password
	Selftest    string // what is wrong with the way to the broker and back; empty: nothing is known to be
	// Duplicate says that the broker closes one connection after another, as it
	// does when another client uses this id.
	Duplicate bool
}

// Uplink is the session with the broker, across any number of connections.
type Uplink struct {
	cfg     Config
	box     Outbox
	deliver func(Inbound)
	changed chan struct{} // a retained message changed
	edge    *edge         // nil: the JSON contract is spoken

	mu       sync.Mutex
	state    State
	retained []retained // in the order in which they are sent after a connect
}

// New returns an uplink that sends from box and hands what it hears to deliver.
// Deliver must not wait: while it does, no acknowledgement is read.
func New(cfg Config, box Outbox, deliver func(Inbound)) *Uplink {
	cfg.defaults()
	return &Uplink{cfg: cfg, box: box, deliver: deliver, changed: make(chan struct{}, 1)}
}

// State returns the state now.
func (u *Uplink) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

// Run holds the session until ctx ends, and then ends it in order: it waits for
// what is in flight, sends retained messages that changed and the farewell, and
// disconnects. It returns an error only where the configuration is at fault. A
// broker that is absent is not one: Run keeps trying.
func (u *Uplink) Run(ctx context.Context) error {
	all, err := u.cfg.validate()
	if err != nil {
		return fmt.Errorf("start uplink: %w", err)
	}
	choice, lost := brokers{all: all}, losses{}
	failures, reported := 0, stage("")
	for {
		broker := choice.now()
		began := time.Now()
		s := newSession(u, broker)
		if choice.at > 0 {
			s.first = choice.all[0]
		}
		u.trying(broker)
		err := s.run(ctx)
		if ctx.Err() != nil {
			err = nil // ordered
		}
		lasted := time.Since(began)
		connected := u.ended(err, lasted)
		if ctx.Err() != nil {
			return nil
		}
		if planned(err) {
			u.cfg.Log.Info("broker connection ended in order", "broker", broker.Redacted(), "why", err.Error())
			if errors.Is(err, errFailback) {
				choice.at = 0
			}
			failures, choice.failed = 0, 0
			continue
		}
		if connected && hungUp(err) && lost.add(time.Now()) && u.setDuplicate(true) {
			u.cfg.Log.Error("broker closes one connection after another: another client may use this id", "client", u.cfg.ClientID,
				"count", takeovers, "within", takeoverWithin)
		}
		if connected && lasted >= u.settled() {
			failures, choice.failed = 0, 0
		}
		failures++
		// Logged once per kind of failure until a connection comes about.
		at := stageOf(err)
		if connected || at != reported {
			u.cfg.Log.Warn("broker "+string(at), "broker", broker.Redacted(), "err", err)
		} else {
			u.cfg.Log.Debug("broker "+string(at), "broker", broker.Redacted(), "err", err, "attempt", failures)
		}
		reported = at
		if choice.fail(u.cfg.FailoverAfter) {
			u.cfg.Log.Warn("next broker", "broker", choice.now().Redacted(), "after", u.cfg.FailoverAfter)
			reported = ""
		}
		wait := time.NewTimer(u.backoff(failures))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}

// hungUp reports whether the far end closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// settled is how long a connection must have lasted to count as good: longer
// where two clients seem to throw each other out.
func (u *Uplink) settled() time.Duration {
	if u.State().Duplicate {
		return max(u.cfg.Settled, takeoverWithin)
	}
	return u.cfg.Settled
}

// setDuplicate notes whether another client seems to use our id, and reports a
// change.
func (u *Uplink) setDuplicate(is bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.state.Duplicate
	u.state.Duplicate = is
	return is != was
}

func (u *Uplink) trying(broker *url.URL) {
	u.mu.Lock()
	u.state.Broker = broker.Redacted()
	u.mu.Unlock()
}

// backoff draws the wait after a number of failures in a row. The whole wait is
// random, so that a fleet that lost its broker together does not come back
// together.
func (u *Uplink) backoff(failures int) time.Duration {
	most := u.cfg.BackoffMin << min(failures-1, 16)
	return u.cfg.Draw(min(most, u.cfg.BackoffMax))
}

// began notes that a session can send and hear.
func (u *Uplink) began() {
	u.mu.Lock()
	if !u.state.Since.IsZero() {
		u.state.Reconnects++
	}
	u.state.Connected, u.state.Since = true, u.cfg.Now()
	u.mu.Unlock()
	u.cfg.Log.Info("broker connected", "client", u.cfg.ClientID)
}

// ended notes the end of a session and reports whether it had come about.
func (u *Uplink) ended(err error, lasted time.Duration) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	connected := u.state.Connected
	if connected {
		u.state.Connected, u.state.Since = false, u.cfg.Now()
		u.state.QuickLosses++
		if lasted >= u.cfg.Settled {
			u.state.QuickLosses = 0
		}
	}
	u.state.InFlight = 0
	if err != nil {
		u.state.LastError = err.Error()
	}
	return connected
}

// count notes messages published and acknowledged.
func (u *Uplink) count(published, acked uint64, inFlight int) {
	u.mu.Lock()
	u.state.Published += published
	u.state.Acked += acked
	u.state.InFlight = inFlight
	u.mu.Unlock()
}
