package wiring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// busbar is a substation whose ways go up and down by themselves. What a meter
// shows of them is what the test makes of it.
type busbar struct {
	dice          *rand.Rand
	ways          int
	load          [][meter.Phases]float64 // W
	pf            [][meter.Phases]float64 // tangent
	moves         float64                 // most that a load moves in a minute, as a part of it
	losses, noise float64
	b             *Balance

	// shown is the factor by which a meter shows what is; of the incomer last.
	shown [][meter.Phases]float64
	blind []bool // the way is not metered
	order []int  // phase that each way's meter takes for L1, L2, L3: of way 0
	base  []float64
}

func newBusbar(seed uint64, ways int) *busbar { return newBusbarOf(seed, ways, 15_000, 10_000) }

// newBusbarOf has ways that carry least to least and most more W on each phase.
func newBusbarOf(seed uint64, ways int, least, most float64) *busbar {
	x := &busbar{dice: rand.New(rand.NewPCG(seed, 7)), ways: ways, moves: 0.15, noise: 0.005, order: []int{0, 1, 2}}
	var feeders []Feeder
	for w := range ways {
		var l, q [meter.Phases]float64
		base := least + most*x.dice.Float64()
		for p := range l {
			l[p] = base * (0.6 + 0.8*x.dice.Float64())
			q[p] = 0.05 + 0.3*x.dice.Float64()
		}
		x.load, x.pf, x.base = append(x.load, l), append(x.pf, q), append(x.base, base)
		x.shown, x.blind = append(x.shown, [meter.Phases]float64{1, 1, 1}), append(x.blind, false)
		feeders = append(feeders, Feeder{fmt.Sprint("W", w+1), [meter.Phases]bool{true, true, true}})
	}
	x.shown = append(x.shown, [meter.Phases]float64{1, 1, 1})
	x.b = NewBalance(BalanceConfig{Way: "TX", Incomer: "IN", Ways: feeders})
	return x
}

// heavy doubles a way's load.
func (x *busbar) heavy(w int) {
	x.base[w] *= 2
	for p := range x.load[w] {
		x.load[w][p] *= 2
	}
}

// run plays minutes, four readings in each.
func (x *busbar) run(from, minutes int) {
	for m := from; m < from+minutes; m++ {
		for w := range x.load {
			step := 1 + x.moves*(2*x.dice.Float64()-1)
			for p := range x.load[w] {
				v := x.load[w][p] * step * (1 + x.moves/3*(2*x.dice.Float64()-1))
				x.load[w][p] = math.Copysign(min(max(math.Abs(v), 0.3*x.base[w]), 3*x.base[w]), v)
			}
		}
		for k := range 4 {
			at := time.Duration(m)*time.Minute + time.Duration(k)*12*time.Second
			var sum [meter.Phases][2]float64
			for w := range x.load {
				r := meter.Reading{Way: fmt.Sprint("W", w+1), At: at + time.Duration(w)*100*time.Millisecond}
				for p := range r.Phase {
					watts, vars := x.load[w][p], x.load[w][p]*x.pf[w][p]
					sum[p][0] += watts
					sum[p][1] += vars
					to := p
					if w == 0 {
						to = x.order[p]
					}
					x.show(&r.Phase[to], watts, vars, x.shown[w][p])
				}
				if !x.blind[w] {
					x.b.Add(&r)
				}
			}
			r := meter.Reading{Way: "IN", At: at + 5*time.Second}
			for p := range r.Phase {
				x.show(&r.Phase[p], sum[p][0]*(1+x.losses), sum[p][1]*(1+x.losses), x.shown[x.ways][p])
			}
			x.b.Add(&r)
		}
	}
}

func (x *busbar) show(ph *meter.PhaseReading, watts, vars, factor float64) {
	factor *= 1 + x.noise*(2*x.dice.Float64()-1)
	ph.P = meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(watts * factor * 1000), Quality: meter.Good}
	ph.Q = meter.Sample[meter.Millivars]{Value: meter.Millivars(vars * factor * 1000), Quality: meter.Good}
}

