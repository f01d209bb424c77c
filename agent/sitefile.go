package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"lvagent/agent/core"
	"lvagent/agent/message"
	"lvagent/agent/socket"
	"lvagent/agent/trial"
	"lvagent/configs"
	"lvagent/failsafe"
)

// Codes of what is refused about a site file.
const (
	faultySite   = "FAULTY"     // it has faults
	otherSite    = "OTHER_SITE" // it is another agent's, or moves the store
	changedSite  = "CHANGED"    // somebody changed the site file since it was read
	trialRuns    = "BUSY"
	trialNone    = "NO_TRIAL"
	noUplink     = "NO_UPLINK" // the centre cannot be reached with it
	notWritten   = "NOT_WRITTEN"
	notEnabled   = "NOT_ENABLED"
	unknownOrder = "INVALID"
)

// refusal is why a site file is not tried, or a trial not ended.
type refusal struct {
	code   string
	err    error
	faults []configs.Fault
}

func (r *refusal) Error() string {
	if len(r.faults) == 0 {
		return r.err.Error()
	}
	var lines []string
	for i, f := range r.faults {
		if i == mostFaults {
			lines = append(lines, fmt.Sprintf("and %d more", len(r.faults)-i))
			break
		}
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// mostFaults is how many faults an answer lists.
const mostFaults = 20

// moment is how long the core loop may take to record something.
const moment = 5 * time.Second

// takeSiteFile takes an order of the centre.
func (a *Agent) takeSiteFile(o core.SiteFileOrder) bool {
	select {
	case a.orders <- o:
		return true
	default:
		return false
	}
}

// serveSiteFile tells what became of a trial before this start, and carries out
// the centre's orders until ctx ends.
func (a *Agent) serveSiteFile(ctx context.Context) error {
	if t, ended := a.trial.Ended(); ended {
		a.tellTrial(ctx, &t)
		if err := a.trial.Told(); err != nil {
			a.log.Error("trial of a site file not forgotten", "err", err)
		}
	}
	if t, _, runs := a.trial.Now(); runs && t.To == a.status.Config {
		a.tellTrial(ctx, &t)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-a.orders:
			a.order(ctx, &o)
		}
	}
}

// order carries out an order of the centre.
func (a *Agent) order(ctx context.Context, o *core.SiteFileOrder) {
	// The agent may be started anew in a moment: that the order was received is said
	// before.
	settle, cancel := context.WithTimeout(ctx, moment)
	if err := a.loop.Settled(settle); err != nil {
		a.log.Warn("state not on disk before an order about the site file", "command", o.ID, "err", err)
	}
	cancel()
	var refused *refusal
	switch {
	case o.Site != "":
		refused = a.try(trial.Trial{ID: o.ID, By: o.By, Remote: true, Within: o.Within}, []byte(o.Site))
		if refused == nil {
			a.tell(ctx, failsafe.Decision{Source: o.ID, By: o.By, Rule: "TRIAL"}, o.ID, message.Scheduled, "", "")
			return
		}
	case o.Confirm != "":
		refused = a.confirm(o.Confirm, o.By)
	default:
		refused = a.rollBack(o.RollBack, o.By)
	}
	if refused != nil {
		a.log.Warn("site file refused", "command", o.ID, "by", o.By, "code", refused.code, "err", refused)
		a.tell(ctx, failsafe.Decision{Source: o.ID, By: o.By, Rule: refused.code}, o.ID, message.Rejected, refused.code, refused.Error())
		return
	}
	a.tell(ctx, failsafe.Decision{Source: o.ID, By: o.By, Rule: "ORDER"}, o.ID, message.Completed, "", "")
	a.settleTrial(ctx)
}

// settleTrial tells of a trial that was confirmed while this agent goes on. After
// one that was rolled back another agent starts, and tells.
func (a *Agent) settleTrial(ctx context.Context) {
	if t, ended := a.trial.Ended(); ended && t.Outcome == trial.Confirmed {
		a.tellTrial(ctx, &t)
		if err := a.trial.Told(); err != nil {
			a.log.Error("trial of a site file not forgotten", "err", err)
		}
	}
}

// tellTrial records how far a trial has come.
func (a *Agent) tellTrial(ctx context.Context, t *trial.Trial) {
	d := failsafe.Decision{Source: t.ID, By: t.By, From: t.From, To: t.To, Rule: string(t.Outcome)}
	stage, code := message.Cancelled, string(t.Outcome)
	switch t.Outcome {
	case "":
		d.Rule, stage, code = "TRIAL", message.Active, ""
		a.log.Warn("site file on trial", "command", t.ID, "by", t.By, "within", t.Within.String(), "config", t.To)
	case trial.Confirmed:
		stage, code = message.Completed, ""
		d.By = t.EndedBy
		a.log.Info("site file confirmed", "command", t.ID, "by", t.EndedBy, "config", t.To)
	default:
		if t.EndedBy != "" {
			d.By = t.EndedBy
		}
		a.log.Warn("site file rolled back", "command", t.ID, "why", string(t.Outcome), "config", t.From)
	}
	id := t.ID
	if !t.Remote {
		id = ""
	}
	a.tell(ctx, d, id, stage, code, "")
}

// tell records a decision, and answers the command with that id, if it is one.
func (a *Agent) tell(ctx context.Context, d failsafe.Decision, id string, stage message.Stage, code, text string) {
	// A stop waits for it: the loop ends after this.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), moment)
	defer cancel()
	var answer *message.Ack
	if id != "" {
		r := message.Rejection{ID: id, Command: message.ConfigCommand, Code: message.Code(code), Detail: text[:min(len(text), 4000)]}
		ack := r.Ack(time.Time{})
		if ack.Stage = stage; text == "" {
			ack.Detail = nil
		}
		answer = &ack
	}
	if err := a.loop.SiteFileTold(ctx, d, answer); err != nil {
		a.log.Error("not recorded what became of a site file", "err", err)
	}
}

// try puts a text on trial, or says why not. The agent is started anew with it.
func (a *Agent) try(t trial.Trial, text []byte) *refusal {
	if a.trial == nil {
		return &refusal{code: notEnabled, err: errors.New("this agent was not started from a site file")}
	}
	if t.Within < message.LeastTrial || t.Within > message.MostTrial {
		return &refusal{code: unknownOrder, err: fmt.Errorf("confirm within %s: must be %s to %s", t.Within, message.LeastTrial, message.MostTrial)}
	}
	if _, _, runs := a.trial.Now(); runs {
		return &refusal{code: trialRuns, err: trial.ErrRuns}
	}
	if now, err := os.ReadFile(a.trial.File()); err != nil || trial.Hash(now) != a.status.Config {
		return &refusal{code: changedSite, err: errors.New("the site file was changed since the agent read it; reload it (SIGHUP) or put it back first")}
	}
	var refused *refusal
	err := a.trial.Begin(t, text, func(path string) error {
		if refused = a.judge(path); refused != nil {
			return refused
		}
		return nil
	})
	switch {
	case refused != nil:
		return refused
	case errors.Is(err, trial.ErrRuns):
		return &refusal{code: trialRuns, err: err}
	case err != nil:
		return &refusal{code: notWritten, err: err}
	}
	return nil
}

// judge reads a site file as a start would.
func (a *Agent) judge(path string) *refusal {
	site, faults := Prepare(path)
	if len(faults) > 0 {
		return &refusal{code: faultySite, faults: faults}
	}
	old, new := a.site.Config, site.Config
	switch {
	case new.Site.ID != old.Site.ID:
		return &refusal{code: otherSite, err: fmt.Errorf("site.id: is %s, and this agent is %s", new.Site.ID, old.Site.ID)}
	case new.Buffer.Path != old.Buffer.Path:
		return &refusal{code: otherSite, err: fmt.Errorf("buffer.path: %s instead of %s leaves records and limits in force behind; change it on site", new.Buffer.Path, old.Buffer.Path)}
	}
	return nil
}

// confirm ends the trial with id, or any where it is empty, for good: that needs
// the broker, with the file that is on trial.
func (a *Agent) confirm(id, by string) *refusal {
	if r := a.onTrial(id); r != nil {
		return r
	}
	if t, _, _ := a.trial.Now(); t.To != a.status.Config || !a.link.State().Connected {
		return &refusal{code: noUplink, err: errors.New("there is no connection to the broker with the new site file; it is rolled back at the end of its time")}
	}
	if err := a.trial.Confirm(by); err != nil {
		return &refusal{code: notWritten, err: err}
	}
	return nil
}

func (a *Agent) rollBack(id, by string) *refusal {
	if r := a.onTrial(id); r != nil {
		return r
	}
	if err := a.trial.RollBack(trial.RolledBack, by); err != nil {
		return &refusal{code: notWritten, err: err}
	}
	return nil
}

func (a *Agent) onTrial(id string) *refusal {
	if a.trial == nil {
		return &refusal{code: notEnabled, err: errors.New("this agent was not started from a site file")}
	}
	if t, _, runs := a.trial.Now(); !runs || id != "" && t.ID != id {
		return &refusal{code: trialNone, err: trial.ErrNone}
	}
	return nil
}

// SiteFile answers lvagent config.
func (a *Agent) SiteFile(ctx context.Context, o socket.SiteFile) (socket.SiteFileAnswer, error) {
	if o.By == "" && o.Op != "state" {
		return socket.SiteFileAnswer{}, errors.New("site file: say who you are")
	}
	var refused *refusal
	switch o.Op {
	case "state":
	case "apply":
		within, err := time.ParseDuration(o.Within)
		if err != nil {
			return socket.SiteFileAnswer{}, fmt.Errorf("confirm within: %w", err)
		}
		if refused = a.try(trial.Trial{ID: "local-" + rand.Text()[:12], By: o.By, Within: within}, []byte(o.Text)); refused == nil {
			a.tell(ctx, failsafe.Decision{By: o.By, Why: o.Why, Rule: "TRIAL"}, "", "", "", "")
		}
	case "confirm":
		if refused = a.confirm("", o.By); refused == nil {
			a.settleTrial(ctx)
		}
	case "rollback":
		refused = a.rollBack("", o.By)
	default:
		return socket.SiteFileAnswer{}, fmt.Errorf("site file: no such order %q", o.Op)
	}
	var answer socket.SiteFileAnswer
	if refused != nil {
		answer.Code, answer.Why = refused.code, refused.Error()
		for _, f := range refused.faults {
			f.File = o.File
			answer.Faults = append(answer.Faults, f.String())
		}
		a.log.Warn("site file refused", "by", o.By, "op", o.Op, "code", refused.code, "err", refused)
		a.tell(ctx, failsafe.Decision{By: o.By, Why: o.Why, Rule: refused.code}, "", "", "", "")
	}
	answer.Config = a.status.Config
	if a.trial != nil {
		if t, left, runs := a.trial.Now(); runs {
			answer.Trial, answer.By, answer.LeftS = t.ID, t.By, left.Seconds()
			answer.Started = t.To == a.status.Config
		}
	}
	return answer, nil
}
