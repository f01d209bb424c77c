package points

import (
	"math"
	"time"

	"lvagent/dnp3"
	"lvagent/failsafe"
	"lvagent/meter"
)

// Database turns what the agent knows into changes of points. One goroutine owns
// it; Send takes the changes and must not wait.
type Database struct {
	site  Site
	rows  []Row
	send  func([]dnp3.Change)
	out   []dnp3.Change
	ways  map[string]int
	group map[string]int
	place map[place]int // in rows
	last  []float64     // by row; what a meter said last, for when it says nothing
	real  []dnp3.Change // by row; the last change, for when a force ends
	known []bool
	force map[int]time.Duration // by row; until when
	raise map[string]map[string]bool
	begun bool // points of alarms that were never raised say so

	ratings [WaySlots][meter.Phases]meter.Milliamps
	energy  [WaySlots][meter.Phases + 1][2]int64 // mWh: import, export; the last is of all phases
	records float64
	taken   [WaySlots]time.Duration // when the last reading of a way was; 0: never
}

type place struct {
	q           Quantity
	slot, phase int
	group       bool
}

// NewDatabase returns the database of a site. Ratings are those of the ways in
// their slots.
func NewDatabase(s *Site, ratings [WaySlots][meter.Phases]meter.Milliamps, send func([]dnp3.Change)) *Database {
	d := &Database{site: *s, rows: List(s), send: send, ratings: ratings, ways: map[string]int{}, group: map[string]int{},
		place: map[place]int{}, force: map[int]time.Duration{}, raise: map[string]map[string]bool{}}
	d.last, d.real, d.known = make([]float64, len(d.rows)), make([]dnp3.Change, len(d.rows)), make([]bool, len(d.rows))
	for i := range d.rows {
		r := &d.rows[i]
		d.place[place{r.Quantity, r.Slot, r.Phase, r.Group}] = i
	}
	for slot, id := range s.Ways {
		if id != "" {
			d.ways[id] = slot
		}
	}
	for slot, id := range s.Groups {
		if id != "" {
			d.group[id] = slot
		}
	}
	return d
}

// Rows returns the list.
func (d *Database) Rows() []Row { return d.rows }

func (d *Database) flush() {
	if len(d.out) > 0 {
		d.send(d.out)
		d.out = d.out[:0]
	}
}

// put adds a change of a point.
func (d *Database) put(q Quantity, slot, phase int, group bool, v float64, flags dnp3.Flags, at time.Time, mode dnp3.EventMode) {
	i, ok := d.place[place{q, slot, phase, group}]
	if !ok {
		return
	}
	d.last[i] = v
	c := dnp3.Change{Type: d.rows[i].Type, Index: d.rows[i].Index, Number: v, Flags: flags, Time: at.UnixMilli(), Event: mode}
	d.real[i], d.known[i] = c, true
	if _, forced := d.force[i]; !forced {
		d.out = append(d.out, c)
	}
}

func (d *Database) bit(q Quantity, slot, phase int, group, is bool, at time.Time) {
	v := 0.0
	if is {
		v = 1
	}
	d.put(q, slot, phase, group, v, dnp3.Online, at, dnp3.Detect)
}

