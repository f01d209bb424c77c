package window

import (
	"testing"
	"time"

	"lvagent/meter"
)

func supply(dips, swells, interruptions int64) *meter.SupplyReading {
	count := func(n int64) meter.Sample[meter.Count] {
		if n < 0 {
			return meter.Sample[meter.Count]{Reason: meter.NotSupported}
		}
		return meter.Sample[meter.Count]{Value: meter.Count(n), Quality: meter.Good}
	}
	return &meter.SupplyReading{Dips: count(dips), Swells: count(swells), Interruptions: count(interruptions)}
}

func TestEventsThatTheMeterCounts(t *testing.T) {
	const none = -1
	for _, tt := range []struct {
		name   string
		before *meter.SupplyReading // then a restart, where there is one
		said   []*meter.SupplyReading
		want   bool
	}{
		{"the first count is a beginning", nil, []*meter.SupplyReading{supply(7, 0, 0)}, false},
		{"no change", nil, []*meter.SupplyReading{supply(7, 1, 2), supply(7, 1, 2)}, false},
		{"a dip", nil, []*meter.SupplyReading{supply(7, 1, 2), supply(8, 1, 2)}, true},
		{"a swell", nil, []*meter.SupplyReading{supply(7, 1, 2), supply(7, 2, 2)}, true},
		{"an interruption", nil, []*meter.SupplyReading{supply(7, 1, 2), supply(7, 1, 3)}, true},
		{"what is missing for a while has not risen", nil, []*meter.SupplyReading{supply(7, none, none), supply(none, none, none), supply(7, none, none)}, false},
		{"a rise is seen over a silence", nil, []*meter.SupplyReading{supply(7, none, none), supply(none, none, none), supply(8, none, none)}, true},
		{"reset to 0", nil, []*meter.SupplyReading{supply(7, 0, 0), supply(0, 0, 0)}, false},
		{"started anew and counted since", nil, []*meter.SupplyReading{supply(7, 0, 0), supply(2, 0, 0)}, true},
		{"while the agent was down", supply(7, 0, 0), []*meter.SupplyReading{supply(8, 0, 0)}, true},
		{"nothing while the agent was down", supply(7, 0, 0), []*meter.SupplyReading{supply(7, 0, 0)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(10 * s)
			g.advance(0)
			if tt.before != nil {
				g.w.Supply(tt.before)
				g.restart(t, 0)
				g.advance(0)
			}
			for _, r := range tt.said {
				g.w.Supply(r)
			}
			g.advance(11 * s)
			g.advance(21 * s)
			if got := g.out[0].Flags&meter.PQEvent != 0; got != tt.want {
				t.Errorf("flags %v", g.out[0].Flags.Names())
			}
			if g.out[1].Flags&meter.PQEvent != 0 {
				t.Error("the next period is flagged too")
			}
		})
	}
}

func TestSettingsThatChange(t *testing.T) {
	wrong := func(at time.Duration) meter.Reading {
		r := reading(at, 230_000, 5000, 0, 0, 0)
		for p := range r.Phase {
			r.Phase[p].I.Quality, r.Phase[p].I.Reason = meter.Suspect, meter.Mismatch
		}
		return r
	}
	good := func(at time.Duration) meter.Reading { return reading(at, 230_000, 5000, 0, 0, 0) }
	silent := func(at time.Duration) meter.Reading { return failed(at, meter.NoAnswer) }
	type poll func(time.Duration) meter.Reading
	for _, tt := range []struct {
		name          string
		first, second []poll // period
		restart       bool   // in between
		settings      string // after it
		want          [2]bool
	}{
		{"all is well", []poll{good, good}, []poll{good}, false, "", [2]bool{}},
		{"the ratio changes", []poll{good, wrong}, []poll{wrong}, false, "", [2]bool{true, false}},
		{"and back", []poll{wrong}, []poll{wrong, good}, false, "", [2]bool{true, true}},
		{"a silence is no change", []poll{wrong}, []poll{silent, wrong}, false, "", [2]bool{true, false}},
		{"it was so before the restart", []poll{wrong}, []poll{wrong}, true, "a", [2]bool{true, false}},
		{"the site file changed", []poll{good}, []poll{good}, true, "b", [2]bool{false, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(10 * s)
			g.cfg.Settings = "a"
			g.w = New(g.cfg)
			g.advance(0)
			for k, p := range tt.first {
				r := p(time.Duration(k+1) * s)
				g.w.Add(&r)
			}
			g.advance(11 * s)
			if tt.restart {
				g.cfg.Settings = tt.settings
				g.restart(t, 11*s)
				g.advance(11 * s)
			}
			for k, p := range tt.second {
				r := p(time.Duration(k+12) * s)
				g.w.Add(&r)
			}
			g.advance(21 * s)
			for k, h := range g.out {
				if got := h.Flags&meter.ConfigChanged != 0; got != tt.want[k] {
					t.Errorf("period %d: %v", k, h.Flags.Names())
				}
			}
		})
	}
}

func TestHeldIsReportedApart(t *testing.T) {
	for _, tt := range []struct {
		name  string
		polls []time.Duration
		want  time.Duration
	}{
		{"every poll", []time.Duration{0, s, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 7 * s, 8 * s, 9 * s}, 0},
		{"jitter within a quarter", []time.Duration{0, 1250 * ms, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 7 * s, 8 * s, 9 * s}, 0},
		{"one late by more", []time.Duration{0, 1251 * ms, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 7 * s, 8 * s, 9 * s}, ms},
		{"one left out", []time.Duration{0, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 7 * s, 8 * s, 9 * s}, 750 * ms},
		{"held to its end", []time.Duration{0, 5 * s}, 2 * 1250 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(10 * s)
			g.advance(0)
			for _, at := range tt.polls {
				g.add(at, 5)
			}
			g.advance(11 * s)
			if h := g.out[0]; h.Held != tt.want || h.Expected != 10 {
				t.Errorf("held %v of %d polls, want %v", h.Held, h.Expected, tt.want)
			}
		})
	}
}

func TestThresholdsOfCoverage(t *testing.T) {
	g := newRig(10 * s)
	g.cfg.Partial, g.cfg.Invalid = meter.Whole, 500_000
	g.w = New(g.cfg)
	g.advance(0)
	g.poll(0, 5*s, 5)
	g.fail(5*s, meter.Sentinel)
	g.advance(11 * s)
	g.poll(11*s, 15*s, 5)
	g.fail(15*s-ms, meter.Sentinel)
	g.advance(21 * s)
	g.expect(t, row{"00:00:00", 0, 500_000, 5, meter.Boot | meter.Partial}, row{"00:00:10", 0, 399_900, 4, low})
}
