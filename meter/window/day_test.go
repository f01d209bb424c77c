package window

import (
	"cmp"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"lvagent/meter"
)

const (
	s  = time.Second
	ms = time.Millisecond
	m  = time.Minute
)

// reading returns a reading with every value good.
func reading(at time.Duration, v, i, p, q, n int64) meter.Reading {
	r := meter.Reading{At: at, Neutral: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(n), Quality: meter.Good}}
	for ph := range r.Phase {
		// Each phase differs, so that a mix-up of phases shows.
		k := int64(ph)
		r.Phase[ph] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: meter.Millivolts(v + 100*k), Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: meter.Milliamps(i + 10*k), Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: meter.Milliwatts(p + 1000*k), Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Value: meter.Millivars(q - 1000*k), Quality: meter.Good},
		}
	}
	return r
}

// failed returns a poll without an answer, or with an explicit refusal.
func failed(at time.Duration, why meter.Reason) meter.Reading {
	r := meter.Reading{At: at}
	r.Fail(why)
	return r
}

// stretch is a value that stood from, to in milliseconds of the monotonic scale,
// and was past its poll from stale on.
type stretch struct {
	from, to, stale int64
	v               [4]int64
}

// epoch is a stretch of the monotonic scale with one idea of the wall clock.
type epoch struct {
	from, to time.Duration
	offset   time.Duration // wall minus monotonic, from 1970
}

// naive works out a record the long way: it lists when which value stood, cuts
// the list at the period, once by each idea of the wall clock, and sums with big
// numbers.
type naive struct {
	cfg    Config
	epochs []epoch
	ends   []time.Duration // restarts: nothing stood beyond the poll before one
	polls  []meter.Reading
	stood  [4][]stretch // L1, L2, L3, neutral
}

func (n *naive) prepare() {
	for ch := range n.stood {
		ends := func(r *meter.Reading) bool { // a poll that ends what stood before
			good, why := n.channel(r, ch)
			return good || why != meter.NoAnswer
		}
		for k := range n.polls {
			r := &n.polls[k]
			if good, _ := n.channel(r, ch); !good {
				continue
			}
			to := r.At + n.cfg.Hold
			for j := k + 1; j < len(n.polls) && n.polls[j].At < to; j++ {
				if ends(&n.polls[j]) {
					to = n.polls[j].At
				}
			}
			for _, end := range n.ends {
				if r.At < end && end < to {
					to = r.At // by the last poll before end, if there is one
					for j := k + 1; j < len(n.polls) && n.polls[j].At < end; j++ {
						to = n.polls[j].At
					}
				}
			}
			stale := (r.At + n.cfg.Hold/2).Milliseconds()
			n.stood[ch] = append(n.stood[ch], stretch{r.At.Milliseconds(), to.Milliseconds(), stale, n.values(r, ch)})
		}
	}
}

func (n *naive) channel(r *meter.Reading, ch int) (bool, meter.Reason) {
	if ch == meter.Phases {
		return r.Neutral.Quality != meter.Missing, r.Neutral.Reason
	}
	p := &r.Phase[ch]
	return p.Quality() != meter.Missing, p.Reason()
}

func (n *naive) values(r *meter.Reading, ch int) [4]int64 {
	if ch == meter.Phases {
		return [4]int64{0, int64(r.Neutral.Value)}
	}
	p := &r.Phase[ch]
	return [4]int64{int64(p.V.Value), int64(p.I.Value), int64(p.P.Value), int64(p.Q.Value)}
}

// sums of f(value) x duration over the stretches.
func sum(st []stretch, f func(v [4]int64) *big.Int) (*big.Int, int64) {
	total, weight := new(big.Int), int64(0)
	for _, x := range st {
		total.Add(total, new(big.Int).Mul(f(x.v), big.NewInt(x.to-x.from)))
		weight += x.to - x.from
	}
	return total, weight
}

