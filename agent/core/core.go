// Package core is the agent's one loop of decisions: it owns the windows, the
// failsafe engine's state and the alarms, and no one else touches them.
//
// It takes readings, commands, actuator answers and commits by channel, and
// never waits for a disk, a bus or a socket: what must be done there is handed
// to its owner, who answers by message. A lowered limit goes out at once; a
// raised one waits until the state that allows it is on disk.
//
// Requirements: R2 (half-hours), R7 (failsafe), R9 to R11 (commands and their
// acknowledgement).
package core

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"lvagent/agent/clock"
	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/agent/uplink"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"
	"lvagent/meter/alarm"
	"lvagent/meter/ev"
	"lvagent/meter/loading"
	"lvagent/meter/pq"
	"lvagent/meter/wiring"
)

// Outbox takes records and small states for the store, and says how it does.
type Outbox interface {
	Store(urgent bool, records []outbox.Record, kept ...outbox.Kept)
	Get(key string) []byte
	Health() outbox.Health
	Resend(outbox.Resend)
}

// Retainer takes the latest value of a retained topic, and sends all of them once
// more where somebody asks.
type Retainer interface {
	Retain(topic string, payload []byte)
	Repeat()
}

// Saver stores failsafe states and answers with [Loop.Saved].
type Saver interface {
	Save(version uint64, body []byte)
	Failing() string // why the last could not be stored, or ""
}

// Output starts carrying a group's limit to its actuator and answers with
// [Loop.Feedback]; false means that it could not even start.
type Output func(group string, limit meter.Milliamps) bool

// Live takes each reading as it comes, without waiting.
type Live interface {
	Reading(r *meter.Reading, wall time.Time)
}

// Recorder keeps readings for somebody who asks later what happened.
type Recorder interface {
	Record(r *meter.Reading, wall time.Time)
}

// Journal takes everything that the engine is told, so that its decisions can be
// computed again. It never waits. Step says when it wants a key.
type Journal interface {
	Key(*journal.Key) error
	Step(*journal.Step) (key bool)
}

// Options are what a loop is made of.
type Options struct {
	Config  *configs.Config
	Topics  message.Topics
	Engine  *failsafe.Engine
	State   failsafe.State // to go on from
	Status  message.Status // state, boot, since, version, config
	Outbox  Outbox
	Uplink  Retainer
	Keys    message.Keys         // of issuers that sign
	Secret  [32]byte             // of this device; keys the hashes of personal data
	Link    func() uplink.State  // how the session with the broker does; nil: nobody knows
	Beside  func() uplink.State  // the same of a second session; nil: there is none
	Serial  func(way int) string // serial number of the meter of a way of the site file; nil: nobody knows
	Reread  func(way string)     // has a way read at once; nil: nobody can
	Expires func() time.Time     // the end of the certificate's life; nil or zero: there is none
	Saver   Saver
	Outputs map[string]Output // by group
	Backups map[string]Output // the contacts that stand in for them, by group
	Now     func() time.Duration
	Wall    func() time.Time
	Clock   func() clock.State
	Alive   func() // called at the end of each complete cycle: feeds the watchdog
	Log     *slog.Logger

	Live     Live                     // nil: nobody wants readings as they come
	Points   Points                   // nil: there is no DNP3 outstation
	Recorder Recorder                 // nil: none
	Fetch    func(Wanted) bool        // asks the recorder's files; false: too many wait; nil: there are none
	SiteFile func(SiteFileOrder) bool // takes an order about the site file; false: one is under way; nil: none is taken
	Journal  Journal                  // nil: nobody computes decisions again
	Started  journal.Key              // what the journal begins with, but for the state
}

// Points shows masters on DNP3 what the loop knows. It must not wait.
type Points interface {
	Reading(r *meter.Reading, wall time.Time)
	HalfHour(*meter.HalfHour)
	Alarm(*meter.Alarm)
	Mark(*meter.Alarm) // with its point; Alarm is called too
	State(s *failsafe.State, wall time.Time)
	Tick(now time.Duration, wall time.Time)
}

// How often things are done that nobody waits for.
const (
	refreshOutputs  = 30 * time.Second
	retryOutput     = time.Second
	retryOutputMost = 30 * time.Second
	stopWithin      = 5 * time.Second

	mostBeatFaults = 16
	mostHeld       = 1024 // records that wait for a disk which does not answer
)

