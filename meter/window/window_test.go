package window

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"lvagent/meter"
)

// day is the UTC midnight at which the tests' monotonic clock is zero.
var day = time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)

// rig drives a window the way the agent does. Its wall clock is day + mono + shift.
type rig struct {
	w     *Window
	cfg   Config
	shift time.Duration
	clock meter.Clock
	out   []meter.HalfHour
}

func newRig(period time.Duration) *rig {
	cfg := Config{Way: "W1", Period: period, Hold: 2500 * ms, Bench: period < 30*m}
	return &rig{w: New(cfg), cfg: cfg, clock: meter.Synced}
}

func (g *rig) wall(at time.Duration) time.Time { return day.Add(at + g.shift) }

func (g *rig) advance(at time.Duration) {
	for {
		h, ok := g.w.Advance(at, g.wall(at), g.clock)
		if !ok {
			return
		}
		g.out = append(g.out, h)
	}
}

func (g *rig) add(at time.Duration, amps int64) {
	r := reading(at, 230_000, amps*1000, amps*230_000, 0, amps*100)
	g.w.Add(&r)
}

func (g *rig) fail(at time.Duration, why meter.Reason) {
	r := failed(at, why)
	g.w.Add(&r)
}

// poll adds one reading a second over [from, to), each followed by an Advance.
func (g *rig) poll(from, to time.Duration, amps int64) {
	for at := from; at < to; at += s {
		g.add(at, amps)
		g.advance(at)
	}
}

// fataler is a test, or one run of a property.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// restart hands the state over to a new window, through JSON as a store would.
func (g *rig) restart(t fataler, at time.Duration) {
	t.Helper()
	text, err := json.Marshal(g.w.Checkpoint())
	if err != nil {
		t.Fatal(err)
	}
	var state State
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	g.w = New(g.cfg)
	g.w.Resume(state, at, g.wall(at))
}

type row struct {
	start    string // 15:04:05
	rev      int
	coverage meter.PPM
	samples  int
	flags    meter.Flags
}

func (g *rig) expect(t *testing.T, want ...row) {
	t.Helper()
	var got []row
	for _, h := range g.out {
		got = append(got, row{h.Start.Format("15:04:05"), h.Rev, h.Coverage, h.Samples, h.Flags &^ meter.Bench})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("records:\n got %v\nwant %v", got, want)
	}
}

// nothing is what an empty record is flagged with at least.
const nothing = meter.NoData | meter.Invalid | meter.Partial

const low = meter.Invalid | meter.Partial

