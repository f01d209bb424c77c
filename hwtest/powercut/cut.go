// Package powercut has a file system that knows what a loss of power would leave
// of it.
//
// [Serve] shows a folder through FUSE and writes down every change and every
// flush, in order. [Log.Cut] then lays out what a disk may hold if the power had
// gone at any place in between: what was flushed is there; of what was not, any
// part may be, in any order of blocks, one of them torn in the middle, and names
// may be missing.
//
// The file system runs in a process of its own: a store that maps its file into
// memory and shows it to itself would wait for itself. It is for the bench and
// never linked into the agent.
//
// Requirements: R2, R12 (nothing that was said to be stored is lost).
package powercut

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Kinds of operations.
const (
	opWrite  = "write"
	opSize   = "size" // truncated or grown
	opSync   = "sync" // a file, or a folder where Dir is set
	opCreate = "create"
	opMkdir  = "mkdir"
	opRename = "rename"
	opUnlink = "unlink"
)

// op is one thing that was done. Files are known by their inode, since names move.
type op struct {
	Kind     string
	Ino      uint64
	Dir      bool
	Name, To string // within the file system
	Off      int64
	Octets   []byte
}

// Log is what was done on the file system, in order.
type Log []op

// ReadLog reads what Serve wrote.
func ReadLog(file string) (Log, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read log of the power-cut file system: %w", err)
	}
	defer f.Close()
	var log Log
	d := gob.NewDecoder(bufio.NewReader(f))
	for {
		var o op
		switch err := d.Decode(&o); {
		case errors.Is(err, io.EOF):
			return log, nil
		case err != nil:
			return nil, fmt.Errorf("read log of the power-cut file system %s, entry %d: %w", file, len(log), err)
		}
		log = append(log, o)
	}
}

// block is what a disk writes whole or, when the power goes in the middle, in part.
const block = 512

// disk is what was flushed, and what waits.
type disk struct {
	files   map[uint64][]byte // flushed, by inode
	waiting map[uint64][]op   // writes and sizes that were not flushed, in order
	names   map[string]uint64 // flushed; folders have 0
	moves   []op              // changes of names that were not flushed, in order
}

// Cut lays out in folder what a loss of power before entry at may leave. The dice
// decide over what was not flushed.
func (l Log) Cut(at int, dice *rand.Rand, folder string) error {
	d := disk{files: map[uint64][]byte{}, waiting: map[uint64][]op{}, names: map[string]uint64{}}
	for _, o := range l[:at] {
		switch o.Kind {
		case opWrite, opSize:
			d.waiting[o.Ino] = append(d.waiting[o.Ino], o)
		case opSync:
			if o.Dir {
				d.flushNames(len(d.moves))
				break
			}
			for _, w := range d.waiting[o.Ino] {
				d.files[o.Ino] = w.apply(d.files[o.Ino])
			}
			delete(d.waiting, o.Ino)
		default:
			d.moves = append(d.moves, o)
		}
	}
	// A journal of names keeps their order: some of the first are there.
	d.flushNames(dice.IntN(len(d.moves) + 1))
	for _, ino := range slices.Sorted(maps.Keys(d.waiting)) {
		d.files[ino] = leave(d.files[ino], d.waiting[ino], dice)
	}
	return d.lay(folder)
}

// flushNames carries out the first n changes of names.
func (d *disk) flushNames(n int) {
	for _, o := range d.moves[:n] {
		switch o.Kind {
		case opCreate:
			d.names[o.Name] = o.Ino
		case opMkdir:
			d.names[o.Name] = 0
		case opRename:
			d.names[o.To] = d.names[o.Name]
			delete(d.names, o.Name)
		case opUnlink:
			delete(d.names, o.Name)
		}
	}
	d.moves = slices.Clone(d.moves[n:])
}

// apply carries out a write or a size.
func (o *op) apply(f []byte) []byte {
	end := o.Off
	if o.Kind == opWrite {
		end += int64(len(o.Octets))
	}
	if grow := end - int64(len(f)); grow > 0 {
		f = append(f, make([]byte, grow)...)
	}
	if o.Kind == opSize {
		return f[:o.Off]
	}
	copy(f[o.Off:], o.Octets)
	return f
}

// leave is what is left of a file of which some was not flushed: of each write
// any of its blocks, and one of all blocks torn.
func leave(f []byte, waiting []op, dice *rand.Rand) []byte {
	f = slices.Clone(f)
	odds := dice.IntN(5) // from nothing of it to all
	tear := dice.IntN(2) == 0
	for _, w := range waiting {
		if w.Kind == opSize {
			if dice.IntN(4) < odds {
				f = w.apply(f)
			}
			continue
		}
		for from := 0; from < len(w.Octets); {
			to := min(len(w.Octets), from+block-int(w.Off+int64(from))%block)
			part := op{Kind: opWrite, Off: w.Off + int64(from), Octets: w.Octets[from:to]}
			from = to
			if dice.IntN(4) >= odds {
				continue
			}
			if tear && dice.IntN(8) == 0 {
				tear = false
				part.Octets = part.Octets[:dice.IntN(len(part.Octets))]
			}
			f = part.apply(f)
		}
	}
	return f
}

// lay writes the disk out as files.
func (d *disk) lay(folder string) error {
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		path, ino := filepath.Join(folder, name), d.names[name]
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		switch {
		case err != nil:
		case ino == 0:
			err = os.MkdirAll(path, 0o700)
		default:
			err = os.WriteFile(path, d.files[ino], 0o600)
		}
		if err != nil {
			return fmt.Errorf("lay out what a power cut leaves: %w", err)
		}
	}
	return nil
}
