// Package configs is the site file: one struct, its defaults, how it is loaded
// and what makes it faulty.
//
// [Load] finds every fault of a file at once, each with its line and key path.
// It opens nothing but the file itself: whether a meter profile holds, a
// certificate can be read or a port is free is found by the agent when it is
// built, with the same kind of fault.
//
// The meter profiles that come with the agent are embedded in [Profiles].
package configs

import (
	"crypto/ed25519"
	"embed"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"lvagent/failsafe"
	"lvagent/meter"
)

// Profiles holds the meter profiles that come with the agent, as
// meters/<id>.yaml.
//
//go:embed meters/*.yaml
var Profiles embed.FS

// Config is the site file.
type Config struct {
	Site     Site     `mapstructure:"site" doc:"The substation."`
	Clock    Clock    `mapstructure:"clock" doc:"Where wall-clock time comes from."`
	Meters   []Meter  `mapstructure:"meters" doc:"The meters and how they are reached."`
	Ways     []Way    `mapstructure:"ways" doc:"The LV ways and which meter measures each."`
	Window   Window   `mapstructure:"window" doc:"The periods that are averaged."`
	Alarms   []Alarm  `mapstructure:"alarms" doc:"Thresholds and conditions, where they differ from the defaults."`
	Defaults bool     `mapstructure:"default_thresholds" doc:"Whether the thresholds that every site should have are there without being written; see docs/alarms.md. An entry of alarms for the same way, phase, quantity and kind replaces one."`
	Nuisance Nuisance `mapstructure:"nuisance" doc:"When alarms come too often, one by one or all together."`
	Recorder Recorder `mapstructure:"recorder" doc:"The flight recorder: every reading from around alarms, kept for somebody who asks later."`
	Journal  Journal  `mapstructure:"journal" doc:"Everything that the failsafe engine was told, kept so that lvagent replay can compute each decision again."`
	Live     Live     `mapstructure:"live" doc:"Real-time readings while an alarm stands."`
	Health   Health   `mapstructure:"health" doc:"When a part that is not well becomes an alarm."`
	Groups   []Group  `mapstructure:"groups" doc:"Charging groups: what one output limits."`
	EV       EV       `mapstructure:"ev" doc:"What is told of electric vehicles; see docs/ev.md."`
	Failsafe Failsafe `mapstructure:"failsafe" doc:"What holds when the centre is silent."`
	Supply   Supply   `mapstructure:"supply_points" doc:"Commands to customers by the number of their supply point (MPAN), which is personal data."`
	Buffer   Buffer   `mapstructure:"buffer" doc:"The store on disk."`
	Uplink   Uplink   `mapstructure:"uplink" doc:"The MQTT broker."`
	DNP3     DNP3     `mapstructure:"dnp3" doc:"The DNP3 outstation."`
	Page     Page     `mapstructure:"page" doc:"The local status page."`
	Metrics  Metrics  `mapstructure:"metrics" doc:"Numbers for Prometheus."`
	Log      Log      `mapstructure:"log" doc:"What is logged."`
}

// Site is the substation.
type Site struct {
	ID          string  `mapstructure:"id" doc:"Agent id: MQTT client id, topic level and certificate CN. Letters, digits, _ and -, at most 64."`
	Name        string  `mapstructure:"name" doc:"What people call it."`
	Transformer float64 `mapstructure:"transformer_kva" doc:"Rating of the transformer in kVA. With it the transformer is the pseudo-way TX: the sum of the ways, or what an incomer measures."`
	Firm        float64 `mapstructure:"firm_kva" doc:"Firm capacity in kVA, which charging must respect. Default the rating."`
	// One number for both directions: what a nearer customer sees is worse than
	// this says when the voltage is high, and better when it is low.
	BusbarOffset float64     `mapstructure:"busbar_offset_v" doc:"How far the busbar stands above the terminals that voltage limits are about, in V. It is taken off before comparing. Default 0: judged as if customers were at the busbar."`
	Timezone     string      `mapstructure:"timezone" doc:"Local time of the settlement period in each half-hour and of groups[].failsafe_profile, as Europe/London. Everything else is UTC."`
	Inputs       []Input     `mapstructure:"inputs" doc:"Digital inputs: a Local/Remote switch, mains fail, a door. See docs/inputs.md."`
	Thermal      Transformer `mapstructure:"transformer" doc:"How the transformer warms up. Used where transformer_kva is given."`
}

