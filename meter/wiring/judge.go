package wiring

import (
	"fmt"
	"strings"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// Codes of findings.
const (
	NotEnough   = "NOT_ENOUGH_LOAD"
	Reversed    = "CT_REVERSED"
	Exchanged   = "PHASES_EXCHANGED"
	CannotTell  = "CANNOT_TELL"
	NoFit       = "ANGLES_DO_NOT_FIT"
	OddFactor   = "UNUSUAL_POWER_FACTOR"
	PowerScale  = "POWER_SCALE"
	VoltageOff  = "VOLTAGE_SCALE"
	SamePhase   = "SAME_PHASE_TWICE"
	NoVoltage   = "NO_VOLTAGE"
	NoCurrent   = "NO_CURRENT"
	NeutralOdd  = "NEUTRAL_DIFFERS"
	mostPercent = 90 // of the evidence that must agree
)

// Finding is one thing that was found, in a sentence for whoever stands before
// the board.
type Finding struct {
	Verdict Verdict
	Code    string
	Text    string
}

// Report is the verdict on one way. Without findings it is green.
type Report struct {
	Way      string
	Verdict  Verdict
	Minutes  int // of evidence in the last half-hour
	Day      int // samples over the last day
	Findings []Finding
}

// Judge returns the verdict on what was seen up to now.
func (c *Check) Judge() Report {
	r := Report{Way: c.cfg.Way, Minutes: len(c.recent.minutes), Day: len(c.spread.minutes)}
	c.judgeVoltages(&r)
	c.judgeAngles(&r)
	c.judgeScale(&r)
	c.judgeNeutral(&r)
	r.Verdict = Green
	for _, f := range r.Findings {
		if r.Verdict == Green || f.Verdict > r.Verdict {
			r.Verdict = f.Verdict
		}
	}
	return r
}

func (r *Report) add(v Verdict, code, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{v, code, fmt.Sprintf(format, args...)})
}

// share reports whether of the minutes that count, at least least, nearly all
// have what is asked.
func share(minutes []minute, least int, counts, has func(*minute) bool) bool {
	n, yes := 0, 0
	for i := range minutes {
		if m := &minutes[i]; counts(m) {
			n++
			if has(m) {
				yes++
			}
		}
	}
	return n >= least && yes*100 >= n*mostPercent
}

func always(*minute) bool { return true }

func name(p int) string { return meter.Phase(p).String() }

func (c *Check) judgeVoltages(r *Report) {
	nominal := int32(c.cfg.Nominal)
	for p, has := range c.cfg.Phases {
		if !has {
			continue
		}
		known := func(m *minute) bool { return m.known[p] }
		switch {
		case share(c.recent.minutes, enough, known, func(m *minute) bool { return m.v[p] > nominal/10*13 }):
			r.add(Red, VoltageOff, "the voltage of %s of %s is far above %d V: it is connected between phases, or its ratio is wrong", name(p), r.Way, nominal/1000)
		case share(c.recent.minutes, enough, known, func(m *minute) bool { return m.v[p] < nominal/5 }):
			r.add(Amber, NoVoltage, "%s of %s has no voltage: look at its voltage lead and fuse, if that phase is supplied", name(p), r.Way)
		case share(c.recent.minutes, enough, known, func(m *minute) bool { return m.v[p] < nominal/10*7 }):
			r.add(Amber, VoltageOff, "the voltage of %s of %s is far below %d V: look at its lead, its fuse and its ratio", name(p), r.Way, nominal/1000)
		}
	}
	whole := func(m *minute) bool {
		return m.known[0] && m.known[1] && m.known[2] && min(m.v[0], m.v[1], m.v[2]) > nominal/10*7
	}
	for p := range c.line {
		other := (p + 1) % meter.Phases
		if l := &c.line[p]; l.Quality == meter.Good && int32(min(l.Value, 1_000_000)) < nominal/5 && share(c.recent.minutes, enough, whole, always) {
			r.add(Red, SamePhase, "the voltage leads of %s and %s of %s are on the same phase", name(p), name(other), r.Way)
		}
	}
}

// turns returns which turn nearly all of the evidence of each phase has, and
// which phases have enough of it.
func (c *Check) turns(minutes []minute, least int, counts func(*minute) bool) (is [meter.Phases]turn, clear, seen [meter.Phases]bool) {
	for p, has := range c.cfg.Phases {
		if !has {
			continue
		}
		var n [turns]int
		all := 0
		for i := range minutes {
			if m := &minutes[i]; c.loaded(m, p) && counts(m) {
				all++
				n[turnOf(int64(m.p[p]), int64(m.q[p]))]++
			}
		}
		for k := range n {
			if n[k] > n[is[p]] {
				is[p] = turn(k)
			}
		}
		seen[p] = all >= least
		clear[p] = seen[p] && n[is[p]]*100 >= all*mostPercent
	}
	return is, clear, seen
}

