package simulate

import (
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

func testConfig() failsafe.Config {
	return failsafe.Config{
		Site: "S1", Ways: []failsafe.Way{{ID: "W1", Rating: [3]meter.Milliamps{100_000, 100_000, 100_000}}},
		Groups: []failsafe.Group{
			{ID: "G1", Way: "W1", Phases: [3]bool{true}, Rating: 32_000, Failsafe: 10_000},
			{ID: "G2", Way: "W1", Phases: [3]bool{true}, Rating: 64_000, Failsafe: 20_000},
			{ID: "G3", Way: "W1", Phases: [3]bool{false, true}, Rating: 32_000, Failsafe: 10_000},
		},
		Timers: failsafe.DefaultTimers(),
	}
}

func point(at time.Duration, l1, l2 meter.Milliamps) Point {
	good := [3]meter.Quality{meter.Good, meter.Good, meter.Good}
	return Point{Wall: epoch.Add(at), Loads: []failsafe.Load{{Way: "W1", I: [3]meter.Milliamps{l1, l2, 0}, Quality: good}}}
}

func TestSimulation(t *testing.T) {
	const h = time.Hour
	tests := []struct {
		name   string
		silent bool
		points []Point
		gap    time.Duration // left out before the last point
		check  func(t *testing.T, r Report)
	}{
		{"nothing is shed where there is room", false, []Point{point(0, 60_000, 10_000)}, 0, func(t *testing.T, r Report) {
			for _, g := range r.Groups {
				if g.ShedKWh != 0 || g.Limited != 0 || g.Rank != 1 {
					t.Errorf("%+v", g)
				}
			}
			if r.Minutes != 120 || r.Phases[0].Above != 0 || r.Phases[0].Peak != 60 {
				t.Errorf("%+v", r)
			}
		}},
		{"an overloaded phase is brought back, by its own groups alone", false, []Point{point(0, 130_000, 10_000)}, 0, func(t *testing.T, r Report) {
			p := r.Phases[0]
			if p.Above < 119 || p.HeldAbove > 2 || p.Peak != 130 || p.Held != 130 {
				t.Errorf("phase %+v", p)
			}
			if r.Groups[0].ShedKWh+r.Groups[1].ShedKWh < 30*0.23*1.5 || r.Groups[2].ShedKWh != 0 || r.Setpoints == 0 {
				t.Errorf("groups %+v", r.Groups)
			}
		}},
		{"what no group may draw can't be shed", false, []Point{point(0, 0, 140_000)}, 0, func(t *testing.T, r Report) {
			if p := r.Phases[1]; p.HeldAbove < 119 {
				t.Errorf("phase %+v", p)
			}
		}},
		{"a lost centre", true, []Point{point(0, 60_000, 10_000)}, 0, func(t *testing.T, r Report) {
			for _, g := range r.Groups {
				if g.Limited < 115 || g.Share < 60 {
					t.Errorf("%+v", g)
				}
			}
		}},
		{"time without records is left out, the accounts go on", false, []Point{point(0, 130_000, 0), point(5*h, 130_000, 0)}, 4 * h, func(t *testing.T, r Report) {
			if r.Minutes < 179 || r.Minutes > 181 || r.Phases[0].Above < 179 || r.Groups[1].Limited < 170 {
				t.Errorf("%+v", r)
			}
		}},
		{"a phase that was not recorded", false, []Point{{Wall: epoch, Loads: []failsafe.Load{{Way: "W1"}}}}, 0, func(t *testing.T, r Report) {
			if m := r.Phases[0].Missing; m < 119.9 || m > 120.1 || r.Groups[0].ShedKWh != 0 {
				t.Errorf("%+v", r)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := New(testConfig(), tt.silent)
			end := 2 * h
			for i, p := range tt.points {
				if i > 0 && tt.gap > 0 {
					s.Until(p.Wall.Add(-tt.gap), 10*time.Second)
					s.Skip(p.Wall)
					end = p.Wall.Sub(epoch) + 2*h
				}
				s.Point(p, 10*time.Second)
			}
			s.Until(epoch.Add(end), 10*time.Second)
			tt.check(t, s.Report())
		})
	}
}

// What is shed is what is missing in the load, whatever was recorded; nothing
// panics, and nobody sheds more than may be his.
func TestWhatIsShedIsWhatIsMissing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		cfg.Groups = cfg.Groups[:2]
		cfg.Groups[1].Contact = rapid.Bool().Draw(rt, "contact")
		s := New(cfg, rapid.Bool().Draw(rt, "silent"))
		at := time.Duration(0)
		missing := int64(0)
		for range rapid.IntRange(1, 30).Draw(rt, "points") {
			p := point(at, meter.Milliamps(rapid.IntRange(-50, 200).Draw(rt, "L1"))*1000, 0)
			if rapid.IntRange(0, 9).Draw(rt, "lost") == 0 {
				p.Loads[0].Quality[0] = meter.Missing
			}
			s.Point(p, time.Second)
			for range rapid.IntRange(1, 90).Draw(rt, "seconds") {
				at += time.Second
				s.Until(epoch.Add(at), time.Second)
				if p.Loads[0].Quality[0] != meter.Missing {
					missing += int64(p.Loads[0].I[0]-s.loads[0].I[0]) * 1000
				}
				for g := range s.draws {
					if s.draws[g] < 0 || s.draws[g] > s.assumed[g] {
						rt.Fatalf("group %d draws %d of %d", g, s.draws[g], s.assumed[g])
					}
				}
			}
		}
		if shed := s.shed[0] + s.shed[1]; shed != missing {
			rt.Fatalf("%d mA ms shed, %d missing in the load", shed, missing)
		}
	})
}
