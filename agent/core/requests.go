package core

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"lvagent/failsafe"
)

// RequestView is a limit that waits or is in force, for people on site.
type RequestView struct {
	ID       string    `json:"id"`
	Class    string    `json:"class"`
	Stage    string    `json:"stage"`
	Groups   []string  `json:"groups"`
	OptedOut []string  `json:"opted_out,omitempty"`
	Limit    string    `json:"limit"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
}

func (l *Loop) requestViews() []RequestView {
	views := []RequestView{}
	for i := range l.State.Commands {
		c := &l.State.Commands[i]
		views = append(views, RequestView{
			ID: c.ID, Class: c.Class.String(), Stage: string(c.Stage), Groups: c.Groups, OptedOut: c.OptedOut,
			Limit: inWords(c), Start: c.StartWall, End: c.EndWall,
		})
	}
	return views
}

// inWords is what a command asks for, for people.
func inWords(c *failsafe.Command) string {
	number := func(unit string) string {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(c.Amount.Value)/1000), ".0") + " " + unit
	}
	words := ""
	switch c.Amount.Unit {
	case failsafe.Amps:
		words = number("A")
	case failsafe.Watts:
		words = number("W")
	case failsafe.Percent:
		words = number("%")
	case failsafe.ByRegime:
		words = failsafe.Regime(c.Amount.Value).String()
	}
	if n := len(c.Curve); n > 0 {
		words += fmt.Sprintf(", of a curve of %d blocks", n)
	}
	return words
}

// OptOut refuses a request for a group in the name of its customers, and returns
// what became of that.
func (l *Loop) OptOut(ctx context.Context, group, event, by string) (last failsafe.Ack, err error) {
	o := failsafe.OptOut{ID: "local-" + rand.Text()[:12], Event: event, Group: group, By: by}
	err = l.Ask(ctx, func(l *Loop) {
		l.step(failsafe.Inputs{OptOuts: []failsafe.OptOut{o}})
		for _, a := range l.answers {
			if a.ID == o.ID {
				last = a
			}
		}
	})
	return last, err
}
