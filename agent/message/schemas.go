package message

import "lvagent/meter"

// heading is what every message of the agent begins with.
var heading = []field{
	has("v", node{kind: "integer", limits: &limits{version, version}}, "version of the contract"),
	has("agent", text(), "the agent's id"),
}

var aWay = has("way", text(), "the way's id")

// stored are the fields of what has a number.
func stored(fields ...field) node {
	return object(join([]field{
		has("g", count(), "generation of the store"),
		has("s", text(), "stream; drop what comes twice by (agent, g, s, n)"),
		has("n", node{kind: "integer", limits: &limits{1, maxCount}}, "number in the stream: 1, 2, 3"),
		may(corrupt, truth(), "the record was damaged in the store; its number is all that is left"),
		may("salvaged", object(
			has("g", count(), "generation of the store that broke"),
			has("n", count(), "number that it had there"),
		), "carried over from a store that broke: who has that number has this record"),
	}, heading, fields)...)
}

// kept are the fields of what is retained or passes by, without a number.
func kept(fields ...field) node { return object(join(heading, fields)...) }

func phases(of node, doc string) []field {
	var all []field
	for p := range meter.Phase(meter.Phases) {
		all = append(all, has(p.String(), of, doc))
	}
	return all
}

func rms(unit string, withTime bool) node {
	fields := []field{
		has("rms", number(), unit+"; root of the time-weighted mean of squares"),
		has("mean", number(), unit+"; time-weighted mean"),
		has("min", number(), unit+"; smallest reading"),
		has("max", number(), unit+"; largest reading"),
	}
	if withTime {
		fields = append(fields, has("max_t", orNull(when()), "when the largest was read"))
	}
	return object(fields...)
}

func power(unit, in, out string) node {
	return object(
		has("mean", number(), unit+"; time-weighted, signed"),
		has("min", number(), unit),
		has("max", number(), unit),
		has("import", number(), unit+"; mean of the positive part: "+in),
		has("export", number(), unit+"; mean of the negative part, as a positive number: "+out),
	)
}

var clockNames = one(meter.Synced.String(), meter.Holdover.String(), meter.Assumed.String(), meter.Unsynced.String())

func halfHourSchema() node {
	return stored(join([]field{
		aWay,
		has("rev", count(), "revision: of one (agent, way, start) the highest counts"),
		has("start", when(), "begin of the period, UTC"),
		has("end", when(), "its end, not included"),
		has("coverage", number(), "share of the period with a valid value on every phase, 0 to 1"),
		has("expected", count(), "polls that fit into the period"),
		has("samples", count(), "polls with a complete reading"),
		has("bad", count(), "polls without one"),
		has("held_s", number(), "s of the coverage that come from values past their poll"),
		may("sp", count(), "settlement period in the site's local day, from 1; half-hours only"),
		has("flags", list(known(meter.AllFlags.Names()...)), "remarks"),
		has("clock", clockNames, "worst state of the clock over the period"),
	}, phases(orNull(object(
		has("v", rms("V", false), "voltage to neutral"),
		has("i", rms("A", true), "current"),
		has("p", power("W", "away from the substation", "towards it"), "active power"),
		has("q", power("var", "inductive", "capacitive"), "reactive power"),
	)), "a phase; null: no complete reading of it"), []field{
		has("T", orNull(object(
			has("p", number(), "W"), has("q", number(), "var"), has("s", number(), "VA, from P and Q"),
			has("pf", number(), "P over S, without sign; 0 where S is 0"),
			has("kwh_import", number(), "kWh away from the substation"),
			has("kwh_export", number(), "kWh towards it"),
		)), "the phases together; null: never complete together"),
		has("N", orNull(object(
			has("i", rms("A", false), "current"),
			has("derived", truth(), "computed from the phases"),
		)), "neutral; null: neither measured nor derived"),
	})...)
}