func TestPeriodsOfTenSeconds(t *testing.T) {
	tests := []struct {
		name string
		play func(t *testing.T, g *rig)
		want []row
	}{
		{"full period, closed after its grace", func(t *testing.T, g *rig) {
			g.poll(0, 10*s, 5)
			g.advance(10*s + 999*ms)
			if len(g.out) != 0 {
				t.Error("closed within its grace")
			}
			g.advance(11 * s)
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot}}},
		{"a reading at the boundary closes it and is of the next", func(t *testing.T, g *rig) {
			g.poll(0, 10*s, 5)
			g.add(10*s, 9)
			g.advance(10*s + 1)
			if h := g.out[0]; h.Phase[0].I.Max != 5000 || h.Phase[0].I.Mean != 5000 {
				t.Error("the next period's reading is in it")
			}
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot}}},
		{"a reading one nanosecond before the boundary is of it, without weight", func(t *testing.T, g *rig) {
			g.poll(0, 9*s, 5)
			g.add(10*s-1, 9)
			g.advance(11 * s)
			if h := g.out[0]; h.Phase[0].I.Max != 9000 || h.Phase[0].I.Mean != 5000 {
				t.Error("not as stamped")
			}
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot}}},
		{"a late reading within the grace counts", func(t *testing.T, g *rig) {
			g.poll(0, 9*s, 5)
			g.advance(10*s + 900*ms)
			g.add(9*s, 5)
			g.advance(11 * s)
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot}}},
		{"a reading of a closed period is bad, its value holds on", func(t *testing.T, g *rig) {
			g.poll(0, 9*s, 5)
			g.advance(11 * s)
			g.add(9500*ms, 7)
			g.add(12*s, 5)
			g.advance(21 * s)
			if h := g.out[1]; h.Bad != 1 || h.Phase[0].I.Max != 5000 || h.Phase[0].I.Mean != 5889 {
				t.Error("late reading")
			}
		}, []row{{"00:00:00", 0, meter.Whole, 9, meter.Boot}, {"00:00:10", 0, 450_000, 1, low}}},
		{"hold across the boundary covers but has no minimum", func(t *testing.T, g *rig) {
			g.add(9*s, 8)
			g.add(12*s, 2)
			g.advance(21 * s)
			if h := g.out[1]; h.Phase[0].I.Max != 2000 || h.Phase[0].I.Mean != (8000*1500+2000*2500)/4000 {
				t.Error("hold across")
			}
		}, []row{{"00:00:00", 0, 100_000, 1, meter.Boot | low}, {"00:00:10", 0, 400_000, 1, low}}},
		{"held into a period without a reading of its own is no record of it", func(t *testing.T, g *rig) {
			g.add(9*s, 8)
			g.advance(21 * s)
		}, []row{{"00:00:00", 0, 100_000, 1, meter.Boot | low}, {"00:00:10", 0, 0, 0, nothing}}},
		{"no answer does not end the hold", func(t *testing.T, g *rig) {
			g.add(0, 8)
			g.fail(1*s, meter.NoAnswer)
			g.advance(11 * s)
			if g.out[0].Bad != 1 {
				t.Error("not counted as bad")
			}
		}, []row{{"00:00:00", 0, 250_000, 1, meter.Boot | meter.CommLoss | low}}},
		{"a sentinel ends the hold at once", func(t *testing.T, g *rig) {
			g.add(0, 8)
			g.fail(1*s, meter.Sentinel)
			g.advance(11 * s)
		}, []row{{"00:00:00", 0, 100_000, 1, meter.Boot | low}}},
		{"no answer and a bad frame is more than no answer", func(t *testing.T, g *rig) {
			g.add(0, 8)
			g.fail(1*s, meter.NoAnswer|meter.BadFrame)
			g.advance(11 * s)
		}, []row{{"00:00:00", 0, 100_000, 1, meter.Boot | meter.CommLoss | low}}},
		{"a value beyond belief is missing", func(t *testing.T, g *rig) {
			g.add(0, 8)
			g.add(1*s, Largest/1000+1)
			g.advance(11 * s)
			if g.out[0].Phase[0].I.Max != 8000 {
				t.Error("taken as measured")
			}
		}, []row{{"00:00:00", 0, 100_000, 1, meter.Boot | low}}},
		{"out of order is bad and changes nothing", func(t *testing.T, g *rig) {
			g.add(5*s, 8)
			g.add(5*s, 80)
			g.advance(11 * s)
			if h := g.out[0]; h.Bad != 1 || h.Phase[0].I.Max != 8000 {
				t.Error("counted")
			}
		}, []row{{"00:00:00", 0, 250_000, 1, meter.Boot | low}}},
		{"exactly 98 % is not partial, just below is", func(t *testing.T, g *rig) {
			g.poll(0, 8*s, 5)
			g.add(8*s, 5)
			g.fail(9800*ms, meter.Sentinel)
			g.poll(10*s, 18*s, 5)
			g.add(18*s, 5)
			g.fail(19799*ms, meter.Sentinel)
			g.advance(21 * s)
		}, []row{{"00:00:00", 0, 980_000, 9, meter.Boot}, {"00:00:10", 0, 979_900, 9, meter.Partial}}},
		{"silence has its records too", func(t *testing.T, g *rig) {
			g.poll(0, 10*s, 5)
			g.advance(41 * s)
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot}, {"00:00:10", 0, 0, 0, nothing},
			{"00:00:20", 0, 0, 0, nothing}, {"00:00:30", 0, 0, 0, nothing}}},
		{"a leap of one millisecond is slew", func(t *testing.T, g *rig) {
			g.poll(0, 5*s, 5)
			g.shift = ms
			g.poll(5*s, 10*s, 5)
			g.advance(11 * s)
		}, []row{{"00:00:00", 0, 999_900, 10, meter.Boot}}},
		{"one second exactly is slew", func(t *testing.T, g *rig) {
			g.poll(0, 5*s, 5)
			g.shift = -s
			g.poll(5*s, 11*s, 5)
			g.advance(12 * s)
		}, []row{{"00:00:00", 0, meter.Whole, 11, meter.Boot}}},
		{"forward too", func(t *testing.T, g *rig) {
			g.poll(0, 5*s, 5)
			g.shift = s
			g.poll(5*s, 9*s, 5)
			g.advance(10 * s)
		}, []row{{"00:00:00", 0, 900_000, 9, meter.Boot | meter.Partial}}},
		{"one nanosecond more is a step", func(t *testing.T, g *rig) {
			g.poll(0, 5*s, 5)
			g.shift = -s - 1
			g.poll(5*s, 11*s, 5)
			g.advance(12*s + 1)
		}, []row{{"00:00:00", 0, meter.Whole, 11, meter.Boot | meter.ClockStep}}},
		{"slew back over the boundary does not reopen", func(t *testing.T, g *rig) {
			g.poll(0, 10*s+1, 5)
			g.shift = -900 * ms
			g.advance(10*s + 400*ms)
			g.add(10*s+500*ms, 9) // 00:00:09.6 by now
			g.advance(22 * s)
			if at := g.out[1].Phase[0].I.MaxAt; !at.Equal(day.Add(10 * s)) {
				t.Errorf("maximum at %v, outside its period", at)
			}
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot}, {"00:00:10", 0, 300_000, 2, low}}},
		{"step forward: the open one as it is, the skipped ones empty", func(t *testing.T, g *rig) {
			g.poll(0, 5*s, 5)
			g.shift = 30 * s
			g.advance(5 * s)
			g.poll(6*s, 10*s, 5)
			g.advance(11 * s)
		}, []row{{"00:00:00", 0, 500_000, 5, meter.Boot | meter.ClockStep | low},
			{"00:00:10", 0, 0, 0, meter.ClockStep | nothing}, {"00:00:20", 0, 0, 0, meter.ClockStep | nothing},
			{"00:00:30", 0, 500_000, 4, meter.ClockStep | low}}},
		{"step within the grace: the period before it ended unharmed", func(t *testing.T, g *rig) {
			g.poll(0, 10*s, 5)
			g.shift = 20 * s
			g.advance(10*s + 500*ms) // 00:00:30.5
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot},
			{"00:00:10", 0, 0, 0, meter.ClockStep | nothing}, {"00:00:20", 0, 0, 0, meter.ClockStep | nothing}}},
		{"step back into a closed period: again, with the next revision", func(t *testing.T, g *rig) {
			g.poll(0, 15*s, 5)
			g.shift = -8 * s
			g.advance(15 * s) // 00:00:07
			g.poll(16*s, 29*s, 5)
			g.advance(29 * s)
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot},
			{"00:00:10", 0, 500_000, 5, meter.ClockStep | low},
			{"00:00:00", 1, meter.Whole, 12, meter.Boot | meter.Overlap | meter.ClockStep},
			{"00:00:10", 1, meter.Whole, 15, meter.ClockStep | meter.Overlap}}},
		{"step back further than what is kept: afresh, above all revisions", func(t *testing.T, g *rig) {
			g.poll(0, 65*s, 5)
			g.shift = -60 * s
			g.out = nil
			g.advance(65 * s) // 00:00:05
			g.poll(66*s, 70*s, 5)
			g.advance(71 * s)
		}, []row{{"00:01:00", 0, 500_000, 5, meter.ClockStep | low},
			{"00:00:00", 1, 500_000, 4, meter.ClockStep | meter.Overlap | low}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(10 * s)
			g.advance(0)
			tt.play(t, g)
			g.expect(t, tt.want...)
		})
	}
}

