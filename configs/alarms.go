package configs

import (
	"fmt"
	"math"
	"slices"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
	"lvagent/meter/alarm"
	"lvagent/meter/ev"
)

// completeAlarms fills in what follows from other settings.
func (c *Config) completeAlarms(s *Source) {
	for i := range c.Alarms {
		a := &c.Alarms[i]
		if len(a.Ways) == 0 {
			for _, w := range c.Ways {
				if !w.IsIncomer() || a.isCondition() {
					a.Ways = append(a.Ways, w.ID)
				}
			}
		}
		at := fmt.Sprintf("alarms[%d].", i)
		if _, given := s.lines[at+"enabled"]; !given {
			a.Enabled = true
		}
		if a.isCondition() {
			continue
		}
		if a.Severity == "" {
			a.Severity = "warning"
			if a.Kind == "hihi" || a.Kind == "lolo" {
				a.Severity = "major"
			}
		}
		if _, given := s.lines[at+"inhibit"]; !given && a.Quantity == "v" && (a.Kind == "lo" || a.Kind == "lolo") {
			a.Inhibit = deadPhase
		}
	}
}

// deadPhase is what says better than a low voltage that there is none.
var deadPhase = []string{alarm.PhaseLost, alarm.SupplyLost}

func (a *Alarm) isCondition() bool { return slices.Contains(alarm.Conditions(), a.Kind) }

func (c *Config) validateAlarms(s *Source) {
	for i, w := range c.Ways {
		s.between(fmt.Sprintf("ways[%d].customers", i), w.Customers, 0, 100_000)
	}
	seen := map[string]string{}
	for i := range c.Alarms {
		a, at := &c.Alarms[i], fmt.Sprintf("alarms[%d]", i)
		for _, id := range a.Ways {
			if id == failsafe.TX && c.Site.Transformer > 0 {
				continue
			}
			if !slices.ContainsFunc(c.Ways, func(w Way) bool { return w.ID == id }) {
				s.add(at+".ways", "there is no way %q", id)
			}
		}
		if a.Severity != "" {
			s.oneOf(at+".severity", a.Severity, "event", "warning", "major", "critical")
		}
		s.phases(at+".phases", a.Phases)
		for j, name := range a.Inhibit {
			s.oneOf(fmt.Sprintf("%s.inhibit[%d]", at, j), name, alarm.Conditions()...)
		}
		if a.Hysteresis < 0 {
			s.add(at+".hysteresis", "must not be negative: %v", a.Hysteresis)
		}
		if math.Abs(a.Threshold) > mostThreshold || a.Hysteresis > mostThreshold {
			s.add(at+".threshold", "threshold and hysteresis must be within 100 million, not %v and %v", a.Threshold, a.Hysteresis)
		}
		s.spanOf(at+".mean", a.Mean, 0, time.Hour)
		s.spanOf(at+".over", a.Over, 0, time.Hour)
		if a.isCondition() {
			a.validateCondition(s, at)
		} else {
			s.oneOf(at+".quantity", a.Quantity, "v", "i", "p", "q", "n")
			if _, ok := alarm.ParseKind(a.Kind); !ok {
				s.add(at+".kind", "must be hi, hihi, lo, lolo, rate or the name of a condition, not %q", a.Kind)
			}
			if a.Mean > 0 && a.Kind == "rate" {
				s.add(at+".mean", "a rate is of readings, not of means")
			}
			c.validateAgainstTarget(s, at, a)
		}
		for _, id := range a.Ways {
			names := []string{id + "." + a.Kind}
			if !a.isCondition() {
				names = names[:0]
				for _, r := range a.rules(id, PhaseSet([]string{"L1", "L2", "L3"})) {
					names = append(names, r.ID())
				}
			}
			for _, name := range names {
				if first := seen[name]; first != "" {
					s.add(at, "%s is also set by %s", name, first)
				}
				seen[name] = at
			}
		}
	}
	n := c.Nuisance
	if n.ChatterRaises != 0 {
		s.between("nuisance.chatter_raises", n.ChatterRaises, 2, 8)
	}
	s.spanOf("nuisance.chatter_within", n.ChatterWithin, time.Second, time.Hour)
	s.spanOf("nuisance.chatter_stable", n.ChatterStable, time.Second, 24*time.Hour)
	s.between("nuisance.flood_raises", n.FloodRaises, 2, 100)
	s.spanOf("nuisance.flood_within", n.FloodWithin, time.Second, time.Hour)
	s.spanOf("live.heartbeat", c.Live.Heartbeat, 100*time.Millisecond, time.Hour)
	s.spanOf("live.before", c.Live.Before, time.Millisecond, 10*time.Minute)
	s.spanOf("live.tail", c.Live.Tail, time.Millisecond, time.Hour)
	s.spanOf("live.gap", c.Live.Gap, 10*time.Millisecond, time.Hour)
	r := c.Recorder
	s.between("recorder.max_mb", r.MaxMB, 1, 4096)
	s.spanOf("recorder.keep", r.Keep, time.Hour, 365*24*time.Hour)
	s.spanOf("recorder.keep_few", r.KeepFew, time.Hour, r.Keep)
	s.between("recorder.few_customers", r.Few, 0, 100_000)
	s.spanOf("recorder.after", r.After, time.Second, time.Hour)
	s.spanOf("recorder.every", r.Every, 100*time.Millisecond, time.Minute)
	s.between("ev.min_customers", c.EV.MinCustomers, max(5, r.Few), 100_000)
	s.between("journal.max_mb", c.Journal.MaxMB, 1, 4096)
	s.spanOf("journal.keep", c.Journal.Keep, time.Hour, 365*24*time.Hour)
	s.between("live.per_second", c.Live.PerSecond, 1, 1000)
	s.between("live.burst", c.Live.Burst, 1, 100_000)
}

