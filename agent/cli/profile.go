package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/configs"
	"lvagent/meter/modbus"
)

func profileCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "profile",
		Short: "List and test meter profiles",
		Long: `A profile is the register map of a kind of meter. Those that come with lvagent are
named in a site file by their id; any other by the path of its file.`,
		Example: "  lvagent profile list\n  lvagent profile test mine.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(profileListCommand(), profileTestCommand())
	return c
}

// listed is one profile in the list.
type listed struct {
	ID       string   `json:"id"`
	Vendor   string   `json:"vendor"`
	Models   []string `json:"models"`
	Ways     int      `json:"ways"` // 0: as many as the meter says
	Measures []string `json:"measures"`
	Neutral  string   `json:"neutral"`
	Requests int      `json:"requests"`
	Evidence string   `json:"evidence"`
	Source   string   `json:"source"`
	Remarks  string   `json:"remarks"`
}

func profileListCommand() *cobra.Command {
	var asJSON, markdown bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the profiles that come with lvagent",
		Long:    `Prints each shipped profile with what its meter measures and how far it is verified.`,
		Example: "  lvagent profile list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []listed
			for _, id := range configs.ProfileIDs() {
				p, _, faults := agent.Profile(id, "")
				if len(faults) > 0 {
					printFaults(cmd.OutOrStdout(), faults)
					return errFault
				}
				level, source := p.Evidence()
				all = append(all, listed{
					ID: p.ID(), Vendor: p.Vendor(), Models: p.Models(), Ways: p.Ways(), Measures: p.Quantities(), Neutral: p.NeutralSource(),
					Requests: len(p.Blocks()), Evidence: level, Source: source, Remarks: p.Remarks(),
				})
			}
			out := cmd.OutOrStdout()
			switch {
			case asJSON:
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(all)
			case markdown:
				printProfileTable(out, all)
			default:
				for _, l := range all {
					fmt.Fprintf(out, "%-22s %s %s; %s; neutral %s; %s\n", l.ID, l.Vendor, strings.Join(l.Models, ", "), l.waysText(), l.Neutral, l.Evidence)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&markdown, "markdown", false, "print a Markdown table")
	return c
}

func (l *listed) waysText() string {
	switch l.Ways {
	case 0:
		return "any number of ways"
	case 1:
		return "1 way"
	default:
		return fmt.Sprintf("%d ways", l.Ways)
	}
}

func printProfileTable(w io.Writer, all []listed) {
	fmt.Fprint(w, "| profile | meters | ways | besides v, i, p | neutral | requests a poll | source |\n|---|---|---|---|---|---|---|\n")
	for _, l := range all {
		var more []string
		for _, q := range l.Measures {
			if !strings.Contains(" v i p n ", " "+q+" ") {
				more = append(more, q)
			}
		}
		besides := strings.Join(more, ", ")
		if l.Remarks != "" {
			besides = strings.TrimPrefix(besides+"; "+l.Remarks, "; ")
		}
		fmt.Fprintf(w, "| `%s` | %s %s | %s | %s | %s | %d | %s: %s |\n", l.ID, l.Vendor, strings.Join(l.Models, ", "),
			map[bool]string{true: "any", false: strconv.Itoa(l.Ways)}[l.Ways == 0], besides, l.Neutral, l.Requests, l.Evidence, l.Source)
	}
}

func profileTestCommand() *cobra.Command {
	var way int
	c := &cobra.Command{
		Use:   "test PROFILE...",
		Short: "Check profiles, run their test vectors and print what would be read",
		Long: `Checks profile files, or shipped profiles by their id, as a start would: every
fault at once as file:line: key.path: message, test vectors that do not hold
included. A profile without fault is answered with the requests that a meter of
its kind gets, and the time that they take on a serial line.`,
		Example: "  lvagent profile test mine.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			faulty := false
			for _, name := range names {
				p, file, faults := agent.Profile(name, "")
				if len(faults) > 0 {
					faulty = true
					printFaults(cmd.OutOrStdout(), faults)
					continue
				}
				if n := p.Ways(); way < 1 || n > 0 && way > n {
					return fmt.Errorf("%s has %d ways, there is no way %d", p.ID(), n, way)
				}
				printProfile(cmd.OutOrStdout(), file, p, way)
			}
			if faulty {
				return errFault
			}
			return nil
		},
	}
	c.Flags().IntVar(&way, "way", 1, "way of a device that measures several")
	return c
}

// printProfile says what a meter of the profile is asked, and what that takes.
func printProfile(w io.Writer, file string, p *modbus.Profile, way int) {
	level, _ := p.Evidence()
	fmt.Fprintf(w, "%s: no fault; test vectors that hold: %d\n", file, p.Vectors())
	fmt.Fprintf(w, "  %s %s, evidence %s, neutral current %s\n", p.Vendor(), strings.Join(p.Models(), ", "), level, p.NeutralSource())
	plan := p.PlanOf(way)
	printRequests(w, "each poll", plan.Poll)
	printRequests(w, "slow period", plan.Slow)
	printRequests(w, "at the start and hourly", plan.Start)
	for _, x := range p.Settings() {
		fmt.Fprintf(w, "  may be set where a site permits it: %s, %s %s\n", x.Name, x.Allowed, x.Unit)
	}
	turnaround := p.Serial().Turnaround
	if turnaround == 0 {
		turnaround = configs.Turnaround("rtu:///dev/tty")
	}
	fmt.Fprint(w, "  a poll on a serial line takes")
	for i, baud := range []int{9600, 19200, 115200} {
		bus := modbus.Bus{URL: "rtu:///dev/tty", Timeout: time.Second, Baud: baud, Parity: "even"}
		var sum time.Duration
		for _, b := range plan.Poll {
			took, err := bus.Reading(b.N, turnaround)
			if err != nil {
				panic(err) // the bus is our own
			}
			sum += took
		}
		fmt.Fprintf(w, "%s %d ms at %d", map[bool]string{true: ","}[i > 0], sum.Milliseconds(), baud)
	}
	fmt.Fprintf(w, " baud\n")
}

func printRequests(w io.Writer, when string, all []modbus.Request) {
	for _, r := range all {
		fmt.Fprintf(w, "  %s: function %d, %d words from 0x%04x (%d): %s\n", when, r.Function, r.N, r.Addr, r.Addr, strings.Join(r.For, ", "))
	}
}
