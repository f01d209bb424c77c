package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"lvagent/agent/core"
	"lvagent/agent/outbox"
	"lvagent/agent/statefile"
	"lvagent/failsafe"
)

// AuditPage is a part of the stored audit records.
type AuditPage = outbox.Page

// Audit answers lvagent audit: a page of stored records from number from on.
func (a *Agent) Audit(_ context.Context, from uint64) ([]byte, error) {
	p, err := a.box.Audit(from, core.AuditKey)
	if err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// StoredAudit calls each for every page of audit records in the folder of an
// agent that does not run, and returns the head that is kept beside the failsafe
// state; none where there is no such state.
func StoredAudit(folder string, each func(AuditPage) error) (head failsafe.AuditHead, err error) {
	if err := outbox.AuditOf(folder, core.AuditKey, each); err != nil {
		return head, err
	}
	base := filepath.Join(folder, "failsafe")
	_, stored, _, err := statefile.Open(base)
	if err != nil && !os.IsNotExist(err) {
		return head, fmt.Errorf("read the audit chain's head: %w", err)
	}
	if len(stored) == 0 {
		return head, nil
	}
	var env struct {
		State struct{ Audit failsafe.AuditHead }
	}
	if err := json.Unmarshal(stored[0], &env); err != nil {
		return head, fmt.Errorf("read the audit chain's head in %s: %w", base, err)
	}
	return env.State.Audit, nil
}
