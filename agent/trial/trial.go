// Package trial keeps a new site file on trial beside the one in force: it takes
// its place when it is confirmed, and goes away when it is not, whatever happens
// in between.
//
// The site file itself is not touched before the confirmation. What is tried lies
// beside it (.trial), with a file that says so (.trial.json). A process that finds
// such a file at its start was killed, crashed or lost power during the trial, and
// the trial is over. The package does not read a site file (configs), does not
// start anything (agent/cli), and does not judge whether a trial may be confirmed
// (agent).
package trial

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Outcome is how a trial ended.
type Outcome string

// Outcomes. A trial that goes on has none.
const (
	Confirmed    Outcome = "CONFIRMED"
	NotConfirmed Outcome = "NOT_CONFIRMED" // in time
	RolledBack   Outcome = "ROLLED_BACK"   // somebody said so
	Restarted    Outcome = "RESTARTED"     // the process ended before
	StartFailed  Outcome = "START_FAILED"  // the agent did not start with it
)

// Trial is what is tried, and who wants it.
type Trial struct {
	ID      string        `json:"id"` // of the command; one of somebody on site has an id of ours
	By      string        `json:"by"`
	Remote  bool          `json:"remote"`
	Within  time.Duration `json:"within"` // for the confirmation
	From    string        `json:"from"`   // hashes of the site file before and after
	To      string        `json:"to"`
	Outcome Outcome       `json:"outcome,omitempty"`
	EndedBy string        `json:"ended_by,omitempty"`
}

var (
	// ErrRuns says that there is a trial already.
	ErrRuns = errors.New("another site file is on trial")
	// ErrNone says that there is no trial.
	ErrNone = errors.New("no site file is on trial")
)

// Bench keeps the trial of one site file. Its methods may be called from any
// goroutine.
type Bench struct {
	file string
	wake chan struct{}
	step func(name string) error // for tests; may be nil

	mu   sync.Mutex
	now  *Trial // that goes on, or ended and was not told
	ends time.Time
}

// Open looks whether a trial was going on when the process before this one ended,
// and ends it.
func Open(file string) (*Bench, error) {
	b := &Bench{file: file, wake: make(chan struct{}, 1)}
	return b, b.resume()
}

func (b *Bench) resume() error {
	text, err := os.ReadFile(b.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		// Begun and not yet noted: nobody was told of it.
		return ignoreMissing(os.Remove(b.Path()))
	}
	if err != nil {
		return fmt.Errorf("read trial: %w", err)
	}
	var t Trial
	if err := json.Unmarshal(text, &t); err != nil {
		// It was written whole or not at all; a disk that spoils it spoils no site file.
		return errors.Join(fmt.Errorf("read trial %s: %w", b.stateFile(), err), os.Remove(b.stateFile()), ignoreMissing(os.Remove(b.Path())))
	}
	b.now = &t
	if t.Outcome != "" {
		return nil // not told yet
	}
	outcome := Restarted
	if site, err := os.ReadFile(b.file); err == nil && Hash(site) == t.To {
		outcome = Confirmed // it took the old one's place, and the note of it is missing
	}
	return b.end(outcome, t.EndedBy)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Path is where the site file on trial lies: in the folder of the one in force, so
// that what it refers to is found.
func (b *Bench) Path() string { return b.file + ".trial" }

// File is the site file in force.
func (b *Bench) File() string { return b.file }

// Before is where the site file that was replaced by a confirmation lies.
func (b *Bench) Before() string { return b.file + ".before" }

func (b *Bench) stateFile() string { return b.file + ".trial.json" }

// Hash names the text of a site file.
func Hash(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:8])
}

