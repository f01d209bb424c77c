package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"lvagent/agent/message"
)

const agentID = "EPN-E1234"

var (
	topics = message.NewTopics(message.DefaultPrefix, agentID)
	now    = time.Date(2026, 11, 24, 18, 0, 0, 0, time.UTC)
	old    = now.Add(-time.Hour)
)

// lines collects log records.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// rig is an uplink that runs.
type rig struct {
	*Uplink
	box    *outbox
	log    *lines
	draws  atomic.Int64
	mu     sync.Mutex
	in     []Inbound
	cancel context.CancelFunc
	done   chan error
}

// start runs an uplink to addr with times that suit a test.
func start(t *testing.T, addr string, box *outbox, change func(*Config)) *rig {
	t.Helper()
	r := &rig{box: box, log: new(lines), done: make(chan error, 1)}
	cfg := Config{
		Brokers: []string{"tcp://" + addr}, ClientID: agentID, Topics: topics,
		Will:         []byte(`{"state":"offline","why":"will"}`),
		Farewell:     func() []byte { return []byte(`{"state":"offline","why":"farewell"}`) },
		WriteTimeout: time.Second, Watchdog: 20 * time.Second, Sweep: 5 * time.Millisecond,
		BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond,
		Now:  func() time.Time { return now },
		Draw: func(most time.Duration) time.Duration { r.draws.Add(1); return most },
		Log:  slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	r.Uplink = New(cfg, box, func(in Inbound) {
		r.mu.Lock()
		r.in = append(r.in, in)
		r.mu.Unlock()
	})
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- r.Run(ctx)
	}()
	t.Cleanup(func() {
		r.cancel()
		<-ended
	})
	return r
}

func (r *rig) inbound() []Inbound {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.in)
}

func (r *rig) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("run: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("does not stop")
	}
}

// complete checks the promise for a stream: every record from 1 to last came, in
// order the first time, and each repetition says the same.
func complete(t *testing.T, list []heard, stream string, last uint64) {
	t.Helper()
	seen := make(map[uint64]string)
	for _, h := range list {
		if h.stream != stream {
			continue
		}
		before, again := seen[h.n]
		switch {
		case again && before != h.payload:
			t.Errorf("%s %d came as %s and as %s", stream, h.n, before, h.payload)
		case !again && h.n != uint64(len(seen))+1:
			t.Errorf("%s %d came for the first time after %d", stream, h.n, len(seen))
		}
		seen[h.n] = h.payload
	}
	if uint64(len(seen)) != last {
		t.Errorf("%s: %d records came, want %d", stream, len(seen), last)
	}
}

func TestBrokerAbsentThenPresent(t *testing.T) {
	addr, box := freeAddress(t), newOutbox()
	box.fill("hh/W3", now, 20)
	r := start(t, addr, box, nil)
	eventually(t, "three attempts", func() bool { return r.draws.Load() >= 3 })
	if s := r.State(); s.Connected || !strings.Contains(s.LastError, "connection refused") || s.Published != 0 {
		t.Errorf("state without a broker is %+v", s)
	}
	b := startBroker(t, addr)
	eventually(t, "all acknowledged", func() bool { return box.acked("hh/W3") == 20 })
	complete(t, b.all(), "hh/W3", 20)
	if n := r.log.count("level=WARN"); n != 1 {
		t.Errorf("%d warnings about an absent broker, want one", n)
	}
	if s := r.State(); !s.Connected || s.Reconnects != 0 || s.Acked < 20 {
		t.Errorf("state with a broker is %+v", s)
	}
}

func TestConnectionCutInMidStream(t *testing.T) {
	b, box := startBroker(t, freeAddress(t)), newOutbox()
	streams := []string{"hh/W1", "hh/W2", "alarm/W1", "ack"}
	for _, s := range streams {
		box.fill(s, old, 400)
	}
	r := start(t, b.addr, box, nil)
	for cuts := range 5 {
		from := b.count()
		eventually(t, "more records", func() bool { return b.count() >= from+60 })
		eventually(t, fmt.Sprintf("cut %d", cuts), func() bool { return b.cut(agentID) })
	}
	for _, s := range streams {
		eventually(t, s+" acknowledged", func() bool { return box.acked(s) == 400 })
	}
	for _, s := range streams {
		complete(t, b.all(), s, 400)
	}
	if s := r.State(); s.Reconnects < 5 {
		t.Errorf("%d reconnects after five cuts", s.Reconnects)
	}
}

