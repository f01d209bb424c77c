// Package spi reads one way through a metering front end on an SPI bus into a
// [meter.Reading]: an Analog Devices ADE9000, seven channels, on a board with a
// calibration of its own.
//
// A [Meter] is the chip, the device it hangs on and the way it measures. It
// configures the chip, takes its 200 ms values five times a second, and makes
// one reading a second of them. Nothing that crosses the wire counts before the
// chip has said it twice: each register is checked against the command and the
// data that the chip says it saw, and against its checksum. A chip that was
// reset, or whose configuration changed, is configured anew, and its values are
// Missing until they have settled.
//
// It does not decide when to read, and it does not reconnect by itself
// (agent/poll). It does not average beyond the second (meter/window).
//
// Requirements: R1 (V, I, P, Q per phase and way, neutral current), R5 (supply).
package spi

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
	"periph.io/x/host/v3/sysfs"

	"lvagent/meter"
)

// Profile is what the site file calls a meter that this package reads.
const Profile = "ade9000"

// Period is how often the meter is read.
const Period = time.Second

const (
	// samples are the 200 ms values of a second; a reading with at least
	// enough of them is Good. One may be lost without harm: the chip's ten
	// cycles are a little longer or shorter than our 200 ms, so now and then a
	// second has but four of them.
	samples = 5
	enough  = 4
	every   = Period / samples

	// notYet is how long a sample is waited for in steps of a cycle, so that
	// a chip that runs beside our clock is not missed by a hair.
	notYet, lateSteps = 20 * time.Millisecond, 3

	// settling is how long values mean nothing after the chip was started. The
	// powers take 0.66 s to 99.9 % (UG-1098 table 11), distortion is computed
	// every 1.024 s, and its second result is the first one from settled values.
	settling = 2200 * time.Millisecond

	// verifyEvery is how often the whole configuration is read back.
	verifyEvery = time.Minute
)

// Opener opens a device, as /dev/spidev0.0.
type Opener func(device string) (spi.PortCloser, error)

// Config is what a meter is made of.
type Config struct {
	Device      string // /dev/spidevB.C
	ClockKHz    int
	Way         string
	Calibration *Calibration
	Log         *slog.Logger
	Open        Opener // nil: the kernel's spidev

	// How the board is connected to the way, where it is not as its calibration
	// says: the phases that its L1, L2 and L3 are connected to (the zero value is
	// in order), and the phases of the way of which P and Q change sign.
	Map    [meter.Phases]meter.Phase
	Invert [meter.Phases]bool
}

// Meter reads one way. It belongs to one goroutine, that of its bus.
type Meter struct {
	cfg    Config
	scale  scale
	port   spi.PortCloser
	wire   wire
	config []setting

	checksum uint32    // of the configuration, as the chip computed it
	settled  time.Time // values count from here on
	verifyAt time.Time
	sums     sums

	dips, swells   meter.Count
	inDip, inSwell bool
}

// NewMeter returns a meter that is not yet open.
func NewMeter(cfg Config) *Meter {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Open == nil {
		cfg.Open = openDevice
	}
	cfg.Log = cfg.Log.With("way", cfg.Way, "device", cfg.Device)
	return &Meter{cfg: cfg, scale: cfg.Calibration.scale().wired(cfg.Map, cfg.Invert), config: cfg.Calibration.settings()}
}

// ParseDevice returns the bus and the chip select of /dev/spidevB.C.
func ParseDevice(device string) (bus, chip int, err error) {
	rest, ok := strings.CutPrefix(device, "/dev/spidev")
	b, c, dot := strings.Cut(rest, ".")
	bus, errB := strconv.Atoi(b)
	chip, errC := strconv.Atoi(c)
	// What Atoi takes besides digits, a sign, names no device.
	if !ok || !dot || errB != nil || errC != nil || strings.ContainsAny(rest, "+-") || bus > 0xffff || chip > 0xff {
		return 0, 0, fmt.Errorf("must be /dev/spidevB.C, as /dev/spidev0.0, not %q", device)
	}
	return bus, chip, nil
}

func openDevice(device string) (spi.PortCloser, error) {
	bus, chip, err := ParseDevice(device)
	if err != nil {
		return nil, err
	}
	port, err := sysfs.NewSPI(bus, chip)
	if err != nil {
		return nil, err // not port: a nil *SPI in an interface is not nil
	}
	return port, nil
}

// Open opens the device, resets the chip and configures it. On an open meter it
// does nothing.
func (m *Meter) Open() error {
	if m.port != nil {
		return nil
	}
	port, err := m.cfg.Open(m.cfg.Device)
	if err != nil {
		return fmt.Errorf("open %s: %w", m.cfg.Device, err)
	}
	conn, err := port.Connect(physic.Frequency(m.cfg.ClockKHz)*physic.KiloHertz, spi.Mode0, 8)
	if err != nil {
		return errors.Join(fmt.Errorf("open %s: %w", m.cfg.Device, err), port.Close())
	}
	m.port, m.wire.conn = port, conn
	if err := m.start(); err != nil {
		return errors.Join(fmt.Errorf("start the front end on %s: %w", m.cfg.Device, err), m.Close())
	}
	return nil
}

// Close lets go of the device. On a closed meter it does nothing. The chip goes
// on measuring; nothing depends on what it then holds.
func (m *Meter) Close() error {
	if m.port == nil {
		return nil
	}
	err := m.port.Close()
	m.port, m.wire.conn = nil, nil
	if err != nil {
		return fmt.Errorf("close %s: %w", m.cfg.Device, err)
	}
	return nil
}
