// Package sparkplug is the agent as an edge node of Sparkplug B 3.0: what it
// declares, what it says of itself and when, and how it reads a command.
//
// A [Node] is a pure state machine. It is told readings, retained states and
// records, and returns the messages to publish, in order; one goroutine owns it,
// because one sequence number runs over the node and all its devices. It does
// not know a broker (agent/uplink), does not prove a delivery, and does not
// decide whether a command is carried out: a command leaves here as the JSON
// command of the same meaning and takes that one's way (failsafe).
//
// Sections cited are those of the Sparkplug specification 3.0.0.
//
// Requirements: R1, R2 (measurements and half-hours for a SCADA host), R3
// (alarms), R14 (limits in amperes), R16 (late data is marked as late).
package sparkplug

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/uplink/sparkplugpb"
	"lvagent/meter"
)

// Config is what a node declares.
type Config struct {
	Group     string // Sparkplug's group id; not a charging group
	Node      string // the agent's id
	Version   string
	Host      string // the primary host; empty: births wait for nobody
	Issuer    string // in whose name a command is given; empty: none is taken
	Ways      []Way
	Volts     meter.Millivolts // smallest move of a voltage that is sent
	Share     meter.PPM        // the same of I, P and Q, as a share of the rating
	Heartbeat time.Duration    // longest silence of a live metric
}

// Way is one device.
type Way struct {
	ID     string
	Phases [meter.Phases]bool
	Rating [meter.Phases]meter.Milliamps
	Hold   time.Duration // after which a reading is stale
	Alarms []string      // ids of its thresholds, such as W3.L1.i.hi
	Groups []string      // charging groups on it
}

// Message is one publication.
type Message struct {
	Topic   string
	Payload []byte
}

// State is what must outlive the process.
type State struct {
	BdSeq uint8             // of the last CONNECT packet
	Epoch uint64            // of commands and heartbeats
	Last  map[string]string // by charging group: the id of its setpoint
	Any   bool              // there was a CONNECT packet
}

// Node is the edge node with its devices. The first device is the node itself.
type Node struct {
	cfg     Config
	State   State
	host    host
	devices []*device
	seq     uint8
	born    bool

	before    map[string]string // by charging group: the setpoint before Last
	commands  uint64            // of this epoch
	counter   uint64            // of the host's heartbeat
	counted   bool
	unsent    bool // State changed
	refusals  int64
	unwritten uint64
}

// New returns a node that goes on from what was kept. The epoch is above that of
// every earlier run: by the kept state, and by the clock where that was lost.
func New(cfg Config, kept State, wall time.Time) *Node {
	n := &Node{cfg: cfg, State: kept, before: map[string]string{}}
	n.State.Epoch = max(kept.Epoch+1, uint64(max(wall.Unix(), 0)))
	n.State.Last = map[string]string{}
	for group, id := range kept.Last {
		n.State.Last[group] = id
	}
	n.host.id = cfg.Host
	n.devices = append(n.devices, n.itself())
	for i := range cfg.Ways {
		n.devices = append(n.devices, n.way(&cfg.Ways[i]))
	}
	return n
}

// Namespace is the first level of every topic (6.1).
const Namespace = "spBv1.0/"

func (n *Node) topic(kind, device string) string {
	t := Namespace + n.cfg.Group + "/" + kind + "/" + n.cfg.Node
	if device != "" {
		t += "/" + device
	}
	return t
}

// Subscriptions are the filters that are subscribed to before the births, at
// QoS 1.
func (n *Node) Subscriptions() []string {
	all := []string{n.topic("NCMD", ""), n.topic("DCMD", "+")}
	if n.cfg.Host != "" {
		all = append(all, n.host.topic())
	}
	return all
}

// Connect begins a connection: it takes the number of its CONNECT packet, which
// the state must keep before the packet leaves, and returns the will.
func (n *Node) Connect() Message {
	if n.State.Any {
		n.State.BdSeq++ // 255 is followed by 0
	}
	n.State.Any = true
	n.born, n.unsent = false, true
	return n.Death()
}

// Death returns the message that says that the node is gone: the will, and the
// last word of an orderly end. It holds nothing but bdSeq (6.4.12).
func (n *Node) Death() Message {
	bd := &sparkplugpb.Metric{Name: &bdSeqName, Datatype: &typeInt64,
		Value: &sparkplugpb.Metric_LongValue{LongValue: uint64(n.State.BdSeq)}}
	return n.write(n.topic("NDEATH", ""), &sparkplugpb.Payload{Metrics: []*sparkplugpb.Metric{bd}})
}

