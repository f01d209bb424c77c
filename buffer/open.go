package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

const (
	defaultOpenTimeout = 2 * time.Second
	lockRetry          = 20 * time.Millisecond

	// growth is the step in which a file of more than this size grows. bbolt's
	// 16 MiB is much for a small flash partition.
	growth = 1 << 20

	// keepAside is how many stores that were set aside are kept for a person to
	// look at. Beyond that the oldest is deleted, or a disk that breaks one
	// store a day would be full in a month.
	keepAside = 3

	generationSuffix = ".generation"
	newSuffix        = ".new"
	asideSuffix      = ".broken-"
)

// Replaced says that a store was lost and a new one started in its place.
type Replaced struct {
	SetAside   string // path of the old store; empty if nothing was left of it
	Cause      error
	Generation uint32 // of the new store
}

// Open opens the store at path, or makes one if there is none. It never replaces
// a store that will not open; see OpenOrReplace.
func Open(path string, o Options) (*Store, error) {
	s, _, err := open(path, o, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, nil
}

// OpenOrReplace opens the store at path. A store that is damaged is renamed to
// path + ".broken-" and the time at, its folder of segments with it, and a new
// one of the next generation is started; Replaced then says so. A store that is in use by another process
// (ErrLocked), or that cannot be reached for another reason, is left alone and
// the error returned. The three newest stores set aside are kept.
func OpenOrReplace(path string, o Options, at time.Time) (*Store, *Replaced, error) {
	s, r, err := open(path, o, at)
	if errors.Is(err, ErrDamaged) {
		s, r, err = replace(path, o, at, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return s, r, nil
}

// open opens or makes a store. Replaced is set if one was made where there had
// been one before.
func open(path string, o Options, at time.Time) (*Store, *Replaced, error) {
	o, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	beside, err := readGeneration(path)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		// Segments may be there all the same, for the file holds no more than the
		// newest records.
		var aside string
		if ids, err := segmentIDs(segmentsOf(path)); err == nil && len(ids) > 0 {
			if aside, err = setAside(path, at); err != nil {
				return nil, nil, err
			}
			beside = max(beside, 1)
		}
		s, err := create(path, o, beside+1)
		if err != nil || beside == 0 {
			return s, nil, err
		}
		return s, &Replaced{SetAside: aside, Cause: ErrMissing, Generation: s.generation}, nil
	}
	s, err := openBolt(path, path, o, false)
	if err != nil {
		return nil, nil, err
	}
	if err := s.adopt(beside); err != nil {
		return nil, nil, errors.Join(err, s.abandon())
	}
	return s, nil, nil
}

// adopt makes an existing file this store's: it reads the streams, agrees on the
// generation and marks the file as in use.
func (s *Store) adopt(beside uint32) error {
	if err := s.load(); err != nil {
		return err
	}
	if err := s.loadSegments(); err != nil {
		return err
	}
	inside := s.generation
	if inside < beside {
		// Another store came after this one: it is a copy put back. What it
		// will number from now on has been numbered before.
		s.generation = beside + 1
	}
	s.seq++
	// The first commit takes the list of free pages off the file, and a file
	// without it is checked when it is opened. Without this a file that turns out
	// to be damaged before anything is written would be trusted again. Where
	// there is no room for it the store can still be read.
	if err := s.stamp(s.seq); err != nil {
		if errors.Is(err, ErrDamaged) || inside != s.generation {
			return err
		}
		if s.seq, err = s.storedSeq(); err != nil {
			return err
		}
	}
	if s.generation != beside {
		return writeGeneration(s.path, s.generation)
	}
	return nil
}

// replace sets a damaged store aside and makes the next one. The generation file
// is written after the new store is in place: whenever this is cut short, the
// next Open finds a number that no store had.
func replace(path string, o Options, at time.Time, cause error) (*Store, *Replaced, error) {
	o, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	beside, err := readGeneration(path)
	if err != nil {
		return nil, nil, err
	}
	next := beside + 1
	if beside == 0 {
		// Both places where the generation was kept are gone. Seconds since 1970
		// are above any number that was reached by counting.
		next = uint32(max(1, at.Unix()))
	}
	aside, err := setAside(path, at)
	if err != nil {
		return nil, nil, errors.Join(err, cause)
	}
	s, err := create(path, o, next)
	if err != nil {
		return nil, nil, errors.Join(err, cause)
	}
	return s, &Replaced{SetAside: aside, Cause: cause, Generation: next}, nil
}

// setAside renames a store, its segments first: a crash in between leaves them
// with a name for which there is no store yet, and the next attempt takes it.
func setAside(path string, at time.Time) (string, error) {
	dir, base := filepath.Split(path)
	all, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return "", err
	}
	stores := map[string]bool{} // by name; whether the store itself is there
	for _, e := range all {
		if name, isStore := e.Name(), !strings.HasSuffix(e.Name(), segmentsSuffix); strings.HasPrefix(name, base+asideSuffix) {
			name = strings.TrimSuffix(name, segmentsSuffix)
			stores[name] = stores[name] || isStore
		}
	}
	stem := base + asideSuffix + at.UTC().Format("20060102T150405Z")
	aside := stem
	for i := 2; ; i++ {
		if _, taken := stores[aside]; !taken {
			break
		}
		aside = stem + "-" + strconv.Itoa(i)
	}
	err = os.Rename(segmentsOf(path), segmentsOf(dir+aside))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for name, isStore := range stores {
			if !isStore {
				aside = name
			}
		}
	case err != nil:
		return "", err
	}
	if err := syncDir(path); err != nil {
		return "", err
	}
	if err := os.Rename(path, dir+aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	stores[aside] = true
	old := slices.Sorted(maps.Keys(stores))
	for len(old) > keepAside {
		if old[0] != aside { // a clock that went back makes the newest sort first
			if err := errors.Join(os.RemoveAll(dir+old[0]), os.RemoveAll(segmentsOf(dir+old[0]))); err != nil {
				return "", err
			}
		}
		old = old[1:]
	}
	return dir + aside, syncDir(path)
}

// create makes a new store. It gets its name when it is complete, so that a
// crash leaves no half-made store behind.
func create(path string, o Options, generation uint32) (*Store, error) {
	s, err := openBolt(path, path+newSuffix, o, true)
	if err != nil {
		return nil, err
	}
	s.generation = generation
	if err := s.found(); err != nil {
		return nil, errors.Join(fmt.Errorf("make new store: %w", err), s.abandon())
	}
	return s, nil
}

func (s *Store) found() error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := tx.Bucket(bucketMeta).Put(keyFormat, binary.BigEndian.AppendUint32(nil, formatVersion)); err != nil {
			return err
		}
		return putMeta(tx, s.seq, s.generation)
	})
	if err != nil {
		return err
	}
	if err := os.Rename(s.path+newSuffix, s.path); err != nil {
		return err
	}
	if err := syncDir(s.path); err != nil {
		return err
	}
	return writeGeneration(s.path, s.generation)
}

