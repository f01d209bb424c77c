package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"lvagent/agent/core"
	"lvagent/agent/points"
	"lvagent/agent/socket"
	"lvagent/agent/statefile"
	"lvagent/configs"
	"lvagent/dnp3"
	"lvagent/dnp3/dnp3net"
	"lvagent/failsafe"
	"lvagent/meter"
)

// outstation is the agent on DNP3: its points, its masters' orders, and its
// server, which comes back when its port is taken for a while.
type outstation struct {
	*Agent
	*points.Database // owned by the core loop
	engine           failsafe.Config
	orders           *points.Orders
	server           atomic.Pointer[dnp3net.Server]
	saver            *statefile.Saver
	kept             []byte
	lost             bool // events may be missing in kept
	version          uint64

	acted   atomic.Uint64            // commands handed on
	trusted atomic.Bool              // the clock is set by somebody who knows, as of the last tick
	synced  atomic.Bool              // it is, or is taken to be
	local   atomic.Bool              // the Local/Remote switch is at Local
	held    atomic.Pointer[[]string] // groups that somebody on site overrides; nil: none
	failing atomic.Bool              // records or the failsafe state can't be stored
	control points.Control           // owned by the core loop

	// Owned by the server's loop.
	issuers map[uint16]string
	number  uint64
	limits  map[string]string // by group: the command that a master's limit is
	beats   map[uint16]float64
}

// Slots returns who is where in the point list.
func Slots(cfg *configs.Config) *points.Site {
	s := &points.Site{Periods: cfg.DNP3.Periods}
	if cfg.Site.FirmCurrent() > 0 {
		s.Ways[0] = failsafe.TX
	}
	for _, w := range cfg.Ways {
		if w.Slot > 0 {
			s.Ways[w.Slot] = w.ID
		}
	}
	for _, g := range cfg.Groups {
		if g.Slot > 0 {
			s.Groups[g.Slot], s.GroupWays[g.Slot] = g.ID, g.Way
		}
	}
	return s
}

// buildOutstation makes the outstation, where the site wants one.
func (a *Agent) buildOutstation(engine failsafe.Config) (*outstation, error) {
	cfg := a.site.Config
	if cfg.DNP3.Listen == "" {
		return nil, nil
	}
	site := Slots(cfg)
	var ratings [points.WaySlots][meter.Phases]meter.Milliamps
	for p := range meter.Phases {
		ratings[0][p] = cfg.Site.FirmCurrent()
	}
	for _, w := range cfg.Ways {
		if w.Slot > 0 {
			for p, there := range configs.PhaseSet(w.Phases) {
				if there {
					ratings[w.Slot][p] = meter.Milliamps(configs.Milli(w.Rating[p]))
				}
			}
		}
	}
	o := &outstation{Agent: a, engine: engine, orders: points.NewOrders(site, engine.Groups), issuers: map[uint16]string{}, limits: map[string]string{}, beats: map[uint16]float64{}}
	o.control.Timeout = engine.Timers.HeartbeatTimeout
	o.Database = points.NewDatabase(site, ratings, o.send)
	for i := range cfg.DNP3.Masters {
		if m := &cfg.DNP3.Masters[i]; m.Authority {
			o.issuers[uint16(m.Address)] = m.Issuer()
		}
	}
	file, stored, broken, err := statefile.Open(filepath.Join(cfg.Buffer.Path, "dnp3"))
	if err != nil || broken {
		o.lost = true
		a.log.Error("events for masters on DNP3 not read; they are told that some may be missing", "err", err)
	}
	if len(stored) > 0 {
		o.kept = stored[0]
	}
	o.saver = statefile.NewSaver(file, "events for DNP3 masters", a.log, func(uint64) {})
	return o, nil
}

func (o *outstation) send(changes []dnp3.Change) {
	if s := o.server.Load(); s != nil {
		if err := s.Update(changes...); err != nil {
			o.log.Error("points not updated", "err", err)
		}
	}
}

