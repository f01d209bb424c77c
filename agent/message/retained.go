package message

import (
	"time"

	"lvagent/meter"
)

// Agent states of [Status].
const (
	Online   = "online"
	Offline  = "offline" // the will, and the last word of an orderly stop
	Stopping = "stopping"
)

// Status is the agent's own state.
type Status struct {
	State   string
	Boot    string // id of this run
	Since   time.Time
	Version string
	Config  string // hash of the configuration in force
	Clock   meter.Clock
	Expires time.Time // the end of the certificate's life; zero: there is none
	Days    int       // that it still has
}

// AppendStatus appends the retained status; the will is one too.
func AppendStatus(dst []byte, agent string, s *Status) []byte {
	w := head(dst, agent)
	w.text("state", s.State)
	w.known("boot", s.Boot)
	w.second("since", s.Since)
	w.known("version", s.Version)
	w.known("config", s.Config)
	w.text("clock", s.Clock.String())
	if !s.Expires.IsZero() {
		w.second("certificate_expires", s.Expires)
		w.integer("certificate_days", int64(s.Days))
	}
	w.shut()
	return w.b
}

// AppendSelftest appends a message that the agent sends to itself.
func AppendSelftest(dst []byte, agent, nonce string, t time.Time) []byte {
	w := head(dst, agent)
	w.text("nonce", nonce)
	w.instant("t", t)
	w.shut()
	return w.b
}

// Meta describes the agent's ways once, so that records need not.
type Meta struct {
	Schema string // version of the messages' schemas
	Points string // hash of the point list
	Ways   []MetaWay
}

// MetaWay describes one way.
type MetaWay struct {
	ID, Name   string
	Role       string // feeder or incomer; empty for the transformer
	Phases     []MetaPhase
	Thresholds []MetaThreshold
	Meter      *MetaMeter // nil: the transformer's sum
}

// MetaMeter says which meter measures a way.
type MetaMeter struct {
	ID, Profile string
	Channel     int    // way of the device
	Serial      string // empty: not known
}

// MetaPhase is a phase that is expected on a way, with its rating.
type MetaPhase struct {
	Phase  meter.Phase
	Rating meter.Milliamps
}

// MetaThreshold is the threshold of one alarm.
type MetaThreshold struct {
	Quantity, Phase, Kind string
	Threshold             int64 // thousandths of the quantity's unit
}

// AppendMeta appends the retained description.
func AppendMeta(dst []byte, agent string, m *Meta) []byte {
	w := head(dst, agent)
	w.known("schema", m.Schema)
	w.known("points", m.Points)
	w.open("units")
	w.text("v", "V")
	w.text("i", "A")
	w.text("p", "W")
	w.text("q", "var")
	w.shut()
	w.openArray("ways")
	for i := range m.Ways {
		way := &m.Ways[i]
		w.open("")
		w.text("way", way.ID)
		w.text("name", way.Name)
		w.known("role", way.Role)
		w.openArray("phases")
		for _, p := range way.Phases {
			w.text("", p.Phase.String())
		}
		w.shutArray()
		w.open("rating_a")
		for _, p := range way.Phases {
			w.decimal(p.Phase.String(), int64(p.Rating), tenths)
		}
		w.shut()
		if m := way.Meter; m != nil {
			w.open("meter")
			w.text("id", m.ID)
			w.text("profile", m.Profile)
			w.integer("channel", int64(m.Channel))
			w.known("serial", m.Serial)
			w.shut()
		}
		w.openArray("thresholds")
		for _, t := range way.Thresholds {
			w.open("")
			w.text("quantity", t.Quantity)
			w.known("phase", t.Phase)
			w.text("kind", t.Kind)
			w.level("threshold", t.Quantity, t.Threshold)
			w.shut()
		}
		w.shutArray()
		w.shut()
	}
	w.shutArray()
	w.shut()
	return w.b
}

// FailsafeState is the state of every way, and what a person has overridden.
type FailsafeState struct {
	T         time.Time
	State     string // the worst of the ways
	Ways      []FailsafeWay
	Overrides []OverrideInForce
	InForce   []InForce
	Topology  []SuppliedWay // those that are not supplied as usual
}

// FailsafeWay is the state of one way and the reason for it.
type FailsafeWay struct {
	Way, State string
	Since      time.Time
	Cause      string
	Rule       string
	Source     string
	Ends       string // what would end it
	Regime     string
}

// OverrideInForce is an override that runs now.
type OverrideInForce struct {
	Target, Kind   string
	By, Why        string
	Source         string // local or remote
	Since, Expires time.Time
}

// SuppliedWay is a way that is not supplied as usual.
type SuppliedWay struct {
	Way            string
	State          Supply
	By, Why        string
	Source         string // local or remote
	Since, Expires time.Time
}

