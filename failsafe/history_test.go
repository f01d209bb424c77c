package failsafe

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// history is a site to which anything may happen, each way and phase for itself.
type history struct {
	*site
	loads map[string]*Load
	mute  map[string]bool // actuators that do not answer
	draws map[string]Draw // of groups that are measured
}

func newHistory(t *testing.T, cfg Config) *history {
	h := &history{site: newSite(t, cfg), loads: map[string]*Load{}, mute: map[string]bool{}, draws: map[string]Draw{}}
	for _, w := range cfg.Ways {
		l := &Load{Way: w.ID}
		for p := range l.I {
			l.I[p], l.V[p], l.Quality[p], l.VQuality[p] = 50_000, 230_000, meter.Good, meter.Good
		}
		h.loads[w.ID] = l
	}
	return h
}

// mixed is a site with groups on one phase each, one on all, and contacts.
func mixed() Config {
	cfg := testConfig()
	cfg.Issuers = []string{"scada-1", "scada-2"}
	cfg.Timers.RestorePeriod = 2 * m
	for p, id := range []string{"A", "B", "C"} {
		g := Group{ID: id, Way: "W1", Rating: 64_000, Failsafe: 12_000, Connectors: 2, OptIn: consent}
		g.Phases[p] = true
		cfg.Groups = append(cfg.Groups, g)
		g.ID, g.Contact, g.Rating, g.Failsafe, g.Connectors = id+"k", true, 32_000, 0, 1
		cfg.Groups = append(cfg.Groups, g)
	}
	return cfg
}

// tell returns in with what is measured, and what actuators that obey answer.
func (h *history) tell(in Inputs) Inputs {
	in.Clock, in.Suspect, in.Switch, in.Inhibits, in.MainsLost = h.clock, h.suspect, h.at, h.inhibits, h.mains
	for _, w := range h.e.cfg.Ways {
		l := *h.loads[w.ID]
		l.At = h.now
		in.Loads = append(in.Loads, l)
	}
	for i, g := range h.s.Groups {
		read := g.Limit
		if c := &h.e.cfg.Groups[i]; c.Contact && read < c.Rating {
			read = 0
		}
		in.Feedback = append(in.Feedback, Feedback{Group: g.ID, Told: g.Limit, Limit: read, OK: !h.mute[g.ID]})
		if d, is := h.draws[g.ID]; is {
			d.At = h.now
			in.Draws = append(in.Draws, d)
		}
	}
	return in
}

// step tells the engine in, as it stands.
func (h *history) step(in Inputs) {
	h.s, h.set, h.ev, _ = h.e.Step(h.s, in, h.now, h.wall())
	if h.ev.Store {
		h.stored = h.s
	}
}

func (h *history) beats(issuer string) []Heartbeat {
	h.seq++
	return []Heartbeat{{Issuer: issuer, Epoch: 1, Seq: h.seq}}
}

// disturb changes what is measured on a way, but for the phases that are kept.
func (h *history) disturb(rt *rapid.T, way string, keep [meter.Phases]bool) {
	l := h.loads[way]
	p := rapid.IntRange(0, 2).Draw(rt, "phase")
	if keep[p] {
		return
	}
	l.I[p] = meter.Milliamps(rapid.IntRange(-300, 420).Draw(rt, "amps")) * 1000
	l.V[p] = 230_000
	l.Quality[p], l.VQuality[p], l.Frozen[p] = meter.Good, meter.Good, false
	switch rapid.IntRange(0, 5).Draw(rt, "measured") {
	case 0:
		l.Quality[p], l.VQuality[p] = meter.Missing, meter.Missing
	case 1:
		l.Quality[p] = meter.Suspect
	case 2:
		l.Frozen[p] = true
	}
}

// draw changes what a group of a way draws, or that it is measured.
func (h *history) draw(rt *rapid.T, way string) {
	var ours []Group
	for _, g := range h.e.cfg.Groups {
		if g.Way == way {
			ours = append(ours, g)
		}
	}
	g := rapid.SampledFrom(ours).Draw(rt, "whose")
	if rapid.IntRange(0, 3).Draw(rt, "seen") == 0 {
		delete(h.draws, g.ID)
		return
	}
	d := Draw{Group: g.ID, Quality: [meter.Phases]meter.Quality{meter.Good, meter.Good, meter.Good}}
	amps := meter.Milliamps(rapid.IntRange(0, 64).Draw(rt, "draws")) * 1000
	for p, on := range g.Phases {
		if on {
			d.I[p] = amps
		}
	}
	h.draws[g.ID] = d
}

