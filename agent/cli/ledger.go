package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// ledgerPeriod is what is shown of a period.
type ledgerPeriod struct {
	Start, End         time.Time
	State, Reason, Why string
	Partial            bool
	N                  uint64
}

// kind is what periods in a row have in common to be shown as one line.
func (p *ledgerPeriod) kind() string {
	text := p.State
	switch {
	case p.Why != "":
		text += ": " + p.Reason + " (" + p.Why + ")"
	case p.Reason != "":
		text += ": " + p.Reason
	case p.Partial:
		text += ", partial"
	}
	return text
}

func ledgerCommand() *cobra.Command {
	var p place
	var way, day string
	var asJSON bool
	c := &cobra.Command{
		Use:   "ledger",
		Short: "Show what became of each half-hour of a day",
		Long: `Shows, for each way and each half-hour of a UTC day, whether the broker has its
record, whether it waits to be sent, or why there is no value: METER_OFFLINE,
AGENT_DOWN, CLOCK_UNSYNCED, CLOCK_STEP, NOT_MEASURED, DROPPED with a cause,
STORE_REPLACED (older than a store that took the place of a broken one), or
BEFORE_START. Half-hours in a row that fared alike are one line.`,
		Example: "  lvagent ledger --way W3 --day 2026-11-24",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if day == "" {
				day = time.Now().UTC().Format(time.DateOnly)
			}
			if _, err := time.Parse(time.DateOnly, day); err != nil {
				return fmt.Errorf("ledger: --day %q is no date like 2026-11-24", day)
			}
			if way == "" {
				way = "-" // all of them
			}
			raw, err := p.call(c, "ledger/"+day+"/"+way, nil)
			if err != nil {
				return err
			}
			if asJSON {
				fmt.Fprintln(c.OutOrStdout(), string(raw))
				return nil
			}
			var report struct {
				Ways []struct {
					Way     string
					Periods []ledgerPeriod
				}
			}
			if err := json.Unmarshal(raw, &report); err != nil {
				return fmt.Errorf("ledger: %w", err)
			}
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "WAY\tFROM\tTO\tHALF-HOURS\tNUMBERS\tRECORD")
			for _, w := range report.Ways {
				showPeriods(t, w.Way, w.Periods)
			}
			return t.Flush()
		},
	}
	p.flags(c)
	c.Flags().StringVar(&way, "way", "", "one way only")
	c.Flags().StringVar(&day, "day", "", "UTC day, like 2026-11-24 (default: today)")
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return c
}

func showPeriods(w io.Writer, way string, periods []ledgerPeriod) {
	for i := 0; i < len(periods); {
		first, k := &periods[i], i+1
		for k < len(periods) && periods[k].kind() == first.kind() {
			k++
		}
		last := &periods[k-1]
		numbers := "-"
		if first.N > 0 {
			numbers = fmt.Sprintf("%d-%d", first.N, last.N)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", way, first.Start.UTC().Format("15:04:05"), last.End.UTC().Format("15:04:05"),
			k-i, numbers, first.kind())
		i = k
	}
}
