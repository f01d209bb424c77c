package cost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Alarm is how long alarms took, beside the disk they are safe on.
type Alarm struct {
	Steps   int     `json:"steps"`   // alarms that were provoked
	Seen    int     `json:"seen"`    // of which the broker acknowledged
	Latency *Spread `json:"latency"` // from the answer that carried the value to the PUBACK; null: none seen
	Fsync   Spread  `json:"fsync"`   // 4 KiB and fsync, on the same disk before and after
}

// Spread is a distribution of durations in milliseconds.
type Spread struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
	N   int     `json:"n"`
}

// spreadOf sums up durations: the nearest rank, so that each figure is one that
// was measured.
func spreadOf(d []time.Duration) Spread {
	if len(d) == 0 {
		return Spread{}
	}
	d = slices.Sorted(slices.Values(d))
	rank := func(percent int) float64 {
		return ms(d[max(0, (len(d)*percent+99)/100-1)])
	}
	return Spread{P50: rank(50), P99: rank(99), Max: ms(d[len(d)-1]), N: len(d)}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

const (
	// An alarm that comes a fourth time within a minute is held back as chattering,
	// so there are ways enough for all steps, and a few at a time take one.
	alarmWays  = perBus
	raisesEach = 3
	atOnce     = 5
	// An edge takes a poll, and a commit that may have to wait for another.
	edgeLimit  = 5 * time.Second
	fsyncs     = 50 // before the alarms, and again after
	fsyncBlock = 4096
	// patience is how many alarms of a way may fail to come before it is left.
	patience = 2
)

// measureAlarms steps the current of each way above its threshold and back, the
// ways independent of each other.
func measureAlarms(ctx context.Context, cfg *Config, folder string) (Alarm, error) {
	var a Alarm
	cfg.Progress("raising %d alarms on %d ways, and %d fsyncs", cfg.Steps, alarmWays, 2*fsyncs)
	waits, err := fsyncTimes(folder, fsyncs)
	if err != nil {
		return a, err
	}
	rig, err := startRig(ctx, cfg, folder, plan{ways: alarmWays, period: halfHour, tapped: true})
	if err != nil {
		return a, err
	}
	defer rig.close()
	last := 0
	begun, took, err := stepAlarms(ctx, rig, cfg.Steps, func(seen int) {
		if seen >= last+50 {
			last = seen
			cfg.Progress("%d of %d alarms", seen, cfg.Steps)
		}
	})
	if err != nil {
		return a, err
	}
	a.Steps, a.Seen = begun, len(took)
	if a.Seen > 0 {
		spread := spreadOf(took)
		a.Latency = &spread
	}
	after, err := fsyncTimes(folder, fsyncs)
	a.Fsync = spreadOf(append(waits, after...))
	return a, err
}

// stepAlarms provokes n alarms on a tapped rig and returns how many were begun,
// and how long each took that was seen.
func stepAlarms(ctx context.Context, rig *rig, n int, seen func(int)) (begun int, took []time.Duration, err error) {
	nothing := func() error { return nil }
	if err := rig.until(ctx, "online", nothing, func() bool { return rig.online }); err != nil {
		return 0, nil, err
	}
	if err := rig.during(ctx, settle, nothing); err != nil {
		return 0, nil, err
	}
	rig.steady = true // from here on the steps set the loads
	s := newSteps(rig.alarms, n, rig.meters.set)
	for s.next(time.Now()) {
		if err := rig.during(ctx, stepEvery, nothing); err != nil {
			return 0, nil, err
		}
		seen(len(s.took))
	}
	return s.begun, s.took, nil
}

// stepEvery is how often the steps are looked after. The times themselves are
// taken on the wire.
const stepEvery = 20 * time.Millisecond

// steps walks each way through normal, raised, normal. It is told the time.
type steps struct {
	wire  *alarmWire
	set   func(way int, amps float64)
	left  int // still to begin
	begun int
	ways  []stepping
	took  []time.Duration
}

type stepping struct {
	phase  stepPhase
	since  time.Time
	failed int // in a row
	raised int
}

type stepPhase uint8

const (
	atRest   stepPhase = iota
	rising             // the value is above, its raise is awaited
	falling            // the value is back, its clear is awaited
	leftOver           // the way raises no alarm
)

func newSteps(wire *alarmWire, n int, set func(int, float64)) *steps {
	s := &steps{wire: wire, set: set, left: n, ways: make([]stepping, alarmWays)}
	for i := range s.ways {
		set(i, normal)
	}
	return s
}

// next moves the ways on and reports whether any has something to do.
func (s *steps) next(now time.Time) bool {
	for {
		select {
		case e := <-s.wire.edges:
			s.take(e, now)
			continue
		default:
		}
		break
	}
	moving := 0
	for i := range s.ways {
		if s.ways[i].phase != atRest && s.move(i, now) {
			moving++
		}
	}
	for i := range s.ways {
		if w := &s.ways[i]; w.phase == atRest && w.raised < raisesEach && moving < atOnce && s.move(i, now) {
			moving++
		}
	}
	return moving > 0
}

// take counts an alarm that was acknowledged.
func (s *steps) take(e edge, now time.Time) {
	for i := range s.ways {
		w, unit := &s.ways[i], uint8(i+1)
		if e.way != fmt.Sprintf("W%d", unit) {
			continue
		}
		at, carried := s.wire.seen(unit)
		switch {
		case w.phase == rising && e.raise && carried:
			s.took = append(s.took, e.acked.Sub(at))
			w.failed = 0
			s.fall(i, now)
		case w.phase == falling && !e.raise && carried:
			w.phase = atRest
		}
	}
}

func (s *steps) move(i int, now time.Time) bool {
	w := &s.ways[i]
	late := now.Sub(w.since) > edgeLimit
	switch {
	case w.phase == leftOver, w.phase == atRest && s.left == 0:
		return false
	case w.phase == atRest:
		s.left--
		s.begun++
		w.raised++
		w.phase, w.since = rising, now
		s.wire.arm(uint8(i+1), true)
		s.set(i, raised)
	case w.phase == rising && late:
		w.failed++
		s.fall(i, now)
	case w.phase == falling && late && w.failed >= patience:
		w.phase = leftOver
	case w.phase == falling && late:
		w.phase = atRest
	}
	return true
}

func (s *steps) fall(i int, now time.Time) {
	w := &s.ways[i]
	w.phase, w.since = falling, now
	s.wire.arm(uint8(i+1), false)
	s.set(i, normal)
}

// fsyncTimes writes 4 KiB and waits for the disk, n times.
func fsyncTimes(folder string, n int) ([]time.Duration, error) {
	f, err := os.Create(filepath.Join(folder, "fsync"))
	if err != nil {
		return nil, fmt.Errorf("measure fsync: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, fsyncBlock)
	took := make([]time.Duration, 0, n)
	for range n {
		begin := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, fmt.Errorf("measure fsync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("measure fsync: %w", err)
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}
