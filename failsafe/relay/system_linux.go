package relay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// System is the GPIO character device of the running kernel.
type System struct{}

// Open opens a chip. The handle isn't inherited by child processes: a line
// lives as long as its last handle, and no child may keep a relay closed.
func (System) Open(path string) (int, error) {
	return unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// Ioctl carries out request.
func (System) Ioctl(fd int, request uint, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// Close closes a chip or gives a line back.
func (System) Close(fd int) error { return unix.Close(fd) }
