package modbus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	lib "github.com/simonvetter/modbus"
)

// Schemes of a bus address.
const (
	TCP        = "tcp"        // tcp://host:port
	TLS        = "tcp+tls"    // tcp+tls://host:port, with Bus.CA, Cert and Key
	RTU        = "rtu"        // rtu:///dev/ttyS1
	RTUOverTCP = "rtuovertcp" // rtuovertcp://host:port, a gateway that passes RTU frames on
)

// Bus says where a bus is and how it is spoken to.
type Bus struct {
	URL     string
	Timeout time.Duration // how long an answer may take; on a serial line, until it begins

	// Of the serial line, also of the one behind a gateway. The zero values are
	// 9600 bit/s, no parity, one stop bit.
	Baud   int
	Parity string // none, even, odd
	Stop   int
	// Gap is the least pause between an answer and the next request. A serial
	// line has 3.5 characters in any case.
	Gap time.Duration
	// Longest is the most registers that one request asks for; 0 is 125. It
	// bounds the time that is waited for an answer on a serial line.
	Longest uint16

	// Files of a mutual TLS session. The server's certificate must be for the
	// host of the URL.
	CA, Cert, Key string
}

var parities = map[string]uint{"none": lib.PARITY_NONE, "even": lib.PARITY_EVEN, "odd": lib.PARITY_ODD}

// Bauds are the speeds that a serial line may have.
var Bauds = []int{1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200}

const (
	longestRead  = 125
	longestFrame = 256 // octets
)

// complete fills in what is usual, and says what is wrong.
func (b *Bus) complete() error {
	u, err := url.Parse(b.URL)
	if err != nil {
		return fmt.Errorf("parse meter url: %w", err)
	}
	network := u.Hostname() != "" && u.Port() != "" && (u.Path == "" || u.Path == "/")
	switch u.Scheme {
	case TCP, RTUOverTCP, TLS:
		if !network {
			return fmt.Errorf("meter url %q: want %s://host:port", b.URL, u.Scheme)
		}
		b.URL = u.Scheme + "://" + u.Host
		if u.Scheme == TLS && (b.CA == "" || b.Cert == "" || b.Key == "") {
			return fmt.Errorf("meter url %q: TLS is mutual and needs the files of CA, certificate and key", b.URL)
		}
	case RTU:
		if u.Host != "" || len(u.Path) < 2 {
			return fmt.Errorf("meter url %q: want rtu:///dev/name", b.URL)
		}
	default:
		return fmt.Errorf("meter url %q: scheme %q is none of tcp, tcp+tls, rtu, rtuovertcp", b.URL, u.Scheme)
	}
	if b.Timeout <= 0 {
		return fmt.Errorf("meter url %q: timeout is %v, want more than 0", b.URL, b.Timeout)
	}
	if b.Baud == 0 {
		b.Baud = 9600
	}
	if b.Parity == "" {
		b.Parity = "none"
	}
	if b.Stop == 0 {
		b.Stop = 1
	}
	if b.Longest == 0 {
		b.Longest = longestRead
	}
	_, known := parities[b.Parity]
	switch {
	case !slices.Contains(Bauds, b.Baud):
		return fmt.Errorf("meter url %q: no serial line has %d bit/s", b.URL, b.Baud)
	case !known:
		return fmt.Errorf("meter url %q: parity %q is none of none, even, odd", b.URL, b.Parity)
	case b.Stop != 1 && b.Stop != 2:
		return fmt.Errorf("meter url %q: %d stop bits, want 1 or 2", b.URL, b.Stop)
	}
	return nil
}

// serial reports whether requests go over a serial line in RTU.
func (b *Bus) serial() bool {
	return strings.HasPrefix(b.URL, RTU+":") || strings.HasPrefix(b.URL, RTUOverTCP+":")
}

// chars is how long n octets take on the serial line.
func (b *Bus) chars(n int) time.Duration {
	bits := 1 + 8 + b.Stop
	if b.Parity != "none" {
		bits++
	}
	return time.Duration(n*bits) * time.Second / time.Duration(b.Baud)
}

// silence is the pause around a frame: 3.5 characters, above 19200 bit/s a fixed
// time (Modbus over Serial Line V1.02, 2.5.1.1).
func (b *Bus) silence() time.Duration {
	if b.Baud > 19200 {
		return 1750 * time.Microsecond
	}
	return b.chars(7) / 2
}

// Reading returns how long it takes to read n registers from a unit that begins
// to answer after turnaround: what the request costs the bus.
func (b Bus) Reading(n uint16, turnaround time.Duration) (time.Duration, error) {
	if err := b.complete(); err != nil {
		return 0, err
	}
	return b.exchange(8, 5+2*int(n), turnaround), nil
}

// Writing returns how long it takes to write one register or coil and to read
// it back.
func (b Bus) Writing(turnaround time.Duration) (time.Duration, error) {
	if err := b.complete(); err != nil {
		return 0, err
	}
	return b.exchange(8, 8, turnaround) + b.exchange(8, 7, turnaround), nil
}

// Unanswered returns what a request costs the bus that nobody answers.
func (b Bus) Unanswered() time.Duration {
	if err := b.complete(); err != nil || !b.serial() {
		return b.Timeout
	}
	return b.patience() + max(b.Timeout, leastQuiet)
}

// exchange is the time of a request and its reply, of so many octets.
func (b *Bus) exchange(request, reply int, turnaround time.Duration) time.Duration {
	if !b.serial() {
		return turnaround + b.Gap
	}
	return b.chars(request+reply) + 2*b.silence() + turnaround + b.Gap
}

// patience is how long the library waits for an answer. On TCP it is a little
// less than our own limit: it then closes the socket before we open the next
// one, and meters that take one connection accept it.
func (b *Bus) patience() time.Duration {
	if !b.serial() {
		return b.Timeout - b.Timeout/10
	}
	return b.exchange(8, 5+2*int(b.Longest), b.Timeout) - b.Gap
}

// loadKeys reads the certificates, anew for each connection, so that a renewed
// one is used without a restart.
func (b *Bus) loadKeys(conf *lib.ClientConfiguration) error {
	if !strings.HasPrefix(b.URL, TLS+":") {
		return nil
	}
	pem, err := os.ReadFile(b.CA)
	if err != nil {
		return fmt.Errorf("read CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("read CA certificates: " + b.CA + " holds none")
	}
	cert, err := tls.LoadX509KeyPair(b.Cert, b.Key)
	if err != nil {
		return fmt.Errorf("read own certificate: %w", err)
	}
	conf.TLSRootCAs, conf.TLSClientCert = pool, &cert
	return nil
}
