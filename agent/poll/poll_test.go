package poll

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

var errGone = errors.New("connection reset")

// rig is a bus in a bubble, its readings and its log. A test looks at them when
// the bus is at rest; mu, taken with each look at the clock, orders what the
// test has seen before what the bus does next.
type rig struct {
	mu       sync.Mutex
	bus      *Bus
	start    time.Time
	readings []meter.Reading
	supplies []meter.SupplyReading
	points   []meter.HealthPoint
	log      bytes.Buffer
	stop     func() error
}

func (r *rig) now() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.start)
}

// at sleeps until t after the start of the rig and lets the bus come to rest.
func (r *rig) at(t time.Duration) {
	time.Sleep(t - r.now())
	synctest.Wait()
}

// ticks returns when the readings of way were taken, and which were good.
func (r *rig) ticks(way string) (at []time.Duration, good []bool) {
	for _, x := range r.readings {
		if x.Way == way {
			at = append(at, x.At)
			good = append(good, x.Phase[meter.L1].V.Quality == meter.Good)
		}
	}
	return at, good
}

// newRig starts a bus. It must be called in a bubble; stop ends the bus.
func newRig(t *testing.T, link Link, align time.Duration, ways ...Way) *rig {
	t.Helper()
	r := &rig{start: time.Now()}
	r.bus = NewBus(Config{
		Name: "b1", Link: link, Ways: ways, Align: align,
		Deliver: func(x meter.Reading) { r.readings = append(r.readings, x) },
		Supply:  func(x meter.SupplyReading) { r.supplies = append(r.supplies, x) },
		Point:   "bus/b1",
		Health:  func(p meter.HealthPoint) { r.points = append(r.points, p) },
		Now:     r.now,
		Rand:    func() float64 { return 0.5 },
		Log:     slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.bus.Run(ctx) }()
	r.stop = func() error { cancel(); return <-done }
	return r
}

func way(name string, every time.Duration, source Source) Way {
	return Way{Way: name, Every: every, Source: source}
}

func steady() *metertest.Steady {
	return metertest.NewSteady(metertest.Good(230_000, 100_000, 20_000_000, 1_000_000, 5_000))
}

func TestTicksAreAlignedAndStaggered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &metertest.Link{}, 300*ms,
			way("W1", s, steady()), way("W2", s, steady()), way("W3", 2*s, steady()))
		r.at(5 * s)
		for _, tt := range []struct {
			way  string
			want []time.Duration
		}{
			{"W1", []time.Duration{300 * ms, 1300 * ms, 2300 * ms, 3300 * ms, 4300 * ms}},
			// A third of a second later, in whole nanoseconds.
			{"W2", []time.Duration{633333333, 1633333333, 2633333333, 3633333333, 4633333333}},
			{"W3", []time.Duration{1633333333, 3633333333}},
		} {
			if at, _ := r.ticks(tt.way); !slices.Equal(at, tt.want) {
				t.Errorf("%s polled at %v, want %v", tt.way, at, tt.want)
			}
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReadingIsStampedAtMidpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := steady()
		src.Takes(80 * ms)
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, src))
		r.at(1500 * ms)
		if at, _ := r.ticks("W1"); !slices.Equal(at, []time.Duration{40 * ms, 1040 * ms}) {
			t.Errorf("stamped at %v, want 40ms and 1.04s", at)
		}
		r.stop()
	})
}

func TestMissedTicksAreSkippedNotBunched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := steady()
		src.Takes(2500 * ms)
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, src))
		r.at(1 * s)
		src.Takes(0) // the read under way still takes its 2.5 s
		r.at(4500 * ms)
		want := []time.Duration{1250 * ms, 3 * s, 4 * s}
		if at, _ := r.ticks("W1"); !slices.Equal(at, want) {
			t.Errorf("polled at %v, want %v", at, want)
		}
		if st := r.bus.Stats().Ways[0]; st.Skipped != 2 {
			t.Errorf("skipped = %d, want 2", st.Skipped)
		}
		r.stop()
	})
}

