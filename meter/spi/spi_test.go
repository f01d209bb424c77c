package spi_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	periph "periph.io/x/conn/v3/spi"

	"lvagent/meter"
	"lvagent/meter/spi"
	"lvagent/meter/spi/spitest"
)

// calibration is a board with a CT on each phase and on the neutral.
const calibration = `schema: 1
board: LV9-000123
chip: ade9000
channels:
  - {channel: A, phase: L1, full_scale_v: 500, full_scale_a: 2.5, ct_ratio: 400}
  - {channel: B, phase: L2, full_scale_v: 500, full_scale_a: 2.5, ct_ratio: 400}
  - {channel: C, phase: L3, full_scale_v: 500, full_scale_a: 2.5, ct_ratio: 400}
neutral: {full_scale_a: 2.5, ct_ratio: 400}
`

var board = spitest.Board{Volts: [3]float64{500, 500, 500}, Amps: [3]float64{1000, 1000, 1000}, Neutral: 1000}

// evening is a usual load.
var evening = spitest.Signal{
	Phase: [3]spitest.Phasor{
		{V: 241.3, I: 212.5, Angle: 12, THDV: 0.021, THDI: 0.11},
		{V: 238.9, I: 88.25, Angle: -20, THDV: 0.019, THDI: 0.07},
		{V: 240.1, I: 301.125, Angle: 168, THDV: 0.02, THDI: 0.05},
	},
	N: 61.2, Hertz: 49.98,
}

// The stated error: one code, and the rounding to thousandths. A code is a
// 52,702,092nd of full scale, of a power a 20,694,066th.
const (
	errorV = 500.0*1000/52_702_092 + 1
	errorI = 1000.0*1000/52_702_092 + 1
	errorP = 500.0*1000*1000/20_694_066 + 1
)

func parse(t testing.TB, text string) *spi.Calibration {
	t.Helper()
	c, faults := spi.ParseCalibration([]byte(text))
	if len(faults) > 0 {
		t.Fatalf("calibration: %v", faults)
	}
	return c
}

func newMeter(t testing.TB, open func(string) (periph.PortCloser, error), text string) *spi.Meter {
	t.Helper()
	return spi.NewMeter(spi.Config{Device: "/dev/spidev0.0", ClockKHz: 1000, Way: "W1", Calibration: parse(t, text), Open: open})
}

// second reads at the next full second, as the bus does, and opens first when it
// has to.
func second(m *spi.Meter, begin time.Time) (r meter.Reading, err error) {
	since := time.Since(begin)
	time.Sleep(since.Truncate(time.Second) + time.Second - since)
	r.Fail(meter.NoAnswer)
	if err := m.Open(); err != nil {
		return r, err
	}
	if err = m.Read(&r); err != nil {
		err = errors.Join(err, m.Close())
	}
	return r, err
}

// settle reads until there are values.
func settle(t *testing.T, m *spi.Meter, begin time.Time) meter.Reading {
	t.Helper()
	for range 8 {
		if r, err := second(m, begin); err == nil && r.Phase[0].V.Quality == meter.Good {
			return r
		}
	}
	t.Fatal("no good reading within 8 s")
	return meter.Reading{}
}

// differ says how a reading is unlike the signal, beyond the stated error.
func differ(r *meter.Reading, s *spitest.Signal) (faults []string) {
	near := func(what string, got, want, most float64) {
		if math.Abs(got-want) > most {
			faults = append(faults, fmt.Sprintf("%s = %.0f, want %.0f", what, got, want))
		}
	}
	for k, p := range s.Phase {
		ph := &r.Phase[k]
		sin, cos := math.Sincos(p.Angle * math.Pi / 180)
		near(fmt.Sprintf("V of L%d", k+1), float64(ph.V.Value), p.V*1000, errorV)
		near(fmt.Sprintf("I of L%d", k+1), float64(ph.I.Value), p.I*1000, errorI)
		near(fmt.Sprintf("P of L%d", k+1), float64(ph.P.Value), p.V*p.I*cos*1000, errorP)
		near(fmt.Sprintf("Q of L%d", k+1), float64(ph.Q.Value), p.V*p.I*sin*1000, errorP)
	}
	near("neutral", float64(r.Neutral.Value), s.N*1000, errorI)
	return faults
}

