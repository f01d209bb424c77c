package alarm

import (
	"reflect"
	"testing"
	"time"

	"lvagent/meter"
)

// shown is what L1 shows at a time.
type shown struct {
	at         time.Duration
	v, i, p    int64
	noV, noI   bool
	noP, muted bool // muted: the meter did not answer
}

func (x shown) reading() meter.Reading {
	r := reading(x.at)
	ph := &r.Phase[meter.L1]
	ph.V, ph.I, ph.P = good(meter.Millivolts(x.v)), good(meter.Milliamps(x.i)), good(meter.Milliwatts(x.p))
	if x.noV {
		ph.V = meter.Sample[meter.Millivolts]{Reason: meter.Sentinel}
	}
	if x.noI {
		ph.I = meter.Sample[meter.Milliamps]{Reason: meter.Sentinel}
	}
	if x.noP {
		ph.P = meter.Sample[meter.Milliwatts]{Reason: meter.Sentinel}
	}
	if x.muted {
		r.Fail(meter.NoAnswer)
	}
	return r
}

// every shows v and i once a second from up to and with to.
func every(from, to time.Duration, v, i, p int64) (out []shown) {
	for t := from; t <= to; t += s {
		out = append(out, shown{at: t, v: v, i: i, p: p})
	}
	return out
}

func story(parts ...any) (out []shown) {
	for _, p := range parts {
		switch p := p.(type) {
		case shown:
			out = append(out, p)
		case []shown:
			out = append(out, p...)
		}
	}
	return out
}

// run tells the edges of a way that shows in.
func run(t *testing.T, cfg Config, in []shown) (got []string, edges []meter.Alarm) {
	t.Helper()
	m := must(t, cfg)
	for _, x := range in {
		r := x.reading()
		e := m.Add(&r, begin.Add(x.at))
		got = append(got, brief(x.at, e)...)
		edges = append(edges, e...)
	}
	return got, edges
}

