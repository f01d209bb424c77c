package watch

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object of which nothing is known yet. Its methods bear any
// content: what is not there, or of another type, is empty.
type object map[string]any

type objects []any

func (o object) raw(key string) string { s, _ := o[key].(string); return s }

// text is fit for a terminal.
func (o object) text(key string) string { return clean(o.raw(key), 80) }

func (o object) is(key string) bool { b, _ := o[key].(bool); return b }

func (o object) object(key string) object { m, _ := o[key].(map[string]any); return m }

func (o object) list(key string) objects { l, _ := o[key].([]any); return l }

func (o object) number(key string) (float64, bool) {
	n, ok := o[key].(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil && !math.IsInf(f, 0)
}

func (o object) whole(key string) uint64 {
	n, _ := o[key].(json.Number)
	u, err := strconv.ParseUint(n.String(), 10, 64)
	if err != nil || u >= 1<<63 {
		return 0
	}
	return u
}

func (o object) time(key string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, o.raw(key))
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

func (l objects) at(i int) object {
	if i < 0 || i >= len(l) {
		return nil
	}
	m, _ := l[i].(map[string]any)
	return m
}

func (l objects) first() object { return l.at(0) }

// unknown stands for what is null.
const unknown = "?"

// value writes a number with its unit; from a thousand on in thousands, where the
// unit is that of a power.
func (o object) value(key, unit string) string {
	x, ok := o.number(key)
	if !ok {
		return unknown + " " + unit
	}
	if (unit == "W" || unit == "var" || unit == "VA") && math.Abs(x) >= 1000 {
		return plain(x/1000, 1) + " k" + unit
	}
	return plain(x, 1) + " " + unit
}

func plain(x float64, places int) string {
	if math.Abs(x) >= 1e9 {
		return strconv.FormatFloat(x, 'e', 3, 64)
	}
	return strconv.FormatFloat(x, 'f', places, 64)
}

// mostNamed is how many of a list are written out.
const mostNamed = 12

func some(parts []string, none string) string {
	switch {
	case len(parts) == 0:
		return none
	case len(parts) > mostNamed:
		return strings.Join(parts[:mostNamed], "; ") + fmt.Sprintf("; and %d more", len(parts)-mostNamed)
	}
	return strings.Join(parts, "; ")
}

// names writes a list of strings.
func (l objects) names() string {
	var parts []string
	for _, e := range l {
		if s, ok := e.(string); ok {
			parts = append(parts, clean(s, 40))
		}
	}
	return strings.ReplaceAll(some(parts, ""), "; ", " ")
}

// each calls f with the objects in o, in order of their names.
func (o object) each(f func(name string, o object)) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		m, _ := o[name].(map[string]any)
		f(clean(name, 40), m)
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return unknown
	}
	return t.Format("15:04:05Z")
}

func say(kind string, o object) (string, Tone) {
	switch kind {
	case "hh":
		return halfHour(o)
	case "alarm":
		return alarm(o)
	case "alarmstate":
		return standing(o)
	case "live":
		text := o.text("way") + " " + reading(o)
		if o.is("pre") {
			text += ", before the raise"
		}
		return text + of(o.text("alarm")) + flags(o), Plain
	case "rec":
		r := o.list("readings")
		return fmt.Sprintf("%s, %d readings from %s to %s", o.text("way"), len(r), clock(r.first().time("t")), clock(r.at(len(r)-1).time("t"))), Plain
	case "status":
		return status(o)
	case "meta":
		return meta(o), Plain
	case "failsafe":
		return failsafe(o)
	case "groups":
		return groups(o)
	case "health":
		return health(o)
	case "capacity":
		return capacity(o)
	case "ev":
		return charging(o), Plain
	case "ack":
		return ack(o)
	case "gap":
		return fmt.Sprintf("%d records of %s were dropped by the agent, #%d to #%d: %s", o.whole("count"), o.text("stream"), o.whole("from"), o.whole("to"), o.text("why")), Bad
	case "digest":
		return digest(o)
	case "fairness":
		return fairness(o), Plain
	case "setpoint":
		return setpoint(o), Plain
	case "pq":
		return supply(o)
	case "selftest":
		return "the agent's message to itself", Plain
	}
	if strings.HasPrefix(kind, "cmd/") {
		return command(o), Plain
	}
	return rest(o), Plain
}

