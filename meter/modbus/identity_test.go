package modbus

import (
	"bytes"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

// known is a meter that says who it is and how its transformers are set.
const known = `schema: 1
id: test-known
vendor: Nobody
models: [T1]
evidence: {level: bench, source: made up}
base: 0
max_gap: 8
defaults: {fc: 3, type: f32}
identify:
  on_mismatch: refuse
  match:
    - {addr: 1000, type: string, words: 2, regex: "^T[12]$"}
    - {addr: 1002, type: u16, raw: [7, 8]}
serial_number: {addr: 1010, words: 3}
ratios:
  applied_by: meter
  ct: {primary: {addr: 1020, type: u16}, secondary: {addr: 1021, type: u16}}
registers:
  - {quantity: v, addr: [0, 2, 4], unit: V}
  - {quantity: i, addr: [6, 8, 10], unit: A}
  - {quantity: p, addr: [12, 14, 16], unit: W}
  - {quantity: q, addr: [18, 20, 22], unit: var}
  - {quantity: n, addr: [24], unit: A}
  - {quantity: f, addr: [30], unit: Hz}
  - {quantity: wh_import, addr: [32], unit: kWh}
  - {quantity: wh_export, addr: [34], unit: kWh}
vectors:
  - name: nothing flows
    words: [{fc: 3, addr: 24, raw: [0, 0]}]
    want: {n: [0]}
`

// knownImage is the meter's registers on an evening.
func knownImage(u *metertest.Unit) {
	u.Update(func(im *metertest.Image) {
		float := func(addr uint16, x float64) {
			bits := math.Float32bits(float32(x))
			im.Holding[addr], im.Holding[addr+1] = uint16(bits>>16), uint16(bits)
		}
		for i, x := range []float64{241.5, 239.5, 240.5, 212.5, 187.25, 96.125, 48000, -1520, 22000, 5100, -310, 0, 61.25} {
			float(uint16(2*i), x)
		}
		for i, x := range []float64{50, 10, 20} {
			float(30+uint16(2*i), x)
		}
		for i, w := range []uint16{0x5431, 0x0000, 7} {
			im.Holding[1000+uint16(i)] = w
		}
		for i, w := range []uint16{0x4142, 0x4344, 0x2000} {
			im.Holding[1010+uint16(i)] = w
		}
		im.Holding[1020], im.Holding[1021] = 300, 5
	})
}

func parsed(t *testing.T, source string, replace ...string) *Profile {
	t.Helper()
	p, faults := ParseProfile([]byte(strings.NewReplacer(replace...).Replace(source)))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return p
}

// bench is one meter on a server, with a clock of its own.
type bench struct {
	*Meter
	t    *testing.T
	unit *metertest.Unit
	log  bytes.Buffer
	now  time.Duration
}

func newBench(t *testing.T, p *Profile, s Setup, image func(*metertest.Unit)) *bench {
	t.Helper()
	server := serve(t)
	s.Way, s.Unit = "W3", 3
	b := &bench{Meter: NewMeterAs(open(t, server.URL()), p, s), t: t, unit: server.Unit(3)}
	b.client.log = slog.New(slog.NewTextHandler(&b.log, nil))
	b.clock = func() time.Duration { return b.now }
	image(b.unit)
	return b
}

// read polls once; the connection has to stay.
func (b *bench) read() (r meter.Reading) {
	b.t.Helper()
	if err := b.Read(&r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bench) readSupply() (r meter.SupplyReading) {
	b.t.Helper()
	if err := b.ReadSupply(&r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// all fails unless every sample has the quality and the reason.
func (b *bench) all(when string, r meter.Reading, quality meter.Quality, why meter.Reason) {
	b.t.Helper()
	for i, x := range every(&r) {
		if x.Quality != quality || x.Reason != why || quality == meter.Missing && x.Value != 0 {
			b.t.Errorf("%s: sample %d = %+v, want quality %v, reason %d", when, i, x, quality, why)
		}
	}
}

func TestIdentityIsAskedFirstAndHourly(t *testing.T) {
	b := newBench(t, parsed(t, known), Setup{}, knownImage)
	b.all("first poll", b.read(), meter.Good, 0)
	if b.Serial() != "ABCD" || !strings.Contains(b.log.String(), "serial=ABCD") {
		t.Errorf("serial number %q, log %s", b.Serial(), &b.log)
	}
	first := b.unit.Requests()
	if first != 6 { // two matches, serial number, two of the ratio, one block
		t.Errorf("%d requests at first, want 6", first)
	}
	b.now += recheck - 1
	b.read()
	if n := b.unit.Requests() - first; n != 1 {
		t.Errorf("%d requests within the hour, want 1", n)
	}
	b.now++
	b.read()
	if n := b.unit.Requests() - first; n != 7 {
		t.Errorf("%d requests after the hour, want 7", n)
	}
}

// Another meter at the address has no value at all, and the right one has them
// again soon after it is back.
func TestAnotherMeter(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrong func(*metertest.Unit)
	}{
		{"another text", func(u *metertest.Unit) { u.SetHolding(1000, 0x5433) }},
		{"another code", func(u *metertest.Unit) { u.SetHolding(1002, 9) }},
		{"no such register", func(u *metertest.Unit) {
			u.Update(func(im *metertest.Image) { delete(im.Holding, 1002) })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, parsed(t, known), Setup{}, knownImage)
			tt.wrong(b.unit)
			b.all("wrong from the start", b.read(), meter.Missing, meter.Mismatch)
			if s := b.readSupply(); s.Frequency.Reason != meter.Mismatch || s.ImportWh.Reason != meter.Mismatch {
				t.Errorf("supply of another meter: %+v", s)
			}
			before := b.unit.Requests()
			b.all("asked again at once", b.read(), meter.Missing, meter.Mismatch)
			if n := b.unit.Requests() - before; n != 0 {
				t.Errorf("%d requests to the wrong meter, want none for a while", n)
			}
			knownImage(b.unit)
			b.now += again
			b.all("the right one is back", b.read(), meter.Good, 0)
			tt.wrong(b.unit)
			b.all("swapped, not yet seen", b.read(), meter.Good, 0)
			b.now += recheck
			b.all("swapped", b.read(), meter.Missing, meter.Mismatch)
			if n := strings.Count(b.log.String(), "meter has no values"); n != 2 {
				t.Errorf("logged %d times, want once each:\n%s", n, &b.log)
			}
		})
	}
}

// A meter that was out of sight may be another one when it is back.
func TestIdentityAfterAnOutage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault metertest.Fault
	}{
		{"lost connection", metertest.Fault{Kind: metertest.Drop}},
		{"gateway without reply", metertest.Fault{Kind: metertest.Exceptional, Code: metertest.GatewayNoReply}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, parsed(t, known), Setup{}, knownImage)
			b.read()
			b.unit.Break(tt.fault)
			var r meter.Reading
			b.Read(&r) // of which the error is not the matter here
			b.all("silent", r, meter.Missing, meter.NoAnswer)
			b.unit.SetHolding(1002, 9)
			b.unit.Heal()
			if err := b.client.Open(); err != nil {
				t.Fatal(err)
			}
			b.all("another meter is back", b.read(), meter.Missing, meter.Mismatch)
		})
	}
}

