package hwtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lvagent/hwtest/bench"
	"lvagent/meter"
)

// Around an alarm's delays there are the poll, the road to the broker and the
// slow change of the load: what lasts longer than a delay by this much must be
// noticed, what is shorter than half the delay must not.
const alarmMargin = 3 * time.Second

// alarmBook holds what came about alarms on the wire, and when the street passed
// the thresholds. It judges one raise and one clear for each time, and live
// readings in between that begin with those from before (R3).
type alarmBook struct {
	edges  map[string][]edge    // by alarm
	live   map[string][]reading // by alarm
	gaps   map[string]bool      // streams of which the store dropped something
	on     map[string]bool
	street map[string]*crossing // by alarm
}

type edge struct {
	g, n      uint64
	raise     bool
	threshold bool
}

type reading struct {
	g, n   uint64
	before bool
	stream string
}

// crossing is one phase of a way against its threshold, in the street.
type crossing struct {
	since, below time.Duration // above the threshold; clearly below it
	above, back  bool
	due          bool // an alarm has to be active

	must, may int // times that must be noticed; that may be, besides
	cleared   int // times that it must have been taken back
}

func newAlarmBook() *alarmBook {
	return &alarmBook{
		edges: map[string][]edge{}, live: map[string][]reading{}, gaps: map[string]bool{},
		on: map[string]bool{}, street: map[string]*crossing{},
	}
}

// follow looks at the street's load.
func (a *alarmBook) follow(now time.Duration, w *bench.World, load *bench.Load) {
	for i, way := range w.Ways {
		for p := meter.L1; p < meter.Phases; p++ {
			id := fmt.Sprintf("%s.%s.i.hi", way.ID, p)
			c := a.street[id]
			if c == nil {
				c = &crossing{}
				a.street[id] = c
			}
			c.step(now, load.Ways[i].Phase[p].I, way.AlarmAt)
		}
	}
}

// step moves a crossing to now.
func (c *crossing) step(now time.Duration, amps, threshold float64) {
	above, back := amps > threshold, amps < threshold-bench.AlarmHysteresis
	if above != c.above {
		if !above && !c.due && now-c.since > bench.AlarmOnDelay/2 {
			c.may++
		}
		c.above, c.since = above, now
	}
	if back != c.back {
		c.back, c.below = back, now
	}
	switch {
	case !c.due && above && now-c.since >= bench.AlarmOnDelay+alarmMargin:
		c.due = true
		c.must++
	case c.due && back && now-c.below >= bench.AlarmOffDelay+alarmMargin:
		c.due = false
		c.cleared++
	}
}

// enter takes in one record that had not come before.
func (a *alarmBook) enter(e *bench.Entry) {
	switch kind, _, _ := strings.Cut(e.Stream, "/"); {
	case kind == "alarm":
		raise := e.Edge == "raise"
		a.edges[e.ID] = append(a.edges[e.ID], edge{e.G, e.Number, raise, e.Threshold != 0})
		a.on[e.ID] = raise
	case kind == "live":
		a.live[e.Alarm] = append(a.live[e.Alarm], reading{e.G, e.Number, e.Before, e.Stream})
	case e.Of != "":
		a.gaps[e.Of] = true
	}
}

// active returns the alarms of a way that the agent told of and did not take back.
func (a *alarmBook) active(way string) []string {
	var names []string
	for id, on := range a.on {
		if name, ours := strings.CutPrefix(id, way+"."); ours && on {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// judge counts alarms and says what is wrong with them.
func (a *alarmBook) judge(s *Summary) {
	ids := map[string]bool{}
	for id := range a.edges {
		ids[id] = true
	}
	for id, c := range a.street {
		s.AlarmsExpected += c.must
		if c.must > 0 {
			ids[id] = true
		}
	}
	var order []string
	for id := range ids {
		order = append(order, id)
		slices.SortFunc(a.edges[id], func(x, y edge) int { return numbers(x.g, x.n, y.g, y.n) })
		for _, e := range a.edges[id] {
			if e.threshold && e.raise {
				s.ThresholdRaised++
			} else if e.threshold {
				s.ThresholdCleared++
			}
		}
	}
	for _, readings := range a.live {
		for _, r := range readings {
			s.LiveReadings++
			if r.before {
				s.LiveBefore++
			}
		}
	}
	slices.Sort(order)
	for _, id := range order {
		s.judgeEdges(id, a.edges[id])
		c, street := a.street[id]
		if !street {
			continue
		}
		raised := s.judgeCount(id, c, a.edges[id])
		s.judgeLive(id, raised, a.live[id], a.gaps)
	}
}

// numbers orders two records of a stream.
func numbers(g1, n1, g2, n2 uint64) int {
	switch {
	case g1 < g2 || g1 == g2 && n1 < n2:
		return -1
	case g1 == g2 && n1 == n2:
		return 0
	default:
		return 1
	}
}

// judgeEdges: raise and clear take turns, a raise first.
func (s *Summary) judgeEdges(id string, edges []edge) {
	for i, e := range edges {
		if e.raise == (i%2 == 0) {
			continue
		}
		what := "cleared without a raise before it"
		if e.raise {
			what = "raised twice without a clear between"
		}
		s.broken("alarm %s was %s (number %d of its stream)", id, what, e.n)
		return
	}
}

// judgeCount: one raise each time that the street passes the threshold, and one
// clear when it is back. It returns the raises.
func (s *Summary) judgeCount(id string, c *crossing, edges []edge) int {
	raised := 0
	for _, e := range edges {
		if e.raise {
			raised++
		}
	}
	cleared := len(edges) - raised
	switch {
	case raised < c.must:
		s.broken("alarm %s was raised %d times; the street passed its threshold %d times", id, raised, c.must)
	case raised > c.must+c.may:
		s.broken("alarm %s was raised %d times; the street passed its threshold no more than %d times", id, raised, c.must+c.may)
	case cleared < c.cleared:
		s.broken("alarm %s was cleared %d times; the street came back under its threshold %d times", id, cleared, c.cleared)
	}
	return raised
}

// judgeLive: readings come while an alarm is active, and those from before the
// raise come first.
func (s *Summary) judgeLive(id string, raised int, live []reading, dropped map[string]bool) {
	if raised == 0 {
		if len(live) > 0 {
			s.broken("%d live readings came for alarm %s, which was never raised", len(live), id)
		}
		return
	}
	slices.SortFunc(live, func(x, y reading) int { return numbers(x.g, x.n, y.g, y.n) })
	if len(live) > 0 && dropped[live[0].stream] {
		return // the store said that it dropped some
	}
	runs := 0
	for i, r := range live {
		if !r.before && (i == 0 || live[i-1].before) {
			runs++
		}
	}
	switch {
	case runs < raised:
		s.broken("alarm %s was active %d times, live readings came for %d of them", id, raised, runs)
	case !live[0].before:
		s.broken("the live readings of alarm %s begin with the raise: those from before it are missing", id)
	case runs > raised:
		s.broken("live readings from before alarm %s came in the midst of those after it", id)
	}
}
