package core

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"lvagent/agent/outbox"
	"lvagent/meter"
)

// topologyKey is where the ways that are not supplied as usual are kept.
const topologyKey = "topology"

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
	Since   time.Time     `json:"since"`
	Expires time.Time     `json:"expires"`
	Left    time.Duration `json:"left"` // by the monotonic clock, as last kept
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
	abnormal := false
	for _, s := range abnormalTopologies {
		abnormal = abnormal || s == t.State
	}
	switch {
	case !abnormal && t.State != normalTopology:
		return fmt.Errorf("topology of %s: must be normal, back-fed, paralleled or dead, not %q", t.Way, t.State)
	case t.By == "" || t.Why == "":
		return fmt.Errorf("topology of %s: say who you are and why", t.Way)
	case abnormal && (d <= 0 || d > mostTopology):
		return fmt.Errorf("topology of %s: say for how long, up to %s, not %s", t.Way, mostTopology, d)
	}
	asked := l.Ask(ctx, func(l *Loop) {
		i, ok := l.ways[t.Way]
		if !ok || i >= len(l.Config.Ways) || l.Config.Ways[i].IsIncomer() {
			err = fmt.Errorf("topology of %s: there is no such feeder", t.Way)
			return
		}
		l.ageTopology(l.Now())
		t.Since = l.Wall()
		t.Expires, t.Left = t.Since.Add(d), d
		l.dropTopology(t.Way)
		if abnormal {
			l.topology.ways = append(l.topology.ways, t)
		}
		l.Log.Warn("topology of a way", "way", t.Way, "state", t.State, "for", d.String(), "by", t.By, "why", t.Why)
		l.applyTopology(i)
		l.Outbox.Store(true, nil, l.keptTopology())
	})
	if asked != nil {
		return asked
	}
	return err
}

func (l *Loop) dropTopology(way string) {
	kept := l.topology.ways[:0]
	for _, t := range l.topology.ways {
		if t.Way != way {
			kept = append(kept, t)
		}
	}
	l.topology.ways = kept
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
		l.applyTopology(at)
		l.Outbox.Store(true, nil, l.keptTopology())
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

func (l *Loop) keptTopology() outbox.Kept {
	body, err := json.Marshal(l.topology.ways)
	if err != nil {
		l.Log.Error("topology of the ways not kept", "err", err)
	}
	return outbox.Kept{Key: topologyKey, Value: body}
}
