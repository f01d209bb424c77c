// Package cost measures what the agent costs the machine it runs on: processor
// time, memory, writes to the disk, allocations, and how long an alarm takes to
// be safe at the broker.
//
// Each figure stands beside one of the same run: the agent's processor time
// beside that of a bare loop, a process that reads the same registers at the
// same rate and does nothing else; an alarm beside the disk's own fsync. The
// ratio of two processes that ran side by side says something on a busy
// machine, an absolute figure does not, so only ratios, memory and allocations
// are judged. The figures are those of the machine it runs on: run it on the
// RTU to know the RTU.
//
// It reads the agent from outside: /proc, the octets on its connections, and
// the transaction number in the store's file. Only allocations need the
// driver's and the window's own code, run in a child process.
//
// Requirements: R1 and R2 at a cost that an RTU can bear, R3 (alarms).
package cost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"lvagent/hwtest/bench"
)

// Config says what is measured and how long.
type Config struct {
	Agent string        // the agent's program; empty: find it
	Bare  []string      // the command that runs [Loop] or [Allocations] in a child process
	For   time.Duration // how long each size is measured, warm-up excluded
	Steps int           // alarms to raise for the latency
	// Backlog is how many records wait in the store after an outage.
	Backlog int
	Folder  string // where the stores are made; empty: the system's folder for temporary files
	// Progress hears what goes on.
	Progress func(format string, args ...any)
}

// scale is a number of ways that is measured, and what the agent may take
// there. 0 is no limit.
type scale struct {
	ways  int
	ratio float64 // processor time, to that of the bare loop
	share float64 // processor time, of one core
	anon  uint64  // anonymous memory, octets
	plain bool    // no transformer and no charging groups: measurement alone
}

// The sizes: a common substation, the largest there is, a hall of them, and
// more than any site to see what bends.
var sizes = []scale{
	{ways: 5, ratio: 2, anon: 15e6},
	{ways: 12, share: 0.01, anon: 15e6},
	{ways: 100, anon: 24e6},
	{ways: 1000, share: 0.30, anon: 80e6, plain: true},
}

// scaleOf returns what is allowed at a number of ways.
func scaleOf(ways int) scale {
	if i := slices.IndexFunc(sizes, func(s scale) bool { return s.ways == ways }); i >= 0 {
		return sizes[i]
	}
	return scale{ways: ways}
}

const (
	pollEvery = time.Second
	// settle is the warm-up after the agent is free of limits: the start has
	// been written and published by then.
	settle      = 10 * time.Second
	freeLimit   = 2 * time.Minute
	stopWithin  = 10 * time.Second
	sampleEvery = 500 * time.Millisecond

	// Open periods are kept every other minute; less says nothing.
	shortestDisk = 2 * time.Minute
	benchPeriod  = 10 * time.Second
	benchPeriods = 3
)

// Shortest is the shortest run: at 5 ways the bare loop takes a few milliseconds
// of processor time a second.
const Shortest = 5 * time.Second

// ErrTooShort is a run that would say nothing.
var ErrTooShort = errors.New("too short")

// Check returns what is wrong with the configuration.
func (c *Config) Check() error {
	if c.For < Shortest {
		return fmt.Errorf("--for %v: %w: the agent takes a few milliseconds of processor time a second; at least %v", c.For, ErrTooShort, Shortest)
	}
	if most := alarmWays * raisesEach; c.Steps < 1 || c.Steps > most {
		return fmt.Errorf("--steps %d: must be 1 to %d: an alarm that comes more often is held back as chattering", c.Steps, most)
	}
	if c.Backlog < 1000 || c.Backlog > 200_000 {
		return fmt.Errorf("--backlog %d: must be 1000 to 200000", c.Backlog)
	}
	return nil
}

// bare returns the arguments of the bare loop's command.
func (c *Config) bare(more ...string) []string {
	return append(slices.Clone(c.Bare[1:]), more...)
}

// Measure runs the agent at each size beside the bare loop, then its periods,
// its allocations and its alarms. An error means that the run could not be
// carried out and says nothing about the agent.
func Measure(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.Check(); err != nil {
		return Result{}, err
	}
	if cfg.Agent == "" {
		program, err := bench.FindAgent()
		if err != nil {
			return Result{}, fmt.Errorf("find the agent: %w: run `make build`, or name it with --agent", err)
		}
		cfg.Agent = program
	}
	folder, err := os.MkdirTemp(cfg.Folder, "lvbench-")
	if err != nil {
		return Result{}, fmt.Errorf("make a folder for the stores: %w", err)
	}
	defer os.RemoveAll(folder)
	r := Result{Date: time.Now().UTC()}
	if r.Machine, err = thisMachine(folder); err != nil {
		return Result{}, err
	}
	if r.Agent, err = programOf(ctx, cfg.Agent); err != nil {
		return Result{}, err
	}
	for _, scale := range sizes {
		s, err := measureSize(ctx, &cfg, folder, scale)
		if err != nil {
			return Result{}, err
		}
		r.Sizes = append(r.Sizes, s)
	}
	if err := measurePeriods(ctx, &cfg, folder, r.Sizes); err != nil {
		return Result{}, err
	}
	if r.Allocations, err = measureAllocations(ctx, &cfg); err != nil {
		return Result{}, err
	}
	if r.Alarm, err = measureAlarms(ctx, &cfg, folder); err != nil {
		return Result{}, err
	}
	if r.Backlog, err = measureBacklog(ctx, &cfg, folder); err != nil {
		return Result{}, err
	}
	return r, nil
}

