package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"lvagent/agent/page"
)

func passwordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "password",
		Short: "Make what the site file keeps of a password",
		Long: fmt.Sprintf(`Asks for a password of at least %d characters, twice and without showing it, and
prints the secret for page.accounts. The password itself is kept nowhere. Without a
terminal it is the first line of the input.`, page.LeastPassword),
		Example: "  lvagent password",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			password, err := readPassword(c.InOrStdin(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			secret, err := page.Hash(password)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), secret)
			return err
		},
	}
}

func readPassword(in io.Reader, ask io.Writer) (string, error) {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(in, 1024)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var twice [2][]byte
	for i, what := range [...]string{"Password: ", "Once more: "} {
		fmt.Fprint(ask, what)
		var err error
		twice[i], err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(ask)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
	}
	if string(twice[0]) != string(twice[1]) {
		return "", errors.New("password: the two are not the same")
	}
	return string(twice[0]), nil
}
