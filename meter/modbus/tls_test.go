package modbus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvagent/meter/metertest"
)

// identity is a certificate that signs itself, and the files of it.
type identity struct {
	cert      tls.Certificate
	pool      *x509.CertPool
	file, key string
}

func newIdentity(t *testing.T, host string) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	id := identity{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool: x509.NewCertPool()}
	id.pool.AddCert(leaf)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id.file, id.key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{id.file: {Type: "CERTIFICATE", Bytes: der}, id.key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

// Both ends show a certificate (R16), the server one for the host that was
// asked for, at TLS 1.2 or later; else nothing is read.
func TestTLS(t *testing.T) {
	own, here, elsewhere := newIdentity(t, "agent"), newIdentity(t, "127.0.0.1"), newIdentity(t, "10.9.8.7")
	mutual := func(server identity, trusts *x509.CertPool, most uint16) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{server.cert}, ClientAuth: tls.RequireAndVerifyClientCert,
			ClientCAs: trusts, MinVersion: tls.VersionTLS10, MaxVersion: most}
	}
	for _, tt := range []struct {
		name   string
		server *tls.Config
		ca     string
		want   string // in the error; empty: it works
	}{
		{"mutual", mutual(here, own.pool, 0), here.file, ""},
		{"at TLS 1.2", mutual(here, own.pool, tls.VersionTLS12), here.file, ""},
		{"at TLS 1.1", mutual(here, own.pool, tls.VersionTLS11), here.file, "protocol version"},
		{"certificate of another host", mutual(elsewhere, own.pool, 0), elsewhere.file, "10.9.8.7"},
		{"certificate that nobody vouches for", mutual(here, own.pool, 0), own.file, "unknown authority"},
		{"server that does not know us", mutual(here, here.pool, tls.VersionTLS12), here.file, "remote error: tls"},
		{"CA file that is not there", mutual(here, own.pool, 0), "/no/ca.pem", "/no/ca.pem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := metertest.ListenTLS(tt.server)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.Unit(1).SetInput(0, 7)
			c, err := Bus{URL: s.URL(), Timeout: time.Second, CA: tt.ca, Cert: own.file, Key: own.key}.Client(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Open()
			var words []uint16
			if err == nil {
				words, err = c.ReadInput(1, 0, 1)
			}
			switch {
			case tt.want == "" && (err != nil || words[0] != 7):
				t.Errorf("read %v, %v", words, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
