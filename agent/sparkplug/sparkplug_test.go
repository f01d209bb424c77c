package sparkplug

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"lvagent/agent/message"
	"lvagent/agent/uplink/sparkplugpb"
	"lvagent/meter"
)

var update = flag.Bool("update", false, "write the goldens")

var t0 = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

func config() Config {
	return Config{
		Group: "EPN", Node: "S1", Version: "1.0", Issuer: "scada-1",
		Volts: 1000, Share: 10_000, Heartbeat: 5 * time.Minute,
		Ways: []Way{
			{ID: "W1", Phases: [3]bool{true, true, true}, Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}, Hold: 2500 * time.Millisecond,
				Alarms: []string{"W1.L1.i.hi", "W1.n.hi"}, Groups: []string{"G1"}},
			{ID: "W2", Phases: [3]bool{true}, Rating: [3]meter.Milliamps{100_000}, Hold: 2500 * time.Millisecond},
		},
	}
}

func born(t testing.TB, cfg Config) *Node {
	t.Helper()
	n := New(cfg, State{}, t0)
	n.Connect()
	n.Births(t0, 0)
	return n
}

func parse(t testing.TB, m Message) *sparkplugpb.Payload {
	t.Helper()
	p, err := sparkplugpb.Parse(m.Payload, sparkplugpb.Publication)
	if err != nil {
		t.Fatalf("%s: %v", m.Topic, err)
	}
	return p
}

// metrics returns the metrics of messages by device and name.
func metrics(t testing.TB, all []Message) map[string]*sparkplugpb.Metric {
	t.Helper()
	found := map[string]*sparkplugpb.Metric{}
	for _, m := range all {
		parts := strings.Split(m.Topic, "/")
		device := strings.Join(parts[4:], "")
		for _, x := range parse(t, m).Metrics {
			found[device+":"+x.GetName()] = x
		}
	}
	return found
}

func qualityIn(m *sparkplugpb.Metric) int {
	if p := m.GetProperties(); p != nil && p.Keys[0] == "Quality" {
		return int(p.Values[0].GetIntValue())
	}
	return -1
}

func good230(way string, amps meter.Milliamps) *meter.Reading {
	r := &meter.Reading{Way: way}
	for p := range r.Phase {
		r.Phase[p] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: 230_000, Quality: meter.Good}, I: meter.Sample[meter.Milliamps]{Value: amps, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(amps) * 230, Quality: meter.Good}, Q: meter.Sample[meter.Millivars]{Quality: meter.Good}}
	}
	r.Neutral = meter.Sample[meter.Milliamps]{Value: 5000, Quality: meter.Good}
	return r
}

// full is a half-hour of a way with everything in it.
func full(way string, flags meter.Flags) *meter.HalfHour {
	s := meter.Stats{RMS: 241_300, Mean: 241_300, Min: 238_900, Max: 243_000, MaxAt: t0}
	p := meter.PowerStats{Mean: 48_123_000, Min: 20_100_000, Max: 70_210_000, Import: 48_123_000}
	h := &meter.HalfHour{Way: way, Start: t0.Add(-30 * time.Minute), End: t0, Coverage: 999_400, Expected: 1800, Samples: 1799, Bad: 1,
		Clock: meter.Synced, Flags: flags, Neutral: &s,
		Total: &meter.TotalPeriod{P: 140_210_000, Q: 15_020_000, S: 141_012_000, PF: 994, ImportMWh: 70_100_000}}
	for i := range h.Phase {
		h.Phase[i] = &meter.PhasePeriod{V: s, I: s, P: p, Q: p}
	}
	return h
}

func halfHourRecord(h *meter.HalfHour) *Record {
	return &Record{Stream: message.HalfHourStream(h.Way), N: 1042, G: 1, At: h.End, Body: message.AppendHalfHour(nil, "S1", h)}
}

