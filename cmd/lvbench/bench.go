package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"lvagent/hwtest/cost"
)

// defaultPage is where --write without a file writes, from the top of the tree.
const defaultPage = "docs/benchmarks.md"

func benchCommand(cancel func()) *cobra.Command {
	var cfg cost.Config
	var asJSON, strict bool
	var page string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "What the agent costs: processor, memory, disk, alarm latency",
		Long: `bench runs the real lvagent with 5, 12, 100 and 1,000 simulated ways beside a bare
loop that reads the same registers and does nothing else. It prints absolute
figures and ratios, and exits 1 when a limit is broken: processor time twice that
of the bare loop at 5 ways, 1 % of one core at 12 and 30 % at 1,000, anonymous
memory of 15 MB at 5 and 12 ways, 24 MB at 100 and 80 MB at 1,000, one allocation
per reading in the agent's own code. Milliseconds are printed beside the disk's
fsync and never judged.`,
		Example: `  lvbench bench
  lvbench bench --for 5m --folder /var/lib --write
  lvbench bench --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find lvbench itself: %w", err)
			}
			cfg.Bare = []string{self, bareName}
			progress := &lines{to: cmd.ErrOrStderr(), stop: cancel}
			cfg.Progress = progress.Logf
			r, err := cost.Measure(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			r.Judge(strict)
			if err := present(cmd, &r, asJSON, page); err != nil {
				return err
			}
			if len(r.Broken) > 0 {
				return errBroken
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.DurationVar(&cfg.For, "for", 2*time.Minute, "how long each size is measured, warm-up excluded")
	f.IntVar(&cfg.Steps, "steps", 60, "alarms to raise for the latency")
	f.IntVar(&cfg.Backlog, "backlog", 100_000, "records that wait after an outage")
	f.StringVar(&cfg.Agent, "agent", "", "the lvagent to measure (default: beside lvbench, else in $PATH)")
	f.StringVar(&cfg.Folder, "folder", "", "where the stores lie (default: the system's folder for temporary files)")
	f.BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	f.BoolVar(&strict, "strict", false, "an alarm that was not seen is a broken limit")
	f.StringVar(&page, "write", "", "also write the page of the documentation; --write=FILE for another than "+defaultPage)
	f.Lookup("write").NoOptDefVal = defaultPage
	return cmd
}

// present prints a result and writes the page.
func present(cmd *cobra.Command, r *cost.Result, asJSON bool, page string) error {
	text := []byte(r.Text())
	if asJSON {
		var err error
		if text, err = json.Marshal(r); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
		text = append(text, '\n')
	}
	if _, err := cmd.OutOrStdout().Write(text); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if page == "" {
		return nil
	}
	if err := os.WriteFile(page, []byte(r.Markdown()), 0o644); err != nil {
		return fmt.Errorf("--write: %w", err)
	}
	return nil
}

// bareName is the subcommand that bench runs as its child.
const bareName = "bare"

// bareCommand is the far side of bench: a process that does nothing but read
// meters, or count what a reading allocates.
func bareCommand() *cobra.Command {
	var urls []string
	var ways, readings int
	var every time.Duration
	cmd := &cobra.Command{
		Use:     bareName,
		Short:   "Read meters and do nothing else (used by bench)",
		Example: "  lvbench bare --url tcp://127.0.0.1:1502 --ways 5",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if readings == 0 {
				return cost.Loop(cmd.Context(), urls, ways, every)
			}
			if len(urls) != 1 {
				return fmt.Errorf("--readings wants one --url, not %d", len(urls))
			}
			a, err := cost.Allocations(urls[0], readings)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(a)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&urls, "url", nil, "tcp://host:port of each bus; its meters are units 1 to 20")
	f.IntVar(&ways, "ways", 5, "how many")
	f.DurationVar(&every, "every", time.Second, "how often each is read")
	f.IntVar(&readings, "readings", 0, "instead: count the allocations of so many readings of unit 1")
	return cmd
}
