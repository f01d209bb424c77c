package failsafe

import (
	"testing"
	"time"
	_ "time/tzdata"

	"lvagent/meter"

	"pgregory.net/rapid"
)

var (
	everyDay = [7]bool{true, true, true, true, true, true, true}
	weekdays = [7]bool{false, true, true, true, true, true, false}
)

func london(t testing.TB) *time.Location {
	t.Helper()
	place, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	return place
}

// profiled is a site whose G1 may draw 96 A at night, 24 A by day and 12 A on
// weekday evenings while the centre is silent.
func profiled(t testing.TB) Config {
	cfg := testConfig()
	cfg.Place = london(t)
	cfg.Groups[0].Profile = []Period{
		{Days: everyDay, From: 22 * 60, To: 6*60 + 30, Limit: 96_000},
		{Days: weekdays, From: 16 * 60, To: 22 * 60, Limit: 12_000},
	}
	return cfg
}

// A profile without its stagger.
func exact(cfg Config) *Engine {
	e := NewEngine(cfg)
	for g := range e.weeks {
		e.weeks[g].stagger = 0
	}
	return e
}

func TestFailsafeProfile(t *testing.T) {
	e := exact(profiled(t))
	night := testConfig()
	night.Place = london(t)
	night.Groups[0].Profile = []Period{
		{Days: everyDay, From: 0, To: 1*60 + 30, Limit: 6_000}, {Days: everyDay, From: 1*60 + 30, To: 24 * 60, Limit: 50_000}}
	half := exact(night)
	for _, c := range []struct {
		name string
		e    *Engine
		at   string // local
		want meter.Milliamps
	}{
		{"by day nothing but failsafe_a", e, "2026-11-24T12:00:00Z", 24_000},
		{"just before the evening", e, "2026-11-24T15:59:59Z", 24_000},
		{"the evening", e, "2026-11-24T16:00:00Z", 12_000},
		{"the end of the evening", e, "2026-11-24T21:59:59Z", 12_000},
		{"the night", e, "2026-11-24T22:00:00Z", 96_000},
		{"the night goes on over midnight", e, "2026-11-25T00:00:00Z", 96_000},
		{"and ends", e, "2026-11-25T06:30:00Z", 24_000},
		{"no evening on a Saturday", e, "2026-11-28T18:00:00Z", 24_000},
		{"the night from Saturday to Sunday, over the week's end", e, "2026-11-29T03:00:00Z", 96_000},
		{"summer time: 16:00 is 15:00 UTC", e, "2026-06-24T15:00:00Z", 12_000},
		{"and a second before", e, "2026-06-24T14:59:59Z", 24_000},

		{"before the hour that is left out", half, "2026-03-29T00:59:59Z", 6_000},
		{"after it: 02:00, at once", half, "2026-03-29T01:00:00Z", 50_000},
		{"the hour that comes twice, first time, before 01:30", half, "2026-10-25T00:10:00Z", 6_000},
		{"first time, after 01:30: stricter", half, "2026-10-25T00:40:00Z", 6_000},
		{"second time, after 01:30: stricter", half, "2026-10-25T01:59:59Z", 6_000},
		{"and over", half, "2026-10-25T02:00:00Z", 50_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			today := c.e.look(at, true)
			if got := c.e.profile(0, &today); got != c.want {
				t.Errorf("at %s: %d, want %d", at.In(c.e.place), got, c.want)
			}
		})
	}
}

// An engine in FAILSAFE follows the profile: down at once, up by the ramp, and
// with a clock that can't be trusted to the lowest value, whatever the time.
func TestFailsafeFollowsTheProfile(t *testing.T) {
	x := newSite(t, profiled(t)) // Tuesday, 17:00
	x.load = 10_000
	x.free()
	x.run(5*m, false)
	if g := x.group("G1"); x.way("W1").State != Failsafe || g.Limit != 12_000 {
		t.Fatalf("in the evening G1 is at %d in %v", g.Limit, x.way("W1").State)
	}
	x.run(4*h+20*m, false) // to 22:00 at the latest
	if g := x.group("G1"); g.Limit != 12_000 {
		t.Fatalf("before ten G1 is at %d", g.Limit)
	}
	x.run(h, false)
	if g := x.group("G1"); g.Limit != 96_000 {
		t.Fatalf("at night G1 is at %d (%s)", g.Limit, g.Rule)
	}
	x.suspect = true
	x.step(Inputs{})
	if g := x.group("G1"); g.Limit != 12_000 {
		t.Fatalf("with a suspect clock G1 is at %d", g.Limit)
	}
	x.suspect, x.clock = false, meter.Unsynced
	x.run(h, false)
	if g := x.group("G1"); g.Limit != 12_000 {
		t.Fatalf("with an untrusted clock G1 is at %d", g.Limit)
	}
	x.clock = meter.Synced
	x.run(30*m, false)
	if g := x.group("G1"); g.Limit != 96_000 {
		t.Fatalf("with the clock back G1 is at %d (%s)", g.Limit, g.Rule)
	}
	if _, rest := x.e.Stop(x.s, x.now, x.wall()); rest[0].Limit != 12_000 {
		t.Errorf("a stop leaves G1 at %d; nobody is left to follow the profile", rest[0].Limit)
	}
	x.crash()
	if g := x.group("G1"); g.Limit != 96_000 {
		t.Errorf("a restart at night has G1 at %d", g.Limit)
	}
	x.blind = true
	x.run(2*m, false)
	if g := x.group("G1"); g.Limit != 12_000 {
		t.Errorf("not measured at night, G1 is at %d (%s)", g.Limit, g.Rule)
	}
}

