package core

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/failsafe"
	"lvagent/meter"
)

// topologyKey is where the ways that are not supplied as usual are kept.
const topologyKey = "topology"

// Sources of what a person says.
const localSource, remoteSource = "local", "remote"

// mostTopology is the longest that a way may be declared otherwise; it ends by
// itself, so that what is forgotten ends too.
const mostTopology = 31 * 24 * time.Hour

// normalTopology is the state of a way that is supplied from its own busbar alone.
const normalTopology = "normal"

var abnormalTopologies = []string{"back-fed", "paralleled", "dead"}

// Topology is how a way is supplied while that is not as usual: what is measured
// then says nothing sure of the customers on it.
type Topology struct {
	Way     string        `json:"way"`
	State   string        `json:"state"` // back-fed, paralleled, dead
	By      string        `json:"by"`
	Why     string        `json:"why"`
	Source  string        `json:"source"` // local or remote
	Since   time.Time     `json:"since"`
	Expires time.Time     `json:"expires"`
	Left    time.Duration `json:"left"` // by the monotonic clock, as last kept

	// Whose command it was; none: somebody on site.
	Issuer string `json:"issuer,omitempty"`
	Epoch  uint64 `json:"epoch,omitempty"`
	Seq    uint64 `json:"seq,omitempty"`
}

// topology are the ways that are not supplied as usual. Such a state only
// restricts, so it ends late rather than early: when both clocks say so. A clock
// that is not trusted has no say.
type topology struct {
	ways []Topology
	at   time.Duration // up to when Left was reckoned
}

// resumeTopology takes up what was kept. The time that the agent was away does not
// count: nobody knows how long it was.
func (l *Loop) resumeTopology(now time.Duration) {
	l.topology.at = now
	body := l.Outbox.Get(topologyKey)
	if body == nil {
		return
	}
	var kept []Topology
	if err := json.Unmarshal(body, &kept); err != nil {
		l.Log.Error("topology of the ways not resumed", "err", err)
		return
	}
	for _, t := range kept {
		if i, ok := l.ways[t.Way]; ok && i < len(l.Config.Ways) {
			l.topology.ways = append(l.topology.ways, t)
			l.applyTopology(i)
		}
	}
}

// SetTopology says how a way is supplied, in the name of somebody on site.
func (l *Loop) SetTopology(ctx context.Context, t Topology, d time.Duration) (err error) {
	switch {
	case t.By == "" || t.Why == "":
		return fmt.Errorf("topology of %s: say who you are and why", t.Way)
	case len(t.By) > mostBy || len(t.Why) > mostWhy:
		return fmt.Errorf("topology of %s: say who you are in %d letters at most, and why in %d", t.Way, mostBy, mostWhy)
	}
	t.Source = localSource
	asked := l.Ask(ctx, func(l *Loop) { err = l.setTopology(t, d, "") })
	if asked != nil {
		return asked
	}
	return err
}

// setTopology says how a way is supplied from now on. Command is the id of the
// centre's, where it is one.
func (l *Loop) setTopology(t Topology, d time.Duration, command string) error {
	abnormal := slices.Contains(abnormalTopologies, t.State)
	switch {
	case !abnormal && t.State != normalTopology:
		return fmt.Errorf("topology of %s: must be normal, back-fed, paralleled or dead, not %q", t.Way, t.State)
	case abnormal && (d <= 0 || d > mostTopology):
		return fmt.Errorf("topology of %s: say for how long, up to %s, not %s", t.Way, mostTopology, d)
	}
	i, ok := l.ways[t.Way]
	if !ok || i >= len(l.Config.Ways) || l.Config.Ways[i].IsIncomer() {
		return fmt.Errorf("topology of %s: there is no such feeder", t.Way)
	}
	l.ageTopology(l.Now())
	t.Since = l.Wall()
	t.Expires, t.Left = t.Since.Add(d), d
	was := l.dropTopology(t.Way)
	if abnormal {
		l.topology.ways = append(l.topology.ways, t)
	}
	l.Log.Warn("topology of a way", "way", t.Way, "state", t.State, "for", d.String(), "by", t.By, "why", t.Why, "source", t.Source, "command", command)
	l.record([]failsafe.Decision{{Kind: failsafe.DecidedTopology, Way: t.Way, Rule: t.Source, Source: command,
		By: t.By, Why: t.Why, From: was, To: t.State}}, l.Now(), l.Wall())
	l.toldTopology(i)
	return nil
}

