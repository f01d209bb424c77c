package alarm

import (
	"time"

	"lvagent/meter"
)

// step is where a condition stands.
type step uint8

// Steps of a condition, in their order.
const (
	normal step = iota
	pending
	active
	clearing
	latched // over, and not acknowledged
)

// Machine holds all alarms of one way. It has one owner and is not safe for
// concurrent use.
//
// A condition begins when a value is beyond its threshold and is raised when it
// has been so for its on delay; a single value that is not starts the delay
// anew. Once active, it ends when the value is back by the hysteresis and is
// cleared when it has been so for its off delay; a single value that is not
// starts that delay anew. One with a latch is cleared when it was acknowledged
// as well.
//
// A missing sample neither confirms nor resets, and only a sample that is there
// raises or clears: time alone does nothing, so there is no deadline to wait
// for. Time counts from one sample to the next, but at most Hold after the
// former, and not beyond an explicit statement that the value is not known. What
// stands while nothing can be measured for long stays, and is marked
// questionable; that nothing can be measured is a condition of its own.
//
// A suspect sample counts like a good one; see [meter.Alarm]. A neutral
// current that was computed from the phases counts as missing.
//
// What comes and goes too often is raised once more and then stays until it is
// stable, so that a threshold without a sensible hysteresis floods nobody; see
// [Chatter]. What a person shelved is followed as ever and not announced until
// the shelf's end; see [Machine.Shelve].
type Machine struct {
	cfg      Config
	tracks   []track
	falls    [meter.Phases]fall
	standing [meter.Phases]uint16 // conditions that stand, by their bits
	edges    []meter.Alarm
	shelves  []meter.Shelf
	now      glance // of the newest reading
	changed  bool   // what stands changed without an edge

	heard bool
	last  time.Duration // stamp of the newest reading
	wall  time.Time     // of it

	heardSupply bool
	lastSupply  time.Duration
}

// track follows one condition.
type track struct {
	rule    Rule
	cond    condition
	value   uint8 // its place in a glance
	inhibit uint16
	hold    time.Duration // how long a sample counts
	id      string
	name    identity
	alarm   *meter.Alarm // from pending on: as it is, or will be, raised, with the peak so far
	mean    *mean        // nil: each reading counts
	past    *trail       // of a rate

	step   step
	silent bool // stands, and was not announced: it is shelved
	off    bool // out of service
	shelf  bool // shelved
	stood  stood
	begun  time.Duration // when it was raised

	raised *[mostRaises]time.Duration // the last raises, the newest first; nil: none yet
	raises int                        // how many of them count
	turned time.Duration              // while chattering: the last time that it changed sides
	apart  bool                       // while chattering: it would have been cleared
}

// identity is what an alarm of the condition is called. Most conditions never
// stand, so the alarm itself is made when one first may.
type identity struct{ quantity, kind, phase string }

// begin gives the condition its alarm.
func (t *track) begin() {
	if t.alarm == nil {
		t.alarm = &meter.Alarm{ID: t.id, Way: t.rule.Way, Quantity: t.name.quantity, Kind: t.name.kind, Phase: t.name.phase,
			Threshold: t.rule.Threshold, Severity: t.rule.Severity, Latch: t.rule.Latch}
	}
}

// stood adds up how long samples have been on one side.
type stood struct {
	sum, from time.Duration
	holds     bool // the sample at from still stands
}

func (s *stood) begin(at time.Duration) { *s = stood{from: at, holds: true} }

// end notes that from at on the value is not known.
func (s *stood) end(at, hold time.Duration) {
	if s.holds {
		s.sum += max(0, min(at-s.from, hold))
		s.holds = false
	}
}

// sample notes another sample on the same side and returns the time so far.
func (s *stood) sample(at, hold time.Duration) time.Duration {
	s.end(at, hold)
	s.from, s.holds = at, true
	return s.sum
}

// New returns a machine with no alarm active, or everything that is wrong with
// its configuration. After a restart call [Machine.Resume] next.
func New(cfg Config, rules []Rule) (*Machine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(rules); err != nil {
		return nil, err
	}
	m := &Machine{cfg: cfg}
	for k := range condition(len(conditions)) {
		if k.ofWay() {
			m.watchCondition(k, 0)
			continue
		}
		for p := range meter.Phase(meter.Phases) {
			if cfg.Phases[p] {
				m.watchCondition(k, p)
			}
		}
	}
	for _, r := range rules {
		m.watchRule(r)
	}
	// Each way has some forty: what append grew beyond them is worth taking back.
	exact := make([]track, len(m.tracks))
	copy(exact, m.tracks)
	m.tracks = exact
	m.edges = make([]meter.Alarm, 0, 4) // grows to the worst that came
	return m, nil
}

