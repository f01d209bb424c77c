// Package alarm decides when an alarm of one LV way begins and ends, which
// readings go out in real time while it stands and which are kept, and what the
// ways add up to at the transformer.
//
// A [Machine] holds the thresholds of one way, each with delays and a hysteresis,
// and conditions of its own, from FUSE_SUSPECTED to STALE. [Live] chooses the
// readings to publish and to keep. A [Transformer] makes readings of the
// pseudo-way TX, which has alarms like any other way. A [Flood] notices when too
// many alarms come at once.
//
// It polls nothing, stores nothing, sends nothing and owns no clock: the caller
// gives it each reading with the wall time at which it was taken, and carries
// out what it returns. It sheds no load either; that is decided by failsafe.
// All arithmetic is on whole numbers, so the same readings give the same edges
// on every CPU.
//
// Requirements: R3 (real-time data while thresholds are exceeded), R5 (health
// checks), R19 (the transformer against its rating), R20 (notice loss of supply
// per phase).
package alarm

import (
	"errors"
	"fmt"
	"time"

	"lvagent/meter"
)

// Quantity is what a rule watches. The zero value is none, which New refuses.
type Quantity uint8

// Quantities of a rule. P and Q are signed; I is a magnitude, so that a cable
// that carries export is watched like one that carries import.
const (
	V Quantity = iota + 1
	I
	P
	Q
	N // neutral current, which has no phase
)

var quantityNames = [...]string{"", "v", "i", "p", "q", "n"}

// String returns the quantity's name in messages and configuration.
func (q Quantity) String() string {
	if int(q) < len(quantityNames) {
		return quantityNames[q]
	}
	return ""
}

// ParseQuantity returns the quantity called name.
func ParseQuantity(name string) (Quantity, bool) {
	for i, n := range quantityNames {
		if n == name && n != "" {
			return Quantity(i), true
		}
	}
	return 0, false
}

// Kind is the side on which a value must not be. The zero value is none, which
// New refuses. Hi and HiHi are alarms of their own: the one says nothing about
// the other.
type Kind uint8

// Kinds of a rule.
const (
	Hi Kind = iota + 1
	HiHi
	Lo
	LoLo
	Rate // how far the value moved, either way, within Over
)

var kindNames = [...]string{"", "hi", "hihi", "lo", "lolo", "rate"}

// String returns the kind's name in messages and configuration.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// ParseKind returns the kind called name.
func ParseKind(name string) (Kind, bool) {
	for i, n := range kindNames {
		if n == name && n != "" {
			return Kind(i), true
		}
	}
	return 0, false
}

// low reports whether the kind is about values that are too small.
func (k Kind) low() bool { return k == Lo || k == LoLo }

// Rule is a threshold on one quantity of one phase of one way.
type Rule struct {
	Way        string
	Quantity   Quantity
	Phase      meter.Phase // not used for N
	Kind       Kind
	Threshold  int64         // thousandths; only a value beyond it counts, not one that equals it
	Hysteresis int64         // thousandths; how far back the value must come, at least
	OnDelay    time.Duration // how long it must be beyond
	OffDelay   time.Duration // how long it must be back
	Severity   meter.Severity

	// Mean compares the mean over each stretch of this length, which begin at
	// whole multiples of it by the wall clock, instead of each reading: root of
	// the mean of squares of V, I and N, signed mean of P and Q. A stretch that
	// was measured for less than nine tenths of it gives no verdict, nor does one
	// in which the supply was lost. 0: each reading.
	Mean  time.Duration
	Over  time.Duration // of Rate; 0 is 10 s
	Latch bool          // a raise ends only when it was acknowledged as well
	// Inhibit names conditions of the way, or of the rule's phase, during which
	// the alarm is not raised. One that stands is cleared as ever.
	Inhibit []string
}

// ID names the rule's condition: "W3.L1.i.hi", or "W3.n.hi" for the neutral.
func (r Rule) ID() string {
	if r.Quantity == N {
		return r.Way + ".n." + r.Kind.String()
	}
	return r.Way + "." + r.Phase.String() + "." + r.Quantity.String() + "." + r.Kind.String()
}

// defaultOver is over which time a rate is taken.
const defaultOver = 10 * time.Second