// Loop is the core loop.
type Loop struct {
	Options
	agent   string
	place   *time.Location // of the settlement day
	ways    map[string]int // of feeds and loads
	feeds   []feed
	loads   []failsafe.Load
	draws   []failsafe.Draw // of the groups' meters, since the last step
	outputs []output
	alarms  alarms

	transformer *alarm.Transformer // nil: the site has none
	budget      alarm.Budget       // of real-time readings

	stopping   bool   // the outputs are brought to rest
	version    uint64 // of the state last handed to the saver
	saved      uint64
	held       []held // what may be said only when the state is stored
	dirty      bool   // the retained states changed
	status     string // as last published
	days       int    // the same, of the certificate
	deadline   time.Duration
	keptAt     time.Duration // windows
	savedAt    time.Duration // state
	comparedAt time.Duration
	serials    []string // of the ways' meters, as last published
	substance  []byte   // of the state last saved
	clockWas   meter.Clock
	steps      int    // of the clock, that were logged
	stepped    uint64 // steps of the engine
	fairness   fairness
	drill      *drill // that runs; nil: none
	drilled    Drill  // the last one
	readings   chan meter.Reading
	supplies   chan meter.SupplyReading
	inputs     inputs
	inbound    chan uplink.Inbound
	orders     chan failsafe.Inputs
	feedback   chan failsafe.Feedback
	commits    chan uint64
	asked      chan func()
	answers    []failsafe.Ack // of the last step
	overrun    atomic.Uint64
	refused    atomic.Uint64
	halfHours  atomic.Uint64

	reports  map[string]reported // by group
	profile  profileAge
	supplied []supplyPoint
	refusals allowance
	audit    auditor
	rejected atomic.Uint64

	falseBeats atomic.Uint64
	unsaid     atomic.Uint64
	beatFaults []failsafe.RefusedHeartbeat // logged, and not over

	health health
	supply []*pq.Monitor // by way

	loading    []*loading.Way  // as feeds
	hot        []bool          // THERMAL_LIMIT is raised; as feeds
	beyondFirm bool            // FIRM_CAPACITY is raised
	capacityAt time.Duration   // last published and kept
	wiring     []*wiring.Check // by way
	wiringAt   time.Duration   // last judged
	topology   topology        // ways that are not supplied as usual
	changes    []SettingChange // the last one of each meter
	ambient    meter.HealthPoint
	evs        []*ev.Detector  // by way; nil: nothing may be told of it
	evAt       time.Duration   // last published
	balance    *wiring.Balance // of the ways against the incomer; nil: there is none
}

// held is a record that waits for a state to be stored.
type held struct {
	version uint64
	record  outbox.Record
}

// New returns a loop that goes on from what the store remembers.
func New(o Options) *Loop {
	l := &Loop{
		Options: o, agent: o.Config.Site.ID, place: o.Config.Place(), ways: map[string]int{},
		readings: make(chan meter.Reading, 256),
		supplies: make(chan meter.SupplyReading, mostSupply),
		inbound:  make(chan uplink.Inbound, 64),
		orders:   make(chan failsafe.Inputs, 64),
		feedback: make(chan failsafe.Feedback, 8*len(o.Config.Groups)+4),
		commits:  make(chan uint64, 1),
		asked:    make(chan func()),
		reports:  map[string]reported{},
		health:   health{wake: make(chan struct{}, 1)},
	}
	now, wall := o.Now(), o.Wall()
	l.buildFeeds()
	l.buildInputs()
	l.buildSupply()
	l.buildLoading(now, wall, o.Clock().Clock)
	l.buildWiring(now)
	l.buildEVs(now)
	l.buildOutputs()
	l.resumeWindows(now, wall)
	l.resumeTopology(now)
	l.resumeFairness(wall)
	l.resumeDrill()
	l.resumeSupplyPoints()
	l.resumeSettings()
	l.alarms.resume(l, now, wall)
	l.dirty = true
	l.clockWas = o.Clock().Clock
	l.keptAt = -checkpointWindows // a first checkpoint at once
	return l
}

// Reading hands over a reading. When the loop is behind, the oldest is dropped
// and counted: a new reading is worth more.
func (l *Loop) Reading(r meter.Reading) {
	for {
		select {
		case l.readings <- r:
			return
		default:
		}
		select {
		case <-l.readings:
			l.overrun.Add(1)
		default:
		}
	}
}

