package modbus

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

// chain is a SunSpec map of models at base: number and length each. The registers
// of a model 203 are those of an evening.
func chain(u *metertest.Unit, base uint16, models ...[2]uint16) {
	u.Update(func(im *metertest.Image) {
		im.Holding[base], im.Holding[base+1] = sunsHigh, sunsLow
		at := base + 2
		for _, m := range models {
			for i := range m[1] + 2 {
				im.Holding[at+i] = 0
			}
			im.Holding[at], im.Holding[at+1] = m[0], m[1]
			if m[0] == 203 {
				for i, w := range map[uint16]uint16{
					8: 2413, 9: 2398, 10: 2406, 15: 0xffff, 3: 21250, 4: 18725, 5: 9612, 6: 0xfffe,
					19: 4812, 20: 0xff68, 21: 2200, 22: 1, 29: 510, 30: 0xffe1, 31: 5, 32: 1, 16: 4998, 17: 0xfffe,
				} {
					im.Holding[at+i] = w
				}
			}
			at += m[1] + 2
		}
		im.Holding[at], im.Holding[at+1] = chainEnd, 0
	})
}

func TestSunSpec(t *testing.T) {
	p := shippedFiles(t)["sunspec-int"]
	common, meter203 := [2]uint16{1, 66}, [2]uint16{203, 105}
	for _, tt := range []struct {
		name  string
		base  uint16
		chain [][2]uint16
		way   int
		wrong string // of the log; empty when it is found
	}{
		{"at 40000", 40000, [][2]uint16{common, meter203}, 1, ""},
		{"at 50000", 50000, [][2]uint16{common, meter203}, 1, ""},
		{"at 0", 0, [][2]uint16{common, meter203}, 1, ""},
		{"after models of other kinds", 40000, [][2]uint16{common, {12, 98}, {120, 26}, meter203}, 1, ""},
		{"longer than the document says", 40000, [][2]uint16{common, {203, 107}}, 1, ""},
		{"the second of two", 40000, [][2]uint16{common, {201, 105}, meter203}, 2, ""},
		{"there is no second", 40000, [][2]uint16{common, meter203}, 2, "no SunSpec model for way 2"},
		{"no meter in it", 40000, [][2]uint16{common}, 1, "no SunSpec model for way 1"},
		{"too short to be one", 40000, [][2]uint16{common, {203, 20}}, 1, "no SunSpec model for way 1"},
		{"no map", 40100, [][2]uint16{common, meter203}, 1, "no SunSpec map"},
		{"floats", 40000, [][2]uint16{common, {213, 124}}, 1, "no SunSpec model for way 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, p, Setup{Channel: tt.way}, func(u *metertest.Unit) { chain(u, tt.base, tt.chain...) })
			r := b.read()
			if tt.wrong != "" {
				b.all("no model", r, meter.Missing, meter.Mismatch)
				if !strings.Contains(b.log.String(), tt.wrong) {
					t.Errorf("the log lacks %q:\n%s", tt.wrong, &b.log)
				}
				return
			}
			if v, q := r.Phase[0].V.Value, r.Phase[1].Q.Value; v != 241_300 || q != -310_000 || r.Neutral.Quality != meter.Good {
				t.Errorf("%+v", r)
			}
			if s := b.readSupply(); s.Frequency.Value != 49_980 {
				t.Errorf("frequency %+v", s.Frequency)
			}
			before := b.unit.Requests()
			b.read()
			if n := b.unit.Requests() - before; n != 1 {
				t.Errorf("%d requests of a later poll, want 1", n)
			}
		})
	}
}

