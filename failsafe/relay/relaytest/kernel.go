// Package relaytest is a GPIO character device without hardware, for tests of
// what drives relays through one.
//
// It stands where the kernel does, below the ioctl, and reads requests octet by
// octet as linux/gpio.h lays them out, not with the structures of the package
// that it tests. It shows what real chips do to a relay: a line that is given
// back falls to what its resistor pulls to or stays as it was, an expander that
// lost its supply forgets its directions, a contact sticks. It refuses what the
// kernel refuses, where an output can run into it; it has no edges, events,
// debouncing or bias.
//
// Requirements: R7 (the tests of its outputs).
package relaytest

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// Op is one request that the kernel knows.
type Op uint

// The requests of the GPIO character device, as <linux/gpio.h> numbers them.
const (
	ChipInfo Op = 0x8044B401
	LineInfo Op = 0xC100B405
	GetLine  Op = 0xC250B407
	Config   Op = 0xC110B40D
	Get      Op = 0xC010B40E
	Set      Op = 0xC010B40F
)

// Offsets into the structures of <linux/gpio.h>.
const (
	nameSize = 32

	reqConsumer, reqConfig, reqLines, reqPad, reqFD = 256, 288, 560, 568, 588

	configAttrs, configPad, configList, attrSize = 8, 12, 32, 24

	infoOffset, infoFlags = 64, 72

	flagUsed, flagInput, flagOutput = 1 << 0, 1 << 2, 1 << 3
	flagsKnown                      = 1<<13 - 1
	outputValues                    = 2
)

var order = binary.NativeEndian

// Kernel is the GPIO part of one kernel. The process that uses it is one.
type Kernel struct {
	// Refuse, when set, is asked before each request; a request for which it
	// gives an error is not carried out. Lose is asked after one that was
	// carried out: its error is all that the process hears of it.
	Refuse, Lose func(Op) error

	mu    sync.Mutex
	chips []*Chip
	files map[int]*file
	next  int
}

// file is an open chip, or a held line.
type file struct {
	chip *Chip
	pin  *pin // nil: the chip itself
	dead bool // the chip was removed since
}

// Chip is one GPIO chip.
type Chip struct {
	kernel        *Kernel
	device, label string
	gone          bool
	pins          []*pin
}

// pin is one line with what hangs on it.
type pin struct {
	name, consumer string
	held, isOutput bool // as the kernel sees it
	driven, latch  bool // as the silicon is set
	rest, keeps    bool
	stuck          *bool
	trace          []bool
	edge           func() // at each change of level; may be nil
}

// NewKernel returns a kernel without chips.
func NewKernel() *Kernel { return &Kernel{files: map[int]*file{}, next: 3} }

// Add adds a chip with a line for each name; names may be empty.
func (k *Kernel) Add(device, label string, lines ...string) *Chip {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &Chip{kernel: k, device: device, label: label}
	for _, name := range lines {
		c.pins = append(c.pins, &pin{name: name, trace: []bool{false}})
	}
	k.chips = append(k.chips, c)
	return c
}

// Exit ends the process: all that it held is given back.
func (k *Kernel) Exit() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.files {
		f.end()
	}
	clear(k.files)
}

// Handles returns how many handles the process has open.
func (k *Kernel) Handles() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.files)
}

// Open opens a chip by its path.
func (k *Kernel) Open(path string) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.chips, func(c *Chip) bool { return !c.gone && "/dev/"+c.device == path })
	if i < 0 {
		return -1, syscall.ENOENT
	}
	return k.hand(&file{chip: k.chips[i]}), nil
}

func (k *Kernel) hand(f *file) int {
	fd := k.next
	k.next++
	k.files[fd] = f
	return fd
}

// Close closes a chip or gives a line back.
func (k *Kernel) Close(fd int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.files[fd]
	if f == nil {
		return syscall.EBADF
	}
	f.end()
	delete(k.files, fd)
	return nil
}

func (f *file) end() {
	p := f.pin
	if p == nil || f.dead {
		return
	}
	p.held, p.isOutput, p.consumer = false, false, ""
	p.driven = p.driven && p.keeps
	p.note()
}

// Ioctl carries out a request.
func (k *Kernel) Ioctl(fd int, request uint, arg unsafe.Pointer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	op := Op(request)
	if k.Refuse != nil {
		if err := k.Refuse(op); err != nil {
			return err
		}
	}
	if err := k.do(fd, op, arg); err != nil {
		return err
	}
	if k.Lose == nil {
		return nil
	}
	err := k.Lose(op)
	if err != nil && op == GetLine {
		// The kernel takes a handle back that it could not deliver.
		last := k.next - 1
		k.files[last].end()
		delete(k.files, last)
	}
	return err
}

func (k *Kernel) do(fd int, op Op, arg unsafe.Pointer) error {
	f := k.files[fd]
	switch {
	case f == nil:
		return syscall.EBADF
	case f.dead || f.chip.gone:
		return syscall.ENODEV
	}
	// The size is part of the number, as for the kernel.
	b := unsafe.Slice((*byte)(arg), op>>16&0x3FFF)
	switch onLine := f.pin != nil; {
	case op == ChipInfo && !onLine:
		clear(b)
		copy(b, f.chip.device)
		copy(b[nameSize:], f.chip.label)
		order.PutUint32(b[2*nameSize:], uint32(len(f.chip.pins)))
		return nil
	case op == LineInfo && !onLine:
		return f.chip.info(b)
	case op == GetLine && !onLine:
		return k.getLine(f.chip, b)
	case op == Config && onLine:
		return f.pin.configure(b)
	case op == Get && onLine:
		return f.pin.get(b)
	case op == Set && onLine:
		return f.pin.set(b)
	}
	return syscall.EINVAL
}

