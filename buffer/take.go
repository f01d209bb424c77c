package buffer

import (
	"bytes"
	"fmt"
)

// front is the frame that holds the first record of a stream.
type front struct {
	frame frame
	head  *header // nil: it can't be read
}

// takeFirst takes the oldest record of a stream away.
func (w *work) takeFirst(i int) error {
	st := &w.streams[i]
	var size int64
	if st.first < st.moved {
		var err error
		if size, err = w.takeFromFrame(i); err != nil {
			return err
		}
	} else {
		key := recordKey(st.id, st.first)
		size = min(recordBytes(w.records.Get(key[:])), st.hot)
		if err := w.records.Delete(key[:]); err != nil {
			return err
		}
		st.hot -= size
	}
	st.first++
	st.acked = max(st.acked, st.first-1)
	st.moved = max(st.moved, st.first)
	if st.count() == 0 {
		st.hot = 0 // also what an absent record had been counted with
	}
	was := st.bytes
	st.bytes = max(st.bytes-size, st.hot)
	if st.first == st.moved {
		st.bytes = st.hot
	}
	w.use(st.class, -1, st.bytes-was)
	w.changed[i] = true
	return w.refreshFirst(i)
}

// takeFromFrame returns the size of a stream's first record, which is in a
// segment. With its last record the frame leaves the index.
func (w *work) takeFromFrame(i int) (size int64, err error) {
	st := &w.streams[i]
	f, err := w.front(i)
	if err != nil || f == nil {
		return 0, err
	}
	at := int(st.first - f.frame.first)
	if f.head != nil {
		size = max(0, int64(f.head.sizes[at])-recordHeader)
	} else {
		size = f.frame.bytes / int64(f.frame.count)
	}
	if st.first < f.frame.last() {
		return size, nil
	}
	key := recordKey(st.id, f.frame.first)
	if err := w.frames.Delete(key[:]); err != nil {
		return 0, err
	}
	if w.left == nil {
		w.left = map[uint32]int{}
	}
	w.left[f.frame.segment]++
	if f.head == nil { // the sizes were a guess; what is left is known
		rest, err := w.octetsInFrames(st)
		return st.bytes - st.hot - rest, err
	}
	return size, nil
}

// octetsInFrames sums up what a stream has in segments.
func (w *work) octetsInFrames(st *stream) (sum int64, err error) {
	key := recordKey(st.id, 0)
	c := w.frames.Cursor()
	for k, v := c.Seek(key[:]); bytes.HasPrefix(k, key[:4]); k, v = c.Next() {
		var f frame
		if err := f.decode(k, v); err != nil {
			return 0, w.s.fail(err, false)
		}
		sum += f.bytes
	}
	return sum, nil
}

// front returns the frame with a stream's first record; nil if the index has
// none.
func (w *work) front(i int) (*front, error) {
	st := &w.streams[i]
	if f := w.fronts[i]; f != nil && f.frame.first <= st.first && st.first <= f.frame.last() {
		return f, nil
	}
	key := recordKey(st.id, st.first)
	f := &front{}
	// What is stored of a stream is an unbroken run, so its first frame is the
	// one that holds its first record.
	least := recordKey(st.id, 0)
	k, v := w.frames.Cursor().Seek(least[:])
	if !bytes.HasPrefix(k, key[:4]) {
		return nil, nil
	}
	if err := f.frame.decode(k, v); err != nil {
		return nil, w.s.fail(err, false)
	}
	if f.frame.first > st.first || f.frame.last() < st.first {
		return nil, nil
	}
	if f.head = w.s.segments[f.frame.segment].shed[recordKey(st.id, f.frame.first)]; f.head == nil {
		file, head, err := w.s.openFrame(st, &f.frame)
		if err != nil {
			return nil, fmt.Errorf("segment %08x: %w", f.frame.segment, err)
		}
		if head != nil {
			file.Close()
		}
		f.head = head
	}
	if w.fronts == nil {
		w.fronts = map[int]*front{}
	}
	w.fronts[i] = f
	return f, nil
}

// refreshFirst looks up the time of the oldest record.
func (w *work) refreshFirst(i int) error {
	st := &w.streams[i]
	st.firstAt = 0
	switch {
	case st.count() == 0:
	case st.first < st.moved:
		f, err := w.front(i)
		if err != nil || f == nil {
			return err
		}
		st.firstAt = f.frame.firstAt
		if f.head != nil {
			st.firstAt = f.head.ats[st.first-f.frame.first]
		}
	default:
		key := recordKey(st.id, st.first)
		st.firstAt = recordAt(w.records.Get(key[:]))
	}
	return nil
}

// takeGone takes out what was acknowledged and stood in segments that are gone.
func (w *work) takeGone() error {
	gone := false
	for _, seg := range w.s.segments {
		gone = gone || seg.gone && seg.frames > 0
	}
	if !gone {
		return nil
	}
	for i := range w.streams {
		for st := &w.streams[i]; st.first < st.moved; {
			f, err := w.front(i)
			if err != nil {
				return err
			}
			if f == nil || !w.s.segments[f.frame.segment].gone || f.frame.last() > st.acked {
				break
			}
			for last := f.frame.last(); st.first <= last; {
				if err := w.takeFirst(i); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