// check returns what is wrong with the rule.
func (r Rule) check() error {
	switch {
	case r.Quantity < V || r.Quantity > N:
		return fmt.Errorf("quantity %d is none of v, i, p, q, n", r.Quantity)
	case r.Kind < Hi || r.Kind > Rate:
		return fmt.Errorf("kind %d is none of hi, hihi, lo, lolo, rate", r.Kind)
	case r.Quantity != N && r.Phase >= meter.Phases:
		return fmt.Errorf("phase %d is none of L1, L2, L3", r.Phase)
	case r.Hysteresis < 0:
		return fmt.Errorf("hysteresis %d is negative", r.Hysteresis)
	case r.OnDelay < 0:
		return fmt.Errorf("on delay %v is negative", r.OnDelay)
	case r.OffDelay < 0:
		return fmt.Errorf("off delay %v is negative", r.OffDelay)
	case r.Mean < 0 || r.Mean > mostMean:
		return fmt.Errorf("mean over %v: must be 0 to %v", r.Mean, mostMean)
	case r.Over < 0 || r.Over > mostMean:
		return fmt.Errorf("rate over %v: must be 0 to %v", r.Over, mostMean)
	case r.Mean > 0 && r.Kind == Rate:
		return errors.New("a rate is of readings, not of means")
	case r.Threshold < -largest || r.Threshold > largest || r.Hysteresis > largest:
		return fmt.Errorf("threshold %d, hysteresis %d: beyond what is taken as measured (%d)", r.Threshold, r.Hysteresis, int64(largest))
	}
	for _, name := range r.Inhibit {
		if _, ok := conditionOf(name); !ok {
			return fmt.Errorf("inhibit: there is no condition %q", name)
		}
	}
	return nil
}

// largest is the largest value, in thousandths, that is taken as measured: 100
// MW or 100 MA. Anything beyond counts as missing, out of range; no difference
// and no sum of a dozen ways can then leave its 64 bits.
const largest = 100_000_000_000

// mostMean bounds what a mean and a rate look back over.
const mostMean = time.Hour

// Config says what a machine watches besides its rules. Zero fields stand for
// the defaults, which are given here.
type Config struct {
	Way     string
	Phases  [meter.Phases]bool            // phases that the way has; none means all three
	Rating  [meter.Phases]meter.Milliamps // 0: not known
	Hold    time.Duration                 // how long a sample stands without a newer one: 2.5 polls; 0 is 2.5 s
	Chatter Chatter

	Fuse        Fuse
	Phase       PhaseLoss
	Supply      Supply
	Export      Export
	Reverse     Reverse
	Neutral     NeutralRatio
	Unbalance   Unbalance
	Stale       Watch // no answer of the meter; on delay 30 s, off delay 10 s
	Frozen      Watch // the meter repeats itself, as its reading says; off delay 10 s
	Measurement Watch // the meter answers without a value of a phase; on delay 30 s, off delay 10 s
}

// Watch is what every condition has. A zero field stands for the condition's
// default.
type Watch struct {
	Disabled bool
	OnDelay  time.Duration // how long it must hold
	OffDelay time.Duration // how long it must be over
	Severity meter.Severity
	Latch    bool
}

// Chatter says when an alarm comes and goes too often: when it would be raised
// for the Raises-th time within Within, it is raised and then stays until it was
// on one side for Stable.
type Chatter struct {
	Raises int           // default 3; below 0: never
	Within time.Duration // default 60 s
	Stable time.Duration // default 5 min
}

// mostRaises bounds Chatter.Raises.
const mostRaises = 8

// Fuse says when FUSE_SUSPECTED is raised: the current of one phase falls from
// above From to below Zero within Within while its voltage is above Healthy.
type Fuse struct {
	Watch                    // critical; off delay 60 s above From/2
	From    meter.Milliamps  // default 10 % of the phase's rating, at least 20 A
	Zero    meter.Milliamps  // default 1 A
	Within  time.Duration    // default 2 s, or 0.6 x Hold (a poll and a half) where polls are too slow for that
	Healthy meter.Millivolts // default 184 V: 80 % of 230 V
	Dead    meter.Millivolts // default 46 V: with less, the supply went, not the fuse
	Before  time.Duration    // default 30 s: the peak before the fall is of this time at least, of twice at most
}

// Supply says when SUPPLY_LOST is raised: a phase's voltage is below Below and no
// other phase of the way is known to be above Above.
type Supply struct {
	Watch                  // critical; delays 2 s
	Below meter.Millivolts // default 46 V: 20 % of 230 V
	Above meter.Millivolts // it is back above this: default 184 V, 80 % of 230 V
}