func TestBalance(t *testing.T) {
	all := func(f float64) [meter.Phases]float64 { return [meter.Phases]float64{f, f, f} }
	tests := []struct {
		name    string
		change  func(x *busbar)
		verdict Verdict
		code    string
		says    []string
	}{
		{"all is well", func(*busbar) {}, Green, "", nil},
		{"losses of 3 per cent", func(x *busbar) { x.losses = 0.03 }, Green, "", nil},
		{"a ratio of half", func(x *busbar) { x.heavy(1); x.shown[1] = all(0.5) }, Red, WrongRatio, []string{"W2 shows 0.50 times", "L1, L2, L3"}},
		{"a ratio of one and a half", func(x *busbar) { x.heavy(2); x.shown[2] = all(1.5) }, Red, WrongRatio, []string{"W3 shows 1.50 times"}},
		{"a way the wrong way round", func(x *busbar) { x.shown[0] = all(-1) }, Red, Reversed, []string{"W1 is the wrong way round on all phases", "invert: [L1, L2, L3]"}},
		{"one of its phases", func(x *busbar) { x.shown[1] = [meter.Phases]float64{1, -1, 1} }, Red, Reversed, []string{"W2 is the wrong way round", "on L2"}},
		{"the ratio of one phase", func(x *busbar) { x.heavy(1); x.shown[1] = [meter.Phases]float64{1, 1, 2} }, Red, WrongRatio, []string{"W2 shows ", "on L3"}},
		{"each phase another", func(x *busbar) { x.shown[1] = [meter.Phases]float64{0.5, 2, -1} }, Red, WrongRatio, []string{"W2", "L1 0.5", "L2 ", "L3 -1.0"}},
		{"the incomer's ratio", func(x *busbar) { x.shown[3] = all(0.8) }, Red, WrongRatio, []string{"IN shows 0.80 times"}},
		{"the incomer the wrong way round", func(x *busbar) { x.shown[3] = all(-1) }, Red, Reversed, []string{"IN is the wrong way round on all phases"}},
		{"leads exchanged together", func(x *busbar) {
			x.order = []int{1, 0, 2}
			x.load[0] = [meter.Phases]float64{30_000, 9_000, 12_000}
			x.base[0] = 10_000
		}, Amber, PhasesDiffer, nil},
		{"a constant load cannot be told from a lamp", func(x *busbar) { x.moves, x.noise = 0, 0; x.shown[1] = all(0.5) }, Amber, CannotTell, nil},
	}
	for _, tt := range tests {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint(tt.name, " ", seed), func(t *testing.T) {
				x := newBusbar(seed, 3)
				tt.change(x)
				x.run(0, 40)
				r := x.b.Judge()
				text := fmt.Sprint(r.Findings)
				if r.Verdict != tt.verdict || tt.code != "" && (len(r.Findings) == 0 || r.Findings[0].Code != tt.code) {
					t.Fatalf("%v %s, want %v %s", r.Verdict, text, tt.verdict, tt.code)
				}
				for _, s := range tt.says {
					if !strings.Contains(text, s) {
						t.Errorf("%s, want %q in it", text, s)
					}
				}
			})
		}
	}
}

// A way without a meter is named by its size, and nobody is accused of it.
func TestBalanceNamesWhatIsNotMetered(t *testing.T) {
	x := newBusbar(3, 4)
	var ways []Feeder
	for w := range 3 {
		ways = append(ways, Feeder{fmt.Sprint("W", w+1), [meter.Phases]bool{true, true, true}})
	}
	x.b = NewBalance(BalanceConfig{Way: "TX", Incomer: "IN", Ways: ways})
	x.load[3], x.base[3] = [meter.Phases]float64{23_000, 11_500, 46_000}, 23_000
	x.pf[3] = [meter.Phases]float64{}
	x.moves = 0.02
	x.run(0, 31)
	r := x.b.Judge()
	if r.Verdict != Amber || r.Findings[0].Code != Unmetered || !strings.Contains(r.Findings[0].Text, "are on no way") {
		t.Fatalf("%+v", r)
	}
	var size [meter.Phases]int
	at := strings.Index(r.Findings[0].Text, "L1 ")
	if _, err := fmt.Sscanf(r.Findings[0].Text[at:], "L1 %d A, L2 %d A, L3 %d A", &size[0], &size[1], &size[2]); err != nil {
		t.Fatalf("%v in %q", err, r.Findings[0].Text)
	}
	for p, want := range [meter.Phases]int{100, 50, 200} {
		if size[p] < want*7/10 || size[p] > want*13/10 {
			t.Errorf("L%d: %d A, want about %d", p+1, size[p], want)
		}
	}
}