func TestBrokerThatSwallowsAcknowledgements(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 30)
	s := startScript(t, &script{puback: func(p *packets.PublishPacket) bool { return !strings.Contains(p.TopicName, "/hh/") }})
	// The library lets go of a dropped connection at once, not after StopWait.
	r := start(t, s.addr, box, func(c *Config) { c.Watchdog, c.StopWait = 50*time.Millisecond, time.Minute })
	r.Retain(topics.Status(), []byte(`{"state":"online"}`))
	eventually(t, "three connections", func() bool { return s.connections() >= 3 })
	if n := box.acked("hh/W3"); n != 0 {
		t.Errorf("record %d was taken as delivered, and the broker acknowledged none", n)
	}
	if e := r.State().LastError; !strings.Contains(e, "no acknowledgement") {
		t.Errorf("last error is %q", e)
	}
	if slices.ContainsFunc(s.all(), func(h heard) bool { return h.topic == "DISCONNECT" }) {
		t.Error("a connection was dropped with a DISCONNECT: no broker would publish the will")
	}
	s.release()
	eventually(t, "all acknowledged", func() bool { return box.acked("hh/W3") == 30 })
	complete(t, s.all(), "hh/W3", 30)
}

// Half of the window is acknowledged, then the connection ends: exactly the
// acknowledged half may leave the store.
func TestOnlyAcknowledgedRecordsLeaveTheStore(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 8)
	s := &script{}
	s.puback = func(p *packets.PublishPacket) bool { return newHeard("", p.Payload, false).n <= 4 && s.conns == 1 }
	startScript(t, s)
	start(t, s.addr, box, func(c *Config) { c.Watchdog = 50 * time.Millisecond })
	eventually(t, "a second connection", func() bool { return s.connections() >= 2 })
	if n := box.acked("hh/W3"); n != 4 {
		t.Errorf("acknowledged up to %d, want 4", n)
	}
}

func TestStatusAndMetaFirst(t *testing.T) {
	box := newOutbox()
	box.fill("ack", now, 3)
	s := startScript(t, &script{})
	r := &rig{box: box, log: new(lines)}
	r.Uplink = New(Config{
		Brokers: []string{"tcp://" + s.addr}, ClientID: agentID, Topics: topics, Will: []byte("{}"), BackoffMin: time.Millisecond,
		BackoffMax: time.Millisecond, Now: func() time.Time { return now },
	}, box, func(Inbound) {})
	r.Retain(topics.Groups(), []byte("g1"))
	r.Retain(topics.AlarmState("W3"), []byte("a1"))
	r.Retain(topics.Meta(), []byte("m1"))
	r.Retain(topics.Status(), []byte("s0"))
	r.Retain(topics.Status(), []byte("s1"))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() { cancel(); <-done }()

	eventually(t, "everything sent", func() bool { return s.count() == 7 })
	want := []string{"status", "meta", "groups", "alarmstate/W3", "ack", "ack", "ack"}
	if got := s.topics(); !slices.Equal(got, want) {
		t.Fatalf("order after connect\n got %q\nwant %q", got, want)
	}
	for i, h := range s.all() {
		if h.retained != (i < 4) {
			t.Errorf("%s retained = %v", h.topic, h.retained)
		}
	}
	if got := s.all()[0].payload; got != "s1" {
		t.Errorf("status is %s, want the latest", got)
	}
	eventually(t, "all acknowledged", func() bool { return r.State().Acked == 7 })

	r.Retain(topics.Groups(), []byte("g1")) // no change
	r.Retain(topics.Meta(), []byte("m2"))
	eventually(t, "the change sent", func() bool { return r.State().Acked == 8 })
	if got := s.all()[7]; got.payload != "m2" {
		t.Errorf("sent %+v, want only what changed", got)
	}
	r.Repeat()
	eventually(t, "all sent again", func() bool { return r.State().Acked == 12 })
	if got := s.topics()[8:]; !slices.Equal(got, want[:4]) {
		t.Errorf("sent again %q, want %q", got, want[:4])
	}
}