// FirmCurrent is the firm capacity as a current per phase, at the 415 V between
// lines at which transformers for LV networks are rated; 0 without a
// transformer.
func (s *Site) FirmCurrent() meter.Milliamps { return current(s.Firm) }

func current(kva float64) meter.Milliamps { return meter.Milliamps(kva * 1e6 / (415 * math.Sqrt(3))) }

// Clock is the source of wall-clock time.
type Clock struct {
	Source   string        `mapstructure:"source" doc:"kernel: ask the kernel whether time is synchronised. assume: take it as right, and say so in each record. Neither is believed before a time that was trusted once."`
	Holdover time.Duration `mapstructure:"holdover" doc:"How long a clock that was synchronised is still trusted without its source."`
}

// Meter is one meter on a bus. Meters with the same url share its connection.
type Meter struct {
	ID      string        `mapstructure:"id" doc:"Name of the meter."`
	URL     string        `mapstructure:"url" doc:"tcp://host:port or tcp+tls://host:port of a Modbus TCP server, rtu:///dev/name of a serial port, rtuovertcp://host:port of a gateway that passes RTU frames on, spi:///dev/spidevB.C of a metering front end."`
	Unit    int           `mapstructure:"unit" doc:"Modbus unit id, 0 to 255; on a serial line 1 to 247."`
	Bus     Bus           `mapstructure:"bus" doc:"How the bus is spoken to. One meter of each url says it."`
	Profile string        `mapstructure:"profile" doc:"Id of a shipped profile, or the path of a profile file (ends in .yaml). On an SPI bus ade9000."`
	Poll    time.Duration `mapstructure:"poll" doc:"How often it is read. Default 1s."`
	Timeout time.Duration `mapstructure:"timeout" doc:"How long an answer may take; on a serial line until it begins. Default 1s, on a serial line 300ms, at most the poll."`

	Writes []string `mapstructure:"writes" doc:"Settings of the meter that may be changed with lvagent meter set, by their names in its profile. Default none: nothing is ever written to it."`

	Calibration    string `mapstructure:"calibration" doc:"spi: calibration file of the board."`
	CalibrationKey string `mapstructure:"calibration_key" doc:"spi: file with the public ed25519 key (PEM) that the calibration file must be signed with; the signature is in <calibration>.sig. Default: it need not be signed."`
	Clock          int    `mapstructure:"clock_khz" doc:"spi: clock of the bus in kHz, 100 to 20000. Default 1000."`

	Turnaround time.Duration `mapstructure:"turnaround" doc:"How long the meter usually takes to answer, for the load of the bus. Default 5ms, on a serial line 30ms."`
}

// Way is one LV way.
type Way struct {
	ID           string    `mapstructure:"id" doc:"Name of the way in topics and records."`
	Name         string    `mapstructure:"name" doc:"What people call it."`
	Meter        string    `mapstructure:"meter" doc:"Id of the meter that measures it."`
	Role         string    `mapstructure:"role" doc:"feeder: it leads to customers. incomer: its meter measures the transformer itself, between it and the busbar; the readings of TX are then its, and the sum of the ways while it is silent. At most one; no group may hang on it. Default feeder."`
	Rating       PhaseAmps `mapstructure:"rating_a" doc:"Sustained rating in A: one number, or {L1: …, L2: …, L3: …}. Default of an incomer what site.firm_kva allows."`
	FailsafeMode string    `mapstructure:"failsafe_mode" doc:"What holds when the centre is lost. profile: the groups' failsafe limits. headroom: what was in force then, while the way is measured and below 80 % of its rating; after that the failsafe limits, and nothing above what was in force. Default profile."`
	Phases       []string  `mapstructure:"phases" doc:"The phases that the way has. Default all three."`

	Generation string     `mapstructure:"generation" doc:"none: nothing on the way ever feeds in. some: it may, also at night. unknown: by day it may. For lvagent wiring. Default unknown."`
	Sustained  SeasonAmps `mapstructure:"sustained_a" doc:"Sustained rating by season in A, where it is not the rating."`
	Cyclic     float64    `mapstructure:"cyclic_a" doc:"Rating in A for loads that rise and fall in a day; counts while the last seven days did. 0: none."`
	CyclicLoss float64    `mapstructure:"cyclic_loss_factor" doc:"Loss load factor that cyclic_a was worked out for. Default 0.5."`
	Cable      Cable      `mapstructure:"cable" doc:"How the cable warms up."`
	Fuse       Fuse       `mapstructure:"fuse" doc:"The fuse of the way."`

	// How the meter is connected to the way.
	Channel   int      `mapstructure:"channel" doc:"Which way of a meter that measures several, from 1. Default 1."`
	Invert    []string `mapstructure:"invert" doc:"Phases of the way whose current transformers are mounted the other way round: their P and Q change sign."`
	PhaseMap  []string `mapstructure:"phase_map" doc:"The phases of the way that the meter's first, second and third input are connected to. Default [L1, L2, L3]."`
	CT        float64  `mapstructure:"ct_ratio" doc:"Ratio of the current transformers, as 60 for 300/5. With a profile that applies it in the meter, what the meter must be set to; with any other value the way has no values. Default what the meter or the profile says."`
	VT        float64  `mapstructure:"vt_ratio" doc:"Ratio of voltage transformers, like ct_ratio."`
	NeutralCT float64  `mapstructure:"neutral_ct_ratio" doc:"Ratio of the neutral's own current transformer, like ct_ratio. Default ct_ratio."`
	Neutral   string   `mapstructure:"neutral" doc:"measured: by the meter. none: no transformer sits round the neutral; its current is derived from the phases, without third harmonics, and has no alarms. shared: the neutral is shared with other ways; its current is not known. Default measured if the profile has a register for it, else none."`

	Slot int `mapstructure:"dnp3_slot" doc:"Place of the way in the DNP3 point list, 1 to 12; it never changes. Default 0: it has no points."`

	Customers int `mapstructure:"customers" doc:"Customers on the way; with few of them readings are personal data and are kept for a short time only. Default 0: not known, taken as enough."`
}

