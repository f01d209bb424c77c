package message

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"lvagent/meter"
)

// Most elements of a list in a command.
const maxTargets = 1000

// Upper bounds of a limit, in thousandths. No group of a substation comes near
// them; a number above is a mistake in units.
const (
	maxMilliamps  = 10_000 * 1000
	maxMilliwatts = 10_000_000 * 1000
	maxMillipct   = 100 * 1000
)

// Decode reads a command from the topic it came on. It returns a command, or
// the reason why there is none. A retained command is refused whatever it says:
// the broker kept it, so nobody can tell when it was meant.
//
// A broker sets the retained mark only on what it had kept before the agent
// subscribed. A command that is published retained while the agent listens
// arrives without the mark, and arrives marked at the next connection.
func Decode(topic string, payload []byte, retained bool) (Command, *Rejection) {
	name := CommandName(topic)
	refuse := func(id string, code Code, detail string) (Command, *Rejection) {
		return Command{}, &Rejection{ID: id, Command: name, Code: code, Detail: withoutNumbers(detail)}
	}
	if len(payload) > MaxPayload {
		return refuse("", TooLarge, fmt.Sprintf("%d octets, at most %d", len(payload), MaxPayload))
	}
	object, err := parse(payload)
	id, _ := object["id"].(string)
	if !validID(id, idMarks) {
		id = ""
	}
	switch {
	case retained:
		return refuse(id, Retained, "a retained command is never carried out")
	case err != nil:
		return refuse("", Malformed, err.Error())
	}
	f := &fields{object: object}
	c := Command{Name: name, ID: id}
	switch name {
	case HeartbeatCommand:
		c.ID = ""
		f.place(&c)
		// A heartbeat counts by when it arrives: what its sender takes for the time,
		// 1970 after a restart, is nothing to it.
		f.get("issued", optional)
		c.Body = Heartbeat{}
	case LimitCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = f.limitCommand()
	case CancelCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = Cancel{Cancels: f.id("cancels", required)}
	case OverrideCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = f.overrideCommand()
	case SilenceCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = f.silenceCommand()
	case RestorationCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = f.restorationCommand()
	case AckCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = f.acknowledgeCommand()
	case ResendCommand:
		f.identify()
		c.Issued = f.instant("issued", required)
		f.expiry(&c, optional)
		c.Body = f.resendCommand()
	case TelemetryCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = f.telemetryCommand()
	case TopologyCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = f.topologyCommand()
	case ConfigCommand:
		f.identify()
		f.order(&c, required)
		f.expiry(&c, required)
		c.Body = f.configureCommand()
	case BirthCommand:
		f.identify()
		c.Issued = f.instant("issued", required)
		f.expiry(&c, optional)
		c.Body = Birth{}
	default:
		return refuse(id, UnknownCommand, "no such command")
	}
	c.Signature = f.text("sig", 1024, optional)
	if f.fault != "" {
		return refuse(id, Invalid, f.fault)
	}
	delete(object, "sig")
	c.Canonical = appendCanonical(nil, object)
	c.Hash = sha256.Sum256(c.Canonical)
	return c, nil
}

// identify demands an id; Decode has read it already.
func (f *fields) identify() { f.id("id", required) }

// order reads who sent the command and its place among the others.
func (f *fields) order(c *Command, issued need) {
	f.place(c)
	c.Issued = f.instant("issued", issued)
}

func (f *fields) place(c *Command) {
	c.Issuer = f.id("issuer", required)
	c.Epoch = f.count("epoch", required)
	c.Seq = f.count("seq", required)
}

func (f *fields) expiry(c *Command, n need) { c.Expires = f.instant("expires", n) }

func (f *fields) limitCommand() Limit {
	l := Limit{
		Target:     f.target("target"),
		Duration:   f.span("duration", 1, optional),
		Randomise:  f.span("randomise", 0, optional),
		Supersedes: f.id("supersedes", optional),
	}
	switch curve := f.has("curve"); {
	case curve && f.has("limit"):
		f.wrong("limit", "limit and curve exclude each other")
	case curve && f.has("duration"):
		f.wrong("duration", "a curve lasts as long as its blocks")
	case curve:
		l.Curve = f.curve("curve")
	default:
		l.Value = f.value("limit", true)
	}
	switch class := f.text("class", 16, required); class {
	case "emergency":
		l.Class = Emergency
	case "network":
		l.Class = Network
	case "commercial":
		l.Class = Commercial
	default:
		f.wrong("class", "%q is none of emergency, network, commercial", class)
	}
	switch absolute, relative := f.has("start"), f.has("start_in"); {
	case absolute && relative:
		f.wrong("start", "start and start_in exclude each other")
	case absolute:
		l.Start = f.instant("start", required)
	case relative:
		l.Relative = true
		l.StartIn = f.span("start_in", 0, required)
	default:
		f.wrong("start", "one of start and start_in is needed")
	}
	if c, ok := f.object["compensation"]; ok && c != nil {
		l.Compensation = appendCanonical(nil, c)
		if len(l.Compensation) > 1024 {
			f.wrong("compensation", "%d octets, at most 1024", len(l.Compensation))
		}
	}
	return l
}

