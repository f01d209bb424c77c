// Command lvbench runs the agent on a test bench: simulated meters that speak
// real Modbus TCP, an MQTT broker, and the real lvagent as a child process.
//
// It holds flags and exit codes only; what a run does and proves is decided in
// hwtest. Exit codes: 0 every promise held, 1 a promise was broken, 2 the
// command was wrong or the run could not be carried out.
//
// Requirements: R2, R7, R9, R13, shown on one machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lvagent/hwtest"
)

// Exit codes.
const (
	exitHeld   = 0
	exitBroken = 1
	exitRig    = 2
)

// errBroken is a run that was carried out and broke a promise.
var errBroken = errors.New("a promise was broken")

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	// Caught so that a closed pipe ("lvbench demo | head") is an error of the
	// write and not the end of this process before it has cleaned up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		<-stop
		cancel()
	}()
	os.Exit(run(ctx, cancel, os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out a command line. Cancel ends the run when nobody can read it.
func run(ctx context.Context, cancel func(), args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "lvbench",
		Short:         "Run lvagent on a simulated substation and judge it from outside",
		Example:       "  lvbench demo",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(demoCommand(cancel), benchCommand(cancel), bareCommand(), runCommand(), listCommand(), pollCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitHeld
	case errors.Is(err, errBroken):
		return exitBroken
	default:
		fmt.Fprintf(stderr, "lvbench: %v\n", err)
		return exitRig
	}
}

func pollCommand() *cobra.Command {
	cfg := hwtest.PollConfig{}
	cmd := &cobra.Command{
		Use:   "poll",
		Short: "Read an outstation on DNP3 as a master does, and operate nothing",
		Long: `poll connects over TCP without TLS, reads all points once and says how long that
took, what is there and what is online, then polls events for a while. It confirms
what it reads: events that it took are gone for the master whose address it has.`,
		Example: `  lvbench poll --connect 127.0.0.1:20000
  lvbench poll --connect 192.0.2.10:20000 --master 2 --for 10m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return hwtest.Poll(cmd.Context(), cfg, cmd.OutOrStdout()) },
	}
	cmd.Flags().StringVar(&cfg.Connect, "connect", "127.0.0.1:20000", "address and port of the outstation")
	cmd.Flags().Uint16Var(&cfg.Master, "master", 1, "link address of the master")
	cmd.Flags().Uint16Var(&cfg.Outstation, "outstation", 1024, "link address of the outstation")
	cmd.Flags().DurationVar(&cfg.For, "for", 0, "how long to poll events afterwards")
	return cmd
}

func demoCommand(cancel func()) *cobra.Command {
	cfg := hwtest.DemoConfig{Pace: hwtest.DemoPace()}
	var asJSON, plain bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "An evening with electric vehicles and a lost link, in a minute",
		Long: `demo starts five simulated LV ways, a broker and the real lvagent, and plays an
evening: cars arrive, the centre sends a load-management signal, the link to the
broker is cut at the peak and comes back, and at last the centre speaks again.
It counts records at the broker and limits at the registers, and exits 0 only
when every promise held.

On a terminal it draws the evening while it goes on; into a pipe, or with
--plain, it writes a line for each event. Both end with a chart of the evening.
NO_COLOR is respected.`,
		Example: `  lvbench demo
  lvbench demo --for 2m --keep /tmp/evening
  lvbench demo --broker tcp://127.0.0.1:1883 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			to := cmd.OutOrStdout()
			if asJSON {
				to = cmd.ErrOrStderr()
			}
			out := tell(to, plain, cancel)
			defer out.close()
			s, err := hwtest.Demo(cmd.Context(), cfg, out)
			out.close()
			if err != nil {
				out.story()
				return err
			}
			if !s.Passed {
				out.story()
			}
			out.evening()
			out.summary(&s, cfg.Keep)
			if asJSON {
				text, err := json.Marshal(s)
				if err != nil {
					return fmt.Errorf("write summary: %w", err)
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text); err != nil {
					return fmt.Errorf("write summary: %w", err)
				}
			}
			if !s.Passed {
				return errBroken
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.DurationVar(&cfg.For, "for", time.Minute, "how long the evening takes, at least "+hwtest.ShortestDemo.String())
	f.StringVar(&cfg.Broker, "broker", "", "use this broker, tcp://host:port (default: one inside lvbench)")
	f.BoolVar(&asJSON, "json", false, "end stdout with one summary object; the story goes to stderr")
	f.BoolVar(&plain, "plain", false, "lines instead of a live picture, without colours")
	f.BoolVar(&cfg.Page, "page", false, "give the agent a status page and say where it is")
	f.StringVar(&cfg.Agent, "agent", "", "the lvagent to test (default: beside lvbench, else in $PATH)")
	f.StringVar(&cfg.Keep, "keep", "", "keep site file, store and agent log in this empty folder")
	f.Uint64Var(&cfg.Seed, "seed", 1, "the same seed gives the same households")
	return cmd
}