func TestFuse(t *testing.T) {
	const load = 120_000 // 300 A way: from 30 A
	fuse := Config{Way: "W3", Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}, Supply: Supply{Watch: off}, Export: Export{Watch: off}}
	loaded := every(0, 10*s, 230_000, load, 1)
	raise := "raise W3.L1.FUSE_SUSPECTED 11s=0"
	tests := []struct {
		name string
		cfg  Config
		in   []shown
		want []string
	}{
		{"from load to nothing between two polls", fuse, story(loaded, shown{at: 11 * s, v: 235_000}), []string{raise}},
		{"once only", fuse, story(loaded, every(11*s, 60*s, 235_000, 0, 0)), []string{raise}},
		{"just below an ampere", fuse, story(loaded, shown{at: 11 * s, v: 235_000, i: 999}), []string{"raise W3.L1.FUSE_SUSPECTED 11s=999"}},
		{"an ampere is not nothing", fuse, story(loaded, shown{at: 11 * s, v: 235_000, i: 1_000}), nil},
		{"two seconds", fuse, story(loaded, shown{at: 12 * s, v: 235_000}), []string{"raise W3.L1.FUSE_SUSPECTED 12s=0"}},
		{"a millisecond more", fuse, story(loaded, shown{at: 12*s + ms, v: 235_000}), nil},
		{"through a value in between", fuse, story(loaded, shown{at: 11 * s, v: 230_000, i: 5_000}, shown{at: 12 * s, v: 235_000}), []string{"raise W3.L1.FUSE_SUSPECTED 12s=0"}},
		{"too slow through a value in between", fuse, story(loaded, shown{at: 11 * s, v: 230_000, i: 29_000}, shown{at: 12*s + ms, v: 235_000}), nil},
		{"load at the limit", fuse, story(every(0, 10*s, 230_000, 30_000, 1), shown{at: 11 * s, v: 235_000}), nil},
		{"load one milliamp above it", fuse, story(every(0, 10*s, 230_000, 30_001, 1), shown{at: 11 * s, v: 235_000}), []string{raise}},
		{"small way: 20 A at least", Config{Way: "W3", Rating: [3]meter.Milliamps{100_000}}, story(every(0, 10*s, 230_000, 20_000, 1), shown{at: 11 * s, v: 235_000}), nil},
		{"small way: above 20 A", Config{Way: "W3", Rating: [3]meter.Milliamps{100_000}}, story(every(0, 10*s, 230_000, 20_001, 1), shown{at: 11 * s, v: 235_000}), []string{raise}},
		{"voltage just healthy", fuse, story(loaded, shown{at: 11 * s, v: 184_001}), []string{raise}},
		{"voltage at the limit", fuse, story(loaded, shown{at: 11 * s, v: 184_000}), nil},
		{"a dip, then healthy in time", fuse, story(loaded, shown{at: 11 * s, v: 150_000}, shown{at: 12 * s, v: 230_000}), []string{"raise W3.L1.FUSE_SUSPECTED 12s=0"}},
		{"the supply went and came back in time", fuse, story(loaded, shown{at: 11 * s, v: 45_999}, shown{at: 12 * s, v: 230_000}), nil},
		{"no supply and still current is no load to fall from", fuse, story(shown{at: 10 * s, v: 1, i: load}, shown{at: 11 * s, v: 230_000}), nil},
		{"voltage not known", fuse, story(loaded, shown{at: 11 * s, noV: true}), nil},
		{"current not known", fuse, story(loaded, shown{at: 11 * s, v: 230_000, noI: true}), nil},
		{"silent during the fall", fuse, story(loaded, shown{at: 11 * s, muted: true}, shown{at: 12 * s, muted: true}, shown{at: 13 * s, v: 230_000}), nil},
		{"no load, no fuse", fuse, every(0, 60*s, 230_000, 0, 0), nil},
		{"slow polls", Config{Way: "W3", Hold: 12500 * ms}, story(shown{at: 0, v: 230_000, i: load}, shown{at: 6 * s, v: 230_000}), []string{"raise W3.L1.FUSE_SUSPECTED 6s=0"}},
		{"disabled", Config{Way: "W3", Fuse: Fuse{Watch: off}}, story(loaded, shown{at: 11 * s, v: 235_000}), nil},
		{"a phase that the way does not have", Config{Way: "W3", Phases: [3]bool{false, true, true}}, story(loaded, shown{at: 11 * s, v: 235_000}), nil},
		{"clears after 60 s above half", fuse, story(loaded, shown{at: 11 * s, v: 235_000}, every(20*s, 80*s, 230_000, 15_001, 1)), []string{raise, "clear W3.L1.FUSE_SUSPECTED 1m20s=15001"}},
		{"a second less", fuse, story(loaded, shown{at: 11 * s, v: 235_000}, every(20*s, 79*s, 230_000, 15_001, 1)), []string{raise}},
		{"half is not above half", fuse, story(loaded, shown{at: 11 * s, v: 235_000}, every(20*s, 90*s, 230_000, 15_000, 1)), []string{raise}},
		{"again after the clear", fuse, story(loaded, shown{at: 11 * s, v: 235_000}, every(20*s, 80*s, 230_000, 90_000, 1), shown{at: 81 * s, v: 230_000}),
			[]string{raise, "clear W3.L1.FUSE_SUSPECTED 1m20s=90000", "raise W3.L1.FUSE_SUSPECTED 1m21s=0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := run(t, tt.cfg, tt.in); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// The raise tells what the phase carried before, and the clear tells it again.
func TestFusePeak(t *testing.T) {
	tests := []struct {
		name string
		in   []shown
		peak int64
		at   time.Duration
	}{
		{"the sample before", every(0, 10*s, 230_000, 120_000, 1), 120_000, 0},
		{"a surge before", story(every(0, 8*s, 230_000, 120_000, 1), shown{at: 9 * s, v: 200_000, i: 900_000}, shown{at: 10 * s, v: 230_000, i: 50_000}), 900_000, 9 * s},
		{"in the stretch before", story(shown{at: 5 * s, v: 230_000, i: 400_000}, every(6*s, 34*s, 230_000, 120_000, 1)), 400_000, 5 * s},
		{"too long ago", story(shown{at: 5 * s, v: 230_000, i: 400_000}, every(6*s, 65*s, 230_000, 120_000, 1)), 120_000, 30 * s},
		{"load at last only, a surge long ago", story(shown{at: 5 * s, v: 230_000, i: 400_000}, shown{at: 65 * s, v: 230_000, i: 50_000}), 50_000, 65 * s},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fall := tt.in[len(tt.in)-1].at + s
			in := story(tt.in, shown{at: fall, v: 230_000}, every(fall+s, fall+62*s, 230_000, 700_000, 1))
			_, edges := run(t, Config{Way: "W3", Supply: Supply{Watch: off}}, in)
			if len(edges) != 2 {
				t.Fatalf("edges %+v, want a raise and a clear", edges)
			}
			want := meter.Alarm{ID: "W3.L1.FUSE_SUSPECTED", Way: "W3", Quantity: "i", Phase: "L1", Kind: FuseSuspected, Edge: meter.Raise,
				At: begin.Add(fall), Threshold: 20_000, Severity: meter.Critical, Peak: tt.peak, PeakAt: begin.Add(tt.at), Raises: 1}
			if edges[0] != want {
				t.Errorf("raise\n got %+v\nwant %+v", edges[0], want)
			}
			if edges[1].Peak != tt.peak || !edges[1].PeakAt.Equal(begin.Add(tt.at)) {
				t.Errorf("clear has peak %d at %v, want %d at %v", edges[1].Peak, edges[1].PeakAt, tt.peak, begin.Add(tt.at))
			}
		})
	}
}

// A fall that rests on a voltage in doubt is in doubt itself.
func TestFuseQuestionable(t *testing.T) {
	for _, q := range []meter.Quality{meter.Good, meter.Suspect} {
		m := must(t, Config{Way: "W3"})
		for _, x := range []shown{{at: 0, v: 230_000, i: 120_000}, {at: s, v: 230_000}} {
			r := x.reading()
			r.Phase[meter.L1].V.Quality = q
			m.Add(&r, begin.Add(x.at))
		}
		if got := questionable(m, "W3.L1.FUSE_SUSPECTED"); got != (q == meter.Suspect) {
			t.Errorf("questionable = %v with a %v voltage", got, q)
		}
	}
}

func TestSupply(t *testing.T) {
	supply := only(SupplyLost, FuseSuspected)
	supply.Phases = [3]bool{true, false, false}
	lost := every(0, 2*s, 45_999, 0, 0)
	raise, clear := "raise W3.L1.SUPPLY_LOST 2s=45999", "clear W3.L1.SUPPLY_LOST 5s=184001"
	tests := []struct {
		name string
		cfg  Config
		in   []shown
		want []string
	}{
		{"at the limit", supply, every(0, 9*s, 46_000, 0, 0), nil},
		{"below it for 2 s", supply, lost, []string{raise}},
		{"a millisecond less", supply, story(every(0, s, 45_999, 0, 0), shown{at: 2*s - ms, v: 45_999}), nil},
		{"a silent meter is no lost supply", supply, story(shown{at: 0, muted: true}, shown{at: 9 * s, muted: true}), nil},
		{"load and supply went together: no fuse", supply, story(every(-0, 5*s, 230_000, 120_000, 1), every(6*s, 8*s, 0, 0, 0)), []string{"raise W3.L1.SUPPLY_LOST 8s=0"}},
		{"back", supply, story(lost, every(3*s, 5*s, 184_001, 0, 0)), []string{raise, clear}},
		{"not quite back", supply, story(lost, every(3*s, 60*s, 184_000, 0, 0)), []string{raise}},
		{"not long enough", supply, story(lost, every(3*s, 4*s, 184_001, 0, 0), shown{at: 5*s - ms, v: 184_001}), []string{raise}},
		{"disabled", only(FuseSuspected), lost, nil},
		{"a phase that the way does not have", Config{Way: "W3", Phases: [3]bool{false, true, true}}, lost, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, edges := run(t, tt.cfg, tt.in)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("edges\n got %q\nwant %q", got, tt.want)
			}
			for _, e := range edges {
				if e.Kind != SupplyLost || e.Quantity != "v" || e.Threshold != 46_000 || e.Severity != meter.Critical || e.Peak > 45_999 {
					t.Errorf("edge %+v", e)
				}
			}
		})
	}
}

