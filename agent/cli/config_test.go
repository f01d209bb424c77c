package cli

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"lvagent/agent/message"
	"lvagent/hwtest/bench"
)

// tried is an agent that runs with a site file, and a broker.
type tried struct {
	t      *testing.T
	file   string
	broker *bench.Broker
	log    *screen
	key    ed25519.PrivateKey
	seq    int
	client mqtt.Client

	mu   sync.Mutex
	acks []string // command's id, stage and code
	hash string   // of the configuration, as the agent says
}

func newTried(t *testing.T) *tried {
	t.Helper()
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &tried{t: t, file: filepath.Join(t.TempDir(), "site.yaml"), broker: broker, key: private}
	r.write(r.file, r.site("one", broker.Addr(), base64.StdEncoding.EncodeToString(public)))
	r.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker.Addr()).SetClientID("centre"))
	r.wait(r.client.Connect())
	t.Cleanup(func() { r.client.Disconnect(0) })
	r.wait(r.client.Subscribe("lv/v1/S1/up/#", 1, r.hear))
	return r
}

func (r *tried) site(name, broker, key string) string {
	return fmt.Sprintf(`site: {id: S1, name: %s}
clock: {source: assume}
meters: [{id: m1, url: "tcp://127.0.0.1:1", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
buffer: {path: %q}
failsafe: {issuers: [scada-1, scada-2]}
uplink: {broker: "tcp://%s", backoff_min: 100ms, backoff_max: 200ms, issuers: [{id: scada-1, key: %q}]}
`, name, filepath.Dir(r.file), broker, key)
}

// with returns the site file in force with a change.
func (r *tried) with(old, new string) string {
	r.t.Helper()
	text, err := os.ReadFile(r.file)
	if err != nil || !strings.Contains(string(text), old) {
		r.t.Fatalf("%v: no %q in %s", err, old, text)
	}
	return strings.Replace(string(text), old, new, 1)
}

func (r *tried) write(file, text string) {
	r.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *tried) wait(token mqtt.Token) {
	r.t.Helper()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		r.t.Fatalf("centre: %v", token.Error())
	}
}

func (r *tried) hear(_ mqtt.Client, m mqtt.Message) {
	var a struct{ ID, Stage, Code, State, Config string }
	if json.Unmarshal(m.Payload(), &a) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case strings.HasSuffix(m.Topic(), "/up/ack"):
		r.acks = append(r.acks, strings.TrimSpace(a.ID+" "+a.Stage+" "+a.Code))
	case strings.HasSuffix(m.Topic(), "/up/status") && a.State == "online":
		r.hash = a.Config
	}
}

// run starts the agent; the returned function ends it.
func (r *tried) run() (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	r.log = new(screen)
	done := make(chan error, 1)
	go func() { done <- serve(ctx, r.file, r.log) }()
	r.log.await(r.t, "broker connected")
	return func() {
		r.t.Helper()
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("run: %v", err)
		}
	}
}

func (r *tried) order(id string, fields map[string]any) {
	r.t.Helper()
	r.seq++
	now := time.Now().UTC()
	body := map[string]any{"id": id, "issuer": "scada-1", "epoch": 1, "seq": r.seq,
		"issued": now.Format(time.RFC3339), "expires": now.Add(time.Minute).Format(time.RFC3339)}
	for k, v := range fields {
		body[k] = v
	}
	const topic = "lv/v1/S1/cmd/config"
	text, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	c, refused := message.Decode(topic, text, false)
	if refused != nil {
		r.t.Fatal(refused)
	}
	if body["issuer"] == "scada-1" {
		body["sig"] = base64.StdEncoding.EncodeToString(ed25519.Sign(r.key, message.SignedText(topic, c.Canonical)))
	}
	if text, err = json.Marshal(body); err != nil {
		r.t.Fatal(err)
	}
	r.wait(r.client.Publish(topic, 1, false, text))
}

// ladder waits until a command's ladder is as it should be.
func (r *tried) ladder(id string, want ...string) {
	r.t.Helper()
	var got []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		got = nil
		for _, a := range r.acks {
			if rest, ok := strings.CutPrefix(a, id+" "); ok {
				got = append(got, rest)
			}
		}
		r.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
	}
	r.t.Fatalf("ladder of %s is %q, want %q\n%s", id, got, want, r.log)
}

func (r *tried) inForce(want string) {
	r.t.Helper()
	got, err := os.ReadFile(r.file)
	if err != nil || string(got) != want {
		r.t.Errorf("site file in force: %v\n%s\nwant\n%s", err, got, want)
	}
}