// PhaseAmps is a current per phase in A. In the file it is one number or one
// per phase.
type PhaseAmps [meter.Phases]float64

// Window is how measurements are averaged.
type Window struct {
	Period  time.Duration `mapstructure:"period" doc:"30m on a site. Any divisor of an hour down to 10s for benches; every record is then flagged BENCH."`
	Digest  time.Duration `mapstructure:"digest" doc:"How much one digest of a way's records covers: 24h, a UTC day. A divisor of it, and a multiple of the period, for benches."`
	Partial float64       `mapstructure:"partial_below" doc:"Coverage in % below which a record is flagged PARTIAL."`
	Invalid float64       `mapstructure:"invalid_below" doc:"Coverage in % below which a record is flagged INVALID too."`
}

// Alarm is a threshold on one quantity of some ways, or one of the conditions
// that every way has.
type Alarm struct {
	Ways       []string      `mapstructure:"ways" doc:"Ids of the ways. Default all feeders, without TX; of a condition the incomer too."`
	Quantity   string        `mapstructure:"quantity" doc:"v, i, p, q or n (neutral current). None for a condition."`
	Phases     []string      `mapstructure:"phases" doc:"Phases. Default all of the way's; none for n and for a condition."`
	Kind       string        `mapstructure:"kind" doc:"hi, hihi, lo, lolo, rate; or the name of a condition: FUSE_SUSPECTED, PHASE_LOST, SUPPLY_LOST, EXPORT_OVERLOAD, REVERSE_POWER, NEUTRAL_RATIO, UNBALANCE, STALE, FROZEN, MEASUREMENT_FAULT."`
	Enabled    bool          `mapstructure:"enabled" doc:"false takes the alarm away, a default one too. Default true."`
	Threshold  float64       `mapstructure:"threshold" doc:"In V, A, W or var; of NEUTRAL_RATIO and UNBALANCE in per cent."`
	Hysteresis float64       `mapstructure:"hysteresis" doc:"How far back the value must come."`
	OnDelay    time.Duration `mapstructure:"on_delay" doc:"How long it must be beyond the threshold."`
	OffDelay   time.Duration `mapstructure:"off_delay" doc:"How long it must be back."`
	Mean       time.Duration `mapstructure:"mean" doc:"Compare the mean over each stretch of this length by the clock instead of each reading, like 10m."`
	Over       time.Duration `mapstructure:"over" doc:"rate: within which time the value may move by the threshold. Default 10s."`
	Severity   string        `mapstructure:"severity" doc:"event, warning, major or critical; an event starts no real-time readings. Default warning, major for hihi and lolo, or the condition's own."`
	Latch      bool          `mapstructure:"latch" doc:"A raise ends only when somebody has acknowledged it as well, by lvagent ack or cmd/ack."`
	Inhibit    []string      `mapstructure:"inhibit" doc:"Conditions of the same way and phase during which it is not raised. Default PHASE_LOST and SUPPLY_LOST for lo and lolo of v."`
}

