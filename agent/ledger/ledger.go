// Package ledger answers, for each way and period, what became of it: a record
// that the centre has, or will get, or a coded reason why there is none.
//
// It reads records and gap records that are given to it, and keeps nothing: the
// store is the memory. It does not decide what is measured (meter/window) or
// dropped (buffer).
//
// Requirements: R2 (every half-hour is a value or a stated gap), R11, R16
// (evidence that nothing was lost or altered on the way).
package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Reason is why a period has no value.
type Reason string

// Reasons. A period that has a value has none.
const (
	MeterOffline  Reason = "METER_OFFLINE"  // the meter was asked and did not answer
	AgentDown     Reason = "AGENT_DOWN"     // the agent did not run
	ClockUnsynced Reason = "CLOCK_UNSYNCED" // nobody knew which period it was
	ClockStep     Reason = "CLOCK_STEP"     // the clock was set forward over it
	NotMeasured   Reason = "NOT_MEASURED"   // it was measured, but nothing usable
	Dropped       Reason = "DROPPED"        // it was recorded, and the store had to let go of it; see why
	Unreadable    Reason = "UNREADABLE"     // its record is there and makes no sense
	NotMade       Reason = "NOT_MADE"       // no record was ever made of it
	BeforeStart   Reason = "BEFORE_START"   // it is older than the first record of its way
	StoreReplaced Reason = "STORE_REPLACED" // it is older than the store, which took the place of one that broke
)

// Head is what the ledger reads of a half-hour record.
type Head struct {
	Way        string
	Start, End time.Time
	Rev        int
	Coverage   float64 // share of the period
	Samples    int
	Bad        int
	Flags      []string
}

// Read reads the head of a record's body.
func Read(body []byte) (Head, error) {
	// The neutral's key differs from the number's in case alone, which is the
	// same to encoding/json unless both are named; the body has no number.
	var h struct {
		Way      string
		Start    time.Time
		End      time.Time
		Rev      int
		Coverage float64
		Samples  int
		Bad      int
		Flags    []string
		Lower    json.RawMessage `json:"n"`
		Upper    json.RawMessage `json:"N"`
	}
	if err := json.Unmarshal(body, &h); err != nil {
		return Head{}, fmt.Errorf("read record: %w", err)
	}
	if h.Way == "" || h.Start.IsZero() || !h.End.After(h.Start) {
		return Head{}, fmt.Errorf("read record: way %q from %v to %v is no period of one", h.Way, h.Start, h.End)
	}
	return Head{h.Way, h.Start.UTC(), h.End.UTC(), h.Rev, h.Coverage, h.Samples, h.Bad, h.Flags}, nil
}

// Reason returns why the record has no value, or nothing where it has one.
func (h *Head) Reason() Reason {
	has := func(flag string) bool { return slices.Contains(h.Flags, flag) }
	switch {
	case !has("NO_DATA"):
		return ""
	case has("COMM_LOSS"):
		return MeterOffline
	case h.Samples+h.Bad > 0:
		return NotMeasured // somebody answered
	case has("CLOCK_STEP"):
		return ClockStep
	case has("RESTART"), has("BOOT"):
		return AgentDown
	case has("CLOCK_UNSYNCED"):
		return ClockUnsynced
	default:
		return NotMeasured
	}
}

// Partial reports whether a value covers only a part of its period.
func (h *Head) Partial() bool { return h.Reason() == "" && slices.Contains(h.Flags, "PARTIAL") }
