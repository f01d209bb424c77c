package sparkplug

import (
	"slices"
	"strings"
	"time"

	"lvagent/agent/uplink/sparkplugpb"
	"lvagent/meter"
)

// Data types of metrics and properties (6.4.16). They are variables because the
// generated types want addresses.
var (
	typeInt32    uint32 = 3
	typeInt64    uint32 = 4
	typeUInt64   uint32 = 8
	typeFloat    uint32 = 9
	typeBoolean  uint32 = 11
	typeString   uint32 = 12
	typeDateTime uint32 = 13

	isTrue = true
)

// quality is the property Quality of a metric.
type quality uint32

// Qualities: those of the specification's example, which hosts read. The zero
// value is bad.
const (
	bad   quality = 0
	good  quality = 192
	stale quality = 500
)

// qualityOf turns a sample's quality into the metric's. There is no code for a
// value that is doubted: it is bad, and is there to be looked at.
func qualityOf(q meter.Quality) quality {
	if q == meter.Good {
		return good
	}
	return bad
}

// value is a metric's value at a time. The zero value is not known.
type value struct {
	at      time.Time
	known   bool
	quality quality
	n       int64 // thousandths of a Float; ms of a DateTime; 0 or 1 of a Boolean
	s       string
}

func number(at time.Time, n int64) value { return value{at: at, known: true, quality: good, n: n} }

// text makes a value of a text, which must be UTF-8 on the wire.
func text(at time.Time, s string) value {
	return value{at: at, known: true, quality: good, s: strings.ToValidUTF8(s, "\uFFFD")}
}

func truth(at time.Time, is bool) value {
	v := number(at, 0)
	if is {
		v.n = 1
	}
	return v
}

// metric is one value that the host sees.
type metric struct {
	name     string
	kind     uint32
	band     int64 // smallest move that is told; 0: any
	measured bool  // grows stale
	event    bool  // is told with its record only, never because it moved
	value    value
	told     value
	fresh    time.Duration // of a measured one: since when it is what it is
	ever     bool          // it was measured
}

// moved reports whether the value differs by its deadband from what was told.
func (m *metric) moved() bool {
	v, t := &m.value, &m.told
	if v.known != t.known || v.quality != t.quality || v.s != t.s {
		return true
	}
	d := v.n - t.n
	return d != 0 && max(d, -d) >= m.band
}

// wire returns the metric as it is sent with a value. The datatype is in births
// only, the time and the quality always.
func (m *metric) wire(v *value, birth, historical bool) *sparkplugpb.Metric {
	at, q := milliseconds(v.at), uint32(v.quality)
	w := &sparkplugpb.Metric{
		Name: &m.name, Timestamp: &at,
		Properties: &sparkplugpb.PropertySet{Keys: qualityKey,
			Values: []*sparkplugpb.PropertyValue{{Type: &typeInt32, Value: &sparkplugpb.PropertyValue_IntValue{IntValue: q}}}},
	}
	if m.name == bdSeqName || m.name == rebirthName {
		w.Properties = nil // the protocol's own
	}
	if birth {
		w.Datatype = &m.kind
	}
	if historical {
		w.IsHistorical = &isTrue
	}
	if !v.known {
		w.IsNull = &isTrue
		return w
	}
	switch m.kind {
	case typeFloat:
		w.Value = &sparkplugpb.Metric_FloatValue{FloatValue: float32(float64(v.n) / 1000)}
	case typeBoolean:
		w.Value = &sparkplugpb.Metric_BooleanValue{BooleanValue: v.n != 0}
	case typeString:
		w.Value = &sparkplugpb.Metric_StringValue{StringValue: v.s}
	default:
		w.Value = &sparkplugpb.Metric_LongValue{LongValue: uint64(v.n)}
	}
	return w
}

var qualityKey = []string{"Quality"}

func milliseconds(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }

// device is a way, or the node itself.
type device struct {
	id      string
	hold    time.Duration
	metrics []metric
	index   map[string]int
	forced  []int         // to be told although they did not move
	toldAt  time.Duration // all of them
}

func newDevice(id string) *device { return &device{id: id, index: map[string]int{}} }

// add declares a metric; one that is there already stays as it is.
func (d *device) add(m metric) {
	if _, twice := d.index[m.name]; twice {
		return
	}
	d.index[m.name] = len(d.metrics)
	d.metrics = append(d.metrics, m)
}

// find returns a metric by its name, or nil.
func (d *device) find(name string) *metric {
	if i, ok := d.index[name]; ok {
		return &d.metrics[i]
	}
	return nil
}

// set gives a metric a value. A value that repeats what is known keeps its time:
// since when it is so.
func (d *device) set(name string, v value) {
	m := d.find(name)
	if m == nil {
		return
	}
	if o := &m.value; !o.at.IsZero() && o.known == v.known && o.quality == v.quality && o.n == v.n && o.s == v.s {
		return
	}
	m.value = v
}

// force has a metric told although it did not move.
func (d *device) force(name string) {
	if i, ok := d.index[name]; ok && !slices.Contains(d.forced, i) {
		d.forced = append(d.forced, i)
	}
}

// age makes stale what was not measured for too long.
func (d *device) age(now time.Duration) {
	for i := range d.metrics {
		if m := &d.metrics[i]; m.measured && m.ever && m.value.known && now-m.fresh > d.hold {
			m.value.quality = stale
		}
	}
}

// Reading takes a reading of a way, taken at wall, which is now by the time that
// never jumps. A meter that did not answer leaves the last value, which grows
// stale; any other reason says that the value is not known.
func (n *Node) Reading(r *meter.Reading, wall time.Time, now time.Duration) {
	d := n.device(r.Way)
	if d == nil {
		return
	}
	for p := range r.Phase {
		ph, names := &r.Phase[p], &liveNames[p]
		measure(d, names[0], ph.V, wall, now)
		measure(d, names[1], ph.I, wall, now)
		measure(d, names[2], ph.P, wall, now)
		measure(d, names[3], ph.Q, wall, now)
	}
	measure(d, "N/I", r.Neutral, wall, now)
}

var liveNames = [meter.Phases][4]string{
	{"L1/V", "L1/I", "L1/P", "L1/Q"}, {"L2/V", "L2/I", "L2/P", "L2/Q"}, {"L3/V", "L3/I", "L3/P", "L3/Q"},
}

func measure[T meter.Quantity](d *device, name string, s meter.Sample[T], wall time.Time, now time.Duration) {
	m := d.find(name)
	switch {
	case m == nil:
	case s.Quality != meter.Missing:
		m.value = value{at: wall, known: true, quality: qualityOf(s.Quality), n: int64(s.Value)}
		m.fresh, m.ever = now, true
	case s.Reason == meter.NoAnswer:
	default:
		m.value = value{at: wall}
	}
}