func alarmFields(more ...field) []field {
	return join([]field{
		has("id", text(), "WAY.PHASE.QUANTITY.KIND, or WAY.CONDITION"),
		has("quantity", orNull(known("v", "i", "p", "q", "n", "n_ratio", "vuf")), "null: a condition that measures nothing"),
		has("phase", orNull(text()), "L1, L2, L3; null: of none"),
		has("kind", text(), "hi, lo, or the condition's name"),
		has("edge", one(meter.Raise.String(), meter.Clear.String()), "it came, or it went"),
		has("t", when(), "when"),
		has("value", orNull(number()), "at the edge; V, A, W, var, or per cent"),
		has("threshold", orNull(number()), "in the same unit"),
		has("severity", known(meter.Event.String(), meter.Warning.String(), meter.Major.String(), meter.Critical.String()), ""),
		has("peak", orNull(number()), "the worst so far"),
		has("peak_t", orNull(when()), "when"),
		has("duration_s", orNull(number()), "s that it stood; null until it cleared"),
		has("restored", truth(), "it stood across a restart"),
		has("count", count(), "occurrences that this raise stands for"),
		has("latch", truth(), "it stays until somebody acknowledges it"),
		has("acked_by", orNull(text()), "who did"),
		may("point", count(), "the DNP3 binary input that has the same edge, with the same time to the millisecond"),
	}, more, []field{
		has("flags", list(known("QUESTIONABLE", "CHATTERING", "FLOOD", "OUT_OF_SERVICE", "DUPLICATE")), "remarks"),
	})
}

func reading() []field {
	return append(phases(object(
		has("v", orNull(number()), "V"), has("i", orNull(number()), "A"),
		has("p", orNull(number()), "W"), has("q", orNull(number()), "var"),
	), "a phase; null: not known"),
		has("N", object(has("i", orNull(number()), "A")), "neutral"))
}

func capacitySchema() node {
	apparent := orNull(object(has("kva", number(), "kVA"), has("start", when(), "of its period")))
	day := object(append([]field{
		has("start", orNull(when()), "UTC"),
		has("load_factor", orNull(number()), "mean over highest import"),
		has("loss_load_factor", orNull(number()), "of the worst phase"),
		has("loss_load_factor_7d", orNull(number()), "over seven days"),
		has("cyclic_earned", truth(), "the cyclic rating may be used"),
		has("peak", apparent, "highest period"),
	}, may("L1", highest(), "highest rms of a period"), may("L2", highest(), ""), may("L3", highest(), ""))...)
	way := object(join([]field{
		aWay, has("season", text(), "that the ratings are of"),
	}, phases(orNull(object(
		has("i", number(), "A, rms of the last minute"), has("limit_a", number(), "A"),
		has("basis", text(), "what sets the limit: sustained, cyclic, fuse, firm"),
		has("percent", number(), "current over limit"), has("free_a", number(), "A that are left"),
		has("theta", number(), "heat; 1 is what may be for ever"), has("by", text(), "the model that says so"),
		has("to_limit_s", orNull(integer()), "s until theta is 1 at this current; null: never"),
	)), "a phase; null: there is none, or it is not known"), []field{
		has("flags", list(known("LOAD_ASSUMED", "WARM_START", "AMBIENT_ASSUMED")), "remarks"),
		may("transformer", object(
			has("ambient_c", number(), "°C"), has("top_oil_c", number(), "°C"), has("hot_spot_c", number(), "°C"),
			has("ageing", number(), "relative to 98 °C"), has("aged_h", number(), "h of life used"),
		), "the transformer's heat"),
		has("day", day, "the running day"),
		may("firm", object(
			has("kva", number(), "kVA, firm capacity"),
			has("last", apparent, "last period"), has("peak", apparent, "highest so far"),
			has("last_percent", orNull(number()), "of firm"), has("peak_percent", orNull(number()), "of firm"),
			has("over_80", count(), "periods above 80 %"), has("over_110", count(), "above 110 %"), has("over_120", count(), "above 120 %"),
		), "demand against firm capacity"),
	})...)
	return kept(has("t", when(), "when"), has("ways", list(way), "each way; TX is the transformer"))
}

