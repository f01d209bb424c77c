package agent

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"lvagent/agent/core"
	"lvagent/agent/credentials"
	"lvagent/agent/message"
	"lvagent/agent/poll"
	"lvagent/configs"
	"lvagent/failsafe/relay"
	"lvagent/meter"
	"lvagent/meter/modbus"
	"lvagent/meter/spi"
)

type (
	reading   = meter.Reading
	milliamps = meter.Milliamps
)

// Site is a site file that was read, with all it refers to.
type Site struct {
	Config *configs.Config
	Text   []byte
	Topics message.Topics
	Files  credentials.Files // zero where no broker is reached over TLS

	profiles map[string]*modbus.Profile
	outputs  []outputOf
	lines    map[string]relay.Bus     // that outputs hang on, by url
	sources  map[string]*modbus.Meter // by way; front ends have none

	calibrations map[string]*spi.Calibration // of front ends, by meter
	openSPI      spi.Opener                  // nil: the kernel's
	openGPIO     relay.Kernel                // nil: the kernel
	openWire     func(url string) wire       // nil: a Modbus client
}

// wire stands in for the Modbus client of an address, which dials by itself and
// so cannot be had in virtual time.
type wire interface {
	poll.Link
	relay.Bus
	Source(way string) poll.Source
}

// outputOf is what carries one group's limit, or stands in for it.
type outputOf struct {
	group            string
	backup           bool
	output           configs.Output
	rating, fallback milliamps
}

// busOf is one address with what hangs on it.
type busOf struct {
	url    string
	link   poll.Link
	client *modbus.Client // nil: the bus is no Modbus
	ways   []poll.Way
}

// Prepare reads a site file and all that it refers to, and returns every fault
// in it. It is what a start does before it starts, so that a file without
// faults here starts.
func Prepare(file string) (*Site, []configs.Fault) {
	cfg, src, faults := configs.Load(file)
	if cfg == nil {
		return nil, faults
	}
	s := &Site{Config: cfg, profiles: map[string]*modbus.Profile{}, lines: map[string]relay.Bus{}, sources: map[string]*modbus.Meter{}, calibrations: map[string]*spi.Calibration{}}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, append(faults, configs.Fault{File: file, Message: err.Error()})
	}
	s.Text = text
	s.Topics = message.NewTopics(cfg.Uplink.Prefix, cfg.Site.ID).WithBroadcast(cfg.Uplink.Broadcast)
	for i, m := range cfg.Meters {
		if configs.IsSPI(m.URL) {
			faults = append(faults, s.loadCalibration(src, i, &m, filepath.Dir(file))...)
			continue
		}
		faults = append(faults, s.loadProfile(src, i, m.Profile, filepath.Dir(file))...)
	}
	faults = append(faults, s.checkWays(src)...)
	for _, b := range s.Loads() {
		if b.Share > mostBusy {
			faults = append(faults, src.Fault("meters", "%s", b.refusal()))
		}
	}
	faults = append(faults, s.addOutputs(src)...)
	for i, in := range cfg.Site.Inputs {
		if _, err := relay.ParseAddress(in.Line); err != nil && in.Line != "" {
			faults = append(faults, src.Fault(fmt.Sprintf("site.inputs[%d].line", i), "input %s: %v", in.ID, err))
		}
	}
	if cfg.Uplink.Secure() {
		faults = append(faults, s.checkTLS(src)...)
	}
	return s, faults
}

// loadProfile reads the profile of meter i.
func (s *Site) loadProfile(src *configs.Source, i int, name, folder string) []configs.Fault {
	if name == "" || s.profiles[name] != nil {
		return nil
	}
	p, file, faults := Profile(name, folder)
	if file == "" {
		return []configs.Fault{src.Fault(fmt.Sprintf("meters[%d].profile", i), "%s", faults[0].Message)}
	}
	s.profiles[name] = p
	return faults
}

// checkTLS looks at the certificates of a mutual session.
func (s *Site) checkTLS(src *configs.Source) (faults []configs.Fault) {
	t := s.Config.Uplink.TLS
	if t.CA == "" || t.Cert == "" || t.Key == "" {
		return nil // said already
	}
	s.Files = credentials.Files{CA: t.CA, Cert: t.Cert, Key: t.Key}
	for _, f := range s.Files.Check(s.Config.Site.ID) {
		faults = append(faults, src.Fault("uplink.tls."+f.Part, "%v", f.Err))
	}
	return faults
}

