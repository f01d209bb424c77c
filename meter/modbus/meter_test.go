package modbus

import (
	"bytes"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"

	"lvagent/meter"
	"lvagent/meter/metertest"
)

var evening = metertest.SDM630{
	V: [3]float64{241.3, 239.8, 240.6}, I: [3]float64{212.5, 187.25, 96.125},
	P: [3]float64{51_276.25, -44_902.05, 23_127.675}, Q: [3]float64{5_100.2, -310.1, 0}, N: 61.2,
}

// eveningReading is what evening reads as; P is the nearest 32-bit float.
func eveningReading() meter.Reading {
	var r meter.Reading
	r.Way = "W3"
	v := [3]meter.Millivolts{241_300, 239_800, 240_600}
	i := [3]meter.Milliamps{212_500, 187_250, 96_125}
	p := [3]meter.Milliwatts{51_276_250, -44_902_051, 23_127_676}
	q := [3]meter.Millivars{5_100_200, -310_100, 0}
	for ph := range r.Phase {
		r.Phase[ph] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: v[ph], Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: i[ph], Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: p[ph], Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Value: q[ph], Quality: meter.Good},
		}
	}
	r.Neutral = meter.Sample[meter.Milliamps]{Value: 61_200, Quality: meter.Good}
	return r
}

func newMeter(t *testing.T, s *metertest.Server) *Meter {
	t.Helper()
	s.SetSDM630(3, evening)
	return NewMeter(open(t, s.URL()), "W3", 3, shipped(t))
}

