package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// maxStreams bounds how many streams a store can have.
const maxStreams = 1 << 20

// maxName bounds the names of streams and the keys of small state, in octets.
const maxName = 1024

// fill is how full bbolt leaves a page that it splits. Streams grow at their
// end, so the default of one half would leave every page half empty.
const fill = 0.9

// Commit does all of b in one transaction, then drops what is over a limit. See
// the package comment for what its return value promises.
func (s *Store) Commit(b Batch) error {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.ready(); err != nil {
		return fmt.Errorf("commit to %s: %w", s.path, err)
	}
	if err := s.check(&b); err != nil {
		return fmt.Errorf("commit to %s: %w", s.path, err)
	}
	if !s.matters(&b) {
		return nil
	}
	b.Ack = s.present(b.Ack)
	w, err := s.update(func(w *work) error { return w.apply(&b) }, room{at: b.At, acks: b.Ack, below: s.least(&b)})
	if err != nil {
		return fmt.Errorf("commit to %s: %w", s.path, err)
	}
	s.dropped.Add(w.dropped)
	return nil
}

// update does what apply says in one transaction. Apply may be called again,
// with fresh work, after room was made on a full disk.
func (s *Store) update(apply func(*work) error, r room) (*work, error) {
	s.holdBack(r)
	for {
		w, err := s.attempt(apply)
		if err == nil || !Full(err) || s.ready() != nil || !s.makeRoom(r) {
			return w, err
		}
	}
}

// attempt is one try of update.
func (s *Store) attempt(apply func(*work) error) (*work, error) {
	w := s.begin()
	err := s.transact(w, apply)
	if w.tellPanic != nil {
		panic(w.tellPanic)
	}
	if err != nil {
		if err = s.settle(err); err != nil {
			return w, err
		}
		s.seq++ // that of settle
	}
	s.seq++
	s.commits.Add(1)
	s.mu.Lock()
	s.streams = w.streams
	for name, i := range w.added {
		s.byName[name] = i
	}
	for id, n := range w.left {
		s.segments[id].frames -= n
	}
	s.mu.Unlock()
	return w, nil
}

// present returns the acknowledgements up to what there is now: making room on a
// full disk stores records that tell, and those nobody has taken.
func (s *Store) present(all []Ack) []Ack {
	var out []Ack
	for _, a := range all {
		if i, ok := s.byName[a.Stream]; ok {
			out = append(out, Ack{a.Stream, min(a.N, s.streams[i].next-1)})
		}
	}
	return out
}

// least is the lowest DropRank of what a batch appends.
func (s *Store) least(b *Batch) int {
	least := math.MaxInt
	for i := range b.Append {
		least = min(least, s.opt.Classes[b.Append[i].Class].DropRank)
	}
	if least == math.MaxInt {
		return math.MinInt // nothing has to go for what appends nothing
	}
	return least
}

// check refuses what cannot be stored, before anything is touched.
func (s *Store) check(b *Batch) error {
	for i := range b.Append {
		if err := s.checkEntry(&b.Append[i]); err != nil {
			return fmt.Errorf("append %d: %w", i, err)
		}
	}
	for i, p := range b.Put {
		if len(p.Key) < 1 || len(p.Key) > maxName {
			return fmt.Errorf("put %d: key of %d octets, want 1 to %d", i, len(p.Key), maxName)
		}
	}
	return nil
}

func (s *Store) checkEntry(e *Entry) error {
	if len(e.Stream) < 1 || len(e.Stream) > maxName {
		return fmt.Errorf("stream name of %d octets, want 1 to %d", len(e.Stream), maxName)
	}
	if int(e.Class) >= len(s.opt.Classes) {
		return fmt.Errorf("stream %s: class %d, want less than %d", e.Stream, e.Class, len(s.opt.Classes))
	}
	return nil
}

