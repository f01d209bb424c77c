package core

import (
	"encoding/hex"
	"slices"
	"time"

	"lvagent/agent/message"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
)

// reported is the latest of what a third party said of one group.
type reported struct {
	message.GroupTelemetry
	issuer string
	at     time.Duration // when it came
}

// stale is an age at which a current is no ground for a raise.
const stale = time.Minute

// aheadMost is how far ahead of ours another clock may be.
const aheadMost = time.Minute

// telemetry takes what a third party measured (R17b). Only the latest of each
// group of this substation is kept, so that it cannot grow. It is no command: the
// engine takes it for what may be shed, and for a raise only while it is fresh.
func (l *Loop) telemetry(c *message.Command, body *message.Telemetry) {
	r := failsafe.Report{ID: c.ID, Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq, Hash: hex.EncodeToString(c.Hash[:]), Expires: c.Expires}
	latest := l.Wall().Add(aheadMost)
	var taken []message.GroupTelemetry
	for _, g := range body.Groups {
		here := slices.ContainsFunc(l.State.Groups, func(s failsafe.GroupState) bool { return s.ID == g.Group })
		if old, known := l.reports[g.Group]; !here || known && !g.T.After(old.T) || g.T.After(latest) {
			r.Refused = append(r.Refused, g.Group)
			continue
		}
		r.Groups = append(r.Groups, g.Group)
		taken = append(taken, g)
	}
	l.step(failsafe.Inputs{Reports: []failsafe.Report{r}})
	admitted := slices.ContainsFunc(l.answers, func(a failsafe.Ack) bool { return a.ID == c.ID && a.Stage == failsafe.Received })
	if !admitted {
		return
	}
	var in failsafe.Inputs
	for _, g := range taken {
		l.reports[g.Group] = reported{g, c.Issuer, l.Now()}
		in.Draws = append(in.Draws, l.drawOf(&g))
		if o := g.Override; o != nil {
			in.CustomerReports = append(in.CustomerReports, failsafe.CustomerReport{Group: g.Group, Active: o.Active, Since: o.Since, Wh: o.Wh})
		}
	}
	l.dirty = l.dirty || len(in.CustomerReports) > 0
	l.step(in)
	for i := range taken {
		l.confirm(&taken[i])
	}
}

// drawOf is what a third party saw a group draw, by its own time where the clock
// can be compared with it. Where it can't, nobody knows how old it is: older than
// what a raise may rest on.
func (l *Loop) drawOf(g *message.GroupTelemetry) failsafe.Draw {
	d := failsafe.Draw{Group: g.Group, At: l.Now() - stale}
	if c := l.Clock(); c.Clock.Trusted() && !c.Suspect {
		d.At = l.Now() - max(0, l.Wall().Sub(g.T))
	}
	for p := range g.Phase {
		d.I[p], d.Quality[p] = g.Phase[p].I.Value, g.Phase[p].I.Quality
	}
	return d
}

// takeDraw takes what the meter of a group says. The engine hears of it with the
// next step, at the latest in a second.
func (l *Loop) takeDraw(r *meter.Reading) {
	group, is := configs.GroupFeed(r.Way)
	if !is {
		return
	}
	i := slices.IndexFunc(l.draws, func(d failsafe.Draw) bool { return d.Group == group })
	if i < 0 {
		i = len(l.draws)
		l.draws = append(l.draws, failsafe.Draw{Group: group})
	}
	d := &l.draws[i]
	d.At = r.At
	for p := range r.Phase {
		ph := &r.Phase[p]
		d.I[p], d.Quality[p] = ph.I.Value, ph.I.Quality
	}
}

// Reported returns the latest that a third party said of a group, and how long
// ago it came. It is called on the loop's goroutine.
func (l *Loop) Reported(group string) (g message.GroupTelemetry, age time.Duration, known bool) {
	r, known := l.reports[group]
	return r.GroupTelemetry, l.Now() - r.at, known
}

// ReportView is what a third party said of a group, for people on site; null is
// not said.
type ReportView struct {
	Group  string                 `json:"group"`
	Issuer string                 `json:"issuer"`
	T      time.Time              `json:"t"`
	Age    float64                `json:"age_s"` // since it came
	State  string                 `json:"state"`
	Amps   [meter.Phases]*float64 `json:"amps"`
}

// reportViews returns the views of all groups of which something was said.
func (l *Loop) reportViews() []ReportView {
	views := []ReportView{}
	for _, s := range l.State.Groups {
		g, age, known := l.Reported(s.ID)
		if !known {
			continue
		}
		v := ReportView{Group: s.ID, Issuer: l.reports[s.ID].issuer, T: g.T, Age: age.Seconds(), State: string(g.State)}
		for p := range g.Phase {
			if i := g.Phase[p].I; i.Quality != meter.Missing {
				amps := float64(i.Value) / 1000
				v.Amps[p] = &amps
			}
		}
		views = append(views, v)
	}
	return views
}
