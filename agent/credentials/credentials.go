// Package credentials holds what the agent proves its name with: its key, its
// certificate, and the CA that it trusts. It reads and checks them, makes the
// settings of a TLS handshake from them, makes a key and the request for a
// certificate, and puts a new certificate in place.
//
// The key is made on the device and never leaves it. There is no way to connect
// without a check of the other side: what cannot be verified is not spoken to.
//
// It does not connect (agent/uplink) and does not issue certificates.
//
// Requirements: R16 (secure communication).
package credentials

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files are where the parts lie.
type Files struct{ CA, Cert, Key string }

// pending is what the name of a file has added while it is being put in place.
const pending = ".new"

var (
	errNoCertificate = errors.New("holds no certificate")
	errName          = errors.New("wrong name")
	errOpenKey       = errors.New("every user of this machine may read it; chmod o-rwx")
)

// suites are those of TLS 1.2 that exchange keys by ECDHE and authenticate what
// they encrypt. TLS 1.3, which is preferred, has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// loaded is a set of files that fit together.
type loaded struct {
	pool  *x509.CertPool
	cert  tls.Certificate
	stamp string // differs where the files do
}

// Fault is what is wrong with one of the files.
type Fault struct {
	Part string // ca, cert or key
	Err  error
}

// load reads the files and returns everything that is wrong with them.
func (f Files) load(name string) (*loaded, []Fault) {
	var faults []Fault
	fault := func(part string, err error) { faults = append(faults, Fault{part, err}) }
	l, sum := &loaded{pool: x509.NewCertPool()}, sha256.New()
	ca, err := os.ReadFile(f.CA)
	switch {
	case err != nil:
		fault("ca", err)
	case !l.pool.AppendCertsFromPEM(ca):
		fault("ca", fmt.Errorf("%s %w", f.CA, errNoCertificate))
	}
	sum.Write(ca)
	if info, err := os.Stat(f.Key); err == nil && info.Mode()&0o007 != 0 {
		fault("key", fmt.Errorf("%s: %w", f.Key, errOpenKey))
	}
	if l.cert, err = f.pair(); err != nil {
		fault("cert", err)
		return nil, faults
	}
	for _, der := range l.cert.Certificate {
		sum.Write(der)
	}
	if got := l.cert.Leaf.Subject.CommonName; got != name {
		fault("cert", fmt.Errorf("%w: the certificate is for %q, not for site.id %q", errName, got, name))
	}
	if len(faults) > 0 {
		return nil, faults
	}
	l.stamp = string(sum.Sum(nil))
	return l, nil
}

// pair reads certificate and key. An installation that was cut off after the key
// was in its place has left the certificate beside its own.
func (f Files) pair() (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		if waiting, e := tls.LoadX509KeyPair(f.Cert+pending, f.Key); e == nil {
			return waiting, nil
		}
	}
	return cert, err
}

// Client returns the settings of somebody who looks on: with no CA the system's
// roots are trusted, with no certificate none is shown.
func (f Files) Client() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: suites}
	if f.CA != "" {
		ca, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("read ca: %w", err)
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("read ca: %s %w", f.CA, errNoCertificate)
		}
	}
	if f.Cert != "" || f.Key != "" {
		cert, err := f.pair()
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// Check returns everything that is wrong with the files of the agent called
// name. That a certificate has expired is none of it: an agent that may not
// connect still measures and keeps limits.
func (f Files) Check(name string) []Fault {
	_, faults := f.load(name)
	return faults
}

// Identity is what the agent connects with. The files may be replaced while it
// runs. Methods may be called from any goroutine.
type Identity struct {
	files Files
	name  string
	wall  func() time.Time
	floor func() time.Time
	log   *slog.Logger

	mu   sync.Mutex
	last *loaded
	said string // of the fault that was logged
}

// New returns the identity of the agent called name. Wall is its clock, floor a
// time that is certainly past, or zero.
func New(files Files, name string, wall, floor func() time.Time, log *slog.Logger) *Identity {
	return &Identity{files: files, name: name, wall: wall, floor: floor, log: log}
}

// now is the time by which certificates are judged: the later of clock and
// floor. A clock that starts years back would make every certificate one of the
// future, and lock out an RTU that learns the time over the network. A floor
// beyond the life of our own certificate is not one to judge by.
func (l *loaded) now(wall, floor time.Time) time.Time {
	if floor.After(wall) && !floor.After(l.cert.Leaf.NotAfter) {
		return floor
	}
	return wall
}

// get reads the files anew. Those that do not fit together, as in the middle of
// a copy, are not used: the last good ones stay.
func (i *Identity) get() (*loaded, error) {
	l, faults := i.files.load(i.name)
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(faults) == 0 {
		i.last, i.said = l, ""
		return l, nil
	}
	errs := make([]error, len(faults))
	for n, f := range faults {
		errs[n] = f.Err
	}
	err := errors.Join(errs...)
	if i.last == nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if i.said != err.Error() {
		i.said = err.Error()
		i.log.Error("credentials not usable; the last good ones stay", "err", err)
	}
	return i.last, nil
}

// TLS returns the settings of one handshake.
func (i *Identity) TLS() (*tls.Config, error) {
	l, err := i.get()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		RootCAs: l.pool, Certificates: []tls.Certificate{l.cert}, MinVersion: tls.VersionTLS12, CipherSuites: suites,
		Time: func() time.Time { return l.now(i.wall(), i.floor()) },
	}, nil
}

// Stamp differs where there is something new to connect with.
func (i *Identity) Stamp() string {
	l, err := i.get()
	if err != nil {
		return ""
	}
	return l.stamp
}

// Expires returns the end of the certificate's life, as it was last read; zero
// if it could not be read yet.
func (i *Identity) Expires() time.Time {
	i.mu.Lock()
	last := i.last
	i.mu.Unlock()
	if last == nil {
		l, err := i.get()
		if err != nil {
			return time.Time{}
		}
		last = l
	}
	return last.cert.Leaf.NotAfter
}
