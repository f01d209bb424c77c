package window

import (
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// totals are the sums of all periods that were closed or are open.
func totals(w *Window) (all Period) {
	state := w.Checkpoint()
	for i := range state.Waiting {
		all.merge(&state.Waiting[i].Period, 0)
	}
	for i := range state.Open {
		all.merge(&state.Open[i], 0)
	}
	for i := range all.Phase {
		p := &all.Phase[i]
		p.V.MaxAt, p.I.MaxAt = 0, 0
	}
	all.Neutral.MaxAt = 0
	all.Flags, all.Clock = 0, 0
	all.Total = TotalSums{} // a sum that is not in the phases adds nothing to what is compared
	return all
}

// Without a date nothing is lost and nothing counts twice: once the clock is set,
// the sums of all periods together are to the last bit those of an agent that
// knew the time all along, and no period is off by more than the slots at its ends.
func TestWithoutADateNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const period = 30 * s // longer than any silence of arrivals: nothing is held into a period without a reading
		long := time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * s
		in := arrivals(t, 0, long)
		shift := time.Duration(rapid.Int64Range(0, int64(period)).Draw(t, "shift"))
		synced := in[len(in)-1].At + time.Duration(rapid.Int64Range(0, int64(15*s)).Draw(t, "synced"))
		cfg := Config{Way: "W1", Period: period, Hold: 2500 * ms}
		run := func(clock meter.Clock) (*Window, int64) {
			w := New(cfg)
			advance := func(at time.Duration, clock meter.Clock) {
				// What would be handed out is looked at in the checkpoint.
				now := int64(at)
				w.start(now)
				if !w.labelled {
					w.roll(now)
				}
				w.clock = clock
				w.open.note(clock)
				if clock.Trusted() {
					w.follow(now, day.Add(shift).UnixNano())
				}
				if w.labelled {
					w.closeUpTo(now - w.grace)
				}
			}
			advance(0, clock)
			for k := range in {
				w.Add(&in[k])
			}
			if !w.labelled {
				w.roll(int64(synced)) // as advance will: the last slots may double the length
			}
			longest := w.slots.length
			advance(synced, meter.Synced)
			w.closeUpTo(int64(synced)) // whatever grace a boundary just before has
			w.integrate(floorMilli(int64(synced)))
			return w, longest
		}
		known, _ := run(meter.Synced)
		late, longest := run(meter.Unsynced)
		if a, b := totals(known), totals(late); a != b {
			t.Fatalf("known %+v\nlate  %+v", a, b)
		}
		for _, x := range late.Checkpoint().Waiting {
			if err := x.Period.check(); err != nil { // a maximum outside of it, for one
				t.Fatalf("period at %v: %v", time.Unix(0, x.Period.Start).UTC(), err)
			}
		}
		weights := func(w *Window) map[int64]int64 {
			out := map[int64]int64{}
			state := w.Checkpoint()
			for _, x := range state.Waiting {
				out[x.Period.Start] += x.Period.Phase[0].Weight
			}
			out[state.Open[0].Start] += state.Open[0].Phase[0].Weight
			return out
		}
		want, got := weights(known), weights(late)
		for start, weight := range want {
			if d := got[start] - weight; d > longest/1e6+1 || d < -longest/1e6-1 {
				t.Fatalf("period at %v: %d ms, want %d within a slot of %v", time.Unix(0, start).UTC(), got[start], weight, time.Duration(longest))
			}
		}
	})
}

// What waits for a date is bounded, and after the bound the newest is kept.
func TestWithoutADateForADay(t *testing.T) {
	w := New(Config{Way: "W1"})
	w.Advance(0, time.Time{}, meter.Unsynced)
	const long = 26 * time.Hour
	for at := time.Duration(0); at < long; at += s {
		r := reading(at, 230_000, int64(at/s), 0, 0, 0)
		w.Add(&r)
	}
	if n := len(w.slots.done); n > mostSlots || n < mostSlots/2 {
		t.Errorf("%d slots wait, at most %d", n, mostSlots)
	}
	if w.slots.length > int64(30*m)/longestShare {
		t.Errorf("slots of %v", time.Duration(w.slots.length))
	}
	var out []meter.HalfHour
	for {
		h, ok := w.Advance(long, day.Add(long), meter.Synced)
		if !ok {
			break
		}
		out = append(out, h)
	}
	if len(out) != 52 {
		t.Fatalf("%d records of 26 hours, want 52", len(out))
	}
	for k, h := range out {
		if !h.Start.Equal(day.Add(time.Duration(k)*30*m)) || h.Flags&meter.ClockBad == 0 || h.Clock != meter.Unsynced {
			t.Errorf("record %d: %v %v %v", k, h.Start, h.Flags.Names(), h.Clock)
		}
		measured := h.Phase[0] != nil
		if old := k < 41; old == measured {
			t.Errorf("%v: measured %v", h.Start, measured)
		}
		if k > 44 && h.Coverage < 900_000 {
			t.Errorf("%v: coverage %d", h.Start, h.Coverage)
		}
		if measured {
			if at := h.Phase[0].I.MaxAt; at.Before(h.Start) || !at.Before(h.End) {
				t.Errorf("%v: maximum at %v", h.Start, at)
			}
		}
	}
}

// A site without readings and without a date has its records all the same.
func TestWithoutADateAndSilent(t *testing.T) {
	g := newRig(10 * s)
	g.clock = meter.Unsynced
	for at := time.Duration(0); at < 25*s; at += s {
		g.advance(at)
	}
	g.clock = meter.Synced
	g.advance(25 * s)
	g.expect(t, row{"00:00:00", 0, 0, 0, meter.Boot | meter.ClockBad | nothing}, row{"00:00:10", 0, 0, 0, meter.ClockBad | nothing})
}

// A maximum in a slot that a boundary runs through is dated inside the period that
// the slot was given to.
func TestMaximumAtABoundaryIsDatedInside(t *testing.T) {
	for _, tt := range []struct {
		name     string
		at       time.Duration // on the monotonic clock; the boundary is at 9.94 s, the slot from 9.9 to 10 s
		want     int           // the period that has it
		wantTime time.Duration
	}{
		{"in the slot before", 9899 * ms, 0, 9959 * ms},
		{"before the boundary, in the smaller part", 9920 * ms, 1, 10 * s},
		{"after it", 9960 * ms, 1, 10020 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(10 * s)
			g.clock, g.shift = meter.Unsynced, 60*ms
			g.advance(0)
			for at := s; at < 11*s; at += s {
				g.add(at, 5)
				if at == 9*s {
					g.add(tt.at, 99)
				}
			}
			g.clock = meter.Synced
			g.advance(11 * s)
			g.advance(25 * s)
			if i := g.out[tt.want].Phase[0].I; i.Max != 99_000 || !i.MaxAt.Equal(day.Add(tt.wantTime)) {
				t.Errorf("maximum %d at %v, want it at %v", i.Max, i.MaxAt, day.Add(tt.wantTime))
			}
		})
	}
}
