package buffer

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// WhyQuota is Gap.Why of a drop for a limit of a class or of the whole store.
const WhyQuota = "QUOTA"

// WhyFull is Gap.Why of a drop that made room on a full disk for records of a
// class that matters more.
const WhyFull = "DISK_FULL"

// Class is what a stream is sent and dropped by: an index into Options.Classes.
// Class 0 is the one to send first; the store itself makes no use of that.
type Class uint8

// Limit bounds one class. A limit of 0 is none.
type Limit struct {
	Name       string
	MaxRecords int   // those kept after they were acknowledged included
	MaxBytes   int64 // of record bodies

	// Keep is for how long, from At on, an acknowledged record is kept, so that
	// it can be read once more; 0 is not at all. It goes before that where there
	// is no room.
	Keep     time.Duration
	DropRank int // 0 is the first class to lose records when the whole store is over Options.MaxBytes
}

// Options say how a store is opened. The zero value is one class without limits.
type Options struct {
	// OpenTimeout is how long to wait for another process to let go of the
	// store. Default 2 s.
	OpenTimeout time.Duration

	// Classes, in the order of sending. A stored stream whose class is no
	// longer there counts as one of the last class.
	Classes []Limit

	// MaxBytes bounds all record bodies together; 0 is no bound. The files are a
	// few per cent larger, and Chunk for each class.
	MaxBytes int64

	// Chunk is how many octets of a class may be in bbolt's file before Tidy moves
	// its older half to a segment. Default 1 MiB, or more where MaxBytes would
	// make many segments.
	Chunk int64

	// Tell makes the record which tells of a drop. It is appended in the
	// transaction that drops. Tell is called while the store is locked, perhaps
	// several times for a drop that grows: it must not call the store and must
	// not count its calls. Give its stream a class of its own. Without Tell
	// drops are only counted in Stats.
	Tell func(Gap) Entry

	// NoSync leaves it to the operating system when to write: for tests and
	// virtual time only. A power cut may then destroy the store.
	NoSync bool
}

// Entry is a record to append. At is kept in milliseconds, in UTC.
type Entry struct {
	Stream string
	Class  Class // the stream takes the class of its newest record
	At     time.Time
	Body   []byte
}

// Record is a stored Entry: N counts 1, 2, 3 in its stream, G is the generation
// of the store that it was appended to.
type Record struct {
	Entry
	N uint64
	G uint32
}

// Gap is a run of records of one stream that were dropped in one commit.
type Gap struct {
	Stream       string
	From, To     uint64
	Count        int
	Why          string
	At           time.Time // Batch.At of the commit
	Since, Until time.Time // the earliest and the latest At among the records
}

// Ack says that all records of a stream up to and including N were taken. A
// number that was acknowledged before, is yet to come, or belongs to a stream
// that does not exist does no harm.
type Ack struct {
	Stream string
	N      uint64
}

// Put is a small piece of state kept in the same transaction. A nil Value
// deletes the key.
type Put struct {
	Key   string
	Value []byte
}

// Batch is what one commit does, in this order: Put, Ack, Append, drops. An Ack
// never takes a record that is appended in the same batch.
type Batch struct {
	Append []Entry
	Ack    []Ack
	Put    []Put
	At     time.Time // the time of drops
}

// StreamState is a stream as it is now.
type StreamState struct {
	Name   string
	Class  Class
	First  uint64 // oldest that is stored; equal to Next if there is none
	Acked  uint64 // all up to this one were acknowledged or dropped
	Next   uint64 // number of the next record to be appended
	Count  int
	Bytes  int64     // of the bodies stored
	Oldest time.Time // At of First; zero if there is none
}

// Stats are the sizes of a store, and its work since it was opened.
type Stats struct {
	Records      int
	Waiting      int   // of the records, those that were not acknowledged
	Bytes        int64 // of the bodies stored
	FileSize     int64 // of bbolt's file
	Segments     int
	SegmentBytes int64 // of the segments' files
	Commits      uint64
	BytesWritten int64 // pages of bbolt's file and segments, in whole pages; no file system's own
	Dropped      uint64
}

