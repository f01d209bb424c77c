package failsafe

import (
	"testing"

	"lvagent/meter"
)

// In headroom mode a way keeps what was in force at the loss while it is measured
// and lightly loaded, and falls to the profile for good when it is not.
func TestHeadroom(t *testing.T) {
	lost := func(t *testing.T) *site {
		cfg := testConfig()
		cfg.Ways[0].Headroom = true
		x := newSite(t, cfg)
		x.free()
		x.command(LimitCommand{ID: "c", Target: Target{Groups: []string{"G2"}}, Amount: Amount{Amps, 8_000}, Relative: true, Duration: 10 * m})
		x.run(3*m, false)
		if w := x.way("W1"); w.State != Failsafe {
			t.Fatalf("W1 is %v", w.State)
		}
		return x
	}
	want := func(t *testing.T, x *site, g1, g2, g3 meter.Milliamps) {
		t.Helper()
		if a, b, c := x.group("G1").Limit, x.group("G2").Limit, x.group("G3").Limit; a != g1 || b != g2 || c != g3 {
			t.Fatalf("limits %d, %d, %d; want %d, %d, %d", a, b, c, g1, g2, g3)
		}
	}
	t.Run("kept", func(t *testing.T) {
		x := lost(t)
		want(t, x, 96_000, 8_000, 6_000)
		x.run(2*h, false) // the command is over: still nothing above what was in force
		want(t, x, 96_000, 8_000, 6_000)
	})
	t.Run("loaded", func(t *testing.T) {
		x := lost(t)
		x.load = 240_000
		x.step(Inputs{})
		want(t, x, 24_000, 8_000, 6_000)
		x.load = 10_000
		x.run(h, false)
		want(t, x, 24_000, 8_000, 6_000)
	})
	t.Run("just below", func(t *testing.T) {
		x := lost(t)
		x.load = 239_000
		x.run(m, false)
		want(t, x, 96_000, 8_000, 6_000)
	})
	t.Run("blind", func(t *testing.T) {
		x := lost(t)
		x.blind = true
		x.run(m, false)
		want(t, x, 96_000, 8_000, 6_000)
		x.run(s, false)
		want(t, x, 24_000, 8_000, 6_000)
		x.blind = false
		x.run(h, false)
		want(t, x, 24_000, 8_000, 6_000)
	})
	t.Run("crash", func(t *testing.T) {
		x := lost(t)
		x.crash()
		x.run(h, false)
		want(t, x, 24_000, 8_000, 6_000)
	})
	t.Run("back", func(t *testing.T) {
		x := lost(t)
		x.run(10*m, false)
		x.run(2*m, true)
		want(t, x, 96_000, 8_000, 6_000)
		x.none("W1")
		x.run(20*m, true)
		want(t, x, 96_000, 63_000, 6_000)
	})
}

// A link that comes and goes must be back for longer each time; silence takes
// hold as quickly as ever, and an hour without a loss is forgiven.
func TestFlappingLink(t *testing.T) {
	x := newSite(t, testConfig())
	x.free()
	cycle := func() (lost, back int) {
		start := x.now
		for x.way("W1").State != Failsafe {
			x.run(s, false)
		}
		lost = int((x.now - start) / s)
		x.none("W1")
		start = x.now
		for x.way("W1").State.restricted() {
			x.run(s, true)
			if x.now%(30*s) == 0 {
				x.none("W1")
			}
			if x.now-start > h {
				t.Fatalf("W1 is still %v", x.way("W1").State)
			}
		}
		return lost, int((x.now - start) / s)
	}
	for i, want := range []int{60, 120, 240, 480, 900, 900} {
		lost, back := cycle()
		if lost > 121 {
			t.Errorf("loss %d took %d s to count", i+1, lost)
		}
		if back < want || back > want+60 {
			t.Errorf("after loss %d W1 was back in %d s, want %d", i+1, back, want)
		}
		if i == 2 {
			x.run(m, true)
			st := x.s
			x.restart(st, 0) // remembered over a crash
			x.run(30*s, true)
			x.none("W1")
			x.run(m, true)
		}
	}
	x.run(h, true)
	if _, back := cycle(); back > 120 {
		t.Errorf("an hour later W1 was back in %d s", back)
	}
}

// A group that was at nothing when the centre was lost stays there: headroom is a
// ceiling of what was in force, and nobody but the centre says that it may charge
// again (a restriction that is in force does not end by losing the centre).
func TestHeadroomOfNothingIsNothing(t *testing.T) {
	for _, headroom := range []bool{true, false} {
		cfg := testConfig()
		cfg.Ways[0].Headroom = headroom
		x := newSite(t, cfg)
		x.free()
		x.command(LimitCommand{ID: "off", Target: Target{Groups: []string{"G2"}}, Amount: Amount{Amps, 0}, Relative: true, Duration: 10 * m})
		x.run(3*m, false)
		if w := x.way("W1"); w.State != Failsafe || x.group("G2").Limit != 0 {
			t.Fatalf("W1 is %v, G2 at %d", w.State, x.group("G2").Limit)
		}
		x.run(2*h, false) // the command is long over
		want := meter.Milliamps(0)
		if !headroom { // the profile is what a group has that nobody speaks to
			want = x.e.cfg.Groups[1].Failsafe
		}
		if got := x.group("G2").Limit; got != want {
			t.Errorf("headroom %v: G2 at %d two hours later, want %d", headroom, got, want)
		}
		x.load = 250_000 // headroom is gone, its ceiling is not
		x.run(10*m, false)
		x.load = 50_000
		x.run(h, false)
		if got := x.group("G2").Limit; got != want {
			t.Errorf("headroom %v: G2 at %d after a load, want %d", headroom, got, want)
		}
		x.run(2*m, true)
		x.none("W1")
		x.run(30*m, true)
		if got := x.group("G2").Limit; got != cfg.Groups[1].Rating {
			t.Errorf("headroom %v: G2 at %d after the centre said none, want its rating", headroom, got)
		}
	}
}
