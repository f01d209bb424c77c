package play

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"lvagent/hwtest/scenario"
)

// keep writes the evidence: every observation, one a line, so that a verdict's
// evidence number is a line; the verdicts; and the audit records by themselves.
func keep(r *Result) error {
	seen, err := os.Create(filepath.Join(r.Folder, "observations.jsonl"))
	if err != nil {
		return fmt.Errorf("keep the evidence: %w", err)
	}
	audit, err := os.Create(filepath.Join(r.Folder, "audit.jsonl"))
	if err != nil {
		seen.Close()
		return fmt.Errorf("keep the evidence: %w", err)
	}
	all, records := bufio.NewWriter(seen), bufio.NewWriter(audit)
	lines, audits := json.NewEncoder(all), json.NewEncoder(records)
	for i := range r.Timeline.Observations {
		o := &r.Timeline.Observations[i]
		err = errors.Join(err, lines.Encode(o))
		if o.Kind == scenario.Messages && o.Key == "up/audit" {
			err = errors.Join(err, audits.Encode(o.Body))
		}
	}
	verdicts, wrong := json.MarshalIndent(map[string]any{
		"promise": r.Scenario.Promise, "requirements": r.Scenario.Requirements, "passed": r.Passed(), "failure": r.Failure,
		"verdicts": r.Verdicts, "steps_started": r.Timeline.Started,
	}, "", "  ")
	err = errors.Join(err, wrong, all.Flush(), records.Flush(), seen.Close(), audit.Close(),
		os.WriteFile(filepath.Join(r.Folder, "verdicts.json"), append(verdicts, '\n'), 0o600))
	if err != nil {
		return fmt.Errorf("keep the evidence: %w", err)
	}
	return nil
}
