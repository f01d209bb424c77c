package modbus

import (
	"strings"
	"testing"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

// apart is the known meter with its slow registers far from each other, so that
// each takes a request.
var apart = strings.NewReplacer("max_gap: 8", "max_gap: 0", "addr: [32]", "addr: [40]", "addr: [34]", "addr: [50]").Replace(known)

func apartImage(u *metertest.Unit) {
	knownImage(u)
	u.SetHolding(40, 0x4120, 0) // 10
	u.SetHolding(50, 0x41a0, 0) // 20
}

// step makes one step and fails unless it was one request at most.
func (b *bench) step(r *meter.SupplyReading) (done bool) {
	b.t.Helper()
	before := b.unit.Requests()
	done, err := b.StepSupply(r)
	if err != nil {
		b.t.Fatal(err)
	}
	if n := b.unit.Requests() - before; n > 1 {
		b.t.Errorf("a step of %d requests", n)
	}
	return done
}

// round steps until a reading is there, with a poll between any two steps, and
// returns how many steps it took.
func (b *bench) round(between func(step int)) (r meter.SupplyReading, steps int) {
	b.t.Helper()
	for steps = 1; !b.step(&r); steps++ {
		if steps > 20 {
			b.t.Fatal("no end")
		}
		between(steps)
	}
	return r, steps
}

// Polls between the steps change nothing about what is read slowly.
func TestStepsOfTheSlowPeriod(t *testing.T) {
	b := newBench(t, parsed(t, apart), Setup{}, apartImage)
	b.read()
	want := b.readSupply()
	if want.Frequency.Value != 50_000 || want.ImportWh.Value != 10_000 || want.ExportWh.Value != 20_000 {
		t.Fatalf("%+v", want)
	}
	for range 2 {
		got, steps := b.round(func(int) { b.all("between", b.read(), meter.Good, 0) })
		if got != want || steps != 5 { // three blocks, two registers of the ratio
			t.Errorf("%d steps: got\n%+v, want\n%+v", steps, got, want)
		}
	}
}

// A meter that is not known is not asked in steps: the next poll does that.
func TestStepsOfAnUnknownMeter(t *testing.T) {
	b := newBench(t, parsed(t, apart), Setup{}, apartImage)
	var r meter.SupplyReading
	if !b.step(&r) || r.Frequency.Reason != meter.NoAnswer || b.unit.Requests() != 0 {
		t.Errorf("%d requests: %+v", b.unit.Requests(), r)
	}
	b.unit.SetHolding(1002, 9)
	b.read()
	if !b.step(&r) || r.Frequency.Reason != meter.Mismatch {
		t.Errorf("another meter: %+v", r)
	}
}

// A reading is of one meter: what was read before an outage, or before the meter
// was asked again who it is, is read again.
func TestStepsAreOfOneMeter(t *testing.T) {
	for _, tt := range []struct {
		name      string
		interrupt func(b *bench)
	}{
		{"lost connection", func(b *bench) {
			if err := b.client.Close(); err != nil {
				t.Fatal(err)
			}
			if err := b.client.Open(); err != nil {
				t.Fatal(err)
			}
		}},
		{"out of sight", func(b *bench) {
			b.unit.Break(metertest.Fault{Kind: metertest.Exceptional, Code: metertest.GatewayNoReply})
			b.read()
			b.unit.Heal()
			b.read()
		}},
		{"asked again who it is", func(b *bench) {
			b.now += recheck
			b.read()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, parsed(t, apart), Setup{}, apartImage)
			b.read()
			r, steps := b.round(func(step int) {
				if step == 2 {
					tt.interrupt(b)
					b.unit.SetHolding(30, 0x4244, 0) // 49 Hz, read already
				}
			})
			if r.Frequency.Value != 49_000 || steps != 2+5 {
				t.Errorf("%d steps: %+v", steps, r.Frequency)
			}
		})
	}
}

