package sparkplug

import (
	"encoding/json"
	"strings"
	"time"

	"lvagent/agent/message"
	"lvagent/meter"
)

// Record is one record of the store.
type Record struct {
	Stream string
	N      uint64
	G      uint32
	At     time.Time // when it was due
	Body   []byte
	Again  bool // it was sent before, and is asked for once more
}

// sample is a metric with the value of a record.
type sample struct {
	metric *metric
	value  value
	late   bool
}

// Record returns the message for a record. What is late, or is asked for again,
// is historical and changes no live value; the rest is the present. Each record
// has a message: one that has no metrics of its own goes out as its JSON.
func (n *Node) Record(r *Record, wall time.Time) Message {
	late := r.Again || message.Late(r.Stream, r.At, wall)
	kind, way, _ := strings.Cut(r.Stream, "/")
	d := n.wayOrNode(way)
	var samples []sample
	switch {
	case d == nil:
	case kind == "hh":
		samples = halfHour(d, r)
	case kind == "alarm":
		samples = alarmEdge(d, way, r, late)
	case kind == "live":
		samples, late = live(d, r), true // the live values have come by themselves
	}
	if len(samples) == 0 {
		d, late = n.node(), r.Again || wall.Sub(r.At) > message.EventLate
		samples = []sample{{metric: d.find(recordName(kind)), value: text(r.At, string(message.Seal(nil, r.Body, r.Stream, r.N, r.G)))}}
	}
	if r.Stream == message.AckStream {
		n.answered(r.Body)
	}
	p := n.open(wall)
	for i := range samples {
		s := &samples[i]
		historical := late || s.late
		p.Metrics = append(p.Metrics, s.metric.wire(&s.value, false, historical))
		if !historical {
			s.metric.value, s.metric.told = s.value, s.value
		}
	}
	at := 0
	if d.id != "" {
		at = 1
	}
	return n.write(n.topic(dataKind(at), d.id), p)
}

func recordName(kind string) string {
	for _, name := range recordNames {
		if name == kind {
			return RecordsPrefix + kind
		}
	}
	return RecordsPrefix + "other"
}

// halfHour is the record of a period as metrics. Their time is the period's end.
func halfHour(d *device, r *Record) []sample {
	var h struct {
		Rev        int64
		Start, End time.Time
		Coverage   json.Number
		Flags      []string
		L1, L2, L3 map[string]map[string]any
		T          map[string]json.Number
		N          *struct{ I map[string]json.Number }
	}
	decoder := json.NewDecoder(strings.NewReader(string(r.Body)))
	decoder.UseNumber()
	if decoder.Decode(&h) != nil || h.End.IsZero() {
		return nil
	}
	q := good
	for _, f := range h.Flags {
		if f == "INVALID" || f == "NO_DATA" {
			q = bad
		}
	}
	var all []sample
	put := func(name string, v value) {
		if m := d.find(halfHourPrefix + name); m != nil {
			v.at, v.quality = h.End, q
			if !v.known {
				v.quality = bad
			}
			all = append(all, sample{metric: m, value: v})
		}
	}
	decimal := func(name string, x any, scale int64) {
		number, is := x.(json.Number)
		milli, ok := int64(0), false
		if is {
			milli, ok = thousandths(number)
		}
		put(name, value{known: ok, n: milli * scale})
	}
	put("Start", value{known: true, n: h.Start.UnixMilli()})
	put("Number", value{known: true, n: int64(r.N)})
	put("Rev", value{known: true, n: h.Rev})
	share, err := h.Coverage.Float64()
	put("Coverage", value{known: err == nil, n: int64(share*100_000 + 0.5)})
	put("Flags", text(h.End, strings.Join(h.Flags, ",")))
	for p, phase := range [meter.Phases]map[string]map[string]any{h.L1, h.L2, h.L3} {
		for _, c := range halfHourPhase {
			decimal(meter.Phase(p).String()+"/"+c.name, phase[c.quantity][c.field], 1)
		}
	}
	var neutral map[string]json.Number
	if h.N != nil {
		neutral = h.N.I
	}
	of := func(m map[string]json.Number, key string) any {
		if x, ok := m[key]; ok && x != "" {
			return x
		}
		return nil
	}
	decimal("N/I", of(neutral, "rms"), 1)
	decimal("N/IMax", of(neutral, "max"), 1)
	decimal("T/P", of(h.T, "p"), 1)
	decimal("T/Q", of(h.T, "q"), 1)
	decimal("T/Import", of(h.T, "kwh_import"), 1)
	decimal("T/Export", of(h.T, "kwh_export"), 1)
	return all
}

// alarmEdge is one edge of an alarm: the threshold's metric, if it has one that
// has not said it yet, and the whole of it as an event. The metric never goes
// back in time: an edge from before the value that was told is historical.
func alarmEdge(d *device, way string, r *Record, late bool) []sample {
	var a struct {
		ID, Edge string
		T        time.Time
	}
	if json.Unmarshal(r.Body, &a) != nil || a.T.IsZero() {
		return nil
	}
	sealed := message.Seal(nil, r.Body, r.Stream, r.N, r.G)
	all := []sample{{metric: d.find(EventName), value: text(a.T, string(sealed))}}
	m := d.find(alarmName(way, a.ID))
	if m == nil || m.kind != typeBoolean {
		return all
	}
	v := truth(a.T, a.Edge == meter.Raise.String())
	if !late && m.told.known && m.told.n == v.n && !a.T.After(m.told.at) {
		return all // the present state has said it
	}
	return append(all, sample{metric: m, value: v, late: a.T.Before(m.told.at)})
}

// live is a reading that was kept because of an alarm.
func live(d *device, r *Record) []sample {
	var l struct {
		T          time.Time
		L1, L2, L3 map[string]*json.Number
		N          map[string]*json.Number
		Flags      []string
	}
	if json.Unmarshal(r.Body, &l) != nil || l.T.IsZero() {
		return nil
	}
	q := good
	if len(l.Flags) > 0 {
		q = bad // SUSPECT
	}
	var all []sample
	put := func(name string, x *json.Number) {
		m := d.find(name)
		if m == nil {
			return
		}
		v := value{at: l.T}
		if x != nil {
			if milli, ok := thousandths(*x); ok {
				v = value{at: l.T, known: true, quality: q, n: milli}
			}
		}
		all = append(all, sample{metric: m, value: v})
	}
	for p, phase := range [meter.Phases]map[string]*json.Number{l.L1, l.L2, l.L3} {
		put(liveNames[p][0], phase["v"])
		put(liveNames[p][1], phase["i"])
		put(liveNames[p][2], phase["p"])
		put(liveNames[p][3], phase["q"])
	}
	put("N/I", l.N["i"])
	return all
}
