package hwtest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"lvagent/hwtest/bench"
)

// demo is one run. One goroutine owns it.
type demo struct {
	cfg      DemoConfig
	report   Reporter
	program  string
	folder   string
	cleanups []func()

	world  *bench.World
	meters *bench.Meters
	link   *bench.Link
	centre *bench.Centre
	agent  *bench.Agent
	ledger *bench.Ledger

	story    story
	beating  bool
	lastBeat time.Duration
	sent     map[string]command // by id
	awaited  []command          // statements without an answer
	states   map[string]string  // by way, as the agent last told: for the picture only
	alarms   *alarmBook
	seen     int    // writes of the trace that were looked at
	entered  []bool // by way, in the silence
	left     []bool
	silence  failsafeWatch

	picture *Picture
	scene   string
	watched time.Duration // last look for the picture
	shown   time.Duration // last time that the picture was shown
}

// failsafeWatch measures the time above rating from when failsafe had to be in
// force until the centre spoke.
type failsafeWatch struct {
	open, closed bool
	before       time.Duration // above rating until then
}

// command is one that the centre sent.
type command struct {
	id, way   string
	index     int
	at        time.Duration
	statement bool
	silence   bool // a statement after the silence
}

// step is one line of the script: what is done as soon as ready says so.
type step struct {
	ready func(now time.Duration) bool
	do    func(now time.Duration) error
}

// script returns the evening, in order.
func (d *demo) script() []step {
	p, st := d.cfg.Pace, &d.story
	part := func(percent int) func(time.Duration) bool {
		return func(now time.Duration) bool { return now >= d.at(percent) }
	}
	return []step{
		{ // The agent is there and has heard a few heartbeats.
			func(now time.Duration) bool { return st.online > 0 && now >= st.online+4*p.HeartbeatPeriod },
			func(now time.Duration) error {
				d.scene = "The centre states no limit: charging is released in steps."
				d.event(now, "", "centre states: no limit on any way")
				return d.state(now, false)
			},
		},
		{part(atLimit), d.sendLimit},
		{part(atCut), d.cut},
		{part(atReturn), d.restore},
		{ // Heartbeats alone must not release anything: give them time to.
			func(now time.Duration) bool {
				if st.back == 0 {
					return now >= st.returned+backLimit
				}
				return now >= d.at(atStatement) && now >= st.back+p.Stable+4*p.HeartbeatPeriod
			},
			func(now time.Duration) error {
				d.closeFailsafe()
				if st.back == 0 {
					return nil // the verdict says so
				}
				d.scene = "The centre has spoken: charging comes back in steps."
				d.event(now, "", "heartbeats steady for %v; centre states again: no limit on any way", brief(now-st.back))
				return d.state(now, true)
			},
		},
		{
			func(now time.Duration) bool {
				last := d.at(100)
				for _, at := range st.statement {
					if at > 0 {
						last = max(last, at+p.Recover)
					}
				}
				return now >= last || now >= d.at(100) && d.allLeft()
			},
			func(now time.Duration) error {
				st.end, st.endWall = now, time.Now()
				d.scene = "The evening is over: waiting for what is still on its way."
				d.event(now, "", "the evening is over; waiting for what is still on its way")
				return nil
			},
		},
		{
			func(now time.Duration) bool { return d.drained() || now >= st.end+p.Drain },
			func(time.Duration) error { return nil },
		},
	}
}

// play runs the script and stops the agent.
func (d *demo) play(ctx context.Context) error {
	d.beating = true
	d.entered, d.left = make([]bool, len(d.world.Ways)), make([]bool, len(d.world.Ways))
	d.show(d.meters.Now())
	steps := d.script()
	ticker := time.NewTicker(min(tick, d.cfg.Pace.HeartbeatPeriod/4))
	defer ticker.Stop()
	for len(steps) > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%v of %v)", ErrInterrupted, brief(d.meters.Now()), d.cfg.For)
		case err := <-d.centre.Lost():
			return fmt.Errorf("the bench lost its own connection to the broker: %w", err)
		case m := <-d.centre.Heard():
			d.hear(m)
			continue
		case <-d.agent.Done():
			if d.story.online == 0 {
				return d.agent.Err()
			}
			d.story.exit = d.agent.Err()
			d.event(d.meters.Now(), "", "%v", d.story.exit)
			return nil
		case <-ticker.C:
		}
		now := d.meters.Now()
		if err := d.tick(now); err != nil {
			return err
		}
		if steps[0].ready(now) {
			if err := steps[0].do(now); err != nil {
				return err
			}
			steps = steps[1:]
		}
		if d.story.online == 0 && now > d.story.started+onlineLimit {
			return fmt.Errorf("no word from the agent within %v of its start; its last lines:\n  %s",
				onlineLimit, strings.Join(d.agent.Tail(), "\n  "))
		}
	}
	return d.stop()
}

