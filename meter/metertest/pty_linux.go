package metertest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenPTY starts a line behind a pseudo-terminal, which stands in for a serial
// port. It has no speed: octets pass at once.
func OpenPTY() (*Line, error) {
	// Non-blocking, so that Close ends a read that is under way.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open pseudo-terminal: %w", err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		master.Close() // the first error counts
		return nil, fmt.Errorf("unlock pseudo-terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		master.Close() // the first error counts
		return nil, fmt.Errorf("name pseudo-terminal: %w", err)
	}
	name := fmt.Sprintf("/dev/pts/%d", n)
	// Held open: without anybody at the other end the line would hang up.
	slave, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		master.Close() // the first error counts
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	if err := raw(int(slave.Fd())); err != nil {
		slave.Close() // the first error counts
		master.Close()
		return nil, fmt.Errorf("set %s: %w", name, err)
	}
	l := newLine()
	l.url, l.end = "rtu://"+name, slave.Close
	l.plug(master)
	l.wg.Go(func() { l.listen(master) })
	return l, nil
}

// raw ends every translation, and the echo, of a terminal.
func raw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
