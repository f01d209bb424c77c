package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/uplink/uplinktest"
	"lvagent/meter"
)

// virtual is the whole agent in virtual time: its real code from the bus up to
// the MQTT library and the store, a street that is not there, and a broker at the
// other end of pipes. It lives in a bubble of testing/synctest.
//
// Nothing in it happens at the same instant as something else by chance: the
// agent starts 137 ms after a full second, its meters are read at fifths of a
// second by the clock, and the centre speaks at odd times. So equal input and
// seed give equal output, octet for octet; only what goes out in the last instant
// before a stop is a matter of chance.
type virtual struct {
	t      *testing.T
	seed   uint64
	street *street
	broker *uplinktest.Broker
	site   string        // text of the site file
	offset time.Duration // the agent's wall clock is that much wrong
	host   int           // run of the machine
	log    bytes.Buffer

	folder string
	runs   int
	run    *virtualRun // nil: the agent does not run

	mu       sync.Mutex // guards what was heard
	records  map[string]map[recordKey][]byte
	repeated []string          // records that came again with another content
	retained map[string][]kept // each value, once an instant

	seq, ids uint64
	told     time.Time // when the centre last made a statement
	quiet    bool      // the centre says nothing
}

// recordKey names a record for ever, with its stream.
type recordKey struct {
	g uint32
	n uint64
}

type kept struct {
	at      time.Time
	payload []byte
}

// virtualRun is one start of the agent.
type virtualRun struct {
	bus    *streetBus
	cancel context.CancelFunc
	done   chan error

	mu    sync.Mutex
	gone  bool
	conns []net.Conn
}

// dawn is when virtual agents are started: a Monday in winter, 137 ms past.
var dawn = time.Date(2026, 1, 12, 0, 0, 0, int(137*time.Millisecond), time.UTC)

// newVirtual makes the world; it must be called in a bubble. Folder is where the
// agent may have its store.
func newVirtual(t *testing.T, folder string, seed uint64) *virtual {
	v := &virtual{
		t: t, seed: seed, site: streetSite, folder: filepath.Join(folder, "0"),
		street:  &street{seed: seed, told: map[uint16]uint16{}, on: map[uint16]bool{}, mute: map[string]bool{}, noise: map[string]bool{}},
		records: map[string]map[recordKey][]byte{}, retained: map[string][]kept{},
	}
	v.broker = &uplinktest.Broker{Heard: v.hear}
	if err := os.MkdirAll(v.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := bytes.Repeat([]byte{byte(seed)}, 32)
	if err := os.WriteFile(filepath.Join(v.folder, "device.seed"), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(dawn))
	return v
}

// start starts the agent on what is in its folder.
func (v *virtual) start() {
	v.t.Helper()
	file := filepath.Join(filepath.Dir(v.folder), "site.yaml")
	if err := os.WriteFile(file, []byte(v.site), 0o600); err != nil {
		v.t.Fatal(err)
	}
	site, faults := Prepare(file)
	if len(faults) > 0 {
		v.t.Fatal(faults)
	}
	v.runs++
	r := &virtualRun{bus: &streetBus{street: v.street}, done: make(chan error, 1)}
	site.Config.Buffer.Path = v.folder
	site.openWire = func(string) wire { return r.bus }
	a, err := New(site, Options{
		Log:  slog.New(slog.NewTextHandler(&locked{w: &v.log}, nil)),
		Wall: v.wall,
		seams: seams{
			dial: func(ctx context.Context, network, address string) (net.Conn, error) { return r.dial(ctx, v.broker) },
			dice: func(of string) *rand.Rand {
				return rand.New(rand.NewPCG(seedOf(v.seed, of), uint64(v.runs)))
			},
			host:   func() string { return fmt.Sprint("host-", v.host) },
			noSync: true, noDoor: true,
		},
	})
	if err != nil {
		v.t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.done <- a.Run(ctx) }()
	v.run = r
}

func (v *virtual) wall() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Now().UTC().Add(v.offset)
}

func (v *virtual) stepClock(by time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.offset += by
}

// dial connects one run of the agent, as long as it lives.
func (r *virtualRun) dial(ctx context.Context, b *uplinktest.Broker) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil, errBroken
	}
	conn, err := b.Dial(ctx, "tcp", "broker:1883")
	if err == nil {
		r.conns = append(r.conns, conn)
	}
	return conn, err
}

// stop ends the agent in order.
func (v *virtual) stop() {
	v.t.Helper()
	v.run.cancel()
	if err := <-v.run.done; err != nil {
		v.t.Errorf("the agent stopped with %v", err)
	}
	v.run = nil
}

// crash ends the agent as a kill does: the next one starts from what was on disk
// at this moment, and nothing that the old one does on its way out is seen by
// anybody.
func (v *virtual) crash() {
	v.t.Helper()
	synctest.Wait()
	next := filepath.Join(filepath.Dir(v.folder), fmt.Sprint(v.runs))
	if err := copyFolder(next, v.folder); err != nil {
		v.t.Fatal(err)
	}
	r := v.run
	r.mu.Lock()
	r.gone = true
	for _, c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	v.street.mu.Lock()
	r.bus.gone = true
	v.street.mu.Unlock()
	r.cancel()
	<-r.done
	if err := os.RemoveAll(v.folder); err != nil {
		v.t.Fatal(err)
	}
	v.run, v.folder = nil, next
}

func copyFolder(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o600)
	})
}

