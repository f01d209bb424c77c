// Package hwtest runs a story against the real agent and judges what it saw on
// the wires: MQTT packets, Modbus registers, simulated load.
//
// It never asks the agent whether a promise was kept, and it knows nothing of
// the agent's inside. The pieces a story is played on are in hwtest/bench. The
// first story is [Demo]: an evening with electric vehicles and a lost link.
//
// What a person sees of a run is a [Picture]. Drawing one is a pure function, so
// that it can be looked at in a test; a [Screen] keeps it on a terminal.
//
// Requirements: R2 (no half-hour lost), R3 (one raise and one clear of an
// alarm, live readings in between), R7 and R13 (failsafe when the link
// fails), R9 and R10 (a load-management signal is followed in time).
package hwtest

// Reporter hears what happens during a run and which promises were broken. A
// *testing.T is one.
type Reporter interface {
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Viewer is a Reporter that wants to see how things stand, several times a
// second. The picture may be drawn while Show runs, and after the run is over.
type Viewer interface {
	Reporter
	Show(p *Picture)
}
