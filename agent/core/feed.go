package core

import (
	"fmt"
	"time"

	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
	"lvagent/meter/alarm"
	"lvagent/meter/window"
)

// feed is what is made of one way's readings; the transformer is one too.
type feed struct {
	id      string
	window  *window.Window
	machine *alarm.Machine
	live    *alarm.Live
	last    meter.Reading // for people who look
}

// buildFeeds makes a feed for each way and, where the site has a transformer,
// one for it: as its own meter says, or the sum of the ways.
func (l *Loop) buildFeeds() {
	cfg := l.Config
	l.budget = alarm.Budget{PerSecond: cfg.Live.PerSecond, Burst: cfg.Live.Burst}
	var feeders []alarm.Feeder
	slowest := time.Duration(0) // the sum can't come more often than its last part
	var measured *alarm.Feeder
	for i, w := range cfg.Ways {
		poll := cfg.PollOf(&w)
		slowest = max(slowest, poll)
		var rating [meter.Phases]meter.Milliamps
		for p, a := range w.Rating {
			rating[p] = meter.Milliamps(configs.Milli(a))
		}
		l.addFeed(i, w.ID, poll, configs.PhaseSet(w.Phases), rating)
		feeder := alarm.Feeder{Way: w.ID, Phases: configs.PhaseSet(w.Phases), Hold: poll * 5 / 2}
		if w.IsIncomer() {
			measured = &feeder
		} else {
			feeders = append(feeders, feeder)
		}
	}
	if firm := cfg.Site.FirmCurrent(); firm > 0 {
		every := [meter.Phases]bool{true, true, true}
		l.addFeed(len(cfg.Ways), failsafe.TX, slowest, every, [meter.Phases]meter.Milliamps{firm, firm, firm})
		l.transformer = alarm.NewTransformer(feeders, slowest)
		if measured != nil {
			l.transformer.MeasuredBy(*measured)
		}
	}
}

func (l *Loop) addFeed(i int, id string, poll time.Duration, phases [meter.Phases]bool, rating [meter.Phases]meter.Milliamps) {
	live := &l.Config.Live
	m, err := alarm.New(l.Config.Conditions(id, phases, poll), l.Config.Rules(id, phases))
	if err != nil {
		panic(fmt.Sprintf("alarms of %s: %v", id, err)) // the site file was checked
	}
	l.feeds = append(l.feeds, feed{
		id: id, machine: m,
		window: l.newWindow(id, poll, phases),
		live: alarm.NewLive(alarm.LiveConfig{
			Poll: poll, Rating: max(rating[0], rating[1], rating[2]), Budget: &l.budget,
			Heartbeat: live.Heartbeat, Before: live.Before, Tail: live.Tail, Gap: live.Gap,
			KeepAfter: l.Config.Recorder.After, KeepEvery: l.Config.Recorder.Every,
		}),
	})
	l.loads = append(l.loads, failsafe.Load{Way: id})
	l.ways[id] = i
}

// takeReading feeds a reading to all that is made of its way, and what it says of
// the transformer to all that is made of that.
func (l *Loop) takeReading(r *meter.Reading) {
	i, ok := l.ways[r.Way]
	if !ok {
		l.takeDraw(r)
		return
	}
	l.feedReading(i, r)
	if l.transformer != nil {
		l.feedTransformer(l.transformer.Add(r))
	}
}

// feedTransformer feeds a reading of the transformer, if there is one.
func (l *Loop) feedTransformer(r *meter.Reading) {
	if r == nil {
		return
	}
	tx := len(l.feeds) - 1
	l.feedReading(tx, r)
	if l.transformer.Summed() {
		l.feeds[tx].window.Remark(meter.Summed)
	}
}

func (l *Loop) feedReading(i int, r *meter.Reading) {
	f := &l.feeds[i]
	f.last = *r
	f.window.Add(r)
	load := &l.loads[i]
	load.At = r.At.Truncate(grain)
	for p := range r.Phase {
		ph := &r.Phase[p]
		load.V[p], load.VQuality[p] = ph.V.Value, ph.V.Quality
		load.Quality[p] = min(ph.I.Quality, ph.P.Quality)
		load.I[p] = ph.I.Value
		if ph.P.Value < 0 {
			load.I[p] = -ph.I.Value
		}
	}
	wall := l.Wall().Add(r.At - l.Now()) // when it was taken
	if l.Live != nil {
		l.Live.Reading(r, wall)
	}
	if l.Points != nil {
		l.Points.Reading(r, wall)
	}
	l.loading[i].Add(r)
	l.followEVs(i, r)
	if i < len(l.supply) {
		l.supply[i].Add(r, wall, l.clockWas)
		l.wiring[i].Add(r, wall, l.clockWas)
		if l.balance != nil {
			l.balance.Add(r)
		}
	}
	l.alarms.tell(l, f.machine.Add(r, wall))
	for p := range load.Frozen {
		load.Frozen[p] = l.frozen(i, meter.Phase(p))
		load.Unfed[p] = f.machine.Stands(alarm.FuseSuspected, meter.Phase(p))
	}
	id, stands := f.machine.Live()
	sent := f.live.Add(r, wall, stands, id)
	if l.Recorder != nil {
		kept := f.live.Kept()
		for j := range kept {
			l.Recorder.Record(&kept[j].Reading, kept[j].T)
		}
	}
	for j := range sent {
		out := &sent[j]
		m := message.LiveReading{T: out.T, Before: out.Before, Alarm: out.Alarm, Reading: &out.Reading}
		l.Outbox.Store(false, []outbox.Record{{Stream: message.LiveStream(f.id), At: out.T, Body: message.AppendLive(nil, l.agent, &m)}})
	}
}

// frozen reports whether nothing may be raised on a phase of a way: a fuse is
// suspected, or nobody knows what hangs on it.
func (l *Loop) frozen(i int, p meter.Phase) bool {
	_, abnormal := l.topologyOf(l.feeds[i].id)
	return abnormal || l.feeds[i].machine.Stands(alarm.FuseSuspected, p)
}