// PhaseLoss says when PHASE_LOST is raised: a phase is dead, by the limits of
// Supply, while another one of the way lives. Whichever of the two comes first
// keeps the event: a phase never has both.
type PhaseLoss struct {
	Watch // critical; delays 2 s
}

// Export says when EXPORT_OVERLOAD is raised: a phase carries more than its
// rating while its power is negative. Curtailing loads would make that worse,
// so it is a condition apart from i.hi. A phase without a rating has none.
type Export struct {
	Watch                      // major; on delay 30 s, off delay 60 s
	Hysteresis meter.Milliamps // default 3 % of the phase's rating
}

// Reverse says when REVERSE_POWER is raised: power of a phase flows towards the
// busbar. With generation on the way that is daily life and an event; an
// overload by it is EXPORT_OVERLOAD.
type Reverse struct {
	Watch                       // event; delays 60 s
	Below      meter.Milliwatts // default -1 kW
	Hysteresis meter.Milliwatts // default 0.5 kW
}

// NeutralRatio says when NEUTRAL_RATIO is raised: the neutral current is above
// Ratio of the highest phase current and above Floor. Unbalance alone cannot take
// it above the highest phase; harmonics of the third order, a fault or a wrong
// sensor can. A neutral that was computed from the phases is never judged.
type NeutralRatio struct {
	Watch                      // warning; on delay 10 min, off delay 60 s
	Ratio      meter.PPM       // default 1.1 of the highest phase current
	Hysteresis meter.PPM       // default 0.1
	Floor      meter.Milliamps // default 15 A
}

// Unbalance says when UNBALANCE is raised: the negative-sequence voltage, worked
// out from the voltages between the phases, is above Above over Mean. Voltages to
// neutral do not tell it, and never raise it.
type Unbalance struct {
	Watch                    // warning; no delays besides the mean's
	Above      meter.PPM     // default 2 %
	Hysteresis meter.PPM     // default 0.2 %
	Mean       time.Duration // default 10 min
	Hold       time.Duration // how long a voltage between phases stands; default 150 s
}

// or returns v, or the default where v is zero.
func or[T ~int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	if c.Phases == [meter.Phases]bool{} {
		c.Phases = [meter.Phases]bool{true, true, true}
	}
	c.Hold = or(c.Hold, 2500*time.Millisecond)
	if c.Chatter.Raises == 0 {
		c.Chatter.Raises = 3
	}
	c.Chatter.Within = or(c.Chatter.Within, time.Minute)
	c.Chatter.Stable = or(c.Chatter.Stable, 5*time.Minute)
	f := &c.Fuse
	f.Zero = or(f.Zero, 1_000)
	f.Within = or(f.Within, max(2*time.Second, c.Hold/5*3))
	f.Healthy = or(f.Healthy, 184_000)
	f.Dead = or(f.Dead, 46_000)
	f.Before = or(f.Before, 30*time.Second)
	f.fill(0, time.Minute, meter.Critical)
	c.Supply.Below = or(c.Supply.Below, 46_000)
	c.Supply.Above = or(c.Supply.Above, 184_000)
	c.Supply.fill(2*time.Second, 2*time.Second, meter.Critical)
	c.Phase.fill(2*time.Second, 2*time.Second, meter.Critical)
	c.Export.fill(30*time.Second, time.Minute, meter.Major)
	r := &c.Reverse
	r.Below = or(r.Below, -1_000_000)
	r.Hysteresis = or(r.Hysteresis, 500_000)
	r.fill(time.Minute, time.Minute, meter.Event)
	n := &c.Neutral
	n.Ratio = or(n.Ratio, 1_100_000)
	n.Hysteresis = or(n.Hysteresis, 100_000)
	n.Floor = or(n.Floor, 15_000)
	n.fill(10*time.Minute, time.Minute, meter.Warning)
	u := &c.Unbalance
	u.Above = or(u.Above, 20_000)
	u.Hysteresis = or(u.Hysteresis, 2_000)
	u.Mean = or(u.Mean, 10*time.Minute)
	u.Hold = or(u.Hold, 150*time.Second)
	u.fill(0, 0, meter.Warning)
	c.Stale.fill(30*time.Second, 10*time.Second, meter.Major)
	c.Frozen.fill(0, 10*time.Second, meter.Warning)
	c.Measurement.fill(30*time.Second, 10*time.Second, meter.Warning)
	return c
}

