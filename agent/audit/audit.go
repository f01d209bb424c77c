// Package audit links decisions to a chain that nobody can alter unseen: each
// record holds the hash of the one before. It writes records, and verifies what
// it is given of a chain.
//
// It decides nothing (failsafe) and keeps nothing: the record store has the
// records, the failsafe state and the store the head. A chain does not prove
// who wrote it, only that it is as it was written; whoever keeps a later head
// can tell a chain that was written anew.
//
// Requirements: R11 (a record of the response to each request), R15 (decisions
// that anybody can judge), R16.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"lvagent/failsafe"
)

// Genesis is what the first record of a chain has for the hash before it.
const Genesis = "0000000000000000000000000000000000000000000000000000000000000000"

// Frame is what every record of a run of the agent says.
type Frame struct {
	Agent   string `json:"agent"`
	Boot    string `json:"boot"`
	Config  string `json:"config"`
	Version string `json:"version"`
}

// Record is a decision in its chain.
type Record struct {
	Chain string `json:"chain"`
	N     uint64 `json:"n"` // 1, 2, 3 of the chain; not the number in the stream
	Prev  string `json:"prev"`
	Wall  string `json:"wall"`
	Mono  int64  `json:"mono_ms"` // since the start
	Clock string `json:"clock"`
	Frame
	failsafe.Decision
}

const wallLayout = "2006-01-02T15:04:05.000Z"

// Moment is when a decision was made, and how far its wall time can be trusted.
type Moment struct {
	Wall  time.Time
	Mono  time.Duration
	Clock string
}

// Append returns decision d as the next record behind head, in canonical form,
// and the head that it makes. A head without a chain begins one, named after the
// boot.
func Append(head failsafe.AuditHead, f Frame, m Moment, d failsafe.Decision) ([]byte, failsafe.AuditHead, error) {
	r := Record{
		Chain: head.Chain, N: head.N + 1, Prev: head.Hash, Frame: f, Decision: d,
		Wall: m.Wall.UTC().Format(wallLayout), Mono: m.Mono.Milliseconds(), Clock: m.Clock,
	}
	if head.Chain == "" {
		r.Chain, r.N, r.Prev = f.Boot, 1, Genesis
	}
	text, err := json.Marshal(r)
	if err == nil {
		text, err = Canonical(text)
	}
	if err != nil {
		return nil, head, fmt.Errorf("write audit record %d: %w", r.N, err)
	}
	sum := sha256.Sum256(text)
	return text, failsafe.AuditHead{Chain: r.Chain, N: r.N, Hash: hex.EncodeToString(sum[:])}, nil
}

// Resume says how a chain goes on after a restart: stored is the head of what
// the record store has, kept the one beside the failsafe state. Where the store
// lacks records whose numbers were given, the chain goes on behind them, and
// broken is the record that says so.
func Resume(stored, kept failsafe.AuditHead, stateLost bool) (head failsafe.AuditHead, broken *failsafe.Decision) {
	switch {
	case kept.Chain == "" && stored.Chain == "":
		if stateLost {
			broken = &failsafe.Decision{Kind: failsafe.DecidedBreak, Rule: "STATE_LOST"}
		}
		return kept, broken
	case kept.Chain == "", kept.Chain == stored.Chain && stored.N >= kept.N:
		return stored, nil
	case stored.Chain == kept.Chain:
		return kept, &failsafe.Decision{Kind: failsafe.DecidedBreak, Rule: "NOT_STORED", LostFrom: stored.N + 1, LostTo: kept.N}
	default: // a store that was replaced, or is of another chain
		return kept, &failsafe.Decision{Kind: failsafe.DecidedBreak, Rule: "STORE_REPLACED", LostFrom: 1, LostTo: kept.N}
	}
}