// TestGolden pins what is on the wire.
func TestGolden(t *testing.T) {
	n := New(config(), State{}, t0)
	all := []Message{n.Connect()}
	n.Reading(good230("W1", 100_000), t0, 0)
	all = append(all, n.Births(t0, 0)...)
	n.Reading(good230("W1", 104_000), t0.Add(time.Second), time.Second)
	all = append(all, n.Changes(t0.Add(time.Second), time.Second)...)
	all = append(all, n.Record(halfHourRecord(full("W1", meter.Partial)), t0.Add(2*time.Second)))
	all = append(all, n.Death())
	var b strings.Builder
	for _, m := range all {
		fmt.Fprintf(&b, "# %s, %d octets\n", m.Topic, len(m.Payload))
		p := parse(t, m)
		for _, x := range p.Metrics {
			// The library's text form varies by a space on purpose.
			fmt.Fprintln(&b, strings.ReplaceAll(prototext.MarshalOptions{}.Format(x), "  ", " "))
		}
		p.Metrics = nil
		fmt.Fprintln(&b, strings.ReplaceAll(prototext.MarshalOptions{}.Format(p), "  ", " "))
	}
	file := filepath.Join("testdata", "session.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the session changed; see with -update:\n%s", b.String())
	}
}

// TestWillIsBdSeqAlone holds 6.4.12: the will and the last word hold bdSeq only,
// the birth the same one, and it goes up with each CONNECT packet.
func TestWillIsBdSeqAlone(t *testing.T) {
	n := New(config(), State{}, t0)
	for i := range 600 {
		will := parse(t, n.Connect())
		if len(will.Metrics) != 1 || will.Seq != nil || will.Metrics[0].GetName() != "bdSeq" {
			t.Fatalf("will %v, want bdSeq alone and no seq", will)
		}
		if got, want := will.Metrics[0].GetLongValue(), uint64(i%256); got != want {
			t.Fatalf("will of connect %d has bdSeq %d, want %d", i, got, want)
		}
		if i%3 == 0 {
			continue // refused: it counts all the same
		}
		for range 2 { // a rebirth has the same
			if got := metrics(t, n.Births(t0, 0))[":bdSeq"].GetLongValue(); got != uint64(i%256) {
				t.Fatalf("birth after connect %d has bdSeq %d", i, got)
			}
		}
	}
	if again := New(config(), n.State, t0); parse(t, again.Connect()).Metrics[0].GetLongValue() != 600%256 {
		t.Error("a restart does not go on with bdSeq")
	}
}

// session reads what a node sends as a strict host would.
type session struct {
	t        *rapid.T
	seq      uint64
	declared map[string]uint32 // by device and metric: datatype
	devices  int
}

func (s *session) hear(all []Message) {
	for _, m := range all {
		p, err := sparkplugpb.Parse(m.Payload, sparkplugpb.Publication)
		if err != nil {
			s.t.Fatal(err)
		}
		parts := strings.Split(m.Topic, "/")
		kind, device := parts[2], strings.Join(parts[4:], "")
		if p.Seq == nil || p.Timestamp == nil {
			s.t.Fatalf("%s without seq or timestamp", m.Topic)
		}
		switch kind {
		case "NBIRTH":
			s.seq, s.declared, s.devices = 255, map[string]uint32{}, 0
		case "DBIRTH":
			s.devices++
		case "NDATA", "DDATA":
			if s.devices != 2 {
				s.t.Fatalf("%s after %d device births, want 2", kind, s.devices)
			}
		default:
			s.t.Fatalf("unexpected %s", kind)
		}
		if want := (s.seq + 1) % 256; *p.Seq != want {
			s.t.Fatalf("%s has seq %d, want %d", kind, *p.Seq, want)
		}
		s.seq = *p.Seq
		for _, x := range p.Metrics {
			key := device + ":" + x.GetName()
			if x.Timestamp == nil {
				s.t.Fatalf("%s %s without timestamp", kind, key)
			}
			if x.GetIsNull() == (x.Value != nil) {
				s.t.Fatalf("%s %s is null and has a value, or neither", kind, key)
			}
			if _, is := s.declared[key]; strings.HasSuffix(kind, "BIRTH") {
				s.declared[key] = x.GetDatatype()
			} else if !is || x.Datatype != nil {
				s.t.Fatalf("%s %s: declared %v, datatype %v", kind, key, is, x.Datatype)
			}
		}
	}
}

