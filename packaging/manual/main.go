// Manual writes the man pages and shell completions of lvagent into a folder, as
// man/*.1 and completion/{bash,zsh,fish}: what the commands say of themselves.
//
//	go run ./packaging/manual FOLDER
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra/doc"

	"lvagent/agent/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manual FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "manual: %v\n", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	man, completion := filepath.Join(folder, "man"), filepath.Join(folder, "completion")
	for _, f := range []string{man, completion} {
		if err := os.MkdirAll(f, 0o755); err != nil {
			return err
		}
	}
	// The date of the sources, so that two builds are equal.
	var date time.Time
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		sec, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH %q: %w", s, err)
		}
		date = time.Unix(sec, 0).UTC()
	}
	root := cli.Root()
	root.DisableAutoGenTag = true
	root.InitDefaultCompletionCmd()
	header := &doc.GenManHeader{Section: "1", Source: "lvagent", Manual: "lvagent", Date: &date}
	if err := doc.GenManTree(root, header, man); err != nil {
		return err
	}
	return errors.Join(
		root.GenBashCompletionFileV2(filepath.Join(completion, "bash"), true),
		root.GenZshCompletionFile(filepath.Join(completion, "zsh")),
		root.GenFishCompletionFile(filepath.Join(completion, "fish"), true),
	)
}
