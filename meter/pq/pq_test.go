package pq

import (
	"encoding/json"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lvagent/meter"
)

var monday = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func volts(v ...float64) *meter.Reading {
	r := &meter.Reading{Way: "W3"}
	for p := range r.Phase {
		r.Phase[p].V = meter.Sample[meter.Millivolts]{Value: meter.Millivolts(math.Round(v[min(p, len(v)-1)] * 1000)), Quality: meter.Good}
	}
	return r
}

func fill(m *Monitor, from time.Time, d time.Duration, v ...float64) {
	r := volts(v...)
	for t := from; t.Before(from.Add(d)); t = t.Add(time.Second) {
		m.Add(r, t, meter.Synced)
	}
}

func advance(m *Monitor, at time.Time) (bool, *meter.SupplyWeek) { return m.Advance(at, meter.Synced) }

func TestIntervals(t *testing.T) {
	tests := []struct {
		name      string
		play      func(m *Monitor)
		intervals int
		low, high meter.Millivolts
	}{
		{"one whole interval", func(m *Monitor) { fill(m, monday, Interval, 240) }, 1, 240_000, 240_000},
		{"root of the mean of squares, not the mean", func(m *Monitor) {
			fill(m, monday, Interval/2, 220)
			fill(m, monday.Add(Interval/2), Interval/2, 260)
		}, 1, 240_830, 240_830}, // sqrt((220^2+260^2)/2)
		{"begun in its middle: no value", func(m *Monitor) { fill(m, monday.Add(5*time.Minute), 5*time.Minute, 240) }, 0, 0, 0},
		{"nine tenths are enough", func(m *Monitor) { fill(m, monday.Add(time.Minute), 9*time.Minute, 240) }, 1, 240_000, 240_000},
		{"a second less is not", func(m *Monitor) { fill(m, monday.Add(time.Minute+time.Second), 9*time.Minute-time.Second, 240) }, 0, 0, 0},
		{"aligned to the tick", func(m *Monitor) {
			fill(m, monday.Add(5*time.Minute), 5*time.Minute, 250)
			fill(m, monday.Add(10*time.Minute), 10*time.Minute, 230)
		}, 1, 230_000, 230_000},
		{"measured twice after a step back: the first stays", func(m *Monitor) {
			fill(m, monday, Interval, 240)
			fill(m, monday.Add(Interval), time.Second, 240)
			fill(m, monday, Interval, 200)
			fill(m, monday.Add(Interval), Interval, 240)
		}, 2, 240_000, 240_000},
		{"stepped back within: too many readings are no value", func(m *Monitor) {
			fill(m, monday, 9*time.Minute, 240)
			fill(m, monday.Add(5*time.Minute), 5*time.Minute, 240)
		}, 0, 0, 0},
		{"nonsense is not measured", func(m *Monitor) { fill(m, monday, Interval, 5000) }, 0, 0, 0},
		{"an interruption is a value", func(m *Monitor) { fill(m, monday, Interval, 0) }, 1, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New(Config{Way: "W3"})
			tt.play(m)
			advance(m, monday.Add(2*Interval+grace))
			r, _ := m.Report()
			p := r.Phase[0]
			if p.Intervals != tt.intervals || p.Min != tt.low || p.Max != tt.high {
				t.Errorf("%d intervals, %d to %d mV, want %d, %d to %d", p.Intervals, p.Min, p.Max, tt.intervals, tt.low, tt.high)
			}
		})
	}
}

// What a reading closed is to be kept as well as what the time did.
func TestEachClosedIntervalIsKept(t *testing.T) {
	m := New(Config{})
	kept := 0
	for i := range 3*600 + 10 {
		at := monday.Add(time.Duration(i) * time.Second)
		m.Add(volts(240), at, meter.Synced)
		if k, _ := advance(m, at); k {
			kept++
		}
	}
	if kept != 3 {
		t.Errorf("kept %d times in half an hour, want 3", kept)
	}
}

func TestUntrustedClockMakesNoInterval(t *testing.T) {
	m := New(Config{})
	for i := range 1200 {
		m.Add(volts(240), time.Unix(int64(i), 0), meter.Unsynced)
		m.Advance(time.Unix(int64(i), 0), meter.Unsynced)
	}
	if _, begun := m.Report(); begun {
		t.Error("a week has begun while nobody knew which")
	}
}