// drawn is anything that may come from the centre or from people: to way, or to
// any group.
func (h *history) drawn(rt *rapid.T, issuer, way string) (in Inputs) {
	ours := []string{}
	for _, g := range h.e.cfg.Groups {
		if way == "" || g.Way == way {
			ours = append(ours, g.ID)
		}
	}
	target := Target{Groups: []string{rapid.SampledFrom(ours).Draw(rt, "group")}}
	if way != "" && rapid.Bool().Draw(rt, "whole way") {
		target = Target{Way: way}
	}
	h.seq++
	id := fmt.Sprint(issuer, h.seq)
	switch rapid.IntRange(0, 6).Draw(rt, "what") {
	case 0, 1:
		in.Limits = []LimitCommand{{ID: id, Hash: id, Issuer: issuer, Epoch: 1, Seq: h.seq, Expires: h.wall().Add(m), Class: Class(rapid.IntRange(1, 3).Draw(rt, "class")),
			Target: target, Relative: true, Amount: Amount{Amps, int64(rapid.IntRange(0, 80).Draw(rt, "amps")) * 1000},
			StartIn: time.Duration(rapid.IntRange(0, 300).Draw(rt, "start in")) * s, Duration: time.Duration(rapid.IntRange(1, 900).Draw(rt, "duration")) * s}}
	case 2:
		in.Limits = []LimitCommand{{ID: id, Hash: id, Issuer: issuer, Epoch: 1, Seq: h.seq, Expires: h.wall().Add(m), Class: Network, Target: target, Relative: true, Amount: Amount{Unit: None}}}
	case 3:
		in.Overrides = []OverrideCommand{h.override(rt, issuer, target, false)}
	case 4:
		in.Cancels = []CancelCommand{{ID: id, Issuer: issuer, Epoch: 1, Seq: h.seq, Hash: id, Expires: h.wall().Add(m), Cancels: fmt.Sprint(issuer, rapid.Uint64Range(1, h.seq).Draw(rt, "cancels"))}}
	case 5:
		in.Acks = []LockoutAck{{ID: id, Issuer: issuer, Epoch: 1, Seq: h.seq, Hash: id, Expires: h.wall().Add(m), Target: target, By: "T. Ester"}}
	}
	return in
}

func (h *history) override(rt *rapid.T, issuer string, target Target, local bool) OverrideCommand {
	id := fmt.Sprint(issuer, h.seq)
	return OverrideCommand{ID: id, Hash: id, Issuer: issuer, Epoch: 1, Seq: h.seq, Expires: h.wall().Add(m), Local: local, Target: target,
		Kind: OverrideKind(rapid.IntRange(1, 4).Draw(rt, "kind")), Amount: Amount{Amps, 9_000}, By: "T. Ester",
		For: time.Duration(rapid.IntRange(1, 1800).Draw(rt, "for")) * s}
}

// live brings a history to where the centre is heard and has spoken.
func (h *history) live() {
	for range 4 {
		h.now += 30 * s
		h.step(h.tell(Inputs{Heartbeats: h.beats("scada-1")}))
	}
	for _, w := range h.e.cfg.Ways {
		h.step(h.tell(Inputs{Limits: h.none(w.ID)}))
	}
}

// none is the statement that nothing limits a way.
func (h *history) none(way string) []LimitCommand {
	h.seq++
	id := fmt.Sprint("none", h.seq)
	return []LimitCommand{{ID: id, Hash: id, Issuer: "scada-1", Epoch: 1, Seq: h.seq, Expires: h.wall().Add(m), Class: Network,
		Target: Target{Way: way}, Relative: true, Amount: Amount{Unit: None}}}
}

