package cost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"lvagent/hwtest/bench"
	"lvagent/meter/metertest"
)

// plan says which site a rig has.
type plan struct {
	ways    int
	period  time.Duration
	groups  bool          // one charging group on each way
	onDelay time.Duration // of the alarms
	backlog int           // records that the store holds at the start
	rate    int           // at which they may leave, a second; 0: as fast as they go
	deaf    bool          // there is no centre
	tapped  bool          // the connections of the agent pass through taps; one bus only
}

// The transformer carries all ways at once, so that none of its alarms is in
// the figures. A site file may have 10 MVA at most.
const (
	kvaPerWay = 400
	mostKVA   = 10_000
)

// What is the same on each way, in A.
const (
	rating    = 300
	threshold = 315
	normal    = 100
	raised    = 330
	neutral   = 10 // the phases are in balance
	groupAmps = 32
	holding   = 30 // register of the group's limit
	permitted = 100
)

const (
	issuer          = "scada-1"
	heartbeatPeriod = 30 * time.Second // a site's
	statementPause  = 50 * time.Millisecond
	defaultRate     = 20 // of the agent, for what is late
)

// site writes the site file of a plan.
// Way i is unit 1 + i mod perBus of bus i / perBus.
func (p *plan) site(agent, store string, buses []string, broker string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by lvbench: a simulated substation with the timers of a real one.\n"+
		"site: {id: %s, name: Bench substation, transformer_kva: %d}\n"+
		"clock: {source: assume}\nwindow: {period: %s}\nbuffer: {path: %q}\n"+
		"uplink: {broker: \"tcp://%s\", payload: json, backlog_rate: %d}\n"+
		"failsafe: {heartbeat_period: %s, issuers: [%s]}\nmeters:\n", agent, p.kva(), p.period, store, broker, p.rate, heartbeatPeriod, issuer)
	for i := range p.ways {
		fmt.Fprintf(&b, "  - {id: m%d, url: %q, unit: %d, profile: eastron-sdm630, poll: %s}\n", i+1, buses[i/perBus], 1+i%perBus, pollEvery)
	}
	b.WriteString("ways:\n")
	for i := range p.ways {
		fmt.Fprintf(&b, "  - {id: W%d, name: Way %d, meter: m%d, rating_a: %d}\n", i+1, i+1, i+1, rating)
	}
	if p.groups {
		b.WriteString("groups:\n")
		for i := range p.ways {
			// The failsafe limit is the rating: a ramp would be measured as
			// everyday work.
			fmt.Fprintf(&b, "  - {id: G%d, way: W%d, phases: [L1, L2, L3], rating_a: %d, failsafe_a: %d, "+
				"output: {kind: modbus, url: %q, unit: %d, holding: %d, encode: percent}}\n",
				i+1, i+1, groupAmps, groupAmps, buses[i/perBus], 1+i%perBus, holding)
		}
	}
	fmt.Fprintf(&b, "alarms:\n  - {quantity: i, phases: [L1, L2, L3], kind: hi, threshold: %d, hysteresis: 9, on_delay: %s, off_delay: 0s}\n",
		threshold, p.onDelay)
	return b.String()
}

// kva is the transformer's rating; a plan without groups has none.
func (p *plan) kva() int {
	if !p.groups && !p.tapped {
		return 0
	}
	return min(kvaPerWay*p.ways, mostKVA)
}

// perBus is how many meters share a connection: a gateway's worth.
const perBus = 20

// meters are simulated meters behind Modbus TCP gateways, one for each way.
type meters struct {
	buses []*metertest.Server
	ways  int
	start time.Time
}

func startMeters(ways int) (*meters, error) {
	m := &meters{ways: ways, start: time.Now()}
	for range (ways + perBus - 1) / perBus {
		bus, err := metertest.Listen("")
		if err != nil {
			m.close()
			return nil, fmt.Errorf("start meters: %w", err)
		}
		m.buses = append(m.buses, bus)
	}
	for way := range ways {
		m.unit(way).SetHolding(holding, permitted)
	}
	m.vary()
	return m, nil
}

// urls returns the address of each bus.
func (m *meters) urls() (urls []string) {
	for _, bus := range m.buses {
		urls = append(urls, bus.URL())
	}
	return urls
}

