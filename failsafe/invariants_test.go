package failsafe

import (
	"fmt"
	"testing"
	"time"

	"lvagent/meter"

	"pgregory.net/rapid"
)

// plant is a way whose cars draw all that they may, beside a load that nobody
// controls. What the engine sees of it is late.
type plant struct {
	e      *Engine
	s      State
	now    time.Duration
	seq    uint64
	late   time.Duration
	blind  bool // the groups' own current is not measured
	base   [3]float64
	past   [][3]float64
	limits []meter.Milliamps
}

// drawPlant draws a way of 300 A with a few groups.
func drawPlant(rt *rapid.T, contacts string) *plant {
	cfg := testConfig()
	cfg.Timers.RestorePeriod = rapid.SampledFrom([]time.Duration{0, 10 * m}).Draw(rt, "restore period")
	cfg.Ways, cfg.Groups = cfg.Ways[:1], nil
	cfg.Seed[0] = rapid.Byte().Draw(rt, "seed")
	for g := range rapid.IntRange(1, 6).Draw(rt, "groups") {
		group := Group{ID: fmt.Sprint("G", g), Way: "W1", Connectors: rapid.IntRange(1, 3).Draw(rt, "connectors")}
		group.Rating = meter.Milliamps(32_000 * group.Connectors)
		group.Failsafe = meter.Milliamps(6_000 * group.Connectors)
		switch contacts {
		case "some":
			group.Contact = rapid.Bool().Draw(rt, "contact")
		case "all":
			group.Contact = true
		}
		switch p := rapid.IntRange(0, 3).Draw(rt, "phases"); p {
		case 3:
			group.Phases = [3]bool{true, true, true}
		default:
			group.Phases[p] = true
		}
		cfg.Groups = append(cfg.Groups, group)
	}
	x := &plant{e: NewEngine(cfg), late: time.Duration(rapid.IntRange(0, 10).Draw(rt, "late")) * s, blind: rapid.Bool().Draw(rt, "blind")}
	x.s = x.e.New(0, epoch, false)
	x.s.Ways[0].State, x.s.Ever = Free, true
	for i := range x.s.Groups {
		x.s.Groups[i].Limit, x.s.Groups[i].Actuation = cfg.Groups[i].Rating, Confirmed
		x.limits = append(x.limits, cfg.Groups[i].Rating)
	}
	return x
}

// draws is what group g draws per phase, in A.
func (x *plant) draws(g int) float64 {
	cfg := &x.e.cfg.Groups[g]
	if cfg.Contact && x.limits[g] < cfg.Rating || x.limits[g] < leastCharge {
		return 0
	}
	return float64(x.limits[g]) / 1000
}

// inputs lets a second pass and returns what the engine sees at its end.
func (x *plant) inputs() Inputs {
	x.now += s
	feeder := x.base
	for g := range x.limits {
		for p, on := range x.e.cfg.Groups[g].Phases {
			if on {
				feeder[p] += x.draws(g)
			}
		}
	}
	x.past = append(x.past, feeder)
	in := Inputs{Clock: meter.Synced}
	if x.now%(30*s) == 0 {
		x.seq++
		in.Heartbeats = []Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: x.seq}}
	}
	if n := len(x.past) - 1 - int(x.late/s); n >= 0 {
		l := Load{Way: "W1", At: x.now - x.late, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}}
		for p := range l.I {
			l.I[p] = meter.Milliamps(x.past[n][p] * 1000)
		}
		in.Loads = []Load{l}
	}
	for g := range x.limits {
		cfg := &x.e.cfg.Groups[g]
		in.Feedback = append(in.Feedback, Feedback{Group: cfg.ID, Told: x.s.Groups[g].Limit, Limit: x.limits[g], OK: true})
		if x.blind {
			continue
		}
		d := Draw{Group: cfg.ID, At: x.now, Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}}
		for p, on := range cfg.Phases {
			if on {
				d.I[p] = meter.Milliamps(x.draws(g) * 1000)
			}
		}
		in.Draws = append(in.Draws, d)
	}
	return in
}

func (x *plant) step(in Inputs) {
	x.s, _, _, _ = x.e.Step(x.s, in, x.now, epoch.Add(x.now))
	for g := range x.limits {
		x.limits[g] = x.s.Groups[g].Limit
		if cfg := &x.e.cfg.Groups[g]; cfg.Contact && x.limits[g] < cfg.Rating {
			x.limits[g] = 0
		}
	}
}

// total is what the groups on a phase may draw together.
func total(e *Engine, s *State, p meter.Phase) (sum meter.Milliamps) {
	for g := range s.Groups {
		if e.cfg.Groups[g].Phases[p] {
			sum += s.Groups[g].Limit
		}
	}
	return sum
}

