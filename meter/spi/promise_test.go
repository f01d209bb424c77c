package spi_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/physic"
	periph "periph.io/x/conn/v3/spi"
	"pgregory.net/rapid"

	"lvagent/meter"
	"lvagent/meter/spi/spitest"
)

// event is something that happens to the chip.
type event struct {
	at     time.Duration
	what   string
	signal spitest.Signal
	faults spitest.Faults
}

// history is what the inputs were, and since when.
type history []event

// bounds are the least and the most that f was from a moment on, up to another.
func (h history) bounds(from, to time.Duration, f func(*spitest.Signal) float64) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for i := range h {
		if h[i].at > to || i+1 < len(h) && h[i+1].at < from {
			continue
		}
		x := f(&h[i].signal)
		low, high = min(low, x), max(high, x)
	}
	return low, high
}

func drawSignal(t *rapid.T) spitest.Signal {
	s := spitest.Signal{N: rapid.Float64Range(0, 900).Draw(t, "n"), Hertz: rapid.Float64Range(47, 52).Draw(t, "hertz")}
	for k := range s.Phase {
		s.Phase[k] = spitest.Phasor{
			V: rapid.Float64Range(0, 300).Draw(t, "v"), I: rapid.Float64Range(0, 900).Draw(t, "i"),
			Angle: rapid.Float64Range(-180, 180).Draw(t, "angle"),
		}
	}
	return s
}

func drawEvents(t *rapid.T) []event {
	events := []event{{what: "set", signal: drawSignal(t)}}
	for range rapid.IntRange(0, 10).Draw(t, "events") {
		e := event{
			at:   events[len(events)-1].at + time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms"))*time.Millisecond,
			what: rapid.SampledFrom([]string{"set", "noise", "noise", "reset", "silent reset", "break", "mend", "stop"}).Draw(t, "what"),
		}
		switch e.what {
		case "set":
			e.signal = drawSignal(t)
		case "noise":
			ber := rapid.SampledFrom([]float64{1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 1e-2})
			e.faults = spitest.Faults{BadIn: ber.Draw(t, "in"), BadOut: ber.Draw(t, "out")}
		case "break":
			e.faults = rapid.SampledFrom([]spitest.Faults{{Absent: true}, {StuckLow: true}, {Frozen: true}, {Deaf: 0.1}, {NoSum: true}, {NoDevice: true}}).Draw(t, "faults")
		}
		events = append(events, e)
	}
	return events
}

// Whatever happens on the wire and to the chip, and whenever, a value that is
// Good is one that was at the inputs, within the stated error. And when all is
// mended, there are Good values again.
func TestNoGoodValueIsFalse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		events := drawEvents(rt)
		seed := rapid.Uint64().Draw(rt, "seed")
		var faults []string
		synctest.Test(t, func(*testing.T) { faults = play(t, events, seed) })
		if len(faults) > 0 {
			rt.Fatalf("%s", strings.Join(faults, "\n"))
		}
	})
}

func play(t *testing.T, events []event, seed uint64) (faults []string) {
	chip := spitest.New(board, seed)
	var h history
	begin := time.Now()
	done := make(chan struct{})
	for _, e := range events {
		if e.what == "set" {
			h = append(h, e)
		}
	}
	go func() {
		defer close(done)
		for _, e := range events {
			time.Sleep(time.Until(begin.Add(e.at)))
			switch e.what {
			case "set":
				chip.Set(e.signal)
			case "noise", "break", "mend":
				chip.Break(e.faults)
			case "reset", "silent reset":
				chip.Reset(e.what != "reset")
			case "stop":
				chip.Poke(0x480, 0)
			}
		}
	}()
	m := newMeter(t, chip.Open, calibration)
	mended := events[len(events)-1].at + time.Second
	var r meter.Reading
	for good := 0; time.Since(begin) < mended+6*time.Second; {
		if time.Since(begin) > mended {
			chip.Break(spitest.Faults{})
		}
		r, _ = second(m, begin)
		faults = append(faults, falseValues(&r, h, time.Since(begin))...)
		if good++; r.Phase[0].Quality() != meter.Good {
			good = 0
		}
		if good == 5 && time.Since(begin) > mended {
			break
		}
	}
	<-done
	if q := r.Phase[0].Quality(); q != meter.Good {
		faults = append(faults, fmt.Sprintf("%v after all was mended L1 is %v, reason %b", time.Since(begin)-mended, q, r.Phase[0].Reason()))
	}
	return faults
}