// openBolt opens a file with bbolt, once it is locked and found to be sound.
func openBolt(path, name string, o Options, fresh bool) (_ *Store, err error) {
	s := &Store{path: path, opt: o, byName: make(map[string]int), segments: make(map[uint32]*segment), commitTx: (*bolt.Tx).Commit}
	defer func() {
		if err != nil && s.file != nil {
			release(s.file) // bbolt may have done so already
		}
	}()
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	s.db, err = bolt.Open(name, 0o600, &bolt.Options{
		Timeout:        o.OpenTimeout,
		FreelistType:   bolt.FreelistMapType, // finding a free page stays quick with many
		NoFreelistSync: true,                 // see the package comment
		NoSync:         o.NoSync,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := take(name, flag, mode, o.OpenTimeout, fresh)
			s.file = f
			return f, err
		},
	})
	if err != nil {
		return nil, classify(err)
	}
	s.db.AllocSize = growth
	return s, nil
}

// take opens and locks a file for bbolt. A fresh one is emptied, for it may be
// left over from a crash; any other is checked.
func take(name string, flag int, mode os.FileMode, timeout time.Duration, fresh bool) (_ *os.File, err error) {
	if !fresh {
		flag &^= os.O_CREATE
	}
	f, err := os.OpenFile(name, flag, mode)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := lock(f, timeout); err != nil {
		return nil, err
	}
	if fresh {
		err = f.Truncate(0)
	} else {
		err = checkFile(f)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// lock waits for the lock that bbolt takes as well, on the same open file.
func lock(f *os.File, timeout time.Duration) error {
	for end := time.Now().Add(timeout); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err == syscall.EINTR:
		case err != syscall.EWOULDBLOCK:
			return fmt.Errorf("lock: %w", err)
		case !time.Now().Before(end):
			return fmt.Errorf("%w: waited %v", ErrLocked, timeout)
		default:
			time.Sleep(lockRetry)
		}
	}
}