// toldTopology carries a change out, keeps it and has it published.
func (l *Loop) toldTopology(i int) {
	l.applyTopology(i)
	l.Outbox.Store(true, nil, l.keptTopology()...)
	l.dirty = true
}

// dropTopology makes a way one that is supplied as usual, and returns what it was.
func (l *Loop) dropTopology(way string) (was string) {
	was = normalTopology
	l.topology.ways = slices.DeleteFunc(l.topology.ways, func(t Topology) bool {
		if t.Way == way {
			was = t.State
		}
		return t.Way == way
	})
	return was
}

// topologyOf returns how a way is supplied while it is not as usual.
func (l *Loop) topologyOf(way string) (Topology, bool) {
	for _, t := range l.topology.ways {
		if t.Way == way {
			return t, true
		}
	}
	return Topology{}, false
}

func (l *Loop) ageTopology(now time.Duration) {
	for i := range l.topology.ways {
		t := &l.topology.ways[i]
		t.Left -= now - l.topology.at
	}
	l.topology.at = now
}

// tickTopology ends what is over and marks the records of what is not.
func (l *Loop) tickTopology(now time.Duration, wall time.Time, clock meter.Clock) {
	l.ageTopology(now)
	for i := 0; i < len(l.topology.ways); {
		t := l.topology.ways[i]
		at := l.ways[t.Way]
		if t.Left > 0 || clock.Trusted() && wall.Before(t.Expires) {
			l.feeds[at].window.Remark(meter.MapInvalid)
			i++
			continue
		}
		l.dropTopology(t.Way)
		l.Log.Info("topology of a way", "way", t.Way, "state", normalTopology, "by", t.By, "why", "its time is over")
		l.record([]failsafe.Decision{{Kind: failsafe.DecidedTopology, Way: t.Way, Rule: "expired", From: t.State, To: normalTopology}}, now, wall)
		l.toldTopology(at)
	}
}

// applyTopology holds back raises for the groups of an abnormal way, and says how
// it is supplied.
func (l *Loop) applyTopology(i int) {
	way := l.feeds[i].id
	t, abnormal := l.topologyOf(way)
	for p := range l.loads[i].Frozen {
		l.loads[i].Frozen[p] = l.frozen(i, meter.Phase(p))
	}
	p := meter.HealthPoint{ID: "topology/" + way, State: meter.HealthOK}
	if abnormal {
		p.State, p.Code = meter.HealthDegraded, "MAP_INVALID"
		p.Detail = fmt.Sprintf("%s by %s (%s) until %s", t.State, t.By, t.Why, t.Expires.UTC().Format(time.RFC3339))
	}
	l.SetHealth(p)
}

func (l *Loop) keptTopology() []outbox.Kept {
	body, err := json.Marshal(l.topology.ways)
	if err != nil {
		l.Log.Error("topology of the ways not kept", "err", err)
		return nil
	}
	return []outbox.Kept{{Key: topologyKey, Value: body}}
}

// takeTopology carries out cmd/topology. Back to normal lifts a restriction, so it
// passes what a limit passes. The engine takes commands that overtook one another;
// here that must not let an older word lift what a newer one set.
func (l *Loop) takeTopology(c *message.Command, body *message.Topology) {
	if !l.admitted(c) {
		return
	}
	t := Topology{Way: body.Way, State: string(body.State), By: cmp.Or(body.By, c.Issuer), Why: body.Why, Source: remoteSource,
		Issuer: c.Issuer, Epoch: c.Epoch, Seq: c.Seq}
	if was, is := l.topologyOf(t.Way); is && t.before(&was) {
		l.conclude(c, message.Rejected, message.Code(failsafe.Replay), "a later word of the same issuer stands")
		return
	}
	if err := l.setTopology(t, body.For, c.ID); err != nil {
		l.conclude(c, message.Rejected, "NO_TARGET", err.Error())
		return
	}
	l.conclude(c, message.Completed, "", "")
}

// before says that a command is older than the one that was carried out.
func (t *Topology) before(was *Topology) bool {
	return t.Issuer == was.Issuer && (t.Epoch < was.Epoch || t.Epoch == was.Epoch && t.Seq < was.Seq)
}

// suppliedWays are the ways that are not supplied as usual.
func (l *Loop) suppliedWays() (all []message.SuppliedWay) {
	for _, t := range l.topology.ways {
		all = append(all, message.SuppliedWay{Way: t.Way, State: message.Supply(t.State), By: t.By, Why: t.Why,
			Source: cmp.Or(t.Source, localSource), Since: t.Since, Expires: t.Expires})
	}
	return all
}