func cut(st []stretch, from, to int64) []stretch {
	var out []stretch
	for _, x := range st {
		if x.from, x.to = max(x.from, from), min(x.to, to); x.from < x.to {
			out = append(out, x)
		}
	}
	return out
}

// during returns what of st and of the polls has a label in the period at start.
func (n *naive) during(start time.Time, ch int) (st []stretch) {
	for _, e := range n.epochs {
		from := time.Duration(start.UnixNano()) - e.offset
		to := min(from+n.cfg.Period, e.to)
		from = max(from, e.from)
		st = append(st, cut(n.stood[ch], from.Milliseconds(), to.Milliseconds())...)
	}
	return st
}

func (n *naive) pollsOf(start time.Time) (in []*meter.Reading) {
	for k := range n.polls {
		r := &n.polls[k]
		if at := n.label(r.At); !at.Before(start) && at.Before(start.Add(n.cfg.Period)) {
			in = append(in, r)
		}
	}
	return in
}

func (n *naive) label(at time.Duration) time.Time {
	for _, e := range n.epochs {
		if e.from <= at && at < e.to {
			return time.Unix(0, int64(at+e.offset)).UTC()
		}
	}
	return time.Time{}
}

func (n *naive) record(start time.Time, flags meter.Flags) meter.HalfHour {
	h := meter.HalfHour{
		Way: n.cfg.Way, Start: start, End: start.Add(n.cfg.Period), Expected: int(n.cfg.Period * 5 / 2 / n.cfg.Hold),
		Coverage: meter.Whole, Clock: meter.Synced, Flags: flags,
	}
	in := n.pollsOf(start)
	expected := 0
	for ch := range meter.Phases {
		st := n.during(start, ch)
		h.Phase[ch] = n.phase(ch, in, st)
		if n.cfg.Expect[ch] {
			if h.Phase[ch] == nil {
				h.Coverage = 0
			} else {
				expected++
				h.Coverage = min(h.Coverage, h.Phase[ch].Coverage)
			}
			held := int64(0)
			for _, x := range st {
				held += max(0, x.to-max(x.from, x.stale))
			}
			if h.Phase[ch] != nil {
				h.Held = max(h.Held, time.Duration(held)*time.Millisecond)
			}
		}
	}
	for _, r := range in {
		complete := true
		seen := func(good bool, why meter.Reason, q meter.Quality) {
			if !good && why&meter.NoAnswer != 0 {
				h.Flags |= meter.CommLoss
			}
			if !good && why&meter.NotSupported != 0 {
				h.Flags |= meter.Unavailable
			}
			if good && q == meter.Suspect {
				h.Flags |= meter.Questioned
			}
		}
		for ch := range meter.Phases {
			if n.cfg.Expect[ch] {
				good, why := n.channel(r, ch)
				complete = complete && good
				seen(good, why, r.Phase[ch].Quality())
			}
		}
		good, why := n.channel(r, meter.Phases)
		seen(good, why, r.Neutral.Quality)
		if good && why&meter.Derived != 0 {
			h.Flags |= meter.DerivedN
		}
		if complete {
			h.Samples++
		} else {
			h.Bad++
		}
	}
	if st := n.during(start, meter.Phases); len(st) > 0 {
		if x, ok := n.stats(st, in, meter.Phases, 1); ok {
			h.Neutral, h.Derived = &x, h.Flags&meter.DerivedN != 0
		}
	}
	wanted := 0
	for _, e := range n.cfg.Expect {
		if e {
			wanted++
		}
	}
	if expected == wanted {
		h.Total = n.total(start)
	}
	if expected == 0 {
		h.Flags |= meter.NoData
	}
	if float64(h.Coverage) < 0.90*1e6 {
		h.Flags |= meter.Invalid
	}
	if float64(h.Coverage) < 0.98*1e6 {
		h.Flags |= meter.Partial
	}
	return h
}

