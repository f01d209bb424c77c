package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/agent/audit"
	"lvagent/failsafe"
)

func auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Verify and export the record of what was decided",
		Long: `Each change of a limit or a state, each stage of a command, each override and each
refusal is one record, with the limits it was decided from. The records are a
chain: each holds the hash of the one before.`,
	}
	c.AddCommand(auditVerifyCommand(), auditExportCommand())
	return c
}

func auditVerifyCommand() *cobra.Command {
	var p place
	var store string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify [FILE | --store DIR]",
		Short: "Verify the chain of audit records",
		Long: `Verifies the chain of the running agent, of the folder of one that does not run
(--store), or of a file of records as they were published or exported, one on a
line; - is standard input. Says where the chain breaks, and exits with 1 then.

Records may be in any order and there more than once. Of a part of a chain the
first record's own predecessor is not verified.`,
		Example: "  lvagent audit verify\n  lvagent audit verify audit.jsonl\n  lvagent audit verify --store /var/lib/lvagent",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if store != "" && len(args) > 0 {
				return errors.New("audit verify: name a file or --store, not both")
			}
			v := &audit.Verifier{}
			var heads []failsafe.AuditHead
			var err error
			if len(args) > 0 {
				err = verifyFile(c.InOrStdin(), args[0], v)
			} else {
				heads, err = p.auditPages(c, store, func(page *agent.AuditPage) error {
					for _, r := range page.Records {
						var m struct{ N uint64 }
						if json.Unmarshal(r, &m) != nil {
							m.N = 0 // the verifier says what is wrong with it
						}
						v.Add(r, "stored record "+strconv.FormatUint(m.N, 10))
					}
					return nil
				})
			}
			if err != nil {
				return err
			}
			report := v.Report(heads...)
			showAudit(c.OutOrStdout(), &report, asJSON)
			if len(report.Faults) > 0 {
				return errFault
			}
			return nil
		},
	}
	p.flags(c)
	c.Flags().StringVar(&store, "store", "", "the folder of an agent that does not run")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

// mostLine is the longest line that is taken for a record.
const mostLine = 1 << 20

func verifyFile(stdin io.Reader, name string, v *audit.Verifier) error {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		stdin = f
	}
	lines := bufio.NewScanner(stdin)
	lines.Buffer(nil, mostLine)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) > 0 {
			v.Add(lines.Bytes(), "line "+strconv.Itoa(n))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func showAudit(w io.Writer, r *audit.Report, asJSON bool) {
	if asJSON {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			text = []byte(err.Error()) // plain values always marshal
		}
		fmt.Fprintln(w, string(text))
		return
	}
	for _, c := range r.Chains {
		fmt.Fprintf(w, "chain %s: records %d to %d, %d of them here; head %s\n", c.Chain, c.From, c.To, c.Records, c.Head)
		for _, l := range c.Lost {
			fmt.Fprintf(w, "chain %s: records %d to %d were lost; the chain says so itself\n", c.Chain, l.From, l.To)
		}
	}
	for _, f := range r.Faults {
		fmt.Fprintf(w, "BROKEN at record %d of chain %s (%s): %s\n", f.N, f.Chain, f.Where, f.What)
	}
	switch {
	case len(r.Faults) > 0:
		fmt.Fprintf(w, "%d records, %d faults\n", r.Records, len(r.Faults))
	case r.Records == 0:
		fmt.Fprintln(w, "no records")
	default:
		fmt.Fprintf(w, "%d records, no fault\n", r.Records)
	}
}

func auditExportCommand() *cobra.Command {
	var p place
	var store, from, to string
	var steps bool
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the audit records as JSON Lines",
		Long: `Writes the stored audit records as they are published on up/audit, one on a line,
of the running agent or of the folder of one that does not run. Times are compared
with the wall time in the record.

With --journal the records are written together with everything that the failsafe
engine was told in that time, in the form that lvagent replay reads: from the last
state before --from on, at most an hour before it.`,
		Example: `  lvagent audit export --from 2026-11-24T17:00:00Z --to 2026-11-24T18:00:00Z > audit.jsonl
  lvagent audit export --journal --from 2026-11-24T17:00:00Z > evening.lvj
  lvagent replay evening.lvj`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			begin, end, err := span("audit export", from, to)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(c.OutOrStdout())
			if steps {
				err := p.exportJournal(c, out, store, begin, end)
				return errors.Join(err, out.Flush())
			}
			_, err = p.auditPages(c, store, func(page *agent.AuditPage) error {
				for _, r := range page.Records {
					var m struct{ Record struct{ Wall time.Time } }
					known := json.Unmarshal(r, &m) == nil
					if known && (m.Record.Wall.Before(begin) || !m.Record.Wall.Before(end)) {
						continue
					}
					if _, err := fmt.Fprintf(out, "%s\n", r); err != nil {
						return err
					}
				}
				return nil
			})
			return errors.Join(err, out.Flush())
		},
	}
	p.flags(c)
	c.Flags().StringVar(&store, "store", "", "the folder of an agent that does not run")
	c.Flags().BoolVar(&steps, "journal", false, "with what led to them, for lvagent replay")
	c.Flags().StringVar(&from, "from", "", "not before this time (default: the oldest)")
	c.Flags().StringVar(&to, "to", "", "before this time (default: the newest)")
	return c
}

// span reads two times, of which each may be left out.
func span(command, from, to string) (begin, end time.Time, err error) {
	end = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		text string
		into *time.Time
	}{{from, &begin}, {to, &end}} {
		if x.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, x.text)
		if err != nil {
			return begin, end, fmt.Errorf("%s: %q is no time like 2026-11-24T17:00:00Z", command, x.text)
		}
		*x.into = t
	}
	return begin, end, nil
}

// auditPages calls each for every page of audit records of the running agent, or
// of a folder, and returns the heads that were kept of them.
func (p *place) auditPages(c *cobra.Command, store string, each func(*agent.AuditPage) error) (heads []failsafe.AuditHead, err error) {
	var kept json.RawMessage
	if store != "" {
		beside, err := agent.StoredAudit(store, func(page agent.AuditPage) error {
			kept = page.Head
			return each(&page)
		})
		if err != nil {
			return nil, err
		}
		heads = append(heads, beside)
	}
	for from := uint64(1); store == "" && from > 0; {
		raw, err := p.call(c, "audit/"+strconv.FormatUint(from, 10), nil)
		if err != nil {
			return nil, err
		}
		var page agent.AuditPage
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		if err := each(&page); err != nil {
			return nil, err
		}
		from, kept = page.Next, page.Head
	}
	if len(kept) > 0 {
		var head failsafe.AuditHead
		if err := json.Unmarshal(kept, &head); err != nil {
			return nil, fmt.Errorf("audit: head of the chain: %w", err)
		}
		heads = append(heads, head)
	}
	return heads, nil
}