// measureSize runs the agent and the bare loop side by side, each on meters of
// its own, so that both see the same machine and neither waits for the other.
func measureSize(ctx context.Context, cfg *Config, folder string, scale scale) (Size, error) {
	ways := scale.ways
	s := Size{Ways: ways, Seconds: cfg.For.Seconds()}
	cfg.Progress("%d ways: starting the agent and the bare loop", ways)
	rig, err := startRig(ctx, cfg, folder, plan{ways: ways, period: halfHour, groups: !scale.plain, onDelay: 10 * time.Second})
	if err != nil {
		return s, err
	}
	defer rig.close()
	other, err := startMeters(ways)
	if err != nil {
		return s, err
	}
	defer other.close()
	bare, err := bench.StartAgent(rig.log, cfg.Bare[0], cfg.bare(
		"--url", strings.Join(other.urls(), ","), "--ways", fmt.Sprint(ways), "--every", pollEvery.String())...)
	if err != nil {
		return s, err
	}
	defer func() { _, _ = bare.Stop(stopWithin) }()

	agentSeen, bareSeen := newWatch(rig.agent.PID()), newWatch(bare.PID())
	sample := func() error {
		other.vary()
		return errors.Join(agentSeen.sample(), bareSeen.sample(), ended(bare))
	}
	if err := rig.free(ctx, sample); err != nil {
		return s, err
	}
	cfg.Progress("%d ways: free of limits, warming up for %v", ways, settle)
	if err := rig.during(ctx, settle, sample); err != nil {
		return s, err
	}
	cfg.Progress("%d ways: measuring for %v", ways, cfg.For)
	begin := time.Now()
	asked, askedBare := rig.meters.requests(), other.requests()
	commits, err := lastCommit(rig.store)
	if err != nil {
		return s, err
	}
	written, err := rig.written(ctx, cfg)
	if err != nil {
		return s, err
	}
	if err := errors.Join(agentSeen.begin(), bareSeen.begin()); err != nil {
		return s, err
	}
	if err := rig.during(ctx, cfg.For/2, sample); err != nil {
		return s, err
	}
	agentSeen.middle()
	bareSeen.middle()
	if err := rig.during(ctx, cfg.For-cfg.For/2, sample); err != nil {
		return s, err
	}
	if err := errors.Join(agentSeen.end(), bareSeen.end()); err != nil {
		return s, err
	}
	took := time.Since(begin)
	more, err := rig.written(ctx, cfg)
	if err != nil {
		return s, err
	}
	last, err := lastCommit(rig.store)
	if err != nil {
		return s, err
	}
	late, most, err := rig.late(ctx, cfg)
	if err != nil {
		return s, err
	}
	s.Late99, s.LateMost = late.Seconds()*1e3, most.Seconds()*1e3
	s.Agent, s.Bare = agentSeen.usage(took), bareSeen.usage(took)
	s.Agent.Requests = perMinute(rig.meters.requests()-asked, took)
	s.Bare.Requests = perMinute(other.requests()-askedBare, took)
	s.CommitsPerMinute = perMinute(int(last-commits), took)
	s.HalfHourEnded = begin.Truncate(halfHour) != begin.Add(took).Truncate(halfHour)
	if s.Bare.CPU > 0 {
		s.CPURatio = s.Agent.CPU / s.Bare.CPU
	}
	if cfg.For >= shortestDisk {
		wrote, minutes := agentSeen.wrote(), took.Minutes()
		s.Disk = &Disk{
			Dirtied: Volume{Minute: float64(wrote.disk) / minutes},
			Handed:  Volume{Minute: float64(wrote.chars) / minutes},
			Pages:   Volume{Minute: float64(more-written) / minutes},
		}
	}
	return s, nil
}

// measurePeriods has all sizes close periods of 10 s and notes what one costs
// the disk: a half-hour ends too seldom for a run of a minute.
func measurePeriods(ctx context.Context, cfg *Config, folder string, done []Size) error {
	for i := range done {
		s := &done[i]
		if s.Disk == nil {
			continue
		}
		cfg.Progress("%d ways: measuring the end of %d periods of %v", s.Ways, benchPeriods, benchPeriod)
		if err := measurePeriod(ctx, cfg, folder, s); err != nil {
			return err
		}
	}
	return nil
}

func measurePeriod(ctx context.Context, cfg *Config, folder string, s *Size) error {
	rig, err := startRig(ctx, cfg, folder, plan{ways: s.Ways, period: benchPeriod, groups: !scaleOf(s.Ways).plain, onDelay: 10 * time.Second})
	if err != nil {
		return err
	}
	defer rig.close()
	seen := newWatch(rig.agent.PID())
	sample := func() error { return seen.sample() }
	if err := rig.free(ctx, sample); err != nil {
		return err
	}
	if err := rig.during(ctx, benchPeriod, sample); err != nil {
		return err
	}
	written, err := rig.written(ctx, cfg)
	if err != nil {
		return err
	}
	if err := seen.begin(); err != nil {
		return err
	}
	if err := rig.during(ctx, benchPeriods*benchPeriod, sample); err != nil {
		return err
	}
	if err := seen.end(); err != nil {
		return err
	}
	more, err := rig.written(ctx, cfg)
	if err != nil {
		return err
	}
	wrote := seen.wrote()
	s.Disk.Pages.add(float64(more-written) / benchPeriods)
	s.Disk.Dirtied.add(float64(wrote.disk) / benchPeriods)
	s.Disk.Handed.add(float64(wrote.chars) / benchPeriods)
	return nil
}

const (
	halfHour        = 30 * time.Minute
	minutesPerDay   = 24 * 60
	halfHoursPerDay = 48
)

// perMinute scales a count over took to a minute.
func perMinute(n int, took time.Duration) float64 { return float64(n) / took.Minutes() }

// ended returns why a child is no more.
func ended(a *bench.Agent) error {
	select {
	case <-a.Done():
		return a.Err()
	default:
		return nil
	}
}
