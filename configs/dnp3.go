package configs

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// DNP3 is the outstation.
type DNP3 struct {
	Listen             string        `mapstructure:"listen" doc:"Address and port, such as 127.0.0.1:20000. Empty: there is no outstation. Beyond loopback it needs tls or allow."`
	Address            int           `mapstructure:"address" doc:"The outstation's link address. Default 1024."`
	TLS                TLS           `mapstructure:"tls" doc:"Mutual TLS: ca signed the masters' certificates."`
	Allow              []string      `mapstructure:"allow" doc:"Sources that may connect, as 192.0.2.0/24. Default: all, where tls is set."`
	Controls           bool          `mapstructure:"allow_plain_controls" doc:"Let masters with authority operate without TLS."`
	Periods            bool          `mapstructure:"half_hours" doc:"Half-hours as events of class 3, with the period's end as their time."`
	Masters            []Master      `mapstructure:"masters" doc:"Who may connect."`
	ConfirmTimeout     time.Duration `mapstructure:"confirm_timeout" doc:"How long the confirm of a response is waited for. Default 5s."`
	UnsolicitedTimeout time.Duration `mapstructure:"unsolicited_timeout" doc:"How long that of an unsolicited response is. Default 5s."`
	SelectTimeout      time.Duration `mapstructure:"select_timeout" doc:"How long a select is good for its operate. Default 10s."`
	KeepAlive          time.Duration `mapstructure:"keep_alive" doc:"After how long without a frame the master's link is asked for its status. Default 60s."`
	AlarmOwner         string        `mapstructure:"alarm_owner" doc:"Where alarms count that are on both: mqtt or dnp3. The other side has copies, marked as such. Default mqtt."`
	Owner              string        `mapstructure:"clock" doc:"Who sets the outstation's clock: host, as for all else here, or master, which is then only heard and never sets this machine's. Default host."`
}

// Master is a DNP3 master.
type Master struct {
	Address     int    `mapstructure:"address" doc:"Its link address."`
	Certificate string `mapstructure:"certificate" doc:"tls: the name in its certificate."`
	Unsolicited bool   `mapstructure:"unsolicited" doc:"Events are reported by themselves, once it enables that."`
	Authority   bool   `mapstructure:"authority" doc:"Its limits count as the centre's statement, and the heartbeat that it writes as the centre's. Without it the master may read only."`
}

// Issuer is the name under which a master's orders are decided and recorded.
func (m *Master) Issuer() string { return "dnp3:" + strconv.Itoa(m.Address) }

// issuers are the masters with authority.
func (d *DNP3) issuers() (ids []string) {
	if d.Listen == "" {
		return nil
	}
	for i := range d.Masters {
		if d.Masters[i].Authority {
			ids = append(ids, d.Masters[i].Issuer())
		}
	}
	return ids
}

// Where alarms count.
const (
	OnMQTT = "mqtt"
	OnDNP3 = "dnp3"
)

// Bounds of the outstation's times.
const (
	leastDNP3Timeout = 100 * time.Millisecond
	mostDNP3Timeout  = time.Hour
)

// Slots of the point list.
const (
	mostWaySlot   = 12
	mostGroupSlot = 16
	mostAddress   = 65519 // above are broadcasts and reserved addresses
)

func (c *Config) validateDNP3(s *Source) {
	d := &c.DNP3
	ways, groups := map[int]string{}, map[int]string{}
	for i, w := range c.Ways {
		s.slot(fmt.Sprintf("ways[%d].dnp3_slot", i), w.Slot, mostWaySlot, w.ID, ways)
	}
	for i, g := range c.Groups {
		s.slot(fmt.Sprintf("groups[%d].dnp3_slot", i), g.Slot, mostGroupSlot, g.ID, groups)
	}
	s.oneOf("dnp3.alarm_owner", d.AlarmOwner, OnMQTT, OnDNP3)
	s.oneOf("dnp3.clock", d.Owner, "host", "master")
	if d.Listen == "" {
		if d.AlarmOwner == OnDNP3 {
			s.add("dnp3.alarm_owner", "dnp3 without dnp3.listen: nobody would hear of an alarm that counts")
		}
		return
	}
	host, port, err := net.SplitHostPort(d.Listen)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		s.add("dnp3.listen", "must be address:port, such as 127.0.0.1:20000, not %q", d.Listen)
		return
	}
	secure := d.TLS != TLS{}
	if secure && (d.TLS.CA == "" || d.TLS.Cert == "" || d.TLS.Key == "") {
		s.add("dnp3.tls", "ca, cert and key belong together")
	}
	if !secure && !loopback(host) && len(d.Allow) == 0 {
		s.add("dnp3.listen", "%s is not loopback: the outstation needs tls, or allow with the sources that may connect", host)
	}
	for i, a := range d.Allow {
		if _, err := netip.ParsePrefix(a); err != nil {
			s.add(fmt.Sprintf("dnp3.allow[%d]", i), "must be a prefix such as 192.0.2.0/24 or 192.0.2.7/32, not %q", a)
		}
	}
	if d.Address < 0 || d.Address > mostAddress {
		s.add("dnp3.address", "must be 0 to %d, not %d", mostAddress, d.Address)
	}
	for _, t := range []struct {
		key   string
		value time.Duration
	}{{"confirm_timeout", d.ConfirmTimeout}, {"unsolicited_timeout", d.UnsolicitedTimeout}, {"select_timeout", d.SelectTimeout}, {"keep_alive", d.KeepAlive}} {
		if t.value < leastDNP3Timeout || t.value > mostDNP3Timeout {
			s.add("dnp3."+t.key, "must be %s to %s, not %s", leastDNP3Timeout, mostDNP3Timeout, t.value)
		}
	}
	if len(d.Masters) == 0 {
		s.add("dnp3.masters", "there is none; nobody could connect")
	}
	taken := map[int]bool{d.Address: true}
	for i, m := range d.Masters {
		at := fmt.Sprintf("dnp3.masters[%d]", i)
		if m.Address < 0 || m.Address > mostAddress {
			s.add(at+".address", "must be 0 to %d, not %d", mostAddress, m.Address)
		} else if taken[m.Address] {
			s.add(at+".address", "%d is taken: the outstation and each master have their own", m.Address)
		}
		taken[m.Address] = true
		if secure && m.Certificate == "" {
			s.add(at+".certificate", "with tls each master needs the name in its certificate")
		}
	}
}

// slot checks a place of the point list; taken holds who has it.
func (s *Source) slot(at string, slot, most int, id string, taken map[int]string) {
	switch other, there := taken[slot]; {
	case slot < 0 || slot > most:
		s.add(at, "must be 1 to %d, or 0 for no points, not %d", most, slot)
	case slot > 0 && there:
		s.add(at, "%d is the place of %s", slot, other)
	}
	taken[slot] = id
}
