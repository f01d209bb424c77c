package buffer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// leastChunk is the least that a class has in bbolt's file before its older
	// half is moved to a segment. Less would make many small files, more would
	// make bbolt's file larger and opening it after a crash slower.
	leastChunk = 1 << 20

	// mostSegments is how many segments a full store should come to at most.
	mostSegments = 256

	// expireEvery is how often records are looked at for their age.
	expireEvery = time.Hour

	// mostExpired bounds what one transaction takes out for its age.
	mostExpired = 4096
)

// Tidy does one step of what need not be done at once, and says whether there is
// more: it takes out acknowledged records that are older than their class keeps
// them at the time at, moves a class's older records out of bbolt's file into a
// segment, or deletes a segment that has none left. A step that fails, or is cut
// short by a crash, leaves every record where it was. Call it when nothing else
// waits, for Commit waits for it meanwhile.
func (s *Store) Tidy(at time.Time) (more bool, err error) {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.ready(); err != nil {
		return false, fmt.Errorf("tidy %s: %w", s.path, err)
	}
	if more, err = s.tidy(at); err != nil {
		return false, fmt.Errorf("tidy %s: %w", s.path, err)
	}
	return more, nil
}

func (s *Store) tidy(at time.Time) (more bool, err error) {
	if due := at.Sub(s.expired); due >= expireEvery || due < 0 {
		n, err := s.expire(at)
		if err != nil {
			return false, fmt.Errorf("take out old records: %w", err)
		}
		if n == mostExpired {
			return true, nil
		}
		s.expired = at
		return true, s.keepReserve()
	}
	for _, id := range slices.Sorted(maps.Keys(s.segments)) {
		if s.segments[id].frames == 0 {
			if err := s.removeSegment(id); err != nil {
				return false, fmt.Errorf("delete segment %08x: %w", id, err)
			}
			return true, nil
		}
	}
	for c := range s.opt.Classes {
		if s.hot(Class(c)) >= s.opt.Chunk {
			if err := s.move(Class(c)); err != nil {
				return false, fmt.Errorf("move records of class %s: %w", s.opt.Classes[c].Name, err)
			}
			return true, nil
		}
	}
	return false, nil
}

// hot is what a class has in bbolt's file.
func (s *Store) hot(c Class) (octets int64) {
	for i := range s.streams {
		if st := &s.streams[i]; st.class == c {
			octets += st.hot
		}
	}
	return octets
}

// expire takes out acknowledged records that are too old to be kept.
func (s *Store) expire(at time.Time) (n int, err error) {
	old := func(st *stream) bool {
		return st.kept() > 0 && st.firstAt < at.Add(-s.opt.Classes[st.class].Keep).UnixMilli()
	}
	if !slices.ContainsFunc(s.streams, func(st stream) bool { return old(&st) }) {
		return 0, nil
	}
	_, err = s.update(func(w *work) error {
		n = 0
		for i := range w.streams {
			for n < mostExpired && old(&w.streams[i]) {
				if err := w.takeFirst(i); err != nil {
					return err
				}
				n++
			}
		}
		return nil
	}, room{below: math.MinInt})
	return n, err
}

// move writes the older half of what a class has in bbolt's file to a segment,
// and then, in one transaction, takes it out of there and notes where it is.
func (s *Store) move(c Class) error {
	id := s.nextSegment
	s.nextSegment++ // never tried twice: what a failed attempt leaves behind is not in the way
	name := s.segmentName(id)
	frames, size, err := s.writeSegment(id, c)
	if err != nil {
		return errors.Join(err, s.discard(name))
	}
	_, err = s.update(func(w *work) error {
		for _, f := range frames {
			if err := w.noteFrame(f); err != nil {
				return err
			}
		}
		return nil
	}, room{below: math.MinInt})
	if err != nil {
		if s.ready() != nil { // it may be in use after all
			return err
		}
		return errors.Join(err, s.discard(name))
	}
	s.mu.Lock()
	s.segments[id] = &segment{class: c, size: size, frames: len(frames)}
	s.mu.Unlock()
	s.segmentBytes.Add(size)
	return nil
}

// noteFrame enters a frame that is on disk, and takes its records out of bbolt's
// file.
func (w *work) noteFrame(f written) error {
	st := &w.streams[f.stream]
	key := recordKey(st.id, f.frame.first)
	if err := w.frames.Put(key[:], f.frame.encode(key[:])); err != nil {
		return err
	}
	for n := f.frame.first; n <= f.frame.last(); n++ {
		key := recordKey(st.id, n)
		if err := w.records.Delete(key[:]); err != nil {
			return err
		}
	}
	st.moved = f.frame.last() + 1
	st.hot = max(0, st.hot-f.frame.bytes)
	if st.moved == st.next {
		st.hot = 0
	}
	w.changed[f.stream] = true
	return nil
}

