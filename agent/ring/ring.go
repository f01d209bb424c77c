// Package ring keeps octets in a ring of files that are only ever appended to:
// when they are too much or too old, the oldest file goes.
//
// It does not know what is in them. A power cut costs what was not synced, and at
// most the batch that was being written.
package ring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// page is what a file system allocates at least; a small file counts as one.
const page = 4096

// Ring is one ring of files in a folder. It has one owner.
type Ring struct {
	Folder, Name, Suffix string        // files are Folder/Name-00000001Suffix
	Most                 int64         // octets of all files together
	Keep                 time.Duration // age at which a file is deleted

	file  *os.File // that is appended to; nil: none
	size  int64
	began time.Time // of the file
	next  uint64    // number of the next file
}

// Write appends a batch and waits until it is on disk. A file is never opened
// again: a torn end is nobody's middle. Fresh says that the batch is the first of
// a file.
func (r *Ring) Write(batch []byte, now time.Time) (n int, fresh bool, err error) {
	// A file is deleted as a whole, so it must not hold much of what may live.
	if r.Due(now) {
		if err := r.End(); err != nil {
			return 0, false, err
		}
	}
	if len(batch) == 0 {
		return 0, false, nil
	}
	if r.file == nil {
		if err := r.begin(now); err != nil {
			return 0, false, err
		}
		fresh = true
	}
	n, err = r.file.Write(batch)
	r.size += int64(n)
	if err != nil {
		return n, fresh, fmt.Errorf("write %s: %w", r.file.Name(), err)
	}
	if err := r.file.Sync(); err != nil {
		return n, fresh, fmt.Errorf("write %s to disk: %w", r.file.Name(), err)
	}
	return n, fresh, nil
}

// Due reports whether the next batch begins a new file although there is one.
func (r *Ring) Due(now time.Time) bool {
	return r.file != nil && (r.size >= r.Most/16 || now.Sub(r.began) >= r.Keep/8)
}

func (r *Ring) begin(now time.Time) error {
	if err := os.MkdirAll(r.Folder, 0o700); err != nil {
		return fmt.Errorf("make folder %s: %w", r.Folder, err)
	}
	all, err := r.Files()
	if err != nil {
		return err
	}
	if n := len(all); n > 0 {
		r.next = max(r.next, all[n-1].Number+1)
	}
	path := filepath.Join(r.Folder, fmt.Sprintf("%s-%08d%s", r.Name, r.next, r.Suffix))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	r.file, r.size, r.began, r.next = f, 0, now, r.next+1
	return syncFolder(r.Folder)
}

// syncFolder makes a new file's name survive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}

// End closes the file that is written; the next batch begins another.
func (r *Ring) End() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	if err != nil {
		return fmt.Errorf("close a file of %s: %w", r.Folder, err)
	}
	return nil
}

// File is one file of a ring.
type File struct {
	Path   string
	Number uint64
	Size   int64
	Wrote  time.Time
}

// Files returns the files of the ring, oldest first.
func (r *Ring) Files() (all []File, err error) {
	entries, err := os.ReadDir(r.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", r.Folder, err)
	}
	for _, e := range entries {
		digits, ours := strings.CutPrefix(e.Name(), r.Name+"-")
		digits, whole := strings.CutSuffix(digits, r.Suffix)
		n, err := strconv.ParseUint(digits, 10, 63)
		if !ours || !whole || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		all = append(all, File{filepath.Join(r.Folder, e.Name()), n, info.Size(), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b File) int { return int(int64(a.Number) - int64(b.Number)) })
	return all, nil
}

// Read gives the contents of each file, oldest first, to yield, until it returns
// false. It only reads: whether somebody writes does not matter.
func (r *Ring) Read(yield func(data []byte) bool) error {
	all, err := r.Files()
	if err != nil {
		return err
	}
	for _, f := range all {
		data, err := os.ReadFile(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("read a file of %s: %w", r.Folder, err)
		}
		if !yield(data) {
			return nil
		}
	}
	return nil
}

// Prune deletes the oldest files until the ring is small and young enough.
func (r *Ring) Prune(now time.Time) error {
	all, err := r.Files()
	if err != nil {
		return err
	}
	total := int64(0)
	for _, f := range all {
		total += (f.Size + page - 1) / page * page
	}
	for _, f := range all {
		if r.file != nil && f.Path == r.file.Name() {
			break
		}
		// A clock that is set far ahead deletes too early: that is the lesser fault,
		// with data of people. One that is behind keeps the whole ring at most.
		if now.Sub(f.Wrote) <= r.Keep && total <= r.Most {
			break
		}
		if err := os.Remove(f.Path); err != nil {
			return fmt.Errorf("delete a file of %s: %w", r.Folder, err)
		}
		total -= (f.Size + page - 1) / page * page
	}
	return nil
}