// Sites pass the edges of one profile at their own times, none outside of what
// the profile says.
func TestProfileEdgesAreStaggered(t *testing.T) {
	cfg := profiled(t)
	at := time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC)
	down := time.Date(2026, 11, 24, 16, 0, 0, 0, time.UTC)
	up := map[int]int{}
	for site := range 200 {
		cfg.Seed[0], cfg.Seed[1] = byte(site), byte(site>>4)
		e := NewEngine(cfg)
		limit := func(at time.Time) meter.Milliamps {
			c := e.look(at, true)
			return e.profile(0, &c)
		}
		if got := limit(at.Add(-s)); got != 12_000 {
			t.Fatalf("site %d is at %d before the edge", site, got)
		}
		if got := limit(down); got != 12_000 {
			t.Fatalf("site %d is at %d after the edge", site, got)
		}
		if got := limit(at.Add(mostStagger + s)); got != 96_000 {
			t.Fatalf("site %d is still at %d", site, got)
		}
		if got := limit(down.Add(-mostStagger - s)); got != 24_000 {
			t.Fatalf("site %d is at %d long before the edge", site, got)
		}
		for quarter := range 4 {
			if limit(at.Add(time.Duration(quarter)*225*s)) == 96_000 {
				up[quarter]++
			}
		}
	}
	if up[1] < 20 || up[2] < up[1]+20 || up[3] < up[2]+20 {
		t.Errorf("sites at their night limit by quarter of the 900 s: %v", up)
	}
}

// The table of the week says what a second-by-second look at the periods says.
func TestProfileIsWhatItsPeriodsSay(t *testing.T) {
	place := london(t)
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		cfg.Place = place
		for range rapid.IntRange(1, 6).Draw(rt, "periods") {
			p := Period{From: rapid.IntRange(0, dayMinutes-1).Draw(rt, "from"), To: rapid.IntRange(0, dayMinutes).Draw(rt, "to"),
				Limit: meter.Milliamps(rapid.IntRange(0, 96).Draw(rt, "amps")) * 1000}
			for d := range p.Days {
				p.Days[d] = rapid.Bool().Draw(rt, "day")
			}
			cfg.Groups[0].Profile = append(cfg.Groups[0].Profile, p)
		}
		e := NewEngine(cfg)
		stagger := rapid.IntRange(0, 900).Draw(rt, "stagger")
		e.weeks[0].stagger = stagger
		plain := func(at time.Time) meter.Milliamps {
			local := at.In(place)
			minute, limit, any := local.Hour()*60+local.Minute(), cfg.Groups[0].Failsafe, false
			for _, p := range cfg.Groups[0].Profile {
				yesterday := p.Days[(local.Weekday()+6)%7]
				today := p.Days[local.Weekday()]
				in := today && minute >= p.From && (minute < p.To || p.To <= p.From) || yesterday && p.To <= p.From && minute < p.To
				if in && (!any || p.Limit < limit) {
					limit, any = p.Limit, true
				}
			}
			return limit
		}
		// Around both changes of the clocks and on any other day.
		around := rapid.SampledFrom([]time.Time{
			time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC),
			time.Date(2026, 7, 4, 23, 0, 0, 0, time.UTC), time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)}).Draw(rt, "around")
		at := around.Add(time.Duration(rapid.IntRange(-3*3600, 3*3600).Draw(rt, "seconds")) * s)
		want := meter.Milliamps(1 << 40)
		twice := time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)
		from, to := at.Add(-time.Duration(stagger)*s), at.Add(time.Duration(stagger)*s)
		if from.Before(twice.Add(h)) && !to.Before(twice.Add(-h)) {
			if from.After(twice.Add(-h)) {
				from = twice.Add(-h)
			}
			if last := twice.Add(h - s); to.Before(last) {
				to = last
			}
		}
		for u := from; !u.After(to); u = u.Add(s) {
			want = min(want, plain(u))
		}
		c := e.look(at, true)
		if got := e.profile(0, &c); got != want {
			rt.Fatalf("at %s, stagger %d s: %d, want %d", at.In(place), stagger, got, want)
		}
		if low := e.weeks[0].lowest; low > want {
			rt.Fatalf("the lowest is %d, but %d is there", low, want)
		}
	})
}
