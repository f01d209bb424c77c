package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent/message"
	"lvagent/agent/socket"
)

func mpanCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "mpan",
		Short: "Say which customers' supply points are in which charging group",
		Long: `The register that commands with target.mpans are looked up in, where the site file
has supply_points.targets. The numbers are personal data: they are read from the
standard input, never from the command line, which others can see; kept are hashes
under this device's own key, for supply_points.keep; and none is written to a log,
a record or a message.`,
	}
	c.AddCommand(mpanAddCommand(), mpanListCommand(), mpanEraseCommand())
	return c
}

// readNumbers reads one number a line; a fault is told without the number.
func readNumbers(r io.Reader) (numbers []string, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.ReplaceAll(strings.TrimSpace(lines.Text()), " ", "")
		switch {
		case text == "":
		case !message.ValidMPAN(text):
			return nil, fmt.Errorf("line %d: not 13 digits of which the last checks the others", n)
		default:
			numbers = append(numbers, text)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read numbers: %w", err)
	}
	return numbers, nil
}

func mpanAddCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:     "add GROUP",
		Short:   "Add supply points to a group; numbers on the standard input, one a line",
		Example: "  lvagent mpan add G1 <numbers",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			numbers, err := readNumbers(c.InOrStdin())
			if err != nil {
				return fmt.Errorf("mpan add: %w", err)
			}
			if len(numbers) == 0 {
				return errors.New("mpan add: no number on the standard input")
			}
			if _, err := p.call(c, "mpan/add", socket.SupplyPoints{Group: args[0], Numbers: numbers}); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %d supply points\n", args[0], len(numbers))
			return nil
		},
	}
	p.flags(c)
	return c
}

func mpanListCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the register, without numbers",
		Example: "  lvagent mpan list",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			raw, err := p.call(c, "mpan", nil)
			if err != nil {
				return err
			}
			var all []struct {
				Name, Group    string
				Since, Expires time.Time
			}
			if err := json.Unmarshal(raw, &all); err != nil {
				return fmt.Errorf("mpan list: %w", err)
			}
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tGROUP\tSINCE\tERASED ON")
			for _, s := range all {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, s.Group, s.Since.Format(time.DateOnly), s.Expires.Format(time.DateOnly))
			}
			return t.Flush()
		},
	}
	p.flags(c)
	return c
}

func mpanEraseCommand() *cobra.Command {
	var p place
	var o socket.SupplyPoints
	c := &cobra.Command{
		Use:   "erase [--group GROUP | --all]",
		Short: "Erase entries; without a flag those of the numbers on the standard input",
		Example: `  lvagent mpan erase <numbers
  lvagent mpan erase --group G1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Group != "" && o.All {
				return errors.New("mpan erase: --group and --all exclude each other")
			}
			if o.Group == "" && !o.All {
				if o.Numbers, err = readNumbers(c.InOrStdin()); err != nil {
					return fmt.Errorf("mpan erase: %w", err)
				}
				if len(o.Numbers) == 0 {
					return errors.New("mpan erase: no number on the standard input")
				}
			}
			raw, err := p.call(c, "mpan/erase", o)
			if err != nil {
				return err
			}
			var done socket.Erased
			if err := json.Unmarshal(raw, &done); err != nil {
				return fmt.Errorf("mpan erase: %w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "%d erased\n", done.Count)
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&o.Group, "group", "", "those of a group")
	c.Flags().BoolVar(&o.All, "all", false, "all of them")
	return c
}