// validateCondition checks an entry that sets a condition.
func (a *Alarm) validateCondition(s *Source, at string) {
	if a.Quantity != "" || len(a.Phases) > 0 {
		s.add(at+".kind", "%s is a condition of the way: it has neither quantity nor phases", a.Kind)
	}
	if len(a.Inhibit) > 0 || a.Over > 0 || a.Mean > 0 && a.Kind != alarm.UnbalanceHigh {
		s.add(at+".kind", "%s is a condition: it has no inhibit, no over, and only UNBALANCE has a mean", a.Kind)
	}
	threshold, hysteresis, sign := true, true, 1.0
	switch a.Kind {
	case alarm.ReversePower:
		sign = -1
	case alarm.NeutralRatioHigh, alarm.UnbalanceHigh:
	case alarm.FuseSuspected, alarm.SupplyLost:
		hysteresis = false
	case alarm.ExportOverload:
		threshold = false
	default:
		threshold, hysteresis = false, false
	}
	switch {
	case !threshold && a.Threshold != 0:
		s.add(at+".threshold", "%s has none", a.Kind)
	case a.Threshold*sign < 0:
		s.add(at+".threshold", "of %s must have the other sign, not %v", a.Kind, a.Threshold)
	case a.Kind == alarm.FuseSuspected && a.Threshold != 0 && a.Threshold < 2:
		s.add(at+".threshold", "of %s must be at least 2 A, not %v", a.Kind, a.Threshold)
	case a.Kind == alarm.SupplyLost && a.Threshold > 184:
		s.add(at+".threshold", "of %s must be at most 184 V, not %v", a.Kind, a.Threshold)
	}
	if !hysteresis && a.Hysteresis != 0 {
		s.add(at+".hysteresis", "%s has none", a.Kind)
	}
}

// controlTarget is the share of a way's rating that the engine holds charging
// to. An alarm below it would tell of the engine doing its work.
const controlTarget = 0.95

func (c *Config) validateAgainstTarget(s *Source, at string, a *Alarm) {
	if a.Quantity != "i" || a.Kind != "hi" && a.Kind != "hihi" || !a.Enabled {
		return
	}
	for _, w := range c.Ways {
		if !slices.Contains(a.Ways, w.ID) || !slices.ContainsFunc(c.Groups, func(g Group) bool { return g.Way == w.ID }) {
			continue
		}
		for p, rating := range w.Rating {
			name := meter.Phase(p).String()
			if len(a.Phases) > 0 && !slices.Contains(a.Phases, name) || !slices.Contains(w.Phases, name) {
				continue
			}
			if target := rating * controlTarget; a.Threshold < target {
				s.add(at+".threshold", "%v A on way %s %s is below the %.0f A that charging is held to; the alarm would come every evening", a.Threshold, w.ID, name, target)
				break
			}
		}
	}
}

// rules returns the thresholds that an entry sets on a way.
func (a *Alarm) rules(way string, has [meter.Phases]bool) (rules []alarm.Rule) {
	r := alarm.Rule{
		Way: way, Threshold: Milli(a.Threshold), Hysteresis: Milli(a.Hysteresis), OnDelay: a.OnDelay, OffDelay: a.OffDelay,
		Mean: a.Mean, Over: a.Over, Latch: a.Latch, Inhibit: a.Inhibit,
	}
	r.Quantity, _ = alarm.ParseQuantity(a.Quantity)
	r.Kind, _ = alarm.ParseKind(a.Kind)
	r.Severity, _ = meter.ParseSeverity(a.Severity)
	if r.Quantity == alarm.N {
		return []alarm.Rule{r}
	}
	for p := range meter.Phase(meter.Phases) {
		if has[p] && (len(a.Phases) == 0 || slices.Contains(a.Phases, p.String())) {
			r.Phase = p
			rules = append(rules, r)
		}
	}
	return rules
}