func TestExport(t *testing.T) {
	const over = 300_001
	cfg := Config{Way: "W3", Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}}
	raised := every(0, 30*s, 230_000, over, -1)
	raise := "raise W3.L1.EXPORT_OVERLOAD 30s=300001"
	clear := func(i string) []string { return []string{raise, "clear W3.L1.EXPORT_OVERLOAD 1m31s=" + i} }
	tests := []struct {
		name string
		cfg  Config
		in   []shown
		want []string
		peak int64
	}{
		{"above the rating for 30 s", cfg, raised, []string{raise}, over},
		{"a second less", cfg, raised[:30], nil, 0},
		{"at the rating", cfg, every(0, 60*s, 230_000, 300_000, -1), nil, 0},
		{"import", cfg, every(0, 60*s, 230_000, over, 1), nil, 0},
		{"no power is no export", cfg, every(0, 60*s, 230_000, over, 0), nil, 0},
		{"a moment of import starts the delay anew", cfg, story(raised[:30], shown{at: 30 * s, v: 230_000, i: over, p: 1}, shown{at: 31 * s, v: 230_000, i: over, p: -1}), nil, 0},
		{"direction not known does not confirm", cfg, story(raised[:30], shown{at: 30 * s, v: 230_000, i: over, noP: true}), nil, 0},
		{"direction not known for a moment", cfg, story(raised[:30], shown{at: 30 * s, v: 230_000, i: over, noP: true}, shown{at: 31 * s, v: 230_000, i: over, p: -1}), []string{"raise W3.L1.EXPORT_OVERLOAD 31s=300001"}, over},
		{"direction not known does not clear", cfg, story(raised, shown{at: 31 * s, v: 1, i: 1, noP: true}, shown{at: 99 * s, v: 1, i: 1, noP: true}), []string{raise}, over},
		{"a refusal of the direction ends the hold", cfg, story(raised[:30], shown{at: 29*s + 500*ms, v: 230_000, i: over, noP: true}, shown{at: 31 * s, v: 230_000, i: over, p: -1}), nil, 0},
		{"no rating", Config{Way: "W3"}, raised, nil, 0},
		{"disabled", Config{Way: "W3", Rating: cfg.Rating, Export: Export{Watch: off}}, raised, nil, 0},
		{"back by 3 %", cfg, story(raised, every(31*s, 91*s, 230_000, 291_000, -1)), clear("291000"), over},
		{"not quite", cfg, story(raised, every(31*s, 120*s, 230_000, 291_001, -1)), []string{raise}, over},
		{"import, however high, is the end of it and no peak", cfg, story(raised, every(31*s, 91*s, 230_000, 500_000, 1)), clear("500000"), over},
		{"more export is a peak", cfg, story(raised, shown{at: 31 * s, v: 1, i: 400_000, p: -1}, every(32*s, 92*s, 230_000, 0, 0)), []string{raise, "clear W3.L1.EXPORT_OVERLOAD 1m32s=0"}, 400_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Supply.Disabled, tt.cfg.Phase.Disabled, tt.cfg.Fuse.Disabled, tt.cfg.Measurement.Disabled = true, true, true, true
			got, edges := run(t, tt.cfg, tt.in)
			if !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("edges\n got %q\nwant %q", got, tt.want)
			}
			if n := len(edges); n > 0 {
				if e := edges[n-1]; e.Kind != ExportOverload || e.Quantity != "i" || e.Threshold != 300_000 || e.Severity != meter.Major || e.Peak != tt.peak {
					t.Errorf("edge %+v, want peak %d", e, tt.peak)
				}
			}
		})
	}
}

