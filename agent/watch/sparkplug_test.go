package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/sparkplug"
	"lvagent/agent/uplink/sparkplugpb"
	"lvagent/meter"
)

// edge is a node whose messages are watched.
type edge struct {
	t    testing.TB
	node *sparkplug.Node
	w    *Watcher
	out  *bytes.Buffer
	wall time.Time
}

func newEdge(t testing.TB, out *bytes.Buffer) *edge {
	n := sparkplug.New(sparkplug.Config{
		Group: "EPN", Node: "S1", Version: "1.0", Host: "scada", Issuer: "scada-sp", Volts: 1000, Share: 10_000, Heartbeat: 5 * time.Minute,
		Ways: []sparkplug.Way{{ID: "W3", Phases: [3]bool{true}, Rating: [3]meter.Milliamps{300_000}, Hold: 2500 * time.Millisecond,
			Alarms: []string{"W3.L1.i.hi"}, Groups: []string{"G1"}}},
	}, sparkplug.State{}, arrived)
	n.Connect()
	return &edge{t: t, node: n, w: New(message.DefaultPrefix), out: out, wall: arrived}
}

// say shows messages as they are seen a moment after they were sent.
func (e *edge) say(what string, all ...sparkplug.Message) (lines []Line) {
	for _, m := range all {
		l := e.w.Take(Message{Topic: m.Topic, Payload: m.Payload, Arrived: e.wall.Add(100 * time.Millisecond)})
		fmt.Fprintf(e.out, "%s (%s)\n  %s\n", what, l.Tone, l.String())
		lines = append(lines, l)
	}
	return lines
}

func (e *edge) read(volts meter.Millivolts, q meter.Quality) {
	r := meter.Reading{Way: "W3"}
	r.Phase[0].V = meter.Sample[meter.Millivolts]{Value: volts, Quality: q}
	r.Phase[0].I = meter.Sample[meter.Milliamps]{Value: 212_500, Quality: meter.Good}
	e.node.Reading(&r, e.wall, 0)
}

func (e *edge) stored(stream, file string, n uint64, at time.Time) sparkplug.Message {
	e.t.Helper()
	body, err := os.ReadFile("../message/testdata/" + file)
	if err != nil {
		e.t.Fatal(err)
	}
	body = body[bytes.Index(body, []byte(`"v":1`))-1:] // as it is stored: without its number
	body[0] = '{'
	body = bytes.TrimSpace(body)
	return e.node.Record(&sparkplug.Record{Stream: stream, N: n, G: 1, At: at, Body: body}, e.wall)
}

