package page

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// feed makes one snapshot a second for all viewers, and none while there is
// none: ten pages cost the agent what one costs.
type feed struct {
	agent Agent
	log   *slog.Logger

	mu   sync.Mutex
	subs map[*viewer]bool
	wake chan struct{} // the first viewer is there
}

// viewer is one open page. A page that is slow misses snapshots, never an order
// of them.
type viewer struct{ next chan []byte }

func newFeed(a Agent, log *slog.Logger) *feed {
	return &feed{agent: a, log: log, subs: map[*viewer]bool{}, wake: make(chan struct{}, 1)}
}

func (f *feed) join() *viewer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subs) >= mostViewers {
		return nil
	}
	v := &viewer{make(chan []byte, 1)}
	f.subs[v] = true
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return v
}

func (f *feed) leave(v *viewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subs, v)
}

func (f *feed) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs) > 0
}

func (f *feed) run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-tick.C:
		}
		if !f.watched() {
			select {
			case <-ctx.Done():
				return
			case <-f.wake:
			}
		}
		body, err := f.agent.Snapshot(ctx)
		if err != nil {
			f.log.Debug("status page not renewed", "err", err)
			continue // the page says how old it is
		}
		f.mu.Lock()
		for v := range f.subs {
			select {
			case <-v.next: // not taken in time: the newer one instead
			default:
			}
			v.next <- body
		}
		f.mu.Unlock()
	}
}
