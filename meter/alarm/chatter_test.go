package alarm

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"lvagent/meter"
)

// flips shows L1 far above and far below in turn, a second each, from up to to.
func flips(from, to time.Duration) (out []sample) {
	for t := from; t <= to; t += s {
		v := int64(400_000)
		if t/s%2 == 1 {
			v = 1_000
		}
		out = append(out, at(t, v))
	}
	return out
}

func TestChatter(t *testing.T) {
	quick := with(hi, func(r *Rule) { r.OnDelay, r.OffDelay = 0, 0 })
	tests := []struct {
		name    string
		in      []sample
		want    []string
		count   int // of the last edge
		chatter bool
	}{
		{"twice is no chatter", history(flips(0, 3*s), steady(4*s, 100*s, 1_000)),
			[]string{"raise 0s", "clear 1s", "raise 2s", "clear 3s"}, 1, false},
		{"the third raise within a minute stays", history(flips(0, 11*s), steady(12*s, 100*s, 1_000)),
			[]string{"raise 0s", "clear 1s", "raise 2s", "clear 3s", "raise 4s chattering"}, 1, true},
		{"until it is stable, with its count", history(flips(0, 11*s), steady(12*s, 400*s, 1_000)),
			[]string{"raise 0s", "clear 1s", "raise 2s", "clear 3s", "raise 4s chattering", "clear 5m11s chattering"}, 4, true},
		{"a last one just before it is stable", history(flips(0, 4*s), steady(5*s, 300*s, 1_000), at(301*s, 400_000), steady(302*s, 700*s, 1_000)),
			[]string{"raise 0s", "clear 1s", "raise 2s", "clear 3s", "raise 4s chattering", "clear 10m2s chattering"}, 2, true},
		{"stable on the wrong side: an alarm like any other", history(flips(0, 4*s), steady(5*s, 310*s, 400_000), at(311*s, 1_000)),
			[]string{"raise 0s", "clear 1s", "raise 2s", "clear 3s", "raise 4s chattering", "clear 5m11s"}, 1, false},
		{"raises that are a minute apart", history(flips(0, 2*s), steady(3*s, 60*s, 1_000), at(61*s, 400_000), at(62*s, 1_000)),
			[]string{"raise 0s", "clear 1s", "raise 2s", "clear 3s", "raise 1m1s", "clear 1m2s"}, 1, false},
		{"the third exactly a minute after the first", history(flips(0, 2*s), steady(3*s, 59*s, 1_000), at(60*s, 400_000)),
			[]string{"raise 0s", "clear 1s", "raise 2s", "clear 3s", "raise 1m0s chattering"}, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, onlyRules, quick)
			var got []string
			var last meter.Alarm
			for _, x := range tt.in {
				r := x.reading(quick)
				for _, e := range m.Add(&r, begin.Add(x.at)) {
					text := fmt.Sprintf("%v %v", e.Edge, x.at)
					if e.Chatter {
						text += " chattering"
					}
					got, last = append(got, text), e
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("edges\n got %q\nwant %q", got, tt.want)
			}
			if last.Raises != tt.count || last.Chatter != tt.chatter {
				t.Errorf("last edge stands for %d, chattering %v; want %d, %v", last.Raises, last.Chatter, tt.count, tt.chatter)
			}
		})
	}
	t.Run("a restart does not end it", func(t *testing.T) {
		a, b := must(t, onlyRules, quick), must(t, onlyRules, quick)
		for _, x := range flips(0, 11*s) {
			r := x.reading(quick)
			a.Add(&r, begin.Add(x.at))
		}
		restart(t, a, b, 0, begin.Add(12*s))
		var edges []meter.Alarm
		for _, x := range steady(0, 300*s, 1_000) {
			r := x.reading(quick)
			edges = append(edges, b.Add(&r, begin.Add(12*s+x.at))...)
		}
		if len(edges) != 1 || !edges[0].Chatter || edges[0].Raises != 4 || !edges[0].At.Equal(begin.Add(312*s)) {
			t.Errorf("edges %+v, want one clear 300 s after the restart that stands for 4", edges)
		}
	})
	t.Run("never", func(t *testing.T) {
		cfg := onlyRules
		cfg.Chatter.Raises = -1
		m, n := must(t, cfg, quick), 0
		for _, x := range flips(0, 99*s) {
			r := x.reading(quick)
			n += len(m.Add(&r, begin.Add(x.at)))
		}
		if n != 100 {
			t.Errorf("%d edges, want one a second", n)
		}
	})
}

