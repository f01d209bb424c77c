//go:build integration

package hwtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lvagent/hwtest/bench"
	"lvagent/meter/metertest"
)

// measuring is the real agent with simulated meters, and all that it publishes
// through a real broker.
type measuring struct {
	t      *testing.T
	folder string
	file   string
	agent  *bench.Agent
	log    bytes.Buffer

	mu       sync.Mutex
	messages []bench.Message
	latest   map[string][]byte // by topic
}

// measure starts the agent on a site, of which meters and ways are given, and waits
// until it is there.
func measure(t *testing.T, site string, files map[string]string) *measuring {
	t.Helper()
	l := &measuring{t: t, folder: t.TempDir(), latest: map[string][]byte{}}
	broker := newMosquitto(t)
	centre, err := bench.JoinCentre(broker.addr, "bench-1", "scada-1")
	if err != nil {
		t.Fatal(err)
	}
	quit := make(chan struct{})
	var hearing sync.WaitGroup
	hearing.Go(func() {
		for {
			select {
			case m := <-centre.Heard():
				l.mu.Lock()
				l.messages = append(l.messages, m)
				l.latest[m.Topic] = m.Payload
				l.mu.Unlock()
			case <-quit:
				return
			}
		}
	})
	l.file = filepath.Join(l.folder, "site.yaml")
	files["site.yaml"] = fmt.Sprintf("clock: {source: assume}\nwindow: {period: 10s}\nuplink: {broker: \"tcp://%s\", spread: 0s}\nbuffer: {path: %q}\n%s", broker.addr, filepath.Join(l.folder, "store"), site)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(l.folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program, err := filepath.Abs("../bin/lvagent")
	if err != nil {
		t.Fatal(err)
	}
	if l.agent, err = bench.StartAgent(&l.log, program, "run", "--config", l.file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := l.agent.Stop(10 * time.Second); err != nil {
			t.Errorf("stop: %v", err)
		}
		close(quit)
		hearing.Wait()
		centre.Close()
		if t.Failed() {
			t.Logf("the agent's log:\n%s", l.log.String())
		}
	})
	eventually(t, "the agent is online", 20*time.Second, func() bool { return l.text("up/status", "online") })
	return l
}

// text reports whether the latest message of a topic has some text in it.
func (l *measuring) text(topic, text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.latest[topic], []byte(text))
}

// point is the code of a health point, "" while it is well, and whether there is
// such a point.
func (l *measuring) point(id string) (code string, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var h struct {
		Points map[string]struct{ State, Code string }
	}
	if l.latest["up/health"] == nil {
		return "", false
	}
	if err := json.Unmarshal(l.latest["up/health"], &h); err != nil {
		l.t.Errorf("%v: %s", err, l.latest["up/health"])
	}
	p, known := h.Points[id]
	if known && p.Code == "" && p.State != "ok" {
		return p.State, true
	}
	return p.Code, known
}

// records are the half-hours of a way, as they came.
func (l *measuring) records(way string) (all []record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.messages {
		if m.Topic != "up/hh/"+way {
			continue
		}
		var r record
		if err := json.Unmarshal(m.Payload, &r); err != nil {
			l.t.Errorf("%v: %s", err, m.Payload)
		}
		r.text = m.Payload
		all = append(all, r)
	}
	return all
}

// record is what these tests read of a half-hour. Absent numbers are nil.
type record struct {
	text     []byte
	Start    time.Time
	Coverage float64
	Samples  int
	Bad      int
	Flags    []string
	L1       *phaseRecord
	L2       *phaseRecord
	L3       *phaseRecord
	Number   uint64                  `json:"n"` // differs from N in case alone
	Neutral  *struct{ I statistics } `json:"N"`
}

type phaseRecord struct{ V, I, P, Q statistics }

type statistics struct{ RMS, Mean, Min, Max *float64 }

func (s *statistics) numbers() (all []float64) {
	for _, x := range []*float64{s.RMS, s.Mean, s.Min, s.Max} {
		if x != nil {
			all = append(all, *x)
		}
	}
	return all
}

// truthOf is what meter n shows: numbers that no other shows, and that move a
// little, for a meter that does not is frozen.
func truthOf(n, tick int) metertest.SDM630 {
	x, d := float64(n), float64(tick%2)*0.5
	return metertest.SDM630{
		V: [3]float64{230 + x/10 + d/10, 231 + x/10 + d/10, 232 + x/10 + d/10}, I: [3]float64{100 + 2*x + d, 110 + 2*x + d, 120 + 2*x + d},
		P: [3]float64{20000 + 100*x + d, 21000 + 100*x + d, 22000 + 100*x + d}, Q: [3]float64{1000 + 10*x + d, 1100 + 10*x + d, 1200 + 10*x + d},
		N: 50 + x + d,
	}
}

