// Package cli holds the subcommands of lvagent.
//
// Exit codes: 0 good, 1 a fault was found, 2 wrong usage.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"lvagent/agent"
	"lvagent/configs"
)

// errFault says that a fault was found and printed.
var errFault = errors.New("fault found")

// Root returns the command lvagent with all its subcommands.
func Root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lvagent",
		Short: "The agent of a secondary-substation RTU",
		Long: `lvagent measures every phase of every LV way, keeps half-hour records until the
broker has them, and keeps EV charging within its limits when the control
centre falls silent.`,
		SilenceErrors: true, SilenceUsage: true,
		Version: agent.Version,
	}
	root.AddCommand(
		runCommand(),
		checkCommand(),
		schemaCommand(),
		statusCommand(),
		whyCommand(),
		overrideCommand(),
		pqCommand(),
		loadingCommand(),
		evsCommand(),
		wiringCommand(),
		enrolCommand(),
		configCommand(),
		shelveCommand(),
		ackCommand(),
		topologyCommand(),
		optOutCommand(),
		mpanCommand(),
		ledgerCommand(),
		exportCommand(),
		watchCommand(),
		auditCommand(),
		drillCommand(),
		simulateCommand(),
		fairnessCommand(),
		replayCommand(),
		profileCommand(),
		probeCommand(),
		scanCommand(),
		meterCommand(),
		passwordCommand(),
		doctorCommand(),
		pointsCommand(),
		forceCommand(),
	)
	return root
}

// Main runs the command in args and returns its exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := Root()
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)

	ran := false
	var all []*cobra.Command
	for _, c := range root.Commands() {
		all = append(append(all, c), c.Commands()...)
	}
	for _, c := range all {
		inner := c.RunE
		if inner == nil {
			continue // it has subcommands only, and shows its help
		}
		c.RunE = func(cmd *cobra.Command, args []string) error {
			ran = true
			return inner(cmd, args)
		}
	}
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return 0
	case errors.Is(err, errFault):
		return 1
	case ran:
		fmt.Fprintf(stderr, "lvagent: %v\n", err)
		return 1
	default:
		fmt.Fprintf(stderr, "lvagent: %v\nSee lvagent --help.\n", err)
		return 2
	}
}

func checkCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check FILE...",
		Short: "Find every fault of a site file without starting",
		Long: `Reads site files as a start would, with the meter profiles and certificates they
name, and prints every fault as file:line: key.path: message. A file without fault
is answered with the load of each bus, and with the devices that this machine
does not have.`,
		Example: "  lvagent check /etc/lvagent/site.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			all := []configs.Fault{}
			for _, f := range files {
				site, faults := agent.Prepare(f)
				all = append(all, faults...)
				if len(faults) == 0 && !asJSON {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: no fault\n", f)
					for _, b := range site.Loads() {
						fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", f, b)
					}
					for _, r := range site.Remarks() {
						fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", f, r)
					}
				}
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(all); err != nil {
					return err
				}
			} else {
				printFaults(cmd.OutOrStdout(), all)
			}
			if len(all) > 0 {
				return errFault
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the faults as JSON")
	return c
}

func printFaults(w io.Writer, faults []configs.Fault) {
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
}

// notify tells systemd of a state; without systemd it does nothing.
func notify(state string) {
	daemon.SdNotify(false, state) // an agent that can't tell works on
}

// logger returns the log that the site file asks for.
func logger(w io.Writer, c configs.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the site file was checked
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "json" || c.Format == "auto" && os.Getenv("JOURNAL_STREAM") != "" && !isTerminal(w) {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
