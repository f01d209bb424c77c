package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"lvagent/agent/message"
	"lvagent/configs"
	"lvagent/meter/modbus"
)

func schemaCommand() *cobra.Command {
	var markdown, profile bool
	c := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the site file, of meter profiles or of messages",
		Long: `Prints the JSON Schema of the site file, with which an editor completes and checks
it, or with --markdown the same as a table for people. With --profile it is that of
meter profiles.`,
		Example: "  lvagent schema > site.schema.json\n  lvagent schema --profile > profile.schema.json\n  lvagent schema messages hh > hh.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reference, schema := configs.Reference, configs.Schema
			if profile {
				reference, schema = modbus.Reference, modbus.Schema
			}
			if markdown {
				fmt.Fprint(cmd.OutOrStdout(), reference())
				return nil
			}
			text, err := schema()
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), string(text))
			return nil
		},
	}
	c.Flags().BoolVar(&markdown, "markdown", false, "print a table instead")
	c.Flags().BoolVar(&profile, "profile", false, "of meter profiles")
	c.AddCommand(schemaMessagesCommand())
	return c
}

func schemaMessagesCommand() *cobra.Command {
	var strict bool
	c := &cobra.Command{
		Use:   "messages [NAME]",
		Short: "Print the JSON Schema of a message, or list them",
		Long: `Prints the JSON Schema (2020-12) of a message that the agent publishes or of a
command that it hears. Without a name it lists them with their topics.

A consumer must bear fields that later versions add, so the schema allows them.
With --strict it does not, for a bench that looks for what is not described.`,
		Example: "  lvagent schema messages\n  lvagent schema messages hh\n  lvagent schema messages cmd/limit",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				listSchemas(cmd.OutOrStdout())
				return nil
			}
			for _, s := range message.Schemas() {
				if s.Name != args[0] {
					continue
				}
				var b bytes.Buffer
				if err := json.Indent(&b, s.Append(nil, strict), "", " "); err != nil {
					return fmt.Errorf("print schema %s: %w", s.Name, err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), b.String())
				return nil
			}
			return fmt.Errorf("schema %q: there is none; lvagent schema messages lists them", args[0])
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "allow no field that is not described")
	return c
}

func listSchemas(w io.Writer) {
	for _, s := range message.Schemas() {
		topics := strings.Join(s.Topics, ", ")
		if s.Retained {
			topics += " (retained)"
		}
		fmt.Fprintf(w, "%-14s %-36s %s\n", s.Name, topics, s.Doc)
	}
}
