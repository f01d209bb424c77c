package message

import (
	"fmt"
	"strconv"
	"time"

	"lvagent/meter"
)

// version is the contract's version, in every message.
const version = 1

// head starts a message of agent.
func head(dst []byte, agent string) writer {
	w := writer{b: append(dst, '{')}
	w.integer("v", version)
	w.text("agent", agent)
	return w
}

// Seal writes body with its number: the store's generation g, the stream and n.
// Records are kept without it, for the store gives the number; a consumer
// dedupes by (agent, g, s, n) and sees every gap. A body that is no object was
// damaged; its number still goes out, marked, so that the loss is seen.
func Seal(dst, body []byte, stream string, n uint64, g uint32) []byte {
	dst = append(dst, `{"g":`...)
	dst = strconv.AppendUint(dst, uint64(g), 10)
	dst = append(dst, `,"s":`...)
	dst = appendString(dst, stream)
	dst = append(dst, `,"n":`...)
	dst = strconv.AppendUint(dst, n, 10)
	last := len(body) - 1
	switch {
	case last < 0 || body[0] != '{' || body[last] != '}':
		return append(dst, `,"corrupt":true}`...)
	case last == 1:
		return append(dst, '}')
	}
	dst = append(dst, ',')
	return append(dst, body[1:]...)
}

// Salvaged marks a body that was carried over from a store that broke with the
// number it had there: a consumer that has that one has this.
func Salvaged(body []byte, n uint64, g uint32) []byte {
	if len(body) < 2 || body[0] != '{' {
		return body
	}
	out := fmt.Appendf(nil, `{"salvaged":{"g":%d,"n":%d}`, g, n)
	if body[1] != '}' {
		out = append(out, ',')
	}
	return append(out, body[1:]...)
}

// AppendHalfHour appends the record of one way and period, without its number.
func AppendHalfHour(dst []byte, agent string, h *meter.HalfHour) []byte {
	w := head(dst, agent)
	w.text("way", h.Way)
	w.integer("rev", int64(h.Rev))
	w.second("start", h.Start)
	w.second("end", h.End)
	w.share("coverage", h.Coverage)
	w.integer("expected", int64(h.Expected))
	w.integer("samples", int64(h.Samples))
	w.integer("bad", int64(h.Bad))
	w.decimal("held_s", h.Held.Milliseconds(), tenths)
	if h.Settlement > 0 {
		w.integer("sp", int64(h.Settlement))
	}
	w.openArray("flags")
	for _, name := range h.Flags.Names() {
		w.text("", name)
	}
	w.shutArray()
	w.text("clock", h.Clock.String())
	for i, p := range h.Phase {
		name := meter.Phase(i).String()
		if p == nil {
			w.null(name)
			continue
		}
		w.open(name)
		w.stats("v", &p.V, false)
		w.stats("i", &p.I, true)
		w.powerStats("p", &p.P)
		w.powerStats("q", &p.Q)
		w.shut()
	}
	w.total(h.Total)
	if h.Neutral == nil {
		w.null("N")
	} else {
		w.open("N")
		w.stats("i", h.Neutral, false)
		w.flag("derived", h.Derived)
		w.shut()
	}
	w.shut()
	return w.b
}

// share writes a part of a whole with four decimals, rounded down: 1 means all
// of it.
func (w *writer) share(name string, s meter.PPM) {
	w.name(name)
	whole, part := s/meter.Whole, s%meter.Whole/100
	w.b = strconv.AppendInt(w.b, int64(whole), 10)
	if part <= 0 {
		return
	}
	w.b = append(w.b, '.')
	for scale := meter.PPM(1000); part > 0; scale /= 10 {
		w.b = append(w.b, '0'+byte(part/scale))
		part %= scale
	}
}

func (w *writer) stats(name string, s *meter.Stats, withTime bool) {
	w.open(name)
	w.decimal("rms", s.RMS, tenths)
	w.decimal("mean", s.Mean, tenths)
	w.decimal("min", s.Min, tenths)
	w.decimal("max", s.Max, tenths)
	if withTime {
		w.second("max_t", s.MaxAt)
	}
	w.shut()
}

func (w *writer) powerStats(name string, s *meter.PowerStats) {
	w.open(name)
	w.decimal("mean", s.Mean, whole)
	w.decimal("min", s.Min, whole)
	w.decimal("max", s.Max, whole)
	w.decimal("import", s.Import, whole)
	w.decimal("export", s.Export, whole)
	w.shut()
}

