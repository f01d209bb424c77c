// Package loading follows how warm the parts of a way are that must not get too
// warm, and how much it could still carry: the cable, the fuse and, for the sum
// of the ways, the transformer.
//
// Each model is a pure step of a minute on whole numbers, in millionths, rounded
// to the hot side: the same readings give the same heat on every CPU. It decides
// no limit (failsafe) and reads no clock.
//
// Heat is Theta: 1 is what the part may have for ever. What is not measured is
// never taken as cooler than what was last known.
//
// Requirements: R19 (peak demand against firm capacity), R8 and the publishing of
// free capacity per way and phase.
package loading

import (
	"time"

	"lvagent/meter"
	"lvagent/meter/fixed"
)

// Season of a rating.
type Season uint8

// Seasons, the warmest first: it stands for an unknown date.
const (
	Summer Season = iota
	Mid
	Winter
	Seasons
)

// String returns the season's name.
func (s Season) String() string { return [...]string{"summer", "mid", "winter"}[min(s, Winter)] }

// seasonOf follows the seasons of overhead-line ratings in Great Britain (EREC
// P27): winter December to February, summer May to August.
func seasonOf(m time.Month) Season {
	switch m {
	case time.December, time.January, time.February:
		return Winter
	case time.May, time.June, time.July, time.August:
		return Summer
	default:
		return Mid
	}
}

// Config says what a way is made of.
type Config struct {
	Way         string
	Phases      [meter.Phases]bool // none means all three
	Hold        time.Duration      // how long a reading stands; 0 is 2.5 s
	Sustained   [Seasons][meter.Phases]meter.Milliamps
	Cyclic      meter.Milliamps // 0: none
	CyclicLoss  meter.PPM       // loss load factor that Cyclic was worked out for
	Cable       Cable
	Fuse        *Fuse        // nil: none
	Transformer *Transformer // nil: a way
	Firm        int64        // mVA, with Transformer
	Ambient     [12]int64    // outside by month, thousandths of °C, January first
}

// Times of the models.
const (
	unknownAfter = 60       // minutes without a current after which none is told
	lookAhead    = 24 * 60  // minutes within which the limit is looked for
	mostSteps    = 7 * 1440 // minutes that are made up for at once
	largest      = 1_000_000_000
	warmHeat     = 800_000 // of a start without a state: as after hours at 90 % of the rating
	warmLoad     = 900_000
)

// Way follows one way. It has one owner and is not safe for concurrent use.
type Way struct {
	cfg    Config
	season Season
	month  time.Month // 0: not known

	started bool
	cursor  int64 // ms: everything before is in the sums
	phase   [meter.Phases]phase
	heat    Heat // of the transformer
	aged    int64
	warm    int64 // minutes until a warm start is forgotten
	demand  demand

	sensed      int64 // around the transformer, thousandths of °C
	sensedUntil int64 // ms
}

type phase struct {
	held    int64 // mA, up to until
	until   int64 // ms
	sum     fixed.Sum
	weight  int64 // ms
	burning int64 // of the fuse's melting time, millionths of a millionth

	heard  bool
	silent int    // minutes since the last measured one
	last   uint64 // mean square of the last minute, mA^2
	cable  int64
	fuse   int64
}

// New returns a way that starts warm: what it carried before is not known.
func New(cfg Config) *Way {
	if cfg.Phases == [meter.Phases]bool{} {
		cfg.Phases = [meter.Phases]bool{true, true, true}
	}
	if cfg.Hold <= 0 {
		cfg.Hold = 2500 * time.Millisecond
	}
	w := &Way{cfg: cfg, warm: 3 * cfg.Cable.Tau}
	for p := range w.phase {
		w.phase[p].cable, w.phase[p].fuse = warmHeat, warmHeat
	}
	if t := cfg.Transformer; t != nil {
		w.heat = t.steady([meter.Phases]int64{warmLoad, warmLoad, warmLoad})
		w.warm = 3 * t.OilTau
	}
	return w
}