// addTrack adds what follows one condition.
func (m *Machine) addTrack(r Rule, k condition, id string, name identity) {
	t := track{rule: r, cond: k, hold: m.cfg.Hold, id: id, name: name, value: place(r.Quantity, r.Phase)}
	for _, name := range r.Inhibit {
		other, _ := conditionOf(name)
		t.inhibit |= 1 << other
	}
	if r.Mean > 0 {
		t.mean = &mean{}
		t.hold = r.Mean * 5 / 2
	}
	if r.Kind == Rate {
		t.past = newTrail(or(r.Over, defaultOver), m.cfg.Hold)
	}
	m.tracks = append(m.tracks, t)
}

// watchRule adds a threshold.
func (m *Machine) watchRule(r Rule) {
	name := identity{quantity: r.Quantity.String(), kind: r.Kind.String()}
	if r.Quantity != N {
		name.phase = r.Phase.String()
	}
	m.addTrack(r, noCondition, r.ID(), name)
}

// Add takes one reading of the way, taken at wall, and returns the alarms that
// it raises or clears, which are valid until the next call. Readings come in the
// order of their stamps; one that is older than the newest is ignored.
func (m *Machine) Add(r *meter.Reading, wall time.Time) []meter.Alarm {
	m.edges = m.edges[:0]
	if m.heard && r.At < m.last {
		return m.edges
	}
	m.heard, m.last, m.wall = true, r.At, wall
	m.now.see(r)
	for i := range m.cfg.Phases {
		m.falls[i].note(&m.now, r.At, &m.cfg, meter.Phase(i), wall)
	}
	var s sight
	for i := range m.tracks {
		t := &m.tracks[i]
		if t.off || t.step == normal && m.quiet(t) {
			continue
		}
		if m.look(t, &s, r.At, wall) {
			m.take(t, &s, r.At, wall)
		}
	}
	return m.edges
}

// Tick notices that there are no readings at all, not even of polls without an
// answer. It is to be called about once a second.
func (m *Machine) Tick(now time.Duration, wall time.Time) []meter.Alarm {
	m.edges = m.edges[:0]
	if !m.heard {
		m.heard, m.last, m.wall = true, now, wall
	}
	for i := range m.tracks {
		t := &m.tracks[i]
		if t.cond == condStale && !t.off && now-m.last > m.cfg.Hold {
			m.take(t, &sight{quality: meter.Good, beyond: true}, now, wall)
		}
	}
	return m.edges
}

// take moves a condition by one sample of at and wall.
func (m *Machine) take(t *track, s *sight, at time.Duration, wall time.Time) {
	if s.quality == meter.Missing {
		if s.ends {
			t.stood.end(at, t.hold)
		}
		return
	}
	if s.beyond && !t.stands() && m.inhibited(t) {
		s.beyond = false
	}
	switch {
	case t.step == normal && s.beyond:
		t.begin()
		t.step, t.alarm.Questionable = pending, false
		t.alarm.Peak, t.alarm.PeakAt = s.peak, m.peakAt(t, at, wall)
		t.stood.begin(at)
	case t.step == pending && !s.beyond:
		t.step = normal
	case t.step == active && s.back:
		t.step, t.turned = clearing, at
		t.stood.begin(at)
	case t.step == clearing && !s.back, t.step == latched && s.beyond:
		t.step = active
		m.turn(t, at)
	}
	if t.step == normal {
		return
	}
	if s.quality == meter.Suspect && !t.alarm.Questionable {
		t.alarm.Questionable, m.changed = true, true
	}
	if s.peaks && worse(s.peak, t.alarm.Peak, t.rule) {
		t.alarm.Peak, t.alarm.PeakAt = s.peak, m.peakAt(t, at, wall)
	}
	switch t.step {
	case pending:
		if t.stood.sample(at, t.hold) >= t.rule.OnDelay {
			m.raise(t, s.value, at, wall)
		}
	case active:
		if t.alarm.Chatter && at-t.turned >= m.cfg.Chatter.Stable {
			m.changed = true
			t.alarm.Chatter = false // it stays, as an alarm like any other
		}
	case clearing:
		long := t.stood.sample(at, t.hold)
		t.apart = t.apart || long >= t.rule.OffDelay
		if delay := m.offDelay(t); long >= delay {
			m.over(t, s.value, at, wall)
		}
	}
}

// turn notes that the value left the good side again. While chattering that is
// an occurrence of its own where it would have been cleared in between.
func (m *Machine) turn(t *track, at time.Duration) {
	t.turned = at
	if t.apart {
		t.apart, m.changed = false, true
		t.alarm.Raises++
		if t.alarm.Latch {
			t.alarm.Acked = "" // of the occurrence before
		}
	}
}

// offDelay returns how long the value must be back now.
func (m *Machine) offDelay(t *track) time.Duration {
	if t.alarm.Chatter {
		return max(t.rule.OffDelay, m.cfg.Chatter.Stable)
	}
	return t.rule.OffDelay
}

