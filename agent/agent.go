// Package agent puts the parts together: it builds them from a site file, starts
// them in order, and stops them in order.
//
// Order of the stop: no more commands, outputs to the stricter of their limit
// and their failsafe limit, polls end, open periods are kept, status offline,
// store closed.
package agent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"lvagent/agent/clock"
	"lvagent/agent/core"
	"lvagent/agent/credentials"
	"lvagent/agent/message"
	"lvagent/agent/metrics"
	"lvagent/agent/outbox"
	"lvagent/agent/page"
	"lvagent/agent/poll"
	"lvagent/agent/recorder"
	"lvagent/agent/socket"
	"lvagent/agent/statefile"
	"lvagent/agent/tape"
	"lvagent/agent/trial"
	"lvagent/agent/uplink"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/failsafe/relay"
	"lvagent/meter"
)

// Version is the agent's version. It is set when it is built.
var Version = "dev"

// Agent is everything but started.
type Agent struct {
	site   *Site
	log    *slog.Logger
	wall   func() time.Time
	notify func(string)
	beat   func() // of the watchdog contact
	seams  seams

	started time.Time
	box     *outbox.Outbox
	link    *uplink.Uplink // the session whose acknowledgements count
	edge    *uplink.Uplink // of Sparkplug; nil: there is none; link: there is no other

	identity *credentials.Identity // nil: no broker is reached over TLS
	floor    time.Time             // the clock's last word before this start

	loop   *core.Loop
	saver  *statefile.Saver
	buses  []*poll.Bus
	busOf  map[string]*poll.Bus // by url
	status message.Status

	station  *outstation        // nil: the site wants none
	page     *page.Server       // nil: the site wants none
	recorder *recorder.Recorder // nil: the site wants none

	trial  *trial.Bench // of the site file; nil: nobody keeps one
	orders chan core.SiteFileOrder
	tape   *tape.Tape // nil: the same
}

// Options are what an agent is given besides its site.
type Options struct {
	Log    *slog.Logger
	Wall   func() time.Time // nil: the system's
	Notify func(state string)
	Trial  *trial.Bench // puts site files on trial; nil: none is taken

	seams seams
}

// New builds the agent of a site that [Prepare] found without fault. It opens
// the store and reads the failsafe state; nothing is started yet.
func New(site *Site, o Options) (*Agent, error) {
	a := &Agent{site: site, beat: func() {}, log: o.Log, wall: o.Wall, notify: o.Notify, started: time.Now(), trial: o.Trial, seams: o.seams, orders: make(chan core.SiteFileOrder, 1)}
	if a.wall == nil {
		a.wall = func() time.Time { return time.Now().UTC() }
	}
	if a.notify == nil {
		a.notify = func(string) {}
	}
	cfg := site.Config
	if err := os.MkdirAll(cfg.Buffer.Path, 0o700); err != nil {
		a.log.Error("store folder not made; measuring and curtailing without it", "err", err)
	}
	a.box = outbox.New(cfg, a.wall, a.log, a.seams.noSync)
	if err := a.box.Open(); err != nil {
		return nil, err
	}
	seed, err := statefile.Seed(filepath.Join(cfg.Buffer.Path, "device.seed"))
	if err != nil {
		a.log.Error("device seed not kept; this run has one of its own", "err", err)
	}
	setup := cfg.Engine(statefile.Derive(seed, "failsafe engine"))
	engine := failsafe.NewEngine(setup)
	clk := clock.New(clock.Config{Source: cfg.Clock.Source, Holdover: cfg.Clock.Holdover, Now: a.now, Wall: a.wall})
	file, start := a.resume(clk)
	state := start.State(engine)

	boot := make([]byte, 8)
	if _, err := rand.Read(boot); err != nil {
		return nil, fmt.Errorf("make boot id: %w", err)
	}
	hash := sha256.Sum256(site.Text)
	a.status = message.Status{
		State: message.Online, Boot: hex.EncodeToString(boot), Since: a.wall(), Version: Version,
		Config: "sha256:" + hex.EncodeToString(hash[:8]), Clock: clk.State().Clock,
	}
	a.buildUplink()
	a.saver = statefile.NewSaver(file, "failsafe state", a.log.With("meanwhile", "no limit is raised"), func(v uint64) { a.loop.Saved(v) })
	outputs, backups := a.buildBuses()
	options := core.Options{
		Config: cfg, Topics: site.Topics, Engine: engine, State: state, Status: a.status,
		Keys: cfg.Uplink.IssuerKeys(), Secret: seed, Link: a.link.State, Expires: a.expires, Serial: site.serial, Reread: a.reread,
		Outbox: a.box, Uplink: a.link, Saver: a.saver, Outputs: outputs, Backups: backups,
		Now: a.now, Wall: a.wall, Clock: clk.State, Log: a.log,
		Alive: func() { a.notify("WATCHDOG=1"); a.beat() },
	}
	if a.edge != nil {
		options.Live = a.edge
		if a.edge != a.link {
			options.Uplink, options.Beside = retainers{a.link, a.edge}, a.edge.State
		}
	}
	if a.trial != nil {
		options.SiteFile = a.takeSiteFile
	}
	a.recorded(&options)
	a.journaled(&options, setup, start)
	station, err := a.buildOutstation(setup)
	if err != nil {
		return nil, err
	}
	if station != nil {
		a.station, options.Points = station, station
	}
	a.loop = core.New(options)
	a.page, err = a.buildPage()
	return a, err
}