// A read that ends exactly on the next tick has not missed it.
func TestReadThatEndsOnTheNextTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := steady()
		src.Takes(1 * s)
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, src))
		r.at(5500 * ms)
		if st := r.bus.Stats().Ways[0]; st.Polls != 5 || st.Skipped != 0 {
			t.Errorf("polls, skipped = %d, %d, want 5, 0", st.Polls, st.Skipped)
		}
		r.stop()
	})
}

func TestSilentMeterDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, alive, link := steady(), steady(), &metertest.Link{}
		dead.Break(errGone)
		dead.Takes(300 * ms)
		r := newRig(t, link, 0, way("W1", s, dead), way("W2", s, alive))
		r.at(2700 * ms)
		if st := r.bus.Stats().Ways; st[0].State != Offline || st[1].State != OK {
			t.Errorf("states %v, %v, want offline, ok", st[0].State, st[1].State)
		}
		r.at(60*s - 1)
		at, good := r.ticks("W1")
		if len(at) != 60 || slices.Contains(good, true) {
			t.Errorf("silent meter: %d readings, some good: %v, want 60, false", len(at), slices.Contains(good, true))
		}
		if at, good := r.ticks("W2"); len(at) != 60 || slices.Contains(good, false) {
			t.Errorf("other meter: %d readings, some bad: %v, want 60, false", len(at), slices.Contains(good, false))
		}
		// Three tries, then a probe at 33 s (the first tick 30 s after 2.3 s).
		if got := dead.Reads(); got != 4 {
			t.Errorf("silent meter was asked %d times in a minute, want 4", got)
		}
		if n := strings.Count(r.log.String(), "meter silent"); n != 1 {
			t.Errorf("logged silence %d times, want once:\n%s", n, &r.log)
		}
		dead.Break(nil)
		dead.Takes(0)
		r.at(70 * s)
		if st := r.bus.Stats().Ways[0]; st.State != OK {
			t.Errorf("after it came back: %v, want ok", st.State)
		}
		if !strings.Contains(r.log.String(), "meter answers again") {
			t.Errorf("return not logged:\n%s", &r.log)
		}
		r.stop()
	})
}

func TestTwoMissesDoNotMakeAMeterOffline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := steady()
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, src))
		r.at(500 * ms)
		src.Break(errGone)
		r.at(2500 * ms)
		if st := r.bus.Stats().Ways[0]; st.State != Degraded || st.NoAnswer != 2 || st.LastGood != 0 {
			t.Errorf("after two misses: %+v, want degraded, 2 without answer, last good at 0", st)
		}
		r.at(3500 * ms)
		if st := r.bus.Stats().Ways[0]; st.State != Offline {
			t.Errorf("after three misses: %v, want offline", st.State)
		}
		r.stop()
	})
}

func TestDeadLinkStillYieldsReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, src := &metertest.Link{}, steady()
		link.Break(errGone)
		r := newRig(t, link, 0, way("W1", s, src))
		r.at(100*s - 1)
		at, good := r.ticks("W1")
		if len(at) != 100 || slices.Contains(good, true) {
			t.Errorf("%d readings, some good: %v, want 100, false", len(at), slices.Contains(good, true))
		}
		if why := r.readings[0].Phase[meter.L2].Q.Reason; why != meter.NoAnswer {
			t.Errorf("reason = %d, want NoAnswer", why)
		}
		// 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, then every 30 s: 61.5, 91.5.
		if got := link.Opens(); got != 9 {
			t.Errorf("%d connections tried in 100 s, want 9", got)
		}
		if src.Reads() != 0 {
			t.Errorf("read %d times over a dead link", src.Reads())
		}
		if n := strings.Count(r.log.String(), "link down"); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, &r.log)
		}
		link.Break(nil)
		r.at(122 * s)
		if st := r.bus.Stats(); !st.Up || st.Ways[0].State != OK {
			t.Errorf("after the link came back: %+v", st)
		}
		r.stop()
	})
}

