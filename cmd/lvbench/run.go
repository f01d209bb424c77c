package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvagent/hwtest/play"
	"lvagent/hwtest/report"
	"lvagent/hwtest/scenario"
	"lvagent/hwtest/scenarios"
)

// runFlags are the flags of lvbench run.
type runFlags struct {
	rig, keep, junit, html string
	agent                  string
	json                   bool
	check                  bool
	parallel               int
}

func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [SCENARIO...]",
		Short: "Play scenarios against the agent and judge it from outside",
		Long: `run plays scenarios: what is given, what is done when, and what must then be
seen. A scenario is a file, or the name of one that comes with lvbench, or a
theme like failsafe; without any, all that come with it are played.

All faults of all files come before anything starts. A failed scenario says what
was expected, what was seen, when, and where the evidence lies. The exit code is
0 when everything held, 1 when something did not, and 2 when a file has a fault
or the rig is broken: that is never a pass.`,
		Example: `  lvbench run failsafe
  lvbench run my.yaml --rig rig.yaml --html report.html
  lvbench run --json --junit junit.xml --keep /tmp/evidence`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runScenarios(cmd.Context(), args, &f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.rig, "rig", "", "rig file (default: loopback, with the lvagent beside lvbench)")
	flags.StringVar(&f.agent, "agent", "", "the lvagent to test, instead of the rig's")
	flags.StringVar(&f.keep, "keep", "", "keep the evidence in this folder (default: a new one below the temporary folder)")
	flags.StringVar(&f.junit, "junit", "", "write JUnit XML to this file")
	flags.StringVar(&f.html, "html", "", "write a page for people to this file")
	flags.BoolVar(&f.json, "json", false, "end stdout with one object; progress goes to stderr")
	flags.BoolVar(&f.check, "check", false, "look for faults only, and start nothing")
	flags.IntVar(&f.parallel, "parallel", 0, "how many at a time, instead of the rig's")
	return cmd
}

func runScenarios(ctx context.Context, args []string, f *runFlags, stdout, stderr io.Writer) error {
	rig := play.Loopback()
	var faults []scenario.Fault
	if f.rig != "" {
		var err error
		if rig, faults, err = play.ReadRig(f.rig); err != nil {
			return err
		}
	}
	if f.agent != "" {
		rig.Agent = f.agent
	}
	if f.parallel > 0 {
		rig.Parallel = f.parallel
	}
	all, more, err := choose(args)
	if err != nil {
		return err
	}
	faults = append(faults, more...)
	if len(faults) == 0 {
		if faults, err = play.Check(&rig, all); err != nil {
			return err
		}
	}
	version := ""
	if len(faults) == 0 {
		if version, err = rig.Check(ctx); err != nil {
			return err
		}
		if faults, err = play.CheckSites(ctx, &rig, all); err != nil {
			return err
		}
	}
	for _, fault := range faults {
		fmt.Fprintln(stderr, fault)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d faults; nothing was started", len(faults))
	}
	if f.check {
		_, err := fmt.Fprintf(stdout, "%d scenarios, no fault\n", len(all))
		return err
	}
	if f.keep == "" {
		if f.keep, err = os.MkdirTemp("", "lvbench-"); err != nil {
			return fmt.Errorf("make a folder for the evidence: %w", err)
		}
	}
	to := stdout
	if f.json {
		to = stderr
	}
	w := &progress{to: to, began: time.Now(), of: len(all)}
	results, err := play.Run(ctx, &rig, all, f.keep, w)
	if err != nil {
		return err
	}
	summary := report.Summarise(results, strings.TrimSpace(version), f.keep, time.Since(w.began))
	return write(f, &summary, results, stdout, to)
}

// write writes the reports and returns what the exit code follows from.
func write(f *runFlags, s *report.Summary, results []*play.Result, stdout, to io.Writer) error {
	files := []struct {
		name string
		make func() ([]byte, error)
	}{
		{f.junit, func() ([]byte, error) { return report.JUnit(s) }},
		{f.html, func() ([]byte, error) { return report.HTML(s, results) }},
	}
	for _, file := range files {
		if file.name == "" {
			continue
		}
		text, err := file.make()
		if err == nil {
			err = os.WriteFile(file.name, text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if _, err := fmt.Fprint(to, s.Text()); err != nil {
		return err
	}
	if f.json {
		text, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("write summary: %w", err)
		}
		if _, err := fmt.Fprintf(stdout, "%s\n", text); err != nil {
			return fmt.Errorf("write summary: %w", err)
		}
	}
	switch {
	case s.Broken > 0:
		return fmt.Errorf("the rig broke in %d of %d scenarios", s.Broken, len(results))
	case s.Failed > 0:
		return errBroken
	}
	return nil
}

// choose returns the scenarios that the arguments name.
func choose(args []string) (all []*scenario.Scenario, faults []scenario.Fault, err error) {
	shipped, faults := scenarios.All()
	if len(args) == 0 {
		return shipped, faults, nil
	}
	faults = nil
	taken := map[string]bool{}
	take := func(s *scenario.Scenario) {
		if !taken[s.Name] {
			taken[s.Name] = true
			all = append(all, s)
		}
	}
	for _, arg := range args {
		found := false
		for _, s := range shipped {
			if s.Name == arg || strings.HasPrefix(s.Name, strings.TrimSuffix(arg, "/")+"/") {
				take(s)
				found = true
			}
		}
		if found {
			continue
		}
		text, err := os.ReadFile(arg)
		if err != nil {
			return nil, nil, fmt.Errorf("%q is no scenario or theme that comes with lvbench (lvbench list), and no file: %w", arg, err)
		}
		s, more := scenario.Parse(arg, text)
		s.Name = strings.TrimSuffix(filepath.Base(arg), filepath.Ext(arg))
		faults = append(faults, more...)
		take(s)
	}
	return all, faults, nil
}

// progress tells how a run goes on.
type progress struct {
	to    io.Writer
	began time.Time
	of    int
	done  int
}

func (p *progress) Said(name, what string) {
	fmt.Fprintf(p.to, "%6.1fs  %-44s %s\n", time.Since(p.began).Seconds(), name, what)
}

func (p *progress) Ended(r *play.Result) {
	p.done++
	p.Said(r.Scenario.Name, fmt.Sprintf("%s  (%d of %d, %.1f s)", report.Word(r), p.done, p.of, r.Took.Seconds()))
}

func listCommand() *cobra.Command {
	var schema, markdown bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the scenarios that come with lvbench",
		Example: "  lvbench list\n  lvbench list --schema > scenario.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, faults := scenarios.All()
			if len(faults) > 0 {
				return faults[0]
			}
			var text string
			switch {
			case schema:
				text = string(scenario.Schema())
			case markdown:
				text = report.Markdown(all)
			default:
				for _, s := range all {
					text += fmt.Sprintf("%-48s %-12s %s\n", s.Name, strings.Join(s.Requirements, " "), s.Promise)
				}
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of a scenario file instead")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print docs/scenarios.md instead")
	return cmd
}