// State and Tick show what the loop knows; see core.Points.
func (o *outstation) State(s *failsafe.State, wall time.Time) {
	held := heldOnSite(s)
	was := o.held.Swap(held)
	if local := s.Switch == failsafe.Local; o.local.Swap(local) != local || (was == nil) != (held == nil) {
		o.showDevice()
	}
	o.control.Take(s)
	o.Database.State(s, &o.engine, wall)
}

// heldOnSite returns the groups that somebody on site overrides, nil for none.
func heldOnSite(s *failsafe.State) *[]string {
	var held []string
	for i := range s.Overrides {
		if s.Overrides[i].Local {
			held = append(held, s.Overrides[i].Groups...)
		}
	}
	if len(held) == 0 {
		return nil
	}
	return &held
}

// showDevice shows what every response says of the device: IIN1.5 while somebody
// works on site, IIN1.6 while nothing can be stored, and whether times are good.
func (o *outstation) showDevice() {
	s, local, failing, synced := o.server.Load(), o.local.Load() || o.held.Load() != nil, o.failing.Load(), o.synced.Load()
	if s == nil {
		return
	}
	if err := s.Post(func(station *dnp3.Outstation, _ time.Duration) {
		station.SetLocal(local)
		station.SetTrouble(failing)
		station.SetSynchronised(synced)
	}); err != nil {
		o.log.Error("state of the device not shown to masters", "err", err)
	}
}

// Mark says of an alarm on MQTT which point tells the same, and whether MQTT has
// only the copy.
func (o *outstation) Mark(a *meter.Alarm) {
	a.Point, a.HasPoint = o.IndexOf(a)
	a.Duplicate = a.HasPoint && o.site.Config.DNP3.AlarmOwner == configs.OnDNP3
}

// Tick is called each second.
func (o *outstation) Tick(now time.Duration, wall time.Time) {
	clock, failing := o.loop.Clock().Clock, o.store().Failing != ""
	o.trusted.Store(clock == meter.Synced)
	synced := clock == meter.Synced || clock == meter.Assumed
	if was := o.synced.Swap(synced); o.failing.Swap(failing) != failing || was != synced {
		o.showDevice()
	}
	owner, master := o.control.Owner()
	o.Database.Tick(&points.Substation{
		Backlog: o.box.Backlog(), Connected: o.link.State().Connected, Acted: o.acted.Load(), Synced: synced, Failing: failing,
		Copied: o.site.Config.DNP3.AlarmOwner != configs.OnDNP3, Owner: owner, Master: master,
	}, now, wall)
}

// config is what the server needs; its certificates are read now.
func (o *outstation) config() (dnp3net.Config, error) {
	d := &o.site.Config.DNP3
	c := dnp3net.Config{
		Listen: d.Listen, PlainControls: d.Controls, Saved: o.kept, Lost: o.lost, Wall: o.wall, Log: o.log,
		Keep: func(saved []byte) {
			o.version++
			o.saver.Save(o.version, saved)
		},
		Station: dnp3.Config{
			Address: uint16(d.Address), KeepAlive: d.KeepAlive, Points: points.Points(o.Rows()), Controls: o, Clock: dnp3.ClockOfHost,
			Identity: dnp3.Identity{Vendor: "lvagent", Product: "lvagent", Software: Version, Location: o.site.Config.Site.Name, Name: o.site.Config.Site.ID},
		},
	}
	if d.Owner == "master" {
		c.Station.Clock = dnp3.ClockOfMaster
		c.Station.SetTime = o.hearTime
	}
	for _, m := range d.Masters {
		c.Station.Masters = append(c.Station.Masters, dnp3.Master{Address: uint16(m.Address), Certificate: m.Certificate, Unsolicited: m.Unsolicited, ReadOnly: !m.Authority,
			ConfirmTimeout: d.ConfirmTimeout, UnsolicitedTimeout: d.UnsolicitedTimeout, SelectTimeout: d.SelectTimeout})
	}
	for _, a := range d.Allow {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			return c, fmt.Errorf("dnp3.allow: %w", err) // the site file was checked
		}
		c.Allow = append(c.Allow, p)
	}
	if (d.TLS != configs.TLS{}) {
		var err error
		if c.TLS, err = serverTLS(d.TLS); err != nil {
			return c, err
		}
	}
	return c, nil
}

