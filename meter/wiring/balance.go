package wiring

import (
	"fmt"
	"strings"
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// Codes of findings about the ways against the incomer.
const (
	WrongRatio   = "RATIO_WRONG"
	NotFed       = "NOT_OF_THIS_BUSBAR"
	Unmetered    = "NOT_METERED"
	SumAbove     = "WAYS_ABOVE_INCOMER"
	PhasesDiffer = "PHASES_NAMED_DIFFERENTLY"
)

// BalanceConfig says what is compared. Zero fields stand for the defaults.
type BalanceConfig struct {
	Way     string           // that the report is about: the transformer
	Incomer string           // the way that measures it
	Ways    []Feeder         // that it feeds
	Nominal meter.Millivolts // default 230 V
}

// Feeder is a way that the incomer feeds.
type Feeder struct {
	Way    string
	Phases [meter.Phases]bool // that it has; on others it carries nothing
}

// Balance compares the sum of the ways with what the incomer measures, phase by
// phase: what comes in on a busbar goes out. It is the only judge of a ratio that
// is wrong by the same factor on all phases of a way. It has one owner and is not
// safe for concurrent use.
type Balance struct {
	cfg     BalanceConfig
	members int // the ways, and the incomer as the last

	began   bool
	index   int64 // of the minute that runs, since the agent's start
	quarter int64
	open    []balanceSum // by member and phase

	recent, spread balanceRing
}

type balanceSum struct{ n, p, q int64 }

// power of a phase: W and var.
type power struct{ p, q int64 }

func (a power) plus(b power) power { return power{a.p + b.p, a.q + b.q} }

func (a power) minus(b power) power { return power{a.p - b.p, a.q - b.q} }

func (a power) times(thousandths int64) power {
	return power{a.p * thousandths / 1000, a.q * thousandths / 1000}
}

func (a power) squared() int64 { return a.p*a.p + a.q*a.q }

func (a power) size() int64 { return fixed.Hypot(a.p, a.q) }

// balanceRing holds the last samples, each with the power of every member and
// phase.
type balanceRing struct {
	samples [][]power
	next    int
}

func (r *balanceRing) add(s []balanceSum, most int) {
	var at []power
	if len(r.samples) < most {
		at = make([]power, len(s))
		r.samples = append(r.samples, at)
	} else {
		at = r.samples[r.next]
		r.next = (r.next + 1) % most
	}
	for i := range s {
		at[i] = power{s[i].p / s[i].n, s[i].q / s[i].n}
	}
}

// Thresholds of the balance, in per cent of what flows on a phase and in A. Two
// meters with their transformers may be 2 % apart each, and losses and unmetered
// supplies 3 %: what is less than twice that is never red.
const (
	differsPercent, differsAmps = 5, 5
	provenPercent, provenAmps   = 10, 10
	fitsPercent, fitsAmps       = 2, 2
	leastAmps                   = 20 // on a phase, for a verdict
	enoughSteps                 = 20 // samples, for a proof
	sameFactor                  = 50 // thousandths that the factors of phases may differ
	mostWatts                   = 10_000_000
)

// NewBalance returns a comparison that has seen nothing.
func NewBalance(cfg BalanceConfig) *Balance {
	if cfg.Nominal <= 0 {
		cfg.Nominal = 230_000
	}
	n := len(cfg.Ways) + 1
	return &Balance{cfg: cfg, members: n, quarter: -1, open: make([]balanceSum, n*meter.Phases)}
}

func (b *Balance) member(way string) int {
	if way == b.cfg.Incomer {
		return b.members - 1
	}
	for i := range b.cfg.Ways {
		if b.cfg.Ways[i].Way == way {
			return i
		}
	}
	return -1
}

func (b *Balance) name(m int) string {
	if m == b.members-1 {
		return b.cfg.Incomer
	}
	return b.cfg.Ways[m].Way
}

// Add takes a reading of the incomer or of a way. Only good values are evidence,
// and only minutes in which every member gave them.
func (b *Balance) Add(r *meter.Reading) {
	m := b.member(r.Way)
	if m < 0 {
		return
	}
	index := int64(r.At / time.Minute)
	switch {
	case !b.began:
		b.began, b.index = true, index
	case index < b.index:
		return // of a minute that is over
	case index > b.index:
		b.shut()
		b.index = index
	}
	for p := range r.Phase {
		ph := &r.Phase[p]
		s := &b.open[m*meter.Phases+p]
		switch {
		case m < len(b.cfg.Ways) && !b.cfg.Ways[m].Phases[p]:
			s.n++
		case ph.P.Quality == meter.Good && ph.Q.Quality == meter.Good:
			watts, vars := int64(ph.P.Value)/1000, int64(ph.Q.Value)/1000
			if outside(watts, mostWatts/10) || outside(vars, mostWatts/10) {
				continue
			}
			s.n, s.p, s.q = s.n+1, s.p+watts, s.q+vars
		}
	}
}

// shut makes the minute evidence where all members are known.
func (b *Balance) shut() {
	whole := true
	for i := range b.open {
		whole = whole && b.open[i].n >= 3
	}
	if whole {
		b.recent.add(b.open, recentMinutes)
		if q := b.index / 15; q != b.quarter {
			b.quarter = q
			b.spread.add(b.open, daySamples)
		}
	}
	clear(b.open)
}

// sums returns what the incomer has more than the ways on a phase, and what flows
// there: the larger of the incomer and of the ways' magnitudes, so that export of
// one way against import of another does not make a small error look large.
func (b *Balance) sums(s []power, p int) (rest power, flow int64) {
	incomer := s[(b.members-1)*meter.Phases+p]
	rest = incomer
	for m := range b.members - 1 {
		w := s[m*meter.Phases+p]
		rest = rest.minus(w)
		flow += w.size()
	}
	return rest, max(flow, incomer.size())
}

// above returns so many per cent of what flows, at least so many amperes, in W.
func (b *Balance) above(flow, percent, amps int64) int64 {
	return max(flow*percent/100, amps*int64(b.cfg.Nominal)/1000)
}

// most90 reports whether nearly all of the samples have what is asked.
func most90(samples [][]power, has func([]power) bool) bool {
	yes := 0
	for _, s := range samples {
		if has(s) {
			yes++
		}
	}
	return yes*100 >= len(samples)*mostPercent
}

// Judge returns the verdict on what was seen up to now.
func (b *Balance) Judge() Report {
	r := Report{Way: b.cfg.Way, Minutes: len(b.recent.samples), Day: len(b.spread.samples), Verdict: Green}
	b.judge(&r)
	for i, f := range r.Findings {
		if i == 0 || f.Verdict > r.Verdict {
			r.Verdict = f.Verdict
		}
	}
	return r
}

func (b *Balance) judge(r *Report) {
	recent := b.recent.samples
	if len(recent) < enough {
		r.add(Open, NotEnough, "the ways and %s have not all been measured for %d minutes of the last %d", b.cfg.Incomer, enough, recentMinutes)
		return
	}
	var differs [meter.Phases]bool
	any, loaded, proven := false, false, false
	for p := range differs {
		beyond := func(percent, amps int64) bool {
			return most90(recent, func(s []power) bool {
				rest, flow := b.sums(s, p)
				return rest.size() > b.above(flow, percent, amps)
			})
		}
		loaded = loaded || most90(recent, func(s []power) bool {
			_, flow := b.sums(s, p)
			return flow > b.above(0, 0, leastAmps)
		})
		if differs[p] = beyond(differsPercent, differsAmps); differs[p] {
			any = true
			proven = proven || beyond(provenPercent, provenAmps)
		}
	}
	switch {
	case !loaded:
		r.add(Open, NotEnough, "no phase of %s has carried %d A", r.Way, leastAmps)
	case !any:
	case b.onlyNames(recent):
		r.add(Amber, PhasesDiffer, "the ways carry together what %s does, but not phase by phase: a way has its voltage and current leads exchanged together", b.cfg.Incomer)
	default:
		b.explain(r, differs, proven)
	}
}

// onlyNames reports whether the three phases together agree.
func (b *Balance) onlyNames(samples [][]power) bool {
	return most90(samples, func(s []power) bool {
		var rest power
		var flow int64
		for p := range meter.Phases {
			r, f := b.sums(s, p)
			rest, flow = rest.plus(r), flow+f
		}
		return rest.size() <= b.above(flow, differsPercent, differsAmps)
	})
}

// suspect is a member whose own load, times a factor, is what is missing.
type suspect struct {
	member int
	factor [meter.Phases]int64 // thousandths of what it shows that are missing
}

// explain looks for the one member that explains what differs.
func (b *Balance) explain(r *Report, differs [meter.Phases]bool, proven bool) {
	var suspects []suspect
	for m := range b.members {
		if s := (suspect{member: m}); b.fit(&s, differs) {
			suspects = append(suspects, s)
		}
	}
	// A day tells apart who looks alike for half an hour, unless the fault is younger.
	if len(suspects) > 1 && len(b.spread.samples) >= enoughDark {
		var left []suspect
		for _, s := range suspects {
			if b.fits(&s, b.spread.samples, differs) {
				left = append(left, s)
			}
		}
		if len(left) > 0 {
			suspects = left
		}
	}
	switch {
	case len(suspects) == 0:
		b.rest(r, differs)
	case len(suspects) > 1:
		var names []string
		for _, s := range suspects {
			names = append(names, b.name(s.member))
		}
		r.add(Amber, CannotTell, "it cannot be told yet which of %s is wrong: the loads of these have moved alike", strings.Join(names, ", "))
		b.rest(r, differs)
	default:
		s := &suspects[0]
		text, code := b.describe(s, differs)
		if proven && code != NotFed && (b.follows(s, &b.recent, differs) ||
			b.fits(s, b.spread.samples, differs) && b.follows(s, &b.spread, differs)) {
			r.add(Red, code, "%s", text)
			return
		}
		r.add(Amber, CannotTell, "it is not proven yet: %s", text)
		b.rest(r, differs)
	}
}

// fit finds the factors of a suspect by least squares, and reports whether they
// explain what differs.
func (b *Balance) fit(s *suspect, differs [meter.Phases]bool) bool {
	for p, is := range differs {
		if !is {
			continue
		}
		var both, own int64
		for _, sample := range b.recent.samples {
			rest, _ := b.sums(sample, p)
			if outside(rest.p, mostWatts) || outside(rest.q, mostWatts) {
				return false
			}
			w := sample[s.member*meter.Phases+p]
			both += w.p*rest.p + w.q*rest.q
			own += w.p*w.p + w.q*w.q
		}
		if own < 1000 {
			return false
		}
		s.factor[p] = both / (own / 1000)
		if outside(s.factor[p], 100_000) {
			return false
		}
	}
	return b.fits(s, b.recent.samples, differs)
}

// fits reports whether the factors leave nothing to explain.
func (b *Balance) fits(s *suspect, samples [][]power, differs [meter.Phases]bool) bool {
	return most90(samples, func(sample []power) bool {
		for p, is := range differs {
			if !is {
				continue
			}
			rest, flow := b.sums(sample, p)
			left := b.left(s, sample, p).size()
			if left > b.above(flow, fitsPercent, fitsAmps) || left > rest.size()/10 {
				return false
			}
		}
		return true
	})
}

// follows reports whether what differs steps up and down with the suspect's load:
// of its steps from sample to sample three quarters at least are explained. Two
// loads that grow on the same evening are alike for hours; their steps are not. And
// something constant, such as a lamp, could be a share of any load that does not
// move. Of the incomer, which what is missing is part of, the steps of the ways must
// be explained too.
func (b *Balance) follows(s *suspect, of *balanceRing, differs [meter.Phases]bool) bool {
	var rests, ways, left, n int64
	for p, is := range differs {
		if !is {
			continue
		}
		for i := 1; i < len(of.samples); i++ {
			if i == of.next {
				continue // the oldest after the newest
			}
			now, before := of.samples[i], of.samples[i-1]
			rest, _ := b.sums(now, p)
			was, _ := b.sums(before, p)
			step := rest.minus(was)
			rests += step.squared()
			incomer := (b.members-1)*meter.Phases + p
			ways += now[incomer].minus(before[incomer]).minus(step).squared()
			left += b.left(s, now, p).minus(b.left(s, before, p)).squared()
			n++
		}
	}
	steps := rests
	if s.member == b.members-1 {
		steps = min(rests, ways)
	}
	ampere := int64(b.cfg.Nominal) / 1000
	return len(of.samples) >= enoughSteps && steps > n*ampere*ampere && left <= steps/4
}

// left is what a suspect does not explain on a phase.
func (b *Balance) left(s *suspect, sample []power, p int) power {
	rest, _ := b.sums(sample, p)
	return rest.minus(sample[s.member*meter.Phases+p].times(s.factor[p]))
}

// describe says what is wrong with a suspect.
func (b *Balance) describe(s *suspect, differs [meter.Phases]bool) (text, code string) {
	name := b.name(s.member)
	var shown [meter.Phases]int64 // thousandths of what it should show
	var phases []string
	low, high, apart := int64(1)<<62, -int64(1)<<62, false
	for p, is := range differs {
		if !is {
			continue
		}
		// The incomer shows k times what is: what is missing is (1 - 1/k) of what it
		// shows. Of a way it is (1/k - 1).
		inverse := 1000 + s.factor[p]
		if s.member == b.members-1 {
			inverse = 1000 - s.factor[p]
		}
		if inverse > -sameFactor && inverse < sameFactor {
			apart = true
			continue
		}
		shown[p] = 1_000_000 / inverse
		low, high = min(low, shown[p]), max(high, shown[p])
		phases = append(phases, fmt.Sprintf("%s %s times", meter.Phase(p), decimal(shown[p])))
	}
	switch {
	case apart:
		return fmt.Sprintf("what %s measures does not come from this transformer: it is fed from elsewhere, or is measured twice", name), NotFed
	case len(phases) == meter.Phases && low < -900 && high > -1100 && low > -1100 && high < -900:
		return fmt.Sprintf("%s is the wrong way round on all phases against the rest of the busbar: swap the leads of its current transformers, or invert: [L1, L2, L3] in the site file", name), Reversed
	case high < -900 && low > -1100:
		return fmt.Sprintf("%s is the wrong way round against the rest of the busbar on %s", name, strings.Join(phasesOf(differs), " and ")), Reversed
	case high-low <= max(high, -low)*sameFactor/1000:
		mean := (low + high) / 2
		return fmt.Sprintf("%s shows %s times what the rest of the busbar says it carries on %s: look at the ratio of its current transformers and at ct_ratio", name, decimal(mean), strings.Join(phasesOf(differs), ", ")), WrongRatio
	default:
		return fmt.Sprintf("%s shows, of what the rest of the busbar says it carries, on %s: look at the ratio and direction of each current transformer", name, strings.Join(phases, ", ")), WrongRatio
	}
}

func phasesOf(is [meter.Phases]bool) (names []string) {
	for p := range is {
		if is[p] {
			names = append(names, meter.Phase(p).String())
		}
	}
	return names
}

// decimal prints thousandths with two places.
func decimal(thousandths int64) string {
	sign := ""
	if thousandths < 0 {
		sign, thousandths = "-", -thousandths
	}
	hundredths := (thousandths + 5) / 10
	return fmt.Sprintf("%s%d.%02d", sign, hundredths/100, hundredths%100)
}

// rest tells what is left over, with its size on each phase.
func (b *Balance) rest(r *Report, differs [meter.Phases]bool) {
	var more, less []string
	for p, is := range differs {
		if !is {
			continue
		}
		var sum power
		for _, s := range b.recent.samples {
			rest, _ := b.sums(s, p)
			sum = sum.plus(rest)
		}
		n := int64(len(b.recent.samples))
		mean := power{sum.p / n, sum.q / n}
		size := fmt.Sprintf("%s %d A", meter.Phase(p), (mean.size()*1000+int64(b.cfg.Nominal)/2)/int64(b.cfg.Nominal))
		if mean.p >= 0 {
			more = append(more, size)
		} else {
			less = append(less, size)
		}
	}
	if len(more) > 0 {
		r.add(Amber, Unmetered, "of what %s measures %s are on no way: something on the busbar is not metered, or a ratio is wrong", b.cfg.Incomer, strings.Join(more, ", "))
	}
	if len(less) > 0 {
		r.add(Amber, SumAbove, "the ways carry %s more than %s measures: a ratio or a direction is wrong, or something feeds in that is not metered", strings.Join(less, ", "), b.cfg.Incomer)
	}
}