// Nuisance says when alarms come too often to help anybody.
type Nuisance struct {
	ChatterRaises int           `mapstructure:"chatter_raises" doc:"Raises of one alarm within chatter_within after which it stays until it is stable; 2 to 8, 0 for never."`
	ChatterWithin time.Duration `mapstructure:"chatter_within" doc:"See chatter_raises."`
	ChatterStable time.Duration `mapstructure:"chatter_stable" doc:"How long a chattering alarm must be on one side to count as stable."`
	FloodRaises   int           `mapstructure:"flood_raises" doc:"More raises than this at the site within flood_within are a flood: they are marked, and ALARM_FLOOD is raised."`
	FloodWithin   time.Duration `mapstructure:"flood_within" doc:"See flood_raises."`
}

// Recorder is how the readings from around alarms are kept.
type Recorder struct {
	Enabled bool          `mapstructure:"enabled" doc:"Whether there is one."`
	MaxMB   int           `mapstructure:"max_mb" doc:"Most that it may take on disk, in MB; an eighth of it for ways with few customers."`
	Keep    time.Duration `mapstructure:"keep" doc:"Age at which readings are deleted."`
	Few     int           `mapstructure:"few_customers" doc:"A way with fewer customers than this has personal data: keep_few counts instead."`
	KeepFew time.Duration `mapstructure:"keep_few" doc:"Age at which readings of ways with few customers are deleted, and the journal of a site with such a way."`
	After   time.Duration `mapstructure:"after" doc:"How long readings are kept on after an alarm; from before it, those of live.before."`
	Every   time.Duration `mapstructure:"every" doc:"Shortest distance of the readings that are kept."`
}

// EV is what is told of electric vehicles on a way.
type EV struct {
	Enabled      bool `mapstructure:"enabled" doc:"Whether anything of it is computed and published on up/ev."`
	MinCustomers int  `mapstructure:"min_customers" doc:"Nothing is computed of a way with fewer customers, or with no number given: when somebody's car comes home is personal data. At least 5, and recorder.few_customers."`
}

// Journal is how what the failsafe engine was told is kept.
type Journal struct {
	Enabled bool          `mapstructure:"enabled" doc:"Whether there is one."`
	MaxMB   int           `mapstructure:"max_mb" doc:"Most that it may take on disk, in MB; some 4 MB a day with five ways."`
	Keep    time.Duration `mapstructure:"keep" doc:"Age at which it is deleted; recorder.keep_few, if that is less, on a site that has a way with few customers."`
}

// Live is what is published in real time while an alarm stands.
type Live struct {
	Heartbeat time.Duration `mapstructure:"heartbeat" doc:"Longest silence of a way, although nothing moves."`
	Before    time.Duration `mapstructure:"before" doc:"How far the readings from before an alarm reach back."`
	Tail      time.Duration `mapstructure:"tail" doc:"How long readings go on after the last clear."`
	Gap       time.Duration `mapstructure:"gap" doc:"Shortest mean distance of a way's readings."`
	PerSecond int           `mapstructure:"per_second" doc:"Readings a second of all ways together; the ways in alarm share them equally."`
	Burst     int           `mapstructure:"burst" doc:"Readings from before alarms that may go out at once; a tenth of per_second comes back each second."`
}

// Health is when a part that is not well becomes an alarm. What is wrong is
// published at once in any case.
type Health struct {
	OnDelay  time.Duration `mapstructure:"on_delay" doc:"How long a meter or a bus must have a fault."`
	OffDelay time.Duration `mapstructure:"off_delay" doc:"How long it must be without."`
}

