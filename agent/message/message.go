// Package message is the agent's side of the contract with the control centre:
// the topics, the streams, what each message says, and how a command is read.
//
// It turns values into JSON and JSON into values, and refuses a command that is
// not well formed. It does not decide whether a well-formed command may be
// carried out (failsafe), it does not number or keep records (buffer), and it
// does not know a broker (agent/uplink).
//
// Values leave as V, A, W and var, rounded here and nowhere before: 0.1 V,
// 0.1 A, 1 W, 1 var. What is not known is null, never 0. Times are UTC by RFC
// 3339: whole seconds for the bounds of a period, milliseconds for events.
//
// Requirements: R1, R2 (records), R3 (alarms, live readings), R14, R15 (limits
// per group, an override per event), R16 (commands are checked before use).
package message

import (
	"strings"
	"time"
)

// Class orders streams by how soon their records must leave.
type Class uint8

// Classes, the most urgent first.
const (
	Control  Class = iota // acknowledgements of commands
	Alarms                // raise and clear
	Live                  // readings while a threshold is exceeded
	HalfHour              // records of a period, and gaps
	History               // what has time: audit
)

var classNames = [...]string{"control", "alarm", "live", "half-hour", "history"}

// String returns the class's name.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "history"
}

// Streams of the agent as a whole. Those of a way are made by [HalfHourStream],
// [AlarmStream] and [LiveStream], because order is promised per way.
const (
	AckStream   = "ack"
	AuditStream = "audit"
	GapStream   = "gap"
)

const (
	halfHourPrefix = "hh/"
	alarmPrefix    = "alarm/"
	livePrefix     = "live/"
	recordPrefix   = "rec/"
)

// HalfHourStream returns the stream of a way's half-hour records.
func HalfHourStream(way string) string { return halfHourPrefix + way }

// AlarmStream returns the stream of a way's alarms; the substation's own have
// the way "_site".
func AlarmStream(way string) string { return alarmPrefix + way }

// LiveStream returns the stream of a way's live readings.
func LiveStream(way string) string { return livePrefix + way }

// RecordStream returns the stream of a way's readings that somebody asked the
// flight recorder for.
func RecordStream(way string) string { return recordPrefix + way }

// RecordedWay returns the way of such a stream.
func RecordedWay(stream string) (way string, is bool) { return strings.CutPrefix(stream, recordPrefix) }

// ClassOf returns the class of a stream. A stream it does not know has time.
func ClassOf(stream string) Class {
	switch {
	case stream == AckStream:
		return Control
	case strings.HasPrefix(stream, alarmPrefix):
		return Alarms
	case strings.HasPrefix(stream, livePrefix):
		return Live
	case strings.HasPrefix(stream, halfHourPrefix), stream == GapStream:
		return HalfHour
	default:
		return History
	}
}

// A record is late when it is sent more than this after it was due. A late one
// goes to a history topic, so that nobody takes it for the present.
const (
	HalfHourLate = 120 * time.Second
	EventLate    = 60 * time.Second // alarms and live readings
)

// Late reports whether a record of stream that was due at the time at is late.
// Streams that have no live topic are never late, but what was recorded always is.
func Late(stream string, at, now time.Time) bool {
	switch {
	case strings.HasPrefix(stream, halfHourPrefix):
		return now.Sub(at) > HalfHourLate
	case strings.HasPrefix(stream, alarmPrefix), strings.HasPrefix(stream, livePrefix):
		return now.Sub(at) > EventLate
	case strings.HasPrefix(stream, recordPrefix):
		return true // it is never of the present
	default:
		return false
	}
}

// Waits reports whether a half-hour that was due at the time at still waits for
// its site's turn, which comes after a while. One that is due in the future is of
// a clock that was stepped back, and waits for nothing.
func Waits(stream string, at, now time.Time, after time.Duration) bool {
	age := now.Sub(at)
	return strings.HasPrefix(stream, halfHourPrefix) && age >= 0 && age < after
}

// ValidAgent reports whether id may name an agent: 1 to 64 of A-Z, a-z, 0-9, _
// and -, so that it can be a topic level, a client id and a certificate's name.
// "_all" addresses every agent and names none.
func ValidAgent(id string) bool {
	return id != everyAgent && validID(id, "_-")
}

// validID reports whether id has 1 to 64 characters, each a letter, a digit or
// one of more.
func validID(id, more string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return true
}
