package message

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lvagent/meter"
)

var update = flag.Bool("update", false, "write the golden files")

const agent = "EPN-E1234"

var (
	start   = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	instant = time.Date(2026, 11, 24, 17, 12, 33, 250_000_000, time.UTC)
)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if !json.Valid(got) {
		t.Fatalf("%s is not JSON: %s", name, got)
	}
	file := filepath.Join("testdata", name+".json")
	got = append(bytes.Clone(got), '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs\n got %s\nwant %s", name, got, want)
	}
}

func phasePeriod() *meter.PhasePeriod {
	return &meter.PhasePeriod{
		V: meter.Stats{RMS: 241_310, Mean: 241_290, Min: 238_949, Max: 242_960, MaxAt: instant},
		I: meter.Stats{RMS: 212_500, Mean: 201_149, Min: 88_049, Max: 301_150, MaxAt: instant},
		P: meter.PowerStats{Mean: 48_123_499, Min: -20_100_500, Max: 70_210_000, Import: 48_123_499},
		Q: meter.PowerStats{Mean: -400, Min: -900_000, Max: 8_000_000, Import: 5_100_000, Export: 49_000},
	}
}

func halfHour() *meter.HalfHour {
	return &meter.HalfHour{
		Way: "W3", Start: start, End: start.Add(30 * time.Minute), Rev: 1,
		Coverage: 999_460, Expected: 1800, Samples: 1799, Bad: 1, Held: 1250 * time.Millisecond, Settlement: 35, Flags: meter.Partial, Clock: meter.Synced,
		Phase: [meter.Phases]*meter.PhasePeriod{phasePeriod(), nil, phasePeriod()},
		Total: &meter.TotalPeriod{
			P: 140_210_000, Q: 15_020_000, S: 141_012_300, PF: 994,
			ImportMWh: 70_105_499_000, ExportMWh: 0,
		},
		Neutral: &meter.Stats{RMS: 61_200, Mean: 58_000, Min: 3_100, Max: 99_000},
	}
}

// worst is a record with the longest numbers that a way of a 1 MVA substation
// can show: every current above 1,000 A, every power negative, every flag.
func worst() *meter.HalfHour {
	h := halfHour()
	p := func() *meter.PhasePeriod {
		a := meter.Stats{RMS: 1_234_567, Mean: 1_234_567, Min: 1_034_567, Max: 1_534_567, MaxAt: instant}
		w := meter.PowerStats{Mean: -312_345_000, Min: -399_999_000, Max: -123_456_000, Import: 111_111_000, Export: 312_345_000}
		return &meter.PhasePeriod{V: meter.Stats{RMS: 241_311, Mean: 241_211, Min: 238_911, Max: 243_111}, I: a, P: w, Q: w}
	}
	h.Phase = [meter.Phases]*meter.PhasePeriod{p(), p(), p()}
	h.Neutral = &meter.Stats{RMS: 1_234_567, Mean: 1_234_567, Min: 1_034_567, Max: 1_534_567}
	h.Total = &meter.TotalPeriod{P: -912_345_000, Q: -912_345_000, S: 999_999_000, PF: 707, ImportMWh: 412_345_000_000, ExportMWh: 412_345_000_000}
	h.Flags = meter.AllFlags
	h.Held, h.Settlement = 1799900*time.Millisecond, 48
	h.Clock = meter.Unsynced
	return h
}

func alarm() *meter.Alarm {
	return &meter.Alarm{
		ID: "W3.L1.i.hi", Way: "W3", Quantity: "i", Phase: "L1", Kind: "hi", Edge: meter.Raise,
		At: instant, Value: 312_449, Threshold: 300_000, Severity: meter.Major, Peak: 316_000, PeakAt: instant,
	}
}

func milliamps(a meter.Milliamps) *meter.Milliamps { return &a }