// Reading takes a reading that was taken at wall.
func (d *Database) Reading(r *meter.Reading, wall time.Time) {
	slot, ok := d.ways[r.Way]
	if !ok {
		return
	}
	if r.Phase[0].V.Reason&meter.NoAnswer == 0 || r.Phase[1].V.Reason&meter.NoAnswer == 0 || r.Phase[2].V.Reason&meter.NoAnswer == 0 {
		d.taken[slot] = r.At
	}
	var p, q meter.Sample[meter.Milliwatts]
	p.Quality, q.Quality = meter.Good, meter.Good
	silent := true
	for ph := range r.Phase {
		x := &r.Phase[ph]
		rating := d.ratings[slot][ph]
		if rating == 0 && slot != 0 {
			continue // the way has no such phase
		}
		sample(d, Voltage, slot, ph, x.V, 1e3, wall)
		amps := x.I
		if x.P.Quality != meter.Missing && x.P.Value < 0 {
			amps.Value = -amps.Value // as everywhere: export is negative
		}
		sample(d, Current, slot, ph, amps, 1e3, wall)
		sample(d, Power, slot, ph, x.P, 1e6, wall)
		sample(d, Reactive, slot, ph, x.Q, 1e6, wall)
		if rating > 0 {
			share := x.I
			share.Value = share.Value * 100_000 / rating
			sample(d, Load, slot, ph, share, 1e3, wall)
		}
		p.Value += x.P.Value
		q.Value += meter.Milliwatts(x.Q.Value)
		p.Quality, p.Reason = min(p.Quality, x.P.Quality), p.Reason|x.P.Reason
		q.Quality, q.Reason = min(q.Quality, x.Q.Quality), q.Reason|x.Q.Reason
		silent = silent && x.Reason()&meter.NoAnswer != 0
	}
	sample(d, Neutral, slot, -1, r.Neutral, 1e3, wall)
	sample(d, TotalPower, slot, -1, p, 1e6, wall)
	sample(d, TotalReactive, slot, -1, q, 1e6, wall)
	d.bit(CommsLost, slot, -1, false, silent, wall)
	d.flush()
}

// sample puts a measured value. What is not known keeps its last value, without
// ONLINE and with the flag that says why.
func sample[T meter.Quantity](d *Database, q Quantity, slot, phase int, s meter.Sample[T], unit float64, wall time.Time) {
	v, flags := float64(s.Value)/unit, dnp3.Online
	switch {
	case s.Quality == meter.Suspect:
		flags |= dnp3.ReferenceErr
	case s.Quality == meter.Missing:
		v, flags = d.last[d.place[place{q, slot, phase, false}]], flagsOf(s.Reason)
	}
	d.put(q, slot, phase, false, v, flags, wall, dnp3.Detect)
}

// flagsOf says with a point's flags why there is no value.
func flagsOf(why meter.Reason) dnp3.Flags {
	switch {
	case why&(meter.NoAnswer|meter.BadFrame|meter.Exception) != 0:
		return dnp3.CommLost
	case why&meter.OutOfRange != 0:
		return dnp3.OverRange
	case why&meter.Restarted != 0:
		return dnp3.Restart
	}
	return dnp3.ReferenceErr
}

// HalfHour takes a record. Its points have the period's end as their time, and
// make an event each even when the value is the same again.
func (d *Database) HalfHour(h *meter.HalfHour) {
	d.records++
	d.put(Records, -1, -1, false, d.records, dnp3.Online, h.End, dnp3.Suppress)
	slot, ok := d.ways[h.Way]
	if !ok || h.Rev > 0 { // a counter and an event tell of a period once
		d.flush()
		return
	}
	mode := dnp3.Suppress
	if d.site.Periods {
		mode = dnp3.Always
	}
	put := func(q Quantity, phase int, v float64, known bool) {
		flags := dnp3.Online
		if !known {
			v, flags = d.last[d.place[place{q, slot, phase, false}]], dnp3.CommLost
		}
		d.put(q, slot, phase, false, v, flags, h.End, mode)
	}
	covered := float64(h.End.Sub(h.Start)) / float64(time.Hour)
	for p := range h.Phase {
		x := h.Phase[p]
		if x == nil {
			for _, q := range []Quantity{PeriodCurrent, PeriodPeak, PeriodVoltage, PeriodPower} {
				put(q, p, 0, false)
			}
			continue
		}
		put(PeriodCurrent, p, float64(x.I.RMS)/1e3, true)
		put(PeriodPeak, p, float64(x.I.Max)/1e3, true)
		put(PeriodVoltage, p, float64(x.V.Mean)/1e3, true)
		put(PeriodPower, p, float64(x.P.Mean)/1e6, true)
		share := covered * float64(x.Coverage) / float64(meter.Whole)
		d.count(slot, p, int64(float64(x.P.Import)*share), int64(float64(x.P.Export)*share), h.End, mode)
	}
	put(Coverage, -1, float64(h.Coverage)/float64(meter.Whole)*100, true)
	if h.Neutral != nil {
		put(PeriodNeutral, -1, float64(h.Neutral.RMS)/1e3, true)
	} else {
		put(PeriodNeutral, -1, 0, false)
	}
	if h.Total != nil {
		put(PeriodTotal, -1, float64(h.Total.P)/1e6, true)
		d.count(slot, meter.Phases, h.Total.ImportMWh, h.Total.ExportMWh, h.End, mode)
	} else {
		put(PeriodTotal, -1, 0, false)
	}
	d.flush()
}

