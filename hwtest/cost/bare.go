package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"lvagent/meter"
	"lvagent/meter/alarm"
	"lvagent/meter/modbus"
	"lvagent/meter/window"
)

// register is a block that both sides read of each way: those of an Eastron
// SDM630, as the agent's profile plans them.
type register struct{ addr, n uint16 }

var registers = []register{{0x0000, 30}, {0x00e0, 2}}

// meterTimeout is that of the agent's site file.
const meterTimeout = time.Second

// Loop reads the registers of ways meters, perBus of them behind each of urls,
// each once in every, evenly spread as the agent spreads them, and does nothing
// with them. It returns when ctx ends, or when a bus does not answer.
func Loop(ctx context.Context, urls []string, ways int, every time.Duration) error {
	if ways <= perBus*(len(urls)-1) || ways > perBus*len(urls) || every <= 0 {
		return fmt.Errorf("bare loop: %d ways on %d buses every %v: want %d on each but the last, and more than 0",
			ways, len(urls), every, perBus)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var buses sync.WaitGroup
	faults := make([]error, len(urls))
	for i, url := range urls {
		buses.Go(func() {
			defer stop()
			faults[i] = loop(ctx, url, min(perBus, ways-i*perBus), every)
		})
	}
	buses.Wait()
	return errors.Join(faults...)
}

// loop is the loop of one bus.
func loop(ctx context.Context, url string, ways int, every time.Duration) error {
	client, err := modbus.NewClient(url, meterTimeout, nil)
	if err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	if err := client.Open(); err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	defer client.Close()
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		due := every / time.Duration(ways) * time.Duration(i)
		timer.Reset(due - time.Since(start))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := readAll(client, uint8(1+i%ways)); err != nil {
			return fmt.Errorf("bare loop: %w", err)
		}
	}
}

func readAll(client *modbus.Client, unit uint8) error {
	for _, r := range registers {
		if _, err := client.ReadInput(unit, r.addr, r.n); err != nil {
			return err
		}
	}
	return nil
}

// Allocated is what one reading allocates on the heap.
type Allocated struct {
	Own      float64 `json:"own"`      // by our code, from the answer to the window
	Requests float64 `json:"requests"` // by the Modbus library and the connection
	Readings int     `json:"readings"`
	// What a reading takes of a processor, in ns: in the half-hour's window, and
	// in the window and the alarms of a way with six thresholds together.
	Window    float64 `json:"window_ns"`
	AndAlarms float64 `json:"window_and_alarms_ns"`
}

func (a *Allocated) path() string {
	return fmt.Sprintf("takes %.2f µs of a processor in its window (aim 2 µs), %.2f µs with the alarms, drivers and stores aside", a.Window/1000, a.AndAlarms/1000)
}

// ErrIncomplete is a reading that lacks a value.
var ErrIncomplete = errors.New("the reading is not complete")

// Allocations reads unit 1 at url n times in two ways, and counts what the heap
// took: first the requests alone, then the agent's path of a reading, through
// the driver into the window. What the path takes more is our own code's. It
// wants a process to itself; n is at most [MostReadings].
func Allocations(url string, n int) (Allocated, error) {
	if n < 1 || n > MostReadings {
		return Allocated{}, fmt.Errorf("count allocations: %d readings, want 1 to %d", n, MostReadings)
	}
	profile, faults := modbus.ParseProfile([]byte(profileText))
	if len(faults) > 0 {
		return Allocated{}, fmt.Errorf("bench profile: %v", faults[0])
	}
	client, err := modbus.NewClient(url, meterTimeout, nil)
	if err != nil {
		return Allocated{}, fmt.Errorf("count allocations: %w", err)
	}
	if err := client.Open(); err != nil {
		return Allocated{}, fmt.Errorf("count allocations: %w", err)
	}
	defer client.Close()

	source := modbus.NewMeter(client, "W1", 1, profile)
	w := window.New(window.Config{Way: "W1"})
	// A second per reading from the start of a half-hour, and n is such that it
	// does not end: a record is no cost of a reading.
	start := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	var reading meter.Reading
	var now time.Duration
	path := func() error {
		if err := source.Read(&reading); err != nil {
			return err
		}
		for p := range reading.Phase {
			if reading.Phase[p].Quality() != meter.Good {
				return fmt.Errorf("%w: phase %v: %v", ErrIncomplete, meter.Phase(p), reading.Phase[p].Reason())
			}
		}
		now += time.Second
		reading.At = now
		w.Add(&reading)
		w.Advance(now, start.Add(now), meter.Synced)
		return nil
	}
	alone := func() error { return readAll(client, 1) }
	requests, err := perCall(n, alone)
	if err != nil {
		return Allocated{}, fmt.Errorf("count allocations of the requests: %w", err)
	}
	all, err := perCall(n, path)
	if err != nil {
		return Allocated{}, fmt.Errorf("count allocations of a reading: %w", err)
	}
	// A little below 0 is the runtime's own work in between.
	out := Allocated{Own: max(0, all-requests), Requests: requests, Readings: n}
	for _, part := range []struct {
		spent *float64
		rules []alarm.Rule
	}{{&out.Window, nil}, {&out.AndAlarms, sixRules()}} {
		if *part.spent, err = decide(&reading, part.rules); err != nil {
			return Allocated{}, fmt.Errorf("time a reading: %w", err)
		}
	}
	return out, nil
}

