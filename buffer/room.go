package buffer

import (
	"errors"
	"maps"
	"math"
	"os"
	"slices"
	"syscall"
	"time"
)

// Full reports whether an error says that the disk is full.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// room says what may go to make room on a full disk: what was acknowledged, and
// of what waits the classes with a DropRank below that. At dates what tells of it.
// Acks are those of the batch that needs the room: they count already.
type room struct {
	at    time.Time
	acks  []Ack
	below int
}

// shedOctets is how much goes out of bbolt's file at a time. Its pages are free
// for the commit after.
const shedOctets = 128 << 10

// A file beside the store holds this many octets, to be given up when taking
// records out of bbolt's file needs pages and there is not one left. It is made
// anew when there is room.
const (
	reserveOctets = 64 << 10
	reserveSuffix = ".reserve"
)

var errNothingToShed = errors.New("nothing to shed")

// makeRoom does one step to make room, the one that is missed least, and reports
// whether there was any: it deletes a segment that was acknowledged, takes
// acknowledged records out of bbolt's file, or does the same with what waits.
func (s *Store) makeRoom(r room) bool {
	return s.freeSegment(math.MinInt) || s.shed(r, false) || s.freeSegment(r.below) || s.shed(r, true)
}

// keepReserve makes the reserve if it is not there. A disk without room for it is
// no fault.
func (s *Store) keepReserve() error {
	if s.opt.NoSync {
		return nil // it is a store that may be lost
	}
	name := s.path + reserveSuffix
	if info, err := os.Stat(name); err == nil && info.Size() == reserveOctets {
		return nil
	}
	err := os.WriteFile(name, noise(reserveOctets), 0o600)
	if err == nil {
		s.tight = false
		return nil
	}
	err = errors.Join(err, os.Remove(name))
	if Full(err) {
		return nil
	}
	return err
}

// noise is what a file system can't store as less than it is.
func noise(octets int) []byte {
	b := make([]byte, octets)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// spendReserve reports whether there was one. From then on pages in bbolt's file
// are what is held back.
func (s *Store) spendReserve() bool {
	s.tight = os.Remove(s.path+reserveSuffix) == nil
	return s.tight
}

// leastFree is how many pages of bbolt's file are kept free where the reserve is
// spent: taking records out needs some, and a file without any is stuck.
const leastFree = 32

// holdBack sheds before the last free pages are used.
func (s *Store) holdBack(r room) {
	for s.tight {
		stats := s.db.Stats()
		if stats.FreePageN+stats.PendingPageN >= leastFree || s.tryShed(r, false) != nil && s.tryShed(r, true) != nil {
			return
		}
	}
}

// freeSegment deletes a segment. What was acknowledged of it leaves the streams
// with the next transaction that succeeds, and what was not with the next Commit,
// which tells of it; until then, or after a crash, it reads as torn.
func (s *Store) freeSegment(below int) bool {
	id, found, err := s.leastNeeded(below)
	if err != nil || !found || s.step("free segment") != nil {
		return false
	}
	heads, err := s.headers(id)
	if err != nil {
		return false
	}
	s.files.Lock()
	defer s.files.Unlock()
	if err := os.Remove(s.segmentName(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	if !s.opt.NoSync && syncDir(s.segmentName(id)) != nil {
		return false
	}
	s.mu.Lock()
	s.segments[id].gone, s.segments[id].shed = true, heads
	s.mu.Unlock()
	return true
}

// headers reads the headers of a segment that still have records. One that makes
// no sense is left out.
func (s *Store) headers(id uint32) (map[[recordKeySize]byte]*header, error) {
	heads := map[[recordKeySize]byte]*header{}
	err := s.eachFrame(func(st *stream, f *frame) error {
		if f.segment != id {
			return nil
		}
		file, head, err := s.openFrame(st, f)
		if err != nil || head == nil {
			return err
		}
		heads[recordKey(st.id, f.first)] = head
		return file.Close()
	})
	return heads, err
}

// leastNeeded finds the segment to go first when the disk is full: by rank of its
// class, then the oldest, of those that have records only which were acknowledged
// or rank below, and none that is behind one of another segment: a stream must
// not get a hole.
func (s *Store) leastNeeded(below int) (least uint32, found bool, err error) {
	needed := map[uint32]bool{}
	heads := map[uint32]uint32{} // of each stream, the segment that its oldest records are in
	err = s.eachFrame(func(st *stream, f *frame) error {
		head, seen := heads[st.id]
		if !seen && !s.segments[f.segment].gone {
			head, seen = f.segment, true
			heads[st.id] = head
		}
		waits := f.last() > st.acked && s.opt.Classes[st.class].DropRank >= below
		if waits || seen && head != f.segment {
			needed[f.segment] = true
		}
		return nil
	})
	for _, id := range slices.Sorted(maps.Keys(s.segments)) {
		seg := s.segments[id]
		if needed[id] || seg.gone || seg.frames == 0 {
			continue
		}
		if !found || s.opt.Classes[seg.class].DropRank < s.opt.Classes[s.segments[least].class].DropRank {
			least, found = id, true
		}
	}
	return least, found, err
}

// shed takes records out of bbolt's file, in a transaction of its own: that needs
// a few free pages, which a file that was written to has. Records that tell of
// drops are never shed.
func (s *Store) shed(r room, waiting bool) bool {
	err := s.tryShed(r, waiting)
	if Full(err) && s.spendReserve() {
		err = s.tryShed(r, waiting)
	}
	return err == nil
}

func (s *Store) tryShed(r room, waiting bool) error {
	eligible := func(st *stream) bool {
		if st.first < st.moved || st.tell {
			return false
		}
		if !waiting {
			return st.kept() > 0
		}
		return s.opt.Classes[st.class].DropRank < r.below
	}
	w, err := s.attempt(func(w *work) error {
		w.at, w.full = r.at, true
		if err := w.ackAll(r.acks); err != nil {
			return err
		}
		if err := w.dropShed(); err != nil {
			return err
		}
		taken := int64(0)
		for taken < shedOctets {
			i, ok := w.oldest(eligible, true)
			if !ok {
				break
			}
			had := w.streams[i].bytes
			take := w.takeFirst
			if waiting && w.streams[i].kept() == 0 {
				take = w.dropFirst
			}
			if err := take(i); err != nil {
				return err
			}
			taken += had - w.streams[i].bytes + recordHeader
		}
		if taken == 0 {
			return errNothingToShed
		}
		if err := w.retell(); err != nil {
			return err
		}
		return w.tellDrops()
	})
	if err != nil {
		return err
	}
	s.dropped.Add(w.dropped)
	return nil
}

// dropShed drops what waited in segments that were deleted for a full disk.
func (w *work) dropShed() error {
	shed := false
	for _, seg := range w.s.segments {
		shed = shed || seg.shed != nil && seg.frames > 0
	}
	if !shed {
		return nil
	}
	was := w.full
	w.full = true
	defer func() { w.full = was }()
	for i := range w.streams {
		for st := &w.streams[i]; st.first < st.moved; {
			f, err := w.front(i)
			if err != nil {
				return err
			}
			if f == nil || w.s.segments[f.frame.segment].shed == nil {
				break
			}
			take := w.dropFirst
			if st.kept() > 0 {
				take = w.takeFirst
			}
			if err := take(i); err != nil {
				return err
			}
		}
	}
	return w.retell()
}
