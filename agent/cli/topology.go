package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"lvagent/agent/socket"
)

func topologyCommand() *cobra.Command {
	var p place
	var o socket.Topology
	c := &cobra.Command{
		Use:   "topology WAY STATE --for TIME --why TEXT",
		Short: "Say that a way is not supplied as usual, for a while",
		Long: `Says how a way is supplied: back-fed, paralleled or dead for at most 31 days, or
normal again. It ends by itself, and outlives a restart.

Meanwhile nobody knows whose load the way carries: nothing is raised for its
charging groups, its half-hours are flagged MAP_INVALID, and the health point
topology/WAY tells the control centre who said so and why.`,
		Example: `  lvagent topology W3 back-fed --for 8h --why "joint on High Street"
  lvagent topology W3 normal --why "joint made"`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			o.Way, o.State, o.By = args[0], args[1], userOr(o.By)
			if o.Why == "" || o.For == "" && o.State != "normal" {
				return errors.New("topology: say --why, and --for how long")
			}
			if _, err := p.call(c, "topology", o); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", o.Way, o.State)
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&o.For, "for", "", "how long, like 8h")
	c.Flags().StringVar(&o.By, "by", "", "who you are (default: the user)")
	c.Flags().StringVar(&o.Why, "why", "", "why")
	return c
}
