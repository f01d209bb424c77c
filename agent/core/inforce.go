package core

import (
	"fmt"
	"strings"
	"time"

	"lvagent/agent/message"
	"lvagent/failsafe"
)

// inForce lists what holds groups back besides limits and overrides, with its age
// and end.
func (l *Loop) inForce(wall time.Time) (all []message.InForce) {
	for i := range l.State.Holds {
		h := &l.State.Holds[i]
		target := strings.Join(h.Groups, ",")
		if len(h.Groups) == len(l.Config.Groups) {
			target = ""
		}
		all = append(all, message.InForce{Kind: "restoration_hold", Target: target, By: h.By, Why: h.Why,
			Since: h.Since, Expires: l.wallOf(h.End, wall), Ends: "its time, or cmd/restoration release"})
	}
	if q := &l.State.Silence; q.Until > l.Now() {
		all = append(all, message.InForce{Kind: "planned_silence", By: q.By, Why: q.Why, Since: q.Since,
			Expires: l.wallOf(q.Until, wall), Ends: "its time, or a shorter cmd/silence"})
	}
	switch l.State.Switch {
	case failsafe.Local:
		all = append(all, message.InForce{Kind: "local", Ends: "the switch at Remote"})
	case failsafe.Undefined:
		all = append(all, message.InForce{Kind: "switch_undefined", Ends: "the inputs being read"})
	}
	for i := range l.State.Groups {
		if g := &l.State.Groups[i]; g.Customer {
			all = append(all, message.InForce{Kind: "customer_override", Target: g.ID, Since: g.CustomerSince, Ends: "the customer"})
		}
		x := &l.State.Groups[i].Lockout
		if !x.Locked {
			continue
		}
		all = append(all, message.InForce{Kind: "lockout", Target: l.State.Groups[i].ID, Why: string(x.Cause),
			Since: x.Since, Expires: l.wallOf(x.Until, wall), Ends: l.lockoutEnds(i)})
	}
	return all
}

// lockoutEnds says what would end the lockout of group i.
func (l *Loop) lockoutEnds(i int) string {
	g := &l.State.Groups[i]
	end := fmt.Sprintf("lvagent ack %s, cmd/ack, or %s", g.ID, l.wallOf(g.Lockout.Until, l.Wall()).UTC().Format(time.DateTime))
	if g.Lockout.Over {
		end += " and the group doing what it is told"
	}
	return end
}

// wallOf is the time of the wall clock at the monotonic time at.
func (l *Loop) wallOf(at time.Duration, wall time.Time) time.Time { return wall.Add(at - l.Now()) }

// groupEnds says what would end what decides the limit of group i; empty where
// the state of its way says it.
func (l *Loop) groupEnds(i int) string {
	g := &l.State.Groups[i]
	switch g.Rule {
	case failsafe.RuleLockout:
		return l.lockoutEnds(i)
	case failsafe.RuleLocal:
		return "the switch at Remote, or lvagent override --kind release on site"
	case failsafe.RuleInhibit:
		return "the input that inhibits it"
	case failsafe.RuleUnfed:
		return "its supply"
	case failsafe.RuleHeld:
		return "the end of the restoration hold; then a delay of " + g.Restart.Delay.String()
	case failsafe.RuleIdle:
		return fmt.Sprintf("its restart at %s: %s after the supply came back and a delay of %s",
			l.wallOf(g.Restart.Until, l.Wall()).UTC().Format(time.TimeOnly), l.Config.Failsafe.RestartDead, g.Restart.Delay)
	}
	return ""
}

// restartEnds says when the last group of a way restarts.
func (l *Loop) restartEnds(way string) string {
	last, waiting := time.Duration(0), 0
	for i := range l.State.Groups {
		g := &l.State.Groups[i]
		if l.Config.Groups[i].Way != way || g.Rule != failsafe.RuleIdle && g.Rule != failsafe.RuleHeld {
			continue
		}
		if waiting++; g.Rule == failsafe.RuleHeld {
			return "the end of the restoration hold, then each group's own delay"
		}
		last = max(last, g.Restart.Until)
	}
	if waiting == 0 {
		return "the limit reaching what is permitted"
	}
	return fmt.Sprintf("the restart of its groups after the loss of supply, the last of %d at %s", waiting,
		l.wallOf(last, l.Wall()).UTC().Format(time.TimeOnly))
}
