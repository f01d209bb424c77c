package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"lvagent/agent"
	"lvagent/agent/replay"
	"lvagent/failsafe/journal"
)

// mostFile is the largest file that is replayed at once.
const mostFile = 1 << 30

func replayCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "replay FILE",
		Short: "Compute every decision again from what led to it",
		Long: `Reads a file of lvagent audit export --journal (- is standard input), computes
every decision in it again with the failsafe engine, and says where a record or a
state is not what it is computed to be: record, member, what it was, what it would
be. Verifies the chain of the records as well. Exits with 1 where something
differs, is damaged or does not follow.

It needs no agent and no site file: the configuration is in the file. Replay with
the program version that decided; another one may have other rules.`,
		Example: "  lvagent audit export --journal > evening.lvj\n  lvagent replay evening.lvj",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			data, err := readAll(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			r := replay.Run(data)
			if r.Runs == 0 {
				return fmt.Errorf("replay %s: no state to begin from in %d octets; is it a file of lvagent audit export --journal?", args[0], len(data))
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(r); err != nil {
					return err
				}
			} else {
				showReplay(c.OutOrStdout(), r)
			}
			if !r.Right() {
				return errFault
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

func readAll(stdin io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	data, err := io.ReadAll(io.LimitReader(stdin, mostFile+1))
	if err == nil && len(data) > mostFile {
		err = fmt.Errorf("more than %d MB; export a shorter time", mostFile>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

const shortTime = "2006-01-02 15:04:05"

func showReplay(w io.Writer, r *replay.Report) {
	for i, k := range r.Configs {
		fmt.Fprintf(w, "%s  run %s, version %s, configuration %s", k.From.Format(shortTime), k.Boot, k.Version, k.Hash)
		if i > 0 && r.Configs[i-1].Hash != k.Hash {
			fmt.Fprint(w, " (another than before)")
		}
		if k.Version != agent.Version {
			fmt.Fprintf(w, "; this program is version %s and may decide otherwise", agent.Version)
		}
		fmt.Fprintln(w)
	}
	for _, g := range r.Gaps {
		until := "the end"
		if !g.To.IsZero() {
			until = g.To.Format(shortTime)
		}
		fmt.Fprintf(w, "%s  not computed until %s: %s\n", g.From.Format(shortTime), until, g.Why)
	}
	for i := range r.Differences {
		fmt.Fprintf(w, "DIFFERS %s\n", r.Differences[i].String())
	}
	if r.More > 0 {
		fmt.Fprintf(w, "DIFFERS in %d more places\n", r.More)
	}
	for _, f := range r.Chain.Faults {
		fmt.Fprintf(w, "BROKEN at record %d of chain %s (%s): %s\n", f.N, f.Chain, f.Where, f.What)
	}
	if r.Damaged > 0 {
		fmt.Fprintf(w, "DAMAGED %d octets of the file\n", r.Damaged)
	}
	if r.Steps > 0 {
		fmt.Fprintf(w, "%s to %s UTC: ", r.From.Format(shortTime), r.To.Format(shortTime))
	}
	fmt.Fprintf(w, "%d steps computed in %d runs, %d decisions and %d states compared\n", r.Steps, r.Runs, r.Decisions, r.States)
	if r.Absent > 0 {
		fmt.Fprintf(w, "%d decisions were not compared: their record or their steps are not in the file\n", r.Absent)
	}
	if r.Right() {
		fmt.Fprintln(w, "no difference")
	}
}

// exportJournal writes the journal and the records of its time.
func (p *place) exportJournal(c *cobra.Command, out io.Writer, store string, begin, end time.Time) error {
	folder := agent.JournalFolder(store)
	if store == "" {
		raw, err := p.call(c, "journal", struct{}{})
		if err != nil {
			return err
		}
		var answer struct{ Folder string }
		if err := json.Unmarshal(raw, &answer); err != nil {
			return fmt.Errorf("audit export: %w", err)
		}
		folder = answer.Folder
	}
	blocks := 0
	first := begin
	damaged, err := agent.ReadJournal(folder, begin, end, func(b journal.Block) error {
		if blocks == 0 && b.Kind == journal.KeyBlock {
			if body, err := b.Body(); err == nil {
				if k, err := journal.ReadKey(body); err == nil {
					first = k.State.Wall
				}
			}
		}
		blocks++
		_, err := out.Write(b.Raw)
		return err
	})
	if err != nil {
		return err
	}
	if damaged > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "lvagent: %d octets of the journal are damaged and were passed over\n", damaged)
	}
	if blocks == 0 {
		return fmt.Errorf("audit export: no journal of that time in %s", folder)
	}
	_, err = p.auditPages(c, store, func(page *agent.AuditPage) error {
		for _, r := range page.Records {
			var m struct{ Record struct{ Wall time.Time } }
			if json.Unmarshal(r, &m) == nil && (m.Record.Wall.Before(first) || !m.Record.Wall.Before(end)) {
				continue
			}
			block, err := journal.AppendRecord(nil, r)
			if err == nil {
				_, err = out.Write(block)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("audit export: %w", err)
	}
	return err
}