func chargingSchema() node {
	states := known(meter.CustomersUnknown.String(), meter.FewCustomers.String(), meter.SlowPoll.String(), meter.Followed.String())
	phase := orNull(object(
		has("groups", count(), "charging groups on the phase"), has("connectors", count(), "of them together"),
		has("rating_a", number(), "A, of the groups together"),
		has("limit_a", number(), "A, in force for those that obey"),
		has("uncontrolled_a", number(), "A, rating of those whose actuator does not answer or was read back higher"),
		has("controllable_a", orNull(number()), "A, the most that shedding all groups would take off now; null: not known"),
		has("headroom_a", orNull(number()), "A that the phase could still carry, within the transformer; null: not known"),
		has("cars", orNull(named(object(has("n", number(), "expected number: sum of the confidences"), has("i", number(), "A, weighed alike")))),
			"that seem to charge, by class: 1x16, 1x32, 3x16, 3x32; an estimate. null: nothing is estimated"),
	))
	way := object(join([]field{
		aWay, has("state", states, "FEW_CUSTOMERS and CUSTOMERS_UNKNOWN: nothing is computed, nothing else is here"),
		may("since", orNull(when()), "cars that charged before are not among those estimated; null: none are"),
	}, []field{may("L1", phase, "null: there is none"), may("L2", phase, ""), may("L3", phase, "")}, []field{
		may("groups", list(object(
			has("group", text(), "its id"), has("phases", list(one("L1", "L2", "L3")), "that it draws from"),
			has("rating_a", number(), "A per phase"), has("connectors", count(), ""),
		)), "the register: what hangs where"),
	})...)
	return kept(has("t", when(), "when"), has("ways", list(way), "each way that leads to customers"))
}

func highest() node { return object(has("i", number(), "A"), has("start", when(), "of the period")) }

func supplySchema() node {
	verdict := known(meter.Verdict(0).String(), meter.Verdict(1).String(), meter.Verdict(2).String(), meter.Verdict(3).String())
	spread := orNull(object(
		has("intervals", count(), "of ten minutes"), has("p95", number(), "%"), has("max", number(), "%"),
		may("limit", number(), "%"), may("over", count(), "intervals above it"), may("verdict", verdict, ""),
	))
	return stored(join([]field{
		aWay, has("start", when(), "of the week"), has("end", when(), ""),
		has("whole", truth(), "a whole week"), has("class", text(), "indicative: no poll sees what is between two polls"),
		has("expected", count(), "ten-minute intervals"), has("flagged", count(), "with an event in them"),
		has("suspect", count(), "with doubtful readings"), has("offset_v", number(), "V that were taken off"),
	}, phases(orNull(object(
		has("intervals", count(), "with a value"),
		has("v", orNull(object(
			has("min", number(), "V"), has("min_t", when(), ""), has("p5", number(), "V"), has("median", number(), "V"),
			has("p95", number(), "V"), has("max", number(), "V"), has("max_t", when(), ""),
		)), "ten-minute means"),
		has("out_10pc", count(), "intervals beyond 10 %"), has("out_range", count(), "beyond the wide range"),
		has("out_range_unflagged", count(), "of them without an event"),
		has("below_statutory", count(), "intervals"), has("above_statutory", count(), "intervals"),
		has("dead_readings", count(), "readings of a dead phase"), has("en50160", verdict, ""),
		has("thd_v", spread, "distortion of the voltage"),
	)), "a phase; null: there is none"), []field{
		has("vuf", spread, "negative sequence"), has("pvur_approx", spread, "from phase voltages"),
		has("frequency", orNull(object(has("readings", count(), ""), has("out_1pc", count(), "beyond 1 %"),
			has("min", number(), "Hz"), has("max", number(), "Hz"))), ""),
		has("dips", orNull(integer()), "null: the meter does not count them"), has("swells", orNull(integer()), ""),
		has("interruptions", orNull(integer()), ""), has("doubtful_counts", count(), "counts that went back"),
	})...)
}

func failsafeSchema() node {
	state := known("FREE", "LIMITED", "RESTORING", "INIT", "PROBATION", "FAILSAFE", "AUTONOMOUS", "STOPPING")
	return kept(
		has("t", when(), "when"), has("state", state, "worst of the ways"),
		has("ways", named(object(
			has("state", state, ""), has("since", orNull(when()), ""), has("cause", orNull(text()), "why it came to be"),
			has("rule", orNull(text()), "that decides"), has("source", orNull(text()), "whose it is"), has("ends", orNull(text()), "what would end it"),
			has("regime", one(regimeNames[:]...), "of the traffic light"),
		)), "by the way's id"),
		has("override", list(object(
			has("target", text(), "way or group"), has("kind", known("hold_off", "limit", "release"), ""),
			has("by", orNull(text()), "who"), has("why", orNull(text()), ""), has("source", one("local", "remote"), ""),
			has("since", orNull(when()), ""), has("expires", orNull(when()), ""),
		)), "what a person has overridden"),
		has("in_force", inForceSchema(), "what else holds groups back or keeps a state, with its end"),
		has("topology", list(object(
			aWay, has("state", known(string(BackFed), string(Paralleled), string(Dead)), "how it is supplied"),
			has("by", orNull(text()), "who says so"), has("why", orNull(text()), ""), has("source", one("local", "remote"), ""),
			has("since", orNull(when()), ""), has("expires", orNull(when()), ""),
		)), "ways that are not supplied as usual: nothing is raised on them"),
	)
}

