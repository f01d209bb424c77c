package relay

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The GPIO requests themselves are not tried on a kernel here: that takes the
// kernel's gpio-sim module and root, which a build machine lacks. What is tried
// is that System reaches the kernel, hands it the memory and brings its errors
// back; that the requests are those of <linux/gpio.h> is TestABI's part and,
// octet by octet, relaytest's. Before a new board is used, drive a line by hand
// and look at it.

func TestSystemPassesMemoryToTheKernel(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString("abc"); err != nil {
		t.Fatal(err)
	}
	var waiting int32
	if err := (System{}).Ioctl(int(r.Fd()), unix.TIOCINQ, unsafe.Pointer(&waiting)); err != nil || waiting != 3 {
		t.Errorf("octets waiting = %d, %v; want 3", waiting, err)
	}
}

func TestSystemWithoutAChip(t *testing.T) {
	l := NewLine(System{}, Address{Chip: "gpiochip65535", Line: "0"}, 32_000)
	if got, err := l.Apply(32_000); got != 0 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("= %d, %v; want 0 and no such file", got, err)
	}
	file := t.TempDir() + "/no-chip"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := System{}.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	var info chipInfo
	if err := (System{}).Ioctl(fd, getChipInfo, unsafe.Pointer(&info)); !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("a file that is no chip: error %v, want %v", err, syscall.ENOTTY)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("handle would be inherited: flags %#x, %v", flags, err)
	}
	if err := (System{}).Close(fd); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := (System{}).Close(fd); !errors.Is(err, syscall.EBADF) {
		t.Errorf("second close: error %v, want %v", err, syscall.EBADF)
	}
}