// count adds energy, in mWh, to the counters of a phase or, behind the last, of
// all of them.
func (d *Database) count(slot, phase int, in, out int64, at time.Time, mode dnp3.EventMode) {
	e := &d.energy[slot][phase]
	e[0], e[1] = e[0]+max(in, 0), e[1]+max(out, 0)
	if phase == meter.Phases {
		phase = -1
	}
	d.put(Import, slot, phase, false, float64(e[0]/1000), dnp3.Online, at, mode)
	d.put(Export, slot, phase, false, float64(e[1]/1000), dnp3.Online, at, mode)
}

// State takes the failsafe state.
func (d *Database) State(s *failsafe.State, engine *failsafe.Config, wall time.Time) {
	if !d.begun {
		d.begun = true
		d.noAlarms(wall)
	}
	d.bit(LocalControl, -1, -1, false, s.Switch == failsafe.Local, wall)
	d.bit(PlannedSilence, -1, -1, false, s.Silence.Until > s.Mono, wall)
	worst, inFailsafe, alone := failsafe.Free, false, false
	for i := range s.Ways {
		w := &s.Ways[i]
		if w.State.Severity() > worst.Severity() {
			worst = w.State
		}
		inFailsafe = inFailsafe || unheard(w.State)
		alone = alone || w.State == failsafe.Autonomous
		slot, ok := d.ways[w.ID]
		if !ok {
			continue
		}
		d.put(WayState, slot, -1, false, float64(w.State), dnp3.Online, wall, dnp3.Detect)
		d.bit(InFailsafe, slot, -1, false, unheard(w.State), wall)
		d.bit(Autonomous, slot, -1, false, w.State == failsafe.Autonomous, wall)
		d.bit(Commanded, slot, -1, false, w.State == failsafe.Limited, wall)
		d.bit(Overridden, slot, -1, false, d.overridden(s, engine, func(g *failsafe.Group) bool { return g.Way == w.ID }), wall)
	}
	d.put(SiteState, -1, -1, false, float64(worst), dnp3.Online, wall, dnp3.Detect)
	d.bit(SiteFailsafe, -1, -1, false, inFailsafe, wall)
	d.bit(SiteAutonomous, -1, -1, false, alone, wall)
	for i := range s.Groups {
		g := &s.Groups[i]
		slot, ok := d.group[g.ID]
		if !ok {
			continue
		}
		about := &engine.Groups[i]
		d.put(GroupLimit, slot, -1, true, float64(g.Limit)/1e3, dnp3.Online, wall, dnp3.Detect)
		d.put(Limit, slot, -1, true, float64(g.Limit)/1e3, dnp3.Online, wall, dnp3.Detect)
		back := dnp3.Online
		if g.Actuation == failsafe.Unreached || g.Actuation == failsafe.Unknown {
			back = dnp3.CommLost
		}
		d.put(GroupFeedback, slot, -1, true, float64(g.Feedback)/1e3, back, wall, dnp3.Detect)
		d.put(GroupState, slot, -1, true, float64(g.Actuation), dnp3.Online, wall, dnp3.Detect)
		for p, there := range about.Phases {
			if there {
				drawn := dnp3.Online
				if !g.Drawn {
					drawn = dnp3.CommLost
				}
				d.put(GroupDraw, slot, p, true, float64(g.Draw[p])/1e3, drawn, wall, dnp3.Detect)
			}
		}
		d.bit(Curtailed, slot, -1, true, g.Limit < about.Rating, wall)
		d.bit(OutputUnreached, slot, -1, true, g.Fault == failsafe.Unreached, wall)
		d.bit(OutputPermissive, slot, -1, true, g.Fault == failsafe.Permissive, wall)
		d.bit(LockedOut, slot, -1, true, g.Lockout.Locked, wall)
		d.bit(OutputDrift, slot, -1, true, g.DriftTold, wall)
		d.bit(OutputFailed, slot, -1, true, g.Failed, wall)
		d.bit(CustomerOverride, slot, -1, true, g.Customer, wall)
		d.put(StandIn, slot, -1, true, standIn(g, about), dnp3.Online, wall, dnp3.Detect)
		held := func(kind failsafe.OverrideKind) bool {
			for _, o := range s.Overrides {
				for _, id := range o.Groups {
					if id == g.ID && o.Kind == kind {
						return true
					}
				}
			}
			return false
		}
		d.bit(Overridden, slot, -1, true, d.overridden(s, engine, func(x *failsafe.Group) bool { return x.ID == g.ID }), wall)
		d.bit(HoldOff, slot, -1, true, held(failsafe.HoldOff), wall)
		d.bit(Release, slot, -1, true, held(failsafe.Release), wall)
	}
	d.flush()
}

