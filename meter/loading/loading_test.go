package loading

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lvagent/meter"
)

var january = time.Date(2026, 1, 12, 0, 0, 0, 0, time.UTC)

func amps(a ...int64) *meter.Reading {
	r := &meter.Reading{Way: "W3"}
	for p := range r.Phase {
		r.Phase[p].I = meter.Sample[meter.Milliamps]{Value: meter.Milliamps(a[min(p, len(a)-1)] * 1000), Quality: meter.Good}
	}
	return r
}

func config() Config {
	c := Config{Way: "W3", Cable: Cable{Tau: 120}, CyclicLoss: 500_000}
	for s := range c.Sustained {
		c.Sustained[s] = [meter.Phases]meter.Milliamps{300_000, 300_000, 300_000}
	}
	return c
}

func txConfig() Config {
	c := config()
	c.Way = "TX"
	t := Distribution(695_632)
	c.Transformer, c.Firm = &t, 500_000_000
	for s := range c.Sustained {
		c.Sustained[s] = [meter.Phases]meter.Milliamps{695_632, 695_632, 695_632}
	}
	c.Ambient = [12]int64{7_000, 8_000, 10_000, 13_000, 16_000, 19_000, 21_000, 21_000, 18_000, 14_000, 10_000, 8_000}
	return c
}

// carry plays a current for a time from start.
func carry(w *Way, start, d time.Duration, a ...int64) time.Duration {
	r := amps(a...)
	for t := start; t < start+d; t += time.Second {
		r.At = t
		w.Add(r)
		if t%time.Minute == 0 {
			w.Advance(t, january.Add(t), meter.Synced)
		}
	}
	w.Advance(start+d, january.Add(start+d), meter.Synced)
	return start + d
}

func TestStartsWarm(t *testing.T) {
	w := New(config())
	if theta, known := w.Theta(meter.L1); known || theta != warmHeat {
		t.Errorf("theta %d %v before any reading", theta, known)
	}
	now := carry(w, 0, 10*time.Minute, 0)
	c := w.Capacity(nil)
	if p := c.Phase[0]; !c.Warm || !p.Known || p.Theta < 700_000 || p.Theta >= warmHeat {
		t.Errorf("after ten minutes without load: %+v %+v", c, *p)
	}
	carry(w, now, 7*time.Hour, 0)
	if c := w.Capacity(nil); c.Warm || c.Phase[0].Theta > 40_000 {
		t.Errorf("after seven hours: %+v %+v", c, *c.Phase[0])
	}
}

func TestCapacity(t *testing.T) {
	w := New(config())
	carry(w, 0, 12*time.Hour, 330, 150, 0)
	c := w.Capacity(nil)
	tests := []struct {
		share   meter.PPM
		free    meter.Milliamps
		theta   meter.PPM
		reaches bool
	}{{1_100_000, 0, 1_210_000, true}, {500_000, 150_000, 250_000, false}, {0, 300_000, 0, false}}
	for p, want := range tests {
		got := c.Phase[p]
		if got.Share != want.share || got.Free != want.free || got.Basis != "sustained" || got.By != "cable" || got.Reaches != want.reaches ||
			math.Abs(float64(got.Theta-want.theta)) > 3000 {
			t.Errorf("L%d: %+v, want %+v", p+1, *got, want)
		}
	}
	if c.Assumed || c.Season != "winter" {
		t.Errorf("%+v", c)
	}
}

// The time to the limit is the one that passes.
func TestTimeToLimit(t *testing.T) {
	cfg := config()
	cfg.Fuse = defaultFuse()
	w := New(cfg)
	now := carry(w, 0, 10*time.Hour, 100)
	now = carry(w, now, time.Minute, 360)
	c := w.Capacity(nil).Phase[0]
	if !c.Reaches || c.By != "fuse" || c.ToLimit < 20*time.Minute || c.ToLimit > 40*time.Minute {
		t.Fatalf("%+v", *c)
	}
	carry(w, now, c.ToLimit-time.Minute, 360)
	if theta, _ := w.Theta(meter.L1); theta >= meter.Whole {
		t.Errorf("a minute before: %d", theta)
	}
	carry(w, now+c.ToLimit-time.Minute, time.Minute, 360)
	if theta, _ := w.Theta(meter.L1); theta < meter.Whole {
		t.Errorf("when it was to be reached: %d", theta)
	}
}

// A short circuit of seconds uses up the fuse, though its carrier is hardly
// warmer.
func TestFuseIsUsedUpInSeconds(t *testing.T) {
	cfg := config()
	cfg.Fuse = defaultFuse()
	w := New(cfg)
	now := carry(w, 0, 10*time.Hour, 10)
	now = carry(w, now, 10*time.Second, 945) // three times the rating, half of its melting time
	carry(w, now, 50*time.Second, 10)
	if theta, _ := w.Theta(meter.L1); theta < 500_000 || theta > 700_000 {
		t.Errorf("theta %d, want a little above half", theta)
	}
}

