package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"lvagent/agent/message"
)

// stage is how far a session came before it failed.
type stage string

const (
	unreachable stage = "unreachable"
	refused     stage = "refused the subscription"
	lost        stage = "lost"
)

// stageError says at which stage a session failed.
type stageError struct {
	stage stage
	err   error
}

func (e *stageError) Error() string { return e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

func stageOf(err error) stage {
	if e, ok := errors.AsType[*stageError](err); ok {
		return e.stage
	}
	return lost
}

var (
	errNoAck      = errors.New("no acknowledgement")
	errNoSuback   = errors.New("no answer to the subscription")
	errNotGranted = errors.New("not granted")
)

// granted is the highest code of a SUBACK that is not a refusal.
const granted = 2

// flight is a message that waits for its acknowledgement. Its buffer is used
// again once the message was acknowledged: the library is done with it then.
type flight struct {
	token   mqtt.Token
	lane    *lane // nil: a retained message
	n       uint64
	backlog bool
	sent    time.Time
	payload []byte
}

// session is one connection, from the dial to its end. It is never used again.
type session struct {
	u      *Uplink
	broker *url.URL
	client mqtt.Client
	lost   chan error // sent to once, after every token of the client is done
	gone   bool       // lost was heard, or nobody needs it any more

	began    time.Time
	first    *url.URL // the broker to go back to; nil: this is it
	scout    sync.WaitGroup
	looked   chan error // what the scout found
	age      time.Time  // when the connection is too old
	failback time.Time  // when to look for the first broker
	identity string     // that it was opened with
	renew    time.Time  // when to use a new one; zero: there is none
	checked  time.Time  // the identity was looked at

	test selftest
	rate throttle

	connMu sync.Mutex // the library dials on a goroutine of its own
	conn   net.Conn

	lanes   lanes
	unread  bool // a stream could not be read; the log has it
	flights []flight
	oldest  int // index of the oldest flight
	flying  int
	backlog int // flights that are backlog, and their octets
	octets  int
}

func newSession(u *Uplink, broker *url.URL) *session {
	return &session{
		u: u, broker: broker, lost: make(chan error, 1), looked: make(chan error, 1),
		lanes:   lanes{box: u.box, after: u.cfg.HalfHourAfter, byName: make(map[string]*lane)},
		flights: make([]flight, u.cfg.Window),
		test:    selftest{wait: u.cfg.Selftest, echoes: make(chan string, 1)},
		rate:    throttle{rate: u.cfg.BacklogRate},
	}
}

// run connects, subscribes and sends until ctx ends or the connection does.
func (s *session) run(ctx context.Context) error {
	if s.u.cfg.Identity != nil {
		s.identity = s.u.cfg.Identity()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.scout.Wait()
	defer cancel()
	if s.u.edge != nil {
		return s.runEdge(ctx)
	}
	if err := s.connect(ctx); err != nil {
		return &stageError{unreachable, err}
	}
	if err := s.subscribe(ctx); err != nil {
		s.drop()
		return &stageError{refused, err}
	}
	s.began = time.Now()
	s.plan()
	s.u.resendRetained()
	s.u.began()
	err := s.send(ctx)
	switch {
	case err == nil:
		s.finish(true)
	case planned(err):
		// Elsewhere the agent is gone from here; on the same broker nobody needs to
		// know.
		s.finish(errors.Is(err, errFailback))
		return err
	default:
		if cause := s.drop(); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return &stageError{lost, err}
	}
	return nil
}

func (s *session) connect(ctx context.Context) error {
	cfg := &s.u.cfg
	return s.handshake(ctx, cfg.Topics.Status(), cfg.Will, true, s.hear, func() (net.Conn, error) { return s.dial(ctx, s.broker) })
}

// handshake sends the CONNECT packet, with the will, over what open opens.
func (s *session) handshake(ctx context.Context, topic string, will []byte, keep bool, hear mqtt.MessageHandler, open func() (net.Conn, error)) error {
	cfg := &s.u.cfg
	o := mqtt.NewClientOptions()
	o.AddBroker(s.broker.String())
	o.SetClientID(cfg.ClientID)
	// A session that outlived its connection would keep messages that the store
	// keeps already, and send them again in any order.
	o.SetCleanSession(true)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetStore(mqtt.NewMemoryStore())
	// Said explicitly, or a refusal is followed by a second attempt with 3.1.
	o.SetProtocolVersion(4)
	o.SetOrderMatters(true)
	o.SetConnectTimeout(cfg.ConnectTimeout)
	o.SetKeepAlive(cfg.KeepAlive)
	o.SetPingTimeout(cfg.PingTimeout)
	o.SetWriteTimeout(cfg.WriteTimeout)
	o.SetBinaryWill(topic, will, 1, keep)
	o.SetDefaultPublishHandler(hear)
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.lost <- err })
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return open() })
	s.client = mqtt.NewClient(o)
	token := s.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		s.interrupt()
		<-token.Done() // bounded by the connect timeout
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("connect to %s: %w", s.broker.Redacted(), err)
	}
	return nil
}