// With warn another meter's values count, and say so.
func TestAnotherMeterIsTolerated(t *testing.T) {
	b := newBench(t, parsed(t, known, "on_mismatch: refuse", "on_mismatch: warn"), Setup{}, knownImage)
	b.unit.SetHolding(1002, 9)
	b.all("another meter", b.read(), meter.Suspect, meter.Mismatch)
}

// A ratio that changes while the agent runs takes every value away at once; it
// is not known what any of them means.
func TestRatioThatChanges(t *testing.T) {
	for _, tt := range []struct {
		name       string
		set        func(*metertest.Unit)
		configured float64
		good       bool // from the start
	}{
		{"as configured, then changed", func(u *metertest.Unit) { u.SetHolding(1020, 600) }, 60, true},
		{"not configured, then changed", func(u *metertest.Unit) { u.SetHolding(1020, 600) }, 0, true},
		{"secondary changed", func(u *metertest.Unit) { u.SetHolding(1021, 1) }, 60, true},
		{"to nothing", func(u *metertest.Unit) { u.SetHolding(1021, 0) }, 0, true},
		{"nothing from the start", func(u *metertest.Unit) { u.SetHolding(1020, 0) }, 0, false},
		{"infinite from the start", func(u *metertest.Unit) { u.SetHolding(1021, 0) }, 0, false},
		{"never as configured", func(*metertest.Unit) {}, 40, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, parsed(t, known), Setup{CT: tt.configured}, knownImage)
			if tt.good {
				b.all("at first", b.read(), meter.Good, 0)
				b.now += recheck
			}
			tt.set(b.unit)
			b.all("changed", b.read(), meter.Missing, meter.Mismatch)
			if !strings.Contains(b.log.String(), "ct ratio of the meter is ") {
				t.Errorf("the log does not say why:\n%s", &b.log)
			}
			if tt.good {
				knownImage(b.unit)
				b.now += again
				b.all("set back", b.read(), meter.Good, 0)
			}
		})
	}
}