func (c *Check) judgeAngles(r *Report) {
	is, clear, seen := c.turns(c.recent.minutes, enough, always)
	some := false
	for p, has := range c.cfg.Phases {
		if !has {
			continue
		}
		some = some || seen[p]
		if !seen[p] {
			c.quiet(r, p)
		}
	}
	switch {
	case !some:
		return
	case c.plain(c.recent.minutes, enough, seen, always):
		for p := range seen {
			if seen[p] && (!clear[p] || is[p] != 0) {
				r.add(Amber, OddFactor, "the power factor of %s of %s is unusual; nothing is proven by it", name(p), r.Way)
			}
		}
		return
	}
	for p := range seen {
		if seen[p] && !clear[p] {
			r.add(Amber, CannotTell, "the angle of %s of %s changes: generation, or a loose lead; it cannot be told from the meter", name(p), r.Way)
			return
		}
	}
	text, code, fits := c.describe(is, seen)
	if !fits {
		r.add(Amber, NoFit, "the angles of %s fit no way of connecting it: %s", r.Way, text)
		return
	}
	proof, why := c.proven(is, seen, code)
	if proof {
		r.add(Red, code, "%s", text)
		return
	}
	r.add(Amber, CannotTell, "it cannot be told yet: %s would look like this, if nothing generates on %s; %s", text, r.Way, why)
}

// quiet says why a phase cannot be judged.
func (c *Check) quiet(r *Report, p int) {
	idle := share(c.recent.minutes, enough, func(m *minute) bool { return m.known[p] }, func(m *minute) bool { return m.i[p] < 1000 })
	busy := func(other int) bool {
		return other != p && c.cfg.Phases[other] && share(c.recent.minutes, enough, func(m *minute) bool { return m.known[other] },
			func(m *minute) bool { return int64(m.i[other]) > 4*int64(c.cfg.Least) })
	}
	if idle && (busy(0) || busy(1) || busy(2)) {
		r.add(Amber, NoCurrent, "%s of %s carries nothing while the others do: look at its current transformer and its fuse", name(p), r.Way)
		return
	}
	r.add(Open, NotEnough, "%s of %s has not carried %d A for %d minutes of the last %d", name(p), r.Way, c.cfg.Least/1000, enough, recentMinutes)
}

// describe says what is connected to what, by the turns of the phases that were
// seen, and whether each current is then measured once.
func (c *Check) describe(is [meter.Phases]turn, seen [meter.Phases]bool) (text, code string, fits bool) {
	var moved, reversed []string
	var taken [meter.Phases]bool
	fits = true
	for p := range is {
		if !seen[p] {
			continue
		}
		phases, back := is[p].away()
		from := (p + phases) % meter.Phases
		fits = fits && !taken[from]
		taken[from] = true
		if phases != 0 {
			moved = append(moved, fmt.Sprintf("%s measures the current of %s", name(p), name(from)))
		}
		if back {
			reversed = append(reversed, name(p))
		}
	}
	code = Reversed
	var parts []string
	if len(moved) > 0 {
		code = Exchanged
		parts = append(parts, fmt.Sprintf("the current and voltage leads of %s are not of the same phase: %s; exchange them", c.cfg.Way, strings.Join(moved, ", ")))
	}
	for _, p := range reversed {
		what := fmt.Sprintf("swap the two leads of the CT on %s of %s", p, c.cfg.Way)
		if len(moved) > 0 {
			what = fmt.Sprintf("swap the two leads of the CT that is connected as %s", p)
		}
		parts = append(parts, what)
	}
	return strings.Join(parts, ", and "), code, fits
}

// proven reports whether nothing but the connection can be the cause, and if not,
// what would tell.
func (c *Check) proven(is [meter.Phases]turn, seen [meter.Phases]bool, code string) (bool, string) {
	if c.cfg.Generation == None {
		return true, ""
	}
	if code == Reversed && c.neutralProves(is, seen) {
		return true, ""
	}
	if c.cfg.Generation == Some {
		return false, "it has generation, so look at the board"
	}
	if code == Reversed {
		// What is fed back at every hour of a day and night is no sunshine.
		if c.holds(c.spread.minutes, enoughDay, is, seen, always) && c.holds(c.spread.minutes, enoughDark, is, seen, (*minute).dark) {
			return true, ""
		}
		return false, "a day and a night of it would prove it, or generation: none in the site file"
	}
	// Without sunshine; and with a current that leads its voltage by more than
	// generation at unity power factor could make of a load.
	leads := false
	for p := range is {
		leads = leads || seen[p] && (is[p] == 4 || is[p] == 5)
	}
	if leads && seen == c.cfg.Phases && c.holds(c.spread.minutes, enoughDark, is, seen, (*minute).dark) &&
		!c.plain(c.spread.minutes, enoughDark, seen, (*minute).dark) {
		return true, ""
	}
	return false, "a night of it may prove it, or generation: none in the site file"
}