// TestWeek compares a week of readings each second with a calculation of its own
// in floats.
func TestWeek(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	m := New(Config{Way: "W3", Offset: 6_000})
	want := make([][]float64, meter.Phases)
	var sums [meter.Phases]float64
	level := [meter.Phases]float64{246, 243, 252}
	at := monday
	var over *meter.SupplyWeek
	for slot := range perWeek {
		sums = [meter.Phases]float64{}
		for range 600 {
			r := volts(0)
			for p := range level {
				level[p] += dice.NormFloat64()*0.05 - (level[p]-[]float64{246, 243, 252}[p])/400
				v := math.Round((level[p]+20*math.Sin(float64(slot)/23))*10) / 10
				sums[p] += v * v
				r.Phase[p].V.Value = meter.Millivolts(math.Round(v * 1000))
			}
			m.Add(r, at, meter.Synced)
			at = at.Add(time.Second)
		}
		for p := range sums {
			want[p] = append(want[p], math.Round(math.Sqrt(sums[p]/600)*100)/100)
		}
		if _, o := advance(m, at.Add(grace)); o != nil {
			over = o
		}
	}
	if over == nil || !over.Whole || !over.Start.Equal(monday) || !over.End.Equal(monday.AddDate(0, 0, 7)) {
		t.Fatalf("no report of the week: %+v", over)
	}
	for p, values := range want {
		var out10, outRange, below, above int
		for _, v := range values {
			at := v - 6
			if at < 207-1e-9 || at > 253+1e-9 {
				out10++
			}
			if at < 195.5-1e-9 || at > 253+1e-9 {
				outRange++
			}
			if at < 216.2-1e-9 {
				below++
			}
			if at > 253+1e-9 {
				above++
			}
		}
		slices.Sort(values)
		got := over.Phase[p]
		near := func(name string, got meter.Millivolts, want float64) {
			if math.Abs(float64(got)-want*1000) > 10.5 {
				t.Errorf("phase %d: %s %d mV, want %v V", p, name, got, want)
			}
		}
		near("min", got.Min, values[0])
		near("max", got.Max, values[perWeek-1])
		near("p5", got.P5, values[50])
		near("median", got.Median, values[503])
		near("p95", got.P95, values[957])
		if got.Intervals != perWeek || got.OutOf10 != out10 || got.OutOfRange != outRange || got.Below != below || got.Above != above {
			t.Errorf("phase %d: %+v, want out of 10 %% %d, of range %d, below %d, above %d", p, *got, out10, outRange, below, above)
		}
		if wantVerdict := map[bool]meter.Verdict{true: meter.Fail, false: meter.Pass}[outRange > 0 || out10*20 > perWeek]; got.Verdict != wantVerdict {
			t.Errorf("phase %d: %v, want %v", p, got.Verdict, wantVerdict)
		}
	}
	if over.Phase[0].OutOf10 == 0 && over.Phase[2].OutOf10 == 0 {
		t.Error("the week has nothing out of range: it shows nothing")
	}
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		name          string
		n, out, never int
		whole         bool
		want          meter.Verdict
	}{
		{"nothing measured", 0, 0, 0, true, meter.Incomplete},
		{"all within", 1008, 0, 0, true, meter.Pass},
		{"95 % within", 1000, 50, 0, true, meter.Pass},
		{"one less", 1000, 51, 0, true, meter.Fail},
		{"all must be within the wider range", 1008, 1, 1, true, meter.Fail},
		{"nine tenths measured", 908, 0, 0, true, meter.Pass},
		{"less", 907, 0, 0, true, meter.Incomplete},
		{"the week runs", 1008, 0, 0, false, meter.Incomplete},
		{"failed before its end", 51, 51, 0, false, meter.Fail},
		{"may still pass", 50, 50, 0, false, meter.Incomplete},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := verdict(tt.n, tt.out, tt.never, tt.whole); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestUnbalance compares with the symmetrical components of phasors.
func TestUnbalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		phasor := func(name string, angle float64) complex128 {
			v := rapid.Float64Range(200, 260).Draw(t, name)
			d := rapid.Float64Range(-0.1, 0.1).Draw(t, name+" angle")
			return cmplx.Rect(v, angle+d)
		}
		const third = 2 * math.Pi / 3
		a, b, c := phasor("a", 0), phasor("b", -third), phasor("c", third)
		turn := cmplx.Rect(1, third)
		positive := cmplx.Abs(a + turn*b + turn*turn*c)
		negative := cmplx.Abs(a + turn*turn*b + turn*c)
		want := negative / positive * 1e6
		var line [meter.Phases]mean
		for i, u := range []complex128{a - b, b - c, c - a} {
			line[i].add(int64(math.Round(cmplx.Abs(u) * 1000)))
		}
		got, ok := unbalance(line)
		// A millivolt of 400 V is 2.5 ppm, and shows more where there is little.
		if !ok || math.Abs(float64(got)-want) > 15 && math.Abs(float64(got)-want) > 0.01*want {
			t.Fatalf("%d ppm, want %v", got, want)
		}
	})
}