// stop stops the agent and hears its last words.
func (d *demo) stop() error {
	begin := d.meters.Now()
	took, err := d.agent.Stop(stopWithin)
	d.story.stop, d.story.stopErr = max(took, 1), err
	for {
		select {
		case m := <-d.centre.Heard():
			d.hear(m)
			continue
		case <-time.After(2 * d.cfg.Pace.HeartbeatPeriod):
		}
		break
	}
	d.watchRegisters()
	d.event(begin+took, "", "agent stopped in %v", brief(took))
	return nil
}

// tick moves the world on, sends what is due and shows what changed.
func (d *demo) tick(now time.Duration) error {
	d.meters.Step(now, d.share(now))
	if d.beating && now-d.lastBeat >= d.cfg.Pace.HeartbeatPeriod {
		d.lastBeat = now
		if err := d.centre.Heartbeat(time.Now()); err != nil {
			return err
		}
	}
	for _, c := range d.awaited {
		if now-c.at < repeatAfter {
			continue
		}
		d.drop(c.id)
		if err := d.stateOne(now, c.index, c.silence); err != nil {
			return err
		}
		break // the rest at the next tick: the list has changed
	}
	d.openFailsafe(now)
	d.watchRegisters()
	load := d.meters.Load()
	d.alarms.follow(now, d.world, &load)
	d.show(now)
	return nil
}

// openFailsafe starts the count once failsafe had to be in force.
func (d *demo) openFailsafe(now time.Duration) {
	due := d.story.lastBeat + d.cfg.Pace.HeartbeatTimeout + d.cfg.Pace.Act
	if d.story.lastBeat > 0 && now >= due && !d.silence.open {
		d.silence.open = true
		d.silence.before, _ = d.meters.AboveRating()
	}
}

// closeFailsafe ends the count.
func (d *demo) closeFailsafe() {
	if d.silence.open && !d.silence.closed {
		d.silence.closed = true
		was, _ := d.meters.AboveRating()
		d.story.overInFailsafe = was - d.silence.before
	}
}

func (d *demo) sendLimit(now time.Duration) error {
	way := d.world.Ways[limitedWay].ID
	amps := float64(limitAmps)
	lasts := min(limitLasts, d.at(atCut)-d.at(atLimit)-4*d.cfg.Pace.HeartbeatPeriod)
	id, err := d.centre.Limit(time.Now(), bench.Limit{Way: way, Amps: &amps, Duration: lasts})
	if err != nil {
		return err
	}
	d.story.limited = now
	d.sent[id] = command{id: id, way: way, index: limitedWay, at: now}
	d.picture.Signals = append(d.picture.Signals, slot(d.share(now)))
	d.scene = fmt.Sprintf("A load-management signal: %s holds its charging to %d A per group and phase.", way, limitAmps)
	d.event(now, way, "load-management signal: %d A per group and phase for %v", limitAmps, lasts)
	return nil
}

func (d *demo) cut(now time.Duration) error {
	d.link.Cut()
	d.beating = false
	d.story.lastBeat = d.lastBeat
	d.scene = fmt.Sprintf("The link is cut, the centre silent: after %v every way falls to failsafe.", d.cfg.Pace.HeartbeatTimeout)
	d.event(now, "", "the link to the broker is cut, the centre is silent")
	return nil
}

func (d *demo) restore(now time.Duration) error {
	if err := d.link.Restore(); err != nil {
		return err
	}
	d.beating, d.story.returned = true, now
	d.scene = "Link and heartbeats are back. Without a statement every limit stays."
	d.event(now, "", "link and heartbeats back; no statement yet, so every limit must stay")
	return nil
}

