package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/agent/trial"
)

func runCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the agent",
		Long: `Runs the agent until SIGTERM or Ctrl-C, then stops in order: outputs go to the
stricter of their limit and their failsafe limit, open periods are kept.

A site file with faults is refused with the same lines as lvagent check. SIGHUP
reads it again: without faults the agent restarts within the process and goes on
where it was; with faults they are logged and the old file stays in force. While a
site file is on trial (lvagent config) SIGHUP does nothing.`,
		Example: "  lvagent run --config /etc/lvagent/site.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), file, cmd.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&file, "config", "/etc/lvagent/site.yaml", "the site file")
	return c
}

// serve runs an agent after another until ctx ends: each time with the site file
// in force, or with the one on trial.
func serve(ctx context.Context, file string, stderr io.Writer) error {
	site, faults := agent.Prepare(file)
	if len(faults) > 0 {
		printFaults(stderr, faults)
		return errFault
	}
	bench, err := trial.Open(file)
	if err != nil {
		logger(stderr, site.Config.Log).Error("trial of a site file not cleared up", "err", err)
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	r := runner{file: file, bench: bench, reload: reload}
	for site != nil {
		r.log = logger(stderr, site.Config.Log)
		next, err := r.run(ctx, site)
		if err != nil {
			if _, _, runs := bench.Now(); !runs || ctx.Err() != nil {
				return err
			}
			r.log.Error("agent failed with the site file on trial", "err", err)
			if next = r.rollBack(trial.StartFailed); next == nil {
				return err
			}
		}
		site = next
	}
	return nil
}

// runner runs one agent after another.
type runner struct {
	file   string
	bench  *trial.Bench
	reload <-chan os.Signal
	log    *slog.Logger
}

// run runs an agent until ctx ends, and returns nil, or until there is another
// site file to run with.
func (r *runner) run(ctx context.Context, site *agent.Site) (next *agent.Site, err error) {
	a, err := agent.New(site, agent.Options{Log: r.log, Notify: notify, Trial: r.bench})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var run sync.WaitGroup
	run.Go(func() { err = a.Run(ctx) })
	next = r.await(ctx)
	stop()
	run.Wait()
	return next, err
}

// again is how long after a site file could not be rolled back to it is tried once
// more.
const again = time.Minute

// await waits for the end of ctx, and returns nil, or for a reason to start anew,
// and returns the site to start with.
func (r *runner) await(ctx context.Context) *agent.Site {
	for {
		var over <-chan time.Time
		if _, left, runs := r.bench.Now(); runs {
			timer := time.NewTimer(left)
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.reload:
			if _, _, runs := r.bench.Now(); runs {
				r.log.Warn("site file not read again: another is on trial; confirm it or roll it back")
				continue
			}
			if site := r.prepare(r.file, "site file not taken; the old one stays"); site != nil {
				r.log.Info("site file read again", "config", r.file)
				return site
			}
		case <-r.bench.Wake():
			if site := r.woken(); site != nil {
				return site
			}
		case <-over:
			if site := r.rollBack(trial.NotConfirmed); site != nil {
				return site
			}
			select { // the old file cannot be read; the agent runs on with the new one meanwhile
			case <-ctx.Done():
				return nil
			case <-time.After(again):
			}
		}
	}
}

// woken returns the site to start with after a trial began or ended; nil: the one
// that runs.
func (r *runner) woken() *agent.Site {
	if _, _, runs := r.bench.Now(); runs {
		if site := r.prepare(r.bench.Path(), "site file not tried"); site != nil {
			return site
		}
		if err := r.bench.RollBack(trial.StartFailed, ""); err != nil {
			r.log.Error("trial of a site file not ended in order", "err", err)
		}
		return nil // the old one never stopped
	}
	if t, ended := r.bench.Ended(); ended && t.Outcome != trial.Confirmed {
		return r.prepare(r.file, "site file in force not read")
	}
	return nil
}

// rollBack ends the trial and returns the site in force. Where that cannot be read
// any more the trial goes on: an agent that does not run curtails nothing.
func (r *runner) rollBack(why trial.Outcome) *agent.Site {
	site := r.prepare(r.file, "site file not rolled back")
	if site == nil {
		return nil
	}
	if err := r.bench.RollBack(why, ""); err != nil {
		r.log.Error("trial of a site file not ended in order", "err", err)
	}
	select {
	case <-r.bench.Wake(): // it was our own doing
	default:
	}
	return site
}

func (r *runner) prepare(file, complaint string) *agent.Site {
	site, faults := agent.Prepare(file)
	for _, f := range faults {
		r.log.Error(complaint, "fault", f.String())
	}
	if len(faults) > 0 {
		return nil
	}
	return site
}