// A cable is a cable: the current alarm is about export as well.
func TestExportRaisesHiToo(t *testing.T) {
	m := must(t, Config{Way: "W3", Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}}, hi)
	var got []string
	for _, x := range every(0, 30*s, 230_000, 301_000, -69_000_000) {
		r := x.reading()
		got = append(got, brief(x.at, m.Add(&r, begin.Add(x.at)))...)
	}
	if want := []string{"raise W3.L1.i.hi 3s=301000", "raise W3.L1.EXPORT_OVERLOAD 30s=301000"}; !reflect.DeepEqual(got, want) {
		t.Errorf("edges %q, want %q", got, want)
	}
}

// In the steady state and at its edges a reading costs no allocation.
func TestAddAllocatesNothing(t *testing.T) {
	m := must(t, Config{Way: "W3", Rating: [3]meter.Milliamps{300_000, 300_000, 300_000}, Chatter: Chatter{Raises: -1}},
		with(hi, func(r *Rule) { r.OnDelay, r.OffDelay = 0, 0 }), lo, Rule{Way: "W3", Quantity: N, Kind: Hi, Threshold: 1})
	r, wall, edges := reading(0), begin, 0
	if n := testing.AllocsPerRun(500, func() {
		r.At += s
		wall = wall.Add(s)
		r.Phase[meter.L1].I.Value = 302_000 - r.Phase[meter.L1].I.Value
		edges += len(m.Add(&r, wall))
	}); n != 0 {
		t.Errorf("%v allocations a reading, want 0", n)
	}
	if edges < 400 {
		t.Errorf("%d edges, want one a reading", edges)
	}
}

