package core

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lvagent/agent/clock"
	"lvagent/agent/message"
	"lvagent/agent/message/schematest"
	"lvagent/agent/outbox"
	"lvagent/agent/uplink"
	"lvagent/configs"
	"lvagent/failsafe"
	"lvagent/meter"
)

const siteText = `
site: {id: S1, transformer_kva: 500}
clock: {source: assume}
meters: [{id: m1, url: "tcp://127.0.0.1:1502", unit: 1, profile: eastron-sdm630}]
ways: [{id: W1, meter: m1, rating_a: 300}]
groups:
  - {id: G1, way: W1, phases: [L1], rating_a: 96, failsafe_a: 24, output: {kind: modbus, url: "tcp://127.0.0.1:1502", unit: 1, holding: 1}}
alarms: [{quantity: i, phases: [L1], kind: hi, threshold: 300, hysteresis: 9, on_delay: 2s, off_delay: 5s}]
failsafe: {issuers: [scada-1], entry_spread: 0s, restore_period: 0s, restore_spread: 0s}
uplink: {broker: "tcp://127.0.0.1:1883"}
`

// rig is a loop with everything around it in the test's hands. All its methods
// are called with the loop at rest (synctest.Wait).
type rig struct {
	t        *testing.T
	loop     *Loop
	records  []outbox.Record
	batches  []batch // as they were handed over, each to be committed whole or not at all
	kept     map[string][]byte
	retained map[string][]byte
	repeats  int      // of everything that is retained
	states   []uint64 // versions handed to the saver
	hold     bool     // the disk does not answer
	told     []meter.Milliamps
	resends  []outbox.Resend
	amps     meter.Milliamps  // what each phase carries
	volts    meter.Millivolts // of each phase; 0: 240 V
	health   outbox.Health
	unsaved  string // why the failsafe state is not stored
	clock    clock.State
	met      atomic.Uint64
	mute     bool // the actuator does not answer
	seq      uint64
	start    time.Time
	stop     context.CancelFunc
	done     chan struct{}
}

type batch struct {
	records []outbox.Record
	kept    []outbox.Kept
}

func (r *rig) Store(_ bool, records []outbox.Record, kept ...outbox.Kept) {
	for i := range records {
		if err := schematest.CheckRecord(records[i].Stream, records[i].Body); err != nil {
			r.t.Error(err)
		}
	}
	r.records = append(r.records, records...)
	r.batches = append(r.batches, batch{records, kept})
	for _, k := range kept {
		r.kept[k.Key] = k.Value
	}
}
func (r *rig) Health() outbox.Health    { return r.health }
func (r *rig) Get(key string) []byte    { return r.kept[key] }
func (r *rig) Resend(ask outbox.Resend) { r.resends = append(r.resends, ask) }
func (r *rig) Retain(topic string, body []byte) {
	if err := schematest.Check(topic, body); err != nil {
		r.t.Error(err)
	}
	r.retained[topic] = body
}
func (r *rig) Repeat()         { r.repeats++ }
func (r *rig) Failing() string { return r.unsaved }

func (r *rig) Save(version uint64, _ []byte) {
	r.states = append(r.states, version)
	if !r.hold {
		r.loop.Saved(version)
	}
}

func newRig(t *testing.T) *rig { return newRigOf(t, siteText, map[string][]byte{}) }

