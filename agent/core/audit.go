package core

import (
	"encoding/json"
	"slices"
	"time"

	"lvagent/agent/audit"
	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/failsafe"
)

// AuditKey is where the store keeps the head of the audit chain: it is committed
// with the records that it is the head of.
const AuditKey = "audit"

// Refusals that are equal are one record at once and then one in each span, with
// their count: anybody who may write to a command's topic can cause any number.
const (
	refusalSpan  = 15 * time.Minute
	mostRefusals = 64 // kinds that are told apart; the rest is "other"
)

// auditor links the loop's decisions to the audit chain.
type auditor struct {
	frame    audit.Frame
	refusals []refusalCount
	ramps    audit.Ramps
}

// refusalCount counts refusals that equal one which was recorded.
type refusalCount struct {
	command, code string
	last          string // the newest one's id
	count         int
	since         time.Duration
}

// resumeAudit goes on with the chain where it stopped, or says what of it is
// lost, and begins with the limits in force.
func (l *Loop) resumeAudit(now time.Duration, wall time.Time) {
	l.audit.frame = audit.Frame{Agent: l.agent, Boot: l.Status.Boot, Config: l.Status.Config, Version: l.Status.Version}
	var stored failsafe.AuditHead
	if body := l.Outbox.Get(AuditKey); body != nil {
		if err := json.Unmarshal(body, &stored); err != nil {
			l.Log.Error("head of the audit chain not read", "err", err)
			stored = failsafe.AuditHead{}
		}
	}
	head, broken := audit.Resume(stored, l.State.Audit, l.State.Lost)
	l.State.Audit = head
	var all []failsafe.Decision
	if broken != nil {
		l.Log.Error("audit records are missing", "why", broken.Rule, "from", broken.LostFrom, "to", broken.LostTo)
		all = append(all, *broken)
	}
	l.record(append(all, failsafe.InForce(failsafe.DecidedStart, l.State, nil)), now, wall)
}

// record writes decisions to the audit chain. It only hands them over: no limit
// waits for it.
func (l *Loop) record(decisions []failsafe.Decision, now time.Duration, wall time.Time) {
	l.recordAt(decisions, audit.Moment{Wall: wall, Mono: now, Clock: l.Clock().Clock.String()})
}

// recordAt says which numbers the records have: so many from first on.
func (l *Loop) recordAt(decisions []failsafe.Decision, m audit.Moment) (first, count uint64) {
	if len(decisions) == 0 {
		return 0, 0
	}
	head := l.State.Audit
	records := make([]outbox.Record, 0, len(decisions))
	for i := range decisions {
		text, next, err := audit.Append(head, l.audit.frame, m, decisions[i])
		if err != nil {
			l.Log.Error("decision not recorded", "kind", string(decisions[i].Kind), "err", err)
			continue
		}
		if head = next; count == 0 {
			first = head.N
		}
		count++
		records = append(records, outbox.Record{Stream: message.AuditStream, At: m.Wall, Body: message.AppendAudit(nil, l.agent, text)})
	}
	kept, err := json.Marshal(head)
	if err != nil {
		l.Log.Error("head of the audit chain not kept", "err", err)
		return 0, 0
	}
	l.State.Audit = head
	l.Outbox.Store(true, records, outbox.Kept{Key: AuditKey, Value: kept})
	return first, count
}

// recordStep records what a step decided, and reports whether there was anything.
// The records are as many from first on.
func (l *Loop) recordStep(before failsafe.State, in failsafe.Inputs, set []failsafe.Setpoint, ev failsafe.Events, now time.Duration, wall time.Time) (first, records uint64, decided bool) {
	all := l.Engine.Decisions(before, l.State, in, set, ev)
	all = slices.DeleteFunc(all, func(d failsafe.Decision) bool {
		return d.Kind == failsafe.DecidedRefusal && !l.audit.first(d.Command, d.Rule, d.Source, now)
	})
	decided = len(all) > 0
	summed, err := l.audit.ramps.Add(all, now)
	if err != nil {
		l.Log.Error("steps of a ramp not recorded", "err", err)
	}
	first, records = l.recordAt(summed, audit.Moment{Wall: wall, Mono: now, Clock: in.Clock.String()})
	return first, records, decided
}

// recordRefusal records a refusal that was not the engine's.
func (l *Loop) recordRefusal(command, code, id string) {
	now := l.Now()
	command, id = command[:min(len(command), 32)], id[:min(len(id), 64)] // anybody names them as he likes
	if !l.audit.first(command, code, id, now) {
		return
	}
	l.record([]failsafe.Decision{{Kind: failsafe.DecidedRefusal, Command: command, Rule: code, Source: id}}, now, l.Wall())
	l.save()
}

// first reports whether a refusal is the first of its kind for a while. One that
// is not is counted.
func (a *auditor) first(command, code, id string, now time.Duration) bool {
	same := func(c refusalCount) bool { return c.command == command && c.code == code }
	i := slices.IndexFunc(a.refusals, same)
	if i < 0 && len(a.refusals) >= mostRefusals {
		command, code = "other", ""
		i = slices.IndexFunc(a.refusals, same)
	}
	if i < 0 {
		a.refusals = append(a.refusals, refusalCount{command: command, code: code, since: now})
		return true
	}
	a.refusals[i].count++
	a.refusals[i].last = id
	return false
}

// tickAudit records how many equal refusals there were, each span or, at the
// end, at once.
func (l *Loop) tickAudit(now time.Duration, wall time.Time, end bool) {
	var all []failsafe.Decision
	l.audit.refusals = slices.DeleteFunc(l.audit.refusals, func(c refusalCount) bool {
		return c.count == 0 && now-c.since >= refusalSpan
	})
	for i := range l.audit.refusals {
		c := &l.audit.refusals[i]
		if c.count == 0 || !end && now-c.since < refusalSpan {
			continue
		}
		all = append(all, failsafe.Decision{Kind: failsafe.DecidedRefusal, Command: c.command, Rule: c.code, Source: c.last, Count: c.count})
		c.count, c.last, c.since = 0, "", now
	}
	if len(all) > 0 {
		l.record(all, now, wall)
		l.save()
	}
}