// now is the time since the agent's start; it never jumps.
func (a *Agent) now() time.Duration { return time.Since(a.started) }

// resume reads the stored failsafe state that the run goes on from. One that
// can't be used is said to be lost: every group then starts at its failsafe limit,
// with an alarm.
func (a *Agent) resume(clk *clock.Source) (*statefile.File, *journal.Start) {
	cfg := a.site.Config
	file, stored, broken, err := statefile.Open(filepath.Join(cfg.Buffer.Path, "failsafe"))
	if err != nil {
		a.log.Error("failsafe state not read", "err", err)
	}
	host := hostRun
	if a.seams.host != nil {
		host = a.seams.host
	}
	s := &journal.Start{Now: a.now().Truncate(time.Millisecond), Host: host()}
	for _, body := range stored {
		old, err := failsafe.Decode(body, cfg.Site.ID)
		if err != nil {
			a.log.Error("failsafe state not used", "err", err)
			broken = true
			continue
		}
		clk.SetFloor(old.Floor) // before anybody believes the clock
		s.Old, a.floor = &old, old.Floor
		a.log.Info("failsafe state resumed", "stored", old.Wall, "planned", old.Stopped, "limits", len(old.Commands))
		if s.PowerLost() {
			a.log.Warn("machine was started anew without a stop in order; groups wait as after a loss of supply", "stored", old.Wall)
		}
		break
	}
	s.Lost, s.Wall, s.Clock = broken, a.wall().UTC().Truncate(time.Millisecond), clk.State().Clock
	return file, s
}

// expires is the end of the certificate's life; zero where there is none.
func (a *Agent) expires() time.Time {
	if a.identity == nil {
		return time.Time{}
	}
	return a.identity.Expires()
}

func (a *Agent) buildUplink() {
	cfg := a.site.Config
	will := a.status
	will.State = message.Offline
	var tlsOf func() (*tls.Config, error)
	var stamp func() string
	if a.site.Files != (credentials.Files{}) {
		a.identity = credentials.New(a.site.Files, cfg.Site.ID, a.wall, func() time.Time { return a.floor }, a.log)
		tlsOf, stamp = a.identity.TLS, a.identity.Stamp
	}
	_, draw := a.seams.draws("uplink")
	settings := uplink.Config{
		Brokers: cfg.Uplink.All(), ClientID: cfg.Site.ID, TLS: tlsOf, Identity: stamp,
		BacklogRate: cfg.Uplink.Backlog, Selftest: cfg.Uplink.Selftest, MaxAge: cfg.Uplink.MaxAge,
		FailoverAfter: cfg.Uplink.Failover, Failback: cfg.Uplink.Failback,
		KeepAlive: cfg.Uplink.KeepAlive, Watchdog: cfg.Uplink.Watchdog,
		BackoffMin: cfg.Uplink.BackoffMin, BackoffMax: cfg.Uplink.BackoffMax, HalfHourAfter: cfg.PublishAfter(),
		Topics: a.site.Topics, Will: message.AppendStatus(nil, cfg.Site.ID, &will),
		Farewell: func() []byte {
			s := a.status
			s.State = message.Offline
			return message.AppendStatus(nil, cfg.Site.ID, &s)
		},
		Dial: a.seams.dial, Draw: draw, Now: a.wall, Log: a.log,
	}
	deliver := func(in uplink.Inbound) {
		if !a.loop.Inbound(in) {
			a.log.Error("command not taken: too many at once", "topic", in.Topic)
		}
	}
	if cfg.Uplink.Payload == configs.PayloadJSON {
		a.box.Unfollow()
	} else {
		a.buildEdge(settings, deliver)
	}
	a.link = a.edge
	if cfg.Uplink.Payload != configs.PayloadSparkplug {
		a.link = uplink.New(settings, a.box, deliver)
	}
}

// buildBuses makes one bus for each address, with its meters and its outputs.
func (a *Agent) buildBuses() (outputs, backups map[string]core.Output) {
	a.busOf = map[string]*poll.Bus{}
	for _, b := range a.site.buses(a.log) {
		a.busOf[b.url] = a.addBus(b.url, b.link, b.ways)
	}
	return a.buildOutputs(a.busOf)
}

// reread has a way read at once, by the bus that it is on.
func (a *Agent) reread(way string) {
	for _, b := range a.buses {
		if b.Reread(way) {
			return
		}
	}
}