func TestStepForwardFillsOnlyWhatHasNoRecord(t *testing.T) {
	g := newRig(10 * s)
	g.advance(0)
	g.poll(0, 15*s, 5)
	g.shift = -60 * s
	g.advance(15 * s) // 23:59:15
	g.out = nil
	g.shift = 21 * s
	g.advance(16 * s) // 00:00:37
	var starts []string
	for _, h := range g.out {
		starts = append(starts, h.Start.Format("15:04:05"))
		if h.Rev != 0 || h.Flags&meter.ClockStep == 0 {
			t.Errorf("%v: rev %d, flags %v", h.Start, h.Rev, h.Flags.Names())
		}
	}
	want := []string{"23:59:10", "23:59:20", "23:59:30", "23:59:40", "23:59:50", "00:00:20"}
	if !reflect.DeepEqual(starts, want) {
		t.Errorf("records of %v, want %v", starts, want)
	}
}

// A wrong date, years ahead, must not drown the store in empty records, and the
// way back must not make the present look as if it had been measured already.
func TestStepOfYearsStartsAnew(t *testing.T) {
	g := newRig(10 * s)
	g.advance(0)
	g.poll(0, 5*s, 5)
	g.shift = 12 * 365 * 24 * time.Hour
	g.advance(5 * s)
	g.shift = 0
	g.advance(6 * s)
	g.poll(7*s, 20*s, 5)
	g.advance(21 * s)
	for i, want := range []struct {
		year, rev int
		overlap   bool
	}{{2026, 0, false}, {2038, 0, false}, {2026, 1, true}, {2026, 0, false}} {
		if i >= len(g.out) {
			t.Fatalf("%d records, want 4", len(g.out))
		}
		if h := g.out[i]; h.Start.Year() != want.year || h.Rev != want.rev || h.Flags&meter.Overlap != 0 != want.overlap {
			t.Errorf("record %d: %v rev %d %v", i, h.Start, h.Rev, h.Flags.Names())
		}
	}
	if len(g.out) != 4 {
		t.Errorf("%d records, want 4", len(g.out))
	}
}