// matters says whether b would change anything: each transaction wears the disk.
func (s *Store) matters(b *Batch) bool {
	if len(b.Append) > 0 || len(b.Put) > 0 {
		return true
	}
	for _, a := range b.Ack {
		if i, ok := s.byName[a.Stream]; ok {
			if st := &s.streams[i]; a.N > st.acked && st.acked+1 < st.next {
				return true
			}
		}
	}
	return false
}

// transact does one transaction. After an error nothing is on disk, unless the
// error came from the transaction's last write: settle finds out.
func (s *Store) transact(w *work, apply func(*work) error) (err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	tx, err := s.db.Begin(true)
	if err != nil {
		return s.explain(err)
	}
	if err := w.transact(tx, apply); err != nil {
		err = errors.Join(err, tx.Rollback())
		if errors.Is(err, berrors.ErrIncompatibleValue) {
			return s.fail(damage("%w", err), false) // a record became a bucket
		}
		return err
	}
	return s.commitTx(tx)
}

// settle is called after a failed transaction. Mostly nothing of it is on disk
// and settle returns the cause. If the transaction's last octets were written
// but could not be synced, it can be seen already and would be kept or not by
// chance. Another commit on top of it, synced, makes it sure: then settle
// returns nil.
func (s *Store) settle(cause error) error {
	if err := s.ready(); err != nil {
		return err
	}
	seq, err := s.storedSeq()
	switch {
	case err != nil:
		return errors.Join(cause, err)
	case seq == s.seq:
		return cause
	}
	if err := s.stamp(seq + 1); err != nil {
		return s.fail(fmt.Errorf("%w: %w, then %w", ErrInDoubt, cause, err), false)
	}
	return nil
}

func (s *Store) storedSeq() (seq uint64, err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	err = s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketMeta).Get(keyCommits)
		if len(v) != 8 {
			return s.fail(damage("meta %s: %d octets, want 8", keyCommits, len(v)), false)
		}
		seq = binary.BigEndian.Uint64(v)
		return nil
	})
	return seq, err
}

// stamp commits the count of commits and the generation, and nothing else.
func (s *Store) stamp(seq uint64) (err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	if err := putMeta(tx, seq, s.generation); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return s.commitTx(tx)
}

func putMeta(tx *bolt.Tx, seq uint64, generation uint32) error {
	meta := tx.Bucket(bucketMeta)
	return errors.Join(
		meta.Put(keyGeneration, binary.BigEndian.AppendUint32(nil, generation)),
		meta.Put(keyCommits, binary.BigEndian.AppendUint64(nil, seq)),
	)
}

// work is one commit under way. It changes a copy of the streams, which takes
// the place of the original once the transaction is on disk.
type work struct {
	s         *Store
	at        time.Time
	index     *bolt.Bucket
	records   *bolt.Bucket
	frames    *bolt.Bucket
	state     *bolt.Bucket
	streams   []stream
	changed   []bool         // by index of streams
	added     map[string]int // indices of streams that are new
	fronts    map[int]*front // by index of streams
	left      map[uint32]int // frames that left, by segment
	used      []usage        // by class
	drops     []drop
	full      bool // drops are for a full disk
	dropped   uint64
	tellPanic any
}

// usage is what a class holds, the records that will tell of drops included.
type usage struct {
	records int
	bytes   int64
}

// drop is a run of records of one stream that this commit dropped.
type drop struct {
	i        int // index of streams
	from, to uint64
	since    int64 // least and greatest At of the records, ms
	until    int64
	why      string
	tell     Entry
	stale    bool // tell was made before the run grew
}

func (s *Store) begin() *work {
	w := &work{
		s:       s,
		streams: append(make([]stream, 0, len(s.streams)+4), s.streams...),
		changed: make([]bool, len(s.streams)),
		used:    make([]usage, len(s.opt.Classes)),
	}
	for i := range w.streams {
		st := &w.streams[i]
		w.use(st.class, st.count(), st.bytes)
	}
	return w
}