// Add takes a reading of the way. The direction of a current does not matter to
// what it warms.
func (w *Way) Add(r *meter.Reading) {
	at := r.At.Milliseconds()
	w.until(at)
	for p := range r.Phase {
		s := &r.Phase[p].I
		if s.Quality == meter.Missing {
			if s.Reason != meter.NoAnswer {
				w.phase[p].until = at
			}
			continue
		}
		amps := int64(s.Value)
		if amps < 0 {
			amps = -amps
		}
		w.phase[p].held, w.phase[p].until = min(amps, largest), at+w.cfg.Hold.Milliseconds()
	}
}

// senseFor is how long a temperature around the transformer stands: the air in a
// substation takes longer to change.
const senseFor = 15 * time.Minute

// Sense takes the temperature around the transformer that a sensor measured at a
// time. What the month's table and the enclosure would say does not count while
// it stands.
func (w *Way) Sense(t meter.Millicelsius, at time.Duration) {
	w.sensed, w.sensedUntil = int64(t), (at + senseFor).Milliseconds()
}

// Sensed reports whether the temperature around the transformer is measured.
func (w *Way) Sensed() bool { return w.cursor < w.sensedUntil }

// Advance brings the models to now, and says what the date is where the clock
// can be trusted.
func (w *Way) Advance(now time.Duration, wall time.Time, clock meter.Clock) {
	w.season, w.month = Summer, 0
	if clock.Trusted() {
		w.month = wall.Month()
		w.season = seasonOf(w.month)
	}
	w.until(now.Milliseconds())
}

const minute = int64(time.Minute / time.Millisecond)

// until integrates up to a time, and steps the models at each full minute.
func (w *Way) until(ms int64) {
	if !w.started {
		w.started, w.cursor = true, ms
	}
	if ms-w.cursor > mostSteps*minute {
		w.cursor = ms - mostSteps*minute
	}
	for w.cursor < ms {
		next := min(ms, (w.cursor/minute+1)*minute)
		for p := range w.phase {
			ph := &w.phase[p]
			if span := min(next, ph.until) - w.cursor; span > 0 {
				ph.sum = ph.sum.Plus(fixed.Square(ph.held).Times(uint64(span)))
				ph.weight += span
				if f := w.cfg.Fuse; f != nil {
					ph.burning += f.rate(ratio(uint64(ph.held*ph.held), f.Rating)) * span
				}
			}
		}
		w.cursor = next
		if next%minute == 0 {
			w.step()
		}
	}
}

// ratio returns the square of a current over a rating, at most that of mostLoad.
func ratio(square uint64, rating meter.Milliamps) int64 {
	if rating <= 0 {
		return 0
	}
	q := fixed.Product(square, uint64(one)).Over(uint64(rating) * uint64(rating))
	return int64(min(q, uint64(mostLoad/one*mostLoad)))
}

// step takes the minute that has passed. A phase that was measured for less than
// half of it is taken to have carried what it carried before, or more where that
// was seen.
func (w *Way) step() {
	for p := range w.phase {
		ph := &w.phase[p]
		var square uint64
		if ph.weight > 0 {
			square = ph.sum.Over(uint64(ph.weight))
		}
		if ph.weight*2 >= minute {
			ph.heard, ph.silent, ph.last = true, 0, square
		} else {
			ph.silent = min(ph.silent+1, unknownAfter+1)
			ph.last = max(ph.last, square)
			ph.heard = ph.heard || ph.weight > 0
		}
	}
	w.warmUp()
	if _, ok := w.loads(); ok {
		w.aged += int64(ageing(w.hottest()))
	}
	for p := range w.phase {
		w.phase[p].sum, w.phase[p].weight, w.phase[p].burning = fixed.Sum{}, 0, 0
	}
	w.warm = max(0, w.warm-1)
}