// falseValues returns the Good values of a reading that were not at the inputs.
// V and I are of the second and the ten cycles before it; P and Q come through a
// filter, of which what was 2.5 s ago is forgotten to a millionth.
func falseValues(r *meter.Reading, h history, now time.Duration) (faults []string) {
	check := func(what string, q meter.Quality, got int64, back time.Duration, most float64, f func(*spitest.Signal) float64) {
		if q != meter.Good {
			return
		}
		low, high := h.bounds(now-time.Second-back, now, f)
		if x := float64(got); x < low*1000-most || x > high*1000+most {
			faults = append(faults, fmt.Sprintf("at %v: %s = %.0f is outside %.0f to %.0f", now, what, x, low*1000, high*1000))
		}
	}
	for k := range r.Phase {
		ph, name := &r.Phase[k], meter.Phase(k).String()
		check("V of "+name, ph.V.Quality, int64(ph.V.Value), 500*time.Millisecond, errorV, func(s *spitest.Signal) float64 { return s.Phase[k].V })
		check("I of "+name, ph.I.Quality, int64(ph.I.Value), 500*time.Millisecond, errorI, func(s *spitest.Signal) float64 { return s.Phase[k].I })
		power := func(turn float64) func(*spitest.Signal) float64 {
			return func(s *spitest.Signal) float64 {
				p := s.Phase[k]
				return p.V * p.I * math.Cos((p.Angle-turn)*math.Pi/180)
			}
		}
		check("P of "+name, ph.P.Quality, int64(ph.P.Value), 2500*time.Millisecond, errorP+1, power(0))
		check("Q of "+name, ph.Q.Quality, int64(ph.Q.Value), 2500*time.Millisecond, errorP+1, power(90))
	}
	check("neutral", r.Neutral.Quality, int64(r.Neutral.Value), 500*time.Millisecond, errorI, func(s *spitest.Signal) float64 { return s.N })
	return faults
}

// tampered is a port on which somebody touches each transfer.
type tampered struct {
	periph.PortCloser
	touch func(w, r []byte, sent bool)
}

type tamperedConn struct {
	periph.Conn
	touch func(w, r []byte, sent bool)
}

func (p tampered) Connect(f physic.Frequency, mode periph.Mode, bits int) (periph.Conn, error) {
	c, err := p.PortCloser.Connect(f, mode, bits)
	return tamperedConn{c, p.touch}, err
}

func (c tamperedConn) Tx(w, r []byte) error {
	out := append([]byte(nil), w...)
	c.touch(out, nil, false)
	err := c.Conn.Tx(out, r)
	c.touch(out, r, true)
	return err
}

// Each single bit that flips in each transfer of a second, either way, costs one
// of the five values at most, or a new start, and never makes a false one.
func TestNoSingleBitMakesAFalseValue(t *testing.T) {
	signal := evening
	h := history{{signal: signal}}
	for bit := range 48 {
		for _, out := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				chip.Set(signal)
				count, hit := 0, -1
				open := func(device string) (periph.PortCloser, error) {
					p, err := chip.Open(device)
					return tampered{p, func(w, r []byte, sent bool) {
						octets := w
						if sent {
							octets = r
						}
						if sent == !out && count == hit && bit/8 < len(octets) {
							octets[bit/8] ^= 0x80 >> (bit % 8)
						}
						if sent {
							count++
						}
					}}, err
				}
				begin := time.Now()
				m := newMeter(t, open, calibration)
				settle(t, m, begin)
				// A sample has 82 to 84 transfers; each gets its bit in a second
				// of its own, as far as nothing has to start anew.
				for k := range 84 {
					count, hit = 0, k
					r, err := second(m, begin)
					for _, f := range falseValues(&r, h, time.Since(begin)) {
						t.Errorf("bit %d of transfer %d: %s", bit, k, f)
					}
					if err == nil && r.Phase[0].V.Reason&meter.Restarted == 0 && r.Phase[0].V.Quality != meter.Good {
						t.Errorf("bit %d of transfer %d: quality %v, reason %b, want good: four of five", bit, k, r.Phase[0].V.Quality, r.Phase[0].V.Reason)
					}
					if hit = -1; r.Phase[0].V.Quality != meter.Good {
						settle(t, m, begin)
					}
				}
			})
		}
	}
}

// A chip that resets, and is up again, between two transfers of one sample holds
// zeros that pass every check; a process that was not scheduled in between sees
// no gap.
func TestAResetWithinASampleIsNoticed(t *testing.T) {
	for _, silent := range []bool{false, true} {
		// In the last of the five: of a reset in another one, the next would tell.
		for at := 320; at < 425; at++ {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				chip.Set(evening)
				count := math.MinInt
				open := func(device string) (periph.PortCloser, error) {
					p, err := chip.Open(device)
					return tampered{p, func(w, r []byte, sent bool) {
						if sent {
							return
						}
						if count == at {
							chip.Reset(silent)
							time.Sleep(60 * time.Millisecond)
						}
						count++
					}}, err
				}
				begin := time.Now()
				m := newMeter(t, open, calibration)
				settle(t, m, begin)
				count = 0
				for range 2 { // the last transfers come after the sample
					r, _ := second(m, begin)
					for _, f := range falseValues(&r, history{{signal: evening}}, time.Since(begin)) {
						t.Errorf("reset before transfer %d: %s", at, f)
					}
				}
			})
		}
	}
}