// Store is an open store. One goroutine may commit while any number read; calls
// of Commit from several goroutines wait for each other.
type Store struct {
	path string
	opt  Options
	db   *bolt.DB
	file *os.File // the one that db uses

	write       sync.Mutex // held by Commit, Tidy and Close; guards what follows
	seq         uint64     // transactions ever made on this file
	expired     time.Time  // when records were last looked at for their age
	nextSegment uint32
	tight       bool // the reserve is spent
	commitTx    func(*bolt.Tx) error
	fault       func(step string) error // nil, but in tests

	files sync.RWMutex // held to read while an index entry is followed into a segment

	mu         sync.RWMutex // guards what follows
	streams    []stream     // in order of id
	byName     map[string]int
	segments   map[uint32]*segment
	generation uint32
	broken     error // why the store is of no more use
	wedged     bool  // bbolt panicked and may hold its locks for ever
	closed     bool

	commits, dropped atomic.Uint64
	segmentBytes     atomic.Int64 // written
}

// step lets a test fail what comes next.
func (s *Store) step(name string) error {
	if s.fault == nil {
		return nil
	}
	return s.fault(name)
}

// Generation is the number of this store among all that there have been at its
// path.
func (s *Store) Generation() uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.generation
}

// Streams appends the state of each stream to dst, in the order in which the
// streams were first used. It does not touch the disk.
func (s *Store) Streams(dst []StreamState) []StreamState {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.streams {
		st := &s.streams[i]
		state := StreamState{
			Name: st.name, Class: st.class, First: st.first, Acked: st.acked, Next: st.next,
			Count: st.count(), Bytes: st.bytes,
		}
		if st.count() > 0 {
			state.Oldest = utc(st.firstAt)
		}
		dst = append(dst, state)
	}
	return dst
}

// Read appends to dst up to max records of a stream with N >= from, in order.
// Bodies are copies. A torn record ends the read; where records came before it
// they are returned without error, and the Read that starts at the torn record
// returns a *TornError.
func (s *Store) Read(name string, from uint64, dst []Record, max int) (_ []Record, err error) {
	s.mu.RLock()
	i, known := s.byName[name]
	var st stream
	if known {
		st = s.streams[i]
	}
	err = s.usable()
	s.mu.RUnlock()
	if err != nil {
		return dst, fmt.Errorf("read %s from %s: %w", name, s.path, err)
	}
	if !known || max <= 0 {
		return dst, nil
	}
	had := len(dst)
	torn, err := s.scan(&st, from, &dst, max)
	switch {
	case err != nil:
		return dst[:had], fmt.Errorf("read %s from %s: %w", name, s.path, err)
	case torn != nil && len(dst) == had:
		return dst, fmt.Errorf("read %s from %s: %w", name, s.path, torn)
	}
	return dst, nil
}

// scan is Read within a transaction. The stream may have moved on since st was
// taken, so what it expects comes from the transaction.
func (s *Store) scan(st *stream, from uint64, dst *[]Record, max int) (torn *TornError, err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	s.files.RLock()
	defer s.files.RUnlock()
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, s.explain(err)
	}
	defer tx.Rollback()

	var now stream
	if err := now.decode(st.name, tx.Bucket(bucketStreams).Get([]byte(st.name))); err != nil {
		return nil, s.fail(err, false)
	}
	n := now.first
	if from > n {
		n = from
	}
	for n < now.moved && max > 0 {
		fr, err := frameOf(tx, st.id, n)
		if err != nil {
			return nil, s.fail(err, false)
		}
		if fr == nil {
			return &TornError{Stream: st.name, N: n, To: n}, nil
		}
		had := len(*dst)
		if torn, err := s.readFrame(st, fr, n, dst, max); torn != nil || err != nil {
			return torn, err
		}
		n += uint64(len(*dst) - had)
		max -= len(*dst) - had
	}
	c := tx.Bucket(bucketRecords).Cursor()
	key := recordKey(st.id, n)
	for k, v := c.Seek(key[:]); n < now.next && max > 0; k, v = c.Next() {
		key = recordKey(st.id, n)
		if string(k) != string(key[:]) {
			return &TornError{Stream: st.name, N: n, To: n}, nil
		}
		r := Record{N: n, Entry: Entry{Stream: st.name, Class: st.class}}
		if torn := r.decode(k, v); torn != nil {
			return torn, nil
		}
		*dst = append(*dst, r)
		n++
		max--
	}
	return nil, nil
}