// Back-off starts anew at each outage, and a gateway that comes back finds its
// meters asked at once, not in probe mode.
func TestEveryOutageIsLikeTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, src := &metertest.Link{}, steady()
		r := newRig(t, link, 0, way("W1", s, src))
		base := 0 * s
		for outage := range 20 {
			r.at(base + 10*s + 500*ms)
			link.Break(errGone)
			src.Break(errGone)
			before := link.Opens()
			r.at(base + 18*s) // lost at the tick of 11 s: 11, 11.5, 12.5, 14.5; next at 18.5
			if got := link.Opens() - before; got != 4 {
				t.Fatalf("outage %d: %d connections tried, want 4", outage, got)
			}
			link.Break(nil)
			src.Break(nil)
			r.at(base + 19*s + 500*ms)
			if st := r.bus.Stats(); st.Ways[0].State != OK {
				t.Fatalf("outage %d: 1 s after the link is back: %+v", outage, st)
			}
			base += 20 * s
		}
		r.stop()
	})
}

// When the whole link was away, a meter in probe mode is asked as soon as the
// link is back, and not up to half a minute later.
func TestOutageEndsProbeMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, a, b := &metertest.Link{}, steady(), steady()
		a.Break(errGone)
		r := newRig(t, link, 0, way("W1", s, a), way("W2", s, b))
		r.at(4*s + 200*ms)  // W1 was silent at 0, 1 and 2 s: next probe at 32 s
		if a.Reads() != 4 { // the first failure was repeated at once
			t.Fatalf("W1 was asked %d times, want 4", a.Reads())
		}
		link.Break(errGone)
		b.Break(errGone)
		r.at(4*s + 800*ms) // W2 has lost the link at 4.5 s
		link.Break(nil)
		a.Break(nil)
		b.Break(nil)
		r.at(6*s + 600*ms)
		for _, st := range r.bus.Stats().Ways {
			if st.State != OK {
				t.Errorf("%s is %v, want ok", st.Way, st.State)
			}
		}
		for _, msg := range []string{"meter silent", "meter answers again"} {
			if n := strings.Count(r.log.String(), msg); n != 1 {
				t.Errorf("%q logged %d times, want once:\n%s", msg, n, &r.log)
			}
		}
		r.stop()
	})
}

func TestJitterStaysWithinAFifth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.Float64Range(0, 0.999999).Draw(t, "draw")
		fails := rapid.IntRange(0, 1000).Draw(t, "fails")
		b := &Bus{cfg: Config{Rand: func() float64 { return draw }}, fails: fails}
		mid := min(lastRetry, firstRetry<<min(fails, 10))
		if d := b.pause(); d < mid*8/10 || d > mid*12/10 {
			t.Errorf("pause after %d failures = %v, want %v +- 20 %%", fails, d, mid)
		}
	})
}

// Ticks lie a whole number of periods from the alignment and not in the past.
func TestFirstTick(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "now"))
		align := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(1000*time.Hour)).Draw(t, "align"))
		every := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "every"))
		got := firstTick(now, align, every)
		if got < now || got-now >= every || (got-align)%every != 0 {
			t.Errorf("firstTick(%d, %d, %d) = %d", now, align, every, got)
		}
	})
}

func TestJobsRunBeforeReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := steady()
		src.Takes(900 * ms) // the bus is nearly full
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, src), way("W2", s, steady()))
		var order []string
		r.at(400 * ms) // W2 falls due at 0.5 s, while W1 is read until 0.9 s
		for i := range 3 {
			r.bus.Do(Job{Do: func() error {
				order = append(order, fmt.Sprintf("job %d after %d readings", i, len(r.readings)))
				return nil
			}})
		}
		r.at(950 * ms)
		want := []string{"job 0 after 1 readings", "job 1 after 1 readings", "job 2 after 1 readings"}
		if !slices.Equal(order, want) {
			t.Errorf("got %q, want %q", order, want)
		}
		r.stop()
	})
}

func TestJobRunsAtOnceOnAnIdleBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &metertest.Link{}, 0, way("W1", time.Minute, steady()))
		r.at(10 * s)
		var at time.Duration
		r.bus.Do(Job{Do: func() error { at = r.now(); return nil }})
		r.at(20 * s)
		if at != 10*s {
			t.Errorf("job ran at %v, want 10s", at)
		}
		r.stop()
	})
}

// A flood of jobs, each queued by the one before, does not stop measurement.
func TestFloodOfJobsLeavesRoomForReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, steady()))
		var again Job
		again.Do = func() error { time.Sleep(50 * ms); r.bus.Do(again); return nil }
		r.bus.Do(again)
		r.at(10*s + 500*ms)
		if at, _ := r.ticks("W1"); len(at) < 10 {
			t.Errorf("%d readings in 10 s, want 10 or more", len(at))
		}
		r.stop()
	})
}