// warmUp moves the models by a minute at the currents noted. What was never
// measured stays as warm as it is.
func (w *Way) warmUp() {
	for p := range w.phase {
		ph := &w.phase[p]
		if !ph.heard || !w.cfg.Phases[p] {
			continue
		}
		ph.cable = w.cfg.Cable.step(ph.cable, ratio(ph.last, w.sustained(p)))
		if f := w.cfg.Fuse; f != nil {
			ph.fuse = min(f.step(ph.fuse, ratio(ph.last, f.Carry), (ph.burning+one-1)/one), mostLoad)
		}
	}
	if k, ok := w.loads(); ok {
		w.heat = w.cfg.Transformer.step(w.heat, k)
	}
}

// loads returns the currents of the phases over the transformer's rated one, and
// false without a transformer, or where one was never measured.
func (w *Way) loads() (k [meter.Phases]int64, ok bool) {
	if w.cfg.Transformer == nil {
		return k, false
	}
	for p := range w.phase {
		if !w.phase[p].heard {
			return k, false
		}
		k[p] = w.cfg.Transformer.load(w.phase[p].last)
	}
	return k, true
}

// hottest returns the hot spot of the warmest winding.
func (w *Way) hottest() int64 {
	t, ambient := w.cfg.Transformer, w.ambient()
	return max(t.hotSpot(&w.heat, 0, ambient), t.hotSpot(&w.heat, 1, ambient), t.hotSpot(&w.heat, 2, ambient))
}

func (w *Way) sustained(p int) meter.Milliamps { return w.cfg.Sustained[w.season][p] }

// ambient returns the temperature around the transformer: as measured, else by
// the month's table; in an unknown month the highest of the year.
func (w *Way) ambient() int64 {
	if w.Sensed() {
		return w.sensed
	}
	outside := w.cfg.Ambient[0]
	for _, a := range w.cfg.Ambient {
		outside = max(outside, a)
	}
	if w.month > 0 {
		outside = w.cfg.Ambient[w.month-1]
	}
	return outside + w.cfg.Transformer.Enclosure
}

// theta returns the heat of a phase, the strictest model, and which one that is.
func (w *Way) theta(p int) (int64, string) {
	if t := w.cfg.Transformer; t != nil {
		return t.theta(&w.heat, p, w.ambient()), "transformer"
	}
	if f := w.cfg.Fuse; f != nil && w.phase[p].fuse > w.phase[p].cable {
		return w.phase[p].fuse, "fuse"
	}
	return w.phase[p].cable, "cable"
}

// Theta returns the heat of a phase against what it may have, and false where
// nothing was measured for an hour: heat is then not known, and not less.
func (w *Way) Theta(p meter.Phase) (meter.PPM, bool) {
	heat, _ := w.theta(int(p))
	return meter.PPM(heat), w.known(int(p))
}

func (w *Way) known(p int) bool { return w.phase[p].heard && w.phase[p].silent <= unknownAfter }

// toLimit returns after how many minutes at the present currents the heat of each
// phase reaches 1, and false where it does not within a day.
func (w *Way) toLimit() (after [meter.Phases]time.Duration, reaches [meter.Phases]bool) {
	ahead := *w // a copy: looking ahead must not warm anything
	for p := range ahead.phase {
		ph := &ahead.phase[p]
		ph.burning = 0
		if f := w.cfg.Fuse; f != nil {
			ph.burning = f.rate(ratio(ph.last, f.Rating)) * minute
		}
	}
	t := w.cfg.Transformer
	var end Heat
	if k, ok := w.loads(); ok {
		end = t.steady(k) // the currents stay, so it does
	} else if t != nil {
		return after, reaches
	}
	for n := range lookAhead + 1 {
		for p := range ahead.phase {
			if heat, _ := ahead.theta(p); heat >= one && !reaches[p] {
				after[p], reaches[p] = time.Duration(n)*time.Minute, true
			}
		}
		heat, phases := ahead.heat, ahead.phase
		if t != nil {
			ahead.heat = t.approach(ahead.heat, end)
		} else {
			ahead.warmUp()
		}
		if ahead.heat == heat && ahead.phase == phases {
			break // steady
		}
	}
	return after, reaches
}
