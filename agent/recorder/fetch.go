package recorder

import (
	"context"
	"time"

	"lvagent/agent/message"
	"lvagent/meter"
)

// Fetch is somebody's wish for the readings of a way.
type Fetch struct {
	ID       string
	Way      string
	From, To time.Time
}

// Bounds of a fetch. A message of a minute is some ten kilobytes; one a second
// leaves a narrow link to what is more urgent.
const (
	mostFetches = 4
	perMessage  = 60
	// MostFetched is the longest time that one fetch may ask for.
	MostFetched = 6 * time.Hour
)

// Fetch takes a wish and reports false when too many wait.
func (r *Recorder) Fetch(f Fetch) bool {
	select {
	case r.fetches <- f:
		return true
	default:
		return false
	}
}

// Serve answers wishes, a message at a time with a pause of pace between them,
// until ctx ends. Done is told how many readings there were, or what went wrong.
func (r *Recorder) Serve(ctx context.Context, pace time.Duration, deliver func(way string, readings []message.Recorded), done func(f Fetch, readings int, err error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-r.fetches:
			n, err := r.answer(ctx, f, pace, deliver)
			if ctx.Err() != nil {
				return nil // who asked may ask again
			}
			done(f, n, err)
		}
	}
}

func (r *Recorder) answer(ctx context.Context, f Fetch, pace time.Duration, deliver func(string, []message.Recorded)) (n int, err error) {
	page := make([]message.Recorded, 0, perMessage)
	send := func() bool {
		deliver(f.Way, page)
		n += len(page)
		page = page[:0]
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pace):
			return true
		}
	}
	_, err = Read(r.cfg.Folder, f.Way, f.From, f.To, func(x *meter.Reading, wall time.Time) bool {
		page = append(page, message.Recorded{T: wall, Reading: *x})
		return len(page) < perMessage || send()
	})
	if err == nil && len(page) > 0 && ctx.Err() == nil {
		send()
	}
	return n, err
}
