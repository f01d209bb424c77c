package poll

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// ErrNoTime is what an errand gets that was not done in its time.
var ErrNoTime = errors.New("the bus had no time for it")

// maxErrands is how many errands wait at most.
const maxErrands = 32

// Errand is work that somebody waits for and that may never keep anything else
// waiting: it gets the bus one request at a time, each when nothing else is due.
type Errand struct {
	// Step makes one request, on the bus goroutine with the link open. The next
	// is made after wait at the earliest. An error means that the connection is
	// gone; the link is opened again and the errand goes on, unless it is done.
	Step func() (done bool, wait time.Duration, err error)
	// Over is called once on the bus goroutine, when the last step was made, with
	// nil, or when there will be none any more.
	Over func(cause error)
	// For is how long the errand may take, waiting included.
	For time.Duration
}

type waitingErrand struct {
	Errand
	until time.Duration
	at    time.Duration // the next step
}

// RunErrand queues an errand. It never blocks. It returns false when the errand was not
// taken, since too many wait or the bus has stopped; Over is then not called.
func (b *Bus) RunErrand(e Errand) bool {
	b.mu.Lock()
	taken := !b.stopped && len(b.errands) < maxErrands
	if taken {
		b.errands = append(b.errands, &waitingErrand{Errand: e, until: b.cfg.Now() + e.For})
	}
	b.mu.Unlock()
	if taken {
		b.rouse()
	}
	return taken
}

// errandAt is when the first of the errands is to be looked at.
func (b *Bus) errandAt() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Duration(math.MaxInt64)
	for i, e := range b.errands {
		at = min(at, e.until)
		if i == 0 && b.up {
			at = min(at, e.at)
		}
	}
	return at
}

// expireErrands ends those whose time is over, however busy the bus is.
func (b *Bus) expireErrands() {
	for {
		now := b.cfg.Now()
		b.mu.Lock()
		i := slices.IndexFunc(b.errands, func(e *waitingErrand) bool { return e.until <= now })
		if i < 0 {
			b.mu.Unlock()
			return
		}
		e := b.errands[i]
		b.mu.Unlock()
		cause := ErrNoTime
		if !b.up {
			cause = fmt.Errorf("%w: link is down: %w", ErrNoTime, b.cause)
		}
		b.endErrand(e, cause)
	}
}

// runErrand makes the next step of the first errand, or reports that there is
// none to make.
func (b *Bus) runErrand() bool {
	b.mu.Lock()
	var e *waitingErrand
	if b.up && len(b.errands) > 0 && b.errands[0].at <= b.cfg.Now() {
		e = b.errands[0]
	}
	b.mu.Unlock()
	if e == nil {
		return false
	}
	done, wait, err := e.Step()
	e.at = b.cfg.Now() + wait
	if done {
		b.endErrand(e, nil)
	}
	if err != nil {
		b.lost(fmt.Errorf("errand: %w", err))
	}
	return true
}

func (b *Bus) endErrand(e *waitingErrand, cause error) {
	b.mu.Lock()
	b.errands = slices.DeleteFunc(b.errands, func(x *waitingErrand) bool { return x == e })
	b.mu.Unlock()
	e.Over(cause)
}