// raise makes a condition an alarm, and announces it unless it is shelved.
func (m *Machine) raise(t *track, value int64, at time.Duration, wall time.Time) {
	t.step, t.begun, t.turned, t.apart = active, at, at, false
	a := t.alarm
	a.Edge, a.At, a.Value, a.Threshold, a.Severity = meter.Raise, wall, value, t.rule.Threshold, t.rule.Severity
	a.Restored, a.Raises, a.Acked, a.Flood, a.OutOfService = false, 1, "", false, false
	a.Chatter = m.chatters(t, at)
	m.note(t)
	if t.silent = t.shelf; !t.silent {
		m.edges = append(m.edges, *a)
	}
	if t.cond >= condStale && t.cond <= condMeasurement {
		m.question(t)
	}
}

// chatters remembers a raise and reports whether there were too many lately.
func (m *Machine) chatters(t *track, at time.Duration) bool {
	most := m.cfg.Chatter.Raises
	if most < 0 {
		return false
	}
	if t.raised == nil {
		t.raised = new([mostRaises]time.Duration)
	}
	copy(t.raised[1:], t.raised[:])
	t.raised[0], t.raises = at, min(t.raises+1, mostRaises)
	if t.raises < most || at-t.raised[most-1] > m.cfg.Chatter.Within {
		return false
	}
	t.raises = 0
	return true
}

// over ends an alarm whose value has been back for long enough, or leaves it
// latched until somebody acknowledges it.
func (m *Machine) over(t *track, value int64, at time.Duration, wall time.Time) {
	if t.rule.Latch && t.alarm.Acked == "" && !t.silent {
		t.step, t.alarm.Chatter, m.changed = latched, false, true
		t.apart = true // a value that goes beyond again is another occurrence
		return
	}
	m.clear(t, value, at, wall)
}

func (m *Machine) clear(t *track, value int64, at time.Duration, wall time.Time) {
	t.step, t.apart = normal, false
	if !t.silent {
		a := *t.alarm
		a.Edge, a.At, a.Value, a.Threshold = meter.Clear, wall, value, t.rule.Threshold
		a.Duration = at - t.begun
		m.edges = append(m.edges, a)
	}
	t.silent = false
	m.note(t)
}

// question marks what stands while the way, or the phase of t, is not measured.
func (m *Machine) question(t *track) {
	for i := range m.tracks {
		x := &m.tracks[i]
		if x != t && x.stands() && (t.cond.ofWay() || x.rule.Quantity != 0 && x.rule.Quantity != N && x.rule.Phase == t.rule.Phase) {
			x.alarm.Questionable, m.changed = true, true
		}
	}
}

// worse reports whether v is a higher peak than what was.
func worse(v, than int64, r Rule) bool {
	if r.Kind.low() {
		return v < than
	}
	return v > than
}

// stands reports whether the condition's alarm is raised and not cleared.
func (t *track) stands() bool { return t.step >= active }

// announced reports whether it was told as well.
func (t *track) announced() bool { return t.stands() && !t.silent }

// Active appends the alarms that were announced and not cleared, each as it was
// raised, with its peak so far and where it stands.
func (m *Machine) Active(dst []meter.Alarm) []meter.Alarm {
	for i := range m.tracks {
		if t := &m.tracks[i]; t.announced() {
			dst = append(dst, *t.alarm)
			dst[len(dst)-1].Stands = meter.Active + meter.Standing(t.step-active)
		}
	}
	return dst
}

// Live returns the alarm that real-time readings are published for: the most
// severe one that is active or clearing, is not shelved and is more than an
// event; or none. A latched one is over.
func (m *Machine) Live() (id string, any bool) {
	best := meter.Event
	for i := range m.tracks {
		if t := &m.tracks[i]; t.announced() && t.step != latched && !t.shelf && t.alarm.Severity > best {
			best, id = t.alarm.Severity, t.id
		}
	}
	return id, best > meter.Event
}

// Ack acknowledges an alarm that latches, in the name of by. It returns the
// clear of one that was over, and whether there was anything to acknowledge.
func (m *Machine) Ack(id, by string, now time.Duration, wall time.Time) ([]meter.Alarm, bool) {
	m.edges = m.edges[:0]
	t := m.find(id)
	if t == nil || !t.announced() || !t.rule.Latch {
		return m.edges, false
	}
	if t.alarm.Acked == "" {
		t.alarm.Acked, m.changed = by, true
	}
	if t.step == latched {
		m.clear(t, t.alarm.Value, now, wall)
	}
	return m.edges, true
}

// Changed reports whether what stands became different without an edge since it
// was last asked: it was latched, acknowledged, became questionable.
func (m *Machine) Changed() bool {
	was := m.changed
	m.changed = false
	return was
}

func (m *Machine) find(id string) *track {
	for i := range m.tracks {
		if m.tracks[i].id == id {
			return &m.tracks[i]
		}
	}
	return nil
}