// Inbound hands over a message from the centre. It reports false when the loop
// is too far behind to take it; that is counted, and the centre sees no ack.
func (l *Loop) Inbound(in uplink.Inbound) bool {
	select {
	case l.inbound <- in:
		return true
	default:
		l.refused.Add(1)
		return false
	}
}

// Order hands over what a master on DNP3 orders. It reports false when the loop
// is too far behind to take it.
func (l *Loop) Order(in failsafe.Inputs) bool {
	select {
	case l.orders <- in:
		return true
	default:
		l.refused.Add(1)
		return false
	}
}

// Feedback hands over an actuator's answer. There is room for one from each.
func (l *Loop) Feedback(f failsafe.Feedback) { l.feedback <- f }

// Saved says that the state of this version, and all before it, is on disk.
func (l *Loop) Saved(version uint64) {
	for {
		select {
		case l.commits <- version:
			return
		default:
		}
		select {
		case older := <-l.commits:
			version = max(version, older)
		default:
		}
	}
}

// Run decides until ctx ends, then brings the outputs to rest.
func (l *Loop) Run(ctx context.Context) error {
	l.closePeriods(l.Now(), l.Wall(), l.Clock().Clock) // before the first reading: its time needs a label
	l.resumeAudit(l.Now(), l.Wall())
	l.beginJournal()
	l.save()
	l.step(failsafe.Inputs{})
	l.showAlarms()
	l.actuate()
	l.tellOperators()
	tick := time.NewTimer(0)
	defer tick.Stop()
	next := l.Now().Truncate(time.Second)
	for {
		select {
		case <-ctx.Done():
			l.stop()
			return nil
		case f := <-l.feedback:
			l.takeFeedback(f)
		case v := <-l.commits:
			l.takeCommit(v)
		case e := <-l.inputs.events:
			l.takeInput(e, l.Wall())
		case in := <-l.inbound:
			l.take(in)
		case in := <-l.orders:
			l.step(in)
		case r := <-l.readings:
			l.takeReading(&r)
		case r := <-l.supplies:
			l.takeSupply(&r)
		case f := <-l.asked:
			f()
		case <-l.health.wake:
			l.takeHealth(l.Wall())
		case <-tick.C:
		}
		now := l.Now()
		if now >= next {
			l.tick(now)
			next = now.Truncate(time.Second) + time.Second
		} else if now >= l.deadline {
			l.step(failsafe.Inputs{})
		}
		l.actuate()
		l.tellOperators()
		tick.Reset(max(0, min(next, l.deadline)-l.Now()))
	}
}

// tick is a complete cycle: periods that ended, limits, and what is published.
func (l *Loop) tick(now time.Duration) {
	wall, clock := l.Wall(), l.watchClock()
	if l.transformer != nil {
		l.feedTransformer(l.transformer.Tick(now))
	}
	l.closePeriods(now, wall, clock)
	l.tickTopology(now, wall, clock)
	l.watchStore(wall)
	l.watchLink(wall)
	l.watchProfile(wall, clock)
	l.forgetSupplyPoints(wall, clock)
	l.alarms.tick(l, now, wall)
	l.tickSupply(wall, clock)
	l.tickLoading(now, wall, clock)
	l.tickWiring(now)
	l.tickEVs(now)
	l.takeHealth(wall)
	l.watchHealth(now, wall)
	l.tickAudit(now, wall, false)
	l.step(failsafe.Inputs{})
	l.tickFairness(wall)
	l.refresh(now)
	l.checkpoint(now)
	if l.Points != nil {
		l.Points.State(&l.State, wall)
		l.Points.Tick(now, wall)
	}
	l.publish(wall, clock)
	if l.Alive != nil {
		l.Alive()
	}
}