func (s *session) dial(ctx context.Context, broker *url.URL) (net.Conn, error) {
	conn, err := s.u.cfg.open(ctx, broker)
	if err != nil {
		return nil, err
	}
	conn = newLink(conn, s.u.cfg.WriteTimeout)
	s.connMu.Lock()
	s.conn = conn
	s.connMu.Unlock()
	return conn, nil
}

// interrupt makes every read and write of the connection fail. The library must
// not see a connection that was closed under it: it takes that for its own doing
// and never reports the loss.
func (s *session) interrupt() {
	s.connMu.Lock()
	defer s.connMu.Unlock()
	if s.conn != nil {
		s.conn.SetDeadline(time.Unix(1, 0))
	}
}

// drop ends the connection without a DISCONNECT, so that the broker publishes
// the will, and waits until the library has let go of it. It returns why the
// connection ended, if it ended by itself.
func (s *session) drop() error {
	if s.gone {
		return nil
	}
	s.gone = true
	select {
	case err := <-s.lost:
		return err
	default:
	}
	s.interrupt()
	patience := time.NewTimer(s.u.cfg.StopWait)
	defer patience.Stop()
	select {
	case err := <-s.lost:
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			return nil // our own doing
		}
		return err
	case <-patience.C:
		s.client.Disconnect(0)
		return nil
	}
}

// subscribe asks for commands. Without them the agent cannot be steered, so a
// refusal ends the session. The broadcast heartbeat is in addition to the
// agent's own, and a broker's access list may not know it.
func (s *session) subscribe(ctx context.Context) error {
	topics := s.u.cfg.Topics
	filters := map[string]byte{topics.Commands(): 1}
	if b := topics.Broadcast(); b != "" {
		filters[b] = 1
	}
	if s.test.wait > 0 {
		filters[topics.Selftest()] = 1
	}
	codes, err := s.await(ctx, filters, topics.Commands())
	if err != nil {
		return err
	}
	if code, ok := codes[topics.Commands()]; !ok || code > granted {
		return fmt.Errorf("subscribe to %s: %w: code 0x%02x", topics.Commands(), errNotGranted, code)
	}
	if code := codes[topics.Broadcast()]; code > granted {
		s.u.cfg.Log.Warn("broadcast heartbeat refused", "topic", topics.Broadcast(), "code", code)
	}
	if code := codes[topics.Selftest()]; code > granted {
		s.test.denied = true
		s.u.setSelftest(fmt.Errorf("subscribe to %s: %w: code 0x%02x", topics.Selftest(), errSelftestDenied, code))
	}
	return nil
}

// await subscribes and returns the broker's answers; an error names one topic.
func (s *session) await(ctx context.Context, filters map[string]byte, topic string) (map[string]byte, error) {
	token := s.client.SubscribeMultiple(filters, nil)
	patience := time.NewTimer(s.u.cfg.ConnectTimeout)
	defer patience.Stop()
	select {
	case <-token.Done():
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-patience.C:
		return nil, fmt.Errorf("subscribe to %s: %w in %s", topic, errNoSuback, s.u.cfg.ConnectTimeout)
	}
	if err := token.Error(); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	return token.(*mqtt.SubscribeToken).Result(), nil
}

// hear hands over a message. It is called by the library, one at a time.
func (s *session) hear(_ mqtt.Client, m mqtt.Message) {
	payload := m.Payload()
	if m.Topic() == s.u.cfg.Topics.Selftest() {
		s.test.echo(payload)
		return
	}
	payload = payload[:min(len(payload), message.MaxPayload+1)]
	s.u.deliver(Inbound{Topic: m.Topic(), Payload: bytes.Clone(payload), Retained: m.Retained(), Arrived: time.Now()})
}