func TestUnsyncedStart(t *testing.T) {
	const unsynced = meter.Boot | meter.ClockBad
	tests := []struct {
		name   string
		synced time.Duration // when the clock becomes good
		want   []row
	}{
		{"within the period: dated back", 14 * s, []row{{"00:00:10", 0, 900_000, 9, unsynced | meter.Partial}, {"00:00:20", 0, meter.Whole, 10, 0}}},
		{"beyond its end: both dated back", 24 * s, []row{{"00:00:10", 0, 900_000, 9, unsynced | meter.Partial},
			{"00:00:20", 0, meter.Whole, 10, meter.ClockBad}}},
		{"two periods later", 34 * s, []row{{"00:00:10", 0, 900_000, 9, unsynced | meter.Partial},
			{"00:00:20", 0, meter.Whole, 10, meter.ClockBad}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(10 * s)
			g.clock, g.shift = meter.Unsynced, -50*365*24*time.Hour
			g.advance(11 * s)
			for at := 11 * s; at < 30*s; at += s {
				if at == tt.synced {
					g.clock, g.shift = meter.Synced, 0
				}
				g.advance(at)
				g.add(at, 40-int64(at/s)) // the maximum comes before the label
			}
			if tt.synced < 30*s {
				g.advance(31 * s)
			} else if g.out != nil {
				t.Fatalf("%d records without a date", len(g.out))
			} else {
				g.clock, g.shift = meter.Synced, 0
				g.advance(tt.synced)
			}
			g.expect(t, tt.want...)
			if h := g.out[0]; h.Clock != meter.Unsynced {
				t.Errorf("clock = %v, want unsynced", h.Clock)
			}
			if h := g.out[0]; h.Phase[0] != nil {
				if want := day.Add(11 * s); h.Phase[0].I.Max != 29_000 || h.Phase[0].I.MaxAt != want {
					t.Errorf("max %d at %v, want it at %v", h.Phase[0].I.Max, h.Phase[0].I.MaxAt, want)
				}
			}
		})
	}
}

// A clock that loses its trust keeps its labels running: what it says is not believed.
func TestTrustLostLater(t *testing.T) {
	g := newRig(10 * s)
	g.advance(0)
	g.poll(0, 5*s, 5)
	g.clock, g.shift = meter.Unsynced, time.Hour
	g.poll(5*s, 10*s, 5)
	g.advance(11 * s)
	g.expect(t, row{"00:00:00", 0, meter.Whole, 10, meter.Boot | meter.ClockBad})
}

// No date fits: a clock that claims to be synced in the year 1 is not.
func TestImpossibleDateIsUnsynced(t *testing.T) {
	w := New(Config{Way: "W1"})
	w.Advance(0, time.Time{}, meter.Synced)
	if got := w.Checkpoint().Open; len(got) != 0 {
		t.Errorf("labelled %v", time.Unix(0, got[0].Start))
	}
}

func TestWorstClockOfThePeriod(t *testing.T) {
	g := newRig(10 * s)
	g.advance(0)
	g.clock = meter.Holdover
	g.advance(1 * s)
	g.clock = meter.Synced
	g.advance(11 * s)
	g.advance(21 * s)
	if g.out[0].Clock != meter.Holdover || g.out[1].Clock != meter.Synced {
		t.Errorf("clocks = %v, %v, want holdover, synced", g.out[0].Clock, g.out[1].Clock)
	}
}

