package core

import (
	"time"

	"lvagent/agent/message"
	"lvagent/failsafe"
)

// What anybody who may write to a command's topic can have us answer is bounded,
// so that a flood of nonsense neither wears the disk nor pushes the answers to
// real commands out of the store. Every refusal is counted.
const (
	refusalsAtOnce = 30
	refusalEvery   = time.Second
)

// allowance is how many refusals may still be answered.
type allowance struct {
	spent int
	at    time.Duration // when one of the spent was last given back
}

// take reports whether one more may be answered.
func (a *allowance) take(now time.Duration) bool {
	if back := int((now - a.at) / refusalEvery); back > 0 {
		a.spent, a.at = max(0, a.spent-back), now
	}
	if a.spent == refusalsAtOnce {
		return false
	}
	a.spent++
	return true
}

// turnDown answers a message that is no command, or not its issuer's.
func (l *Loop) turnDown(r *message.Rejection) {
	l.rejected.Add(1)
	l.recordRefusal(r.Command, string(r.Code), r.ID)
	if !r.Answered() {
		l.noteHeartbeats(nil, []failsafe.RefusedHeartbeat{{Code: failsafe.Code(r.Code)}})
		return
	}
	if !l.refusals.take(l.Now()) {
		return
	}
	wall := l.Wall()
	l.Log.Warn("command refused", "command", r.ID, "name", r.Command, "code", string(r.Code), "why", r.Detail)
	ack := r.Ack(wall)
	l.say(message.AckStream, wall, message.AppendAck(nil, l.agent, &ack), false)
}
