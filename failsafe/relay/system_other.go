//go:build !linux

package relay

import (
	"fmt"
	"runtime"
	"unsafe"
)

// System has no GPIO character device here: that is Linux's.
type System struct{}

var errNoGPIO = fmt.Errorf("GPIO lines need Linux, this is %s", runtime.GOOS)

// Open returns an error.
func (System) Open(string) (int, error) { return 0, errNoGPIO }

// Ioctl returns an error.
func (System) Ioctl(int, uint, unsafe.Pointer) error { return errNoGPIO }

// Close returns an error.
func (System) Close(int) error { return errNoGPIO }