// Rules returns the threshold alarms of a way that has the given phases: those
// of the file, and the default ones that it does not replace.
func (c *Config) Rules(way string, has [meter.Phases]bool) (rules []alarm.Rule) {
	replaced := map[string]bool{}
	for i := range c.Alarms {
		a := &c.Alarms[i]
		if a.isCondition() || !slices.Contains(a.Ways, way) {
			continue
		}
		for _, r := range a.rules(way, has) {
			replaced[r.ID()] = true
			if a.Enabled {
				rules = append(rules, r)
			}
		}
	}
	if c.Defaults {
		for _, r := range c.defaultRules(way, has) {
			if !replaced[r.ID()] {
				rules = append(rules, r)
			}
		}
	}
	if !c.hasNeutral(way) {
		rules = slices.DeleteFunc(rules, func(r alarm.Rule) bool { return r.Quantity == alarm.N })
	}
	return rules
}

// hasNeutral reports whether what the meter says of the neutral may be of the
// way's own neutral. Where the file does not say, a reading does: a computed one is
// marked.
func (c *Config) hasNeutral(way string) bool {
	i := slices.IndexFunc(c.Ways, func(w Way) bool { return w.ID == way })
	return i >= 0 && c.Ways[i].Neutral != "none" && c.Ways[i].Neutral != "shared"
}

// ratingOf returns the rating of each phase of a way, or of the transformer.
func (c *Config) ratingOf(way string) (rating [meter.Phases]meter.Milliamps) {
	for _, w := range c.Ways {
		for p, a := range w.Rating {
			if w.ID == way {
				rating[p] = meter.Milliamps(Milli(a))
			}
		}
	}
	if firm := c.Site.FirmCurrent(); way == failsafe.TX {
		rating = [meter.Phases]meter.Milliamps{firm, firm, firm}
	}
	return rating
}

// The default thresholds. A current above its rating matters after minutes, and
// at once only where a fuse may melt; voltage limits are about 10-minute means
// (EN 50160, ESQCR: 230 V +10 % -6 %), and at once where equipment suffers.
const (
	mostVolts, leastVolts         = 253_000, 216_200
	mostVoltsAtOnce, leastAtOnce  = 258_000, 195_500
	currentHi, currentHiHi        = 105, 150 // per cent of the rating
	neutralHi                     = 50
	hysteresisVolts               = 1_000
	hysteresisAmps                = 3 // per cent of the rating
	currentOn, currentOff         = 10 * time.Minute, time.Minute
	currentAtOnceOn               = 10 * time.Second
	voltsAtOnceOn, voltsAtOnceOff = 3 * time.Second, 10 * time.Second
	voltsMean                     = 10 * time.Minute
)

// defaultRules returns the thresholds that every site should have. All ways of a
// busbar have its voltage: with a transformer it is judged once, at TX.
func (c *Config) defaultRules(way string, has [meter.Phases]bool) (rules []alarm.Rule) {
	sum, incomer := way == failsafe.TX, c.Incomer() == way
	volts := sum == (c.Site.FirmCurrent() > 0)
	offset := Milli(c.Site.BusbarOffset)
	rating, smallest := c.ratingOf(way), meter.Milliamps(math.MaxInt64)
	for p := range meter.Phase(meter.Phases) {
		if !has[p] {
			continue
		}
		if volts {
			v := func(k alarm.Kind, threshold int64, severity meter.Severity) alarm.Rule {
				return alarm.Rule{Way: way, Quantity: alarm.V, Phase: p, Kind: k, Threshold: threshold + offset, Hysteresis: hysteresisVolts, Severity: severity}
			}
			slow := []alarm.Rule{v(alarm.Hi, mostVolts, meter.Warning), v(alarm.Lo, leastVolts, meter.Warning)}
			fast := []alarm.Rule{v(alarm.HiHi, mostVoltsAtOnce, meter.Major), v(alarm.LoLo, leastAtOnce, meter.Major)}
			for i := range slow {
				slow[i].Mean = voltsMean
				fast[i].OnDelay, fast[i].OffDelay = voltsAtOnceOn, voltsAtOnceOff
			}
			slow[1].Inhibit, fast[1].Inhibit = deadPhase, deadPhase
			rules = append(rules, append(slow, fast...)...)
		}
		if rating[p] <= 0 {
			continue
		}
		if incomer {
			smallest = min(smallest, rating[p])
			continue // its current is judged at TX
		}
		smallest = min(smallest, rating[p])
		i := alarm.Rule{Way: way, Quantity: alarm.I, Phase: p, Kind: alarm.Hi, Threshold: int64(rating[p]) * currentHi / 100,
			Hysteresis: int64(rating[p]) * hysteresisAmps / 100, OnDelay: currentOn, OffDelay: currentOff, Severity: meter.Warning}
		rules = append(rules, i)
		i.Kind, i.Threshold, i.OnDelay, i.Severity = alarm.HiHi, int64(rating[p])*currentHiHi/100, currentAtOnceOn, meter.Major
		rules = append(rules, i)
	}
	if !sum && smallest < math.MaxInt64 {
		rules = append(rules, alarm.Rule{Way: way, Quantity: alarm.N, Kind: alarm.Hi, Threshold: int64(smallest) * neutralHi / 100,
			Hysteresis: int64(smallest) * hysteresisAmps / 100, OnDelay: currentOn, OffDelay: currentOff, Severity: meter.Warning})
	}
	return rules
}