func (w *writer) total(t *meter.TotalPeriod) {
	if t == nil {
		w.null("T")
		return
	}
	w.open("T")
	w.decimal("p", t.P, whole)
	w.decimal("q", t.Q, whole)
	w.decimal("s", t.S, whole)
	w.decimal("pf", t.PF, full)
	// A thousandth of a watt-hour is a millionth of a kilowatt-hour; the record
	// keeps whole watt-hours.
	w.decimal("kwh_import", t.ImportMWh/1000, full)
	w.decimal("kwh_export", t.ExportMWh/1000, full)
	w.shut()
}

// AppendAlarm appends one edge of one alarm, without its number.
func AppendAlarm(dst []byte, agent string, a *meter.Alarm) []byte {
	w := head(dst, agent)
	w.text("way", a.Way)
	w.alarm(a)
	w.alarmFlags(a)
	w.shut()
	return w.b
}

// AppendAlarmState appends the alarms of a way that are active at t, for the
// retained topic: a consumer that comes late, or after a restart, learns from
// here what is active. Each is written as it was raised, with where it stands
// now. Shelved are those that a person does not want to hear of for a while.
func AppendAlarmState(dst []byte, agent, way string, t time.Time, active []meter.Alarm, shelved []meter.Shelf) []byte {
	w := head(dst, agent)
	w.text("way", way)
	w.instant("t", t)
	w.openArray("alarms")
	for i := range active {
		a := &active[i]
		w.open("")
		w.alarm(a)
		stands := a.Stands
		if stands == 0 {
			stands = meter.Active // a condition without delays
		}
		w.text("state", stands.String())
		w.alarmFlags(a)
		w.shut()
	}
	w.shutArray()
	w.openArray("shelved")
	for i := range shelved {
		s := &shelved[i]
		w.open("")
		w.text("alarm", s.ID)
		w.flag("out_of_service", s.OutOfService)
		w.flag("standing", s.Standing)
		w.known("by", s.By)
		w.known("why", s.Why)
		w.instant("since", s.Since)
		w.instant("expires", s.Until)
		w.shut()
	}
	w.shutArray()
	w.shut()
	return w.b
}

func (w *writer) alarmFlags(a *meter.Alarm) {
	w.openArray("flags")
	for _, f := range [...]struct {
		is   bool
		name string
	}{
		{a.Questionable, "QUESTIONABLE"}, {a.Chatter, "CHATTERING"}, {a.Flood, "FLOOD"}, {a.OutOfService, "OUT_OF_SERVICE"},
		{a.Duplicate, "DUPLICATE"},
	} {
		if f.is {
			w.text("", f.name)
		}
	}
	w.shutArray()
}

func (w *writer) alarm(a *meter.Alarm) {
	w.text("id", a.ID)
	w.known("quantity", a.Quantity)
	w.known("phase", a.Phase)
	w.text("kind", a.Kind)
	w.text("edge", a.Edge.String())
	w.instant("t", a.At)
	w.level("value", a.Quantity, a.Value)
	w.level("threshold", a.Quantity, a.Threshold)
	w.text("severity", a.Severity.String())
	w.level("peak", a.Quantity, a.Peak)
	w.instant("peak_t", a.PeakAt)
	if a.Edge == meter.Clear {
		w.decimal("duration_s", a.Duration.Milliseconds(), full)
	} else {
		w.null("duration_s")
	}
	w.flag("restored", a.Restored)
	w.integer("count", int64(max(a.Raises, 1)))
	w.flag("latch", a.Latch)
	w.known("acked_by", a.Acked)
	if a.HasPoint {
		w.integer("point", int64(a.Point))
	}
}

// level writes a value of a quantity; a condition without a quantity has none.
func (w *writer) level(name, quantity string, thousandths int64) {
	switch quantity {
	case "":
		w.null(name)
	case "p", "q":
		w.decimal(name, thousandths, whole)
	default:
		w.decimal(name, thousandths, tenths)
	}
}

// LiveReading is one reading sent while a threshold is exceeded, or shortly
// before it was.
type LiveReading struct {
	T       time.Time
	Before  bool   // taken before the alarm was raised
	Alarm   string // the alarm that it belongs to
	Reading *meter.Reading
}