// Whatever comes, from afar or from time itself: no limit goes up on a phase that
// is not measured well at that moment, on one on which a fuse is suspected, on one
// that is above its rating, nor in a group that an input inhibits.
// No heartbeat, command, override from afar or acknowledgement makes it otherwise.
// A person on site may raise what is not measured, and nothing else of it.
func TestNothingIsRaisedBlindly(t *testing.T) {
	raises := 0
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t, mixed())
		h.live()
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			h.now += time.Duration(rapid.SampledFrom([]int{1, 1, 5, 10, 30, 60, 119, 121}).Draw(rt, "seconds")) * s
			in := Inputs{}
			switch rapid.IntRange(0, 9).Draw(rt, "event") {
			case 0, 1:
				in = h.drawn(rt, "scada-1", rapid.SampledFrom([]string{"W1", "W2"}).Draw(rt, "way"))
			case 2, 3, 4:
				h.disturb(rt, "W1", [3]bool{})
			case 5:
				h.inhibits = []string{rapid.SampledFrom([]string{"", "A", "Bk", "G2"}).Draw(rt, "inhibit")}
			case 7:
				h.draw(rt, "W1")
			case 8:
				h.mute["A"] = rapid.Bool().Draw(rt, "mute")
			case 6:
				h.seq++
				in.Overrides = []OverrideCommand{h.override(rt, "local", Target{Way: "W1"}, true)}
			}
			if rapid.IntRange(0, 9).Draw(rt, "heard") > 0 {
				in.Heartbeats = h.beats("scada-1")
			}
			before := h.s
			in = h.tell(in)
			h.step(in)
			for i, g := range h.s.Groups {
				cfg := &h.e.cfg.Groups[i]
				if slices.Contains(h.inhibits, g.ID) && g.Limit > 0 {
					rt.Fatalf("%s is inhibited and at %d", g.ID, g.Limit)
				}
				if g.Limit <= before.Groups[i].Limit {
					continue
				}
				raises++
				person := slices.ContainsFunc(h.s.Overrides, func(o Override) bool {
					return o.Local && o.Kind == Release && slices.Contains(o.Groups, g.ID)
				})
				l := h.loads[cfg.Way]
				for p, on := range cfg.Phases {
					if !on {
						continue
					}
					switch {
					case l.Quality[p] == meter.Good && l.I[p]*1000/h.e.cfg.Ways[h.e.way(cfg.Way)].Rating[p] > 1000:
						rt.Fatalf("%s went up from %d to %d (%s) with %d mA on L%d", g.ID, before.Groups[i].Limit, g.Limit, g.Rule, l.I[p], p+1)
					case l.Quality[p] != meter.Good && !person, l.Frozen[p]:
						rt.Fatalf("%s went up from %d to %d (%s) with L%d %v, frozen %v", g.ID, before.Groups[i].Limit, g.Limit, g.Rule, p+1, l.Quality[p], l.Frozen[p])
					}
				}
			}
		}
	})
	if raises == 0 {
		t.Error("nothing ever went up")
	}
}

// part is all that a state says of one way, with what it knows of its groups and
// the commands to them.
func (h *history) part(way string) any {
	type all struct {
		Way         WayState
		Groups      []GroupState
		Constraints []Constraint
		Commands    []Command
	}
	p := all{Way: h.way(way)}
	for i, g := range h.s.Groups {
		if h.e.cfg.Groups[i].Way == way {
			p.Groups = append(p.Groups, g)
		}
	}
	for _, c := range h.s.Constraints {
		if c.Way == way {
			p.Constraints = append(p.Constraints, c)
		}
	}
	for _, c := range h.s.Commands {
		if c.Way == way || len(c.Groups) > 0 && h.e.cfg.Groups[h.e.group(c.Groups[0])].Way == way {
			p.Commands = append(p.Commands, c)
		}
	}
	return p
}

