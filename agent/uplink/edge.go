package uplink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"lvagent/agent/message"
	"lvagent/agent/sparkplug"
	"lvagent/meter"
)

// Edge makes an uplink speak Sparkplug B instead of the JSON contract.
//
// Sparkplug sends its data at QoS 0 and knows no acknowledgement. The proof that
// this uplink uses is a barrier: after records a small message at QoS 1 on the
// same connection, which the broker acknowledges after it has read what came
// before. It is weaker than an acknowledgement for each record: it does not say
// that the broker passed them on.
type Edge struct {
	Node    sparkplug.Config
	Kept    func() []byte        // the state that was kept, from disk
	Keep    func([]byte)         // starts keeping it
	Backlog func() int           // records that wait
	Since   func() time.Duration // the time since the agent's start, as in a reading
}

// keepWait is how long a CONNECT waits for its number to be on disk. A store that
// does not answer must not keep the agent from its centre.
const keepWait = 2 * time.Second

// What comes in waits for the sender in bounded places.
const (
	mostCommands = 64
	mostStates   = 8
)

var errHostGone = errors.New("the primary host went offline")

// edge is the node across connections. The sender's goroutine owns it, except
// for what is under the mutex and the channels.
type edge struct {
	Edge
	node     *sparkplug.Node
	commands chan Inbound
	states   chan []byte // of the primary host

	mu     sync.Mutex
	latest map[string]*handed // by way
	order  []*handed
	some   chan struct{} // there is a reading
}

// handed is the latest reading of a way.
type handed struct {
	reading meter.Reading
	wall    time.Time
	unread  bool
}

// NewEdge returns an uplink that speaks Sparkplug B.
func NewEdge(cfg Config, e Edge, box Outbox, deliver func(Inbound)) *Uplink {
	u := New(cfg, box, deliver)
	kept := sparkplug.State{}
	if body := e.Kept(); body != nil {
		if err := json.Unmarshal(body, &kept); err != nil {
			u.cfg.Log.Error("Sparkplug state not resumed", "err", err)
			kept = sparkplug.State{}
		}
	}
	u.edge = &edge{
		Edge: e, node: sparkplug.New(e.Node, kept, u.cfg.Now()), latest: map[string]*handed{},
		commands: make(chan Inbound, mostCommands), states: make(chan []byte, mostStates), some: make(chan struct{}, 1),
	}
	for _, w := range e.Node.Ways {
		h := new(handed)
		u.edge.latest[w.ID] = h
		u.edge.order = append(u.edge.order, h)
	}
	return u
}

// Reading hands over a reading. Only the latest of each way is kept; it never
// waits for a connection.
func (u *Uplink) Reading(r *meter.Reading, wall time.Time) {
	e := u.edge
	if e == nil {
		return
	}
	h := e.latest[r.Way]
	if h == nil {
		return
	}
	e.mu.Lock()
	h.reading, h.wall, h.unread = *r, wall, true
	e.mu.Unlock()
	select {
	case e.some <- struct{}{}:
	default:
	}
}

// read gives the node what was handed over since.
func (e *edge) read() {
	for _, h := range e.order {
		e.mu.Lock()
		r, wall, unread := h.reading, h.wall, h.unread
		h.unread = false
		e.mu.Unlock()
		if unread {
			e.node.Reading(&r, wall, r.At)
		}
	}
}

