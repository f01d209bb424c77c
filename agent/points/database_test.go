package points

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lvagent/dnp3"
	"lvagent/failsafe"
	"lvagent/meter"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

type board struct {
	t    *testing.T
	db   *Database
	seen map[[2]int]dnp3.Change
}

func newBoard(t *testing.T, periods bool) *board {
	b := &board{t: t, seen: map[[2]int]dnp3.Change{}}
	site := &Site{Periods: periods}
	site.Ways[0], site.Ways[3], site.Groups[1] = failsafe.TX, "W3", "G1"
	var ratings [WaySlots][meter.Phases]meter.Milliamps
	ratings[3] = [meter.Phases]meter.Milliamps{300_000, 300_000, 0} // a way of two phases
	b.db = NewDatabase(site, ratings, func(changes []dnp3.Change) {
		for _, c := range changes {
			b.seen[[2]int{int(c.Type), int(c.Index)}] = c
		}
	})
	return b
}

func (b *board) is(t dnp3.Type, index uint16, want float64, flags dnp3.Flags) {
	b.t.Helper()
	c, ok := b.seen[[2]int{int(t), int(index)}]
	if !ok || math.Abs(c.Number-want) > 1e-9 || c.Flags != flags {
		b.t.Errorf("%v %d is %v with flags %#x (there: %v), want %v with %#x", t, index, c.Number, c.Flags, ok, want, flags)
	}
}

func reading() *meter.Reading {
	r := &meter.Reading{Way: "W3", At: time.Second}
	for p := range r.Phase {
		r.Phase[p] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: 241_300, Quality: meter.Good}, I: meter.Sample[meter.Milliamps]{Value: 150_000, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: -36_000_000, Quality: meter.Good}, Q: meter.Sample[meter.Millivars]{Value: 2_000_000, Quality: meter.Good},
		}
	}
	r.Neutral = meter.Sample[meter.Milliamps]{Value: 12_000, Quality: meter.Good}
	return r
}

func TestReadingBecomesPoints(t *testing.T) {
	b := newBoard(t, false)
	b.db.Reading(reading(), noon)
	b.is(dnp3.AnalogInput, 150, 241.3, dnp3.Online)
	b.is(dnp3.AnalogInput, 151, -150, dnp3.Online) // export
	b.is(dnp3.AnalogInput, 152, -36, dnp3.Online)  // kW
	b.is(dnp3.AnalogInput, 154, 50, dnp3.Online)   // % of rating
	b.is(dnp3.AnalogInput, 186, 12, dnp3.Online)
	b.is(dnp3.BinaryInput, 70, 0, dnp3.Online)
	if c := b.seen[[2]int{int(dnp3.AnalogInput), 150}]; c.Time != noon.UnixMilli() {
		t.Errorf("time %d", c.Time)
	}
	if _, there := b.seen[[2]int{int(dnp3.AnalogInput), 174}]; there {
		t.Error("L3, which the way does not have, has a voltage")
	}
}

// What is not known keeps its last value, and says with its flags that it is old
// and why.
func TestQualityBecomesFlags(t *testing.T) {
	tests := []struct {
		why  meter.Reason
		want dnp3.Flags
	}{
		{meter.NoAnswer, dnp3.CommLost}, {meter.Exception, dnp3.CommLost}, {meter.BadFrame, dnp3.CommLost}, {meter.OutOfRange, dnp3.OverRange},
		{meter.Restarted, dnp3.Restart}, {meter.Mismatch, dnp3.ReferenceErr}, {meter.Frozen, dnp3.ReferenceErr}, {meter.NotANumber, dnp3.ReferenceErr},
	}
	for _, tt := range tests {
		b := newBoard(t, false)
		b.db.Reading(reading(), noon)
		r := reading()
		r.Fail(tt.why)
		b.db.Reading(r, noon.Add(time.Second))
		b.is(dnp3.AnalogInput, 150, 241.3, tt.want)
	}
	b := newBoard(t, false)
	r := reading()
	r.Phase[0].V.Quality = meter.Suspect
	b.db.Reading(r, noon)
	b.is(dnp3.AnalogInput, 150, 241.3, dnp3.Online|dnp3.ReferenceErr)
	r.Fail(meter.NoAnswer)
	b.db.Reading(r, noon)
	b.is(dnp3.BinaryInput, 70, 1, dnp3.Online)
}