func TestBalanceWaitsForEvidence(t *testing.T) {
	x := newBusbar(1, 2)
	x.shown[0] = [meter.Phases]float64{-1, -1, -1}
	x.run(0, 10)
	if r := x.b.Judge(); r.Verdict != Open {
		t.Errorf("after nine minutes: %+v", r)
	}
	x.run(10, 9)
	if r := x.b.Judge(); r.Verdict != Amber {
		t.Errorf("after eighteen: %+v", r)
	}
	x.run(19, 6)
	if r := x.b.Judge(); r.Verdict != Red {
		t.Errorf("after twenty-four: %+v", r)
	}
	x.shown[0] = [meter.Phases]float64{1, 1, 1}
	x.run(25, 31)
	if r := x.b.Judge(); r.Verdict != Green {
		t.Errorf("put right: %+v", r)
	}
	dead := newBusbar(1, 2)
	dead.blind[1] = true
	dead.run(0, 40)
	if r := dead.b.Judge(); r.Verdict != Open {
		t.Errorf("with a meter that is silent: %+v", r)
	}
	idle := newBusbar(1, 2)
	idle.moves, idle.losses = 0, 2
	for w := range idle.load {
		idle.load[w], idle.base[w] = [meter.Phases]float64{300, 300, 300}, 300
	}
	idle.run(0, 40)
	if r := idle.b.Judge(); r.Verdict != Open {
		t.Errorf("idle: %+v", r)
	}
}

// A site that is connected rightly is never red and never blamed: whatever its
// losses below 3 per cent and wherever they are, with meters that are off by up to
// a per cent, and with ways that feed in.
func TestBalanceNeverCriesWolf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newBusbarOf(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 8).Draw(t, "ways"), 2_000, 40_000)
		x.losses = rapid.Float64Range(0, 0.03).Draw(t, "losses")
		x.moves = rapid.Float64Range(0, 0.5).Draw(t, "moves")
		x.noise = rapid.Float64Range(0, 0.005).Draw(t, "noise")
		for w := range x.shown {
			f := 1 + rapid.Float64Range(-0.005, 0.005).Draw(t, "class")
			x.shown[w] = [meter.Phases]float64{f, f, f}
		}
		for w := range x.load {
			for p := range x.load[w] {
				if rapid.Bool().Draw(t, "feeds in") {
					x.load[w][p] *= -rapid.Float64Range(0, 1).Draw(t, "share")
				}
			}
		}
		x.run(0, rapid.IntRange(11, 200).Draw(t, "minutes"))
		if r := x.b.Judge(); r.Verdict > Green {
			t.Fatalf("%+v", r)
		}
	})
}

// A way that is not metered makes nobody red, however large it is: its load goes
// its own way.
func TestBalanceBlamesNobodyForAMissingWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "ways")
		x := newBusbarOf(rapid.Uint64().Draw(t, "seed"), n, 2_000, 40_000)
		x.b = NewBalance(BalanceConfig{Way: "TX", Incomer: "IN", Ways: x.b.cfg.Ways[:n-1]})
		x.moves = rapid.Float64Range(0, 0.3).Draw(t, "moves")
		x.run(0, rapid.IntRange(11, 60).Draw(t, "minutes"))
		if r := x.b.Judge(); r.Verdict == Red {
			t.Fatalf("%+v", r)
		}
	})
}

// The incomer's own ratio is not blamed for a small missing way on a quiet evening:
// most of its steps are the ways'.
func TestBalanceDoesNotBlameTheIncomer(t *testing.T) {
	for seed := range uint64(3000) {
		x := newBusbarOf(seed, 3, 2_000, 40_000)
		x.b = NewBalance(BalanceConfig{Way: "TX", Incomer: "IN", Ways: x.b.cfg.Ways[:2]})
		x.moves = 0.03
		x.run(0, 23)
		if r := x.b.Judge(); r.Verdict == Red {
			t.Fatalf("seed %d: %+v", seed, r)
		}
	}
}

// Where one way is all there is, nobody can tell it from the incomer.
func TestBalanceOfOneWay(t *testing.T) {
	x := newBusbar(1, 1)
	x.shown[0] = [meter.Phases]float64{0.5, 0.5, 0.5}
	x.run(0, 40)
	r := x.b.Judge()
	if r.Verdict != Amber || r.Findings[0].Code != CannotTell || !strings.Contains(r.Findings[0].Text, "which of W1, IN is wrong") {
		t.Errorf("%+v", r)
	}
}

// A small error of two large flows that cancel is no large one of the incomer.
func TestBalanceOfImportAgainstExport(t *testing.T) {
	x := newBusbar(1, 2)
	x.load = [][meter.Phases]float64{{60_000, 60_000, 60_000}, {-55_000, -55_000, -55_000}}
	x.base = []float64{60_000, 55_000}
	x.moves, x.shown[0] = 0.01, [meter.Phases]float64{1.03, 1.03, 1.03}
	x.run(0, 40)
	if r := x.b.Judge(); r.Verdict != Green {
		t.Errorf("%+v", r)
	}
}

func TestBalanceAllocatesNothing(t *testing.T) {
	x := newBusbar(1, 3)
	x.run(0, 24*60)
	r := meter.Reading{Way: "W1", At: 24 * time.Hour}
	if n := testing.AllocsPerRun(200, func() { r.At += time.Minute; x.b.Add(&r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