// Born reports whether the births of this connection were made.
func (n *Node) Born() bool { return n.born }

// Ready reports whether births may be made: the primary host, if there is one,
// is online.
func (n *Node) Ready() bool { return n.cfg.Host == "" || n.host.online }

// Changed reports whether the state has to be kept anew.
func (n *Node) Changed() bool {
	was := n.unsent
	n.unsent = false
	return was
}

// Births declares the node and each device with every metric there will be, from
// seq 0 on (6.4.5, 6.4.6). A rebirth is the same, with the same bdSeq.
func (n *Node) Births(wall time.Time, now time.Duration) []Message {
	n.seq, n.born = 0, true
	n.node().set(bdSeqName, number(wall, int64(n.State.BdSeq)))
	var all []Message
	for i, d := range n.devices {
		d.age(now)
		p := n.open(wall)
		for k := range d.metrics {
			m := &d.metrics[k]
			if m.value.at.IsZero() {
				m.value.at = wall // of "not known"
			}
			p.Metrics = append(p.Metrics, m.wire(&m.value, true, false))
			m.told = m.value
		}
		d.forced, d.toldAt = d.forced[:0], now
		kind := "DBIRTH"
		if i == 0 {
			kind = "NBIRTH"
		}
		all = append(all, n.write(n.topic(kind, d.id), p))
	}
	return all
}

// Changes returns what has moved by its deadband or more since it was last told,
// what was asked for, and all live metrics of a device that was silent for the
// heartbeat.
func (n *Node) Changes(wall time.Time, now time.Duration) []Message {
	if !n.born {
		return nil
	}
	var all []Message
	for i, d := range n.devices {
		d.age(now)
		whole := now-d.toldAt >= n.cfg.Heartbeat
		var p *sparkplugpb.Payload
		for k := range d.metrics {
			m := &d.metrics[k]
			if m.event || !(whole || m.moved() || slices.Contains(d.forced, k)) {
				continue
			}
			if p == nil {
				p = n.open(wall)
			}
			p.Metrics = append(p.Metrics, m.wire(&m.value, false, false))
			m.told = m.value
		}
		d.forced = d.forced[:0]
		if whole {
			d.toldAt = now
		}
		if p != nil {
			all = append(all, n.write(n.topic(dataKind(i), d.id), p))
		}
	}
	return all
}

func dataKind(device int) string {
	if device == 0 {
		return "NDATA"
	}
	return "DDATA"
}

// open starts a payload with the next number of the sequence.
func (n *Node) open(wall time.Time) *sparkplugpb.Payload {
	at, seq := milliseconds(wall), uint64(n.seq)
	n.seq++ // 255 is followed by 0
	return &sparkplugpb.Payload{Timestamp: &at, Seq: &seq}
}

// write encodes a payload. All texts in it are made valid before, so that it
// cannot fail; if it ever does, the payload is empty and counted.
func (n *Node) write(topic string, p *sparkplugpb.Payload) Message {
	b, err := sparkplugpb.Append(nil, p)
	if err != nil {
		n.unwritten++
		p.Metrics = nil
		b, _ = sparkplugpb.Append(nil, p)
	}
	return Message{Topic: topic, Payload: b}
}

func (n *Node) node() *device { return n.devices[0] }

// device returns a device by its id, or nil.
func (n *Node) device(id string) *device {
	for _, d := range n.devices[1:] {
		if d.id == id {
			return d
		}
	}
	return nil
}

// The node's own metrics.
var bdSeqName = "bdSeq"

const (
	rebirthName   = "Node Control/Rebirth"
	heartbeatName = "Heartbeat"
	refusedName   = "Commands/Refused"
	backlogName   = "Backlog"
	activeName    = "Alarms/Active"
	EventName     = "Alarms/Event"
	stateName     = "Failsafe/State"
	clockName     = "Clock"
	RecordsPrefix = "Records/"
)

// recordNames are the streams of the agent as a whole that have a metric of
// their own; everything else that has none goes out as Records/other.
var recordNames = []string{message.AckStream, message.AuditStream, message.GapStream, "digest", "other"}

