package clock

import (
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

var day = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

// rig has the clock and the kernel in the test's hands.
type rig struct {
	*Source
	now    time.Duration
	wall   time.Time
	kernel Kernel
}

func newRig(source string) *rig {
	r := &rig{wall: day, kernel: Kernel{Synced: true}}
	r.Source = New(Config{
		Source: source, Holdover: time.Hour,
		Now: func() time.Duration { return r.now }, Wall: func() time.Time { return r.wall }, Kernel: func() Kernel { return r.kernel },
	})
	return r
}

// pass lets time go by, looking every second.
func (r *rig) pass(d time.Duration) State {
	for range d / time.Second {
		r.now += time.Second
		r.wall = r.wall.Add(time.Second)
		r.State()
	}
	return r.State()
}

// step sets the clock and has it looked at.
func (r *rig) step(d time.Duration) {
	r.wall = r.wall.Add(d)
	r.State()
}

func TestSource(t *testing.T) {
	const s, m = time.Second, time.Minute
	lost := func(r *rig) { r.kernel.Synced = false }
	tests := []struct {
		name    string
		source  string
		play    func(r *rig)
		want    meter.Clock
		suspect bool
		below   bool
	}{
		{"kept", "kernel", func(r *rig) {}, meter.Synced, false, false},
		{"never kept", "kernel", func(r *rig) { lost(r) }, meter.Unsynced, false, false},
		{"assumed", "assume", func(r *rig) { lost(r) }, meter.Assumed, false, false},
		{"error at its most", "kernel", func(r *rig) { r.kernel.MostError = mostError }, meter.Synced, false, false},
		{"error beyond it, never better", "kernel", func(r *rig) { r.kernel.MostError = mostError + 1 }, meter.Unsynced, false, false},
		{"source silent", "kernel", func(r *rig) { r.pass(m); lost(r) }, meter.Holdover, false, false},
		{"error grows past belief", "kernel", func(r *rig) { r.pass(m); r.kernel.MostError = mostError + 1 }, meter.Holdover, false, false},
		{"silent nearly too long", "kernel", func(r *rig) { r.pass(m); lost(r); r.pass(time.Hour - s) }, meter.Holdover, false, false},
		{"silent too long", "kernel", func(r *rig) { r.pass(m); lost(r); r.pass(time.Hour) }, meter.Unsynced, false, false},
		{"and back", "kernel", func(r *rig) { r.pass(m); lost(r); r.pass(time.Hour); r.kernel.Synced = true }, meter.Synced, false, false},

		{"5 s is no suspicion", "kernel", func(r *rig) { r.pass(m); r.step(5 * s) }, meter.Synced, false, false},
		{"more is", "kernel", func(r *rig) { r.pass(m); r.step(5*s + 1) }, meter.Synced, true, false},
		{"for a minute", "kernel", func(r *rig) { r.pass(m); r.step(6 * s); r.pass(59 * s) }, meter.Synced, true, false},
		{"then the source's word counts", "kernel", func(r *rig) { r.pass(m); r.step(6 * s); r.pass(60 * s) }, meter.Synced, false, false},
		{"without a source it stays suspect", "kernel", func(r *rig) { r.pass(m); lost(r); r.step(6 * s); r.pass(2 * m) }, meter.Holdover, true, false},
		{"the step that sets the clock is none", "kernel", func(r *rig) { lost(r); r.pass(s); r.kernel.Synced = true; r.step(time.Hour) }, meter.Synced, false, false},

		{"a battery that died", "kernel", func(r *rig) { r.SetFloor(day.Add(time.Hour)) }, meter.Unsynced, false, true},
		{"in 1970, kept, for a day", "kernel", func(r *rig) { r.SetFloor(day); r.wall = time.Unix(0, 0); r.pass(24 * time.Hour) }, meter.Unsynced, false, true},
		{"assumed last year", "assume", func(r *rig) { r.SetFloor(day); r.step(-365 * 24 * time.Hour) }, meter.Unsynced, false, true},
		{"at the floor", "kernel", func(r *rig) { r.SetFloor(day) }, meter.Synced, false, false},
		{"passed by itself", "kernel", func(r *rig) { r.SetFloor(day.Add(m)); r.pass(m) }, meter.Synced, false, false},
		{"set right at last", "kernel", func(r *rig) { r.SetFloor(day); r.step(-24 * time.Hour); r.pass(m); r.step(24 * time.Hour) }, meter.Synced, false, false},
		{"set back by its source, not yet", "kernel", func(r *rig) { r.pass(10 * m); r.step(-time.Hour); r.pass(59 * s) }, meter.Unsynced, true, true},
		{"set back by its source, which stays with it", "kernel", func(r *rig) { r.pass(10 * m); r.step(-time.Hour); r.pass(60 * s) }, meter.Synced, false, false},
		{"set back without a source", "kernel", func(r *rig) { r.pass(10 * m); lost(r); r.step(-time.Hour); r.pass(10 * m) }, meter.Unsynced, true, true},
		{"back by less than the floor lies behind", "kernel", func(r *rig) { r.pass(m + 30*s); r.step(-20 * s) }, meter.Synced, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(tt.source)
			tt.play(r)
			got := r.State()
			if got.Clock != tt.want || got.Suspect != tt.suspect || got.Below != tt.below {
				t.Errorf("%v, suspect %v, below %v; want %v, %v, %v", got.Clock, got.Suspect, got.Below, tt.want, tt.suspect, tt.below)
			}
		})
	}
}