// What happens on one way (overloads, lost meters, fuses, commands, people,
// actuators that do not answer) changes nothing on another, to the last member of
// its state.
func TestOneWayKnowsNothingOfAnother(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x, y := newHistory(t, mixed()), newHistory(t, mixed())
		x.live()
		y.live()
		for range rapid.IntRange(10, 40).Draw(rt, "steps") {
			d := time.Duration(rapid.SampledFrom([]int{1, 5, 30, 60, 119, 121}).Draw(rt, "seconds")) * s
			x.now, y.now = x.now+d, y.now+d
			in := Inputs{}
			switch rapid.IntRange(0, 5).Draw(rt, "event on W1") {
			case 0:
				in = x.drawn(rt, "scada-1", "W1")
			case 1:
				x.disturb(rt, "W1", [3]bool{})
				*y.loads["W1"] = *x.loads["W1"]
			case 2:
				x.draw(rt, "W1")
				y.draws = maps.Clone(x.draws)
			case 3:
				x.mute["A"] = rapid.Bool().Draw(rt, "A is mute")
				y.mute["A"] = x.mute["A"]
			}
			if rapid.IntRange(0, 9).Draw(rt, "heard") > 0 {
				in.Heartbeats = x.beats("scada-1")
			}
			other := in
			switch rapid.IntRange(0, 4).Draw(rt, "event on W2") {
			case 0:
				more := y.drawn(rt, "scada-2", "W2")
				other.Limits = append(slices.Clone(in.Limits), more.Limits...)
				other.Overrides = append(slices.Clone(in.Overrides), more.Overrides...)
				other.Acks = append(slices.Clone(in.Acks), more.Acks...)
				other.Cancels = append(slices.Clone(in.Cancels), more.Cancels...)
			case 1:
				y.disturb(rt, "W2", [3]bool{})
			case 2:
				y.mute["G3"] = rapid.Bool().Draw(rt, "mute")
			case 3:
				y.draw(rt, "W2")
			}
			x.step(x.tell(in))
			y.step(y.tell(other))
			if a, b := fmt.Sprintf("%+v", x.part("W1")), fmt.Sprintf("%+v", y.part("W1")); a != b {
				rt.Fatalf("W1 alone is\n%s\nwith another W2\n%s", a, b)
			}
		}
	})
}

// A phase is no other: whatever is measured on L2 and L3, the groups on L1 alone
// have the limits that they have without it.
func TestOnePhaseKnowsNothingOfAnother(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := mixed()
		cfg.Groups = slices.DeleteFunc(cfg.Groups, func(g Group) bool { return g.ID == "G2" }) // it is on all
		x, y := newHistory(t, cfg), newHistory(t, cfg)
		x.live()
		y.live()
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			d := time.Duration(rapid.SampledFrom([]int{1, 5, 30, 60, 119, 121}).Draw(rt, "seconds")) * s
			x.now, y.now = x.now+d, y.now+d
			in := Inputs{}
			switch rapid.IntRange(0, 4).Draw(rt, "event") {
			case 0:
				in = x.drawn(rt, "scada-1", "W1")
			case 3:
				x.draw(rt, "W1")
				y.draws = maps.Clone(x.draws)
			case 1:
				x.disturb(rt, "W1", [3]bool{false, true, true})
				a, b := x.loads["W1"], y.loads["W1"]
				b.I[0], b.Quality[0], b.VQuality[0], b.Frozen[0] = a.I[0], a.Quality[0], a.VQuality[0], a.Frozen[0]
			case 2:
				y.disturb(rt, "W1", [3]bool{true, false, false})
			}
			if rapid.IntRange(0, 9).Draw(rt, "heard") > 0 {
				in.Heartbeats = x.beats("scada-1")
			}
			x.step(x.tell(in))
			y.step(y.tell(in))
			for i, g := range x.s.Groups {
				if !cfg.Groups[i].Phases[0] || cfg.Groups[i].Way != "W1" {
					continue
				}
				if o := y.s.Groups[i]; g.Limit != o.Limit || g.Rule != o.Rule {
					rt.Fatalf("%s at %d (%s), with other currents on L2 and L3 at %d (%s)", g.ID, g.Limit, g.Rule, o.Limit, o.Rule)
				}
			}
		}
	})
}