// A chain without an end costs a bounded number of requests.
func TestSunSpecChainWithoutEnd(t *testing.T) {
	b := newBench(t, shippedFiles(t)["sunspec-int"], Setup{}, func(u *metertest.Unit) {
		u.Update(func(im *metertest.Image) {
			for a := range uint16(0xffff) {
				im.Holding[a] = 0 // models of number 0 and no length, for ever
			}
			im.Holding[40000], im.Holding[40001] = sunsHigh, sunsLow
		})
	})
	b.all("no end", b.read(), meter.Missing, meter.Mismatch)
	if n := b.unit.Requests(); n > mostModels+3 {
		t.Errorf("%d requests, want at most %d", n, mostModels+3)
	}
	if !strings.Contains(b.log.String(), "no end") {
		t.Errorf("the log does not say why:\n%s", &b.log)
	}
	for name, last := range map[string]uint16{"past the last register": 0xfff0, "at the last register": 25532} {
		b := newBench(t, shippedFiles(t)["sunspec-int"], Setup{}, func(u *metertest.Unit) {
			u.SetHolding(40000, sunsHigh, sunsLow, 1, last)
		})
		b.all(name, b.read(), meter.Missing, meter.Mismatch)
		if !strings.Contains(b.log.String(), "leaves the registers") && last == 0xfff0 {
			t.Errorf("%s: the log does not say why:\n%s", name, &b.log)
		}
	}
}

// On a serial line the guard comes before the map is found: where the map could
// begin, one place after the other.
func TestSunSpecOnASerialLine(t *testing.T) {
	l, c := onLine(t, lines["rtu over tcp"])
	chain(l.Unit(3), 50000, [2]uint16{1, 66}, [2]uint16{203, 105})
	m := NewMeterAs(c, shippedFiles(t)["sunspec-int"], Setup{Way: "W3", Unit: 3})
	var r meter.Reading
	for range 4 {
		if err := c.Open(); err != nil {
			t.Fatal(err)
		}
		if err := m.Read(&r); err == nil {
			break
		} else if !errors.Is(err, ErrGuard) {
			t.Fatal(err)
		}
	}
	if r.Phase[0].V.Value != 241_300 {
		t.Errorf("%+v", r.Phase[0])
	}
}

// Each way's requests keep away from the guard of their unit, were they split or
// not.
func TestGuardOfADeviceOfWays(t *testing.T) {
	l, c := onLine(t, lines["rtu over tcp"])
	p := shippedFiles(t)["janitza-umg801"]
	first, third := NewMeterAs(c, p, Setup{Way: "W1", Unit: 3}), NewMeterAs(c, p, Setup{Way: "W3", Unit: 3, Channel: 3})
	for _, im := range slices.Concat(p.vectors[0].words, p.vectors[1].words) {
		l.Unit(3).SetHolding(im.addr, im.words...)
	}
	l.Unit(3).Update(func(im *metertest.Image) { delete(im.Holding, 19018) }) // so that the first is split
	var r meter.Reading
	for range 2 {
		for _, m := range []*Meter{first, third} {
			if err := c.Open(); err != nil {
				t.Fatal(err)
			}
			if err := m.Read(&r); err != nil || r.Phase[0].V.Value != 241_300 {
				t.Fatalf("%v: %+v", err, r)
			}
		}
	}
	g, ok := c.choose(3, c.units[3])
	if !ok {
		t.Fatal("no guard")
	}
	for _, b := range slices.Concat(first.fast.blocks, third.fast.blocks) {
		if b.fc == g.Function && b.n == g.N {
			t.Errorf("guard %+v is as long as the request %+v", g, b)
		}
	}
	if len(first.fast.blocks) == 1 {
		t.Error("nothing was split")
	}
}

// The map has moved, as after an update of the meter: it is found again, and
// until then there is no value.
func TestSunSpecMapThatMoves(t *testing.T) {
	b := newBench(t, shippedFiles(t)["sunspec-int"], Setup{}, func(u *metertest.Unit) { chain(u, 40000, [2]uint16{1, 66}, [2]uint16{203, 105}) })
	b.read()
	b.unit.Update(func(im *metertest.Image) { clear(im.Holding) })
	chain(b.unit, 40000, [2]uint16{1, 68}, [2]uint16{203, 105})
	b.now += recheck
	if r := b.read(); r.Phase[0].V.Value != 241_300 {
		t.Errorf("%+v", r.Phase[0])
	}
}