// What is not measured is taken as it was last, and not known after an hour.
func TestNotMeasured(t *testing.T) {
	w := New(config())
	now := carry(w, 0, 10*time.Hour, 280)
	was, _ := w.Theta(meter.L1)
	for range 59 {
		now += time.Minute
		w.Advance(now, january.Add(now), meter.Synced)
	}
	theta, known := w.Theta(meter.L1)
	if !known || theta < was || !w.Capacity(nil).Assumed {
		t.Errorf("after 59 minutes: %d (was %d), known %v, %+v", theta, was, known, w.Capacity(nil))
	}
	now += 2 * time.Minute
	w.Advance(now, january.Add(now), meter.Synced)
	if _, known := w.Theta(meter.L1); known || w.Capacity(nil).Phase[0].Known || w.Free()[0] != nil {
		t.Error("known after more than an hour without a reading")
	}
}

func TestTheStricterLimit(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*Config)
		season  time.Month
		limit   meter.Milliamps
		basis   string
		llf     bool
		untrust bool
	}{
		{"the rating", func(*Config) {}, time.January, 300_000, "sustained", false, false},
		{"summer", func(c *Config) { c.Sustained[Summer][0] = 250_000 }, time.July, 250_000, "sustained", false, false},
		{"winter is not summer", func(c *Config) { c.Sustained[Summer][0] = 250_000 }, time.January, 300_000, "sustained", false, false},
		{"an unknown date is summer", func(c *Config) { c.Sustained[Summer][0] = 250_000 }, time.January, 250_000, "sustained", false, true},
		{"the fuse", func(c *Config) { c.Fuse = defaultFuse() }, time.January, 283_500, "fuse", false, false},
		{"cyclic, not earned", func(c *Config) { c.Cyclic = 340_000 }, time.January, 300_000, "sustained", false, false},
		{"cyclic, earned", func(c *Config) { c.Cyclic = 340_000 }, time.January, 340_000, "cyclic", true, false},
		{"cyclic, but the fuse", func(c *Config) { c.Cyclic, c.Fuse = 340_000, defaultFuse() }, time.January, 283_500, "fuse", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			tt.change(&cfg)
			w := New(cfg)
			if tt.llf {
				for day := range 7 {
					closeDay(w, january.AddDate(0, 0, day-7), func(n int) int64 { return []int64{100_000, 290_000}[n/40] })
				}
				closeDay(w, january, func(int) int64 { return 100_000 })
			}
			clock := meter.Synced
			if tt.untrust {
				clock = meter.Unsynced
			}
			w.Advance(0, time.Date(2026, tt.season, 19, 12, 0, 0, 0, time.UTC), clock)
			_, earned := w.cyclicEarned()
			if limit, basis := w.limit(0, earned); limit != tt.limit || basis != tt.basis {
				t.Errorf("%d by %s, want %d by %s", limit, basis, tt.limit, tt.basis)
			}
		})
	}
}

func halfHour(start time.Time, rms, importW, s int64) *meter.HalfHour {
	h := &meter.HalfHour{Way: "W3", Start: start, End: start.Add(30 * time.Minute), Coverage: meter.Whole, Total: &meter.TotalPeriod{S: s}}
	for p := range h.Phase {
		h.Phase[p] = &meter.PhasePeriod{I: meter.Stats{RMS: rms}, P: meter.PowerStats{Import: importW * 1000}}
	}
	return h
}

func closeDay(w *Way, day time.Time, rms func(n int) int64) {
	for n := range 48 {
		w.Close(halfHour(day.Add(time.Duration(n)*30*time.Minute), rms(n), rms(n)/10, rms(n)*690))
	}
}

func TestFactors(t *testing.T) {
	w := New(config())
	closeDay(w, january, func(n int) int64 { return []int64{100_000, 300_000}[n/24] })
	c := w.Capacity(nil).Demand
	// Half a day of 1, half of 3: mean 2 of 3; mean square 5 of 9.
	if c.LoadFactor != 666_666 || c.LossFactor != 555_555 || !c.PeakAt.Equal(january.Add(12*time.Hour)) || c.PhasePeak[1] != 300_000 {
		t.Errorf("%+v", c)
	}
	// What was measured too little, a second issue and a repetition do not count.
	late := halfHour(january.Add(24*time.Hour), 900_000, 1, 1)
	late.Flags = meter.Invalid
	w.Close(late)
	again := halfHour(january.Add(30*time.Minute), 900_000, 1, 1)
	again.Rev = 1
	w.Close(again)
	w.Close(halfHour(january.Add(30*time.Minute), 900_000, 1, 1))
	if now := w.Capacity(nil).Demand; now != c {
		t.Errorf("%+v, want unchanged %+v", now, c)
	}
}

