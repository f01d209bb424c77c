package cli

import (
	"errors"
	"fmt"
	"os/user"

	"github.com/spf13/cobra"

	"lvagent/agent/socket"
)

func shelveCommand() *cobra.Command {
	var p place
	var o socket.Shelve
	c := &cobra.Command{
		Use:   "shelve ALARM --for TIME --why TEXT",
		Short: "Stop announcing an alarm for a while",
		Long: `Stops announcing an alarm, by its id as lvagent status shows it, for at most a
week. One that stands then is announced when the time is over. With
--out-of-service it is not watched at all, for at most 90 days, and one that
stands is cleared. --end announces it again now.

The control centre sees what is shelved, by whom, why and until when. What the
agent does by itself is not changed: a fuse that is suspected to have blown holds
back charging whether or not its alarm is shelved.`,
		Example: `  lvagent shelve W3.L1.i.hi --for 2h --why "generator on test"
  lvagent shelve W3.L1.i.hi --end --why "test over"`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Alarm, o.By = args[0], userOr(o.By)
			if o.Why == "" || o.For == "" && !o.End {
				return errors.New("shelve: say --why, and --for how long or --end")
			}
			if _, err := p.call(c, "shelve", o); err != nil {
				return err
			}
			what := "shelved for " + o.For
			switch {
			case o.End:
				what = "no longer shelved"
			case o.OutOfService:
				what = "out of service for " + o.For
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", o.Alarm, what)
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&o.For, "for", "", "how long, like 2h")
	c.Flags().StringVar(&o.Why, "why", "", "why")
	c.Flags().StringVar(&o.By, "by", "", "who you are (default: the user)")
	c.Flags().BoolVar(&o.OutOfService, "out-of-service", false, "do not watch it at all")
	c.Flags().BoolVar(&o.End, "end", false, "announce it again")
	return c
}

func ackCommand() *cobra.Command {
	var p place
	var o socket.Ack
	c := &cobra.Command{
		Use:   "ack ALARM|GROUP",
		Short: "Acknowledge an alarm that latches, or end a lockout",
		Long: `Acknowledges an alarm that the site file gives a latch: it stands until its value
is back and somebody has acknowledged it. With a group, ends its lockout: the group
was proven not to do what it is told. The control centre sees who did.`,
		Example: "  lvagent ack W3.L1.FUSE_SUSPECTED\n  lvagent ack G1",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Alarm, o.By = args[0], userOr(o.By)
			if _, err := p.call(c, "ack", o); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: acknowledged\n", o.Alarm)
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&o.By, "by", "", "who you are (default: the user)")
	return c
}

// userOr returns who somebody says to be, or the user's name.
func userOr(name string) string {
	if name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
