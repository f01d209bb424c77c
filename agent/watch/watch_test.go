package watch

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"lvagent/agent/message"
)

var update = flag.Bool("update", false, "write the golden files")

var arrived = time.Date(2026, 11, 24, 17, 30, 4, 250_000_000, time.UTC)

// topicOf are the topics of the messages' goldens, by their file's first word.
var topicOf = map[string]string{
	"halfhour": "hh/W3", "alarm": "alarm/W3", "alarmstate": "alarmstate/W3", "live": "live/W3", "recorded": "hist/rec/W3",
	"supplyweek": "pq/W3", "digest": "digest", "gap": "gap", "ack": "ack", "audit": "audit", "status": "status", "will": "status",
	"meta": "meta", "capacity": "capacity", "ev": "ev", "failsafe": "failsafe", "groups": "groups", "health": "health",
	"fairness": "fairness", "setpoint": "setpoint/G1",
}

// What each kind of message is for a person.
func TestLines(t *testing.T) {
	files, err := filepath.Glob("../message/testdata/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d messages: %v", len(files), err)
	}
	var got bytes.Buffer
	show := func(name, topic, payload string, retained bool) {
		w := New(message.DefaultPrefix)
		l := w.Take(Message{Topic: topic, Payload: []byte(payload), Retained: retained, Arrived: arrived})
		fmt.Fprintf(&got, "%s (%s)\n  %s\n", name, l.Tone, l.String())
	}
	for _, f := range files {
		payload, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		first, _, _ := strings.Cut(name, "-")
		topic := "lv/v1/EPN-E1234/up/" + topicOf[first]
		s, ok := message.SchemaOf(topic)
		if !ok {
			t.Fatalf("%s: topic %s has no schema", name, topic)
		}
		show(name, topic, string(payload), s.Retained)
	}
	show("selftest", "lv/v1/EPN-E1234/up/selftest", `{"v":1,"agent":"EPN-E1234","nonce":"x","t":"2026-11-24T17:30:04Z"}`, false)
	show("heartbeat", "lv/v1/_all/cmd/heartbeat", `{"issuer":"scada-1","epoch":3,"seq":1042}`, false)
	show("limit", "lv/v1/EPN-E1234/cmd/limit", `{"id":"a1","issuer":"scada-1","epoch":3,"seq":7,"issued":"2026-11-24T17:30:04Z","expires":"2026-11-24T17:35:00Z","target":{"way":"W3"},"limit":{"amps":16}}`, false)
	show("damaged", "lv/v1/a/up/hh/W3", `{"g":2,"s":"hh/W3","n":5,"corrupt":true}`, false)
	show("taken back", "lv/v1/a/up/status", ``, false)
	show("a clock ahead", "lv/v1/a/up/alarm/W3", `{"t":"2026-11-24T18:30:04Z"}`, false)
	show("not JSON", "lv/v1/a/up/hh/W3", "\x1b[2J{broken", false)
	show("a list", "lv/v1/a/up/hh/W3", `[1]`, false)
	show("null", "lv/v1/a/up/hh/W3", `null`, false)
	show("nothing in it", "lv/v1/a/up/hh/W3", `{}`, false)
	show("everything of another type", "lv/v1/a/up/failsafe", `{"t":3,"state":{},"ways":[1],"override":"x"}`, false)
	show("no topic of ours", "lv/v1/a/up/\x1b[31mother", `{}`, false)
	show("control characters", "lv/v1/a/up/ack", `{"id":"\u001b[2J\u0007","command":"\u202elimit","stage":"rejected","code":"X","detail":{"text":"`+strings.Repeat("long ", 100)+`"}}`, false)

	const golden = "testdata/lines.txt"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("lines differ from %s; look, and go test ./agent/watch -update\n got %s\nwant %s", golden, got.Bytes(), want)
	}
}

func TestNumbers(t *testing.T) {
	type step struct {
		g, n     uint64
		want     Verdict
		from, to uint64
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{1, 41, First, 0, 0}, {1, 42, Next, 0, 0}}},
		{"one twice", []step{{1, 1, First, 0, 0}, {1, 1, Again, 0, 0}, {1, 2, Next, 0, 0}, {1, 1, Again, 0, 0}}},
		{"a gap that is filled from the front", []step{{1, 1, First, 0, 0}, {1, 5, Skips, 2, 4}, {1, 2, Fills, 0, 0}, {1, 2, Again, 0, 0}, {1, 6, Next, 0, 0}, {1, 4, Fills, 0, 0}}},
		{"the last that is remembered", []step{{1, 100, First, 0, 0}, {1, 37, Fills, 0, 0}, {1, 37, Again, 0, 0}, {1, 36, Old, 0, 0}}},
		{"a gap wider than is remembered", []step{{1, 1, First, 0, 0}, {1, 1000, Skips, 2, 999}, {1, 1, Old, 0, 0}, {1, 1000, Again, 0, 0}, {1, 999, Fills, 0, 0}}},
		{"another store", []step{{1, 9, First, 0, 0}, {2, 1, Reborn, 0, 0}, {1, 10, Old, 0, 0}, {2, 2, Next, 0, 0}}},
		{"the largest number", []step{{1, 1, First, 0, 0}, {1, 1<<63 - 1, Skips, 2, 1<<63 - 2}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStreams(10)
			for i, step := range tt.steps {
				got := s.take("a", "hh/W1", step.g, step.n)
				if got.Verdict != step.want || got.From != step.from || got.To != step.to {
					t.Errorf("step %d: #%d is %s %d to %d, want %s %d to %d", i, step.n, got.Verdict, got.From, got.To, step.want, step.from, step.to)
				}
			}
		})
	}
}