// TestAnySession holds, over any history with reconnects and rebirths: seq is
// continuous over the node and its devices, births come first and declare
// everything that is ever sent.
func TestAnySession(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := config()
		if rapid.Bool().Draw(rt, "host") {
			cfg.Host = "scada"
		}
		n, s := New(cfg, State{}, t0), &session{t: rt}
		now, wall, bd := time.Duration(0), t0, -1
		pass := func(rt *rapid.T) {
			d := time.Duration(rapid.Int64Range(0, int64(10*time.Minute)).Draw(rt, "passes"))
			now, wall = now+d, wall.Add(d)
		}
		reconnect := func(rt *rapid.T) {
			n.Lost()
			will, err := sparkplugpb.Parse(n.Connect().Payload, sparkplugpb.Publication)
			if err != nil {
				rt.Fatal(err)
			}
			if bd = (bd + 1) % 256; will.Metrics[0].GetLongValue() != uint64(bd) {
				rt.Fatalf("bdSeq %d, want %d", will.Metrics[0].GetLongValue(), bd)
			}
		}
		reconnect(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				if n.Born() && !n.Ready() {
					rt.Fatal("born without its host")
				}
			},
			"reconnect": reconnect,
			"births": func(rt *rapid.T) {
				if n.Ready() {
					s.hear(n.Births(wall, now))
				}
			},
			"changes": func(rt *rapid.T) {
				pass(rt)
				s.hear(n.Changes(wall, now))
			},
			"reading": func(rt *rapid.T) {
				r := good230(rapid.SampledFrom([]string{"W1", "W2", "W9"}).Draw(rt, "way"), meter.Milliamps(rapid.Int64Range(0, 400_000).Draw(rt, "amps")))
				if rapid.Bool().Draw(rt, "fails") {
					r.Fail(rapid.SampledFrom([]meter.Reason{meter.NoAnswer, meter.Exception}).Draw(rt, "why"))
				}
				n.Reading(r, wall, now)
			},
			"record": func(rt *rapid.T) {
				if !n.Born() {
					return
				}
				h := full("W1", meter.Flags(rapid.Uint32Range(0, uint32(meter.AllFlags)).Draw(rt, "flags")))
				alarm := meter.Alarm{ID: "W1.L1.i.hi", Way: "W1", Quantity: "i", Phase: "L1", Kind: "hi", Edge: meter.Edge(rapid.IntRange(1, 2).Draw(rt, "edge")), At: wall}
				s.hear([]Message{n.Record(rapid.SampledFrom([]*Record{
					halfHourRecord(h), halfHourRecord(full("W9", 0)),
					{Stream: "alarm/W1", N: 1, G: 1, At: wall, Body: message.AppendAlarm(nil, "S1", &alarm)},
					{Stream: "ack", N: 1, At: wall, Body: []byte(`{"id":"x","stage":"rejected"}`)},
					{Stream: "live/W1", N: 1, At: wall, Body: message.AppendLive(nil, "S1", &message.LiveReading{T: wall, Reading: good230("W1", 1)})},
					{Stream: "hh/W1", N: 2, At: wall, Body: []byte("\xff damaged")},
				}).Draw(rt, "record"), wall)})
			},
			"host": func(rt *rapid.T) {
				if cfg.Host == "" {
					return
				}
				online := rapid.Bool().Draw(rt, "online")
				if gone, err := n.Host(fmt.Appendf(nil, `{"online":%v,"timestamp":%d}`, online, wall.UnixMilli())); err != nil {
					rt.Fatal(err)
				} else if gone {
					reconnect(rt)
				}
			},
		})
	})
}

// TestDeadband moves a current to the edge of its deadband and over it: 1 % of 300 A.
func TestDeadband(t *testing.T) {
	tests := []struct {
		name string
		amps meter.Milliamps
		sent bool
	}{
		{"nothing moved", 100_000, false},
		{"just below", 102_999, false},
		{"exactly", 103_000, true},
		{"exactly, downwards", 97_000, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := New(config(), State{}, t0)
			n.Connect()
			n.Reading(good230("W1", 100_000), t0, 0)
			n.Births(t0, 0)
			n.Reading(good230("W1", tt.amps), t0.Add(time.Second), time.Second)
			got := metrics(t, n.Changes(t0.Add(time.Second), time.Second))
			if (got["W1:L1/I"] != nil) != tt.sent || (got["W1:L1/P"] != nil) != tt.sent {
				t.Errorf("sent %v, want I and P sent: %v", got, tt.sent)
			}
			if got["W1:L1/V"] != nil {
				t.Error("the voltage did not move and was sent")
			}
		})
	}
}