// AppendLive appends a live reading, without its number (R3). A missing value
// is null; a suspect one is sent and the message is flagged SUSPECT.
func AppendLive(dst []byte, agent string, l *LiveReading) []byte {
	r := l.Reading
	w := head(dst, agent)
	w.text("way", r.Way)
	w.instant("t", l.T)
	w.flag("pre", l.Before)
	w.known("alarm", l.Alarm)
	suspect := w.values(r)
	w.openArray("flags")
	if suspect {
		w.text("", "SUSPECT")
	}
	w.shutArray()
	w.shut()
	return w.b
}

// Recorded is one reading of the flight recorder.
type Recorded struct {
	T       time.Time
	Reading meter.Reading
}

// AppendRecorded appends readings of a way that somebody asked for, without their
// number (R3).
func AppendRecorded(dst []byte, agent, way string, readings []Recorded) []byte {
	w := head(dst, agent)
	w.text("way", way)
	w.openArray("readings")
	for i := range readings {
		w.open("")
		w.instant("t", readings[i].T)
		suspect := w.values(&readings[i].Reading)
		w.flag("suspect", suspect)
		w.shut()
	}
	w.shutArray()
	w.shut()
	return w.b
}

// values writes the values of a reading and reports whether one is suspect.
func (w *writer) values(r *meter.Reading) (suspect bool) {
	for i := range r.Phase {
		p := &r.Phase[i]
		w.open(meter.Phase(i).String())
		suspect = sample(w, "v", p.V, tenths) || suspect
		suspect = sample(w, "i", p.I, tenths) || suspect
		suspect = sample(w, "p", p.P, whole) || suspect
		suspect = sample(w, "q", p.Q, whole) || suspect
		w.shut()
	}
	w.open("N")
	suspect = sample(w, "i", r.Neutral, tenths) || suspect
	w.shut()
	return suspect
}

// sample writes a value or null and reports whether the value is suspect.
func sample[T meter.Quantity](w *writer, name string, s meter.Sample[T], keep places) bool {
	if s.Quality == meter.Missing {
		w.null(name)
		return false
	}
	w.decimal(name, int64(s.Value), keep)
	return s.Quality == meter.Suspect
}

// Gap says which records of a stream the store had to drop.
type Gap struct {
	Stream          string
	From, To, Count uint64
	Why             string // such as QUOTA
	T               time.Time
	Since, Until    time.Time // when the first and the last of them were due; zero: not known
}

// AppendGap appends a gap, without its own number.
func AppendGap(dst []byte, agent string, g *Gap) []byte {
	w := head(dst, agent)
	w.text("stream", g.Stream)
	w.count("from", g.From)
	w.count("to", g.To)
	w.count("count", g.Count)
	w.text("why", g.Why)
	w.instant("t", g.T)
	if !g.Since.IsZero() {
		w.instant("since", g.Since)
		w.instant("until", g.Until)
	}
	w.shut()
	return w.b
}

// Stage is a step of a command's ladder.
type Stage string

// Stages of a command.
const (
	Received   Stage = "received"
	Rejected   Stage = "rejected"
	Scheduled  Stage = "scheduled"
	Active     Stage = "active"
	Actuated   Stage = "actuated"
	Effective  Stage = "effective"
	Completed  Stage = "completed"
	Cancelled  Stage = "cancelled"
	Superseded Stage = "superseded"
)

// Ack is one step of one command's ladder.
type Ack struct {
	ID      string // empty where the command's id could not be read
	Command string
	Stage   Stage
	Code    string // why it was rejected, or a remark such as LATE
	T       time.Time
	Detail  []byte // a JSON object, or nothing
}

// Ack returns the acknowledgement of a refused command.
func (r *Rejection) Ack(t time.Time) Ack {
	var w writer
	w.open("")
	w.text("text", r.Detail)
	w.shut()
	return Ack{ID: r.ID, Command: r.Command, Stage: Rejected, Code: string(r.Code), T: t, Detail: w.b}
}

// AppendAck appends an acknowledgement, without its number.
func AppendAck(dst []byte, agent string, a *Ack) []byte {
	w := head(dst, agent)
	w.known("id", a.ID)
	w.text("command", a.Command)
	w.text("stage", string(a.Stage))
	w.known("code", a.Code)
	w.instant("t", a.T)
	detail := a.Detail
	if len(detail) == 0 {
		detail = []byte("{}")
	}
	w.raw("detail", detail)
	w.shut()
	return w.b
}

// AppendAudit appends one decision, without its number. The decision's own
// octets are kept as they are, because its hash is over them.
func AppendAudit(dst []byte, agent string, decision []byte) []byte {
	w := head(dst, agent)
	w.raw("record", decision)
	w.shut()
	return w.b
}
