package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/agent/socket"
)

// finding is one thing that is not as it should be.
type finding struct {
	What   string `json:"what"`
	Since  string `json:"since,omitempty"`
	Detail string `json:"detail,omitempty"`
	Cause  string `json:"likely_cause"`
	Next   string `json:"next_step"`
	rank   int
}

func doctorCommand() *cobra.Command {
	var p place
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Name each fault with its likely cause and the next step",
		Long: `Looks at the site file, the running agent, its meters, buses, outputs, links, clock
and store, and says of each fault what it most likely comes from and what to do
next. It changes nothing. Exit code 1 when there is a fault.`,
		Example: "  lvagent doctor",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			found := p.examine(c)
			slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(a.rank, b.rank) })
			if asJSON {
				if found == nil {
					found = []finding{}
				}
				out := json.NewEncoder(c.OutOrStdout())
				out.SetEscapeHTML(false)
				out.SetIndent("", "  ")
				if err := out.Encode(found); err != nil {
					return err
				}
			} else {
				printFindings(c.OutOrStdout(), found)
			}
			if len(found) > 0 {
				return errFault
			}
			return nil
		},
	}
	p.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the faults as JSON")
	return c
}

func printFindings(w io.Writer, found []finding) {
	if len(found) == 0 {
		fmt.Fprintln(w, "No fault found: the agent runs, everything answers, nothing waits.")
		return
	}
	for i, f := range found {
		fmt.Fprintf(w, "%d. %s", i+1, f.What)
		if f.Since != "" {
			fmt.Fprintf(w, ", for %s", f.Since)
		}
		fmt.Fprintln(w)
		if f.Detail != "" {
			fmt.Fprintf(w, "   says:   %s\n", f.Detail)
		}
		fmt.Fprintf(w, "   likely: %s\n   next:   %s\n", f.Cause, f.Next)
	}
}

// examine goes from what must hold first to what hangs on it.
func (p *place) examine(c *cobra.Command) (found []finding) {
	site, faults := agent.Prepare(p.config)
	for _, f := range faults {
		found = append(found, finding{What: "fault in the site file", Detail: f.String(), Cause: "a slip in the file", Next: "correct it; lvagent check " + p.config})
	}
	if site == nil {
		return found
	}
	s, _, err := p.status(c)
	if err != nil {
		return append(found, noAgent(filepath.Join(site.Config.Buffer.Path, socket.Name), err))
	}
	return append(found, diagnose(&s)...)
}

// diagnose says what is wrong with what the agent says of itself.
func diagnose(s *status) (found []finding) {
	known := func(code string) advice {
		a, ok := advices[code]
		if !ok {
			a = advice{"not in this version's list", "docs/alarms.md and docs/messages.md say what " + code + " means"}
		}
		return a
	}
	told := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(s.Health.Points)) {
		h := s.Health.Points[id]
		if h.State == "ok" {
			continue
		}
		a, rank := known(h.Code), 3
		switch {
		case strings.HasPrefix(id, "bus/"):
			rank = 1
		case strings.HasPrefix(id, "meter/"):
			rank = 2
		}
		told[h.Code] = true
		found = append(found, finding{id + " is " + h.State + ": " + h.Code, lasted(s.T.Sub(h.Since)), h.Detail, a.cause, a.next, rank})
	}
	for _, id := range s.Alarms {
		code := id[strings.LastIndexByte(id, '.')+1:]
		if told[code] || strings.HasPrefix(id, "_site.") && told[strings.TrimPrefix(id, "_site.")] {
			continue
		}
		if a, ok := advices[code]; ok { // thresholds are the feeder's, not a fault here
			found = append(found, finding{What: "alarm " + id, Cause: a.cause, Next: a.next, rank: 4})
		}
	}
	if !s.Uplink.Connected {
		a := known("NOT_CONNECTED")
		found = append(found, finding{"no connection to broker " + s.Uplink.Broker, "", s.Uplink.LastError, a.cause, a.next, 3})
	}
	if s.Backlog > 1000 && s.Uplink.Connected {
		found = append(found, finding{What: fmt.Sprintf("%d records wait for the broker", s.Backlog), Cause: "the link was away for long, and they are sent at a bounded rate", Next: "look again in some minutes: it must fall", rank: 5})
	}
	for _, id := range slices.Sorted(maps.Keys(s.Groups.Groups)) {
		g := s.Groups.Groups[id]
		if g.State == "MISMATCH_HIGH" || g.State == "UNREACHED" {
			a := known(map[string]string{"MISMATCH_HIGH": "ACTUATOR_PERMISSIVE", "UNREACHED": "ACTUATOR_UNREACHED"}[g.State])
			found = append(found, finding{"group " + id + ": output is " + g.State, "", "", a.cause, a.next, 3})
		}
	}
	for _, o := range s.Failsafe.Override {
		found = append(found, finding{fmt.Sprintf("override %s on %s by %s", o.Kind, o.Target, o.By), "", o.Why, "somebody set it; it ends by itself at " + o.Expires.Format(time.TimeOnly),
			"leave it, or lvagent override " + o.Target + " --kind clear", 6})
	}
	for _, x := range s.Shelved {
		found = append(found, finding{"alarm " + x.Alarm + " is shelved by " + x.By, "", x.Why, "somebody does not want to hear of it until " + x.Expires.Format(time.DateTime), "lvagent shelve " + x.Alarm + " --end", 6})
	}
	return found
}

// noAgent says why there is nobody to ask.
func noAgent(path string, err error) finding {
	f := finding{What: "no answer from an agent", Detail: err.Error()}
	switch _, statErr := os.Stat(path); {
	case os.IsPermission(statErr) || strings.Contains(err.Error(), "permission denied"):
		f.Cause, f.Next = "you may not open the agent's socket", "run it as root, or become a member of group lvagent"
	case statErr != nil:
		f.Cause, f.Next = "it does not run, or with another buffer.path", "systemctl status lvagent; journalctl -u lvagent -n 50"
	default:
		f.Cause, f.Next = "it was killed or hangs; systemd restarts it within 20 s", "journalctl -u lvagent -n 50"
	}
	return f
}

// lasted is a duration in its largest unit.
func lasted(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return d.Round(time.Second).String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
