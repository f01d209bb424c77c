package ev

import (
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

const volts = 240_000

// quiet is a way that carries 40 A on each phase, with what cars and others draw
// besides.
type quiet struct {
	d   Detector
	at  time.Duration
	now [meter.Phases]int64 // mA
}

func (q *quiet) pass(d time.Duration) {
	for end := q.at + d; q.at < end; {
		q.at += time.Second
		var r meter.Reading
		r.At = q.at
		for p := range r.Phase {
			ripple := int64(q.at/time.Second) % 5 * 40
			amps := 40_000 + q.now[p] + ripple
			r.Phase[p].V = meter.Sample[meter.Millivolts]{Value: volts, Quality: meter.Good}
			r.Phase[p].P = meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(amps * volts / 1000), Quality: meter.Good}
		}
		q.d.Add(&r)
	}
}

// ramp moves the current of phases by so much, over some seconds.
func (q *quiet) ramp(amps int64, seconds int, phases ...int) {
	for range seconds {
		for _, p := range phases {
			q.now[p] += amps / int64(seconds)
		}
		q.pass(time.Second)
	}
}

func TestWhatIsACar(t *testing.T) {
	hold := 40 * time.Minute
	tests := []struct {
		name    string
		amps    int64
		seconds int
		phases  []int
		lasts   time.Duration
		want    []Class
	}{
		{"a car of 32 A", 31_000, 4, []int{0}, hold, []Class{One32}},
		{"a car of 16 A", 15_600, 4, []int{1}, hold, []Class{One16}},
		{"a car on three phases", 15_600, 4, []int{0, 1, 2}, hold, []Class{Three16}},
		{"a fast car on three phases", 31_000, 4, []int{0, 1, 2}, hold, []Class{Three32}},
		{"a shower", 32_000, 1, []int{0}, 10 * time.Minute, nil},
		{"a kettle", 12_000, 1, []int{0}, 3 * time.Minute, nil},
		{"an immersion heater", 12_500, 1, []int{0}, hold, nil},
		{"a shower of 40 A for ever", 40_000, 1, []int{0}, hold, nil},
		{"a car that takes 10 A", 9_800, 4, []int{0}, hold, nil},
		{"a cloud over everybody's roof", 16_000, 60, []int{0, 1, 2}, hold, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := quiet{}
			q.pass(20 * time.Minute)
			from := q.at
			q.ramp(tt.amps, tt.seconds, tt.phases...)
			q.pass(tt.lasts)
			got := q.d.Sessions(nil)
			if len(got) != len(tt.want) {
				t.Fatalf("sessions %+v, want %v", got, tt.want)
			}
			for i, s := range got {
				if s.Class != tt.want[i] || (s.Since-from).Abs() > 5*time.Second || s.Confidence < sure || s.Confidence > 1_000_000 {
					t.Errorf("%+v, want %v at %v", s, tt.want[i], from)
				}
			}
			q.ramp(-tt.amps, 1, tt.phases...)
			q.pass(20 * time.Minute)
			if got := q.d.Sessions(nil); len(got) > 0 {
				t.Errorf("still there 20 minutes after its end: %+v", got)
			}
		})
	}
}

// A session is not told before a quarter of an hour has passed, and what was not
// measured for long is forgotten: nobody knows who charges.
func TestSessionsAreToldLateAndForgotten(t *testing.T) {
	q := quiet{}
	q.pass(20 * time.Minute)
	q.ramp(31_000, 4, 0)
	q.pass(sureAfter - 10*time.Second)
	if got := q.d.Sessions(nil); len(got) > 0 {
		t.Errorf("told early: %+v", got)
	}
	q.pass(time.Minute)
	q.at += 4 * time.Minute // silence
	q.pass(time.Minute)
	if got := q.d.Sessions(nil); len(got) != 1 {
		t.Errorf("forgotten after four minutes: %+v", got)
	}
	q.at += 6 * time.Minute
	q.pass(time.Minute)
	if since, ok := q.d.Since(); len(q.d.Sessions(nil)) > 0 || !ok || since < q.at-2*time.Minute {
		t.Errorf("remembered after six minutes: %+v, since %v", q.d.Sessions(nil), since)
	}
}

