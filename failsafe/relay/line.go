package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"lvagent/meter"
)

// consumer is what the kernel shows as the user of our lines.
const consumer = "lvagent"

// mostChips is how many devices are looked at for a chip that is named by its
// label.
const mostChips = 64

// Kernel is how a line reaches the GPIO character device. [System] is the real
// one.
type Kernel interface {
	Open(path string) (fd int, err error)
	Ioctl(fd int, request uint, arg unsafe.Pointer) error
	Close(fd int) error
}

// Address names a line. Chip is a device (gpiochip0) or a chip's label
// (pinctrl-bcm2711), which does not change when chips are found in another
// order. Line is a number on the chip or a line's name.
type Address struct {
	Chip, Line string
}

// ParseAddress reads an address written as chip:line, as in "gpiochip0:17",
// "/dev/gpiochip0:17" or "pinctrl-bcm2711:SHED_G1". A label may hold colons, a
// line's name may not.
func ParseAddress(text string) (Address, error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return Address{}, fmt.Errorf("line %q: want chip:line, such as gpiochip0:17", text)
	}
	a := Address{Chip: strings.TrimPrefix(text[:i], "/dev/"), Line: text[i+1:]}
	switch {
	case a.Chip == "" || a.Line == "":
		return Address{}, fmt.Errorf("line %q: chip or line is missing", text)
	case strings.ContainsRune(a.Chip, '/'):
		return Address{}, fmt.Errorf("line %q: chip %q is neither a device nor a label", text, a.Chip)
	case len(a.Chip) >= nameSize || len(a.Line) >= nameSize:
		return Address{}, fmt.Errorf("line %q: chip or line has more than %d letters", text, nameSize-1)
	}
	return a, nil
}

// String returns the address as the site file writes it.
func (a Address) String() string { return a.Chip + ":" + a.Line }

// isDevice reports whether the chip is named by its device.
func (a Address) isDevice() bool {
	n, ok := strings.CutPrefix(a.Chip, "gpiochip")
	_, err := strconv.ParseUint(n, 10, 16)
	return ok && err == nil
}

// Line is a GPIO line that switches a group: HIGH permits, LOW curtails, and so
// does a line that nobody drives, which the wiring has to see to.
//
// The line is asked for by the first Apply, and again after its chip was gone;
// a chip that is missing is therefore an error of that Apply and of nothing
// else. From then on the line stays an output and is never reconfigured as an
// input: reading it back must not release the relay.
//
// An ioctl on a chip behind I2C or SPI sleeps for the time of the transfer, so
// Apply is not for a goroutine that may not wait.
type Line struct {
	at     Address
	rating meter.Milliamps
	kernel Kernel
	fd     int // of the line; 0 while it is not held
	values lineValues
}

// NewLine returns the line at an address, for a group of rating. It asks
// nothing of the kernel yet.
func NewLine(k Kernel, at Address, rating meter.Milliamps) *Line {
	return &Line{at: at, rating: rating, kernel: k}
}

// Apply drives the line to what limit means for a contact and returns what the
// line, read back, then permits: the group's rating or nothing.
func (l *Line) Apply(limit meter.Milliamps) (meter.Milliamps, error) {
	want := closed(limit, l.rating)
	got, err := l.drive(want)
	if err != nil {
		return 0, fmt.Errorf("drive line %s %s: %w", l.at, level(want), err)
	}
	return through(got, l.rating), nil
}

// drive sets the line and reads it back.
func (l *Line) drive(high bool) (got bool, err error) {
	got, err = l.setAndRead(high)
	if errors.Is(err, syscall.ENODEV) && l.fd != 0 {
		// The chip was unplugged: this handle is dead for good.
		err = errors.Join(err, l.release())
	}
	return got, err
}

func (l *Line) setAndRead(high bool) (got bool, err error) {
	if l.fd == 0 {
		err = l.request(high)
	} else {
		err = l.set(high)
	}
	if err != nil {
		return false, err
	}
	if got, err = l.read(); err != nil || got == high {
		return got, err
	}
	// An expander that lost its supply has forgotten that the line is an
	// output, and setting a value does not remind it.
	c := output(high)
	if err := l.kernel.Ioctl(l.fd, setConfig, unsafe.Pointer(&c)); err != nil {
		return false, fmt.Errorf("configure as output: %w", err)
	}
	return l.read()
}

// Close drives the line LOW and gives it back. What a line does afterwards is
// the chip's choice: some keep their level.
func (l *Line) Close() error {
	if l.fd == 0 {
		return nil
	}
	err := errors.Join(l.set(false), l.release())
	if err != nil {
		return fmt.Errorf("close line %s: %w", l.at, err)
	}
	return nil
}

