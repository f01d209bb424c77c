// Package watch says in plain words what agents publish, for the person at the
// other end of the broker: one line a message, with units, how late it is, and
// what its number says about the ones before it.
//
// It reads the JSON contract, and Sparkplug B of any node.
//
// It trusts nothing that it reads: whatever a payload holds, there is a line, it
// is short, and it moves no terminal. It does not connect (agent/uplink), it does
// not hold messages to their schemas (agent/message/schematest), and it keeps no
// more than the last number of each stream and what each node declared, of so
// many.
//
// Requirements: R2 (a gap is seen), R3 (alarms), R11 (what became of a command).
package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"lvagent/agent/message"
)

// Message is one message as the broker passed it on.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // the broker had kept it from before
	Arrived  time.Time
}

// Tone says how much a line matters.
type Tone uint8

// Tones.
const (
	Plain Tone = iota
	Good       // something is over
	Warn       // worth a look
	Bad        // somebody should act
)

var toneNames = [...]string{"plain", "good", "warn", "bad"}

// String returns the name in JSON.
func (t Tone) String() string { return toneNames[min(int(t), len(toneNames)-1)] }

// Line is what there is to say of one message.
type Line struct {
	Arrived  time.Time
	Retained bool
	Agent    string
	Kind     string // the schema's name; empty: no topic of the contract
	Text     string
	Tone     Tone
	At       time.Time // when it was due; zero: it does not say
	Stream   string
	Number   Number // of a stored record, or in a Sparkplug node's sequence

	payload []byte // as JSON, where the message itself is none
}

// Watcher reads messages. Its zero value is not ready: see [New].
type Watcher struct {
	before, after string // of the agent's id in a topic
	streams       *streams
	nodes         nodes
	Counts        Counts
}

// Counts are of everything that was read.
type Counts struct{ Messages, Unreadable, Again, Missing, Filled uint64 }

// New returns a watcher of agents whose topics begin as the template says.
func New(prefixTemplate string) *Watcher {
	before, after, _ := strings.Cut(strings.TrimSuffix(prefixTemplate, "/"), "{agent}")
	return &Watcher{before: before, after: after, streams: newStreams(mostStreams), nodes: nodes{all: map[nodeKey]*node{}}}
}

// Contract is what a filter is of.
type Contract uint8

// Contracts.
const (
	JSON Contract = 1 << iota
	Sparkplug
	Both = JSON | Sparkplug
)

// Filters returns the topic filters for one agent, or for all where the id is
// empty, and with commands those for what the centre says too.
func Filters(of Contract, prefixTemplate, agent string, commands bool) (filters []string) {
	if agent == "" {
		agent = "+"
	}
	if of&JSON != 0 {
		filters = jsonFilters(prefixTemplate, agent, commands)
	}
	if of&Sparkplug != 0 {
		filters = append(filters, sparkplugFilters(agent, commands)...)
	}
	return filters
}

func jsonFilters(prefixTemplate, agent string, commands bool) []string {
	prefix := strings.TrimSuffix(strings.ReplaceAll(prefixTemplate, "{agent}", agent), "/")
	filters := []string{prefix + "/up/#"}
	if commands {
		filters = append(filters, prefix+"/cmd/#")
		if agent != "+" {
			if b := message.NewTopics(prefixTemplate, agent).Broadcast(); b != "" {
				filters = append(filters, b)
			}
		}
	}
	return filters
}

// Take reads a message.
func (w *Watcher) Take(m Message) Line {
	w.Counts.Messages++
	l := Line{Arrived: m.Arrived, Retained: m.Retained}
	if w.takeSparkplug(m, &l) {
		return l
	}
	l.Agent = w.agent(m.Topic)
	s, ok := message.SchemaOf(m.Topic)
	switch {
	case !ok:
		l.Text, l.Tone = fmt.Sprintf("%s: no topic of the contract, %d octets", clean(m.Topic, 120), len(m.Payload)), Warn
		return l
	case len(m.Payload) == 0:
		l.Kind, l.Text = s.Name, title(s.Name)+": taken back from the broker"
		return l
	}
	l.Kind = s.Name
	var o object
	if err := unmarshal(m.Payload, &o); err != nil || o == nil {
		w.Counts.Unreadable++
		l.Text, l.Tone = fmt.Sprintf("%s: no JSON object, %d octets: %s", title(s.Name), len(m.Payload), clean(string(m.Payload[:min(len(m.Payload), 80)]), 60)), Warn
		return l
	}
	if l.Agent == "" {
		l.Agent = clean(o.raw("agent"), 64)
	}
	if stream, n, g := o.raw("s"), o.whole("n"), o.whole("g"); stream != "" && n > 0 {
		l.Stream = clean(stream, 80)
		l.Number = w.streams.take(l.Agent, stream, g, n)
		w.count(l.Number)
	}
	if o.is(corrupt) {
		l.Text, l.Tone = title(s.Name)+": damaged in the agent's store; its number is all that is left", Bad
		return l
	}
	l.At = due(s.Name, o)
	l.Text, l.Tone = say(s.Name, o)
	if l.Text = title(s.Name) + " " + l.Text; o["salvaged"] != nil {
		l.Text += "; carried over from a store that broke"
	}
	return l
}

