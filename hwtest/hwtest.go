// Package hwtest runs a story against the real agent and judges what it saw on
// the wires: MQTT packets, Modbus registers, simulated load.
//
// It never asks the agent whether a promise was kept, and it knows nothing of
// the agent's inside. The pieces a story is played on are in hwtest/bench. The
// first story is [Demo]: an evening with electric vehicles and a lost link.
//
// Requirements: R2 (no half-hour lost), R7 and R13 (failsafe when the link
// fails), R9 and R10 (a load-management signal is followed in time).
package hwtest

// Reporter hears what happens during a run and which promises were broken. A
// *testing.T is one.
type Reporter interface {
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}
