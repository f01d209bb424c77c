package uplink

import (
	"bytes"
	"slices"
)

// retained is the latest value of one retained topic.
type retained struct {
	topic   string
	payload []byte
	sent    bool // on the connection there is now
}

// Retain sets the value of a retained topic. It is sent when it differs from
// the one before, and again after each connect: the status first, then the
// description, then the others in the order of their first setting, all before
// any record. An empty payload makes the broker forget the topic.
func (u *Uplink) Retain(topic string, payload []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.IndexFunc(u.retained, func(r retained) bool { return r.topic == topic })
	switch {
	case i < 0:
		r := retained{topic: topic, payload: bytes.Clone(payload)}
		at := len(u.retained)
		for ; at > 0 && u.place(u.retained[at-1].topic) > u.place(topic); at-- {
		}
		u.retained = slices.Insert(u.retained, at, r)
	case bytes.Equal(u.retained[i].payload, payload):
		return
	default:
		u.retained[i].payload = append(u.retained[i].payload[:0], payload...)
		u.retained[i].sent = false
	}
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

// place orders retained topics after a connect.
func (u *Uplink) place(topic string) int {
	switch topic {
	case u.cfg.Topics.Status():
		return 0
	case u.cfg.Topics.Meta():
		return 1
	default:
		return 2
	}
}

// Repeat sends every retained message again, as the centre may ask for.
func (u *Uplink) Repeat() {
	u.resendRetained()
	select {
	case u.changed <- struct{}{}:
	default:
	}
}

func (u *Uplink) resendRetained() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.retained {
		u.retained[i].sent = false
	}
}

// nextRetained copies the next unsent retained message to dst and marks it
// sent. A value that is not acknowledged is sent again after the next connect.
func (u *Uplink) nextRetained(dst []byte) (topic string, payload []byte, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.retained {
		if r := &u.retained[i]; !r.sent {
			r.sent = true
			return r.topic, append(dst, r.payload...), true
		}
	}
	return "", dst, false
}
