package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"lvagent/agent/core"
	"lvagent/agent/tape"
	"lvagent/failsafe"
	"lvagent/failsafe/journal"
	"lvagent/meter"
)

// journaled wires the journal of the failsafe engine, or nothing where the site
// file wants none.
func (a *Agent) journaled(o *core.Options, setup failsafe.Config, start *journal.Start) {
	c := &a.site.Config.Journal
	if !c.Enabled {
		return
	}
	var groups []string
	for _, g := range setup.Groups {
		groups = append(groups, g.ID)
	}
	a.tape = tape.New(tape.Config{
		Folder: JournalFolder(a.site.Config.Buffer.Path), MaxBytes: int64(c.MaxMB) << 20, Keep: a.site.Config.JournalKeep(),
		Wall: a.wall, Log: a.log, Health: func(p meter.HealthPoint) { a.loop.SetHealth(p) },
	}, groups)
	o.Journal = a.tape
	o.Started = journal.Key{Engine: setup, Place: setup.Place.String(), Start: start}
}

// JournalFolder is where the journal is in an agent's folder.
func JournalFolder(folder string) string { return filepath.Join(folder, tape.Folder) }

// Journal brings what waits to the disk, and says where it is: lvagent audit
// export --journal reads the files.
func (a *Agent) Journal(ctx context.Context) ([]byte, error) {
	if a.tape == nil {
		return nil, fmt.Errorf("journal: the site file wants none (journal.enabled)")
	}
	if err := a.tape.Flush(ctx); err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"folder": JournalFolder(a.site.Config.Buffer.Path)})
}

// ReadJournal gives the whole blocks of a journal to yield, from the last state
// before from on. It returns how many octets were damaged.
func ReadJournal(folder string, from, to time.Time, yield func(journal.Block) error) (damaged int, err error) {
	return tape.Read(folder, from, to, yield)
}

func (a *Agent) tapeWritten() int64 {
	if a.tape == nil {
		return 0
	}
	return int64(a.tape.Counts().Written)
}