func of(alarm string) string {
	if alarm == "" {
		return ""
	}
	return " of " + alarm
}

func flags(o object) string {
	if names := o.list("flags").names(); names != "" {
		return ", " + names
	}
	return ""
}

func halfHour(o object) (string, Tone) {
	tone := Plain
	var parts []string
	for _, phase := range []string{"L1", "L2", "L3"} {
		p := o.object(phase)
		if p == nil {
			parts = append(parts, phase+" "+unknown)
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s %s %s %s", phase, p.object("v").value("mean", "V"), p.object("i").value("rms", "A"),
			p.object("p").value("mean", "W"), p.object("q").value("mean", "var")))
	}
	text := fmt.Sprintf("%s %s to %s", o.text("way"), clock(o.time("start")), clock(o.time("end")))
	if rev := o.whole("rev"); rev > 0 {
		text += fmt.Sprintf(" revision %d", rev)
	}
	text += ": " + strings.Join(parts, "; ") + "; N " + o.object("N").object("i").value("rms", "A")
	if share, ok := o.number("coverage"); ok && share < 1 {
		text += ", " + plain(math.Floor(share*10_000)/100, 2) + " % measured"
	}
	names := flags(o)
	if strings.Contains(names, "NO_DATA") || strings.Contains(names, "INVALID") {
		tone = Warn
	}
	text += names
	if c := o.text("clock"); c != "synced" {
		text += ", clock " + c
	}
	return text, tone
}

func reading(o object) string {
	var parts []string
	for _, phase := range []string{"L1", "L2", "L3"} {
		p := o.object(phase)
		parts = append(parts, fmt.Sprintf("%s %s %s %s %s", phase, p.value("v", "V"), p.value("i", "A"), p.value("p", "W"), p.value("q", "var")))
	}
	return strings.Join(parts, "; ") + "; N " + o.object("N").value("i", "A")
}

// unit is that of an alarm's quantity.
func unit(quantity string) string {
	switch quantity {
	case "v":
		return "V"
	case "i", "n":
		return "A"
	case "p":
		return "W"
	case "q":
		return "var"
	default:
		return "%"
	}
}

func alarm(o object) (string, Tone) {
	text := o.text("id")
	measured := o.raw("quantity") != ""
	u := unit(o.raw("quantity"))
	if o.raw("edge") == "clear" {
		text += " clear"
		if s, ok := o.number("duration_s"); ok && s >= 0 && s < 1e9 {
			text += " after " + brief(time.Duration(s*float64(time.Second)))
		}
		if measured {
			text += ", at worst " + o.value("peak", u)
		}
		return text + flags(o), Good
	}
	text += " RAISE"
	if measured {
		text += " at " + o.value("value", u) + ", threshold " + o.value("threshold", u)
	}
	text += ", " + o.text("severity")
	if n := o.whole("count"); n > 1 {
		text += fmt.Sprintf(", %d times", n)
	}
	if o.is("restored") {
		text += ", across a restart"
	}
	tone := Bad
	if s := o.raw("severity"); s == "warning" || s == "event" {
		tone = Warn
	}
	return text + flags(o), tone
}

func standing(o object) (string, Tone) {
	var parts []string
	alarms := o.list("alarms")
	for i := range alarms {
		a := alarms.at(i)
		text := a.text("id")
		if s := a.text("state"); s != "active" {
			text += " " + s
		}
		parts = append(parts, text+" since "+clock(a.time("t")))
	}
	text := o.text("way") + " standing: " + some(parts, "none")
	if n := len(o.list("shelved")); n > 0 {
		text += fmt.Sprintf("; %d shelved", n)
	}
	if len(parts) > 0 {
		return text, Warn
	}
	return text, Plain
}