func (f *fields) overrideCommand() Override {
	o := Override{
		Target: f.target("target"),
		For:    f.span("for", 1, optional),
		By:     f.text("by", 200, required),
		Why:    f.text("why", 500, optional),
	}
	switch kind := f.text("kind", 16, required); kind {
	case "hold_off":
		o.Kind = HoldOff
	case "limit":
		o.Kind = LimitTo
	case "release":
		o.Kind = Release
	case "clear":
		o.Kind = ClearOverride
	default:
		f.wrong("kind", "%q is none of hold_off, limit, release, clear", kind)
	}
	switch {
	case o.Kind == LimitTo:
		o.Value = f.value("limit", false)
	case f.has("limit"):
		f.wrong("limit", "only an override of kind limit has one")
	}
	return o
}

func (f *fields) acknowledgeCommand() Acknowledge {
	a := Acknowledge{By: f.text("by", 200, optional)}
	switch target, alarm := f.has("target"), f.has("alarm"); {
	case target == alarm:
		f.wrong("target", "exactly one of target and alarm is needed")
	case target:
		a.Target = f.target("target")
	default:
		a.Alarm = f.text("alarm", 128, required)
	}
	return a
}

func (f *fields) topologyCommand() Topology {
	t := Topology{
		Way: f.id("way", required), State: Supply(f.text("state", 16, required)), For: f.span("for", 1, optional),
		By: f.text("by", 200, optional), Why: f.text("why", 500, optional),
	}
	switch t.State {
	case Normal:
		if f.has("for") {
			f.wrong("for", "normal has no end")
		}
	case BackFed, Paralleled, Dead:
		if !f.has("for") {
			f.wrong("for", "%s must have an end", t.State)
		}
	default:
		f.wrong("state", "%q is none of normal, back-fed, paralleled, dead", t.State)
	}
	return t
}

func (f *fields) resendCommand() Resend {
	r := Resend{
		Stream: f.text("stream", 72, required),
	}
	if byTime := f.has("since") || f.has("until"); byTime {
		r.Since, r.Until = f.instant("since", required), f.instant("until", required)
		if f.has("from") || f.has("to") {
			f.wrong("from", "from and to exclude since and until")
		}
		if r.Until.Before(r.Since) {
			f.wrong("until", "%s is before since, %s", r.Until.Format(time.RFC3339), r.Since.Format(time.RFC3339))
		}
	} else {
		r.From, r.To = f.count("from", required), f.count("to", required)
	}
	g := f.count("g", optional)
	if g > 1<<32-1 {
		f.wrong("g", "%d is above %d", g, uint32(1<<32-1))
	}
	r.Generation = uint32(g)
	switch {
	case !r.Since.IsZero():
	case r.From == 0:
		f.wrong("from", "records are counted from 1")
	case r.From > r.To:
		f.wrong("to", "%d is before from, %d", r.To, r.From)
	}
	return r
}

// Bounds of the time in which a site file must be confirmed.
const (
	LeastTrial = 10 * time.Second
	MostTrial  = 24 * time.Hour
)