// keep hands the node's state to the store. With a wait it returns when it is on
// disk, or after that time.
func (u *Uplink) keep(ctx context.Context, wait time.Duration) {
	e := u.edge
	body, err := json.Marshal(e.node.State)
	if err != nil {
		u.cfg.Log.Error("Sparkplug state not kept", "err", err)
		return
	}
	e.Keep(body)
	for end := time.Now().Add(wait); wait > 0 && !bytes.Equal(e.Kept(), body); {
		if time.Now().After(end) {
			u.cfg.Log.Warn("number of the connection not on disk", "bdSeq", e.node.State.BdSeq, "within", wait)
			return
		}
		pause := time.NewTimer(keepWait / 100)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// unproven is a record that was sent and that no barrier has proved yet.
type unproven struct {
	lane    *lane
	n       uint64
	backlog bool
	octets  int
}

// edgeSession is one connection of the edge node.
type edgeSession struct {
	*session
	edge   *edge
	sent   []unproven
	proves int // of sent, by the barrier that is under way; 0: there is none

	counted time.Duration // when the backlog was last counted
}

// runEdge is [session.run] of a Sparkplug node.
func (s *session) runEdge(ctx context.Context) error {
	e := &edgeSession{session: s, edge: s.u.edge}
	// The number is of the CONNECT packet: a broker that can't be reached takes
	// none.
	conn, err := s.dial(ctx, s.broker)
	if err != nil {
		return &stageError{unreachable, fmt.Errorf("connect to %s: %w", s.broker.Redacted(), err)}
	}
	node := e.edge.node
	node.Lost()
	will := node.Connect()
	s.u.keep(ctx, keepWait)
	e.empty()
	err = s.handshake(ctx, will.Topic, will.Payload, false, e.hear, func() (net.Conn, error) { return conn, nil })
	if err != nil {
		conn.Close()
		return &stageError{unreachable, err}
	}
	if err := e.subscribe(ctx); err != nil {
		s.drop()
		return &stageError{refused, err}
	}
	s.began = time.Now()
	s.plan()
	s.u.began()
	err = e.speak(ctx)
	if err == nil || planned(err) {
		e.leave()
		return err
	}
	if cause := s.drop(); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return &stageError{lost, err}
}

// empty throws away what an earlier connection heard.
func (e *edgeSession) empty() {
	for {
		select {
		case <-e.edge.commands:
		case <-e.edge.states:
		default:
			return
		}
	}
}

// subscribe asks for commands and the host's state, before any birth.
func (e *edgeSession) subscribe(ctx context.Context) error {
	all := e.edge.node.Subscriptions()
	filters := map[string]byte{}
	for _, topic := range all {
		filters[topic] = 1
	}
	codes, err := e.await(ctx, filters, all[0])
	if err != nil {
		return err
	}
	for _, topic := range all {
		if code, ok := codes[topic]; !ok || code > granted {
			return fmt.Errorf("subscribe to %s: %w: code 0x%02x", topic, errNotGranted, code)
		}
	}
	return nil
}

// hear is called by the library, one message at a time, and does not wait. Of the
// host's states the newest count.
func (e *edgeSession) hear(_ mqtt.Client, m mqtt.Message) {
	payload := m.Payload()
	payload = bytes.Clone(payload[:min(len(payload), message.MaxPayload+1)])
	if e.edge.node.HostTopic(m.Topic()) {
		for {
			select {
			case e.edge.states <- payload:
				return
			default:
			}
			select {
			case <-e.edge.states:
			default:
			}
		}
	}
	select {
	case e.edge.commands <- Inbound{Topic: m.Topic(), Payload: payload, Retained: m.Retained(), Arrived: time.Now()}:
	default:
		e.u.cfg.Log.Error("command not taken: too many at once", "topic", m.Topic())
	}
}

// speak is the one goroutine that publishes: the sequence number runs over all of
// it. It returns nil when ctx ends.
func (e *edgeSession) speak(ctx context.Context) error {
	if err := e.lanes.refresh(); err != nil {
		return err
	}
	sweep := time.NewTicker(e.u.cfg.Sweep)
	defer sweep.Stop()
	pause := time.NewTimer(time.Hour) // while the backlog's rate has it wait
	defer pause.Stop()
	for {
		if err := e.turn(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		var later <-chan time.Time
		sent, wait := e.sendRecord()
		if sent {
			continue
		}
		e.barrier()
		if wait > 0 {
			pause.Reset(wait)
			later = pause.C
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-e.lost:
			e.gone = true
			return fmt.Errorf("connection: %w", err)
		case in := <-e.edge.commands:
			e.command(ctx, in)
		case state := <-e.edge.states:
			if err := e.host(state); err != nil {
				return err
			}
		case <-e.u.box.Wake():
		case <-e.u.changed:
		case <-e.edge.some:
		case <-later:
		case <-e.oldestDone():
		case err := <-e.looked:
			if err == nil {
				return errFailback
			}
		case <-sweep.C:
			if err := e.watch(); err != nil {
				return err
			}
			if err := e.appointments(ctx); err != nil {
				return err
			}
		}
		if err := e.lanes.refresh(); err != nil {
			return err
		}
	}
}

// turn takes what came in, and tells the host of the present.
func (e *edgeSession) turn(ctx context.Context) error {
	for {
		select {
		case state := <-e.edge.states:
			if err := e.host(state); err != nil {
				return err
			}
			continue
		case in := <-e.edge.commands:
			e.command(ctx, in)
			continue
		default:
		}
		break
	}
	if err := e.prove(); err != nil {
		return err
	}
	node, wall, now := e.edge.node, e.u.cfg.Now(), e.edge.Since()
	e.states(wall)
	e.edge.read()
	if now-e.counted >= time.Second || e.counted == 0 {
		e.counted = now
		node.Backlog(e.edge.Backlog(), wall)
	}
	if !node.Born() && node.Ready() {
		return e.publishAll(node.Births(wall, now))
	}
	return e.publishAll(node.Changes(wall, now))
}

// states gives the node the agent's retained messages that changed.
func (e *edgeSession) states(wall time.Time) {
	prefix := strings.TrimSuffix(e.u.cfg.Topics.Status(), "status")
	var payload []byte
	for {
		topic, body, ok := e.u.nextRetained(payload[:0])
		if !ok {
			return
		}
		if err := e.edge.node.Retained(strings.TrimPrefix(topic, prefix), body, wall); err != nil {
			e.u.cfg.Log.Error("state not told to the Sparkplug host", "err", err)
		}
		payload = body
	}
}

func (e *edgeSession) command(ctx context.Context, in Inbound) {
	node, wall := e.edge.node, e.u.cfg.Now()
	commands, rebirth, err := node.Command(in.Topic, in.Payload, in.Retained, wall)
	if err != nil {
		e.u.cfg.Log.Warn("Sparkplug command refused", "err", err)
	}
	if node.Changed() {
		e.u.keep(ctx, 0)
	}
	prefix := strings.TrimSuffix(e.u.cfg.Topics.Commands(), "#")
	for _, c := range commands {
		e.u.deliver(Inbound{Topic: prefix + c.Name, Payload: c.Body, Arrived: in.Arrived})
	}
	if rebirth && node.Born() {
		e.u.cfg.Log.Info("Sparkplug host asks for a rebirth")
		// An error shows at the next publication.
		_ = e.publishAll(node.Births(wall, e.edge.Since()))
	}
}

// host takes the primary host's state; an error ends the session in order.
func (e *edgeSession) host(state []byte) error {
	gone, err := e.edge.node.Host(state)
	if err != nil {
		e.u.cfg.Log.Warn("primary host not understood", "err", err)
	}
	if gone {
		return errHostGone
	}
	return nil
}

// publishAll publishes at QoS 0. The library reports an error where the
// connection ended; the order is that of the calls.
func (e *edgeSession) publishAll(all []sparkplug.Message) error {
	for _, m := range all {
		token := e.client.Publish(m.Topic, 0, false, m.Payload)
		select {
		case <-token.Done():
			if err := token.Error(); err != nil {
				return fmt.Errorf("publish %s: %w", m.Topic, err)
			}
		default: // on its way; the watchdog of the barrier sees one that stays
		}
	}
	e.u.count(uint64(len(all)), 0, e.flying)
	return nil
}

// sendRecord publishes the most urgent record there is room for. Of what is not
// proved yet a backlog fills a part only, so that an alarm finds a place.
func (e *edgeSession) sendRecord() (sent bool, wait time.Duration) {
	cfg := &e.u.cfg
	if !e.edge.node.Born() || len(e.sent) >= cfg.Window {
		return false, 0
	}
	now := cfg.Now()
	c, found, err := e.lanes.choose(now)
	if err != nil && !e.unread {
		e.unread = true
		cfg.Log.Error("store not readable", "err", err)
	}
	if !found {
		return false, 0
	}
	r := c.record
	if c.backlog && (e.backlog >= cfg.BacklogWindow || e.backlog > 0 && e.octets+len(r.Body) > cfg.BacklogBytes) {
		return false, 0
	}
	if c.rank >= hasTime {
		if wait := e.rate.wait(time.Now()); wait > 0 {
			return false, wait
		}
		e.rate.take()
	}
	c.lane.read++
	m := e.edge.node.Record(&sparkplug.Record{
		Stream: r.Stream, N: r.N, G: r.G, At: r.At, Body: r.Body, Again: c.lane.repeats(r)}, now)
	x := unproven{lane: c.lane, n: r.N, backlog: c.backlog, octets: len(r.Body)}
	if x.backlog {
		e.backlog++
		e.octets += x.octets
	}
	e.sent = append(e.sent, x)
	// An error shows as the loss of the connection, and the barrier does not come.
	_ = e.publishAll([]sparkplug.Message{m})
	return true, 0
}

// barrier asks the broker to acknowledge that it has read the records sent so
// far, one question at a time.
func (e *edgeSession) barrier() {
	if e.flying > 0 || len(e.sent) == 0 {
		return
	}
	e.proves = len(e.sent)
	f := e.free()
	f.lane, f.n, f.backlog = nil, 0, false
	f.payload = message.AppendSelftest(f.payload[:0], e.u.cfg.ClientID, "", e.u.cfg.Now())
	e.publish(f, e.u.cfg.Topics.Barrier(), false)
}

// prove lets the store have what the barrier has proved. With a primary host it
// counts only while the host is online; one that went away ends the session
// before.
func (e *edgeSession) prove() error {
	flying := e.flying
	if err := e.settle(); err != nil {
		return err
	}
	if flying == 0 || e.flying > 0 || e.proves == 0 || !e.edge.node.Ready() {
		return nil
	}
	for _, x := range e.sent[:e.proves] {
		e.u.box.Ack(x.lane.name, x.n)
		if x.backlog {
			e.backlog--
			e.octets -= x.octets
		}
	}
	e.sent, e.proves = slices.Delete(e.sent, 0, e.proves), 0
	return nil
}

// leave ends the session in order: what was sent is proved if it can be, then the
// node says that it is gone, and disconnects, so that no will follows.
func (e *edgeSession) leave() {
	e.barrier()
	deadline := time.NewTimer(e.u.cfg.StopWait)
	defer deadline.Stop()
	said := false
	for {
		if e.prove() != nil {
			e.drop()
			return
		}
		switch {
		case e.flying > 0:
		case said:
			e.client.Disconnect(250)
			return
		default:
			said = true
			death := e.edge.node.Death()
			f := e.free()
			f.lane, f.backlog, f.payload = nil, false, append(f.payload[:0], death.Payload...)
			e.publish(f, death.Topic, false)
		}
		select {
		case <-e.oldestDone():
		case <-e.lost:
			return
		case <-deadline.C:
			e.drop() // the will says it
			return
		}
	}
}