func TestAReadingIsWhatIsAtTheInputs(t *testing.T) {
	export := evening
	export.Phase[0].Angle = 180 + 12
	dead := evening
	dead.Phase[1] = spitest.Phasor{}
	tests := []struct {
		name   string
		signal spitest.Signal
	}{
		{"an evening", evening},
		{"export on L1", export},
		{"nothing on L2", dead},
		{"no load", spitest.Signal{Phase: [3]spitest.Phasor{{V: 230}, {V: 230}, {V: 230}}, Hertz: 50}},
		{"nothing at all", spitest.Signal{}},
		{"full scale", spitest.Signal{Phase: [3]spitest.Phasor{{V: 500, I: 1000}, {V: 500, I: 1000, Angle: 90}, {V: 500, I: 1000, Angle: 180}}, N: 1000, Hertz: 50}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				chip.Set(tt.signal)
				begin := time.Now()
				m := newMeter(t, chip.Open, calibration)
				settle(t, m, begin)
				for range 3 {
					r, err := second(m, begin)
					if err != nil {
						t.Fatal(err)
					}
					if got := r.Phase[0].Quality(); got != meter.Good {
						t.Errorf("quality = %v, reason %b", got, r.Phase[0].Reason())
					}
					if faults := differ(&r, &tt.signal); len(faults) > 0 {
						t.Error(strings.Join(faults, "; "))
					}
				}
			})
		})
	}
}

func TestTheBoardsConstantsAreUsed(t *testing.T) {
	const other = `schema: 1
board: LV9-000124
chip: ade9000
channels:
  - {channel: A, phase: L2, full_scale_v: 480, gain_v: 1.041666666667, full_scale_a: 2, ct_ratio: 400, gain_i: 1.25}
  - {channel: C, phase: L1, full_scale_v: 500, full_scale_a: 1000, invert: true}
`
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(board, 1)
		chip.Set(evening)
		begin := time.Now()
		m := newMeter(t, chip.Open, other)
		r := settle(t, m, begin)
		want := evening
		want.Phase = [3]spitest.Phasor{evening.Phase[2], evening.Phase[0], {}}
		want.Phase[0].Angle += 180 // inverted
		want.N = 0
		if faults := differ(&r, &want); len(faults) > 0 {
			t.Error(strings.Join(faults, "; "))
		}
		for what, why := range map[string]meter.Reason{"L3": r.Phase[2].Reason(), "the neutral": r.Neutral.Reason} {
			if why != meter.NotSupported {
				t.Errorf("%s has reason %b, want not supported: the board has no such channel", what, why)
			}
		}
	})
}

// What the site file says of the wiring comes on top of the board's constants.
func TestTheSitesWiringIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(board, 1)
		chip.Set(evening)
		begin := time.Now()
		m := spi.NewMeter(spi.Config{
			Device: "/dev/spidev0.0", ClockKHz: 1000, Way: "W1", Calibration: parse(t, calibration), Open: chip.Open,
			Map: [3]meter.Phase{meter.L2, meter.L3, meter.L1}, Invert: [3]bool{false, true, false},
		})
		r := settle(t, m, begin)
		want := evening
		want.Phase = [3]spitest.Phasor{evening.Phase[2], evening.Phase[0], evening.Phase[1]}
		want.Phase[1].Angle += 180
		if faults := differ(&r, &want); len(faults) > 0 {
			t.Error(strings.Join(faults, "; "))
		}
		var s meter.SupplyReading
		if err := m.ReadSupply(&s); err != nil || s.THDI[1].Value != 110_000 {
			t.Errorf("THD of I2 = %+v, %v", s.THDI[1], err)
		}
	})
}

// What the rms of a second is, when the load changes within it.
func TestASecondIsTheRootOfTheMeanOfSquares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(board, 1)
		low, high := evening, evening
		low.Hertz, high.Hertz = 50, 50
		low.Phase[0].I, high.Phase[0].I = 100, 300
		chip.Set(low)
		begin := time.Now()
		m := newMeter(t, chip.Open, calibration)
		settle(t, m, begin)
		go func() {
			since := time.Since(begin)
			time.Sleep(since.Truncate(time.Second) + 1500*time.Millisecond - since)
			chip.Set(high)
		}()
		r, err := second(m, begin)
		if err != nil {
			t.Fatal(err)
		}
		// Five values of 200 ms, of which the change hits the third or fourth.
		got := float64(r.Phase[0].I.Value) / 1000
		if got <= 100 || got >= 300 || math.Abs(got-math.Sqrt((3*1e4+2*9e4)/5)) > 35 {
			t.Errorf("rms = %.1f A of 100 A for half a second and 300 A after", got)
		}
		if r.Phase[0].I.Quality != meter.Good {
			t.Errorf("quality = %v", r.Phase[0].I.Quality)
		}
	})
}