// payload writes a payload of another maker's node.
func payload(t testing.TB, p *sparkplugpb.Payload) []byte {
	t.Helper()
	b, err := sparkplugpb.Append(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ptr[T any](x T) *T { return &x }

// What the life of a Sparkplug node is for a person.
func TestSparkplugLines(t *testing.T) {
	var out bytes.Buffer
	e := newEdge(t, &out)
	other := e.w.Take(Message{Topic: "spBv1.0/EPN/DDATA/S1/W3", Payload: payload(t, &sparkplugpb.Payload{Seq: ptr(uint64(9))}), Arrived: arrived})
	fmt.Fprintf(&out, "before any birth\n  %s\n", other.String())
	e.say("births", e.node.Births(e.wall, 0)...)
	e.read(241_300, meter.Good)
	e.say("by exception", e.node.Changes(e.wall, 0)...)
	e.read(241_300, meter.Suspect)
	e.say("doubted", e.node.Changes(e.wall, 0)...)
	e.say("stale", e.node.Changes(e.wall, time.Minute)...)
	start := time.Date(2026, 11, 24, 17, 30, 0, 0, time.UTC)
	e.say("half-hour on time", e.stored("hh/W3", "halfhour.json", 7, start))
	e.wall = arrived.Add(time.Hour)
	e.say("half-hour that is late", e.stored("hh/W3", "halfhour.json", 8, start))
	e.wall = arrived
	lost := e.stored("ack", "ack.json", 1, e.wall)
	_ = lost // never arrives
	e.say("a gap in seq", e.stored("gap", "gap.json", 2, e.wall))
	command := &sparkplugpb.Payload{Timestamp: ptr(uint64(e.wall.UnixMilli())), Metrics: []*sparkplugpb.Metric{
		{Name: ptr("Group/G1/Limit"), Datatype: ptr(uint32(9)), Value: &sparkplugpb.Metric_FloatValue{FloatValue: 16}}}}
	e.say("command", sparkplug.Message{Topic: "spBv1.0/EPN/DCMD/S1/W3", Payload: payload(t, command)})
	rebirth := &sparkplugpb.Payload{Metrics: []*sparkplugpb.Metric{{Name: ptr("Node Control/Rebirth"), Value: &sparkplugpb.Metric_BooleanValue{BooleanValue: true}}}}
	e.say("rebirth", sparkplug.Message{Topic: "spBv1.0/EPN/NCMD/S1", Payload: payload(t, rebirth)})
	e.say("host", sparkplug.Message{Topic: "spBv1.0/STATE/scada", Payload: []byte(`{"online":true,"timestamp":1795541404250}`)},
		sparkplug.Message{Topic: "spBv1.0/STATE/scada", Payload: []byte(`{"online":false,"timestamp":1795541404250}`)},
		sparkplug.Message{Topic: "spBv1.0/STATE/scada", Payload: []byte("OFFLINE")})
	late := sparkplug.New(sparkplug.Config{Group: "EPN", Node: "S1"}, sparkplug.State{Any: true, BdSeq: 6}, arrived)
	e.say("death of an earlier connection", late.Connect())
	e.say("death", e.node.Death())
	e.say("after death", e.node.Changes(e.wall, 10*time.Minute)...)
	e.say("damaged", sparkplug.Message{Topic: "spBv1.0/EPN/NDATA/S1", Payload: []byte{0xff}})
	e.say("no topic of Sparkplug", sparkplug.Message{Topic: "spBv1.0/EPN/NDATA/S1/W3", Payload: nil})
	odd := &sparkplugpb.Payload{Seq: ptr(uint64(0)), Metrics: []*sparkplugpb.Metric{
		{Name: ptr("T\x1b[2J"), Alias: ptr(uint64(4)), Datatype: ptr(uint32(3)), Value: &sparkplugpb.Metric_IntValue{IntValue: 1<<32 - 5}},
		{Name: ptr("Set"), Alias: ptr(uint64(5)), Datatype: ptr(uint32(16))},
		{Name: ptr("Since"), Alias: ptr(uint64(6)), Datatype: ptr(uint32(13)), Value: &sparkplugpb.Metric_LongValue{LongValue: 1795541404250}},
	}}
	e.say("birth of another maker's node", sparkplug.Message{Topic: "spBv1.0/X/NBIRTH/other", Payload: payload(t, odd)})
	alias := &sparkplugpb.Payload{Seq: ptr(uint64(1)), Metrics: []*sparkplugpb.Metric{
		{Alias: ptr(uint64(4)), Value: &sparkplugpb.Metric_IntValue{IntValue: 1<<32 - 6}},
		{Alias: ptr(uint64(99)), Value: &sparkplugpb.Metric_BooleanValue{BooleanValue: true}}}}
	e.say("its data by alias", sparkplug.Message{Topic: "spBv1.0/X/NDATA/other", Payload: payload(t, alias)})

	const golden = "testdata/sparkplug.txt"
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("lines differ from %s; look, and go test ./agent/watch -update\n got %s\nwant %s", golden, out.Bytes(), want)
	}
	if e.w.Counts.Missing != 1 || e.w.Counts.Unreadable != 2 {
		t.Errorf("counts %+v, want 1 missing, 2 unreadable", e.w.Counts)
	}
}

// The sequence runs from 0 to 255 over the node and its devices, and begins with
// each birth of the node.
func TestSparkplugSequence(t *testing.T) {
	for _, tt := range []struct {
		name     string
		seq      []uint64
		missing  uint64
		from, to uint64 // of the last message
	}{
		{"in order", []uint64{0, 1, 2}, 0, 0, 0},
		{"around", []uint64{254, 255, 0, 1}, 0, 0, 0},
		{"one missing", []uint64{5, 7}, 1, 6, 6},
		{"missing around the end", []uint64{254, 2}, 3, 255, 1},
		{"twice", []uint64{5, 5}, 255, 6, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := New(message.DefaultPrefix)
			var l Line
			for _, seq := range tt.seq {
				l = w.Take(Message{Topic: "spBv1.0/g/NDATA/n", Payload: payload(t, &sparkplugpb.Payload{Seq: &seq}), Arrived: arrived})
			}
			if w.Counts.Missing != tt.missing || l.Number.From != tt.from || l.Number.To != tt.to {
				t.Errorf("%d missing, %d to %d; want %d, %d to %d", w.Counts.Missing, l.Number.From, l.Number.To, tt.missing, tt.from, tt.to)
			}
		})
	}
	e := newEdge(t, new(bytes.Buffer))
	for range 2 { // a rebirth begins at 0 again, and nothing is missing
		e.say("", e.node.Births(e.wall, 0)...)
	}
	if e.w.Counts.Missing != 0 {
		t.Errorf("%d missing over a rebirth", e.w.Counts.Missing)
	}
}

