package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/configs"
)

func exportCommand() *cobra.Command {
	var p place
	var recorded bool
	var way, from, to, format string
	c := &cobra.Command{
		Use:   "export --recorder --way WAY",
		Short: "Write what the flight recorder has of a way",
		Long: `Writes every reading of a way from around its alarms, as CSV or as JSON Lines: V, A,
W and var, times in UTC, what is not known empty or null. It only reads the
files: the agent may run or not. The last minute is not on disk yet.

Of ways with few customers readings are kept for a short time only.`,
		Example: `  lvagent export --recorder --way W3 --from 2026-11-24T17:00:00Z --to 2026-11-24T18:00:00Z > w3.csv
  lvagent export --recorder --way W3 --format jsonl`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !recorded || way == "" {
				return errors.New("export: say --recorder and --way")
			}
			begin, end, err := span("export", from, to)
			if err != nil {
				return err
			}
			cfg, _, _ := configs.Load(p.config)
			if cfg == nil {
				return fmt.Errorf("site file %s: cannot be read; name it with --config", p.config)
			}
			damaged, err := agent.Export(c.OutOrStdout(), cfg, way, begin, end, format)
			if damaged > 0 {
				fmt.Fprintf(c.ErrOrStderr(), "lvagent: %d octets of the flight recorder are damaged and were passed over\n", damaged)
			}
			return err
		},
	}
	p.flags(c)
	c.Flags().BoolVar(&recorded, "recorder", false, "from the flight recorder")
	c.Flags().StringVar(&way, "way", "", "of which way")
	c.Flags().StringVar(&from, "from", "", "not before this time (default: the oldest)")
	c.Flags().StringVar(&to, "to", "", "before this time (default: the newest)")
	c.Flags().StringVar(&format, "format", "csv", "csv or jsonl")
	return c
}