// Begin starts a trial of a text. Look is asked whether the file it was written
// to may be tried; an error of it ends the attempt and is returned as it is.
func (b *Bench) Begin(t Trial, text []byte, look func(path string) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now != nil && b.now.Outcome == "" {
		return ErrRuns
	}
	if err := b.write(b.Path(), text, "trial"); err != nil {
		return fmt.Errorf("keep site file for trial: %w", err)
	}
	if err := look(b.Path()); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(b.Path())))
	}
	site, err := os.ReadFile(b.file)
	if err != nil {
		return errors.Join(fmt.Errorf("begin trial: %w", err), ignoreMissing(os.Remove(b.Path())))
	}
	t.From, t.To, t.Outcome, t.EndedBy = Hash(site), Hash(text), "", ""
	if err := b.note(&t); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(b.Path())))
	}
	b.now, b.ends = &t, time.Now().Add(t.Within)
	b.signal()
	return nil
}

// Confirm puts the site file on trial in the place of the one in force, which is
// kept beside it.
func (b *Bench) Confirm(by string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil || b.now.Outcome != "" {
		return ErrNone
	}
	old, err := os.ReadFile(b.file)
	if err != nil {
		return fmt.Errorf("confirm site file: %w", err)
	}
	if err := b.write(b.Before(), old, "before"); err != nil {
		return fmt.Errorf("confirm site file: %w", err)
	}
	if err := b.at("adopt"); err != nil {
		return err
	}
	if err := os.Rename(b.Path(), b.file); err != nil {
		return fmt.Errorf("confirm site file: %w", err)
	}
	if err := b.at("adopted"); err != nil {
		return err
	}
	if err := syncFolder(b.file); err != nil {
		return fmt.Errorf("confirm site file: %w", err)
	}
	err = b.end(Confirmed, by)
	b.signal()
	return err
}

// RollBack ends the trial; the site file in force is as it was.
func (b *Bench) RollBack(why Outcome, by string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil || b.now.Outcome != "" {
		return ErrNone
	}
	err := b.end(why, by)
	b.signal()
	return err
}

// end notes how the trial ended. Where even that cannot be written, it has ended
// all the same, and the next start finds that it was interrupted.
func (b *Bench) end(how Outcome, by string) error {
	b.now.Outcome, b.now.EndedBy = how, by
	err := b.note(b.now)
	if how != Confirmed {
		err = errors.Join(err, ignoreMissing(os.Remove(b.Path())))
	}
	return err
}

// Now returns the trial that goes on, how long it has left, and whether there is
// one.
func (b *Bench) Now() (t Trial, left time.Duration, runs bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil || b.now.Outcome != "" {
		return Trial{}, 0, false
	}
	return *b.now, max(0, time.Until(b.ends)), true
}

// Ended returns a trial that ended and of which nobody was told yet.
func (b *Bench) Ended() (Trial, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil || b.now.Outcome == "" {
		return Trial{}, false
	}
	return *b.now, true
}

// Told forgets a trial that ended.
func (b *Bench) Told() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil || b.now.Outcome == "" {
		return nil
	}
	b.now = nil
	return ignoreMissing(os.Remove(b.stateFile()))
}

// Wake is sent to when a trial begins or ends.
func (b *Bench) Wake() <-chan struct{} { return b.wake }

func (b *Bench) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *Bench) note(t *Trial) error {
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("note trial: %w", err)
	}
	if err := b.write(b.stateFile(), text, "state"); err != nil {
		return fmt.Errorf("note trial: %w", err)
	}
	return nil
}

// write replaces a file so that it is the old one or the new one after any crash.
func (b *Bench) write(name string, text []byte, what string) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, text) {
		return nil
	}
	mode := fs.FileMode(0o640)
	if info, err := os.Stat(b.file); err == nil {
		mode = info.Mode().Perm()
	}
	draft := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".new")
	if err := b.at("write " + what); err != nil {
		return err
	}
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = b.at("rename " + what)
	}
	if err == nil {
		err = os.Rename(draft, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(draft)))
	}
	if err := b.at("renamed " + what); err != nil {
		return err
	}
	return syncFolder(name)
}

func (b *Bench) at(name string) error {
	if b.step == nil {
		return nil
	}
	return b.step(name)
}

func syncFolder(name string) error {
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