func TestGoldens(t *testing.T) {
	empty := &meter.HalfHour{Way: "W1", Start: start, End: start.Add(30 * time.Minute), Flags: meter.NoData | meter.Invalid}
	cleared := alarm()
	cleared.Edge, cleared.Duration, cleared.Restored = meter.Clear, 812*time.Second+500*time.Millisecond, true
	condition := &meter.Alarm{ID: "W3.NO_STATEMENT", Way: "W3", Kind: "NO_STATEMENT", Edge: meter.Raise, At: instant, Severity: meter.Warning}
	latched := alarm()
	latched.Stands, latched.Latch, latched.Acked, latched.Raises = meter.Latched, true, "anna", 7
	latched.Questionable, latched.Chatter, latched.Flood, latched.OutOfService = true, true, true, true
	latched.Point, latched.HasPoint, latched.Duplicate = 0, true, true
	shelf := &meter.Shelf{ID: "W3.L1.v.hi", By: "anna", Why: "tap change on Monday", Since: instant, Until: instant.Add(2 * time.Hour), Standing: true}
	reading := &meter.Reading{Way: "W3"}
	for i := range reading.Phase {
		reading.Phase[i] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: 240_160, Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: 312_400, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: -71_499_600, Quality: meter.Suspect},
		}
	}
	ack := func(a Ack) []byte { return AppendAck(nil, agent, &a) }
	_, rejection := Decode("lv/v1/a/cmd/limit", []byte(`{"id":"c1"}`), false)
	rejected := rejection.Ack(instant)

	for name, got := range map[string][]byte{
		"halfhour":        Seal(nil, AppendHalfHour(nil, agent, halfHour()), HalfHourStream("W3"), 1042, 1),
		"halfhour-empty":  Seal(nil, AppendHalfHour(nil, agent, empty), HalfHourStream("W1"), 1, 1),
		"halfhour-worst":  Seal(nil, AppendHalfHour(nil, agent, worst()), HalfHourStream("W3"), 1<<40, 12),
		"alarm-raise":     Seal(nil, AppendAlarm(nil, agent, alarm()), AlarmStream("W3"), 7, 1),
		"alarm-clear":     Seal(nil, AppendAlarm(nil, agent, cleared), AlarmStream("W3"), 8, 1),
		"alarm-copy":      Seal(nil, AppendAlarm(nil, agent, latched), AlarmStream("W3"), 10, 1),
		"alarm-condition": Seal(nil, AppendAlarm(nil, agent, condition), AlarmStream("W3"), 9, 1),
		"alarmstate":      AppendAlarmState(nil, agent, "W3", instant, []meter.Alarm{*alarm(), *condition, *latched}, []meter.Shelf{*shelf}),
		"alarmstate-none": AppendAlarmState(nil, agent, "W3", instant, nil, nil),
		"live":            Seal(nil, AppendLive(nil, agent, &LiveReading{T: instant, Alarm: "W3.L1.i.hi", Reading: reading}), LiveStream("W3"), 91, 1),
		"recorded":        Seal(nil, AppendRecorded(nil, agent, "W3", []Recorded{{instant, *reading}, {instant.Add(time.Second), meter.Reading{}}}), RecordStream("W3"), 3, 1),
		"gap":             Seal(nil, AppendGap(nil, agent, &Gap{Stream: "live/W3", From: 81, To: 90, Count: 10, Why: "QUOTA", T: instant}), GapStream, 3, 1),
		"gap-due": Seal(nil, AppendGap(nil, agent, &Gap{Stream: "hh/W3", From: 81, To: 90, Count: 10, Why: "QUOTA", T: instant,
			Since: start, Until: start.Add(5 * time.Hour)}), GapStream, 4, 1),
		"fairness": Seal(nil, AppendFairness(nil, agent, &Fairness{Start: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC),
			Spread: 12_345, Groups: []FairShare{{Group: "G1", Way: "W3", Rank: 1, PPM: 41_250, Accounted: 86_400_000, Limited: 5_430_000, Entitled: 529_920, Withheld: 21_859, Caution: 1_200,
				Reasons: []FairReason{{"failsafe", 3_600_000, 16_560}, {"protection", 1_830_000, 5_299}}}, {Group: "G2", Way: "W3", Priority: true, Rank: 2}}}), FairnessStream, 3, 1),
		"digest": Seal(nil, AppendDigest(nil, agent, &Digest{Way: "W3", Start: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC),
			End: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC), Stream: "hh/W3", From: 1009, To: 1056, Count: 48, Hash: [32]byte{0xab},
			Values: 46, Partial: 1, Reasons: []ReasonCount{{"AGENT_DOWN", 1}, {"METER_OFFLINE", 1}}}), DigestStream, 22, 1),
		"ack-resent": Seal(nil, ack(Ack{ID: "r1", Command: "resend", Stage: Completed, T: instant, Detail: AppendResent(nil, &Resent{
			Stream: "hh/W3", Generation: 1, From: 1, To: 96, Sent: 90, Missing: []Range{{1, 4, "NOT_KEPT"}, {9, 10, "QUOTA"}}})}), AckStream, 6, 1),
		"ack":          Seal(nil, ack(Ack{ID: "c1", Command: "limit", Stage: Scheduled, T: instant, Detail: []byte(`{"groups":["G1"]}`)}), AckStream, 4, 1),
		"ack-rejected": Seal(nil, ack(rejected), AckStream, 5, 1),
		"audit":        Seal(nil, AppendAudit(nil, agent, []byte(`{"prev":"ab","rule":"failsafe profile"}`)), AuditStream, 6, 1),
		"status":       AppendStatus(nil, agent, &Status{State: Online, Boot: "b1", Since: start, Version: "1.0.0", Config: "sha256:ab", Clock: meter.Synced}),
		"will":         AppendStatus(nil, agent, &Status{State: Offline, Boot: "b1"}),
		"meta": AppendMeta(nil, agent, &Meta{Schema: "1", Points: "sha256:cd", Ways: []MetaWay{{
			ID: "W3", Role: "feeder", Name: `High Street "north"`,
			Phases:     []MetaPhase{{meter.L1, 300_000}, {meter.L3, 250_500}},
			Thresholds: []MetaThreshold{{"i", "L1", "hi", 300_000}, {"v", "", "lo", 216_200}},
			Meter:      &MetaMeter{"m3", "socomec-digiware", 2, "18440172"},
		}}}),
		"failsafe": AppendFailsafe(nil, agent, &FailsafeState{
			T: instant, State: "FAILSAFE",
			Ways: []FailsafeWay{
				{Way: "W3", State: "FAILSAFE", Since: start, Cause: "HEARTBEAT_LOST", Rule: "failsafe profile", Source: "scada-1", Ends: "a stable heartbeat and a statement", Regime: "amber"},
				{Way: "W4", State: "FREE", Since: start, Regime: "green"},
			},
			Overrides: []OverrideInForce{{Target: "W3", Kind: "release", By: "J. Smith", Why: "cable test", Source: "local", Since: start, Expires: start.Add(time.Hour)}},
			Topology:  []SuppliedWay{{Way: "W1", State: BackFed, By: "duty engineer", Why: "joint", Source: "remote", Since: start, Expires: start.Add(8 * time.Hour)}},
		}),
		"groups": AppendGroups(nil, agent, instant, []GroupState{
			{
				Group: "G1", Way: "W3", State: "CONFIRMED", Deciding: "failsafe profile", Guarantee: 6000, OptIn: start,
				Limit:    [meter.Phases]*Flow{{Import: milliamps(24_000), Export: milliamps(0)}},
				Feedback: [meter.Phases]*Flow{{Import: milliamps(24_049)}},
			},
			{Group: "G2", Way: "W3", State: "UNKNOWN", Limit: [meter.Phases]*Flow{{}, {}, {}}, Command: "c1",
				Customer: &Customer{Active: true, Since: start, Wh: 12_345, Count: 3}},
		}),
		"setpoint": AppendSetpoint(nil, agent, &Setpoint{
			Group: "G1", Way: "W3", T: instant, Since: start, Lease: 5 * time.Minute, Phases: [meter.Phases]bool{true, false, true},
			Limit: 16_000, Fallback: 6000, Deciding: "command", Command: "c1"}),
		"health": AppendHealth(nil, agent, instant, []meter.HealthPoint{
			{ID: "bus/tcp://10.0.0.7:502", State: meter.HealthOK, Since: start},
			{ID: "meter/m3", State: meter.HealthFault, Code: "METER_OFFLINE", Detail: "no answer for 12 s", Since: instant},
		}),
		"health-none": AppendHealth(nil, agent, instant, nil),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, got) })
	}
}