// Among numbers that stray less than is remembered, each second coming is seen as
// that and no first one is.
func TestNumbersAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, seen, top := newStreams(4), map[uint64]bool{}, uint64(100)
		s.take("a", "x", 1, top)
		seen[top] = true
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			n := top - 60 + uint64(rapid.IntRange(0, 90).Draw(t, "number"))
			got := s.take("a", "x", 1, n)
			want := Fills
			switch {
			case seen[n]:
				want = Again
			case n == top+1:
				want = Next
			case n > top:
				want = Skips
			}
			if got.Verdict != want {
				t.Fatalf("#%d after #%d is %s, want %s", n, top, got.Verdict, want)
			}
			seen[n], top = true, max(top, n)
		}
	})
}

// A fleet, or somebody who makes up agents, does not fill the memory.
func TestMemoryIsBounded(t *testing.T) {
	s := newStreams(1000)
	for i := range 100_000 {
		s.take(fmt.Sprint("a", i), "hh/W1", 1, 1)
	}
	if len(s.all) != 1000 || len(s.ring) != 1000 {
		t.Errorf("%d streams, %d names are kept, want 1000", len(s.all), len(s.ring))
	}
	if got := s.take("a99999", "hh/W1", 1, 2); got.Verdict != Next {
		t.Errorf("the youngest is %s, want next", got.Verdict)
	}
	if got := s.take("a0", "hh/W1", 1, 2); got.Verdict != First {
		t.Errorf("the oldest is %s, want first: it was forgotten", got.Verdict)
	}
	long := strings.Repeat("x", longestKey)
	s.take(long, "hh/W1", 1, 1)
	if _, kept := s.all[key{long, "hh/W1"}]; kept {
		t.Error("a name that no agent has is kept")
	}
}

func TestFiltersAndAgents(t *testing.T) {
	for _, tt := range []struct {
		prefix, agent string
		commands      bool
		filters       []string
		topic, want   string // the agent that is read from a topic
	}{
		{"lv/v1/{agent}", "", false, []string{"lv/v1/+/up/#"}, "lv/v1/E1/up/gap", "E1"},
		{"lv/v1/{agent}", "E1", true, []string{"lv/v1/E1/up/#", "lv/v1/E1/cmd/#", "lv/v1/_all/cmd/heartbeat"}, "lv/v1/E1/up/gap", "E1"},
		{"r/lv-{agent}-x/y/", "", true, []string{"r/lv-+-x/y/up/#", "r/lv-+-x/y/cmd/#"}, "r/lv-E1-x/y/up/gap", "E1"},
		{"site7", "", false, []string{"site7/up/#"}, "site7/up/gap", ""},
	} {
		if got := Filters(JSON, tt.prefix, tt.agent, tt.commands); fmt.Sprint(got) != fmt.Sprint(tt.filters) {
			t.Errorf("filters of %s = %v, want %v", tt.prefix, got, tt.filters)
		}
		if got := New(tt.prefix).agent(tt.topic); got != tt.want {
			t.Errorf("agent of %s = %q, want %q", tt.topic, got, tt.want)
		}
	}
}

// Whatever comes, there is one short line that no terminal obeys, and valid JSON.
func FuzzTake(f *testing.F) {
	files, err := filepath.Glob("../message/testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		payload, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		first, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".json"), "-")
		f.Add("lv/v1/a/up/"+topicOf[first], payload, true)
	}
	f.Add("lv/v1/a/cmd/limit", []byte(`{"a":"\u001b","limit":[[{}]]}`), false)
	f.Add("lv/v1/\x1b/up/hh/W1", []byte(`{"s":"x","n":1e400,"g":-1,"end":"9999-99-99T00:00:00Z","coverage":1e308}`), false)
	e := newEdge(f, new(bytes.Buffer))
	for _, m := range append(e.node.Births(arrived, 0), e.node.Death(), e.stored("hh/W3", "halfhour.json", 1, arrived)) {
		f.Add(m.Topic, m.Payload, false)
	}
	f.Add("spBv1.0/STATE/h", []byte(`{"online":true,"timestamp":1e400}`), true)
	w := New(message.DefaultPrefix)
	f.Fuzz(func(t *testing.T, topic string, payload []byte, retained bool) {
		m := Message{Topic: topic, Payload: payload, Retained: retained, Arrived: arrived}
		l := w.Take(m)
		s := l.String()
		if !utf8.ValidString(s) || utf8.RuneCountInString(s) > 12_000 {
			t.Fatalf("%d octets: %q", len(s), s)
		}
		for _, r := range s {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q in %q", r, s)
			}
		}
		text, err := l.JSON(m)
		if err != nil || !json.Valid(text) || bytes.ContainsRune(text, '\n') {
			t.Fatalf("%v: %s", err, text)
		}
	})
}