func (n *naive) phase(ch int, in []*meter.Reading, st []stretch) *meter.PhasePeriod {
	v, ok := n.stats(st, in, ch, 0)
	if !ok {
		return nil
	}
	i, _ := n.stats(st, in, ch, 1)
	_, weight := sum(st, func([4]int64) *big.Int { return new(big.Int) })
	return &meter.PhasePeriod{
		V: v, I: i, P: n.flow(st, in, ch, 2), Q: n.flow(st, in, ch, 3),
		Coverage: min(meter.Whole, meter.PPM(weight*1_000_000/n.cfg.Period.Milliseconds())),
	}
}

func (n *naive) stats(st []stretch, in []*meter.Reading, ch, k int) (meter.Stats, bool) {
	plain, weight := sum(st, func(v [4]int64) *big.Int { return big.NewInt(v[k]) })
	squares, _ := sum(st, func(v [4]int64) *big.Int { return new(big.Int).Mul(big.NewInt(v[k]), big.NewInt(v[k])) })
	var x meter.Stats
	any := false
	for _, r := range in {
		if good, _ := n.channel(r, ch); !good {
			continue
		}
		v := n.values(r, ch)[k]
		if !any || v < x.Min {
			x.Min = v
		}
		if !any || v > x.Max {
			x.Max, x.MaxAt = v, n.label(r.At)
		}
		any = true
	}
	if !any || weight == 0 {
		return x, false
	}
	x.Mean = rounded(plain, big.NewInt(weight))
	x.RMS = roundedRoot(squares, weight)
	return x, true
}

func (n *naive) flow(st []stretch, in []*meter.Reading, ch, k int) meter.PowerStats {
	mean, weight := sum(st, func(v [4]int64) *big.Int { return big.NewInt(v[k]) })
	imp, _ := sum(st, func(v [4]int64) *big.Int { return big.NewInt(max(v[k], 0)) })
	exp, _ := sum(st, func(v [4]int64) *big.Int { return big.NewInt(max(-v[k], 0)) })
	var all []int64
	for _, r := range in {
		if good, _ := n.channel(r, ch); good {
			all = append(all, n.values(r, ch)[k])
		}
	}
	w := big.NewInt(weight)
	return meter.PowerStats{
		Mean: rounded(mean, w), Min: slices.Min(all), Max: slices.Max(all),
		Import: rounded(imp, w), Export: rounded(exp, w),
	}
}

// total finds the stretches in which every expected phase stood, one cut of the
// first phase's list by the others after another.
func (n *naive) total(start time.Time) *meter.TotalPeriod {
	var both []stretch
	for ch := range meter.Phases {
		if !n.cfg.Expect[ch] {
			continue
		}
		st := n.during(start, ch)
		slices.SortFunc(st, func(a, b stretch) int { return cmp.Compare(a.from, b.from) })
		if both == nil {
			both = st
			continue
		}
		var next []stretch
		k := 0
		for _, a := range both {
			for k > 0 && k < len(st) && st[k].from > a.from {
				k--
			}
			for ; k < len(st) && st[k].from < a.to; k++ {
				b := st[k]
				x := stretch{max(a.from, b.from), min(a.to, b.to), 0, a.v}
				x.v[2] += b.v[2]
				x.v[3] += b.v[3]
				if x.from < x.to {
					next = append(next, x)
				}
			}
		}
		both = next
	}
	p, weight := sum(both, func(v [4]int64) *big.Int { return big.NewInt(v[2]) })
	if weight == 0 {
		return nil
	}
	q, _ := sum(both, func(v [4]int64) *big.Int { return big.NewInt(v[3]) })
	imp, _ := sum(both, func(v [4]int64) *big.Int { return big.NewInt(max(v[2], 0)) })
	exp, _ := sum(both, func(v [4]int64) *big.Int { return big.NewInt(max(-v[2], 0)) })
	w, h := big.NewInt(weight), big.NewInt(3_600_000)
	t := &meter.TotalPeriod{P: rounded(p, w), Q: rounded(q, w), ImportMWh: rounded(imp, h), ExportMWh: rounded(exp, h)}
	pp, qq := big.NewInt(t.P), big.NewInt(t.Q)
	t.S = roundedRoot(new(big.Int).Add(new(big.Int).Mul(pp, pp), new(big.Int).Mul(qq, qq)), 1)
	if t.S > 0 {
		t.PF = rounded(new(big.Int).Abs(new(big.Int).Mul(pp, big.NewInt(1000))), big.NewInt(t.S))
	}
	return t
}

