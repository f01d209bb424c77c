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
)

func evsCommand() *cobra.Command {
	return reportCommand("evs", "Show charge points, controllable load and an estimate of charging cars",
		`Shows which charging groups sit on which phase, how much of their load could be
shed now, what each phase could still carry, and how many cars seem to charge:
an estimate from the steps in the current of the way, a quarter of an hour late.
Off unless the site file says ev.enabled; of ways with few customers nothing is
computed. The same is published on up/ev.`, showCharging)
}

func showCharging(w io.Writer, raw json.RawMessage) error {
	type phase struct {
		Groups, Connectors int
		Rating             float64  `json:"rating_a"`
		Limit              float64  `json:"limit_a"`
		Uncontrolled       float64  `json:"uncontrolled_a"`
		Controllable       *float64 `json:"controllable_a"`
		Headroom           *float64 `json:"headroom_a"`
		Cars               map[string]struct{ N, I float64 }
	}
	var c struct {
		Way, State string
		Since      *time.Time
		L1, L2, L3 *phase
		Groups     []struct {
			Group      string
			Phases     []string
			Rating     float64 `json:"rating_a"`
			Connectors int
		}
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	switch c.State {
	case "FEW_CUSTOMERS":
		fmt.Fprintf(w, "%s: too few customers; nothing is computed\n\n", c.Way)
		return nil
	case "CUSTOMERS_UNKNOWN":
		fmt.Fprintf(w, "%s: the site file does not say how many customers it has; nothing is computed\n\n", c.Way)
		return nil
	}
	since := "no cars are estimated"
	switch {
	case c.State == "SLOW_POLL":
		since = "polled too slowly to estimate cars"
	case c.Since != nil:
		since = "cars that came since " + c.Since.Format("2006-01-02 15:04")
	}
	fmt.Fprintf(w, "%s, %s\n", c.Way, since)
	amps := func(a *float64) string {
		if a == nil {
			return "not known"
		}
		return fmt.Sprintf("%.1f", *a)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PHASE\tGROUPS\tCONNECTORS\tRATING A\tLIMIT A\tUNCONTROLLED A\tCONTROLLABLE A\tHEADROOM A\tCARS")
	for i, p := range []*phase{c.L1, c.L2, c.L3} {
		if p == nil {
			continue
		}
		var cars []string
		for class, e := range p.Cars {
			cars = append(cars, fmt.Sprintf("%.1f of %s A", e.N, class))
		}
		slices.Sort(cars)
		said := strings.Join(cars, ", ")
		switch {
		case p.Cars == nil:
			said = "-"
		case len(cars) == 0:
			said = "none"
		}
		fmt.Fprintf(t, "L%d\t%d\t%d\t%.1f\t%.1f\t%.1f\t%s\t%s\t%s\n", i+1, p.Groups, p.Connectors, p.Rating, p.Limit, p.Uncontrolled, amps(p.Controllable), amps(p.Headroom), said)
	}
	t.Flush() // to a writer whose failure shows by itself
	for _, g := range c.Groups {
		fmt.Fprintf(w, "%s: %.0f A on %s, connectors %d\n", g.Group, g.Rating, strings.Join(g.Phases, " "), g.Connectors)
	}
	fmt.Fprintln(w)
	return nil
}
