package failsafe

import (
	"testing"
	"time"

	"lvagent/meter"
)

// goodDraw is a current on L1 of a group, taken age ago.
func (x *site) goodDraw(group string, i meter.Milliamps, age time.Duration) Draw {
	d := Draw{Group: group, At: x.now - age}
	d.I = [meter.Phases]meter.Milliamps{i, i, i}
	d.Quality = [meter.Phases]meter.Quality{meter.Good, meter.Good, meter.Good}
	return d
}

func TestDraw(t *testing.T) {
	suspect := func(d Draw) Draw { d.Quality[meter.L1] = meter.Suspect; return d }
	tests := []struct {
		name        string
		draws       func(*site) []Draw
		drawn, seen bool
		want        meter.Milliamps
	}{
		{"none", func(*site) []Draw { return nil }, false, false, 0},
		{"fresh", func(x *site) []Draw { return []Draw{x.goodDraw("G1", 20_000, s)} }, true, true, 20_000},
		{"as old as a raise may rest on", func(x *site) []Draw { return []Draw{x.goodDraw("G1", 20_000, 10*s)} }, true, true, 20_000},
		{"older", func(x *site) []Draw { return []Draw{x.goodDraw("G1", 20_000, 11*s)} }, false, true, 20_000},
		{"half an hour", func(x *site) []Draw { return []Draw{x.goodDraw("G1", 20_000, 30*m)} }, false, true, 20_000},
		{"longer ago than that", func(x *site) []Draw { return []Draw{x.goodDraw("G1", 20_000, 30*m+s)} }, false, false, 20_000},
		{"of the future", func(x *site) []Draw { return []Draw{x.goodDraw("G1", 20_000, -s)} }, false, false, 0},
		{"doubtful", func(x *site) []Draw { return []Draw{suspect(x.goodDraw("G1", 20_000, s))} }, false, false, 0},
		{"doubtful after good", func(x *site) []Draw {
			return []Draw{x.goodDraw("G1", 20_000, 2*s), suspect(x.goodDraw("G1", 9000, s))}
		}, false, true, 20_000},
		{"older than what is known", func(x *site) []Draw {
			return []Draw{x.goodDraw("G1", 20_000, s), x.goodDraw("G1", 9000, 5*s)}
		}, true, true, 20_000},
		{"of a group that is not here", func(x *site) []Draw { return []Draw{x.goodDraw("G9", 20_000, s)} }, false, false, 0},
		{"beyond what can be", func(x *site) []Draw { return []Draw{x.goodDraw("G1", 1<<60, s)} }, true, true, 192_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.now = time.Hour
			x.step(Inputs{Draws: tt.draws(x)})
			if g := x.group("G1"); g.Drawn != tt.drawn || g.Seen != tt.seen || g.Draw[meter.L1] != tt.want {
				t.Errorf("drawn %v, seen %v, %d; want %v, %v, %d", g.Drawn, g.Seen, g.Draw[meter.L1], tt.drawn, tt.seen, tt.want)
			}
		})
	}
}

// What a group was last seen to draw says how far its limit has to fall for
// anything to come of it: one that draws a quarter of its limit is not lowered by
// a tenth of the limit.
func TestShedsFromWhatWasLastSeen(t *testing.T) {
	limits := func(seen bool) meter.Milliamps {
		x := newSite(t, testConfig())
		x.free()
		if seen {
			x.step(Inputs{Draws: []Draw{x.goodDraw("G1", 20_000, m), x.goodDraw("G2", 20_000, m)}})
		}
		x.load = 350_000
		x.run(2*s, true)
		return x.group("G1").Limit + x.group("G2").Limit
	}
	unknown, known := limits(false), limits(true)
	if known > 40_000-40_000*3/10 {
		t.Errorf("limits two seconds into 117 %% = %d with 40000 seen, want three tenths less than that", known)
	}
	if known >= unknown {
		t.Errorf("limits with what was seen = %d, without = %d", known, unknown)
	}
}

// A group that does not obey may go up to its rating whenever it likes: that is
// room which nobody else is raised into, seen or not.
func TestNothingIsRaisedIntoWhatAnUnreachedGroupMayTake(t *testing.T) {
	tests := []struct {
		name  string
		load  meter.Milliamps
		other bool // G2, on the same phase, does not answer
		drawn meter.Milliamps
		want  meter.Milliamps // of G1
	}{
		{"all answer", 200_000, false, -1, 96_000},
		{"the other does not, with room for all it may draw", 170_000, true, -1, 96_000},
		{"without that room", 210_000, true, -1, 24_000},
		{"seen to draw most of it already", 210_000, true, 60_000, 96_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := newSite(t, testConfig())
			x.load = tt.load
			x.run(30*s, true)
			x.none("W1")
			for end := x.now + 40*m; x.now < end; {
				var in Inputs
				if tt.other {
					in.Feedback = []Feedback{{Group: "G2"}}
				}
				if tt.drawn >= 0 {
					in.Draws = []Draw{x.goodDraw("G2", tt.drawn, 0)}
				}
				x.now += s
				if x.now%(30*s) == 0 {
					x.seq++
					in.Heartbeats = []Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: x.seq}}
				}
				x.step(in)
			}
			if got := x.group("G1"); got.Limit != tt.want {
				t.Errorf("G1 at %d by %q, want %d", got.Limit, got.Rule, tt.want)
			}
		})
	}
}
