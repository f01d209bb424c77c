package uplink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// selfSigned returns a certificate for 127.0.0.1 and a pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// Both sides show a certificate (R16); a broker that nobody vouches for is never
// told anything.
func TestTLS(t *testing.T) {
	certificate, pool := selfSigned(t)
	b, addr := startBroker(t, freeAddress(t)), freeAddress(t)
	secured := listeners.NewTCP(listeners.Config{ID: "tls", Address: addr, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}})
	if err := b.server.AddListener(secured); err != nil {
		t.Fatal(err)
	}
	go secured.Serve(b.server.EstablishConnection)

	box := newOutbox()
	box.fill("hh/W3", now, 3)
	r := start(t, addr, box, func(c *Config) {
		c.Brokers, c.TLS = []string{"tls://" + addr}, func() (*tls.Config, error) { return new(tls.Config), nil }
	})
	eventually(t, "two refusals", func() bool { return r.draws.Load() >= 2 })
	if e := r.State().LastError; !strings.Contains(e, "certificate") || b.count() != 0 {
		t.Errorf("a stranger was told %d messages; last error %q", b.count(), e)
	}
	r.stop(t)
	start(t, addr, box, func(c *Config) {
		c.Brokers = []string{"tls://" + addr}
		c.TLS = func() (*tls.Config, error) {
			return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}}, nil
		}
	})
	eventually(t, "all acknowledged", func() bool { return box.acked("hh/W3") == 3 })
	complete(t, b.all(), "hh/W3", 3)
}
