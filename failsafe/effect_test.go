package failsafe

import (
	"testing"
	"time"

	"lvagent/meter"
)

// The rung "effective" is said once, when the currents show it, and the end of a
// command tells what was seen.
func TestEffect(t *testing.T) {
	tests := []struct {
		name   string
		before meter.Milliamps // on each phase of the way
		after  meter.Milliamps // once the limit is carried out
		draws  meter.Milliamps // of G1 itself; below 0: not measured
		blind  bool
		want   bool
	}{
		{"the feeder falls by all of it", 200_000, 120_000, -1, false, true},
		{"it falls by half", 200_000, 160_000, -1, false, true},
		{"it falls by less than half", 200_000, 160_001, -1, false, false},
		{"nothing was drawn", 50_000, 50_000, -1, false, false},
		{"the feeder is not measured", 200_000, 120_000, -1, true, false},
		{"the group itself draws what it may", 200_000, 200_000, 16_400, false, true},
		{"the group draws more than it may", 200_000, 120_000, 16_600, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.load = tt.before
			x.free()
			a := x.command(LimitCommand{ID: "c1", Target: Target{Groups: []string{"G1"}}, Amount: Amount{Amps, 16_000},
				Relative: true, Duration: 2 * m, Compensation: "token-7"})
			if a.Stage != Active {
				t.Fatalf("%+v", a)
			}
			x.all = Events{}
			x.load, x.blind = tt.after, tt.blind
			for end := x.now + 130*s; x.now < end; {
				x.now += s
				in := Inputs{Feedback: []Feedback{{Group: "G1", Told: 16_000, Limit: 16_000, OK: true}}}
				if x.now%(30*s) == 0 {
					x.seq++
					in.Heartbeats = []Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: x.seq}}
				}
				if tt.draws >= 0 {
					d := Draw{Group: "G1", At: x.now, Quality: [3]meter.Quality{meter.Good}}
					d.I[0] = tt.draws
					in.Draws = []Draw{d}
				}
				x.step(in)
			}
			seen, completed := 0, 0
			for _, a := range x.all.Acks {
				switch {
				case a.Stage == Effective:
					seen++
					if a.Outcome == nil || a.Outcome.Took <= 0 || a.Outcome.Took > 5*time.Second || a.Compensation != "token-7" {
						t.Errorf("effective: %+v of %+v", a.Outcome, a)
					}
				case a.Stage == Completed && a.ID == "c1":
					completed++
					o := a.Outcome
					if o == nil || len(o.Phases) != 1 || o.Phases[0].Before != tt.before || !o.Phases[0].Known ||
						!tt.blind && o.Phases[0].Now != tt.after || o.Phases[0].NowToo == tt.blind {
						t.Fatalf("completed: %+v", o)
					}
					// 80 A for two minutes at 230 V, no more.
					if most := int64(80 * 230 * 2 / 60); o.Withheld < most-10 || o.Withheld > most {
						t.Errorf("withheld %d Wh, want about %d", o.Withheld, most)
					}
				}
			}
			if (seen == 1) != tt.want || seen > 1 || completed != 1 {
				t.Errorf("effective %d times, completed %d; want %v and once", seen, completed, tt.want)
			}
		})
	}
}
