package message

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"lvagent/meter"
)

const (
	headText  = `"id":"c-1","issuer":"scada-1","epoch":3,"seq":7,"issued":"2026-11-24T17:00:00Z","expires":"2026-11-24T17:05:00Z"`
	limitText = `{` + headText + `,"class":"network","target":{"way":"W3","phases":["L1","L3"]},"start_in":"20m","duration":"30m",` +
		`"limit":{"amps":16.5},"compensation":"token","randomise":"0s","supersedes":"c-0"}`
)

const telemetryText = `{"group":"G1","t":"2026-11-24T16:59:00Z","state":"idle","L1":{"i":7}}`

// with replaces the first occurrence of old in text; it must be there.
func with(t *testing.T, text, old, replacement string) []byte {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("%s is not in %s", old, text)
	}
	return []byte(strings.Replace(text, old, replacement, 1))
}

func TestDecode(t *testing.T) {
	tests := []struct {
		name, command, payload string
		want                   Body
	}{
		{"heartbeat", "heartbeat", `{"issuer":"scada-1","epoch":3,"seq":1042,"issued":"2026-11-24T17:00:00Z"}`, Heartbeat{}},
		{"heartbeat of 1970", "heartbeat", `{"issuer":"scada-1","epoch":3,"seq":1042,"issued":"1970-01-01T00:00:07Z"}`, Heartbeat{}},
		{"heartbeat without a clock", "heartbeat", `{"issuer":"scada-1","epoch":3,"seq":1042}`, Heartbeat{}},
		{"limit on a way", "limit", limitText, Limit{
			Class: Network, Target: Target{Way: "W3", Phases: []meter.Phase{meter.L1, meter.L3}},
			StartIn: 20 * time.Minute, Relative: true, Duration: 30 * time.Minute,
			Value: Value{Amps, 16_500}, Compensation: []byte(`"token"`), Supersedes: "c-0",
		}},
		{"limit on supply points, unknown field", "limit", `{` + headText + `,"class":"emergency","target":{"mpans":["1012345678903"]},` +
			`"start":"2026-11-24T18:00:00+01:00","limit":{"watts":3600},"new":{"x":[1]}}`, Limit{
			Class: Emergency, Target: Target{MPANs: []string{"1012345678903"}}, Start: time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC),
			Value: Value{Watts, 3_600_000},
		}},
		{"limit in per cent, null is absent", "limit", `{` + headText + `,"class":"commercial","target":{"groups":["G1","G2"],"way":null},` +
			`"start_in":"0s","start":null,"limit":{"percent":100,"amps":null},"duration":null}`, Limit{
			Class: Commercial, Target: Target{Groups: []string{"G1", "G2"}}, Relative: true, Value: Value{Percent, 100_000},
		}},
		{"no limit", "limit", `{` + headText + `,"class":"network","target":{"way":"W3"},"start_in":"0s","limit":"none"}`, Limit{
			Class: Network, Target: Target{Way: "W3"}, Relative: true, Value: Value{Unit: Unlimited},
		}},
		{"a regime", "limit", `{` + headText + `,"class":"network","target":{"way":"W3"},"start_in":"0s","limit":{"regime":"amber","amps":null}}`, Limit{
			Class: Network, Target: Target{Way: "W3"}, Relative: true, Value: Value{ByRegime, int64(Amber)},
		}},
		{"a capacity curve", "limit", `{` + headText + `,"class":"network","target":{"way":"W3"},"start_in":"0s","curve":[{"for":"30m","percent":60},{"for":"1h","percent":100}],"randomise":"5m"}`, Limit{
			Class: Network, Target: Target{Way: "W3"}, Relative: true, Randomise: 5 * time.Minute,
			Curve: []Block{{30 * time.Minute, Value{Percent, 60_000}}, {time.Hour, Value{Percent, 100_000}}},
		}},
		{"cancel", "cancel", `{` + headText + `,"cancels":"c-0"}`, Cancel{"c-0"}},
		{"override", "override", `{` + headText + `,"target":{"way":"W3"},"kind":"limit","limit":{"amps":0},"for":"60m","by":"J. Smith","why":"test"}`,
			Override{Target: Target{Way: "W3"}, Kind: LimitTo, Value: Value{Unit: Amps}, For: time.Hour, By: "J. Smith", Why: "test"}},
		{"restoration held everywhere", "restoration", `{` + headText + `,"kind":"hold","for":"2h","by":"control room","why":"black start"}`,
			Restoration{For: 2 * time.Hour, By: "control room", Why: "black start"}},
		{"planned silence", "silence", `{` + headText + `,"for":"2h","by":"control room","why":"new servers"}`,
			Silence{For: 2 * time.Hour, By: "control room", Why: "new servers"}},
		{"restoration let go", "restoration", `{` + headText + `,"target":{"way":"W3"},"kind":"release","by":"control room"}`,
			Restoration{Target: Target{Way: "W3"}, Release: true, By: "control room"}},
		{"override ended", "override", `{` + headText + `,"target":{"way":"W3"},"kind":"clear","by":"J. Smith"}`,
			Override{Target: Target{Way: "W3"}, Kind: ClearOverride, By: "J. Smith"}},
		{"resend", "resend", `{"id":"r1","issued":"2026-11-24T17:00:00Z","stream":"hh/W3","g":1,"from":1,"to":96}`, Resend{Stream: "hh/W3", Generation: 1, From: 1, To: 96}},
		{"resend by time", "resend", `{"id":"r1","issued":"2026-11-24T17:00:00Z","stream":"hh/W3","since":"2026-11-24T00:00:00Z","until":"2026-11-24T12:00:00Z"}`,
			Resend{Stream: "hh/W3", Since: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}},
		{"telemetry", "telemetry", `{` + headText + `,"groups":[{"group":"G1","t":"2026-11-24T16:59:00Z","state":"charging","L1":{"v":241.2,"i":12.5,"p":-2900,"q":null},"L2":null},` +
			`{"group":"G2","t":"2026-11-24T16:59:00Z","state":"idle","limit_a":16,"override":{"active":true,"since":"2026-11-24T16:00:00Z","kwh":3.25}}]}`, Telemetry{Groups: []GroupTelemetry{
			{Group: "G1", T: time.Date(2026, 11, 24, 16, 59, 0, 0, time.UTC), State: Charging, Phase: [meter.Phases]meter.PhaseReading{{
				V: meter.Sample[meter.Millivolts]{Value: 241_200, Quality: meter.Good},
				I: meter.Sample[meter.Milliamps]{Value: 12_500, Quality: meter.Good},
				P: meter.Sample[meter.Milliwatts]{Value: -2_900_000, Quality: meter.Good},
			}}},
			{Group: "G2", T: time.Date(2026, 11, 24, 16, 59, 0, 0, time.UTC), State: Idle, Limit: 16_000, Held: true,
				Override: &CustomerOverride{Active: true, Since: time.Date(2026, 11, 24, 16, 0, 0, 0, time.UTC), Wh: 3250}},
		}}},
		{"a way back-fed", "topology", `{` + headText + `,"way":"W3","state":"back-fed","for":"8h","by":"duty engineer","why":"joint"}`,
			Topology{Way: "W3", State: BackFed, For: 8 * time.Hour, By: "duty engineer", Why: "joint"}},
		{"a way as usual", "topology", `{` + headText + `,"way":"W3","state":"normal"}`, Topology{Way: "W3", State: Normal}},
		{"a site file", "config", `{` + headText + `,"site":"site: {id: S1}\n","confirm_within":"10m"}`, Configure{Site: "site: {id: S1}\n", Within: 10 * time.Minute}},
		{"confirm a site file", "config", `{` + headText + `,"confirm":"k-1"}`, Configure{Confirm: "k-1"}},
		{"roll a site file back", "config", `{` + headText + `,"roll_back":"k-1"}`, Configure{RollBack: "k-1"}},
		{"birth", "birth", `{"id":"b1","issued":"2026-11-24T17:00:00Z"}`, Birth{}},
		{"lockout ended", "ack", `{` + headText + `,"target":{"way":"W3"}}`, Acknowledge{Target: Target{Way: "W3"}}},
		{"alarm unlatched", "ack", `{` + headText + `,"alarm":"W3.L1.i.hihi"}`, Acknowledge{Alarm: "W3.L1.i.hihi"}},
	}
	open := compiled(t, false)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, r := Decode("lv/v1/EPN-E1234/cmd/"+tt.command, []byte(tt.payload), false)
			conforms(t, open, tt.name, tt.command, []byte(tt.payload), r)
			if r != nil {
				t.Fatal(r)
			}
			if !reflect.DeepEqual(c.Body, tt.want) {
				t.Errorf("body\n got %+v\nwant %+v", c.Body, tt.want)
			}
		})
	}
}