func TestJobLearnsOfADeadLinkAndRunsFirstAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, src := &metertest.Link{}, steady()
		link.Break(errGone)
		r := newRig(t, link, 0, way("W1", s, src))
		r.at(4 * s) // tried at 0, 0.5, 1.5, 3.5; next at 7.5
		var told []time.Duration
		var cause error
		var ran, reads = time.Duration(-1), -1
		r.bus.Do(Job{
			Do:   func() error { ran, reads = r.now(), src.Reads(); return nil },
			Down: func(err error) { told, cause = append(told, r.now()), err },
		})
		r.at(7 * s)
		if !slices.Equal(told, []time.Duration{4 * s}) || !errors.Is(cause, errGone) || ran >= 0 {
			t.Errorf("told at %v of %v, ran at %v; want once at 4s of %v, not run", told, cause, ran, errGone)
		}
		link.Break(nil)
		r.at(9 * s)
		if ran != 7500*ms || reads != 0 {
			t.Errorf("ran at %v after %d reads, want 7.5s and none", ran, reads)
		}
		r.stop()
	})
}

// A job whose write loses the connection knows by itself; it is not tried
// again, or a dead actuator would block the bus for ever.
func TestJobThatLosesTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &metertest.Link{}
		r := newRig(t, link, 0, way("W1", s, steady()))
		r.at(200 * ms)
		var log []string
		r.bus.Do(Job{Do: func() error { log = append(log, "first"); return errGone }})
		r.bus.Do(Job{Do: func() error { log = append(log, fmt.Sprint("second, open: ", link.IsOpen())); return nil }})
		r.at(300 * ms)
		if want := []string{"first", "second, open: true"}; !slices.Equal(log, want) {
			t.Errorf("got %q, want %q", log, want)
		}
		st := r.bus.Stats()
		if st.Opens != 2 || st.Lost != 1 || st.Jobs != 2 || st.JobsFailed != 1 {
			t.Errorf("%+v, want 2 opens, 1 lost, 2 jobs, 1 failed", st)
		}
		r.stop()
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &metertest.Link{}
		link.Break(errGone)
		r := newRig(t, link, 0)
		taken, stopped := 0, 0
		for range maxJobs + 5 {
			if r.bus.Do(Job{Do: func() error { return nil }, Down: func(err error) {
				if errors.Is(err, ErrStopped) {
					stopped++
				}
			}}) {
				taken++
			}
		}
		r.at(1 * s)
		r.stop()
		if taken != maxJobs || stopped != maxJobs || r.bus.Stats().JobsRefused != 5 {
			t.Errorf("took %d, told %d of the stop, refused %d; want %d, %d, 5",
				taken, stopped, r.bus.Stats().JobsRefused, maxJobs, maxJobs)
		}
		if r.bus.Do(Job{}) {
			t.Error("took a job after the stop")
		}
		if link.IsOpen() {
			t.Error("link is open after the stop")
		}
	})
}

func TestAnswersWithoutValuesAreNotSilence(t *testing.T) {
	bad := func(why meter.Reason) meter.Reading {
		var r meter.Reading
		r.Fail(why)
		return r
	}
	part := metertest.Good(230_000, 100_000, 20_000_000, 0, 0)
	part.Neutral = meter.Sample[meter.Milliamps]{Reason: meter.NotANumber}
	lacks := metertest.Good(230_000, 100_000, 20_000_000, 0, 0)
	lacks.Neutral = meter.Sample[meter.Milliamps]{Reason: meter.NotSupported}
	for _, tt := range []struct {
		name    string
		reading meter.Reading
		reads   int // in 10 s
		want    State
	}{
		{"all exceptions", bad(meter.Exception), 10, Degraded},
		{"all not a number", bad(meter.NotANumber), 10, Degraded},
		{"one not a number", part, 10, Degraded},
		{"a quantity that the meter has not", lacks, 10, OK},
		{"gateway says the meter is silent", bad(meter.NoAnswer), 3, Offline},
		{"nothing at all", meter.Reading{}, 3, Offline},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := metertest.NewSteady(tt.reading)
				r := newRig(t, &metertest.Link{}, 0, way("W1", s, src))
				r.at(10*s - 1)
				if st := r.bus.Stats().Ways[0]; src.Reads() != tt.reads || st.State != tt.want {
					t.Errorf("%d reads, %v; want %d, %v", src.Reads(), st.State, tt.reads, tt.want)
				}
				r.stop()
			})
		})
	}
}

