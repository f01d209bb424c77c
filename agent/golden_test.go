package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"lvagent/meter"
)

var update = flag.Bool("update", false, "write the golden runs anew")

// everything is all that the centre heard: records by stream, in order of their
// numbers, and the values of each retained topic with the instants at which they
// stood.
func (v *virtual) everything() map[string][]byte {
	all := map[string][]byte{}
	for s := range v.records {
		all[s] = append(bytes.Join(v.stream(s), []byte("\n")), '\n')
	}
	for topic, values := range v.retained {
		var b bytes.Buffer
		for _, k := range values {
			fmt.Fprintf(&b, "%s %s\n", k.at.Format("2006-01-02T15:04:05.000"), k.payload)
		}
		all["up/"+topic] = b.Bytes()
	}
	return all
}

// summary is what was heard, for people and to compare: a hash of each stream,
// and what happened.
func (v *virtual) summary() string {
	var b strings.Builder
	all := v.everything()
	b.WriteString("# streams and retained topics: lines, SHA-256\n")
	for _, s := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%-20s %6d %x\n", s, bytes.Count(all[s], []byte("\n")), sha256.Sum256(all[s]))
	}
	b.WriteString("\n# transitions\n")
	for _, text := range v.stream("audit") {
		var m struct {
			Record struct {
				Kind, Wall, Way, From, To, Cause, Source string
			}
		}
		v.read(text, &m)
		switch r := m.Record; r.Kind {
		case "transition":
			fmt.Fprintf(&b, "%s %s %s -> %s %s\n", r.Wall, r.Way, r.From, r.To, r.Cause)
		case "command":
			fmt.Fprintf(&b, "%s command %s %s\n", r.Wall, r.Source, r.To)
		case "start", "stop":
			fmt.Fprintf(&b, "%s agent %s\n", r.Wall, r.Kind)
		}
	}
	b.WriteString("\n# alarms\n")
	for _, s := range slices.Sorted(maps.Keys(v.records)) {
		if !strings.HasPrefix(s, "alarm/") {
			continue
		}
		for _, text := range v.stream(s) {
			var a struct {
				ID, Edge, T string
				Peak        *float64
			}
			v.read(text, &a)
			fmt.Fprintf(&b, "%s %s %s", a.T, a.Edge, a.ID)
			if a.Peak != nil {
				fmt.Fprintf(&b, " peak %v", *a.Peak)
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n# half-hours: mean power in kW, and what is remarked\n")
	for _, s := range slices.Sorted(maps.Keys(v.records)) {
		way, is := strings.CutPrefix(s, "hh/")
		if !is {
			continue
		}
		fmt.Fprintf(&b, "%s", way)
		var remarks []string
		for _, h := range v.halfHours(way) {
			kW := "-"
			if h.T != nil {
				kW = fmt.Sprint((h.T.P + 500) / 1000)
			}
			fmt.Fprintf(&b, " %s", kW)
			if f := slices.DeleteFunc(slices.Clone(h.Flags), func(f string) bool { return f == "UNAVAILABLE" }); len(f) > 0 {
				remarks = append(remarks, fmt.Sprintf("%s %s rev %d: coverage %v %s", way, h.Start.Format("15:04"), h.Rev, h.Coverage, strings.Join(f, " ")))
			}
		}
		b.WriteString("\n")
		for _, r := range remarks {
			b.WriteString(r + "\n")
		}
	}
	return b.String()
}

// halfHourSaid is a half-hour record, as far as tests look at it.
type halfHourSaid struct {
	Start, End time.Time
	Rev        int
	Coverage   float64
	Flags      []string
	T          *struct{ P int64 }
}

func (v *virtual) halfHours(way string) (all []halfHourSaid) {
	for _, text := range v.stream("hh/" + way) {
		var h halfHourSaid
		v.read(text, &h)
		all = append(all, h)
	}
	return all
}

func (v *virtual) read(text []byte, into any) {
	if err := json.Unmarshal(text, into); err != nil {
		v.t.Errorf("%s: %v", text, err)
	}
}

// happens is what happens at a time of a golden run.
type happens struct {
	after time.Duration
	what  func(v *virtual)
}

// The runs whose every octet is known. Each is played from midnight on.
var goldenRuns = []struct {
	name string
	long bool
	runs time.Duration
	plan []happens
}{
	{"morning", false, 2 * time.Hour, []happens{
		{12 * time.Minute, func(v *virtual) { v.broker.Cut() }},
		{18 * time.Minute, func(v *virtual) { v.broker.Restore() }},
		{35 * time.Minute, func(v *virtual) { v.setMute("W3", true) }},
		{38 * time.Minute, func(v *virtual) { v.setMute("W3", false) }},
		{50 * time.Minute, func(v *virtual) {
			v.limit(map[string]any{"target": map[string]any{"way": "W1"}, "start_in": "1m", "duration": "10m", "randomise": "0s", "limit": map[string]any{"amps": 16}})
		}},
		{70 * time.Minute, func(v *virtual) { v.crash() }},
		{71 * time.Minute, func(v *virtual) { v.start() }},
	}},
	{"day", true, 24 * time.Hour, []happens{
		{5 * time.Hour, func(v *virtual) { v.stepClock(3 * time.Second) }},
		{6 * time.Hour, func(v *virtual) {
			v.limit(map[string]any{"target": map[string]any{"way": "W3"}, "start_in": "5m", "duration": "30m", "randomise": "0s", "limit": map[string]any{"amps": 20}})
		}},
		{8 * time.Hour, func(v *virtual) { v.stop() }},
		{8*time.Hour + 20*time.Second, func(v *virtual) { v.start() }},
		{12 * time.Hour, func(v *virtual) { v.setMute("W3", true) }},
		{12*time.Hour + 3*time.Minute, func(v *virtual) { v.setMute("W3", false) }},
		{14 * time.Hour, func(v *virtual) { v.crash() }},
		{14*time.Hour + 40*time.Second, func(v *virtual) { v.start() }},
		{17*time.Hour + 30*time.Minute, func(v *virtual) { v.broker.Cut() }},
		{17*time.Hour + 50*time.Minute, func(v *virtual) { v.broker.Restore() }},
		{19 * time.Hour, func(v *virtual) { v.setExtra(1, meter.L1, 320_000) }}, // a neighbour's way is fed from here
		{19*time.Hour + 25*time.Minute, func(v *virtual) { v.setExtra(1, meter.L1, 0) }},
		{20 * time.Hour, func(v *virtual) {
			v.limit(map[string]any{"target": map[string]any{"groups": []string{"G4"}}, "start_in": "0s", "duration": "20m", "randomise": "0s", "limit": map[string]any{"percent": 40}})
		}},
		{21 * time.Hour, func(v *virtual) { v.setNoise("W5", true) }},
		{21*time.Hour + 2*time.Minute, func(v *virtual) { v.setNoise("W5", false) }},
		{22 * time.Hour, func(v *virtual) { v.loseSupply() }},
		{22*time.Hour + 10*time.Minute, func(v *virtual) { v.regainSupply() }},
	}},
}

// oddly is a part of a second at which nothing else happens: not a poll, not a
// cycle of the agent, not an event before.
func oddly(i int) time.Duration { return 181*time.Millisecond + time.Duration(i)*time.Millisecond }

// play runs a plan in a bubble of its own and returns what came of it. It takes
// over the process's dice, so that nothing else may run beside it.
func play(t *testing.T, seed uint64, runs time.Duration, plan []happens, watch func(*virtual)) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, seed)
	t.Setenv("GOGC", "200") // the agent's own thrift is an RTU's, not a test's
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(t, folder, seed)
		v.start()
		for i, h := range plan {
			v.pass(time.Until(dawn.Add(h.after+oddly(i))), nil)
			h.what(v)
		}
		v.pass(time.Until(dawn.Add(runs)), nil)
		v.settle()
		watch(v) // before the stop: what still goes out then is a matter of chance
		v.end()
	})
}