// buses returns one bus for each address, with the ways that are measured there.
func (s *Site) buses(log *slog.Logger) (buses []*busOf) {
	on := func(url string) *busOf {
		if i := slices.IndexFunc(buses, func(b *busOf) bool { return b.url == url }); i >= 0 {
			return buses[i]
		}
		b := &busOf{url: url}
		buses = append(buses, b)
		if s.openWire != nil {
			w := s.openWire(url)
			b.link, s.lines[url] = w, w
			return b
		}
		client, err := s.busAt(url).Client(log)
		if err != nil {
			panic(err) // the site file was checked
		}
		b.link, b.client, s.lines[url] = client, client, client
		return b
	}
	for _, w := range slices.Concat(s.Config.Ways, s.Config.GroupMeters()) {
		i := slices.IndexFunc(s.Config.Meters, func(m configs.Meter) bool { return m.ID == w.Meter })
		m := s.Config.Meters[i]
		if configs.IsSPI(m.URL) {
			buses = append(buses, s.frontEnd(&w, &m, log))
			continue
		}
		b := on(m.URL)
		if played, is := b.link.(wire); is {
			b.ways = append(b.ways, poll.Way{Way: w.ID, Every: m.Poll, Source: played.Source(w.ID), Point: core.MeterPoint(m.ID), Range: rangeOf(&w)})
			continue
		}
		p := s.profiles[m.Profile]
		source := modbus.NewMeterAs(b.client, p, setupOf(&w, &m))
		s.sources[w.ID] = source
		way := poll.Way{Way: w.ID, Every: m.Poll, Source: source, Point: core.MeterPoint(m.ID), Range: rangeOf(&w)}
		if p.ReadsSlowly(w.Channel) {
			way.Supply = source
		}
		b.ways = append(b.ways, way)
	}
	for _, o := range s.outputs {
		if o.output.Kind == "modbus" {
			on(o.output.URL)
		}
	}
	return buses
}

// serial is the serial number of the meter of a way, empty until it is known.
func (s *Site) serial(way int) string {
	if m := s.sources[s.Config.Ways[way].ID]; m != nil {
		return m.Serial()
	}
	return ""
}

// MeterView is a meter, for people on site.
type MeterView struct {
	ID      string   `json:"id"`
	URL     string   `json:"url"`
	Unit    int      `json:"unit"`
	Profile string   `json:"profile"`
	Serial  string   `json:"serial,omitempty"` // not there: not known
	Ways    []string `json:"ways"`
}

// meters lists the meters with what they have said of themselves.
func (s *Site) meters() (all []MeterView) {
	for _, m := range s.Config.Meters {
		v := MeterView{ID: m.ID, URL: m.URL, Unit: m.Unit, Profile: m.Profile, Ways: []string{}}
		for i := range s.Config.Ways {
			if s.Config.Ways[i].Meter == m.ID {
				v.Ways = append(v.Ways, s.Config.Ways[i].ID)
				v.Serial = cmp.Or(v.Serial, s.serial(i))
			}
		}
		all = append(all, v)
	}
	return all
}

// busAt returns how the bus at url is spoken to, with time for the slowest meter
// and the longest request on it.
func (s *Site) busAt(url string) modbus.Bus {
	c := s.Config.BusOf(url)
	b := modbus.Bus{
		URL: url, Baud: c.Baud, Parity: c.Parity, Stop: c.Stop, Gap: c.Gap,
		CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key, Longest: 1,
	}
	for _, m := range s.Config.Meters {
		if m.URL != url {
			continue
		}
		b.Timeout = max(b.Timeout, m.Timeout)
		if p := s.profiles[m.Profile]; p != nil {
			b.Longest = max(b.Longest, p.Longest())
		}
	}
	if b.Timeout == 0 {
		b.Timeout = configs.Timeout(url)
	}
	return b
}

// gone returns err if it means that the connection is lost; an exception is an
// answer, and how the write went is said elsewhere.
func gone(err error) error {
	var ex *modbus.ExceptionError
	if err == nil || errors.As(err, &ex) {
		return nil
	}
	return err
}

// rangeOf is the current of a way at full load.
func rangeOf(w *configs.Way) milliamps {
	return milliamps(configs.Milli(max(w.Rating[0], w.Rating[1], w.Rating[2])))
}
