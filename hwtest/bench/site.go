package bench

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"
)

// Site is what a site file for the agent is made of, besides the world.
type Site struct {
	Agent  string // site id, agent id and MQTT client id
	Store  string // folder of the agent's store
	Meters string // tcp://host:port
	Broker string // host:port
	Issuer string
	Window time.Duration
	Digest time.Duration // what a digest covers; 0: the agent's default
	DNP3   string        // where the outstation listens, for a master 1 with authority; empty: there is none
	Page   string        // where the agent's status page listens; empty: it has none
	Timers Timers
}

// Timers are the timers of a site file that a bench shortens. The spread of a
// fleet's entry into failsafe is always off: one substation steps no fleet.
type Timers struct {
	HeartbeatPeriod  time.Duration
	HeartbeatTimeout time.Duration
	Stable           time.Duration // how long heartbeats must be back
	Init             time.Duration // longest wait for the centre after a start
	RestorePeriod    time.Duration // from nothing to the rating
	BackoffMax       time.Duration // longest pause between attempts to reach the broker
}

// The parts of the site file, with the agent's own key names.
type (
	siteFile struct {
		Site     siteKeys     `yaml:"site"`
		Clock    clockKeys    `yaml:"clock"`
		Window   windowKeys   `yaml:"window"`
		Meters   []meterKeys  `yaml:"meters"`
		Ways     []wayKeys    `yaml:"ways"`
		Groups   []groupKeys  `yaml:"groups"`
		Alarms   []alarmKeys  `yaml:"alarms"`
		Buffer   bufferKeys   `yaml:"buffer"`
		Uplink   uplinkKeys   `yaml:"uplink"`
		Failsafe failsafeKeys `yaml:"failsafe"`
		Page     pageKeys     `yaml:"page"`
		DNP3     *dnp3Keys    `yaml:"dnp3,omitempty"`
	}
	siteKeys struct {
		ID   string  `yaml:"id"`
		Name string  `yaml:"name"`
		KVA  float64 `yaml:"transformer_kva"`
	}
	clockKeys  struct{ Source string }
	windowKeys struct {
		Period string
		Digest string `yaml:",omitempty"`
	}
	meterKeys struct {
		ID, URL string
		Unit    uint8
		Profile string
		Poll    string
		// The bench answers at once, also for a hundred meters on one bus.
		Turnaround string
	}
	wayKeys struct {
		ID, Name, Meter string
		Rating          float64 `yaml:"rating_a"`
		Slot            int     `yaml:"dnp3_slot"`
	}
	groupKeys struct {
		ID, Way    string
		Phases     []string `yaml:",flow"`
		Rating     float64  `yaml:"rating_a"`
		Failsafe   float64  `yaml:"failsafe_a"`
		Connectors int
		Slot       int        `yaml:"dnp3_slot"`
		Output     outputKeys `yaml:",flow"`
	}
	outputKeys struct {
		Kind, URL string
		Unit      uint8
		Holding   uint16
		Encode    string
	}
	alarmKeys struct {
		Ways       []string `yaml:",flow"`
		Quantity   string
		Phases     []string `yaml:",flow"`
		Kind       string
		Threshold  float64
		Hysteresis float64
		OnDelay    string `yaml:"on_delay"`
		OffDelay   string `yaml:"off_delay"`
	}
	bufferKeys struct{ Path string }
	uplinkKeys struct {
		Broker, Payload string
		BackoffMax      string `yaml:"backoff_max"`
	}
	failsafeKeys struct {
		HeartbeatPeriod  string   `yaml:"heartbeat_period"`
		HeartbeatTimeout string   `yaml:"heartbeat_timeout"`
		Stable           string   `yaml:"stable"`
		Init             string   `yaml:"init"`
		EntrySpread      string   `yaml:"entry_spread"`
		RestorePeriod    string   `yaml:"restore_period"`
		RestoreSlow      float64  `yaml:"restore_slow_a"`
		RestoreSpread    string   `yaml:"restore_spread"`
		Issuers          []string `yaml:",flow"`
	}
	pageKeys struct{ Listen string }
	dnp3Keys struct {
		Listen    string
		HalfHours bool `yaml:"half_hours"`
		Plain     bool `yaml:"allow_plain_controls"`
		Masters   []masterKeys
	}
	masterKeys struct {
		Address                int
		Unsolicited, Authority bool
	}
)