func (l *Line) release() error {
	fd := l.fd
	l.fd = 0
	if err := l.kernel.Close(fd); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

func (l *Line) set(high bool) error {
	l.values = lineValues{bits: bit(high), mask: 1}
	if err := l.kernel.Ioctl(l.fd, setValues, unsafe.Pointer(&l.values)); err != nil {
		return fmt.Errorf("set value: %w", err)
	}
	return nil
}

func (l *Line) read() (high bool, err error) {
	l.values = lineValues{mask: 1}
	if err := l.kernel.Ioctl(l.fd, getValues, unsafe.Pointer(&l.values)); err != nil {
		return false, fmt.Errorf("read back: %w", err)
	}
	return l.values.bits&1 != 0, nil
}

// request asks the kernel for the line as an output that is at level from its
// first moment on: a relay that is to stay closed over a restart of the agent
// doesn't drop for a moment, and one that is to open is never closed.
func (l *Line) request(high bool) error { return l.ask(output(high)) }

// ask asks the kernel for the line, configured.
func (l *Line) ask(config lineConfig) error {
	chip, err := l.openChip()
	if err != nil {
		return err
	}
	defer l.kernel.Close(chip) // the line has a handle of its own
	offset, err := l.find(chip)
	if err != nil {
		return err
	}
	req := lineRequest{numLines: 1, config: config}
	req.offsets[0] = offset
	copy(req.consumer[:], consumer)
	err = l.kernel.Ioctl(chip, getLine, unsafe.Pointer(&req))
	switch {
	case errors.Is(err, syscall.EBUSY):
		info := lineInfo{offset: offset}
		if l.kernel.Ioctl(chip, getLineInfo, unsafe.Pointer(&info)) == nil {
			return fmt.Errorf("request: used by %q: %w", text(info.consumer), err)
		}
		return fmt.Errorf("request: %w", err)
	case err != nil:
		return fmt.Errorf("request: %w", err)
	case req.fd <= 0:
		return fmt.Errorf("request: the kernel gave handle %d", req.fd)
	}
	l.fd = int(req.fd)
	return nil
}

// openChip opens the chip that the address names.
func (l *Line) openChip() (fd int, err error) {
	if l.at.isDevice() {
		if fd, err = l.kernel.Open("/dev/" + l.at.Chip); err != nil {
			return 0, fmt.Errorf("open chip: %w", err)
		}
		return fd, nil
	}
	found, refused := -1, error(nil)
	for n := range mostChips {
		fd, err := l.kernel.Open("/dev/gpiochip" + strconv.Itoa(n))
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				refused = err
			}
			continue
		}
		var info chipInfo
		err = l.kernel.Ioctl(fd, getChipInfo, unsafe.Pointer(&info))
		switch {
		case err != nil:
			refused = fmt.Errorf("gpiochip%d: %w", n, err)
		case text(info.label) == l.at.Chip && found < 0:
			found = fd
			continue
		case text(info.label) == l.at.Chip:
			l.kernel.Close(fd)
			l.kernel.Close(found)
			return 0, fmt.Errorf("find chip: more than one has label %q, name it by device", l.at.Chip)
		}
		l.kernel.Close(fd)
	}
	switch {
	case found >= 0:
		return found, nil
	case refused != nil:
		return 0, fmt.Errorf("find chip: %w", refused)
	}
	return 0, fmt.Errorf("find chip: none of gpiochip0 to %d has label %q", mostChips-1, l.at.Chip)
}

// find returns the number of the line on its chip.
func (l *Line) find(chip int) (uint32, error) {
	var info chipInfo
	if err := l.kernel.Ioctl(chip, getChipInfo, unsafe.Pointer(&info)); err != nil {
		return 0, fmt.Errorf("ask chip: %w", err)
	}
	if n, err := strconv.ParseUint(l.at.Line, 10, 32); err == nil {
		if n >= uint64(info.lines) {
			return 0, fmt.Errorf("find line: the chip has lines 0 to %d", int(info.lines)-1)
		}
		return uint32(n), nil
	}
	found := info.lines
	for n := range info.lines {
		i := lineInfo{offset: n}
		if err := l.kernel.Ioctl(chip, getLineInfo, unsafe.Pointer(&i)); err != nil {
			return 0, fmt.Errorf("ask line %d: %w", n, err)
		}
		if text(i.name) != l.at.Line {
			continue
		}
		if found != info.lines {
			return 0, fmt.Errorf("find line: %d and %d have this name, give the number", found, n)
		}
		found = n
	}
	if found == info.lines {
		return 0, fmt.Errorf("find line: none of %d has this name", info.lines)
	}
	return found, nil
}

// Lines are the lines and pulses that one goroutine owns. They can stand where a bus has
// its link: there is nothing to connect, for each line is asked for when it is
// first driven.
type Lines []io.Closer

// Open does nothing.
func (Lines) Open() error { return nil }

// Close closes every line.
func (s Lines) Close() error {
	var err error
	for _, l := range s {
		err = errors.Join(err, l.Close())
	}
	return err
}

func level(high bool) string {
	if high {
		return "HIGH"
	}
	return "LOW"
}

// text returns the letters of a name before its first zero.
func text(name [nameSize]byte) string {
	s, _, _ := bytes.Cut(name[:], []byte{0})
	return string(s)
}
