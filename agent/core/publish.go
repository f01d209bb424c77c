package core

import (
	"encoding/json"
	"fmt"
	"time"

	"lvagent/agent/message"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
	"lvagent/meter/alarm"
)

// publish retains what changed since the last tick.
func (l *Loop) publish(wall time.Time, clock meter.Clock) {
	days, there := l.daysLeft(wall)
	known := l.takeSerials()
	if s := clock.String(); s != l.status || days != l.days || known {
		l.status, l.days = s, days
		l.Status.Clock = clock
		if there {
			l.Status.Expires, l.Status.Days = l.Expires(), days
		}
		l.Uplink.Retain(l.Topics.Status(), message.AppendStatus(nil, l.agent, &l.Status))
		l.Uplink.Retain(l.Topics.Meta(), message.AppendMeta(nil, l.agent, l.meta()))
	}
	if !l.dirty {
		return
	}
	l.dirty = false
	state, groups := l.retained()
	l.Uplink.Retain(l.Topics.Failsafe(), state)
	l.Uplink.Retain(l.Topics.Groups(), groups)
}

// retained returns the failsafe state and the groups as they are published.
func (l *Loop) retained() (state, groups []byte) {
	wall := l.Wall()
	return message.AppendFailsafe(nil, l.agent, l.failsafeState(wall)),
		message.AppendGroups(nil, l.agent, wall, l.groupStates())
}

// takeSerials looks what serial numbers the meters have said, and reports
// whether one is news.
func (l *Loop) takeSerials() (news bool) {
	if l.Serial == nil {
		return false
	}
	if l.serials == nil {
		l.serials = make([]string, len(l.Config.Ways))
	}
	for i := range l.serials {
		if s := l.Serial(i); s != l.serials[i] {
			l.serials[i], news = s, true
		}
	}
	return news
}

// meta is the site's description with what the meters say of themselves.
func (l *Loop) meta() *message.Meta {
	m := Meta(l.Config)
	for i, s := range l.serials {
		m.Ways[i].Meter.Serial = s
	}
	return m
}

// Meta describes the site's ways for the centre.
func Meta(cfg *configs.Config) *message.Meta {
	m := &message.Meta{Schema: "1"}
	for _, w := range cfg.Ways {
		way := message.MetaWay{ID: w.ID, Name: w.Name, Role: w.Role, Meter: &message.MetaMeter{ID: w.Meter, Channel: w.Channel}}
		for _, at := range cfg.Meters {
			if at.ID == w.Meter {
				way.Meter.Profile = at.Profile
			}
		}
		for p, has := range configs.PhaseSet(w.Phases) {
			if has {
				way.Phases = append(way.Phases, message.MetaPhase{
					Phase: meter.Phase(p), Rating: meter.Milliamps(configs.Milli(w.Rating[p]))})
			}
		}
		m.Ways = append(m.Ways, way)
	}
	if firm := cfg.Site.FirmCurrent(); firm > 0 {
		tx := message.MetaWay{ID: failsafe.TX, Name: "transformer"}
		for p := range meter.Phase(meter.Phases) {
			tx.Phases = append(tx.Phases, message.MetaPhase{Phase: p, Rating: firm})
		}
		m.Ways = append(m.Ways, tx)
	}
	for i := range m.Ways {
		way := &m.Ways[i]
		var has [meter.Phases]bool
		for _, p := range way.Phases {
			has[p.Phase] = true
		}
		for _, r := range cfg.Rules(way.ID, has) {
			t := message.MetaThreshold{Quantity: r.Quantity.String(), Kind: r.Kind.String(), Threshold: r.Threshold}
			if r.Quantity != alarm.N {
				t.Phase = r.Phase.String()
			}
			way.Thresholds = append(way.Thresholds, t)
		}
	}
	return m
}

func (l *Loop) failsafeState(wall time.Time) *message.FailsafeState {
	f := &message.FailsafeState{T: wall, State: failsafe.Free.String()}
	worst := -1
	for _, w := range l.State.Ways {
		if n := w.State.Severity(); n > worst {
			worst, f.State = n, w.State.String()
		}
		rule, source := l.deciding(w.ID)
		f.Ways = append(f.Ways, message.FailsafeWay{
			Way: w.ID, State: w.State.String(), Since: w.SinceWall, Cause: string(w.Cause),
			Rule: rule, Source: source, Ends: l.ends(&w), Regime: l.State.Regime(w.ID).String(),
		})
	}
	for _, o := range l.State.Overrides {
		source := "remote"
		if o.Local {
			source = "local"
		}
		f.Overrides = append(f.Overrides, message.OverrideInForce{
			Target: o.Target, Kind: o.Kind.String(), By: o.By, Why: o.Why, Source: source, Since: o.Since, Expires: o.EndWall})
	}
	f.InForce = l.inForce(wall)
	f.Topology = l.suppliedWays()
	if l.stopping {
		f.State = Stopping
		for i := range f.Ways {
			f.Ways[i].State, f.Ways[i].Ends = Stopping, "the agent's start"
			f.Ways[i].Rule, f.Ways[i].Source = string(RuleRest), ""
		}
	}
	return f
}