// A latched alarm is over when its value is back and somebody has seen it, in
// whichever order.
func TestLatch(t *testing.T) {
	rule := with(hi, func(r *Rule) { r.OnDelay, r.OffDelay, r.Latch = 0, 2*s, true })
	far, low := int64(400_000), int64(1_000)
	type ack struct {
		at time.Duration
		is bool
	}
	tests := []struct {
		name   string
		in     []sample
		acks   []ack
		want   []string
		stands string
	}{
		{"not acknowledged", history(at(0, far), steady(s, 99*s, low)), nil, []string{"raise 0s"}, "latched"},
		{"acknowledged after", history(at(0, far), steady(s, 99*s, low)), []ack{{50 * s, true}}, []string{"raise 0s", "clear 50s by anna"}, ""},
		{"acknowledged before", history(steady(0, 10*s, far), steady(11*s, 99*s, low)), []ack{{5 * s, true}}, []string{"raise 0s", "clear 13s by anna"}, ""},
		{"acknowledged while it clears", history(at(0, far), steady(s, 99*s, low)), []ack{{2 * s, true}}, []string{"raise 0s", "clear 3s by anna"}, ""},
		{"nothing to acknowledge", steady(0, 99*s, low), []ack{{5 * s, false}}, nil, ""},
		{"twice", history(at(0, far), steady(s, 99*s, low)), []ack{{50 * s, true}, {51 * s, false}}, []string{"raise 0s", "clear 50s by anna"}, ""},
		{"again while latched", history(at(0, far), steady(s, 19*s, low), steady(20*s, 29*s, far), steady(30*s, 99*s, low)), nil, []string{"raise 0s"}, "latched"},
		{"again while latched, acknowledged the first time only", history(at(0, far), steady(s, 9*s, low), steady(10*s, 29*s, far), steady(30*s, 99*s, low)),
			[]ack{{15 * s, true}}, []string{"raise 0s", "clear 32s by anna"}, ""},
		{"the acknowledgement is of what was seen", history(steady(0, 5*s, far), steady(6*s, 99*s, low)), []ack{{2 * s, true}}, []string{"raise 0s", "clear 8s by anna"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, onlyRules, rule)
			var got []string
			tell := func(at time.Duration, edges []meter.Alarm) {
				for _, e := range edges {
					text := fmt.Sprintf("%v %v", e.Edge, at)
					if e.Acked != "" {
						text += " by " + e.Acked
					}
					got = append(got, text)
				}
			}
			for _, x := range tt.in {
				r := x.reading(rule)
				tell(x.at, m.Add(&r, begin.Add(x.at)))
				for _, a := range tt.acks {
					if a.at != x.at {
						continue
					}
					edges, ok := m.Ack(rule.ID(), "anna", x.at, begin.Add(x.at))
					if tell(x.at, edges); ok != a.is {
						t.Errorf("acknowledged at %v: %v, want %v", x.at, ok, a.is)
					}
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
			stands := ""
			for _, a := range m.Active(nil) {
				stands = a.Stands.String()
			}
			if stands != tt.stands {
				t.Errorf("stands %q, want %q", stands, tt.stands)
			}
			if id, any := m.Live(); any {
				t.Errorf("real-time readings for %s, which is over", id)
			}
		})
	}
	t.Run("another occurrence while chattering wants another acknowledgement", func(t *testing.T) {
		m := must(t, onlyRules, with(rule, func(r *Rule) { r.OffDelay = 0 }))
		ack := func(at time.Duration) bool {
			_, ok := m.Ack(rule.ID(), "anna", at, begin.Add(at))
			return ok
		}
		cleared := 0
		for _, x := range history(flips(0, 11*s), steady(12*s, 700*s, low)) {
			r := x.reading(rule)
			for _, e := range m.Add(&r, begin.Add(x.at)) {
				if e.Edge == meter.Clear {
					cleared++
				}
			}
			if x.at <= 5*s {
				ack(x.at) // the first two, and the one that chatters from the start
			}
		}
		if all := m.Active(nil); len(all) != 1 || all[0].Stands != meter.Latched || all[0].Acked != "" {
			t.Errorf("active %+v, want one that is latched and not acknowledged; %d clears", all, cleared)
		}
	})
	t.Run("latched over a restart", func(t *testing.T) {
		a, b := must(t, onlyRules, rule), must(t, onlyRules, rule)
		for _, x := range history(at(0, far), steady(s, 9*s, low)) {
			r := x.reading(rule)
			a.Add(&r, begin.Add(x.at))
		}
		restart(t, a, b, 0, begin.Add(20*s))
		if all := b.Active(nil); len(all) != 1 || all[0].Stands != meter.Latched {
			t.Fatalf("active %+v, want one that is latched", all)
		}
		edges, ok := b.Ack(rule.ID(), "anna", s, begin.Add(21*s))
		if !ok || len(edges) != 1 || edges[0].Edge != meter.Clear || edges[0].Duration != 21*s {
			t.Errorf("edges %+v, want a clear after 21 s", edges)
		}
	})
	t.Run("one without a latch is the master's to acknowledge", func(t *testing.T) {
		m := must(t, onlyRules, hi)
		for _, x := range steady(0, 9*s, far) {
			r := x.reading(hi)
			m.Add(&r, begin.Add(x.at))
		}
		if _, ok := m.Ack(hi.ID(), "anna", 9*s, begin); ok {
			t.Error("acknowledged")
		}
	})
}

func TestFlood(t *testing.T) {
	const minute = time.Minute
	tests := []struct {
		name   string
		raises []time.Duration
		flood  int // of them are in a flood
		now    time.Duration
		count  int
		on     bool
	}{
		{"ten in ten minutes", spread(10, 0, minute), 0, 10 * minute, 0, false},
		{"eleven in ten minutes", spread(11, 0, minute), 1, 10 * minute, 11, true},
		{"eleven in a little more", append(spread(10, 0, minute), 10*minute+ms), 0, 10 * minute, 0, false},
		{"all at once", spread(30, 0, 0), 20, 0, 30, true},
		{"goes on while half as many come", append(spread(11, 0, 0), spread(6, 8*minute, minute)...), 7, 18 * minute, 17, true},
		{"over when fewer come", append(spread(11, 0, 0), spread(6, 8*minute, minute)...), 7, 18*minute + ms, 17, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var f Flood
			got := 0
			for _, at := range tt.raises {
				if f.Raise(at) {
					got++
				}
			}
			count, on := f.On(tt.now)
			if got != tt.flood || on != tt.on || on && count != tt.count {
				t.Errorf("%d raises in a flood, on %v of %d; want %d, %v of %d", got, on, count, tt.flood, tt.on, tt.count)
			}
		})
	}
}

func spread(n int, from, every time.Duration) (out []time.Duration) {
	for k := range n {
		out = append(out, from+time.Duration(k)*every)
	}
	return out
}
