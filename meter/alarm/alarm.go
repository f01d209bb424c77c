// Package alarm decides when an alarm of one LV way begins and ends, which
// readings go out in real time while it stands, and what the ways add up to at
// the transformer.
//
// A [Machine] holds the thresholds of one way, each with a delay and a
// hysteresis, and three conditions of its own: FUSE_SUSPECTED, SUPPLY_LOST and
// EXPORT_OVERLOAD. [Live] chooses the readings to publish. A [Transformer] makes
// readings of the pseudo-way TX, which has alarms like any other way.
//
// It polls nothing, stores nothing, sends nothing and owns no clock: the caller
// gives it each reading with the wall time at which it was taken, and carries
// out what it returns. It sheds no load either; that is decided by failsafe.
// All arithmetic is on whole numbers, so the same readings give the same edges
// on every CPU.
//
// Requirements: R3 (real-time data while thresholds are exceeded), R19 (the
// transformer against its rating), R20 (notice loss of supply per phase).
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
)

var kindNames = [...]string{"", "hi", "hihi", "lo", "lolo"}

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
}

// ID names the rule's condition: "W3.L1.i.hi", or "W3.n.hi" for the neutral.
func (r Rule) ID() string {
	if r.Quantity == N {
		return r.Way + ".n." + r.Kind.String()
	}
	return r.Way + "." + r.Phase.String() + "." + r.Quantity.String() + "." + r.Kind.String()
}

// check returns what is wrong with the rule.
func (r Rule) check() error {
	switch {
	case r.Quantity < V || r.Quantity > N:
		return fmt.Errorf("quantity %d is none of v, i, p, q, n", r.Quantity)
	case r.Kind < Hi || r.Kind > LoLo:
		return fmt.Errorf("kind %d is none of hi, hihi, lo, lolo", r.Kind)
	case r.Quantity != N && r.Phase >= meter.Phases:
		return fmt.Errorf("phase %d is none of L1, L2, L3", r.Phase)
	case r.Hysteresis < 0:
		return fmt.Errorf("hysteresis %d is negative", r.Hysteresis)
	case r.OnDelay < 0:
		return fmt.Errorf("on delay %v is negative", r.OnDelay)
	case r.OffDelay < 0:
		return fmt.Errorf("off delay %v is negative", r.OffDelay)
	case r.Threshold < -largest || r.Threshold > largest || r.Hysteresis > largest:
		return fmt.Errorf("threshold %d, hysteresis %d: beyond what is taken as measured (%d)", r.Threshold, r.Hysteresis, int64(largest))
	}
	return nil
}

// Names of the conditions without a configured threshold, as an alarm's Kind.
const (
	FuseSuspected  = "FUSE_SUSPECTED"
	SupplyLost     = "SUPPLY_LOST"
	ExportOverload = "EXPORT_OVERLOAD"
)

// largest is the largest value, in thousandths, that is taken as measured: 100
// MW or 100 MA. Anything beyond counts as missing, out of range; no difference
// and no sum of a dozen ways can then leave its 64 bits.
const largest = 100_000_000_000

// Config says what a machine watches besides its rules. Zero fields stand for
// the defaults, which are given here.
type Config struct {
	Way    string
	Phases [meter.Phases]bool            // phases that the way has; none means all three
	Rating [meter.Phases]meter.Milliamps // 0: not known
	Hold   time.Duration                 // how long a sample stands without a newer one: 2.5 polls; 0 is 2.5 s
	Fuse   Fuse
	Supply Supply
	Export Export
}

// Fuse says when FUSE_SUSPECTED is raised: the current of one phase falls from
// above From to below Zero within Within while its voltage is above Healthy.
type Fuse struct {
	Disabled bool             // as for TX, where no single fuse stands behind a phase
	From     meter.Milliamps  // default 10 % of the phase's rating, at least 20 A
	Zero     meter.Milliamps  // default 1 A
	Within   time.Duration    // default 2 s, or 0.6 x Hold (a poll and a half) where polls are too slow for that
	Healthy  meter.Millivolts // default 184 V: 80 % of 230 V
	Dead     meter.Millivolts // default 46 V: with less, the supply went, not the fuse
	OffDelay time.Duration    // default 60 s above From/2
	Before   time.Duration    // default 30 s: the peak before the fall is of this time at least, of twice at most
}

// Supply says when SUPPLY_LOST is raised: a phase's voltage is below Below.
type Supply struct {
	Disabled bool
	Below    meter.Millivolts // default 46 V: 20 % of 230 V
	Above    meter.Millivolts // it is back above this: default 184 V, 80 % of 230 V
	OnDelay  time.Duration    // default 2 s
	OffDelay time.Duration    // default 2 s
}

// Export says when EXPORT_OVERLOAD is raised: a phase carries more than its
// rating while its power is negative. Curtailing loads would make that worse,
// so it is a condition apart from i.hi. A phase without a rating has none.
type Export struct {
	Disabled   bool
	Hysteresis meter.Milliamps // default 3 % of the phase's rating
	OnDelay    time.Duration   // default 30 s
	OffDelay   time.Duration   // default 60 s
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
	f := &c.Fuse
	f.Zero = or(f.Zero, 1_000)
	f.Within = or(f.Within, max(2*time.Second, c.Hold/5*3))
	f.Healthy = or(f.Healthy, 184_000)
	f.Dead = or(f.Dead, 46_000)
	f.OffDelay = or(f.OffDelay, time.Minute)
	f.Before = or(f.Before, 30*time.Second)
	s := &c.Supply
	s.Below = or(s.Below, 46_000)
	s.Above = or(s.Above, 184_000)
	s.OnDelay = or(s.OnDelay, 2*time.Second)
	s.OffDelay = or(s.OffDelay, 2*time.Second)
	e := &c.Export
	e.OnDelay = or(e.OnDelay, 30*time.Second)
	e.OffDelay = or(e.OffDelay, time.Minute)
	return c
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
		{"hold", c.Hold}, {"fuse within", c.Fuse.Within}, {"fuse off delay", c.Fuse.OffDelay}, {"fuse before", c.Fuse.Before},
		{"supply on delay", c.Supply.OnDelay}, {"supply off delay", c.Supply.OffDelay},
		{"export on delay", c.Export.OnDelay}, {"export off delay", c.Export.OffDelay},
	} {
		if d.value < 0 {
			faults = append(faults, fmt.Errorf("alarms of way %s: %s %v is negative", c.Way, d.name, d.value))
		}
	}
	// Beyond and back must exclude each other, or a condition would chatter.
	if from := min(c.fuseFrom(meter.L1), c.fuseFrom(meter.L2), c.fuseFrom(meter.L3)); from/2 < c.Fuse.Zero {
		faults = append(faults, fmt.Errorf("alarms of way %s: fuse from %d mA is below twice its zero, %d mA", c.Way, from, c.Fuse.Zero))
	}
	if c.Supply.Above < c.Supply.Below {
		faults = append(faults, fmt.Errorf("alarms of way %s: supply is back above %d mV, lost below %d mV", c.Way, c.Supply.Above, c.Supply.Below))
	}
	if c.Export.Hysteresis < 0 {
		faults = append(faults, fmt.Errorf("alarms of way %s: export hysteresis %d mA is negative", c.Way, c.Export.Hysteresis))
	}
	return errors.Join(faults...)
}