// The alarms of a site: the hysteresis is in A; the delays are those of a bench,
// where an evening passes in a minute.
const (
	AlarmHysteresis = 6
	AlarmOnDelay    = 2 * time.Second
	AlarmOffDelay   = 2 * time.Second
)

const restoreSlow = 60 // A per minute, twenty times a site's

// File returns the site file of w for the agent.
func (s *Site) File(w *World) ([]byte, error) {
	digest := ""
	if s.Digest > 0 {
		digest = s.Digest.String()
	}
	f := siteFile{
		Site:   siteKeys{ID: s.Agent, Name: "Bench substation", KVA: w.Firm},
		Clock:  clockKeys{Source: "assume"},
		Window: windowKeys{Period: s.Window.String(), Digest: digest},
		Buffer: bufferKeys{Path: s.Store},
		Uplink: uplinkKeys{Broker: "tcp://" + s.Broker, Payload: "json", BackoffMax: s.Timers.BackoffMax.String()},
		Page:   pageKeys{s.Page},
		Failsafe: failsafeKeys{
			HeartbeatPeriod:  s.Timers.HeartbeatPeriod.String(),
			HeartbeatTimeout: s.Timers.HeartbeatTimeout.String(),
			Stable:           s.Timers.Stable.String(),
			Init:             s.Timers.Init.String(),
			EntrySpread:      "0s", RestoreSpread: "0s",
			RestorePeriod: s.Timers.RestorePeriod.String(),
			RestoreSlow:   restoreSlow,
			Issuers:       []string{s.Issuer},
		},
	}
	if s.DNP3 != "" {
		f.DNP3 = &dnp3Keys{Listen: s.DNP3, HalfHours: true, Plain: true, Masters: []masterKeys{{Address: 1, Unsolicited: true, Authority: true}}}
	}
	for i, way := range w.Ways {
		name := fmt.Sprintf("m%d", way.Unit)
		f.Meters = append(f.Meters, meterKeys{
			ID: name, URL: s.Meters, Unit: way.Unit, Profile: "eastron-sdm630", Poll: "1s", Turnaround: "1ms",
		})
		f.Ways = append(f.Ways, wayKeys{ID: way.ID, Name: way.Name, Meter: name, Rating: way.Rating, Slot: i + 1})
		f.Alarms = append(f.Alarms, alarmKeys{
			Ways: []string{way.ID}, Quantity: "i", Phases: []string{"L1", "L2", "L3"}, Kind: "hi",
			Threshold: way.AlarmAt, Hysteresis: AlarmHysteresis, OnDelay: AlarmOnDelay.String(), OffDelay: AlarmOffDelay.String(),
		})
	}
	for i, g := range w.Groups {
		keys := groupKeys{
			ID: g.ID, Way: w.Ways[g.Way].ID, Rating: g.Rating, Failsafe: g.Failsafe, Connectors: g.Connectors, Slot: i + 1,
			Output: outputKeys{Kind: "modbus", URL: s.Meters, Unit: g.Unit, Holding: g.Holding, Encode: "percent"},
		}
		for _, p := range g.Phases {
			keys.Phases = append(keys.Phases, p.String())
		}
		f.Groups = append(f.Groups, keys)
	}
	text, err := yaml.Marshal(&f)
	if err != nil {
		return nil, fmt.Errorf("write site file of %s: %w", s.Agent, err)
	}
	return append([]byte("# Written by lvbench: a simulated substation. Every timer is shortened.\n"), text...), nil
}
