package spitest

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// Registers and bits that the bus side needs.
const (
	status0, status1                     = 0x402, 0x403
	last32, last16, lastCmd              = 0x423, 0x4AC, 0x4AE
	runReg, config1, crcResult, crcOfBus = 0x480, 0x481, 0x4A8, 0x4A9
	crcForce, lock, version              = 0x4B4, 0x4BF, 0x4FE

	rstDone, crcChanged, crcDone = 1 << 16, 1 << 26, 1 << 27
)

// measured is what the chip writes itself; writing there does nothing.
func measured(addr uint16) bool {
	return addr >= 0x200 && addr < 0x400 || addr >= 0x418 && addr <= 0x41B || addr == last32 ||
		addr == crcResult || addr == crcOfBus || addr == last16 || addr == lastCmd || addr == version || addr >= 0x500
}

// store is what a write does.
func (c *Chip) store(addr uint16, v uint32) {
	switch addr {
	case status0, status1:
		c.regs[addr] &^= v
		return
	case lock:
		switch v {
		case 0x3C64:
			c.locked = true
		case 0x4AD1:
			c.locked = false
		}
		return
	}
	if c.locked || measured(addr) {
		return
	}
	switch {
	case addr == config1 && v&1 != 0:
		c.reset(false)
		return
	case addr == crcForce:
		if v&1 != 0 && !c.faults.NoSum {
			c.sumAt = time.Now().Add(sumTakes)
		}
		return
	case addr == runReg:
		if !c.running && v != 0 {
			c.run()
		}
		c.running = v != 0
	case c.regs[addr] != v && c.regs[crcResult] != 0:
		c.sumAt = time.Now().Add(sumTakes) // the checksum runs behind
	}
	c.regs[addr] = v
}

// sum ends the computation of the checksum of the configuration.
func (c *Chip) sum() {
	c.sumAt = time.Time{}
	var addrs []uint16
	for a := range c.regs {
		if !measured(a) && a != status0 && a != status1 && a != runReg {
			addrs = append(addrs, a)
		}
	}
	slices.Sort(addrs)
	crc := uint16(0xFFFF)
	for _, a := range addrs {
		var octets [4]byte
		binary.BigEndian.PutUint32(octets[:], c.regs[a])
		crc = ccitt(crc, octets[4-width(a):])
	}
	if old := c.regs[crcResult]; old != 0 && old != uint32(crc) {
		c.regs[status1] |= crcChanged
	}
	c.regs[crcResult] = uint32(crc)
	c.regs[status1] |= crcDone
}

func width(addr uint16) int {
	if addr >= 0x480 && addr <= 0x4FE {
		return 2
	}
	return 4
}

// ccitt is the CRC-16 of the chip, bit by bit.
func ccitt(crc uint16, octets []byte) uint16 {
	for _, o := range octets {
		for bit := 7; bit >= 0; bit-- {
			feed := crc>>15 ^ uint16(o>>bit)&1
			if crc <<= 1; feed != 0 {
				crc ^= 1<<12 | 1<<5 | 1
			}
		}
	}
	return crc
}

// transfer is one chip select: what the chip hears, and what is heard of it.
func (c *Chip) transfer(w, r []byte) error {
	c.transfers++
	if c.faults.Broken != nil {
		return c.faults.Broken
	}
	c.advance()
	for i := range r {
		r[i] = 0xFF // the pull-up
	}
	if !c.faults.Absent && c.up() {
		c.talk(c.noisy(w, c.faults.BadOut), r)
	}
	if c.faults.StuckLow {
		clear(r)
	}
	copy(r, c.noisy(r, c.faults.BadIn))
	return nil
}

// noisy returns octets of which each bit is wrong with probability p.
func (c *Chip) noisy(octets []byte, p float64) []byte {
	if p == 0 {
		return octets
	}
	out := slices.Clone(octets)
	for i := range out {
		for bit := range 8 {
			if c.rand.Float64() < p {
				out[i] ^= 1 << bit
			}
		}
	}
	return out
}

// talk answers a command. What is clocked beyond a register's end is nothing.
func (c *Chip) talk(w, r []byte) {
	if len(w) < 2 {
		return
	}
	cmd := binary.BigEndian.Uint16(w)
	addr, n := cmd>>4, width(cmd>>4)
	var octets [4]byte
	if cmd&(1<<3) != 0 {
		binary.BigEndian.PutUint32(octets[:], c.regs[addr])
		said := octets[4-n:]
		copy(r[2:], said)
		isLast := addr == last32 || addr == last16 || addr == lastCmd
		if !isLast {
			c.remember(cmd, n, c.regs[addr])
		}
		if !isLast || !c.KeepSum {
			c.regs[crcOfBus] = uint32(ccitt(0xFFFF, said))
		}
		return
	}
	if len(w) < 2+n {
		return // broken off: nothing is written
	}
	copy(octets[4-n:], w[2:2+n])
	v := binary.BigEndian.Uint32(octets[:])
	c.remember(cmd, n, v)
	if c.rand.Float64() < c.faults.Deaf && addr != status0 && addr != status1 && addr != lock && addr != config1 {
		return
	}
	c.store(addr, v)
}

func (c *Chip) remember(cmd uint16, n int, v uint32) {
	c.regs[lastCmd] = uint32(cmd)
	if n == 2 {
		c.regs[last16] = v
	} else {
		c.regs[last32] = v
	}
}

// port is the end of the bus that a driver opens.
type port struct {
	chip   *Chip
	shift  bool // connected with another mode than the chip has
	opened bool
	closed bool
}

func (p *port) String() string { return "spitest" }

// Close ends the use of the port.
func (p *port) Close() error {
	p.closed = true
	return nil
}

// LimitSpeed does nothing: the chip is fast enough.
func (p *port) LimitSpeed(physic.Frequency) error { return nil }

// Connect connects once. With a mode that is not the chip's, octets come out
// shifted.
func (p *port) Connect(f physic.Frequency, mode spi.Mode, bits int) (spi.Conn, error) {
	if p.opened {
		return nil, errors.New("connected twice")
	}
	if f < 100*physic.Hertz || f > 20*physic.MegaHertz {
		return nil, errors.New("the chip takes clocks up to 20 MHz")
	}
	p.opened, p.shift = true, mode != spi.Mode0 || bits != 8
	return p, nil
}

// Duplex says that the port is full duplex.
func (p *port) Duplex() conn.Duplex { return conn.Full }

// Tx is one transfer.
func (p *port) Tx(w, r []byte) error {
	if p.closed {
		return errors.New("bad file descriptor")
	}
	if len(w) != len(r) {
		return errors.New("w and r must be the same size")
	}
	if len(w) > 4096 {
		return errors.New("message too long")
	}
	p.chip.mu.Lock()
	defer p.chip.mu.Unlock()
	err := p.chip.transfer(w, r)
	if p.shift {
		for i := len(r) - 1; i > 0; i-- {
			r[i] = r[i]>>1 | r[i-1]<<7
		}
	}
	return err
}

// TxPackets is one transfer per packet.
func (p *port) TxPackets(packets []spi.Packet) error {
	for _, k := range packets {
		if err := p.Tx(k.W, k.R); err != nil {
			return err
		}
	}
	return nil
}