// TestHeartbeat repeats every live metric of a silent device, and no half-hour.
func TestHeartbeat(t *testing.T) {
	n := born(t, config())
	if got := n.Changes(t0, config().Heartbeat-1); got != nil {
		t.Fatalf("%d messages before the heartbeat", len(got))
	}
	got := metrics(t, n.Changes(t0, config().Heartbeat))
	if got["W1:L1/V"] == nil || got[":Clock"] == nil || got["W1:HalfHour/L1/V"] != nil {
		t.Errorf("heartbeat holds %d metrics, want all live ones", len(got))
	}
	if got := n.Changes(t0, config().Heartbeat+time.Second); got != nil {
		t.Errorf("%d messages right after the heartbeat", len(got))
	}
}

// TestQuality follows a voltage from good to doubted, silent, stale and refused.
func TestQuality(t *testing.T) {
	n := New(config(), State{}, t0)
	n.Connect()
	n.Births(t0, 0)
	r := good230("W1", 1000)
	doubted := good230("W1", 1000)
	doubted.Phase[0].V.Quality = meter.Suspect
	silent, refused := good230("W1", 0), good230("W1", 0)
	silent.Fail(meter.NoAnswer)
	refused.Fail(meter.Exception)
	steps := []struct {
		name    string
		at      time.Duration
		reading *meter.Reading
		quality int // -1: nothing is sent
		null    bool
	}{
		{"good", time.Second, r, 192, false},
		{"doubted", 2 * time.Second, doubted, 0, false},
		{"good again", 3 * time.Second, r, 192, false},
		{"no answer, not stale yet", 5500 * time.Millisecond, silent, -1, false},
		{"no answer, stale", 5501 * time.Millisecond, silent, 500, false},
		{"good once more", 6 * time.Second, r, 192, false},
		{"refused", 7 * time.Second, refused, 0, true},
	}
	for _, s := range steps {
		n.Reading(s.reading, t0.Add(s.at), s.at)
		m := metrics(t, n.Changes(t0.Add(s.at), s.at))["W1:L1/V"]
		switch {
		case m == nil && s.quality == -1:
		case m == nil || qualityIn(m) != s.quality || m.GetIsNull() != s.null:
			t.Errorf("%s: %v, want quality %d, null %v", s.name, m, s.quality, s.null)
		}
	}
}

