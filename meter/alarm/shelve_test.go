package alarm

import (
	"reflect"
	"testing"
	"time"

	"lvagent/meter"
)

func shelf(id string, until time.Duration, out bool) meter.Shelf {
	return meter.Shelf{ID: id, OutOfService: out, By: "anna", Why: "test", Since: begin, Until: begin.Add(until)}
}

func TestShelve(t *testing.T) {
	rule := with(hi, func(r *Rule) { r.OnDelay, r.OffDelay = 0, 0 })
	far, low := int64(400_000), int64(1_000)
	tests := []struct {
		name  string
		in    []sample
		from  time.Duration
		until time.Duration
		out   bool
		want  []string
	}{
		{"raised meanwhile and still there at the end", history(steady(0, 9*s, low), steady(10*s, 40*s, far)), 5 * s, 20 * s, false, []string{"raise 20s"}},
		{"came and went meanwhile", history(steady(0, 9*s, low), steady(10*s, 15*s, far), steady(16*s, 40*s, low)), 5 * s, 20 * s, false, nil},
		{"stood before, went meanwhile: its clear is told", history(steady(0, 9*s, far), steady(10*s, 40*s, low)), 5 * s, 20 * s, false, []string{"raise 0s", "clear 10s"}},
		{"stood before and after", steady(0, 40*s, far), 5 * s, 20 * s, false, []string{"raise 0s"}},
		{"out of service: one that stands is cleared", steady(0, 40*s, far), 5 * s, 20 * s, true, []string{"raise 0s", "clear 5s", "raise 21s"}},
		{"out of service: nothing is watched", history(steady(0, 9*s, low), steady(10*s, 15*s, far), steady(16*s, 40*s, low)), 5 * s, 20 * s, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := must(t, onlyRules, rule)
			var got []string
			tell := func(at time.Duration, edges []meter.Alarm) {
				for _, e := range edges {
					got = append(got, e.Edge.String()+" "+at.String())
					if e.Edge == meter.Clear && e.OutOfService != tt.out {
						t.Errorf("out of service %v: %+v", tt.out, e)
					}
				}
			}
			for _, x := range tt.in {
				r := x.reading(rule)
				tell(x.at, m.Add(&r, begin.Add(x.at)))
				if x.at == tt.from {
					edges, ok := m.Shelve(shelf(rule.ID(), tt.until, tt.out), x.at, begin.Add(x.at))
					if tell(x.at, edges); !ok {
						t.Fatal("not shelved")
					}
				}
				if id, any := m.Live(); any && x.at >= tt.from && x.at < tt.until {
					t.Errorf("real-time readings for %s at %v, which is shelved", id, x.at)
				}
				tell(x.at, m.Expire(begin.Add(x.at)))
				if n := len(m.Shelves(nil)); (n == 1) != (x.at >= tt.from && x.at < tt.until) {
					t.Errorf("%d shelves at %v", n, x.at)
				}
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
		})
	}
	t.Run("of nothing known", func(t *testing.T) {
		m := must(t, onlyRules, rule)
		if _, ok := m.Shelve(shelf("W3.L9.i.hi", s, false), 0, begin); ok {
			t.Error("shelved")
		}
		if _, ok := m.Unshelve(rule.ID(), begin); ok {
			t.Error("there was nothing to end")
		}
	})
	t.Run("ended by hand", func(t *testing.T) {
		m := must(t, onlyRules, rule)
		m.Shelve(shelf(rule.ID(), 99*s, false), 0, begin)
		r := at(s, far).reading(rule)
		if edges := m.Add(&r, begin.Add(s)); len(edges) != 0 {
			t.Errorf("edges %+v while shelved", edges)
		}
		if all := m.Shelves(nil); len(all) != 1 || !all[0].Standing || all[0].By != "anna" {
			t.Errorf("shelves %+v, want one whose condition holds", all)
		}
		if edges, ok := m.Unshelve(rule.ID(), begin.Add(2*s)); !ok || len(edges) != 1 || !edges[0].At.Equal(begin.Add(2*s)) {
			t.Errorf("edges %+v, want a raise now", edges)
		}
	})
	t.Run("a rule that is gone after a restart: nobody was told of its raise", func(t *testing.T) {
		a, b := must(t, onlyRules, rule), must(t, onlyRules)
		a.Shelve(shelf(rule.ID(), 60*s, false), 0, begin)
		r := at(s, far).reading(rule)
		a.Add(&r, begin.Add(s))
		if edges := restart(t, a, b, 0, begin.Add(10*s)); len(edges) != 0 || len(b.Shelves(nil)) != 0 {
			t.Errorf("edges %+v, shelves %+v, want none", edges, b.Shelves(nil))
		}
	})
	t.Run("over a restart", func(t *testing.T) {
		a, b, c := must(t, onlyRules, rule), must(t, onlyRules, rule), must(t, onlyRules, rule)
		a.Shelve(shelf(rule.ID(), 60*s, false), 0, begin)
		r := at(s, far).reading(rule)
		a.Add(&r, begin.Add(s))
		if edges := restart(t, a, b, 0, begin.Add(10*s)); len(edges) != 0 || len(b.Active(nil)) != 0 || len(b.Shelves(nil)) != 1 {
			t.Errorf("edges %+v, active %+v after the restart", edges, b.Active(nil))
		}
		restart(t, b, c, 0, begin.Add(70*s))
		if edges := c.Expire(begin.Add(70 * s)); len(edges) != 1 || edges[0].Edge != meter.Raise {
			t.Errorf("edges %+v, want the raise that was held back", edges)
		}
	})
}

// Whoever must act on a condition is not put off by its shelf.
func TestAShelfHidesNothingFromTheEngine(t *testing.T) {
	m := must(t, only(FuseSuspected))
	m.Shelve(shelf("W3.L1.FUSE_SUSPECTED", time.Hour, false), 0, begin)
	for _, x := range story(every(0, 5*s, 230_000, 120_000, 1), shown{at: 6 * s, v: 230_000}) {
		r := x.reading()
		if edges := m.Add(&r, begin.Add(x.at)); len(edges) != 0 {
			t.Errorf("edges %+v", edges)
		}
	}
	if !m.Stands(FuseSuspected, meter.L1) || m.Stands(FuseSuspected, meter.L2) {
		t.Errorf("stands on L1 %v, on L2 %v; want L1 only", m.Stands(FuseSuspected, meter.L1), m.Stands(FuseSuspected, meter.L2))
	}
}
