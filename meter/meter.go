// Package meter is the vocabulary of measurement: ways, phases, quantities,
// readings and their quality, half-hour records and alarms.
//
// It only names things. It does not read a meter (meter/modbus, meter/spi), it
// does not average (meter/window) and it holds no clock. Every other package of
// the agent may import it; it imports none of them.
//
// Requirements: R1 (V, I, P, Q per phase and way, neutral current), R2
// (half-hourly data), R3 (alarms).
package meter

import "time"

// Quantities are whole numbers of thousandths. Floats stop at the drivers: sums
// are then exact, the same on every CPU, and never NaN.
type (
	Millivolts int64 // RMS, phase to neutral
	Milliamps  int64 // RMS
	Milliwatts int64 // positive flows away from the substation
	Millivars  int64 // positive is inductive
)

// Quantity is any of the measured quantities.
type Quantity interface {
	Millivolts | Milliamps | Milliwatts | Millivars | Millihertz | Millicelsius | WattHours | Count | PPM
}

// Phase is one of the three phases of a way.
type Phase uint8

// The phases, in the order in which every array of phases is indexed.
const (
	L1 Phase = iota
	L2
	L3
)

// Phases is the number of phases of a way.
const Phases = 3

// String returns the phase's name in topics, records and configuration.
func (p Phase) String() string {
	if p >= Phases {
		return "L?"
	}
	return phaseNames[p]
}

var phaseNames = [Phases]string{"L1", "L2", "L3"}

// ParsePhase returns the phase called name.
func ParsePhase(name string) (Phase, bool) {
	for p, n := range phaseNames {
		if n == name {
			return Phase(p), true
		}
	}
	return 0, false
}

// Quality says whether a value may be used. The zero value is Missing, so a
// forgotten field is never mistaken for a good measurement.
type Quality uint8

// Qualities, worst first, so that the worse of two is the smaller.
const (
	Missing Quality = iota
	Suspect
	Good
)

// String returns the quality's name.
func (q Quality) String() string {
	switch q {
	case Good:
		return "good"
	case Suspect:
		return "suspect"
	default:
		return "missing"
	}
}

// Reason is a set of causes for a quality below Good, or a remark on how a
// value came to be.
type Reason uint16

// Reasons. NoAnswer leaves the last good value valid until its hold time ends;
// every other reason of a Missing sample is an explicit statement that the
// value is not known, and ends the hold at once.
const (
	NoAnswer     Reason = 1 << iota // the meter did not answer, or the link is down
	Exception                       // the meter answered with an exception
	Sentinel                        // the register holds the profile's "not available"
	NotANumber                      // a float register holds NaN or an infinity
	OutOfRange                      // outside the profile's plausible range
	BadFrame                        // a short, foreign or garbled reply
	NotSupported                    // the meter has no register for it
	Derived                         // computed from other values, not measured
	Frozen                          // the meter repeats itself bit for bit
	Mismatch                        // not the meter, or not the CT ratio, that the configuration names
	Restarted                       // the meter or front end has just started anew
)

// Sample is one measured value with its quality.
type Sample[T Quantity] struct {
	Value   T
	Quality Quality
	Reason  Reason
}

// PhaseReading is what one phase of a way showed at one instant.
type PhaseReading struct {
	V Sample[Millivolts]
	I Sample[Milliamps]
	P Sample[Milliwatts]
	Q Sample[Millivars]
}

// Quality returns the worst quality of the phase's four quantities.
func (p *PhaseReading) Quality() Quality {
	return min(p.V.Quality, p.I.Quality, p.P.Quality, p.Q.Quality)
}

// Reason returns the reasons of the phase's four quantities together.
func (p *PhaseReading) Reason() Reason {
	return p.V.Reason | p.I.Reason | p.P.Reason | p.Q.Reason
}

// Reading is one poll of one way. A poll without an answer is a Reading too:
// all samples Missing, with the reason.
type Reading struct {
	Way     string
	At      time.Duration // since the agent's start: midpoint of request and reply
	Phase   [Phases]PhaseReading
	Neutral Sample[Milliamps]
}

// Fail makes r a reading without any value, for the reason why.
func (r *Reading) Fail(why Reason) {
	for i := range r.Phase {
		p := &r.Phase[i]
		p.V = Sample[Millivolts]{Reason: why}
		p.I = Sample[Milliamps]{Reason: why}
		p.P = Sample[Milliwatts]{Reason: why}
		p.Q = Sample[Millivars]{Reason: why}
	}
	r.Neutral = Sample[Milliamps]{Reason: why}
}

// Clock says how far a wall-clock time stamp can be trusted.
type Clock uint8

// Clock states, worst first. The zero value is Unsynced.
const (
	Unsynced Clock = iota // no source has set the clock since boot
	Assumed               // taken as right because the configuration says so
	Holdover              // was set, the source is silent
	Synced                // a source keeps it
)

// String returns the state's name in records.
func (c Clock) String() string {
	switch c {
	case Synced:
		return "synced"
	case Holdover:
		return "holdover"
	case Assumed:
		return "assumed"
	default:
		return "unsynced"
	}
}

// Trusted reports whether commands and profiles may rely on wall time.
func (c Clock) Trusted() bool { return c != Unsynced }