// The names of fields that users rely on; adding is free, removing is not.
func TestPinnedFields(t *testing.T) {
	stat, power := "rms mean min max", "mean min max import export"
	for file, pinned := range map[string]map[string]string{
		"halfhour": {
			"":   "v agent way g s n rev start end coverage expected samples bad held_s sp flags clock L1 L2 L3 T N",
			"L1": "v i p q", "L1.v": stat, "L1.i": stat + " max_t", "L1.p": power, "L1.q": power,
			"T": "p q s pf kwh_import kwh_export", "N": "i derived", "N.i": stat,
		},
		"status":      {"": "v agent state boot since version config clock"},
		"alarm-clear": {"": "v agent way g s n id quantity phase kind edge t value threshold severity peak peak_t duration_s restored flags"},
		"live":        {"": "v agent way g s n t pre alarm L1 L2 L3 N", "L1": "v i p q", "N": "i"},
		"failsafe": {
			"": "v agent t state ways override", "ways.W3": "state since cause rule source ends",
			"override.0": "target kind by why source since expires",
		},
		"groups": {
			"": "v agent t groups", "groups.G1": "way limit feedback state deciding command",
			"groups.G1.limit.L1": "import export", "groups.G1.feedback.L1": "import",
		},
		"health":       {"": "v agent t state points", "points.meter/m3": "state code detail since"},
		"ack-rejected": {"": "v agent id command stage code t detail"},
		"gap":          {"": "v agent g s n stream from to count why t"},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var message any
		if err := json.Unmarshal(text, &message); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for path, names := range pinned {
			object := message
			for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
				if list, ok := object.([]any); ok {
					object = list[0]
				} else {
					object = object.(map[string]any)[step]
				}
			}
			for _, name := range strings.Fields(names) {
				if _, ok := object.(map[string]any)[name]; !ok {
					t.Errorf("%s: %s has no %s", file, path, name)
				}
			}
		}
	}
}

