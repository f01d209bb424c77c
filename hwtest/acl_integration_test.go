//go:build integration

package hwtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"lvagent/hwtest/bench"
)

// authority issues the certificates of a test.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, pool: x509.NewCertPool()}
	a.cert = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &key.PublicKey)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(c *x509.Certificate, public any) *x509.Certificate {
	a.t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(60*24*time.Hour)
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

// issue returns a certificate for name with its key, as PEM.
func (a *authority) issue(name string) (cert, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, &private.PublicKey)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// guarded is a mosquitto with the shipped settings and access list.
type guarded struct {
	*mosquitto
	*authority
	folder string
	mu     sync.Mutex
	heard  map[string][]string // by client: topics
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{authority: newAuthority(t), folder: t.TempDir(), heard: map[string][]string{}}
	// It drops its rights when started by root, and must still read these.
	if err := os.Chmod(filepath.Dir(g.folder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(g.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	cert, key := g.issue("localhost")
	g.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.cert.Raw}))
	g.write("broker.pem", cert)
	g.write("broker.key", key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	g.mosquitto = &mosquitto{t: t, addr: fmt.Sprintf("127.0.0.1:%d", port), conf: filepath.Join(g.folder, "mosquitto.conf")}
	shipped := g.shipped("mosquitto.conf")
	shipped = strings.NewReplacer("listener 8883", fmt.Sprintf("listener %d 127.0.0.1", port), "/etc/mosquitto/certs", g.folder,
		"/etc/mosquitto", g.folder, "/var/lib/mosquitto/", g.folder+"/").Replace(shipped)
	g.write("mosquitto.conf", []byte(shipped+"persistence_file off.db\nlog_type error\nuser "+"root\n"))
	g.write("lvagent.acl", []byte(g.shipped("mosquitto.acl")))
	g.mosquitto.start()
	t.Cleanup(g.kill)
	return g
}

func (g *guarded) shipped(name string) string {
	g.authority.t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs/acl", name))
	if err != nil {
		g.authority.t.Fatal(err)
	}
	return string(text)
}

func (g *guarded) write(name string, text []byte) {
	g.authority.t.Helper()
	if err := os.WriteFile(filepath.Join(g.folder, name), text, 0o644); err != nil {
		g.authority.t.Fatal(err)
	}
}

// join connects a client with the certificate of name, and subscribes it.
func (g *guarded) join(name string, id string, filters ...string) mqtt.Client {
	t := g.authority.t
	t.Helper()
	settings := &tls.Config{RootCAs: g.pool, ServerName: "localhost"}
	if name != "" {
		cert, key := g.issue(name)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	opts := mqtt.NewClientOptions().AddBroker("ssl://" + g.addr).SetClientID(id).SetTLSConfig(settings).SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectTimeout(5 * time.Second).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			g.mu.Lock()
			g.heard[name] = append(g.heard[name], m.Topic())
			g.mu.Unlock()
		})
	c := mqtt.NewClient(opts)
	token := c.Connect()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		return nil
	}
	t.Cleanup(func() { c.Disconnect(0) })
	for _, f := range filters {
		if token := c.Subscribe(f, 1, nil); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
			t.Fatalf("subscribe to %s: %v", f, token.Error())
		}
	}
	return c
}

func (g *guarded) say(c mqtt.Client, topic string) {
	g.authority.t.Helper()
	if token := c.Publish(topic, 1, false, "{}"); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		g.authority.t.Fatalf("publish on %s: %v", topic, token.Error())
	}
}

func (g *guarded) hears(name string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.heard[name], " ")
}