// sixRules are thresholds that are never reached.
func sixRules() (rules []alarm.Rule) {
	for p := range meter.Phase(meter.Phases) {
		rules = append(rules,
			alarm.Rule{Way: "W1", Quantity: alarm.I, Phase: p, Kind: alarm.Hi, Threshold: 9_000_000, Hysteresis: 9000, OnDelay: time.Minute, OffDelay: time.Minute},
			alarm.Rule{Way: "W1", Quantity: alarm.V, Phase: p, Kind: alarm.Lo, Threshold: 1_000, Hysteresis: 1000, OnDelay: time.Minute, OffDelay: time.Minute})
	}
	return rules
}

// timed is how many readings are timed: half a day at one a second, with the
// records of its half-hours.
const timed = 43_200

// decide times what is made of a reading: the window, and the alarms where there
// are rules. It returns the best of five runs, in ns: what else the machine does
// only ever adds.
func decide(r *meter.Reading, rules []alarm.Rule) (float64, error) {
	start := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	best := math.Inf(1)
	for range 5 {
		w := window.New(window.Config{Way: "W1"})
		m, err := alarm.New(alarm.Config{Way: "W1", Phases: [meter.Phases]bool{true, true, true}, Hold: 2500 * time.Millisecond}, rules)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		for i := range timed {
			r.At = time.Duration(i) * time.Second
			for {
				if _, more := w.Advance(r.At, start.Add(r.At), meter.Synced); !more {
					break
				}
			}
			w.Add(r)
			if len(rules) > 0 {
				m.Add(r, start.Add(r.At))
			}
		}
		best = min(best, float64(time.Since(began).Nanoseconds())/timed)
	}
	return best, nil
}

// warm calls come first, for buffers, pools and the window's first label.
const warm = 100

// perCall counts the heap objects that a call of f makes.
func perCall(n int, f func() error) (float64, error) {
	for range warm {
		if err := f(); err != nil {
			return 0, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		if err := f(); err != nil {
			return 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n), nil
}

// MostReadings at one a second end within a half-hour, warm-up included.
const MostReadings = 1500

// measureAllocations runs [Allocations] in a child, away from the meters'
// server, whose allocations would count too.
func measureAllocations(ctx context.Context, cfg *Config) (Allocated, error) {
	cfg.Progress("counting the allocations of %d readings", MostReadings)
	m, err := startMeters(1)
	if err != nil {
		return Allocated{}, err
	}
	defer m.close()
	out, err := exec.CommandContext(ctx, cfg.Bare[0],
		cfg.bare("--url", m.urls()[0], "--readings", fmt.Sprint(MostReadings))...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return Allocated{}, fmt.Errorf("count allocations: %w", err)
	}
	var a Allocated
	if err := json.Unmarshal(out, &a); err != nil {
		return Allocated{}, fmt.Errorf("count allocations: read %q: %w", out, err)
	}
	return a, nil
}

// profileText is the shipped profile of the meter as far as the bench needs it.
const profileText = `
schema: 1
id: bench-sdm630
vendor: bench
models: [SDM630]
evidence: {level: third-party, source: "the shipped profile eastron-sdm630"}
base: 0
max_read_regs: 80
max_gap: 16
defaults: {fc: 4, type: f32, order: ABCD}
registers:
  - {quantity: v, addr: [0x0000, 0x0002, 0x0004], unit: V, range: [0, 480]}
  - {quantity: i, addr: [0x0006, 0x0008, 0x000a], unit: A, range: [0, 9999]}
  - {quantity: p, addr: [0x000c, 0x000e, 0x0010], unit: W, range: [-5000000, 5000000]}
  - {quantity: q, addr: [0x0018, 0x001a, 0x001c], unit: var, range: [-5000000, 5000000]}
  - {quantity: n, addr: [0x00e0], unit: A, range: [0, 9999]}
vectors:
  - name: neutral
    words:
      - {fc: 4, addr: 0x00e0, raw: [0x4274, 0xcccd]}
    want: {n: [61200]}
`
