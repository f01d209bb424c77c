package configs

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Bus is how a bus is spoken to. All that shares a url shares one.
type Bus struct {
	Baud   int           `mapstructure:"baud" doc:"Speed of the serial line in bit/s, 1200 to 115200. Default 9600."`
	Parity string        `mapstructure:"parity" doc:"Of the serial line: none, even or odd. Default none."`
	Stop   int           `mapstructure:"stop" doc:"Stop bits of the serial line, 1 or 2. Default 1."`
	Gap    time.Duration `mapstructure:"gap" doc:"Least pause between an answer and the next request, for devices that need one. At most 1s."`
	TLS    TLS           `mapstructure:"tls" doc:"Certificates of a tcp+tls:// url."`
}

// bauds are the speeds that a serial line may have.
var bauds = []int{1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200}

// Timeout returns how long an answer on the bus at url may take where the file
// does not say; on a serial line the time on the wire comes on top.
func Timeout(url string) time.Duration {
	if IsSerial(url) {
		return 300 * time.Millisecond
	}
	return time.Second
}

// Turnaround returns how long an answer usually takes, until it begins.
func Turnaround(url string) time.Duration {
	if IsSerial(url) {
		return 30 * time.Millisecond
	}
	return 5 * time.Millisecond
}

// IsSerial reports whether requests to a url go over a serial line.
func IsSerial(url string) bool {
	return strings.HasPrefix(url, "rtu:") || strings.HasPrefix(url, "rtuovertcp:")
}

// BusOf returns how the bus at url is spoken to: as the first of the file says
// that says anything.
func (c *Config) BusOf(url string) Bus {
	var b Bus
	c.eachBus(func(_, at string, given *Bus) {
		if at == url && b == (Bus{}) {
			b = *given
		}
	})
	if IsSerial(url) {
		if b.Baud == 0 {
			b.Baud = 9600
		}
		if b.Parity == "" {
			b.Parity = "none"
		}
		if b.Stop == 0 {
			b.Stop = 1
		}
	}
	return b
}

// eachBus visits every place of the file that names a bus.
func (c *Config) eachBus(visit func(path, url string, b *Bus)) {
	for i := range c.Meters {
		visit(fmt.Sprintf("meters[%d]", i), c.Meters[i].URL, &c.Meters[i].Bus)
	}
	for i := range c.Groups {
		if o := &c.Groups[i].Output; o.Kind == "modbus" {
			visit(fmt.Sprintf("groups[%d].output", i), o.URL, &o.Bus)
		}
		if o := &c.Groups[i].Backup; o.Kind == "modbus" {
			visit(fmt.Sprintf("groups[%d].backup", i), o.URL, &o.Bus)
		}
	}
}

// validateBuses checks addresses, and that all that shares one agrees on it.
func (c *Config) validateBuses(s *Source) {
	type place struct {
		path string
		bus  Bus
	}
	said := map[string]place{}
	c.eachBus(func(path, raw string, b *Bus) {
		if IsSPI(raw) && strings.HasPrefix(path, "meters") {
			return // has none of this
		}
		scheme := s.busURL(path+".url", raw)
		if *b != (Bus{}) {
			if first, ok := said[raw]; !ok {
				said[raw] = place{path, *b}
			} else if first.bus != *b {
				s.add(path+".bus", "%s has other settings for %s; one line can have only one", first.path, raw)
			}
		}
		at := path + ".bus"
		s.spanOf(at+".gap", b.Gap, 0, time.Second)
		if scheme == "" {
			return
		}
		if !IsSerial(raw) && (b.Baud != 0 || b.Parity != "" || b.Stop != 0) {
			s.add(at, "%s is no serial line and has no baud, parity and stop", raw)
		} else {
			if b.Baud != 0 && !slices.Contains(bauds, b.Baud) {
				s.add(at+".baud", "must be one of %s, not %d", strings.Trim(fmt.Sprint(bauds), "[]"), b.Baud)
			}
			if b.Parity != "" {
				s.oneOf(at+".parity", b.Parity, "none", "even", "odd")
			}
			if b.Stop != 0 {
				s.between(at+".stop", b.Stop, 1, 2)
			}
		}
		if t := c.BusOf(raw).TLS; scheme == "tcp+tls" && (t.CA == "" || t.Cert == "" || t.Key == "") {
			s.add(at+".tls", "tcp+tls:// is mutual: name the files ca, cert and key")
		}
		if scheme != "tcp+tls" && b.TLS != (TLS{}) {
			s.add(at+".tls", "only a tcp+tls:// url has certificates")
		}
	})
}

// busURL checks the address of a bus and returns its scheme, empty when there is
// something wrong with it.
func (s *Source) busURL(path, raw string) (scheme string) {
	u, err := url.Parse(raw)
	if err == nil && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		switch u.Scheme {
		case "tcp", "tcp+tls", "rtuovertcp":
			if u.Hostname() != "" && u.Port() != "" && (u.Path == "" || u.Path == "/") {
				return u.Scheme
			}
		case "rtu":
			if u.Host == "" && strings.HasPrefix(u.Path, "/") && len(u.Path) > 1 {
				return u.Scheme
			}
		}
	}
	s.add(path, "must be tcp://host:port, tcp+tls://host:port, rtuovertcp://host:port or rtu:///dev/name, not %q", raw)
	return ""
}

// unitOn checks a unit id: on a serial line 0 is everybody and 248 upwards is
// reserved.
func (s *Source) unitOn(path, url string, unit int) {
	if IsSerial(url) {
		s.between(path, unit, 1, 247)
		return
	}
	s.between(path, unit, 0, 255)
}
