package hwtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"lvagent/hwtest/bench"
)

// DemoConfig says how the demo is to run.
type DemoConfig struct {
	For    time.Duration // how long the evening takes
	Broker string        // tcp://host:port; empty: a broker of our own
	Agent  string        // the agent's program; empty: find it
	Keep   string        // folder that is kept; empty: one that is removed
	Seed   uint64
	Page   bool // the agent has a status page, on loopback
	Pace   Pace
}

// Pace is how fast things go on the bench.
type Pace struct {
	Window  time.Duration // one record stands for half an hour
	Act     time.Duration // most from detection to the outputs
	Recover time.Duration // most from the statement to the first release
	Drain   time.Duration // most for what is still on its way at the end
	bench.Timers
}

// DemoPace is a twentieth of a real site's times, more or less.
func DemoPace() Pace {
	return Pace{
		Window:  10 * time.Second,
		Act:     5 * time.Second,
		Recover: 10 * time.Second,
		Drain:   10 * time.Second,
		Timers: bench.Timers{
			HeartbeatPeriod:  time.Second,
			HeartbeatTimeout: 4 * time.Second,
			Stable:           3 * time.Second,
			Init:             6 * time.Second,
			RestorePeriod:    10 * time.Second,
			BackoffMax:       2 * time.Second,
		},
	}
}

// ShortestDemo is the shortest evening in which the demo's steps have room: the
// timers are those of the agent and don't shrink with it.
const ShortestDemo = 40 * time.Second

// Errors of a run that could not be carried out.
var (
	ErrTooShort    = errors.New("too short")
	ErrFolder      = errors.New("folder is not empty")
	ErrBroker      = errors.New("not a broker address")
	ErrInterrupted = errors.New("stopped before the end: the run proves nothing")
)

// Check returns what is wrong with the configuration.
func (c *DemoConfig) Check() error {
	if c.For < ShortestDemo {
		return fmt.Errorf("--for %v: %w: loss of the link, %v of silence, %v of stable heartbeats and the records in between need at least %v",
			c.For, ErrTooShort, c.Pace.HeartbeatTimeout, c.Pace.Stable, ShortestDemo)
	}
	_, err := brokerAddr(c.Broker)
	return err
}

// Parts of the evening at which the script goes on, in per cent.
const (
	atLimit     = 20
	atCut       = 40
	atReturn    = 65
	atStatement = 75
)

// The load-management signal of the script.
const (
	limitedWay  = 1 // W2
	limitAmps   = 16
	limitLasts  = 8 * time.Second
	issuer      = "scada-1"
	onlineLimit = 20 * time.Second // for the agent's first word
	backLimit   = 30 * time.Second // for its first word after the silence
	stopWithin  = 10 * time.Second // then it is killed
	tick        = 100 * time.Millisecond
	repeatAfter = 3 * time.Second // a statement without an answer is sent again
)

// Demo plays an evening with electric vehicles: five ways, a load-management
// signal, a lost link, its return. It reports each event to r, shows r the
// picture if it is a [Viewer], and reports to r.Errorf each broken promise,
// which the summary has too. An error means that
// the run could not be carried out and proves nothing. Whatever the end, the
// agent is stopped, every port closed and the folder removed unless it is to be
// kept.
func Demo(ctx context.Context, cfg DemoConfig, r Reporter) (Summary, error) {
	d := &demo{cfg: cfg, report: r, ledger: bench.NewLedger(), alarms: newAlarmBook(), sent: map[string]command{}, states: map[string]string{}}
	defer d.close()
	if err := d.build(); err != nil {
		return Summary{}, err
	}
	if err := d.play(ctx); err != nil {
		return Summary{}, err
	}
	trace := bench.Trace{World: d.world, Writes: d.meters.Trace()}
	s := judge(cfg.Pace, &d.story, trace, d.ledger, d.alarms)
	s.Agent, s.Seed, s.Seconds = d.program, cfg.Seed, round(d.meters.Now())
	s.Published, s.Acked = d.link.Published(), d.link.Acked()
	was, free := d.meters.AboveRating()
	s.AboveRating, s.AboveRatingFree = round(was), round(free)
	for _, b := range s.Broken {
		r.Errorf("%s", b)
	}
	return s, nil
}