func TestRestart(t *testing.T) {
	tests := []struct {
		name string
		play func(t *testing.T, g *rig)
		want []row
	}{
		{"in the same period the sums go on", func(t *testing.T, g *rig) {
			g.poll(0, 3*s, 5)
			g.shift = 6 * s
			g.restart(t, 0)
			g.advance(0) // 00:00:06
			g.poll(0, 4*s, 9)
			g.advance(5 * s)
			if mean := g.out[0].Phase[0].I.Mean; mean != 7667 {
				t.Errorf("mean = %d", mean)
			}
		}, []row{{"00:00:00", 0, 600_000, 7, meter.Boot | meter.Restart | low}}},
		{"in a later period the old one stands, those between are empty", func(t *testing.T, g *rig) {
			g.poll(0, 10*s, 5)
			g.advance(11 * s)
			g.poll(11*s, 14*s, 5)
			g.shift = 42 * s
			g.restart(t, 0)
			g.poll(0, 8*s, 9)
			g.advance(9 * s)
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot},
			{"00:00:10", 0, 300_000, 3, meter.Restart | low},
			{"00:00:20", 0, 0, 0, meter.Restart | nothing}, {"00:00:30", 0, 0, 0, meter.Restart | nothing},
			{"00:00:40", 0, 800_000, 8, meter.Restart | low}}},
		{"closed but not handed out is not lost", func(t *testing.T, g *rig) {
			g.poll(0, 10*s, 5)
			g.add(35*s, 5) // closes three
			g.shift = 36 * s
			g.restart(t, 0)
			g.advance(0)
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot}, {"00:00:10", 0, 0, 0, nothing}, {"00:00:20", 0, 0, 0, nothing}}},
		{"the closed ones can still be reopened", func(t *testing.T, g *rig) {
			g.poll(0, 11*s, 5)
			g.shift = 12 * s
			g.restart(t, 0)
			g.advance(0)
			g.shift = 4 * s
			g.advance(1 * s) // 00:00:05
			g.out = nil
			g.poll(2*s, 6*s, 5)
			g.advance(7 * s)
		}, []row{{"00:00:00", 1, meter.Whole, 14, meter.Boot | meter.ClockStep | meter.Overlap}}},
		{"the revisions go on", func(t *testing.T, g *rig) {
			g.poll(0, 65*s, 5)
			g.shift = -60 * s
			g.advance(65 * s) // 00:00:05
			g.shift = 6 * s
			g.restart(t, 0)
			g.advance(0) // 00:00:06
			g.out = nil
			g.add(3*s, 5)
			g.add(7*s, 5)
			g.advance(16 * s) // 00:00:22
		}, []row{{"00:00:00", 1, 100_000, 1, meter.ClockStep | meter.Overlap | meter.Restart | low},
			{"00:00:10", 1, 400_000, 1, meter.Overlap | low}}},
		{"what was recorded is not hidden by silence", func(t *testing.T, g *rig) {
			g.poll(0, 65*s, 5)
			g.shift = -60 * s
			g.advance(65 * s) // 00:00:05
			g.out = nil
			for at := 66 * s; at < 100*s; at += s {
				g.advance(at)
			}
		}, nil},
		{"with a clock that went back", func(t *testing.T, g *rig) {
			g.poll(0, 11*s, 5)
			g.shift = 5 * s
			g.restart(t, 0)
			g.advance(0) // 00:00:05
			g.advance(6 * s)
		}, []row{{"00:00:00", 0, meter.Whole, 10, meter.Boot},
			{"00:00:10", 0, 0, 1, meter.Restart | nothing},
			{"00:00:00", 1, meter.Whole, 10, meter.Boot | meter.Restart | meter.ClockStep | meter.Overlap}}},
		{"before the clock is set, twice", func(t *testing.T, g *rig) {
			g.poll(0, 4*s, 5)
			g.clock = meter.Unsynced
			g.restart(t, 0)
			g.advance(0)
			g.add(0, 5)
			g.restart(t, 0)
			g.clock, g.shift = meter.Synced, 7*s
			g.advance(0)
			g.advance(4 * s)
		}, []row{{"00:00:00", 0, 300_000, 4, meter.Boot | meter.Restart | low}}},
		{"under another period", func(t *testing.T, g *rig) {
			g.poll(0, 4*s, 5)
			g.cfg.Period = m
			g.shift = 5 * s
			g.restart(t, 0)
			g.advance(0)
			g.fail(1*s, meter.Sentinel)
			g.advance(58 * s)
			g.advance(2 * m)
		}, []row{{"00:00:00", 0, 300_000, 4, meter.Boot | meter.Restart | low},
			{"00:00:00", 1, 0, 0, meter.Restart | meter.Overlap | nothing}, {"00:01:00", 0, 0, 0, nothing}}},
		{"of another way", func(t *testing.T, g *rig) {
			g.poll(0, 4*s, 5)
			g.cfg.Way = "W2"
			g.shift = 5 * s
			g.restart(t, 0)
			g.advance(0)
			g.advance(6 * s)
		}, []row{{"00:00:00", 0, 0, 0, meter.Boot | nothing}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(10 * s)
			g.advance(0)
			tt.play(t, g)
			g.expect(t, tt.want...)
		})
	}
}