func TestReadSDM630(t *testing.T) {
	s := serve(t)
	m := newMeter(t, s)
	var got meter.Reading
	if err := m.Read(&got); err != nil {
		t.Fatal(err)
	}
	if want := eveningReading(); got != want {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	if n := s.Unit(3).Requests(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestReadSupplyOfSDM630(t *testing.T) {
	s := serve(t)
	m := newMeter(t, s)
	var got meter.SupplyReading
	if err := m.ReadSupply(&got); err != nil {
		t.Fatal(err)
	}
	if got.Frequency != (meter.Sample[meter.Millihertz]{Value: 50_000, Quality: meter.Good}) || got.THDI[meter.L3].Quality != meter.Good ||
		got.ExportWh.Quality != meter.Good || got.Line[meter.L1].Reason != meter.NotSupported {
		t.Errorf("%+v", got)
	}
	if n := s.Unit(3).Requests(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// every returns the samples of r as (value, quality, reason), phases first.
func every(r *meter.Reading) []meter.Sample[meter.Milliamps] {
	var all []meter.Sample[meter.Milliamps]
	for i := range r.Phase {
		p := &r.Phase[i]
		all = append(all,
			meter.Sample[meter.Milliamps]{Value: meter.Milliamps(p.V.Value), Quality: p.V.Quality, Reason: p.V.Reason},
			p.I,
			meter.Sample[meter.Milliamps]{Value: meter.Milliamps(p.P.Value), Quality: p.P.Quality, Reason: p.P.Reason},
			meter.Sample[meter.Milliamps]{Value: meter.Milliamps(p.Q.Value), Quality: p.Q.Quality, Reason: p.Q.Reason})
	}
	return append(all, r.Neutral)
}

// Each fault makes every value Missing with its reason; no number of the good
// reading before stays, and the reading after it is good again.
func TestEveryFaultOfAMeter(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault metertest.Fault
		why   meter.Reason
		gone  bool         // the connection
		rest  meter.Reason // of the neutral, when it was not asked for; 0: as why
	}{
		{"mute", metertest.Fault{Kind: metertest.Mute}, meter.NoAnswer, true, 0},
		{"late", metertest.Fault{Kind: metertest.Late, Delay: 2 * short}, meter.NoAnswer, true, 0},
		{"answer to another request", metertest.Fault{Kind: metertest.WrongTransaction}, meter.NoAnswer, true, 0},
		{"dropped", metertest.Fault{Kind: metertest.Drop}, meter.NoAnswer, true, 0},
		{"short frame", metertest.Fault{Kind: metertest.ShortFrame}, meter.BadFrame, true, meter.NoAnswer},
		{"garbage", metertest.Fault{Kind: metertest.Garbage}, meter.BadFrame, true, meter.NoAnswer},
		{"another unit", metertest.Fault{Kind: metertest.WrongUnit}, meter.BadFrame, true, meter.NoAnswer},
		{"illegal function", metertest.Fault{Kind: metertest.Exceptional, Code: 1}, meter.Exception, false, 0},
		{"illegal address", metertest.Fault{Kind: metertest.Exceptional, Code: 2}, meter.Exception, false, 0},
		{"device failure", metertest.Fault{Kind: metertest.Exceptional, Code: 4}, meter.Exception, false, 0},
		{"device busy", metertest.Fault{Kind: metertest.Exceptional, Code: 6}, meter.Exception, false, 0},
		{"unknown exception", metertest.Fault{Kind: metertest.Exceptional, Code: 0x42}, meter.Exception, false, 0},
		{"gateway has no path", metertest.Fault{Kind: metertest.Exceptional, Code: 10}, meter.NoAnswer, false, 0},
		{"gateway has no reply", metertest.Fault{Kind: metertest.Exceptional, Code: 11}, meter.NoAnswer, false, 0},
		{"not a number", metertest.Fault{Kind: metertest.NaN}, meter.NotANumber, false, 0},
		{"all ones", metertest.Fault{Kind: metertest.Sentinel, Word: 0xffff}, meter.NotANumber, false, 0},
		{"out of range", metertest.Fault{Kind: metertest.Sentinel, Word: 0x7f00}, meter.OutOfRange, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t)
			m := newMeter(t, s)
			var r meter.Reading
			if err := m.Read(&r); err != nil {
				t.Fatal(err)
			}
			s.Unit(3).Break(tt.fault)
			if err := m.Read(&r); (err != nil) != tt.gone {
				t.Errorf("read: %v, connection gone: want %v", err, tt.gone)
			}
			all := every(&r)
			for i, x := range all {
				want := meter.Sample[meter.Milliamps]{Reason: tt.why}
				if tt.rest != 0 && i == len(all)-1 {
					want.Reason = tt.rest
				}
				if x != want {
					t.Errorf("sample %d = %+v, want %+v", i, x, want)
				}
			}
			s.Unit(3).Heal()
			if err := m.client.Open(); err != nil {
				t.Fatal(err)
			}
			if err := m.Read(&r); err != nil || r != eveningReading() {
				t.Errorf("after it healed: %v\n%+v", err, r)
			}
		})
	}
}

func TestSentinelOfAnIntegerMeter(t *testing.T) {
	s := serve(t)
	u := s.Unit(1)
	u.SetHolding(0, 2301, 0xffff, 3001, 5000, 0, 6000, 0, 7000, 0, 10, 0xfff6, 0)
	u.SetHolding(99, 0xffff, 0xfffe, 0, 3, 0, 0)
	p, faults := ParseProfile([]byte(small))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var r meter.Reading
	if err := NewMeter(open(t, s.URL()), "W1", 1, p).Read(&r); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, x := range every(&r) {
		if x.Quality == meter.Missing {
			got = append(got, -int64(x.Reason)*1_000_000_000)
		} else {
			got = append(got, int64(x.Value))
		}
	}
	const g = -1_000_000_000
	want := []int64{
		230_100, 5_000, 100_000, -2_000,
		g * int64(meter.Sentinel), 6_000, -100_000, 3_000,
		g * int64(meter.OutOfRange), 7_000, 0, 0,
		g * int64(meter.Sentinel|meter.OutOfRange), // derived from V that is not there
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// One bad value costs itself only.
func TestQualityIsPerValue(t *testing.T) {
	s := serve(t)
	m := newMeter(t, s)
	s.Unit(3).SetFloat(0x08, math.NaN()) // I of L2
	var r meter.Reading
	if err := m.Read(&r); err != nil {
		t.Fatal(err)
	}
	want := eveningReading()
	want.Phase[meter.L2].I = meter.Sample[meter.Milliamps]{Reason: meter.NotANumber}
	if r != want {
		t.Errorf("got\n%+v, want\n%+v", r, want)
	}
}

// The connection goes before request n of a poll, for all n.
func TestConnectionLostAtEachRequest(t *testing.T) {
	for n := range 3 {
		s := serve(t)
		m := newMeter(t, s)
		s.Unit(3).Break(metertest.Fault{Kind: metertest.Drop, Skip: n})
		var r meter.Reading
		err := m.Read(&r)
		want := eveningReading()
		switch n {
		case 0:
			want.Fail(meter.NoAnswer)
		case 1:
			want.Neutral = meter.Sample[meter.Milliamps]{Reason: meter.NoAnswer}
		}
		if (err != nil) != (n < 2) || r != want {
			t.Errorf("lost at request %d: %v\n%+v", n, err, r)
		}
	}
}

func TestReadOnAClosedClient(t *testing.T) {
	s := serve(t)
	m := newMeter(t, s)
	m.client.Close()
	r := eveningReading()
	err := m.Read(&r)
	var want meter.Reading
	want.Fail(meter.NoAnswer)
	want.Way = "W3"
	if err == nil || r != want {
		t.Errorf("%v\n%+v", err, r)
	}
}

// holes removes input registers of a unit.
func holes(u *metertest.Unit, addrs ...uint16) {
	u.Update(func(im *metertest.Image) {
		for _, a := range addrs {
			delete(im.Input, a)
		}
	})
}

func TestRefusedBlockIsReadInParts(t *testing.T) {
	for _, tt := range []struct {
		name    string
		holes   []uint16
		missing []int // samples, as every counts them
		first   int   // requests of the first poll
		then    int   // and of each later one
	}{
		// The gap between P and Q is not there: two runs and the neutral.
		{"the gap", []uint16{0x12, 0x13, 0x14, 0x15, 0x16, 0x17}, nil, 4, 3},
		// I of L2 is not there: Q in one run, all else value by value.
		{"one value", []uint16{0x08, 0x09}, []int{5}, 13, 11},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t)
			m := newMeter(t, s)
			var log bytes.Buffer
			m.client.log = slog.New(slog.NewTextHandler(&log, nil))
			u := s.Unit(3)
			holes(u, tt.holes...)
			before := 0
			for _, requests := range []int{tt.first, tt.then, tt.then} {
				var r meter.Reading
				if err := m.Read(&r); err != nil {
					t.Fatal(err)
				}
				for i, x := range every(&r) {
					switch missing := slices.Contains(tt.missing, i); {
					case missing && x.Reason != meter.Exception:
						t.Errorf("sample %d = %+v, want an exception", i, x)
					case !missing && x.Quality != meter.Good:
						t.Errorf("sample %d = %+v, want a value", i, x)
					}
				}
				if got := u.Requests() - before; got != requests {
					t.Errorf("%d requests, want %d", got, requests)
				}
				before = u.Requests()
			}
			if n := strings.Count(log.String(), "refuses a block"); n != 1 {
				t.Errorf("logged %d times, want once:\n%s", n, &log)
			}
		})
	}
}

// A meter that refuses the parts too is asked the whole again, and is not
// taken apart at every poll.
func TestSplitThatDoesNotHelpIsTakenBack(t *testing.T) {
	s := serve(t)
	m := newMeter(t, s)
	u := s.Unit(3)
	u.Break(metertest.Fault{Kind: metertest.Exceptional, Code: metertest.IllegalAddress})
	var r meter.Reading
	for range 3 {
		if err := m.Read(&r); err != nil {
			t.Fatal(err)
		}
	}
	before := u.Requests()
	if err := m.Read(&r); err != nil {
		t.Fatal(err)
	}
	if got := u.Requests() - before; got != 2 {
		t.Errorf("%d requests a poll, want 2", got)
	}
	u.Heal()
	if err := m.Read(&r); err != nil || r != eveningReading() {
		t.Errorf("after it healed: %v\n%+v", err, r)
	}
}

// Two meters on one gateway keep apart: unit ids do not mix.
func TestTwoMetersOnOneClient(t *testing.T) {
	s := serve(t)
	a := newMeter(t, s)
	other := evening
	other.V = [3]float64{1, 2, 3}
	s.SetSDM630(4, other)
	b := NewMeter(a.client, "W4", 4, a.profile)
	var ra, rb meter.Reading
	for range 3 {
		if err := a.Read(&ra); err != nil {
			t.Fatal(err)
		}
		if err := b.Read(&rb); err != nil {
			t.Fatal(err)
		}
		if ra.Phase[meter.L1].V.Value != 241_300 || rb.Phase[meter.L1].V.Value != 1_000 || rb.Way != "W4" {
			t.Fatalf("V of L1: %v and %v", ra.Phase[meter.L1].V, rb.Phase[meter.L1].V)
		}
	}
}