// serverTLS reads the CA of the masters now and the certificate for each
// connection, so that a new one needs no restart.
func serverTLS(t configs.TLS) (*tls.Config, error) {
	ca, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("read CA of the masters: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read CA of the masters: %s holds no certificate", t.CA)
	}
	if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		return nil, fmt.Errorf("read certificate of the outstation: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(t.Cert, t.Key)
			return &c, err
		},
	}, nil
}

// wrongZone is how far off a master is that writes local time instead of UTC.
const wrongZone = 3600 * time.Second

// hearTime takes a time that a master writes as a remark: it never sets this
// machine's clock. One that is an hour away is that of a master on local time.
func (o *outstation) hearTime(master uint16, t int64) bool {
	off := time.UnixMilli(t).Sub(o.wall())
	if !o.trusted.Load() {
		o.log.Info("time written by master", "master", master, "off", off)
		return true
	}
	if d := (off.Abs() - wrongZone).Abs(); d <= 5*time.Second {
		o.log.Warn("time written by master refused: it is an hour away, as local time is", "master", master, "off", off)
		return false
	}
	if off.Abs() > 2*time.Second {
		o.log.Warn("time written by master differs from a trusted clock", "master", master, "off", off)
	}
	return true
}

// reopen is how long the outstation waits before it tries its port again.
const reopen = 10 * time.Second

// Run serves masters until ctx ends.
func (o *outstation) Run(ctx context.Context) error {
	save := start("DNP3 events", o.saver.Run)
	defer save.stop()
	for ctx.Err() == nil {
		if err := o.serve(ctx); err != nil && ctx.Err() == nil {
			o.log.Error("no DNP3 outstation; tried again", "err", err, "in", reopen)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reopen):
		}
	}
	return nil
}

func (o *outstation) serve(ctx context.Context) error {
	c, err := o.config()
	if err != nil {
		return err
	}
	s, err := dnp3net.Listen(c)
	if errors.Is(err, dnp3.ErrSaved) {
		o.log.Error("events for masters on DNP3 not used", "err", err)
		c.Saved, c.Lost, o.kept, o.lost = nil, true, nil, true
		s, err = dnp3net.Listen(c)
	}
	if err != nil {
		o.lost = true // what happens until the port is free makes no events
		return err
	}
	o.server.Store(s)
	o.showDevice()
	defer o.server.Store(nil)
	o.log.Info("DNP3 outstation", "listen", s.Addr().String(), "address", c.Station.Address, "tls", c.TLS != nil, "masters", len(c.Station.Masters))
	// What was known before there was a server; not waited for, the loop may be stopping.
	go o.loop.Ask(ctx, func(*core.Loop) { o.Again() })
	return s.Run(ctx)
}

// Select says whether a command would be carried out now.
func (o *outstation) Select(master uint16, c dnp3.Command) dnp3.Status {
	_, status := o.decode(master, c)
	return status
}

// Operate hands a command to the core loop. What comes of it shows on the points.
func (o *outstation) Operate(master uint16, c dnp3.Command) dnp3.Status {
	order, status := o.decode(master, c)
	if status != dnp3.Success {
		return status
	}
	issuer := o.issuers[master]
	if order.Kind == points.OrderBeat {
		last, heard := o.beats[master]
		o.beats[master] = order.Value
		if heard && last == order.Value {
			return dnp3.Success // the same again is no sign of life
		}
	}
	o.number++
	if !o.loop.Order(o.inputs(issuer, order)) {
		return dnp3.ProcessingLimited
	}
	if order.Kind != points.OrderBeat {
		o.acted.Add(1)
	}
	return dnp3.Success
}

func (o *outstation) decode(master uint16, c dnp3.Command) (points.Order, dnp3.Status) {
	if o.issuers[master] == "" {
		return points.Order{}, dnp3.NotAuthorized
	}
	order, status := o.orders.Decode(c)
	if status == dnp3.Success && order.Kind != points.OrderBeat && (o.local.Load() || order.Kind != points.OrderLimit && o.heldOnSite(order.Group)) {
		status = dnp3.Local
	}
	return order, status
}