func TestRatioAppliedByTheAgent(t *testing.T) {
	p := parsed(t, known, "applied_by: meter", "applied_by: agent", "ratios:", "ratios:\n  vt: {fixed: 2}\n  neutral_ct: {fixed: 10}")
	b := newBench(t, p, Setup{}, knownImage)
	r := b.read()
	got := []int64{int64(r.Phase[0].V.Value), int64(r.Phase[0].I.Value), int64(r.Phase[1].P.Value), int64(r.Phase[0].Q.Value), int64(r.Neutral.Value)}
	// 60 from the meter for I, P and Q; 2 for V, P and Q; 10 for the neutral.
	want := []int64{483_000, 12_750_000, -182_400_000, 612_000_000, 612_500}
	// 12 750 A is out of range: that of the primary value.
	want[1] = 0
	if !slices.Equal(got, want) || r.Phase[0].I.Reason != meter.OutOfRange {
		t.Errorf("got %d, want %d; %+v", got, want, r.Phase[0].I)
	}
	if s := b.readSupply(); s.ImportWh.Value != 1_200_000 || s.Frequency.Value != 50_000 {
		t.Errorf("supply %+v", s)
	}
}

func TestSupplyReading(t *testing.T) {
	b := newBench(t, parsed(t, known), Setup{}, knownImage)
	b.read()
	before := b.unit.Requests()
	s := b.readSupply()
	if n := b.unit.Requests() - before; n != 3 { // one block, two registers of the ratio
		t.Errorf("%d requests, want 3", n)
	}
	var want meter.SupplyReading
	want.Fail(meter.NotSupported)
	want.Way = "W3"
	want.Frequency = meter.Sample[meter.Millihertz]{Value: 50_000, Quality: meter.Good}
	want.ImportWh = meter.Sample[meter.WattHours]{Value: 10_000, Quality: meter.Good}
	want.ExportWh = meter.Sample[meter.WattHours]{Value: 20_000, Quality: meter.Good}
	if s != want {
		t.Errorf("got\n%+v, want\n%+v", s, want)
	}
	b.unit.Break(metertest.Fault{Kind: metertest.Exceptional, Code: metertest.DeviceBusy})
	if s := b.readSupply(); s.Frequency.Reason != meter.Exception || s.THDV[0].Reason != meter.NotSupported {
		t.Errorf("busy: %+v", s)
	}

	// Nothing to ask: no request.
	none := newBench(t, parsed(t, small), Setup{}, func(*metertest.Unit) {})
	if s := none.readSupply(); s.Frequency.Reason != meter.NotSupported || none.unit.Requests() != 0 {
		t.Errorf("%d requests: %+v", none.unit.Requests(), s)
	}
}

