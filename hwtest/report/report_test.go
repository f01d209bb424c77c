package report

import (
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"lvagent/hwtest/play"
	"lvagent/hwtest/scenario"
	"lvagent/hwtest/scenarios"
)

var update = flag.Bool("update", false, "write the generated files")

// The list in the docs is that of the files, and none of them has a fault.
func TestScenariosListIsCurrent(t *testing.T) {
	all, faults := scenarios.All()
	for _, f := range faults {
		t.Error(f)
	}
	const file = "../../docs/scenarios.md"
	want := Markdown(all)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not current: go test ./hwtest/report -update", file)
	}
	rig := play.Loopback()
	more, err := play.Check(&rig, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range more {
		t.Error(f)
	}
}

func results() []*play.Result {
	s := &scenario.Scenario{Name: "failsafe/a", File: "a.yaml", Promise: "x < y & z", Requirements: []string{"R7", "R12b", "R2"}}
	body := map[string]any{"ways": map[string]any{"W1": map[string]any{"state": "FAILSAFE"}}}
	line := &scenario.Timeline{Now: 9 * time.Second, Over: true, Started: []time.Duration{0}, Observations: []scenario.Observation{
		{At: 0, Kind: scenario.Permits, Key: "G1", Number: 96}, {At: time.Second, Kind: scenario.Carries, Key: "W1.L1", Number: 320},
		{At: 2 * time.Second, Kind: scenario.Messages, Key: "up/failsafe", Body: body}, {At: 3 * time.Second, Kind: scenario.Acts, Text: "<script>"},
	}}
	site := []play.SiteWay{{ID: "W1", Rating: 300, Groups: []string{"G1"}}}
	held := scenario.Verdict{Status: scenario.Held, Expected: "e", Seen: "s"}
	broken := scenario.Verdict{Status: scenario.Broken, Expected: "G1 is permitted 24 A", Seen: "96 A", Evidence: 0, Line: 8, At: 6 * time.Second}
	b, c := *s, *s
	b.Name, c.Name = "failsafe/b", "restart/c"
	return []*play.Result{
		{Scenario: s, Verdicts: []scenario.Verdict{held}, Timeline: line, Site: site, Folder: "/e/a"},
		{Scenario: &b, Verdicts: []scenario.Verdict{held, broken}, Timeline: line, Site: site, Folder: "/e/b"},
		{Scenario: &c, Timeline: &scenario.Timeline{}, Broken: errors.New("no broker"), Folder: "/e/c"},
	}
}

// A failed scenario says what was expected, what was seen, when, and where the
// evidence lies; a broken rig is no pass.
func TestSummary(t *testing.T) {
	s := Summarise(results(), "lvagent", "/e", time.Minute)
	if s.Passed != 1 || s.Failed != 1 || s.Broken != 1 {
		t.Errorf("%d passed, %d failed, %d broken", s.Passed, s.Failed, s.Broken)
	}
	text := s.Text()
	for _, want := range []string{"FAILED failsafe/b", "a.yaml:8: expected: G1 is permitted 24 A; seen: 96 A; at +6.0s", "/e/b/observations.jsonl:1", "BROKEN restart/c", "no broker"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := strings.Join(s.Matrix["R12b"], " "); got != "failsafe/a failsafe/b restart/c" {
		t.Errorf("R12b is proven by %s", got)
	}
}

// A run that ended before anything was decided is no pass either.
func TestNothingDecidedIsNoPass(t *testing.T) {
	for _, status := range []scenario.Status{scenario.Waiting, scenario.Unreached, scenario.Broken} {
		r := results()[0]
		r.Verdicts = []scenario.Verdict{{Status: scenario.Held}, {Status: status}}
		if s := Summarise([]*play.Result{r}, "", "", 0); s.Failed != 1 || len(s.All[0].Reasons) == 0 {
			t.Errorf("%s: %+v", status, s)
		}
	}
}

func TestJUnit(t *testing.T) {
	s := Summarise(results(), "lvagent", "/e", time.Minute)
	text, err := JUnit(&s)
	if err != nil {
		t.Fatal(err)
	}
	var back suites
	if err := xml.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.Tests != 3 || back.Failures != 1 || back.Errors != 1 || len(back.Suites) != 2 || back.Suites[0].Failures != 1 || back.Suites[1].Errors != 1 {
		t.Errorf("JUnit:\n%s", text)
	}
}

// The page needs nothing from elsewhere, and what was seen is text in it, never
// markup.
func TestPage(t *testing.T) {
	s := Summarise(results(), "lvagent", "/e", time.Minute)
	text, err := HTML(&s, results())
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{"x &lt; y &amp; z", "FAILSAFE", "polyline", "R12b", `href="#failsafe%2fb"`, "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	for _, bad := range []string{"<script", "http://", "https://", "ZgotmplZ", "NaN"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q in the page", bad)
		}
	}
	if strings.Index(page, ">R2<") > strings.Index(page, ">R12b<") {
		t.Error("R2 comes after R12b")
	}
}
