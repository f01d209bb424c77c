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
type Ramps struct {
	Open []Ramp `json:"open,omitempty"`
}

// Ramp is a group's run of steps by one rule in one direction, as far as it was
// not summed up yet.
type Ramp struct {
	Group string          `json:"group"`
	Way   string          `json:"way"`
	Rule  string          `json:"rule"`
	Up    bool            `json:"up"`
	Began time.Duration   `json:"began"`
	From  meter.Milliamps `json:"from"`
	To    meter.Milliamps `json:"to"`
	First time.Duration   `json:"first"`
	Last  time.Duration   `json:"last"`
	Count int             `json:"count"`
	Hash  []byte          `json:"hash"`
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
		at := slices.IndexFunc(r.Open, func(o Ramp) bool { return o.Group == d.Group })
		if at >= 0 && r.Open[at].Rule == d.Rule && r.Open[at].Up == up {
			if err = r.Open[at].step(d, now); err != nil {
				return all, err
			}
			continue
		}
		if at >= 0 {
			all = r.Open[at].sumUp(all)
			r.Open = slices.Delete(r.Open, at, at+1)
		}
		all = append(all, *d)
		if rule.Ramps() {
			r.Open = append(r.Open, Ramp{Group: d.Group, Way: d.Way, Rule: d.Rule, Up: up, Began: now})
		}
	}
	return all, nil
}

// due sums up the ramps that have gone on for long enough.
func (r *Ramps) due(now time.Duration) (all []failsafe.Decision) {
	for i := 0; i < len(r.Open); i++ {
		if now-r.Open[i].Began >= rampSpan {
			all = r.Open[i].sumUp(all)
			r.Open = slices.Delete(r.Open, i, i+1)
			i--
		}
	}
	return all
}

// Rest sums up what waits, at the end of a run.
func (r *Ramps) Rest() (all []failsafe.Decision) {
	for i := range r.Open {
		all = r.Open[i].sumUp(all)
	}
	r.Open = nil
	return all
}

func (o *Ramp) step(d *failsafe.Decision, now time.Duration) error {
	text, err := json.Marshal(d)
	if err == nil {
		text, err = Canonical(text)
	}
	if err != nil {
		return fmt.Errorf("sum up a step of group %s: %w", o.Group, err)
	}
	if o.Count == 0 {
		o.From, o.First = *d.FromLimit, now
	}
	o.To, o.Last = *d.ToLimit, now
	o.Count++
	sum := sha256.Sum256(append(o.Hash, text...))
	o.Hash = sum[:]
	return nil
}

func (o *Ramp) sumUp(all []failsafe.Decision) []failsafe.Decision {
	if o.Count == 0 {
		return all
	}
	from, to := o.From, o.To
	return append(all, failsafe.Decision{
		Kind: failsafe.DecidedRamp, Way: o.Way, Group: o.Group, Rule: o.Rule, FromLimit: &from, ToLimit: &to,
		Count: o.Count, Span: (o.Last - o.First).Milliseconds(), Steps: hex.EncodeToString(o.Hash),
	})
}