// state sends the statement "no limit" for each way.
func (d *demo) state(now time.Duration, silence bool) error {
	d.picture.Statements = append(d.picture.Statements, slot(d.share(now)))
	for i := range d.world.Ways {
		if err := d.stateOne(now, i, silence); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) stateOne(now time.Duration, way int, silence bool) error {
	if silence && d.story.statement[way] == 0 {
		d.story.statement[way] = d.meters.Now()
	}
	c := command{way: d.world.Ways[way].ID, index: way, at: now, statement: true, silence: silence}
	var err error
	if c.id, err = d.centre.Limit(time.Now(), bench.Limit{Way: c.way}); err != nil {
		return err
	}
	d.sent[c.id] = c
	d.awaited = append(d.awaited, c)
	return nil
}

// drop takes a statement off the list of those without an answer.
func (d *demo) drop(id string) {
	kept := d.awaited[:0]
	for _, c := range d.awaited {
		if c.id != id {
			kept = append(kept, c)
		}
	}
	d.awaited = kept
}

// hear takes in one message of the agent.
func (d *demo) hear(m bench.Message) {
	now := d.meters.Now()
	kind, _, _ := strings.Cut(strings.TrimPrefix(m.Topic, "up/"), "/")
	switch kind {
	case "status":
		d.centre.Forget(m.Topic)
		d.status(now, m.Payload)
	case "failsafe":
		d.centre.Forget(m.Topic)
		d.failsafe(m.Payload)
	case "meta", "groups", "alarmstate":
		d.centre.Forget(m.Topic)
	case "ack":
		d.ack(now, m.Payload)
	case "audit":
		if numbered(m.Payload) {
			d.record(now, m)
		}
	case "hh", "alarm", "live", "hist", "gap":
		d.record(now, m)
	}
}

// status notes when the agent came, and came back.
func (d *demo) status(now time.Duration, payload []byte) {
	var s struct{ State, Boot, Version string }
	if json.Unmarshal(payload, &s) != nil {
		return
	}
	switch {
	case s.State != "online":
		d.event(now, "", "status %s", s.State)
	case d.story.online == 0:
		d.story.online = now
		d.event(now, "", "status online, %v after the start (version %s)", brief(now-d.story.started), s.Version)
	case d.story.returned > 0 && d.story.back == 0:
		d.story.back = now
		d.event(now, "", "status online again, %v after the link came back", brief(now-d.story.returned))
	}
}

// failsafe notes the state the agent tells, for the table.
func (d *demo) failsafe(payload []byte) {
	var f struct {
		Ways map[string]struct{ State string }
	}
	if json.Unmarshal(payload, &f) != nil {
		return
	}
	for way, s := range f.Ways {
		d.states[way] = strings.ToLower(s.State)
	}
}

// ack notes the answers to commands. Those of the limit are shown, rung by rung.
func (d *demo) ack(now time.Duration, payload []byte) {
	if numbered(payload) {
		_, _ = d.ledger.Add(payload) // counted there
	}
	var a struct{ ID, Stage, Code string }
	if json.Unmarshal(payload, &a) != nil {
		return
	}
	c, ours := d.sent[a.ID]
	if !ours {
		return
	}
	d.drop(a.ID)
	after := brief(now - c.at)
	if a.Stage == "rejected" {
		d.event(now, c.way, "command %s rejected after %v: %s", a.ID, after, a.Code)
		return
	}
	switch {
	case !c.statement:
		d.story.limitAck = true
		if a.Stage == "completed" && d.story.lastBeat == 0 {
			d.scene = "The signal is over, charging is free again; the peak of the evening is near."
		}
		d.event(now, c.way, "limit %s after %v", a.Stage, after)
	case c.silence:
		d.story.stated[c.index] = true
	}
}

// numbered reports whether a message carries a stream and a number.
func numbered(payload []byte) bool {
	var r bench.Entry
	return json.Unmarshal(payload, &r) == nil && r.Stream != "" && r.Number > 0
}

// record enters a record into the ledger and shows what a person wants to see.
func (d *demo) record(now time.Duration, m bench.Message) {
	entries, err := d.ledger.Add(m.Payload)
	if err != nil {
		d.event(now, "", "%s: %v", m.Topic, err)
	}
	for _, e := range entries {
		if !e.New {
			continue
		}
		d.alarms.enter(&e)
		switch {
		case strings.HasPrefix(e.Stream, "hh/"):
			if d.story.first == 0 {
				d.story.first = now
				d.event(now, e.Way, "first half-hour record %v after the start: %s to %s", brief(now-d.story.started),
					e.Start.UTC().Format("15:04:05"), e.End.UTC().Format("15:04:05"))
			}
		case strings.HasPrefix(e.Stream, "alarm/"):
			d.alarm(now, &e)
		case e.Of != "":
			d.event(now, "", "gap in %s from %d to %d: %s", e.Of, e.From, e.To, e.Why)
		}
	}
}

// alarm shows one edge of an alarm; not every alarm has a threshold.
func (d *demo) alarm(now time.Duration, e *bench.Entry) {
	name := strings.TrimPrefix(e.ID, e.Way+".")
	if e.Threshold == 0 {
		d.event(now, e.Way, "alarm %s %s", name, e.Edge)
		return
	}
	d.event(now, e.Way, "alarm %s %s: %.1f, threshold %.1f", name, e.Edge, e.Value, e.Threshold)
}

// watchRegisters shows when ways fall to their failsafe limit and rise again.
func (d *demo) watchRegisters() {
	trace := bench.Trace{World: d.world, Writes: d.meters.Trace()}
	for _, w := range trace.Writes[d.seen:] {
		g := &d.world.Groups[w.Group]
		i, way := g.Way, d.world.Ways[g.Way].ID
		st := &d.story
		switch {
		case st.limited > 0 && i == limitedWay && st.lastBeat == 0 && d.followed(trace, w.At):
			d.event(w.At, way, "registers at the limit %v after the signal", brief(w.At-st.limited))
		case st.lastBeat > 0 && w.At > st.lastBeat && !d.entered[i] && trace.Held(i, w.At, bench.ToFailsafe):
			d.entered[i] = true
			if !slices.Contains(d.entered, false) && st.returned == 0 {
				d.scene = "Silence: every way is held at its failsafe limit until the centre speaks."
			}
			d.event(w.At, way, "registers at failsafe %v after the last heartbeat", brief(w.At-st.lastBeat))
		case d.entered[i] && !d.left[i] && st.end == 0 && !g.AtMost(w.Percent, g.Failsafe):
			d.left[i] = true
			if at := st.statement[i]; at > 0 {
				d.event(w.At, way, "registers rise %v after the statement", brief(w.At-at))
			} else {
				d.event(w.At, way, "registers rise WITHOUT a statement")
			}
		}
	}
	d.seen = len(trace.Writes)
}

// followed reports whether the write at a time was the one that brought the
// limited way to its limit.
func (d *demo) followed(trace bench.Trace, at time.Duration) bool {
	first, ok := trace.Fell(limitedWay, d.story.limited, bench.To(limitAmps))
	return ok && first == at
}

// allLeft reports whether every way was released after its statement.
func (d *demo) allLeft() bool {
	for i, at := range d.story.statement {
		if at == 0 || !d.left[i] {
			return false
		}
	}
	return true
}

// drained reports whether nothing is missing and each way's last whole period
// has its record.
func (d *demo) drained() bool {
	if lost, _ := d.ledger.Lost(); lost > 0 {
		return false
	}
	for _, way := range d.world.Ways {
		if d.story.endWall.Sub(d.ledger.LastEnd(way.ID)) >= d.cfg.Pace.Window {
			return false
		}
	}
	return true
}

// held returns about how many half-hour records the agent still keeps back.
func (d *demo) held() int {
	held := 0
	for _, way := range d.world.Ways {
		if last := d.ledger.LastEnd(way.ID); !last.IsZero() {
			held += max(0, int(time.Since(last)/d.cfg.Pace.Window))
		}
	}
	return held
}

// heardLately reports whether what the agent told can still be believed.
func (d *demo) heardLately() bool { return d.story.lastBeat == 0 || d.story.back > 0 }

// share is how much of the evening has passed.
func (d *demo) share(now time.Duration) float64 {
	return min(1, now.Seconds()/d.cfg.For.Seconds())
}

// at is the time at which a part of the evening has passed.
func (d *demo) at(percent int) time.Duration { return d.cfg.For * time.Duration(percent) / 100 }