// TestRecords says what is historical, and that it changes no live value.
func TestRecords(t *testing.T) {
	raise := meter.Alarm{ID: "W1.L1.i.hi", Way: "W1", Quantity: "i", Phase: "L1", Kind: "hi", Edge: meter.Raise, At: t0}
	condition := meter.Alarm{ID: "W1.L1.FUSE_SUSPECTED", Way: "W1", Phase: "L1", Kind: "FUSE_SUSPECTED", Edge: meter.Raise, At: t0}
	site := meter.Alarm{ID: "_site.STORE_FAILED", Way: "_site", Kind: "STORE_FAILED", Edge: meter.Raise, At: t0}
	alarm := func(a *meter.Alarm) *Record {
		return &Record{Stream: message.AlarmStream(a.Way), N: 7, G: 1, At: t0, Body: message.AppendAlarm(nil, "S1", a)}
	}
	again := halfHourRecord(full("W1", 0))
	again.Again = true
	tests := []struct {
		name       string
		record     *Record
		age        time.Duration
		metric     string
		historical bool
		quality    int
	}{
		{"half-hour on time", halfHourRecord(full("W1", 0)), message.HalfHourLate, "W1:HalfHour/L1/V", false, 192},
		{"half-hour late", halfHourRecord(full("W1", 0)), message.HalfHourLate + time.Millisecond, "W1:HalfHour/L1/V", true, 192},
		{"half-hour asked for again", again, 0, "W1:HalfHour/L1/V", true, 192},
		{"half-hour that is invalid", halfHourRecord(full("W1", meter.Invalid)), 0, "W1:HalfHour/L1/V", false, 0},
		{"alarm on time", alarm(&raise), message.EventLate, "W1:Alarm/L1/i/hi", false, 192},
		{"alarm late", alarm(&raise), message.EventLate + time.Millisecond, "W1:Alarm/L1/i/hi", true, 192},
		{"condition", alarm(&condition), 0, "W1:Alarms/Event", false, 192},
		{"alarm of the site", alarm(&site), 0, ":Alarms/Event", false, 192},
		{"live reading of an alarm", &Record{Stream: "live/W1", At: t0, Body: message.AppendLive(nil, "S1", &message.LiveReading{T: t0, Reading: good230("W1", 1)})}, 0, "W1:L1/V", true, 192},
		{"acknowledgement", &Record{Stream: "ack", At: t0, Body: []byte(`{}`)}, 0, ":Records/ack", false, 192},
		{"gap", &Record{Stream: "gap", At: t0, Body: []byte(`{}`)}, time.Hour, ":Records/gap", true, 192},
		{"digest", &Record{Stream: "digest/W1", At: t0, Body: []byte(`{}`)}, 0, ":Records/digest", false, 192},
		{"way that is gone", halfHourRecord(full("W9", 0)), 0, ":Records/other", false, 192},
		{"damaged", &Record{Stream: "hh/W1", At: t0, Body: []byte("\xff")}, 0, ":Records/other", false, 192},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := born(t, config())
			got := metrics(t, []Message{n.Record(tt.record, t0.Add(tt.age))})
			m := got[tt.metric]
			if m == nil || m.GetIsHistorical() != tt.historical || qualityIn(m) != tt.quality {
				t.Fatalf("%s = %v of %d, want historical %v, quality %d", tt.metric, m, len(got), tt.historical, tt.quality)
			}
			after := metrics(t, n.Births(t0.Add(tt.age), 0))[tt.metric]
			if tt.historical && !after.GetIsNull() {
				t.Errorf("a historical value became the live one: %v", after)
			}
		})
	}
}

// TestHalfHourOnTheWire holds the bound of 2 kB for each way and half-hour, topic
// and MQTT header included, for the longest names and the most remarks.
func TestHalfHourOnTheWire(t *testing.T) {
	cfg := config()
	cfg.Group, cfg.Node, cfg.Ways[0].ID = strings.Repeat("g", 32), strings.Repeat("n", 32), "W1"
	n := born(t, cfg)
	for _, flags := range []meter.Flags{0, meter.Partial | meter.Restart | meter.CommLoss | meter.Questioned | meter.DerivedN | meter.ClockStep} {
		h := full("W1", flags)
		h.Rev = 1
		m := n.Record(halfHourRecord(h), t0.Add(time.Hour))
		size := len(m.Payload) + len(m.Topic) + 5
		t.Logf("%d octets with flags %v", size, flags.Names())
		if size > 2000 {
			t.Errorf("%d octets, at most 2000", size)
		}
	}
}

// TestAlarmsDoNotGoBack: the present state comes before the record of the edge.
func TestAlarmsDoNotGoBack(t *testing.T) {
	n := born(t, config())
	raise := meter.Alarm{ID: "W1.L1.i.hi", Way: "W1", Quantity: "i", Phase: "L1", Kind: "hi", Edge: meter.Raise, At: t0.Add(time.Second)}
	clear := raise
	clear.Edge, clear.At = meter.Clear, t0.Add(3*time.Second)
	if err := n.Retained("alarmstate/W1", message.AppendAlarmState(nil, "S1", "W1", raise.At, []meter.Alarm{raise}, nil), t0); err != nil {
		t.Fatal(err)
	}
	got := metrics(t, n.Changes(raise.At, time.Second))
	if m := got["W1:Alarm/L1/i/hi"]; m == nil || !m.GetBooleanValue() || m.GetTimestamp() != uint64(raise.At.UnixMilli()) {
		t.Fatalf("raise: %v", m)
	}
	if got["W1:Alarms/Active"].GetStringValue() != "W1.L1.i.hi" {
		t.Errorf("active: %v", got["W1:Alarms/Active"])
	}
	edge := func(a *meter.Alarm) map[string]*sparkplugpb.Metric {
		return metrics(t, []Message{n.Record(&Record{Stream: "alarm/W1", At: a.At, Body: message.AppendAlarm(nil, "S1", a)}, a.At)})
	}
	if got := edge(&raise); got["W1:Alarm/L1/i/hi"] != nil || got["W1:Alarms/Event"] == nil {
		t.Errorf("the record of a raise that was told: %v", got)
	}
	if m := edge(&clear)["W1:Alarm/L1/i/hi"]; m == nil || m.GetBooleanValue() || m.GetIsHistorical() {
		t.Errorf("clear: %v", m)
	}
	if m := edge(&raise)["W1:Alarm/L1/i/hi"]; m == nil || !m.GetIsHistorical() {
		t.Errorf("a raise from before the clear: %v, want historical", m)
	}
}