const virtualPrefix = "lv/v1/EPN-1/"

// hear takes what the agent published.
func (v *virtual) hear(m uplinktest.Message) {
	v.mu.Lock()
	defer v.mu.Unlock()
	topic := strings.TrimPrefix(m.Topic, virtualPrefix+"up/")
	if m.Retained {
		all := v.retained[topic]
		if n := len(all); n > 0 && all[n-1].at.Equal(m.At) {
			all = all[:n-1] // only what stood at the end of the instant counts
		}
		if n := len(all); n == 0 || !bytes.Equal(all[n-1].payload, m.Payload) {
			all = append(all, kept{m.At, m.Payload})
		}
		v.retained[topic] = all
		return
	}
	var stream string
	var key recordKey
	if n, _ := fmt.Fscanf(bytes.NewReader(m.Payload), `{"g":%d,"s":%q,"n":%d,`, &key.g, &stream, &key.n); n != 3 {
		return // no record
	}
	if v.records[stream] == nil {
		v.records[stream] = map[recordKey][]byte{}
	}
	if had, again := v.records[stream][key]; again {
		if !bytes.Equal(had, m.Payload) {
			v.repeated = append(v.repeated, fmt.Sprintf("%s %+v: %s, and before %s", stream, key, m.Payload, had))
		}
		return
	}
	v.records[stream][key] = m.Payload
}

func inOrder(a, b recordKey) int { return cmp.Or(cmp.Compare(a.g, b.g), cmp.Compare(a.n, b.n)) }

// stream returns the records of a stream in order of their numbers.
func (v *virtual) stream(name string) (all [][]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, k := range slices.SortedFunc(maps.Keys(v.records[name]), inOrder) {
		all = append(all, v.records[name][k])
	}
	return all
}

// send sends a command of the centre and reports whether the agent listened.
func (v *virtual) send(name string, body map[string]any) bool {
	v.t.Helper()
	payload, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.broker.Publish(virtualPrefix+"cmd/"+name, payload, false) > 0
}

// stamped adds what every command has.
func (v *virtual) stamped(body map[string]any) map[string]any {
	v.seq++
	body["issuer"], body["epoch"], body["seq"] = "scada-1", 1, v.seq
	body["issued"] = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	return body
}

// order sends a command and returns its id.
func (v *virtual) order(name string, body map[string]any) string {
	v.ids++
	id := fmt.Sprint("c", v.ids)
	body["id"] = id
	body["expires"] = time.Now().UTC().Add(5 * time.Minute).Format(time.RFC3339)
	v.send(name, v.stamped(body))
	return id
}

// limit sends a limit and returns its id.
func (v *virtual) limit(body map[string]any) string {
	body["class"] = "network"
	return v.order("limit", body)
}

// Times at which the centre speaks.
const (
	beatEvery  = 30 * time.Second
	beatOffset = 613 * time.Millisecond
)

// pass lets time pass, while the centre sends its heartbeats and says that it
// wants no limit to ways that wait for that. Now and then look may see how things
// stand.
func (v *virtual) pass(d time.Duration, look func()) {
	const stride = time.Second
	for end := time.Now().Add(d); time.Now().Before(end); {
		now := time.Now()
		next := now.Truncate(stride).Add(beatOffset)
		if !next.After(now) {
			next = next.Add(stride)
		}
		time.Sleep(min(time.Until(next), time.Until(end)))
		if look != nil {
			look()
		}
		if v.quiet || time.Now().Before(next) || next.Unix()%int64(beatEvery/time.Second) != 0 {
			continue
		}
		v.send("heartbeat", v.stamped(map[string]any{}))
		if state := v.states(); time.Since(v.told) > 2*time.Minute && (strings.Contains(state, "PROBATION") || strings.Contains(state, "INIT")) {
			v.told = time.Now()
			for _, w := range streetWays {
				v.limit(map[string]any{"target": map[string]any{"way": w.id}, "start_in": "0s", "limit": "none"})
			}
		}
	}
}

// states is the failsafe state of each way, as last published.
func (v *virtual) states() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.retained["failsafe"]
	if len(all) == 0 {
		return ""
	}
	return string(all[len(all)-1].payload)
}

// settle waits until the agent has said all that it has to say.
func (v *virtual) settle() { v.pass(2*time.Minute, nil) }

// end ends everything that still runs in the bubble.
func (v *virtual) end() {
	v.broker.Restore()
	if v.run != nil {
		v.stop()
	}
	time.Sleep(time.Minute) // the MQTT library's goroutines end by times of their own
	synctest.Wait()
}

// locked is a log that several goroutines write.
type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// What may happen to the street.

func (v *virtual) change(what func(s *street)) {
	v.street.mu.Lock()
	defer v.street.mu.Unlock()
	what(v.street)
}

func (v *virtual) setMute(way string, on bool)  { v.change(func(s *street) { s.mute[way] = on }) }
func (v *virtual) setNoise(way string, on bool) { v.change(func(s *street) { s.noise[way] = on }) }

func (v *virtual) setExtra(way int, p meter.Phase, ma int64) {
	v.change(func(s *street) { s.extra[way][p] = ma })
}

// loseSupply takes the supply from the street and from the machine that the agent
// runs on, which has no battery.
func (v *virtual) loseSupply() {
	v.crash()
	v.host++
	v.change(func(s *street) { s.dark = true })
}

func (v *virtual) regainSupply() {
	v.change(func(s *street) { s.dark = false })
	v.start()
}