// The octets that one way sends each half-hour, topic and number included.
func TestSizeOfHalfHour(t *testing.T) {
	ordinary := halfHour()
	ordinary.Phase[meter.L2] = phasePeriod()
	for _, tt := range []struct {
		name   string
		record *meter.HalfHour
		most   int
	}{
		{"ordinary evening", ordinary, 1_270},
		{"longest numbers and every flag", worst(), 1_590},
	} {
		topic := NewTopics(DefaultPrefix, agent).Route("hh/W3", start, start)
		got := len(topic) + len(Seal(nil, AppendHalfHour(nil, agent, tt.record), "hh/W3", 1<<40, 12))
		if got > tt.most {
			t.Errorf("%s: %d octets, want at most %d", tt.name, got, tt.most)
		}
		t.Logf("%s: %d octets", tt.name, got)
	}
}

func TestDecimal(t *testing.T) {
	for _, tt := range []struct {
		thousandths int64
		keep        places
		want        string
	}{
		{0, tenths, "0"},
		{49, tenths, "0"}, {50, tenths, "0.1"}, {-49, tenths, "0"}, {-50, tenths, "-0.1"},
		{240_949, tenths, "240.9"}, {240_950, tenths, "241"},
		{499, whole, "0"}, {500, whole, "1"}, {-500, whole, "-1"}, {-499, whole, "0"},
		{994, full, "0.994"}, {1000, full, "1"}, {1010, full, "1.01"}, {-5, full, "-0.005"},
		{-1 << 63, whole, "-9223372036854776"},
		{1<<63 - 1, full, "9223372036854775.807"},
	} {
		if got := string(appendDecimal(nil, tt.thousandths, tt.keep)); got != tt.want {
			t.Errorf("%d thousandths with %d decimals = %s, want %s", tt.thousandths, tt.keep, got, tt.want)
		}
	}
}

func TestShareIsOneOnlyWhenWhole(t *testing.T) {
	for share, want := range map[meter.PPM]string{0: "0", 99: "0", 100: "0.0001", 999_999: "0.9999", meter.Whole: "1", 980_000: "0.98"} {
		var w writer
		w.share("", share)
		if got := string(w.b); got != want {
			t.Errorf("%d ppm = %s, want %s", share, got, want)
		}
	}
}

// Whatever text a name, a cause or a reason holds, the message is JSON and says
// it.
func TestTextSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		var got string
		if err := json.Unmarshal(appendString(nil, text), &got); err != nil || got != strings.ToValidUTF8(text, "\uFFFD") {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
	})
}

