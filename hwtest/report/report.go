// Package report says what a run of scenarios came to: as text, as one object
// for scripts, as JUnit XML for machines, as one self-contained HTML page for
// people, and as a matrix of requirements and the scenarios that prove them.
//
// It judges nothing: the verdicts are those of the run.
//
// Requirements: all, as the matrix that leads from each to its proof.
package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvagent/hwtest/play"
	"lvagent/hwtest/scenario"
)

// Summary is what a run came to.
type Summary struct {
	Passed  int                 `json:"passed"`
	Failed  int                 `json:"failed"`
	Broken  int                 `json:"broken"` // by the rig: nothing was proven
	Seconds float64             `json:"seconds"`
	Agent   string              `json:"agent"`
	Folder  string              `json:"evidence"`
	All     []Entry             `json:"scenarios"`
	Matrix  map[string][]string `json:"requirements"` // names of the scenarios
}

// Entry is one scenario.
type Entry struct {
	Name         string   `json:"name"`
	Promise      string   `json:"promise"`
	Requirements []string `json:"requirements"`
	Verdict      string   `json:"verdict"` // passed, failed, broken
	Seconds      float64  `json:"seconds"`
	Evidence     string   `json:"evidence"`
	Reasons      []string `json:"reasons,omitempty"`
}

// Word is the verdict on a scenario in one word.
func Word(r *play.Result) string {
	switch {
	case r.Broken != nil:
		return "RIG BROKEN"
	case r.Passed():
		return "passed"
	}
	return "FAILED"
}

// Summarise counts the results.
func Summarise(results []*play.Result, agent, folder string, took time.Duration) Summary {
	s := Summary{Seconds: seconds(took), Agent: agent, Folder: folder, Matrix: map[string][]string{}}
	for _, r := range results {
		e := Entry{Name: r.Scenario.Name, Promise: r.Scenario.Promise, Requirements: r.Scenario.Requirements,
			Seconds: seconds(r.Took), Evidence: r.Folder, Reasons: reasons(r), Verdict: "failed"}
		switch {
		case r.Broken != nil:
			s.Broken++
			e.Verdict = "broken"
		case r.Passed():
			s.Passed++
			e.Verdict = "passed"
		default:
			s.Failed++
		}
		s.All = append(s.All, e)
		for _, id := range r.Scenario.Requirements {
			s.Matrix[id] = append(s.Matrix[id], e.Name)
		}
	}
	return s
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// reasons says why a scenario did not pass: what was expected, what was seen,
// when, and where the evidence is.
func reasons(r *play.Result) (out []string) {
	if r.Broken != nil {
		return []string{r.Broken.Error()}
	}
	if r.Failure != "" {
		out = append(out, r.Failure)
	}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Status != scenario.Broken {
			continue
		}
		text := fmt.Sprintf("%s:%d: expected: %s; seen: %s; at +%.1fs", r.Scenario.File, v.Line, v.Expected, v.Seen, v.At.Seconds())
		if v.Evidence >= 0 {
			text += fmt.Sprintf("; evidence: %s/observations.jsonl:%d", r.Folder, v.Evidence+1)
		}
		out = append(out, text)
	}
	if len(out) == 0 && !r.Passed() {
		out = append(out, "the run ended before everything was decided")
	}
	return out
}

// Text is the summary for a person at a terminal.
func (s *Summary) Text() string {
	var b strings.Builder
	for _, e := range s.All {
		if e.Verdict == "passed" {
			continue
		}
		fmt.Fprintf(&b, "\n%s %s: %s\n", strings.ToUpper(e.Verdict), e.Name, e.Promise)
		for _, r := range e.Reasons {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(r, "\n", "\n  "))
		}
		fmt.Fprintf(&b, "  evidence in %s\n", e.Evidence)
	}
	fmt.Fprintf(&b, "\n%d passed, %d failed, %d broken by the rig, in %.0f s; %d requirements; evidence in %s\n",
		s.Passed, s.Failed, s.Broken, s.Seconds, len(s.Matrix), s.Folder)
	return b.String()
}