func (n *Node) itself() *device {
	d := newDevice("")
	zero := number(time.Time{}, 0)
	d.add(metric{name: rebirthName, kind: typeBoolean, value: zero})
	d.add(metric{name: bdSeqName, kind: typeInt64, value: zero, event: true})
	d.add(metric{name: "Version", kind: typeString, value: text(time.Time{}, n.cfg.Version)})
	d.add(metric{name: clockName, kind: typeString})
	d.add(metric{name: stateName, kind: typeString})
	d.add(metric{name: backlogName, kind: typeUInt64, band: backlogBand})
	d.add(metric{name: heartbeatName, kind: typeUInt64})
	d.add(metric{name: refusedName, kind: typeUInt64, value: zero})
	d.add(metric{name: activeName, kind: typeString})
	d.add(metric{name: EventName, kind: typeString, event: true})
	for _, name := range recordNames {
		d.add(metric{name: RecordsPrefix + name, kind: typeString, event: true})
	}
	return d
}

// backlogBand keeps a busy store from being told of every record.
const backlogBand = 10

// halfHourPhase are the numbers of one phase in a half-hour, by the fields of
// the record: the most that a payload of 2 kB holds of three phases.
var halfHourPhase = []struct{ name, quantity, field string }{
	{"V", "v", "rms"}, {"VMin", "v", "min"}, {"VMax", "v", "max"},
	{"I", "i", "rms"}, {"IMax", "i", "max"},
	{"P", "p", "mean"}, {"PMax", "p", "max"}, {"Q", "q", "mean"},
}

const halfHourPrefix = "HalfHour/"

// nominal is the voltage that a rating in amperes stands for in watts.
const nominal = 230

func (n *Node) way(w *Way) *device {
	d := newDevice(w.ID)
	d.hold = w.Hold
	var most int64
	for p, has := range w.Phases {
		if !has {
			continue
		}
		phase := meter.Phase(p).String() + "/"
		amps := max(int64(w.Rating[p])*int64(n.cfg.Share)/int64(meter.Whole), 1)
		most = max(most, amps)
		d.add(metric{name: phase + "V", kind: typeFloat, band: int64(n.cfg.Volts), measured: true})
		d.add(metric{name: phase + "I", kind: typeFloat, band: amps, measured: true})
		d.add(metric{name: phase + "P", kind: typeFloat, band: amps * nominal, measured: true})
		d.add(metric{name: phase + "Q", kind: typeFloat, band: amps * nominal, measured: true})
	}
	d.add(metric{name: "N/I", kind: typeFloat, band: max(most, 1), measured: true})
	d.add(metric{name: stateName, kind: typeString})
	for _, id := range w.Alarms {
		d.add(metric{name: alarmName(w.ID, id), kind: typeBoolean})
	}
	d.add(metric{name: activeName, kind: typeString})
	d.add(metric{name: EventName, kind: typeString, event: true})
	for _, g := range w.Groups {
		prefix := groupPrefix + g + "/"
		d.add(metric{name: prefix + "Limit", kind: typeFloat})
		d.add(metric{name: prefix + "Feedback", kind: typeFloat})
		d.add(metric{name: prefix + "State", kind: typeString})
		d.add(metric{name: prefix + "Release", kind: typeBoolean, value: number(time.Time{}, 0)})
	}
	half := func(name string, kind uint32) { d.add(metric{name: halfHourPrefix + name, kind: kind, event: true}) }
	half("Start", typeDateTime)
	half("Number", typeUInt64)
	half("Rev", typeUInt64)
	half("Coverage", typeFloat)
	half("Flags", typeString)
	for p, has := range w.Phases {
		for _, q := range halfHourPhase {
			if has {
				half(meter.Phase(p).String()+"/"+q.name, typeFloat)
			}
		}
	}
	for _, name := range []string{"N/I", "N/IMax", "T/P", "T/Q", "T/Import", "T/Export"} {
		half(name, typeFloat)
	}
	return d
}

const groupPrefix = "Group/"

// alarmName is the metric of a threshold: W3.L1.i.hi is Alarm/L1/i/hi, and W3.n.hi
// is Alarm/N/i/hi.
func alarmName(way, id string) string {
	rest := strings.TrimPrefix(id, way+".")
	if kind, ok := strings.CutPrefix(rest, "n."); ok {
		rest = "N.i." + kind
	}
	return "Alarm/" + strings.ReplaceAll(rest, ".", "/")
}

// ValidTopicID reports whether id can be a level of a Sparkplug topic (6.1): not
// empty, and without + / #.
func ValidTopicID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsAny(id, "+/#\x00") && strings.ToValidUTF8(id, "") == id
}

// Unwritten counts payloads that could not be encoded; it is a fault of this
// program if it is not 0.
func (n *Node) Unwritten() error {
	if n.unwritten == 0 {
		return nil
	}
	return fmt.Errorf("%d Sparkplug payloads not encoded", n.unwritten)
}
