package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// reportCommand asks the running agent for a report of ways, and prints it with
// show, or as JSON. One that names a way keeps only that.
func reportCommand(name, short, long string, show func(io.Writer, json.RawMessage) error) *cobra.Command {
	var p place
	var asJSON bool
	c := &cobra.Command{
		Use: name + " [WAY]", Short: short, Long: long,
		Example: "  lvagent " + name + " W3",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := p.call(c, "report/"+name, nil)
			if err != nil {
				return err
			}
			var report struct {
				Agent string            `json:"agent"`
				T     time.Time         `json:"t"`
				Ways  []json.RawMessage `json:"ways"`
			}
			if err := json.Unmarshal(raw, &report); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			var ids []string
			kept := report.Ways[:0]
			for _, way := range report.Ways {
				var head struct{ Way string }
				if err := json.Unmarshal(way, &head); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				ids = append(ids, head.Way)
				if len(args) == 0 || head.Way == args[0] {
					kept = append(kept, way)
				}
			}
			if len(args) > 0 && len(kept) == 0 {
				return fmt.Errorf("nothing is known of way %q; there are %s", args[0], cmp.Or(strings.Join(ids, ", "), "none yet"))
			}
			w := c.OutOrStdout()
			text := w
			if asJSON {
				text = io.Discard
			}
			for _, way := range kept {
				if err := show(text, way); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			if asJSON {
				report.Ways = kept
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				return enc.Encode(report)
			}
			return nil
		},
	}
	p.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return c
}

func pqCommand() *cobra.Command {
	return reportCommand("pq", "Show the power quality of the running week",
		`Shows the 10-minute voltages of the week that runs against EN 50160 and the
statutory limits, unbalance, distortion, frequency and the meter's counts of
dips, swells and interruptions. Indicative: meters are polled, not recorded.
A week runs from Monday 00:00 UTC; its report is published on up/pq/<way>.`, showSupplyWeek)
}

type spreadView struct {
	P95, Max, Limit float64
	Verdict         string
}

func (s *spreadView) String() string {
	switch {
	case s == nil:
		return "not measured"
	case s.Verdict == "":
		return fmt.Sprintf("95 %% of values within %.2f %%, highest %.2f %%", s.P95, s.Max)
	default:
		return fmt.Sprintf("95 %% of values within %.2f %%, highest %.2f %%, limit %.0f %%: %s", s.P95, s.Max, s.Limit, s.Verdict)
	}
}

func showSupplyWeek(w io.Writer, raw json.RawMessage) error {
	type phase struct {
		Intervals int
		V         *struct{ Min, P5, Median, P95, Max float64 }
		Out10     int `json:"out_10pc"`
		OutRange  int `json:"out_range"`
		Below     int `json:"below_statutory"`
		Above     int `json:"above_statutory"`
		EN50160   string
		THD       *spreadView `json:"thd_v"`
	}
	var r struct {
		Way               string
		Start             time.Time
		Expected, Flagged int
		Offset            float64 `json:"offset_v"`
		L1, L2, L3        *phase
		VUF               *spreadView
		PVUR              *spreadView `json:"pvur_approx"`
		Frequency         *struct{ Min, Max float64 }
		Dips, Swells      *int
		Interruptions     *int
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s, week of %s, %d of 1008 intervals passed, %d flagged; indicative\n", r.Way, r.Start.Format("2006-01-02"), r.Expected, r.Flagged)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PHASE\tVALUES\tMIN V\t5 %\tMEDIAN\t95 %\tMAX V\tOUT 10 %\tOUT ALWAYS\tBELOW 216.2\tABOVE 253.0\tEN 50160")
	for i, p := range []*phase{r.L1, r.L2, r.L3} {
		if p == nil {
			continue
		}
		v := "-\t-\t-\t-\t-"
		if p.V != nil {
			v = fmt.Sprintf("%.1f\t%.1f\t%.1f\t%.1f\t%.1f", p.V.Min, p.V.P5, p.V.Median, p.V.P95, p.V.Max)
		}
		fmt.Fprintf(t, "L%d\t%d\t%s\t%d\t%d\t%d\t%d\t%s\n", i+1, p.Intervals, v, p.Out10, p.OutRange, p.Below, p.Above, p.EN50160)
	}
	t.Flush() // to a writer whose failure shows by itself
	if r.Offset != 0 {
		fmt.Fprintf(w, "compared after taking off %.1f V between busbar and customers\n", r.Offset)
	}
	for i, p := range []*phase{r.L1, r.L2, r.L3} {
		if p != nil && p.THD != nil {
			fmt.Fprintf(w, "THD of L%d: %s\n", i+1, p.THD)
		}
	}
	fmt.Fprintf(w, "unbalance (VUF): %s\n", r.VUF)
	if r.VUF == nil && r.PVUR != nil {
		fmt.Fprintf(w, "unbalance of magnitudes (PVUR, approximate): %s\n", r.PVUR)
	}
	if r.Frequency != nil {
		fmt.Fprintf(w, "frequency: %.3f to %.3f Hz\n", r.Frequency.Min, r.Frequency.Max)
	}
	fmt.Fprintf(w, "dips %s, swells %s, interruptions %s\n\n", counted(r.Dips), counted(r.Swells), counted(r.Interruptions))
	return nil
}

