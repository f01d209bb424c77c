package cost

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lvagent/agent/message"
	"lvagent/buffer"
	"lvagent/meter"
)

// Backlog is what happens after an outage: how fast the records of it leave when
// nothing holds them back, and how long an alarm takes in the middle of them at
// the default rate.
type Backlog struct {
	Records int     `json:"records"`
	Octets  int     `json:"octets_each"` // as stored
	Seconds float64 `json:"seconds"`     // from the first at the broker to the last
	Rate    float64 `json:"records_per_second"`
	Steps   int     `json:"steps"` // alarms provoked in the middle of a backlog
	Seen    int     `json:"seen"`
	Latency *Spread `json:"latency"` // as of [Alarm]; null: none seen
}

// Limits of a strict run.
const (
	leastDrain   = 5000 // records a second
	mostInterval = 250  // ms, p99, for an alarm in the middle of a backlog
)

const (
	drainLimit   = 2 * time.Minute
	backlogSteps = 40
	fillAtOnce   = 2000
)

// measureBacklog runs the agent on a store that already holds records.
func measureBacklog(ctx context.Context, cfg *Config, folder string) (Backlog, error) {
	b := Backlog{Records: cfg.Backlog}
	cfg.Progress("draining %d records without a rate", b.Records)
	if err := b.drain(ctx, cfg, folder); err != nil {
		return b, err
	}
	steps := min(cfg.Steps, backlogSteps)
	cfg.Progress("raising %d alarms in the middle of a backlog", steps)
	rig, err := startRig(ctx, cfg, folder, plan{ways: alarmWays, period: halfHour, tapped: true, backlog: b.Records, rate: defaultRate})
	if err != nil {
		return b, err
	}
	defer rig.close()
	var took []time.Duration
	if b.Steps, took, err = stepAlarms(ctx, rig, steps, func(int) {}); err != nil {
		return b, err
	}
	if b.Seen = len(took); b.Seen > 0 {
		spread := spreadOf(took)
		b.Latency = &spread
	}
	return b, nil
}

// drain counts at the broker what comes to it. Nobody is subscribed: what a
// consumer costs the broker is not the agent's.
func (b *Backlog) drain(ctx context.Context, cfg *Config, folder string) error {
	rig, err := startRig(ctx, cfg, folder, plan{ways: 1, period: halfHour, backlog: b.Records, deaf: true})
	if err != nil {
		return err
	}
	defer rig.close()
	b.Octets = rig.octets
	nothing := func() error { return nil }
	// A few messages are not records; of so many it does not matter which.
	var first time.Time
	for began := time.Now(); ; {
		n := rig.broker.Received()
		if first.IsZero() && n > 0 {
			first = time.Now()
		}
		if n >= int64(b.Records) {
			b.Seconds = time.Since(first).Seconds()
			b.Rate = float64(b.Records) / b.Seconds
			return nil
		}
		if time.Since(began) > drainLimit {
			return fmt.Errorf("drain %d records: %w in %v; %d came", b.Records, errNotReached, drainLimit, n)
		}
		if err := rig.during(ctx, 5*time.Millisecond, nothing); err != nil {
			return err
		}
	}
}

// fill makes a store with half-hours of an outage, as an agent would have left
// it, and returns how many octets one has.
func fill(store string, records, ways int) (octets int, err error) {
	if err := os.MkdirAll(store, 0o700); err != nil {
		return 0, fmt.Errorf("fill store: %w", err)
	}
	classes := make([]buffer.Limit, message.History+2)
	for i := range classes {
		classes[i] = buffer.Limit{Name: fmt.Sprint(i), MaxRecords: records + fillAtOnce, DropRank: i}
	}
	s, err := buffer.Open(filepath.Join(store, "records.db"), buffer.Options{Classes: classes})
	if err != nil {
		return 0, fmt.Errorf("fill store: %w", err)
	}
	defer func() {
		if e := s.Close(); err == nil {
			err = e
		}
	}()
	end := time.Now().UTC().Truncate(halfHour).Add(-time.Hour)
	batch := buffer.Batch{At: end}
	for i := range records {
		at := end.Add(-time.Duration((records-i)/ways) * halfHour)
		h := halfHourOf(fmt.Sprintf("W%d", 1+i%ways), at)
		body := message.AppendHalfHour(nil, "BENCH", &h)
		octets = len(body)
		batch.Append = append(batch.Append, buffer.Entry{Stream: message.HalfHourStream(h.Way), Class: buffer.Class(message.HalfHour), At: at, Body: body})
		if len(batch.Append) == fillAtOnce || i == records-1 {
			if err := s.Commit(batch); err != nil {
				return 0, fmt.Errorf("fill store: %w", err)
			}
			batch.Append = batch.Append[:0]
			// As an agent does between its commits: else it would find all of it to do
			// at its start.
			for more := true; more; {
				if more, err = s.Tidy(end); err != nil {
					return 0, fmt.Errorf("fill store: %w", err)
				}
			}
		}
	}
	return octets, nil
}

// halfHourOf is a record like those of an evening.
func halfHourOf(way string, end time.Time) meter.HalfHour {
	h := meter.HalfHour{Way: way, Start: end.Add(-halfHour), End: end, Coverage: meter.Whole, Samples: 1800, Clock: meter.Synced}
	for p := range h.Phase {
		h.Phase[p] = &meter.PhasePeriod{
			V: meter.Stats{RMS: 241_300, Mean: 241_300, Min: 238_900, Max: 243_000},
			I: meter.Stats{RMS: 212_500, Mean: 201_100, Min: 88_000, Max: 301_200, MaxAt: end.Add(-time.Minute)},
			P: meter.PowerStats{Mean: 48_123_000, Min: 20_101_000, Max: 70_210_000, Import: 48_123_000},
			Q: meter.PowerStats{Mean: 5_051_000, Min: -900_000, Max: 8_000_000, Import: 5_100_000, Export: 49_000},
		}
	}
	h.Total = &meter.TotalPeriod{P: 144_369_000, Q: 15_153_000, S: 145_161_000, PF: 995, ImportMWh: 72_184_000}
	h.Neutral = &meter.Stats{RMS: 61_200, Mean: 58_000, Min: 3_100, Max: 99_000}
	return h
}

// judge notes what a backlog took too long for.
func (b *Backlog) judge(broken func(string, ...any)) {
	if b.Rate < leastDrain {
		broken("a backlog drains at %.0f records a second, the least is %d", b.Rate, leastDrain)
	}
	switch {
	case b.Seen < b.Steps:
		broken("%d of %d alarms in the middle of a backlog not seen", b.Steps-b.Seen, b.Steps)
	case b.Latency != nil && b.Latency.P99 > mostInterval:
		broken("an alarm in the middle of a backlog takes %.0f ms (p99), at most %d", b.Latency.P99, mostInterval)
	}
}

func (b *Backlog) text() string {
	alarm := "no alarm seen in the middle of it"
	if b.Latency != nil {
		alarm = fmt.Sprintf("an alarm in the middle of it at the default rate takes %s (limit %d ms at p99; %d of %d seen)",
			b.Latency.text(), mostInterval, b.Seen, b.Steps)
	}
	return fmt.Sprintf("%d records of %d octets leave in %.1f s, %.0f a second (limit %d) when nothing holds them back; %s",
		b.Records, b.Octets, b.Seconds, b.Rate, leastDrain, alarm)
}