func TestAlarmsShareAPoint(t *testing.T) {
	b := newBoard(t, false)
	edge := func(id, quantity, phase, kind string, e meter.Edge) {
		b.db.Alarm(&meter.Alarm{ID: id, Way: "W3", Quantity: quantity, Phase: phase, Kind: kind, Edge: e, At: noon.Add(1234 * time.Millisecond)})
	}
	edge("W3.L1.i.hi", "i", "L1", "hi", meter.Raise)
	edge("W3.L1.i.hihi", "i", "L1", "hihi", meter.Raise)
	edge("W3.L1.i.hihi", "i", "L1", "hihi", meter.Clear)
	b.is(dnp3.BinaryInput, 60, 1, dnp3.Online) // hi still stands
	b.is(dnp3.BinaryInput, 77, 1, dnp3.Online)
	edge("W3.L1.i.hi", "i", "L1", "hi", meter.Clear)
	b.is(dnp3.BinaryInput, 60, 0, dnp3.Online)
	b.is(dnp3.BinaryInput, 77, 0, dnp3.Online)
	edge("W3.L2.FUSE_SUSPECTED", "", "L2", "FUSE_SUSPECTED", meter.Raise)
	b.is(dnp3.BinaryInput, 67, 1, dnp3.Online)
	edge("W3.L1.SUPPLY_LOST", "", "L1", "SUPPLY_LOST", meter.Raise)
	edge("W3.L2.SUPPLY_LOST", "", "L2", "SUPPLY_LOST", meter.Raise)
	edge("W3.L1.SUPPLY_LOST", "", "L1", "SUPPLY_LOST", meter.Clear)
	b.is(dnp3.BinaryInput, 69, 1, dnp3.Online) // of another phase
	if c := b.seen[[2]int{int(dnp3.BinaryInput), 69}]; c.Time != noon.Add(1234*time.Millisecond).UnixMilli() {
		t.Errorf("the event has time %d, not the alarm's", c.Time)
	}
	b.is(dnp3.AnalogInput, 901, 2, dnp3.Online)
}

func TestHalfHourBecomesPoints(t *testing.T) {
	for _, periods := range []bool{false, true} {
		b := newBoard(t, periods)
		h := &meter.HalfHour{Way: "W3", Start: noon, End: noon.Add(30 * time.Minute), Coverage: 990_000,
			Total: &meter.TotalPeriod{P: 36_000_000, ImportMWh: 18_000_000}}
		h.Phase[0] = &meter.PhasePeriod{I: meter.Stats{RMS: 151_000, Max: 190_000}, V: meter.Stats{Mean: 240_000}, P: meter.PowerStats{Mean: 36_000_000, Import: 36_000_000}, Coverage: meter.Whole}
		b.db.HalfHour(h)
		b.is(dnp3.AnalogInput, 155, 151, dnp3.Online)
		b.is(dnp3.AnalogInput, 156, 190, dnp3.Online)
		b.is(dnp3.AnalogInput, 167, 0, dnp3.CommLost) // L2 has no record
		b.is(dnp3.AnalogInput, 191, 99, dnp3.Online)
		b.is(dnp3.Counter, 30, 18_000, dnp3.Online)
		b.is(dnp3.Counter, 36, 18_000, dnp3.Online)
		c := b.seen[[2]int{int(dnp3.AnalogInput), 155}]
		if c.Time != h.End.UnixMilli() || (c.Event == dnp3.Always) != periods {
			t.Errorf("half-hours as events %v: %+v", periods, c)
		}
		h.Rev = 1
		b.db.HalfHour(h)
		b.is(dnp3.Counter, 36, 18_000, dnp3.Online) // a revision counts no energy twice
	}
}

// A force shows what is not, with its flag, hides what is, and ends by itself.
func TestForce(t *testing.T) {
	b := newBoard(t, false)
	b.db.Reading(reading(), noon)
	if err := b.db.Force(dnp3.AnalogInput, 150, 230, time.Minute, 0, noon); err != nil {
		t.Fatal(err)
	}
	b.is(dnp3.AnalogInput, 150, 230, dnp3.Online|dnp3.LocalForced)
	b.db.Reading(reading(), noon.Add(time.Second))
	b.db.Again()
	b.is(dnp3.AnalogInput, 150, 230, dnp3.Online|dnp3.LocalForced)
	if f := b.db.Forced(time.Second); len(f) != 1 || f[0].Point != "W3 L1 V" || f[0].Left != 59*time.Second {
		t.Errorf("forced: %+v", f)
	}
	b.db.Tick(&Substation{}, time.Minute, noon.Add(time.Minute))
	b.is(dnp3.AnalogInput, 150, 241.3, dnp3.Online)
	for _, err := range []error{
		b.db.Force(dnp3.AnalogInput, 9999, 1, time.Minute, 0, noon), b.db.Force(dnp3.AnalogOutput, 2, 1, time.Minute, 0, noon),
		b.db.Force(dnp3.AnalogInput, 150, 1, 3*time.Hour, 0, noon), b.db.Force(dnp3.AnalogInput, 150, math.NaN(), time.Minute, 0, noon),
		b.db.Force(dnp3.BinaryInput, 60, 2, time.Minute, 0, noon), b.db.Unforce(dnp3.AnalogInput, 150),
	} {
		if err == nil {
			t.Error("a force that can't be is taken")
		}
	}
}

