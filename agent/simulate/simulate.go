// Package simulate runs the failsafe engine with some configuration over loads
// that were recorded, and says what it would have shed, and whose.
//
// It is an estimate with one assumption: what was recorded is what wanted to be
// drawn, and as much of it as the groups on a phase may draw is taken to be
// charging. What was curtailed when it was recorded is therefore not in it. It
// reads no file.
//
// Requirements: R8 (which assets relieve which constraint), R15, R17, R19.
package simulate

import (
	"slices"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// Point is what was recorded at a moment. It holds until the next one.
type Point struct {
	Wall  time.Time
	Loads []failsafe.Load // of the ways and, where it was recorded, of the transformer
}

// Simulation is one run.
type Simulation struct {
	cfg      failsafe.Config
	engine   *failsafe.Engine
	state    failsafe.State
	silent   bool
	started  bool
	now      time.Duration
	wall     time.Time
	seq      uint64
	beat     time.Duration
	point    Point
	assumed  []meter.Milliamps // draw of each group, as recorded
	draws    []meter.Milliamps // as simulated
	shed     []int64           // mA x ms
	phases   []Phase
	report   Report
	loads    []failsafe.Load
	feedback []failsafe.Feedback
}

// Report is what came out.
type Report struct {
	From      time.Time     `json:"from"`
	To        time.Time     `json:"to"`
	Simulated time.Duration `json:"-"`
	Minutes   float64       `json:"simulated_min"`
	Points    int           `json:"points"`
	Setpoints int           `json:"setpoints"` // changes of a limit
	Groups    []Group       `json:"groups"`
	Phases    []Phase       `json:"phases"`
}

// Group is what it came to for a group. Energies are estimates at 230 V.
type Group struct {
	Group    string  `json:"group"`
	Way      string  `json:"way"`
	Priority bool    `json:"priority"`
	Rank     int     `json:"rank"`             // 1: most was withheld, of what it might have drawn
	Share    float64 `json:"withheld_percent"` // of what its rating permits
	Limited  float64 `json:"limited_min"`      // with a limit below its rating
	ShedKWh  float64 `json:"shed_kwh"`         // of what was recorded and taken to be its charging
	shedMs   int64
	Shedding float64 `json:"shed_min"` // in which that was more than nothing
}

// Phase is what it came to on a phase of a way, or of the transformer.
type Phase struct {
	Way       string  `json:"way"`
	Phase     string  `json:"phase"`
	Rating    float64 `json:"rating_a"`
	Peak      float64 `json:"peak_recorded_a"`
	Held      float64 `json:"peak_simulated_a"`
	Above     float64 `json:"above_rating_recorded_min"`
	HeldAbove float64 `json:"above_rating_simulated_min"`
	Missing   float64 `json:"not_recorded_min"`
	rating    meter.Milliamps
	index     meter.Phase
}

// New returns a simulation. Silent: the centre is never heard, so that what
// applies is the failsafe limit.
func New(cfg failsafe.Config, silent bool) *Simulation {
	cfg.Issuers = []string{"simulated"}
	s := &Simulation{cfg: cfg, engine: failsafe.NewEngine(cfg), silent: silent,
		assumed: make([]meter.Milliamps, len(cfg.Groups)), draws: make([]meter.Milliamps, len(cfg.Groups)), shed: make([]int64, len(cfg.Groups))}
	add := func(way string, rating [meter.Phases]meter.Milliamps) {
		for p := range meter.Phase(meter.Phases) {
			if rating[p] > 0 {
				s.phases = append(s.phases, Phase{Way: way, Phase: p.String(), Rating: amps(rating[p]), rating: rating[p], index: p})
			}
		}
	}
	for _, w := range cfg.Ways {
		add(w.ID, w.Rating)
	}
	if t := cfg.Transformer; t > 0 {
		add(failsafe.TX, [meter.Phases]meter.Milliamps{t, t, t})
	}
	s.report.Groups = make([]Group, len(cfg.Groups))
	return s
}

func amps(i meter.Milliamps) float64 { return float64(i) / 1000 }

// Point takes what was recorded at p, up to which the point before holds, in
// steps of at most grain.
func (s *Simulation) Point(p Point, grain time.Duration) {
	if s.started {
		s.advance(p.Wall, grain)
	} else {
		s.begin(p.Wall)
	}
	s.point = p
	s.report.Points++
	s.assume()
}

// Until ends at wall: the last point holds so long.
func (s *Simulation) Until(wall time.Time, grain time.Duration) {
	if s.started {
		s.advance(wall, grain)
	}
}

// Skip leaves out the time until wall: nothing was recorded. The accounts go on.
func (s *Simulation) Skip(wall time.Time) {
	if s.started {
		s.begin(wall)
	}
}

// begin starts the engine where nothing is limited and the centre is heard.
func (s *Simulation) begin(wall time.Time) {
	old := s.state
	s.now += time.Second
	s.wall = wall
	s.state = s.engine.New(s.now, wall, false)
	for i := range s.state.Ways {
		s.state.Ways[i].State = failsafe.Free
	}
	s.state.Ever, s.state.Heard = true, s.now
	for g := range s.state.Groups {
		gs := &s.state.Groups[g]
		gs.Limit, gs.Rule = s.cfg.Groups[g].Rating, failsafe.RuleRating
		if s.started {
			was := &old.Groups[g]
			gs.Total, gs.Withheld, gs.Owed = was.Total, was.Withheld, was.Owed
		}
	}
	if !s.started {
		s.report.From = wall
	}
	s.started = true
}

// advance steps the engine to wall.
func (s *Simulation) advance(wall time.Time, grain time.Duration) {
	for s.wall.Before(wall) {
		d := min(grain, wall.Sub(s.wall))
		s.now += d
		s.wall = s.wall.Add(d)
		s.step(d)
	}
}

// assume takes as much of what was recorded as the groups may draw for charging.
func (s *Simulation) assume() {
	for g := range s.cfg.Groups {
		cfg := &s.cfg.Groups[g]
		s.assumed[g] = cfg.Rating
		l := s.recorded(cfg.Way)
		for p, used := range cfg.Phases {
			if !used {
				continue
			}
			if l == nil || l.Quality[p] == meter.Missing {
				s.assumed[g] = 0
				break
			}
			var may meter.Milliamps
			for o := range s.cfg.Groups {
				if s.cfg.Groups[o].Way == cfg.Way && s.cfg.Groups[o].Phases[p] {
					may += s.cfg.Groups[o].Rating
				}
			}
			if i := max(0, l.I[p]); may > 0 && i < may {
				s.assumed[g] = min(s.assumed[g], meter.Milliamps(int64(cfg.Rating)*int64(i)/int64(may)))
			}
		}
	}
}

func (s *Simulation) recorded(way string) *failsafe.Load {
	i := slices.IndexFunc(s.point.Loads, func(l failsafe.Load) bool { return l.Way == way })
	if i < 0 {
		return nil
	}
	return &s.point.Loads[i]
}

// leastCharge is the current below which a car does not charge.
const leastCharge meter.Milliamps = 6000

// step is one step of the engine, d after the one before.
func (s *Simulation) step(d time.Duration) {
	ms := d.Milliseconds()
	for g := range s.cfg.Groups {
		limit := s.state.Groups[g].Limit
		if s.cfg.Groups[g].Contact && limit < s.cfg.Groups[g].Rating || limit < leastCharge {
			limit = 0
		}
		s.draws[g] = min(limit, s.assumed[g])
		if shed := s.assumed[g] - s.draws[g]; shed > 0 {
			s.shed[g] += int64(shed) * ms
			s.report.Groups[g].shedMs += ms
		}
	}
	s.loads = s.loads[:0]
	for i := range s.point.Loads {
		l := s.point.Loads[i]
		l.At = s.now
		for g := range s.cfg.Groups {
			if l.Way != failsafe.TX && l.Way != s.cfg.Groups[g].Way {
				continue
			}
			for p, used := range s.cfg.Groups[g].Phases {
				if used && l.Quality[p] != meter.Missing {
					l.I[p] -= s.assumed[g] - s.draws[g]
				}
			}
		}
		s.loads = append(s.loads, l)
	}
	s.measure(ms)
	in := failsafe.Inputs{Loads: s.loads, Clock: meter.Synced, Feedback: s.feedback}
	if !s.silent && s.now-s.beat >= s.cfg.Timers.HeartbeatPeriod {
		s.seq++
		s.beat = s.now
		in.Heartbeats = []failsafe.Heartbeat{{Issuer: "simulated", Epoch: 1, Seq: s.seq}}
	}
	state, set, _, _ := s.engine.Step(s.state, in, s.now, s.wall)
	s.state = state
	s.report.Setpoints += len(set)
	s.feedback = s.feedback[:0]
	for _, x := range set {
		s.feedback = append(s.feedback, failsafe.Feedback{Group: x.Group, Told: x.Limit, Limit: x.Limit, OK: true})
	}
	s.report.Simulated += d
}

// measure notes peaks, and how long a phase is above its rating.
func (s *Simulation) measure(ms int64) {
	minutes := float64(ms) / 60_000
	for i := range s.phases {
		p := &s.phases[i]
		was := s.recorded(p.Way)
		if was == nil || was.Quality[p.index] == meter.Missing {
			p.Missing += minutes
			continue
		}
		now := slices.IndexFunc(s.loads, func(l failsafe.Load) bool { return l.Way == p.Way })
		p.Peak, p.Held = max(p.Peak, amps(was.I[p.index])), max(p.Held, amps(s.loads[now].I[p.index]))
		if was.I[p.index] > p.rating {
			p.Above += minutes
		}
		if s.loads[now].I[p.index] > p.rating {
			p.HeldAbove += minutes
		}
	}
}

// Report returns what came out so far.
func (s *Simulation) Report() Report {
	r := s.report
	r.To, r.Phases, r.Minutes = s.wall, slices.Clone(s.phases), r.Simulated.Minutes()
	r.Groups = slices.Clone(r.Groups)
	if !s.started {
		return r
	}
	for g, share := range s.engine.Shares(s.state, nil) {
		x := &r.Groups[g]
		x.Group, x.Way, x.Priority, x.Rank = share.Group, share.Way, share.Priority, share.Rank
		x.Share = float64(share.PPM()) / 10_000
		x.Limited = float64(share.Limited) / 60_000
		x.ShedKWh = float64(share.WattHours(s.shed[g])) / 1000
		x.Shedding = float64(x.shedMs) / 60_000
	}
	return r
}