// The whole agent, run at the speed of the CPU on the same input, says the same
// to the octet, on every machine. What it says is in testdata/golden.
func TestGoldenRuns(t *testing.T) {
	for _, g := range goldenRuns {
		if g.long && testing.Short() {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			var got string
			before := cpu(t)
			play(t, 1, g.runs, g.plan, func(v *virtual) { got = v.summary() })
			t.Logf("%v of five ways took %v of CPU", g.runs, (cpu(t) - before).Round(10*time.Millisecond))
			file := filepath.Join("testdata", "golden", g.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			compareLines(t, got, string(want))
		})
	}
}

// compareLines says which lines differ, few of them.
func compareLines(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	left := 20
	for _, l := range []struct {
		sign     string
		from, in []string
	}{{"-", w, g}, {"+", g, w}} {
		has := map[string]bool{}
		for _, x := range l.in {
			has[x] = true
		}
		for _, x := range l.from {
			if !has[x] && left > 0 {
				left--
				t.Errorf("%s %s", l.sign, x)
			}
		}
	}
	t.Error("the run is not the golden one; where that is meant: go test ./agent -run TestGoldenRuns -update")
}

// Equal input and seed give equal output; another seed another one.
func TestVirtualTimeIsRepeatable(t *testing.T) {
	var all [3]map[string][]byte
	for i, seed := range []uint64{7, 7, 8} {
		t.Run(fmt.Sprint("run ", i), func(t *testing.T) {
			play(t, seed, 20*time.Minute, []happens{
				{5 * time.Minute, func(v *virtual) { v.broker.Cut() }},
				{9 * time.Minute, func(v *virtual) { v.broker.Restore() }},
				{14 * time.Minute, func(v *virtual) { v.crash() }},
				{15 * time.Minute, func(v *virtual) { v.start() }},
			}, func(v *virtual) { all[i] = v.everything() })
		})
	}
	for _, s := range slices.Sorted(maps.Keys(all[0])) {
		if !bytes.Equal(all[0][s], all[1][s]) {
			t.Errorf("%s differs between two runs of one seed:\n%s", s, firstDifference(all[0][s], all[1][s]))
		}
	}
	if len(all[0]) != len(all[1]) || bytes.Equal(all[0]["audit"], all[2]["audit"]) {
		t.Error("the seed makes no difference, or the runs have other streams")
	}
}

func firstDifference(a, b []byte) string {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return fmt.Sprintf("line %d\n%s\n%s", i+1, x[i], y[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(x), len(y))
}

// cpu is what the process has used so far.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
