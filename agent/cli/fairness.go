package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvagent/failsafe"
)

func fairnessCommand() *cobra.Command {
	var p place
	var day string
	var asJSON bool
	c := &cobra.Command{
		Use:   "fairness",
		Short: "Show what was withheld from which charging group on a day",
		Long: `Shows for each charging group of a UTC day how long and by how much it was held
below its rating while it was not known to be idle, for what reason, and its rank:
1 is the group from which the highest share was withheld. Energy is what the group
might have drawn more at 230 V, at most that: an estimate, no settlement.

Without --day the day that runs. The report of a day that is over is published on
up/fairness.`,
		Example: "  lvagent fairness\n  lvagent fairness --day 2026-11-24 --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if day == "" {
				day = "today"
			} else if _, err := time.Parse(time.DateOnly, day); err != nil {
				return fmt.Errorf("fairness: --day %q is no date like 2026-11-24", day)
			}
			raw, err := p.call(c, "fairness/"+day, nil)
			if err != nil {
				return err
			}
			if asJSON {
				fmt.Fprintln(c.OutOrStdout(), strings.TrimSpace(string(raw)))
				return nil
			}
			return showFairness(c.OutOrStdout(), raw)
		},
	}
	p.flags(c)
	c.Flags().StringVar(&day, "day", "", "a UTC day, as 2026-11-24 (default: the day that runs)")
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func showFairness(w io.Writer, raw []byte) error {
	var r struct {
		Agent, Date string
		End         time.Time
		Spread      float64 `json:"spread_percent"`
		Groups      []struct {
			Group, Way string
			Priority   bool
			Rank       int
			Share      float64 `json:"share_percent"`
			Accounted  float64 `json:"accounted_min"`
			Curtailed  float64 `json:"curtailed_min"`
			Withheld   float64 `json:"withheld_kwh"`
			Caution    float64 `json:"caution_kwh"`
			Reasons    map[string]struct {
				Curtailed float64 `json:"curtailed_min"`
				Withheld  float64 `json:"withheld_kwh"`
			}
		}
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("fairness: %w", err)
	}
	fmt.Fprintf(w, "%s, %s until %s UTC\n", r.Agent, r.Date, r.End.Format("2006-01-02 15:04:05"))
	if len(r.Groups) == 0 {
		fmt.Fprintln(w, "no charging groups")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RANK\tGROUP\tWAY\tWITHHELD\tKWH\tCURTAILED\tKNOWN\tBY")
	for _, g := range r.Groups {
		var by []string
		for _, reason := range failsafe.Reasons() {
			name := reason.String()
			if x, is := g.Reasons[name]; is {
				by = append(by, fmt.Sprintf("%s %.1f min %.1f kWh", strings.ReplaceAll(name, "_", " "), x.Curtailed, x.Withheld))
			}
		}
		if g.Caution > 0 {
			by = append(by, fmt.Sprintf("(%.1f kWh by caution alone: no phase was loaded to 80 %%)", g.Caution))
		}
		name := g.Group
		if g.Priority {
			name += " (priority)"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%.1f %%\t%.1f\t%.1f min\t%.1f min\t%s\n", g.Rank, name, g.Way, g.Share, g.Withheld, g.Curtailed, g.Accounted, strings.Join(by, "; "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "highest share less lowest, of groups without priority: %.1f %%\n", r.Spread)
	return nil
}