func TestRetainedAgainAfterReconnect(t *testing.T) {
	b, box := startBroker(t, freeAddress(t)), newOutbox()
	r := start(t, b.addr, box, nil)
	r.Retain(topics.Meta(), []byte("m1"))
	r.Retain(topics.Status(), []byte("s1"))
	eventually(t, "acknowledged", func() bool { return r.State().Acked == 2 })
	box.fill("ack", now, 1)
	eventually(t, "acknowledged", func() bool { return r.State().Acked == 3 })
	from := b.count()
	eventually(t, "cut", func() bool { return b.cut(agentID) })
	eventually(t, "sent again", func() bool { return r.State().Acked == 5 })
	box.fill("ack", now, 1)
	eventually(t, "acknowledged", func() bool { return r.State().Acked == 6 })
	var got []string
	for _, h := range b.all()[from:] {
		got = append(got, h.payload[:min(2, len(h.payload))])
	}
	got = slices.DeleteFunc(got, func(s string) bool { return s == `{"` }) // the will and the record
	if !slices.Equal(got, []string{"s1", "m1"}) {
		t.Errorf("after the reconnect came %q", got)
	}
}

func TestWillOnAHardCut(t *testing.T) {
	b, box := startBroker(t, freeAddress(t)), newOutbox()
	r := start(t, b.addr, box, func(c *Config) { c.BackoffMin, c.BackoffMax = time.Hour, time.Hour })
	r.Retain(topics.Status(), []byte(`{"state":"online"}`))
	eventually(t, "online", func() bool { return r.State().Acked == 1 })
	eventually(t, "cut", func() bool { return b.cut(agentID) })
	eventually(t, "the will", func() bool {
		list := b.all()
		h := list[len(list)-1]
		return h.topic == topics.Status() && strings.Contains(h.payload, `"why":"will"`)
	})
	kept, _ := b.server.Topics.Retained.Get(topics.Status())
	if !strings.Contains(string(kept.Payload), `"why":"will"`) {
		t.Errorf("the broker keeps %s", kept.Payload)
	}
	eventually(t, "disconnected", func() bool { return !r.State().Connected })
}

func TestOrderlyStop(t *testing.T) {
	b, box := startBroker(t, freeAddress(t)), newOutbox()
	r := start(t, b.addr, box, nil)
	r.Retain(topics.Status(), []byte(`{"state":"online"}`))
	eventually(t, "online", func() bool { return r.State().Acked == 1 })
	r.Retain(topics.Status(), []byte(`{"state":"stopping"}`))
	r.stop(t)
	eventually(t, "the farewell", func() bool {
		kept, _ := b.server.Topics.Retained.Get(topics.Status())
		return strings.Contains(string(kept.Payload), `"why":"farewell"`)
	})
	var states []string
	for _, h := range b.all() {
		states = append(states, h.payload)
	}
	want := []string{`{"state":"online"}`, `{"state":"stopping"}`, `{"state":"offline","why":"farewell"}`}
	if !slices.Equal(states, want) {
		t.Errorf("states\n got %q\nwant %q", states, want)
	}
	if s := r.State(); s.Connected || s.LastError != "" {
		t.Errorf("state after the stop is %+v", s)
	}
}

