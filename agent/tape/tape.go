// Package tape owns the files of the failsafe engine's journal: everything that
// the engine was told, so that each decision can be computed again.
//
// It takes steps without making anybody wait, writes them in batches of a minute
// to a ring of files, and reads them back. The form is failsafe/journal's. A power
// cut costs the last minute; the decisions of that minute are in the audit chain
// all the same, which is committed at once.
//
// Requirements: R11, R15 (decisions that anybody can judge).
package tape

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"lvagent/agent/ring"
	"lvagent/failsafe/journal"
	"lvagent/meter"
)

// Folder is the journal's folder within the agent's.
const Folder = "journal"

const (
	name   = "steps"
	suffix = ".lvj"

	// mostPending bounds what waits in memory for a disk that does not answer.
	mostPending = 4 << 20
	// keyEvery is how often the whole state is written: what was dropped from the
	// ring, or is damaged, costs no more than that.
	keyEvery = time.Hour
	// longestBlock is longer than any batch: what began that long before a time
	// reaches nothing behind it.
	longestBlock = 10 * time.Minute
)

// Config says where and for how long steps are kept.
type Config struct {
	Folder   string
	MaxBytes int64
	Keep     time.Duration
	Every    time.Duration // between batches; 0 is a minute
	Wall     func() time.Time
	Log      *slog.Logger
	Health   func(meter.HealthPoint) // nil: nobody asks
}

// Tape is the owner of the files.
type Tape struct {
	cfg  Config
	ring ring.Ring // owned by Run

	mu      sync.Mutex // guards what waits
	writer  *journal.Writer
	sealed  []byte // blocks that wait before what the writer has
	keyAt   time.Duration
	wantKey bool // steps were let go: nothing can be computed behind them

	failing       bool
	flushes       chan chan struct{}
	written, lost atomic.Uint64
}

// New returns a tape of an engine with these groups. Steps may be added at once;
// Run writes them.
func New(cfg Config, groups []string) *Tape {
	if cfg.Every == 0 {
		cfg.Every = time.Minute
	}
	return &Tape{
		cfg: cfg, writer: journal.NewWriter(groups), flushes: make(chan chan struct{}),
		ring: ring.Ring{Folder: cfg.Folder, Name: name, Suffix: suffix, Most: cfg.MaxBytes, Keep: cfg.Keep},
	}
}

// Key takes the state that the next step begins with. It is to be called before
// the first step, and whenever Step asks for it.
func (t *Tape) Key(k *journal.Key) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, err := t.writer.AppendTo(t.sealed)
	if err == nil {
		text, err = journal.AppendKey(text, k)
	}
	if err != nil {
		return err
	}
	t.sealed, t.wantKey, t.keyAt = text, false, k.State.Mono
	return nil
}

// Step takes a step, and says whether it is time for a key. It never waits for a
// disk.
func (t *Tape) Step(s *journal.Step) (key bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sealed)+t.writer.Len() >= mostPending {
		t.wantKey = true
		t.lost.Add(1)
		return false
	}
	if t.wantKey {
		return true // what comes before it is worth nothing
	}
	if err := t.writer.Add(s); err != nil {
		t.lost.Add(1)
		t.wantKey = true
		t.cfg.Log.Error("step not written to the journal", "err", err)
	}
	return t.wantKey || s.Now-t.keyAt >= keyEvery
}

// Counts are what the tape has done, for anyone to read.
type Counts struct {
	Written uint64 // octets, in whole pages
	Lost    uint64 // steps that found no room, because the disk did not answer
}

// Counts returns what the tape has done.
func (t *Tape) Counts() Counts { return Counts{Written: t.written.Load(), Lost: t.lost.Load()} }

// Run writes what waits until ctx ends, and then once more.
func (t *Tape) Run(ctx context.Context) error {
	tick := time.NewTicker(t.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.flush()
			return t.ring.End()
		case <-tick.C:
			t.flush()
		case done := <-t.flushes:
			t.flush()
			close(done)
		}
	}
}

// Flush writes what waits, and returns when that was tried.
func (t *Tape) Flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case t.flushes <- done:
	case <-ctx.Done():
		return fmt.Errorf("write journal: %w", ctx.Err())
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("write journal: %w", ctx.Err())
	}
}

// flush writes a batch and deletes what is too old or too much.
func (t *Tape) flush() {
	t.mu.Lock()
	batch, err := t.writer.AppendTo(t.sealed)
	t.sealed = nil
	t.mu.Unlock()
	now := t.cfg.Wall()
	if err == nil {
		var n int
		n, _, err = t.ring.Write(batch, now)
		const page = 4096
		t.written.Add(uint64(n+page) / page * page)
	}
	if err != nil {
		t.mu.Lock()
		t.wantKey = true // the batch is lost
		t.mu.Unlock()
		t.ring.End() // what is in it stays; the next batch gets a new one
	}
	if fault := t.ring.Prune(now); err == nil {
		err = fault
	}
	t.tell(err)
}

// tell logs a change and says how the tape does.
func (t *Tape) tell(err error) {
	p := meter.HealthPoint{ID: "journal", State: meter.HealthOK}
	if err != nil {
		p.State, p.Code, p.Detail = meter.HealthDegraded, "JOURNAL_FAILING", err.Error()
		if !t.failing {
			t.cfg.Log.Error("journal of decisions does not write; everything else goes on", "err", err)
		}
	} else if t.failing {
		t.cfg.Log.Info("journal of decisions writes again")
	}
	t.failing = err != nil
	if t.cfg.Health != nil {
		t.cfg.Health(p)
	}
}

// Read gives the whole blocks of a journal to yield, oldest first, from the last
// key before from on and up to a time. Octets of no block are passed over and
// counted; a torn end of a file is one.
func Read(folder string, from, to time.Time, yield func(journal.Block) error) (skipped int, err error) {
	var fault error
	var waiting []journal.Block // since the last key before from
	var last time.Time          // of the newest of them
	begun := false
	err = (&ring.Ring{Folder: folder, Name: name, Suffix: suffix}).Read(func(data []byte) bool {
		skipped += journal.Scan(data, func(b journal.Block) bool {
			first, known := moment(&b)
			switch {
			case known && !first.Before(to):
				return true
			case b.Kind == journal.KeyBlock && known && !begun && !first.After(from):
				waiting, last = append(waiting[:0], b), first
				return true
			case !begun && known && first.Before(from):
				if len(waiting) > 0 {
					waiting, last = append(waiting, b), first
				}
				return true
			}
			if !begun {
				begun = true
				for _, w := range waiting {
					if fault = yield(w); fault != nil {
						return false
					}
				}
				waiting = nil
			}
			fault = yield(b)
			return fault == nil
		})
		return fault == nil
	})
	if err == nil && fault == nil && from.Sub(last) < longestBlock {
		for _, w := range waiting {
			if fault = yield(w); fault != nil {
				break
			}
		}
	}
	if fault != nil {
		err = fault
	}
	return skipped, err
}

// moment is when a block begins.
func moment(b *journal.Block) (at time.Time, known bool) {
	body, err := b.Body()
	if err != nil {
		return at, false
	}
	switch b.Kind {
	case journal.KeyBlock:
		k, err := journal.ReadKey(body)
		if err != nil {
			return at, false
		}
		return k.State.Wall, true
	case journal.StepsBlock:
		return journal.FirstWall(body)
	}
	return at, false
}
