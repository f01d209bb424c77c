//go:build !linux

package uplink

import (
	"net"
	"time"
)

// dialer returns a dialer; only Linux is told how long to wait.
func dialer(time.Duration) *net.Dialer { return new(net.Dialer) }