func counted(n *int) string {
	if n == nil {
		return "not counted by the meter"
	}
	return fmt.Sprint(*n)
}

func loadingCommand() *cobra.Command {
	return reportCommand("loading", "Show how loaded each way is and what it could still carry",
		`Shows the current of each phase against the limit that governs, what is free, and
the heat of cable, fuse and transformer: theta is 1 at what is permitted for
ever. TX is the transformer. The same is published on up/capacity.`, showCapacity)
}

func showCapacity(w io.Writer, raw json.RawMessage) error {
	type phase struct {
		I, Percent, Theta float64
		Limit             float64 `json:"limit_a"`
		Free              float64 `json:"free_a"`
		Basis, By         string
		ToLimit           *int `json:"to_limit_s"`
	}
	type peak struct {
		KVA   float64
		Start time.Time
	}
	var c struct {
		Way, Season string
		L1, L2, L3  *phase
		Flags       []string
		Transformer *struct {
			Ambient float64 `json:"ambient_c"`
			TopOil  float64 `json:"top_oil_c"`
			HotSpot float64 `json:"hot_spot_c"`
			Ageing  float64
		}
		Day struct {
			LoadFactor *float64 `json:"load_factor"`
			LossFactor *float64 `json:"loss_load_factor"`
			Peak       *peak
		}
		Firm *struct {
			KVA     float64
			Peak    *peak
			Percent *float64 `json:"peak_percent"`
			Over80  int      `json:"over_80"`
			Over110 int      `json:"over_110"`
			Over120 int      `json:"over_120"`
		}
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s, %s ratings%s\n", c.Way, c.Season, strings.Join(append([]string{""}, c.Flags...), ", "))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PHASE\tA\tLIMIT A\tBY\t%\tFREE A\tTHETA\tMODEL\tREACHES 1 IN")
	for i, p := range []*phase{c.L1, c.L2, c.L3} {
		if p == nil {
			fmt.Fprintf(t, "L%d\tnot known\n", i+1)
			continue
		}
		reaches := "-"
		if p.ToLimit != nil {
			reaches = (time.Duration(*p.ToLimit) * time.Second).String()
		}
		fmt.Fprintf(t, "L%d\t%.1f\t%.1f\t%s\t%.0f\t%.1f\t%.2f\t%s\t%s\n", i+1, p.I, p.Limit, p.Basis, p.Percent, p.Free, p.Theta, p.By, reaches)
	}
	t.Flush() // to a writer whose failure shows by itself
	if h := c.Transformer; h != nil {
		fmt.Fprintf(w, "transformer: %.0f °C around it, top oil %.0f °C, hot spot %.0f °C, ageing %.2f times\n", h.Ambient, h.TopOil, h.HotSpot, h.Ageing)
	}
	if d := c.Day; d.LoadFactor != nil && d.LossFactor != nil && d.Peak != nil {
		fmt.Fprintf(w, "today: load factor %.2f, loss load factor %.2f, peak %.1f kVA at %s\n", *d.LoadFactor, *d.LossFactor, d.Peak.KVA, d.Peak.Start.Format("15:04"))
	}
	if f := c.Firm; f != nil && f.Peak != nil && f.Percent != nil {
		fmt.Fprintf(w, "firm capacity %.0f kVA: peak %.1f kVA (%.0f %%) on %s; periods above 80 %%: %d, above 110 %%: %d, above 120 %%: %d\n",
			f.KVA, f.Peak.KVA, *f.Percent, f.Peak.Start.Format("2006-01-02 15:04"), f.Over80, f.Over110, f.Over120)
	}
	fmt.Fprintln(w)
	return nil
}

func wiringCommand() *cobra.Command {
	red := false
	c := reportCommand("wiring", "Judge how the meters are connected to their ways",
		`Judges by the angles between voltages and currents of the last half-hour, and of a
day where generation could be the cause, and says what to do: a current
transformer the wrong way round, leads of different phases, a scale that cannot
be. It needs ten minutes with 5 A on each phase. Exits with 1 where one is red.

  green  nothing found
  amber  to be looked at, or not to be told from the meter
  red    wrong; the text says what to change
  open   not enough load yet`, func(w io.Writer, raw json.RawMessage) error {
			verdict, err := showWiring(w, raw)
			red = red || verdict == "red"
			return err
		})
	run := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := run(cmd, args); err != nil {
			return err
		}
		if red {
			return errFault
		}
		return nil
	}
	return c
}

func showWiring(w io.Writer, raw json.RawMessage) (string, error) {
	var r struct {
		Way, Verdict string
		Findings     []struct{ Verdict, Text string }
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return "", err
	}
	fmt.Fprintf(w, "%s: %s\n", r.Way, r.Verdict)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "  %s: %s\n", f.Verdict, f.Text)
	}
	return r.Verdict, nil
}