// TestHost is the primary host's table.
func TestHost(t *testing.T) {
	cfg := config()
	cfg.Host = "scada"
	type said struct {
		online bool
		at     int64
	}
	tests := []struct {
		name        string
		born        bool
		said        []said
		ready, gone bool
	}{
		{"nothing heard", false, nil, false, false},
		{"online", false, []said{{true, 10}}, true, false},
		{"offline before the birth", false, []said{{false, 10}}, false, false},
		{"online, then an older offline", true, []said{{true, 10}, {false, 9}}, true, false},
		{"online, then offline at the same time", true, []said{{true, 10}, {false, 10}}, false, true},
		{"online, then offline", true, []said{{true, 10}, {false, 11}}, false, true},
		{"offline, then an older online", false, []said{{false, 10}, {true, 9}}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := New(cfg, State{}, t0)
			n.Connect()
			gone := false
			for _, s := range tt.said {
				g, err := n.Host(fmt.Appendf(nil, `{"online":%v,"timestamp":%d}`, s.online, s.at))
				if err != nil {
					t.Fatal(err)
				}
				gone = gone || g
				if tt.born && n.Ready() && !n.Born() {
					n.Births(t0, 0)
				}
			}
			if n.Ready() != tt.ready || gone != tt.gone {
				t.Errorf("ready %v, gone %v; want %v, %v", n.Ready(), gone, tt.ready, tt.gone)
			}
		})
	}
	n := New(cfg, State{}, t0)
	for _, bad := range []string{"ONLINE", "{}", `{"online":true}`, `{"online":1,"timestamp":1}`, strings.Repeat(" ", 2000)} {
		if _, err := n.Host([]byte(bad)); err == nil || n.Ready() {
			t.Errorf("%.20q was taken", bad)
		}
	}
}

func order(metrics ...*sparkplugpb.Metric) []byte {
	p := &sparkplugpb.Payload{Timestamp: proto.Uint64(uint64(t0.UnixMilli())), Metrics: metrics}
	b, err := sparkplugpb.Append(nil, p)
	if err != nil {
		panic(err)
	}
	return b
}

func float(name string, x float32) *sparkplugpb.Metric {
	return &sparkplugpb.Metric{Name: &name, Value: &sparkplugpb.Metric_FloatValue{FloatValue: x}}
}

func boolean(name string, x bool) *sparkplugpb.Metric {
	return &sparkplugpb.Metric{Name: &name, Value: &sparkplugpb.Metric_BooleanValue{BooleanValue: x}}
}

func counter(x uint64) *sparkplugpb.Metric {
	return &sparkplugpb.Metric{Name: proto.String("Heartbeat"), Value: &sparkplugpb.Metric_LongValue{LongValue: x}}
}

const (
	ncmd = "spBv1.0/EPN/NCMD/S1"
	dcmd = "spBv1.0/EPN/DCMD/S1/W1"
)

