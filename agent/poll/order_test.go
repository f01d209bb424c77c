package poll

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

// story notes what a bus does, in order.
type story struct{ lines []string }

func (s *story) note(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// teller is a source that takes a while and tells when it is read.
type teller struct {
	name  string
	takes time.Duration
	story *story
	steps int // requests of one supply reading
	step  int
	lost  bool
}

func (w *teller) Read(r *meter.Reading) error {
	w.story.note("%s", w.name)
	time.Sleep(w.takes)
	*r = metertest.Good(230_000, 100_000, 20_000_000, 0, 0)
	return nil
}

func (w *teller) ReadSupply(*meter.SupplyReading) error { panic("can be asked in steps") }

func (w *teller) StepSupply(r *meter.SupplyReading) (bool, error) {
	w.story.note("%s supply %d", w.name, w.step)
	time.Sleep(w.takes)
	if w.lost {
		w.step = 0
		return false, errGone
	}
	w.step++
	if w.step < w.steps {
		return false, nil
	}
	w.step = 0
	r.Frequency = meter.Sample[meter.Millihertz]{Value: 50_000, Quality: meter.Good}
	return true, nil
}

// When everything is due at once: the output, the reading that an alarm asks
// for, the ticks, and the supply last.
func TestOrderOfWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st story
		src := func(name string, takes time.Duration) *teller {
			return &teller{name: name, takes: takes, story: &st, steps: 1}
		}
		one := src("W1", 400*ms)
		w := way("W1", 10*s, one)
		w.Supply, w.SupplyEvery = one, 10*s
		long := src("long", 0)
		r := newRig(t, &metertest.Link{}, 0, way("W0", 10*s, long), w, way("W2", 10*s, src("W2", 400*ms)), way("W3", 10*s, src("W3", 400*ms)))
		r.at(9900 * ms)
		st.lines = nil
		long.takes = 5 * s // busy until 15 s; W1 and the supply fall due at 12.5 s, W2 at 15 s
		r.at(11 * s)
		r.bus.Do(Job{Do: func() error { st.note("output"); return nil }})
		if !r.bus.Reread("W3") || r.bus.Reread("W9") {
			t.Error("Reread knows the wrong ways")
		}
		r.at(18 * s)
		want := []string{"long", "output", "W3", "W1", "W2", "W1 supply 0", "W3"}
		if !slices.Equal(st.lines, want) {
			t.Errorf("order %q, want %q", st.lines, want)
		}
		r.stop()
	})
}

// Eight meters with three slow requests each: no tick waits for more than the
// one that is under way.
func TestSupplyDelaysATickByOneRequestAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st story
		const takes = 40 * ms
		var ways []Way
		for i := range 8 {
			src := &teller{name: fmt.Sprintf("W%d", i), takes: takes, story: &st, steps: 3}
			w := way(src.name, s, src)
			w.Supply, w.SupplyEvery = src, 5*s
			ways = append(ways, w)
		}
		r := newRig(t, &metertest.Link{}, 0, ways...)
		r.at(60*s - 1)
		for _, w := range r.bus.Stats().Ways {
			if w.Late.Max > takes || w.Skipped > 0 {
				t.Errorf("%s: late by up to %v, %d ticks skipped; a request takes %v", w.Way, w.Late.Max, w.Skipped, takes)
			}
		}
		// One soon after the start, then one every 5 s at instants of its own.
		for _, w := range ways {
			n := 0
			for _, x := range r.supplies {
				if x.Way == w.Way && x.Frequency.Value == 50_000 {
					n++
				}
			}
			if n < 12 || n > 13 {
				t.Errorf("%s: %d supply readings in a minute, want 12 or 13", w.Way, n)
			}
		}
		r.stop()
	})
}

// Without an answer there is a supply reading all the same, and it says so; the
// next one begins anew.
func TestSupplyThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st story
		src := &teller{name: "W1", takes: ms, story: &st, steps: 2}
		w := way("W1", s, src)
		w.Supply = src
		link := &metertest.Link{}
		r := newRig(t, link, 0, w)
		r.at(500 * ms)
		src.lost = true
		r.at(60*s + 500*ms)
		src.lost = false
		r.at(120*s + 500*ms)
		if len(r.supplies) != 3 {
			t.Fatalf("%d supply readings, want 3: %+v", len(r.supplies), r.supplies)
		}
		for i, want := range []meter.Quality{meter.Good, meter.Missing, meter.Good} {
			if got := r.supplies[i].Frequency; got.Quality != want || want == meter.Missing && got.Reason != meter.NoAnswer {
				t.Errorf("supply reading %d: %+v, want %v", i, got, want)
			}
		}
		if r.bus.Stats().Lost != 1 {
			t.Errorf("%d connections lost, want 1", r.bus.Stats().Lost)
		}
		r.stop()
	})
}

