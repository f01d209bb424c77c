package dnp3net

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"lvagent/dnp3"
)

// Config describes a server. [Listen] fills in what is zero.
type Config struct {
	// Listen is host:port (default 127.0.0.1:20000).
	Listen string
	// TLS makes the server ask for and verify a certificate of each master; its
	// certificates and ClientCAs must be set. TLS below 1.2 is never spoken. Each
	// master then needs its [dnp3.Master.Certificate].
	TLS *tls.Config
	// PlainControls lets masters operate without TLS. Otherwise they may read,
	// acknowledge and set the time only.
	PlainControls bool
	// Allow are the sources that may connect. Without TLS, and on an address
	// that others can reach, it must not be empty; otherwise empty allows all.
	Allow []netip.Prefix
	// MostConnections (default 4 more than there are masters) limits connections
	// at the same time; the oldest without a known master makes room.
	MostConnections int
	// WriteTimeout (default 10 s) closes the connection of a peer that does not
	// take what is sent; HandshakeTimeout (default 10 s) that of one which does
	// not finish the TLS handshake.
	WriteTimeout, HandshakeTimeout time.Duration

	Station dnp3.Config

	// Saved is what Keep was given last before a restart. Keep is called with
	// all that should outlive the next one: at the start, at once after a master
	// changed a setting, at most every KeepSoon (default 1 s) after events of class
	// 1, otherwise at most every KeepEvery (default 10 s) while events come and go,
	// and at the end. It must not wait: it runs in the one loop.
	//
	// Unless what is Saved was of the end, events may be missing in it, and each
	// master is told so; see [dnp3.Outstation.Lost].
	Saved               []byte
	Keep                func(saved []byte)
	KeepEvery, KeepSoon time.Duration
	// Lost says that events may be missing for another reason: what was saved
	// could not be read, or values came while nobody could take them.
	Lost bool

	Wall func() time.Time // default time.Now
	Log  *slog.Logger     // default discards
}

func (c Config) withDefaults() (Config, error) {
	var faults []error
	if c.Listen == "" {
		c.Listen = "127.0.0.1:20000"
	}
	if c.MostConnections == 0 {
		c.MostConnections = len(c.Station.Masters) + 4
	}
	if c.MostConnections <= len(c.Station.Masters) {
		faults = append(faults, fmt.Errorf("%d connections: there are %d masters, and one more is needed for who comes again", c.MostConnections, len(c.Station.Masters)))
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&c.WriteTimeout, 10 * time.Second}, {&c.HandshakeTimeout, 10 * time.Second}, {&c.KeepEvery, 10 * time.Second}, {&c.KeepSoon, time.Second}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.TLS == nil {
		if len(c.Allow) == 0 && !isLoopback(c.Listen) {
			faults = append(faults, fmt.Errorf("listen %s without TLS: the sources that may connect must be named", c.Listen))
		}
		return c, errors.Join(faults...)
	}
	if c.TLS.ClientCAs == nil || len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil && c.TLS.GetConfigForClient == nil {
		faults = append(faults, errors.New("TLS: a certificate and the authorities of masters are needed"))
	}
	for _, m := range c.Station.Masters {
		if m.Certificate == "" {
			faults = append(faults, fmt.Errorf("master %d: with TLS the name in its certificate is needed", m.Address))
		}
	}
	// A copy, so that what the caller gave cannot be weaker than this.
	c.TLS = c.TLS.Clone()
	c.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	c.TLS.MinVersion = max(c.TLS.MinVersion, tls.VersionTLS12)
	return c, errors.Join(faults...)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (c Config) allowed(remote net.Addr) bool {
	if len(c.Allow) == 0 {
		return true
	}
	a, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return false
	}
	ip := a.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(c.Allow, func(p netip.Prefix) bool { return p.Contains(ip) })
}