// send publishes until ctx ends (nil) or the connection is of no more use.
func (s *session) send(ctx context.Context) error {
	if err := s.lanes.refresh(); err != nil {
		return err
	}
	sweep := time.NewTicker(s.u.cfg.Sweep)
	defer sweep.Stop()
	pause := time.NewTimer(time.Hour) // while the backlog's rate has it wait
	defer pause.Stop()
	for {
		// An alarm that was committed meanwhile must be seen before the next
		// choice is made.
		select {
		case <-s.u.box.Wake():
			if err := s.lanes.refresh(); err != nil {
				return err
			}
		default:
		}
		if err := s.settle(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		sent, wait := s.publishNext()
		if sent {
			continue
		}
		var later <-chan time.Time
		if wait > 0 {
			pause.Reset(wait)
			later = pause.C
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.lost:
			s.gone = true
			return fmt.Errorf("connection: %w", err)
		case <-s.u.box.Wake():
			if err := s.lanes.refresh(); err != nil {
				return err
			}
		case <-s.u.changed:
		case <-later:
		case <-s.oldestDone():
		case nonce := <-s.test.echoes:
			s.hearEcho(nonce)
		case err := <-s.looked:
			if err == nil {
				return errFailback
			}
			s.u.cfg.Log.Debug("first broker still unreachable", "broker", s.first.Redacted(), "err", err)
		case <-sweep.C:
			if err := s.watch(); err != nil {
				return err
			}
			if err := s.appointments(ctx); err != nil {
				return err
			}
			if err := s.lanes.refresh(); err != nil {
				return err
			}
		}
	}
}

// watch fails when the oldest message in flight has waited too long. A broker
// that takes messages and acknowledges none looks alive to the keep-alive.
func (s *session) watch() error {
	if s.flying == 0 {
		return nil
	}
	if age := time.Since(s.flights[s.oldest].sent); age > s.u.cfg.Watchdog {
		return fmt.Errorf("publish: %w in %s", errNoAck, age.Round(time.Millisecond))
	}
	return nil
}

// identityEvery is how often the files of the certificate are looked at.
const identityEvery = time.Minute

// plan sets the times of this connection. All of them are drawn, so that a fleet
// that connected together does not go together.
func (s *session) plan() {
	cfg := &s.u.cfg
	s.age = s.began.Add(cfg.MaxAge - cfg.MaxAge/10 + cfg.Draw(cfg.MaxAge/5))
	s.failback = s.began.Add(cfg.Failback + cfg.Draw(cfg.Failback/2))
	s.checked = s.began
}

// appointments does what is due at a time and returns why the connection should
// end, if it should.
func (s *session) appointments(ctx context.Context) error {
	cfg, now := &s.u.cfg, time.Now()
	s.watchSelftest(now)
	if now.Sub(s.began) >= takeoverWithin && s.u.setDuplicate(false) {
		cfg.Log.Info("broker keeps the connection again", "client", cfg.ClientID)
	}
	if cfg.Identity != nil && s.renew.IsZero() && now.Sub(s.checked) >= identityEvery {
		s.checked = now
		if cfg.Identity() != s.identity {
			s.renew = now.Add(cfg.Draw(cfg.RenewSpread))
			cfg.Log.Info("new certificate; a new connection follows", "in", s.renew.Sub(now).Round(time.Second))
		}
	}
	switch {
	case now.After(s.age):
		return errAge
	case !s.renew.IsZero() && now.After(s.renew):
		return errRenewed
	case s.first != nil && now.After(s.failback) && len(s.looked) == 0:
		s.failback = now.Add(cfg.Failback + cfg.Draw(cfg.Failback/2))
		// Looked at before the connection that works is given up. It is only dialled:
		// a session there would be a second one.
		s.scout.Go(func() {
			conn, err := cfg.open(ctx, s.first)
			if err == nil {
				conn.Close()
			}
			s.looked <- err
		})
	}
	return nil
}

// oldestDone is closed when the oldest message in flight is done with. A broker
// acknowledges in the order of sending [MQTT-4.6.0-2].
func (s *session) oldestDone() <-chan struct{} {
	if s.flying == 0 {
		return nil
	}
	return s.flights[s.oldest].token.Done()
}

// settle passes acknowledgements on, oldest first. A token that is done with an
// error was not acknowledged.
func (s *session) settle() error {
	acked := uint64(0)
	for s.flying > 0 {
		f := &s.flights[s.oldest]
		select {
		case <-f.token.Done():
		default:
			s.noteAcked(acked)
			return nil
		}
		if err := f.token.Error(); err != nil {
			s.noteAcked(acked)
			return fmt.Errorf("publish: %w", err)
		}
		if f.lane != nil {
			s.u.box.Ack(f.lane.name, f.n)
		}
		if f.backlog {
			s.backlog--
			s.octets -= len(f.payload)
		}
		s.oldest = (s.oldest + 1) % len(s.flights)
		s.flying--
		acked++
	}
	s.noteAcked(acked)
	return nil
}

func (s *session) noteAcked(n uint64) {
	if n > 0 {
		s.u.count(0, n, s.flying)
	}
}

// publishNext publishes the most urgent message there is room for, if any. Where
// only the backlog's rate is against it, it returns how long to wait.
func (s *session) publishNext() (sent bool, wait time.Duration) {
	if s.flying == len(s.flights) {
		return false, 0
	}
	f := s.free()
	if topic, payload, ok := s.u.nextRetained(f.payload[:0]); ok {
		f.lane, f.n, f.backlog, f.payload = nil, 0, false, payload
		s.publish(f, topic, true)
		return true, 0
	}
	if flying := s.flying; s.test.wait > 0 {
		if s.beginSelftest(time.Now()); s.flying > flying {
			return true, 0
		}
	}
	now := s.u.cfg.Now()
	c, found, err := s.lanes.choose(now)
	if err != nil && !s.unread {
		s.unread = true
		s.u.cfg.Log.Error("store not readable", "err", err)
	}
	if !found {
		return false, 0
	}
	r := c.record
	// Nothing more urgent is there, or it would have been chosen.
	if c.backlog && (s.backlog >= s.u.cfg.BacklogWindow || s.backlog > 0 && s.octets+len(r.Body) > s.u.cfg.BacklogBytes) {
		return false, 0
	}
	if c.rank >= hasTime {
		if wait := s.rate.wait(time.Now()); wait > 0 {
			return false, wait
		}
		s.rate.take()
	}
	c.lane.read++
	f.lane, f.n, f.backlog = c.lane, r.N, c.backlog
	f.payload = message.Seal(f.payload[:0], r.Body, r.Stream, r.N, r.G)
	topic := s.u.cfg.Topics.Route(r.Stream, r.At, now)
	if c.lane.repeats(r) {
		topic = s.u.cfg.Topics.History(r.Stream) // whatever its age
	}
	s.publish(f, topic, false)
	return true, 0
}

// free returns the place of the next flight; the caller has seen that there is
// one.
func (s *session) free() *flight { return &s.flights[(s.oldest+s.flying)%len(s.flights)] }

// publish hands a message to the library. That can take as long as the write
// timeout, after which the message may have been sent or not; its token is then
// done with an error, and so is the session. Only the sender publishes.
func (s *session) publish(f *flight, topic string, keep bool) {
	if f.backlog {
		s.backlog++
		s.octets += len(f.payload)
	}
	s.flying++
	f.sent = time.Now()
	f.token = s.client.Publish(topic, 1, keep, f.payload)
	s.u.count(1, 0, s.flying)
}

// finish ends the session in order: no more records, but what is in flight, the
// retained messages that changed, and the farewell where it is one.
func (s *session) finish(farewell bool) {
	deadline := time.NewTimer(s.u.cfg.StopWait)
	defer deadline.Stop()
	said := !farewell
	for {
		if s.settle() != nil {
			s.drop()
			return
		}
		if f := s.free(); farewell && s.flying < len(s.flights) && !said {
			topic, payload, ok := s.u.nextRetained(f.payload[:0])
			if !ok && s.flying == 0 {
				topic, payload, ok, said = s.u.cfg.Topics.Status(), s.farewell(), true, true
			}
			if ok {
				f.lane, f.backlog, f.payload = nil, false, payload
				s.publish(f, topic, true)
				continue
			}
		}
		if said && s.flying == 0 {
			s.client.Disconnect(250)
			return
		}
		select {
		case <-s.oldestDone():
		case <-s.lost:
			return
		case <-deadline.C:
			// The will says that the agent is gone; nothing else got through.
			s.drop()
			return
		}
	}
}

func (s *session) farewell() []byte {
	if s.u.cfg.Farewell == nil {
		return s.u.cfg.Will
	}
	return s.u.cfg.Farewell()
}