// busy refuses a number of times and says when to come back.
type busy struct {
	refusals int
	after    time.Duration
	refused  bool
	reads    []time.Duration
	now      func() time.Duration
}

func (b *busy) Read(r *meter.Reading) error {
	b.reads = append(b.reads, b.now())
	*r = metertest.Good(230_000, 0, 0, 0, 0)
	if b.refused = b.refusals > 0; b.refused {
		b.refusals--
		r.Fail(meter.Exception)
	}
	return nil
}

func (b *busy) RetryAfter() (time.Duration, bool) { return b.after, b.refused }

// A meter that is busy is asked once more within the tick, where there is time,
// and the tick has one reading.
func TestBusyMeterIsAskedAgain(t *testing.T) {
	for _, tt := range []struct {
		name     string
		refusals int
		after    time.Duration
		reads    []time.Duration
		good     []bool
	}{
		{"once", 1, 250 * ms, []time.Duration{0, 250 * ms, s}, []bool{true, true}},
		{"at once", 1, 0, []time.Duration{0, 1, s}, []bool{true, true}},
		{"twice", 2, 250 * ms, []time.Duration{0, 250 * ms, s}, []bool{false, true}},
		{"no time", 1, 2 * s, []time.Duration{0, s}, []bool{false, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &busy{refusals: tt.refusals, after: tt.after}
				start := time.Now()
				src.now = func() time.Duration { return time.Since(start) }
				r := newRig(t, &metertest.Link{}, 0, way("W1", s, src))
				r.at(1500 * ms)
				if _, good := r.ticks("W1"); !slices.Equal(good, tt.good) || !slices.Equal(src.reads, tt.reads) {
					t.Errorf("readings good %v, asked at %v; want %v, %v", good, src.reads, tt.good, tt.reads)
				}
				r.stop()
			})
		})
	}
}

// A gateway that closes an idle connection costs no reading.
func TestLostConnectionIsRepairedWithinTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &onceSource{first: untouched{}, then: steady()}
		link := &metertest.Link{}
		r := newRig(t, link, 0, way("W1", s, src))
		r.at(2500 * ms)
		if _, good := r.ticks("W1"); !slices.Equal(good, []bool{true, true, true}) {
			t.Errorf("readings good %v, want all", good)
		}
		if st := r.bus.Stats(); st.Ways[0].Retries != 1 || st.Opens != 2 {
			t.Errorf("%d retries, %d connections, want 1, 2", st.Ways[0].Retries, st.Opens)
		}
		r.stop()
	})
}

func TestSpread(t *testing.T) {
	var h histogram
	if s := h.spread(); s != (Spread{}) {
		t.Errorf("of nothing: %+v", s)
	}
	for range 98 {
		h.add(4 * ms)
	}
	h.add(40 * ms)
	h.add(time.Minute)
	if got, want := h.spread(), (Spread{Count: 100, Half: 5 * ms, Most99: 50 * ms, Max: time.Minute}); got != want {
		t.Errorf("spread %+v, want %+v", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { h.add(time.Second) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// codes returns the changes of a point: "fault METER_OFFLINE", "ok".
func (r *rig) codes(id string) (codes []string) {
	for _, p := range r.points {
		if p.ID == id {
			codes = append(codes, strings.TrimSpace(p.State.String()+" "+p.Code))
		}
	}
	return codes
}

// What is wrong with a meter shows with its first faulty reading, and is over
// with the first good one.
func TestHealthOfAMeter(t *testing.T) {
	failed := func(why meter.Reason) meter.Reading {
		var r meter.Reading
		r.Fail(why)
		return r
	}
	part := metertest.Good(230_000, 100_000, 20_000_000, 0, 0)
	part.Neutral = meter.Sample[meter.Milliamps]{Reason: meter.Sentinel}
	other := metertest.Good(230_000, 100_000, 20_000_000, 0, 0)
	other.Phase[0].I.Quality, other.Phase[0].I.Reason = meter.Suspect, meter.Mismatch
	for _, tt := range []struct {
		name    string
		reading meter.Reading
		want    []string // after "ok", then "ok" again
	}{
		{"no answer", failed(meter.NoAnswer), []string{"degraded METER_OFFLINE", "fault METER_OFFLINE"}},
		{"exceptions", failed(meter.Exception), []string{"degraded METER_EXCEPTION", "fault METER_EXCEPTION"}},
		{"foreign frames", failed(meter.BadFrame), []string{"degraded METER_BAD_FRAME", "fault METER_BAD_FRAME"}},
		{"not a number", failed(meter.NotANumber), []string{"degraded METER_INVALID", "fault METER_INVALID"}},
		{"one value not there", part, []string{"degraded METER_INVALID"}},
		{"another meter", other, []string{"fault METER_MISMATCH"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good := metertest.Good(230_000, 100_000, 20_000_000, 0, 0)
				src := metertest.NewSteady(good)
				w := way("W1", s, src)
				w.Point = "meter/m1"
				r := newRig(t, &metertest.Link{}, 0, w)
				r.at(1500 * ms)
				src.Set(tt.reading)
				r.at(2 * s)
				if got := r.codes("meter/m1"); got[len(got)-1] != tt.want[0] {
					t.Errorf("with the first faulty reading %q, want %q", got, tt.want[0])
				}
				r.at(10 * s)
				src.Set(good)
				r.at(60 * s)
				want := slices.Concat([]string{"degraded METER_OFFLINE", "ok"}, tt.want, []string{"ok"})
				if got := r.codes("meter/m1"); !slices.Equal(got, want) {
					t.Errorf("health %q, want %q", got, want)
				}
				r.stop()
			})
		})
	}
}

func TestHealthOfABus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, a, b := &metertest.Link{}, steady(), steady()
		r := newRig(t, link, 0, way("W1", s, a), way("W2", s, b))
		r.at(2200 * ms)
		link.Break(errGone)
		a.Break(errGone)
		b.Break(errGone)
		r.at(2600 * ms) // W2 finds out at 2.5 s
		if got := r.codes("bus/b1"); got[len(got)-1] != "fault BUS_DOWN" {
			t.Errorf("with the first reading after the loss: %q", got)
		}
		r.at(5 * s)
		link.Break(nil)
		r.at(20 * s) // connected, and nobody answers
		a.Break(nil)
		b.Break(nil)
		r.at(60 * s)
		want := []string{"degraded BUS_DOWN", "ok", "fault BUS_DOWN", "ok", "fault BUS_SILENT", "ok"}
		if got := r.codes("bus/b1"); !slices.Equal(got, want) {
			t.Errorf("health %q, want %q", got, want)
		}
		r.stop()
	})
}

