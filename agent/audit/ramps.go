package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// rampSpan is how long the steps of a ramp wait at most for the record that sums
// them up.
const rampSpan = 10 * time.Minute

// Ramps sums up the steps of ramps. The first step of one is recorded in full,
// with the law by which it goes on; those behind it are one record, with their
// number and a hash over the decisions that they were. So each change of a limit
// is in one record, and whoever computes the steps again can tell whether they
// were these.
//
// It is a function of what it was given: computed again, it says the same.
type Ramps struct{ open []ramp }

// ramp is a group's run of steps by one rule in one direction.
type ramp struct {
	group, way string
	rule       string
	up         bool
	began      time.Duration
	from, to   meter.Milliamps // of the steps that wait
	first      time.Duration
	last       time.Duration
	count      int
	hash       [sha256.Size]byte
}

// Add takes what was decided at now, and returns what is to be recorded. It
// allocates nothing while nothing is decided and no ramp waits.
func (r *Ramps) Add(decisions []failsafe.Decision, now time.Duration) (all []failsafe.Decision, err error) {
	all = r.due(now)
	for i := range decisions {
		d := &decisions[i]
		if d.Kind != failsafe.DecidedSetpoint || d.FromLimit == nil || d.ToLimit == nil {
			all = append(all, *d)
			continue
		}
		rule, up := failsafe.Rule(d.Rule), *d.ToLimit > *d.FromLimit
		at := slices.IndexFunc(r.open, func(o ramp) bool { return o.group == d.Group })
		if at >= 0 && r.open[at].rule == d.Rule && r.open[at].up == up {
			if err = r.open[at].step(d, now); err != nil {
				return all, err
			}
			continue
		}
		if at >= 0 {
			all = r.open[at].sumUp(all)
			r.open = slices.Delete(r.open, at, at+1)
		}
		all = append(all, *d)
		if rule.Ramps() {
			r.open = append(r.open, ramp{group: d.Group, way: d.Way, rule: d.Rule, up: up, began: now})
		}
	}
	return all, nil
}

// due sums up the ramps that have gone on for long enough.
func (r *Ramps) due(now time.Duration) (all []failsafe.Decision) {
	for i := 0; i < len(r.open); i++ {
		if now-r.open[i].began >= rampSpan {
			all = r.open[i].sumUp(all)
			r.open = slices.Delete(r.open, i, i+1)
			i--
		}
	}
	return all
}

// Rest sums up what waits, at the end of a run.
func (r *Ramps) Rest() (all []failsafe.Decision) {
	for i := range r.open {
		all = r.open[i].sumUp(all)
	}
	r.open = nil
	return all
}

func (o *ramp) step(d *failsafe.Decision, now time.Duration) error {
	text, err := json.Marshal(d)
	if err == nil {
		text, err = Canonical(text)
	}
	if err != nil {
		return fmt.Errorf("sum up a step of group %s: %w", o.group, err)
	}
	if o.count == 0 {
		o.from, o.first = *d.FromLimit, now
	}
	o.to, o.last = *d.ToLimit, now
	o.count++
	o.hash = sha256.Sum256(append(o.hash[:], text...))
	return nil
}

func (o *ramp) sumUp(all []failsafe.Decision) []failsafe.Decision {
	if o.count == 0 {
		return all
	}
	from, to := o.from, o.to
	return append(all, failsafe.Decision{
		Kind: failsafe.DecidedRamp, Way: o.way, Group: o.group, Rule: o.rule, FromLimit: &from, ToLimit: &to,
		Count: o.count, Span: (o.last - o.first).Milliseconds(), Steps: hex.EncodeToString(o.hash[:]),
	})
}