// One of five values may be missing without harm, two may not.
func TestMissedValuesCountInTheQuality(t *testing.T) {
	tests := []struct {
		lost int
		want meter.Quality
		why  meter.Reason
	}{
		{0, meter.Good, 0},
		{1, meter.Good, 0},
		{2, meter.Suspect, meter.BadFrame},
		{4, meter.Suspect, meter.BadFrame},
		{5, meter.Missing, meter.BadFrame},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d lost", tt.lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				s := evening
				s.Hertz = 50
				chip.Set(s)
				lose := 0
				open := func(device string) (periph.PortCloser, error) {
					p, err := chip.Open(device)
					return tampered{p, func(w, r []byte, sent bool) {
						// The first thing asked of each sample is STATUS0.
						if sent && lose > 0 && binary.BigEndian.Uint16(w) == 0x4028 {
							lose--
							r[3] ^= 1
						}
					}}, err
				}
				begin := time.Now()
				m := newMeter(t, open, calibration)
				settle(t, m, begin)
				lose = tt.lost
				r, err := second(m, begin)
				if (err != nil) != (tt.want == meter.Missing) {
					t.Errorf("error = %v", err)
				}
				if got := r.Phase[2].P; got.Quality != tt.want || got.Reason != tt.why {
					t.Errorf("quality %v, reason %b, want %v, %b", got.Quality, got.Reason, tt.want, tt.why)
				}
				if tt.want != meter.Missing {
					if faults := differ(&r, &s); len(faults) > 0 {
						t.Error(strings.Join(faults, "; "))
					}
				}
			})
		})
	}
}

// A chip whose ten cycles are a little longer or shorter than 200 ms loses one
// value now and then, never two in a second.
func TestABeatAgainstTheLineCostsNothing(t *testing.T) {
	for _, hertz := range []float64{49.5, 49.9, 49.99, 50, 50.01, 50.1, 50.5} {
		synctest.Test(t, func(t *testing.T) {
			chip := spitest.New(board, 1)
			s := evening
			s.Hertz = hertz
			chip.Set(s)
			begin := time.Now()
			m := newMeter(t, chip.Open, calibration)
			settle(t, m, begin)
			for k := range 200 {
				if r, err := second(m, begin); err != nil || r.Phase[0].V.Quality != meter.Good {
					t.Fatalf("%v Hz, second %d: %v, quality %v, reason %b", hertz, k, err, r.Phase[0].V.Quality, r.Phase[0].V.Reason)
				}
			}
		})
	}
}

func TestASecondAllocatesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(board, 1)
		chip.Set(evening)
		begin := time.Now()
		m := newMeter(t, chip.Open, calibration)
		settle(t, m, begin)
		// Past the next minute's read-back, which is part of it.
		if n := testing.AllocsPerRun(100, func() {
			if _, err := second(m, begin); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations a second", n)
		}
	})
}

func TestSupply(t *testing.T) {
	for _, fast := range []bool{false, true} {
		t.Run(fmt.Sprintf("fast %v", fast), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				chip.Fast = fast
				chip.Set(evening)
				begin := time.Now()
				m := newMeter(t, chip.Open, calibration)
				var s meter.SupplyReading
				if err := m.ReadSupply(&s); err != nil || s.Frequency.Reason != meter.NoAnswer {
					t.Errorf("before it is open: %v, %+v", err, s.Frequency)
				}
				second(m, begin)
				if err := m.ReadSupply(&s); err != nil || s.Frequency.Reason != meter.Restarted || s.THDV[0].Reason != meter.Restarted {
					t.Errorf("before it has settled: %v, %+v", err, s)
				}
				settle(t, m, begin)
				if err := m.ReadSupply(&s); err != nil {
					t.Fatal(err)
				}
				if f := s.Frequency; f.Quality != meter.Good || math.Abs(float64(f.Value)-49980) > 2 {
					t.Errorf("frequency = %+v, want 49.98 Hz", f)
				}
				for k, want := range []int64{21_000, 19_000, 20_000} {
					if d := s.THDV[k]; d.Quality != meter.Good || int64(d.Value) != want {
						t.Errorf("THD of V%d = %+v, want %d ppm", k+1, d, want)
					}
				}
				if d := s.THDI[0]; d.Value != 110_000 {
					t.Errorf("THD of I1 = %+v", d)
				}
				if s.Interruptions.Reason != meter.NotSupported || s.ImportWh.Reason != meter.NotSupported || s.Line[0].Reason != meter.NotSupported {
					t.Errorf("what the chip has not: %+v", s)
				}
				chip.Reset(true)
				time.Sleep(100 * time.Millisecond)
				if err := m.ReadSupply(&s); err != nil || s.Frequency.Quality != meter.Missing || s.THDV[1].Quality != meter.Missing {
					t.Errorf("after a silent reset: %v, %+v", err, s)
				}
			})
		})
	}
}

func TestDipsAndSwellsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(board, 1)
		chip.Set(evening)
		begin := time.Now()
		m := newMeter(t, chip.Open, calibration)
		settle(t, m, begin)
		var s meter.SupplyReading
		expect := func(what string, dips, swells meter.Count) {
			t.Helper()
			second(m, begin)
			if err := m.ReadSupply(&s); err != nil {
				t.Fatal(err)
			}
			if s.Dips.Value != dips || s.Swells.Value != swells || s.Dips.Quality != meter.Good {
				t.Errorf("%s: %d dips, %d swells, want %d and %d", what, s.Dips.Value, s.Swells.Value, dips, swells)
			}
		}
		brief := func(d time.Duration, volts ...float64) {
			since := time.Since(begin)
			time.Sleep(since.Truncate(time.Second) + 1100*time.Millisecond - since)
			x := evening
			for k, v := range volts {
				x.Phase[k].V = v
			}
			chip.Set(x)
			go func() {
				time.Sleep(d)
				chip.Set(evening)
			}()
		}
		expect("a start from nothing", 0, 0)
		chip.Reset(false)
		second(m, begin)
		brief(300*time.Millisecond, 0, 0, 260)
		settle(t, m, begin)
		expect("while values settle", 0, 0)
		brief(60*time.Millisecond, 100)
		expect("three cycles on L1", 1, 0)
		expect("the second after", 1, 0)
		brief(700*time.Millisecond, 0, 0, 0)
		expect("700 ms without any voltage", 2, 0)
		brief(1500*time.Millisecond, 238, 150)
		expect("the first second of a dip on L2", 3, 0)
		expect("its rest", 3, 0)
		brief(100*time.Millisecond, 240, 240, 260)
		expect("a swell on L3", 3, 1)
		brief(100*time.Millisecond, 240, 240, 250)
		expect("250 V is none", 3, 1)
	})
}

// Each check catches what the others let pass.
func TestEachCheckStandsForItself(t *testing.T) {
	const voltage, last32, lastCmd = 0x21C8, 0x4238, 0x4AE8
	tests := []struct {
		name string
		// touch is called while the voltage is read, for each transfer before it
		// (in is nil) and after it. Seen counts the commands asked for.
		touch func(cmd uint16, out, in []byte, seen int)
	}{
		{"checksum: data and repeated data wrong in the same bit", func(cmd uint16, _, in []byte, _ int) {
			if in != nil && (cmd == voltage || cmd == last32) {
				in[3] ^= 4
			}
		}},
		{"repeated data: an error that the checksum does not see", func(cmd uint16, _, in []byte, _ int) {
			if in != nil && cmd == voltage {
				in[3], in[4], in[5] = in[3]^0x01, in[4]^0x10, in[5]^0x21
			}
		}},
		{"command: another register, and its command wrong once", func(cmd uint16, out, in []byte, seen int) {
			switch {
			case in == nil && cmd == voltage:
				out[1] ^= 0x10
			case in != nil && cmd == lastCmd && seen == 0:
				in[3] ^= 0x10
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				chip.Set(evening)
				active, inVoltage, seen := false, false, 0
				var cmd uint16
				open := func(device string) (periph.PortCloser, error) {
					p, err := chip.Open(device)
					return tampered{p, func(w, r []byte, sent bool) {
						if !sent {
							cmd = binary.BigEndian.Uint16(w) // as meant
							if cmd < 0x4000 {                // a measured register
								inVoltage, seen = cmd == voltage, 0
							}
						}
						if !active || !inVoltage {
							return
						}
						if !sent {
							tt.touch(cmd, w, nil, seen)
							return
						}
						tt.touch(cmd, w, r, seen)
						if cmd == lastCmd {
							seen++
						}
					}}, err
				}
				begin := time.Now()
				m := newMeter(t, open, calibration)
				settle(t, m, begin)
				active = true
				r, err := second(m, begin)
				if err == nil || r.Phase[0].V.Quality != meter.Missing || r.Phase[0].V.Reason != meter.BadFrame {
					t.Errorf("error %v, %+v", err, r.Phase[0].V)
				}
			})
		})
	}
}
