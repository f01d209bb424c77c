package core

import (
	"crypto/rand"
	"fmt"
	"strings"

	"lvagent/agent/message"
	"lvagent/failsafe"
)

// lockedGroup returns the group whose lockout an id names: the group itself, or
// the lockout's alarm.
func (l *Loop) lockedGroup(id string) (group string, is bool) {
	for i := range l.Config.Groups {
		g := &l.Config.Groups[i]
		if id == g.ID || id == g.Way+"."+g.ID+"."+failsafe.LockoutName {
			return g.ID, true
		}
	}
	return "", false
}

// endLockout ends the lockout of a group in the name of somebody on site.
func (l *Loop) endLockout(group, by string) error {
	id := "local-" + rand.Text()[:12]
	l.step(failsafe.Inputs{Acks: []failsafe.LockoutAck{{ID: id, Local: true, Target: failsafe.Target{Groups: []string{group}}, By: by}}})
	for _, a := range l.answers {
		if a.ID == id && a.Stage == failsafe.Completed {
			l.Log.Info("lockout acknowledged", "group", group, "by", by)
			return nil
		}
	}
	return fmt.Errorf("acknowledge %s: the group is not locked out", group)
}

// takeLockoutAck carries out cmd/ack where it is about a lockout.
func (l *Loop) takeLockoutAck(c *message.Command, body *message.Acknowledge) bool {
	to, hash, ok := l.target(c, &body.Target)
	if !ok {
		return true
	}
	if body.Alarm != "" {
		group, is := l.lockedGroup(body.Alarm)
		if !is || !strings.HasSuffix(body.Alarm, failsafe.LockoutName) {
			return false
		}
		to = failsafe.Target{Groups: []string{group}}
	}
	by := body.By
	if by == "" {
		by = c.Issuer
	}
	l.step(failsafe.Inputs{Acks: []failsafe.LockoutAck{{
		ID: c.ID, Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq, Hash: hash, Expires: c.Expires, Target: to, By: by}}})
	return true
}