// An override ends no later than it said, and leaves nothing behind: once the ramp
// is over each group has what it would have had without it, over crashes too.
func TestAnOverrideLeavesNothingBehind(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := mixed()
		cfg.Ways[1].Rating = cfg.Ways[0].Rating
		x, y := newHistory(t, cfg), newHistory(t, cfg)
		x.live()
		y.live()
		y.seq++
		o := y.override(rt, "scada-2", Target{Way: rapid.SampledFrom([]string{"W1", "W2"}).Draw(rt, "way")}, rapid.Bool().Draw(rt, "local"))
		began := y.now
		given := Inputs{Overrides: []OverrideCommand{o}}
		silent := rapid.Bool().Draw(rt, "in silence")
		for range rapid.IntRange(5, 30).Draw(rt, "steps") {
			d := time.Duration(rapid.SampledFrom([]int{1, 10, 30, 60, 100}).Draw(rt, "seconds")) * s
			x.now, y.now = x.now+d, y.now+d
			in := Inputs{}
			if rapid.IntRange(0, 3).Draw(rt, "event") == 0 {
				in = x.drawn(rt, "scada-1", rapid.SampledFrom([]string{"W1", "W2"}).Draw(rt, "to"))
				in.Overrides, in.Acks = nil, nil
			}
			if !silent {
				in.Heartbeats = x.beats("scada-1")
			}
			if given.Overrides != nil {
				began = y.now
			}
			x.step(x.tell(in))
			in.Overrides = given.Overrides
			given.Overrides = nil
			y.step(y.tell(in))
			if y.now-began >= o.For && len(y.s.Overrides) > 0 {
				rt.Fatalf("after %v of %v: %+v", y.now-began, o.For, y.s.Overrides)
			}
			if rapid.IntRange(0, 9).Draw(rt, "crash") == 0 {
				began -= y.now
				x.restart(x.s, 0)
				y.restart(y.s, 0)
			}
		}
		for range 2 * 120 { // two hours: every limit, override and ramp is over
			x.now, y.now = x.now+30*s, y.now+30*s
			in := Inputs{}
			if !silent {
				in.Heartbeats = x.beats("scada-1")
			}
			x.step(x.tell(in))
			y.step(y.tell(in))
		}
		if len(y.s.Overrides) > 0 {
			rt.Fatalf("it has not ended: %+v", y.s.Overrides)
		}
		for i, g := range x.s.Groups {
			if got := y.s.Groups[i]; got.Limit != g.Limit || got.Rule != g.Rule || x.s.Ways[0].State != y.s.Ways[0].State {
				rt.Fatalf("%s at %d (%s), without the override that is over %d (%s)", g.ID, got.Limit, got.Rule, g.Limit, g.Rule)
			}
		}
	})
}

// Where nothing changes nothing is written; and a link that comes and goes, in
// whatever rhythm, moves a way from one state to another no more than it was lost
// and found, and never up within the time that it must be back.
func TestQuietWhereNothingChanges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t, mixed())
		h.live()
		for range rapid.IntRange(0, 20).Draw(rt, "steps") {
			h.now += time.Duration(rapid.IntRange(1, 100).Draw(rt, "seconds")) * s
			in := Inputs{}
			if rapid.Bool().Draw(rt, "order") {
				in = h.drawn(rt, "scada-1", "W1")
			} else {
				h.disturb(rt, "W1", [3]bool{})
			}
			in.Heartbeats = h.beats("scada-1")
			h.step(h.tell(in))
		}
		// Every limit runs out; what is measured stays within 80 % or is not: near
		// the target contacts take turns, for ever.
		for p := range h.loads["W1"].I {
			h.loads["W1"].I[p] = min(h.loads["W1"].I[p], 150_000)
		}
		beating := rapid.Bool().Draw(rt, "beating")
		for n := range 4 * 120 {
			h.now += 30 * s
			in := Inputs{}
			if beating {
				in.Heartbeats = h.beats("scada-1")
			}
			before := h.s
			h.step(h.tell(in))
			if n > 3*120 && (len(h.set) > 0 || len(h.ev.Transitions) > 0 || len(h.ev.Conditions) > 0 || len(h.ev.Acks) > 0) {
				rt.Fatalf("after three hours of nothing new: %+v %+v, was %+v", h.set, h.ev, before.Groups)
			}
		}
		h.live()
		up := h.now
		moves := 0
		began := h.now
		gaps := 0
		silent := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(rt, "beats") {
			gap := time.Duration(rapid.SampledFrom([]int{30, 30, 60, 119, 121, 125, 300}).Draw(rt, "gap")) * s
			for end := h.now + gap; h.now < end; {
				h.now += s
				silent += s
				in := Inputs{}
				if h.now >= end {
					in.Heartbeats = h.beats("scada-1")
					in.Limits = h.none("W1")
				}
				was := h.way("W1")
				h.step(h.tell(in))
				if in.Heartbeats != nil {
					if silent >= h.e.cfg.Timers.HeartbeatTimeout {
						gaps, up = gaps+1, h.now
					}
					silent = 0
				}
				for _, tr := range h.ev.Transitions {
					if tr.Way != "W1" {
						continue
					}
					moves++
					if tr.From == Probation && !tr.To.restricted() && (h.now-up < h.e.Stable(&was, h.now) || silent > h.e.cfg.Timers.HeartbeatTimeout) {
						rt.Fatalf("left probation for %v %v after the link was back, %v since a heartbeat", tr.To, h.now-up, silent)
					}
				}
			}
		}
		if most := 4*(gaps+1) + 4; moves > most {
			rt.Fatalf("%d changes of state in %v, with the link lost %d times", moves, h.now-began, gaps)
		}
	})
}

