package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent/socket"
	"lvagent/configs"
)

// place is where the running agent's socket is.
type place struct{ config string }

func (p *place) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.config, "config", "/etc/lvagent/site.yaml", "the site file of the running agent")
}

func (p *place) call(c *cobra.Command, what string, request any) ([]byte, error) {
	cfg, _, _ := configs.Load(p.config)
	if cfg == nil {
		return nil, fmt.Errorf("site file %s: cannot be read; name it with --config", p.config)
	}
	return socket.Call(c.Context(), filepath.Join(cfg.Buffer.Path, socket.Name), what, request)
}

// status is what the commands show of the agent's answer.
type status struct {
	Agent, Version, Clock string
	T                     time.Time
	Backlog               int
	Alarms                []string
	Shelved               []struct {
		Alarm, By, Why string
		OutOfService   bool `json:"out_of_service"`
		Standing       bool
		Expires        time.Time
	}
	Expires *time.Time `json:"certificate_expires"`
	Uplink  struct {
		Connected, Duplicate        bool
		Broker, Selftest, LastError string
	}
	Store struct{ Failing, Replaced string }
	Wear  struct {
		PerDay    *float64 `json:"per_day"`
		Years     *float64
		Endurance float64 `json:"tb"`
	}
	Failsafe struct {
		Ways map[string]struct {
			State, Cause, Rule, Source, Ends string
			Since                            time.Time
		}
		Override []struct {
			Target, Kind, By, Why, Source string
			Expires                       time.Time
		}
	}
	Groups struct {
		Groups map[string]struct {
			Way, State, Deciding string
			Command              string
			Limit                map[string]struct{ Import *float64 }
		}
	}
	Health struct {
		Points map[string]struct {
			State, Code, Detail string
			Since               time.Time
		}
	}
	Topology []struct {
		Way, State, By, Why string
		Expires             time.Time
	}
	Reports []struct {
		Group, Issuer, State string
		T                    time.Time
		Age                  float64 `json:"age_s"`
		Amps                 [3]*float64
	}
	Requests []request
	Buses    []busStatus
	Meters   []struct {
		ID, Profile, Serial string
		Ways                []string
	}
	Ways []struct {
		Way  string
		Amps [3]*float64
		Age  float64 `json:"age_s"`
	}
}

func (p *place) status(c *cobra.Command) (s status, raw []byte, err error) {
	if raw, err = p.call(c, "status", nil); err == nil {
		err = json.Unmarshal(raw, &s)
	}
	return s, raw, err
}

func statusCommand() *cobra.Command {
	var p place
	var asJSON bool
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show how the running agent does",
		Example: "  lvagent status",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, raw, err := p.status(c)
			if err != nil {
				return err
			}
			if asJSON {
				fmt.Fprintln(c.OutOrStdout(), string(raw))
				return nil
			}
			s.print(c.OutOrStdout())
			return nil
		},
	}
	p.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return c
}

