package credentials

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const name = "EPN-E1234"

// authority is a CA that issues what a test asks for.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	a.cert = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().AddDate(-10, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0)}, &key.PublicKey)
	return a
}

func (a *authority) sign(c *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	a.t.Helper()
	var err error
	if c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		a.t.Fatal(err)
	}
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed
}

func asPEM(certs ...*x509.Certificate) (text []byte) {
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// client is the template of an agent's certificate.
func client(change func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour)}
	if change != nil {
		change(c)
	}
	return c
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// requested returns the public key of the request that waits.
func requested(t *testing.T, f Files) *x509.CertificateRequest {
	t.Helper()
	block, _ := pem.Decode(read(t, f.Key+".csr"))
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || r.CheckSignature() != nil {
		t.Fatal(err)
	}
	return r
}

// enrolled returns the files of an agent that went through enrolment.
func enrolled(t *testing.T, a *authority) Files {
	t.Helper()
	folder := t.TempDir()
	f := Files{CA: filepath.Join(folder, "ca.pem"), Cert: filepath.Join(folder, "agent.pem"), Key: filepath.Join(folder, "agent.key")}
	write(t, f.CA, asPEM(a.cert))
	renew(t, f, a, nil)
	return f
}

func renew(t *testing.T, f Files, a *authority, change func(*x509.Certificate)) {
	t.Helper()
	if _, _, err := f.Enrol(name, false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Install(name, asPEM(a.sign(client(change), requested(t, f).PublicKey)), time.Now()); err != nil {
		t.Fatal(err)
	}
}

func TestEnrol(t *testing.T) {
	a := newAuthority(t)
	f := enrolled(t, a)
	if faults := f.Check(name); len(faults) > 0 {
		t.Errorf("after an enrolment: %v", faults)
	}
	if info, err := os.Stat(f.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v (%v)", info.Mode(), err)
	}
	if r := requested(t, f); r.Subject.CommonName != name {
		t.Errorf("requested for %q", r.Subject.CommonName)
	} else if k, ok := r.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		t.Errorf("the key is %T", r.PublicKey)
	}
	before := read(t, f.Key)
	if _, _, err := f.Enrol(name, false); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, read(t, f.Key)) {
		t.Error("asking for a renewal changed the key in use")
	}
	waiting := read(t, f.Key+pending)
	if _, _, err := f.Enrol(name, false); !errors.Is(err, ErrKeyExists) || !bytes.Equal(waiting, read(t, f.Key+pending)) {
		t.Errorf("a key that waits was overwritten: %v", err)
	}
	if _, _, err := f.Enrol(name, true); err != nil || bytes.Equal(waiting, read(t, f.Key+pending)) {
		t.Errorf("--force does not: %v", err)
	}
}

// A certificate that the agent could not use is not put in place, and everything
// stays as it was.
func TestInstallRefuses(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	now := time.Now()
	for _, tt := range []struct {
		name   string
		signer *authority
		change func(*x509.Certificate)
		now    time.Time
		want   string
	}{
		{"another name", a, func(c *x509.Certificate) { c.Subject.CommonName = "EPN-E9" }, now, `it is for "EPN-E9", not for site.id "EPN-E1234"`},
		{"another CA", stranger, nil, now, "by the CA in "},
		{"a server's", a, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, now, "not for authentication as a client"},
		{"not valid yet", a, nil, now.AddDate(-1, 0, 0), "not valid yet, by this device's clock"},
		{"expired", a, nil, now.AddDate(1, 0, 0), "expired, by this device's clock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := enrolled(t, a)
			if _, _, err := f.Enrol(name, false); err != nil {
				t.Fatal(err)
			}
			key, cert := read(t, f.Key), read(t, f.Cert)
			text := asPEM(tt.signer.sign(client(tt.change), requested(t, f).PublicKey))
			if _, err := f.Install(name, text, tt.now); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if !bytes.Equal(key, read(t, f.Key)) || !bytes.Equal(cert, read(t, f.Cert)) || len(f.Check(name)) > 0 {
				t.Error("something changed")
			}
		})
	}
	f := enrolled(t, a)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Install(name, asPEM(a.sign(client(nil), &other.PublicKey)), now); !errors.Is(err, ErrNoKey) {
		t.Errorf("a certificate for a key that is not here: %v", err)
	}
	for _, text := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := f.Install(name, []byte(text), now); err == nil {
			t.Errorf("%q was installed", text)
		}
	}
}