// heldOnSite reports whether somebody on site overrides a group. No override from
// afar goes before that; a limit is kept, and holds when it is over.
func (o *outstation) heldOnSite(group string) bool {
	held := o.held.Load()
	return held != nil && slices.Contains(*held, group)
}

// Of a master's orders.
const (
	orderExpires = 30 * time.Second
	orderLimit   = 24 * time.Hour // a limit that nobody renews
	orderFor     = time.Hour      // an override
)

// inputs is an order in the engine's words. The start of this process is the
// epoch of its sequence: a restart begins a new one.
func (o *outstation) inputs(issuer string, order points.Order) (in failsafe.Inputs) {
	epoch, wall := uint64(o.status.Since.Unix()), o.wall()
	id := fmt.Sprintf("%s-%s-%d", issuer, o.status.Boot, o.number)
	target := failsafe.Target{Groups: []string{order.Group}}
	switch order.Kind {
	case points.OrderBeat:
		in.Heartbeats = []failsafe.Heartbeat{{Issuer: issuer, Epoch: epoch, Seq: o.number}}
	case points.OrderLimit:
		c := failsafe.LimitCommand{ID: id, Issuer: issuer, Epoch: epoch, Seq: o.number, Hash: id, Expires: wall.Add(orderExpires),
			Class: failsafe.Network, Target: target, Duration: orderLimit, Relative: true,
			Amount: failsafe.Amount{Unit: failsafe.Amps, Value: int64(order.Amps)}, Supersedes: o.limits[order.Group]}
		if order.None {
			c.Amount = failsafe.Amount{Unit: failsafe.None}
		}
		o.limits[order.Group] = id
		in.Limits = []failsafe.LimitCommand{c}
	default:
		kind := map[points.OrderKind]failsafe.OverrideKind{points.OrderHoldOff: failsafe.HoldOff, points.OrderRelease: failsafe.Release, points.OrderEnd: failsafe.ClearOverride}[order.Kind]
		in.Overrides = []failsafe.OverrideCommand{{ID: id, Issuer: issuer, Epoch: epoch, Seq: o.number, Hash: id, Expires: wall.Add(orderExpires),
			Target: target, Kind: kind, For: orderFor, By: issuer, Why: "control over DNP3"}}
	}
	return in
}

// errNoOutstation is the answer to who asks for points that nobody can read.
var errNoOutstation = errors.New("there is no DNP3 outstation: dnp3.listen is empty")

// Force answers lvagent force.
func (a *Agent) Force(ctx context.Context, f socket.Force) error {
	if a.station == nil {
		return errNoOutstation
	}
	kind, ok := dnp3.BinaryInput, false
	for t := dnp3.BinaryInput; t <= dnp3.OctetString; t++ {
		if t.String() == f.Type {
			kind, ok = t, true
		}
	}
	if !ok {
		return fmt.Errorf("force: %q is no type of point; they are in lvagent points", f.Type)
	}
	lasts := time.Duration(0)
	if !f.End {
		var err error
		if lasts, err = time.ParseDuration(f.For); err != nil {
			return fmt.Errorf("force: %w", err)
		}
	}
	var failed error
	err := a.loop.Ask(ctx, func(*core.Loop) {
		if f.End {
			failed = a.station.Unforce(kind, f.Index)
		} else {
			failed = a.station.Database.Force(kind, f.Index, f.Value, lasts, a.now(), a.wall())
		}
	})
	if err = errors.Join(err, failed); err == nil {
		a.log.Warn("security", "event", "point forced", "type", f.Type, "index", f.Index, "value", f.Value, "for", f.For, "end", f.End, "by", f.By)
	}
	return err
}

// Forced answers lvagent force --list.
func (a *Agent) Forced(ctx context.Context) ([]byte, error) {
	forced := []points.Forced{}
	if a.station == nil {
		return json.Marshal(forced)
	}
	if err := a.loop.Ask(ctx, func(*core.Loop) { forced = append(forced, a.station.Database.Forced(a.now())...) }); err != nil {
		return nil, err
	}
	return json.Marshal(forced)
}