// A program gets every metric with its type, though data does not say it.
func TestSparkplugJSON(t *testing.T) {
	e := newEdge(t, new(bytes.Buffer))
	e.say("", e.node.Births(e.wall, 0)...)
	m := e.stored("hh/W3", "halfhour.json", 7, arrived)
	in := Message{Topic: m.Topic, Payload: m.Payload, Arrived: arrived}
	l := e.w.Take(in)
	text, err := l.JSON(in)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Agent, Kind, Sequence string
		Payload               struct {
			Seq     int
			Metrics []struct {
				Name, Type string
				Value      any
				Quality    int
			}
		}
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if out.Agent != "S1" || out.Kind != "DDATA" || out.Sequence != "next" || out.Payload.Seq != 2 || len(out.Payload.Metrics) < 15 {
		t.Errorf("%+v", out)
	}
	for _, m := range out.Payload.Metrics {
		switch m.Name {
		case "HalfHour/Start":
			if m.Type != "DateTime" || m.Value != "2026-11-24T17:00:00Z" {
				t.Errorf("%+v", m)
			}
		case "HalfHour/L1/V":
			if m.Type != "Float" || m.Value != 241.3 || m.Quality != 192 {
				t.Errorf("%+v", m)
			}
		}
	}
}

// Whoever makes up nodes and metrics does not fill the memory.
func TestSparkplugMemoryIsBounded(t *testing.T) {
	w := New(message.DefaultPrefix)
	many := new(sparkplugpb.Payload)
	for i := range 5000 {
		many.Metrics = append(many.Metrics, &sparkplugpb.Metric{Name: ptr(fmt.Sprint("m", i))})
	}
	b := payload(t, many)
	for i := range 300 {
		w.Take(Message{Topic: fmt.Sprint("spBv1.0/g/NBIRTH/n", i), Payload: b, Arrived: arrived})
	}
	held := 0
	for _, n := range w.nodes.all {
		for _, d := range n.devices {
			held += len(d.types)
		}
	}
	if held != w.nodes.declared || held > mostDeclared {
		t.Errorf("%d metrics held, %d counted, want at most %d", held, w.nodes.declared, mostDeclared)
	}
	empty := payload(t, &sparkplugpb.Payload{Seq: ptr(uint64(0))})
	for i := range mostNodes + 1000 {
		w.Take(Message{Topic: fmt.Sprint("spBv1.0/g/NDATA/x", i), Payload: empty, Arrived: arrived})
	}
	for i := range mostDevices + 100 {
		w.Take(Message{Topic: fmt.Sprint("spBv1.0/g/DBIRTH/last/d", i), Payload: empty, Arrived: arrived})
	}
	if n := len(w.nodes.all); n != mostNodes || len(w.nodes.order) != n {
		t.Errorf("%d nodes, %d in order, want %d", n, len(w.nodes.order), mostNodes)
	}
	if n := len(w.nodes.of(nodeKey{"g", "last"}).devices); n != mostDevices {
		t.Errorf("%d devices, want %d", n, mostDevices)
	}
	l := w.Take(Message{Topic: "spBv1.0/g/NDATA/" + strings.Repeat("x", 300), Payload: empty, Arrived: arrived})
	if l.Tone != Warn {
		t.Errorf("a giant name: %s", l.String())
	}
}
