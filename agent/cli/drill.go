package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent/core"
)

func drillCommand() *cobra.Command {
	var p place
	var by, why string
	var stop, last, asJSON bool
	c := &cobra.Command{
		Use:   "drill",
		Short: "Rehearse a loss of the control centre with masked outputs",
		Long: `Rehearses a loss of the control centre: a second engine goes on from the state of
the real one, is told everything but what the centre says, and its limits go
nowhere. The real engine, the outputs and the centre are not touched. It says when
each way would be in FAILSAFE, when each group would be at its failsafe limit, and
that heartbeats would be taken again; the result is in the audit chain.

It takes the heartbeat timeout and the entry ramp, and ends with exit code 1 where
something came later than the timers say, or not at all. It is refused while the
centre is really lost or another drill runs. Ctrl-C leaves it running; --last
shows how it went.

The currents that the second engine sees are those under the real limits.`,
		Example: "  lvagent drill --by \"A. Engineer\" --why \"acceptance\"\n  lvagent drill --last",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out := c.OutOrStdout()
			var d core.Drill
			switch {
			case stop && last:
				return errors.New("drill: say --stop or --last, not both")
			case stop:
				if err := p.drill(c, "stop", struct{}{}, &d); err != nil {
					return err
				}
			case last:
				if err := p.drill(c, "", nil, &d); err != nil {
					return err
				}
			default:
				if u, err := user.Current(); by == "" && err == nil {
					by = u.Username
				}
				if err := p.drill(c, "", map[string]string{"by": by, "why": why}, &d); err != nil {
					return err
				}
				if !asJSON {
					fmt.Fprintf(out, "%s  drill begins; the last heartbeat is %s old, the timeout %s\n", d.Began.Format("15:04:05"), milli(d.Age), milli(d.Timeout))
				}
				if err := p.follow(c, out, &d, asJSON); err != nil {
					return err
				}
			}
			if asJSON {
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				if err := enc.Encode(&d); err != nil {
					return err
				}
			} else {
				if stop || last {
					fmt.Fprintf(out, "drill of %s by %s: %s\n", d.Began.Format(shortTime), d.By, d.Why)
					showReactions(out, &d, 0)
				}
				showOutcome(out, &d)
			}
			if d.State == "failed" || d.State == "aborted" && !stop {
				return errFault
			}
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&by, "by", "", "who you are (default: the user)")
	c.Flags().StringVar(&why, "why", "", "why; it is in the audit chain")
	c.Flags().BoolVar(&stop, "stop", false, "end the drill that runs")
	c.Flags().BoolVar(&last, "last", false, "show the drill that runs, or the last one")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

func (p *place) drill(c *cobra.Command, what string, request any, into *core.Drill) error {
	path := "drill"
	if what != "" {
		path += "/" + what
	}
	raw, err := p.call(c, path, request)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	return nil
}

// follow shows a drill until it ends.
func (p *place) follow(c *cobra.Command, out io.Writer, d *core.Drill, quiet bool) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	shown := 0
	for d.State == "running" {
		select {
		case <-c.Context().Done():
			return fmt.Errorf("drill: it goes on without you; lvagent drill --last shows how it went")
		case <-tick.C:
		}
		*d = core.Drill{}
		if err := p.drill(c, "", nil, d); err != nil {
			return err
		}
		if !quiet {
			shown = showReactions(out, d, shown)
		}
	}
	return nil
}

func milli(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func showReactions(w io.Writer, d *core.Drill, from int) int {
	for _, r := range d.Reactions[min(from, len(d.Reactions)):] {
		what := "way " + r.Way + " in " + r.What
		if r.Group != "" {
			what = fmt.Sprintf("group %s at %.1f A (%s)", r.Group, float64(r.Limit)/1000, r.What)
		}
		fmt.Fprintf(w, "%10s  %s\n", "+"+milli(r.After).Round(100*time.Millisecond).String(), what)
	}
	return len(d.Reactions)
}

func showOutcome(w io.Writer, d *core.Drill) {
	switch d.State {
	case "passed":
		fmt.Fprintln(w, "PASSED  every way and group in time; outputs were not touched. Times are since the last heartbeat.")
	case "running":
		fmt.Fprintln(w, "running")
	case "failed":
		fmt.Fprintf(w, "FAILED  %s\n", d.Reason)
	default:
		fmt.Fprintf(w, "ABORTED  %s\n", d.Reason)
	}
}