// plain reports whether all phases that were seen have angles that loads can have.
func (c *Check) plain(minutes []minute, least int, seen [meter.Phases]bool, counts func(*minute) bool) bool {
	for p := range seen {
		if seen[p] && !share(minutes, least, func(m *minute) bool { return c.loaded(m, p) && counts(m) },
			func(m *minute) bool { return natural(int64(m.p[p]), int64(m.q[p])) }) {
			return false
		}
	}
	return true
}

// holds reports whether the minutes that count show the same turns.
func (c *Check) holds(minutes []minute, least int, want [meter.Phases]turn, seen [meter.Phases]bool, counts func(*minute) bool) bool {
	is, clear, _ := c.turns(minutes, least, counts)
	for p := range want {
		if seen[p] && (!clear[p] || is[p] != want[p]) {
			return false
		}
	}
	return true
}

// neutralProves reports whether the current of the neutral fits the phases only
// when those that seem reversed are turned round. A neutral that the meter works
// out from the phases fits as it is, and proves nothing.
func (c *Check) neutralProves(is [meter.Phases]turn, seen [meter.Phases]bool) bool {
	var turned [meter.Phases]bool
	for p := range is {
		if !seen[p] {
			return false
		}
		_, turned[p] = is[p].away()
	}
	counts := func(m *minute) bool { return m.n >= 0 && c.loaded(m, 0) && c.loaded(m, 1) && c.loaded(m, 2) }
	return share(c.recent.minutes, enough, counts, func(m *minute) bool {
		return differs(int64(m.n), vectorSum(m, [meter.Phases]bool{})) && !differs(int64(m.n), vectorSum(m, turned))
	})
}

// differs reports whether two neutral currents in mA are more than 15 A and 30 %
// apart.
func differs(a, b int64) bool {
	d := max(a-b, b-a)
	return d > 15_000 && d*10 > max(a, b)*3
}

// vectorSum returns the magnitude of the sum of the phase currents, some of them
// turned round, in mA: each is S over V, at 120 degrees from the last.
func vectorSum(m *minute, turned [meter.Phases]bool) int64 {
	var re, im int64 // mA
	for p := range m.v {
		v := int64(max(m.v[p], 1))
		x, y := int64(m.p[p])*1_000_000/v, -int64(m.q[p])*1_000_000/v // the current lags where Q is positive
		if turned[p] {
			x, y = -x, -y
		}
		switch p {
		case 1: // by -120 degrees
			x, y = -x/2+y*866_025/1_000_000, -y/2-x*866_025/1_000_000
		case 2:
			x, y = -x/2-y*866_025/1_000_000, -y/2+x*866_025/1_000_000
		}
		re, im = re+x, im+y
	}
	return fixed.Hypot(re, im)
}

// judgeScale compares the apparent power with voltage times current.
func (c *Check) judgeScale(r *Report) {
	for p, has := range c.cfg.Phases {
		if !has {
			continue
		}
		loaded := func(m *minute) bool { return c.loaded(m, p) }
		ratio := func(m *minute) int64 { // percent
			s := fixed.Hypot(int64(m.p[p]), int64(m.q[p]))
			return s * 100 / max(int64(m.v[p])*int64(m.i[p])/1_000_000, 1)
		}
		switch {
		case share(c.recent.minutes, enough, loaded, func(m *minute) bool { return ratio(m) > 120 }):
			r.add(Red, PowerScale, "the power of %s of %s is more than its voltage times its current: a scale or ratio is wrong", name(p), r.Way)
		case share(c.recent.minutes, enough, loaded, func(m *minute) bool { return ratio(m) < 50 }):
			r.add(Amber, PowerScale, "the power of %s of %s is less than half of its voltage times its current: a scale or ratio may be wrong, or the waveform is far from a sine", name(p), r.Way)
		}
	}
}

func (c *Check) judgeNeutral(r *Report) {
	counts := func(m *minute) bool { return m.n >= 0 && m.known[0] && m.known[1] && m.known[2] }
	if r.worst() < Red && share(c.recent.minutes, enough, counts, func(m *minute) bool {
		return differs(int64(m.n), vectorSum(m, [meter.Phases]bool{}))
	}) {
		r.add(Amber, NeutralOdd, "the neutral current of %s does not fit its phases: look at the neutral's current transformer and its ratio", r.Way)
	}
}

func (r *Report) worst() (v Verdict) {
	for _, f := range r.Findings {
		v = max(v, f.Verdict)
	}
	return v
}