// The parts of JUnit XML.
type (
	suites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Time     float64  `xml:"time,attr"`
		Suites   []suite  `xml:"testsuite"`
	}
	suite struct {
		Name     string  `xml:"name,attr"`
		Tests    int     `xml:"tests,attr"`
		Failures int     `xml:"failures,attr"`
		Errors   int     `xml:"errors,attr"`
		Time     float64 `xml:"time,attr"`
		Cases    []testCase
	}
	testCase struct {
		XMLName  xml.Name  `xml:"testcase"`
		Class    string    `xml:"classname,attr"`
		Name     string    `xml:"name,attr"`
		Time     float64   `xml:"time,attr"`
		Property *props    `xml:"properties,omitempty"`
		Failure  *judgment `xml:"failure,omitempty"`
		Error    *judgment `xml:"error,omitempty"`
	}
	props struct {
		All []property `xml:"property"`
	}
	property struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	judgment struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit is the summary as JUnit XML, a suite for each theme.
func JUnit(s *Summary) ([]byte, error) {
	out := suites{Tests: len(s.All), Failures: s.Failed, Errors: s.Broken, Time: s.Seconds}
	for _, e := range s.All {
		theme, name, ok := strings.Cut(e.Name, "/")
		if !ok {
			theme, name = "scenarios", e.Name
		}
		if n := len(out.Suites); n == 0 || out.Suites[n-1].Name != theme {
			out.Suites = append(out.Suites, suite{Name: theme})
		}
		in := &out.Suites[len(out.Suites)-1]
		c := testCase{Class: "lvbench." + theme, Name: name, Time: e.Seconds,
			Property: &props{[]property{{"promise", e.Promise}, {"requirements", strings.Join(e.Requirements, " ")}, {"evidence", e.Evidence}}}}
		j := &judgment{Message: e.Promise, Text: strings.Join(e.Reasons, "\n")}
		switch e.Verdict {
		case "failed":
			c.Failure = j
			in.Failures++
		case "broken":
			c.Error = j
			in.Errors++
		}
		in.Tests++
		in.Time += e.Seconds
		in.Cases = append(in.Cases, c)
	}
	text, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write JUnit: %w", err)
	}
	return append([]byte(xml.Header), append(text, '\n')...), nil
}

// byNumber orders R2, R12, R12b.
func byNumber(a, b string) int {
	split := func(id string) (n int, rest string) {
		digits := strings.TrimRight(id[1:], "abcdefghijklmnopqrstuvwxyz")
		n, _ = strconv.Atoi(digits) // an id that is none sorts first
		return n, id
	}
	na, ra := split(a)
	nb, rb := split(b)
	return cmp.Or(cmp.Compare(na, nb), cmp.Compare(ra, rb))
}

// Markdown is docs/scenarios.md.
func Markdown(all []*scenario.Scenario) string {
	var b strings.Builder
	b.WriteString("# Scenarios\n\nGenerated by `lvbench list --markdown`; do not edit. How to write one is in [bench.md](bench.md).\n")
	theme := ""
	matrix := map[string][]string{}
	for _, s := range all {
		of, name, _ := strings.Cut(s.Name, "/")
		if of != theme {
			theme = of
			fmt.Fprintf(&b, "\n## %s\n\n| scenario | promise | requirements |\n|---|---|---|\n", theme)
		}
		promise := s.Promise
		if s.About != "" {
			promise += ". " + strings.TrimSpace(s.About)
		}
		fmt.Fprintf(&b, "| [%s](../hwtest/scenarios/%s.yaml) | %s | %s |\n", name, s.Name,
			strings.ReplaceAll(promise, "|", "\\|"), strings.Join(s.Requirements, " "))
		for _, id := range s.Requirements {
			matrix[id] = append(matrix[id], s.Name)
		}
	}
	b.WriteString("\n## By requirement\n\n| requirement | scenarios |\n|---|---|\n")
	for _, id := range slices.SortedFunc(maps.Keys(matrix), byNumber) {
		fmt.Fprintf(&b, "| %s | %s |\n", id, strings.Join(matrix[id], ", "))
	}
	fmt.Fprintf(&b, "\n%d scenarios.\n", len(all))
	return b.String()
}