// A day of five ways, each with a trouble of its own, against the long way.
func TestDayOfFiveWays(t *testing.T) {
	const poll = 5 * s
	all := [meter.Phases]bool{true, true, true}
	between := func(at time.Time, from, to string) bool {
		clock := at.Format("15:04:05")
		return from <= clock && clock < to
	}
	ways := []struct {
		name    string
		expect  [meter.Phases]bool
		trouble func(r *meter.Reading, at time.Time) bool // false: no poll at all
		check   func(t *testing.T, hh []meter.HalfHour)
	}{
		{"W1 nothing wrong", all, func(*meter.Reading, time.Time) bool { return true },
			func(t *testing.T, hh []meter.HalfHour) {
				for _, h := range hh[1:] {
					if h.Coverage != meter.Whole || h.Flags != 0 || h.Samples < 359 {
						t.Errorf("%v: coverage %d, flags %v, samples %d", h.Start, h.Coverage, h.Flags.Names(), h.Samples)
					}
				}
			}},
		{"W2 comms drop and a sentinel", all, func(r *meter.Reading, at time.Time) bool {
			if between(at, "17:03:00", "17:41:00") {
				r.Fail(meter.NoAnswer)
			}
			if between(at, "03:00:00", "03:10:00") {
				r.Phase[meter.L2].I = meter.Sample[meter.Milliamps]{Reason: meter.Sentinel}
			}
			return true
		}, func(t *testing.T, hh []meter.HalfHour) {
			if h := hh[1+34]; h.Flags&(meter.CommLoss|meter.Invalid|meter.Partial) != meter.CommLoss|meter.Invalid|meter.Partial {
				t.Errorf("17:00: flags %v", h.Flags.Names())
			}
			if h := hh[1+6]; h.Phase[0].Coverage != meter.Whole || h.Phase[1].Coverage > 680_000 || h.Coverage != h.Phase[1].Coverage {
				t.Errorf("03:00: coverage %d, L1 %d, L2 %d", h.Coverage, h.Phase[0].Coverage, h.Phase[1].Coverage)
			}
		}},
		{"W3 solar, no neutral", all, func(r *meter.Reading, at time.Time) bool {
			r.Neutral = meter.Sample[meter.Milliamps]{Reason: meter.NotSupported}
			if between(at, "09:17:00", "15:21:00") {
				for p := range r.Phase {
					r.Phase[p].P.Value -= 60_000_000
				}
			}
			return true
		}, func(t *testing.T, hh []meter.HalfHour) {
			h := hh[1+24]
			if h.Neutral != nil || h.Flags != meter.Unavailable || h.Total.ExportMWh == 0 || h.Total.P >= 0 {
				t.Errorf("12:00: neutral %v, flags %v, total %+v", h.Neutral, h.Flags.Names(), h.Total)
			}
		}},
		{"W4 L3 dead, derived neutral, suspect hour", all, func(r *meter.Reading, at time.Time) bool {
			r.Phase[meter.L3].V = meter.Sample[meter.Millivolts]{Reason: meter.NotANumber}
			r.Neutral.Reason = meter.Derived
			if between(at, "08:00:00", "09:00:00") {
				r.Phase[meter.L1].Q.Quality = meter.Suspect
			}
			return true
		}, func(t *testing.T, hh []meter.HalfHour) {
			h := hh[1+16]
			want := meter.Questioned | meter.DerivedN | meter.Invalid | meter.Partial
			if h.Flags != want || h.Phase[2] != nil || h.Total != nil || h.Phase[0] == nil || h.Samples != 0 {
				t.Errorf("08:00: flags %v, L3 %v, total %v, samples %d", h.Flags.Names(), h.Phase[2], h.Total, h.Samples)
			}
		}},
		{"W5 one phase, silent for hours", [meter.Phases]bool{true, false, false}, func(r *meter.Reading, at time.Time) bool {
			for _, p := range []meter.Phase{meter.L2, meter.L3} {
				r.Phase[p] = meter.PhaseReading{V: r.Phase[p].V}
			}
			return !between(at, "10:00:00", "12:15:00")
		}, func(t *testing.T, hh []meter.HalfHour) {
			if h := hh[1+21]; h.Flags != meter.NoData|meter.Invalid|meter.Partial || h.Samples+h.Bad != 0 {
				t.Errorf("10:30: flags %v", h.Flags.Names())
			}
			if h := hh[1+2]; h.Coverage != meter.Whole || h.Total == nil || h.Total.P != h.Phase[0].P.Mean {
				t.Errorf("01:00: coverage %d, total %+v", h.Coverage, h.Total)
			}
		}},
	}
	for k, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(7, uint64(k)))
			begin := time.Date(2026, 11, 23, 23, 58, 17, 345_678_901, time.UTC)
			const mono = 1234*s + 567_890_123 // the agent's clock at begin, off the millisecond
			end := time.Date(2026, 11, 25, 0, 0, 3, 0, time.UTC)
			cfg := Config{Way: fmt.Sprint("W", k+1), Period: 30 * m, Hold: poll * 5 / 2, Expect: way.expect}
			long := &naive{cfg: cfg, epochs: []epoch{{0, time.Hour * 100, time.Duration(begin.UnixNano()) - mono}}}
			wall := func(at time.Duration) time.Time { return begin.Add(at - mono) }

			w := New(cfg)
			var got []meter.HalfHour
			advance := func(at time.Duration) {
				for {
					h, ok := w.Advance(at, wall(at), meter.Synced)
					if !ok {
						return
					}
					got = append(got, h)
				}
			}
			level := int64(40_000)
			next := mono + 700*ms
			for at := time.Duration(mono); wall(at).Before(end); at += s {
				advance(at)
				for ; next < at+s; next += poll {
					level = max(0, level+dice.Int64N(4001)-2000)
					r := reading(next+time.Duration(dice.Int64N(int64(900*ms))), 238_000+dice.Int64N(5000), level,
						level*230+dice.Int64N(1_000_000)-500_000, dice.Int64N(4_000_000)-2_000_000, level/7)
					if way.trouble(&r, wall(r.At)) {
						w.Add(&r)
						long.polls = append(long.polls, r)
					}
				}
			}
			long.prepare()
			if len(got) != 49 {
				t.Fatalf("%d records, want 49", len(got))
			}
			start := begin.Truncate(30 * m)
			for i, h := range got {
				flags := meter.Flags(0)
				if i == 0 {
					flags = meter.Boot
				}
				want := long.record(start.Add(time.Duration(i)*30*m), flags)
				if !reflect.DeepEqual(h, want) {
					t.Fatalf("record %v:\n got %s\nwant %s", h.Start, show(h), show(want))
				}
			}
			way.check(t, got)
		})
	}
}

// show prints a record with what its pointers point to.
func show(h meter.HalfHour) string {
	text := fmt.Sprintf("%s %v rev %d coverage %d samples %d of %d bad %d held %v %v %v", h.Way, h.Start, h.Rev, h.Coverage, h.Samples, h.Expected, h.Bad, h.Held, h.Flags.Names(), h.Clock)
	for _, p := range h.Phase {
		text += fmt.Sprintf("\n    %+v", p)
	}
	return text + fmt.Sprintf("\n    T %+v\n    N %+v", h.Total, h.Neutral)
}