// Group is a set of charge points that one output limits.
type Group struct {
	ID         string           `mapstructure:"id" doc:"Name of the group."`
	Way        string           `mapstructure:"way" doc:"Id of the way it hangs on."`
	Phases     []string         `mapstructure:"phases" doc:"Phases it draws from."`
	Rating     float64          `mapstructure:"rating_a" doc:"Most it can draw per phase, in A."`
	Failsafe   float64          `mapstructure:"failsafe_a" doc:"Limit per phase in A while the centre is silent. Default 6 A for each connector."`
	Profile    []FailsafePeriod `mapstructure:"failsafe_profile" doc:"When in the week the failsafe limit is another one than failsafe_a; of periods that meet the strictest counts. See docs/failsafe.md."`
	Connectors int              `mapstructure:"connectors" doc:"Number of charging connectors: the group's weight where a feeder is shared. Default 1."`
	Slot       int              `mapstructure:"dnp3_slot" doc:"Place of the group in the DNP3 point list, 1 to 16; it never changes. Default 0: it has no points."`
	Lockout    float64          `mapstructure:"lockout_a" doc:"Limit per phase in A while the group is locked out; never above its lowest failsafe limit. Default 0 for a contact, 6 A for each connector else."`
	Priority   bool             `mapstructure:"priority" doc:"Shed last: customers who depend on their supply."`
	Meter      string           `mapstructure:"meter" doc:"Id of the meter that measures what the group draws. Default none: what its operator reports (cmd/telemetry)."`
	Channel    int              `mapstructure:"channel" doc:"Which way of a meter that measures several, from 1. Default 1."`
	Output     Output           `mapstructure:"output" doc:"What carries the limit."`
	Backup     Output           `mapstructure:"backup" doc:"A second contact (coil or GPIO line) in series, which opens where the output does not obey and a limit is in force. Default none."`

	Schedule  []FailsafePeriod `mapstructure:"schedule" doc:"Standing capacity profile (weekly time blocks): what the group may draw with or without the centre, rating_a where no period is. See docs/control-models.md."`
	Shift     time.Duration    `mapstructure:"schedule_shift" doc:"How much later than written the periods of schedule are for this group, 0s to 12h. Default 0s."`
	Stagger   time.Duration    `mapstructure:"schedule_stagger" doc:"Falls of schedule come up to this much early and rises up to this much late, each group at its own time, 0s to 15m. Default 15m."`
	Amber     float64          `mapstructure:"amber_a" doc:"Limit per phase in A that its customers agreed to while the way's regime is amber or red. Default none."`
	Red       float64          `mapstructure:"red_a" doc:"The same while it is red. Default none."`
	Guarantee float64          `mapstructure:"min_a" doc:"A per phase that commands and the failsafe limit never go below, as 6 for each connector; overload protection and a person's override may. Not with a contact. Default 0: nothing is guaranteed."`
	OptIn     OptIn            `mapstructure:"opt_in" doc:"That the group's customers consented to requests of class commercial. Without it there are none; emergency and network limits are no requests."`
}

// OptIn is the entry of a group in the register of consents (R15).
type OptIn struct {
	By    string `mapstructure:"by" doc:"Who consented: the number of the contract or of the consent, no name of a person."`
	Since string `mapstructure:"since" doc:"The day from which on the consent holds, as 2026-04-01, in local time (site.timezone)."`
}

// Output is what carries a group's limit: a holding register that takes the
// limit, or a contact (coil or GPIO line) that closes at the group's full rating
// only.
type Output struct {
	Kind    string `mapstructure:"kind" doc:"modbus, gpio, or mqtt: a charge-point operator hears the setpoint from the broker (docs/failsafe.md)."`
	URL     string `mapstructure:"url" doc:"modbus: address of the controller, as of a meter."`
	Bus     Bus    `mapstructure:"bus" doc:"modbus: how the bus is spoken to, where no meter on it says so."`
	Unit    int    `mapstructure:"unit" doc:"modbus: unit id."`
	Holding int    `mapstructure:"holding" doc:"modbus: address of the holding register that takes the limit, 0-based."`
	Encode  string `mapstructure:"encode" doc:"modbus holding: percent (of the rating, 0 to 100), amps, or deciamps. Default percent."`
	Coil    int    `mapstructure:"coil" doc:"modbus: address of the coil that permits or curtails, 0-based, instead of holding."`
	Curtail int    `mapstructure:"curtail" doc:"modbus coil: the value that curtails, 0 or 1. Default 0."`
	Line    string `mapstructure:"line" doc:"gpio: chip:line, as gpiochip0:17 or by their names. LOW curtails."`

	Lease         time.Duration `mapstructure:"lease" doc:"modbus: after this time without a write the controller falls back by itself; 90s to 1h, since each output is written every 30 s. Default 0s: it can't, or does so without being told. mqtt: how long a setpoint is valid; it is sent again after a third of it. 90s to 1h, default 15m."`
	Latency       time.Duration `mapstructure:"latency" doc:"mqtt: how long the operator may take to carry a setpoint out and to confirm it; 10s to 1h, default 5m. Overload protection counts on nothing of it."`
	LeaseHolding  int           `mapstructure:"lease_holding" doc:"modbus: address of the holding register that takes the lease in seconds, 0-based."`
	LeaseFallback int           `mapstructure:"lease_fallback" doc:"modbus holding: address of the holding register of what it falls back to, 0-based; it gets failsafe_a in the encoding of the limit. Default none."`
}

