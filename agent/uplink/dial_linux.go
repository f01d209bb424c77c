package uplink

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall has
// for some processors only.
const tcpUserTimeout = 18

// dialer returns a dialer whose connections fail when what was sent stays
// without acknowledgement for a time: the kernel's own limit is about a quarter
// of an hour.
func dialer(unacknowledged time.Duration) *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unacknowledged.Milliseconds()))
		})
		if err != nil {
			return err
		}
		return failed
	}}
}