func (c *Chip) info(b []byte) error {
	n := order.Uint32(b[infoOffset:])
	if int(n) >= len(c.pins) {
		return syscall.EINVAL
	}
	p := c.pins[n]
	clear(b)
	copy(b, p.name)
	copy(b[nameSize:], p.consumer)
	order.PutUint32(b[infoOffset:], n)
	flags := uint64(flagInput)
	if p.isOutput {
		flags = flagOutput
	}
	if p.held {
		flags |= flagUsed
	}
	order.PutUint64(b[infoFlags:], flags)
	return nil
}

func (k *Kernel) getLine(c *Chip, b []byte) error {
	n := order.Uint32(b)
	if order.Uint32(b[reqLines:]) != 1 || int(n) >= len(c.pins) || !zero(b[reqPad:reqFD]) {
		return syscall.EINVAL
	}
	p := c.pins[n]
	if p.held {
		return syscall.EBUSY
	}
	if err := p.configure(b[reqConfig:reqLines]); err != nil {
		return err
	}
	p.held = true
	p.consumer = strings.TrimRight(string(b[reqConsumer:reqConfig]), "\x00")
	order.PutUint32(b[reqFD:], uint32(k.hand(&file{chip: c, pin: p})))
	return nil
}

// configure sets the direction, and of an output the value: LOW where the
// request names none.
func (p *pin) configure(b []byte) error {
	flags, attrs := order.Uint64(b), order.Uint32(b[configAttrs:])
	direction := flags & (flagInput | flagOutput)
	if flags&^flagsKnown != 0 || direction == flagInput|flagOutput || attrs > 10 || !zero(b[configPad:configList]) {
		return syscall.EINVAL
	}
	value := false
	for i := range int(attrs) {
		a := b[configList+i*attrSize:]
		if !zero(a[4:8]) {
			return syscall.EINVAL
		}
		if order.Uint32(a) == outputValues && order.Uint64(a[16:])&1 != 0 {
			value = order.Uint64(a[8:])&1 != 0
			break
		}
	}
	switch direction {
	case flagOutput:
		p.isOutput, p.driven, p.latch = true, true, value
	case flagInput:
		p.isOutput, p.driven = false, false
	}
	p.note()
	return nil
}

func (p *pin) get(b []byte) error {
	if order.Uint64(b[8:]) != 1 {
		return syscall.EINVAL
	}
	order.PutUint64(b, 0)
	if p.level() {
		order.PutUint64(b, 1)
	}
	return nil
}

func (p *pin) set(b []byte) error {
	if order.Uint64(b[8:]) != 1 {
		return syscall.EINVAL
	}
	if !p.isOutput {
		return syscall.EPERM
	}
	p.latch = order.Uint64(b)&1 != 0
	p.note()
	return nil
}

// level is the voltage at the pin. A pull-up inside the chip is too weak
// against the resistor outside.
func (p *pin) level() bool {
	switch {
	case p.stuck != nil:
		return *p.stuck
	case p.driven:
		return p.latch
	}
	return p.rest
}

func (p *pin) note() {
	if now := p.level(); now != p.trace[len(p.trace)-1] {
		p.trace = append(p.trace, now)
		if p.edge != nil {
			p.edge()
		}
	}
}

func zero(b []byte) bool { return !slices.ContainsFunc(b, func(o byte) bool { return o != 0 }) }

// change alters line n as hardware and other processes do.
func (c *Chip) change(n int, f func(*pin)) {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	f(c.pins[n])
	c.pins[n].note()
}

// Rest says what level the resistor at line n pulls to: LOW unless told.
func (c *Chip) Rest(n int, high bool) { c.change(n, func(p *pin) { p.rest = high }) }

// Keep makes line n one that stays as it was when it is given back.
func (c *Chip) Keep(n int) { c.change(n, func(p *pin) { p.keeps = true }) }

// Stick holds line n at its present level, whatever drives it.
func (c *Chip) Stick(n int) {
	c.change(n, func(p *pin) { now := p.level(); p.stuck = &now })
}

// Loosen ends Stick.
func (c *Chip) Loosen(n int) { c.change(n, func(p *pin) { p.stuck = nil }) }

// Hold gives line n to another process.
func (c *Chip) Hold(n int, consumer string) {
	c.change(n, func(p *pin) { p.held, p.consumer = true, consumer })
}

// PowerCycle takes the chip's supply away for a moment, as that of an expander
// on a cable: every line is an input afterwards, and nobody is told.
func (c *Chip) PowerCycle() {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	for _, p := range c.pins {
		p.driven = false
		p.note()
	}
}

// Remove takes the chip away.
func (c *Chip) Remove() {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	c.gone = true
	for _, f := range c.kernel.files {
		f.dead = f.dead || f.chip == c
	}
	for _, p := range c.pins {
		p.held, p.isOutput, p.driven, p.consumer = false, false, false, ""
		p.note()
	}
}

// Return brings the chip back. Handles from before stay dead.
func (c *Chip) Return() {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	c.gone = false
}

// High returns the level at line n.
func (c *Chip) High(n int) bool {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	return c.pins[n].level()
}

// Consumer returns who holds line n, or "".
func (c *Chip) Consumer(n int) string {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	return c.pins[n].consumer
}

// Trace returns the level that line n began with and every one since.
func (c *Chip) Trace(n int) []bool {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	return slices.Clone(c.pins[n].trace)
}