// Conditions returns what is watched of a way besides its thresholds, as the
// file sets it. Poll is how often the way is read.
func (c *Config) Conditions(way string, has [meter.Phases]bool, poll time.Duration) alarm.Config {
	n := c.Nuisance
	out := alarm.Config{
		Way: way, Phases: has, Rating: c.ratingOf(way), Hold: poll * 5 / 2,
		Chatter: alarm.Chatter{Raises: n.ChatterRaises, Within: n.ChatterWithin, Stable: n.ChatterStable},
	}
	if n.ChatterRaises == 0 {
		out.Chatter.Raises = -1
	}
	for i := range c.Alarms {
		a := &c.Alarms[i]
		w := out.Watch(a.Kind)
		if w == nil || !slices.Contains(a.Ways, way) {
			continue
		}
		w.Disabled, w.OnDelay, w.OffDelay, w.Latch = !a.Enabled, a.OnDelay, a.OffDelay, a.Latch
		w.Severity, _ = meter.ParseSeverity(a.Severity)
		threshold, hysteresis := Milli(a.Threshold), Milli(a.Hysteresis)
		const ppm = 10 // of a thousandth of a per cent
		switch a.Kind {
		case alarm.FuseSuspected:
			out.Fuse.From = meter.Milliamps(threshold)
		case alarm.SupplyLost:
			out.Supply.Below = meter.Millivolts(threshold)
		case alarm.ExportOverload:
			out.Export.Hysteresis = meter.Milliamps(hysteresis)
		case alarm.ReversePower:
			out.Reverse.Below, out.Reverse.Hysteresis = meter.Milliwatts(threshold), meter.Milliwatts(hysteresis)
		case alarm.NeutralRatioHigh:
			out.Neutral.Ratio, out.Neutral.Hysteresis = meter.PPM(threshold*ppm), meter.PPM(hysteresis*ppm)
		case alarm.UnbalanceHigh:
			out.Unbalance.Above, out.Unbalance.Hysteresis, out.Unbalance.Mean = meter.PPM(threshold*ppm), meter.PPM(hysteresis*ppm), a.Mean
		}
	}
	if !c.hasNeutral(way) {
		out.Neutral.Disabled = true
	}
	if way == c.Incomer() {
		// What is exported is told of the transformer.
		out.Export.Disabled, out.Reverse.Disabled = true, true
	}
	if way == failsafe.TX {
		// The sum has no fuse and no meter of its own, and what its ways lack is
		// told of them.
		for _, name := range []string{alarm.FuseSuspected, alarm.PhaseLost, alarm.SupplyLost, alarm.NeutralRatioHigh,
			alarm.UnbalanceHigh, alarm.StaleReadings, alarm.FrozenReadings, alarm.MeasurementFault} {
			out.Watch(name).Disabled = true
		}
	}
	return out
}

// ChargingOf says whether anything of electric vehicles on a way may be computed.
// A way of which the file does not say how many customers it has gets none: here
// the doubt protects them.
func (c *Config) ChargingOf(w *Way) meter.ChargingState {
	switch {
	case w.Customers == 0:
		return meter.CustomersUnknown
	case w.Customers < c.EV.MinCustomers:
		return meter.FewCustomers
	case c.PollOf(w) > ev.SlowestPoll:
		return meter.SlowPoll
	}
	return meter.Followed
}

// JournalKeep is the age at which the journal of the failsafe engine is deleted. A
// step of it has the currents of all ways, so one way with few customers decides
// for all of it.
func (c *Config) JournalKeep() time.Duration {
	if len(c.FewCustomers()) > 0 {
		return min(c.Journal.Keep, c.Recorder.KeepFew)
	}
	return c.Journal.Keep
}

// FewCustomers returns the ways of which readings are personal data. Of one that
// the file says nothing about it is taken that there are enough.
func (c *Config) FewCustomers() map[string]bool {
	few := map[string]bool{}
	for _, w := range c.Ways {
		if w.Customers > 0 && w.Customers < c.Recorder.Few {
			few[w.ID] = true
		}
	}
	return few
}