func TestNoTriangleHasNoUnbalance(t *testing.T) {
	var line [meter.Phases]mean
	for i, v := range []int64{400_000, 100_000, 100_000} {
		line[i].add(v)
	}
	if u, ok := unbalance(line); ok {
		t.Errorf("unbalance %d of voltages that cannot be", u)
	}
}

func TestCounter(t *testing.T) {
	tests := []struct {
		name      string
		from, to  int64
		restarted bool
		want      int64
		sure      bool
	}{
		{"same", 7, 7, false, 0, true},
		{"three more", 7, 10, false, 3, true},
		{"started anew, two since", 7, 2, true, 2, true},
		{"started anew without saying so", 7, 2, false, 2, true},
		{"over the end of 16 bits", 65_534, 1, false, 3, true},
		{"over the end of 32 bits", 1<<32 - 1, 0, false, 1, true},
		{"restarted but kept its counters", 7, 8, true, 1, true},
		{"jumped: another meter", 7, 60_000, false, 0, false},
		{"negative", 7, -1, false, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := counter{Known: true, Last: tt.from}
			if n, sure := c.step(tt.to, tt.restarted); n != tt.want || sure != tt.sure {
				t.Errorf("got %d %v, want %d %v", n, sure, tt.want, tt.sure)
			}
		})
	}
	var c counter
	if n, sure := c.step(500, false); n != 0 || !sure {
		t.Errorf("first reading counts %d events", n)
	}
}

func supply(dips int64, line float64, thd meter.PPM) *meter.SupplyReading {
	var r meter.SupplyReading
	r.Fail(meter.NotSupported)
	r.Frequency = meter.Sample[meter.Millihertz]{Value: 49_980, Quality: meter.Good}
	r.Dips = meter.Sample[meter.Count]{Value: meter.Count(dips), Quality: meter.Good}
	for p := range r.Line {
		r.Line[p] = meter.Sample[meter.Millivolts]{Value: meter.Millivolts(line * 1000), Quality: meter.Good}
		r.THDV[p] = meter.Sample[meter.PPM]{Value: thd, Quality: meter.Good}
	}
	return &r
}

// A dip marks its interval; the value stays in the week.
func TestFlaggedIntervalsAreNotRemoved(t *testing.T) {
	m := New(Config{})
	m.AddSupply(supply(5, 400, 30_000), monday, meter.Synced)
	fill(m, monday, Interval, 150)
	m.AddSupply(supply(7, 400, 90_000), monday.Add(9*time.Minute), meter.Synced)
	advance(m, monday.Add(Interval+grace))
	r, _ := m.Report()
	p := r.Phase[0]
	if r.Flagged != 1 || p.Intervals != 1 || p.OutOfRange != 1 || p.OutUnflagged != 0 || p.Verdict != meter.Fail {
		t.Errorf("flagged %d, %+v", r.Flagged, *p)
	}
	if r.Dips == nil || *r.Dips != 2 || r.Swells != nil {
		t.Errorf("dips %v, swells %v, want 2 and none", r.Dips, r.Swells)
	}
	// Root of the mean of squares of 3 % and 9 %.
	if p.THDV == nil || p.THDV.Max != 67_000 || r.VUF == nil || r.VUF.Max != 0 {
		t.Errorf("THD %+v, VUF %+v", p.THDV, r.VUF)
	}
	if f := r.Frequency; f == nil || f.Readings != 2 || f.Min != 49_980 || f.OutOf1 != 0 {
		t.Errorf("frequency %+v", f)
	}
}

// A clock that was days ahead within the week: what was noted stays, and is not
// noted twice.
func TestStepBackWithinTheWeek(t *testing.T) {
	m := New(Config{})
	tuesday := monday.AddDate(0, 0, 1)
	fill(m, tuesday, Interval, 240)
	fill(m, tuesday.AddDate(0, 0, 3), Interval, 242)
	advance(m, tuesday.AddDate(0, 0, 3).Add(Interval+grace))
	advance(m, tuesday)
	fill(m, tuesday, Interval, 200)
	fill(m, tuesday.Add(Interval), Interval, 244)
	advance(m, tuesday.Add(2*Interval+grace))
	if r, _ := m.Report(); r.Phase[0].Intervals != 3 || r.Phase[0].Min != 240_000 || r.Phase[0].Max != 244_000 {
		t.Errorf("%+v", *r.Phase[0])
	}
}