// IsThere reports whether the file gives the output.
func (o *Output) IsThere() bool { return o.Kind != "" }

// Absent is an address that the file does not give.
const Absent = -1

// IsContact reports whether the output can only permit all or nothing.
func (o *Output) IsContact() bool { return o.Kind == "gpio" || o.Coil != Absent }

// Failsafe is what holds when the centre is silent.
type Failsafe struct {
	HeartbeatPeriod  time.Duration `mapstructure:"heartbeat_period" doc:"How often the centre sends heartbeats."`
	HeartbeatTimeout time.Duration `mapstructure:"heartbeat_timeout" doc:"Silence that means the centre is lost; at least 3.5 periods."`
	Stable           time.Duration `mapstructure:"stable" doc:"How long heartbeats must be back before a limit may rise."`
	Beats            int           `mapstructure:"beats" doc:"How many of the last of_beats expected heartbeats must have come."`
	OfBeats          int           `mapstructure:"of_beats" doc:"See beats."`
	Init             time.Duration `mapstructure:"init" doc:"After a start without centre and statement: failsafe."`
	EntrySpread      time.Duration `mapstructure:"entry_spread" doc:"Longest ramp down to the failsafe limit, drawn per site. Void for a group of which a phase is above 80 % or not measured."`
	RestorePeriod    time.Duration `mapstructure:"restore_period" doc:"Ramp from nothing to the rating while no phase is above 80 %."`
	RestoreSlow      float64       `mapstructure:"restore_slow_a" doc:"A per minute above that."`
	RestoreSpread    time.Duration `mapstructure:"restore_spread" doc:"Longest wait before the ramp starts, drawn per site."`
	Bumpless         time.Duration `mapstructure:"bumpless" doc:"Longest planned stop after which limits go on where they were."`
	WatchdogLine     string        `mapstructure:"watchdog_line" doc:"GPIO line chip:line that changes its level each second while decisions are made, for a retriggerable relay in series with the outputs; see docs/failsafe.md. Default none."`
	MinOff           time.Duration `mapstructure:"min_off" doc:"Shortest time for which overload protection holds a contact open."`
	Thermal          time.Duration `mapstructure:"thermal" doc:"Time constant of a way's thermal state: nothing is raised on a phase that is still warm."`
	Excursion        time.Duration `mapstructure:"excursion" doc:"How long a group must draw more than its limit, or its actuator read back more, until it counts towards a lockout. At least 10s."`
	Lockout          time.Duration `mapstructure:"lockout" doc:"How long a group is locked out that nobody acknowledges."`
	Issuers          []string      `mapstructure:"issuers" doc:"Who may send heartbeats and commands."`
	SilenceMost      time.Duration `mapstructure:"silence_most" doc:"Longest planned silence (cmd/silence) that suspends the timeout; 0s: none. At most 24h."`
	Autonomous       time.Duration `mapstructure:"autonomous_after" doc:"After how long in FAILSAFE a way goes its own way while it is measured: failsafe limits in peak hours only, overload protection always. 2h to 24h; 0s: never."`
	Peak             []PeakPeriod  `mapstructure:"autonomous_peak" doc:"Peak hours of AUTONOMOUS, in local time. Default every day 16:00 to 22:00."`
	RestartDead      time.Duration `mapstructure:"restart_dead" doc:"How long every group is idle after a loss of supply; at most 1h."`
	RestartSpread    time.Duration `mapstructure:"restart_spread" doc:"Longest further wait of a group after a loss of supply; each draws its own for each loss. At most 30m."`
	ProfileDate      string        `mapstructure:"profile_date" doc:"The day on which somebody last looked whether groups[].failsafe_profile still fits, as 2026-04-01; after 400 days there is the alarm PROFILE_OLD. Default the day on which the agent first used the profiles as they are."`
}