// deciding names the rule and source of the strictest group of a way.
func (l *Loop) deciding(way string) (rule, source string) {
	low := int64(1) << 62
	for i, g := range l.State.Groups {
		c := &l.Config.Groups[i]
		if share := int64(g.Limit) * 1000 / max(1, configs.Milli(c.Rating)); c.Way == way && share < low {
			low, rule, source = share, string(g.Rule), g.Source
		}
	}
	return rule, source
}

// ends says what would end the state of a way.
func (l *Loop) ends(w *failsafe.WayState) string {
	f := l.Config.Failsafe
	stable := l.Engine.Stable(w, l.State.Mono)
	switch w.State {
	case failsafe.Init:
		return fmt.Sprintf("a heartbeat and a limit or \"none\" from the centre; FAILSAFE %s after the start", f.Init)
	case failsafe.Failsafe:
		end := fmt.Sprintf("heartbeats for %s, then a limit or \"none\" from the centre", stable)
		if at := l.Engine.AutonomousAt(w); at > 0 {
			end += "; AUTONOMOUS at " + l.wallOf(at, l.Wall()).UTC().Format(time.DateTime)
		}
		return end
	case failsafe.Probation:
		if w.Statement {
			return fmt.Sprintf("heartbeats for %s in all", stable)
		}
		return fmt.Sprintf("heartbeats for %s in all and a limit or \"none\" from the centre", stable)
	case failsafe.Autonomous:
		return "a heartbeat of the centre; a way that is not measured, or a clock that can't be trusted: FAILSAFE"
	case failsafe.Restoring:
		if w.Cause == failsafe.SupplyReturned {
			return l.restartEnds(w.ID)
		}
		return "the limit reaching what is permitted"
	case failsafe.Limited:
		switch w.Cause {
		case failsafe.Inhibited:
			return "the input that inhibits its groups"
		case failsafe.LockedOut:
			return "the end of the lockouts in in_force"
		case failsafe.Overridden:
			return "the override's end, or its clear"
		case failsafe.Overload:
			return "every phase below 88 % of its rating; then a few amperes a minute"
		case failsafe.NotMeasured:
			return "a good measurement of the way"
		case failsafe.OnSchedule:
			return "the next period of the groups' schedule that allows more"
		}
		return "the command's end, its cancel, or \"none\" from its issuer"
	default:
		return fmt.Sprintf("a limit from the centre, or its silence for %s", f.HeartbeatTimeout)
	}
}

func (l *Loop) groupStates() []message.GroupState {
	zero := meter.Milliamps(0)
	states := make([]message.GroupState, 0, len(l.State.Groups))
	for i := range l.State.Groups {
		g, c := &l.State.Groups[i], &l.Config.Groups[i]
		s := message.GroupState{
			Group: g.ID, Way: c.Way, State: g.Actuation.String(), Deciding: string(g.Rule), Command: g.Source, Ends: l.groupEnds(i),
			Guarantee: meter.Milliamps(configs.Milli(c.Guarantee)), OptIn: l.Engine.OptIn(i),
		}
		if c := &g.CustomerReport; c.Known || g.Customer {
			s.Customer = &message.Customer{Active: g.Customer, Since: g.CustomerSince, Wh: c.Wh, Count: c.Count}
		}
		limit, feedback := g.Limit, g.Feedback
		for p, used := range configs.PhaseSet(c.Phases) {
			if !used {
				continue
			}
			s.Limit[p] = &message.Flow{Import: &limit, Export: &zero}
			s.Feedback[p] = &message.Flow{}
			if g.Actuation != failsafe.Unknown && g.Actuation != failsafe.Unreached {
				s.Feedback[p].Import = &feedback
			}
		}
		states = append(states, s)
	}
	return states
}

// ackBody is one rung of a command's ladder as the centre reads it.
func ackBody(agent string, a failsafe.Ack, t time.Time) []byte {
	type phase struct {
		Way    string   `json:"way"`
		Phase  string   `json:"phase"`
		Before *float64 `json:"before_a"`
		Now    *float64 `json:"now_a"`
	}
	var detail struct {
		Groups       []string `json:"groups,omitempty"`
		Refused      []string `json:"refused,omitempty"`
		Compensation string   `json:"compensation,omitempty"`
		Took         float64  `json:"took_s,omitempty"`
		Withheld     *int64   `json:"withheld_wh,omitempty"`
		Phases       []phase  `json:"phases,omitempty"`
	}
	detail.Groups, detail.Refused, detail.Compensation = a.Groups, a.Refused, a.Compensation
	if a.Outcome != nil {
		detail.Took, detail.Withheld = a.Outcome.Took.Round(time.Second).Seconds(), &a.Outcome.Withheld
		amps := func(i meter.Milliamps, known bool) *float64 {
			if !known {
				return nil
			}
			tenths := float64((i+50)/100) / 10
			return &tenths
		}
		for _, p := range a.Outcome.Phases {
			detail.Phases = append(detail.Phases, phase{p.Way, p.Phase.String(), amps(p.Before, p.Known), amps(p.Now, p.NowToo)})
		}
	}
	extra, err := json.Marshal(detail)
	if err != nil {
		extra = nil // what is in it always marshals
	}
	return message.AppendAck(nil, agent, &message.Ack{
		ID: a.ID, Command: a.Command, Stage: message.Stage(a.Stage), Code: string(a.Code), T: t, Detail: extra})
}