func TestSeal(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"v":1}`, `{"g":2,"s":"hh/W3","n":5,"v":1}`},
		{`{}`, `{"g":2,"s":"hh/W3","n":5}`},
		{``, `{"g":2,"s":"hh/W3","n":5,"corrupt":true}`},
		{`{`, `{"g":2,"s":"hh/W3","n":5,"corrupt":true}`},
		{`{"v":`, `{"g":2,"s":"hh/W3","n":5,"corrupt":true}`},
	} {
		if got := string(Seal(nil, []byte(tt.body), "hh/W3", 5, 2)); got != tt.want {
			t.Errorf("Seal(%s) = %s, want %s", tt.body, got, tt.want)
		}
	}
}

func TestRoute(t *testing.T) {
	topics := NewTopics(DefaultPrefix, agent)
	for _, tt := range []struct {
		stream string
		age    time.Duration
		want   string
	}{
		{"hh/W3", 120 * time.Second, "up/hh/W3"},
		{"hh/W3", 120*time.Second + 1, "up/hist/hh/W3"},
		{"alarm/_site", 60 * time.Second, "up/alarm/_site"},
		{"alarm/W3", 60*time.Second + 1, "up/hist/alarm/W3"},
		{"live/W3", 60*time.Second + 1, "up/hist/live/W3"},
		{"live/W3", -time.Hour, "up/live/W3"},
		{"ack", time.Hour, "up/ack"},
		{"audit", time.Hour, "up/audit"},
		{"gap", time.Hour, "up/gap"},
	} {
		if got, want := topics.Route(tt.stream, start, start.Add(tt.age)), "lv/v1/EPN-E1234/"+tt.want; got != want {
			t.Errorf("%s after %v goes to %s, want %s", tt.stream, tt.age, got, want)
		}
	}
}

func TestTopics(t *testing.T) {
	topics := NewTopics(DefaultPrefix, agent)
	got := []string{
		topics.Status(), topics.Meta(), topics.Failsafe(), topics.Groups(), topics.Health(), topics.AlarmState("W3"),
		topics.Setpoint("G1"), topics.Commands(), topics.Broadcast(),
		topics.WithBroadcast("r1/beat").Broadcast(), NewTopics("site7/", "a").Broadcast(), NewTopics("site7/", "a").Status(),
	}
	p := "lv/v1/EPN-E1234/"
	want := []string{
		p + "up/status", p + "up/meta", p + "up/failsafe", p + "up/groups", p + "up/health", p + "up/alarmstate/W3",
		p + "up/setpoint/G1", p + "cmd/#", "lv/v1/_all/cmd/heartbeat", "r1/beat", "", "site7/up/status",
	}
	if !slices.Equal(got, want) {
		t.Errorf("topics\n got %q\nwant %q", got, want)
	}
}

func TestClasses(t *testing.T) {
	for stream, want := range map[string]Class{
		"ack": Control, "alarm/W3": Alarms, "live/W3": Live, "hh/W3": HalfHour, "gap": HalfHour, "audit": History, "other": History,
	} {
		if got := ClassOf(stream); got != want {
			t.Errorf("class of %s = %v, want %v", stream, got, want)
		}
	}
}

func TestValidAgent(t *testing.T) {
	for id, want := range map[string]bool{
		"EPN-E1234": true, "a": true, strings.Repeat("x", 64): true,
		"": false, "_all": false, "a/b": false, "a.b": false, "a+": false, strings.Repeat("x", 65): false,
	} {
		if got := ValidAgent(id); got != want {
			t.Errorf("ValidAgent(%q) = %v, want %v", id, got, want)
		}
	}
}

func TestRecordsAllocateNothing(t *testing.T) {
	a, h := alarm(), halfHour()
	h.Flags = 0
	body := AppendAlarm(nil, agent, a)
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = AppendAlarm(buf[:0], agent, a) }); n != 0 {
		t.Errorf("an alarm takes %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { buf = Seal(buf[:0], body, "alarm/W3", 7, 1) }); n != 0 {
		t.Errorf("sealing takes %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { buf = AppendHalfHour(buf[:0], agent, h) }); n > 1 {
		t.Errorf("a half-hour takes %v allocations, want at most one for its flags", n)
	}
}
