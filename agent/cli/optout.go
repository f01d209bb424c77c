package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent/socket"
)

// request is a limit that waits or is in force.
type request struct {
	ID, Class, Stage, Limit string
	Groups                  []string
	OptedOut                []string `json:"opted_out"`
	Start, End              time.Time
}

func printCommands(w io.Writer, all []request) {
	if len(all) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "COMMAND\tCLASS\tSTAGE\tLIMIT\tFROM\tTO\tGROUPS")
	for _, r := range all {
		groups := strings.Join(r.Groups, ", ")
		if len(r.OptedOut) > 0 {
			groups += " (not " + strings.Join(r.OptedOut, ", ") + ": opted out)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Class, r.Stage, r.Limit, r.Start.Format(time.RFC3339), r.End.Format(time.RFC3339), groups)
	}
	t.Flush() // to a writer whose failure shows by itself
}

// refusals say what a code of the agent means to whoever opts out.
var refusals = map[string]string{
	"NO_EVENT":     "there is no such request, or it is over",
	"NOT_OPTIONAL": "it is no request of the market: what the network needs cannot be refused",
	"NO_TARGET":    "the request is not for this group",
}

func optOutCommand() *cobra.Command {
	var p place
	var o socket.OptOut
	c := &cobra.Command{
		Use:   "optout [GROUP EVENT]",
		Short: "Refuse a commercial request for a charging group",
		Long: `Takes a charging group out of one request of class commercial, in the name of its
customers, before it begins or while it runs. The control centre is told; the
group's limit goes up by its ramp. EVENT is the id of the command; without
arguments the requests that can be refused are listed.

Emergency and network limits are no requests. A group whose customers never
consented (groups[].opt_in) gets none.`,
		Example: `  lvagent optout
  lvagent optout G1 flex-2026-11-24-17 --by "driver, bay 3"`,
		Args: cobra.MatchAll(cobra.MaximumNArgs(2), func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return fmt.Errorf("optout: name the event too; lvagent optout lists them")
			}
			return nil
		}),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				s, _, err := p.status(c)
				if err != nil {
					return err
				}
				open := slices.DeleteFunc(s.Requests, func(r request) bool { return r.Class != "commercial" })
				if len(open) == 0 {
					fmt.Fprintln(c.OutOrStdout(), "there is no request that could be refused")
				}
				printCommands(c.OutOrStdout(), open)
				return nil
			}
			o.Group, o.Event, o.By = args[0], args[1], userOr(o.By)
			raw, err := p.call(c, "optout", o)
			if err != nil {
				return err
			}
			var a socket.Answer
			if err := json.Unmarshal(raw, &a); err != nil {
				return fmt.Errorf("optout: %w", err)
			}
			if a.Stage == "rejected" {
				return fmt.Errorf("optout of %s from %s: %s: %s", o.Group, o.Event, a.Code, refusals[a.Code])
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is out of %s\n", o.Group, o.Event)
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&o.By, "by", "", "who you are (default: the user)")
	return c
}