func TestWaysOfADevice(t *testing.T) {
	all := shippedFiles(t)
	set := func(u *metertest.Unit, v vector) {
		for _, im := range v.words {
			u.SetHolding(im.addr, im.words...)
		}
	}
	soco := func(u *metertest.Unit) {
		u.SetHolding(0xc350, 'S', 'O', 'C', 'O')
		for _, v := range all["socomec-digiware"].vectors[:3] { // ways 1, 2, and 6, which is off
			set(u, v)
		}
	}
	for _, tt := range []struct {
		name, profile string
		way           int
		image         func(*metertest.Unit)
		v             meter.Sample[meter.Millivolts] // of L1
		q             meter.Sample[meter.Millivars]  // of L2
	}{
		{"first load", "socomec-digiware", 1, soco, meter.Sample[meter.Millivolts]{Value: 241_300, Quality: meter.Good}, meter.Sample[meter.Millivars]{Value: -310_000, Quality: meter.Good}},
		{"second load", "socomec-digiware", 2, soco, meter.Sample[meter.Millivolts]{Value: 241_300, Quality: meter.Good}, meter.Sample[meter.Millivars]{Value: -310_000, Quality: meter.Good}},
		{"a load that is not set up", "socomec-digiware", 6, soco, meter.Sample[meter.Millivolts]{Reason: meter.Mismatch}, meter.Sample[meter.Millivars]{Reason: meter.Mismatch}},
		{"a load that is not there", "socomec-digiware", 3, soco, meter.Sample[meter.Millivolts]{Reason: meter.Exception}, meter.Sample[meter.Millivars]{Reason: meter.Exception}},
		{"another maker's device", "socomec-digiware", 1, func(u *metertest.Unit) { soco(u); u.SetHolding(0xc350, 'X') }, meter.Sample[meter.Millivolts]{Reason: meter.Mismatch}, meter.Sample[meter.Millivars]{Reason: meter.Mismatch}},
		{"third way, voltage of the device", "janitza-umg801", 3, func(u *metertest.Unit) { set(u, all["janitza-umg801"].vectors[1]) }, meter.Sample[meter.Millivolts]{Value: 241_300, Quality: meter.Good}, meter.Sample[meter.Millivars]{Value: -310_063, Quality: meter.Good}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, all[tt.profile], Setup{Channel: tt.way}, tt.image)
			r := b.read()
			if r.Phase[0].V != tt.v || r.Phase[1].Q != tt.q {
				t.Errorf("V %+v, Q %+v; want %+v, %+v", r.Phase[0].V, r.Phase[1].Q, tt.v, tt.q)
			}
		})
	}
}

// The EM24 says its model in a register that is half of a voltage within a
// block.
func TestModelCodeThatIsReadAlone(t *testing.T) {
	p := shippedFiles(t)["carlo-gavazzi-em24-e1"]
	for _, tt := range []struct {
		name string
		code uint16
		good bool
	}{{"an EM24", 1648, true}, {"half of a voltage", 0, false}} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, p, Setup{}, func(u *metertest.Unit) {
				u.SetHolding(0, p.vectors[0].words[0].words...)
				u.SetHolding(0x0b, tt.code)
			})
			if r := b.read(); (r.Phase[0].V.Value == 241_300) != tt.good || (r.Phase[0].V.Reason == meter.Mismatch) == tt.good {
				t.Errorf("%+v", r.Phase[0].V)
			}
		})
	}
}

// One unit for each way, one after the other.
func TestWaysAsUnits(t *testing.T) {
	p := parsed(t, small, "base: 1", "base: 1\nways: {kind: unit, count: 3}")
	b := newBench(t, p, Setup{Channel: 2}, func(*metertest.Unit) {})
	if b.Meter.unit != 4 {
		t.Errorf("way 2 of unit 3 is unit %d, want 4", b.Meter.unit)
	}
	if faults := p.CheckSetup(Setup{Unit: 254, Channel: 3}); len(faults) != 1 || !strings.Contains(faults[0].Message, "unit would be 256") {
		t.Errorf("%v", faults)
	}
}