func (a *Agent) addBus(name string, link poll.Link, ways []poll.Way) *poll.Bus {
	wall := a.wall()
	share, _ := a.seams.draws("bus " + name)
	bus := poll.NewBus(poll.Config{
		Name: name, Link: link, Ways: ways, Now: a.now, Align: a.now() - wall.Sub(wall.Truncate(time.Minute)),
		Deliver: func(r reading) { a.loop.Reading(r) }, Rand: share, Log: a.log,
		Supply: func(r meter.SupplyReading) { a.loop.Supply(r) },
		Point:  core.BusPoint(name), Health: func(p meter.HealthPoint) { a.loop.SetHealth(p) },
	})
	a.buses = append(a.buses, bus)
	return bus
}

// gcPercent is how much the heap may grow before it is swept. An RTU is short of
// memory sooner than of time: at a fifth the peak is that much above what is in
// use, and sweeping takes well below a thousandth of a core.
const gcPercent = 20

// memoryAim is where the runtime begins to sweep harder and to hand memory back.
// A site of twelve ways is far below it.
const memoryAim = 75 << 20

// Run runs the agent until ctx ends, then stops it in order.
func (a *Agent) Run(ctx context.Context) error {
	if os.Getenv("GOGC") == "" { // whoever sets it knows why
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryAim)
	}
	a.log.Info("agent starts", "agent", a.site.Config.Site.ID, "version", Version,
		"config", a.status.Config, "ways", len(a.site.Config.Ways), "groups", len(a.site.Config.Groups))
	loop := start("core loop", a.loop.Run)
	save := start("failsafe state", a.saver.Run)
	var polls []*part
	for _, b := range a.buses {
		polls = append(polls, start("bus", b.Run))
	}
	box := start("store", a.box.Run)
	link := start("uplink", a.link.Run)
	var edge *part
	if a.edge != nil && a.edge != a.link {
		edge = start("Sparkplug uplink", a.edge.Run)
	}
	door := start("socket", func(ctx context.Context) error {
		if a.seams.noDoor {
			return nil
		}
		if err := socket.Serve(ctx, filepath.Join(a.site.Config.Buffer.Path, socket.Name), a, a); err != nil {
			a.log.Error("no local commands", "err", err) // everything else goes on
		}
		return nil
	})
	var records, fetches, board, scrapes, masters, files *part
	if a.trial != nil {
		files = start("site file", a.serveSiteFile)
	}
	var steps *part
	if a.tape != nil {
		steps = start("journal", a.tape.Run)
	}
	if a.station != nil {
		masters = start("DNP3 outstation", a.station.Run)
	}
	if listen := a.site.Config.Metrics.Listen; listen != "" {
		scrapes = start("metrics", func(ctx context.Context) error {
			if err := metrics.Serve(ctx, listen, a.numbers); err != nil {
				a.log.Error("no metrics", "err", err) // everything else goes on
			}
			return nil
		})
	}
	if a.page != nil {
		board = start("status page", func(ctx context.Context) error {
			if err := a.page.Run(ctx); err != nil {
				a.log.Error("no status page", "err", err) // everything else goes on
			}
			return nil
		})
	}
	var inputs []*part
	for chip, on := range a.inputsOf(relay.System{}) {
		inputs = append(inputs, start("inputs of "+chip, func(ctx context.Context) error { return a.watchInputs(ctx, on) }))
	}
	if a.recorder != nil {
		records = start("flight recorder", a.recorder.Run)
		fetches = start("flight recorder's readers", a.serveRecorded)
	}
	a.notify("READY=1")

	<-ctx.Done()
	a.notify("STOPPING=1")
	a.log.Info("agent stops")
	err := door.stop()
	for _, p := range []*part{masters, board, scrapes, files} {
		if p != nil {
			err = errors.Join(err, p.stop())
		}
	}
	for _, p := range inputs {
		err = errors.Join(err, p.stop())
	}
	err = errors.Join(err, loop.stop()) // brings the outputs to rest, over buses that still run
	for _, p := range polls {
		err = errors.Join(err, p.stop())
	}
	if a.recorder != nil {
		err = errors.Join(err, fetches.stop(), records.stop())
	}
	if a.tape != nil {
		err = errors.Join(err, steps.stop())
	}
	err = errors.Join(err, save.stop())
	if edge != nil {
		err = errors.Join(err, edge.stop())
	}
	err = errors.Join(err, link.stop())
	err = errors.Join(err, box.stop())
	a.log.Info("agent stopped")
	return err
}

// part is a goroutine with its owner's means to stop it and wait for it.
type part struct {
	name   string
	cancel context.CancelFunc
	done   sync.WaitGroup
	err    error
}

func start(name string, run func(context.Context) error) *part {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{name: name, cancel: cancel}
	p.done.Go(func() { p.err = run(ctx) })
	return p
}

func (p *part) stop() error {
	p.cancel()
	p.done.Wait()
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
	return nil
}