func TestOrders(t *testing.T) {
	site := &Site{}
	site.Groups[1], site.Groups[16] = "G1", "G16"
	o := NewOrders(site, []failsafe.Group{{ID: "G1", Rating: 32_000}, {ID: "G16", Rating: 63_000}})
	analog := func(index uint16, v float64) dnp3.Command {
		return dnp3.Command{Analog: true, Index: index, Value: v, Count: 1}
	}
	relay := func(index uint16, op dnp3.Op, tc dnp3.TripClose) dnp3.Command {
		return dnp3.Command{Index: index, Op: op, Relay: tc, Count: 1}
	}
	tests := []struct {
		name   string
		c      dnp3.Command
		want   Order
		status dnp3.Status
	}{
		{"a limit", analog(2, 10.5), Order{Kind: OrderLimit, Group: "G1", Amps: 10_500}, dnp3.Success},
		{"nothing at all", analog(2, 0), Order{Kind: OrderLimit, Group: "G1"}, dnp3.Success},
		{"the rating", analog(32, 63), Order{Kind: OrderLimit, Group: "G16", Amps: 63_000, None: true}, dnp3.Success},
		{"below nothing", analog(2, -0.1), Order{}, dnp3.OutOfRange},
		{"a slip of scale", analog(2, 16000), Order{}, dnp3.OutOfRange},
		{"no number", analog(2, math.NaN()), Order{}, dnp3.OutOfRange},
		{"a group that is not there", analog(4, 10), Order{}, dnp3.NotSupported},
		{"between two groups", analog(3, 10), Order{}, dnp3.NotSupported},
		{"a heartbeat", analog(40, 17), Order{Kind: OrderBeat, Value: 17}, dnp3.Success},
		{"hold off", relay(4, dnp3.LatchOn, dnp3.Unpaired), Order{Kind: OrderHoldOff, Group: "G1"}, dnp3.Success},
		{"hold off by close", relay(4, dnp3.PulseOn, dnp3.Close), Order{Kind: OrderHoldOff, Group: "G1"}, dnp3.Success},
		{"end it", relay(4, dnp3.LatchOff, dnp3.Unpaired), Order{Kind: OrderEnd, Group: "G1"}, dnp3.Success},
		{"release", relay(65, dnp3.LatchOn, dnp3.Unpaired), Order{Kind: OrderRelease, Group: "G16"}, dnp3.Success},
		{"a pulse", relay(4, dnp3.PulseOn, dnp3.Unpaired), Order{}, dnp3.NotSupported},
		{"an output that is not there", relay(6, dnp3.LatchOn, dnp3.Unpaired), Order{}, dnp3.NotSupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, status := o.Decode(tt.c); got != tt.want || status != tt.status {
				t.Errorf("%+v, %v; want %+v, %v", got, status, tt.want, tt.status)
			}
		})
	}
}

// Whatever a meter says, no point is ever sent a value that is no number, and
// what is not measured is never online.
func TestNoFalseNumber(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBoard(t, true)
		for range rapid.IntRange(1, 20).Draw(rt, "readings") {
			r := reading()
			bad := rapid.SampledFrom([]meter.Reason{0, 0, meter.NoAnswer, meter.OutOfRange, meter.NotANumber}).Draw(rt, "bad")
			for p := range r.Phase {
				r.Phase[p].V.Value = meter.Millivolts(rapid.Int64().Draw(rt, "v"))
				r.Phase[p].I.Value = meter.Milliamps(rapid.Int64Range(0, 1<<40).Draw(rt, "i"))
			}
			if bad != 0 {
				r.Fail(bad)
			}
			b.db.Reading(r, noon)
			for at, c := range b.seen {
				if math.IsNaN(c.Number) || math.IsInf(c.Number, 0) {
					rt.Fatalf("%v is %v", at, c.Number)
				}
				if bad != 0 && at[0] == int(dnp3.AnalogInput) && at[1] >= 150 && at[1] < 190 && c.Flags&dnp3.Online != 0 {
					rt.Fatalf("%v is online with %v", at, bad)
				}
			}
		}
	})
}