// talks is a meter that says a lot of itself: signs apart, a status, a counter of
// restarts.
const talks = `schema: 1
id: test-talks
vendor: Nobody
models: [T1]
evidence: {level: bench, source: made up}
base: 0
max_gap: 10
defaults: {fc: 3, type: u16}
signs: {q: by-load}
registers:
  - {quantity: v, addr: [0, 1, 2], unit: V}
  - {quantity: i, addr: [3, 4, 5], unit: A}
  - {quantity: p, addr: [6, 7, 8], unit: W, sign: {addr: [20], bit: [0, 1, 2]}}
  - {quantity: q, addr: [9, 10, 11], unit: var}
not_supported: [n]
status:
  - {addr: 21, mask: 0x1, means: out_of_range, quality: missing, quantities: [i, n], phases: [L2]}
  - {addr: 21, mask: 0x6, equals: 0x2, means: frozen, quality: suspect}
restarts: {addr: 22}
vectors:
  - name: what L2 feeds back is an inductive load's
    words: [{fc: 3, addr: 0, raw: [230, 231, 232, 1, 2, 3, 100, 200, 300, 10, 20, 30]}, {fc: 3, addr: 20, raw: [2, 0, 0]}]
    want: {v: [230000, 231000, 232000], i: [1000, 2000, 3000], p: [100000, -200000, 300000], q: [10000, -20000, 30000]}
`

func TestWhatAMeterSaysOfItself(t *testing.T) {
	p := parsed(t, talks)
	b := newBench(t, p, Setup{}, func(u *metertest.Unit) {
		u.SetHolding(0, p.vectors[0].words[0].words...)
		u.SetHolding(12, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 7)
	})
	r := b.read()
	if r.Phase[1].P.Value != -200_000 || r.Phase[1].Q.Value != -20_000 || r.Phase[1].Quality() != meter.Good {
		t.Errorf("signs: %+v", r.Phase[1])
	}
	if n := b.unit.Requests(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	b.unit.SetHolding(21, 1)
	if r = b.read(); r.Phase[1].I != (meter.Sample[meter.Milliamps]{Reason: meter.OutOfRange}) || r.Phase[0].I.Quality != meter.Good || r.Phase[1].V.Quality != meter.Good {
		t.Errorf("current of L2 clipped: %+v", r)
	}
	b.unit.SetHolding(21, 2)
	if r = b.read(); r.Phase[2].V != (meter.Sample[meter.Millivolts]{Value: 232_000, Quality: meter.Suspect, Reason: meter.Frozen}) {
		t.Errorf("frozen: %+v", r.Phase[2].V)
	}
	b.unit.SetHolding(21, 6)
	if r = b.read(); r.Phase[2].V.Quality != meter.Good {
		t.Errorf("bits are not those of the remark: %+v", r.Phase[2].V)
	}
	b.unit.SetHolding(22, 8)
	if r = b.read(); r.Phase[0].P != (meter.Sample[meter.Milliwatts]{Value: 100_000, Quality: meter.Suspect, Reason: meter.Restarted}) {
		t.Errorf("restarted: %+v", r.Phase[0].P)
	}
	if r = b.read(); r.Phase[0].P.Quality != meter.Good {
		t.Errorf("the poll after a restart: %+v", r.Phase[0].P)
	}
}

// What a site and a profile do not agree upon.
func TestCheckSetup(t *testing.T) {
	all := shippedFiles(t)
	agent := parsed(t, small, "not_supported:", "ratios: {applied_by: agent}\nnot_supported:")
	for _, tt := range []struct {
		name  string
		p     *Profile
		setup Setup
		want  string // key and the beginning of the message
	}{
		{"fits", all["socomec-digiware"], Setup{Channel: 6, Neutral: NeutralMeasured}, ""},
		{"one way too far", all["socomec-digiware"], Setup{Channel: 7}, "channel: the meter measures 6 ways"},
		{"second way of a meter of one", all["abb-b23"], Setup{Channel: 2}, "channel: the meter measures 1 ways"},
		{"any way of a SunSpec map", all["sunspec-int"], Setup{Channel: 5}, ""},
		{"neutral that is not measured", all["sunspec-int"], Setup{Neutral: NeutralMeasured}, "neutral: profile sunspec-int has no register"},
		{"ratio that nothing can check", all["abb-b23"], Setup{CT: 60}, "ct_ratio: the meter applies it"},
		{"ratio that the site must say", agent, Setup{}, "ct_ratio: profile test-meter has no register"},
		{"ratio that the site says", agent, Setup{CT: 60}, ""},
		{"ratio that can be checked", parsed(t, known), Setup{CT: 60}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, f := range tt.p.CheckSetup(tt.setup) {
				got += f.Key + ": " + f.Message
			}
			if !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