// classify tells damage, which a new store cures, from what it would not cure.
func classify(err error) error {
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrLocked):
		return err
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch),
		errors.Is(err, berrors.ErrChecksum), errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// abandon gives up a store that could not be opened fully.
func (s *Store) abandon() error {
	if s.wedged {
		return release(s.file)
	}
	return s.db.Close()
}

// release unlocks and closes a file behind bbolt's back. Closing it alone would
// not unlock it: a mapping that bbolt left behind keeps the lock.
func release(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// load reads what is kept in memory.
func (s *Store) load() (err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	return s.db.View(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return damage("bucket %s: absent", name)
			}
		}
		meta := tx.Bucket(bucketMeta)
		format, generation, seq := meta.Get(keyFormat), meta.Get(keyGeneration), meta.Get(keyCommits)
		if len(format) != 4 || len(generation) != 4 || len(seq) != 8 {
			return damage("meta: %d, %d and %d octets, want 4, 4 and 8", len(format), len(generation), len(seq))
		}
		if v := binary.BigEndian.Uint32(format); v != formatVersion {
			return damage("format version %d, want %d", v, formatVersion)
		}
		s.generation, s.seq = binary.BigEndian.Uint32(generation), binary.BigEndian.Uint64(seq)
		if s.generation == 0 {
			return damage("generation 0")
		}
		err := tx.Bucket(bucketStreams).ForEach(func(k, v []byte) error { return s.loadStream(string(k), v) })
		if err == nil && len(s.byName) != len(s.streams) {
			err = damage("%d streams, want %d", len(s.byName), len(s.streams))
		}
		return err
	})
}

func (s *Store) loadStream(name string, v []byte) error {
	var st stream
	if err := st.decode(name, v); err != nil {
		return err
	}
	if last := len(s.opt.Classes) - 1; int(st.class) > last {
		st.class = Class(last)
	}
	// Ids count 0, 1, 2; names come in their own order.
	for len(s.streams) <= int(st.id) {
		if st.id >= maxStreams {
			return damage("stream %s: id %d, want less than %d", name, st.id, maxStreams)
		}
		s.streams = append(s.streams, stream{})
	}
	if s.streams[st.id].name != "" {
		return damage("streams %s and %s: same id %d", name, s.streams[st.id].name, st.id)
	}
	s.streams[st.id] = st
	s.byName[name] = int(st.id)
	return nil
}

// complete fills in defaults and refuses what makes no sense.
func (o Options) complete() (Options, error) {
	if o.OpenTimeout <= 0 {
		o.OpenTimeout = defaultOpenTimeout
	}
	if len(o.Classes) == 0 {
		o.Classes = []Limit{{Name: "all"}}
	}
	if len(o.Classes) > 256 {
		return o, fmt.Errorf("%d classes, want at most 256", len(o.Classes))
	}
	for i, l := range o.Classes {
		if l.MaxRecords < 0 || l.MaxBytes < 0 {
			return o, fmt.Errorf("class %d %s: limits %d records, %d octets, want none below 0", i, l.Name, l.MaxRecords, l.MaxBytes)
		}
	}
	if o.Chunk <= 0 {
		o.Chunk = max(leastChunk, o.MaxBytes/mostSegments*2)
	}
	if o.MaxBytes < 0 {
		return o, fmt.Errorf("limit %d octets, want 0 or more", o.MaxBytes)
	}
	o.Classes = slices.Clone(o.Classes)
	return o, nil
}

// readGeneration reads the file beside the store; 0 is none. One that cannot be
// understood is none too: the store holds the number as well.
func readGeneration(path string) (uint32, error) {
	text, err := os.ReadFile(path + generationSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 32)
	if err != nil {
		return 0, nil
	}
	return uint32(n), nil
}

func writeGeneration(path string, n uint32) error {
	name := path + generationSuffix
	f, err := os.OpenFile(name+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d\n", n)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+newSuffix, name); err != nil {
		return err
	}
	return syncDir(name)
}

// syncDir makes a rename last.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