func (m *meters) close() {
	for _, bus := range m.buses {
		_ = bus.Close() // the run is over
	}
}

func (m *meters) unit(way int) *metertest.Unit {
	return m.buses[way/perBus].Unit(uint8(1 + way%perBus))
}

// vary moves every load a little, so that no two readings are the same.
func (m *meters) vary() {
	t := time.Since(m.start).Seconds()
	for way := range m.ways {
		m.set(way, normal*(1+0.02*math.Sin(t+float64(way))))
	}
}

// set has a meter show amps on each phase.
func (m *meters) set(way int, amps float64) {
	r := metertest.SDM630{N: neutral}
	for p := range r.V {
		r.V[p], r.I[p], r.P[p], r.Q[p] = 240, amps, 240*0.98*amps, 240*0.2*amps
	}
	m.buses[way/perBus].SetSDM630(uint8(1+way%perBus), r)
}

// requests returns how many requests all meters together have heard.
func (m *meters) requests() (n int) {
	for way := range m.ways {
		n += m.unit(way).Requests()
	}
	return n
}

// rig is an agent with all that it talks to. One goroutine owns it.
type rig struct {
	plan   plan
	store  string
	file   string // of the site
	meters *meters
	broker *bench.Broker
	centre *bench.Centre // nil: there is none
	octets int           // of a record of the backlog
	agent  *bench.Agent
	log    io.Writer
	alarms *alarmWire // of a tapped rig

	steady   bool // the loads vary by themselves
	beaten   time.Time
	online   bool
	state    string // of the site, as the agent says
	cleanups []func()
}

func startRig(ctx context.Context, cfg *Config, folder string, p plan) (*rig, error) {
	r := &rig{plan: p}
	if err := r.build(cfg, folder); err != nil {
		r.close()
		return nil, err
	}
	return r, context.Cause(ctx)
}

func (r *rig) build(cfg *Config, folder string) error {
	home, err := os.MkdirTemp(folder, "site-")
	if err != nil {
		return fmt.Errorf("make a folder for the site: %w", err)
	}
	r.cleanup(func() { _ = os.RemoveAll(home) })
	broker, err := bench.StartBroker()
	if err != nil {
		return err
	}
	r.cleanup(func() { _ = broker.Close() })
	if r.meters, err = startMeters(r.plan.ways); err != nil {
		return err
	}
	r.cleanup(r.meters.close)
	id := "COST-" + filepath.Base(home)
	r.broker = broker
	if !r.plan.deaf {
		if r.centre, err = bench.JoinCentre(broker.Addr(), id, issuer); err != nil {
			return err
		}
		r.cleanup(r.centre.Close)
	}

	buses, brokerAddr := r.meters.urls(), broker.Addr()
	if r.plan.tapped {
		r.alarms = newAlarmWire()
		modbusTap, err := openTap(r.meters.buses[0].Addr(), nil, r.alarms.modbusReply)
		if err != nil {
			return err
		}
		r.cleanup(modbusTap.close)
		mqttTap, err := openTap(brokerAddr, r.alarms.fromAgent, r.alarms.fromBroker)
		if err != nil {
			return err
		}
		r.cleanup(mqttTap.close)
		buses, brokerAddr = []string{"tcp://" + modbusTap.addr()}, mqttTap.addr()
	}

	r.store = filepath.Join(home, "store")
	if r.plan.backlog > 0 {
		if r.octets, err = fill(r.store, r.plan.backlog, r.plan.ways); err != nil {
			return err
		}
	}
	r.file = filepath.Join(home, "site.yaml")
	file := r.file
	if err := os.WriteFile(file, []byte(r.plan.site(id, r.store, buses, brokerAddr)), 0o600); err != nil {
		return fmt.Errorf("write site file: %w", err)
	}
	log, err := os.Create(filepath.Join(home, "agent.log"))
	if err != nil {
		return fmt.Errorf("write agent log: %w", err)
	}
	r.cleanup(func() { _ = log.Close() })
	r.log = log
	if r.agent, err = bench.StartAgent(log, cfg.Agent, "run", "--config", file); err != nil {
		return err
	}
	r.cleanup(func() { _, _ = r.agent.Stop(stopWithin) })
	return nil
}

