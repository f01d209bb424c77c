// Package sparkplugpb is the payload of Sparkplug B 3.0 on the wire: the types
// that protoc makes of sparkplug_b.proto (`make generate`), and their coding.
//
// It is the one home of the protobuf library, and knows nothing of what the
// metrics mean (agent/sparkplug).
package sparkplugpb

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Bounds are the most that is read of a payload.
type Bounds struct{ Octets, Metrics int }

// Bounds of a command, which is small, and which anybody may send whom the broker
// lets write; and of what a node publishes.
var (
	Command     = Bounds{64 << 10, 256}
	Publication = Bounds{1 << 20, 8192}
)

// ErrTooLarge says that a payload is beyond a bound.
var ErrTooLarge = errors.New("larger than it may be")

// Append appends the wire form of p to dst. It fails where a text is not UTF-8.
func Append(dst []byte, p *Payload) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, p)
}

// Parse reads a payload. What it does not know it does not keep, so that what it
// holds is bounded by what it was given.
func Parse(b []byte, most Bounds) (*Payload, error) {
	if len(b) > most.Octets {
		return nil, fmt.Errorf("read payload of %d octets, at most %d: %w", len(b), most.Octets, ErrTooLarge)
	}
	p := new(Payload)
	if err := (proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: 8}).Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("read payload of %d octets: %w", len(b), err)
	}
	if n := len(p.Metrics); n > most.Metrics {
		return nil, fmt.Errorf("read payload with %d metrics, at most %d: %w", n, most.Metrics, ErrTooLarge)
	}
	return p, nil
}