// AppendFailsafe appends the retained failsafe state.
func AppendFailsafe(dst []byte, agent string, f *FailsafeState) []byte {
	w := head(dst, agent)
	w.instant("t", f.T)
	w.text("state", f.State)
	w.open("ways")
	for i := range f.Ways {
		way := &f.Ways[i]
		w.open(way.Way)
		w.text("state", way.State)
		w.instant("since", way.Since)
		w.known("cause", way.Cause)
		w.known("rule", way.Rule)
		w.known("source", way.Source)
		w.known("ends", way.Ends)
		w.text("regime", way.Regime)
		w.shut()
	}
	w.shut()
	w.openArray("override")
	for i := range f.Overrides {
		o := &f.Overrides[i]
		w.open("")
		w.text("target", o.Target)
		w.text("kind", o.Kind)
		w.known("by", o.By)
		w.known("why", o.Why)
		w.text("source", o.Source)
		w.instant("since", o.Since)
		w.instant("expires", o.Expires)
		w.shut()
	}
	w.shutArray()
	w.inForce(f.InForce)
	w.openArray("topology")
	for i := range f.Topology {
		t := &f.Topology[i]
		w.open("")
		w.text("way", t.Way)
		w.text("state", string(t.State))
		w.known("by", t.By)
		w.known("why", t.Why)
		w.text("source", t.Source)
		w.instant("since", t.Since)
		w.instant("expires", t.Expires)
		w.shut()
	}
	w.shutArray()
	w.shut()
	return w.b
}

// GroupState is the limit of one charging group and what became of it.
type GroupState struct {
	Group, Way string
	Limit      [meter.Phases]*Flow // nil: the group is not on that phase
	Feedback   [meter.Phases]*Flow
	State      string
	Deciding   string    // the rule that decided
	Command    string    // id of the command or event behind it, or empty
	Ends       string    // what would end it
	Customer   *Customer // nil: nothing was ever said of one
	Guarantee  meter.Milliamps
	OptIn      time.Time // zero: no consent
}

// Customer is the customer's own override of a group, at the charge point.
type Customer struct {
	Active bool
	Since  time.Time // zero: not said
	Wh     int64     // charged outside the scheme, in all, as the operator says
	Count  int       // of overrides
}

func (w *writer) customer(c *Customer) {
	if c == nil {
		w.null("customer")
		return
	}
	w.open("customer")
	w.flag("active", c.Active)
	w.instant("since", c.Since)
	w.decimal("kwh", c.Wh, full)
	w.integer("count", int64(c.Count))
	w.shut()
}

// Flow is a current each way. Nil is null: no limit, or not known.
type Flow struct {
	Import, Export *meter.Milliamps
}

// AppendGroups appends the retained state of all groups at t.
func AppendGroups(dst []byte, agent string, t time.Time, groups []GroupState) []byte {
	w := head(dst, agent)
	w.instant("t", t)
	w.open("groups")
	for i := range groups {
		g := &groups[i]
		w.open(g.Group)
		w.text("way", g.Way)
		w.flows("limit", &g.Limit)
		w.flows("feedback", &g.Feedback)
		w.text("state", g.State)
		w.known("deciding", g.Deciding)
		w.known("command", g.Command)
		w.known("ends", g.Ends)
		w.customer(g.Customer)
		w.amps("min_a", &g.Guarantee)
		w.instant("opt_in", g.OptIn)
		w.shut()
	}
	w.shut()
	w.shut()
	return w.b
}

func (w *writer) flows(name string, flows *[meter.Phases]*Flow) {
	w.open(name)
	for p, f := range flows {
		if f == nil {
			continue
		}
		w.open(meter.Phase(p).String())
		w.amps("import", f.Import)
		w.amps("export", f.Export)
		w.shut()
	}
	w.shut()
}

func (w *writer) amps(name string, a *meter.Milliamps) {
	if a == nil {
		w.null(name)
		return
	}
	w.decimal(name, int64(*a), tenths)
}

// AppendHealth appends the retained health points at t, with the worst state of
// them all.
func AppendHealth(dst []byte, agent string, t time.Time, points []meter.HealthPoint) []byte {
	worst := meter.HealthOK
	for i := range points {
		worst = min(worst, points[i].State)
	}
	w := head(dst, agent)
	w.instant("t", t)
	w.text("state", worst.String())
	w.open("points")
	for i := range points {
		p := &points[i]
		w.open(p.ID)
		w.text("state", p.State.String())
		w.known("code", p.Code)
		w.known("detail", p.Detail)
		w.instant("since", p.Since)
		w.shut()
	}
	w.shut()
	w.shut()
	return w.b
}
