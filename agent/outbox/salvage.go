package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"lvagent/agent/message"
	"lvagent/buffer"
)

// salvageKey is where the store remembers which older one it takes over, so
// that a crash in between forgets nothing.
const salvageKey = "salvage"

// takeover is an older store whose records are being carried over.
type takeover struct {
	Path  string
	Done  int    // records carried over so far; their order never changes
	Cause string // why it was set aside
}

// chunk is how many records are carried over in one commit.
const chunk = 200

var errStopped = errors.New("stopped")

// resumeTakeover finds out whether an older store is still to be carried over.
func (o *Outbox) resumeTakeover(s *buffer.Store, replaced *buffer.Replaced) error {
	if replaced != nil && replaced.SetAside != "" {
		o.older = &takeover{Path: replaced.SetAside, Cause: replaced.Cause.Error()}
		return s.Commit(buffer.Batch{At: o.wall(), Put: []buffer.Put{o.older.put()}})
	}
	v, err := s.Get(salvageKey)
	if v == nil || err != nil {
		return err
	}
	var t takeover
	if err := json.Unmarshal(v, &t); err != nil {
		return fmt.Errorf("resume salvage: %w", err)
	}
	o.older = &t
	return nil
}

func (t *takeover) put() buffer.Put {
	v, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and a number
	}
	return buffer.Put{Key: salvageKey, Value: v}
}

// carryOver salvages what an older store still holds. The records get new
// numbers; each says in "salvaged" what it was numbered before, and a gap record
// says what could not be read. New records are committed in between.
func (o *Outbox) carryOver(ctx context.Context) {
	t := o.older
	if t == nil {
		return
	}
	o.older = nil
	s := o.store.Load()
	i, found := 0, 0
	var batch buffer.Batch
	flush := func() error {
		t.Done = i
		batch.At, batch.Put = o.wall(), []buffer.Put{t.put()}
		if err := s.Commit(batch); err != nil {
			return err
		}
		batch = buffer.Batch{}
		o.tellUplink()
		o.commit()
		for o.tidy() {
		}
		return nil
	}
	report, err := buffer.Salvage(t.Path, func(r buffer.Record) error {
		i++
		if i <= t.Done {
			return nil
		}
		found++
		r.Entry.Body = message.Salvaged(r.Body, r.N, r.G)
		batch.Append = append(batch.Append, r.Entry)
		if len(batch.Append) < chunk {
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return errStopped
		}
		return nil
	})
	if errors.Is(err, errStopped) {
		return // goes on at the next start
	}
	lost := 0
	for _, r := range report.Streams {
		if n := r.Lost(); n > 0 {
			lost += n
			batch.Append = append(batch.Append, gapEntry(o.agent, buffer.Gap{
				Stream: r.Stream, From: r.First, To: r.Next - 1, Count: n, Why: "STORE_REPLACED", At: o.wall()}))
		}
	}
	if !report.Complete { // how many more there were, nobody knows
		batch.Append = append(batch.Append, gapEntry(o.agent, buffer.Gap{
			Stream: "*", Why: "STORE_REPLACED", At: o.wall()}))
	}
	batch.At, batch.Put = o.wall(), []buffer.Put{{Key: salvageKey}}
	if cerr := s.Commit(batch); cerr != nil {
		o.fail(cerr)
		return // goes on at the next start
	}
	o.tellUplink()
	if err == nil { // its segments may be as large as a full store; the file is kept to be looked at
		if err = os.RemoveAll(buffer.Segments(t.Path)); err != nil {
			err = fmt.Errorf("delete its segments: %w", err)
		}
	}
	o.log.Info("older store carried over", "path", t.Path, "records", found, "lost", lost, "complete", report.Complete, "err", err)
}
