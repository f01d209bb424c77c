package message

import (
	"time"

	"lvagent/meter"
)

// SupplyStream returns the stream of a way's weekly reports on its supply.
func SupplyStream(way string) string { return "pq/" + way }

// AppendSupplyWeek appends a week's report on the supply of one way, without its
// number (R5). Shares are in percent. It is called indicative because no poll
// sees what lies between two of them.
func AppendSupplyWeek(dst []byte, agent string, s *meter.SupplyWeek) []byte {
	w := head(dst, agent)
	w.text("way", s.Way)
	w.second("start", s.Start)
	w.second("end", s.End)
	w.flag("whole", s.Whole)
	w.text("class", "indicative")
	w.integer("expected", int64(s.Expected))
	w.integer("flagged", int64(s.Flagged))
	w.integer("suspect", int64(s.Suspect))
	w.decimal("offset_v", int64(s.Offset), tenths)
	for i, p := range s.Phase {
		if p == nil {
			w.null(meter.Phase(i).String())
			continue
		}
		w.supplyPhase(meter.Phase(i).String(), p)
	}
	w.spread("vuf", s.VUF)
	w.spread("pvur_approx", s.PVUR)
	if f := s.Frequency; f == nil {
		w.null("frequency")
	} else {
		w.open("frequency")
		w.integer("readings", f.Readings)
		w.integer("out_1pc", f.OutOf1)
		w.decimal("min", int64(f.Min), full)
		w.decimal("max", int64(f.Max), full)
		w.shut()
	}
	w.events("dips", s.Dips)
	w.events("swells", s.Swells)
	w.events("interruptions", s.Interruptions)
	w.integer("doubtful_counts", int64(s.Doubtful))
	w.shut()
	return w.b
}

func (w *writer) supplyPhase(name string, p *meter.SupplyPhase) {
	w.open(name)
	w.integer("intervals", int64(p.Intervals))
	if p.Intervals == 0 {
		w.null("v")
	} else {
		w.open("v")
		w.decimal("min", int64(p.Min), full)
		w.time("min_t", p.MinAt, secondLayout)
		w.decimal("p5", int64(p.P5), full)
		w.decimal("median", int64(p.Median), full)
		w.decimal("p95", int64(p.P95), full)
		w.decimal("max", int64(p.Max), full)
		w.time("max_t", p.MaxAt, secondLayout)
		w.shut()
	}
	w.integer("out_10pc", int64(p.OutOf10))
	w.integer("out_range", int64(p.OutOfRange))
	w.integer("out_range_unflagged", int64(p.OutUnflagged))
	w.integer("below_statutory", int64(p.Below))
	w.integer("above_statutory", int64(p.Above))
	w.integer("dead_readings", int64(p.Dead))
	w.text("en50160", p.Verdict.String())
	w.spread("thd_v", p.THDV)
	w.shut()
}

// spread writes shares in percent.
func (w *writer) spread(name string, s *meter.Spread) {
	if s == nil {
		w.null(name)
		return
	}
	w.open(name)
	w.integer("intervals", int64(s.Intervals))
	w.decimal("p95", int64(s.P95)/10, full)
	w.decimal("max", int64(s.Max)/10, full)
	if s.Limit > 0 {
		w.decimal("limit", int64(s.Limit)/10, full)
		w.integer("over", int64(s.Over))
		w.text("verdict", s.Verdict.String())
	}
	w.shut()
}

func (w *writer) events(name string, n *int64) {
	if n == nil {
		w.null(name)
		return
	}
	w.integer(name, *n)
}

// SupplyWeeks writes several reports as one array, for people on site.
func SupplyWeeks(agent string, t time.Time, weeks []meter.SupplyWeek) []byte {
	w := head(nil, agent)
	w.instant("t", t)
	w.openArray("ways")
	for i := range weeks {
		w.raw("", AppendSupplyWeek(nil, agent, &weeks[i]))
	}
	w.shutArray()
	w.shut()
	return w.b
}
