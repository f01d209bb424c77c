// Package spitest is an ADE9000 without hardware, for tests of what reads one.
//
// It stands where the chip does, behind the SPI bus, and reads commands bit by
// bit as the manual lays them out, not with the constants of the package that it
// tests. What its registers hold follows from a [Signal]: volts, amperes and
// angles of the three phases, integrated over ten cycles and filtered as in the
// chip. It comes up with defaults after a reset, keeps a checksum of its
// configuration, and can be reset, locked, stuck, absent or heard badly.
//
// It has no energy, no waveforms, no burst reads and no interrupt lines. Gains
// and phase compensation are registers only and have no effect.
//
// Requirements: R1 (the tests of its measurement).
package spitest

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"periph.io/x/conn/v3/spi"
)

// Full-scale codes of the chip (UG-1098 table 8).
const (
	fullRMS  = 52_702_092
	fullWatt = 20_694_066
)

// Board is what the chip's inputs are worth.
type Board struct {
	Volts, Amps [3]float64 // primary rms at full scale, of A, B and C
	Neutral     float64    // primary rms at full scale
}

// Phasor is the voltage and the current of one phase.
type Phasor struct {
	V, I       float64 // V and A, rms
	Angle      float64 // by which the current lags, in degrees
	THDV, THDI float64 // of the fundamental; 0.05 is 5 %
}

// Signal is what is at the inputs.
type Signal struct {
	Phase [3]Phasor // of A, B and C
	N     float64   // A, rms
	Hertz float64
}

// Faults are what is wrong with the chip or the bus.
type Faults struct {
	NoDevice bool    // there is no such device file
	Absent   bool    // nothing drives the bus: every bit read is 1
	StuckLow bool    // every bit read is 0
	BadIn    float64 // probability that a bit from the chip is heard wrong
	BadOut   float64 // probability that the chip hears a bit wrong
	Deaf     float64 // probability that a write of configuration does not take
	Frozen   bool    // it answers, and measures nothing new
	NoSum    bool    // the checksum of the configuration is never computed
	Broken   error   // what each transfer returns
}

// The chip's timing.
const (
	comesUp     = 46 * time.Millisecond
	sumTakes    = 10800 * time.Microsecond
	thdEvery    = 1024 * time.Millisecond
	powerSettle = 93 * time.Millisecond // time constant; 99 % after 0.43 s
)

// Chip is one ADE9000. Its methods may be called from any goroutine.
type Chip struct {
	// Fast says by which of the two public formulas the line's period is
	// counted, with 8,000 a second instead of 4,000.
	Fast bool
	// KeepSum says that reading back the last command or data leaves the bus's
	// checksum alone. The manual leaves that open.
	KeepSum bool

	mu     sync.Mutex
	rand   *rand.Rand
	board  Board
	signal Signal
	faults Faults

	regs   map[uint16]uint32
	locked bool
	upAt   time.Time // comes up from a reset; zero: it is up
	silent bool      // of this reset nothing is told
	sumAt  time.Time // the checksum is computed; zero: it holds

	// Measuring, from RUN on.
	running     bool
	last        time.Time // up to here all is integrated
	half        time.Time // end of this half cycle
	thd         time.Time // next THD
	halves      int       // of this ten cycles
	square      [7]float64
	cycleSquare [3]float64 // of this half cycle
	priorSquare [3]float64 // of the one before
	watt, vars  [3]float64
	span        float64 // seconds in square
	halfSpan    float64
	transfers   int
}

// New returns a chip that has just come up.
func New(b Board, seed uint64) *Chip {
	c := &Chip{board: b, rand: rand.New(rand.NewPCG(seed, 1)), signal: Signal{Hertz: 50}}
	c.defaults()
	c.regs[status1] |= rstDone
	return c
}

// Set changes what is at the inputs, from now on.
func (c *Chip) Set(s Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	c.signal = s
}

// Break sets what is wrong. The zero Faults is nothing.
func (c *Chip) Break(f Faults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	c.faults = f
}

// Reset resets the chip, as a dip of its supply does. A silent reset is one after
// which STATUS1 does not tell.
func (c *Chip) Reset(silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset(silent)
}

// Lock locks the configuration.
func (c *Chip) Lock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locked = true
}

// Poke changes a register behind the driver's back. The chip takes note.
func (c *Chip) Poke(addr uint16, v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	c.store(addr, v)
}

// Flip changes a register without the chip's taking note, as a stray particle
// does.
func (c *Chip) Flip(addr uint16, v uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.regs[addr] = v
}

// Register returns what a register holds now.
func (c *Chip) Register(addr uint16) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.regs[addr]
}

// Transfers returns how many transfers the chip has seen.
func (c *Chip) Transfers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transfers
}

// Open returns the port that the chip hangs on.
func (c *Chip) Open(string) (spi.PortCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.faults.NoDevice {
		return nil, errNoDevice
	}
	return &port{chip: c}, nil
}

var errNoDevice = errors.New("no such file or directory")

func (c *Chip) defaults() {
	// Those of which the defaults are known or matter; all others are 0.
	c.regs = map[uint16]uint32{
		version: 0x00C0, 0x40E: 0x00500000, 0x414: 0xFFFFFF, 0x48B: 0xFFFF, 0x48C: 0xFFFF,
		0x4AF: 0x0C00, 0x420: 0x00100000, 0x421: 0x00100000, 0x422: 0x00100000,
	}
	c.locked, c.running, c.sumAt = false, false, time.Time{}
}