// isTrueOf reports whether every number of a record is one that meter n showed.
func (r *record) isTrueOf(n int) bool {
	low, high := truthOf(n, 0), truthOf(n, 1)
	in := func(s *statistics, low, high float64) bool {
		for _, x := range s.numbers() {
			if x < low-0.11 || x > high+1 { // as rounded on the wire
				return false
			}
		}
		return true
	}
	for p, ph := range []*phaseRecord{r.L1, r.L2, r.L3} {
		if ph != nil && !(in(&ph.V, low.V[p], high.V[p]) && in(&ph.I, low.I[p], high.I[p]) && in(&ph.P, low.P[p], high.P[p]) && in(&ph.Q, low.Q[p], high.Q[p])) {
			return false
		}
	}
	return r.Neutral == nil || in(&r.Neutral.I, low.N, high.N)
}

// meterFault is a way for a meter to go wrong, and what is to be said of it.
type meterFault struct {
	name  string
	fault metertest.Fault
	codes string // any of these
	ratio uint16 // the CT ratio that it is set to, with a moment of silence
	still bool   // it does not move any more
}

var meterFaults = []meterFault{
	{name: "drop", fault: metertest.Fault{Kind: metertest.Drop}, codes: "METER_OFFLINE"},
	{name: "mute", fault: metertest.Fault{Kind: metertest.Mute}, codes: "METER_OFFLINE"},
	{name: "late", fault: metertest.Fault{Kind: metertest.Late, Delay: 450 * time.Millisecond}, codes: "METER_OFFLINE METER_BAD_FRAME"},
	{name: "exception1", fault: metertest.Fault{Kind: metertest.Exceptional, Code: 1}, codes: "METER_EXCEPTION"},
	{name: "exception2", fault: metertest.Fault{Kind: metertest.Exceptional, Code: 2}, codes: "METER_EXCEPTION"},
	{name: "exception3", fault: metertest.Fault{Kind: metertest.Exceptional, Code: 3}, codes: "METER_EXCEPTION"},
	{name: "exception4", fault: metertest.Fault{Kind: metertest.Exceptional, Code: 4}, codes: "METER_EXCEPTION"},
	{name: "exception6", fault: metertest.Fault{Kind: metertest.Exceptional, Code: 6}, codes: "METER_EXCEPTION"},
	{name: "gateway", fault: metertest.Fault{Kind: metertest.Exceptional, Code: 11}, codes: "METER_OFFLINE"},
	{name: "wrong_unit", fault: metertest.Fault{Kind: metertest.WrongUnit}, codes: "METER_BAD_FRAME"},
	{name: "wrong_transaction", fault: metertest.Fault{Kind: metertest.WrongTransaction}, codes: "METER_OFFLINE"},
	{name: "bad_length", fault: metertest.Fault{Kind: metertest.BadLength}, codes: "METER_BAD_FRAME METER_OFFLINE"},
	{name: "short_frame", fault: metertest.Fault{Kind: metertest.ShortFrame}, codes: "METER_BAD_FRAME METER_OFFLINE"},
	{name: "truncated", fault: metertest.Fault{Kind: metertest.Truncated}, codes: "METER_BAD_FRAME METER_OFFLINE"},
	{name: "garbage", fault: metertest.Fault{Kind: metertest.Garbage}, codes: "METER_BAD_FRAME METER_OFFLINE"},
	{name: "nan", fault: metertest.Fault{Kind: metertest.NaN}, codes: "METER_INVALID"},
	// The register of the ratio too reads as these words, when it is that which is read first.
	{name: "sentinel", fault: metertest.Fault{Kind: metertest.Sentinel, Word: 0xffff}, codes: "METER_INVALID METER_MISMATCH"},
	{name: "out_of_range", fault: metertest.Fault{Kind: metertest.Sentinel, Word: 0x7f7f}, codes: "METER_INVALID METER_MISMATCH"},
	{name: "ratio", ratio: 400, codes: "METER_MISMATCH"},
	{name: "frozen", still: true, codes: "METER_FROZEN"},
}

// ratioRegister is where the meters of this test have their CT ratio.
const ratioRegister = 100