// Ways of one meter share its point: the worst of them counts.
func TestPointOfAMeterWithTwoWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := steady(), steady()
		one, two := way("W1", s, a), way("W2", s, b)
		one.Point, two.Point = "meter/m1", "meter/m1"
		r := newRig(t, &metertest.Link{}, 0, one, two)
		r.at(3500*ms - 1)
		b.Break(errGone)
		r.at(10 * s)
		b.Break(nil)
		r.at(60 * s)
		want := []string{"degraded METER_OFFLINE", "ok", "degraded METER_OFFLINE", "fault METER_OFFLINE", "ok"}
		if got := r.codes("meter/m1"); !slices.Equal(got, want) {
			t.Errorf("health %q, want %q", got, want)
		}
		r.stop()
	})
}

// A meter that repeats itself bit for bit under load is not believed after a
// minute; one that rests without load, or moves by the least bit, is.
func TestFrozenMeter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		amps   meter.Milliamps
		move   int // the tick at which one value moves by a thousandth; 0: never
		frozen int // the first reading that is suspect, of 100; 0: none
	}{
		{"under load", 6_001, 0, 60},
		{"exactly 2 % of the range", 6_000, 0, 0},
		{"moves in time", 100_000, 59, 0},
		{"moves too late", 100_000, 80, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := metertest.NewSteady(metertest.Good(230_000, tt.amps, 1, 1, 1))
				w := way("W1", s, src)
				w.Range, w.Point = 300_000, "meter/m1"
				r := newRig(t, &metertest.Link{}, 0, w)
				if tt.move > 0 {
					r.at(time.Duration(tt.move)*s - 500*ms)
					src.Set(metertest.Good(230_000, tt.amps, 1, 1, 2))
				}
				r.at(100*s - 500*ms)
				first, suspect := 0, 0
				for i, x := range r.readings {
					if x.Neutral.Quality == meter.Suspect && x.Neutral.Reason == meter.Frozen && x.Phase[2].Q.Quality == meter.Suspect {
						suspect++
						if first == 0 {
							first = i + 1
						}
					}
				}
				wanted := map[bool]int{true: 41, false: 0}[tt.frozen > 0]
				if tt.move == 80 {
					wanted = 21
				}
				if first != tt.frozen || suspect != wanted {
					t.Errorf("suspect from reading %d, %d in all; want from %d, %d", first, suspect, tt.frozen, wanted)
				}
				if got := slices.Contains(r.codes("meter/m1"), "degraded METER_FROZEN"); got != (tt.frozen > 0) {
					t.Errorf("health %q", r.codes("meter/m1"))
				}
				r.stop()
			})
		})
	}
}