func TestFirmCapacity(t *testing.T) {
	w := New(txConfig())
	for i, percent := range []int64{79, 81, 110, 111, 121, 90} {
		w.Close(halfHour(january.Add(time.Duration(i)*30*time.Minute), 1, 1, percent*5_000_000))
		if want := percent > 110; w.Beyond() != want {
			t.Errorf("at %d %%: beyond %v", percent, w.Beyond())
		}
	}
	d := w.Capacity(nil).Demand
	if d.Over80 != 5 || d.Over110 != 2 || d.Over120 != 1 || d.EverPeak != 605_000_000 || d.Last != 450_000_000 {
		t.Errorf("%+v", d)
	}
}

// Two parts of a day make the day, in any order.
func TestMergingDays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all, left, right daySums
		for n := range rapid.IntRange(1, 48).Draw(t, "periods") {
			one := daySums{Day: 5, N: 1, Import: rapid.Int64Range(0, 1e6).Draw(t, "import"), Peak: rapid.Int64Range(0, 3).Draw(t, "peak"), PeakAt: int64(n)}
			one.MostIn = one.Import
			one.Most[0] = rapid.Int64Range(0, 5).Draw(t, "amps")
			one.MostAt[0] = int64(n)
			all.merge(&one)
			if rapid.Bool().Draw(t, "left") {
				left.merge(&one)
			} else {
				right.merge(&one)
			}
		}
		a, b := left, right
		a.merge(&right)
		b.merge(&left)
		if a != all || b != all {
			t.Fatalf("all %+v\nleft and right %+v\nright and left %+v", all, a, b)
		}
		if f := all.loadFactor(); f < 0 || f > meter.Whole {
			t.Fatalf("load factor %d", f)
		}
	})
}

// No share is above what the largest reading says, no free capacity above what
// is left of the limit; a phase that carries more has less left.
func TestSharesAreNeverAboveTheReadings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := New(config())
		tx := New(txConfig())
		top, low := int64(0), int64(1<<40)
		now := time.Duration(0)
		for range rapid.IntRange(1, 20).Draw(t, "readings") {
			a := rapid.Int64Range(0, 900).Draw(t, "amps")
			d := time.Duration(rapid.IntRange(1, 4).Draw(t, "minutes")) * time.Minute
			now = carry(w, now, d, a)
			carry(tx, now-d, d, a)
			top, low = max(top, a), min(low, a)
		}
		for _, c := range []meter.Capacity{w.Capacity(tx), tx.Capacity(nil)} {
			for _, p := range c.Phase {
				if int64(p.I) > top*1000+1 || int64(p.I) < low*1000 || int64(p.Share)*int64(p.Limit) > (top*1000+1)*one || p.Free > max(0, p.Limit-meter.Milliamps(low*1000)) || p.Free < 0 {
					t.Fatalf("%d to %d A: %+v", low, top, *p)
				}
			}
		}
		if own, bound := w.Capacity(nil).Phase[0].Free, *tx.Free()[0]; w.Capacity(tx).Phase[0].Free != min(own, bound) {
			t.Fatal("free capacity is not bounded by the transformer's")
		}
	})
}

func TestTransformerNotKnownLeavesNothingFree(t *testing.T) {
	w := New(config())
	carry(w, 0, 2*time.Minute, 10)
	if free := w.Capacity(New(txConfig())).Phase[0].Free; free != 0 {
		t.Errorf("%d mA free under a transformer that is not measured", free)
	}
}

func TestTransformerOfTheSite(t *testing.T) {
	w := New(txConfig())
	if h := w.Capacity(nil).Transformer; h.HotSpot < 98_000 || h.Ambient != 31_000 {
		t.Errorf("starts at %+v, want warm and, without a date, in the warmest month", *h)
	}
	carry(w, 0, 40*time.Hour, 696)
	c := w.Capacity(nil)
	near(t, "hot spot", c.Transformer.HotSpot, 17+78.05, 0.1)
	if !c.AmbientAssumed || c.Phase[0].By != "transformer" || c.Phase[0].Theta < 750_000 || c.Phase[0].Theta > 770_000 {
		t.Errorf("%+v %+v", c, *c.Phase[0])
	}
}