// On site: a site file with faults is refused with all of them, one without is
// tried, and stays once it is confirmed.
func TestConfigOnSite(t *testing.T) {
	r := newTried(t)
	defer r.run()()
	old, _ := os.ReadFile(r.file)
	fresh := filepath.Join(t.TempDir(), "new.yaml")
	config := func(args ...string) (int, string) {
		code, out, errs := invoke(append([]string{"config", args[0], "--config", r.file}, args[1:]...)...)
		return code, out + errs
	}

	r.write(fresh, strings.Replace(r.with("rating_a: 300", "rating_a: -1"), "profile: eastron-sdm630", "profile: nothing", 1))
	if code, text := config("apply", fresh, "--confirm-within", "10m"); code != 1 || !strings.Contains(text, fresh+":3: meters[0].profile") || !strings.Contains(text, fresh+":4: ways[0].rating_a") {
		t.Errorf("faults: exit %d: %s", code, text)
	}
	for _, tt := range []struct{ name, old, new, within, want string }{
		{"another site", "id: S1", "id: S2", "10m", "OTHER_SITE: site.id"},
		{"another folder", "buffer: {path: \"", "buffer: {path: \"/tmp", "10m", "OTHER_SITE: buffer.path"},
		{"no time to confirm", "name: one", "name: two", "1s", "confirm within 1s"},
	} {
		r.write(fresh, r.with(tt.old, tt.new))
		if code, text := config("apply", fresh, "--confirm-within", tt.within); code != 1 || !strings.Contains(text, tt.want) {
			t.Errorf("%s: exit %d: %s", tt.name, code, text)
		}
	}
	if code, text := config("confirm"); code != 1 || !strings.Contains(text, "NO_TRIAL") {
		t.Errorf("nothing to confirm: exit %d: %s", code, text)
	}
	r.inForce(string(old))

	r.write(fresh, r.with("name: one", "name: two"))
	if code, text := config("diff", fresh); code != 0 || text != "~ site.name: \"one\" -> \"two\"\n" {
		t.Errorf("diff: exit %d: %s", code, text)
	}
	if code, text := config("apply", fresh, "--confirm-within", "10m"); code != 0 {
		t.Fatalf("apply: exit %d: %s", code, text)
	}
	r.log.await(t, "site file on trial")
	r.inForce(string(old))
	// The agent starts anew: its socket, and then its uplink, come back in a moment.
	again := func(op string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			code, text := config(op)
			if code == 0 {
				return
			}
			if !strings.Contains(text, "NO_UPLINK") && !strings.Contains(text, "does it run") || time.Now().After(end) {
				t.Fatalf("%s: exit %d: %s", op, code, text)
			}
		}
	}
	for {
		code, text := config("apply", fresh, "--confirm-within", "10m")
		if strings.Contains(text, "does it run") {
			continue
		}
		if code != 1 || !strings.Contains(text, "BUSY") {
			t.Errorf("a second trial: exit %d: %s", code, text)
		}
		break
	}
	again("confirm")
	text, _ := os.ReadFile(fresh)
	r.inForce(string(text))

	// And back by hand.
	r.write(fresh, r.with("name: two", "name: three"))
	if code, text := config("apply", fresh, "--confirm-within", "10m"); code != 0 {
		t.Fatalf("apply: exit %d: %s", code, text)
	}
	again("rollback")
	r.log.await(t, "why=ROLLED_BACK")
	r.inForce(string(text))
}

// From the centre: signed orders only, the whole ladder, and a restart in the
// middle ends the trial.
func TestConfigFromTheCentre(t *testing.T) {
	r := newTried(t)
	stop := r.run()
	old, _ := os.ReadFile(r.file)
	new := r.with("name: one", "name: two")

	r.order("k0", map[string]any{"issuer": "scada-2", "site": new, "confirm_within": "10m"})
	r.ladder("k0", "rejected UNSIGNED")
	r.order("k1", map[string]any{"site": "site: {id: S1}\n", "confirm_within": "10m"})
	r.ladder("k1", "received", "rejected FAULTY")
	r.order("k2", map[string]any{"confirm": "k1"})
	r.ladder("k2", "received", "rejected NO_TRIAL")
	r.inForce(string(old))

	r.order("k3", map[string]any{"site": new, "confirm_within": "10m"})
	r.ladder("k3", "received", "scheduled", "active")
	r.inForce(string(old))
	stop() // power cut, for all that the trial knows
	stop = r.run()
	r.ladder("k3", "received", "scheduled", "active", "cancelled RESTARTED")
	r.inForce(string(old))

	r.order("k4", map[string]any{"site": new, "confirm_within": "10m"})
	r.ladder("k4", "received", "scheduled", "active")
	r.order("k5", map[string]any{"confirm": "k4"})
	r.ladder("k5", "received", "completed")
	r.ladder("k4", "received", "scheduled", "active", "completed")
	r.inForce(new)
	stop()
	defer r.run()()
	r.inForce(new)
}

// A site file that cuts off the uplink is confirmed by nobody, and rolls back by
// itself.
func TestConfigThatCutsOffTheUplink(t *testing.T) {
	r := newTried(t)
	defer r.run()()
	old, _ := os.ReadFile(r.file)
	r.order("k1", map[string]any{"site": r.with(r.broker.Addr(), "127.0.0.1:1"), "confirm_within": "10s"})
	r.log.await(t, "site file on trial")
	code, out, errs := invoke("config", "confirm", "--config", r.file)
	for end := time.Now().Add(8 * time.Second); strings.Contains(errs, "agent.sock: connect") && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond) // it starts
		code, out, errs = invoke("config", "confirm", "--config", r.file)
	}
	if code != 1 || !strings.Contains(errs, "NO_UPLINK") {
		t.Errorf("confirm without uplink: exit %d: %s%s", code, out, errs)
	}
	r.ladder("k1", "received", "scheduled", "active", "cancelled NOT_CONFIRMED")
	r.inForce(string(old))
	if n := strings.Count(r.log.String(), "agent starts"); n != 3 {
		t.Errorf("%d starts, want the old file, the new one and the old one again", n)
	}
}
