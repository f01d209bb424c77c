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
)

// Machine holds all alarms of one way. It has one owner and is not safe for
// concurrent use.
//
// A condition begins when a value is beyond its threshold and is raised when it
// has been so for its on delay; a single value that is not starts the delay
// anew. Once active, it ends when the value is back by the hysteresis and is
// cleared when it has been so for its off delay; a single value that is not
// starts that delay anew.
//
// A missing sample neither confirms nor resets, and only a sample that is there
// raises or clears: time alone does nothing, so there is no deadline to wait
// for. Time counts from one sample to the next, but at most Hold after the
// former, and not beyond an explicit statement that the value is not known.
//
// A suspect sample counts like a good one; see [meter.Alarm]. A neutral
// current that was computed from the phases counts as missing.
type Machine struct {
	cfg    Config
	tracks []track
	falls  [meter.Phases]fall
	edges  []meter.Alarm

	heard bool
	last  time.Duration // stamp of the newest reading
	wall  time.Time     // of it
}

// track follows one condition.
type track struct {
	rule  Rule
	watch watch
	alarm meter.Alarm // from pending on: as it is, or will be, raised, with the peak so far

	step  step
	stood stood
	begun time.Duration // when it was raised
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
		s.sum += min(at-s.from, hold)
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
	for _, r := range rules {
		m.watchRule(r)
	}
	for i, has := range cfg.Phases {
		if has {
			m.watchPhase(meter.Phase(i))
		}
	}
	m.edges = make([]meter.Alarm, 0, len(m.tracks))
	return m, nil
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
	for i := range m.cfg.Phases {
		m.falls[i].note(r, &m.cfg, meter.Phase(i), wall)
	}
	for i := range m.tracks {
		t := &m.tracks[i]
		s := m.look(t, r, wall)
		m.take(t, &s)
	}
	return m.edges
}

// take moves a condition by one sample.
func (m *Machine) take(t *track, s *sight) {
	at := m.last
	if s.quality == meter.Missing {
		if s.ends {
			t.stood.end(at, m.cfg.Hold)
		}
		return
	}
	switch {
	case t.step == normal && s.beyond:
		t.step, t.alarm.Questionable = pending, false
		t.alarm.Peak, t.alarm.PeakAt = s.peak, s.peakAt
		t.stood.begin(at)
	case t.step == pending && !s.beyond:
		t.step = normal
	case t.step == active && s.back:
		t.step = clearing
		t.stood.begin(at)
	case t.step == clearing && !s.back:
		t.step = active
	}
	if t.step == normal {
		return
	}
	t.alarm.Questionable = t.alarm.Questionable || s.quality == meter.Suspect
	if s.peaks && worse(s.peak, t.alarm.Peak, t.rule.Kind.low()) {
		t.alarm.Peak, t.alarm.PeakAt = s.peak, s.peakAt
	}
	switch {
	case t.step == pending && t.stood.sample(at, m.cfg.Hold) >= t.rule.OnDelay:
		t.step, t.begun = active, at
		a := &t.alarm
		a.Edge, a.At, a.Value, a.Threshold, a.Severity = meter.Raise, m.wall, s.value, t.rule.Threshold, t.rule.Severity
		a.Restored = false
		m.edges = append(m.edges, *a)
	case t.step == clearing && t.stood.sample(at, m.cfg.Hold) >= t.rule.OffDelay:
		t.step = normal
		a := t.alarm
		a.Edge, a.At, a.Value, a.Threshold = meter.Clear, m.wall, s.value, t.rule.Threshold
		a.Duration = at - t.begun
		m.edges = append(m.edges, a)
	}
}

func worse(v, than int64, low bool) bool {
	if low {
		return v < than
	}
	return v > than
}

// stands reports whether the condition's alarm is raised and not cleared.
func (t *track) stands() bool { return t.step == active || t.step == clearing }

// Active appends the alarms that are raised and not cleared, each as it was
// raised, with its peak so far.
func (m *Machine) Active(dst []meter.Alarm) []meter.Alarm {
	for i := range m.tracks {
		if m.tracks[i].stands() {
			dst = append(dst, m.tracks[i].alarm)
		}
	}
	return dst
}