// step moves the engine and carries out what it says.
func (l *Loop) step(in failsafe.Inputs) {
	now, wall := l.moment()
	c := l.Clock()
	in.Loads, in.Clock, in.Suspect = l.loads, c.Clock, c.Suspect
	in.Switch, in.MainsLost, in.Inhibits, in.Customers = l.inputs.position, l.inputs.mainsLost, l.inputs.inhibits, l.inputs.customers
	in.Draws = append(l.draws, in.Draws...)
	l.draws = l.draws[:0]
	before := l.State
	state, set, ev, deadline := l.Engine.Step(l.State, in, now, wall)
	l.State, l.deadline = state, (deadline + grain - 1).Truncate(grain) // never before what the engine is told
	first, records, recorded := l.recordStep(before, in, set, ev, now, wall)
	l.writeStep(&journal.Step{Now: now, Wall: wall, In: in, First: first, Records: records})
	l.stepDrill(in, now, wall)
	if recorded || ev.Store || len(state.Commands) != len(before.Commands) {
		l.save()
	}
	for _, s := range set {
		l.dirty = true
		l.setpoint(s)
	}
	if len(in.Feedback) > 0 {
		l.dirty = true
	}
	for _, t := range ev.Transitions {
		l.dirty = true
		l.Log.Info("way changed state", "way", t.Way, "from", t.From.String(), "state", t.To.String(), "cause", string(t.Cause))
	}
	for _, c := range ev.Conditions {
		l.dirty = true
		l.alarms.condition(l, c, wall)
	}
	l.alarms.dispelAll(l, ev.Transitions, in.Feedback, wall)
	l.noteHeartbeats(in.Heartbeats, ev.Refused)
	l.answers = ev.Acks
	for _, a := range ev.Acks {
		l.dirty = true
		if a.Stage == failsafe.Rejected {
			l.Log.Warn("command refused", "command", a.ID, "code", string(a.Code))
		} else {
			l.Log.Info("command", "command", a.ID, "stage", string(a.Stage), "code", string(a.Code))
		}
		l.say(message.AckStream, wall, ackBody(l.agent, a, wall), a.Stage != failsafe.Rejected)
	}
}

// noteHeartbeats counts heartbeats that did not count, and logs each kind once
// until one of that issuer counts again.
func (l *Loop) noteHeartbeats(came []failsafe.Heartbeat, refused []failsafe.RefusedHeartbeat) {
	for _, r := range refused {
		l.falseBeats.Add(1)
		// Only the first few names are remembered: anybody may send any.
		if !slices.Contains(l.beatFaults, r) && len(l.beatFaults) < mostBeatFaults {
			l.beatFaults = append(l.beatFaults, r)
			l.Log.Warn("heartbeat does not count", "issuer", r.Issuer, "code", string(r.Code))
		}
	}
	if len(came) > len(refused) {
		for _, h := range came {
			l.beatFaults = slices.DeleteFunc(l.beatFaults, func(r failsafe.RefusedHeartbeat) bool { return r.Issuer == h.Issuer })
		}
	}
}

// say stores a record; one that rests on the state only after the state is on
// disk, so that nothing is promised that a crash could forget.
func (l *Loop) say(stream string, at time.Time, body []byte, rests bool) {
	r := outbox.Record{Stream: stream, At: at, Body: body}
	if !rests || l.saved >= l.version {
		l.Outbox.Store(true, []outbox.Record{r})
		return
	}
	if len(l.held) == mostHeld {
		l.held = slices.Delete(l.held, 0, 1)
		l.unsaid.Add(1)
	}
	l.held = append(l.held, held{l.version, r})
}

func (l *Loop) save() {
	l.State.Floor = l.Clock().Floor
	body, err := failsafe.Encode(l.State)
	if err != nil {
		l.Log.Error("failsafe state not encoded", "err", err)
		return
	}
	l.version++
	l.savedAt, l.substance = l.Now(), substance(l.State)
	l.Saver.Save(l.version, body)
}

func (l *Loop) takeCommit(version uint64) {
	l.saved = max(l.saved, version)
	n := 0
	for _, h := range l.held {
		if h.version > l.saved {
			break
		}
		l.Outbox.Store(true, []outbox.Record{h.record})
		n++
	}
	l.held = l.held[n:]
	for i := range l.outputs {
		l.outputs[i].commit(l.saved)
	}
}

// Counts are what the loop has done, for anyone to read.
type Counts struct {
	HalfHours uint64
	Overrun   uint64 // readings dropped because the loop was behind
	Refused   uint64 // messages of the centre that found no room
	// FalseHeartbeats were repeated, retained, too old or of an unknown issuer.
	FalseHeartbeats uint64
	Rejected        uint64 // messages on a command's topic that were no command, or not their issuer's
	Unsaid          uint64 // acknowledgements let go because no state could be stored for too long
}

// Counts returns what the loop has done.
func (l *Loop) Counts() Counts {
	return Counts{HalfHours: l.halfHours.Load(), Overrun: l.overrun.Load(), Refused: l.refused.Load(), FalseHeartbeats: l.falseBeats.Load(),
		Unsaid: l.unsaid.Load(), Rejected: l.rejected.Load()}
}