// What is in flight at the stop is waited for, and the acknowledgements that
// come in time count.
func TestStopWaitsForWhatIsInFlight(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 3)
	s := startScript(t, &script{puback: func(*packets.PublishPacket) bool { return false }})
	r := start(t, s.addr, box, nil)
	eventually(t, "three in flight", func() bool { return s.count() == 3 })
	r.cancel()
	s.release()
	r.stop(t)
	if n := box.acked("hh/W3"); n != 3 {
		t.Errorf("acknowledged up to %d, want 3", n)
	}
	eventually(t, "the end", func() bool { return s.count() == 5 })
	if got := s.all()[4].topic; got != "DISCONNECT" {
		t.Errorf("the last word is %s", got)
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 3)
	s := startScript(t, &script{puback: func(*packets.PublishPacket) bool { return false }})
	r := start(t, s.addr, box, func(c *Config) { c.StopWait = 20 * time.Millisecond })
	eventually(t, "three in flight", func() bool { return s.count() == 3 })
	r.stop(t)
	if n := box.acked("hh/W3"); n != 0 {
		t.Errorf("acknowledged up to %d, want none", n)
	}
	if n := s.count(); n != 3 {
		t.Errorf("%d messages, want no farewell before the records are through", n)
	}
}

func TestCommands(t *testing.T) {
	b, box := startBroker(t, freeAddress(t)), newOutbox()
	prefix := strings.TrimSuffix(topics.Commands(), "#")
	if err := b.server.Publish(prefix+"limit", []byte(`{"id":"kept"}`), true, 1); err != nil {
		t.Fatal(err)
	}
	r := start(t, b.addr, box, nil)
	eventually(t, "the kept command", func() bool { return len(r.inbound()) == 1 })
	large := bytes.Repeat([]byte("x"), message.MaxPayload+1000)
	for _, m := range []struct {
		topic   string
		payload []byte
	}{{prefix + "cancel", []byte(`{"id":"new"}`)}, {topics.Broadcast(), []byte(`{}`)}, {prefix + "limit", large}} {
		if err := b.server.Publish(m.topic, m.payload, false, 1); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all commands", func() bool { return len(r.inbound()) == 4 })
	in := r.inbound()
	if in[0].Topic != prefix+"limit" || !in[0].Retained || string(in[0].Payload) != `{"id":"kept"}` {
		t.Errorf("the kept command came as %+v", in[0])
	}
	if in[1].Topic != prefix+"cancel" || in[1].Retained || string(in[1].Payload) != `{"id":"new"}` || in[1].Arrived.IsZero() {
		t.Errorf("the new command came as %+v", in[1])
	}
	if in[2].Topic != topics.Broadcast() {
		t.Errorf("the broadcast came as %+v", in[2])
	}
	if n := len(in[3].Payload); n != message.MaxPayload+1 {
		t.Errorf("%d octets of a command that is too large", n)
	}
}

func TestSubscriptionRefused(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 3)
	s := startScript(t, &script{subscribed: 0x80})
	r := start(t, s.addr, box, nil)
	r.Retain(topics.Status(), []byte(`{"state":"online"}`))
	eventually(t, "four attempts", func() bool { return r.draws.Load() >= 4 })
	if st := r.State(); st.Connected || !strings.Contains(st.LastError, "code 0x80") {
		t.Errorf("state is %+v", st)
	}
	if n := s.count(); n != 0 {
		t.Errorf("%d messages from an agent that cannot hear commands", n)
	}
	if n := r.log.count("level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
}

func TestQuickLossesAreCounted(t *testing.T) {
	s := startScript(t, &script{hangUp: true})
	r := start(t, s.addr, newOutbox(), nil)
	eventually(t, "six connections", func() bool { return r.State().QuickLosses >= 6 })
	if n := r.log.count("another client may use this id"); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
}

func TestSettledConnectionEndsTheCount(t *testing.T) {
	u := New(Config{}, newOutbox(), nil)
	for _, tt := range []struct {
		lasted time.Duration
		want   int
	}{{0, 1}, {u.cfg.Settled - 1, 2}, {u.cfg.Settled, 0}, {0, 1}} {
		u.began()
		u.ended(nil, tt.lasted)
		if got := u.State().QuickLosses; got != tt.want {
			t.Errorf("%d quick losses after %v, want %d", got, tt.lasted, tt.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	var most []time.Duration
	u := New(Config{BackoffMin: time.Second, BackoffMax: 60 * time.Second, Draw: func(m time.Duration) time.Duration {
		most = append(most, m)
		return 0
	}}, newOutbox(), nil)
	for _, failures := range []int{1, 2, 3, 6, 7, 1000} {
		u.backoff(failures)
	}
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 32 * time.Second, time.Minute, time.Minute}
	if !slices.Equal(most, want) {
		t.Errorf("waits up to %v, want %v", most, want)
	}
}

// A broker that acknowledges nothing shows what was in flight before the alarm:
// never more than the backlog's share of the window.
func TestAlarmOvertakesBacklog(t *testing.T) {
	for _, tt := range []struct {
		name    string
		backlog int
		octets  int
		before  int
	}{
		{"small records", 10_000, 1, 8},
		{"large records", 100, 10 << 10, 3},
		{"records above the whole share", 100, 40 << 10, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			box := newOutbox()
			body := `{"x":"` + strings.Repeat("x", tt.octets) + `"}`
			box.put("hh/W3", old, slices.Repeat([]string{body}, tt.backlog)...)
			s := startScript(t, &script{puback: func(*packets.PublishPacket) bool { return false }})
			r := start(t, s.addr, box, nil)
			eventually(t, "the backlog's share in flight", func() bool { return r.State().InFlight == tt.before })
			box.fill("alarm/W3", now, 1)
			box.fill("ack", now, 1)
			eventually(t, "the alarm", func() bool { return s.count() == tt.before+2 })
			list := s.all()
			if got := []string{list[tt.before].topic, list[tt.before+1].topic}; !slices.Contains(got, topics.Route("alarm/W3", now, now)) {
				t.Errorf("after the alarm came %q", got)
			}
			for _, h := range list[:tt.before] {
				if h.topic != topics.Route("hh/W3", old, now) {
					t.Errorf("late record on %s", h.topic)
				}
			}
		})
	}
}

func TestBacklogIsDelivered(t *testing.T) {
	b, box := startBroker(t, freeAddress(t)), newOutbox()
	box.fill("hh/W3", old, 10_000)
	r := start(t, b.addr, box, nil)
	eventually(t, "a part of the backlog", func() bool { return b.count() >= 500 })
	box.fill("alarm/W3", now, 1)
	eventually(t, "the alarm", func() bool { return box.acked("alarm/W3") == 1 })
	if n := box.acked("hh/W3"); n == 10_000 {
		t.Error("the alarm came after the backlog")
	}
	eventually(t, "the backlog", func() bool { return box.acked("hh/W3") == 10_000 })
	complete(t, b.all(), "hh/W3", 10_000)
	if s := r.State(); s.Published != 10_001 || s.Acked != 10_001 || s.InFlight != 0 {
		t.Errorf("state at the end is %+v", s)
	}
}

func TestOrderOfClasses(t *testing.T) {
	box := newOutbox()
	box.fill("audit", old, 1)
	box.fill("hh/W2", old, 1)
	box.fill("live/W2", old.Add(-time.Minute), 1)
	box.fill("hh/W1", now, 1)
	box.fill("gap", old, 1)
	box.fill("live/W1", now, 1)
	box.fill("alarm/W2", old, 1)
	box.fill("alarm/W1", now, 1)
	box.fill("ack", now, 2)
	s := startScript(t, &script{})
	start(t, s.addr, box, nil)
	eventually(t, "everything", func() bool { return s.count() == 10 })
	want := []string{
		"ack", "ack", "alarm/W1", "hist/alarm/W2", "live/W1", "gap", "hh/W1", "hist/live/W2", "audit", "hist/hh/W2",
	}
	if got := s.topics(); !slices.Equal(got, want) {
		t.Errorf("order\n got %q\nwant %q", got, want)
	}
}

// A store that had to drop what it announced is not asked again and again, and
// the records after the hole are sent.
func TestStoreDropsRecords(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 5)
	box.lose("hh/W3")
	s := startScript(t, &script{})
	r := start(t, s.addr, box, func(c *Config) { c.Sweep = time.Hour })
	eventually(t, "a look at the store", func() bool { return box.readCount() > 0 })
	box.fill("ack", now, 1)
	eventually(t, "the acknowledgement", func() bool { return r.State().Acked == 1 })
	if n := box.readCount(); n > 4 {
		t.Errorf("%d reads of an empty stream", n)
	}
	box.fill("hh/W3", now, 1)
	eventually(t, "the record after the hole", func() bool { return box.acked("hh/W3") == 6 })
}

// A stream that repeats another one is published as that one, with the old
// numbers, on the topic for what is late, though it be of this minute.
func TestRepeatedRecords(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 5)
	s := startScript(t, &script{})
	r := start(t, s.addr, box, nil)
	eventually(t, "the records", func() bool { return box.acked("hh/W3") == 5 })
	for _, name := range []string{"resend/c1", "resend/c2", "resend/c1"} {
		from := s.count()
		box.repeat(name, "hh/W3", 2, 3)
		eventually(t, name, func() bool { return s.count() == from+2 })
		eventually(t, name+" acknowledged", func() bool { return box.acked(name) == 3 })
		for i, h := range s.all()[from:] {
			if h.topic != topics.History("hh/W3") || h.stream != "hh/W3" || h.n != uint64(i)+2 {
				t.Errorf("repeated as %+v", h)
			}
		}
		// Gone for at least one snapshot, a name may come again.
		box.end(name)
		box.fill("ack", now, 1)
		eventually(t, "a later record", func() bool { return box.acked("ack") == box.nextOf("ack")-1 })
	}
	if n := r.State().Reconnects; n != 0 {
		t.Errorf("%d reconnects", n)
	}
}

