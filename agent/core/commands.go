package core

import (
	"encoding/hex"
	"slices"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/agent/uplink"
	"lvagent/failsafe"
)

// take reads a message of the centre and acts on it. What is not well formed is
// refused with its code; a heartbeat is never answered.
func (l *Loop) take(in uplink.Inbound) {
	wall := l.Wall()
	c, refused := message.Decode(in.Topic, in.Payload, in.Retained)
	if refused == nil {
		refused = l.Keys.Verify(in.Topic, &c)
	}
	if refused != nil {
		l.turnDown(refused)
		return
	}
	switch body := c.Body.(type) {
	case message.Heartbeat:
		l.step(failsafe.Inputs{Heartbeats: []failsafe.Heartbeat{{
			Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq, Retained: in.Retained}}})
	case message.Limit:
		at, hash, ok := l.target(&c, &body.Target)
		if !ok {
			return
		}
		l.step(failsafe.Inputs{Limits: []failsafe.LimitCommand{limitCommand(&c, &body, at, hash)}})
	case message.Cancel:
		l.step(failsafe.Inputs{Cancels: []failsafe.CancelCommand{{
			ID: c.ID, Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq, Hash: hex.EncodeToString(c.Hash[:]),
			Expires: c.Expires, Cancels: body.Cancels}}})
	case message.Override:
		at, hash, ok := l.target(&c, &body.Target)
		if !ok {
			return
		}
		l.step(failsafe.Inputs{Overrides: []failsafe.OverrideCommand{{
			ID: c.ID, Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq, Hash: hash, Expires: c.Expires,
			Target: at, Kind: failsafe.OverrideKind(body.Kind), Amount: amount(body.Value),
			For: body.For, By: body.By, Why: body.Why}}})
	case message.Silence:
		l.step(failsafe.Inputs{Silences: []failsafe.SilenceCommand{{
			ID: c.ID, Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq, Hash: hex.EncodeToString(c.Hash[:]), Expires: c.Expires,
			Signed: l.Keys.Signed(c.Issuer), For: body.For, By: body.By, Why: body.Why}}})
	case message.Restoration:
		at, hash, ok := l.target(&c, &body.Target)
		if !ok {
			return
		}
		l.step(failsafe.Inputs{Holds: []failsafe.HoldCommand{{
			ID: c.ID, Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq, Hash: hash, Expires: c.Expires,
			Target: at, Release: body.Release, For: body.For, By: body.By, Why: body.Why}}})
	case message.Acknowledge:
		if l.takeLockoutAck(&c, &body) {
			return
		}
		l.acknowledge(&c, &body)
	case message.Topology:
		l.takeTopology(&c, &body)
	case message.Resend:
		if !c.Expires.IsZero() && wall.After(c.Expires) {
			l.refuse(&c, message.Code(failsafe.Stale), "it came after it expired")
			return
		}
		if way, is := message.RecordedWay(body.Stream); is && !body.Since.IsZero() {
			l.resendRecorded(&c, way, &body)
			return
		}
		l.Outbox.Resend(outbox.Resend{ID: c.ID, Stream: body.Stream, G: body.Generation,
			From: body.From, To: body.To, Since: body.Since, Until: body.Until})
	case message.Telemetry:
		l.telemetry(&c, &body)
	case message.Configure:
		l.configure(&c, &body)
	case message.Birth:
		l.dirty, l.status = true, ""
		l.alarms.publishAll(l, wall)
		l.Uplink.Repeat() // what has not changed, too
		ack := message.Ack{ID: c.ID, Command: c.Name, Stage: message.Completed, T: wall}
		l.say(message.AckStream, wall, message.AppendAck(nil, l.agent, &ack), false)
	default:
		l.refuse(&c, message.UnknownCommand, "this version does not know "+c.Name)
	}
}

// admitted asks the engine whether a command that is not its own may be carried
// out: its issuer, its number, its age, and whether it came before. The answer is
// on the ladder already.
func (l *Loop) admitted(c *message.Command) bool {
	l.step(failsafe.Inputs{Reports: []failsafe.Report{{
		ID: c.ID, Issuer: c.Issuer, Command: c.Name, Dated: true, Epoch: c.Epoch, Seq: c.Seq, Hash: hex.EncodeToString(c.Hash[:]), Expires: c.Expires}}})
	return slices.ContainsFunc(l.answers, func(a failsafe.Ack) bool {
		return a.ID == c.ID && a.Stage == failsafe.Received && a.Code == failsafe.OK
	})
}

// conclude says how a command ended that was admitted: behind that rung, which
// rests on the state.
func (l *Loop) conclude(c *message.Command, stage message.Stage, code message.Code, why string) {
	wall := l.Wall()
	ack := message.Ack{ID: c.ID, Command: c.Name, Stage: stage, T: wall}
	if stage == message.Rejected {
		l.recordRefusal(c.Name, string(code), c.ID)
		r := message.Rejection{ID: c.ID, Command: c.Name, Code: code, Detail: why}
		ack = r.Ack(wall)
	}
	l.Log.Info("command", "command", c.ID, "name", c.Name, "stage", string(stage), "code", string(code))
	l.say(message.AckStream, wall, message.AppendAck(nil, l.agent, &ack), true)
}

func (l *Loop) refuse(c *message.Command, code message.Code, why string) {
	wall := l.Wall()
	l.recordRefusal(c.Name, string(code), c.ID)
	r := message.Rejection{ID: c.ID, Command: c.Name, Code: code, Detail: why}
	ack := r.Ack(wall)
	l.Log.Warn("command refused", "command", c.ID, "name", c.Name, "code", string(code), "why", why)
	l.say(message.AckStream, wall, message.AppendAck(nil, l.agent, &ack), false)
}

// limitCommand turns the contract's words into the engine's.
func limitCommand(c *message.Command, b *message.Limit, at failsafe.Target, hash string) failsafe.LimitCommand {
	return failsafe.LimitCommand{
		ID: c.ID, Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq, Hash: hash,
		Expires: c.Expires, Class: failsafe.Class(b.Class),
		Target: at, Amount: amount(b.Value),
		Start: b.Start, StartIn: b.StartIn, Relative: b.Relative, Duration: b.Duration, Curve: curve(b.Curve),
		Randomise: b.Randomise, Compensation: string(b.Compensation), Supersedes: b.Supersedes,
	}
}

func curve(blocks []message.Block) (out []failsafe.Block) {
	for _, b := range blocks {
		out = append(out, failsafe.Block{For: b.For, Amount: amount(b.Value)})
	}
	return out
}

func amount(v message.Value) failsafe.Amount {
	units := [...]failsafe.Unit{
		message.Amps: failsafe.Amps, message.Watts: failsafe.Watts,
		message.Percent: failsafe.Percent, message.Unlimited: failsafe.None,
		message.ByRegime: failsafe.ByRegime,
	}
	if int(v.Unit) >= len(units) {
		return failsafe.Amount{}
	}
	return failsafe.Amount{Unit: units[v.Unit], Value: v.Thousandths}
}