// build sets up the rig and starts the agent. What it has set up, close takes
// down.
func (d *demo) build() error {
	addr, err := brokerAddr(d.cfg.Broker)
	if err != nil {
		return err
	}
	if d.program, err = agentProgram(d.cfg.Agent); err != nil {
		return err
	}
	if err := d.makeFolder(); err != nil {
		return err
	}
	if addr == "" {
		broker, err := bench.StartBroker()
		if err != nil {
			return err
		}
		d.cleanup(func() { _ = broker.Close() })
		addr = broker.Addr()
	}
	d.world = bench.NewWorld(d.cfg.Seed)
	d.picture = newPicture(d.world, d.cfg.For)
	d.scene = "The agent starts: charging is held until the centre has spoken."
	d.story.statement = make([]time.Duration, len(d.world.Ways))
	d.story.stated = make([]bool, len(d.world.Ways))
	if d.meters, err = bench.StartMeters(d.world); err != nil {
		return err
	}
	d.cleanup(d.meters.Close)
	if d.link, err = bench.NewLink(addr); err != nil {
		return err
	}
	d.cleanup(d.link.Close)

	agent := "BENCH-" + randomID()
	if d.centre, err = bench.JoinCentre(addr, agent, issuer); err != nil {
		return err
	}
	d.cleanup(d.centre.Close)

	store := filepath.Join(d.folder, "store")
	if err := os.Mkdir(store, 0o700); err != nil {
		return fmt.Errorf("make the agent's store folder: %w", err)
	}
	site := bench.Site{
		Agent: agent, Store: store, Meters: d.meters.URL(), Broker: d.link.Addr(),
		Issuer: issuer, Window: d.cfg.Pace.Window, Timers: d.cfg.Pace.Timers,
	}
	if d.cfg.Page {
		if site.Page, err = freePort(); err != nil {
			return err
		}
	}
	text, err := site.File(d.world)
	if err != nil {
		return err
	}
	file := filepath.Join(d.folder, "site.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("write site file: %w", err)
	}
	log, err := os.Create(filepath.Join(d.folder, "agent.log"))
	if err != nil {
		return fmt.Errorf("write agent log: %w", err)
	}
	d.cleanup(func() { _ = log.Close() })
	if d.agent, err = bench.StartAgent(log, d.program, "run", "--config", file); err != nil {
		return err
	}
	d.story.started = d.meters.Now()
	d.cleanup(func() { _, _ = d.agent.Stop(stopWithin) })
	d.event(d.story.started, "", "%d ways of %.0f A behind %.0f kVA, %d charging groups; %v, broker at %s, agent %s (pid %d)",
		len(d.world.Ways), d.world.Ways[0].Rating, d.world.Firm, len(d.world.Groups), d.meters, addr, agent, d.agent.PID())
	if d.cfg.Page {
		d.event(d.story.started, "", "its status page: http://%s", site.Page)
	}
	d.event(d.story.started, "", "one second here is %.1f minutes there; a record of %v stands for half an hour",
		3*60/d.cfg.For.Seconds(), d.cfg.Pace.Window)
	return nil
}

// freePort returns an address on loopback at which nobody listens now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a port for the status page: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// makeFolder makes the folder for the site file, the store and the log.
func (d *demo) makeFolder() error {
	if d.cfg.Keep == "" {
		folder, err := os.MkdirTemp("", "lvbench-")
		if err != nil {
			return fmt.Errorf("make a temporary folder: %w", err)
		}
		d.folder = folder
		d.cleanup(func() { _ = os.RemoveAll(folder) })
		return nil
	}
	folder, err := filepath.Abs(d.cfg.Keep)
	if err != nil {
		return fmt.Errorf("--keep %s: %w", d.cfg.Keep, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("--keep: %w", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("--keep: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("--keep %s: %w: an old store would be counted with the new one", folder, ErrFolder)
	}
	d.folder = folder
	return nil
}

// cleanup has close call f, in reverse order.
func (d *demo) cleanup(f func()) { d.cleanups = append(d.cleanups, f) }

func (d *demo) close() {
	for i := len(d.cleanups) - 1; i >= 0; i-- {
		d.cleanups[i]()
	}
}

// agentProgram returns the program to test.
func agentProgram(named string) (string, error) {
	if named == "" {
		path, err := bench.FindAgent()
		if err != nil {
			return "", fmt.Errorf("find the agent: %w: run `make build`, or name it with --agent", err)
		}
		return path, nil
	}
	info, err := os.Stat(named)
	if err != nil {
		return "", fmt.Errorf("--agent: %w: run `make build`, or name another", err)
	}
	if info.IsDir() {
		return "", fmt.Errorf("--agent %s: it is a folder, not a program", named)
	}
	return filepath.Abs(named)
}

// brokerAddr returns host:port of a broker URL, or nothing for none.
func brokerAddr(broker string) (string, error) {
	if broker == "" {
		return "", nil
	}
	u, err := url.Parse(broker)
	if err != nil {
		return "", fmt.Errorf("--broker: %w: %w", ErrBroker, err)
	}
	if u.Scheme != "tcp" && u.Scheme != "mqtt" || u.Hostname() == "" || u.User != nil {
		return "", fmt.Errorf("--broker %s: %w: want tcp://host:port, without TLS or password, since the bench's link looks at plain MQTT",
			u.Redacted(), ErrBroker)
	}
	port := u.Port()
	if port == "" {
		port = "1883"
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// randomID keeps runs apart on a broker that others use too.
func randomID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
