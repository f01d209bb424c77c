// Command lvagent is the agent of a secondary-substation RTU. See agent/cli for
// its subcommands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"lvagent/agent/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
