package watch

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"lvagent/agent/sparkplug"
	"lvagent/agent/uplink/sparkplugpb"
)

// What a birth declares is remembered, because data says neither types nor, where
// a node uses aliases, names. Births are not retained: a watcher that comes later
// sees none until the next.
const (
	mostNodes    = 1 << 14
	mostDevices  = 256     // of a node
	mostDeclared = 1 << 20 // metrics of all nodes together
	mostWritten  = 12      // metrics of a message that are written out
)

// seqStream is the name of a node's sequence in a line.
const seqStream = "seq"

// kinds of Sparkplug messages, as a line calls them.
var sparkplugKinds = map[string]string{
	"NBIRTH": "node born", "DBIRTH": "device born", "NDATA": "node", "DDATA": "device",
	"NDEATH": "node gone", "DDEATH": "device gone", "NCMD": "command to node", "DCMD": "command to device",
}

// sparkplugFilters are the filters for one node, or all, of any group. Commands
// and the host's state are what the centre says.
func sparkplugFilters(node string, commands bool) []string {
	kinds := []string{"BIRTH", "DATA", "DEATH"}
	if commands {
		kinds = append(kinds, "CMD")
	}
	var all []string
	for _, kind := range kinds {
		all = append(all, sparkplug.Namespace+"+/N"+kind+"/"+node, sparkplug.Namespace+"+/D"+kind+"/"+node+"/+")
	}
	if commands {
		all = append(all, sparkplug.Namespace+"STATE/+")
	}
	return all
}

// nodeKey names an edge node.
type nodeKey struct{ group, node string }

// node is what was heard of an edge node.
type node struct {
	born, gone bool
	told       bool // that no birth was seen
	counted    bool // seq is that of the message before
	seq        uint8
	bdSeq      uint64
	declared   int
	devices    map[string]declared // by id; empty: the node itself
}

// declared is what a birth said of a node or a device.
type declared struct {
	types   map[string]uint32 // by name
	aliases map[uint64]string
}

// nodes are bounded: the one that came first is forgotten first.
type nodes struct {
	all      map[nodeKey]*node
	order    []nodeKey
	declared int
}

func (ns *nodes) of(k nodeKey) *node {
	if n := ns.all[k]; n != nil {
		return n
	}
	if len(ns.order) >= mostNodes {
		ns.forget()
	}
	n := &node{devices: map[string]declared{}}
	ns.all[k] = n
	ns.order = append(ns.order, k)
	return n
}

func (ns *nodes) forget() {
	ns.declared -= ns.all[ns.order[0]].declared
	delete(ns.all, ns.order[0])
	ns.order = ns.order[1:]
}

// declare remembers a birth. What is beyond the bounds is not, and reads as if it
// had never been declared.
func (ns *nodes) declare(n *node, device string, metrics []*sparkplugpb.Metric) {
	old := len(n.devices[device].types)
	if _, known := n.devices[device]; !known && len(n.devices) >= mostDevices {
		return
	}
	d := declared{types: map[string]uint32{}, aliases: map[uint64]string{}}
	for _, m := range metrics {
		if m.Name == nil || len(*m.Name) > longestKey {
			continue
		}
		d.types[*m.Name] = m.GetDatatype()
		if m.Alias != nil {
			d.aliases[*m.Alias] = *m.Name
		}
	}
	n.devices[device] = d
	n.declared += len(d.types) - old
	ns.declared += len(d.types) - old
	for ns.declared > mostDeclared && ns.all[ns.order[0]] != n {
		ns.forget()
	}
}

// takeSparkplug reads a message of Sparkplug B. It reports false where the topic
// is none of it.
func (w *Watcher) takeSparkplug(m Message, l *Line) bool {
	rest, ok := strings.CutPrefix(m.Topic, sparkplug.Namespace)
	if !ok {
		return false
	}
	levels := strings.Split(rest, "/")
	if levels[0] == "STATE" && len(levels) == 2 {
		w.takeHost(m, l, levels[1])
		return true
	}
	if len(levels) < 3 || len(levels) > 4 || sparkplugKinds[levels[1]] == "" || (levels[1][0] == 'D') != (len(levels) == 4) {
		return false
	}
	kind, device := levels[1], ""
	if len(levels) == 4 {
		device = levels[3]
	}
	l.Agent, l.Kind = clean(levels[2], 64), kind
	title := "sparkplug " + sparkplugKinds[kind]
	if device != "" {
		title += " " + clean(device, 64)
	}
	p, err := sparkplugpb.Parse(m.Payload, sparkplugpb.Publication)
	if err != nil {
		w.Counts.Unreadable++
		l.Text, l.Tone = fmt.Sprintf("%s: no Sparkplug payload, %d octets", title, len(m.Payload)), Warn
		return true
	}
	k := nodeKey{levels[0], levels[2]}
	if len(k.group)+len(k.node) > longestKey || len(device) > longestKey {
		l.Text, l.Tone = title+": no node has such a name", Warn
		return true
	}
	n := w.nodes.of(k)
	remark := w.life(n, kind, device, p, l)
	l.At = dated(kind, p)
	own := w.metrics(n, device, p, l)
	l.Text = title + remark + own
	if m.Retained {
		l.Text += ", retained, which Sparkplug forbids"
		l.Tone = max(l.Tone, Warn)
	}
	return true
}

