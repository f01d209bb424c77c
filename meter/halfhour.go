package meter

import "time"

// HalfHour is the record of one way over one period [Start, End). A period is
// always recorded, even when nothing was measured (R2).
type HalfHour struct {
	Way        string
	Start, End time.Time // UTC
	Rev        int       // 0, then +1 each time the period was reopened
	Coverage   PPM       // share of the period with a valid value on every expected phase
	Expected   int       // polls that fit into the period
	Samples    int       // polls with a complete reading
	Bad        int       // polls without one
	// Held is how much of the coverage comes from values older than one and a
	// quarter polls, on the phase with the most of it.
	Held       time.Duration
	Settlement int // number of the half-hour in the local day, from 1; 0: not a half-hour
	Flags      Flags
	Clock      Clock                // the worst state over the period
	Phase      [Phases]*PhasePeriod // nil: no complete reading of that phase
	Total      *TotalPeriod         // nil: the expected phases were never complete together
	Neutral    *Stats               // nil: neither measured nor derived
	Derived    bool                 // Neutral was computed from the phases
}

// PPM is a share in millionths: 1 000 000 is all of it.
type PPM int64

// Whole is the share that stands for all of it.
const Whole PPM = 1_000_000

// Stats sums up a root-mean-square quantity over a period, in thousandths.
type Stats struct {
	RMS   int64 // root of the time-weighted mean of squares
	Mean  int64 // time-weighted mean
	Min   int64 // of readings stamped inside the period
	Max   int64
	MaxAt time.Time
}

// PowerStats sums up a signed quantity over a period, in thousandths.
type PowerStats struct {
	Mean   int64 // time-weighted, signed
	Min    int64
	Max    int64
	Import int64 // time-weighted mean of the positive part
	Export int64 // time-weighted mean of the negative part, as a positive number
}

// PhasePeriod sums up one phase over a period.
type PhasePeriod struct {
	V, I     Stats
	P, Q     PowerStats
	Coverage PPM
}

// TotalPeriod sums up the three phases together over a period.
type TotalPeriod struct {
	P, Q                 int64 // mW and mvar, time-weighted means
	S                    int64 // mVA, from P and Q
	PF                   int64 // thousandths, |P| / S; 0 when S is 0
	ImportMWh, ExportMWh int64 // thousandths of a watt-hour, that is mWh
}

// Flags are the remarks on a half-hour record.
type Flags uint32

// Flags of a record. Their names in the record are those of Names.
const (
	NoData        Flags = 1 << iota // no good reading at all
	Invalid                         // coverage below 90 %, or what the site file says
	Partial                         // coverage below 98 %, or what the site file says
	Boot                            // the agent started for the first time in this period
	Restart                         // the agent restarted in this period
	ClockStep                       // the wall clock was stepped in this period
	ClockBad                        // the clock was not synced for part of it
	CommLoss                        // the meter did not answer for a while
	Questioned                      // some readings were suspect
	DerivedN                        // the neutral current was computed
	Unavailable                     // a quantity that the meter does not have
	Overlap                         // the period was measured twice, after a step back
	Bench                           // not a half-hour of a real site: shortened or simulated
	ConfigChanged                   // the meter's or the site's settings changed in this period
	PQEvent                         // the meter reported a dip, swell or interruption
	MapInvalid                      // the way was not supplied as usual for part of it: what is on it is not known
	Summed                          // part of the transformer's record is the sum of the ways: its own meter was silent
)

// AllFlags are the flags that there are.
const AllFlags = Summed<<1 - 1

var flagNames = []string{
	"NO_DATA", "INVALID", "PARTIAL", "BOOT", "RESTART", "CLOCK_STEP", "CLOCK_UNSYNCED",
	"COMM_LOSS", "SUSPECT", "DERIVED", "UNAVAILABLE", "OVERLAP", "BENCH",
	"CONFIG_CHANGED", "PQ_EVENT", "MAP_INVALID", "SUMMED",
}

// Names returns the names of the flags that are set, in a fixed order.
func (f Flags) Names() []string {
	names := make([]string, 0, 4)
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}