// whole is a way as a site has it: every condition, thresholds on readings and
// on means.
func whole(t tester) *Machine {
	rating := [3]meter.Milliamps{300_000, 300_000, 300_000}
	var rules []Rule
	for p := range meter.Phase(meter.Phases) {
		rules = append(rules,
			Rule{Way: "W3", Quantity: V, Phase: p, Kind: Hi, Threshold: 253_000, Mean: 10 * time.Minute},
			Rule{Way: "W3", Quantity: V, Phase: p, Kind: Lo, Threshold: 216_200, Mean: 10 * time.Minute},
			Rule{Way: "W3", Quantity: V, Phase: p, Kind: HiHi, Threshold: 258_000, OnDelay: 3 * s},
			Rule{Way: "W3", Quantity: V, Phase: p, Kind: LoLo, Threshold: 195_500, OnDelay: 3 * s},
			Rule{Way: "W3", Quantity: I, Phase: p, Kind: Hi, Threshold: 315_000, OnDelay: 10 * time.Minute},
			Rule{Way: "W3", Quantity: I, Phase: p, Kind: HiHi, Threshold: 450_000, OnDelay: 10 * s})
	}
	rules = append(rules, Rule{Way: "W3", Quantity: N, Kind: Hi, Threshold: 150_000, OnDelay: 10 * time.Minute})
	for i := range rules {
		rules[i].Severity = meter.Warning
	}
	return must(t, Config{Way: "W3", Rating: rating}, rules...)
}

func TestAWholeWayAllocatesNothing(t *testing.T) {
	m, live, r, wall := whole(t), NewLive(LiveConfig{Rating: 300_000, Budget: &Budget{}}), reading(0), begin
	edges, sent, kept := 0, 0, 0
	if n := testing.AllocsPerRun(3000, func() {
		r.At += s
		wall = wall.Add(s)
		r.Phase[meter.L2].I.Value = meter.Milliamps(200_000 + int64(r.At/s)%7*1_000)
		if int64(r.At/s)%400 > 300 {
			r.Phase[meter.L2].I.Value = 500_000
		}
		edges += len(m.Add(&r, wall))
		m.Tick(r.At, wall)
		m.Expire(wall)
		id, any := m.Live()
		sent += len(live.Add(&r, wall, any, id))
		kept += len(live.Kept())
	}); n != 0 {
		t.Errorf("%v allocations a reading, want 0", n)
	}
	if edges < 10 || sent < 500 || kept < 1000 {
		t.Errorf("%d edges, %d readings sent, %d kept: the test does not reach them", edges, sent, kept)
	}
}

func BenchmarkReading(b *testing.B) {
	m, live, r, wall := whole(b), NewLive(LiveConfig{Rating: 300_000}), reading(0), begin
	b.ReportAllocs()
	for b.Loop() {
		r.At += s
		wall = wall.Add(s)
		m.Add(&r, wall)
		id, any := m.Live()
		live.Add(&r, wall, any, id)
	}
}
