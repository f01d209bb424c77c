package core

import (
	"time"

	"lvagent/agent/message"
)

// Wanted are readings of the flight recorder that the centre asked for.
type Wanted struct {
	ID           string // of the command
	Way          string
	Since, Until time.Time
}

// mostWanted is the longest time that one command may ask for: at a message a
// second, six minutes of sending.
const mostWanted = 6 * time.Hour

// resendRecorded hands a wish for what was recorded to the recorder's owner, who
// sends it bit by bit and then says completed.
func (l *Loop) resendRecorded(c *message.Command, way string, body *message.Resend) {
	_, known := l.ways[way]
	switch {
	case !known || l.Fetch == nil:
		l.refuse(c, "NO_TARGET", "nothing is recorded of "+way)
	case body.Until.Sub(body.Since) > mostWanted:
		l.refuse(c, message.Invalid, "at most "+mostWanted.String()+" at once")
	case !l.Fetch(Wanted{ID: c.ID, Way: way, Since: body.Since, Until: body.Until}):
		l.refuse(c, "TOO_MANY", "the recorder answers others first")
	default:
		wall := l.Wall()
		ack := message.Ack{ID: c.ID, Command: c.Name, Stage: message.Received, T: wall}
		l.say(message.AckStream, wall, message.AppendAck(nil, l.agent, &ack), false)
	}
}