// newRigOf is a loop of a site file that goes on from what was kept.
func newRigOf(t *testing.T, site string, kept map[string][]byte) *rig {
	t.Helper()
	r := stillRig(t, site, kept, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { defer close(r.done); r.loop.Run(ctx) }()
	synctest.Wait()
	return r
}

// stillRig is a loop that does not run. Its clock is the bubble's, or what passed
// says.
func stillRig(t *testing.T, site string, kept map[string][]byte, passed *time.Duration) *rig {
	t.Helper()
	cfg, _, faults := configs.Parse("site.yaml", []byte(site))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	r := &rig{t: t, amps: 50_000, kept: kept, retained: map[string][]byte{}, start: time.Now(), clock: clock.State{Clock: meter.Assumed}, done: make(chan struct{})}
	wall := time.Now
	if start := r.start; passed != nil {
		wall = func() time.Time { return start.Add(*passed) }
	}
	engine := failsafe.NewEngine(cfg.Engine([32]byte{}))
	r.loop = New(Options{
		Config: cfg, Topics: message.NewTopics(cfg.Uplink.Prefix, "S1"), Engine: engine,
		State: engine.New(0, wall(), false), Status: message.Status{State: message.Online, Boot: "b1", Version: "dev", Config: "sha256:0"}, Outbox: r, Uplink: r, Saver: r,
		Outputs: map[string]Output{"G1": func(g string, limit meter.Milliamps) bool {
			r.told = append(r.told, limit)
			if !r.mute {
				r.loop.Feedback(failsafe.Feedback{Group: g, Told: limit, Limit: limit, OK: true})
			}
			return true
		}},
		Now: func() time.Duration { r.meet(); return wall().Sub(r.start) }, Wall: func() time.Time { r.meet(); return wall() },
		Clock: func() clock.State { return r.clock }, Log: slog.New(slog.DiscardHandler),
	})
	return r
}

// meet is where the test and the loop meet, for the race detector: a timer of the
// bubble wakes the loop after what the test did, but the detector does not know.
func (r *rig) meet() { r.met.Add(1) }

func (r *rig) pass(d time.Duration) {
	for range d / time.Second {
		r.meet()
		time.Sleep(time.Second)
		r.read()
		synctest.Wait()
	}
}

// read delivers a good reading.
func (r *rig) read() {
	rd := meter.Reading{Way: "W1", At: time.Since(r.start)}
	volts, amps, watts := r.volts, r.amps, meter.Milliwatts(12_000_000)
	switch {
	case volts == 0:
		volts = 240_000
	case volts < 100_000: // nothing is drawn without supply
		amps, watts = 0, 0
	}
	for p := range rd.Phase {
		rd.Phase[p] = meter.PhaseReading{
			V: meter.Sample[meter.Millivolts]{Value: volts, Quality: meter.Good},
			I: meter.Sample[meter.Milliamps]{Value: amps, Quality: meter.Good},
			P: meter.Sample[meter.Milliwatts]{Value: watts, Quality: meter.Good},
			Q: meter.Sample[meter.Millivars]{Quality: meter.Good},
		}
	}
	rd.Neutral = meter.Sample[meter.Milliamps]{Quality: meter.Good}
	r.loop.Reading(rd)
}

func (r *rig) send(name, body string) {
	r.loop.Inbound(uplink.Inbound{Topic: "lv/v1/S1/cmd/" + name, Payload: []byte(body)})
	synctest.Wait()
}

func (r *rig) beat() {
	r.seq++
	r.send("heartbeat", fmt.Sprintf(`{"issuer":"scada-1","epoch":1,"seq":%d}`, r.seq))
}

func (r *rig) limit(id, limit string) {
	r.seq++
	now := time.Now().UTC()
	r.send("limit", fmt.Sprintf(`{"id":%q,"issuer":"scada-1","epoch":1,"seq":%d,"issued":%q,"expires":%q,"class":"network",
		"target":{"way":"W1"},"start_in":"0s","duration":"10m","limit":%s}`,
		id, r.seq, now.Format(time.RFC3339), now.Add(time.Minute).Format(time.RFC3339), limit))
}

func (r *rig) stages(id string) (stages []string) {
	for _, rec := range r.records {
		var a struct{ ID, Stage, Code string }
		if rec.Stream == message.AckStream && json.Unmarshal(rec.Body, &a) == nil && a.ID == id {
			stages = append(stages, strings.TrimSpace(a.Stage+" "+a.Code))
		}
	}
	return stages
}

func (r *rig) last() meter.Milliamps {
	r.t.Helper()
	if len(r.told) == 0 {
		r.t.Fatal("the actuator was told nothing")
	}
	return r.told[len(r.told)-1]
}

func (r *rig) end() {
	r.stop()
	<-r.done
}

func TestStartTellsTheFailsafeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		if got := r.last(); got != 24_000 {
			t.Errorf("first limit = %d, want the failsafe limit 24000", got)
		}
	})
}

