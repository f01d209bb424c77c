package journal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

// fill sets everything in v to something, so that a member which a step would
// lose is seen to be lost, a new one too.
func fill(rt *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(epoch.Add(time.Duration(rapid.Int64Range(0, 1<<40).Draw(rt, "time")))))
			return
		}
		for i := range v.NumField() {
			fill(rt, v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rt, v.Index(i))
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(rt, "length")
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rt, v.Index(i))
		}
	case reflect.String:
		v.SetString(rapid.SampledFrom([]string{"G1", "G2", "W1", "", "ä\n"}).Draw(rt, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(rt, "bool"))
	case reflect.Int64:
		v.SetInt(rapid.SampledFrom([]int64{0, 1_000_000, 96_000, -5, 1 << 62, -1 << 63}).Draw(rt, "number") + int64(rapid.IntRange(0, 9).Draw(rt, "more")))
	case reflect.Int:
		v.SetInt(int64(rapid.IntRange(-3, 1000).Draw(rt, "int")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(rt, "uint"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.IntRange(0, 3).Draw(rt, "octet")))
	default:
		rt.Fatalf("an input has a %v, of which the test knows nothing", v.Type())
	}
}

// What is written is read: each member of each input, whatever is in it.
func TestStepsRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := journal.NewWriter([]string{"G1", "G2"})
		var steps []journal.Step
		var text []byte
		now, n := time.Duration(0), uint64(0)
		for range rapid.IntRange(0, 12).Draw(rt, "steps") {
			now += time.Duration(rapid.SampledFrom([]int{0, 1, 1_000_000, 1_000_000_000}).Draw(rt, "gone"))
			s := journal.Step{N: n, Now: now, Wall: epoch.Add(now + time.Duration(rapid.IntRange(0, 1).Draw(rt, "stepped"))), Stop: rapid.Bool().Draw(rt, "stop")}
			if rapid.Bool().Draw(rt, "records") {
				s.First, s.Records = rapid.Uint64().Draw(rt, "first"), 2
			}
			if rapid.Bool().Draw(rt, "inputs") {
				fill(rt, reflect.ValueOf(&s.In).Elem())
			}
			if err := w.Add(&s); err != nil {
				rt.Fatal(err)
			}
			steps = append(steps, s)
			if n++; rapid.IntRange(0, 3).Draw(rt, "block") == 0 {
				text = sealed(rt, w, text)
			}
		}
		text = sealed(rt, w, text)
		got := read(rt, text, []string{"G1", "G2"})
		if a, b := asText(rt, got), asText(rt, steps); a != b {
			rt.Fatalf("read %s\nwrote %s", a, b)
		}
	})
}