func TestAResetIsNoticedAndOverWhenSettled(t *testing.T) {
	tests := []struct {
		name string
		hit  func(*spitest.Chip)
	}{
		{"a reset that is told of", func(c *spitest.Chip) { c.Reset(false) }},
		{"a reset that is not told of", func(c *spitest.Chip) { c.Reset(true) }},
		{"nothing but the status tells of a reset", func(c *spitest.Chip) { c.Flip(0x403, 1<<16) }},
		{"an error of the chip", func(c *spitest.Chip) { c.Flip(0x403, 1<<29) }},
		{"a register of the configuration changes", func(c *spitest.Chip) { c.Poke(0x060, 0x20) }},
		{"the chip stops", func(c *spitest.Chip) { c.Poke(0x480, 0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				chip.Set(evening)
				begin := time.Now()
				m := newMeter(t, chip.Open, calibration)
				settle(t, m, begin)
				go func() {
					time.Sleep(1450 * time.Millisecond)
					tt.hit(chip)
				}()
				hit := time.Now()
				var restarted, good bool
				for range 8 {
					r, err := second(m, begin)
					if err != nil {
						t.Fatalf("read: %v", err)
					}
					switch r.Phase[0].V.Quality {
					case meter.Good:
						if faults := differ(&r, &evening); len(faults) > 0 {
							t.Errorf("%v after the reset: %s", time.Since(hit), strings.Join(faults, "; "))
						}
						good = restarted
					case meter.Missing:
						if r.Phase[0].V.Reason&meter.Restarted == 0 {
							t.Errorf("missing with reason %b, want restarted", r.Phase[0].V.Reason)
						}
						restarted = true
					default:
						t.Errorf("quality = %v with reason %b", r.Phase[0].V.Quality, r.Phase[0].V.Reason)
					}
				}
				if !restarted || !good {
					t.Errorf("restarted = %v, good again = %v", restarted, good)
				}
			})
		})
	}
}

// A register that changes without the chip's own watch seeing it is found by the
// read-back, within a minute and a second.
func TestTheConfigurationIsReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(board, 1)
		chip.Set(evening)
		begin := time.Now()
		m := newMeter(t, chip.Open, calibration)
		settle(t, m, begin)
		chip.Flip(0x4AF, 0x0001)
		flipped := time.Now()
		for time.Since(flipped) < 65*time.Second {
			r, err := second(m, begin)
			if err != nil {
				t.Fatal(err)
			}
			if r.Phase[0].V.Reason&meter.Restarted != 0 {
				if got := chip.Register(0x4AF); got != 0x0A00 {
					t.Errorf("CONFIG2 = 0x%x after the new start", got)
				}
				if since := time.Since(flipped); since > 63*time.Second {
					t.Errorf("found after %v", since)
				}
				return
			}
		}
		t.Error("not found in 65 s")
	})
}

func TestWhatDoesNotAnswerRightIsNotOpened(t *testing.T) {
	tests := []struct {
		name   string
		faults spitest.Faults
		want   string
	}{
		{"no device", spitest.Faults{NoDevice: true}, "open /dev/spidev0.0: no such file"},
		{"no chip", spitest.Faults{Absent: true}, "no front end answers"},
		{"a bus that is stuck", spitest.Faults{StuckLow: true}, "no front end answers"},
		{"a configuration that does not take", spitest.Faults{Deaf: 1}, "configure: register 0x"},
		{"no checksum", spitest.Faults{NoSum: true}, "does not compute the checksum"},
		{"a transfer that fails", spitest.Faults{Broken: errors.New("input/output error")}, "input/output error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				chip.Set(evening)
				chip.Break(tt.faults)
				begin := time.Now()
				m := newMeter(t, chip.Open, calibration)
				r, err := second(m, begin)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error = %v, want one with %q", err, tt.want)
				}
				if r.Phase[0].V.Quality != meter.Missing {
					t.Errorf("quality = %v", r.Phase[0].V.Quality)
				}
				if since := time.Since(begin); since > 3*time.Second {
					t.Errorf("took until %v", since)
				}
				chip.Break(spitest.Faults{})
				r = settle(t, m, begin)
				if faults := differ(&r, &evening); len(faults) > 0 {
					t.Errorf("after it was mended: %s", strings.Join(faults, "; "))
				}
			})
		})
	}
}

