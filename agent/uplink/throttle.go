package uplink

import "time"

// throttle spares the line for what is urgent, and the broker of a whole fleet
// that was cut off together: a backlog is sent at a rate. The zero value lets
// everything pass.
type throttle struct {
	rate   int           // messages a second; 0: no bound
	spare  time.Duration // of time not used, at most burst
	seen   time.Time
	opened bool
}

// burst is how much time without a message may be made up for.
const burst = time.Second

func (t *throttle) each() time.Duration { return time.Second / time.Duration(t.rate) }

// wait returns how long the next message has to wait.
func (t *throttle) wait(now time.Time) time.Duration {
	if t.rate <= 0 {
		return 0
	}
	if !t.opened {
		t.opened, t.seen, t.spare = true, now, burst
	}
	t.spare = min(t.spare+now.Sub(t.seen), max(burst, t.each()))
	t.seen = now
	return max(0, t.each()-t.spare)
}

// take counts a message.
func (t *throttle) take() {
	if t.rate > 0 {
		t.spare -= t.each()
	}
}