// Cut off between the key and the certificate, the installation has left files
// that the agent can use.
func TestInstallCutOff(t *testing.T) {
	a := newAuthority(t)
	f := enrolled(t, a)
	if _, _, err := f.Enrol(name, false); err != nil {
		t.Fatal(err)
	}
	write(t, f.Cert+pending, asPEM(a.sign(client(nil), requested(t, f).PublicKey)))
	if faults := f.Check(name); len(faults) > 0 {
		t.Errorf("before the key is moved: %v", faults)
	}
	if err := os.Rename(f.Key+pending, f.Key); err != nil {
		t.Fatal(err)
	}
	if faults := f.Check(name); len(faults) > 0 {
		t.Errorf("after the key is moved: %v", faults)
	}
}

func TestCheck(t *testing.T) {
	a := newAuthority(t)
	for _, tt := range []struct {
		name  string
		spoil func(*testing.T, Files)
		want  string
	}{
		{"no CA", func(t *testing.T, f Files) { os.Remove(f.CA) }, "ca: open"},
		{"a CA that is none", func(t *testing.T, f Files) { write(t, f.CA, []byte("x")) }, "ca: " + "%ca holds no certificate"},
		{"no key", func(t *testing.T, f Files) { os.Remove(f.Key) }, "cert: open"},
		{"another's key", func(t *testing.T, f Files) { write(t, f.Key, read(t, enrolled(t, a).Key)) }, "cert: tls: private key does not match"},
		{"a key for everybody", func(t *testing.T, f Files) { os.Chmod(f.Key, 0o604) }, "key: %key: every user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := enrolled(t, a)
			tt.spoil(t, f)
			want := strings.NewReplacer("%ca", f.CA, "%key", f.Key).Replace(tt.want)
			faults := f.Check(name)
			if !slices.ContainsFunc(faults, func(x Fault) bool { return strings.HasPrefix(x.Part+": "+x.Err.Error(), want) }) {
				t.Errorf("faults %v, want %s", faults, want)
			}
		})
	}
	f := enrolled(t, a)
	if faults := f.Check("EPN-E9"); len(faults) != 1 || !errors.Is(faults[0].Err, errName) {
		t.Errorf("another site's certificate: %v", faults)
	}
}

// server accepts one connection and says how its handshake went.
func server(t *testing.T, settings *tls.Config) (addr string, result chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	result = make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			secured := tls.Server(conn, settings)
			err = secured.HandshakeContext(context.Background())
			if err == nil {
				_, err = secured.Write([]byte{1})
			}
		}
		result <- err
	}()
	return l.Addr().String(), result
}