// frameOf finds the frame that holds record n, or nil.
func frameOf(tx *bolt.Tx, id uint32, n uint64) (*frame, error) {
	key := recordKey(id, n)
	c := tx.Bucket(bucketFrames).Cursor()
	k, v := c.Seek(key[:])
	if string(k) != string(key[:]) {
		if k == nil {
			k, v = c.Last()
		} else {
			k, v = c.Prev()
		}
	}
	if len(k) != recordKeySize || string(k[:4]) != string(key[:4]) {
		return nil, nil
	}
	fr := new(frame)
	if err := fr.decode(k, v); err != nil {
		return nil, err
	}
	if n > fr.last() {
		return nil, nil
	}
	return fr, nil
}

// Get returns a copy of the value that was put under key, or nil if there is
// none.
func (s *Store) Get(key string) (value []byte, err error) {
	if err := s.ready(); err != nil {
		return nil, fmt.Errorf("get %q from %s: %w", key, s.path, err)
	}
	value, err = s.get(key)
	if err != nil {
		return nil, fmt.Errorf("get %q from %s: %w", key, s.path, err)
	}
	return value, nil
}

func (s *Store) get(key string) (value []byte, err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, s.explain(err)
	}
	defer tx.Rollback()
	return decodeState(key, tx.Bucket(bucketState).Get([]byte(key)))
}

// Stats returns sizes and counts.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := Stats{Commits: s.commits.Load(), Dropped: s.dropped.Load()}
	for i := range s.streams {
		st.Records += s.streams[i].count()
		st.Waiting += s.streams[i].count() - s.streams[i].kept()
		st.Bytes += s.streams[i].bytes
	}
	for _, seg := range s.segments {
		if !seg.gone {
			st.Segments++
			st.SegmentBytes += seg.size
		}
	}
	if s.closed {
		return st
	}
	if f, err := s.file.Stat(); err == nil {
		st.FileSize = f.Size()
	}
	tx := s.db.Stats().TxStats
	st.BytesWritten = tx.GetPageAlloc() + int64(st.Commits)*int64(os.Getpagesize()) + s.segmentBytes.Load()
	return st
}

// Close closes the store. It waits for reads under way. A store closed with an
// error is as safe as after a crash.
func (s *Store) Close() error {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	closed, broken, wedged := s.closed, s.broken, s.wedged
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	if wedged {
		// bbolt's own Close could wait for ever for a lock that its panic left
		// behind. Releasing the file lets the store be opened again; the mapping
		// stays until the process ends.
		if err := release(s.file); err != nil {
			return fmt.Errorf("close %s: %w", s.path, err)
		}
		return nil
	}
	var errs []error
	if broken == nil {
		errs = append(errs, s.finish())
	}
	errs = append(errs, s.db.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", s.path, err)
	}
	return nil
}

// finish writes the list of free pages, which is also the mark of a store that
// was closed cleanly.
func (s *Store) finish() (err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	s.db.NoFreelistSync = false
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	return tx.Commit()
}

// ready returns why the store cannot be used, or nil.
func (s *Store) ready() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.usable()
}

// usable is ready for those who hold mu.
func (s *Store) usable() error {
	if s.closed {
		return ErrClosed
	}
	return s.broken
}

// explain turns bbolt's word for a closed store into ours.
func (s *Store) explain(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// fail notes that the store is of no more use and returns err.
func (s *Store) fail(err error, wedged bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
	s.wedged = s.wedged || wedged
	return err
}

// rescue, deferred, turns a panic of bbolt over a torn page, or a fault in its
// mapping, into an error. Old is what debug.SetPanicOnFault(true) returned.
func (s *Store) rescue(err *error, old bool) {
	debug.SetPanicOnFault(old)
	if p := recover(); p != nil {
		*err = s.fail(damage("bbolt: %v", p), true)
	}
}