// A hold longer than a period covers its share of each, not of the ones between.
func TestHoldLongerThanThePeriod(t *testing.T) {
	g := newRig(10 * s)
	g.cfg.Hold = 25 * s
	g.w = New(g.cfg)
	g.advance(0)
	g.add(9*s, 8)
	g.add(31*s, 2)
	g.advance(41 * s)
	g.expect(t, row{"00:00:00", 0, 100_000, 1, meter.Boot | low}, row{"00:00:10", 0, 0, 0, nothing},
		row{"00:00:20", 0, 0, 0, nothing}, row{"00:00:30", 0, meter.Whole, 1, 0})
	if got := g.out[3].Phase[0].I.Mean; got != (8000*1+2000*9)/10 {
		t.Errorf("mean = %d", got)
	}
}

// The meter has no reactive power per phase: the phases are null and it is said why.
func TestQuantityTheMeterDoesNotHave(t *testing.T) {
	g := newRig(10 * s)
	g.advance(0)
	for at := time.Duration(0); at < 10*s; at += s {
		r := reading(at, 230_000, 5000, 0, 0, 0)
		for p := range r.Phase {
			r.Phase[p].Q = meter.Sample[meter.Millivars]{Reason: meter.NotSupported}
		}
		g.w.Add(&r)
	}
	g.advance(11 * s)
	g.expect(t, row{"00:00:00", 0, 0, 0, meter.Boot | meter.Unavailable | nothing})
	if h := g.out[0]; h.Phase[0] != nil || h.Total != nil || h.Neutral == nil || h.Bad != 10 {
		t.Errorf("record %s", show(h))
	}
}

// What is remembered of the past stays small: time that touches is one span.
func TestIssued(t *testing.T) {
	var x issued
	for _, from := range []int64{100, 130, 110, 0, 120} {
		x.add(from, from+10)
	}
	if got, want := x.spans[:x.n], []Span{{0, 10}, {100, 140}}; !reflect.DeepEqual(got, want) {
		t.Errorf("spans = %v, want %v", got, want)
	}
	for _, tt := range []struct {
		at, until int64
		was       bool
	}{{-1, 0, false}, {0, 10, true}, {10, 100, false}, {139, 140, true}} {
		if until, was := x.at(tt.at); until != tt.until || was != tt.was {
			t.Errorf("at %d = %v until %d, want %v until %d", tt.at, was, until, tt.was, tt.until)
		}
	}
	for from := int64(1000); from < 1000+20*mostSpans; from += 20 {
		x.add(from, from+10)
	}
	if x.n != mostSpans || x.spans[0].From != 1000 {
		t.Errorf("%d spans from %d, want the %d latest", x.n, x.spans[0].From, mostSpans)
	}
}

// Any period starts on a UTC multiple of its length, wherever the agent started.
func TestBoundariesAreUTC(t *testing.T) {
	w := New(Config{Way: "W1"})
	at := time.Date(2026, 3, 29, 1, 59, 59, 999_999_999, time.FixedZone("BST", 3600)) // 00:59:59.9 UTC
	w.Advance(5, at, meter.Assumed)
	h, ok := w.Advance(5+3*s, at.Add(3*s), meter.Assumed)
	if !ok || !h.Start.Equal(day.Add(30*m)) || !h.End.Equal(day.Add(60*m)) || h.Start.Location() != time.UTC {
		t.Errorf("record of %v to %v", h.Start, h.End)
	}
}

func TestNewRefusesAPeriodThatDoesNotDivideAnHour(t *testing.T) {
	for _, period := range []time.Duration{7 * m, 2 * time.Hour, -m, 1500 * time.Microsecond} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New took a period of %v", period)
				}
			}()
			New(Config{Way: "W1", Period: period})
		}()
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	g := newRig(10 * s)
	g.advance(0)
	at := time.Duration(0)
	r := reading(0, 230_000, 5000, 0, 0, 0)
	if n := testing.AllocsPerRun(30, func() { // over two boundaries
		at += s
		r.At = at
		g.w.Add(&r)
	}); n != 0 {
		t.Errorf("Add allocates %v times", n)
	}
}