func flows() node {
	flow := object(has("import", orNull(number()), "A; null: no limit, or not known"), has("export", orNull(number()), "A"))
	return object(may("L1", flow, ""), may("L2", flow, ""), may("L3", flow, ""))
}

func groupsSchema() node {
	return kept(has("t", when(), "when"), has("groups", named(object(
		aWay, has("limit", flows(), "in force, per phase"), has("feedback", flows(), "read back from the actuator"),
		has("state", known("UNKNOWN", "PENDING", "CONFIRMED", "MISMATCH_LOW", "MISMATCH_HIGH", "UNREACHED"), "of the actuator"),
		has("deciding", orNull(text()), "the rule"), has("command", orNull(text()), "id of the command behind it, or the event"),
		has("ends", orNull(text()), "what would end it"),
		has("customer", orNull(object(
			has("active", truth(), "the customer has taken it out of the scheme"), has("since", orNull(when()), ""),
			has("kwh", number(), "charged outside the scheme, in all, as the operator says"), has("count", count(), "overrides so far"),
		)), "the customer's own override; null: nothing was ever said of one"),
		has("min_a", number(), "A per phase that commands and the failsafe limit never go below"),
		has("opt_in", orNull(when()), "from when on commercial requests apply; null: they don't"),
	)), "by the group's id"))
}

func healthSchema() node {
	state := one(meter.HealthOK.String(), meter.HealthDegraded.String(), meter.HealthFault.String())
	return kept(has("t", when(), "when the table changed"), has("state", state, "worst of all"),
		has("points", named(object(
			has("state", state, ""), has("code", orNull(text()), "what is wrong"), has("detail", orNull(text()), "for people"),
			has("since", orNull(when()), "of state and code"),
		)), "by part"))
}

func ackSchema() node {
	stages := one(string(Received), string(Rejected), string(Scheduled), string(Active), string(Actuated), string(Effective),
		string(Completed), string(Cancelled), string(Superseded))
	missing := list(object(has("from", count(), ""), has("to", count(), ""), has("reason", text(), "")))
	return stored(
		has("id", orNull(text()), "of the command; null: it could not be read"),
		has("command", text(), "its name"), has("stage", stages, "how far it came"),
		has("code", orNull(text()), "why it was rejected, or a remark"), has("t", when(), "when"),
		has("detail", object(
			may("text", text(), "why, for people"), may("groups", list(text()), "that it is for"),
			may("refused", list(text()), "groups that it is not for"),
			may("compensation", text(), "the centre's token, given back"),
			may("took_s", number(), "from the start until the effect was seen"), may("withheld_wh", count(), "at most, at 230 V: an estimate"),
			may("phases", list(object(has("way", text(), ""), has("phase", text(), ""), has("before_a", orNull(number()), "at the start"), has("now_a", orNull(number()), ""))), "what was seen"),
			may("stream", text(), "of a resend"), may("g", count(), ""), may("from", count(), ""), may("to", count(), ""),
			may("sent", count(), "records"), may("readings", count(), "of the flight recorder"), may("missing", missing, "what is not there any more"),
		), "more"))
}

