package window

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"lvagent/meter"
)

// A day with an outage, a crash and a restart, a leap ahead of the clock and its
// way back, against the long way: of each half-hour the highest revision is what
// an independent sum over everything with a label in it says, to the last bit.
func TestDayWithACrashAndSteps(t *testing.T) {
	const poll, base = 2 * s, 100 * s // base: the first process's monotonic time at its start
	const down, up = 5*time.Hour + 13*m, 5*time.Hour + 31*m
	const leap, back, by = 9*time.Hour + 7*m, 12*time.Hour + 14*m, 47 * m
	for seed := range uint64(3) {
		dice := rand.New(rand.NewPCG(seed, 77))
		cfg := Config{Way: "W1", Period: 30 * m, Poll: poll, Hold: poll * 5 / 2, Expect: [meter.Phases]bool{true, true, true}}
		zero := time.Duration(day.UnixNano()) - base
		crash := base + down + 300*ms // between two polls; the checkpoint is that of the last one
		long := &naive{cfg: cfg, ends: []time.Duration{crash}, epochs: []epoch{
			{0, base + leap, zero}, {base + leap, base + back, zero + by}, {base + back, 100 * time.Hour, zero},
		}}
		w := New(cfg)
		start := time.Duration(0) // of the process, on the first one's scale
		latest := map[time.Time]meter.HalfHour{}
		revs := map[time.Time]int{}
		for at := time.Duration(base); at < base+24*time.Hour+m; at += s {
			wall := day.Add(at - base)
			if at >= base+leap && at < base+back {
				wall = wall.Add(by)
			}
			if at > crash && at < base+up {
				if at-s <= crash {
					text, err := Encode([]State{w.Checkpoint()})
					if err != nil {
						t.Fatal(err)
					}
					states, err := Decode(text)
					if err != nil {
						t.Fatal(err)
					}
					w, start = New(cfg), base+up
					w.Resume(states[0], 0, wall)
				}
				continue
			}
			for {
				h, ok := w.Advance(at-start, wall, meter.Synced)
				if !ok {
					break
				}
				if rev, was := revs[h.Start]; was && h.Rev <= rev || !was && h.Rev != 0 {
					t.Fatalf("%v: rev %d after %d", h.Start, h.Rev, rev)
				}
				revs[h.Start], latest[h.Start] = h.Rev, h
			}
			if (at-base)%poll != 0 {
				continue
			}
			i := 40_000 + dice.Int64N(60_000)
			r := reading(at+time.Duration(dice.Int64N(int64(250*ms)/1e6))*ms, 236_000+dice.Int64N(8000), i, i*200-dice.Int64N(30_000_000), dice.Int64N(4_000_000)-2_000_000, i/8)
			switch hour := (at - base) / time.Hour; {
			case hour == 3: // a whole hour without the meter
				r.Fail(meter.NoAnswer)
			case dice.IntN(50) == 0:
				r.Fail(meter.Sentinel)
			case dice.IntN(50) == 0:
				r.Phase[meter.L2].Q.Quality = meter.Missing
			}
			long.polls = append(long.polls, r)
			r.At -= start
			w.Add(&r)
		}
		long.prepare()
		reopened := 0
		for k := range 48 {
			at := day.Add(time.Duration(k) * 30 * m)
			got, ok := latest[at]
			if !ok {
				t.Errorf("no record of %v", at)
				continue
			}
			if got.Rev > 0 {
				reopened++
			}
			want := long.record(at, 0)
			story := meter.Boot | meter.Restart | meter.ClockStep | meter.Overlap
			got.Rev, got.Flags, want.Flags = 0, got.Flags&^story, want.Flags&^story
			if !reflect.DeepEqual(got, want) {
				t.Errorf("seed %d, record %v:\n got %s\nwant %s", seed, at, show(got), show(want))
			}
		}
		if reopened < 2 {
			t.Errorf("%d half-hours were measured twice, want those that the clock went back to", reopened)
		}
		for at, flag := range map[time.Duration]meter.Flags{down: meter.Restart, leap: meter.ClockStep, back: meter.ClockStep | meter.Overlap} {
			if h := latest[day.Add(at).Truncate(30*m)]; h.Flags&flag != flag {
				t.Errorf("%v: flags %v", h.Start, h.Flags.Names())
			}
		}
	}
}