func (c *Chip) reset(silent bool) {
	c.defaults()
	c.upAt, c.silent = time.Now().Add(comesUp), silent
}

// up reports whether the chip hears.
func (c *Chip) up() bool {
	if c.upAt.IsZero() {
		return true
	}
	if time.Now().Before(c.upAt) {
		return false
	}
	c.upAt = time.Time{}
	if !c.silent {
		c.regs[status1] |= rstDone
	}
	return true
}

// run starts the measurement, from nothing.
func (c *Chip) run() {
	now := time.Now()
	c.running, c.last, c.thd = true, now, now.Add(thdEvery)
	c.half = now.Add(c.halfCycle())
	c.halves, c.span, c.halfSpan = 0, 0, 0
	c.square, c.cycleSquare, c.priorSquare = [7]float64{}, [3]float64{}, [3]float64{}
	c.watt, c.vars = [3]float64{}, [3]float64{}
}

func (c *Chip) halfCycle() time.Duration {
	hz := c.signal.Hertz
	if hz < 30 || hz > 80 {
		hz = 50 // there is no zero crossing to be found
	}
	return time.Duration(float64(time.Second) / (2 * hz))
}

// advance brings the registers up to now.
func (c *Chip) advance() {
	now := time.Now()
	if !c.sumAt.IsZero() && !now.Before(c.sumAt) {
		c.sum()
	}
	for c.running && c.last.Before(now) {
		to := now
		if c.half.Before(to) {
			to = c.half
		}
		c.integrate(to.Sub(c.last).Seconds())
		c.last = to
		if to.Equal(c.half) {
			c.endHalf()
		}
		if !to.Before(c.thd) {
			c.distort()
			c.thd = c.thd.Add(thdEvery)
		}
	}
	if c.running {
		for k := range uint16(3) {
			c.regs[0x210+k*0x20] = code(c.watt[k])
			c.regs[0x211+k*0x20] = code(c.vars[k])
		}
	}
}

// integrate lets the signal be for dt seconds.
func (c *Chip) integrate(dt float64) {
	decay := math.Exp(-dt / powerSettle.Seconds())
	for k, p := range c.signal.Phase {
		v, i := c.clip(p.V/c.board.Volts[k]), c.clip(p.I/c.board.Amps[k])
		c.square[k] += v * v * dt
		c.square[3+k] += i * i * dt
		c.cycleSquare[k] += v * v * dt
		sin, cos := math.Sincos(p.Angle * math.Pi / 180)
		c.watt[k] = v*i*cos*fullWatt + (c.watt[k]-v*i*cos*fullWatt)*decay
		c.vars[k] = v*i*sin*fullWatt + (c.vars[k]-v*i*sin*fullWatt)*decay
	}
	n := c.clip(c.signal.N / c.board.Neutral)
	c.square[6] += n * n * dt
	c.span += dt
	c.halfSpan += dt
}

// clip is what the converter makes of a sine of so many full scales: in the end
// a square wave.
func (c *Chip) clip(x float64) float64 { return min(x, math.Sqrt2) }

// endHalf ends a half cycle: the rms of one cycle, dips and swells, and after
// twenty the rms of ten cycles.
func (c *Chip) endHalf() {
	dipLevel, swellLevel := float64(c.regs[0x410]<<5), float64(c.regs[0x414]<<5)
	for k := range 3 {
		now := c.cycleSquare[k] / c.halfSpan
		rms := math.Sqrt((now+c.priorSquare[k])/2) * fullRMS
		c.priorSquare[k], c.cycleSquare[k] = now, 0
		if rms < dipLevel {
			c.regs[status1] |= 1 << (23 + k)
		}
		if rms > swellLevel {
			c.regs[status1] |= 1 << (20 + k)
		}
	}
	c.halfSpan = 0
	period := 4000.0
	if c.Fast {
		period = 8000
	}
	c.regs[0x41B] = uint32(period*65536*2*c.halfCycle().Seconds() + 0.5 - 1)
	if c.halves++; c.halves == c.tenCycles() {
		for k := range uint16(3) {
			c.regs[0x21C+k*0x20] = code(math.Sqrt(c.square[k]/c.span) * fullRMS)
			c.regs[0x21B+k*0x20] = code(math.Sqrt(c.square[3+k]/c.span) * fullRMS)
		}
		c.regs[0x268] = code(math.Sqrt(c.square[6]/c.span) * fullRMS)
		if !c.faults.Frozen {
			c.regs[status0] |= 1 << 20
		}
		c.halves, c.span, c.square = 0, 0, [7]float64{}
	}
	c.half = c.half.Add(c.halfCycle())
}

func (c *Chip) tenCycles() int {
	if c.regs[0x492]&0x100 != 0 {
		return 24
	}
	return 20
}

func (c *Chip) distort() {
	for k := range uint16(3) {
		c.regs[0x217+k*0x20] = code(c.signal.Phase[k].THDV * (1 << 27))
		c.regs[0x218+k*0x20] = code(c.signal.Phase[k].THDI * (1 << 27))
	}
	c.regs[status0] |= 1 << 21
}

func code(x float64) uint32 { return uint32(int32(math.Round(x))) }