func status(o object) (string, Tone) {
	state := o.text("state")
	text := state
	if v := o.text("version"); v != "" {
		text += ", lvagent " + v
	}
	if boot := o.text("boot"); boot != "" {
		text += ", run " + boot
	}
	text += ", clock " + o.text("clock")
	if o["certificate_days"] != nil {
		text += ", certificate for " + o.value("certificate_days", "days")
	}
	if state != "online" {
		return text, Bad
	}
	return text, Good
}

func meta(o object) string {
	var parts []string
	ways := o.list("ways")
	for i := range ways {
		w := ways.at(i)
		parts = append(parts, fmt.Sprintf("%s %s (%s, %s, %d thresholds)", w.text("way"), w.text("name"), w.list("phases").names(),
			w.object("rating_a").value("L1", "A"), len(w.list("thresholds"))))
	}
	return fmt.Sprintf("%d ways: %s", len(ways), some(parts, "none"))
}

// restricted are the states in which charging waits for the centre.
func restricted(state string) bool {
	return state == "FAILSAFE" || state == "PROBATION" || state == "INIT"
}

func failsafe(o object) (string, Tone) {
	state := o.text("state")
	var parts []string
	o.object("ways").each(func(name string, w object) {
		text := name + " " + w.text("state")
		if cause := w.text("cause"); cause != "" {
			text += " (" + cause + " since " + clock(w.time("since")) + ")"
		}
		if restricted(w.raw("state")) {
			text += ", ends by " + w.text("ends")
		}
		parts = append(parts, text)
	})
	over := o.list("override")
	for i := range over {
		v := over.at(i)
		parts = append(parts, fmt.Sprintf("override %s of %s by %s until %s", v.text("kind"), v.text("target"), v.text("by"), clock(v.time("expires"))))
	}
	tone := Plain
	switch {
	case restricted(state):
		tone = Bad
	case state != "FREE":
		tone = Warn
	}
	return state + ": " + some(parts, "no ways"), tone
}

func groups(o object) (string, Tone) {
	tone := Plain
	var parts []string
	o.object("groups").each(func(name string, g object) {
		limits := limitsOf(g.object("limit"))
		state := g.text("state")
		if state == "UNREACHED" || strings.HasPrefix(state, "MISMATCH") {
			tone = Bad
		}
		text := fmt.Sprintf("%s of %s %s %s", name, g.text("way"), strings.Join(limits, " "), state)
		if rule := g.text("deciding"); rule != "" {
			text += ", " + rule
		}
		parts = append(parts, text)
	})
	return some(parts, "none"), tone
}

func limitsOf(o object) (limits []string) {
	o.each(func(phase string, f object) {
		if f["import"] == nil {
			limits = append(limits, phase+" free")
			return
		}
		limits = append(limits, phase+" "+f.value("import", "A"))
	})
	return limits
}

// setpoint is what a charge-point operator is asked for, and what applies when
// nothing more is heard.
func setpoint(o object) string {
	return fmt.Sprintf("%s of %s %s until %s, then %s, %s", o.text("group"), o.text("way"), strings.Join(limitsOf(o.object("limit")), " "),
		clock(o.time("valid_until")), strings.Join(limitsOf(o.object("fallback")), " "), o.text("deciding"))
}

func health(o object) (string, Tone) {
	var parts []string
	n := 0
	o.object("points").each(func(name string, p object) {
		if n++; p.raw("state") != "ok" {
			parts = append(parts, fmt.Sprintf("%s %s %s %s", name, p.text("state"), p.text("code"), p.text("detail")))
		}
	})
	tone := Plain
	switch o.raw("state") {
	case "fault":
		tone = Bad
	case "degraded":
		tone = Warn
	}
	return o.text("state") + ": " + some(parts, fmt.Sprintf("all %d parts", n)), tone
}