// A ratio that is set while the agent runs is noticed within one slow period,
// not within the hour, and the way has values again when it is put right.
func TestRatioIsReadAtTheSlowPeriod(t *testing.T) {
	for _, tt := range []struct {
		name string
		addr uint16
		to   uint16
		why  meter.Reason
	}{
		{"primary", 1020, 600, meter.Mismatch},
		{"secondary", 1021, 1, meter.Mismatch},
		{"secondary of nothing", 1021, 0, meter.Mismatch},
	} {
		for _, configured := range []float64{0, 60} {
			t.Run(tt.name, func(t *testing.T) {
				b := newBench(t, parsed(t, known), Setup{CT: configured}, knownImage)
				b.all("at first", b.read(), meter.Good, 0)
				b.unit.SetHolding(tt.addr, tt.to)
				if s, _ := b.round(func(int) {}); s.ImportWh.Quality != meter.Missing || s.ImportWh.Reason != tt.why {
					t.Errorf("what the meter counted with it: %+v", s.ImportWh)
				}
				b.all("the next poll", b.read(), meter.Missing, meter.Mismatch)
				if !strings.Contains(b.log.String(), "ct ratio of the meter is ") {
					t.Errorf("the log does not say why:\n%s", &b.log)
				}
				knownImage(b.unit)
				b.now += again
				b.all("set back", b.read(), meter.Good, 0)
			})
		}
	}
}

// A ratio that cannot be read any more is not taken for the one it was.
func TestRatioThatIsRefused(t *testing.T) {
	b := newBench(t, parsed(t, known), Setup{}, knownImage)
	b.all("at first", b.read(), meter.Good, 0)
	b.unit.Update(func(im *metertest.Image) { delete(im.Holding, 1021) })
	if s, _ := b.round(func(int) {}); s.Frequency.Reason != meter.Exception {
		t.Errorf("%+v", s.Frequency)
	}
	b.all("the next poll", b.read(), meter.Missing, meter.Exception)
	knownImage(b.unit)
	b.all("readable again", b.read(), meter.Good, 0)
}

// A meter whose slow group is empty is asked for its ratio all the same.
func TestRatioWithoutSlowGroup(t *testing.T) {
	source := known
	for _, line := range []string{"f, addr: [30], unit: Hz", "wh_import, addr: [32], unit: kWh", "wh_export, addr: [34], unit: kWh"} {
		source = strings.Replace(source, "  - {quantity: "+line+"}\n", "", 1)
	}
	p := parsed(t, source)
	if len(p.SlowBlocksOf(1)) != 0 || !p.ReadsSlowly(1) || parsed(t, small).ReadsSlowly(1) {
		t.Error("what is read slowly is not known")
	}
	b := newBench(t, p, Setup{}, knownImage)
	b.read()
	if s, steps := b.round(func(int) {}); steps != 2 || s.Frequency.Reason != meter.NotSupported {
		t.Errorf("%d steps: %+v", steps, s)
	}
	b.unit.SetHolding(1020, 600)
	b.round(func(int) {})
	b.all("the next poll", b.read(), meter.Missing, meter.Mismatch)
}

// The sensor of a meter is read below zero too, and beyond what air can have it is
// no temperature.
func TestTemperature(t *testing.T) {
	p := parsed(t, known, "  - {quantity: wh_import", "  - {quantity: temperature, addr: [60], type: s16, unit: °C, scale: 0.1}\n  - {quantity: wh_import")
	for _, tt := range []struct {
		word uint16
		want meter.Sample[meter.Millicelsius]
	}{
		{215, meter.Sample[meter.Millicelsius]{Value: 21_500, Quality: meter.Good}},
		{0xff83, meter.Sample[meter.Millicelsius]{Value: -12_500, Quality: meter.Good}},
		{0x7fff, meter.Sample[meter.Millicelsius]{Reason: meter.OutOfRange}},
		{0x8000, meter.Sample[meter.Millicelsius]{Reason: meter.OutOfRange}},
	} {
		b := newBench(t, p, Setup{}, func(u *metertest.Unit) { knownImage(u); u.SetHolding(60, tt.word) })
		b.read()
		if got := b.readSupply().Temperature; got != tt.want {
			t.Errorf("%#x: %+v, want %+v", tt.word, got, tt.want)
		}
	}
	b := newBench(t, parsed(t, known), Setup{}, knownImage)
	b.read()
	if got := b.readSupply().Temperature; got.Reason != meter.NotSupported {
		t.Errorf("of a meter without a sensor: %+v", got)
	}
}