func TestWhatFailsLaterEndsTheLink(t *testing.T) {
	tests := []struct {
		name   string
		faults spitest.Faults
		why    meter.Reason
	}{
		{"no chip", spitest.Faults{Absent: true}, meter.BadFrame},
		{"a bus that is stuck", spitest.Faults{StuckLow: true}, meter.BadFrame},
		{"nothing new", spitest.Faults{Frozen: true}, meter.NoAnswer},
		{"a transfer that fails", spitest.Faults{Broken: errors.New("input/output error")}, meter.NoAnswer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				chip := spitest.New(board, 1)
				chip.Set(evening)
				begin := time.Now()
				m := newMeter(t, chip.Open, calibration)
				settle(t, m, begin)
				chip.Break(tt.faults)
				var r meter.Reading
				var err error
				for range 2 { // of the first second something may still be good
					if r, err = second(m, begin); err != nil {
						break
					}
				}
				if err == nil || r.Phase[0].V.Quality != meter.Missing || r.Phase[0].V.Reason != tt.why {
					t.Errorf("error = %v, quality %v, reason %b, want %b", err, r.Phase[0].V.Quality, r.Phase[0].V.Reason, tt.why)
				}
			})
		})
	}
}

// A configuration that somebody locked does not keep the agent out.
func TestALockIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(board, 1)
		chip.Set(evening)
		chip.Lock()
		begin := time.Now()
		m := newMeter(t, chip.Open, calibration)
		r := settle(t, m, begin)
		if faults := differ(&r, &evening); len(faults) > 0 {
			t.Error(strings.Join(faults, "; "))
		}
	})
}

// Whether asking for the last command changes the bus's checksum is not told.
func TestEitherMeaningOfTheChecksumIsTaken(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			chip := spitest.New(board, 1)
			chip.KeepSum = keep
			chip.Set(evening)
			begin := time.Now()
			m := newMeter(t, chip.Open, calibration)
			settle(t, m, begin)
		})
	}
}

func TestAnotherVersionOfTheChipIsRefused(t *testing.T) {
	for version, wrong := range map[string]bool{"0xc0": false, "0x100": true} {
		synctest.Test(t, func(t *testing.T) {
			chip := spitest.New(board, 1)
			m := newMeter(t, chip.Open, calibration+"version: "+version+"\n")
			err := m.Open()
			if (err != nil) != wrong {
				t.Errorf("version %s: error = %v", version, err)
			}
			if wrong && !strings.Contains(err.Error(), "the chip has version 0x00c0, the calibration of board LV9-000123 is for 0x0100") {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestAnInputThatIsClippedIsSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := spitest.New(board, 1)
		chip.Set(evening)
		begin := time.Now()
		m := newMeter(t, chip.Open, calibration)
		settle(t, m, begin)
		fault := evening
		fault.Phase[1].I, fault.N = 1200, 1200
		chip.Set(fault)
		second(m, begin)
		r, err := second(m, begin)
		if err != nil {
			t.Fatal(err)
		}
		for what, s := range map[string]meter.Sample[meter.Milliamps]{"L2": r.Phase[1].I, "neutral": r.Neutral} {
			if s.Quality != meter.Suspect || s.Reason != meter.OutOfRange || s.Value < 1_100_000 {
				t.Errorf("%s = %+v, want a suspect value out of range", what, s)
			}
		}
		if r.Phase[0].I.Quality != meter.Good {
			t.Errorf("L1 is %v", r.Phase[0].I.Quality)
		}
	})
}

func TestParseDevice(t *testing.T) {
	for device, want := range map[string]string{
		"/dev/spidev0.0": "0 0", "/dev/spidev12.3": "12 3", "/dev/spidev65535.255": "65535 255",
		"/dev/spidev": "", "/dev/spidev0": "", "/dev/spidev.": "", "/dev/spidev-1.0": "", "/dev/spidev+1.0": "",
		"/dev/spidev0.256": "", "/dev/spidev65536.0": "", "spidev0.0": "", "/dev/i2c-0": "", "/dev/spidev0.0.0": "",
	} {
		bus, chip, err := spi.ParseDevice(device)
		got := ""
		if err == nil {
			got = fmt.Sprint(bus, " ", chip)
		}
		if got != want {
			t.Errorf("%q = %q (%v), want %q", device, got, err, want)
		}
	}
}

// The same without a double: the kernel's device, which this machine has not.
func TestADeviceThatTheKernelDoesNotHave(t *testing.T) {
	m := spi.NewMeter(spi.Config{Device: "/dev/spidev6543.21", ClockKHz: 1000, Way: "W1", Calibration: parse(t, calibration)})
	for range 2 {
		if err := m.Open(); err == nil || !strings.Contains(err.Error(), "open /dev/spidev6543.21: ") {
			t.Errorf("error = %v", err)
		}
	}
	var r meter.Reading
	if err := m.Read(&r); err == nil || r.Phase[0].V.Reason != meter.NoAnswer {
		t.Errorf("read: %v, %+v", err, r.Phase[0].V)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