// Uplink is the MQTT session.
type Uplink struct {
	Broker     string        `mapstructure:"broker" doc:"tcp://host:port or ssl://host:port. Plain tcp is refused for a host that is not this machine unless allow_plain is set."`
	Brokers    []string      `mapstructure:"brokers" doc:"Several brokers instead of one, the preferred first. One at a time is connected."`
	AllowPlain bool          `mapstructure:"allow_plain" doc:"Permit tcp:// to another machine. For test networks."`
	TLS        TLS           `mapstructure:"tls" doc:"Certificates."`
	Prefix     string        `mapstructure:"prefix" doc:"Topic prefix; {agent} is the site's id."`
	Broadcast  string        `mapstructure:"broadcast" doc:"Topic of heartbeats for all agents; empty for none."`
	Payload    string        `mapstructure:"payload" doc:"json, sparkplug (Sparkplug B instead, with a weaker proof of delivery), or both."`
	KeepAlive  time.Duration `mapstructure:"keepalive" doc:"MQTT keep-alive."`
	Watchdog   time.Duration `mapstructure:"watchdog" doc:"Longest wait for an acknowledgement before the connection is dropped."`
	BackoffMin time.Duration `mapstructure:"backoff_min" doc:"Shortest pause before a new connection; jittered."`
	BackoffMax time.Duration `mapstructure:"backoff_max" doc:"Longest pause before a new connection."`
	Spread     time.Duration `mapstructure:"spread" doc:"Half-hours are sent up to this much after their end, each site at its own time, the same every day; shorter in proportion for a shorter window.period. Alarms never wait. 0s: at once."`
	Issuers    []Issuer      `mapstructure:"issuers" doc:"Keys of those who send commands, and who may only report."`
	Backlog    int           `mapstructure:"backlog_rate" doc:"Late half-hours and history, at most so many messages a second; 0: as fast as they go."`
	Selftest   time.Duration `mapstructure:"selftest" doc:"How long a message to the agent itself may take to come back from the broker; 0s: none is sent."`
	MaxAge     time.Duration `mapstructure:"max_age" doc:"Longest life of a connection, give or take a tenth."`
	Failover   int           `mapstructure:"failover_after" doc:"Failures in a row after which the next of brokers is tried."`
	Sparkplug  Sparkplug     `mapstructure:"sparkplug" doc:"The agent as a Sparkplug B edge node, where payload says so."`
	Failback   time.Duration `mapstructure:"failback" doc:"How long until the first of brokers is looked for again, up to half as much more."`
}

// Issuer is somebody who sends commands. One that is not in failsafe.issuers may
// report (cmd/telemetry) and nothing else.
type Issuer struct {
	ID  string `mapstructure:"id" doc:"The issuer in commands."`
	Key string `mapstructure:"key" doc:"Its public ed25519 key, 32 octets in base64. With a key each command of the issuer must be signed; without, the broker's access list is its authority."`
}

// IssuerKeys returns the public keys by issuer.
func (u *Uplink) IssuerKeys() map[string]ed25519.PublicKey {
	keys := map[string]ed25519.PublicKey{}
	for _, i := range u.Issuers {
		if key, err := base64.StdEncoding.DecodeString(i.Key); err == nil && len(key) == ed25519.PublicKeySize {
			keys[i.ID] = key
		}
	}
	return keys
}

// All returns the brokers in order.
func (u *Uplink) All() []string {
	if len(u.Brokers) > 0 {
		return u.Brokers
	}
	return []string{u.Broker}
}

// Secure reports whether any broker is reached over TLS.
func (u *Uplink) Secure() bool {
	return slices.ContainsFunc(u.All(), func(b string) bool { return strings.HasPrefix(b, "ssl://") })
}

// TLS names the files of a mutual TLS session.
type TLS struct {
	CA   string `mapstructure:"ca" doc:"File with the CA certificates of the far end."`
	Cert string `mapstructure:"cert" doc:"File with the agent's certificate; to the broker, its CN is site.id."`
	Key  string `mapstructure:"key" doc:"File with the agent's key."`
}

// Page is the local status page.
type Page struct {
	Listen   string        `mapstructure:"listen" doc:"Address, such as 127.0.0.1:8080 or that of the maintenance port. Empty: there is no page. Beyond loopback it needs cert, key and accounts."`
	Cert     string        `mapstructure:"cert" doc:"File with the page's certificate; read again for each connection."`
	Key      string        `mapstructure:"key" doc:"File with its key."`
	Names    []string      `mapstructure:"names" doc:"Names by which the page may be opened, besides addresses and localhost."`
	Accounts []PageAccount `mapstructure:"accounts" doc:"Who may see the page. None: whoever is on this machine, and nobody may change anything."`
}

// PageAccount is a person who may see the status page.
type PageAccount struct {
	Name   string `mapstructure:"name" doc:"As it stands in the audit records."`
	Role   string `mapstructure:"role" doc:"viewer looks; operator overrides and acknowledges too."`
	Secret string `mapstructure:"secret" doc:"What lvagent password printed for the password."`
}