func (s *status) print(w io.Writer) {
	link := "connected"
	if !s.Uplink.Connected {
		link = "not connected: " + cmp.Or(s.Uplink.LastError, "trying")
	}
	store := "works"
	if s.Store.Failing != "" {
		store = "fails: " + s.Store.Failing
	}
	fmt.Fprintf(w, "%s, lvagent %s, clock %s\nbroker %s; %d records wait; store %s\n", s.Agent, s.Version, s.Clock, link, s.Backlog, store)
	for _, line := range s.printLink() {
		fmt.Fprintln(w, line)
	}
	if s.Wear.PerDay != nil && s.Wear.Years != nil {
		fmt.Fprintf(w, "writes %.1f MB a day; %.0f years until %g TB are written\n", *s.Wear.PerDay/1e6, *s.Wear.Years, s.Wear.Endurance)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nWAY\tL1 A\tL2 A\tL3 A\tAGE\tSTATE\tCAUSE")
	for _, way := range s.Ways {
		f := s.Failsafe.Ways[way.Way]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0f s\t%s\t%s\n", way.Way, amps(way.Amps[0]), amps(way.Amps[1]), amps(way.Amps[2]), way.Age, f.State, f.Cause)
	}
	if len(s.Groups.Groups) > 0 {
		fmt.Fprintln(t, "\nGROUP\tWAY\tLIMIT A\tACTUATOR\tDECIDED BY")
	}
	for _, id := range sortedKeys(s.Groups.Groups) {
		g := s.Groups.Groups[id]
		var limit *float64
		for _, l := range g.Limit {
			limit = l.Import
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", id, g.Way, amps(limit), g.State, strings.TrimSpace(g.Deciding+" "+g.Command))
	}
	if len(s.Reports) > 0 {
		fmt.Fprintln(t, "\nREPORTED\tBY\tSTATE\tL1 A\tL2 A\tL3 A\tAGE")
	}
	for _, r := range s.Reports {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Group, r.Issuer, r.State, amps(r.Amps[0]), amps(r.Amps[1]), amps(r.Amps[2]), s.T.Sub(r.T).Round(time.Second))
	}
	fmt.Fprintln(t, "\nMETER\tPROFILE\tSERIAL NUMBER\tWAYS")
	for _, m := range s.Meters {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", m.ID, m.Profile, cmp.Or(m.Serial, "-"), strings.Join(m.Ways, ", "))
	}
	s.printBuses(t)
	s.printHealth(t)
	t.Flush() // to a writer whose failure shows by itself
	for _, o := range s.Failsafe.Override {
		fmt.Fprintf(w, "\noverride of %s: %s by %s (%s, %s) until %s\n", o.Target, o.Kind, o.By, o.Source, o.Why, o.Expires.Format(time.RFC3339))
	}
	if len(s.Requests) > 0 {
		fmt.Fprintln(w)
		printCommands(w, s.Requests)
	}
	for _, o := range s.Topology {
		fmt.Fprintf(w, "\n%s is %s, by %s (%s) until %s\n", o.Way, o.State, o.By, o.Why, o.Expires.UTC().Format(time.RFC3339))
	}
	if len(s.Alarms) > 0 {
		fmt.Fprintf(w, "\nalarms: %s\n", strings.Join(s.Alarms, ", "))
	}
	for _, h := range s.Shelved {
		what, standing := "shelved", ""
		if h.OutOfService {
			what = "out of service"
		}
		if h.Standing {
			standing = ", it stands"
		}
		fmt.Fprintf(w, "%s: %s by %s (%s) until %s%s\n", h.Alarm, what, h.By, h.Why, h.Expires.Format(time.RFC3339), standing)
	}
}

// printLink says what else there is to know of the way to the broker.
func (s *status) printLink() (lines []string) {
	if s.Uplink.Selftest != "" {
		lines = append(lines, "self-test of the broker: "+s.Uplink.Selftest)
	}
	if s.Uplink.Duplicate {
		lines = append(lines, "the broker closes one connection after another: another client may use this id")
	}
	if s.Expires != nil {
		lines = append(lines, fmt.Sprintf("certificate until %s, %d days left", s.Expires.UTC().Format(time.DateOnly), int(s.Expires.Sub(s.T).Hours()/24)))
	}
	return lines
}

// printHealth lists what is not well, or says that all is.
func (s *status) printHealth(w io.Writer) {
	unwell := slices.DeleteFunc(sortedKeys(s.Health.Points), func(id string) bool { return s.Health.Points[id].State == "ok" })
	if len(unwell) == 0 {
		fmt.Fprintf(w, "\nhealth: all %d parts ok\n", len(s.Health.Points))
		return
	}
	fmt.Fprintln(w, "\nNOT WELL\tSTATE\tCODE\tFOR\tDETAIL")
	for _, id := range unwell {
		p := s.Health.Points[id]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", id, p.State, p.Code, s.T.Sub(p.Since).Round(time.Second), p.Detail)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func amps(a *float64) string {
	if a == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", *a)
}

func whyCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use:     "why WAY",
		Short:   "Say why a way is in its state, and what would end it",
		Example: "  lvagent why W3",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, _, err := p.status(c)
			if err != nil {
				return err
			}
			f, ok := s.Failsafe.Ways[args[0]]
			if !ok {
				return fmt.Errorf("there is no way %q; there are %s", args[0], strings.Join(sortedKeys(s.Failsafe.Ways), ", "))
			}
			w := c.OutOrStdout()
			fmt.Fprintf(w, "%s is %s since %s (%s ago): %s.\n", args[0], f.State, f.Since.Format(time.RFC3339), s.T.Sub(f.Since).Round(time.Second), f.Cause)
			for _, id := range sortedKeys(s.Groups.Groups) {
				if g := s.Groups.Groups[id]; g.Way == args[0] {
					for phase, l := range g.Limit {
						fmt.Fprintf(w, "  %s %s may draw %s A: %s; actuator %s.\n", id, phase, amps(l.Import), strings.TrimSpace(g.Deciding+" "+g.Command), g.State)
					}
				}
			}
			fmt.Fprintf(w, "It ends with %s.\n", f.Ends)
			return nil
		},
	}
	p.flags(c)
	return c
}

func overrideCommand() *cobra.Command {
	var p place
	var o socket.Override
	c := &cobra.Command{
		Use:   "override WAY|GROUP --kind KIND --why TEXT",
		Short: "Override the agent's outputs on site, with an end",
		Long: `Overrides what the agent tells the groups of a way, or one group, from here on
site. It ends by itself: after an hour, or after --for, at most 8h.

  hold_off  no charging
  limit     at most --amps
  release   suspends commands and the failsafe limit; never overload protection
  clear     ends the override

It goes before an override of the control centre, which sees who did it and why.`,
		Example: `  lvagent override W3 --kind hold_off --for 30m --why "jointing on W3"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Target = args[0]
			if o.By == "" {
				if u, err := user.Current(); err == nil {
					o.By = u.Username
				}
			}
			if o.Kind == "" || o.Why == "" {
				return errors.New("override: say --kind and --why")
			}
			raw, err := p.call(c, "override", o)
			if err != nil {
				return err
			}
			var a socket.Answer
			if err := json.Unmarshal(raw, &a); err != nil {
				return fmt.Errorf("override: %w", err)
			}
			if a.Stage == "rejected" {
				return fmt.Errorf("override refused: %s", a.Code)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %s of %s\n", a.Stage, o.Kind, strings.Join(a.Groups, ", "))
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&o.Kind, "kind", "", "hold_off, limit, release or clear")
	c.Flags().Float64Var(&o.Amps, "amps", 0, "A per phase, with --kind limit")
	c.Flags().StringVar(&o.For, "for", "", "how long, like 30m")
	c.Flags().StringVar(&o.By, "by", "", "who you are (default: the user)")
	c.Flags().StringVar(&o.Why, "why", "", "why")
	return c
}
