package configs

import (
	"slices"
	"strings"
	"time"

	"lvagent/meter"
)

// Sparkplug says how the agent is a Sparkplug B edge node: its node id is site.id,
// each way is a device.
type Sparkplug struct {
	Group     string        `mapstructure:"group_id" doc:"Sparkplug group id, the second level of the topics: without + / #."`
	Host      string        `mapstructure:"host" doc:"Id of the primary host. While it is not online there are no births, and records stay in the store. Empty: births wait for nobody."`
	Issuer    string        `mapstructure:"issuer" doc:"In whose name commands of Sparkplug hosts are given; must be in failsafe.issuers, and be nobody else's. Empty: every command but a rebirth is refused."`
	Client    string        `mapstructure:"client_id" doc:"MQTT client id. Default site.id; with both, site.id with -sp at its end, since two sessions need two."`
	Volts     float64       `mapstructure:"deadband_v" doc:"Smallest move of a voltage that is sent, in V."`
	Share     float64       `mapstructure:"deadband_percent" doc:"Smallest move of I, P and Q that is sent, in % of the rating."`
	Heartbeat time.Duration `mapstructure:"heartbeat" doc:"Longest silence of a live metric, although nothing moves."`
}

// Values of uplink.payload.
const (
	PayloadJSON      = "json"
	PayloadSparkplug = "sparkplug"
	PayloadBoth      = "both"
)

func defaultSparkplug() Sparkplug {
	return Sparkplug{Group: "lvagent", Volts: 1, Share: 1, Heartbeat: 5 * time.Minute}
}

// SparkplugClient returns the client id of the Sparkplug session.
func (c *Config) SparkplugClient() string {
	switch s := &c.Uplink.Sparkplug; {
	case s.Client != "":
		return s.Client
	case c.Uplink.Payload == PayloadBoth:
		return c.Site.ID + "-sp"
	default:
		return c.Site.ID
	}
}

// SparkplugShare returns the deadband as a share.
func (s *Sparkplug) SparkplugShare() meter.PPM { return meter.PPM(Milli(s.Share) * 10) }

// validateSparkplug looks at what is used only: a site that speaks JSON needs none.
func (c *Config) validateSparkplug(s *Source) {
	s.oneOf("uplink.payload", c.Uplink.Payload, PayloadJSON, PayloadSparkplug, PayloadBoth)
	if c.Uplink.Payload == PayloadJSON {
		return
	}
	k := &c.Uplink.Sparkplug
	level := func(id string) bool {
		return id != "" && len(id) <= 64 && !strings.ContainsAny(id, "+/#\x00") && strings.ToValidUTF8(id, "") == id
	}
	if !level(k.Group) {
		s.add("uplink.sparkplug.group_id", "must be 1 to 64 octets without + / #, not %q", k.Group)
	}
	if k.Host != "" && !level(k.Host) {
		s.add("uplink.sparkplug.host", "must be at most 64 octets without + / #, not %q", k.Host)
	}
	if id := c.SparkplugClient(); !ValidID(id) {
		s.add("uplink.sparkplug.client_id", "must be 1 to 64 letters, digits, _ or -, not %q", id)
	} else if c.Uplink.Payload == PayloadBoth && id == c.Site.ID {
		s.add("uplink.sparkplug.client_id", "must not be site.id: with both there are two sessions, and two of one id throw each other out")
	}
	if k.Issuer != "" {
		if !slices.Contains(c.Failsafe.Issuers, k.Issuer) {
			s.add("uplink.sparkplug.issuer", "%s is not in failsafe.issuers", k.Issuer)
		}
		if slices.ContainsFunc(c.Uplink.Issuers, func(i Issuer) bool { return i.ID == k.Issuer && i.Key != "" }) {
			s.add("uplink.sparkplug.issuer", "%s signs its commands, and a Sparkplug command can't be signed; use an issuer of its own", k.Issuer)
		}
	}
	if !(k.Volts >= 0.1 && k.Volts <= 100) {
		s.add("uplink.sparkplug.deadband_v", "must be 0.1 to 100, not %v", k.Volts)
	}
	if !(k.Share >= 0.01 && k.Share <= 100) {
		s.add("uplink.sparkplug.deadband_percent", "must be 0.01 to 100, not %v", k.Share)
	}
	s.spanOf("uplink.sparkplug.heartbeat", k.Heartbeat, time.Second, 24*time.Hour)
}
