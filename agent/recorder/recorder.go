// Package recorder owns the flight recorder's files: readings from around alarms,
// in a ring of segments that are only ever appended to.
//
// It takes readings without making anybody wait, writes them in batches of a
// minute, and gives them back on demand. What is recorded is decided by
// meter/alarm; the form is meter/flight's. A power cut costs the last minute and
// at most the block that was being written.
//
// Ways with few customers have segments of their own, which live for a short time
// only: what a handful of homes draws is personal data.
//
// Requirements: R3 (what happened around an alarm), R16 (privacy).
package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lvagent/agent/ring"
	"lvagent/meter"
	"lvagent/meter/flight"
)

// Folder is the recorder's folder within the agent's.
const Folder = "recorder"

// Classes of segments, by how long they live.
const (
	long  = "long"
	short = "short"
)

const suffix = ".lvr"

// mostPending bounds what waits in memory for a disk that does not answer.
const mostPending = 1 << 20

// Config says where and for how long readings are kept.
type Config struct {
	Folder   string
	MaxBytes int64           // of all segments together
	Keep     time.Duration   // age at which a segment is deleted
	KeepFew  time.Duration   // the same for ways with few customers
	Few      map[string]bool // those ways
	Every    time.Duration   // between batches; 0 is a minute
	Wall     func() time.Time
	Log      *slog.Logger
	Health   func(meter.HealthPoint) // nil: nobody asks
}

// Recorder is the owner of the files.
type Recorder struct {
	cfg Config

	mu       sync.Mutex // guards what waits
	builders map[string]*flight.Builder
	pending  int

	classes [2]*ring.Ring // owned by Run
	failing bool

	lost, written, syncs atomic.Uint64
	fetches              chan Fetch
}

// New returns a recorder. Readings may be recorded at once; Run writes them.
func New(cfg Config) *Recorder {
	if cfg.Every == 0 {
		cfg.Every = time.Minute
	}
	return &Recorder{
		cfg: cfg, builders: map[string]*flight.Builder{}, fetches: make(chan Fetch, mostFetches),
		classes: [2]*ring.Ring{
			{Folder: cfg.Folder, Name: long, Suffix: suffix, Most: cfg.MaxBytes - cfg.MaxBytes/8, Keep: cfg.Keep},
			{Folder: cfg.Folder, Name: short, Suffix: suffix, Most: cfg.MaxBytes / 8, Keep: cfg.KeepFew},
		},
	}
}

// Record takes a reading that was taken at wall. It never waits for a disk.
func (r *Recorder) Record(x *meter.Reading, wall time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.builders[x.Way]
	if b == nil {
		b = flight.NewBuilder(x.Way)
		r.builders[x.Way] = b
	}
	if r.pending >= mostPending {
		r.lost.Add(1)
		return
	}
	before := b.Len()
	b.Add(x, wall)
	r.pending += b.Len() - before
}

// Counts are what the recorder has done, for anyone to read.
type Counts struct {
	Written uint64 // octets
	Syncs   uint64
	Lost    uint64 // readings that found no room, because the disk did not answer
}

// Counts returns what the recorder has done.
func (r *Recorder) Counts() Counts {
	return Counts{Written: r.written.Load(), Syncs: r.syncs.Load(), Lost: r.lost.Load()}
}

// Run writes what waits until ctx ends, and then once more.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(r.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.flush()
			for _, c := range r.classes {
				r.end(c)
			}
			return nil
		case <-tick.C:
			r.flush()
		}
	}
}

// flush writes a batch and deletes what is too old or too much.
func (r *Recorder) flush() {
	var batch [2][]byte
	r.mu.Lock()
	for _, way := range sorted(r.builders) {
		i := 0
		if r.cfg.Few[way] {
			i = 1
		}
		batch[i] = r.builders[way].AppendTo(batch[i])
	}
	r.pending = 0
	r.mu.Unlock()
	var failed error
	for i, c := range r.classes {
		if err := r.write(c, batch[i]); err != nil {
			failed = err
			r.end(c) // what is in it stays; the next batch gets a new one
		}
		if err := c.Prune(r.cfg.Wall()); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	r.tell(failed)
}

func sorted(m map[string]*flight.Builder) (ways []string) {
	for way := range m {
		ways = append(ways, way)
	}
	slices.Sort(ways)
	return ways
}

// tell logs a change and says how the recorder does.
func (r *Recorder) tell(err error) {
	p := meter.HealthPoint{ID: "recorder", State: meter.HealthOK}
	if err != nil {
		p.State, p.Code, p.Detail = meter.HealthDegraded, "RECORDER_FAILING", err.Error()
		if !r.failing {
			r.cfg.Log.Error("flight recorder does not write; everything else goes on", "err", err)
		}
	} else if r.failing {
		r.cfg.Log.Info("flight recorder writes again")
	}
	r.failing = err != nil
	if r.cfg.Health != nil {
		r.cfg.Health(p)
	}
}

// write appends a batch to the class's segment and waits until it is on disk.
func (r *Recorder) write(c *ring.Ring, batch []byte) error {
	n, _, err := c.Write(batch, r.cfg.Wall())
	r.written.Add(uint64(n))
	if err == nil && n > 0 {
		r.syncs.Add(1)
	}
	return err
}

func (r *Recorder) end(c *ring.Ring) {
	if err := c.End(); err != nil {
		r.cfg.Log.Error("flight recorder's segment not closed", "err", err)
	}
}

// Read gives each reading of a way that was taken from from until before to to
// yield, until it returns false. It only reads: whether an agent runs does not
// matter. What is damaged is passed over and counted in octets.
func Read(folder, way string, from, to time.Time, yield func(r *meter.Reading, wall time.Time) bool) (skipped int, err error) {
	for _, class := range []string{long, short} {
		goOn := true
		err := (&ring.Ring{Folder: folder, Name: class, Suffix: suffix}).Read(func(data []byte) bool {
			skipped += flight.Scan(data, func(r *meter.Reading, wall time.Time) bool {
				if r.Way == way && !wall.Before(from) && wall.Before(to) {
					goOn = yield(r, wall)
				}
				return goOn
			})
			return goOn
		})
		if err != nil {
			return skipped, fmt.Errorf("read flight recorder: %w", err)
		}
		if !goOn {
			return skipped, nil
		}
	}
	return skipped, nil
}