func capacity(o object) (string, Tone) {
	tone := Plain
	var parts []string
	ways := o.list("ways")
	for i := range ways {
		w := ways.at(i)
		worst, most := "", math.Inf(-1)
		for _, phase := range []string{"L1", "L2", "L3"} {
			if x, ok := w.object(phase).number("percent"); ok && x > most {
				worst, most = phase, x
			}
		}
		if worst == "" {
			parts = append(parts, w.text("way")+" "+unknown)
			continue
		}
		p := w.object(worst)
		if most > 100 {
			tone = Warn
		}
		parts = append(parts, fmt.Sprintf("%s %s %s of %s, %s free", w.text("way"), worst, p.value("percent", "%"), p.value("limit_a", "A"), p.value("free_a", "A")))
	}
	return some(parts, "no ways"), tone
}

func charging(o object) string {
	var parts []string
	ways := o.list("ways")
	for i := range ways {
		w := ways.at(i)
		var phases []string
		for _, phase := range []string{"L1", "L2", "L3"} {
			p := w.object(phase)
			if p == nil {
				continue
			}
			cars := 0.0
			p.object("cars").each(func(_ string, e object) {
				n, _ := e.number("n")
				cars += n
			})
			phases = append(phases, fmt.Sprintf("%s %s controllable, about %.1f cars", phase, p.value("controllable_a", "A"), cars))
		}
		parts = append(parts, w.text("way")+" "+some(phases, w.text("state")))
	}
	return some(parts, "no ways")
}

func ack(o object) (string, Tone) {
	id := o.text("id")
	if id == "" {
		id = "without id"
	}
	text := fmt.Sprintf("%s %s %s", o.text("command"), id, o.text("stage"))
	if code := o.text("code"); code != "" {
		text += " " + code
	}
	d := o.object("detail")
	if why := d.text("text"); why != "" {
		text += ": " + why
	}
	if names := d.list("groups").names(); names != "" {
		text += ", groups " + names
	}
	if names := d.list("refused").names(); names != "" {
		text += ", not for " + names
	}
	if d["sent"] != nil {
		text += fmt.Sprintf(", %d sent of %s", d.whole("sent"), d.text("stream"))
		if missing := d.list("missing"); len(missing) > 0 {
			text += fmt.Sprintf(", %d ranges missing", len(missing))
		}
	}
	if o.raw("stage") == "rejected" {
		return text, Warn
	}
	return text, Plain
}

func digest(o object) (string, Tone) {
	text := fmt.Sprintf("%s %s: %d records of %s, #%d to #%d, %d with a value, %d in part", o.text("way"), o.text("date"),
		o.whole("count"), o.text("stream"), o.whole("from"), o.whole("to"), o.whole("values"), o.whole("partial"))
	tone := Plain
	for _, name := range slices.Sorted(maps.Keys(o.object("reasons"))) {
		text += fmt.Sprintf(", %s %d", clean(name, 40), o.object("reasons").whole(name))
		tone = Warn
	}
	return text + ", " + clean(o.raw("hash"), 19), tone
}

func supply(o object) (string, Tone) {
	tone := Plain
	var parts []string
	for _, phase := range []string{"L1", "L2", "L3"} {
		p := o.object(phase)
		if p == nil {
			continue
		}
		v := p.object("v")
		parts = append(parts, fmt.Sprintf("%s %s to %s, EN 50160 %s", phase, v.value("min", "V"), v.value("max", "V"), p.text("en50160")))
		if p.raw("en50160") == "fail" {
			tone = Warn
		}
	}
	return o.text("way") + " week from " + o.text("start") + ": " + some(parts, "no phases"), tone
}

// command writes what the centre says: the fields of which everybody wants to
// know, and the rest as it came.
func command(o object) string {
	less := maps.Clone(o)
	for _, key := range []string{"id", "issuer", "epoch", "seq", "issued", "expires", "sig"} {
		delete(less, key)
	}
	text := o.text("id")
	if issuer := o.text("issuer"); issuer != "" {
		text = strings.TrimSpace(text + fmt.Sprintf(" of %s %d/%d", issuer, o.whole("epoch"), o.whole("seq")))
	}
	if expires := o.time("expires"); !expires.IsZero() {
		text += " until " + clock(expires)
	}
	if len(less) > 0 {
		text += " " + rest(less)
	}
	return text
}

func rest(o object) string {
	text, err := json.Marshal(o)
	if err != nil {
		return ""
	}
	return clean(string(text), 200)
}