// unheard reports whether the failsafe limits apply because the centre is not
// heard. A way that goes its own way has a point for that.
func unheard(a failsafe.Authority) bool {
	return a == failsafe.Failsafe || a == failsafe.Probation || a == failsafe.Init
}

// standIn is what the contact does that stands in for a group's output.
func standIn(g *failsafe.GroupState, about *failsafe.Group) float64 {
	switch {
	case !about.Backup:
		return 0
	case g.Backup.Told:
		return 3
	case g.Backup.Closed:
		return 1
	}
	return 2
}

func (d *Database) overridden(s *failsafe.State, engine *failsafe.Config, of func(*failsafe.Group) bool) bool {
	for _, o := range s.Overrides {
		for _, id := range o.Groups {
			for i := range engine.Groups {
				if g := &engine.Groups[i]; g.ID == id && of(g) {
					return true
				}
			}
		}
	}
	return false
}

// Owner says who has control.
type Owner uint8

// Owners of control. On site goes before all.
const (
	NobodyHasControl Owner = iota
	SiteHasControl
	CentreHasControl // over MQTT
	MasterHasControl // over DNP3
)

// Substation is what the points of the substation itself say.
type Substation struct {
	Backlog                    int
	Connected, Synced, Failing bool
	Copied                     bool   // alarms here are copies of those on MQTT
	Acted                      uint64 // commands of masters that were handed on
	Owner                      Owner
	Master                     uint16 // that has control
}

// Tick takes the state of the substation itself, ends forces whose time is over,
// and says how old readings are.
func (d *Database) Tick(s *Substation, now time.Duration, wall time.Time) {
	for i, until := range d.force {
		if now >= until {
			d.unforce(i)
		}
	}
	d.put(Backlog, -1, -1, false, float64(s.Backlog), dnp3.Online, wall, dnp3.Detect)
	d.put(TemplateVersion, -1, -1, false, Version, dnp3.Online, wall, dnp3.Detect)
	d.bit(CentreConnected, -1, -1, false, s.Connected, wall)
	d.bit(ClockSynced, -1, -1, false, s.Synced, wall)
	d.bit(StoreFailing, -1, -1, false, s.Failing, wall)
	d.bit(AlarmsCopied, -1, -1, false, s.Copied, wall)
	d.bit(PointForced, -1, -1, false, len(d.force) > 0, wall)
	d.put(ControlOwner, -1, -1, false, float64(s.Owner), dnp3.Online, wall, dnp3.Detect)
	d.put(OwnerAddress, -1, -1, false, float64(s.Master), dnp3.Online, wall, dnp3.Detect)
	d.put(Executed, -1, -1, false, float64(s.Acted), dnp3.Online, wall, dnp3.Suppress)
	for slot, at := range d.taken {
		if at > 0 {
			d.put(Age, slot, -1, false, math.Round((now - at).Seconds()), dnp3.Online, wall, dnp3.Suppress)
		}
	}
	d.flush()
}

// Again sends what is known of all points, to an outstation that has just begun.
func (d *Database) Again() {
	for i := range d.rows {
		if _, forced := d.force[i]; d.known[i] && !forced {
			d.out = append(d.out, d.real[i])
		}
	}
	d.flush()
}