// Whatever the rest of the way does, no phase is above its rating for longer than
// a minute while there is load on it that may be shed; and a contact that
// protection opened stays open for a quarter of an hour and moves no more than
// eight times in an hour.
func TestOverloadsAreShort(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := drawPlant(rt, "some")
		above := [3]time.Duration{}
		opened := make([]time.Duration, len(x.limits))
		moved := make([][]time.Duration, len(x.limits))
		for range rapid.IntRange(1, 12).Draw(rt, "changes") {
			for p := range x.base {
				x.base[p] = float64(rapid.IntRange(-100, 400).Draw(rt, "load"))
			}
			for range 60 * rapid.IntRange(1, 10).Draw(rt, "minutes") {
				was := append([]meter.Milliamps(nil), x.limits...)
				in := x.inputs()
				feeder := x.past[len(x.past)-1]
				x.step(in)
				for p := range feeder {
					left := false
					for g := range was {
						left = left || x.e.cfg.Groups[g].Phases[p] && was[g] > 0
					}
					if above[p] += s; feeder[p] <= 300 || !left {
						above[p] = 0
					}
					if above[p] > time.Minute {
						rt.Fatalf("L%d at %.0f A of 300 for %v, limits %v", p+1, feeder[p], above[p], was)
					}
				}
				for g := range was {
					if !x.e.cfg.Groups[g].Contact || was[g] == x.limits[g] {
						continue
					}
					switch {
					case x.limits[g] == 0:
						opened[g] = x.now
					case x.now-opened[g] < 15*m:
						rt.Fatalf("contact %d closed %v after it opened", g, x.now-opened[g])
					}
					moved[g] = append(moved[g], x.now)
					if n := len(moved[g]); n > 8 && x.now-moved[g][n-9] < h {
						rt.Fatalf("contact %d moved nine times in %v", g, x.now-moved[g][n-9])
					}
				}
			}
		}
	})
}

// A measured current that is higher never gives the groups with setpoints on its
// phase more together, but for what is lost where shares are whole amperes. On
// other phases it may: a group of three phases takes less there too. Contacts make
// no such promise, nor does one limit more: where one contact opens another may
// close, and a group that has its limit no longer holds up the restoring of its
// way. That there is room for it is TestOverloadsAreShort's.
func TestMoreCurrentNeverGivesMore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := drawPlant(rt, "none")
		for range rapid.IntRange(1, 6).Draw(rt, "changes") {
			for p := range x.base {
				x.base[p] = float64(rapid.IntRange(-100, 400).Draw(rt, "load"))
			}
			for range rapid.IntRange(1, 600).Draw(rt, "seconds") {
				x.step(x.inputs())
			}
			before := x.s
			in := x.inputs()
			x.step(in)
			if len(in.Loads) == 0 {
				continue
			}
			l := in.Loads[0]
			p := rapid.IntRange(0, 2).Draw(rt, "phase")
			l.I[p] = max(0, l.I[p]) + meter.Milliamps(rapid.IntRange(1, 200_000).Draw(rt, "mA"))
			in.Loads = []Load{l}
			tight, _, _, _ := x.e.Step(before, in, x.now, epoch.Add(x.now))
			lost := granule * meter.Milliamps(len(x.limits))
			if a, b := total(x.e, &tight, meter.Phase(p)), total(x.e, &x.s, meter.Phase(p)); a > b+lost {
				rt.Fatalf("with more current on L%d its groups get %d, without %d", p+1, a, b)
			}
		}
	})
}

// Over a day on one tight phase equal groups have as much withheld from each but
// for two turns, and the minute that a contact waits for another.
func TestEqualGroupsAreCurtailedAlike(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		cfg.Ways, cfg.Groups = cfg.Ways[:1], nil
		cfg.Seed[0] = rapid.Byte().Draw(rt, "seed")
		contact := rapid.Bool().Draw(rt, "contacts")
		n := rapid.IntRange(2, 6).Draw(rt, "groups")
		for g := range n {
			cfg.Groups = append(cfg.Groups, Group{ID: fmt.Sprint("G", g), Way: "W1", Phases: [3]bool{true}, Rating: 32_000, Failsafe: 6_000, Contact: contact})
		}
		x := &plant{e: NewEngine(cfg), blind: rapid.Bool().Draw(rt, "blind")}
		x.s = x.e.New(0, epoch, false)
		x.s.Ways[0].State, x.s.Ever = Free, true
		for i := range x.s.Groups {
			x.s.Groups[i].Limit, x.s.Groups[i].Actuation = 32_000, Confirmed
			x.limits = append(x.limits, 32_000)
		}
		// Room for some of them, not for all.
		x.base[0] = 285 - 32*float64(n) + float64(rapid.IntRange(10, 30*(n-1)).Draw(rt, "too much"))
		withheld := make([]time.Duration, n)
		const stride = 10 // steps of 10 s: a day in 8,640
		for x.now < 24*h {
			x.now += (stride - 1) * s
			x.step(x.inputs())
			for g := range withheld {
				withheld[g] += stride * s * time.Duration(32_000-x.limits[g]) / 32_000
			}
		}
		least, most := withheld[0], withheld[0]
		for _, d := range withheld {
			least, most = min(least, d), max(most, d)
		}
		if most-least > 2*rotateEvery+oneAtATime {
			rt.Fatalf("withheld %v", withheld)
		}
	})
}