var schemas = []Schema{
	{"hh", []string{"up/hh/+", "up/hist/hh/+"}, false, "One half-hour of one way.", halfHourSchema()},
	{"alarm", []string{"up/alarm/+", "up/hist/alarm/+"}, false, "One edge of one alarm; the way _site is the substation.",
		stored(append([]field{aWay}, alarmFields()...)...)},
	{"alarmstate", []string{"up/alarmstate/+"}, true, "The alarms of a way that stand, each as it was raised.",
		kept(aWay, has("t", when(), "when"),
			has("alarms", list(object(alarmFields(has("state", known("active", "clearing", "latched"), "where it stands"))...)), "those that stand"),
			has("shelved", list(object(
				has("alarm", text(), "its id"), has("out_of_service", truth(), ""), has("standing", truth(), "it would stand"),
				has("by", orNull(text()), ""), has("why", orNull(text()), ""), has("since", orNull(when()), ""), has("expires", orNull(when()), ""),
			)), "those that somebody does not want announced"))},
	{"live", []string{"up/live/+", "up/hist/live/+"}, false, "One reading while an alarm stands, or shortly before.",
		stored(join([]field{aWay, has("t", when(), "when"), has("pre", truth(), "before the raise"), has("alarm", orNull(text()), "id of the alarm")},
			reading(), []field{has("flags", list(known("SUSPECT")), "remarks")})...)},
	{"rec", []string{"up/hist/rec/+"}, false, "Readings of the flight recorder that somebody asked for.",
		stored(aWay, has("readings", list(object(join([]field{has("t", when(), "when")}, reading(),
			[]field{has("suspect", truth(), "doubtful")})...)), "in order of time"))},
	{"pq", []string{"up/pq/+", "up/hist/pq/+"}, false, "A week of the supply of one way.", supplySchema()},
	{"fairness", []string{"up/fairness", "up/hist/fairness"}, false, "What was withheld from each charging group on a UTC day.", fairnessSchema()},
	{"digest", []string{"up/digest", "up/hist/digest"}, false, "What the half-hours of a way came to in a UTC day.",
		stored(aWay, has("date", node{kind: "string", format: "date"}, "UTC"), has("start", when(), ""), has("end", when(), ""),
			has("stream", text(), "that it sums up"), has("from", count(), "first number; 0: there were none"), has("to", count(), "last number"),
			has("count", count(), "records that are there"),
			has("hash", node{kind: "string", shape: "^sha256:[0-9a-f]{64}$"}, "SHA-256 over each payload as published and a line feed, in order of n"),
			has("values", count(), "with a value"), has("partial", count(), "of these, of a part of the period"),
			has("reasons", named(count()), "records without a value, by reason"))},
	{"gap", []string{"up/gap", "up/hist/gap"}, false, "Records that the store had to drop.",
		stored(has("stream", text(), "theirs"), has("from", count(), "first number"), has("to", count(), "last"), has("count", count(), "how many"),
			has("why", text(), ""), has("t", when(), "when"), may("since", when(), "the first was due"), may("until", orNull(when()), "the last was due"))},
	{"ack", []string{"up/ack", "up/hist/ack"}, false, "One step of one command.", ackSchema()},
	{"audit", []string{"up/audit", "up/hist/audit"}, false, "One decision.", stored(has("record", node{}, "as it is hashed"))},
	{"status", []string{"up/status"}, true, "The agent's state; offline is also its will.",
		kept(has("state", one(Online, Offline, Stopping), ""), has("boot", orNull(text()), "id of the run"), has("since", orNull(when()), "of the run"),
			has("version", orNull(text()), ""), has("config", orNull(text()), "hash of the site file"), has("clock", clockNames, ""),
			may("certificate_expires", when(), ""), may("certificate_days", integer(), "that are left"))},
	{"meta", []string{"up/meta"}, true, "Ways, phases, units, ratings, thresholds.",
		kept(has("schema", orNull(text()), "version of these schemas"), has("points", orNull(text()), "hash of the point list"),
			has("units", named(text()), "by quantity"),
			has("ways", list(object(aWay, has("name", text(), ""), has("role", orNull(known("feeder", "incomer")), "incomer: its meter measures the transformer, so that it is in no sum; null: the transformer"), has("phases", list(one("L1", "L2", "L3")), "that are expected"),
				has("rating_a", named(number()), "A, by phase"),
				may("meter", object(has("id", text(), ""), has("profile", text(), ""), has("channel", count(), "way of the device"),
					has("serial", orNull(text()), "its serial number; null: not known")), "that measures it; absent: the transformer's sum"),
				has("thresholds", list(object(has("quantity", text(), ""), has("phase", orNull(text()), ""), has("kind", text(), ""),
					has("threshold", orNull(number()), "V, A, W, var or per cent"))), "of the alarms"))), ""))},
	{"capacity", []string{"up/capacity"}, true, "How loaded each way is, and what it could still carry.", capacitySchema()},
	{"ev", []string{"up/ev"}, true, "Charge points, controllable load and headroom per way and phase, and an estimate of the cars that charge.", chargingSchema()},
	{"failsafe", []string{"up/failsafe"}, true, "State of each way and the reason for it.", failsafeSchema()},
	{"groups", []string{"up/groups"}, true, "Limit of each charging group, and what the actuator made of it.", groupsSchema()},
	{"health", []string{"up/health"}, true, "How each part of the agent does.", healthSchema()},
	{"selftest", []string{"up/selftest"}, false, "The agent's message to itself.", kept(has("nonce", text(), ""), has("t", when(), ""))},

	{"setpoint", []string{"up/setpoint/+"}, true, "What a charge-point operator is to hold a group to, and until when.", kept(
		has("group", id(), ""), aWay, has("t", when(), "when it was sent"), has("since", when(), "when the limit came to be"),
		has("limit", flows(), "per phase"), has("valid_until", when(), "after that the fallback holds"),
		has("valid_s", number(), "s from t: for who has another clock"), has("fallback", flows(), "per phase, when nothing newer came"),
		has("deciding", orNull(text()), "the rule"), has("command", orNull(text()), "id of the command behind it"))},
	{"cmd/heartbeat", []string{"cmd/heartbeat"}, false, "The centre is alive; every 30 s, never retained.",
		object(append(ordered(false)[1:], may("issued", orNull(when()), "not read"))...)},
	{"cmd/limit", []string{"cmd/limit"}, false, "Less charging on a target, or the statement that there is no limit.", limitSchema()},
	{"cmd/cancel", []string{"cmd/cancel"}, false, "Ends a command.", order(has("cancels", id(), "the command's id"))},
	{"cmd/override", []string{"cmd/override"}, false, "What a person orders, which no failure undoes. Of kind limit it has a limit, of others none.",
		order(has("target", target(), ""), has("kind", one("hold_off", "limit", "release", "clear"), ""), may("limit", limit(false), "of kind limit"),
			may("for", orNull(span()), "how long"), has("by", longest(text(), 200), "who"), may("why", orNull(longest(text(), 500)), ""))},
	{"cmd/restoration", []string{"cmd/restoration"}, false, "Holds back the restart of charging after a loss of supply, or lets it go.",
		order(may("target", orNull(target()), "absent: the whole substation"), has("kind", one("hold", "release"), ""),
			may("for", orNull(span()), "of a hold; absent: 4h, at most 24h"), has("by", longest(text(), 200), "who"), may("why", orNull(longest(text(), 500)), ""))},
	{"cmd/silence", []string{"cmd/silence"}, false, "The centre will be silent, as planned. Only of an issuer that signs.",
		order(has("for", span(), "from receipt on"), has("by", longest(text(), 200), "who"), may("why", orNull(longest(text(), 500)), ""))},
	{"cmd/ack", []string{"cmd/ack"}, false, "Acknowledges an alarm that latches, or ends the lockout of groups.", exactly(order(
		may("target", orNull(target()), "of a lockout"), may("alarm", orNull(longest(text(), 128)), "its id"), may("by", orNull(longest(text(), 200)), "who")),
		"target", "alarm")},
	{"cmd/resend", []string{"cmd/resend"}, false, "Asks for records once more, by number or by the time at which they were due.", exactly(object(
		has("id", id(), ""), has("issued", when(), ""), may("expires", orNull(when()), "last moment of acceptance"),
		has("stream", longest(text(), 72), "such as hh/W3"), may("g", orNull(count()), "generation; absent: the one in use"),
		may("from", orNull(node{kind: "integer", limits: &limits{1, maxCount}}), "first number"), may("to", orNull(count()), "last number"),
		may("since", orNull(when()), "instead of from"), may("until", orNull(when()), "instead of to"), signature),
		"from", "since")},
	{"cmd/birth", []string{"cmd/birth"}, false, "Asks for every retained message once more.", object(
		has("id", id(), ""), has("issued", when(), ""), may("expires", orNull(when()), "last moment of acceptance"), signature)},
	{"cmd/telemetry", []string{"cmd/telemetry"}, false, "What a third party measures at charging groups.", order(has("groups",
		node{kind: "array", fewest: 1, most: maxGroups, items: &telemetryGroup}, "each group once"))},
	{"cmd/topology", []string{"cmd/topology"}, false, "How a way is supplied. All but normal has an end, and holds back raises until then.", order(
		has("way", id(), ""), has("state", one(string(Normal), string(BackFed), string(Paralleled), string(Dead)), ""),
		may("for", orNull(span()), "how long, at most 31 days; not of normal"), may("by", orNull(longest(text(), 200)), "who; absent: the issuer"),
		may("why", orNull(longest(text(), 500)), ""))},
	{"cmd/config", []string{"cmd/config"}, false, "Puts a site file on trial, or ends the trial.", exactly(order(
		may("site", orNull(longest(text(), MaxPayload)), "its text"), may("confirm_within", orNull(span()), "of a site file; 10s to 24h, or it is rolled back"),
		may("confirm", orNull(id()), "id of the command that began the trial"), may("roll_back", orNull(id()), "likewise")),
		"site", "confirm", "roll_back")},
}