// written is how many octets the agent says that it has written to its disk, in
// whole pages.
func (r *rig) written(ctx context.Context, cfg *Config) (int64, error) {
	out, err := exec.CommandContext(ctx, cfg.Agent, "status", "--json", "--config", r.file).Output()
	if err != nil {
		return 0, fmt.Errorf("ask the agent what it wrote: %w", err)
	}
	var status struct{ Wear *struct{ Octets int64 } }
	if err := json.Unmarshal(out, &status); err != nil || status.Wear == nil {
		return 0, fmt.Errorf("ask the agent what it wrote: no figure in %.200q: %w", out, err)
	}
	return status.Wear.Octets, nil
}

// late is how far behind its second a poll began, of the way that did worst (p99)
// and of all, as the agent counts it from its start.
func (r *rig) late(ctx context.Context, cfg *Config) (worst, most time.Duration, err error) {
	out, err := exec.CommandContext(ctx, cfg.Agent, "status", "--json", "--config", r.file).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("ask the agent how late its polls are: %w", err)
	}
	var status struct {
		Buses []struct {
			Ways []struct {
				Late struct{ Most99, Max time.Duration }
			}
		}
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return 0, 0, fmt.Errorf("ask the agent how late its polls are: no figure in %.200q: %w", out, err)
	}
	for _, b := range status.Buses {
		for _, w := range b.Ways {
			worst, most = max(worst, w.Late.Most99), max(most, w.Late.Max)
		}
	}
	return worst, most, nil
}

// cleanup has close call f, in reverse order.
func (r *rig) cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *rig) close() {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
}

// free has the centre state for each way that it wants no limit, and waits
// until the agent says that no way has one: the state in which it spends its
// days.
func (r *rig) free(ctx context.Context, sample func() error) error {
	if err := r.until(ctx, "online", sample, func() bool { return r.online }); err != nil {
		return err
	}
	if !r.plan.groups {
		return nil // nothing could be limited
	}
	for i := range r.plan.ways {
		if _, err := r.centre.Limit(time.Now(), bench.Limit{Way: fmt.Sprintf("W%d", i+1)}); err != nil {
			return err
		}
		// No faster than a centre would: the agent refuses what comes in heaps.
		if err := r.during(ctx, statementPause, sample); err != nil {
			return err
		}
	}
	return r.until(ctx, "free of limits", sample, func() bool { return r.state == "FREE" })
}

// errNotReached is an agent that does not come to the state to measure it in.
var errNotReached = errors.New("not reached")

func (r *rig) until(ctx context.Context, what string, sample func() error, ok func() bool) error {
	for begin := time.Now(); !ok(); {
		if time.Since(begin) > freeLimit {
			return fmt.Errorf("agent %s: %w in %v; state %q; its last lines:\n  %s",
				what, errNotReached, freeLimit, r.state, strings.Join(r.agent.Tail(), "\n  "))
		}
		if err := r.during(ctx, statementPause, sample); err != nil {
			return err
		}
	}
	return nil
}

// during keeps the rig going for a time: heartbeats, loads, samples.
func (r *rig) during(ctx context.Context, d time.Duration, sample func() error) error {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	var lost <-chan error
	var heard <-chan bench.Message
	if r.centre != nil {
		lost, heard = r.centre.Lost(), r.centre.Heard()
	}
	for {
		if now := time.Now(); r.online && now.Sub(r.beaten) >= heartbeatPeriod {
			if err := r.centre.Heartbeat(now); err != nil {
				return err
			}
			r.beaten = now
		}
		select {
		case <-end.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.agent.Done():
			return r.agent.Err()
		case err := <-lost:
			return fmt.Errorf("centre lost the broker: %w", err)
		case m := <-heard:
			r.hear(m)
		case <-tick.C:
			if !r.steady {
				r.meters.vary()
			}
			if err := sample(); err != nil {
				return err
			}
		}
	}
}

// hear notes what the agent says of itself.
func (r *rig) hear(m bench.Message) {
	var said struct{ State string }
	switch m.Topic {
	case "up/status":
		if json.Unmarshal(m.Payload, &said) == nil {
			r.online = said.State == "online"
		}
	case "up/failsafe":
		if json.Unmarshal(m.Payload, &said) == nil {
			r.state = said.State
		}
	}
}
