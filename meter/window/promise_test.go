package window

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// arrivals draws the readings of a meter that mostly answers, some of which are
// refused, late, or with a phase missing. The first is at from.
func arrivals(t *rapid.T, from, to time.Duration) []meter.Reading {
	value := rapid.OneOf(rapid.Int64Range(-1000, 1000), rapid.Int64Range(-10_000_000_000, 10_000_000_000))
	gap := rapid.OneOf(rapid.Int64Range(1, int64(3*s)), rapid.Int64Range(1, int64(2*ms)), rapid.Just(int64(s)), rapid.Int64Range(1, int64(20*s)))
	var out []meter.Reading
	for at := from; at < to; at += time.Duration(gap.Draw(t, "gap")) {
		i := value.Draw(t, "i")
		r := reading(at, max(i, -i)/1000, max(i, -i), value.Draw(t, "p"), value.Draw(t, "q"), max(i, -i)/2)
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			r.Fail(meter.NoAnswer)
		case 1:
			r.Fail(meter.Sentinel)
		case 2:
			r.Phase[rapid.IntRange(0, 2).Draw(t, "phase")].Q.Quality = meter.Missing
		case 3:
			r.Phase[0].P.Quality = meter.Suspect
		}
		out = append(out, r)
	}
	return out
}

// A record is consistent in itself, whatever came in.
func consistent(t *rapid.T, h meter.HalfHour, values []meter.Reading) {
	if h.Coverage < 0 || h.Coverage > meter.Whole {
		t.Fatalf("coverage %d", h.Coverage)
	}
	for ph, p := range h.Phase {
		if p == nil {
			continue
		}
		// Means may contain a value held from before the period: it has no part
		// in min and max, so the bounds are those of all readings.
		lo, hi := [4]int64{}, [4]int64{}
		first := true
		for k := range values {
			if values[k].Phase[ph].Quality() == meter.Missing {
				continue
			}
			v := (&naive{}).values(&values[k], ph)
			for q := range v {
				if first || v[q] < lo[q] {
					lo[q] = v[q]
				}
				if first || v[q] > hi[q] {
					hi[q] = v[q]
				}
			}
			first = false
		}
		for q, x := range []meter.Stats{p.V, p.I} {
			if x.Mean < lo[q] || x.Mean > hi[q] || x.Min < lo[q] || x.Max > hi[q] || x.Min > x.Max ||
				x.RMS < max(x.Mean, -x.Mean) || x.RMS > max(hi[q], -lo[q]) {
				t.Fatalf("L%d: %+v outside %d to %d", ph+1, x, lo[q], hi[q])
			}
			if x.MaxAt.Before(h.Start) || !x.MaxAt.Before(h.End) {
				t.Fatalf("L%d: max at %v, not within %v to %v", ph+1, x.MaxAt, h.Start, h.End)
			}
		}
		for q, x := range []meter.PowerStats{p.P, p.Q} {
			if d := x.Import - x.Export - x.Mean; d < -1 || d > 1 { // each is rounded on its own
				t.Fatalf("L%d: %+v: import less export is not the mean", ph+1, x)
			}
			if x.Mean < lo[q+2] || x.Mean > hi[q+2] || x.Min > x.Max || x.Import < 0 || x.Export < 0 {
				t.Fatalf("L%d: %+v outside %d to %d", ph+1, x, lo[q+2], hi[q+2])
			}
		}
	}
	if x := h.Total; x != nil && (x.S < max(x.P, -x.P) || x.PF < 0 || x.PF > 1000) {
		t.Fatalf("total %+v", x)
	}
}

// Any arrival pattern gives consistent records with strict bounds where nothing
// was held in, counts every poll once, and does not depend on when Advance is called.
func TestAnyArrivals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := arrivals(t, 0, 35*s)
		end := in[len(in)-1].At + 15*s
		run := func(steps []time.Duration) []meter.HalfHour {
			g := newRig(10 * s)
			g.advance(0)
			for k := range in {
				for len(steps) > 0 && steps[0] <= in[k].At {
					g.advance(steps[0])
					steps = steps[1:]
				}
				g.w.Add(&in[k])
			}
			g.advance(end)
			return g.out
		}
		steps := rapid.SliceOfN(rapid.Int64Range(0, int64(35*s)), 0, 30).Draw(t, "advances")
		slices.Sort(steps)
		var fine []time.Duration
		for _, x := range steps {
			fine = append(fine, time.Duration(x))
		}
		got, coarse := run(fine), run(nil)
		if !reflect.DeepEqual(got, coarse) {
			t.Fatalf("Advance at %v makes a difference:\n%v\n%v", fine, got, coarse)
		}
		polls := 0
		for k, h := range got {
			if want := day.Add(time.Duration(k) * 10 * s); !h.Start.Equal(want) {
				t.Fatalf("record %d starts at %v, want %v", k, h.Start, want)
			}
			polls += h.Samples + h.Bad
			consistent(t, h, in)
			for _, p := range h.Phase {
				if k == 0 && p != nil && (p.I.Mean < p.I.Min || p.I.Mean > p.I.Max || p.I.RMS > p.I.Max || p.P.Mean < p.P.Min || p.P.Mean > p.P.Max) {
					t.Fatalf("first period: %+v", p)
				}
			}
		}
		if polls != len(in) {
			t.Fatalf("%d polls counted, %d were made", polls, len(in))
		}
	})
}

