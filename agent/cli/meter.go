package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lvagent/agent/socket"
)

func meterCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "meter",
		Short: "List and change what is set in the meters",
		Long: `A meter's profile says what may be set in it and to which values; the site file
says, under meters[].writes, which of that is permitted. Nothing else is ever
written to a meter.`,
		Example: "  lvagent meter list\n  lvagent meter set m3 demand_period 30 --yes",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(meterListCommand(), meterSetCommand())
	return c
}

func meterListCommand() *cobra.Command {
	var p place
	var asJSON bool
	c := &cobra.Command{
		Use:   "list [METER]",
		Short: "List what may be set in the meters, and what it is now",
		Long: `Lists what may be set in each meter, or in one: what it takes, whether the site
file permits it and, if so, what the meter holds, read now.`,
		Example: "  lvagent meter list m3",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			what := "settings/"
			if len(args) > 0 {
				what += args[0]
			}
			raw, err := p.call(c, what, nil)
			if err != nil {
				return err
			}
			if asJSON {
				_, err := c.OutOrStdout().Write(raw)
				return err
			}
			var all []socket.Setting
			if err := json.Unmarshal(raw, &all); err != nil {
				return fmt.Errorf("read agent's answer: %w", err)
			}
			printSettings(c.OutOrStdout(), all)
			return nil
		},
	}
	p.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printSettings(w io.Writer, all []socket.Setting) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no profile of these meters allows anything to be set")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "METER\tSETTING\tNOW\tUNIT\tTAKES")
	for _, s := range all {
		now := s.Value
		switch {
		case !s.Permitted:
			now = "not permitted"
		case s.Problem != "":
			now = s.Problem
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.Meter, s.Setting, now, s.Unit, s.Takes)
	}
	t.Flush() // to a writer whose failure shows by itself
}

func meterSetCommand() *cobra.Command {
	var p place
	var o socket.Set
	c := &cobra.Command{
		Use:   "set METER SETTING VALUE [--yes]",
		Short: "Set something in a meter, and read it back",
		Long: `Sets something in a meter, if its profile allows it and the site file permits it.
The meter must be the right one; it is written once, and read back whatever it
answered. Without --yes nothing is written: it says what would change.

Who has set what, from and to which value, and what came of it is in the health
point set/METER, in the log and in the audit record.`,
		Example: `  lvagent meter set m3 demand_period 30
  lvagent meter set m3 demand_period 30 --yes --why "as the billing period"`,
		Args: cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			o.Meter, o.Setting, o.Value, o.By = args[0], args[1], args[2], userOr(o.By)
			raw, err := p.call(c, "set", o)
			if err != nil {
				return err
			}
			var a socket.SetAnswer
			if err := json.Unmarshal(raw, &a); err != nil {
				return fmt.Errorf("read agent's answer: %w", err)
			}
			text, ok := settingText(&o, &a)
			if !ok {
				return errors.New(text)
			}
			fmt.Fprintln(c.OutOrStdout(), text)
			return nil
		},
	}
	p.flags(c)
	c.Flags().BoolVar(&o.Yes, "yes", false, "do it")
	c.Flags().StringVar(&o.By, "by", "", "who you are (default: the user)")
	c.Flags().StringVar(&o.Why, "why", "", "why")
	return c
}

// settingText says what came of an order, and whether it is as it should be.
func settingText(o *socket.Set, a *socket.SetAnswer) (text string, ok bool) {
	what := o.Meter + " " + o.Setting
	switch a.Outcome {
	case "shown":
		if a.Old == o.Value {
			return what + ": is " + a.Old + " already", true
		}
		return fmt.Sprintf("%s: is %s; --yes sets it to %s", what, a.Old, o.Value), true
	case "unchanged":
		return what + ": was " + a.Old + " already; nothing was written", true
	case "changed":
		text = fmt.Sprintf("%s: from %s to %s, read back", what, a.Old, a.Now)
		if a.Why != "" {
			text += "; the write's own answer: " + a.Why
		}
		return text, true
	case "not_taken":
		return fmt.Sprintf("%s: it was written, and is %s: %s", what, a.Now, a.Why), false
	case "unsure":
		return fmt.Sprintf("%s: it was written, and nobody knows what it is now: %s; see lvagent meter list %s", what, a.Why, o.Meter), false
	default:
		return fmt.Sprintf("%s: nothing was written: %s", what, a.Why), false
	}
}