func (f *fields) configureCommand() Configure {
	var c Configure
	kinds := 0
	for _, kind := range []string{"site", "confirm", "roll_back"} {
		if f.has(kind) {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		f.wrong("site", "exactly one of site, confirm and roll_back is needed, got %d", kinds)
	case f.has("site"):
		c.Site = f.text("site", MaxPayload, required)
		if c.Within = f.span("confirm_within", LeastTrial, required); c.Within > MostTrial {
			f.wrong("confirm_within", "%s is above %s", c.Within, MostTrial)
		}
	default:
		c.Confirm, c.RollBack = f.id("confirm", optional), f.id("roll_back", optional)
	}
	return c
}

// Bounds of what is measured at a charging group; beyond them is a mistake in
// units.
const (
	maxGroups     = 200
	maxMillivolts = 1000 * 1000
)

func (f *fields) telemetryCommand() Telemetry {
	v, _ := f.get("groups", required)
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > maxGroups {
		f.wrong("groups", "not a list of 1 to %d objects", maxGroups)
		return Telemetry{}
	}
	t := Telemetry{Groups: make([]GroupTelemetry, 0, len(list))}
	seen := map[string]bool{}
	for i, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			f.wrong("groups", "element %d is not an object", i)
			return Telemetry{}
		}
		o := &fields{object: object, path: fmt.Sprintf("%sgroups[%d].", f.path, i)}
		g := GroupTelemetry{Group: o.id("group", required), T: o.instant("t", required)}
		if seen[g.Group] {
			o.wrong("group", "%s comes twice", g.Group)
		}
		seen[g.Group] = true
		switch s := ChargingState(o.text("state", 16, required)); s {
		case Idle, Plugged, Charging, Faulted, NotStated:
			g.State = s
		default:
			o.wrong("state", "%q is none of idle, connected, charging, fault, unknown", s)
		}
		for p := range g.Phase {
			o.phaseReading(meter.Phase(p).String(), &g.Phase[p])
		}
		if g.Held = o.has("limit_a"); g.Held {
			g.Limit = meter.Milliamps(o.between("limit_a", 0, maxMilliamps))
		}
		g.Override = o.customerOverride("override")
		f.adopt(o)
		t.Groups = append(t.Groups, g)
	}
	return t
}

// customerOverride reads what a customer did at the charge point, where anything
// is said of it.
func (f *fields) customerOverride(key string) *CustomerOverride {
	if !f.has(key) {
		return nil
	}
	o, ok := f.nested(key)
	if !ok {
		return nil
	}
	var c CustomerOverride
	v, _ := o.get("active", required)
	if c.Active, ok = v.(bool); !ok {
		o.wrong("active", "not true or false")
	}
	c.Since = o.instant("since", optional)
	if o.has("kwh") {
		c.Wh = o.between("kwh", 0, maxMilliwatts)
	}
	f.adopt(o)
	return &c
}

// phaseReading reads what is measured on a phase, where anything is.
func (f *fields) phaseReading(key string, r *meter.PhaseReading) {
	if !f.has(key) {
		return
	}
	o, ok := f.nested(key)
	if !ok {
		return
	}
	measured(o, "v", 0, maxMillivolts, &r.V)
	measured(o, "i", 0, maxMilliamps, &r.I)
	measured(o, "p", -maxMilliwatts, maxMilliwatts, &r.P)
	measured(o, "q", -maxMilliwatts, maxMilliwatts, &r.Q)
	f.adopt(o)
}

func measured[T meter.Quantity](f *fields, key string, least, most int64, s *meter.Sample[T]) {
	if f.has(key) {
		s.Value, s.Quality = T(f.between(key, least, most)), meter.Good
	}
}

// target reads a target; exactly one kind of it must be there.
func (f *fields) target(key string) Target {
	o, ok := f.nested(key)
	if !ok {
		return Target{}
	}
	kinds := 0
	for _, kind := range []string{"mpans", "way", "groups"} {
		if o.has(kind) {
			kinds++
		}
	}
	var t Target
	switch {
	case kinds != 1:
		o.wrong("", "exactly one of mpans, way and groups is needed, got %d", kinds)
	case o.has("mpans"):
		t.MPANs = o.supplyPoints("mpans")
	case o.has("groups"):
		t.Groups = o.ids("groups")
		o.nameless("groups", t.Groups...)
	default:
		t.Way = o.id("way", required)
		o.nameless("way", t.Way)
	}
	switch {
	case !o.has("phases"):
	case t.Way == "":
		o.wrong("phases", "phases belong to a way")
	default:
		for _, name := range o.ids("phases") {
			p, ok := meter.ParsePhase(name)
			if !ok {
				o.wrong("phases", "%q is none of L1, L2, L3", name)
			}
			t.Phases = append(t.Phases, p)
		}
	}
	f.adopt(o)
	return t
}

// value reads a limit: "none", or an object with exactly one unit or, where one
// may be named, a regime.
func (f *fields) value(key string, regime bool) Value {
	if text, ok := f.object[key].(string); ok {
		if text != "none" {
			f.wrong(key, "%q is not none", text)
		}
		return Value{Unit: Unlimited}
	}
	o, ok := f.nested(key)
	if !ok {
		return Value{}
	}
	v := Value{}
	switch named := o.has("regime"); {
	case !named:
		v = o.amount()
	case !regime:
		o.wrong("regime", "a regime is not for a person to order")
	case slices.ContainsFunc(unitKeys(), o.has):
		o.wrong("regime", "regime and an amount exclude each other")
	default:
		v = o.regime("regime")
	}
	f.adopt(o)
	return v
}
