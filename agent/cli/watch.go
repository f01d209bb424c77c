package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent/credentials"
	"lvagent/agent/message"
	"lvagent/agent/uplink"
	"lvagent/agent/watch"
)

// look is what somebody wants to see.
type look struct {
	broker, agent, prefix, id string
	payload                   string
	passwordFile              string
	files                     credentials.Files
	since                     string
	lasts                     time.Duration
	asJSON, commands          bool
}

func watchCommand() *cobra.Command {
	var l look
	c := &cobra.Command{
		Use:   "watch --broker URL",
		Short: "Show what agents publish, in plain words",
		Long: `Connects to a broker as one who looks on, never publishes, and prints a line for
each message of the agents: what it says with units, how old it is, and what its
number says: missing before it, here before. Alarms and failsafe states are
coloured on a terminal (not with NO_COLOR set). Ctrl-C ends it, with a count.

Sparkplug B is decoded too, of any edge node: births, deaths, values with their
quality, what is historical, and gaps in seq. A node's births are not retained;
until the next one types and aliases are not known.

What the broker has retained comes first. With --since what is older is left out.
A lost connection is made again; what was published meanwhile is seen as missing.`,
		Example: `  lvagent watch --broker tcp://127.0.0.1:1883
  lvagent watch --broker tls://broker.example:8883 --tls-ca ca.pem --tls-cert me.pem --tls-key me.key --agent EPN-E1234
  lvagent watch --broker tcp://127.0.0.1:1883 --payload sparkplug --commands
  lvagent watch --broker tcp://127.0.0.1 --json | jq 'select(.sequence=="skips")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringVar(&l.broker, "broker", "", "the broker, tcp://host:1883 or tls://host:8883, with user where it wants one")
	f.StringVar(&l.agent, "agent", "", "one agent only")
	f.StringVar(&l.prefix, "prefix", message.DefaultPrefix, "template of the topics, as in the agents' site files")
	f.StringVar(&l.payload, "payload", "both", "what to show: json, sparkplug or both")
	f.StringVar(&l.id, "client-id", "", "client id (default lvagent-watch- and chance)")
	f.StringVar(&l.passwordFile, "password-file", "", "file with the password of the user in --broker")
	f.StringVar(&l.files.CA, "tls-ca", "", "who vouches for the broker (default: the system's)")
	f.StringVar(&l.files.Cert, "tls-cert", "", "our certificate")
	f.StringVar(&l.files.Key, "tls-key", "", "its key")
	f.StringVar(&l.since, "since", "", "leave out what is older: a time (RFC 3339) or how long ago (2h)")
	f.DurationVar(&l.lasts, "for", 0, "end after so long (default: never)")
	f.BoolVar(&l.commands, "commands", false, "show what the centre publishes, too")
	f.BoolVar(&l.asJSON, "json", false, "print JSON, one object a line")
	if err := c.MarkFlagRequired("broker"); err != nil {
		panic(err) // a flag that is defined above
	}
	return c
}

func (l *look) run(ctx context.Context, stdout, stderr io.Writer) error {
	since, err := l.sinceWhen(time.Now())
	if err != nil {
		return err
	}
	if l.agent != "" && !message.ValidAgent(l.agent) {
		return fmt.Errorf("--agent %q: no agent's id", l.agent)
	}
	if _, err := l.files.Client(); err != nil {
		return err
	}
	of, ok := map[string]watch.Contract{"json": watch.JSON, "sparkplug": watch.Sparkplug, "both": watch.Both}[l.payload]
	if !ok {
		return fmt.Errorf("--payload %q: none of json, sparkplug, both", l.payload)
	}
	ear := uplink.Ear{ClientID: l.id, TLS: l.files.Client, Filters: watch.Filters(of, l.prefix, l.agent, l.commands)}
	if ear.Broker, err = l.address(); err != nil {
		return err
	}
	if ear.ClientID == "" {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		ear.ClientID = "lvagent-watch-" + hex.EncodeToString(b[:])
	}
	if l.lasts > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.lasts)
		defer cancel()
	}
	p := printer{to: stdout, asJSON: l.asJSON, colour: isTerminal(stdout) && os.Getenv("NO_COLOR") == "", since: since, watcher: watch.New(l.prefix)}
	ctx, p.stop = context.WithCancel(ctx)
	defer p.stop()
	err = l.listen(ctx, &ear, &p, stderr)
	n := p.watcher.Counts
	fmt.Fprintf(stderr, "%d messages, %d here before, %d numbers missing of which %d came later, %d unreadable\n",
		n.Messages, n.Again, n.Missing, n.Filled, n.Unreadable)
	return errors.Join(err, p.err)
}

// listen holds a connection. The first one must come about; later ones are tried
// again and again.
func (l *look) listen(ctx context.Context, ear *uplink.Ear, p *printer, stderr io.Writer) error {
	connected := false
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		err := ear.Listen(ctx, func(refused []string) {
			for _, f := range refused {
				fmt.Fprintf(stderr, "the broker does not let us hear %s\n", f)
			}
			if connected {
				fmt.Fprintln(stderr, "connected again")
			}
			connected, pause = true, time.Second
		}, p.print)
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded) && !connected:
			return fmt.Errorf("no connection within %s", l.lasts)
		case ctx.Err() != nil:
			return nil
		case !connected:
			return err
		}
		fmt.Fprintf(stderr, "%v; again in %s\n", err, pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (l *look) sinceWhen(now time.Time) (time.Time, error) {
	if l.since == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(l.since); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, l.since)
	if err != nil {
		return time.Time{}, fmt.Errorf("--since %q: neither a time such as 2026-11-24T17:00:00Z nor a duration such as 2h", l.since)
	}
	return t, nil
}

// address puts the password into the broker's address.
func (l *look) address() (string, error) {
	if l.passwordFile == "" {
		return l.broker, nil
	}
	u, err := url.Parse(l.broker)
	if err != nil || u.User == nil || u.User.Username() == "" {
		return "", errors.New("--password-file: --broker names no user")
	}
	text, err := os.ReadFile(l.passwordFile)
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	u.User = url.UserPassword(u.User.Username(), strings.TrimRight(string(text), "\r\n"))
	return u.String(), nil
}

// printer writes a line for each message. It is called by one goroutine.
type printer struct {
	to             io.Writer
	asJSON, colour bool
	since          time.Time
	watcher        *watch.Watcher
	stop           context.CancelFunc
	err            error // of to; nobody reads any more
}

// Colours of a terminal (ECMA-48, SGR).
var tones = map[watch.Tone]string{watch.Good: "\x1b[32m", watch.Warn: "\x1b[33m", watch.Bad: "\x1b[1;31m"}

func (p *printer) print(in uplink.Inbound) {
	m := watch.Message{Topic: in.Topic, Payload: in.Payload, Retained: in.Retained, Arrived: in.Arrived}
	line := p.watcher.Take(m)
	if p.err != nil || !line.At.IsZero() && line.At.Before(p.since) {
		return
	}
	w := bufio.NewWriter(p.to)
	switch colour := tones[line.Tone]; {
	case p.asJSON:
		text, err := line.JSON(m)
		if err != nil {
			p.fail(err)
			return
		}
		_, _ = w.Write(text) // Flush says
	case p.colour && colour != "":
		_, _ = w.WriteString(colour + line.String() + "\x1b[0m")
	default:
		_, _ = w.WriteString(line.String())
	}
	_ = w.WriteByte('\n')
	if err := w.Flush(); err != nil {
		p.fail(err)
	}
}

func (p *printer) fail(err error) {
	p.err = fmt.Errorf("print: %w", err)
	p.stop()
}
