package uplink

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"lvagent/agent/sparkplug"
	"lvagent/agent/uplink/sparkplugpb"
	"lvagent/meter"
)

// edgeRig is a Sparkplug uplink that runs against a broker that does what a test
// wants of it.
type edgeRig struct {
	*Uplink
	box   *outbox
	mu    sync.Mutex
	kept  []byte
	puts  [][]byte
	stuck bool // the disk takes nothing
	in    []Inbound
	stop  func()
}

func startEdge(t *testing.T, s *script, host string, box *outbox) *edgeRig {
	t.Helper()
	r := &edgeRig{box: box}
	began := time.Now()
	cfg := Config{
		Brokers: []string{"tcp://" + s.addr}, ClientID: agentID, Topics: topics, Will: []byte("{}"),
		WriteTimeout: time.Second, Watchdog: 20 * time.Second, Sweep: 5 * time.Millisecond, StopWait: 2 * time.Second,
		BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond,
		Now:  func() time.Time { return now },
		Draw: func(most time.Duration) time.Duration { return most },
		Log:  slog.New(slog.DiscardHandler),
	}
	way := sparkplug.Way{ID: "W1", Phases: [3]bool{true}, Rating: [3]meter.Milliamps{300_000}, Hold: time.Minute, Groups: []string{"G1"}}
	r.Uplink = NewEdge(cfg, Edge{
		Node: sparkplug.Config{Group: "EPN", Node: agentID, Host: host, Issuer: "scada-1", Ways: []sparkplug.Way{way},
			Volts: 1000, Share: 10_000, Heartbeat: time.Hour},
		Kept: func() []byte { r.mu.Lock(); defer r.mu.Unlock(); return r.kept },
		Keep: func(b []byte) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.puts = append(r.puts, b)
			if !r.stuck {
				r.kept = b
			}
		},
		Backlog: func() int { return 0 },
		Since:   func() time.Duration { return time.Since(began) },
	}, box, func(in Inbound) {
		r.mu.Lock()
		r.in = append(r.in, in)
		r.mu.Unlock()
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(r.stop)
	return r
}

// kinds returns what was said of a node, in order: the third level of the topic.
func (s *script) kinds() (all []string) {
	for _, h := range s.all() {
		switch parts := strings.Split(h.topic, "/"); {
		case parts[0] == "spBv1.0":
			all = append(all, parts[2])
		case strings.HasSuffix(h.topic, "/barrier"):
			all = append(all, "barrier")
		default:
			all = append(all, h.topic)
		}
	}
	return all
}

func count(all []string, kind string) (n int) {
	for _, k := range all {
		if k == kind {
			n++
		}
	}
	return n
}

func bdSeqOf(t *testing.T, payload []byte) uint64 {
	t.Helper()
	p, err := sparkplugpb.Parse(payload, sparkplugpb.Publication)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range p.Metrics {
		if m.GetName() == "bdSeq" {
			return m.GetLongValue()
		}
	}
	t.Fatalf("no bdSeq in %v", p)
	return 0
}

// TestBarrierProves: records leave the store on the barrier's acknowledgement, and
// not before; all records that it covers were sent before it.
func TestBarrierProves(t *testing.T) {
	s := startScript(t, &script{puback: func(p *packets.PublishPacket) bool { return false }})
	box := newOutbox()
	box.fill("hh/W1", now, 5)
	startEdge(t, s, "", box)
	eventually(t, "barrier", func() bool { return count(s.kinds(), "barrier") == 1 })
	kinds := s.kinds()
	if data := count(kinds[:slices.Index(kinds, "barrier")], "NDATA"); data < 5 { // no half-hours: they go out as text
		t.Errorf("%d records before the barrier, want 5: %v", data, kinds)
	}
	if n := box.acked("hh/W1"); n != 0 {
		t.Fatalf("%d records deleted without an acknowledgement", n)
	}
	s.release()
	eventually(t, "records proved", func() bool { return box.acked("hh/W1") == 5 })
}

// TestLostConnectionProvesNothing: what was sent on a connection that broke is
// sent again on the next one, after its births, with the next bdSeq.
func TestLostConnectionProvesNothing(t *testing.T) {
	var s *script
	s = startScript(t, &script{puback: func(p *packets.PublishPacket) bool {
		if s.conns == 1 {
			s.last.Close()
			return false
		}
		return true
	}})
	box := newOutbox()
	box.fill("alarm/W1", now, 3)
	r := startEdge(t, s, "", box)
	eventually(t, "records proved", func() bool { return box.acked("alarm/W1") == 3 })
	r.stop()
	kinds := s.kinds()
	second := slices.Index(kinds[1:], "NBIRTH") + 1
	if second < 2 || kinds[0] != "NBIRTH" || kinds[1] != "DBIRTH" || kinds[second+1] != "DBIRTH" {
		t.Fatalf("%v, want births first on each connection", kinds)
	}
	if first, again := count(kinds[:second], "NDATA"), count(kinds[second:], "NDATA"); first < 3 || again < 3 {
		t.Errorf("%d records and %d again, want 3 each: %v", first, again, kinds)
	}
	for i := range 2 {
		if got := bdSeqOf(t, s.willOf(i)); got != uint64(i) {
			t.Errorf("will of connection %d has bdSeq %d", i, got)
		}
	}
}

// TestNumberIsKeptBeforeConnect: a bdSeq that is not on disk could be used twice.
func TestNumberIsKeptBeforeConnect(t *testing.T) {
	s := startScript(t, &script{})
	r := startEdge(t, s, "", newOutbox())
	eventually(t, "birth", func() bool { return count(s.kinds(), "NBIRTH") == 1 })
	r.mu.Lock()
	first := slices.Clone(r.puts)
	r.stuck = true
	r.mu.Unlock()
	if len(first) == 0 || !strings.Contains(string(first[0]), `"BdSeq":0`) {
		t.Fatalf("kept %s", first)
	}
	// A disk that does not answer delays the next connection, and no more.
	s.mu.Lock()
	s.last.Close()
	s.mu.Unlock()
	broke := time.Now()
	eventually(t, "birth without a disk", func() bool { return count(s.kinds(), "NBIRTH") == 2 })
	if waited := time.Since(broke); waited < keepWait {
		t.Errorf("connected %v after the loss, before the number was kept", waited)
	}
}

// TestPrimaryHost: no birth before it is online, nothing is proved without it, and
// when it goes the node says its death and disconnects.
func TestPrimaryHost(t *testing.T) {
	s := startScript(t, &script{})
	box := newOutbox()
	box.fill("alarm/W1", now, 1)
	startEdge(t, s, "scada", box)
	eventually(t, "connection", func() bool { return s.willOf(0) != nil })
	s.push("spBv1.0/STATE/scada", `{"online":false,"timestamp":5}`)
	s.push("spBv1.0/STATE/scada", `{"online":true,"timestamp":6}`)
	eventually(t, "proof", func() bool { return box.acked("alarm/W1") == 1 })
	box.fill("alarm/W1", now, 1)
	eventually(t, "second proof", func() bool { return box.acked("alarm/W1") == 2 })
	s.push("spBv1.0/STATE/scada", `{"online":false,"timestamp":7}`)
	eventually(t, "disconnect", func() bool { return count(s.kinds(), "DISCONNECT") == 1 })
	kinds := s.kinds()
	if got := kinds[len(kinds)-2:]; !slices.Equal(got, []string{"NDEATH", "DISCONNECT"}) {
		t.Errorf("the last words are %v", got)
	}
	box.fill("alarm/W1", now, 1)
	eventually(t, "next connection", func() bool { return s.willOf(1) != nil })
	if n := box.acked("alarm/W1"); n != 2 {
		t.Errorf("record %d proved without the host", n)
	}
}

// heartbeat is a command that the node passes on whether it is born or not.
func heartbeat(t *testing.T, counter uint64) string {
	t.Helper()
	name := "Heartbeat"
	b, err := sparkplugpb.Append(nil, &sparkplugpb.Payload{Metrics: []*sparkplugpb.Metric{
		{Name: &name, Value: &sparkplugpb.Metric_LongValue{LongValue: counter}}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (r *edgeRig) heard() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.in)
}

// TestHostCountsPerConnection: that the host was online on an earlier connection
// makes no birth on this one.
func TestHostCountsPerConnection(t *testing.T) {
	s := startScript(t, &script{})
	r := startEdge(t, s, "scada", newOutbox())
	eventually(t, "connection", func() bool { return r.Uplink.State().Connected })
	s.push("spBv1.0/STATE/scada", `{"online":true,"timestamp":6}`)
	eventually(t, "births", func() bool { return count(s.kinds(), "DBIRTH") == 1 })
	s.mu.Lock()
	s.last.Close()
	s.mu.Unlock()
	eventually(t, "next connection", func() bool { return s.willOf(1) != nil && r.Uplink.State().Reconnects == 1 })
	for i := range 3 { // the sender has gone round between two of them
		s.push("spBv1.0/EPN/NCMD/"+agentID, heartbeat(t, uint64(i+1)))
		eventually(t, "heartbeat", func() bool { return r.heard() == i+1 })
	}
	if n := count(s.kinds(), "NBIRTH"); n != 1 {
		t.Fatalf("%d births, the second without a word of the host", n)
	}
	s.push("spBv1.0/STATE/scada", `{"online":true,"timestamp":6}`)
	eventually(t, "births with the host", func() bool { return count(s.kinds(), "DBIRTH") == 2 })
}

// TestRebirth: data stops, the births come again with the same bdSeq.
func TestRebirth(t *testing.T) {
	s := startScript(t, &script{})
	startEdge(t, s, "", newOutbox())
	eventually(t, "births", func() bool { return count(s.kinds(), "DBIRTH") == 1 })
	name, yes := "Node Control/Rebirth", true
	b, err := sparkplugpb.Append(nil, &sparkplugpb.Payload{Metrics: []*sparkplugpb.Metric{
		{Name: &name, Value: &sparkplugpb.Metric_BooleanValue{BooleanValue: yes}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.push("spBv1.0/EPN/NCMD/"+agentID, string(b))
	eventually(t, "births again", func() bool { return count(s.kinds(), "DBIRTH") == 2 })
	for _, h := range s.all() {
		if strings.Contains(h.topic, "NBIRTH") && bdSeqOf(t, []byte(h.payload)) != 0 {
			t.Error("a rebirth has another bdSeq")
		}
	}
}

// TestStopSaysDeath: an orderly stop proves what was sent, says the death, and
// disconnects.
func TestStopSaysDeath(t *testing.T) {
	s := startScript(t, &script{})
	box := newOutbox()
	r := startEdge(t, s, "", box)
	eventually(t, "births", func() bool { return count(s.kinds(), "DBIRTH") == 1 })
	r.stop()
	eventually(t, "disconnect", func() bool { return count(s.kinds(), "DISCONNECT") == 1 })
	kinds := s.kinds()
	if got := kinds[max(0, len(kinds)-2):]; !slices.Equal(got, []string{"NDEATH", "DISCONNECT"}) {
		t.Errorf("the last words are %v", got)
	}
}

// TestReadingsDoNotWait: without a connection only the latest of each way stays.
func TestReadingsDoNotWait(t *testing.T) {
	u := NewEdge(Config{Brokers: []string{"tcp://127.0.0.1:1"}, ClientID: agentID, Topics: topics, Will: []byte("{}")}, Edge{
		Node: sparkplug.Config{Group: "EPN", Node: agentID, Ways: []sparkplug.Way{{ID: "W1", Phases: [3]bool{true}}}},
		Kept: func() []byte { return nil },
	}, newOutbox(), func(Inbound) {})
	for i := range 100_000 {
		u.Reading(&meter.Reading{Way: "W1", At: time.Duration(i)}, now)
		u.Reading(&meter.Reading{Way: "W9"}, now)
	}
	if got := u.edge.latest["W1"].reading.At; got != 99_999 || len(u.edge.latest) != 1 {
		t.Errorf("latest is of %d, %d ways", got, len(u.edge.latest))
	}
	if n := testing.AllocsPerRun(100, func() { u.Reading(&meter.Reading{Way: "W1"}, now) }); n > 1 {
		t.Errorf("%v allocations for a reading", n)
	}
}