// TestCommands reads commands as the contract's decoder does.
func TestCommands(t *testing.T) {
	nan := float32(0)
	nan /= nan
	tests := []struct {
		name     string
		topic    string
		payload  []byte
		retained bool
		issuer   string
		rebirth  bool
		want     string // of the limit; "beat"; empty: none
		err      error
	}{
		{"rebirth", ncmd, order(boolean(rebirthName, true)), false, "", true, "", nil},
		{"rebirth false", ncmd, order(boolean(rebirthName, false)), false, "", false, "", nil},
		{"rebirth of a device", dcmd, order(boolean(rebirthName, true)), false, "scada-1", false, "", errNotHere},
		{"retained", ncmd, order(boolean(rebirthName, true)), true, "scada-1", false, "", errRetained},
		{"limit", dcmd, order(float("Group/G1/Limit", 16.3)), false, "scada-1", false, `{"amps":16.3}`, nil},
		{"limit of nothing", dcmd, order(float("Group/G1/Limit", 0)), false, "scada-1", false, `{"amps":0}`, nil},
		{"limit below nothing", dcmd, order(float("Group/G1/Limit", -1)), false, "scada-1", false, "", errNoAmps},
		{"limit that is no number", dcmd, order(float("Group/G1/Limit", nan)), false, "scada-1", false, "", errNoAmps},
		{"limit that is text", dcmd, order(&sparkplugpb.Metric{Name: proto.String("Group/G1/Limit"), Value: &sparkplugpb.Metric_StringValue{StringValue: "16"}}), false, "scada-1", false, "", errNoAmps},
		{"limit that is null", dcmd, order(&sparkplugpb.Metric{Name: proto.String("Group/G1/Limit"), IsNull: proto.Bool(true)}), false, "scada-1", false, "", errNoAmps},
		{"limit without an issuer", dcmd, order(float("Group/G1/Limit", 16)), false, "", false, "", errNoIssuer},
		{"limit without a time", dcmd, func() []byte {
			b, _ := sparkplugpb.Append(nil, &sparkplugpb.Payload{Metrics: []*sparkplugpb.Metric{float("Group/G1/Limit", 16)}})
			return b
		}(), false, "scada-1", false, "", errNoTime},
		{"limit of 1970", dcmd, func() []byte {
			b, _ := sparkplugpb.Append(nil, &sparkplugpb.Payload{Timestamp: proto.Uint64(48), Metrics: []*sparkplugpb.Metric{float("Group/G1/Limit", 16)}})
			return b
		}(), false, "scada-1", false, "", errNoTime},
		{"limit of an unknown group", dcmd, order(float("Group/G9/Limit", 16)), false, "scada-1", false, "", errNotHere},
		{"state is not written", dcmd, order(float("Group/G1/State", 16)), false, "scada-1", false, "", errNotHere},
		{"limit at the node", ncmd, order(float("Group/G1/Limit", 16)), false, "scada-1", false, "", errNotHere},
		{"unknown way", "spBv1.0/EPN/DCMD/S1/W9", order(float("Group/G1/Limit", 16)), false, "scada-1", false, "", errNotHere},
		{"another node", "spBv1.0/EPN/NCMD/S2", order(boolean(rebirthName, true)), false, "scada-1", false, "", errOutside},
		{"release", dcmd, order(boolean("Group/G1/Release", true)), false, "scada-1", false, `"none"`, nil},
		{"release false", dcmd, order(boolean("Group/G1/Release", false)), false, "scada-1", false, "", errNotTrue},
		{"heartbeat", ncmd, order(counter(7)), false, "scada-1", false, "beat", nil},
		{"heartbeat below nothing", ncmd, order(counter(1<<64 - 1)), false, "scada-1", false, "", errNoCounter},
		{"too large", ncmd, make([]byte, sparkplugpb.Command.Octets+1), false, "scada-1", false, "", sparkplugpb.ErrTooLarge},
		{"one of two is wrong", dcmd, order(float("Group/G9/Limit", 16), float("Group/G1/Limit", 6)), false, "scada-1", false, `{"amps":6}`, errNotHere},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			cfg.Issuer = tt.issuer
			n := born(t, cfg)
			cmds, rebirth, err := n.Command(tt.topic, tt.payload, tt.retained, t0)
			if rebirth != tt.rebirth || (err == nil) != (tt.err == nil) || err != nil && !strings.Contains(err.Error(), tt.err.Error()) {
				t.Fatalf("rebirth %v, err %v; want %v, %v", rebirth, err, tt.rebirth, tt.err)
			}
			if (len(cmds) == 1) != (tt.want != "") {
				t.Fatalf("%d commands", len(cmds))
			}
			if err != nil && metrics(t, n.Changes(t0, 0))[":Commands/Refused"].GetLongValue() != 1 {
				t.Error("the refusal is not told")
			}
			for _, c := range cmds {
				taken, refused := message.Decode("lv/v1/S1/cmd/"+c.Name, c.Body, false)
				if refused != nil {
					t.Fatalf("%s: %s", c.Body, refused.Detail)
				}
				var got struct{ Limit json.RawMessage }
				if err := json.Unmarshal(c.Body, &got); err != nil {
					t.Fatal(err)
				}
				if _, beat := taken.Body.(message.Heartbeat); beat != (tt.want == "beat") || !beat && string(got.Limit) != tt.want {
					t.Errorf("%s, want %s", c.Body, tt.want)
				}
			}
		})
	}
}

