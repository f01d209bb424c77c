package configs

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// complete fills in what follows from other settings.
func (c *Config) complete(s *Source) {
	if c.Site.Firm == 0 {
		c.Site.Firm = c.Site.Transformer
	}
	for i := range c.Meters {
		m := &c.Meters[i]
		if m.Poll == 0 {
			m.Poll = time.Second
		}
		if m.Timeout == 0 {
			m.Timeout = min(Timeout(m.URL), m.Poll)
		}
		if m.Turnaround == 0 {
			m.Turnaround = Turnaround(m.URL)
		}
		if m.Clock == 0 && IsSPI(m.URL) {
			m.Clock = defaultClock
		}
	}
	for i := range c.Ways {
		w := &c.Ways[i]
		if w.FailsafeMode == "" {
			w.FailsafeMode = "profile"
		}
		if len(w.Phases) == 0 {
			w.Phases = []string{"L1", "L2", "L3"}
		}
		w.completeRole(&c.Site)
		if _, given := s.lines[fmt.Sprintf("ways[%d].channel", i)]; !given {
			w.Channel = 1
		}
	}
	c.completeLoading()
	for i := range c.Groups {
		g := &c.Groups[i]
		if g.Connectors == 0 {
			g.Connectors = 1
		}
		if _, given := s.lines[fmt.Sprintf("groups[%d].failsafe_a", i)]; !given {
			g.Failsafe = max(g.Guarantee, min(g.Rating, 6*float64(g.Connectors)))
		}
		g.completeControl(s, fmt.Sprintf("groups[%d]", i))
		if _, given := s.lines[fmt.Sprintf("groups[%d].channel", i)]; !given {
			g.Channel = 1
		}
		g.Output.complete(s, fmt.Sprintf("groups[%d].output.", i))
		g.Backup.complete(s, fmt.Sprintf("groups[%d].backup.", i))
		if _, given := s.lines[fmt.Sprintf("groups[%d].lockout_a", i)]; !given && !g.Output.IsContact() {
			g.Lockout = min(g.Rating, 6*float64(g.Connectors))
		}
	}
	c.completeInputs()
	c.completeAlarms(s)
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidID reports whether id can name a site: it is a topic level, a client id
// and a certificate's name.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// most are the largest values that make sense; what is above is a slip.
const (
	mostAmps   = 10_000
	mostWays   = 1000 // a site has a dozen; a bench shows what bends first
	mostOffset = 30   // V

	mostThreshold = 1e8
)

func (c *Config) validate(s *Source) {
	if !idPattern.MatchString(c.Site.ID) {
		s.add("site.id", "must be 1 to 64 letters, digits, _ or -, not %q", c.Site.ID)
	}
	if c.Site.Transformer < 0 || c.Site.Transformer > 10_000 {
		s.add("site.transformer_kva", "must be 0 to 10000, not %v", c.Site.Transformer)
	}
	if c.Site.Firm < 0 || c.Site.Firm > c.Site.Transformer {
		s.add("site.firm_kva", "must be 0 to the transformer's rating of %v kVA, not %v", c.Site.Transformer, c.Site.Firm)
	}
	c.validateLoading(s)
	s.oneOf("clock.source", c.Clock.Source, "kernel", "assume")
	c.validateMeters(s)
	c.validateGroups(s)
	c.validateWatchdog(s)
	c.validateAlarms(s)
	c.validateTimes(s)
	c.validateTime(s)
	s.spanOf("supply_points.keep", c.Supply.Keep, time.Hour, mostKeep)
	c.validateBuffer(s)
	c.validateUplink(s)
	c.validatePage(s)
	c.validateMetrics(s)
	c.validateDNP3(s)
	s.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	s.oneOf("log.format", c.Log.Format, "auto", "json", "text")
}

func (c *Config) validateMeters(s *Source) {
	if len(c.Meters) == 0 {
		s.add("meters", "there is none; nothing would be measured")
	}
	c.validateBuses(s)
	ids := s.ids("meters")
	selected := map[string]string{}
	for i, m := range c.Meters {
		at := fmt.Sprintf("meters[%d]", i)
		ids(at, m.ID)
		if IsSPI(m.URL) {
			m.validateSPI(s, at, selected)
			continue
		}
		m.withoutSPI(s, at)
		s.unitOn(at+".unit", m.URL, m.Unit)
		if m.Profile == "" {
			s.add(at+".profile", "must name a meter profile; shipped are %s", strings.Join(ProfileIDs(), ", "))
		}
		s.spanOf(at+".poll", m.Poll, 100*time.Millisecond, time.Hour)
		s.spanOf(at+".timeout", m.Timeout, 10*time.Millisecond, max(m.Poll, 10*time.Millisecond))
	}
	if len(c.Ways) == 0 {
		s.add("ways", "there is none; nothing would be measured")
	}
	if len(c.Ways) > mostWays {
		s.add("ways", "must be at most %d, not %d", mostWays, len(c.Ways))
	}
	c.validateRoles(s)
	ids = s.ids("ways")
	type input struct {
		meter   string
		channel int
	}
	taken := map[input]string{}
	for i, w := range c.Ways {
		at := fmt.Sprintf("ways[%d]", i)
		ids(at, w.ID)
		if w.ID == failsafe.TX {
			s.add(at+".id", "%s is the transformer's own name", failsafe.TX)
		}
		switch other := taken[input{w.Meter, w.Channel}]; {
		case w.Meter == "":
			s.add(at+".meter", "way %s has no meter", w.ID)
		case !slices.ContainsFunc(c.Meters, func(m Meter) bool { return m.ID == w.Meter }):
			s.add(at+".meter", "way %s: there is no meter %q", w.ID, w.Meter)
		case other != "":
			s.add(at+".meter", "way %s: meter %s already measures way %s; a meter of several ways needs a channel for each", w.ID, w.Meter, other)
		default:
			taken[input{w.Meter, w.Channel}] = w.ID
		}
		s.oneOf(at+".failsafe_mode", w.FailsafeMode, "profile", "headroom")
		w.validateWiring(s, at)
		if slices.ContainsFunc(c.Meters, func(m Meter) bool { return m.ID == w.Meter && IsSPI(m.URL) }) {
			w.wiredToSPI(s, at)
		}
		s.phases(at+".phases", w.Phases)
		for p, a := range w.Rating {
			if slices.Contains(w.Phases, meter.Phase(p).String()) && (a <= 0 || a > mostAmps) {
				s.add(at+".rating_a", "way %s: %s must be above 0 and at most %d A, not %v", w.ID, meter.Phase(p), mostAmps, a)
				break
			}
		}
	}
}

// mostRatio is the largest ratio of a transformer that makes sense.
const mostRatio = 100_000

// validateWiring checks how the meter is connected to the way.
func (w *Way) validateWiring(s *Source, at string) {
	s.between(at+".channel", w.Channel, 1, 64)
	s.phases(at+".invert", w.Invert)
	s.phases(at+".phase_map", w.PhaseMap)
	if n := len(w.PhaseMap); n != 0 && n != meter.Phases {
		s.add(at+".phase_map", "way %s: must name the phase of each of the meter's 3 inputs, not of %d", w.ID, n)
	}
	for key, ratio := range map[string]float64{"ct_ratio": w.CT, "vt_ratio": w.VT, "neutral_ct_ratio": w.NeutralCT} {
		_, given := s.lines[at+"."+key]
		if given && ratio <= 0 || ratio > mostRatio {
			s.add(at+"."+key, "way %s: must be above 0 and at most %d, not %v", w.ID, mostRatio, ratio)
		}
	}
	if w.Neutral != "" {
		s.oneOf(at+".neutral", w.Neutral, "measured", "none", "shared")
	}
}

func (c *Config) validateGroups(s *Source) {
	ids := s.ids("groups")
	outputs := map[string]string{}
	for i, g := range c.Groups {
		at := fmt.Sprintf("groups[%d]", i)
		ids(at, g.ID)
		w := slices.IndexFunc(c.Ways, func(w Way) bool { return w.ID == g.Way })
		if w < 0 {
			s.add(at+".way", "group %s: there is no way %q", g.ID, g.Way)
		} else if c.Ways[w].IsIncomer() {
			s.add(at+".way", "group %s: way %s is the incomer; a group hangs on a feeder", g.ID, g.Way)
		}
		s.phases(at+".phases", g.Phases)
		if len(g.Phases) == 0 {
			s.add(at+".phases", "group %s: must name the phases it draws from", g.ID)
		}
		if g.Rating <= 0 || g.Rating > mostAmps {
			s.add(at+".rating_a", "group %s: must be above 0 and at most %d A, not %v", g.ID, mostAmps, g.Rating)
		}
		if g.Failsafe < 0 || g.Failsafe > g.Rating {
			s.add(at+".failsafe_a", "group %s: must be 0 to its rating of %v A, not %v", g.ID, g.Rating, g.Failsafe)
		}
		if g.Lockout < 0 || g.Lockout > g.Rating {
			s.add(at+".lockout_a", "group %s: must be 0 to its rating of %v A, not %v", g.ID, g.Rating, g.Lockout)
		}
		g.validatePeriods(s, at+".failsafe_profile", g.Profile)
		g.validateControl(s, at)
		s.between(at+".connectors", g.Connectors, 1, 1000)
		g.Output.validate(s, at+".output", g.ID, outputs)
		g.validateBackup(s, at+".backup", outputs)
		c.validateGroupMeter(s, at, i)
		if g.Output.Kind == "mqtt" && c.Uplink.Payload == "sparkplug" {
			s.add(at+".output.kind", "group %s: setpoints for an operator are JSON; set uplink.payload to json or both", g.ID)
		}
	}
}

func (c *Config) validateTimes(s *Source) {
	p := c.Window.Period
	if p < 10*time.Second || p > time.Hour || time.Hour%p != 0 {
		s.add("window.period", "must divide an hour and be 10s to 1h, not %s", p)
	}
	s.spanOf("health.on_delay", c.Health.OnDelay, 0, time.Hour)
	s.spanOf("health.off_delay", c.Health.OffDelay, 0, time.Hour)
	f := c.Failsafe
	s.spanOf("failsafe.heartbeat_period", f.HeartbeatPeriod, 100*time.Millisecond, time.Hour)
	if least := f.HeartbeatPeriod * 7 / 2; f.HeartbeatTimeout < least || f.HeartbeatTimeout > time.Hour {
		s.add("failsafe.heartbeat_timeout", "must be at least 3.5 heartbeat periods (%s) and at most 1h, not %s", least, f.HeartbeatTimeout)
	}
	s.spanOf("failsafe.stable", f.Stable, f.HeartbeatPeriod, time.Hour)
	s.spanOf("failsafe.init", f.Init, f.HeartbeatPeriod, time.Hour)
	s.spanOf("failsafe.entry_spread", f.EntrySpread, 0, 300*time.Second)
	s.spanOf("failsafe.restore_period", f.RestorePeriod, 0, time.Hour)
	s.spanOf("failsafe.restore_spread", f.RestoreSpread, 0, 300*time.Second)
	s.spanOf("failsafe.bumpless", f.Bumpless, 0, 60*time.Second)
	s.spanOf("failsafe.min_off", f.MinOff, 0, 4*time.Hour)
	s.spanOf("failsafe.thermal", f.Thermal, time.Second, 24*time.Hour)
	s.spanOf("failsafe.restart_dead", f.RestartDead, 0, time.Hour)
	s.spanOf("failsafe.restart_spread", f.RestartSpread, 0, 30*time.Minute)
	s.spanOf("failsafe.excursion", f.Excursion, 10*time.Second, time.Hour)
	s.spanOf("failsafe.silence_most", f.SilenceMost, 0, 24*time.Hour)
	if f.Autonomous != 0 {
		s.spanOf("failsafe.autonomous_after", f.Autonomous, 2*time.Hour, 24*time.Hour)
	}
	c.validatePeak(s)
	c.validateInputs(s)
	s.spanOf("failsafe.lockout", f.Lockout, time.Minute, 7*24*time.Hour)
	s.between("failsafe.of_beats", f.OfBeats, 1, 16)
	s.between("failsafe.beats", f.Beats, 1, f.OfBeats)
	if f.RestoreSlow <= 0 || f.RestoreSlow > 100 {
		s.add("failsafe.restore_slow_a", "must be above 0 and at most 100 A a minute, not %v", f.RestoreSlow)
	}
	if len(f.Issuers) == 0 && len(c.Groups) > 0 {
		s.add("failsafe.issuers", "is empty: no heartbeat would count, and the groups would stay at their failsafe limit for ever")
	}
	if _, err := time.Parse(time.DateOnly, f.ProfileDate); f.ProfileDate != "" && err != nil {
		s.add("failsafe.profile_date", "must be a day as 2026-04-01, not %q", f.ProfileDate)
	}
	for i, id := range f.Issuers {
		if id == "" || len(id) > 64 {
			s.add(fmt.Sprintf("failsafe.issuers[%d]", i), "must be 1 to 64 characters, not %q", id)
		}
	}
}

func (c *Config) validateUplink(s *Source) {
	switch up := &c.Uplink; {
	case up.Broker != "" && len(up.Brokers) > 0:
		s.add("uplink.brokers", "broker and brokers exclude each other")
	case len(up.Brokers) > mostBrokers:
		s.add("uplink.brokers", "must be at most %d, not %d", mostBrokers, len(up.Brokers))
	case len(up.Brokers) > 0:
		for i, b := range up.Brokers {
			at := fmt.Sprintf("uplink.brokers[%d]", i)
			c.validateBroker(s, at, b)
			if slices.Contains(up.Brokers[:i], b) {
				s.add(at, "%s is there twice", b)
			}
		}
	case up.Broker == "":
		s.add("uplink.broker", "must be the broker's address, like ssl://broker.example:8883")
	default:
		c.validateBroker(s, "uplink.broker", up.Broker)
	}
	if c.Uplink.Secure() {
		for _, f := range []struct{ key, file string }{{"ca", c.Uplink.TLS.CA}, {"cert", c.Uplink.TLS.Cert}, {"key", c.Uplink.TLS.Key}} {
			if f.file == "" {
				s.add("uplink.tls."+f.key, "must name a file: ssl:// is mutual")
			}
		}
	}
	c.validateSparkplug(s)
	if !strings.Contains(c.Uplink.Prefix, "{agent}") || strings.ContainsAny(c.Uplink.Prefix, "+#") {
		s.add("uplink.prefix", "must contain {agent} and neither + nor #, not %q", c.Uplink.Prefix)
	}
	if strings.ContainsAny(c.Uplink.Broadcast, "+#") {
		s.add("uplink.broadcast", "must contain neither + nor #, not %q", c.Uplink.Broadcast)
	}
	s.spanOf("uplink.keepalive", c.Uplink.KeepAlive, time.Second, time.Hour)
	s.spanOf("uplink.watchdog", c.Uplink.Watchdog, time.Second, time.Hour)
	s.spanOf("uplink.backoff_min", c.Uplink.BackoffMin, 10*time.Millisecond, time.Hour)
	s.spanOf("uplink.backoff_max", c.Uplink.BackoffMax, c.Uplink.BackoffMin, time.Hour)
	c.validateIssuers(s)
	s.between("uplink.backlog_rate", c.Uplink.Backlog, 0, 10_000)
	s.spanOf("uplink.selftest", c.Uplink.Selftest, 0, 5*time.Minute)
	s.spanOf("uplink.max_age", c.Uplink.MaxAge, time.Second, 30*24*time.Hour)
	s.between("uplink.failover_after", c.Uplink.Failover, 1, 100)
	s.spanOf("uplink.failback", c.Uplink.Failback, time.Second, 7*24*time.Hour)
}

func (c *Config) validateIssuers(s *Source) {
	ids := s.ids("uplink.issuers")
	for i, u := range c.Uplink.Issuers {
		at := fmt.Sprintf("uplink.issuers[%d]", i)
		ids(at, u.ID)
		if u.Key == "" {
			if slices.Contains(c.Failsafe.Issuers, u.ID) {
				s.add(at+".key", "issuer %s has no key; then it need not be here", u.ID)
			}
			continue
		}
		if key, err := base64.StdEncoding.DecodeString(u.Key); err != nil || len(key) != ed25519.PublicKeySize {
			s.add(at+".key", "issuer %s: must be %d octets in base64, not %q", u.ID, ed25519.PublicKeySize, u.Key)
		}
	}
}

const mostBrokers = 8

func (c *Config) validateBroker(s *Source, at, broker string) {
	u, err := url.Parse(broker)
	switch {
	case err != nil || u.Host == "" || u.Port() == "":
		s.add(at, "must be tcp://host:port or ssl://host:port, not %q", broker)
	case u.User != nil:
		s.add(at, "must hold no password; the agent is known by its certificate")
	case u.Scheme == "tcp":
		if !c.Uplink.AllowPlain && !loopback(u.Hostname()) {
			s.add(at, "plain tcp to another machine; use ssl:// with uplink.tls, or set uplink.allow_plain on a test network")
		}
	case u.Scheme != "ssl":
		s.add(at, "must be tcp:// or ssl://, not %q", u.Scheme)
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ids returns a check that each id of a list is well formed and there once.
func (s *Source) ids(list string) func(at, id string) {
	seen := map[string]string{}
	return func(at, id string) {
		if !idPattern.MatchString(id) {
			s.add(at+".id", "must be 1 to 64 letters, digits, _ or -, not %q", id)
			return
		}
		if first, twice := seen[id]; twice {
			s.add(at+".id", "%q is already the id of %s", id, first)
			return
		}
		seen[id] = at
	}
}

func (s *Source) oneOf(path, got string, allowed ...string) {
	if !slices.Contains(allowed, got) {
		s.add(path, "must be %s, not %q", strings.Join(allowed, " or "), got)
	}
}

func (s *Source) between(path string, got, low, high int) {
	if got < low || got > high {
		s.add(path, "must be %d to %d, not %d", low, high, got)
	}
}

func (s *Source) spanOf(path string, got, low, high time.Duration) {
	if got < low || got > high {
		s.add(path, "must be %s to %s, not %s", low, high, got)
	}
}

func (s *Source) phases(path string, names []string) {
	for i, n := range names {
		if _, ok := meter.ParsePhase(n); !ok {
			s.add(fmt.Sprintf("%s[%d]", path, i), "must be L1, L2 or L3, not %q", n)
		} else if slices.Contains(names[:i], n) {
			s.add(fmt.Sprintf("%s[%d]", path, i), "%s is there twice", n)
		}
	}
}

// ProfileIDs returns the ids of the profiles that come with the agent.
func ProfileIDs() []string {
	entries, err := Profiles.ReadDir("meters")
	if err != nil {
		panic(err) // the folder is embedded
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return ids
}

// Milli turns a number of the file into thousandths.
func Milli(x float64) int64 {
	if x < 0 {
		return -Milli(-x)
	}
	return int64(x*1000 + 0.5)
}

// PhaseSet returns which phases are named.
func PhaseSet(names []string) (set [meter.Phases]bool) {
	for _, n := range names {
		if p, ok := meter.ParsePhase(n); ok {
			set[p] = true
		}
	}
	return set
}

// Engine returns what the failsafe engine needs of c. Seed is the device's own.
func (c *Config) Engine(seed [32]byte) failsafe.Config {
	f := c.Failsafe
	t := failsafe.DefaultTimers()
	t.HeartbeatPeriod, t.HeartbeatTimeout, t.Stable = f.HeartbeatPeriod, f.HeartbeatTimeout, f.Stable
	t.Beats, t.OfBeats, t.Init, t.EntrySpread = f.Beats, f.OfBeats, f.Init, f.EntrySpread
	t.RestorePeriod, t.RestoreSlow, t.Bumpless = f.RestorePeriod, meter.Milliamps(Milli(f.RestoreSlow)), f.Bumpless
	t.RestoreSpread, t.MinOff, t.Thermal = f.RestoreSpread, f.MinOff, f.Thermal
	t.SilenceMost = f.SilenceMost
	t.Excursion, t.Lockout = f.Excursion, f.Lockout
	t.RestartDead, t.RestartSpread = f.RestartDead, f.RestartSpread
	e := failsafe.Config{Site: c.Site.ID, Issuers: f.Issuers, Timers: t, Seed: seed, Transformer: c.Site.FirmCurrent(), Place: c.Place(), Autonomous: f.Autonomous, Peak: f.peak()}
	for _, i := range c.Uplink.Issuers {
		if !slices.Contains(f.Issuers, i.ID) {
			e.Reporters = append(e.Reporters, i.ID)
		}
	}
	e.Issuers = append(slices.Clone(e.Issuers), c.DNP3.issuers()...)
	for _, w := range c.Ways {
		if w.IsIncomer() {
			continue // what it measures is TX
		}
		way := failsafe.Way{ID: w.ID, Headroom: w.FailsafeMode == "headroom"}
		for p, a := range w.Rating {
			way.Rating[p] = meter.Milliamps(Milli(a))
		}
		e.Ways = append(e.Ways, way)
	}
	for _, g := range c.Groups {
		e.Groups = append(e.Groups, failsafe.Group{
			ID: g.ID, Way: g.Way, Phases: PhaseSet(g.Phases),
			Rating: meter.Milliamps(Milli(g.Rating)), Failsafe: meter.Milliamps(Milli(g.Failsafe)),
			Profile: g.periods(g.Profile),
			Contact: g.Output.IsContact(), Backup: g.Backup.IsThere(), Slow: g.Output.Kind == "mqtt", Connectors: g.Connectors, Priority: g.Priority,
			Lockout:  meter.Milliamps(Milli(g.Lockout)),
			Schedule: g.periods(g.Schedule), Shift: g.Shift, Stagger: g.Stagger, Contract: g.contract(),
			Guarantee: meter.Milliamps(Milli(g.Guarantee)), OptIn: g.OptIn.from(c.Place()),
		})
	}
	return e
}

// PollOf returns how often a way is measured.
func (c *Config) PollOf(w *Way) time.Duration {
	for _, m := range c.Meters {
		if m.ID == w.Meter {
			return m.Poll
		}
	}
	return time.Second
}
