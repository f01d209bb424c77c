package poll

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

// errand is one of three steps that notes when each was made.
type errand struct {
	r     *rig
	takes time.Duration
	wait  time.Duration
	errs  []error // of the steps
	left  int
	made  []time.Duration
	over  []error
}

func (e *errand) job(d time.Duration) Errand {
	return Errand{For: d, Over: func(cause error) { e.over = append(e.over, cause) }, Step: func() (bool, time.Duration, error) {
		e.made = append(e.made, e.r.now())
		time.Sleep(e.takes)
		e.left--
		var err error
		if len(e.errs) > 0 {
			err, e.errs = e.errs[0], e.errs[1:]
		}
		return e.left == 0, e.wait, err
	}}
}

// Everything else that is due goes first, between the steps of an errand too.
func TestErrandComesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := steady()
		src.Takes(400 * ms)
		r := newRig(t, &metertest.Link{}, 0, way("W1", s, src))
		r.at(1100 * ms) // within the second poll
		e := &errand{r: r, left: 3, takes: 450 * ms}
		job := time.Duration(0)
		if !r.bus.RunErrand(e.job(20 * s)) {
			t.Fatal("not taken")
		}
		r.at(1500 * ms) // within the first step
		r.bus.Do(Job{Do: func() error { job = r.now(); return nil }})
		r.at(5900 * ms)
		// The poll ends at 1.4 s. A second step begins in what is left of that
		// second; the third waits for the poll that came due meanwhile.
		if want := []time.Duration{1400 * ms, 1850 * ms, 2700 * ms}; !slices.Equal(e.made, want) {
			t.Errorf("steps at %v, want %v", e.made, want)
		}
		if job != 1850*ms {
			t.Errorf("output at %v, want right after the step under way", job)
		}
		if len(e.over) != 1 || e.over[0] != nil {
			t.Errorf("over: %v, want once and done", e.over)
		}
		if at, _ := r.ticks("W1"); len(at) != 6 {
			t.Errorf("%d readings, want one each second: %v", len(at), at)
		}
		r.stop()
	})
}

// On a bus that has no time at all an errand ends by its own mark.
func TestErrandGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := steady()
		src.Takes(1500 * ms)
		link := &metertest.Link{}
		r := newRig(t, link, 0, way("W1", s, src), way("W2", s, src))
		r.at(10 * s)
		e := &errand{r: r, left: 3}
		r.bus.RunErrand(e.job(4 * s))
		r.at(30 * s)
		if len(e.made) != 0 || len(e.over) != 1 || !errors.Is(e.over[0], ErrNoTime) {
			t.Errorf("steps %v, over %v; want none and no time", e.made, e.over)
		}
		r.stop()
		if r.bus.RunErrand(e.job(s)) {
			t.Error("taken by a bus that has stopped")
		}
	})
}

func TestErrandOnALinkThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &metertest.Link{}
		link.Break(errGone)
		r := newRig(t, link, 0)
		e, late := &errand{r: r, left: 3, errs: []error{nil, errGone}, wait: 700 * ms}, &errand{r: r, left: 1}
		r.bus.RunErrand(e.job(9 * s))
		r.bus.RunErrand(late.job(2 * s))
		r.at(3 * s)
		if len(e.made) != 0 {
			t.Errorf("steps on a dead link: %v", e.made)
		}
		if len(late.over) != 1 || !errors.Is(late.over[0], ErrNoTime) || !strings.Contains(late.over[0].Error(), "link is down") {
			t.Errorf("over: %v, want no time and why", late.over)
		}
		link.Break(nil)
		r.at(20 * s)
		// Up again at 3.5 s; the second step loses the link, which is opened at once.
		if want := []time.Duration{3500 * ms, 4200 * ms, 4900 * ms}; !slices.Equal(e.made, want) {
			t.Errorf("steps at %v, want %v", e.made, want)
		}
		left := &errand{r: r, left: 9, wait: s}
		r.bus.RunErrand(left.job(time.Hour))
		r.at(22500 * ms)
		r.stop()
		if len(left.over) != 1 || !errors.Is(left.over[0], ErrStopped) {
			t.Errorf("over: %v, want the stop", left.over)
		}
	})
}

func TestErrandsAreBounded(t *testing.T) {
	b := NewBus(Config{Link: &metertest.Link{}, Deliver: func(meter.Reading) {}, Now: func() time.Duration { return 0 }, Rand: func() float64 { return 0 }})
	for i := range maxErrands + 1 {
		if took := b.RunErrand(Errand{For: s}); took != (i < maxErrands) {
			t.Fatalf("errand %d taken: %v", i+1, took)
		}
	}
}