// TestSetpointsSupersede: the newer setpoint of a group ends the older one, also
// after a restart, but one that was rejected ends none.
func TestSetpointsSupersede(t *testing.T) {
	n := born(t, config())
	give := func(n *Node) (id, supersedes string, epoch uint64) {
		t.Helper()
		cmds, _, err := n.Command(dcmd, order(float("Group/G1/Limit", 16)), false, t0)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			ID, Supersedes string
			Epoch          uint64
		}
		if err := json.Unmarshal(cmds[0].Body, &c); err != nil {
			t.Fatal(err)
		}
		return c.ID, c.Supersedes, c.Epoch
	}
	first, none, epoch := give(n)
	if none != "" {
		t.Errorf("the first supersedes %q", none)
	}
	n = New(config(), n.State, t0.Add(-time.Hour)) // the clock went back
	second, of, later := give(n)
	if of != first || later <= epoch {
		t.Errorf("after a restart supersedes %q in epoch %d, want %q above %d", of, later, first, epoch)
	}
	n.answered(fmt.Appendf(nil, `{"id":%q,"stage":"rejected"}`, second))
	if _, of, _ := give(n); of != first {
		t.Errorf("after a rejection supersedes %q, want %q", of, first)
	}
}

// TestEcho: the answer to a setpoint is the value in force, although it is the
// same as before.
func TestEcho(t *testing.T) {
	for _, payload := range [][]byte{order(float("Group/G1/Limit", 16)), order(boolean("Group/G1/Release", true))} {
		n := born(t, config())
		if _, _, err := n.Command(dcmd, payload, false, t0); err != nil {
			t.Fatal(err)
		}
		if got := metrics(t, n.Changes(t0, 0)); got["W1:Group/G1/Limit"] == nil || got["W1:Group/G1/State"] == nil {
			t.Errorf("told %v", got)
		}
		if got := n.Changes(t0, 0); got != nil {
			t.Error("told twice")
		}
	}
}

// TestHeartbeatCounter: a host that starts anew counts, one that hangs does not.
func TestHeartbeatCounter(t *testing.T) {
	n := born(t, config())
	type order3 struct{ Epoch, Seq uint64 }
	var was order3
	for i, c := range []struct {
		counter uint64
		counts  bool
	}{{7, true}, {8, true}, {8, false}, {1, true}, {2, true}} {
		cmds, _, err := n.Command(ncmd, order(counter(c.counter)), false, t0)
		if err != nil {
			t.Fatal(err)
		}
		var is order3
		if err := json.Unmarshal(cmds[0].Body, &is); err != nil {
			t.Fatal(err)
		}
		newer := is.Epoch > was.Epoch || is.Epoch == was.Epoch && is.Seq > was.Seq
		if newer != c.counts {
			t.Errorf("beat %d, counter %d: newer %v, want %v", i, c.counter, newer, c.counts)
		}
		was = is
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(ncmd, order(boolean(rebirthName, true)))
	f.Add(ncmd, order(counter(7)))
	f.Add(dcmd, order(float("Group/G1/Limit", 16), boolean("Group/G1/Release", true)))
	f.Add("spBv1.0/EPN/DCMD/S1/", []byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		n := born(t, config())
		cmds, _, _ := n.Command(topic, payload, false, t0)
		if len(cmds) > sparkplugpb.Command.Metrics {
			t.Fatalf("%d commands", len(cmds))
		}
		for _, c := range cmds {
			if _, refused := message.Decode("lv/v1/S1/cmd/"+c.Name, c.Body, false); refused != nil {
				t.Fatalf("%s: %s", c.Body, refused.Detail)
			}
		}
		for _, m := range n.Changes(t0, 0) {
			parse(t, m)
		}
		if _, err := n.Host(payload); err == nil && len(payload) > mostState {
			t.Fatal("a state of any size is taken")
		}
	})
}