func TestStepsAreCounted(t *testing.T) {
	r := newRig("kernel")
	r.pass(time.Minute)
	r.step(time.Second)
	if got := r.State(); got.Steps != 0 {
		t.Errorf("%d steps after one of a second, which is slew", got.Steps)
	}
	r.step(-1500 * time.Millisecond)
	r.State()
	if got := r.State(); got.Steps != 1 || got.Step != -1500*time.Millisecond {
		t.Errorf("%d steps, the last of %v", got.Steps, got.Step)
	}
}

// A leap ahead that nobody confirms does not become the floor.
func TestASuspectClockRaisesNoFloor(t *testing.T) {
	r := newRig("kernel")
	r.pass(10 * time.Minute)
	before := r.State().Floor
	if behind := r.wall.Sub(before); behind < 0 || behind > FloorEvery {
		t.Fatalf("floor %v behind", behind)
	}
	r.step(24 * time.Hour)
	if got := r.pass(59 * time.Second).Floor; !got.Equal(before) {
		t.Errorf("floor went from %v to %v", before, got)
	}
	r.step(-24 * time.Hour)
	if got := r.State(); got.Below || got.Clock != meter.Synced {
		t.Errorf("set right again: %+v", got)
	}
}

// Whatever the clock does, no time is believed that lies before one that was
// believed before a restart.
func TestTheFloorHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(rapid.SampledFrom([]string{"kernel", "assume"}).Draw(t, "source"))
		leap := rapid.Int64Range(-int64(400*24*time.Hour), int64(400*24*time.Hour))
		seen := r.wall // trusted by the process before
		r.SetFloor(seen)
		passed := false // by this process
		t.Repeat(map[string]func(*rapid.T){
			"pass":   func(t *rapid.T) { r.pass(time.Duration(rapid.IntRange(0, 150).Draw(t, "s")) * time.Second) },
			"step":   func(t *rapid.T) { r.step(time.Duration(leap.Draw(t, "leap"))) },
			"kernel": func(t *rapid.T) { r.kernel.Synced = rapid.Bool().Draw(t, "synced") },
			"restart": func(t *rapid.T) {
				floor := r.State().Floor
				old := *r
				*r = *newRig(old.cfg.Source)
				r.wall, r.kernel = old.wall, old.kernel
				r.Source.cfg.Now = func() time.Duration { return r.now }
				r.Source.cfg.Wall = func() time.Time { return r.wall }
				r.Source.cfg.Kernel = func() Kernel { return r.kernel }
				r.SetFloor(floor)
				seen, passed = floor, false
			},
			"": func(t *rapid.T) {
				got := r.State()
				if got.Clock.Trusted() && r.wall.Before(got.Floor) {
					t.Fatalf("%v believed, before the floor of %v", r.wall, got.Floor)
				}
				if !passed && got.Clock.Trusted() && r.wall.Before(seen) {
					t.Fatalf("%v believed after a start, %v was known", r.wall, seen)
				}
				passed = passed || got.Clock.Trusted()
			},
		})
	})
}

// Asking the kernel of whatever machine this is does no harm.
func TestAskKernel(t *testing.T) {
	if k := askKernel(); k.Error < 0 || k.MostError < 0 {
		t.Errorf("kernel says %+v", k)
	}
}