// The sums of two half periods are those of the whole, to the last bit.
func TestHalvesMergeToTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := arrivals(t, 0, 58*s)
		in = append(in, reading(60*s, 0, 0, 0, 0, 0))
		sums := func(period time.Duration) []Period {
			g := newRig(period)
			g.w.Advance(0, day, meter.Synced)
			for k := range in {
				if in[k].At <= 60*s {
					g.w.Add(&in[k])
				}
			}
			var out []Period
			for _, x := range g.w.Checkpoint().Waiting {
				for until := max(x.Until, x.Period.End); x.Period.Start < until; {
					out = append(out, x.Period)
					x.Period.Start, x.Period.End = x.Period.End, x.Period.End+int64(period)
				}
			}
			return out
		}
		whole, halves := sums(m), sums(30*s)
		if len(whole) != 1 || len(halves) != 2 {
			t.Fatalf("%d wholes and %d halves", len(whole), len(halves))
		}
		both := halves[0]
		both.End = halves[1].End
		both.merge(&halves[1], int64(30*s))
		// A maximum reached in both halves is dated in the first: so is the whole's.
		if !reflect.DeepEqual(both, whole[0]) {
			t.Fatalf("halves %+v\nwhole  %+v", both, whole[0])
		}
	})
}

// Whatever happens - readings, silence, steps of the clock, lost trust, restarts -
// every period that the wall clock went through has a record, and no start and
// revision occurs twice.
func TestNoPeriodMissingNoneTwice(t *testing.T) {
	const period = 10 * s
	rapid.Check(t, func(t *rapid.T) {
		g := newRig(period)
		var mono time.Duration
		var dated, restarted bool  // a trusted clock was seen; a restart came after
		var believed time.Duration // shift at the last trusted Advance
		var seen time.Time         // how far the labels went, slew back aside
		var begun time.Time        // the period in which they began, or began again
		last := map[time.Time]int{}
		startOf := func(x time.Time) time.Time { return x.Truncate(period) }
		drain := func() {
			g.out = g.out[:0]
			g.advance(mono)
			for _, h := range g.out {
				rev, was := last[h.Start]
				if was && h.Rev <= rev {
					t.Fatalf("%v: rev %d after %d", h.Start, h.Rev, rev)
				}
				if !was && h.Rev != 0 {
					t.Fatalf("%v: first record has rev %d", h.Start, h.Rev)
				}
				last[h.Start] = h.Rev
				if !h.Start.Equal(startOf(h.Start)) || h.End.Sub(h.Start) != period {
					t.Fatalf("record of %v to %v", h.Start, h.End)
				}
			}
			if !g.clock.Trusted() {
				return
			}
			now, was := g.wall(mono), day.Add(mono+believed) // by the new labels and by the old ones
			step := g.shift-believed > s || g.shift-believed < -s
			if dated {
				from := startOf(seen.Add(-s)) // within its grace it may still have been open
				if from.Before(begun) {
					from = begun
				}
				for x := from; x.Before(startOf(now.Add(-s))); x = x.Add(period) {
					if _, ok := last[x]; !ok {
						t.Fatalf("no record of %v, between %v and %v", x, seen, now)
					}
				}
				if _, ok := last[startOf(was)]; !ok && step && !restarted &&
					!startOf(was).Before(begun) && startOf(now).Before(startOf(was)) {
					t.Fatalf("no record of %v, left by a step back to %v", startOf(was), now)
				}
			}
			if !dated || step || restarted {
				begun, seen = startOf(now), now
			}
			if now.After(seen) {
				seen = now
			}
			dated, restarted, believed = true, false, g.shift
		}
		// What the store has: a checkpoint and the records of before it, together.
		var stored struct {
			state    State
			last     map[time.Time]int
			dated    bool
			believed time.Duration
			seen     time.Time
			begun    time.Time
		}
		commit := func() {
			stored.state, stored.last = g.w.Checkpoint(), maps.Clone(last)
			stored.dated, stored.believed, stored.seen, stored.begun = dated, believed, seen, begun
		}
		commit()
		moment := rapid.OneOf(rapid.Int64Range(0, int64(3*s)), rapid.Int64Range(0, int64(50*s)))
		leap := rapid.OneOf(rapid.Int64Range(-int64(2*s), int64(2*s)), rapid.Int64Range(-int64(80*s), int64(80*s)))
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				mono += time.Duration(moment.Draw(t, "wait"))
				g.add(mono, 5)
			},
			"wait": func(t *rapid.T) {
				mono += time.Duration(moment.Draw(t, "wait"))
				drain()
			},
			"step": func(t *rapid.T) {
				g.shift += time.Duration(leap.Draw(t, "leap"))
				drain()
			},
			"trust": func(t *rapid.T) {
				g.clock = rapid.SampledFrom([]meter.Clock{meter.Unsynced, meter.Synced, meter.Synced, meter.Holdover}).Draw(t, "clock")
				drain()
			},
			"restart": func(t *rapid.T) {
				down := time.Duration(leap.Draw(t, "down"))
				if down < 0 {
					down /= 8
				}
				g.shift += mono + down
				mono, restarted = 0, true
				g.restart(t, mono)
				commit()
			},
			"commit": func(t *rapid.T) { commit() },
			// Everything since the last commit is gone, records that were handed out
			// meanwhile among it: nobody has seen them.
			"kill": func(t *rapid.T) {
				down := time.Duration(rapid.Int64Range(0, int64(80*s)).Draw(t, "down"))
				g.shift += mono + down
				mono, restarted = 0, true
				last, dated, believed, seen, begun = maps.Clone(stored.last), stored.dated, stored.believed, stored.seen, stored.begun
				g.w = New(g.cfg)
				g.w.Resume(stored.state, mono, g.wall(mono))
			},
		})
	})
}