// life follows births, deaths and the sequence, and says what is remarkable.
func (w *Watcher) life(n *node, kind, device string, p *sparkplugpb.Payload, l *Line) (remark string) {
	switch kind {
	case "NBIRTH":
		w.nodes.declared -= n.declared
		*n = node{born: true, devices: map[string]declared{}, bdSeq: sparkplug.NodeBdSeq(p)}
		w.nodes.declare(n, "", p.Metrics)
		l.Tone = Good
		remark = fmt.Sprintf(", bdSeq %d, %d metrics", n.bdSeq, len(p.Metrics))
		if p.GetSeq() != 0 {
			remark += ", seq is not 0"
			l.Tone = Warn
		}
	case "DBIRTH":
		w.nodes.declare(n, device, p.Metrics)
		l.Tone = Good
		remark = fmt.Sprintf(", %d metrics", len(p.Metrics))
	case "NDEATH":
		bd := sparkplug.NodeBdSeq(p)
		if n.born && bd != n.bdSeq {
			return fmt.Sprintf(" with bdSeq %d: the end of another connection than that of bdSeq %d", bd, n.bdSeq)
		}
		n.born, n.gone, n.counted = false, true, false
		l.Tone = Bad
		return fmt.Sprintf(", bdSeq %d", bd)
	case "DDEATH":
		l.Tone = Bad
	case "NCMD", "DCMD":
		return ""
	}
	w.sequence(n, p, l)
	switch _, declared := n.devices[device]; {
	case n.gone && !n.born:
		remark += ", after the node said that it is gone"
		l.Tone = max(l.Tone, Warn)
	case !n.born && !n.told:
		n.told = true
		remark += ", no birth of the node seen"
	case n.born && !declared:
		remark += ", no birth of the device seen"
		l.Tone = max(l.Tone, Warn)
	}
	return remark
}

// sequence compares the number with the one before: 0 to 255 over the node and
// all its devices.
func (w *Watcher) sequence(n *node, p *sparkplugpb.Payload, l *Line) {
	if p.Seq == nil {
		return
	}
	seq, last := uint8(*p.Seq), n.seq
	l.Stream, l.Number = seqStream, Number{N: uint64(seq)}
	if n.counted {
		l.Number.Verdict = Next
		if missing := seq - last - 1; missing > 0 { // 255 is followed by 0
			l.Number.Verdict, l.Number.From, l.Number.To = Skips, uint64(last+1), uint64(seq-1)
			l.Tone = max(l.Tone, Warn)
			w.Counts.Missing += uint64(missing)
		}
	}
	n.seq, n.counted = seq, true
}

// dated is when a message was due: of data the time of its newest value, of the
// others when it was sent.
func dated(kind string, p *sparkplugpb.Payload) time.Time {
	at := p.GetTimestamp()
	if strings.HasSuffix(kind, "DATA") {
		newest := uint64(0)
		for _, m := range p.Metrics {
			newest = max(newest, m.GetTimestamp())
		}
		if newest > 0 {
			at = newest
		}
	}
	if at == 0 || at >= 1<<47 { // beyond the year 6000
		return time.Time{}
	}
	return time.UnixMilli(int64(at)).UTC()
}

// shown is a metric in JSON.
type shown struct {
	Name       string `json:"name"`
	Type       string `json:"type,omitempty"`
	At         uint64 `json:"timestamp,omitempty"`
	Value      any    `json:"value"`
	Quality    *int64 `json:"quality,omitempty"`
	Historical bool   `json:"historical,omitempty"`
}