// writeSegment writes a segment and makes it last. A record that is torn goes as
// it is: its checksum goes with it.
func (s *Store) writeSegment(id uint32, c Class) (frames []written, size int64, err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	folder, name := segmentsOf(s.path), s.segmentName(id)
	if err := s.step("mkdir"); err != nil {
		return nil, 0, err
	}
	fresh := false
	switch err := os.Mkdir(folder, 0o700); {
	case err == nil:
		fresh = true
	case !errors.Is(err, os.ErrExist):
		return nil, 0, err
	}
	if err := s.step("create segment"); err != nil {
		return nil, 0, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, 0, err
	}
	w := &segmentWriter{f: f, id: id, w: bufio.NewWriterSize(stepWriter{s, f}, 64<<10)}
	err = s.fillSegment(w, c)
	if err == nil {
		err = w.w.Flush()
	}
	if err == nil {
		err = s.step("sync segment")
	}
	if err == nil && !s.opt.NoSync {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, 0, err
	}
	if err := s.step("sync folder"); err != nil {
		return nil, 0, err
	}
	if !s.opt.NoSync {
		if err := syncDir(name); err != nil {
			return nil, 0, err
		}
		if fresh {
			if err := syncDir(folder); err != nil {
				return nil, 0, err
			}
		}
	}
	return w.frames, int64(w.at), nil
}

// stepWriter is a file whose writes can be made to fail by tests.
type stepWriter struct {
	s *Store
	f *os.File
}

func (w stepWriter) Write(p []byte) (int, error) {
	if err := w.s.step("write segment"); err != nil {
		n, _ := w.f.Write(p[:len(p)/2]) // as a crash or a full disk would leave it
		return n, err
	}
	return w.f.Write(p)
}

// fillSegment writes the older half of each stream of a class.
func (s *Store) fillSegment(w *segmentWriter, c Class) error {
	tx, err := s.db.Begin(false)
	if err != nil {
		return s.explain(err)
	}
	defer tx.Rollback()
	cursor := tx.Bucket(bucketRecords).Cursor()
	for i := range s.streams {
		st := &s.streams[i]
		if st.class != c {
			continue
		}
		w.h = header{generation: s.generation, id: st.id, class: c, acked: st.acked, first: st.moved, name: st.name,
			sizes: w.h.sizes[:0], ats: w.h.ats[:0]}
		left := (st.hot + 1) / 2
		key := recordKey(st.id, st.moved)
		k, v := cursor.Seek(key[:])
		for n := st.moved; n < st.next && left > 0; n++ {
			var value []byte // stays empty where the record is absent, and is missed later
			if key = recordKey(st.id, n); bytes.Equal(k, key[:]) {
				value = v
				k, v = cursor.Next()
			}
			if w.full(len(value)) {
				if err := w.flush(i); err != nil {
					return err
				}
			}
			w.add(value)
			left -= recordBytes(value)
		}
		if err := w.flush(i); err != nil {
			return err
		}
	}
	return nil
}

// discard removes what a move that failed has left. Nothing refers to it, so if
// it can't be removed now, that is done at the next opening.
func (s *Store) discard(name string) error {
	if err := s.step("discard segment"); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// removeSegment deletes a segment without records. Nobody reads it: reads hold
// files for as long as they look at the index.
func (s *Store) removeSegment(id uint32) error {
	if err := s.step("delete segment"); err != nil {
		return err
	}
	s.files.Lock()
	err := os.Remove(s.segmentName(id))
	s.files.Unlock()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	delete(s.segments, id)
	s.mu.Unlock()
	return nil
}

// eachFrame calls f with each frame in the index.
func (s *Store) eachFrame(f func(*stream, *frame) error) (err error) {
	defer s.rescue(&err, debug.SetPanicOnFault(true))
	return s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketFrames).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			var fr frame
			if err := fr.decode(k, v); err != nil {
				return err
			}
			id := int(uint32(k[0])<<24 | uint32(k[1])<<16 | uint32(k[2])<<8 | uint32(k[3]))
			if id >= len(s.streams) {
				return damage("frame %x: no stream %d", k, id)
			}
			if err := f(&s.streams[id], &fr); err != nil {
				return err
			}
		}
		return nil
	})
}

// loadSegments reads which segments there are, and removes those that nothing
// refers to: a crash came before they were entered, or after all of their
// records had left.
func (s *Store) loadSegments() error {
	s.segments = map[uint32]*segment{}
	if err := s.eachFrame(func(_ *stream, f *frame) error {
		seg := s.segments[f.segment]
		if seg == nil {
			seg = &segment{gone: true}
			s.segments[f.segment] = seg
			s.nextSegment = max(s.nextSegment, f.segment+1)
		}
		seg.frames++
		return nil
	}); err != nil {
		return err
	}
	if err := s.eachFrame(func(st *stream, f *frame) error { s.segments[f.segment].class = st.class; return nil }); err != nil {
		return err
	}
	ids, err := segmentIDs(segmentsOf(s.path))
	if err != nil {
		return classify(fmt.Errorf("list segments: %w", err))
	}
	for _, id := range ids {
		s.nextSegment = max(s.nextSegment, id+1)
		seg := s.segments[id]
		if seg == nil {
			if err := os.Remove(s.segmentName(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("remove segment that is not in use: %w", err)
			}
			continue
		}
		seg.gone = false
		if info, err := os.Stat(s.segmentName(id)); err == nil {
			seg.size = info.Size()
		}
	}
	return nil
}

// Segments returns the folder of the segments that belong to the store at path,
// or that was set aside as path.
func Segments(path string) string { return filepath.Clean(segmentsOf(path)) }