// A decrease goes out before its state is stored; an increase after, and so
// does every word about it.
func TestRaisesWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(2 * time.Second)
		r.hold = true
		r.beat()
		r.limit("c1", `{"amps":10}`)
		if got := r.last(); got != 10_000 {
			t.Errorf("decrease with a silent disk = %d, want 10000 at once", got)
		}
		if got := r.stages("c1"); len(got) != 0 {
			t.Errorf("acknowledged %q before the state was stored", got)
		}
		r.limit("c2", `"none"`)
		r.pass(5 * time.Second)
		if got := r.last(); got != 10_000 {
			t.Errorf("increase with a silent disk = %d, want none", got)
		}
		r.hold = false
		r.loop.Saved(r.states[len(r.states)-1])
		synctest.Wait()
		r.pass(3 * time.Second)
		if got := r.last(); got != 96_000 {
			t.Errorf("limit after the disk answered = %d, want the rating", got)
		}
		want := "[received active actuated superseded]"
		if got := fmt.Sprint(r.stages("c1")); got != want {
			t.Errorf("ladder of c1 = %s, want %s", got, want)
		}
	})
}

func TestSilenceReachesTheActuator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(time.Second)
		r.beat()
		r.limit("c1", `"none"`)
		r.pass(5 * time.Second)
		if got := r.last(); got != 96_000 {
			t.Fatalf("limit while heard = %d", got)
		}
		r.pass(116 * time.Second)
		if got := r.last(); got != 24_000 {
			t.Errorf("limit 121 s after the last heartbeat = %d, want 24000", got)
		}
		var f struct {
			State string
			Ways  map[string]struct{ State, Cause, Ends string }
		}
		if err := json.Unmarshal(r.retained["lv/v1/S1/up/failsafe"], &f); err != nil {
			t.Fatal(err)
		}
		if w := f.Ways["W1"]; f.State != "FAILSAFE" || w.Cause != "HEARTBEAT_LOST" || w.Ends == "" {
			t.Errorf("up/failsafe = %+v", f)
		}
	})
}

func TestWhatIsNotACommandIsRefused(t *testing.T) {
	tests := []struct {
		name, topic, body string
		retained          bool
		want              string
	}{
		{"not JSON", "limit", "{", false, "rejected MALFORMED"},
		{"no such command", "jump", `{"id":"x"}`, false, "rejected UNKNOWN_COMMAND"},
		{"retained", "limit", `{"id":"x"}`, true, "rejected RETAINED"},
		{"fields missing", "limit", `{"id":"x"}`, false, "rejected INVALID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				defer r.end()
				told := len(r.told)
				r.loop.Inbound(uplink.Inbound{Topic: "lv/v1/S1/cmd/" + tt.topic, Payload: []byte(tt.body), Retained: tt.retained})
				synctest.Wait()
				var got []string
				for _, rec := range r.records {
					var a struct{ Stage, Code string }
					if rec.Stream == message.AckStream && json.Unmarshal(rec.Body, &a) == nil {
						got = append(got, a.Stage+" "+a.Code)
					}
				}
				if len(got) != 1 || got[0] != tt.want {
					t.Errorf("answers = %q, want %q", got, tt.want)
				}
				if len(r.told) != told {
					t.Error("a refused command moved the actuator")
				}
			})
		})
	}
}

// An answer to an older limit is no answer to the newest.
func TestAnOldAnswerConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(time.Second)
		r.mute = true
		r.limit("c1", `{"amps":10}`)
		r.limit("c2", `{"amps":6}`)
		r.loop.Feedback(failsafe.Feedback{Group: "G1", Told: 10_000, Limit: 10_000, OK: true})
		r.pass(2 * time.Second)
		if got := fmt.Sprint(r.stages("c2")); got != "[received active]" {
			t.Errorf("ladder of c2 = %s, before its limit was read back", got)
		}
		r.loop.Feedback(failsafe.Feedback{Group: "G1", Told: 6_000, Limit: 6_000, OK: true})
		r.pass(time.Second)
		if got := fmt.Sprint(r.stages("c2")); got != "[received active actuated]" {
			t.Errorf("ladder of c2 = %s", got)
		}
		r.mute = false
	})
}