// No reading, however wild, makes it panic or say what cannot be; and no more is
// held than there is room for.
func TestDetectorIsTotal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var d Detector
		at := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(rt, "stretches") {
			var r meter.Reading
			for p := range r.Phase {
				r.Phase[p].V = meter.Sample[meter.Millivolts]{Value: meter.Millivolts(rapid.Int64().Draw(rt, "v")), Quality: meter.Quality(rapid.IntRange(0, 2).Draw(rt, "vq"))}
				r.Phase[p].P = meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(rapid.Int64().Draw(rt, "p")), Quality: meter.Quality(rapid.IntRange(0, 2).Draw(rt, "pq"))}
				if rapid.Bool().Draw(rt, "plausible") {
					r.Phase[p].V.Value, r.Phase[p].P.Value = volts, meter.Milliwatts(rapid.IntRange(-100, 400).Draw(rt, "A"))*volts
				}
			}
			step := time.Duration(rapid.IntRange(-2000, 4000).Draw(rt, "ms")) * time.Millisecond
			for range rapid.IntRange(1, 1200).Draw(rt, "readings") {
				at += step
				r.At = at
				d.Add(&r)
			}
			for _, s := range d.Sessions(nil) {
				if s.Confidence < sure || s.Confidence > 1_000_000 || s.I <= 0 || s.Class >= Classes {
					rt.Fatalf("%+v", s)
				}
			}
		}
	})
}

func TestNothingIsAllocatedPerReading(t *testing.T) {
	q := quiet{}
	q.pass(20 * time.Minute)
	var r meter.Reading
	for p := range r.Phase {
		r.Phase[p].V = meter.Sample[meter.Millivolts]{Value: volts, Quality: meter.Good}
	}
	n := 0
	if allocs := testing.AllocsPerRun(5000, func() {
		n++
		q.at += time.Second
		r.At = q.at
		for p := range r.Phase {
			r.Phase[p].P = meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(40+n/30%2*32) * volts, Quality: meter.Good}
		}
		q.d.Add(&r)
	}); allocs > 0 {
		t.Errorf("%.2f allocations per reading", allocs)
	}
}

func TestLoads(t *testing.T) {
	amps := func(a meter.Milliamps) *meter.Milliamps { return &a }
	group := func(id string, connectors int, rating, limit meter.Milliamps, obeys bool, phases ...int) Group {
		g := Group{Limit: limit, Obeys: obeys}
		g.ID, g.Connectors, g.Rating = id, connectors, rating
		for _, p := range phases {
			g.Phases[p] = true
		}
		return g
	}
	stated := group("G3", 2, 64_000, 32_000, true, 0)
	stated.Stated, stated.Drawn[0] = true, 20_000
	w := Way{Phases: [3]bool{true, true}, Import: [3]meter.Milliamps{150_000, 10_000}, Measured: [3]bool{true, true}, Headroom: [3]*meter.Milliamps{amps(70_000)}}
	groups := []Group{group("G1", 3, 96_000, 48_000, true, 0), group("G2", 2, 63_000, 63_000, true, 0, 1), stated, group("G4", 1, 32_000, 6_000, false, 1)}
	l := Loads(&w, groups)
	if l[2] != nil {
		t.Error("a phase that the way has not")
	}
	check := func(p, groups, connectors int, rating, limit, uncontrolled, controllable meter.Milliamps) {
		t.Helper()
		got := l[p]
		if got.Groups != groups || got.Connectors != connectors || got.Rating != rating || got.Limit != limit || got.Uncontrolled != uncontrolled ||
			got.Controllable == nil || *got.Controllable != controllable {
			t.Errorf("L%d: %+v, controllable %v", p+1, *got, *got.Controllable)
		}
	}
	check(0, 3, 7, 223_000, 143_000, 0, 131_000) // 48 + 63 + the 20 that are known
	check(1, 2, 3, 95_000, 63_000, 32_000, 10_000)
	if *l[0].Headroom != 70_000 || l[1].Headroom != nil {
		t.Error("headroom")
	}
	w.Measured[0], w.Import[1] = false, -40_000
	l = Loads(&w, groups)
	if l[0].Controllable != nil || *l[1].Controllable != 0 {
		t.Errorf("not measured %v, exporting %v", l[0].Controllable, *l[1].Controllable)
	}
}