// A heartbeat that is retained, old, of an earlier epoch, or of somebody else,
// changes nothing at all.
func TestFalseHeartbeatsChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t, mixed())
		if rapid.Bool().Draw(rt, "heard before") {
			h.live()
		}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			h.now += time.Duration(rapid.SampledFrom([]int{1, 30, 60, 119, 121}).Draw(rt, "seconds")) * s
			in := Inputs{}
			if rapid.Bool().Draw(rt, "heard") {
				in.Heartbeats = h.beats("scada-1")
			}
			in = h.tell(in)
			wrong := []Heartbeat{{"scada-1", 9, h.seq + 9, true}, {"mallory", 1, h.seq + 9, false}, {"", 0, 0, false}}
			for _, k := range h.s.Tokens {
				wrong = append(wrong, Heartbeat{k.Issuer, k.Epoch, k.Seq - rapid.Uint64Range(0, k.Seq).Draw(rt, "older"), false}, Heartbeat{k.Issuer, k.Epoch - 1, k.Seq + 9, false})
			}
			with := in
			with.Heartbeats = slices.Insert(slices.Clone(in.Heartbeats), 0, rapid.SliceOfN(rapid.SampledFrom(wrong), 1, 3).Draw(rt, "false")...)
			after, set, _, _ := h.e.Step(h.s, with, h.now, h.wall())
			h.step(in)
			if digest(&after) != digest(&h.s) || len(set) != len(h.set) {
				rt.Fatalf("%+v made a difference", with.Heartbeats)
			}
		}
	})
}

// The limit of a group is the group's: how many connectors share it is no factor
// of it, whoever sets it.
func TestALimitIsForAllConnectorsTogether(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		one, many := mixed(), mixed()
		for g := range many.Groups {
			one.Groups[g].Connectors, many.Groups[g].Connectors = 1, rapid.IntRange(2, 40).Draw(rt, "connectors")
		}
		x, y := newHistory(t, one), newHistory(t, many)
		x.live()
		y.live()
		for range rapid.IntRange(5, 40).Draw(rt, "steps") {
			d := time.Duration(rapid.SampledFrom([]int{1, 5, 30, 60, 121}).Draw(rt, "seconds")) * s
			x.now, y.now = x.now+d, y.now+d
			in := Inputs{}
			if rapid.Bool().Draw(rt, "order") {
				in = x.drawn(rt, "scada-1", rapid.SampledFrom([]string{"W1", "W2"}).Draw(rt, "way"))
			}
			if rapid.IntRange(0, 3).Draw(rt, "heard") > 0 {
				in.Heartbeats = x.beats("scada-1")
			}
			x.step(x.tell(in))
			y.step(y.tell(in))
			for g := range x.s.Groups {
				if a, b := x.s.Groups[g].Limit, y.s.Groups[g].Limit; a != b {
					rt.Fatalf("%s with one connector has %d, with %d it has %d", x.s.Groups[g].ID, a, many.Groups[g].Connectors, b)
				}
			}
		}
	})
}
