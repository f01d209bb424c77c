package agent

import (
	"context"
	"math/rand/v2"
	"net"
	"time"
)

// seams stand in for what waits outside of the runtime or draws lots, so that a
// test can run the whole agent in virtual time. The zero value is the real thing.
type seams struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error) // to the broker
	dice   func(of string) *rand.Rand                                           // of one goroutine
	host   func() string                                                        // the run of the machine
	noSync bool                                                                 // the store may forget
	noDoor bool                                                                 // no local socket
}

// draws returns what the goroutine called of draws its lots with.
func (s *seams) draws(of string) (share func() float64, wait func(most time.Duration) time.Duration) {
	if s.dice == nil {
		return rand.Float64, nil
	}
	d := s.dice(of)
	return d.Float64, func(most time.Duration) time.Duration { return time.Duration(d.Int64N(int64(most) + 1)) }
}