func (a *authority) server(host string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := a.sign(&x509.Certificate{DNSNames: []string{host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

// connect does what the uplink does with the settings.
func connect(i *Identity, addr, host string) (tls.ConnectionState, error) {
	settings, err := i.TLS()
	if err != nil {
		return tls.ConnectionState{}, err
	}
	settings.ServerName = host
	conn, err := tls.Dial("tcp", addr, settings)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1)) // with TLS 1.3 a refusal comes after the handshake
	return conn.ConnectionState(), err
}

func never() time.Time { return time.Time{} }

// R16: what may not be trusted is not spoken to, and what is too weak neither.
func TestHandshakes(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	f := enrolled(t, a)
	agents := x509.NewCertPool()
	agents.AddCert(a.cert)
	mutual := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{a.server("broker.example")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: agents}
		change(c)
		return c
	}
	past := func() time.Time { return time.Now().AddDate(-9, 0, 0) }
	for _, tt := range []struct {
		name        string
		server      *tls.Config
		wall, floor func() time.Time
		want        string // of the error; empty: it connects
		version     uint16
	}{
		{"TLS 1.3 where there is a choice", mutual(func(*tls.Config) {}), time.Now, never, "", tls.VersionTLS13},
		{"TLS 1.2", mutual(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), time.Now, never, "", tls.VersionTLS12},
		{"TLS 1.1", mutual(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }), time.Now, never, "protocol version", 0},
		{"a suite without authenticated encryption", mutual(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}), time.Now, never, "handshake failure", 0},
		{"another host's certificate", mutual(func(c *tls.Config) { c.Certificates = []tls.Certificate{a.server("other.example")} }), time.Now, never, "other.example, not broker.example", 0},
		{"a stranger's certificate", mutual(func(c *tls.Config) { c.Certificates = []tls.Certificate{stranger.server("broker.example")} }), time.Now, never, "unknown authority", 0},
		{"a clock years back", mutual(func(*tls.Config) {}), past, never, "not yet valid", 0},
		{"a clock years back, with a floor", mutual(func(*tls.Config) {}), past, time.Now, "", tls.VersionTLS13},
		{"a floor years ahead", mutual(func(*tls.Config) {}), time.Now, func() time.Time { return time.Now().AddDate(5, 0, 0) }, "", tls.VersionTLS13},
		{"a clock years ahead", mutual(func(*tls.Config) {}), func() time.Time { return time.Now().AddDate(5, 0, 0) }, never, "expired", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, result := server(t, tt.server)
			state, err := connect(New(f, name, tt.wall, tt.floor, slog.New(slog.DiscardHandler)), addr, "broker.example")
			served := <-result
			switch {
			case tt.want == "" && (err != nil || served != nil || state.Version != tt.version):
				t.Errorf("client %v, server %v, version %x", err, served, state.Version)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// New files are used at the next handshake; such as do not fit together are not.
func TestFilesAreReplaced(t *testing.T) {
	a, next := newAuthority(t), newAuthority(t)
	f := enrolled(t, a)
	i := New(f, name, time.Now, never, slog.New(slog.DiscardHandler))
	first, expires := i.Stamp(), i.Expires()
	if first == "" || expires.Before(time.Now().AddDate(0, 0, 99)) {
		t.Fatalf("stamp %x, expires %v", first, expires)
	}
	cert := read(t, f.Cert)
	write(t, f.Cert, cert[:len(cert)/2])
	if i.Stamp() != first {
		t.Error("half a certificate was taken for a new one")
	}
	if _, err := i.TLS(); err != nil {
		t.Errorf("with half a certificate on disk: %v", err)
	}
	write(t, f.Cert, cert)
	renew(t, f, a, func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(1, 0, 0) })
	second := i.Stamp()
	if second == first || !i.Expires().After(expires.AddDate(0, 1, 0)) {
		t.Errorf("a renewed certificate is not seen; expires %v", i.Expires())
	}
	// Two CAs are trusted during a change-over.
	addr, _ := server(t, &tls.Config{Certificates: []tls.Certificate{next.server("broker.example")}})
	if _, err := connect(i, addr, "broker.example"); err == nil {
		t.Error("the next CA is trusted before it is in the file")
	}
	write(t, f.CA, asPEM(a.cert, next.cert))
	addr, _ = server(t, &tls.Config{Certificates: []tls.Certificate{next.server("broker.example")}})
	if _, err := connect(i, addr, "broker.example"); err != nil {
		t.Errorf("with both CAs in the file: %v", err)
	}
	if i.Stamp() == second {
		t.Error("a new CA is not something new")
	}
}
