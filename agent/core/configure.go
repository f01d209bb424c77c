package core

import (
	"context"
	"time"

	"lvagent/agent/message"
	"lvagent/failsafe"
)

// SiteFileOrder is what the centre wants with a site file.
type SiteFileOrder struct {
	ID, By string
	message.Configure
}

// configure hands over an order about the site file. It is taken from an issuer
// with a key only: whoever could write it without one could take the agent.
func (l *Loop) configure(c *message.Command, body *message.Configure) {
	switch _, signs := l.Keys[c.Issuer]; {
	case l.SiteFile == nil:
		l.refuse(c, "NOT_ENABLED", "this agent was not started from a site file")
	case !signs:
		l.refuse(c, message.Unsigned, "a site file is taken from an issuer with a key in uplink.issuers only")
	case !l.admitted(c):
	case !l.SiteFile(SiteFileOrder{ID: c.ID, By: c.Issuer, Configure: *body}):
		l.refuse(c, "BUSY", "another order about the site file is under way")
	}
}

// Settled waits until the state is on disk, and with it is said what rests on it.
func (l *Loop) Settled(ctx context.Context) error {
	for settled := false; ; {
		if err := l.Ask(ctx, func(l *Loop) { settled = l.saved >= l.version && len(l.held) == 0 }); err != nil || settled {
			return err
		}
		pause := time.NewTimer(10 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// SiteFileTold records what became of a site file, and answers the command that
// was about it, where there was one.
func (l *Loop) SiteFileTold(ctx context.Context, d failsafe.Decision, answer *message.Ack) error {
	return l.Ask(ctx, func(l *Loop) {
		wall := l.Wall()
		d.Kind = failsafe.DecidedConfig
		l.record([]failsafe.Decision{d}, l.Now(), wall)
		if answer != nil {
			answer.Command, answer.T = message.ConfigCommand, wall
			l.say(message.AckStream, wall, message.AppendAck(nil, l.agent, answer), false)
		}
		l.save()
	})
}