// A stop waits for the actuators, but not for ever.
func TestStopGivesUpOnAMuteActuator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.pass(time.Second)
		r.mute = true
		began := time.Now()
		r.end()
		if took := time.Since(began); took != stopWithin {
			t.Errorf("stop took %v, want %v", took, stopWithin)
		}
	})
}

func TestHalfHoursGoOutWithTheirCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(31 * time.Minute)
		n := 0
		for _, rec := range r.records {
			if rec.Stream == "hh/W1" {
				n++
			}
		}
		if n != 1 || len(r.kept[windowsKey]) == 0 {
			t.Errorf("%d half-hours and a checkpoint of %d octets, want 1 and some", n, len(r.kept[windowsKey]))
		}
	})
}

// With a disk that never answers, what waits for it is bounded and counted.
func TestASilentDiskDoesNotFillTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(time.Second)
		r.hold = true
		for i := range mostHeld {
			r.limit(fmt.Sprint("c", i), `"none"`)
		}
		if n := len(r.loop.held); n != mostHeld {
			t.Errorf("%d records wait, want %d", n, mostHeld)
		}
		if got := r.loop.Counts().Unsaid; got != mostHeld {
			t.Errorf("%d let go, want %d: two for each command came", got, mostHeld)
		}
	})
}

func TestFalseHeartbeatsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.beat()
		for range 3 {
			r.send("heartbeat", `{"issuer":"scada-1","epoch":1,"seq":1}`)
			r.send("heartbeat", `{"issuer":"mallory","epoch":9,"seq":9}`)
		}
		if got := r.loop.Counts().FalseHeartbeats; got != 6 {
			t.Errorf("%d false heartbeats counted, want 6", got)
		}
	})
}

// R7: whether the centre lives is judged by when its heartbeats arrive, never by
// what they say of the time: its clock may be wrong, and ours.
func TestTheStampOfAHeartbeatIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		for i, stamp := range []string{`"1970-01-01T00:00:07Z"`, `"2099-01-01T00:00:00Z"`, `"2026-11-24T17:00:00Z"`} {
			r.pass(time.Second)
			before := r.loop.State.Heard
			r.send("heartbeat", fmt.Sprintf(`{"issuer":"scada-1","epoch":2,"seq":%d,"issued":%s}`, i+1, stamp))
			if r.loop.State.Heard <= before {
				t.Errorf("a heartbeat stamped %s does not count", stamp)
			}
		}
	})
}

// R3: an alarm goes out with the list of what is active, then the readings of
// the minute before it, then those that follow; the sum of the ways is measured
// like a way.
func TestAThresholdIsPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.end()
		r.pass(90 * time.Second)
		r.amps = 310_000
		r.pass(5 * time.Second)
		var raised, before, after int
		for _, rec := range r.records {
			switch {
			case rec.Stream == "alarm/W1" && bytes.Contains(rec.Body, []byte(`"id":"W1.L1.i.hi"`)):
				raised++
				if !bytes.Contains(rec.Body, []byte(`"value":310`)) {
					t.Errorf("alarm = %s", rec.Body)
				}
			case rec.Stream == "live/W1" && bytes.Contains(rec.Body, []byte(`"pre":true`)):
				before++
			case rec.Stream == "live/W1":
				after++
			}
		}
		if raised != 1 || before < 55 || after == 0 {
			t.Errorf("%d raises, %d readings before, %d after; want 1, about 60, some", raised, before, after)
		}
		if !bytes.Contains(r.kept[alarmsKey], []byte("W1.L1.i.hi")) {
			t.Errorf("kept alarms: %s", r.kept[alarmsKey])
		}
		if !bytes.Contains(r.retained["lv/v1/S1/up/alarmstate/W1"], []byte("W1.L1.i.hi")) {
			t.Errorf("alarmstate: %s", r.retained["lv/v1/S1/up/alarmstate/W1"])
		}
		r.pass(31 * time.Minute)
		sum := 0
		for _, rec := range r.records {
			if rec.Stream == "hh/TX" && !bytes.Contains(rec.Body, []byte(`"L1":null`)) {
				sum++
			}
		}
		if sum != 1 {
			t.Errorf("%d half-hours of the transformer, want 1", sum)
		}
	})
}