func (w *Watch) fill(on, off time.Duration, severity meter.Severity) {
	w.OnDelay, w.OffDelay = or(w.OnDelay, on), or(w.OffDelay, off)
	if w.Severity == 0 {
		w.Severity = severity
	}
}

// fuseFrom returns the current above which a fall to nothing is suspicious.
func (c *Config) fuseFrom(p meter.Phase) meter.Milliamps {
	return or(c.Fuse.From, max(c.Rating[p]/10, 20_000))
}

// check returns everything that is wrong with a configuration with defaults.
func (c *Config) check(rules []Rule) error {
	var faults []error
	seen := make(map[string]bool, len(rules))
	for _, r := range rules {
		id := r.ID()
		switch err := r.check(); {
		case err != nil:
			faults = append(faults, fmt.Errorf("alarm rule %s: %w", id, err))
		case r.Way != c.Way:
			faults = append(faults, fmt.Errorf("alarm rule %s: not a rule of way %s", id, c.Way))
		case seen[id]:
			faults = append(faults, fmt.Errorf("alarm rule %s: given twice", id))
		}
		seen[id] = true
	}
	for i, amps := range c.Rating {
		if amps < 0 || amps > largest {
			faults = append(faults, fmt.Errorf("alarms of way %s: rating of %v is %d mA", c.Way, meter.Phase(i), amps))
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"hold", c.Hold}, {"fuse within", c.Fuse.Within}, {"fuse before", c.Fuse.Before},
		{"chatter within", c.Chatter.Within}, {"chatter stable", c.Chatter.Stable},
		{"unbalance mean", c.Unbalance.Mean}, {"unbalance hold", c.Unbalance.Hold},
	} {
		if d.value < 0 {
			faults = append(faults, fmt.Errorf("alarms of way %s: %s %v is negative", c.Way, d.name, d.value))
		}
	}
	for k := range conditions {
		if w := c.watchOf(condition(k)); w.OnDelay < 0 || w.OffDelay < 0 {
			faults = append(faults, fmt.Errorf("alarms of way %s: %s has a negative delay: %v, %v", c.Way, conditions[k], w.OnDelay, w.OffDelay))
		}
	}
	if c.Chatter.Raises > mostRaises || c.Chatter.Raises == 1 {
		faults = append(faults, fmt.Errorf("alarms of way %s: chatter after %d raises: must be 2 to %d, or below 0 for never", c.Way, c.Chatter.Raises, mostRaises))
	}
	// Beyond and back must exclude each other, or a condition would chatter.
	if from := min(c.fuseFrom(meter.L1), c.fuseFrom(meter.L2), c.fuseFrom(meter.L3)); from/2 < c.Fuse.Zero {
		faults = append(faults, fmt.Errorf("alarms of way %s: fuse from %d mA is below twice its zero, %d mA", c.Way, from, c.Fuse.Zero))
	}
	if c.Supply.Above < c.Supply.Below {
		faults = append(faults, fmt.Errorf("alarms of way %s: supply is back above %d mV, lost below %d mV", c.Way, c.Supply.Above, c.Supply.Below))
	}
	if c.Export.Hysteresis < 0 || c.Reverse.Hysteresis < 0 || c.Neutral.Hysteresis < 0 || c.Unbalance.Hysteresis < 0 {
		faults = append(faults, fmt.Errorf("alarms of way %s: export hysteresis %d mA, reverse %d mW, neutral %d ppm or unbalance %d ppm is negative",
			c.Way, c.Export.Hysteresis, c.Reverse.Hysteresis, c.Neutral.Hysteresis, c.Unbalance.Hysteresis))
	}
	if c.Neutral.Ratio < 0 || c.Neutral.Floor < 0 || c.Unbalance.Above < 0 || c.Unbalance.Mean > mostMean {
		faults = append(faults, fmt.Errorf("alarms of way %s: neutral ratio %d ppm, its floor %d mA or unbalance %d ppm is negative, or its mean over %v is above %v",
			c.Way, c.Neutral.Ratio, c.Neutral.Floor, c.Unbalance.Above, c.Unbalance.Mean, mostMean))
	}
	return errors.Join(faults...)
}