// Metrics are numbers for Prometheus.
type Metrics struct {
	Listen string `mapstructure:"listen" doc:"Address on loopback, such as 127.0.0.1:9464, with /metrics. Empty: there are none."`
}

// Log is what is logged.
type Log struct {
	Level  string `mapstructure:"level" doc:"debug, info, warn or error."`
	Format string `mapstructure:"format" doc:"auto (JSON under systemd, else text), json or text."`
}

// Default returns the settings of a site before its file is read.
func Default() Config {
	t := failsafe.DefaultTimers()
	return Config{
		Site:   Site{Timezone: "Europe/London", Thermal: defaultTransformer()},
		Clock:  Clock{Source: "kernel", Holdover: 24 * time.Hour},
		Window: Window{Period: halfHour, Digest: 24 * time.Hour, Partial: 98, Invalid: 90},
		Failsafe: Failsafe{
			HeartbeatPeriod: t.HeartbeatPeriod, HeartbeatTimeout: t.HeartbeatTimeout, Stable: t.Stable,
			Beats: t.Beats, OfBeats: t.OfBeats, Init: t.Init, EntrySpread: t.EntrySpread,
			RestorePeriod: t.RestorePeriod, RestoreSlow: float64(t.RestoreSlow) / 1000, RestoreSpread: t.RestoreSpread, Bumpless: t.Bumpless, MinOff: t.MinOff, Thermal: t.Thermal,
			RestartDead: t.RestartDead, RestartSpread: t.RestartSpread, Excursion: t.Excursion, Lockout: t.Lockout, SilenceMost: t.SilenceMost,
		},
		Supply: Supply{Keep: 400 * 24 * time.Hour},
		Buffer: Buffer{
			Path: "/var/lib/lvagent", MaxMB: 256, Endurance: 10,
			Limits: BufferLimits{HalfHours: 250_000, Alarms: 50_000, Control: 20_000, Live: 100_000, Audit: 100_000},
			Keep:   BufferKeep{HalfHours: 400, Alarms: 400, Control: 90, Live: 7, Audit: 400},
		},
		Uplink: Uplink{
			Prefix: "lv/v1/{agent}", Broadcast: "lv/v1/_all/cmd/heartbeat", Payload: "json", KeepAlive: 15 * time.Second,
			Watchdog: 30 * time.Second, BackoffMin: time.Second, BackoffMax: 60 * time.Second, Spread: mostSpread,
			Sparkplug: defaultSparkplug(), Backlog: 20, Selftest: 10 * time.Second, MaxAge: 24 * time.Hour, Failover: 3, Failback: 30 * time.Minute,
		},
		DNP3: DNP3{Address: 1024, Owner: "host", AlarmOwner: OnMQTT, ConfirmTimeout: 5 * time.Second, UnsolicitedTimeout: 5 * time.Second,
			SelectTimeout: 10 * time.Second, KeepAlive: time.Minute},
		Log:      Log{Level: "info", Format: "auto"},
		Health:   Health{OnDelay: 30 * time.Second, OffDelay: 10 * time.Second},
		Defaults: true,
		Nuisance: Nuisance{ChatterRaises: 3, ChatterWithin: time.Minute, ChatterStable: 5 * time.Minute, FloodRaises: 10, FloodWithin: 10 * time.Minute},
		Recorder: Recorder{Enabled: true, MaxMB: 32, Keep: 28 * 24 * time.Hour, Few: 5, KeepFew: 24 * time.Hour, After: 5 * time.Minute, Every: time.Second},
		EV:       EV{MinCustomers: 10},
		Journal:  Journal{Enabled: true, MaxMB: 64, Keep: 14 * 24 * time.Hour},
		Live:     Live{Heartbeat: 10 * time.Second, Before: time.Minute, Tail: time.Minute, Gap: time.Second, PerSecond: 10, Burst: 600},
	}
}

// halfHour is the period of a real site.
const halfHour = 30 * time.Minute

// Bench reports whether the periods are not those of a site, so that every
// record must say so.
func (c *Config) Bench() bool { return c.Window.Period != halfHour }

// Fault is one thing wrong with a file. Line is 0 where the fault is that
// something is not there at all.
type Fault struct {
	File, Path, Message string
	Line                int
}

// String prints the fault as an editor can jump to it.
func (f Fault) String() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	if f.Path == "" {
		return at + ": " + f.Message
	}
	return at + ": " + f.Path + ": " + f.Message
}