var telemetryGroup = object(
	has("group", id(), ""), has("t", when(), "when it was measured"),
	has("state", one(string(Idle), string(Plugged), string(Charging), string(Faulted), string(NotStated)), ""),
	may("L1", measurement(), ""), may("L2", measurement(), ""), may("L3", measurement(), ""),
	may("limit_a", orNull(node{kind: "number", limits: &limits{0, maxMilliamps / 1000}}), "A per phase that the operator holds it to: confirms a setpoint"),
	may("override", orNull(object(
		has("active", truth(), "the customer has taken it out of the scheme"), may("since", orNull(when()), ""),
		may("kwh", orNull(node{kind: "number", limits: &limits{0, maxMilliwatts / 1000}}), "charged outside the scheme, in all"),
	)), "the customer's own, at the charge point"))

func measurement() node {
	between := func(least, most int64) node {
		return orNull(node{kind: "number", limits: &limits{least / 1000, most / 1000}})
	}
	return orNull(object(
		may("v", between(0, maxMillivolts), "V"), may("i", between(0, maxMilliamps), "A"),
		may("p", between(-maxMilliwatts, maxMilliwatts), "W"), may("q", between(-maxMilliwatts, maxMilliwatts), "var")))
}

var signature = may("sig", orNull(longest(text(), 1024)), "ed25519 in base64 over topic, line feed and canonical form; where the issuer has a key")

