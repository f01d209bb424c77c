package meter

import "time"

// Capacity is how loaded one way is, and what it could still carry (R19). The
// transformer is one too.
type Capacity struct {
	Way    string
	Phase  [Phases]*PhaseCapacity // nil: the way has no such phase
	Season string
	// Remarks on how far it can be trusted.
	Assumed        bool // a phase was not measured in the last minute: its last current is taken
	Warm           bool // started without a kept state, from a warm value, not long ago
	AmbientAssumed bool // no sensor: the month's table

	Transformer *TransformerHeat // nil: not the transformer
	Demand      Demand
}

// PhaseCapacity is one phase of a way. Shares are of the limit that governs.
type PhaseCapacity struct {
	Known   bool      // a current was measured within the hour
	I       Milliamps // rms of the last minute
	Limit   Milliamps // sustained of the season, cyclic where it is earned, or the fuse
	Basis   string    // what sets Limit: sustained, cyclic, fuse, firm
	Share   PPM       // I over Limit
	Free    Milliamps // what is left of Limit, and of the transformer's where that is less
	Theta   PPM       // heat against what is permitted, the strictest model
	By      string    // the model that says so: cable, fuse, transformer
	ToLimit time.Duration
	Reaches bool // at the present current Theta reaches 1, after ToLimit
}

// TransformerHeat is the state of the transformer's model, in thousandths of a
// degree.
type TransformerHeat struct {
	Ambient, TopOil, HotSpot int64
	Ageing                   PPM   // relative to 98 °C; the largest that is told is a thousand times
	AgedHours                int64 // thousandths, since the state began
}

// Demand sums up closed periods: the running day and the seven before it.
type Demand struct {
	Day          time.Time // UTC; zero: none yet
	LoadFactor   PPM       // mean over largest import of the day's periods; 0: none yet
	LossFactor   PPM       // of the day, the worst phase
	LossFactor7  PPM       // over the last seven days; 0: not enough of them
	Peak         int64     // largest apparent power of a period of the day, mVA
	PeakAt       time.Time // start of that period
	Firm         int64     // mVA; 0: none
	EverPeak     int64     // largest since the state began
	EverPeakAt   time.Time
	Over80       int // periods above 80, 110 and 120 % of Firm since the state began
	Over110      int
	Over120      int
	Last         int64 // the last period, mVA
	LastAt       time.Time
	PhasePeak    [Phases]Milliamps // largest rms of a period of the day
	PhasePeakAt  [Phases]time.Time
	CyclicEarned bool
}
