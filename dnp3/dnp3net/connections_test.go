package dnp3net

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"lvagent/dnp3"
	"lvagent/dnp3/dnp3test"
)

const patience = 10 * time.Second

// settled waits until what is true of the server's counts.
func settled(t *testing.T, s *Server, what string, is func([]dnp3.Counts) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		var counts []dnp3.Counts
		if err := s.Ask(t.Context(), func(o *dnp3.Outstation, _ time.Duration) { counts = o.Counts() }); err != nil {
			t.Fatal(err)
		}
		if is(counts) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s: %+v", patience, what, counts)
		}
	}
}

// isClosed fails unless the peer closes the connection.
func isClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) || err != nil && strings.Contains(err.Error(), "timeout") {
		t.Fatalf("still open: %v", err)
	}
}

func tcp(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A master whose line died comes again on a new connection and goes on; the old
// one is closed. Its events are there.
func TestHalfOpenIsTakenOver(t *testing.T) {
	s := serve(t, Config{Station: station(nil, dnp3.Master{Address: 1})})
	old := dial(t, s, 1)
	if _, err := old.IntegrityPoll(); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(dnp3.Change{Type: dnp3.BinaryInput, Index: 7, Number: 1, Flags: dnp3.Online}); err != nil {
		t.Fatal(err)
	}
	r, err := dial(t, s, 1).EventPoll()
	if err != nil || len(r.Events()) != 1 {
		t.Fatalf("events %v, %v", r.Events(), err)
	}
	if _, err := old.NextFrame(time.Now().Add(patience)); err == nil || errors.Is(err, dnp3test.ErrTimeout) {
		t.Errorf("the old connection: %v, want it closed", err)
	}
}

func TestSourcesThatMayConnect(t *testing.T) {
	s := serve(t, Config{Station: station(nil, dnp3.Master{Address: 1}), Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	isClosed(t, tcp(t, s))
	s = serve(t, Config{Station: station(nil, dnp3.Master{Address: 1}), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if _, err := dial(t, s, 1).IntegrityPoll(); err != nil {
		t.Error(err)
	}
}

// 100 connections at once, most of them silent: no more are held than may be,
// and the master is served.
func TestManyConnections(t *testing.T) {
	s := serve(t, Config{Station: station(nil, dnp3.Master{Address: 1}, dnp3.Master{Address: 2}), MostConnections: 5})
	one := dial(t, s, 1)
	if _, err := one.IntegrityPoll(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		tcp(t, s)
	}
	if _, err := one.IntegrityPoll(); err != nil {
		t.Errorf("the first master: %v", err)
	}
	if _, err := dial(t, s, 2).IntegrityPoll(); err != nil {
		t.Errorf("the second: %v", err)
	}
	var held int
	if err := s.Ask(t.Context(), func(*dnp3.Outstation, time.Duration) { held = len(s.conns) }); err != nil || held > 5 {
		t.Errorf("%d connections held, want at most 5 (%v)", held, err)
	}
}

// An octet now and then is not a frame: who does not say who it is in time, goes.
func TestSlowLoris(t *testing.T) {
	c := Config{Station: station(nil, dnp3.Master{Address: 1}, dnp3.Master{Address: 2})}
	c.Station.Greeting = 50 * time.Millisecond
	s := serve(t, c)
	conn := tcp(t, s)
	frame := dnp3test.Frame(0xc9, 1024, 1, nil)
	for _, octet := range frame[:9] {
		if _, err := conn.Write([]byte{octet}); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	isClosed(t, conn)
}

// Who asks and does not take the answers is closed after a while, and keeps no
// other master waiting.
func TestPeerThatDoesNotRead(t *testing.T) {
	s := serve(t, Config{Station: station(nil, dnp3.Master{Address: 1}, dnp3.Master{Address: 2}), WriteTimeout: 200 * time.Millisecond})
	glutton := tcp(t, s)
	frames, _ := dnp3test.Segments(0, 1024, 1, dnp3test.Request(1, dnp3test.FuncRead, dnp3test.Classes(0)))
	many := bytes.Repeat(frames, 5000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := glutton.Write(many); err != nil {
				return
			}
		}
	}()
	if _, err := dial(t, s, 2).IntegrityPoll(); err != nil {
		t.Errorf("the other master: %v", err)
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("the connection is still open")
	}
}

// After 1,000 connections, most of them rude, there are as many goroutines as
// before and the heap has not grown.
func TestNothingIsLeftOfConnections(t *testing.T) {
	s := serve(t, Config{Station: station(nil, dnp3.Master{Address: 1})})
	round := func(i int) {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		m := dnp3test.New(c, dnp3test.Config{Address: 1, Outstation: 1024})
		switch i % 4 {
		case 0: // comes and goes
		case 1:
			_ = m.Raw([]byte{5, 100, 0xff, 0xc4, 0, 4})
		case 2:
			_ = m.Send(dnp3test.Request(1, dnp3test.FuncRead, dnp3test.Integrity()))
		case 3:
			if _, err := m.IntegrityPoll(); err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
	}
	measure := func(most int) (goroutines int, heap uint64) {
		settled(t, s, "no master", func(c []dnp3.Counts) bool { return !c[0].Connected })
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			var held int
			if err := s.Ask(t.Context(), func(*dnp3.Outstation, time.Duration) { held = len(s.conns) }); err != nil {
				t.Fatal(err)
			}
			if goroutines = runtime.NumGoroutine(); held == 0 && goroutines <= most || time.Now().After(end) {
				break
			}
		}
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return goroutines, m.HeapAlloc
	}
	for i := range 40 {
		round(i)
	}
	goroutines, heap := measure(6)
	for i := range 1000 {
		round(i)
	}
	after, heapAfter := measure(goroutines)
	if after > goroutines {
		t.Errorf("%d goroutines, %d before", after, goroutines)
	}
	// 100 octets a connection would be 100 kB.
	if heapAfter > heap+64<<10 {
		t.Errorf("heap of %d octets, %d before", heapAfter, heap)
	}
}

// What is saved at the end is there after a restart, and a damaged one is said.
func TestSavedOverRestart(t *testing.T) {
	var saved []byte
	c := Config{Station: station(nil, dnp3.Master{Address: 1}), Listen: "127.0.0.1:0", KeepEvery: time.Hour, Keep: func(b []byte) { saved = b }}
	s, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Update(dnp3.Change{Type: dnp3.BinaryInput, Index: 299, Number: 1, Flags: dnp3.Online, Time: 1}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	c.Saved = saved
	again := serve(t, c)
	r, err := dial(t, again, 1).EventPoll()
	if err != nil || len(r.Events()) != 1 || r.Events()[0].Index != 299 {
		t.Errorf("events %v, %v", r.Events(), err)
	}
	if err != nil || r.IIN&dnp3test.IINOverflow != 0 {
		t.Errorf("after an orderly end: IIN %04x, %v", r.IIN, err)
	}
	c.Saved = saved[:len(saved)-1]
	if _, err := Listen(c); !errors.Is(err, dnp3.ErrSaved) {
		t.Errorf("damaged: %v", err)
	}
}

// Who is killed leaves what was kept last. Events of class 1 are kept within KeepSoon,
// and a master is told that others may be missing.
func TestSavedOverKill(t *testing.T) {
	keep := make(chan []byte, 100)
	c := Config{Station: station(nil, dnp3.Master{Address: 1}), KeepEvery: time.Hour, KeepSoon: time.Millisecond, Keep: func(b []byte) { keep <- b }}
	c.Station.Points = []dnp3.Point{{Type: dnp3.BinaryInput, Index: 7, Class: dnp3.Class1}}
	s := serve(t, c)
	atStart := <-keep
	if err := s.Update(dnp3.Change{Type: dnp3.BinaryInput, Index: 7, Number: 1, Flags: dnp3.Online}); err != nil {
		t.Fatal(err)
	}
	var kept []byte
	select {
	case kept = <-keep:
	case <-time.After(patience):
		t.Fatal("an event of class 1 is not kept soon")
	}
	for _, saved := range [][]byte{atStart, kept} {
		again := c
		again.Keep, again.Saved = nil, saved
		r, err := dial(t, serve(t, again), 1).EventPoll()
		if err != nil || r.IIN&dnp3test.IINOverflow == 0 || r.IIN&dnp3test.IINRestart == 0 {
			t.Errorf("IIN %04x, %v; want the restart and missing events told", r.IIN, err)
		}
		if got := len(r.Events()) == 1; got != (len(saved) == len(kept)) {
			t.Errorf("events %v", r.Events())
		}
	}
}

// Settings are handed over at once, events at most every KeepEvery.
func TestKeepAtOnce(t *testing.T) {
	keep := make(chan []byte, 10)
	c := Config{Station: station(nil, dnp3.Master{Address: 1}), KeepEvery: time.Hour, KeepSoon: time.Hour, PlainControls: true, Keep: func(b []byte) { keep <- b }}
	s := serve(t, c)
	<-keep // at the start
	m := dial(t, s, 1)
	if err := s.Update(dnp3.Change{Type: dnp3.BinaryInput, Index: 0, Number: 1, Flags: dnp3.Online}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.EventPoll(); err != nil {
		t.Fatal(err)
	}
	if len(keep) != 0 {
		t.Error("events are kept at once")
	}
	if r, err := m.Do(dnp3test.FuncWrite, dnp3test.Indexed(34, 3, 5, []byte{0, 0, 0xa0, 0x40})); err != nil || r.IIN&dnp3test.IINErrors != 0 {
		t.Fatalf("deadband: %04x, %v", r.IIN, err)
	}
	select {
	case <-keep:
	case <-time.After(patience):
		t.Error("a deadband is not kept at once")
	}
}

// Without TLS a master reads, and operates only where that is said.
func TestPlainControls(t *testing.T) {
	for _, plain := range []bool{false, true} {
		h := &controls{}
		s := serve(t, Config{Station: station(h, dnp3.Master{Address: 1}), PlainControls: plain})
		m := dial(t, s, 1)
		st, err := m.DirectOperate(dnp3test.Setpoint(0, 1))
		if want := map[bool]uint8{false: 9, true: 0}[plain]; err != nil || len(st) != 1 || st[0] != want {
			t.Errorf("plain controls %v: statuses %v, %v, want %d", plain, st, err, want)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	tests := []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"open to all without TLS", func(c *Config) { c.Listen = "0.0.0.0:0" }, "sources that may connect"},
		{"no connection to spare", func(c *Config) { c.MostConnections = 1 }, "1 connections"},
		{"TLS without authorities", func(c *Config) { c.TLS = &tls.Config{} }, "authorities"},
		{"TLS without a name", func(c *Config) { c.TLS = &tls.Config{} }, "master 1: with TLS"},
		{"station", func(c *Config) { c.Station.Address = 0xffff }, "outstation address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{Station: station(nil, dnp3.Master{Address: 1}), Listen: "127.0.0.1:0"}
			tt.set(&c)
			if _, err := Listen(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// authority issues certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert = a.issue("CA", nil).Leaf
	return a
}

func (a *authority) issue(name string, dns []string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: dns,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	parent := a.cert
	if parent == nil {
		a.key, parent = key, c
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Only the master whose name the certificate carries may speak, over TLS 1.2 or
// better. opendnp3 #173: after a failed handshake the next one works.
func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	h := &controls{}
	c := Config{Station: station(h, dnp3.Master{Address: 1, Certificate: "scada-1"}, dnp3.Master{Address: 2, Certificate: "scada-2.example"})}
	c.TLS = &tls.Config{Certificates: []tls.Certificate{ours.issue("rtu", nil)}, ClientCAs: ours.pool()}
	c.HandshakeTimeout = 3 * time.Second
	s := serve(t, c)
	one := ours.issue("scada-1", nil)
	tests := []struct {
		name    string
		config  *tls.Config
		address uint16
		good    bool
	}{
		{"common name", &tls.Config{Certificates: []tls.Certificate{one}}, 1, true},
		{"DNS name", &tls.Config{Certificates: []tls.Certificate{ours.issue("x", []string{"scada-2.example"})}}, 2, true},
		{"another master's address", &tls.Config{Certificates: []tls.Certificate{one}}, 2, false},
		{"a name that is no master's", &tls.Config{Certificates: []tls.Certificate{ours.issue("scada-3", nil)}}, 1, false},
		{"another authority", &tls.Config{Certificates: []tls.Certificate{theirs.issue("scada-1", nil)}}, 1, false},
		{"no certificate", &tls.Config{}, 1, false},
		{"TLS 1.1", &tls.Config{Certificates: []tls.Certificate{one}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, 1, false},
		{"TLS 1.2", &tls.Config{Certificates: []tls.Certificate{one}, MaxVersion: tls.VersionTLS12}, 1, true},
		{"after all that", &tls.Config{Certificates: []tls.Certificate{one}}, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.RootCAs, tt.config.ServerName = ours.pool(), "127.0.0.1"
			conn := tls.Client(tcp(t, s), tt.config)
			m := dnp3test.New(conn, dnp3test.Config{Address: tt.address, Outstation: 1024, Timeout: 500 * time.Millisecond})
			if tt.good {
				m = dnp3test.New(conn, dnp3test.Config{Address: tt.address, Outstation: 1024})
			}
			_, err := m.IntegrityPoll()
			if (err == nil) != tt.good {
				t.Fatalf("poll: %v, want good %v", err, tt.good)
			}
			if !tt.good {
				return
			}
			if st, err := m.DirectOperate(dnp3test.Setpoint(0, 1)); err != nil || len(st) != 1 || st[0] != 0 {
				t.Errorf("operate: %v, %v", st, err)
			}
		})
	}
	t.Run("no handshake", func(t *testing.T) { isClosed(t, tcp(t, s)) })
	t.Run("no TLS", func(t *testing.T) {
		conn := tcp(t, s)
		if _, err := conn.Write(dnp3test.Frame(0xc9, 1024, 1, nil)); err != nil {
			t.Fatal(err)
		}
		isClosed(t, conn)
	})
}