func TestClockSteps(t *testing.T) {
	m := New(Config{})
	fill(m, monday, 2*Interval, 240)
	advance(m, monday.Add(2*Interval-1))
	if kept, over := advance(m, monday.Add(-5*time.Second)); kept || over != nil {
		t.Error("a small step back over the week's start ended something")
	}
	fill(m, monday.Add(2*Interval), Interval, 241)
	if kept, over := advance(m, monday.AddDate(-1, 0, 0)); !kept || over != nil {
		t.Error("a wrong week was published, or went on")
	}
	if r, _ := m.Report(); r.Phase[0].Intervals != 0 {
		t.Errorf("%d intervals of the wrong week are left", r.Phase[0].Intervals)
	}
	_, over := advance(m, monday.AddDate(0, 0, 7))
	if over == nil || over.Phase[0].Intervals != 0 || over.Phase[0].Verdict != meter.Incomplete {
		t.Errorf("the week of the step: %+v", over)
	}
}

// TestRestart: a week with restarts in it ends in the same report, but for the
// intervals that were open then.
func TestRestart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{Way: "W3", Poll: time.Minute}
		a, b := New(cfg), New(cfg)
		kept := map[int][]byte{}
		keep := func() {
			for _, s := range b.Today() {
				body, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				kept[s.Day] = body
			}
		}
		at := monday.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "start")) * Interval)
		dips := int64(0)
		for range rapid.IntRange(1, 400).Draw(t, "intervals") {
			v := rapid.Float64Range(180, 270).Draw(t, "v")
			dips += int64(rapid.IntRange(0, 1).Draw(t, "dip"))
			for range 10 {
				for _, m := range []*Monitor{a, b} {
					m.Add(volts(v, v+1, v-2), at, meter.Synced)
				}
				at = at.Add(time.Minute)
			}
			s := supply(dips, v*1.7, 20_000)
			for _, m := range []*Monitor{a, b} {
				m.AddSupply(s, at.Add(-time.Second), meter.Synced)
				if k, over := advance(m, at.Add(grace)); (k || over != nil) && m == b {
					keep()
				}
			}
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				b = New(cfg)
				var states []State
				for _, body := range kept {
					var s State
					if err := json.Unmarshal(body, &s); err != nil {
						t.Fatal(err)
					}
					states = append(states, s)
				}
				if faults := b.Resume(states); len(faults) > 0 {
					t.Fatal(faults)
				}
				advance(b, at.Add(grace))
			}
		}
		ra, _ := a.Report()
		rb, _ := b.Report()
		ja, _ := json.Marshal(ra)
		jb, _ := json.Marshal(rb)
		if string(ja) != string(jb) {
			t.Fatalf("without restart %s\nwith restarts %s", ja, jb)
		}
		for _, p := range ra.Phase {
			if p.Intervals > ra.Expected || p.OutUnflagged > p.OutOfRange || p.OutOfRange > p.OutOf10 || p.OutOf10 > p.Intervals || p.P5 > p.P95 || p.Min > p.P5 || p.P95 > p.Max {
				t.Fatalf("of %d intervals: %+v", ra.Expected, *p)
			}
		}
	})
}

func FuzzResume(f *testing.F) {
	m := New(Config{})
	fill(m, monday, 2*Interval, 240)
	advance(m, monday.Add(2*Interval+grace))
	body, err := json.Marshal(m.Today()[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"Version":1,"Week":1048576,"Day":6,"Flags":""}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var s State
		if json.Unmarshal(body, &s) != nil {
			return
		}
		m := New(Config{})
		m.Resume([]State{s})
		m.Add(volts(240), monday, meter.Synced)
		m.AddSupply(supply(3, 400, 0), monday, meter.Synced)
		advance(m, monday.Add(Interval))
		advance(m, monday.AddDate(0, 0, 8))
		if r, ok := m.Report(); ok && r.Phase[0].Intervals > perWeek {
			t.Errorf("%d intervals in a week", r.Phase[0].Intervals)
		}
	})
}

func TestReadingsMakeNoGarbage(t *testing.T) {
	m := New(Config{})
	r, s := volts(240), supply(1, 400, 10_000)
	at := monday
	m.AddSupply(s, at, meter.Synced)
	advance(m, at.Add(Interval+grace))
	at = at.Add(Interval)
	if n := testing.AllocsPerRun(2000, func() {
		m.Add(r, at, meter.Synced)
		m.AddSupply(s, at, meter.Synced)
		advance(m, at)
		at = at.Add(time.Second)
	}); n != 0 {
		t.Errorf("%v allocations per reading", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	m := New(Config{})
	r, at := volts(240), monday
	for b.Loop() {
		m.Add(r, at, meter.Synced)
		m.Advance(at, meter.Synced)
		at = at.Add(time.Second)
	}
}