func TestStoreNotReadable(t *testing.T) {
	box := newOutbox()
	box.failReads(errors.New("disk gone"))
	box.fill("hh/W3", now, 5)
	s := startScript(t, &script{})
	r := start(t, s.addr, box, nil)
	r.Retain(topics.Status(), []byte(`{"state":"online"}`))
	eventually(t, "some attempts", func() bool { return box.readCount() > 3 })
	if n := r.log.count("disk gone"); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
	box.failReads(nil)
	eventually(t, "the records", func() bool { return box.acked("hh/W3") == 5 })
	complete(t, s.all(), "hh/W3", 5)
}

func TestStoreReplaced(t *testing.T) {
	box := newOutbox()
	box.fill("hh/W3", now, 5)
	s := startScript(t, &script{})
	r := start(t, s.addr, box, nil)
	eventually(t, "the old store's records", func() bool { return box.acked("hh/W3") == 5 })
	box.replace("hh/W3")
	eventually(t, "a new connection", func() bool { return r.State().Reconnects == 1 })
	if e := r.State().LastError; !strings.Contains(e, "the store was replaced") {
		t.Errorf("last error is %q", e)
	}
	from := s.count()
	box.fill("hh/W3", now, 2)
	eventually(t, "the new store's records", func() bool { return s.count() == from+2 })
	if h := s.all()[from]; h.n != 1 {
		t.Errorf("the new store's first record is number %d", h.n)
	}
}

func TestConfigurationFaults(t *testing.T) {
	good := Config{Brokers: []string{"tcp://h:1"}, ClientID: agentID, Topics: topics, Will: []byte("{}")}
	for want, change := range map[string]func(*Config){
		"scheme is none of tcp, tls":         func(c *Config) { c.Brokers[0] = "http://h" },
		"broker address is not a URL":        func(c *Config) { c.Brokers[0] = "tcp://u:secret@h:x" },
		"no host":                            func(c *Config) { c.Brokers[0] = "tcp://:1883" },
		`client id "a/b": not an agent's id`: func(c *Config) { c.ClientID = "a/b" },
		"no will":                            func(c *Config) { c.Will = nil },
		"an alarm finds no place":            func(c *Config) { c.BacklogWindow = 16 },
	} {
		cfg := good
		cfg.Brokers = slices.Clone(good.Brokers)
		change(&cfg)
		err := New(cfg, newOutbox(), nil).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