// ordered are the fields that say who sent a command, and its place among others.
func ordered(expires bool) []field {
	all := []field{
		has("id", id(), "never used again"), has("issuer", id(), "who sends it"),
		has("epoch", count(), "raised when seq starts again"), has("seq", count(), "higher than the last of this issuer"), signature,
	}
	if expires {
		all = append(all, has("issued", when(), ""), has("expires", when(), "last moment of acceptance"))
	}
	return all
}

func order(fields ...field) node { return object(append(ordered(true), fields...)...) }

func exactly(n node, fields ...string) node {
	n.either = append(n.either, fields)
	return n
}

func longest(n node, most int) node {
	n.longest = most
	return n
}

func id() node { return node{kind: "string", shape: "^[A-Za-z0-9._:-]{1,64}$"} }

// span is a duration with its unit.
func span() node {
	return node{kind: "string", shape: `^[-+]?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`}
}

func limitSchema() node {
	return exactly(exactly(order(
		has("class", one(urgencyNames[1:]...), ""), has("target", target(), ""),
		may("start", orNull(when()), "one of start and start_in"), may("start_in", orNull(span()), "after it is received"),
		may("duration", orNull(span()), "absent: until it is cancelled, or as long as the curve"),
		may("limit", limit(true), "one of limit and curve"), may("curve", curveSchema(), "blocks of one unit, one after the other"),
		may("compensation", node{}, "echoed, not read"), may("randomise", orNull(span()), "longest wait of a group that is let go, drawn per group; at most 30m"),
		may("supersedes", orNull(id()), "id of a command that it replaces"),
	), "start", "start_in"), "limit", "curve")
}

func limit(regime bool) node {
	fields, keys := unitFields(), unitKeys()
	if regime {
		fields = append(fields, may("regime", orNull(one(regimeNames[:]...)), "of a whole way: what each group agreed to for it"))
		keys = append(keys, "regime")
	}
	return node{or: []node{one("none"), exactly(object(fields...), keys...)}}
}

func target() node {
	names := orNull(node{kind: "array", fewest: 1, most: maxTargets, items: new(id())})
	return exactly(object(
		may("mpans", orNull(node{kind: "array", fewest: 1, most: maxTargets, items: new(node{kind: "string", shape: "^[0-9]{13}$"})}), "supply points, where the site file permits it; the last digit of each checks the others"), may("groups", names, "charging groups"), may("way", orNull(id()), "every group of a way"),
		may("phases", orNull(node{kind: "array", fewest: 1, most: meter.Phases, items: new(one("L1", "L2", "L3"))}), "of the way; absent: all"),
	), "mpans", "way", "groups")
}
