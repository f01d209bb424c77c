package meter

import "time"

// Further quantities, of the supply rather than of the load.
type (
	Millihertz   int64
	Millicelsius int64
	WattHours    int64 // as the meter's own register counts them
	Count        int64 // of events, as the meter's own register counts them
)

// SupplyReading is what a meter says of the supply besides a [Reading], at its
// own slow period (R5). What a meter has no register for is Missing with
// NotSupported; most have little of it.
type SupplyReading struct {
	Way       string
	At        time.Duration // since the agent's start: midpoint of request and reply
	Frequency Sample[Millihertz]
	Line      [Phases]Sample[Millivolts] // between phases: L1-L2, L2-L3, L3-L1
	THDV      [Phases]Sample[PPM]        // total harmonic distortion, of the fundamental
	THDI      [Phases]Sample[PPM]

	// Counters of the meter. They may wrap, and start anew with it.
	Dips, Swells, Interruptions Sample[Count]
	ImportWh, ExportWh          Sample[WattHours]

	// Temperature is that of whatever the meter's sensor sits on or hangs in.
	Temperature Sample[Millicelsius]
}

// Fail makes r a reading without any value, for the reason why.
func (r *SupplyReading) Fail(why Reason) {
	r.Frequency = Sample[Millihertz]{Reason: why}
	for p := range r.Line {
		r.Line[p] = Sample[Millivolts]{Reason: why}
		r.THDV[p] = Sample[PPM]{Reason: why}
		r.THDI[p] = Sample[PPM]{Reason: why}
	}
	none := Sample[Count]{Reason: why}
	r.Dips, r.Swells, r.Interruptions = none, none, none
	energy := Sample[WattHours]{Reason: why}
	r.ImportWh, r.ExportWh = energy, energy
	r.Temperature = Sample[Millicelsius]{Reason: why}
}
