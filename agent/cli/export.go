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
	var way, from, to, format, store string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write half-hours, or what the flight recorder has of a way",
		Long: `Writes the half-hour records that start from --from to before --to, as CSV or as JSON
Lines as they were published. It asks the running agent; with --store it reads the
folder of one that does not run. Of a period measured again there are several: the
highest rev is the valid one. docs/export.md names the columns and their units.

With --recorder it writes every reading of a way from around its alarms instead: V, A,
W and var, times in UTC, what is not known empty or null. That only reads files: the
agent may run or not. The last minute is not on disk yet. Of ways with few customers
readings are kept for a short time only.`,
		Example: `  lvagent export --from 2026-11-24T00:00:00Z --to 2026-11-25T00:00:00Z > day.csv
  lvagent export --way W3 --format jsonl --store /var/lib/lvagent
  lvagent export --recorder --way W3 --from 2026-11-24T17:00:00Z --to 2026-11-24T18:00:00Z > w3.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			begin, end, err := exportRange(from, to, format)
			if err != nil {
				return err
			}
			switch {
			case recorded && way == "":
				return errors.New("export: --recorder needs --way")
			case recorded && store != "":
				return errors.New("export: --store is for half-hours; the flight recorder is found by --config")
			}
			cfg, _, _ := configs.Load(p.config)
			if cfg == nil {
				return fmt.Errorf("site file %s: cannot be read; name it with --config", p.config)
			}
			if recorded {
				damaged, err := agent.Export(c.OutOrStdout(), cfg, way, begin, end, format)
				if damaged > 0 {
					fmt.Fprintf(c.ErrOrStderr(), "lvagent: %d octets of the flight recorder are damaged and were passed over\n", damaged)
				}
				return err
			}
			ways, err := waysOf(cfg, way)
			if err != nil {
				return err
			}
			h := halfHours{place: &p, store: store, ways: ways, begin: begin, end: end, format: format}
			if err := h.write(c, c.OutOrStdout()); err != nil {
				return err
			}
			if h.count == 0 {
				fmt.Fprintln(c.ErrOrStderr(), "lvagent: no half-hour is stored in this range; lvagent ledger says what became of each")
			}
			return nil
		},
	}
	p.flags(c)
	c.Flags().BoolVar(&recorded, "recorder", false, "from the flight recorder")
	c.Flags().StringVar(&way, "way", "", "of which way (default: all)")
	c.Flags().StringVar(&from, "from", "", "not before this time (default: the oldest)")
	c.Flags().StringVar(&to, "to", "", "before this time (default: the newest)")
	c.Flags().StringVar(&format, "format", "csv", "csv or jsonl")
	c.Flags().StringVar(&store, "store", "", "the folder of an agent that does not run, like /var/lib/lvagent")
	return c
}