// A bad neutral must not cost the phases that were read before the connection
// went.
func TestPartOfAReadingOutlivesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, halfSource{}))
		r.at(10*s - 1)
		if at, good := r.ticks("W1"); len(at) != 10 || slices.Contains(good, false) {
			t.Errorf("%d readings, some bad: %v, want 10, false", len(at), slices.Contains(good, false))
		}
		if st := r.bus.Stats(); st.Ways[0].State != Degraded || st.Lost != 10 {
			t.Errorf("%+v, want degraded, 10 lost", st)
		}
		r.stop()
	})
}

type halfSource struct{}

func (halfSource) Read(r *meter.Reading) error {
	*r = metertest.Good(230_000, 1, 1, 1, 1)
	r.Neutral = meter.Sample[meter.Milliamps]{Reason: meter.NoAnswer}
	return errGone
}

// untouched is a source that forgets to say anything.
type untouched struct{}

func (untouched) Read(*meter.Reading) error { return errGone }

func TestNothingIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &onceSource{first: steady(), then: untouched{}}
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, first))
		r.at(2500 * ms)
		_, good := r.ticks("W1")
		if !slices.Equal(good, []bool{true, false, false}) {
			t.Errorf("good = %v, want the first only", good)
		}
		for _, x := range r.readings[1:] {
			if x.Way != "W1" || x.Neutral != (meter.Sample[meter.Milliamps]{Reason: meter.NoAnswer}) {
				t.Errorf("reading without an answer: %+v", x)
			}
		}
		r.stop()
	})
}

type onceSource struct {
	first, then Source
	used        bool
}

func (o *onceSource) Read(r *meter.Reading) error {
	if o.used {
		return o.then.Read(r)
	}
	o.used = true
	return o.first.Read(r)
}

func TestTickDoesNotAllocate(t *testing.T) {
	var last meter.Reading
	b := NewBus(Config{
		Name: "b1", Link: &metertest.Link{}, Ways: []Way{way("W1", s, steady())},
		Deliver: func(r meter.Reading) { last = r },
		Now:     func() time.Duration { return 0 }, Rand: func() float64 { return 0 },
	})
	b.up = true
	if n := testing.AllocsPerRun(100, func() { b.tick(b.ways[0]) }); n != 0 {
		t.Errorf("%v allocations a tick, want 0", n)
	}
	if last.Phase[meter.L3].V.Value != 230_000 {
		t.Errorf("reading %+v", last)
	}
}

// Whatever fails and whenever: each way has one reading for each tick, in order
// and at most one period apart, when reads are quick.
func TestEveryTickYieldsOneReading(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 30).Draw(rt, "faults, one each 5 s")
		synctest.Test(t, func(t *testing.T) {
			link, a, b := &metertest.Link{}, steady(), steady()
			r := newRig(t, link, 0, way("W1", s, a), way("W2", s, b))
			for i, f := range plan {
				var linkErr, errA, errB error
				if f == 1 {
					linkErr, errA, errB = errGone, errGone, errGone
				}
				if f == 2 {
					errA = errGone
				}
				if f == 3 {
					errB = errGone
				}
				link.Break(linkErr)
				a.Break(errA)
				b.Break(errB)
				r.at(time.Duration(i+1)*5*s - 1)
			}
			for way, off := range map[string]time.Duration{"W1": 0, "W2": 500 * ms} {
				at, _ := r.ticks(way)
				if len(at) != 5*len(plan) {
					rt.Errorf("%s: %d readings, want %d", way, len(at), 5*len(plan))
				}
				for i := range at {
					if want := off + time.Duration(i)*s; at[i] != want {
						rt.Errorf("%s: reading %d at %v, want %v", way, i, at[i], want)
					}
				}
			}
			r.stop()
		})
	})
}