// unmarshal reads JSON with its numbers as they are written.
func unmarshal(text []byte, o *object) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(o)
}

const corrupt = "corrupt"

// title is what people call a kind of message.
func title(kind string) string {
	if name, ok := map[string]string{"hh": "half-hour", "alarmstate": "alarms", "live": "live reading", "rec": "recorder", "pq": "supply"}[kind]; ok {
		return name
	}
	if name, ok := strings.CutPrefix(kind, "cmd/"); ok {
		return "command " + name
	}
	return kind
}

func (w *Watcher) count(n Number) {
	switch n.Verdict {
	case Again:
		w.Counts.Again++
	case Fills:
		w.Counts.Filled++
	case Skips:
		w.Counts.Missing += n.To - n.From + 1
	}
}

// agent returns the agent's id in a topic, or nothing.
func (w *Watcher) agent(topic string) string {
	rest, ok := strings.CutPrefix(topic, w.before)
	if !ok || w.before == topic {
		return ""
	}
	id, _, _ := strings.Cut(rest, "/")
	level, _, _ := strings.Cut(w.after, "/")
	id = strings.TrimSuffix(id, level)
	if id == "up" || id == "cmd" {
		return "" // the template has no agent
	}
	return clean(id, 64)
}

// due is when a message was due, as it says itself.
func due(kind string, o object) time.Time {
	switch kind {
	case "hh", "pq", "digest":
		return o.time("end")
	case "status":
		return time.Time{} // it is of now, however long the run has lasted
	case "rec":
		return o.list("readings").first().time("t")
	default:
		return o.time("t")
	}
}

// String returns the line for a person: when it came, from whom, what it says, how
// late it is, and what its number tells.
func (l *Line) String() string {
	var b strings.Builder
	b.WriteString(l.Arrived.UTC().Format("15:04:05Z "))
	if l.Agent != "" {
		b.WriteString(l.Agent)
		b.WriteByte(' ')
	}
	b.WriteString(l.Text)
	switch late := l.Arrived.Sub(l.At); {
	case l.At.IsZero():
	case l.Retained:
		fmt.Fprintf(&b, " · kept by the broker, of %s", l.At.UTC().Format("2006-01-02 15:04:05Z"))
	case late < -2*time.Second:
		fmt.Fprintf(&b, " · dated %s ahead", brief(-late))
	case late >= 0:
		fmt.Fprintf(&b, " · %s old", brief(late))
	}
	if l.Stream != "" {
		fmt.Fprintf(&b, " · %s #%d%s", l.Stream, l.Number.N, l.Number.remark())
	}
	return b.String()
}

// JSON returns the line for a program, with the payload as it came where that is
// JSON.
func (l *Line) JSON(m Message) ([]byte, error) {
	out := struct {
		Arrived  time.Time       `json:"arrived"`
		Topic    string          `json:"topic"`
		Retained bool            `json:"retained"`
		Agent    string          `json:"agent"`
		Kind     string          `json:"kind"`
		Tone     string          `json:"tone"`
		Text     string          `json:"text"`
		At       *time.Time      `json:"at"`
		AgeS     *float64        `json:"age_s"`
		Sequence string          `json:"sequence,omitempty"`
		From     uint64          `json:"missing_from,omitempty"`
		To       uint64          `json:"missing_to,omitempty"`
		Payload  json.RawMessage `json:"payload"`
	}{Arrived: l.Arrived.UTC(), Topic: m.Topic, Retained: l.Retained, Agent: l.Agent, Kind: l.Kind, Tone: l.Tone.String(), Text: l.Text,
		Payload: json.RawMessage("null")}
	if !l.At.IsZero() {
		age := float64(l.Arrived.Sub(l.At).Milliseconds()) / 1000
		out.At, out.AgeS = &l.At, &age
	}
	if l.Stream != "" {
		out.Sequence = l.Number.Verdict.String()
		if l.Number.Verdict == Skips {
			out.From, out.To = l.Number.From, l.Number.To
		}
	}
	switch {
	case l.payload != nil:
		out.Payload = l.payload
	case json.Valid(m.Payload):
		out.Payload = m.Payload
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write line of %s: %w", m.Topic, err)
	}
	return text, nil
}

// clean makes text fit for a terminal: what moves the cursor is a question mark,
// and what is too long is cut.
func clean(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteRune('…')
			break
		}
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func brief(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	default:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
}
