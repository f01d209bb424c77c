package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/agent/socket"
	"lvagent/configs"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Try another site file, and go back by itself unless it is confirmed",
		Long: `A new site file is put on trial: the agent restarts with it, limits in force stay,
and it goes back to the old one by itself unless the broker is reached and somebody
confirms within the time. The site file is not touched before that. A crash or a
power cut during the trial ends it.`,
		Example: `  lvagent config diff new.yaml
  lvagent config apply new.yaml --confirm-within 10m --why "meter of W4 replaced"
  lvagent config confirm`,
	}
	c.AddCommand(applyCommand(), endCommand("confirm", "Keep the site file that is on trial",
		"Puts the site file on trial in the place of the old one, which is kept beside it as\n.before. It is refused while there is no connection to the broker.", "confirm"),
		endCommand("rollback", "Go back to the old site file at once", "Ends the trial: the agent restarts with the old site file.", "rollback"),
		diffCommand())
	return c
}

// askSiteFile sends an order about the site file, and prints what came of it.
func askSiteFile(c *cobra.Command, p *place, o socket.SiteFile) (answer socket.SiteFileAnswer, err error) {
	raw, err := p.call(c, "sitefile", o)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return answer, fmt.Errorf("config: %w", err)
	}
	if answer.Code == "" {
		return answer, nil
	}
	for _, f := range answer.Faults {
		fmt.Fprintln(c.OutOrStdout(), f)
	}
	if len(answer.Faults) > 0 {
		return answer, errFault
	}
	return answer, fmt.Errorf("config: %s: %s", answer.Code, answer.Why)
}

func applyCommand() *cobra.Command {
	var p place
	var within time.Duration
	o := socket.SiteFile{Op: "apply"}
	c := &cobra.Command{
		Use:   "apply FILE --confirm-within TIME",
		Short: "Put a site file on trial",
		Long: `Checks a site file as a start would, and restarts the running agent with it for at
most the time given. All faults are printed, and nothing is done, where it has
any. It cannot change site.id or buffer.path: those are done on site.`,
		Example: `  lvagent config apply new.yaml --confirm-within 10m`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("config apply: %w", err)
			}
			if within <= 0 {
				return errors.New("config apply: say within which time it will be confirmed, --confirm-within 10m")
			}
			o.File, o.Text, o.Within, o.By = args[0], string(text), within.String(), userOr(o.By)
			if _, err := askSiteFile(c, &p, o); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is on trial; without lvagent config confirm within %s the old site file comes back\n", args[0], within)
			return nil
		},
	}
	p.flags(c)
	c.Flags().DurationVar(&within, "confirm-within", 0, "time for the confirmation, 10s to 24h")
	c.Flags().StringVar(&o.By, "by", "", "who you are (default: the user)")
	c.Flags().StringVar(&o.Why, "why", "", "why")
	return c
}

func endCommand(use, short, long, op string) *cobra.Command {
	var p place
	o := socket.SiteFile{Op: op}
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: "  lvagent config " + use, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.By = userOr(o.By)
			if _, err := askSiteFile(c, &p, o); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), "done")
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&o.By, "by", "", "who you are (default: the user)")
	return c
}

func diffCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:   "diff [FILE]",
		Short: "Show what another site file would change",
		Long: `Compares a site file with the one in force, key by key, defaults included: what is
written differently and means the same is not shown. Without a file the one on
trial is compared.`,
		Example: "  lvagent config diff new.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			file := p.config + ".trial"
			if len(args) > 0 {
				file = args[0]
			}
			old, faults := agent.Prepare(p.config)
			if len(faults) > 0 {
				printFaults(c.ErrOrStderr(), faults)
				return errFault
			}
			new, faults := agent.Prepare(file)
			if len(faults) > 0 {
				printFaults(c.OutOrStdout(), faults)
				return errFault
			}
			changes := configs.Diff(old.Config, new.Config)
			for _, x := range changes {
				fmt.Fprintln(c.OutOrStdout(), x)
			}
			if len(changes) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "no difference")
			}
			return nil
		},
	}
	p.flags(c)
	return c
}
