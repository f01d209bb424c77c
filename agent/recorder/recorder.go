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
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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

// page is what a file system allocates at least; a small file counts as one.
const page = 4096

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

	classes [2]*class // owned by Run
	failing bool

	lost, written, syncs atomic.Uint64
	fetches              chan Fetch
}

// class is the segments of one retention.
type class struct {
	name  string
	most  int64
	keep  time.Duration
	file  *os.File // that is appended to; nil: none
	size  int64
	began time.Time // of the file
	next  uint64    // number of the next segment
}

// New returns a recorder. Readings may be recorded at once; Run writes them.
func New(cfg Config) *Recorder {
	if cfg.Every == 0 {
		cfg.Every = time.Minute
	}
	return &Recorder{
		cfg: cfg, builders: map[string]*flight.Builder{}, fetches: make(chan Fetch, mostFetches),
		classes: [2]*class{
			{name: long, most: cfg.MaxBytes - cfg.MaxBytes/8, keep: cfg.Keep},
			{name: short, most: cfg.MaxBytes / 8, keep: cfg.KeepFew},
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
		if err := r.prune(c); err != nil {
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

// write appends a batch to the class's segment and waits until it is on disk. A
// segment is never opened again: a torn end is nobody's middle.
func (r *Recorder) write(c *class, batch []byte) error {
	now := r.cfg.Wall()
	// A segment is deleted as a whole, so it must not hold much of what may live.
	if c.file != nil && (c.size >= c.most/16 || now.Sub(c.began) >= c.keep/8) {
		r.end(c)
	}
	if len(batch) == 0 {
		return nil
	}
	if c.file == nil {
		if err := r.begin(c, now); err != nil {
			return err
		}
	}
	n, err := c.file.Write(batch)
	c.size += int64(n)
	r.written.Add(uint64(n))
	if err != nil {
		return fmt.Errorf("write %s: %w", c.file.Name(), err)
	}
	r.syncs.Add(1)
	if err := c.file.Sync(); err != nil {
		return fmt.Errorf("write %s to disk: %w", c.file.Name(), err)
	}
	return nil
}

func (r *Recorder) begin(c *class, now time.Time) error {
	if err := os.MkdirAll(r.cfg.Folder, 0o700); err != nil {
		return fmt.Errorf("make flight recorder's folder: %w", err)
	}
	all, err := segments(r.cfg.Folder, c.name)
	if err != nil {
		return err
	}
	if n := len(all); n > 0 {
		c.next = max(c.next, all[n-1].number+1)
	}
	path := filepath.Join(r.cfg.Folder, fmt.Sprintf("%s-%08d%s", c.name, c.next, suffix))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("make flight recorder's segment: %w", err)
	}
	c.file, c.size, c.began, c.next = f, 0, now, c.next+1
	return syncFolder(r.cfg.Folder)
}

// syncFolder makes a new file's name survive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync flight recorder's folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync flight recorder's folder: %w", err)
	}
	return nil
}

func (r *Recorder) end(c *class) {
	if c.file == nil {
		return
	}
	if err := c.file.Close(); err != nil {
		r.cfg.Log.Error("flight recorder's segment not closed", "err", err)
	}
	c.file = nil
}

// segment is one file.
type segment struct {
	path   string
	number uint64
	size   int64
	wrote  time.Time
}

// segments returns those of a class, oldest first.
func segments(folder, class string) (all []segment, err error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into flight recorder's folder: %w", err)
	}
	for _, e := range entries {
		digits, ours := strings.CutPrefix(e.Name(), class+"-")
		digits, whole := strings.CutSuffix(digits, suffix)
		n, err := strconv.ParseUint(digits, 10, 63)
		if !ours || !whole || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		all = append(all, segment{filepath.Join(folder, e.Name()), n, info.Size(), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b segment) int { return int(int64(a.number) - int64(b.number)) })
	return all, nil
}

// prune deletes the oldest segments until the class is small and young enough.
func (r *Recorder) prune(c *class) error {
	all, err := segments(r.cfg.Folder, c.name)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, s := range all {
		total += (s.size + page - 1) / page * page
	}
	now := r.cfg.Wall()
	for _, s := range all {
		if c.file != nil && s.path == c.file.Name() {
			break
		}
		// A clock that is set far ahead deletes too early: that is the lesser fault,
		// with data of people. One that is behind keeps the whole ring at most.
		if now.Sub(s.wrote) <= c.keep && total <= c.most {
			break
		}
		if err := os.Remove(s.path); err != nil {
			return fmt.Errorf("delete flight recorder's segment: %w", err)
		}
		total -= (s.size + page - 1) / page * page
	}
	return nil
}

// Read gives each reading of a way that was taken from from until before to to
// yield, until it returns false. It only reads: whether an agent runs does not
// matter. What is damaged is passed over and counted in octets.
func Read(folder, way string, from, to time.Time, yield func(r *meter.Reading, wall time.Time) bool) (skipped int, err error) {
	for _, class := range []string{long, short} {
		all, err := segments(folder, class)
		if err != nil {
			return skipped, err
		}
		for _, s := range all {
			data, err := os.ReadFile(s.path)
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return skipped, fmt.Errorf("read flight recorder: %w", err)
			}
			goOn := true
			skipped += flight.Scan(data, func(r *meter.Reading, wall time.Time) bool {
				if r.Way == way && !wall.Before(from) && wall.Before(to) {
					goOn = yield(r, wall)
				}
				return goOn
			})
			if !goOn {
				return skipped, nil
			}
		}
	}
	return skipped, nil
}
