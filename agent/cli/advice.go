package cli

// advice is what a code most likely comes from and what to do next.
type advice struct{ cause, next string }

// advices has every code that health points and alarms of the site, of meters,
// buses, outputs and links say. A code of a way's supply (PHASE_LOST and the
// like) is the network's and not a fault of the agent's; it is in docs/alarms.md.
var advices = map[string]advice{
	"METER_OFFLINE":   {"the meter has no supply, its address or unit is another, or its line is open", "look at the meter's display and link light; then lvagent probe with its url and unit"},
	"METER_EXCEPTION": {"the meter refuses the registers: another model or firmware than the profile's", "compare the meter's type plate with lvagent profile list; lvagent probe --profile"},
	"METER_BAD_FRAME": {"two devices with one address, no termination or bias on RS-485, A and B exchanged, or another baud rate", "check wiring, 120 ohm at both ends and only there; then lvagent scan on the bus"},
	"METER_INVALID":   {"the meter says itself that it has no value, or a value no feeder can have", "check that its voltage inputs and CTs are connected; lvagent probe shows the raw registers"},
	"METER_MISMATCH":  {"another meter than the profile's, or another CT ratio is set in it than in the site file", "read the detail: correct the ratio in the meter or in the site file, whichever is wrong on the label of the CT"},
	"METER_FROZEN":    {"the meter's own measurement has stopped, or the gateway answers for it", "power-cycle the meter; look for a cache in the gateway"},
	"BUS_DOWN":        {"no connection to the gateway, or the serial device is gone", "ping the gateway; ls -l the device; cable and power"},
	"BUS_SILENT":      {"connected, and no meter on the bus answers: gateway's serial side, speed, or power of the meters", "compare baud rate and parity at both ends; lvagent scan"},
	"BUS_BUSY":        {"the bus has no time for what was asked", "raise poll of its meters, or its baud rate; lvagent check computes the load"},

	"NOT_CONNECTED":        {"no way to the broker: modem, APN, firewall, name, or the broker is down", "lvagent status shows the last error; openssl s_client -connect BROKER says whether TLS gets through"},
	"UPLINK_SELFTEST":      {"the broker takes messages and does not deliver them: its access list lacks this agent", "compare the broker's ACL with docs/acl; client id and certificate CN must be site.id"},
	"DUPLICATE_CLIENT":     {"another device connects with this agent's id", "look for a copied site file; each site.id is one RTU"},
	"CERTIFICATE_DUE":      {"the certificate ends within a month", "lvagent enrol"},
	"CERTIFICATE_EXPIRING": {"the certificate ends within a week; then there is no connection", "lvagent enrol, today"},

	"CLOCK_UNSYNCED":    {"no time source since the start, so records wait for their dates", "chronyc sources: is the NTP server reachable from here?"},
	"CLOCK_HOLDOVER":    {"the time source was lost", "chronyc sources: is the NTP server reachable from here?"},
	"CLOCK_STEP":        {"the clock jumped", "chronyc tracking; a step after a long outage is nothing, one a day is a fault"},
	"CLOCK_BELOW_FLOOR": {"the clock shows a time before one that was trusted: the RTU's clock battery", "set the time or restore NTP; change the battery"},

	"STORE_FAILING":    {"the disk is full, worn out or read-only", "df, dmesg; measuring and curtailing go on, records wait in memory"},
	"STORE_REPLACED":   {"the store was damaged and set aside; what could be read was carried over", "send the set-aside folder with lvagent's log to the office; up/gap says what is missing"},
	"RECORDER_FAILING": {"the flight recorder can't write", "df, dmesg"},
	"STATE_LOST":       {"the failsafe state was damaged or of another site; every group started at its failsafe limit", "nothing on site; it ends with the centre's next statement"},

	"ACTUATOR_UNREACHED":  {"the output can't be written: controller without supply, its link, or its address", "the group counts as load that can't be shed; check the controller, then lvagent why"},
	"ACTUATOR_PERMISSIVE": {"the controller reads back more than it was told: somebody else writes to it, or it was restarted", "find out who else controls it; the agent writes again every 30 s"},

	"CT_REVERSED":       {"a current transformer points the other way", "lvagent wiring says which leads to exchange, or set invert"},
	"RATIO_WRONG":       {"a CT ratio differs from the label", "lvagent wiring"},
	"MAP_INVALID":       {"somebody said that the way is not supplied as usual", "lvagent topology ends it when it is again"},
	"ALARM_FLOOD":       {"many alarms at once from one cause", "look at the first of them in lvagent status"},
	"THERMAL_LIMIT":     {"cable, fuse or transformer is as warm as it may be", "lvagent loading; charging is held down already, what remains is other load"},
	"FIRM_CAPACITY":     {"the demand of a half-hour was above 110 % of firm capacity", "tell planning; lvagent loading has the figures"},
	"SETTING_NOT_TAKEN": {"the meter answered and kept its old value", "unlock it at its keys; lvagent meter list"},
	"SETTING_REFUSED":   {"the meter refused the setting", "lvagent meter list says what it allows"},
	"SETTING_UNSURE":    {"the line was lost between writing and reading back", "lvagent meter list reads what is set now"},
	"SETTING_UNDER_WAY": {"a setting is being written", "wait a minute"},
	"HEARTBEAT_LOST":    {"the centre is silent: failsafe limits apply", "nothing on site, if the broker is connected; else see NOT_CONNECTED"},
	"MEASUREMENT_FAULT": {"values of the way contradict each other", "lvagent wiring"},
	"STALE":             {"no reading for too long", "see the meter's own point"},
	"FROZEN":            {"readings are the same bit for bit", "see the meter's own point"},
	"SUPPLY_LOST":       {"no voltage on any phase of the way", "the network's: is the way switched off?"},
	"PHASE_LOST":        {"one phase is dead while others live", "the network's: a blown fuse, or a voltage lead off the meter"},
	"FUSE_SUSPECTED":    {"a phase carried load and stopped with the signs of a blown fuse", "test the fuse; lvagent ack when it is changed"},
	"REVERSE_POWER":     {"the way feeds back", "the network's: generation, or a back-feed; if never before, lvagent wiring"},
	"EXPORT_OVERLOAD":   {"generation beyond the rating", "the network's: tell the control room"},
	"NEUTRAL_RATIO":     {"the neutral carries more than its share", "the network's: uneven phases, or harmonics"},
	"UNBALANCE":         {"the voltages are uneven", "the network's; a bad neutral joint shows like this: report it"},
}
