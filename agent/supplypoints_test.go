package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"lvagent/agent/message"
	"lvagent/agent/socket"
	"lvagent/hwtest/bench"
)

// said collects what an agent publishes, and what it logs.
type said struct {
	mu    sync.Mutex
	bytes bytes.Buffer
	acks  chan string
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Contains(s.bytes.Bytes(), []byte(text))
}

// R16: a whole agent takes commands with customers' numbers, wherever in them
// somebody puts one; no number is in a log, a message, an answer on site or a file.
func TestSupplyPointsAreNowhereInClear(t *testing.T) {
	broker, err := bench.StartBroker()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	folder := t.TempDir()
	file, store := filepath.Join(folder, "site.yaml"), filepath.Join(folder, "store")
	text := fmt.Sprintf(`
site: {id: S1}
clock: {source: assume}
meters: [{id: m1, url: "tcp://127.0.0.1:1", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
groups: [{id: G1, way: W1, phases: [L1], rating_a: 96, output: {kind: modbus, url: "tcp://127.0.0.1:1", unit: 1, holding: 1}}]
supply_points: {targets: true}
failsafe: {issuers: [scada-1]}
uplink: {broker: "tcp://%s"}
buffer: {path: %s}
log: {level: debug}
`, broker.Addr(), store)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	site, faults := Prepare(file)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	published, logged := &said{acks: make(chan string, 1000)}, &said{}
	centre := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker.Addr()).SetClientID("scada-1"))
	if token := centre.Connect(); !token.WaitTimeout(30*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer centre.Disconnect(0)
	token := centre.Subscribe("lv/v1/+/up/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		fmt.Fprintf(published, "%s %s\n", m.Topic(), m.Payload())
		if strings.HasSuffix(m.Topic(), "/ack") {
			var a struct{ ID, Stage, Code string }
			if json.Unmarshal(m.Payload(), &a) == nil {
				published.acks <- a.ID + " " + a.Stage + " " + a.Code
			}
		}
	})
	if !token.WaitTimeout(30*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	a, err := New(site, Options{Log: slog.New(slog.NewJSONHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()

	numbers := []string{"2012345678906", "1012345678903", "1099999900080"}
	if err := a.AddSupplyPoints(ctx, socket.SupplyPoints{Group: "G1", Numbers: numbers[:2]}); err != nil {
		t.Fatal(err)
	}
	seq := 0
	var bodies []string
	send := func(name, id, target, more, want string) {
		t.Helper()
		seq++
		now := time.Now().UTC()
		body := fmt.Sprintf(`{"id":%q,"issuer":"scada-1","epoch":1,"seq":%d,"issued":%q,"expires":%q,"class":"network","target":%s,%s}`,
			id, seq, now.Format(time.RFC3339), now.Add(time.Minute).Format(time.RFC3339), target, more)
		bodies = append(bodies, body)
		// Once more each second until it is answered: the agent may not have
		// subscribed yet. What comes twice counts once.
		again := time.NewTicker(time.Second)
		defer again.Stop()
		end := time.After(time.Minute)
		centre.Publish("lv/v1/S1/cmd/"+name, 1, false, body)
		for {
			select {
			case ack := <-published.acks:
				if ack == want {
					return
				}
			case <-again.C:
				centre.Publish("lv/v1/S1/cmd/"+name, 1, false, body)
			case <-end:
				t.Fatalf("%s was not answered with %q", body, want)
			}
		}
	}
	const what = `"start_in":"0s","duration":"30m","limit":{"amps":16}`
	list := func(of ...string) string { return `{"mpans":["` + strings.Join(of, `","`) + `"]}` }
	send("limit", "cmd-here", list(numbers...), what, "cmd-here received PARTIAL")
	send("limit", "cmd-gone", list(numbers[2]), what, "cmd-gone rejected NO_TARGET")
	send("limit", "cmd-wrong", list("2012345678907"), what, "cmd-wrong rejected INVALID")
	send("limit", "cmd-group", `{"groups":["`+numbers[0]+`"]}`, what, "cmd-group rejected INVALID")
	send("limit", "cmd-phase", `{"way":"W1","phases":["`+numbers[0]+`"]}`, what, "cmd-phase rejected INVALID")
	send("limit", "cmd-limit", `{"way":"W1"}`, `"start_in":"0s","limit":{"amps":`+numbers[1]+`}`, "cmd-limit rejected INVALID")
	send("override", "cmd-person", list(numbers[1]), `"kind":"hold_off","by":"duty engineer"`, "cmd-person active ")
	send("restoration", "cmd-hold", list(numbers[2]), `"kind":"hold","by":"duty engineer"`, "cmd-hold rejected NO_TARGET")
	onSite, err := a.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	register, err := a.SupplyPoints(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	// What must be nowhere: the numbers, most of them, and hashes that anybody
	// could try out.
	secret := []string{"201234567890", "101234567890", "109999990008", "2345678906"}
	for _, n := range numbers {
		sum := sha256.Sum256([]byte(n))
		secret = append(secret, hex.EncodeToString(sum[:]), hex.EncodeToString(sum[:])[:12])
	}
	for _, body := range bodies[:2] {
		c, refused := message.Decode("lv/v1/S1/cmd/limit", []byte(body), false)
		if refused != nil {
			t.Fatal(refused)
		}
		secret = append(secret, hex.EncodeToString(c.Hash[:]))
	}
	found := func(where string, in []byte) {
		for _, s := range secret {
			if at := bytes.Index(in, []byte(s)); at >= 0 {
				t.Errorf("%s: %q in %q", where, s, in[max(0, at-100):min(len(in), at+100)])
			}
		}
	}
	files := 0
	inFiles := false
	err = filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		inFiles = inFiles || bytes.Contains(content, []byte("cmd-here"))
		found(path, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found("messages", published.bytes.Bytes())
	found("log", logged.bytes.Bytes())
	found("status", onSite)
	found("register", register)
	if files < 4 || !inFiles || !published.has("cmd-here") || !logged.has("cmd-here") || !bytes.Contains(onSite, []byte("cmd-here")) || !bytes.Contains(register, []byte("G1")) {
		t.Errorf("looked at the wrong things: %d files, %v, %v, %v", files, inFiles, published.has("cmd-here"), logged.has("cmd-here"))
	}
}
