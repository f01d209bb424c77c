package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"lvagent/agent/audit"
	"lvagent/agent/core"
	"lvagent/agent/message"
	"lvagent/agent/outbox"
	"lvagent/agent/statefile"
	"lvagent/configs"
	"lvagent/failsafe"
)

// The store of an agent that does not run is read page by page, and verified
// against the head beside the failsafe state.
func TestStoredAudit(t *testing.T) {
	cfg := configs.Default()
	cfg.Site.ID, cfg.Buffer.Path = "S1", t.TempDir()
	box := outbox.New(&cfg, time.Now, slog.New(slog.DiscardHandler), true)
	if err := box.Open(); err != nil {
		t.Fatal(err)
	}
	const records = 3500
	var head failsafe.AuditHead
	for range records {
		text, next, err := audit.Append(head, audit.Frame{Boot: "b1"}, audit.Moment{Wall: time.Now()}, failsafe.Decision{Kind: failsafe.DecidedSetpoint, Why: "x"})
		if err != nil {
			t.Fatal(err)
		}
		head = next
		kept, err := json.Marshal(head)
		if err != nil {
			t.Fatal(err)
		}
		box.Store(true, []outbox.Record{{Stream: message.AuditStream, At: time.Now(), Body: message.AppendAudit(nil, "S1", text)}}, outbox.Kept{Key: core.AuditKey, Value: kept})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := box.Run(ctx); err != nil {
		t.Fatal(err)
	}
	file, _, _, err := statefile.Open(filepath.Join(cfg.Buffer.Path, "failsafe"))
	if err != nil {
		t.Fatal(err)
	}
	state, err := failsafe.Encode(failsafe.State{Site: "S1", Audit: head})
	if err == nil {
		err = file.Write(state)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // reading changes nothing
		v, pages := &audit.Verifier{}, 0
		var stored failsafe.AuditHead
		beside, err := StoredAudit(cfg.Buffer.Path, func(p AuditPage) error {
			pages++
			for _, r := range p.Records {
				v.Add(r, "stored")
			}
			return json.Unmarshal(p.Head, &stored)
		})
		if err != nil || beside != head || stored != head {
			t.Fatalf("heads %+v and %+v, want %+v: %v", beside, stored, head, err)
		}
		if rep := v.Report(beside, stored); len(rep.Faults) > 0 || rep.Records != records || pages < 2 {
			t.Errorf("%d pages, report %+v", pages, rep)
		}
	}
}
