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

// Records returns the stored records of a stream from number from on, a page at a
// time.
func (o *Outbox) Records(stream string, from uint64) (Page, error) {
	s := o.store.Load()
	if s == nil {
		return Page{}, errNoStore
	}
	return pageOf(s, stream, from)
}

func auditPage(s *buffer.Store, from uint64, key string) (Page, error) {
	// The head first: it must not be newer than the records.
	head, err := kept(s, key)
	if err != nil {
		return Page{}, fmt.Errorf("read the audit chain's head: %w", err)
	}
	p, err := pageOf(s, message.AuditStream, from)
	if head != nil {
		p.Head = head
	}
	return p, err
}

func pageOf(s *buffer.Store, stream string, from uint64) (Page, error) {
	p := Page{Records: []json.RawMessage{}}
	size := 0
	err := eachRecord(s, stream, from, func(r *buffer.Record) bool {
		if size > mostPage {
			p.Next = r.N
			return false
		}
		size += len(r.Body)
		p.Records = append(p.Records, message.Seal(nil, r.Body, r.Stream, r.N, r.G))
		return true
	})
	if err != nil {
		return Page{}, fmt.Errorf("read records of %s from %d: %w", stream, from, err)
	}
	return p, nil
}

// AuditOf calls each for every page of audit records in the store of a folder
// whose agent does not run. It changes nothing that is stored.
func AuditOf(folder, key string, each func(Page) error) error {
	return pagesOf(folder, each, func(s *buffer.Store, from uint64) (Page, error) { return auditPage(s, from, key) })
}

// RecordsOf does the same for the records of a stream.
func RecordsOf(folder, stream string, each func(Page) error) error {
	return pagesOf(folder, each, func(s *buffer.Store, from uint64) (Page, error) { return pageOf(s, stream, from) })
}

func pagesOf(folder string, each func(Page) error, page func(s *buffer.Store, from uint64) (Page, error)) (err error) {
	path := filepath.Join(folder, "records.db")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	s, err := buffer.Open(path, buffer.Options{})
	switch {
	case errors.Is(err, buffer.ErrLocked):
		return fmt.Errorf("open store %s: %w: an agent runs on it; ask that one", path, err)
	case err != nil:
		return fmt.Errorf("open store: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for from := uint64(1); from > 0; {
		p, err := page(s, from)
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