func sealed(t rapid.TB, w *journal.Writer, text []byte) []byte {
	text, err := w.AppendTo(text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func read(t rapid.TB, text []byte, groups []string) (steps []journal.Step) {
	if skipped := journal.Scan(text, func(b journal.Block) bool {
		body, err := b.Body()
		if err == nil {
			err = journal.ReadSteps(body, groups, func(s *journal.Step) bool { steps = append(steps, *s); return true })
		}
		if err != nil {
			t.Fatal(err)
		}
		return true
	}); skipped != 0 {
		t.Fatal("skipped", skipped)
	}
	return steps
}

// asText says an empty list and none alike.
func asText(t rapid.TB, steps []journal.Step) string {
	out := ""
	for _, s := range steps {
		body, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		out += string(bytes.ReplaceAll(body, []byte("[]"), []byte("null"))) + "\n"
	}
	return out
}

// An octet that was altered is never read as if it had not been.
func TestAlteredOctetsAreSeen(t *testing.T) {
	w := journal.NewWriter([]string{"G1"})
	for i := range 50 {
		now := time.Duration(i) * time.Second
		s := journal.Step{N: uint64(i), Now: now, Wall: epoch.Add(now)}
		s.In.Loads = []failsafe.Load{{Way: "W1", At: now, I: [3]meter.Milliamps{meter.Milliamps(i * 37), 5, 6}}}
		if err := w.Add(&s); err != nil {
			t.Fatal(err)
		}
	}
	whole := sealed(t, w, nil)
	for i := range whole {
		for bit := range 8 {
			altered := bytes.Clone(whole)
			altered[i] ^= 1 << bit
			if skipped := journal.Scan(altered, func(journal.Block) bool { return true }); skipped == 0 {
				t.Fatalf("bit %d of octet %d altered, and nothing is said", bit, i)
			}
		}
	}
	if skipped := journal.Scan(append([]byte("xx"), whole[:len(whole)-1]...), func(journal.Block) bool { t.Error("a torn block"); return true }); skipped != len(whole)+1 {
		t.Errorf("skipped %d", skipped)
	}
}

func FuzzReadSteps(f *testing.F) {
	w := journal.NewWriter([]string{"G1"})
	for i := range 3 {
		s := journal.Step{N: uint64(i), Now: time.Duration(i) * time.Second, Wall: epoch, First: 3, Records: 1}
		s.In.Loads = []failsafe.Load{{Way: "W1", I: [3]meter.Milliamps{1, 2, 3}}}
		s.In.Draws = []failsafe.Draw{{Group: "G1", I: [3]meter.Milliamps{1, 2, 3}}}
		s.In.Feedback = []failsafe.Feedback{{Group: "G1", Told: 5, Limit: 6, OK: true}}
		s.In.Heartbeats = []failsafe.Heartbeat{{Issuer: "scada-1", Epoch: 1, Seq: 2}}
		if err := w.Add(&s); err != nil {
			f.Fatal(err)
		}
	}
	text, err := w.AppendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	journal.Scan(text, func(b journal.Block) bool {
		body, err := b.Body()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
		return true
	})
	f.Fuzz(func(t *testing.T, body []byte) {
		n := 0
		err := journal.ReadSteps(body, []string{"G1"}, func(s *journal.Step) bool {
			if n++; len(s.In.Feedback) > len(body) {
				t.Fatalf("%d answers of %d octets", len(s.In.Feedback), len(body))
			}
			return true
		})
		if n > len(body) {
			t.Fatalf("%d steps of %d octets, %v", n, len(body), err)
		}
	})
}

func FuzzScan(f *testing.F) {
	key, err := journal.AppendKey(nil, &journal.Key{Boot: "b1", Place: "UTC"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key)
	f.Fuzz(func(t *testing.T, data []byte) {
		journal.Scan(data, func(b journal.Block) bool {
			if body, err := b.Body(); err == nil && b.Kind == journal.KeyBlock {
				journal.ReadKey(body)
			}
			return true
		})
	})
}

func FuzzReadKey(f *testing.F) {
	cfg := failsafe.Config{Site: "S1", Ways: []failsafe.Way{{ID: "W1", Rating: [3]meter.Milliamps{300_000}}},
		Groups: []failsafe.Group{{ID: "G1", Way: "W1", Rating: 32_000}}, Timers: failsafe.DefaultTimers()}
	k := journal.Key{Boot: "b1", Place: "Europe/London", Engine: cfg, State: failsafe.NewEngine(cfg).New(0, epoch, false)}
	body, err := json.Marshal(&k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		if k, err := journal.ReadKey(body); err == nil && k.Engine.Place == nil {
			t.Fatal("a key without a place")
		}
	})
}

// What a plain second costs, and that writing it costs no garbage.
func TestSteadyStepsAreSmall(t *testing.T) {
	w := journal.NewWriter([]string{"G1"})
	loads := []failsafe.Load{}
	for i := range 6 {
		loads = append(loads, failsafe.Load{Way: fmt.Sprint("W", i), Quality: [3]meter.Quality{meter.Good, meter.Good, meter.Good}})
	}
	n := uint64(0)
	add := func() {
		now := time.Duration(n) * time.Second
		for i := range loads {
			loads[i].At = now
			for p := range loads[i].I {
				loads[i].I[p] += meter.Milliamps(100 * (int(n)%7 - 3))
			}
		}
		if err := w.Add(&journal.Step{N: n, Now: now, Wall: epoch.Add(now), In: failsafe.Inputs{Loads: loads, Clock: meter.Synced}}); err != nil {
			t.Fatal(err)
		}
		n++
	}
	for range 3600 {
		add()
	}
	text := sealed(t, w, nil)
	if per := len(text) / 3600; per > 64 {
		t.Errorf("%d octets a second", per)
	}
	add()
	if got := testing.AllocsPerRun(100, add); got > 0 {
		t.Errorf("%v allocations a step", got)
	}
}
