package meter

import "time"

// Verdict is the outcome of a comparison with a limit. The zero value says that
// there is none.
type Verdict uint8

// Verdicts. Incomplete: too little was measured to pass, and nothing failed.
const (
	NoVerdict Verdict = iota
	Incomplete
	Pass
	Fail
)

// String returns the verdict's name in records.
func (v Verdict) String() string {
	switch v {
	case Incomplete:
		return "incomplete"
	case Pass:
		return "pass"
	case Fail:
		return "fail"
	default:
		return "none"
	}
}

// SupplyWeek is what the 10-minute values of one way over a week say of the
// supply (R5). It is indicative: meters are polled, so that what happens between
// two polls is not seen, and no class of IEC 61000-4-30 is claimed.
type SupplyWeek struct {
	Way        string
	Start, End time.Time // UTC, Monday to Monday
	Whole      bool      // the week is over
	Expected   int       // intervals that have passed since Start
	Flagged    int       // intervals with a dip, swell or interruption in them; they count all the same
	Suspect    int       // intervals with questionable readings
	Offset     Millivolts
	Phase      [Phases]*SupplyPhase // nil: the way has no such phase
	VUF        *Spread              // negative over positive sequence, from the voltages between phases; nil: not measured
	PVUR       *Spread              // largest deviation of a phase from the mean of the three: approximate, without verdict
	Frequency  *FrequencyWeek       // nil: not measured

	// As the meter counts them; nil: it has no such counter.
	Dips, Swells, Interruptions *int64
	Doubtful                    int // readings of a counter that had jumped: not counted
}

// SupplyPhase is the voltage of one phase over a week. Min to Max are as
// measured at the busbar; what is compared with limits has the offset taken off.
type SupplyPhase struct {
	Intervals    int // with a value
	Min, Max     Millivolts
	MinAt, MaxAt time.Time // start of the interval
	P5, Median   Millivolts
	P95          Millivolts
	OutOf10      int     // beyond +-10 %
	OutOfRange   int     // beyond +10/-15 %
	OutUnflagged int     // of OutOfRange, those that are not flagged
	Below, Above int     // beyond the statutory +10/-6 %
	Verdict      Verdict // EN 50160: 95 % within +-10 %, all within +10/-15 %
	THDV         *Spread // nil: not measured
	Dead         int     // readings below 5 % of nominal
}

// Spread is a share of which the largest values matter.
type Spread struct {
	Intervals int
	P95, Max  PPM
	Over      int // intervals above Limit
	Limit     PPM // 0: none
	Verdict   Verdict
}

// FrequencyWeek is the frequency over a week, from single readings.
type FrequencyWeek struct {
	Readings int64
	OutOf1   int64 // beyond +-1 %
	Min, Max Millihertz
}