func TestDecodeHead(t *testing.T) {
	c, r := Decode("lv/v1/EPN-E1234/cmd/limit", []byte(limitText), false)
	if r != nil {
		t.Fatal(r)
	}
	issued := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	if c.Name != "limit" || c.ID != "c-1" || c.Issuer != "scada-1" || c.Epoch != 3 || c.Seq != 7 ||
		!c.Issued.Equal(issued) || !c.Expires.Equal(issued.Add(5*time.Minute)) {
		t.Errorf("head is %+v", c)
	}
}

func TestRejections(t *testing.T) {
	limit := func(old, replacement string) []byte { return with(t, limitText, old, replacement) }
	override := `{` + headText + `,"target":{"way":"W3"},"kind":"limit","limit":{"amps":10},"for":"60m","by":"J. Smith","why":"test"}`
	resend := `{"id":"c-1","issued":"2026-11-24T17:00:00Z","stream":"hh/W3","from":1,"to":96}`
	tests := []struct {
		name, command string
		payload       []byte
		retained      bool
		code          Code
		detail        string // what the detail begins with
		id            string
	}{
		{"nothing", "limit", nil, false, Malformed, "not JSON", ""},
		{"a list", "limit", []byte(`[]`), false, Malformed, "not an object", ""},
		{"two objects", "limit", []byte(`{}{}`), false, Malformed, "not JSON", ""},
		{"broken off", "limit", []byte(limitText[:40]), false, Malformed, "not JSON", ""},
		{"NaN", "limit", limit("16.5", "NaN"), false, Malformed, "not JSON", ""},
		{"not UTF-8", "limit", limit("token", "\xff"), false, Malformed, "not UTF-8", ""},
		{"a key twice", "limit", limit(`"amps":16.5`, `"amps":16,"amps":99`), false, Malformed, `key "amps" comes twice`, ""},
		{"nested without end", "limit", limit(`"token"`, strings.Repeat("[", 30)+strings.Repeat("]", 30)), false, Malformed, "nested deeper", ""},
		{"one octet too many", "limit", bytes.Repeat([]byte(" "), MaxPayload+1), false, TooLarge, "65537 octets", ""},
		{"retained", "limit", []byte(limitText), true, Retained, "a retained", "c-1"},
		{"retained heartbeat", "heartbeat", []byte(`{"issuer":"scada-1","epoch":1,"seq":1}`), true, Retained, "a retained", ""},
		{"unknown", "reboot", []byte(`{"id":"c-1"}`), false, UnknownCommand, "no such", "c-1"},
		{"a level too many", "limit/now", []byte(limitText), false, UnknownCommand, "no such", "c-1"},

		{"no id", "limit", limit(`"id":"c-1",`, ""), false, Invalid, "id: missing", ""},
		{"id in capitals is another field", "limit", limit(`"id"`, `"ID"`), false, Invalid, "id: missing", ""},
		{"id too long", "limit", limit("c-1", strings.Repeat("x", 65)), false, Invalid, "id: not 1 to 64", ""},
		{"id with a space", "limit", limit("c-1", "c 1"), false, Invalid, "id: not 1 to 64", ""},
		{"no issuer", "limit", limit(`"issuer":"scada-1",`, ""), false, Invalid, "issuer: missing", "c-1"},
		{"negative seq", "limit", limit(`"seq":7`, `"seq":-7`), false, Invalid, "seq: -7 is not", "c-1"},
		{"seq with decimals", "limit", limit(`"seq":7`, `"seq":7.5`), false, Invalid, "seq: 7.5 is not", "c-1"},
		{"seq beyond 2^53", "limit", limit(`"seq":7`, `"seq":9007199254740993`), false, Invalid, "seq:", "c-1"},
		{"seq as text", "limit", limit(`"seq":7`, `"seq":"7"`), false, Invalid, "seq: not a number", "c-1"},
		{"no expiry", "limit", limit(`,"expires":"2026-11-24T17:05:00Z"`, ""), false, Invalid, "expires: missing", "c-1"},
		{"time without a zone", "limit", limit("17:05:00Z", "17:05:00"), false, Invalid, "expires: not an RFC 3339", "c-1"},
		{"time as a number", "limit", limit(`"2026-11-24T17:05:00Z"`, "1764000000"), false, Invalid, "expires: not an RFC 3339", "c-1"},
		{"year 9999", "limit", limit("2026-11-24T17:05", "9999-11-24T17:05"), false, Invalid, "expires: not an RFC 3339", "c-1"},
		{"class unknown", "limit", limit("network", "urgent"), false, Invalid, `class: "urgent"`, "c-1"},
		{"back-fed for ever", "topology", []byte(`{` + headText + `,"way":"W3","state":"back-fed"}`), false, Invalid, "for: back-fed must have an end", "c-1"},
		{"normal with an end", "topology", []byte(`{` + headText + `,"way":"W3","state":"normal","for":"8h"}`), false, Invalid, "for: normal has no end", "c-1"},
		{"supply unknown", "topology", []byte(`{` + headText + `,"way":"W3","state":"odd","for":"8h"}`), false, Invalid, `state: "odd" is none of`, "c-1"},
		{"supply of no way", "topology", []byte(`{` + headText + `,"state":"dead","for":"8h"}`), false, Invalid, "way: missing", "c-1"},
		{"two targets", "limit", limit(`"way":"W3"`, `"way":"W3","groups":["G1"]`), false, Invalid, "target: exactly one", "c-1"},
		{"no target", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `{}`), false, Invalid, "target: exactly one", "c-1"},
		{"target not an object", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `"W3"`), false, Invalid, "target: not an object", "c-1"},
		{"no group in the list", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `{"groups":[]}`), false, Invalid, "target.groups: not a list", "c-1"},
		{"a group twice", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `{"groups":["G1","G1"]}`), false, Invalid, "target.groups: element 1", "c-1"},
		{"phases of a group", "limit", limit(`"way":"W3"`, `"groups":["G1"]`), false, Invalid, "target.phases: phases belong", "c-1"},
		{"no such phase", "limit", limit("L3", "L4"), false, Invalid, `target.phases: "L4"`, "c-1"},
		{"neither start", "limit", limit(`"start_in":"20m",`, ""), false, Invalid, "start: one of", "c-1"},
		{"both starts", "limit", limit(`"start_in"`, `"start":"2026-11-24T17:00:00Z","start_in"`), false, Invalid, "start: start and start_in", "c-1"},
		{"duration without a unit", "limit", limit(`"30m"`, `"30"`), false, Invalid, `duration: "30"`, "c-1"},
		{"duration as a number", "limit", limit(`"30m"`, `30`), false, Invalid, "duration: not a duration", "c-1"},
		{"duration zero", "limit", limit(`"30m"`, `"0s"`), false, Invalid, "duration: 0s is too short", "c-1"},
		{"duration zero without a unit", "limit", limit(`"0s"`, `"0"`), false, Invalid, `randomise: "0"`, "c-1"},
		{"duration negative", "limit", limit(`"30m"`, `"-30m"`), false, Invalid, "duration: -30m0s is too short", "c-1"},
		{"duration of a year", "limit", limit(`"30m"`, `"8760h"`), false, Invalid, "duration: 8760h0m0s is above", "c-1"},
		{"no limit at all", "limit", limit(`"limit":{"amps":16.5},`, ""), false, Invalid, "limit: missing", "c-1"},
		{"two limits", "limit", limit(`"amps":16.5`, `"amps":16,"watts":3600`), false, Invalid, "limit: exactly one", "c-1"},
		{"empty limit", "limit", limit(`{"amps":16.5}`, `{}`), false, Invalid, "limit: exactly one", "c-1"},
		{"limit off", "limit", limit(`{"amps":16.5}`, `"off"`), false, Invalid, `limit: "off"`, "c-1"},
		{"negative amps", "limit", limit("16.5", "-1"), false, Invalid, "limit.amps: -1 is not", "c-1"},
		{"huge amps", "limit", limit("16.5", "1e400"), false, Invalid, "limit.amps: 1e400 is not", "c-1"},
		{"above any rating", "limit", limit("16.5", "10000.1"), false, Invalid, "limit.amps: 10000.1 is not", "c-1"},
		{"amps as text", "limit", limit("16.5", `"16"`), false, Invalid, "limit.amps: not a number", "c-1"},
		{"101 per cent", "limit", limit(`"amps":16.5`, `"percent":101`), false, Invalid, "limit.percent: 101 is not", "c-1"},
		{"a supply point with a wrong check digit", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `{"mpans":["2012345678906","2012345678907"]}`), false, Invalid, "target.mpans: element 1 is not 13 digits", "c-1"},
		{"a supply point twice", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `{"mpans":["2012345678906","2012345678906"]}`), false, Invalid, "target.mpans: element 1 comes twice", "c-1"},
		{"no supply point in the list", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `{"mpans":[]}`), false, Invalid, "target.mpans: not a list", "c-1"},
		{"a supply point as a group", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `{"groups":["2012345678906"]}`), false, Invalid, "target.groups: a supply point's number", "c-1"},
		{"a supply point as a way", "limit", limit(`{"way":"W3","phases":["L1","L3"]}`, `{"way":"2012345678906"}`), false, Invalid, "target.way: a supply point's number", "c-1"},
		{"limit and curve", "limit", limit(`"limit"`, `"curve":[{"for":"30m","amps":6}],"limit"`), false, Invalid, "limit: limit and curve", "c-1"},
		{"a curve with a duration", "limit", limit(`"limit":{"amps":16.5}`, `"curve":[{"for":"30m","amps":6}]`), false, Invalid, "duration: a curve lasts", "c-1"},
		{"a curve of nothing", "limit", limit(`"duration":"30m","limit":{"amps":16.5}`, `"curve":[]`), false, Invalid, "curve: not a list of 1 to 96", "c-1"},
		{"a curve of a number", "limit", limit(`"duration":"30m","limit":{"amps":16.5}`, `"curve":[1]`), false, Invalid, "curve: element 0 is not an object", "c-1"},
		{"a block of no length", "limit", limit(`"duration":"30m","limit":{"amps":16.5}`, `"curve":[{"for":"30m","amps":6},{"for":"0s","amps":6}]`), false, Invalid, "curve[1].for: 0s is too short", "c-1"},
		{"a block without a limit", "limit", limit(`"duration":"30m","limit":{"amps":16.5}`, `"curve":[{"for":"30m"}]`), false, Invalid, "curve[0]: exactly one of amps", "c-1"},
		{"a negative block", "limit", limit(`"duration":"30m","limit":{"amps":16.5}`, `"curve":[{"for":"30m","amps":-6}]`), false, Invalid, "curve[0].amps: -6 is not", "c-1"},
		{"blocks of two units", "limit", limit(`"duration":"30m","limit":{"amps":16.5}`, `"curve":[{"for":"30m","amps":6},{"for":"30m","percent":6}]`), false, Invalid, "curve[1]: in another unit", "c-1"},
		{"a regime and amps", "limit", limit(`{"amps":16.5}`, `{"amps":16.5,"regime":"red"}`), false, Invalid, "limit.regime: regime and an amount", "c-1"},
		{"a regime that is none", "limit", limit(`{"amps":16.5}`, `{"regime":"blue"}`), false, Invalid, `limit.regime: "blue"`, "c-1"},
		{"a regime ordered by a person", "override", with(t, override, `{"amps":10}`, `{"regime":"red"}`), false, Invalid, "limit.regime: a regime is not", "c-1"},
		{"compensation too long", "limit", limit("token", strings.Repeat("x", 1023)), false, Invalid, "compensation: 1025 octets", "c-1"},

		{"cancels nothing", "cancel", []byte(`{` + headText + `}`), false, Invalid, "cancels: missing", "c-1"},
		{"override by nobody", "override", with(t, override, `"J. Smith"`, `""`), false, Invalid, "by: empty", "c-1"},
		{"silence for ever", "silence", []byte(`{` + headText + `,"by":"x"}`), false, Invalid, "for: missing", "c-1"},
		{"restoration of no kind", "restoration", []byte(`{` + headText + `,"kind":"off","by":"x"}`), false, Invalid, `kind: "off"`, "c-1"},
		{"restoration let go for a time", "restoration", []byte(`{` + headText + `,"kind":"release","for":"1h","by":"x"}`), false, Invalid, "for: only", "c-1"},
		{"override of no kind", "override", with(t, override, `"kind":"limit"`, `"kind":"off"`), false, Invalid, `kind: "off"`, "c-1"},
		{"release with a limit", "override", with(t, override, `"kind":"limit"`, `"kind":"release"`), false, Invalid, "limit: only", "c-1"},
		{"limit override without one", "override", with(t, override, `"limit":{"amps":10},`, ""), false, Invalid, "limit: missing", "c-1"},
		{"override without expiry", "override", with(t, override, `"expires"`, `"until"`), false, Invalid, "expires: missing", "c-1"},
		{"resend from 0", "resend", with(t, resend, `"from":1`, `"from":0`), false, Invalid, "from: records are", "c-1"},
		{"resend by number and time", "resend", with(t, resend, `"from":1`, `"since":"2026-11-24T17:00:00Z","until":"2026-11-24T18:00:00Z","from":1`), false, Invalid, "from: from and to", "c-1"},
		{"resend by half a time", "resend", with(t, resend, `"from":1,"to":96`, `"since":"2026-11-24T17:00:00Z"`), false, Invalid, "until: missing", "c-1"},
		{"resend backwards in time", "resend", with(t, resend, `"from":1,"to":96`, `"since":"2026-11-24T17:00:00Z","until":"2026-11-24T16:00:00Z"`), false, Invalid, "until: 2026-11-24T16:00:00Z is before", "c-1"},
		{"resend backwards", "resend", with(t, resend, `"from":1`, `"from":97`), false, Invalid, "to: 96 is before", "c-1"},
		{"generation too large", "resend", with(t, resend, `"from":1`, `"from":1,"g":4294967296`), false, Invalid, "g: 4294967296", "c-1"},
		{"birth without id", "birth", []byte(`{"issued":"2026-11-24T17:00:00Z"}`), false, Invalid, "id: missing", ""},
		{"acknowledges two things", "ack", []byte(`{` + headText + `,"target":{"way":"W3"},"alarm":"a"}`), false, Invalid, "target: exactly one", "c-1"},
		{"acknowledges nothing", "ack", []byte(`{` + headText + `}`), false, Invalid, "target: exactly one", "c-1"},
		{"telemetry of nothing", "telemetry", []byte(`{` + headText + `,"groups":[]}`), false, Invalid, "groups: not a list of 1 to 200", "c-1"},
		{"telemetry of a number", "telemetry", []byte(`{` + headText + `,"groups":[1]}`), false, Invalid, "groups: element 0 is not an object", "c-1"},
		{"telemetry of one group twice", "telemetry", []byte(`{` + headText + `,"groups":[` + telemetryText + `,` + telemetryText + `]}`), false, Invalid, "groups[1].group: G1 comes twice", "c-1"},
		{"telemetry without a state", "telemetry", []byte(`{` + headText + `,"groups":[` + strings.Replace(telemetryText, "idle", "off", 1) + `]}`), false, Invalid, `groups[0].state: "off" is none`, "c-1"},
		{"telemetry without a time", "telemetry", []byte(`{` + headText + `,"groups":[` + strings.Replace(telemetryText, `"t"`, `"at"`, 1) + `]}`), false, Invalid, "groups[0].t: missing", "c-1"},
		{"an override of nothing", "telemetry", []byte(`{` + headText + `,"groups":[` + strings.Replace(telemetryText, `"L1":{"i":7}`, `"override":{}`, 1) + `]}`), false, Invalid, "groups[0].override.active: missing", "c-1"},
		{"an override that is a number", "telemetry", []byte(`{` + headText + `,"groups":[` + strings.Replace(telemetryText, `"L1":{"i":7}`, `"override":{"active":1}`, 1) + `]}`), false, Invalid, "groups[0].override.active: not true or false", "c-1"},
		{"negative energy", "telemetry", []byte(`{` + headText + `,"groups":[` + strings.Replace(telemetryText, `"L1":{"i":7}`, `"override":{"active":true,"kwh":-1}`, 1) + `]}`), false, Invalid, "groups[0].override.kwh: -1", "c-1"},
		{"a negative limit held", "telemetry", []byte(`{` + headText + `,"groups":[` + strings.Replace(telemetryText, `"L1":{"i":7}`, `"limit_a":-1`, 1) + `]}`), false, Invalid, "groups[0].limit_a: -1", "c-1"},
		{"negative current", "telemetry", []byte(`{` + headText + `,"groups":[` + strings.Replace(telemetryText, "7", "-7", 1) + `]}`), false, Invalid, "groups[0].L1.i: -7 is not a number from 0", "c-1"},
		{"a phase that is a number", "telemetry", []byte(`{` + headText + `,"groups":[` + strings.Replace(telemetryText, `{"i":7}`, "7", 1) + `]}`), false, Invalid, "groups[0].L1: not an object", "c-1"},
		{"no site file", "config", []byte(`{` + headText + `}`), false, Invalid, "site: exactly one of", "c-1"},
		{"a site file and the end of its trial", "config", []byte(`{` + headText + `,"site":"x","confirm":"k"}`), false, Invalid, "site: exactly one of", "c-1"},
		{"a site file for ever", "config", []byte(`{` + headText + `,"site":"x"}`), false, Invalid, "confirm_within: missing", "c-1"},
		{"a site file for two days", "config", []byte(`{` + headText + `,"site":"x","confirm_within":"48h"}`), false, Invalid, "confirm_within: 48h0m0s is above", "c-1"},
		{"heartbeat of nobody", "heartbeat", []byte(`{"epoch":1,"seq":1}`), false, Invalid, "issuer: missing", ""},
	}
	open := compiled(t, false)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, r := Decode("lv/v1/EPN-E1234/cmd/"+tt.command, tt.payload, tt.retained)
			conforms(t, open, tt.name, tt.command, tt.payload, r)
			if r == nil {
				t.Fatalf("accepted: %+v", c)
			}
			if r.Code != tt.code || !strings.HasPrefix(r.Detail, tt.detail) || r.ID != tt.id || r.Command != tt.command {
				t.Errorf("got %+v, want %s of id %q: %s", *r, tt.code, tt.id, tt.detail)
			}
			if want := tt.command != "heartbeat"; r.Answered() != want {
				t.Errorf("answered = %v, want %v", r.Answered(), want)
			}
		})
	}
}