// Bad input, against the running agent: every way for a meter to go wrong at once,
// each on a connection of its own that it shares with a meter that is well. Each is
// told of by its right code; no record has a number that its meter did not show;
// no meter that is well loses a reading; and what ends is over.
func TestMetersThatGoWrong(t *testing.T) {
	t.Parallel() // it mostly waits
	profile, err := os.ReadFile("../configs/meters/eastron-sdm630.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(profile), "id: eastron-sdm630", "id: checked", 1) +
		fmt.Sprintf("ratios: {applied_by: meter, ct: {primary: {fc: 3, addr: %d, type: u16}}}\n", ratioRegister)
	var site strings.Builder
	var units []*metertest.Unit // two for each fault: the one that fails, the one that is well
	site.WriteString("site: {id: bench-1}\nmeters:\n")
	for i, f := range meterFaults {
		s, err := metertest.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		for unit := range uint8(2) {
			fmt.Fprintf(&site, "  - {id: m%d, url: %q, unit: %d, profile: checked.yaml, timeout: 300ms}\n", 2*i+int(unit), s.URL(), unit+1)
			u := s.Unit(unit + 1)
			u.SetHolding(ratioRegister, 200)
			u.SetSDM630(truthOf(len(units), 0))
			units = append(units, u)
		}
		_ = f
	}
	site.WriteString("ways:\n")
	for n := range units {
		fmt.Fprintf(&site, "  - {id: W%d, meter: m%d, rating_a: 400, ct_ratio: 200}\n", n, n)
	}
	var mu sync.Mutex
	still := map[int]bool{}
	quit, moved := make(chan struct{}), sync.WaitGroup{}
	moved.Go(func() {
		step := time.NewTicker(250 * time.Millisecond)
		defer step.Stop()
		for tick := 0; ; tick++ {
			select {
			case <-quit:
				return
			case <-step.C:
			}
			mu.Lock()
			for n, u := range units {
				if !still[n] {
					// Every fourth step, so that one poll in a row sees another value.
					u.SetSDM630(truthOf(n, tick/4))
				}
			}
			mu.Unlock()
		}
	})
	t.Cleanup(func() { close(quit); moved.Wait() })

	l := measure(t, site.String(), map[string]string{"checked.yaml": text})
	well := func(n int) bool {
		code, known := l.point(fmt.Sprint("meter/m", n))
		return known && code == ""
	}
	for n := range units {
		eventually(t, fmt.Sprintf("meter m%d is well", n), 30*time.Second, func() bool { return well(n) })
	}
	began := time.Now()
	for i, f := range meterFaults {
		u := units[2*i]
		switch {
		case f.still:
			mu.Lock()
			still[2*i] = true
			mu.Unlock()
		case f.ratio > 0: // it restarts with it
			u.SetHolding(ratioRegister, f.ratio)
			u.Break(metertest.Fault{Kind: metertest.Drop, Times: 2})
		default:
			u.Break(f.fault)
		}
	}
	for i, f := range meterFaults {
		within := 10 * time.Second // a poll and a timeout, and the load of the machine that tests
		if f.still {
			within = 90 * time.Second // sixty readings
		}
		said := map[string]bool{}
		eventually(t, f.name+" is told as "+f.codes, within, func() bool {
			code, _ := l.point(fmt.Sprint("meter/m", 2*i))
			said[code] = true
			return slices.Contains(strings.Fields(f.codes), code)
		})
		t.Logf("%s told after %v", f.name, time.Since(began).Round(10*time.Millisecond))
		delete(said, "")
		for _, code := range strings.Fields(f.codes) {
			delete(said, code)
		}
		if delete(said, "METER_OFFLINE"); f.ratio == 0 && len(said) > 0 {
			t.Errorf("%s is told as %v too", f.name, said)
		}
	}
	for n := 1; n < len(units); n += 2 {
		if !well(n) {
			code, _ := l.point(fmt.Sprint("meter/m", n))
			t.Errorf("m%d, beside %s, is %s", n, meterFaults[n/2].name, code)
		}
	}
	for i, f := range meterFaults {
		units[2*i].Heal()
		if f.ratio > 0 {
			units[2*i].SetHolding(ratioRegister, 200)
		}
	}
	mu.Lock()
	clear(still)
	mu.Unlock()
	for i, f := range meterFaults {
		eventually(t, f.name+" is over", time.Minute, func() bool { return well(2 * i) })
	}
	// A whole period more, so that all that was measured is in a record.
	over := time.Now()
	for n := range units {
		eventually(t, fmt.Sprintf("a record of W%d from after that", n), 40*time.Second, func() bool {
			all := l.records(fmt.Sprint("W", n))
			return len(all) > 0 && all[len(all)-1].Start.After(over)
		})
	}
	for n := range units {
		all := l.records(fmt.Sprint("W", n))
		marked := false
		for i, r := range all {
			if !r.isTrueOf(n) {
				t.Errorf("W%d has a number that its meter did not show: %s", n, r.text)
			}
			marked = marked || r.Bad > 0 || r.Coverage < 1 || slices.Contains(r.Flags, "SUSPECT")
			if n%2 == 1 && i > 0 && (r.Bad > 0 || r.Coverage < 0.999) {
				t.Errorf("W%d, beside %s, was disturbed: %s", n, meterFaults[n/2].name, r.text)
			}
		}
		if n%2 == 0 && !marked {
			t.Errorf("no record of W%d says anything of %s", n, meterFaults[n/2].name)
		}
	}
}

// supplyProfile is a meter that knows of the supply: voltages between phases,
// frequency, distortion, events and its own temperature.
const supplyProfile = `schema: 1
id: supply
vendor: Nobody
models: [S1]
evidence: {level: bench, source: made up}
base: 0
max_gap: 50
defaults: {fc: 4, type: f32}
registers:
  - {quantity: v, addr: [0, 2, 4], unit: V}
  - {quantity: i, addr: [6, 8, 10], unit: A}
  - {quantity: p, addr: [12, 14, 16], unit: W}
  - {quantity: q, addr: [24, 26, 28], unit: var}
  - {quantity: n, addr: [0xe0], unit: A}
  - {quantity: f, addr: [70], unit: Hz}
  - {quantity: v_line, addr: [200, 202, 204], unit: V}
  - {quantity: thd_v, addr: [210, 212, 214], unit: '%'}
  - {quantity: dips, addr: [300], fc: 3, type: u16, unit: '1'}
  - {quantity: swells, addr: [301], fc: 3, type: u16, unit: '1'}
  - {quantity: temperature, addr: [302], fc: 3, type: s16, unit: °C, scale: 0.1}
vectors:
  - {name: none, words: [{fc: 4, addr: 0xe0, raw: [0, 0]}], want: {n: [0]}}
`

// What a meter says of the supply reaches the week's power quality, the records,
// the alarms and the transformer's loading (R5, R19). The week's 10-minute values
// are of ten minutes of the wall clock, and tested in virtual time.
func TestWhatAMeterSaysOfTheSupply(t *testing.T) {
	t.Parallel() // it mostly waits
	s, err := metertest.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	u := s.Unit(1)
	u.SetHolding(300, 7, 0, 0xff83) // 7 dips so far, -12.5 °C
	for i, v := range []float64{400, 412, 420} {
		u.SetFloat(200+2*uint16(i), v)
		u.SetFloat(210+2*uint16(i), 3.5+float64(i))
	}
	quit, moved := make(chan struct{}), sync.WaitGroup{}
	moved.Go(func() {
		step := time.NewTicker(time.Second)
		defer step.Stop()
		for tick := 0; ; tick++ {
			u.SetSDM630(truthOf(1, tick))
			u.SetFloat(70, 49.4)
			select {
			case <-quit:
				return
			case <-step.C:
			}
		}
	})
	t.Cleanup(func() { close(quit); moved.Wait() })
	l := measure(t, fmt.Sprintf(`site: {id: bench-1, transformer_kva: 500, transformer: {ambient_meter: m1}}
meters: [{id: m1, url: %q, unit: 1, profile: supply.yaml}]
ways: [{id: W1, meter: m1, rating_a: 400}]
alarms: [{kind: UNBALANCE, threshold: 1.5, mean: 1m}]
`, s.URL()), map[string]string{"supply.yaml": supplyProfile})

	eventually(t, "a temperature that is measured", time.Minute, func() bool { code, known := l.point("ambient"); return known && code == "" })
	if len(l.records("W1")) > 0 && slices.ContainsFunc(l.records("W1"), func(r record) bool { return slices.Contains(r.Flags, "PQ_EVENT") }) {
		t.Error("the dips from before the agent are an event of a record")
	}
	u.SetHolding(300, 9)
	eventually(t, "a record with PQ_EVENT", 2*time.Minute, func() bool {
		return slices.ContainsFunc(l.records("W1"), func(r record) bool { return slices.Contains(r.Flags, "PQ_EVENT") })
	})
	eventually(t, "the alarm UNBALANCE", 3*time.Minute, func() bool { return l.text("up/alarmstate/W1", "W1.UNBALANCE") })
	eventually(t, "the loading at the temperature measured", 6*time.Minute, func() bool { return l.text("up/capacity", `"ambient_c":-12.5`) })
	if l.text("up/capacity", "AMBIENT_ASSUMED") {
		t.Error("the temperature is assumed, and measured")
	}
	program, err := filepath.Abs("../bin/lvagent")
	if err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command(program, "pq", "--config", l.file, "--json").Output()
	if err != nil {
		t.Fatalf("lvagent pq: %v", err)
	}
	var got struct {
		Ways []struct {
			Dips      *int
			Frequency *struct {
				Readings int
				Out      int `json:"out_1pc"`
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil || len(got.Ways) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	w := got.Ways[0]
	if w.Dips == nil || *w.Dips != 2 || w.Frequency == nil || w.Frequency.Readings == 0 || w.Frequency.Out != w.Frequency.Readings {
		t.Errorf("want two dips, and every frequency beyond 1 %%: %s", text)
	}
}