// R16: with the shipped access list an agent reaches its own topics and no
// others, nobody without a certificate gets in, and only the centre commands.
func TestAccessList(t *testing.T) {
	g := newGuarded(t)
	if g.join("", "EPN-1") != nil {
		t.Error("a client without a certificate was let in")
	}
	stranger := newAuthority(t)
	stranger.pool = g.pool
	if (&guarded{mosquitto: g.mosquitto, authority: &authority{t: t, key: stranger.key, cert: stranger.cert, pool: g.pool}, heard: g.heard}).join("EPN-1", "EPN-1") != nil {
		t.Error("a certificate of another CA was let in")
	}
	centre := g.join("scada-1", "scada-1", "lv/v1/+/up/#")
	one := g.join("EPN-1", "EPN-1", "lv/v1/EPN-1/cmd/#", "lv/v1/_all/cmd/heartbeat", "lv/v1/EPN-1/up/selftest", "#", "lv/v1/EPN-2/cmd/#")
	two := g.join("EPN-2", "EPN-2", "lv/v1/EPN-2/cmd/#")
	if centre == nil || one == nil || two == nil {
		t.Fatal("a client with a certificate was not let in")
	}
	for _, topic := range []string{"lv/v1/EPN-1/up/hh/W1", "lv/v1/EPN-1/up/status", "lv/v1/EPN-1/up/selftest"} {
		g.say(one, topic)
	}
	for _, topic := range []string{"lv/v1/EPN-2/up/hh/W1", "lv/v1/EPN-1/cmd/limit", "lv/v1/EPN-2/cmd/limit", "lv/v1/_all/cmd/heartbeat", "other"} {
		g.say(one, topic) // acknowledged, and thrown away
	}
	g.say(two, "lv/v1/EPN-2/up/status")
	for _, topic := range []string{"lv/v1/EPN-1/cmd/limit", "lv/v1/EPN-2/cmd/cancel", "lv/v1/_all/cmd/heartbeat", "lv/v1/EPN-1/cmd/birth"} {
		g.say(centre, topic)
	}
	g.say(centre, "lv/v1/EPN-1/up/hh/W1") // the centre is no agent
	g.say(two, "lv/v1/EPN-2/up/last")
	eventually(t, "the last message", 5*time.Second, func() bool { return strings.HasSuffix(g.hears("scada-1"), "up/last") })
	eventually(t, "the last command", 5*time.Second, func() bool { return strings.HasSuffix(g.hears("EPN-1"), "cmd/birth") })
	for name, want := range map[string]string{
		"scada-1": "lv/v1/EPN-1/up/hh/W1 lv/v1/EPN-1/up/status lv/v1/EPN-1/up/selftest lv/v1/EPN-2/up/status lv/v1/EPN-2/up/last",
		"EPN-1":   "lv/v1/EPN-1/up/selftest lv/v1/EPN-1/cmd/limit lv/v1/_all/cmd/heartbeat lv/v1/EPN-1/cmd/birth",
		"EPN-2":   "lv/v1/EPN-2/cmd/cancel",
	} {
		if got := g.hears(name); got != want {
			t.Errorf("%s heard\n%s\nwant\n%s", name, got, want)
		}
	}
	// Another's client id is not to be had: the broker puts in the certificate's.
	if g.join("EPN-2", "EPN-1") == nil {
		t.Error("a client that asks for another's id was not let in with its own")
	}
	g.say(centre, "lv/v1/EPN-1/cmd/birth")
	eventually(t, "a command to an agent whose id was asked for", 5*time.Second, func() bool { return strings.Count(g.hears("EPN-1"), "cmd/birth") == 2 })
}

// An agent from its enrolment to its self-test, against a real broker: the key
// is made on the device, and a list that lacks a line is an alarm.
func TestEnrolledAgent(t *testing.T) {
	g := newGuarded(t)
	program, err := filepath.Abs("../bin/lvagent")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	file := filepath.Join(home, "site.yaml")
	_, port, _ := strings.Cut(g.addr, ":")
	site := fmt.Sprintf(`site: {id: EPN-1}
clock: {source: assume}
meters: [{id: m1, url: "tcp://127.0.0.1:1", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
uplink:
  broker: "ssl://localhost:%s"
  tls: {ca: %s/ca.pem, cert: %s/agent.pem, key: %s/agent.key}
  selftest: 2s
  backoff_max: 1s
buffer: {path: %s/store}
`, port, g.folder, home, home, home)
	if err := os.WriteFile(file, []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	command("enrol", "--config", file)
	text, err := os.ReadFile(filepath.Join(home, "agent.key.csr"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	issued := g.sign(&x509.Certificate{Subject: request.Subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, request.PublicKey)
	answer := filepath.Join(home, "issued.pem")
	if err := os.WriteFile(answer, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	command("enrol", "--config", file, "--install", answer)
	command("check", file)

	var state sync.Mutex
	latest := map[string]string{}
	centre := g.join("scada-1", "scada-1")
	if token := centre.Subscribe("lv/v1/EPN-1/up/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		state.Lock()
		latest[m.Topic()] = string(m.Payload())
		state.Unlock()
	}); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	says := func(topic, what string) bool {
		state.Lock()
		defer state.Unlock()
		return strings.Contains(latest["lv/v1/EPN-1/up/"+topic], what)
	}
	var log bytes.Buffer
	agent, err := bench.StartAgent(&log, program, "run", "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := agent.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the agent's log:\n%s", log.String())
		}
	}()
	eventually(t, "online, with the days of the certificate", 10*time.Second, func() bool {
		return says("status", `"online"`) && says("status", `"certificate_days":59`)
	})
	began := time.Now()
	eventually(t, "twice the time of a self-test", 10*time.Second, func() bool { return time.Since(began) > 4*time.Second })
	if says("alarmstate/_site", "UPLINK_SELFTEST") {
		t.Error("the self-test failed with the shipped access list")
	}
	// The list loses its line, and the broker is told.
	g.write("lvagent.acl", []byte(strings.Replace(g.shipped("mosquitto.acl"), "pattern read lv/v1/%u/up/selftest\n", "", 1)))
	g.kill()
	g.mosquitto.start()
	if centre = g.join("scada-1", "scada-1"); centre == nil {
		t.Fatal("the centre is not let in again")
	}
	if token := centre.Subscribe("lv/v1/EPN-1/up/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		state.Lock()
		latest[m.Topic()] = string(m.Payload())
		state.Unlock()
	}); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	eventually(t, "the alarm of the self-test", 20*time.Second, func() bool { return says("alarmstate/_site", "_site.UPLINK_SELFTEST") })
}