// A restart makes nothing cooler, and without a gap nothing else.
func TestResume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, cfg := range []Config{config(), txConfig()} {
			a := New(cfg)
			now := time.Duration(0)
			for range rapid.IntRange(1, 5).Draw(t, "stretches") {
				now = carry(a, now, time.Duration(rapid.IntRange(1, 30).Draw(t, "minutes"))*time.Minute, rapid.Int64Range(0, 900).Draw(t, "amps"))
			}
			a.Close(halfHour(january, 100, 100, 100))
			body, err := json.Marshal(a.State(january.Add(now), meter.Synced))
			if err != nil {
				t.Fatal(err)
			}
			var s State
			if err := json.Unmarshal(body, &s); err != nil {
				t.Fatal(err)
			}
			b := New(cfg)
			gap := time.Duration(rapid.IntRange(0, 300).Draw(t, "gap")) * time.Minute
			if !b.Resume(s, january.Add(now+gap), meter.Synced) {
				t.Fatal("own state refused")
			}
			was, _ := a.Theta(0)
			is, _ := b.Theta(0)
			if is < was {
				t.Fatalf("cooler after a restart: %d, was %d", is, was)
			}
			if gap == 0 && !reflect.DeepEqual(a.State(january, meter.Synced), b.State(january, meter.Synced)) {
				t.Fatalf("%+v\n%+v", a.State(january, meter.Synced), b.State(january, meter.Synced))
			}
		}
	})
}

func FuzzResume(f *testing.F) {
	w := New(txConfig())
	carry(w, 0, 3*time.Minute, 100)
	w.Close(halfHour(january, 100_000, 1000, 1000))
	body, err := json.Marshal(w.State(january, meter.Synced))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"Version":1,"Cable":[999999999999,0,0],"Last":[1000000000000000000,0,0],"Heard":[true,true,true]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var s State
		if json.Unmarshal(body, &s) != nil {
			return
		}
		for _, cfg := range []Config{config(), txConfig()} {
			w := New(cfg)
			s.Wall = january.Unix() - 120 // a long gap is slow, not wrong
			w.Resume(s, january, meter.Synced)
			w.Add(amps(500))
			w.Advance(2*time.Minute, january, meter.Synced)
			w.Close(halfHour(january.AddDate(0, 0, 1), 1, 1, 1))
			for p, free := range w.Free() {
				if theta, _ := w.Theta(meter.Phase(p)); theta < 0 || free != nil && *free < 0 {
					t.Errorf("theta %d, free %v", theta, free)
				}
			}
			if d := w.demandNow(); d.LossFactor < 0 || d.LoadFactor < 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}

func TestReadingsMakeNoGarbage(t *testing.T) {
	cfg := config()
	cfg.Fuse = defaultFuse()
	w, r, at := New(cfg), amps(100), time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		at += time.Second
		r.At = at
		w.Add(r)
		w.Advance(at, january, meter.Synced)
	}); n != 0 {
		t.Errorf("%v allocations per reading", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	cfg := config()
	cfg.Fuse = defaultFuse()
	w, r, at := New(cfg), amps(100), time.Duration(0)
	for b.Loop() {
		at += time.Second
		r.At = at
		w.Add(r)
		w.Advance(at, january, meter.Synced)
	}
}

func BenchmarkTransformerCapacity(b *testing.B) {
	b.ReportAllocs()
	w := New(txConfig())
	carry(w, 0, time.Hour, 900)
	for b.Loop() {
		w.Capacity(nil)
	}
}

// A sensor's temperature counts while it stands, and then the table again.
func TestTemperatureOfASensor(t *testing.T) {
	w := New(txConfig())
	carry(w, 0, 40*time.Hour, 696)
	theta := w.Capacity(nil).Phase[0].Theta
	for _, tt := range []struct {
		name    string
		after   time.Duration
		ambient int64
		assumed bool
	}{
		{"just measured", 0, 35_000, false},
		{"it stands", senseFor - time.Minute, 35_000, false},
		{"its time is over", senseFor, 17_000, true},
	} {
		w.Sense(35_000, 40*time.Hour)
		w.Advance(40*time.Hour+tt.after, january.Add(40*time.Hour+tt.after), meter.Synced)
		c := w.Capacity(nil)
		if c.AmbientAssumed != tt.assumed || c.Transformer.Ambient != tt.ambient || c.Transformer.HotSpot-c.Transformer.TopOil < 20_000 {
			t.Errorf("%s: assumed %v, %+v; want %v, %d", tt.name, c.AmbientAssumed, *c.Transformer, tt.assumed, tt.ambient)
		}
		if hotter := c.Phase[0].Theta > theta; hotter == tt.assumed {
			t.Errorf("%s: heat %d, by the table %d", tt.name, c.Phase[0].Theta, theta)
		}
	}
}