// The hash is the same for the same order written differently, and differs as
// soon as the order does.
func TestHash(t *testing.T) {
	decode := func(payload string) Command {
		t.Helper()
		c, r := Decode("lv/v1/a/cmd/cancel", []byte(payload), false)
		if r != nil {
			t.Fatal(r)
		}
		return c
	}
	first := decode(`{` + headText + `,"cancels":"c-0"}`)
	again := decode(`{ "cancels": "c-0", "sig": "AAAA", ` + headText + ` }`)
	other := decode(`{` + headText + `,"cancels":"c-2"}`)
	if first.Hash != again.Hash {
		t.Errorf("the same order has two hashes:\n%s\n%s", first.Canonical, again.Canonical)
	}
	if again.Signature != "AAAA" || bytes.Contains(again.Canonical, []byte("sig")) {
		t.Errorf("signature %q, canonical %s", again.Signature, again.Canonical)
	}
	if first.Hash == other.Hash {
		t.Error("two orders have one hash")
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{limitText, `{}`, `{"id":"x","target":{"groups":["G1"]}}`, "\xff", `{"limit":"none"}`, `{"a":[[[[[1e9]]]]]}`} {
		for _, name := range []string{"heartbeat", "limit", "cancel", "override", "resend", "birth", "ack", "telemetry", "config", "x"} {
			f.Add(name, []byte(seed), false)
		}
	}
	f.Add("limit", bytes.Repeat([]byte{'['}, 1<<20), false)
	f.Add("telemetry", []byte(`{`+headText+`,"groups":[`+telemetryText+`]}`), false)
	open := compiled(f, false)
	f.Fuzz(func(t *testing.T, name string, payload []byte, retained bool) {
		c, r := Decode("lv/v1/a/cmd/"+name, payload, retained)
		if (r == nil) == (c.Body == nil) {
			t.Fatalf("neither or both of command and refusal: %+v, %+v", c, r)
		}
		if r != nil {
			a := r.Ack(time.Unix(0, 0))
			if body := AppendAck(nil, "a", &a); !json.Valid(body) {
				t.Fatalf("acknowledgement is not JSON: %s", body)
			}
			return
		}
		if retained {
			t.Fatal("a retained command was accepted")
		}
		conforms(t, open, "", name, payload, nil)
		again, r := Decode("lv/v1/a/cmd/"+name, c.Canonical, false)
		if r != nil || again.Hash != c.Hash {
			t.Fatalf("canonical form is not stable: %v\n%s\n%s", r, c.Canonical, again.Canonical)
		}
		if l, ok := c.Body.(Limit); ok && (l.Value.Thousandths < 0 || (l.Value.Unit == 0) != (len(l.Curve) > 0) || l.Duration < 0 || l.Class == 0) {
			t.Fatalf("limit out of range: %+v", l)
		}
	})
}
