// Package statefile keeps one small state on disk so that a power cut at any
// moment leaves a whole one: two files, A and B, written in turn by write,
// fsync, rename and fsync of the folder.
//
// It does not know what the state means. The failsafe state is kept here and
// not in the record store, so that a store that is lost loses no limit (R7,
// R12).
package statefile

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// File is a state kept in two files beside each other.
type File struct {
	base  string
	count uint64 // of the newest state written
}

// Open returns the state at base (base.a and base.b) and its contents, newest
// first: none when there never was one. A file that is torn is left out; broken
// says that there was one.
func Open(base string) (f *File, contents [][]byte, broken bool, err error) {
	f = &File{base: base}
	var counts [2]uint64
	var bodies [2][]byte
	for i := range 2 {
		stored, err := os.ReadFile(f.name(uint64(i)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return f, nil, true, fmt.Errorf("open state %s: %w", f.name(uint64(i)), err)
		}
		count, body, ok := split(stored)
		if !ok {
			broken = true
			continue
		}
		counts[i], bodies[i] = count, body
		f.count = max(f.count, count)
	}
	newest := 0
	if counts[1] > counts[0] {
		newest = 1
	}
	for _, i := range []int{newest, 1 - newest} {
		if bodies[i] != nil {
			contents = append(contents, bodies[i])
		}
	}
	return f, contents, broken, nil
}

func (f *File) name(count uint64) string {
	return f.base + [...]string{".a", ".b"}[count%2]
}

// Write stores body. When it returns nil, the state survives a power cut.
func (f *File) Write(body []byte) error {
	next := f.count + 1
	head := fmt.Appendf(nil, "state %016x %08x\n", next, crc32.ChecksumIEEE(body))
	if err := writeDurably(f.name(next), append(head, body...)); err != nil {
		return fmt.Errorf("write state %s: %w", f.name(next), err)
	}
	f.count = next
	return nil
}

func split(stored []byte) (count uint64, body []byte, ok bool) {
	head, body, found := bytes.Cut(stored, []byte("\n"))
	var sum uint32
	if n, err := fmt.Sscanf(string(head), "state %x %x", &count, &sum); !found || n != 2 || err != nil {
		return 0, nil, false
	}
	return count, body, crc32.ChecksumIEEE(body) == sum
}

func writeDurably(name string, content []byte) error {
	tmp := name + ".new"
	w, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	if err == nil {
		err = w.Sync()
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		os.Remove(tmp) // what is left of it says nothing
		return err
	}
	return SyncFolder(filepath.Dir(name))
}

// SyncFolder makes the names in a folder survive a power cut.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Seed returns the device's own secret at path, made at the first start. It
// spreads what a fleet would do at once, and keys hashes of personal data.
func Seed(path string) (seed [32]byte, err error) {
	stored, err := os.ReadFile(path)
	if err == nil && len(stored) == len(seed) {
		return [32]byte(stored), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return seed, fmt.Errorf("read device seed: %w", err)
	}
	if _, err := rand.Read(seed[:]); err != nil {
		return seed, fmt.Errorf("make device seed: %w", err)
	}
	if err := writeDurably(path, seed[:]); err != nil {
		return seed, fmt.Errorf("write device seed %s: %w", path, err)
	}
	return seed, nil
}

// Derive returns a secret for one purpose. It tells nothing of the seed, so that
// who must know it, to compute again what was decided with it, knows no other.
func Derive(seed [32]byte, purpose string) [32]byte {
	mac := hmac.New(sha256.New, seed[:])
	mac.Write([]byte(purpose))
	return [32]byte(mac.Sum(nil))
}

// Saver writes states on its own goroutine, so that who decides never waits for
// a disk. Only the newest state is written; it stands for all before it.
type Saver struct {
	file *File
	name string
	log  *slog.Logger
	done func(version uint64)

	written atomic.Int64
	failing atomic.Pointer[string]

	mu      sync.Mutex
	body    []byte
	version uint64
	kick    chan struct{}
}

// NewSaver returns a saver of what the log calls name. It calls done, from its
// goroutine, with the version that is on disk.
func NewSaver(file *File, name string, log *slog.Logger, done func(version uint64)) *Saver {
	return &Saver{file: file, name: name, log: log, done: done, kick: make(chan struct{}, 1)}
}

// Save hands over a state; versions grow. It does not wait.
func (s *Saver) Save(version uint64, body []byte) {
	s.mu.Lock()
	s.version, s.body = version, body
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// page is what a small write comes to on a disk.
const page = 4096

// Written is how many octets were written since the start, in whole pages.
func (s *Saver) Written() int64 { return s.written.Load() }

// Failing is why the newest state is not on disk; empty when it is, or soon will be.
func (s *Saver) Failing() string {
	if why := s.failing.Load(); why != nil {
		return *why
	}
	return ""
}

// Run writes until ctx ends, then once more what is still to be written. A
// write that fails is tried again each second.
func (s *Saver) Run(ctx context.Context) error {
	failing := false
	var again <-chan time.Time
	for {
		ending := false
		select {
		case <-ctx.Done():
			ending = true
		case <-s.kick:
		case <-again:
		}
		again = nil
		s.mu.Lock()
		body, version := s.body, s.version
		s.mu.Unlock()
		if body != nil {
			err := s.file.Write(body)
			switch {
			case err != nil && !failing:
				s.log.Error(s.name+" not stored", "err", err)
			case err == nil && failing:
				s.log.Info(s.name + " stored again")
				s.failing.Store(nil)
			}
			if err != nil {
				why := err.Error()
				s.failing.Store(&why)
			}
			s.written.Add((int64(len(body)) + page) / page * page)
			failing = err != nil
			if failing {
				again = time.After(time.Second)
			} else {
				s.mu.Lock()
				if s.version == version {
					s.body = nil
				}
				s.mu.Unlock()
				s.done(version)
			}
		}
		if ending {
			return nil
		}
	}
}