// metrics writes the values, the first of them for a person and all for a program.
func (w *Watcher) metrics(n *node, device string, p *sparkplugpb.Payload, l *Line) string {
	d := n.devices[device]
	all := make([]shown, 0, len(p.Metrics))
	var parts []string
	historical := 0
	for _, m := range p.Metrics {
		name, known := m.GetName(), true
		if m.Name == nil || name == "" {
			if name, known = d.aliases[m.GetAlias()]; !known {
				name = fmt.Sprintf("alias %d", m.GetAlias())
			}
		}
		kind := m.GetDatatype()
		if kind == 0 {
			kind = d.types[name]
		}
		s := shown{Name: name, Type: sparkplug.TypeName(kind), At: m.GetTimestamp(), Value: valueOf(m, kind), Historical: m.GetIsHistorical()}
		if q, ok := qualityOf(m); ok {
			s.Quality = &q
		}
		all = append(all, s)
		if s.Historical {
			historical++
		}
		if len(parts) >= mostWritten {
			continue
		}
		text, tone := w.write(&s)
		l.Tone = max(l.Tone, tone)
		parts = append(parts, text)
	}
	l.payload, _ = json.Marshal(struct {
		At      *uint64 `json:"timestamp,omitempty"`
		Seq     *uint64 `json:"seq,omitempty"`
		Metrics []shown `json:"metrics"`
	}{p.Timestamp, p.Seq, all}) // what cannot be written is text by now
	if len(parts) == 0 || l.Kind == "NDEATH" { // its bdSeq was said
		return ""
	}
	text := ": "
	switch {
	case historical == len(all):
		text = ", historical: "
	case historical > 0:
		text = fmt.Sprintf(", %d of %d historical: ", historical, len(all))
	}
	text += strings.Join(parts, "; ")
	if more := len(all) - len(parts); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// write writes a metric for a person. A record of the JSON contract in a metric
// reads as it does on its own topic.
func (w *Watcher) write(s *shown) (string, Tone) {
	name := clean(s.Name, 60)
	text, isText := s.Value.(string)
	kind, isRecord := strings.CutPrefix(s.Name, sparkplug.RecordsPrefix)
	if s.Name == sparkplug.EventName {
		kind, isRecord = "alarm", true
	}
	var o object
	switch {
	case s.Value == nil:
		name += " " + unknown
	case isText && isRecord && unmarshal([]byte(text), &o) == nil && o != nil:
		if o.is(corrupt) {
			return name + " damaged in the agent's store", Bad
		}
		said, tone := say(kind, o)
		return name + " " + said, tone
	default:
		name += " " + clean(fmt.Sprint(s.Value), 80)
		if u := sparkplug.Unit(s.Name); u != "" && !isText {
			name += " " + u
		}
	}
	switch {
	case s.Quality == nil || *s.Quality == sparkplug.QualityGood:
	case *s.Quality == sparkplug.QualityBad && s.Value == nil: // said by the value
	case *s.Quality == sparkplug.QualityBad:
		name += " bad"
	case *s.Quality == sparkplug.QualityStale:
		name += " stale"
	default:
		name += fmt.Sprintf(" quality %d", *s.Quality)
	}
	return name, Plain
}

// valueOf returns a value as JSON can have it; null where there is none.
func valueOf(m *sparkplugpb.Metric, kind uint32) any {
	if m.GetIsNull() {
		return nil
	}
	float := func(x float64, bits int) any {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return strconv.FormatFloat(x, 'g', -1, 64)
		}
		return json.Number(strconv.FormatFloat(x, 'g', -1, bits))
	}
	switch v := m.GetValue().(type) {
	case *sparkplugpb.Metric_IntValue:
		return sparkplug.Signed(kind, uint64(v.IntValue))
	case *sparkplugpb.Metric_LongValue:
		if sparkplug.TypeName(kind) == "DateTime" && v.LongValue < 1<<47 {
			return time.UnixMilli(int64(v.LongValue)).UTC().Format(time.RFC3339Nano)
		}
		return sparkplug.Signed(kind, v.LongValue)
	case *sparkplugpb.Metric_FloatValue:
		return float(float64(v.FloatValue), 32)
	case *sparkplugpb.Metric_DoubleValue:
		return float(v.DoubleValue, 64)
	case *sparkplugpb.Metric_BooleanValue:
		return v.BooleanValue
	case *sparkplugpb.Metric_StringValue:
		return v.StringValue
	case *sparkplugpb.Metric_BytesValue:
		return fmt.Sprintf("%d octets", len(v.BytesValue))
	default:
		return "of a kind that is not read here" // a data set or a template
	}
}

// qualityOf returns the property Quality.
func qualityOf(m *sparkplugpb.Metric) (int64, bool) {
	p := m.GetProperties()
	for i, key := range p.GetKeys() {
		if key == "Quality" && i < len(p.GetValues()) {
			v := p.GetValues()[i]
			return int64(v.GetIntValue()) + int64(v.GetLongValue()&math.MaxInt32), true
		}
	}
	return 0, false
}

// takeHost reads the state of a primary host.
func (w *Watcher) takeHost(m Message, l *Line, host string) {
	l.Kind = "STATE"
	var o object
	if err := unmarshal(m.Payload, &o); err != nil || o == nil {
		w.Counts.Unreadable++
		l.Text, l.Tone = fmt.Sprintf("sparkplug host %s: no JSON object, %d octets", clean(host, 64), len(m.Payload)), Warn
		return
	}
	l.Text, l.Tone = "sparkplug host "+clean(host, 64)+" online", Good
	if !o.is("online") {
		l.Text, l.Tone = "sparkplug host "+clean(host, 64)+" offline", Bad
	}
	if ms := o.whole("timestamp"); ms > 0 && ms < 1<<47 {
		l.At = time.UnixMilli(int64(ms)).UTC()
	}
}