func (w *work) use(c Class, records int, bytes int64) {
	w.used[c].records += records
	w.used[c].bytes += bytes
}

func (w *work) transact(tx *bolt.Tx, apply func(*work) error) error {
	w.index, w.records, w.frames, w.state = tx.Bucket(bucketStreams), tx.Bucket(bucketRecords), tx.Bucket(bucketFrames), tx.Bucket(bucketState)
	w.records.FillPercent, w.frames.FillPercent = fill, fill
	if err := w.takeGone(); err != nil {
		return err
	}
	if err := apply(w); err != nil {
		return err
	}
	for i := range w.streams {
		if st := &w.streams[i]; w.changed[i] {
			if err := w.index.Put([]byte(st.name), st.encode()); err != nil {
				return fmt.Errorf("stream %s: %w", st.name, err)
			}
		}
	}
	return putMeta(tx, w.s.seq+1, w.s.generation)
}

func (w *work) apply(b *Batch) error {
	w.at = b.At
	for _, p := range b.Put {
		if err := w.put(p); err != nil {
			return fmt.Errorf("put %q: %w", p.Key, err)
		}
	}
	if err := w.ackAll(b.Ack); err != nil {
		return err
	}
	if err := w.dropShed(); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	for i := range b.Append {
		if _, err := w.append(&b.Append[i]); err != nil {
			return fmt.Errorf("append to %s: %w", b.Append[i].Stream, err)
		}
	}
	return w.keepLimits()
}

func (w *work) put(p Put) error {
	if p.Value == nil {
		return w.state.Delete([]byte(p.Key))
	}
	return w.state.Put([]byte(p.Key), encodeState(p.Key, p.Value))
}

func (w *work) ackAll(all []Ack) error {
	for _, a := range all {
		if err := w.ack(a); err != nil {
			return fmt.Errorf("acknowledge %s to %d: %w", a.Stream, a.N, err)
		}
	}
	return nil
}

func (w *work) ack(a Ack) error {
	i, ok := w.find(a.Stream)
	if !ok {
		return nil
	}
	st := &w.streams[i]
	if n := min(a.N, st.next-1); n > st.acked {
		st.acked = n
		w.changed[i] = true
	}
	if w.s.opt.Classes[st.class].Keep > 0 {
		return nil
	}
	for st.kept() > 0 {
		if err := w.takeFirst(i); err != nil {
			return err
		}
	}
	return nil
}

// append stores e under the next number of its stream and returns the stream's
// index.
func (w *work) append(e *Entry) (int, error) {
	i, ok := w.find(e.Stream)
	if !ok {
		i = len(w.streams)
		if i >= maxStreams {
			return i, fmt.Errorf("%d streams already", i)
		}
		w.streams = append(w.streams, stream{
			name: e.Stream, id: uint32(i), class: e.Class, first: 1, moved: 1, next: 1,
		})
		w.changed = append(w.changed, false)
		if w.added == nil {
			w.added = make(map[string]int)
		}
		w.added[e.Stream] = i
	}
	st := &w.streams[i]
	if st.class != e.Class {
		w.use(st.class, -st.count(), -st.bytes)
		st.class = e.Class
		w.use(st.class, st.count(), st.bytes)
	}
	key := recordKey(st.id, st.next)
	if err := w.records.Put(key[:], encodeRecord(key[:], w.s.generation, e)); err != nil {
		return i, err
	}
	if st.count() == 0 {
		st.firstAt = e.At.UnixMilli()
	}
	st.next++
	st.bytes += int64(len(e.Body))
	st.hot += int64(len(e.Body))
	w.use(st.class, 1, int64(len(e.Body)))
	w.changed[i] = true
	return i, nil
}

func (w *work) find(name string) (int, bool) {
	if i, ok := w.s.byName[name]; ok {
		return i, true
	}
	i, ok := w.added[name]
	return i, ok
}
