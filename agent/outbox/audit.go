package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"lvagent/agent/message"
	"lvagent/buffer"
)

// mostPage bounds the octets of one page of records.
const mostPage = 512 << 10

// Page is a part of a stream as it was or will be published.
type Page struct {
	Records []json.RawMessage `json:"records"`
	Next    uint64            `json:"next"` // where to go on; 0: that was all
	Head    json.RawMessage   `json:"head"` // of the audit chain, as of the last commit
}

// Audit returns the stored audit records from number from of the stream on, a
// page at a time, and the small state under key, which is the chain's head.
func (o *Outbox) Audit(from uint64, key string) (Page, error) {
	s := o.store.Load()
	if s == nil {
		return Page{}, errNoStore
	}
	return auditPage(s, from, key)
}

func auditPage(s *buffer.Store, from uint64, key string) (Page, error) {
	p := Page{Records: []json.RawMessage{}}
	// The head first: it must not be newer than the records.
	head, err := kept(s, key)
	if err != nil {
		return Page{}, fmt.Errorf("read the audit chain's head: %w", err)
	}
	if head != nil {
		p.Head = head
	}
	size := 0
	err = eachRecord(s, message.AuditStream, from, func(r *buffer.Record) bool {
		if size > mostPage {
			p.Next = r.N
			return false
		}
		size += len(r.Body)
		p.Records = append(p.Records, message.Seal(nil, r.Body, r.Stream, r.N, r.G))
		return true
	})
	if err != nil {
		return Page{}, fmt.Errorf("read audit records from %d: %w", from, err)
	}
	return p, nil
}

// AuditOf calls each for every page of audit records in the store of a folder
// whose agent does not run. It changes nothing that is stored.
func AuditOf(folder, key string, each func(Page) error) (err error) {
	path := filepath.Join(folder, "records.db")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	s, err := buffer.Open(path, buffer.Options{})
	switch {
	case errors.Is(err, buffer.ErrLocked):
		return fmt.Errorf("open store %s: %w: an agent runs on it; ask that one, without --store", path, err)
	case err != nil:
		return fmt.Errorf("open store: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for from := uint64(1); from > 0; {
		p, err := auditPage(s, from, key)
		if err == nil {
			err = each(p)
		}
		if err != nil {
			return err
		}
		from = p.Next
	}
	return nil
}