// What a site says of the wiring turns values round and moves them.
func TestWiring(t *testing.T) {
	power := func(r meter.Reading) (p [3]meter.Milliwatts) {
		for i := range r.Phase {
			p[i] = r.Phase[i].P.Value
		}
		return p
	}
	all := [3]bool{true, true, true}
	for _, tt := range []struct {
		name     string
		setup    Setup
		p        [3]meter.Milliwatts
		v        meter.Millivolts // of L1
		imported meter.Sample[meter.WattHours]
	}{
		{"as it is", Setup{}, [3]meter.Milliwatts{48e6, -1.52e6, 22e6}, 241_500, meter.Sample[meter.WattHours]{Value: 10_000, Quality: meter.Good}},
		{"one transformer round", Setup{Invert: [3]bool{false, true, false}}, [3]meter.Milliwatts{48e6, 1.52e6, 22e6}, 241_500, meter.Sample[meter.WattHours]{Reason: meter.Mismatch}},
		{"all round", Setup{Invert: all}, [3]meter.Milliwatts{-48e6, 1.52e6, -22e6}, 241_500, meter.Sample[meter.WattHours]{Value: 20_000, Quality: meter.Good}},
		{"phases moved on", Setup{Map: [3]meter.Phase{meter.L2, meter.L3, meter.L1}}, [3]meter.Milliwatts{22e6, 48e6, -1.52e6}, 240_500, meter.Sample[meter.WattHours]{Value: 10_000, Quality: meter.Good}},
		{"moved on, and L1 of the way round", Setup{Map: [3]meter.Phase{meter.L2, meter.L3, meter.L1}, Invert: [3]bool{true}}, [3]meter.Milliwatts{-22e6, 48e6, -1.52e6}, 240_500, meter.Sample[meter.WattHours]{Reason: meter.Mismatch}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, parsed(t, known), tt.setup, knownImage)
			r := b.read()
			if got := power(r); got != tt.p || r.Phase[0].V.Value != tt.v {
				t.Errorf("P %v, V of L1 %v; want %v, %v", got, r.Phase[0].V, tt.p, tt.v)
			}
			if s := b.readSupply(); s.ImportWh != tt.imported {
				t.Errorf("imported %+v, want %+v", s.ImportWh, tt.imported)
			}
		})
	}
}

// The place of a voltage between two phases follows them.
func TestPairsOfPhases(t *testing.T) {
	for _, tt := range []struct{ a, b, want meter.Phase }{
		{meter.L1, meter.L2, meter.L1}, {meter.L2, meter.L1, meter.L1},
		{meter.L2, meter.L3, meter.L2}, {meter.L3, meter.L2, meter.L2},
		{meter.L3, meter.L1, meter.L3}, {meter.L1, meter.L3, meter.L3},
	} {
		if got := pair(tt.a, tt.b); got != tt.want {
			t.Errorf("pair(%v, %v) = %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestNeutral(t *testing.T) {
	for _, tt := range []struct {
		name    string
		neutral Neutral
		change  func(*metertest.Unit)
		want    meter.Sample[meter.Milliamps]
	}{
		{"measured", NeutralAsProfile, nil, meter.Sample[meter.Milliamps]{Value: 61_250, Quality: meter.Good}},
		// The phasors of the image summed with complex numbers, apart from this code.
		{"no transformer round it", NeutralNone, nil, meter.Sample[meter.Milliamps]{Value: 169_442, Quality: meter.Good, Reason: meter.Derived}},
		{"shared with other ways", NeutralShared, nil, meter.Sample[meter.Milliamps]{Reason: meter.NotSupported}},
		{"a phase without value", NeutralNone, func(u *metertest.Unit) { u.SetHolding(14, 0x7fc0, 0) }, meter.Sample[meter.Milliamps]{Reason: meter.NotANumber}},
		{"a phase without supply", NeutralNone, func(u *metertest.Unit) { u.SetHolding(2, 0, 0) }, meter.Sample[meter.Milliamps]{Reason: meter.OutOfRange}},
		{"nothing at all", NeutralNone, func(u *metertest.Unit) {
			for a := range uint16(24) {
				u.SetHolding(a, 0)
			}
		}, meter.Sample[meter.Milliamps]{Quality: meter.Good, Reason: meter.Derived}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, parsed(t, known), Setup{Neutral: tt.neutral}, knownImage)
			if tt.change != nil {
				tt.change(b.unit)
			}
			if got := b.read().Neutral; got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
